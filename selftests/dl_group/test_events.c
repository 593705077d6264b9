// SPDX-License-Identifier: GPL-2.0-only
/* cpu.rt.events and who waits for it; the trace events that are not of the supply. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "dl_group_test.h"

struct events {
	u64 throttled, overrun, lost;
};

static struct events parse_events(const char *text)
{
	struct events e;
	int at = 0;

	expect(sscanf(text, "throttled %llu overrun %llu lost %llu%n", &e.throttled, &e.overrun,
		      &e.lost, &at) == 3 && !strcmp(text + at, "\n"),
	       "cpu.rt.events reads '%s'", text);
	return e;
}

static struct events read_events(const char *g)
{
	char buf[256];

	g_read(g, "cpu.rt.events", buf, sizeof(buf));
	return parse_events(buf);
}

static void expect_lost(const char *g, u64 want, const char *when)
{
	u64 lost = read_events(g).lost;

	expect(lost == want, "'%s' has lost %llu CPUs %s, expected %llu", g, lost, when, want);
}

/* Somebody who waits for the file of a group, and has seen what is in it. */
static int open_events(const char *g)
{
	int fd = open(g_path(g, "cpu.rt.events"), O_RDONLY | O_CLOEXEC);
	char c;

	expect(fd >= 0, "open cpu.rt.events of '%s': %s", g, strerror(errno));
	expect(read(fd, &c, 1) == 1, "read cpu.rt.events of '%s': %s", g, strerror(errno));
	return fd;
}

static struct events reread_events(int fd)
{
	char buf[256];
	ssize_t len = pread(fd, buf, sizeof(buf) - 1, 0);

	expect(len > 0, "read cpu.rt.events: %s", strerror(errno));
	buf[len] = '\0';
	return parse_events(buf);
}

static bool fires(int fd, short what, u64 timeout_ns)
{
	struct pollfd p = { .fd = fd, .events = what };
	int ret = poll(&p, 1, timeout_ns / NSEC_PER_MSEC);

	expect(ret >= 0, "poll: %s", strerror(errno));
	return ret && (p.revents & what);
}

static void start_hog(const char *g, struct task *t, int cpu)
{
	*t = (struct task){ .group = g, .policy = SCHED_FIFO, .prio = 10, .cpu = cpu };
	task_start(t);
}

/* Three keys, zero without a number and with a new one. */
static void format(void)
{
	static const char zero[] = "throttled 0\noverrun 0\nlost 0\n";
	struct task t;

	g_expect("", "cpu.rt.events", zero);
	g_set("", "2000 20000");
	g_expect("", "cpu.rt.events", zero);
	start_hog("", &t, cpus[0]);
	wait_throttled("", cpus[0]);
	expect(read_events("").throttled > 0, "throttled, and not counted");
	task_kill(&t);
	g_set("", "max");
	g_expect("", "cpu.rt.events", zero);
}

static void counts_agree(void)
{
	struct events e;
	struct task t;

	g_make("child");
	g_set("", "4000 20000");
	g_set("child", "1000 20000");
	start_hog("child", &t, cpus[0]);
	wait_throttled("child", cpus[0]);
	wait_throttled("child", cpus[0]);
	task_finish(&t, MSEC(20));
	/* all is over: what is counted stays */
	sleep_ms(lane_tight ? 50 : 500);
	e = read_events("child");
	expect(e.throttled >= 2, "%llu times throttled, expected 2 or more", e.throttled);
	expect(e.throttled == g_stat("child", "nr_throttled"),
	       "%llu throttled, nr_throttled is %llu", e.throttled,
	       g_stat("child", "nr_throttled"));
	expect(e.overrun == g_stat("child", "nr_overruns"), "%llu overrun, nr_overruns is %llu",
	       e.overrun, g_stat("child", "nr_overruns"));
	/* what a group's descendants do is theirs */
	g_expect("", "cpu.rt.events", "throttled 0\noverrun 0\nlost 0\n");
}

static void poll_throttled(void)
{
	struct events e, before = {};
	struct task t;
	int fd, i;

	g_make("other");
	g_set("other", "2000 20000");
	g_set("", "4000 20000");
	fd = open_events("");
	expect(!fires(fd, POLLPRI, MSEC(100)), "an event of a group without tasks");
	start_hog("other", &t, cpus[0]);
	wait_throttled("other", cpus[0]);
	task_finish(&t, MSEC(20));
	expect(!fires(fd, POLLPRI, MSEC(100)), "an event of another group");
	start_hog("", &t, cpus[0]);
	for (i = 0; i < 3; i++) {
		/* one that was read early has its event later */
		do {
			expect(fires(fd, POLLPRI, patience(MSEC(500))),
			       "throttled without an event");
			e = reread_events(fd);
		} while (e.throttled <= before.throttled);
		before = e;
	}
	close(fd);
}

static void inotify_throttled(void)
{
	struct inotify_event event = {};
	int fd = inotify_init1(IN_CLOEXEC), watch;
	struct task t;

	g_set("", "2000 20000");
	watch = inotify_add_watch(fd, g_path("", "cpu.rt.events"), IN_MODIFY);
	expect(watch >= 0, "inotify_add_watch: %s", strerror(errno));
	expect(!fires(fd, POLLIN, MSEC(100)), "an event of a group without tasks");
	start_hog("", &t, cpus[0]);
	expect(fires(fd, POLLIN, patience(MSEC(500))), "throttled without an event");
	/* of a file, not of a directory: without a name */
	expect(read(fd, &event, sizeof(event)) == sizeof(event) && event.wd == watch &&
	       event.mask == IN_MODIFY, "the event is of kind %x", event.mask);
	expect(read_events("").throttled > 0, "an event, and nothing was throttled");
	close(fd);
}

/*
 * The budget ends in the middle of the section, and is overrun at the end of it:
 * two events, of which the second comes alone. The next budget is far away.
 */
static void poll_overrun(void)
{
	struct task t = { .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0],
			  .fn = overrun_hog };
	struct events e = {}, before;
	int fd;

	overrun_setup();
	g_set("", "1000 1000000");
	fd = open_events("");
	task_start(&t);
	do {
		before = e;
		expect(fires(fd, POLLPRI, patience(MSEC(3000))), "overrun without an event");
		e = reread_events(fd);
	} while (!e.overrun);
	expect(e.throttled > 0, "overrun, and not throttled");
	/* was that of the throttle? the host may have both within one tick */
	if (lane_tight && e.throttled > before.throttled) {
		expect(fires(fd, POLLPRI, MSEC(100)), "an overrun without an event");
		before = reread_events(fd);
		expect(before.throttled == e.throttled, "throttled once more");
	}
	expect(g_stat("", "overrun_usec_max") >= (lane_tight ? 1000 : 100), "an overrun of %llu us only",
	       g_stat("", "overrun_usec_max"));
	close(fd);
	g_set("", "max");
}

static void cpu_online(int cpu, int on)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	must(file_write(path, "%d", on));
}

/* The last CPU: never the one that cannot go. */
static int last_cpu(void)
{
	return cpus[nr_cpus - 1];
}

static void lost_offline(void)
{
	int cpu = last_cpu(), i;

	g_make("max");
	g_make("none");
	g_make("child");
	g_set("", "20000 100000");
	g_set("child", "5000 50000");
	g_set("none", "0");
	for (i = 0; i < 3; i++) {
		cpu_online(cpu, 0);
		expect_lost("", i + 1, "with the CPU");
		expect_lost("child", i + 1, "with the CPU");
		cpu_online(cpu, 1);
		expect_lost("", i + 1, "and one has come back");
		expect_lost("child", i + 1, "and one has come back");
	}
	/* they had nothing there */
	expect_lost("max", 0, "without a number");
	expect_lost("none", 0, "without runtime");
	/* promised, and there again */
	sleep_ms(20);
	expect_lost("", 3, "and nothing happened since");
}

static void lost_cpuset(void)
{
	g_make("a");
	g_make("a/b");
	g_make("beside");
	must(g_write("a", "cpuset.cpus", "%d-%d", cpus[0], cpus[1]));
	g_set("a", "20000 100000");
	g_set("a/b", "10000 100000");
	g_set("beside", "10000 100000");
	must(g_write("a", "cpuset.cpus", "%d", cpus[0]));
	expect_lost("a", 1, "of two in its cpuset");
	expect_lost("a/b", 1, "of two in the cpuset above");
	/* another one for it, too, is one less */
	must(g_write("a", "cpuset.cpus", "%d", cpus[1]));
	expect_lost("a", 2, "after a move");
	must(g_write("a", "cpuset.cpus", "%d-%d", cpus[0], cpus[1]));
	expect_lost("a", 2, "and has all back");
	expect_lost("a/b", 2, "and has all back");
	expect_lost("beside", 0, "in a cpuset that has not changed");
}

/* A CPU comes, and the bandwidth does not come with it: once, however long. */
static void lost_no_room(void)
{
	u64 runtime, period;

	g_make("a");
	g_make("b");
	must(g_write("a", "cpuset.cpus", "%d", cpus[0]));
	must(g_write("b", "cpuset.cpus", "%d", cpus[1]));
	g_set("a", "60000 100000");
	g_set("b", "50000 100000");
	must(g_write("a", "cpuset.cpus", "%d-%d", cpus[0], cpus[1]));
	expect(g_own_runtime("a", cpus[1], &runtime, &period) && runtime == 0,
	       "%llu us on CPU %d where nothing was left", runtime, cpus[1]);
	expect_lost("a", 1, "for lack of room");
	/* it looks for room again and again */
	g_set("b", "49000 100000");
	g_set("b", "48000 100000");
	expect_lost("a", 1, "for lack of room all the time");
	/* who asks for no more than there is has lost nothing */
	g_make("a/child");
	g_set("a/child", "1000 100000");
	expect_lost("a/child", 0, "on a CPU that it never had");
	g_set("b", "max");
	g_set("b", "1000 100000");
	expect(g_own_runtime("a/child", cpus[1], &runtime, &period) && runtime == 1000,
	       "%llu us on CPU %d where there is room", runtime, cpus[1]);
	expect_lost("a", 1, "and has got it");
	expect_lost("b", 0, "and has given it up");
}

/* What is written to a group's own file is what its owner wants. */
static void lost_not_by_owner(void)
{
	g_make("a");
	g_make("a/b");
	g_set("a", "20000 100000");
	g_set("a/b", "10000 100000");
	g_set("a/b", "0");
	g_set("a/b", "20000 100000");
	g_set("a/b", "1000 100000");
	g_set("a", "2000 100000");
	g_set("a", "2000 50000");
	expect_lost("a/b", 0, "by changing its number");
	expect_lost("a", 0, "by changing its number");
	/* it goes on with what it has, from the pool */
	g_set("a", "max");
	expect_lost("a/b", 0, "because nobody is above any more");
	g_set("a/b", "max");
	g_set("a/b", "1000 100000");
	expect_lost("a/b", 0, "by giving it up");
}

static void poll_lost(void)
{
	int cpu = last_cpu(), fd;

	g_set("", "20000 100000");
	fd = open_events("");
	expect(!fires(fd, POLLPRI, MSEC(100)), "an event, and nothing was lost");
	cpu_online(cpu, 0);
	expect(fires(fd, POLLPRI, patience(MSEC(1000))), "lost a CPU without an event");
	expect(reread_events(fd).lost == 1, "not one CPU lost");
	cpu_online(cpu, 1);
	expect(!fires(fd, POLLPRI, MSEC(100)), "an event, and the CPU has come back");
	close(fd);
}

/* The group goes while its notification is on the way, and somebody waits. */
static void removed_while_throttled(void)
{
	struct task t;
	int fd, i;

	for (i = 0; i < 10; i++) {
		g_make("a");
		g_set("a", "1000 4000");
		fd = open_events("a");
		start_hog("a", &t, cpus[i % nr_cpus]);
		wait_throttled("a", t.cpu);
		if (i & 1)
			g_set("a", "max");
		task_kill(&t);
		g_rmdir("a");
		fires(fd, POLLPRI, i & 2 ? MSEC(20) : 0);
		close(fd);
	}
}

/* Runs out of the budget every now and then, and sleeps every now and then. */
static void burst_hog(struct task_shm *shm, void *arg)
{
	(void)arg;
	while (!shm->stop) {
		spin_ns(shm->count++ % 4 ? USEC(300) : USEC(1700));
		sleep_ms(3);
	}
}

static void trace_agrees(void)
{
	struct task t[2] = {
		{ .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0], .fn = burst_hog },
		{ .group = "", .policy = SCHED_RR, .prio = 12, .cpu = last_cpu(), .fn = burst_hog },
	};
	u64 charged = 0, usage;
	struct server_events s;
	int i;

	g_set("", "1000 10000");
	trace_start_servers();
	task_prepare(&t[0]);
	task_prepare(&t[1]);
	tasks_go();
	sleep_ms(lane_tight ? 300 : 1000);
	/* not charged any more, not even for their end */
	must(set_policy(t[0].pid, SCHED_OTHER, 0));
	must(set_policy(t[1].pid, SCHED_OTHER, 0));
	usage = g_stat("", "usage_usec");
	/* a server that is in debt has not stopped yet */
	g_set("", "max");
	trace_stop();
	for (i = 0; i < nr_cpus; i++) {
		trace_server(g_id(""), cpus[i], &s);
		expect(s.nr_start == s.nr_stop, "CPU %d: %llu starts, %llu stops", cpus[i],
		       s.nr_start, s.nr_stop);
		if (cpus[i] == t[0].cpu || cpus[i] == t[1].cpu)
			expect(s.nr_start > (lane_tight ? 5 : 0), "CPU %d: %llu starts", cpus[i], s.nr_start);
		charged += s.charged;
	}
	expect(charged / 1000 == usage, "charges of %llu ns, usage_usec is %llu", charged, usage);
	figure(charged, "charged");
}

static void expect_decision(const char *g, struct decision want, const char *what)
{
	struct decision d;

	trace_stop();
	trace_decision(g_id(g), &d);
	expect(d.ts, "%s: no event", what);
	expect(d.result == want.result && d.rule == want.rule && d.cpu == want.cpu,
	       "%s: rule %d, CPU %d, result %d; expected rule %d, CPU %d, result %d", what, d.rule,
	       d.cpu, d.result, want.rule, want.cpu, want.result);
	expect(d.asked == want.asked && d.free == want.free,
	       "%s: asked %llu, free %llu; expected %llu and %llu", what, d.asked, d.free,
	       want.asked, want.free);
	trace_start_servers();
}

static int write_b(void *arg)
{
	return g_try("b", "%s", (char *)arg);
}

static void trace_admission(void)
{
	struct task t = { .group = "b", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0],
			  .fn = sleeper };
	int cpu = last_cpu();
	struct headroom h;

	g_make("a");
	g_make("b");
	g_make("b/c");
	g_make("b/d");
	must(g_write("a", "cpuset.cpus", "%d", cpu));
	g_set("a", "60000 100000");
	read_headroom(&h);
	trace_start_servers();

	expect_refused(g_try("b", "40000 100000"), ENOSPC);
	expect_decision("b", (struct decision){ .cpu = cpu, .rule = 1, .asked = util(40, 100),
			.free = h.free[cpu], .result = -ENOSPC }, "more than is left");

	g_set("b", "20000 100000");
	expect_decision("b", (struct decision){ .cpu = cpu, .asked = util(20, 100),
			.free = h.free[cpu] }, "less than is left");

	must(g_write("b/c", "cpuset.cpus", "%d", cpu));
	g_set("b/c", "15000 100000");
	expect_refused(g_try("b/d", "10000 100000"), ENOSPC);
	expect_decision("b/d", (struct decision){ .cpu = cpu, .rule = 2, .asked = util(10, 100),
			.free = util(20, 100) - util(15, 100), .result = -ENOSPC },
			"more than the others leave of the parent");

	expect_refused(g_try("b", "10000 100000"), ENOSPC);
	expect_decision("b", (struct decision){ .cpu = cpu, .rule = 2, .asked = util(15, 100),
			.free = util(10, 100), .result = -ENOSPC },
			"less than the children have");

	g_set("b/c", "max");
	task_start(&t);
	expect_refused(g_try("b", "0"), EBUSY);
	expect_decision("b", (struct decision){ .cpu = -1, .rule = 3, .result = -EBUSY },
			"nothing left for a task");
	task_kill(&t);

	must(chown(g_path("b", "cpu.rt.max"), TEST_UID, TEST_UID) ? -errno : 0);
	g_set("b", "20000 100000");
	expect_refused(as_user(write_b, "30000 100000"), EPERM);
	expect_decision("b", (struct decision){ .cpu = -1, .rule = 4, .asked = util(30, 100),
			.free = util(20, 100), .result = -EPERM }, "without the right to it");
	trace_stop();
}

const struct dl_group_test events_tests[] = {
	{ "format", "events", "cpu.rt.events has its three keys", .run = format },
	{ "counts_agree", "events", "cpu.rt.events counts what cpu.rt.stat does",
	  .run = counts_agree },
	{ "poll_throttled", "events", "poll tells of a throttle", .run = poll_throttled },
	{ "inotify_throttled", "events", "inotify tells of a throttle", .run = inotify_throttled },
	{ "poll_overrun", "events", "poll tells of an overrun", .needs = NEED_SYSVIPC,
	  .run = poll_overrun, .cleanup = overrun_remove },
	{ "lost_offline", "events", "a CPU that goes offline is lost, once",
	  .needs = NEED_CPUS2 | NEED_HOTPLUG, .run = lost_offline },
	{ "lost_cpuset", "events", "a CPU that leaves the cpuset is lost, once",
	  .needs = NEED_CPUS2 | NEED_CPUSET, .run = lost_cpuset },
	{ "lost_no_room", "events", "a CPU that comes without room is lost, once",
	  .needs = NEED_CPUS2 | NEED_CPUSET, .run = lost_no_room },
	{ "lost_not_by_owner", "events", "what a group's owner changes is not lost",
	  .run = lost_not_by_owner },
	{ "poll_lost", "events", "poll tells of a lost CPU",
	  .needs = NEED_CPUS2 | NEED_HOTPLUG, .run = poll_lost },
	{ "removed_while_throttled", "events", "a group goes with its notification on the way",
	  .run = removed_while_throttled },
	{ "trace_agrees", "events", "charges, starts and stops are traced as they are counted",
	  .needs = NEED_TRACE, .run = trace_agrees },
	{ "trace_admission", "events", "decisions are traced with rule, CPU and what is free",
	  .needs = NEED_TRACE | NEED_HEADROOM | NEED_CPUSET, .run = trace_admission },
	{}
};
