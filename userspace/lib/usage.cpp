// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/usage.h>

#include <algorithm>
#include <charconv>
#include <numeric>
#include <tuple>

#include <dlgroup/admission.h>
#include <dlgroup/fs.h>
#include <dlgroup/wide.h>

namespace dlgroup {

namespace {

constexpr std::int64_t kWhole = 1000; // per mille

nanoseconds divided_up(nanoseconds sum, std::int64_t by)
{
	return nanoseconds((sum.count() + by - 1) / by);
}

// A counter that has fallen is another's, which began at 0.
template <class Number> Number risen(Number from, Number to)
{
	return to >= from ? to - from : to;
}

} // namespace

nanoseconds quantile(PerPeriod values, unsigned permille)
{
	if (values.empty() || permille == 0)
		return nanoseconds(0);
	auto rank = (values.size() * permille + kWhole - 1) / kWhole;
	auto nth = values.begin() + static_cast<std::ptrdiff_t>(std::min(rank, values.size()) - 1);
	std::nth_element(values.begin(), nth, values.end());
	return *nth;
}

Figures figures(PerPeriod values)
{
	if (values.empty())
		return {};
	auto sum = std::accumulate(values.begin(), values.end(), nanoseconds(0));
	return {divided_up(sum, static_cast<std::int64_t>(values.size())), quantile(values, 500),
		quantile(values, 950), quantile(values, 990), quantile(values, kWhole)};
}

nanoseconds fullest_cpu(std::vector<Load> loads, const CpuSet &cpus)
{
	std::map<unsigned, nanoseconds> full;
	for (auto cpu : cpus)
		full[cpu] = nanoseconds(0);
	std::stable_sort(loads.begin(), loads.end(),
			 [](const Load &a, const Load &b) { return a.use > b.use; });
	for (const auto &load : loads) {
		// One that may run on none of them is where the kernel puts it.
		auto may = intersect(load.allowed, cpus);
		nanoseconds *emptiest = nullptr;
		for (auto &[cpu, has] : full)
			if ((may.empty() || may.count(cpu)) && (!emptiest || has < *emptiest))
				emptiest = &has;
		if (emptiest)
			*emptiest += load.use;
	}
	nanoseconds fullest{0};
	for (const auto &[cpu, has] : full)
		fullest = std::max(fullest, has);
	return fullest;
}

nanoseconds overprovisioned(nanoseconds need, const Overprovision &more)
{
	// A whole microsecond, the unit of cpu.rt.max.
	constexpr i128 kUnit = 1000;
	auto asked = (i128(need.count()) * (100 + more.percent) + 99) / 100 + more.stolen.count();
	auto rounded = (asked + kUnit - 1) / kUnit * kUnit;
	constexpr i128 kMost = nanoseconds::max().count();
	return std::max<nanoseconds>(nanoseconds(static_cast<std::int64_t>(std::min(rounded, kMost))), kMinRuntime);
}

std::optional<nanoseconds> tuned(nanoseconds runtime, nanoseconds need, std::size_t used_up, std::size_t periods,
				 const TuneLimits &limits)
{
	auto wanted = overprovisioned(need, {limits.percent, nanoseconds(0)});
	// What it needed then is not known, only that it was no less.
	if (used_up)
		wanted = std::max(wanted, 2 * used_up > periods ? 2 * runtime
								: overprovisioned(runtime, {limits.percent, nanoseconds(0)}));
	wanted = std::clamp(wanted, limits.least, limits.most);
	bool will_do = limits.least <= runtime && runtime <= limits.most && need <= runtime && !used_up;
	if (wanted == runtime || (will_do && std::chrono::abs(wanted - runtime) < runtime * limits.percent / 200))
		return std::nullopt;
	return wanted;
}

bool UsageRow::operator<(const UsageRow &other) const
{
	return std::tuple(is, label.size(), label) < std::tuple(other.is, other.label.size(), other.label);
}

UsageRow row_of(const GuestThread &thread)
{
	bool alone = thread.is == ThreadClass::vcpu || thread.is == ThreadClass::iothread;
	return {thread.is, alone ? thread.label : ""};
}

std::map<unsigned, StolenTime> parse_stolen(const std::string &text, std::int64_t ticks_per_second)
{
	// proc(5): cpuN user nice system idle iowait irq softirq ...
	constexpr std::size_t kIrq = 6, kSoftirq = 7;
	std::map<unsigned, StolenTime> all;
	auto number = [](std::string_view from, auto &into) {
		auto end = from.data() + from.size();
		auto got = std::from_chars(from.data(), end, into);
		return got.ec == std::errc{} && got.ptr == end;
	};
	for (const auto &line : lines(text)) {
		auto fields = words(line);
		unsigned cpu = 0;
		std::int64_t irq = 0, softirq = 0;
		if (fields.size() > kSoftirq && fields[0].starts_with("cpu") &&
		    number(std::string_view(fields[0]).substr(3), cpu) && number(fields[kIrq], irq) &&
		    number(fields[kSoftirq], softirq))
			all[cpu] = {nanoseconds(std::chrono::seconds(1)) * irq / ticks_per_second,
				    nanoseconds(std::chrono::seconds(1)) * softirq / ticks_per_second};
	}
	return all;
}

void Usage::add(UsageReading reading)
{
	bool late = reading.late > tolerance(period_);
	late_ += late;
	latest_ = std::max(latest_, reading.late);
	if (!last_) {
		last_ = std::move(reading);
		return;
	}
	bool exact = !late && last_->late <= tolerance(period_) && reading.period == last_->period + 1;
	elapsed_ += reading.period - last_->period;

	std::vector<Load> loads;
	std::map<UsageRow, nanoseconds> uses;
	nanoseconds served{0};
	for (const auto &[tid, now] : reading.threads) {
		auto before = last_->threads.find(tid);
		auto was = before == last_->threads.end() ? ThreadReading{} : before->second;
		auto use = risen(was.time.ran, now.time.ran);
		auto &row = rows_[now.row];
		row.served = now.served;
		row.waited += risen(was.time.waited, now.time.waited);
		uses[now.row] += use;
		if (!now.served)
			continue;
		served += use;
		loads.push_back({use, now.allowed});
	}
	for (const auto &[tid, was] : last_->threads)
		ended_ += !reading.threads.count(tid);
	if (exact) {
		for (const auto &[row, use] : uses)
			rows_[row].uses.push_back(use);
		served_.push_back(served);
		need_.push_back(fullest_cpu(std::move(loads), cpus_));
	}
	if (reading.group) {
		auto was = last_->group.value_or(GroupReading{});
		throttled_ += risen(was.throttled, reading.group->throttled) > 0;
		if (exact)
			group_irq_.push_back(risen(was.irq, reading.group->irq));
	}
	for (const auto &[cpu, now] : reading.cpus) {
		if (!cpus_.count(cpu))
			continue;
		auto was = last_->cpus[cpu];
		stolen_[cpu].irq += risen(was.irq, now.irq);
		stolen_[cpu].softirq += risen(was.softirq, now.softirq);
	}
	last_ = std::move(reading);
}

void Usage::restart()
{
	auto last = std::move(last_);
	*this = Usage(period_, std::move(cpus_));
	last_ = std::move(last);
}

Figures Usage::figures_of(const Row &row) const
{
	auto values = row.uses;
	values.resize(exact());
	return figures(std::move(values));
}

nanoseconds Usage::stolen_per_period() const
{
	nanoseconds most{0};
	for (const auto &[cpu, stolen] : stolen_)
		most = std::max(most, stolen.irq + stolen.softirq);
	return elapsed_ ? divided_up(most, static_cast<std::int64_t>(elapsed_)) : most;
}

} // namespace dlgroup
