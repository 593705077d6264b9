// SPDX-License-Identifier: GPL-2.0-only
/*
 * The suite's own instruments, on any kernel: a measurement that cannot fail
 * would prove nothing.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dl_group_test.h"

static void arithmetic(void)
{
	u64 i, sum = 0;

	expect(util(1, 2) == UNIT / 2 && util(1, 1) == UNIT && util(0, 5) == 0,
	       "util() of whole powers of two");
	expect(util(950000, 1000000) == 267401227875123ULL, "95 %% are %llu",
	       util(950000, 1000000));
	expect(util(5000000, 20000000) == util(5000, 20000), "the unit does not matter");
	for (i = 0; i < 3; i++)
		sum += util(1, 3);
	expect(sum <= UNIT && UNIT - sum < 3, "three thirds are %llu", sum);
	expect(fill_us(util(9, 10), 100000) == 90000, "90 %% of 100000 are %llu",
	       fill_us(util(9, 10), 100000));
	expect(window_bound(2, 10, 1) == 1 && window_bound(2, 10, 4) == 4 &&
	       window_bound(2, 10, 5) == 4 && window_bound(2, 10, 104) == 24,
	       "window_bound()");
	expect(!supply_bound(2, 10, 16) && supply_bound(2, 10, 17) == 1 &&
	       supply_bound(2, 10, 20) == 2 && supply_bound(2, 10, 26) == 2 &&
	       supply_bound(2, 10, 27) == 3 && supply_bound(10, 10, 7) == 7, "supply_bound()");
}

/* A hog with a known pattern, as the tracepoints and as it itself saw it. */
static void tracer(void)
{
	struct task t = { .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0] };
	u64 from, to, before, clock, traced, gap, seen, i;
	struct task high = { .policy = SCHED_FIFO, .prio = 20, .cpu = cpus[0] };

	task_prepare(&t);
	trace_start();
	tasks_go();
	task_prepare(&high);
	sleep_ms(10);
	before = task_cpu_ns(t.pid);
	from = now_ns();
	sleep_ms(50);
	/* 30 ms in which somebody else has the CPU */
	/* the test sleeps meanwhile: it has the higher priority */
	high.shm->until = now_ns() + MSEC(30);
	tasks_go();
	wait_exit(high.pid);
	sleep_ms(50);
	to = now_ns();
	clock = task_cpu_ns(t.pid) - before;
	trace_stop();
	traced = trace_running(cpus[0], &t.pid, 1, from, to);
	gap = trace_gap(cpus[0], &t.pid, 1, from, to);
	seen = to - from;
	for (i = 0; i < t.shm->nr_gaps; i++)
		if (t.shm->gaps[i].from >= from && t.shm->gaps[i].to <= to)
			seen -= t.shm->gaps[i].to - t.shm->gaps[i].from;
	figure(traced, "traced");
	figure(clock, "clock");
	figure(gap, "gap");
	figure(seen, "seen");
	expect(gap >= MSEC(29) && gap <= slack_ns(MSEC(32)), "a gap of %llu ns, made one of 30 ms",
	       gap);
	expect(traced + MSEC(29) <= to - from, "%llu ns traced in %llu ns", traced, to - from);
	/* elsewhere the host's time is in the one and not in the other */
	if (lane_tight) {
		expect(clock + clock / 20 >= traced && traced >= clock - clock / 50,
		       "%llu ns traced, %llu ns by the task's clock", traced, clock);
		expect(seen + seen / 20 >= clock && seen <= clock + clock / 20,
		       "%llu ns seen by the task, %llu ns by its clock", seen, clock);
	}
}

/* What the supply tests would say of a hog without a reservation. */
static void overrun_is_seen(void)
{
	struct task t = { .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0] };
	/* much longer than the host may take the CPU away */
	u64 start, length = lane_tight ? MSEC(100) : MSEC(1000);

	trace_start();
	task_start(&t);
	/* a slow kernel takes its time to start one */
	wait_count(&t, 10, MSEC(2000));
	start = now_ns();
	sleep_ns(length);
	trace_stop();
	expect(trace_running(cpus[0], &t.pid, 1, start, start + length) >
	       window_bound(MSEC(2), MSEC(10), length) + slack_ns(USEC(100)),
	       "a hog without limits is not seen to exceed one");
}

static void expect_change(char **before, const char *what)
{
	char *after = state_text();

	expect(strcmp(*before, after), "%s is not in the state", what);
	free(*before);
	*before = after;
}

/* What a refusal must leave alone is seen to change where it does. */
static void state_is_compared(void)
{
	struct task t = { .group = "a", .policy = SCHED_OTHER, .cpu = ANY_CPU, .fn = sleeper };
	char *before = state_text(), *first = state_text(), *sysctl = state_text();
	s64 period = file_read_s64(RT_PERIOD);

	must(file_write(RT_PERIOD, "%lld", period + 1));
	expect_change(&sysctl, "a sysctl");
	must(file_write(RT_PERIOD, "%lld", period));
	g_make("a");
	expect_change(&before, "a new cgroup");
	task_start(&t);
	expect_change(&before, "a new task");
	must(set_policy(t.pid, SCHED_FIFO, 1));
	expect_change(&before, "a policy");
	must(set_policy(t.pid, SCHED_FIFO, 2));
	expect_change(&before, "a priority");
	if (nr_cpus > 1) {
		must(set_cpu(t.pid, cpus[1]));
		expect_change(&before, "an affinity");
	}
	task_kill(&t);
	g_rmdir("a");
	state_compare(first, __FILE__, __LINE__, "nothing");
}

const struct dl_group_test tools_tests[] = {
	{ "arithmetic", "tools", "bandwidths and bounds are computed exactly",
	  .needs = ANY_KERNEL, .run = arithmetic },
	{ "tracer", "tools", "tracepoints, clocks and the task itself agree",
	  .needs = ANY_KERNEL | NEED_TRACE, .run = tracer },
	{ "overrun_is_seen", "tools", "a hog without a limit is over one",
	  .needs = ANY_KERNEL | NEED_TRACE, .run = overrun_is_seen },
	{ "state_is_compared", "tools", "a changed state is noticed", .needs = ANY_KERNEL,
	  .run = state_is_compared },
	{}
};
