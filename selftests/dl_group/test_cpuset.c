// SPDX-License-Identifier: GPL-2.0-only
/* Cpusets, partitions and affinity: servers follow, nobody is left alone. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dl_group_test.h"

static void expect_group_bw(int cpu, u64 want, const char *when)
{
	struct headroom h;

	read_headroom(&h);
	expect(h.groups[cpu] == want, "%s: groups have %llu of CPU %d, expected %llu", when,
	       h.groups[cpu], cpu, want);
}

/* The hog cannot have missed more than this. */
static void check_alive(struct task *t)
{
	wait_count(t, 10, MSEC(3000));
}

static void change_throttled(void)
{
	struct task t = { .group = "a", .policy = SCHED_FIFO, .prio = 10, .cpu = ANY_CPU };
	int i;

	g_make("a");
	g_set("a", "1000 50000");
	must(g_write("a", "cpuset.cpus", "%d", cpus[0]));
	task_start(&t);
	for (i = 0; i < 10; i++) {
		int now = cpus[i & 1], next = cpus[!(i & 1)];

		wait_throttled("a", now);
		must(g_write("a", "cpuset.cpus", "%d", next));
		expect_group_bw(now, 0, "after the move");
		expect_group_bw(next, util(1, 50), "after the move");
		check_alive(&t);
	}
	must(g_write("a", "cpuset.cpus", "%d-%d", cpus[0], cpus[1]));
	expect_group_bw(cpus[0], util(1, 50), "on both");
	expect_group_bw(cpus[1], util(1, 50), "on both");
	check_alive(&t);
}

/* No room on the new CPU: the change is made, the server comes when it fits. */
static void grow_without_room(void)
{
	struct task t = { .group = "a", .policy = SCHED_FIFO, .prio = 10, .cpu = ANY_CPU };
	u64 runtime, period;
	int i;

	g_make("a");
	g_make("b");
	must(g_write("a", "cpuset.cpus", "%d", cpus[0]));
	must(g_write("b", "cpuset.cpus", "%d", cpus[1]));
	g_set("a", "60000 100000");
	g_set("b", "50000 100000");
	task_start(&t);
	must(g_write("a", "cpuset.cpus", "%d-%d", cpus[0], cpus[1]));
	expect(g_own_runtime("a", cpus[1], &runtime, &period) && runtime == 0,
	       "%llu us on CPU %d where nothing was left", runtime, cpus[1]);
	expect_group_bw(cpus[1], util(50, 100), "b alone");
	check_alive(&t);
	g_set("b", "max");
	for (i = 0; i < 100; i++) {
		g_own_runtime("a", cpus[1], &runtime, &period);
		if (runtime == 60000)
			break;
		sleep_ms(10);
	}
	expect(runtime == 60000, "%llu us on CPU %d a second after there was room", runtime,
	       cpus[1]);
	expect_group_bw(cpus[1], util(60, 100), "a, now that it fits");
}

/* Below a group that is none, a partition's CPUs are exclusive all the way up. */
static void set_partition(const char *g, int cpu, const char *kind)
{
	char state[128];

	must(g_write("", "cpuset.cpus.exclusive", "%d", cpu));
	must(g_write(g, "cpuset.cpus.exclusive", "%d", cpu));
	must(g_write(g, "cpuset.cpus.partition", "%s", kind));
	g_read(g, "cpuset.cpus.partition", state, sizeof(state));
	expect(!strncmp(state, kind, strlen(kind)) && !strstr(state, "invalid"),
	       "the partition is '%s'", state);
}

static void partition_comes_and_goes(const char *kind)
{
	struct task in = { .group = "part/a", .policy = SCHED_FIFO, .prio = 10, .cpu = ANY_CPU };
	struct task out = { .group = "out", .policy = SCHED_FIFO, .prio = 10, .cpu = ANY_CPU };
	int cpu = cpus[nr_cpus - 1], i;
	struct headroom before, h;

	read_headroom(&before);
	g_make("part");
	g_make("part/a");
	g_make("out");
	must(g_write("part", "cpuset.cpus", "%d", cpu));
	g_set("part", "30000 100000");
	g_set("part/a", "2000 50000");
	g_set("out", "2000 50000");
	task_prepare(&in);
	task_prepare(&out);
	tasks_go();
	for (i = 0; i < 3; i++) {
		wait_throttled("part/a", cpu);
		set_partition("part", cpu, kind);
		expect_group_bw(cpu, util(30, 100), "in the partition");
		expect_group_bw(cpus[0], util(2, 50), "outside of the partition");
		check_alive(&in);
		check_alive(&out);
		wait_throttled("part/a", cpu);
		must(g_write("part", "cpuset.cpus.partition", "member"));
		expect_group_bw(cpu, util(30, 100) + util(2, 50), "a member again");
		check_alive(&in);
		check_alive(&out);
	}
	read_headroom(&h);
	for (i = 0; i < nr_cpus; i++)
		expect(h.fair[cpus[i]] == before.fair[cpus[i]],
		       "the fair server of CPU %d has %llu, had %llu", cpus[i], h.fair[cpus[i]],
		       before.fair[cpus[i]]);
}

static void partition_root(void)
{
	partition_comes_and_goes("root");
}

static void partition_isolated(void)
{
	partition_comes_and_goes("isolated");
}

/*
 * Root domains are rebuilt with every partition; the bandwidth of fair servers
 * and groups has to be in the new ones, or a later change takes out what is not
 * there, and admission sees room that is not.
 */
static void partition_keeps_bandwidth(void)
{
	struct task dl = { .policy = SCHED_OTHER, .cpu = ANY_CPU, .fn = sleeper };
	int i, cpu = cpus[nr_cpus - 1];

	g_make("one");
	g_make("p");
	must(g_write("p", "cpuset.cpus", "%d", cpu));
	g_set("one", "%d 100000", 90000 - 30000 / nr_cpus);
	for (i = 0; i < 3; i++) {
		set_partition("p", cpu, "root");
		must(g_write("p", "cpuset.cpus.partition", "member"));
	}
	task_start(&dl);
	expect_refused(set_deadline(dl.pid, MSEC(31), MSEC(100)), EBUSY);
	must(set_deadline(dl.pid, MSEC(29), MSEC(100)));
	task_kill(&dl);
}

/*
 * A task that has left SCHED_DEADLINE has its bandwidth until its zero-lag time.
 * A rebuild in between forgets it; its timer must not take it out once more.
 */
static void rebuild_while_leaving(void)
{
	/* uses its runtime up, so that its zero-lag time is its deadline */
	struct task dl = { .cpu = ANY_CPU, .fn = plain_hog };
	int i, cpu = cpus[nr_cpus - 1];

	g_make("one");
	g_make("p");
	must(g_write("p", "cpuset.cpus", "%d", cpu));
	g_set("one", "%d 100000", 90000 - 30000 / nr_cpus);
	task_start(&dl);
	for (i = 0; i < 3; i++) {
		must(set_deadline(dl.pid, MSEC(250), MSEC(1000)));
		sleep_ms(400);
		must(set_policy(dl.pid, SCHED_OTHER, 0));
		set_partition("p", cpu, "root");
		must(g_write("p", "cpuset.cpus.partition", "member"));
		sleep_ms(1100);
	}
	expect(set_deadline(dl.pid, MSEC(31), MSEC(100)) == -EBUSY,
	       "31 %% of a CPU are admitted where 30 %% are left");
	must(set_deadline(dl.pid, MSEC(29), MSEC(100)));
	task_kill(&dl);
}

/* Partitions are the administrator's: they are never refused for a group. */
static void partition_when_full(void)
{
	int cpu = cpus[nr_cpus - 1];
	char state[128];

	g_make("all");
	g_make("p");
	g_set("all", "90000 100000");
	must(g_write("p", "cpuset.cpus", "%d", cpu));
	set_partition("p", cpu, "root");
	/* "all" is not on that CPU any more */
	g_set("p", "90000 100000");
	must(g_write("p", "cpuset.cpus.partition", "member"));
	g_read("p", "cpuset.cpus.partition", state, sizeof(state));
	expect(!strncmp(state, "member", 6), "the partition is '%s'", state);
}

/* All of one CPU to a child: no task of the parent may be alone there. */
static void affinity_without_budget(void)
{
	struct task t = { .group = "max", .policy = SCHED_FIFO, .prio = 10, .cpu = ANY_CPU };
	u64 runtime, period;
	cpu_set_t before, now;

	g_make("max");
	g_make("child");
	must(g_write("child", "cpuset.cpus", "%d", cpus[1]));
	g_set("", "5000 20000");
	g_set("child", "5000 20000");
	expect(g_own_runtime("", cpus[1], &runtime, &period) && !runtime,
	       "%llu us are left on CPU %d", runtime, cpus[1]);
	task_start(&t);
	expect(!sched_getaffinity(t.pid, sizeof(before), &before), "sched_getaffinity: %s",
	       strerror(errno));
	expect_refused(set_cpu(t.pid, cpus[1]), EINVAL);
	expect(!sched_getaffinity(t.pid, sizeof(now), &now) && CPU_EQUAL(&before, &now),
	       "a refused affinity is set");
	check_alive(&t);
	must(set_cpu(t.pid, cpus[0]));
	check_alive(&t);
	/* nor may the child take the other CPU */
	expect_refused(g_try("child", "max") ?: g_write("child", "cpuset.cpus", "%d", cpus[1]) ?:
		       g_try("child", "5000 20000"), 0);
}

/* A task that is only where nothing is left cannot become FIFO there. */
static void policy_without_budget(void)
{
	struct task t = { .group = "max", .cpu = cpus[1], .fn = sleeper };

	g_make("max");
	g_make("child");
	must(g_write("child", "cpuset.cpus", "%d", cpus[1]));
	g_set("", "5000 20000");
	g_set("child", "5000 20000");
	task_start(&t);
	expect_refused(set_policy(t.pid, SCHED_FIFO, 10), EPERM);
	must(set_cpu(t.pid, cpus[0]));
	must(set_policy(t.pid, SCHED_FIFO, 10));
}

/* A child that would take a task's last budget is refused. */
static void carve_last_budget(void)
{
	struct task t = { .group = "max", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[1],
			  .fn = sleeper };

	g_make("max");
	g_make("child");
	must(g_write("child", "cpuset.cpus", "%d", cpus[1]));
	g_set("", "5000 20000");
	task_start(&t);
	expect_refused(g_try("child", "5000 20000"), EBUSY);
	must(set_cpu(t.pid, ANY_CPU));
	g_set("child", "5000 20000");
	check_alive(&t);
}

static void affinity_moves(void)
{
	struct task t[2] = {
		{ .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0] },
		{ .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[1] },
	};
	u64 before, start, got, length, bound;
	int i;

	g_set("", "2000 20000");
	task_prepare(&t[0]);
	task_prepare(&t[1]);
	before = g_usage_ns("");
	start = now_ns();
	tasks_go();
	for (i = 0; i < 200; i++) {
		must(set_cpu(t[i & 1].pid, cpus[(i >> 1) & 1]));
		sleep_ns(USEC(2719));
	}
	got = g_usage_ns("") - before;
	length = now_ns() - start;
	bound = 2 * window_bound(MSEC(2), MSEC(20), length);
	expect(got <= bound + 2 * slack_ns(USEC(100)) && got >= at_least(length / 20),
	       "%llu ns in %llu ns, at most %llu are due on two CPUs", got, length, bound);
	must(set_cpu(t[0].pid, cpus[0]));
	must(set_cpu(t[1].pid, cpus[1]));
	check_alive(&t[0]);
	check_alive(&t[1]);
}

/*
 * Is on the hog's CPU when the hog is throttled, and wakes when it is not: 30 ms
 * after one of the 20 ms in which the hog does not run come 50 in which it does.
 */
static void waker(struct task_shm *shm, void *arg)
{
	int i;

	(void)arg;
	for (i = 0; i < 20; i++) {
		u64 at, late;
		unsigned int cpu;

		must(set_cpu(0, cpus[0]));
		must(set_cpu(0, ANY_CPU));
		at = now_ns() + MSEC(30);
		sleep_until(at);
		late = now_ns() - at;
		if (late > shm->value)
			shm->value = late;
		getcpu(&cpu, NULL);
		if ((int)cpu == cpus[0])
			shm->count++;
	}
}

static void wake_beside_hog(int policy)
{
	struct task t = { .group = "a", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0] };
	struct task w = { .policy = policy, .prio = 50, .cpu = ANY_CPU, .fn = waker };

	g_make("a");
	g_set("a", "80000 100000");
	task_start(&t);
	wait_count(&t, 100, MSEC(2000));
	task_start(&w);
	wait_exit(w.pid);
	figure(w.shm->value, "latest");
	expect(w.shm->value <= slack_ns(USEC(100)), "woke up to %llu ns late beside an idle CPU",
	       w.shm->value);
	/* where the host delays it, a wakeup may come after those 50 ms */
	expect(w.shm->count <= (lane_tight ? 0 : 5),
	       "woke %llu of 20 times on the CPU of the group's hog", w.shm->count);
}

static void fifo_finds_idle_cpu(void)
{
	wake_beside_hog(SCHED_FIFO);
}

const struct dl_group_test cpuset_tests[] = {
	{ "change_throttled", "cpuset", "cpuset.cpus changes under a throttled hog",
	  .needs = NEED_CPUS2 | NEED_CPUSET | NEED_HEADROOM, .run = change_throttled },
	{ "grow_without_room", "cpuset", "a new CPU without room has no server until it fits",
	  .needs = NEED_CPUS2 | NEED_CPUSET | NEED_HEADROOM, .run = grow_without_room },
	{ "partition_root", "cpuset", "a root partition comes and goes under throttled hogs",
	  .needs = NEED_CPUS2 | NEED_CPUSET | NEED_HEADROOM, .run = partition_root },
	{ "partition_isolated", "cpuset", "the same, isolated",
	  .needs = NEED_CPUS2 | NEED_CPUSET | NEED_HEADROOM, .run = partition_isolated },
	{ "partition_keeps_bandwidth", "cpuset", "root domains keep what is admitted when rebuilt",
	  .needs = NEED_CPUS2 | NEED_CPUSET, .run = partition_keeps_bandwidth },
	{ "rebuild_while_leaving", "cpuset", "root domains are rebuilt while a task leaves SCHED_DEADLINE",
	  .needs = NEED_CPUS2 | NEED_CPUSET, .run = rebuild_while_leaving },
	{ "partition_when_full", "cpuset", "no partition is refused for a reservation",
	  .needs = NEED_CPUS2 | NEED_CPUSET, .run = partition_when_full },
	{ "affinity_without_budget", "cpuset", "affinity to CPUs without own budget is refused",
	  .needs = NEED_CPUS2 | NEED_CPUSET, .run = affinity_without_budget },
	{ "policy_without_budget", "cpuset", "FIFO where no allowed CPU has own budget is refused",
	  .needs = NEED_CPUS2 | NEED_CPUSET, .run = policy_without_budget },
	{ "carve_last_budget", "cpuset", "a child does not take a task's last budget",
	  .needs = NEED_CPUS2 | NEED_CPUSET, .run = carve_last_budget },
	{ "affinity_moves", "cpuset", "hogs move by affinity, running and throttled",
	  .needs = NEED_CPUS2, .run = affinity_moves },
	{ "fifo_finds_idle_cpu", "cpuset", "a root FIFO task wakes on the idle CPU",
	  .needs = NEED_CPUS2, .run = fifo_finds_idle_cpu },
	{}
};
