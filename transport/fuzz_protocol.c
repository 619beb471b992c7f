/* SPDX-License-Identifier: Apache-2.0
 *
 * The decoder: a submission ring full of whatever a client may have put there, read and checked as
 * the tenant does it. What is accepted must be true: every byte that is promised is there, every
 * range lies in the heap, every argument in its launch.
 *
 * Input: where the ring begins (4), how far its tail lies (4), then the records.
 */
#include "transport/fuzz_records.h"

#include <string.h>

#include "transport/ring.h"

#define RING (256u << 10)
#define HEAD 8

static unsigned long reached[ARAX_OP_COUNT];

static void range_verify(uint64_t off, uint64_t len)
{
	unsigned __int128 end = (unsigned __int128)off + len;

	CHECK((!off && !len) || (off >= FUZZ_HEAP_OFF && end <= FUZZ_HEAP_END));
}

static void box_verify(uint64_t width, uint64_t height, uint64_t depth, uint64_t row,
		       uint64_t slice, uint64_t len)
{
	unsigned __int128 end = (unsigned __int128)(height - 1) * row + width;

	CHECK(width && height && depth && (height == 1 || row >= width));
	if (depth > 1) {
		CHECK(end <= slice);
		end += (unsigned __int128)(depth - 1) * slice;
	}
	CHECK(end <= len);
}

static void launch_verify(const struct arax_op_launch *op)
{
	const char *at = arax_record_tail(&op->head);
	size_t left = (op->head.tail_size + 7u) & ~7u;
	struct arax_arg arg;

	for (uint32_t i = 0; i < op->nargs; i++) {
		size_t value;

		CHECK(left >= sizeof(arg));
		memcpy(&arg, at, sizeof(arg));
		value = arg.kind == ARAX_ARG_VALUE || arg.kind == ARAX_ARG_SVM ? arg.size : 0;
		value = (value + 7) & ~(size_t)7;
		CHECK(left - sizeof(arg) >= value);
		at += sizeof(arg) + value;
		left -= sizeof(arg) + value;
	}
	CHECK(!left);
}

#define VERIFY(...)
#define VERIFY_RANGE(name) range_verify(op->name##_off, op->name##_len);
#define OP(number, NAME, name, tail, slotted)                                    \
	static void verify_##name(const struct arax_op_##name *op)               \
	{                                                                        \
		(void)op;                                                        \
		ARAX_FIELDS_##NAME(VERIFY, VERIFY, VERIFY, VERIFY, VERIFY_RANGE) \
	}
ARAX_OPS(OP)
#undef OP

static void verify(const struct arax_record *record)
{
	const struct arax_op_copy *copy = (const void *)record;
	const struct arax_op_fill *fill = (const void *)record;
	const volatile unsigned char *tail = arax_record_tail(record);
	unsigned char last = 0;

	for (unsigned i = 0; i < record->nwait; i++)
		CHECK(arax_record_waits(record)[i] < ARAX_SLOTS);
	for (uint32_t i = 0; i < record->tail_size; i++)
		last = tail[i]; /* volatile: the sanitizer looks at each */
	(void)last;
	switch (record->op) {
#define OP(number, NAME, name, tail, slotted)        \
	case number:                                 \
		verify_##name((const void *)record); \
		break;
		ARAX_OPS(OP)
#undef OP
	}
	if (record->op == ARAX_OP_LAUNCH)
		launch_verify((const void *)record);
	if (record->op == ARAX_OP_COPY) {
		box_verify(copy->width, copy->height, copy->depth, copy->src_row_pitch,
			   copy->src_slice_pitch, copy->src_len);
		box_verify(copy->width, copy->height, copy->depth, copy->dst_row_pitch,
			   copy->dst_slice_pitch, copy->dst_len);
	}
	if (record->op == ARAX_OP_FILL)
		box_verify(fill->width, fill->height, fill->depth, fill->dst_row_pitch,
			   fill->dst_slice_pitch, fill->dst_len);
	CHECK(arax_op_name(record->op)[0] != '?');
	reached[record->op]++;
}

/* In memory of exactly its size, so that a byte too far is seen. */
static int check(const void *scratch, size_t size)
{
	struct arax_record *record = malloc(size);
	int err;

	CHECK(record);
	memcpy(record, scratch, size);
	err = arax_record_check(record, size, FUZZ_HEAP_OFF, FUZZ_HEAP_END);
	if (!err)
		verify(record);
	free(record);
	return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static _Alignas(8) unsigned char ring_data[RING], scratch[ARAX_RECORD_MAX];
	static struct arax_ring_index index;
	struct arax_ring ring;
	uint32_t start, beyond, first;
	int n;

	if (size < HEAD || size - HEAD > RING)
		return 0;
	memcpy(&start, data, 4);
	memcpy(&beyond, data + 4, 4);
	data += HEAD;
	size -= HEAD;
	arax_ring_init(&ring, &index, ring_data, RING);
	ring.own = ring.seen = start;
	first = RING - (start & (RING - 1));
	first = size < first ? (uint32_t)size : first;
	memcpy(ring_data + (start & (RING - 1)), data, first);
	memcpy(ring_data, data + first, size - first);
	atomic_store_explicit(&index.tail, start + (uint32_t)size + beyond, memory_order_relaxed);
	while ((n = arax_ring_read(&ring, scratch, sizeof(scratch))) > 0)
		if (check(scratch, (size_t)n))
			break;
	/* What was taken was there. */
	CHECK(ring.own - start <= RING);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	uint64_t random = seed;

	if (size < HEAD || max < HEAD + 8 || test_random(&random) % 32 == 0)
		return LLVMFuzzerMutate(data, size, max);
	return HEAD + fuzz_records_mutate(data + HEAD, size - HEAD, max - HEAD, &random);
}

/* One file for each row, and one that begins shortly before the ring's end with all of them. */
size_t fuzz_seed(unsigned n, uint8_t *data, size_t max, char *name)
{
	_Alignas(8) uint8_t bytes[FUZZ_RECORD_MAX];
	struct arax_record *record = (void *)bytes;
	unsigned op = n + 1, last = n + 1;
	uint64_t random = n;
	size_t size = HEAD;

	if (op > ARAX_OP_COUNT)
		return 0;
	memset(data, 0, HEAD);
	snprintf(name, 32, "%s", op < ARAX_OP_COUNT ? arax_op_name(op) : "all");
	if (op == ARAX_OP_COUNT) {
		const uint32_t start = UINT32_MAX - 1023;

		memcpy(data, &start, sizeof(start));
		op = 1;
		last = ARAX_OP_COUNT - 1;
	}
	for (; op <= last; op++) {
		fuzz_record_make(op, record, &random);
		CHECK(size + record->size <= max);
		memcpy(data + size, bytes, record->size);
		size += record->size;
	}
	return size;
}

void fuzz_reached(void)
{
	for (unsigned op = 1; op < ARAX_OP_COUNT; op++) {
		if (!reached[op])
			fprintf(stderr, "no record of the corpus is a good %s\n", arax_op_name(op));
		CHECK(reached[op]);
	}
}
