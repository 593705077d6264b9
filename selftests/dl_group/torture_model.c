// SPDX-License-Identifier: GPL-2.0-only
/*
 * One stream of operations, and beside it a model of what the kernel promises:
 * what is admitted and what is refused with which error, what the files read
 * after that, and what each group with a backlog receives at least.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "torture.h"

#define NO_RUNTIME	(~0ULL)			/* "max" */
#define NR_TASKS	6
#define ALL		(~0ULL)

struct node {
	const char *name;
	int up;					/* -1: the root of the hierarchy */
	bool leaf;				/* has tasks, can be removed */
	u64 runtime, period;			/* us */
	u64 set, eff;				/* cpuset.cpus, 0: not set; effective */
	u64 granted, served;			/* CPUs */
	unsigned int order;			/* when the number was set */
};

/* Those above come first. */
static struct node nodes[] = {
	{ .name = "", .up = -1 },
	{ .name = "a", .up = 0 },
	{ .name = "b", .up = 0 },
	{ .name = "c", .up = 0, .leaf = true },
	{ .name = "d", .up = 0, .leaf = true },
	{ .name = "a/a", .up = 1, .leaf = true },
	{ .name = "a/b", .up = 1, .leaf = true },
	{ .name = "b/a", .up = 2, .leaf = true },
	{ .name = "b/b", .up = 2, .leaf = true },
};

#define NR_NODES	((int)ARRAY_SIZE(nodes))

static struct member {
	struct task task;
	int in;					/* -1: the root cgroup */
	int policy, prio;
	u64 user;				/* the CPUs asked for */
} members[NR_TASKS];

static u64 online, cap, fair[MAX_CPUS];
static unsigned int nr_numbered;

/* After @cpu; MAX_CPUS if there is none. */
static int next_cpu(int cpu, u64 mask)
{
	do
		cpu++;
	while (cpu < MAX_CPUS && !(mask >> cpu & 1));
	return cpu;
}

#define for_each_cpu(cpu, mask)							\
	for (cpu = next_cpu(-1, mask); cpu < MAX_CPUS; cpu = next_cpu(cpu, mask))

/*
 * The rules
 */

static bool numbered(int n)
{
	return n >= 0 && nodes[n].runtime != NO_RUNTIME;
}

/* Nearest ancestor, or itself, with a number; -1: none */
static int numbered_from(int n)
{
	while (n >= 0 && !numbered(n))
		n = nodes[n].up;
	return n;
}

static int parent_of(int n)
{
	return numbered_from(nodes[n].up);
}

static u64 bw_of(int n)
{
	return util(nodes[n].runtime, nodes[n].period);
}

/* What is left for @n on a CPU by all but itself. */
static u64 room(int n, int cpu)
{
	int i, parent = parent_of(n);
	u64 has = parent >= 0 ? bw_of(parent) : cap, used = parent >= 0 ? 0 : fair[cpu];

	for (i = 0; i < NR_NODES; i++)
		if (i != n && numbered(i) && parent_of(i) == parent && nodes[i].granted >> cpu & 1)
			used += bw_of(i);
	return has - (used < has ? used : has);
}

static u64 children_bw(int n, int cpu)
{
	u64 sum = 0;
	int i;

	for (i = 0; i < NR_NODES; i++)
		if (i != n && numbered(i) && parent_of(i) == n && nodes[i].granted >> cpu & 1)
			sum += bw_of(i);
	return sum;
}

/* In ns: what those below leave of it; less than 1024 ns is nothing. */
static u64 own_ns(int n, int cpu)
{
	u64 own = nodes[n].runtime * 1000, need;
	int i;

	if (!(nodes[n].granted >> cpu & 1))
		return 0;
	for (i = 0; i < NR_NODES; i++) {
		if (i == n || !numbered(i) || parent_of(i) != n || !(nodes[i].granted >> cpu & 1))
			continue;
		/* rounded up; no more than 10^9 * 10^9 */
		need = (nodes[i].runtime * 1000 * nodes[n].period + nodes[i].period - 1) /
		       nodes[i].period;
		own -= need < own ? need : own;
	}
	return own < 1024 ? 0 : own;
}

static u64 own_cpus(int n)
{
	u64 mask = 0;
	int cpu;

	for_each_cpu(cpu, nodes[n].granted)
		if (own_ns(n, cpu))
			mask |= 1ULL << cpu;
	return mask;
}

/* What groups without an ancestor with a number have of a CPU. */
static u64 groups_bw(int cpu)
{
	u64 sum = 0;
	int i;

	for (i = 0; i < NR_NODES; i++)
		if (numbered(i) && parent_of(i) < 0 && nodes[i].granted >> cpu & 1)
			sum += bw_of(i);
	return sum;
}

static bool wants(int n, int cpu)
{
	int parent = parent_of(n);

	return numbered(n) && nodes[n].runtime && nodes[n].eff >> cpu & 1 &&
	       (parent < 0 || nodes[parent].granted >> cpu & 1);
}

static u64 affinity(const struct member *m)
{
	u64 eff = m->in < 0 ? online : nodes[m->in].eff;

	return m->user & eff ?: eff;
}

static bool is_rt(const struct member *m)
{
	return m->policy == SCHED_FIFO || m->policy == SCHED_RR;
}

static bool may_run(int in, u64 mask)
{
	int n = numbered_from(in);

	return n < 0 || nodes[n].served & mask;
}

/* Somebody could use some of @before, and none of @keep. */
static bool strands(int n, u64 before, u64 keep)
{
	int i;

	for (i = 0; i < NR_TASKS; i++)
		if (is_rt(&members[i]) && numbered_from(members[i].in) == n &&
		    affinity(&members[i]) & before && !(affinity(&members[i]) & keep))
			return true;
	return false;
}

/* Who has a number, ancestors first, then by when it was set. */
static int by_order(int *list)
{
	int i, j, nr = 0;

	for (i = 0; i < NR_NODES; i++) {
		if (!numbered(i))
			continue;
		for (j = nr++; j > 0; j--) {
			const struct node *a = &nodes[list[j - 1]], *b = &nodes[i];
			int da = a->up < 0 ? 0 : 1 + !!a->up, db = b->up < 0 ? 0 : 1 + !!b->up;

			if (da < db || (da == db && a->order < b->order))
				break;
			list[j] = list[j - 1];
		}
		list[j] = i;
	}
	return nr;
}

/* CPUs, or what is free there, have changed: servers follow as far as they fit. */
static void settle(void)
{
	int list[NR_NODES], nr, i, cpu;

	for (i = 0; i < NR_NODES; i++) {
		struct node *n = &nodes[i];
		u64 base = n->up < 0 ? online : nodes[n->up].eff;

		n->eff = n->set & base ?: base;
		if (!numbered(i)) {
			n->granted = 0;
			n->served = 0;
		}
	}
	nr = by_order(list);
	for (i = 0; i < nr; i++)
		for (cpu = 0; cpu < MAX_CPUS; cpu++)
			if (!wants(list[i], cpu))
				nodes[list[i]].granted &= ~(1ULL << cpu);
	for_each_cpu(cpu, online) {
		u64 bit = 1ULL << cpu;

		for (i = nr - 1; i >= 0; i--)
			if (nodes[list[i]].granted & bit && bw_of(list[i]) > room(list[i], cpu))
				nodes[list[i]].granted &= ~bit;
		for (i = 0; i < nr; i++) {
			if (!wants(list[i], cpu))
				nodes[list[i]].granted &= ~bit;
			else if (bw_of(list[i]) <= room(list[i], cpu))
				nodes[list[i]].granted |= bit;
		}
	}
	for (i = 0; i < nr; i++)
		nodes[list[i]].served = own_cpus(list[i]);
}

/* A write to cpu.rt.max; a period of 0 is the one that is there. */
static int set_number(int n, u64 runtime, u64 period)
{
	struct node *g = &nodes[n], old = *g;
	int parent = parent_of(n), cpu;
	u64 before;

	if (!period)
		period = g->period;
	else if (period < 100 || period > 4194304)
		return -EINVAL;
	if (runtime == NO_RUNTIME) {
		g->runtime = runtime;
		g->period = period;
		settle();
		return 0;
	}
	if (runtime > period || runtime == 1)
		return -EINVAL;

	before = numbered(n) ? g->served : g->eff;
	if (!numbered(n))
		g->order = ++nr_numbered;
	g->runtime = runtime;
	g->period = period;
	g->granted = runtime ? g->eff & (parent < 0 ? ALL : nodes[parent].granted) : 0;
	if (runtime && !g->granted)
		goto enospc;
	for (cpu = 0; cpu < MAX_CPUS; cpu++)
		if ((g->granted >> cpu & 1 && bw_of(n) > room(n, cpu)) ||
		    children_bw(n, cpu) > bw_of(n))
			goto enospc;
	if (strands(n, before, own_cpus(n)) ||
	    (parent >= 0 && strands(parent, nodes[parent].served, own_cpus(parent)))) {
		*g = old;
		return -EBUSY;
	}
	settle();
	return 0;
enospc:
	*g = old;
	return -ENOSPC;
}

/*
 * What is to be read
 */

static u64 first_bits(u64 *left, int n)
{
	u64 own = own_ns(n, __builtin_ctzll(*left)), same = 0;
	int cpu;

	for_each_cpu(cpu, *left)
		if (own_ns(n, cpu) == own)
			same |= 1ULL << cpu;
	*left &= ~same;
	return same;
}

static void cpulist(char *buf, size_t size, u64 mask)
{
	size_t len = 0;
	int from, cpu;

	buf[0] = '\0';
	for (cpu = 0; cpu < MAX_CPUS; cpu++) {
		if (!(mask >> cpu & 1))
			continue;
		from = cpu;
		while (cpu + 1 < MAX_CPUS && mask >> (cpu + 1) & 1)
			cpu++;
		len += snprintf(buf + len, size - len, from == cpu ? "%s%d" : "%s%d-%d",
				len ? "," : "", from, cpu);
	}
}

static void check_node(int n)
{
	u64 least = ~0ULL, most = 0, left = nodes[n].eff, same;
	char local[1024], list[256];
	int cpu, len;

	if (!numbered(n)) {
		snprintf(local, sizeof(local), "max %llu\n", nodes[n].period);
		g_expect(nodes[n].name, "cpu.rt.max", "%s", local);
		g_expect(nodes[n].name, "cpu.rt.max.effective.local", "%s", local);
		return;
	}
	g_expect(nodes[n].name, "cpu.rt.max", "%llu %llu\n", nodes[n].runtime, nodes[n].period);
	for_each_cpu(cpu, nodes[n].eff) {
		u64 own = own_ns(n, cpu);

		least = own < least ? own : least;
		most = own > most ? own : most;
	}
	len = sprintf(local, "%llu %llu\n", least / 1000, nodes[n].period);
	while (least != most && left) {
		cpu = __builtin_ctzll(left);
		same = first_bits(&left, n);
		cpulist(list, sizeof(list), same);
		len += sprintf(local + len, "%s %llu %llu\n", list, own_ns(n, cpu) / 1000,
			       nodes[n].period);
	}
	g_expect(nodes[n].name, "cpu.rt.max.effective.local", "%s", local);
}

static void check_all(void)
{
	struct headroom h;
	int i, cpu;

	read_headroom(&h);
	for (i = 0; i < NR_NODES; i++)
		check_node(i);
	for_each_cpu(cpu, online) {
		u64 groups = groups_bw(cpu), used = groups + fair[cpu];

		expect(h.groups[cpu] == groups && h.free[cpu] == (used < cap ? cap - used : 0),
		       "CPU %d: groups have %llu and %llu are free, expected %llu and %llu", cpu,
		       h.groups[cpu], h.free[cpu], groups, used < cap ? cap - used : 0);
	}
	for (i = 0; i < NR_TASKS; i++)
		expect(get_policy(members[i].task.pid) == members[i].policy,
		       "task %d has policy %d, expected %d", i, get_policy(members[i].task.pid),
		       members[i].policy);
}

static unsigned int results[256], nr_served;

#define expect_same(call, want)								\
	do {										\
		int same_want = (want), same_got = (call);				\
											\
		expect(same_got == same_want, "%s: %s, expected %s", #call,		\
		       same_got ? strerror(-same_got) : "accepted",			\
		       same_want ? strerror(-same_want) : "accepted");			\
		results[-same_want & 255]++;						\
	} while (0)

/*
 * What is done
 */

static u64 random_mask(void)
{
	u64 mask = 0;
	int i;

	for (i = 0; i < nr_cpus; i++)
		mask |= dice(2) << cpus[i];
	return mask ?: 1ULL << cpus[dice(nr_cpus)];
}

static void do_number(void)
{
	static const u64 periods[] = { 1000, 3000, 7000, 10000, 20000, 33333, 100000, 999999 };
	static const u64 odd[][2] = {
		{ 1, 10000 }, { 20001, 20000 }, { 10, 99 }, { 1000, 4194305 }, { 2000000, 0 },
	};
	int n = dice(NR_NODES), cpu;
	u64 period = pick(periods), runtime, least = ALL;
	struct node *g = &nodes[n];

	switch (dice(8)) {
	case 0:
		runtime = NO_RUNTIME;
		break;
	case 1:
		runtime = 0;
		break;
	case 2:	{	/* to the last microsecond, or one more */
		int parent = parent_of(n);

		for_each_cpu(cpu, g->eff & (parent < 0 ? ALL : nodes[parent].granted))
			if (room(n, cpu) < least)
				least = room(n, cpu);
		runtime = fill_us(least == ALL ? 0 : least, period) + dice(2);
		break;
	}
	case 3: {
		int i = dice(ARRAY_SIZE(odd));

		runtime = odd[i][0];
		period = odd[i][1];
		break;
	}
	default:
		runtime = period * (1 + dice(dice(4) ? 30 : 100)) / 100 + dice(2);
	}
	if (!dice(6))
		period = 0;
	if (runtime == NO_RUNTIME && period) {
		step_is("cpu.rt.max of '%s' = max %llu", g->name, period);
		expect_same(g_try(g->name, "max %llu", period), set_number(n, runtime, period));
	} else if (runtime == NO_RUNTIME) {
		step_is("cpu.rt.max of '%s' = max", g->name);
		expect_same(g_try(g->name, "max"), set_number(n, runtime, period));
	} else if (period) {
		step_is("cpu.rt.max of '%s' = %llu %llu", g->name, runtime, period);
		expect_same(g_try(g->name, "%llu %llu", runtime, period),
			    set_number(n, runtime, period));
	} else {
		step_is("cpu.rt.max of '%s' = %llu", g->name, runtime);
		expect_same(g_try(g->name, "%llu", runtime), set_number(n, runtime, period));
	}
}

static void do_invalid(void)
{
	static const char *const texts[] = {
		" ", "x", "-1", "1000 x", "1000 10000 10000", "max max", "0x10", "1000,10000",
		"18446744073709551615", "18446744073709551616", "max 0", "1000 -10000",
	};
	const char *name = nodes[dice(NR_NODES)].name, *text = pick(texts);

	step_is("cpu.rt.max of '%s' = '%s'", name, text);
	expect_same(g_try(name, "%s", text), -EINVAL);
}

static void do_cpuset(void)
{
	struct node *g = &nodes[dice(NR_NODES)];
	char list[256];

	g->set = random_mask();
	cpulist(list, sizeof(list), g->set);
	step_is("cpuset.cpus of '%s' = %s", g->name, list);
	must(g_write(g->name, "cpuset.cpus", "%s", list));
	settle();
}

/* Where a task was pinned may be forgotten when its CPU goes. */
static void do_hotplug(void)
{
	int cpu = cpus[nr_cpus - 1], i;
	char path[64];

	if (nr_cpus < 2)
		return;
	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	if (access(path, W_OK))
		return;
	for (i = 0; i < NR_TASKS; i++) {
		struct member *m = &members[i];

		if (m->user == ALL)
			continue;
		must(set_policy(m->task.pid, SCHED_OTHER, 0));
		must(set_cpu(m->task.pid, ANY_CPU));
		m->policy = SCHED_OTHER;
		m->user = ALL;
	}
	online ^= 1ULL << cpu;
	step_is("CPU %d %s", cpu, online >> cpu & 1 ? "online" : "offline");
	must(file_write(path, "%d", (int)(online >> cpu & 1)));
	settle();
}

static void do_remake(void)
{
	int n = dice(NR_NODES), i;
	struct node *g = &nodes[n];

	for (i = 0; i < NR_TASKS; i++)
		if (members[i].in == n)
			return;
	if (!g->leaf)
		return;
	step_is("'%s' removed and made", g->name);
	g_rmdir(g->name);
	g->runtime = NO_RUNTIME;
	g->period = 100000;
	g->set = 0;
	settle();
	g_make(g->name);
}

static void do_policy(void)
{
	static const int policies[] = { SCHED_OTHER, SCHED_FIFO, SCHED_FIFO, SCHED_RR };
	struct member *m = &members[dice(NR_TASKS)], was = *m;
	int want = 0;

	m->policy = pick(policies);
	m->prio = m->policy ? 1 + dice(20) : 0;
	step_is("task %d in '%s': policy %d, priority %d", (int)(m - members),
		m->in < 0 ? "/" : nodes[m->in].name, m->policy, m->prio);
	if (is_rt(m) && (was.policy != m->policy || was.prio != m->prio) &&
	    !may_run(m->in, affinity(m)))
		want = -EPERM;
	expect_same(set_policy(m->task.pid, m->policy, m->prio), want);
	if (want)
		*m = was;
}

static void do_affinity(void)
{
	struct member *m = &members[dice(NR_TASKS)];
	u64 user = dice(2) ? ALL : 1ULL << cpus[dice(nr_cpus)];
	u64 mask = user & (m->in < 0 ? online : nodes[m->in].eff);
	int cpu = user == ALL ? ANY_CPU : __builtin_ctzll(user), want = 0;

	step_is("task %d in '%s': CPU %d", (int)(m - members),
		m->in < 0 ? "/" : nodes[m->in].name, cpu);
	if (!mask || (is_rt(m) && !may_run(m->in, mask)))
		want = -EINVAL;
	expect_same(set_cpu(m->task.pid, cpu), want);
	if (!want)
		m->user = user;
}

static void do_attach(void)
{
	struct member *m = &members[dice(NR_TASKS)], was = *m;
	int want = 0;

	do
		m->in = (int)dice(NR_NODES + 1) - 1;
	while (m->in >= 0 && !nodes[m->in].leaf);
	step_is("task %d from '%s' to '%s'", (int)(m - members),
		was.in < 0 ? "/" : nodes[was.in].name, m->in < 0 ? "/" : nodes[m->in].name);
	if (is_rt(m) && m->in != was.in && !may_run(m->in, affinity(m)))
		want = -EINVAL;
	expect_same(g_attach(m->in < 0 ? "/" : nodes[m->in].name, m->task.pid), want);
	if (want)
		*m = was;
}

/* Each CPU with groups by itself; the sum counts beside SCHED_DEADLINE tasks only. */
static bool still_fits(void)
{
	u64 sum = 0, all = 0;
	int cpu;

	for_each_cpu(cpu, online) {
		if (groups_bw(cpu) && groups_bw(cpu) + fair[cpu] > cap)
			return false;
		sum += fair[cpu];
		all += cap;
	}
	return sum <= all;
}

/* What servers and tasks may take together changes. */
static void do_sysctl(void)
{
	static const int values[] = { 950000, 950000, 900000, 700000, 400000, 100000, -1 };
	int value = pick(values), want;
	u64 old = cap;

	step_is("sched_rt_runtime_us = %d", value);
	cap = value < 0 ? UNIT : util(value, 1000000);
	want = still_fits() ? 0 : -EBUSY;
	if (want)
		cap = old;
	expect_same(file_write(RT_RUNTIME, "%d", value), want);
	settle();
}

static void do_fair(void)
{
	int cpu = cpus[dice(nr_cpus)], value = 10 + 20 * dice(10), want;
	u64 old = fair[cpu];

	step_is("fair server of CPU %d = %d ms", cpu, value);
	fair[cpu] = util(value, 1000);
	want = online >> cpu & 1 && still_fits() ? 0 : -EBUSY;
	if (want)
		fair[cpu] = old;
	expect_same(file_write(fair_file(cpu, "runtime"), "%d000000", value), want);
	settle();
}

/* Does somebody of @n want to run on this CPU and on no other? */
static bool has_backlog(int n, int cpu)
{
	int i;

	for (i = 0; i < NR_TASKS; i++)
		if (is_rt(&members[i]) && numbered_from(members[i].in) == n &&
		    affinity(&members[i]) == 1ULL << cpu)
			return true;
	return false;
}

static void check_served(int n, int cpu, u64 got, u64 length, u64 passed)
{
	u64 q = own_ns(n, cpu), p = USEC(nodes[n].period), due = 0, most;

	most = 2 * q + (u64)((double)q / p * passed) + slack_ns(passed / 20);
	/* an overrun, of what the host takes away, is paid back: see at_least() */
	if (has_backlog(n, cpu) && length >= slack_ns(2 * (p - q)) + p) {
		due = at_least((double)q / p * (length - 2 * (p - q)));
		nr_served++;
	}
	expect(got >= due && got <= most,
	       "'%s' has %llu ns in %llu ns on CPU %d, %llu every %llu: %llu to %llu are right",
	       nodes[n].name, got, passed, cpu, q, p, due, most);
}

/*
 * Nobody changes anything, and all FIFO and RR tasks want to run: each server
 * that has one of its own gives it what was promised, within what is believed
 * in this lane, and no server gives more.
 */
static void do_serve(void)
{
	u64 before[NR_NODES][MAX_CPUS] = {}, begin, length = MSEC(1000 + dice(500)), got;
	int i, cpu;

	step_is("all run for %llu ms", length / NSEC_PER_MSEC);
	for (i = 0; i < NR_NODES; i++)
		for_each_cpu(cpu, numbered(i) ? nodes[i].served : 0)
			before[i][cpu] = g_stat_cpu(nodes[i].name, cpu, "usage_usec");
	begin = now_ns();
	for (i = 0; i < NR_TASKS; i++)
		if (is_rt(&members[i]))
			members[i].task.shm->until = begin + length;
	sleep_until(begin + length);
	for (i = 0; i < NR_NODES; i++)
		for_each_cpu(cpu, numbered(i) ? nodes[i].served : 0) {
			got = g_stat_cpu(nodes[i].name, cpu, "usage_usec") - before[i][cpu];
			check_served(i, cpu, USEC(got), length, now_ns() - begin);
		}
}

/* Runs when it is told to. */
static void soldier(struct task_shm *shm, void *arg)
{
	(void)arg;
	for (;;) {
		while (now_ns() < shm->until)
			shm->count++;
		sleep_ms(5);
	}
}

static const struct {
	int weight;
	void (*fn)(void);
} ops[] = {
	{ 30, do_number }, { 3, do_invalid }, { 6, do_cpuset }, { 2, do_hotplug }, { 4, do_remake },
	{ 16, do_policy }, { 10, do_affinity }, { 16, do_attach }, { 3, do_sysctl }, { 3, do_fair },
	{ 1, do_serve },
};

static void one_step(void)
{
	size_t i, sum = 0, at;

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		sum += ops[i].weight;
	at = dice(sum);
	for (i = 0; at >= (size_t)ops[i].weight; i++)
		at -= ops[i].weight;
	ops[i].fn();
}

void run_model(void)
{
	u64 nr = 0;
	int i;

	for (i = 0; i < nr_cpus; i++) {
		online |= 1ULL << cpus[i];
		fair[cpus[i]] = util(file_read_s64(fair_file(cpus[i], "runtime")),
				     file_read_s64(fair_file(cpus[i], "period")));
	}
	must(file_write(RT_RUNTIME, "950000"));
	cap = util(95, 100);
	for (i = 0; i < NR_NODES; i++) {
		nodes[i].runtime = NO_RUNTIME;
		nodes[i].period = 100000;
		if (i)
			g_make(nodes[i].name);
	}
	settle();
	for (i = 0; i < NR_TASKS; i++) {
		members[i] = (struct member){ .in = -1, .user = ALL };
		members[i].task = (struct task){ .cpu = ANY_CPU, .fn = soldier };
		task_start(&members[i].task);
	}
	while (now_ns() < *end_time) {
		step_begin(MAX_WORKERS, nr++);
		one_step();
		check_all();
	}
	ksft_print_msg("%llu steps, %u times a server was measured\n", nr, nr_served);
	ksft_print_msg("as expected: %u accepted, ENOSPC %u, EBUSY %u, EINVAL %u, EPERM %u\n",
		       results[0], results[ENOSPC], results[EBUSY], results[EINVAL],
		       results[EPERM]);
}
