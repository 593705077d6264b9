/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tests of reservations of CPU time for cgroups (CONFIG_DL_GROUP_SCHED).
 *
 * A test runs in a child of its own. Helpers that cannot do their work end the
 * test, so that the tests read as a list of what is done and what is expected.
 */
#ifndef DL_GROUP_TEST_H
#define DL_GROUP_TEST_H

#include <limits.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "../cgroup/cgroup_util.h"

typedef unsigned long long u64;
typedef long long s64;

#define NSEC_PER_USEC	1000ULL
#define NSEC_PER_MSEC	1000000ULL
#define MSEC(x)		((u64)(x) * NSEC_PER_MSEC)
#define USEC(x)		((u64)(x) * NSEC_PER_USEC)

#define MAX_CPUS	64
#define MAX_TASKS	256
#define UNIT		0x1000000000000ULL	/* 2^48: a whole CPU in dl_group_headroom */

#ifndef SCHED_DEADLINE
#define SCHED_DEADLINE	6
#endif

/* What a test needs of the machine; what lacks is the reason of its skip. */
enum {
	NEED_CPUS2	= 1 << 0,	/* two CPUs online */
	NEED_HOTPLUG	= 1 << 1,
	NEED_CPUSET	= 1 << 2,
	NEED_TRACE	= 1 << 3,
	NEED_HEADROOM	= 1 << 4,	/* debugfs: headroom and fair server */
	NEED_USERNS	= 1 << 5,
	NEED_AUTOGROUP	= 1 << 6,
	NEED_CPU1	= 1 << 7,	/* one CPU: exact only in such a root domain */
	NEED_SYSVIPC	= 1 << 8,
	NEED_FAILSLAB	= 1 << 9,
	ANY_KERNEL	= 1 << 10,	/* also one without reservations */
};

struct dl_group_test {
	const char *name;
	const char *group;
	const char *description;
	const char *(*feature_check)(void);	/* NULL, or why it cannot run */
	unsigned int needs;
	unsigned int timeout_s;			/* 0: default_timeout_s() */
	void (*run)(void);
	void (*cleanup)(void);			/* beyond what the runner restores */
};

/* Every area ends its list with an entry without a name. */
extern const struct dl_group_test unused_tests[];
extern const struct dl_group_test tools_tests[];
extern const struct dl_group_test interface_tests[];
extern const struct dl_group_test errno_tests[];
extern const struct dl_group_test delegation_tests[];
extern const struct dl_group_test admission_tests[];
extern const struct dl_group_test supply_tests[];
extern const struct dl_group_test enforcement_tests[];
extern const struct dl_group_test class_tests[];
extern const struct dl_group_test attach_tests[];
extern const struct dl_group_test pi_tests[];
extern const struct dl_group_test hotplug_tests[];
extern const struct dl_group_test cpuset_tests[];
extern const struct dl_group_test cgroup_tests[];
extern const struct dl_group_test balance_tests[];
extern const struct dl_group_test events_tests[];
extern const struct dl_group_test kthread_tests[];

/* Verdicts */
void __noreturn __printf(3, 4) test_fail(const char *file, int line, const char *fmt, ...);
void __noreturn __printf(1, 2) test_skip(const char *fmt, ...);
#define fail(fmt, ...)	test_fail(__FILE__, __LINE__, fmt, ##__VA_ARGS__)
#define expect(cond, fmt, ...)				\
	do {						\
		if (!(cond))				\
			fail(fmt, ##__VA_ARGS__);	\
	} while (0)

/* A measured figure, for --json. */
void __printf(2, 3) figure(u64 value, const char *fmt, ...);
extern int report_fd;

/* Lanes: where time is exact and where it is not. */
extern bool lane_tight;
extern int nr_cpus;			/* online when the test began */
extern int cpus[MAX_CPUS];
void find_cpus(void);			/* those two */
u64 slack_ns(u64 tight);		/* allowance for a delay, or for time received */
u64 at_least(u64 ns);			/* CPU time that is due */
u64 patience(u64 ns);			/* until what has to happen counts as missing */
bool share_ok(u64 received, u64 length, u64 runtime, u64 period);

/* Files */
int __printf(2, 3) file_write(const char *path, const char *fmt, ...);
void file_read(const char *path, char *buf, size_t len);
s64 file_read_s64(const char *path);
#define must(call)							\
	do {								\
		int must_ret = (call);					\
		expect(!must_ret, "%s: %s", #call, strerror(-must_ret));\
	} while (0)

/*
 * Cgroups are named relative to the one made for the test; "" is that one and
 * a leading '/' starts from the root of the hierarchy.
 */
extern char cgroup_root[PATH_MAX];
extern char cgroup_top[PATH_MAX];
#define TOP_NAME	"dl_group_test"
void find_cgroups(void);		/* the root, with its controllers, or skip all */

const char *g_path(const char *g, const char *file);
void g_make(const char *g);
void g_rmdir(const char *g);
int __printf(3, 4) g_write(const char *g, const char *file, const char *fmt, ...);
int __printf(2, 3) g_try(const char *g, const char *fmt, ...);	/* cpu.rt.max */
void __printf(2, 3) g_set(const char *g, const char *fmt, ...);
void g_read(const char *g, const char *file, char *buf, size_t len);
void __printf(3, 4) g_expect(const char *g, const char *file, const char *fmt, ...);
int g_attach(const char *g, pid_t pid);
void set_partition(const char *g, int cpu, const char *kind);
u64 g_stat(const char *g, const char *key);
u64 g_stat_cpu(const char *g, int cpu, const char *key);
u64 g_usage_ns(const char *g);		/* cpu.stat: not the reservation's own count */
u64 g_id(const char *g);
bool g_own_runtime(const char *g, int cpu, u64 *runtime_us, u64 *period_us);
int g_wait_event(const char *g, const char *key, u64 value, u64 timeout_ns);

/* Admission */
struct headroom {
	bool present[MAX_CPUS];
	u64 cap[MAX_CPUS], fair[MAX_CPUS], groups[MAX_CPUS], tasks[MAX_CPUS], free[MAX_CPUS];
};

void read_headroom(struct headroom *h);
/* SCHED_DEADLINE tasks have so much more on a CPU than before. */
void expect_tasks(const struct headroom *before, int cpu, u64 more, const char *when);
u64 util(u64 runtime, u64 period);	/* floor(runtime * UNIT / period) */
u64 fill_us(u64 free, u64 period_us);	/* the largest runtime that fits */
#define HEADROOM	"/sys/kernel/debug/sched/dl_group_headroom"
#define SCHED_FEATURES	"/sys/kernel/debug/sched/features"
#define RT_RUNTIME	"/proc/sys/kernel/sched_rt_runtime_us"
#define RT_PERIOD	"/proc/sys/kernel/sched_rt_period_us"
const char *fair_file(int cpu, const char *what);

/* Reservations, admission and membership as text: for "nothing changed". */
char *state_text(void);
void state_compare(const char *before, const char *file, int line, const char *what);
void refused(const char *before, int ret, int err, const char *file, int line, const char *what);
#define expect_refused(call, err)						\
	do {									\
		char *refused_before = state_text();				\
										\
		refused(refused_before, call, err, __FILE__, __LINE__, #call);	\
		free(refused_before);						\
	} while (0)

/* Allocations of this thread in the kernel that fail, and copies from and to it. */
#define FAIL_NTH	"/proc/thread-self/fail-nth"
#define FAILSLAB	"/sys/kernel/debug/failslab/"
void fail_prepare(void);
void fail_nth(unsigned int nth);	/* the @nth from now on */
bool fail_end(void);			/* no more; true: it has failed */

/* Time */
u64 now_ns(void);
u64 cpu_ns(void);			/* CPU time of the calling thread */
void sleep_ns(u64 ns);
void sleep_until(u64 ns);
#define sleep_ms(ms)	sleep_ns(MSEC(ms))

/* Tasks */
struct gap {
	u64 from, to;
};

#define MAX_GAPS	8192

struct task_shm {			/* seen by the task and by the test */
	atomic_ullong stop;
	atomic_ullong until;		/* a hog ends by itself then; 0: never */
	atomic_ullong count;
	atomic_ullong value;
	atomic_ullong err;
	atomic_int word;		/* futex */
	atomic_ullong nr_gaps;
	struct gap gaps[MAX_GAPS];
};

struct task {
	const char *group;		/* NULL: where the test is */
	int policy, prio;
	u64 dl_runtime, dl_period;
	int cpu;			/* ANY_CPU: wherever it may */
	void (*fn)(struct task_shm *shm, void *arg);	/* NULL: hog() */
	void *arg;
	/* set by task_start() */
	pid_t pid;
	struct task_shm *shm;
};

#define ANY_CPU	(-1)

void *share(size_t size);		/* zeroed memory, seen by children, too */
void futex(atomic_int *word, int op, int value);
void task_share(struct task *t);	/* maps its shm, if it must be known before */
void task_prepare(struct task *t);	/* in place, waiting for tasks_go() */
void tasks_go(void);
void task_start(struct task *t);	/* both */
void task_kill(struct task *t);		/* and wait for its end */
void task_finish(struct task *t, u64 period);	/* and for the last it does */
bool task_reaped(struct task *t, u64 timeout_ns);
u64 task_cpu_ns(pid_t pid);
pid_t fork_child(void);			/* dies with the test */
int wait_exit(pid_t pid);
void wait_count(struct task *t, u64 beyond, u64 timeout_ns);
void wait_throttled(const char *g, int cpu);

int set_policy(pid_t pid, int policy, int prio);	/* 0 or -errno */
int set_deadline(pid_t pid, u64 runtime, u64 period);
int set_deadline_reclaim(pid_t pid, u64 runtime, u64 period);
int get_policy(pid_t pid);
int set_cpu(pid_t pid, int cpu);			/* ANY_CPU: all */
pid_t clone_into(const char *g);			/* or -errno */

void start_interrupts(int cpu, u64 period);
void start_pacer(u64 period);		/* where CPUs take turns: how often, in ns */

void hog(struct task_shm *shm, void *arg);		/* notes its gaps */
void plain_hog(struct task_shm *shm, void *arg);	/* only counts */
void yield_hog(struct task_shm *shm, void *arg);
void nap_hog(struct task_shm *shm, void *arg);		/* arg: ns of each sleep */
void ping_hog(struct task_shm *shm, void *arg);		/* arg: partner's task_shm */
void fork_hog(struct task_shm *shm, void *arg);
void exec_hog(struct task_shm *shm, void *arg);		/* and never returns */
void sleeper(struct task_shm *shm, void *arg);
void long_sleeper(struct task_shm *shm, void *arg);

#define EXEC_HOG	"exec_hog"	/* the program by that name: exec_again() */
void exec_again(const char *count);

/* Sections with preemption off that outrun any budget. */
void overrun_setup(void);
void overrun_hog(struct task_shm *shm, void *arg);	/* until stopped; value: the longest */
void overrun_remove(void);		/* what overrun_setup() has made */
void spin_ns(u64 ns);			/* of CPU time */

/* As somebody without rights; fn returns 0 or -errno, which is returned. */
int as_user(int (*fn)(void *arg), void *arg);
void drop_rights(void);
void drop_cap_sys_nice(void);

/* Supply, from the scheduler's tracepoints */
struct supply {
	u64 runtime, period;		/* in: ns */
	u64 id;				/* in: of the cgroup */
	int cpu;			/* in */
	const pid_t *pids;		/* in: its tasks */
	int nr_pids;
	u64 first, last;		/* of the replenishments used */
	u64 nr_replenish;		/* between them */
	u64 nr_throttle;
	u64 received;			/* CPU time between first and last */
	u64 max_gap;			/* longest time without service */
	u64 max_overrun;		/* most received beyond the budgets handed out */
	u64 max_late_switch;		/* longest run on after a throttle */
	u64 max_missing;		/* most that a window had less than supply_bound() */
	u64 max_beyond;			/* most that a window had more than window_bound() */
};

/* What the server of a group did on one CPU. */
struct server_events {
	u64 nr_start, nr_stop;
	u64 charged;			/* ns */
};

struct wakeup {
	int cpu;			/* chosen for it */
	u64 latency;			/* ns until it ran */
	pid_t beside;
};

/* What became of a write to cpu.rt.max. */
struct decision {
	u64 ts;				/* ns, 0: none yet */
	int cpu;			/* -1: not about a CPU */
	int rule;			/* 1: CPU, 2: hierarchy, 3: tasks, 4: rights */
	u64 asked, free;		/* of UNIT */
	int result;			/* 0 or -errno */
};

void trace_start(void);			/* of the supply */
void trace_start_servers(void);		/* of the rest */
void trace_start_wakeups(void);
void trace_stop(void);
void trace_server(u64 id, int cpu, struct server_events *s);
void trace_decision(u64 id, struct decision *d);
void trace_supply(struct supply *s);
void trace_wakeup(pid_t pid, u64 from, int cpu, struct wakeup *w);
u64 trace_running(int cpu, const pid_t *pids, int nr, u64 from, u64 to);
u64 trace_gap(int cpu, const pid_t *pids, int nr, u64 from, u64 to);
void trace_remove(void);
const char *trace_check(bool any_kernel);
const char *trace_check_functions(void);
void trace_start_functions(const char *pattern);
u64 trace_functions(char *first, size_t size);
int trace_kernel_int(const char *symbol);
void trace_remove_probe(void);

struct reservation {
	const char *name;
	u64 runtime_us, period_us;
	int nr_hogs;			/* 0: one */
	const char *const *in;		/* subgroups of the hogs, round robin; NULL: itself */
	int policy, prio;		/* 0: SCHED_FIFO 10 */
	struct task task[4];
	pid_t pids[4];
	u64 start;			/* when the hogs went */
	struct supply supply;
};

void reserve(struct reservation *r, int n, int cpu);
void supply_measure(struct reservation *r, int n, int cpu);
void supply_check(const struct reservation *r);
void supply_run(struct reservation *r, int n);	/* all three, on the first CPU */
u64 window_bound(u64 runtime, u64 period, u64 t);
u64 supply_bound(u64 runtime, u64 period, u64 t);

#endif /* DL_GROUP_TEST_H */
