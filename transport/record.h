/* SPDX-License-Identifier: Apache-2.0
 *
 * Records, as all rings of bytes carry them, and what makes structs of a table of operations.
 * There are two tables: protocol.def (client to tenant, protocol.h) and device.def (tenant to
 * arax-device, link.h). Everything here is the wire format: fixed sizes, little-endian, no
 * pointers.
 *
 * A record is: struct arax_record (or the op's struct, which begins with it), then nwait 32-bit
 * slot numbers, padded to 8 bytes, then the tail; size covers all of it and is a multiple of 8.
 */
#ifndef ARAX_TRANSPORT_RECORD_H
#define ARAX_TRANSPORT_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Largest record, and so the size of the receiver's private scratch copy. */
#define ARAX_RECORD_MAX (96u * 1024)
#define ARAX_WAIT_MAX 4096u
#define ARAX_NO_SLOT UINT32_MAX

/* Handles: kind in bits 28-31, the rest is the sender's number of the object, which it does not
 * use again before the drop of the former object was sent (order in the ring makes that safe). */
enum arax_handle_kind {
	ARAX_HANDLE_QUEUE = 1,
	ARAX_HANDLE_MEM = 2,
	ARAX_HANDLE_PROGRAM = 3,
	ARAX_HANDLE_KERNEL = 4,
	ARAX_HANDLE_SAMPLER = 5,
	ARAX_HANDLE_STREAM = 6, /* only between tenant and arax-device */
};
#define ARAX_HANDLE_INDEX_BITS 28
#define ARAX_HANDLE_INDEX(handle) ((handle) & ((1u << ARAX_HANDLE_INDEX_BITS) - 1))
#define ARAX_HANDLE_KIND(handle) ((handle) >> ARAX_HANDLE_INDEX_BITS)
#define ARAX_HANDLE(kind, index) (((uint32_t)(kind) << ARAX_HANDLE_INDEX_BITS) | (index))
#define ARAX_HANDLE_MAX_INDEX (1u << 22) /* a bound on the receiver's tables */

struct arax_record {
	uint32_t size;	    /* bytes, header, waits and tail included; multiple of 8 */
	uint16_t op;	    /* number of its row */
	uint16_t nwait;	    /* slots to wait for */
	uint32_t slot;	    /* where the outcome goes, or ARAX_NO_SLOT for definitions */
	uint32_t queue;	    /* handle; 0 for what belongs to no queue */
	uint32_t flags;	    /* ARAX_RECORD_* */
	uint32_t tail_size; /* bytes of tail before padding */
};

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

/* What a row of a table becomes: ARAX_OPS(ARAX_ROW_STRUCT) and its like. */
#define ARAX_ROW_ENUM(number, NAME, name, tail, slotted) ARAX_OP_##NAME = number,

#define ARAX_STRUCT_U32(name, min, max) uint32_t name;
#define ARAX_STRUCT_U64(name, max) uint64_t name;
#define ARAX_STRUCT_OBJ(name, KIND) uint32_t name;
#define ARAX_STRUCT_RANGE(name) \
	uint64_t name##_off;    \
	uint64_t name##_len;
#define ARAX_ROW_STRUCT(number, NAME, name, tail, slotted)                            \
	struct arax_op_##name {                                                       \
		struct arax_record head;                                              \
		ARAX_FIELDS_##NAME(ARAX_STRUCT_U32, ARAX_STRUCT_U64, ARAX_STRUCT_OBJ, \
				   ARAX_STRUCT_OBJ, ARAX_STRUCT_RANGE)                \
	} __attribute__((aligned(8)));

#endif
