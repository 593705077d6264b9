// SPDX-License-Identifier: GPL-2.0-only
/* Who may take what: users a subtree was delegated to, and namespaces. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dl_group_test.h"

/* As cgroup-v2.rst says: the directory and three files, not the limits. */
static void delegate(const char *g)
{
	static const char *const files[] = {
		NULL, "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(files); i++)
		expect(!chown(g_path(g, files[i]), TEST_UID, TEST_UID), "chown: %s",
		       strerror(errno));
}

static int carve(void *arg)
{
	(void)arg;
	g_make("a/mine");
	g_set("a/mine", "1000 20000");
	expect_refused(g_try("a/mine", "5001 20000"), ENOSPC);
	g_set("a/mine", "5000 20000");
	g_set("a/mine", "2000 20000");
	g_set("a/mine", "max");
	g_set("a/mine", "0");
	g_set("a/mine", "1000 20000");
	/* what was given is not theirs to change */
	expect_refused(g_try("a", "5000 20000"), EACCES);
	expect_refused(g_try("a", "max"), EACCES);
	return 0;
}

static void delegatee_carves(void)
{
	g_make("a");
	g_set("a", "5000 20000");
	delegate("a");
	must(as_user(carve, NULL));
	g_expect("a/mine", "cpu.rt.max", "1000 20000\n");
	g_expect("a", "cpu.rt.max.effective.local", "4000 20000\n");
}

static int reserve_machine(void *arg)
{
	(void)arg;
	g_make("a/mine");
	expect_refused(g_try("a/mine", "1000 20000"), EPERM);
	expect_refused(g_try("a/mine", "100 1000000"), EPERM);
	g_set("a/mine", "0");
	g_set("a/mine", "max");
	return 0;
}

static void delegatee_root_pool(void)
{
	g_make("a");
	delegate("a");
	must(as_user(reserve_machine, NULL));
}

static int lower(void *arg)
{
	(void)arg;
	expect_refused(g_try("a", "2001 20000"), EPERM);
	expect_refused(g_try("a", "2000 19000"), EPERM);
	g_set("a", "2000 20000");
	g_set("a", "1000 20000");
	expect_refused(g_try("a", "2000 20000"), EPERM);
	g_set("a", "1000 40000");
	g_set("a", "max");
	expect_refused(g_try("a", "1000 40000"), EPERM);
	return 0;
}

static void lowering_is_free(void)
{
	g_make("a");
	g_set("a", "2000 20000");
	expect(!chown(g_path("a", "cpu.rt.max"), TEST_UID, TEST_UID), "chown: %s",
	       strerror(errno));
	must(as_user(lower, NULL));
	g_expect("a", "cpu.rt.max", "max 40000\n");
}

static int write_fd(int fd, const char *text)
{
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static int write_opened(void *arg)
{
	return write_fd(*(int *)arg, "2000 20000");
}

/* The opener's rights count: root opened it, somebody else writes. */
static void opened_by_root(void)
{
	int fd;

	g_make("a");
	fd = cg_open(g_path("a", NULL), "cpu.rt.max", O_WRONLY);
	expect(fd >= 0, "open: %s", strerror(errno));
	must(as_user(write_opened, &fd));
	g_expect("a", "cpu.rt.max", "2000 20000\n");
}

/* ... and the reverse: a user gets a privileged program to write. */
static void opened_by_user(void)
{
	char control[CMSG_SPACE(sizeof(int))] = "", byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	int socks[2], fd;
	pid_t pid;

	g_make("a");
	expect(!chown(g_path("a", "cpu.rt.max"), TEST_UID, TEST_UID), "chown: %s",
	       strerror(errno));
	expect(!socketpair(AF_UNIX, SOCK_STREAM, 0, socks), "socketpair: %s", strerror(errno));
	pid = fork_child();
	if (!pid) {
		drop_rights();
		fd = cg_open(g_path("a", NULL), "cpu.rt.max", O_WRONLY);
		expect(fd >= 0, "open: %s", strerror(errno));
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
		expect(sendmsg(socks[1], &msg, 0) == 1, "sendmsg: %s", strerror(errno));
		_exit(0);
	}
	close(socks[1]);
	expect(recvmsg(socks[0], &msg, 0) == 1, "recvmsg: %s", strerror(errno));
	expect(!wait_exit(pid), "the unprivileged child failed");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	expect_refused(write_fd(fd, "2000 20000"), EPERM);
}

/* Root of a user namespace is nobody to the machine's CPUs. */
static void user_namespace(void)
{
	pid_t pid;

	g_make("a");
	g_make("p");
	g_make("p/b");
	g_set("p", "5000 20000");
	pid = fork_child();
	if (!pid) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWCGROUP))
			test_skip("unshare: %s: needs CONFIG_USER_NS, max_user_namespaces > 0",
				  strerror(errno));
		must(file_write("/proc/self/setgroups", "deny"));
		must(file_write("/proc/self/uid_map", "0 0 1"));
		must(file_write("/proc/self/gid_map", "0 0 1"));
		expect_refused(g_try("a", "1000 20000"), EPERM);
		expect_refused(g_try("p", "6000 20000"), EPERM);
		g_set("p/b", "1000 20000");
		g_set("p", "4000 20000");
		_exit(0);
	}
	switch (wait_exit(pid)) {
	case 0:
		break;
	case KSFT_SKIP:
		_exit(KSFT_SKIP);
	default:
		fail("in the user namespace");
	}
}

/*
 * Where the hierarchy is mounted with nsdelegate the root of a cgroup namespace
 * keeps its limits from those inside, whoever they are.
 */
static void cgroup_namespace(void)
{
	int status;
	pid_t pid;

	expect(!mount(NULL, cgroup_root, NULL, MS_REMOUNT, "nsdelegate"),
	       "cannot remount with nsdelegate: %s", strerror(errno));
	g_make("p");
	g_set("p", "5000 20000");
	pid = fork_child();
	if (!pid) {
		must(g_attach("p", getpid()));
		expect(!unshare(CLONE_NEWCGROUP), "unshare: %s", strerror(errno));
		raise(SIGSTOP);
		expect_refused(g_try("p", "4000 20000"), EPERM);
		expect_refused(g_try("p", "6000 20000"), EPERM);
		expect_refused(g_try("p", "max"), EPERM);
		g_set("p/b", "1000 20000");
		g_expect("p/b", "cpu.rt.max", "1000 20000\n");
		expect_refused(g_try("p/b", "6000 20000"), ENOSPC);
		_exit(0);
	}
	/* The namespace stays rooted at p; p with tasks in it has no subgroups. */
	expect(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status),
	       "in the cgroup namespace");
	g_make("away");
	must(g_attach("away", pid));
	g_make("p/b");
	kill(pid, SIGCONT);
	expect(!wait_exit(pid), "in the cgroup namespace");
}

/*
 * All that is refused, and what can be read, once more by those who have been
 * given a part of a reservation: "p" with 10 ms every 20 ms.
 */
static void read_back(void)
{
	static const char *const forms[][2] = {
		{ "5000 20000", "5000 20000" }, { "4000", "4000 20000" },
		{ "max", "max 20000" }, { "3000", "3000 20000" }, { "0", "0 20000" },
		{ "max 50000", "max 50000" }, { "max 100000", "max 100000" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(forms); i++) {
		g_set("p/a", "%s", forms[i][0]);
		g_expect("p/a", "cpu.rt.max", "%s\n", forms[i][1]);
	}
	g_set("p/a", "4000 20000");
	g_set("p/a/sub", "1000 20000");
	g_set("p/b", "1000 20000");
	g_set("p/none", "0");
	g_expect("p", "cpu.rt.max.effective.local", "5000 20000\n");
	g_expect("p/a", "cpu.rt.max.effective.local", "3000 20000\n");
	g_expect("p/a/sub", "cpu.rt.max.effective.local", "1000 20000\n");
	g_expect("p/none", "cpu.rt.max.effective.local", "0 100000\n");
	g_expect("p/max", "cpu.rt.max.effective.local", "max 100000\n");
}

static void refuse_numbers(bool capable)
{
	static const char *const invalid[] = {
		"\n", "five", "5000 20000 20000", "20001 20000", "20001", "5000 0",
		"1 20000", "50 99", "1000 4194305",
		/* these without CAP_SYS_NICE only */
		"99 20000", "100 999", "1000 1000001",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(invalid) - (capable ? 3 : 0); i++)
		expect_refused(g_try("p/b", "%s", invalid[i]), EINVAL);
	expect_refused(g_try("p/b", "6001 20000"), ENOSPC);
	expect_refused(g_try("p/a", "9001 20000"), ENOSPC);
	expect_refused(g_try("p/a/sub", "4001 20000"), ENOSPC);
	expect_refused(g_try("p/a", "999 20000"), ENOSPC);
	expect_refused(g_try("p/a", "0"), ENOSPC);
}

/* Those in "b" have its own budget, those in "max" what is left of that of "p". */
static void refuse_for_tasks(void)
{
	struct task b = { .group = "p/b", .policy = SCHED_FIFO, .prio = 1, .cpu = cpus[0],
			  .fn = sleeper };
	struct task max = { .group = "p/max", .policy = SCHED_RR, .prio = 1, .cpu = cpus[0],
			    .fn = sleeper };
	struct task none = { .group = "p/none", .cpu = cpus[0], .fn = sleeper };
	char *before;
	pid_t pid;
	int ret;

	task_start(&b);
	task_start(&max);
	task_start(&none);
	expect_refused(g_try("p/b", "0"), EBUSY);
	expect_refused(g_try("p/a", "9000 20000"), EBUSY);
	expect_refused(set_policy(none.pid, SCHED_FIFO, 1), EPERM);
	expect_refused(set_policy(none.pid, SCHED_RR, 1), EPERM);
	expect_refused(g_attach("p/none", b.pid), EINVAL);
	before = state_text();
	pid = fork_child();
	if (!pid) {
		must(g_attach("p/b", getpid()));
		must(set_policy(0, SCHED_FIFO, 1));
		pid = clone_into("p/none");
		_exit(pid < 0 ? -pid : 0);
	}
	ret = wait_exit(pid);
	expect(ret == EINVAL, "clone: %s, expected EINVAL", ret ? strerror(ret) : "accepted");
	state_compare(before, __FILE__, __LINE__, "clone");
	free(before);
	/* nothing is left of "p" */
	must(set_policy(max.pid, SCHED_OTHER, 0));
	g_set("p/a", "9000 20000");
	expect_refused(set_policy(max.pid, SCHED_FIFO, 1), EPERM);
	expect_refused(g_attach("p/max", b.pid), EINVAL);
	task_kill(&b);
	task_kill(&max);
	task_kill(&none);
}

static void read_counters(void)
{
	struct task hog = { .group = "p/b", .policy = SCHED_FIFO, .prio = 1, .cpu = cpus[0] };
	char events[256];
	u64 throttled;

	task_start(&hog);
	wait_throttled("p/b", cpus[0]);
	expect(g_stat("p/b", "usage_usec") >= 1000, "used %llu us of 1000 until the throttle",
	       g_stat("p/b", "usage_usec"));
	g_read("p/b", "cpu.rt.events", events, sizeof(events));
	expect(sscanf(events, "throttled %llu", &throttled) == 1 && throttled > 0,
	       "throttled, and cpu.rt.events reads '%s'", events);
	task_kill(&hog);
}

static int all_refusals(void *arg)
{
	static const char *const groups[] = {
		"p/a", "p/a/sub", "p/b", "p/max", "p/none",
	};
	char *before;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(groups); i++)
		g_make(groups[i]);
	before = state_text();
	read_back();
	refuse_numbers(*(bool *)arg);
	refuse_for_tasks();
	read_counters();
	for (i = 0; i < ARRAY_SIZE(groups); i++)
		g_set(groups[i], "max 100000");
	state_compare(before, __FILE__, __LINE__, "all of it");
	free(before);
	return 0;
}

enum who { ROOT, DELEGATEE, NAMESPACE };

static void refusals_for(enum who who)
{
	struct rlimit rtprio = { .rlim_cur = 99, .rlim_max = 99 };
	bool capable = who != DELEGATEE;
	int status;
	pid_t pid;

	if (who == NAMESPACE)
		expect(!mount(NULL, cgroup_root, NULL, MS_REMOUNT, "nsdelegate"),
		       "cannot remount with nsdelegate: %s", strerror(errno));
	g_make("p");
	g_make("away");
	g_set("p", "10000 20000");
	delegate("p");
	pid = fork_child();
	if (!pid) {
		if (who == NAMESPACE) {
			must(g_attach("p", getpid()));
			expect(!unshare(CLONE_NEWCGROUP), "unshare: %s", strerror(errno));
		}
		raise(SIGSTOP);
		if (who == NAMESPACE)
			expect_refused(g_try("p", "4000 20000"), EPERM);
		expect(!setrlimit(RLIMIT_RTPRIO, &rtprio), "setrlimit: %s", strerror(errno));
		if (who == DELEGATEE)
			must(as_user(all_refusals, &capable));
		else
			must(all_refusals(&capable));
		_exit(0);
	}
	/* A group with tasks in it has no subgroups. */
	expect(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status),
	       "the child did not get there");
	must(g_attach("away", pid));
	g_make("p/home");
	must(g_attach("p/home", pid));
	kill(pid, SIGCONT);
	expect(!wait_exit(pid), "in the child");
}

static void refusals_root(void)
{
	refusals_for(ROOT);
}

static void refusals_delegatee(void)
{
	refusals_for(DELEGATEE);
}

static void refusals_namespace(void)
{
	refusals_for(NAMESPACE);
}

/* Files stay readable for those who may not write them. */
static int read_all(void *arg)
{
	static const char *const files[] = {
		"cpu.rt.max", "cpu.rt.max.effective.local", "cpu.rt.stat"
	};
	char buf[8192];
	size_t i;

	(void)arg;
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		g_read("", files[i], buf, sizeof(buf));
		expect(*buf, "%s is empty", files[i]);
	}
	expect(g_try("", "1000 20000") == -EACCES, "a stranger may write");
	return 0;
}

static void stranger_reads(void)
{
	g_set("", "5000 20000");
	must(as_user(read_all, NULL));
}

const struct dl_group_test delegation_tests[] = {
	{ "delegatee_carves", "delegation", "a delegatee carves with write permission only",
	  .run = delegatee_carves },
	{ "delegatee_root_pool", "delegation", "a delegatee cannot take from the root pool",
	  .run = delegatee_root_pool },
	{ "lowering_is_free", "delegation", "lowering and max need write permission only",
	  .run = lowering_is_free },
	{ "opened_by_root", "delegation", "a file opened by root and written by a user",
	  .run = opened_by_root },
	{ "opened_by_user", "delegation", "a file opened by a user and written by root",
	  .run = opened_by_user },
	{ "user_namespace", "delegation", "root of a user namespace cannot take from the root pool",
	  .needs = NEED_USERNS, .run = user_namespace },
	{ "cgroup_namespace", "delegation", "inside a cgroup namespace its root is read-only",
	  .run = cgroup_namespace },
	{ "refusals_root", "delegation", "all refusals below a number, as root",
	  .run = refusals_root },
	{ "refusals_delegatee", "delegation", "the same for a user it was delegated to",
	  .run = refusals_delegatee },
	{ "refusals_namespace", "delegation", "the same inside a cgroup namespace",
	  .run = refusals_namespace },
	{ "stranger_reads", "delegation", "anybody reads, only those permitted write",
	  .run = stranger_reads },
	{}
};
