// SPDX-License-Identifier: GPL-2.0-only
#include <gtest/gtest.h>
#include <sched.h>

#include <dlgroup/plan.h>

namespace dlgroup {
namespace {

TEST(Plan, IsAnObjectOrAnArray)
{
	auto plan = parse_plan(R"({"group": "/a", "cpu_rt_max": "5000 20000", "cpus": "0-1,3",
				   "policy": "FIFO 10"})", "f");
	ASSERT_TRUE(plan) << plan.error().object << plan.error().reason;
	ASSERT_EQ(plan->size(), 1U);
	EXPECT_EQ((*plan)[0].group, "/a");
	EXPECT_EQ(file_text((*plan)[0].request), "5000 20000");
	EXPECT_EQ((*plan)[0].cpus, (CpuSet{0, 1, 3}));
	EXPECT_EQ((*plan)[0].policy, (Policy{SCHED_FIFO, 10}));
	EXPECT_FALSE((*plan)[0].designed_for);

	plan = parse_plan(R"([{"group": "/a", "cpu_rt_max": "max"}, {"cpu_rt_max": "0"},
			      {"cpu_rt_max": "5000 20000 10000", "policy": "RR 99"}])", "f");
	ASSERT_TRUE(plan) << plan.error().object << plan.error().reason;
	ASSERT_EQ(plan->size(), 3U);
	EXPECT_EQ(file_text((*plan)[0].request), "max");
	EXPECT_FALSE((*plan)[0].cpus || (*plan)[0].policy);
	EXPECT_EQ(file_text((*plan)[1].request), "0");
	EXPECT_EQ((*plan)[1].group, "");
	EXPECT_EQ(file_text((*plan)[2].request), "5000 20000 10000");
	EXPECT_EQ((*plan)[2].policy, (Policy{SCHED_RR, 99}));
}

TEST(Plan, IsWhatDesignPrints)
{
	auto plan = parse_plan(R"({"schema_version": 1, "verdict": "schedulable", "runtime_ns": 2000000,
				   "period_ns": 4000000, "cpus": 1, "cpu_rt_max": "2000 4000"})", "f");
	ASSERT_TRUE(plan) << plan.error().object << plan.error().reason;
	EXPECT_EQ(file_text((*plan)[0].request), "2000 4000");
	EXPECT_EQ((*plan)[0].designed_for, 1U);
	EXPECT_FALSE((*plan)[0].cpus);
	// With a group and its CPUs put in by hand.
	plan = parse_plan(R"([{"schema_version": 1, "cpus": "2", "cpu_rt_max": "2000 4000",
			       "group": "/a"}])", "f");
	ASSERT_TRUE(plan) << plan.error().object << plan.error().reason;
	EXPECT_EQ((*plan)[0].cpus, CpuSet{2});
	EXPECT_FALSE((*plan)[0].designed_for);

	plan = parse_plan(R"({"schema_version": 1, "verdict": "unschedulable", "cpus": 1,
			      "cpu_rt_max": null})", "f");
	ASSERT_FALSE(plan);
	EXPECT_EQ(plan.error().status, Status::refused);
}

TEST(Plan, IsRefusedWithItsPlace)
{
	struct Case {
		const char *text;
		const char *object;
		const char *reason;
	};
	for (const auto &bad : std::initializer_list<Case>{
		     {"", "f", "not JSON: parse error at line 1, column 1"},
		     {"{\"group\":\n5x}", "f", "not JSON: parse error at line 2, column 2"},
		     {"[]", "f", "no reservations"},
		     {"5", "f", "expected {\"group\""},
		     {"[5]", "f: reservation 1", "expected {\"group\""},
		     {"{}", "f", "no \"cpu_rt_max\""},
		     {R"({"schema_version": 1, "verdict": "schedulable"})", "f", "no \"cpu_rt_max\""},
		     {R"([{"cpu_rt_max": "0"}, {"group": "/a"}])", "f: reservation 2",
		      "no \"cpu_rt_max\""},
		     {R"({"cpu_rt_max": null})", "f", "\"cpu_rt_max\": expected a text"},
		     {R"({"cpu_rt_max": 5000})", "f", "\"cpu_rt_max\": expected a text"},
		     {R"({"cpu_rt_max": ""})", "f", "\"cpu_rt_max\": expected a text"},
		     {R"({"cpu_rt_max": "5000"})", "f", "\"cpu_rt_max\": '5000': not a line"},
		     {R"({"cpu_rt_max": "5ms 20ms"})", "f", "'5ms 20ms': not a line"},
		     {R"({"cpu_rt_max": "-5 20000"})", "f", "'-5 20000': not a line"},
		     {R"({"cpu_rt_max": "1 2 3 4"})", "f", "'1 2 3 4': not a line"},
		     {R"({"cpu_rt_max": "0 99999999999999999"})", "f", "not a line"},
		     {R"({"cpu_rt_max": "30000 20000"})", "f",
		      "the runtime 30ms is longer than the period 20ms"},
		     {R"({"cpu_rt_max": "0 0"})", "f", "the period is 0"},
		     {R"({"cpu_rt_max": "0", "cpu": "1"})", "f", "unknown key 'cpu'; expected group"},
		     {R"({"cpu_rt_max": "0", "a\nb": "1"})", "f", "unknown key 'a?b'"},
		     {R"({"cpu_rt_max": "0", "cpus": 1})", "f", "\"cpus\": expected a text"},
		     {R"({"cpu_rt_max": "0", "cpus": "3-1"})", "f", "\"cpus\": '3-1': not a list"},
		     {R"({"cpu_rt_max": "0", "policy": "FIFO"})", "f", "'FIFO': not a policy"},
		     {R"({"cpu_rt_max": "0", "policy": "RR 100"})", "f", "'RR 100': not a policy"},
		     {R"({"cpu_rt_max": "0", "group": ["/a"]})", "f", "\"group\": expected a text"},
	     }) {
		auto plan = parse_plan(bad.text, "f");
		ASSERT_FALSE(plan) << bad.text;
		EXPECT_EQ(plan.error().status, Status::bad_input) << bad.text;
		EXPECT_EQ(plan.error().object, bad.object) << bad.text;
		EXPECT_NE(plan.error().reason.find(bad.reason), std::string::npos)
			<< bad.text << ": " << plan.error().reason;
		EXPECT_EQ(plan.error().reason.find('\n'), std::string::npos) << bad.text;
	}
}

} // namespace
} // namespace dlgroup
