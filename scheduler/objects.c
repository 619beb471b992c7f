/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's objects in its tenant, see objects.h.
 */
#include "scheduler/objects.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/wake.h"

#define MEM_OBJECT_BUFFER 0x10F0
#define OUT_OF_HOST_MEMORY (-6)
#define OUT_OF_RESOURCES (-5)
#define INVALID_PROGRAM_EXECUTABLE (-45)
#define TABLE_FIRST_SIZE 64
/* When a device that had no room for a program is asked again, and how often: for some 3 s. */
#define RETRIES 10
/* Programs that one device makes at a time. Who makes programs faster than it does would fill it
 * with them, and leave no room for commands. */
#define BUILDS_MOST 16
#define RETRY_FIRST_NS 10000000ull
#define RETRY_LAST_NS 1000000000ull

int objects_init(struct objects *objects, struct arax_device *devices, unsigned ndevices,
		 struct arax_shm *shm)
{
	memset(objects, 0, sizeof(*objects));
	for (unsigned i = 0; i < ndevices; i++)
		objects->devices[i] = &devices[i];
	objects->ndevices = ndevices;
	residency_init(&objects->residency, shm ? shm->home : NULL);
	objects->wake = shm ? &shm->tenant_wake : NULL;
	objects->costs = policy_costs_new();
	return objects->costs ? 0 : -ENOMEM;
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
	residency_exit(&objects->residency);
	policy_costs_free(objects->costs);
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

/* Whoever is given the range of the arena next has nothing to do with what was there. */
static void undefine(struct objects *objects, struct object *object)
{
	struct mem *mem = (struct mem *)object;
	if (object->kind != ARAX_HANDLE_MEM)
		return;
	if (mem->storage)
		storage_hide(&objects->residency, mem->storage);
	else
		mem->pinned = true; /* it gets none any more */
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
	objects->count += !old;
	if (old) {
		undefine(objects, old);
		object_unref(objects, old);
	}
	return 0;
}

int objects_drop(struct objects *objects, uint32_t handle)
{
	struct object *object = objects_get(objects, handle);
	if (!object)
		return objects->lost ? 0 : -EPROTO;
	objects->tables[ARAX_HANDLE_KIND(handle)].at[ARAX_HANDLE_INDEX(handle)] = NULL;
	objects->count--;
	undefine(objects, object);
	object_unref(objects, object);
	return 0;
}

void object_ref(struct object *object)
{
	object->refs++;
}

#define ON_DEVICE(objects, object, device, free_fn)                     \
	do {                                                            \
		struct arax_device *dev_ = (objects)->devices[device];  \
		if ((object)->on[device])                               \
			dev_->ops->free_fn(dev_, (object)->on[device]); \
		(object)->on[device] = NULL;                            \
	} while (0)

static void free_queue(struct objects *objects, struct queue *queue)
{
	for (unsigned i = 0; i < objects->ndevices; i++)
		ON_DEVICE(objects, queue, i, stream_free);
}

void mem_off(struct objects *objects, struct mem *root, unsigned device)
{
	for (struct mem *view = root->views; view; view = view->next)
		ON_DEVICE(objects, view, device, mem_free);
	ON_DEVICE(objects, root, device, mem_free);
}

static void free_mem(struct objects *objects, struct mem *mem)
{
	for (unsigned i = 0; i < objects->ndevices; i++)
		ON_DEVICE(objects, mem, i, mem_free);
	if (mem->storage)
		storage_free(&objects->residency, mem->storage);
	if (mem->root == mem)
		return;
	if (mem->prev)
		mem->prev->next = mem->next;
	else
		mem->root->views = mem->next;
	if (mem->next)
		mem->next->prev = mem->prev;
	object_unref(objects, &mem->root->object);
}

static void free_sampler(struct objects *objects, struct sampler *sampler)
{
	for (unsigned i = 0; i < objects->ndevices; i++)
		ON_DEVICE(objects, sampler, i, sampler_free);
}

static void free_program(struct objects *objects, struct program *program)
{
	for (unsigned i = 0; i < objects->ndevices; i++)
		ON_DEVICE(objects, program, i, program_free);
	arax_result_free(program->result);
	free(program->bytes);
	free(program->request);
}

static void free_kernel(struct objects *objects, struct kernel *kernel)
{
	for (unsigned i = 0; i < objects->ndevices; i++)
		ON_DEVICE(objects, kernel, i, kernel_free);
	object_unref(objects, &kernel->program->object);
	policy_costs_put(objects->costs, kernel->cost);
	free(kernel->name);
}

void object_forget(struct objects *objects, struct object *object, unsigned device)
{
	struct queue *queue = (struct queue *)object;
	struct mem *mem = (struct mem *)object;
	struct sampler *sampler = (struct sampler *)object;
	struct program *program = (struct program *)object;
	struct kernel *kernel = (struct kernel *)object;
	switch (object->kind) {
	case ARAX_HANDLE_QUEUE:
		ON_DEVICE(objects, queue, device, stream_free);
		break;
	case ARAX_HANDLE_MEM:
		mem_off(objects, mem->root, device);
		mem->failed &= ~(1u << device);
		break;
	case ARAX_HANDLE_SAMPLER:
		ON_DEVICE(objects, sampler, device, sampler_free);
		break;
	case ARAX_HANDLE_PROGRAM:
		ON_DEVICE(objects, program, device, program_free);
		program->failed &= ~(1u << device);
		program->building &= ~(1u << device);
		program->refused[device] = 0;
		program->retry_ns[device] = 0;
		break;
	case ARAX_HANDLE_KERNEL:
		ON_DEVICE(objects, kernel, device, kernel_free);
		kernel->failed &= ~(1u << device);
		kernel->judged &= ~(1u << device);
		kernel->proven &= ~(1u << device);
		object_forget(objects, &kernel->program->object, device);
		break;
	default:
		break;
	}
}

void objects_forget(struct objects *objects, unsigned device)
{
	objects->epoch[device]++;
	for (unsigned kind = 0; kind <= ARAX_HANDLE_SAMPLER; kind++) {
		const struct object_table *table = &objects->tables[kind];
		for (uint32_t i = 0; i < table->size; i++) {
			if (table->at[i])
				object_forget(objects, table->at[i], device);
		}
	}
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

struct queue *queue_new(bool out_of_order, enum graph_priority priority)
{
	struct queue *queue = object_new(sizeof(*queue), ARAX_HANDLE_QUEUE);
	if (!queue)
		return NULL;
	queue->graph.out_of_order = out_of_order;
	queue->graph.priority = (uint8_t)priority;
	return queue;
}

struct mem *mem_new(const struct arax_mem_desc *desc, struct mem *root)
{
	struct mem *mem = object_new(sizeof(*mem), ARAX_HANDLE_MEM);
	if (!mem)
		return NULL;
	mem->desc = *desc;
	mem->root = root ? root : mem;
	mem->home = ARAX_NO_HOME;
	if (!root)
		return mem;
	object_ref(&root->object);
	mem->next = root->views;
	if (root->views)
		root->views->prev = mem;
	root->views = mem;
	return mem;
}

struct storage *storage_of(struct objects *objects, struct mem *root, const void *arena, bool lost)
{
	const struct arax_mem_desc *desc = &root->desc;
	assert(root->root == root);
	if (root->storage || root->pinned)
		return root->storage;
	int rc = storage_new(&objects->residency,
			     (uint64_t)((const char *)desc->data - (const char *)arena), desc->size,
			     root->home, desc->type != MEM_OBJECT_BUFFER, lost, &root->storage);
	/* Two roots with the same bytes: those of the second can be nowhere else. */
	root->pinned |= rc == -EEXIST;
	if (!rc)
		root->storage->owner = root;
	return root->storage;
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

static void *bytes_copy(const void *bytes, size_t size)
{
	void *copy = malloc(size ? size : 1);
	return copy && size ? memcpy(copy, bytes, size) : copy;
}

struct program *program_new(const void *bytes, size_t size, const void *request,
			    size_t request_size)
{
	struct program *program = object_new(sizeof(*program), ARAX_HANDLE_PROGRAM);
	if (!program)
		return NULL;
	program->bytes = bytes_copy(bytes, size);
	program->request = request_size ? bytes_copy(request, request_size) : NULL;
	program->request_size = request_size;
	if (program->bytes && (program->request || !request_size)) {
		program->result = arax_result_parse(program->bytes, size);
		program->key = policy_program_key(program->bytes, size);
		if (program->result || errno != ENOMEM)
			return program;
	}
	free(program->request);
	free(program->bytes);
	free(program);
	return NULL;
}

struct kernel *kernel_new(struct objects *objects, struct program *program, const char *name,
			  size_t length, uint32_t nargs)
{
	struct kernel *kernel = object_new(sizeof(*kernel), ARAX_HANDLE_KERNEL);
	if (!kernel)
		return NULL;
	kernel->name = strndup(name, length);
	if (kernel->name)
		kernel->cost = policy_costs_get(objects->costs, program->key, kernel->name);
	if (!kernel->cost) {
		free(kernel->name);
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
	struct arax_device *dev = objects->devices[device];
	int rc = queue->on[device] ? 0 : dev->ops->stream_new(dev, &queue->on[device]);
	*out = queue->on[device];
	return rc;
}

/* A view on a discrete device is a part of what its root has there. */
static int view_on(struct objects *objects, struct mem *mem, unsigned device)
{
	struct arax_device *dev = objects->devices[device];
	struct arax_mem_desc desc = mem->desc;
	int rc = mem_on(objects, mem->root, device, &desc.parent);
	desc.origin = (uint64_t)((const char *)desc.data - (const char *)mem->root->desc.data);
	return rc ? rc : dev->ops->mem_new(dev, &desc, &mem->on[device]);
}

int mem_on(struct objects *objects, struct mem *mem, unsigned device, struct arax_device_mem **out)
{
	struct arax_device *dev = objects->devices[device];
	int rc = 0;
	if (!mem->on[device])
		rc = dev->discrete && mem->root != mem
			 ? view_on(objects, mem, device)
			 : dev->ops->mem_new(dev, &mem->desc, &mem->on[device]);
	*out = mem->on[device];
	return rc;
}

int sampler_on(struct objects *objects, struct sampler *sampler, unsigned device,
	       struct arax_device_sampler **out)
{
	struct arax_device *dev = objects->devices[device];
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
	struct arax_device *dev = objects->devices[device];
	*out = program->on[device];
	if (*out && !(program->building >> device & 1))
		return 0;
	/* Not tried again: it would fail the same way, and cost milliseconds every time. */
	if (!program->result || program->result->error || dev->discrete ||
	    program->failed >> device & 1)
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

/* On any thread. */
static void program_done(void *arg, int status, const char *log)
{
	struct program_build *build = arg;
	struct objects *objects = build->objects;
	build->status = status;
	snprintf(build->log, sizeof(build->log), "%s", log ? log : "");
	build->link = atomic_load_explicit(&objects->built, memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&objects->built, &build->link, build))
		;
	if (objects->wake)
		arax_wake_ring(objects->wake);
}

static bool can_make(const struct arax_device *dev, const struct program *program)
{
	if (!program->result || program->result->error)
		return false;
	if (dev->caps.features & ARAX_FEATURE_COMPILER &&
	    (program->request ||
	     arax_result_variant(program->result, ARAX_VARIANT_PROGRAM, NULL, NULL, NULL)))
		return true;
	return dev->caps.features & ARAX_FEATURE_RESULT && program->result->binary_size;
}

/* Is it too early to ask the device again? */
static bool program_rests(struct objects *objects, const struct program *program, unsigned device)
{
	uint64_t at = program->retry_ns[device];
	if (!at || at <= arax_now_ns())
		return false;
	if (!objects->retry_ns || at < objects->retry_ns)
		objects->retry_ns = at;
	return true;
}

/* That may pass. */
static void program_refused(struct program *program, unsigned device)
{
	unsigned shift = program->refused[device]++;
	uint64_t delay = RETRY_FIRST_NS << shift;
	if (shift + 1 == RETRIES)
		program->failed |= 1u << device;
	program->retry_ns[device] = arax_now_ns() + (delay < RETRY_LAST_NS ? delay : RETRY_LAST_NS);
}

void program_begin(struct objects *objects, struct program *program, unsigned device)
{
	struct arax_device *dev = objects->devices[device];
	if (program->on[device] || (program->failed | program->building) >> device & 1 ||
	    objects->builds_on[device] >= BUILDS_MOST || program_rests(objects, program, device))
		return;
	if (!can_make(dev, program)) {
		program->failed |= 1u << device;
		return;
	}
	struct program_build *build = calloc(1, sizeof(*build));
	if (!build)
		return;
	*build = (struct program_build){.objects = objects,
					.program = program,
					.device = device,
					.epoch = objects->epoch[device]};
	const struct arax_program_source source = {
	    .result = program->result,
	    .request = program->request,
	    .request_size = program->request_size,
	    .done = program_done,
	    .arg = build,
	};
	object_ref(&program->object);
	program->building |= 1u << device;
	objects->builds++;
	objects->builds_on[device]++;
	int rc = dev->ops->program_load(dev, &source, &program->on[device]);
	if (rc)
		program_done(build, rc, "");
}

void program_ended(struct objects *objects, struct program_build *build)
{
	struct program *program = build->program;
	bool same = build->epoch == objects->epoch[build->device];
	if (same)
		program->building &= ~(1u << build->device);
	objects->builds--;
	objects->builds_on[build->device]--;
	if (build->status && same) {
		ON_DEVICE(objects, program, build->device, program_free);
		if (build->status == OUT_OF_HOST_MEMORY || build->status == OUT_OF_RESOURCES)
			program_refused(program, build->device);
		else
			program->failed |= 1u << build->device;
	} else if (same) {
		program->refused[build->device] = 0;
		program->retry_ns[build->device] = 0;
	}
	free(build);
	object_unref(objects, &program->object);
}

int kernel_on(struct objects *objects, struct kernel *kernel, unsigned device,
	      struct arax_device_kernel **out)
{
	struct arax_device *dev = objects->devices[device];
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
