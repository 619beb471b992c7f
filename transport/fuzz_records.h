/* SPDX-License-Identifier: Apache-2.0
 *
 * The grammar of the submission ring, made from protocol.def: good records of every row, and
 * mutations that know where records and their fields are. A row more needs nothing here.
 */
#ifndef ARAX_TRANSPORT_FUZZ_RECORDS_H
#define ARAX_TRANSPORT_FUZZ_RECORDS_H

#include "transport/fuzz.h"
#include "transport/protocol.h"
#include "transport/shm.h"

#define FUZZ_HEAP_OFF ((uint64_t)ARAX_HEAP_OFFSET)
#define FUZZ_HEAP_END (FUZZ_HEAP_OFF + (1u << 20))

/**
 * fuzz_record_make() - a record that arax_record_check() accepts
 * @record: FUZZ_RECORD_MAX bytes, aligned to 8
 */
#define FUZZ_RECORD_MAX 2048
void fuzz_record_make(unsigned op, struct arax_record *record, uint64_t *random);

/** fuzz_record_break() - move one of its fields out of its bounds. */
void fuzz_record_break(struct arax_record *record, uint64_t *random);

/* A table's rows: by number, from 1 on. */
struct fuzz_rows {
	unsigned count; /* one more than the last */
	void (*make)(unsigned number, struct arax_record *record, uint64_t *random);
	void (*spoil)(struct arax_record *record, uint64_t *random);
	size_t (*fixed_size)(unsigned number);
};

/** fuzz_rows_mutate() - change a row of such records. Return: their size in bytes now. */
size_t fuzz_rows_mutate(const struct fuzz_rows *rows, uint8_t *data, size_t size, size_t max,
			uint64_t *random);

/** fuzz_records_mutate() - change a row of records. Return: their size in bytes now. */
size_t fuzz_records_mutate(uint8_t *data, size_t size, size_t max, uint64_t *random);

#endif
