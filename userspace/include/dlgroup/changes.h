// SPDX-License-Identifier: GPL-2.0-only
// A sequence of changes that leaves no trace unless it is kept: whatever was
// done is undone in reverse order. In a dry run nothing is done, only told.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <dlgroup/cgroup.h>

namespace dlgroup {

class Changes {
public:
	Changes(const Roots &roots, GroupControl &groups, TaskControl &tasks, bool dry_run)
	    : roots_(roots), groups_(groups), tasks_(tasks), dry_run_(dry_run)
	{
	}
	Changes(const Changes &) = delete;
	Changes &operator=(const Changes &) = delete;
	~Changes() { undo(); }

	// One write; `undo_text` is what puts the former state back.
	Result<void> write(const std::string &group, const std::string &file,
			   const std::string &text, const std::string &undo_text);
	Result<void> create(const std::string &group);
	Result<void> remove(const std::string &group); // not undone
	// All threads of a process; undone to where each of them was.
	Result<void> attach(const std::string &group, pid_t pid);
	// A task that ended meanwhile is no failure.
	Result<void> set_policy(pid_t tid, const Policy &policy);
	Result<void> set_cpus(pid_t tid, const CpuSet &cpus); // nor here

	void keep() { undo_.clear(); }
	// What could not be put back, one sentence each.
	std::vector<std::string> undo();

	bool dry_run() const { return dry_run_; }
	// The steps of a dry run as shell commands.
	const std::vector<std::string> &steps() const { return steps_; }

private:
	const Roots &roots_;
	GroupControl &groups_;
	TaskControl &tasks_;
	bool dry_run_;
	std::vector<std::function<Result<void>()>> undo_;
	std::vector<std::string> steps_;
};

} // namespace dlgroup
