/* SPDX-License-Identifier: Apache-2.0
 *
 * The rings of a trace, see trace.h. An entry's seq makes it whole: it is BUSY while words change,
 * which one writer at a time may do, and a reader that finds the same seq before and after its copy
 * has what that one wrote. Words are atomic, one by one, so that even a copy that must be thrown
 * away is defined.
 */
#include "transport/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define COUNT_MAX (1ull << 53) /* what JSON readers can hold */

static struct arax_trace_head off; /* nobody ever sets its "on" */

int arax_trace_open(struct arax_trace_writer *writer, int fd, enum arax_trace_source source)
{
	struct stat st;

	*writer = (struct arax_trace_writer){.head = &off};
	if (fd < 0)
		return -EBADF;
	if (fstat(fd, &st))
		return -errno;
	if ((uint64_t)st.st_size < sizeof(struct arax_trace))
		return -EPROTO;
	struct arax_trace *trace =
	    mmap(NULL, sizeof(*trace), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (trace == MAP_FAILED)
		return -errno;
	writer->head = &trace->head;
	/* Behind a tenant that has died. */
	atomic_store_explicit(&writer->next, atomic_load(&trace->head.writers[source].next),
			      memory_order_relaxed);
	writer->source = source;
	writer->entries = source == ARAX_TRACE_TENANT ? trace->tenant : trace->client;
	writer->capacity =
	    source == ARAX_TRACE_TENANT ? ARAX_TRACE_TENANT_ENTRIES : ARAX_TRACE_CLIENT_ENTRIES;
	return 0;
}

void arax_trace_close(struct arax_trace_writer *writer)
{
	if (writer->entries)
		munmap(writer->head, sizeof(struct arax_trace));
	*writer = (struct arax_trace_writer){.head = &off};
}

/* Who was so slow that others came round to its entry leaves it to them. */
static bool entry_claim(struct arax_trace_entry *entry, uint64_t at)
{
	uint64_t seq = atomic_load_explicit(&entry->seq, memory_order_relaxed);

	/* BUSY is the largest. No word is written before this is. */
	return seq <= at &&
	       atomic_compare_exchange_strong_explicit(&entry->seq, &seq, ARAX_TRACE_BUSY,
						       memory_order_acq_rel, memory_order_relaxed);
}

void arax_trace_put(struct arax_trace_writer *writer, const struct arax_trace_event *event)
{
	uint64_t words[ARAX_TRACE_WORDS];
	uint64_t at = atomic_fetch_add_explicit(&writer->next, 1, memory_order_relaxed);
	struct arax_trace_entry *entry = &writer->entries[at & (writer->capacity - 1)];
	_Atomic uint64_t *next = &writer->head->writers[writer->source].next;

	if (entry_claim(entry, at)) {
		memcpy(words, event, sizeof(words));
		for (int i = 0; i < ARAX_TRACE_WORDS; i++)
			atomic_store_explicit(&entry->words[i], words[i], memory_order_relaxed);
		atomic_store_explicit(&entry->seq, at + 1, memory_order_release);
	}
	/* Another thread may be further. */
	uint64_t seen = atomic_load_explicit(next, memory_order_relaxed);
	while (seen <= at && !atomic_compare_exchange_weak_explicit(
				 next, &seen, at + 1, memory_order_release, memory_order_relaxed))
		;
}

int arax_trace_map(int fd, const struct arax_trace **trace)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || !(seals & F_SEAL_SHRINK))
		return -EPERM;
	if (fstat(fd, &st))
		return -errno;
	if ((uint64_t)st.st_size < sizeof(**trace))
		return -EPROTO;
	const void *map = mmap(NULL, sizeof(**trace), PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	*trace = map;
	return 0;
}

void arax_trace_unmap(const struct arax_trace *trace)
{
	munmap((void *)(uintptr_t)trace, sizeof(*trace));
}

void arax_trace_reader_init(struct arax_trace_reader *reader, const struct arax_trace *trace,
			    enum arax_trace_source source, uint64_t from)
{
	bool tenant = source == ARAX_TRACE_TENANT;

	*reader = (struct arax_trace_reader){
	    .entries = tenant ? trace->tenant : trace->client,
	    .next = &trace->head.writers[source].next,
	    .capacity = tenant ? ARAX_TRACE_TENANT_ENTRIES : ARAX_TRACE_CLIENT_ENTRIES,
	    .at = from,
	};
}

/* Return: false when the writer overwrote it meanwhile. */
static bool entry_copy(const struct arax_trace_entry *entry, uint64_t seq,
		       struct arax_trace_event *event)
{
	uint64_t words[ARAX_TRACE_WORDS];

	for (int i = 0; i < ARAX_TRACE_WORDS; i++)
		words[i] = atomic_load_explicit(&entry->words[i], memory_order_acquire);
	if (atomic_load_explicit(&entry->seq, memory_order_relaxed) != seq)
		return false;
	memcpy(event, words, sizeof(words));
	return true;
}

static void reader_jump(struct arax_trace_reader *reader, uint64_t to)
{
	uint64_t lost = to - reader->at;

	reader->dropped = lost < COUNT_MAX - reader->dropped ? reader->dropped + lost : COUNT_MAX;
	reader->at = to;
}

/* Overtaken: goes on where the writer will not be at once. */
static void reader_overtaken(struct arax_trace_reader *reader, uint64_t newest)
{
	uint64_t to = newest - reader->capacity / 4 * 3;

	reader_jump(reader, newest > reader->at && newest - reader->at > reader->capacity / 4 * 3
				? to
				: reader->at + 1);
}

bool arax_trace_take(struct arax_trace_reader *reader, struct arax_trace_event *event, bool final)
{
	/* Each turn goes forward; that it ends does not depend on what stands there. */
	for (uint32_t turns = 0; turns <= reader->capacity; turns++) {
		const struct arax_trace_entry *entry =
		    &reader->entries[reader->at & (reader->capacity - 1)];
		uint64_t seq = atomic_load_explicit(&entry->seq, memory_order_acquire);
		uint64_t newest = atomic_load_explicit(reader->next, memory_order_acquire);

		if (seq == reader->at + 1 && entry_copy(entry, seq, event)) {
			reader->at++;
			return true;
		}
		seq = atomic_load_explicit(&entry->seq, memory_order_acquire);
		uint64_t behind = newest > reader->at ? newest - reader->at : 0;
		if (seq > reader->at + 1 && seq != ARAX_TRACE_BUSY)
			reader_overtaken(reader, seq > newest ? seq : newest);
		else if (behind > reader->capacity)
			reader_overtaken(reader, newest);
		else if (behind > (final ? 0 : reader->capacity / 2))
			reader_jump(reader, reader->at + 1); /* it will not come any more */
		else
			return false;
	}
	return false;
}
