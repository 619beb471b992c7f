/* SPDX-License-Identifier: Apache-2.0
 *
 * The record checks: for every operation of the table a good record passes, each field out of its
 * bounds is refused, and no mutation makes the check read outside the record.
 */
#include "transport/protocol.h"

#include <errno.h>
#include <string.h>

#include "transport/shm.h"
#include "transport/testing.h"

#define HEAP_OFF ((uint64_t)ARAX_HEAP_OFFSET)
#define HEAP_END (HEAP_OFF + (1u << 30))

static _Alignas(8) unsigned char buffer[ARAX_RECORD_MAX + 64];
static struct arax_record *const record = (struct arax_record *)buffer;

static int check(void)
{
	return arax_record_check(record, record->size, HEAP_OFF, HEAP_END);
}

static void resize(uint16_t nwait, uint32_t tail_size)
{
	record->nwait = nwait;
	record->tail_size = tail_size;
	record->size = (uint32_t)arax_record_fixed_size(record->op) + ((nwait * 4u + 7) & ~7u) +
		       ((tail_size + 7) & ~7u);
}

static void head(unsigned op, bool slot)
{
	memset(buffer, 0, sizeof(buffer));
	record->op = (uint16_t)op;
	record->slot = slot ? 5 : ARAX_NO_SLOT;
	resize(0, 0);
}

static bool has_slot(unsigned op)
{
	return op == ARAX_OP_PROGRAM_LOAD || op == ARAX_OP_USER ||
	       (op >= ARAX_OP_LAUNCH && op <= ARAX_OP_HOST);
}

#define GOOD_U32(name, min, max) op->name = min;
#define GOOD_U64(name, max)
#define GOOD_OBJ(name, KIND) op->name = ARAX_HANDLE(ARAX_HANDLE_##KIND, 7);
#define GOOD_OBJ0(name, KIND)
#define GOOD_RANGE(name)                  \
	op->name##_off = HEAP_OFF + 4096; \
	op->name##_len = 4096;

static void put_args(void)
{
	struct arax_op_launch *op = (void *)record;
	char *tail;
	struct arax_arg args[5] = {{ARAX_ARG_VALUE, 0, 12},
				   {ARAX_ARG_LOCAL, 0, 1024},
				   {ARAX_ARG_MEM, ARAX_HANDLE(ARAX_HANDLE_MEM, 3), 0},
				   {ARAX_ARG_SVM, 0, 8},
				   {ARAX_ARG_SAMPLER, ARAX_HANDLE(ARAX_HANDLE_SAMPLER, 3), 0}};

	op->nargs = 5;
	resize(record->nwait, 5 * 16 + 16 + 8);
	tail = (char *)arax_record_tail(record);
	for (int i = 0; i < 5; i++) {
		memcpy(tail, &args[i], 16);
		tail += 16 + (i == 0 ? 16 : i == 3 ? 8 : 0);
	}
}

/* What the table cannot say about a good record. */
static void good_extra(uint16_t nwait)
{
	struct arax_op_copy *copy = (void *)record;
	struct arax_op_fill *fill = (void *)record;

	resize(nwait, 0);
	switch (record->op) {
	case ARAX_OP_COPY:
		copy->width = 64, copy->height = 4, copy->depth = 2;
		copy->src_row_pitch = 128, copy->src_slice_pitch = 1024;
		copy->dst_row_pitch = 256, copy->dst_slice_pitch = 2048;
		break;
	case ARAX_OP_FILL:
		fill->width = 64, fill->height = 4, fill->depth = 2;
		fill->dst_row_pitch = 128, fill->dst_slice_pitch = 1024;
		resize(nwait, 16);
		break;
	case ARAX_OP_LAUNCH:
		put_args();
		break;
	case ARAX_OP_KERNEL_DEFINE:
		resize(nwait, 3);
		memcpy((char *)arax_record_tail(record), "add", 3);
		break;
	}
}

static void good(unsigned number, uint16_t nwait)
{
	switch (number) {
#define OP(number, NAME, name, tail, slotted)                                                     \
	case number: {                                                                            \
		struct arax_op_##name *op = (void *)record;                                       \
		head(number, has_slot(number));                                                   \
		ARAX_FIELDS_##NAME(GOOD_U32, GOOD_U64, GOOD_OBJ, GOOD_OBJ0, GOOD_RANGE)(void) op; \
		break;                                                                            \
	}
		ARAX_OPS(OP)
#undef OP
	}
	good_extra(nwait);
}

/* Sets one thing, expects the outcome, restores it. */
#define TRY(lvalue, value, ok)                             \
	do {                                               \
		__typeof__(lvalue) saved = lvalue;         \
		lvalue = value;                            \
		CHECK((check() == 0) == (ok));             \
		CHECK(check() == 0 || check() == -EPROTO); \
		lvalue = saved;                            \
		CHECK(check() == 0);                       \
	} while (0)

static void try_u32(uint32_t *field, uint32_t min, uint32_t max)
{
	if (min > 0)
		TRY(*field, min - 1, false);
	if (max < UINT32_MAX)
		TRY(*field, max + 1, false);
	if (max < UINT32_MAX)
		TRY(*field, UINT32_MAX, false);
}

static void try_u64(uint64_t *field, uint64_t max)
{
	if (max < UINT64_MAX)
		TRY(*field, max + 1, false);
	if (max < UINT64_MAX)
		TRY(*field, UINT64_MAX, false);
}

static void try_obj(uint32_t *field, uint32_t kind)
{
	TRY(*field, 0, false);
	TRY(*field, ARAX_HANDLE(kind, 0), false);
	TRY(*field, ARAX_HANDLE(kind, 1), true);
	TRY(*field, ARAX_HANDLE(kind, ARAX_HANDLE_MAX_INDEX - 1), true);
	TRY(*field, ARAX_HANDLE(kind, ARAX_HANDLE_MAX_INDEX), false);
	TRY(*field, ARAX_HANDLE(kind + 1, 7), false);
	TRY(*field, UINT32_MAX, false);
}

static void try_range(uint64_t *off, uint64_t *len)
{
	TRY(*off, HEAP_OFF, true);
	TRY(*off, HEAP_OFF - 1, false);
	TRY(*off, 0, false);
	TRY(*off, HEAP_END, false);
	TRY(*off, HEAP_END - *len, true);
	TRY(*off, HEAP_END - *len + 1, false);
	TRY(*off, UINT64_MAX, false);
	TRY(*off, UINT64_MAX - *len + 1, false);
	TRY(*len, HEAP_END - *off, true);
	TRY(*len, HEAP_END - *off + 1, false);
	TRY(*len, UINT64_MAX, false);
	TRY(*len, UINT64_MAX - *off + 1, false);
}

#define BAD_U32(name, min, max) try_u32(&op->name, min, max);
#define BAD_U64(name, max) try_u64(&op->name, max);
#define BAD_OBJ(name, KIND) try_obj(&op->name, ARAX_HANDLE_##KIND);
#define BAD_OBJ0(name, KIND)
#define BAD_RANGE(name) try_range(&op->name##_off, &op->name##_len);

static void test_fields(unsigned number)
{
	switch (number) {
#define OP(number, NAME, name, tail, slotted)                                                \
	case number: {                                                                       \
		struct arax_op_##name *op = (void *)record;                                  \
		ARAX_FIELDS_##NAME(BAD_U32, BAD_U64, BAD_OBJ, BAD_OBJ0, BAD_RANGE)(void) op; \
		CHECK(!strcmp(arax_op_name(number), #name));                                 \
		CHECK(arax_record_fixed_size(number) == sizeof(*op));                        \
		CHECK(sizeof(*op) % 8 == 0);                                                 \
		break;                                                                       \
	}
		ARAX_OPS(OP)
#undef OP
	}
}

static void test_head(unsigned number)
{
	uint32_t *waits = (uint32_t *)arax_record_waits(record);

	TRY(record->queue, ARAX_HANDLE(ARAX_HANDLE_QUEUE, 9), true);
	TRY(record->queue, ARAX_HANDLE(ARAX_HANDLE_MEM, 9), false);
	TRY(record->queue, ARAX_HANDLE(ARAX_HANDLE_QUEUE, 0), false);
	TRY(record->flags, ARAX_RECORD_FAILED_WAIT, true);
	TRY(record->flags, 2, false);
	TRY(record->slot, ARAX_SLOTS, false);
	TRY(record->slot, ARAX_NO_SLOT, !has_slot(number));
	TRY(record->slot, 0, has_slot(number));
	TRY(record->slot, ARAX_SLOTS - 1, has_slot(number));
	TRY(record->size, record->size - 8, false);
	TRY(record->size, record->size + 8, false);
	TRY(record->size, 0, false);
	TRY(record->op, 0, false);
	TRY(record->op, ARAX_OP_COUNT, false);
	TRY(record->nwait, 0xFFFF, false);
	TRY(record->tail_size, UINT32_MAX, false);
	TRY(record->tail_size, UINT32_MAX - 7, false);
	if (record->nwait) {
		TRY(waits[0], ARAX_SLOTS, false);
		TRY(waits[record->nwait - 1], UINT32_MAX, false);
		TRY(waits[record->nwait - 1], ARAX_SLOTS - 1, true);
	}
	CHECK(arax_record_check(record, record->size - 1, HEAP_OFF, HEAP_END) == -EPROTO);
	CHECK(arax_record_check(record, 8, HEAP_OFF, HEAP_END) == -EPROTO);
}

static void test_waits(void)
{
	good(ARAX_OP_MARKER, ARAX_WAIT_MAX);
	CHECK(check() == 0);
	resize(ARAX_WAIT_MAX + 1, 0);
	CHECK(check() == -EPROTO);
}

static void test_boxes(void)
{
	struct arax_op_copy *copy = (void *)record;
	struct arax_op_fill *fill = (void *)record;

	good(ARAX_OP_COPY, 2);
	TRY(copy->width, 0, false);
	TRY(copy->height, 0, false);
	TRY(copy->depth, 0, false);
	/* 2048 + 3 * 256 + 64 */
	TRY(copy->dst_len, 2880, true);
	TRY(copy->dst_len, 2879, false);
	/* 1024 + 3 * 128 + 64 */
	TRY(copy->src_len, 1472, true);
	TRY(copy->src_len, 1471, false);
	TRY(copy->width, UINT64_MAX, false);
	TRY(copy->height, UINT32_MAX, false);
	TRY(copy->depth, UINT32_MAX, false);
	TRY(copy->src_row_pitch, UINT64_MAX / 3 + 1, false);
	TRY(copy->src_slice_pitch, UINT64_MAX, false);
	TRY(copy->src_row_pitch, 64, true);
	TRY(copy->src_row_pitch, 63, false);
	TRY(copy->dst_row_pitch, 0, false);
	/* 3 * 128 + 64 */
	TRY(copy->src_slice_pitch, 448, true);
	TRY(copy->src_slice_pitch, 447, false);
	TRY(copy->dst_row_pitch, UINT64_MAX / 3 + 1, false);
	TRY(copy->dst_slice_pitch, UINT64_MAX - 100, false);
	good(ARAX_OP_FILL, 2);
	TRY(fill->width, 63, false);
	TRY(fill->width, 0, false);
	TRY(fill->dst_len, 1472, true);
	TRY(fill->dst_len, 1471, false);
	resize(2, 0);
	CHECK(check() == -EPROTO);
	fill->width = 128;
	resize(2, 128);
	CHECK(check() == 0);
	fill->width = 129;
	resize(2, 129);
	CHECK(check() == -EPROTO);
}

static void test_launch(void)
{
	struct arax_op_launch *op = (void *)record;
	struct arax_arg *arg[5];
	char *tail;

	good(ARAX_OP_LAUNCH, 3);
	tail = (char *)arax_record_tail(record);
	for (int i = 0; i < 5; i++)
		arg[i] = (void *)(tail + i * 16 + (i > 0 ? 16 : 0) + (i > 3 ? 8 : 0));
	TRY(arg[0]->size, 16, true);
	TRY(arg[0]->size, 17, false);
	TRY(arg[0]->size, UINT64_MAX, false);
	TRY(arg[0]->size, UINT64_MAX - 7, false);
	TRY(arg[0]->kind, 5, false);
	TRY(arg[1]->size, UINT64_MAX, false);
	TRY(arg[2]->object, 0, true);
	TRY(arg[2]->object, ARAX_HANDLE(ARAX_HANDLE_KERNEL, 3), false);
	TRY(arg[3]->size, 4, false);
	TRY(arg[4]->object, 0, false);
	TRY(arg[4]->object, ARAX_HANDLE(ARAX_HANDLE_MEM, 3), false);
	TRY(op->nargs, 4, false);
	TRY(op->nargs, 6, false);
	op->work_dim = 2;
	op->local0 = 8;
	CHECK(check() == -EPROTO);
	op->local1 = 1;
	CHECK(check() == 0);
	op->nargs = 0;
	resize(3, 0);
	CHECK(check() == 0);
}

static void test_name(void)
{
	good(ARAX_OP_KERNEL_DEFINE, 0);
	((char *)arax_record_tail(record))[1] = 0;
	CHECK(check() == -EPROTO);
	resize(0, 0);
	CHECK(check() == -EPROTO);
}

/* In memory of exactly the record's size, so that the sanitizer sees every byte too far. */
static void test_mutations(void)
{
	uint64_t state = 1;
	unsigned passed = 0;

	for (int i = 0; i < 200000; i++) {
		unsigned number = 1 + (unsigned)(test_random(&state) % (ARAX_OP_COUNT - 1));
		size_t size;
		struct arax_record *copy;

		good(number, (uint16_t)(test_random(&state) % 8));
		size = record->size;
		copy = malloc(size);
		CHECK(copy);
		memcpy(copy, record, size);
		for (unsigned n = test_random(&state) % 4 + 1; n; n--) {
			uint64_t what = test_random(&state);
			size_t at = test_random(&state) % (what & 1 ? size : sizeof(*copy));

			((unsigned char *)copy)[at] =
			    what & 2 ? (unsigned char)(what >> 8) : (what & 4 ? 0xFF : 0);
		}
		passed += arax_record_check(copy, size, HEAP_OFF, HEAP_END) == 0;
		free(copy);
	}
	/* Some mutations hit padding or stay in bounds; most must not pass. */
	CHECK(passed > 0 && passed < 150000);
}

int main(void)
{
	for (unsigned number = 1; number < ARAX_OP_COUNT; number++)
		for (uint16_t nwait = 0; nwait < 4; nwait++) {
			good(number, nwait);
			CHECK(check() == 0);
			test_fields(number);
			test_head(number);
		}
	CHECK(!strcmp(arax_op_name(0), "?") && !strcmp(arax_op_name(ARAX_OP_COUNT), "?"));
	CHECK(!arax_record_fixed_size(0) && !arax_record_fixed_size(ARAX_OP_COUNT));
	test_waits();
	test_boxes();
	test_launch();
	test_name();
	test_mutations();
	return 0;
}
