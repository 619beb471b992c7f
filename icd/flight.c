/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands in flight: their slots, the rings, and waiting. Every wait has a bound after which it
 * looks whether the tenant still lives.
 */
#include "icd/connection.h"
#include "icd/daemon.h"
#include "transport/fault_point.h"
#include "transport/socket.h"

#include <errno.h>
#include <stdlib.h>

#define LOOK_MS 20 /* how often a sleeper looks for the tenant's death */
#define SPIN_MAX_NS 50000
#define SPIN_CROWDED_NS 10000 /* about what going to sleep and being woken costs */

static bool cq_pending(struct connection *conn)
{
	return atomic_load_explicit(&conn->shm->cq.tail, memory_order_acquire) !=
	       atomic_load_explicit(&conn->cq_taken, memory_order_relaxed);
}

struct command *command_get(struct connection *conn)
{
	struct command *command = conn->pool;

	if (command) {
		conn->pool = command->next;
	} else {
		command = malloc(sizeof(*command));
		if (!command)
			return NULL;
		command->refs = command->refs_inline;
		command->refs_capacity = 8;
		command->record = NULL;
		command->block = NULL;
	}
	command->number = ++conn->last_number;
	command->next = NULL;
	command->slot = ARAX_NO_SLOT;
	command->queue = NULL;
	command->event = NULL;
	command->barrier = command->caller_runs = command->watched = false;
	atomic_store_explicit(&command->host, HOST_NONE, memory_order_relaxed);
	command->work.release = NULL;
	command->print = NULL;
	command->nrefs = 0;
	return command;
}

static void command_put(struct connection *conn, struct command *command)
{
	command_room_free(command);
	if (command->refs != command->refs_inline) {
		free(command->refs);
		command->refs = command->refs_inline;
		command->refs_capacity = 8;
	}
	command->next = conn->pool;
	conn->pool = command;
}

/* A command that was not sent: what it holds is given back like that of one that has ended, and
 * its slot, if it has one, is free again. */
void command_cancel(struct connection *conn, struct command *command)
{
	if (command->slot != ARAX_NO_SLOT) {
		conn->commands[command->slot] = NULL;
		conn->free_slots[conn->nfree] = command->slot;
		conn->nfree++;
	}
	command->next = NULL;
	*conn->retired_tail = command;
	conn->retired_tail = &command->next;
	conn->has_retired = true;
}

bool command_ref(struct command *command, struct object *object)
{
	if (command->nrefs == command->refs_capacity) {
		size_t capacity = command->refs_capacity * 2;
		bool inside = command->refs == command->refs_inline;
		struct object **bigger =
		    realloc(inside ? NULL : command->refs, capacity * sizeof(*bigger));

		if (!bigger)
			return false;
		if (inside)
			memcpy(bigger, command->refs_inline, sizeof(command->refs_inline));
		command->refs = bigger;
		command->refs_capacity = capacity;
	}
	object_use(object);
	command->refs[command->nrefs++] = object;
	return true;
}

/* For waits that end when rung or after a bound. */
static bool never(void *arg)
{
	(void)arg;
	return false;
}

/* For waits for room: much has completed, or nothing will without us. */
static bool room(void *arg)
{
	struct connection *conn = arg;

	return atomic_load_explicit(&conn->shm->cq.tail, memory_order_acquire) -
		       atomic_load_explicit(&conn->cq_taken, memory_order_relaxed) >=
		   ARAX_ROOM ||
	       atomic_load_explicit(&conn->shm->tenant_idle, memory_order_acquire) || conn->dead;
}

/* What cannot be sent is not lost: commands and definitions are kept, and whoever waits for
 * anything finds out that another tenant is needed. */
int connection_send(struct connection *conn, const struct arax_record *record)
{
	int err;

	if (conn->broken)
		return conn->dead ? -EPIPE : 0;
	while ((err = arax_ring_write(&conn->sq, record, record->size)) == -EAGAIN) {
		/* The tenant is behind. It may be so because we are, so take what it has done. */
		struct arax_spin spin = {0};

		if (conn->dead)
			return -EPIPE;
		connection_reap_locked(conn);
		arax_wake_wait(&conn->shm->client_room, &spin, room, conn, 1);
		if (conn->broken || arax_socket_hung_up(conn->link))
			err = -EPIPE;
		if (err != -EAGAIN)
			break;
	}
	if (err) {
		conn->broken = true;
		return conn->dead ? err : 0;
	}
	ARAX_FAULT_POINT(CLIENT_RECORD_WRITTEN);
	arax_wake_ring(&conn->shm->tenant_wake);
	ARAX_FAULT_POINT(CLIENT_TENANT_WOKEN);
	return 0;
}

/* Nothing in flight can go on unless the application does something. The tenant takes back its word
 * before it consumes, so the heads are read before the word. */
static bool stuck(struct connection *conn)
{
	return !conn->njobs && !conn->nnotices &&
	       atomic_load(&conn->shm->sq.head) == conn->sq.own &&
	       atomic_load(&conn->shm->hq.head) == conn->hq.own &&
	       atomic_load(&conn->shm->tenant_idle) && !arax_ring_pending(&conn->cq);
}

int connection_reserve(struct connection *conn, uint32_t slots)
{
	while (conn->nfree < slots) {
		struct arax_spin spin = {0};

		connection_reap_locked(conn);
		if (conn->nfree >= slots)
			break;
		if (conn->dead)
			return -EPIPE;
		if (stuck(conn))
			return -EBUSY;
		pthread_mutex_unlock(&conn->lock);
		bool helped = progress_help(conn);
		if (!helped)
			arax_wake_wait(&conn->shm->client_room, &spin, room, conn, 2);
		if (!helped && (conn->broken || arax_socket_hung_up(conn->link)))
			connection_fail(conn, "its link was closed");
		pthread_mutex_lock(&conn->lock);
	}
	return 0;
}

uint32_t connection_slot(struct connection *conn, struct command *command)
{
	uint32_t slot = conn->free_slots[--conn->nfree];
	struct arax_slot *shared = &conn->shm->slots[slot];

	atomic_store_explicit(&shared->status, CL_QUEUED, memory_order_relaxed);
	atomic_store_explicit(&shared->submit_ns, 0, memory_order_relaxed);
	atomic_store_explicit(&shared->start_ns, 0, memory_order_relaxed);
	atomic_store_explicit(&shared->end_ns, 0, memory_order_relaxed);
	atomic_store_explicit(&shared->result, 0, memory_order_relaxed);
	atomic_store_explicit(&shared->waited, 0, memory_order_relaxed);
	command->slot = slot;
	conn->commands[slot] = command;
	ARAX_FAULT_POINT(CLIENT_SLOT_TAKEN);
	return slot;
}

void connection_wake(struct connection *conn)
{
	arax_wake_ring_all(&conn->shm->client_wake, &conn->shm->client_slot);
}

/* Takes a command out of flight: its outcome is known. Lock held. */
static void retire(struct connection *conn, struct command *command, cl_int status,
		   const struct arax_slot *slot)
{
	cl_event event = command->event;

	command->status = status;
	command->why = status < 0
			   ? (uint32_t)atomic_load_explicit(&slot->result, memory_order_relaxed)
			   : ARAX_WHY_NONE;
	if (event)
		event_set(event, status,
			  atomic_load_explicit(&slot->submit_ns, memory_order_relaxed),
			  atomic_load_explicit(&slot->start_ns, memory_order_relaxed),
			  atomic_load_explicit(&slot->end_ns, memory_order_relaxed));
	if (command->queue) {
		if (command->barrier)
			atomic_fetch_sub_explicit(&command->queue->barriers, 1,
						  memory_order_release);
		atomic_fetch_add_explicit(&command->queue->completed, 1, memory_order_release);
	}
	if (command->watched)
		progress_unwatch(conn);
	if (status < 0)
		recover_failed(conn, command->number);
	conn->commands[command->slot] = NULL;
	conn->free_slots[conn->nfree] = command->slot;
	conn->nfree++;
	command->next = NULL;
	*conn->retired_tail = command;
	conn->retired_tail = &command->next;
	atomic_store_explicit(&conn->has_retired, true, memory_order_relaxed);
}

void connection_host_done(struct connection *conn, uint32_t slot, cl_int status)
{
	struct command *command = conn->commands[slot];

	if (!command) /* ended with the connection */
		return;
	/* The ring has twice as many entries as there are slots; it can be full only while the
	 * tenant does not look, and then waiting is right. */
	while (!conn->dead && !conn->broken &&
	       arax_ring_push(&conn->hq, ARAX_ENTRY(status < 0, slot)) == -EAGAIN) {
		struct arax_spin spin = {0};

		arax_wake_wait(&conn->shm->client_wake, &spin, never, NULL, 1);
		if (arax_socket_hung_up(conn->link))
			conn->broken = true;
	}
	ARAX_FAULT_POINT(CLIENT_HOST_DONE);
	retire(conn, command, status, &conn->shm->slots[slot]);
	arax_wake_ring(&conn->shm->tenant_wake);
}

static bool host_turn(struct connection *conn, struct command *command)
{
	if (command->host != HOST_WAIT && !command->print)
		return false;
	atomic_store_explicit(&command->host, HOST_READY, memory_order_release);
	if (!command->caller_runs)
		progress_job(conn, command);
	return true;
}

static bool take_entry(struct connection *conn, uint32_t entry)
{
	uint32_t slot = ARAX_ENTRY_SLOT(entry);
	struct command *command = slot < ARAX_SLOTS ? conn->commands[slot] : NULL;

	if (!command)
		return false;
	if (ARAX_ENTRY_KIND(entry) == ARAX_CQ_HOST_READY)
		return host_turn(conn, command);
	if (ARAX_ENTRY_KIND(entry) != ARAX_CQ_COMPLETE || command->host >= HOST_READY)
		return false;
	cl_int status = atomic_load_explicit(&conn->shm->slots[slot].status, memory_order_acquire);
	retire(conn, command, status > 0 ? CL_OUT_OF_RESOURCES : status, &conn->shm->slots[slot]);
	return true;
}

void connection_retire(struct connection *conn, struct command *command, cl_int status)
{
	static const struct arax_slot no_times;

	retire(conn, command, status, &no_times);
}

/* Everything in flight ends. Commands that somebody executes right now (host turn, caller_runs or
 * taken by the progress thread) are ended by who executes them. */
static void fail_all(struct connection *conn)
{
	conn->dead = true;
	conn->has_retired = true; /* whoever settles next tells the contexts, too */
	for (uint32_t i = 0; i < ARAX_SLOTS; i++) {
		if (conn->commands[i] && conn->commands[i]->host < HOST_READY)
			connection_retire(conn, conn->commands[i], CL_OUT_OF_RESOURCES);
	}
}

void connection_fail(struct connection *conn, const char *why)
{
	pthread_mutex_lock(&conn->lock);
	/* Another thread may have been faster: then its tenant is there, or will be. */
	bool mine =
	    !conn->dead && !conn->recovering && (conn->broken || arax_socket_hung_up(conn->link));
	int err = mine ? recover(conn) : 0;
	if (mine)
		arax_log("the tenant is gone (%s): %s", why, conn->report);
	if (err) {
		arax_log("no other tenant can be had: %s", strerror(-err));
		fail_all(conn);
	}
	pthread_mutex_unlock(&conn->lock);
	connection_wake(conn);
}

void connection_reap_locked(struct connection *conn)
{
	uint32_t entry;
	int taken = 0, r;

	while ((r = arax_ring_pop(&conn->cq, &entry)) > 0) {
		taken++;
		ARAX_FAULT_POINT(CLIENT_ENTRY_TAKEN);
		if (!take_entry(conn, entry)) {
			r = -EPROTO;
			break;
		}
	}
	atomic_store_explicit(&conn->cq_taken, conn->cq.own, memory_order_release);
	if (r < 0 && !conn->broken) {
		arax_log("the tenant broke the protocol");
		conn->broken = true;
	}
	/* Others may sleep until what was just taken: they cannot see it in the ring any more. */
	if (taken)
		connection_wake(conn);
}

/* Gives back what a command held; runs destroy functions, so no lock is held. */
static void release_command(struct command *command)
{
	if (command->work.release)
		command->work.release(&command->work);
	for (size_t i = 0; i < command->nrefs; i++)
		object_unuse(command->refs[i]);
	if (command->queue)
		object_unuse(&command->queue->object);
}

/* A context hears what was not its command's own fault. */
static void tell_why(const struct command *command)
{
	static const char *const words[] = {
	    [ARAX_WHY_POISONED] =
		"Arax: a command failed with CL_OUT_OF_RESOURCES: what it needs was in the memory "
		"of "
		"a device that is lost. It is undefined until it is fully overwritten.",
	    [ARAX_WHY_DEVICE_LOST] = "Arax: a command failed with CL_OUT_OF_RESOURCES: its device "
				     "was lost while it ran. "
				     "What it could write is undefined.",
	};

	if (command->why && command->why < sizeof(words) / sizeof(words[0]) && command->queue)
		context_notify(command->queue->context, words[command->why]);
}

static void settle_retired(struct connection *conn)
{
	struct command *list, *next;

	pthread_mutex_lock(&conn->lock);
	list = conn->retired;
	conn->retired = NULL;
	conn->retired_tail = &conn->retired;
	conn->has_retired = false;
	pthread_mutex_unlock(&conn->lock);
	for (struct command *c = list; c; c = c->next) {
		tell_why(c);
		if (c->event) {
			progress_notify(conn, c->event);
			object_unuse(&c->event->object);
		}
		release_command(c);
	}
	pthread_mutex_lock(&conn->lock);
	for (struct command *c = list; c; c = next) {
		next = c->next;
		command_put(conn, c);
	}
	pthread_mutex_unlock(&conn->lock);
	if (conn->replaced)
		connection_notify(conn);
}

void connection_reap(struct connection *conn)
{
	if (!cq_pending(conn))
		return;
	pthread_mutex_lock(&conn->lock);
	connection_reap_locked(conn);
	pthread_mutex_unlock(&conn->lock);
}

void connection_settle(struct connection *conn)
{
	if (conn->forked)
		return;
	connection_reap(conn);
	if (atomic_load_explicit(&conn->has_retired, memory_order_relaxed))
		settle_retired(conn);
}

struct waiting {
	struct connection *conn;
	bool (*cond)(void *arg);
	void *arg;
	struct arax_slot *slot; /* of the one command that is waited for, or NULL */
	uint32_t looks;
};

/* A look at the completion ring takes its cache line from the tenant, who writes there with every
 * completion: who waits for one command alone looks at that command's slot instead, and at the ring
 * only now and then, or when something in flight needs the client. */
#define LOOKS_PER_REAP 16

static bool slot_final(const struct arax_slot *slot)
{
	return atomic_load_explicit(&slot->status, memory_order_acquire) <= CL_COMPLETE;
}

static bool waiting_ready(void *arg)
{
	struct waiting *w = arg;
	struct connection *conn = w->conn;

	if (w->cond(w->arg) || conn->njobs || conn->dead)
		return true;
	if (conn->broken)
		return !conn->recovering; /* else its end is rung */
	if (w->slot && !conn->watch && w->looks++ % LOOKS_PER_REAP)
		return slot_final(w->slot);
	return cq_pending(conn);
}

/* Asleep, that one command's end is all that wakes, or what needs the client. */
static bool waiting_asleep(void *arg)
{
	struct waiting *w = arg;

	if (!w->slot || w->conn->watch)
		return waiting_ready(w);
	w->looks = 1;
	return waiting_ready(w);
}

static bool wait_once(struct waiting *w, struct arax_spin *spin)
{
	struct arax_shm *shm = w->conn->shm;

	if (arax_wake_spin(spin, waiting_ready, w))
		return true;
	if (!w->slot)
		return arax_wake_sleep(&shm->client_wake, spin, waiting_ready, w, LOOK_MS);
	atomic_store_explicit(&w->slot->waited, 1, memory_order_relaxed);
	return arax_wake_sleep(&shm->client_slot, spin, waiting_asleep, w, LOOK_MS);
}

bool connection_wait_slot(struct connection *conn, uint32_t slot, bool (*cond)(void *arg),
			  void *arg, bool settle)
{
	static _Thread_local struct arax_spin spin;
	static _Thread_local bool spin_ready;
	struct waiting waiting = {conn, cond, arg,
				  slot < ARAX_SLOTS ? &conn->shm->slots[slot] : NULL, 0};

	if (!spin_ready) {
		arax_spin_init(&spin, SPIN_MAX_NS);
		spin_ready = true;
	}
	bool crowded = atomic_load_explicit(&conn->shm->crowded, memory_order_relaxed);
	arax_spin_limit(&spin, crowded ? SPIN_CROWDED_NS : SPIN_MAX_NS);
	for (;;) {
		if (conn->forked)
			return false;
		connection_reap(conn);
		if (settle && conn->has_retired)
			settle_retired(conn);
		if (cond(arg))
			return true;
		if (progress_help(conn))
			continue;
		if (conn->dead)
			return false;
		if (waiting.slot && slot_final(waiting.slot))
			waiting.slot = NULL; /* it ended, and that was not all */
		bool woken = wait_once(&waiting, &spin);
		if (conn->broken)
			connection_fail(conn, "it broke the protocol");
		else if (!woken && arax_socket_hung_up(conn->link))
			connection_fail(conn, "its link was closed");
	}
}

bool connection_wait(struct connection *conn, bool (*cond)(void *arg), void *arg, bool settle)
{
	return connection_wait_slot(conn, ARAX_NO_SLOT, cond, arg, settle);
}
