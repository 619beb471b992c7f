/* SPDX-License-Identifier: Apache-2.0
 *
 * The decoder of a link: what arax_link_check() has accepted meets the objects that the tenant has
 * defined. What an honest tenant never sends (handles that are not there or are there already,
 * ranges outside of objects, images larger than their memory) is -EPROTO and ends the link; what
 * can happen to an honest one (no memory, a kernel that is not in the program) becomes the outcome
 * of the commands concerned.
 */
#include "devices/serve_internal.h"
#include "transport/fault_point.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef int (*handler)(struct serve_link *link, const struct arax_record *record, const char **why);

static int wrong(const char **why, const char *what)
{
	*why = what;
	return -EPROTO;
}

static int define(struct serve_link *link, uint32_t handle, void *object, const char **why)
{
	int rc = object ? object_define(link, handle, object) : -ENOMEM;

	return rc == -EPROTO ? wrong(why, "a number that is in use") : rc;
}

/* Every _FREE has one field, the handle. */
static int handle_free(struct serve_link *link, const struct arax_record *record, const char **why)
{
	const struct arax_op_dev_mem_free *op = (const void *)record;

	return object_drop(link, op->mem) ? wrong(why, "freeing what is not there") : 0;
}

/* ---- memory --------------------------------------------------------------------------------- */

static int mem_parent(struct serve_link *link, const struct arax_op_dev_mem_new *op,
		      struct serve_mem **parent, const char **why)
{
	*parent = NULL;
	if (!op->parent)
		return 0;
	*parent = (struct serve_mem *)object_get(link, op->parent);
	if (!*parent)
		return wrong(why, "part of a buffer that is not there");
	if ((*parent)->desc.type != CL_MEM_OBJECT_BUFFER || (*parent)->nesting == SERVE_NESTING)
		return wrong(why, "part of what has no parts");
	if (op->origin > (*parent)->desc.size || op->size > (*parent)->desc.size - op->origin)
		return wrong(why, "part beyond its buffer");
	return 0;
}

static void mem_describe(const struct serve_link *link, const struct arax_op_dev_mem_new *op,
			 struct arax_mem_desc *desc)
{
	*desc = (struct arax_mem_desc){
	    .type = op->type,
	    .flags = op->flags,
	    .data = op->data_len ? (char *)link->arena + op->data_off : NULL,
	    .size = op->size,
	    .channel_order = op->channel_order,
	    .channel_type = op->channel_type,
	    .width = op->width,
	    .height = op->height,
	    .depth = op->depth,
	    .array_size = op->array_size,
	    .row_pitch = op->row_pitch,
	    .slice_pitch = op->slice_pitch,
	    .origin = op->origin,
	};
}

static int handle_mem_new(struct serve_link *link, const struct arax_record *record,
			  const char **why)
{
	const struct arax_op_dev_mem_new *op = (const void *)record;
	struct serve_mem *parent, *failed = NULL, *mem;
	int rc = mem_parent(link, op, &parent, why), err = 0;

	if (rc)
		return rc;
	mem = object_alloc(ARAX_HANDLE_MEM, sizeof(*mem));
	if (!mem)
		return -ENOMEM;
	mem_describe(link, op, &mem->desc);
	if (op->type != CL_MEM_OBJECT_BUFFER)
		err = check_image(&mem->desc);
	if (err > 0) {
		free(mem);
		return wrong(why, "an image larger than its memory");
	}
	mem->error = err;
	if (parent) {
		mem->parent = parent;
		mem->nesting = parent->nesting + 1;
		object_ref(&parent->object);
	}
	rc = define(link, op->mem, mem, why);
	if (rc)
		return rc;
	/* Nobody has used it yet: whoever does first may try again. */
	pthread_mutex_lock(&link->serve->calls);
	(void)mem_make(link, mem, 0, &failed);
	pthread_mutex_unlock(&link->serve->calls);
	if (failed)
		failed->failing = false;
	return 0;
}

/* ---- programs and kernels ------------------------------------------------------------------- */

static int piece_append(struct serve_link *link, struct serve_piece *piece, const void *data,
			size_t size)
{
	size_t need = piece->size + size, capacity = piece->capacity ?: 4096;
	unsigned char *bytes;

	while (capacity < need)
		capacity *= 2;
	if (capacity != piece->capacity) {
		if (capacity - piece->capacity > SERVE_PROGRAM_BYTES - link->program_bytes)
			return -ENOMEM;
		bytes = realloc(piece->data, capacity);
		if (!bytes)
			return -ENOMEM;
		link->program_bytes += capacity - piece->capacity;
		piece->data = bytes;
		piece->capacity = capacity;
	}
	memcpy(piece->data + piece->size, data, size);
	piece->size = need;
	return 0;
}

static int handle_program_data(struct serve_link *link, const struct arax_record *record,
			       const char **why)
{
	const struct arax_op_dev_program_data *op = (const void *)record;
	struct serve_program *program = (void *)object_get(link, op->program);
	struct serve_piece *piece;

	if (!program) {
		program = object_alloc(ARAX_HANDLE_PROGRAM, sizeof(*program));
		int rc = define(link, op->program, program, why);

		if (rc)
			return rc;
	} else if (program->state != SERVE_RECEIVING) {
		return wrong(why, "more of a program that was complete");
	}
	piece = &program->parts[op->part];
	if (piece->size + record->tail_size > ARAX_BUILD_MAX)
		return wrong(why, "a program that is too large");
	if (program->dropped)
		return 0;
	program->dropped =
	    piece_append(link, piece, arax_link_tail(record), record->tail_size) != 0;
	return 0;
}

static int handle_program_load(struct serve_link *link, const struct arax_record *record,
			       const char **why)
{
	const struct arax_op_dev_program_load *op = (const void *)record;
	struct serve_program *program = (void *)object_get(link, op->program);
	struct serve_command *command;

	if (!program || program->state != SERVE_RECEIVING)
		return wrong(why, "building a program that is not there");
	if (!program->dropped && (program->parts[0].size != op->result_size ||
				  program->parts[1].size != op->request_size))
		return wrong(why, "a program with a piece missing");
	command = command_new(link, SERVE_BUILD, record->slot, 0, 0);
	if (!command)
		return -ENOMEM;
	command->program = program;
	object_ref(&program->object);
	return command_build(link, command) ? wrong(why, "a slot that is in use") : 0;
}

static const struct arax_kernel_info *find_kernel(const struct serve_program *program,
						  const char *name)
{
	for (uint32_t i = 0; program->result && i < program->result->nkernels; i++)
		if (!strcmp(program->result->kernels[i].name, name))
			return &program->result->kernels[i];
	return NULL;
}

static int handle_kernel_new(struct serve_link *link, const struct arax_record *record,
			     const char **why)
{
	const struct arax_op_dev_kernel_new *op = (const void *)record;
	struct serve_program *program = (void *)object_get(link, op->program);
	struct serve_kernel *kernel;

	if (!program)
		return wrong(why, "a kernel of a program that is not there");
	if (program->state == SERVE_RECEIVING)
		return wrong(why, "a kernel of a program that is not complete");
	kernel = object_alloc(ARAX_HANDLE_KERNEL, sizeof(*kernel));
	if (kernel)
		kernel->name = strndup(arax_link_tail(record), record->tail_size);
	if (!kernel || !kernel->name) {
		free(kernel);
		return -ENOMEM;
	}
	kernel->program = program;
	object_ref(&program->object);
	kernel->info = find_kernel(program, kernel->name);
	return define(link, op->kernel, kernel, why);
}

/* ---- samplers and streams ------------------------------------------------------------------- */

static int handle_sampler_new(struct serve_link *link, const struct arax_record *record,
			      const char **why)
{
	const struct arax_op_dev_sampler_new *op = (const void *)record;
	struct serve_sampler *sampler = object_alloc(ARAX_HANDLE_SAMPLER, sizeof(*sampler));

	if (sampler) {
		sampler->normalized = op->normalized;
		sampler->addressing = op->addressing;
		sampler->filter = op->filter;
	}
	return define(link, op->sampler, sampler, why);
}

static int handle_stream_new(struct serve_link *link, const struct arax_record *record,
			     const char **why)
{
	const struct arax_op_dev_stream_new *op = (const void *)record;

	return define(link, op->stream,
		      object_alloc(ARAX_HANDLE_STREAM, sizeof(struct serve_stream)), why);
}

/* ---- commands ------------------------------------------------------------------------------- */

/* The bytes that the values of a launch's arguments take up, as command_new() wants them. */
static size_t values_size(const struct arax_op_dev_launch *op)
{
	return (((size_t)op->head.tail_size + 7) & ~(size_t)7) -
	       op->nargs * sizeof(struct arax_arg);
}

static int launch_args(struct serve_link *link, const struct arax_op_dev_launch *op,
		       struct serve_command *command, const char **why)
{
	const char *at = arax_link_tail(&op->head);
	char *values = (char *)&command->objects[op->nargs];

	for (uint32_t i = 0; i < op->nargs; i++) {
		const struct arax_arg *from = (const void *)at;
		struct arax_launch_arg *to = &command->args[i];

		*to = (struct arax_launch_arg){.kind = from->kind, .size = from->size};
		at += sizeof(*from);
		if (from->kind == ARAX_ARG_VALUE) {
			memcpy(values, at, from->size);
			to->value = values;
			at += (from->size + 7) & ~(uint64_t)7;
			values += (from->size + 7) & ~(uint64_t)7;
		} else if (from->kind == ARAX_ARG_SVM) {
			memcpy(&to->value, at, sizeof(to->value));
			at += sizeof(to->value);
		} else if (from->object && from->kind != ARAX_ARG_LOCAL) {
			command->objects[i] = object_get(link, from->object);
			if (!command->objects[i])
				return wrong(why, "an argument that is not there");
			object_ref(command->objects[i]);
		}
	}
	return 0;
}

static void launch_sizes(const struct arax_op_dev_launch *op, struct arax_launch *launch)
{
	*launch = (struct arax_launch){
	    .work_dim = op->work_dim,
	    .nargs = op->nargs,
	    .offset = {op->offset0, op->offset1, op->offset2},
	    .global = {op->global0, op->global1, op->global2},
	    .local = {op->local0, op->local1, op->local2},
	    .has_local = op->local0 != 0,
	};
	for (uint32_t i = op->work_dim; i < 3; i++) {
		launch->offset[i] = 0;
		launch->global[i] = launch->local[i] = 1;
	}
}

static int command_ready(struct serve_link *link, struct serve_command *command, const char **why)
{
	return command_add(link, command) ? wrong(why, "a slot that is in use") : 0;
}

static int handle_launch(struct serve_link *link, const struct arax_record *record,
			 const char **why)
{
	const struct arax_op_dev_launch *op = (const void *)record;
	struct serve_kernel *kernel = (void *)object_get(link, op->kernel);
	struct serve_stream *stream = (void *)object_get(link, op->stream);
	struct serve_command *command;
	int rc;

	if (!kernel || !stream)
		return wrong(why, "a launch of what is not there");
	command = command_new(link, SERVE_LAUNCH, record->slot, op->nargs, values_size(op));
	if (!command)
		return -ENOMEM;
	command->seen = op->seen;
	command->kernel = kernel;
	command->stream = stream;
	object_ref(&kernel->object);
	object_ref(&stream->object);
	launch_sizes(op, &command->launch);
	rc = launch_args(link, op, command, why);
	if (rc) {
		command_free(link, command);
		return rc;
	}
	command->error = check_args(link->serve, command);
	return command_ready(link, command, why);
}

static int handle_transfer(struct serve_link *link, const struct arax_record *record,
			   const char **why)
{
	const struct arax_op_dev_transfer *op = (const void *)record;
	struct serve_mem *mem = (void *)object_get(link, op->mem);
	struct serve_stream *stream = (void *)object_get(link, op->stream);
	struct serve_command *command;

	if (!mem || !stream)
		return wrong(why, "a transfer of what is not there");
	if (op->offset > mem->desc.size || op->host_len > mem->desc.size - op->offset)
		return wrong(why, "a transfer beyond its object");
	command = command_new(link, SERVE_TRANSFER, record->slot, 0, 0);
	if (!command)
		return -ENOMEM;
	command->seen = op->seen;
	command->mem = mem;
	command->stream = stream;
	object_ref(&mem->object);
	object_ref(&stream->object);
	command->transfer = (struct arax_transfer){
	    .direction = op->direction ? ARAX_FROM_DEVICE : ARAX_TO_DEVICE,
	    .offset = op->offset,
	    .size = op->host_len,
	    .host = (char *)link->arena + op->host_off,
	};
	if (mem->desc.type != CL_MEM_OBJECT_BUFFER && op->host_len != mem->desc.size)
		command->error = CL_INVALID_VALUE;
	return command_ready(link, command, why);
}

int decode(struct serve_link *link, size_t size, const char **why)
{
	static const handler handlers[ARAX_DEV_OP_COUNT] = {
	    [ARAX_OP_DEV_MEM_NEW] = handle_mem_new,
	    [ARAX_OP_DEV_MEM_FREE] = handle_free,
	    [ARAX_OP_DEV_PROGRAM_DATA] = handle_program_data,
	    [ARAX_OP_DEV_PROGRAM_LOAD] = handle_program_load,
	    [ARAX_OP_DEV_PROGRAM_FREE] = handle_free,
	    [ARAX_OP_DEV_KERNEL_NEW] = handle_kernel_new,
	    [ARAX_OP_DEV_KERNEL_FREE] = handle_free,
	    [ARAX_OP_DEV_SAMPLER_NEW] = handle_sampler_new,
	    [ARAX_OP_DEV_SAMPLER_FREE] = handle_free,
	    [ARAX_OP_DEV_STREAM_NEW] = handle_stream_new,
	    [ARAX_OP_DEV_STREAM_FREE] = handle_free,
	    [ARAX_OP_DEV_LAUNCH] = handle_launch,
	    [ARAX_OP_DEV_TRANSFER] = handle_transfer,
	};
	const struct arax_record *record = (const void *)link->record;

	if (arax_link_check(record, size, ARAX_HEAP_OFFSET, link->arena_size))
		return wrong(why, "not a record");
	ARAX_FAULT_POINT(DEVICE_RECORD_READ);
	return handlers[record->op](link, record, why);
}
