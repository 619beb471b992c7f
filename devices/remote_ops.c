/* SPDX-License-Identifier: Apache-2.0
 *
 * The functions of the back end that is in another process (remote.h): each becomes a record or
 * two, and none waits. Objects are no more than their numbers here.
 */
#include "devices/remote_internal.h"
#include "transport/fault_point.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct arax_device_mem {
	uint32_t handle;
	uint64_t size;
};

/* The other objects are no more than their handles. */
struct arax_device_program {
	uint32_t handle;
};
struct arax_device_kernel {
	uint32_t handle;
};
struct arax_device_sampler {
	uint32_t handle;
};
struct arax_device_stream {
	uint32_t handle;
};

/* ---- objects -------------------------------------------------------------------------------- */

/* An object of any kind that is no more than its handle. Return: 0 or a negative OpenCL error. */
static int object_new(struct remote *r, uint32_t kind, size_t size, void *out)
{
	uint32_t handle = handle_new(r, kind);
	uint32_t *object = handle ? calloc(1, size) : NULL;

	if (!object) {
		if (handle)
			handle_free(r, handle);
		return handle ? CL_OUT_OF_HOST_MEMORY : CL_OUT_OF_RESOURCES;
	}
	*object = handle;
	memcpy(out, &object, sizeof(object));
	return 0;
}

/* Its definition could not be sent, so nobody over there knows it, and here it must not be found
 * where object_new() has left it. */
static int object_unsent(struct remote *r, void *out)
{
	uint32_t *object;

	memcpy(&object, out, sizeof(object));
	handle_free(r, *object);
	free(object);
	memset(out, 0, sizeof(object));
	return CL_OUT_OF_HOST_MEMORY;
}

/* The one field of every _FREE is the handle. */
static void object_free(struct remote *r, unsigned op, void *object)
{
	struct arax_op_dev_mem_free *free_op = record_begin(r, op);
	uint32_t handle;

	memcpy(&handle, object, sizeof(handle));
	free_op->mem = handle;
	/* A number that is in use there cannot be used again here, so this must not be lost. */
	if (record_send(r))
		r->broken = true;
	handle_free(r, handle);
	free(object);
}

/* ---- the back end's functions --------------------------------------------------------------- */

/* Where a range lies in the arena's heap; 0 when it does not. */
static uint64_t arena_offset(const struct remote *r, const void *data, uint64_t size)
{
	uint64_t off = (uint64_t)((uintptr_t)data - (uintptr_t)r->arena);

	if (!data || off < ARAX_HEAP_OFFSET || off >= r->arena_size || size > r->arena_size - off)
		return 0;
	return off;
}

static int remote_mem_new(struct arax_device *dev, const struct arax_mem_desc *desc,
			  struct arax_device_mem **out)
{
	struct remote *r = remote_of(dev);
	struct arax_op_dev_mem_new *op = record_begin(r, ARAX_OP_DEV_MEM_NEW);
	int err = object_new(r, ARAX_HANDLE_MEM, sizeof(**out), out);

	if (err)
		return err;
	(*out)->size = desc->size;
	op->mem = (*out)->handle;
	op->parent = desc->parent ? desc->parent->handle : 0;
	op->type = desc->type;
	op->flags = desc->flags;
	op->size = desc->size;
	op->origin = desc->origin;
	op->data_off = arena_offset(r, desc->data, desc->size);
	op->data_len = op->data_off ? desc->size : 0;
	op->channel_order = desc->channel_order;
	op->channel_type = desc->channel_type;
	op->width = desc->width;
	op->height = desc->height;
	op->depth = desc->depth;
	op->array_size = desc->array_size;
	op->row_pitch = desc->row_pitch;
	op->slice_pitch = desc->slice_pitch;
	return record_send(r) ? object_unsent(r, out) : 0;
}

static void remote_mem_free(struct arax_device *dev, struct arax_device_mem *mem)
{
	if (mem)
		object_free(remote_of(dev), ARAX_OP_DEV_MEM_FREE, mem);
}

static int send_pieces(struct remote *r, uint32_t program, uint32_t part, const void *data,
		       size_t size)
{
	int rc = 0;

	for (size_t at = 0; at < size && !rc; at += ARAX_LINK_PIECE) {
		struct arax_op_dev_program_data *op = record_begin(r, ARAX_OP_DEV_PROGRAM_DATA);
		size_t left = size - at;

		op->program = program;
		op->part = part;
		record_tail(r, (const char *)data + at,
			    left < ARAX_LINK_PIECE ? left : ARAX_LINK_PIECE);
		rc = record_send(r);
	}
	return rc;
}

static int send_program(struct remote *r, uint32_t program, uint32_t slot,
			const struct arax_writer *result, const void *request, size_t request_size)
{
	struct arax_op_dev_program_load *op;
	int rc = send_pieces(r, program, 0, result->data, result->size);

	rc = rc ?: send_pieces(r, program, 1, request, request_size);
	op = record_begin(r, ARAX_OP_DEV_PROGRAM_LOAD);
	op->head.slot = slot;
	op->program = program;
	op->result_size = result->size;
	op->request_size = request_size;
	return rc ?: record_send(r);
}

/* What the device can use of a program: the kernels' arguments always, the binary and the request
 * when it takes such, and the variants for its target. */
static int write_result(const struct remote *r, const char *target, const struct arax_result *from,
			struct arax_writer *w)
{
	struct arax_result result = *from;
	struct arax_variant *variants =
	    from->nvariants ? malloc(from->nvariants * sizeof(*variants)) : NULL;

	result.variants = variants;
	result.nvariants = 0;
	for (uint32_t i = 0; variants && i < from->nvariants; i++) {
		const struct arax_variant *variant = &from->variants[i];
		if (variant->kind != ARAX_VARIANT_REFUSED &&
		    arax_target_named(variant->targets, target))
			variants[result.nvariants++] = *variant;
	}
	if (!(r->features & ARAX_FEATURE_RESULT)) {
		result.binary = NULL;
		result.binary_size = 0;
	}
	arax_result_write(w, &result);
	free(variants);
	return w->failed || w->size > ARAX_BUILD_MAX ? CL_OUT_OF_HOST_MEMORY : 0;
}

static int remote_program_load(struct arax_device *dev, const struct arax_program_source *source,
			       struct arax_device_program **out)
{
	struct remote *r = remote_of(dev);
	bool request = source->request && (r->features & ARAX_FEATURE_COMPILER);
	size_t size = request ? source->request_size : 0;
	struct arax_writer result = {0};
	uint32_t slot;
	int err;

	if (r->lost || r->broken)
		return CL_DEVICE_NOT_AVAILABLE;
	if (size > ARAX_BUILD_MAX)
		return CL_OUT_OF_HOST_MEMORY;
	err = object_new(r, ARAX_HANDLE_PROGRAM, sizeof(**out), out);
	if (err)
		return err;
	err = write_result(r, dev->caps.target, source->result, &result);
	slot = err ? NO_SLOT : slot_new(r);
	if (!err && slot == NO_SLOT)
		err = CL_OUT_OF_RESOURCES;
	if (err) {
		object_unsent(r, out);
	} else {
		r->slots[slot].program = true;
		r->slots[slot].done.program = source->done;
		r->slots[slot].arg = source->arg;
		if (send_program(r, (*out)->handle, slot, &result, source->request, size)) {
			/* Pieces of it may be there already. */
			slot_free(r, slot);
			object_free(r, ARAX_OP_DEV_PROGRAM_FREE, *out);
			err = CL_OUT_OF_HOST_MEMORY;
		}
	}
	arax_writer_free(&result);
	/* Nobody is to free it again. */
	if (err)
		*out = NULL;
	return err;
}

static void remote_program_free(struct arax_device *dev, struct arax_device_program *program)
{
	if (program)
		object_free(remote_of(dev), ARAX_OP_DEV_PROGRAM_FREE, program);
}

static int remote_kernel_new(struct arax_device *dev, struct arax_device_program *program,
			     const char *name, struct arax_device_kernel **out)
{
	struct remote *r = remote_of(dev);
	struct arax_op_dev_kernel_new *op = record_begin(r, ARAX_OP_DEV_KERNEL_NEW);
	size_t length = strlen(name);
	int err;

	if (!length || length > 4096)
		return CL_INVALID_KERNEL_NAME;
	err = object_new(r, ARAX_HANDLE_KERNEL, sizeof(**out), out);
	if (err)
		return err;
	op->kernel = (*out)->handle;
	op->program = program->handle;
	record_tail(r, name, length);
	return record_send(r) ? object_unsent(r, out) : 0;
}

static void remote_kernel_free(struct arax_device *dev, struct arax_device_kernel *kernel)
{
	if (kernel)
		object_free(remote_of(dev), ARAX_OP_DEV_KERNEL_FREE, kernel);
}

static int remote_sampler_new(struct arax_device *dev, uint32_t normalized, uint32_t addressing,
			      uint32_t filter, struct arax_device_sampler **out)
{
	struct remote *r = remote_of(dev);
	struct arax_op_dev_sampler_new *op = record_begin(r, ARAX_OP_DEV_SAMPLER_NEW);
	int err = object_new(r, ARAX_HANDLE_SAMPLER, sizeof(**out), out);

	if (err)
		return err;
	op->sampler = (*out)->handle;
	op->normalized = normalized != 0;
	op->addressing = addressing;
	op->filter = filter;
	return record_send(r) ? object_unsent(r, out) : 0;
}

static void remote_sampler_free(struct arax_device *dev, struct arax_device_sampler *sampler)
{
	if (sampler)
		object_free(remote_of(dev), ARAX_OP_DEV_SAMPLER_FREE, sampler);
}

static int remote_stream_new(struct arax_device *dev, struct arax_device_stream **out)
{
	struct remote *r = remote_of(dev);
	struct arax_op_dev_stream_new *op = record_begin(r, ARAX_OP_DEV_STREAM_NEW);
	int err = object_new(r, ARAX_HANDLE_STREAM, sizeof(**out), out);

	if (err)
		return err;
	op->stream = (*out)->handle;
	return record_send(r) ? object_unsent(r, out) : 0;
}

static void remote_stream_free(struct arax_device *dev, struct arax_device_stream *stream)
{
	if (stream)
		object_free(remote_of(dev), ARAX_OP_DEV_STREAM_FREE, stream);
}

/* One argument at the end of the tail. Return: bytes, 0 when it does not fit. */
static size_t put_arg(unsigned char *tail, size_t room, const struct arax_launch_arg *from)
{
	struct arax_arg arg = {.kind = from->kind, .size = from->size};
	const void *value = from->kind == ARAX_ARG_SVM ? (const void *)&from->value : from->value;
	size_t size = 0;

	if (from->kind == ARAX_ARG_VALUE)
		size = from->size;
	else if (from->kind == ARAX_ARG_SVM)
		size = arg.size = sizeof(from->value);
	else if (from->kind == ARAX_ARG_MEM)
		arg.object = from->mem ? from->mem->handle : 0;
	else if (from->kind == ARAX_ARG_SAMPLER)
		arg.object = from->sampler->handle;
	if (room < sizeof(arg) || size > room - sizeof(arg))
		return 0;
	memcpy(tail, &arg, sizeof(arg));
	if (size)
		memcpy(tail + sizeof(arg), value, size);
	memset(tail + sizeof(arg) + size, 0, -size & 7);
	return sizeof(arg) + ((size + 7) & ~(size_t)7);
}

/* Return: 0 or a negative OpenCL error. */
static int put_args(struct arax_op_dev_launch *op, const struct arax_launch *launch)
{
	unsigned char *tail = (unsigned char *)op + sizeof(*op);
	size_t at = 0;

	for (uint32_t i = 0; i < launch->nargs; i++) {
		size_t size = put_arg(tail + at, ARAX_LINK_PIECE - at, &launch->args[i]);

		if (!size)
			return CL_OUT_OF_RESOURCES;
		at += size;
	}
	op->nargs = launch->nargs;
	op->head.tail_size = (uint32_t)at;
	return 0;
}

/* Return: 0 or a negative OpenCL error; then done is not called. */
static int command_send(struct remote *r, struct arax_record *record, arax_device_done done,
			void *arg)
{
	uint32_t slot = slot_new(r);

	if (slot == NO_SLOT)
		return CL_OUT_OF_RESOURCES;
	r->slots[slot].program = false;
	r->slots[slot].done.command = done;
	r->slots[slot].arg = arg;
	record->slot = slot;
	if (record_send(r)) {
		slot_free(r, slot);
		return CL_OUT_OF_HOST_MEMORY;
	}
	return 0;
}

static int remote_launch(struct arax_device *dev, struct arax_device_stream *stream,
			 const struct arax_launch *launch)
{
	struct remote *r = remote_of(dev);
	struct arax_op_dev_launch *op = record_begin(r, ARAX_OP_DEV_LAUNCH);
	int err = r->lost || r->broken ? CL_DEVICE_NOT_AVAILABLE : put_args(op, launch);

	if (err)
		return err;
	op->kernel = launch->kernel->handle;
	op->stream = stream->handle;
	op->seen = r->seen;
	op->work_dim = launch->work_dim;
	op->offset0 = launch->offset[0];
	op->offset1 = launch->offset[1];
	op->offset2 = launch->offset[2];
	op->global0 = launch->global[0];
	op->global1 = launch->global[1];
	op->global2 = launch->global[2];
	if (launch->has_local) {
		op->local0 = launch->local[0];
		op->local1 = launch->local[1];
		op->local2 = launch->local[2];
	}
	int sent = command_send(r, &op->head, launch->done, launch->arg);
	ARAX_FAULT_POINT(TENANT_LAUNCH_SENT);
	return sent;
}

static int remote_transfer(struct arax_device *dev, struct arax_device_stream *stream,
			   const struct arax_transfer *transfer)
{
	struct remote *r = remote_of(dev);
	struct arax_op_dev_transfer *op = record_begin(r, ARAX_OP_DEV_TRANSFER);
	const struct arax_device_mem *mem = transfer->mem;

	if (r->lost || r->broken)
		return CL_DEVICE_NOT_AVAILABLE;
	op->host_off = arena_offset(r, transfer->host, transfer->size);
	/* What the other side would end the link for is our own mistake, and this command's alone.
	 */
	if (!op->host_off || !transfer->size || transfer->offset > mem->size ||
	    transfer->size > mem->size - transfer->offset)
		return CL_INVALID_VALUE;
	op->host_len = transfer->size;
	op->mem = mem->handle;
	op->stream = stream->handle;
	op->direction = transfer->direction == ARAX_FROM_DEVICE;
	op->seen = r->seen;
	op->offset = transfer->offset;
	int sent = command_send(r, &op->head, transfer->done, transfer->arg);
	ARAX_FAULT_POINT(TENANT_TRANSFER_SENT);
	return sent;
}

const struct arax_device_ops remote_ops = {
    .name = "remote",
    .mem_new = remote_mem_new,
    .mem_free = remote_mem_free,
    .program_load = remote_program_load,
    .program_free = remote_program_free,
    .kernel_new = remote_kernel_new,
    .kernel_free = remote_kernel_free,
    .sampler_new = remote_sampler_new,
    .sampler_free = remote_sampler_free,
    .stream_new = remote_stream_new,
    .stream_free = remote_stream_free,
    .launch = remote_launch,
    .transfer = remote_transfer,
    .poll = remote_poll,
    .ready = remote_ready,
};
