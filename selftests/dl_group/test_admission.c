// SPDX-License-Identifier: GPL-2.0-only
/* What fits: per CPU, in both directions of the tree, to the bit. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dl_group_test.h"

/* The bandwidth of groups on every CPU, less what it was in @before. */
static void expect_groups(const struct headroom *before, u64 want, const char *when)
{
	struct headroom h;
	int i;

	read_headroom(&h);
	for (i = 0; i < nr_cpus; i++)
		expect(h.groups[cpus[i]] - before->groups[cpus[i]] == want,
		       "%s: groups have %llu of CPU %d, expected %llu", when,
		       h.groups[cpus[i]] - before->groups[cpus[i]], cpus[i], want);
}

static void cap_per_cpu(void)
{
	static const u64 periods[] = { 1000, 3333, 20000, 100000, 999999 };
	struct headroom h;
	size_t i;

	read_headroom(&h);
	for (i = 0; i < ARRAY_SIZE(periods); i++) {
		u64 most = fill_us(h.free[cpus[0]], periods[i]);

		expect_refused(g_try("", "%llu %llu", most + 1, periods[i]), ENOSPC);
		g_set("", "%llu %llu", most, periods[i]);
		expect_groups(&h, util(most, periods[i]), "full");
		g_set("", "max");
		expect_groups(&h, 0, "empty");
	}
}

static void fair_server_counts(void)
{
	struct headroom h;
	u64 most;
	int i;

	read_headroom(&h);
	most = fill_us(h.free[cpus[0]], 100000);
	expect_refused(g_try("", "%llu 100000", most + 4000), ENOSPC);
	for (i = 0; i < nr_cpus; i++)
		must(file_write(fair_file(cpus[i], "runtime"), "10000000"));
	g_set("", "%llu 100000", most + 4000);
	expect_refused(file_write(fair_file(cpus[0], "runtime"), "20000000"), EBUSY);
}

/* The smallest free CPU decides. */
static void fair_server_of_one_cpu(void)
{
	int cpu = cpus[nr_cpus - 1];

	must(file_write(fair_file(cpu, "runtime"), "250000000"));
	expect_refused(g_try("", "80000 100000"), ENOSPC);
	g_set("", "70000 100000");
}

static void child_over_parent(void)
{
	g_make("a");
	g_make("b");
	g_make("b/c");
	g_set("", "30000 100000");
	g_set("a", "20000 100000");
	expect_refused(g_try("b/c", "10001 100000"), ENOSPC);
	expect_refused(g_try("b", "2001 20000"), ENOSPC);
	g_set("b/c", "2000 20000");
	g_set("b", "2000 20000");
	expect_refused(g_try("b/c", "2001 20000"), ENOSPC);
	expect_refused(g_try("a", "20001 100000"), ENOSPC);
	g_set("a", "10000 100000");
	g_set("b", "4000 20000");
	g_set("b/c", "4000 20000");
}

static void children_charge_parent_only(void)
{
	struct headroom before;

	read_headroom(&before);
	g_make("a");
	g_set("", "30000 100000");
	g_set("a", "20000 100000");
	expect_groups(&before, util(30, 100), "carved");
	g_set("", "max");
	expect_groups(&before, util(20, 100), "the child alone");
	g_set("", "40000 100000");
	expect_groups(&before, util(40, 100), "carved again");
	g_set("a", "max");
	expect_groups(&before, util(40, 100), "the parent alone");
}

static void parent_shrink(void)
{
	g_make("a");
	g_make("b");
	g_set("", "30000 100000");
	g_set("a", "10000 100000");
	g_set("b", "1000 10000");
	expect_refused(g_try("", "19999 100000"), ENOSPC);
	expect_refused(g_try("", "30000 150001"), ENOSPC);
	g_set("", "20000 100000");
	g_set("b", "500 10000");
	g_set("", "15000 100000");
	g_set("", "1500 10000");
	expect_refused(g_try("", "1499 10000"), ENOSPC);
}

/* All that fits on paper passes, whatever the fractions round to. */
static void exact_fill(void)
{
	static const struct {
		u64 runtime, period, child_runtime, child_period;
		int n;
	} cases[] = {
		{ 10000, 30000, 1000, 9000, 3 },
		{ 30000, 90000, 10000, 90000, 3 },
		{ 20000, 140000, 1000, 49000, 7 },
		{ 10000, 70000, 1000, 77000, 11 },
		{ 30000, 100000, 1000, 100000, 30 },
		{ 3000, 10000, 1000, 30000, 9 },
	};
	char name[16];
	size_t i;
	int j;

	for (i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "g%zu", i);
		g_make(name);
	}
	g_make("more");
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		g_set("", "%llu %llu", cases[i].runtime, cases[i].period);
		for (j = 0; j < cases[i].n; j++) {
			snprintf(name, sizeof(name), "g%d", j);
			g_set(name, "%llu %llu", cases[i].child_runtime, cases[i].child_period);
		}
		expect_refused(g_try("more", "100 1000000"), ENOSPC);
		expect_refused(g_try("", "%llu %llu", cases[i].runtime - 1, cases[i].period),
			       ENOSPC);
		for (j = 0; j < cases[i].n; j++) {
			snprintf(name, sizeof(name), "g%d", j);
			g_set(name, "max");
		}
	}
}

static void exact_fill_cap(void)
{
	struct headroom before;
	char name[16];
	int i;

	/* 95 % less the 5 % of the fair server, in tenths and in 27ths */
	read_headroom(&before);
	for (i = 0; i < 27; i++) {
		snprintf(name, sizeof(name), "g%d", i);
		g_make(name);
		g_set(name, "1000 30000");
	}
	g_make("more");
	expect_groups(&before, 27 * util(1, 30), "27 times 1/30");
	expect_refused(g_try("more", "100 1000000"), ENOSPC);
}

/* A fixed sequence, so that two runs do the same. */
static unsigned int dice(unsigned int n)
{
	static unsigned int state = 1;

	state = state * 1103515245 + 12345;
	return (state >> 16) % n;
}

static void any_order(void)
{
	static const u64 periods[] = { 1000, 3000, 7000, 10000, 33333, 100000, 999999 };
	struct { u64 runtime, period; } set[8] = {};
	struct headroom before;
	char name[16];
	int i, j, step;

	for (i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "g%d", i);
		g_make(name);
	}
	read_headroom(&before);
	for (step = 0; step < 300; step++) {
		u64 sum = 0, period = periods[dice(ARRAY_SIZE(periods))];
		u64 runtime = period / 10 + dice(period / 10);
		bool fits;

		i = dice(8);
		snprintf(name, sizeof(name), "g%d", i);
		if (dice(4) == 0) {
			set[i].runtime = 0;
			g_set(name, "%s", dice(2) ? "max" : "0");
		} else {
			for (j = 0; j < 8; j++)
				if (j != i && set[j].runtime)
					sum += util(set[j].runtime, set[j].period);
			fits = sum + util(runtime, period) <= before.free[cpus[0]];
			if (fits) {
				g_set(name, "%llu %llu", runtime, period);
				set[i].runtime = runtime;
				set[i].period = period;
			} else {
				int ret = g_try(name, "%llu %llu", runtime, period);

				expect(ret == -ENOSPC, "what does not fit: %s",
				       ret ? strerror(-ret) : "accepted");
			}
		}
		for (j = 0, sum = 0; j < 8; j++)
			if (set[j].runtime)
				sum += util(set[j].runtime, set[j].period);
		expect_groups(&before, sum, "on the way");
	}
	for (i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "g%d", (i * 3) % 8);
		g_set(name, "max");
	}
	expect_groups(&before, 0, "at the end");
}

static void sysctl_unlimited(void)
{
	struct headroom h;
	u64 most;
	int i;

	must(file_write(RT_RUNTIME, "-1"));
	read_headroom(&h);
	for (i = 0; i < nr_cpus; i++)
		expect(h.cap[cpus[i]] == UNIT, "the cap of CPU %d is %llu, not all of it",
		       cpus[i], h.cap[cpus[i]]);
	most = fill_us(h.free[cpus[0]], 100000);
	expect(most == 95000, "%llu of 100000 us are free", most);
	/* no limit, but still a test */
	expect_refused(g_try("", "%llu 100000", most + 1), ENOSPC);
	g_set("", "%llu 100000", most);
	expect_refused(file_write(RT_RUNTIME, "950000"), EBUSY);
	expect(file_read_s64(RT_RUNTIME) == -1, "the refused value is in the file");
}

/* Where groups are added to SCHED_DEADLINE tasks each of them is rounded up. */
static void rounding_refuses_nothing(void)
{
	static const char *const limits[] = { "950000", "-1" };
	u64 fair = file_read_s64(fair_file(cpus[0], "runtime"));
	struct headroom h;
	int i, j;

	for (i = 0; i < 3; i++)
		g_make((char[]){ 'a' + i, 0 });
	for (j = 0; j < 2; j++) {
		must(file_write(RT_RUNTIME, "%s", limits[j]));
		for (i = 0; i < 3; i++) {
			read_headroom(&h);
			/* not far above a multiple of 2^-20 */
			g_set((char[]){ 'a' + i, 0 }, "%llu 1000000",
			      i < 2 ? 200000ULL : fill_us(h.free[cpus[0]], 1000000));
		}
		must(file_write(RT_RUNTIME, "%s", limits[j]));
		must(file_write(fair_file(cpus[0], "runtime"), "%llu", fair));
	}
}

static void sysctl_moves_cap(void)
{
	g_set("", "50000 100000");
	must(file_write(RT_RUNTIME, "560000"));
	expect_refused(g_try("", "51001 100000"), ENOSPC);
	g_set("", "51000 100000");
	expect_refused(file_write(RT_RUNTIME, "550000"), EBUSY);
	g_set("", "max");
	must(file_write(RT_RUNTIME, "550000"));
	must(file_write(RT_RUNTIME, "950000"));
	g_set("", "90000 100000");
}

static void write_refused(struct task_shm *shm, void *arg)
{
	const char *const *write = arg;

	while (!shm->stop)
		shm->count += file_write(write[0], "%s", write[1]) != 0;
}

/* What is written, only to be refused, is not what others are measured by. */
static void sysctl_refused_unseen(void)
{
	static const char *const writes[][2] = { { RT_RUNTIME, "100000" }, { RT_PERIOD, "500000" } };
	u64 end;
	int i;

	g_make("a");
	g_make("b");
	g_set("a", "50000 100000");
	for (i = 0; i < 2; i++) {
		struct task t = { .cpu = cpus[nr_cpus - 1], .fn = write_refused,
				  .arg = (void *)writes[i] };

		task_start(&t);
		end = now_ns() + MSEC(2000);
		while (now_ns() < end) {
			g_set("b", "10000 100000");
			expect(g_try("b", "60000 100000") == -ENOSPC, "more than is free is admitted");
			g_set("b", "max");
			sleep_ns(USEC(100));
		}
		task_kill(&t);
		expect(t.shm->count > 10, "only %llu writes were refused", (u64)t.shm->count);
	}
	expect(cg_read_key_long(g_path("a", NULL), "cpu.rt.events", "lost ") == 0,
	       "the group has lost a CPU meanwhile");
}

static void deadline_and_groups(void)
{
	struct task t[2] = {
		{ .policy = SCHED_DEADLINE, .cpu = ANY_CPU, .fn = sleeper },
		{ .policy = SCHED_OTHER, .cpu = ANY_CPU, .fn = sleeper },
	};
	struct headroom before, h;
	int i;

	read_headroom(&before);
	t[0].dl_period = MSEC(50);
	t[0].dl_runtime = MSEC(15);
	task_start(&t[0]);
	task_start(&t[1]);
	g_set("", "%d 100000", 90000 - 60000 / nr_cpus);
	/* 30 % of one CPU are left in the domain */
	must(set_deadline(t[1].pid, MSEC(29), MSEC(100)));
	expect_refused(set_deadline(t[1].pid, MSEC(31), MSEC(100)), EBUSY);
	expect(get_policy(t[1].pid) == SCHED_DEADLINE, "the policy changed");
	expect_refused(g_try("", "%d 100000", 92000 - 60000 / nr_cpus), ENOSPC);
	task_kill(&t[0]);
	task_kill(&t[1]);
	/* a dead task's bandwidth goes at its zero-lag time */
	for (i = 0; i < 50; i++) {
		read_headroom(&h);
		if (h.tasks[cpus[0]] == before.tasks[cpus[0]])
			break;
		sleep_ms(10);
	}
	g_set("", "90000 100000");
}

/*
 * What a group leaves to itself is promised, also if it is too little for a
 * server: 250 ns of each millisecond here.
 */
static void deadline_sees_promise(void)
{
	struct task t[MAX_CPUS] = {};
	int i;

	g_make("a");
	g_set("", "500 1000");
	g_set("a", "1000 2001");
	for (i = 0; i < nr_cpus; i++) {
		t[i] = (struct task){ .cpu = ANY_CPU, .fn = sleeper };
		task_start(&t[i]);
	}
	for (i = 0; i < nr_cpus - 1; i++)
		must(set_deadline(t[i].pid, USEC(4001), MSEC(10)));
	expect_refused(set_deadline(t[i].pid, USEC(4001), MSEC(10)), EBUSY);
	must(set_deadline(t[i].pid, USEC(3999), MSEC(10)));
	g_set("a", "max");
	g_expect("", "cpu.rt.max.effective.local", "500 1000\n");
}

/* Sleeps past its zero-lag time, so that no timer is left when it leaves. */
static void deadline_leaves_asleep(void)
{
	struct task t = { .cpu = ANY_CPU, .fn = long_sleeper };
	struct headroom before;
	int i;

	read_headroom(&before);
	task_start(&t);
	sleep_ms(20);
	for (i = 0; i < 5 * nr_cpus; i++) {
		must(set_deadline(t.pid, MSEC(3), MSEC(10)));
		sleep_ms(15);
		must(set_policy(t.pid, SCHED_OTHER, 0));
		sleep_ms(15);
	}
	expect_tasks(&before, cpus[0], 0, "all have left");
}

static void max_always_allowed(void)
{
	struct task t = { .group = "a/b", .policy = SCHED_FIFO, .prio = 1, .cpu = cpus[0],
			  .fn = plain_hog };
	struct headroom before;

	read_headroom(&before);
	g_make("a");
	g_make("a/b");
	g_make("a/c");
	g_set("", "60000 100000");
	g_set("a", "40000 100000");
	g_set("a/c", "10000 100000");
	task_start(&t);
	g_set("a", "max");
	g_set("", "max");
	expect_groups(&before, util(10, 100), "only a/c has a number");
	wait_count(&t, 1000, MSEC(2000));
	g_set("a/c", "max");
	expect_groups(&before, 0, "nobody has a number");
	/* also from 0 */
	task_kill(&t);
	g_set("a", "0");
	g_set("a", "max");
	g_set("", "60000 100000");
	g_set("a", "60000 100000");
	/* also with nothing of its own left */
	g_set("", "max");
	expect_groups(&before, util(60, 100), "only a has a number");
}

static void number_between(void)
{
	struct headroom before;

	read_headroom(&before);
	g_make("a");
	g_make("a/b");
	g_make("a/c");
	g_set("a/b", "10000 100000");
	g_set("a/c", "10000 50000");
	expect_groups(&before, util(10, 100) + util(20, 100), "two from the root pool");
	expect_refused(g_try("a", "29999 100000"), ENOSPC);
	g_set("a", "30000 100000");
	expect_groups(&before, util(30, 100), "their parent");
	g_expect("a", "cpu.rt.max.effective.local", "0 100000\n");
	g_set("", "50000 100000");
	g_set("a", "max");
	g_expect("", "cpu.rt.max.effective.local", "20000 100000\n");
}

static void rmdir_releases(void)
{
	struct headroom before, h;
	u64 start, end;
	int i;

	read_headroom(&before);
	g_make("a");
	g_set("a", "80000 100000");
	expect_groups(&before, util(80, 100), "reserved");
	g_rmdir("a");
	start = now_ns();
	end = start + MSEC(2000);
	do {
		read_headroom(&h);
		if (h.groups[cpus[0]] == before.groups[cpus[0]])
			break;
		sleep_ms(1);
	} while (now_ns() < end);
	expect_groups(&before, 0, "removed two seconds ago");
	/* writing max before releases at once */
	for (i = 0; i < 5; i++) {
		g_make("a");
		g_set("a", "80000 100000");
		g_set("a", "max");
		g_rmdir("a");
		expect_groups(&before, 0, "max, then removed");
	}
}

static void many_groups(void)
{
	struct headroom before;
	char name[16];
	int i, round;

	read_headroom(&before);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < 60; i++) {
			snprintf(name, sizeof(name), "g%d", i);
			g_make(name);
			g_set(name, "%d 100000", 1000 + i);
		}
		for (i = 0; i < 60; i++) {
			snprintf(name, sizeof(name), "g%d", (i * 7) % 60);
			g_set(name, "max");
			g_rmdir(name);
		}
		expect_groups(&before, 0, "all removed");
	}
}

/* A group reserves on the CPUs of its cpuset and on no other. */
static void cpuset_only(void)
{
	struct headroom before, h;
	u64 runtime, period;

	read_headroom(&before);
	g_make("a");
	g_make("b");
	must(g_write("a", "cpuset.cpus", "%d", cpus[0]));
	must(g_write("b", "cpuset.cpus", "%d", cpus[1]));
	g_set("a", "70000 100000");
	read_headroom(&h);
	expect(h.groups[cpus[0]] - before.groups[cpus[0]] == util(70, 100), "not on its CPU");
	expect(h.groups[cpus[1]] == before.groups[cpus[1]], "on another CPU than its own");
	g_set("b", "80000 100000");
	expect_refused(g_try("", "10000 100000"), ENOSPC);
	g_set("", "80000 100000");
	/* what is left differs from CPU to CPU */
	expect(g_own_runtime("", cpus[0], &runtime, &period) && runtime == 10000,
	       "%llu us left on CPU %d", runtime, cpus[0]);
	expect(g_own_runtime("", cpus[1], &runtime, &period) && runtime == 0,
	       "%llu us left on CPU %d", runtime, cpus[1]);
	g_expect("a", "cpu.rt.max.effective.local", "70000 100000\n");
}

const struct dl_group_test admission_tests[] = {
	{ "cap_per_cpu", "admission", "groups fill a CPU to the last microsecond",
	  .needs = NEED_HEADROOM, .run = cap_per_cpu },
	{ "fair_server_counts", "admission", "the fair server's share is not to be had",
	  .needs = NEED_HEADROOM, .run = fair_server_counts },
	{ "fair_server_of_one_cpu", "admission", "the fullest CPU decides",
	  .needs = NEED_HEADROOM, .run = fair_server_of_one_cpu },
	{ "child_over_parent", "admission", "children together fit their parent",
	  .run = child_over_parent },
	{ "children_charge_parent_only", "admission", "what is carved is reserved once",
	  .needs = NEED_HEADROOM, .run = children_charge_parent_only },
	{ "parent_shrink", "admission", "a parent does not shrink below its children",
	  .run = parent_shrink },
	{ "exact_fill", "admission", "thirds, sevenths and elevenths fill their parent exactly",
	  .run = exact_fill },
	{ "exact_fill_cap", "admission", "27 times 1/30 are 90 %", .needs = NEED_HEADROOM,
	  .run = exact_fill_cap },
	{ "any_order", "admission", "any order of changes comes back to the same bits",
	  .needs = NEED_HEADROOM, .run = any_order },
	{ "sysctl_unlimited", "admission", "sched_rt_runtime_us -1 is 100 %, still tested",
	  .needs = NEED_HEADROOM, .run = sysctl_unlimited },
	{ "rounding_refuses_nothing", "admission", "full CPUs, the sysctl and the fair server go together",
	  .needs = NEED_HEADROOM, .run = rounding_refuses_nothing },
	{ "sysctl_moves_cap", "admission", "the cap follows sched_rt_runtime_us",
	  .run = sysctl_moves_cap },
	{ "sysctl_refused_unseen", "admission", "a refused sched_rt_runtime_us is never in force",
	  .needs = NEED_CPUS2, .run = sysctl_refused_unseen },
	{ "deadline_and_groups", "admission", "SCHED_DEADLINE tasks and groups share a domain",
	  .needs = NEED_HEADROOM, .run = deadline_and_groups },
	{ "deadline_sees_promise", "admission", "SCHED_DEADLINE tasks take nothing that is promised",
	  .run = deadline_sees_promise },
	{ "deadline_leaves_asleep", "admission", "a task that leaves SCHED_DEADLINE in its sleep",
	  .needs = NEED_HEADROOM, .run = deadline_leaves_asleep },
	{ "max_always_allowed", "admission", "going to max is never refused",
	  .needs = NEED_HEADROOM, .run = max_always_allowed },
	{ "number_between", "admission", "a number above those that are there",
	  .needs = NEED_HEADROOM, .run = number_between },
	{ "rmdir_releases", "admission", "a removed group gives back what it had",
	  .needs = NEED_HEADROOM, .run = rmdir_releases },
	{ "many_groups", "admission", "60 groups come and go three times",
	  .needs = NEED_HEADROOM, .run = many_groups },
	{ "cpuset_only", "admission", "a group reserves on its cpuset's CPUs only",
	  .needs = NEED_HEADROOM | NEED_CPUSET | NEED_CPUS2, .run = cpuset_only },
	{}
};
