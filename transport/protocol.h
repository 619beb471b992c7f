/* SPDX-License-Identifier: Apache-2.0
 *
 * Records of the submission ring, made from protocol.def, and what both sides must know about
 * them; what a record is says record.h.
 */
#ifndef ARAX_TRANSPORT_PROTOCOL_H
#define ARAX_TRANSPORT_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/protocol.def"
#include "transport/record.h"

#define ARAX_PROTOCOL_MAJOR 1
#define ARAX_PROTOCOL_MINOR 0

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

enum arax_op { ARAX_OPS(ARAX_ROW_ENUM) ARAX_OP_COUNT };

ARAX_OPS(ARAX_ROW_STRUCT)

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
