// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs the tests one after the other, each in a child of its own, and after
 * each one brings the system back: what the test forgot, what it left when it
 * failed, and what it leaks, which fails it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "dl_group_test.h"

/* Those for which nobody must have made a reservation come first. */
static const struct dl_group_test *const areas[] = {
	unused_tests, tools_tests, interface_tests, errno_tests, delegation_tests, admission_tests,
	supply_tests, enforcement_tests, class_tests, attach_tests, pi_tests,
	hotplug_tests, cpuset_tests, cgroup_tests, balance_tests, events_tests,
	kthread_tests,
};

/* How long what a test leaves behind may take to go, asynchronously. */
#define SETTLE_NS	MSEC(5000)

static const char *lane = "loose";
static bool have_cpuset, have_group, have_max;
static FILE *json;

/* Files that every test leaves as it found them, in the order to write them back. */
static const char *const restored_files[] = {
	"/sys/devices/system/cpu/cpu[0-9]*/online",
	"/proc/sys/kernel/sched_deadline_period_min_us",
	"/proc/sys/kernel/sched_deadline_period_max_us",
	RT_PERIOD,
	RT_RUNTIME,
	"/sys/kernel/debug/sched/fair_server/cpu[0-9]*/period",
	"/sys/kernel/debug/sched/fair_server/cpu[0-9]*/runtime",
	"/proc/sys/kernel/sched_rr_timeslice_ms",
	"/proc/sys/kernel/sched_autogroup_enabled",
	"/proc/sys/kernel/sem",
	FAILSLAB "ignore-gfp-wait",
	FAILSLAB "verbose",
	"/sys/kernel/debug/fail_usercopy/verbose",
};

/* The same, but nothing can be done about them; tainted tells of a splat. */
static const char *const watched_files[] = {
	"/proc/sys/kernel/tainted",
	"/sys/devices/system/cpu/online",
	"/sys/kernel/debug/sched/domains/cpu[0-9]*/domain0/name",
	HEADROOM,
};

struct kept {
	bool restore;
	char path[128];
	char text[8192];
};

static struct kept *kept;
static int nr_kept;
static char kept_children[4096], kept_options[256];

/* The cgroups below the root, one line. */
static void list_children(char *buf, size_t size)
{
	char pattern[PATH_MAX + 4];
	glob_t found;
	size_t i, len = 0;

	buf[0] = '\0';
	snprintf(pattern, sizeof(pattern), "%s/*/", cgroup_root);
	if (!glob(pattern, 0, NULL, &found)) {
		for (i = 0; i < found.gl_pathc; i++)
			len += snprintf(buf + len, len < size ? size - len : 0, "%s ",
					found.gl_pathv[i]);
		globfree(&found);
	}
}

static void mount_options(char *buf, size_t size)
{
	char line[1024], point[512], type[64], options[256];
	FILE *mounts = fopen("/proc/self/mounts", "re");

	buf[0] = '\0';
	while (mounts && fgets(line, sizeof(line), mounts))
		if (sscanf(line, "%*s %511s %63s %255s", point, type, options) == 3 &&
		    !strcmp(point, cgroup_root) && !strcmp(type, "cgroup2"))
			snprintf(buf, size, "%s", options);
	if (mounts)
		fclose(mounts);
}

static void keep_files(const char *pattern, bool restore)
{
	glob_t found;
	size_t i;

	if (glob(pattern, 0, NULL, &found))
		return;
	for (i = 0; i < found.gl_pathc; i++) {
		struct kept *k;

		kept = realloc(kept, (nr_kept + 1) * sizeof(*kept));
		if (!kept)
			ksft_exit_fail_msg("no memory\n");
		k = &kept[nr_kept];
		k->restore = restore;
		snprintf(k->path, sizeof(k->path), "%s", found.gl_pathv[i]);
		if (read_text(k->path, k->text, sizeof(k->text)) >= 0)
			nr_kept++;
	}
	globfree(&found);
}

static void keep_state(void)
{
	size_t i;

	nr_kept = 0;
	for (i = 0; i < ARRAY_SIZE(restored_files); i++)
		keep_files(restored_files[i], true);
	for (i = 0; i < ARRAY_SIZE(watched_files); i++)
		keep_files(watched_files[i], false);
	list_children(kept_children, sizeof(kept_children));
	mount_options(kept_options, sizeof(kept_options));
}

enum tidy { UNFREEZE, NO_LIMITS, TAKE_AWAY };

/* Bottom up. */
static void tidy_groups(const char *path, enum tidy what)
{
	u64 end = now_ns() + SETTLE_NS;
	struct dirent *entry;
	char name[PATH_MAX];
	DIR *dir = opendir(path);

	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.') {
			snprintf(name, sizeof(name), "%.2048s/%.255s", path, entry->d_name);
			tidy_groups(name, what);
		}
	closedir(dir);
	switch (what) {
	case UNFREEZE:
		cg_write(path, "cgroup.freeze", "0");
		cg_write(path, "cpuset.cpus.partition", "member");
		break;
	case NO_LIMITS:
		cg_write(path, "cpu.rt.max", "max");
		break;
	case TAKE_AWAY:
		while (rmdir(path) && errno == EBUSY && now_ns() < end)
			sleep_ns(NSEC_PER_MSEC);
	}
}

/* Orphans of the test are children of the runner, a subreaper. */
static void kill_children(void)
{
	u64 start = now_ns();
	char path[64], buf[8192] = "", *at, *next;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	for (;;) {
		pid_t pid;

		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
			;
		if (pid < 0 && errno == ECHILD)
			return;
		if (read_text(path, buf, sizeof(buf)) > 0)
			for (at = buf; (pid = strtol(at, &next, 10)) > 0; at = next)
				kill(pid, SIGKILL);
		/* In debt a task dies late: now it may have all it needs. */
		if (now_ns() - start > NSEC_PER_SEC)
			tidy_groups(cgroup_top, NO_LIMITS);
		if (now_ns() - start > SETTLE_NS) {
			ksft_print_msg("a task of the test cannot be killed: %s\n", buf);
			return;
		}
		sleep_ns(NSEC_PER_MSEC);
	}
}

static void clean_up(const struct dl_group_test *test, pid_t child)
{
	if (test->cleanup)
		test->cleanup();
	tidy_groups(cgroup_top, UNFREEZE);
	cg_write(cgroup_top, "cgroup.kill", "1");
	kill(-child, SIGKILL);
	kill_children();
	tidy_groups(cgroup_top, TAKE_AWAY);
	trace_remove();
	mount(NULL, cgroup_root, NULL, MS_REMOUNT, strstr(kept_options, "nsdelegate"));
}

static void restore_files(void)
{
	char now[sizeof(kept->text)];
	int i;

	for (i = 0; i < nr_kept; i++)
		if (kept[i].restore && (read_text(kept[i].path, now, sizeof(now)) < 0 ||
					strcmp(now, kept[i].text)))
			file_write(kept[i].path, "%s", kept[i].text);
}

/* Says what is not as it was before the test. */
static const char *find_leak(void)
{
	static char what[512];
	char now[8192];
	int i;

	for (i = 0; i < nr_kept; i++) {
		const char *n = now, *k = kept[i].text;

		if (read_text(kept[i].path, now, sizeof(now)) < 0)
			snprintf(now, sizeof(now), "(unreadable)");
		if (!strcmp(now, kept[i].text))
			continue;
		/* the line that differs */
		while (*n && strcspn(n, "\n") == strcspn(k, "\n") &&
		       !strncmp(n, k, strcspn(n, "\n") + 1)) {
			k += strcspn(k, "\n") + 1;
			n += strcspn(n, "\n") + 1;
		}
		snprintf(what, sizeof(what), "%.100s is '%.*s', was '%.*s'", kept[i].path,
			 (int)strcspn(n, "\n"), n, (int)strcspn(k, "\n"), k);
		return what;
	}
	list_children(now, sizeof(now));
	if (strcmp(now, kept_children)) {
		snprintf(what, sizeof(what), "cgroups are '%.200s', were '%.200s'", now,
			 kept_children);
		return what;
	}
	return NULL;
}

static const char *why_not(const struct dl_group_test *test)
{
	if (!have_group)
		return "no cpu controller in cgroup2: needs CONFIG_CGROUP_SCHED";
	if (!have_max && !(test->needs & ANY_KERNEL))
		return "no cpu.rt.max: needs CONFIG_DL_GROUP_SCHED";
	if ((test->needs & NEED_HEADROOM) && access(HEADROOM, R_OK))
		return "no " HEADROOM ": needs CONFIG_SCHED_DEBUG and CONFIG_DEBUG_FS";
	if ((test->needs & NEED_CPUSET) && !have_cpuset)
		return "no cpuset controller: needs CONFIG_CPUSETS";
	if ((test->needs & NEED_TRACE) && trace_check(test->needs & ANY_KERNEL))
		return trace_check(test->needs & ANY_KERNEL);
	if ((test->needs & NEED_CPUS2) && nr_cpus < 2)
		return "needs two CPUs: CONFIG_SMP and more than one of them";
	if ((test->needs & NEED_CPU1) && nr_cpus > 1)
		return "exact only with one CPU";
	if ((test->needs & NEED_HOTPLUG) &&
	    access("/sys/devices/system/cpu/cpu1/online", W_OK))
		return "no CPU can go offline: needs CONFIG_HOTPLUG_CPU";
	if ((test->needs & NEED_USERNS) && access("/proc/self/ns/user", F_OK))
		return "no user namespaces: needs CONFIG_USER_NS";
	if ((test->needs & NEED_AUTOGROUP) &&
	    access("/proc/sys/kernel/sched_autogroup_enabled", W_OK))
		return "no autogroups: needs CONFIG_SCHED_AUTOGROUP";
	if ((test->needs & NEED_SYSVIPC) && access("/proc/sys/kernel/sem", W_OK))
		return "no semaphores: needs CONFIG_SYSVIPC";
	if ((test->needs & NEED_FAILSLAB) && (access(FAIL_NTH, W_OK) || access(FAILSLAB, X_OK)))
		return "allocations do not fail: needs CONFIG_FAILSLAB and "
		       "CONFIG_FAULT_INJECTION_DEBUG_FS";
	return test->feature_check ? test->feature_check() : NULL;
}

static void run_child(const struct dl_group_test *test)
{
	struct sched_param param = { .sched_priority = 99 };

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* What tests start is SCHED_OTHER until it says otherwise. */
	sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param);
	if (mkdir(cgroup_top, 0755))
		fail("mkdir %s: %s", cgroup_top, strerror(errno));
	must(g_write("", "cgroup.subtree_control", "+cpu"));
	if (have_cpuset)
		must(g_write("", "cgroup.subtree_control", "+cpuset"));
	test->run();
	fflush(stdout);
	_exit(KSFT_PASS);
}

/* Lines of the test: "skip <reason>" and "value <name> <number>". */
static void read_report(int fd, const struct dl_group_test *test, char *reason, size_t size)
{
	static bool any;
	bool first = true;
	char *line = NULL;
	size_t len = 0;
	FILE *in;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	in = fdopen(fd, "r");
	while (in && getline(&line, &len, in) > 0) {
		char name[128];
		u64 value;

		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, "skip ", 5)) {
			snprintf(reason, size, "%s", line + 5);
		} else if (json && sscanf(line, "value %127s %llu", name, &value) == 2) {
			if (first)
				fprintf(json, "%s\n  \"%s.%s\": {", any ? "," : "", test->group,
					test->name);
			fprintf(json, "%s\n    \"%s\": %llu", first ? "" : ",", name, value);
			first = false;
			any = true;
		}
	}
	if (!first)
		fprintf(json, "\n  }");
	free(line);
	if (in)
		fclose(in);
}

/* The exit status of the child, or -1 when its time is over. */
static int wait_child(pid_t child, unsigned int timeout_s)
{
	u64 end = now_ns() + timeout_s * 1000000000ULL;
	sigset_t set;
	int status;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	while (waitpid(child, &status, WNOHANG) != child) {
		u64 now = now_ns(), left = end > now ? end - now : 0;
		struct timespec ts = {
			.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000
		};

		if (!left)
			return -1;
		sigtimedwait(&set, NULL, &ts);
	}
	if (WIFSIGNALED(status)) {
		ksft_print_msg("the test died of signal %d\n", WTERMSIG(status));
		return KSFT_FAIL;
	}
	return WEXITSTATUS(status);
}

/* Several times what the longest test takes; a debug kernel is ten times slower. */
static unsigned int default_timeout_s(void)
{
	return lane_tight ? 20 : 120;
}

static void run_test(const struct dl_group_test *test)
{
	unsigned int timeout_s = test->timeout_s ?: default_timeout_s();
	const char *why = why_not(test), *leak;
	char name[128], reason[512] = "(no reason given)";
	int fds[2], result;
	u64 end;
	pid_t child;

	snprintf(name, sizeof(name), "%s.%s", test->group, test->name);
	if (why) {
		ksft_test_result_code(KSFT_SKIP, name, "%s", why);
		return;
	}
	ksft_print_msg("%s: %s\n", name, test->description);
	keep_state();
	if (pipe2(fds, O_CLOEXEC))
		ksft_exit_fail_perror("pipe");
	fflush(stdout);
	child = fork();
	if (child < 0)
		ksft_exit_fail_perror("fork");
	if (!child) {
		close(fds[0]);
		report_fd = fds[1];
		run_child(test);
	}
	setpgid(child, child);
	close(fds[1]);
	result = wait_child(child, timeout_s);
	if (result < 0) {
		ksft_print_msg("%s: not done after %u s\n", name, timeout_s);
		result = KSFT_FAIL;
	}
	clean_up(test, child);
	read_report(fds[0], test, reason, sizeof(reason));
	/*
	 * A removed cgroup gives back what it held a grace period later, a
	 * SCHED_DEADLINE task at its zero-lag time; until then there may be no
	 * room for what has to be restored.
	 */
	end = now_ns() + SETTLE_NS;
	while (restore_files(), (leak = find_leak()) && now_ns() < end)
		sleep_ns(10 * NSEC_PER_MSEC);
	if (leak) {
		ksft_print_msg("%s: left behind: %s\n", name, leak);
		result = KSFT_FAIL;
	}
	if (result == KSFT_SKIP)
		ksft_test_result_code(result, name, "%s", reason);
	else
		ksft_test_result_code(result, name, NULL);
}

static bool selected(const struct dl_group_test *test, char **filters, int nr)
{
	char name[128];
	int i;

	snprintf(name, sizeof(name), "%s.%s", test->group, test->name);
	for (i = 0; i < nr; i++)
		if (!strcmp(filters[i], test->group) || !strcmp(filters[i], test->name) ||
		    !strcmp(filters[i], name))
			return true;
	return !nr;
}

static void print_help(const char *program)
{
	printf("usage: %s [-l] [-t NAME|GROUP]... [--json FILE]\n"
	       "  -l, --list            the tests, one a line\n"
	       "  -t, --test NAME|GROUP only these (may be given several times)\n"
	       "      --json FILE       write the measured figures, in ns\n"
	       "DL_GROUP_LANE=icount demands exact times; smp, rt and debug (default) do not.\n",
	       program);
}

static void find_lane(void)
{
	const char *name = getenv("DL_GROUP_LANE");

	if (!name || !*name)
		return;
	if (strcmp(name, "icount") && strcmp(name, "smp") && strcmp(name, "rt") &&
	    strcmp(name, "debug"))
		ksft_exit_fail_msg("DL_GROUP_LANE is '%s', not icount, smp, rt or debug\n", name);
	lane = name;
	lane_tight = !strcmp(name, "icount");
}

static char enabled[8][32];		/* by us, to be taken back at the end */
static int nr_enabled;

static bool has_word(const char *controller)
{
	char now[256], *word, *save;

	if (cg_read(cgroup_root, "cgroup.subtree_control", now, sizeof(now)))
		return false;
	for (word = strtok_r(now, "\n ", &save); word; word = strtok_r(NULL, "\n ", &save))
		if (!strcmp(word, controller))
			return true;
	return false;
}

static bool enable(const char *controller)
{
	char text[64];

	if (has_word(controller))
		return true;
	snprintf(text, sizeof(text), "+%s", controller);
	if (cg_write(cgroup_root, "cgroup.subtree_control", text))
		return false;
	snprintf(enabled[nr_enabled++], sizeof(enabled[0]), "-%s", controller);
	return true;
}

static void find_features(void)
{
	if (cg_find_unified_root(cgroup_root, sizeof(cgroup_root), NULL))
		return;
	snprintf(cgroup_top, sizeof(cgroup_top), "%.2048s/" TOP_NAME, cgroup_root);
	have_group = enable("cpu");
	have_cpuset = enable("cpuset");
	if (mkdir(cgroup_top, 0755)) {
		if (errno == EEXIST)
			ksft_exit_fail_msg("%s exists: is another run going on?\n", cgroup_top);
		return;
	}
	have_max = !access(g_path("", "cpu.rt.max"), F_OK);
	rmdir(cgroup_top);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "json", required_argument, NULL, 'j' },
		{ "list", no_argument, NULL, 'l' },
		{ "test", required_argument, NULL, 't' },
		{ }
	};
	struct sched_param param = { .sched_priority = 99 };
	const struct dl_group_test *test;
	char *filters[64];
	int nr_filters = 0, plan = 0, opt;
	const char *json_file = NULL;
	bool list = false;
	sigset_t set;
	size_t i;

	if (argc == 2 && !strcmp(argv[0], EXEC_HOG))
		exec_again(argv[1]);
	while ((opt = getopt_long(argc, argv, "hj:lt:", options, NULL)) != -1) {
		switch (opt) {
		case 'j':
			json_file = optarg;
			break;
		case 'l':
			list = true;
			break;
		case 't':
			if (nr_filters == ARRAY_SIZE(filters))
				ksft_exit_fail_msg("more than %zu times -t\n", ARRAY_SIZE(filters));
			filters[nr_filters++] = optarg;
			break;
		default:
			print_help(argv[0]);
			return opt == 'h' ? KSFT_PASS : KSFT_FAIL;
		}
	}
	for (i = 0; i < ARRAY_SIZE(areas); i++)
		for (test = areas[i]; test->name; test++) {
			if (!selected(test, filters, nr_filters))
				continue;
			plan++;
			if (list)
				printf("%s.%s: %s\n", test->group, test->name, test->description);
		}
	if (!plan)
		ksft_exit_fail_msg("no test has such a name or group\n");
	if (list)
		return KSFT_PASS;

	ksft_print_header();
	if (geteuid())
		ksft_exit_skip("needs root\n");
	ksft_set_plan(plan);
	find_lane();
	find_cpus();
	find_features();
	ksft_print_msg("lane %s, %d CPUs\n", lane, nr_cpus);
	if (json_file) {
		json = fopen(json_file, "we");
		if (!json)
			ksft_exit_fail_msg("cannot write %s: %s\n", json_file, strerror(errno));
		fprintf(json, "{");
	}

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	/* So that a timeout is one, whatever the tests do to the CPU. */
	sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param);

	for (i = 0; i < ARRAY_SIZE(areas); i++)
		for (test = areas[i]; test->name; test++)
			if (selected(test, filters, nr_filters))
				run_test(test);

	if (json) {
		fprintf(json, "\n}\n");
		if (fclose(json))
			ksft_exit_fail_msg("cannot write %s: %s\n", json_file, strerror(errno));
	}
	while (nr_enabled)
		cg_write(cgroup_root, "cgroup.subtree_control", enabled[--nr_enabled]);
	if (ksft_get_xskip_cnt() == plan) {
		ksft_print_cnts();
		return KSFT_SKIP;
	}
	ksft_finished();
}
