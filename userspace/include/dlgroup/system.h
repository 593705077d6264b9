// SPDX-License-Identifier: GPL-2.0-only
// What /proc and /sys tell about tasks, CPUs and deadline bandwidth.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include <dlgroup/result.h>
#include <dlgroup/units.h>

namespace dlgroup {

// Where the kernel's files are. Everything that reads or writes them gets this,
// so that a tree made for a test does as well as the running kernel's.
struct Roots {
	std::filesystem::path cgroup;
	std::filesystem::path proc = "/proc";
	std::filesystem::path sys = "/sys";
	std::filesystem::path run = "/run"; // state that lasts until the machine goes down
	// Options that make a printed command work on the same tree.
	std::string options;
	// False for a tree that is no kernel's: only its files can be changed.
	bool running = true;

	std::filesystem::path debug() const { return sys / "kernel/debug"; }
	std::filesystem::path tracing() const { return sys / "kernel/tracing"; }
};

struct Policy {
	int policy = 0; // SCHED_*, with SCHED_RESET_ON_FORK where it is set
	int priority = 0;
	bool operator==(const Policy &) const = default;
};
std::string name_policy(const Policy &policy); // "FIFO 10"

struct Task {
	pid_t tid = 0;
	pid_t tgid = 0;
	std::string name;
	std::string cgroup; // path in the cgroup2 tree
	Policy policy;
	bool kernel_thread = false;
	bool bound = false; // by the kernel to its CPUs: it cannot be moved
	CpuSet allowed;
	std::uint64_t started = 0; // ticks since boot: another task with this id is not it
	pid_t inner_tid = 0;       // as the task itself sees it, in its pid namespace

	bool is_fifo_or_rr() const;
	bool is_deadline() const;
};
std::string name_task(const Task &task); // "123 (name)"
// "123 (a), 124 (b) and 3 more"
std::string name_tasks(const std::vector<Task> &tasks);

Result<Task> read_task(const Roots &roots, pid_t tid);
// Threads of a process, by /proc/PID/task; a process that ended has none.
std::vector<pid_t> threads_of(const Roots &roots, pid_t pid);
std::vector<Task> all_tasks(const Roots &roots);
std::vector<Task> kernel_threads(const Roots &roots); // by id
// When a process was started, in ticks since boot; nothing if there is none.
std::optional<std::uint64_t> start_of(const Roots &roots, pid_t pid);
// Whether it is still the process that was started then, and not only waited for by its parent.
bool is_running(const Roots &roots, pid_t pid, std::uint64_t started);
// /proc/TID/schedstat. What a thread that runs has run is up to date at every tick of its CPU
// only, and whenever somebody reads the cpu.rt.stat of the reservation that it runs in.
struct RunTime {
	nanoseconds ran{0}, waited{0}; // waited: for a CPU
};
std::optional<RunTime> parse_schedstat(const std::string &text);
// What a thread has run so far; 0 if it has ended.
nanoseconds cpu_time(const Roots &roots, pid_t tid);

// Changing a task's policy and CPUs; a test puts its own in place of the kernel's.
class TaskControl {
public:
	virtual ~TaskControl() = default;
	virtual Result<Policy> get(pid_t tid) = 0;
	virtual Result<void> set(pid_t tid, const Policy &policy) = 0;
	virtual Result<void> set_cpus(pid_t tid, const CpuSet &cpus) = 0;
	// Core-scheduling cookie; 0: none, or no core scheduling here.
	virtual std::uint64_t core_cookie(pid_t tid) = 0;
};
class KernelTaskControl : public TaskControl {
public:
	Result<Policy> get(pid_t tid) override;
	Result<void> set(pid_t tid, const Policy &policy) override;
	Result<void> set_cpus(pid_t tid, const CpuSet &cpus) override;
	std::uint64_t core_cookie(pid_t tid) override;
};

Result<CpuSet> online_cpus(const Roots &roots);

// One line of debugfs sched/dl_group_headroom.
struct Headroom {
	unsigned cpu = 0;
	Bandwidth cap = 0;    // sched_rt_runtime_us / sched_rt_period_us
	Bandwidth fair = 0;   // the fair server
	Bandwidth groups = 0; // reservations taken from the root pool
	Bandwidth tasks = 0;  // SCHED_DEADLINE tasks of the CPU's whole root domain
	Bandwidth free = 0;
};
Result<std::vector<Headroom>> read_headroom(const Roots &roots);

} // namespace dlgroup
