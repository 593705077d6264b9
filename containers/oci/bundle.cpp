// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes an OCI bundle: config.json and a root file system of busybox and the
 * static programs named. The reservation is asked for with
 * `--unified "cpu.rt.max=RUNTIME_US PERIOD_US"`, which every OCI runtime writes
 * to the cgroup as it stands.
 */
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fs = std::filesystem;
using json = nlohmann::ordered_json;

namespace {

struct Options {
	std::string bundle;
	std::string busybox = "/bin/busybox";
	std::string cgroup;
	std::string cgroup_mount = "none";
	std::vector<std::string> programs;
	std::vector<std::string> unified;
	std::vector<std::string> annotations;
	std::vector<std::string> environment;
	std::vector<std::string> mounts;
	std::vector<std::string> capabilities;
	std::vector<std::string> args;
	int rtprio = 0;
	bool user_namespace = false;
};

std::vector<std::string> split(const std::string &text, char separator)
{
	std::vector<std::string> parts;
	std::istringstream stream(text);

	for (std::string part; std::getline(stream, part, separator);)
		parts.push_back(part);
	return parts;
}

/* What an option that says `form` was given. Runtimes take a bare FILE only. */
std::pair<std::string, std::string> key_value(const std::string &option, const std::string &form,
					      const std::string &text)
{
	size_t equals = text.find('=');

	if (equals == std::string::npos || equals == 0 ||
	    (form == "FILE=VALUE" && text.substr(0, equals).find('/') != std::string::npos))
		throw std::runtime_error(option + ": '" + text + "' is not " + form);
	return { text.substr(0, equals), text.substr(equals + 1) };
}

json mount(const std::string &destination, const std::string &type, const std::string &source,
	   std::vector<std::string> mount_options)
{
	return { { "destination", destination },
		 { "type", type },
		 { "source", source },
		 { "options", std::move(mount_options) } };
}

json bind_mount(const std::string &text)
{
	std::vector<std::string> parts = split(text, ':');

	if (parts.size() < 2 || parts.size() > 3 || parts[1].empty() || parts[1][0] != '/' ||
	    (parts.size() == 3 && parts[2] != "ro"))
		throw std::runtime_error("--mount: '" + text + "' is not SOURCE:DESTINATION[:ro]");
	return mount(parts[1], "bind", fs::absolute(parts[0]),
		     { "bind", parts.size() == 3 ? "ro" : "rw", "nosuid", "nodev" });
}

json make_config(const Options &options)
{
	json mounts = {
		mount("/proc", "proc", "proc", { "nosuid", "noexec", "nodev" }),
		mount("/dev", "tmpfs", "tmpfs", { "nosuid", "strictatime", "mode=755", "size=64k" }),
		mount("/tmp", "tmpfs", "tmpfs", { "nosuid", "nodev", "size=16m" }),
	};
	json namespaces = json::array();
	json unified = json::object();
	json linux_part;

	if (options.cgroup_mount != "none") {
		mounts.push_back(mount("/sys", "tmpfs", "tmpfs", { "nosuid", "nodev", "size=64k" }));
		mounts.push_back(mount("/sys/fs/cgroup", "cgroup", "cgroup",
				       { "nosuid", "noexec", "nodev", options.cgroup_mount }));
	}
	for (const auto &text : options.mounts)
		mounts.push_back(bind_mount(text));
	for (const char *type : { "pid", "network", "ipc", "uts", "mount", "cgroup" })
		namespaces.push_back({ { "type", type } });
	for (const auto &text : options.unified) {
		auto [key, value] = key_value("--unified", "FILE=VALUE", text);
		unified[key] = value;
	}
	json annotations = json::object();
	for (const auto &text : options.annotations) {
		auto [key, value] = key_value("--annotation", "KEY=VALUE", text);
		annotations[key] = value;
	}

	linux_part["cgroupsPath"] = options.cgroup;
	linux_part["resources"]["unified"] = unified;
	if (options.user_namespace) {
		json map = { { { "containerID", 0 }, { "hostID", 100000 }, { "size", 65536 } } };

		namespaces.push_back({ { "type", "user" } });
		linux_part["uidMappings"] = map;
		linux_part["gidMappings"] = map;
	}
	linux_part["namespaces"] = namespaces;

	json process = {
		{ "user", { { "uid", 0 }, { "gid", 0 } } },
		{ "args", options.args },
		{ "env", { "PATH=/bin" } },
		{ "cwd", "/" },
		{ "noNewPrivileges", true },
	};
	for (const auto &variable : options.environment)
		process["env"].push_back(variable);
	for (const char *set : { "bounding", "effective", "permitted" })
		process["capabilities"][set] = options.capabilities;
	process["rlimits"] = json::array();
	if (options.rtprio)
		process["rlimits"].push_back(
			{ { "type", "RLIMIT_RTPRIO" }, { "soft", options.rtprio }, { "hard", options.rtprio } });

	return {
		{ "ociVersion", "1.0.0" },
		{ "process", process },
		{ "root", { { "path", "rootfs" }, { "readonly", false } } },
		{ "hostname", options.cgroup.substr(options.cgroup.rfind('/') + 1) },
		{ "mounts", mounts },
		{ "annotations", annotations },
		{ "linux", linux_part },
	};
}

void make_rootfs(const Options &options, const fs::path &root)
{
	for (const char *dir : { "bin", "dev", "proc", "run", "sys", "tmp" })
		fs::create_directories(root / dir);
	fs::copy_file(options.busybox, root / "bin/busybox");
	for (const char *applet : { "cat", "chrt", "cut", "date", "echo", "grep", "head", "id", "kill",
				    "ls", "mkdir", "mount", "ps", "rmdir", "sed", "sh", "sleep", "tail",
				    "test", "timeout", "touch", "true", "wc" })
		fs::create_symlink("busybox", root / "bin" / applet);
	for (const auto &program : options.programs)
		fs::copy_file(program, root / "bin" / fs::path(program).filename());
}

/* Beside the bundle first, then renamed: there is a whole bundle or none. */
void make_bundle(const Options &options, const json &config)
{
	fs::path bundle = fs::absolute(options.bundle);
	fs::path temporary = bundle;

	temporary += ".tmp";
	if (fs::exists(bundle))
		throw std::runtime_error(options.bundle + ": exists already");
	fs::remove_all(temporary);
	try {
		make_rootfs(options, temporary / "rootfs");
		if (options.user_namespace)
			fs::permissions(temporary, fs::perms(0755));
		std::ofstream file(temporary / "config.json");
		file << config.dump(2) << '\n';
		file.close();
		if (!file)
			throw std::runtime_error((temporary / "config.json").string() + ": cannot write");
		fs::rename(temporary, bundle);
	} catch (...) {
		std::error_code ignored;
		fs::remove_all(temporary, ignored);
		throw;
	}
}

} // namespace

int main(int argc, char **argv)
{
	Options options;
	json config;
	CLI::App app("Make an OCI bundle of busybox and static programs.", "oci-bundle");

	app.add_option("bundle", options.bundle, "directory to make")->required();
	app.add_option("--cgroup", options.cgroup, "cgroup, from the root of the hierarchy")->required();
	app.add_option("--unified", options.unified, "cgroup file and its content, FILE=VALUE")
		->allow_extra_args(false);
	app.add_option("--annotation", options.annotations, "annotation, KEY=VALUE")
		->allow_extra_args(false);
	app.add_option("--env", options.environment, "variable in the environment, NAME=VALUE")
		->allow_extra_args(false);
	app.add_option("--program", options.programs, "static program to put into /bin")
		->allow_extra_args(false);
	app.add_option("--mount", options.mounts, "bind mount, SOURCE:DESTINATION[:ro]")
		->allow_extra_args(false);
	app.add_option("--cap", options.capabilities, "capability the container keeps")
		->allow_extra_args(false);
	app.add_option("--rtprio", options.rtprio, "RLIMIT_RTPRIO")->check(CLI::Range(0, 99));
	app.add_option("--busybox", options.busybox, "static busybox")->capture_default_str();
	app.add_option("--cgroup-mount", options.cgroup_mount, "/sys/fs/cgroup inside: none, ro or rw")
		->check(CLI::IsMember({ "none", "ro", "rw" }))
		->capture_default_str();
	app.add_flag("--userns", options.user_namespace, "a user namespace of its own");
	app.footer("The command to run in the container follows after --.");

	/* What follows -- is the container's, options included. */
	char **end = std::find(argv, argv + argc, std::string_view("--"));
	if (end != argv + argc)
		options.args.assign(end + 1, argv + argc);
	try {
		app.parse(end - argv, argv);
		if (options.args.empty())
			throw std::runtime_error("no command: it follows after --");
		if (options.cgroup[0] != '/' || options.cgroup.size() < 2)
			throw std::runtime_error("--cgroup: '" + options.cgroup + "' does not begin with / and a name");
		config = make_config(options);
	} catch (const CLI::ParseError &error) {
		int status = app.exit(error);
		return status ? 2 : 0;
	} catch (const std::exception &error) {
		std::cerr << "oci-bundle: " << error.what() << '\n';
		return 2;
	}
	try {
		make_bundle(options, config);
	} catch (const fs::filesystem_error &error) {
		std::cerr << "oci-bundle: " << error.path1().string() << ": " << error.code().message() << '\n';
		return 1;
	} catch (const std::exception &error) {
		std::cerr << "oci-bundle: " << error.what() << '\n';
		return 1;
	}
	return 0;
}
