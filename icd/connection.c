/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's end of a tenant: set-up (araxd gives the arena and a link to a tenant; client and
 * tenant settle on one address for the arena), the heap of the arena, and the objects' numbers. The
 * rings and what is in flight are in flight.c.
 */
#include "icd/connection.h"
#include "icd/daemon.h"
#include "transport/fault_point.h"
#include "transport/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define ARENA_TRIES 32
#define MEET_TRIES 3

#define HEAP_HIGH_WATER (256ull << 20) /* freed memory that keeps its pages */

static pthread_mutex_t the_lock = PTHREAD_MUTEX_INITIALIZER;
static struct connection *the_connection;

/* ---- set-up --------------------------------------------------------------------------------- */

static void *map_arena(int fd, uint64_t size)
{
	for (int i = 0; i < ARENA_TRIES; i++) {
		uint64_t random;

		if (getrandom(&random, sizeof(random), 0) != sizeof(random))
			return NULL;
		uint64_t base = ARAX_ARENA_LOW +
				random %
				    ((ARAX_ARENA_HIGH - ARAX_ARENA_LOW - size) / ARAX_ARENA_ALIGN) *
				    ARAX_ARENA_ALIGN;
		void *p = mmap((void *)base, size, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_NORESERVE, fd, 0);
		if (p == (void *)base)
			return p;
		if (p != MAP_FAILED) /* a kernel that does not know MAP_FIXED_NOREPLACE */
			munmap(p, size);
	}
	return NULL;
}

int connection_propose(int link, void *base)
{
	struct arax_control_map map = {
	    .head = {.magic = ARAX_CONTROL_MAGIC,
		     .type = ARAX_CONTROL_MAP,
		     .major = ARAX_PROTOCOL_MAJOR,
		     .minor = ARAX_PROTOCOL_MINOR},
	    .base = (uint64_t)base,
	};
	int fds[ARAX_FDS_MAX];
	int err = arax_socket_send(link, &map, sizeof(map), NULL, 0);

	if (err)
		return err;
	ssize_t n = arax_socket_recv(link, &map, sizeof(map), fds, 30000);
	for (unsigned i = 0; n > 0 && i < ARAX_FDS_MAX; i++)
		daemon_close(fds[i]);
	if (n <= 0)
		return n ? (int)n : -ECONNRESET;
	if ((size_t)n != sizeof(map) || map.head.type != (ARAX_CONTROL_MAP | ARAX_CONTROL_REPLY))
		return -EPROTO;
	return -map.head.error;
}

static int settle_address(struct connection *conn, int arena)
{
	for (int i = 0; i < ARENA_TRIES; i++) {
		void *base = map_arena(arena, conn->size);

		if (!base)
			return -ENOMEM;
		ARAX_FAULT_POINT(CLIENT_MAPPED);
		int err = connection_propose(conn->link, base);
		if (!err) {
			conn->base = base;
			conn->shm = base;
			return 0;
		}
		munmap(base, conn->size);
		if (err != -EEXIST)
			return err;
	}
	return -EEXIST;
}

static void connection_init(struct connection *conn)
{
	struct arax_shm *shm = conn->shm;

	atomic_init(&conn->refs, 1);
	pthread_mutex_init(&conn->lock, NULL);
	pthread_mutex_init(&conn->heap_lock, NULL);
	pthread_cond_init(&conn->progress_work, NULL);
	arax_ring_init(&conn->sq, &shm->sq, shm->sq_data, ARAX_SQ_BYTES);
	arax_ring_init(&conn->hq, &shm->hq, shm->hq_entries, ARAX_HQ_ENTRIES);
	arax_ring_init(&conn->cq, &shm->cq, shm->cq_entries, ARAX_CQ_ENTRIES);
	/* low slots last, so that they are given out first */
	for (uint32_t i = 0; i < conn->limits.commands; i++)
		conn->free_slots[i] = conn->limits.commands - 1 - i;
	conn->nfree = conn->limits.commands;
	conn->retired_tail = &conn->retired;
	conn->jobs_tail = &conn->jobs;
	conn->notices_tail = &conn->notices;
	for (int i = 0; i < HANDLE_KINDS; i++)
		conn->handles[i].next = 1;
}

static void connection_destroy(struct connection *conn)
{
	if (conn->heap && !conn->forked)
		mem_cache_flush(conn);
	if (!conn->forked) {
		daemon_close(conn->link);
		daemon_close(conn->daemon);
	}
	if (conn->base && !conn->forked)
		munmap(conn->base, conn->size);
	if (!conn->forked)
		arax_trace_close(&conn->trace);
	arax_heap_free(conn->heap);
	for (struct command *c = conn->pool, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	recover_free(conn);
	for (int i = 0; i < HANDLE_KINDS; i++)
		free(conn->handles[i].free);
	free(conn);
}

/* araxd, and from it a tenant with which the arena's address is settled. */
static int connection_meet(struct connection *conn, int *arena)
{
	int trace = -1;
	int err = conn->daemon = daemon_hello(NULL);

	if (err < 0)
		return err;
	err = daemon_attach(conn->daemon, arena, &conn->link, &trace, &conn->limits);
	if (err)
		return err;
	ARAX_FAULT_POINT(CLIENT_ATTACHED);
	conn->size = conn->limits.arena_size;
	/* Without one it is not traced; that is no error. */
	(void)arax_trace_open(&conn->trace, trace, ARAX_TRACE_CLIENT);
	daemon_close(trace);
	if (conn->size < 2 * (uint64_t)ARAX_HEAP_OFFSET || conn->size > (1ull << 42))
		return -EPROTO;
	return settle_address(conn, *arena);
}

static void connection_part(struct connection *conn, int *arena)
{
	daemon_close(conn->link);
	daemon_close(conn->daemon);
	daemon_close(*arena);
	arax_trace_close(&conn->trace);
	conn->link = conn->daemon = *arena = -1;
}

static struct connection *connection_new(int *error)
{
	struct connection *conn = calloc(1, sizeof(*conn));
	int arena = -1;
	int err;

	if (!conn) {
		*error = -ENOMEM;
		return NULL;
	}
	conn->link = conn->daemon = conn->arena = -1;
	/* araxd is crash-only, and a tenant may die before it is of any use: others take over */
	for (int i = 0; i < MEET_TRIES; i++) {
		err = connection_meet(conn, &arena);
		if (err != -ECONNRESET && err != -EPIPE)
			break;
		connection_part(conn, &arena);
	}
	if (err)
		goto fail;
	conn->heap = arax_heap_new(ARAX_HEAP_OFFSET, conn->size, arena, HEAP_HIGH_WATER);
	if (!conn->heap) {
		err = -ENOMEM;
		goto fail;
	}
	conn->arena = arena;
	connection_init(conn);
	ARAX_FAULT_POINT(CLIENT_SETTLED);
	return conn;
fail:
	arax_log("no connection to a tenant: %s", strerror(-err));
	daemon_close(arena);
	connection_destroy(conn);
	*error = err;
	return NULL;
}

/* After a fork the child has dead objects and makes a connection of its own. Its copies of the
 * sockets must go, or the parent's death would not be seen by the daemon and the tenant. */
static void fork_prepare(void)
{
	pthread_mutex_lock(&the_lock);
}

static void fork_parent(void)
{
	pthread_mutex_unlock(&the_lock);
}

static void fork_child(void)
{
	if (the_connection) {
		the_connection->forked = true;
		close(the_connection->link);
		close(the_connection->daemon);
		the_connection = NULL;
	}
	pthread_mutex_unlock(&the_lock);
}

struct connection *connection_get(int *err)
{
	static bool registered;
	struct connection *conn;

	pthread_mutex_lock(&the_lock);
	if (!registered)
		registered = pthread_atfork(fork_prepare, fork_parent, fork_child) == 0;
	if (the_connection && the_connection->dead) {
		connection_put(the_connection);
		the_connection = NULL;
	}
	if (!the_connection)
		the_connection = connection_new(err);
	conn = the_connection;
	if (conn)
		atomic_fetch_add(&conn->refs, 1);
	pthread_mutex_unlock(&the_lock);
	return conn;
}

void connection_put(struct connection *conn)
{
	/* A connection whose progress thread runs stays: the thread is detached and looks at it. */
	if (atomic_fetch_sub(&conn->refs, 1) == 1 && !conn->progress_started)
		connection_destroy(conn);
}

void connection_remember(struct connection *conn, cl_context context)
{
	pthread_mutex_lock(&conn->lock);
	context->notified = conn->replaced; /* what was before is not its concern */
	context->next = conn->contexts;
	conn->contexts = context;
	pthread_mutex_unlock(&conn->lock);
}

void connection_forget(struct connection *conn, cl_context context)
{
	if (conn->forked)
		return;
	pthread_mutex_lock(&conn->lock);
	for (cl_context *c = &conn->contexts; *c; c = &(*c)->next) {
		if (*c == context) {
			*c = context->next;
			break;
		}
	}
	pthread_mutex_unlock(&conn->lock);
}

/* No lock is held while the application hears. */
void connection_notify(struct connection *conn)
{
	char report[sizeof(conn->report)];
	cl_context c;

	do {
		pthread_mutex_lock(&conn->lock);
		for (c = conn->contexts; c; c = c->next) {
			/* not one that only we still hold */
			if (c->notified != conn->replaced && object_is(c, OBJECT_CONTEXT) &&
			    object_try_use(&c->object))
				break;
		}
		if (c)
			c->notified = conn->replaced;
		memcpy(report, conn->report, sizeof(report));
		pthread_mutex_unlock(&conn->lock);
		if (c) {
			context_notify(c, report);
			object_unuse(&c->object);
		}
	} while (c);
}

bool connection_alive(struct connection *conn)
{
	return !atomic_load_explicit(&conn->forked, memory_order_relaxed) &&
	       !atomic_load_explicit(&conn->dead, memory_order_relaxed);
}

/* ---- memory and handles --------------------------------------------------------------------- */

/* The heap's lock is held. */
static void count_memory(struct connection *conn)
{
	atomic_store_explicit(&conn->shm->client_memory, arax_heap_used(conn->heap),
			      memory_order_relaxed);
}

static int heap_take(struct connection *conn, size_t size, size_t align, uint64_t *offset)
{
	int err = -ENOMEM;

	pthread_mutex_lock(&conn->heap_lock);
	if (size <= the_device.info.global_mem_size &&
	    arax_heap_used(conn->heap) <= the_device.info.global_mem_size - size)
		err = arax_heap_alloc(conn->heap, size ? size : 1, align, offset);
	count_memory(conn);
	pthread_mutex_unlock(&conn->heap_lock);
	return err;
}

void *connection_alloc(struct connection *conn, size_t size, size_t align)
{
	uint64_t offset;

	if (!connection_alive(conn))
		return NULL;
	int err = heap_take(conn, size, align, &offset);
	if (err && mem_cache_flush(conn))
		err = heap_take(conn, size, align, &offset);
	return err ? NULL : conn->base + offset;
}

void connection_release(struct connection *conn, void *address)
{
	if (conn->forked)
		return;
	pthread_mutex_lock(&conn->heap_lock);
	arax_heap_release(conn->heap, (uint64_t)((char *)address - conn->base));
	count_memory(conn);
	pthread_mutex_unlock(&conn->heap_lock);
}

size_t connection_allocated(struct connection *conn, const void *address, void **start)
{
	uint64_t offset = (uint64_t)((const char *)address - conn->base);
	uint64_t begin = 0, size;

	if ((const char *)address < conn->base || offset >= conn->size || conn->forked)
		return 0;
	pthread_mutex_lock(&conn->heap_lock);
	size = arax_heap_size(conn->heap, offset, &begin);
	pthread_mutex_unlock(&conn->heap_lock);
	if (start)
		*start = conn->base + begin;
	return size;
}

static uint32_t handle_take(struct connection *conn, enum arax_handle_kind kind)
{
	struct handle_pool *pool = &conn->handles[kind];
	uint32_t handle = 0;

	pthread_mutex_lock(&conn->lock);
	if (conn->nobjects >= conn->limits.objects)
		handle = 0;
	else if (pool->nfree)
		handle = ARAX_HANDLE(kind, pool->free[--pool->nfree]);
	else if (pool->next < ARAX_HANDLE_MAX_INDEX)
		handle = ARAX_HANDLE(kind, pool->next++);
	conn->nobjects += handle != 0;
	pthread_mutex_unlock(&conn->lock);
	return handle;
}

uint32_t connection_handle(struct connection *conn, enum arax_handle_kind kind)
{
	if (!connection_alive(conn))
		return 0;
	uint32_t handle = handle_take(conn, kind);
	/* Released buffers that are kept for later have theirs, too. */
	if (!handle && mem_cache_flush(conn))
		handle = handle_take(conn, kind);
	return handle;
}

/* Numbers that cannot be kept for lack of memory are simply not used again. */
static void handle_free(struct handle_pool *pool, uint32_t handle)
{
	if (pool->nfree == pool->capacity) {
		size_t capacity = pool->capacity ? pool->capacity * 2 : 64;
		uint32_t *bigger = realloc(pool->free, capacity * sizeof(*bigger));

		if (!bigger)
			return;
		pool->free = bigger;
		pool->capacity = capacity;
	}
	pool->free[pool->nfree++] = ARAX_HANDLE_INDEX(handle);
}

int connection_define(struct connection *conn, const struct arax_record *record)
{
	if (!connection_alive(conn))
		return -EPIPE;
	pthread_mutex_lock(&conn->lock);
	int err = connection_send(conn, record);
	if (!err)
		recover_define(conn, record);
	pthread_mutex_unlock(&conn->lock);
	return err;
}

void connection_drop(struct connection *conn, enum arax_op op, uint32_t handle)
{
	/* All *_DROP records have one field, the handle. */
	struct arax_op_mem_drop drop = {
	    .head = {.size = sizeof(drop), .op = op, .slot = ARAX_NO_SLOT}, .mem = handle};

	_Static_assert(sizeof(struct arax_op_mem_drop) == sizeof(struct arax_op_queue_drop) &&
			   sizeof(struct arax_op_mem_drop) == sizeof(struct arax_op_kernel_drop),
		       "drop records are alike");
	if (!handle || conn->forked)
		return;
	pthread_mutex_lock(&conn->lock);
	if (op != ARAX_OP_COUNT && !conn->dead)
		(void)connection_send(conn, &drop.head); /* fails only with the tenant's death */
	recover_drop(conn, handle);
	handle_free(&conn->handles[ARAX_HANDLE_KIND(handle)], handle);
	conn->nobjects--;
	pthread_mutex_unlock(&conn->lock);
}

int connection_build(const void *request, size_t request_size, unsigned char **result, size_t *size)
{
	return daemon_build(request, request_size, result, size);
}
