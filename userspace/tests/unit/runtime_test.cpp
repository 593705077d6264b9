// SPDX-License-Identifier: GPL-2.0-only
// dlgroup-runtime before a runtime that only notes how it was called, and the hook.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <runtime.h>

#include "made_tree.h"

namespace dlgroup::test {
namespace {

using runtime::parse_call;
using Words = std::vector<std::string>;

constexpr const char *kConfig = R"({"process": {"args": ["x"], "env": ["dlgroup.reservation=5ms/20ms"]},
	"annotations": {"dlgroup.other": "5ms/20ms"}, "linux": {"cgroupsPath": "/box"}, "last": 1})";
constexpr const char *kClass = R"(
max_runtime = "20ms"
periods = ["5ms", "100ms"]
count = 2
total_percent = 200
)";

class Runtime : public ::testing::Test {
protected:
	Runtime() : made_(MadeTree::machine())
	{
		made_.write("crun", "#!/bin/sh\necho \"$0\" \"$@\" >>" + made_.base() + "/called\n");
		std::filesystem::permissions(made_.path("crun"), std::filesystem::perms(0755));
		made_.write("bundle/config.json", kConfig);
		policy("[class.control]" + std::string(kClass) + "reservation = \"5ms/20ms@0 fifo:10\"\n"
		       "[class.free]" + kClass + "annotations = true\n");
		setup_.policy = made_.path("etc/policy.toml");
		setup_.owner = geteuid();
		setup_.state = made_.path("run");
		setup_.roots = made_.roots();
		setup_.journal = made_.path("journal");
		// The process itself has to be found.
		std::filesystem::remove_all(made_.path("proc"));
		std::filesystem::create_symlink("/proc", made_.path("proc"));
	}
	void policy(const std::string &classes)
	{
		made_.write("etc/policy.toml", "runtime = \"" + made_.base() + "/crun\"\n" + classes);
	}
	void ask(const std::string &text)
	{
		auto json = nlohmann::ordered_json::parse(kConfig);
		json["annotations"]["dlgroup.reservation"] = text;
		made_.write("bundle/config.json", json.dump());
	}
	void ask_by_files(const std::string &cpu_rt_max)
	{
		auto json = nlohmann::ordered_json::parse(kConfig);
		auto &resources = json["linux"]["resources"];
		if (!cpu_rt_max.empty())
			resources["unified"] = {{"cpu.rt.max", cpu_rt_max}, {"memory.high", "max"}};
		else
			resources["cpu"] = {{"realtimeRuntime", 5000}, {"realtimePeriod", 20000}, {"shares", 7}};
		made_.write("bundle/config.json", json.dump());
	}
	// As before the feature: a group has files of the cpu controller, but not that one.
	void kernel_without()
	{
		made_.write("sys/fs/cgroup/a/cpu.weight", "100\n");
		std::filesystem::remove(made_.path("sys/kernel/debug/sched/dl_group_headroom"));
	}
	// In a process of its own, which the runtime takes over.
	int run(Words words, const std::string &input = "")
	{
		made_.write("stdin", input);
		auto errors = made_.path("stderr").string();
		pid_t child = fork();
		if (child == 0) {
			if (dup2(open(errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO) < 0)
				_exit(99);
			if (dup2(open(made_.path("stdin").c_str(), O_RDONLY), STDIN_FILENO) < 0)
				_exit(99);
			alarm(20); // for one that waits for the journal
			_exit(runtime::main(setup_, words));
		}
		int status = 0;
		waitpid(child, &status, 0);
		return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	}
	int create(const std::string &name)
	{
		return run({"/x/" + name, "--log", log(), "create", "--bundle", bundle(), "id"});
	}
	std::string bundle() const { return made_.path("bundle").string(); }
	std::string log() const { return made_.path("log").string(); }
	std::string config() const { return made_.read("bundle/config.json"); }
	// Refused in one sentence that ends so; nothing was changed, made or called.
	void refused(const std::string &name, const std::string &sentence)
	{
		auto before = config();
		EXPECT_EQ(create(name), 1);
		EXPECT_EQ(config(), before);
		EXPECT_FALSE(std::filesystem::exists(made_.path("called")));
		EXPECT_FALSE(std::filesystem::exists(made_.path("run/containers.json")));
		auto said = made_.read("stderr");
		EXPECT_TRUE(said.starts_with("dlgroup-runtime: ") && said.ends_with(sentence + "\n")) << said;
		EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1);
	}

	MadeTree made_;
	runtime::Setup setup_;
};

TEST(Call, IsReadAsTheRuntimesReadIt)
{
	auto call = parse_call({"r", "--root", "create", "--log=l", "--log-format", "json", "--systemd-cgroup",
				"create", "--bundle", "/b", "id"});
	EXPECT_EQ(call.command, "create");
	EXPECT_EQ(call.bundle, "/b");
	EXPECT_EQ(call.id, "id");
	EXPECT_EQ(call.log, "l");
	EXPECT_EQ(call.log_format, "json");
	EXPECT_EQ(parse_call({"r", "run", "-b", "/b", "id", "-b", "/c"}).bundle, "/b");
	EXPECT_EQ(parse_call({"r", "run", "-b/b", "id"}).bundle, "/b");
	EXPECT_EQ(parse_call({"r", "run", "-bundle", "/b", "id"}).bundle, "/b");
	EXPECT_EQ(parse_call({"r", "run", "--bundle=/b", "id"}).bundle, "/b");
	EXPECT_EQ(parse_call({"r", "run", "--pid-file", "-b", "-d", "id"}).bundle, ".");
	EXPECT_TRUE(parse_call({"r", "run", "-f", "x", "id"}).other_config);
	EXPECT_EQ(parse_call({"r", "--log", "create"}).command, "");
	EXPECT_EQ(parse_call({"r"}).command, "");
	EXPECT_EQ(parse_call({"r", "run", "-b"}).bundle, "");
	EXPECT_EQ(parse_call({"r", "--log", "l", "--root=/r", "state", "id"}).command, "state");
}

TEST_F(Runtime, WhoDoesNotAskIsLeftAlone)
{
	for (const auto *name : {"dlgroup-runtime", "dlgroup-free"}) {
		EXPECT_EQ(create(name), 0) << made_.read("stderr");
		EXPECT_EQ(config(), kConfig);
		EXPECT_EQ(made_.read("stderr"), "");
	}
	auto line = made_.base() + "/crun --log " + log() + " create --bundle " + bundle() + " id\n";
	EXPECT_EQ(made_.read("called"), line + line);
	EXPECT_FALSE(std::filesystem::exists(setup_.state));
	EXPECT_FALSE(std::filesystem::exists(log()));
}

TEST_F(Runtime, OtherCommandsPassThrough)
{
	// Neither a class that is not there nor a bundle counts for them.
	EXPECT_EQ(run({"dlgroup-nobody", "--root", "/r", "kill", "--bundle", "/none", "id", "a b"}), 0);
	EXPECT_EQ(run({"dlgroup-runtime", "--version"}), 0);
	EXPECT_EQ(run({"dlgroup-runtime"}), 0);
	EXPECT_EQ(made_.read("called"), made_.base() + "/crun --root /r kill --bundle /none id a b\n" +
						made_.base() + "/crun --version\n" + made_.base() + "/crun\n");
}

TEST_F(Runtime, GrantsWhatTheClassHas)
{
	ASSERT_EQ(create("dlgroup-control"), 0) << made_.read("stderr");
	auto json = nlohmann::json::parse(config());
	EXPECT_EQ(json["linux"]["resources"]["unified"]["cpu.rt.max"], "5000 20000");
	EXPECT_EQ(json["linux"]["resources"]["cpu"]["cpus"], "0");
	EXPECT_EQ(json["process"]["rlimits"][0]["hard"], 49);
	auto hook = json["hooks"]["createRuntime"][0];
	EXPECT_EQ(hook["path"], std::filesystem::canonical("/proc/self/exe").string());
	EXPECT_EQ(hook["args"], (nlohmann::json{"dlgroup-hook", "/box", "5000 20000", "fifo:10", log(), ""}));
	EXPECT_EQ(json["last"], 1);
	EXPECT_NE(made_.read("called"), "");
	EXPECT_NE(made_.read("run/containers.json").find("\"/box\""), std::string::npos);
}

TEST_F(Runtime, GrantsAnAnnotationOnlyWhereThePolicySaysSo)
{
	ask("6ms/20ms@1");
	refused("dlgroup-control", "class control: refused 6ms/20ms by the annotation dlgroup.reservation: the "
				   "class does not say annotations = true");
	refused("dlgroup-runtime", "asks for a reservation by the annotation dlgroup.reservation; " +
					   setup_.policy.string() +
					   " has no class 'runtime', and without one nothing is granted");
	EXPECT_EQ(create("dlgroup-free"), 0) << made_.read("stderr");
	EXPECT_EQ(nlohmann::json::parse(config())["linux"]["resources"]["unified"]["cpu.rt.max"], "6000 20000");
}

TEST_F(Runtime, WithoutAPolicyNothingIsGranted)
{
	std::filesystem::remove(setup_.policy);
	refused("dlgroup-control", "class control: not in " + setup_.policy.string());
	policy("[class.control]\n");
	refused("dlgroup-control", "class control: max_runtime: is missing");
	policy("[class.runtime]" + std::string(kClass));
	setup_.owner++;
	refused("dlgroup-runtime", "is another user's");
}

TEST_F(Runtime, SaysBeforehandThatItDoesNotFit)
{
	made_.add_group("/a", "11000 20000");
	made_.write("sys/kernel/debug/sched/dl_group_headroom",
		    "cpu0 cap 267401227875123 fair 14073748835532 groups 154811237190860 tasks 0 free "
		    "98516241848731\n");
	ask("12ms/20ms@0");
	refused("dlgroup-free", "/box: refused (rule 1, CPU 0): asked 60.0 %, free 35.0 % of 95.0 % (fair server 5.0 %, "
				"/a 55.0 %); fits: 7ms/20ms");
}

TEST_F(Runtime, WithoutTheKernelItIsRefused)
{
	kernel_without();
	auto why = ": the kernel has no cpu.rt.max (CONFIG_DL_GROUP_SCHED), and " + setup_.policy.string() +
		   " does not say kernel = \"prefer\"";
	refused("dlgroup-control", "class control: refused 5ms/20ms by its class" + why);
	EXPECT_NE(made_.read("log").find("level=error msg=\"dlgroup-runtime: class control: refused"), std::string::npos);
	ask("6ms/20ms");
	refused("dlgroup-free", "class free: refused 6ms/20ms by the annotation dlgroup.reservation" + why);
	ask_by_files("7000 20000");
	refused("dlgroup-control", "class control: refused 7ms/20ms by unified cpu.rt.max" + why);
	// Who asks for nothing is not concerned.
	made_.write("bundle/config.json", kConfig);
	EXPECT_EQ(create("dlgroup-free"), 0);
	EXPECT_EQ(config(), kConfig);
}

TEST_F(Runtime, WithoutTheKernelItStartsIfThePolicyPrefersIt)
{
	kernel_without();
	policy("kernel = \"prefer\"\n[class.control]" + std::string(kClass) + "reservation = \"5ms/20ms@0 fifo:10\"\n");
	auto started = [&](const std::string &what) {
		auto sentence = "dlgroup-runtime: class control: started without 5ms/20ms by " + what +
				": the kernel has no cpu.rt.max (CONFIG_DL_GROUP_SCHED)";
		std::filesystem::remove(made_.path("called"));
		std::filesystem::remove(made_.path("log"));
		EXPECT_EQ(run({"dlgroup-control", "--log", log(), "--log-format=json", "create", "-b", bundle(), "id"}), 0);
		EXPECT_EQ(made_.read("stderr"), sentence + "\n");
		auto entry = nlohmann::json::parse(made_.read("log"));
		EXPECT_EQ(entry["level"], "warning");
		EXPECT_EQ(entry["msg"], sentence);
		EXPECT_NE(made_.read("called"), "");
		// Neither a place in the class nor the right to be FIFO is taken.
		EXPECT_FALSE(std::filesystem::exists(made_.path("run/containers.json")));
		EXPECT_EQ(config().find("RLIMIT_RTPRIO"), std::string::npos);
		return nlohmann::json::parse(config());
	};
	EXPECT_EQ(started("its class"), nlohmann::json::parse(kConfig));
	// What would be written to a file that is not there is gone, and what else stands there stays.
	ask_by_files("5000 20000");
	EXPECT_EQ(started("unified cpu.rt.max")["linux"]["resources"]["unified"],
		  (nlohmann::json{{"memory.high", "max"}}));
	ask_by_files("");
	EXPECT_EQ(started("realtimeRuntime")["linux"]["resources"]["cpu"], (nlohmann::json{{"shares", 7}}));
	// What the class does not allow is refused all the same.
	ask_by_files("50000 100000");
	std::filesystem::remove(made_.path("called"));
	refused("dlgroup-control", "the runtime may be 20ms");
}

TEST_F(Runtime, ThePolicyAloneDoesNotStartItWithout)
{
	policy("kernel = \"prefer\"\n[class.control]" + std::string(kClass) + "reservation = \"5ms/20ms@0 fifo:10\"\n");
	ASSERT_EQ(create("dlgroup-control"), 0) << made_.read("stderr");
	EXPECT_EQ(made_.read("stderr"), "");
	EXPECT_EQ(nlohmann::json::parse(config())["linux"]["resources"]["unified"]["cpu.rt.max"], "5000 20000");
}

TEST_F(Runtime, SaysItInTheLogOfTheEngine)
{
	ask("1ms/1ms");
	std::string sentence = "dlgroup-runtime: class free: refused 1ms/1ms by the annotation "
			       "dlgroup.reservation: the period may be 5ms to 100ms";
	EXPECT_EQ(run({"dlgroup-free", "--log=" + log(), "--log-format=json", "create", "-b", bundle(), "id"}), 1);
	EXPECT_EQ(made_.read("stderr"), sentence + "\n");
	auto entry = nlohmann::json::parse(made_.read("log"));
	EXPECT_EQ(entry["level"], "error");
	EXPECT_EQ(entry["msg"], sentence);
	EXPECT_EQ(entry["time"].get<std::string>().size(), std::string("2026-01-01T00:00:00Z").size());
	made_.write("log", "before\n");
	EXPECT_EQ(run({"dlgroup-free", "--log", "file:" + log(), "run", "-b", bundle(), "id"}), 1);
	EXPECT_NE(made_.read("log").find("level=error msg=\"" + sentence + "\"\n"), std::string::npos);
	EXPECT_TRUE(made_.read("log").starts_with("before\n"));
	EXPECT_EQ(run({"dlgroup-free", "--log", "/nowhere/log", "run", "-b", bundle(), "id"}), 1);
	EXPECT_EQ(made_.read("stderr"), sentence + "\n");
}

TEST_F(Runtime, RefusesABundleItCannotTrust)
{
	std::filesystem::create_directory_symlink("bundle", made_.path("link"));
	auto said = [&](const std::string &path) {
		EXPECT_EQ(run({"dlgroup-control", "create", "-b", path, "id"}), 1);
		EXPECT_FALSE(std::filesystem::exists(made_.path("called")));
		return made_.read("stderr");
	};
	EXPECT_EQ(said(made_.path("link")),
		  "dlgroup-runtime: " + made_.path("link").string() + ": has a symbolic link in its path\n");
	EXPECT_EQ(said("../bundle"), "dlgroup-runtime: ../bundle: leads out of where it begins\n");
	made_.write("bundle/config.json", "{\"process\": ");
	EXPECT_NE(said(bundle()).find("config.json: not JSON"), std::string::npos);
	made_.write("bundle/config.json", R"({"process": {}, "linux": {"cgroupsPath": "relative"}})");
	EXPECT_NE(said(bundle()).find("cgroupsPath 'relative': neither"), std::string::npos);
	EXPECT_EQ(run({"dlgroup-control", "run", "--config", "x", "-b", bundle(), "id"}), 1);
	EXPECT_EQ(run({"crun", "run", "-b", bundle(), "id"}), 1);
	setup_.self = made_.path("crun");
	EXPECT_EQ(run({"dlgroup-runtime", "list"}), 1);
	EXPECT_NE(made_.read("stderr").find("runtime: is dlgroup-runtime itself"), std::string::npos);
}

// Where journald's socket would be.
class Journal : public Runtime {
protected:
	Journal() : socket_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0))
	{
		name_.sun_family = AF_UNIX;
		setup_.journal.string().copy(name_.sun_path, sizeof(name_.sun_path) - 1);
		EXPECT_EQ(bind(socket_, address(), sizeof(name_)), 0);
	}
	~Journal() override { close(socket_); }
	const sockaddr *address() const { return reinterpret_cast<const sockaddr *>(&name_); }
	// The next entry; "" if there is none.
	std::string entry()
	{
		char text[4096];
		auto got = recv(socket_, text, sizeof(text), MSG_DONTWAIT);
		return got < 0 ? "" : std::string(text, static_cast<std::size_t>(got));
	}

	sockaddr_un name_{};
	int socket_;
};

TEST_F(Journal, HasWhatIsGranted)
{
	ASSERT_EQ(create("dlgroup-control"), 0) << made_.read("stderr");
	EXPECT_EQ(entry(), R"(MESSAGE=container id: class control: granted 5ms/20ms on CPU 0, FIFO 10 by its class
PRIORITY=6
SYSLOG_IDENTIFIER=dlgroup-runtime
DLGROUP_DECISION=granted
DLGROUP_CONTAINER=id
DLGROUP_CLASS=control
DLGROUP_CGROUP=/box
DLGROUP_ASKED=5ms/20ms
DLGROUP_BY=its class
DLGROUP_GIVEN=5ms/20ms on CPU 0, FIFO 10
)");
	EXPECT_EQ(entry(), "");
}

TEST_F(Journal, HasWhatIsRefused)
{
	ask_by_files("50000 100000");
	EXPECT_EQ(create("dlgroup-control"), 1);
	EXPECT_EQ(entry(), R"(MESSAGE=container id: class control: refused 50ms/100ms by unified cpu.rt.max: the runtime may be 20ms
PRIORITY=3
SYSLOG_IDENTIFIER=dlgroup-runtime
DLGROUP_DECISION=refused
DLGROUP_CONTAINER=id
DLGROUP_CLASS=control
DLGROUP_ASKED=50ms/100ms
DLGROUP_BY=unified cpu.rt.max
)");
	// What does not fit was allowed, but nothing is given.
	made_.add_group("/a", "19000 20000");
	made_.write("sys/kernel/debug/sched/dl_group_headroom",
		    "cpu0 cap 267401227875123 fair 14073748835532 groups 253327479039591 tasks 0 free 0\n");
	ask("6ms/20ms@0");
	EXPECT_EQ(create("dlgroup-free"), 1);
	auto text = entry();
	EXPECT_NE(text.find("\nDLGROUP_DECISION=refused\n"), text.npos) << text;
	EXPECT_NE(text.find("\nDLGROUP_CGROUP=/box\n"), text.npos) << text;
	EXPECT_EQ(text.find("DLGROUP_GIVEN"), text.npos) << text;
	setup_.owner++;
	EXPECT_EQ(create("dlgroup-control"), 1);
	EXPECT_NE(entry().find("is another user's\n"), std::string::npos);
}

TEST_F(Journal, HasWhatStartsWithout)
{
	kernel_without();
	policy("kernel = \"prefer\"\n[class.control]" + std::string(kClass) + "reservation = \"5ms/20ms@0 fifo:10\"\n");
	ASSERT_EQ(create("dlgroup-control"), 0) << made_.read("stderr");
	auto text = entry();
	EXPECT_TRUE(text.starts_with("MESSAGE=container id: class control: started without 5ms/20ms by its class: ")) << text;
	EXPECT_NE(text.find("\nPRIORITY=4\n"), text.npos) << text;
	EXPECT_NE(text.find("\nDLGROUP_DECISION=without\n"), text.npos) << text;
	EXPECT_EQ(text.find("DLGROUP_GIVEN"), text.npos) << text;
}

TEST_F(Journal, HasWhatTheHookRefuses)
{
	EXPECT_EQ(run({"dlgroup-hook", "/box", "5000 20000", "keep"}, R"({"id": "web", "pid": 1})"), 1);
	auto text = entry();
	EXPECT_TRUE(text.starts_with("MESSAGE=container web: 1 (")) << text;
	EXPECT_NE(text.find("\nDLGROUP_DECISION=refused\nDLGROUP_CONTAINER=web\nDLGROUP_CGROUP=/box\n"), text.npos) << text;
}

TEST_F(Journal, HasNothingOfOthers)
{
	EXPECT_EQ(create("dlgroup-free"), 0);
	setup_.owner++;
	EXPECT_EQ(run({"dlgroup-control", "kill", "id"}), 1);
	EXPECT_EQ(entry(), "");
}

TEST_F(Journal, IsToldNothingByAName)
{
	ask("1ms/20ms@0");
	EXPECT_EQ(run({"dlgroup-control", "create", "-b", bundle(), "a\nDLGROUP_DECISION=granted"}), 1);
	for (const auto &line : lines(entry()))
		EXPECT_TRUE(!line.starts_with("DLGROUP_DECISION=") || line == "DLGROUP_DECISION=refused") << line;
}

// A journal that is not read, or not there, keeps no container waiting, and stops none.
TEST_F(Journal, IsNotWaitedFor)
{
	int full = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	while (sendto(full, "x", 1, MSG_DONTWAIT, address(), sizeof(name_)) == 1)
		;
	close(full);
	EXPECT_EQ(create("dlgroup-control"), 0) << made_.read("stderr");
	EXPECT_EQ(made_.read("stderr"), "");
	std::filesystem::remove(setup_.journal);
	made_.write("bundle/config.json", kConfig);
	EXPECT_EQ(create("dlgroup-control"), 0) << made_.read("stderr");
	EXPECT_EQ(made_.read("stderr"), "");
}

// The container's first process is a child of the test in a made cgroup.
class Hook : public ::testing::Test {
protected:
	Hook() : made_(MadeTree::machine()), tasks_(made_), child_(fork())
	{
		if (child_ == 0) {
			pause();
			_exit(0);
		}
		made_.add_group("/box", "5000 20000");
		made_.add_task(child_, "init", SCHED_OTHER, 0, "/box");
	}
	~Hook() override
	{
		kill(child_, SIGKILL);
		waitpid(child_, nullptr, 0);
	}
	std::string hook(Words words, const std::string &state)
	{
		words.insert(words.begin(), "dlgroup-hook");
		auto done = runtime::hook(made_.roots(), tasks_, words, state);
		return done ? "" : done.error().object + ": " + done.error().reason;
	}
	std::string state() const { return fmt::format(R"({{"pid": {}, "status": "created"}})", child_); }
	Policy policy() { return tasks_.get(child_).value(); }

	MadeTree made_;
	MadeTaskControl tasks_;
	pid_t child_;
};

TEST_F(Hook, GivesTheFirstProcessItsPolicy)
{
	EXPECT_EQ(hook({"/box", "5000 20000", "keep"}, state()), "");
	EXPECT_EQ(policy(), (Policy{SCHED_OTHER, 0}));
	EXPECT_EQ(hook({"/box", "5000 20000", "fifo:10", "log", "json"}, state()), "");
	EXPECT_EQ(policy(), (Policy{SCHED_FIFO, 10}));
}

TEST_F(Hook, SeesThatNothingElseWasGranted)
{
	made_.write("sys/fs/cgroup/box/cpu.rt.max", "4000 20000\n");
	EXPECT_EQ(hook({"/box", "5000 20000", "fifo:10"}, state()),
		  "/box: cpu.rt.max is 4000 20000, granted were 5000 20000");
	std::filesystem::remove(made_.path("sys/fs/cgroup/box/cpu.rt.max"));
	EXPECT_NE(hook({"/box", "5000 20000", "fifo:10"}, state()).find("/box: has no cpu.rt.max"),
		  std::string::npos);
	EXPECT_EQ(policy(), (Policy{SCHED_OTHER, 0}));
}

TEST_F(Hook, TakesOnlyTheCgroupThatWasGranted)
{
	auto name = fmt::format("{} (init)", child_);
	EXPECT_EQ(hook({"/other", "5000 20000", "fifo:10"}, state()), name + ": is in /box, not in /other");
	EXPECT_EQ(hook({"/bo", "5000 20000", "fifo:10"}, state()), name + ": is in /box, not in /bo");
	EXPECT_EQ(policy(), (Policy{SCHED_OTHER, 0}));
	made_.add_group("/box/container", "5000 20000");
	made_.add_task(child_, "init", SCHED_OTHER, 0, "/box/container");
	EXPECT_EQ(hook({"/box", "5000 20000", "rr:3"}, state()), "");
	EXPECT_EQ(policy(), (Policy{SCHED_RR, 3}));
}

TEST_F(Hook, RefusesWhatIsNoState)
{
	for (const auto *text : {"", "{", "[]", "{}", R"({"pid": 0})", R"({"pid": -1})", R"({"pid": "1"})",
				 R"({"pid": 1.5})", R"({"pid": 4294967297})"})
		EXPECT_EQ(hook({"/box", "5000 20000", "fifo:10"}, text),
			  "state: on standard input has no pid of a container") << text;
	EXPECT_NE(hook({"/box", "5000 20000", "fifo:0"}, state()), "");
	EXPECT_NE(hook({"/box", "x", "fifo:1"}, state()), "");
	EXPECT_NE(hook({"/", "5000 20000", "fifo:1"}, state()), "");
	EXPECT_NE(hook({"/box"}, state()), "");
	auto text = state();
	kill(child_, SIGKILL);
	waitpid(child_, nullptr, 0);
	EXPECT_EQ(hook({"/box", "5000 20000", "fifo:10"}, text),
		  fmt::format("{} (init): ended while the container was made", child_));
	child_ = fork();
	if (child_ == 0)
		_exit(0);
}

} // namespace
} // namespace dlgroup::test
