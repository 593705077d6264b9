// SPDX-License-Identifier: GPL-2.0-only
/* The rest of cgroup2: freezer, kill, threads; and autogroups. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dl_group_test.h"

static void freezer(void)
{
	struct task t[2];
	u64 usage, count;
	int i, round;

	g_make("a");
	g_set("a", "1000 20000");
	for (i = 0; i < 2; i++) {
		t[i] = (struct task){ .group = "a", .policy = SCHED_FIFO, .prio = 10 + i,
				      .cpu = cpus[0] };
		task_prepare(&t[i]);
	}
	tasks_go();
	for (round = 0; round < 4; round++) {
		/* once throttled, once wherever it is */
		if (round & 1)
			wait_throttled("a", cpus[0]);
		must(g_write("a", "cgroup.freeze", "1"));
		must(g_wait_event("a", "frozen", 1, MSEC(2000)));
		sleep_ms(20);
		usage = g_usage_ns("a");
		count = t[1].shm->count;
		sleep_ms(100);
		usage = g_usage_ns("a") - usage;
		count = t[1].shm->count - count;
		/* they are counted as frozen a little before they stop */
		expect(usage <= slack_ns(USEC(100)) && !count, "a frozen group ran for %llu ns and %llu rounds", usage,
		       count);
		must(g_write("a", "cgroup.freeze", "0"));
		must(g_wait_event("a", "frozen", 0, MSEC(2000)));
		wait_count(&t[1], 10, MSEC(2000));
	}
	/* numbers while it is frozen */
	must(g_write("a", "cgroup.freeze", "1"));
	must(g_wait_event("a", "frozen", 1, MSEC(2000)));
	g_set("a", "max");
	g_set("a", "2000 20000");
	must(g_write("a", "cgroup.freeze", "0"));
	wait_count(&t[1], 10, MSEC(2000));
}

static void kill_group(void)
{
	struct task t[6];
	int i, round;

	for (round = 0; round < 4; round++) {
		g_make("a");
		g_make("a/b");
		g_set("a", "500 20000");
		for (i = 0; i < 6; i++) {
			t[i] = (struct task){ .group = "a/b", .policy = SCHED_FIFO,
					      .prio = 10 + i % 3, .cpu = cpus[i % nr_cpus] };
			task_prepare(&t[i]);
		}
		tasks_go();
		if (round & 1)
			wait_throttled("a", cpus[0]);
		must(g_write("a", "cgroup.kill", "1"));
		must(g_wait_event("a", "populated", 0, MSEC(4000)));
		for (i = 0; i < 6; i++)
			expect(wait_exit(t[i].pid) == -SIGKILL, "a task ended by itself");
		g_rmdir("a/b");
		g_rmdir("a");
	}
}

/* One process, threads in two groups of a threaded subtree. */
struct thread {
	const char *group;
	atomic_int tid;
	atomic_int err;
	atomic_bool go;
	pthread_t id;
};

static void *thread_main(void *arg)
{
	struct thread *t = arg;

	t->err = set_cpu(0, cpus[0]);
	if (!t->err)
		t->err = g_write(t->group, "cgroup.threads", "0");
	if (!t->err)
		t->err = set_policy(0, SCHED_FIFO, 10);
	t->tid = syscall(SYS_gettid);
	while (!t->go)
		sleep_ms(1);
	for (;;)
		if (!t->go)
			break;
	return NULL;
}

static void threaded(void)
{
	struct thread t[3] = {
		{ .group = "dom/x" }, { .group = "dom/y" }, { .group = "dom" },
	};
	struct supply s[3] = {};
	pid_t tids[3];
	int i;

	g_make("dom");
	g_make("dom/x");
	g_make("dom/y");
	g_set("dom", "6000 20000");
	g_set("dom/x", "2000 20000");
	g_set("dom/y", "1000 20000");
	must(g_attach("dom", getpid()));
	must(g_write("dom/x", "cgroup.type", "threaded"));
	must(g_write("dom/y", "cgroup.type", "threaded"));
	/* The test itself is FIFO: out of the budget's way, and in no group. */
	must(set_policy(0, SCHED_OTHER, 0));
	for (i = 0; i < 3; i++) {
		must(-pthread_create(&t[i].id, NULL, thread_main, &t[i]));
		while (!t[i].tid)
			sleep_ms(1);
		expect(!t[i].err, "thread in '%s': %s", t[i].group, strerror(-t[i].err));
		tids[i] = t[i].tid;
	}
	trace_start();
	for (i = 0; i < 3; i++)
		t[i].go = true;
	sleep_ms(lane_tight ? 1100 : 2500);
	trace_stop();
	for (i = 0; i < 3; i++)
		t[i].go = false;
	for (i = 0; i < 3; i++) {
		/* the domain keeps what its two children leave: 3 ms */
		u64 runtime = MSEC(i == 0 ? 2 : i == 1 ? 1 : 3);

		s[i] = (struct supply){ .runtime = runtime, .period = MSEC(20), .cpu = cpus[0],
					.id = g_id(t[i].group), .pids = &tids[i], .nr_pids = 1 };
		trace_supply(&s[i]);
		expect(s[i].nr_replenish >= 40, "'%s': %llu replenishments", t[i].group,
		       s[i].nr_replenish);
		figure(s[i].received, "%s.received", t[i].group);
		expect(share_ok(s[i].received, s[i].last - s[i].first, runtime, MSEC(20)),
		       "'%s': received %llu ns in %llu ns, reserved %llu ns every 20 ms",
		       t[i].group, s[i].received, s[i].last - s[i].first, runtime);
	}
	for (i = 0; i < 3; i++)
		pthread_join(t[i].id, NULL);
}

/*
 * Autogroups are for sessions in the root cgroup: in a group of its own a task
 * is served by that, outside of one nothing is different for it.
 */
static void session_hog(struct task_shm *shm, void *arg)
{
	setsid();
	hog(shm, arg);
}

static void autogroup(void)
{
	struct task in = { .group = "a", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0],
			   .fn = session_hog };
	struct task out = { .group = "/", .policy = SCHED_FIFO, .prio = 5, .cpu = cpus[0],
			    .fn = session_hog };
	u64 before, usage, start, got, length;
	int on;

	g_make("a");
	g_set("a", "2000 20000");
	task_prepare(&in);
	task_prepare(&out);
	tasks_go();
	wait_count(&in, 10, MSEC(2000));
	wait_count(&out, 10, MSEC(2000));
	for (on = 0; on < 2; on++) {
		must(file_write("/proc/sys/kernel/sched_autogroup_enabled", "%d", on));
		before = task_cpu_ns(in.pid);
		usage = g_stat("a", "usage_usec");
		got = task_cpu_ns(out.pid);
		start = now_ns();
		sleep_ms(400);
		before = task_cpu_ns(in.pid) - before;
		got = task_cpu_ns(out.pid) - got;
		length = now_ns() - start;
		expect(before <= window_bound(MSEC(2), MSEC(20), length) + slack_ns(USEC(100)) &&
		       before >= at_least(length / 15), "%llu ns in %llu ns in the group", before, length);
		expect(USEC(g_stat("a", "usage_usec") - usage) + MSEC(1) >= before / 2,
		       "the group was not charged");
		expect(got >= at_least(length / 2), "the FIFO task outside has %llu ns of %llu ns", got,
		       length);
	}
}

/* A group is removed while a dead task of it has not been waited for. */
static void zombie_in_group(void)
{
	struct task t = { .group = "a", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0] };
	siginfo_t info;

	g_make("a");
	g_set("a", "2000 20000");
	task_start(&t);
	wait_throttled("a", cpus[0]);
	kill(t.pid, SIGKILL);
	expect(!waitid(P_PID, t.pid, &info, WEXITED | WNOWAIT), "waitid: %s", strerror(errno));
	g_rmdir("a");
	g_make("a");
	g_set("a", "80000 100000");
	wait_exit(t.pid);
}

const struct dl_group_test cgroup_tests[] = {
	{ "freezer", "cgroup", "a group is frozen, throttled or not", .run = freezer },
	{ "kill", "cgroup", "cgroup.kill ends a group, throttled or not", .run = kill_group },
	{ "threaded", "cgroup", "threads of a process in groups with numbers",
	  .needs = NEED_TRACE, .run = threaded },
	{ "autogroup", "cgroup", "sessions with and without autogroups",
	  .needs = NEED_AUTOGROUP, .run = autogroup },
	{ "zombie_in_group", "cgroup", "a group is removed with a zombie in it",
	  .run = zombie_in_group },
	{}
};
