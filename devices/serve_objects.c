/* SPDX-License-Identifier: Apache-2.0
 *
 * What a tenant has defined on a link: a table per kind, references by commands and by each other.
 * The back end's side of an object is made when it is defined or, for what must wait for something
 * (a kernel for its program, memory for room), when it is first used.
 */
#include "devices/serve_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct serve_object *object_get(const struct serve_link *link, uint32_t handle)
{
	const struct serve_table *table = &link->tables[ARAX_HANDLE_KIND(handle)];
	uint32_t index = ARAX_HANDLE_INDEX(handle);

	return index < table->size ? table->at[index] : NULL;
}

static int table_grow(struct serve_table *table, uint32_t index)
{
	uint32_t size = table->size ?: 64;
	struct serve_object **at;

	while (size <= index)
		size *= 2;
	at = realloc(table->at, size * sizeof(*at));
	if (!at)
		return -ENOMEM;
	memset(at + table->size, 0, (size - table->size) * sizeof(*at));
	table->at = at;
	table->size = size;
	return 0;
}

int object_define(struct serve_link *link, uint32_t handle, struct serve_object *object)
{
	struct serve_table *table = &link->tables[ARAX_HANDLE_KIND(handle)];
	uint32_t index = ARAX_HANDLE_INDEX(handle);
	int rc = 0;

	if (index < table->size && table->at[index])
		rc = -EPROTO;
	else if (index >= table->size)
		rc = table_grow(table, index);
	if (rc)
		object_unref(link, object);
	else
		table->at[index] = object;
	return rc;
}

int object_drop(struct serve_link *link, uint32_t handle)
{
	struct serve_object *object = object_get(link, handle);

	if (!object)
		return -EPROTO;
	link->tables[ARAX_HANDLE_KIND(handle)].at[ARAX_HANDLE_INDEX(handle)] = NULL;
	object_unref(link, object);
	return 0;
}

void *object_alloc(enum arax_handle_kind kind, size_t size)
{
	struct serve_object *object = calloc(1, size);

	if (object) {
		object->refs = 1;
		object->kind = kind;
	}
	return object;
}

/* ---- making the back end's side ------------------------------------------------------------- */

static bool within_limit(const struct serve_link *link, uint64_t size)
{
	uint64_t limit = atomic_load_explicit(&link->memory_limit, memory_order_relaxed);

	return !limit || (link->memory <= limit && size <= limit - link->memory);
}

static void account(struct serve_link *link, const struct serve_mem *mem, bool more)
{
	if (mem->parent)
		return;
	link->memory += more ? mem->desc.size : -mem->desc.size;
	if (link->usage)
		atomic_store_explicit(&link->usage->memory, link->memory, memory_order_relaxed);
}

static int mem_new(struct serve_link *link, struct serve_mem *mem)
{
	struct arax_device *dev = link->serve->dev;
	int err = CL_MEM_OBJECT_ALLOCATION_FAILURE;

	mem->desc.parent = mem->parent ? mem->parent->mem : NULL;
	if (mem->parent || within_limit(link, mem->desc.size))
		err = dev->ops->mem_new(dev, &mem->desc, &mem->mem);
	if (!err)
		account(link, mem, true);
	else
		mem->mem = NULL;
	if (err == CL_OUT_OF_RESOURCES || err == CL_OUT_OF_HOST_MEMORY)
		err = CL_MEM_OBJECT_ALLOCATION_FAILURE;
	return err;
}

int mem_make(struct serve_link *link, struct serve_mem *mem, uint32_t seen,
	     struct serve_mem **failed)
{
	int err = mem->error;

	if (mem->mem || err)
		return err;
	/* Whoever sent this did not know that what was to fill it has failed. */
	if (mem->failing || (mem->failed && (int32_t)(seen - mem->failed_at) < 0))
		return CL_MEM_OBJECT_ALLOCATION_FAILURE;
	if (mem->parent)
		err = mem_make(link, mem->parent, seen, failed);
	if (err)
		return err;
	err = mem_new(link, mem);
	if (err == CL_MEM_OBJECT_ALLOCATION_FAILURE) {
		mem->failing = true;
		*failed = mem;
	} else if (err != CL_DEVICE_NOT_AVAILABLE) {
		mem->error = err;
	}
	return err;
}

int kernel_make(struct serve_link *link, struct serve_kernel *kernel)
{
	struct arax_device *dev = link->serve->dev;

	if (kernel->kernel)
		return 0;
	if (!kernel->program->program || kernel->program->state != SERVE_BUILT)
		return CL_INVALID_PROGRAM_EXECUTABLE;
	return dev->ops->kernel_new(dev, kernel->program->program, kernel->name, &kernel->kernel);
}

int sampler_make(struct serve_link *link, struct serve_sampler *sampler)
{
	struct arax_device *dev = link->serve->dev;

	if (sampler->sampler)
		return 0;
	return dev->ops->sampler_new(dev, sampler->normalized, sampler->addressing, sampler->filter,
				     &sampler->sampler);
}

int stream_make(struct serve_link *link, struct serve_stream *stream)
{
	struct arax_device *dev = link->serve->dev;

	return stream->stream ? 0 : dev->ops->stream_new(dev, &stream->stream);
}

/* ---- the end of objects --------------------------------------------------------------------- */

static void mem_free(struct serve_link *link, struct serve_mem *mem)
{
	struct arax_device *dev = link->serve->dev;

	if (mem->mem) {
		pthread_mutex_lock(&link->serve->calls);
		dev->ops->mem_free(dev, mem->mem);
		pthread_mutex_unlock(&link->serve->calls);
		account(link, mem, false);
	}
	if (mem->parent)
		object_unref(link, &mem->parent->object);
}

static void program_free(struct serve_link *link, struct serve_program *program)
{
	struct arax_device *dev = link->serve->dev;

	if (program->program) {
		pthread_mutex_lock(&link->serve->calls);
		dev->ops->program_free(dev, program->program);
		pthread_mutex_unlock(&link->serve->calls);
	}
	arax_result_free(program->result);
	for (int i = 0; i < 2; i++) {
		link->program_bytes -= program->parts[i].capacity;
		free(program->parts[i].data);
	}
}

static void kernel_free(struct serve_link *link, struct serve_kernel *kernel)
{
	struct arax_device *dev = link->serve->dev;

	if (kernel->kernel) {
		pthread_mutex_lock(&link->serve->calls);
		dev->ops->kernel_free(dev, kernel->kernel);
		pthread_mutex_unlock(&link->serve->calls);
	}
	free(kernel->name);
	object_unref(link, &kernel->program->object);
}

static void sampler_free(struct serve_link *link, struct serve_sampler *sampler)
{
	struct arax_device *dev = link->serve->dev;

	if (!sampler->sampler)
		return;
	pthread_mutex_lock(&link->serve->calls);
	dev->ops->sampler_free(dev, sampler->sampler);
	pthread_mutex_unlock(&link->serve->calls);
}

static void stream_free(struct serve_link *link, struct serve_stream *stream)
{
	struct arax_device *dev = link->serve->dev;

	if (!stream->stream)
		return;
	pthread_mutex_lock(&link->serve->calls);
	dev->ops->stream_free(dev, stream->stream);
	pthread_mutex_unlock(&link->serve->calls);
	stream->stream = NULL;
}

void object_unref(struct serve_link *link, struct serve_object *object)
{
	assert(object->refs);
	if (--object->refs)
		return;
	switch (object->kind) {
	case ARAX_HANDLE_MEM:
		mem_free(link, (struct serve_mem *)object);
		break;
	case ARAX_HANDLE_PROGRAM:
		program_free(link, (struct serve_program *)object);
		break;
	case ARAX_HANDLE_KERNEL:
		kernel_free(link, (struct serve_kernel *)object);
		break;
	case ARAX_HANDLE_SAMPLER:
		sampler_free(link, (struct serve_sampler *)object);
		break;
	case ARAX_HANDLE_STREAM:
		stream_free(link, (struct serve_stream *)object);
		break;
	default:
		assert(0);
	}
	free(object);
}

void objects_exit(struct serve_link *link)
{
	struct serve_table *streams = &link->tables[ARAX_HANDLE_STREAM];

	for (uint32_t i = 0; i < streams->size; i++)
		if (streams->at[i])
			stream_free(link, (struct serve_stream *)streams->at[i]);
	for (int kind = 0; kind < SERVE_KINDS; kind++) {
		struct serve_table *table = &link->tables[kind];

		for (uint32_t i = 0; i < table->size; i++)
			if (table->at[i])
				object_unref(link, table->at[i]);
		free(table->at);
		*table = (struct serve_table){0};
	}
}
