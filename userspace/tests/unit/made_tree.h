// SPDX-License-Identifier: GPL-2.0-only
// A tree of files in a temporary directory that stands for the kernel's.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <sys/stat.h>

#include <dlgroup/cgroup.h>

namespace dlgroup::test {

class MadeTree {
public:
	using Files = std::initializer_list<std::pair<std::string, std::string>>;

	explicit MadeTree(Files files = {})
	{
		std::string name = std::filesystem::temp_directory_path() / "dlgroup-test-XXXXXX";
		if (!mkdtemp(name.data()))
			throw std::runtime_error("no temporary directory");
		umask(022); // what others can write is not trusted
		base_ = name;
		add(files);
	}
	MadeTree(const MadeTree &) = delete;
	MadeTree &operator=(const MadeTree &) = delete;
	~MadeTree() { std::filesystem::remove_all(base_); }

	// An ordinary machine with two CPUs, a kernel with reservations, no group.
	static Files machine()
	{
		static const Files files{
			{"sys/devices/system/cpu/online", "0-1\n"},
			{"sys/devices/system/cpu/offline", "\n"},
			{"sys/fs/cgroup/cgroup.controllers", "cpuset cpu memory\n"},
			{"sys/fs/cgroup/cgroup.subtree_control", "cpu\n"},
			{"sys/fs/cgroup/cgroup.procs", ""},
			{"sys/fs/cgroup/cgroup.threads", ""},
			{"sys/fs/cgroup/cpuset.cpus.effective", "0-1\n"},
			{"sys/kernel/debug/sched/dl_group_headroom",
			 "cpu0 cap 267401227875123 fair 14073748835532 groups 0 tasks 0 free "
			 "253327479039591\n"
			 "cpu1 cap 267401227875123 fair 14073748835532 groups 0 tasks 0 free "
			 "253327479039591\n"},
			{"sys/kernel/debug/sched/fair_server/cpu0/runtime", "50000000\n"},
			{"sys/kernel/debug/sched/fair_server/cpu0/period", "1000000000\n"},
			{"sys/kernel/debug/sched/fair_server/cpu1/runtime", "50000000\n"},
			{"sys/kernel/debug/sched/fair_server/cpu1/period", "1000000000\n"},
			{"proc/sys/kernel/sched_rt_runtime_us", "950000\n"},
			{"proc/sys/kernel/sched_rt_period_us", "1000000\n"},
			{"proc/pressure/memory", ""},
			{"proc/pressure/irq", ""},
			{"proc/cmdline", "quiet\n"},
			{"proc/self/mounts", "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"},
		};
		return files;
	}

	std::filesystem::path path(const std::string &name) const { return base_ / name; }
	std::string base() const { return base_.string(); }

	Roots roots() const
	{
		Roots roots;
		roots.cgroup = path("sys/fs/cgroup");
		roots.proc = path("proc");
		roots.sys = path("sys");
		roots.run = path("run");
		roots.options = "--root " + base();
		roots.running = false;
		return roots;
	}

	void add(Files files)
	{
		for (const auto &[name, text] : files)
			write(name, text);
	}
	void write(const std::string &name, const std::string &text)
	{
		std::filesystem::create_directories(path(name).parent_path());
		std::ofstream(path(name)) << text;
	}
	std::string read(const std::string &name) const
	{
		std::ifstream in(path(name));
		return {std::istreambuf_iterator<char>(in), {}};
	}

	void add_group(const std::string &group, const std::string &rt_max)
	{
		auto base = "sys/fs/cgroup" + group;
		write(base + "/cpu.rt.max", rt_max + "\n");
		write(base + "/cpu.rt.max.effective.local", rt_max + "\n");
		write(base + "/cpu.rt.stat", "usage_usec 0\nnr_unserved 0\nnr_dl_miss 0\n");
		write(base + "/cgroup.controllers", "cpu\n");
		for (const char *file : {"cgroup.subtree_control", "cgroup.procs",
					 "cgroup.threads"})
			write(base + "/" + file, "");
	}

	// A process of one thread; policies as in sched.h.
	void add_task(pid_t tid, const std::string &name, int policy, int priority,
		      const std::string &group, const std::string &cpus = "0-1",
		      bool kernel_thread = false)
	{
		Task task;
		task.tid = task.tgid = task.inner_tid = tid;
		task.name = name;
		task.policy = {policy, priority};
		task.cgroup = group;
		task.allowed = *parse_cpus(cpus);
		task.kernel_thread = kernel_thread;
		add_task(task);
	}
	void add_task(const Task &task)
	{
		write_task(task);
		for (const char *file : {"cgroup.procs", "cgroup.threads"}) {
			auto list = list_of(task.cgroup, file);
			if (task.tid == task.tgid || std::string(file) == "cgroup.threads")
				write(list, read(list) + fmt::format("{}\n", task.tid));
		}
	}
	// As it is now, in /proc only.
	void write_task(const Task &task)
	{
		auto stat = fmt::format("{} ({}) R 1 1 1 0 -1 {} ", task.tid, task.name,
					(task.kernel_thread ? 0x00200000 : 0) | (task.bound ? 0x04000000 : 0));
		for (int field = 10; field < 40; field++)
			stat += fmt::format("{} ", field == 22 ? task.started : 0);
		stat += fmt::format("{} {} 0 0 0\n", task.policy.priority, task.policy.policy);
		auto status = fmt::format("Name:\t{}\nTgid:\t{}\nNSpid:\t{}\nCpus_allowed_list:\t{}\n",
					  task.name, task.tgid,
					  task.inner_tid == task.tid
						  ? std::to_string(task.tid)
						  : fmt::format("{}\t{}", task.tid, task.inner_tid),
					  format_cpus(task.allowed));
		for (const auto &base : {fmt::format("proc/{}", task.tid),
					 fmt::format("proc/{}/task/{}", task.tgid, task.tid)}) {
			write(base + "/stat", stat);
			write(base + "/status", status);
			write(base + "/cgroup", "0::" + task.cgroup + "\n");
		}
	}
	void move_task(Task task, const std::string &group)
	{
		for (const char *file : {"cgroup.procs", "cgroup.threads"}) {
			auto list = list_of(task.cgroup, file);
			std::string left;
			for (const auto &line : lines(read(list)))
				if (line != std::to_string(task.tid))
					left += line + "\n";
			write(list, left);
		}
		task.cgroup = group;
		add_task(task);
	}
	void remove_task(const Task &task)
	{
		std::filesystem::remove_all(path(fmt::format("proc/{}", task.tid)));
		std::filesystem::remove_all(path(fmt::format("proc/{}/task/{}", task.tgid, task.tid)));
	}

private:
	static std::string list_of(const std::string &group, const std::string &file)
	{
		return "sys/fs/cgroup" + (group == "/" ? "" : group) + "/" + file;
	}

	std::filesystem::path base_;
};

// The made tree's tasks and groups obey at once.
class MadeTaskControl : public TaskControl {
public:
	explicit MadeTaskControl(MadeTree &tree) : tree_(tree) {}
	Result<Policy> get(pid_t tid) override
	{
		auto task = read_task(tree_.roots(), tid);
		if (!task)
			return tl::unexpected<Error>(
				Error{Status::failed, "pid", "gone", ESRCH, nullptr});
		return task->policy;
	}
	Result<void> set(pid_t tid, const Policy &policy) override
	{
		if (refused == tid)
			return tl::unexpected<Error>(
				Error{Status::failed, "pid", "refused", EPERM, nullptr});
		auto task = read_task(tree_.roots(), tid);
		if (!task)
			return gone();
		task->policy = policy;
		tree_.write_task(*task);
		calls.push_back(fmt::format("policy {} {}", tid, name_policy(policy)));
		after_call();
		return {};
	}
	Result<void> set_cpus(pid_t tid, const CpuSet &cpus) override
	{
		auto task = read_task(tree_.roots(), tid);
		if (!task)
			return gone();
		task->allowed = intersect(cpus, *parse_cpus("0-1"));
		if (task->allowed.empty())
			return tl::unexpected<Error>(
				Error{Status::failed, "pid", "invalid", EINVAL, nullptr});
		tree_.write_task(*task);
		calls.push_back(fmt::format("cpus {} {}", tid, format_cpus(cpus)));
		after_call();
		return {};
	}
	std::uint64_t core_cookie(pid_t tid) override
	{
		return trimmed(tree_.read("sys/devices/system/cpu/smt/control")) == "on" &&
		       tid == cookie_of;
	}

	pid_t refused = 0;
	pid_t cookie_of = 0;
	std::vector<std::string> calls;
	std::function<void()> after_call = [] {};

private:
	static tl::unexpected<Error> gone()
	{
		return tl::unexpected<Error>(Error{Status::failed, "pid", "gone", ESRCH, nullptr});
	}
	MadeTree &tree_;
};

class MadeGroupControl : public GroupControl {
public:
	explicit MadeGroupControl(MadeTree &tree) : tree_(tree) {}
	Result<void> create(const std::string &group) override
	{
		tree_.add_group(group, "max 100000");
		after_create();
		return {};
	}
	Result<void> remove(const std::string &group) override
	{
		std::filesystem::remove_all(tree_.path("sys/fs/cgroup" + group));
		return {};
	}
	Result<void> attach(const std::string &group, pid_t pid) override
	{
		if (refused == pid)
			return tl::unexpected<Error>(
				Error{Status::failed, "pid", "refused", EINVAL, nullptr});
		moves.push_back(fmt::format("{} {}", pid, group));
		if (!read_task(tree_.roots(), pid))
			return tl::unexpected<Error>(
				Error{Status::failed, "pid", "gone", ESRCH, nullptr});
		if (!std::filesystem::exists(tree_.path("sys/fs/cgroup" + group)))
			return tl::unexpected<Error>(
				Error{Status::failed, group, "not there", ENOENT, nullptr});
		for (auto tid : threads_of(tree_.roots(), pid))
			if (auto task = read_task(tree_.roots(), tid))
				tree_.move_task(*task, group);
		after_move();
		return {};
	}
	Result<void> attach_thread(const std::string &group, pid_t tid) override
	{
		moves.push_back(fmt::format("thread {} {}", tid, group));
		if (auto task = read_task(tree_.roots(), tid))
			tree_.move_task(*task, group);
		return {};
	}

	pid_t refused = 0;
	std::vector<std::string> moves;
	std::function<void()> after_create = [] {};
	std::function<void()> after_move = [] {};

private:
	MadeTree &tree_;
};

} // namespace dlgroup::test
