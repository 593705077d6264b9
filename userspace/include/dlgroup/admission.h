// SPDX-License-Identifier: GPL-2.0-only
// The kernel's admission rules, computed with the kernel's arithmetic, to say
// why a reservation was refused, or would be, and what would fit. Nothing here
// grants: the kernel does. Nothing here touches the kernel either.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <dlgroup/cgroup.h>
#include <dlgroup/units.h>

namespace dlgroup {

// Without CAP_SYS_NICE the kernel takes only these.
inline constexpr microseconds kMinRuntime{100};
inline constexpr microseconds kMinPeriod{1000};
inline constexpr microseconds kMaxPeriod{1000000};
// Own runtime below this counts as none.
inline constexpr nanoseconds kLeastOwnRuntime{1024};

// The largest runtime whose bandwidth is at most `room`; at most the period.
microseconds largest_runtime(Bandwidth room, microseconds period);
// The smallest runtime whose bandwidth is at least `need`.
microseconds smallest_runtime(Bandwidth need, microseconds period);
// Q - sum(ceil(Q_i * P / P_i)): what stays for the group's own servers.
nanoseconds own_runtime(const RtMax &group, const std::vector<RtMax> &carved);

enum class Rule {
	none = 0,
	fits_cpu = 1,    // servers, fair server and tasks within the cap
	hierarchy = 2,   // descendants within their ancestor
	keeps_tasks = 3, // FIFO/RR tasks keep own bandwidth
	rights = 7,      // taking from the root pool needs CAP_SYS_NICE
	limits = 8,      // sizes of runtime and period
};

struct Holder {
	std::string name;
	Bandwidth share = 0;
};

struct Refusal {
	std::string group;
	Rule rule = Rule::none;
	CpuSet cpus; // where; empty if the rule is not about a CPU
	RtMax asked;
	std::optional<Bandwidth> asked_share;
	std::optional<Bandwidth> free;
	std::optional<Bandwidth> of;
	std::string of_whom; // the ancestor, for rule 2
	std::vector<Holder> holders;
	std::optional<RtMax> fits;
	std::string because; // in place of the numbers
};
// "refused (rule 1, CPU 1): asked 60.0 %, free 35.0 % of 95.0 % (...); fits: 7ms/20ms"
std::string to_text(const Refusal &refusal);

// Whether cpusets tell the root domains, and the kernel's books do not say
// otherwise: CPUs of one domain show the same sum of tasks.
bool knows_root_domains(const Tree &tree, const std::vector<Headroom> &headroom);

// Everything an explanation needs, as it was when the kernel refused.
struct Situation {
	const Tree &tree;
	std::size_t group;               // in the tree
	RtMax asked;
	int sys_errno;                   // of the write to cpu.rt.max
	const std::vector<Headroom> &headroom;
	// FIFO/RR tasks sharing the group's, or its numbered ancestor's, servers.
	std::vector<Task> tasks_inside;
	std::vector<Task> tasks_of_ancestor;
};
// Nothing if no rule explains the refusal.
std::optional<Refusal> explain(const Situation &situation);

// Who writes, and what.
struct Asker {
	bool capable = true;	  // CAP_SYS_NICE in the initial user namespace
	bool period_given = true; // else the group's own, which nobody looks at
	// sched_deadline_period_{min,max}_us, the limits of the capable
	microseconds shortest{100};
	microseconds longest{1 << 22};
};
// What the kernel answers to a write of this number to cpu.rt.max: 0 or an errno,
// to the bit if the tree is all there is and it knows_root_domains().
// sys_errno is not looked at.
int predict(const Situation &situation, const Asker &asker);

// What a cgroup that is yet to be made, on these CPUs or on all of its parent's,
// would be refused for. Nothing if it fits, or if only the kernel can tell.
std::optional<Refusal> foresee(Tree tree, const std::string &group, const RtMax &asked,
			       const std::optional<CpuSet> &cpus,
			       const std::vector<Headroom> &headroom);
// The same, and what is likely: where the tree does not know the root domains,
// they are told by the sum of their SCHED_DEADLINE tasks alone.
std::optional<Refusal> suspect(Tree tree, const std::string &group, const RtMax &asked,
			       const std::optional<CpuSet> &cpus,
			       const std::vector<Headroom> &headroom);

} // namespace dlgroup
