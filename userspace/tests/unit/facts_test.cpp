// SPDX-License-Identifier: GPL-2.0-only
#include <gtest/gtest.h>
#include <zlib.h>

#include <dlgroup/facts.h>

#include "made_tree.h"

namespace dlgroup::test {
namespace {

void write_config(const MadeTree &made, const std::string &text)
{
	auto file = gzopen(made.path("proc/config.gz").c_str(), "w");
	gzputs(file, text.c_str());
	gzclose(file);
}

std::map<std::string, Known> probe(MadeTree &made)
{
	MadeGroupControl groups(made);
	std::map<std::string, Known> known;
	for (const auto &feature :
	     probe_features(made.roots(), *read_tree(made.roots()), groups))
		known[feature.name] = feature.present;
	return known;
}

TEST(Support, IsSeenInTheFilesOfACgroup)
{
	MadeTree made(MadeTree::machine());
	made.add_group("/a", "max 100000");
	EXPECT_EQ(has_support(made.roots(), *read_tree(made.roots())), Known::yes);
	std::filesystem::remove(made.path("sys/fs/cgroup/a/cpu.rt.max"));
	made.write("sys/fs/cgroup/a/cpu.weight", "100\n");
	// Other signs do not count against what a cgroup shows.
	EXPECT_EQ(has_support(made.roots(), *read_tree(made.roots())), Known::no);
}

TEST(Support, IsSeenElsewhereWhileNoCgroupHasTheController)
{
	MadeTree made(MadeTree::machine());
	EXPECT_EQ(has_support(made.roots(), *read_tree(made.roots())), Known::yes);
	std::filesystem::remove(made.path("sys/kernel/debug/sched/dl_group_headroom"));
	EXPECT_EQ(has_support(made.roots(), *read_tree(made.roots())), Known::unknown);
	write_config(made, "CONFIG_SCHED=y\n# CONFIG_DL_GROUP_SCHED is not set\n");
	EXPECT_EQ(has_support(made.roots(), *read_tree(made.roots())), Known::no);
	write_config(made, "CONFIG_SCHED=y\nCONFIG_DL_GROUP_SCHED=y\n");
	EXPECT_EQ(has_support(made.roots(), *read_tree(made.roots())), Known::yes);
}

TEST(Support, IsSeenInTheListOfFunctionsAtLast)
{
	MadeTree made(MadeTree::machine());
	std::filesystem::remove(made.path("sys/kernel/debug/sched/dl_group_headroom"));
	made.write("proc/kallsyms", "0000000000000000 t cpu_max_show\n");
	EXPECT_EQ(has_support(made.roots(), *read_tree(made.roots())), Known::no);
	made.write("proc/kallsyms", "0000000000000000 t cpu_rt_max_show\n0000000000000000 t cpu_max_show\n");
	EXPECT_EQ(has_support(made.roots(), *read_tree(made.roots())), Known::yes);
}

TEST(Features, LendingIsSeenInTheListOfFunctions)
{
	MadeTree made(MadeTree::machine());
	EXPECT_EQ(lends_to_waiters(made.roots()), Known::unknown);
	made.write("proc/kallsyms", "0000000000000000 T dl_group_pick\n0000000000000000 t my__dl_group_pi_outside\n");
	EXPECT_EQ(lends_to_waiters(made.roots()), Known::no);
	made.write("proc/kallsyms", "0000000000000000 T __dl_group_pi_outside\n0000000000000000 T x\n");
	EXPECT_EQ(lends_to_waiters(made.roots()), Known::yes);
	EXPECT_EQ(probe(made)["lends"], Known::yes);
}

TEST(IrqThreads, AreForcedByAParameterOrWithPreemptRt)
{
	MadeTree made(MadeTree::machine());
	EXPECT_EQ(forces_irq_threads(made.roots()), Known::no);
	made.write("proc/cmdline", "quiet threadirqs\n");
	EXPECT_EQ(forces_irq_threads(made.roots()), Known::yes);
	made.write("proc/cmdline", "nothreadirqs=1\n");
	made.write("proc/sys/kernel/version", "#1 SMP PREEMPT_DYNAMIC\n");
	EXPECT_EQ(forces_irq_threads(made.roots()), Known::no);
	made.write("proc/sys/kernel/version", "#1 SMP PREEMPT_RT Thu\n");
	EXPECT_EQ(forces_irq_threads(made.roots()), Known::yes);
}

TEST(Features, AreProbedOneByOne)
{
	MadeTree made(MadeTree::machine());
	made.add_group("/a", "max 100000");
	made.write("sys/kernel/tracing/events/sched/sched_dl_group_throttle/id", "1\n");
	auto known = probe(made);
	EXPECT_EQ(known["reservation"], Known::yes);
	EXPECT_EQ(known["effective"], Known::yes);
	EXPECT_EQ(known["stat"], Known::yes);
	EXPECT_EQ(known["per-cpu"], Known::no);
	EXPECT_EQ(known["fair"], Known::no);
	EXPECT_EQ(known["headroom"], Known::yes);
	EXPECT_EQ(known["trace-throttle"], Known::yes);
	EXPECT_EQ(known["trace-replenish"], Known::no);
	EXPECT_EQ(known["deadline"], Known::unknown); // a made tree cannot be asked
	made.write("sys/fs/cgroup/a/cpu.rt.fair", "0\n");
	EXPECT_EQ(probe(made)["fair"], Known::yes);
}

TEST(Features, AreUnknownWhereNothingCanBeSeen)
{
	MadeTree made(MadeTree::machine());
	auto known = probe(made);
	EXPECT_EQ(known["reservation"], Known::yes);
	EXPECT_EQ(known["stat"], Known::unknown);
	EXPECT_EQ(known["trace-throttle"], Known::unknown);
}

TEST(Stat, IsRead)
{
	auto stat = parse_stat("usage_usec 12\nnr_periods 3\n"
			       "cpu0 usage_usec=5 nr_periods=1 overrun_nsec_max=77\n"
			       "cpu11 usage_usec=7\nnonsense\ncpux a=1\n");
	EXPECT_EQ(stat.all["usage_usec"], 12U);
	EXPECT_EQ(stat.all["nr_periods"], 3U);
	EXPECT_EQ(stat.all.size(), 2U);
	EXPECT_EQ(stat.cpus[0]["overrun_nsec_max"], 77U);
	EXPECT_EQ(stat.cpus[11]["usage_usec"], 7U);
	EXPECT_EQ(stat.cpus.size(), 2U);
}

TEST(Facts, CountersAreWhatRoseMeanwhile)
{
	MadeTree made(MadeTree::machine());
	MadeTaskControl control(made);
	made.add_group("/a", "1000 20000");
	made.write("sys/fs/cgroup/a/cpu.rt.stat", "nr_dl_miss 5\nnr_unserved 7\n");
	auto facts = gather_facts(made.roots(), control, [&] {
		made.write("sys/fs/cgroup/a/cpu.rt.stat", "nr_dl_miss 8\nnr_unserved 7\n");
	});
	ASSERT_TRUE(facts);
	EXPECT_EQ(facts->risen["/a"], (Counters{{"nr_dl_miss", 3}}));
}

TEST(Facts, InterruptAccounting)
{
	MadeTree made(MadeTree::machine());
	MadeTaskControl control(made);
	auto irq = [&] { return gather_facts(made.roots(), control, [] {})->irq_accounting; };
	EXPECT_EQ(irq(), IrqAccounting::on);
	std::filesystem::remove(made.path("proc/pressure/irq"));
	EXPECT_EQ(irq(), IrqAccounting::off_by_build);
	std::filesystem::remove(made.path("proc/pressure/memory"));
	EXPECT_EQ(irq(), IrqAccounting::unknown);
	write_config(made, "CONFIG_IRQ_TIME_ACCOUNTING=y\n");
	EXPECT_EQ(irq(), IrqAccounting::on);
	write_config(made, "CONFIG_SCHED=y\n");
	EXPECT_EQ(irq(), IrqAccounting::off_by_build);
	made.write("proc/cmdline", "quiet tsc=noirqtime\n");
	EXPECT_EQ(irq(), IrqAccounting::off_by_parameter);
}

} // namespace
} // namespace dlgroup::test
