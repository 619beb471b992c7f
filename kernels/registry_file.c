/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of registered variants: read once, compared with their hash, and looked at as far as
 * their format can be told from the outside. A device's loader has the last word on the rest.
 */
#include "kernels/registry_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sha2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void registry_hash(const void *data, size_t size, char hash[REGISTRY_HASH])
{
	SHA2_CTX context;

	SHA256Init(&context);
	SHA256Update(&context, data, size);
	SHA256End(&context, hash);
}

/* Does a file begin as files of this format do? */
static bool begins_as(const char *format, const void *data, size_t size)
{
	static const struct {
		const char *format, *begin;
		size_t length;
	} known[] = {{"cubin",
		      "\x7F"
		      "ELF",
		      4},
		     {"hsaco",
		      "\x7F"
		      "ELF",
		      4},
		     {"xclbin", "xclbin2", 8},
		     {"spirv", "\x03\x02\x23\x07", 4}};

	/* Text: comments, then a line with the version. */
	if (strcmp(format, "ptx") == 0)
		return memmem(data, size, ".version", 8) && !memchr(data, '\0', size);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(format, known[i].format) == 0)
			return size >= known[i].length &&
			       memcmp(data, known[i].begin, known[i].length) == 0;
	return false;
}

static int read_all(int fd, char *data, size_t size)
{
	for (size_t at = 0; at < size;) {
		ssize_t n = read(fd, data + at, size - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += (size_t)n;
	}
	return 0;
}

static int file_read(struct registry_entry *entry, int directory)
{
	uint64_t most = entry->binary ? REGISTRY_BINARY_MAX : REGISTRY_SOURCE_MAX;
	struct stat st;
	int fd = openat(directory, entry->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int error = fd < 0 ? -errno : 0;

	if (!error && fstat(fd, &st) < 0)
		error = -errno;
	if (!error && !S_ISREG(st.st_mode))
		error = -EINVAL;
	if (!error && (st.st_size <= 0 || (uint64_t)st.st_size > most))
		error = st.st_size ? -EFBIG : -ENODATA;
	if (!error) {
		entry->size = (size_t)st.st_size;
		entry->data = malloc(entry->size + 1);
		error = entry->data ? read_all(fd, entry->data, entry->size) : -ENOMEM;
	}
	if (!error)
		((char *)entry->data)[entry->size] = '\0';
	if (fd >= 0)
		close(fd);
	return error;
}

void registry_file(struct registry_entry *entry, int directory)
{
	char hash[REGISTRY_HASH];
	int error = file_read(entry, directory);

	if (error) {
		registry_reject(entry, "%s: %s", entry->file,
				error == -EINVAL ? "not a file" : strerror(-error));
		return;
	}
	registry_hash(entry->data, entry->size, hash);
	if (strcmp(hash, entry->hash) != 0)
		registry_reject(entry, "%s has the hash %s, declared is %s", entry->file, hash,
				entry->hash);
	else if (entry->binary && !begins_as(entry->format, entry->data, entry->size))
		registry_reject(entry, "%s does not look like %s", entry->file, entry->format);
	else if (!entry->binary && memchr(entry->data, '\0', entry->size))
		registry_reject(entry, "%s is not text", entry->file);
}
