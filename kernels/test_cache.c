/* SPDX-License-Identifier: Apache-2.0
 *
 * The cache of build results: what is put comes back, also after a restart; what is damaged does
 * not; the limit holds and the longest unused goes first.
 */
#include "kernels/cache.h"
#include "kernels/tree.h"
#include "transport/build.h"
#include "transport/socket.h"
#include "transport/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/arax-test-cache-XXXXXX";

static void path_of(char *path, size_t size, const char *key)
{
	snprintf(path, size, "%s/c/%.2s/%s.arxb", directory, key, key);
}

static void put(struct arax_cache *cache, const char *key, char fill, size_t size)
{
	char *data = malloc(size);

	CHECK(data);
	memset(data, fill, size);
	int fd = arax_memfd_from("test", data, size);
	CHECK(fd >= 0);
	CHECK(arax_cache_put(cache, key, fd) == 0);
	close(fd);
	free(data);
}

static void check_has(struct arax_cache *cache, const char *key, char fill, size_t size)
{
	const void *data;
	size_t got;
	int fd = arax_cache_get(cache, key);

	CHECK(fd >= 0);
	CHECK(arax_memfd_map(fd, ARAX_CACHE_KEY_SIZE + size, &data, &got) == 0);
	CHECK(got == size && ((const char *)data)[0] == fill &&
	      ((const char *)data)[size - 1] == fill);
	munmap((void *)(uintptr_t)data, got);
	close(fd);
}

static void test_keys(void)
{
	char a[ARAX_CACHE_KEY_SIZE], b[ARAX_CACHE_KEY_SIZE];

	arax_cache_key("v1", "abc", 3, a);
	arax_cache_key("v1", "abc", 3, b);
	CHECK(strlen(a) == 64 && strcmp(a, b) == 0);
	arax_cache_key("v2", "abc", 3, b);
	CHECK(strcmp(a, b) != 0);
	arax_cache_key("v1a", "bc", 2, b);
	CHECK(strcmp(a, b) != 0);
}

static void test_keep(const char *path)
{
	struct arax_cache *cache;
	char key[ARAX_CACHE_KEY_SIZE];

	arax_cache_key("v", "one", 3, key);
	CHECK(arax_cache_open(path, 1 << 20, &cache) == 0);
	CHECK(arax_cache_get(cache, key) == -ENOENT);
	CHECK(arax_cache_get(cache, "../x") == -EINVAL);
	put(cache, key, 'x', 5000);
	check_has(cache, key, 'x', 5000);
	put(cache, key, 'y', 6000);
	check_has(cache, key, 'y', 6000);
	arax_cache_close(cache);

	CHECK(arax_cache_open(path, 1 << 20, &cache) == 0);
	CHECK(arax_cache_size(cache) > 6000 && arax_cache_size(cache) < 7000);
	check_has(cache, key, 'y', 6000);
	arax_cache_close(cache);
}

static void damage(const char *file, off_t at, off_t cut)
{
	int fd = open(file, O_WRONLY);

	CHECK(fd >= 0);
	if (cut)
		CHECK(ftruncate(fd, cut) == 0);
	else
		CHECK(pwrite(fd, "?", 1, at) == 1);
	close(fd);
}

static void test_damage(const char *path)
{
	static const struct {
		off_t at, cut;
	} cases[] = {{0, 0}, {4, 0}, {8, 0}, {20, 0}, {1000, 0}, {0, 10}, {0, 500}};
	struct arax_cache *cache;
	char key[ARAX_CACHE_KEY_SIZE], file[256];

	arax_cache_key("v", "damaged", 7, key);
	path_of(file, sizeof(file), key);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CHECK(arax_cache_open(path, 1 << 20, &cache) == 0);
		put(cache, key, 'd', 2000);
		arax_cache_close(cache);
		damage(file, cases[i].at, cases[i].cut);
		CHECK(arax_cache_open(path, 1 << 20, &cache) == 0);
		CHECK(arax_cache_get(cache, key) == -ENOENT);
		CHECK(access(file, F_OK) < 0);
		arax_cache_close(cache);
	}
}

static void test_limit(const char *path)
{
	const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	struct arax_cache *cache;
	char first[ARAX_CACHE_KEY_SIZE], key[ARAX_CACHE_KEY_SIZE], file[256];

	CHECK(arax_cache_open(path, 100000, &cache) == 0);
	arax_cache_key("limit", "first", 5, first);
	put(cache, first, 'f', 9000);
	for (int i = 0; i < 40; i++) {
		arax_cache_key("limit", &i, sizeof(i), key);
		put(cache, key, 'l', 9000);
		path_of(file, sizeof(file), key);
		if (i < 3)
			CHECK(utimensat(AT_FDCWD, file, old, 0) == 0);
		CHECK(arax_cache_size(cache) <= 100000);
	}
	check_has(cache, key, 'l', 9000);
	arax_cache_close(cache);
	int oldest = 0;
	arax_cache_key("limit", &oldest, sizeof(oldest), key);
	path_of(file, sizeof(file), key);
	CHECK(access(file, F_OK) < 0);
}

static void test_owner(const char *path)
{
	struct arax_cache *cache;

	CHECK(chmod(path, 0777) == 0);
	CHECK(arax_cache_open(path, 1, &cache) == -EPERM);
	CHECK(chmod(path, 0700) == 0);
}

int main(void)
{
	char path[64];

	CHECK(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/c", directory);
	test_keys();
	test_keep(path);
	test_damage(path);
	test_limit(path);
	test_owner(path);
	CHECK(arax_tree_remove(directory) == 0);
	return 0;
}
