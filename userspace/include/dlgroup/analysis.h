// SPDX-License-Identifier: GPL-2.0-only
// Do these tasks meet their deadlines inside this reservation, on one CPU or, each
// pinned to one, on several? No kernel is asked and no floating point is used:
// instants are whole nanoseconds, products have 128 bits, and what would not fit
// saturates on the side of "no" or is told as unknown. docs/analysis.md has each
// test's equation and source.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <dlgroup/taskset.h>
#include <dlgroup/wide.h>

namespace dlgroup {

// `runtime` in every `period`, up to `deadline` in it, each time at most
// `latency` late. Holds 0 <= runtime <= deadline <= period, 0 < period.
struct Supply {
	nanoseconds runtime{0};
	nanoseconds period{0};
	nanoseconds deadline{0}; // equals the period unless the reservation has one
	nanoseconds latency{0};  // timers, tardiness
};
// The least that a backlogged client gets in any `time` ns.
u128 supply_bound(const Supply &supply, u128 time);
// The shortest time in which it surely gets `work` ns; the largest u128 if none.
u128 supply_inverse(const Supply &supply, u128 work);
enum class Scheduler { edf, fp };

enum class Answer { no, yes, unknown };
// An instant, counted from the start of a busy period with the worst supply, by
// which the work that a task waits for exceeds what it gets.
struct Witness {
	std::size_t task = 0;
	std::uint64_t instant = 0;
	u128 demand = 0;
	u128 supply = 0;
};

// A test by its name in docs/analysis.md. Those that are only sufficient never
// answer no.
struct SchedulabilityTest {
	std::string_view name;
	Answer (*decide)(const TaskSet &set, const Supply &supply);
};
const std::vector<SchedulabilityTest> &schedulability_tests();

enum class Verdict { schedulable, unschedulable, not_proved };

struct Analysis {
	Verdict verdict = Verdict::not_proved;
	std::string method; // the name of the test that decided
	std::string reason; // why it is not proved, or unschedulable without a witness
	std::optional<Witness> witness;
	// From a job's arrival to its end, the least upper bound; null if there is
	// none or it would take too long to find.
	std::vector<std::optional<nanoseconds>> responses;
	// Of several CPUs the one that each task is pinned to, counted from 0; without
	// that nothing is proved.
	std::vector<std::size_t> cpus;
	std::vector<std::string> steps; // the reasoning, a line each
};
// `supply` is that of each of the CPUs.
Analysis analyse(const TaskSet &set, const Supply &supply, Scheduler scheduler,
		 unsigned cpus = 1);

// What must be done by `time` ns after the start of a busy period: dbf, with
// blocking, under EDF; with priorities what goes before the end of the job of
// `task` that arrives `arrival` ns after the start, itself included (rbf, if that
// is the first). A Witness lies on it, or below if one job alone is too long.
u128 demand_bound(const TaskSet &set, Scheduler scheduler, std::size_t task, nanoseconds arrival,
		  std::uint64_t time);

struct LeastRuntime {
	std::optional<nanoseconds> runtime; // none if not even all of the deadline will do
	bool exact = true; // else a smaller one may do, which would take too long to prove
};
// The smallest runtime with which analyse() says schedulable; the runtime given
// in `supply` is not looked at.
LeastRuntime least_runtime(const TaskSet &set, Supply supply, Scheduler scheduler);

struct BestPeriod {
	nanoseconds period{0};
	LeastRuntime least; // exact only if those of all periods are
};
// Of the periods shortest, shortest + step, ... up to longest (all > 0) the one
// whose reservation is the smallest share of a CPU: the least runtime and the
// overhead, rounded up to 1 us, in the period; of equal ones the longest. None if
// there is no runtime in any, or none was found on several CPUs.
std::optional<BestPeriod> best_period(const TaskSet &set, Supply supply, Scheduler scheduler,
				      nanoseconds shortest, nanoseconds longest, nanoseconds step,
				      nanoseconds overhead, unsigned cpus = 1);

struct Growth {
	std::uint64_t permille = 0; // 0 if nothing is short enough
	bool exact = true; // else more may do, which would take too long to prove
};
// The largest factor by which the runtimes of all tasks may be multiplied, each
// rounded up to 1 ns, such that analyse() says schedulable; in per mille, rounded
// down. Below 1000 they have to shrink. The set is not empty.
Growth largest_growth(const TaskSet &set, const Supply &supply, Scheduler scheduler);

} // namespace dlgroup
