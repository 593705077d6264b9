// SPDX-License-Identifier: GPL-2.0-only
// One reservation and its tasks on one CPU, event by event: a hard CBS server
// with SCHED_FIFO or EDF inside. Instants are whole nanoseconds. What happens
// here can happen: no response is longer than the one that analyse() finds.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <dlgroup/analysis.h>

namespace dlgroup {

// When in its period the server gets the CPU, which others need too.
enum class Service {
	worst,  // as late as its deadline and the latency allow
	early,  // at once: the CPU is idle otherwise
	random, // in pieces, none later than that
};

struct Scenario {
	Scheduler scheduler = Scheduler::fp;
	Supply supply; // its deadline is its period
	nanoseconds duration{0};
	Service service = Service::worst;
	std::uint64_t service_seed = 1;
	// A budget was used up just before the start, and as early as can be.
	bool used_up = true;
	// Without a seed the first jobs of all become ready together at the start,
	// others follow as soon as they may, and all run for the whole runtime. With
	// one, gaps, jitter and runtimes are drawn: half of the gaps and runtimes are
	// the worst, other gaps have up to two periods.
	std::optional<std::uint64_t> release_seed;
	// Without a seed: how much later that of each task comes; empty: none does.
	std::vector<nanoseconds> offsets;
	bool record = false; // fills the vectors of Simulated but `tasks`
};

struct SimulatedTask {
	std::uint64_t jobs = 0;	    // that became ready
	std::uint64_t finished = 0; // of these
	std::uint64_t misses = 0;   // ended late, or not though the deadline has passed
	std::optional<nanoseconds> response; // the longest of a finished job, from its arrival
};
struct SimulatedJob {
	std::size_t task = 0;
	nanoseconds arrival{0}; // before the start where jitter is part of the worst case
	nanoseconds deadline{0};
	std::optional<nanoseconds> end;
};
struct Slice {
	std::size_t task = 0;
	nanoseconds from{0}, to{0};
};
struct Simulated {
	std::vector<SimulatedTask> tasks; // in the order of the set
	nanoseconds supplied{0};	  // the time that they ran
	std::uint64_t throttled = 0;	  // how often a budget was used up
	std::vector<SimulatedJob> jobs;
	std::vector<Slice> slices;    // who ran
	std::vector<Slice> throttles; // no budget, though a job was ready; the task is 0
};

// Jobs and periods of one simulation.
inline constexpr std::uint64_t kMostEvents = 2000000;

// From 0 to the duration. Refused as bad input: more than kMostEvents, a
// reservation whose deadline is not its period. The blocking of tasks is not
// simulated.
Result<Simulated> simulate(const TaskSet &set, const Scenario &scenario);

} // namespace dlgroup
