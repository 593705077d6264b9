// SPDX-License-Identifier: GPL-2.0-only
// NAPI threads of network interfaces on made trees: whose they are, attached, and put back.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sched.h>

#include "verb_test.h"

#include <dlgroup/net.h>

namespace dlgroup::test {
namespace {

constexpr pid_t kInit = 1, kShell = 900, kOther = 901, kFirst = 70, kSecond = 71;

class NetTest : public VerbTest {
protected:
	NetTest()
	{
		made_.add_group("/a", "5000 20000");
		made_.write("proc/self/net/dev", devices("lo eth0 eth1"));
		std::filesystem::create_directories(made_.path("proc/self/ns"));
		std::filesystem::create_symlink("net:[1]", made_.path("proc/self/ns/net"));
		add_process(kShell, "shell", "/a", 1, "lo eth0 eth1");
		add_interface("lo", 1);
		add_interface("eth0", 2);
		add_interface("eth1", 3);
		made_.write("sys/devices/pci/msi_irqs/24", "");
		made_.write("sys/devices/pci/msi_irqs/25", "");
		std::filesystem::create_directories(made_.path("sys/devices/pci/virtio0"));
		std::filesystem::create_directory_symlink("../../../devices/pci/virtio0",
							  made_.path("sys/class/net/eth0/device"));
		std::filesystem::create_symlink("../../bus/virtio/drivers/virtio_net",
						made_.path("sys/devices/pci/virtio0/driver"));
		options_.target = "/a";
		options_.names = {"eth0"};
	}
	static std::string devices(const std::string &names)
	{
		std::string text = "Inter-|   Receive  |  Transmit\n face |bytes    |bytes\n";
		for (const auto &name : words(names))
			text += fmt::format("{:>6}: 1 2 3\n", name);
		return text;
	}
	void add_interface(const std::string &name, int index)
	{
		auto base = "sys/class/net/" + name;
		made_.write(base + "/ifindex", fmt::format("{}\n", index));
		made_.write(base + "/threaded", "0\n");
		made_.write(base + "/queues/rx-0/rps_cpus", "0\n");
		made_.write(base + "/queues/tx-0/xps_cpus", "0\n");
	}
	void add_process(pid_t pid, const std::string &name, const std::string &group, int ns, const std::string &names)
	{
		made_.add_task(pid, name, SCHED_OTHER, 0, group);
		std::filesystem::create_directories(made_.path(fmt::format("proc/{}/ns", pid)));
		std::filesystem::create_symlink(fmt::format("net:[{}]", ns), made_.path(fmt::format("proc/{}/ns/net", pid)));
		made_.write(fmt::format("proc/{}/net/dev", pid), devices(names));
	}
	void add_thread(pid_t tid, const std::string &name)
	{
		made_.add_task(tid, name, SCHED_OTHER, 0, "/", "0-1", true);
	}
	std::string state() override
	{
		std::string text;
		for (const auto &one : kernel_threads(made_.roots()))
			text += fmt::format("{} {} {} {}\n", one.tid, name_policy(one.policy), one.cgroup,
					    format_cpus(one.allowed));
		for (const auto *name : {"eth0", "eth1"})
			text += made_.read(std::string("sys/class/net/") + name + "/threaded");
		return text;
	}
	bool has_record() override { return has_record("eth0") || has_record("eth1"); }
	bool has_record(const std::string &name)
	{
		return std::filesystem::exists(made_.path("run/dlgroup/net/1." + name + ".json"));
	}
	void refused(Status status, const std::string &reason)
	{
		auto before = state();
		auto done = call(tool::net_attach);
		ASSERT_FALSE(done) << reason;
		EXPECT_EQ(why(done), reason);
		EXPECT_EQ(done.error().status, status) << reason;
		EXPECT_EQ(state(), before);
		EXPECT_FALSE(has_record());
	}
	std::string ambiguity(const std::string &name)
	{
		auto namespaces = net_namespaces(made_.roots());
		return find_interface(interfaces(made_.roots(), namespaces), namespaces, name)->ambiguous;
	}
};

TEST_F(NetTest, InterfacesAreRead)
{
	made_.write("sys/class/net/bonding_masters", "\n");
	made_.write("sys/class/net/eth0/upper_br0/ifindex", "9\n");
	made_.write("sys/class/net/eth1/threaded", "1\n");
	add_thread(kFirst, "napi/eth1-8193");
	add_thread(kSecond, "napi/eth1-0");
	add_thread(72, "napi/eth11-8194");
	add_thread(73, "napi/eth1-x");
	made_.add_task(902, "napi/eth1-8195", SCHED_OTHER, 0, "/"); // no kernel thread
	auto namespaces = net_namespaces(made_.roots());
	auto all = interfaces(made_.roots(), namespaces);
	ASSERT_EQ(all.size(), 3U);
	EXPECT_EQ(all[0].name, "eth0");
	EXPECT_EQ(all[0].index, 2U);
	EXPECT_EQ(all[0].driver, "virtio_net");
	EXPECT_EQ(all[0].irqs, (std::vector<unsigned>{24, 25}));
	EXPECT_EQ(all[0].rx_queues, 1U);
	EXPECT_EQ(all[0].tx_queues, 1U);
	EXPECT_EQ(all[0].threaded, std::optional(false));
	EXPECT_EQ(all[0].above, (std::vector<std::string>{"br0"}));
	EXPECT_EQ(all[1].driver, "");
	EXPECT_EQ(all[1].threaded, std::optional(true));
	ASSERT_EQ(all[1].threads.size(), 2U);
	EXPECT_EQ(all[1].threads[1].tid, kSecond);
	EXPECT_EQ(all[1].ambiguous, "");
}

TEST_F(NetTest, WhoseThreadsTheyAreIsNotGuessed)
{
	EXPECT_EQ(ambiguity("eth0"), "");
	add_process(kOther, "box", "/a", 2, "lo eth0");
	EXPECT_EQ(ambiguity("eth0"), "another network namespace, that of 901 (box), has one of this name");
	EXPECT_EQ(ambiguity("eth1"), "");
	made_.write("sys/class/net/eth0/threaded", "1\n"); // and its threads are called as it was before
	EXPECT_EQ(ambiguity("eth1"), "eth0 is threaded, and no thread has its name: it was renamed, and may have been eth1 "
				     "before");
	made_.write("sys/class/net/eth0/threaded", "0\n");

	for (const auto *name : {"enp0s31f6a", "enp0s31f6b", "enp0s31f6"})
		add_interface(name, 10);
	made_.write("proc/self/net/dev", devices("lo eth0 eth1 enp0s31f6 enp0s31f6a enp0s31f6b"));
	add_thread(kFirst, "napi/enp0s31f6a-8193");
	add_thread(kSecond, "napi/enp0s31f6-");
	EXPECT_EQ(ambiguity("enp0s31f6a"), "");
	add_thread(72, "napi/enp0s31f6a"); // cut at 15 characters
	EXPECT_EQ(ambiguity("enp0s31f6a"), "");
	add_interface("enp0s31f6ab", 11);
	made_.write("proc/self/net/dev", devices("lo eth0 eth1 enp0s31f6 enp0s31f6a enp0s31f6b enp0s31f6ab"));
	EXPECT_EQ(ambiguity("enp0s31f6a"), "72 (napi/enp0s31f6a) may be of enp0s31f6ab, too");
	EXPECT_EQ(ambiguity("enp0s31f6b"), "");
}

TEST_F(NetTest, AreAttachedAndPutBack)
{
	made_.write("sys/class/net/eth0/threaded", "1\n");
	add_thread(kFirst, "napi/eth0-8193");
	add_thread(kSecond, "napi/eth0-8194");
	auto before = state();
	auto done = call(tool::net_attach);
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(out_, "eth0: 70 (napi/eth0-8193), 71 (napi/eth0-8194) served by /a: 5ms/20ms on CPUs 0-1 (25 % of 2 CPUs "
			"= 0.50 CPU)\n");
	for (pid_t tid : {kFirst, kSecond}) {
		EXPECT_EQ(task(tid).cgroup, "/a");
		EXPECT_EQ(name_policy(task(tid).policy), "FIFO 50");
	}
	EXPECT_EQ(why(call(tool::net_attach)), "eth0: is attached already to /a: dlgroup net detach eth0 puts it back");
	options_.json = true;
	ASSERT_TRUE(call(tool::net_list));
	EXPECT_EQ(nlohmann::json::parse(out_)["interfaces"][0]["attached"], "/a");
	options_.json = false;
	done = call(tool::net_detach);
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(out_, "eth0: detached from /a\n");
	EXPECT_EQ(state(), before);
	EXPECT_FALSE(has_record());
}

TEST_F(NetTest, WithoutThreadsNothingStaysChanged)
{
	refused(Status::failed, "eth0: has no thread of its name: it is down, or was renamed since they were made");
	std::filesystem::remove(made_.path("sys/class/net/eth0/threaded"));
	refused(Status::unsupported, "eth0: the kernel has no threaded NAPI: there is no 'threaded' in sysfs");
}

TEST_F(NetTest, ThreadsThatWereLeftAreTurnedOnAndOffAgain)
{
	add_thread(kFirst, "napi/eth0-8193"); // from when it was threaded before
	auto before = state();
	options_.fifo = 7;
	tasks_.after_call = groups_.after_move = [&] {
		EXPECT_TRUE(has_record());
		EXPECT_EQ(trimmed(made_.read("sys/class/net/eth0/threaded")), "1");
	};
	auto done = call(tool::net_attach);
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(name_policy(task(kFirst).policy), "FIFO 7");
	EXPECT_EQ(task(kFirst).cgroup, "/a");
	ASSERT_TRUE(call(tool::net_detach));
	EXPECT_EQ(state(), before);
}

TEST_F(NetTest, WhatCannotBeAttachedIsRefused)
{
	add_thread(kFirst, "napi/eth0-8193");
	options_.names = {"eth7"};
	refused(Status::bad_input, "eth7: no such interface");
	add_process(kOther, "box", "/a", 2, "lo eth7");
	refused(Status::bad_input, "eth7: no such interface here; the network namespace of 901 (box) has one");
	add_interface("eth7", 9);
	refused(Status::bad_input, "eth7: /sys shows another network namespace than this process is in");
	options_.names = {"../net/eth0"};
	refused(Status::bad_input, "../net/eth0: no such interface");
	options_.names = {"eth0"};
	made_.write("proc/sys/kernel/version", "#1 SMP PREEMPT_RT Thu\n");
	made_.write("proc/kallsyms", "0 T x\n");
	auto done = call(tool::net_attach);
	EXPECT_TRUE(why(done).starts_with("eth0: with PREEMPT_RT its thread can be throttled"));
	EXPECT_EQ(done.error().status, Status::unsupported);
}

TEST_F(NetTest, WhatOthersUseIsRefusedUnlessItMayBeShared)
{
	add_thread(kFirst, "napi/eth0-8193");
	add_process(kInit, "init", "/", 1, "lo eth0 eth1");
	refused(Status::refused, "eth0: refused: eth0 is in the network namespace of 1 (init), outside of /a; with --shared "
				 "/a pays for them, too");
	made_.write("sys/class/net/eth0/upper_br0/ifindex", "9\n");
	refused(Status::refused, "eth0: refused: eth0 carries br0; with --shared /a pays for them, too");
	options_.shared = true;
	auto done = call(tool::net_attach);
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(task(kFirst).cgroup, "/a");
}

TEST_F(NetTest, ItsInterruptsHaveItsUsers)
{
	made_.write("sys/kernel/irq/24/actions", "virtio0-input.0\n");
	made_.add_task(80, "irq/24-virtio0-input.0", SCHED_FIFO, 50, "/", "0-1", true);
	options_.names = {"24"};
	add_process(kInit, "init", "/", 1, "lo eth0 eth1");
	EXPECT_EQ(why(call(tool::irq_attach)), "IRQ 24: refused: eth0 is in the network namespace of 1 (init), outside of "
					       "/a; with --shared /a pays for them, too");
	made_.move_task(task(kInit), "/a");
	auto done = call(tool::irq_attach);
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(task(80).cgroup, "/a");
}

TEST_F(NetTest, ARefusalOfOnePutsAllBack)
{
	add_thread(kFirst, "napi/eth0-8193");
	add_thread(kSecond, "napi/eth1-8194");
	options_.names = {"eth0", "eth1"};
	tasks_.refused = kSecond;
	auto before = state();
	EXPECT_EQ(why(call(tool::net_attach)), "pid: refused");
	EXPECT_EQ(err_, "");
	EXPECT_EQ(state(), before);
	EXPECT_FALSE(has_record());
}

TEST_F(NetTest, KilledAnywhereTheyArePutBackByAnother)
{
	add_thread(kFirst, "napi/eth0-8193");
	add_thread(kSecond, "napi/eth0-8194");
	EXPECT_EQ(killed_after_each_step(tool::net_attach, tool::net_detach), 5);
}

TEST_F(NetTest, OneThatHasGoneIsDetached)
{
	add_thread(kFirst, "napi/eth0-8193");
	ASSERT_TRUE(call(tool::net_attach));
	made_.remove_task(task(kFirst));
	// Another one that is called so now.
	made_.write("sys/class/net/eth0/ifindex", "17\n");
	auto done = call(tool::net_detach);
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(trimmed(made_.read("sys/class/net/eth0/threaded")), "1");
	EXPECT_FALSE(has_record());
	made_.write("sys/class/net/eth0/threaded", "0\n");
	add_thread(kFirst, "napi/eth0-8193");
	ASSERT_TRUE(call(tool::net_attach));
	made_.remove_task(task(kFirst));
	std::filesystem::remove_all(made_.path("sys/class/net/eth0"));
	done = call(tool::net_detach);
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(err_, "");
	EXPECT_EQ(why(call(tool::net_detach)), "eth0: is not attached");
}

TEST_F(NetTest, AttachedAgainItStillKnowsWhatItWas)
{
	add_thread(kFirst, "napi/eth0-8193");
	ASSERT_TRUE(call(tool::net_attach));
	made_.remove_task(task(kFirst)); // its driver has made its queues anew
	add_thread(kSecond, "napi/eth0-8194");
	auto done = call(tool::net_attach);
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(task(kSecond).cgroup, "/a");
	ASSERT_TRUE(call(tool::net_detach));
	EXPECT_EQ(trimmed(made_.read("sys/class/net/eth0/threaded")), "0");
}

TEST_F(NetTest, DryRunsChangeNothing)
{
	add_thread(kFirst, "napi/eth0-8193");
	options_.dry_run = true;
	auto before = state();
	auto done = call(tool::net_attach);
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(out_, "echo '1' > " + made_.path("sys/class/net/eth0/threaded").string() + "\necho '70' > " +
				made_.path("sys/fs/cgroup/a/cgroup.procs").string() +
				"\nchrt --fifo --pid 50 70\n# and each napi/eth0-* that there is then to /a, FIFO 50\n");
	EXPECT_EQ(state(), before);
	EXPECT_FALSE(std::filesystem::exists(made_.path("run/dlgroup")));
	options_.dry_run = false;
	ASSERT_TRUE(call(tool::net_attach));
	auto attached = state();
	options_.dry_run = true;
	ASSERT_TRUE(call(tool::net_detach));
	EXPECT_EQ(out_, "chrt --other --pid 0 70\necho '70' > " + made_.path("sys/fs/cgroup/cgroup.procs").string() +
				"\necho '0' > " + made_.path("sys/class/net/eth0/threaded").string() + "\n");
	EXPECT_EQ(state(), attached);
	EXPECT_TRUE(has_record());
}

TEST_F(NetTest, List)
{
	add_thread(kFirst, "napi/eth1-8193");
	made_.write("sys/class/net/eth1/threaded", "1\n");
	add_process(kOther, "box", "/a", 2, "lo eth1");
	ASSERT_TRUE(call(tool::net_list));
	EXPECT_EQ(out_, R"(NAME            DRIVER        RX/TX  IRQS         THREADED  THREAD  POLICY    CGROUP
eth0            virtio_net      1/1  24-25        no             -  -         -
eth1            -               1/1  -            yes           70  OTHER     /
lo              -               1/1  -            no             -  -         -
network namespace 2, of 901 (box): lo eth1
)");
	EXPECT_EQ(err_, "dlgroup: eth1: which threads are its own cannot be told: another network namespace, that of 901 "
			"(box), has one of this name\n");
	options_.json = true;
	ASSERT_TRUE(call(tool::net_list));
	auto json = nlohmann::json::parse(out_);
	EXPECT_EQ(json["namespace"], "1");
	EXPECT_EQ(json["interfaces"][0]["irqs"], (std::vector<int>{24, 25}));
	EXPECT_EQ(json["interfaces"][1]["threads"][0]["comm"], "napi/eth1-8193");
	EXPECT_EQ(json["interfaces"][1]["driver"], nullptr);
	EXPECT_EQ(json["elsewhere"][0]["pid"], kOther);
}

} // namespace
} // namespace dlgroup::test
