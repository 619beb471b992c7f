/* SPDX-License-Identifier: Apache-2.0
 *
 * What makes good and spoilt records of the rows of a table (protocol.def, device.def): for the
 * fuzz targets that have one. Numbers are small where objects and slots are meant, so that records
 * of one input mean the same ones; bounds are met more often than what lies between them.
 */
#ifndef ARAX_TRANSPORT_FUZZ_ROWS_H
#define ARAX_TRANSPORT_FUZZ_ROWS_H

#include "transport/fuzz_records.h"

#define OBJECTS 6
#define SLOTS 16
#define WAITS 4

static inline uint64_t below(uint64_t *random, uint64_t n)
{
	return test_random(random) % n;
}

static inline uint64_t pick(uint64_t *random, uint64_t min, uint64_t max)
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

static inline uint32_t handle(uint64_t *random, uint32_t kind)
{
	return ARAX_HANDLE(kind, 1 + (uint32_t)below(random, OBJECTS));
}

static inline void range(uint64_t *random, uint64_t *off, uint64_t *len)
{
	*len = pick(random, 1, 16) * 4096;
	*off = FUZZ_HEAP_OFF + pick(random, 0, (FUZZ_HEAP_END - FUZZ_HEAP_OFF - *len) / 256) * 256;
}

#define MAKE_U32(name, min, max) op->name = (uint32_t)pick(random, min, max);
#define MAKE_U64(name, max) op->name = pick(random, 0, max);
#define MAKE_OBJ(name, KIND) op->name = handle(random, ARAX_HANDLE_##KIND);
#define MAKE_OBJ0(name, KIND) op->name = below(random, 3) ? handle(random, ARAX_HANDLE_##KIND) : 0;
#define MAKE_RANGE(name) range(random, &op->name##_off, &op->name##_len);
#define ROW_MAKE(number, NAME, name, tail, slotted)                                      \
	static void make_##name(struct arax_op_##name *op, uint64_t *random)             \
	{                                                                                \
		op->head.op = number;                                                    \
		op->head.slot = slotted ? (uint32_t)below(random, SLOTS) : ARAX_NO_SLOT; \
		ARAX_FIELDS_##NAME(MAKE_U32, MAKE_U64, MAKE_OBJ, MAKE_OBJ0, MAKE_RANGE)  \
	}
#define ROW_MAKE_CASE(number, NAME, name, tail, slotted) \
	case number:                                     \
		make_##name((void *)record, random);     \
		break;

static inline uint64_t wrong(uint64_t *random, uint64_t min, uint64_t max)
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
#define ROW_WRONG(number, NAME, name, tail, slotted)                                              \
	static void wrong_##name(struct arax_op_##name *op, uint64_t *random)                     \
	{                                                                                         \
		uint64_t which =                                                                  \
		    below(random, 0 ARAX_FIELDS_##NAME(COUNT, COUNT, COUNT, COUNT, COUNT));       \
		ARAX_FIELDS_##NAME(WRONG_U32, WRONG_U64, WRONG_OBJ, WRONG_OBJ, WRONG_RANGE)(void) \
		    which;                                                                        \
	}
#define ROW_WRONG_CASE(number, NAME, name, tail, slotted) \
	case number:                                      \
		wrong_##name((void *)record, random);     \
		break;

#endif
