// SPDX-License-Identifier: GPL-2.0-only
// Runs task sets in the reservations that were designed for them, one after the
// other, on a machine with one CPU that does nothing else, and prints the
// longest response of each task. What they are compared with is scripts/loop's
// matter.
//
// In: a line a set: NUMBER RUNTIME_us PERIOD_us HOG, then RUNTIME_ns PERIOD_ns
// of each task, the highest priority first. HOG 1: one more thread of the group
// uses its budget up. Out, times in ns:
//	latency WAKEUP REPLENISHMENT OVERHEAD
//	set NUMBER OVERRUN MISSED-STARTS, then JOBS RESPONSE of each task
#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

namespace
{

using ns = std::int64_t;

constexpr ns kMicrosecond = 1000, kMillisecond = 1000000;
// Until all threads are there and sleep. Idle time costs nothing in the icount
// lane.
constexpr ns kToPrepare = 100 * kMillisecond;
// CPU time of a job after its last look at the clock: it notes its end and goes
// to sleep. It is part of the job's runtime, and its end is counted so much
// later.
constexpr ns kTail = 30 * kMicrosecond;
// How much earlier the neighbour's deadline is.
constexpr ns kBefore = 50 * kMicrosecond;
constexpr int kHighest = 50, kLowest = 1;
constexpr std::size_t kMostTasks = 16;
constexpr ns kFair_permille = 50;
constexpr ns kLeast_us = 100; // a neighbour of less is none

[[noreturn]] void die(const std::string &what)
{
	std::fprintf(stderr, "loop: %s: %s\n", what.c_str(), std::strerror(errno));
	std::exit(1);
}

ns clock_ns(clockid_t clock)
{
	timespec at{};
	if (clock_gettime(clock, &at))
		die("clock_gettime");
	return at.tv_sec * 1000 * kMillisecond + at.tv_nsec;
}
ns now()
{
	return clock_ns(CLOCK_MONOTONIC);
}
ns cpu_time()
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}
void sleep_until(ns time)
{
	timespec at{time / (1000 * kMillisecond), time % (1000 * kMillisecond)};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr) == EINTR)
		;
}

const std::string kCgroup = "/sys/fs/cgroup/";

void write_file(const std::string &path, const std::string &text)
{
	std::ofstream out(path);
	if (!(out << text << std::flush))
		die(path + ": " + text);
}

// A cgroup with a reservation, for as long as the object is there.
class Group {
public:
	Group(const std::string &name, ns runtime_us, ns period_us) : path_(kCgroup + name)
	{
		if (mkdir(path_.c_str(), 0755))
			die(path_);
		write_file(path_ + "/cpu.rt.max",
			   std::to_string(runtime_us) + " " + std::to_string(period_us));
	}
	~Group()
	{
		if (rmdir(path_.c_str()))
			die(path_);
	}
	Group(const Group &) = delete;
	Group &operator=(const Group &) = delete;

	ns overrun() const
	{
		std::ifstream in(path_ + "/cpu.rt.stat");
		std::string key;
		for (ns value; in >> key >> value;)
			if (key == "overrun_usec_max")
				return (value + 1) * kMicrosecond; // it was rounded down
		die(path_ + "/cpu.rt.stat has no overrun_usec_max");
	}
	// Runs the threads in a process of their own, each as SCHED_FIFO.
	pid_t start(const std::vector<std::pair<int, std::function<void()>>> &threads) const
	{
		auto pid = fork();
		if (pid < 0)
			die("fork");
		if (pid)
			return pid;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		write_file(path_ + "/cgroup.procs", "0");
		std::vector<pthread_t> started;
		for (const auto &[priority, run] : threads) {
			pthread_attr_t how;
			sched_param param{};
			param.sched_priority = priority;
			pthread_attr_init(&how);
			pthread_attr_setinheritsched(&how, PTHREAD_EXPLICIT_SCHED);
			pthread_attr_setschedpolicy(&how, SCHED_FIFO);
			pthread_attr_setschedparam(&how, &param);
			auto body = [](void *what) -> void * {
				(*static_cast<const std::function<void()> *>(what))();
				return nullptr;
			};
			errno = pthread_create(&started.emplace_back(), &how, body,
					       const_cast<std::function<void()> *>(&run));
			if (errno)
				die("pthread_create");
		}
		for (auto thread : started)
			pthread_join(thread, nullptr);
		std::_Exit(0);
	}

private:
	std::string path_;
};

void finish(pid_t pid)
{
	int status = 0;
	if (waitpid(pid, &status, 0) != pid || status)
		die("a process of a set failed");
}

struct TaskResult {
	std::uint64_t jobs = 0;
	ns response = 0;
	ns tail = 0;	   // the longest from a last look at the clock to the next job's first
	bool late = false; // the task was not asleep in time
};
// Seen by all processes.
struct Shared {
	TaskResult tasks[kMostTasks];
	ns wakeup = 0, gap = 0;
};
Shared &shared()
{
	static auto *all = [] {
		auto *at = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		if (at == MAP_FAILED)
			die("mmap");
		return new (at) Shared;
	}();
	return *all;
}

struct Task {
	ns runtime = 0, period = 0;
};
struct Set {
	std::string number;
	ns runtime_us = 0, period_us = 0;
	bool hog = false;
	std::vector<Task> tasks;
};

// What happens between two times when all are idle: from when the hog runs,
// from when the neighbour does, until when both may, and when the tasks' first
// jobs come.
struct Round {
	ns hog = 0, neighbour = 0, until = 0;
	bool alone = false;
	std::vector<ns> offsets;
	ns end = 0; // no job comes later
};

// Provoked: the hog uses the budget up as early as can be, then the jobs come
// together, and from then on the neighbour's deadlines are always just before
// the group's. Random: phases and offsets are. Alone: no hog, no neighbour.
std::vector<Round> rounds_of(const Set &set, ns start, std::mt19937_64 &random)
{
	enum Kind { provoked, anyhow, alone };
	constexpr struct {
		Kind kind;
		ns shift;
	} kPlan[] = {
		{provoked, 0}, {provoked, 20 * kMicrosecond}, {anyhow, 0}, {alone, 0}, {anyhow, 0}};
	auto budget = set.runtime_us * kMicrosecond, period = set.period_us * kMicrosecond;
	ns longest = 0;
	for (const auto &task : set.tasks)
		longest = std::max(longest, task.period);
	auto upto = [&](ns most) {
		return static_cast<ns>(random() % static_cast<std::uint64_t>(most));
	};
	std::vector<Round> rounds;
	for (auto [kind, shift] : kPlan) {
		Round round;
		round.hog = start;
		auto release = start + budget + shift;
		round.neighbour = set.hog ? start + period - kBefore : release - kBefore;
		round.alone = kind == alone;
		if (kind == anyhow)
			round.neighbour = start + upto(2 * period);
		round.end = release + longest;
		for (const auto &task : set.tasks)
			round.offsets.push_back(release + (kind == anyhow ? upto(task.period) : 0));
		round.until = round.end + longest;
		rounds.push_back(round);
		// Both servers have to be past their deadlines.
		start = round.until + 3 * period;
	}
	return rounds;
}

void run_task(const Task &task, std::size_t index, const std::vector<Round> &rounds)
{
	auto &result = shared().tasks[index];
	auto last = cpu_time(), target = last - kTail;
	for (const auto &round : rounds)
		for (auto release = round.offsets[index]; release < round.end;
		     release += task.period) {
			if (!result.jobs && now() >= release)
				result.late = true;
			sleep_until(release);
			auto used = cpu_time();
			result.tail = std::max(result.tail, used - last);
			// An absolute target: what a job does beyond it is taken from the next.
			target += task.runtime;
			while (used < target)
				used = cpu_time();
			auto ended = now() + kTail;
			result.response = std::max(result.response, ended - release);
			result.jobs++;
			last = used;
		}
}

// The lowest of the group: it only takes what the tasks leave.
void run_hog(const Set &set, const std::vector<Round> &rounds)
{
	for (const auto &round : rounds) {
		if (round.alone)
			continue;
		sleep_until(round.hog);
		while (now() < round.hog + set.runtime_us * kMicrosecond)
			;
	}
}

void run_neighbour(const std::vector<Round> &rounds)
{
	for (const auto &round : rounds) {
		if (round.alone)
			continue;
		sleep_until(round.neighbour);
		while (now() < round.until)
			;
	}
}

void run(const Set &set, ns &tail)
{
	std::mt19937_64 random(std::stoull(set.number));
	for (auto &result : shared().tasks)
		result = {};
	Group group("set", set.runtime_us, set.period_us);
	// All that the fair server leaves of the CPU.
	auto left_us = set.period_us - set.period_us * kFair_permille / 1000 - set.runtime_us - 1;
	if (left_us < kLeast_us)
		left_us = 0;
	Group neighbour("neighbour", left_us, set.period_us);
	auto rounds = rounds_of(set, now() + kToPrepare, random);
	std::vector<std::pair<int, std::function<void()>>> threads;
	for (std::size_t i = 0; i < set.tasks.size(); i++)
		threads.emplace_back(kHighest - static_cast<int>(i),
				     [&, i] { run_task(set.tasks[i], i, rounds); });
	if (set.hog)
		threads.emplace_back(kLowest, [&] { run_hog(set, rounds); });
	auto tasks = group.start(threads);
	if (left_us > 0)
		finish(neighbour.start({{kLowest, [&] { run_neighbour(rounds); }}}));
	finish(tasks);
	std::printf("set %s %" PRId64 "", set.number.c_str(),
		    std::max(group.overrun(), left_us > 0 ? neighbour.overrun() : 0));
	bool late = false;
	for (std::size_t i = 0; i < set.tasks.size(); i++) {
		late = late || shared().tasks[i].late;
		tail = std::max(tail, shared().tasks[i].tail);
	}
	std::printf(" %d", late);
	for (std::size_t i = 0; i < set.tasks.size(); i++)
		std::printf(" %" PRIu64 " %" PRId64, shared().tasks[i].jobs,
			    shared().tasks[i].response);
	std::printf("\n");
}

// How late a sleeper runs whose server was idle for long.
ns wakeup_latency()
{
	constexpr int kTimes = 300;
	Group group("probe", 1000, 4000);
	auto start = now() + kToPrepare;
	finish(group.start({{kHighest, [&] {
				     std::mt19937_64 random(1);
				     for (int i = 0; i < kTimes; i++) {
					     auto release =
						     start + i * 10 * kMillisecond +
						     static_cast<ns>(random() % kMillisecond);
					     sleep_until(release);
					     shared().wakeup =
						     std::max(shared().wakeup, now() - release);
				     }
			     }}}));
	return shared().wakeup;
}

// How much longer than period - runtime a thread waits that is always ready.
ns replenishment_latency()
{
	constexpr ns kRuntime = 1 * kMillisecond, kPeriod = 4 * kMillisecond;
	constexpr int kPeriods = 200;
	Group group("probe", kRuntime / kMicrosecond, kPeriod / kMicrosecond);
	auto start = now() + kToPrepare;
	finish(group.start({{kHighest, [&] {
				     sleep_until(start);
				     auto last = now();
				     while (last < start + kPeriods * kPeriod) {
					     auto next = now();
					     shared().gap = std::max(shared().gap, next - last);
					     last = next;
				     }
			     }}}));
	return shared().gap - (kPeriod - kRuntime);
}

std::vector<Set> read_sets(const char *path)
{
	std::ifstream in(path);
	if (!in)
		die(path);
	std::vector<Set> sets;
	for (std::string line; std::getline(in, line);) {
		std::istringstream words(line);
		Set set;
		words >> set.number >> set.runtime_us >> set.period_us >> set.hog;
		for (Task task; words >> task.runtime >> task.period;)
			set.tasks.push_back(task);
		if (set.tasks.empty() || set.tasks.size() > kMostTasks || !words.eof()) {
			errno = EINVAL;
			die(std::string(path) + ": " + line);
		}
		sets.push_back(set);
	}
	return sets;
}

} // namespace

int main(int argc, char **argv)
{
	if (argc != 2) {
		std::fprintf(stderr, "usage: %s FILE\n", argv[0]);
		return 2;
	}
	auto sets = read_sets(argv[1]);
	shared(); // before any child
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		die("mlockall");
	write_file(kCgroup + "cgroup.subtree_control", "+cpu");
	// The neighbour takes all but the share of the fair server.
	write_file("/proc/sys/kernel/sched_rt_runtime_us", "-1");
	auto wakeup = wakeup_latency(), replenishment = replenishment_latency();
	ns tail = 0;
	for (const auto &set : sets) {
		run(set, tail);
		std::fflush(stdout);
	}
	std::printf("latency %" PRId64 " %" PRId64 " %" PRId64 "\n", wakeup, replenishment, tail);
	return tail <= kTail ? 0 : 1;
}
