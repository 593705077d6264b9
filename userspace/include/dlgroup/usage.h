// SPDX-License-Identifier: GPL-2.0-only
// What a guest uses in a period, and the reservation that this asks for. Nothing here looks
// at a kernel: whoever does hands in what it has read. Integers only.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <dlgroup/guest.h>

namespace dlgroup {

// One figure for each period.
using PerPeriod = std::vector<nanoseconds>;
// The least value that this share of them does not exceed (nearest rank): one that occurred.
// None are 0, as all of the share 0.
nanoseconds quantile(PerPeriod values, unsigned permille);
struct Figures {
	nanoseconds mean{0}, p50{0}, p95{0}, p99{0}, worst{0}; // the mean is rounded up
};
Figures figures(PerPeriod values);

// A thread's part of a period, and where it can run.
struct Load {
	nanoseconds use{0};
	CpuSet allowed;
};
// How much the fullest of these CPUs has to do if no thread moves within the period:
// the longest first, each on the emptiest CPU that it may use (Graham's LPT, 1969).
nanoseconds fullest_cpu(std::vector<Load> loads, const CpuSet &cpus);

// The larger reservation that a measured need asks for. IRMOS (Cucinotta, Giani, Faggioli
// & Checconi, VHPC 2010): more than was measured in isolation, for what guests do to each
// other's caches, and for the interrupts of all their traffic.
struct Overprovision {
	unsigned percent = 0;
	nanoseconds stolen{0}; // by interrupts in a period, where they are charged to whom they hit
};
// Need and what it is raised by, rounded up to 1 us and to the least runtime.
nanoseconds overprovisioned(nanoseconds need, const Overprovision &more);

// A runtime that follows the need, as a feedback reservation does (AQuoSA: Palopoli, Cucinotta,
// Marzario & Lipari, 2009): within limits, and so much above it.
struct TuneLimits {
	nanoseconds least{0}, most{0};
	unsigned percent = 0;
};
// After `periods` that needed so much, in some of which the budget was used up. Nothing: it
// stays, as it does if it would change by less than half of the percentage, so that it does
// not go up and down; the other half still covers the need.
std::optional<nanoseconds> tuned(nanoseconds runtime, nanoseconds need, std::size_t used_up, std::size_t periods,
				 const TuneLimits &limits);

// Which of a guest's threads: those of one class, and of these classes one alone.
struct UsageRow {
	ThreadClass is = ThreadClass::other;
	std::string label; // of a vCPU or an iothread
	bool operator<(const UsageRow &other) const;
};
UsageRow row_of(const GuestThread &thread);

// What has been counted so far.
struct ThreadReading {
	UsageRow row;
	bool served = false; // by the reservation
	CpuSet allowed;
	RunTime time;
};
struct StolenTime {
	nanoseconds irq{0}, softirq{0};
};
// Of each CPU, as /proc/stat has it.
std::map<unsigned, StolenTime> parse_stolen(const std::string &text, std::int64_t ticks_per_second);
struct GroupReading {
	nanoseconds irq{0};
	std::uint64_t throttled = 0;
};
struct UsageReading {
	std::uint64_t period = 0; // which one it begins, by the clock
	nanoseconds late{0};      // after that beginning
	std::map<pid_t, ThreadReading> threads;
	std::map<unsigned, StolenTime> cpus;
	std::optional<GroupReading> group; // if it has a reservation
};

// The differences of readings. Between two of which one is late, or that are not those of
// one period, nobody knows what belongs to which: they are in the totals only.
class Usage {
public:
	// Later than this, a reading is late.
	static nanoseconds tolerance(nanoseconds period) { return period / 10; }

	Usage(nanoseconds period, CpuSet cpus) : period_(period), cpus_(std::move(cpus)) {}
	void add(UsageReading reading);
	// Forgets all but the last reading: a new window.
	void restart();

	std::uint64_t elapsed() const { return elapsed_; } // periods by the clock
	std::size_t exact() const { return need_.size(); } // those with a figure
	std::size_t late() const { return late_; }         // readings
	nanoseconds latest() const { return latest_; }
	std::size_t ended() const { return ended_; } // threads: what they ran last is not known
	std::size_t throttled() const { return throttled_; } // periods, or more between late readings

	struct Row {
		PerPeriod uses; // where it was there; elsewhere 0
		nanoseconds waited{0};
		bool served = false;
	};
	const std::map<UsageRow, Row> &rows() const { return rows_; }
	Figures figures_of(const Row &row) const;
	const PerPeriod &served() const { return served_; } // all of them together
	const PerPeriod &need() const { return need_; }     // fullest_cpu()
	const PerPeriod &group_irq() const { return group_irq_; } // empty if it has no reservation
	const std::map<unsigned, StolenTime> &stolen() const { return stolen_; }
	// In a period, on the CPU where it is most; rounded up.
	nanoseconds stolen_per_period() const;

private:
	nanoseconds period_;
	CpuSet cpus_;
	std::optional<UsageReading> last_;
	std::uint64_t elapsed_ = 0;
	std::size_t late_ = 0, ended_ = 0, throttled_ = 0;
	nanoseconds latest_{0};
	std::map<UsageRow, Row> rows_;
	PerPeriod served_, need_, group_irq_;
	std::map<unsigned, StolenTime> stolen_;
};

} // namespace dlgroup
