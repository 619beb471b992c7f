/* SPDX-License-Identifier: Apache-2.0
 *
 * Removing a private directory. Used by arax-compile after each program and by araxd for what a
 * compiler that was killed has left.
 */
#include "kernels/tree.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

static int tree_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path) < 0 && errno != ENOENT ? -errno : 0;
}

int arax_tree_remove(const char *path)
{
	int error = nftw(path, tree_remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);

	if (error == -1)
		return errno == ENOENT ? 0 : -errno;
	return error;
}
