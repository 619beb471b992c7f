/* SPDX-License-Identifier: Apache-2.0
 *
 * The outside of PoCL's binaries, see compile_binary.h. A binary begins with magic (8), device id
 * (8), version (4), number of kernels (4), flags (8), number of root entries (4) and a hash (41);
 * then come the root entries, each a size (8) and a file as path and contents, both with their
 * length (4) before them; then the kernels with their shared objects.
 */
#include "kernels/compile_binary.h"

#include <errno.h>
#include <string.h>

#define MAGIC "poclbin"
#define ID_OFFSET 8
#define ROOTS_OFFSET 32
#define HEADER 77
#define MODULE "/program.bc"
#define NOTHING "/program.no" /* an entry must be there; PoCL never looks for this one */

static uint32_t get32(const unsigned char *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

int binary_id(const void *binary, size_t size, uint64_t *id)
{
	if (size < HEADER || memcmp(binary, MAGIC, sizeof(MAGIC)) != 0)
		return -EPROTO;
	memcpy(id, (const unsigned char *)binary + ID_OFFSET, sizeof(*id));
	return 0;
}

size_t binary_strip(void *binary, size_t size)
{
	const uint32_t path = sizeof(MODULE) - 1;
	const uint64_t empty = 4 + path + 4;
	unsigned char *entry = (unsigned char *)binary + HEADER;
	uint64_t length, id;

	if (binary_id(binary, size, &id) < 0 || size < HEADER + sizeof(length) + empty ||
	    get32((unsigned char *)binary + ROOTS_OFFSET) != 1)
		return size;
	memcpy(&length, entry, sizeof(length));
	entry += sizeof(length);
	size_t behind = size - HEADER - sizeof(length);
	if (length <= empty || length > behind || get32(entry) != path ||
	    memcmp(entry + 4, MODULE, path) != 0)
		return size;
	memcpy(entry - sizeof(length), &empty, sizeof(empty));
	memcpy(entry + 4, NOTHING, path);
	memset(entry + 4 + path, 0, 4);
	memmove(entry + empty, entry + length, behind - length);
	return size - (length - empty);
}
