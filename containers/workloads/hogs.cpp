// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes that take all the CPU time they can get.
 *
 * --fifo PRIORITY[:ON_MS:CYCLE_MS] is a SCHED_FIFO hog; with a cycle it rests
 * first and hogs the last ON_MS of each CYCLE_MS. --other is a SCHED_OTHER hog
 * that never rests. Each notes the CPU time it got between the start and the
 * end of the measurement: it reads its clock when it first runs after either
 * instant, and it cannot have got any time in between.
 */
#include "common.h"

#include <vector>

#include <getopt.h>
#include <sys/mman.h>
#include <sys/wait.h>

using namespace workload;

namespace {

struct Hog {
	std::string name;
	Policy policy;
	int64_t on_ns = 0;
	int64_t cycle_ns = 0;
};

struct Shared {
	bool ready;
	int64_t cpu_ns;
};

struct Options {
	std::string prefix = "hog";
	int64_t duration_ns = kNsecPerSec;
	int64_t linger_ns = 0;
	const char *gate = nullptr;
	const char *ready = nullptr;
	const char *out = nullptr;
	std::vector<Hog> hogs;
};

Options options;

[[noreturn]] void run(const Hog &hog, Shared &shared)
{
	set_name(hog.name.c_str());
	if (int err = set_policy(0, hog.policy))
		die("%s: sched_setattr: %s", hog.name.c_str(), strerror(err));
	__atomic_store_n(&shared.ready, true, __ATOMIC_RELEASE);

	int64_t start_ns = wait_for_gate(options.gate);
	int64_t end_ns = start_ns + options.duration_ns;
	int64_t last_ns = end_ns + options.linger_ns;
	int64_t now, from_ns, to_ns = -1;

	sleep_until(start_ns);
	from_ns = cpu_ns();
	while ((now = now_ns(CLOCK_MONOTONIC)) < last_ns) {
		if (to_ns < 0 && now >= end_ns)
			to_ns = cpu_ns();
		if (hog.cycle_ns) {
			int64_t phase_ns = (now - start_ns) % hog.cycle_ns;

			if (phase_ns < hog.cycle_ns - hog.on_ns) {
				sleep_until(std::min(now - phase_ns + hog.cycle_ns - hog.on_ns,
						     now < end_ns ? end_ns : last_ns));
				continue;
			}
		}
		spin();
	}
	shared.cpu_ns = (to_ns < 0 ? cpu_ns() : to_ns) - from_ns;
	_exit(0);
}

void add_fifo(const char *text)
{
	long long priority, on_ms = 0, cycle_ms = 0;
	int end = 0;
	Hog hog;

	if ((sscanf(text, "%lld%n", &priority, &end) != 1 || text[end]) &&
	    (sscanf(text, "%lld:%lld:%lld%n", &priority, &on_ms, &cycle_ms, &end) != 3 || text[end]))
		die("--fifo: '%s' is not PRIORITY or PRIORITY:ON_MS:CYCLE_MS", text);
	if (priority < 1 || priority > 99 || on_ms < 0 || on_ms > cycle_ms)
		die("--fifo: '%s': a priority is 1 to 99, and ON_MS at most CYCLE_MS", text);
	hog.name = options.prefix + "-fifo" + std::to_string(priority);
	hog.policy.number = SCHED_FIFO;
	hog.policy.priority = priority;
	hog.on_ns = on_ms * 1000000;
	hog.cycle_ns = cycle_ms * 1000000;
	options.hogs.push_back(hog);
}

void parse(int argc, char **argv)
{
	static const option longs[] = {
		{ "name", required_argument, nullptr, 'n' },
		{ "fifo", required_argument, nullptr, 'f' },
		{ "other", required_argument, nullptr, 'h' },
		{ "duration-ms", required_argument, nullptr, 'd' },
		{ "linger-ms", required_argument, nullptr, 'l' },
		{ "gate", required_argument, nullptr, 'g' },
		{ "ready", required_argument, nullptr, 'r' },
		{ "out", required_argument, nullptr, 'o' },
		{},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, nullptr)) != -1) {
		switch (c) {
		case 'n':
			options.prefix = optarg;
			break;
		case 'f':
			add_fifo(optarg);
			break;
		case 'h':
			for (int64_t i = parse_number("--other", optarg, 1, 64); i > 0; i--) {
				Hog hog;

				hog.name = options.prefix + "-hog" + std::to_string(i);
				options.hogs.push_back(hog);
			}
			break;
		case 'd':
			options.duration_ns = parse_number("--duration-ms", optarg, 1, 3600000) * 1000000;
			break;
		case 'l':
			options.linger_ns = parse_number("--linger-ms", optarg, 0, 3600000) * 1000000;
			break;
		case 'g':
			options.gate = optarg;
			break;
		case 'r':
			options.ready = optarg;
			break;
		case 'o':
			options.out = optarg;
			break;
		default:
			exit(2);
		}
	}
	if (optind != argc || options.hogs.empty() || !options.gate || !options.ready || !options.out)
		die("usage: hogs --gate FILE --ready FILE --out FILE [--name PREFIX] [--duration-ms N] "
		    "[--linger-ms N] {--fifo PRIORITY[:ON_MS:CYCLE_MS] | --other N}...");
}

} // namespace

int main(int argc, char **argv)
{
	std::string text = "[";

	parse(argc, argv);
	auto *shared = static_cast<Shared *>(mmap(nullptr, sizeof(Shared) * options.hogs.size(),
						  PROT_READ | PROT_WRITE,
						  MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	if (shared == MAP_FAILED)
		die("mmap: %s", strerror(errno));

	for (size_t i = 0; i < options.hogs.size(); i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork: %s", strerror(errno));
		if (!pid)
			run(options.hogs[i], shared[i]);
	}
	for (size_t i = 0; i < options.hogs.size(); i++)
		while (!__atomic_load_n(&shared[i].ready, __ATOMIC_ACQUIRE)) {
			if (waitpid(-1, nullptr, WNOHANG) > 0)
				die("a hog could not begin");
			sleep_until(now_ns(CLOCK_MONOTONIC) + 1000 * kNsecPerUsec);
		}
	write_file(options.ready, "ready\n");

	for (size_t i = 0; i < options.hogs.size(); i++) {
		int status;

		if (wait(&status) < 0 || status)
			die("a hog did not end well");
	}
	for (size_t i = 0; i < options.hogs.size(); i++)
		text += (i ? ",\n" : "") + std::string("{\"name\":\"") + options.hogs[i].name +
			"\",\"cpu_ns\":" + std::to_string(shared[i].cpu_ns) + "}";
	write_file(options.out, text + "]\n");
	return 0;
}
