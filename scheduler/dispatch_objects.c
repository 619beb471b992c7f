/* SPDX-License-Identifier: Apache-2.0
 *
 * Handlers of the dispatcher for definitions: records that change the tables and have no place in
 * the order of commands. The ring's own order makes a definition precede its uses, so a handle that
 * is not defined here is a client's mistake and ends its tenant.
 */
#include "scheduler/dispatch_internal.h"
#include "transport/fault_point.h"

#include <errno.h>

#define MEM_OBJECT_BUFFER 0x10F0u

/* Takes over the new object's reference. Without memory there is no such object, and what uses it
 * fails for want of memory. Return: is it defined? */
static bool defined(struct dispatch *d, uint32_t handle, struct object *object)
{
	if (object && !objects_set(&d->objects, handle, object))
		return true;
	if (object)
		object_unref(&d->objects, object);
	d->objects.lost = true;
	return false;
}

static int define(struct dispatch *d, uint32_t handle, struct object *object)
{
	(void)defined(d, handle, object);
	return 0;
}

int handler_queue_define(struct dispatch *d, const struct arax_record *record)
{
	const struct arax_op_queue_define *op = (const void *)record;
	return define(d, op->queue, (struct object *)queue_new(op->out_of_order, op->priority));
}

int handler_queue_drop(struct dispatch *d, const struct arax_record *record)
{
	const struct arax_op_queue_drop *op = (const void *)record;
	return objects_drop(&d->objects, op->queue);
}

static bool lies_in(const struct arax_mem_desc *desc, const struct arax_mem_desc *parent)
{
	const char *at = desc->data, *from = parent->data;
	return at >= from && desc->size <= parent->size &&
	       (uint64_t)(at - from) <= parent->size - desc->size;
}

/* Where it may be, and is. What has another shape than its parent keeps that at home: as copies of
 * their own they would not be the same memory. */
static void place_mem(struct dispatch *d, struct mem *mem, const struct arax_op_mem_define *op)
{
	struct mem *root = mem->root;
	root->pinned |= op->pinned || op->home == ARAX_NO_HOME;
	if (root != mem) {
		root->pinned |= op->type != MEM_OBJECT_BUFFER || root->desc.type != op->type;
		return;
	}
	root->home = op->home;
	/* What a former tenant wrote there. */
	if (op->home < ARAX_HOMES && atomic_load(&d->shm->home[op->home]))
		atomic_store(&d->shm->home[op->home], 0);
	if (!op->lost)
		return;
	bool pinned = root->pinned;
	root->pinned = false;
	storage_of(&d->objects, root, d->config.arena, true);
	root->pinned |= pinned;
	d->spread = true;
}

int handler_mem_define(struct dispatch *d, const struct arax_record *record)
{
	const struct arax_op_mem_define *op = (const void *)record;
	const struct arax_mem_desc desc = {
	    .type = op->type,
	    .flags = op->flags,
	    .data = (char *)d->config.arena + op->data_off,
	    .size = op->data_len,
	    .channel_order = op->channel_order,
	    .channel_type = op->channel_type,
	    .width = op->width,
	    .height = op->height,
	    .depth = op->depth,
	    .array_size = op->array_size,
	    .row_pitch = op->row_pitch,
	    .slice_pitch = op->slice_pitch,
	};
	struct mem *parent = NULL;
	if (op->parent) {
		parent = (struct mem *)objects_get(&d->objects, op->parent);
		if (!parent)
			return d->objects.lost ? 0 : -EPROTO;
		if (!lies_in(&desc, &parent->root->desc))
			return -EPROTO;
		parent = parent->root;
	}
	struct mem *mem = mem_new(&desc, parent);
	if (defined(d, op->mem, (struct object *)mem))
		place_mem(d, mem, op);
	return 0;
}

int handler_mem_drop(struct dispatch *d, const struct arax_record *record)
{
	const struct arax_op_mem_drop *op = (const void *)record;
	return objects_drop(&d->objects, op->mem);
}

/* Loaded now on the first device that is allowed (PoCL's basic, where the first launch will most
 * likely go), on the CPU's others when they first run one of its kernels: 2 ms each. Devices that
 * make it from its source begin now, in the background. */
int handler_program_load(struct dispatch *d, const struct arax_record *record)
{
	const struct arax_op_program_load *op = (const void *)record;
	struct command *c;
	if (record->nwait || record->queue)
		return -EPROTO;
	int rc = command_open(d, record, &c);
	if (rc)
		return rc;
	struct program *program =
	    program_new((const char *)d->config.arena + op->binary_off, op->binary_len,
			(const char *)d->config.arena + op->request_off, op->request_len);
	graph_close(&c->node);
	if (!defined(d, op->program, (struct object *)program))
		return command_end(d, c, STATUS_OUT_OF_HOST_MEMORY);
	struct arax_device_program *loaded;
	ARAX_FAULT_POINT(TENANT_PROGRAM_LOADS);
	stats_add(&d->stats->programs, 1);
	POLICY_FOR_EACH(i, d->discrete)
	{
		program_begin(&d->objects, program, i);
	}
	uint32_t direct = d->config.allowed & ~d->discrete;
	int status = direct ? program_on(&d->objects, program, policy_first(direct), &loaded) : 0;
	return command_end(d, c, status);
}

int handler_program_drop(struct dispatch *d, const struct arax_record *record)
{
	const struct arax_op_program_drop *op = (const void *)record;
	return objects_drop(&d->objects, op->program);
}

int handler_kernel_define(struct dispatch *d, const struct arax_record *record)
{
	const struct arax_op_kernel_define *op = (const void *)record;
	struct program *program = (struct program *)objects_get(&d->objects, op->program);
	if (!program)
		return d->objects.lost ? 0 : -EPROTO;
	struct kernel *kernel = kernel_new(&d->objects, program, arax_record_tail(record),
					   record->tail_size, op->nargs);
	if (kernel)
		kernel->stat = stats_kernel(d, kernel->name);
	return define(d, op->kernel, (struct object *)kernel);
}

int handler_kernel_drop(struct dispatch *d, const struct arax_record *record)
{
	const struct arax_op_kernel_drop *op = (const void *)record;
	return objects_drop(&d->objects, op->kernel);
}

int handler_sampler_define(struct dispatch *d, const struct arax_record *record)
{
	const struct arax_op_sampler_define *op = (const void *)record;
	return define(d, op->sampler, (struct object *)sampler_new(op));
}

int handler_sampler_drop(struct dispatch *d, const struct arax_record *record)
{
	const struct arax_op_sampler_drop *op = (const void *)record;
	return objects_drop(&d->objects, op->sampler);
}
