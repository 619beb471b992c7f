/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands of a link, from its record to its completion:
 *
 *   held      for a program that is being built, with all that came after it;
 *   waiting   for the link's turn on the device (share.c);
 *   granted   the link's thread gives it to the back end next;
 *   in flight until the back end calls done, which writes the completion;
 *   ended     until the link's thread drops its references.
 *
 * Completions of one stream come in its order, also of a command that fails before it begins: it
 * holds the link up until its stream is empty.
 */
#include "devices/serve_internal.h"
#include "transport/fault_point.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct serve_command *command_new(struct serve_link *link, enum serve_what what, uint32_t slot,
				  uint32_t nargs, size_t values)
{
	struct serve_command *command;
	size_t args = nargs * (sizeof(command->args[0]) + sizeof(command->objects[0]));

	command = calloc(1, sizeof(*command) + args + values);
	if (!command)
		return NULL;
	command->link = link;
	command->what = what;
	command->slot = slot;
	command->nargs = nargs;
	command->objects = (struct serve_object **)&command->args[nargs];
	return command;
}

void command_free(struct serve_link *link, struct serve_command *command)
{
	for (uint32_t i = 0; i < command->nargs; i++)
		if (command->objects[i])
			object_unref(link, command->objects[i]);
	if (command->kernel)
		object_unref(link, &command->kernel->object);
	if (command->mem)
		object_unref(link, &command->mem->object);
	if (command->program)
		object_unref(link, &command->program->object);
	if (command->stream)
		object_unref(link, &command->stream->object);
	free(command);
}

/* ---- the outcome, with state held ----------------------------------------------------------- */

/* Logs are cut to what is free beyond what all commands in flight need for their completions. */
static size_t log_room(struct serve_link *link, size_t size)
{
	const size_t reserve = ARAX_LINK_SLOTS * sizeof(struct arax_link_done);
	uint32_t room;

	if (arax_ring_room(&link->cq, &room) || room < reserve + 8)
		return 0;
	room = (room - (uint32_t)reserve) & ~7u;
	if (size > ARAX_LINK_LOG_MAX)
		size = ARAX_LINK_LOG_MAX;
	return size < room ? size : room;
}

static void complete(struct serve_command *command, int status, const char *log, uint64_t start_ns,
		     uint64_t end_ns)
{
	struct serve_link *link = command->link;
	struct {
		struct arax_link_done done;
		char log[ARAX_LINK_LOG_MAX + 8];
	} record;
	size_t size = log ? strlen(log) : 0;
	int rc;

	link->busy[command->slot] = false;
	/* What was copied then is nowhere. */
	if (link->left || link->let_go)
		return;
	link->failures += status == CL_MEM_OBJECT_ALLOCATION_FAILURE;
	size = size ? log_room(link, size) : 0;
	record.done = (struct arax_link_done){
	    .size = (uint32_t)(sizeof(record.done) + ((size + 7) & ~(size_t)7)),
	    .slot = command->slot,
	    .status = status < 0 ? status : 0,
	    .log_size = (uint32_t)size,
	    .start_ns = start_ns,
	    .end_ns = end_ns,
	};
	if (size)
		memcpy(record.log, log, size);
	memset(record.log + size, 0, -size & 7);
	ARAX_FAULT_POINT(DEVICE_COMPLETES);
	rc = arax_ring_write(&link->cq, &record, record.done.size);
	ARAX_FAULT_POINT(DEVICE_COMPLETED);
	if (rc)
		link_stop(link, -EPROTO, "its completions are not what was written");
	arax_wake_ring(&link->arena->tenant_wake);
}

static void account(struct serve_command *command, uint64_t busy_ns)
{
	struct arax_link_usage *usage = command->link->usage;

	if (command->link->left)
		return;
	share_done(&command->link->serve->share, &command->link->share, command->charged, busy_ns);
	atomic_fetch_add_explicit(&usage->commands, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&usage->busy_ns, busy_ns, memory_order_relaxed);
	atomic_store_explicit(&usage->in_flight, command->link->share.in_flight,
			      memory_order_relaxed);
	if (command->what == SERVE_TRANSFER && !command->error)
		atomic_fetch_add_explicit(command->transfer.direction == ARAX_TO_DEVICE
					      ? &usage->bytes_in
					      : &usage->bytes_out,
					  command->transfer.size, memory_order_relaxed);
}

void serve_grant(struct serve *serve)
{
	struct share_link *share;
	uint64_t charged;

	while ((share = share_next(&serve->share, &charged))) {
		struct serve_link *link = (struct serve_link *)share;
		struct serve_command *command = queue_pop(&link->waiting);

		command->charged = charged;
		queue_push(&link->granted, command);
		atomic_store_explicit(&link->usage->waiting, share->waiting, memory_order_relaxed);
		atomic_store_explicit(&link->usage->in_flight, share->in_flight,
				      memory_order_relaxed);
		link_attend(link);
	}
}

/* What was given to the back end has ended. */
static void ended(struct serve_command *command, int status)
{
	struct serve_link *link = command->link;

	link->in_flight--;
	queue_push(&link->ended, command);
	if (link->left || link->blocked)
		link_attend(link);
	if (status == CL_DEVICE_NOT_AVAILABLE)
		serve_lose(link->serve);
}

/* On any thread. */
static void command_done(void *arg, int status, uint64_t start_ns, uint64_t end_ns)
{
	struct serve_command *command = arg;
	struct serve *serve = command->link->serve;

	pthread_mutex_lock(&serve->state);
	command->stream->in_flight--;
	command->error = status < 0 ? status : 0;
	account(command, end_ns > start_ns ? end_ns - start_ns : 0);
	complete(command, status, NULL, start_ns, end_ns);
	ended(command, status);
	serve_grant(serve);
	pthread_mutex_unlock(&serve->state);
}

/* On any thread. */
static void build_done(void *arg, int status, const char *log)
{
	struct serve_command *command = arg;
	struct serve *serve = command->link->serve;
	uint64_t now = arax_now_ns();

	pthread_mutex_lock(&serve->state);
	command->program->state = status < 0 ? SERVE_FAILED : SERVE_BUILT;
	complete(command, status, log, now, now);
	ended(command, status);
	link_attend(command->link);
	pthread_mutex_unlock(&serve->state);
}

/* ---- on the link's thread ------------------------------------------------------------------- */

/* Takes a slot. Return: was it free? */
static bool claim(struct serve_link *link, const struct serve_command *command, bool begins)
{
	bool busy;

	pthread_mutex_lock(&link->serve->state);
	busy = link->busy[command->slot];
	link->busy[command->slot] = true;
	if (begins && !busy) {
		link->in_flight++;
		command->program->state = SERVE_BUILDING;
	}
	pthread_mutex_unlock(&link->serve->state);
	return !busy;
}

int command_add(struct serve_link *link, struct serve_command *command)
{
	if (!claim(link, command, false)) {
		command_free(link, command);
		return -EPROTO;
	}
	queue_push(&link->held, command);
	return 0;
}

int command_build(struct serve_link *link, struct serve_command *command)
{
	struct arax_device *dev = link->serve->dev;
	struct serve_program *program = command->program;
	const struct serve_piece *parts = program->parts;
	struct arax_program_source source = {
	    .request = parts[1].size ? parts[1].data : NULL,
	    .request_size = parts[1].size,
	    .done = build_done,
	    .arg = command,
	};
	int err = 0;

	if (!claim(link, command, true)) {
		command_free(link, command);
		return -EPROTO;
	}
	ARAX_FAULT_POINT(DEVICE_BUILDS);
	if (!program->dropped)
		program->result = arax_result_parse(parts[0].data, parts[0].size);
	source.result = program->result;
	if (!program->result) {
		err = program->dropped ? CL_OUT_OF_HOST_MEMORY : CL_INVALID_BINARY;
	} else {
		pthread_mutex_lock(&link->serve->calls);
		err = dev->ops->program_load(dev, &source, &program->program);
		pthread_mutex_unlock(&link->serve->calls);
	}
	if (err) {
		program->program = NULL;
		build_done(command, err, "");
	}
	return 0;
}

static bool may_begin(const struct serve_command *command)
{
	return command->what != SERVE_LAUNCH || command->kernel->program->state != SERVE_BUILDING;
}

void commands_offer(struct serve_link *link)
{
	struct serve *serve = link->serve;
	bool offered = false;

	if (!link->held.first)
		return;
	pthread_mutex_lock(&serve->state);
	while (link->held.first && may_begin(link->held.first)) {
		queue_push(&link->waiting, queue_pop(&link->held));
		share_offer(&serve->share, &link->share);
		offered = true;
	}
	if (offered) {
		atomic_store_explicit(&link->usage->waiting, link->share.waiting,
				      memory_order_relaxed);
		serve_grant(serve);
	}
	pthread_mutex_unlock(&serve->state);
}

/* With calls held. Return: 0 or a negative OpenCL error. */
static int launch_make(struct serve_link *link, struct serve_command *command)
{
	int err = kernel_make(link, command->kernel);

	command->launch.kernel = command->kernel->kernel;
	command->launch.args = command->args;
	for (uint32_t i = 0; i < command->nargs && !err; i++) {
		struct arax_launch_arg *arg = &command->args[i];

		if (!command->objects[i])
			continue;
		if (arg->kind == ARAX_ARG_MEM) {
			struct serve_mem *mem = (struct serve_mem *)command->objects[i];

			err = mem_make(link, mem, command->seen, &command->failed);
			arg->mem = mem->mem;
		} else {
			struct serve_sampler *sampler = (struct serve_sampler *)command->objects[i];

			err = sampler_make(link, sampler);
			arg->sampler = sampler->sampler;
		}
	}
	return err;
}

/* With calls held. done may be called before this returns, the command is gone then. */
static int give(struct serve_link *link, struct serve_command *command)
{
	struct arax_device *dev = link->serve->dev;
	struct arax_device_stream *stream;
	int err = stream_make(link, command->stream);

	stream = command->stream->stream;
	if (err)
		return err;
	if (command->what == SERVE_LAUNCH) {
		err = launch_make(link, command);
		command->launch.done = command_done;
		command->launch.arg = command;
		return err ? err : dev->ops->launch(dev, stream, &command->launch);
	}
	err = mem_make(link, command->mem, command->seen, &command->failed);
	command->transfer.mem = command->mem->mem;
	command->transfer.done = command_done;
	command->transfer.arg = command;
	return err ? err : dev->ops->transfer(dev, stream, &command->transfer);
}

/* Gives a command to the back end. Return: 0 or a negative OpenCL error; then it is still ours. */
static int begin(struct serve_link *link, struct serve_command *command)
{
	struct serve *serve = link->serve;
	int err;

	pthread_mutex_lock(&serve->state);
	link->in_flight++;
	command->stream->in_flight++;
	pthread_mutex_unlock(&serve->state);
	ARAX_FAULT_POINT(DEVICE_GRANTED);
	pthread_mutex_lock(&serve->calls);
	err = give(link, command);
	pthread_mutex_unlock(&serve->calls);
	ARAX_FAULT_POINT(DEVICE_GIVEN);
	if (!err)
		return 0;
	pthread_mutex_lock(&serve->state);
	link->in_flight--;
	command->stream->in_flight--;
	pthread_mutex_unlock(&serve->state);
	return err;
}

/* With state held: the completion of a command that has not begun and never will. */
static void fail(struct serve_command *command)
{
	struct serve_link *link = command->link;
	uint64_t now = arax_now_ns();

	account(command, 0);
	complete(command, command->error, NULL, now, now);
	if (command->failed) {
		command->failed->failing = false;
		command->failed->failed = true;
		command->failed->failed_at = link->failures;
	}
	queue_push(&link->ended, command);
	if (command->error == CL_DEVICE_NOT_AVAILABLE)
		serve_lose(link->serve);
	serve_grant(link->serve);
}

/* The next command to begin; NULL when there is none now. */
static struct serve_command *granted(struct serve_link *link)
{
	struct serve_queue *queue = &link->granted;
	struct serve_command *command;

	pthread_mutex_lock(&link->serve->state);
	link->blocked = false;
	while ((command = queue->first) && command->error) {
		if (command->stream->in_flight) {
			link->blocked = true;
			command = NULL;
			break;
		}
		fail(queue_pop(queue));
	}
	if (command)
		queue_pop(queue);
	pthread_mutex_unlock(&link->serve->state);
	return command;
}

static void put_back(struct serve_link *link, struct serve_command *command)
{
	struct serve_queue *queue = &link->granted;

	pthread_mutex_lock(&link->serve->state);
	command->next = queue->first;
	queue->first = command;
	if (!command->next)
		queue->last = &command->next;
	pthread_mutex_unlock(&link->serve->state);
}

static void forget_ended(struct serve_link *link)
{
	struct serve_command *command;

	pthread_mutex_lock(&link->serve->state);
	command = link->ended.first;
	queue_init(&link->ended);
	pthread_mutex_unlock(&link->serve->state);
	while (command) {
		struct serve_command *next = command->next;

		command_free(link, command);
		command = next;
	}
}

void commands_collect(struct serve_link *link)
{
	struct serve_command *command;

	forget_ended(link);
	while (!atomic_load(&link->stop) && (command = granted(link))) {
		int err = begin(link, command);

		if (err) {
			command->error = err;
			put_back(link, command);
		}
	}
}

struct serve_command *commands_drop(struct serve_link *link)
{
	struct serve_queue *queues[] = {&link->held, &link->waiting, &link->granted};
	struct serve_command *list = NULL;

	for (size_t i = 0; i < sizeof(queues) / sizeof(queues[0]); i++) {
		struct serve_command *command;

		while ((command = queue_pop(queues[i]))) {
			command->next = list;
			list = command;
		}
	}
	return list;
}
