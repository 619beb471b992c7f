/* SPDX-License-Identifier: Apache-2.0
 *
 * See fuzz_records.h. Numbers are small where objects and slots are meant, so that records of one
 * input mean the same ones; bounds are met more often than what lies between them.
 */
#include "transport/fuzz_records.h"

#include "transport/fuzz_rows.h"

#include <string.h>

ARAX_OPS(ROW_MAKE)

static void resize(struct arax_record *record, uint64_t nwait, uint64_t tail)
{
	record->nwait = (uint16_t)nwait;
	record->tail_size = (uint32_t)tail;
	record->size = (uint32_t)(arax_record_fixed_size(record->op) + ((nwait * 4 + 7) & ~7ull) +
				  ((tail + 7) & ~7ull));
}

/* Not inlined: the compiler would believe that what lies behind the struct is not there. */
static __attribute__((noinline)) char *tail_of(struct arax_record *record)
{
	return (char *)arax_record_tail(record);
}

/* At most 16 rows of 64 bytes with gaps: any range holds that. */
static void make_copy_box(struct arax_op_copy *op, uint64_t *random)
{
	op->width = pick(random, 1, 64);
	op->height = pick(random, 1, 4);
	op->depth = pick(random, 1, 4);
	op->src_row_pitch = pick(random, op->width, 128);
	op->dst_row_pitch = pick(random, op->width, 128);
	op->src_slice_pitch = pick(random, 512, 768);
	op->dst_slice_pitch = pick(random, 512, 768);
}

static void make_fill_box(struct arax_op_fill *op, uint64_t *random)
{
	uint64_t size = 1ull << below(random, 8);

	op->width = size * pick(random, 1, 128 / size);
	op->height = pick(random, 1, 4);
	op->depth = pick(random, 1, 4);
	op->dst_row_pitch = pick(random, op->width, 128);
	op->dst_slice_pitch = pick(random, 512, 768);
	resize(&op->head, op->head.nwait, size);
	memset(tail_of(&op->head), (int)below(random, 256), size);
}

static void make_args(struct arax_op_launch *op, uint64_t *random)
{
	char *tail;
	size_t at = 0;

	op->local0 = pick(random, 0, 64);
	op->local1 = op->local2 = op->local0 ? pick(random, 1, 64) : 0;
	op->nargs = (uint32_t)below(random, 8);
	tail = tail_of(&op->head);
	for (uint32_t i = 0; i < op->nargs; i++) {
		struct arax_arg arg = {.kind = (uint32_t)below(random, ARAX_ARG_SAMPLER + 1)};
		size_t value = 0;

		if (arg.kind == ARAX_ARG_VALUE)
			value = arg.size = pick(random, 0, 128);
		else if (arg.kind == ARAX_ARG_LOCAL)
			arg.size = pick(random, 0, UINT32_MAX);
		else if (arg.kind == ARAX_ARG_MEM)
			arg.object = below(random, 4) ? handle(random, ARAX_HANDLE_MEM) : 0;
		else if (arg.kind == ARAX_ARG_SVM)
			value = arg.size = 8;
		else
			arg.object = handle(random, ARAX_HANDLE_SAMPLER);
		memcpy(tail + at, &arg, sizeof(arg));
		at += sizeof(arg);
		value = (value + 7) & ~(size_t)7;
		memset(tail + at, (int)below(random, 256), value);
		at += value;
	}
	resize(&op->head, op->head.nwait, at);
}

static void make_name(struct arax_record *record, uint64_t *random)
{
	uint64_t size = pick(random, 1, 300);

	resize(record, record->nwait, size);
	memset(tail_of(record), 'a' + (int)below(random, 26), size);
}

/* What the table cannot say. */
static void make_rest(struct arax_record *record, uint64_t *random)
{
	switch (record->op) {
	case ARAX_OP_COPY:
		return make_copy_box((void *)record, random);
	case ARAX_OP_FILL:
		return make_fill_box((void *)record, random);
	case ARAX_OP_LAUNCH:
		return make_args((void *)record, random);
	case ARAX_OP_KERNEL_DEFINE:
		return make_name(record, random);
	}
}

void fuzz_record_make(unsigned number, struct arax_record *record, uint64_t *random)
{
	memset(record, 0, FUZZ_RECORD_MAX);
	switch (number) {
		ARAX_OPS(ROW_MAKE_CASE)
	}
	record->queue = below(random, 3) ? handle(random, ARAX_HANDLE_QUEUE) : 0;
	record->flags = below(random, 8) ? 0 : ARAX_RECORD_FAILED_WAIT;
	resize(record, below(random, 2) ? 0 : below(random, WAITS + 1), 0);
	for (unsigned i = 0; i < record->nwait; i++)
		((uint32_t *)arax_record_waits(record))[i] = (uint32_t)below(random, SLOTS);
	make_rest(record, random);
}

ARAX_OPS(ROW_WRONG)

static void wrong_head(struct arax_record *record, uint64_t *random)
{
	switch (below(random, 7)) {
	case 0:
		record->size = (uint32_t)wrong(random, record->size, record->size + 7);
		break;
	case 1:
		record->op = (uint16_t)below(random, ARAX_OP_COUNT + 2);
		break;
	case 2:
		record->nwait = (uint16_t)wrong(random, 0, ARAX_WAIT_MAX);
		break;
	case 3:
		record->slot = (uint32_t)wrong(random, 0, ARAX_SLOTS - 1);
		break;
	case 4:
		record->tail_size = (uint32_t)wrong(random, record->tail_size, record->tail_size);
		break;
	case 5:
		if (record->nwait && record->nwait <= WAITS)
			((uint32_t *)arax_record_waits(record))[below(random, record->nwait)] =
			    ARAX_SLOTS + (uint32_t)below(random, 3);
		break;
	default:
		record->flags = (uint32_t)test_random(random);
	}
}

/* Ranges about as large as the boxes in them. */
static void wrong_box(struct arax_record *record, uint64_t *random)
{
	struct arax_op_copy *copy = (void *)record;
	struct arax_op_fill *fill = (void *)record;

	if (record->op == ARAX_OP_FILL)
		fill->dst_len = pick(random, 1, 3072);
	else if (below(random, 2))
		copy->src_len = pick(random, 1, 3072);
	else
		copy->dst_len = pick(random, 1, 3072);
}

void fuzz_record_break(struct arax_record *record, uint64_t *random)
{
	if (below(random, 3) == 0)
		return wrong_head(record, random);
	if ((record->op == ARAX_OP_COPY || record->op == ARAX_OP_FILL) && below(random, 2))
		return wrong_box(record, random);
	switch (record->op) {
		ARAX_OPS(ROW_WRONG_CASE)
	}
}

/* Where the n-th record begins, or the end of those that are whole. */
static size_t record_at(const uint8_t *data, size_t size, uint64_t n, size_t *length)
{
	size_t at = 0;
	uint32_t own;

	for (*length = 0; size - at >= sizeof(struct arax_record); at += own) {
		memcpy(&own, data + at, sizeof(own));
		if (own < sizeof(struct arax_record) || own > size - at)
			break;
		if (!n--) {
			*length = own;
			break;
		}
	}
	return at;
}

/* Puts size bytes where there were gone. Return: the size now, or the former one without room. */
static size_t replace(uint8_t *data, size_t total, size_t max, size_t at, size_t gone,
		      const void *bytes, size_t size)
{
	if (total - gone + size > max)
		return total;
	memmove(data + at + size, data + at + gone, total - at - gone);
	memcpy(data + at, bytes, size);
	return total - gone + size;
}

size_t fuzz_rows_mutate(const struct fuzz_rows *rows, uint8_t *data, size_t size, size_t max,
			uint64_t *random)
{
	_Alignas(8) uint8_t bytes[FUZZ_RECORD_MAX];
	struct arax_record *record = (void *)bytes;
	size_t length, at = record_at(data, size, below(random, 8), &length);

	switch (below(random, 6)) {
	case 0: /* one more */
		rows->make(1 + (unsigned)below(random, rows->count - 1), record, random);
		return replace(data, size, max, at, 0, bytes, record->size);
	case 1: /* another one */
		rows->make(1 + (unsigned)below(random, rows->count - 1), record, random);
		return replace(data, size, max, at, length, bytes, record->size);
	case 2: /* the same with a fault */
		if (!length || length > sizeof(bytes))
			break;
		memcpy(bytes, data + at, length);
		if (rows->fixed_size(record->op) > length)
			break;
		rows->spoil(record, random);
		memcpy(data + at, bytes, length);
		return size;
	case 3: /* twice, or not at all */
		if (!length || length > sizeof(bytes))
			break;
		memcpy(bytes, data + at, length);
		if (below(random, 2))
			return replace(data, size, max, at, length, bytes, 0);
		return replace(data, size, max, at, 0, bytes, length);
	}
	if (!length)
		return LLVMFuzzerMutate(data, size, max);
	/* Its bytes, but not their number. */
	(void)LLVMFuzzerMutate(data + at, length, length);
	return size;
}

size_t fuzz_records_mutate(uint8_t *data, size_t size, size_t max, uint64_t *random)
{
	const struct fuzz_rows rows = {ARAX_OP_COUNT, fuzz_record_make, fuzz_record_break,
				       arax_record_fixed_size};

	return fuzz_rows_mutate(&rows, data, size, max, random);
}
