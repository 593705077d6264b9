// SPDX-License-Identifier: GPL-2.0-only
/* Nobody gets more than was reserved, however he goes about it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <unistd.h>

#include "dl_group_test.h"

/*
 * Over a long time, whatever the tasks do: at most window_bound() and one
 * overrun. The group's own CPU time is taken from cpu.stat, which knows nothing
 * of reservations.
 */
static void check_bound(const char *g, u64 runtime, u64 period, u64 before, u64 from)
{
	u64 got = g_usage_ns(g) - before, length = now_ns() - from;
	u64 bound = window_bound(runtime, period, length);
	/* the tolerance of the lane is for what the host steals from the group's CPU */
	u64 slack = lane_tight ? slack_ns(USEC(100)) : slack_ns(0) + bound / 10;

	figure(got, "received");
	figure(length, "length");
	expect(got <= bound + slack, "received %llu ns in %llu ns, at most %llu ns are due",
	       got, length, bound);
}

/* The least that shows that the group was busy at all. */
static void check_busy(const char *g, u64 before, u64 least)
{
	u64 got = g_usage_ns(g) - before;

	expect(got >= at_least(least), "the group used only %llu ns: nothing was tested", got);
}

/* The worst phase: the budget is used up early, then comes as late as it may. */
static void blackout(void)
{
	struct reservation r[] = {
		{ .name = "a", .runtime_us = 3000, .period_us = 20000 },
		{ .name = "short1", .runtime_us = 1000, .period_us = 4000 },
		{ .name = "short2", .runtime_us = 2000, .period_us = 5000 },
	};

	supply_run(r, ARRAY_SIZE(r));
}

/* Any window, not only those that begin with a period. */
static void any_window(void)
{
	struct task t = { .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0] };
	u64 runtime = MSEC(2), period = MSEC(10), from, to, start;

	g_set("", "2000 10000");
	trace_start();
	start = now_ns();
	task_start(&t);
	sleep_ms(400);
	trace_stop();
	for (from = start; from < start + MSEC(400); from += MSEC(7))
		for (to = from + MSEC(3); to <= start + MSEC(400); to += MSEC(3)) {
			u64 got = trace_running(cpus[0], &t.pid, 1, from, to);
			u64 due = window_bound(runtime, period, to - from);

			/* interrupts are in the time on the CPU, not in what is charged */
			expect(got <= due + due / 33 + slack_ns(USEC(100)),
			       "%llu ns in the %llu ns after %llu ns, at most %llu ns are due",
			       got, to - from, from - start, due);
		}
}

static int semaphore = -1;
#define NR_OPS_MAX	100000
static unsigned int nr_ops;

/* "Wait for zero" of a semaphore that is zero, over and over. */
static u64 section(struct sembuf *ops)
{
	u64 before = cpu_ns();

	expect(!semop(semaphore, ops, nr_ops), "semop: %s", strerror(errno));
	return cpu_ns() - before;
}

void overrun_hog(struct task_shm *shm, void *arg)
{
	struct sembuf *ops = calloc(nr_ops, sizeof(*ops));

	(void)arg;
	expect(ops, "no memory");
	while (!shm->stop) {
		u64 took = section(ops);

		if (took > shm->value)
			shm->value = took;
		shm->count++;
	}
}

void overrun_setup(void)
{
	struct sembuf *ops = calloc(NR_OPS_MAX, sizeof(*ops));
	int values[4];
	FILE *sem = fopen("/proc/sys/kernel/sem", "re");

	expect(sem && fscanf(sem, "%d %d %d %d", &values[0], &values[1], &values[2],
			     &values[3]) == 4, "cannot read kernel.sem");
	fclose(sem);
	must(file_write("/proc/sys/kernel/sem", "%d %d %u %d", values[0], values[1], NR_OPS_MAX,
			values[3]));
	semaphore = semget(IPC_PRIVATE, 1, 0600);
	expect(semaphore >= 0, "semget: %s", strerror(errno));
	expect(ops, "no memory");
	/* some ms, however slow the kernel is */
	nr_ops = lane_tight ? NR_OPS_MAX : 500;
	while (!lane_tight && nr_ops < NR_OPS_MAX / 2 && section(ops) < MSEC(4))
		nr_ops *= 2;
	free(ops);
}

static void overrun_paid_back(void)
{
	struct task t = { .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0],
			  .fn = overrun_hog };
	/* One wakes up in the middle of the section, where nothing is runnable, and one after it. */
	struct task napper[] = {
		{ .cpu = cpus[0], .fn = nap_hog, .arg = (void *)3000000L },
		{ .cpu = cpus[0], .fn = nap_hog, .arg = (void *)5000000L },
	};
	u64 start, before, got, bound, length, ran;

	overrun_setup();
	g_set("", "1000 20000");
	task_prepare(&napper[0]);
	task_prepare(&napper[1]);
	task_prepare(&t);
	trace_start();
	before = g_usage_ns("");
	start = now_ns();
	tasks_go();
	sleep_ms(lane_tight ? 1000 : 2000);
	/* A slow kernel's first section is paid back for longer: it cannot tell before. */
	while (!lane_tight && !t.shm->value && now_ns() < start + MSEC(20000))
		sleep_ms(100);
	got = g_usage_ns("") - before;
	length = now_ns() - start;
	trace_stop();
	ran = trace_running(cpus[0], &t.pid, 1, start, start + length);
	semctl(semaphore, 0, IPC_RMID);
	bound = window_bound(MSEC(1), MSEC(20), length) + t.shm->value;
	figure(t.shm->value, "section");
	figure(got, "received");
	figure(ran, "running");
	/* Interrupts are not charged; whoever wakes up meanwhile makes nothing free. */
	expect(!lane_tight || got >= ran - ran / 20, "charged %llu ns of the %llu ns it ran", got, ran);
	expect(t.shm->value >= MSEC(1), "a section of %llu ns overruns nothing", t.shm->value);
	expect(g_stat("", "nr_overruns") > 0, "no overrun was counted");
	expect(got <= bound + slack_ns(USEC(200)),
	       "received %llu ns in %llu ns: the overruns are not paid back", got, length);
}

void overrun_remove(void)
{
	struct seminfo info;
	int i, max = semctl(0, 0, SEM_INFO, &info);

	/* the test may have ended before it did */
	for (i = 0; i <= max; i++) {
		struct semid_ds ds;
		int id = semctl(i, 0, SEM_STAT, &ds);

		if (id >= 0)
			semctl(id, 0, IPC_RMID);
	}
}

static void rewriting(const char *one, const char *other, bool inside)
{
	struct task hogs[2] = {
		{ .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0] },
		{ .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0] },
	};
	u64 start, before, end, writes = 0;
	pid_t writer = 0;

	g_set("", "%s", one);
	task_prepare(&hogs[0]);
	if (!inside)
		task_prepare(&hogs[1]);
	before = g_usage_ns("");
	start = now_ns();
	tasks_go();
	end = start + MSEC(lane_tight ? 600 : 2000);
	if (inside) {
		writer = fork_child();
		if (!writer) {
			must(set_cpu(0, cpus[0]));
			must(g_attach("", getpid()));
			must(set_policy(0, SCHED_FIFO, 11));
			while (now_ns() < end) {
				g_set("", "%s", one);
				g_set("", "%s", other);
			}
			_exit(0);
		}
		expect(!wait_exit(writer), "the writer failed");
	} else {
		while (now_ns() < end) {
			g_set("", "%s", writes++ & 1 ? other : one);
			sleep_ns(USEC(100));
		}
		figure(writes, "writes");
	}
	/* the larger of the two is what is due */
	check_bound("", USEC(1010), USEC(4000), before, start);
	check_busy("", before, MSEC(50));
}

static void rewrite_same(void)
{
	rewriting("1000 4000", "1000 4000", false);
}

static void rewrite_other(void)
{
	rewriting("1000 4000", "1010 4000", false);
}

static void rewrite_period(void)
{
	/* less bandwidth with a period that is over sooner */
	rewriting("1000 4000", "250 1000", false);
}

static void rewrite_inside(void)
{
	rewriting("1000 4000", "1000 4000", true);
}

static void adversary(void (*fn)(struct task_shm *shm, void *arg), void *arg)
{
	struct task t = { .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0],
			  .fn = fn, .arg = arg };
	/* so that the CPU is wanted, and never idle in the middle of a period */
	struct task fair = { .cpu = cpus[0], .fn = plain_hog };
	u64 start, before;

	g_set("", "1000 4000");
	task_prepare(&fair);
	task_prepare(&t);
	before = g_usage_ns("");
	start = now_ns();
	tasks_go();
	sleep_ms(lane_tight ? 600 : 2000);
	check_bound("", MSEC(1), MSEC(4), before, start);
	check_busy("", before, MSEC(20));
}

static void short_naps(void)
{
	adversary(nap_hog, (void *)1L);
}

static void longer_naps(void)
{
	adversary(nap_hog, (void *)20000L);
}

static void yields(void)
{
	adversary(yield_hog, NULL);
}

/* Two tasks that hand the CPU to and fro by futex. */
static void ping(const char *partner_group, int policy)
{
	struct task a = { .group = "a", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0],
			  .fn = ping_hog };
	struct task b = { .group = partner_group, .policy = policy,
			  .prio = policy == SCHED_OTHER ? 0 : 10, .cpu = cpus[0], .fn = ping_hog };
	struct task c = { .group = "a", .policy = SCHED_FIFO, .prio = 5, .cpu = cpus[0] };
	struct task fair = { .cpu = cpus[0], .fn = plain_hog };
	u64 start, before;

	g_make("a");
	g_set("a", "1000 4000");
	task_share(&a);
	task_share(&b);
	a.arg = b.shm;
	b.arg = a.shm;
	task_prepare(&fair);
	task_prepare(&a);
	task_prepare(&b);
	/* somebody of the group uses what the two leave */
	task_prepare(&c);
	before = g_usage_ns("a");
	start = now_ns();
	tasks_go();
	sleep_ms(lane_tight ? 600 : 2000);
	check_bound("a", MSEC(1), MSEC(4), before, start);
	check_busy("a", before, MSEC(20));
	expect(a.shm->count > 10, "the two never met");
}

static void ping_inside(void)
{
	ping("a", SCHED_FIFO);
}

static void ping_outside(void)
{
	ping(NULL, SCHED_OTHER);
}

/* Enforced from now on, not from the next wakeup or period on. */
static void number_on_running(void)
{
	struct task t = { .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0] };
	u64 start, before;
	int i;

	task_start(&t);
	wait_count(&t, 1000, MSEC(5000));
	for (i = 0; i < 3; i++) {
		sleep_ms(10);
		before = g_usage_ns("");
		start = now_ns();
		g_set("", "1000 100000");
		sleep_ms(95);
		check_bound("", MSEC(1), MSEC(100), before, start);
		/* and what is due comes: after a blackout at the latest */
		sleep_ms(205);
		check_busy("", before, USEC(990));
		g_set("", "max");
	}
}

const struct dl_group_test enforcement_tests[] = {
	{ "blackout", "enforcement", "no longer without service than 2(P-Q)",
	  .needs = NEED_TRACE, .run = blackout },
	{ "any_window", "enforcement", "no window has more than is due", .needs = NEED_TRACE,
	  .run = any_window },
	{ "overrun_paid_back", "enforcement", "what is overrun with preemption off is paid back",
	  .needs = NEED_SYSVIPC | NEED_TRACE, .run = overrun_paid_back, .cleanup = overrun_remove },
	{ "rewrite_same", "enforcement", "rewriting the same number gains nothing",
	  .run = rewrite_same },
	{ "rewrite_other", "enforcement", "alternating two numbers gains nothing",
	  .run = rewrite_other },
	{ "rewrite_period", "enforcement", "alternating two periods gains nothing",
	  .run = rewrite_period },
	{ "rewrite_inside", "enforcement", "a task of the group rewriting its number gains nothing",
	  .run = rewrite_inside },
	{ "short_naps", "enforcement", "sleeps of a nanosecond gain nothing", .run = short_naps },
	{ "longer_naps", "enforcement", "sleeps of 20 us gain nothing", .run = longer_naps },
	{ "yields", "enforcement", "sched_yield in a loop gains nothing", .run = yields },
	{ "ping_inside", "enforcement", "waking each other inside the group gains nothing",
	  .run = ping_inside },
	{ "ping_outside", "enforcement", "being woken from outside in a loop gains nothing",
	  .run = ping_outside },
	{ "number_on_running", "enforcement", "a number holds for a task that runs already",
	  .run = number_on_running },
	{}
};
