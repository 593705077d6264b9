// SPDX-License-Identifier: GPL-2.0-only
/* Tasks that move between the CPUs of their group, to where it has budget left. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dl_group_test.h"

#define MAX_HOGS	16

/* Of all CPUs together; what the host takes away is nobody's fault. */
static bool sum_ok(u64 received, u64 due)
{
	if (lane_tight)
		return received >= due * 98 / 100 && received <= due * 102 / 100;
	return received >= at_least(due) && received <= due * 11 / 10 + slack_ns(0) * nr_cpus;
}

static u64 usage_ns(void)
{
	return USEC(g_stat("", "usage_usec"));
}

/* What the group receives in a time that many periods fit into. */
static u64 measure(u64 length)
{
	u64 from;

	sleep_ms(100);
	from = usage_ns();
	sleep_ns(length);
	return usage_ns() - from;
}

static void start(struct task *t, int n, int policy, int prio, int cpu)
{
	int i;

	for (i = 0; i < n; i++) {
		t[i] = (struct task){ .group = "", .policy = policy, .prio = prio, .cpu = cpu };
		task_prepare(&t[i]);
	}
	tasks_go();
}

/* All at once: one that waits behind another hog cannot die before that does. */
static void end(struct task *t, int n)
{
	int i;

	for (i = 0; i < n; i++)
		kill(t[i].pid, SIGKILL);
	for (i = 0; i < n; i++)
		wait_exit(t[i].pid);
	sleep_ms(40);
}

/* n * Q / P, with as many tasks as CPUs or more; all of them begin on one CPU. */
static void receive_sum(int policy)
{
	int counts[] = { nr_cpus, nr_cpus + 1, MAX_HOGS }, i;
	u64 length = MSEC(1500), due = length / 4 * nr_cpus, got;
	struct task t[MAX_HOGS];

	start_pacer(USEC(100));
	g_set("", "5000 20000");
	for (i = 0; i < 3; i++) {
		start(t, counts[i], policy, 10, ANY_CPU);
		got = measure(length);
		figure(got, "%d_tasks.received", counts[i]);
		expect(sum_ok(got, due), "%d tasks on %d CPUs received %llu ns of %llu",
		       counts[i], nr_cpus, got, due);
		end(t, counts[i]);
	}
}

static void fifo_sum(void)
{
	receive_sum(SCHED_FIFO);
}

static void rr_sum(void)
{
	receive_sum(SCHED_RR);
}

/* The CPUs stand in for each other: one task, with all the budget there is. */
static void one_task_half(void)
{
	u64 length = MSEC(1000), got, moves = g_stat("", "nr_migrations");
	struct task t;

	start_pacer(USEC(100));
	g_set("", "10000 20000");
	start(&t, 1, SCHED_FIFO, 10, ANY_CPU);
	got = measure(length);
	figure(got, "received");
	expect(got >= at_least(length * 9 / 10), "received %llu ns of %llu", got, length);
	moves = g_stat("", "nr_migrations") - moves;
	figure(moves, "migrations");
	/* once a period, no more often than that on each CPU */
	expect(moves >= at_least(length / MSEC(40)) && moves <= (length + MSEC(100)) / MSEC(5),
	       "moved %llu times in %llu ns", moves, length);
}

/*
 * The task waits on the CPU that it used last until another one has budget
 * first: that one has to fetch it.
 */
static void one_task_fifth(void)
{
	u64 length = MSEC(1000), due = length / 5 * nr_cpus, got;
	struct task t;

	start_pacer(USEC(100));
	g_set("", "4000 20000");
	start(&t, 1, SCHED_FIFO, 10, ANY_CPU);
	got = measure(length);
	figure(got, "received");
	if (due > length)
		due = length;
	expect(sum_ok(got, due), "one task received %llu ns of %llu", got, due);
}

/* No affinity is ignored, whatever is left elsewhere. */
static void pinned_stays(void)
{
	u64 length = MSEC(1000), got, moves;
	struct task t[2];

	start_pacer(USEC(100));
	g_set("", "5000 20000");
	start(t, 2, SCHED_FIFO, 10, cpus[0]);
	moves = g_stat("", "nr_migrations");
	got = measure(length);
	expect(sum_ok(got, length / 4), "received %llu ns of %llu", got, length / 4);
	expect(!g_stat_cpu("", cpus[1], "usage_usec"), "ran on the other CPU");
	expect(g_stat("", "nr_migrations") == moves, "moved");
}

/*
 * A task that a higher one displaces goes to where a lower one runs, and that
 * one waits.
 */
static void displaced_moves(void)
{
	/* long enough that a budget cut off at an edge does not matter */
	u64 length = MSEC(3000), due = length * 36 / 100, high, low;
	struct task t[3] = {
		{ .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[1] },
		{ .group = "", .policy = SCHED_FIFO, .prio = 20, .cpu = ANY_CPU },
		{ .group = "", .policy = SCHED_FIFO, .prio = 30, .cpu = cpus[0] },
	};
	int i;

	if (nr_cpus > 2)
		test_skip("exact only with two CPUs");
	start_pacer(USEC(100));
	g_set("", "36000 100000");
	for (i = 0; i < 3; i++)
		task_start(&t[i]);
	sleep_ms(200);
	high = task_cpu_ns(t[1].pid);
	low = task_cpu_ns(t[0].pid);
	sleep_ns(length);
	high = task_cpu_ns(t[1].pid) - high;
	low = task_cpu_ns(t[0].pid) - low;
	figure(high, "high.received");
	figure(low, "low.received");
	expect(high >= at_least(due * 95 / 100), "the higher one received %llu ns of %llu", high,
	       due);
	if (lane_tight)
		expect(low <= due / 20, "the lower one received %llu ns", low);
}

/* A task that wakes where the budget is spent runs where it is not. */
static void wakes_elsewhere(void)
{
	struct task hog = { .group = "", .policy = SCHED_FIFO, .prio = 20, .cpu = cpus[0] };
	struct task t = { .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = ANY_CPU,
			  .fn = sleeper };
	u64 from;

	start_pacer(USEC(100));
	g_set("", "20000 200000");
	task_start(&hog);
	task_start(&t);
	sleep_ms(400);
	from = t.shm->count;
	sleep_ms(1000);
	figure(t.shm->count - from, "wakeups");
	/* 500 if none is late, 50 where the hog is */
	expect(t.shm->count - from >= (lane_tight ? 400 : 100), "%llu wakeups in a second",
	       t.shm->count - from);
}

/* Waits where it may run; allowed elsewhere, it is there at once. */
static void affinity_frees(void)
{
	struct task t;
	u64 from;
	int i;

	start_pacer(USEC(100));
	g_set("", "20000 400000");
	start(&t, 1, SCHED_FIFO, 10, cpus[0]);
	for (i = 0; i < 2; i++) {
		wait_throttled("", cpus[0]);
		sleep_ms(1);
		from = usage_ns();
		must(set_cpu(t.pid, ANY_CPU));
		sleep_ns(MSEC(30) + slack_ns(0));
		expect(usage_ns() - from >= MSEC(19), "received %llu ns elsewhere",
		       usage_ns() - from);
		sleep_ms(400);
		must(set_cpu(t.pid, cpus[0]));
		sleep_ms(400);
	}
}

/* A task that waits is raised above the one that runs on another CPU. */
static void raised_moves(void)
{
	struct task t[3] = {
		{ .group = "", .policy = SCHED_FIFO, .prio = 30, .cpu = cpus[0] },
		{ .group = "", .policy = SCHED_FIFO, .prio = 20, .cpu = cpus[1] },
		{ .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = ANY_CPU },
	};
	u64 length = MSEC(3000), due = length * 36 / 100, raised, other;
	int i;

	if (nr_cpus > 2)
		test_skip("exact only with two CPUs");
	start_pacer(USEC(100));
	g_set("", "36000 100000");
	for (i = 0; i < 3; i++)
		task_start(&t[i]);
	sleep_ms(300);
	must(set_policy(t[2].pid, SCHED_FIFO, 25));
	raised = task_cpu_ns(t[2].pid);
	other = task_cpu_ns(t[1].pid);
	sleep_ns(length);
	raised = task_cpu_ns(t[2].pid) - raised;
	other = task_cpu_ns(t[1].pid) - other;
	expect(raised >= at_least(due * 95 / 100), "received %llu ns of %llu", raised, due);
	if (lane_tight)
		expect(other <= due / 5, "the lower one received %llu ns", other);
}

/* With one CPU less, and with it back. */
static void follows_hotplug(void)
{
	u64 length = MSEC(1000), due, got;
	int cpu = cpus[nr_cpus - 1];
	char path[64];
	struct task t[2];

	start_pacer(USEC(100));
	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	g_set("", "5000 20000");
	start(t, 2, SCHED_FIFO, 10, ANY_CPU);
	sleep_ms(100);
	must(file_write(path, "0"));
	got = measure(length);
	expect(got <= length / 4 * (nr_cpus - 1) + MSEC(5) + slack_ns(0) * nr_cpus,
	       "received %llu ns in %llu on %d CPUs", got, length, nr_cpus - 1);
	expect(got >= at_least(length / 5), "received %llu ns in %llu", got, length);
	must(file_write(path, "1"));
	start_pacer(USEC(100));
	got = measure(length);
	due = length / 4 * nr_cpus;
	expect(sum_ok(got, due), "received %llu ns of %llu", got, due);
}

/* Many that sleep, wake, yield and change, so that no request is lost. */
static void all_at_once(void)
{
	static const struct task kinds[] = {
		{ .policy = SCHED_FIFO, .prio = 10, .fn = nap_hog, .arg = (void *)1000 },
		{ .policy = SCHED_RR, .prio = 20, .fn = yield_hog },
		{ .policy = SCHED_FIFO, .prio = 30, .fn = sleeper },
		{ .policy = SCHED_RR, .prio = 10, .fn = hog },
	};
	struct task t[12];
	unsigned int i, j;

	start_pacer(USEC(100));
	g_set("", "2000 10000");
	for (i = 0; i < 12; i++) {
		t[i] = kinds[i % 4];
		t[i].group = "";
		t[i].cpu = ANY_CPU;
		task_prepare(&t[i]);
	}
	tasks_go();
	for (j = 0; j < 20; j++)
		for (i = 0; i < 12; i++) {
			must(set_policy(t[i].pid, SCHED_FIFO, 10 + (i + j) % 5));
			must(set_cpu(t[i].pid, (i + j) % 3 ? ANY_CPU : cpus[j % nr_cpus]));
			sleep_ns(USEC(777));
		}
	end(t, 12);
	g_set("", "max");
}

const struct dl_group_test balance_tests[] = {
	{ "fifo_sum", "balance", "FIFO tasks receive the budgets of all CPUs",
	  .needs = NEED_CPUS2, .timeout_s = 120, .run = fifo_sum },
	{ "rr_sum", "balance", "RR tasks receive the budgets of all CPUs",
	  .needs = NEED_CPUS2, .timeout_s = 120, .run = rr_sum },
	{ "one_task_half", "balance", "one task, half of each of two CPUs",
	  .needs = NEED_CPUS2, .run = one_task_half },
	{ "one_task_fifth", "balance", "one task, a fifth of each CPU",
	  .needs = NEED_CPUS2, .run = one_task_fifth },
	{ "pinned_stays", "balance", "a pinned task does not move",
	  .needs = NEED_CPUS2, .run = pinned_stays },
	{ "displaced_moves", "balance", "no task waits while a lower one runs",
	  .needs = NEED_CPUS2, .run = displaced_moves },
	{ "wakes_elsewhere", "balance", "a wakeup where the budget is spent",
	  .needs = NEED_CPUS2, .run = wakes_elsewhere },
	{ "affinity_frees", "balance", "a task that waits is allowed elsewhere",
	  .needs = NEED_CPUS2, .run = affinity_frees },
	{ "raised_moves", "balance", "a task that waits gets a higher priority",
	  .needs = NEED_CPUS2, .run = raised_moves },
	{ "follows_hotplug", "balance", "tasks move off a CPU that goes, and back",
	  .needs = NEED_CPUS2 | NEED_HOTPLUG, .run = follows_hotplug },
	{ "all_at_once", "balance", "changes of everything while tasks move",
	  .needs = NEED_CPUS2, .run = all_at_once },
	{}
};
