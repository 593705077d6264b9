// SPDX-License-Identifier: GPL-2.0-only
// Reservations that are to be made together, as a file describes them.
#pragma once

#include <array>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <dlgroup/system.h>

namespace dlgroup {

struct Planned {
	std::string group; // empty: left to the command line
	Request request;
	std::optional<CpuSet> cpus;
	std::optional<Policy> policy;
	// The number of CPUs that `dlgroup design` was asked for.
	std::optional<unsigned> designed_for;
	// The lines of cpu.rt.cpus, and which of kFlags are set; none: left as they are.
	std::optional<std::vector<std::string>> by_cpu;
	std::optional<std::set<std::string>> flags;
};

// The file of each is named after it: cpu.rt.fair.
inline constexpr std::array kFlags{"reclaim", "unpriv", "fair"};

// A JSON object, or an array of them:
//	{"group": "/a", "cpu_rt_max": "5000 20000", "cpus": "0-1", "policy": "FIFO 10"}
// Only cpu_rt_max is required. What `dlgroup design --json` prints is one too, and
// what `dlgroup save` writes, which alone can be empty:
//	{"version": 1, "groups": [...]}
// A refusal names line and column.
Result<std::vector<Planned>> parse_plan(std::string_view text, const std::string &name);

// The file for these, as people read and change it: a line for each.
Result<std::string> plan_text(const std::vector<Planned> &plan);

} // namespace dlgroup
