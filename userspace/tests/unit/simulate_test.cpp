// SPDX-License-Identifier: GPL-2.0-only
#include <limits>

#include <gtest/gtest.h>

#include <dlgroup/generate.h>
#include <dlgroup/random.h>
#include <dlgroup/simulate.h>

#include "oracle.h"

namespace dlgroup {
namespace {

using std::chrono::milliseconds;

TaskSet parse(const std::string &text)
{
	auto set = parse_task_set(text, "f");
	EXPECT_TRUE(set) << text;
	return set.value_or(TaskSet{});
}

std::string show(const TaskSet &set, const Scenario &in)
{
	auto text = std::string(in.scheduler == Scheduler::edf ? "edf " : "fp ") +
		    std::to_string(in.supply.runtime.count()) + "/" + std::to_string(in.supply.period.count()) +
		    " L" + std::to_string(in.supply.latency.count());
	for (const auto &task : set)
		text += " (" + std::to_string(task.runtime.count()) + " " + std::to_string(task.deadline.count()) +
			" " + std::to_string(task.period.count()) + " J" + std::to_string(task.jitter.count()) +
			" rank" + std::to_string(task.rank) + ")";
	return text;
}

// Up to four tasks with periods whose hyperperiod is at most 120, in ns.
struct Small {
	TaskSet set;
	Scenario in;
};
constexpr int kCycle = 120;

Small small(Random &random)
{
	constexpr int kPeriods[] = {2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 24, 30};
	Small made;
	auto period = random.between(1, 6);
	made.in.supply = {nanoseconds(random.between(1, period)), nanoseconds(period), nanoseconds(period),
			  nanoseconds(0)};
	made.in.scheduler = random.upto(1) ? Scheduler::edf : Scheduler::fp;
	made.in.duration = nanoseconds(3 * kCycle);
	auto count = random.between(1, 4);
	for (unsigned i = 0; i < count; i++) {
		SporadicTask task;
		task.period = nanoseconds(kPeriods[random.upto(11)]);
		task.runtime = nanoseconds(random.between(1, std::max<std::int64_t>(1, task.period.count() / (count + 1))));
		task.deadline = nanoseconds(random.between(task.runtime.count(), 2 * task.period.count()));
		task.rank = i;
		made.set.push_back(task);
	}
	return made;
}

// What check says, and that the simulation never is later.
Analysis bound(const TaskSet &set, Scenario &in)
{
	auto expected = analyse(set, in.supply, in.scheduler);
	in.used_up = expected.method != "cbs-wakeup";
	return expected;
}

void never_later(const TaskSet &set, Scenario in)
{
	auto expected = bound(set, in);
	auto seen = simulate(set, in);
	ASSERT_TRUE(seen) << seen.error().reason;
	for (std::size_t i = 0; i < set.size(); i++) {
		const auto &task = seen->tasks[i];
		if (expected.verdict == Verdict::schedulable) {
			ASSERT_EQ(task.misses, 0U) << i << " " << show(set, in);
		}
		if (expected.responses[i] && task.response) {
			ASSERT_LE(*task.response, *expected.responses[i]) << i << " " << show(set, in);
		}
	}
}

TEST(Simulate, NoResponseIsLongerThanPredicted)
{
	Random random(1);
	for (int round = 0; round < 100000; round++) {
		auto [set, in] = small(random);
		bool ties = !random.upto(2), jitter = !random.upto(2);
		for (auto &task : set) {
			if (ties)
				task.rank = static_cast<unsigned>(random.upto(1));
			if (jitter)
				task.jitter = nanoseconds(random.between(0, task.period.count()));
			in.offsets.push_back(nanoseconds(random.upto(1) ? random.between(0, 30) : 0));
		}
		in.supply.latency = nanoseconds(random.upto(2) ? 0 : random.between(0, 8));
		in.service = static_cast<Service>(random.upto(2));
		in.service_seed = random.upto(1000000);
		if (random.upto(1))
			in.release_seed = random.upto(1000000);
		never_later(set, in);
		if (HasFatalFailure())
			return;
	}
}

// In ns, with periods without a common factor, and as gen makes them.
TEST(Simulate, NoResponseOfGeneratedSetsIsLongerThanPredicted)
{
	for (std::uint64_t seed = 1; seed <= 3000; seed++) {
		Random random(seed);
		Recipe recipe;
		recipe.seed = seed;
		recipe.total_ppb = random.between(100000000, 800000000);
		recipe.tasks = 1 + random.upto(7);
		recipe.periods = *parse_periods("1ms:20ms:1ns");
		recipe.constrained = random.upto(1);
		auto set = *generate(recipe);
		Scenario in;
		in.scheduler = random.upto(1) ? Scheduler::edf : Scheduler::fp;
		auto period = random.between(500000, 3000000);
		in.supply = {nanoseconds(random.between(period / 10, period)), nanoseconds(period),
			     nanoseconds(period), nanoseconds(0)};
		in.duration = milliseconds(200);
		in.service = static_cast<Service>(random.upto(2));
		in.service_seed = seed;
		if (random.upto(1))
			in.release_seed = seed;
		never_later(set, in);
		if (HasFatalFailure())
			return;
	}
}

// A lone thread within its server's parameters, which the wakeup rule protects.
TEST(Simulate, TheWakeupRuleKeepsALoneThreadInTime)
{
	Random random(3);
	int protected_ones = 0;
	for (int round = 0; round < 20000; round++) {
		auto [set, in] = small(random);
		set.resize(1);
		set[0].runtime = nanoseconds(random.between(1, in.supply.runtime.count()));
		set[0].period = in.supply.period + nanoseconds(random.between(0, 5));
		set[0].deadline = in.supply.period;
		in.service = static_cast<Service>(random.upto(2));
		in.service_seed = random.upto(1000000);
		if (random.upto(1))
			in.release_seed = random.upto(1000000);
		protected_ones += bound(set, in).method == "cbs-wakeup";
		never_later(set, in);
		if (HasFatalFailure())
			return;
	}
	EXPECT_GT(protected_ones, 5000);
}

// Theory is exact: all together and the worst supply are the worst that happens.
TEST(Simulate, TheWorstReachesThePredictionWithPriorities)
{
	Random random(4);
	int compared = 0;
	for (int round = 0; round < 50000; round++) {
		auto [set, in] = small(random);
		in.scheduler = Scheduler::fp;
		if (random.upto(1))
			for (auto &task : set)
				task.jitter = nanoseconds(random.between(0, task.period.count()));
		in.supply.latency = nanoseconds(random.upto(1) ? 0 : random.between(0, 8));
		auto expected = bound(set, in);
		if (!in.used_up)
			continue;
		auto seen = simulate(set, in);
		ASSERT_TRUE(seen);
		for (std::size_t i = 0; i < set.size(); i++) {
			if (!expected.responses[i])
				continue;
			// The busy period may last a hyperperiod, and some more where jitter
			// and latency crowd the start.
			ASSERT_EQ(seen->tasks[i].response, expected.responses[i]) << i << " " << show(set, in);
			compared++;
		}
	}
	EXPECT_GT(compared, 50000);
}

// Under EDF the worst for a task is at some offset of its own (Spuri 1996).
TEST(Simulate, SomeOffsetReachesThePredictionWithEdf)
{
	Random random(5);
	int compared = 0;
	for (int round = 0; round < 1500; round++) {
		auto [set, in] = small(random);
		in.scheduler = Scheduler::edf;
		auto expected = bound(set, in);
		if (!in.used_up || expected.verdict != Verdict::schedulable)
			continue;
		for (std::size_t i = 0; i < set.size(); i++) {
			// Equal deadlines are decided against the last.
			auto moved = set;
			std::swap(moved[i], moved.back());
			std::optional<nanoseconds> worst;
			for (int offset = 0; offset < set[i].period.count(); offset++) {
				auto shifted = in;
				shifted.offsets.assign(set.size(), nanoseconds(0));
				shifted.offsets.back() = nanoseconds(offset);
				auto seen = simulate(moved, shifted);
				ASSERT_TRUE(seen);
				worst = std::max(worst, seen->tasks.back().response);
			}
			ASSERT_EQ(worst, expected.responses[i]) << i << " " << show(set, in);
			compared++;
		}
	}
	EXPECT_GT(compared, 500);
}

// Another simulation, slot by slot, of what the server does at its worst.
TEST(Simulate, AgreesWithSlots)
{
	Random random(6);
	int compared = 0;
	for (int round = 0; round < 5000; round++) {
		auto [set, in] = small(random);
		in.duration = nanoseconds(kCycle);
		in.record = true;
		// One that never sleeps: the lowest has always something to do.
		SporadicTask hog;
		hog.runtime = hog.deadline = hog.period = nanoseconds(1000);
		hog.deadline = nanoseconds(100000);
		hog.rank = 9;
		set.push_back(hog);
		std::vector<test::Job> jobs;
		for (std::size_t i = 0; i < set.size(); i++)
			for (int at = 0; at < kCycle; at += static_cast<int>(set[i].period.count()))
				jobs.push_back({i, at, static_cast<int>(set[i].runtime.count())});
		auto runtime = static_cast<int>(in.supply.runtime.count());
		auto period = static_cast<int>(in.supply.period.count());
		auto responses = test::run_jobs(
			jobs, test::late_slots({runtime, period, period}, kCycle),
			[&](const test::Job &a, const test::Job &b) {
				auto key = [&](const test::Job &job) {
					return in.scheduler == Scheduler::fp
						       ? std::pair<std::int64_t, std::size_t>(0, job.thread)
						       : std::pair(job.arrival + set[job.thread].deadline.count(),
								   job.thread);
				};
				return key(a) < key(b);
			});
		auto seen = simulate(set, in);
		ASSERT_TRUE(seen);
		std::vector<std::uint64_t> finished(set.size()), misses(set.size());
		for (std::size_t i = 0; i < jobs.size(); i++) {
			auto deadline = set[jobs[i].thread].deadline.count();
			finished[jobs[i].thread] += responses[i].has_value();
			misses[jobs[i].thread] += responses[i] ? *responses[i] > deadline
							       : jobs[i].arrival + deadline <= kCycle;
		}
		std::int64_t ran = 0;
		for (const auto &slice : seen->slices)
			ran += (slice.to - slice.from).count();
		EXPECT_EQ(ran, seen->supplied.count());
		EXPECT_EQ(static_cast<u128>(ran), supply_bound(in.supply, kCycle)) << show(set, in);
		for (std::size_t i = 0; i < set.size(); i++) {
			ASSERT_EQ(seen->tasks[i].finished, finished[i]) << i << " " << show(set, in);
			ASSERT_EQ(seen->tasks[i].misses, misses[i]) << i << " " << show(set, in);
			compared++;
		}
	}
	EXPECT_GT(compared, 5000);
}

// No window has more than two budgets and the bandwidth, whoever wakes when; none
// has less than sbf if there is always something to do.
TEST(Simulate, SuppliesWhatAReservationDoes)
{
	Random random(7);
	for (int round = 0; round < 2000; round++) {
		auto [set, in] = small(random);
		bool hog = random.upto(1);
		if (hog) {
			set.resize(1);
			set[0].runtime = set[0].deadline = set[0].period = nanoseconds(1000);
		} else {
			in.release_seed = random.upto(1000000);
		}
		in.record = true;
		in.duration = nanoseconds(100);
		in.service = static_cast<Service>(random.upto(2));
		in.service_seed = random.upto(1000000);
		auto seen = simulate(set, in);
		ASSERT_TRUE(seen);
		std::vector<int> served(101, 0);
		for (const auto &slice : seen->slices)
			for (auto t = slice.from.count(); t < slice.to.count(); t++)
				served[static_cast<std::size_t>(t) + 1] = 1;
		for (std::size_t t = 1; t < served.size(); t++)
			served[t] += served[t - 1];
		auto runtime = in.supply.runtime.count(), period = in.supply.period.count();
		for (std::size_t from = 0; from < served.size(); from++)
			for (auto to = from; to < served.size(); to++) {
				auto got = served[to] - served[from];
				auto length = static_cast<std::int64_t>(to - from);
				auto rest = std::max<std::int64_t>(length - 2 * runtime, 0);
				ASSERT_LE(got * period, 2 * runtime * period + rest * runtime) << show(set, in);
				if (!hog)
					continue;
				ASSERT_GE(static_cast<u128>(got), supply_bound(in.supply, to - from)) << show(set, in);
				ASSERT_LE(got, runtime * (length / period + 2)) << show(set, in);
			}
	}
}

TEST(Simulate, CountsJobsAndMisses)
{
	auto set = parse("1ms 5ms 10ms\n2.5ms 20ms 20ms");
	Scenario in;
	in.supply = {milliseconds(5), milliseconds(8), milliseconds(8), nanoseconds(0)};
	in.duration = milliseconds(40);
	auto seen = *simulate(set, in);
	// The first waits for 6 ms.
	EXPECT_EQ(seen.tasks[0].jobs, 4U);
	EXPECT_EQ(seen.tasks[0].finished, 4U);
	EXPECT_EQ(seen.tasks[0].misses, 1U);
	EXPECT_EQ(seen.tasks[0].response, milliseconds(7));
	EXPECT_EQ(seen.tasks[1].misses, 0U);
	EXPECT_EQ(seen.supplied, nanoseconds(9000000));
	// Without supply nothing ends; what is due later is no miss yet.
	in.supply.runtime = nanoseconds(0);
	seen = *simulate(set, in);
	EXPECT_EQ(seen.tasks[0].finished, 0U);
	EXPECT_EQ(seen.tasks[0].misses, 4U);
	EXPECT_FALSE(seen.tasks[0].response);
	in.duration = milliseconds(39);
	EXPECT_EQ(simulate(set, in)->tasks[1].misses, 1U);
	// All of the CPU.
	in.supply.runtime = in.supply.period;
	seen = *simulate(set, in);
	EXPECT_EQ(seen.tasks[0].response, milliseconds(1));
	EXPECT_EQ(seen.tasks[1].response, nanoseconds(3500000));
}

TEST(Simulate, LongTimesAndTooManyEvents)
{
	constexpr auto kLongest = std::numeric_limits<std::int64_t>::max();
	SporadicTask task;
	task.runtime = task.deadline = task.period = task.jitter = nanoseconds(kLongest);
	Scenario in;
	in.supply = {nanoseconds(kLongest - 1), nanoseconds(kLongest), nanoseconds(kLongest), nanoseconds(kLongest)};
	in.duration = nanoseconds(kLongest);
	for (auto service : {Service::worst, Service::early, Service::random})
		for (auto seed : {std::optional<std::uint64_t>(), std::optional<std::uint64_t>(1)}) {
			in.service = service;
			in.release_seed = seed;
			EXPECT_TRUE(simulate({task, task}, in));
		}
	task.period = nanoseconds(1);
	EXPECT_EQ(simulate({task, task}, in).error().object, "--duration");
	in.duration = nanoseconds(10);
	EXPECT_EQ(simulate({task}, in).error().object, "--duration"); // the jitter brings them all
	task.jitter = nanoseconds(5);
	in.release_seed.reset();
	EXPECT_EQ(simulate({task}, in)->tasks[0].jobs, 15U);
	EXPECT_TRUE(simulate({}, in));
	in.supply.deadline = nanoseconds(5);
	EXPECT_EQ(simulate({task}, in).error().object, "--deadline");
}

TEST(Simulate, SameSeedsSameRun)
{
	auto set = parse("1ms 5ms 10ms\n2.5ms 20ms 20ms");
	Scenario in;
	in.supply = {milliseconds(2), milliseconds(4), milliseconds(4), nanoseconds(0)};
	in.duration = milliseconds(1000);
	in.service = Service::random;
	in.release_seed = 1;
	auto first = *simulate(set, in), second = *simulate(set, in);
	EXPECT_EQ(first.supplied, second.supplied);
	EXPECT_EQ(first.tasks[1].response, second.tasks[1].response);
	in.release_seed = 2;
	EXPECT_NE(simulate(set, in)->supplied, first.supplied);
}

} // namespace
} // namespace dlgroup
