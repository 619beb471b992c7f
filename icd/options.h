/* SPDX-License-Identifier: Apache-2.0
 *
 * What the client itself must understand of build options: -I and -D. Everything else is the
 * compiler's to judge (kernels/compile_options.c) and travels as the application wrote it.
 */
#ifndef ARAX_ICD_OPTIONS_H
#define ARAX_ICD_OPTIONS_H

#include <stddef.h>

struct option {
	char kind;	      /* 'I' or 'D' */
	char *value;	      /* without quotes and escapes */
	size_t start, length; /* where option and value stand in the string */
};
struct options {
	struct option *list;
	size_t count;
};

/** options_parse() - find all -I and -D. Return: 0 or -ENOMEM; free with options_free(). */
int options_parse(const char *string, struct options *options);
void options_free(struct options *options);

/**
 * options_absolute() - the same string with the directories of -I made absolute
 * @cwd: what they are relative to; NULL or "": they stay as they are
 * Return: malloc-ed, NULL without memory.
 */
char *options_absolute(const char *string, const struct options *options, const char *cwd);

/** path_join() - path as seen from directory; an absolute path stays. malloc-ed. */
char *path_join(const char *directory, const char *path);

/** path_normalize() - remove empty, "." and ".." components of an absolute path, in place, by
 *  their text alone, as clang's overlay file system does. */
void path_normalize(char *path);

#endif
