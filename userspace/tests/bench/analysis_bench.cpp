// SPDX-License-Identifier: GPL-2.0-only
// How long the analysis takes, as CPU time; passes and fails nothing.
#include <numeric>
#include <stdexcept>

#include <benchmark/benchmark.h>

#include <dlgroup/analysis.h>

#include "random_set.h"

namespace dlgroup {
namespace {

constexpr std::uint64_t kLongHyperperiod = 1000000000000000; // ns

void qpa(benchmark::State &state)
{
	auto set = random_set(static_cast<unsigned>(state.range(0)), 0, 0.85);
	u128 hyperperiod = 1; // up to some tasks, then it is long enough
	for (const auto &task : set) {
		auto period = static_cast<std::uint64_t>(task.period.count());
		if (hyperperiod <= kLongHyperperiod)
			hyperperiod *= period / std::gcd(static_cast<std::uint64_t>(hyperperiod), period);
	}
	if (hyperperiod <= kLongHyperperiod)
		throw std::logic_error("the hyperperiod is too short");
	Supply in{nanoseconds(475000), nanoseconds(500000), nanoseconds(500000), nanoseconds(0)};
	const SchedulabilityTest *test = nullptr;
	for (const auto &one : schedulability_tests())
		if (one.name == "edf-demand")
			test = &one;
	for ([[maybe_unused]] auto round : state)
		if (test->decide(set, in) != Answer::yes)
			throw std::logic_error("the set is not what it was made to be");
}
BENCHMARK(qpa)->Arg(1000)->Unit(benchmark::kMillisecond);

// 100 periods from 2 to 12 ms.
void design(benchmark::State &state, Scheduler scheduler)
{
	auto set = random_set(20, 7, 0.4);
	Supply in{nanoseconds(0), nanoseconds(2000000), nanoseconds(2000000), nanoseconds(0)};
	for ([[maybe_unused]] auto round : state)
		if (!best_period(set, in, scheduler, nanoseconds(2000000), nanoseconds(11900000),
				 nanoseconds(100000), nanoseconds(10000)))
			throw std::logic_error("the set is not what it was made to be");
}
BENCHMARK_CAPTURE(design, edf, Scheduler::edf)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(design, fp, Scheduler::fp)->Unit(benchmark::kMillisecond);

} // namespace
} // namespace dlgroup

BENCHMARK_MAIN();
