// SPDX-License-Identifier: GPL-2.0-only
#include "put_back.h"

#include <cerrno>

#include <fmt/format.h>

namespace dlgroup::tool {

bool is_gone(const Result<void> &done)
{
	return !done && done.error().sys_errno == ESRCH;
}

Result<void> move_back(Changes &changes, const std::string &group, pid_t pid)
{
	for (auto to = group;; to = parent_of(to)) {
		auto done = changes.attach(to, pid);
		if (done || is_gone(done) || to == "/")
			return done;
		auto error = done.error().sys_errno;
		if (error != ENOENT && error != EBUSY && error != EOPNOTSUPP)
			return done;
	}
}

Result<bool> put_policy_back(const Context &context, Changes &changes, const Task &task,
			     const Policy &policy)
{
	if (task.is_deadline() || task.policy == policy)
		return false;
	auto is = changes.dry_run() ? task.policy : context.tasks.get(task.tid).value_or(policy);
	if (is == policy)
		return false;
	auto done = changes.set_policy(task.tid, policy);
	if (!done && !is_gone(done))
		return tl::unexpected(done.error());
	return done.has_value();
}

Result<void> put_cpus_back(Changes &changes, const Task &task, const CpuSet &cpus)
{
	if (task.allowed == cpus)
		return {};
	auto done = changes.set_cpus(task.tid, cpus);
	// Those may be offline by now; what the kernel chose then stays.
	if (!done && done.error().sys_errno == EINVAL) {
		say(name_task(task), fmt::format("the {} it had cannot be used any more", name_cpus(cpus)));
		return {};
	}
	return done;
}

std::vector<std::string> put_back(const Context &context, Changes &changes,
				  const std::vector<ThreadState> &threads)
{
	std::vector<std::string> failures;
	auto note = [&](const auto &done) {
		if (!done && done.error().sys_errno != ESRCH)
			failures.push_back(done.error().object + ": " + done.error().reason);
	};
	for (const auto &state : threads) {
		auto task = read_task(context.roots, state.tid);
		if (!task || !find_state(threads, *task))
			continue;
		note(put_policy_back(context, changes, *task, state.policy));
		if (task->cgroup != state.cgroup)
			note(move_back(changes, state.cgroup, state.tid));
		// A cpuset that it has left or come to has changed them.
		if (auto now = read_task(context.roots, state.tid))
			note(put_cpus_back(changes, *now, state.cpus));
	}
	return failures;
}

} // namespace dlgroup::tool
