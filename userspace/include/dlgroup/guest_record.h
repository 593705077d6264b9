// SPDX-License-Identifier: GPL-2.0-only
// What an attached guest was before: written before anything is touched, so that
// it can be put back by a later process, too.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <dlgroup/fs.h>
#include <dlgroup/system.h>

namespace dlgroup {

struct ThreadState {
	pid_t tid = 0;
	std::uint64_t started = 0;
	bool kernel_thread = false;
	std::string cgroup;
	Policy policy;
	CpuSet cpus;
};

// What threads were given; one that came later can have inherited it.
struct Given {
	Policy policy;
	std::optional<CpuSet> cpus;
};

struct GuestRecord {
	pid_t pid = 0;
	std::uint64_t started = 0;
	std::string name;
	std::string qmp;
	std::string group; // which has the reservation
	bool made = false; // for this guest, which was moved there
	// Of a group that was there: which it is, and what it said.
	std::uint64_t inode = 0;
	std::string rt_max;
	std::optional<std::string> cpus; // cpuset.cpus, if it is written
	std::vector<Given> given;
	std::vector<ThreadState> threads;

	const ThreadState *find(const Task &task) const;
};

// One file a guest in /run/dlgroup/vm; whoever holds it open has it alone.
class GuestRecords {
public:
	static Result<GuestRecords> open(const Roots &roots);

	Result<std::optional<GuestRecord>> read(pid_t pid) const;
	Result<void> write(const GuestRecord &record) const;
	Result<void> remove(pid_t pid) const;

private:
	explicit GuestRecords(Dir dir) : dir_(std::move(dir)) {}
	Dir dir_;
};
// Without a lock, for who only looks.
Result<std::optional<GuestRecord>> peek_record(const Roots &roots, pid_t pid);
// Nothing if it cannot be read, there is none, or it is of another process.
std::optional<GuestRecord> look_up_record(const Roots &roots, pid_t pid, std::uint64_t started);

} // namespace dlgroup
