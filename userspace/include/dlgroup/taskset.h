// SPDX-License-Identifier: GPL-2.0-only
// What runs inside a reservation: sporadic tasks, and the three forms in which
// a file describes them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <dlgroup/units.h>

namespace dlgroup {

// Each job runs for at most `runtime`, has to end `deadline` after its arrival,
// and the next arrives `period` later at the earliest.
struct SporadicTask {
	std::string name; // its number, counted from 1, unless it was given one
	nanoseconds runtime{0};
	nanoseconds deadline{0};
	nanoseconds period{0};
	nanoseconds jitter{0};   // a job can run this long after its arrival at the latest
	nanoseconds blocking{0}; // it waits this long for lower ones at most
	unsigned rank = 0;       // 0 goes first; equal ranks run first come, first served
};
using TaskSet = std::vector<SporadicTask>;

// Plain lines `runtime deadline period`, the highest priority first, # begins a
// comment; or, if the text begins with a brace, JSON:
//	{"tasks": [{"runtime": "1ms", "deadline": "5ms", "period": "5ms"}]}
// with, if wanted, "name", "jitter", "blocking" and a SCHED_FIFO "priority". A
// time may also be an integer of nanoseconds: "runtime_ns" and so on. Beside the
// tasks there may be a "comment" and "schema_version": 1. If the text begins with
// a letter or a bracket, comments aside, it is TOML, with the same keys:
//	[[tasks]]
//	runtime = "1ms"
// An error's object is NAME:LINE:COLUMN, its reason says what was expected.
Result<TaskSet> parse_task_set(std::string_view text, const std::string &name);
// The content of a file; "-" is standard input.
Result<TaskSet> read_task_set(const std::string &path);

enum class PriorityOrder { as_given, deadline_monotonic, rate_monotonic };
// Ranks by deadline or period; where they are equal the first given goes first.
void order_priorities(TaskSet &set, PriorityOrder order);

} // namespace dlgroup
