// SPDX-License-Identifier: GPL-2.0-only
/* The files: where they are, what they take and what they say. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dl_group_test.h"

static const struct {
	const char *name;
	mode_t mode;
} files[] = {
	{ "cpu.rt.max", 0644 },
	{ "cpu.rt.max.effective.local", 0444 },
	{ "cpu.rt.stat", 0444 },
	{ "cpu.rt.events", 0444 },
};

static void files_present(void)
{
	struct stat st;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		expect(!stat(g_path("", files[i].name), &st), "%s: %s", files[i].name,
		       strerror(errno));
		expect((st.st_mode & 07777) == files[i].mode, "%s has mode %o, expected %o",
		       files[i].name, st.st_mode & 07777, files[i].mode);
	}
}

static void not_on_root(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(files); i++)
		expect(access(g_path("/", files[i].name), F_OK), "the root cgroup has %s",
		       files[i].name);
}

static void default_max(void)
{
	g_expect("", "cpu.rt.max", "max 100000\n");
	g_make("child");
	g_set("", "10000 50000");
	g_expect("child", "cpu.rt.max", "max 100000\n");
}

static void read_back(void)
{
	static const char *const values[] = {
		"5000 20000", "10000 100000", "3333 9999", "1001 3003",
		"500000 1000000", "100 1000", "0 20000", "max 20000", "max 1000000",
		"0 100000", "9999 99999",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(values); i++) {
		g_set("", "%s", values[i]);
		g_expect("", "cpu.rt.max", "%s\n", values[i]);
	}
}

static void missing_values_kept(void)
{
	g_set("", "10000");
	g_expect("", "cpu.rt.max", "10000 100000\n");
	g_set("", "5000 20000");
	g_set("", "4000");
	g_expect("", "cpu.rt.max", "4000 20000\n");
	g_set("", "max");
	g_expect("", "cpu.rt.max", "max 20000\n");
	g_set("", "3000");
	g_expect("", "cpu.rt.max", "3000 20000\n");
	g_set("", "max 50000");
	g_expect("", "cpu.rt.max", "max 50000\n");
	g_set("", "0");
	g_expect("", "cpu.rt.max", "0 50000\n");
	g_set("", "2000");
	g_expect("", "cpu.rt.max", "2000 50000\n");
}

static void spaces_accepted(void)
{
	g_set("", "  5000  20000  ");
	g_expect("", "cpu.rt.max", "5000 20000\n");
	g_set("", "6000\n");
	g_expect("", "cpu.rt.max", "6000 20000\n");
	g_set("", "max\n");
	g_expect("", "cpu.rt.max", "max 20000\n");
}

static void parse_errors(void)
{
	static const char *const bad[] = {
		"\n", " ", "abc", "max max", "max abc", "abc 100000", "MAX", "maximum",
		"-1", "-1 100000", "5000 -20000", "5000 20000 x", "5000 x",
		"5000 20000 20000", "5000 20000 10000", "max 20000 20000",
		"5000 20000 20000 20000", "5000.5 20000", "5000us 20000us", "5ms/20ms",
		"5000,20000", "0x1388 20000", "5000 20000max", "18446744073709551615",
		"18446744073709551616", "18446744073709551 18446744073709551",
		"18446744073709552 18446744073709552", "5000 18446744073709551616",
		"99999999999999999999999999 100000", "5000 0", "20001 20000", "0 0",
		"max 0",
	};
	size_t i;

	g_set("", "5000 20000");
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		char *before = state_text();
		int ret = g_try("", "%s", bad[i]);

		expect(ret == -EINVAL, "'%s': %s, expected EINVAL", bad[i],
		       ret ? strerror(-ret) : "accepted");
		state_compare(before, __FILE__, __LINE__, bad[i]);
		free(before);
	}
}

static void effective_local(void)
{
	u64 runtime, period;

	g_set("", "10000 20000");
	g_expect("", "cpu.rt.max.effective.local", "10000 20000\n");
	g_make("a");
	/* without a number there are no servers of its own */
	expect(!g_own_runtime("a", cpus[0], &runtime, &period) || !runtime,
	       "a group that says max has %llu %llu of its own", runtime, period);
	g_set("a", "3000 20000");
	g_expect("", "cpu.rt.max.effective.local", "7000 20000\n");
	g_expect("a", "cpu.rt.max.effective.local", "3000 20000\n");
	g_make("a/b");
	g_set("a/b", "1000 10000");
	g_expect("a", "cpu.rt.max.effective.local", "1000 20000\n");
	g_expect("", "cpu.rt.max.effective.local", "7000 20000\n");
	/* carved through a group that says max */
	g_set("a", "max");
	g_expect("", "cpu.rt.max.effective.local", "8000 20000\n");
	g_set("a/b", "max");
	g_expect("", "cpu.rt.max.effective.local", "10000 20000\n");
	g_set("", "0");
	g_expect("", "cpu.rt.max.effective.local", "0 20000\n");
}

/* Own runtime = Q - sum(ceil(Q_i * P / P_i)) in ns, shown in whole us. */
static void effective_rounds_down(void)
{
	g_set("", "10000 100000");
	g_make("a");
	g_make("b");
	g_set("a", "1000 30000");
	g_expect("", "cpu.rt.max.effective.local", "6666 100000\n");
	g_set("b", "1000 30000");
	g_expect("", "cpu.rt.max.effective.local", "3333 100000\n");
	g_set("b", "max");
	g_expect("", "cpu.rt.max.effective.local", "6666 100000\n");
	/* 333 ns are left: below 1024 ns it counts as none */
	g_set("b", "19999 300000");
	g_expect("", "cpu.rt.max.effective.local", "0 100000\n");
	g_set("a", "max");
	g_set("b", "max");
	g_expect("", "cpu.rt.max.effective.local", "10000 100000\n");
}

static const char *const stat_keys[] = {
	"usage_usec", "nr_periods", "nr_throttled", "throttled_usec", "nr_overruns",
	"overrun_usec_max", "nr_migrations", "nr_dl_miss", "nr_unserved", "irq_usec",
};

#define STAT_CPU_LINE	"cpu%d usage_usec=%llu nr_periods=%llu nr_throttled=%llu " \
			"throttled_usec=%llu nr_overruns=%llu overrun_nsec_max=%llu%n"

static void stat_format(void)
{
	char buf[8192], *line, *save, key[64];
	size_t i = 0;
	int cpu = 0;
	u64 value;

	/* its first period has not ended when it is read */
	g_set("", "5000 1000000");
	g_read("", "cpu.rt.stat", buf, sizeof(buf));
	for (line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save), i++) {
		u64 v[6];
		int n, at = 0;

		if (i < ARRAY_SIZE(stat_keys)) {
			expect(sscanf(line, "%63s %llu%n", key, &value, &at) == 2 && !line[at] &&
			       !strcmp(key, stat_keys[i]), "line %zu is '%s', expected '%s <n>'",
			       i, line, stat_keys[i]);
			expect(!value, "a new group has %s %llu", key, value);
			continue;
		}
		expect(sscanf(line, STAT_CPU_LINE, &n, &v[0], &v[1], &v[2], &v[3], &v[4], &v[5],
			      &at) == 7 && !line[at], "line %zu is '%s'", i, line);
		expect(n == cpus[cpu], "line of CPU %d, expected CPU %d", n, cpus[cpu]);
		cpu++;
	}
	expect(cpu == nr_cpus, "lines for %d of %d CPUs", cpu, nr_cpus);
}

static void stat_without_number(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(stat_keys); i++)
		expect(!g_stat("", stat_keys[i]), "%s of a group without a number is not 0",
		       stat_keys[i]);
}

/* The counters go with what the tasks got, by the CPU's own count too. */
static void stat_counts(void)
{
	struct task t = { .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0] };
	u64 usage, cpu_usage, received, periods;
	int i;

	g_set("", "5000 20000");
	task_start(&t);
	sleep_ms(500);
	task_finish(&t, MSEC(20));
	usage = g_stat("", "usage_usec");
	cpu_usage = g_stat_cpu("", cpus[0], "usage_usec");
	received = g_usage_ns("") / 1000;
	periods = g_stat("", "nr_periods");
	expect(usage == cpu_usage, "usage_usec %llu, of the only CPU used %llu", usage, cpu_usage);
	for (i = 1; i < nr_cpus; i++)
		expect(!g_stat_cpu("", cpus[i], "usage_usec"), "CPU %d was used", cpus[i]);
	/* what the task did before it was FIFO is in cpu.stat only */
	expect(usage <= received + 1000 && usage + 10000 >= received,
	       "usage_usec %llu, received %llu us", usage, received);
	expect(periods >= 15 && periods <= (lane_tight ? 27u : 60u), "%llu periods in 500 ms of 20 ms each", periods);
	expect(g_stat("", "nr_throttled") + (lane_tight ? 2 : periods / 2) >= periods, "%llu times throttled in %llu periods",
	       g_stat("", "nr_throttled"), periods);
	expect(g_stat("", "throttled_usec") > 250000 && g_stat("", "throttled_usec") <= 500000,
	       "throttled for %llu us of 500000", g_stat("", "throttled_usec"));
	expect(!g_stat("", "nr_unserved") && !g_stat("", "nr_migrations"),
	       "tasks ran unserved or moved");
	if (lane_tight)
		expect(g_stat("", "overrun_usec_max") <= 100, "overrun of %llu us",
		       g_stat("", "overrun_usec_max"));
	figure(usage * 1000, "usage");
	figure(periods, "periods");
}

/* Interrupt time of a CPU in /proc/stat, hard and soft. */
static u64 irq_ns(int cpu)
{
	char buf[16384], name[32], *line;
	u64 irq, softirq;

	snprintf(name, sizeof(name), "\ncpu%d ", cpu);
	file_read("/proc/stat", buf, sizeof(buf));
	line = strstr(buf, name);
	expect(line && sscanf(line, "\ncpu%*d %*u %*u %*u %*u %*u %llu %llu", &irq, &softirq) == 2,
	       "/proc/stat has no line for CPU %d", cpu);
	return (irq + softirq) * (1000000000ULL / sysconf(_SC_CLK_TCK));
}

/*
 * What interrupts take from a group's task is shown, and not charged to it. By
 * the tick there are no interrupts: then time is not accounted by interrupts.
 */
static void stat_irq(void)
{
	struct task t = { .group = "", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0] };
	u64 all, irq, start, usage, length, tick = 1000000000ULL / sysconf(_SC_CLK_TCK);

	start_interrupts(cpus[0], USEC(50));
	g_set("", "90000 100000");
	task_start(&t);
	wait_count(&t, 100, MSEC(2000));
	all = irq_ns(cpus[0]);
	irq = g_stat("", "irq_usec");
	usage = g_stat("", "usage_usec");
	start = now_ns();
	sleep_ms(1500);
	irq = USEC(g_stat("", "irq_usec") - irq);
	usage = USEC(g_stat("", "usage_usec") - usage);
	length = now_ns() - start;
	all = irq_ns(cpus[0]) - all;
	figure(all, "irq_of_cpu");
	figure(irq, "irq_of_group");
	if (!irq && all <= 4 * tick)
		test_skip("interrupts are not timed: needs CONFIG_IRQ_TIME_ACCOUNTING, fit TSC");
	/* it runs for nine tenths of the time, more or less */
	expect(all > 4 * tick, "%llu ns of interrupts in %llu ns are too few to see", all, length);
	expect(irq >= all * 3 / 5 - 2 * tick && irq <= all + 2 * tick,
	       "%llu ns are shown of %llu ns that the CPU spent in interrupts", irq, all);
	expect(usage + irq <= length + slack_ns(MSEC(1)),
	       "%llu ns charged and %llu ns of interrupts in %llu ns", usage, irq, length);
}

static void tracepoints(void)
{
	struct reservation r = { .name = "a", .runtime_us = 2000, .period_us = 10000 };

	reserve(&r, 1, cpus[0]);
	supply_measure(&r, 1, cpus[0]);
	expect(r.supply.nr_replenish >= 50 && r.supply.nr_throttle >= 50,
	       "%llu replenishments and %llu throttles in 54 periods or more",
	       r.supply.nr_replenish, r.supply.nr_throttle);
}

static void headroom_format(void)
{
	struct headroom h;
	int i, cpu;

	read_headroom(&h);
	for (i = 0; i < nr_cpus; i++) {
		cpu = cpus[i];
		expect(h.present[cpu], "%s has no line for CPU %d", HEADROOM, cpu);
		expect(h.cap[cpu] == util(file_read_s64(RT_RUNTIME),
					  file_read_s64(RT_PERIOD)),
		       "CPU %d: the cap is %llu", cpu, h.cap[cpu]);
		expect(h.fair[cpu] == util(file_read_s64(fair_file(cpu, "runtime")),
					   file_read_s64(fair_file(cpu, "period"))),
		       "CPU %d: the fair server has %llu", cpu, h.fair[cpu]);
		expect(h.free[cpu] + h.fair[cpu] + h.groups[cpu] + h.tasks[cpu] <= h.cap[cpu],
		       "CPU %d: more is free than there is", cpu);
	}
}

const struct dl_group_test interface_tests[] = {
	{ "files_present", "interface", "the files exist with their modes", .run = files_present },
	{ "not_on_root", "interface", "the root cgroup has none of them", .run = not_on_root },
	{ "default_max", "interface", "an unset group reads 'max 100000'", .run = default_max },
	{ "read_back", "interface", "cpu.rt.max reads back what was written", .run = read_back },
	{ "missing_values_kept", "interface", "a value left out keeps what was set",
	  .run = missing_values_kept },
	{ "spaces_accepted", "interface", "blanks around the values do not matter",
	  .run = spaces_accepted },
	{ "parse_errors", "interface", "what is no reservation is EINVAL and changes nothing",
	  .run = parse_errors },
	{ "effective_local", "interface", "a group's own runtime is what its children leave",
	  .run = effective_local },
	{ "effective_rounds_down", "interface", "leftovers are exact in ns and shown rounded down",
	  .run = effective_rounds_down },
	{ "stat_format", "interface", "cpu.rt.stat has its keys in order, then the CPUs",
	  .run = stat_format },
	{ "stat_without_number", "interface", "cpu.rt.stat of an unset group is all zero",
	  .run = stat_without_number },
	{ "stat_counts", "interface", "cpu.rt.stat counts what happened", .run = stat_counts },
	{ "stat_irq", "interface", "interrupts under a group's task show as irq_usec",
	  .run = stat_irq },
	{ "tracepoints", "interface", "throttle and replenish are traced with their cgroup",
	  .needs = NEED_TRACE, .run = tracepoints },
	{ "headroom_format", "interface", "the headroom of every CPU can be read",
	  .needs = NEED_HEADROOM, .run = headroom_format },
	{}
};
