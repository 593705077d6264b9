// SPDX-License-Identifier: GPL-2.0-only
/*
 * What reservations cost, as JSON and without a verdict. Times are of
 * CLOCK_MONOTONIC: where QEMU counts instructions, one nanosecond each, they are
 * instructions of the guest and the same in every run.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/rtnetlink.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../dl_group/dl_group_test.h"

static bool first_row = true;

static void __printf(1, 2) row(const char *fmt, ...)
{
	va_list args;

	printf("%s\n    {", first_row ? "" : ",");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("}");
	fflush(stdout);
	first_row = false;
}

static int by_value(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/* As text, since a row has some other columns, too. */
static const char *spread(u64 *ns, size_t n)
{
	static char text[160];

	qsort(ns, n, sizeof(*ns), by_value);
	snprintf(text, sizeof(text),
		 "\"n\": %zu, \"min_ns\": %llu, \"median_ns\": %llu, \"p99_ns\": %llu, \"max_ns\": %llu",
		 n, ns[0], ns[n / 2], ns[n * 99 / 100], ns[n - 1]);
	return text;
}

/* Who is woken notes when it has come so far. */
static void woken(struct task_shm *shm, void *arg)
{
	int seen = 0;

	(void)arg;
	for (;;) {
		futex(&shm->word, FUTEX_WAIT, seen);
		shm->value = now_ns();
		seen = shm->word;
		shm->count = seen;
	}
}

#define WAKEUPS		2000
#define WARM_UP		100

/* From before the system call that wakes @t until its first instruction. */
static void measure_wakeup(struct task *t, const char *kind)
{
	static u64 ns[WAKEUPS];
	struct task_shm *shm;
	int i;

	t->cpu = cpus[0];
	t->fn = woken;
	task_start(t);
	shm = t->shm;
	/* A period of 10 ms has a budget of 5: some wakeups begin one, some do not. */
	for (i = -WARM_UP; i < WAKEUPS; i++) {
		u64 start;

		sleep_ns(USEC(700));
		shm->word++;
		start = now_ns();
		futex(&shm->word, FUTEX_WAKE, 1);
		while (shm->count != (u64)shm->word)
			sleep_ns(USEC(100));
		if (i >= 0)
			ns[i] = shm->value - start;
	}
	row("\"of\": \"wakeup\", \"kind\": \"%s\", %s", kind, spread(ns, WAKEUPS));
	task_kill(t);
}

static void wakeup(void)
{
	struct task fifo = { .policy = SCHED_FIFO, .prio = 10 };
	struct task group = { .group = "g", .policy = SCHED_FIFO, .prio = 10 };
	struct task nested = { .group = "g/max/max", .policy = SCHED_FIFO, .prio = 10 };
	struct task deadline = { .policy = SCHED_DEADLINE, .dl_runtime = MSEC(5),
				 .dl_period = MSEC(10) };

	measure_wakeup(&fifo, "fifo_root");
	must(file_write(SCHED_FEATURES, "HRTICK_DL"));
	deadline.cpu = ANY_CPU;
	if (nr_cpus == 1)
		measure_wakeup(&deadline, "deadline_hrtick");
	must(file_write(SCHED_FEATURES, "NO_HRTICK_DL"));
	g_make("g");
	g_set("g", "5000 10000");
	measure_wakeup(&group, "fifo_group");
	g_make("g/max");
	g_make("g/max/max");
	measure_wakeup(&nested, "fifo_group_nested");
	g_rmdir("g/max/max");
	g_rmdir("g/max");
	g_rmdir("g");
}

#define MOST_GROUPS	1000

static pid_t sleeper_in(const char *g, atomic_int *word)
{
	pid_t pid = fork_child();

	if (!pid)
		for (;;)
			futex(word, FUTEX_WAIT, 0);
	must(set_cpu(pid, cpus[0]));
	must(g_attach(g, pid));
	must(set_policy(pid, SCHED_FIFO, 10));
	return pid;
}

/*
 * One task wakes one of each of many groups. They have later deadlines and come
 * to wait, so that each wakeup finds one server more.
 */
static void reservations(void)
{
	static const int sizes[] = { 1, 10, 100, MOST_GROUPS };
	static u64 ns[MOST_GROUPS], few[128];
	atomic_int *words = share(MOST_GROUPS * sizeof(*words));
	static pid_t pids[MOST_GROUPS];
	struct task waker = { .group = "w", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0] };
	u64 *shared = share(sizeof(ns));
	char g[16];
	int i, j, n;

	for (i = 0; i < MOST_GROUPS; i++) {
		snprintf(g, sizeof(g), "g%d", i);
		g_make(g);
		g_set(g, "100 500000");
		pids[i] = sleeper_in(g, &words[i]);
	}
	g_make("w");
	g_set("w", "50000 100000");
	sleep_ms(1000);
	task_share(&waker);
	waker.pid = fork_child();
	if (!waker.pid) {
		while (!waker.shm->word)
			futex(&waker.shm->word, FUTEX_WAIT, 0);
		for (i = 0; i < MOST_GROUPS; i++) {
			u64 start = now_ns();

			futex(&words[i], FUTEX_WAKE, 1);
			shared[i] = now_ns() - start;
		}
		_exit(0);
	}
	must(set_cpu(waker.pid, cpus[0]));
	must(g_attach("w", waker.pid));
	must(set_policy(waker.pid, SCHED_FIFO, 10));
	sleep_ms(200);
	waker.shm->word = 1;
	futex(&waker.shm->word, FUTEX_WAKE, 1);
	expect(!wait_exit(waker.pid), "the waker failed");
	memcpy(ns, shared, sizeof(ns));
	for (i = 0; i < (int)ARRAY_SIZE(sizes); i++) {
		/* those around it, or all there are */
		for (j = sizes[i] * 9 / 10, n = 0; j < sizes[i] && n < (int)ARRAY_SIZE(few); j++)
			few[n++] = ns[j];
		row("\"of\": \"wakeup_beside\", \"reservations\": %d, %s", sizes[i], spread(few, n));
	}
	for (i = 0; i < MOST_GROUPS; i++) {
		kill(pids[i], SIGKILL);
		wait_exit(pids[i]);
	}
	for (i = 0; i < MOST_GROUPS; i++) {
		snprintf(g, sizeof(g), "g%d", i);
		g_rmdir(g);
	}
	g_rmdir("w");
}

/* Woken by a timer every *@arg ns: the longest that it had to wait for the CPU. */
static void ticks(struct task_shm *shm, void *arg)
{
	u64 every = *(u64 *)arg, next = now_ns();

	while (!shm->stop) {
		u64 late;

		next += every;
		sleep_until(next);
		late = now_ns() - next;
		if (late > shm->value)
			shm->value = late;
		if (late > every)
			next = now_ns();
	}
}

#define WRITES	50
#define HOLDS	1000

/*
 * A SCHED_DEADLINE task is kept off by whoever holds the lock of the runqueue, or has
 * interrupts or preemption disabled: the longest while a file of the group is written
 * to, or only read.
 */
static u64 longest_hold(bool write)
{
	static u64 every = USEC(133);
	struct task t = { .policy = SCHED_DEADLINE, .cpu = ANY_CPU, .fn = ticks, .arg = &every,
			  .dl_runtime = USEC(40), .dl_period = USEC(133) };
	int i;

	task_start(&t);
	/* Its first steps take more than its runtime. */
	sleep_ms(5);
	t.shm->value = 0;
	for (i = 0; i < HOLDS; i++) {
		char buf[64];

		if (write)
			g_set("g", "%d 100000", i & 1 ? 50000 : 40000);
		else
			g_read("g", "cpu.rt.max", buf, sizeof(buf));
	}
	t.shm->stop = 1;
	wait_exit(t.pid);
	return t.shm->value;
}

/* CPU time of a write to cpu.rt.max with @n groups below and @tasks that wait in it. */
static void measure_write(int n, int tasks)
{
	static struct task t[MAX_TASKS];
	u64 ns[WRITES];
	char g[32];
	int i;

	g_make("g");
	g_set("g", "50000 100000");
	for (i = 0; i < n; i++) {
		snprintf(g, sizeof(g), "g/%d", i);
		g_make(g);
		g_set(g, "10 100000");
	}
	for (i = 0; i < tasks; i++) {
		t[i] = (struct task){ .group = "g", .policy = SCHED_FIFO, .prio = 10,
				      .cpu = cpus[0], .fn = plain_hog };
		task_prepare(&t[i]);
	}
	tasks_go();
	for (i = 0; i < WRITES; i++) {
		u64 start = cpu_ns();

		g_set("g", "%d 100000", i & 1 ? 50000 : 40000);
		ns[i] = cpu_ns() - start;
	}
	row("\"of\": \"write\", \"cpus\": %d, \"groups\": %d, \"tasks\": %d, %s", nr_cpus, n, tasks,
	    spread(ns, WRITES));
	/* The tasks of the group come first when it is close to its deadline. */
	if (nr_cpus == 1 && !tasks)
		row("\"of\": \"hold\", \"groups\": %d, \"reading_ns\": %llu, \"writing_ns\": %llu",
		    n, longest_hold(false), longest_hold(true));
	/* Those that are to die need some CPU time, too. */
	for (i = 0; i < tasks; i++)
		kill(t[i].pid, SIGKILL);
	for (i = 0; i < tasks; i++)
		wait_exit(t[i].pid);
	for (i = 0; i < n; i++) {
		snprintf(g, sizeof(g), "g/%d", i);
		g_rmdir(g);
	}
	g_rmdir("g");
}

static void writes(void)
{
	static const int sizes[] = { 0, 10, 100 };
	int i;

	for (i = 0; i < (int)ARRAY_SIZE(sizes); i++)
		measure_write(sizes[i], 0);
	for (i = 1; i < (int)ARRAY_SIZE(sizes); i++)
		measure_write(0, sizes[i]);
}

/*
 * Work inside the kernel under a lock that everybody needs. Whoever is throttled
 * there keeps the others waiting; the lock has no priority inheritance.
 */
static void do_rename(int who)
{
	char from[64], to[64];

	snprintf(from, sizeof(from), "/tmp/perf-%d-a", who);
	snprintf(to, sizeof(to), "/tmp/perf-%d-b", who);
	close(open(from, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	rename(from, to);
	unlink(to);
}

static void do_mmap(int who)
{
	size_t size = who ? 4096 : 64 * 4096;
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p != MAP_FAILED)
		munmap(p, size);
}

static void do_cgroup(int who)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%.2048s/perf-%d", cgroup_top, who);
	mkdir(path, 0755);
	rmdir(path);
}

/* An address of the loopback device, set and removed: under RTNL. */
static void do_rtnl(int who)
{
	struct {
		struct nlmsghdr header;
		struct ifaddrmsg address;
		struct rtattr attr;
		unsigned char ip[4];
	} request = {
		.header.nlmsg_len = sizeof(request),
		.address = { .ifa_family = AF_INET, .ifa_prefixlen = 32, .ifa_index = 1 },
		.attr = { .rta_len = RTA_LENGTH(4), .rta_type = IFA_LOCAL },
		.ip = { 127, 9, 9, who + 1 },
	};
	int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	char answer[256];

	request.header.nlmsg_type = RTM_NEWADDR;
	request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK;
	if (send(s, &request, sizeof(request), 0) > 0)
		recv(s, answer, sizeof(answer), 0);
	request.header.nlmsg_type = RTM_DELADDR;
	request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	if (send(s, &request, sizeof(request), 0) > 0)
		recv(s, answer, sizeof(answer), 0);
	close(s);
}

static const struct inside {
	const char *name;
	void (*fn)(int who);
} insides[] = {
	{ "rename", do_rename },	/* rwsem of the directory */
	{ "mmap_lock", do_mmap },	/* of both, which share it */
	{ "cgroup_mutex", do_cgroup },
	{ "rtnl", do_rtnl },
};

static atomic_int stop;

static int inside_hog(void *arg)
{
	const struct inside *in = arg;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!stop)
		in->fn(0);
	return 0;
}

#define WAITS	20000

static void measure_inside(const struct inside *in, unsigned int period_ms)
{
	static u64 every = USEC(1330);
	struct task fifo50 = { .policy = SCHED_FIFO, .prio = 50, .cpu = cpus[0], .fn = ticks,
			       .arg = &every };
	unsigned int runtime_us = period_ms * 100;	/* a tenth */
	static char stack[65536] __attribute__((aligned(16)));
	static u64 ns[WAITS];
	u64 end, over = 0;
	int i, n = 0;
	pid_t pid;

	g_make("in");
	g_set("in", "%u %u", runtime_us, period_ms * 1000);
	stop = 0;
	/* Another process, but with the same mmap_lock. */
	pid = clone(inside_hog, stack + sizeof(stack), CLONE_VM | SIGCHLD, (void *)in);
	expect(pid > 0, "clone: %s", strerror(errno));
	must(set_cpu(pid, cpus[0]));
	must(g_attach("in", pid));
	must(set_policy(pid, SCHED_FIFO, 10));
	task_start(&fifo50);
	end = now_ns() + 30 * MSEC(period_ms) + MSEC(1000);
	while (now_ns() < end && n < WAITS) {
		u64 start = now_ns();

		in->fn(1);
		ns[n] = now_ns() - start;
		over += ns[n++] > MSEC(1);
		sleep_ns(USEC(970));
	}
	stop = 1;
	task_kill(&fifo50);
	wait_exit(pid);
	for (i = 0; i < 2 * (int)period_ms; i++)
		sleep_ms(1);
	g_rmdir("in");
	row("\"of\": \"inside\", \"lock\": \"%s\", \"period_ms\": %u, \"runtime_us\": %u, \"over_1ms\": %llu, \"fifo50_late_max_ns\": %llu, %s",
	    in->name, period_ms, runtime_us, over, (u64)fifo50.shm->value, spread(ns, n));
}

static void inside(void)
{
	static const unsigned int periods[] = { 20, 100, 1000 };
	int i, j;

	for (i = 0; i < (int)ARRAY_SIZE(insides); i++)
		for (j = 0; j < (int)ARRAY_SIZE(periods); j++)
			measure_inside(&insides[i], periods[j]);
}

/*
 * Single system calls that take long. If a task could not be throttled before it
 * leaves the kernel it would run on past its budget for as long.
 */
static void stretch(void)
{
	const size_t size = 256 << 20;
	u64 start, ns[3];
	pid_t pid;
	char *p;
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	expect(fd >= 0 && p != MAP_FAILED, "256 MB: %s", strerror(errno));
	start = cpu_ns();
	expect(read(fd, p, size) == (ssize_t)size, "read: %s", strerror(errno));
	ns[0] = cpu_ns() - start;
	start = cpu_ns();
	pid = fork_child();
	if (!pid)
		_exit(0);
	ns[1] = cpu_ns() - start;
	wait_exit(pid);
	start = cpu_ns();
	munmap(p, size);
	ns[2] = cpu_ns() - start;
	close(fd);
	row("\"of\": \"stretch\", \"bytes\": %zu, \"read_zero_ns\": %llu, \"fork_ns\": %llu, \"munmap_ns\": %llu",
	    size, ns[0], ns[1], ns[2]);
}

#define IDLE_GROUPS	1000

/* Cgroups that nobody made a reservation for. */
static void idle(void)
{
	u64 ns[2];
	char g[16];
	int i;

	ns[0] = cpu_ns();
	for (i = 0; i < IDLE_GROUPS; i++) {
		snprintf(g, sizeof(g), "g%d", i);
		g_make(g);
	}
	ns[0] = cpu_ns() - ns[0];
	ns[1] = cpu_ns();
	for (i = 0; i < IDLE_GROUPS; i++) {
		snprintf(g, sizeof(g), "g%d", i);
		g_rmdir(g);
	}
	ns[1] = cpu_ns() - ns[1];
	row("\"of\": \"idle_cgroups\", \"n\": %d, \"mkdir_ns\": %llu, \"rmdir_ns\": %llu", IDLE_GROUPS,
	    ns[0] / IDLE_GROUPS, ns[1] / IDLE_GROUPS);
}

static const struct measurement {
	const char *name, *what;
	void (*fn)(void);
} measurements[] = {
	{ "idle", "making and removing cgroups without a reservation", idle },
	{ "wakeup", "a wakeup, by class", wakeup },
	{ "reservations", "a wakeup beside many reservations", reservations },
	{ "write", "a write to cpu.rt.max, by descendants and waiting tasks", writes },
	{ "stretch", "system calls that take long", stretch },
	{ "inside", "waiting for somebody who is throttled inside the kernel", inside },
};

static int usage(const char *program, int status)
{
	int i;

	printf("usage: %s MEASUREMENT...\n", program);
	for (i = 0; i < (int)ARRAY_SIZE(measurements); i++)
		printf("  %-14s%s\n", measurements[i].name, measurements[i].what);
	return status;
}

int main(int argc, char **argv)
{
	int i, j;

	if (argc < 2 || !strcmp(argv[1], "-h") || !strcmp(argv[1], "--help"))
		return usage(argv[0], argc < 2 ? KSFT_FAIL : KSFT_PASS);
	for (i = 1; i < argc; i++) {
		for (j = 0; j < (int)ARRAY_SIZE(measurements); j++)
			if (!strcmp(argv[i], measurements[j].name))
				break;
		if (j == (int)ARRAY_SIZE(measurements))
			return usage(argv[0], KSFT_FAIL);
	}
	find_cpus();
	find_cgroups();
	lane_tight = true;
	set_cpu(0, cpus[0]);
	mkdir(cgroup_top, 0755);
	cg_write(cgroup_top, "cgroup.subtree_control", "+cpu");
	printf("{\n  \"schema_version\": 1,\n  \"rows\": [");
	for (i = 1; i < argc; i++)
		for (j = 0; j < (int)ARRAY_SIZE(measurements); j++)
			if (!strcmp(argv[i], measurements[j].name))
				measurements[j].fn();
	printf("\n  ]\n}\n");
	rmdir(cgroup_top);
	return KSFT_PASS;
}
