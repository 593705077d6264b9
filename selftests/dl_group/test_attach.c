// SPDX-License-Identifier: GPL-2.0-only
/* Tasks that come, go, are born and die; groups that change under them. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dl_group_test.h"

/* Where the task is counts from now on: charged there, held to the budget. */
static void check_in(struct task *t, const char *g, u64 runtime, u64 period)
{
	u64 usage = g_stat(g, "usage_usec"), before = task_cpu_ns(t->pid), start = now_ns();
	u64 got, length;

	sleep_ns(20 * period);
	got = task_cpu_ns(t->pid) - before;
	length = now_ns() - start;
	expect(got <= window_bound(runtime, period, length) + slack_ns(USEC(100)) + got / 10 &&
	       got >= at_least(14 * runtime), "%llu ns in %llu ns in '%s'", got, length, g);
	expect(g_stat(g, "usage_usec") - usage >= got / 2000, "'%s' was not charged", g);
}

/* Outside of all reservations it runs at once, and on no group's account. */
static void check_out(struct task *t, const char *g)
{
	u64 usage, before = task_cpu_ns(t->pid);

	wait_count(t, 10, slack_ns(MSEC(5)));
	usage = g_stat(g, "usage_usec");
	sleep_ms(50);
	expect(task_cpu_ns(t->pid) - before >= at_least(MSEC(25)), "only %llu ns in 50 ms",
	       task_cpu_ns(t->pid) - before);
	expect(g_stat(g, "usage_usec") == usage, "'%s' is charged for a task that left", g);
}

static void attach_running(void)
{
	struct task t = { .group = "out", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0] };

	g_make("in");
	g_make("out");
	g_set("in", "2000 10000");
	task_start(&t);
	wait_count(&t, 10, MSEC(2000));
	must(g_attach("in", t.pid));
	check_in(&t, "in", MSEC(2), MSEC(10));
	must(g_attach("out", t.pid));
	check_out(&t, "in");
}

static void attach_throttled(void)
{
	struct task t = { .group = "one", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0] };
	int i;

	g_make("one");
	g_make("two");
	g_make("out");
	g_set("one", "500 50000");
	g_set("two", "1000 10000");
	task_start(&t);
	for (i = 0; i < 3; i++) {
		wait_throttled("one", cpus[0]);
		must(g_attach("out", t.pid));
		check_out(&t, "one");
		must(g_attach("one", t.pid));
		wait_throttled("one", cpus[0]);
		must(g_attach("two", t.pid));
		check_in(&t, "two", MSEC(1), MSEC(10));
		must(g_attach("one", t.pid));
	}
}

static void attach_sleeping(void)
{
	struct task t = { .group = "out", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0],
			  .fn = sleeper };
	u64 usage;
	int i;

	g_make("in");
	g_make("out");
	g_set("in", "2000 10000");
	task_start(&t);
	for (i = 0; i < 20; i++) {
		must(g_attach("in", t.pid));
		sleep_ns(USEC(1370) * i);
		must(g_attach("out", t.pid));
		sleep_ns(USEC(1310));
	}
	wait_count(&t, 5, MSEC(2000));
	must(g_attach("in", t.pid));
	usage = g_stat("in", "usage_usec");
	wait_count(&t, 5, MSEC(2000));
	expect(g_stat("in", "usage_usec") > usage, "the group is not charged");
}

static void attach_to_and_fro(void)
{
	struct task t = { .group = "a", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0] };
	struct task stay[2] = {
		{ .group = "a", .policy = SCHED_FIFO, .prio = 5, .cpu = cpus[0] },
		{ .group = "b", .policy = SCHED_FIFO, .prio = 5, .cpu = cpus[0] },
	};
	u64 a, b, start, length, bound;
	int i;

	g_make("a");
	g_make("b");
	g_set("a", "1000 4000");
	g_set("b", "2000 10000");
	task_prepare(&t);
	task_prepare(&stay[0]);
	task_prepare(&stay[1]);
	a = g_usage_ns("a");
	b = g_usage_ns("b");
	start = now_ns();
	tasks_go();
	for (i = 0; i < 300; i++) {
		must(g_attach(i & 1 ? "a" : "b", t.pid));
		sleep_ns(USEC(1131));
	}
	a = g_usage_ns("a") - a;
	b = g_usage_ns("b") - b;
	length = now_ns() - start;
	bound = window_bound(MSEC(1), MSEC(4), length);
	expect(a <= bound + slack_ns(USEC(100)), "a has %llu ns, at most %llu are due", a, bound);
	bound = window_bound(MSEC(2), MSEC(10), length);
	expect(b <= bound + slack_ns(USEC(100)), "b has %llu ns, at most %llu are due", b, bound);
	task_kill(&t);
	check_in(&stay[0], "a", MSEC(1), MSEC(4));
	check_in(&stay[1], "b", MSEC(2), MSEC(10));
}

/* clone3(CLONE_INTO_CGROUP): enters without the attach path. */
static void clone_into_group(void)
{
	struct task t = {};
	pid_t pid;

	g_make("in");
	g_set("in", "2000 10000");
	task_share(&t);
	pid = fork_child();
	if (!pid) {
		must(set_cpu(0, cpus[0]));
		must(set_policy(0, SCHED_FIFO, 10));
		t.pid = clone_into("in");
		if (!t.pid)
			hog(t.shm, NULL);
		t.shm->err = t.pid < 0 ? -t.pid : 0;
		t.shm->value = t.pid;
		wait_exit(t.pid);
		_exit(0);
	}
	while (!t.shm->value)
		sleep_ms(1);
	expect(!t.shm->err, "clone: %s", strerror(t.shm->err));
	t.pid = t.shm->value;
	expect(get_policy(t.pid) == SCHED_FIFO, "the clone has policy %d", get_policy(t.pid));
	wait_count(&t, 10, MSEC(2000));
	check_in(&t, "in", MSEC(2), MSEC(10));
}

static void fork_and_spin(struct task_shm *shm, void *arg)
{
	pid_t pid = fork();

	(void)arg;
	if (pid)
		shm->value = pid;
	hog(shm, NULL);
}

static void fork_inherits(void)
{
	struct task t = { .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0],
			  .fn = fork_and_spin };
	struct supply s = { .runtime = MSEC(2), .period = MSEC(10) };
	pid_t pids[2];
	u64 before;

	g_set("", "2000 10000");
	task_start(&t);
	wait_count(&t, 10, MSEC(2000));
	trace_start();
	sleep_ms(lane_tight ? 560 : 2000);
	trace_stop();
	pids[0] = t.pid;
	pids[1] = t.shm->value;
	expect(get_policy(pids[1]) == SCHED_FIFO, "the child has policy %d", get_policy(pids[1]));
	s.id = g_id("");
	s.cpu = cpus[0];
	s.pids = pids;
	s.nr_pids = 2;
	trace_supply(&s);
	expect(share_ok(s.received, s.last - s.first, s.runtime, s.period),
	       "parent and child have %llu ns of %llu ns, reserved 20 %%", s.received,
	       s.last - s.first);
	/* Its child has waited behind it, and would not make way for it to die. */
	must(set_policy(t.pid, SCHED_FIFO, 20));
	task_kill(&t);
	before = task_cpu_ns(pids[1]);
	sleep_ms(200);
	expect(task_cpu_ns(pids[1]) - before >= at_least(MSEC(20)), "the child does not run");
}

static void fork_bomb(void)
{
	struct task t = { .group = "", .policy = SCHED_RR, .prio = 10, .cpu = cpus[0],
			  .fn = fork_hog };
	struct task fair = { .cpu = cpus[0], .fn = plain_hog };
	u64 start, length, got, before, other, bound;

	must(file_write("/proc/sys/kernel/sched_rr_timeslice_ms", "4"));
	g_set("", "3000 10000");
	task_prepare(&t);
	task_prepare(&fair);
	before = g_usage_ns("");
	other = task_cpu_ns(fair.pid);
	start = now_ns();
	tasks_go();
	sleep_ms(lane_tight ? 1000 : 2500);
	/* where the kernel is slow a fork takes many budgets */
	while (!lane_tight && t.shm->count < 20 && now_ns() - start < MSEC(60000))
		sleep_ms(100);
	got = g_usage_ns("") - before;
	other = task_cpu_ns(fair.pid) - other;
	length = now_ns() - start;
	bound = window_bound(MSEC(3), MSEC(10), length);
	figure(got, "received");
	figure(t.shm->count, "forks");
	expect(t.shm->count >= 20, "only %llu forks: nothing was tested", t.shm->count);
	expect(got <= bound + slack_ns(USEC(100)) && got >= at_least(length / 5),
	       "the fork bomb has %llu ns of %llu ns, at most %llu are due", got, length, bound);
	expect(other >= at_least(length / 2), "the others have %llu ns of %llu ns, 70 %% are left", other,
	       length);
	t.shm->stop = 1;
	must(g_write("", "cgroup.kill", "1"));
	must(g_wait_event("", "populated", 0, MSEC(10000)));
}

/* A killed task has to run once more to die; it waits for its budget to. */
static void exit_throttled(void)
{
	struct task t[3];
	int i, round;

	/* dying takes some ms of CPU time where the CPU is emulated */
	g_set("", "2000 50000");
	for (round = 0; round < 4; round++) {
		for (i = 0; i < 3; i++) {
			t[i] = (struct task){ .group = "", .policy = SCHED_FIFO, .prio = 10 + i,
					      .cpu = cpus[0] };
			task_prepare(&t[i]);
		}
		tasks_go();
		wait_throttled("", cpus[0]);
		for (i = 0; i < 3; i++)
			kill(t[i].pid, SIGKILL);
		for (i = 0; i < 3; i++)
			expect(task_reaped(&t[i], MSEC(500) + 20 * slack_ns(0)),
			       "killed while throttled, not dead ten periods later");
	}
}

static void max_and_number(void)
{
	struct task t[3];
	int i;

	for (i = 0; i < 3; i++) {
		t[i] = (struct task){ .group = "a", .policy = i ? SCHED_FIFO : SCHED_RR,
				      .prio = i ? 10 : 12, .cpu = cpus[0] };
		if (!i)
			g_make("a");
		task_prepare(&t[i]);
	}
	tasks_go();
	for (i = 0; i < 100; i++) {
		g_set("a", "%d 10000", 500 + i * 20);
		sleep_ns(USEC(1700));
		g_set("a", "max");
		sleep_ns(USEC(700));
		if (i % 10 == 0) {
			g_set("", "50000 100000");
			sleep_ns(USEC(900));
			g_set("", "max");
		}
	}
	/* the order within the group has survived: the highest runs */
	g_set("a", "2000 10000");
	check_in(&t[0], "a", MSEC(2), MSEC(10));
	g_set("a", "max");
	check_out(&t[0], "a");
}

/* FIFO position survives: whoever came first stays first. */
static void order_kept(void)
{
	struct task t[4];
	int i, ran = 0;

	g_make("a");
	for (i = 0; i < 4; i++) {
		t[i] = (struct task){ .group = "a", .policy = SCHED_FIFO, .prio = 10,
				      .cpu = cpus[0] };
		task_prepare(&t[i]);
	}
	tasks_go();
	for (i = 0; i < 40; i++) {
		g_set("a", "5000 10000");
		sleep_ns(USEC(1900));
		g_set("a", "max");
		sleep_ns(USEC(1100));
	}
	g_set("a", "2000 10000");
	sleep_ms(100);
	for (i = 0; i < 4; i++)
		ran += !!t[i].shm->count;
	expect(ran == 1, "%d of 4 equal FIFO hogs ran, none of which ever gave way", ran);
}

static void rmdir_under_load(void)
{
	struct task t[4];
	int i, round;

	for (round = 0; round < 15; round++) {
		g_make("a");
		g_make("a/b");
		g_set("a", "%d 5000", 200 + 100 * round);
		if (round & 1)
			g_set("a/b", "100 5000");
		for (i = 0; i < 4; i++) {
			t[i] = (struct task){ .group = "a/b", .policy = SCHED_FIFO,
					      .prio = 1 + i, .cpu = cpus[i % nr_cpus] };
			task_prepare(&t[i]);
		}
		tasks_go();
		sleep_ns(USEC(3700));
		must(g_write("a", "cgroup.kill", "1"));
		g_rmdir("a/b");
		g_rmdir("a");
		for (i = 0; i < 4; i++)
			wait_exit(t[i].pid);
	}
}

/* Going to max with everybody throttled: they run at once. */
static void max_ends_throttle(void)
{
	struct task t = { .group = "a", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0] };
	int i;

	g_make("a");
	g_set("a", "500 500000");
	task_start(&t);
	wait_throttled("a", cpus[0]);
	for (i = 0; i < 3; i++) {
		g_set("a", "max");
		wait_count(&t, 10, slack_ns(MSEC(20)));
		g_set("a", "500 500000");
		sleep_ms(5);
	}
}

const struct dl_group_test attach_tests[] = {
	{ "attach_running", "attach", "a running task comes and goes", .run = attach_running },
	{ "attach_throttled", "attach", "a throttled task comes and goes",
	  .run = attach_throttled },
	{ "attach_sleeping", "attach", "a sleeping task comes and goes", .run = attach_sleeping },
	{ "attach_to_and_fro", "attach", "changing groups in a loop gains nothing",
	  .run = attach_to_and_fro },
	{ "clone_into_group", "attach", "a task is cloned into a group", .run = clone_into_group },
	{ "fork_inherits", "attach", "children share the budget of their parent",
	  .needs = NEED_TRACE, .run = fork_inherits },
	{ "fork_bomb", "attach", "a fork bomb stays inside the budget", .run = fork_bomb },
	{ "exit_throttled", "attach", "tasks killed while throttled die", .run = exit_throttled },
	{ "max_and_number", "attach", "max and numbers in turn with hogs inside",
	  .run = max_and_number },
	{ "order_kept", "attach", "the order of the queue survives max and back",
	  .run = order_kept },
	{ "rmdir_under_load", "attach", "groups are killed and removed under load",
	  .timeout_s = 400, .run = rmdir_under_load },
	{ "max_ends_throttle", "attach", "going to max frees throttled tasks at once",
	  .run = max_ends_throttle },
	{}
};
