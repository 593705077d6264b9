// SPDX-License-Identifier: GPL-2.0-only
/* Tasks of a group that change class and priority, in every state. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dl_group_test.h"

#define DL_RUNTIME	MSEC(2)
#define DL_PERIOD	MSEC(100)

static void become(pid_t pid, int policy)
{
	if (policy == SCHED_DEADLINE)
		must(set_deadline(pid, DL_RUNTIME, DL_PERIOD));
	else
		must(set_policy(pid, policy, policy == SCHED_OTHER ? 0 : 10));
	expect(get_policy(pid) == policy, "policy %d after it was set to %d", get_policy(pid),
	       policy);
}

/* Served by its group and held to its budget. */
static void check_supply(struct task *t, const char *g, u64 runtime, u64 period)
{
	u64 before, start, usage, got, length;
	/* It goes where its group has budget left. */
	int nr = t->cpu == ANY_CPU ? nr_cpus : 1;

	usage = g_stat(g, "usage_usec");
	before = task_cpu_ns(t->pid);
	start = now_ns();
	sleep_ns(30 * period);
	got = task_cpu_ns(t->pid) - before;
	length = now_ns() - start;
	expect(got <= nr * window_bound(runtime, period, length) + slack_ns(USEC(100)) + got / 10,
	       "%llu ns in %llu ns after the changes", got, length);
	expect(got >= at_least(20 * runtime), "only %llu ns in %llu ns after the changes", got, length);
	expect(g_stat(g, "usage_usec") - usage >= got / 2000, "the group was not charged");
}

/* Still alive, too. */
static void check_served(struct task *t, const char *g, u64 runtime, u64 period)
{
	become(t->pid, SCHED_FIFO);
	wait_count(t, 100, MSEC(5000));
	check_supply(t, g, runtime, period);
}

static const int classes[] = {
	SCHED_FIFO, SCHED_OTHER, SCHED_RR, SCHED_DEADLINE, SCHED_FIFO, SCHED_RR, SCHED_OTHER,
	SCHED_DEADLINE, SCHED_RR, SCHED_FIFO, SCHED_DEADLINE, SCHED_OTHER, SCHED_BATCH,
	SCHED_FIFO, SCHED_IDLE, SCHED_RR,
};

/* Every change from every class, at times that no period divides. */
static void switch_around(struct task *t, int rounds, u64 pause)
{
	int round;
	size_t i;

	for (round = 0; round < rounds; round++)
		for (i = 0; i < ARRAY_SIZE(classes); i++) {
			if (classes[i] == SCHED_BATCH || classes[i] == SCHED_IDLE)
				must(set_policy(t->pid, classes[i], 0));
			else
				become(t->pid, classes[i]);
			sleep_ns(pause);
		}
}

static void running(void)
{
	struct task t = { .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = ANY_CPU };

	g_set("", "8000 20000");
	task_start(&t);
	switch_around(&t, 6, USEC(3137));
	check_served(&t, "", MSEC(8), MSEC(20));
}

/* A short budget: the group is throttled nearly all the time. */
static void throttled(void)
{
	struct task t = { .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = ANY_CPU };

	g_set("", "500 20000");
	task_start(&t);
	switch_around(&t, 4, USEC(1713));
	check_served(&t, "", USEC(500), MSEC(20));
}

static void sleeping(void)
{
	struct task t = { .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = ANY_CPU,
			  .fn = sleeper };

	g_set("", "2000 20000");
	task_start(&t);
	switch_around(&t, 4, USEC(5171));
	become(t.pid, SCHED_FIFO);
	wait_count(&t, 5, MSEC(5000));
}

/* While other tasks of the group run and wait beside it. */
static void among_others(void)
{
	struct task other[2] = {
		{ .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0] },
		{ .group = "", .policy = SCHED_RR, .prio = 10, .cpu = cpus[0] },
	};
	struct task t = { .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = ANY_CPU };
	u64 before, usage, start, length, got;
	int i;

	g_set("", "4000 20000");
	task_prepare(&other[0]);
	task_prepare(&other[1]);
	task_prepare(&t);
	tasks_go();
	switch_around(&t, 4, USEC(3137));
	become(t.pid, SCHED_OTHER);
	before = task_cpu_ns(other[0].pid) + task_cpu_ns(other[1].pid);
	usage = g_stat("", "usage_usec");
	start = now_ns();
	sleep_ms(800);
	got = task_cpu_ns(other[0].pid) + task_cpu_ns(other[1].pid) - before;
	length = now_ns() - start;
	expect(got >= at_least(length * 15 / 100) && got <= window_bound(MSEC(4), MSEC(20), length) +
	       slack_ns(USEC(100)) + got / 10,
	       "the others have %llu ns of %llu ns, 20 %% are theirs", got, length);
	expect(g_stat("", "usage_usec") - usage <= got / 1000 + got / 10000,
	       "the group is charged for a task that is SCHED_OTHER");
	for (i = 0; i < 2; i++)
		task_kill(&other[i]);
}

/* Out of a throttled server and back: at once, and no gift. */
static void out_of_throttle(void)
{
	struct task t = { .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0] };
	u64 count, before, start;
	int i;

	g_set("", "1000 200000");
	task_start(&t);
	for (i = 0; i < 3; i++) {
		wait_throttled("", cpus[0]);
		sleep_ms(5);
		count = t.shm->count;
		start = now_ns();
		sleep_ms(10);
		expect(t.shm->count == count || now_ns() - start > MSEC(100),
		       "ran while throttled");
		become(t.pid, SCHED_OTHER);
		wait_count(&t, 100, slack_ns(MSEC(30)));
		before = task_cpu_ns(t.pid);
		start = now_ns();
		become(t.pid, i & 1 ? SCHED_RR : SCHED_FIFO);
		sleep_ms(20);
		expect(task_cpu_ns(t.pid) - before <= slack_ns(USEC(100)) ||
		       now_ns() - start > MSEC(100),
		       "ran for %llu ns though its server is throttled",
		       task_cpu_ns(t.pid) - before);
	}
}

static void priority_changes(void)
{
	struct task a = { .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0] };
	struct task b = { .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0] };
	u64 before, start, got, length;
	int i;

	g_set("", "3000 10000");
	task_prepare(&a);
	task_prepare(&b);
	before = g_usage_ns("");
	start = now_ns();
	tasks_go();
	for (i = 0; i < 150; i++) {
		must(set_policy(a.pid, SCHED_FIFO, 1 + (i * 7) % 98));
		must(set_policy(b.pid, i & 4 ? SCHED_RR : SCHED_FIFO, 1 + (i * 11) % 98));
		sleep_ns(USEC(3313));
	}
	got = g_usage_ns("") - before;
	length = now_ns() - start;
	expect(got <= window_bound(MSEC(3), MSEC(10), length) + slack_ns(USEC(100)) &&
	       got >= at_least(length / 4), "%llu ns in %llu ns, reserved 30 %%", got, length);
	must(set_policy(a.pid, SCHED_FIFO, 50));
	must(set_policy(b.pid, SCHED_FIFO, 40));
	wait_count(&a, 100, MSEC(2000));
	sleep_ms(20);
	before = b.shm->count;
	sleep_ms(100);
	expect(b.shm->count == before, "the lower priority runs");
}

/* SCHED_DEADLINE tasks have their own reservation, not their group's. */
static void deadline_not_charged(void)
{
	struct task t = { .group = "", .policy = SCHED_DEADLINE, .cpu = ANY_CPU };

	t.dl_runtime = MSEC(10);
	t.dl_period = MSEC(50);
	g_set("", "1000 100000");
	task_start(&t);
	sleep_ms(400);
	expect(!g_stat("", "usage_usec"), "%llu us are charged to the group",
	       g_stat("", "usage_usec"));
	expect(task_cpu_ns(t.pid) >= at_least(MSEC(60)), "the task has %llu ns of 80 ms",
	       task_cpu_ns(t.pid));
}

/* Nor are SCHED_OTHER tasks held to a budget that is for FIFO and RR. */
static void fair_not_charged(void)
{
	struct task t = { .group = "", .cpu = cpus[0] };

	g_set("", "1000 100000");
	task_start(&t);
	sleep_ms(200);
	expect(!g_stat("", "usage_usec"), "%llu us are charged to the group",
	       g_stat("", "usage_usec"));
	expect(task_cpu_ns(t.pid) >= at_least(MSEC(60)), "the task has %llu ns of 200 ms",
	       task_cpu_ns(t.pid));
}

/* How often a task has that does nothing but exec; in the middle of it none is seen. */
static u64 nr_execs(pid_t pid)
{
	u64 end = now_ns() + patience(MSEC(5000)), nr;
	size_t name = strlen(EXEC_HOG) + 1;
	char path[64], args[64];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	for (;;) {
		len = read_text(path, args, sizeof(args));
		if (len > (ssize_t)name && !strcmp(args, EXEC_HOG)) {
			nr = strtoull(args + name, NULL, 10);
			if (nr)
				return nr;
		}
		expect(now_ns() < end, "never execs");
		sleep_ns(USEC(300));
	}
}

/* A new program is the same task: its policy stays, and its group pays. */
static void exec_loop(void)
{
	struct task t = { .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = ANY_CPU,
			  .fn = exec_hog };
	u64 nr;

	g_set("", "8000 20000");
	task_start(&t);
	nr = nr_execs(t.pid);
	check_supply(&t, "", MSEC(8), MSEC(20));
	nr = nr_execs(t.pid) - nr;
	figure(nr, "execs");
	expect(nr >= (lane_tight ? 100 : 1), "%llu execs in 30 periods", nr);
	expect(get_policy(t.pid) == SCHED_FIFO, "policy %d after exec", get_policy(t.pid));
	expect(!g_stat("", "nr_unserved"), "ran unserved");
}

const struct dl_group_test class_tests[] = {
	{ "running", "class", "a running task goes through all classes", .run = running },
	{ "throttled", "class", "a throttled task goes through all classes", .run = throttled },
	{ "sleeping", "class", "a sleeping task goes through all classes", .run = sleeping },
	{ "among_others", "class", "a task goes through all classes beside others",
	  .run = among_others },
	{ "out_of_throttle", "class", "a throttled task runs as SCHED_OTHER at once",
	  .run = out_of_throttle },
	{ "priority_changes", "class", "priorities change while tasks run and wait",
	  .run = priority_changes },
	{ "exec", "class", "a task that execs in a loop is served and charged", .run = exec_loop },
	{ "deadline_not_charged", "class", "SCHED_DEADLINE tasks are not charged to the group",
	  .run = deadline_not_charged },
	{ "fair_not_charged", "class", "SCHED_OTHER tasks are not charged to the group",
	  .run = fair_not_charged },
	{}
};
