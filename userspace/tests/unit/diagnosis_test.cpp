// SPDX-License-Identifier: GPL-2.0-only
// Every finding: the fault is made in a tree, found, and its printed remedy is
// given to a shell; then it has to be gone. `obey` plays the kernel's part
// where writing a file changes another.
#include <algorithm>
#include <cstdlib>
#include <functional>

#include <gtest/gtest.h>
#include <sched.h>

#include <dlgroup/diagnosis.h>

#include "made_tree.h"

namespace dlgroup::test {
namespace {

std::set<std::string> &tested()
{
	static std::set<std::string> ids;
	return ids;
}

class DiagnosisTest : public ::testing::Test {
protected:
	DiagnosisTest() : made_(MadeTree::machine()), control_(made_) {}

	void reservation(const std::string &group, const std::string &value, bool served = true)
	{
		made_.add_group(group, value);
		if (served)
			made_.add_task(next_++, "served", SCHED_FIFO, 1, group);
	}

	std::vector<Finding> look(std::optional<std::string> group = std::nullopt, bool irq = false)
	{
		auto facts = gather_facts(made_.roots(), control_, [this] {
			if (meanwhile)
				meanwhile();
		});
		return diagnose(*facts, group, irq);
	}
	std::optional<Finding> find(const std::string &id,
				    std::optional<std::string> group = std::nullopt)
	{
		for (const auto &finding : look(group))
			if (finding.id == id)
				return finding;
		return std::nullopt;
	}
	void apply(const std::string &command)
	{
		auto path = std::filesystem::path(DLGROUP_COMMAND).parent_path().string();
		auto line = "PATH=" + path + ":$PATH; (" + command + ") > /dev/null";
		ASSERT_EQ(std::system(line.c_str()), 0) << command;
	}
	void found_and_mended(const std::string &id, const std::function<void()> &obey = [] {},
			      std::optional<std::string> group = std::nullopt)
	{
		auto finding = find(id, group);
		ASSERT_TRUE(finding) << id;
		EXPECT_FALSE(finding->what.empty());
		EXPECT_FALSE(finding->why.empty());
		ASSERT_TRUE(finding->is_command);
		apply(finding->remedy);
		obey();
		EXPECT_FALSE(find(id, group)) << finding->remedy;
		tested().insert(id);
	}
	// The remedy is no command: the test does what it says.
	void found_and_told(const std::string &id, const std::string &remedy,
			    const std::function<void()> &obey)
	{
		auto finding = find(id);
		ASSERT_TRUE(finding) << id;
		EXPECT_FALSE(finding->is_command);
		EXPECT_EQ(finding->remedy, remedy);
		obey();
		EXPECT_FALSE(find(id));
		tested().insert(id);
	}

	MadeTree made_;
	MadeTaskControl control_;
	std::function<void()> meanwhile;
	pid_t next_ = 100;
};

TEST_F(DiagnosisTest, NothingOnAMachineThatIsWellSet)
{
	EXPECT_TRUE(look().empty());
	reservation("/a", "5000 20000");
	EXPECT_TRUE(look().empty());
	EXPECT_TRUE(look("/a").empty());
}

TEST_F(DiagnosisTest, NoSupport)
{
	made_.add_group("/a", "max 100000");
	made_.write("sys/fs/cgroup/a/cpu.weight", "100\n");
	std::filesystem::remove(made_.path("sys/fs/cgroup/a/cpu.rt.max"));
	found_and_told("no-support", "boot a kernel built with CONFIG_DL_GROUP_SCHED=y",
		       [&] { made_.write("sys/fs/cgroup/a/cpu.rt.max", "max 100000\n"); });
}

TEST_F(DiagnosisTest, CgroupV1)
{
	made_.write("proc/self/mounts", "cgroup " + made_.base() + "/v1 cgroup rw,cpu 0 0\n"
					"none /x cgroup rw,memory 0 0\n");
	auto finding = find("cgroup-v1");
	ASSERT_TRUE(finding);
	EXPECT_EQ(finding->severity, Severity::error);
	EXPECT_EQ(finding->remedy, "umount " + made_.base() + "/v1");
	EXPECT_EQ(look().size(), 1U);
	made_.write("proc/self/mounts", "none /x cgroup rw,cpuset 0 0\n");
	EXPECT_EQ(find("cgroup-v1")->severity, Severity::warning);
	made_.write("proc/self/mounts", "");
	EXPECT_FALSE(find("cgroup-v1"));
	tested().insert("cgroup-v1"); // its remedy is carried out in a VM
}

TEST_F(DiagnosisTest, CpuController)
{
	made_.write("sys/fs/cgroup/cgroup.subtree_control", "memory\n");
	made_.add_group("/a", "max 100000");
	made_.add_group("/a/b", "max 100000");
	EXPECT_EQ(find("cpu-controller")->object, "/");
	auto finding = find("cpu-controller", "/a/b");
	ASSERT_TRUE(finding);
	auto root = made_.base() + "/sys/fs/cgroup";
	EXPECT_EQ(finding->remedy, "echo +cpu > " + root + "/cgroup.subtree_control && "
				   "echo +cpu > " + root + "/a/cgroup.subtree_control");
	found_and_mended("cpu-controller", [&] {
		for (const char *file : {"sys/fs/cgroup/cgroup.subtree_control",
					 "sys/fs/cgroup/a/cgroup.subtree_control"})
			if (trimmed(made_.read(file)) == "+cpu")
				made_.write(file, "memory cpu\n");
	}, "/a/b");
}

TEST_F(DiagnosisTest, RtRuntime)
{
	made_.write("proc/sys/kernel/sched_rt_runtime_us", "-1\n");
	found_and_mended("rt-runtime");
	made_.write("proc/sys/kernel/sched_rt_runtime_us", "500000\n");
	found_and_mended("rt-runtime");
	made_.write("proc/sys/kernel/sched_rt_runtime_us", "95000\n");
	made_.write("proc/sys/kernel/sched_rt_period_us", "100000\n");
	EXPECT_FALSE(find("rt-runtime"));
	made_.write("proc/sys/kernel/sched_rt_runtime_us", "94999\n");
	found_and_mended("rt-runtime");
	EXPECT_EQ(made_.read("proc/sys/kernel/sched_rt_runtime_us"), "95000\n");
}

TEST_F(DiagnosisTest, FairServer)
{
	auto file = [](int cpu, const char *name) {
		return fmt::format("sys/kernel/debug/sched/fair_server/cpu{}/{}", cpu, name);
	};
	made_.write(file(0, "runtime"), "0\n");
	EXPECT_EQ(find("fair-server")->what, "the fair server is off on CPU 0");
	found_and_mended("fair-server");
	made_.write(file(1, "runtime"), "100000000\n");
	made_.write(file(1, "period"), "500000000\n");
	EXPECT_EQ(find("fair-server")->object, "CPU 1");
	found_and_mended("fair-server");
	// The kernel refuses a runtime longer than the period, at any moment.
	made_.write(file(1, "runtime"), "2000000000\n");
	made_.write(file(1, "period"), "3000000000\n");
	EXPECT_LT(find("fair-server")->remedy.find("cpu1/runtime"),
		  find("fair-server")->remedy.find("cpu1/period"));
	made_.write(file(1, "runtime"), "1000000\n");
	made_.write(file(1, "period"), "10000000\n");
	EXPECT_GT(find("fair-server")->remedy.find("cpu1/runtime"),
		  find("fair-server")->remedy.find("cpu1/period"));
	found_and_mended("fair-server");
}

TEST_F(DiagnosisTest, IrqTime)
{
	std::filesystem::remove(made_.path("proc/pressure/irq"));
	found_and_told("irq-time", "boot a kernel built with CONFIG_IRQ_TIME_ACCOUNTING=y",
		       [&] { made_.write("proc/pressure/irq", ""); });
	made_.write("proc/cmdline", "tsc=noirqtime\n");
	found_and_told("irq-time", "boot without the parameter tsc=noirqtime",
		       [&] { made_.write("proc/cmdline", "quiet\n"); });
}

TEST_F(DiagnosisTest, IrqThreads)
{
	EXPECT_FALSE(find("irq-threads")); // nobody has asked for it
	auto found = look(std::nullopt, true);
	ASSERT_EQ(found.size(), 1U);
	EXPECT_EQ(found[0].id, "irq-threads");
	EXPECT_EQ(found[0].remedy, "boot with the parameter threadirqs");
	EXPECT_FALSE(found[0].is_command);
	made_.write("proc/cmdline", "threadirqs\n");
	EXPECT_TRUE(look(std::nullopt, true).empty());
	tested().insert("irq-threads");
}

TEST_F(DiagnosisTest, CpuFrequency)
{
	for (int cpu : {0, 1})
		made_.write(fmt::format("sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor",
					cpu), "powersave\n");
	reservation("/a", "5000 20000");
	made_.write("sys/fs/cgroup/a/cpuset.cpus.effective", "1\n");
	EXPECT_EQ(find("cpu-frequency", "/a")->object, "CPU 1"); // the others do not matter
	found_and_mended("cpu-frequency", [] {}, "/a");
	made_.write("sys/fs/cgroup/a/cpuset.cpus.effective", "0-1\n");
	found_and_mended("cpu-frequency");
}

TEST_F(DiagnosisTest, IdleStates)
{
	auto state = [&](int number, const char *latency) {
		auto base = fmt::format("sys/devices/system/cpu/cpu0/cpuidle/state{}/", number);
		made_.write(base + "name", "C\n");
		made_.write(base + "latency", latency);
		made_.write(base + "disable", "0\n");
	};
	state(0, "2\n");
	state(1, "100\n");
	EXPECT_FALSE(find("idle-states"));
	state(2, "133\n");
	state(3, "500\n");
	EXPECT_EQ(find("idle-states")->what, "idle states take up to 500 us to leave");
	found_and_mended("idle-states");
	EXPECT_EQ(made_.read("sys/devices/system/cpu/cpu0/cpuidle/state1/disable"), "0\n");
}

TEST_F(DiagnosisTest, SchedExt)
{
	made_.write("sys/kernel/sched_ext/state", "enabled\n");
	made_.write("proc/sysrq-trigger", "");
	found_and_mended("sched-ext", [&] {
		if (made_.read("proc/sysrq-trigger") == "S\n")
			made_.write("sys/kernel/sched_ext/state", "disabled\n");
	});
}

TEST_F(DiagnosisTest, DeadlineTasks)
{
	reservation("/a", "5000 20000");
	made_.write("sys/fs/cgroup/a/cpuset.cpus", "\n");
	made_.write("sys/fs/cgroup/a/cpuset.cpus.partition", "member\n");
	made_.add_task(50, "sugov:0", 6, 0, "/", "0-1", true); // counts nowhere
	made_.add_task(51, "pinned", 6, 0, "/", "0");          // a root domain of one CPU
	EXPECT_FALSE(find("dl-tasks"));
	made_.add_task(52, "roamer", 6, 0, "/", "0-1");
	auto finding = find("dl-tasks");
	ASSERT_TRUE(finding);
	EXPECT_EQ(finding->what, "SCHED_DEADLINE tasks move over its CPUs: 52 (roamer)");
	found_and_mended("dl-tasks", [&] {
		// A partition takes its CPUs from everyone else.
		ASSERT_EQ(made_.read("sys/fs/cgroup/cgroup.subtree_control"), "+cpuset\n");
		ASSERT_EQ(made_.read("sys/fs/cgroup/a/cpuset.cpus"), "1\n");
		ASSERT_EQ(made_.read("sys/fs/cgroup/a/cpuset.cpus.partition"), "root\n");
		made_.write("sys/fs/cgroup/a/cpuset.cpus.effective", "1\n");
		made_.add_task(52, "roamer", 6, 0, "/", "0");
	});
}

TEST_F(DiagnosisTest, DeadlineTasksInTheSameGroup)
{
	reservation("/a", "5000 20000");
	made_.add_task(52, "roamer", 6, 0, "/a", "0-1");
	EXPECT_EQ(find("dl-tasks")->remedy, "chrt -f -p 50 52");
}

TEST_F(DiagnosisTest, RtOutside)
{
	made_.add_task(60, "audio", SCHED_RR, 20, "/", "0-1");
	EXPECT_FALSE(find("rt-outside")); // there is no reservation to wait for
	reservation("/a", "5000 20000");
	made_.add_task(61, "irq/9", SCHED_FIFO, 50, "/", "0-1", true);
	auto finding = find("rt-outside");
	ASSERT_TRUE(finding);
	EXPECT_EQ(finding->what, "FIFO/RR tasks in no reservation: 60 (audio)");
	EXPECT_EQ(finding->remedy, "chrt -o -p 0 60");
	made_.add_task(60, "audio", SCHED_OTHER, 0, "/");
	EXPECT_FALSE(find("rt-outside"));
	tested().insert("rt-outside"); // its remedy is carried out in a VM
}

TEST_F(DiagnosisTest, RcuReadersNotBoosted)
{
	made_.add_task(15, "rcu_preempt", SCHED_FIFO, 1, "/", "0-1", true);
	found_and_told("rcu-boost", "boot a kernel built with CONFIG_RCU_BOOST=y", [&] {
		made_.add_task(16, "rcub/0", SCHED_FIFO, 1, "/", "0-1", true);
	});
}

TEST_F(DiagnosisTest, RcuReadersBoostedTooLow)
{
	made_.add_task(15, "rcu_preempt", SCHED_FIFO, 1, "/", "0-1", true);
	made_.add_task(16, "rcub/0", SCHED_FIFO, 20, "/", "0-1", true);
	made_.add_task(60, "audio", SCHED_RR, 20, "/", "0-1");
	EXPECT_FALSE(find("rcu-boost")); // nobody waits for a budget
	reservation("/a", "5000 20000");
	auto finding = find("rcu-boost");
	ASSERT_TRUE(finding);
	EXPECT_EQ(finding->object, "16 (rcub/0)");
	EXPECT_EQ(finding->remedy, "chrt -f -p 21 16"); // carried out in a VM
	made_.add_task(16, "rcub/0", SCHED_FIFO, 21, "/", "0-1", true);
	EXPECT_FALSE(find("rcu-boost"));
	// There is nothing above 99.
	made_.add_task(60, "audio", SCHED_RR, 99, "/", "0-1");
	EXPECT_EQ(find("rcu-boost")->remedy, "chrt -f -p 99 16");
	made_.add_task(16, "rcub/0", SCHED_FIFO, 99, "/", "0-1", true);
	EXPECT_FALSE(find("rcu-boost"));
}

TEST_F(DiagnosisTest, NothingServed)
{
	reservation("/a", "5000 20000", false);
	EXPECT_EQ(find("nothing-served")->what,
		  "reserved 5ms/20ms, nothing in it is FIFO/RR and `fair` is not set");
	found_and_mended("nothing-served", [&] {
		EXPECT_EQ(made_.read("sys/fs/cgroup/a/cpu.rt.max"), "max\n");
		made_.write("sys/fs/cgroup/a/cpu.rt.max", "max 20000\n");
	});
	made_.write("sys/fs/cgroup/a/cpu.rt.max", "5000 20000\n");
	made_.add_task(70, "plain", SCHED_OTHER, 0, "/a");
	EXPECT_EQ(find("nothing-served")->remedy,
		  "dlgroup --root " + made_.base() + " set /a 5ms/20ms --fifo 1");
	made_.write("sys/fs/cgroup/a/cpu.rt.fair", "1\n");
	EXPECT_FALSE(find("nothing-served"));
}

TEST_F(DiagnosisTest, FifoInZero)
{
	reservation("/a", "0 100000");
	EXPECT_FALSE(find("nothing-served"));
	found_and_mended("fifo-in-zero", [&] {
		EXPECT_EQ(made_.read("sys/fs/cgroup/a/cpu.rt.max"), "max\n");
		made_.write("sys/fs/cgroup/a/cpu.rt.max", "max 100000\n");
	});
}

TEST_F(DiagnosisTest, CoreCookie)
{
	reservation("/a", "5000 20000");
	made_.write("sys/devices/system/cpu/smt/control", "on\n");
	control_.cookie_of = 100;
	found_and_mended("core-cookie");
}

TEST_F(DiagnosisTest, CpusMissing)
{
	reservation("/a", "5000 20000");
	made_.write("sys/fs/cgroup/a/cpuset.cpus", "0-1\n");
	made_.write("sys/fs/cgroup/a/cpuset.cpus.effective", "0\n");
	made_.write("sys/devices/system/cpu/online", "0\n");
	made_.write("sys/devices/system/cpu/offline", "1\n");
	made_.write("sys/devices/system/cpu/cpu1/online", "0\n");
	found_and_mended("cpus-missing", [&] {
		if (made_.read("sys/devices/system/cpu/cpu1/online") == "1\n")
			made_.write("sys/fs/cgroup/a/cpuset.cpus.effective", "0-1\n");
	});
	// Not offline but taken by another: then the group asks for too much.
	made_.write("sys/devices/system/cpu/online", "0-1\n");
	made_.write("sys/devices/system/cpu/offline", "\n");
	made_.write("sys/fs/cgroup/a/cpuset.cpus.effective", "0\n");
	made_.write("sys/fs/cgroup/cgroup.subtree_control", "cpu cpuset\n");
	found_and_mended("cpus-missing");
	EXPECT_EQ(made_.read("sys/fs/cgroup/a/cpuset.cpus"), "0\n");
}

TEST_F(DiagnosisTest, NoRoom)
{
	reservation("/a", "10000 20000");
	auto local = "sys/fs/cgroup/a/cpu.rt.max.effective.local";
	made_.write(local, "0 20000\n0 0 20000\n1 10000 20000\n");
	made_.write("sys/fs/cgroup/cgroup.subtree_control", "cpu cpuset\n");
	made_.write("sys/fs/cgroup/a/cpuset.cpus", "0-1\n");
	made_.write("sys/fs/cgroup/a/cpuset.cpus.effective", "0-1\n");
	EXPECT_EQ(find("no-room")->what, "has no server on CPU 0");
	found_and_mended("no-room", [&] {
		EXPECT_EQ(made_.read("sys/fs/cgroup/a/cpuset.cpus"), "1\n");
		made_.write("sys/fs/cgroup/a/cpuset.cpus.effective", "1\n");
		made_.write(local, "10000 20000\n");
	});
	// Nowhere: then only less will do.
	made_.write(local, "0 20000\n");
	made_.write("sys/kernel/debug/sched/dl_group_headroom",
		    "cpu1 cap 267401227875123 fair 14073748835532 groups 0 tasks 0 free "
		    "70368744177664\n");
	found_and_mended("no-room", [&] {
		EXPECT_EQ(made_.read("sys/fs/cgroup/a/cpu.rt.max"), "5000 20000\n");
		made_.write(local, "5000 20000\n");
	});
	// All of it carved out is no such case.
	made_.add_group("/a/b", "5000 20000");
	made_.write(local, "0 20000\n");
	EXPECT_FALSE(find("no-room"));
}

TEST_F(DiagnosisTest, Unserved)
{
	reservation("/a", "5000 20000");
	made_.add_group("/a/b", "5000 20000");
	made_.write("sys/fs/cgroup/a/cpu.rt.max.effective.local", "0 20000\n");
	made_.write("sys/fs/cgroup/a/cpu.rt.stat", "nr_unserved 3\n");
	EXPECT_FALSE(find("unserved")); // long ago
	std::uint64_t count = 3;
	meanwhile = [&] {
		if (made_.read("sys/fs/cgroup/a/cpu.rt.max") == "5000 20000\n")
			made_.write("sys/fs/cgroup/a/cpu.rt.stat",
				    fmt::format("nr_unserved {}\n", ++count));
	};
	found_and_mended("unserved", [&] {
		EXPECT_EQ(made_.read("sys/fs/cgroup/a/cpu.rt.max"), "max\n");
		made_.write("sys/fs/cgroup/a/cpu.rt.max", "max 20000\n");
	});
}

TEST_F(DiagnosisTest, DeadlineMisses)
{
	reservation("/a", "5000 20000");
	made_.write("sys/fs/cgroup/a/cpuset.cpus", "\n");
	made_.write("sys/fs/cgroup/a/cpuset.cpus.partition", "member\n");
	std::uint64_t count = 3;
	meanwhile = [&] {
		if (made_.read("sys/fs/cgroup/a/cpuset.cpus.partition") == "member\n")
			made_.write("sys/fs/cgroup/a/cpu.rt.stat",
				    fmt::format("nr_dl_miss {}\n", ++count));
	};
	found_and_mended("dl-miss");
}

// Runs last by its name: no finding without a test.
TEST_F(DiagnosisTest, ZEveryFindingIsTested)
{
	if (::testing::UnitTest::GetInstance()->test_to_run_count() <
	    static_cast<int>(finding_ids().size()))
		GTEST_SKIP() << "only where all tests run together";
	for (const auto &id : finding_ids())
		EXPECT_TRUE(tested().count(id)) << id;
}

} // namespace
} // namespace dlgroup::test
