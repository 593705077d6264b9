// SPDX-License-Identifier: GPL-2.0-only
// Interrupts: their lines, the threads that handle them, and who uses them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <dlgroup/system.h>

namespace dlgroup {

struct IrqLine {
	unsigned number = 0;
	std::vector<std::string> actions; // whose handlers are called
	std::string chip;
	CpuSet asked;	  // smp_affinity_list
	CpuSet effective; // where it comes; not told by every chip
	// Of actions with a thread: natively, by threadirqs or with PREEMPT_RT.
	std::vector<Task> threads;

	const CpuSet &cpus() const { return effective.empty() ? asked : effective; }
};
// The action of a thread: "irq/24-eth0" and its second thread "irq/24-s-eth0".
std::string action_of(const IrqLine &line, const Task &thread);

// Lines with a handler, by number.
std::vector<IrqLine> irq_lines(const Roots &roots);
Result<unsigned> parse_irq(const std::string &text);
// One of them, or why it is none.
Result<IrqLine> find_irq(const Roots &roots, const std::vector<IrqLine> &lines, unsigned number);
// How often each has come since boot, on all CPUs.
std::map<unsigned, std::uint64_t> irq_counts(const Roots &roots);

// Who works with a device. A device whose users cannot be told may be anybody's.
struct Users {
	bool known = false;
	std::string how; // "0000:01:00.0 is open in"
	std::vector<Task> tasks;
};
Users users_of(const Roots &roots, const IrqLine &line);

} // namespace dlgroup
