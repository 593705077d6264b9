// SPDX-License-Identifier: GPL-2.0-only
/* Files, cgroups, admission and time. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "dl_group_test.h"

char cgroup_root[PATH_MAX];
char cgroup_top[PATH_MAX];
int report_fd = -1;
bool lane_tight;
int nr_cpus;
int cpus[MAX_CPUS];

void test_fail(const char *file, int line, const char *fmt, ...)
{
	char msg[2048];
	va_list args;

	va_start(args, fmt);
	vsnprintf(msg, sizeof(msg), fmt, args);
	va_end(args);
	ksft_print_msg("%s:%d: %s\n", file, line, msg);
	fflush(stdout);
	_exit(KSFT_FAIL);
}

void find_cgroups(void)
{
	if (cg_find_unified_root(cgroup_root, sizeof(cgroup_root), NULL))
		ksft_exit_skip("no cgroup2 is mounted\n");
	snprintf(cgroup_top, sizeof(cgroup_top), "%.2048s/" TOP_NAME, cgroup_root);
	if (cg_write(cgroup_root, "cgroup.subtree_control", "+cpu") ||
	    cg_write(cgroup_root, "cgroup.subtree_control", "+cpuset"))
		ksft_exit_skip("needs the cpu and cpuset controllers\n");
}

void test_skip(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	dprintf(report_fd, "skip ");
	vdprintf(report_fd, fmt, args);
	dprintf(report_fd, "\n");
	va_end(args);
	_exit(KSFT_SKIP);
}

void figure(u64 value, const char *fmt, ...)
{
	char name[128];
	va_list args;

	va_start(args, fmt);
	vsnprintf(name, sizeof(name), fmt, args);
	va_end(args);
	dprintf(report_fd, "value %s %llu\n", name, value);
	ksft_print_msg("%s = %llu\n", name, value);
}

/*
 * With one CPU and counted instructions a delay is what the kernel makes of it.
 * With more, busy CPUs take turns until the next timer (100 us each). Without
 * counting, the host takes CPUs away at will, for this long at a time; a task
 * that it is taken from is charged, and its group pays that back: it gets
 * nothing for P/Q times as long.
 */
#define HOST_NS	MSEC(150)

u64 slack_ns(u64 tight)
{
	if (!lane_tight)
		return tight + HOST_NS;
	if (nr_cpus > 1)
		return tight + (u64)(nr_cpus - 1) * USEC(100) + USEC(200);
	return tight;
}

u64 at_least(u64 ns)
{
	if (lane_tight)
		return ns;
	return ns * 6 / 10 > HOST_NS ? ns * 6 / 10 - HOST_NS : 0;
}

u64 patience(u64 ns)
{
	return lane_tight ? ns : 10 * ns;
}

bool share_ok(u64 received, u64 length, u64 runtime, u64 period)
{
	double want = (double)runtime / period * length;

	if (lane_tight && nr_cpus == 1)
		return received >= want * 0.995 && received <= want * 1.005;
	if (lane_tight)
		return received >= want * 0.9 && received <= want * 1.1;
	return received >= at_least(want) && received <= want * 1.1 + HOST_NS;
}

int file_write(const char *path, const char *fmt, ...)
{
	char buf[4096];
	ssize_t ret;
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(buf, sizeof(buf), fmt, args);
	va_end(args);
	ret = write_text(path, buf, len);
	if (ret < 0)
		return ret;
	return ret == len ? 0 : -EIO;
}

void file_read(const char *path, char *buf, size_t len)
{
	ssize_t ret = read_text(path, buf, len);

	expect(ret >= 0, "cannot read %s: %s", path, strerror(-ret));
}

s64 file_read_s64(const char *path)
{
	char buf[64];

	file_read(path, buf, sizeof(buf));
	return strtoll(buf, NULL, 10);
}

/* Good until it was called 16 times more. */
const char *g_path(const char *g, const char *file)
{
	static char bufs[16][PATH_MAX];
	static unsigned int next;
	char *buf = bufs[next++ % 16];

	if (g[0] == '/')
		snprintf(buf, PATH_MAX, "%.1024s%.1024s", cgroup_root, g[1] ? g : "");
	else
		snprintf(buf, PATH_MAX, "%.1024s%s%.1024s", cgroup_top, g[0] ? "/" : "", g);
	if (file) {
		strcat(buf, "/");
		strcat(buf, file);
	}
	return buf;
}

/* With the groups above it; what the parent can hand down it does: cpu, cpuset. */
void g_make(const char *g)
{
	char parent[PATH_MAX];

	snprintf(parent, sizeof(parent), "%s", g);
	if (strchr(parent, '/')) {
		*strrchr(parent, '/') = '\0';
		if (access(g_path(parent, NULL), F_OK))
			g_make(parent);
	} else {
		parent[0] = '\0';
	}
	g_write(parent, "cgroup.subtree_control", "+cpu");
	g_write(parent, "cgroup.subtree_control", "+cpuset");
	expect(!mkdir(g_path(g, NULL), 0755), "mkdir %s: %s", g, strerror(errno));
}

/* The end of a killed task is seen a little after the kill. */
void g_rmdir(const char *g)
{
	u64 end = now_ns() + patience(MSEC(5000));

	while (rmdir(g_path(g, NULL))) {
		expect(errno == EBUSY && now_ns() < end, "rmdir %s: %s", g, strerror(errno));
		sleep_ms(1);
	}
}

int g_write(const char *g, const char *file, const char *fmt, ...)
{
	char buf[4096];
	va_list args;

	va_start(args, fmt);
	vsnprintf(buf, sizeof(buf), fmt, args);
	va_end(args);
	return file_write(g_path(g, file), "%s", buf);
}

int g_try(const char *g, const char *fmt, ...)
{
	char buf[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(buf, sizeof(buf), fmt, args);
	va_end(args);
	return file_write(g_path(g, "cpu.rt.max"), "%s", buf);
}

void g_set(const char *g, const char *fmt, ...)
{
	char buf[256];
	va_list args;
	int ret;

	va_start(args, fmt);
	vsnprintf(buf, sizeof(buf), fmt, args);
	va_end(args);
	ret = g_try(g, "%s", buf);
	expect(!ret, "cpu.rt.max of '%s' = '%s': %s", g, buf, strerror(-ret));
}

void g_read(const char *g, const char *file, char *buf, size_t len)
{
	file_read(g_path(g, file), buf, len);
}

void g_expect(const char *g, const char *file, const char *fmt, ...)
{
	char want[1024], got[4096];
	va_list args;

	va_start(args, fmt);
	vsnprintf(want, sizeof(want), fmt, args);
	va_end(args);
	g_read(g, file, got, sizeof(got));
	expect(!strcmp(got, want), "%s of '%s' reads '%s', expected '%s'", file, g, got, want);
}

int g_attach(const char *g, pid_t pid)
{
	return g_write(g, "cgroup.procs", "%d", pid);
}

/* Below a group that is none, a partition's CPUs are exclusive all the way up. */
void set_partition(const char *g, int cpu, const char *kind)
{
	char state[128];

	must(g_write("", "cpuset.cpus.exclusive", "%d", cpu));
	must(g_write(g, "cpuset.cpus.exclusive", "%d", cpu));
	must(g_write(g, "cpuset.cpus.partition", "%s", kind));
	g_read(g, "cpuset.cpus.partition", state, sizeof(state));
	expect(!strncmp(state, kind, strlen(kind)) && !strstr(state, "invalid"),
	       "the partition is '%s'", state);
}

u64 g_stat(const char *g, const char *key)
{
	char buf[8192], *line, *save;
	size_t len = strlen(key);

	g_read(g, "cpu.rt.stat", buf, sizeof(buf));
	for (line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (!strncmp(line, key, len) && line[len] == ' ')
			return strtoull(line + len, NULL, 10);
	fail("cpu.rt.stat of '%s' has no '%s'", g, key);
}

u64 g_stat_cpu(const char *g, int cpu, const char *key)
{
	char buf[8192], name[32], *line, *save, *at;
	size_t len = snprintf(name, sizeof(name), "cpu%d ", cpu);

	g_read(g, "cpu.rt.stat", buf, sizeof(buf));
	for (line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (strncmp(line, name, len))
			continue;
		snprintf(name, sizeof(name), " %s=", key);
		at = strstr(line, name);
		expect(at, "cpu.rt.stat of '%s' has no '%s' for CPU %d", g, key, cpu);
		return strtoull(at + strlen(name), NULL, 10);
	}
	fail("cpu.rt.stat of '%s' has no line for CPU %d", g, cpu);
}

u64 g_usage_ns(const char *g)
{
	long usec = cg_read_key_long(g_path(g, NULL), "cpu.stat", "usage_usec ");

	expect(usec >= 0, "cpu.stat of '%s' has no usage_usec", g);
	return USEC(usec);
}

u64 g_id(const char *g)
{
	struct stat st;

	expect(!stat(g_path(g, NULL), &st), "stat %s: %s", g, strerror(errno));
	return st.st_ino;
}

static bool in_cpulist(const char *list, int cpu)
{
	while (*list >= '0' && *list <= '9') {
		char *end;
		long from = strtol(list, &end, 10), to = from;

		if (*end == '-')
			to = strtol(end + 1, &end, 10);
		if (cpu >= from && cpu <= to)
			return true;
		list = *end == ',' ? end + 1 : end;
	}
	return false;
}

/*
 * cpu.rt.max.effective.local: the minimum, then the CPUs that differ. False if
 * the group has no servers of its own.
 */
bool g_own_runtime(const char *g, int cpu, u64 *runtime_us, u64 *period_us)
{
	char buf[4096], list[512], *line, *save;
	u64 q, p;

	g_read(g, "cpu.rt.max.effective.local", buf, sizeof(buf));
	line = strtok_r(buf, "\n", &save);
	expect(line, "cpu.rt.max.effective.local of '%s' is empty", g);
	if (sscanf(line, "%llu %llu", runtime_us, period_us) != 2)
		return false;
	while ((line = strtok_r(NULL, "\n", &save))) {
		expect(sscanf(line, "%511s %llu %llu", list, &q, &p) == 3,
		       "cpu.rt.max.effective.local of '%s': '%s'", g, line);
		if (in_cpulist(list, cpu)) {
			*runtime_us = q;
			*period_us = p;
		}
	}
	return true;
}

/* cgroup.events and the like: wait for "key value". */
int g_wait_event(const char *g, const char *key, u64 value, u64 timeout_ns)
{
	u64 end = now_ns() + patience(timeout_ns);
	char want[128], buf[1024];

	snprintf(want, sizeof(want), "%s %llu", key, value);
	for (;;) {
		g_read(g, "cgroup.events", buf, sizeof(buf));
		if (strstr(buf, want))
			return 0;
		if (now_ns() > end)
			return -ETIMEDOUT;
		sleep_ms(1);
	}
}

void read_headroom(struct headroom *h)
{
	u64 cap, fair, groups, tasks, room;
	char buf[16384], *line, *save;
	int cpu;

	memset(h, 0, sizeof(*h));
	file_read(HEADROOM, buf, sizeof(buf));
	for (line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "cpu%d cap %llu fair %llu groups %llu tasks %llu free %llu",
			   &cpu, &cap, &fair, &groups, &tasks, &room) != 6)
			continue;
		expect(cpu >= 0 && cpu < MAX_CPUS, "%s: '%s'", HEADROOM, line);
		h->present[cpu] = true;
		h->cap[cpu] = cap;
		h->fair[cpu] = fair;
		h->groups[cpu] = groups;
		h->tasks[cpu] = tasks;
		h->free[cpu] = room;
	}
}

/* The bandwidth of a task goes at its zero-lag time, not with the task. */
void expect_tasks(const struct headroom *before, int cpu, u64 more, const char *when)
{
	u64 end = now_ns() + patience(MSEC(30));
	struct headroom h;

	do {
		read_headroom(&h);
		if (h.tasks[cpu] == before->tasks[cpu] + more)
			return;
		sleep_ms(1);
	} while (now_ns() < end);
	fail("%s: SCHED_DEADLINE tasks have %llu on CPU %d, expected %llu", when, h.tasks[cpu],
	     cpu, before->tasks[cpu] + more);
}

/* By long division, so that 32-bit builds say the same as 64-bit ones. */
u64 util(u64 runtime, u64 period)
{
	u64 u = runtime / period, rest = runtime % period;
	int i;

	for (i = 0; i < 48; i++) {
		rest <<= 1;
		u <<= 1;
		if (rest >= period) {
			rest -= period;
			u |= 1;
		}
	}
	return u;
}

u64 fill_us(u64 free, u64 period_us)
{
	u64 low = 0, high = period_us;

	while (low < high) {
		u64 mid = (low + high + 1) / 2;

		if (util(mid, period_us) <= free)
			low = mid;
		else
			high = mid - 1;
	}
	return low;
}

const char *fair_file(int cpu, const char *what)
{
	static char bufs[4][96];
	static unsigned int next;
	char *buf = bufs[next++ % 4];

	snprintf(buf, sizeof(bufs[0]), "/sys/kernel/debug/sched/fair_server/cpu%d/%s", cpu, what);
	return buf;
}

/* Not everything can be read by everybody. */
static void state_file(FILE *out, const char *path)
{
	char buf[16384];

	if (read_text(path, buf, sizeof(buf)) >= 0)
		fprintf(out, "%s: %s", path, buf);
}

/* Of each task of a group: how it is scheduled and where. */
static void state_tasks(FILE *out, const char *tids)
{
	char *next;
	pid_t tid;

	for (; (tid = strtol(tids, &next, 10)) > 0; tids = next) {
		struct sched_param param = {};
		u64 mask = 0;
		cpu_set_t set;
		int i;

		CPU_ZERO(&set);
		sched_getparam(tid, &param);
		sched_getaffinity(tid, sizeof(set), &set);
		for (i = 0; i < MAX_CPUS; i++)
			mask |= (u64)!!CPU_ISSET(i, &set) << i;
		fprintf(out, "task %d: policy %d priority %d CPUs %llx\n", tid,
			sched_getscheduler(tid), param.sched_priority, mask);
	}
}

static void state_group(FILE *out, const char *path)
{
	static const char *const files[] = {
		"cpu.rt.max", "cpu.rt.max.effective.local", "cpuset.cpus",
		"cpuset.cpus.effective", "cgroup.procs", NULL
	};
	struct dirent *entry;
	char buf[8192], name[PATH_MAX];
	int i;
	DIR *dir;

	fprintf(out, "%s\n", path);
	for (i = 0; files[i]; i++)
		if (!cg_read(path, files[i], buf, sizeof(buf)))
			fprintf(out, "%s: %s\n", files[i], buf);
	if (!cg_read(path, "cgroup.threads", buf, sizeof(buf)))
		state_tasks(out, buf);
	dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.') {
			snprintf(name, sizeof(name), "%.2048s/%.255s", path, entry->d_name);
			state_group(out, name);
		}
	closedir(dir);
}

char *state_text(void)
{
	char *text = NULL;
	size_t len;
	int i;
	FILE *out = open_memstream(&text, &len);

	expect(out, "no memory");
	state_file(out, HEADROOM);
	state_file(out, RT_RUNTIME);
	state_file(out, RT_PERIOD);
	for (i = 0; i < nr_cpus; i++) {
		state_file(out, fair_file(cpus[i], "runtime"));
		state_file(out, fair_file(cpus[i], "period"));
	}
	state_group(out, cgroup_top);
	fclose(out);
	return text;
}

void state_compare(const char *before, const char *file, int line, const char *what)
{
	char *after = state_text();

	if (strcmp(before, after)) {
		const char *b = before, *a = after, *bs = before, *as = after;

		while (*b && *b == *a) {
			if (*b == '\n') {
				bs = b + 1;
				as = a + 1;
			}
			b++;
			a++;
		}
		test_fail(file, line, "%s changed the state: '%.*s' became '%.*s'", what,
			  (int)strcspn(bs, "\n"), bs, (int)strcspn(as, "\n"), as);
	}
	free(after);
}

void refused(const char *before, int ret, int err, const char *file, int line, const char *what)
{
	if (ret != -err)
		test_fail(file, line, "%s: %s, expected %s", what,
			  ret ? strerror(-ret) : "accepted", strerror(err));
	state_compare(before, file, line, what);
}

static int fail_fd = -1;

void fail_prepare(void)
{
	/* also those that may wait, and not with a stack trace for each */
	must(file_write(FAILSLAB "ignore-gfp-wait", "N"));
	must(file_write(FAILSLAB "verbose", "0"));
	must(file_write("/sys/kernel/debug/fail_usercopy/verbose", "0"));
	fail_fd = open(FAIL_NTH, O_RDWR);
	expect(fail_fd >= 0, "open " FAIL_NTH ": %s", strerror(errno));
}

void fail_nth(unsigned int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", nth);

	expect(pwrite(fail_fd, text, len, 0) == len, "write " FAIL_NTH ": %s", strerror(errno));
}

bool fail_end(void)
{
	char left = '1';

	/* Reading and writing count, too: then it is they that fail, and nothing is left. */
	if (pread(fail_fd, &left, 1, 0) < 0 || pwrite(fail_fd, "0", 1, 0) < 0)
		return false;
	return left == '0';
}

static u64 clock_ns(clockid_t clock)
{
	struct timespec ts;

	expect(!clock_gettime(clock, &ts), "clock_gettime: %s", strerror(errno));
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

u64 now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

u64 cpu_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

u64 task_cpu_ns(pid_t pid)
{
	clockid_t clock;
	int ret = clock_getcpuclockid(pid, &clock);

	expect(!ret, "no CPU clock of task %d: %s", pid, strerror(ret));
	return clock_ns(clock);
}

void sleep_until(u64 ns)
{
	struct timespec ts = { .tv_sec = ns / 1000000000ULL, .tv_nsec = ns % 1000000000ULL };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL))
		;
}

void sleep_ns(u64 ns)
{
	sleep_until(now_ns() + ns);
}
