// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/container.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <dlgroup/fs.h>

extern char **environ;

namespace dlgroup {

namespace {

// What a command prints; `failure` says what it means if it fails.
Result<std::string> output_of(std::vector<std::string> command, const std::string &object,
			      const std::string &failure)
{
	int out[2];
	if (pipe(out))
		return system_error("pipe", errno);
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
	posix_spawn_file_actions_addclose(&actions, out[0]);
	posix_spawn_file_actions_addclose(&actions, out[1]);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	std::vector<char *> argv;
	for (auto &word : command)
		argv.push_back(word.data());
	argv.push_back(nullptr);
	pid_t child;
	int error = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
	posix_spawn_file_actions_destroy(&actions);
	close(out[1]);
	std::string text;
	char buffer[4096];
	ssize_t got;
	while (!error && (got = read(out[0], buffer, sizeof(buffer))) > 0)
		text.append(buffer, static_cast<std::size_t>(got));
	close(out[0]);
	if (error)
		return system_error(command[0], error);
	int status = 0;
	waitpid(child, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return fail(Status::failed, object, failure);
	return text;
}

} // namespace

namespace {

using Json = nlohmann::json;

Json read_json(const std::filesystem::path &path)
{
	auto text = read_file(path);
	return text ? Json::parse(*text, nullptr, false) : Json();
}

std::string docker_name(const std::filesystem::path &root, const std::string &id)
{
	auto json = read_json(root / "var/lib/docker/containers" / id / "config.v2.json");
	if (!json.is_object() || !json.contains("Name") || !json["Name"].is_string())
		return "";
	auto name = json["Name"].get<std::string>();
	return name.starts_with("/") ? name.substr(1) : name;
}

std::string podman_name(const std::filesystem::path &root, const std::string &id)
{
	auto storage = root / "var/lib/containers/storage";
	for (const auto &driver : directories_in(storage)) { // overlay-containers, vfs-containers
		auto json = driver.ends_with("-containers") ? read_json(storage / driver / "containers.json") : Json();
		if (!json.is_array())
			continue;
		for (const auto &one : json)
			if (one.is_object() && one.contains("id") && one["id"] == id && one.contains("names") &&
			    one["names"].is_array() && !one["names"].empty() && one["names"][0].is_string())
				return one["names"][0].get<std::string>();
	}
	return "";
}

// An id is 64 hexadecimal digits: nothing that leads out of a directory.
bool is_id(const std::string &text)
{
	return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

} // namespace

std::optional<ContainerName> container_of(const std::filesystem::path &root, const std::string &group)
{
	constexpr std::size_t kShort = 12;
	std::string above;
	for (const auto &part : std::filesystem::path(group)) {
		auto name = part.string();
		auto parent = std::exchange(above, name);
		if (name.starts_with("lxc.payload."))
			return ContainerName{"lxc", printable(name.substr(std::strlen("lxc.payload.")))};
		// With systemd: docker-ID.scope; without: /docker/ID, /libpod_parent/libpod-ID.
		if (name.ends_with(".scope"))
			name.erase(name.rfind('.'));
		auto dash = name.find('-');
		auto kind = dash == name.npos ? parent : name.substr(0, dash);
		auto id = dash == name.npos ? name : name.substr(dash + 1);
		if ((kind != "docker" && kind != "libpod") || !is_id(id))
			continue;
		auto found = kind == "docker" ? docker_name(root, id) : podman_name(root, id);
		return ContainerName{kind == "docker" ? "docker" : "podman",
				     found.empty() ? id.substr(0, kShort) : printable(found)};
	}
	return std::nullopt;
}

std::string maker_of(const std::string &group)
{
	std::string above;
	for (std::size_t at = 0; at != group.npos && at < group.size();) {
		auto end = group.find('/', at + 1);
		auto name = group.substr(at + 1, end == group.npos ? end : end - at - 1);
		if (name.starts_with("docker-") || above == "docker")
			return "docker";
		if (name.starts_with("libpod-") || above == "libpod_parent")
			return "podman";
		if (name.starts_with("lxc.payload.") || name.starts_with("lxc.monitor."))
			return "LXC";
		if (name.starts_with("cri-containerd-"))
			return "containerd";
		// What run and vm attach make goes with the command and the guest.
		if (name.starts_with("dlgroup."))
			return "dlgroup";
		if (name.ends_with(".scope") || name.ends_with(".service"))
			return "systemd";
		above = name;
		at = end;
	}
	return "";
}

Result<pid_t> container_pid(const std::string &name)
{
	auto object = "container " + name;
	if (name.empty() || name[0] == '-' || name.find('/') != name.npos)
		return bad_input(object, "not the name of a container");
	auto text = output_of({"crun", "state", name}, object, "crun knows no such container");
	if (!text)
		return tl::unexpected(text.error());
	auto state = nlohmann::json::parse(*text, nullptr, false);
	if (!state.is_object() || !state.contains("pid") || !state["pid"].is_number_integer() ||
	    state["pid"].get<pid_t>() <= 0)
		return fail(Status::failed, object, "has no process (crun state)");
	return state["pid"].get<pid_t>();
}

Result<std::string> unit_cgroup(const std::string &name)
{
	auto object = "unit " + name;
	// No pattern: that would name several.
	if (name.empty() || !std::all_of(name.begin(), name.end(), [](char letter) {
		    return std::isalnum(static_cast<unsigned char>(letter)) ||
			   std::strchr(":-_.\\@", letter);
	    }))
		return bad_input(object, "not the name of a unit");
	auto text = output_of({"systemctl", "show", "-p", "ControlGroup", "--value", "--", name},
			      object, "systemctl cannot tell its cgroup (is systemd running?)");
	if (!text)
		return text;
	auto group = trimmed(*text);
	if (group.empty())
		return fail(Status::failed, object, "has no cgroup: it is not active");
	return group;
}

} // namespace dlgroup
