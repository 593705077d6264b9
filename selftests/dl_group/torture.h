/* SPDX-License-Identifier: GPL-2.0-only */
/* What the two modes of dl_group_torture share. */
#ifndef DL_GROUP_TORTURE_H
#define DL_GROUP_TORTURE_H

#include "dl_group_test.h"

#define MAX_WORKERS	16

/* Of a process that the watchdog looks after. */
struct watch {
	atomic_int pid;
	atomic_ullong step, since;	/* what it does and for how long, in ns */
	char what[160];
};

extern struct watch *me;
extern u64 seed;
extern atomic_ullong *end_time;		/* of the mode, in ns */

/* The number of the step is all that the dice of a step depend on, with the seed. */
void step_begin(unsigned int stream, u64 nr);
void __printf(1, 2) step_is(const char *fmt, ...);
u64 dice(u64 n);			/* 0 to n - 1 */
#define pick(array)	((array)[dice(ARRAY_SIZE(array))])

void run_model(void);

#endif /* DL_GROUP_TORTURE_H */
