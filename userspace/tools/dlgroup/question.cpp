// SPDX-License-Identifier: GPL-2.0-only
#include "question.h"

#include <fmt/format.h>

namespace dlgroup::tool {

Result<nanoseconds> time_option(const char *name, const std::string &text)
{
	auto time = parse_duration(text);
	if (!time)
		return bad_input(name, time.error().object + ": " + time.error().reason);
	return time;
}

Result<Question> ask(const Options &options)
{
	Question question;
	question.scheduler = options.scheduler == "edf" ? Scheduler::edf : Scheduler::fp;
	if (!options.priorities.empty() && question.scheduler == Scheduler::edf)
		return bad_input("--prio", "needs --sched fp: EDF has no priorities");
	auto period = time_option("--period", options.period);
	if (!period)
		return tl::unexpected(period.error());
	if (period->count() == 0)
		return bad_input("--period", "is 0");
	question.supply.period = question.supply.deadline = *period;
	if (!options.runtime.empty()) {
		auto runtime = time_option("--runtime", options.runtime);
		if (!runtime)
			return tl::unexpected(runtime.error());
		if (*runtime > *period)
			return bad_input("--runtime",
					 fmt::format("the runtime {} is longer than the period {}",
						     format_duration(*runtime), format_duration(*period)));
		question.supply.runtime = *runtime;
	}
	if (!options.latency.empty()) {
		auto latency = time_option("--latency", options.latency);
		if (!latency)
			return tl::unexpected(latency.error());
		question.supply.latency = *latency;
	}
	auto set = read_task_set(options.file);
	if (!set)
		return tl::unexpected(set.error());
	question.set = std::move(*set);
	order_priorities(question.set, options.priorities == "dm"   ? PriorityOrder::deadline_monotonic
				       : options.priorities == "rm" ? PriorityOrder::rate_monotonic
								    : PriorityOrder::as_given);
	return question;
}

Json time_json(const std::optional<nanoseconds> &time)
{
	return time ? Json(time->count()) : Json();
}

std::string in_total(const Supply &supply, unsigned cpus)
{
	return fmt::format("{}/{} on {} ({})", format_duration(supply.runtime),
			   format_duration(supply.period), cpus == 1 ? "1 CPU" : fmt::format("{} CPUs", cpus),
			   total(bandwidth(supply.runtime, supply.period), cpus));
}

} // namespace dlgroup::tool
