/* SPDX-License-Identifier: Apache-2.0
 *
 * device_ops: what a back end must be able to do. The same table serves the CPU devices inside a
 * tenant and, later, accelerators in arax-device. A back end executes; it never decides about order
 * (scheduler/graph.c has done that) or place (scheduler/policy.c).
 *
 * Threads: all calls come from the tenant's dispatch thread. Completion may come on any thread.
 */
#ifndef ARAX_DEVICES_DEVICE_H
#define ARAX_DEVICES_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/build.h"
#include "transport/control.h"

struct arax_device;
struct arax_device_mem;	    /* a memory object as the back end knows it */
struct arax_device_program; /* a loaded executable */
struct arax_device_kernel;
struct arax_device_sampler;
struct arax_device_stream; /* executes what it is given in order */

/* Shape of a memory object: OpenCL's numbers; a range of the arena at its address here. */
struct arax_mem_desc {
	uint32_t type;	/* cl_mem_object_type */
	uint64_t flags; /* cl_mem_flags: access qualifiers only */
	void *data;	/* in the arena */
	uint64_t size;
	uint32_t channel_order, channel_type;
	uint64_t width, height, depth, array_size, row_pitch, slice_pitch;
};

struct arax_launch_arg {
	uint32_t kind; /* enum arax_arg_kind */
	uint64_t size;
	const void *value;		     /* VALUE: size bytes; SVM: the pointer itself */
	struct arax_device_mem *mem;	     /* MEM; NULL for a NULL buffer */
	struct arax_device_sampler *sampler; /* SAMPLER */
};

struct arax_launch {
	struct arax_device_kernel *kernel;
	uint32_t work_dim, nargs;
	size_t offset[3], global[3], local[3];
	bool has_local;
	const struct arax_launch_arg *args;
	/* Called once, on any thread, when the launch was accepted and has ended. status: 0 or a
	 * negative OpenCL error; times in ns of CLOCK_MONOTONIC. */
	void (*done)(void *arg, int status, uint64_t start_ns, uint64_t end_ns);
	void *arg;
};

struct arax_device_ops {
	const char *name; /* of the back end */
	/* inline_launch: launch() returns after the kernel has ended (done was called inside). */
	int (*mem_new)(struct arax_device *dev, const struct arax_mem_desc *desc,
		       struct arax_device_mem **mem);
	void (*mem_free)(struct arax_device *dev, struct arax_device_mem *mem);
	int (*program_load)(struct arax_device *dev, const struct arax_result *result,
			    struct arax_device_program **program);
	void (*program_free)(struct arax_device *dev, struct arax_device_program *program);
	int (*kernel_new)(struct arax_device *dev, struct arax_device_program *program,
			  const char *name, struct arax_device_kernel **kernel);
	void (*kernel_free)(struct arax_device *dev, struct arax_device_kernel *kernel);
	int (*sampler_new)(struct arax_device *dev, uint32_t normalized, uint32_t addressing,
			   uint32_t filter, struct arax_device_sampler **sampler);
	void (*sampler_free)(struct arax_device *dev, struct arax_device_sampler *sampler);
	int (*stream_new)(struct arax_device *dev, struct arax_device_stream **stream);
	void (*stream_free)(struct arax_device *dev, struct arax_device_stream *stream);
	/* 0: accepted, done will be called. Otherwise a negative OpenCL error, done is not called.
	 */
	int (*launch)(struct arax_device *dev, struct arax_device_stream *stream,
		      const struct arax_launch *launch);
	/* Description for arax_device_info; only for devices that define the virtual one. */
	int (*describe)(struct arax_device *dev, struct arax_device_info *info);
};

struct arax_device {
	const struct arax_device_ops *ops;
	char name[32];	    /* "cpu-basic", "cpu-pthread" */
	unsigned index;	    /* position in the tenant's table and in the statistics */
	bool inline_launch; /* a launch occupies the dispatch thread until it has ended */
	unsigned parallel;  /* compute units that one launch can use */
	void *priv;
};

/* The back end on a native OpenCL library (devices/opencl.c): one library, one context, one
 * arax_device for each of its devices. */
struct arax_opencl;

/**
 * arax_opencl_load() - load a native OpenCL library directly (never through the ICD loader)
 * @library: soname, e.g. "libpocl.so.2"
 *
 * None of the library's functions is called, so it has no threads yet and the process may fork.
 *
 * Return: 0 or a negative errno; *error says why in one line.
 */
int arax_opencl_load(const char *library, struct arax_opencl **opencl, const char **error);

/**
 * arax_opencl_start() - start a library that was loaded
 * @names: short name for every device of the library, in its order
 * @devices: filled with up to @max devices
 * Return: number of devices or a negative errno; *error says why in one line.
 */
int arax_opencl_start(struct arax_opencl *opencl, const char *const *names,
		      struct arax_device *devices, unsigned max, const char **error);

/** arax_opencl_open() - load and start. */
int arax_opencl_open(const char *library, const char *const *names, struct arax_device *devices,
		     unsigned max, struct arax_opencl **opencl, const char **error);
void arax_opencl_close(struct arax_opencl *opencl);

#endif
