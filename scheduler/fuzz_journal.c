/* SPDX-License-Identifier: Apache-2.0
 *
 * The journal, read by the next araxd: whatever is in the file, what is taken from it is within its
 * bounds and nothing else happens. Files are our own, so this is about those that are broken.
 *
 * Input: a byte, odd: records (type (1), size (2), bytes), which get good heads and sums; even:
 * what is behind the head of the file.
 */
#include "scheduler/araxd_journal.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "scheduler/araxd_device.h"
#include "scheduler/history.h"
#include "transport/fuzz.h"

#define FILE_MAX (64u << 10)
#define TENANTS 4

static unsigned long reached[RECORD_TOTALS + 1], cut;
static char folder[] = "/tmp/arax-fuzz-journal-XXXXXX";
static char path[64];

/* ---- what the files need of the daemon: there is no tenant now */

const struct tenant *pool_tenants(const struct pool *pool)
{
	(void)pool;
	return NULL;
}

const struct arax_link_usage *link_usage(const struct link *link)
{
	(void)link;
	return NULL;
}

int cgroup_error(const struct cgroup_seat *seat)
{
	(void)seat;
	return 0;
}

enum cgroup_where cgroup_where(const struct cgroup_seat *seat)
{
	(void)seat;
	return 0;
}

void status_printable(char *to, const char *from, size_t size)
{
	snprintf(to, size, "%s", from);
}

void araxd_log(int level, const char *format, ...)
{
	(void)level;
	(void)format;
}

/* ---- the file */

static void write_nothing(struct journal *journal, void *arg)
{
	(void)journal;
	(void)arg;
}

static void clean(void)
{
	unlink(path);
	rmdir(folder);
}

static size_t head_read(char *data)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, data, FILE_MAX);

	CHECK(fd >= 0 && n > 0);
	close(fd);
	return (size_t)n;
}

static struct journal *begin(void)
{
	struct journal *journal;

	if (!path[0]) {
		CHECK(mkdtemp(folder));
		snprintf(path, sizeof(path), "%s/journal", folder);
		atexit(clean);
	}
	CHECK(!journal_new(path, write_nothing, NULL, &journal));
	return journal;
}

/* As araxd itself writes, with whatever is in the records. */
static size_t file_of_records(const uint8_t *data, size_t size, char *file)
{
	struct journal *journal = begin();

	for (size_t at = 0; size - at >= 3;) {
		uint16_t length;
		uint8_t type = data[at];

		memcpy(&length, data + at + 1, 2);
		at += 3;
		if (length > size - at)
			length = (uint16_t)(size - at);
		journal_append(journal, type, data + at, length);
		at += length;
	}
	CHECK(!journal_error(journal));
	size_t n = head_read(file);
	journal_free(journal, true);
	return n;
}

static size_t file_of_bytes(const uint8_t *data, size_t size, char *file)
{
	struct journal *journal = begin();
	size_t n = head_read(file);

	journal_free(journal, true);
	if (size > FILE_MAX - n)
		size = FILE_MAX - n;
	memcpy(file + n, data, size);
	return n + size;
}

/* ---- what is taken from it */

static bool take(void *arg, uint32_t type, const void *data, size_t size)
{
	bool good = records_take(arg, type, data, size);

	if (good && type <= RECORD_TOTALS)
		reached[type]++;
	return good;
}

static void verify_found(const struct record_found *found)
{
	const struct record_tenant *t = &found->tenant;

	CHECK(t->key && found->nlinks <= ARAX_STATS_DEVICES);
	CHECK(memchr(t->adopt, 0, sizeof(t->adopt)) && memchr(t->died, 0, sizeof(t->died)));
	CHECK(memchr(t->devices, 0, sizeof(t->devices)) && memchr(t->wanted, 0, sizeof(t->wanted)));
	CHECK(memchr(t->policy, 0, sizeof(t->policy)) && memchr(t->program, 0, sizeof(t->program)));
	CHECK(memchr(t->work, 0, sizeof(t->work)));
	for (unsigned i = 0; i < found->nlinks; i++) {
		CHECK(found->links[i].index < ARAX_STATS_DEVICES);
		CHECK(memchr(found->links[i].device, 0, sizeof(found->links[i].device)));
		CHECK(memchr(found->links[i].work, 0, sizeof(found->links[i].work)));
		for (unsigned j = 0; j < i; j++)
			CHECK(found->links[j].index != found->links[i].index);
	}
}

static void verify_history(const struct history *history)
{
	CHECK(history->nkernels <= HISTORY_KERNELS);
	for (unsigned i = 0; i < history->nkernels; i++)
		CHECK(memchr(history->kernels[i].name, 0, sizeof(history->kernels[i].name)) &&
		      memchr(history->kernels[i].device, 0, sizeof(history->kernels[i].device)));
	for (unsigned i = 0; i < HISTORY_CLIENTS && i < history->kept; i++)
		CHECK(history->finished[i].stats.nkernels <= ARAX_STATS_KERNELS &&
		      history->finished[i].stats.ndevices <= ARAX_STATS_DEVICES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char file[2 * FILE_MAX] __attribute__((aligned(8)));
	struct records records = {.history = history_new()};
	char why[JOURNAL_WHY];

	if (!size || size > FILE_MAX / 2) {
		history_free(records.history);
		return 0;
	}
	size_t n = data[0] & 1 ? file_of_records(data + 1, size - 1, file)
			       : file_of_bytes(data + 1, size - 1, file);
	char *exact = malloc(n);
	CHECK(exact && records.history);
	memcpy(exact, file, n);
	size_t good = journal_parse(exact, n, take, &records, why);
	CHECK(good && good <= n && (good == n) == !why[0]);
	cut += good < n;
	free(exact);
	for (size_t i = 0; i < records.count; i++)
		verify_found(&records.found[i]);
	verify_history(records.history);
	history_free(records.history);
	records_free(&records);
	return 0;
}

/* ---- the grammar */

static size_t put(uint8_t *data, size_t at, uint8_t type, const void *record, size_t size)
{
	uint16_t length = (uint16_t)size;

	data[at] = type;
	memcpy(data + at + 1, &length, 2);
	memcpy(data + at + 3, record, size);
	return at + 3 + size;
}

/* The beginnings of history.c's records: no kernels. */
static size_t put_history(uint8_t *data, size_t at, uint8_t type, uint64_t key)
{
	size_t size = type == RECORD_FINISHED
			  ? sizeof(uint64_t) + offsetof(struct finished, stats.kernel)
			  : 5 * sizeof(uint64_t);
	uint8_t *record = calloc(1, size);

	CHECK(record);
	if (type == RECORD_FINISHED)
		memcpy(record, &key, sizeof(key));
	at = put(data, at, type, record, size);
	free(record);
	return at;
}

static size_t put_any(uint8_t *data, size_t at, uint8_t type, uint64_t *random)
{
	struct record_tenant tenant = {.key = test_random(random) % TENANTS + 1};
	struct record_link link = {.key = tenant.key, .index = test_random(random) % 17};
	struct record_policy policy = {.key = tenant.key, .policy = "pinned"};
	struct record_key key = {.key = tenant.key};

	strcpy(link.device, "sim");
	strcpy(tenant.program, "fuzz");
	switch (type) {
	case RECORD_TENANT:
		return put(data, at, type, &tenant, sizeof(tenant));
	case RECORD_POLICY:
		return put(data, at, type, &policy, sizeof(policy));
	case RECORD_GONE:
		return put(data, at, type, &key, sizeof(key));
	case RECORD_LINK:
	case RECORD_UNLINK:
		return put(data, at, type, &link, sizeof(link));
	default:
		return put_history(data, at, type, key.key);
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	uint64_t random = seed;

	if (test_random(&random) % 4 || size + sizeof(struct finished) > max)
		return LLVMFuzzerMutate(data, size, max);
	if (!size)
		data[size++] = 1;
	return put_any(data, size, (uint8_t)(test_random(&random) % RECORD_TOTALS + 1), &random);
}

/* Each type alone behind a tenant, and many together. */
size_t fuzz_seed(unsigned n, uint8_t *data, size_t max, char *name)
{
	uint64_t random = n;
	size_t size = 1;

	if (n > RECORD_TOTALS + 3)
		return 0;
	data[0] = n != 0;
	if (!n) {
		/* Not a record. */
		memset(data + 1, 0xFF, 24);
		size += 24;
	}
	for (unsigned i = 0; i < TENANTS && n; i++) {
		struct record_tenant tenant = {.key = i + 1, .program = "fuzz"};

		size = put(data, size, RECORD_TENANT, &tenant, sizeof(tenant));
	}
	if (n > RECORD_TOTALS)
		for (unsigned i = 0; i < 12; i++)
			size = put_any(data, size,
				       (uint8_t)(test_random(&random) % (RECORD_TOTALS - 1) + 2),
				       &random);
	else if (n > 1)
		size = put_any(data, size, (uint8_t)n, &random);
	CHECK(size <= max);
	snprintf(name, 32, "journal-%u", n);
	return size;
}

void fuzz_reached(void)
{
	for (unsigned i = RECORD_TENANT; i <= RECORD_TOTALS; i++)
		CHECK(reached[i]);
	CHECK(cut);
}
