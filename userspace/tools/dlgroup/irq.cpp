// SPDX-License-Identifier: GPL-2.0-only
// irq: threads of interrupts in a reservation.
#include <algorithm>
#include <chrono>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <sched.h>

#include "kthread.h"

#include <dlgroup/facts.h>

namespace dlgroup::tool {

namespace {

constexpr const char *kKind = "irq";

std::string name_irq(unsigned number)
{
	return fmt::format("IRQ {}", number);
}

Attached attached(unsigned number)
{
	auto name = std::to_string(number);
	return {name, name_irq(number), name, Json(number)};
}

std::string joined(const std::vector<std::string> &names, const char *between)
{
	std::string all;
	for (const auto &name : names)
		all += (all.empty() ? "" : between) + printable(name);
	return all;
}

Result<std::set<unsigned>> asked_irqs(const Options &options)
{
	std::set<unsigned> numbers;
	for (const auto &name : options.names) {
		auto number = parse_irq(name);
		if (!number)
			return tl::unexpected(number.error());
		numbers.insert(*number);
	}
	return numbers;
}

// Why the group would not be the only one that has an advantage of it; empty if it is.
std::string users_besides(const Context &context, const Served &served, const IrqLine &line)
{
	if (line.actions.size() > 1)
		return "the line is shared by " + joined(line.actions, ", ");
	auto users = users_of(context.roots, line);
	if (!users.known) {
		auto namespaces = net_namespaces(context.roots);
		for (const auto &one : interfaces(context.roots, namespaces))
			if (std::find(one.irqs.begin(), one.irqs.end(), line.number) != one.irqs.end())
				return users_besides(served, one, namespaces);
	}
	if (!users.known)
		return fmt::format("whose work {} does cannot be told", printable(line.actions[0]));
	return users_outside(served, users);
}

Result<IrqLine> check_line(const Context &context, const Served &served, const KernelThreads &threads,
			   const std::vector<IrqLine> &lines, unsigned number)
{
	auto line = find_irq(context.roots, lines, number);
	if (!line)
		return line;
	auto object = name_irq(number);
	if (line->threads.empty()) {
		if (forces_irq_threads(context.roots) == Known::no)
			return fail(Status::unsupported, object,
				    "has no thread: its driver asks for none, and the kernel was booted without "
				    "threadirqs (dlgroup doctor --irq)");
		return bad_input(object, "has no thread: its handler must run at once");
	}
	auto good = threads.check_not_attached(attached(number), line->threads);
	if (good)
		good = check_movable(context, object, line->threads);
	if (good)
		good = check_shared(context, served, object, users_besides(context, served, *line));
	if (!good)
		return tl::unexpected(good.error());
	return line;
}

void report_line(const Served &served, const IrqLine &line)
{
	const auto &cpus = served.tree.groups[served.source].cpus_served;
	print(fmt::format("{}: {} served by {}: {}", name_irq(line.number), name_tasks(line.threads), served.path(),
			  summary(served.tree, served.source)));
	// The kernel moves the thread with its interrupt, and asks no cpuset.
	if (intersect(line.cpus(), cpus) != line.cpus())
		say(name_irq(line.number),
		    fmt::format("comes on {}, and {} is served on {}: whoever writes smp_affinity moves its thread to "
				"where it is not served",
				name_cpus(line.cpus()), served.path(), name_cpus(cpus)));
}

// What came in a second, rounded.
std::uint64_t per_second(std::uint64_t count, nanoseconds time)
{
	auto ns = static_cast<std::uint64_t>(std::max<std::int64_t>(time.count(), 1));
	return (count * std::uint64_t(1000000000) + ns / 2) / ns;
}

Json line_json(const Context &context, const IrqLine &line, std::uint64_t count, std::uint64_t rate,
	       const std::optional<std::string> &attached)
{
	Json out = {{"irq", line.number},   {"actions", line.actions},
		    {"chip", line.chip},    {"cpus", to_json(line.asked)},
		    {"effective_cpus", to_json(line.effective)},
		    {"count", count},	    {"rate_per_s", rate},
		    {"attached", attached ? Json(*attached) : Json()},
		    {"threads", Json::array()}};
	for (const auto &task : line.threads)
		out["threads"].push_back(to_json(context, task));
	return out;
}

void print_rows(const IrqLine &line, std::uint64_t rate)
{
	auto row = [&](const std::string &action, const std::string &tid, const std::string &policy,
		       const std::string &cgroup) {
		print(fmt::format("{:>4} {:>9}  {:<8} {:<24} {:>7}  {:<9} {}", line.number, fmt::format("{}/s", rate),
				  format_cpus(line.cpus()), printable(action), tid, policy, cgroup));
	};
	auto without = line.actions;
	for (const auto &task : line.threads) {
		auto action = action_of(line, task);
		std::erase(without, action);
		row(action, std::to_string(task.tid), name_policy(task.policy), task.cgroup);
	}
	for (const auto &action : without)
		row(action, "-", "-", "-");
}

} // namespace

Result<int> irq_list(const Context &context)
{
	auto interval = parse_duration(context.options.interval);
	if (!interval)
		return tl::unexpected(interval.error());
	if (interval->count() <= 0)
		return bad_input("--interval", "has to be more than 0");
	auto before = irq_counts(context.roots);
	auto started = std::chrono::steady_clock::now();
	std::this_thread::sleep_for(*interval);
	auto after = irq_counts(context.roots);
	nanoseconds took = std::chrono::steady_clock::now() - started;

	auto out = answer();
	out["interval_ns"] = took.count();
	out["irqs"] = Json::array();
	auto all = irq_lines(context.roots);
	if (!context.options.json)
		print(all.empty() ? "no interrupts"
				  : fmt::format("{:>4} {:>9}  {:<8} {:<24} {:>7}  {:<9} {}", "IRQ", "RATE", "CPUS", "ACTION",
						"THREAD", "POLICY", "CGROUP"));
	for (const auto &line : all) {
		// One that has been freed and requested again meanwhile counts from 0.
		auto count = after[line.number], was = before[line.number];
		auto rate = per_second(count >= was ? count - was : count, took);
		if (context.options.json)
			out["irqs"].push_back(line_json(context, line, count, rate, attached_to(context, kKind, std::to_string(line.number), line.threads)));
		else
			print_rows(line, rate);
	}
	if (context.options.json)
		print(out);
	return 0;
}

Result<int> irq_attach(const Context &context)
{
	const auto &options = context.options;
	auto numbers = asked_irqs(options);
	if (!numbers)
		return tl::unexpected(numbers.error());
	auto served = find_served(context);
	if (!served)
		return tl::unexpected(served.error());
	auto threads = KernelThreads::open(context, kKind);
	if (!threads)
		return tl::unexpected(threads.error());
	auto present = irq_lines(context.roots);
	std::vector<IrqLine> all;
	for (auto number : *numbers) {
		auto line = check_line(context, *served, *threads, present, number);
		if (!line)
			return tl::unexpected(line.error());
		all.push_back(std::move(*line));
	}
	Result<void> done;
	for (const auto &line : all)
		if (done)
			done = threads->record(std::to_string(line.number), served->path(), line.threads);
	for (const auto &line : all)
		if (done)
			done = threads->move(served->path(), name_irq(line.number), line.threads,
					     requested_policy(options));
	if (!done)
		return threads->undo(done.error());
	if (options.dry_run)
		return print_steps(threads->steps(), options.json);
	if (options.json) {
		auto out = answer();
		out["group"] = served->path();
		out["attached"] = *numbers;
		print(out);
	} else {
		for (const auto &line : all)
			report_line(*served, line);
	}
	say_if_nothing_served(context, served->path());
	return 0;
}

Result<int> irq_detach(const Context &context)
{
	const auto &options = context.options;
	auto numbers = asked_irqs(options);
	if (!numbers)
		return tl::unexpected(numbers.error());
	auto threads = KernelThreads::open(context, kKind);
	if (!threads)
		return tl::unexpected(threads.error());
	std::vector<Attached> all;
	for (auto number : *numbers)
		all.push_back(attached(number));
	return threads->detach(all);
}

} // namespace dlgroup::tool
