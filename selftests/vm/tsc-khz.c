// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prints the frequency of the host's time stamp counter in kHz. A multi-threaded TCG guest reads that counter, and measures its frequency
 * wrong, up to several times over, when the host is loaded while it boots.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

struct sample {
	uint64_t tsc, ns;
};

/* The closest of several looks at both clocks: one during which nothing else ran. */
static struct sample look(void)
{
	struct sample best = { 0 };
	uint64_t shortest = UINT64_MAX;

	for (int i = 0; i < 200; i++) {
		struct timespec now;
		uint64_t before = __rdtsc(), after;

		clock_gettime(CLOCK_MONOTONIC_RAW, &now);
		after = __rdtsc();
		if (after - before < shortest) {
			shortest = after - before;
			best.tsc = before + shortest / 2;
			best.ns = now.tv_sec * 1000000000ull + now.tv_nsec;
		}
	}
	return best;
}

int main(void)
{
	const struct timespec pause = { .tv_nsec = 50 * 1000 * 1000 };
	struct sample from = look(), to;

	nanosleep(&pause, NULL);
	to = look();
	printf("%llu\n", (unsigned long long)((to.tsc - from.tsc) * 1000000 / (to.ns - from.ns)));
	return 0;
}
