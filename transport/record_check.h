/* SPDX-License-Identifier: Apache-2.0
 *
 * The judge of records, for both tables (protocol.c, link_check.c include it, nobody else): the
 * checks that a table itself promises, made from its rows, and those that its operations share.
 *
 * Everything here reads hostile data: no sum is formed that can wrap, no length is believed before
 * it was compared with what there is.
 */
#ifndef ARAX_TRANSPORT_RECORD_CHECK_H
#define ARAX_TRANSPORT_RECORD_CHECK_H

#include <errno.h>
#include <string.h>

#include "transport/record.h"

struct bounds {
	uint64_t off, end;
};

struct record_row {
	const char *name;
	uint32_t fixed, tail; /* bytes of the op's struct; of a tail, at most */
	bool slotted;
	bool (*fields)(const struct arax_record *record, const struct bounds *heap);
};

/* rows: by number, with holes; the head's bounds are those of the table's users. */
struct record_table {
	const struct record_row *rows;
	unsigned count;
	uint32_t slots, waits, flags;
	bool queues;
	bool (*rest)(const struct arax_record *record); /* what the rows cannot say */
};

/* Functions and not comparisons in the macros, because "x < 0" would be a warning for every
 * field whose minimum is 0. */
static inline bool u32_ok(uint32_t value, uint32_t min, uint32_t max)
{
	return value >= min && value <= max;
}

static inline bool u64_ok(uint64_t value, uint64_t max)
{
	return value <= max;
}

static inline bool handle_ok(uint32_t handle, uint32_t kind)
{
	uint32_t index = ARAX_HANDLE_INDEX(handle);

	return ARAX_HANDLE_KIND(handle) == kind && index >= 1 && index < ARAX_HANDLE_MAX_INDEX;
}

static inline bool handle0_ok(uint32_t handle, uint32_t kind)
{
	return !handle || handle_ok(handle, kind);
}

static inline bool range_ok(const struct bounds *heap, uint64_t off, uint64_t len)
{
	if (!len && !off)
		return true;
	return off >= heap->off && off < heap->end && len <= heap->end - off;
}

#define CHECK_U32(name, min, max) &&u32_ok(op->name, min, max)
#define CHECK_U64(name, max) &&u64_ok(op->name, max)
#define CHECK_OBJ(name, KIND) &&handle_ok(op->name, ARAX_HANDLE_##KIND)
#define CHECK_OBJ0(name, KIND) &&handle0_ok(op->name, ARAX_HANDLE_##KIND)
#define CHECK_RANGE(name) &&range_ok(heap, op->name##_off, op->name##_len)

#define ROW_CHECK(number, NAME, name, tail, slotted)                                           \
	static bool fields_##name(const struct arax_record *record, const struct bounds *heap) \
	{                                                                                      \
		const struct arax_op_##name *op = (const struct arax_op_##name *)record;       \
		(void)op;                                                                      \
		(void)heap;                                                                    \
		return true ARAX_FIELDS_##NAME(CHECK_U32, CHECK_U64, CHECK_OBJ, CHECK_OBJ0,    \
					       CHECK_RANGE);                                   \
	}
#define ROW_ENTRY(number, NAME, name, tail, slotted) \
	[number] = {#name, sizeof(struct arax_op_##name), tail, slotted, fields_##name},

static inline const struct record_row *record_row(const struct record_table *table, unsigned op)
{
	return op < table->count && table->rows[op].name ? &table->rows[op] : NULL;
}

/* Commands have an outcome and so a slot; definitions have neither. */
static inline bool head_ok(const struct record_table *table, const struct record_row *row,
			   const struct arax_record *record)
{
	if (record->flags & ~table->flags)
		return false;
	if (table->queues ? !handle0_ok(record->queue, ARAX_HANDLE_QUEUE) : record->queue != 0)
		return false;
	return row->slotted ? record->slot < table->slots : record->slot == ARAX_NO_SLOT;
}

static inline bool waits_ok(const struct record_table *table, const struct record_row *row,
			    const struct arax_record *record)
{
	const uint32_t *waits = (const uint32_t *)((const char *)record + row->fixed);

	for (unsigned i = 0; i < record->nwait; i++)
		if (waits[i] >= table->slots)
			return false;
	return true;
}

/* How many bytes of value follow an argument in *value, or false for an impossible argument. */
static inline bool arg_ok(const struct arax_arg *arg, uint64_t *value)
{
	*value = 0;
	switch (arg->kind) {
	case ARAX_ARG_VALUE:
		*value = arg->size;
		return true;
	case ARAX_ARG_LOCAL:
		/* No device has as much; the bound makes every sum of the receiver safe. */
		return arg->size <= UINT32_MAX;
	case ARAX_ARG_MEM:
		return handle0_ok(arg->object, ARAX_HANDLE_MEM);
	case ARAX_ARG_SVM:
		*value = arg->size;
		return arg->size == sizeof(uint64_t);
	case ARAX_ARG_SAMPLER:
		return handle_ok(arg->object, ARAX_HANDLE_SAMPLER);
	default:
		return false;
	}
}

/* The tail of a launch is nargs arguments and nothing else. */
static inline bool args_ok(const char *tail, uint32_t tail_size, uint32_t nargs)
{
	uint64_t left = ((uint64_t)tail_size + 7) & ~(uint64_t)7;

	for (uint32_t i = 0; i < nargs; i++) {
		struct arax_arg arg;
		uint64_t value;

		if (left < sizeof(arg))
			return false;
		memcpy(&arg, tail, sizeof(arg));
		tail += sizeof(arg);
		left -= sizeof(arg);
		/* left is a multiple of 8, so what is at most left is so with its padding too. */
		if (!arg_ok(&arg, &value) || value > left)
			return false;
		value = (value + 7) & ~(uint64_t)7;
		tail += value;
		left -= value;
	}
	return left == 0;
}

/* A work-group of no work-items in one dimension would be a division by zero further on. */
static inline bool local_ok(uint32_t work_dim, uint64_t x, uint64_t y, uint64_t z)
{
	const uint64_t local[3] = {x, y, z};

	for (uint32_t i = 1; i < work_dim; i++)
		if (!local[i] != !local[0])
			return false;
	return true;
}

static inline bool name_ok(const char *tail, uint32_t tail_size)
{
	return tail_size && !memchr(tail, '\0', tail_size);
}

static inline int record_check(const struct record_table *table, const struct arax_record *record,
			       size_t available, const struct bounds *heap)
{
	const struct record_row *row;
	uint64_t size;

	if (available < sizeof(*record) || record->size > available ||
	    record->size > ARAX_RECORD_MAX)
		return -EPROTO;
	row = record_row(table, record->op);
	if (!row || record->nwait > table->waits || record->tail_size > row->tail)
		return -EPROTO;
	size = row->fixed;
	size += ((uint64_t)record->nwait * 4 + 7) & ~(uint64_t)7;
	size += ((uint64_t)record->tail_size + 7) & ~(uint64_t)7;
	if (record->size != size)
		return -EPROTO;
	/* From here on all of the record is known to be there. */
	if (!head_ok(table, row, record) || !waits_ok(table, row, record) ||
	    !row->fields(record, heap) || !table->rest(record))
		return -EPROTO;
	return 0;
}

#endif
