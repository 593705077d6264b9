/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the workload programs share: clocks, CPU demand, scheduling policies
 * and the gate that lets every program of an experiment begin at one instant.
 *
 * Demand is CPU time received, never work done: with an emulator that counts
 * instructions the one is exact and the other says nothing.
 */
#pragma once

#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <linux/sched.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace workload {

constexpr int64_t kNsecPerUsec = 1000;
constexpr int64_t kNsecPerSec = 1000000000;

[[noreturn]] __attribute__((format(printf, 1, 2))) inline void die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
	_exit(1);
}

inline int64_t now_ns(clockid_t clock)
{
	timespec ts;

	if (clock_gettime(clock, &ts))
		die("cannot read clock %d: %s", clock, strerror(errno));
	return ts.tv_sec * kNsecPerSec + ts.tv_nsec;
}

inline int64_t cpu_ns()
{
	return now_ns(CLOCK_PROCESS_CPUTIME_ID);
}

/* Sleep until CLOCK_MONOTONIC shows @when_ns; returns at once when it is past. */
inline void sleep_until(int64_t when_ns)
{
	timespec ts = { when_ns / kNsecPerSec, when_ns % kNsecPerSec };
	int err;

	while ((err = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, nullptr)) == EINTR)
		;
	if (err)
		die("clock_nanosleep: %s", strerror(err));
}

/*
 * Keep the CPU for about a microsecond. No memory is touched, and an emulator
 * passes over these instructions as fast as it can count them.
 */
inline void spin()
{
	asm volatile(".rept 512\n\tnop\n\t.endr");
}

struct Policy {
	uint32_t number = SCHED_OTHER;
	uint32_t priority = 0;
	int64_t runtime_ns = 0;
	int64_t period_ns = 0;
};

/* As the kernel has it; the C library of Debian 12 does not declare it. */
struct SchedAttr {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns;
	uint64_t deadline_ns;
	uint64_t period_ns;
};

/* Give @pid (0: the caller) the policy; 0 or the errno of sched_setattr(2). */
inline int set_policy(pid_t pid, const Policy &policy, uint64_t flags = 0)
{
	SchedAttr attr = {};

	attr.size = sizeof(attr);
	attr.policy = policy.number;
	attr.priority = policy.priority;
	attr.flags = flags;
	attr.runtime_ns = policy.runtime_ns;
	attr.deadline_ns = policy.period_ns;
	attr.period_ns = policy.period_ns;
	return syscall(SYS_sched_setattr, pid, &attr, 0) ? errno : 0;
}

inline void set_name(const char *name)
{
	prctl(PR_SET_NAME, name);
}

inline int64_t parse_number(const char *what, const char *text, int64_t min, int64_t max)
{
	char *end;

	errno = 0;
	long long value = strtoll(text, &end, 10);
	if (errno || end == text || *end || value < min || value > max)
		die("%s: '%s' is not a number from %lld to %lld", what, text,
		    (long long)min, (long long)max);
	return value;
}

/* A file that is either not there or complete. */
inline void write_file(const std::string &path, const std::string &text)
{
	std::string temporary = path + ".tmp";
	FILE *file = fopen(temporary.c_str(), "w");

	if (!file || fputs(text.c_str(), file) < 0 || fclose(file) ||
	    rename(temporary.c_str(), path.c_str()))
		die("%s: cannot write: %s", path.c_str(), strerror(errno));
}

/*
 * The gate is a file with one number, the CLOCK_MONOTONIC instant at which all
 * begin. Sleeps until it appears, so that nobody disturbs the setting up.
 */
inline int64_t wait_for_gate(const char *path)
{
	for (;;) {
		if (FILE *file = fopen(path, "r")) {
			long long start_ns = 0;
			int fields = fscanf(file, "%lld", &start_ns);

			fclose(file);
			if (fields != 1 || start_ns <= 0)
				die("%s: no instant in it", path);
			return start_ns;
		}
		if (errno != ENOENT)
			die("%s: %s", path, strerror(errno));
		sleep_until(now_ns(CLOCK_MONOTONIC) + 5000 * kNsecPerUsec);
	}
}

} // namespace workload
