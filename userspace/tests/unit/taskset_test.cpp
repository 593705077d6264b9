// SPDX-License-Identifier: GPL-2.0-only
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <dlgroup/taskset.h>

namespace dlgroup {
namespace {

#define PROPERTY(name, ...) TEST(Property, name) { ASSERT_TRUE(rc::check(#name, __VA_ARGS__)); }

TEST(PlainLines, AreRuntimeDeadlinePeriod)
{
	auto set = parse_task_set("# a comment\n\n1ms 5ms 10ms # and one here\n"
				  "\t2.5ms  20ms\t30ms\n100us 1s 1s", "f");
	ASSERT_TRUE(set) << set.error().object << set.error().reason;
	ASSERT_EQ(set->size(), 3U);
	EXPECT_EQ((*set)[0].runtime, nanoseconds(1000000));
	EXPECT_EQ((*set)[0].deadline, nanoseconds(5000000));
	EXPECT_EQ((*set)[0].period, nanoseconds(10000000));
	EXPECT_EQ((*set)[1].runtime, nanoseconds(2500000));
	EXPECT_EQ((*set)[2].name, "3");
	EXPECT_EQ((*set)[2].rank, 2U);
}

TEST(Json, HasAllThereIs)
{
	auto set = parse_task_set(R"( {"tasks": [
	{"name": "a \"b\"", "runtime": "1ms", "deadline": "5ms", "period": "10ms", "priority": 7},
	{"runtime": "1ms", "deadline": "5ms", "period": "10ms", "jitter": "1us", "priority": 80},
	{"runtime": "1ms", "deadline": "5ms", "period": "10ms", "blocking": "0us", "priority": 7}]})", "f");
	ASSERT_TRUE(set) << set.error().object << set.error().reason;
	EXPECT_EQ((*set)[0].name, "a \"b\"");
	EXPECT_EQ((*set)[0].rank, 1U);
	EXPECT_EQ((*set)[1].rank, 0U);
	EXPECT_EQ((*set)[2].rank, 1U);
	EXPECT_EQ((*set)[1].jitter, nanoseconds(1000));
	set = parse_task_set(R"({"tasks":[{"runtime":"1ms","deadline":"5ms","period":"10ms"},
				{"runtime":"1ms","deadline":"5ms","period":"10ms"}]})", "f");
	ASSERT_TRUE(set);
	EXPECT_EQ((*set)[1].rank, 1U);
	// As the command prints it.
	set = parse_task_set(R"({"schema_version": 1, "comment": "c", "tasks":[
		{"runtime_ns": 1, "deadline_ns": 2, "period": "3ns", "jitter_ns": 0}]})", "f");
	ASSERT_TRUE(set) << set.error().object << set.error().reason;
	EXPECT_EQ((*set)[0].deadline, nanoseconds(2));
	EXPECT_EQ((*set)[0].period, nanoseconds(3));
}

TEST(Toml, SaysWhatJsonSays)
{
	auto toml = parse_task_set(R"(# a pump
comment = "c"
schema_version = 1

[[tasks]]
name = "a \"b\""
runtime = "1ms"
deadline = "5ms"
period_ns = 10_000_000
priority = 7
jitter = "1us"

[[tasks]] # the second
runtime = '1.5ms'
deadline = "5ms"
period = "10ms"
blocking_ns = 0
priority = 80
)", "f");
	ASSERT_TRUE(toml) << toml.error().object << toml.error().reason;
	auto json = *parse_task_set(R"({"tasks": [
	{"name": "a \"b\"", "runtime": "1ms", "deadline": "5ms", "period": "10ms", "jitter": "1us", "priority": 7},
	{"runtime": "1.5ms", "deadline": "5ms", "period": "10ms", "priority": 80}]})", "f");
	ASSERT_EQ(toml->size(), json.size());
	for (std::size_t i = 0; i < json.size(); i++) {
		auto fields = [](const SporadicTask &task) {
			return std::tuple(task.name, task.runtime, task.deadline, task.period, task.jitter,
					  task.blocking, task.rank);
		};
		EXPECT_EQ(fields((*toml)[i]), fields(json[i]));
	}
	EXPECT_EQ((*toml)[1].rank, 0U);
	// In one line, and without priorities: the first goes first.
	auto set = parse_task_set("tasks = [{runtime='1ms',deadline='5ms',period='5ms'},"
				  "{runtime='1ms',deadline='5ms',period='5ms'}]", "f");
	ASSERT_TRUE(set) << set.error().object << set.error().reason;
	EXPECT_EQ((*set)[1].rank, 1U);
}

TEST(Priorities, CanBeOrdered)
{
	auto set = *parse_task_set("1ms 9ms 20ms\n1ms 5ms 30ms\n1ms 9ms 10ms", "f");
	order_priorities(set, PriorityOrder::deadline_monotonic);
	EXPECT_EQ(set[1].rank, 0U);
	EXPECT_EQ(set[0].rank, 1U);
	EXPECT_EQ(set[2].rank, 2U);
	order_priorities(set, PriorityOrder::rate_monotonic);
	EXPECT_EQ(set[2].rank, 0U);
	EXPECT_EQ(set[0].rank, 1U);
	order_priorities(set, PriorityOrder::as_given);
	EXPECT_EQ(set[2].rank, 0U);
}

// File, line and column, and what was expected there.
TEST(BadTaskSet, IsRefusedWithItsPlace)
{
	struct Case {
		const char *text, *place, *says;
	};
	for (const auto &bad : std::initializer_list<Case>{
		     {"", "f:1:1", "expected a line: runtime deadline period"},
		     {"# nothing\n", "f:2:1", "no tasks"},
		     {"1ms 5ms", "f:1:8", "expected the period"},
		     {"1ms 5ms 10ms\n 1ms # 5ms 5ms", "f:2:6", "expected the deadline"},
		     {"1ms 5ms 10ms 7", "f:1:14", "expected the end of the line"},
		     {"1ms 5 10ms", "f:1:5", "'5': has no unit (ns, us, ms or s); expected the deadline"},
		     {"1ms 5ms\n10ms", "f:1:8", "expected the period"},
		     {"0ms 5ms 10ms", "f:1:1", "the runtime is 0"},
		     {"1ms 0s 10ms", "f:1:5", "the deadline is 0"},
		     {"1ms -5ms 10ms", "f:1:5", "expected the deadline, a time such as 5ms"},
		     {"1ms 5ms 9223372036854775808ns", "f:1:9", "too long a time"},
		     {"1ms 5ms 10ms\r\n", "f:1:9", "unknown unit 'ms?'"},
		     {"tasks", "f:1:6", "end-of-file"},
		     {"# x\n[[tasks]]\nruntime = 1ms", "f:3:12", "expected digit, saw 'm'"},
		     {"[[tasks]]\nruntime = \"1\"", "f:2:11", "'1': has no unit"},
		     {"[[tasks]]\nruntime = 1", "f:2:11", "expected a time such as \"5ms\""},
		     {"[[tasks]]\nruntime_ns = 1.0", "f:2:14", "expected a whole number of nanoseconds"},
		     {"[[tasks]]\nruntime_ns = -1", "f:2:14", "expected the runtime, a time such as 5ms"},
		     {"[[tasks]]\nruntime_ns = 0", "f:2:14", "the runtime is 0"},
		     {"[[tasks]]\nruntime = '1ms'\nruntime = '1ms'", "f:3:11", "cannot redefine existing string 'runtime'"},
		     {"[[tasks]]\nruntime = '1ms'\nruntime_ns = 1", "f:3:1", "'runtime_ns' for the second time"},
		     {"[[tasks]]\nruntime = '1ms'\n\n[[tasks]]", "f:1:1", "expected its \"deadline\""},
		     {"[[tasks]]\npriority = 100", "f:2:12", "expected an integer from 1 to 99"},
		     {"[[tasks]]\npriority = '1'", "f:2:12", "expected an integer from 1 to 99"},
		     {"[[tasks]]\nname = 1", "f:2:8", "expected a string"},
		     {"[[tasks]]\ncolour = 1", "f:2:1", "unknown key 'colour'; expected runtime, deadline"},
		     {"[[task]]\nruntime = '1ms'", "f:1:3", "unknown key 'task'; expected \"tasks\""},
		     {"[tasks]\nruntime = '1ms'", "f:1:1", "expected an array of tasks"},
		     {"tasks = [5]", "f:1:10", "expected a task: {"},
		     {"tasks = []", "f:1:11", "no tasks"},
		     {"comment = 'x'", "f:1:14", "no tasks; expected [[tasks]]"},
		     {"comment = 5", "f:1:11", "expected a string"},
		     {"schema_version = 2", "f:1:18", "expected 1"},
		     {"tasks = [{name='\u00e4\u00f6', colour=1}]", "f:1:24", "unknown key 'colour'"},
		     {"[[tasks]]\nruntime='1ms'\ndeadline='1ms'\nperiod='1ms'\npriority=1\n[[tasks]]\n"
		      "runtime='1ms'\ndeadline='1ms'\nperiod='1ms'", "f:1:1", "all or none"},
		     {"{", "f:1:1", "unexpected end of input"},
		     {"{}", "f:1:2", "no tasks; expected \"tasks\""},
		     {"{\"tasks\": []}", "f:1:14", "no tasks"},
		     {"{\"tasks\":\n 5}", "f:2:2", "expected an array of tasks"},
		     {"{\"tasks\": [5.5]}", "f:1:12", "expected a task: {"},
		     {"{\"tasks\": [true]}", "f:1:12", "expected a task: {"},
		     {"{\"tasks\": [[]]}", "f:1:12", "expected a task: {"},
		     {"{\"jobs\": []}", "f:1:2", "unknown key 'jobs'; expected \"tasks\""},
		     {"{\"tasks\": [], \"tasks\": []}", "f:1:15", "for the second time"},
		     {"{\"tasks\": [{\"runtime\": \"1ms\"}]}", "f:1:29", "expected its \"deadline\""},
		     {"{\"tasks\": [{\"runtime\": 1}]}", "f:1:24", "expected a time such as \"5ms\""},
		     {"{\"tasks\": [{\"runtime\": -12}]}", "f:1:24", "expected a time such as \"5ms\""},
		     {"{\"tasks\": [{\n\"runtime\": \"1\"}]}", "f:2:12", "has no unit"},
		     {"{\"tasks\": [{\"runtime\": {}}]}", "f:1:24", "expected a time"},
		     {"{\"tasks\": [{\"a\\\\\\\"b\": 1}]}", "f:1:13", "unknown key"},
		     {"{\"tasks\": [{\"runtime_ns\": \"1ms\"}]}", "f:1:27", "expected a whole number of nanoseconds"},
		     {"{\"tasks\": [{\"runtime_ns\": 0}]}", "f:1:27", "the runtime is 0"},
		     {"{\"tasks\": [{\"runtime_ns\": 18446744073709551615}]}", "f:1:27", "too long a time"},
		     {"{\"tasks\": [{\"runtime_ns\": 1, \"runtime\": \"1ms\"}]}", "f:1:30", "second time"},
		     {"{\"tasks\": [{\"runtime_ns\": 1}]}", "f:1:28", "expected its \"deadline\""},
		     {"{\"schema_version\": 2}", "f:1:20", "expected 1"},
		     {"{\"comment\": []}", "f:1:13", "expected a string"},
		     {"{\"tasks\": [{\"name\": 1}]}", "f:1:21", "expected a string"},
		     {"{\"tasks\": [{\"priority\": 100}]}", "f:1:25", "expected an integer from 1 to 99"},
		     {"{\"tasks\": [{\"priority\": \"1\"}]}", "f:1:25", "expected an integer"},
		     {"{\"tasks\": [{\"runtime\": \"1ms\", \"runtime\": \"1ms\"}]}", "f:1:31", "second time"},
		     {"{\"tasks\": [{\"runtime\": \"1ms\",, ", "f:1:30", "expected string literal"},
		     {"{\"tasks\": [{\"runtime\":\"1ms\",\"deadline\":\"1ms\",\"period\":\"1ms\"}]} x", "f:1:64",
		      "expected end of input"},
		     {"{\"tasks\": [{\"runtime\":\"1ms\",\"deadline\":\"1ms\",\"period\":\"1ms\",\"priority\":1},"
		      "{\"runtime\":\"1ms\",\"deadline\":\"1ms\",\"period\":\"1ms\"}]}", "f:1:1", "all or none"},
	     }) {
		auto set = parse_task_set(bad.text, "f");
		ASSERT_FALSE(set) << bad.text;
		EXPECT_EQ(set.error().status, Status::bad_input);
		EXPECT_EQ(set.error().object, bad.place) << bad.text << ": " << set.error().reason;
		EXPECT_NE(set.error().reason.find(bad.says), std::string::npos)
			<< bad.text << ": " << set.error().reason;
		EXPECT_EQ(set.error().reason.find('\n'), std::string::npos) << bad.text;
	}
}

TEST(BadTaskSet, FilesThatCannotBeRead)
{
	EXPECT_EQ(read_task_set("/nonexistent").error().reason, "cannot be read: No such file or directory");
	EXPECT_EQ(read_task_set("/").error().reason, "cannot be read: Is a directory");
	EXPECT_EQ(read_task_set("/dev/null").error().object, "/dev/null:1:1");
}

void parsed_or_refused(const std::string &text)
{
	auto set = parse_task_set(text, "f");
	RC_ASSERT(set || (set.error().status == Status::bad_input && !set.error().reason.empty()));
	RC_ASSERT(set || set.error().object.starts_with("f:"));
	if (set)
		for (const auto &task : *set)
			RC_ASSERT(task.runtime.count() > 0 && task.deadline.count() > 0 &&
				  task.period.count() > 0);
}

PROPERTY(AnyTextIsATaskSetOrNot, [](const std::string &text) {
	parsed_or_refused(text);
	parsed_or_refused("{" + text);
	parsed_or_refused("{\"tasks\": [" + text);
	parsed_or_refused("[[tasks]]\n" + text);
})

// What is nearly right goes deeper than what is all wrong.
PROPERTY(ADamagedTaskSetIsATaskSetOrNot, [](std::uint16_t where, char letter, std::uint8_t cut) {
	std::string json = R"({"tasks": [{"name": "a", "runtime": "1ms", "deadline": "5ms",
		"period": "10ms", "jitter": "1us", "blocking": "2us", "priority": 7}]})";
	std::string plain = "1ms 5ms 10ms\n2ms 20ms 20ms # two\n";
	std::string toml = "[[tasks]]\nname = 'a'\nruntime = '1ms'\ndeadline = \"5ms\"\nperiod_ns = 7\n"
			   "jitter = '1us'\npriority = 7\n";
	for (auto *text : {&json, &plain, &toml}) {
		(*text)[where % text->size()] = letter;
		parsed_or_refused(*text);
		parsed_or_refused(text->substr(0, cut % text->size()));
	}
})

} // namespace
} // namespace dlgroup
