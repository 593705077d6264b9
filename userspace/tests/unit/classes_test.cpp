// SPDX-License-Identifier: GPL-2.0-only
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <dlgroup/classes.h>

#include "made_tree.h"

namespace dlgroup::test {
namespace {

constexpr const char *kPolicy = R"(
runtime = "/usr/bin/crun"

[class.control]
max_runtime = "5ms"
periods = ["5ms", "100ms"]
count = 2
total_percent = 100
cpus = "1-3"
reservation = "5ms/20ms fifo:10"

[class.open]
max_runtime = "50ms"
periods = ["1ms", "1s"]
count = 9
total_percent = 1000
max_priority = 9
annotations = true
sys_nice = true
)";

std::string why(const std::string &text)
{
	auto classes = parse_classes(text, "f");
	return classes ? "" : classes.error().object + ": " + classes.error().reason;
}

// The policy with a line in place of another, or without it.
std::string with(const std::string &line, const std::string &instead)
{
	std::string text = kPolicy;
	auto at = text.find(line + "\n");
	EXPECT_NE(at, text.npos) << line;
	return text.replace(at, line.size(), instead);
}

Class control()
{
	return *parse_classes(kPolicy, "f")->find("control");
}

OciContainer asking(const std::string &text, std::optional<CpuSet> cpus = {})
{
	OciContainer container;
	container.ask = *parse_ask(text, "test");
	container.cpus = std::move(cpus);
	return container;
}

std::string refusal(const Class &of, const OciContainer &container)
{
	auto ask = judge(of, container);
	return ask ? "" : ask.error().reason.substr(ask.error().reason.find(": ") + 2);
}

TEST(Classes, AreRead)
{
	auto classes = parse_classes(kPolicy, "f");
	ASSERT_TRUE(classes) << classes.error().reason;
	EXPECT_EQ(classes->runtime, "/usr/bin/crun");
	EXPECT_FALSE(classes->find("other"));
	const auto &one = *classes->find("control");
	EXPECT_EQ(one.max_runtime, microseconds(5000));
	EXPECT_EQ(one.shortest, microseconds(5000));
	EXPECT_EQ(one.longest, microseconds(100000));
	EXPECT_EQ(one.cpus, (CpuSet{1, 2, 3}));
	EXPECT_EQ(one.count, 2U);
	EXPECT_EQ(one.total_percent, 100U);
	EXPECT_EQ(one.max_priority, 49);
	EXPECT_EQ(one.reservation->policy, (Policy{SCHED_FIFO, 10}));
	// What is not said is not allowed.
	EXPECT_FALSE(one.annotations || one.sys_nice);
	EXPECT_TRUE(classes->find("open")->annotations && classes->find("open")->sys_nice);
	EXPECT_TRUE(parse_classes("", "f")->by_name.empty());
	EXPECT_FALSE(classes->prefers_kernel || parse_classes("kernel = \"require\"", "f")->prefers_kernel);
	EXPECT_TRUE(parse_classes("kernel = \"prefer\"", "f")->prefers_kernel);
}

TEST(Classes, BadOnesAreRefused)
{
	EXPECT_EQ(why("x").substr(0, 10), "f: line 1:");
	EXPECT_EQ(why("\xff").substr(0, 10), "f: line 1:");
	EXPECT_EQ(why("a = 1"), "f: line 1: unknown key 'a'");
	EXPECT_EQ(why("class = 1"), "f: class: is not a table: write [class.NAME]");
	EXPECT_EQ(why("kernel = \"prefers\""), "f: kernel: is neither \"require\" nor \"prefer\"");
	EXPECT_EQ(why("kernel = true"), "f: kernel: is not a text");
	EXPECT_EQ(why("runtime = \"crun\""), "f: runtime: is not the full path of a program");
	EXPECT_EQ(why(with("count = 2", "count = 2\nmax_runtim = \"1ms\"")),
		  "f: class control: line 8: unknown key 'max_runtim'");
	// Without one of these nothing would be bounded.
	EXPECT_EQ(why(with("max_runtime = \"5ms\"", "")), "f: class control: max_runtime: is missing");
	EXPECT_EQ(why(with("count = 2", "")), "f: class control: count: is missing");
	EXPECT_EQ(why(with("total_percent = 100", "")), "f: class control: total_percent: is missing");
	EXPECT_EQ(why(with("periods = [\"5ms\", \"100ms\"]", "")),
		  "f: class control: periods: is not [SHORTEST, LONGEST] such as [\"5ms\", \"100ms\"]");
	EXPECT_EQ(why(with("periods = [\"5ms\", \"100ms\"]", "periods = [\"6ms\", \"5ms\"]")),
		  "f: class control: periods: the shortest is longer than the longest");
	EXPECT_EQ(why(with("max_runtime = \"5ms\"", "max_runtime = 5")),
		  "f: class control: max_runtime: is not a time such as \"5ms\"");
	EXPECT_EQ(why(with("max_runtime = \"5ms\"", "max_runtime = \"5\"")),
		  "f: class control: max_runtime: '5': has no unit (ns, us, ms or s)");
	EXPECT_EQ(why(with("count = 2", "count = -1")), "f: class control: count: is not a number from 0 to 1000000");
	EXPECT_EQ(why(with("max_priority = 9", "max_priority = 100")),
		  "f: class open: max_priority: is not a number from 0 to 99");
	EXPECT_EQ(why(with("cpus = \"1-3\"", "cpus = \"\"")),
		  "f: class control: cpus: is not a list of CPUs such as \"0-3,5\"");
	EXPECT_EQ(why(with("annotations = true", "annotations = 1")),
		  "f: class open: annotations: is neither true nor false");
	EXPECT_EQ(why(with("reservation = \"5ms/20ms fifo:10\"", "reservation = \"5ms\"")).substr(0, 32),
		  "f: class control: reservation: '");
}

TEST(Classes, OnlyOfAFileThatOneUserAloneCanWrite)
{
	MadeTree made({{"etc/dlgroup/policy.toml", kPolicy}});
	auto path = made.path("etc/dlgroup/policy.toml");
	auto why = [&](uid_t owner) {
		auto classes = read_classes(path, owner);
		return classes ? std::to_string(classes->by_name.size()) : classes.error().reason;
	};
	auto own = geteuid();
	EXPECT_EQ(why(own), "2");
	EXPECT_EQ(why(own + 1), "is another user's");
	std::filesystem::permissions(path, std::filesystem::perms(0664));
	EXPECT_EQ(why(own), "others than its owner can write it");
	std::filesystem::permissions(path, std::filesystem::perms(0644));
	std::filesystem::permissions(path.parent_path(), std::filesystem::perms(0777));
	EXPECT_EQ(why(own), "others than its owner can write it");
	std::filesystem::permissions(path.parent_path(), std::filesystem::perms(0755));
	std::filesystem::rename(path, made.path("elsewhere"));
	EXPECT_EQ(why(own), "0");
	std::filesystem::create_symlink(made.path("elsewhere"), path);
	EXPECT_EQ(why(own), "has a symbolic link in its path");
}

TEST(Judge, GivesWhatIsAskedForWithinTheClass)
{
	auto ask = judge(control(), asking("2ms/20ms rr:49"));
	ASSERT_TRUE(ask && *ask);
	EXPECT_EQ(file_text((*ask)->request), "2000 20000");
	EXPECT_EQ((*ask)->cpus, (CpuSet{1, 2, 3}));
	// A container that asks for nothing gets what its class has.
	ask = judge(control(), {});
	ASSERT_TRUE(ask && *ask);
	EXPECT_EQ(file_text((*ask)->request), "5000 20000");
	EXPECT_EQ((*ask)->policy, (Policy{SCHED_FIFO, 10}));
	EXPECT_FALSE(*judge(*parse_classes(kPolicy, "f")->find("open"), {}));
}

TEST(Judge, TakesTheCpusFromTheNarrowest)
{
	auto cpus = [&](const Class &of, const OciContainer &container) {
		return format_cpus((*judge(of, container))->cpus.value_or(CpuSet{}));
	};
	auto open = *parse_classes(kPolicy, "f")->find("open");
	EXPECT_EQ(cpus(control(), asking("2ms/20ms")), "1-3");
	EXPECT_EQ(cpus(control(), asking("2ms/20ms", CpuSet{2})), "2");
	EXPECT_EQ(cpus(control(), asking("2ms/20ms@2", CpuSet{2, 3})), "2");
	EXPECT_EQ(cpus(control(), asking("2ms/20ms@3")), "3");
	EXPECT_EQ(cpus(open, asking("2ms/20ms")), "");
	EXPECT_EQ(refusal(control(), asking("2ms/20ms@0-1")), "CPUs 0-1 asked for, CPUs 1-3 allowed by the class");
	EXPECT_EQ(refusal(control(), asking("2ms/20ms@3", CpuSet{2})), "CPU 3 asked for, CPU 2 allowed by its cpuset");
	EXPECT_EQ(refusal(control(), asking("2ms/20ms@0", CpuSet{0, 1})),
		  "CPU 0 in its cpuset, CPUs 1-3 allowed by the class");
	EXPECT_EQ(refusal(control(), asking("2ms/20ms", CpuSet{0, 1})),
		  "CPUs 0-1 in its cpuset, CPUs 1-3 allowed by the class");
}

TEST(Judge, RefusesWhatIsBeyondTheClass)
{
	EXPECT_EQ(refusal(control(), asking("5001us/20ms")), "the runtime may be 5ms");
	EXPECT_EQ(refusal(control(), asking("1ms/4ms")), "the period may be 5ms to 100ms");
	EXPECT_EQ(refusal(control(), asking("1ms/101ms")), "the period may be 5ms to 100ms");
	EXPECT_EQ(refusal(control(), asking("1ms/20ms fifo:50")), "the priority may be 49");
	auto container = asking("1ms/20ms");
	container.sys_nice = true;
	EXPECT_EQ(refusal(control(), container).substr(0, 30), "the container has CAP_SYS_NICE");
	EXPECT_EQ(refusal(*parse_classes(kPolicy, "f")->find("open"), container), "");
	container = asking("1ms/20ms");
	container.ask->from_annotation = true;
	EXPECT_EQ(refusal(control(), container), "the class does not say annotations = true");
	EXPECT_EQ(refusal(*parse_classes(kPolicy, "f")->find("open"), container), "");
	auto whole = judge(control(), asking("8ms/20ms"));
	ASSERT_FALSE(whole);
	EXPECT_EQ(whole.error().status, Status::refused);
	EXPECT_EQ(whole.error().object + ": " + whole.error().reason,
		  "class control: refused 8ms/20ms by test: the runtime may be 5ms");
}

class Books : public ::testing::Test {
protected:
	Books() : made_(MadeTree::machine())
	{
		made_.add_task(1, "runtime", 0, 0, "/");
		made_.add_task(2, "runtime", 0, 0, "/");
	}
	std::string enter(const std::string &cgroup, const std::string &ask, pid_t pid, const Class &of = control())
	{
		auto done = dlgroup::enter(made_.roots(), made_.path("run"), of, cgroup, *parse_ask(ask, "test"), pid);
		return done ? "" : done.error().reason.substr(done.error().reason.find(": ") + 2);
	}
	void end(pid_t pid)
	{
		std::filesystem::remove_all(made_.path("proc/" + std::to_string(pid)));
	}

	MadeTree made_;
};

TEST_F(Books, CountContainersThatRun)
{
	auto full = std::string("it has 2 containers, and no more may run at a time");
	EXPECT_EQ(enter("/a", "1ms/20ms@1", 1), "");
	EXPECT_EQ(enter("/b", "1ms/20ms@1", 1), "");
	EXPECT_EQ(enter("/c", "1ms/20ms@1", 1), full);
	// Another class has its own, and a container made anew counts once.
	auto other = control();
	other.name = "other";
	EXPECT_EQ(enter("/d", "1ms/20ms@1", 1, other), "");
	EXPECT_EQ(enter("/b", "1ms/20ms@1", 1), "");
	// The runtime has ended: what counts now is the cgroup, as long as it has a number.
	made_.add_group("/a", "1000 20000");
	made_.add_group("/b", "max 100000");
	made_.add_group("/b/container", "1000 20000");
	end(1);
	EXPECT_EQ(enter("/c", "1ms/20ms@1", 2), full);
	made_.write("sys/fs/cgroup/a/cpu.rt.max", "max 100000\n");
	EXPECT_EQ(enter("/c", "1ms/20ms@1", 2), "");
	EXPECT_EQ(enter("/e", "1ms/20ms@1", 2), full);
}

TEST_F(Books, AnotherProcessWithTheSameNumberIsNotIt)
{
	EXPECT_EQ(enter("/a", "1ms/20ms@1", 1), "");
	EXPECT_EQ(enter("/b", "1ms/20ms@1", 1), "");
	auto stat = made_.read("proc/1/stat");
	auto at = stat.rfind(')');
	for (int field = 2; field < 22; field++)
		at = stat.find(' ', at + 1);
	made_.write("proc/1/stat", stat.replace(at + 1, 1, "7"));
	EXPECT_EQ(enter("/c", "1ms/20ms@1", 2), "");
}

TEST_F(Books, AddUpOverAllCpus)
{
	// 25 % of each of 3 CPUs, then of one: 100 % together.
	EXPECT_EQ(enter("/a", "5ms/20ms@1-3", 1), "");
	EXPECT_EQ(enter("/b", "5ms/19ms@1", 1),
		  "all its containers together would have 101 % of one CPU or more, 100 % is their total");
	EXPECT_EQ(enter("/b", "5ms/20ms@1", 1), "");
	// Without CPUs it is all that are online.
	auto one = control();
	one.name = "one";
	one.total_percent = 49;
	EXPECT_NE(enter("/c", "5ms/20ms", 1, one), "");
	one.total_percent = 50;
	EXPECT_EQ(enter("/c", "5ms/20ms", 1, one), "");
}

TEST_F(Books, ThatAreDamagedGrantNothing)
{
	made_.write("run/containers.json", "[{\"class\": 5}]");
	EXPECT_FALSE(dlgroup::enter(made_.roots(), made_.path("run"), control(), "/a", *parse_ask("1ms/20ms", "t"), 1));
	EXPECT_EQ(made_.read("run/containers.json"), "[{\"class\": 5}]");
	std::filesystem::remove(made_.path("run/containers.json"));
	std::filesystem::permissions(made_.path("run"), std::filesystem::perms(0777));
	EXPECT_FALSE(dlgroup::enter(made_.roots(), made_.path("run"), control(), "/a", *parse_ask("1ms/20ms", "t"), 1));
	std::filesystem::permissions(made_.path("run"), std::filesystem::perms(0755));
	EXPECT_EQ(enter("/a", "1ms/20ms@1", 1), "");
}

} // namespace
} // namespace dlgroup::test
