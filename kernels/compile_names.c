/* SPDX-License-Identifier: Apache-2.0
 *
 * Long names. The preprocessor renames them: a definition of the long name as the short one. What
 * the source makes of the name otherwise (a string, say) sees the short one, which is why only
 * names that PoCL could not link are treated.
 */
#include "kernels/compile_names.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/build.h"

static bool in_identifier(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

static int names_add(struct names *names, const char *name, size_t length)
{
	for (size_t i = 0; i < names->count; i++) {
		if (strlen(names->list[i]) == length && memcmp(names->list[i], name, length) == 0)
			return 0;
	}
	char **list = realloc(names->list, (names->count + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	names->list = list;
	list[names->count] = strndup(name, length);
	return list[names->count] ? (names->count++, 0) : -ENOMEM;
}

int names_scan(struct names *names, const char *text, size_t size)
{
	for (size_t at = 0; at < size;) {
		size_t start = at;

		while (at < size && in_identifier(text[at]))
			at++;
		if (at - start > ARAX_KERNEL_NAME_LONG && !isdigit((unsigned char)text[start])) {
			int error = names_add(names, text + start, at - start);
			if (error)
				return error;
		}
		at += at == start;
	}
	return 0;
}

int names_options(const struct names *names, const char *before, char **options)
{
	char name[ARAX_KERNEL_NAME_SHORT];
	size_t size = 0;
	FILE *out = open_memstream(options, &size);

	if (!out)
		return -ENOMEM;
	fputs(before ? before : "", out);
	for (size_t i = 0; i < names->count; i++)
		fprintf(out, " -D%s=%s", names->list[i],
			arax_kernel_short_name(names->list[i], name));
	return fclose(out) ? -ENOMEM : 0;
}

const char *names_long(const struct names *names, const char *name)
{
	char candidate[ARAX_KERNEL_NAME_SHORT];

	for (size_t i = 0; i < names->count; i++) {
		if (strcmp(arax_kernel_short_name(names->list[i], candidate), name) == 0)
			return names->list[i];
	}
	return name;
}
