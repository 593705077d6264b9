// SPDX-License-Identifier: GPL-2.0-only
#include "child.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dlgroup::tool {

Result<HeldChild> HeldChild::start(const std::vector<std::string> &command,
				   const sigset_t &mask)
{
	// Whoever was told to end while the group was made does not begin.
	sigset_t pending;
	sigpending(&pending);
	for (int signal : kForwarded)
		if (sigismember(&pending, signal))
			return fail(Status::failed, command[0],
				    fmt::format("not started: {}", strsignal(signal)));
	int go[2], failed[2];
	if (pipe2(go, O_CLOEXEC))
		return system_error("pipe", errno);
	if (pipe2(failed, O_CLOEXEC))
		return system_error("pipe", errno);
	std::vector<char *> argv;
	for (const auto &argument : command)
		argv.push_back(const_cast<char *>(argument.c_str()));
	argv.push_back(nullptr);

	pid_t pid = fork();
	if (pid < 0)
		return system_error("fork", errno);
	if (pid == 0) {
		close(go[1]);
		char byte;
		if (read(go[0], &byte, 1) != 1)
			_exit(1);
		sigprocmask(SIG_SETMASK, &mask, nullptr);
		execvp(argv[0], argv.data());
		int error = errno;
		[[maybe_unused]] auto told = write(failed[1], &error, sizeof(error));
		_exit(kCannotRun);
	}
	close(go[0]);
	close(failed[1]);
	HeldChild child;
	child.pid_ = pid;
	child.go_ = go[1];
	child.failed_ = failed[0];
	return child;
}

int HeldChild::release()
{
	int error = 0;
	if (write(go_, "", 1) != 1)
		error = errno;
	close(go_);
	if (!error && read(failed_, &error, sizeof(error)) != sizeof(error))
		error = 0;
	close(failed_);
	if (error)
		waitpid(pid_, nullptr, 0);
	return error;
}

void HeldChild::abandon()
{
	close(go_);
	close(failed_);
	waitpid(pid_, nullptr, 0);
}

sigset_t handled_signals()
{
	sigset_t signals;
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	for (int signal : kForwarded)
		sigaddset(&signals, signal);
	return signals;
}

std::optional<int> wait_once(pid_t child, const sigset_t &signals, const timespec *longest)
{
	siginfo_t info{};
	int signal = sigtimedwait(&signals, &info, longest);
	// A key of the terminal reaches the command without our help.
	if (signal > 0 && signal != SIGCHLD && info.si_code != SI_KERNEL)
		kill(child, signal);
	int status;
	if (waitpid(child, &status, WNOHANG) != child)
		return std::nullopt;
	return WIFEXITED(status) ? WEXITSTATUS(status) : kSignalBase + WTERMSIG(status);
}

int wait_for(pid_t child, const sigset_t &signals)
{
	while (true)
		if (auto status = wait_once(child, signals, nullptr))
			return *status;
}

namespace {

bool is_populated(const Dir &dir)
{
	auto events = dir.read("cgroup.events");
	for (const auto &line : lines(events.value_or("")))
		if (line == "populated 0")
			return false;
	return events.has_value();
}

} // namespace

Result<void> clean_up(const Context &context, const std::string &group)
{
	auto dir = Dir::open(directory_of(context.roots, group));
	if (!dir)
		return tl::unexpected(dir.error());
	if (is_populated(*dir)) {
		std::string left;
		auto tree = read_tree(context.roots);
		for (std::size_t i = 0; tree && i < tree->groups.size(); i++)
			if (tree->groups[i].path == group ||
			    tree->groups[i].path.starts_with(group + "/"))
				for (auto pid : processes_in(context.roots, tree->groups[i].path))
					left += fmt::format(" {}", pid);
		if (auto done = dir->write("cgroup.kill", "1"); !done)
			return done;
		if (!left.empty())
			say(group, "the command left processes behind, killed:" + left);
		int events = open((dir->path() / "cgroup.events").c_str(), O_RDONLY | O_CLOEXEC);
		while (is_populated(*dir)) {
			pollfd changed{events, POLLPRI, 0};
			poll(&changed, 1, 100);
		}
		close(events);
	}
	// Cgroups that the command made below its own.
	auto tree = read_tree(context.roots);
	for (auto i = tree ? tree->groups.size() : 0; i-- > 0;)
		if (tree->groups[i].path.starts_with(group + "/"))
			if (auto done = context.groups.remove(tree->groups[i].path); !done)
				return done;
	return context.groups.remove(group);
}

} // namespace dlgroup::tool
