/* SPDX-License-Identifier: Apache-2.0
 *
 * See journal.h. A record is one write with a checksum; one that is not whole was being written
 * when its writer died, and is the last. A file that others could have written, or that is from
 * another boot, is not looked at.
 */
#include "scheduler/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define JOURNAL_MAGIC "AraxJrn"
#define JOURNAL_VERSION 1
#define JOURNAL_LONG (4u << 20) /* written anew beyond that, and beyond twice of what is needed */
#define JOURNAL_FILE_MAX (64u << 20)

struct head {
	char magic[8];
	uint32_t version;
	uint32_t size; /* of this struct */
	char boot[40];
	uint64_t pids; /* the PID namespace in which its numbers hold */
	uint64_t sum;  /* of all before */
};

struct record {
	uint32_t size; /* of what follows, without what is added to make it a multiple of 8 */
	uint32_t type;
	uint64_t sum; /* of both, and of what follows */
};

struct journal {
	char *path, *next;
	int fd;
	uint64_t used, least; /* bytes; when it was written anew last */
	int error;
	bool writing; /* anew */
	void (*write)(struct journal *journal, void *arg);
	void *arg;
};

/* FNV-1a: against records that are not whole, not against forgers, who cannot write here. */
static uint64_t sum_of(uint64_t sum, const void *data, size_t size)
{
	const unsigned char *at = data;

	for (size_t i = 0; i < size; i++)
		sum = (sum ^ at[i]) * 0x100000001b3ull;
	return sum;
}

#define SUM_START 0xcbf29ce484222325ull

static uint64_t record_sum(const struct record *record, const void *data)
{
	return sum_of(sum_of(SUM_START, record, offsetof(struct record, sum)), data, record->size);
}

static size_t padded(size_t size)
{
	return (size + 7) & ~(size_t)7;
}

static int head_make(struct head *head)
{
	struct stat st;
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	*head = (struct head){
	    .magic = JOURNAL_MAGIC, .version = JOURNAL_VERSION, .size = sizeof(*head)};
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, head->boot, sizeof(head->boot) - 1);
	int error = n < 0 ? -errno : n < 36 ? -ENODATA : 0;
	close(fd);
	if (!error && stat("/proc/self/ns/pid", &st) < 0)
		error = -errno;
	if (error)
		return error;
	head->pids = st.st_ino;
	head->sum = sum_of(SUM_START, head, offsetof(struct head, sum));
	return 0;
}

/* ---- reading -------------------------------------------------------------------------------- */

static bool head_good(const struct head *head, size_t size, char why[JOURNAL_WHY])
{
	struct head ours;
	int error = head_make(&ours);

	if (error)
		snprintf(why, JOURNAL_WHY, "this boot cannot be told: %s", strerror(-error));
	else if (size < sizeof(*head) || memcmp(head->magic, ours.magic, sizeof(head->magic)) != 0)
		snprintf(why, JOURNAL_WHY, "it is no journal");
	else if (head->version != ours.version || head->size != ours.size)
		snprintf(why, JOURNAL_WHY, "it is another version's (%u)", head->version);
	else if (head->sum != sum_of(SUM_START, head, offsetof(struct head, sum)))
		snprintf(why, JOURNAL_WHY, "its head is broken");
	else if (memcmp(head, &ours, sizeof(ours)) != 0)
		snprintf(why, JOURNAL_WHY, "it is from another boot or container");
	else
		return true;
	return false;
}

size_t journal_parse(const void *data, size_t size, journal_take take, void *arg,
		     char why[JOURNAL_WHY])
{
	const char *bytes = data;
	size_t at = sizeof(struct head);

	why[0] = '\0';
	if (!head_good(data, size, why))
		return 0;
	while (at < size) {
		const struct record *record = (const void *)(bytes + at);
		size_t left = size - at;

		if (left < sizeof(*record) || record->size > JOURNAL_RECORD_MAX ||
		    padded(record->size) > left - sizeof(*record)) {
			snprintf(why, JOURNAL_WHY, "its last record is not whole");
			break;
		}
		if (record->sum != record_sum(record, record + 1)) {
			snprintf(why, JOURNAL_WHY, "what is behind byte %zu is broken", at);
			break;
		}
		if (!take(arg, record->type, record + 1, record->size)) {
			snprintf(why, JOURNAL_WHY, "the record at byte %zu makes no sense", at);
			break;
		}
		at += sizeof(*record) + padded(record->size);
	}
	return at;
}

/* Return: bytes, 0 when it is refused. */
static size_t file_check(int fd, char why[JOURNAL_WHY])
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		snprintf(why, JOURNAL_WHY, "%s", strerror(errno));
	else if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		snprintf(why, JOURNAL_WHY, "it is no file of its own");
	else if (st.st_uid != geteuid())
		snprintf(why, JOURNAL_WHY, "it belongs to user %u", st.st_uid);
	else if (st.st_mode & (S_IRWXG | S_IRWXO))
		snprintf(why, JOURNAL_WHY, "others have access (mode %03o)", st.st_mode & 0777);
	else if (st.st_size > JOURNAL_FILE_MAX)
		snprintf(why, JOURNAL_WHY, "it is too long");
	else if (st.st_size == 0)
		snprintf(why, JOURNAL_WHY, "it is empty");
	else
		return (size_t)st.st_size;
	return 0;
}

int journal_read(const char *path, journal_take take, void *arg, char why[JOURNAL_WHY])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

	why[0] = '\0';
	if (fd < 0) {
		if (errno != ENOENT)
			snprintf(why, JOURNAL_WHY, "%s", strerror(errno));
		return 0;
	}
	size_t size = file_check(fd, why);
	char *data = size ? malloc(size) : NULL;
	int error = size && !data ? -ENOMEM : 0;
	if (data) {
		ssize_t n = pread(fd, data, size, 0);

		if (n < 0)
			snprintf(why, JOURNAL_WHY, "%s", strerror(errno));
		else
			(void)journal_parse(data, (size_t)n, take, arg, why);
	}
	free(data);
	close(fd);
	return error;
}

/* ---- writing -------------------------------------------------------------------------------- */

/* One write at the end; what came only in part is taken back. */
static int file_append(struct journal *journal, const struct iovec *parts, int count)
{
	size_t size = 0;
	ssize_t n;

	for (int i = 0; i < count; i++)
		size += parts[i].iov_len;
	do
		n = pwritev(journal->fd, parts, count, (off_t)journal->used);
	while (n < 0 && errno == EINTR);
	if (n >= 0 && (size_t)n == size) {
		journal->used += size;
		return 0;
	}
	int error = n < 0 ? -errno : -ENOSPC;
	if (ftruncate(journal->fd, (off_t)journal->used) < 0)
		error = -errno;
	return error;
}

static int record_append(struct journal *journal, uint32_t type, const void *data, size_t size)
{
	static const char zeros[8];
	struct record record = {.size = (uint32_t)size, .type = type};
	const struct iovec parts[] = {
	    {&record, sizeof(record)},
	    {(void *)(uintptr_t)data, size},
	    {(void *)(uintptr_t)zeros, padded(size) - size},
	};

	record.sum = record_sum(&record, data);
	return file_append(journal, parts, 3);
}

/* Under another name, which then takes the place of the first: there is always a whole one. */
static int journal_renew(struct journal *journal)
{
	struct head head;
	struct iovec part = {&head, sizeof(head)};
	int old = journal->fd, error = head_make(&head);
	uint64_t used = journal->used;

	if (error)
		return error;
	if (unlink(journal->next) < 0 && errno != ENOENT)
		return -errno;
	journal->fd = open(journal->next, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	journal->used = 0;
	if (journal->fd < 0)
		error = -errno;
	if (!error)
		error = file_append(journal, &part, 1);
	journal->writing = true;
	if (!error)
		journal->write(journal, journal->arg);
	journal->writing = false;
	if (!error)
		error = journal->error;
	if (!error && rename(journal->next, journal->path) < 0)
		error = -errno;
	if (!error) {
		if (old >= 0)
			close(old);
		journal->least = journal->used;
		return 0;
	}
	if (journal->fd >= 0) {
		close(journal->fd);
		unlink(journal->next);
	}
	journal->fd = old;
	journal->used = used;
	return error;
}

int journal_new(const char *path, void (*write)(struct journal *journal, void *arg), void *arg,
		struct journal **made)
{
	struct journal *journal = calloc(1, sizeof(*journal));

	if (!journal)
		return -ENOMEM;
	journal->fd = -1;
	journal->write = write;
	journal->arg = arg;
	journal->path = strdup(path);
	int error = journal->path ? 0 : -ENOMEM;
	if (!error && asprintf(&journal->next, "%s.new", path) < 0) {
		journal->next = NULL;
		error = -ENOMEM;
	}
	if (!error)
		error = journal_renew(journal);
	if (error) {
		journal_free(journal, false);
		return error;
	}
	*made = journal;
	return 0;
}

void journal_append(struct journal *journal, uint32_t type, const void *data, size_t size)
{
	int error = 0;

	if (!journal || (journal->writing && journal->error))
		return;
	/* Before the record: what it says is not the case yet. */
	if (!journal->writing && journal->used > JOURNAL_LONG &&
	    journal->used > 2 * journal->least && (error = journal_renew(journal)) != 0) {
		journal->error = error;
		journal->least = journal->used; /* tried again when it is twice as long */
	}
	error = record_append(journal, type, data, size);
	if (error)
		journal->error = error;
}

int journal_error(struct journal *journal)
{
	int error = journal ? journal->error : 0;

	if (journal)
		journal->error = 0;
	return error;
}

void journal_free(struct journal *journal, bool remove)
{
	if (!journal)
		return;
	if (journal->fd >= 0)
		close(journal->fd);
	if (remove && journal->fd >= 0)
		unlink(journal->path);
	free(journal->path);
	free(journal->next);
	free(journal);
}
