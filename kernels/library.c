/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a shared library really is, see library.h.
 */
#include "kernels/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The directory is freed of its links, the name in it stays: its end is a version. */
static int library_in(const char *directory, const char *name, char path[PATH_MAX])
{
	char real[PATH_MAX];

	if (!realpath(directory, real))
		return -errno;
	int length = snprintf(path, PATH_MAX, "%s/%s", real, name);
	if (length < 0 || length >= PATH_MAX)
		return -ENAMETOOLONG;
	return access(path, R_OK) < 0 ? -errno : 0;
}

static int library_search(const char *name, char path[PATH_MAX])
{
	Dl_serinfo count;
	int error = -ENOENT;
	void *self = dlopen(NULL, RTLD_NOW);

	if (!self || dlinfo(self, RTLD_DI_SERINFOSIZE, &count) < 0)
		return -ENOENT;
	Dl_serinfo *search = calloc(1, count.dls_size);
	if (!search)
		return -ENOMEM;
	if (dlinfo(self, RTLD_DI_SERINFOSIZE, search) == 0 &&
	    dlinfo(self, RTLD_DI_SERINFO, search) == 0) {
		for (unsigned i = 0; i < search->dls_cnt && error; i++)
			error = library_in(search->dls_serpath[i].dls_name, name, path);
	}
	free(search);
	return error;
}

int library_path(const char *name, char path[PATH_MAX])
{
	char directory[PATH_MAX];
	const char *slash = strrchr(name, '/');

	if (!slash)
		return library_search(name, path);
	int length = snprintf(directory, sizeof(directory), "%.*s/", (int)(slash - name), name);
	if (length < 0 || (size_t)length >= sizeof(directory))
		return -ENAMETOOLONG;
	return library_in(directory, slash + 1, path);
}
