// SPDX-License-Identifier: GPL-2.0-only
/* Groups full of hogs, and whether they get what was reserved. */
#include <stdio.h>
#include <string.h>

#include "dl_group_test.h"

/* A received share is taken between two replenishments this far apart. */
#define MIN_PERIODS	50

/* The most a group may get in t, whatever its tasks do. */
u64 window_bound(u64 runtime, u64 period, u64 t)
{
	u64 rest = t > 2 * runtime ? t - 2 * runtime : 0;
	u64 bound = 2 * runtime + rest / period * runtime + rest % period * runtime / period;

	return t < bound ? t : bound;
}

/* The least it gets in t if it has work all the time: sbf() of the periodic resource model. */
u64 supply_bound(u64 runtime, u64 period, u64 t)
{
	u64 blackout = 2 * (period - runtime), rest;

	if (t <= blackout)
		return 0;
	t -= blackout;
	rest = t % period;
	return t / period * runtime + (rest < runtime ? rest : runtime);
}

/* Groups with their tasks in place; tasks_go() lets them run. */
void reserve(struct reservation *r, int n, int cpu)
{
	int i, j;

	for (i = 0; i < n; i++) {
		if (!r[i].nr_hogs)
			r[i].nr_hogs = 1;
		g_make(r[i].name);
		g_set(r[i].name, "%llu %llu", r[i].runtime_us, r[i].period_us);
		for (j = 0; r[i].in && r[i].in[j]; j++)
			g_make(r[i].in[j]);
	}
	for (i = 0; i < n; i++) {
		int nr_in = 0;

		while (r[i].in && r[i].in[nr_in])
			nr_in++;
		for (j = 0; j < r[i].nr_hogs; j++) {
			struct task *t = &r[i].task[j];

			t->group = nr_in ? r[i].in[j % nr_in] : r[i].name;
			t->policy = r[i].policy ?: SCHED_FIFO;
			t->prio = r[i].prio ?: 10;
			t->cpu = cpu;
			task_prepare(t);
			r[i].pids[j] = t->pid;
		}
	}
}

/* With the groups in place: let everybody go, wait, look. */
void supply_measure(struct reservation *r, int n, int cpu)
{
	u64 longest = 0, length;
	int i;

	for (i = 0; i < n; i++)
		if (USEC(r[i].period_us) > longest)
			longest = USEC(r[i].period_us);
	length = (MIN_PERIODS + 4) * longest;
	/* The host takes CPUs away for tens of ms: look for longer. */
	if (!lane_tight && length < MSEC(2000))
		length = MSEC(2000);
	trace_start();
	/* That can take a second. */
	for (i = 0; i < n; i++)
		r[i].start = now_ns();
	tasks_go();
	sleep_ns(length);
	trace_stop();
	for (i = 0; i < n; i++) {
		r[i].supply = (struct supply){
			.runtime = USEC(r[i].runtime_us), .period = USEC(r[i].period_us),
			.id = g_id(r[i].name), .cpu = cpu,
			.pids = r[i].pids, .nr_pids = r[i].nr_hogs,
		};
		trace_supply(&r[i].supply);
	}
}

void supply_check(const struct reservation *r)
{
	const struct supply *s = &r->supply;
	u64 length = s->last - s->first, blackout = 2 * (s->period - s->runtime);

	expect(s->nr_replenish >= MIN_PERIODS,
	       "%s: %llu replenishments, %llu periods and %llu us by its own count", r->name,
	       s->nr_replenish, g_stat(r->name, "nr_periods"), g_stat(r->name, "usage_usec"));
	figure(s->received, "%s.received", r->name);
	figure(length, "%s.length", r->name);
	figure(s->max_gap, "%s.longest_gap", r->name);
	figure(s->max_overrun, "%s.overrun", r->name);
	figure(s->max_late_switch, "%s.throttle_to_switch", r->name);
	figure(s->max_missing, "%s.missing_in_window", r->name);
	figure(s->max_beyond, "%s.beyond_in_window", r->name);
	expect(share_ok(s->received, length, s->runtime, s->period),
	       "%s: received %llu ns in %llu ns, reserved %llu/%llu us", r->name, s->received,
	       length, r->runtime_us, r->period_us);
	expect(s->max_gap <= blackout + slack_ns(USEC(200)) * (lane_tight ? 1 : s->period / s->runtime),
	       "%s: %llu ns without service, the blackout is %llu ns", r->name,
	       s->max_gap, blackout);
	/* Elsewhere an overrun is as long as the host keeps the CPU. */
	if (lane_tight) {
		expect(s->max_overrun <= slack_ns(USEC(100)), "%s: %llu ns beyond the budgets",
		       r->name, s->max_overrun);
		expect(s->max_late_switch <= slack_ns(USEC(100)),
		       "%s: ran on for %llu ns after a throttle", r->name, s->max_late_switch);
		expect(s->max_missing <= slack_ns(USEC(200)), "%s: %llu ns are missing in a window",
		       r->name, s->max_missing);
		expect(s->max_beyond <= slack_ns(USEC(100)), "%s: %llu ns too much in a window",
		       r->name, s->max_beyond);
	}
}

void supply_run(struct reservation *r, int n)
{
	int i;

	reserve(r, n, cpus[0]);
	supply_measure(r, n, cpus[0]);
	for (i = 0; i < n; i++)
		supply_check(&r[i]);
}
