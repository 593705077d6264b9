// SPDX-License-Identifier: GPL-2.0-only
#include <array>
#include <limits>
#include <random>
#include <set>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <dlgroup/analysis.h>

#include "oracle.h"

namespace dlgroup {
namespace {

using test::Adversary;
using test::Reservation;
using test::Thread;

#define PROPERTY(name, ...) TEST(Property, name) { ASSERT_TRUE(rc::check(#name, __VA_ARGS__)); }

SporadicTask task(std::int64_t runtime, std::int64_t deadline, std::int64_t period, unsigned rank = 0,
		  std::int64_t jitter = 0, std::int64_t blocking = 0)
{
	return {"", nanoseconds(runtime), nanoseconds(deadline), nanoseconds(period),
		nanoseconds(jitter), nanoseconds(blocking), rank};
}

constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();

// Priorities in the order given.
TaskSet tasks(std::initializer_list<SporadicTask> list)
{
	TaskSet set(list);
	for (unsigned i = 0; i < set.size(); i++)
		set[i].rank = i;
	return set;
}

Supply supply(std::int64_t runtime, std::int64_t period, std::int64_t deadline = 0,
	      std::int64_t latency = 0)
{
	return {nanoseconds(runtime), nanoseconds(period),
		nanoseconds(deadline ? deadline : period), nanoseconds(latency)};
}

Answer answer(std::string_view name, const TaskSet &set, const Supply &in)
{
	for (const auto &one : schedulability_tests())
		if (one.name == name)
			return one.decide(set, in);
	ADD_FAILURE() << "no test named " << name;
	return Answer::unknown;
}

std::string show(const Reservation &r, const std::vector<Thread> &threads)
{
	auto text = std::to_string(r.runtime) + "/" + std::to_string(r.period) + "/" +
		    std::to_string(r.deadline);
	for (const auto &one : threads)
		text += " (" + std::to_string(one.runtime) + " " + std::to_string(one.deadline) + " " +
			std::to_string(one.period) + " J" + std::to_string(one.jitter) + " rank" +
			std::to_string(one.rank) + ")";
	return text;
}

TaskSet to_set(const std::vector<Thread> &threads)
{
	TaskSet set;
	for (const auto &one : threads)
		set.push_back(task(one.runtime, one.deadline, one.period,
				   static_cast<unsigned>(one.rank), one.jitter));
	return set;
}

Supply to_supply(const Reservation &r)
{
	return supply(r.runtime, r.period, r.deadline);
}

class Dice {
public:
	explicit Dice(unsigned seed) : random_(seed) {}
	int roll(int low, int high) { return low + static_cast<int>(random_() % static_cast<unsigned>(high - low + 1)); }
	std::mt19937 &random() { return random_; }

private:
	std::mt19937 random_;
};

TEST(SupplyBound, IsTheWorstOfAllWindows)
{
	for (int p = 1; p <= 9; p++)
		for (int d = 1; d <= p; d++)
			for (int q = 0; q <= d; q++)
				for (int t = 0; t <= 4 * p; t++)
					ASSERT_EQ(static_cast<int>(supply_bound(
							  supply(q, p, d), static_cast<u128>(t))),
						  test::worst_supply({q, p, d}, t))
						<< q << " " << p << " " << d << " " << t;
}

TEST(SupplyBound, LateSlotsAreTheWorst)
{
	for (int p = 1; p <= 7; p++)
		for (int d = 1; d <= p; d++)
			for (int q = 1; q <= d; q++) {
				auto slots = test::late_slots({q, p, d}, 5 * p);
				int got = 0;
				for (int t = 0; t < 5 * p; t++) {
					ASSERT_EQ(got, test::worst_supply({q, p, d}, t));
					got += slots[static_cast<std::size_t>(t)];
				}
			}
}

TEST(SupplyBound, LatencyShiftsIt)
{
	auto late = supply(2, 5, 5, 3);
	for (unsigned t = 0; t < 40; t++)
		EXPECT_EQ(supply_bound(late, t), t < 3 ? 0 : supply_bound(supply(2, 5), t - 3));
}

TEST(SupplyInverse, IsTheFirstInstant)
{
	for (int p = 1; p <= 8; p++)
		for (int d = 1; d <= p; d++)
			for (int q = 1; q <= d; q++)
				for (unsigned w = 1; w <= 20; w++) {
					auto in = supply(q, p, d, q % 3);
					auto t = supply_inverse(in, w);
					ASSERT_GE(supply_bound(in, t), w);
					ASSERT_LT(supply_bound(in, t - 1), w);
				}
	EXPECT_EQ(supply_inverse(supply(0, 5), 0), 0U);
	EXPECT_EQ(supply_inverse(supply(0, 5), 1), ~static_cast<u128>(0));
}

PROPERTY(TheInverseHoldsForAllNumbers, [](std::uint64_t q, std::uint64_t p, std::uint64_t w) {
	auto period = static_cast<std::int64_t>(p >> 1) | 1;
	auto runtime = static_cast<std::int64_t>(q % static_cast<std::uint64_t>(period)) + 1;
	auto in = supply(runtime, period);
	auto t = supply_inverse(in, static_cast<u128>(w) + 1);
	RC_ASSERT(supply_bound(in, t) == static_cast<u128>(w) + 1);
	RC_ASSERT(supply_bound(in, t - 1) == w);
})

// The heart of it: whatever an adversary may do, in slots of time.
TEST(Adversary, AgreesOnVerdictsAndResponses)
{
	Dice dice(1);
	int played = 0, good = 0, bad = 0;
	for (int round = 0; round < 20000; round++) {
		int p = dice.roll(1, 4);
		int d = dice.roll(0, 3) ? p : dice.roll(1, p);
		Reservation r{dice.roll(std::min(d, 1 + d / 2), d), p, d};
		std::vector<Thread> threads;
		bool ties = !dice.roll(0, 3), jitter = !dice.roll(0, 3);
		for (int i = dice.roll(1, 3); i; i--) {
			Thread one{dice.roll(1, 2), 0, dice.roll(2, 8)};
			one.deadline = dice.roll(one.runtime, one.period + 4);
			one.jitter = jitter ? dice.roll(0, 2) : 0;
			one.rank = ties ? dice.roll(0, 1) : i;
			threads.push_back(one);
		}
		for (bool edf : {false, true}) {
			auto found = Adversary(r, threads, edf).play(20000);
			if (found.gave_up)
				continue;
			played++;
			auto set = to_set(threads);
			auto in = to_supply(r);
			auto scheduler = edf ? Scheduler::edf : Scheduler::fp;
			auto expected = found.missed ? Answer::no : Answer::yes;
			(found.missed ? bad : good)++;
			ASSERT_EQ(answer(edf ? "edf-demand" : "fp-response", set, in), expected)
				<< show(r, threads);
			ASSERT_EQ(answer(edf ? "edf-response" : "fp-response", set, in), expected)
				<< show(r, threads);
			if (found.missed)
				continue;
			auto result = analyse(set, in, scheduler);
			for (std::size_t i = 0; i < threads.size(); i++)
				ASSERT_EQ(result.responses[i], nanoseconds(found.responses[i]))
					<< (edf ? "edf " : "fp ") << i << " " << show(r, threads);
		}
	}
	EXPECT_GT(played, 2000);
	EXPECT_GT(good, 300);
	EXPECT_GT(bad, 300);
}

// Task sets whose hyperperiod with the reservation is at most 120.
struct Small {
	Reservation r;
	std::vector<Thread> threads;
};
constexpr int kCycle = 120;

Small small(Dice &dice)
{
	constexpr int kPeriods[] = {2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 24, 30};
	Small made;
	int p = dice.roll(1, 6);
	int d = dice.roll(0, 4) ? p : dice.roll(1, p);
	made.r = {dice.roll(1, d), p, d};
	int count = dice.roll(1, 4);
	for (int i = 0; i < count; i++) {
		Thread one{0, 0, kPeriods[dice.roll(0, 11)]};
		one.runtime = dice.roll(1, std::max(1, one.period / (count + 1)));
		switch (dice.roll(0, 2)) {
		case 0:
			one.deadline = one.period;
			break;
		case 1:
			one.deadline = dice.roll(one.runtime, one.period);
			break;
		default:
			one.deadline = dice.roll(one.runtime, 3 * one.period);
		}
		one.rank = i;
		made.threads.push_back(one);
	}
	return made;
}

// U < Q/P, = or >, in units of 1 / cycle.
int load(const Small &one, std::size_t until)
{
	int rate = -one.r.runtime * (kCycle / one.r.period);
	for (std::size_t i = 0; i < until; i++)
		rate += one.threads[i].runtime * (kCycle / one.threads[i].period);
	return rate;
}

// Demand counted job by job, supply slot by slot.
bool edf_by_counting(const Small &one)
{
	if (load(one, one.threads.size()) > 0)
		return false;
	constexpr int kEnd = kCycle + 4 * 30;
	std::vector<int> due(kEnd + 1, 0);
	for (const auto &thread : one.threads)
		for (int at = thread.deadline; at <= kEnd; at += thread.period)
			due[static_cast<std::size_t>(at)] += thread.runtime;
	auto slots = test::late_slots(one.r, kEnd);
	int demand = 0, got = 0;
	for (int t = 0; t <= kEnd; t++) {
		demand += due[static_cast<std::size_t>(t)];
		if (demand > got)
			return false;
		got += t < kEnd && slots[static_cast<std::size_t>(t)];
	}
	return true;
}

// Released all together, by priority in the worst slots; the longest response of
// each, nothing where there is no bound.
std::vector<std::optional<int>> fp_by_running(const Small &one)
{
	constexpr int kEnd = 2 * kCycle + 60;
	std::vector<test::Job> jobs;
	for (std::size_t i = 0; i < one.threads.size(); i++)
		for (int at = 0; at < kEnd; at += one.threads[i].period)
			jobs.push_back({i, at, one.threads[i].runtime});
	auto responses = test::run_jobs(jobs, test::late_slots(one.r, kEnd + kCycle),
					[](const test::Job &a, const test::Job &b) {
						return a.thread < b.thread;
					});
	std::vector<std::optional<int>> worst(one.threads.size(), 0);
	for (std::size_t i = 0; i < jobs.size(); i++) {
		auto &its = worst[jobs[i].thread];
		if (load(one, jobs[i].thread + 1) > 0)
			its.reset();
		// What comes later repeats, but for the last ones, which nothing follows.
		else if (jobs[i].arrival < 2 * kCycle)
			its = std::max(*its, responses[i].value_or(1 << 20));
	}
	return worst;
}

TEST(HundredThousand, EdfVerdicts)
{
	Dice dice(2);
	int good = 0, quick = 0;
	for (int round = 0; round < 100000; round++) {
		auto one = small(dice);
		auto expected = edf_by_counting(one);
		auto set = to_set(one.threads);
		auto in = to_supply(one.r);
		good += expected;
		ASSERT_EQ(answer("edf-demand", set, in), expected ? Answer::yes : Answer::no)
			<< show(one.r, one.threads);
		if (answer("edf-utilisation", set, in) == Answer::yes) {
			quick++;
			ASSERT_TRUE(expected) << show(one.r, one.threads);
		}
	}
	EXPECT_GT(good, 10000);
	EXPECT_GT(quick, 1000);
}

TEST(HundredThousand, FpVerdictsAndResponses)
{
	Dice dice(3);
	int good = 0, quick = 0, pointed = 0;
	for (int round = 0; round < 100000; round++) {
		auto one = small(dice);
		if (round % 4 == 0) {
			for (auto &thread : one.threads)
				thread.deadline = thread.period;
			std::stable_sort(one.threads.begin(), one.threads.end(),
					 [](auto &a, auto &b) { return a.period < b.period; });
			for (std::size_t i = 0; i < one.threads.size(); i++)
				one.threads[i].rank = static_cast<int>(i);
		}
		auto worst = fp_by_running(one);
		bool expected = true;
		auto set = to_set(one.threads);
		auto in = to_supply(one.r);
		auto result = analyse(set, in, Scheduler::fp);
		for (std::size_t i = 0; i < worst.size(); i++) {
			expected = expected && worst[i] && *worst[i] <= one.threads[i].deadline;
			if (result.method == "cbs-wakeup")
				continue;
			ASSERT_EQ(result.responses[i].has_value(), worst[i].has_value())
				<< i << show(one.r, one.threads);
			if (worst[i]) {
				ASSERT_EQ(result.responses[i]->count(), *worst[i])
					<< i << show(one.r, one.threads);
			}
		}
		good += expected;
		ASSERT_EQ(answer("fp-response", set, in), expected ? Answer::yes : Answer::no)
			<< show(one.r, one.threads);
		auto points = answer("fp-points", set, in);
		if (points != Answer::unknown) {
			pointed++;
			ASSERT_EQ(points == Answer::yes, expected) << show(one.r, one.threads);
		}
		if (answer("fp-utilisation", set, in) == Answer::yes) {
			quick++;
			ASSERT_TRUE(expected) << show(one.r, one.threads);
		}
		// The witness holds what it says.
		if (result.verdict == Verdict::unschedulable && result.witness) {
			ASSERT_GT(result.witness->demand, result.witness->supply);
			ASSERT_EQ(result.witness->supply, supply_bound(in, result.witness->instant));
		}
	}
	EXPECT_GT(good, 5000);
	EXPECT_GT(quick, 300);
	EXPECT_GT(pointed, 30000);
}

// Spuri by brute force: any arrival of the job, everything else released at the
// start, itself as often as can be before.
TEST(Response, EdfByRunning)
{
	Dice dice(4);
	int compared = 0;
	for (int round = 0; round < 200; round++) {
		auto one = small(dice);
		if (load(one, one.threads.size()) > 0 || !edf_by_counting(one))
			continue;
		auto result = analyse(to_set(one.threads), to_supply(one.r), Scheduler::edf);
		auto slots = test::late_slots(one.r, 4 * kCycle);
		for (std::size_t i = 0; i < one.threads.size(); i++) {
			const auto &me = one.threads[i];
			int worst = 0;
			for (int a = 0; a < kCycle + 60; a++) {
				std::vector<test::Job> jobs{{i, a, me.runtime}};
				for (std::size_t j = 0; j < one.threads.size(); j++)
					for (int at = j == i ? a % me.period : 0;
					     at < (j == i ? a : 2 * kCycle);
					     at += one.threads[j].period)
						jobs.push_back({j, at, one.threads[j].runtime});
				auto due = [&](const test::Job &job) {
					return job.arrival + one.threads[job.thread].deadline;
				};
				auto responses = test::run_jobs(
					jobs, slots, [&](const test::Job &x, const test::Job &y) {
						// Equal deadlines are decided against it.
						return std::pair(due(x), x.thread == i) <
						       std::pair(due(y), y.thread == i);
					});
				worst = std::max(worst, responses[0].value_or(1 << 20));
			}
			ASSERT_EQ(result.responses[i], nanoseconds(worst))
				<< i << " " << show(one.r, one.threads);
			compared++;
		}
	}
	EXPECT_GT(compared, 100);
}

TEST(LeastRuntime, IsTheFirstThatPasses)
{
	Dice dice(5);
	int found = 0;
	for (int round = 0; round < 10000; round++) {
		auto one = small(dice);
		if (one.threads.size() == 1)
			continue;
		for (bool edf : {false, true}) {
			std::optional<nanoseconds> expected;
			for (int q = 1; q <= one.r.deadline && !expected; q++) {
				auto with = one;
				with.r.runtime = q;
				bool good = true;
				if (edf) {
					good = edf_by_counting(with);
				} else {
					auto worst = fp_by_running(with);
					for (std::size_t i = 0; i < worst.size(); i++)
						good = good && worst[i] &&
						       *worst[i] <= one.threads[i].deadline;
				}
				if (good)
					expected = nanoseconds(q);
			}
			auto least = least_runtime(to_set(one.threads), to_supply(one.r),
						   edf ? Scheduler::edf : Scheduler::fp);
			ASSERT_TRUE(least.exact);
			ASSERT_EQ(least.runtime, expected) << show(one.r, one.threads);
			found += expected.has_value();
		}
	}
	EXPECT_GT(found, 1000);
}

TEST(BestPeriod, IsTheSmallestShare)
{
	Dice dice(11);
	int found = 0, none = 0;
	for (int round = 0; round < 1000; round++) {
		auto one = small(dice);
		for (auto &thread : one.threads) {
			thread.runtime *= 1000; // us, because the cost is rounded to them
			thread.deadline *= 1000;
			thread.period *= 1000;
		}
		auto set = to_set(one.threads);
		auto scheduler = dice.roll(0, 1) ? Scheduler::edf : Scheduler::fp;
		auto overhead = dice.roll(0, 1) ? dice.roll(0, 900) : 0;
		// Any runtime and any period, from the worst to the best.
		std::int64_t best_cost = 0, best_period_us = 0;
		for (int period = 1; period <= 6; period++)
			for (int cost = 1; cost <= period; cost++) {
				auto in = supply(cost * 1000 - overhead, period * 1000);
				if (analyse(set, in, scheduler).verdict != Verdict::schedulable)
					continue;
				if (!best_cost || cost * best_period_us <= best_cost * period) {
					best_cost = cost;
					best_period_us = period;
				}
				break;
			}
		auto best = best_period(set, supply(0, 1000), scheduler, nanoseconds(1000), nanoseconds(6999),
					nanoseconds(1000), nanoseconds(overhead));
		ASSERT_EQ(best.has_value(), best_cost != 0) << show(one.r, one.threads);
		(best ? found : none)++;
		if (best) {
			ASSERT_EQ(best->period, nanoseconds(best_period_us * 1000)) << show(one.r, one.threads);
		}
	}
	EXPECT_GT(found, 200);
	EXPECT_GT(none, 50);
}

TEST(Growth, IsTheLastThatPasses)
{
	Dice dice(9);
	int grown = 0, shrunk = 0, none = 0;
	for (int round = 0; round < 4000; round++) {
		auto one = small(dice);
		if (one.threads.size() == 1)
			continue;
		for (auto &thread : one.threads)
			thread.runtime = dice.roll(1, 6);
		bool edf = dice.roll(0, 1);
		// All factors after which some runtime is another.
		std::set<std::uint64_t> factors;
		for (const auto &thread : one.threads)
			for (int i = 1; i <= thread.deadline; i++)
				factors.insert(static_cast<std::uint64_t>(1000 * i / thread.runtime));
		std::uint64_t expected = 0;
		for (auto factor : factors) {
			auto with = one;
			bool good = true;
			for (auto &thread : with.threads)
				thread.runtime = static_cast<int>((static_cast<std::uint64_t>(thread.runtime) *
								   factor + 999) / 1000);
			if (edf) {
				good = edf_by_counting(with);
			} else {
				auto worst = fp_by_running(with);
				for (std::size_t i = 0; i < worst.size(); i++)
					good = good && worst[i] && *worst[i] <= with.threads[i].deadline;
			}
			if (!good)
				break;
			expected = factor;
		}
		auto growth = largest_growth(to_set(one.threads), to_supply(one.r),
					     edf ? Scheduler::edf : Scheduler::fp);
		ASSERT_TRUE(growth.exact);
		ASSERT_EQ(growth.permille, expected) << (edf ? "edf " : "fp ") << show(one.r, one.threads);
		(!expected ? none : expected < 1000 ? shrunk : grown)++;
	}
	EXPECT_GT(grown, 20);
	EXPECT_GT(shrunk, 100);
	EXPECT_GT(none, 100);
}

TEST(Growth, OfTheVerdictAndOfLongTimes)
{
	EXPECT_EQ(largest_growth({task(1, 10, 10)}, supply(1, 10), Scheduler::fp).permille, 1000U);
	EXPECT_EQ(largest_growth({task(kLargest, kLargest, kLargest)}, supply(kLargest, kLargest),
				 Scheduler::edf).permille, 1000U);
	EXPECT_EQ(largest_growth({task(1, kLargest, kLargest)}, supply(kLargest, kLargest),
				 Scheduler::edf).permille, static_cast<std::uint64_t>(kLargest) - 1);
	EXPECT_EQ(largest_growth({task(1, 10, 10)}, supply(0, 10), Scheduler::edf).permille, 0U);
	Dice dice(10);
	for (int round = 0; round < 3000; round++) {
		auto one = small(dice);
		auto set = to_set(one.threads);
		auto scheduler = dice.roll(0, 1) ? Scheduler::edf : Scheduler::fp;
		auto permille = largest_growth(set, to_supply(one.r), scheduler).permille;
		ASSERT_EQ(analyse(set, to_supply(one.r), scheduler).verdict == Verdict::schedulable, permille >= 1000)
			<< show(one.r, one.threads);
	}
}

TEST(DemandBound, MeetsTheWitnessAndTheResponse)
{
	Dice dice(8);
	int witnessed = 0, met = 0;
	for (int round = 0; round < 20000; round++) {
		auto one = small(dice);
		auto set = to_set(one.threads);
		auto in = to_supply(one.r);
		auto scheduler = dice.roll(0, 1) ? Scheduler::edf : Scheduler::fp;
		auto result = analyse(set, in, scheduler);
		if (const auto &witness = result.witness) {
			auto arrival = nanoseconds(static_cast<std::int64_t>(witness->instant)) -
				       set[witness->task].deadline;
			ASSERT_EQ(demand_bound(set, scheduler, witness->task, arrival, witness->instant),
				  witness->demand) << show(one.r, one.threads);
			witnessed++;
		}
		// The first job of the highest task ends where supply first meets demand.
		if (scheduler == Scheduler::fp && result.method != "cbs-wakeup" && result.responses[0] &&
		    one.threads[0].deadline <= one.threads[0].period && result.responses[0]->count() <= one.threads[0].deadline) {
			auto end = static_cast<std::uint64_t>(result.responses[0]->count());
			ASSERT_EQ(demand_bound(set, scheduler, 0, nanoseconds(0), end), supply_bound(in, end));
			met++;
		}
	}
	EXPECT_GT(witnessed, 2000);
	EXPECT_GT(met, 500);
}

TEST(CbsWakeup, EndsEachJobWithinThePeriod)
{
	for (int p = 1; p <= 5; p++)
		for (int q = 1; q <= p; q++)
			for (int c = 1; c <= p; c++)
				for (int t = 1; t <= 2 * p; t++) {
					auto longest = test::WakeupRule({q, p, p}, {c, p, t})
							       .longest_response(20000);
					auto says = answer("cbs-wakeup", {task(c, p, t)}, supply(q, p));
					ASSERT_EQ(says == Answer::yes, c <= q && t >= p);
					auto what = show({q, p, p}, {{c, p, t}});
					if (says == Answer::yes) {
						ASSERT_LE(longest, p) << what;
					} else if (c > q) {
						ASSERT_GT(longest, p) << what;
					}
				}
}

TEST(CbsWakeup, IsOnlyForOneThread)
{
	auto both = tasks({task(1, 10, 10), task(1, 10, 10)});
	EXPECT_EQ(answer("cbs-wakeup", both, supply(2, 10)), Answer::unknown);
	auto one = analyse({task(1, 10, 10)}, supply(1, 10), Scheduler::fp);
	EXPECT_EQ(one.verdict, Verdict::schedulable);
	EXPECT_EQ(one.method, "cbs-wakeup");
	EXPECT_EQ(one.responses[0], nanoseconds(10));
	EXPECT_FALSE(one.witness);
	// Jitter brings two jobs together, blocking is none of its own budget.
	EXPECT_EQ(answer("cbs-wakeup", {task(1, 12, 10, 0, 1)}, supply(1, 10)), Answer::unknown);
	EXPECT_EQ(answer("cbs-wakeup", {task(1, 12, 10, 0, 0, 1)}, supply(1, 10)), Answer::unknown);
	EXPECT_EQ(answer("cbs-wakeup", {task(1, 10, 10)}, supply(1, 10, 0, 1)), Answer::unknown);
	EXPECT_EQ(least_runtime({task(1, 10, 10)}, supply(0, 10), Scheduler::edf).runtime,
		  nanoseconds(1));
	EXPECT_EQ(least_runtime({task(1, 9, 10)}, supply(0, 10), Scheduler::edf).runtime,
		  nanoseconds(6));
}

TEST(Blocking, IsAddedOnce)
{
	// Dedicated CPU: R = B + C.
	auto set = tasks({task(2, 5, 10, 0, 0, 3), task(3, 20, 20)});
	auto fp = analyse(set, supply(1, 1), Scheduler::fp);
	EXPECT_EQ(fp.responses[0], nanoseconds(5));
	EXPECT_EQ(fp.responses[1], nanoseconds(5));
	EXPECT_EQ(analyse(set, supply(1, 1), Scheduler::edf).verdict, Verdict::schedulable);
	set[0].blocking = nanoseconds(4);
	for (auto scheduler : {Scheduler::fp, Scheduler::edf}) {
		auto result = analyse(set, supply(1, 1), scheduler);
		EXPECT_EQ(result.verdict, Verdict::not_proved); // it need not happen
		EXPECT_NE(result.reason.find("blocking"), std::string::npos);
	}
	EXPECT_EQ(answer("edf-demand", set, supply(1, 1)), Answer::unknown);
	// Without it the same set fails: the verdict needs no blocking.
	set[0].runtime = nanoseconds(6);
	EXPECT_EQ(analyse(set, supply(1, 1), Scheduler::edf).verdict, Verdict::unschedulable);
}

// More of anything bad is never better, more supply is never worse.
TEST(Monotone, InEveryParameter)
{
	Dice dice(6);
	for (int round = 0; round < 20000; round++) {
		auto one = small(dice);
		auto set = to_set(one.threads);
		for (auto &each : set) {
			each.jitter = nanoseconds(dice.roll(0, 2));
			each.blocking = nanoseconds(dice.roll(0, 2));
			each.rank = static_cast<unsigned>(dice.roll(0, 2));
		}
		auto in = to_supply(one.r);
		in.latency = nanoseconds(dice.roll(0, 2));
		auto harder = set;
		auto less = in;
		auto &victim = harder[static_cast<std::size_t>(dice.roll(0, static_cast<int>(set.size()) - 1))];
		switch (dice.roll(0, 6)) {
		case 0:
			victim.runtime += nanoseconds(1);
			break;
		case 1:
			victim.jitter += nanoseconds(1);
			break;
		case 2:
			victim.blocking += nanoseconds(1);
			break;
		case 3:
			victim.period = std::max(victim.period - nanoseconds(1), nanoseconds(1));
			break;
		case 4:
			less.latency += nanoseconds(1);
			break;
		case 5:
			victim.deadline = std::max(victim.deadline - nanoseconds(1), nanoseconds(1));
			break;
		default:
			less.runtime -= nanoseconds(1);
		}
		for (const char *name : {"edf-demand", "edf-response", "fp-response"}) {
			auto before = answer(name, set, in), after = answer(name, harder, less);
			ASSERT_FALSE(before != Answer::yes && after == Answer::yes)
				<< name << " " << show(one.r, one.threads);
		}
		ASSERT_EQ(answer("edf-demand", set, in), answer("edf-response", set, in))
			<< show(one.r, one.threads);
	}
}

TEST(Extremes, NothingToDo)
{
	for (auto scheduler : {Scheduler::edf, Scheduler::fp}) {
		EXPECT_EQ(analyse({}, supply(0, 10), scheduler).verdict, Verdict::schedulable);
		EXPECT_EQ(least_runtime({}, supply(0, 10), scheduler).runtime, nanoseconds(0));
	}
}

TEST(Extremes, NoSupply)
{
	for (auto scheduler : {Scheduler::edf, Scheduler::fp}) {
		auto result = analyse({task(1, 10, 10)}, supply(0, 10), scheduler);
		EXPECT_EQ(result.verdict, Verdict::unschedulable);
		ASSERT_TRUE(result.witness);
		EXPECT_EQ(result.witness->supply, 0U);
		EXPECT_FALSE(result.responses[0]);
	}
}

TEST(Extremes, FullUtilisation)
{
	// 1/3 + 1/3 + 1/3 is 1, whatever binary fractions say.
	auto thirds = tasks({task(1, 3, 3), task(1, 3, 3), task(1, 3, 3)});
	auto edf = analyse(thirds, supply(1, 1), Scheduler::edf);
	EXPECT_EQ(edf.verdict, Verdict::schedulable);
	EXPECT_EQ(edf.responses[0], nanoseconds(3));
	EXPECT_EQ(answer("edf-demand", thirds, supply(7, 7)), Answer::yes);
	EXPECT_EQ(least_runtime(thirds, supply(0, 10), Scheduler::edf).runtime, nanoseconds(10));
	// U = Q/P < 1: endless busy period, bounded responses, if the deadlines allow.
	auto late = tasks({task(1, 9, 6), task(1, 12, 3)});
	EXPECT_EQ(answer("edf-demand", late, supply(1, 2)), Answer::yes);
	EXPECT_EQ(answer("edf-response", late, supply(1, 2)), Answer::yes);
	EXPECT_EQ(answer("fp-response", late, supply(1, 2)), Answer::yes);
	EXPECT_EQ(answer("edf-demand", tasks({task(1, 6, 6), task(1, 3, 3)}), supply(1, 2)), Answer::no);
	// One nanosecond more than 1.
	thirds[0].runtime = nanoseconds(1000000001);
	thirds[0].period = thirds[0].deadline = nanoseconds(3000000000);
	for (auto scheduler : {Scheduler::edf, Scheduler::fp}) {
		auto result = analyse(thirds, supply(1, 1), scheduler);
		EXPECT_EQ(result.verdict, Verdict::unschedulable);
	}
}

TEST(Extremes, NearTheLargestNumber)
{
	for (auto scheduler : {Scheduler::edf, Scheduler::fp}) {
		auto alone = analyse({task(kLargest, kLargest, kLargest)},
				     supply(kLargest, kLargest), scheduler);
		EXPECT_EQ(alone.verdict, Verdict::schedulable);
		auto both = analyse(tasks({task(kLargest - 1, kLargest, kLargest), task(2, kLargest, kLargest)}),
				    supply(kLargest, kLargest), scheduler);
		EXPECT_EQ(both.verdict, Verdict::unschedulable);
		auto tight = analyse(tasks({task(kLargest - 1, kLargest, kLargest), task(1, kLargest, kLargest)}),
				     supply(kLargest, kLargest), scheduler);
		EXPECT_EQ(tight.verdict, Verdict::schedulable);
		// More than all, by far: products of 2^126 and a sum that does not fit.
		TaskSet many(100, task(kLargest, kLargest, 1));
		for (unsigned i = 0; i < many.size(); i++)
			many[i].rank = i;
		EXPECT_EQ(analyse(many, supply(1, kLargest), scheduler).verdict, Verdict::unschedulable);
		TaskSet wide(100, task(1, kLargest, kLargest, 0, kLargest, kLargest));
		EXPECT_NE(analyse(wide, supply(1, 2), scheduler).verdict, Verdict::schedulable);
	}
	// Half of the time, and a little for the blackout.
	EXPECT_EQ(least_runtime({task(kLargest / 2, kLargest, kLargest)}, supply(0, 1000),
				Scheduler::edf).runtime, nanoseconds(501));
}

PROPERTY(AnyNumbersHaveAnAnswer, [](const std::vector<std::array<std::uint64_t, 5>> &values,
				    std::uint64_t q, std::uint64_t p, bool edf) {
	auto time = [](std::uint64_t value) { return static_cast<std::int64_t>(value >> (value & 63)); };
	TaskSet set;
	for (const auto &v : values)
		set.push_back(task(std::max<std::int64_t>(time(v[0] | 1) & kLargest, 1),
				   std::max<std::int64_t>(time(v[1]) & kLargest, 1),
				   std::max<std::int64_t>(time(v[2]) & kLargest, 1),
				   static_cast<unsigned>(set.size() / 2), v[3] % 2 ? time(v[3]) & kLargest : 0,
				   v[4] % 4 ? 0 : time(v[4]) & kLargest));
	auto period = std::max<std::int64_t>(time(p) & kLargest, 1);
	auto in = supply(static_cast<std::int64_t>(q % static_cast<std::uint64_t>(period)) + 1, period);
	auto result = analyse(set, in, edf ? Scheduler::edf : Scheduler::fp);
	if (result.verdict == Verdict::schedulable && result.method != "edf-utilisation" &&
	    result.method != "fp-utilisation")
		for (std::size_t i = 0; i < set.size(); i++)
			RC_ASSERT(!result.responses[i] || *result.responses[i] <= set[i].deadline);
	if (result.verdict == Verdict::not_proved)
		RC_ASSERT(!result.reason.empty());
	if (result.witness)
		RC_ASSERT(result.witness->demand > result.witness->supply);
})

TEST(Extremes, CoprimePeriods)
{
	auto set = tasks({task(1000003, 10000019, 10000019), task(2000003, 20000003, 20000003),
			  task(3000017, 30000001, 30000001), task(1000037, 70000027, 70000027)});
	for (auto scheduler : {Scheduler::edf, Scheduler::fp}) {
		auto least = least_runtime(set, supply(0, 3000017), scheduler);
		ASSERT_TRUE(least.runtime);
		EXPECT_TRUE(least.exact);
		EXPECT_EQ(analyse(set, supply(least.runtime->count(), 3000017), scheduler).verdict,
			  Verdict::schedulable);
		EXPECT_EQ(analyse(set, supply(least.runtime->count() - 1, 3000017), scheduler).verdict,
			  Verdict::unschedulable);
	}
}

// Every way to pin the tasks to the CPUs.
template <class Try>
void each_placement(std::size_t tasks, unsigned cpus, Try attempt)
{
	std::vector<std::size_t> placed(tasks);
	while (true) {
		attempt(placed);
		std::size_t i = 0;
		while (i < tasks && ++placed[i] == cpus)
			placed[i++] = 0;
		if (i == tasks)
			return;
	}
}

TaskSet on_cpu(const TaskSet &set, const std::vector<std::size_t> &placed, std::size_t cpu)
{
	TaskSet some;
	for (std::size_t i = 0; i < set.size(); i++)
		if (placed[i] == cpu)
			some.push_back(set[i]);
	return some;
}

TEST(Cpus, PinnedTasksAgainstAllPlacements)
{
	Dice dice(21);
	int proved = 0, refuted = 0, missed = 0;
	for (int round = 0; round < 3000; round++) {
		auto cpus = static_cast<unsigned>(dice.roll(2, 3));
		auto one = small(dice);
		auto other = small(dice);
		one.threads.insert(one.threads.end(), other.threads.begin(), other.threads.end());
		if (one.threads.size() > 5)
			one.threads.resize(5);
		auto set = to_set(one.threads);
		for (unsigned i = 0; i < set.size(); i++)
			set[i].rank = i;
		auto in = to_supply(one.r);
		auto scheduler = dice.roll(0, 1) ? Scheduler::edf : Scheduler::fp;
		auto result = analyse(set, in, scheduler, cpus);
		ASSERT_EQ(result.responses.size(), set.size());
		bool possible = false;
		each_placement(set.size(), cpus, [&](const auto &placed) {
			bool all = true;
			for (unsigned cpu = 0; cpu < cpus && all; cpu++)
				all = analyse(on_cpu(set, placed, cpu), in, scheduler).verdict == Verdict::schedulable;
			possible = possible || all;
		});
		switch (result.verdict) {
		case Verdict::schedulable:
			proved++;
			ASSERT_EQ(result.cpus.size(), set.size());
			for (unsigned cpu = 0; cpu < cpus; cpu++) {
				auto part = analyse(on_cpu(set, result.cpus, cpu), in, scheduler);
				ASSERT_EQ(part.verdict, Verdict::schedulable) << show(one.r, one.threads);
				for (std::size_t i = 0, at = 0; i < set.size(); i++)
					if (result.cpus[i] == cpu) {
						ASSERT_EQ(result.responses[i], part.responses[at++]);
					}
			}
			break;
		case Verdict::unschedulable:
			refuted++;
			ASSERT_FALSE(possible) << show(one.r, one.threads);
			break;
		case Verdict::not_proved:
			missed += possible;
		}
	}
	EXPECT_GT(proved, 500);
	EXPECT_GT(refuted, 500);
	EXPECT_LT(missed, proved / 20); // first fit finds nearly all
}

TEST(Cpus, DesignIsPassedByCheckAndNoLessThanAnyPlacementNeeds)
{
	Dice dice(22);
	int found = 0;
	for (int round = 0; round < 300; round++) {
		auto one = small(dice);
		auto other = small(dice);
		one.threads.insert(one.threads.end(), other.threads.begin(), other.threads.end());
		for (auto &thread : one.threads) {
			thread.runtime *= 100000;
			thread.deadline *= 100000;
			thread.period *= 100000;
		}
		auto set = to_set(one.threads);
		auto scheduler = dice.roll(0, 1) ? Scheduler::edf : Scheduler::fp;
		auto overhead = nanoseconds(dice.roll(0, 1500));
		auto in = supply(0, 100000 * dice.roll(1, 6));
		auto best = best_period(set, in, scheduler, in.period, in.period, microseconds(1), overhead, 2);
		if (!best)
			continue;
		found++;
		ASSERT_EQ((*best->least.runtime + overhead) % microseconds(1), nanoseconds(0));
		in.runtime = *best->least.runtime;
		ASSERT_EQ(analyse(set, in, scheduler, 2).verdict, Verdict::schedulable);
		auto least = in.period;
		each_placement(set.size(), 2, [&](const auto &placed) {
			nanoseconds needed{0};
			for (unsigned cpu = 0; cpu < 2; cpu++)
				needed = std::max(needed, least_runtime(on_cpu(set, placed, cpu), in, scheduler)
								 .runtime.value_or(in.period));
			least = std::min(least, needed);
		});
		ASSERT_GE(in.runtime, least) << show(one.r, one.threads);
	}
	EXPECT_GT(found, 50);
}

TEST(Cpus, WhatHelpsNoTaskOnAnyCpu)
{
	// Alone it needs 18 ms; and three quarters of two CPUs are less than 1.6.
	auto alone = analyse(tasks({task(1, 10, 10), task(4, 17, 20)}), supply(3, 10), Scheduler::fp, 8);
	EXPECT_EQ(alone.verdict, Verdict::unschedulable);
	ASSERT_TRUE(alone.witness);
	EXPECT_FALSE(alone.reason.empty());
	TaskSet many(16, task(100, 1000, 1000));
	auto all = analyse(many, supply(3, 4), Scheduler::edf, 2);
	EXPECT_EQ(all.verdict, Verdict::unschedulable);
	EXPECT_EQ(all.method, "utilisation");
	EXPECT_EQ(analyse({}, supply(0, 10), Scheduler::fp, 2).verdict, Verdict::schedulable);
}

} // namespace
} // namespace dlgroup
