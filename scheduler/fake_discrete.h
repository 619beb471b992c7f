/* SPDX-License-Identifier: Apache-2.0
 *
 * Devices of the tests' own, for staging: discrete ones with memory of their own and a limit on it,
 * whose streams get on by chance, out of step with each other, when they are asked for completions;
 * and two in place, one that executes inside launch() and one that is asked. They fail on demand.
 * Everything comes from a seed.
 *
 * Kernels: mix(global int *out, global const int *in, int value), swap(global int *a, global int
 * *b, int value); "image" does the same as mix.
 *
 * Threads: the dispatch thread, but for the atomics.
 */
#ifndef ARAX_SCHEDULER_FAKE_DISCRETE_H
#define ARAX_SCHEDULER_FAKE_DISCRETE_H

#include <stdatomic.h>

#include "devices/device.h"

enum { DISCRETE_MAX = 3, DISCRETE_BUILDS = 16 };

/* What goes wrong, each in one of so many cases; 0: never. */
struct discrete_faults {
	unsigned no_memory; /* a launch, which then was not executed */
	unsigned never;	    /* a launch of a kernel on this device for the first time */
	unsigned transfer;  /* with CL_OUT_OF_RESOURCES, having copied something else */
	unsigned build;	    /* a program */
	unsigned room;	    /* a program, which there is room for another time */
	unsigned full;	    /* transfer() and launch() do not take it now */
};

struct discrete_setup {
	uint64_t memory;   /* bytes */
	bool tells;	   /* that much in caps.memory; else it says so when there is none left */
	bool late;	   /* then: mem_new() succeeds, and what uses the object fails */
	unsigned patience; /* programs end in one of so many looks; 0: 8 */
	struct discrete_faults faults;
};

/** discrete_open() - number n (from 0), index 2 + n */
void discrete_open(unsigned n, const struct discrete_setup *setup, uint64_t seed,
		   struct arax_device *dev);

/** discrete_place() - the two in place, indices 0 and 1. */
void discrete_place(struct arax_device devices[2], uint64_t seed);

/** discrete_lose() - with its memory, the next time that it is asked. Any thread. */
void discrete_lose(unsigned n);

/** discrete_conduct() - run this on the dispatch thread, and wait for it. */
void discrete_conduct(void (*call)(void *arg), void *arg);

/** discrete_inside() - the next launch that is executed inside launch() runs this first, once. */
void discrete_inside(void (*call)(void *arg), void *arg);

/** discrete_run() - what a kernel does. */
void discrete_run(const char *kernel, int32_t *a, uint64_t na, int32_t *b, uint64_t nb,
		  int32_t value);

/** discrete_objects() - memory objects that there are on it now. */
unsigned discrete_objects(unsigned n);

extern atomic_uint discrete_launched[2 + DISCRETE_MAX];

#endif
