// SPDX-License-Identifier: GPL-2.0-only
/* Cpusets, partitions and affinity: servers follow, nobody is left alone. */
#include <errno.h>
#include <pthread.h>
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

/* One for which there is no room does not keep out another for which there is. */
static void refused_leaves_room(void)
{
	u64 runtime, period;

	g_make("big");
	g_make("small");
	g_make("there");
	must(g_write("big", "cpuset.cpus", "%d", cpus[0]));
	must(g_write("small", "cpuset.cpus", "%d", cpus[0]));
	must(g_write("there", "cpuset.cpus", "%d", cpus[1]));
	g_set("big", "60000 100000");
	g_set("small", "20000 100000");
	g_set("there", "50000 100000");
	must(g_write("big", "cpuset.cpus", "%d-%d", cpus[0], cpus[1]));
	must(g_write("small", "cpuset.cpus", "%d-%d", cpus[0], cpus[1]));
	expect(g_own_runtime("big", cpus[1], &runtime, &period) && runtime == 0,
	       "%llu us on CPU %d where they do not fit", runtime, cpus[1]);
	expect(g_own_runtime("small", cpus[1], &runtime, &period) && runtime == 20000,
	       "%llu us on CPU %d where 20000 fit", runtime, cpus[1]);
	expect_group_bw(cpus[1], util(50, 100) + util(20, 100), "there and small");
}

/*
 * A smaller number fits on both CPUs beside SCHED_DEADLINE tasks, though the larger
 * one that it replaces is promised still on the one CPU that it had.
 */
static void smaller_fits_on_both(void)
{
	struct task t[MAX_CPUS];
	u64 runtime, period;
	int i;

	for (i = 0; i < nr_cpus; i++) {
		t[i] = (struct task){ .policy = SCHED_DEADLINE, .cpu = ANY_CPU, .fn = sleeper,
				      .dl_period = MSEC(100),
				      .dl_runtime = MSEC(90) - MSEC(85) / nr_cpus };
		task_start(&t[i]);
	}
	g_make("a");
	must(g_write("a", "cpuset.cpus", "%d", cpus[0]));
	g_set("a", "50000 100000");
	must(g_write("a", "cpuset.cpus", "%d-%d", cpus[0], cpus[1]));
	expect(g_own_runtime("a", cpus[1], &runtime, &period) && runtime == 0,
	       "%llu us on CPU %d where they do not fit", runtime, cpus[1]);
	expect_refused(g_try("a", "43000 100000"), ENOSPC);
	g_set("a", "40000 100000");
	g_expect("a", "cpu.rt.max.effective.local", "40000 100000\n");
}

/* No room on the new CPU: the change is made, the server comes when it fits. */
static void grow_without_room(void)
{
	struct task t = { .group = "a", .policy = SCHED_FIFO, .prio = 10, .cpu = ANY_CPU };
	u64 runtime, period, usage;
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
	/* only there: it runs, but as a task of no group */
	expect(!g_stat("a", "nr_unserved"), "the hog ran unserved where there was a server");
	must(g_write("a", "cpuset.cpus", "%d", cpus[1]));
	check_alive(&t);
	usage = g_stat("a", "usage_usec");
	check_alive(&t);
	expect(g_stat("a", "nr_unserved") > 0, "the hog runs unserved, and that is not counted");
	expect(g_stat("a", "usage_usec") == usage, "charged where there is no server");
	must(g_write("a", "cpuset.cpus", "%d-%d", cpus[0], cpus[1]));
	expect(g_own_runtime("a", cpus[1], &runtime, &period) && runtime == 0,
	       "%llu us on CPU %d where nothing was left", runtime, cpus[1]);
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

/* The same where it is the fair server that makes room. */
static void fair_server_makes_room(void)
{
	u64 runtime, period, end;

	/* the end of the cgroups of earlier tests is a reason to look, too */
	sleep_ms(500);
	must(file_write(fair_file(cpus[1], "runtime"), "250000000"));
	g_make("a");
	must(g_write("a", "cpuset.cpus", "%d", cpus[0]));
	g_set("a", "80000 100000");
	must(g_write("a", "cpuset.cpus", "%d-%d", cpus[0], cpus[1]));
	expect(g_own_runtime("a", cpus[1], &runtime, &period) && runtime == 0,
	       "%llu us on CPU %d where nothing was left", runtime, cpus[1]);
	must(file_write(fair_file(cpus[1], "runtime"), "50000000"));
	end = now_ns() + MSEC(1000);
	do
		g_own_runtime("a", cpus[1], &runtime, &period);
	while (runtime != 80000 && now_ns() < end);
	expect(runtime == 80000, "%llu us on CPU %d a second after there was room", runtime,
	       cpus[1]);
}

/* Or until a SCHED_DEADLINE task has left, at its zero-lag time. */
static void deadline_makes_room(void)
{
	struct task dl[MAX_CPUS];
	u64 runtime, period, end;
	int i;

	/* the end of the cgroups of earlier tests is a reason to look, too */
	sleep_ms(500);
	g_make("a");
	must(g_write("a", "cpuset.cpus", "%d", cpus[0]));
	g_set("a", "85000 100000");
	/* 30 % are too much beside twice 85 %; other CPUs are full */
	for (i = 1; i < nr_cpus; i++) {
		dl[i] = (struct task){ .policy = SCHED_DEADLINE, .cpu = ANY_CPU, .fn = sleeper,
				       .dl_runtime = MSEC(i == 1 ? 30 : 90),
				       .dl_period = MSEC(100) };
		task_start(&dl[i]);
	}
	must(g_write("a", "cpuset.cpus", "%d-%d", cpus[0], cpus[1]));
	expect(g_own_runtime("a", cpus[1], &runtime, &period) && runtime == 0,
	       "%llu us on CPU %d where nothing was left", runtime, cpus[1]);
	task_kill(&dl[1]);
	end = now_ns() + MSEC(1000);
	do
		g_own_runtime("a", cpus[1], &runtime, &period);
	while (runtime != 85000 && now_ns() < end);
	expect(runtime == 85000, "%llu us on CPU %d a second after there was room", runtime,
	       cpus[1]);
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

/* The first CPU that was isolated at boot, -1 if none was. */
static int isolated_cpu(void)
{
	FILE *file = fopen("/sys/devices/system/cpu/isolated", "r");
	int cpu = -1;

	if (!file)
		return -1;
	if (fscanf(file, "%d", &cpu) != 1)
		cpu = -1;
	fclose(file);
	return cpu;
}

static const char *check_isolated(void)
{
	return isolated_cpu() < 0 ? "no CPU is isolated: needs isolcpus=" : NULL;
}

/*
 * An isolated CPU is in no scheduling domain, and in the default root domain. A
 * group has its budget there as anywhere else, for tasks that go there.
 */
static void isolated_at_boot(void)
{
	int cpu = isolated_cpu();
	struct reservation r[] = {
		{ .name = "a", .runtime_us = 5000, .period_us = 20000 },
		{ .name = "b", .runtime_us = 20000, .period_us = 50000 },
	};
	struct headroom before, h;
	int i;

	read_headroom(&before);
	reserve(r, 2, cpu);
	supply_measure(r, 2, cpu);
	for (i = 0; i < 2; i++) {
		supply_check(&r[i]);
		task_kill(&r[i].task[0]);
	}
	g_make("c");
	expect_refused(g_try("c", "40000 100000"), ENOSPC);
	g_set("a", "max");
	g_set("b", "max");
	read_headroom(&h);
	expect(h.free[cpu] == before.free[cpu], "%llu free of CPU %d, and %llu before",
	       h.free[cpu], cpu, before.free[cpu]);
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
	expect(get_policy(dl.pid) == SCHED_OTHER, "the policy changed");
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
	expect(get_policy(dl.pid) == SCHED_OTHER, "the policy changed");
	must(set_deadline(dl.pid, MSEC(29), MSEC(100)));
	task_kill(&dl);
}

static void *deadline_thread(void *arg)
{
	struct task_shm *shm = arg;

	shm->err = -set_deadline(0, MSEC(1), MSEC(10));
	while (!shm->stop) {
		shm->count++;
		sleep_ms(2);
	}
	return NULL;
}

static void with_deadline_thread(struct task_shm *shm, void *arg)
{
	pthread_t thread;

	(void)arg;
	if (pthread_create(&thread, NULL, deadline_thread, shm))
		shm->err = EAGAIN;
	for (;;)
		pause();
}

/* What the cpuset controller has not reserved it does not give back. */
static void refused_attach(void)
{
	struct task t = { .group = "a", .policy = SCHED_FIFO, .prio = 1, .cpu = ANY_CPU,
			  .fn = with_deadline_thread };
	struct headroom before, h;
	int i;

	g_make("a");
	g_make("b");
	g_set("b", "0");
	task_start(&t);
	wait_count(&t, 1, MSEC(2000));
	expect(!t.shm->err, "SCHED_DEADLINE: %s", strerror(t.shm->err));
	read_headroom(&before);
	for (i = 0; i < 3; i++) {
		expect(g_attach("b", t.pid) == -EINVAL, "a FIFO task was let in");
		read_headroom(&h);
		expect(h.tasks[cpus[0]] == before.tasks[cpus[0]],
		       "%llu are left of SCHED_DEADLINE tasks, were %llu", h.tasks[cpus[0]],
		       before.tasks[cpus[0]]);
	}
	task_kill(&t);
}

/* A task that is moved in its sleep is on a CPU of the root domain it has left. */
static void deadline_moved_asleep(void)
{
	struct task t = { .group = "one", .cpu = ANY_CPU, .fn = long_sleeper };
	int cpu = cpus[nr_cpus - 1], i;
	struct headroom before, h;
	u64 bw;

	g_make("one");
	g_make("p");
	must(g_write("p", "cpuset.cpus", "%d", cpu));
	set_partition("p", cpu, "root");
	read_headroom(&before);
	for (i = 0; i < 3; i++) {
		task_start(&t);
		sleep_ms(20);
		must(set_deadline(t.pid, MSEC(2), MSEC(10)));
		sleep_ms(20);
		read_headroom(&h);
		bw = h.tasks[cpus[0]] - before.tasks[cpus[0]];
		must(g_attach("p", t.pid));
		expect_tasks(&before, cpus[0], 0, "the domain that it has left");
		expect_tasks(&before, cpu, bw, "the domain that it has come to");
		if (i == 1) {
			must(g_attach("one", t.pid));
			expect_tasks(&before, cpus[0], bw, "the domain that it is back in");
			expect_tasks(&before, cpu, 0, "the domain that it has left again");
		}
		if (i == 2)
			must(set_policy(t.pid, SCHED_OTHER, 0));
		task_kill(&t);
		expect_tasks(&before, cpus[0], 0, "the first domain, without the task");
		expect_tasks(&before, cpu, 0, "the second domain, without the task");
	}
}

/*
 * It has left SCHED_DEADLINE, moves to another root domain, and is back before its
 * zero-lag time: what was left of it in the first domain must not stay there.
 */
static void deadline_back_elsewhere(void)
{
	struct task t = { .group = "one", .cpu = ANY_CPU, .fn = plain_hog };
	int cpu = cpus[nr_cpus - 1];
	struct headroom before, h;

	g_make("one");
	g_make("p");
	must(g_write("p", "cpuset.cpus", "%d", cpu));
	set_partition("p", cpu, "root");
	read_headroom(&before);
	task_start(&t);
	must(set_deadline(t.pid, MSEC(200), MSEC(2000)));
	/* so that its zero-lag time is far away */
	wait_count(&t, 1000, MSEC(1000));
	sleep_ms(100);
	must(set_policy(t.pid, SCHED_OTHER, 0));
	must(g_attach("p", t.pid));
	read_headroom(&h);
	expect(h.tasks[cpus[0]] > before.tasks[cpus[0]], "its zero-lag time has been already");
	must(set_deadline(t.pid, MSEC(100), MSEC(2000)));
	expect_tasks(&before, cpus[0], 0, "the domain that it has left");
	task_kill(&t);
	expect_tasks(&before, cpu, 0, "the second domain, without the task");
}

/* A group that goes from one CPU to another is not in its own way. */
static void moved_when_full(void)
{
	int runtime_us = 90000 - 75000 / nr_cpus, i;
	struct task t[MAX_CPUS];

	g_make("a");
	must(g_write("a", "cpuset.cpus", "%d", cpus[nr_cpus - 1]));
	g_set("a", "50000 100000");
	for (i = 0; i < nr_cpus; i++) {
		t[i] = (struct task){ .cpu = ANY_CPU, .fn = long_sleeper };
		task_start(&t[i]);
		must(set_deadline(t[i].pid, USEC(runtime_us), MSEC(100)));
	}
	must(g_write("a", "cpuset.cpus", "%d", cpus[0]));
	expect_group_bw(cpus[nr_cpus - 1], 0, "the CPU that it has left");
	expect_group_bw(cpus[0], util(50, 100), "the CPU that it has come to");
	for (i = 0; i < nr_cpus; i++)
		task_kill(&t[i]);
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

	g_make("max");
	g_make("child");
	must(g_write("child", "cpuset.cpus", "%d", cpus[1]));
	g_set("", "5000 20000");
	g_set("child", "5000 20000");
	expect(g_own_runtime("", cpus[1], &runtime, &period) && !runtime,
	       "%llu us are left on CPU %d", runtime, cpus[1]);
	task_start(&t);
	expect_refused(set_cpu(t.pid, cpus[1]), EINVAL);
	check_alive(&t);
	must(set_cpu(t.pid, cpus[0]));
	check_alive(&t);
	/* nor may the child take the other CPU */
	expect_refused(g_try("child", "max") ?: g_write("child", "cpuset.cpus", "%d", cpus[1]) ?:
		       g_try("child", "5000 20000"), 0);
}

/*
 * The CPU that was asked for is not in its cpuset, but in the one that it is moved
 * to: there it would be where nothing is left.
 */
static void attach_without_budget(void)
{
	struct task t = { .cpu = cpus[0], .fn = sleeper };

	g_make("from");
	must(g_write("from", "cpuset.cpus", "%d", cpus[1]));
	g_make("p");
	g_make("p/max");
	g_make("p/child");
	must(g_write("p/child", "cpuset.cpus", "%d", cpus[0]));
	g_set("p", "5000 20000");
	g_set("p/child", "5000 20000");
	task_start(&t);
	must(g_attach("from", t.pid));
	must(set_policy(t.pid, SCHED_FIFO, 10));
	expect_refused(g_attach("p/max", t.pid), EINVAL);
	must(set_cpu(t.pid, ANY_CPU));
	must(g_attach("p/max", t.pid));
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

/* To the CPU of the hog, when that is throttled, and free to leave. */
static void go_beside_hog(long policy, u64 runtime)
{
	/* bound to a CPU there are no SCHED_DEADLINE tasks */
	must(set_policy(0, SCHED_FIFO, 50));
	must(set_cpu(0, cpus[0]));
	must(set_cpu(0, ANY_CPU));
	if (policy == SCHED_DEADLINE)
		must(set_deadline(0, runtime, MSEC(1000)));
}

#define NR_WAKEUPS	10

/*
 * Wakes when the hog is not throttled: 30 ms after one of the 20 ms in which it
 * does not run come 50 in which it does.
 */
static void waker(struct task_shm *shm, void *arg)
{
	int i;

	for (i = 0; i < NR_WAKEUPS; i++) {
		go_beside_hog((long)arg, MSEC(50));
		shm->gaps[i].from = now_ns() + MSEC(30);
		sleep_until(shm->gaps[i].from);
		shm->gaps[i].to = now_ns();
	}
}

/* Enough, and less in all than a SCHED_DEADLINE task has. */
#define NR_MEETINGS	4

/* Still runs when the hog comes back after 40 ms. */
static void spinner(struct task_shm *shm, void *arg)
{
	unsigned int cpu;
	int i;

	for (i = 0; i < NR_MEETINGS; i++) {
		u64 now, last, end;

		go_beside_hog((long)arg, MSEC(250));
		now = now_ns();
		end = now + MSEC(50);
		do {
			last = now;
			now = now_ns();
			if (now - last > shm->value)
				shm->value = now - last;
		} while (now < end);
		getcpu(&cpu, NULL);
		shm->count += (int)cpu != cpus[0];
	}
}

/*
 * A hog, beside a task of no group that goes to its CPU. The hog may run on
 * every CPU, or root tasks would avoid it for that; but elsewhere all of the
 * runtime is carved out.
 */
static void start_beside_hog(struct task *t, struct task *w, int runtime_us)
{
	/* turns shorter than what is measured */
	start_pacer(USEC(25));
	g_make("a");
	g_make("rest");
	must(g_write("rest", "cpuset.cpus", "%d-%d", cpus[1], cpus[nr_cpus - 1]));
	g_set("", "%d 100000", runtime_us);
	g_set("rest", "%d 100000", runtime_us);
	task_start(t);
	wait_count(t, 100, MSEC(2000));
	trace_start_wakeups();
	task_start(w);
	expect(!wait_exit(w->pid), "the task beside the hog failed");
	trace_stop();
}

/*
 * How long the task may not run. In a loose lane a SCHED_DEADLINE task has to
 * pay for what the host takes from it, however much that is.
 */
static u64 longest_delay(long policy, u64 tight)
{
	if (lane_tight)
		return tight;
	return policy == SCHED_DEADLINE ? ULLONG_MAX : slack_ns(0);
}

static void displaced_by_hog(long policy)
{
	struct task t = { .group = "a", .policy = SCHED_FIFO, .prio = 10, .cpu = ANY_CPU };
	struct task w = { .cpu = ANY_CPU, .fn = spinner, .arg = (void *)policy };

	start_beside_hog(&t, &w, 60000);
	figure(w.shm->value, "longest");
	expect(w.shm->count >= (lane_tight ? NR_MEETINGS : NR_MEETINGS / 4),
	       "left the CPU of the hog %llu times of %d", w.shm->count, NR_MEETINGS);
	/* both CPUs are busy then, and take turns; else it waits for a throttle: 60 ms */
	expect(w.shm->value <= longest_delay(policy, MSEC(1)),
	       "did not run for %llu ns beside an idle CPU", w.shm->value);
}

static void fifo_displaced(void)
{
	displaced_by_hog(SCHED_FIFO);
}

static void deadline_displaced(void)
{
	displaced_by_hog(SCHED_DEADLINE);
}

static void wake_beside_hog(long policy)
{
	struct task t = { .group = "a", .policy = SCHED_FIFO, .prio = 10, .cpu = ANY_CPU };
	struct task w = { .cpu = ANY_CPU, .fn = waker, .arg = (void *)policy };
	int i, beside = 0, there = 0, at_once = 0;
	struct wakeup wakeup;
	u64 latest = 0;

	start_beside_hog(&t, &w, 80000);
	for (i = 0; i < NR_WAKEUPS; i++) {
		trace_wakeup(w.pid, w.shm->gaps[i].from, cpus[0], &wakeup);
		if (wakeup.latency > latest)
			latest = wakeup.latency;
		at_once += wakeup.latency <= USEC(100);
		if (wakeup.beside != t.pid)
			continue;
		beside++;
		there += wakeup.cpu == cpus[0];
	}
	figure(latest, "latest");
	figure(at_once, "at_once");
	figure(beside, "beside_hog");
	/* where the host delays it, a wakeup may come after those 50 ms */
	expect(beside >= (lane_tight ? NR_WAKEUPS : NR_WAKEUPS / 4),
	       "the hog ran at %d of %d wakeups", beside, NR_WAKEUPS);
	/* and the other CPU may be held up in the middle of something higher */
	expect(there <= (lane_tight ? 0 : NR_WAKEUPS / 4),
	       "woke %d of %d times on the CPU of the group's hog", there, beside);
	expect(latest <= longest_delay(policy, slack_ns(USEC(100))),
	       "ran up to %llu ns late beside an idle CPU", latest);
	/* the rest is for turns of the CPUs that come late */
	if (lane_tight)
		expect(at_once >= NR_WAKEUPS * 3 / 4,
		       "ran within 0.1 ms of %d wakeups of %d beside an idle CPU", at_once,
		       NR_WAKEUPS);
}

static void fifo_finds_idle_cpu(void)
{
	wake_beside_hog(SCHED_FIFO);
}

static void deadline_finds_idle_cpu(void)
{
	wake_beside_hog(SCHED_DEADLINE);
}

const struct dl_group_test cpuset_tests[] = {
	{ "change_throttled", "cpuset", "cpuset.cpus changes under a throttled hog",
	  .needs = NEED_CPUS2 | NEED_CPUSET | NEED_HEADROOM, .run = change_throttled },
	{ "smaller_fits_on_both", "cpuset", "what is replaced takes no room of what comes",
	  .needs = NEED_CPUS2 | NEED_CPUSET, .run = smaller_fits_on_both },
	{ "grow_without_room", "cpuset", "a new CPU without room has no server until it fits",
	  .needs = NEED_CPUS2 | NEED_CPUSET | NEED_HEADROOM, .run = grow_without_room },
	{ "refused_leaves_room", "cpuset", "a group that does not fit keeps out none that does",
	  .needs = NEED_CPUS2 | NEED_CPUSET | NEED_HEADROOM, .run = refused_leaves_room },
	{ "fair_server_makes_room", "cpuset", "nor until the fair server has made room for it",
	  .needs = NEED_CPUS2 | NEED_CPUSET | NEED_HEADROOM, .run = fair_server_makes_room },
	{ "deadline_makes_room", "cpuset", "nor until a SCHED_DEADLINE task has made room for it",
	  .needs = NEED_CPUS2 | NEED_CPUSET | NEED_HEADROOM, .run = deadline_makes_room },
	{ "partition_root", "cpuset", "a root partition comes and goes under throttled hogs",
	  .needs = NEED_CPUS2 | NEED_CPUSET | NEED_HEADROOM, .run = partition_root },
	{ "isolated_at_boot", "cpuset", "a CPU of isolcpus=",
	  .needs = NEED_TRACE | NEED_HEADROOM, .feature_check = check_isolated,
	  .run = isolated_at_boot },
	{ "partition_isolated", "cpuset", "the same, isolated",
	  .needs = NEED_CPUS2 | NEED_CPUSET | NEED_HEADROOM, .run = partition_isolated },
	{ "partition_keeps_bandwidth", "cpuset", "root domains keep what is admitted when rebuilt",
	  .needs = NEED_CPUS2 | NEED_CPUSET, .run = partition_keeps_bandwidth },
	{ "rebuild_while_leaving", "cpuset", "root domains are rebuilt while a task leaves SCHED_DEADLINE",
	  .needs = NEED_CPUS2 | NEED_CPUSET, .run = rebuild_while_leaving },
	{ "refused_attach", "cpuset", "a refused attach takes no bandwidth of SCHED_DEADLINE tasks",
	  .needs = NEED_CPUSET | NEED_HEADROOM, .run = refused_attach },
	{ "deadline_moved_asleep", "cpuset", "a SCHED_DEADLINE task changes root domain in its sleep",
	  .needs = NEED_CPUS2 | NEED_CPUSET | NEED_HEADROOM, .run = deadline_moved_asleep },
	{ "deadline_back_elsewhere", "cpuset",
	  "SCHED_DEADLINE again in another root domain, before the zero-lag time",
	  .needs = NEED_CPUS2 | NEED_CPUSET | NEED_HEADROOM, .run = deadline_back_elsewhere },
	{ "moved_when_full", "cpuset", "a group goes from CPU to CPU where it fits only once",
	  .needs = NEED_CPUS2 | NEED_CPUSET | NEED_HEADROOM, .run = moved_when_full },
	{ "partition_when_full", "cpuset", "no partition is refused for a reservation",
	  .needs = NEED_CPUS2 | NEED_CPUSET, .run = partition_when_full },
	{ "affinity_without_budget", "cpuset", "affinity to CPUs without own budget is refused",
	  .needs = NEED_CPUS2 | NEED_CPUSET, .run = affinity_without_budget },
	{ "attach_without_budget", "cpuset",
	  "attaching where the CPU asked for has no own budget is refused",
	  .needs = NEED_CPUS2 | NEED_CPUSET, .run = attach_without_budget },
	{ "policy_without_budget", "cpuset", "FIFO where no allowed CPU has own budget is refused",
	  .needs = NEED_CPUS2 | NEED_CPUSET, .run = policy_without_budget },
	{ "carve_last_budget", "cpuset", "a child does not take a task's last budget",
	  .needs = NEED_CPUS2 | NEED_CPUSET, .run = carve_last_budget },
	{ "affinity_moves", "cpuset", "hogs move by affinity, running and throttled",
	  .needs = NEED_CPUS2, .run = affinity_moves },
	{ "fifo_finds_idle_cpu", "cpuset", "a root FIFO task wakes on the idle CPU",
	  .needs = NEED_CPUS2 | NEED_CPUSET | NEED_TRACE, .run = fifo_finds_idle_cpu },
	{ "deadline_finds_idle_cpu", "cpuset", "so does a SCHED_DEADLINE task of a later deadline",
	  .needs = NEED_CPUS2 | NEED_CPUSET | NEED_TRACE, .run = deadline_finds_idle_cpu },
	{ "fifo_displaced", "cpuset", "a root FIFO task makes room and goes to the idle CPU",
	  .needs = NEED_CPUS2 | NEED_CPUSET | NEED_TRACE, .run = fifo_displaced },
	{ "deadline_displaced", "cpuset", "so does a SCHED_DEADLINE task of a later deadline",
	  .needs = NEED_CPUS2 | NEED_CPUSET | NEED_TRACE, .run = deadline_displaced },
	{}
};
