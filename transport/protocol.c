/* SPDX-License-Identifier: Apache-2.0
 *
 * The judge of a client's records: every check that needs no knowledge of the client's objects,
 * made from the table in protocol.def (record_check.h). The tenant calls it on its private copy of
 * each record before anything else looks at it; the client and the tests use it to check what they
 * encode.
 */
#include "transport/protocol.h"

#include "transport/record_check.h"
#include "transport/shm.h"

ARAX_OPS(ROW_CHECK)

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

static bool launch_ok(const struct arax_op_launch *op)
{
	return local_ok(op->work_dim, op->local0, op->local1, op->local2) &&
	       args_ok(arax_record_tail(&op->head), op->head.tail_size, op->nargs);
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
		return name_ok(arax_record_tail(record), record->tail_size);
	default:
		return true;
	}
}

static const struct record_row rows[ARAX_OP_COUNT] = {ARAX_OPS(ROW_ENTRY)};
static const struct record_table table = {
    .rows = rows,
    .count = ARAX_OP_COUNT,
    .slots = ARAX_SLOTS,
    .waits = ARAX_WAIT_MAX,
    .flags = ARAX_RECORD_FLAGS,
    .queues = true,
    .rest = op_ok,
};

const char *arax_op_name(unsigned op)
{
	const struct record_row *row = record_row(&table, op);

	return row ? row->name : "?";
}

size_t arax_record_fixed_size(unsigned op)
{
	const struct record_row *row = record_row(&table, op);

	return row ? row->fixed : 0;
}

int arax_record_check(const struct arax_record *record, size_t available, uint64_t heap_off,
		      uint64_t heap_end)
{
	const struct bounds heap = {heap_off, heap_end};

	return record_check(&table, record, available, &heap);
}
