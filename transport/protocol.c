/* SPDX-License-Identifier: Apache-2.0
 *
 * The judge of records: every check that needs no knowledge of the client's objects, made from the
 * table in protocol.def. The tenant calls it on its private copy of each record before anything
 * else looks at it; the client and the tests use it to check what they encode.
 *
 * Everything here reads hostile data: no sum is formed that can wrap, no length is believed before
 * it was compared with what there is.
 */
#include "transport/protocol.h"

#include <errno.h>
#include <string.h>

#include "transport/shm.h"

struct bounds {
	uint64_t off, end;
};

/* Functions and not comparisons in the macros, because "x < 0" would be a warning for every
 * field whose minimum is 0. */
static bool u32_ok(uint32_t value, uint32_t min, uint32_t max)
{
	return value >= min && value <= max;
}

static bool u64_ok(uint64_t value, uint64_t max)
{
	return value <= max;
}

static bool handle_ok(uint32_t handle, uint32_t kind)
{
	uint32_t index = ARAX_HANDLE_INDEX(handle);

	return ARAX_HANDLE_KIND(handle) == kind && index >= 1 && index < ARAX_HANDLE_MAX_INDEX;
}

static bool handle0_ok(uint32_t handle, uint32_t kind)
{
	return !handle || handle_ok(handle, kind);
}

static bool range_ok(const struct bounds *heap, uint64_t off, uint64_t len)
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
#define OP(number, NAME, name, tail, slotted)                                                 \
	static bool fields_##name(const struct arax_op_##name *op, const struct bounds *heap) \
	{                                                                                     \
		(void)op;                                                                     \
		(void)heap;                                                                   \
		return true ARAX_FIELDS_##NAME(CHECK_U32, CHECK_U64, CHECK_OBJ, CHECK_OBJ0,   \
					       CHECK_RANGE);                                  \
	}
ARAX_OPS(OP)
#undef OP

static bool fields_ok(const struct arax_record *record, const struct bounds *heap)
{
	switch (record->op) {
#define OP(number, NAME, name, tail, slotted) \
	case number:                          \
		return fields_##name((const struct arax_op_##name *)record, heap);
		ARAX_OPS(OP)
#undef OP
	default:
		return false;
	}
}

const char *arax_op_name(unsigned op)
{
	switch (op) {
#define OP(number, NAME, name, tail, slotted) \
	case number:                          \
		return #name;
		ARAX_OPS(OP)
#undef OP
	default:
		return "?";
	}
}

size_t arax_record_fixed_size(unsigned op)
{
	switch (op) {
#define OP(number, NAME, name, tail, slotted) \
	case number:                          \
		return sizeof(struct arax_op_##name);
		ARAX_OPS(OP)
#undef OP
	default:
		return 0;
	}
}

static uint32_t tail_max(unsigned op)
{
	switch (op) {
#define OP(number, NAME, name, tail, slotted) \
	case number:                          \
		return tail;
		ARAX_OPS(OP)
#undef OP
	default:
		return 0;
	}
}

/* Commands have an outcome and so a slot; definitions have neither. PROGRAM_LOAD is a definition
 * with a slot, because the client must learn when its range is free again. */
static bool needs_slot(unsigned op)
{
	static const bool slots[ARAX_OP_COUNT] = {
#define OP(number, NAME, name, tail, slotted) [number] = slotted,
	    ARAX_OPS(OP)
#undef OP
	};

	return slots[op];
}

static bool head_ok(const struct arax_record *record)
{
	if (record->flags & ~ARAX_RECORD_FLAGS)
		return false;
	if (!handle0_ok(record->queue, ARAX_HANDLE_QUEUE))
		return false;
	if (needs_slot(record->op))
		return record->slot < ARAX_SLOTS;
	return record->slot == ARAX_NO_SLOT;
}

static bool waits_ok(const struct arax_record *record)
{
	const uint32_t *waits = arax_record_waits(record);

	for (unsigned i = 0; i < record->nwait; i++)
		if (waits[i] >= ARAX_SLOTS)
			return false;
	return true;
}

/* The box lies within len bytes and no two of its rows overlap, so that the work it means is
 * bounded by len too (pitches of 0 could ask for 2^64 rows of the same bytes). */
static bool box_ok(uint64_t width, uint64_t height, uint64_t depth, uint64_t row_pitch,
		   uint64_t slice_pitch, uint64_t len)
{
	uint64_t slices, slice, extent;

	if (!width || !height || !depth)
		return false;
	if (__builtin_mul_overflow(height - 1, row_pitch, &slice) ||
	    __builtin_add_overflow(slice, width, &slice) ||
	    __builtin_mul_overflow(depth - 1, slice_pitch, &slices) ||
	    __builtin_add_overflow(slices, slice, &extent))
		return false;
	if ((height > 1 && row_pitch < width) || (depth > 1 && slice_pitch < slice))
		return false;
	return extent <= len;
}

static bool copy_ok(const struct arax_op_copy *op)
{
	return box_ok(op->width, op->height, op->depth, op->src_row_pitch, op->src_slice_pitch,
		      op->src_len) &&
	       box_ok(op->width, op->height, op->depth, op->dst_row_pitch, op->dst_slice_pitch,
		      op->dst_len);
}

static bool fill_ok(const struct arax_op_fill *op)
{
	/* That the tail has at most 128 bytes was checked against the table. */
	return op->head.tail_size && op->width % op->head.tail_size == 0 &&
	       box_ok(op->width, op->height, op->depth, op->dst_row_pitch, op->dst_slice_pitch,
		      op->dst_len);
}

/* How many bytes of value follow an argument in *value, or false for an impossible argument. */
static bool arg_ok(const struct arax_arg *arg, uint64_t *value)
{
	*value = 0;
	switch (arg->kind) {
	case ARAX_ARG_VALUE:
		*value = arg->size;
		return true;
	case ARAX_ARG_LOCAL:
		/* No device has as much; the bound makes every sum in the tenant safe. */
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

static bool args_ok(const struct arax_op_launch *op)
{
	const char *at = arax_record_tail(&op->head);
	uint64_t left = ((uint64_t)op->head.tail_size + 7) & ~(uint64_t)7;

	for (uint32_t i = 0; i < op->nargs; i++) {
		struct arax_arg arg;
		uint64_t value;

		if (left < sizeof(arg))
			return false;
		memcpy(&arg, at, sizeof(arg));
		at += sizeof(arg);
		left -= sizeof(arg);
		/* left is a multiple of 8, so what is at most left is so with its padding too. */
		if (!arg_ok(&arg, &value) || value > left)
			return false;
		value = (value + 7) & ~(uint64_t)7;
		at += value;
		left -= value;
	}
	return left == 0;
}

/* A work-group of no work-items in one dimension would be a division by zero further on. */
static bool launch_ok(const struct arax_op_launch *op)
{
	const uint64_t local[3] = {op->local0, op->local1, op->local2};

	for (uint32_t i = 1; i < op->work_dim; i++)
		if (!local[i] != !local[0])
			return false;
	return args_ok(op);
}

static bool name_ok(const struct arax_record *record)
{
	return record->tail_size && !memchr(arax_record_tail(record), '\0', record->tail_size);
}

/* What the table cannot say: how fields of one operation belong together. */
static bool op_ok(const struct arax_record *record)
{
	switch (record->op) {
	case ARAX_OP_COPY:
		return copy_ok((const struct arax_op_copy *)record);
	case ARAX_OP_FILL:
		return fill_ok((const struct arax_op_fill *)record);
	case ARAX_OP_LAUNCH:
		return launch_ok((const struct arax_op_launch *)record);
	case ARAX_OP_KERNEL_DEFINE:
		return name_ok(record);
	default:
		return true;
	}
}

int arax_record_check(const struct arax_record *record, size_t available, uint64_t heap_off,
		      uint64_t heap_end)
{
	const struct bounds heap = {heap_off, heap_end};
	uint64_t size;

	if (available < sizeof(*record) || record->size > available ||
	    record->size > ARAX_RECORD_MAX)
		return -EPROTO;
	size = arax_record_fixed_size(record->op);
	if (!size || record->nwait > ARAX_WAIT_MAX || record->tail_size > tail_max(record->op))
		return -EPROTO;
	size += ((uint64_t)record->nwait * 4 + 7) & ~(uint64_t)7;
	size += ((uint64_t)record->tail_size + 7) & ~(uint64_t)7;
	if (record->size != size)
		return -EPROTO;
	/* From here on all of the record is known to be there. */
	if (!head_ok(record) || !waits_ok(record) || !fields_ok(record, &heap) || !op_ok(record))
		return -EPROTO;
	return 0;
}
