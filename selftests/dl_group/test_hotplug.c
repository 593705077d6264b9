// SPDX-License-Identifier: GPL-2.0-only
/* CPUs that go and come with groups on them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dl_group_test.h"

#define PM_TEST	"/sys/power/pm_test"

static int cpu_online(int cpu, int on)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	return file_write(path, "%d", on);
}

/* The last CPU: never the one that cannot go. */
static int last_cpu(void)
{
	return cpus[nr_cpus - 1];
}

/* A budget that is used up in a moment and comes back much later. */
static void start_throttled(const char *g, struct task *t, int n, int cpu)
{
	int i;

	for (i = 0; i < n; i++) {
		t[i] = (struct task){ .group = g, .policy = SCHED_FIFO, .prio = 10 + i,
				      .cpu = cpu };
		task_prepare(&t[i]);
	}
	tasks_go();
}

static void offline_throttled(void)
{
	struct task t[3];
	struct headroom before, h;
	int cpu = last_cpu();
	u64 usage;

	g_set("", "5000 100000");
	read_headroom(&before);
	start_throttled("", t, 3, cpu);
	wait_throttled("", cpu);
	must(cpu_online(cpu, 0));
	/* the affinity is broken, the tasks go on where there is a server */
	usage = g_usage_ns("");
	wait_count(&t[2], 100, MSEC(3000));
	sleep_ms(1000);
	usage = g_usage_ns("") - usage;
	expect(usage <= MSEC(5) * (nr_cpus - 1) * 14 + slack_ns(0) * nr_cpus,
	       "%llu ns in a second on %d CPUs with 5 %% each", usage, nr_cpus - 1);
	read_headroom(&h);
	expect(!h.present[cpu] || !h.groups[cpu], "an offline CPU has reservations");
	must(cpu_online(cpu, 1));
	read_headroom(&h);
	expect(h.groups[cpu] == before.groups[cpu], "CPU %d came back with %llu, had %llu", cpu,
	       h.groups[cpu], before.groups[cpu]);
	must(set_cpu(t[2].pid, cpu));
	wait_count(&t[2], 100, MSEC(3000));
	usage = g_stat_cpu("", cpu, "usage_usec");
	sleep_ms(400);
	expect(g_stat_cpu("", cpu, "usage_usec") > usage, "no service on the CPU that came back");
}

static void offline_in_a_loop(void)
{
	struct task t[4];
	int cpu = last_cpu(), i;

	g_make("a");
	g_make("b");
	g_set("a", "1000 4000");
	g_set("b", "300 50000");
	start_throttled("a", &t[0], 2, ANY_CPU);
	start_throttled("b", &t[2], 2, ANY_CPU);
	for (i = 0; i < 8; i++) {
		must(set_cpu(t[1].pid, cpu));
		must(set_cpu(t[3].pid, cpu));
		sleep_ns(USEC(1733) * (i + 1));
		must(cpu_online(cpu, 0));
		sleep_ns(USEC(2311) * (8 - i));
		must(cpu_online(cpu, 1));
	}
	wait_count(&t[1], 10, MSEC(5000));
	wait_count(&t[3], 10, MSEC(5000));
}

/* However full it is: the administrator takes what CPU he likes. */
static void offline_never_refused(void)
{
	struct task t = { .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = last_cpu() };
	int cpu = last_cpu();

	g_set("", "90000 100000");
	task_prepare(&t);
	/* where interrupts take all the rest, nobody could end it */
	t.shm->until = now_ns() + patience(MSEC(300));
	tasks_go();
	wait_count(&t, 10, MSEC(3000));
	must(cpu_online(cpu, 0));
	must(cpu_online(cpu, 1));
}

/* Nor does the fair server of a partition's only CPU, without any group. */
static void offline_partition(void)
{
	char state[128];
	int cpu = last_cpu(), i;

	g_make("p");
	must(g_write("p", "cpuset.cpus", "%d", cpu));
	set_partition("p", cpu, "root");
	for (i = 0; i < 2; i++) {
		g_read("p", "cpuset.cpus.partition", state, sizeof(state));
		expect(!strcmp(state, "root\n"), "the partition is '%s'", state);
		must(cpu_online(cpu, 0));
		must(cpu_online(cpu, 1));
	}
}

/* Where a SCHED_DEADLINE task wakes up its bandwidth counts, not where it fell asleep. */
static void offline_sleeping_deadline(void)
{
	struct task t = { .cpu = last_cpu(), .fn = long_sleeper };
	struct headroom before, with;

	read_headroom(&before);
	task_start(&t);
	sleep_ms(20);
	must(set_cpu(t.pid, ANY_CPU));
	must(set_deadline(t.pid, MSEC(2), MSEC(10)));
	sleep_ms(20);
	read_headroom(&with);
	must(cpu_online(last_cpu(), 0));
	expect_tasks(&with, cpus[0], 0, "with its CPU offline");
	must(cpu_online(last_cpu(), 1));
	task_kill(&t);
	expect_tasks(&before, cpus[0], 0, "without the task");
}

/*
 * A SCHED_DEADLINE task that may run nowhere else wakes up while its CPU goes; in
 * a cpuset without CPUs of its own it is given an empty mask on the way.
 */
static void offline_pinned_deadline(void)
{
	struct task t = { .group = "a", .cpu = last_cpu(), .policy = SCHED_DEADLINE,
			  .dl_runtime = MSEC(1), .dl_period = MSEC(10), .fn = sleeper };
	struct headroom before;
	int i;

	read_headroom(&before);
	g_make("a");
	/* else such a task must be able to run on all CPUs */
	must(file_write(RT_RUNTIME, "-1"));
	task_start(&t);
	for (i = 0; i < 3; i++) {
		must(cpu_online(last_cpu(), 0));
		wait_count(&t, 3, MSEC(2000));
		must(cpu_online(last_cpu(), 1));
		must(set_cpu(t.pid, last_cpu()));
	}
	task_kill(&t);
	expect_tasks(&before, cpus[0], 0, "without the task");
}

/*
 * The CPU of a throttled SCHED_DEADLINE task that may run nowhere else goes: it comes
 * back with its next period, on another CPU.
 */
static void offline_throttled_deadline(void)
{
	struct task t = { .cpu = last_cpu(), .policy = SCHED_DEADLINE,
			  .dl_runtime = MSEC(5), .dl_period = MSEC(2000), .fn = hog };
	cpu_set_t set;

	/* such a task is pinned while nobody asks; afterwards it is admitted */
	must(file_write(RT_RUNTIME, "-1"));
	task_start(&t);
	must(file_write(RT_RUNTIME, "950000"));
	wait_count(&t, 10, MSEC(2000));
	sleep_ms(50);
	must(cpu_online(last_cpu(), 0));
	wait_count(&t, 10, MSEC(5000));
	/* those that are active of the CPUs it may use */
	must(sched_getaffinity(t.pid, sizeof(set), &set) ? -errno : 0);
	expect(CPU_COUNT(&set), "it runs where it may not");
	must(cpu_online(last_cpu(), 1));
	task_kill(&t);
}

/* Works a while and sleeps a while. */
static void now_and_then(struct task_shm *shm, void *arg)
{
	(void)arg;
	for (;;) {
		spin_ns(MSEC(3));
		shm->count++;
		sleep_ms(5);
	}
}

/*
 * When a CPU comes, tasks of its cpuset run there before its runqueue is online. One
 * whose budget comes back a moment after it was used up has not left the CPU by then.
 */
static void online_throttled_deadline(void)
{
	struct task t = { .group = "a", .cpu = ANY_CPU, .policy = SCHED_DEADLINE,
			  .dl_runtime = USEC(985), .dl_period = USEC(1000), .fn = now_and_then };
	int i;

	g_make("a");
	must(g_write("a", "cpuset.cpus", "%d", last_cpu()));
	must(file_write(SCHED_FEATURES, "HRTICK_DL"));
	/* more than is admitted */
	must(file_write(RT_RUNTIME, "-1"));
	task_start(&t);
	for (i = 0; i < 10; i++) {
		must(cpu_online(last_cpu(), 0));
		wait_count(&t, 3, MSEC(5000));
		must(cpu_online(last_cpu(), 1));
		wait_count(&t, 3, MSEC(5000));
	}
	task_kill(&t);
}

static void online_cleanup(void)
{
	file_write(SCHED_FEATURES, "NO_HRTICK_DL");
}

static const char *online_check(void)
{
	return access(SCHED_FEATURES, W_OK) ? "no " SCHED_FEATURES ": needs CONFIG_SCHED_DEBUG" : NULL;
}

/*
 * As far as taking all CPUs but one down, which asks nobody. The tasks of groups are
 * frozen then, throttled or not, and all has come back when they go on.
 */
static void suspend(void)
{
	struct task t[3];
	struct headroom before, after;
	int cpu = last_cpu(), i, k;
	u64 usage;
	long lost;

	must(file_write(PM_TEST, "processors"));
	must(file_write("/sys/power/mem_sleep", "deep"));
	g_make("a");
	g_make("p");
	must(g_write("p", "cpuset.cpus", "%d", cpu));
	g_set("a", "20000 100000");
	set_partition("p", cpu, "root");
	g_set("p", "300000 500000");
	start_throttled("a", t, 1, cpus[0]);
	start_throttled("p", t + 1, 1, ANY_CPU);
	t[2] = (struct task){ .group = "p", .policy = SCHED_DEADLINE, .cpu = ANY_CPU,
			      .dl_runtime = MSEC(10), .dl_period = MSEC(100) };
	task_start(&t[2]);
	read_headroom(&before);
	for (i = 0; i < 2; i++) {
		lost = cg_read_key_long(g_path("p", NULL), "cpu.rt.events", "lost ");
		must(file_write("/sys/power/state", "mem"));
		expect(cg_read_key_long(g_path("p", NULL), "cpu.rt.events", "lost ") == lost + 1,
		       "CPU %d was not away", cpu);
		wait_count(&t[2], 10, MSEC(5000));
		read_headroom(&after);
		for (k = 0; k < nr_cpus; k++)
			expect(after.groups[cpus[k]] == before.groups[cpus[k]] &&
			       after.tasks[cpus[k]] == before.tasks[cpus[k]],
			       "CPU %d had %llu and %llu, and has %llu and %llu", cpus[k],
			       before.groups[cpus[k]], before.tasks[cpus[k]],
			       after.groups[cpus[k]], after.tasks[cpus[k]]);
	}
	usage = g_usage_ns("p");
	wait_count(&t[0], 10, MSEC(5000));
	wait_count(&t[1], 10, MSEC(5000));
	sleep_ms(1500);
	usage = g_usage_ns("p") - usage;
	expect(usage > MSEC(600), "%llu ns of 300/500 ms in 1.5 s or more", usage);
	g_expect("p", "cpu.rt.max.effective.local", "300000 500000\n");
}

static void suspend_cleanup(void)
{
	file_write(PM_TEST, "none");
}

static const char *suspend_check(void)
{
	char buf[256];

	if (read_text(PM_TEST, buf, sizeof(buf)) < 0)
		return "no " PM_TEST ": needs CONFIG_SUSPEND and CONFIG_PM_DEBUG";
	if (read_text("/sys/power/mem_sleep", buf, sizeof(buf)) < 0 || !strstr(buf, "deep"))
		return "CPUs stay up in a suspend: no \"deep\" in /sys/power/mem_sleep";
	return NULL;
}

/* A group whose only CPU goes: its tasks are not lost. */
static void offline_only_cpu(void)
{
	struct task t;
	int cpu = last_cpu();

	g_make("a");
	must(g_write("a", "cpuset.cpus", "%d", cpu));
	g_set("a", "2000 100000");
	start_throttled("a", &t, 1, ANY_CPU);
	wait_throttled("a", cpu);
	must(cpu_online(cpu, 0));
	wait_count(&t, 10, MSEC(5000));
	expect(g_stat("a", "nr_unserved") > 0, "the hog runs unserved, and that is not counted");
	must(cpu_online(cpu, 1));
	wait_count(&t, 10, MSEC(5000));
	sleep_ms(300);
	wait_throttled("a", cpu);
}

/* Numbers set while a CPU is away hold for it when it comes. */
static void set_while_offline(void)
{
	struct headroom h;
	int cpu = last_cpu();

	g_make("a");
	g_make("b");
	g_set("a", "40000 100000");
	must(cpu_online(cpu, 0));
	g_set("a", "50000 100000");
	g_set("b", "10000 100000");
	must(cpu_online(cpu, 1));
	read_headroom(&h);
	expect(h.groups[cpu] == util(50, 100) + util(10, 100), "CPU %d came with %llu", cpu,
	       h.groups[cpu]);
	must(cpu_online(cpu, 0));
	g_set("a", "max");
	g_rmdir("b");
	must(cpu_online(cpu, 1));
	sleep_ms(100);
	read_headroom(&h);
	expect(!h.groups[cpu], "CPU %d came with %llu of groups that are gone", cpu,
	       h.groups[cpu]);
}

/* The group of a CPU that comes has its server there, and that room is taken. */
static void online_takes_room(void)
{
	struct task t;
	int cpu = last_cpu();
	u64 runtime, period;

	must(cpu_online(cpu, 0));
	g_make("a");
	g_make("b");
	g_set("a", "60000 100000");
	start_throttled("a", &t, 1, ANY_CPU);
	must(cpu_online(cpu, 1));
	must(g_write("b", "cpuset.cpus", "%d", cpu));
	expect(g_own_runtime("a", cpu, &runtime, &period) && runtime == 60000,
	       "a has %llu us on CPU %d", runtime, cpu);
	expect_refused(g_try("b", "40000 100000"), ENOSPC);
	g_set("b", "30000 100000");
}

const struct dl_group_test hotplug_tests[] = {
	{ "offline_throttled", "hotplug", "a CPU goes with throttled hogs and timers pending",
	  .needs = NEED_CPUS2 | NEED_HOTPLUG | NEED_HEADROOM, .run = offline_throttled },
	{ "offline_in_a_loop", "hotplug", "a CPU goes and comes while groups run",
	  .needs = NEED_CPUS2 | NEED_HOTPLUG, .run = offline_in_a_loop },
	{ "offline_never_refused", "hotplug", "no reservation keeps a CPU online",
	  .needs = NEED_CPUS2 | NEED_HOTPLUG, .run = offline_never_refused },
	{ "offline_partition", "hotplug", "no fair server keeps a CPU online",
	  .needs = NEED_CPUS2 | NEED_HOTPLUG | NEED_CPUSET, .run = offline_partition },
	{ "offline_sleeping_deadline", "hotplug", "a SCHED_DEADLINE task sleeps on a CPU that goes",
	  .needs = NEED_CPUS2 | NEED_HOTPLUG | NEED_HEADROOM, .run = offline_sleeping_deadline },
	{ "offline_pinned_deadline", "hotplug",
	  "a pinned SCHED_DEADLINE task wakes up on a CPU that goes",
	  .needs = NEED_CPUS2 | NEED_HOTPLUG | NEED_CPUSET | NEED_HEADROOM,
	  .run = offline_pinned_deadline },
	{ "offline_throttled_deadline", "hotplug",
	  "a pinned SCHED_DEADLINE task is throttled when its CPU goes",
	  .needs = NEED_CPUS2 | NEED_HOTPLUG, .run = offline_throttled_deadline },
	{ "online_throttled_deadline", "hotplug",
	  "a SCHED_DEADLINE task is replenished before it leaves a CPU that comes",
	  .needs = NEED_CPUS2 | NEED_HOTPLUG | NEED_CPUSET, .feature_check = online_check,
	  .run = online_throttled_deadline, .cleanup = online_cleanup },
	{ "suspend", "hotplug", "a suspend takes the CPUs down and brings them back",
	  .needs = NEED_CPUS2 | NEED_HOTPLUG | NEED_CPUSET | NEED_HEADROOM,
	  .feature_check = suspend_check, .run = suspend, .cleanup = suspend_cleanup },
	{ "offline_only_cpu", "hotplug", "a group's only CPU goes and comes",
	  .needs = NEED_CPUS2 | NEED_HOTPLUG | NEED_CPUSET, .run = offline_only_cpu },
	{ "set_while_offline", "hotplug", "numbers set while a CPU is away",
	  .needs = NEED_CPUS2 | NEED_HOTPLUG | NEED_HEADROOM, .run = set_while_offline },
	{ "online_takes_room", "hotplug", "a CPU that comes has the group's server",
	  .needs = NEED_CPUS2 | NEED_HOTPLUG | NEED_CPUSET, .run = online_takes_room },
	{}
};
