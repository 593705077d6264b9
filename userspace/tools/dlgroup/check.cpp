// SPDX-License-Identifier: GPL-2.0-only
// check and design: what a task set needs, before any kernel is asked for it.
#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "question.h"

#include <dlgroup/fs.h>
#include <dlgroup/generate.h>
#include <dlgroup/svg.h>

namespace dlgroup::tool {

namespace {

const char *name_verdict(Verdict verdict)
{
	switch (verdict) {
	case Verdict::schedulable:
		return "schedulable";
	case Verdict::unschedulable:
		return "unschedulable";
	case Verdict::not_proved:
		break;
	}
	return "not proved";
}

// What no 64 bit number holds is left out.
Json work_json(u128 work)
{
	return work <= std::numeric_limits<std::int64_t>::max() ? Json(static_cast<std::int64_t>(work))
								: Json();
}

std::string work_text(u128 work)
{
	return work <= std::numeric_limits<std::int64_t>::max()
		       ? format_duration(nanoseconds(static_cast<std::int64_t>(work)))
		       : "more than any 64 bit number of ns";
}

// The head of both answers; runtime_ns is the verb's own.
Json head(const Options &options, const Question &question, const Analysis &analysis,
	  const std::optional<nanoseconds> &runtime)
{
	auto out = answer();
	out["verdict"] = name_verdict(analysis.verdict);
	out["method"] = analysis.method.empty() ? Json() : Json(analysis.method);
	if (!analysis.reason.empty())
		out["reason"] = analysis.reason;
	out["sched"] = options.scheduler;
	out["runtime_ns"] = time_json(runtime);
	out["period_ns"] = question.supply.period.count();
	out["cpus"] = options.cpu_count;
	return out;
}

void add_tasks(Json &out, const Options &options, const Question &question, const Analysis &analysis)
{
	out["tasks"] = Json::array();
	for (std::size_t i = 0; i < question.set.size(); i++) {
		const auto &task = question.set[i];
		const auto &response = analysis.responses[i];
		auto one = to_json(task);
		one["response_ns"] = time_json(response);
		one["slack_ns"] = response ? Json((task.deadline - *response).count()) : Json();
		if (!analysis.cpus.empty())
			one["cpu"] = analysis.cpus[i];
		out["tasks"].push_back(one);
	}
	if (const auto &witness = analysis.witness)
		out["witness"] = {{"task", question.set[witness->task].name},
				  {"index", witness->task},
				  {"instant_ns", witness->instant},
				  {"demand_ns", work_json(witness->demand)},
				  {"supply_ns", work_json(witness->supply)}};
	if (options.explain)
		out["explain"] = analysis.steps;
}

std::string because(const Question &question, const Analysis &analysis)
{
	auto text = analysis.reason;
	if (const auto &witness = analysis.witness)
		text += fmt::format("{}task {} misses: {} after the start it needs {} and gets {}",
				    text.empty() ? "" : "; ", question.set[witness->task].name,
				    work_text(witness->instant), work_text(witness->demand),
				    work_text(witness->supply));
	return text;
}

void print_tasks(const Options &options, const Question &question, const Analysis &analysis)
{
	std::size_t width = 4;
	for (const auto &task : question.set)
		width = std::max(width, task.name.size());
	print(fmt::format("{:<{}}  {:>12} {:>12} {:>12} {:>12} {:>12}{}", "TASK", width, "RUNTIME",
			  "DEADLINE", "PERIOD", "RESPONSE", "SLACK",
			  analysis.cpus.empty() ? "" : "  CPU"));
	for (std::size_t i = 0; i < question.set.size(); i++) {
		const auto &task = question.set[i];
		const auto &response = analysis.responses[i];
		print(fmt::format("{:<{}}  {:>12} {:>12} {:>12} {:>12} {:>12}{}", task.name, width,
				  format_duration(task.runtime), format_duration(task.deadline),
				  format_duration(task.period),
				  response ? format_duration(*response) : "-",
				  response ? format_duration(task.deadline - *response) : "-",
				  analysis.cpus.empty() ? "" : fmt::format("  {:>3}", analysis.cpus[i])));
	}
	if (options.explain)
		for (const auto &step : analysis.steps)
			print(step);
}

std::string growth_text(const Growth &growth)
{
	constexpr std::uint64_t kOne = 1000;
	if (!growth.permille)
		return "not schedulable even at a factor of 0.001";
	auto factor = fmt::format("{}.{:03}", growth.permille / kOne, growth.permille % kOne);
	return (growth.permille < kOne ? "schedulable if all runtimes shrink to " + factor + " of these"
				       : "schedulable until all runtimes grow by a factor of " + factor) +
	       (growth.exact ? "" : ", or more: the search was given up");
}

double to_double(u128 value)
{
	return static_cast<double>(value);
}

// What the picture shows: whose demand, from which job on, and how far.
struct View {
	std::size_t task = 0;
	nanoseconds arrival{0};
	std::uint64_t until = 1;
};

// The witness and a quarter more; without one the task with the least slack.
View view_of(const Question &question, const Analysis &analysis)
{
	View view;
	const auto &set = question.set;
	if (const auto &witness = analysis.witness) {
		view.task = witness->task;
		view.arrival = nanoseconds(static_cast<std::int64_t>(witness->instant)) -
			       set[view.task].deadline;
		view.until = witness->instant;
	} else {
		auto slack = [&](std::size_t i) {
			return set[i].deadline - analysis.responses[i].value_or(nanoseconds(0));
		};
		for (std::size_t i = 0; i < set.size(); i++) {
			view.task = slack(i) < slack(view.task) ? i : view.task;
			if (question.scheduler == Scheduler::edf)
				view.until = std::max(view.until, static_cast<std::uint64_t>(
									  set[i].deadline.count()));
		}
		const auto &shown = set[view.task];
		view.arrival = -shown.jitter;
		view.until = std::max(view.until, static_cast<std::uint64_t>(shown.deadline.count()));
	}
	constexpr std::uint64_t kMostShown = std::numeric_limits<std::int64_t>::max();
	view.until = std::min(view.until, kMostShown / 2);
	view.until = std::max<std::uint64_t>(view.until + view.until / 4, 1);
	return view;
}

Result<void> plot(const std::string &path, const std::string &title, const Question &question,
		  const Analysis &analysis)
{
	constexpr std::uint64_t kColumns = 960, kRows = 10;
	constexpr double kHeight = 400;
	auto view = view_of(question, analysis);
	auto demand = [&](std::uint64_t time) {
		return to_double(demand_bound(question.set, question.scheduler, view.task, view.arrival, time));
	};
	auto most = std::max({demand(view.until), to_double(supply_bound(question.supply, view.until)), 1.0});
	auto y = [&](double work) { return kHeight - work / most * kHeight; };
	TimeChart chart(title, nanoseconds(static_cast<std::int64_t>(view.until)), kHeight);
	auto step = even_step(most, kRows);
	for (double work = 0; work <= most; work += step) {
		chart.line({{0, y(work)}, {chart.until(), y(work)}}, "grid");
		chart.name(y(work) + 4, work_text(static_cast<u128>(work)));
	}
	std::vector<TimeChart::Point> needed, given;
	for (std::uint64_t column = 0; column <= kColumns; column++) {
		auto time = static_cast<std::uint64_t>(static_cast<u128>(view.until) * column / kColumns);
		auto at = to_double(time);
		if (!needed.empty())
			needed.emplace_back(at, needed.back().second);
		needed.emplace_back(at, y(demand(time)));
		given.emplace_back(at, y(to_double(supply_bound(question.supply, time))));
	}
	chart.line(given, "supply");
	chart.line(needed, "demand");
	chart.note(chart.until() * 0.1, 14,
		   question.scheduler == Scheduler::edf
			   ? "orange: dbf, green: sbf"
			   : fmt::format("orange: rbf of task {}, green: sbf", question.set[view.task].name));
	if (const auto &witness = analysis.witness) {
		auto at = to_double(witness->instant);
		auto needs = y(to_double(witness->demand)), gets = y(to_double(witness->supply));
		chart.line({{at, needs}, {at, gets}}, "mark");
		chart.dot({at, needs}, "miss", "needs " + work_text(witness->demand));
		chart.dot({at, gets}, "mark", "gets " + work_text(witness->supply));
	}
	return save_file(path, chart.finish());
}

// The periods that design may choose from: one, unless --period is a range.
Result<Periods> periods_of(const Options &options)
{
	constexpr std::int64_t kMostPeriods = 10000;
	Periods range;
	if (options.period.find(':') == std::string::npos) {
		auto period = time_option("--period", options.period);
		if (!period)
			return tl::unexpected(period.error());
		range = {*period, *period, microseconds(1)};
	} else {
		auto periods = parse_periods(options.period);
		if (!periods)
			return bad_input("--period", periods.error().object + ": " + periods.error().reason);
		range = *periods;
		if ((range.longest - range.shortest) / range.step >= kMostPeriods)
			return bad_input("--period", fmt::format("more than {} periods; expected a longer "
								 "STEP", kMostPeriods));
	}
	range.longest = range.shortest + (range.longest - range.shortest) / range.step * range.step;
	return range;
}

int exit_status(Verdict verdict)
{
	return static_cast<int>(verdict == Verdict::schedulable ? Status::ok : Status::refused);
}

} // namespace

Result<int> check(const Options &options)
{
	auto question = ask(options);
	if (!question)
		return tl::unexpected(question.error());
	const auto &supply = question->supply;
	for (auto [option, given] : {std::pair("--plot", !options.plot.empty()),
				     std::pair("--sensitivity", options.sensitivity)})
		if (given && options.cpu_count != 1)
			return bad_input(option, "is for one CPU");
	auto analysis = analyse(question->set, supply, question->scheduler, options.cpu_count);
	auto why = because(*question, analysis);
	auto summary = fmt::format("{}{}: {}{}", name_verdict(analysis.verdict),
				   analysis.method.empty() ? "" : " by " + analysis.method,
				   in_total(supply, options.cpu_count), why.empty() ? "" : ": " + why);
	if (!options.plot.empty())
		if (auto drawn = plot(options.plot, summary, *question, analysis); !drawn)
			return tl::unexpected(drawn.error());
	std::optional<Growth> growth;
	if (options.sensitivity)
		growth = largest_growth(question->set, supply, question->scheduler);
	if (options.json) {
		auto out = head(options, *question, analysis, supply.runtime);
		add_tasks(out, options, *question, analysis);
		if (growth)
			out["growth"] = {{"permille", growth->permille}, {"exact", growth->exact}};
		print(out);
	} else {
		print(summary);
		if (growth)
			print(growth_text(*growth));
		print_tasks(options, *question, analysis);
	}
	return exit_status(analysis.verdict);
}

Result<int> design(const Options &options)
{
	auto range = periods_of(options);
	if (!range)
		return tl::unexpected(range.error());
	auto with = options;
	with.period = fmt::format("{}ns", range->longest.count());
	auto question = ask(with);
	if (!question)
		return tl::unexpected(question.error());
	for (auto time : {range->shortest, range->step})
		if (auto whole = whole_microseconds(time); !whole)
			return bad_input("--period", whole.error().reason);
	auto &supply = question->supply;
	nanoseconds overhead(0);
	if (!options.overhead.empty()) {
		auto time = time_option("--overhead", options.overhead);
		if (!time)
			return tl::unexpected(time.error());
		overhead = *time;
	}

	LeastRuntime least;
	auto best = best_period(question->set, supply, question->scheduler, range->shortest, range->longest,
				range->step, overhead, options.cpu_count);
	if (best) {
		least = best->least;
		supply.period = supply.deadline = best->period;
	}
	auto period = std::chrono::duration_cast<microseconds>(supply.period);
	// What is written is tested, not only what was found.
	auto runtime = std::chrono::ceil<microseconds>(least.runtime.value_or(supply.period) + overhead);
	supply.runtime = least.runtime ? runtime - overhead : supply.period;
	auto analysis = analyse(question->set, supply, question->scheduler, options.cpu_count);
	if (analysis.verdict != Verdict::schedulable) {
		least.runtime.reset();
	} else if (least.runtime) {
		*least.runtime += overhead;
		supply.runtime = runtime;
	} else if (overhead.count()) {
		analysis.verdict = options.cpu_count == 1 ? Verdict::unschedulable : Verdict::not_proved;
		analysis.reason = "the overhead leaves too little of any period";
	}

	std::vector<std::string> notes;
	std::optional<std::string> line;
	if (least.runtime) {
		line = file_text({false, runtime, period, std::nullopt});
		if (options.cpu_count != 1)
			notes.push_back("it is enough with each task pinned to its CPU; placed otherwise, "
					"a smaller runtime may do");
		else if (!least.exact)
			notes.push_back("a smaller runtime may do: the search for it was given up");
		if (runtime < kMinRuntime || period < kMinPeriod || period > kMaxPeriod)
			notes.push_back(fmt::format(
				"the kernel takes it from CAP_SYS_NICE only: runtime at least {}, "
				"period {} to {}", format_duration(kMinRuntime),
				format_duration(kMinPeriod), format_duration(kMaxPeriod)));
	}
	if (options.json) {
		auto out = head(options, *question, analysis, least.runtime);
		out["exact"] = least.exact;
		out["overhead_ns"] = overhead.count();
		out["cpu_rt_max"] = line ? Json(*line) : Json();
		out["each_ppb"] = line ? Json(parts_per_billion(bandwidth(runtime, period))) : Json();
		add_tasks(out, options, *question, analysis);
		out["notes"] = notes;
		print(out);
	} else if (line) {
		print(fmt::format("runtime {} is enough by {}", format_duration(*least.runtime),
				  analysis.method));
		print(fmt::format("cpu.rt.max: {}: {}", *line, in_total(supply, options.cpu_count)));
		print_tasks(options, *question, analysis);
	} else {
		print(fmt::format("{}: no runtime in {} is enough: {}", name_verdict(analysis.verdict),
				  range->shortest == range->longest ? format_duration(supply.period)
								    : options.period,
				  because(*question, analysis)));
		print_tasks(options, *question, analysis);
	}
	if (!options.json)
		for (const auto &note : notes)
			say("design", note);
	return exit_status(analysis.verdict);
}

} // namespace dlgroup::tool
