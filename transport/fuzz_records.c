/* SPDX-License-Identifier: Apache-2.0
 *
 * See fuzz_records.h. Numbers are small where objects and slots are meant, so that records of one
 * input mean the same ones; bounds are met more often than what lies between them.
 */
#include "transport/fuzz_records.h"

#include <string.h>

#define OBJECTS 6
#define SLOTS 16
#define WAITS 4

static uint64_t below(uint64_t *random, uint64_t n)
{
	return test_random(random) % n;
}

static uint64_t pick(uint64_t *random, uint64_t min, uint64_t max)
{
	uint64_t number = test_random(random);

	switch (below(random, 4)) {
	case 0:
		return min;
	case 1:
		return max;
	case 2:
		return max - min < 64 ? min : min + number % 64;
	default:
		return max - min == UINT64_MAX ? number : min + number % (max - min + 1);
	}
}

static uint32_t handle(uint64_t *random, uint32_t kind)
{
	return ARAX_HANDLE(kind, 1 + (uint32_t)below(random, OBJECTS));
}

static void range(uint64_t *random, uint64_t *off, uint64_t *len)
{
	*len = pick(random, 1, 16) * 4096;
	*off = FUZZ_HEAP_OFF + pick(random, 0, (FUZZ_HEAP_END - FUZZ_HEAP_OFF - *len) / 256) * 256;
}

#define MAKE_U32(name, min, max) op->name = (uint32_t)pick(random, min, max);
#define MAKE_U64(name, max) op->name = pick(random, 0, max);
#define MAKE_OBJ(name, KIND) op->name = handle(random, ARAX_HANDLE_##KIND);
#define MAKE_OBJ0(name, KIND) op->name = below(random, 3) ? handle(random, ARAX_HANDLE_##KIND) : 0;
#define MAKE_RANGE(name) range(random, &op->name##_off, &op->name##_len);
#define OP(number, NAME, name, tail, slotted)                                            \
	static void make_##name(struct arax_op_##name *op, uint64_t *random)             \
	{                                                                                \
		op->head.op = number;                                                    \
		op->head.slot = slotted ? (uint32_t)below(random, SLOTS) : ARAX_NO_SLOT; \
		ARAX_FIELDS_##NAME(MAKE_U32, MAKE_U64, MAKE_OBJ, MAKE_OBJ0, MAKE_RANGE)  \
	}
ARAX_OPS(OP)
#undef OP

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
#define OP(number, NAME, name, tail, slotted)        \
	case number:                                 \
		make_##name((void *)record, random); \
		break;
		ARAX_OPS(OP)
#undef OP
	}
	record->queue = below(random, 3) ? handle(random, ARAX_HANDLE_QUEUE) : 0;
	record->flags = below(random, 8) ? 0 : ARAX_RECORD_FAILED_WAIT;
	resize(record, below(random, 2) ? 0 : below(random, WAITS + 1), 0);
	for (unsigned i = 0; i < record->nwait; i++)
		((uint32_t *)arax_record_waits(record))[i] = (uint32_t)below(random, SLOTS);
	make_rest(record, random);
}

static uint64_t wrong(uint64_t *random, uint64_t min, uint64_t max)
{
	static const uint64_t special[] = {0, UINT64_MAX, 1ull << 63, 1ull << 32, UINT32_MAX};

	switch (below(random, 3)) {
	case 0:
		return max + 1;
	case 1:
		return min - 1;
	default:
		return special[below(random, sizeof(special) / sizeof(special[0]))];
	}
}

#define COUNT(...) +1
#define WRONG(name, ...)  \
	if (which-- == 0) \
		op->name = (__typeof__(op->name))wrong(random, __VA_ARGS__);
#define WRONG_U32(name, min, max) WRONG(name, min, max)
#define WRONG_U64(name, max) WRONG(name, 0, max)
#define WRONG_OBJ(name, KIND)                           \
	WRONG(name, ARAX_HANDLE(ARAX_HANDLE_##KIND, 1), \
	      ARAX_HANDLE(ARAX_HANDLE_##KIND, ARAX_HANDLE_MAX_INDEX - 1))
#define WRONG_RANGE(name)                                                                  \
	if (which-- == 0) {                                                                \
		if (below(random, 2))                                                      \
			op->name##_off = wrong(random, FUZZ_HEAP_OFF, FUZZ_HEAP_END);      \
		else                                                                       \
			op->name##_len = wrong(random, 1, FUZZ_HEAP_END - op->name##_off); \
	}
#define OP(number, NAME, name, tail, slotted)                                                     \
	static void wrong_##name(struct arax_op_##name *op, uint64_t *random)                     \
	{                                                                                         \
		uint64_t which =                                                                  \
		    below(random, 0 ARAX_FIELDS_##NAME(COUNT, COUNT, COUNT, COUNT, COUNT));       \
		ARAX_FIELDS_##NAME(WRONG_U32, WRONG_U64, WRONG_OBJ, WRONG_OBJ, WRONG_RANGE)(void) \
		    which;                                                                        \
	}
ARAX_OPS(OP)
#undef OP

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
#define OP(number, NAME, name, tail, slotted)         \
	case number:                                  \
		wrong_##name((void *)record, random); \
		break;
		ARAX_OPS(OP)
#undef OP
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

size_t fuzz_records_mutate(uint8_t *data, size_t size, size_t max, uint64_t *random)
{
	_Alignas(8) uint8_t bytes[FUZZ_RECORD_MAX];
	struct arax_record *record = (void *)bytes;
	size_t length, at = record_at(data, size, below(random, 8), &length);

	switch (below(random, 6)) {
	case 0: /* one more */
		fuzz_record_make(1 + (unsigned)below(random, ARAX_OP_COUNT - 1), record, random);
		return replace(data, size, max, at, 0, bytes, record->size);
	case 1: /* another one */
		fuzz_record_make(1 + (unsigned)below(random, ARAX_OP_COUNT - 1), record, random);
		return replace(data, size, max, at, length, bytes, record->size);
	case 2: /* the same with a fault */
		if (!length || length > sizeof(bytes))
			break;
		memcpy(bytes, data + at, length);
		if (arax_record_fixed_size(record->op) > length)
			break;
		fuzz_record_break(record, random);
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
