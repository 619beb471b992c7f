/* SPDX-License-Identifier: Apache-2.0
 *
 * The cache of build results: one directory per trust domain, kept by araxd alone, keyed by the
 * content of the request. An entry is native code for whoever loads it, so the key is computed
 * here from the request and never comes from a client or a compiler.
 *
 * Threads: none; araxd's loop.
 */
#ifndef ARAX_KERNELS_CACHE_H
#define ARAX_KERNELS_CACHE_H

#include <stddef.h>
#include <stdint.h>

struct arax_cache;

#define ARAX_CACHE_KEY_SIZE 65 /* hexadecimal digits and the end */

/** arax_cache_key() - the key of a request for a compiler of this version. */
void arax_cache_key(const char *compiler, const void *request, size_t size,
		    char key[ARAX_CACHE_KEY_SIZE]);

/**
 * arax_cache_open() - use a directory, which is made (0700) when it is not there
 * @limit: bytes on disk; beyond it the longest unused entries go
 *
 * Fails with -EPERM when the directory belongs to another user or others may write to it.
 *
 * Return: 0 or -errno.
 */
int arax_cache_open(const char *directory, uint64_t limit, struct arax_cache **cache);
void arax_cache_close(struct arax_cache *cache);

/**
 * arax_cache_get() - look a result up
 * A damaged entry is removed and is not there.
 * Return: a new descriptor of a memfd sealed against every change, -ENOENT, another -errno.
 */
int arax_cache_get(struct arax_cache *cache, const char *key);

/** arax_cache_put() - keep a result, given as a sealed memfd. Return: 0 or -errno. */
int arax_cache_put(struct arax_cache *cache, const char *key, int fd);

/** arax_cache_size() - bytes of entries on disk. */
uint64_t arax_cache_size(const struct arax_cache *cache);

#endif
