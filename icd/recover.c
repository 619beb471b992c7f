/* SPDX-License-Identifier: Apache-2.0
 *
 * Another tenant in the place of one that has died. The arena outlives its tenant, so buffers keep
 * what they held; what a tenant knew besides is kept here (definitions) and with each command in
 * flight (its record), in memory that no kernel can write.
 *
 * What may have been executing when the tenant died ends with CL_OUT_OF_RESOURCES, and so does what
 * waits for it by a wait list; what it may have written is undefined. What had not been started is
 * sent again, in its order. Whether a command had been started is the word of its slot, which the
 * dead tenant could write: a lie harms its own client only, and the new tenant checks everything
 * that it is told like the first.
 *
 * Everything happens in the thread that noticed, under the connection's lock: nobody enqueues or
 * reaps meanwhile.
 */
#include "icd/command.h"
#include "icd/connection.h"
#include "icd/daemon.h"
#include "transport/fault_point.h"
#include "transport/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ATTEMPTS 3 /* tenants that do not even live to know their commands */
#define DAEMONS 4  /* araxds that die before they give one */
#define LOAD_SECONDS 30
#define LOOK_MS 10
#define FAILED_KEPT 1024
#define FRUITLESS 5

struct definition {
	size_t program_size; /* not 0: a program, what follows is its result, then its request */
	size_t request_size;
	union {
		struct arax_record record;
		unsigned char program[1];
	};
};

struct recovery {
	struct connection *conn;
	struct command **list; /* in flight, in the order of submission */
	size_t count;
	bool *gone; /* those of them that have failed */
	char died[96];
	char kernels[160]; /* the names of those that may have been running */
	unsigned lost;
};

/* ---- definitions ---------------------------------------------------------------------------- */

static struct definition **definition_at(struct connection *conn, uint32_t handle)
{
	uint32_t kind = ARAX_HANDLE_KIND(handle), index = ARAX_HANDLE_INDEX(handle);

	if (kind >= HANDLE_KINDS)
		return NULL;
	return index < conn->ndefinitions[kind] ? &conn->definitions[kind][index] : NULL;
}

static void define(struct connection *conn, uint32_t handle, struct definition *definition)
{
	uint32_t kind = ARAX_HANDLE_KIND(handle), index = ARAX_HANDLE_INDEX(handle);

	if (definition && kind < HANDLE_KINDS && index >= conn->ndefinitions[kind]) {
		uint32_t count = index < 32 ? 64 : index * 2;
		struct definition **more =
		    realloc(conn->definitions[kind], count * sizeof(struct definition *));

		if (more) {
			memset(more + conn->ndefinitions[kind], 0,
			       (count - conn->ndefinitions[kind]) * sizeof(*more));
			conn->definitions[kind] = more;
			conn->ndefinitions[kind] = count;
		}
	}
	struct definition **at = definition_at(conn, handle);
	if (!at) {
		free(definition);
		return;
	}
	free(*at);
	*at = definition;
}

void recover_define(struct connection *conn, const struct arax_record *record)
{
	struct definition *definition = malloc(offsetof(struct definition, record) + record->size);
	uint32_t handle;

	/* Every *_DEFINE begins with the handle. */
	memcpy(&handle, record + 1, sizeof(handle));
	if (definition) {
		definition->program_size = 0;
		memcpy(&definition->record, record, record->size);
	}
	define(conn, handle, definition);
}

void recover_program(struct connection *conn, uint32_t handle, const struct executable *bytes)
{
	struct definition *definition =
	    malloc(offsetof(struct definition, program) + bytes->result_size + bytes->request_size);

	if (definition) {
		definition->program_size = bytes->result_size;
		definition->request_size = bytes->request_size;
		memcpy(definition->program, bytes->result, bytes->result_size);
		if (bytes->request_size)
			memcpy(definition->program + bytes->result_size, bytes->request,
			       bytes->request_size);
	}
	define(conn, handle, definition);
}

void recover_drop(struct connection *conn, uint32_t handle)
{
	struct definition **at = definition_at(conn, handle);

	/* Kernels in flight may be the last that know a program; without it they are unknown, too.
	 */
	for (uint32_t i = 0;
	     at && *at && (*at)->program_size && i < conn->ndefinitions[ARAX_HANDLE_KERNEL]; i++) {
		struct definition **kernel = &conn->definitions[ARAX_HANDLE_KERNEL][i];

		if (*kernel &&
		    ((struct arax_op_kernel_define *)&(*kernel)->record)->program == handle)
			define(conn, ARAX_HANDLE(ARAX_HANDLE_KERNEL, i), NULL);
	}
	if (at)
		define(conn, handle, NULL);
}

void recover_free(struct connection *conn)
{
	for (int kind = 0; kind < HANDLE_KINDS; kind++) {
		for (uint32_t i = 0; i < conn->ndefinitions[kind]; i++)
			free(conn->definitions[kind][i]);
		free(conn->definitions[kind]);
	}
	for (int i = 0; i < JOURNAL_BLOCKS; i++)
		free(conn->journal[i].memory);
	free(conn->failed);
}

/* ---- records -------------------------------------------------------------------------------- */

/*
 * Records lie one behind the other in blocks, which are used again when nothing in them is in
 * flight: a stream of commands writes its memory in order, and one command at a time always the
 * same. What finds no block (many long records, a command that blocks thousands) is allocated by
 * itself.
 */
static struct journal_block *journal_block(struct connection *conn, size_t size)
{
	struct journal_block *block = &conn->journal[conn->journal_at];

	if (!block->live)
		block->used = 0;
	if (block->memory && JOURNAL_BLOCK - block->used >= size)
		return block;
	if (block->memory) {
		conn->journal_at = (conn->journal_at + 1) % JOURNAL_BLOCKS;
		block = &conn->journal[conn->journal_at];
		if (block->live)
			return NULL;
	}
	if (!block->memory)
		block->memory = aligned_alloc(64, JOURNAL_BLOCK);
	block->used = 0;
	return block->memory && size <= JOURNAL_BLOCK ? block : NULL;
}

struct arax_record *command_room(struct connection *conn, struct command *command, size_t size,
				 size_t nwait)
{
	/* whole cache lines */
	size_t need = (size + nwait * sizeof(uint64_t) + 63) & ~(size_t)63;
	struct journal_block *block = journal_block(conn, need);

	command->block = block;
	if (block) {
		command->record = (struct arax_record *)(block->memory + block->used);
		block->used += need;
		block->live++;
	} else {
		command->record = malloc(need);
		if (!command->record)
			return NULL;
	}
	command->waits = (uint64_t *)((unsigned char *)command->record + size);
	return command->record;
}

void command_room_free(struct command *command)
{
	if (command->block)
		command->block->live--;
	else
		free(command->record);
	command->block = NULL;
	command->record = NULL;
}

static int compare_numbers(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Of those that failed only they matter that something in flight may have been waiting for. */
static void failed_prune(struct connection *conn)
{
	uint64_t oldest = UINT64_MAX;
	size_t kept = 0;

	for (uint32_t i = 0; i < ARAX_SLOTS; i++) {
		const struct command *c = conn->commands[i];

		for (uint16_t w = 0; c && c->record && w < c->record->nwait; w++)
			if (c->waits[w] < oldest)
				oldest = c->waits[w];
	}
	for (size_t i = 0; i < conn->nfailed; i++)
		if (conn->failed[i] >= oldest)
			conn->failed[kept++] = conn->failed[i];
	conn->nfailed = kept;
}

void recover_failed(struct connection *conn, uint64_t number)
{
	if (conn->nfailed == conn->failed_capacity && conn->nfailed >= FAILED_KEPT)
		failed_prune(conn);
	if (conn->nfailed == conn->failed_capacity) {
		size_t capacity = conn->failed_capacity ? conn->failed_capacity * 2 : FAILED_KEPT;
		uint64_t *more = realloc(conn->failed, capacity * sizeof(*more));

		if (!more)
			return;
		conn->failed = more;
		conn->failed_capacity = capacity;
	}
	conn->failed[conn->nfailed++] = number;
}

static bool has_failed(const struct connection *conn, uint64_t number)
{
	return conn->nfailed &&
	       bsearch(&number, conn->failed, conn->nfailed, sizeof(number), compare_numbers);
}

static size_t position(const struct recovery *r, uint64_t number)
{
	size_t low = 0, high = r->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (r->list[middle]->number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low < r->count && r->list[low]->number == number ? low : SIZE_MAX;
}

/* The command of this number, if it is in flight. */
static struct command *find(const struct recovery *r, uint64_t number)
{
	size_t at = position(r, number);

	return at != SIZE_MAX && r->conn->commands[r->list[at]->slot] == r->list[at] ? r->list[at]
										     : NULL;
}

/* ---- what was lost -------------------------------------------------------------------------- */

static bool never(void *arg)
{
	(void)arg;
	return false;
}

/* Host commands whose turn it is are executed before anything else, and those that a blocked caller
 * would execute get their turn again. Afterwards there are none. */
static void finish_host_turns(struct connection *conn)
{
	struct arax_spin spin = {0};

	for (;;) {
		bool busy = false;

		for (uint32_t i = 0; i < ARAX_SLOTS; i++) {
			struct command *c = conn->commands[i];
			int turn = HOST_READY;

			if (!c || c->host < HOST_READY)
				continue;
			if (!c->caller_runs ||
			    !atomic_compare_exchange_strong(&c->host, &turn, HOST_WAIT))
				busy = true;
		}
		if (!busy)
			return;
		pthread_mutex_unlock(&conn->lock);
		if (!progress_help(conn))
			arax_wake_sleep(&conn->shm->client_wake, &spin, never, NULL, 2);
		pthread_mutex_lock(&conn->lock);
	}
}

static int compare_commands(const void *a, const void *b)
{
	return compare_numbers(&(*(struct command *const *)a)->number,
			       &(*(struct command *const *)b)->number);
}

static int list_commands(struct recovery *r)
{
	struct connection *conn = r->conn;

	free(r->list);
	free(r->gone);
	r->count = 0;
	r->list = malloc(ARAX_SLOTS * sizeof(*r->list));
	r->gone = calloc(ARAX_SLOTS, sizeof(*r->gone));
	if (!r->list || !r->gone)
		return -ENOMEM;
	for (uint32_t i = 0; i < ARAX_SLOTS; i++)
		if (conn->commands[i])
			r->list[r->count++] = conn->commands[i];
	qsort(r->list, r->count, sizeof(*r->list), compare_commands);
	if (conn->nfailed)
		qsort(conn->failed, conn->nfailed, sizeof(*conn->failed), compare_numbers);
	return 0;
}

/* Was something before it, which it had to wait for, still in flight? Then it had not begun. */
static bool blocked(const struct recovery *r, size_t at)
{
	const struct command *c = r->list[at];

	for (uint16_t i = 0; i < c->record->nwait; i++)
		if (find(r, c->waits[i]))
			return true;
	for (size_t i = at; c->queue && i-- > 0;) {
		const struct command *before = r->list[i];

		if (before->queue == c->queue && (before->barrier || !queue_out_of_order(c->queue)))
			return true;
	}
	return false;
}

static bool started(const struct recovery *r, size_t at)
{
	const struct command *c = r->list[at];
	cl_int status;

	switch (c->record->op) {
	case ARAX_OP_LAUNCH:
	case ARAX_OP_COPY:
	case ARAX_OP_FILL:
		status = atomic_load(&r->conn->shm->slots[c->slot].status);
		/* Submitted ones may have been with the device already. */
		return status != CL_QUEUED && (status != CL_SUBMITTED || !blocked(r, at));
	default:
		return false; /* nothing of it happens in a tenant */
	}
}

static void note_kernel(struct recovery *r, const struct command *c)
{
	size_t used = strlen(r->kernels);

	for (size_t i = 0; i < c->nrefs; i++) {
		const struct object *object = c->refs[i];

		if (object->kind == OBJECT_KERNEL && used + 3 < sizeof(r->kernels))
			snprintf(r->kernels + used, sizeof(r->kernels) - used, "%s%s",
				 used ? ", " : "", ((const struct _cl_kernel *)object)->info->name);
	}
}

static bool waits_for_lost(const struct recovery *r, const struct command *c)
{
	for (uint16_t i = 0; i < c->record->nwait; i++) {
		size_t at = position(r, c->waits[i]);

		if (at != SIZE_MAX && r->gone[at])
			return true;
	}
	return false;
}

/* Ends what was started, and what waits for that. */
static void fail_lost(struct recovery *r)
{
	for (size_t i = 0; i < r->count; i++) {
		r->gone[i] = started(r, i);
		if (r->gone[i])
			note_kernel(r, r->list[i]);
	}
	for (size_t i = 0; i < r->count; i++) {
		struct command *c = r->list[i];

		r->gone[i] = r->gone[i] || waits_for_lost(r, c);
		if (!r->gone[i])
			continue;
		if (c->queue) {
			atomic_fetch_add(&c->queue->losses, 1);
			if (!c->event)
				atomic_store(&c->queue->lost, true);
		}
		r->lost++;
		connection_retire(r->conn, c, CL_OUT_OF_RESOURCES);
	}
}

/* ---- the new tenant ------------------------------------------------------------------------- */

static void reset_shared(struct connection *conn)
{
	struct arax_shm *shm = conn->shm;
	struct arax_ring_index *const rings[] = {&shm->sq, &shm->hq, &shm->cq};

	for (int i = 0; i < 3; i++) {
		atomic_store(&rings[i]->head, 0);
		atomic_store(&rings[i]->tail, 0);
	}
	arax_ring_init(&conn->sq, &shm->sq, shm->sq_data, ARAX_SQ_BYTES);
	arax_ring_init(&conn->hq, &shm->hq, shm->hq_entries, ARAX_HQ_ENTRIES);
	arax_ring_init(&conn->cq, &shm->cq, shm->cq_entries, ARAX_CQ_ENTRIES);
	atomic_store(&conn->cq_taken, 0);
	atomic_store(&shm->tenant_idle, 0);
	atomic_store(&shm->tenant_wake.word, 0);
	atomic_store(&shm->crash.signal, 0);
}

static bool daemon_gone(int err)
{
	return err == -EPIPE || err == -ECONNRESET;
}

/* Another araxd, started if need be. It knows from its predecessor, or by our arena, what we had.
 */
static int find_daemon(struct connection *conn)
{
	int daemon = daemon_hello(NULL);

	if (daemon < 0)
		return daemon;
	/* The number stays, as below: a forked child closes it. */
	int err = dup3(daemon, conn->daemon, O_CLOEXEC) < 0 ? -errno : 0;
	close(daemon);
	return err;
}

static int replace(struct recovery *r)
{
	struct connection *conn = r->conn;
	int link = daemon_replace(conn->daemon, conn->arena, conn->size, r->died);

	for (int i = 0; daemon_gone(link) && i < DAEMONS; i++) {
		link = find_daemon(conn);
		if (!link)
			link = daemon_replace(conn->daemon, conn->arena, conn->size, r->died);
	}
	if (link < 0)
		return link;
	/* The number stays: other threads look at it without the lock. */
	int err = dup3(link, conn->link, O_CLOEXEC) < 0 ? -errno : 0;
	close(link);
	return err;
}

static bool entry_pending(void *arg)
{
	return arax_ring_pending(arg);
}

/* Nothing else is in flight there yet, so the next that completes is this. */
static int await_load(struct connection *conn, uint32_t slot)
{
	struct arax_spin spin = {0};
	uint64_t limit = arax_now_ns() + LOAD_SECONDS * 1000000000ull;
	uint32_t entry;
	int got;

	while ((got = arax_ring_pop(&conn->cq, &entry)) == 0) {
		arax_wake_sleep(&conn->shm->client_wake, &spin, entry_pending, &conn->cq, LOOK_MS);
		if (!arax_ring_pending(&conn->cq) &&
		    (arax_socket_hung_up(conn->link) || arax_now_ns() > limit))
			return -EPIPE;
	}
	atomic_store(&conn->cq_taken, conn->cq.own);
	return got > 0 && entry == ARAX_ENTRY(ARAX_CQ_COMPLETE, slot) ? 0 : -EPROTO;
}

static int send_program(struct recovery *r, uint32_t handle, const struct definition *definition)
{
	struct connection *conn = r->conn;
	/* Any slot that the new tenant has not heard of. */
	uint32_t slot =
	    conn->nfree ? conn->free_slots[conn->nfree - 1] : r->list[r->count - 1]->slot;
	uint64_t offset;

	pthread_mutex_lock(&conn->heap_lock);
	size_t size = definition->program_size + definition->request_size;
	int err = arax_heap_alloc(conn->heap, size, 4096, &offset);
	pthread_mutex_unlock(&conn->heap_lock);
	if (err)
		return err;
	struct arax_op_program_load op = {
	    .head = {.size = sizeof(op), .op = ARAX_OP_PROGRAM_LOAD, .slot = slot},
	    .program = handle,
	    .binary_off = offset,
	    .binary_len = definition->program_size,
	    .request_off = definition->request_size ? offset + definition->program_size : 0,
	    .request_len = definition->request_size,
	};
	memcpy(conn->base + offset, definition->program, size);
	err = connection_send(conn, &op.head);
	if (!err)
		err = await_load(conn, slot);
	pthread_mutex_lock(&conn->heap_lock);
	arax_heap_release(conn->heap, offset);
	pthread_mutex_unlock(&conn->heap_lock);
	return err;
}

/* What is a part of another object is defined after that. */
static bool is_part(const struct definition *definition, enum arax_handle_kind kind)
{
	const struct arax_op_mem_define *define = (const void *)&definition->record;

	return kind == ARAX_HANDLE_MEM && define->parent;
}

/* The newest contents of an object were on a device, and died with the tenant. */
static const struct arax_record *
without_replicas(struct connection *conn, struct definition *definition, enum arax_handle_kind kind)
{
	struct arax_op_mem_define *define = (void *)&definition->record;

	if (kind == ARAX_HANDLE_MEM && !define->parent && define->home < ARAX_HOMES)
		define->lost =
		    (atomic_load_explicit(&conn->shm->home[define->home], memory_order_relaxed) &
		     ARAX_HOME_STALE) != 0;
	return &definition->record;
}

static int send_definitions(struct recovery *r)
{
	static const enum arax_handle_kind order[] = {ARAX_HANDLE_QUEUE, ARAX_HANDLE_SAMPLER,
						      ARAX_HANDLE_MEM, ARAX_HANDLE_PROGRAM,
						      ARAX_HANDLE_KERNEL};
	struct connection *conn = r->conn;
	int err = 0;

	for (size_t k = 0; k < 2 * sizeof(order) / sizeof(order[0]); k++) {
		enum arax_handle_kind kind = order[k / 2];
		bool parts = k & 1;

		for (uint32_t i = 0; !err && i < conn->ndefinitions[kind]; i++) {
			struct definition *definition = conn->definitions[kind][i];

			if (!definition || is_part(definition, kind) != parts)
				continue;
			err = definition->program_size
				  ? send_program(r, ARAX_HANDLE(kind, i), definition)
				  : connection_send(conn, without_replicas(conn, definition, kind));
		}
	}
	return err ? err : conn->broken ? -EPIPE : 0;
}

static bool defined(struct connection *conn, uint32_t handle)
{
	struct definition **at = definition_at(conn, handle);

	return !handle || (at && *at);
}

static bool can_be_sent(struct connection *conn, const struct arax_record *record)
{
	return defined(conn, record->queue) &&
	       (record->op != ARAX_OP_LAUNCH ||
		defined(conn, ((const struct arax_op_launch *)record)->kernel));
}

/* The slots of the wait list have got other owners since, or none. */
static void renew_waits(struct recovery *r, struct command *c)
{
	struct arax_record *record = c->record;
	uint32_t *slots = (uint32_t *)(uintptr_t)arax_record_waits(record);
	const void *tail = arax_record_tail(record);
	uint16_t n = 0;

	for (uint16_t i = 0; i < record->nwait; i++) {
		const struct command *before = find(r, c->waits[i]);

		if (before) {
			c->waits[n] = before->number;
			slots[n++] = before->slot;
		} else if (has_failed(r->conn, c->waits[i])) {
			record->flags |= ARAX_RECORD_FAILED_WAIT;
		}
	}
	if (n & 1)
		slots[n] = 0;
	record->nwait = n;
	size_t padded = ((size_t)record->tail_size + 7) & ~(size_t)7;
	char *to = (char *)(uintptr_t)arax_record_tail(record);
	memmove(to, tail, padded);
	record->size = (uint32_t)((size_t)(to - (char *)record) + padded);
}

static void send_commands(struct recovery *r)
{
	struct connection *conn = r->conn;

	for (size_t i = 0; i < r->count; i++) {
		struct command *c = r->list[i];
		struct arax_slot *slot = &conn->shm->slots[c->slot];

		if (conn->commands[c->slot] != c)
			continue;
		if (!can_be_sent(conn, c->record)) {
			connection_retire(conn, c, CL_OUT_OF_RESOURCES);
			continue;
		}
		atomic_store(&slot->status, CL_QUEUED);
		atomic_store(&slot->submit_ns, 0);
		atomic_store(&slot->start_ns, 0);
		atomic_store(&slot->end_ns, 0);
		atomic_store(&slot->result, 0);
		renew_waits(r, c);
		if (connection_send(conn, c->record))
			return;
	}
}

static void report(struct recovery *r, int err, uint32_t number, uint64_t address)
{
	struct connection *conn = r->conn;
	const char *name = number && number < 65 ? sigabbrev_np((int)number) : NULL;
	char fault[64] = "";

	if (name)
		snprintf(fault, sizeof(fault),
			 number == SIGABRT ? " (SIG%s)" : " (SIG%s at 0x%llx)", name,
			 (unsigned long long)address);
	snprintf(
	    conn->report, sizeof(conn->report),
	    "Arax: the process that executes this application's commands %s%s. %s%s%s%u of its "
	    "commands failed with CL_OUT_OF_RESOURCES%s.%s",
	    r->died[0] ? r->died : "has died", fault,
	    r->kernels[0] ? "It was executing kernel " : "", r->kernels, r->kernels[0] ? ". " : "",
	    r->lost,
	    r->lost ? "; what they could write is undefined, other buffers are as they were" : "",
	    err ? " There is no other one: make a new context."
		: " The context goes on with another one.");
	conn->replaced++;
	conn->has_retired = true; /* whoever settles next tells the contexts */
}

static int attempt(struct recovery *r)
{
	struct connection *conn = r->conn;
	int err = replace(r);

	if (!err)
		err = list_commands(r);
	if (err)
		return err;
	ARAX_FAULT_POINT(CLIENT_REPLACED);
	/* The former tenant does not run any more: what it left is final. */
	fail_lost(r);
	for (size_t i = 0, n = r->count; i < n; i++)
		if (conn->commands[r->list[i]->slot] == r->list[i])
			atomic_store(&conn->shm->slots[r->list[i]->slot].status, CL_QUEUED);
	if (conn->nfailed)
		qsort(conn->failed, conn->nfailed, sizeof(*conn->failed), compare_numbers);
	reset_shared(conn);
	conn->broken = false;
	err = connection_propose(conn->link, conn->base);
	if (!err)
		err = send_definitions(r);
	if (!err)
		send_commands(r);
	ARAX_FAULT_POINT(CLIENT_SENT_AGAIN);
	if (err)
		conn->broken = true;
	return err;
}

int recover(struct connection *conn)
{
	struct recovery r = {.conn = conn};
	int err = -EPIPE;

	conn->recovering = conn->broken = true;
	ARAX_FAULT_POINT(CLIENT_RECOVERS);
	connection_reap_locked(conn);
	finish_host_turns(conn);
	uint32_t number = atomic_load(&conn->shm->crash.signal);
	uint64_t address = conn->shm->crash.address;
	/* Tenants that die without having completed anything, or having failed at something. */
	if (conn->cq_taken)
		conn->fruitless = 0;
	for (int i = 0; i < ATTEMPTS && err && conn->fruitless < FRUITLESS; i++) {
		char died[sizeof(r.died)];

		memcpy(died, r.died, sizeof(died));
		err = attempt(&r);
		/* How the first one died is what the application wants to know. */
		if (i)
			memcpy(r.died, died, sizeof(died));
		if (err != -EPIPE && err != -EEXIST && err != -ECONNRESET && err != -EPROTO)
			break;
	}
	conn->fruitless = r.lost ? 0 : conn->fruitless + 1;
	report(&r, err, number, address);
	free(r.list);
	free(r.gone);
	conn->recovering = false;
	return err;
}
