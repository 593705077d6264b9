// SPDX-License-Identifier: GPL-2.0-only
// Changes, and the verbs built on them, on made trees.
#include <gtest/gtest.h>
#include <sched.h>

#include "common.h"
#include "made_tree.h"

namespace dlgroup::test {
namespace {

class ChangesTest : public ::testing::Test {
protected:
	ChangesTest() : made_(MadeTree::machine()), tasks_(made_), groups_(made_)
	{
		made_.add_group("/a", "5000 20000");
		made_.add_task(42, "hog", SCHED_OTHER, 0, "/");
		made_.add_task(43, "cog", SCHED_FIFO, 3, "/a");
	}
	std::string file(const std::string &name)
	{
		return trimmed(made_.read("sys/fs/cgroup" + name));
	}
	Roots running()
	{
		auto roots = made_.roots();
		roots.running = true; // the fakes stand for the kernel
		return roots;
	}
	Policy policy(pid_t tid) { return read_task(made_.roots(), tid)->policy; }
	Result<int> call(Result<int> (*verb)(const tool::Context &), const tool::Options &options)
	{
		auto roots = running();
		::testing::internal::CaptureStdout();
		::testing::internal::CaptureStderr();
		auto result = verb(tool::Context{options, roots, groups_, tasks_});
		out_ = ::testing::internal::GetCapturedStdout();
		err_ = ::testing::internal::GetCapturedStderr();
		return result;
	}

	MadeTree made_;
	MadeTaskControl tasks_;
	MadeGroupControl groups_;
	std::string out_, err_;
};

TEST_F(ChangesTest, AreUndoneInReverse)
{
	auto roots = running();
	{
		Changes changes(roots, groups_, tasks_, false);
		ASSERT_TRUE(changes.create("/new"));
		ASSERT_TRUE(changes.write("/new", "cpu.rt.max", "1000 20000", "max"));
		ASSERT_TRUE(changes.write("/a", "cpu.rt.max", "1 2", "5000 20000"));
		ASSERT_TRUE(changes.write("/a", "cpu.rt.max", "3 4", "1 2"));
		ASSERT_TRUE(changes.attach("/a", 42));
		ASSERT_TRUE(changes.set_policy(42, {SCHED_FIFO, 9}));
		EXPECT_EQ(policy(42), (Policy{SCHED_FIFO, 9}));
		EXPECT_EQ(file("/a/cpu.rt.max"), "3 4");
		EXPECT_EQ(read_task(roots, 42)->cgroup, "/a");
	}
	EXPECT_EQ(file("/a/cpu.rt.max"), "5000 20000");
	EXPECT_FALSE(std::filesystem::exists(made_.path("sys/fs/cgroup/new")));
	EXPECT_EQ(policy(42), (Policy{SCHED_OTHER, 0}));
	EXPECT_EQ(read_task(roots, 42)->cgroup, "/");
}

TEST_F(ChangesTest, StayWhenKept)
{
	auto roots = running();
	{
		Changes changes(roots, groups_, tasks_, false);
		ASSERT_TRUE(changes.write("/a", "cpu.rt.max", "1000 20000", "5000 20000"));
		changes.keep();
	}
	EXPECT_EQ(file("/a/cpu.rt.max"), "1000 20000");
}

TEST_F(ChangesTest, SayWhatCouldNotBePutBack)
{
	auto roots = running();
	Changes changes(roots, groups_, tasks_, false);
	ASSERT_TRUE(changes.write("/a", "cpu.rt.max", "1000 20000", "5000 20000"));
	std::filesystem::remove(made_.path("sys/fs/cgroup/a/cpu.rt.max"));
	auto failures = changes.undo();
	ASSERT_EQ(failures.size(), 1U);
	EXPECT_NE(failures[0].find("not put back"), std::string::npos);
}

TEST_F(ChangesTest, OfADryRunAreOnlyTold)
{
	auto roots = running();
	Changes changes(roots, groups_, tasks_, true);
	ASSERT_TRUE(changes.create("/new"));
	ASSERT_TRUE(changes.write("/new", "cpu.rt.max", "1000 20000", "max"));
	ASSERT_TRUE(changes.attach("/new", 42));
	ASSERT_TRUE(changes.set_policy(42, {SCHED_RR, 9}));
	auto base = made_.base() + "/sys/fs/cgroup/new";
	EXPECT_EQ(changes.steps(),
		  (std::vector<std::string>{"mkdir " + base,
					    "echo '1000 20000' > " + base + "/cpu.rt.max",
					    "echo '42' > " + base + "/cgroup.procs",
					    "chrt --rr --pid 9 42"}));
	EXPECT_FALSE(std::filesystem::exists(base));
	EXPECT_EQ(policy(42), (Policy{SCHED_OTHER, 0}));
}

TEST_F(ChangesTest, EndedTasksAreNoFailure)
{
	auto roots = running();
	Changes changes(roots, groups_, tasks_, false);
	EXPECT_TRUE(changes.set_policy(4711, {SCHED_FIFO, 1}));
}

TEST_F(ChangesTest, SetMakesTheGroupAndItsPolicy)
{
	tool::Options options;
	options.target = "/a";
	options.res = "2ms/10ms";
	options.fifo = 7;
	auto done = call(tool::set, options);
	ASSERT_TRUE(done) << done.error().reason;
	EXPECT_EQ(file("/a/cpu.rt.max"), "2000 10000");
	EXPECT_EQ(policy(43), (Policy{SCHED_FIFO, 7}));
	EXPECT_EQ(out_, "/a: 2ms/10ms on CPUs 0-1 (20 % of 2 CPUs = 0.40 CPU)\n");
	EXPECT_EQ(err_, "");

	options.target = "/a/b";
	options.fifo = 0;
	ASSERT_TRUE(call(tool::set, options));
	EXPECT_EQ(file("/a/b/cpu.rt.max"), "2000 10000");
	EXPECT_EQ(file("/a/cgroup.subtree_control"), "+cpu");
	EXPECT_EQ(out_, "/a/b: 2ms/10ms on CPUs 0-1 (20 % of 2 CPUs = 0.40 CPU), carved out of "
			"/a\n");
	EXPECT_EQ(err_, "dlgroup: /a/b: reserved 2ms/10ms, nothing in it is FIFO/RR and `fair` is "
			"not set\n");
}

TEST_F(ChangesTest, SetLeavesNothingBehindWhenATaskRefuses)
{
	made_.add_task(44, "third", SCHED_OTHER, 0, "/a");
	made_.add_task(45, "fourth", SCHED_OTHER, 0, "/a");
	tasks_.refused = 45;
	tool::Options options;
	options.target = "/a";
	options.res = "2ms/10ms";
	options.fifo = 7;
	auto done = call(tool::set, options);
	ASSERT_FALSE(done);
	EXPECT_EQ(file("/a/cpu.rt.max"), "5000 20000");
	EXPECT_EQ(policy(43), (Policy{SCHED_FIFO, 3}));
	EXPECT_EQ(policy(44), (Policy{SCHED_OTHER, 0}));
}

TEST_F(ChangesTest, SetRemovesWhatItMadeWhenRefused)
{
	std::filesystem::create_directories(made_.path("sys/fs/cgroup/b"));
	made_.write("sys/fs/cgroup/b/cgroup.subtree_control", "");
	// A cgroup that gets no cpu.rt.max: the group control makes one, so take
	// the file away from an existing one instead.
	std::filesystem::remove(made_.path("sys/fs/cgroup/a/cpu.rt.max"));
	tool::Options options;
	options.target = "/a";
	options.res = "2ms/10ms";
	auto done = call(tool::set, options);
	ASSERT_FALSE(done);
	EXPECT_EQ(done.error().status, Status::unsupported);

	options.target = "/b/c/d";
	done = call(tool::set, options);
	ASSERT_FALSE(done);
	EXPECT_EQ(done.error().status, Status::bad_input);
	EXPECT_FALSE(std::filesystem::exists(made_.path("sys/fs/cgroup/b/c")));
}

TEST_F(ChangesTest, SetRefusesCpusItCannotHave)
{
	made_.write("sys/fs/cgroup/cgroup.subtree_control", "cpu cpuset\n");
	made_.write("sys/fs/cgroup/a/cpuset.cpus", "0-1\n");
	made_.write("sys/fs/cgroup/a/cpuset.cpus.effective", "0-1\n");
	tool::Options options;
	options.target = "/a";
	options.res = "2ms/10ms";
	options.cpus = "0,5";
	auto done = call(tool::set, options);
	ASSERT_FALSE(done);
	EXPECT_EQ(done.error().status, Status::bad_input);
	EXPECT_EQ(done.error().reason, "CPU 5 is not available to it (it may use CPUs 0-1)");
	EXPECT_EQ(file("/a/cpuset.cpus"), "0-1");
	EXPECT_EQ(file("/a/cpu.rt.max"), "5000 20000");
}

TEST_F(ChangesTest, APlanIsCarriedOutAsAWhole)
{
	made_.add_group("/b", "2000 20000");
	made_.add_group("/a/x", "4000 20000");
	made_.write("plan", R"([{"group": "/c/in", "cpu_rt_max": "1000 20000"},
				{"group": "/b", "cpu_rt_max": "9000 20000"},
				{"group": "/c", "cpu_rt_max": "3000 20000"},
				{"group": "/a", "cpu_rt_max": "2000 20000", "policy": "RR 5"},
				{"group": "/a/x", "cpu_rt_max": "1000 20000"}])");
	tool::Options options;
	options.plan = made_.path("plan").string();
	options.dry_run = true;
	ASSERT_TRUE(call(tool::set, options));
	std::string base = made_.base() + "/sys/fs/cgroup";
	// What is given back first, the leaf before its parent; then what is taken.
	EXPECT_EQ(out_, "echo '+cpu' > " + base + "/a/cgroup.subtree_control\n"
			"echo '1000 20000' > " + base + "/a/x/cpu.rt.max\n"
			"echo '2000 20000' > " + base + "/a/cpu.rt.max\n"
			"chrt --rr --pid 5 43\n"
			"echo '9000 20000' > " + base + "/b/cpu.rt.max\n"
			"mkdir " + base + "/c\n"
			"echo '3000 20000' > " + base + "/c/cpu.rt.max\n"
			"echo '+cpu' > " + base + "/c/cgroup.subtree_control\n"
			"mkdir " + base + "/c/in\n"
			"echo '1000 20000' > " + base + "/c/in/cpu.rt.max\n");
	EXPECT_EQ(file("/b/cpu.rt.max"), "2000 20000");

	options.dry_run = false;
	auto done = call(tool::set, options);
	ASSERT_TRUE(done) << done.error().reason;
	EXPECT_EQ(file("/a/cpu.rt.max"), "2000 20000");
	EXPECT_EQ(file("/a/x/cpu.rt.max"), "1000 20000");
	EXPECT_EQ(file("/b/cpu.rt.max"), "9000 20000");
	EXPECT_EQ(file("/c/in/cpu.rt.max"), "1000 20000");
	EXPECT_EQ(policy(43), (Policy{SCHED_RR, 5}));
	// Told in the order of the file.
	EXPECT_TRUE(out_.starts_with("/c/in: 1ms/20ms on CPUs 0-1 (5 % of 2 CPUs = 0.10 CPU), carved "
				     "out of /c\n/b: 9ms/20ms")) << out_;
}

TEST_F(ChangesTest, APlanThatFailsLeavesNothingBehind)
{
	made_.add_task(44, "last", SCHED_OTHER, 0, "/a");
	made_.write("plan", R"([{"group": "/a", "cpu_rt_max": "1000 20000", "policy": "RR 5"},
				{"group": "/new", "cpu_rt_max": "1000 20000"},
				{"group": "/no/such", "cpu_rt_max": "2000 20000"}])");
	tool::Options options;
	options.plan = made_.path("plan").string();
	auto done = call(tool::set, options);
	ASSERT_FALSE(done);
	EXPECT_EQ(done.error().status, Status::bad_input);
	EXPECT_EQ(done.error().object, "/no/such");
	EXPECT_EQ(file("/a/cpu.rt.max"), "5000 20000");
	EXPECT_EQ(policy(43), (Policy{SCHED_FIFO, 3}));
	EXPECT_EQ(policy(44), (Policy{SCHED_OTHER, 0}));
	EXPECT_FALSE(std::filesystem::exists(made_.path("sys/fs/cgroup/new")));
}

TEST_F(ChangesTest, AttachMovesAllOrNone)
{
	tool::Options options;
	options.target = "/a";
	options.pids = {42, 43};
	options.rr = 5;
	auto done = call(tool::attach, options);
	ASSERT_TRUE(done) << done.error().reason;
	EXPECT_EQ(read_task(made_.roots(), 42)->cgroup, "/a");
	EXPECT_EQ(policy(42), (Policy{SCHED_RR, 5}));
	EXPECT_EQ(out_, "/a: attached 42 43\n");

	made_.add_group("/b", "5000 20000");
	groups_.refused = 43;
	options.target = "/b";
	options.rr = 6;
	done = call(tool::attach, options);
	ASSERT_FALSE(done);
	EXPECT_EQ(read_task(made_.roots(), 42)->cgroup, "/a");
	EXPECT_EQ(policy(42), (Policy{SCHED_RR, 5}));
	options.pids = {4711};
	EXPECT_EQ(call(tool::attach, options).error().status, Status::bad_input);
}

TEST_F(ChangesTest, AttachSaysWhoseRuntimeIsMissing)
{
	made_.add_group("/zero", "0 100000");
	made_.write("sys/fs/cgroup/zero/cpu.rt.max.effective.local", "0 100000\n");
	groups_.refused = 43;
	tool::Options options;
	options.target = "/zero";
	options.pids = {43};
	auto done = call(tool::attach, options);
	ASSERT_FALSE(done);
	EXPECT_EQ(done.error().status, Status::refused);
	EXPECT_EQ(done.error().object, "/zero");
	EXPECT_EQ(done.error().reason,
		  "refused (rule 3): pid 43: the servers of /zero have no runtime of their own "
		  "for FIFO/RR tasks");
}

TEST_F(ChangesTest, DetachGoesAboveTheReservation)
{
	made_.add_group("/s", "max 100000");
	made_.add_group("/s/r", "5000 20000");
	made_.add_group("/s/r/own", "1000 20000");
	made_.add_task(50, "deep", SCHED_FIFO, 1, "/s/r/own");
	tool::Options options;
	options.pids = {50};
	auto done = call(tool::detach, options);
	ASSERT_TRUE(done) << done.error().reason;
	EXPECT_EQ(read_task(made_.roots(), 50)->cgroup, "/s");
	EXPECT_EQ(err_, "dlgroup: pid 50: is FIFO 1 and now runs outside of every reservation\n");
	EXPECT_FALSE(call(tool::detach, options));
}

TEST_F(ChangesTest, RmNamesWhoIsInside)
{
	tool::Options options;
	options.target = "/a";
	auto done = call(tool::rm, options);
	ASSERT_FALSE(done);
	EXPECT_EQ(done.error().reason, "has processes: 43");
	made_.add_group("/a/b", "max 100000");
	EXPECT_EQ(call(tool::rm, options).error().reason, "has children: /a/b");
	options.target = "/a/b";
	ASSERT_TRUE(call(tool::rm, options));
	EXPECT_EQ(out_, "/a/b: removed\n");
	EXPECT_FALSE(std::filesystem::exists(made_.path("sys/fs/cgroup/a/b")));
}

} // namespace
} // namespace dlgroup::test
