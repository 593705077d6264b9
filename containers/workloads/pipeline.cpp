// SPDX-License-Identifier: GPL-2.0-only
/*
 * A control loop of three processes, sense -> compute -> act, joined by pipes.
 *
 * Every period a job is released to `sense`; its deadline is the next release.
 * What the job needs of each stage depends on the job, as it does with data;
 * the sum over the stages is always the same 4 ms of CPU time. `compute` forks
 * a helper in every job, as a program does that calls another one.
 *
 * A stage burns until its CPU clock reaches the sum of its demands so far, so
 * its system calls, context switches and forks are inside the demand and not on
 * top of it. `compute` counts what its children used into its own demand.
 */
#include "common.h"

#include <algorithm>
#include <array>
#include <vector>

#include <getopt.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

using namespace workload;

namespace {

enum StageIndex { kSense, kCompute, kAct, kStages };

constexpr const char *kStageNames[kStages] = { "ctl-sense", "ctl-compute", "ctl-act" };

constexpr int64_t kHelperNs = 500 * kNsecPerUsec;
constexpr int64_t kJobNs = 4000 * kNsecPerUsec;

/* Demand of one job on each stage; the helper's is inside that of compute. */
constexpr std::array<std::array<int64_t, kStages>, 4> kDemandNs = { {
	{ 800000, 2200000, 1000000 },
	{ 2200000, 1300000, 500000 },
	{ 500000, 3000000, 500000 },
	{ 500000, 1500000, 2000000 },
} };

constexpr bool each_job_adds_up()
{
	for (const auto &job : kDemandNs)
		if (job[kSense] + job[kCompute] + job[kAct] != kJobNs)
			return false;
	return true;
}
static_assert(each_job_adds_up());

/* Stages nearer the end of the pipeline come first: finish before you start. */
constexpr uint32_t kFifoPriority[kStages] = { 50, 51, 52 };

/* A thread's own reservation: its worst case and this much for the clock's grain. */
constexpr int64_t kDeadlineMarginNs = 100 * kNsecPerUsec;

struct Job {
	int64_t number;
	int64_t release_ns;
	int64_t start_ns;
};

/* One page all stages can write; each stage writes its own part only. */
struct Shared {
	struct {
		pid_t pid;
		int policy_errno;
		int64_t runtime_ns;
		int64_t cpu_ns;
		bool ready;
	} stage[kStages];
	int fork_errno;
	int64_t forks_refused;
	int64_t helpers;
	int64_t helper_cpu_ns;
	int64_t helper_admitted;
	int64_t helper_refused;
};

struct Options {
	int64_t jobs = 1000;
	int64_t period_ns = 20000000;
	uint32_t policy = SCHED_OTHER;
	bool reserve_helper = false;
	const char *gate = nullptr;
	const char *out = nullptr;
	const char *ready = nullptr;
};

Options options;
Shared *shared;

/* The kind of job @number is: fixed, without pattern, the same in every run. */
const std::array<int64_t, kStages> &demand_of(int64_t number)
{
	uint32_t x = static_cast<uint32_t>(number) * 2654435761u;

	return kDemandNs[(x >> 16) % kDemandNs.size()];
}

/* What a thread needs at worst: each has to be reserved for its own. */
int64_t worst_case(StageIndex stage)
{
	int64_t worst_ns = 0;

	for (const auto &job : kDemandNs)
		worst_ns = std::max(worst_ns, job[stage]);
	return stage == kCompute ? worst_ns - kHelperNs : worst_ns;
}

Policy policy_of(StageIndex stage)
{
	Policy policy;

	policy.number = options.policy;
	if (policy.number == SCHED_FIFO)
		policy.priority = kFifoPriority[stage];
	if (policy.number == SCHED_DEADLINE) {
		policy.runtime_ns = worst_case(stage) + kDeadlineMarginNs;
		policy.period_ns = options.period_ns;
	}
	return policy;
}

int64_t children_cpu_ns()
{
	rusage usage;

	getrusage(RUSAGE_CHILDREN, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * kNsecPerSec +
	       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * kNsecPerUsec;
}

/* The CPU time a stage must have used, its children's included, after each job. */
class Demand {
public:
	Demand() : begin_ns_(cpu_ns()), target_ns_(begin_ns_) {}
	void add(int64_t ns) { target_ns_ += ns; }
	int64_t used_ns() const { return cpu_ns() - begin_ns_; }
	void burn(int64_t keep_back_ns, int64_t children_ns) const
	{
		while (cpu_ns() + children_ns < target_ns_ - keep_back_ns)
			spin();
	}

private:
	int64_t begin_ns_;
	int64_t target_ns_;
};

void run_helper()
{
	set_name("ctl-helper");
	while (cpu_ns() < kHelperNs)
		spin();
	_exit(0);
}

pid_t fork_helper()
{
	pid_t pid = fork();

	if (pid < 0 && errno == EAGAIN && options.policy == SCHED_DEADLINE) {
		/*
		 * The kernel lets no SCHED_DEADLINE thread fork unless its child is
		 * to be an ordinary one. Note the refusal and take that offer.
		 */
		shared->fork_errno = errno;
		shared->forks_refused++;
		if (int err = set_policy(0, policy_of(kCompute), SCHED_FLAG_RESET_ON_FORK))
			die("ctl-compute: cannot set reset-on-fork: %s", strerror(err));
		pid = fork();
	}
	if (pid < 0)
		die("ctl-compute: fork: %s", strerror(errno));
	if (!pid)
		run_helper();
	shared->helpers++;
	if (options.reserve_helper) {
		Policy policy;

		policy.number = SCHED_DEADLINE;
		policy.runtime_ns = kHelperNs + kDeadlineMarginNs;
		policy.period_ns = options.period_ns;
		if (set_policy(pid, policy))
			shared->helper_refused++;
		else
			shared->helper_admitted++;
	}
	return pid;
}

void read_job(int fd, Job &job)
{
	ssize_t got = read(fd, &job, sizeof(job));

	if (got != sizeof(job))
		die("a stage before this one ended early");
}

void write_job(int fd, const Job &job)
{
	if (write(fd, &job, sizeof(job)) != sizeof(job))
		die("a stage after this one ended early");
}

int64_t begin_stage(StageIndex stage)
{
	set_name(kStageNames[stage]);
	shared->stage[stage].pid = getpid();
	shared->stage[stage].runtime_ns = policy_of(stage).runtime_ns;
	shared->stage[stage].policy_errno = set_policy(0, policy_of(stage));
	if (int err = shared->stage[stage].policy_errno)
		die("%s: sched_setattr: %s", kStageNames[stage], strerror(err));
	__atomic_store_n(&shared->stage[stage].ready, true, __ATOMIC_RELEASE);
	if (stage == kAct) {
		/* A stage that dies takes the pipeline with it, so this ends. */
		for (auto &other : shared->stage)
			while (!__atomic_load_n(&other.ready, __ATOMIC_ACQUIRE)) {
				if (waitpid(-1, nullptr, WNOHANG) > 0)
					die("a stage could not begin");
				sleep_until(now_ns(CLOCK_MONOTONIC) + kNsecPerUsec * 1000);
			}
		write_file(options.ready, "ready\n");
	}
	return wait_for_gate(options.gate);
}

void sense(int out)
{
	int64_t start_ns = begin_stage(kSense);
	int64_t release_ns = start_ns;
	Demand demand;

	for (Job job = {}; job.number < options.jobs; job.number++) {
		sleep_until(release_ns);
		job.release_ns = release_ns;
		job.start_ns = now_ns(CLOCK_MONOTONIC);
		demand.add(demand_of(job.number)[kSense]);
		demand.burn(0, 0);
		write_job(out, job);
		release_ns += options.period_ns;
	}
	shared->stage[kSense].cpu_ns = demand.used_ns();
	_exit(0);
}

void compute(int in, int out)
{
	/* Room for what fork() and wait() cost before the helper's use is known. */
	constexpr int64_t kWaitNs = 200 * kNsecPerUsec;
	begin_stage(kCompute);

	Demand demand;
	Job job;

	for (int64_t i = 0; i < options.jobs; i++) {
		read_job(in, job);
		demand.add(demand_of(job.number)[kCompute]);
		pid_t helper = fork_helper();
		demand.burn(kHelperNs + kWaitNs, children_cpu_ns());
		if (waitpid(helper, nullptr, 0) != helper)
			die("ctl-compute: waitpid: %s", strerror(errno));
		demand.burn(0, children_cpu_ns());
		write_job(out, job);
	}
	shared->helper_cpu_ns = children_cpu_ns();
	shared->stage[kCompute].cpu_ns = demand.used_ns();
	_exit(0);
}

void report(const std::vector<std::array<int64_t, 3>> &done)
{
	std::string text;
	char line[256];

	auto add = [&](const char *fmt, auto... values) {
		snprintf(line, sizeof(line), fmt, values...);
		text += line;
	};
	add("{\"period_ns\":%lld,\"demand_ns\":%lld,\n", (long long)options.period_ns,
	    (long long)kJobNs);
	add("\"fork_refused\":%lld,\"fork_error\":\"%s\",", (long long)shared->forks_refused,
	    shared->fork_errno ? strerrorname_np(shared->fork_errno) : "");
	add("\"helpers\":%lld,\"helper_cpu_ns\":%lld,", (long long)shared->helpers,
	    (long long)shared->helper_cpu_ns);
	add("\"helpers_admitted\":%lld,\"helpers_refused\":%lld,\"helper_runtime_ns\":%lld,\n",
	    (long long)shared->helper_admitted, (long long)shared->helper_refused,
	    (long long)(kHelperNs + kDeadlineMarginNs));
	text += "\"stages\":[";
	for (int i = 0; i < kStages; i++)
		add("%s{\"name\":\"%s\",\"runtime_ns\":%lld,\"cpu_ns\":%lld}", i ? "," : "",
		    kStageNames[i], (long long)shared->stage[i].runtime_ns,
		    (long long)shared->stage[i].cpu_ns);
	text += "],\n\"jobs\":[";
	for (size_t i = 0; i < done.size(); i++)
		add("%s[%lld,%lld,%lld]", i ? ",\n" : "", (long long)done[i][0],
		    (long long)done[i][1], (long long)done[i][2]);
	text += "]}\n";
	write_file(options.out, text);
}

void act(int in)
{
	std::vector<std::array<int64_t, 3>> done;
	done.reserve(options.jobs);
	begin_stage(kAct);

	Demand demand;
	Job job;

	for (int64_t i = 0; i < options.jobs; i++) {
		read_job(in, job);
		demand.add(demand_of(job.number)[kAct]);
		demand.burn(0, 0);
		done.push_back({ job.release_ns, job.start_ns, now_ns(CLOCK_MONOTONIC) });
	}
	shared->stage[kAct].cpu_ns = demand.used_ns();
	for (int i = 0; i < kStages - 1; i++) {
		int status;

		if (wait(&status) < 0 || status)
			die("a stage did not end well");
	}
	report(done);
}

void parse(int argc, char **argv)
{
	static const option longs[] = {
		{ "jobs", required_argument, nullptr, 'j' },
		{ "period-us", required_argument, nullptr, 'p' },
		{ "policy", required_argument, nullptr, 's' },
		{ "gate", required_argument, nullptr, 'g' },
		{ "ready", required_argument, nullptr, 'r' },
		{ "out", required_argument, nullptr, 'o' },
		{},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, nullptr)) != -1) {
		std::string value = optarg ? optarg : "";

		switch (c) {
		case 'j':
			options.jobs = parse_number("--jobs", optarg, 1, 1000000);
			break;
		case 'p':
			options.period_ns = parse_number("--period-us", optarg, 5000, 1000000) *
					    kNsecPerUsec;
			break;
		case 's':
			if (value == "other")
				options.policy = SCHED_OTHER;
			else if (value == "fifo")
				options.policy = SCHED_FIFO;
			else if (value == "deadline" || value == "deadline+helper")
				options.policy = SCHED_DEADLINE;
			else
				die("--policy: '%s' is not other, fifo, deadline or deadline+helper",
				    optarg);
			options.reserve_helper = value == "deadline+helper";
			break;
		case 'g':
			options.gate = optarg;
			break;
		case 'r':
			options.ready = optarg;
			break;
		case 'o':
			options.out = optarg;
			break;
		default:
			exit(2);
		}
	}
	if (optind != argc || !options.gate || !options.out || !options.ready)
		die("usage: pipeline --gate FILE --ready FILE --out FILE [--jobs N] [--period-us N] "
		    "[--policy other|fifo|deadline|deadline+helper]");
}

} // namespace

int main(int argc, char **argv)
{
	int to_compute[2], to_act[2];

	parse(argc, argv);
	shared = static_cast<Shared *>(mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE,
					    MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	if (shared == MAP_FAILED || pipe(to_compute) || pipe(to_act))
		die("%s", strerror(errno));

	for (StageIndex stage : { kSense, kCompute }) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork: %s", strerror(errno));
		if (pid)
			continue;
		/* A pipe must be seen to end when its one writer does. */
		if (stage == kSense) {
			close(to_compute[0]);
			close(to_act[0]);
			close(to_act[1]);
			sense(to_compute[1]);
		} else {
			close(to_compute[1]);
			close(to_act[0]);
			compute(to_compute[0], to_act[1]);
		}
	}
	close(to_compute[0]);
	close(to_compute[1]);
	close(to_act[1]);
	act(to_act[0]);
	return 0;
}
