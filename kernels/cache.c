/* SPDX-License-Identifier: Apache-2.0
 *
 * Build results on disk and, for those used last, in memory. A file is a header, the result and
 * nothing else; the header holds the result's size and SHA-256, and a file that does not agree
 * with it is not an entry. Files appear by rename, so a reader never sees half of one.
 */
#include "kernels/cache.h"

#include "transport/build.h"
#include "transport/control.h"
#include "transport/fault_point.h"
#include "transport/socket.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHE_MAGIC 0x43786172u /* "arxC" */
#define CACHE_VERSION 4u
#define CACHE_HOT 64
#define CACHE_HOT_BYTES (64u << 20)
#define CACHE_SUFFIX ".arxb"
#define CACHE_PATH 96

struct cache_header {
	uint32_t magic, version;
	uint64_t size;
	uint8_t digest[SHA256_DIGEST_LENGTH];
};

struct cache_hot {
	char key[ARAX_CACHE_KEY_SIZE];
	int fd; /* -1: free */
	uint64_t size, used;
};

struct arax_cache {
	int directory;
	uint64_t limit, size, clock, hot_size;
	struct cache_hot hot[CACHE_HOT];
};

struct cache_file {
	char path[CACHE_PATH];
	uint64_t size;
	struct timespec used;
};

void arax_cache_key(const char *compiler, const void *request, size_t size,
		    char key[ARAX_CACHE_KEY_SIZE])
{
	const uint32_t versions[] = {CACHE_VERSION, ARAX_BUILD_VERSION};
	SHA2_CTX context;

	SHA256Init(&context);
	SHA256Update(&context, (const uint8_t *)versions, sizeof(versions));
	/* With its end, so that no other division of the same bytes gives this key. */
	SHA256Update(&context, (const uint8_t *)compiler, strlen(compiler) + 1);
	SHA256Update(&context, request, size);
	SHA256End(&context, key);
}

static void cache_path(char path[CACHE_PATH], const char *key)
{
	snprintf(path, CACHE_PATH, "%.2s/%s" CACHE_SUFFIX, key, key);
}

static bool cache_key_good(const char *key)
{
	return strlen(key) == ARAX_CACHE_KEY_SIZE - 1 &&
	       strspn(key, "0123456789abcdef") == ARAX_CACHE_KEY_SIZE - 1;
}

/* mkdir -p, private. */
static int cache_make_directory(const char *directory)
{
	char *path = strdup(directory);
	int error = path ? 0 : -ENOMEM;

	for (char *end = path; !error && end;) {
		end = strchr(end + 1, '/');
		if (end)
			*end = '\0';
		if (*path && mkdir(path, 0700) < 0 && errno != EEXIST)
			error = -errno;
		if (end)
			*end = '/';
	}
	free(path);
	return error;
}

/* Calls visit for each entry. It may remove it. */
static void cache_visit(struct arax_cache *cache,
			void (*visit)(struct arax_cache *, const struct cache_file *, void *),
			void *arg)
{
	for (unsigned part = 0; part < 256; part++) {
		struct cache_file file;
		struct stat st;
		char name[4];

		snprintf(name, sizeof(name), "%02x", part);
		int fd = openat(cache->directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		DIR *entries = fd >= 0 ? fdopendir(fd) : NULL;
		if (!entries) {
			if (fd >= 0)
				close(fd);
			continue;
		}
		for (const struct dirent *e; (e = readdir(entries));) {
			if (e->d_name[0] == '.' || strlen(e->d_name) > CACHE_PATH - 4 ||
			    fstatat(dirfd(entries), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
				continue;
			snprintf(file.path, sizeof(file.path), "%s/%.90s", name, e->d_name);
			file.size = (uint64_t)st.st_size;
			/* atime where it is kept, mtime where it is not. */
			file.used = st.st_atim.tv_sec > st.st_mtim.tv_sec ? st.st_atim : st.st_mtim;
			visit(cache, &file, arg);
		}
		closedir(entries);
	}
}

static void cache_count(struct arax_cache *cache, const struct cache_file *file, void *arg)
{
	(void)arg;
	/* A name that is not an entry's was left by a writer that did not end. */
	if (!strstr(file->path, CACHE_SUFFIX) || strstr(file->path, ".tmp"))
		unlinkat(cache->directory, file->path, 0);
	else
		cache->size += file->size;
}

int arax_cache_open(const char *directory, uint64_t limit, struct arax_cache **cache)
{
	struct stat st;
	int error = cache_make_directory(directory);
	struct arax_cache *new = error ? NULL : calloc(1, sizeof(*new));

	if (!new)
		return error ? error : -ENOMEM;
	for (unsigned i = 0; i < CACHE_HOT; i++)
		new->hot[i].fd = -1;
	new->limit = limit;
	new->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (new->directory < 0 || fstat(new->directory, &st) < 0)
		error = -errno;
	else if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
		error = -EPERM;
	if (error) {
		arax_cache_close(new);
		return error;
	}
	cache_visit(new, cache_count, NULL);
	*cache = new;
	return 0;
}

static void cache_cool(struct arax_cache *cache, struct cache_hot *hot)
{
	if (hot->fd < 0)
		return;
	close(hot->fd);
	hot->fd = -1;
	cache->hot_size -= hot->size;
}

void arax_cache_close(struct arax_cache *cache)
{
	if (!cache)
		return;
	for (unsigned i = 0; i < CACHE_HOT; i++)
		cache_cool(cache, &cache->hot[i]);
	if (cache->directory >= 0)
		close(cache->directory);
	free(cache);
}

/* Keeps a duplicate of a memfd at hand; failing to costs only time. */
static void cache_heat(struct arax_cache *cache, const char *key, int fd, uint64_t size)
{
	struct cache_hot *free_one = NULL;

	if (size > CACHE_HOT_BYTES / 4)
		return;
	while (!free_one || cache->hot_size + size > CACHE_HOT_BYTES) {
		struct cache_hot *oldest = NULL;

		for (unsigned i = 0; i < CACHE_HOT; i++) {
			struct cache_hot *hot = &cache->hot[i];

			if (hot->fd < 0)
				free_one = hot;
			else if (!oldest || hot->used < oldest->used)
				oldest = hot;
		}
		if (free_one && cache->hot_size + size <= CACHE_HOT_BYTES)
			break;
		cache_cool(cache, oldest);
	}
	free_one->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (free_one->fd < 0)
		return;
	snprintf(free_one->key, sizeof(free_one->key), "%s", key);
	free_one->size = size;
	free_one->used = ++cache->clock;
	cache->hot_size += size;
}

static struct cache_hot *cache_find_hot(struct arax_cache *cache, const char *key)
{
	for (unsigned i = 0; i < CACHE_HOT; i++)
		if (cache->hot[i].fd >= 0 && strcmp(cache->hot[i].key, key) == 0)
			return &cache->hot[i];
	return NULL;
}

/* The result in an entry's file as a memfd. -EBADMSG: it is damaged. */
static int cache_load(int file, uint64_t size, uint64_t *result_size)
{
	struct cache_header header;
	uint8_t digest[SHA256_DIGEST_LENGTH];
	SHA2_CTX context;

	if (size < sizeof(header) || size - sizeof(header) > ARAX_BUILD_MAX)
		return -EBADMSG;
	void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
	if (map == MAP_FAILED)
		return -errno;
	memcpy(&header, map, sizeof(header));
	const unsigned char *data = (const unsigned char *)map + sizeof(header);
	int fd = -EBADMSG;
	if (header.magic == CACHE_MAGIC && header.version == CACHE_VERSION &&
	    header.size == size - sizeof(header)) {
		SHA256Init(&context);
		SHA256Update(&context, data, header.size);
		SHA256Final(digest, &context);
		if (memcmp(digest, header.digest, sizeof(digest)) == 0)
			fd = arax_memfd_from("arax-result", data, header.size);
		*result_size = header.size;
	}
	munmap(map, size);
	return fd;
}

static void cache_remove(struct arax_cache *cache, const char *path, uint64_t size)
{
	if (unlinkat(cache->directory, path, 0) == 0)
		cache->size -= size < cache->size ? size : cache->size;
}

int arax_cache_get(struct arax_cache *cache, const char *key)
{
	const struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};
	char path[CACHE_PATH];
	struct stat st;
	uint64_t size = 0;

	if (!cache_key_good(key))
		return -EINVAL;
	struct cache_hot *hot = cache_find_hot(cache, key);
	if (hot) {
		int fd = fcntl(hot->fd, F_DUPFD_CLOEXEC, 3);
		hot->used = ++cache->clock;
		return fd < 0 ? -errno : fd;
	}
	cache_path(path, key);
	int file = openat(cache->directory, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (file < 0)
		return -errno;
	int fd = fstat(file, &st) < 0 ? -errno : cache_load(file, (uint64_t)st.st_size, &size);
	if (fd == -EBADMSG) {
		cache_remove(cache, path, (uint64_t)st.st_size);
		fd = -ENOENT;
	} else if (fd >= 0) {
		/* Mounts mostly do not keep it (relatime), but eviction goes by it. */
		(void)futimens(file, now);
		cache_heat(cache, key, fd, size);
	}
	close(file);
	return fd;
}

static int cache_write(int file, const void *data, size_t size)
{
	const unsigned char *at = data;

	while (size) {
		ssize_t n = write(file, at, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

struct cache_list {
	struct cache_file *files;
	size_t count, capacity;
};

static void cache_collect(struct arax_cache *cache, const struct cache_file *file, void *arg)
{
	struct cache_list *list = arg;

	(void)cache;
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 256;
		struct cache_file *files =
		    reallocarray(list->files, capacity, sizeof(*list->files));
		/* Then one of those that are known goes instead of this one. */
		if (!files)
			return;
		list->files = files;
		list->capacity = capacity;
	}
	list->files[list->count++] = *file;
}

static int cache_older(const void *a, const void *b)
{
	const struct timespec *x = &((const struct cache_file *)a)->used;
	const struct timespec *y = &((const struct cache_file *)b)->used;

	if (x->tv_sec != y->tv_sec)
		return x->tv_sec < y->tv_sec ? -1 : 1;
	return (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

/* Down to nine tenths, so that this is rare; the longest unused go first. */
static void cache_evict(struct arax_cache *cache)
{
	struct cache_list list = {0};

	if (cache->size <= cache->limit)
		return;
	cache_visit(cache, cache_collect, &list);
	if (list.count)
		qsort(list.files, list.count, sizeof(*list.files), cache_older);
	for (size_t i = 0; i < list.count && cache->size > cache->limit / 10 * 9; i++)
		cache_remove(cache, list.files[i].path, list.files[i].size);
	free(list.files);
}

static int cache_store(struct arax_cache *cache, const char *key, const void *data, size_t size)
{
	struct cache_header header = {.magic = CACHE_MAGIC, .version = CACHE_VERSION, .size = size};
	char path[CACHE_PATH], temporary[CACHE_PATH + 8], part[3] = {key[0], key[1], '\0'};
	SHA2_CTX context;
	struct stat st;

	SHA256Init(&context);
	SHA256Update(&context, data, size);
	SHA256Final(header.digest, &context);

	cache_path(path, key);
	snprintf(temporary, sizeof(temporary), "%s.tmp", path);
	if (mkdirat(cache->directory, part, 0700) < 0 && errno != EEXIST)
		return -errno;
	if (fstatat(cache->directory, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
		cache_remove(cache, path, (uint64_t)st.st_size);
	int file = openat(cache->directory, temporary,
			  O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (file < 0)
		return -errno;
	int error = cache_write(file, &header, sizeof(header));
	ARAX_FAULT_POINT(ARAXD_CACHE_WRITES);
	if (!error)
		error = cache_write(file, data, size);
	ARAX_FAULT_POINT(ARAXD_CACHE_WRITTEN);
	if (close(file) < 0 && !error)
		error = -errno;
	if (!error && renameat(cache->directory, temporary, cache->directory, path) < 0)
		error = -errno;
	if (error)
		unlinkat(cache->directory, temporary, 0);
	else
		cache->size += sizeof(header) + size;
	return error;
}

int arax_cache_put(struct arax_cache *cache, const char *key, int fd)
{
	const void *data;
	size_t size;

	if (!cache_key_good(key))
		return -EINVAL;
	int error = arax_memfd_map(fd, ARAX_BUILD_MAX, &data, &size);
	if (error)
		return error;
	struct cache_hot *hot = cache_find_hot(cache, key);
	if (hot)
		cache_cool(cache, hot);
	error = cache_store(cache, key, data, size);
	munmap((void *)(uintptr_t)data, size);
	if (error)
		return error;
	cache_heat(cache, key, fd, size);
	cache_evict(cache);
	return 0;
}

uint64_t arax_cache_size(const struct arax_cache *cache)
{
	return cache->size;
}
