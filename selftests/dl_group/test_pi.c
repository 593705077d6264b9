// SPDX-License-Identifier: GPL-2.0-only
/*
 * Priority inheritance across the border of a group: an owner somebody outside
 * waits for does not wait for its budget, and pays for what it took.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "dl_group_test.h"

/* 2 ms every 200 ms: without the rule a section of 6 ms takes 400 ms and more. */
#define PI_RUNTIME	MSEC(2)
#define PI_PERIOD	MSEC(200)
#define PI_SECTION	MSEC(6)

/* The same for many rounds: a throttle is 9 ms. */
#define LATE_RUNTIME	MSEC(1)
#define LATE_PERIOD	MSEC(10)
#define LATE_SWEEP	USEC(60)

struct lock_shm {
	pthread_mutex_t mutex[2];
	atomic_ullong owned, section_ns, released, got, waiting;
	atomic_ullong round, lead_ns, throttle, calls;
};

static struct lock_shm *lock;

static void lock_map(void)
{
	pthread_mutexattr_t attr;
	int i;

	lock = mmap(NULL, sizeof(*lock), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		    -1, 0);
	expect(lock != MAP_FAILED, "mmap: %s", strerror(errno));
	memset(lock, 0, sizeof(*lock));
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	must(-pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT));
	for (i = 0; i < 2; i++)
		must(-pthread_mutex_init(&lock->mutex[i], &attr));
}

/* Owns the first lock for so much CPU time, then goes on without. */
static void owner(struct task_shm *shm, void *arg)
{
	(void)arg;
	must(-pthread_mutex_lock(&lock->mutex[0]));
	lock->owned = 1;
	spin_ns(lock->section_ns);
	lock->released = now_ns();
	must(-pthread_mutex_unlock(&lock->mutex[0]));
	hog(shm, NULL);
}

static void waiter(struct task_shm *shm, void *arg)
{
	u64 start = now_ns();

	(void)arg;
	lock->waiting = 1;
	must(-pthread_mutex_lock(&lock->mutex[0]));
	shm->value = now_ns() - start;
	lock->got = now_ns();
	must(-pthread_mutex_unlock(&lock->mutex[0]));
}

/* In the middle of a chain: owns the second lock, then waits for the first. */
static void middle(struct task_shm *shm, void *arg)
{
	(void)arg;
	must(-pthread_mutex_lock(&lock->mutex[1]));
	shm->value = 1;
	/* throttled in here, before it comes to wait */
	spin_ns(PI_SECTION);
	must(-pthread_mutex_lock(&lock->mutex[0]));
	must(-pthread_mutex_unlock(&lock->mutex[0]));
	must(-pthread_mutex_unlock(&lock->mutex[1]));
}

static void wait_for(atomic_ullong *what)
{
	u64 end = now_ns() + patience(MSEC(5000));

	while (!*what) {
		expect(now_ns() < end, "a task never got to its lock");
		sleep_ns(USEC(200));
	}
}

static struct task own;

static void start_owner(const char *group)
{
	own = (struct task){ .group = group, .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0],
			     .fn = owner };
	lock_map();
	lock->section_ns = PI_SECTION;
	task_start(&own);
	wait_for(&lock->owned);
	/* now it has used up its budget with the lock held */
	sleep_ms(20);
	expect(!lock->released, "the owner was not throttled");
}

static void waiter_outside(void)
{
	u64 start, took;

	g_make("a");
	g_set("a", "2000 200000");
	start_owner("a");
	start = now_ns();
	must(-pthread_mutex_lock(&lock->mutex[0]));
	took = now_ns() - start;
	must(-pthread_mutex_unlock(&lock->mutex[0]));
	figure(took, "waited");
	expect(took <= PI_SECTION + slack_ns(MSEC(1)), "waited for %llu ns for %llu ns of section",
	       took, PI_SECTION);
}

/* What the owner took from outside is its group's debt. */
static void owner_pays(void)
{
	u64 before, start, got, length, bound;

	g_make("a");
	g_set("a", "2000 50000");
	own = (struct task){ .group = "a", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0],
			     .fn = owner };
	lock_map();
	lock->section_ns = MSEC(14);
	task_prepare(&own);
	before = g_usage_ns("a");
	start = now_ns();
	tasks_go();
	wait_for(&lock->owned);
	sleep_ms(20);
	must(-pthread_mutex_lock(&lock->mutex[0]));
	must(-pthread_mutex_unlock(&lock->mutex[0]));
	sleep_ms(1500);
	got = g_usage_ns("a") - before;
	length = now_ns() - start;
	bound = window_bound(MSEC(2), MSEC(50), length);
	figure(got, "received");
	/* the debt is paid long ago: nothing of it may be left over */
	expect(got <= bound + slack_ns(USEC(200)),
	       "%llu ns in %llu ns, at most %llu are due: the section was a gift", got, length,
	       bound);
	expect(got >= at_least(length / 25 - MSEC(6)), "%llu ns in %llu ns: paid twice", got, length);
}

/* Somebody of the same server waits: nobody is outside, no budget is lent. */
static void waiter_inside(void)
{
	struct task w = { .group = "a", .policy = SCHED_FIFO, .prio = 20, .cpu = cpus[0],
			  .fn = waiter };
	u64 before, start, got, length;

	g_make("a");
	g_set("a", "2000 20000");
	own = (struct task){ .group = "a", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0],
			     .fn = owner };
	lock_map();
	lock->section_ns = MSEC(20);
	task_prepare(&own);
	before = g_usage_ns("a");
	start = now_ns();
	tasks_go();
	wait_for(&lock->owned);
	task_start(&w);
	wait_for(&lock->waiting);
	while (!lock->got && now_ns() - start < MSEC(2000))
		sleep_ms(1);
	got = g_usage_ns("a") - before;
	length = now_ns() - start;
	expect(lock->got, "the waiter never got the lock");
	expect(got <= window_bound(MSEC(2), MSEC(20), length) + slack_ns(USEC(300)),
	       "%llu ns in %llu ns: a waiter of the same group lent budget", got, length);
}

static void waiter_in_other_group(void)
{
	struct task w = { .group = "b", .policy = SCHED_FIFO, .prio = 20, .cpu = cpus[0],
			  .fn = waiter };
	u64 end;

	g_make("a");
	g_make("b");
	g_set("a", "2000 200000");
	g_set("b", "5000 20000");
	start_owner("a");
	end = now_ns() + MSEC(5000);
	task_start(&w);
	while (!lock->got && now_ns() < end)
		sleep_ms(1);
	expect(lock->got, "the waiter never got the lock");
	figure(w.shm->value, "waited");
	expect(w.shm->value <= PI_SECTION + MSEC(20) + slack_ns(MSEC(1)),
	       "waited for %llu ns for a section of %llu ns", w.shm->value, PI_SECTION);
}

static void chain(void)
{
	struct task m = { .group = "b", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0],
			  .fn = middle };
	u64 start, took;

	g_make("a");
	g_make("b");
	g_set("a", "2000 200000");
	g_set("b", "2000 200000");
	start_owner("a");
	task_start(&m);
	wait_for(&m.shm->value);
	sleep_ms(20);
	start = now_ns();
	must(-pthread_mutex_lock(&lock->mutex[1]));
	took = now_ns() - start;
	must(-pthread_mutex_unlock(&lock->mutex[1]));
	figure(took, "waited");
	expect(took >= PI_SECTION - PI_RUNTIME, "waited for %llu ns: the chain was not there", took);
	expect(took <= 2 * PI_SECTION + slack_ns(MSEC(2)), "waited for %llu ns for %llu ns of section",
	       took, 2 * PI_SECTION);
}

/* An owner that is SCHED_OTHER and boosted runs on the root runqueue. */
static void fair_owner(const char *group, const char *waiter_group)
{
	struct task root = { .policy = SCHED_FIFO, .prio = 15, .cpu = cpus[0] };
	struct task w = { .group = waiter_group, .policy = SCHED_FIFO, .prio = 20,
			  .cpu = cpus[0], .fn = waiter };
	u64 start;

	own = (struct task){ .group = group, .cpu = cpus[0], .fn = owner };
	lock_map();
	lock->section_ns = PI_SECTION;
	task_start(&own);
	wait_for(&lock->owned);
	/* from here on fair tasks have the fair server's 5 % */
	task_start(&root);
	start = now_ns();
	task_start(&w);
	while (!lock->got && now_ns() - start < MSEC(5000))
		sleep_ms(1);
	expect(lock->got, "the waiter never got the lock");
	figure(w.shm->value, "waited");
	expect(w.shm->value <= PI_SECTION + MSEC(20) + slack_ns(MSEC(1)),
	       "waited for %llu ns for a section of %llu ns", w.shm->value, PI_SECTION);
}

static void fair_owner_waiter_inside(void)
{
	g_make("a");
	g_set("a", "5000 20000");
	fair_owner("a", "a");
}

static void fair_owner_waiter_outside(void)
{
	g_make("a");
	g_set("a", "5000 20000");
	fair_owner("a", NULL);
}

/* A fair owner where no FIFO task may be at all. */
static void fair_owner_without_bandwidth(void)
{
	g_make("a");
	g_make("b");
	g_set("a", "0");
	g_set("b", "5000 20000");
	fair_owner("a", "b");
}

/* The waiter gives up: the owner is back under its throttle. */
static void waiter_gives_up(void)
{
	struct task w = { .policy = SCHED_FIFO, .prio = 20, .cpu = cpus[0], .fn = waiter };
	u64 before, got;

	g_make("a");
	g_set("a", "1000 500000");
	own = (struct task){ .group = "a", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0],
			     .fn = owner };
	lock_map();
	lock->section_ns = MSEC(300);
	task_start(&own);
	wait_for(&lock->owned);
	sleep_ms(20);
	task_start(&w);
	wait_for(&lock->waiting);
	sleep_ms(10);
	task_kill(&w);
	before = task_cpu_ns(own.pid);
	sleep_ms(50);
	got = task_cpu_ns(own.pid) - before;
	expect(got <= slack_ns(USEC(500)), "the owner ran for %llu ns with nobody waiting", got);
}

/* Takes the lock, works under it, and lets it go, over and over. */
static void contender(struct task_shm *shm, void *arg)
{
	(void)arg;
	for (; !shm->stop; shm->count++) {
		must(-pthread_mutex_lock(&lock->mutex[0]));
		spin_ns(USEC(300));
		must(-pthread_mutex_unlock(&lock->mutex[0]));
	}
}

/* Who waits for a lock may run until he has it: no budget comes of that. */
static void contended_inside(void)
{
	struct task t[3];
	u64 before, start, got, length;
	int i;

	g_make("a");
	g_set("a", "2000 20000");
	lock_map();
	for (i = 0; i < 3; i++) {
		t[i] = (struct task){ .group = "a", .policy = SCHED_RR, .prio = 10 + i, .cpu = cpus[0],
				      .fn = contender };
		task_prepare(&t[i]);
	}
	before = g_usage_ns("a");
	start = now_ns();
	tasks_go();
	sleep_ms(2000);
	got = g_usage_ns("a") - before;
	length = now_ns() - start;
	figure(got, "received");
	expect(got <= window_bound(MSEC(2), MSEC(20), length) + slack_ns(USEC(300)),
	       "%llu ns in %llu ns: waiting for a lock was worth budget", got, length);
	expect(got >= at_least(length / 10 - MSEC(2)), "only %llu ns in %llu ns", got, length);
}

/*
 * The lock is given to a task of a group without budget. Until that has run and
 * taken it the lock has no owner, and a lower waiter nobody to lend to; and when
 * it takes the lock, its priority is not what tells it who waits already.
 */
static void given_to_throttled(bool waits_before)
{
	struct task first = { .group = "a", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0],
			      .fn = owner };
	struct task burns = { .group = "a", .policy = SCHED_FIFO, .prio = 5, .cpu = cpus[0] };
	struct task w = { .policy = SCHED_FIFO, .prio = 5, .cpu = cpus[0], .fn = waiter };
	u64 given;

	g_make("a");
	g_set("a", "2000 200000");
	lock_map();
	lock->section_ns = PI_SECTION;
	must(-pthread_mutex_lock(&lock->mutex[0]));
	task_start(&first);
	/* it has all it needs to come to wait, and is nowhere near a throttle */
	sleep_ms(20);
	if (waits_before) {
		task_start(&w);
		wait_for(&lock->waiting);
		sleep_ms(5);
	}
	task_start(&burns);
	wait_throttled("a", cpus[0]);
	if (!waits_before)
		task_prepare(&w);
	expect(!lock->owned, "the lock is free");
	given = now_ns();
	must(-pthread_mutex_unlock(&lock->mutex[0]));
	tasks_go();
	wait_for(&lock->waiting);
	wait_for(&lock->got);
	figure(lock->got - given, "waited");
	expect(lock->got - given <= PI_SECTION + slack_ns(MSEC(2)),
	       "waited for %llu ns for a section of %llu ns", lock->got - given, PI_SECTION);
}

static void pending_owner(void)
{
	given_to_throttled(false);
}

static void new_owner(void)
{
	given_to_throttled(true);
}

/* Takes the lock, once a round, at one instant after another around its throttle. */
static void late_locker(struct task_shm *shm, void *arg)
{
	u64 last = now_ns(), done = 0;

	(void)arg;
	(void)shm;
	for (;;) {
		u64 now = now_ns();

		if (done < lock->round && now - last > LATE_PERIOD / 2) {
			u64 from = now + LATE_RUNTIME + LATE_SWEEP / 2 - lock->lead_ns;

			done = lock->round;
			lock->throttle = now + LATE_RUNTIME;
			while (now_ns() < from)
				;
			lock->calls++;
			must(-pthread_mutex_lock(&lock->mutex[0]));
			must(-pthread_mutex_unlock(&lock->mutex[0]));
			lock->owned = 1;
			now = now_ns();
		}
		last = now;
	}
}

static bool sleeps(pid_t pid)
{
	char path[32], stat[256];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	must(read_text(path, stat, sizeof(stat)) < 0 ? -EIO : 0);
	return strstr(stat, ") S ");
}

/*
 * A task can be throttled anywhere on its way to sleep for a lock. If it waits
 * already it has to come and take it, though it has not gone to sleep.
 */
static void throttled_on_the_way(void)
{
	struct task t = { .group = "a", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0],
			  .fn = late_locker };
	u64 lead, start, waited, most = 0;
	int before = 0, asleep = 0;

	g_make("a");
	g_set("a", "%llu %llu", LATE_RUNTIME / 1000, LATE_PERIOD / 1000);
	lock_map();
	task_start(&t);
	/* whoever is better takes a lock that somebody is on his way to take */
	must(set_policy(0, SCHED_FIFO, 5));
	for (lead = 0; lead < LATE_SWEEP; lead += 250) {
		must(-pthread_mutex_lock(&lock->mutex[0]));
		lock->throttle = 0;
		lock->owned = 0;
		lock->lead_ns = lead;
		lock->round++;
		wait_for(&lock->throttle);
		sleep_until(lock->throttle + MSEC(1));
		before += lock->calls < lock->round;
		asleep += sleeps(t.pid);
		start = now_ns();
		must(-pthread_mutex_unlock(&lock->mutex[0]));
		must(-pthread_mutex_lock(&lock->mutex[0]));
		waited = now_ns() - start;
		must(-pthread_mutex_unlock(&lock->mutex[0]));
		wait_for(&lock->owned);
		most = waited > most ? waited : most;
		expect(waited < MSEC(2), "waited for %llu ns in round %llu", waited, lock->round);
	}
	figure(most, "waited");
	/* so what lies between has been met */
	expect(before && asleep, "throttled %d times before the call, asleep %d times", before, asleep);
}

/* Waits for the lock for a while, then goes on without. */
static void impatient(struct task_shm *shm, void *arg)
{
	struct timespec until;

	(void)arg;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += 100000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	shm->err = pthread_mutex_timedlock(&lock->mutex[0], &until);
	shm->value = 1;
	plain_hog(shm, NULL);
}

/* Who has given up waiting is on its way to no lock. */
static void gives_up_waiting(void)
{
	struct task t = { .group = "a", .policy = SCHED_FIFO, .prio = 10, .cpu = cpus[0],
			  .fn = impatient };
	struct task burns = { .group = "a", .policy = SCHED_FIFO, .prio = 5, .cpu = cpus[0] };
	u64 before, got;

	g_make("a");
	g_set("a", "2000 1000000");
	lock_map();
	must(-pthread_mutex_lock(&lock->mutex[0]));
	task_start(&t);
	sleep_ms(20);
	task_start(&burns);
	wait_throttled("a", cpus[0]);
	expect(!t.shm->value, "it does not wait");
	before = task_cpu_ns(t.pid);
	sleep_ms(300);
	got = task_cpu_ns(t.pid) - before;
	expect(got <= slack_ns(USEC(500)), "it ran for %llu ns without budget", got);
	wait_for(&t.shm->value);
	expect(t.shm->err == ETIMEDOUT, "it got the lock: %llu", (u64)t.shm->err);
	must(-pthread_mutex_unlock(&lock->mutex[0]));
}

const struct dl_group_test pi_tests[] = {
	{ "waiter_outside", "pi", "a throttled owner runs for a waiter outside",
	  .run = waiter_outside },
	{ "owner_pays", "pi", "what an owner took is paid back", .run = owner_pays },
	{ "waiter_inside", "pi", "a waiter of the same group lends nothing",
	  .run = waiter_inside },
	{ "waiter_in_other_group", "pi", "a throttled owner runs for a waiter in another group",
	  .run = waiter_in_other_group },
	{ "chain", "pi", "through a throttled waiter in the middle", .run = chain },
	{ "fair_owner_waiter_inside", "pi", "a fair owner, boosted by its own group",
	  .run = fair_owner_waiter_inside },
	{ "fair_owner_waiter_outside", "pi", "a fair owner, boosted from outside",
	  .run = fair_owner_waiter_outside },
	{ "fair_owner_without_bandwidth", "pi", "a fair owner where the bandwidth is 0",
	  .run = fair_owner_without_bandwidth },
	{ "waiter_gives_up", "pi", "without its waiter the owner is throttled again",
	  .run = waiter_gives_up },
	{ "contended_inside", "pi", "tasks of one group that fight for a lock gain nothing",
	  .run = contended_inside },
	{ "gives_up_waiting", "pi", "a throttled task that stops waiting for a lock is no better",
	  .run = gives_up_waiting },
	{ "pending_owner", "pi", "a throttled task that is given the lock comes and takes it",
	  .run = pending_owner },
	{ "throttled_on_the_way", "pi", "or between coming to wait for it and going to sleep",
	  .needs = NEED_CPU1, .run = throttled_on_the_way },
	{ "new_owner", "pi", "and runs for those who waited behind it", .run = new_owner },
	{}
};
