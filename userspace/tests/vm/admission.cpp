// SPDX-License-Identifier: GPL-2.0-only
// Random writes to cpu.rt.max on the running kernel, in nested groups, cpusets and
// partitions, beside SCHED_DEADLINE and SCHED_FIFO tasks, with caps and fair
// servers that change: each time the kernel's answer has to be the one that
// predict() gave. Half of the runtimes are the largest that it takes, or 1 us more.
// Runs as root in a VM with several CPUs; prints KTAP.
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <string>

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "common.h"

#include <dlgroup/admission.h>
#include <dlgroup/random.h>

namespace dlgroup {
namespace {

const std::string kCgroup = "/sys/fs/cgroup", kDebug = "/sys/kernel/debug/sched/",
		  kSysctl = "/proc/sys/kernel/";
// Parents first. Tasks are in those that have nothing below them.
const std::vector<std::string> kGroups{"/a", "/a/c", "/a/c/e", "/a/d", "/b", "/b/f", "/g"};
const std::vector<std::string> kTop{"/a", "/b", "/g"}, kInside{"/a/c", "/a/c/e", "/a/d", "/b/f"},
	kLeaves{"/a/c/e", "/a/d", "/b/f", "/g", ""};
const std::vector<std::int64_t> kPeriods{1000, 3000, 7000, 10000, 20000, 33333, 99991, 1000000, 999, 1000001};

[[noreturn]] void die(const std::string &what)
{
	fmt::print("Bail out! {}: {}\n", what, std::strerror(errno));
	std::exit(1);
}

int write_file(const std::string &path, const std::string &text)
{
	int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	auto done = write(fd, text.data(), text.size());
	int error = done < 0 ? errno : 0;
	close(fd);
	return error;
}

// For the scheduler; the files' owner stays what it is.
void set_capable(bool capable)
{
	__user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
	__user_cap_data_struct data[2];
	if (syscall(SYS_capget, &head, data))
		die("capget");
	if (capable)
		data[0].effective |= 1U << CAP_SYS_NICE;
	else
		data[0].effective &= ~(1U << CAP_SYS_NICE);
	if (syscall(SYS_capset, &head, data))
		die("capset");
}

struct DeadlineAttributes {
	std::uint32_t size = sizeof(DeadlineAttributes), policy = 6;
	std::uint64_t flags = 0;
	std::int32_t nice = 0;
	std::uint32_t priority = 0;
	std::uint64_t runtime = 0, deadline = 0, period = 0;
};

class Machine {
public:
	Machine(std::uint64_t seed) : random_(seed)
	{
		roots_.cgroup = kCgroup;
		cpus_ = *online_cpus(roots_);
		must(kCgroup + "/cgroup.subtree_control", "+cpu +cpuset");
		for (const auto &group : kGroups) {
			if (mkdir((kCgroup + group).c_str(), 0755))
				die(group);
			if (!is_leaf(group))
				must(kCgroup + group + "/cgroup.subtree_control", "+cpu +cpuset");
		}
	}
	~Machine()
	{
		for (auto pid : tasks_)
			end(pid);
		for (auto group = kGroups.rbegin(); group != kGroups.rend(); ++group)
			rmdir((kCgroup + *group).c_str());
	}
	Machine(const Machine &) = delete;
	Machine &operator=(const Machine &) = delete;

	// True unless kernel and library differ.
	bool step()
	{
		switch (dice(16)) {
		case 0:
			write_file(kCgroup + pick(kInside) + "/cpuset.cpus", format_cpus(some_cpus()));
			return true;
		case 1:
			partition(pick(std::vector<std::string>{"root", "isolated", "member"}));
			return true;
		case 2:
			start_deadline_task();
			return true;
		case 3:
			start_fifo_task();
			return true;
		case 4:
			if (!tasks_.empty()) {
				auto at = tasks_.begin() + static_cast<std::ptrdiff_t>(dice(tasks_.size()));
				end(*at);
				tasks_.erase(at);
			}
			return true;
		case 5:
			// The base kernel does not tell the root domain of isolated CPUs of it
			// while there are none.
			partition("isolated");
			if (auto tree = read_tree(roots_); tree && has_isolated(*tree))
				write_file(kSysctl + "sched_rt_runtime_us",
					   pick(std::vector<std::string>{"950000", "900000", "-1", "700000"}));
			return true;
		case 6:
			write_file(fmt::format("{}fair_server/cpu{}/runtime", kDebug, pick(cpus_)),
				   std::to_string(10000000 + 20000000 * dice(5)));
			return true;
		case 7:
		case 8:
			write_file(kCgroup + pick(kGroups) + "/cpu.rt.max", "max");
			return true;
		default:
			return number();
		}
	}

	std::map<int, int> answers; // errno of the kernel: how often
	int crowded = 0;	    // with SCHED_DEADLINE tasks on one of the group's CPUs
	int parted = 0;		    // with several root domains
	int unknown = 0;	    // without root domains: nothing is promised
	int to_the_bit = 0;	    // accepted, and 1 us more would not be

private:
	// A group at the top gets CPUs that those beside it have not. All are members
	// meanwhile: the base kernel's cpusets lose count of partitions that are changed.
	void partition(const std::string &kind)
	{
		auto own = some_cpus(), rest = cpus_;
		for (auto cpu : own)
			rest.erase(cpu);
		auto group = pick(kTop);
		for (const auto &one : kTop)
			write_file(kCgroup + one + "/cpuset.cpus.partition", "member");
		if (kind == "member" || rest.empty())
			return;
		for (const auto &one : kTop)
			write_file(kCgroup + one + "/cpuset.cpus", format_cpus(one == group ? own : rest));
		write_file(kCgroup + group + "/cpuset.cpus.partition", kind);
	}

	static bool has_isolated(const Tree &tree)
	{
		return std::any_of(tree.groups.begin(), tree.groups.end(), [](const Group &group) {
			return group.partition == Group::Partition::isolated;
		});
	}

	// A write of a number.
	bool number()
	{
		auto tree = read_tree(roots_);
		auto headroom = read_headroom(roots_);
		if (!tree || !headroom)
			die("the kernel's files cannot be read");
		auto index = *tree->find(pick(kGroups));
		const auto &group = tree->groups[index];
		Situation now{*tree, index, group.rt_max, 0, *headroom, tasks(*tree, index), {}};
		if (auto above = tree->numbered_ancestor(index))
			now.tasks_of_ancestor = tasks(*tree, *above);
		Asker asker;
		asker.capable = dice(5);
		asker.period_given = dice(4);
		now.asked.is_max = false;
		if (asker.period_given)
			now.asked.period = now.asked.deadline = microseconds(pick(kPeriods));
		bool bordering = dice(2);
		now.asked.runtime = bordering ? border(now, asker)
					      : microseconds(random_.between(0, now.asked.period.count() / 2));
		auto text = std::to_string(now.asked.runtime.count());
		if (asker.period_given)
			text += " " + std::to_string(now.asked.period.count());
		auto expected = predict(now, asker);
		set_capable(asker.capable);
		auto got = write_file(kCgroup + group.path + "/cpu.rt.max", text);
		set_capable(true);
		// The bandwidth of a task that has died is given back some time later.
		auto after = read_headroom(roots_);
		for (std::size_t i = 0; i < headroom->size(); i++)
			if (!after || after->size() != headroom->size() || (*after)[i].tasks != (*headroom)[i].tasks)
				return true;
		bool known = knows_root_domains(*tree, *headroom);
		unknown += !known;
		answers[got]++;
		crowded += std::any_of(headroom->begin(), headroom->end(), [&](const Headroom &one) {
			return one.tasks && group.cpus.count(one.cpu);
		});
		parted += known && tree->root_domains.size() > 1;
		to_the_bit += bordering && !got && now.asked.runtime.count();
		if (got == expected || !known)
			return true;
		fmt::print("# {}{} to {}: {}, predicted {}\n", text, asker.capable ? "" : " (no CAP_SYS_NICE)",
			   group.path, std::strerror(got), std::strerror(expected));
		show(*tree, *headroom);
		return false;
	}

	// The largest runtime that is taken, or 1 us more. Below it there may be some that
	// are too little for the tasks inside.
	microseconds border(Situation now, const Asker &asker)
	{
		auto taken = [&](std::int64_t runtime) {
			now.asked.runtime = microseconds(runtime);
			return !predict(now, asker);
		};
		constexpr std::int64_t kParts = 64;
		auto period = now.asked.period.count();
		std::int64_t low = 0, high = period + 1;
		for (auto part = kParts; part > 0 && !low; part--)
			if (taken(period * part / kParts))
				low = period * part / kParts;
		while (low + 1 < high) {
			auto middle = low + (high - low) / 2;
			(taken(middle) ? low : high) = middle;
		}
		return microseconds(low + static_cast<std::int64_t>(dice(2)));
	}

	std::vector<Task> tasks(const Tree &tree, std::size_t group)
	{
		return tool::only_fifo_or_rr(tool::tasks_sharing(roots_, tree, group));
	}

	// A child that sleeps in a group.
	pid_t start_in(const std::string &group)
	{
		auto pid = fork();
		if (pid < 0)
			die("fork");
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			while (true)
				pause();
		}
		if (write_file(kCgroup + group + "/cgroup.procs", std::to_string(pid))) {
			end(pid);
			return 0;
		}
		tasks_.push_back(pid);
		return pid;
	}
	void start_deadline_task()
	{
		auto pid = start_in(pick(kLeaves));
		if (!pid)
			return;
		DeadlineAttributes attributes;
		attributes.period = attributes.deadline = 10000000 + dice(1000000);
		attributes.runtime = attributes.period * (1 + dice(60)) / 100;
		syscall(SYS_sched_setattr, pid, &attributes, 0);
	}
	void start_fifo_task()
	{
		auto pid = start_in(pick(kLeaves));
		if (!pid)
			return;
		sched_param param{};
		param.sched_priority = 1;
		if (dice(2)) {
			cpu_set_t set;
			CPU_ZERO(&set);
			for (auto cpu : some_cpus())
				CPU_SET(cpu, &set);
			sched_setaffinity(pid, sizeof(set), &set);
		}
		sched_setscheduler(pid, SCHED_FIFO, &param);
	}
	static void end(pid_t pid)
	{
		kill(pid, SIGKILL);
		waitpid(pid, nullptr, 0);
	}

	void show(const Tree &tree, const std::vector<Headroom> &headroom)
	{
		for (const auto &group : tree.groups)
			fmt::print("# {} {} on {}, served on {}, {}\n", group.path, format_rt_max(group.rt_max),
				   format_cpus(group.cpus), format_cpus(group.cpus_served),
				   group.partition == Group::Partition::none ? "member" : "a partition");
		for (const auto &span : tree.root_domains)
			fmt::print("# root domain {}\n", format_cpus(span));
		for (const auto &one : headroom)
			fmt::print("# cpu{} cap {} fair {} groups {} tasks {} free {}\n", one.cpu, one.cap, one.fair,
				   one.groups, one.tasks, one.free);
	}

	static bool is_leaf(const std::string &group)
	{
		return std::find(kLeaves.begin(), kLeaves.end(), group) != kLeaves.end();
	}
	static void must(const std::string &path, const std::string &text)
	{
		if ((errno = write_file(path, text)))
			die(path);
	}
	std::uint64_t dice(std::uint64_t sides) { return random_.upto(sides - 1); }
	template <class All>
	typename All::value_type pick(const All &all)
	{
		return *std::next(all.begin(), static_cast<std::ptrdiff_t>(dice(all.size())));
	}
	CpuSet some_cpus()
	{
		CpuSet some;
		for (auto cpu : cpus_)
			if (dice(2))
				some.insert(cpu);
		return some.empty() ? CpuSet{pick(cpus_)} : some;
	}

	Roots roots_;
	Random random_;
	CpuSet cpus_;
	std::vector<pid_t> tasks_;
};

int run(std::uint64_t seed, int steps)
{
	Machine machine(seed);
	bool good = true;
	for (int i = 0; i < steps && good; i++)
		good = machine.step();
	int writes = 0;
	std::string counts;
	for (auto [error, count] : machine.answers) {
		writes += count;
		counts += fmt::format(", {} {}", count, error ? std::strerror(error) : "taken");
	}
	fmt::print("KTAP version 1\n1..2\n{} 1 predicted # seed {}, {} writes{}\n", good ? "ok" : "not ok", seed,
		   writes, counts);
	// Else it would have shown nothing.
	bool seen = machine.unknown < writes / 4;
	for (auto often : {machine.crowded, machine.parted, machine.to_the_bit})
		seen = seen && often > writes / 20;
	for (auto error : {0, EINVAL, EPERM, ENOSPC, EBUSY})
		seen = seen && machine.answers[error] > writes / 200;
	fmt::print("{} 2 all_answers # {} writes beside SCHED_DEADLINE tasks, {} with several root domains, {} with none "
		   "known, {} at the border\n", seen ? "ok" : "not ok", machine.crowded, machine.parted, machine.unknown,
		   machine.to_the_bit);
	return good && seen ? 0 : 1;
}

} // namespace
} // namespace dlgroup

int main(int argc, char **argv)
{
	if (argc != 3) {
		std::fprintf(stderr, "usage: %s SEED STEPS\n", argv[0]);
		return 2;
	}
	return dlgroup::run(std::strtoull(argv[1], nullptr, 10), std::atoi(argv[2]));
}
