// SPDX-License-Identifier: GPL-2.0-only
#include <gtest/gtest.h>

#include <dlgroup/cgroup.h>

#include "made_tree.h"

namespace dlgroup::test {
namespace {

class TreeTest : public ::testing::Test {
protected:
	TreeTest() : made_(MadeTree::machine())
	{
		made_.add_group("/a", "10000 20000");
		made_.add_group("/a/plain", "max 100000");
		made_.add_group("/a/plain/deep", "2000 20000");
		made_.add_group("/a/own", "1000 20000");
		made_.add_group("/a/own/below", "500 20000");
		made_.add_group("/b", "max 100000");
		made_.add_group("/b/c", "3000 30000");
		made_.write("sys/fs/cgroup/b/cpuset.cpus.effective", "1\n");
		made_.write("sys/fs/cgroup/b/cpuset.cpus", "1,7\n");
		tree_ = *read_tree(made_.roots());
	}
	std::size_t at(const std::string &path) { return *tree_.find(path); }
	std::vector<std::string> paths(const std::vector<std::size_t> &which)
	{
		std::vector<std::string> names;
		for (auto i : which)
			names.push_back(tree_.groups[i].path);
		return names;
	}

	MadeTree made_;
	Tree tree_;
};

using Paths = std::vector<std::string>;

TEST_F(TreeTest, FindsTheSource)
{
	EXPECT_EQ(tree_.source_of(at("/a/plain")), at("/a"));
	EXPECT_EQ(tree_.source_of(at("/a/own/below")), at("/a/own/below"));
	EXPECT_EQ(tree_.numbered_ancestor(at("/a/own/below")), at("/a/own"));
	EXPECT_EQ(tree_.numbered_ancestor(at("/a/plain/deep")), at("/a"));
	EXPECT_FALSE(tree_.source_of(at("/b")));
	EXPECT_FALSE(tree_.source_of(at("/")));
}

TEST_F(TreeTest, KnowsWhatIsCarved)
{
	EXPECT_EQ(paths(tree_.carved_from(at("/a"))), (Paths{"/a/own", "/a/plain/deep"}));
	EXPECT_EQ(paths(tree_.carved_from(at("/a/own"))), (Paths{"/a/own/below"}));
	EXPECT_EQ(paths(tree_.carved_from(at("/b"))), (Paths{"/b/c"}));
	EXPECT_EQ(paths(tree_.from_root_pool()), (Paths{"/a", "/b/c"}));
}

TEST_F(TreeTest, KnowsWhatIsGranted)
{
	made_.write("sys/fs/cgroup/a/cpu.rt.max.effective.local", "0 20000\n0 0 20000\n1 5000 20000\n");
	made_.write("sys/fs/cgroup/a/own/cpu.rt.max.effective.local", "0 20000\n");
	made_.write("sys/fs/cgroup/a/own/below/cpu.rt.max.effective.local", "0 20000\n0 0 20000\n1 500 20000\n");
	made_.write("sys/fs/cgroup/a/plain/deep/cpu.rt.max.effective.local", "0 20000\n0 2000 20000\n1 0 20000\n");
	tree_ = *read_tree(made_.roots());
	auto granted = tree_.granted();
	EXPECT_EQ(granted[at("/a/own/below")], CpuSet{1});
	EXPECT_EQ(granted[at("/a/own")], CpuSet{1}); // what is below has all of it
	EXPECT_EQ(granted[at("/a/plain/deep")], CpuSet{0});
	EXPECT_EQ(granted[at("/a")], (CpuSet{0, 1}));
	EXPECT_EQ(granted[at("/b")], CpuSet{});
	EXPECT_EQ(granted[at("/b/c")], CpuSet{1});
}

using Spans = std::vector<CpuSet>;

TEST_F(TreeTest, MakesRootDomainsOfPartitions)
{
	auto domains = [&] { return read_tree(made_.roots())->root_domains; };
	EXPECT_EQ(domains(), (Spans{{0, 1}}));
	made_.write("sys/devices/system/cpu/online", "0-7\n");
	EXPECT_EQ(domains(), Spans{}); // of six it is not told
	made_.write("sys/fs/cgroup/cpuset.cpus.effective", "0,6-7\n");
	made_.write("sys/fs/cgroup/b/cpuset.cpus.partition", "root\n");
	made_.write("sys/fs/cgroup/b/cpuset.cpus.effective", "1\n");
	made_.write("sys/fs/cgroup/b/c/cpuset.cpus.partition", "root\n");
	made_.write("sys/fs/cgroup/b/c/cpuset.cpus.effective", "2-3\n");
	made_.write("sys/fs/cgroup/a/cpuset.cpus.partition", "isolated\n");
	made_.write("sys/fs/cgroup/a/cpuset.cpus.effective", "4-5\n");
	made_.write("sys/fs/cgroup/a/own/cpuset.cpus.partition", "root invalid (Cpu list in cpuset.cpus not exclusive)\n");
	made_.write("sys/fs/cgroup/a/own/cpuset.cpus.effective", "4-5\n");
	EXPECT_EQ(domains(), (Spans{{0, 6, 7}, {1}, {2, 3}, {4, 5}}));
	// All that are isolated are together.
	made_.write("sys/devices/system/cpu/isolated", "7\n");
	EXPECT_EQ(domains(), (Spans{{0, 6}, {1}, {2, 3}, {4, 5, 7}}));
	// Somebody else's view, in which CPUs are missing or twice.
	made_.write("sys/fs/cgroup/b/cpuset.cpus.effective", "6\n");
	EXPECT_EQ(domains(), Spans{});
	std::filesystem::remove(made_.path("sys/fs/cgroup/cpuset.cpus.effective"));
	EXPECT_EQ(domains(), Spans{});
}

TEST_F(TreeTest, KnowsWhoShares)
{
	EXPECT_EQ(paths(tree_.sharing(at("/a"))), (Paths{"/a", "/a/plain"}));
	EXPECT_EQ(paths(tree_.sharing(at("/a/own"))), (Paths{"/a/own"}));
	EXPECT_EQ(paths(tree_.sharing(at("/b"))), (Paths{"/b"}));
}

TEST_F(TreeTest, InheritsTheCpuset)
{
	EXPECT_EQ(tree_.groups[at("/a/plain/deep")].cpus, (CpuSet{0, 1}));
	EXPECT_EQ(tree_.groups[at("/b/c")].cpus, (CpuSet{1}));
	EXPECT_EQ(tree_.groups[at("/b")].cpus_asked, (CpuSet{1, 7}));
}

TEST(GroupPath, IsChecked)
{
	EXPECT_EQ(*check_group_path("/a//b/./c/"), "/a/b/c");
	for (const char *path : {"", "a", "/", "//", "/.", "/a/../b", "/.."})
		EXPECT_FALSE(check_group_path(path)) << path;
	EXPECT_EQ(parent_of("/a/b"), "/a");
	EXPECT_EQ(parent_of("/a"), "/");
}

TEST(Tasks, AreReadWithAnyName)
{
	MadeTree made(MadeTree::machine());
	made.add_task(42, "a) R (b", 1, 10, "/x", "0-2");
	auto task = read_task(made.roots(), 42);
	ASSERT_TRUE(task);
	EXPECT_EQ(task->name, "a) R (b");
	EXPECT_EQ(task->policy, (Policy{1, 10}));
	EXPECT_EQ(task->allowed, (CpuSet{0, 1, 2}));
	EXPECT_EQ(task->cgroup, "/x");
	EXPECT_TRUE(task->is_fifo_or_rr());
	EXPECT_FALSE(task->kernel_thread);
	EXPECT_FALSE(read_task(made.roots(), 43));
	made.add_task(44, "kworker", 6, 0, "/", "0", true);
	EXPECT_TRUE(read_task(made.roots(), 44)->kernel_thread);
	EXPECT_TRUE(read_task(made.roots(), 44)->is_deadline());
	EXPECT_EQ(all_tasks(made.roots()).size(), 2U);
}

TEST(HeadroomFile, IsReadAndMistrusted)
{
	MadeTree made(MadeTree::machine());
	auto headroom = read_headroom(made.roots());
	ASSERT_TRUE(headroom);
	ASSERT_EQ(headroom->size(), 2U);
	EXPECT_EQ(percent((*headroom)[1].free), "90.0 %");
	for (const char *text : {"cpu0 cap 1 fair 2 groups 3 tasks 4\n", "cpux cap 1\n",
				 "cpu0 cap a fair 2 groups 3 tasks 4 free 5\n"}) {
		made.write("sys/kernel/debug/sched/dl_group_headroom", text);
		EXPECT_FALSE(read_headroom(made.roots())) << text;
	}
	made.write("sys/kernel/debug/sched/dl_group_headroom",
		   "# cpu cap used\ncpu3 cap 1 new 9 fair 2 groups 3 tasks 4 free 5\n");
	headroom = read_headroom(made.roots());
	ASSERT_TRUE(headroom);
	EXPECT_EQ((*headroom)[0].cpu, 3U);
	EXPECT_EQ((*headroom)[0].free, 5U);
}

TEST(Removal, IsRefusedOutsideOfACgroupMount)
{
	MadeTree made(MadeTree::machine());
	KernelGroupControl control(made.roots());
	EXPECT_FALSE(control.create("/x"));
	EXPECT_FALSE(control.remove("/x"));
	EXPECT_FALSE(control.attach("/", 1));
}

} // namespace
} // namespace dlgroup::test
