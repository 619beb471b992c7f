/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a shared library really is. PoCL finds its headers relative to where it was loaded from
 * ("/../../share/pocl"). When that path holds a symbolic link (/lib -> /usr/lib), clang with an
 * overlay takes the dots literally and ends elsewhere; so such a library is loaded by its real
 * path.
 */
#ifndef ARAX_KERNELS_LIBRARY_H
#define ARAX_KERNELS_LIBRARY_H

#include <limits.h>

/**
 * library_path() - where the dynamic linker would find a library, without symbolic links
 * @name: soname; a path is only freed of its links
 * Return: 0 or -errno.
 */
int library_path(const char *name, char path[PATH_MAX]);

#endif
