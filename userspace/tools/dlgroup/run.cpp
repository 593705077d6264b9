// SPDX-License-Identifier: GPL-2.0-only
// run: a command in a cgroup of its own, from the reservation to the removal.
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <unistd.h>

#include "child.h"

namespace dlgroup::tool {

namespace {

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

	// From now on none ends us while the group is there.
	sigset_t signals = handled_signals(), former;
	sigprocmask(SIG_BLOCK, &signals, &former);

	Changes changes(context.roots, context.groups, context.tasks, options.dry_run);
	auto done = set_up(context, changes, *tree, *group, *request, cpus);
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
		return print_steps(steps, options.json);
	}

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
