// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/changes.h>

#include <cerrno>
#include <map>

#include <fmt/format.h>
#include <sched.h>

namespace dlgroup {

Result<void> Changes::write(const std::string &group, const std::string &file,
			    const std::string &text, const std::string &undo_text)
{
	auto path = directory_of(roots_, group);
	if (dry_run_) {
		steps_.push_back(fmt::format("echo '{}' > {}", text, (path / file).string()));
		return {};
	}
	auto dir = Dir::open(path);
	if (!dir)
		return tl::unexpected(dir.error());
	if (auto done = dir->write(file, text); !done)
		return done;
	undo_.push_back([dir = *dir, file, undo_text] { return dir.write(file, undo_text); });
	return {};
}

Result<void> Changes::create(const std::string &group)
{
	if (dry_run_) {
		steps_.push_back("mkdir " + directory_of(roots_, group).string());
		return {};
	}
	if (auto done = groups_.create(group); !done)
		return done;
	undo_.push_back([this, group] { return groups_.remove(group); });
	return {};
}

Result<void> Changes::remove(const std::string &group)
{
	if (dry_run_) {
		steps_.push_back("rmdir " + directory_of(roots_, group).string());
		return {};
	}
	return groups_.remove(group);
}

Result<void> Changes::attach(const std::string &group, pid_t pid)
{
	if (dry_run_) {
		steps_.push_back(
			fmt::format("echo '{}' > {}", pid,
				    (directory_of(roots_, group) / "cgroup.procs").string()));
		return {};
	}
	std::map<pid_t, std::string> former;
	std::string leader;
	for (auto tid : threads_of(roots_, pid))
		if (auto task = read_task(roots_, tid)) {
			former[tid] = task->cgroup;
			if (tid == pid)
				leader = task->cgroup;
		}
	if (auto done = groups_.attach(group, pid); !done)
		return done;
	undo_.push_back([this, pid, leader, former]() -> Result<void> {
		auto done = groups_.attach(leader, pid);
		for (const auto &[tid, was] : former)
			if (done && was != leader)
				done = groups_.attach_thread(was, tid);
		return done;
	});
	return {};
}

Result<void> Changes::set_policy(pid_t tid, const Policy &policy)
{
	if (dry_run_) {
		int plain = policy.policy & ~SCHED_RESET_ON_FORK;
		steps_.push_back(fmt::format("chrt --{} --pid {} {}",
					     plain == SCHED_FIFO ? "fifo"
					     : plain == SCHED_RR ? "rr"
								 : "other",
					     policy.priority, tid));
		return {};
	}
	auto former = tasks_.get(tid);
	if (!former && former.error().sys_errno == ESRCH)
		return {};
	if (!former)
		return tl::unexpected(former.error());
	auto done = tasks_.set(tid, policy);
	if (!done && done.error().sys_errno == ESRCH)
		return {};
	if (!done)
		return done;
	undo_.push_back([this, tid, was = *former]() -> Result<void> {
		auto back = tasks_.set(tid, was);
		if (!back && back.error().sys_errno == ESRCH)
			return {};
		return back;
	});
	return {};
}

Result<void> Changes::set_cpus(pid_t tid, const CpuSet &cpus)
{
	if (dry_run_) {
		steps_.push_back(fmt::format("taskset -cp {} {}", format_cpus(cpus), tid));
		return {};
	}
	auto former = read_task(roots_, tid);
	if (!former)
		return {};
	auto done = tasks_.set_cpus(tid, cpus);
	if (!done && done.error().sys_errno == ESRCH)
		return {};
	if (!done)
		return done;
	undo_.push_back([this, tid, was = former->allowed]() -> Result<void> {
		auto back = tasks_.set_cpus(tid, was);
		if (!back && back.error().sys_errno == ESRCH)
			return {};
		return back;
	});
	return {};
}

std::vector<std::string> Changes::undo()
{
	std::vector<std::string> failures;
	while (!undo_.empty()) {
		auto last = std::move(undo_.back());
		undo_.pop_back();
		if (auto done = last(); !done)
			failures.push_back(fmt::format("{}: not put back: {}",
						       done.error().object,
						       done.error().reason));
	}
	return failures;
}

} // namespace dlgroup
