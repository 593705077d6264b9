// SPDX-License-Identifier: GPL-2.0-only
// Guests on made trees: found, told apart, attached, and put back from whatever point.
#include <thread>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "made_guest.h"
#include "vm.h"

#include <dlgroup/guest.h>
#include <dlgroup/guest_profile.h>
#include <dlgroup/guest_record.h>

namespace dlgroup::test {
namespace {

using namespace std::chrono_literals;

// Answers each line that it gets with the next of its own; the first is the greeting.
class FakeQmp {
public:
	FakeQmp(std::string path, std::vector<std::string> says) : path_(std::move(path)), says_(std::move(says))
	{
		unlink(path_.c_str());
		sockaddr_un address{};
		address.sun_family = AF_UNIX;
		path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
		fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (bind(fd_, reinterpret_cast<sockaddr *>(&address), sizeof(address)) || listen(fd_, 1))
			throw std::runtime_error("no socket");
		thread_ = std::thread([this] { serve(); });
	}
	FakeQmp(const FakeQmp &) = delete;
	FakeQmp &operator=(const FakeQmp &) = delete;
	~FakeQmp()
	{
		shutdown(fd_, SHUT_RDWR);
		thread_.join();
		close(fd_);
	}

private:
	void serve()
	{
		int client = accept(fd_, nullptr, nullptr);
		for (std::size_t i = 0; client >= 0; i++) {
			if (i < says_.size() &&
			    send(client, says_[i].data(), says_[i].size(), MSG_NOSIGNAL) < 0)
				break;
			char buffer[4096];
			auto got = recv(client, buffer, sizeof(buffer), 0);
			if (got <= 0)
				break;
		}
		close(client);
	}

	std::string path_;
	std::vector<std::string> says_;
	int fd_ = -1;
	std::thread thread_;
};

const std::string kGreeting = "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n";
const std::string kDone = "{\"return\": {}}\r\n";

std::vector<std::string> answers(const std::string &vcpus, const std::string &iothreads)
{
	return {kGreeting, kDone, "{\"event\": \"RESUME\"}\r\n{\"return\": [" + vcpus + "]}\r\n",
		"{\"return\": [" + iothreads + "]}\r\n"};
}

class GuestTest : public MadeGuestTest {
protected:
	// What the watch does for the recorded guest, with the records held.
	Result<void> with_record(Result<void> (*what)(const tool::Context &, Changes &, const GuestRecords *,
						      const GuestRecord &))
	{
		auto roots = running();
		auto records = GuestRecords::open(roots);
		auto record = records->read(kQemu);
		Changes changes(roots, groups_, tasks_, false);
		tasks_.calls.clear();
		groups_.moves.clear();
		::testing::internal::CaptureStdout();
		auto done = what(tool::Context{options_, roots, groups_, tasks_}, changes, &*records, **record);
		out_ = ::testing::internal::GetCapturedStdout();
		return done;
	}
	std::string classes(const std::optional<QmpThreads> &qmp)
	{
		auto guest = read_guest(made_.roots(), kQemu, qmp);
		std::string text;
		for (const auto &thread : guest->threads)
			text += fmt::format("{} {} {}\n", name_class(thread.is), thread.label, thread.task.tid);
		return text;
	}
};

TEST_F(GuestTest, ThreadsAreToldApartByTheirNames)
{
	EXPECT_EQ(classes({}), "vcpu 0 1003\nvcpu 1 1004\nmain  1000\niothread io1 1002\nworker  1007\nvhost  1005\n"
			       "recovery  1006\nother call_rcu 1001\nkernel kvm-pit/1000 50\n");
	add_thread(1010, "CPU 10/TCG", "/user");
	add_thread(1011, "ALL CPUs/TCG", "/user");
	add_thread(1012, "CPU x/KVM", "/user");
	add_thread(1013, "IO mon_iothread", "/user");
	EXPECT_TRUE(classes({}).starts_with("vcpu 0 1003\nvcpu 1 1004\nvcpu 10 1010\nvcpu all 1011\nmain  1000\n"));
	EXPECT_NE(classes({}).find("other CPU x/KVM 1012"), std::string::npos);
	EXPECT_NE(classes({}).find("other IO mon_iothread 1013"), std::string::npos);
}

TEST_F(GuestTest, QmpIdsCountMoreThanNames)
{
	QmpThreads told{kQemu, {{1006, 3}}, {{1003, "fast"}}};
	auto text = classes(told);
	EXPECT_NE(text.find("vcpu 3 1006\n"), std::string::npos) << text;
	EXPECT_NE(text.find("iothread fast 1003\n"), std::string::npos) << text;
}

TEST_F(GuestTest, ThreadIdsOfAnotherPidNamespaceAreTranslated)
{
	auto inner = task(1001);
	inner.inner_tid = 4;
	made_.write_task(inner);
	auto text = classes(QmpThreads{kQemu, {{4, 0}}, {}});
	EXPECT_NE(text.find("vcpu 0 1001\n"), std::string::npos) << text;
}

TEST_F(GuestTest, AKernelThreadWhoseGuestIsNotCertainIsLeftAlone)
{
	made_.add_task(51, "kvm-pit/1000", SCHED_OTHER, 0, "/", "0-1", true);
	EXPECT_EQ(classes({}).find("kernel"), std::string::npos);
	made_.remove_task(task(51));
	made_.add_task(51, "kvm-pit/1000", SCHED_OTHER, 0, "/"); // no kernel thread, only called so
	EXPECT_NE(classes({}).find("kernel kvm-pit/1000 50"), std::string::npos);
	auto main = task(kQemu);
	main.inner_tid = 1;
	made_.write_task(main);
	EXPECT_EQ(classes({}).find("kernel"), std::string::npos);
}

TEST_F(GuestTest, QmpTells)
{
	auto path = made_.path("qmp").string();
	FakeQmp fake(path, answers(R"({"cpu-index": 0, "thread-id": 1003}, {"cpu-index": 1, "thread-id": 1004})",
				   R"({"id": "io1", "thread-id": 1002})"));
	auto told = ask_qmp(path, 5s);
	ASSERT_TRUE(told) << told.error().reason;
	EXPECT_EQ(told->listener, getpid());
	EXPECT_EQ(told->vcpus, (std::map<pid_t, std::int64_t>{{1003, 0}, {1004, 1}}));
	EXPECT_EQ(told->iothreads, (std::map<pid_t, std::string>{{1002, "io1"}}));
}

TEST_F(GuestTest, QmpFailsInOneSentence)
{
	auto path = made_.path("qmp").string();
	auto said = [&](std::vector<std::string> says) {
		FakeQmp fake(path, std::move(says));
		auto told = ask_qmp(path, 200ms);
		return told ? "" : told.error().reason;
	};
	EXPECT_EQ(said({}), "no answer within 200 ms: another client has it, or the guest is stuck");
	EXPECT_EQ(said({"SSH-2.0\r\n"}), "is no QMP socket: what it says is no JSON object");
	EXPECT_EQ(said({"{}\r\n"}), "is no QMP socket: no greeting");
	EXPECT_EQ(said({kGreeting, kDone, "{\"error\": {\"class\": \"x\", \"desc\": \"not \\n now\"}}\n"}),
		  "query-cpus-fast: not ? now");
	EXPECT_EQ(said(answers(R"({"cpu-index": 0})", "")), "its answer is not what QEMU's would be");
	EXPECT_EQ(said({kGreeting, kDone, "{\"return\": 1}\n", kDone}), "its answer is not what QEMU's would be");
	EXPECT_EQ(said({kGreeting, kDone, "{\"event\": 1}\n"}),
		  "no answer within 200 ms: another client has it, or the guest is stuck");
	// The socket that the last one has left behind.
	auto stale = ask_qmp(path, 200ms);
	ASSERT_FALSE(stale);
	EXPECT_EQ(stale.error().reason, "nobody listens on this socket: its guest has ended");
	EXPECT_EQ(ask_qmp(made_.path("none")).error().sys_errno, ENOENT);
}

TEST_F(GuestTest, IsFoundByAnyOfItsNames)
{
	auto find = [&](const std::string &text) {
		auto found = find_guest(made_.roots(), text);
		return found ? std::to_string(found->pid) + " " + found->group : found.error().reason;
	};
	made_.write("run/libvirt/qemu/web.pid", "1000");
	EXPECT_EQ(find("1000"), "1000 ");
	EXPECT_EQ(find("pid:1000"), "1000 ");
	EXPECT_EQ(find("web"), "1000 ");
	EXPECT_EQ(find("/user"), "1000 /user");
	EXPECT_EQ(find("/nowhere"), "neither a socket nor a cgroup");
	for (const auto *text : {"", "nosuch", "-1", "pid:x", "../libvirt/qemu/web", "container:x"})
		EXPECT_TRUE(find(text).starts_with("not a guest")) << text;
	made_.add_group("/empty", "max 100000");
	EXPECT_EQ(find("/empty"), "no guest runs in this cgroup");
	std::filesystem::create_symlink("/usr/bin/qemu-system-x86_64", made_.path("proc/900/exe"));
	EXPECT_EQ(find("/user"), "2 guests run in this cgroup: name one by its process id");
	// A socket whose listener is not the guest: this test is no thread of it.
	auto path = made_.path("qmp").string();
	FakeQmp fake(path, answers(R"({"cpu-index": 0, "thread-id": 1003})", ""));
	EXPECT_EQ(find(path), fmt::format("was opened by process {}, which is not the guest: name the guest by its "
					  "process id", getpid()));
}

TEST_F(GuestTest, WhatIsNoGuestIsRefused)
{
	auto before = state();
	for (auto [target, reason] : {std::pair("900", "900 (bash): is no virtual machine: only those of QEMU are known"),
				      std::pair("1003", "pid 1003: is a thread of process 1000"),
				      std::pair("4711", "pid 4711: no such process")}) {
		options_.target = target;
		EXPECT_EQ(why(call(tool::vm_attach)), reason);
	}
	options_.target = "1000";
	options_.res = "max";
	EXPECT_EQ(why(call(tool::vm_attach)), "reservation: a guest needs runtime/period such as 5ms/20ms");
	options_.res = "5ms/20ms";
	for (pid_t tid : {1003, 1004}) {
		auto unnamed = task(tid);
		unnamed.name = "qemu-system-x86";
		made_.write_task(unnamed);
	}
	EXPECT_TRUE(why(call(tool::vm_attach)).starts_with("pid 1000 (web): none of its threads is known to be a vCPU"));
	EXPECT_EQ(why(call(tool::vm_detach)), "pid 1000: is not attached");
	EXPECT_FALSE(has_record());
	EXPECT_EQ(state(), before);
}

TEST_F(GuestTest, IsAttachedAndPutBack)
{
	auto before = state();
	auto done = call(tool::vm_attach);
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(out_, "pid 1000 (web): 7 of 9 threads served by /dlgroup.vm.1000: 5ms/20ms on CPUs 0-1 (25 % of 2 CPUs "
			"= 0.50 CPU)\n");
	for (pid_t tid : {1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 50})
		EXPECT_EQ(task(tid).cgroup, "/dlgroup.vm.1000") << tid;
	for (auto [tid, wanted] : {std::pair(1003, "FIFO 10"), std::pair(1004, "FIFO 10"), std::pair(1000, "FIFO 15"),
				   std::pair(1002, "FIFO 20"), std::pair(1005, "FIFO 20"), std::pair(1007, "FIFO 20"),
				   std::pair(50, "FIFO 20"), std::pair(1001, "OTHER"), std::pair(1006, "OTHER")})
		EXPECT_EQ(policy(tid), wanted) << tid;
	EXPECT_EQ(task(kShell).cgroup, "/user");
	EXPECT_TRUE(has_record());
	EXPECT_TRUE(why(call(tool::vm_attach)).starts_with("pid 1000 (web): is attached already: dlgroup set "
							   "/dlgroup.vm.1000 RES"));
	done = call(tool::vm_detach);
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(state(), before);
	EXPECT_EQ(policy(1004), "RR 2");
	EXPECT_FALSE(has_record());
}

TEST_F(GuestTest, BudgetComesBeforePolicyAndIsGivenBackAfterIt)
{
	tasks_.after_call = [&] {
		EXPECT_EQ(trimmed(made_.read("sys/fs/cgroup/dlgroup.vm.1000/cpu.rt.max")), "5000 20000");
		EXPECT_TRUE(has_record());
	};
	groups_.after_move = tasks_.after_call;
	ASSERT_TRUE(call(tool::vm_attach));
	ASSERT_TRUE(call(tool::vm_detach));
}

TEST_F(GuestTest, AProfileChoosesWhoIsServedAndWhere)
{
	made_.write("profile.toml", "[vcpu]\npolicy = \"rr:3\"\ncpus = \"1\"\n[kernel]\npolicy = \"keep\"\n");
	options_.profile = made_.path("profile.toml");
	auto before = state();
	auto done = call(tool::vm_attach);
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(policy(1003), "RR 3");
	EXPECT_EQ(format_cpus(task(1003).allowed), "1");
	EXPECT_EQ(policy(1000), "OTHER");
	EXPECT_EQ(task(kPit).cgroup, "/");
	ASSERT_TRUE(call(tool::vm_detach));
	EXPECT_EQ(state(), before);
	// A mask that the kernel would cut is not what was asked for.
	for (const auto *cpus : {"0-3", "7"}) {
		made_.write("profile.toml", fmt::format("[vcpu]\npolicy = \"rr:3\"\ncpus = \"{}\"\n", cpus));
		EXPECT_EQ(why(call(tool::vm_attach)).substr(0, 9), "vcpu: CPU") << cpus;
		EXPECT_EQ(state(), before);
		EXPECT_FALSE(has_record());
	}
}

TEST(GuestProfileTest, SaysWhatIsWrong)
{
	auto said = [](const std::string &text) {
		auto profile = parse_profile(text, "p");
		return profile ? "" : profile.error().object + ": " + profile.error().reason;
	};
	EXPECT_EQ(said(""), "");
	EXPECT_EQ(said("[vcpu]\npolicy = \"fifo:1\"\n"), "");
	EXPECT_EQ(said("[vpcu]\npolicy = \"fifo:1\"\n"), "p: line 1: unknown key 'vpcu'");
	EXPECT_EQ(said("[vcpu]\npolicy = \"fifo:1\"\nprio = 3\n"), "p: vcpu: line 3: unknown key 'prio'");
	EXPECT_EQ(said("[vcpu]\ncpus = \"0\"\n"), "p: vcpu: policy: is missing");
	EXPECT_EQ(said("[vcpu]\npolicy = \"fifo:100\"\n"),
		  "p: vcpu: policy: 'fifo:100': not a policy: fifo:N or rr:N with N from 1 to 99, or keep");
	EXPECT_EQ(said("[vcpu]\npolicy = \"keep\"\ncpus = \"\"\n"),
		  "p: vcpu: cpus: is not a list of CPUs such as \"0-3,5\"");
	EXPECT_EQ(said("vcpu = 3\n"), "p: vcpu: is not a table: write [vcpu]");
	EXPECT_TRUE(said("[vcpu\n").starts_with("p: line 1: "));
}

TEST(GuestProfileTest, WhoServesTheVcpusStandsAboveThem)
{
	auto profile = default_profile();
	auto priority = [&](ThreadClass of) { return profile.at(of).policy->priority; };
	EXPECT_LT(priority(ThreadClass::vcpu), priority(ThreadClass::main));
	for (auto io : {ThreadClass::iothread, ThreadClass::worker, ThreadClass::vhost, ThreadClass::kernel})
		EXPECT_LT(priority(ThreadClass::main), priority(io));
	EXPECT_FALSE(profile.count(ThreadClass::other));
	EXPECT_FALSE(profile.count(ThreadClass::recovery));
}

TEST_F(GuestTest, AnyRefusalPutsAllBack)
{
	auto before = state();
	for (pid_t tid : {1000, 1002, 1003, 1004, 1005, 1007, 50}) {
		tasks_.refused = tid;
		EXPECT_EQ(why(call(tool::vm_attach)), "pid: refused") << tid;
		EXPECT_EQ(err_, "");
		EXPECT_EQ(state(), before) << tid;
		EXPECT_FALSE(has_record()) << tid;
	}
	tasks_.refused = 0;
	for (pid_t pid : {kQemu, kPit}) {
		groups_.refused = pid;
		EXPECT_FALSE(call(tool::vm_attach)) << pid;
		EXPECT_EQ(state(), before) << pid;
		EXPECT_FALSE(has_record()) << pid;
	}
}

TEST_F(GuestTest, KilledAnywhereItIsPutBackByAnother)
{
	made_.write("profile.toml", "[vcpu]\npolicy = \"fifo:3\"\ncpus = \"1\"\n[main]\npolicy = \"fifo:4\"\n"
				    "[kernel]\npolicy = \"fifo:5\"\n");
	options_.profile = made_.path("profile.toml");
	int steps = killed_after_each_step(tool::vm_attach, tool::vm_detach);
	// Two moves, two CPUs and four policies at least.
	EXPECT_GE(steps, 8);
}

TEST_F(GuestTest, ASignalBeforeTheStartLeavesNoGroup)
{
	options_.command = {"true"};
	auto before = state();
	groups_.after_create = [] { raise(SIGTERM); };
	for (auto verb : {tool::run, tool::vm_run}) {
		pid_t child = fork();
		if (child == 0)
			_exit(why(call(verb)) == "true: not started: Terminated" ? 0 : 1);
		int status = 0;
		waitpid(child, &status, 0);
		EXPECT_EQ(status, 0);
		EXPECT_EQ(state(), before);
	}
}

// Whose child is in /proc, too.
class RunGroups : public MadeGroupControl {
public:
	explicit RunGroups(MadeTree &tree) : MadeGroupControl(tree), made_(tree) {}
	Result<void> attach(const std::string &group, pid_t pid) override
	{
		made_.add_task(pid, "sh", SCHED_OTHER, 0, "/user");
		return MadeGroupControl::attach(group, pid);
	}

private:
	MadeTree &made_;
};

TEST_F(GuestTest, RunRefusesACommandThatIsNotQemuItself)
{
	for (const auto *directory : {"run/dlgroup", "run/dlgroup/vm"})
		std::filesystem::create_directories(made_.path(directory));
	options_.command = {"sh", "-c", "exec sleep 5"};
	pid_t child = fork();
	if (child == 0) {
		FakeQmp fake(made_.path(fmt::format("run/dlgroup/vm/run.{}.qmp", getpid())),
			     answers(R"({"cpu-index": 0, "thread-id": 1003})", ""));
		RunGroups groups(made_);
		auto roots = running();
		auto done = tool::vm_run(tool::Context{options_, roots, groups, tasks_});
		bool good = why(done).ends_with("is known to be a vCPU: the command is to become QEMU (exec), not "
						"to start it");
		_exit(good ? 0 : 1);
	}
	int status = 0;
	waitpid(child, &status, 0);
	EXPECT_EQ(status, 0);
	EXPECT_FALSE(std::filesystem::exists(made_.path(fmt::format("sys/fs/cgroup/dlgroup.vm.{}", child))));
}

// What another detach has put back meanwhile is not recorded as what was before.
TEST_F(GuestTest, WhoWaitsForAnotherReadsTheGuestAfterIt)
{
	auto before = state();
	ASSERT_TRUE(call(tool::vm_attach));
	auto records = GuestRecords::open(running());
	ASSERT_TRUE(records);
	pid_t child = fork();
	if (child == 0) {
		records = tl::unexpected(Error{}); // a copy of the lock
		_exit(call(tool::vm_attach) ? 0 : 1);
	}
	auto waits = [&] {
		return read_file("/proc/locks").value_or("").find(fmt::format(" {} ", child)) != std::string::npos;
	};
	for (int i = 0; i < 2000 && !waits(); i++)
		std::this_thread::sleep_for(5ms);
	ASSERT_TRUE(waits());
	// As vm detach does, which has the lock.
	for (auto tid : threads_of(made_.roots(), kQemu)) {
		auto back = task(tid);
		back.policy = tid == 1004 ? Policy{SCHED_RR, 2} : Policy{};
		made_.move_task(back, "/user");
	}
	auto pit = task(kPit);
	pit.policy = {};
	made_.move_task(pit, "/");
	std::filesystem::remove_all(made_.path("sys/fs/cgroup/dlgroup.vm.1000"));
	ASSERT_TRUE(records->remove(kQemu));
	records = tl::unexpected(Error{});
	int status = 0;
	waitpid(child, &status, 0);
	EXPECT_EQ(status, 0);
	ASSERT_TRUE(call(tool::vm_detach));
	EXPECT_EQ(state(), before);
}

TEST_F(GuestTest, ThreadsMayEndMeanwhile)
{
	auto end = [&](pid_t tid) {
		if (auto one = read_task(made_.roots(), tid))
			made_.remove_task(*one);
	};
	groups_.after_move = [&] { end(1007); };
	// In the middle of a round: both have still to be arranged.
	tasks_.after_call = [&] {
		end(1005);
		end(kPit);
	};
	auto done = call(tool::vm_attach);
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(policy(1003), "FIFO 10");
	end(1002);
	done = call(tool::vm_detach);
	EXPECT_TRUE(done) << why(done);
	EXPECT_EQ(err_, "");
	EXPECT_EQ(policy(1003), "OTHER");
	EXPECT_FALSE(has_record());
}

TEST_F(GuestTest, AGuestThatEndsMeanwhileLeavesNothing)
{
	groups_.after_move = [&] {
		for (pid_t tid : {1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007})
			if (auto one = read_task(made_.roots(), tid))
				made_.remove_task(*one);
		std::filesystem::remove_all(made_.path("proc/1000"));
	};
	EXPECT_EQ(why(call(tool::vm_attach)), "pid 1000 (web): ended meanwhile");
	EXPECT_FALSE(std::filesystem::exists(made_.path("sys/fs/cgroup/dlgroup.vm.1000")));
	EXPECT_EQ(task(kPit).cgroup, "/");
	EXPECT_FALSE(has_record());
}

TEST_F(GuestTest, WhoHasTheNumberOfAnotherIsNotTouched)
{
	ASSERT_TRUE(call(tool::vm_attach));
	// A thread of somebody else's, and a kernel thread, with numbers that are free again.
	for (pid_t tid : {1005, kPit}) {
		auto other = task(tid);
		made_.remove_task(other);
		other.tgid = tid;
		other.started += 100000;
		other.policy = {SCHED_FIFO, 20}; // as if it had been given by us
		other.kernel_thread = tid == kPit;
		made_.write_task(other);
	}
	// And one of the guest's own.
	auto own = task(1007);
	own.started += 100000;
	own.policy = {SCHED_FIFO, 33};
	made_.write_task(own);
	tasks_.calls.clear();
	groups_.moves.clear();
	ASSERT_TRUE(call(tool::vm_detach));
	EXPECT_EQ(policy(1005), "FIFO 20");
	EXPECT_EQ(policy(kPit), "FIFO 20");
	EXPECT_EQ(policy(1007), "FIFO 33");
	for (const auto &line : groups_.moves)
		EXPECT_FALSE(line.starts_with("50 ")) << line;

	// And the process itself.
	made_.remove_task(task(kPit));
	ASSERT_TRUE(call(tool::vm_attach)) << err_;
	for (pid_t tid : {1000, 1003}) {
		auto other = task(tid);
		other.started += 100000;
		other.policy = {SCHED_FIFO, 77};
		made_.write_task(other);
	}
	tasks_.calls.clear();
	groups_.moves.clear();
	auto done = call(tool::vm_detach);
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(tasks_.calls, std::vector<std::string>{});
	EXPECT_EQ(groups_.moves, std::vector<std::string>{});
	EXPECT_FALSE(has_record());
}

TEST_F(GuestTest, ThreadsThatComeLaterAreServedAndPutBack)
{
	groups_.after_move = [&, first = true]() mutable {
		// Of a thread that has its policy already, and before the first round is over.
		if (std::exchange(first, false))
			add_thread(1020, "CPU 2/KVM", "/dlgroup.vm.1000");
	};
	tasks_.after_call = [&, first = true]() mutable {
		if (std::exchange(first, false))
			add_thread(1023, "worker", "/dlgroup.vm.1000");
	};
	ASSERT_TRUE(call(tool::vm_attach));
	EXPECT_EQ(policy(1020), "FIFO 10");
	EXPECT_EQ(policy(1023), "FIFO 20");
	add_thread(1021, "worker", "/dlgroup.vm.1000", {SCHED_FIFO, 20}); // inherited
	add_thread(1022, "own", "/dlgroup.vm.1000", {SCHED_FIFO, 33});   // not by us
	ASSERT_TRUE(call(tool::vm_detach));
	EXPECT_EQ(policy(1020), "OTHER");
	EXPECT_EQ(policy(1021), "OTHER");
	EXPECT_EQ(policy(1022), "FIFO 33");
	EXPECT_EQ(task(1021).cgroup, "/user");
}

TEST_F(GuestTest, ThreadsThatComeLaterLoseTheInheritedCpus)
{
	made_.write("profile.toml", "[vcpu]\npolicy = \"fifo:15\"\ncpus = \"0\"\n[main]\npolicy = \"fifo:15\"\n"
				    "cpus = \"1\"\n[worker]\npolicy = \"keep\"\ncpus = \"1\"\n");
	options_.profile = made_.path("profile.toml");
	ASSERT_TRUE(call(tool::vm_attach));
	for (auto [tid, policy] : {std::pair(1021, Policy{SCHED_FIFO, 15}), std::pair(1022, Policy{SCHED_OTHER, 0}),
				   std::pair(1023, Policy{SCHED_FIFO, 33})}) {
		add_thread(tid, "new", "/dlgroup.vm.1000", policy);
		auto pinned = task(tid);
		pinned.allowed = {1};
		made_.write_task(pinned);
	}
	auto done = call(tool::vm_detach);
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(policy(1021), "OTHER");
	EXPECT_EQ(format_cpus(task(1021).allowed), "0-1"); // made by main
	EXPECT_EQ(format_cpus(task(1022).allowed), "0-1"); // made by a worker
	EXPECT_EQ(format_cpus(task(1023).allowed), "1");   // not by us
}

TEST_F(GuestTest, WatchedItsNewThreadsGetWhatTheirClassHas)
{
	made_.write("profile.toml", "[vcpu]\npolicy = \"fifo:10\"\n[main]\npolicy = \"fifo:15\"\n"
				    "[iothread]\npolicy = \"rr:30\"\ncpus = \"1\"\n");
	options_.profile = made_.path("profile.toml");
	ASSERT_TRUE(call(tool::vm_attach));
	add_thread(1020, "CPU 2/KVM", "/dlgroup.vm.1000", {SCHED_FIFO, 15});
	add_thread(1021, "IO io2", "/dlgroup.vm.1000", {SCHED_FIFO, 15});
	auto done = with_record(tool::arrange_new_threads);
	ASSERT_TRUE(done) << done.error().reason;
	EXPECT_EQ(tasks_.calls,
		  (std::vector<std::string>{"policy 1020 FIFO 10", "cpus 1021 1", "policy 1021 RR 30"}));
	EXPECT_EQ(out_, "pid 1000 (web): 6 of 11 threads served by /dlgroup.vm.1000: 5ms/20ms on CPUs 0-1 "
			"(25 % of 2 CPUs = 0.50 CPU)\n");
	// Nothing is new any more, and nothing is undone.
	ASSERT_TRUE(with_record(tool::arrange_new_threads));
	EXPECT_EQ(tasks_.calls, std::vector<std::string>{});
	EXPECT_EQ(out_, "");
	EXPECT_EQ(policy(1020), "FIFO 10");
	ASSERT_TRUE(call(tool::vm_detach));
	EXPECT_EQ(policy(1020), "OTHER");
	EXPECT_EQ(policy(1021), "OTHER");
	EXPECT_EQ(format_cpus(task(1021).allowed), "0-1");
}

TEST_F(GuestTest, WatchedAKernelThreadIsRecordedBeforeItIsMoved)
{
	made_.remove_task(task(kPit));
	ASSERT_TRUE(call(tool::vm_attach));
	made_.add_task(kPit, "kvm-pit/1000", SCHED_OTHER, 0, "/", "0-1", true);
	groups_.refused = kPit;
	EXPECT_FALSE(with_record(tool::arrange_new_threads));
	EXPECT_NE(made_.read("run/dlgroup/vm/1000.json").find("\"tid\": 50"), std::string::npos);
	groups_.refused = 0;
	ASSERT_TRUE(with_record(tool::arrange_new_threads));
	EXPECT_EQ(task(kPit).cgroup, "/dlgroup.vm.1000");
	ASSERT_TRUE(call(tool::vm_detach));
	EXPECT_EQ(task(kPit).cgroup, "/");
	EXPECT_EQ(policy(kPit), "OTHER");
}

TEST_F(GuestTest, WatchedItStaysWhereSomebodyHasMovedIt)
{
	ASSERT_TRUE(call(tool::vm_attach));
	for (auto tid : threads_of(made_.roots(), kQemu))
		made_.move_task(task(tid), "/user");
	add_thread(1020, "CPU 2/KVM", "/user");
	auto before = state();
	auto done = with_record(tool::arrange_new_threads);
	ASSERT_FALSE(done);
	EXPECT_EQ(done.error().reason, "is not in /dlgroup.vm.1000 any more");
	EXPECT_EQ(state(), before);
}

TEST_F(GuestTest, WatchedItsGroupGoesWithIt)
{
	ASSERT_TRUE(call(tool::vm_attach));
	auto started = task(kQemu).started;
	EXPECT_TRUE(is_running(made_.roots(), kQemu, started));
	EXPECT_FALSE(is_running(made_.roots(), kQemu, started + 1));
	for (auto tid : threads_of(made_.roots(), kQemu))
		if (tid != kQemu && tid != 1001)
			made_.remove_task(task(tid));
	// Its first thread has ended and waits for the others, then for its parent.
	auto stat = made_.read("proc/1000/stat");
	made_.write("proc/1000/stat", stat.replace(stat.find(") R"), 3, ") Z"));
	EXPECT_TRUE(is_running(made_.roots(), kQemu, started));
	made_.remove_task(task(1001));
	EXPECT_FALSE(is_running(made_.roots(), kQemu, started));
	auto done = with_record(tool::put_guest_back);
	ASSERT_TRUE(done) << done.error().reason;
	EXPECT_FALSE(has_record());
	EXPECT_FALSE(std::filesystem::exists(made_.path("sys/fs/cgroup/dlgroup.vm.1000")));
}

TEST_F(GuestTest, WatchTellsWhatItWouldDo)
{
	ASSERT_TRUE(call(tool::vm_attach));
	add_thread(1020, "CPU 2/KVM", "/dlgroup.vm.1000", {SCHED_FIFO, 15});
	auto before = state();
	options_.dry_run = true;
	ASSERT_TRUE(call(tool::vm_watch));
	EXPECT_EQ(out_, "chrt --fifo --pid 10 1020\n");
	EXPECT_EQ(state(), before);
	EXPECT_TRUE(has_record());
}

TEST_F(GuestTest, ItsCgroupHasItsCpusBackBeforeTheThreadsHave)
{
	made_.remove_task(task(kShell));
	made_.write("sys/fs/cgroup/user/cpuset.cpus", "0-1\n");
	made_.write("sys/fs/cgroup/user/cpuset.cpus.effective", "0-1\n");
	made_.write("profile.toml", "[vcpu]\npolicy = \"fifo:10\"\ncpus = \"1\"\n");
	options_.profile = made_.path("profile.toml");
	options_.cpus = "1";
	auto pinned = task(1003);
	pinned.allowed = {0};
	made_.write_task(pinned);
	auto done = call(tool::vm_attach);
	ASSERT_TRUE(done) << why(done);
	int seen = 0;
	tasks_.after_call = [&] {
		seen += tasks_.calls.back() == "cpus 1003 0" &&
			trimmed(made_.read("sys/fs/cgroup/user/cpuset.cpus")) == "0-1";
	};
	ASSERT_TRUE(call(tool::vm_detach));
	EXPECT_EQ(seen, 1);
}

TEST_F(GuestTest, AloneInItsCgroupItStaysThere)
{
	made_.remove_task(task(kShell));
	made_.write("sys/fs/cgroup/user/cpu.rt.max", "1000 50000\n");
	auto before = state();
	auto done = call(tool::vm_attach);
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(task(1003).cgroup, "/user");
	EXPECT_EQ(task(kPit).cgroup, "/user");
	EXPECT_EQ(trimmed(made_.read("sys/fs/cgroup/user/cpu.rt.max")), "5000 20000");
	ASSERT_TRUE(call(tool::vm_detach));
	EXPECT_EQ(state(), before);
}

TEST_F(GuestTest, NamedByItsCgroupThatIsWhereItStays)
{
	options_.target = "/user";
	auto before = state();
	ASSERT_TRUE(call(tool::vm_attach));
	EXPECT_EQ(task(1003).cgroup, "/user");
	EXPECT_EQ(policy(kShell), "OTHER");
	ASSERT_TRUE(call(tool::vm_detach));
	EXPECT_EQ(state(), before);
}

TEST_F(GuestTest, WhatLibvirtHasSpreadStaysWhereItIs)
{
	for (const auto *group : {"/scope", "/scope/libvirt", "/scope/libvirt/emulator", "/scope/libvirt/vcpu0"})
		made_.add_group(group, "max 100000");
	for (const auto *file : {"/scope", "/scope/libvirt"}) {
		made_.write(std::string("sys/fs/cgroup") + file + "/cgroup.controllers", "cpu\n");
		made_.write(std::string("sys/fs/cgroup") + file + "/cgroup.subtree_control", "cpu\n");
	}
	made_.write("sys/fs/cgroup/scope/libvirt/cgroup.type", "domain threaded\n");
	made_.write("sys/fs/cgroup/scope/libvirt/emulator/cgroup.type", "threaded\n");
	made_.write("sys/fs/cgroup/scope/libvirt/vcpu0/cgroup.type", "threaded\n");
	for (auto tid : threads_of(made_.roots(), kQemu))
		made_.move_task(task(tid), tid == 1003 ? "/scope/libvirt/vcpu0" : "/scope/libvirt/emulator");
	made_.add_task(1100, "swtpm", SCHED_OTHER, 0, "/scope/libvirt/emulator");
	auto before = state();
	auto done = call(tool::vm_attach);
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(trimmed(made_.read("sys/fs/cgroup/scope/libvirt/cpu.rt.max")), "5000 20000");
	EXPECT_EQ(task(1003).cgroup, "/scope/libvirt/vcpu0");
	EXPECT_EQ(task(kPit).cgroup, "/scope/libvirt");
	EXPECT_EQ(policy(1003), "FIFO 10");
	ASSERT_TRUE(call(tool::vm_detach));
	EXPECT_EQ(state(), before);
}

TEST_F(GuestTest, AnotherCgroupOfTheSameNameIsNotTouched)
{
	made_.remove_task(task(kShell));
	ASSERT_TRUE(call(tool::vm_attach));
	std::filesystem::rename(made_.path("sys/fs/cgroup/user"), made_.path("old"));
	made_.add_group("/user", "7000 20000");
	std::filesystem::remove_all(made_.path("proc/1000"));
	auto done = call(tool::vm_detach);
	ASSERT_TRUE(done) << why(done);
	EXPECT_EQ(trimmed(made_.read("sys/fs/cgroup/user/cpu.rt.max")), "7000 20000");
}

TEST_F(GuestTest, DryRunsChangeNothing)
{
	options_.dry_run = true;
	auto before = state();
	ASSERT_TRUE(call(tool::vm_attach));
	auto group = made_.path("sys/fs/cgroup/dlgroup.vm.1000").string();
	EXPECT_TRUE(out_.starts_with("mkdir " + group + "\necho '5000 20000' > " + group + "/cpu.rt.max\necho '1000' > " +
				     group + "/cgroup.procs\nchrt --fifo --pid 10 1003\n")) << out_;
	EXPECT_EQ(state(), before);
	EXPECT_FALSE(std::filesystem::exists(made_.path("run/dlgroup")));
	options_.dry_run = false;
	ASSERT_TRUE(call(tool::vm_attach));
	auto attached = state();
	options_.dry_run = true;
	ASSERT_TRUE(call(tool::vm_detach));
	EXPECT_NE(out_.find("chrt --rr --pid 2 1004\n"), std::string::npos) << out_;
	EXPECT_NE(out_.find("rmdir " + group), std::string::npos) << out_;
	EXPECT_EQ(state(), attached);
	EXPECT_TRUE(has_record());
}

TEST_F(GuestTest, ADamagedRecordIsSaid)
{
	ASSERT_TRUE(call(tool::vm_attach));
	made_.write("run/dlgroup/vm/1000.json", "{\"pid\": 1000");
	auto before = state();
	EXPECT_TRUE(why(call(tool::vm_detach)).ends_with("1000.json: is damaged: what the guest was before is not known"));
	EXPECT_EQ(state(), before);
}

TEST_F(GuestTest, ShowAndList)
{
	made_.write("proc/1003/schedstat", "1234567890 5 6\n");
	ASSERT_TRUE(call(tool::vm_list));
	EXPECT_NE(out_.find("1000     web                      2  no        max              /user\n"),
		  std::string::npos) << out_;
	ASSERT_TRUE(call(tool::vm_attach));
	ASSERT_TRUE(call(tool::vm_list));
	EXPECT_NE(out_.find("1000     web                      2  yes       5ms/20ms         /dlgroup.vm.1000\n"),
		  std::string::npos) << out_;
	ASSERT_TRUE(call(tool::vm_show));
	EXPECT_TRUE(out_.starts_with("pid 1000 (web), attached\n  cgroup       /dlgroup.vm.1000\n"
				     "  reservation  5ms/20ms on CPUs 0-1 (25 % of 2 CPUs = 0.50 CPU)\n")) << out_;
	EXPECT_NE(out_.find("  vcpu      0                    1003  FIFO 10   0-1          1.234567s  /dlgroup.vm.1000\n"),
		  std::string::npos) << out_;
	options_.json = true;
	ASSERT_TRUE(call(tool::vm_show));
	auto json = nlohmann::json::parse(out_);
	EXPECT_EQ(json["schema_version"], 1);
	EXPECT_EQ(json["attached"], true);
	EXPECT_EQ(json["group"], "/dlgroup.vm.1000");
	EXPECT_EQ(json["reservation"]["runtime_ns"], 5000000);
	EXPECT_EQ(json["threads"][0]["class"], "vcpu");
	EXPECT_EQ(json["threads"][0]["cpu_time_ns"], 1234567890);
	EXPECT_EQ(json["threads"].size(), 9U);
	made_.remove_task(task(kQemu));
	std::filesystem::remove_all(made_.path("proc/1000"));
	options_.json = false;
	ASSERT_TRUE(call(tool::vm_list));
	EXPECT_EQ(out_, "no guests\n");
}

} // namespace
} // namespace dlgroup::test
