/* SPDX-License-Identifier: Apache-2.0
 *
 * A discrete back end for tests: memory of its own, a few kernels in C, and everything under the
 * test's control. Commands are executed inside launch() and transfer(), or, with hold, when the
 * test says so.
 *
 * Kernels: "add" (__global uint *data, uint n): data[i] += n for every work-item i. "all": one
 * argument of every kind. "struct": one of a size that nobody knows. "fails": ends with
 * CL_OUT_OF_RESOURCES.
 */
#ifndef ARAX_DEVICES_TEST_FAKE_H
#define ARAX_DEVICES_TEST_FAKE_H

#include <pthread.h>

#include "devices/device.h"

struct fake_command;

/* What there is, and was. */
struct fake_seen {
	unsigned refused; /* mem_new() without memory */
	unsigned mems, programs, kernels, samplers, streams, commands;
	unsigned most_commands, launches;
	struct arax_mem_desc last_desc;
	struct arax_launch last_launch;
	unsigned last_kinds[8];
};

struct fake {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool hold;	  /* commands wait for fake_run() */
	bool hold_builds; /* builds wait for fake_build() */
	bool gate;	  /* mem_new() waits until it is open */
	bool lost;	  /* everything gives CL_DEVICE_NOT_AVAILABLE */
	int build_status; /* of the next builds */
	uint64_t memory;  /* bytes that are left; 0 to begin with: no limit */
	bool limited;
	uint64_t command_ns; /* what commands pretend to take */
	struct fake_seen seen;
	struct fake_command *first, **last, *builds;
};

void fake_open(struct fake *fake, struct arax_device *dev);

/** fake_close() - all objects must be gone. */
void fake_close(struct fake *fake);

/** fake_wait() - until so many commands are held. */
void fake_wait(struct fake *fake, unsigned commands);

/** fake_wait_refused() - until mem_new() has found no memory so often. */
void fake_wait_refused(struct fake *fake, unsigned refused);

/** fake_look() - what the device has done until now. A copy, made under the lock: that a completion
 *  comes after it a sanitizer cannot see, both ends have the link at addresses of their own. */
struct fake_seen fake_look(struct fake *fake);

/** fake_wait_streams() - until so few streams are left. */
void fake_wait_streams(struct fake *fake, unsigned streams);

/** fake_run() - execute the next n held commands, on the caller's thread. */
void fake_run(struct fake *fake, unsigned n);

/** fake_build() - end the builds that are held, once there is one. */
void fake_build(struct fake *fake);

/** fake_set() - change a flag under the lock. */
void fake_set(struct fake *fake, bool *flag, bool value);

/** fake_set_status() - what builds that end from now on give. */
void fake_set_status(struct fake *fake, int build_status);

/** fake_result() - the result of arax-compile for its kernels; parse to have it. */
void fake_result(struct arax_writer *w);

#endif
