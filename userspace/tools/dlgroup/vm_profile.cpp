// SPDX-License-Identifier: GPL-2.0-only
// vm profile: what a guest uses in a period, and which reservation that asks for.
#include <fmt/format.h>

#include "vm_usage.h"

#include <dlgroup/facts.h>

namespace dlgroup::tool {

namespace {

constexpr nanoseconds kUsualPeriod = std::chrono::milliseconds(20);
constexpr std::uint64_t kMostPeriods = 1000000; // they are kept

struct Asked {
	nanoseconds period{0};
	std::uint64_t periods = 0;
	nanoseconds tick{0}; // by how much a figure can be off
};

Result<Asked> asked(const Options &options, const MeasuredGuest &guest, PeriodTimer &timer)
{
	Asked what;
	const auto &reservation = guest.reservation();
	what.period = reservation.has_number() ? reservation.period : kUsualPeriod;
	if (!options.period.empty()) {
		auto period = parse_duration(options.period).and_then(whole_microseconds);
		if (!period)
			return tl::unexpected(period.error());
		what.period = *period;
	}
	auto duration = parse_duration(options.duration.empty() ? "10s" : options.duration);
	if (!duration)
		return tl::unexpected(duration.error());
	// In a reservation the kernel tells exactly, see parse_schedstat().
	if (!reservation.has_number())
		what.tick = timer.tick();
	auto least = std::max<nanoseconds>(2 * what.tick, kMinPeriod);
	if (what.period < least)
		return bad_input("--period",
				 reservation.has_number()
					 ? fmt::format("the shortest period of a reservation is {}", format_duration(least))
					 : fmt::format("what a running thread has used is known to a tick of the kernel, {}: "
						       "{} is the shortest period of a guest without a reservation",
						       format_duration(what.tick), format_duration(least)));
	what.periods = static_cast<std::uint64_t>(*duration / what.period);
	if (what.periods == 0)
		return bad_input("--duration", fmt::format("{} is shorter than a period of {}",
							   format_duration(*duration), format_duration(what.period)));
	if (what.periods > kMostPeriods)
		return bad_input("--duration", fmt::format("{} periods, and {} are the most that are kept", what.periods,
							   kMostPeriods));
	return what;
}

struct Proposal {
	nanoseconds need{0};
	Overprovision more;
	std::optional<RtMax> reservation; // none: more than a CPU has
};

Proposal propose(const Context &context, const Usage &usage, nanoseconds period)
{
	Proposal proposal;
	proposal.need = quantile(usage.need(), kNeeded);
	proposal.more.percent = context.options.margin;
	// Elsewhere they take nothing of the budget.
	if (irq_accounting(context.roots) != IrqAccounting::on)
		proposal.more.stolen = usage.stolen_per_period();
	auto runtime = overprovisioned(proposal.need, proposal.more);
	auto whole = std::chrono::duration_cast<microseconds>(period);
	if (runtime <= period)
		proposal.reservation = RtMax{false, std::chrono::duration_cast<microseconds>(runtime), whole, whole};
	return proposal;
}

std::string us(nanoseconds time)
{
	return format_duration(std::chrono::ceil<microseconds>(time));
}

nanoseconds each(nanoseconds sum, std::uint64_t periods)
{
	return sum / static_cast<std::int64_t>(periods);
}

// What the figures do not tell by themselves.
std::vector<std::string> notes(const Context &context, const Usage &usage, const Asked &what, const Proposal &proposal)
{
	std::vector<std::string> all;
	if (what.tick.count())
		all.push_back(fmt::format("without a reservation the kernel counts what a running thread uses at its "
					  "ticks: the figures of one period can be off by {}",
					  us(what.tick)));
	if (usage.late())
		all.push_back(fmt::format("late readings, by more than {}: {}, the latest by {}; {} of {} periods have "
					  "no figures",
					  us(Usage::tolerance(what.period)), usage.late(), us(usage.latest()),
					  usage.elapsed() - usage.exact(), usage.elapsed()));
	if (usage.ended())
		all.push_back(fmt::format("threads that have ended: {}; what they used at last is not known", usage.ended()));
	nanoseconds waited{0};
	for (const auto &[key, row] : usage.rows())
		if (row.served)
			waited += row.waited;
	waited = each(waited, usage.elapsed());
	if (usage.throttled())
		all.push_back(fmt::format("periods in which its reservation was used up: {}; it would use more: give it "
					  "more, and measure again",
					  usage.throttled()));
	else if (waited > figures(usage.served()).mean / 20)
		all.push_back(fmt::format("its served threads waited {} a period for CPUs that others had: it would use "
					  "more; measure where it is alone",
					  us(waited)));
	if (irq_accounting(context.roots) == IrqAccounting::on)
		all.push_back("interrupts are charged to nobody: the proposal has nothing for them, and their CPUs "
			      "need room besides");
	if (!proposal.reservation)
		all.push_back(fmt::format("{} in {} is more than a CPU has: more CPUs, or a longer period",
					  us(overprovisioned(proposal.need, proposal.more)), us(what.period)));
	return all;
}

Json figures_json(const Figures &of)
{
	return {{"mean_ns", of.mean.count()}, {"p50_ns", of.p50.count()}, {"p95_ns", of.p95.count()},
		{"p99_ns", of.p99.count()}, {"worst_ns", of.worst.count()}};
}

Json stolen_json(const Usage &usage)
{
	Json out = {{"resolution_ns", 1000000000 / sysconf(_SC_CLK_TCK)}, {"cpus", Json::array()}};
	for (const auto &[cpu, stolen] : usage.stolen())
		out["cpus"].push_back({{"cpu", cpu},
				       {"irq_ns", stolen.irq.count()},
				       {"softirq_ns", stolen.softirq.count()}});
	return out;
}

Json profile_json(const MeasuredGuest &guest, const Usage &usage, const Asked &what, const Proposal &proposal)
{
	auto out = answer();
	out["pid"] = guest.guest().pid;
	out["name"] = guest.guest().name;
	out["attached"] = guest.record().has_value();
	out["group"] = guest.group();
	out["cpus"] = to_json(guest.cpus());
	out["period_ns"] = what.period.count();
	out["resolution_ns"] = what.tick.count();
	out["periods"] = {{"elapsed", usage.elapsed()}, {"exact", usage.exact()},
			  {"throttled", usage.throttled()}};
	out["late"] = {{"readings", usage.late()}, {"worst_ns", usage.latest().count()}};
	out["threads_ended"] = usage.ended();
	out["threads"] = Json::array();
	for (const auto &[key, row] : usage.rows()) {
		Json line = {{"class", name_class(key.is)}, {"name", key.label}, {"served", row.served},
			     {"waited_ns", row.waited.count()}};
		line.update(figures_json(usage.figures_of(row)));
		out["threads"].push_back(line);
	}
	out["served"] = figures_json(figures(usage.served()));
	out["fullest_cpu"] = figures_json(figures(usage.need()));
	out["group_irq"] = usage.group_irq().empty() ? Json() : figures_json(figures(usage.group_irq()));
	out["stolen"] = stolen_json(usage);
	out["proposal"] = {{"need_ns", proposal.need.count()},
			   {"percent", proposal.more.percent},
			   {"stolen_ns", proposal.more.stolen.count()},
			   {"reservation", proposal.reservation ? to_json(*proposal.reservation) : Json()}};
	return out;
}

void print_table(const Usage &usage)
{
	auto line = [](const std::string &of, const std::string &name, const auto &...times) {
		print(fmt::format("  {:<9} {:<12} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11}", of, name, times...));
	};
	auto row = [&](const std::string &of, const std::string &name, const Figures &is, const std::string &waited) {
		line(of, name, us(is.mean), us(is.p50), us(is.p95), us(is.p99), us(is.worst), waited);
	};
	line("CLASS", "NAME", "MEAN", "P50", "P95", "P99", "WORST", "WAITED");
	for (const auto &[key, one] : usage.rows())
		row(name_class(key.is), key.label.empty() ? "-" : key.label, usage.figures_of(one),
		    us(each(one.waited, usage.elapsed())));
	row("served", "-", figures(usage.served()), "-");
	row("one CPU", "-", figures(usage.need()), "-");
	if (!usage.group_irq().empty())
		row("irqs", "-", figures(usage.group_irq()), "-");
}

void print_profile(const MeasuredGuest &guest, const Usage &usage, const Asked &what, const Proposal &proposal)
{
	auto row = [](const std::string &name, const std::string &value) {
		print(fmt::format("  {:<12} {}", name, value));
	};
	print(fmt::format("{}, {}: {} periods of {} on {}", guest.name(), guest.record() ? "attached" : "not attached",
			  usage.exact(), us(what.period), name_cpus(guest.cpus())));
	print_table(usage);
	for (const auto &[cpu, stolen] : usage.stolen())
		row(name_cpus({cpu}), fmt::format("interrupts {}, softirqs {} in {}, counted by {}", us(stolen.irq),
						  us(stolen.softirq), us(what.period * usage.elapsed()),
						  us(std::chrono::nanoseconds(std::chrono::seconds(1)) / sysconf(_SC_CLK_TCK))));
	auto reason = fmt::format("{} (P99 of one CPU) and {} %", us(proposal.need), proposal.more.percent);
	if (proposal.more.stolen.count())
		reason += fmt::format(" and {} of interrupts", us(proposal.more.stolen));
	if (!proposal.reservation) {
		row("proposal", "none: " + reason);
		return;
	}
	auto res = format_rt_max(*proposal.reservation);
	row("proposal", fmt::format("{} on {} ({}): {}", res, name_cpus(guest.cpus()),
				    total(bandwidth(*proposal.reservation), guest.cpus().size()), reason));
	// A reservation that somebody else has made may be that of others, too.
	if (guest.record())
		row("command", fmt::format("dlgroup set {} {}", guest.record()->group, res));
	else if (!guest.reservation().has_number())
		row("command", fmt::format("dlgroup vm attach {} {}", guest.guest().pid, res));
}

} // namespace

Result<int> vm_profile(const Context &context, PeriodTimer &timer)
{
	auto guest = MeasuredGuest::find(context);
	if (!guest)
		return tl::unexpected(guest.error());
	auto what = asked(context.options, *guest, timer);
	if (!what)
		return tl::unexpected(what.error());
	auto usage = measure(*guest, timer, what->period, what->periods);
	if (!usage)
		return tl::unexpected(usage.error());
	auto proposal = propose(context, *usage, what->period);
	auto told = notes(context, *usage, *what, proposal);
	if (context.options.json) {
		auto out = profile_json(*guest, *usage, *what, proposal);
		out["notes"] = told;
		print(out);
		return 0;
	}
	print_profile(*guest, *usage, *what, proposal);
	for (const auto &note : told)
		print(fmt::format("  {:<12} {}", "note", note));
	return 0;
}

Result<int> vm_profile(const Context &context)
{
	KernelTimer timer;
	return vm_profile(context, timer);
}

} // namespace dlgroup::tool
