/* SPDX-License-Identifier: Apache-2.0
 *
 * What the client has defined in its tenant: queues, memory objects, programs, kernels, samplers.
 * A table per kind maps a handle's number to an object; commands in flight hold references, so a
 * drop in the middle of them is harmless. What a device needs of an object is made when the device
 * first uses it; where the contents of memory objects are, knows scheduler/residency.h.
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
#include "scheduler/policy_costs.h"
#include "scheduler/residency.h"
#include "transport/protocol.h"
#include "transport/shm.h"

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
	uint64_t ended_ns; /* as-if: the latest end that was published, under cq_lock */
	struct queue_traced last, barrier;
	/* Launches on a device up to this serial may have others right behind them there. */
	uint64_t followed[POLICY_DEVICES];
	struct arax_device_stream *on[OBJECTS_DEVICES];
};

/* A root has a range of the arena of its own; views (parts of buffers, images over them) lie in
 * that of their root. */
struct mem {
	struct object object;
	struct arax_mem_desc desc;
	struct mem *root; /* itself, or what a view is of */
	struct mem *views, *prev, *next;
	struct storage *storage; /* of a root that was ever elsewhere than at home */
	uint32_t home;		 /* a root's byte of arax_shm.home */
	uint32_t failed;	 /* bit n: device n cannot have it */
	bool pinned;		 /* a root that stays at home */
	struct arax_device_mem *on[OBJECTS_DEVICES];
};

struct sampler {
	struct object object;
	uint32_t normalized, addressing, filter;
	struct arax_device_sampler *on[OBJECTS_DEVICES];
};

struct program;

/* A program that a device makes in the background. */
struct program_build {
	struct program_build *link; /* of those that have ended */
	struct objects *objects;
	struct program *program;
	unsigned device, epoch;
	int status;
	char log[1000];
};

struct program {
	struct object object;
	void *bytes; /* the tenant's own copy of the result */
	struct arax_result *result;
	uint64_t key;  /* what it is, for costs */
	void *request; /* what it was built from, or NULL */
	size_t request_size;
	struct arax_device_program *on[OBJECTS_DEVICES];
	uint32_t failed;   /* bit n: device n cannot load it */
	uint32_t building; /* bit n: device n has not loaded it yet */
	/* A device had no room for it: how often in a row, and when it is asked again. */
	uint8_t refused[OBJECTS_DEVICES];
	uint64_t retry_ns[OBJECTS_DEVICES];
};

/* The last choice of a work-group, because applications repeat themselves. */
struct kernel_group {
	size_t global[3], local[3];
	unsigned dims, parallel;
	const struct arax_device *device; /* that it is for; NULL: for the CPU's */
};

struct kernel {
	struct object object;
	struct program *program;
	const struct arax_kernel_info *info; /* in program->result; NULL when it is not there */
	char *name;
	uint32_t nargs;
	uint32_t failed; /* bit n: device n does not have it */
	uint32_t proven; /* bit n: it has run on discrete device n */
	uint32_t judged; /* bit n: whether discrete device n is fit for it stands in fit */
	uint32_t fit;
	int stat; /* its row in the statistics, -1 for none */
	struct policy_cost *cost;
	struct kernel_group group;
	struct arax_device_kernel *on[OBJECTS_DEVICES];
};

struct objects {
	struct arax_device *devices[OBJECTS_DEVICES]; /* NULL: there is none with this index */
	unsigned ndevices;			      /* the highest index + 1 */
	unsigned epoch[OBJECTS_DEVICES];	      /* how often the device was lost */
	struct residency residency;
	struct policy_costs *costs; /* of kernels, also when their objects have gone */
	bool lost; /* for lack of memory something was not defined: what uses it fails */
	_Atomic(struct program_build *) built; /* have ended, newest first */
	struct arax_wake *wake;		       /* whoever ends one rings here */
	uint32_t builds;		       /* in progress */
	uint32_t builds_on[OBJECTS_DEVICES];   /* of them */
	uint64_t retry_ns; /* when a program may be tried again; 0: none waits */
	uint32_t count;	   /* that are defined */
	struct object_table {
		struct object **at;
		uint32_t size;
	} tables[ARAX_HANDLE_SAMPLER + 1];
};

/**
 * objects_init() - no objects; 0 or -ENOMEM
 * @devices: those that are there from the beginning; they outlive the objects
 * @shm: the arena's control area, or NULL
 */
int objects_init(struct objects *objects, struct arax_device *devices, unsigned ndevices,
		 struct arax_shm *shm);
void objects_exit(struct objects *objects);

/** objects_get() - the object of a handle, NULL when it is not defined. */
struct object *objects_get(const struct objects *objects, uint32_t handle);

/**
 * objects_set() - (re)define a handle; the table takes over the caller's reference
 * Return: 0, or -ENOMEM (then the reference is still the caller's).
 */
int objects_set(struct objects *objects, uint32_t handle, struct object *object);

/** object_forget() - a device is lost: what it had of an object, and of all that it refers to. */
void object_forget(struct objects *objects, struct object *object, unsigned device);
void objects_forget(struct objects *objects, unsigned device);

/** objects_drop() - undefine a handle. Return: 0, or -EPROTO when it was never defined. */
int objects_drop(struct objects *objects, uint32_t handle);

void object_ref(struct object *object);
void object_unref(struct objects *objects, struct object *object);

/* New objects with one reference; NULL without memory. */
struct queue *queue_new(bool out_of_order, enum graph_priority priority);
/** mem_new() - root: whose view it is, or NULL */
struct mem *mem_new(const struct arax_mem_desc *desc, struct mem *root);
struct sampler *sampler_new(const struct arax_op_sampler_define *op);
/** program_new() - copies the bytes; a result that cannot be parsed gives a program without one. */
struct program *program_new(const void *bytes, size_t size, const void *request,
			    size_t request_size);
struct kernel *kernel_new(struct objects *objects, struct program *program, const char *name,
			  size_t length, uint32_t nargs);

/* What a device needs of an object, made at first use. Return: 0 or a negative OpenCL error. */
int queue_on(struct objects *objects, struct queue *queue, unsigned device,
	     struct arax_device_stream **out);
int mem_on(struct objects *objects, struct mem *mem, unsigned device, struct arax_device_mem **out);
int sampler_on(struct objects *objects, struct sampler *sampler, unsigned device,
	       struct arax_device_sampler **out);
/** mem_off() - a root and its views give up their memory on a discrete device. */
void mem_off(struct objects *objects, struct mem *root, unsigned device);
int program_on(struct objects *objects, struct program *program, unsigned device,
	       struct arax_device_program **out);

/**
 * program_begin() - a discrete device begins to make a program, unless it has or has tried
 *
 * It ends in objects.built, and then program_ended() is to be called: program_on() gives it from
 * then on, or failed has the device's bit. A device makes only some at a time: who wants more asks
 * again when one has ended. A device that has no room for it is asked again when
 * somebody wants it after a while, of which objects.retry_ns knows the first, and after some times
 * counts as failed. Without memory nothing happens.
 */
void program_begin(struct objects *objects, struct program *program, unsigned device);
void program_ended(struct objects *objects, struct program_build *build);

/** storage_of() - the storage of a root, made when it has none. NULL: without memory, or it stays
 *  at home (pinned). */
struct storage *storage_of(struct objects *objects, struct mem *root, const void *arena, bool lost);
int kernel_on(struct objects *objects, struct kernel *kernel, unsigned device,
	      struct arax_device_kernel **out);

#endif
