// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/container.h>

#include <cerrno>

#include <nlohmann/json.hpp>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <dlgroup/fs.h>

extern char **environ;

namespace dlgroup {

Result<pid_t> container_pid(const std::string &name)
{
	auto object = "container " + name;
	if (name.empty() || name[0] == '-' || name.find('/') != name.npos)
		return bad_input(object, "not the name of a container");
	int out[2];
	if (pipe(out))
		return system_error("pipe", errno);
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
	posix_spawn_file_actions_addclose(&actions, out[0]);
	posix_spawn_file_actions_addclose(&actions, out[1]);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	std::string command = "crun", verb = "state", argument = name;
	char *argv[] = {command.data(), verb.data(), argument.data(), nullptr};
	pid_t child;
	int error = posix_spawnp(&child, "crun", &actions, nullptr, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(out[1]);
	std::string text;
	char buffer[4096];
	ssize_t got;
	while (!error && (got = read(out[0], buffer, sizeof(buffer))) > 0)
		text.append(buffer, static_cast<std::size_t>(got));
	close(out[0]);
	if (error)
		return system_error("crun", error);
	int status = 0;
	waitpid(child, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return fail(Status::failed, object, "crun knows no such container");
	auto state = nlohmann::json::parse(text, nullptr, false);
	if (!state.is_object() || !state.contains("pid") || !state["pid"].is_number_integer() ||
	    state["pid"].get<pid_t>() <= 0)
		return fail(Status::failed, object, "has no process (crun state)");
	return state["pid"].get<pid_t>();
}

} // namespace dlgroup
