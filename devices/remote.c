/* SPDX-License-Identifier: Apache-2.0
 *
 * The tenant's end of a link, see remote.h: encodes what the back end's functions are asked for,
 * and turns completions into calls of done. What comes from the other side is checked as if it
 * were a client's: an arax-device runs code of others, too.
 *
 * Records that find the ring full wait in a list of our own, in their order; arax-device is asked
 * to ring when it has made room. Commands are bounded by their slots, definitions by the objects
 * that the client may have.
 */
#include "devices/remote.h"

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/link.h"
#include "transport/ring.h"
#include "transport/wake.h"

#define KINDS (ARAX_HANDLE_STREAM + 1)
#define STATUS_LEAST (-10000) /* no error of OpenCL or an extension is below */
#define NO_SLOT ARAX_LINK_SLOTS

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

/* A command in flight; free ones are a list. */
struct remote_slot {
	bool busy, program;
	uint32_t next;
	union {
		arax_device_done command;
		void (*program)(void *arg, int status, const char *log);
	} done; /* a program's may be NULL */
	void *arg;
};

/* Numbers of objects of one kind: those given back, and those from next on. */
struct remote_numbers {
	uint32_t *free;
	size_t nfree, capacity;
	uint32_t next;
};

/* A record that waits for room. */
struct remote_record {
	struct remote_record *next;
	uint32_t size;
	_Alignas(8) unsigned char bytes[];
};

struct remote {
	struct arax_link_shm *shm;
	struct arax_ring sq, cq;
	char *arena;
	uint64_t arena_size;
	uint32_t features;
	bool lost;
	bool broken; /* found out where no done may be called: poll() sees to it */
	struct remote_record *first, **last;
	uint32_t slot_free;
	uint32_t seen; /* commands that ended for want of device memory */
	struct remote_slot slots[ARAX_LINK_SLOTS];
	struct remote_numbers numbers[KINDS];
	_Alignas(8) unsigned char record[ARAX_RECORD_MAX];
	_Alignas(8) unsigned char done[sizeof(struct arax_link_done) + ARAX_LINK_LOG_MAX + 8];
};

static struct remote *remote_of(const struct arax_device *dev)
{
	return dev->priv;
}

/* ---- sending ----------------------------------------------------------------------------------
 */

/* The next record, zeroed as far as its fixed part goes. */
static void *record_begin(struct remote *r, unsigned op)
{
	struct arax_record *record = (struct arax_record *)r->record;

	memset(record, 0, arax_link_fixed_size(op));
	record->op = (uint16_t)op;
	record->slot = ARAX_NO_SLOT;
	return record;
}

static void record_tail(struct remote *r, const void *data, size_t size)
{
	struct arax_record *record = (struct arax_record *)r->record;
	unsigned char *tail = r->record + arax_link_fixed_size(record->op);

	memcpy(tail, data, size);
	memset(tail + size, 0, -size & 7);
	record->tail_size = (uint32_t)size;
}

/* Writes what waits, as far as there is room. Asks for a ring when there is none. */
static void flush(struct remote *r)
{
	bool asked = false, wrote = false;

	while (r->first && !r->broken) {
		struct remote_record *record = r->first;
		int rc = arax_ring_write(&r->sq, record->bytes, record->size);

		if (rc == -EAGAIN && !asked) {
			/* Before the other look: who makes room in between sees the question. */
			atomic_exchange(&r->shm->tenant_waits, 1);
			asked = true;
			continue;
		}
		if (rc == -EAGAIN)
			break;
		if (rc) {
			r->broken = true;
			break;
		}
		wrote = true;
		r->first = record->next;
		if (!r->first)
			r->last = &r->first;
		free(record);
	}
	if (wrote)
		arax_wake_ring(&r->shm->device_wake);
}

static int keep(struct remote *r, const struct arax_record *record)
{
	struct remote_record *kept = malloc(sizeof(*kept) + record->size);

	if (!kept)
		return -ENOMEM;
	kept->next = NULL;
	kept->size = record->size;
	memcpy(kept->bytes, record, record->size);
	*r->last = kept;
	r->last = &kept->next;
	flush(r);
	return 0;
}

/* Return: 0 or -ENOMEM. A device that is lost takes everything and does nothing. */
static int record_send(struct remote *r)
{
	struct arax_record *record = (struct arax_record *)r->record;
	int rc;

	if (r->lost || r->broken)
		return 0;
	record->size = (uint32_t)(arax_link_fixed_size(record->op) +
				  (((size_t)record->tail_size + 7) & ~(size_t)7));
	if (r->first)
		return keep(r, record);
	rc = arax_ring_write(&r->sq, record, record->size);
	if (rc == -EAGAIN)
		return keep(r, record);
	if (rc)
		r->broken = true;
	else
		arax_wake_ring(&r->shm->device_wake);
	return 0;
}

/* ---- numbers ----------------------------------------------------------------------------------
 */

/* Return: a handle, 0 when there are no more. */
static uint32_t handle_new(struct remote *r, uint32_t kind)
{
	struct remote_numbers *numbers = &r->numbers[kind];

	if (numbers->nfree)
		return ARAX_HANDLE(kind, numbers->free[--numbers->nfree]);
	if (numbers->next == ARAX_LINK_OBJECTS)
		return 0;
	return ARAX_HANDLE(kind, numbers->next++);
}

/* Without memory for the list the number is just never used again. */
static void handle_free(struct remote *r, uint32_t handle)
{
	struct remote_numbers *numbers = &r->numbers[ARAX_HANDLE_KIND(handle)];

	if (numbers->nfree == numbers->capacity) {
		size_t capacity = numbers->capacity ? numbers->capacity * 2 : 64;
		uint32_t *list = realloc(numbers->free, capacity * sizeof(*list));

		if (!list)
			return;
		numbers->free = list;
		numbers->capacity = capacity;
	}
	numbers->free[numbers->nfree++] = ARAX_HANDLE_INDEX(handle);
}

static uint32_t slot_new(struct remote *r)
{
	uint32_t slot = r->slot_free;

	if (slot != NO_SLOT) {
		r->slot_free = r->slots[slot].next;
		r->slots[slot].busy = true;
	}
	return slot;
}

static void slot_free(struct remote *r, uint32_t slot)
{
	r->slots[slot].busy = false;
	r->slots[slot].next = r->slot_free;
	r->slot_free = slot;
}

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

/* Its definition could not be sent, so nobody over there knows it. */
static int object_unsent(struct remote *r, uint32_t *object)
{
	handle_free(r, *object);
	free(object);
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

/* ---- the back end's functions -----------------------------------------------------------------
 */

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
	return record_send(r) ? object_unsent(r, &(*out)->handle) : 0;
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
 * when it takes such. */
static int write_result(const struct remote *r, const struct arax_result *from,
			struct arax_writer *w)
{
	struct arax_result result = *from;

	if (!(r->features & ARAX_FEATURE_RESULT)) {
		result.binary = NULL;
		result.binary_size = 0;
	}
	arax_result_write(w, &result);
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
	err = write_result(r, source->result, &result);
	slot = err ? NO_SLOT : slot_new(r);
	if (!err && slot == NO_SLOT)
		err = CL_OUT_OF_RESOURCES;
	if (err) {
		object_unsent(r, &(*out)->handle);
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
	return record_send(r) ? object_unsent(r, &(*out)->handle) : 0;
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
	return record_send(r) ? object_unsent(r, &(*out)->handle) : 0;
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
	return record_send(r) ? object_unsent(r, &(*out)->handle) : 0;
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
	return command_send(r, &op->head, launch->done, launch->arg);
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
	return command_send(r, &op->head, transfer->done, transfer->arg);
}

/* ---- receiving --------------------------------------------------------------------------------
 */

static bool completion_ok(const struct remote *r, const struct arax_link_done *done, int size)
{
	if (size < (int)sizeof(*done) || done->log_size > ARAX_LINK_LOG_MAX ||
	    (size_t)size != sizeof(*done) + ((done->log_size + 7u) & ~7u))
		return false;
	if (done->slot >= ARAX_LINK_SLOTS || !r->slots[done->slot].busy)
		return false;
	if (done->log_size && !r->slots[done->slot].program)
		return false;
	return done->status <= 0 && done->status > STATUS_LEAST;
}

/* The slot is free before done is called, which may want one. */
static void slot_end(struct remote *r, uint32_t number, int status, const char *log, uint64_t start,
		     uint64_t end)
{
	struct remote_slot slot = r->slots[number];

	slot_free(r, number);
	if (!slot.program)
		slot.done.command(slot.arg, status, start, end);
	else if (slot.done.program)
		slot.done.program(slot.arg, status, log);
}

static void complete(struct remote *r, struct arax_link_done *done, uint64_t now)
{
	char *log = (char *)(done + 1);

	log[done->log_size] = '\0';
	if (done->end_ns > now)
		done->end_ns = now;
	if (done->start_ns > done->end_ns)
		done->start_ns = done->end_ns;
	r->seen += done->status == CL_MEM_OBJECT_ALLOCATION_FAILURE;
	slot_end(r, done->slot, done->status, log, done->start_ns, done->end_ns);
}

/* Return: how many, or -EPROTO. Bounded, however fast the other side is. */
static int fetch(struct remote *r)
{
	struct arax_link_done *done = (struct arax_link_done *)r->done;
	uint64_t now = 0;
	int n = 0;

	while (n < (int)ARAX_LINK_SLOTS && !r->lost) {
		int size = arax_ring_read(&r->cq, done, sizeof(r->done) - 8);

		if (!size)
			break;
		if (size < 0 || !completion_ok(r, done, size))
			return -EPROTO;
		if (!now)
			now = arax_now_ns();
		complete(r, done, now);
		n++;
	}
	return n;
}

void arax_remote_lost(struct arax_device *dev)
{
	struct remote *r = remote_of(dev);
	uint64_t now = arax_now_ns();

	if (r->lost)
		return;
	r->lost = true;
	while (r->first) {
		struct remote_record *record = r->first;

		r->first = record->next;
		free(record);
	}
	r->last = &r->first;
	for (uint32_t i = 0; i < ARAX_LINK_SLOTS; i++)
		if (r->slots[i].busy)
			slot_end(r, i, CL_DEVICE_NOT_AVAILABLE, "", now, now);
}

static int remote_poll(struct arax_device *dev)
{
	struct remote *r = remote_of(dev);
	/* What ended before the link did has its completion there. */
	bool open = atomic_load_explicit(&r->shm->state, memory_order_acquire) == ARAX_LINK_OPEN;
	int n;

	if (r->lost)
		return -ENODEV;
	flush(r);
	n = fetch(r);
	if (n < 0 || r->broken || !open)
		arax_remote_lost(dev);
	return r->lost ? -ENODEV : n;
}

static bool remote_ready(const struct arax_device *dev)
{
	const struct remote *r = remote_of(dev);

	if (r->lost)
		return false;
	if (arax_ring_pending(&r->cq) || r->broken)
		return true;
	if (r->first &&
	    atomic_load_explicit(&r->sq.index->head, memory_order_relaxed) != r->sq.seen)
		return true;
	return atomic_load_explicit(&r->shm->state, memory_order_relaxed) != ARAX_LINK_OPEN;
}

static const struct arax_device_ops remote_ops = {
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

int arax_remote_new(const char *name, unsigned index, const struct arax_device_caps *caps,
		    int link_fd, void *arena, uint64_t arena_size, struct arax_device *dev)
{
	struct remote *r = calloc(1, sizeof(*r));
	int err = r ? arax_link_map(link_fd, &r->shm) : -ENOMEM;

	if (err) {
		free(r);
		return err;
	}
	arax_ring_init(&r->sq, &r->shm->sq, r->shm->sq_data, ARAX_LINK_SQ_BYTES);
	arax_ring_init(&r->cq, &r->shm->cq, r->shm->cq_data, ARAX_LINK_CQ_BYTES);
	r->arena = arena;
	r->arena_size = arena_size;
	r->features = caps->features;
	r->last = &r->first;
	for (uint32_t i = 0; i < ARAX_LINK_SLOTS; i++)
		r->slots[i].next = i + 1;
	for (int kind = 0; kind < KINDS; kind++)
		r->numbers[kind].next = 1;
	*dev = (struct arax_device){.ops = &remote_ops,
				    .index = index,
				    .discrete = true,
				    .parallel = caps->compute_units ?: 1,
				    .caps = *caps,
				    .priv = r};
	snprintf(dev->name, sizeof(dev->name), "%s", name);
	return 0;
}

void arax_remote_free(struct arax_device *dev)
{
	struct remote *r = remote_of(dev);

	arax_remote_lost(dev);
	arax_link_unmap(r->shm);
	for (int kind = 0; kind < KINDS; kind++)
		free(r->numbers[kind].free);
	free(r);
	dev->priv = NULL;
}
