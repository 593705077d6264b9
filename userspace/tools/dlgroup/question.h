// SPDX-License-Identifier: GPL-2.0-only
// What check, design and simulate are asked: tasks, and the reservation they run in.
#pragma once

#include "common.h"

#include <dlgroup/analysis.h>

namespace dlgroup::tool {

struct Question {
	TaskSet set;
	Scheduler scheduler = Scheduler::fp;
	Supply supply;
};

Result<nanoseconds> time_option(const char *name, const std::string &text);
// From --sched, --prio, --period, --latency, if given --runtime, and FILE.
Result<Question> ask(const Options &options);

Json time_json(const std::optional<nanoseconds> &time);
// "5ms/20ms on 1 CPU (25 % of 1 CPU = 0.25 CPU)"
std::string in_total(const Supply &supply, unsigned cpus);

} // namespace dlgroup::tool
