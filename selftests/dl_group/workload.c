// SPDX-License-Identifier: GPL-2.0-only
/* Tasks: how they are started, scheduled and ended, and what they do. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "dl_group_test.h"

/* glibc has none before 2.41. */
struct dl_sched_attr {
	unsigned int size, policy;
	u64 flags;
	int nice;
	unsigned int priority;
	u64 runtime, deadline, period;
};

int set_policy(pid_t pid, int policy, int prio)
{
	struct sched_param param = { .sched_priority = prio };

	return sched_setscheduler(pid, policy, &param) ? -errno : 0;
}

static int set_deadline_flags(pid_t pid, u64 runtime, u64 period, u64 flags)
{
	struct dl_sched_attr attr = {
		.size = sizeof(attr),
		.policy = SCHED_DEADLINE,
		.flags = flags,
		.runtime = runtime,
		.deadline = period,
		.period = period,
	};

	return syscall(SYS_sched_setattr, pid, &attr, 0) ? -errno : 0;
}

int set_deadline(pid_t pid, u64 runtime, u64 period)
{
	return set_deadline_flags(pid, runtime, period, 0);
}

int set_deadline_reclaim(pid_t pid, u64 runtime, u64 period)
{
	return set_deadline_flags(pid, runtime, period, SCHED_FLAG_RECLAIM);
}

int get_policy(pid_t pid)
{
	int policy = sched_getscheduler(pid);

	return policy < 0 ? -errno : policy & ~SCHED_RESET_ON_FORK;
}

int set_cpu(pid_t pid, int cpu)
{
	cpu_set_t set;
	int i;

	CPU_ZERO(&set);
	if (cpu >= 0)
		CPU_SET(cpu, &set);
	else
		for (i = 0; i < MAX_CPUS; i++)
			CPU_SET(i, &set);
	return sched_setaffinity(pid, sizeof(set), &set) ? -errno : 0;
}

/* Asked for, not inherited: the shell may be bound. */
void find_cpus(void)
{
	cpu_set_t set;
	int cpu;

	set_cpu(0, ANY_CPU);
	sched_getaffinity(0, sizeof(set), &set);
	for (cpu = 0; cpu < MAX_CPUS; cpu++)
		if (CPU_ISSET(cpu, &set))
			cpus[nr_cpus++] = cpu;
}

pid_t clone_into(const char *g)
{
	int fd = dirfd_open_opath(g_path(g, NULL));
	pid_t pid;

	expect(fd >= 0, "open %s: %s", g, strerror(errno));
	pid = clone_into_cgroup(fd);
	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	pid = pid < 0 ? -errno : pid;
	close(fd);
	return pid;
}

pid_t fork_child(void)
{
	pid_t pid = fork();

	expect(pid >= 0, "fork: %s", strerror(errno));
	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

/* The exit status, or -signal. */
int wait_exit(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) != pid)
		expect(errno == EINTR, "waitpid: %s", strerror(errno));
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

extern char __executable_start[], _edata[];

static int nr_prepared;
/* Of the tasks that are being prepared: may they start, and how many are ready to. */
static struct {
	atomic_int go, ready;
} *start;

void futex(atomic_int *word, int op, int value)
{
	syscall(SYS_futex, (int *)word, op, value, NULL, NULL, 0);
}

void *share(size_t size)
{
	void *shm = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	expect(shm != MAP_FAILED, "mmap: %s", strerror(errno));
	/* A fault is no gap in the service. */
	memset(shm, 0, size);
	return shm;
}

/*
 * Everybody starts at once. By futex, since a pipe has a mutex: whoever holds
 * it when it is throttled, or behind a FIFO hog, keeps all others from starting.
 * So does who faults, for he holds the lock of a page that they share.
 */
static void task_main(struct task *t)
{
	madvise(__executable_start, _edata - __executable_start, MADV_POPULATE_READ);
	start->ready++;
	futex(&start->ready, FUTEX_WAKE, 1);
	while (!start->go)
		futex(&start->go, FUTEX_WAIT, 0);
	(t->fn ?: hog)(t->shm, t->arg);
	_exit(KSFT_PASS);
}

/* A hog must not keep it from that. One without the right to be SCHED_FIFO takes its chance. */
static void wait_ready(pid_t pid)
{
	int ready;

	if (set_policy(pid, SCHED_FIFO, 98))
		return;
	while ((ready = start->ready) <= nr_prepared)
		futex(&start->ready, FUTEX_WAIT, ready);
	must(set_policy(pid, SCHED_OTHER, 0));
}

void task_share(struct task *t)
{
	t->shm = share(sizeof(*t->shm));
}

/* All of it is done to the task, since the task itself may not get to run. */
void task_prepare(struct task *t)
{
	int err = 0;

	expect(nr_prepared < MAX_TASKS, "more than %d tasks", MAX_TASKS);
	if (!nr_prepared)
		start = share(sizeof(*start));
	if (!t->shm)
		task_share(t);
	t->pid = fork_child();
	if (!t->pid)
		task_main(t);
	/* Where first, then how: nothing runs where it was not asked to. */
	if (t->cpu >= 0)
		err = set_cpu(t->pid, t->cpu);
	if (!err)
		wait_ready(t->pid);
	if (!err && t->group)
		err = g_attach(t->group, t->pid);
	if (!err && t->policy == SCHED_DEADLINE)
		err = set_deadline(t->pid, t->dl_runtime, t->dl_period);
	else if (!err)
		err = set_policy(t->pid, t->policy, t->prio);
	expect(!err, "cannot start a task in '%s' with policy %d: %s", t->group ?: "(here)",
	       t->policy, strerror(-err));
	nr_prepared++;
}

void tasks_go(void)
{
	if (!nr_prepared)
		return;
	start->go = 1;
	futex(&start->go, FUTEX_WAKE, INT_MAX);
	nr_prepared = 0;
}

void task_start(struct task *t)
{
	task_prepare(t);
	tasks_go();
}

void task_kill(struct task *t)
{
	kill(t->pid, SIGKILL);
	wait_exit(t->pid);
}

/*
 * The parent of a task is told of its end before its last steps, for which the
 * task may need the next budget of its group.
 */
void task_finish(struct task *t, u64 period)
{
	task_kill(t);
	sleep_ns(2 * period);
}

bool task_reaped(struct task *t, u64 timeout_ns)
{
	u64 end = now_ns() + patience(timeout_ns);

	while (waitpid(t->pid, NULL, WNOHANG) != t->pid) {
		if (now_ns() > end)
			return false;
		sleep_ns(USEC(100));
	}
	return true;
}

/* Until the task has counted that much further. */
void wait_count(struct task *t, u64 beyond, u64 timeout_ns)
{
	u64 end = now_ns() + patience(timeout_ns), from = t->shm->count;

	while (t->shm->count < from + beyond) {
		expect(now_ns() < end, "task %d made no progress in %llu ns", t->pid, timeout_ns);
		sleep_ns(USEC(100));
	}
}

/* Until the group's server on the CPU is throttled once more. */
void wait_throttled(const char *g, int cpu)
{
	u64 end = now_ns() + patience(MSEC(5000)), from = g_stat_cpu(g, cpu, "nr_throttled");

	while (g_stat_cpu(g, cpu, "nr_throttled") == from) {
		expect(now_ns() < end, "'%s' is never throttled on CPU %d", g, cpu);
		sleep_ns(USEC(200));
	}
}

/* By a timer that no task can hold up. Ends with the test. */
void start_interrupts(int cpu, u64 period)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_period = period,
	};

	if (access("/proc/sys/kernel/perf_event_paranoid", F_OK))
		test_skip("no timers by perf: needs CONFIG_PERF_EVENTS");
	expect(syscall(SYS_perf_event_open, &attr, -1, cpu, -1, 0) >= 0, "no timer on CPU %d: %s",
	       cpu, strerror(errno));
}

/*
 * One host thread runs all CPUs of the icount lane, each until the next timer
 * expires: with a timer on each they take turns often enough. With the same
 * period the turns of one CPU could always be the short ones.
 */
void start_pacer(u64 period)
{
	int i;

	for (i = 0; lane_tight && i < nr_cpus; i++)
		start_interrupts(cpus[i], period + i * period / 7);
}

static bool over(const struct task_shm *shm, u64 now)
{
	return shm->stop || (shm->until && now >= shm->until);
}

/* Longer than an interrupt takes, shorter than any time without service. */
#define GAP_NS	USEC(50)

void hog(struct task_shm *shm, void *arg)
{
	u64 last = now_ns();

	(void)arg;
	for (;;) {
		u64 now = now_ns();

		if (now - last > GAP_NS && shm->nr_gaps < MAX_GAPS) {
			struct gap *gap = &shm->gaps[shm->nr_gaps];

			gap->from = last;
			gap->to = now;
			shm->nr_gaps++;
		}
		last = now;
		shm->count++;
		if (over(shm, now))
			return;
	}
}

void plain_hog(struct task_shm *shm, void *arg)
{
	(void)arg;
	while (!shm->stop)
		shm->count++;
}

void yield_hog(struct task_shm *shm, void *arg)
{
	(void)arg;
	while (!over(shm, now_ns())) {
		sched_yield();
		shm->count++;
	}
}

/* Naps that are over before the CPU has anything else to do. */
void nap_hog(struct task_shm *shm, void *arg)
{
	struct timespec nap = { .tv_nsec = (long)arg };
	int i;

	while (!over(shm, now_ns())) {
		for (i = 0; i < 100; i++)
			shm->count++;
		nanosleep(&nap, NULL);
	}
}

/* Two tasks that wake each other: each sleeps for as long as the other takes. */
void ping_hog(struct task_shm *shm, void *arg)
{
	struct task_shm *other = arg;

	while (!over(shm, now_ns())) {
		other->word = 1;
		futex(&other->word, FUTEX_WAKE, 1);
		while (!atomic_exchange(&shm->word, 0))
			futex(&shm->word, FUTEX_WAIT, 0);
		shm->count++;
	}
}

/* Forks as fast as it can, everybody spins; never more than MAX_FORKS alive. */
#define MAX_FORKS	24

void fork_hog(struct task_shm *shm, void *arg)
{
	while (!over(shm, now_ns())) {
		pid_t pid = -1;

		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (++shm->word <= MAX_FORKS)
			pid = fork();
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			shm->count++;
			spin_ns(USEC(300));
			if (shm->count % 3 == 0)
				fork_hog(shm, arg);
			shm->word--;
			_exit(0);
		}
		if (pid < 0) {
			shm->word--;
			spin_ns(USEC(50));
		}
		/* FIFO or RR, nobody else would get to run before the slice ends */
		sched_yield();
	}
	while (waitpid(-1, NULL, 0) > 0)
		;
}

/* Runs this program anew all the time; its arguments count how often. */
void exec_again(const char *count)
{
	char next[32];

	spin_ns(USEC(100));
	snprintf(next, sizeof(next), "%llu", strtoull(count, NULL, 10) + 1);
	execl("/proc/self/exe", EXEC_HOG, next, NULL);
	_exit(KSFT_FAIL);
}

void exec_hog(struct task_shm *shm, void *arg)
{
	(void)shm;
	(void)arg;
	exec_again("0");
}

void sleeper(struct task_shm *shm, void *arg)
{
	(void)arg;
	while (!shm->stop) {
		shm->count++;
		sleep_ms(2);
	}
}

void long_sleeper(struct task_shm *shm, void *arg)
{
	(void)arg;
	for (;;) {
		shm->count++;
		sleep_ms(100000);
	}
}

void spin_ns(u64 ns)
{
	u64 end = cpu_ns() + ns;

	while (cpu_ns() < end)
		;
}

void drop_rights(void)
{
	expect(!setgroups(0, NULL) && !setresgid(TEST_UID, TEST_UID, TEST_UID) &&
	       !setresuid(TEST_UID, TEST_UID, TEST_UID),
	       "cannot become an unprivileged user: %s", strerror(errno));
}

/* Still root to the files, no longer to the scheduler. */
void drop_cap_sys_nice(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	expect(!syscall(SYS_capget, &head, data), "capget: %s", strerror(errno));
	data[0].effective &= ~(1U << CAP_SYS_NICE);
	data[0].permitted &= ~(1U << CAP_SYS_NICE);
	data[0].inheritable &= ~(1U << CAP_SYS_NICE);
	expect(!syscall(SYS_capset, &head, data), "capset: %s", strerror(errno));
}

int as_user(int (*fn)(void *arg), void *arg)
{
	int fds[2], ret = 0;
	pid_t pid;

	expect(!pipe(fds), "pipe: %s", strerror(errno));
	pid = fork_child();
	if (!pid) {
		drop_rights();
		ret = fn(arg);
		_exit(write(fds[1], &ret, sizeof(ret)) != sizeof(ret));
	}
	close(fds[1]);
	expect(read(fds[0], &ret, sizeof(ret)) == sizeof(ret), "the unprivileged child failed");
	close(fds[0]);
	expect(!wait_exit(pid), "the unprivileged child failed");
	return ret;
}
