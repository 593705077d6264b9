// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who makes no reservation pays nothing for them. There is no way back from the
 * first one, so this can be seen once a boot.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dl_group_test.h"

#define NR_GROUPS	100

#define SLABS		"/proc/slabinfo"

/* Lines of a kernel with all kinds of caches. */
static bool find_cache(u64 *objects)
{
	char line[1024];
	bool found = false;
	FILE *in = fopen(SLABS, "re");

	while (in && !found && fgets(line, sizeof(line), in))
		found = sscanf(line, "dl_group_rq %*u %llu ", objects) == 1;
	if (in)
		fclose(in);
	return found;
}

static u64 nr_objects(void)
{
	u64 objects = 0;

	expect(find_cache(&objects), "%s has no line for dl_group_rq", SLABS);
	return objects;
}

static const char *check(void)
{
	u64 objects;

	if (access(SLABS, R_OK))
		return "no " SLABS ": needs CONFIG_SLUB_DEBUG";
	if (!find_cache(&objects))
		return "no cache of its own: needs CONFIG_SLAB_MERGE_DEFAULT=n or slab_nomerge";
	return trace_check_functions();
}

/* What a scheduler has to do: wake, sleep, yield, preempt, move, fork, exit. */
static void life(struct task_shm *shm, void *arg)
{
	long nr = (long)arg;
	pid_t pid;

	for (; !shm->stop; shm->count++) {
		sleep_ms(lane_tight ? 50 : 400);
		/* not all of them, so that it does not take too long */
		if (nr % 10)
			continue;
		pid = fork();
		if (!pid)
			_exit(0);
		if (pid > 0)
			waitpid(pid, NULL, 0);
		sched_yield();
		set_cpu(0, cpus[shm->count % nr_cpus]);
		set_policy(0, shm->count % 2 ? SCHED_RR : SCHED_FIFO, 10 + nr % 3);
		set_cpu(0, ANY_CPU);
	}
}

static void no_cost(void)
{
	struct task t[NR_GROUPS], execs = { .group = "0", .policy = SCHED_FIFO, .prio = 1,
					    .cpu = cpus[0], .fn = exec_hog };
	char name[16], first[256];
	u64 calls, objects;
	int i;

	if (trace_kernel_int("__dl_group_used"))
		test_skip("somebody has made a reservation since the boot");
	start_pacer(USEC(100));
	for (i = 0; i < NR_GROUPS; i++) {
		snprintf(name, sizeof(name), "%d", i);
		g_make(name);
		t[i] = (struct task){ .group = name, .policy = SCHED_FIFO, .prio = 10 + i % 3,
				      .cpu = ANY_CPU, .fn = life, .arg = (void *)(long)i };
		task_prepare(&t[i]);
	}
	task_prepare(&execs);
	trace_start_functions("*dl_group_*");
	tasks_go();
	for (i = 0; i < NR_GROUPS; i++)
		wait_count(&t[i], 1, MSEC(5000));
	task_kill(&execs);
	task_kill(&t[0]);
	must(g_write("1", "cpu.weight", "200"));
	calls = trace_functions(first, sizeof(first));
	expect(!calls, "%llu calls for groups that nobody has, the first: %s", calls, first);
	expect(!nr_objects(), "%llu objects for groups that nobody has", nr_objects());
	expect(!trace_kernel_int("__dl_group_used"), "used, but by nobody");

	/* Would they have been seen? */
	g_set("1", "5000 20000");
	trace_start_functions("*dl_group_*");
	wait_count(&t[1], 2, MSEC(5000));
	calls = trace_functions(first, sizeof(first));
	objects = nr_objects();
	figure(objects, "objects");
	expect(calls > 0, "no calls for a group with a task");
	expect(objects >= (u64)nr_cpus, "%llu objects for a group on %d CPUs", objects, nr_cpus);
	expect(trace_kernel_int("__dl_group_used"), "used, but the key is off");
	/* so many take their time */
	for (i = 1; i < NR_GROUPS; i++)
		kill(t[i].pid, SIGKILL);
	for (i = 1; i < NR_GROUPS; i++)
		wait_exit(t[i].pid);
}

const struct dl_group_test unused_tests[] = {
	{ "no_cost", "unused", "before the first number: no allocation, no call",
	  .feature_check = check, .timeout_s = 300, .run = no_cost,
	  .cleanup = trace_remove_probe },
	{}
};
