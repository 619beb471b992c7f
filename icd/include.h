/* SPDX-License-Identifier: Apache-2.0
 *
 * The files that a program's source may #include. They travel with the build request, because
 * neither araxd nor the compiler ever opens a file of the client's.
 */
#ifndef ARAX_ICD_INCLUDE_H
#define ARAX_ICD_INCLUDE_H

#include "icd/options.h"

#include <stddef.h>

#define INCLUDE_FILES_MAX 4096
#define INCLUDE_BYTES_MAX (64u << 20)

struct include_file {
	char *path; /* absolute and normal */
	char *data; /* with a zero behind it */
	size_t size;
};
struct include_list {
	struct include_file *files; /* in the order in which they were found */
	size_t count;
};

/* What to look through. */
struct include_query {
	const char *const *texts; /* the source, and embedded headers */
	size_t ntexts;
	const char *const *embedded; /* names of embedded headers: not looked for */
	size_t nembedded;
	const struct options *options;
	const char *cwd; /* searched first, as PoCL does; "" when unknown */
};

/**
 * include_gather() - read every file that the texts may include, directly or not
 *
 * Conditional compilation is not evaluated, and for every name all files that the search path has
 * are taken: too much does no harm, the compiler chooses. Missing files are its business, too.
 * What exceeds the limits is left out.
 *
 * Return: 0 or -ENOMEM; free with include_free().
 */
int include_gather(const struct include_query *query, struct include_list *list);
void include_free(struct include_list *list);

#endif
