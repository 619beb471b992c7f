/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated accelerator: a discrete device that any machine has, for tests of everything that
 * happens between several devices and several tenants. Nobody gets one who did not ask for it, and
 * it calls itself simulated: by its name ("sim0"), by ARAX_FEATURE_SIMULATED, in its messages.
 *
 * It has the shape of CUDA's driver interface: a context (the device), modules (programs) with
 * functions (kernels), streams, events, and pointers in an address space of its own. Its memory is
 * really separate: what was not transferred is not there. Kernels are the CPU's build of the same
 * OpenCL C and compute the same results; how long they and the copies take is a model: a command
 * ends when its modelled time is over, and never before it has really been executed. So several
 * such devices finish several times as much per second as one, on however small a machine.
 *
 * Objects may be freed while commands use them. A stream that is freed executes nothing more: the
 * command that is running ends as it would, what hangs ends, and the rest ends at once, both with
 * CL_DEVICE_NOT_AVAILABLE.
 *
 * Threads: all functions and ops may be called from several threads, also from done; only a program
 * may not be freed inside its own done.
 */
#ifndef ARAX_DEVICES_SIM_H
#define ARAX_DEVICES_SIM_H

#include "devices/device.h"

/**
 * arax_sim_open() - a simulated accelerator
 * @name: of the device, "sim0"
 * @options: "key=value,key=value", NULL or "" for the defaults:
 *   memory=256M      bytes of device memory, exactly
 *   bandwidth=8G     bytes per second of a copy engine
 *   latency=10us     of every copy and launch
 *   rate=1           speed of execution
 *   item_ns=0        modelled time of a work-item at rate 1; 0: the kernel's real time
 *   units=16         compute units, as they are reported
 *   local=32K        bytes of local memory
 *   streams=4        launches that execute at the same time, each at the full rate
 *   copies=2         copy engines: 2: one each way, 1: one for both
 *   seed=1           of the jitter and of what fresh memory contains
 *   jitter=0         up to this fraction longer or shorter, 0 to 1
 *   faults=oom@5;launch@7;hang@9;transfer@3;lost@20;lost@+500ms
 *                    the Nth of its sort, counted from 1, fails, once: an allocation; a launch; a
 *                    launch that does not end before the device is closed or lost; a transfer; the
 *                    device is lost with the Nth allocation, launch or transfer, or after a time
 *   Sizes take K, M, G (powers of two; of ten in rates), times ns (or none), us, ms, s.
 * @dev: filled, except for index
 * @error: when it fails: why, in one line that is valid until the thread's next call
 *
 * Sets, where they are not, POCL_DEVICES, POCL_WORK_GROUP_SPECIALIZATION and POCL_CACHE_DIR (the
 * working directory, in which PoCL then unpacks programs). All threads of the device run when this
 * returns; none is made later.
 *
 * Return: 0 or a negative errno.
 */
int arax_sim_open(const char *name, const char *options, struct arax_device *dev,
		  const char **error);

/**
 * arax_sim_close() - end of the device
 *
 * Whatever is in flight ends first, with CL_DEVICE_NOT_AVAILABLE. All objects must have been freed.
 */
void arax_sim_close(struct arax_device *dev);

/** arax_sim_check() - are these options good? Opens nothing. Return: 0 or -EINVAL with *error. */
int arax_sim_check(const char *options, const char **error);

/** arax_sim_fresh() - what the byte at an offset of a fresh allocation contains. */
unsigned char arax_sim_fresh(const struct arax_device *dev, uint64_t offset);

/** arax_sim_used() - bytes of device memory that are allocated now. */
uint64_t arax_sim_used(const struct arax_device *dev);

/*
 * Events order streams among each other on the device. A wait waits for the last record that was
 * made before it; without any it does not wait. The functions return 0 or CL_OUT_OF_HOST_MEMORY.
 * An event may be freed while streams still need it.
 */
struct arax_sim_event;
int arax_sim_event_new(struct arax_sim_event **event);
void arax_sim_event_free(struct arax_sim_event *event);
int arax_sim_event_record(struct arax_device *dev, struct arax_device_stream *stream,
			  struct arax_sim_event *event);
int arax_sim_event_wait(struct arax_device *dev, struct arax_device_stream *stream,
			struct arax_sim_event *event);

#endif
