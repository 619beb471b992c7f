/* SPDX-License-Identifier: Apache-2.0
 *
 * Records of the submission ring, made from protocol.def, and what both sides must know about
 * them. Everything here is the wire format: fixed sizes, little-endian, no pointers.
 *
 * A record is: struct arax_record (or the op's struct, which begins with it), then nwait 32-bit
 * slot numbers, padded to 8 bytes, then the tail; size covers all of it and is a multiple of 8.
 */
#ifndef ARAX_TRANSPORT_PROTOCOL_H
#define ARAX_TRANSPORT_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/protocol.def"

#define ARAX_PROTOCOL_MAJOR 1
#define ARAX_PROTOCOL_MINOR 0

/* Largest record, and so the size of the tenant's private scratch copy. */
#define ARAX_RECORD_MAX (96u * 1024)
#define ARAX_WAIT_MAX 4096u
#define ARAX_NO_SLOT UINT32_MAX

/* Handles: kind in bits 28-31, the rest is the client's number of the object, which it does not
 * use again before the drop of the former object was sent (order in the ring makes that safe). */
enum arax_handle_kind {
	ARAX_HANDLE_QUEUE = 1,
	ARAX_HANDLE_MEM = 2,
	ARAX_HANDLE_PROGRAM = 3,
	ARAX_HANDLE_KERNEL = 4,
	ARAX_HANDLE_SAMPLER = 5,
};
#define ARAX_HANDLE_INDEX_BITS 28
#define ARAX_HANDLE_INDEX(handle) ((handle) & ((1u << ARAX_HANDLE_INDEX_BITS) - 1))
#define ARAX_HANDLE_KIND(handle) ((handle) >> ARAX_HANDLE_INDEX_BITS)
#define ARAX_HANDLE(kind, index) (((uint32_t)(kind) << ARAX_HANDLE_INDEX_BITS) | (index))
#define ARAX_HANDLE_MAX_INDEX (1u << 22) /* a bound on the tenant's tables */

/* What a command does with a range. */
#define ARAX_ACCESS_NONE 0u
#define ARAX_ACCESS_READ 1u
#define ARAX_ACCESS_WRITE 2u
#define ARAX_ACCESS_BOTH 3u
#define ARAX_NO_HOME UINT32_MAX

/* record.flags */
#define ARAX_RECORD_FAILED_WAIT 1u /* an event of the wait list has failed already */
#define ARAX_RECORD_FLAGS 1u

/* launch.flags: PRINTF: output goes to the range print, see struct arax_slot.result. INDIRECT: may
 * reach memory through pointers (SVM), so nothing is concurrent. */
#define ARAX_LAUNCH_PRINTF 1u
#define ARAX_LAUNCH_INDIRECT 2u
#define ARAX_LAUNCH_FLAGS 3u

struct arax_record {
	uint32_t size;	    /* bytes, header, waits and tail included; multiple of 8 */
	uint16_t op;	    /* enum arax_op */
	uint16_t nwait;	    /* slots to wait for */
	uint32_t slot;	    /* where the outcome goes, or ARAX_NO_SLOT for definitions */
	uint32_t queue;	    /* handle; 0 for what belongs to no queue */
	uint32_t flags;	    /* ARAX_RECORD_* */
	uint32_t tail_size; /* bytes of tail before padding */
};

enum arax_op {
#define OP(number, NAME, name, tail, slotted) ARAX_OP_##NAME = number,
	ARAX_OPS(OP)
#undef OP
	    ARAX_OP_COUNT
};

#define ARAX_STRUCT_U32(name, min, max) uint32_t name;
#define ARAX_STRUCT_U64(name, max) uint64_t name;
#define ARAX_STRUCT_OBJ(name, KIND) uint32_t name;
#define ARAX_STRUCT_RANGE(name) \
	uint64_t name##_off;    \
	uint64_t name##_len;
#define OP(number, NAME, name, tail, slotted)                                         \
	struct arax_op_##name {                                                       \
		struct arax_record head;                                              \
		ARAX_FIELDS_##NAME(ARAX_STRUCT_U32, ARAX_STRUCT_U64, ARAX_STRUCT_OBJ, \
				   ARAX_STRUCT_OBJ, ARAX_STRUCT_RANGE)                \
	} __attribute__((aligned(8)));
ARAX_OPS(OP)
#undef OP

/* A kernel argument in the tail of a launch, followed by size bytes of value for
 * ARAX_ARG_VALUE, padded to 8. */
enum arax_arg_kind {
	ARAX_ARG_VALUE = 0,   /* size bytes follow */
	ARAX_ARG_LOCAL = 1,   /* size bytes of local memory; nothing follows */
	ARAX_ARG_MEM = 2,     /* object: a memory object, or 0 for NULL; nothing follows */
	ARAX_ARG_SVM = 3,     /* value: a pointer; size is 8, 8 bytes follow */
	ARAX_ARG_SAMPLER = 4, /* object: a sampler; nothing follows */
};
struct arax_arg {
	uint32_t kind;
	uint32_t object;
	uint64_t size;
};

/**
 * arax_op_name() - the name of an operation for traces, or "?".
 */
const char *arax_op_name(unsigned op);

/**
 * arax_record_fixed_size() - size of the op's struct in bytes, 0 for an unknown operation.
 */
size_t arax_record_fixed_size(unsigned op);

/**
 * arax_record_check() - everything about a record that can be judged without knowing the objects
 * @record: private copy of the record, at least record->size bytes
 * @available: bytes that @record has
 * @heap_off, @heap_end: where the heap lies in the arena, in bytes
 *
 * Checks the size, the operation, the wait list, the tail, the bounds of every field, the kind of
 * every handle and that every range lies in [heap_off, heap_end) (a range of length 0 may be 0,0).
 *
 * Beyond the table: the boxes of COPY and FILL are not empty, lie in their ranges and have pitches
 * with which no two rows overlap; the arguments of LAUNCH fill its tail and its local sizes are all
 * zero or all not; a kernel's name is not empty and has no zero in it.
 *
 * Return: 0, or -EPROTO.
 */
int arax_record_check(const struct arax_record *record, size_t available, uint64_t heap_off,
		      uint64_t heap_end);

/** arax_record_waits() - the wait list of a record: record->nwait slot numbers. */
static inline const uint32_t *arax_record_waits(const struct arax_record *record)
{
	return (const uint32_t *)((const char *)record + arax_record_fixed_size(record->op));
}

/** arax_record_tail() - the tail of a record: record->tail_size bytes, aligned to 8. */
static inline const void *arax_record_tail(const struct arax_record *record)
{
	return (const char *)record + arax_record_fixed_size(record->op) +
	       (((size_t)record->nwait * 4 + 7) & ~(size_t)7);
}

#endif
