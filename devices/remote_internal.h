/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two files of the tenant's end of a link share: remote.c (rings, numbers, completions)
 * and remote_ops.c (what the back end's functions send). Nobody else includes it.
 */
#ifndef ARAX_DEVICES_REMOTE_INTERNAL_H
#define ARAX_DEVICES_REMOTE_INTERNAL_H

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

#include "devices/remote.h"
#include "transport/link.h"
#include "transport/ring.h"

#define KINDS (ARAX_HANDLE_STREAM + 1)
#define NO_SLOT ARAX_LINK_SLOTS

/* A command in flight; free ones are a list. */
struct remote_slot {
	bool busy, program;
	uint32_t next;
	union {
		arax_device_done command;
		void (*program)(void *arg, int status, const char *log);
	} done; /* a program's may be NULL */
	void *arg;
};

/* Numbers of objects of one kind: those given back, and those from next on. */
struct remote_numbers {
	uint32_t *free;
	size_t nfree, capacity;
	uint32_t next;
};

/* A record that waits for room. */
struct remote_record {
	struct remote_record *next;
	uint32_t size;
	_Alignas(8) unsigned char bytes[];
};

struct remote {
	struct arax_link_shm *shm;
	struct arax_ring sq, cq;
	char *arena;
	uint64_t arena_size;
	uint32_t features;
	bool lost;
	bool broken; /* found out where no done may be called: poll() sees to it */
	struct remote_record *first, **last;
	uint32_t slot_free;
	uint32_t seen; /* commands that ended for want of device memory */
	struct remote_slot slots[ARAX_LINK_SLOTS];
	struct remote_numbers numbers[KINDS];
	_Alignas(8) unsigned char record[ARAX_RECORD_MAX];
	_Alignas(8) unsigned char done[sizeof(struct arax_link_done) + ARAX_LINK_LOG_MAX + 8];
};

static inline struct remote *remote_of(const struct arax_device *dev)
{
	return dev->priv;
}

/** record_begin() - the next record, zeroed as far as its fixed part goes. */
void *record_begin(struct remote *r, unsigned op);
void record_tail(struct remote *r, const void *data, size_t size);

/** record_send() - Return: 0 or -ENOMEM. A device that is lost takes everything and does nothing.
 */
int record_send(struct remote *r);

/** handle_new() - Return: a handle, 0 when there are no more. */
uint32_t handle_new(struct remote *r, uint32_t kind);
void handle_free(struct remote *r, uint32_t handle);

/** slot_new() - Return: a slot, NO_SLOT when all are in flight. */
uint32_t slot_new(struct remote *r);
void slot_free(struct remote *r, uint32_t slot);

/** remote_poll(), remote_ready() - of the table of functions. */
int remote_poll(struct arax_device *dev);
bool remote_ready(const struct arax_device *dev);

extern const struct arax_device_ops remote_ops;

#endif
