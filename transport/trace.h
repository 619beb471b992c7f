/* SPDX-License-Identifier: Apache-2.0
 *
 * The trace of one application: a memfd that araxd makes, into which its tenant and its client
 * write what they have executed, each into a ring of its own, and which `arax trace` reads. Nobody
 * waits for anybody: writers go round and overwrite the oldest, a reader keeps its own place and
 * counts what it was too slow for. Readers map it read-only, so there may be several.
 *
 * Nothing is written, and its pages cost nothing, unless araxd has set "on" because somebody reads.
 * A reader trusts nothing here: positions are masked, entries are copied and then checked by who
 * makes something of them (scheduler/trace_json.c).
 */
#ifndef ARAX_TRANSPORT_TRACE_H
#define ARAX_TRANSPORT_TRACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define ARAX_TRACE_MAGIC 0x31747261u /* "art1" */
#define ARAX_TRACE_DEVICES 16
#define ARAX_TRACE_DEPS 5
#define ARAX_TRACE_NAME 88

/* Who has written an entry, and which ring it is in. */
enum arax_trace_source { ARAX_TRACE_TENANT, ARAX_TRACE_CLIENT, ARAX_TRACE_SOURCES };

enum arax_trace_kind {
	ARAX_TRACE_LAUNCH = 1,
	ARAX_TRACE_COPY,
	ARAX_TRACE_FILL,
	ARAX_TRACE_MARKER,
	ARAX_TRACE_HOST, /* executed by the client; "type" says what */
	ARAX_TRACE_MORE, /* no command: more dependencies of the command with this id */
	/* No command: to a device ("type" 0) or from it (1); deps[0], if any: for that one. */
	ARAX_TRACE_MOVE,
	ARAX_TRACE_KINDS
};

#define ARAX_TRACE_NO_DEVICE 0xFFFFu /* it never came to a device */

/* Times are CLOCK_MONOTONIC in ns. */
struct arax_trace_event {
	uint16_t kind, device;
	int32_t status; /* 0 or a negative OpenCL error */
	uint64_t id;	/* within the application; 0: nothing depends on it */
	uint32_t queue; /* handle, 0 for none */
	uint32_t type;	/* HOST: the number of its OpenCL command type */
	uint64_t queued_ns, submit_ns, start_ns, end_ns; /* queued 0: not known */
	uint64_t bytes;
	uint32_t work_dim, ndeps;
	uint64_t global[3], local[3];	/* local 0: Arax chose */
	uint64_t deps[ARAX_TRACE_DEPS]; /* ids of commands that it had to wait for */
	char name[ARAX_TRACE_NAME];	/* of a kernel; cut, not always terminated */
};

#define ARAX_TRACE_WORDS 31
#define ARAX_TRACE_BUSY UINT64_MAX
struct arax_trace_entry {
	_Atomic uint64_t seq; /* its position + 1; BUSY while it is being written */
	_Atomic uint64_t words[ARAX_TRACE_WORDS];
};
_Static_assert(sizeof(struct arax_trace_event) == ARAX_TRACE_WORDS * sizeof(uint64_t), "event");

#define ARAX_TRACE_TENANT_ENTRIES 32768u
#define ARAX_TRACE_CLIENT_ENTRIES 16384u

/* The first page; araxd maps no more of it. */
struct arax_trace_head {
	uint32_t magic;
	uint32_t reserved;
	_Atomic uint32_t on; /* written by araxd */
	char pad[52];
	struct {
		_Atomic uint64_t next; /* where the writer is, a hint */
		char pad[56];
	} writers[ARAX_TRACE_SOURCES];
	_Atomic uint32_t ndevices;
	_Atomic uint32_t tenants; /* that have written here, one after the other */
	char devices[ARAX_TRACE_DEVICES][32];
};

#define ARAX_TRACE_HEAD 4096u
struct arax_trace {
	union {
		struct arax_trace_head head;
		char page[ARAX_TRACE_HEAD];
	};
	struct arax_trace_entry tenant[ARAX_TRACE_TENANT_ENTRIES];
	struct arax_trace_entry client[ARAX_TRACE_CLIENT_ENTRIES];
};
_Static_assert(sizeof(struct arax_trace_head) <= ARAX_TRACE_HEAD, "head");

/* A writer's side. Any thread may put. */
struct arax_trace_writer {
	struct arax_trace_head *head; /* never NULL: one that is always off where there is none */
	struct arax_trace_entry *entries;
	uint32_t capacity, source;
	_Atomic uint64_t next;
};

/**
 * arax_trace_open() - map a descriptor that araxd sent; off for good when there is none (-1) or it
 * is not what it should be. The descriptor stays the caller's.
 * Return: 0 or -errno, and then the writer can be used all the same.
 */
int arax_trace_open(struct arax_trace_writer *writer, int fd, enum arax_trace_source source);
void arax_trace_close(struct arax_trace_writer *writer);

/** arax_trace_on() - does somebody want to know? One load. */
static inline bool arax_trace_on(const struct arax_trace_writer *writer)
{
	return atomic_load_explicit(&writer->head->on, memory_order_relaxed);
}

/** arax_trace_put() - never waits; overwrites the oldest entry. Only after arax_trace_open() that
 *  gave 0, which holds whenever arax_trace_on() was true. */
void arax_trace_put(struct arax_trace_writer *writer, const struct arax_trace_event *event);

/* A reader's side: one thread's. */
struct arax_trace_reader {
	const struct arax_trace_entry *entries;
	const _Atomic uint64_t *next;
	uint32_t capacity;
	uint64_t at, dropped;
};

/**
 * arax_trace_map() - map a descriptor for reading, after checking that it cannot shrink
 * Return: 0 or -errno.
 */
int arax_trace_map(int fd, const struct arax_trace **trace);
void arax_trace_unmap(const struct arax_trace *trace);

/** arax_trace_reader_init() - begin at a position (araxd says which). */
void arax_trace_reader_init(struct arax_trace_reader *reader, const struct arax_trace *trace,
			    enum arax_trace_source source, uint64_t from);

/**
 * arax_trace_take() - the next event
 * @final: the writer has ended: what it left unfinished is skipped and counted as dropped
 * Return: false when there is none now.
 */
bool arax_trace_take(struct arax_trace_reader *reader, struct arax_trace_event *event, bool final);

#endif
