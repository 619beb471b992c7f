/* SPDX-License-Identifier: Apache-2.0
 *
 * How a command becomes a record, for command.c, enqueue.c, alone.c and launch.c. The object
 * classes use the functions in icd.h.
 */
#ifndef ARAX_ICD_COMMAND_H
#define ARAX_ICD_COMMAND_H

#include "icd/connection.h"

/* A record to be sent: the op's struct with its fields set (head.op and head.size = the size of
 * the struct; the rest of the head is filled in here), then a tail. */
struct submission {
	const struct command_desc *desc;
	struct arax_record *record;
	const void *tail;
	size_t tail_size;
	const struct host_work *work; /* for host commands */
	bool barrier;
	cl_mem *mems; /* announced and used */
	size_t nmems;
	struct object **refs; /* used */
	size_t nrefs;
	char *print; /* a launch that prints: where to; print_release gives it back */
	size_t print_size;
	void (*print_release)(const struct host_work *work);
	void *print_arg;
};

/** command_keep() - keep a record that waits for nothing. Lock held. Return: false without memory.
 */
bool command_keep(struct connection *conn, struct command *command,
		  const struct arax_record *record);

/** submit() - send it, the queue's lock held.
 *  Return: CL_SUCCESS with *sent (valid while its event is; NULL allowed), or an error. */
cl_int submit(const struct submission *submission, cl_event event, struct command **sent);

/** queue_idle() - may the calling thread execute a command of this queue itself, now? Every
 *  command that it has to wait for has ended. failed: one of the wait list did so with an error.
 *  Queue's lock held. */
bool queue_idle(const struct command_desc *desc, bool all, bool *failed);

/** finish_enqueue() - unlock the queue, hand the event to the application, wait if blocking. */
cl_int finish_enqueue(const struct command_desc *desc, cl_int error, cl_event event,
		      struct command *caller_runs);

#endif
