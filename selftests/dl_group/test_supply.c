// SPDX-License-Identifier: GPL-2.0-only
/* CPU time received: Q every P, no less and no more, whoever else runs. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dl_group_test.h"

/* What the hog saw itself, so that no kernel's count has to be believed. */
static void check_seen(const struct reservation *r)
{
	const struct supply *s = &r->supply;
	const struct task_shm *shm = r->task[0].shm;
	u64 seen = s->last - s->first, i;
	double want = (double)s->runtime / s->period, got;

	for (i = 0; i < shm->nr_gaps; i++) {
		u64 from = shm->gaps[i].from, to = shm->gaps[i].to;

		if (from < s->first)
			from = s->first;
		if (to > s->last)
			to = s->last;
		if (to > from)
			seen -= to - from;
	}
	expect(shm->nr_gaps < MAX_GAPS, "%s: more gaps than can be noted", r->name);
	got = (double)seen / (s->last - s->first);
	figure(seen, "%s.seen", r->name);
	/* switches and interrupts are in the one or the other */
	if (lane_tight)
		expect(got > want * 0.96 && got < want * 1.03,
		       "%s: the task saw %.5f of the CPU, reserved %.5f", r->name, got, want);
}

static void one_hog(u64 runtime_us, u64 period_us)
{
	struct reservation r = { .name = "a", .runtime_us = runtime_us, .period_us = period_us };

	supply_run(&r, 1);
	check_seen(&r);
}

static void one_1_4(void)
{
	one_hog(1000, 4000);
}

static void one_5_20(void)
{
	one_hog(5000, 20000);
}

static void one_40_100(void)
{
	one_hog(40000, 100000);
}

/* Nearly all that the cap leaves. */
static void one_9_10(void)
{
	one_hog(8900, 10000);
}

static void several_hogs(void)
{
	struct reservation r = { .name = "a", .runtime_us = 5000, .period_us = 20000,
				 .nr_hogs = 4 };

	supply_run(&r, 1);
}

static void two_groups(void)
{
	struct reservation r[] = {
		{ .name = "a", .runtime_us = 1000, .period_us = 4000 },
		{ .name = "b", .runtime_us = 40000, .period_us = 100000 },
	};

	supply_run(r, ARRAY_SIZE(r));
}

static void three_groups(void)
{
	struct reservation r[] = {
		{ .name = "a", .runtime_us = 1000, .period_us = 4000, .nr_hogs = 2 },
		{ .name = "b", .runtime_us = 5000, .period_us = 20000, .nr_hogs = 3 },
		{ .name = "c", .runtime_us = 12000, .period_us = 40000 },
	};

	supply_run(r, ARRAY_SIZE(r));
}

static void four_groups(void)
{
	struct reservation r[] = {
		{ .name = "a", .runtime_us = 1000, .period_us = 4000 },
		{ .name = "b", .runtime_us = 40000, .period_us = 100000 },
		{ .name = "c", .runtime_us = 1000, .period_us = 10000 },
		{ .name = "d", .runtime_us = 1500, .period_us = 15000 },
	};

	supply_run(r, ARRAY_SIZE(r));
}

static void four_alike(void)
{
	struct reservation r[] = {
		{ .name = "a", .runtime_us = 2000, .period_us = 10000 },
		{ .name = "b", .runtime_us = 2000, .period_us = 10000 },
		{ .name = "c", .runtime_us = 2000, .period_us = 10000 },
		{ .name = "d", .runtime_us = 2000, .period_us = 10000 },
	};

	supply_run(r, ARRAY_SIZE(r));
}

static void with_fair_hogs(void)
{
	struct reservation r = { .name = "a", .runtime_us = 5000, .period_us = 20000 };
	struct task fair[2] = {};
	u64 length, got[2];
	int i;

	for (i = 0; i < 2; i++) {
		fair[i] = (struct task){ .cpu = cpus[0], .fn = plain_hog };
		task_prepare(&fair[i]);
	}
	reserve(&r, 1, cpus[0]);
	supply_measure(&r, 1, cpus[0]);
	length = now_ns() - r.start;
	for (i = 0; i < 2; i++)
		got[i] = task_cpu_ns(fair[i].pid);
	supply_check(&r);
	/* what is not reserved is theirs, in equal parts */
	for (i = 0; i < 2; i++)
		expect(got[i] >= at_least(length * 32 / 100) && got[i] <= length / 2,
		       "a fair hog has %llu ns of %llu ns", got[i], length);
}

/* Exact only with one CPU: a SCHED_DEADLINE task goes where it likes. */
static void with_deadline_task(void)
{
	struct reservation r[] = {
		{ .name = "a", .runtime_us = 1000, .period_us = 4000 },
		{ .name = "b", .runtime_us = 12000, .period_us = 40000 },
	};
	struct task dl = { .policy = SCHED_DEADLINE, .cpu = ANY_CPU, .fn = plain_hog };
	u64 start, length, got;

	dl.dl_period = MSEC(50);
	dl.dl_runtime = MSEC(10);
	task_prepare(&dl);
	reserve(r, 2, cpus[0]);
	start = now_ns();
	supply_measure(r, 2, cpus[0]);
	length = now_ns() - start;
	got = task_cpu_ns(dl.pid);
	supply_check(&r[0]);
	supply_check(&r[1]);
	figure(got, "deadline_task.received");
	expect((double)got / length > 0.18 && (double)got / length < 0.25,
	       "the SCHED_DEADLINE task has %llu ns of %llu ns", got, length);
}

/*
 * A task that reclaims takes what is left of its CPU, not what the group has there,
 * though other CPUs of the root domain have more left.
 */
static void with_reclaiming_task(void)
{
	struct reservation r = { .name = "p/a", .runtime_us = 12000, .period_us = 20000 };
	struct task dl = { .policy = SCHED_DEADLINE, .cpu = ANY_CPU, .fn = plain_hog,
			   .dl_runtime = MSEC(10), .dl_period = MSEC(50) };
	u64 length, got;

	g_make("p");
	if (nr_cpus > 1)
		must(g_write("p", "cpuset.cpus", "%d", cpus[0]));
	task_prepare(&dl);
	must(set_deadline_reclaim(dl.pid, MSEC(10), MSEC(50)));
	if (nr_cpus > 1) {
		/* else it could not be pinned */
		must(file_write(RT_RUNTIME, "-1"));
		must(set_cpu(dl.pid, cpus[0]));
		must(file_write(RT_RUNTIME, "950000"));
	}
	reserve(&r, 1, cpus[0]);
	/* Who wakes the first must not wait behind it before the second is awake. */
	if (nr_cpus > 1)
		must(set_cpu(0, cpus[1]));
	supply_measure(&r, 1, cpus[0]);
	length = now_ns() - r.start;
	got = task_cpu_ns(dl.pid);
	supply_check(&r);
	figure(got, "reclaiming_task.received");
	expect((double)got / length > (lane_tight ? 0.22 : 0.18) && (double)got / length < 0.33,
	       "the task that reclaims has %llu ns of %llu ns", got, length);
}

/* Subgroups that say max live on the budget above them, all on the same one. */
static void nested_max(void)
{
	static const char *const in[] = { "a/x", "a/y/u", "a/y/v", NULL };
	struct reservation r = { .name = "a", .runtime_us = 5000, .period_us = 20000,
				 .nr_hogs = 3, .in = in };
	int i;

	supply_run(&r, 1);
	for (i = 0; in[i]; i++)
		expect(!g_stat(in[i], "usage_usec"), "%s has servers of its own", in[i]);
	expect(g_stat("a", "usage_usec") > 100000, "the group above was not charged");
}

static void carved_and_leftover(void)
{
	static const char *const in_max[] = { "p/max", NULL };
	static const char *const in_child[] = { "p/child/deep", NULL };
	/* what the parent's own servers get is 5 of its 8 ms */
	struct reservation r[] = {
		{ .name = "p", .runtime_us = 8000, .period_us = 20000, .in = in_max },
		{ .name = "p/child", .runtime_us = 3000, .period_us = 20000, .in = in_child },
	};

	reserve(r, 2, cpus[0]);
	g_expect("p", "cpu.rt.max.effective.local", "5000 20000\n");
	r[0].runtime_us = 5000;
	supply_measure(r, 2, cpus[0]);
	supply_check(&r[0]);
	supply_check(&r[1]);
}

static void carved_other_period(void)
{
	static const char *const in_max[] = { "p/max", NULL };
	struct reservation r[] = {
		{ .name = "p", .runtime_us = 8000, .period_us = 20000, .in = in_max },
		{ .name = "p/child", .runtime_us = 800, .period_us = 5000 },
	};

	reserve(r, 2, cpus[0]);
	g_expect("p", "cpu.rt.max.effective.local", "4800 20000\n");
	r[0].runtime_us = 4800;
	supply_measure(r, 2, cpus[0]);
	supply_check(&r[0]);
	supply_check(&r[1]);
}

static void rr_shares(void)
{
	struct reservation r = { .name = "a", .runtime_us = 10000, .period_us = 20000,
				 .nr_hogs = 3, .policy = SCHED_RR };
	u64 got[3], sum = 0;
	int i;

	/* slices of 8 ms: many in the time measured, no divisor of the budget */
	must(file_write("/proc/sys/kernel/sched_rr_timeslice_ms", "8"));
	supply_run(&r, 1);
	for (i = 0; i < 3; i++) {
		got[i] = task_cpu_ns(r.pids[i]);
		sum += got[i];
		figure(got[i], "task%d", i);
	}
	for (i = 0; i < 3; i++)
		expect(got[i] > sum * 27 / 100 && got[i] < sum * 40 / 100,
		       "RR task %d has %llu of %llu ns", i, got[i], sum);
}

static void fifo_order(void)
{
	struct task high = { .group = "", .policy = SCHED_FIFO, .prio = 20, .cpu = cpus[0] };
	struct task low = { .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0] };
	u64 before;

	g_set("", "5000 20000");
	task_prepare(&low);
	task_prepare(&high);
	tasks_go();
	sleep_ms(100);
	before = low.shm->count;
	sleep_ms(400);
	expect(low.shm->count == before, "the lower priority ran beside the higher");
	must(set_policy(high.pid, SCHED_FIFO, 5));
	sleep_ms(60);
	before = high.shm->count;
	wait_count(&low, 1000, MSEC(2000));
	sleep_ms(100);
	expect(high.shm->count == before, "the task ran on after its priority was lowered");
	must(set_policy(high.pid, SCHED_FIFO, 30));
	wait_count(&high, 1000, MSEC(2000));
}

/* The highest root priority neither starves a group nor is starved by it. */
static void root_fifo_hog(void)
{
	struct reservation r = { .name = "a", .runtime_us = 5000, .period_us = 20000, .prio = 1 };
	struct task root = { .policy = SCHED_FIFO, .prio = 99, .cpu = cpus[0] };
	u64 got, length;

	task_prepare(&root);
	reserve(&r, 1, cpus[0]);
	/* The test has the same priority: it goes on when the hog ends. */
	root.shm->until = now_ns() + MSEC(lane_tight ? 1100 : 4000);
	supply_measure(&r, 1, cpus[0]);
	supply_check(&r);
	sleep_until(root.shm->until);
	length = root.shm->until - r.start;
	got = task_cpu_ns(root.pid);
	figure(got, "root_fifo.received");
	expect(got >= at_least(length * 60 / 100) && got <= length * 80 / 100,
	       "the root FIFO task has %llu of %llu ns", got, length);
}

/* FIFO everywhere, in the root and in groups: fair tasks keep their 5 %. */
static void fair_server_share(void)
{
	struct reservation r[] = {
		{ .name = "a", .runtime_us = 10000, .period_us = 20000 },
		{ .name = "b", .runtime_us = 3000, .period_us = 10000 },
	};
	struct task root = { .policy = SCHED_FIFO, .prio = 50, .cpu = cpus[0] };
	struct task fair = { .cpu = cpus[0] };
	u64 got, length = MSEC(4000);

	task_prepare(&root);
	task_prepare(&fair);
	reserve(r, 2, cpus[0]);
	tasks_go();
	sleep_ns(length);
	got = task_cpu_ns(fair.pid);
	figure(got, "fair.received");
	expect(got >= at_least(length / 25) && got <= length * (lane_tight ? 7 : 12) / 100,
	       "the fair task has %llu of %llu ns, 5 %% are its", got, length);
}

/* Hogs on every CPU: every CPU has a budget of its own. */
static void every_cpu(void)
{
	struct task t[MAX_CPUS] = {};
	u64 length = MSEC(2000), before[MAX_CPUS];
	int i;

	g_set("", "20000 100000");
	for (i = 0; i < nr_cpus; i++) {
		t[i] = (struct task){ .group = "", .policy = SCHED_FIFO, .prio = 10,
				      .cpu = cpus[i] };
		task_prepare(&t[i]);
		before[i] = task_cpu_ns(t[i].pid);
	}
	tasks_go();
	sleep_ns(length);
	for (i = 0; i < nr_cpus; i++) {
		u64 got = task_cpu_ns(t[i].pid) - before[i];

		figure(got, "cpu%d.received", cpus[i]);
		expect(got <= window_bound(MSEC(20), MSEC(100), length) + slack_ns(USEC(100)) &&
		       got >= at_least(length * 15 / 100), "CPU %d: %llu ns of %llu ns, reserved 20 %%",
		       cpus[i], got, length);
	}
}

const struct dl_group_test supply_tests[] = {
	{ "one_1_4", "supply", "one hog with 1 ms every 4 ms", .needs = NEED_TRACE,
	  .run = one_1_4 },
	{ "one_5_20", "supply", "one hog with 5 ms every 20 ms", .needs = NEED_TRACE,
	  .run = one_5_20 },
	{ "one_40_100", "supply", "one hog with 40 ms every 100 ms", .needs = NEED_TRACE,
	  .run = one_40_100 },
	{ "one_9_10", "supply", "one hog with 8.9 ms every 10 ms", .needs = NEED_TRACE,
	  .run = one_9_10 },
	{ "several_hogs", "supply", "four hogs share one budget", .needs = NEED_TRACE,
	  .run = several_hogs },
	{ "two_groups", "supply", "1/4 ms beside 40/100 ms", .needs = NEED_TRACE,
	  .run = two_groups },
	{ "three_groups", "supply", "three groups, six hogs, 80 %", .needs = NEED_TRACE,
	  .run = three_groups },
	{ "four_groups", "supply", "four groups from 1/4 to 40/100 ms, 85 %", .needs = NEED_TRACE,
	  .run = four_groups },
	{ "four_alike", "supply", "four groups of 2/10 ms", .needs = NEED_TRACE,
	  .run = four_alike },
	{ "with_fair_hogs", "supply", "beside SCHED_OTHER hogs", .needs = NEED_TRACE,
	  .run = with_fair_hogs },
	{ "with_deadline_task", "supply", "beside a SCHED_DEADLINE hog",
	  .needs = NEED_TRACE | NEED_CPU1, .run = with_deadline_task },
	{ "with_reclaiming_task", "supply", "beside a SCHED_DEADLINE hog that reclaims",
	  .needs = NEED_TRACE | NEED_CPUSET, .run = with_reclaiming_task },
	{ "nested_max", "supply", "subgroups that say max share the budget above",
	  .needs = NEED_TRACE, .run = nested_max },
	{ "carved_and_leftover", "supply", "a child with a number and the rest of its parent",
	  .needs = NEED_TRACE, .run = carved_and_leftover },
	{ "carved_other_period", "supply", "a child with another period than its parent",
	  .needs = NEED_TRACE, .run = carved_other_period },
	{ "rr_shares", "supply", "RR tasks take turns in the budget", .needs = NEED_TRACE,
	  .run = rr_shares },
	{ "fifo_order", "supply", "FIFO priorities hold inside a group", .run = fifo_order },
	{ "root_fifo_hog", "supply", "a root FIFO hog of priority 99 beside a group",
	  .needs = NEED_TRACE, .run = root_fifo_hog },
	{ "fair_server_share", "supply", "fair tasks keep the fair server's share",
	  .run = fair_server_share },
	{ "every_cpu", "supply", "every CPU of the group has its budget", .run = every_cpu },
	{}
};
