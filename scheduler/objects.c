/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's objects in its tenant, see objects.h.
 */
#include "scheduler/objects.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define OUT_OF_HOST_MEMORY (-6)
#define INVALID_PROGRAM_EXECUTABLE (-45)
#define TABLE_FIRST_SIZE 64

void objects_init(struct objects *objects, struct arax_device *devices, unsigned ndevices)
{
	memset(objects, 0, sizeof(*objects));
	objects->devices = devices;
	objects->ndevices = ndevices;
}

void objects_exit(struct objects *objects)
{
	for (unsigned kind = 0; kind <= ARAX_HANDLE_SAMPLER; kind++) {
		struct object_table *table = &objects->tables[kind];
		for (uint32_t i = 0; i < table->size; i++) {
			if (table->at[i])
				object_unref(objects, table->at[i]);
		}
		free(table->at);
	}
	memset(objects->tables, 0, sizeof(objects->tables));
}

struct object *objects_get(const struct objects *objects, uint32_t handle)
{
	unsigned kind = ARAX_HANDLE_KIND(handle);
	uint32_t index = ARAX_HANDLE_INDEX(handle);
	if (kind > ARAX_HANDLE_SAMPLER || index >= objects->tables[kind].size)
		return NULL;
	return objects->tables[kind].at[index];
}

static int table_grow(struct object_table *table, uint32_t index)
{
	uint32_t size = table->size ? table->size : TABLE_FIRST_SIZE;
	while (size <= index)
		size *= 2;
	struct object **at = realloc(table->at, size * sizeof(struct object *));
	if (!at)
		return -ENOMEM;
	memset(at + table->size, 0, (size - table->size) * sizeof(struct object *));
	table->at = at;
	table->size = size;
	return 0;
}

int objects_set(struct objects *objects, uint32_t handle, struct object *object)
{
	unsigned kind = ARAX_HANDLE_KIND(handle);
	uint32_t index = ARAX_HANDLE_INDEX(handle);
	assert(kind == object->kind && index < ARAX_HANDLE_MAX_INDEX);
	struct object_table *table = &objects->tables[kind];
	if (index >= table->size) {
		int rc = table_grow(table, index);
		if (rc)
			return rc;
	}
	struct object *old = table->at[index];
	table->at[index] = object;
	if (old)
		object_unref(objects, old);
	return 0;
}

int objects_drop(struct objects *objects, uint32_t handle)
{
	struct object *object = objects_get(objects, handle);
	if (!object)
		return objects->lost ? 0 : -EPROTO;
	objects->tables[ARAX_HANDLE_KIND(handle)].at[ARAX_HANDLE_INDEX(handle)] = NULL;
	object_unref(objects, object);
	return 0;
}

void object_ref(struct object *object)
{
	object->refs++;
}

static void free_queue(struct objects *objects, struct queue *queue)
{
	for (unsigned i = 0; i < objects->ndevices; i++) {
		if (queue->on[i])
			objects->devices[i].ops->stream_free(&objects->devices[i], queue->on[i]);
	}
}

static void free_mem(struct objects *objects, struct mem *mem)
{
	for (unsigned i = 0; i < objects->ndevices; i++) {
		if (mem->on[i])
			objects->devices[i].ops->mem_free(&objects->devices[i], mem->on[i]);
	}
}

static void free_sampler(struct objects *objects, struct sampler *sampler)
{
	for (unsigned i = 0; i < objects->ndevices; i++) {
		if (sampler->on[i])
			objects->devices[i].ops->sampler_free(&objects->devices[i], sampler->on[i]);
	}
}

static void free_program(struct objects *objects, struct program *program)
{
	for (unsigned i = 0; i < objects->ndevices; i++) {
		if (program->on[i])
			objects->devices[i].ops->program_free(&objects->devices[i], program->on[i]);
	}
	arax_result_free(program->result);
	free(program->bytes);
}

static void free_kernel(struct objects *objects, struct kernel *kernel)
{
	for (unsigned i = 0; i < objects->ndevices; i++) {
		if (kernel->on[i])
			objects->devices[i].ops->kernel_free(&objects->devices[i], kernel->on[i]);
	}
	object_unref(objects, &kernel->program->object);
	free(kernel->cost);
	free(kernel->name);
}

void object_unref(struct objects *objects, struct object *object)
{
	assert(object->refs > 0);
	if (--object->refs)
		return;
	switch (object->kind) {
	case ARAX_HANDLE_QUEUE:
		free_queue(objects, (struct queue *)object);
		break;
	case ARAX_HANDLE_MEM:
		free_mem(objects, (struct mem *)object);
		break;
	case ARAX_HANDLE_SAMPLER:
		free_sampler(objects, (struct sampler *)object);
		break;
	case ARAX_HANDLE_PROGRAM:
		free_program(objects, (struct program *)object);
		break;
	case ARAX_HANDLE_KERNEL:
		free_kernel(objects, (struct kernel *)object);
		break;
	case ARAX_HANDLE_STREAM: /* between a tenant and arax-device only */
		assert(false);
	}
	free(object);
}

/* The object is the first member of every kind. */
static void *object_new(size_t size, enum arax_handle_kind kind)
{
	struct object *object = calloc(1, size);
	if (object)
		*object = (struct object){.refs = 1, .kind = kind};
	return object;
}

struct queue *queue_new(bool out_of_order)
{
	struct queue *queue = object_new(sizeof(*queue), ARAX_HANDLE_QUEUE);
	if (queue)
		queue->graph.out_of_order = out_of_order;
	return queue;
}

struct mem *mem_new(const struct arax_mem_desc *desc)
{
	struct mem *mem = object_new(sizeof(*mem), ARAX_HANDLE_MEM);
	if (mem)
		mem->desc = *desc;
	return mem;
}

struct sampler *sampler_new(const struct arax_op_sampler_define *op)
{
	struct sampler *sampler = object_new(sizeof(*sampler), ARAX_HANDLE_SAMPLER);
	if (sampler) {
		sampler->normalized = op->normalized;
		sampler->addressing = op->addressing;
		sampler->filter = op->filter;
	}
	return sampler;
}

struct program *program_new(const void *bytes, size_t size)
{
	struct program *program = object_new(sizeof(*program), ARAX_HANDLE_PROGRAM);
	if (!program)
		return NULL;
	program->bytes = malloc(size ? size : 1);
	if (!program->bytes) {
		free(program);
		return NULL;
	}
	if (size)
		memcpy(program->bytes, bytes, size);
	program->result = arax_result_parse(program->bytes, size);
	if (!program->result && errno == ENOMEM) {
		free(program->bytes);
		free(program);
		return NULL;
	}
	return program;
}

struct kernel *kernel_new(struct program *program, const char *name, size_t length, uint32_t nargs)
{
	struct kernel *kernel = object_new(sizeof(*kernel), ARAX_HANDLE_KERNEL);
	if (!kernel)
		return NULL;
	kernel->name = strndup(name, length);
	kernel->cost = calloc(1, sizeof(*kernel->cost));
	if (!kernel->name || !kernel->cost) {
		free(kernel->name);
		free(kernel->cost);
		free(kernel);
		return NULL;
	}
	kernel->nargs = nargs;
	kernel->stat = -1;
	kernel->program = program;
	object_ref(&program->object);
	const struct arax_result *result = program->result;
	for (uint32_t i = 0; result && i < result->nkernels; i++) {
		if (!strcmp(result->kernels[i].name, kernel->name))
			kernel->info = &result->kernels[i];
	}
	return kernel;
}

int queue_on(struct objects *objects, struct queue *queue, unsigned device,
	     struct arax_device_stream **out)
{
	struct arax_device *dev = &objects->devices[device];
	int rc = queue->on[device] ? 0 : dev->ops->stream_new(dev, &queue->on[device]);
	*out = queue->on[device];
	return rc;
}

int mem_on(struct objects *objects, struct mem *mem, unsigned device, struct arax_device_mem **out)
{
	struct arax_device *dev = &objects->devices[device];
	int rc = mem->on[device] ? 0 : dev->ops->mem_new(dev, &mem->desc, &mem->on[device]);
	*out = mem->on[device];
	return rc;
}

int sampler_on(struct objects *objects, struct sampler *sampler, unsigned device,
	       struct arax_device_sampler **out)
{
	struct arax_device *dev = &objects->devices[device];
	int rc = sampler->on[device]
		     ? 0
		     : dev->ops->sampler_new(dev, sampler->normalized, sampler->addressing,
					     sampler->filter, &sampler->on[device]);
	*out = sampler->on[device];
	return rc;
}

int program_on(struct objects *objects, struct program *program, unsigned device,
	       struct arax_device_program **out)
{
	struct arax_device *dev = &objects->devices[device];
	*out = program->on[device];
	if (*out)
		return 0;
	/* Not tried again: it would fail the same way, and cost milliseconds every time. */
	if (!program->result || program->result->error || program->failed >> device & 1)
		return INVALID_PROGRAM_EXECUTABLE;
	const struct arax_program_source source = {.result = program->result};
	int rc = dev->ops->program_load(dev, &source, &program->on[device]);
	if (rc == OUT_OF_HOST_MEMORY)
		return rc; /* that may pass */
	if (rc) {
		program->failed |= 1u << device;
		return INVALID_PROGRAM_EXECUTABLE;
	}
	*out = program->on[device];
	return 0;
}

int kernel_on(struct objects *objects, struct kernel *kernel, unsigned device,
	      struct arax_device_kernel **out)
{
	struct arax_device *dev = &objects->devices[device];
	struct arax_device_program *loaded;
	*out = kernel->on[device];
	if (*out)
		return 0;
	int rc = program_on(objects, kernel->program, device, &loaded);
	if (!rc)
		rc = dev->ops->kernel_new(dev, loaded, kernel->name, &kernel->on[device]);
	if (rc == OUT_OF_HOST_MEMORY)
		return rc;
	if (rc)
		kernel->failed |= 1u << device;
	*out = kernel->on[device];
	return rc ? INVALID_PROGRAM_EXECUTABLE : 0;
}
