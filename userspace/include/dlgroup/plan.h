// SPDX-License-Identifier: GPL-2.0-only
// Reservations that are to be made together, as a file describes them.
#pragma once

#include <optional>
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
};

// A JSON object, or an array of them:
//	{"group": "/a", "cpu_rt_max": "5000 20000", "cpus": "0-1", "policy": "FIFO 10"}
// Only cpu_rt_max is required. What `dlgroup design --json` prints is one too.
Result<std::vector<Planned>> parse_plan(std::string_view text, const std::string &name);

} // namespace dlgroup
