// SPDX-License-Identifier: GPL-2.0-only
// attach and detach
#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <sched.h>

#include "common.h"

namespace dlgroup::tool {

namespace {

Result<void> check_pids(const Context &context)
{
	for (auto pid : context.options.pids)
		if (auto task = read_task(context.roots, pid); !task)
			return bad_input(task.error().object, task.error().reason);
	return {};
}

Result<void> set_policy_of(const Context &context, Changes &changes, const std::string &group,
			   pid_t pid, const Policy &policy)
{
	constexpr int kRounds = 20;
	for (int round = 0; round < kRounds; round++) {
		bool changed = false;
		for (auto tid : threads_of(context.roots, pid)) {
			auto task = read_task(context.roots, tid);
			if (!task || task->is_deadline())
				continue;
			auto wanted = policy;
			wanted.policy |= task->policy.policy & SCHED_RESET_ON_FORK;
			if (task->policy == wanted)
				continue;
			if (auto done = changes.set_policy(tid, wanted); !done)
				return tl::unexpected(explain_task(context, group, done.error()));
			changed = true;
		}
		if (!changed || changes.dry_run())
			return {};
	}
	return fail(Status::failed, fmt::format("pid {}", pid),
		    "its threads multiply faster than their policy can be set");
}

int done_with(const Context &context, const std::string &group, const char *how)
{
	std::string pids;
	for (auto pid : context.options.pids)
		pids += fmt::format("{}{}", pids.empty() ? "" : " ", pid);
	if (context.options.json) {
		auto out = answer();
		out["group"] = group;
		out[how] = context.options.pids;
		print(out);
	} else {
		print(fmt::format("{}: {} {}", group, how, pids));
	}
	return 0;
}

} // namespace

Result<int> attach(const Context &context)
{
	const auto &options = context.options;
	auto target = find_target(context);
	if (!target)
		return tl::unexpected(target.error());
	const auto &group = target->path();
	if (auto known = check_pids(context); !known)
		return tl::unexpected(known.error());

	Changes changes(context.roots, context.groups, context.tasks, options.dry_run);
	auto policy = requested_policy(options);
	for (auto pid : options.pids) {
		auto done = changes.attach(group, pid);
		if (!done)
			return roll_back(changes, explain_attach(context, group, fmt::format("pid {}", pid),
								 done.error()));
		if (policy)
			done = set_policy_of(context, changes, group, pid, *policy);
		if (!done)
			return roll_back(changes, done.error());
	}
	if (options.dry_run)
		return print_steps(changes.steps(), options.json);
	changes.keep();
	done_with(context, group, "attached");
	say_if_nothing_served(context, group);
	return 0;
}

// A process goes to the nearest cgroup above its reservation that takes
// processes, in the end the root.
Result<int> detach(const Context &context)
{
	const auto &options = context.options;
	if (auto known = check_pids(context); !known)
		return tl::unexpected(known.error());
	auto tree = read_tree(context.roots);
	if (!tree)
		return tl::unexpected(tree.error());

	Changes changes(context.roots, context.groups, context.tasks, options.dry_run);
	std::string last = "/";
	for (auto pid : options.pids) {
		auto task = read_task(context.roots, pid);
		auto at = task ? tree->find(task->cgroup) : std::nullopt;
		auto source = at ? tree->source_of(*at) : std::nullopt;
		if (!source)
			return roll_back(changes, Error{Status::failed, fmt::format("pid {}", pid),
							"is in no reservation", 0, nullptr});
		while (auto above = tree->numbered_ancestor(*source))
			source = above;
		auto to = tree->groups[*source].parent;
		Result<void> done;
		for (; to; to = tree->groups[*to].parent) {
			last = tree->groups[*to].path;
			done = changes.attach(last, pid);
			if (done || done.error().sys_errno != EBUSY)
				break;
		}
		if (!done)
			return roll_back(changes, done.error());
	}
	if (options.dry_run)
		return print_steps(changes.steps(), options.json);
	changes.keep();
	done_with(context, last, "detached");
	for (auto pid : options.pids)
		for (auto tid : threads_of(context.roots, pid))
			if (auto task = read_task(context.roots, tid); task && task->is_fifo_or_rr()) {
				say(fmt::format("pid {}", pid),
				    fmt::format("is {} and now runs outside of every reservation",
						name_policy(task->policy)));
				break;
			}
	return 0;
}

} // namespace dlgroup::tool
