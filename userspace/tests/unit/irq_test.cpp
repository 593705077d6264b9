// SPDX-License-Identifier: GPL-2.0-only
// Threads of interrupts on made trees: found, attached, and put back from whatever point.
#include <thread>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sched.h>

#include "verb_test.h"

#include <dlgroup/irq.h>

namespace dlgroup::test {
namespace {

using namespace std::chrono_literals;

constexpr pid_t kInput = 70, kOutput = 71, kQemu = 1000;

class IrqTest : public VerbTest {
protected:
	IrqTest()
	{
		made_.write("proc/cmdline", "quiet threadirqs\n");
		made_.write("proc/interrupts", interrupts(5, 7));
		made_.add_group("/a", "5000 20000");
		add_line(24, "net0-input", "0");
		add_line(25, "net0-output", "1");
		add_line(0, "timer", "0");
		made_.write("sys/kernel/irq/1/actions", "\n");
		add_thread(kInput, "irq/24-net0-input", "0");
		add_thread(kOutput, "irq/25-net0-output", "1");
		options_.target = "/a";
		options_.names = {"24"};
		options_.shared = true;
		options_.interval = "1ns";
	}
	static std::string interrupts(int first, int second)
	{
		return fmt::format("           CPU0       CPU1       \n"
				   "  0:         27          0   IO-APIC   2-edge      timer\n"
				   " 24:         10         {}  PCI-MSIX-0000:00:01.0   0-edge      net0-input\n"
				   " 25:          {}          0  PCI-MSIX 5 1-edge      net0-output\n"
				   "LOC:        462        396   Local timer interrupts\n"
				   "ERR:          0\n", first, second);
	}
	void add_line(unsigned number, const std::string &actions, const std::string &cpus)
	{
		made_.write(fmt::format("sys/kernel/irq/{}/actions", number), actions + "\n");
		made_.write(fmt::format("sys/kernel/irq/{}/chip_name", number), "PCI-MSIX\n");
		made_.write(fmt::format("proc/irq/{}/smp_affinity_list", number), "0-1\n");
		made_.write(fmt::format("proc/irq/{}/effective_affinity_list", number), cpus + "\n");
	}
	void add_thread(pid_t tid, const std::string &name, const std::string &cpus)
	{
		made_.add_task(tid, name, SCHED_FIFO, 50, "/", cpus, true);
	}
	std::string state() override
	{
		std::string text;
		for (const auto &one : kernel_threads(made_.roots()))
			text += fmt::format("{} {} {} {}\n", one.tid, name_policy(one.policy), one.cgroup,
					    format_cpus(one.allowed));
		return text;
	}
	bool has_record() override { return has_record(24) || has_record(25) || has_record(26); }
	bool has_record(unsigned number)
	{
		return std::filesystem::exists(made_.path(fmt::format("run/dlgroup/irq/{}.json", number)));
	}
	// Refused with this status, and nothing is changed.
	void refused(Status status, const std::string &reason)
	{
		auto before = state();
		auto done = call(tool::irq_attach);
		ASSERT_FALSE(done) << reason;
		EXPECT_EQ(why(done), reason);
		EXPECT_EQ(done.error().status, status) << reason;
		EXPECT_EQ(state(), before);
		EXPECT_FALSE(has_record()) << reason;
	}
};

TEST_F(IrqTest, LinesHaveTheirThreads)
{
	add_line(26, "usb,smbus,a-very-long-name", "");
	add_thread(72, "irq/26-usb", "0");
	add_thread(73, "irq/26-s-usb", "0");
	add_thread(74, "irq/26-a-very-l", "0"); // as names once were cut
	add_thread(75, "irq/260-usb", "0");
	made_.add_task(900, "irq/26-smbus", SCHED_OTHER, 0, "/a"); // no kernel thread, only called so
	auto all = irq_lines(made_.roots());
	ASSERT_EQ(all.size(), 4U); // 1 has no handler
	EXPECT_EQ(all[0].number, 0U);
	EXPECT_TRUE(all[0].threads.empty());
	EXPECT_EQ(all[1].actions, (std::vector<std::string>{"net0-input"}));
	EXPECT_EQ(all[1].chip, "PCI-MSIX");
	EXPECT_EQ(all[1].asked, (CpuSet{0, 1}));
	EXPECT_EQ(all[1].cpus(), (CpuSet{0}));
	EXPECT_EQ(all[3].actions, (std::vector<std::string>{"usb", "smbus", "a-very-long-name"}));
	EXPECT_EQ(all[3].cpus(), (CpuSet{0, 1})); // the chip does not tell
	ASSERT_EQ(all[3].threads.size(), 3U);
	EXPECT_EQ(action_of(all[3], all[3].threads[1]), "usb");
}

TEST_F(IrqTest, CountsAreOfAllCpus)
{
	EXPECT_EQ(irq_counts(made_.roots()), (std::map<unsigned, std::uint64_t>{{0, 27}, {24, 15}, {25, 7}}));
}

TEST_F(IrqTest, ListTellsRates)
{
	options_.json = true;
	options_.interval = "200ms";
	std::thread more([&] {
		std::this_thread::sleep_for(50ms);
		made_.write("new", interrupts(105, 7));
		std::filesystem::rename(made_.path("new"), made_.path("proc/interrupts"));
	});
	ASSERT_TRUE(call(tool::irq_list));
	more.join();
	auto json = nlohmann::json::parse(out_);
	auto interval = json["interval_ns"].get<double>();
	EXPECT_GE(interval, 2e8);
	const auto &line = json["irqs"][1];
	EXPECT_EQ(line["irq"], 24);
	EXPECT_EQ(line["count"], 115);
	EXPECT_NEAR(line["rate_per_s"].get<double>() * interval / 1e9, 100, 1);
	EXPECT_EQ(line["effective_cpus"], "0");
	EXPECT_EQ(line["attached"], nullptr);
	EXPECT_EQ(line["threads"][0]["tid"], kInput);
	EXPECT_EQ(line["threads"][0]["policy"], "FIFO");
	EXPECT_EQ(json["irqs"][2]["rate_per_s"], 0);
}

TEST_F(IrqTest, ListHasARowForEachAction)
{
	add_line(26, "usb,smbus", "1");
	add_thread(72, "irq/26-smbus", "0");
	ASSERT_TRUE(call(tool::irq_list));
	EXPECT_EQ(out_, R"( IRQ      RATE  CPUS     ACTION                    THREAD  POLICY    CGROUP
   0       0/s  0        timer                          -  -         -
  24       0/s  0        net0-input                    70  FIFO 50   /
  25       0/s  1        net0-output                   71  FIFO 50   /
  26       0/s  1        smbus                         72  FIFO 50   /
  26       0/s  1        usb                            -  -         -
)");
}

TEST_F(IrqTest, AreAttachedAndPutBack)
{
	options_.names = {"24", "25", "24"};
	options_.fifo = 60;
	// What a cpuset does to one that comes or goes.
	groups_.after_move = [&] {
		auto moved = task(static_cast<pid_t>(std::stoi(groups_.moves.back())));
		moved.allowed = {0, 1};
		made_.write_task(moved);
	};
	tasks_.after_call = [&] { EXPECT_TRUE(has_record(24) && has_record(25)); };
	auto before = state();
	auto done = call(tool::irq_attach);
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(out_, "IRQ 24: 70 (irq/24-net0-input) served by /a: 5ms/20ms on CPUs 0-1 (25 % of 2 CPUs = 0.50 CPU)\n"
			"IRQ 25: 71 (irq/25-net0-output) served by /a: 5ms/20ms on CPUs 0-1 (25 % of 2 CPUs = 0.50 CPU)\n");
	EXPECT_EQ(err_, "");
	for (pid_t tid : {kInput, kOutput}) {
		EXPECT_EQ(task(tid).cgroup, "/a");
		EXPECT_EQ(name_policy(task(tid).policy), "FIFO 60");
	}
	tasks_.after_call = [] {};
	options_.json = true;
	ASSERT_TRUE(call(tool::irq_list));
	EXPECT_EQ(nlohmann::json::parse(out_)["irqs"][1]["attached"], "/a");
	options_.json = false;
	EXPECT_EQ(why(call(tool::irq_attach)), "IRQ 24: is attached already to /a: dlgroup irq detach 24 puts it back");
	done = call(tool::irq_detach);
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(out_, "IRQ 24: detached from /a\nIRQ 25: detached from /a\n");
	EXPECT_EQ(state(), before);
	EXPECT_FALSE(has_record());
	EXPECT_EQ(why(call(tool::irq_detach)), "IRQ 24: is not attached");
}

TEST_F(IrqTest, WhatCannotBeAttachedIsRefused)
{
	options_.names = {"7"};
	refused(Status::bad_input, "IRQ 7: no such IRQ");
	options_.names = {"24", "1"};
	refused(Status::bad_input, "IRQ 1: has no handler");
	for (const auto *text : {"", "x", "-1", "24x", "4294967296"}) {
		options_.names = {text};
		refused(Status::bad_input, fmt::format("{}: not the number of an IRQ (dlgroup irq list)",
						       *text ? text : "''"));
	}
	options_.names = {"0"};
	refused(Status::bad_input, "IRQ 0: has no thread: its handler must run at once");
	made_.write("proc/cmdline", "quiet\n");
	refused(Status::unsupported, "IRQ 0: has no thread: its driver asks for none, and the kernel was booted without "
				     "threadirqs (dlgroup doctor --irq)");
	options_.names = {"24"};
	auto bound = task(kInput);
	bound.bound = true;
	made_.write_task(bound);
	refused(Status::bad_input, "IRQ 24: 70 (irq/24-net0-input) belongs to CPU 0 and must not be moved");
	made_.add_group("/b", "max 100000");
	options_.target = "/b";
	refused(Status::bad_input, "/b: has no reservation: dlgroup set /b RES gives it one");
	options_.target = "/c";
	refused(Status::bad_input, "/c: no such cgroup");
}

TEST_F(IrqTest, WhatOthersUseIsRefusedUnlessItMayBeShared)
{
	options_.shared = false;
	refused(Status::refused, "IRQ 24: refused: whose work net0-input does cannot be told; with --shared /a pays for "
				 "them, too");
	add_line(26, "usb,smbus", "1");
	add_thread(72, "irq/26-smbus", "0");
	options_.names = {"26"};
	refused(Status::refused, "IRQ 26: refused: the line is shared by usb, smbus; with --shared /a pays for them, too");
	options_.shared = true;
	ASSERT_TRUE(call(tool::irq_attach));
	EXPECT_EQ(task(72).cgroup, "/a");
}

TEST_F(IrqTest, ADeviceOfAGuestsIsItsOwn)
{
	options_.shared = false;
	add_line(26, "vfio-msix[0](0000:01:00.0)", "1");
	add_thread(72, "irq/26-vfio-msix[0](0000:01:00.0)", "0");
	options_.names = {"26"};
	const std::string unknown = "IRQ 26: refused: whose work vfio-msix[0](0000:01:00.0) does cannot be told; with "
				    "--shared /a pays for them, too";
	refused(Status::refused, unknown);
	std::filesystem::create_directories(made_.path("sys/bus/pci/devices/0000:01:00.0"));
	std::filesystem::create_symlink("../../../../kernel/iommu_groups/5",
					made_.path("sys/bus/pci/devices/0000:01:00.0/iommu_group"));
	refused(Status::refused, unknown); // nobody has it open by that name
	made_.add_group("/a/vm", "max 100000");
	made_.add_task(kQemu, "qemu", SCHED_OTHER, 0, "/a/vm");
	made_.add_task(kQemu + 1, "other", SCHED_OTHER, 0, "/");
	for (pid_t pid : {kQemu, kQemu + 1}) {
		auto fds = made_.path(fmt::format("proc/{}/fd", pid));
		std::filesystem::create_directories(fds);
		std::filesystem::create_symlink(pid == kQemu ? "/dev/vfio/5" : "/dev/vfio/55", fds / "9");
	}
	auto elsewhere = task(kQemu + 1);
	std::filesystem::create_symlink("/dev/vfio/5", made_.path("proc/1001/fd/10"));
	refused(Status::refused, "IRQ 26: refused: 0000:01:00.0 is open in 1001 (other), outside of /a; with --shared /a "
				 "pays for them, too");
	std::filesystem::remove(made_.path("proc/1001/fd/10"));
	auto done = call(tool::irq_attach);
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(task(72).cgroup, "/a");
}

TEST_F(IrqTest, WithPreemptRtTheKernelHasToLend)
{
	made_.write("proc/sys/kernel/version", "#1 SMP PREEMPT_RT Thu\n");
	const std::string reason = "IRQ 24: with PREEMPT_RT its thread can be throttled while it holds the CPU's lock of "
				   "soft interrupts, and this kernel is not known to let it run then for those who wait "
				   "(dlgroup features: lends)";
	refused(Status::unsupported, reason);
	made_.write("proc/kallsyms", "0000000000000000 T other\n");
	refused(Status::unsupported, reason);
	made_.write("proc/kallsyms", "0000000000000000 T __dl_group_pi_outside\n");
	EXPECT_TRUE(call(tool::irq_attach));
}

TEST_F(IrqTest, ARefusalOfOnePutsAllBack)
{
	options_.names = {"24", "25"};
	options_.fifo = 60;
	groups_.refused = kOutput;
	refused(Status::refused, "IRQ 25: refused by the kernel: 71 (irq/25-net0-output) may use CPU 1, and where /a is "
				 "served dlgroup show tells");
	groups_.refused = 0;
	for (pid_t tid : {kInput, kOutput}) {
		tasks_.refused = tid;
		auto before = state();
		EXPECT_EQ(why(call(tool::irq_attach)), "pid: refused");
		tasks_.refused = 0;
		EXPECT_EQ(err_, "");
		EXPECT_EQ(state(), before) << tid;
		EXPECT_FALSE(has_record()) << tid;
	}
}

TEST_F(IrqTest, KilledAnywhereTheyArePutBackByAnother)
{
	options_.names = {"24", "25"};
	options_.fifo = 60;
	auto before = state();
	int steps = killed_after_each_step(tool::irq_attach, tool::irq_detach);
	EXPECT_EQ(steps, 5); // two moves and two policies, and once to the end
	// Killed when one was recorded: the other is put back all the same.
	options_.names = {"24"};
	ASSERT_TRUE(call(tool::irq_attach));
	options_.names = {"24", "25"};
	EXPECT_EQ(why(call(tool::irq_detach)), "IRQ 25: is not attached");
	EXPECT_EQ(state(), before);
}

TEST_F(IrqTest, AThreadMayVanish)
{
	auto before = state();
	options_.names = {"24", "25"};
	auto gone = task(kOutput);
	groups_.after_move = [&] { made_.remove_task(gone); };
	EXPECT_EQ(why(call(tool::irq_attach)), "IRQ 25: 71 (irq/25-net0-output) has ended");
	EXPECT_FALSE(has_record());
	groups_.after_move = [] {};
	made_.write_task(gone);
	EXPECT_EQ(state(), before);

	// Of a device that is reset: the new one is not touched by detach, and can be attached.
	ASSERT_TRUE(call(tool::irq_attach));
	made_.remove_task(task(kOutput));
	auto other = gone;
	other.started = 99999;
	other.policy = {SCHED_FIFO, 33};
	made_.write_task(other);
	options_.names = {"25"};
	auto done = call(tool::irq_attach);
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(task(kOutput).cgroup, "/a");
	made_.remove_task(task(kOutput));
	other.started = 100000;
	made_.write_task(other);
	options_.names = {"24", "25"};
	done = call(tool::irq_detach);
	EXPECT_TRUE(done) << why(done);
	EXPECT_EQ(name_policy(task(kOutput).policy), "FIFO 33");
	EXPECT_EQ(task(kInput).cgroup, "/");
}

TEST_F(IrqTest, WhereItComesItHasToBeServedIsSaid)
{
	made_.write("sys/fs/cgroup/a/cpu.rt.max.effective.local", "0 20000\n0 5000 20000\n");
	options_.names = {"25"};
	ASSERT_TRUE(call(tool::irq_attach));
	EXPECT_EQ(err_, "dlgroup: IRQ 25: comes on CPU 1, and /a is served on CPU 0: whoever writes smp_affinity moves its "
			"thread to where it is not served\n");
}

TEST_F(IrqTest, DryRunsChangeNothing)
{
	options_.dry_run = true;
	options_.fifo = 60;
	auto before = state();
	ASSERT_TRUE(call(tool::irq_attach));
	auto procs = made_.path("sys/fs/cgroup/a/cgroup.procs").string();
	EXPECT_EQ(out_, "echo '70' > " + procs + "\nchrt --fifo --pid 60 70\n");
	EXPECT_EQ(state(), before);
	EXPECT_FALSE(std::filesystem::exists(made_.path("run/dlgroup")));
	options_.dry_run = false;
	ASSERT_TRUE(call(tool::irq_attach));
	auto attached = state();
	options_.dry_run = true;
	ASSERT_TRUE(call(tool::irq_detach));
	EXPECT_EQ(out_, "chrt --fifo --pid 50 70\necho '70' > " + made_.path("sys/fs/cgroup/cgroup.procs").string() + "\n");
	EXPECT_EQ(state(), attached);
	EXPECT_TRUE(has_record(24));
}

TEST_F(IrqTest, ADamagedRecordIsSaid)
{
	ASSERT_TRUE(call(tool::irq_attach));
	for (const auto *text : {"{", "[]", "{\"group\": \"/a\", \"threads\": [{\"tid\": 70}]}"}) {
		made_.write("run/dlgroup/irq/24.json", text);
		auto before = state();
		EXPECT_TRUE(why(call(tool::irq_detach)).ends_with("24.json: is damaged: what the threads were before is not "
								  "known"));
		EXPECT_EQ(state(), before);
	}
}

} // namespace
} // namespace dlgroup::test
