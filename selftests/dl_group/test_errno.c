// SPDX-License-Identifier: GPL-2.0-only
/* Every refusal by its number, each leaving the former state untouched. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dl_group_test.h"

static void einval_text(void)
{
	g_set("", "5000 20000");
	expect_refused(g_try("", "five thousand"), EINVAL);
}

static void einval_runtime_over_period(void)
{
	g_set("", "5000 20000");
	expect_refused(g_try("", "20001 20000"), EINVAL);
	/* also with a period that is kept */
	expect_refused(g_try("", "20001"), EINVAL);
}

static void einval_third_value(void)
{
	g_set("", "5000 20000");
	expect_refused(g_try("", "5000 20000 20000"), EINVAL);
	expect_refused(g_try("", "5000 20000 10000"), EINVAL);
}

/* With CAP_SYS_NICE: 1024 ns and what the deadline period sysctls say. */
static void einval_limits_privileged(void)
{
	s64 min = file_read_s64("/proc/sys/kernel/sched_deadline_period_min_us");
	s64 max = file_read_s64("/proc/sys/kernel/sched_deadline_period_max_us");

	g_set("", "50 1000");
	g_expect("", "cpu.rt.max", "50 1000\n");
	g_set("", "2 1000");
	expect_refused(g_try("", "1 1000"), EINVAL);
	g_set("", "50 %lld", min);
	expect_refused(g_try("", "50 %lld", min - 1), EINVAL);
	g_set("", "1000 %lld", max);
	expect_refused(g_try("", "1000 %lld", max + 1), EINVAL);
	must(file_write("/proc/sys/kernel/sched_deadline_period_max_us", "1500000"));
	expect_refused(g_try("", "1000 1500001"), EINVAL);
	g_set("", "1000 1500000");
}

/* Without: 100 us <= runtime, 1 ms <= period <= 1 s. */
static void try_limits(void)
{
	expect_refused(g_try("a", "99 1000"), EINVAL);
	expect_refused(g_try("a", "100 999"), EINVAL);
	expect_refused(g_try("a", "1000 1000001"), EINVAL);
	expect_refused(g_try("a", "99"), EINVAL);
	g_set("a", "100 1000");
	g_expect("a", "cpu.rt.max", "100 1000\n");
	g_set("a", "1000 1000000");
	g_expect("a", "cpu.rt.max", "1000 1000000\n");
}

static void einval_limits_unprivileged(void)
{
	pid_t pid;

	g_set("", "50000 100000");
	g_make("a");
	pid = fork_child();
	if (!pid) {
		drop_cap_sys_nice();
		try_limits();
		_exit(0);
	}
	expect(!wait_exit(pid), "in the child without CAP_SYS_NICE");
}

static void enospc_cpu(void)
{
	struct headroom h;
	u64 most;

	read_headroom(&h);
	most = fill_us(h.free[cpus[0]], 100000);
	expect_refused(g_try("", "%llu 100000", most + 1), ENOSPC);
	g_set("", "%llu 100000", most);
	expect_refused(g_try("", "%llu 100000", most + 1), ENOSPC);
	expect_refused(g_try("", "100000 100000"), ENOSPC);
}

static void enospc_second_group(void)
{
	g_make("a");
	g_make("b");
	g_set("a", "50000 100000");
	expect_refused(g_try("b", "50000 100000"), ENOSPC);
	g_set("b", "30000 100000");
	expect_refused(g_try("b", "10000 20000"), ENOSPC);
	expect_refused(g_try("a", "70000 100000"), ENOSPC);
}

/*
 * Two CPUs: 80 % of one for a SCHED_DEADLINE task that may go to either. 60 % of
 * each fits on every CPU, but not in the root domain.
 */
static void enospc_root_domain(void)
{
	struct task t = { .policy = SCHED_DEADLINE, .cpu = ANY_CPU, .fn = sleeper };
	u64 room = 0;
	struct headroom h;
	int i;

	t.dl_period = MSEC(100);
	t.dl_runtime = MSEC(80);
	task_start(&t);
	read_headroom(&h);
	for (i = 0; i < nr_cpus; i++)
		room += h.cap[cpus[i]] - h.fair[cpus[i]];
	room -= util(t.dl_runtime, t.dl_period);
	room /= nr_cpus;
	expect_refused(g_try("", "%llu 100000", fill_us(room, 100000) + 1000), ENOSPC);
	g_set("", "%llu 100000", fill_us(room, 100000) - 1000);
	task_kill(&t);
}

/* The only CPU of a root domain has to carry its SCHED_DEADLINE tasks itself. */
static void enospc_deadline_task(void)
{
	struct task t = { .policy = SCHED_DEADLINE, .cpu = ANY_CPU, .fn = sleeper };

	t.dl_period = MSEC(100);
	t.dl_runtime = MSEC(50);
	task_start(&t);
	expect_refused(g_try("", "45000 100000"), ENOSPC);
	g_set("", "35000 100000");
	task_kill(&t);
	/* its bandwidth goes at its zero-lag time, a period later at most */
	sleep_ns(t.dl_period + slack_ns(MSEC(10)));
	g_set("", "45000 100000");
}

static void enospc_ancestor(void)
{
	g_set("", "20000 100000");
	g_make("a");
	g_make("a/b");
	expect_refused(g_try("a", "20001 100000"), ENOSPC);
	expect_refused(g_try("a/b", "10000 20000"), ENOSPC);
	g_set("a", "20000 100000");
	expect_refused(g_try("a/b", "21000 100000"), ENOSPC);
	g_make("c");
	expect_refused(g_try("c", "1000 100000"), ENOSPC);
	g_set("a", "max");
	g_set("", "0");
	expect_refused(g_try("c", "1000 100000"), ENOSPC);
}

static void enospc_descendants(void)
{
	g_make("a");
	g_make("b");
	g_make("b/c");
	g_set("", "40000 100000");
	g_set("a", "10000 100000");
	g_set("b/c", "4000 20000");
	expect_refused(g_try("", "29999 100000"), ENOSPC);
	expect_refused(g_try("", "0"), ENOSPC);
	g_set("", "30000 100000");
	/* a number between an ancestor and its descendants */
	expect_refused(g_try("b", "19999 100000"), ENOSPC);
	g_set("b", "20000 100000");
}

static void ebusy_zero_with_tasks(void)
{
	struct task t = { .group = "", .policy = SCHED_FIFO, .prio = 1, .cpu = cpus[0],
			  .fn = sleeper };

	g_set("", "5000 20000");
	task_start(&t);
	expect_refused(g_try("", "0 20000"), EBUSY);
	must(set_policy(t.pid, SCHED_OTHER, 0));
	g_set("", "0 20000");
	task_kill(&t);
}

/* A number that is written over `max` with tasks inside counts alike. */
static void ebusy_zero_over_max(void)
{
	struct task t = { .group = "", .policy = SCHED_RR, .prio = 1, .cpu = cpus[0],
			  .fn = sleeper };

	task_start(&t);
	expect_refused(g_try("", "0 20000"), EBUSY);
	task_kill(&t);
	g_set("", "0 20000");
}

static void ebusy_zero_subtree(void)
{
	struct task t = { .group = "a/b", .policy = SCHED_FIFO, .prio = 1, .cpu = cpus[0],
			  .fn = sleeper };

	g_make("a");
	g_make("a/b");
	g_set("a", "5000 20000");
	task_start(&t);
	expect_refused(g_try("a", "0 20000"), EBUSY);
	expect_refused(g_try("a/b", "0 20000"), EBUSY);
	task_kill(&t);
}

/* The children take all, and somebody still lives on the rest. */
static void ebusy_leftover_zero_with_tasks(void)
{
	struct task t = { .group = "max", .policy = SCHED_FIFO, .prio = 1, .cpu = cpus[0],
			  .fn = sleeper };

	g_set("", "5000 20000");
	g_make("max");
	g_make("a");
	task_start(&t);
	expect_refused(g_try("a", "5000 20000"), EBUSY);
	/* a leftover below 1024 ns is none */
	expect_refused(g_try("a", "24999 100000"), EBUSY);
	g_set("a", "4000 20000");
	expect_refused(g_try("", "4000 20000"), EBUSY);
	task_kill(&t);
	g_set("a", "5000 20000");
}

static void ebusy_sysctl(void)
{
	s64 before = file_read_s64(RT_RUNTIME);

	g_set("", "60000 100000");
	expect_refused(file_write(RT_RUNTIME, "600000"), EBUSY);
	expect_refused(file_write(RT_RUNTIME, "649999"), EBUSY);
	expect(file_read_s64(RT_RUNTIME) == before, "the refused value is in the file");
	expect_refused(file_write(RT_PERIOD, "2000000"), EBUSY);
	must(file_write(RT_RUNTIME, "650000"));
}

static void ebusy_fair_server(void)
{
	int cpu = cpus[nr_cpus - 1];
	s64 before = file_read_s64(fair_file(cpu, "runtime"));

	g_set("", "85000 100000");
	expect_refused(file_write(fair_file(cpu, "runtime"), "110000000"), EBUSY);
	expect(file_read_s64(fair_file(cpu, "runtime")) == before,
	       "the refused value is in the file");
	expect_refused(file_write(fair_file(cpu, "period"), "400000000"), EBUSY);
	must(file_write(fair_file(cpu, "runtime"), "100000000"));
}

/* The other direction is mainline's own number. */
static void ebusy_deadline_task(void)
{
	struct task t = { .policy = SCHED_OTHER, .cpu = ANY_CPU, .fn = sleeper };

	/* 95 % less 5 % for the fair server, less the group: 30 % of one CPU in all */
	g_set("", "%d 100000", 90000 - 30000 / nr_cpus);
	task_start(&t);
	expect_refused(set_deadline(t.pid, MSEC(31), MSEC(100)), EBUSY);
	expect(get_policy(t.pid) == SCHED_OTHER, "the policy changed");
	must(set_deadline(t.pid, MSEC(29), MSEC(100)));
	task_kill(&t);
}

static int raise_number(void *arg)
{
	(void)arg;
	return g_try("a", "2000 20000");
}

static void eperm_root_pool(void)
{
	g_make("a");
	expect(!chown(g_path("a", "cpu.rt.max"), TEST_UID, TEST_UID), "chown: %s",
	       strerror(errno));
	expect_refused(as_user(raise_number, NULL), EPERM);
	g_set("a", "1000 20000");
	expect_refused(as_user(raise_number, NULL), EPERM);
}

static void eperm_setscheduler(void)
{
	struct task t = { .group = "", .policy = SCHED_OTHER, .cpu = cpus[0], .fn = sleeper };

	g_set("", "0");
	task_start(&t);
	expect_refused(set_policy(t.pid, SCHED_FIFO, 1), EPERM);
	expect_refused(set_policy(t.pid, SCHED_RR, 1), EPERM);
	must(set_policy(t.pid, SCHED_BATCH, 0));
	must(set_policy(t.pid, SCHED_IDLE, 0));
	task_kill(&t);
}

static void eperm_setscheduler_leftover(void)
{
	struct task t = { .group = "max", .policy = SCHED_OTHER, .cpu = cpus[0], .fn = sleeper };

	g_set("", "5000 20000");
	g_make("max");
	g_make("a");
	g_set("a", "5000 20000");
	task_start(&t);
	expect_refused(set_policy(t.pid, SCHED_FIFO, 1), EPERM);
	g_set("a", "4000 20000");
	must(set_policy(t.pid, SCHED_FIFO, 1));
	task_kill(&t);
}

static void einval_attach(void)
{
	struct task t = { .group = "rt", .policy = SCHED_FIFO, .prio = 1, .cpu = cpus[0],
			  .fn = sleeper };

	g_make("rt");
	g_make("none");
	g_make("none/below");
	g_set("none", "0");
	task_start(&t);
	expect_refused(g_attach("none", t.pid), EINVAL);
	expect_refused(g_attach("none/below", t.pid), EINVAL);
	must(set_policy(t.pid, SCHED_OTHER, 0));
	must(g_attach("none/below", t.pid));
	task_kill(&t);
}

static void einval_attach_leftover(void)
{
	struct task t = { .group = "rt", .policy = SCHED_FIFO, .prio = 1, .cpu = cpus[0],
			  .fn = sleeper };

	g_make("rt");
	g_make("p");
	g_make("p/a");
	g_make("p/max");
	g_set("p", "5000 20000");
	g_set("p/a", "5000 20000");
	task_start(&t);
	expect_refused(g_attach("p/max", t.pid), EINVAL);
	must(g_attach("p/a", t.pid));
	task_kill(&t);
}

static void einval_clone(void)
{
	pid_t pid, child;
	char *before;
	int ret;

	g_make("rt");
	g_make("none");
	g_set("none", "0");
	before = state_text();
	pid = fork_child();
	if (!pid) {
		must(g_attach("rt", getpid()));
		must(set_policy(0, SCHED_FIFO, 1));
		child = clone_into("none");
		_exit(child < 0 ? -child : 0);
	}
	ret = wait_exit(pid);
	expect(ret == EINVAL, "clone: %s, expected EINVAL", ret ? strerror(ret) : "accepted");
	state_compare(before, __FILE__, __LINE__, "clone");
	/* A task that is not real-time may go there. */
	pid = clone_into("none");
	if (!pid)
		_exit(0);
	expect(pid > 0, "clone into a group without bandwidth: %s", strerror(-pid));
	wait_exit(pid);
}

/*
 * What a reservation allocates for, done and undone, each time with the next of its
 * allocations failing (or of its copies from the user), until none is left.
 */
struct allocating {
	const char *what;
	int (*run)(void);
	void (*undo)(void);
};

static struct task hungry = { .group = "rt", .policy = SCHED_FIFO, .prio = 1, .cpu = ANY_CPU,
			      .fn = sleeper };

static int first_number(void)
{
	return g_try("n", "2000 20000");
}

static void no_number(void)
{
	g_rmdir("n");
	g_make("n");
}

static int other_number(void)
{
	return g_try("p", "6000 20000");
}

static void old_number(void)
{
	g_set("p", "5000 20000");
}

static int make_below(void)
{
	return mkdir(g_path("p/new", NULL), 0755) ? -errno : 0;
}

static void remove_below(void)
{
	g_rmdir("p/new");
}

static int attach_fifo(void)
{
	return g_attach("p", hungry.pid);
}

static void attach_back(void)
{
	must(g_attach("rt", hungry.pid));
}

static int clone_below(void)
{
	int fd = dirfd_open_opath(g_path("p", NULL)), err;
	pid_t pid;

	if (fd < 0)
		return -errno;
	pid = clone_into_cgroup(fd);
	err = errno;
	if (!pid)
		_exit(0);
	close(fd);
	return pid < 0 ? -err : 0;
}

static void reap_clone(void)
{
	expect(wait(NULL) > 0, "wait: %s", strerror(errno));
}

static int narrow(void)
{
	return g_write("p", "cpuset.cpus", "%d", cpus[0]);
}

static void widen(void)
{
	must(g_write("p", "cpuset.cpus", "\n"));
}

static int cpu_goes(void)
{
	return file_write("/sys/devices/system/cpu/cpu1/online", "0");
}

static void cpu_comes(void)
{
	must(file_write("/sys/devices/system/cpu/cpu1/online", "1"));
}

static int read_local(void)
{
	char buf[256];
	ssize_t ret = read_text(g_path("p", "cpu.rt.max.effective.local"), buf, sizeof(buf));

	return ret < 0 ? -errno : 0;
}

static void nothing(void)
{
}

static const struct allocating allocating[] = {
	{ "a first number", first_number, no_number },
	{ "another number", other_number, old_number },
	{ "mkdir below a number", make_below, remove_below },
	{ "attach", attach_fifo, attach_back },
	{ "clone", clone_below, reap_clone },
	{ "cpuset.cpus", narrow, widen },
	{ "CPU offline", cpu_goes, cpu_comes },
	{ "cpu.rt.max.effective.local", read_local, nothing },
};

static void enomem(void)
{
	size_t i;

	must(g_write("", "cgroup.subtree_control", "+cpuset"));
	g_make("rt");
	g_make("n");
	g_make("p");
	g_set("p", "5000 20000");
	task_start(&hungry);
	fail_prepare();
	for (i = 0; i < ARRAY_SIZE(allocating); i++) {
		const struct allocating *a = &allocating[i];
		unsigned int nth = 0, refusals = 0;
		char *before = state_text();
		bool failed;

		do {
			int ret;

			fail_nth(++nth);
			ret = a->run();
			failed = fail_end();
			expect(failed || !ret, "%s: %s, and no allocation failed", a->what,
			       strerror(-ret));
			expect(!ret || ret == -ENOMEM || ret == -EFAULT, "%s: %s", a->what,
			       strerror(-ret));
			refusals += !!ret;
			/* Some can be done without. */
			if (!ret)
				a->undo();
			state_compare(before, __FILE__, __LINE__, a->what);
		} while (failed);
		free(before);
		ksft_print_msg("%s: %u may fail, %u times it is refused\n", a->what, nth - 1,
			       refusals);
		expect(refusals, "%s was never refused", a->what);
	}
	task_kill(&hungry);
}

const struct dl_group_test errno_tests[] = {
	{ "einval_text", "errno", "text that does not parse", .run = einval_text },
	{ "einval_runtime_over_period", "errno", "more runtime than period",
	  .run = einval_runtime_over_period },
	{ "einval_third_value", "errno", "a deadline, as long as there is none",
	  .run = einval_third_value },
	{ "einval_limits_privileged", "errno", "outside the limits, with CAP_SYS_NICE",
	  .run = einval_limits_privileged },
	{ "einval_limits_unprivileged", "errno", "outside the limits, without CAP_SYS_NICE",
	  .run = einval_limits_unprivileged },
	{ "enospc_cpu", "errno", "more than a CPU has free", .needs = NEED_HEADROOM,
	  .run = enospc_cpu },
	{ "enospc_second_group", "errno", "more than other groups left",
	  .run = enospc_second_group },
	{ "enospc_root_domain", "errno", "more than the SCHED_DEADLINE tasks of the domain leave",
	  .needs = NEED_CPUS2 | NEED_HEADROOM, .run = enospc_root_domain },
	{ "enospc_deadline_task", "errno", "more than SCHED_DEADLINE tasks leave on one CPU",
	  .needs = NEED_CPU1, .run = enospc_deadline_task },
	{ "enospc_ancestor", "errno", "more than the nearest ancestor with a number has",
	  .run = enospc_ancestor },
	{ "enospc_descendants", "errno", "less than the descendants have",
	  .run = enospc_descendants },
	{ "ebusy_zero_with_tasks", "errno", "0 with a FIFO task in the group",
	  .run = ebusy_zero_with_tasks },
	{ "ebusy_zero_over_max", "errno", "0 instead of max with an RR task in the group",
	  .run = ebusy_zero_over_max },
	{ "ebusy_zero_subtree", "errno", "0 with a FIFO task in a subgroup",
	  .run = ebusy_zero_subtree },
	{ "ebusy_leftover_zero_with_tasks", "errno", "all to the children with a FIFO task left",
	  .run = ebusy_leftover_zero_with_tasks },
	{ "ebusy_sysctl", "errno", "sched_rt_runtime_us below what is admitted",
	  .run = ebusy_sysctl },
	{ "ebusy_fair_server", "errno", "a fair server grown into what is admitted",
	  .needs = NEED_HEADROOM, .run = ebusy_fair_server },
	{ "ebusy_deadline_task", "errno", "a SCHED_DEADLINE task where groups took the room",
	  .run = ebusy_deadline_task },
	{ "eperm_root_pool", "errno", "a number from the root pool without CAP_SYS_NICE",
	  .run = eperm_root_pool },
	{ "eperm_setscheduler", "errno", "FIFO or RR where the bandwidth is 0",
	  .run = eperm_setscheduler },
	{ "eperm_setscheduler_leftover", "errno", "FIFO or RR where the leftover is 0",
	  .run = eperm_setscheduler_leftover },
	{ "einval_attach", "errno", "attaching a FIFO task where the bandwidth is 0",
	  .run = einval_attach },
	{ "einval_attach_leftover", "errno", "attaching a FIFO task where the leftover is 0",
	  .run = einval_attach_leftover },
	{ "einval_clone", "errno", "cloning a FIFO task into a group where the bandwidth is 0",
	  .run = einval_clone },
	{ "enomem", "errno", "every allocation fails in turn",
	  .needs = NEED_FAILSLAB | NEED_CPUSET | NEED_HOTPLUG | NEED_HEADROOM,
	  .timeout_s = 600, .run = enomem },
	{}
};
