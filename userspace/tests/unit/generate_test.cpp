// SPDX-License-Identifier: GPL-2.0-only
#include <algorithm>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include <dlgroup/generate.h>
#include <dlgroup/random.h>

namespace dlgroup {
namespace {

Recipe recipe(std::size_t tasks, std::int64_t total_ppb, const char *limits = "0:1")
{
	Recipe made;
	made.tasks = tasks;
	made.total_ppb = total_ppb;
	made.shares = *parse_shares(limits);
	// A period of 1 s shows each share to 1 ppb.
	made.periods = *parse_periods("1s:1s");
	return made;
}

std::vector<std::int64_t> runtimes(const Recipe &of)
{
	std::vector<std::int64_t> found;
	auto set = generate(of);
	EXPECT_TRUE(set) << set.error().object << set.error().reason;
	for (const auto &task : set.value_or(TaskSet{}))
		found.push_back(task.runtime.count());
	return found;
}

TEST(Random, IsWhatTheStandardSays)
{
	// 26.6.6 [rand.predef]: the 10000th number of the default seed.
	Random random(5489);
	for (int i = 1; i < 10000; i++)
		random.upto(~std::uint64_t{0});
	EXPECT_EQ(random.upto(~std::uint64_t{0}), 9981545732273789042U);
}

TEST(Random, FavoursNoNumber)
{
	Random random(1);
	std::map<std::uint64_t, int> seen;
	for (int i = 0; i < 30000; i++)
		seen[random.upto(2)]++;
	EXPECT_EQ(seen.size(), 3U);
	for (auto [number, times] : seen)
		EXPECT_NEAR(times, 10000, 300) << number;
	// Two thirds of all numbers: a remainder would have half of them twice.
	int low = 0;
	constexpr auto kLast = std::uint64_t{3} << 62;
	for (int i = 0; i < 30000; i++) {
		auto number = random.upto(kLast - 1);
		ASSERT_LT(number, kLast);
		low += number < kLast / 3;
	}
	EXPECT_NEAR(low, 10000, 300);
	EXPECT_EQ(random.between(7, 7), 7);
}

// Made by another implementation of all of it: the same on every machine.
TEST(Generate, SameSeedSameSet)
{
	Recipe golden;
	golden.seed = 42;
	golden.total_ppb = 800000000;
	golden.tasks = 4;
	golden.constrained = true;
	std::string text;
	auto made = generate(golden);
	for (const auto &task : *made)
		text += format_duration(task.runtime) + " " + format_duration(task.deadline) + " " +
			format_duration(task.period) + "\n";
	EXPECT_EQ(text, "3.565592ms 16.19092ms 59ms\n"
			"840.731us 22.326982ms 42ms\n"
			"10.257363ms 23.227534ms 34ms\n"
			"33.01107ms 48.608137ms 79ms\n");
	auto again = generate(golden);
	golden.seed = 43;
	EXPECT_NE((*generate(golden))[0].runtime, (*again)[0].runtime);
}

TEST(Generate, SharesAddUpAndKeepTheirLimits)
{
	for (auto [tasks, total, limits, least, most] :
	     {std::tuple(1, 500000000L, "0:1", 0L, 1000000000L), std::tuple(5, 900000000L, "0:1", 0L, 1000000000L),
	      std::tuple(20, 10000000000L, "0:1", 0L, 1000000000L), std::tuple(8, 7900000000L, "0:1", 0L, 1000000000L),
	      std::tuple(6, 1500000000L, "0.1:0.4", 100000000L, 400000000L),
	      std::tuple(3, 1200000000L, "0.4:0.4", 400000000L, 400000000L)})
		for (std::uint64_t seed = 0; seed < 200; seed++) {
			auto of = recipe(static_cast<std::size_t>(tasks), total, limits);
			of.seed = seed;
			std::int64_t sum = 0;
			for (auto runtime : runtimes(of)) {
				ASSERT_GE(runtime, least);
				ASSERT_LE(runtime, most);
				sum += runtime;
			}
			ASSERT_EQ(sum, total) << limits;
		}
}

// How often the first task is above a share, against what a uniform one must be.
// Sets come sorted by deadline, which are equal here: the first is any.
double above(const Recipe &like, std::int64_t share)
{
	auto of = like;
	int times = 0;
	constexpr int kSets = 20000;
	for (of.seed = 1; of.seed <= kSets; of.seed++)
		times += runtimes(of)[0] > share;
	return static_cast<double>(times) / kSets;
}

TEST(Generate, SharesAreUniform)
{
	constexpr double kNear = 0.015; // four sigmas
	// Of n tasks with total 1, P(u > x) = (1 - x)^(n - 1).
	EXPECT_NEAR(above(recipe(2, 1000000000), 300000000), 0.7, kNear);
	EXPECT_NEAR(above(recipe(3, 1000000000), 500000000), 0.25, kNear);
	EXPECT_NEAR(above(recipe(4, 1000000000), 500000000), 0.125, kNear);
	// With total 1.5 of 3 the limit cuts off the corners: P(u > x) by the area.
	EXPECT_NEAR(above(recipe(3, 1500000000), 750000000), 0.2083, kNear);
	EXPECT_NEAR(above(recipe(3, 1500000000), 500000000), 0.5, kNear);
	// The mirror image of total 1.
	EXPECT_NEAR(above(recipe(3, 2000000000), 500000000), 0.75, kNear);
	// The same between other limits.
	EXPECT_NEAR(above(recipe(3, 900000000, "0.2:0.4"), 350000000), 0.2083, kNear);
	// Few values: (2,0) (1,1) (0,2) of 2 ppb are as likely. A runtime is never 0.
	EXPECT_NEAR(above(recipe(2, 2), 1), 1.0 / 3, kNear);
}

TEST(Generate, FamiliesOfRtXen)
{
	for (auto [name, least, most, heavies] : {std::tuple("uni-light", 1, 100, 0.0), std::tuple("uni-medium", 100, 400, 0.0),
					 std::tuple("uni-heavy", 500, 900, 1.0),
					 std::tuple("bimo-light", 1, 900, 1.0 / 9),
					 std::tuple("bimo-medium", 1, 900, 3.0 / 9),
					 std::tuple("bimo-heavy", 1, 900, 5.0 / 9)}) {
		Recipe of;
		of.shares = *parse_shares(name);
		of.periods = *parse_periods("1s:1s");
		of.total_ppb = 100 * kWholeCpu_ppb;
		auto all = runtimes(of);
		std::int64_t sum = 0;
		int heavy = 0, below = 0;
		for (auto runtime : all) {
			sum += runtime;
			below += runtime < least * 1000000L; // the last one only
			EXPECT_LE(runtime, most * 1000000L);
			heavy += runtime > 500000000;
		}
		EXPECT_EQ(sum, of.total_ppb) << name;
		EXPECT_LE(below, 1);
		EXPECT_NEAR(static_cast<double>(heavy) / static_cast<double>(all.size()), heavies, 0.1) << name;
	}
	for (auto [name, shortest, longest] : {std::tuple("uni-short", 3, 33), std::tuple("uni-moderate", 10, 100),
					       std::tuple("uni-long", 50, 250)}) {
		auto of = recipe(1000, kWholeCpu_ppb);
		of.periods = *parse_periods(name);
		std::set<std::int64_t> seen;
		auto made = generate(of);
		for (const auto &task : *made) {
			EXPECT_EQ(task.period.count() % 1000000, 0);
			EXPECT_EQ(task.period, task.deadline);
			seen.insert(task.period.count() / 1000000);
		}
		EXPECT_GE(*seen.begin(), shortest);
		EXPECT_LE(*seen.rbegin(), longest);
		EXPECT_GT(seen.size(), 25U);
	}
}

TEST(Generate, DeadlinesAndOrder)
{
	auto of = recipe(50, 800000000);
	of.periods = *parse_periods("5ms:50ms:5ms");
	of.constrained = true;
	auto set = *generate(of);
	int shorter = 0;
	for (std::size_t i = 0; i < set.size(); i++) {
		EXPECT_EQ(set[i].period.count() % 5000000, 0);
		EXPECT_GE(set[i].deadline, set[i].runtime);
		EXPECT_LE(set[i].deadline, set[i].period);
		shorter += set[i].deadline < set[i].period;
		EXPECT_EQ(set[i].rank, i);
		EXPECT_TRUE(i == 0 || set[i - 1].deadline <= set[i].deadline);
	}
	EXPECT_GT(shorter, 40);
}

TEST(Generate, WhatCannotBeIsRefused)
{
	EXPECT_EQ(generate(recipe(0, 1)).error().object, "--tasks");
	EXPECT_EQ(generate(recipe(10001, 1)).error().object, "--tasks");
	EXPECT_EQ(generate(recipe(2, 0)).error().object, "--utilisation");
	EXPECT_EQ(generate(recipe(2, 2000000001)).error().object, "--utilisation");
	EXPECT_EQ(generate(recipe(2, 100000000, "0.1:0.2")).error().object, "--utilisation");
	// Possible, but as rare as to be never found.
	EXPECT_EQ(generate(recipe(2000, 500 * kWholeCpu_ppb)).error().object, "--shares");
	auto family = recipe(0, 1000000 * kWholeCpu_ppb, "uni-light");
	EXPECT_EQ(generate(family).error().object, "--utilisation");
	family.tasks = 3;
	EXPECT_EQ(generate(family).error().object, "--tasks");
	for (const char *text : {"", "x", "1m", "-1", "0.0000000001", "9999999999", "1.", "1e3"})
		EXPECT_FALSE(parse_share(text)) << text;
	EXPECT_EQ(parse_share("0.85"), 850000000);
	for (const char *text : {"", "0.5", "0.5:0.4", "0:0", "0:1.5", "uni", "0.1:x"})
		EXPECT_FALSE(parse_shares(text)) << text;
	for (const char *text : {"", "5ms", "5ms:4ms", "0ms:4ms", "5ms:6ms:0ms", "5ms:6ms:1ms:1ms", "5:6", "uni"})
		EXPECT_FALSE(parse_periods(text)) << text;
}

} // namespace
} // namespace dlgroup
