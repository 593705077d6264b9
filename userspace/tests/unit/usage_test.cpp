// SPDX-License-Identifier: GPL-2.0-only
// What guests use in a period: the arithmetic, and the verb on made trees.
#include <atomic>
#include <numeric>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <rapidcheck.h>
#include <sys/stat.h>

#include "made_guest.h"
#include "vm_usage.h"

#include <dlgroup/usage.h>

namespace dlgroup::test {
namespace {

using namespace std::chrono_literals;

#define PROPERTY(name, ...) TEST(UsageProperty, name) { ASSERT_TRUE(rc::check(#name, __VA_ARGS__)); }

PerPeriod some_times(std::size_t most = 50)
{
	auto count = *rc::gen::inRange<std::size_t>(1, most);
	PerPeriod values;
	for (auto value : *rc::gen::container<std::vector<std::int64_t>>(count, rc::gen::inRange<std::int64_t>(0, 1000)))
		values.push_back(nanoseconds(value));
	return values;
}

TEST(Quantile, IsTheNearestRank)
{
	PerPeriod values;
	for (int i = 100; i > 0; i--)
		values.push_back(nanoseconds(i));
	EXPECT_EQ(quantile(values, 500), 50ns);
	EXPECT_EQ(quantile(values, 950), 95ns);
	EXPECT_EQ(quantile(values, 990), 99ns);
	EXPECT_EQ(quantile(values, 991), 100ns);
	EXPECT_EQ(quantile(values, 1000), 100ns);
	EXPECT_EQ(quantile(values, 0), 0ns);
	EXPECT_EQ(quantile({7ns}, 1), 7ns);
	EXPECT_EQ(quantile({}, 500), 0ns);
}

PROPERTY(AQuantileIsTheLeastThatCoversItsShare, [] {
	auto values = some_times();
	auto permille = *rc::gen::inRange(1U, 1001U);
	auto is = quantile(values, permille);
	auto share = [&](auto covers) {
		return static_cast<unsigned>(std::count_if(values.begin(), values.end(), covers)) * 1000;
	};
	RC_ASSERT(std::count(values.begin(), values.end(), is) > 0);
	RC_ASSERT(share([&](nanoseconds value) { return value <= is; }) >= permille * values.size());
	RC_ASSERT(share([&](nanoseconds value) { return value < is; }) < permille * values.size());
})

TEST(FiguresOf, AreThoseOfAllPeriods)
{
	auto is = figures({1ns, 2ns, 9ns, 2ns});
	EXPECT_EQ(is.mean, 4ns); // 3.5
	EXPECT_EQ(is.p50, 2ns);
	EXPECT_EQ(is.p95, 9ns);
	EXPECT_EQ(is.p99, 9ns);
	EXPECT_EQ(is.worst, 9ns);
	EXPECT_EQ(figures({}).worst, 0ns);
}

TEST(FullestCpu, IsWhereTheMostHasToBeDone)
{
	const CpuSet both{0, 1}, first{0};
	EXPECT_EQ(fullest_cpu({}, both), 0ns);
	EXPECT_EQ(fullest_cpu({{5ns, both}, {3ns, both}}, both), 5ns);
	EXPECT_EQ(fullest_cpu({{1ns, both}, {5ns, both}, {3ns, both}}, both), 5ns);
	EXPECT_EQ(fullest_cpu({{5ns, both}, {3ns, both}}, first), 8ns);
	EXPECT_EQ(fullest_cpu({{5ns, first}, {3ns, first}, {1ns, both}}, both), 8ns);
	// It has left its CPUs.
	EXPECT_EQ(fullest_cpu({{5ns, both}, {3ns, {7}}}, both), 5ns);
}

nanoseconds best_packing(const std::vector<Load> &loads, std::vector<nanoseconds> &cpus, std::size_t next = 0)
{
	if (next == loads.size())
		return *std::max_element(cpus.begin(), cpus.end());
	auto best = nanoseconds::max();
	for (auto &cpu : cpus) {
		cpu += loads[next].use;
		best = std::min(best, best_packing(loads, cpus, next + 1));
		cpu -= loads[next].use;
	}
	return best;
}

// Graham 1969: at most 4/3 - 1/(3m) of the best.
PROPERTY(TheFullestCpuIsCloseToTheBestPacking, [] {
	auto count = *rc::gen::inRange(1U, 4U);
	CpuSet cpus;
	for (unsigned cpu = 0; cpu < count; cpu++)
		cpus.insert(cpu);
	std::vector<Load> loads;
	for (auto use : some_times(8))
		loads.push_back({use, cpus});
	std::vector<nanoseconds> empty(count);
	auto best = best_packing(loads, empty), is = fullest_cpu(loads, cpus);
	RC_ASSERT(is >= best);
	RC_ASSERT(is.count() * 3 * count <= best.count() * (4 * count - 1));
})

TEST(Overprovisioned, IsMoreThanWasNeeded)
{
	EXPECT_EQ(overprovisioned(5ms, {20, 0ns}), 6ms);
	EXPECT_EQ(overprovisioned(5ms, {20, 100us}), 6100us);
	EXPECT_EQ(overprovisioned(5ms, {0, 1ns}), 5001us);
	EXPECT_EQ(overprovisioned(333333ns, {1, 0ns}), 337us);
	EXPECT_EQ(overprovisioned(0ns, {20, 0ns}), 100us); // the least that the kernel takes
	EXPECT_GT(overprovisioned(nanoseconds::max(), {1000, nanoseconds::max()}), 1h);
}

PROPERTY(OverprovisioningGrowsWithEachOfItsParts, [] {
	nanoseconds need(*rc::gen::inRange<std::int64_t>(0, 1000000000)), stolen(*rc::gen::inRange<std::int64_t>(0, 10000000));
	auto percent = *rc::gen::inRange(0U, 1001U);
	auto is = overprovisioned(need, {percent, stolen});
	RC_ASSERT(is >= need + stolen);
	RC_ASSERT(is.count() % 1000 == 0);
	RC_ASSERT(is <= overprovisioned(need + 1ns, {percent, stolen}));
	RC_ASSERT(is <= overprovisioned(need, {percent + 1, stolen}));
	RC_ASSERT(is <= overprovisioned(need, {percent, stolen + 1ns}));
})

TEST(Tuned, FollowsTheNeedWithinLimits)
{
	const TuneLimits limits{2ms, 10ms, 20};
	EXPECT_EQ(tuned(5ms, 5ms, 0, 50, limits), 6ms);
	EXPECT_EQ(tuned(5ms, 2ms, 0, 50, limits), 2400us);
	EXPECT_EQ(tuned(5ms, 9ms, 0, 50, limits), 10ms);
	EXPECT_EQ(tuned(5ms, 0ms, 0, 50, limits), 2ms);
	// Less than 10 % of it.
	EXPECT_EQ(tuned(6ms, 4501us, 0, 50, limits), std::nullopt);
	EXPECT_EQ(tuned(6ms, 5499us, 0, 50, limits), std::nullopt);
	EXPECT_EQ(tuned(6ms, 4500us, 0, 50, limits), 5400us);
	EXPECT_EQ(tuned(6ms, 5500us, 0, 50, limits), 6600us);
	// Nobody knows what it would have used.
	EXPECT_EQ(tuned(5ms, 4ms, 1, 50, limits), 6ms);
	EXPECT_EQ(tuned(5ms, 4ms, 26, 50, limits), 10ms);
	EXPECT_EQ(tuned(10ms, 10ms, 50, 50, limits), std::nullopt);
	// Limits hold at once.
	EXPECT_EQ(tuned(10100us, 9ms, 0, 50, limits), 10ms);
	EXPECT_EQ(tuned(1999us, 1ms, 0, 50, limits), 2ms);
}

PROPERTY(ATunedRuntimeStaysWhereTheNeedDoes, [] {
	auto us = [](int least, int most) { return microseconds(*rc::gen::inRange(least, most)); };
	TuneLimits limits{us(100, 5000), us(5000, 20000), *rc::gen::inRange(0U, 200U)};
	nanoseconds runtime = us(100, 20000), need = us(0, 20000);
	auto used_up = *rc::gen::inRange<std::size_t>(0, 51);
	auto next = tuned(runtime, need, used_up, 50, limits).value_or(runtime);
	RC_ASSERT(next >= limits.least);
	RC_ASSERT(next <= limits.most);
	RC_ASSERT(used_up == 0 || next >= std::min(runtime, limits.most));
	RC_ASSERT(next >= std::min(need, limits.most));
	RC_ASSERT(!tuned(next, need, 0, 50, limits) || used_up);
})

TEST(ParseStolen, TakesTheLinesOfCpus)
{
	auto all = parse_stolen("cpu  1 2 3 4 5 6 7 0 0 0\ncpu0 1 2 3 4 5 6 7 0 0 0\ncpu12 0 0 0 0 0 1 0\n"
				"cpu3 1 2\ncpux 1 2 3 4 5 6 7\ncpu4 1 2 3 4 5 -6 7x\nintr 1 2 3 4 5 6 7 8\n", 100);
	EXPECT_EQ(all.size(), 2U);
	EXPECT_EQ(all[0].irq, 60ms);
	EXPECT_EQ(all[0].softirq, 70ms);
	EXPECT_EQ(all[12].irq, 10ms);
	EXPECT_TRUE(parse_stolen("", 100).empty());
}

class UsageTest : public ::testing::Test {
protected:
	UsageTest() : usage_(10ms, {0, 1}) {}
	static ThreadReading thread(nanoseconds ran, ThreadClass is = ThreadClass::vcpu, const std::string &label = "0")
	{
		return {{is, label}, is == ThreadClass::vcpu, {0, 1}, {ran, 0ns}};
	}
	void add(std::uint64_t period, std::map<pid_t, ThreadReading> threads, nanoseconds late = 0ns)
	{
		usage_.add({period, late, std::move(threads), {}, {}});
	}
	PerPeriod uses(ThreadClass is = ThreadClass::vcpu, const std::string &label = "0")
	{
		return usage_.rows().at({is, label}).uses;
	}

	Usage usage_;
};

TEST_F(UsageTest, IsTheDifferenceOfReadings)
{
	add(0, {{1, thread(100ms)}, {2, thread(5ms, ThreadClass::main, "")}});
	EXPECT_EQ(usage_.exact(), 0U);
	add(1, {{1, thread(103ms)}, {2, thread(5ms, ThreadClass::main, "")}});
	add(2, {{1, thread(104ms)}, {2, thread(7ms, ThreadClass::main, "")}});
	EXPECT_EQ(uses(), (PerPeriod{3ms, 1ms}));
	EXPECT_EQ(uses(ThreadClass::main, ""), (PerPeriod{0ms, 2ms}));
	EXPECT_EQ(usage_.served(), (PerPeriod{3ms, 1ms}));
	EXPECT_EQ(usage_.need(), (PerPeriod{3ms, 1ms}));
	EXPECT_EQ(usage_.elapsed(), 2U);
}

TEST_F(UsageTest, ThreadsComeAndGo)
{
	add(0, {{1, thread(1ms)}});
	add(1, {{1, thread(2ms)}, {2, thread(3ms, ThreadClass::vcpu, "1")}}); // all of it in this period
	add(2, {{2, thread(7ms, ThreadClass::vcpu, "1")}});
	add(3, {{2, thread(1ms, ThreadClass::vcpu, "1")}}); // another one with its number
	EXPECT_EQ(uses(), PerPeriod{1ms});
	EXPECT_EQ(uses(ThreadClass::vcpu, "1"), (PerPeriod{3ms, 4ms, 1ms}));
	EXPECT_EQ(usage_.ended(), 1U);
	// In the others it has used nothing.
	auto is = usage_.figures_of(usage_.rows().at({ThreadClass::vcpu, "0"}));
	EXPECT_EQ(is.p50, 0ns);
	EXPECT_EQ(is.worst, 1ms);
	EXPECT_EQ(is.mean, 333334ns);
}

TEST_F(UsageTest, ALateReadingSpoilsBothItsPeriods)
{
	add(0, {{1, thread(0ms)}});
	add(1, {{1, thread(1ms)}}, 1ms); // just not
	add(2, {{1, thread(4ms)}}, 1ms + 1ns);
	add(3, {{1, thread(5ms)}});
	add(4, {{1, thread(6ms)}});
	add(6, {{1, thread(12ms)}}); // one was left out
	add(7, {{1, thread(15ms)}});
	EXPECT_EQ(uses(), (PerPeriod{1ms, 1ms, 3ms}));
	EXPECT_EQ(usage_.elapsed(), 7U);
	EXPECT_EQ(usage_.exact(), 3U);
	EXPECT_EQ(usage_.late(), 1U);
	EXPECT_EQ(usage_.latest(), 1ms + 1ns);
}

TEST_F(UsageTest, RowsAreInTheOrderOfTheirNumbers)
{
	add(0, {});
	add(1, {{1, thread(1ms, ThreadClass::vcpu, "10")}, {2, thread(1ms, ThreadClass::vcpu, "9")},
		{3, thread(1ms, ThreadClass::main, "")}});
	std::vector<std::string> order;
	for (const auto &[row, of] : usage_.rows())
		order.push_back(name_class(row.is) + row.label);
	EXPECT_EQ(order, (std::vector<std::string>{"vcpu9", "vcpu10", "main"}));
}

TEST_F(UsageTest, CountsWhatIsStolenOnItsCpus)
{
	usage_.add({0, 0ns, {}, {{0, {1s, 2s}}, {1, {0s, 0s}}, {5, {0s, 0s}}}, {}});
	usage_.add({3, 0ns, {}, {{0, {1s + 10ms, 2s}}, {1, {10ms, 20ms}}, {5, {9s, 9s}}}, {}});
	EXPECT_EQ(usage_.stolen().size(), 2U);
	EXPECT_EQ(usage_.stolen().at(0).irq, 10ms);
	EXPECT_EQ(usage_.stolen().at(1).softirq, 20ms);
	EXPECT_EQ(usage_.stolen_per_period(), 10ms);
}

TEST_F(UsageTest, CountsPeriodsInWhichTheBudgetWasUsedUp)
{
	usage_.add({0, 0ns, {}, {}, GroupReading{5us, 7}});
	usage_.add({1, 0ns, {}, {}, GroupReading{8us, 9}});
	usage_.add({2, 0ns, {}, {}, GroupReading{8us, 9}});
	EXPECT_EQ(usage_.throttled(), 1U);
	EXPECT_EQ(usage_.group_irq(), (PerPeriod{3us, 0us}));
}

// Nothing is lost and nothing counted twice, whatever comes, ends and has a number anew.
PROPERTY(NothingIsLostBetweenReadings, [] {
	Usage usage(10ms, {0, 1});
	std::map<pid_t, ThreadReading> threads;
	nanoseconds sum{0};
	auto periods = *rc::gen::inRange<std::uint64_t>(1, 30);
	for (std::uint64_t period = 0; period <= periods; period++) {
		for (pid_t tid = 1; tid < 6; tid++) {
			if (*rc::gen::inRange(0, 4) == 0) {
				threads.erase(tid);
				continue;
			}
			nanoseconds use(*rc::gen::inRange(0, 1000));
			auto &thread = threads[tid];
			thread.row.is = ThreadClass::worker;
			thread.served = true;
			thread.time.ran += use;
			if (period)
				sum += use;
		}
		usage.add({period, 0ns, threads, {}, {}});
	}
	auto total = [](const PerPeriod &values) { return std::accumulate(values.begin(), values.end(), nanoseconds(0)); };
	RC_ASSERT(total(usage.served()) == sum);
	RC_ASSERT(usage.exact() == periods);
	auto rows = usage.rows();
	RC_ASSERT(total(rows[{ThreadClass::worker, ""}].uses) == sum);
})

// What happens in each period is what the test says; it takes no time.
class MadeTimer : public tool::PeriodTimer {
public:
	Result<void> start(nanoseconds period) override
	{
		period_ = period;
		return {};
	}
	Result<std::optional<std::uint64_t>> wait() override
	{
		if (next_ == end)
			return std::nullopt;
		if (next_)
			happens(next_);
		while (left_out.count(next_))
			next_++;
		return next_++;
	}
	nanoseconds passed(std::uint64_t period) override { return late.count(period) ? late.at(period) : 0ns; }
	nanoseconds tick() override { return 4ms; }

	std::function<void(std::uint64_t)> happens = [](std::uint64_t) {};
	std::map<std::uint64_t, nanoseconds> late;
	std::set<std::uint64_t> left_out;
	std::optional<std::uint64_t> end;
	nanoseconds period_{0};

private:
	std::uint64_t next_ = 0;
};

class MeasuredTest : public MadeGuestTest {
protected:
	MeasuredTest()
	{
		for (pid_t tid : {1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, kPit})
			runs(tid, 0ns);
		made_.write("proc/stat", "cpu0 0 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0\n");
		options_.res = "";
		options_.duration = "2s";
		options_.json = true;
	}
	void runs(pid_t tid, nanoseconds time, nanoseconds waits = 0ns)
	{
		auto &has = ran_[tid];
		has.ran += time;
		has.waited += waits;
		made_.write(fmt::format("proc/{0}/task/{1}/schedstat", tid == kPit ? kPit : kQemu, tid),
			    fmt::format("{} {} 1\n", has.ran.count(), has.waited.count()));
	}
	void attach()
	{
		options_.res = "5ms/20ms";
		auto done = call(tool::vm_attach);
		ASSERT_TRUE(done) << why(done);
		options_.res = "";
	}
	Result<int> measure(Result<int> (*verb)(const tool::Context &, tool::PeriodTimer &))
	{
		auto roots = running();
		::testing::internal::CaptureStdout();
		auto result = verb(tool::Context{options_, roots, groups_, tasks_}, timer_);
		out_ = ::testing::internal::GetCapturedStdout();
		if (result && options_.json)
			json_ = nlohmann::json::parse(out_);
		return result;
	}

	MadeTimer timer_;
	nlohmann::json json_;

private:
	std::map<pid_t, RunTime> ran_;
};

class ProfileTest : public MeasuredTest {
protected:
	Result<int> profile() { return measure(tool::vm_profile); }
	nlohmann::json row(const std::string &of, const std::string &name = "")
	{
		for (const auto &line : json_["threads"])
			if (line["class"] == of && line["name"] == name)
				return line;
		return {};
	}
	bool notes(const std::string &text)
	{
		for (const auto &note : json_["notes"])
			if (note.get<std::string>().find(text) != std::string::npos)
				return true;
		return false;
	}

	std::atomic<int> at_{0}; // the period, where a test has another thread
};

TEST_F(ProfileTest, TellsWhatEachClassUsesAndProposes)
{
	timer_.happens = [&](std::uint64_t period) {
		runs(1003, period % 100 ? 4ms : 9ms);
		runs(1004, period % 20 ? 1ms : 3ms, 50us);
		runs(1002, 500us);
		runs(1007, 100us);
		runs(1005, 200us);
		runs(kPit, 10us);
		runs(kQemu, 300us);
		runs(1006, 2ms);
	};
	auto before = state();
	auto done = profile();
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(state(), before);
	EXPECT_EQ(timer_.period_, 20ms);
	EXPECT_EQ(json_["schema_version"], 1);
	EXPECT_EQ(json_["attached"], false);
	EXPECT_EQ(json_["resolution_ns"], 4000000);
	EXPECT_EQ(json_["periods"]["exact"], 100);
	auto vcpu = row("vcpu", "0");
	EXPECT_EQ(vcpu["mean_ns"], 4050000);
	EXPECT_EQ(vcpu["p50_ns"], 4000000);
	EXPECT_EQ(vcpu["p95_ns"], 4000000);
	EXPECT_EQ(vcpu["p99_ns"], 4000000);
	EXPECT_EQ(vcpu["worst_ns"], 9000000);
	EXPECT_EQ(row("vcpu", "1")["p95_ns"], 1000000);
	EXPECT_EQ(row("vcpu", "1")["p99_ns"], 3000000);
	EXPECT_EQ(row("vcpu", "1")["waited_ns"], 5000000);
	EXPECT_EQ(row("iothread", "io1")["worst_ns"], 500000);
	EXPECT_EQ(row("worker")["p50_ns"], 100000);
	EXPECT_EQ(row("vhost")["p50_ns"], 200000);
	EXPECT_EQ(row("kernel")["p50_ns"], 10000);
	EXPECT_EQ(row("main")["p50_ns"], 300000);
	EXPECT_EQ(row("recovery")["served"], false);
	EXPECT_EQ(row("recovery")["p50_ns"], 2000000);
	// Without what is not served; once in 20 periods vCPU 1 leaves no room for the others beside it.
	EXPECT_EQ(json_["served"]["p50_ns"], 6110000);
	EXPECT_EQ(json_["fullest_cpu"]["p50_ns"], 4000000);
	EXPECT_EQ(json_["fullest_cpu"]["p99_ns"], 4100000);
	EXPECT_EQ(json_["proposal"]["need_ns"], 4100000);
	EXPECT_EQ(json_["proposal"]["percent"], 20);
	EXPECT_EQ(json_["proposal"]["reservation"], (nlohmann::json{{"runtime_ns", 4920000}, {"period_ns", 20000000}}));
	EXPECT_TRUE(notes("can be off by 4ms"));
	EXPECT_FALSE(notes("late"));
	EXPECT_FALSE(notes("waited"));
}

TEST_F(ProfileTest, TellsItInWords)
{
	options_.json = false;
	timer_.happens = [&](std::uint64_t) { runs(1003, 4ms); };
	auto done = profile();
	ASSERT_TRUE(done) << why(done);
	EXPECT_TRUE(out_.starts_with("pid 1000 (web), not attached: 100 periods of 20ms on CPUs 0-1\n")) << out_;
	EXPECT_NE(out_.find("  vcpu      0                    4ms         4ms         4ms         4ms         4ms           0\n"),
		  std::string::npos) << out_;
	EXPECT_NE(out_.find("  CPU 0        interrupts 0, softirqs 0 in 2s, counted by 10ms\n"), std::string::npos) << out_;
	EXPECT_NE(out_.find("  proposal     4.8ms/20ms on CPUs 0-1 (24 % of 2 CPUs = 0.48 CPU): 4ms (P99 of one CPU) and 20 %\n"
			    "  command      dlgroup vm attach 1000 4.8ms/20ms\n"), std::string::npos) << out_;
}

TEST_F(ProfileTest, AnAttachedGuestIsMeasuredInItsReservation)
{
	attach();
	std::uint64_t irq = 0, throttled = 0;
	auto stat = [&] {
		made_.write("sys/fs/cgroup/dlgroup.vm.1000/cpu.rt.stat",
			    fmt::format("usage_usec 0\nnr_throttled {}\nirq_usec {}\n", throttled, irq));
	};
	stat();
	timer_.happens = [&](std::uint64_t period) {
		runs(1003, 5ms);
		irq += period % 10 ? 30 : 70;
		throttled += period % 10 == 0;
		stat();
	};
	auto done = profile();
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(timer_.period_, 20ms);
	EXPECT_EQ(json_["attached"], true);
	EXPECT_EQ(json_["group"], "/dlgroup.vm.1000");
	EXPECT_EQ(json_["resolution_ns"], 0);
	EXPECT_EQ(json_["group_irq"]["p50_ns"], 30000);
	EXPECT_EQ(json_["group_irq"]["worst_ns"], 70000);
	EXPECT_EQ(json_["periods"]["throttled"], 10);
	EXPECT_TRUE(notes("periods in which its reservation was used up: 10;"));
	// Its own period, unless another is asked for; and not a tick has to be in it.
	options_.period = "1ms";
	options_.duration = "100ms";
	timer_ = MadeTimer();
	ASSERT_TRUE(profile());
	EXPECT_EQ(timer_.period_, 1ms);
	options_.json = false;
	timer_ = MadeTimer();
	timer_.happens = [&](std::uint64_t) { runs(1003, 100us); };
	ASSERT_TRUE(profile());
	EXPECT_NE(out_.find("  command      dlgroup set /dlgroup.vm.1000 120us/1ms\n"), std::string::npos) << out_;
}

// By that the kernel brings up to date what a running thread has used.
TEST_F(ProfileTest, TheGroupIsReadBeforeItsThreads)
{
	attach();
	auto stat = made_.path("sys/fs/cgroup/dlgroup.vm.1000/cpu.rt.stat");
	std::filesystem::remove(stat);
	ASSERT_EQ(mkfifo(stat.c_str(), 0600), 0);
	// Its open(2) returns when somebody opens it for reading.
	std::thread kernel([&] {
		for (int i = 0; i <= 5; i++) {
			int fd = open(stat.c_str(), O_WRONLY | O_CLOEXEC);
			runs(1003, i ? 1ms : 0ms);
			EXPECT_EQ(write(fd, "irq_usec 0\n", 11), 11);
			close(fd);
			while (i < 5 && at_ <= i)
				std::this_thread::yield();
		}
	});
	timer_.happens = [&](std::uint64_t period) { at_ = static_cast<int>(period); };
	options_.duration = "100ms";
	auto done = profile();
	kernel.join();
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(row("vcpu", "0")["p50_ns"], 1000000);
	EXPECT_EQ(row("vcpu", "0")["worst_ns"], 1000000);
	EXPECT_EQ(row("vcpu", "0")["mean_ns"], 1000000);
}

TEST_F(ProfileTest, InAReservationWhatIsFifoOrRrIsServed)
{
	made_.write("profile.toml", "[vcpu]\npolicy = \"fifo:10\"\n[main]\npolicy = \"keep\"\n");
	options_.profile = made_.path("profile.toml");
	attach();
	timer_.happens = [&](std::uint64_t) {
		runs(1003, 1ms);
		runs(1002, 8ms);
	};
	ASSERT_TRUE(profile());
	EXPECT_EQ(row("iothread", "io1")["served"], false);
	EXPECT_EQ(row("main")["served"], false);
	EXPECT_EQ(json_["fullest_cpu"]["worst_ns"], 1000000);
}

TEST_F(ProfileTest, AForeignReservationGetsNoCommand)
{
	made_.write("sys/fs/cgroup/user/cpu.rt.max", "5000 20000\n");
	options_.json = false;
	ASSERT_TRUE(profile());
	EXPECT_NE(out_.find("  proposal "), std::string::npos);
	EXPECT_EQ(out_.find("  command "), std::string::npos) << out_;
}

TEST_F(ProfileTest, InterruptsAreAddedWhereTheyAreCharged)
{
	timer_.happens = [&](std::uint64_t period) {
		runs(1003, 1ms);
		made_.write("proc/stat", fmt::format("cpu0 0 0 0 0 0 {} {}\ncpu1 0 0 0 0 0 0 {}\ncpu2 0 0 0 0 0 999 0\n", period / 10,
						     period / 5, period / 5));
	};
	ASSERT_TRUE(profile());
	EXPECT_EQ(json_["stolen"]["resolution_ns"], 10000000);
	EXPECT_EQ(json_["stolen"]["cpus"],
		  nlohmann::json::parse(R"([{"cpu": 0, "irq_ns": 100000000, "softirq_ns": 200000000},
					    {"cpu": 1, "irq_ns": 0, "softirq_ns": 200000000}])"));
	EXPECT_EQ(json_["proposal"]["stolen_ns"], 0);
	EXPECT_TRUE(notes("interrupts are charged to nobody"));
	// Without CONFIG_IRQ_TIME_ACCOUNTING there is no such file.
	std::filesystem::remove(made_.path("proc/pressure/irq"));
	made_.write("proc/stat", "cpu0 0 0 0 0 0 0 0\n");
	auto happens = timer_.happens;
	timer_ = MadeTimer();
	timer_.happens = happens;
	ASSERT_TRUE(profile());
	EXPECT_EQ(json_["proposal"]["stolen_ns"], 3000000);
	EXPECT_EQ(json_["proposal"]["reservation"]["runtime_ns"], 4200000);
	EXPECT_FALSE(notes("interrupts are charged to nobody"));
}

TEST_F(ProfileTest, LateReadingsAreTold)
{
	timer_.happens = [&](std::uint64_t period) { runs(1003, period == 7 ? 15ms : 1ms); };
	timer_.late[7] = 3ms;
	timer_.left_out = {50, 51};
	auto done = profile();
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(json_["periods"]["elapsed"], 100);
	EXPECT_EQ(json_["periods"]["exact"], 95);
	EXPECT_EQ(json_["late"]["readings"], 1);
	EXPECT_EQ(json_["late"]["worst_ns"], 3000000);
	EXPECT_EQ(row("vcpu", "0")["worst_ns"], 1000000);
	EXPECT_TRUE(notes("late readings, by more than 2ms: 1, the latest by 3ms; 5 of 100 periods have no figures"));
}

TEST_F(ProfileTest, OnlyLateReadingsAreNone)
{
	for (std::uint64_t period = 0; period <= 100; period++)
		timer_.late[period] = period == 5 ? 5ms : 2001us;
	EXPECT_EQ(why(profile()), "pid 1000 (web): every period has a late reading at one of its ends, the latest 5ms after the period "
				  "began: take a longer one than 20ms, or measure on a machine with less load");
}

TEST_F(ProfileTest, ThreadsMayComeAndGo)
{
	timer_.happens = [&](std::uint64_t period) {
		runs(1003, 1ms);
		if (period == 10) {
			// Made by the main loop, it has its maker's name yet.
			add_thread(1020, "qemu-system-x86", "/user");
			runs(1020, 2ms);
		}
		if (period == 11) {
			auto named = task(1020);
			named.name = "CPU 2/KVM";
			made_.write_task(named);
			runs(1020, 6ms);
		}
		if (period == 12)
			made_.remove_task(task(1007));
		if (period == 12)
			runs(1020, 3ms);
	};
	auto done = profile();
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(row("vcpu", "2")["worst_ns"], 6000000);
	EXPECT_EQ(row("vcpu", "2")["p50_ns"], 0);
	EXPECT_EQ(row("other")["worst_ns"], 2000000); // before it had its name
	EXPECT_EQ(json_["threads_ended"], 1);
	EXPECT_TRUE(notes("threads that have ended: 1;"));
}

TEST_F(ProfileTest, AGuestThatEndsIsSaid)
{
	timer_.happens = [&](std::uint64_t period) {
		if (period == 6)
			std::filesystem::remove_all(made_.path("proc/1000"));
	};
	EXPECT_EQ(why(profile()), "pid 1000 (web): ended meanwhile, after 5 of 100 periods");
	EXPECT_EQ(out_, "");
}

TEST_F(ProfileTest, AnotherProcessWithItsNumberIsNotMeasured)
{
	timer_.happens = [&](std::uint64_t period) {
		if (period != 6)
			return;
		auto other = task(kQemu);
		other.started++;
		made_.write_task(other);
	};
	EXPECT_EQ(why(profile()), "pid 1000 (web): ended meanwhile, after 5 of 100 periods");
}

TEST_F(ProfileTest, ToldToEndItTellsWhatThereIs)
{
	timer_.end = 31;
	timer_.happens = [&](std::uint64_t) { runs(1003, 1ms); };
	ASSERT_TRUE(profile());
	EXPECT_EQ(json_["periods"]["exact"], 30);
	timer_ = MadeTimer();
	timer_.end = 1;
	EXPECT_EQ(why(profile()), "pid 1000 (web): told to end before a period was over");
}

TEST_F(ProfileTest, RefusesWhatCannotBeMeasured)
{
	auto refused = [&](const std::string &target, const std::string &period, const std::string &duration) {
		options_.target = target;
		options_.period = period;
		options_.duration = duration;
		auto done = profile();
		EXPECT_FALSE(done);
		return done ? "" : fmt::format("{} {}", static_cast<int>(done.error().status), why(done));
	};
	EXPECT_EQ(refused("4000", "", ""), "2 pid 4000: no such process");
	EXPECT_EQ(refused("900", "", ""), "2 900 (bash): is no virtual machine: only those of QEMU are known");
	EXPECT_EQ(refused("1003", "", ""), "2 pid 1003: is a thread of process 1000");
	EXPECT_EQ(refused("1000", "7999us", ""),
		  "2 --period: what a running thread has used is known to a tick of the kernel, 4ms: 8ms is the shortest period of a "
		  "guest without a reservation");
	EXPECT_EQ(refused("1000", "20", ""), "2 '20': has no unit (ns, us, ms or s)");
	EXPECT_EQ(refused("1000", "20000001ns", "").substr(0, 14), "2 20.000001ms:");
	EXPECT_EQ(refused("1000", "20ms", "19ms"), "2 --duration: 19ms is shorter than a period of 20ms");
	EXPECT_EQ(refused("1000", "8ms", "10000s"), "2 --duration: 1250000 periods, and 1000000 are the most that are kept");
	for (pid_t tid : {1003, 1004}) {
		auto unnamed = task(tid);
		unnamed.name = "qemu-system-x86";
		made_.write_task(unnamed);
	}
	EXPECT_EQ(refused("1000", "", "").substr(0, 76),
		  "2 pid 1000 (web): none of its threads is known to be a vCPU: name it by its ");
	made_.remove_task(task(1003));
	add_thread(1003, "CPU 0/KVM", "/user");
	std::filesystem::remove(made_.path("proc/1000/task/1000/schedstat"));
	EXPECT_EQ(refused("1000", "", ""), "4 pid 1000 (web): the kernel does not tell what threads use (CONFIG_SCHED_INFO)");
	for (auto tid : threads_of(made_.roots(), kQemu))
		if (tid != kQemu)
			made_.remove_task(task(tid));
	auto stat = made_.read("proc/1000/stat");
	made_.write("proc/1000/stat", stat.replace(stat.find(") R"), 3, ") Z"));
	EXPECT_EQ(refused("1000", "", ""), "1 pid 1000 (web): has ended");
}

TEST_F(ProfileTest, AReservationHasAShortestPeriodToo)
{
	attach();
	options_.period = "999us";
	EXPECT_EQ(why(profile()), "--period: the shortest period of a reservation is 1ms");
}

TEST_F(ProfileTest, MoreThanACpuHasIsNotProposed)
{
	timer_.happens = [&](std::uint64_t) {
		runs(1003, 17ms);
		runs(1004, 1ms, 3ms);
	};
	ASSERT_TRUE(profile());
	EXPECT_TRUE(json_["proposal"]["reservation"].is_null());
	EXPECT_TRUE(notes("20.4ms in 20ms is more than a CPU has"));
	EXPECT_TRUE(notes("waited 3ms a period"));
	options_.margin = 10;
	timer_ = MadeTimer();
	timer_.happens = [&](std::uint64_t) { runs(1003, 17ms); };
	ASSERT_TRUE(profile());
	EXPECT_EQ(json_["proposal"]["reservation"]["runtime_ns"], 18700000);
}

// A guest in a reservation of 5ms/20ms which uses what it wants, or what it gets.
class TuneTest : public MeasuredTest {
protected:
	TuneTest()
	{
		options_.res = "5ms/20ms";
		auto done = call(tool::vm_attach);
		EXPECT_TRUE(done) << why(done);
		options_.res = "";
		options_.json = false;
		options_.runtime = "2ms:12ms";
		options_.window = "200ms";
		options_.duration = "1s";
		timer_.happens = [&](std::uint64_t period) {
			auto gets = parse_rt_max(runtime() + " 20000")->runtime;
			auto wanted = wants(period);
			runs(1003, std::min<nanoseconds>(wanted, gets));
			throttled_ += wanted > gets;
			made_.write(kGroup + "cpu.rt.stat", fmt::format("nr_throttled {}\n", throttled_));
		};
	}
	std::string runtime() { return words(made_.read(kGroup + "cpu.rt.max"))[0]; }
	Result<int> tune() { return measure(tool::vm_tune); }

	const std::string kGroup = "sys/fs/cgroup/dlgroup.vm.1000/";
	std::function<nanoseconds(std::uint64_t)> wants = [](std::uint64_t) { return 4ms; };

private:
	int throttled_ = 0;
};

TEST_F(TuneTest, FollowsWhatIsUsed)
{
	// Of the windows of ten periods each the last is as the one before, nearly.
	wants = [](std::uint64_t period) { return period <= 20 ? 8ms : period <= 30 ? 3ms : 3100us; };
	auto done = tune();
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(out_, "pid 1000 (web): 5ms/20ms -> 10ms/20ms: needed 5ms (P99 of 10 periods), used up in 10 of 10\n"
			"pid 1000 (web): 10ms/20ms -> 3.6ms/20ms: needed 3ms (P99 of 10 periods), used up in 0 of 10\n");
	EXPECT_EQ(runtime(), "3600");
	ASSERT_TRUE(call(tool::vm_detach));
	EXPECT_FALSE(std::filesystem::exists(made_.path(kGroup)));
}

TEST_F(TuneTest, StaysWithinItsLimits)
{
	wants = [](std::uint64_t period) { return period <= 30 ? 15ms : 0ms; };
	options_.json = true;
	ASSERT_TRUE(tune());
	EXPECT_EQ(json_["changes"].size(), 3U);
	EXPECT_EQ(json_["changes"][1]["to"]["runtime_ns"], 12000000);
	EXPECT_EQ(json_["reservation"], (nlohmann::json{{"runtime_ns", 2000000}, {"period_ns", 20000000}}));
	EXPECT_EQ(runtime(), "2000");
}

TEST_F(TuneTest, PutsTheRuntimeBackIfAskedTo)
{
	wants = [](std::uint64_t) { return 8ms; };
	options_.duration = "";
	options_.restore = true;
	timer_.end = 25;
	ASSERT_TRUE(tune());
	EXPECT_TRUE(out_.ends_with("\npid 1000 (web): 10ms/20ms -> 5ms/20ms: as it was\n")) << out_;
	EXPECT_EQ(runtime(), "5000");
	EXPECT_TRUE(has_record());
}

TEST_F(TuneTest, ADryRunChangesNothing)
{
	wants = [](std::uint64_t) { return 8ms; };
	options_.dry_run = true;
	ASSERT_TRUE(tune());
	EXPECT_EQ(out_, fmt::format("echo '10000 20000' > {}\n", made_.path(kGroup + "cpu.rt.max").string()));
	EXPECT_EQ(runtime(), "5000");
}

TEST_F(TuneTest, WhatSomebodyElseHasChangedStays)
{
	auto happens = timer_.happens;
	wants = [](std::uint64_t) { return 8ms; };
	options_.restore = true;
	timer_.happens = [&](std::uint64_t period) {
		if (period == 15)
			made_.write(kGroup + "cpu.rt.max", "7000 20000\n");
		happens(period);
	};
	EXPECT_EQ(why(tune()), "pid 1000 (web): its reservation is 7ms/20ms by now, and not 10ms/20ms: somebody else has changed it");
	EXPECT_EQ(runtime(), "7000");
}

TEST_F(TuneTest, DetachedMeanwhileItIsLeftAlone)
{
	auto happens = timer_.happens;
	wants = [](std::uint64_t) { return 8ms; };
	options_.restore = true;
	timer_.happens = [&](std::uint64_t period) {
		if (period == 15)
			std::filesystem::remove(made_.path("run/dlgroup/vm/1000.json"));
		happens(period);
	};
	EXPECT_EQ(why(tune()), "pid 1000 (web): was detached meanwhile");
	EXPECT_EQ(runtime(), "10000");
}

TEST_F(TuneTest, LateReadingsDecideNothing)
{
	wants = [](std::uint64_t) { return 1ms; };
	for (std::uint64_t period = 0; period <= 50; period++)
		timer_.late[period] = 5ms;
	ASSERT_TRUE(tune());
	EXPECT_EQ(out_, "");
	EXPECT_EQ(runtime(), "5000");
}

TEST_F(TuneTest, PeriodsWithoutFiguresAreOfTheWindowToo)
{
	wants = [](std::uint64_t period) { return period > 6 ? 8ms : 4ms; };
	timer_.late[2] = timer_.late[5] = 5ms;
	options_.duration = "200ms";
	ASSERT_TRUE(tune());
	EXPECT_EQ(out_, "pid 1000 (web): 5ms/20ms -> 6ms/20ms: needed 5ms (P99 of 6 periods), used up in 4 of 10\n");
}

TEST_F(TuneTest, RefusesWhatItCannotTune)
{
	auto refused = [&](const std::string &runtime, const std::string &window, const std::string &duration) {
		options_.runtime = runtime;
		options_.window = window;
		options_.duration = duration;
		return why(tune());
	};
	EXPECT_EQ(refused("5ms", "1s", ""), "--runtime: least and most, such as 2ms:10ms");
	EXPECT_EQ(refused("5ms:4ms", "1s", ""), "--runtime: 5ms:4ms is no range from the least to the most");
	EXPECT_EQ(refused("0ms:4ms", "1s", ""), "--runtime: 0ms:4ms is no range from the least to the most");
	EXPECT_EQ(refused("5ms:21ms", "1s", ""), "--runtime: the most is longer than the reservation's 20ms");
	EXPECT_EQ(refused("5:6ms", "1s", ""), "'5': has no unit (ns, us, ms or s)");
	EXPECT_EQ(refused("5ms:6ms", "199ms", ""), "--window: 199ms has fewer than 10 periods of 20ms");
	EXPECT_EQ(refused("5ms:6ms", "1s", "999ms"), "--duration: 999ms is shorter than a window of 1s");
	made_.write(kGroup + "cpu.rt.max", "max 20000\n");
	EXPECT_EQ(refused("5ms:6ms", "1s", ""), "pid 1000 (web): /dlgroup.vm.1000 has no reservation of its own any more");
	made_.write(kGroup + "cpu.rt.max", "5000 20000\n");
	ASSERT_TRUE(call(tool::vm_detach));
	EXPECT_EQ(refused("5ms:6ms", "1s", ""), "pid 1000 (web): is not attached: dlgroup vm attach gives it a reservation");
}

TEST(KernelTimer, PeriodsBeginWhenTheyShould)
{
	tool::KernelTimer timer;
	ASSERT_TRUE(timer.start(1ms));
	std::uint64_t last = 0;
	for (int i = 0; i < 20; i++) {
		// Whoever is late goes on with the one that has begun, not with one later.
		std::this_thread::sleep_for(i == 10 ? 7ms : 0ms);
		auto begun = timer.wait();
		ASSERT_TRUE(begun && *begun);
		EXPECT_GE(timer.passed(**begun), 0ns);
		EXPECT_TRUE(i == 0 || **begun >= last + (i == 10 ? 7 : 1)) << **begun << " after " << last;
		last = **begun;
	}
	EXPECT_GE(timer.passed(0), 25ms);
	EXPECT_GE(timer.tick(), 1ms);
	EXPECT_LE(timer.tick(), 10ms);
}

TEST(KernelTimer, EndsWhenToldTo)
{
	pid_t child = fork();
	if (child == 0) {
		tool::KernelTimer timer;
		if (!timer.start(1h))
			_exit(1);
		raise(SIGINT);
		auto begun = timer.wait();
		_exit(begun && !*begun ? 0 : 2);
	}
	int status = 0;
	waitpid(child, &status, 0);
	EXPECT_EQ(status, 0);
}

} // namespace
} // namespace dlgroup::test
