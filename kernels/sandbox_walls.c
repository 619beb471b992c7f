/* SPDX-License-Identifier: Apache-2.0
 *
 * The names of the walls of a sandbox, see sandbox_walls.h.
 */
#include "kernels/sandbox_walls.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	unsigned wall;
} walls_named[] = {
    {"seccomp", SANDBOX_SECCOMP},   {"landlock", SANDBOX_LANDLOCK}, {"mount", SANDBOX_MOUNT},
    {"pid", SANDBOX_PID},	    {"net", SANDBOX_NET},	    {"ipc", SANDBOX_IPC},
    {"identity", SANDBOX_IDENTITY}, {"all", SANDBOX_ALL},	    {"none", 0},
};

#define NAMED (sizeof(walls_named) / sizeof(walls_named[0]))

bool sandbox_parse(const char *list, unsigned *walls)
{
	bool any = false;

	*walls = 0;
	while (*list) {
		size_t length, i = 0;

		while (*list == ',' || isspace((unsigned char)*list))
			list++;
		length = strcspn(list, ", \t");
		if (!length)
			break;
		while (i < NAMED && (strlen(walls_named[i].name) != length ||
				     memcmp(walls_named[i].name, list, length) != 0))
			i++;
		if (i == NAMED)
			return false;
		*walls |= walls_named[i].wall;
		any = true;
		list += length;
	}
	return any;
}

void sandbox_format(unsigned walls, char *text, size_t size)
{
	size_t used = 0;

	snprintf(text, size, "none");
	for (size_t i = 0; i < NAMED && used < size; i++) {
		unsigned wall = walls_named[i].wall;

		if (wall && wall != SANDBOX_ALL && (walls & wall))
			used += (size_t)snprintf(text + used, size - used, "%s%s", used ? " " : "",
						 walls_named[i].name);
	}
}
