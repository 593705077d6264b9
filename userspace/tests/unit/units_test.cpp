// SPDX-License-Identifier: GPL-2.0-only
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <dlgroup/admission.h>
#include <dlgroup/units.h>
#include <dlgroup/wide.h>

namespace dlgroup {
namespace {

using std::chrono::microseconds;
using std::chrono::nanoseconds;

#define PROPERTY(name, ...) TEST(Property, name) { ASSERT_TRUE(rc::check(#name, __VA_ARGS__)); }

std::int64_t parsed_ns(const char *text)
{
	auto time = parse_duration(text);
	return time ? time->count() : -1;
}

TEST(Duration, TakesEveryUnit)
{
	EXPECT_EQ(parsed_ns("5ns"), 5);
	EXPECT_EQ(parsed_ns("5us"), 5000);
	EXPECT_EQ(parsed_ns("5ms"), 5000000);
	EXPECT_EQ(parsed_ns("5s"), 5000000000);
	EXPECT_EQ(parsed_ns("1.5ms"), 1500000);
	EXPECT_EQ(parsed_ns("0.000000001s"), 1);
	EXPECT_EQ(parsed_ns("007ms"), 7000000);
	EXPECT_EQ(parsed_ns("1.50ns"), -1);
	EXPECT_EQ(parsed_ns("1.0ns"), 1);
}

TEST(Duration, RefusesWhatItDoesNotUnderstand)
{
	for (const char *text : {"", "5", "ms", "5 ms", "-5ms", "5.ms", ".5ms", "5m", "5min", "5MS",
				 "1e3us", "5ms ", "1.2.3ms", "0x5ms", "1.5ns", "5msms",
				 "99999999999999999999s", "9223372036854775808ns", "1000001s"})
		EXPECT_FALSE(parse_duration(text)) << text;
}

TEST(Duration, SaysWhy)
{
	EXPECT_EQ(parse_duration("5").error().reason, "has no unit (ns, us, ms or s)");
	EXPECT_EQ(parse_duration("5m").error().reason, "unknown unit 'm' (use ns, us, ms or s)");
	EXPECT_EQ(parse_duration("99999999999s").error().reason, "too long a time");
	EXPECT_EQ(parse_duration("1.5ns").error().reason, "finer than a nanosecond");
	EXPECT_EQ(parse_duration("5").error().status, Status::bad_input);
}

TEST(Duration, IsWrittenInTheLargestUnit)
{
	EXPECT_EQ(format_duration(nanoseconds(0)), "0");
	EXPECT_EQ(format_duration(nanoseconds(999)), "999ns");
	EXPECT_EQ(format_duration(nanoseconds(1500000)), "1.5ms");
	EXPECT_EQ(format_duration(nanoseconds(100000)), "100us");
	EXPECT_EQ(format_duration(nanoseconds(1000000000)), "1s");
	EXPECT_EQ(format_duration(nanoseconds(1000000001)), "1.000000001s");
}

PROPERTY(DurationReadsBack, [](std::uint32_t high, std::uint16_t low) {
	nanoseconds time(static_cast<std::int64_t>(high) * 65536 + low + 1);
	auto back = parse_duration(format_duration(time));
	RC_ASSERT(back.has_value());
	RC_ASSERT(*back == time);
})

PROPERTY(AnyTextIsParsedOrRefused, [](const std::string &text) {
	auto request = parse_request(text);
	RC_ASSERT(request || request.error().status == Status::bad_input);
	RC_ASSERT(request || !request.error().reason.empty());
	auto cpus = parse_cpus(text);
	RC_ASSERT(cpus || cpus.error().status == Status::bad_input);
	auto value = parse_rt_max(text);
	RC_ASSERT(value || !value.error().reason.empty());
})

TEST(Request, TakesTheThreeForms)
{
	auto number = parse_request("5ms/20ms");
	ASSERT_TRUE(number);
	EXPECT_FALSE(number->is_max);
	EXPECT_EQ(number->runtime, microseconds(5000));
	EXPECT_EQ(number->period, microseconds(20000));
	EXPECT_FALSE(number->deadline);
	EXPECT_EQ(file_text(*number), "5000 20000");
	EXPECT_EQ(file_text(*parse_request("1.5ms/5ms")), "1500 5000");
	EXPECT_EQ(file_text(*parse_request("5ms/20ms/10ms")), "5000 20000 10000");
	EXPECT_EQ(file_text(*parse_request("5ms/20ms/20ms")), "5000 20000");
	EXPECT_EQ(file_text(*parse_request("max")), "max");
	EXPECT_EQ(file_text(*parse_request("0")), "0");
	EXPECT_EQ(file_text(*parse_request("0/20ms")), "0 20000");
}

TEST(Request, RefusesNonsense)
{
	for (const char *text : {"", "5ms", "/20ms", "5ms/", "5ms/20ms/", "5ms/20ms/9ms/9ms",
				 "30ms/20ms", "5ms/0", "5ms/0ms", "5ms/20ms/4ms", "5ms/20ms/30ms",
				 "MAX", "max/20ms", "1500ns/20ms", "5ms/20ms/0ms", "5ms 20ms",
				 "-1ms/20ms", "nan/20ms", "0/0s"})
		EXPECT_FALSE(parse_request(text)) << text;
	EXPECT_EQ(parse_request("30ms/20ms").error().reason,
		  "the runtime 30ms is longer than the period 20ms");
	EXPECT_EQ(parse_request("5ms/20ms/4ms").error().reason,
		  "the runtime 5ms is longer than the deadline 4ms");
	EXPECT_EQ(parse_request("1500ns/20ms").error().reason,
		  "not a whole number of microseconds, the unit of cpu.rt.max");
}

TEST(Request, LongFormKeepsWhatIsLeftOut)
{
	EXPECT_EQ(file_text(*make_request("5ms", "20ms", "")), "5000 20000");
	EXPECT_EQ(file_text(*make_request("5ms", "", "")), "5000");
	EXPECT_EQ(file_text(*make_request("max", "", "")), "max");
	EXPECT_EQ(file_text(*make_request("0", "", "")), "0");
	EXPECT_FALSE(make_request("", "20ms", ""));
	EXPECT_FALSE(make_request("5ms", "", "10ms"));
	EXPECT_FALSE(make_request("max", "20ms", ""));
	RtMax old{false, microseconds(1000), microseconds(50000), microseconds(50000)};
	auto changed = apply_request(old, *make_request("5ms", "", ""));
	EXPECT_EQ(changed.runtime, microseconds(5000));
	EXPECT_EQ(changed.period, microseconds(50000));
}

// Whatever is typed, a message is one line.
TEST(BadText, IsQuotedPrintably)
{
	EXPECT_EQ(parse_duration("5\nm\x7f").error().object, "'5?m?'");
	EXPECT_EQ(parse_duration("5\nm\x7f").error().reason, "unknown unit '?m?' (use ns, us, ms or s)");
	EXPECT_EQ(parse_file_text("5000 20000\n").error().object, "'5000 20000?'");
}

TEST(RtMaxFile, IsRead)
{
	auto number = parse_rt_max("5000 20000\n");
	ASSERT_TRUE(number);
	EXPECT_EQ(format_rt_max(*number), "5ms/20ms");
	EXPECT_EQ(format_rt_max(*parse_rt_max("5000 20000 10000\n")), "5ms/20ms/10ms");
	EXPECT_EQ(format_rt_max(*parse_rt_max("max 100000\n")), "max");
	EXPECT_EQ(parse_rt_max("max 50000\n")->period, microseconds(50000));
	EXPECT_EQ(format_rt_max(*parse_rt_max("0 100000\n")), "0");
	for (const char *text : {"", "5000", "a b", "5000 b", "5000 20000 x", "1 2 3 4", "-1 100000",
				 "5 0", "5 10 0", "1000000000000001 1000000000000001"})
		EXPECT_FALSE(parse_rt_max(text)) << text;
}

TEST(RtMaxFile, IsReadBackAsWritten)
{
	for (const char *text : {"max", "0", "0 20000", "5000 20000", "5000 20000 10000"})
		EXPECT_EQ(file_text(*parse_file_text(text)), text);
	EXPECT_EQ(file_text(*parse_file_text("max 100000")), "max");
	for (const char *text : {"", "5000", "max x", "5000 20000\n", "5000 20000 30000", "a b",
				 "-1 20000", "1 2 3 4", "0 1000000000001"})
		EXPECT_FALSE(parse_file_text(text)) << text;
}

TEST(Cpus, AreReadAndWritten)
{
	EXPECT_EQ(format_cpus(*parse_cpus("0-3,5\n")), "0-3,5");
	EXPECT_EQ(format_cpus(*parse_cpus("5,1,0")), "0-1,5");
	EXPECT_EQ(format_cpus(*parse_cpus("")), "");
	EXPECT_EQ(name_cpus({1}), "CPU 1");
	EXPECT_EQ(name_cpus({0, 1}), "CPUs 0-1");
	for (const char *text : {"a", "3-1", "0-", "-1", "0,,1", "0 1", "99999", "0-99999"})
		EXPECT_FALSE(parse_cpus(text)) << text;
}

PROPERTY(CpusReadBack, [](const std::set<std::uint8_t> &some) {
	CpuSet cpus(some.begin(), some.end());
	RC_ASSERT(*parse_cpus(format_cpus(cpus)) == cpus);
})

TEST(Bandwidth, IsTheKernelsFunction)
{
	EXPECT_EQ(bandwidth(microseconds(20000), microseconds(20000)), 1ULL << 48);
	EXPECT_EQ(bandwidth(microseconds(5000), microseconds(20000)), 1ULL << 46);
	// floor(2^48 / 3)
	EXPECT_EQ(bandwidth(microseconds(1), microseconds(3)), 93824992236885ULL);
	EXPECT_EQ(bandwidth(microseconds(0), microseconds(20000)), 0U);
	EXPECT_EQ(parts_per_billion(1ULL << 46), 250000000U);
	EXPECT_EQ(parts_per_billion(bandwidth(microseconds(12000), microseconds(20000))), 600000000U);
}

TEST(Bandwidth, IsTold)
{
	EXPECT_EQ(percent(bandwidth(microseconds(12000), microseconds(20000))), "60.0 %");
	EXPECT_EQ(percent(bandwidth(microseconds(1), microseconds(3)), 3), "33.333 %");
	EXPECT_EQ(percent(1ULL << 48, 0), "100 %");
	EXPECT_EQ(total(1ULL << 46, 2), "25 % of 2 CPUs = 0.50 CPU");
	EXPECT_EQ(total(bandwidth(microseconds(1), microseconds(3)), 1),
		  "33.3 % of 1 CPU = 0.33 CPU");
	EXPECT_EQ(total(bandwidth(microseconds(5), microseconds(20000)), 2),
		  "0.02 % of 2 CPUs = 0.00 CPU");
	EXPECT_EQ(total(0, 2), "0 % of 2 CPUs = 0.00 CPU");
}

// Periods the kernel takes, and runtimes up to them.
rc::Gen<std::pair<microseconds, microseconds>> reservation()
{
	return rc::gen::mapcat(rc::gen::inRange<std::int64_t>(1000, 1000001), [](std::int64_t period) {
		return rc::gen::map(rc::gen::inRange<std::int64_t>(1, period + 1),
				    [period](std::int64_t runtime) {
					    return std::pair(microseconds(runtime),
							     microseconds(period));
				    });
	});
}

PROPERTY(MicrosecondsAndNanosecondsAgree, [] {
	auto [runtime, period] = *reservation();
	auto ns = (static_cast<u128>(runtime.count()) * 1000 << 48) /
		  (static_cast<u128>(period.count()) * 1000);
	RC_ASSERT(bandwidth(runtime, period) == static_cast<Bandwidth>(ns));
})

PROPERTY(LargestRuntimeFitsAndOneMoreDoesNot, [] {
	auto period = microseconds(*rc::gen::inRange<std::int64_t>(1000, 1000001));
	auto room = *rc::gen::inRange<Bandwidth>(0, (1ULL << 48) + 1);
	auto runtime = largest_runtime(room, period);
	RC_ASSERT(bandwidth(runtime, period) <= room);
	RC_ASSERT(runtime <= period);
	if (runtime < period)
		RC_ASSERT(bandwidth(runtime + microseconds(1), period) > room);
})

PROPERTY(SmallestRuntimeIsEnoughAndOneLessIsNot, [] {
	auto period = microseconds(*rc::gen::inRange<std::int64_t>(1000, 1000001));
	auto need = *rc::gen::inRange<Bandwidth>(1, (1ULL << 48) + 1);
	auto runtime = smallest_runtime(need, period);
	RC_ASSERT(bandwidth(runtime, period) >= need);
	RC_ASSERT(bandwidth(runtime - microseconds(1), period) < need);
})

PROPERTY(ExactSharesFillTheCpu, [] {
	// n times 1/n of the same period never passes the whole.
	auto count = *rc::gen::inRange<std::int64_t>(1, 1000);
	auto [runtime, period] = std::pair(microseconds(1000), microseconds(1000 * count));
	RC_ASSERT(bandwidth(runtime, period) * static_cast<Bandwidth>(count) <= 1ULL << 48);
})

PROPERTY(OwnRuntimeNeverPromisesTooMuch, [] {
	auto [runtime, period] = *reservation();
	auto children = *rc::gen::container<std::vector<std::pair<microseconds, microseconds>>>(
		reservation());
	RtMax group{false, runtime, period, period};
	std::vector<RtMax> carved;
	for (const auto &[q, p] : children)
		carved.push_back({false, q, p, p});
	auto own = own_runtime(group, carved);
	// In exact fractions, multiplied out child by child: own <= Q - sum(Q_i P / P_i).
	long double exact = static_cast<long double>(runtime.count()) * 1000;
	for (const auto &[q, p] : children)
		exact -= static_cast<long double>(q.count()) * 1000 *
			 static_cast<long double>(period.count()) /
			 static_cast<long double>(p.count());
	RC_ASSERT(static_cast<long double>(own.count()) <= exact + 1e-3L);
	RC_ASSERT(static_cast<long double>(own.count()) >
		  exact - 1e-3L - static_cast<long double>(children.size()));
})

} // namespace
} // namespace dlgroup
