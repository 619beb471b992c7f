/* SPDX-License-Identifier: Apache-2.0
 *
 * What is known of the outside of PoCL's binaries, on one that is made here.
 */
#include "kernels/compile_binary.h"
#include "transport/testing.h"

#include <string.h>

#define MODULE_SIZE 1000
#define KERNELS "the kernels"

static unsigned char binary[4096];

static size_t put(size_t at, const void *data, size_t size)
{
	memcpy(binary + at, data, size);
	return at + size;
}

static size_t make(const char *path)
{
	const uint64_t id = 0x1234, flags = 0;
	const uint32_t version = 9, one = 1, module = MODULE_SIZE;
	const uint32_t length = (uint32_t)strlen(path);
	const uint64_t entry = 4 + length + 4 + module;
	size_t at = put(0, "poclbin", 8);

	at = put(at, &id, 8);
	at = put(at, &version, 4);
	at = put(at, &one, 4);
	at = put(at, &flags, 8);
	at = put(at, &one, 4);
	at = put(at, "LGOJGBAENOKAJLCFLLNBCEKOFHGENJDDGEHNDPPQ", 41);
	at = put(at, &entry, 8);
	at = put(at, &length, 4);
	at = put(at, path, length);
	at = put(at, &module, 4);
	memset(binary + at, 'B', module);
	return put(at + module, KERNELS, sizeof(KERNELS));
}

int main(void)
{
	unsigned char before[sizeof(binary)];
	uint64_t id = 0;
	size_t size = make("/program.bc");

	CHECK(!binary_id(binary, size, &id) && id == 0x1234);
	CHECK(binary_id(binary, 20, &id) < 0);
	CHECK(binary_strip(binary, size) == size - MODULE_SIZE);
	CHECK(!memcmp(binary + size - MODULE_SIZE - sizeof(KERNELS), KERNELS, sizeof(KERNELS)));
	CHECK(!binary_id(binary, size, &id) && id == 0x1234);
	/* Once is enough. */
	memcpy(before, binary, sizeof(before));
	CHECK(binary_strip(binary, size - MODULE_SIZE) == size - MODULE_SIZE);
	CHECK(!memcmp(before, binary, sizeof(before)));

	/* Another shape, and every truncation: unchanged. */
	size = make("/other.bc");
	memcpy(before, binary, sizeof(before));
	CHECK(binary_strip(binary, size) == size);
	size = make("/program.bc");
	memcpy(before, binary, sizeof(before));
	for (size_t n = 0; n < size - sizeof(KERNELS); n++)
		CHECK(binary_strip(binary, n) == n);
	CHECK(!memcmp(before, binary, sizeof(before)));
	binary[0] = 'P';
	CHECK(binary_id(binary, size, &id) < 0 && binary_strip(binary, size) == size);
	return 0;
}
