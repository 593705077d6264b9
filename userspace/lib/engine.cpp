// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/engine.h>

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <dlgroup/fs.h>

#include "json.h"
#include "toml.h"

namespace dlgroup {

namespace {

constexpr const char *kRuntime = "dlgroup-runtime";
constexpr std::string_view kPrefix = "dlgroup-";
constexpr const char *kBlanks = " \t\r\n";

// --- docker: members of JSON objects, taken out and put in where they stand

// With the comma that parted it from the others.
std::string without_member(const PlacedJson &placed, const std::string &pointer, std::string text)
{
	auto begin = placed.key_of(pointer), end = placed.end_of(pointer);
	auto before = text.find_last_not_of(kBlanks, begin - 1); // a brace or a comma
	auto after = text.find_first_not_of(kBlanks, end);
	if (text[after] == ',')
		return text.erase(before + 1, after - before);
	auto from = text[before] == ',' ? before : before + 1;
	return text.erase(from, end - from);
}

// At the front: taken out again it leaves nothing behind.
std::string with_member(const PlacedJson &placed, const std::string &object, std::string text,
			const std::string &member)
{
	bool empty = placed.json()[nlohmann::json::json_pointer(object)].empty();
	return text.insert(placed.begin_of(object) + 1, member + (empty ? "" : ","));
}

std::string runtime_member(const std::string &name, const std::string &path)
{
	return fmt::format("\n        \"{}\": {{ \"path\": {} }}", name, nlohmann::json(path).dump());
}

constexpr const char *kNoRuntimes = "{\n    }";
constexpr const char *kEmptyDocker = "{\n}\n";

// An entry that setup could have made.
bool is_ours(const std::string &name, const nlohmann::json &entry)
{
	return name.starts_with(kPrefix) && entry.is_object() && entry.size() == 1 && entry.contains("path") &&
	       entry["path"].is_string() &&
	       std::filesystem::path(entry["path"].get_ref<const std::string &>()).filename() == name;
}

std::string pointer_to(const std::string &runtime)
{
	return (nlohmann::json::json_pointer("/runtimes") / runtime).to_string();
}

Result<PlacedJson> read_docker(const std::string &text, const std::string &name)
{
	auto placed = PlacedJson::parse(Source(text, name));
	if (!placed)
		return placed;
	const auto &json = placed->json();
	if (!json.is_object())
		return placed->refuse("", "expected an object, the configuration of dockerd");
	if (json.contains("runtimes") && !json["runtimes"].is_object())
		return placed->refuse("/runtimes", "expected an object with a runtime for each name");
	return placed;
}

// --- containerd: a block of lines at the end

constexpr std::string_view kBegin = "# dlgroup container setup containerd: begin. Unset removes it.\n";
constexpr std::string_view kEnd = "# dlgroup container setup containerd: end\n";
constexpr const char *kEmptyContainerd = "version = 2\n";

Result<std::string> without_block(std::string text, const std::string &name)
{
	// A newline before it is ours: it ends a last line that had no end.
	auto begin = text.find("\n" + std::string(kBegin));
	if (begin == text.npos)
		return text;
	auto end = text.find(kEnd, begin);
	if (end == text.npos)
		return Source(text, name).refuse(begin + 1, fmt::format("has no end; expected '{}' below",
									trimmed(std::string(kEnd))));
	return text.erase(begin, end + kEnd.size() - begin);
}

std::string containerd_block(const toml::table &config, const std::string &plugin, const Runtimes &runtimes)
{
	auto there = config["plugins"][plugin]["containerd"]["runtimes"];
	// What makes the cgroups is the same for all containers of a node.
	auto systemd = there["runc"]["options"]["SystemdCgroup"].value<bool>();
	auto block = "\n" + std::string(kBegin);
	// The first runtime that a file names takes the place of containerd's own.
	if (!there)
		block += fmt::format("[plugins.\"{}\".containerd.runtimes.runc]\n"
				     "  runtime_type = \"io.containerd.runc.v2\"\n", plugin);
	for (const auto &[name, path] : runtimes) {
		auto table = fmt::format("plugins.\"{}\".containerd.runtimes.{}", plugin, name);
		block += fmt::format("[{}]\n  runtime_type = \"io.containerd.runc.v2\"\n[{}.options]\n"
				     "  BinaryName = {}\n", table, table, nlohmann::json(path).dump());
		if (systemd)
			block += fmt::format("  SystemdCgroup = {}\n", *systemd);
	}
	return block + std::string(kEnd);
}

// --- podman and LXC: files of our own

constexpr const char *kOwn = "# Written by dlgroup container setup, removed by unset.";

std::string podman_text(const Runtimes &runtimes)
{
	std::string text = std::string(kOwn) + "\n[engine.runtimes]\n";
	for (const auto &[name, path] : runtimes)
		text += fmt::format("{} = [{}]\n", name, nlohmann::json(path).dump());
	return text;
}

std::string lxc_text(const Class &of, bool prefers_kernel, bool systemd)
{
	const auto &ask = *of.reservation;
	auto value = apply_request({}, ask.request);
	const auto &cpus = ask.cpus ? ask.cpus : of.cpus;
	std::string policy;
	if (ask.policy)
		policy = fmt::format(" --{} {}", ask.policy->policy == SCHED_RR ? "rr" : "fifo",
				     ask.policy->priority);
	auto hook = fmt::format("{}dlgroup set pid:$LXC_PID {}{}{}", systemd ? "systemd-cat -t dlgroup " : "",
				format_rt_max(value), cpus ? " --cpus " + format_cpus(*cpus) : "", policy);
	// LXC puts an exec before it, which takes one command only.
	if (prefers_kernel)
		hook = fmt::format("sh -c '{} || test $? -eq {}'", hook, static_cast<int>(Status::unsupported));
	return fmt::format("{}\nlxc.hook.version = 1\nlxc.hook.start-host = {}\nlxc.prlimit.rtprio = {}\n", kOwn,
			   hook, of.max_priority);
}

// --- files

constexpr std::size_t kLargest = 1 << 20;

Result<ConfigText> read_config(const std::filesystem::path &path)
{
	auto dir = Dir::open(path.parent_path());
	auto file = dir ? dir->read_regular(path.filename(), kLargest) : tl::unexpected(dir.error());
	if (!file && file.error().sys_errno == ENOENT)
		return std::nullopt;
	if (!file)
		return tl::unexpected(file.error());
	return file->text;
}

Result<void> write_config(const std::filesystem::path &path, const ConfigText &text)
{
	std::error_code error;
	std::filesystem::create_directories(path.parent_path(), error);
	auto dir = error ? system_error(path.parent_path().string(), error.value())
			 : Dir::open(path.parent_path());
	if (!dir)
		return tl::unexpected(dir.error());
	if (!text)
		return dir->remove(path.filename());
	bool fresh = !dir->has(path.filename());
	auto done = dir->replace(path.filename(), *text);
	// Others read them too, such as rootless podman.
	if (done && fresh && chmod(path.c_str(), 0644))
		return system_error(path.string(), errno);
	return done;
}

class Engine {
public:
	Engine(const std::filesystem::path &root, const std::string &name) : root_(root), name_(name) {}

	Result<EngineChange> setup(const Classes &classes)
	{
		if (auto found = find_runtimes(classes); !found)
			return tl::unexpected(found.error());
		return name_ == "lxc" ? lxc(classes) : edit();
	}
	Result<EngineChange> unset() { return name_ == "lxc" ? lxc({}) : edit(); }

private:
	Result<void> find_runtimes(const Classes &classes)
	{
		if (classes.by_name.empty())
			return bad_input("/etc/dlgroup/policy.toml", "has no class: nothing would be granted");
		std::vector<std::filesystem::path> directories{"usr/local/sbin", "usr/sbin"};
		std::error_code ignored;
		if (root_ == "/")
			directories.insert(directories.begin(),
					   std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path());
		for (const auto &directory : directories)
			if (change_.runtime.empty() && std::filesystem::exists(root_ / directory / kRuntime, ignored))
				change_.runtime = root_ / directory / kRuntime;
		if (change_.runtime.empty())
			return fail(Status::failed, kRuntime, "is neither beside dlgroup nor in /usr/local/sbin or /usr/sbin");
		auto inside = "/" / change_.runtime.parent_path().lexically_relative(root_);
		for (const auto &[of, one] : classes.by_name) {
			if (of.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") !=
			    of.npos)
				return bad_input("class " + printable(of), "cannot name a runtime: letters, digits, - and _ can");
			auto link = std::string(kPrefix) + of;
			runtimes_[link] = (inside / link).string();
			if (name_ != "lxc" && !std::filesystem::exists(change_.runtime.parent_path() / link, ignored))
				change_.links.push_back(link);
		}
		return {};
	}

	Result<void> add(const std::filesystem::path &path, ConfigText before, ConfigText after)
	{
		if (before != after)
			change_.files.push_back({path, std::move(before), std::move(after)});
		return {};
	}

	// The one file of the engine; where it is a link, what that leads to.
	Result<EngineChange> edit()
	{
		bool podman = name_ == "podman";
		std::filesystem::path path = root_ / (podman		    ? "etc/containers/containers.conf.d/dlgroup.conf"
						      : name_ == "docker" ? "etc/docker/daemon.json"
									  : "etc/containerd/config.toml");
		std::error_code ignored;
		if (std::filesystem::is_symlink(path, ignored))
			path = std::filesystem::weakly_canonical(path, ignored);
		auto before = read_config(path);
		if (!before)
			return tl::unexpected(before.error());
		Result<ConfigText> after;
		if (!podman)
			after = (name_ == "docker" ? docker_config : containerd_config)(*before, path.string(), runtimes_);
		else if (auto good = check_own(path, *before); !good)
			return tl::unexpected(good.error());
		else if (!runtimes_.empty())
			after = ConfigText(podman_text(runtimes_));
		if (!after)
			return tl::unexpected(after.error());
		add(path, *before, *after);
		// dockerd keeps runtimes that are gone from its file until it starts anew.
		if (!change_.files.empty() && !podman)
			change_.then = fmt::format("systemctl {} {}",
						   name_ == "docker" && !runtimes_.empty() ? "reload" : "restart", name_);
		return change_;
	}

	Result<EngineChange> lxc(const Classes &classes)
	{
		auto directory = root_ / "etc/lxc";
		std::error_code ignored;
		bool systemd = std::filesystem::exists(root_ / "usr/bin/systemd-cat", ignored);
		std::map<std::string, ConfigText> wanted;
		for (const auto &entry : std::filesystem::directory_iterator(directory, ignored)) {
			auto file = entry.path().filename().string();
			auto text = file.starts_with(kPrefix) ? read_config(entry.path()) : ConfigText();
			if (text && *text && (*text)->starts_with(kOwn))
				wanted[file] = std::nullopt;
		}
		for (const auto &[of, one] : classes.by_name)
			if (one.reservation)
				wanted[fmt::format("{}{}.conf", kPrefix, of)] = lxc_text(one, classes.prefers_kernel, systemd);
		for (const auto &[file, after] : wanted) {
			auto before = read_config(directory / file);
			auto good = before ? check_own(directory / file, *before) : tl::unexpected(before.error());
			if (!good)
				return tl::unexpected(good.error());
			add(directory / file, *before, after);
		}
		return change_;
	}

	static Result<void> check_own(const std::filesystem::path &path, const ConfigText &text)
	{
		if (text && !text->starts_with(kOwn))
			return bad_input(path.string(), "is there, and not by dlgroup container setup: remove it first");
		return {};
	}

	std::filesystem::path root_;
	std::string name_;
	Runtimes runtimes_;
	EngineChange change_;
};

} // namespace

Result<ConfigText> docker_config(const ConfigText &given, const std::string &name, const Runtimes &runtimes)
{
	if (!given && runtimes.empty())
		return std::nullopt;
	auto text = given.value_or(kEmptyDocker);
	while (true) {
		auto placed = read_docker(text, name);
		if (!placed)
			return tl::unexpected(placed.error());
		const auto &json = placed->json();
		std::string wrong;
		bool has_runtimes = json.contains("runtimes");
		auto there = has_runtimes ? json["runtimes"] : nlohmann::json::object();
		for (const auto &[key, entry] : there.items()) {
			auto wanted = runtimes.find(key);
			if (wanted != runtimes.end() && !is_ours(key, entry))
				return placed->refuse_key(pointer_to(key),
							  fmt::format("\"{}\" is there already; expected {{\"path\": "
								      "\"{}\"}} or none", key, wanted->second));
			if (is_ours(key, entry) && (wanted == runtimes.end() || entry["path"] != wanted->second))
				wrong = key;
		}
		if (!wrong.empty()) {
			text = without_member(*placed, pointer_to(wrong), text);
			continue;
		}
		std::string missing;
		for (const auto &[key, path] : runtimes)
			if (!there.contains(key))
				missing += (missing.empty() ? "" : ",") + runtime_member(key, path);
		if (!missing.empty())
			return has_runtimes ? with_member(*placed, "/runtimes", text, missing)
					    : with_member(*placed, "", text, "\n    \"runtimes\": {" + missing + "\n    }");
		if (!runtimes.empty())
			return text;
		// What setup makes where there was none.
		if (has_runtimes && text.compare(placed->begin_of("/runtimes"), std::strlen(kNoRuntimes), kNoRuntimes) == 0)
			text = without_member(*placed, "/runtimes", text);
		return text == kEmptyDocker ? ConfigText() : text;
	}
}

Result<ConfigText> containerd_config(const ConfigText &given, const std::string &name, const Runtimes &runtimes)
{
	if (!given && runtimes.empty())
		return std::nullopt;
	auto plain = without_block(given.value_or(kEmptyContainerd), name);
	if (!plain)
		return tl::unexpected(plain.error());
	auto config = parse_toml(*plain, name);
	if (!config)
		return tl::unexpected(config.error());
	if (runtimes.empty())
		return *plain == kEmptyContainerd ? ConfigText() : *plain;
	auto version = (*config)["version"].value<std::int64_t>().value_or(1);
	if (version != 2 && version != 3)
		return bad_input(name, fmt::format("version is {}; expected version = 2 or 3, as containerd config migrate makes it",
						   version));
	auto text = *plain + containerd_block(*config, version == 2 ? "io.containerd.grpc.v1.cri"
								    : "io.containerd.cri.v1.runtime", runtimes);
	// A runtime of this name, or tables that are closed to others.
	if (auto whole = parse_toml(text, name); !whole)
		return bad_input(name, "cannot be added to: " + whole.error().reason);
	return text;
}

Result<EngineChange> engine_setup(const std::filesystem::path &root, const std::string &engine,
				  const Classes &classes)
{
	return Engine(root, engine).setup(classes);
}

Result<EngineChange> engine_unset(const std::filesystem::path &root, const std::string &engine)
{
	return Engine(root, engine).unset();
}

Result<void> carry_out(const EngineChange &change)
{
	Result<void> done;
	std::size_t links = 0, files = 0;
	auto directory = change.runtime.parent_path();
	for (; done && links < change.links.size(); links++)
		if (symlink(kRuntime, (directory / change.links[links]).c_str()))
			done = system_error((directory / change.links[links]).string(), errno);
	for (; done && files < change.files.size(); files++)
		done = write_config(change.files[files].path, change.files[files].after);
	if (done)
		return done;
	// What failed last has changed nothing.
	for (links -= files == 0; links-- > 0;)
		unlink((directory / change.links[links]).c_str());
	for (files -= files > 0; files-- > 0;)
		static_cast<void>(write_config(change.files[files].path, change.files[files].before));
	return done;
}

std::string unified_diff(const ConfigFile &file)
{
	constexpr std::size_t kContext = 3;
	auto old_lines = lines(file.before.value_or("")), new_lines = lines(file.after.value_or(""));
	auto shorter = std::min(old_lines.size(), new_lines.size());
	std::size_t same = 0, tail = 0;
	while (same < shorter && old_lines[same] == new_lines[same])
		same++;
	while (tail < shorter - same && old_lines[old_lines.size() - 1 - tail] == new_lines[new_lines.size() - 1 - tail])
		tail++;
	auto from = same - std::min(same, kContext);
	auto after = std::min(tail, kContext);
	auto old_end = old_lines.size() - tail, new_end = new_lines.size() - tail;
	auto range = [&](std::size_t end) {
		auto count = end + after - from;
		return fmt::format("{},{}", count ? from + 1 : from, count);
	};
	auto text = fmt::format("--- {}\n+++ {}\n@@ -{} +{} @@\n", file.before ? file.path.string() : "/dev/null",
				file.after ? file.path.string() : "/dev/null", range(old_end), range(new_end));
	for (auto i = from; i < same; i++)
		text += " " + old_lines[i] + "\n";
	for (auto i = same; i < old_end; i++)
		text += "-" + old_lines[i] + "\n";
	for (auto i = same; i < new_end; i++)
		text += "+" + new_lines[i] + "\n";
	for (auto i = old_end; i < old_end + after; i++)
		text += " " + old_lines[i] + "\n";
	return text;
}

} // namespace dlgroup
