/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands that take the way through the ring: a record with its wait list goes to the tenant. What
 * only the client can do (application memory, native kernels) goes as a HOST record: the tenant
 * says when its turn has come, the blocked caller or the progress thread executes it. What need not
 * take that way, and which way a command takes, is in enqueue.c.
 */
#include "icd/command.h"
#include "transport/fault_point.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define SUBMITS_PER_REAP 32

/* ---- checks --------------------------------------------------------------------------------- */

cl_int command_check(const struct command_desc *desc)
{
	if (!object_is(desc->queue, OBJECT_QUEUE))
		return CL_INVALID_COMMAND_QUEUE;
	if ((desc->nwait != 0) != (desc->waits != NULL))
		return CL_INVALID_EVENT_WAIT_LIST;
	for (cl_uint i = 0; i < desc->nwait; i++) {
		if (!object_is(desc->waits[i], OBJECT_EVENT))
			return CL_INVALID_EVENT_WAIT_LIST;
		if (desc->waits[i]->context != desc->queue->context)
			return CL_INVALID_CONTEXT;
	}
	if (!connection_alive(desc->queue->context->conn))
		return CL_OUT_OF_RESOURCES;
	return CL_SUCCESS;
}

static bool queue_drained(cl_command_queue queue)
{
	return atomic_load_explicit(&queue->completed, memory_order_acquire) ==
	       atomic_load_explicit(&queue->submitted, memory_order_relaxed);
}

bool queue_idle(const struct command_desc *desc, bool all, bool *failed)
{
	cl_command_queue queue = desc->queue;

	*failed = false;
	connection_reap(queue->context->conn);
	if (queue_out_of_order(queue) && !all ? queue->barriers != 0 : !queue_drained(queue))
		return false;
	for (cl_uint i = 0; i < desc->nwait; i++) {
		cl_int status = atomic_load_explicit(&desc->waits[i]->status, memory_order_acquire);

		if (status > CL_COMPLETE)
			return false;
		if (status < 0)
			*failed = true;
	}
	return true;
}

/* ---- by the ring ---------------------------------------------------------------------------- */

bool command_keep(struct connection *conn, struct command *command,
		  const struct arax_record *record)
{
	struct arax_record *kept = command_room(conn, command, record->size, 0);

	if (kept)
		memcpy(kept, record, record->size);
	return kept;
}

/* A user event gets a node in the tenant when a command first waits for it. Lock held, slots
 * reserved. */
static int announce_user_event(struct connection *conn, cl_event event)
{
	struct arax_op_user user = {.head = {.size = sizeof(user), .op = ARAX_OP_USER}};
	struct command *command = command_get(conn);

	if (!command)
		return -ENOMEM;
	if (!command_keep(conn, command, &user.head)) {
		command_cancel(conn, command);
		return -ENOMEM;
	}
	user.head.slot = command->record->slot = connection_slot(conn, command);
	int err = connection_send(conn, &user.head);
	if (err) {
		command_cancel(conn, command);
		return err;
	}
	atomic_store_explicit(&event->slot, user.head.slot, memory_order_relaxed);
	return 0;
}

static bool unannounced(cl_event event)
{
	return event->type == CL_COMMAND_USER && event->slot == ARAX_NO_SLOT &&
	       atomic_load_explicit(&event->status, memory_order_acquire) > CL_COMPLETE;
}

static int announce_user_events(struct connection *conn, const struct command_desc *desc)
{
	uint32_t need = 1;

	for (cl_uint i = 0; i < desc->nwait; i++)
		need += unannounced(desc->waits[i]);
	int err = connection_reserve(conn, need);
	for (cl_uint i = 0; !err && i < desc->nwait; i++) {
		if (unannounced(desc->waits[i]))
			err = announce_user_event(conn, desc->waits[i]);
	}
	return err;
}

static int announce_mem(struct connection *conn, cl_mem mem)
{
	int err = mem->parent ? announce_mem(conn, mem_root(mem)) : 0;
	if (err)
		return err;
	struct arax_op_mem_define define = {
	    .head = {.size = sizeof(define), .op = ARAX_OP_MEM_DEFINE, .slot = ARAX_NO_SLOT},
	    .mem = mem->handle,
	    .parent = mem->parent ? mem_root(mem)->handle : 0,
	    .home = mem_home_index(mem_root(mem)),
	    .pinned = !mem_root(mem)->range,
	    .type = mem->type,
	    .flags = mem->flags & (CL_MEM_READ_WRITE | CL_MEM_READ_ONLY | CL_MEM_WRITE_ONLY),
	    .data_off = (uint64_t)(mem->data - conn->base),
	    .data_len = mem->size,
	};

	if (mem->announced)
		return 0;
	if (mem->type != CL_MEM_OBJECT_BUFFER) {
		define.channel_order = mem->format.image_channel_order;
		define.channel_type = mem->format.image_channel_data_type;
		define.width = mem->desc.image_width;
		define.height = mem->desc.image_height;
		define.depth = mem->desc.image_depth;
		define.array_size = mem->desc.image_array_size;
		define.row_pitch = mem->row_pitch;
		define.slice_pitch = mem->slice_pitch;
	}
	err = connection_send(conn, &define.head);
	mem->announced = !err;
	if (!err)
		recover_define(conn, &define.head);
	return err;
}

/* Puts head, wait list and tail together, to be sent and to be kept. Lock held. */
static const struct arax_record *assemble(struct connection *conn, struct command *command,
					  const struct submission *s)
{
	size_t most = s->record->size + (((size_t)s->desc->nwait * 4 + 7) & ~(size_t)7) +
		      ((s->tail_size + 7) & ~(size_t)7);
	struct arax_record *record = command_room(conn, command, most, s->desc->nwait);
	uint16_t n = 0;

	if (!record)
		return NULL;
	uint32_t *waits = (uint32_t *)((unsigned char *)record + s->record->size);
	memcpy(record, s->record, s->record->size);
	for (cl_uint i = 0; i < s->desc->nwait; i++) {
		cl_event event = s->desc->waits[i];
		cl_int status = atomic_load_explicit(&event->status, memory_order_acquire);

		if (status < 0)
			record->flags |= ARAX_RECORD_FAILED_WAIT;
		else if (status > CL_COMPLETE) {
			uint32_t slot = event->slot;

			command->waits[n] = conn->commands[slot] ? conn->commands[slot]->number : 0;
			waits[n++] = slot;
		}
	}
	if (n & 1)
		waits[n] = 0;
	record->nwait = n;
	record->tail_size = (uint32_t)s->tail_size;
	unsigned char *tail = (unsigned char *)waits + (((size_t)n * 4 + 7) & ~(size_t)7);
	size_t padded = (s->tail_size + 7) & ~(size_t)7;
	if (s->tail_size) {
		memcpy(tail, s->tail, s->tail_size);
		memset(tail + s->tail_size, 0, padded - s->tail_size);
	}
	record->size = (uint32_t)((size_t)(tail - (unsigned char *)record) + padded);
	return record;
}

static bool keep_refs(struct command *command, const struct submission *s)
{
	for (int i = 0; i < COMMAND_REFS; i++) {
		if (s->desc->refs[i] && !command_ref(command, s->desc->refs[i]))
			return false;
	}
	for (size_t i = 0; i < s->nmems; i++) {
		if (!command_ref(command, &s->mems[i]->object))
			return false;
	}
	for (size_t i = 0; i < s->nrefs; i++) {
		if (!command_ref(command, s->refs[i]))
			return false;
	}
	return true;
}

static cl_int submit_error(int err)
{
	if (err == -ENOMEM)
		return CL_OUT_OF_HOST_MEMORY;
	return err ? CL_OUT_OF_RESOURCES : CL_SUCCESS;
}

/* Is there something for the progress thread to do when the application does not call? */
static bool needs_progress(const struct submission *s)
{
	return (s->work && !s->desc->blocking) || s->print;
}

/* For the tenant, which writes most of the trace. */
static uint64_t queued_time(const struct connection *conn, cl_event event)
{
	if (!arax_trace_on(&conn->trace))
		return 0;
	return event ? event->queued : arax_now_ns();
}

/* Fills in the command; its slot is taken. */
static int prepare(struct connection *conn, struct command *command, const struct submission *s,
		   cl_event event)
{
	cl_command_queue queue = s->desc->queue;

	object_use(&queue->object);
	command->queue = queue;
	command->type = s->desc->type;
	if (event) {
		object_use(&event->object);
		command->event = event;
	}
	if (s->work) {
		command->work = *s->work;
		command->host = HOST_WAIT;
		command->caller_runs = s->desc->blocking;
	}
	if (s->print) {
		command->print = s->print;
		command->print_size = s->print_size;
		command->work.release = s->print_release;
		command->work.arg = s->print_arg;
	}
	if (!keep_refs(command, s))
		return -ENOMEM;
	connection_slot(conn, command);
	atomic_store_explicit(&conn->shm->slots[command->slot].queued_ns, queued_time(conn, event),
			      memory_order_relaxed);
	s->record->slot = command->slot;
	s->record->queue = queue->handle;
	if (needs_progress(s)) {
		int err = progress_ensure(conn);

		if (err)
			return err;
	}
	for (size_t i = 0; i < s->nmems; i++) {
		int err = announce_mem(conn, s->mems[i]);

		if (err)
			return err;
	}
	return 0;
}

/* In flight from here on. */
static void sent_now(struct connection *conn, struct command *command, const struct submission *s,
		     cl_event event)
{
	cl_command_queue queue = s->desc->queue;

	queue->last_slot = command->slot;
	queue->submitted++;
	if (s->barrier) {
		command->barrier = true;
		queue->barriers++;
	}
	if (event)
		atomic_store_explicit(&event->slot, command->slot, memory_order_relaxed);
	if (needs_progress(s)) {
		command->watched = true;
		progress_watch(conn);
	}
}

static int submit_locked(struct connection *conn, const struct submission *s, cl_event event,
			 struct command **sent)
{
	if (s->desc->nwait > ARAX_WAIT_MAX)
		return -EBUSY;
	/* Not each time: a look at the ring takes its cache line from the tenant. */
	if (conn->nfree % SUBMITS_PER_REAP == 0)
		connection_reap_locked(conn);
	int err = announce_user_events(conn, s->desc);
	if (err)
		return err;
	struct command *command = command_get(conn);
	if (!command)
		return -ENOMEM;
	err = prepare(conn, command, s, event);
	const struct arax_record *record = err ? NULL : assemble(conn, command, s);
	if (!err)
		err = conn->dead ? -EPIPE : record ? 0 : -ENOMEM;
	if (err) {
		/* the caller keeps what is its own as long as this fails */
		command->work.release = NULL;
		command->event = NULL;
		if (event)
			object_unuse(&event->object);
		command_cancel(conn, command);
		return err;
	}
	/* Before the record is out: its completion may be reaped at any time after. */
	sent_now(conn, command, s, event);
	(void)connection_send(conn, record); /* if the tenant is gone, the next one gets it */
	*sent = command;
	return 0;
}

cl_int submit(const struct submission *s, cl_event event, struct command **sent)
{
	struct connection *conn = s->desc->queue->context->conn;
	struct command *command;

	pthread_mutex_lock(&conn->lock);
	int err = submit_locked(conn, s, event, &command);
	pthread_mutex_unlock(&conn->lock);
	if (!err && sent)
		*sent = command;
	return submit_error(err);
}

/* ---- host commands -------------------------------------------------------------------------- */

static void print_output(struct connection *conn, struct command *command)
{
	uint64_t n =
	    atomic_load_explicit(&conn->shm->slots[command->slot].result, memory_order_relaxed);

	if (n > command->print_size)
		n = command->print_size;
	fwrite(command->print, 1, n, stdout);
	fflush(stdout);
}

static void trace_host(struct connection *conn, const struct command *command, cl_int status)
{
	const struct arax_slot *slot = &conn->shm->slots[command->slot];
	const struct traced traced = {
	    .type = command->type,
	    .queue = command->queue ? command->queue->handle : 0,
	    .status = status,
	    .bytes = command->work.bytes,
	    .id = atomic_load_explicit(&slot->trace_id, memory_order_relaxed),
	    .queued = atomic_load_explicit(&slot->queued_ns, memory_order_relaxed),
	    .submit = atomic_load_explicit(&slot->submit_ns, memory_order_relaxed),
	    .start = atomic_load_explicit(&slot->start_ns, memory_order_relaxed),
	};

	trace_client(conn, &traced);
}

void command_execute(struct connection *conn, struct command *command)
{
	struct arax_slot *slot = &conn->shm->slots[command->slot];
	int turn = HOST_READY;
	cl_int status;

	/* Its turn can have been taken back, with the tenant that gave it. */
	if (!atomic_compare_exchange_strong(&command->host, &turn, HOST_RUNS))
		return;
	if (command->print) {
		print_output(conn, command);
		/* the kernel's own outcome and times stand in the slot */
		status = atomic_load_explicit(&slot->status, memory_order_acquire);
		status = status < 0 ? status : CL_COMPLETE;
	} else {
		atomic_store_explicit(&slot->start_ns, arax_now_ns(), memory_order_relaxed);
		atomic_store_explicit(&slot->status, CL_RUNNING, memory_order_relaxed);
		ARAX_FAULT_POINT(CLIENT_HOST_TURN);
		status = command->work.run(&command->work);
		atomic_store_explicit(&slot->end_ns, arax_now_ns(), memory_order_relaxed);
		if (arax_trace_on(&conn->trace))
			trace_host(conn, command, status);
		if (!conn->dead) {
			atomic_fetch_add_explicit(&conn->shm->client_bytes, command->work.bytes,
						  memory_order_relaxed);
			atomic_fetch_add_explicit(&conn->shm->client_commands, 1,
						  memory_order_relaxed);
		}
	}
	pthread_mutex_lock(&conn->lock);
	connection_host_done(conn, command->slot, status);
	pthread_mutex_unlock(&conn->lock);
	connection_wake(conn);
}

struct turn {
	struct command *command;
	cl_event event;
};

/* The command may be gone once its event is final, so look at the event first. */
static bool turn_or_final(void *arg)
{
	struct turn *turn = arg;

	return atomic_load_explicit(&turn->event->status, memory_order_acquire) <= CL_COMPLETE ||
	       (turn->command &&
		atomic_load_explicit(&turn->command->host, memory_order_acquire) == HOST_READY);
}

/* Blocks until the event is final, executing the host work when its turn has come. */
static cl_int wait_blocking(struct connection *conn, cl_event event, struct command *command)
{
	struct turn turn = {command, event};

	/* While its turn may still come the command must not go back to the pool under us: settle
	 * only ends commands whose event is final, and those are not looked at. */
	while (command && connection_wait(conn, turn_or_final, &turn, true) &&
	       atomic_load_explicit(&event->status, memory_order_acquire) > CL_COMPLETE)
		command_execute(conn, command);
	turn.command = NULL;
	if (!connection_wait(conn, turn_or_final, &turn, true))
		return CL_OUT_OF_RESOURCES;
	return event->status < 0 ? event->status : CL_SUCCESS;
}

cl_int finish_enqueue(const struct command_desc *desc, cl_int error, cl_event event,
		      struct command *caller_runs)
{
	struct connection *conn = desc->queue->context->conn;
	uint32_t losses = atomic_load_explicit(&desc->queue->losses, memory_order_relaxed);

	pthread_mutex_unlock(&desc->queue->lock);
	if (!error && desc->blocking && event)
		error = wait_blocking(conn, event, caller_runs);
	if (!error && desc->blocking && queue_lost(desc->queue, losses))
		error = CL_OUT_OF_RESOURCES;
	if (event) {
		if (desc->event && error != CL_OUT_OF_HOST_MEMORY &&
		    (error == CL_SUCCESS || event->status < 0))
			*desc->event = event;
		else
			object_release(&event->object);
	}
	connection_settle(conn);
	return error;
}
