// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/container.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
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
