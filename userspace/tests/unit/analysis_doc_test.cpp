// SPDX-License-Identifier: GPL-2.0-only
// docs/analysis.md claims in tables; here they are run. And how long it takes.
#include <algorithm>
#include <ctime>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>

#include <gtest/gtest.h>

#include <dlgroup/simulate.h>

#include "random_set.h"

namespace dlgroup {
namespace {

using Row = std::vector<std::string>;

// The rows of the tables whose header begins so: cells in backticks.
std::vector<Row> rows(const std::string &header)
{
	std::ifstream in(DLGROUP_SOURCE "/../docs/analysis.md");
	std::vector<Row> found;
	std::string line;
	bool inside = false;
	while (std::getline(in, line)) {
		if (line.starts_with("| " + header + " |"))
			inside = true;
		else if (!line.starts_with("|"))
			inside = false;
		else if (inside && line.starts_with("| `")) {
			Row row;
			std::istringstream cells(line.substr(1));
			for (std::string cell; std::getline(cells, cell, '|');)
				row.push_back(cell.substr(2, cell.size() - 4));
			found.push_back(row);
		}
	}
	EXPECT_FALSE(found.empty()) << header;
	return found;
}

nanoseconds time(const std::string &text)
{
	auto value = parse_duration(text);
	EXPECT_TRUE(value) << text;
	return value.value_or(nanoseconds(0));
}

TaskSet parse(std::string text)
{
	std::replace(text.begin(), text.end(), ';', '\n');
	auto set = parse_task_set(text, "row");
	EXPECT_TRUE(set) << text;
	return set.value_or(TaskSet{});
}

Supply reservation(const std::string &text)
{
	auto slash = text.find('/');
	auto period = time(text.substr(slash + 1));
	return {time(text.substr(0, slash)), period, period, nanoseconds(0)};
}

Scheduler scheduler(const std::string &text)
{
	EXPECT_TRUE(text == "edf" || text == "fp") << text;
	return text == "edf" ? Scheduler::edf : Scheduler::fp;
}

std::string says(const std::string &name, const TaskSet &set, const Supply &supply)
{
	for (const auto &test : schedulability_tests())
		if (test.name == name) {
			auto answer = test.decide(set, supply);
			return answer == Answer::yes  ? "yes"
			       : answer == Answer::no ? "no"
						      : "unknown";
		}
	return "no such test";
}

TEST(AnalysisDoc, Supply)
{
	for (const auto &row : rows("Q")) {
		Supply supply{time(row[0]), time(row[1]), time(row[2]), time(row[3])};
		auto got = supply_bound(supply, static_cast<u128>(time(row[4]).count()));
		EXPECT_EQ(got, static_cast<u128>(time(row[5]).count())) << row[4];
		EXPECT_EQ(supply_inverse(supply, got), static_cast<u128>(time(row[6]).count())) << row[4];
	}
}

TEST(AnalysisDoc, WhereTestsDiffer)
{
	std::map<std::string, std::set<std::string>> shown;
	for (const auto &row : rows("test")) {
		auto set = parse(row[2]);
		auto supply = reservation(row[1]);
		EXPECT_EQ(says(row[0], set, supply), row[3]) << row[0] << ": " << row[2];
		EXPECT_EQ(says(row[4], set, supply), row[5]) << row[4] << ": " << row[2];
		EXPECT_NE(row[3], row[5]);
		shown[row[0]].insert(row[3] == "yes" ? "accepted" : "rejected");
	}
	for (const auto &test : schedulability_tests())
		EXPECT_EQ(shown[std::string(test.name)].size(), 2U) << test.name;
}

TEST(AnalysisDoc, Responses)
{
	for (const auto &row : rows("scheduler | reservation | tasks | responses")) {
		auto result = analyse(parse(row[2]), reservation(row[1]), scheduler(row[0]));
		std::string text;
		for (const auto &response : result.responses)
			text += (text.empty() ? "" : " ") +
				(response ? format_duration(*response) : "none");
		EXPECT_EQ(text, row[3]) << row[2];
	}
}

TEST(AnalysisDoc, Growth)
{
	for (const auto &row : rows("scheduler | reservation | tasks | factor")) {
		auto growth = largest_growth(parse(row[2]), reservation(row[1]), scheduler(row[0]));
		EXPECT_EQ(std::to_string(growth.permille), row[3]) << row[2];
	}
}

TEST(AnalysisDoc, Simulation)
{
	for (const auto &row : rows("scheduler | reservation | tasks | duration")) {
		auto set = parse(row[2]);
		Scenario in;
		in.scheduler = scheduler(row[0]);
		in.supply = reservation(row[1]);
		in.duration = time(row[3]);
		auto expected = analyse(set, in.supply, in.scheduler);
		in.used_up = expected.method != "cbs-wakeup";
		auto text = [](const auto &list, auto response) {
			std::string all;
			for (const auto &one : list)
				all += (all.empty() ? "" : " ") + format_duration(*response(one));
			return all;
		};
		EXPECT_EQ(text(simulate(set, in)->tasks, [](auto &task) { return task.response; }), row[4]);
		EXPECT_EQ(text(expected.responses, [](auto &response) { return response; }), row[5]);
	}
}

TEST(AnalysisDoc, LeastRuntime)
{
	for (const auto &row : rows("scheduler | period")) {
		auto period = time(row[1]);
		auto least = least_runtime(parse(row[2]), {nanoseconds(0), period, period, nanoseconds(0)},
					   scheduler(row[0]));
		EXPECT_EQ(least.runtime, time(row[3])) << row[2];
	}
}

// Time of this process alone, whatever else the machine does.
double milliseconds_of(const std::function<void()> &work)
{
	auto start = std::clock();
	work();
	return static_cast<double>(std::clock() - start) * 1000 / CLOCKS_PER_SEC;
}

#ifdef __SANITIZE_ADDRESS__
constexpr double kSlower = 20;
#else
constexpr double kSlower = 1;
#endif

TEST(Speed, DemandOfAThousandTasks)
{
	double worst = 0;
	int good = 0;
	for (unsigned seed = 0; seed < 20; seed++) {
		// 1000 periods of about 10^7 ns without a common factor.
		auto set = random_set(1000, seed, 0.85);
		Supply supply{nanoseconds(475000), nanoseconds(500000), nanoseconds(500000), nanoseconds(0)};
		std::string said;
		worst = std::max(worst, milliseconds_of([&] { said = says("edf-demand", set, supply); }));
		EXPECT_NE(said, "unknown");
		good += said == "yes";
	}
	EXPECT_GT(good, 5);
	RecordProperty("milliseconds", std::to_string(worst));
	std::printf("1000 tasks: %.2f ms at worst, %d of 20 schedulable\n", worst, good);
	EXPECT_LT(worst, 10 * kSlower);
}

TEST(Speed, LeastRuntimeOverAHundredPeriods)
{
	for (auto sched : {Scheduler::edf, Scheduler::fp}) {
		auto set = random_set(20, 7, 0.4);
		int found = 0;
		auto took = milliseconds_of([&] {
			for (int i = 1; i <= 100; i++) {
				nanoseconds period(2000000 + i * 100000);
				auto least = least_runtime(set, {nanoseconds(0), period, period, nanoseconds(0)},
							   sched);
				EXPECT_TRUE(least.exact);
				found += least.runtime.has_value();
			}
		});
		std::printf("20 tasks, 100 periods, %s: %.1f ms, %d found\n",
			    sched == Scheduler::edf ? "edf" : "fp", took, found);
		EXPECT_GT(found, 10);
		EXPECT_LT(took, 200 * kSlower);
	}
}

} // namespace
} // namespace dlgroup
