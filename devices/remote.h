/* SPDX-License-Identifier: Apache-2.0
 *
 * A device in another process: device_ops over a link (transport/link.h) to an arax-device, for the
 * tenant. It makes no thread and never waits; of the system it needs only the futex that wakes the
 * other side, so that it works in a tenant that is sealed.
 *
 * Nothing makes a round trip. mem_new(), kernel_new(), sampler_new() and stream_new() succeed at
 * once, and what fails over there is the outcome of the commands that use the object; for want of
 * device memory that is CL_MEM_OBJECT_ALLOCATION_FAILURE, and the object is tried again with the
 * next command that uses it. Objects may be freed while commands use them. program_load() without
 * done does not wait: launches do, over there.
 *
 * launch() and transfer() give CL_OUT_OF_RESOURCES when ARAX_LINK_SLOTS are in flight. Completions
 * are fetched: the loop asks ready(), which arax-device's wake-ups of the arena's tenant_wake make
 * worth while, and calls poll().
 *
 * Threads: the dispatch thread only.
 */
#ifndef ARAX_DEVICES_REMOTE_H
#define ARAX_DEVICES_REMOTE_H

#include "devices/device.h"

/**
 * arax_remote_new() - the device at the other end of a link
 * @link_fd: mapped, not kept
 * @arena: where the tenant has its arena; transfers' host memory lies in its heap
 * Return: 0 or -errno.
 */
int arax_remote_new(const char *name, unsigned index, const struct arax_device_caps *caps,
		    int link_fd, void *arena, uint64_t arena_size, struct arax_device *dev);

/**
 * arax_remote_lost() - it is gone, or shall not be used any more
 *
 * All that is outstanding ends with CL_DEVICE_NOT_AVAILABLE before this returns; later calls fail
 * alike. poll() does the same by itself when the link says so or its other side breaks the
 * protocol, and returns -ENODEV from then on.
 */
void arax_remote_lost(struct arax_device *dev);

/** arax_remote_free() - after all its objects were freed; not from a done. */
void arax_remote_free(struct arax_device *dev);

#endif
