/* SPDX-License-Identifier: Apache-2.0
 *
 * Removing a private directory with what is in it; used for the compiler's scratch space.
 */
#ifndef ARAX_KERNELS_TREE_H
#define ARAX_KERNELS_TREE_H

/**
 * arax_tree_remove() - remove a directory and all below it; symbolic links are not followed
 * Return: 0 (also when it does not exist) or -errno of the first thing that could not be removed.
 */
int arax_tree_remove(const char *path);

#endif
