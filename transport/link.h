/* SPDX-License-Identifier: Apache-2.0
 *
 * The link between one tenant and one arax-device: a memfd of two rings, made by araxd. Records of
 * device.def go one way, completions the other. Bulk data is never here: arax-device maps the
 * tenant's arena and copies from and to it itself.
 *
 * Neither side trusts the other, as in the arena (shm.h). arax-device sleeps on device_wake of the
 * link; the tenant sleeps on tenant_wake of its arena, where everything else wakes it, too.
 */
#ifndef ARAX_TRANSPORT_LINK_H
#define ARAX_TRANSPORT_LINK_H

#include "transport/device.def"
#include "transport/record.h"
#include "transport/shm.h"

#define ARAX_LINK_MAGIC 0x316c7261u   /* "arl1" */
#define ARAX_LINK_SLOTS 2048u	      /* commands in flight */
#define ARAX_LINK_SQ_BYTES (1u << 19) /* records, at least two of the largest */
#define ARAX_LINK_CQ_BYTES (1u << 18) /* completions; all slots' and some logs */
#define ARAX_LINK_LOG_MAX 8192u	      /* bytes of a compiler's log */
#define ARAX_LINK_OBJECTS (1u << 18)  /* of each kind; their numbers are below */
#define ARAX_LINK_PIECE 65536u	      /* bytes of a program in one record */

/* What arax-device says of the link. */
enum arax_link_state {
	ARAX_LINK_OPEN = 0,
	ARAX_LINK_BROKEN =
	    1, /* the tenant broke the protocol, or was not served for another reason */
	ARAX_LINK_LOST = 2,   /* the device is lost */
	ARAX_LINK_CLOSED = 3, /* araxd said UNLINK */
};

struct arax_link_shm {
	uint32_t magic;
	_Atomic uint32_t state; /* enum arax_link_state */
	char pad0[56];
	struct arax_wake device_wake; /* arax-device sleeps here */
	/* 1: the tenant waits for room in the submission ring; cleared by who rings it. */
	_Atomic uint32_t tenant_waits;
	char pad1[60];
	struct arax_ring_index sq, cq;
	unsigned char sq_data[ARAX_LINK_SQ_BYTES];
	unsigned char cq_data[ARAX_LINK_CQ_BYTES];
};

/* A completion: log_size bytes of text follow, padded to 8. status: 0 or a negative OpenCL error.
 * Times in ns of CLOCK_MONOTONIC. */
struct arax_link_done {
	uint32_t size; /* with the log; a multiple of 8 */
	uint32_t slot;
	int32_t status;
	uint32_t log_size;
	uint64_t start_ns, end_ns;
};
_Static_assert(ARAX_LINK_SLOTS * sizeof(struct arax_link_done) <= ARAX_LINK_CQ_BYTES / 2,
	       "room for every command's completion, whatever logs there are");

enum arax_dev_op { ARAX_DEVICE_OPS(ARAX_ROW_ENUM) ARAX_DEV_OP_COUNT };

ARAX_DEVICE_OPS(ARAX_ROW_STRUCT)

/** arax_link_new() - the memfd of a new link, sealed against size changes. Return: fd or -errno. */
int arax_link_new(void);

/**
 * arax_link_map() - map a received descriptor; it is not needed afterwards
 * Return: 0; -EPROTO when it is no sealed memory of the right size; another -errno.
 */
int arax_link_map(int fd, struct arax_link_shm **shm);
void arax_link_unmap(struct arax_link_shm *shm);

/** arax_link_op_name() - the name of an operation, or "?". */
const char *arax_link_op_name(unsigned op);

/** arax_link_fixed_size() - size of the op's struct in bytes, 0 for an unknown operation. */
size_t arax_link_fixed_size(unsigned op);

/**
 * arax_link_check() - everything about a record that can be judged without knowing the objects
 *
 * As arax_record_check(). Beyond the table: numbers of objects are below ARAX_LINK_OBJECTS; a
 * range that an object has as its home is of its size; transfers are not empty; pieces of
 * programs and names of kernels are not empty; arguments fill the tail of their launch, and its
 * local sizes are all zero or all not.
 *
 * Return: 0, or -EPROTO.
 */
int arax_link_check(const struct arax_record *record, size_t available, uint64_t heap_off,
		    uint64_t heap_end);

/** arax_link_tail() - the tail of a record that was checked. */
static inline const void *arax_link_tail(const struct arax_record *record)
{
	return (const char *)record + arax_link_fixed_size(record->op);
}

#endif
