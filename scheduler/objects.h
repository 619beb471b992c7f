/* SPDX-License-Identifier: Apache-2.0
 *
 * What the client has defined in its tenant: queues, memory objects, programs, kernels, samplers.
 * A table per kind maps a handle's number to an object; commands in flight hold references, so a
 * drop in the middle of them is harmless. What a device needs of an object is made when the device
 * first uses it.
 *
 * Threads: the dispatch thread only. Errors of the make-on-use functions are OpenCL's, negative.
 */
#ifndef ARAX_SCHEDULER_OBJECTS_H
#define ARAX_SCHEDULER_OBJECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/device.h"
#include "scheduler/graph.h"
#include "scheduler/policy.h"
#include "transport/protocol.h"

#define OBJECTS_DEVICES POLICY_DEVICES

struct object {
	uint32_t refs;
	enum arax_handle_kind kind;
};

/* A command of a queue for the trace, also when it has ended: its number, where it was. */
struct queue_traced {
	uint64_t id;
	uint32_t slot;
};

struct queue {
	struct object object;
	struct graph_queue graph;
	struct queue_traced last, barrier;
	struct arax_device_stream *on[OBJECTS_DEVICES];
};

struct mem {
	struct object object;
	struct arax_mem_desc desc;
	struct arax_device_mem *on[OBJECTS_DEVICES];
};

struct sampler {
	struct object object;
	uint32_t normalized, addressing, filter;
	struct arax_device_sampler *on[OBJECTS_DEVICES];
};

struct program {
	struct object object;
	void *bytes; /* the tenant's own copy of the result */
	struct arax_result *result;
	struct arax_device_program *on[OBJECTS_DEVICES];
	uint32_t failed; /* bit n: device n cannot load it */
};

/* The last choice of a work-group, because applications repeat themselves. */
struct kernel_group {
	size_t global[3], local[3];
	unsigned dims, parallel;
};

struct kernel {
	struct object object;
	struct program *program;
	const struct arax_kernel_info *info; /* in program->result; NULL when it is not there */
	char *name;
	uint32_t nargs;
	uint32_t failed; /* bit n: device n does not have it */
	int stat;	 /* its row in the statistics, -1 for none */
	struct policy_cost *cost;
	struct kernel_group group;
	struct arax_device_kernel *on[OBJECTS_DEVICES];
};

struct objects {
	struct arax_device *devices;
	unsigned ndevices;
	bool lost; /* for lack of memory something was not defined: what uses it fails */
	struct object_table {
		struct object **at;
		uint32_t size;
	} tables[ARAX_HANDLE_SAMPLER + 1];
};

void objects_init(struct objects *objects, struct arax_device *devices, unsigned ndevices);
void objects_exit(struct objects *objects);

/** objects_get() - the object of a handle, NULL when it is not defined. */
struct object *objects_get(const struct objects *objects, uint32_t handle);

/**
 * objects_set() - (re)define a handle; the table takes over the caller's reference
 * Return: 0, or -ENOMEM (then the reference is still the caller's).
 */
int objects_set(struct objects *objects, uint32_t handle, struct object *object);

/** objects_drop() - undefine a handle. Return: 0, or -EPROTO when it was never defined. */
int objects_drop(struct objects *objects, uint32_t handle);

void object_ref(struct object *object);
void object_unref(struct objects *objects, struct object *object);

/* New objects with one reference; NULL without memory. */
struct queue *queue_new(bool out_of_order);
struct mem *mem_new(const struct arax_mem_desc *desc);
struct sampler *sampler_new(const struct arax_op_sampler_define *op);
/** program_new() - copies the bytes; a result that cannot be parsed gives a program without one. */
struct program *program_new(const void *bytes, size_t size);
struct kernel *kernel_new(struct program *program, const char *name, size_t length, uint32_t nargs);

/* What a device needs of an object, made at first use. Return: 0 or a negative OpenCL error. */
int queue_on(struct objects *objects, struct queue *queue, unsigned device,
	     struct arax_device_stream **out);
int mem_on(struct objects *objects, struct mem *mem, unsigned device, struct arax_device_mem **out);
int sampler_on(struct objects *objects, struct sampler *sampler, unsigned device,
	       struct arax_device_sampler **out);
int program_on(struct objects *objects, struct program *program, unsigned device,
	       struct arax_device_program **out);
int kernel_on(struct objects *objects, struct kernel *kernel, unsigned device,
	      struct arax_device_kernel **out);

#endif
