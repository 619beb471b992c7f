/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands of no queue, which the library gives by itself: loading a program, and waiting until no
 * device uses a range of the arena any more.
 */
#include "icd/command.h"

#include <errno.h>

/* The end of a PROGRAM_LOAD; lives on the stack of who waits. */
struct load {
	struct connection *conn;
	cl_int status;
	_Atomic bool ended;
};

static void load_ended(const struct host_work *work)
{
	const struct command *command =
	    (const void *)((const char *)work - offsetof(struct command, work));
	struct load *load = work->arg;
	struct connection *conn = load->conn;

	load->status = command->status;

	atomic_store_explicit(&load->ended, true, memory_order_release);
	connection_wake(conn);
}

static bool load_done(void *arg)
{
	return atomic_load_explicit(&((struct load *)arg)->ended, memory_order_acquire);
}

/* A command of no queue; release is called when it has ended. Lock held. */
static int send_alone(struct connection *conn, struct arax_record *record,
		      void (*release)(const struct host_work *work), void *arg)
{
	int err = connection_reserve(conn, 1);
	struct command *command = err ? NULL : command_get(conn);

	if (!command)
		return err ? err : -ENOMEM;
	if (!command_keep(conn, command, record)) {
		command_cancel(conn, command);
		return -ENOMEM;
	}
	record->slot = command->record->slot = connection_slot(conn, command);
	err = connection_send(conn, record);
	if (err) {
		command_cancel(conn, command);
		return err;
	}
	command->work.release = release;
	command->work.arg = arg;
	return 0;
}

int connection_quiesce(struct connection *conn, const void *start, size_t size,
		       void (*release)(const struct host_work *work), void *arg)
{
	struct arax_op_marker op = {
	    .head = {.size = sizeof(op), .op = ARAX_OP_MARKER},
	    .access = ARAX_ACCESS_WRITE,
	    .data_off = (uint64_t)((const char *)start - conn->base),
	    .data_len = size,
	};

	pthread_mutex_lock(&conn->lock);
	int err = conn->dead ? -EPIPE : send_alone(conn, &op.head, release, arg);
	pthread_mutex_unlock(&conn->lock);
	return err;
}

bool connection_wants_requests(const struct connection *conn)
{
	return conn->limits.flags & ARAX_ATTACH_REQUESTS;
}

int connection_load(struct connection *conn, uint32_t program, const struct executable *bytes)
{
	size_t request_at = (bytes->result_size + 63) & ~(size_t)63;
	size_t size = request_at + bytes->request_size;
	char *range = connection_alloc(conn, size, 4096);
	struct load load = {.conn = conn};
	int err;

	if (!range)
		return -ENOMEM;
	memcpy(range, bytes->result, bytes->result_size);
	if (bytes->request_size)
		memcpy(range + request_at, bytes->request, bytes->request_size);
	struct arax_op_program_load op = {
	    .head = {.size = sizeof(op), .op = ARAX_OP_PROGRAM_LOAD},
	    .program = program,
	    .binary_off = (uint64_t)(range - conn->base),
	    .binary_len = bytes->result_size,
	};
	if (bytes->request_size) {
		op.request_off = op.binary_off + request_at;
		op.request_len = bytes->request_size;
	}
	pthread_mutex_lock(&conn->lock);
	err = conn->dead ? -EPIPE : send_alone(conn, &op.head, load_ended, &load);
	pthread_mutex_unlock(&conn->lock);
	/* Ends also with the tenant's death; whoever settles calls load_ended(). */
	while (!err && !connection_wait(conn, load_done, &load, true))
		connection_settle(conn);
	/* The next buffer may lie here. What it contains is nobody's promise, but applications that
	 * look at it work with zeroes, as in a fresh process, and would not with this. */
	memset(range, 0, size);
	connection_release(conn, range);
	if (!err && load.status == CL_OUT_OF_HOST_MEMORY)
		err = -ENOMEM;
	if (!err && connection_alive(conn)) {
		pthread_mutex_lock(&conn->lock);
		recover_program(conn, program, bytes);
		pthread_mutex_unlock(&conn->lock);
		return 0;
	}
	return err ? err : -EPIPE;
}
