// SPDX-License-Identifier: GPL-2.0-only
// simulate: what happens to a task set in a reservation, event by event.
#include <algorithm>
#include <charconv>
#include <set>

#include <fmt/format.h>

#include "question.h"

#include <dlgroup/fs.h>
#include <dlgroup/simulate.h>
#include <dlgroup/svg.h>

namespace dlgroup::tool {

namespace {

constexpr std::size_t kMostDrawn = 20000;
constexpr int kPeriodsShown = 10; // of the longest, without --duration

// "NAME:SEED", if it is one.
Result<std::optional<std::uint64_t>> seed_in(const char *option, std::string_view text, std::string_view name)
{
	if (!text.starts_with(name) || !text.substr(name.size()).starts_with(':'))
		return std::nullopt;
	auto number = text.substr(name.size() + 1);
	std::uint64_t seed = 0;
	auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), seed);
	if (number.empty() || error != std::errc{} || end != number.data() + number.size())
		return bad_input(option, fmt::format("'{}': expected a seed, as in {}:1", text, name));
	return seed;
}

Result<Scenario> scenario_of(const Options &options, const Question &question)
{
	Scenario scenario;
	scenario.scheduler = question.scheduler;
	scenario.supply = question.supply;
	scenario.record = !options.gantt.empty() || !options.plot.empty();
	auto longest = question.supply.period;
	for (const auto &task : question.set)
		longest = std::max({longest, task.period, task.deadline});
	scenario.duration = longest * kPeriodsShown;
	if (!options.duration.empty()) {
		auto duration = time_option("--duration", options.duration);
		if (!duration)
			return tl::unexpected(duration.error());
		if (duration->count() == 0)
			return bad_input("--duration", "is 0");
		scenario.duration = *duration;
	}
	auto service = seed_in("--supply", options.service, "random");
	if (!service)
		return tl::unexpected(service.error());
	if (*service) {
		scenario.service = Service::random;
		scenario.service_seed = **service;
	} else if (options.service == "early") {
		scenario.service = Service::early;
	} else if (options.service != "worst") {
		return bad_input("--supply", fmt::format("'{}': expected worst, early or random:SEED",
							 options.service));
	}
	auto releases = seed_in("--releases", options.releases, "sporadic");
	if (!releases)
		return tl::unexpected(releases.error());
	if (!*releases && options.releases != "synchronous")
		return bad_input("--releases", fmt::format("'{}': expected synchronous or sporadic:SEED",
							   options.releases));
	scenario.release_seed = *releases;
	return scenario;
}

double ns(nanoseconds time)
{
	return static_cast<double>(time.count());
}

// A row for each task.
constexpr double kRow = 44, kArrow = 34, kBox = 20, kGap = 10;

double row_of(std::size_t task)
{
	return kRow * static_cast<double>(task);
}

void name_rows(TimeChart &chart, const TaskSet &set)
{
	for (std::size_t i = 0; i < set.size(); i++)
		chart.name(row_of(i) + kRow - kGap, set[i].name);
}

tl::unexpected<Error> too_much(const char *option, const Scenario &scenario)
{
	return bad_input(option, fmt::format("too much to draw; expected a --duration shorter than {}",
					     format_duration(scenario.duration)));
}

// With arrivals and deadlines, and one more row for the server.
Result<void> draw(const std::string &path, const std::string &title, const Question &question,
		  const Scenario &scenario, const Simulated &seen)
{
	if (seen.slices.size() + seen.throttles.size() + seen.jobs.size() > kMostDrawn)
		return too_much("--gantt", scenario);
	const auto &set = question.set;
	auto server = row_of(set.size());
	TimeChart chart(title, scenario.duration, server + kRow);
	name_rows(chart, set);
	chart.name(server + kRow - kGap, "throttled");
	for (const auto &slice : seen.throttles)
		chart.box(ns(slice.from), ns(slice.to), server + kRow - kBox - 2, kBox, "wait",
			  fmt::format("{} to {}", format_duration(slice.from), format_duration(slice.to)));
	for (const auto &slice : seen.slices)
		chart.box(ns(slice.from), ns(slice.to),
			  row_of(slice.task) + kRow - kBox - 2, kBox, "run",
			  fmt::format("{}: {} to {}", set[slice.task].name, format_duration(slice.from),
				      format_duration(slice.to)));
	for (const auto &job : seen.jobs) {
		auto top = row_of(job.task) + kRow - kArrow - 2;
		if (job.arrival.count() >= 0)
			chart.arrow(ns(job.arrival), top, kArrow, false, "mark");
		if (job.deadline > scenario.duration)
			continue;
		bool missed = !job.end || *job.end > job.deadline;
		chart.arrow(ns(job.deadline), top, kArrow, true, missed ? "miss" : "mark");
	}
	return save_file(path, chart.finish());
}

// From the arrival to the longest response, with a mark for each, against the
// deadline and the bound.
Result<void> draw_responses(const std::string &path, const std::string &title, const TaskSet &set,
			    const Scenario &scenario, const Simulated &seen, const Analysis &expected)
{
	std::vector<std::set<nanoseconds>> responses(set.size());
	for (const auto &job : seen.jobs)
		if (job.end)
			responses[job.task].insert(*job.end - job.arrival);
	std::size_t marks = 0;
	nanoseconds until{0};
	for (std::size_t i = 0; i < set.size(); i++) {
		marks += responses[i].size();
		until = std::max({until, set[i].deadline, expected.responses[i].value_or(until)});
		if (!responses[i].empty())
			until = std::max(until, *responses[i].rbegin());
	}
	if (marks > kMostDrawn)
		return too_much("--plot", scenario);
	TimeChart chart(title, until, row_of(set.size()));
	name_rows(chart, set);
	for (std::size_t i = 0; i < set.size(); i++) {
		auto bottom = row_of(i) + kRow - 2;
		if (const auto longest = seen.tasks[i].response)
			chart.box(0, ns(*longest), bottom - kBox, kBox, *longest > set[i].deadline ? "miss" : "run",
				  fmt::format("{}: {}", set[i].name, format_duration(*longest)));
		for (auto response : responses[i])
			chart.line({{ns(response), bottom - kBox}, {ns(response), bottom}}, "mark");
		chart.arrow(ns(set[i].deadline), bottom - kArrow, kArrow, true, seen.tasks[i].misses ? "miss" : "mark");
		if (const auto bound = expected.responses[i])
			chart.line({{ns(*bound), bottom - kArrow}, {ns(*bound), bottom}}, "supply");
	}
	chart.note(chart.until() * 0.85, row_of(set.size()) + 28, "bar: longest response, arrow: deadline, green: bound");
	return save_file(path, chart.finish());
}

} // namespace

Result<int> simulate(const Options &options)
{
	auto question = ask(options);
	if (!question)
		return tl::unexpected(question.error());
	auto scenario = scenario_of(options, *question);
	if (!scenario)
		return tl::unexpected(scenario.error());
	const auto &set = question->set;
	auto expected = analyse(set, question->supply, question->scheduler);
	// A lone thread that the wakeup rule protects has no budget used up before its
	// first job: nobody else could have used it.
	scenario->used_up = expected.method != "cbs-wakeup";
	auto seen = dlgroup::simulate(set, *scenario);
	if (!seen)
		return tl::unexpected(seen.error());
	std::uint64_t jobs = 0, misses = 0;
	for (const auto &task : seen->tasks) {
		jobs += task.jobs;
		misses += task.misses;
	}
	auto summary = fmt::format("{} of {} jobs in {} {} late: {}, {} supply, {} releases", misses, jobs,
				   format_duration(scenario->duration), misses == 1 ? "was" : "were",
				   in_total(question->supply, 1), options.service, options.releases);
	if (!options.gantt.empty())
		if (auto drawn = draw(options.gantt, summary, *question, *scenario, *seen); !drawn)
			return tl::unexpected(drawn.error());
	if (!options.plot.empty())
		if (auto drawn = draw_responses(options.plot, summary, set, *scenario, *seen, expected); !drawn)
			return tl::unexpected(drawn.error());
	if (std::any_of(set.begin(), set.end(), [](const auto &task) { return task.blocking.count(); }))
		say("simulate", "the blocking of tasks is not simulated");

	if (options.json) {
		auto out = answer();
		out["sched"] = options.scheduler;
		out["runtime_ns"] = question->supply.runtime.count();
		out["period_ns"] = question->supply.period.count();
		out["latency_ns"] = question->supply.latency.count();
		out["supply"] = options.service;
		out["releases"] = options.releases;
		out["duration_ns"] = scenario->duration.count();
		out["supplied_ns"] = seen->supplied.count();
		out["throttled"] = seen->throttled;
		out["jobs"] = jobs;
		out["misses"] = misses;
		out["tasks"] = Json::array();
		for (std::size_t i = 0; i < set.size(); i++) {
			auto one = to_json(set[i]);
			one["jobs"] = seen->tasks[i].jobs;
			one["finished"] = seen->tasks[i].finished;
			one["misses"] = seen->tasks[i].misses;
			one["response_ns"] = time_json(seen->tasks[i].response);
			one["predicted_ns"] = time_json(expected.responses[i]);
			out["tasks"].push_back(one);
		}
		print(out);
	} else {
		print(summary);
		std::size_t width = 4;
		for (const auto &task : set)
			width = std::max(width, task.name.size());
		auto line = [&](const std::string &name, const auto &...column) {
			auto text = fmt::format("{:<{}} ", name, width);
			((text += fmt::format(" {:>12}", column)), ...);
			print(text);
		};
		line("TASK", "DEADLINE", "JOBS", "MISSES", "RESPONSE", "PREDICTED");
		for (std::size_t i = 0; i < set.size(); i++) {
			const auto &task = seen->tasks[i];
			const auto &predicted = expected.responses[i];
			line(set[i].name, format_duration(set[i].deadline), task.jobs, task.misses,
			     task.response ? format_duration(*task.response) : "-",
			     predicted ? format_duration(*predicted) : "-");
		}
	}
	return static_cast<int>(misses ? Status::refused : Status::ok);
}

} // namespace dlgroup::tool
