// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random operations on groups with reservations, for a given time: in the mode
 * chaos from several processes at once, in the mode model one after the other,
 * each with its result known before. What a step does depends on the seed and its
 * number only. After each mode everything has to be as it was, and all that is
 * free can be reserved and is served.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "torture.h"

#define BURST		"dl_group_burst"	/* the program as one that was executed */
#define NR_SLOTS	6			/* tasks of a worker */
#define NR_LOCKS	4
#define WORKER_PRIO	98			/* more than any task it makes */
#define TASK_PRIO	50

u64 seed;
atomic_ullong *end_time;
struct watch *me;

static unsigned int duration_s = 60, patience_s = 60;
static int nr_workers = 4;
static unsigned long chosen_ops = ~0UL;		/* by -o and -x */
static bool failing;				/* by -f */

/*
 * Dice, by splitmix64
 */

static u64 dice_state;

static u64 mix(u64 x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

u64 dice(u64 n)
{
	dice_state += 0x9e3779b97f4a7c15ULL;
	return mix(dice_state) % n;
}

void step_begin(unsigned int stream, u64 nr)
{
	dice_state = mix(mix(mix(seed) + stream) + nr);
	me->since = now_ns();
	me->step = nr;
}

void step_is(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(me->what, sizeof(me->what), fmt, args);
	va_end(args);
}

/*
 * Chaos
 */

static const char *const groups[] = {
	"a", "b", "c", "d", "a/a", "a/b", "b/a", "b/b", "a/a/a", "b/b/b", "c/t",
};

enum { NR_OPS = 32 };

static struct chaos {
	atomic_int pids[MAX_WORKERS * NR_SLOTS];
	atomic_uint done[NR_OPS], refused[NR_OPS], failed;
	pthread_mutex_t locks[NR_LOCKS], hotplug;
} *chaos;

static struct watch *watches;
static int worker;				/* which one this is */
static bool can_lock;				/* not after an exec */

static const char *random_group(void)
{
	return pick(groups);
}

static pid_t random_task(void)
{
	pid_t pid = chaos->pids[dice((u64)nr_workers * NR_SLOTS)];

	return pid ?: -1;
}

static void random_cpus(char *buf, size_t size)
{
	int i, len = 0;

	buf[0] = '\0';
	for (i = 0; i < nr_cpus; i++)
		if (dice(2))
			len += snprintf(buf + len, size - len, "%s%d", len ? "," : "", cpus[i]);
	if (!len)
		snprintf(buf, size, dice(2) ? "%d" : "\n", cpus[dice(nr_cpus)]);
}

/* The lock after this one is taken inside, so there is no deadlock. */
static void hold_locks(int i)
{
	int ret = pthread_mutex_lock(&chaos->locks[i]);

	if (ret == EOWNERDEAD)
		pthread_mutex_consistent(&chaos->locks[i]);
	else if (ret)
		return;
	spin_ns(USEC(dice(2000)));
	if (i + 1 < NR_LOCKS && dice(2))
		hold_locks(i + 1);
	pthread_mutex_unlock(&chaos->locks[i]);
}

static bool trylock(pthread_mutex_t *lock)
{
	int ret = pthread_mutex_trylock(lock);

	if (ret == EOWNERDEAD)
		pthread_mutex_consistent(lock);
	return !ret || ret == EOWNERDEAD;
}

/*
 * As clone_into(), of a group that may be gone at any time. Not while a CPU goes:
 * cpuset_fork() warns of a cpuset that is about to lose its last CPU (mainline).
 */
static pid_t try_clone_into(const char *g)
{
	int fd = dirfd_open_opath(g_path(g, NULL)), err;
	pid_t pid;

	if (fd < 0)
		return -errno;
	if (!trylock(&chaos->hotplug)) {
		close(fd);
		return -EBUSY;
	}
	pid = clone_into_cgroup(fd);
	err = errno;
	close(fd);
	if (pid)
		pthread_mutex_unlock(&chaos->hotplug);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* The C library does not know of this clone, nor its thread's id. */
		can_lock = false;
	}
	return pid < 0 ? -err : pid;
}

static void *thread_main(void *arg)
{
	spin_ns(USEC((unsigned long)arg));
	return NULL;
}

/* What a task does until its time is over, or it is killed. */
static void burst(u64 until)
{
	static char memory[64 * 1024];
	char number[2][32];
	pthread_t thread;

	while (now_ns() < until) {
		unsigned long us = dice(3000);
		int i;

		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		switch (dice(10)) {
		case 0:
			for (i = 0; i < 20; i++)
				sched_yield();
			break;
		case 1:
			if ((chaos && !dice(4) ? try_clone_into(random_group()) : fork()) == 0) {
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				spin_ns(USEC(us));
				_exit(0);
			}
			break;
		case 2:
			snprintf(number[0], sizeof(number[0]), "%llu", dice(~0ULL));
			snprintf(number[1], sizeof(number[1]), "%llu", until);
			execl("/proc/self/exe", BURST, number[0], number[1], NULL);
			fail("exec: %s", strerror(errno));
		case 3:
			if (!pthread_create(&thread, NULL, thread_main, (void *)us))
				pthread_join(thread, NULL);
			break;
		case 4:
			madvise(memory, sizeof(memory), MADV_DONTNEED);
			memset(memory, 1, sizeof(memory));
			break;
		case 5:
		case 6:
			if (can_lock)
				hold_locks(dice(NR_LOCKS));
			break;
		case 7:
			spin_ns(USEC(us));
			break;
		default:
			sleep_ns(USEC(us));
		}
	}
}

static int op_make(void)
{
	const char *g = random_group(), *sep = strrchr(g, '/');
	char parent[64] = "";

	step_is("mkdir %s", g);
	if (sep) {
		snprintf(parent, sizeof(parent), "%.*s", (int)(sep - g), g);
		g_write(parent, "cgroup.subtree_control", "+cpu +cpuset");
	}
	return mkdir(g_path(g, NULL), 0755) ? -errno : 0;
}

static int op_remove(void)
{
	const char *g = random_group();

	step_is("rmdir %s", g);
	return rmdir(g_path(g, NULL)) ? -errno : 0;
}

static int op_number(void)
{
	static const u64 periods[] = { 1000, 2000, 4000, 10000, 20000, 20000, 50000, 200000 };
	u64 period = pick(periods), runtime;
	const char *g = random_group();

	runtime = period * (1 + dice(dice(5) ? 25 : 95)) / 100;
	if (runtime < 200)
		runtime = 200;
	step_is("cpu.rt.max of %s = %llu %llu", g, runtime, period);
	switch (dice(10)) {
	case 0:
		return g_try(g, "0");
	case 1:
	case 2:
		return g_try(g, "max");
	case 3:
		return g_try(g, "%llu", runtime);
	default:
		return g_try(g, "%llu %llu", runtime, period);
	}
}

static int op_invalid(void)
{
	static const char *const texts[] = {
		" ", "x", "-1", "1 2 3", "20000 10000", "1 1000", "max max", "5000 99999999",
		"18446744073709551616", "1000 99",
	};
	const char *g = random_group(), *text = pick(texts);
	int ret;

	step_is("cpu.rt.max of %s = '%s'", g, text);
	ret = g_try(g, "%s", text);
	expect(ret, "accepted");
	return ret;
}

static int op_weight(void)
{
	const char *g = random_group();

	step_is("cpu.weight of %s", g);
	return g_write(g, "cpu.weight", "%llu", 1 + dice(10000));
}

static int op_cpus(void)
{
	const char *g = random_group(), *file = dice(3) ? "cpuset.cpus" : "cpuset.cpus.exclusive";
	char list[256];

	random_cpus(list, sizeof(list));
	step_is("%s of %s = %s", file, g, list);
	return g_write(g, file, "%s", list);
}

static int op_partition(void)
{
	static const char *const kinds[] = { "member", "member", "root", "isolated" };
	const char *g = random_group(), *kind = pick(kinds);

	step_is("cpuset.cpus.partition of %s = %s", g, kind);
	return g_write(g, "cpuset.cpus.partition", "%s", kind);
}

static int op_threaded(void)
{
	step_is("cgroup.type of c/t = threaded");
	return g_write("c/t", "cgroup.type", "threaded");
}

static int set_class(pid_t pid)
{
	static const int others[] = { SCHED_OTHER, SCHED_BATCH, SCHED_IDLE };

	switch (dice(8)) {
	case 0:
	case 1:
		return set_policy(pid, pick(others), 0);
	case 2:
	case 3:
		return set_policy(pid, SCHED_RR, 1 + dice(TASK_PRIO));
	default:
		return set_policy(pid, SCHED_FIFO, 1 + dice(TASK_PRIO));
	}
}

static int set_random_cpu(pid_t pid)
{
	return set_cpu(pid, dice(2) ? ANY_CPU : cpus[dice(nr_cpus)]);
}

static int free_slot(void)
{
	int i;

	for (i = worker * NR_SLOTS; i < (worker + 1) * NR_SLOTS; i++)
		if (!chaos->pids[i])
			return i;
	return -1;
}

static int spawn(bool clone)
{
	u64 until = now_ns() + MSEC(50 + dice(2000));
	const char *g = random_group();
	int slot = free_slot();
	pid_t pid;

	step_is("%s %s", clone ? "clone into" : "fork, then to", g);
	if (slot < 0) {
		kill(chaos->pids[worker * NR_SLOTS + dice(NR_SLOTS)], SIGKILL);
		return -EAGAIN;
	}
	pid = clone ? try_clone_into(g) : fork_child();
	if (!pid) {
		burst(until);
		_exit(0);
	}
	if (pid < 0)
		return pid;
	chaos->pids[slot] = pid;
	set_random_cpu(pid);
	if (dice(2)) {
		set_class(pid);
		return clone ? 0 : g_attach(g, pid);
	}
	if (!clone)
		g_attach(g, pid);
	return set_class(pid);
}

static int op_fork(void)
{
	return spawn(false);
}

static int op_clone(void)
{
	return spawn(true);
}

static int op_attach(void)
{
	const char *g = dice(6) ? random_group() : "/";
	const char *file = dice(5) ? "cgroup.procs" : "cgroup.threads";
	pid_t pid = random_task();

	step_is("%d to %s of %s", pid, file, g);
	return pid < 0 ? -ESRCH : g_write(g, file, "%d", pid);
}

static int op_class(void)
{
	pid_t pid = random_task();

	step_is("class of %d", pid);
	return pid < 0 ? -ESRCH : set_class(pid);
}

static int op_deadline(void)
{
	u64 period = MSEC(5 + dice(50)), runtime = period * (1 + dice(20)) / 100;
	pid_t pid = random_task();

	step_is("%d has %llu ns every %llu", pid, runtime, period);
	return pid < 0 ? -ESRCH : set_deadline(pid, runtime, period);
}

static int op_affinity(void)
{
	pid_t pid = random_task();

	step_is("affinity of %d", pid);
	return pid < 0 ? -ESRCH : set_random_cpu(pid);
}

static int op_signal(void)
{
	static const int signals[] = { SIGKILL, SIGSTOP, SIGCONT, SIGCONT };
	pid_t pid = random_task();
	int sig = pick(signals);

	step_is("signal %d to %d", sig, pid);
	return pid < 0 ? -ESRCH : kill(pid, sig) ? -errno : 0;
}

static int op_freeze(void)
{
	const char *g = random_group();
	int on = !dice(3);

	step_is("cgroup.freeze of %s = %d", g, on);
	return g_write(g, "cgroup.freeze", "%d", on);
}

static int op_kill(void)
{
	const char *g = random_group();

	step_is("cgroup.kill of %s", g);
	return g_write(g, "cgroup.kill", "1");
}

static int set_online(int cpu, int on)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	return file_write(path, "%d", on);
}

static int op_hotplug(void)
{
	int cpu = cpus[nr_cpus - 1], ret;

	step_is("CPU %d offline", cpu);
	if (nr_cpus < 2)
		return -ENODEV;
	if (!trylock(&chaos->hotplug))
		return -EBUSY;
	ret = set_online(cpu, 0);
	pthread_mutex_unlock(&chaos->hotplug);
	sleep_ns(USEC(dice(50000)));
	step_is("CPU %d online", cpu);
	return set_online(cpu, 1) ?: ret;
}

static int op_sysctl(void)
{
	static const int values[] = { 950000, 950000, 900000, 700000, 400000, 50000, -1 };
	int value = pick(values);

	step_is("sched_rt_runtime_us = %d", value);
	return dice(4) ? file_write(RT_RUNTIME, "%d", value) :
			 file_write(RT_PERIOD, "%d", dice(2) ? 1000000 : 960000);
}

static int op_fair(void)
{
	int cpu = cpus[dice(nr_cpus)], ms = 10 + dice(100);

	step_is("fair server of CPU %d = %d ms", cpu, ms);
	return file_write(fair_file(cpu, "runtime"), "%d000000", ms);
}

static int op_read(void)
{
	static const char *const files[] = {
		"cpu.rt.max", "cpu.rt.max.effective.local", "cpu.rt.stat", "cpu.rt.events",
		"cpu.stat", "cpuset.cpus.partition", "cgroup.procs", HEADROOM,
		"/sys/kernel/debug/sched/debug",
	};
	const char *g = random_group(), *file = pick(files);
	static char buf[65536];
	ssize_t ret;

	step_is("%s of %s", file, g);
	ret = read_text(file[0] == '/' ? file : g_path(g, file), buf, sizeof(buf));
	return ret < 0 ? ret : 0;
}

static const struct {
	const char *name;
	int weight;
	int (*fn)(void);
} ops[] = {
	{ "make", 12, op_make }, { "remove", 4, op_remove }, { "number", 16, op_number },
	{ "invalid", 2, op_invalid }, { "weight", 1, op_weight }, { "cpus", 5, op_cpus },
	{ "partition", 3, op_partition }, { "threaded", 1, op_threaded }, { "fork", 12, op_fork },
	{ "clone", 4, op_clone }, { "attach", 10, op_attach }, { "class", 10, op_class },
	{ "deadline", 4, op_deadline }, { "affinity", 8, op_affinity },
	{ "signal", 5, op_signal }, { "freeze", 3, op_freeze }, { "kill", 1, op_kill },
	{ "hotplug", 2, op_hotplug }, { "sysctl", 2, op_sysctl }, { "fair", 2, op_fair },
	{ "read", 6, op_read },
};

_Static_assert(ARRAY_SIZE(ops) <= NR_OPS, "NR_OPS is too small");

/* A task ends by itself or is killed, and else has no reason to die. */
static void reap_tasks(void)
{
	int status, i;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		expect(WIFEXITED(status) ? !WEXITSTATUS(status) : WTERMSIG(status) == SIGKILL,
		       "task %d ended with status %#x", pid, status);
		for (i = worker * NR_SLOTS; i < (worker + 1) * NR_SLOTS; i++)
			if (chaos->pids[i] == pid)
				chaos->pids[i] = 0;
	}
}

static void run_worker(void)
{
	int i, sum = 0, at, ret;
	u64 nr = 0;

	for (i = 0; i < (int)ARRAY_SIZE(ops); i++)
		sum += chosen_ops >> i & 1 ? ops[i].weight : 0;
	if (failing)
		fail_prepare();
	while (now_ns() < *end_time) {
		step_begin(worker, nr++);
		at = dice(sum);
		for (i = 0;; i++) {
			if (!(chosen_ops >> i & 1))
				continue;
			if (at < ops[i].weight)
				break;
			at -= ops[i].weight;
		}
		/* A fork that fails has nothing to do with reservations. */
		if (failing && dice(2) && ops[i].fn != op_fork) {
			fail_nth(1 + dice(30));
			ret = ops[i].fn();
			chaos->failed += fail_end();
		} else {
			ret = ops[i].fn();
		}
		if (ret)
			chaos->refused[i]++;
		else
			chaos->done[i]++;
		reap_tasks();
		if (!dice(4))
			sleep_ns(USEC(dice(3000)));
	}
}

static void share_chaos(void)
{
	pthread_mutexattr_t attr;
	int i;

	chaos = share(sizeof(*chaos));
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&chaos->hotplug, &attr);
	for (i = 0; i < NR_LOCKS; i++)
		pthread_mutex_init(&chaos->locks[i], &attr);
	can_lock = true;
}

/*
 * The end of a mode
 */

static struct kept {
	char path[96], text[64];
} kept[MAX_CPUS * 2 + 2];
static int nr_kept;
static char *before;			/* state_text() */
static s64 tainted;
#define TAINTED	"/proc/sys/kernel/tainted"

static void keep(const char *path)
{
	struct kept *k = &kept[nr_kept];

	snprintf(k->path, sizeof(k->path), "%s", path);
	if (read_text(path, k->text, sizeof(k->text)) > 0)
		nr_kept++;
}

static void keep_files(void)
{
	int i;

	nr_kept = 0;
	keep(RT_PERIOD);
	keep(RT_RUNTIME);
	for (i = 0; i < nr_cpus; i++)
		keep(fair_file(cpus[i], "runtime"));
}

static void restore_files(void)
{
	int i;

	for (i = 0; i < nr_kept; i++)
		file_write(kept[i].path, "%s", kept[i].text);
}

/* Bottom up; with @remove gone, else without limits. */
static void tidy(const char *path, bool remove)
{
	u64 end = now_ns() + patience(MSEC(5000));
	struct dirent *entry;
	char name[PATH_MAX];
	DIR *dir = opendir(path);
	int ret;

	expect(dir, "%s: %s", path, strerror(errno));
	while ((entry = readdir(dir)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.') {
			snprintf(name, sizeof(name), "%.2048s/%.255s", path, entry->d_name);
			tidy(name, remove);
		}
	closedir(dir);
	if (!remove) {
		cg_write(path, "cgroup.freeze", "0");
		cg_write(path, "cpuset.cpus.partition", "member");
		/* Above tasks, or threads, the controller cannot always be enabled. */
		snprintf(name, sizeof(name), "%.2048s/cpu.rt.max", path);
		ret = access(name, F_OK) ? 0 : file_write(name, "max");
		expect(!ret, "%s: max is refused: %s", path, strerror(-ret));
		return;
	}
	while (rmdir(path)) {
		expect(errno == EBUSY && now_ns() < end, "rmdir %s: %s", path, strerror(errno));
		sleep_ms(1);
	}
}

static void hog_for_a_second(struct task_shm *shm, void *arg)
{
	u64 end = now_ns() + MSEC(1000);

	(void)arg;
	while (now_ns() < end)
		shm->count++;
}

/* All that is free can be had, not a microsecond more, and is served. */
static void check_all_free(void)
{
	struct task t[MAX_CPUS];
	u64 least = ~0ULL, usage, runtime;
	struct headroom h;
	int i;

	step_is("reserve all that is free");
	read_headroom(&h);
	for (i = 0; i < nr_cpus; i++)
		least = h.free[cpus[i]] < least ? h.free[cpus[i]] : least;
	runtime = fill_us(least, 100000);
	g_make("all");
	expect(g_try("all", "%llu 100000", runtime + 1) == -ENOSPC,
	       "more than is free is admitted");
	g_set("all", "%llu 100000", runtime);
	for (i = 0; i < nr_cpus; i++) {
		t[i] = (struct task){ .group = "all", .policy = SCHED_FIFO, .prio = 10,
				      .cpu = cpus[i], .fn = hog_for_a_second };
		task_prepare(&t[i]);
	}
	tasks_go();
	for (i = 0; i < nr_cpus; i++)
		wait_exit(t[i].pid);
	for (i = 0; i < nr_cpus; i++) {
		usage = USEC(g_stat_cpu("all", cpus[i], "usage_usec"));
		expect(usage >= at_least(10 * USEC(runtime)), "%llu ns in a second on CPU %d",
		       usage, cpus[i]);
	}
	g_set("all", "max");
	g_rmdir("all");
}

/* What is promised is possible, at any time. */
static void check_sums(void)
{
	struct headroom h;
	int i;

	read_headroom(&h);
	for (i = 0; i < nr_cpus; i++)
		expect(!h.groups[cpus[i]] || h.groups[cpus[i]] + h.fair[cpus[i]] <= h.cap[cpus[i]],
		       "CPU %d: groups have %llu, the fair server %llu, the cap is %llu", cpus[i],
		       h.groups[cpus[i]], h.fair[cpus[i]], h.cap[cpus[i]]);
}

static void make_top(void)
{
	expect(!mkdir(cgroup_top, 0755), "mkdir %s: %s", cgroup_top, strerror(errno));
	must(g_write("", "cgroup.subtree_control", "+cpu +cpuset"));
}

static void clean_up(void)
{
	u64 end;

	step_begin(MAX_WORKERS + 1, 0);
	step_is("sums");
	check_sums();
	step_is("no limits");
	if (nr_cpus > 1)
		set_online(cpus[nr_cpus - 1], 1);
	tidy(cgroup_top, false);
	step_is("kill");
	must(g_write("", "cgroup.kill", "1"));
	must(g_wait_event("", "populated", 0, MSEC(5000)));
	step_is("remove");
	tidy(cgroup_top, true);
	make_top();
	step_is("what is left");
	/* bandwidth of what was removed goes a grace period, of tasks a period later */
	end = now_ns() + patience(MSEC(1000));
	for (;;) {
		char *after;
		bool same;

		restore_files();
		after = state_text();
		same = !strcmp(before, after);
		free(after);
		if (same || now_ns() > end)
			break;
		sleep_ms(10);
	}
	state_compare(before, __FILE__, __LINE__, "torture");
	expect(file_read_s64(TAINTED) == tainted, "the kernel is tainted");
	check_all_free();
	state_compare(before, __FILE__, __LINE__, "a reservation of all that is free");
}

/*
 * The watchdog: the main process, which does nothing that could make it wait
 */

static void print_file(pid_t pid, const char *name)
{
	char path[64], buf[4096], *line, *save;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	if (read_text(path, buf, sizeof(buf)) <= 0)
		return;
	for (line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		ksft_print_msg("    %s %s: %s\n", path, name, line);
}

/* Whoever waits where nothing can end it, and what the stuck process says. */
static void print_stuck(const struct watch *w, u64 ns)
{
	char path[300], status[2048], *state;
	struct dirent *entry;
	DIR *dir = opendir("/proc");

	ksft_print_msg("process %d is in step %llu for %llu ms: %s\n", w->pid,
		       (u64)w->step, ns / NSEC_PER_MSEC, w->what);
	print_file(w->pid, "wchan");
	print_file(w->pid, "stack");
	while (dir && (entry = readdir(dir))) {
		pid_t pid = strtol(entry->d_name, NULL, 10);

		if (pid <= 0 || pid == w->pid)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/status", pid);
		if (read_text(path, status, sizeof(status)) <= 0)
			continue;
		state = strstr(status, "State:");
		if (!state || !strstr(state, "D (disk sleep)"))
			continue;
		ksft_print_msg("  %.*s, %d, waits:\n", (int)strcspn(status, "\n"), status, pid);
		print_file(pid, "stack");
	}
	if (dir)
		closedir(dir);
}

/* Not all have lived long enough to ask for a signal when their parent dies. */
static void kill_orphans(bool last)
{
	char path[64], buf[8192] = "", *at, *next;
	pid_t pid;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	if (read_text(path, buf, sizeof(buf)) <= 0)
		return;
	for (at = buf; (pid = strtol(at, &next, 10)) > 0; at = next) {
		kill(pid, SIGKILL);
		if (last) {
			print_file(pid, "status");
			print_file(pid, "stack");
		}
	}
	if (last)
		ksft_exit_fail_msg("children cannot be reaped, seed %llu\n", seed);
}

static void start(struct watch *w, void (*fn)(void), int nr)
{
	struct sched_param param = { .sched_priority = WORKER_PRIO };
	pid_t pid;

	memset(w, 0, sizeof(*w));
	w->since = now_ns();
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		ksft_exit_fail_perror("fork");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		me = w;
		worker = nr;
		sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param);
		fn();
		fflush(stdout);
		_exit(KSFT_PASS);
	}
	w->pid = pid;
}

/* False if it has failed. */
static bool note_end(struct watch *w, int nr, pid_t pid, int status)
{
	int i;

	for (i = 0; i < nr; i++) {
		if (w[i].pid != pid)
			continue;
		w[i].pid = 0;
		if (!status)
			break;
		ksft_print_msg("process %d, status %#x, seed %llu, step %llu: %s\n", i, status,
			       seed, (u64)w[i].step, w[i].what);
		return false;
	}
	return true;
}

/* Until all @nr have ended, and then everybody they have left; false: one failed. */
static bool watch(int nr, bool orphans)
{
	struct watch *w = watches;
	bool ok = true, left = true;
	u64 over = 0;
	int i, status;

	while (left) {
		pid_t pid;

		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			ok &= note_end(w, nr, pid, status);
		for (i = 0, left = false; i < nr; i++) {
			u64 since = w[i].since, now = now_ns(), ns = now > since ? now - since : 0;

			if (!w[i].pid)
				continue;
			left = true;
			if (ns > patience_s * 1000 * NSEC_PER_MSEC) {
				print_stuck(&w[i], ns);
				ksft_exit_fail_msg("stuck, seed %llu\n", seed);
			}
		}
		if (!left && orphans && pid >= 0) {
			over = over ?: now_ns() + patience_s * 1000 * NSEC_PER_MSEC;
			kill_orphans(now_ns() > over);
			left = true;
		}
		if (!ok)
			*end_time = 0;
		sleep_ms(20);
	}
	return ok;
}

static bool run_chaos(void)
{
	bool ok;
	int i;

	share_chaos();
	for (i = 0; i < nr_workers; i++)
		start(&watches[i], run_worker, i);
	ok = watch(nr_workers, false);
	for (i = 0; i < (int)ARRAY_SIZE(ops); i++)
		ksft_print_msg("%s: %u done, %u refused\n", ops[i].name, chaos->done[i],
			       chaos->refused[i]);
	if (failing) {
		ksft_print_msg("%u allocations failed\n", chaos->failed);
		ok &= chaos->failed > 0;
	}
	return ok;
}

static bool run_one_model(void)
{
	start(&watches[0], run_model, 0);
	return watch(1, false);
}

static const struct {
	const char *name;
	bool (*fn)(void);
} modes[] = {
	{ "chaos", run_chaos },
	{ "model", run_one_model },
};

static bool run_mode(int i, u64 length)
{
	bool ok;

	make_top();
	keep_files();
	before = state_text();
	*end_time = now_ns() + length;
	ok = modes[i].fn();
	start(&watches[0], clean_up, 0);
	ok &= watch(1, true);
	free(before);
	rmdir(cgroup_top);
	return ok;
}

static void print_help(const char *program)
{
	int i;

	printf("usage: %s [-s SEED] [-d SECONDS] [-m chaos|model] [-w WORKERS]\n"
	       "       [-o|-x OPERATION]... [-p SECONDS] [-f]\n"
	       "  -s SEED       what is done follows from it (default: the time)\n"
	       "  -d SECONDS    for all modes together (default: %u)\n"
	       "  -m MODE       only that one\n"
	       "  -w WORKERS    processes in the mode chaos (default: %d)\n"
	       "  -o OPERATION  only these in the mode chaos, -x: not these (may be repeated):",
	       program, duration_s, nr_workers);
	for (i = 0; i < (int)ARRAY_SIZE(ops); i++)
		printf(" %s", ops[i].name);
	printf("\n  -p SECONDS    until a step counts as stuck (default: %u)\n"
	       "  -f            allocations fail in the mode chaos (needs CONFIG_FAILSLAB)\n",
	       patience_s);
}

static int find_op(const char *name)
{
	int i;

	for (i = 0; i < (int)ARRAY_SIZE(ops); i++)
		if (!strcmp(ops[i].name, name))
			return i;
	ksft_exit_fail_msg("there is no operation '%s'\n", name);
}

static void find_machine(void)
{
	find_cpus();
	find_cgroups();
	if (access(HEADROOM, R_OK))
		ksft_exit_skip("needs CONFIG_DL_GROUP_SCHED, CONFIG_SCHED_DEBUG and debugfs\n");
	if (failing && access(FAILSLAB, X_OK))
		ksft_exit_skip("needs CONFIG_FAILSLAB and CONFIG_FAULT_INJECTION_DEBUG_FS\n");
}

int main(int argc, char **argv)
{
	struct sched_param param = { .sched_priority = WORKER_PRIO + 1 };
	const char *only = NULL;
	int i, nr = 0, opt;

	if (argc == 3 && !strcmp(argv[0], BURST)) {
		dice_state = strtoull(argv[1], NULL, 10);
		burst(strtoull(argv[2], NULL, 10));
		return 0;
	}
	seed = now_ns();
	while ((opt = getopt(argc, argv, "hs:d:m:w:o:x:p:f")) != -1) {
		switch (opt) {
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'd':
			duration_s = strtoul(optarg, NULL, 10);
			break;
		case 'm':
			only = optarg;
			break;
		case 'w':
			nr_workers = strtoul(optarg, NULL, 10);
			break;
		case 'o':
			chosen_ops = (~chosen_ops ? chosen_ops : 0) | 1UL << find_op(optarg);
			break;
		case 'x':
			chosen_ops &= ~(1UL << find_op(optarg));
			break;
		case 'p':
			patience_s = strtoul(optarg, NULL, 10);
			break;
		case 'f':
			failing = true;
			break;
		default:
			print_help(argv[0]);
			return opt == 'h' ? KSFT_PASS : KSFT_FAIL;
		}
	}
	for (i = 0; i < (int)ARRAY_SIZE(modes); i++)
		nr += !only || !strcmp(only, modes[i].name);
	if (!nr || nr_workers < 1 || nr_workers > MAX_WORKERS) {
		print_help(argv[0]);
		return KSFT_FAIL;
	}
	ksft_print_header();
	if (geteuid())
		ksft_exit_skip("needs root\n");
	find_machine();
	ksft_set_plan(nr);
	ksft_print_msg("seed %llu, %u s, %d CPUs\n", seed, duration_s, nr_cpus);
	watches = share(MAX_WORKERS * sizeof(*watches));
	end_time = share(sizeof(*end_time));
	tainted = file_read_s64(TAINTED);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param);
	for (i = 0; i < (int)ARRAY_SIZE(modes); i++)
		if (!only || !strcmp(only, modes[i].name))
			ksft_test_result(run_mode(i, MSEC(duration_s * 1000ULL / nr)),
					 "torture.%s\n", modes[i].name);
	ksft_finished();
}
