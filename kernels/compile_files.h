/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's files as the compiler sees them: at the client's absolute paths, without being
 * there.
 */
#ifndef ARAX_KERNELS_COMPILE_FILES_H
#define ARAX_KERNELS_COMPILE_FILES_H

#include <stddef.h>

struct files; /* what is laid out; lives in one directory */

/**
 * files_new() - nothing laid out yet
 * @directory: an absolute path where nothing has been laid out before; NULL: the current one
 * Return: NULL with errno.
 */
struct files *files_new(const char *directory);
void files_free(struct files *files);

/**
 * files_add() - one file of the client
 * @path: absolute, without "." or ".." components
 * Return: 0, -EINVAL for a path that is not like that, or another -errno.
 */
int files_add(struct files *files, const char *path, const void *data, size_t size);

/**
 * files_options() - finish, and say what must come first in the options for PoCL to see the files
 * @cwd: the client's directory, which natively is searched first; "" when unknown
 * @options: to be freed; "" when there are no files
 */
int files_options(struct files *files, const char *cwd, char **options);

/** files_options_clang() - the same for a library that gives its options to clang as they are. */
int files_options_clang(struct files *files, const char *cwd, char **options);

/** files_name_good() - is this a relative or absolute path with no ".." in it? */
int files_name_good(const char *name);

#endif
