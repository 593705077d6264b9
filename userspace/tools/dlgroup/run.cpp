// SPDX-License-Identifier: GPL-2.0-only
// run: a command in a cgroup of its own, from the reservation to the removal.
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

namespace dlgroup::tool {

namespace {

// As env(1) and chrt(1) have it.
constexpr int kCannotRun = 126, kNotFound = 127, kSignalBase = 128;
constexpr std::array kForwarded{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

// Started, but held back until the group and the policy are right.
class HeldChild {
public:
	static Result<HeldChild> start(const std::vector<std::string> &command,
				       const sigset_t &mask);
	pid_t pid() const { return pid_; }
	// errno of the exec, 0 if it went well.
	int release();
	// Ends a child that is not to run.
	void abandon();

private:
	pid_t pid_ = -1;
	int go_ = -1;     // closed without a byte: do not run
	int failed_ = -1; // carries errno; closed by a successful exec
};

Result<HeldChild> HeldChild::start(const std::vector<std::string> &command,
				   const sigset_t &mask)
{
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

// Waits for the child, handing on what others send to us.
int wait_for(pid_t child, const sigset_t &signals)
{
	while (true) {
		siginfo_t info{};
		int signal = sigwaitinfo(&signals, &info);
		if (signal < 0)
			continue;
		// A key of the terminal reaches the command without our help.
		if (signal != SIGCHLD && info.si_code != SI_KERNEL)
			kill(child, signal);
		int status;
		if (waitpid(child, &status, WNOHANG) == child)
			return WIFEXITED(status) ? WEXITSTATUS(status)
						 : kSignalBase + WTERMSIG(status);
	}
}

bool is_populated(const Dir &dir)
{
	auto events = dir.read("cgroup.events");
	for (const auto &line : lines(events.value_or("")))
		if (line == "populated 0")
			return false;
	return events.has_value();
}

// Ends whatever the command left behind, and removes the group.
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

std::string group_name(const Options &options)
{
	if (options.name.empty())
		return fmt::format("/dlgroup.{}", getpid());
	return options.name[0] == '/' ? options.name : "/dlgroup." + options.name;
}

} // namespace

Result<int> run(const Context &context)
{
	const auto &options = context.options;
	auto request = requested(options);
	if (!request)
		return tl::unexpected(request.error());
	if (options.command.empty())
		return bad_input("run", "no command: dlgroup run RES [options] -- CMD");
	auto policy = requested_policy(options);
	if (policy && !request->is_max && request->runtime.count() == 0)
		return bad_input("run", "runtime 0 forbids FIFO/RR, --fifo and --rr ask for it");
	if (options.name.find('/', 1) == std::string::npos && options.name == "/")
		return bad_input("--name", "the root cgroup has no reservation");
	std::optional<CpuSet> cpus;
	if (!options.cpus.empty()) {
		auto parsed = parse_cpus(options.cpus);
		if (!parsed)
			return tl::unexpected(parsed.error());
		cpus = *parsed;
	}
	auto group = check_group_path(group_name(options));
	if (!group)
		return tl::unexpected(group.error());
	auto tree = read_tree(context.roots);
	if (!tree)
		return tl::unexpected(tree.error());
	if (tree->find(*group))
		return bad_input(*group, "exists already");
	if (!tree->find(parent_of(*group)))
		return bad_input(*group, "its parent does not exist");

	sigset_t signals, former;
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	for (int signal : kForwarded)
		sigaddset(&signals, signal);

	Changes changes(context.roots, context.groups, context.tasks, options.dry_run);
	auto done = enable_controllers(*tree, changes, *group, cpus.has_value());
	if (done)
		done = changes.create(*group);
	if (done)
		done = reserve(context, changes, *group, *request, cpus);
	if (!done)
		return roll_back(changes, done.error());
	if (options.dry_run) {
		std::string line;
		for (const auto &argument : options.command)
			line += " " + argument;
		auto directory = directory_of(context.roots, *group).string();
		auto chrt = policy ? fmt::format("chrt --{} {}", options.fifo ? "fifo" : "rr",
						 policy->priority)
				   : std::string();
		auto steps = changes.steps();
		steps.push_back(fmt::format("echo $$ > {}/cgroup.procs", directory));
		steps.push_back((policy ? chrt + line : line.substr(1)));
		steps.push_back("rmdir " + directory);
		if (options.json) {
			auto out = answer();
			out["steps"] = steps;
			print(out);
		} else {
			for (const auto &step : steps)
				print(step);
		}
		return 0;
	}

	sigprocmask(SIG_BLOCK, &signals, &former);
	auto child = HeldChild::start(options.command, former);
	if (!child)
		return roll_back(changes, child.error());
	// The group first: only its bandwidth allows FIFO/RR.
	done = context.groups.attach(*group, child->pid());
	if (done && policy) {
		done = context.tasks.set(child->pid(), *policy);
		if (!done)
			done = tl::unexpected(explain_task(context, *group, done.error()));
	}
	if (!done) {
		child->abandon();
		return roll_back(changes, done.error());
	}
	auto now = read_tree(context.roots);
	auto index = now ? now->find(*group) : std::nullopt;
	auto reserved = index ? summary(*now, *index) : std::string("reserved");
	if (int error = child->release()) {
		roll_back(changes, Error{});
		return report({Status::failed, options.command[0], std::strerror(error), error,
			       nullptr}, options.json),
		       error == ENOENT ? kNotFound : kCannotRun;
	}
	changes.keep();
	if (!policy && !request->is_max && request->runtime.count())
		reserved += ", and nothing is served until something in it is FIFO/RR (--fifo, --rr)";
	say(*group, reserved);
	int status = wait_for(child->pid(), signals);
	if (auto clean = clean_up(context, *group); !clean)
		say(*group, "not removed: " + clean.error().reason);
	return status;
}

} // namespace dlgroup::tool
