// SPDX-License-Identifier: GPL-2.0-only
#include <cerrno>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "common.h"

#include <dlgroup/admission.h>
#include <dlgroup/placement.h>

namespace dlgroup {
namespace {

RtMax number(std::int64_t runtime_us, std::int64_t period_us)
{
	return {false, microseconds(runtime_us), microseconds(period_us),
		microseconds(period_us)};
}

// Groups by path, parents first, on CPUs 0-1 unless said otherwise.
class Machine {
public:
	Machine() { add("/", RtMax{}); }

	void add(const std::string &path, const RtMax &value, CpuSet cpus = {0, 1})
	{
		Group group;
		group.path = path;
		group.has_file = path != "/";
		group.rt_max = value;
		group.cpus = std::move(cpus);
		if (value.has_number() && value.runtime.count())
			group.cpus_served = group.cpus;
		if (path != "/")
			group.parent = tree_.find(parent_of(path));
		tree_.groups.push_back(group);
	}

	// The books as the kernel would keep them.
	std::vector<Headroom> headroom() const
	{
		std::vector<Headroom> all;
		for (unsigned cpu : {0U, 1U}) {
			Headroom one;
			one.cpu = cpu;
			one.cap = bandwidth(microseconds(950000), microseconds(1000000));
			one.fair = bandwidth(microseconds(50000), microseconds(1000000));
			for (auto i : tree_.from_root_pool())
				if (tree_.groups[i].cpus.count(cpu))
					one.groups += bandwidth(tree_.groups[i].rt_max);
			one.tasks = tasks_on[cpu];
			one.free = one.cap - one.fair - one.groups - (one_domain ? 0 : one.tasks);
			all.push_back(one);
		}
		return all;
	}

	std::optional<Refusal> refuse(const std::string &path, const RtMax &asked, int error,
				      std::vector<Task> inside = {},
				      std::vector<Task> above = {}) const
	{
		auto books = headroom();
		Situation now{tree_, *tree_.find(path), asked, error, books, std::move(inside),
			      std::move(above)};
		return explain(now);
	}
	std::string text(const std::string &path, const RtMax &asked, int error,
			 std::vector<Task> inside = {}, std::vector<Task> above = {}) const
	{
		auto refusal = refuse(path, asked, error, std::move(inside), std::move(above));
		return refusal ? to_text(*refusal) : "nothing";
	}

	Tree tree_;
	Bandwidth tasks_on[2] = {0, 0};
	bool one_domain = false; // both CPUs: tasks are not tested CPU by CPU
};

std::vector<Task> fifo_tasks()
{
	Task task;
	task.tid = 7;
	task.name = "hog";
	task.policy = {1, 10};
	task.allowed = {0, 1};
	return {task};
}

TEST(Explain, NamesTheCpuThatIsFull)
{
	Machine machine;
	machine.add("/a", number(11, 20), {1});
	machine.add("/c", RtMax{});
	EXPECT_EQ(machine.text("/c", number(12000, 20000), ENOSPC),
		  "refused (rule 1, CPU 1): asked 60.0 %, free 35.0 % of 95.0 % (fair server "
		  "5.0 %, /a 55.0 %); fits: 7ms/20ms");
}

TEST(Explain, IsToldInJson)
{
	Machine machine;
	machine.add("/a", number(11, 20), {1});
	machine.add("/c", RtMax{});
	auto refusal = machine.refuse("/c", number(12000, 20000), ENOSPC);
	ASSERT_TRUE(refusal);
	Error error{Status::refused, "/c", "why", ENOSPC, std::make_shared<const Refusal>(*refusal)};
	::testing::internal::CaptureStdout();
	::testing::internal::CaptureStderr();
	EXPECT_EQ(tool::report(error, true), 3);
	EXPECT_EQ(::testing::internal::GetCapturedStderr(), "dlgroup: /c: why\n");
	EXPECT_EQ(nlohmann::json::parse(::testing::internal::GetCapturedStdout()),
		  nlohmann::json::parse(R"({"schema_version": 1, "error": "refused", "object": "/c",
		"reason": "why", "rule": 1, "cpu": 1,
		"asked": {"runtime_ns": 12000000, "period_ns": 20000000, "ppb": 600000000},
		"free": {"ppb": 350000000}, "of": {"ppb": 950000000},
		"holders": [{"name": "fair server", "ppb": 50000000}, {"name": "/a", "ppb": 550000000}],
		"fits": {"runtime_ns": 7000000, "period_ns": 20000000}})"));
}

TEST(Explain, CountsWhatTheGroupHasAsFree)
{
	Machine machine;
	machine.add("/a", number(10000, 20000));
	machine.add("/c", number(5000, 20000));
	auto refusal = machine.refuse("/c", number(9000, 20000), ENOSPC);
	ASSERT_TRUE(refusal);
	EXPECT_EQ(percent(*refusal->free), "40.0 %");
	EXPECT_EQ(refusal->fits->runtime, microseconds(8000));
}

TEST(Explain, CountsWhatIsBelowTheGroupAsFree)
{
	Machine machine;
	machine.add("/c", RtMax{});
	machine.add("/c/d", number(8000, 20000));
	machine.add("/a", number(10000, 20000));
	auto refusal = machine.refuse("/c", number(9000, 20000), ENOSPC);
	ASSERT_TRUE(refusal);
	EXPECT_EQ(percent(*refusal->free), "40.0 %");
	EXPECT_EQ(refusal->fits->runtime, microseconds(8000));
}

TEST(Explain, NamesTasksAndUnseenGroups)
{
	Machine machine;
	machine.tasks_on[0] = bandwidth(microseconds(1), microseconds(10));
	machine.add("/c", RtMax{});
	auto books = machine.headroom();
	books[0].groups += 1ULL << 46; // in a part of the tree that is not seen
	books[0].free -= 1ULL << 46;
	Situation now{machine.tree_, 1, number(15000, 20000), ENOSPC, books, {}, {}};
	EXPECT_EQ(to_text(*explain(now)),
		  "refused (rule 1, CPU 0): asked 75.0 %, free 55.0 % of 95.0 % (fair server "
		  "5.0 %, other groups 25.0 %, SCHED_DEADLINE tasks 10.0 %); fits: 11ms/20ms");
}

TEST(Explain, ShowsADifferenceHoweverSmall)
{
	Machine machine;
	machine.add("/c", RtMax{});
	EXPECT_EQ(machine.text("/c", number(900001, 1000000), ENOSPC),
		  "refused (rule 1, CPU 0): asked 90.0001 %, free 90.0000 % of 95.0 % (fair "
		  "server 5.0000 %); fits: 900ms/1s");
}

TEST(Explain, OffersNothingWhereNothingFits)
{
	Machine machine;
	machine.add("/a", number(18000, 20000));
	machine.add("/c", RtMax{});
	EXPECT_EQ(machine.text("/c", number(1000, 20000), ENOSPC),
		  "refused (rule 1, CPU 0): asked 5.0 %, free 0.0 % of 95.0 % (fair server 5.0 "
		  "%, /a 90.0 %); fits: nothing with period 20ms");
}

TEST(Explain, ChildOfAReservation)
{
	Machine machine;
	machine.add("/a", number(10000, 20000));
	machine.add("/a/x", number(6000, 20000));
	machine.add("/a/y", RtMax{});
	EXPECT_EQ(machine.text("/a/y", number(5000, 20000), ENOSPC),
		  "refused (rule 2, CPU 0): asked 25.0 %, free 20.0 % of 50.0 % of /a (/a/x "
		  "30.0 %); fits: 4ms/20ms");
}

TEST(Explain, ParentOfReservations)
{
	Machine machine;
	machine.add("/a", number(10000, 20000));
	machine.add("/a/x", number(6000, 20000));
	machine.add("/a/y", number(3000, 20000), {1});
	EXPECT_EQ(machine.text("/a", number(4000, 20000), ENOSPC),
		  "refused (rule 2, CPU 1): asked 20.0 %, its descendants hold 45.0 % (/a/x "
		  "30.0 %, /a/y 15.0 %); fits: 9ms/20ms");
}

TEST(Explain, TasksWouldLoseTheirRuntime)
{
	Machine machine;
	machine.add("/a", number(10000, 20000));
	EXPECT_EQ(machine.text("/a", number(0, 20000), EBUSY, fifo_tasks()),
		  "refused (rule 3): 0 would leave no runtime to the FIFO/RR tasks in it: 7 "
		  "(hog); fits: 100us/20ms");
	// The leftover counts, not the number.
	machine.add("/a/x", number(6000, 20000));
	EXPECT_EQ(machine.text("/a", number(6000, 20000), EBUSY, fifo_tasks()),
		  "refused (rule 3): 6ms/20ms would leave no runtime to the FIFO/RR tasks in "
		  "it: 7 (hog); fits: 6.002ms/20ms");
}

TEST(Explain, TasksOfTheParentWouldLoseTheirs)
{
	Machine machine;
	machine.add("/a", number(10000, 20000));
	machine.add("/a/x", RtMax{});
	EXPECT_EQ(machine.text("/a/x", number(10000, 20000), EBUSY, {}, fifo_tasks()),
		  "refused (rule 3): 10ms/20ms would leave no runtime of /a to its FIFO/RR "
		  "tasks: 7 (hog); fits: 9.998ms/20ms");
}

TEST(Explain, RightsAndLimits)
{
	Machine machine;
	machine.add("/u", number(1000, 20000));
	EXPECT_EQ(machine.text("/u", number(2000, 20000), EPERM),
		  "refused (rule 7): a number taken or raised from the root pool needs "
		  "CAP_SYS_NICE; fits: 1ms/20ms");
	EXPECT_EQ(machine.text("/u", number(50, 20000), EINVAL),
		  "refused (rule 8): asked 50us/20ms, runtime at least 100us, period 1ms to 1s "
		  "(only CAP_SYS_NICE goes beyond, to 1024ns and "
		  "sched_deadline_period_{min,max}_us); fits: 100us/20ms");
	EXPECT_EQ(machine.text("/u", number(5000, 2000000), EINVAL),
		  "refused (rule 8): asked 5ms/2s, runtime at least 100us, period 1ms to 1s "
		  "(only CAP_SYS_NICE goes beyond, to 1024ns and "
		  "sched_deadline_period_{min,max}_us); fits: nothing with this period");
}

// Mainline counts in 2^-20; what groups are promised is rounded up.
TEST(Explain, RootDomainRoundsGroupsUp)
{
	constexpr Bandwidth kUnit = Bandwidth(1) << 28;
	Machine machine;
	machine.add("/c", RtMax{});
	machine.one_domain = true;
	// 2 * (996147 - 52428) are there for all, and a third is 349525.3.
	for (auto &tasks : machine.tasks_on)
		tasks = (2 * (996147 - 52428) - 2 * 349526 + 1) * kUnit;
	EXPECT_NE(machine.text("/c", number(10000, 30000), ENOSPC).find("in this root domain"),
		  std::string::npos);
	for (auto &tasks : machine.tasks_on)
		tasks -= kUnit;
	EXPECT_EQ(machine.text("/c", number(10000, 30000), ENOSPC).find("in this root domain"),
		  std::string::npos);
}

TEST(Explain, RootDomainSharedWithTasks)
{
	Machine machine;
	machine.add("/c", RtMax{});
	machine.one_domain = true;
	// Two CPUs at 95 %, fair servers 5 % each, tasks 140 %: 40 % left for both.
	for (auto &tasks : machine.tasks_on)
		tasks = bandwidth(microseconds(140), microseconds(100));
	EXPECT_EQ(machine.text("/c", number(10000, 20000), ENOSPC),
		  "refused (rule 1, CPUs 0-1): asked 50.0 % on 2 of 2 CPUs, which with what "
		  "SCHED_DEADLINE tasks and servers hold in this root domain passes its cap; "
		  "fits: 4ms/20ms");
	// What passes the test of each CPU may still be too much for the domain:
	// then the offer is what passes both.
	auto refusal = machine.refuse("/c", number(19000, 20000), ENOSPC);
	ASSERT_TRUE(refusal);
	EXPECT_EQ(refusal->cpus, (CpuSet{0}));
	EXPECT_EQ(refusal->fits->runtime, microseconds(4000));
	for (auto &tasks : machine.tasks_on)
		tasks = bandwidth(microseconds(200), microseconds(100));
	EXPECT_FALSE(machine.refuse("/c", number(10000, 20000), ENOSPC)->fits);
}

TEST(Explain, PinnedTaskLosesItsOnlyCpu)
{
	Machine machine;
	machine.add("/a", number(10000, 20000));
	machine.add("/a/x", RtMax{}, {1});
	auto tasks = fifo_tasks();
	// The other CPU is enough for a task that can go there.
	EXPECT_FALSE(machine.refuse("/a/x", number(10000, 20000), EBUSY, {}, tasks));
	tasks[0].allowed = {1};
	auto refusal = machine.refuse("/a/x", number(10000, 20000), EBUSY, {}, tasks);
	ASSERT_TRUE(refusal);
	EXPECT_EQ(refusal->fits->runtime, microseconds(9998));
}

TEST(Explain, KnowsWhenItDoesNotKnow)
{
	Machine machine;
	machine.add("/c", RtMax{});
	EXPECT_FALSE(machine.refuse("/c", number(1000, 20000), ENOSPC));
	EXPECT_FALSE(machine.refuse("/c", number(1000, 20000), EBUSY));
	EXPECT_FALSE(machine.refuse("/c", number(1000, 20000), EINVAL));
	EXPECT_FALSE(machine.refuse("/c", number(1000, 20000), EIO));
}

// A group that has lost a CPU holds nothing there, whatever it may run on.
TEST(Predict, OnlyWhatIsGrantedCounts)
{
	Machine machine;
	machine.add("/a", number(16000, 20000));
	machine.add("/c", RtMax{}, {1});
	auto books = machine.headroom();
	Situation now{machine.tree_, 2, number(18000, 20000), 0, books, {}, {}};
	EXPECT_EQ(predict(now, {}), ENOSPC);
	machine.tree_.groups[1].cpus_served = {0};
	books[1].groups = 0;
	EXPECT_EQ(predict(now, {}), 0);
	now.asked.runtime += microseconds(1);
	EXPECT_EQ(predict(now, {}), ENOSPC);
}

// Below it there may be groups that leave it nothing: it is granted all the same.
TEST(Predict, WhatIsCarvedAwayIsGrantedToo)
{
	Machine machine;
	machine.add("/a", number(10000, 20000));
	machine.add("/a/x", number(10000, 20000));
	machine.add("/a/y", RtMax{});
	machine.tree_.groups[1].cpus_served = {};
	auto books = machine.headroom();
	EXPECT_EQ(predict({machine.tree_, 3, number(1000, 20000), 0, books, {}, {}}, {}), ENOSPC);
	EXPECT_EQ(predict({machine.tree_, 1, number(9999, 20000), 0, books, {}, {}}, {}), ENOSPC);
	EXPECT_EQ(predict({machine.tree_, 1, number(18000, 20000), 0, books, {}, {}}, {}), 0);
	EXPECT_EQ(predict({machine.tree_, 1, number(18001, 20000), 0, books, {}, {}}, {}), ENOSPC);
}

// On CPUs where the ancestor has no reservation there is none below it.
TEST(Predict, AnAncestorWithoutACommonCpu)
{
	Machine machine;
	machine.add("/a", number(10000, 20000));
	machine.tree_.groups[1].cpus_served = {0};
	machine.add("/a/x", number(8000, 20000), {0});
	machine.add("/a/y", RtMax{}, {1});
	machine.add("/a/z", RtMax{});
	EXPECT_EQ(machine.text("/a/y", number(1000, 20000), ENOSPC),
		  "refused (rule 2): /a has no reservation on any CPU of the group; fits: nothing with "
		  "period 20ms");
	auto books = machine.headroom();
	EXPECT_EQ(predict({machine.tree_, 3, number(1000, 20000), 0, books, {}, {}}, {}), ENOSPC);
	EXPECT_EQ(predict({machine.tree_, 4, number(2000, 20000), 0, books, {}, {}}, {}), 0);
	EXPECT_EQ(predict({machine.tree_, 4, number(2001, 20000), 0, books, {}, {}}, {}), ENOSPC);
}

// Two root domains whose tasks have the same sum are two all the same.
TEST(Predict, RootDomainsAreTheKernels)
{
	Machine machine;
	machine.tasks_on[0] = machine.tasks_on[1] = bandwidth(number(500, 1000));
	machine.add("/c", RtMax{}, {0});
	auto predicted = [&](std::int64_t runtime_us) {
		auto books = machine.headroom();
		return predict({machine.tree_, 1, number(runtime_us, 20000), 0, books, {}, {}}, {});
	};
	machine.tree_.root_domains = {{0}, {1}};
	EXPECT_EQ(predicted(8000), 0); // 40 % of it
	EXPECT_EQ(predicted(8001), ENOSPC);
	machine.one_domain = true;
	machine.tree_.root_domains = {{0, 1}};
	EXPECT_EQ(predicted(18000), 0); // of 130 % in both
	machine.tree_.root_domains.clear(); // not known: the same sum, so one
	EXPECT_EQ(predicted(18000), 0);
	// The books say otherwise than cpusets: two.
	machine.tree_.root_domains = {{0, 1}};
	machine.tasks_on[1] = 0;
	EXPECT_FALSE(knows_root_domains(machine.tree_, machine.headroom()));
	EXPECT_EQ(predicted(8000), 0);
	EXPECT_EQ(predicted(8001), ENOSPC);
}

// There what the group has is counted in 2^-20, rounded up, as what it asks for.
TEST(Predict, OneCpuWithTasksRoundsWhatTheGroupHas)
{
	constexpr Bandwidth kUnit = Bandwidth(1) << 28;
	Machine machine;
	machine.tree_.root_domains = {{0}, {1}};
	machine.add("/c", number(10000, 30000), {0});
	// A third is 349525.3, so 349526, and 943719 are there.
	machine.tasks_on[0] = (996147 - 52428 - 349526) * kUnit;
	auto predicted = [&](std::int64_t runtime_us, std::int64_t period_us) {
		auto books = machine.headroom();
		books[0].free = 0;
		return predict({machine.tree_, 1, number(runtime_us, period_us), 0, books, {}, {}}, {});
	};
	EXPECT_EQ(predicted(10000, 30000), 0);
	EXPECT_EQ(predicted(349526, 1 << 20), 0); // a little more, the same when rounded
	EXPECT_EQ(predicted(349527, 1 << 20), ENOSPC);
	machine.tasks_on[0] += kUnit;
	EXPECT_EQ(predicted(10000, 30000), ENOSPC);
}

TEST(Predict, RightsLimitsAndTasksInTheKernelsOrder)
{
	Machine machine;
	machine.add("/a", number(10000, 20000));
	machine.add("/a/x", RtMax{});
	auto books = machine.headroom();
	auto predicted = [&](std::size_t group, const RtMax &asked, const Asker &asker,
			     const std::vector<Task> &inside = {}, const std::vector<Task> &above = {}) {
		return predict({machine.tree_, group, asked, 0, books, inside, above}, asker);
	};
	const Asker root, user{.capable = false}, keeps{.capable = false, .period_given = false};
	EXPECT_EQ(predicted(1, number(11000, 20000), root), 0);
	EXPECT_EQ(predicted(1, number(11000, 20000), user), EPERM);
	EXPECT_EQ(predicted(1, number(19000, 20000), user), EPERM); // before it is looked whether it fits
	EXPECT_EQ(predicted(1, number(9000, 20000), user), 0);
	EXPECT_EQ(predicted(2, number(9000, 20000), user), 0);
	EXPECT_EQ(predicted(1, number(99, 20000), root), 0);
	EXPECT_EQ(predicted(1, number(99, 20000), user), EINVAL);
	EXPECT_EQ(predicted(1, number(1, 20000), root), EINVAL);
	EXPECT_EQ(predicted(1, number(20001, 20000), root), EINVAL);
	EXPECT_EQ(predicted(1, number(0, 1000001), user), EINVAL);
	EXPECT_EQ(predicted(1, number(100, 1000001), keeps), 0);
	EXPECT_EQ(predicted(1, number(100, 1000001), root), 0);
	EXPECT_EQ(predicted(1, number(100, 4194305), root), EINVAL);
	EXPECT_EQ(predicted(1, number(0, 20000), root, fifo_tasks()), EBUSY);
	EXPECT_EQ(predicted(2, number(10000, 20000), root, {}, fifo_tasks()), EBUSY);
	EXPECT_EQ(predicted(2, number(9998, 20000), root, {}, fifo_tasks()), 0);
	// Those that are in the group now use its servers then, not the ancestor's.
	EXPECT_EQ(predicted(2, number(10000, 20000), root, fifo_tasks(), fifo_tasks()), 0);
	// One that has been without before loses nothing.
	machine.tree_.groups[1].cpus_served = {0};
	auto pinned = fifo_tasks();
	pinned[0].allowed = {1};
	EXPECT_EQ(predicted(1, number(0, 20000), root, pinned), 0);
}

TEST(Foresee, SaysOfAGroupToBeMadeWhatTheKernelWould)
{
	Machine machine;
	machine.add("/a", number(11, 20), {1});
	auto books = machine.headroom();
	auto text = [&](const std::string &group, std::int64_t runtime_us, std::optional<CpuSet> cpus) {
		auto refusal = foresee(machine.tree_, group, number(runtime_us, 20000), cpus, books);
		return refusal ? to_text(*refusal) : "nothing";
	};
	EXPECT_EQ(text("/s/c", 12000, std::nullopt),
		  "refused (rule 1, CPU 1): asked 60.0 %, free 35.0 % of 95.0 % (fair server 5.0 %, "
		  "/a 55.0 %); fits: 7ms/20ms");
	EXPECT_EQ(text("/s/c", 7000, std::nullopt), "nothing");
	EXPECT_EQ(text("/s/c", 12000, CpuSet{0}), "nothing");
	// Below a number only what is left of it counts.
	EXPECT_EQ(text("/a/b/c", 12000, std::nullopt),
		  "refused (rule 2, CPU 1): asked 60.0 %, free 55.0 % of 55.0 % of /a; fits: 11ms/20ms");
	EXPECT_EQ(text("/a/b/c", 11000, std::nullopt), "nothing");
	// The group is there already, without a number.
	machine.add("/c", RtMax{});
	EXPECT_EQ(text("/c", 12000, CpuSet{0}), "nothing");
	EXPECT_NE(text("/c", 12000, CpuSet{1}), "nothing");
}

TEST(Foresee, LeavesToTheKernelWhatOnlyItKnows)
{
	Machine machine;
	machine.one_domain = true;
	machine.tasks_on[0] = machine.tasks_on[1] = bandwidth(number(900, 1000));
	machine.add("/c", RtMax{});
	ASSERT_TRUE(machine.refuse("/c", number(18000, 20000), ENOSPC));
	EXPECT_FALSE(foresee(machine.tree_, "/d", number(18000, 20000), std::nullopt, machine.headroom()));
	auto known = machine.tree_;
	known.root_domains = {{0, 1}};
	EXPECT_TRUE(foresee(known, "/d", number(18000, 20000), std::nullopt, machine.headroom()));
	EXPECT_FALSE(foresee(machine.tree_, "/d", number(18000, 20000), std::nullopt, {}));
}

TEST(Place, TakesTheFullestCpusThatHaveRoom)
{
	Machine machine;
	machine.add("/a", number(11, 20), {1});
	auto find = [&](const std::string &group, std::int64_t runtime_us, std::size_t count) {
		return place(machine.tree_, group, number(runtime_us, 20000), count, machine.headroom());
	};
	auto found = find("/c", 7000, 1);
	EXPECT_EQ(found.cpus, CpuSet{1});
	EXPECT_FALSE(found.refusal);
	ASSERT_EQ(found.places.size(), 2U);
	EXPECT_EQ(percent(found.places[0].free), "90.0 %");
	EXPECT_EQ(percent(found.places[1].free), "35.0 %");
	EXPECT_EQ(found.places[0].largest, number(18000, 20000));
	EXPECT_EQ(found.places[1].largest, number(7000, 20000));
	EXPECT_EQ(find("/c", 7001, 1).cpus, CpuSet{0});
	EXPECT_TRUE(find("/c", 18000, 1).places[0].fits);
	EXPECT_FALSE(find("/c", 18000, 1).places[1].fits);
	EXPECT_EQ(find("/c", 7000, 2).cpus, (CpuSet{0, 1}));
	found = find("/c", 12000, 2);
	EXPECT_TRUE(found.cpus.empty());
	ASSERT_TRUE(found.refusal);
	EXPECT_EQ(to_text(*found.refusal),
		  "refused (rule 1, CPU 1): asked 60.0 %, free 35.0 % of 95.0 % (fair server 5.0 %, "
		  "/a 55.0 %); fits: 7ms/20ms");
	EXPECT_EQ(find("/c", 19000, 1).refusal->cpus, CpuSet{0});
	// More CPUs than there are; and what the group has itself is free for it.
	EXPECT_TRUE(find("/c", 1000, 3).cpus.empty());
	EXPECT_EQ(find("/a", 18000, 1).cpus, CpuSet{1});
	EXPECT_EQ(percent(find("/a", 18000, 1).places[0].free), "90.0 %");
}

TEST(Place, BelowANumberOnlyItsRestCounts)
{
	Machine machine;
	machine.add("/a", number(11000, 20000));
	machine.add("/a/x", number(8000, 20000), {0});
	auto books = machine.headroom();
	auto found = place(machine.tree_, "/a/y/z", number(4000, 20000), 1, books);
	EXPECT_EQ(found.cpus, CpuSet{1});
	ASSERT_EQ(found.places.size(), 2U);
	EXPECT_EQ(found.places[0].largest, number(3000, 20000));
	EXPECT_EQ(percent(found.places[1].free), "55.0 %");
	found = place(machine.tree_, "/a/y/z", number(4000, 20000), 2, books);
	ASSERT_TRUE(found.refusal);
	EXPECT_EQ(found.refusal->rule, Rule::hierarchy);
	EXPECT_EQ(found.refusal->cpus, CpuSet{0});
}

// 90 % of two CPUs are left for both together.
TEST(Place, CountsTheTasksOfARootDomainOnce)
{
	Machine machine;
	machine.one_domain = true;
	machine.tasks_on[0] = machine.tasks_on[1] = bandwidth(number(900, 1000));
	auto find = [&](std::int64_t runtime_us, std::size_t count) {
		return place(machine.tree_, "/c", number(runtime_us, 20000), count, machine.headroom());
	};
	EXPECT_EQ(find(12000, 1).cpus, CpuSet{0});
	EXPECT_EQ(find(8000, 2).cpus, (CpuSet{0, 1}));
	auto found = find(12000, 2);
	EXPECT_TRUE(found.cpus.empty());
	ASSERT_TRUE(found.refusal);
	EXPECT_EQ(found.refusal->rule, Rule::fits_cpu);
	EXPECT_EQ(found.refusal->cpus, (CpuSet{0, 1}));
	ASSERT_TRUE(found.refusal->fits);
	EXPECT_GE(found.refusal->fits->runtime, microseconds(8000));
	EXPECT_EQ(find(found.refusal->fits->runtime.count(), 2).cpus, (CpuSet{0, 1}));
}

// Whatever is offered passes the very rules by which the rest was refused,
// and one microsecond more would not.
TEST(Explain, OfferIsTheLargestThatFits)
{
	ASSERT_TRUE(rc::check("offer", [] {
		auto period = *rc::gen::inRange<std::int64_t>(1000, 1000001);
		auto taken = *rc::gen::inRange<std::int64_t>(1, 900);
		auto other = *rc::gen::inRange<std::int64_t>(1000, 1000001);
		Machine machine;
		machine.add("/a", number(other * taken / 1000, other));
		machine.add("/c", RtMax{});
		auto refusal = machine.refuse("/c", number(period, period), ENOSPC);
		RC_ASSERT(refusal.has_value());
		auto room = machine.headroom()[0].free;
		RC_ASSERT(*refusal->free == room);
		if (!refusal->fits) {
			RC_ASSERT(bandwidth(number(kMinRuntime.count(), period)) > room);
			return;
		}
		auto fits = refusal->fits->runtime.count();
		RC_ASSERT(refusal->fits->period.count() == period);
		RC_ASSERT(bandwidth(number(fits, period)) <= room);
		RC_ASSERT(bandwidth(number(fits + 1, period)) > room);
	}));
}

} // namespace
} // namespace dlgroup
