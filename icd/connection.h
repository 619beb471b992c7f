/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's end of a tenant: the arena, the rings, what is in flight. One per process (a new one
 * after a fork or after the tenant's death); contexts hold references. icd.h has what the object
 * classes use of it; this header is for command.c, event.c, queue.c and progress.c.
 *
 * Locks: a queue's lock, then connection.lock, then the heap's. No application code runs under any
 * of them; what a completion sets free or calls back is collected and done unlocked.
 */
#ifndef ARAX_ICD_CONNECTION_H
#define ARAX_ICD_CONNECTION_H

#include "icd/daemon.h"
#include "icd/icd.h"
#include "transport/heap.h"
#include "transport/ring.h"
#include "transport/trace.h"
#include "transport/wake.h"

/* Whose turn a command of the client is. */
enum host_state {
	HOST_NONE,  /* the tenant executes it */
	HOST_WAIT,  /* not its turn yet */
	HOST_READY, /* its turn: the caller or the progress thread executes it */
	HOST_RUNS,  /* they do so now */
};

/* A command in flight: lives from its submission until its slot was reaped and its references were
 * given back. */
struct command {
	struct command *next; /* in the list it is in: retired, jobs, pool */
	uint32_t slot;
	cl_command_queue queue; /* used; NULL for user events */
	cl_event event;		/* used, or NULL */
	bool barrier;
	bool caller_runs; /* a blocking call executes the host work itself */
	bool watched;	  /* counted in connection.watch */
	cl_int status;	  /* how it ended */
	uint32_t why;	  /* enum arax_why: for its context */
	cl_command_type type;
	_Atomic int host; /* enum host_state; set under the lock */
	struct host_work work;
	/* To be sent again to another tenant: what was sent, and which commands it waits for. */
	uint64_t number; /* in the order of submission */
	struct arax_record *record;
	struct journal_block *block; /* that record lies in, or NULL */
	uint64_t *waits;	     /* record->nwait numbers, in the same block as record */
	char *print;		     /* a launch that prints: its range */
	size_t print_size;
	size_t nrefs, refs_capacity;
	struct object **refs; /* refs_inline or malloc-ed */
	struct object *refs_inline[8];
};

#define MEM_CACHE 32
#define HANDLE_KINDS 6
struct handle_pool {
	uint32_t next; /* first number never given out */
	uint32_t *free;
	size_t nfree, capacity;
};

struct definition;

/* Memory for records of commands in flight, see recover.c. */
#define JOURNAL_BLOCK ((size_t)64 << 10)
#define JOURNAL_BLOCKS 48
struct journal_block {
	unsigned char *memory;
	size_t used;
	uint32_t live; /* records in it that are in flight */
};

struct connection {
	_Atomic uint32_t refs;
	int daemon, link, arena;
	struct attached limits;
	_Atomic bool dead, forked;
	_Atomic bool broken;		/* the tenant is no good: somebody has to get another one */
	struct arax_trace_writer trace; /* what the client executes itself, trace.c */
	struct arax_shm *shm;
	char *base;
	uint64_t size;

	pthread_mutex_t heap_lock;
	struct arax_heap *heap;
	cl_mem mem_cache[MEM_CACHE]; /* released buffers for the next of that size, see mem.c */
	uint64_t mem_cached;	     /* bytes */
	_Atomic uint32_t staggered;  /* large memory objects so far, see mem.c */

	pthread_mutex_t lock; /* everything below */
	struct arax_ring sq, hq, cq;
	_Atomic uint32_t cq_taken; /* cq.own for readers without the lock */
	struct handle_pool handles[HANDLE_KINDS];
	uint32_t nobjects; /* handles in use */
	struct command *commands[ARAX_SLOTS];
	uint32_t free_slots[ARAX_SLOTS];
	_Atomic uint32_t nfree;
	struct command *pool;
	uint64_t last_number;
	/* recover.c */
	struct journal_block journal[JOURNAL_BLOCKS];
	unsigned journal_at;
	struct definition **definitions[HANDLE_KINDS];
	uint32_t ndefinitions[HANDLE_KINDS];
	uint64_t *failed; /* numbers of commands that failed, ascending enough to be searched */
	size_t nfailed, failed_capacity;
	_Atomic bool recovering;
	_Atomic unsigned replaced; /* tenants so far */
	unsigned fruitless;	   /* of them, one after the other, without any progress */
	_Atomic unsigned looks;	   /* of who only asks for the status of events */
	char report[512];	   /* on the last one's death */
	cl_context contexts;	   /* to be told of the tenant's death */
	struct command *retired, **retired_tail; /* status is set; references still held */
	_Atomic bool has_retired;
	/* progress.c */
	bool progress_started;
	pthread_cond_t progress_work;
	struct command *jobs, **jobs_tail;	/* host commands whose turn it is */
	struct notice *notices, **notices_tail; /* events whose callbacks are due */
	_Atomic uint32_t njobs, nnotices;
	_Atomic uint32_t watch; /* things in flight that need the progress thread */
};

/** connection_get() - the process's connection, made if need be; one reference. Or NULL, with a
 *  negative errno in *err. */
struct connection *connection_get(int *err);
void connection_put(struct connection *conn);

/** connection_notify() - tell every context once that its tenant has died. No lock held. */
void connection_notify(struct connection *conn);

/** connection_remember() - a context lives on this connection; connection_forget(): no more. */
void connection_remember(struct connection *conn, cl_context context);
void connection_forget(struct connection *conn, cl_context context);

/** connection_reap_locked() - take what the completion ring holds: set statuses, hand over host
 *  work. Lock held. */
void connection_reap_locked(struct connection *conn);

/** connection_reap() - the same, taking the lock; nearly free when there is nothing. */
void connection_reap(struct connection *conn);

/** connection_settle() - reap, then give back references of what has ended. No lock held. */
void connection_settle(struct connection *conn);

/** connection_wait() - until cond(arg); settles meanwhile. settle false: reaps only, for callers
 *  that hold a queue's lock. Return: cond(arg), which is false only when the tenant died. */
bool connection_wait(struct connection *conn, bool (*cond)(void *arg), void *arg, bool settle);

/** connection_wait_slot() - the same for a condition that comes true with the end of the command in
 *  this slot (a number out of date, or ARAX_NO_SLOT, does no harm): does not look at, and is not
 *  woken by, every other completion meanwhile. */
bool connection_wait_slot(struct connection *conn, uint32_t slot, bool (*cond)(void *arg),
			  void *arg, bool settle);

/** connection_wake() - a condition that threads may wait for has come true on this side. */
void connection_wake(struct connection *conn);

/** connection_reserve() - wait until so many slots are free. Lock held, dropped while waiting.
 *  Return: 0, -EPIPE, or -EBUSY when all that is in flight waits for the application. */
int connection_reserve(struct connection *conn, uint32_t slots);

/** connection_slot() - give a reserved slot to a command. Lock held. */
uint32_t connection_slot(struct connection *conn, struct command *command);

/** connection_send() - put a record into the ring and wake the tenant; waits for room. Lock held
 *  throughout. Return: 0, or -errno when the tenant is gone. */
int connection_send(struct connection *conn, const struct arax_record *record);

/** connection_host_done() - a client-executed slot has ended: tell the tenant, free the slot.
 *  Lock held. */
void connection_host_done(struct connection *conn, uint32_t slot, cl_int status);

/** connection_fail() - the tenant is gone or talks nonsense: another one takes its place
 *  (recover.c); without one everything in flight ends with CL_OUT_OF_RESOURCES. No lock held but
 *  possibly a queue's. */
void connection_fail(struct connection *conn, const char *why);

/** connection_propose() - tell a tenant where the arena is. Return: 0, -EEXIST when it cannot have
 * it there, another -errno. */
int connection_propose(int link, void *base);

/** connection_retire() - take a command out of flight with an outcome of ours. Lock held. */
void connection_retire(struct connection *conn, struct command *command, cl_int status);

/** command_room() - room for a record (and the numbers of nwait commands) that is kept with the
 *  command until command_room_free(). Lock held. Return: the record, or NULL without memory. */
struct arax_record *command_room(struct connection *conn, struct command *command, size_t size,
				 size_t nwait);
void command_room_free(struct command *command);

/* ---- recover.c ------------------------------------------------------------------------------ */

/** recover() - replace the tenant: what may have been executing fails, with what waits for it, the
 *  rest is sent again. Lock held, dropped now and then. Return: 0, or -errno: there is none. */
int recover(struct connection *conn);

/** recover_define(), recover_program(), recover_drop() - what a new tenant has to know. Lock held;
 *  without memory the object is missing there, and its commands fail. */
void recover_define(struct connection *conn, const struct arax_record *record);
void recover_program(struct connection *conn, uint32_t handle, const struct executable *bytes);
void recover_drop(struct connection *conn, uint32_t handle);

/** recover_failed() - a command ended with an error: what waits for it must, too. Lock held. */
void recover_failed(struct connection *conn, uint64_t number);
void recover_free(struct connection *conn);

struct command *command_get(struct connection *conn); /* lock held; NULL without memory */
void command_cancel(struct connection *conn, struct command *command); /* not sent; lock held */
bool command_ref(struct command *command, struct object *object);

/** command_execute() - run a host command whose turn it is, complete it. No lock held. */
void command_execute(struct connection *conn, struct command *command);

/** mem_cache_flush() - give up what the cache of released buffers holds. Return: was there any? */
bool mem_cache_flush(struct connection *conn);

/* ---- progress.c ----------------------------------------------------------------------------- */

/** progress_ensure() - make sure that there is a progress thread. Lock held. Return: 0 or -errno.
 */
int progress_ensure(struct connection *conn);

/** progress_watch() - from now on (until progress_unwatch()) somebody must look at the completion
 *  ring even if the application does not call: there is a progress thread. Lock held. */
void progress_watch(struct connection *conn);
void progress_unwatch(struct connection *conn);

/** progress_job() - a host command's turn has come. Lock held. */
void progress_job(struct connection *conn, struct command *command);

/** progress_help() - execute one host command whose turn has come, in this thread. No lock but
 *  possibly a queue's held. Return: was there one? */
bool progress_help(struct connection *conn);

/** progress_notify() - call back what was registered on a final event. conn may be dead. */
void progress_notify(struct connection *conn, cl_event event);

/* ---- trace.c -------------------------------------------------------------------------------- */

/* What the client has executed. Ids come from the tenant; 0 for what was executed at once. */
struct traced {
	cl_command_type type;
	uint32_t queue;
	cl_int status;
	size_t bytes;
	uint64_t id, queued, submit, start; /* it ends now */
};

/** trace_client() - to the trace with it. Only while arax_trace_on(). */
void trace_client(struct connection *conn, const struct traced *traced);

/* ---- event.c -------------------------------------------------------------------------------- */

/** event_set() - final status and times, visible to all. */
void event_set(cl_event event, cl_int status, cl_ulong submit, cl_ulong start, cl_ulong end);

/** event_call_back() - call what is registered; in the thread of the caller, unlocked. */
void event_call_back(cl_event event);

#endif
