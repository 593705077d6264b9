// SPDX-License-Identifier: GPL-2.0-only
// The command as a user meets it: text, JSON and exit status, on made trees.
#include <array>
#include <cstdio>
#include <regex>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>

#include "made_tree.h"

namespace dlgroup::test {
namespace {

struct Ran {
	int status = -1;
	std::string out;
	std::string err;
};

std::string slurp(const std::string &path)
{
	std::ifstream in(path);
	return {std::istreambuf_iterator<char>(in), {}};
}

Ran shell(const MadeTree &made, const std::string &line)
{
	Ran ran;
	auto out = made.path("stdout").string(), err = made.path("stderr").string();
	int status = std::system(("(" + line + ") >" + out + " 2>" + err + " </dev/null").c_str());
	ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	ran.out = slurp(out);
	ran.err = slurp(err);
	return ran;
}

using Options = std::set<std::string>;

Options options_in(const std::string &text, const char *pattern)
{
	Options found;
	std::regex regex(pattern);
	for (std::sregex_iterator it(text.begin(), text.end(), regex), end; it != end; ++it)
		found.insert((*it)[1]);
	return found;
}

class Cli : public ::testing::Test {
protected:
	Cli() : made_(MadeTree::machine())
	{
		made_.add_group("/a", "5000 20000");
		made_.write("sys/fs/cgroup/a/cpu.rt.stat",
			    "usage_usec 2500\nnr_periods 40\nnr_throttled 3\nthrottled_usec 45000\n"
			    "nr_overruns 1\noverrun_usec_max 12\nnr_migrations 0\nnr_dl_miss 0\n"
			    "nr_unserved 2\nirq_usec 0\n"
			    "cpu0 usage_usec=2500 nr_periods=40 nr_throttled=3 throttled_usec=45000 "
			    "nr_overruns=1 overrun_nsec_max=11999\n");
		made_.add_task(42, "hog", 1, 10, "/a");
		made_.add_task(43, "ordinary", 0, 0, "/a");
		made_.add_group("/b", "max 100000");
	}
	Ran dlgroup(const std::string &arguments)
	{
		return shell(made_, DLGROUP_COMMAND " --root " + made_.base() + " " + arguments);
	}
	// The output with the made tree's own path taken out.
	std::string plain(std::string text)
	{
		for (auto at = text.find(made_.base()); at != text.npos;
		     at = text.find(made_.base()))
			text.replace(at, made_.base().size(), "ROOT");
		return text;
	}

	MadeTree made_;
};

TEST_F(Cli, Show)
{
	auto ran = dlgroup("show /a");
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(ran.err, "");
	EXPECT_EQ(ran.out, R"(/a
  reservation  5ms/20ms on CPUs 0-1 (25 % of 2 CPUs = 0.50 CPU)
  own servers  5ms/20ms
  tasks        1 FIFO, 0 RR, 0 DEADLINE, 1 other
  used         2.5ms in 40 periods
  throttled    3 times, 45ms
  overruns     1, longest 12us
  trouble      0 deadlines missed, 2 times unserved
)");
}

TEST_F(Cli, ShowJson)
{
	auto ran = dlgroup("--json show /a");
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(ran.out, R"({
  "schema_version": 1,
  "group": "/a",
  "reservation": {
    "runtime_ns": 5000000,
    "period_ns": 20000000
  },
  "source": "/a",
  "cpus": "0-1",
  "total": {
    "cpus": 2,
    "each_ppb": 250000000,
    "text": "25 % of 2 CPUs = 0.50 CPU"
  },
  "effective": [
    {
      "runtime_ns": 5000000,
      "period_ns": 20000000,
      "cpus": "0-1"
    }
  ],
  "carved": [],
  "tasks": {
    "fifo": 1,
    "rr": 0,
    "deadline": 0,
    "other": 1
  },
  "stat": {
    "irq_ns": 0,
    "nr_dl_miss": 0,
    "nr_migrations": 0,
    "nr_overruns": 1,
    "nr_periods": 40,
    "nr_throttled": 3,
    "nr_unserved": 2,
    "overrun_ns_max": 12000,
    "throttled_ns": 45000000,
    "usage_ns": 2500000
  },
  "stat_cpus": [
    {
      "cpu": 0,
      "nr_overruns": 1,
      "nr_periods": 40,
      "nr_throttled": 3,
      "overrun_ns_max": 11999,
      "throttled_ns": 45000000,
      "usage_ns": 2500000
    }
  ],
  "notes": []
}
)");
}

TEST_F(Cli, ShowWhereNothingIsReserved)
{
	auto ran = dlgroup("show /b");
	EXPECT_EQ(ran.status, 0);
	EXPECT_NE(ran.out.find("reservation  max: no reservation\n"), std::string::npos);
	made_.add_group("/a/in", "max 100000");
	EXPECT_NE(dlgroup("show /a/in").out.find("max: runs inside the reservation of /a, 5ms/20ms"),
		  std::string::npos);
}

TEST_F(Cli, ShowByPid)
{
	EXPECT_EQ(dlgroup("show pid:42").out, dlgroup("show /a").out);
	made_.add_task(44, "free", 0, 0, "/");
	auto ran = dlgroup("show pid:44");
	EXPECT_EQ(ran.status, 2);
	EXPECT_EQ(ran.err,
		  "dlgroup: pid:44: is in the root cgroup, which has no reservation\n");
	EXPECT_EQ(dlgroup("show pid:4711").status, 1);
	EXPECT_EQ(dlgroup("show pid:x").status, 2);
}

TEST_F(Cli, List)
{
	made_.add_group("/zero", "0 100000");
	auto ran = dlgroup("list --headroom");
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(ran.out,
		  R"(GROUP  RESERVATION      CPUS     TOTAL                        FIFO/RR TASKS
/a     5ms/20ms         0-1      25 % of 2 CPUs = 0.50 CPU    1
/zero  0                0-1      0 % of 2 CPUs = 0.00 CPU     0
CPU        CAP  FAIR SERVER   GROUPS  DEADLINE TASKS     FREE
0       95.0 %        5.0 %    0.0 %           0.0 %   90.0 %
1       95.0 %        5.0 %    0.0 %           0.0 %   90.0 %
)");
	auto json = nlohmann::json::parse(dlgroup("list --headroom --json").out);
	EXPECT_EQ(json["schema_version"], 1);
	EXPECT_EQ(json["groups"].size(), 2U);
	EXPECT_EQ(json["headroom"][1]["free_ppb"], 900000000);
}

// By the cgroup and what the engines keep on disk; without that, by the beginning of the id.
TEST_F(Cli, ListNamesContainers)
{
	auto id = [](char digit) { return std::string(64, digit); };
	made_.add_group("/system.slice/docker-" + id('a') + ".scope", "1000 20000");
	made_.write("var/lib/docker/containers/" + id('a') + "/config.v2.json", R"({"Name": "/web", "ID": "x"})");
	made_.add_group("/docker/" + id('b'), "1000 20000");
	made_.write("var/lib/docker/containers/" + id('b') + "/config.v2.json", "no JSON");
	made_.add_group("/machine.slice/libpod-" + id('c') + ".scope/container", "1000 20000");
	made_.write("var/lib/containers/storage/overlay-containers/containers.json",
		    R"([5, {"id": "x"}, {"id": ")" + id('c') + R"(", "names": ["db"]}])");
	made_.add_group("/lxc.payload.box", "1000 20000");
	made_.add_group("/docker-" + id('.') + ".scope", "1000 20000"); // of nobody
	std::map<std::string, std::string> told;
	auto ran = dlgroup("list");
	for (const auto &line : lines(ran.out)) {
		auto all = words(line);
		EXPECT_EQ(line, trimmed(line));
		told[all[0]] = line.substr(line.find("CPU", line.find(" = ") + 8) + 3);
	}
	EXPECT_TRUE(told["GROUP"].ends_with(" CONTAINER")) << ran.out;
	EXPECT_TRUE(told["/system.slice/docker-" + id('a') + ".scope"].ends_with(" docker web")) << ran.out;
	EXPECT_TRUE(told["/docker/" + id('b')].ends_with(" docker bbbbbbbbbbbb")) << ran.out;
	EXPECT_TRUE(told["/machine.slice/libpod-" + id('c') + ".scope/container"].ends_with(" podman db")) << ran.out;
	EXPECT_TRUE(told["/lxc.payload.box"].ends_with(" lxc box")) << ran.out;
	for (const std::string group : {"/a", "/docker-"})
		EXPECT_EQ(words(told[group == "/a" ? group : group + id('.') + ".scope"]).size(), 1U) << ran.out;
	EXPECT_NE(dlgroup("show /lxc.payload.box").out.find("  container    lxc box\n"), std::string::npos);
	auto json = nlohmann::json::parse(dlgroup("list --json").out);
	for (const auto &group : json["groups"])
		EXPECT_EQ(group.contains("container"), group["group"] != "/a" && group["group"] != "/docker-" + id('.') + ".scope");
}

TEST_F(Cli, ListWithoutAny)
{
	made_.write("sys/fs/cgroup/a/cpu.rt.max", "max 100000\n");
	EXPECT_EQ(dlgroup("list").out, "no reservations\n");
}

TEST_F(Cli, SetSaysTheTotal)
{
	auto ran = dlgroup("set /a 1.5ms/5ms");
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(ran.out, "/a: 1.5ms/5ms on CPUs 0-1 (30 % of 2 CPUs = 0.60 CPU)\n");
	EXPECT_EQ(made_.read("sys/fs/cgroup/a/cpu.rt.max"), "1500 5000\n");
	ran = dlgroup("set /b 1ms/10ms");
	EXPECT_EQ(ran.err, "dlgroup: /b: reserved 1ms/10ms, nothing in it is FIFO/RR and `fair` is "
			   "not set\n");
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(dlgroup("set /a --runtime 2ms --period 8ms").status, 0);
	EXPECT_EQ(made_.read("sys/fs/cgroup/a/cpu.rt.max"), "2000 8000\n");
	EXPECT_EQ(dlgroup("set /a 0").status, 0);
	EXPECT_EQ(made_.read("sys/fs/cgroup/a/cpu.rt.max"), "0\n");
}

TEST_F(Cli, DryRunsPrintEveryWrite)
{
	made_.write("sys/fs/cgroup/cgroup.subtree_control", "memory\n");
	auto ran = dlgroup("set /c 5ms/20ms --cpus 0-1 --fifo 7 --dry-run");
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(plain(ran.out), R"(echo '+cpu +cpuset' > ROOT/sys/fs/cgroup/cgroup.subtree_control
mkdir ROOT/sys/fs/cgroup/c
echo '0-1' > ROOT/sys/fs/cgroup/c/cpuset.cpus
echo '5000 20000' > ROOT/sys/fs/cgroup/c/cpu.rt.max
)");
	ran = dlgroup("set /a 5ms/20ms --rr 7 --dry-run");
	EXPECT_EQ(plain(ran.out), R"(echo '+cpu' > ROOT/sys/fs/cgroup/cgroup.subtree_control
echo '5000 20000' > ROOT/sys/fs/cgroup/a/cpu.rt.max
chrt --rr --pid 7 42
chrt --rr --pid 7 43
)");
	ran = dlgroup("run 5ms/20ms --fifo 7 --name job --dry-run -- echo hello");
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(plain(ran.out), R"(echo '+cpu' > ROOT/sys/fs/cgroup/cgroup.subtree_control
mkdir ROOT/sys/fs/cgroup/dlgroup.job
echo '5000 20000' > ROOT/sys/fs/cgroup/dlgroup.job/cpu.rt.max
echo $$ > ROOT/sys/fs/cgroup/dlgroup.job/cgroup.procs
chrt --fifo 7 echo hello
rmdir ROOT/sys/fs/cgroup/dlgroup.job
)");
	EXPECT_EQ(plain(dlgroup("attach /b 42 --fifo 3 --dry-run").out),
		  "echo '42' > ROOT/sys/fs/cgroup/b/cgroup.procs\nchrt --fifo --pid 3 42\n");
	EXPECT_EQ(plain(dlgroup("detach 42 --dry-run").out),
		  "echo '42' > ROOT/sys/fs/cgroup/cgroup.procs\n");
	EXPECT_EQ(plain(dlgroup("rm /b --dry-run").out), "rmdir ROOT/sys/fs/cgroup/b\n");
	auto json = nlohmann::json::parse(dlgroup("rm /b --dry-run --json").out);
	EXPECT_EQ(json["steps"].size(), 1U);
	// Nothing of all this was done.
	EXPECT_EQ(made_.read("sys/fs/cgroup/cgroup.subtree_control"), "memory\n");
	EXPECT_EQ(made_.read("sys/fs/cgroup/a/cpu.rt.max"), "5000 20000\n");
	EXPECT_TRUE(std::filesystem::exists(made_.path("sys/fs/cgroup/b")));
	EXPECT_FALSE(std::filesystem::exists(made_.path("sys/fs/cgroup/c")));
}

// One sentence, no answer, the right status, nothing changed.
TEST_F(Cli, BadInput)
{
	struct Case {
		const char *arguments;
		int status;
		const char *says;
	};
	for (const auto &bad : std::initializer_list<Case>{
		     {"", 2, "usage: A subcommand is required"},
		     {"frobnicate", 2, "usage: "},
		     {"set", 2, "usage: TARGET is required"},
		     {"set /a", 2, "reservation: missing"},
		     {"set /a 5/20", 2, "'5': has no unit"},
		     {"set /a 30ms/20ms", 2, "the runtime 30ms is longer than the period 20ms"},
		     {"set /a 5ms/20ms --runtime 5ms", 2, "given together with --runtime"},
		     {"set /a --period 5ms", 2, "--period: needs --runtime"},
		     {"set a 5ms/20ms", 2, "a: not a target"},
		     {"set / 5ms/20ms", 2, "/: the root cgroup has no reservation"},
		     {"set /a/../b 5ms/20ms", 2, "'..' in the name of a cgroup"},
		     {"set /no/such 5ms/20ms", 2, "/no/such: its parent does not exist"},
		     {"set /a 5ms/20ms --fifo 0", 2, "--fifo"},
		     {"set /a 5ms/20ms --fifo 100", 2, "--fifo"},
		     {"set /a 5ms/20ms --fifo 1 --rr 1", 2, "excludes"},
		     {"set /a 0 --fifo 1", 2, "runtime 0 forbids FIFO/RR"},
		     {"set /a 5ms/20ms --cpus 3-1", 2, "'3-1': not a list of CPUs"},
		     {"set /a 5ms/20ms --fifo 1", 2, "--root: tasks of another tree"},
		     {"set /a 5ms/20ms -- ls", 2, "only run and vm run take a command"},
		     {"set /a 5ms/20ms extra", 2, "usage: "},
		     {"set /a 5ms/20ms --plan x", 2, "RES excludes --plan"},
		     {"set /a --runtime 5ms --plan x", 2, "--runtime excludes --plan"},
		     {"set --plan /nowhere", 2, "/nowhere: cannot be read"},
		     {"set --plan -", 2, "standard input:1:1: not JSON"},
		     {"container setup", 2, "usage: ENGINE is required"},
		     {"container setup crio", 2, "usage: ENGINE: crio not in {docker,podman,containerd,lxc}"},
		     {"container unset docker podman", 2, "usage: "},
		     {"container setup docker", 2, "/etc/dlgroup/policy.toml: has no class"},
		     {"save", 2, "usage: FILE is required"},
		     {"apply", 2, "usage: FILE is required"},
		     {"apply /nowhere", 2, "/nowhere: cannot be read"},
		     {"apply -", 2, "standard input:1:1: not JSON"},
		     {"show", 2, "usage: TARGET is required"},
		     {"show unit:", 2, "not the name of a unit"},
		     {"show 'unit:a*'", 2, "not the name of a unit"},
		     {"show /nope", 2, "/nope: no such cgroup"},
		     {"show container:../x", 2, "not the name of a container"},
		     {"irq", 2, "usage: "},
		     {"irq list --interval 0s", 2, "--interval: has to be more than 0"},
		     {"irq list --interval 5", 2, "'5': has no unit"},
		     {"irq attach /a", 2, "usage: IRQ is required"},
		     {"irq attach /a 7 --dry-run", 2, "IRQ 7: no such IRQ"},
		     {"irq attach /a eth0", 2, "eth0: not the number of an IRQ"},
		     {"irq attach /a 7 --rr 5", 2, "usage: "},
		     {"irq detach", 2, "usage: IRQ is required"},
		     {"irq detach 7 --dry-run", 1, "IRQ 7: is not attached"},
		     {"net", 2, "usage: "},
		     {"net attach /a", 2, "usage: INTERFACE is required"},
		     {"net attach /a eth7 --dry-run", 2, "eth7: no such interface"},
		     {"net attach /b eth7 --dry-run", 2, "/b: has no reservation"},
		     {"net attach /a eth7", 2, "--root: threads of another tree"},
		     {"net detach eth7 --dry-run", 1, "eth7: is not attached"},
		     {"rm /nope", 2, "/nope: no such cgroup"},
		     {"rm /a", 1, "/a: has processes: 42 43"},
		     {"rm /", 2, "/: the root cgroup has no reservation"},
		     {"run 5ms/20ms", 2, "run: no command"},
		     {"run -- ls", 2, "reservation: missing"},
		     {"run 5ms/20ms --name /a -- ls", 2, "/a: exists already"},
		     {"run 5ms/20ms --name /x/y -- ls", 2, "its parent does not exist"},
		     {"attach /a", 2, "usage: PID is required"},
		     {"attach /a x", 2, "usage: "},
		     {"attach /a 0", 2, "usage: "},
		     {"attach /a 4711", 2, "pid 4711: no such task"},
		     {"attach /nope 42", 2, "/nope: no such cgroup"},
		     {"detach 4711", 2, "pid 4711: no such task"},
		     {"doctor /nope", 2, "/nope: no such cgroup"},
		     {"check", 2, "usage: "},
		     {"check --sched rr --runtime 1ms --period 2ms /dev/null", 2, "--sched"},
		     {"check --sched fp --period 2ms /dev/null", 2, "--runtime is required"},
		     {"check --sched fp --runtime 3ms --period 2ms /dev/null", 2,
		      "the runtime 3ms is longer than the period 2ms"},
		     {"check --sched fp --runtime 1 --period 2ms /dev/null", 2,
		      "--runtime: '1': has no unit"},
		     {"check --sched fp --runtime 0ns --period 0ns /dev/null", 2, "--period: is 0"},
		     {"check --sched edf --prio dm --runtime 1ms --period 2ms /dev/null", 2,
		      "--prio: needs --sched fp"},
		     {"check --sched fp --runtime 1ms --period 2ms --cpus 0 /dev/null", 2, "--cpus"},
		     {"check --sched fp --runtime 1ms --period 2ms /nowhere", 2,
		      "/nowhere: cannot be read"},
		     {"check --sched fp --runtime 1ms --period 2ms -", 2, "standard input:1:1: no tasks"},
		     {"design --sched fp --period 1500ns /dev/null", 2, "/dev/null:1:1: no tasks"},
		     {"design --sched fp /dev/null", 2, "--period is required"},
		     {"simulate --sched fp --period 2ms /dev/null", 2, "--runtime is required"},
		     {"simulate --sched fp --runtime 1ms --period 2ms /dev/null", 2, "/dev/null:1:1: no tasks"},
		     {"gen", 2, "--utilisation is required"},
		     {"gen --utilisation 80%", 2, "--utilisation: '80%': not a share such as 0.85"},
		     {"gen --utilisation 0.8", 2, "--tasks: expected a number from 1"},
		     {"gen --utilisation 2.5 --tasks 2", 2, "--utilisation: no 2 such shares add up"},
		     {"gen --utilisation 0.8 --tasks -1", 2, "--tasks"},
		     {"gen --utilisation 0.8 --tasks 2 --seed x", 2, "--seed"},
		     {"gen --utilisation 0.8 --shares heavy", 2, "--shares: 'heavy': expected uni-light"},
		     {"gen --utilisation 0.8 --tasks 2 --periods 5:6", 2, "--periods: '5': has no unit"},
		     {"list --cgroup-root /nowhere", 2, "/nowhere: not a directory"},
	     }) {
		auto ran = dlgroup(bad.arguments);
		EXPECT_EQ(ran.status, bad.status) << bad.arguments;
		EXPECT_EQ(ran.out, "") << bad.arguments;
		EXPECT_TRUE(ran.err.starts_with("dlgroup: ")) << bad.arguments << ran.err;
		EXPECT_NE(ran.err.find(bad.says), std::string::npos)
			<< bad.arguments << ": " << ran.err;
		EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
		EXPECT_EQ(made_.read("sys/fs/cgroup/a/cpu.rt.max"), "5000 20000\n")
			<< bad.arguments;
	}
}

TEST_F(Cli, Check)
{
	made_.write("tasks", "1ms 5ms 10ms\n2.5ms 20ms 20ms\n");
	auto file = made_.path("tasks").string();
	auto ran = dlgroup("check --sched fp --runtime 2ms --period 4ms " + file);
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(ran.err, "");
	EXPECT_EQ(ran.out, R"(schedulable by fp-response: 2ms/4ms on 1 CPU (50 % of 1 CPU = 0.50 CPU)
TASK       RUNTIME     DEADLINE       PERIOD     RESPONSE        SLACK
1              1ms          5ms         10ms          5ms            0
2            2.5ms         20ms         20ms        9.5ms       10.5ms
)");
	ran = dlgroup("check --sched fp --runtime 5ms --period 8ms - <" + file);
	EXPECT_EQ(ran.status, 3);
	EXPECT_EQ(lines(ran.out)[0],
		  "unschedulable by fp-response: 5ms/8ms on 1 CPU (62.5 % of 1 CPU = 0.63 CPU): task 1 "
		  "misses: 5ms after the start it needs 1ms and gets 0");
	// No kernel and no cgroup is looked at.
	EXPECT_EQ(shell(made_, DLGROUP_COMMAND " --root /nowhere check --sched edf --runtime 3ms "
			"--period 4ms --explain " + file).status, 0);
	ran = dlgroup("check --sched edf --runtime 3ms --period 4ms --cpus 2 " + file);
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(lines(ran.out)[0], "schedulable by first-fit: 3ms/4ms on 2 CPUs (75 % of 2 CPUs = 1.50 CPU): "
				     "with each task pinned to its CPU");
	// Neither has a CPU to itself then.
	made_.write("three", "3ms 5ms 5ms\n3ms 5ms 5ms\n3ms 5ms 5ms\n");
	ran = dlgroup("check --sched edf --runtime 4ms --period 4ms --cpus 2 " + made_.path("three").string());
	EXPECT_EQ(ran.status, 3);
	EXPECT_TRUE(ran.out.starts_with("not proved: 4ms/4ms on 2 CPUs (100 % of 2 CPUs = 2.00 CPU): first fit "
					"finds no CPU for each task")) << ran.out;
}

TEST_F(Cli, DesignForSeveralCpus)
{
	made_.write("tasks", "3ms 10ms 10ms\n1ms 10ms 10ms\n3ms 10ms 10ms\n");
	auto file = made_.path("tasks").string();
	EXPECT_EQ(dlgroup("design --sched fp --period 2ms --cpus 1 " + file).status, 0);
	auto ran = dlgroup("design --json --sched fp --period 2ms --cpus 2 " + file);
	EXPECT_EQ(ran.status, 0);
	auto json = nlohmann::json::parse(ran.out);
	EXPECT_EQ(json["verdict"], "schedulable");
	EXPECT_EQ(json["method"], "first-fit");
	EXPECT_EQ(json["exact"], false);
	EXPECT_EQ(json["tasks"][0]["cpu"], 0);
	EXPECT_EQ(json["tasks"][1]["cpu"], 0);
	EXPECT_EQ(json["tasks"][2]["cpu"], 1);
	EXPECT_EQ(json["notes"][0], "it is enough with each task pinned to its CPU; placed otherwise, a smaller "
				    "runtime may do");
	// What it prints passes check, and set takes it as a plan.
	auto runtime = json["runtime_ns"].get<std::int64_t>();
	auto check = "check --explain --sched fp --runtime " + std::to_string(runtime) + "ns --period 2ms --cpus 2 " + file;
	ran = dlgroup(check);
	EXPECT_EQ(ran.status, 0);
	EXPECT_NE(ran.out.find("\nCPU 0: tasks 1, 2\n"), std::string::npos) << ran.out;
	EXPECT_NE(ran.out.find("SLACK  CPU\n"), std::string::npos) << ran.out;
}

TEST_F(Cli, CheckSensitivity)
{
	made_.write("tasks", "1ms 5ms 10ms\n2.5ms 20ms 20ms\n");
	auto file = " --sensitivity " + made_.path("tasks").string();
	auto ran = dlgroup("check --sched fp --runtime 2ms --period 4ms" + file);
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(lines(ran.out)[1], "schedulable until all runtimes grow by a factor of 1.000");
	ran = dlgroup("check --json --sched fp --runtime 3ms --period 4ms" + file);
	auto json = nlohmann::json::parse(ran.out)["growth"];
	EXPECT_EQ(json["permille"], 3000);
	EXPECT_EQ(json["exact"], true);
	ran = dlgroup("check --sched fp --runtime 1.75ms --period 4ms" + file);
	EXPECT_EQ(ran.status, 3);
	EXPECT_EQ(lines(ran.out)[1], "schedulable if all runtimes shrink to 0.500 of these");
	EXPECT_EQ(lines(dlgroup("check --sched fp --runtime 0ms --period 4ms" + file).out)[1],
		  "not schedulable even at a factor of 0.001");
	EXPECT_EQ(dlgroup("check --sched fp --runtime 2ms --period 4ms --cpus 2" + file).status, 2);
}

TEST_F(Cli, CheckPlot)
{
	made_.write("tasks", "1ms 5ms 10ms\n2.5ms 20ms 20ms\n");
	auto check = [&](const std::string &arguments) {
		auto picture = made_.path("plot.svg").string();
		auto ran = dlgroup("check " + arguments + " --plot " + picture + " " + made_.path("tasks").string());
		EXPECT_EQ(ran.err, "");
		EXPECT_EQ(dlgroup("check " + arguments + " " + made_.path("tasks").string()).out, ran.out);
		return slurp(picture);
	};
	// The witness: 5 ms after the start 1 ms is needed and nothing given.
	auto svg = check("--sched fp --runtime 5ms --period 8ms");
	EXPECT_TRUE(svg.starts_with("<svg xmlns"));
	EXPECT_NE(svg.find("class=\"miss\"><title>needs 1ms</title>"), svg.npos);
	EXPECT_NE(svg.find("class=\"mark\"><title>gets 0</title>"), svg.npos);
	EXPECT_NE(svg.find("rbf of task 1"), svg.npos);
	svg = check("--sched edf --runtime 5ms --period 8ms");
	EXPECT_NE(svg.find("<title>needs 1ms</title>"), svg.npos);
	EXPECT_NE(svg.find("dbf"), svg.npos);
	for (const char *sched : {"edf", "fp"}) {
		svg = check(std::string("--sched ") + sched + " --runtime 3ms --period 4ms");
		EXPECT_EQ(svg.find("<circle"), svg.npos);
		EXPECT_NE(svg.find("class=\"supply\""), svg.npos);
		EXPECT_NE(svg.find("class=\"demand\""), svg.npos);
	}
	auto file = made_.path("tasks").string();
	EXPECT_EQ(dlgroup("check --sched edf --runtime 3ms --period 4ms --plot /nowhere/x " + file).err,
		  "dlgroup: /nowhere/x: cannot be written: No such file or directory\n");
	EXPECT_EQ(dlgroup("check --sched edf --runtime 3ms --period 4ms --cpus 2 --plot x " + file).err,
		  "dlgroup: --plot: is for one CPU\n");
}

TEST_F(Cli, CheckJson)
{
	made_.write("tasks", R"({"tasks": [{"name": "control", "runtime": "1ms", "deadline": "5ms",
		"period": "10ms"}, {"runtime": "2.5ms", "deadline": "20ms", "period": "20ms"}]})");
	auto ran = dlgroup("check --json --sched fp --runtime 5ms --period 8ms --explain " +
			   made_.path("tasks").string());
	EXPECT_EQ(ran.status, 3);
	auto json = nlohmann::json::parse(ran.out);
	EXPECT_EQ(json["schema_version"], 1);
	EXPECT_EQ(json["verdict"], "unschedulable");
	EXPECT_EQ(json["method"], "fp-response");
	EXPECT_EQ(json["tasks"][0]["name"], "control");
	EXPECT_EQ(json["tasks"][0]["response_ns"], 7000000);
	EXPECT_EQ(json["tasks"][0]["slack_ns"], -2000000);
	EXPECT_EQ(json["tasks"][1]["slack_ns"], 10500000);
	EXPECT_EQ(json["witness"]["instant_ns"], 5000000);
	EXPECT_EQ(json["witness"]["demand_ns"], 1000000);
	EXPECT_EQ(json["witness"]["supply_ns"], 0);
	EXPECT_FALSE(json["explain"].empty());
}

TEST_F(Cli, Design)
{
	// Against the order of priorities that it needs.
	made_.write("tasks", "2.5ms 20ms 20ms\n1ms 5ms 10ms\n");
	auto file = made_.path("tasks").string();
	auto ran = dlgroup("design --sched fp --prio dm --period 4ms " + file);
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(ran.out, R"(runtime 2ms is enough by fp-response
cpu.rt.max: 2000 4000: 2ms/4ms on 1 CPU (50 % of 1 CPU = 0.50 CPU)
TASK       RUNTIME     DEADLINE       PERIOD     RESPONSE        SLACK
1            2.5ms         20ms         20ms        9.5ms       10.5ms
2              1ms          5ms         10ms          5ms            0
)");
	// The exact one has 1 ns, the line whole microseconds.
	made_.write("tasks", "1000001ns 5ms 10ms\n2.5ms 20ms 20ms\n");
	ran = dlgroup("design --json --sched edf --period 4ms --cpus 1 " + file);
	EXPECT_EQ(ran.status, 0);
	auto json = nlohmann::json::parse(ran.out);
	auto least = json["runtime_ns"].get<long>();
	EXPECT_GT(least, 2000000);
	EXPECT_EQ(json["cpu_rt_max"], "2001 4000");
	EXPECT_EQ(json["period_ns"], 4000000);
	EXPECT_EQ(json["cpus"], 1);
	auto check = [&](long runtime) {
		return dlgroup("check --sched edf --period 4ms --runtime " + std::to_string(runtime) +
			       "ns " + file).status;
	};
	EXPECT_EQ(check(least), 0);
	EXPECT_EQ(check(least - 1), 3);
	made_.write("tasks", "6ms 5ms 10ms\n");
	ran = dlgroup("design --json --sched edf --period 4ms " + file);
	EXPECT_EQ(ran.status, 3);
	json = nlohmann::json::parse(ran.out);
	EXPECT_EQ(json["verdict"], "unschedulable");
	EXPECT_TRUE(json["runtime_ns"].is_null());
	EXPECT_TRUE(json["cpu_rt_max"].is_null());
	// What an ordinary user cannot write is said.
	made_.write("tasks", "1us 50ms 50ms\n");
	EXPECT_NE(dlgroup("design --sched fp --period 10ms " + file).err.find("CAP_SYS_NICE"),
		  std::string::npos);
}

TEST_F(Cli, Gen)
{
	auto ran = dlgroup("gen --utilisation 0.5 --tasks 3 --seed 7 --periods 5ms:50ms:5ms");
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(ran.err, "");
	EXPECT_EQ(ran.out, R"(# dlgroup gen --seed 7 --utilisation 0.5 --tasks 3 --periods 5ms:50ms:5ms
4.208318ms 10ms 10ms
2.368362ms 35ms 35ms
517.53us 45ms 45ms
)");
	// The line that it begins with makes it again, and check takes either form.
	EXPECT_EQ(dlgroup(lines(ran.out)[0].substr(std::string("# dlgroup ").size())).out, ran.out);
	auto json = dlgroup("gen --json --utilisation 0.5 --tasks 3 --seed 7 --periods 5ms:50ms:5ms");
	made_.write("plain", ran.out);
	made_.write("json", json.out);
	EXPECT_EQ(nlohmann::json::parse(json.out)["schema_version"], 1);
	auto check = "check --sched fp --runtime 4ms --period 5ms ";
	auto plain = dlgroup(check + made_.path("plain").string());
	EXPECT_EQ(plain.status, 0);
	EXPECT_EQ(plain.out, dlgroup(check + made_.path("json").string()).out);
	ran = dlgroup("gen --utilisation 2 --shares bimo-medium --periods uni-moderate --deadlines constrained");
	EXPECT_EQ(ran.status, 0);
	EXPECT_GT(lines(ran.out).size(), 3U);
}

TEST_F(Cli, Simulate)
{
	made_.write("tasks", "1ms 5ms 10ms\n2.5ms 20ms 20ms\n");
	auto file = made_.path("tasks").string();
	auto ran = dlgroup("simulate --sched fp --runtime 2ms --period 4ms " + file);
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(ran.err, "");
	EXPECT_EQ(ran.out, R"(0 of 30 jobs in 200ms were late: 2ms/4ms on 1 CPU (50 % of 1 CPU = 0.50 CPU), worst supply, synchronous releases
TASK      DEADLINE         JOBS       MISSES     RESPONSE    PREDICTED
1              5ms           20            0          5ms          5ms
2             20ms           10            0        9.5ms        9.5ms
)");
	// A deadline missed is seen in the exit status and in the picture, in red.
	auto picture = made_.path("gantt.svg").string();
	ran = dlgroup("simulate --json --sched fp --runtime 5ms --period 8ms --duration 40ms --gantt " +
		      picture + " - <" + file);
	EXPECT_EQ(ran.status, 3);
	auto json = nlohmann::json::parse(ran.out);
	EXPECT_EQ(json["schema_version"], 1);
	EXPECT_EQ(json["duration_ns"], 40000000);
	EXPECT_EQ(json["jobs"], 6);
	EXPECT_EQ(json["misses"], 1);
	EXPECT_EQ(json["tasks"][0]["misses"], 1);
	EXPECT_EQ(json["tasks"][0]["response_ns"], 7000000);
	EXPECT_EQ(json["tasks"][0]["predicted_ns"], 7000000);
	EXPECT_EQ(json["tasks"][1]["jobs"], 2);
	auto svg = slurp(picture);
	EXPECT_TRUE(svg.starts_with("<svg xmlns"));
	EXPECT_EQ(options_in(svg, "<path class=\"(miss)\"").size(), 1U);
	EXPECT_NE(svg.find("<title>2: 7ms to 9.5ms</title>"), svg.npos);
	EXPECT_NE(svg.find("class=\"wait\""), svg.npos);
	// The responses: 20 ms are 960 pixels, from 120 on. Bound and bar end at 7 ms,
	// behind the deadline of 5 ms; the second task's is the longest response there is.
	ran = dlgroup("simulate --sched fp --runtime 5ms --period 8ms --duration 40ms --plot " + picture + " " + file);
	EXPECT_EQ(ran.status, 3);
	svg = slurp(picture);
	EXPECT_NE(svg.find("x=\"120.00\" y=\"62.00\" width=\"336.00\" height=\"20.00\" class=\"miss\"><title>1: 7ms"),
		  svg.npos);
	EXPECT_NE(svg.find("class=\"run\"><title>2: 9.5ms"), svg.npos);
	EXPECT_NE(svg.find("<path class=\"miss\" d=\"M360.00 "), svg.npos);
	EXPECT_NE(svg.find("<path class=\"mark\" d=\"M1080.00 "), svg.npos);
	EXPECT_NE(svg.find("<polyline class=\"supply\" points=\"456.00,"), svg.npos);
	EXPECT_NE(svg.find("<polyline class=\"supply\" points=\"576.00,"), svg.npos);
	EXPECT_NE(svg.find("<polyline class=\"mark\" points=\"456.00,"), svg.npos);
	// Seeds are taken, and the same ones do the same.
	auto random = "simulate --sched edf --runtime 2ms --period 4ms --supply random:3 --releases sporadic:4 " + file;
	ran = dlgroup(random);
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(ran.out, dlgroup(random).out);
	EXPECT_NE(ran.out, dlgroup("simulate --sched edf --runtime 2ms --period 4ms --supply random:3 "
				   "--releases sporadic:5 " + file).out);
	// The wakeup rule protects a lone thread.
	made_.write("tasks", "1ms 10ms 10ms\n");
	EXPECT_EQ(dlgroup("simulate --sched edf --runtime 1ms --period 10ms " + file).status, 0);
	made_.write("tasks", R"({"tasks": [{"runtime": "1ms", "deadline": "10ms", "period": "10ms", "blocking": "1ms"}]})");
	EXPECT_EQ(dlgroup("simulate --sched edf --runtime 9ms --period 10ms " + file).err,
		  "dlgroup: simulate: the blocking of tasks is not simulated\n");
	for (auto [arguments, says] : {
		     std::pair("--duration 0ms", "--duration: is 0"),
		     std::pair("--duration 5", "--duration: '5': has no unit"),
		     std::pair("--duration 1000000s", "--duration: 1000000s has more than 2000000 jobs"),
		     std::pair("--supply late", "--supply: 'late': expected worst, early or random:SEED"),
		     std::pair("--supply random:x", "--supply: 'random:x': expected a seed, as in random:1"),
		     std::pair("--releases random:1", "--releases: 'random:1': expected synchronous or sporadic"),
		     std::pair("--gantt /nowhere/x", "/nowhere/x: cannot be written: No such file"),
		     std::pair("--plot /nowhere/x", "/nowhere/x: cannot be written: No such file"),
		     std::pair("--duration 900s --gantt /nowhere/x", "--gantt: too much to draw")}) {
		ran = dlgroup("simulate --sched edf --runtime 1ms --period 10ms " + file + " " + arguments);
		EXPECT_EQ(ran.status, 2) << arguments;
		EXPECT_EQ(ran.out, "");
		EXPECT_NE(ran.err.find(says), ran.err.npos) << ran.err;
	}
}

TEST_F(Cli, DesignChoosesThePeriod)
{
	made_.write("tasks", "1ms 5ms 10ms\n2.5ms 20ms 20ms\n");
	auto file = " " + made_.path("tasks").string();
	// 0.3 ms each: 3 ms is the best of these.
	auto ran = dlgroup("design --sched fp --period 1ms:8ms:1ms --overhead 300us" + file);
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(lines(ran.out)[1], "cpu.rt.max: 1300 3000: 1.3ms/3ms on 1 CPU (43.3 % of 1 CPU = 0.43 CPU)");
	auto json = nlohmann::json::parse(
		dlgroup("design --json --sched fp --period 1ms:8ms:1ms --overhead 300us" + file).out);
	EXPECT_EQ(json["overhead_ns"], 300000);
	auto share = [&](const std::string &period) {
		auto one = nlohmann::json::parse(
			dlgroup("design --json --sched fp --overhead 300us --period " + period + file).out);
		EXPECT_EQ(one["runtime_ns"].is_null(), one["cpu_rt_max"].is_null());
		return one["each_ppb"].is_null() ? 2000000000L : one["each_ppb"].get<long>();
	};
	auto least = share("1ms");
	for (int ms = 2; ms <= 8; ms++)
		least = std::min(least, share(std::to_string(ms) + "ms"));
	EXPECT_EQ(json["each_ppb"], least);
	EXPECT_EQ(dlgroup("design --sched fp --period 1ms:8ms:1ms --overhead 1s" + file).status, 3);
	for (auto [arguments, says] : {std::pair("1ms:8ms:1us --overhead 1", "--overhead: '1': has no unit"),
				       std::pair("1ms:80ms", "--period: more than 10000 periods"),
				       std::pair("1ms:80", "--period: '80': has no unit"),
				       std::pair("1ms:2ms:1500ns", "--period: not a whole number of microseconds")}) {
		ran = dlgroup(std::string("design --sched fp --period ") + arguments + file);
		EXPECT_EQ(ran.status, 2) << arguments;
		EXPECT_NE(ran.err.find(says), ran.err.npos) << ran.err;
	}
}

TEST_F(Cli, SetFromAPlan)
{
	made_.write("plan", R"([{"group": "/b", "cpu_rt_max": "1000 10000"},
				{"group": "pid:42", "cpu_rt_max": "1500 5000"}])");
	auto plan = " --plan " + made_.path("plan").string();
	auto ran = dlgroup("set --dry-run" + plan);
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(plain(ran.out), R"(echo '1000 10000' > ROOT/sys/fs/cgroup/b/cpu.rt.max
echo '1500 5000' > ROOT/sys/fs/cgroup/a/cpu.rt.max
)");
	EXPECT_EQ(made_.read("sys/fs/cgroup/a/cpu.rt.max"), "5000 20000\n");
	ran = dlgroup("set" + plan);
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(ran.out, R"(/b: 1ms/10ms on CPUs 0-1 (10 % of 2 CPUs = 0.20 CPU)
/a: 1.5ms/5ms on CPUs 0-1 (30 % of 2 CPUs = 0.60 CPU)
)");
	EXPECT_EQ(ran.err, "dlgroup: /b: reserved 1ms/10ms, nothing in it is FIFO/RR and `fair` is "
			   "not set\n");
	EXPECT_EQ(made_.read("sys/fs/cgroup/a/cpu.rt.max"), "1500 5000\n");
	auto json = nlohmann::json::parse(dlgroup("set --json" + plan).out);
	EXPECT_EQ(json["schema_version"], 1);
	EXPECT_EQ(json["groups"].size(), 2U);
	EXPECT_EQ(json["groups"][1]["total"]["text"], "30 % of 2 CPUs = 0.60 CPU");
}

TEST_F(Cli, SaveAndApply)
{
	made_.write("sys/fs/cgroup/cgroup.subtree_control", "cpu cpuset\n");
	made_.write("sys/fs/cgroup/a/cpuset.cpus", "1\n");
	made_.add_group("/s", "max 100000");
	made_.write("sys/fs/cgroup/s/cpuset.cpus", "0-1\n");
	made_.add_group("/s/r", "0 100000");
	made_.write("sys/fs/cgroup/s/r/cpu.rt.cpus", "1 6000 20000\n");
	made_.write("sys/fs/cgroup/s/r/cpu.rt.fair", "1\n");
	made_.write("sys/fs/cgroup/s/r/cpu.rt.unpriv", "0\n");
	made_.add_group("/m.slice", "max 100000");
	made_.write("sys/fs/cgroup/m.slice/cpuset.cpus", "0\n"); // for nothing that stays
	for (const char *group : {"/m.slice/docker-01.scope", "/m.slice/libpod-02.scope/container",
				  "/lxc.payload.box", "/dlgroup.42", "/m.slice/web.service"})
		made_.add_group(group, "1000 20000");
	const char *saved = R"({
  "version": 1,
  "groups": [
    {"group": "/a", "cpu_rt_max": "5000 20000", "cpus": "1"},
    {"group": "/s", "cpu_rt_max": "max", "cpus": "0-1"},
    {"group": "/s/r", "cpu_rt_max": "0 100000", "cpu_rt_cpus": ["1 6000 20000"], "flags": ["fair"]}
  ]
}
)";
	auto ran = dlgroup("save -");
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(ran.out, saved);
	EXPECT_EQ(ran.err, R"(dlgroup: /dlgroup.42: skipped: dlgroup makes it when it is wanted
dlgroup: /lxc.payload.box: skipped: LXC makes it when it is wanted
dlgroup: /m.slice/docker-01.scope: skipped: docker makes it when it is wanted
dlgroup: /m.slice/libpod-02.scope/container: skipped: podman makes it when it is wanted
dlgroup: /m.slice/web.service: skipped: systemd makes it when it is wanted
)");
	auto file = made_.path("saved").string();
	EXPECT_EQ(dlgroup("save " + file).out, file + ": 3 cgroups saved\n");
	EXPECT_EQ(made_.read("saved"), saved);
	auto json = nlohmann::json::parse(dlgroup("save --json " + file).out);
	EXPECT_EQ(json["groups"], nlohmann::json({"/a", "/s", "/s/r"}));
	EXPECT_EQ(json["skipped"].size(), 5U);

	// What a kernel may lack is written only where it differs.
	EXPECT_EQ(plain(dlgroup("apply --dry-run " + file).out), R"(echo '+cpu' > ROOT/sys/fs/cgroup/s/cgroup.subtree_control
echo '0 100000' > ROOT/sys/fs/cgroup/s/r/cpu.rt.max
echo '1' > ROOT/sys/fs/cgroup/a/cpuset.cpus
echo '5000 20000' > ROOT/sys/fs/cgroup/a/cpu.rt.max
echo '0-1' > ROOT/sys/fs/cgroup/s/cpuset.cpus
echo 'max' > ROOT/sys/fs/cgroup/s/cpu.rt.max
)");
	made_.write("sys/fs/cgroup/s/r/cpu.rt.cpus", "0 7000 20000\n");
	made_.write("sys/fs/cgroup/s/r/cpu.rt.fair", "0\n");
	made_.write("sys/fs/cgroup/s/r/cpu.rt.unpriv", "1\n");
	EXPECT_NE(plain(dlgroup("apply --dry-run " + file).out).find(
R"(echo '0 100000' > ROOT/sys/fs/cgroup/s/r/cpu.rt.max
echo 'max' > ROOT/sys/fs/cgroup/s/r/cpu.rt.cpus
echo '1 6000 20000' > ROOT/sys/fs/cgroup/s/r/cpu.rt.cpus
echo '0' > ROOT/sys/fs/cgroup/s/r/cpu.rt.unpriv
echo '1' > ROOT/sys/fs/cgroup/s/r/cpu.rt.fair
)"), std::string::npos);
}

// What is missing is made, parents first, and what only looks as if it were kept is not.
TEST_F(Cli, ApplyMakesWhatIsMissing)
{
	made_.write("saved", R"({"version": 1, "groups": [
		{"group": "/x/y/r", "cpu_rt_max": "2000 20000", "cpus": "1", "cpu_rt_cpus": ["1 1000 20000", "0 max"],
		 "flags": ["fair"]},
		{"group": "/a", "cpu_rt_max": "1000 20000"},
		{"group": "/system.slice/docker-01.scope", "cpu_rt_max": "9000 20000"}]})");
	auto apply = "apply " + made_.path("saved").string();
	auto ran = dlgroup(apply + " --dry-run");
	EXPECT_EQ(ran.status, 2) << ran.out;
	EXPECT_NE(ran.err.find("saved:2:96: '0 max': expected CPUs"), ran.err.npos) << ran.err;
	made_.write("saved", R"({"version": 1, "groups": [
		{"group": "/x/y/r", "cpu_rt_max": "2000 20000", "cpus": "1", "cpu_rt_cpus": ["1 1000 20000"],
		 "flags": ["fair"]},
		{"group": "/a", "cpu_rt_max": "1000 20000"},
		{"group": "/system.slice/docker-01.scope", "cpu_rt_max": "9000 20000"}]})");
	ran = dlgroup(apply + " --dry-run");
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(ran.err, "dlgroup: /system.slice/docker-01.scope: skipped: docker makes it when it is wanted\n");
	EXPECT_EQ(plain(ran.out), R"(echo '1000 20000' > ROOT/sys/fs/cgroup/a/cpu.rt.max
echo '+cpuset' > ROOT/sys/fs/cgroup/cgroup.subtree_control
mkdir ROOT/sys/fs/cgroup/x
echo '+cpu +cpuset' > ROOT/sys/fs/cgroup/x/cgroup.subtree_control
mkdir ROOT/sys/fs/cgroup/x/y
echo '+cpu +cpuset' > ROOT/sys/fs/cgroup/x/y/cgroup.subtree_control
mkdir ROOT/sys/fs/cgroup/x/y/r
echo '1' > ROOT/sys/fs/cgroup/x/y/r/cpuset.cpus
echo '2000 20000' > ROOT/sys/fs/cgroup/x/y/r/cpu.rt.max
echo '1 1000 20000' > ROOT/sys/fs/cgroup/x/y/r/cpu.rt.cpus
echo '1' > ROOT/sys/fs/cgroup/x/y/r/cpu.rt.fair
)");
	EXPECT_EQ(made_.read("sys/fs/cgroup/a/cpu.rt.max"), "5000 20000\n");
	// A kernel without per-CPU values is told so, and all is as it was.
	made_.write("saved", R"({"version": 1, "groups": [{"group": "/b", "cpu_rt_max": "1000 20000"},
		{"group": "/a", "cpu_rt_max": "6000 20000", "cpu_rt_cpus": ["1 1000 20000"]}]})");
	ran = dlgroup(apply);
	EXPECT_EQ(ran.status, 4);
	EXPECT_EQ(ran.err, "dlgroup: /a: has no cpu.rt.cpus in this kernel (dlgroup features)\n");
	EXPECT_EQ(made_.read("sys/fs/cgroup/a/cpu.rt.max"), "5000 20000\n");
	EXPECT_EQ(made_.read("sys/fs/cgroup/b/cpu.rt.max"), "max 100000\n");
	made_.write("saved", R"({"version": 1, "groups": [{"group": "/a", "cpu_rt_max": "6000 20000"}]})");
	ran = dlgroup(apply);
	EXPECT_EQ(ran.out, "/a: 6ms/20ms on CPUs 0-1 (30 % of 2 CPUs = 0.60 CPU)\n");
	made_.write("saved", R"({"version": 1, "groups": []})");
	EXPECT_EQ(dlgroup(apply).status, 0);
	EXPECT_EQ(dlgroup("set --plan " + made_.path("saved").string()).status, 2);
}

TEST_F(Cli, SaveWritesAllOrNothing)
{
	auto ran = dlgroup("save /nowhere/x");
	EXPECT_EQ(ran.status, 2);
	EXPECT_EQ(ran.err, "dlgroup: /nowhere/x: cannot be written: No such file or directory\n");
	ran = dlgroup("save /dev/null");
	EXPECT_EQ(ran.status, 2);
	EXPECT_EQ(ran.err, "dlgroup: /dev/null: cannot be written: not a regular file\n");
}

TEST_F(Cli, ContainerSetupAndUnset)
{
	made_.write("usr/sbin/dlgroup-runtime", "");
	made_.write("etc/dlgroup/policy.toml", "[class.control]\nmax_runtime = '5ms'\nperiods = ['5ms', '100ms']\n"
					       "count = 1\ntotal_percent = 100\nreservation = '5ms/20ms rr:3'\n");
	made_.write("etc/docker/daemon.json", "{\n    \"debug\": true\n}\n");
	auto ran = dlgroup("container setup docker --dry-run");
	EXPECT_EQ(ran.status, 0) << ran.err;
	const char *diff = R"(--- ROOT/etc/docker/daemon.json
+++ ROOT/etc/docker/daemon.json
@@ -1,3 +1,6 @@
 {
+    "runtimes": {
+        "dlgroup-control": { "path": "/usr/sbin/dlgroup-control" }
+    },
     "debug": true
 }
)";
	EXPECT_EQ(plain(ran.out), std::string("ln -s dlgroup-runtime ROOT/usr/sbin/dlgroup-control\n") + diff +
					  "docker: systemctl reload docker makes it known\n");
	EXPECT_FALSE(std::filesystem::exists(std::filesystem::symlink_status(made_.path("usr/sbin/dlgroup-control"))));
	EXPECT_EQ(plain(dlgroup("container setup docker").out),
		  "ROOT/usr/sbin/dlgroup-control: made, a link to dlgroup-runtime\nROOT/etc/docker/daemon.json: changed\n"
		  "docker: systemctl reload docker makes it known\n");
	EXPECT_EQ(dlgroup("container setup docker").out, "docker: nothing to change\n");
	auto json = nlohmann::json::parse(dlgroup("container unset docker --json").out);
	EXPECT_EQ(json["engine"], "docker");
	EXPECT_EQ(json["files"][0]["action"], "changed");
	EXPECT_EQ(json["then"], "systemctl restart docker");
	EXPECT_EQ(made_.read("etc/docker/daemon.json"), "{\n    \"debug\": true\n}\n");
	EXPECT_EQ(plain(dlgroup("container setup lxc").out), "ROOT/etc/lxc/dlgroup-control.conf: written\n");
	EXPECT_NE(made_.read("etc/lxc/dlgroup-control.conf").find(" dlgroup set pid:$LXC_PID 5ms/20ms --rr 3\n"),
		  std::string::npos);
	EXPECT_EQ(plain(dlgroup("container unset lxc").out), "ROOT/etc/lxc/dlgroup-control.conf: removed\n");
	// What cannot be read stays as it is.
	made_.write("etc/docker/daemon.json", "{\n  \"debug\": tru\n}\n");
	for (const char *verb : {"setup", "unset"}) {
		ran = dlgroup(std::string("container ") + verb + " docker");
		EXPECT_EQ(ran.status, 2);
		EXPECT_EQ(ran.out, "");
		EXPECT_TRUE(plain(ran.err).starts_with("dlgroup: ROOT/etc/docker/daemon.json:2:15: not JSON: ")) << ran.err;
	}
	EXPECT_EQ(made_.read("etc/docker/daemon.json"), "{\n  \"debug\": tru\n}\n");
}

TEST_F(Cli, SetFromADesign)
{
	made_.write("tasks", "1ms 5ms 10ms\n2.5ms 20ms 20ms\n");
	auto design = "design --json --sched fp --period 4ms " + made_.path("tasks").string();
	auto pipe = [&](const std::string &arguments) {
		auto command = DLGROUP_COMMAND " --root " + made_.base() + " ";
		return shell(made_, command + design + " | " + command + arguments);
	};
	auto ran = pipe("set --plan - /a");
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(ran.out, "/a: 2ms/4ms on CPUs 0-1 (50 % of 2 CPUs = 1.00 CPU)\n");
	EXPECT_EQ(ran.err, "dlgroup: /a: designed for 1 of its CPUs 0-1: on all nothing is proved "
			   "(--cpus)\n");
	EXPECT_EQ(made_.read("sys/fs/cgroup/a/cpu.rt.max"), "2000 4000\n");
	EXPECT_EQ(plain(pipe("set --plan - /a --cpus 1 --fifo 3 --dry-run").out),
		  R"(echo '+cpuset' > ROOT/sys/fs/cgroup/cgroup.subtree_control
echo '1' > ROOT/sys/fs/cgroup/a/cpuset.cpus
echo '2000 4000' > ROOT/sys/fs/cgroup/a/cpu.rt.max
chrt --fifo --pid 3 42
chrt --fifo --pid 3 43
)");
	ran = pipe("set --plan -");
	EXPECT_EQ(ran.status, 2);
	EXPECT_EQ(ran.err, "dlgroup: standard input: names no group: dlgroup set TARGET --plan FILE\n");
	made_.write("tasks", "6ms 5ms 10ms\n");
	ran = pipe("set --plan - /b");
	EXPECT_EQ(ran.status, 3);
	EXPECT_EQ(ran.err, "dlgroup: standard input: has no reservation: the tasks were not found "
			   "schedulable\n");
	EXPECT_EQ(made_.read("sys/fs/cgroup/b/cpu.rt.max"), "max 100000\n");
}

// One sentence, the right status, nothing changed.
TEST_F(Cli, Fit)
{
	made_.write("sys/kernel/debug/sched/dl_group_headroom",
		    "cpu0 cap 267401227875123 fair 14073748835532 groups 154811237190860 tasks 0 free 98516241848731\n"
		    "cpu1 cap 267401227875123 fair 14073748835532 groups 0 tasks 0 free 253327479039591\n");
	auto ran = dlgroup("fit 5ms/20ms");
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(ran.err, "");
	EXPECT_EQ(ran.out, R"(5ms/20ms fits on CPU 0 (25 % of 1 CPU = 0.25 CPU)
CPU       FREE     LEFT  LARGEST
0       35.0 %   10.0 %  7ms/20ms
1       90.0 %   65.0 %  18ms/20ms
)");
	EXPECT_EQ(lines(dlgroup("fit --runtime 5ms --period 20ms --cpus 2").out)[0],
		  "5ms/20ms fits on CPUs 0-1 (25 % of 2 CPUs = 0.50 CPU)");
	ran = dlgroup("fit 12ms/20ms");
	EXPECT_EQ(ran.out, R"(12ms/20ms fits on CPU 1 (60 % of 1 CPU = 0.60 CPU)
CPU       FREE     LEFT  LARGEST
0       35.0 %        -  7ms/20ms
1       90.0 %   30.0 %  18ms/20ms
)");
	// The rule, the CPU, what was asked, what is free and what fits, in both forms.
	ran = dlgroup("fit --json 12ms/20ms --cpus 2 --for /b");
	EXPECT_EQ(ran.status, 3);
	EXPECT_EQ(ran.err, "dlgroup: /b: refused (rule 1, CPU 0): asked 60.0 %, free 35.0 % of 95.0 % (fair "
			   "server 5.0 %, /a 25.0 %, other groups 30.0 %); fits: 7ms/20ms\n");
	auto json = nlohmann::json::parse(ran.out);
	EXPECT_EQ(json["rule"], 1);
	EXPECT_EQ(json["cpu"], 0);
	EXPECT_EQ(json["asked"]["runtime_ns"], 12000000);
	EXPECT_EQ(json["free"]["ppb"], 350000000);
	EXPECT_EQ(json["fits"]["runtime_ns"], 7000000);
	json = nlohmann::json::parse(dlgroup("fit --json 12ms/20ms").out);
	EXPECT_EQ(json["schema_version"], 1);
	EXPECT_EQ(json["cpus"], "1");
	EXPECT_FALSE(json.contains("group"));
	EXPECT_EQ(json["each_cpu"][0], nlohmann::json::parse(R"({"cpu": 0, "fits": false, "free_ppb": 350000000,
		"left_ppb": null, "largest": {"runtime_ns": 7000000, "period_ns": 20000000}})"));
	EXPECT_EQ(json["each_cpu"][1]["left_ppb"], 300000000);
	// What SCHED_DEADLINE tasks share is told by cpusets, if by anybody.
	EXPECT_EQ(json["notes"].size(), 0U);
	made_.write("sys/kernel/debug/sched/dl_group_headroom",
		    "cpu0 cap 267401227875123 fair 14073748835532 groups 0 tasks 1000000000 free 253327479039591\n"
		    "cpu1 cap 267401227875123 fair 14073748835532 groups 0 tasks 1000000000 free 253327479039591\n");
	EXPECT_EQ(dlgroup("fit 5ms/20ms").err.find("the kernel alone knows"), std::string::npos);
	std::filesystem::remove(made_.path("sys/fs/cgroup/cpuset.cpus.effective"));
	EXPECT_NE(dlgroup("fit 5ms/20ms").err.find("the kernel alone knows"), std::string::npos);
	made_.write("sys/fs/cgroup/cpuset.cpus.effective", "0-1\n");
	for (auto [arguments, says] : {
		     std::pair("max", "reservation: max and 0 take nothing"),
		     std::pair("0", "reservation: max and 0 take nothing"),
		     std::pair("", "reservation: missing"),
		     std::pair("5ms/20ms --cpus 3", "5ms/20ms: can use 2 of the 3 CPUs asked for"),
		     std::pair("5ms/20ms --for b", "b: not a target"),
		     std::pair("--plan /nowhere/x", "/nowhere/x: cannot be read")}) {
		ran = dlgroup(std::string("fit ") + arguments);
		EXPECT_EQ(ran.status, 2) << arguments;
		EXPECT_NE(ran.err.find(says), ran.err.npos) << ran.err;
	}
	std::filesystem::remove(made_.path("sys/kernel/debug/sched/dl_group_headroom"));
	EXPECT_EQ(dlgroup("fit 5ms/20ms").status, 1);
}

// A design is placed, and what fit prints is made.
TEST_F(Cli, FitOfADesign)
{
	made_.write("tasks", "1ms 5ms 10ms\n2.5ms 20ms 20ms\n");
	auto command = std::string(DLGROUP_COMMAND " --root ") + made_.base() + " ";
	auto design = command + "design --json --sched fp --period 4ms " + made_.path("tasks").string();
	auto ran = shell(made_, design + " | " + command + "fit --json --plan - --for /b | " + command +
					"set --dry-run --plan -");
	EXPECT_EQ(ran.err, "");
	EXPECT_EQ(ran.status, 0);
	EXPECT_NE(plain(ran.out).find("echo '0' > ROOT/sys/fs/cgroup/b/cpuset.cpus"), std::string::npos) << ran.out;
	EXPECT_NE(plain(ran.out).find("echo '2000 4000' > ROOT/sys/fs/cgroup/b/cpu.rt.max"), std::string::npos);
	for (auto [plan, says] : {
		     std::pair(R"({"cpu_rt_max": "1000 5000", "cpus": "0"})", "says itself on which CPUs"),
		     std::pair(R"([{"cpu_rt_max": "1000 5000"}, {"cpu_rt_max": "1000 5000"}])", "has 2 reservations; expected one"),
		     std::pair(R"({"group": "/a", "cpu_rt_max": "1000 5000"})", "names its group itself")}) {
		made_.write("plan", plan);
		ran = dlgroup("fit --for /b --plan " + made_.path("plan").string());
		EXPECT_EQ(ran.status, 2);
		EXPECT_NE(ran.err.find(says), ran.err.npos) << ran.err;
	}
	made_.write("plan", R"({"group": "/b", "cpu_rt_max": "1000 5000", "policy": "FIFO 10"})");
	auto json = nlohmann::json::parse(dlgroup("fit --json --plan " + made_.path("plan").string()).out);
	EXPECT_EQ(json["group"], "/b");
	EXPECT_EQ(json["policy"], "FIFO 10");
}

TEST_F(Cli, BadPlans)
{
	struct Case {
		const char *plan;
		const char *arguments;
		const char *says;
	};
	for (const auto &bad : std::initializer_list<Case>{
		     {R"({"group": "/a"})", "", "plan:1:1: no \"cpu_rt_max\""},
		     {R"([{"group": "/a", "cpu_rt_max": "0"}, {"group": "/b", "cpu_rt_max": "x"}])", "",
		      "plan:1:68: 'x': not a line"},
		     {R"([{"group": "/a", "cpu_rt_max": "1 20"}, {"group": "pid:42", "cpu_rt_max": "0"}])",
		      "", "/a: planned twice"},
		     {R"([{"group": "/a", "cpu_rt_max": "1 20"}, {"cpu_rt_max": "0"}])", "",
		      "plan: names no group"},
		     {R"([{"group": "/a", "cpu_rt_max": "1 20"}, {"group": "/", "cpu_rt_max": "0"}])", "",
		      "/: the root cgroup has no reservation"},
		     {R"([{"group": "/a", "cpu_rt_max": "1 20"}, {"group": "/x/y", "cpu_rt_max": "0"}])", "",
		      "/x/y: its parent does not exist"},
		     {R"({"group": "/a", "cpu_rt_max": "0", "policy": "FIFO 1"})", "",
		      "/a: runtime 0 forbids FIFO/RR"},
		     {R"({"group": "/a", "cpu_rt_max": "1 20"})", "/b", "plan: names its groups itself"},
		     {R"([{"cpu_rt_max": "0"}, {"cpu_rt_max": "0"}])", "/a", "names its groups itself"},
		     {R"({"group": "/a", "cpu_rt_max": "1 20"})", "--cpus 0", "plan: --cpus, --fifo and --rr need"},
		     {R"({"cpu_rt_max": "1 20", "cpus": "0"})", "/a --cpus 0", "plan: says itself"},
		     {R"({"cpu_rt_max": "1 20", "policy": "RR 1"})", "/a --fifo 1", "plan: says itself"},
	     }) {
		made_.write("plan", bad.plan);
		auto ran = dlgroup("set --plan " + made_.path("plan").string() + " " + bad.arguments);
		EXPECT_EQ(ran.status, 2) << bad.plan << ran.err;
		EXPECT_EQ(ran.out, "") << bad.plan;
		EXPECT_NE(ran.err.find(bad.says), std::string::npos) << bad.plan << ": " << ran.err;
		EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
		EXPECT_EQ(made_.read("sys/fs/cgroup/a/cpu.rt.max"), "5000 20000\n") << bad.plan;
	}
}

TEST_F(Cli, Units)
{
	// As systemctl does: a unit that is not active, or that there is none of, has an empty line.
	made_.write("bin/systemctl", R"(#!/bin/sh
[ "$1 $2 $3 $4 $5" = 'show -p ControlGroup --value --' ] || exit 9
case $6 in
web.service) echo /a ;;
-.slice) echo / ;;
broken) exit 1 ;;
*) echo ;;
esac
)");
	std::filesystem::permissions(made_.path("bin/systemctl"), std::filesystem::perms::owner_all);
	auto with = [&](const std::string &path, const std::string &arguments) {
		return shell(made_, "PATH=" + path + " " DLGROUP_COMMAND " --root " + made_.base() + " " +
					    arguments);
	};
	auto path = made_.path("bin").string() + ":$PATH";
	EXPECT_EQ(with(path, "show unit:web.service").out, dlgroup("show /a").out);
	auto ran = with(path, "set unit:web.service 1ms/10ms");
	EXPECT_EQ(ran.out, "/a: 1ms/10ms on CPUs 0-1 (10 % of 2 CPUs = 0.20 CPU)\n");
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(plain(with(path, "attach unit:web.service 42 --dry-run").out),
		  "echo '42' > ROOT/sys/fs/cgroup/a/cgroup.procs\n");
	EXPECT_EQ(with(path, "rm unit:web.service").err, "dlgroup: /a: has processes: 42 43\n");
	ran = with(path, "show unit:idle");
	EXPECT_EQ(ran.status, 1);
	EXPECT_EQ(ran.err, "dlgroup: unit idle: has no cgroup: it is not active\n");
	ran = with(path, "set unit:-.slice 1ms/10ms");
	EXPECT_EQ(ran.status, 2);
	EXPECT_EQ(ran.err, "dlgroup: /: the root cgroup has no reservation\n");
	EXPECT_EQ(with(path, "show unit:broken").err, "dlgroup: unit broken: systemctl cannot tell its "
						      "cgroup (is systemd running?)\n");
	ran = with("/nowhere", "show unit:web.service");
	EXPECT_EQ(ran.status, 1);
	EXPECT_EQ(ran.err, "dlgroup: systemctl: No such file or directory\n");
}

TEST_F(Cli, FailuresInJson)
{
	for (const char *arguments : {"show /nope --json", "--json frobnicate", "--json set /a 5/20"}) {
		auto ran = dlgroup(arguments);
		EXPECT_EQ(ran.status, 2);
		auto json = nlohmann::json::parse(ran.out);
		EXPECT_EQ(json["schema_version"], 1);
		EXPECT_EQ(json["error"], "bad input");
		EXPECT_FALSE(json["reason"].empty());
	}
}

TEST_F(Cli, KernelWithoutReservations)
{
	for (const char *group : {"a", "b"}) {
		auto base = std::string("sys/fs/cgroup/") + group;
		std::filesystem::remove(made_.path(base + "/cpu.rt.max"));
		made_.write(base + "/cpu.weight", "100\n");
	}
	for (const char *arguments : {"show /a", "list", "save -", "set /a 5ms/20ms", "features"})
		EXPECT_EQ(dlgroup(arguments).status, 4) << arguments;
	auto ran = dlgroup("features");
	EXPECT_EQ(ran.err, "dlgroup: kernel: has no cpu.rt.max (CONFIG_DL_GROUP_SCHED)\n");
	EXPECT_TRUE(ran.out.starts_with("reservation      no "));
	EXPECT_EQ(dlgroup("doctor").status, 1);
}

TEST_F(Cli, Features)
{
	auto ran = dlgroup("features");
	EXPECT_EQ(ran.status, 0);
	EXPECT_TRUE(ran.out.starts_with("reservation      yes ")) << ran.out;
	auto json = nlohmann::json::parse(dlgroup("features --json").out);
	EXPECT_EQ(json["features"][0]["name"], "reservation");
	EXPECT_EQ(json["features"][0]["present"], "yes");
}

TEST_F(Cli, Doctor)
{
	auto ran = dlgroup("doctor");
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(ran.out, "nothing found\n");
	made_.write("proc/sys/kernel/sched_rt_runtime_us", "-1\n");
	ran = dlgroup("doctor /a");
	EXPECT_EQ(ran.status, 1);
	EXPECT_EQ(plain(ran.out), R"(warning: rt-runtime: sched_rt_runtime_us: is -1
  why:    reservations may take all of a CPU but the fair server's part, and nothing holds back FIFO/RR tasks outside them
  remedy: echo 950000 > ROOT/proc/sys/kernel/sched_rt_runtime_us
)");
	auto json = nlohmann::json::parse(dlgroup("doctor --json").out);
	EXPECT_EQ(json["findings"][0]["id"], "rt-runtime");
	EXPECT_EQ(json["findings"][0]["remedy_is_command"], true);
}

TEST_F(Cli, Irq)
{
	made_.write("proc/interrupts", "  CPU0 CPU1\n 24: 1 2 MSI eth0\n");
	made_.write("sys/kernel/irq/24/actions", "eth0\n");
	made_.write("proc/irq/24/smp_affinity_list", "0-1\n");
	made_.add_task(70, "irq/24-eth0", 1, 50, "/", "0-1", true);
	auto ran = dlgroup("irq list --interval 1ms");
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(ran.err, "");
	EXPECT_EQ(ran.out, R"( IRQ      RATE  CPUS     ACTION                    THREAD  POLICY    CGROUP
  24       0/s  0-1      eth0                          70  FIFO 50   /
)");
	auto json = nlohmann::json::parse(dlgroup("irq list --interval 1ms --json").out);
	EXPECT_EQ(json["irqs"][0]["count"], 3);
	EXPECT_EQ(json["irqs"][0]["threads"][0]["comm"], "irq/24-eth0");
	ran = dlgroup("irq attach /a 24");
	EXPECT_EQ(ran.status, 2);
	EXPECT_EQ(ran.err, "dlgroup: --root: threads of another tree can only be looked at\n");
	ran = dlgroup("irq attach /a 24 --dry-run --json");
	EXPECT_EQ(ran.status, 3);
	json = nlohmann::json::parse(ran.out);
	EXPECT_EQ(json["error"], "refused");
	EXPECT_EQ(json["object"], "IRQ 24");
	ran = dlgroup("irq attach /a 24 --dry-run --shared");
	EXPECT_EQ(ran.status, 0);
	EXPECT_EQ(plain(ran.out), "echo '70' > ROOT/sys/fs/cgroup/a/cgroup.procs\n");
	ran = dlgroup("doctor --irq");
	EXPECT_EQ(ran.status, 1);
	EXPECT_TRUE(ran.out.starts_with("note: irq-threads: kernel: ")) << ran.out;
}

TEST_F(Cli, FullDisk)
{
	auto ran = shell(made_, DLGROUP_COMMAND " --root " + made_.base() + " list >/dev/full");
	EXPECT_EQ(ran.status, 1);
	EXPECT_EQ(ran.err, "dlgroup: standard output: cannot be written\n");
}

// --help is the truth; the manual page and the completion have to say the same.
class InStep : public Cli {
protected:
	InStep()
	{
		auto help = shell(made_, DLGROUP_COMMAND " --help").out;
		auto options = help.substr(help.find("Options:"));
		global_ = options_in(options.substr(0, options.find("Subcommands:")),
				     "(--[a-z-]+)");
		verbs_ = options_in(options.substr(options.find("Subcommands:")),
				    "\n  ([a-z]+) ");
		for (const auto &verb : verbs_) {
			auto own = shell(made_, DLGROUP_COMMAND " " + verb + " --help").out;
			// The help of an option may name others: only line starts count.
			auto inner = own.find("Subcommands:");
			if (inner != own.npos) {
				for (const auto &name : options_in(own.substr(inner), "\n  ([a-z]+) "))
					add_verb(verb + " " + name);
				inner_[verb] = options_in(own.substr(inner), "\n  ([a-z]+) ");
				continue;
			}
			add_verb(verb);
		}
	}

	void add_verb(const std::string &verb)
	{
		auto own = shell(made_, DLGROUP_COMMAND " " + verb + " --help").out;
		own_[verb] = options_in(own, "\n  (?:-h,)?(--[a-z-]+)");
		own_[verb].erase("--help");
	}

	Options global_, verbs_;
	std::map<std::string, Options> own_;   // by verb, such as "set" and "vm attach"
	std::map<std::string, Options> inner_; // the verbs below one
};

TEST_F(InStep, HelpNamesEveryVerb)
{
	EXPECT_EQ(verbs_, (Options{"set", "show", "list", "save", "apply", "rm", "run", "attach", "detach",
				   "vm", "irq", "net", "container", "features", "doctor", "check", "design", "fit", "gen", "simulate"}));
	EXPECT_EQ(inner_, (std::map<std::string, Options>{
				  {"vm", {"attach", "detach", "show", "list", "run", "profile", "tune", "watch"}},
				  {"irq", {"list", "attach", "detach"}},
				  {"net", {"list", "attach", "detach"}},
				  {"container", {"setup", "unset"}}}));
	EXPECT_EQ(global_, (Options{"--help", "--version", "--json", "--root", "--cgroup-root"}));
	EXPECT_EQ(own_["attach"], (Options{"--fifo", "--rr", "--dry-run"}));
	EXPECT_EQ(shell(made_, DLGROUP_COMMAND " --version").status, 0);
}

TEST_F(InStep, ManualPage)
{
	auto page = slurp(DLGROUP_SOURCE "/man/dlgroup.8");
	auto start = page.find(".Sh SYNOPSIS"), end = page.find(".Sh DESCRIPTION");
	auto synopsis = page.substr(start, end - start);
	std::map<std::string, Options> told;
	for (auto at = synopsis.find(".Nm"); at != synopsis.npos;) {
		auto next = synopsis.find(".Nm", at + 1);
		auto part = synopsis.substr(at, next == synopsis.npos ? next : next - at);
		at = next;
		std::smatch verb;
		ASSERT_TRUE(std::regex_search(part, verb, std::regex("\\.Cm ([a-z]+(?: [a-z]+)?)"))) << part;
		for (const auto &option : options_in(part, "Fl (-[a-z-]+)"))
			told[verb[1]].insert("-" + option);
		told[verb[1]];
	}
	EXPECT_EQ(told, own_);
	// Every option is described, in its place.
	auto described = options_in(page.substr(end), "\n\\.It Fl (-[a-z-]+)");
	Options all(global_);
	for (const auto &[verb, options] : own_)
		all.insert(options.begin(), options.end());
	Options expected;
	for (const auto &option : all)
		expected.insert(option.substr(1));
	EXPECT_EQ(described, expected);
}

TEST_F(InStep, Completion)
{
	auto complete = [&](const std::string &words, int at) {
		auto ran = shell(made_, "bash -c 'source " DLGROUP_SOURCE
				 "/completions/dlgroup.bash; COMP_WORDS=(" + words + "); COMP_CWORD=" +
				 std::to_string(at) + "; _dlgroup; printf \"%s\\n\" \"${COMPREPLY[@]}\"'");
		EXPECT_EQ(ran.err, "");
		auto all = lines(ran.out);
		return Options(all.begin(), all.end());
	};
	EXPECT_EQ(complete("dlgroup \"\"", 1), verbs_);
	EXPECT_EQ(complete("dlgroup --", 1), global_);
	for (const auto &[verb, names] : inner_)
		EXPECT_EQ(complete("dlgroup " + verb + " \"\"", 2), names) << verb;
	for (const auto &[verb, options] : own_) {
		auto expected = options;
		expected.insert(global_.begin(), global_.end());
		auto at = 2 + static_cast<int>(std::count(verb.begin(), verb.end(), ' '));
		EXPECT_EQ(complete("dlgroup " + verb + " --", at), expected) << verb;
	}
	// After "--" it is the command that is completed, not we.
	EXPECT_EQ(complete("dlgroup run 5ms/20ms -- --", 4), Options{""});
	EXPECT_EQ(complete("dlgroup vm run 5ms/20ms -- --", 5), Options{""});
}

} // namespace
} // namespace dlgroup::test
