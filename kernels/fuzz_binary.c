/* SPDX-License-Identifier: Apache-2.0
 *
 * The outside of a binary that an application brings or PoCL has written. It never grows, its
 * header stays, and what was taken out once is not taken out again.
 *
 * Input: the binary.
 */
#include "kernels/compile_binary.h"

#include <string.h>

#include "transport/fuzz.h"

static unsigned long stripped;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *binary = malloc(size ? size : 1);
	uint64_t before = 1, after = 2;
	size_t left;
	int err;

	CHECK(binary);
	memcpy(binary, data, size);
	err = binary_id(binary, size, &before);
	left = binary_strip(binary, size);
	CHECK(left <= size);
	if (left == size)
		CHECK(!memcmp(binary, data, size));
	else
		CHECK(!err && !binary_id(binary, left, &after) && before == after);
	stripped += left < size;
	CHECK(binary_strip(binary, left) == left);
	free(binary);
	return 0;
}

static size_t put(uint8_t *data, size_t at, const void *bytes, size_t size)
{
	memcpy(data + at, bytes, size);
	return at + size;
}

size_t fuzz_seed(unsigned n, uint8_t *data, size_t max, char *name)
{
	const char *path = n == 1 ? "/other.bc" : "/program.bc";
	const uint32_t length = (uint32_t)strlen(path), module = n == 2 ? 0 : 64,
		       roots = n == 3 ? 2 : 1;
	const uint64_t entry = 4 + length + 4 + module;
	size_t at = 0;

	(void)max;
	if (n > 3)
		return 0;
	snprintf(name, 32, "binary-%u", n);
	memset(data, 0, 512);
	at = put(data, at, "poclbin", 8);
	at = put(data, 32, &roots, 4);
	at = put(data, 77, &entry, 8);
	at = put(data, at, &length, 4);
	at = put(data, at, path, length);
	at = put(data, at, &module, 4);
	return put(data, at + module, "kernels", 8);
}

void fuzz_reached(void)
{
	CHECK(stripped);
}
