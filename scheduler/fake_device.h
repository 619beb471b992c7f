/* SPDX-License-Identifier: Apache-2.0
 *
 * Devices of the tests' own that use memory in place and really run side by side: one that executes
 * inside launch(), one that calls back from a thread, and one whose completions are fetched. They
 * know one kernel, mix(global int *out, const global int *in, int value), take their time over it,
 * and end the process when it is in memory that another one is in.
 */
#ifndef ARAX_SCHEDULER_FAKE_DEVICE_H
#define ARAX_SCHEDULER_FAKE_DEVICE_H

#include <stdatomic.h>

#include "devices/device.h"
#include "transport/shm.h"

enum {
	FAKE_DEVICES = 3,
	FAKE_DATA = ARAX_HEAP_OFFSET, /* where in the arena memory objects are */
	FAKE_UNIT = 128,	      /* ints: sizes and places are multiples */
	FAKE_FAIL = 0xDEAD,	      /* as value: the kernel fails with -5 and changes nothing */
};

/* How many kernels began while another one ran. */
extern atomic_uint fake_together;

void fake_devices_start(struct arax_device devices[FAKE_DEVICES], void *arena, uint64_t seed);

/** fake_devices_stop() - when nothing is in flight. */
void fake_devices_stop(void);

/** fake_mix() - what the kernel does. */
void fake_mix(int32_t *out, uint32_t nout, const int32_t *in, uint32_t nin, int32_t value);

#endif
