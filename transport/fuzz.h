/* SPDX-License-Identifier: Apache-2.0
 *
 * What a fuzz target (fuzz_*.c) is: libFuzzer's entry points, and what fuzz_replay.c, which stands
 * in for libFuzzer where there is no clang, uses beside them.
 */
#ifndef ARAX_TRANSPORT_FUZZ_H
#define ARAX_TRANSPORT_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "transport/testing.h"

/** LLVMFuzzerTestOneInput() - one execution. Ends the process when something is wrong. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** LLVMFuzzerCustomMutator() - change an input in place. Return: its size now. Optional. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);

/** LLVMFuzzerMutate() - libFuzzer's own mutations, for custom mutators. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

/**
 * fuzz_seed() - the n-th input of the corpus, made from the grammar. Optional.
 * @name: 32 bytes, of the file
 * Return: its size in bytes, 0 when there are no more.
 */
size_t fuzz_seed(unsigned n, uint8_t *data, size_t max, char *name);

/** fuzz_reached() - after the corpus was replayed: did it reach what it should? Optional. */
void fuzz_reached(void);

#endif
