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
		     {"", "f:1:1", "not JSON: syntax error while parsing value"},
		     {"{\"group\":\n5x}", "f:2:2", "not JSON: syntax error while parsing object"},
		     {"[]", "f:1:1", "no reservations"},
		     {"5", "f:1:1", "expected {\"group\""},
		     {"[5]", "f:1:2", "expected {\"group\""},
		     {"{}", "f:1:1", "no \"cpu_rt_max\""},
		     {R"({"schema_version": 1, "verdict": "schedulable"})", "f:1:1", "no \"cpu_rt_max\""},
		     {R"([{"cpu_rt_max": "0"}, {"group": "/a"}])", "f:1:23",
		      "no \"cpu_rt_max\""},
		     {R"({"cpu_rt_max": null})", "f:1:16", "expected a text"},
		     {R"({"cpu_rt_max": 5000})", "f:1:16", "expected a text"},
		     {R"({"cpu_rt_max": ""})", "f:1:16", "expected a text"},
		     {R"({"cpu_rt_max": "5000"})", "f:1:16", "'5000': not a line"},
		     {R"({"cpu_rt_max": "5ms 20ms"})", "f:1:16", "'5ms 20ms': not a line"},
		     {R"({"cpu_rt_max": "-5 20000"})", "f:1:16", "'-5 20000': not a line"},
		     {R"({"cpu_rt_max": "1 2 3 4"})", "f:1:16", "'1 2 3 4': not a line"},
		     {R"({"cpu_rt_max": "0 99999999999999999"})", "f:1:16", "not a line"},
		     {R"({"cpu_rt_max": "30000 20000"})", "f:1:16",
		      "the runtime 30ms is longer than the period 20ms"},
		     {R"({"cpu_rt_max": "0 0"})", "f:1:16", "the period is 0"},
		     {R"({"cpu_rt_max": "0", "cpu": "1"})", "f:1:21", "unknown key 'cpu'; expected group"},
		     {R"({"cpu_rt_max": "0", "a\nb": "1"})", "f:1:21", "unknown key 'a?b'"},
		     {R"({"cpu_rt_max": "0", "cpus": 1})", "f:1:29", "expected a text"},
		     {R"({"cpu_rt_max": "0", "cpus": "3-1"})", "f:1:29", "'3-1': not a list"},
		     {R"({"cpu_rt_max": "0", "policy": "FIFO"})", "f:1:31", "'FIFO': not a policy"},
		     {R"({"cpu_rt_max": "0", "policy": "RR 100"})", "f:1:31", "'RR 100': not a policy"},
		     {R"({"cpu_rt_max": "0", "cpu_rt_max": "1 2"})", "f:1:21", "for the second time"},
		     {R"({"cpu_rt_max": "0", "flags": "fair"})", "f:1:30", "expected an array of texts"},
		     {"{\"cpu_rt_max\": \"0\",\n \"flags\": [\"fair\", \"fare\"]}", "f:2:20",
		      "'fare': expected reclaim, unpriv or fair"},
		     {R"({"cpu_rt_max": "0", "cpu_rt_cpus": ["1"]})", "f:1:37", "'1': expected CPUs, runtime"},
		     {R"({"cpu_rt_max": "0", "cpu_rt_cpus": ["1 5ms/20ms"]})", "f:1:37", "expected CPUs, runtime"},
		     {R"({"cpu_rt_max": "0", "cpu_rt_cpus": [1]})", "f:1:37", "expected a text"},
		     {R"({"version": 2, "groups": []})", "f:1:13", "expected 1: this is the only version known"},
		     {R"({"version": 1})", "f:1:1", "expected \"groups\""},
		     {R"({"version": 1, "groups": {}})", "f:1:26", "expected \"groups\""},
		     {R"({"version": 1, "group": []})", "f:1:16", "unknown key 'group'; expected version"},
		     {"{\"version\": 1, \"groups\": [\n{\"cpu_rt_max\": \"0\"},\n{\"cpu_rt_max\": 5}]}", "f:3:16",
		      "expected a text"},
		     {R"({"cpu_rt_max": "0", "group": ["/a"]})", "f:1:30", "expected a text"},
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

TEST(Plan, IsWhatItsTextSays)
{
	auto plan = parse_plan(R"({"version": 1, "groups": [
		{"group": "/a \"b\"", "cpu_rt_max": "5000 20000 10000", "cpus": "0-1,3", "policy": "RR 2",
		 "cpu_rt_cpus": ["1 6000 20000", "2-3 0"], "flags": ["unpriv", "fair"]},
		{"group": "/s", "cpu_rt_max": "max", "cpus": "0", "flags": []}]})", "f");
	ASSERT_TRUE(plan) << plan.error().object << plan.error().reason;
	EXPECT_EQ((*plan)[0].by_cpu, (std::vector<std::string>{"1 6000 20000", "2-3 0"}));
	EXPECT_EQ((*plan)[0].flags, (std::set<std::string>{"fair", "unpriv"}));
	EXPECT_EQ((*plan)[1].flags, (std::set<std::string>{}));
	EXPECT_FALSE((*plan)[1].by_cpu);
	auto text = plan_text(*plan);
	ASSERT_TRUE(text);
	EXPECT_EQ(*text, R"({
  "version": 1,
  "groups": [
    {"group": "/a \"b\"", "cpu_rt_max": "5000 20000 10000", "cpus": "0-1,3", "policy": "RR 2", )"
			 R"("cpu_rt_cpus": ["1 6000 20000","2-3 0"], "flags": ["fair","unpriv"]},
    {"group": "/s", "cpu_rt_max": "max", "cpus": "0", "flags": []}
  ]
}
)");
	EXPECT_EQ(*plan_text(*parse_plan(*text, "f")), *text);
	EXPECT_EQ(*plan_text({}), "{\n  \"version\": 1,\n  \"groups\": []\n}\n");
	EXPECT_TRUE(parse_plan(*plan_text({}), "f")->empty());
	(*plan)[0].group = "/\xff";
	EXPECT_EQ(plan_text(*plan).error().reason, "its name is not UTF-8: JSON cannot hold it");
}

} // namespace
} // namespace dlgroup
