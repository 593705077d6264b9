// SPDX-License-Identifier: GPL-2.0-only
// A guest with a thread of each class, in the cgroup /user with a shell.
#pragma once

#include <sched.h>

#include "verb_test.h"

namespace dlgroup::test {

inline constexpr pid_t kQemu = 1000, kPit = 50, kShell = 900;

class MadeGuestTest : public VerbTest {
protected:
	MadeGuestTest()
	{
		made_.add_group("/user", "max 100000");
		made_.add_task(kShell, "bash", SCHED_OTHER, 0, "/user");
		add_guest("/user");
		made_.add_task(kPit, "kvm-pit/1000", SCHED_OTHER, 0, "/", "0-1", true);
		options_.target = "1000";
		options_.res = "5ms/20ms";
	}
	void add_thread(pid_t tid, const std::string &name, const std::string &group, Policy policy = {})
	{
		Task task;
		task.tid = tid;
		task.inner_tid = tid;
		task.tgid = kQemu;
		task.name = name;
		task.cgroup = group;
		task.policy = policy;
		task.allowed = {0, 1};
		task.started = 7000 + static_cast<std::uint64_t>(tid);
		made_.add_task(task);
	}
	void add_guest(const std::string &group)
	{
		add_thread(kQemu, "qemu-system-x86", group);
		add_thread(1001, "call_rcu", group);
		add_thread(1002, "IO io1", group);
		add_thread(1003, "CPU 0/KVM", group);
		add_thread(1004, "CPU 1/KVM", group, {SCHED_RR, 2});
		add_thread(1005, "vhost-1000", group);
		add_thread(1006, "kvm-nx-lpage-re", group);
		add_thread(1007, "worker", group);
		std::filesystem::create_symlink("/usr/bin/qemu-system-x86_64", made_.path("proc/1000/exe"));
		using namespace std::string_literals;
		made_.write("proc/1000/cmdline", "qemu\0-name\0guest=web,debug-threads=on\0-S\0"s);
	}
	std::string policy(pid_t tid) { return name_policy(task(tid).policy); }
	std::string state() override
	{
		std::string text;
		for (const auto &name : directories_in(made_.path("proc")))
			if (auto one = read_task(made_.roots(), std::atoi(name.c_str())))
				text += fmt::format("{} {} {} {}\n", one->tid, name_policy(one->policy), one->cgroup,
						    format_cpus(one->allowed));
		auto tree = read_tree(made_.roots());
		for (const auto &group : tree->groups)
			text += group.path + " " + format_rt_max(group.rt_max) + " " + format_cpus(group.cpus_asked) +
				"\n";
		return text;
	}
	bool has_record() override { return std::filesystem::exists(made_.path("run/dlgroup/vm/1000.json")); }
};

} // namespace dlgroup::test
