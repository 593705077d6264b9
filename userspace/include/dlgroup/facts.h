// SPDX-License-Identifier: GPL-2.0-only
// What the running kernel has and how the machine is set: gathered once, by
// looking at files. Never by a version number.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <dlgroup/cgroup.h>

namespace dlgroup {

enum class Known { no, yes, unknown };

// Is there a cpu.rt.max in this kernel?
Known has_support(const Roots &roots, const Tree &tree);
// Do interrupts that ask for none get a thread: by threadirqs, or with PREEMPT_RT?
Known forces_irq_threads(const Roots &roots);
Known is_preempt_rt(const Roots &roots);
// Does a throttled task that has a lock run on for who waits for it outside of its group?
Known lends_to_waiters(const Roots &roots);

struct Feature {
	std::string name;
	std::string what;
	Known present = Known::unknown;
	std::string how; // what was looked at
};
// A third value is asked of the kernel in a cgroup made and removed for it.
std::vector<Feature> probe_features(const Roots &roots, const Tree &tree,
				    GroupControl &groups);

struct FairServer {
	unsigned cpu = 0;
	std::int64_t runtime_ns = 0;
	std::int64_t period_ns = 0;
};
struct Governor {
	unsigned cpu = 0;
	std::string name;
};
struct IdleState {
	unsigned cpu = 0;
	std::string directory; // below /sys
	std::string name;
	std::int64_t latency_us = 0;
	bool disabled = false;
};
struct V1Mount {
	std::string directory;
	std::string controllers; // those of cpu and cpuset it holds
};
enum class IrqAccounting { unknown, on, off_by_parameter, off_by_build };
// On: interrupts are not charged to whom they hit.
IrqAccounting irq_accounting(const Roots &roots);

using Counters = std::map<std::string, std::uint64_t>;

struct Facts {
	Roots roots;
	Tree tree;
	Known support = Known::unknown;
	CpuSet online;
	CpuSet offline; // present but offline
	std::vector<Headroom> headroom; // empty where only root may see it
	std::vector<Task> tasks;
	std::vector<Task> tasks_with_cookie;
	std::optional<std::int64_t> rt_runtime_us;
	std::optional<std::int64_t> rt_period_us;
	std::vector<FairServer> fair_servers;
	std::vector<V1Mount> v1_mounts;
	std::vector<Governor> governors;
	std::vector<IdleState> idle_states;
	std::string sched_ext_state; // empty: not in this kernel
	IrqAccounting irq_accounting = IrqAccounting::unknown;
	Known irq_threads = Known::unknown; // forces_irq_threads()
	// How much the counters of cpu.rt.stat rose while `wait` ran, by group.
	std::map<std::string, Counters> risen;
};
Result<Facts> gather_facts(const Roots &roots, TaskControl &control,
			   const std::function<void()> &wait);

// The flat keys of cpu.rt.stat, and those of each CPU's line.
struct Stat {
	Counters all;
	std::map<unsigned, Counters> cpus;
};
Stat parse_stat(const std::string &text);

} // namespace dlgroup
