// SPDX-License-Identifier: GPL-2.0-only
// Threads put back to what a record says they were.
#pragma once

#include "common.h"

#include <dlgroup/record.h>

namespace dlgroup::tool {

bool is_gone(const Result<void> &done); // the task has ended

// Into the cgroup, or the nearest one above that is there and takes processes.
Result<void> move_back(Changes &changes, const std::string &group, pid_t pid);
// True if there was something to do.
Result<bool> put_policy_back(const Context &context, Changes &changes, const Task &task,
			     const Policy &policy);
// Those that cannot be used any more are told and left.
Result<void> put_cpus_back(Changes &changes, const Task &task, const CpuSet &cpus);

// All three, for threads that are nobody else's; what has only the number of one is left alone.
// What could not be put back, one sentence each.
std::vector<std::string> put_back(const Context &context, Changes &changes,
				  const std::vector<ThreadState> &threads);

} // namespace dlgroup::tool
