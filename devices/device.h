/* SPDX-License-Identifier: Apache-2.0
 *
 * device_ops: what a back end must be able to do. The same table serves the devices inside a
 * tenant (PoCL on the arena itself), those in an arax-device process, and, in the tenant, the
 * stand-in for the latter (devices/remote.c). A back end executes; it never decides about order
 * (scheduler/graph.c has done that), place (scheduler/policy.c) or where data is
 * (scheduler/residency.c).
 *
 * Two kinds of devices: those that use memory objects in place, in the arena, and discrete ones,
 * whose memory objects are copies of their own that transfer() fills and reads back.
 *
 * Asynchronous: whatever is given to a stream is done in the order in which it was given, and each
 * ends with a call of its done. An error of one command is that command's alone.
 *
 * Threads: all calls come from one thread (the tenant's dispatch thread, or in arax-device the
 * thread of the link). done may be called on any thread, also before the call that was given it has
 * returned.
 *
 * Errors: negative OpenCL errors. CL_MEM_OBJECT_ALLOCATION_FAILURE: the device has no memory left,
 * with less in it the same might succeed. CL_DEVICE_NOT_AVAILABLE: the device is lost with all that
 * was in its memory, and every further call will fail alike. Never on this device, however often it
 * is tried: for a program CL_BUILD_PROGRAM_FAILURE, CL_INVALID_BUILD_OPTIONS,
 * CL_COMPILER_NOT_AVAILABLE, CL_INVALID_BINARY and CL_INVALID_PROGRAM_EXECUTABLE; for a kernel
 * CL_INVALID_KERNEL and CL_INVALID_KERNEL_NAME; for a launch of these sizes and arguments
 * CL_INVALID_WORK_DIMENSION, _WORK_GROUP_SIZE, _WORK_ITEM_SIZE, _GLOBAL_OFFSET, _ARG_SIZE,
 * _ARG_VALUE, _ARG_INDEX and _KERNEL_ARGS; for a memory object CL_IMAGE_FORMAT_NOT_SUPPORTED,
 * CL_INVALID_IMAGE_SIZE, _IMAGE_DESCRIPTOR, _BUFFER_SIZE and CL_MISALIGNED_SUB_BUFFER_OFFSET. Such
 * a command has not begun, so it may be given to another device.
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
	void *data;	/* in the arena; discrete devices: what transfer() copies from and to */
	uint64_t size;
	uint32_t channel_order, channel_type;
	uint64_t width, height, depth, array_size, row_pitch, slice_pitch;
	/* Discrete devices: a part of another buffer, from its byte origin on. */
	struct arax_device_mem *parent;
	uint64_t origin;
};

struct arax_launch_arg {
	uint32_t kind; /* enum arax_arg_kind */
	uint64_t size;
	const void *value;		     /* VALUE: size bytes; SVM: the pointer itself */
	struct arax_device_mem *mem;	     /* MEM; NULL for a NULL buffer */
	struct arax_device_sampler *sampler; /* SAMPLER */
};

/* Called once, on any thread, when something that was accepted has ended. status: 0 or a negative
 * OpenCL error; times in ns of CLOCK_MONOTONIC. */
typedef void (*arax_device_done)(void *arg, int status, uint64_t start_ns, uint64_t end_ns);

struct arax_launch {
	struct arax_device_kernel *kernel;
	uint32_t work_dim, nargs;
	size_t offset[3], global[3], local[3];
	bool has_local;
	bool local_open; /* the work-group's size is the tenant's choice, and may be another */
	const struct arax_launch_arg *args;
	arax_device_done done;
	void *arg;
};

enum arax_direction { ARAX_TO_DEVICE, ARAX_FROM_DEVICE };

/** arax_launch_variant() - may this launch be that of a variant with these rules? If so, and its
 *  work-group size is open, it may have another now. */
static inline bool arax_launch_variant(const struct arax_variant_rules *rules,
				       struct arax_launch *launch)
{
	size_t chosen[3];

	bool open = !launch->has_local || launch->local_open;

	if (!arax_rules_allow(rules, launch->work_dim, launch->global, open ? NULL : launch->local,
			      chosen))
		return false;
	for (uint32_t i = 0; i < 3 && chosen[0]; i++)
		launch->local[i] = chosen[i];
	launch->has_local |= chosen[0] != 0;
	return true;
}

/* A copy between the arena and a discrete device. host: where the object's byte offset is in the
 * arena; it may not be touched by anybody else before done. Images move as a whole (offset 0, the
 * object's size) and lie in the arena with the pitches of their description. */
struct arax_transfer {
	enum arax_direction direction;
	struct arax_device_mem *mem;
	uint64_t offset, size;
	void *host;
	arax_device_done done;
	void *arg;
};

/* A program for a device. done, when not NULL, allows program_load() to return at once and build in
 * the background: it is then called exactly once, on any thread, with 0 or a negative OpenCL error
 * and the compiler's words (valid during the call). Without done the call waits. */
struct arax_program_source {
	const struct arax_result *result; /* of arax-compile; outlives the program */
	const void *request; /* what it was built from, or NULL; outlives the program */
	size_t request_size;
	void (*done)(void *arg, int status, const char *log);
	void *arg;
};

struct arax_device_ops {
	const char *name; /* of the back end */
	/* inline_launch: launch() returns after the kernel has ended (done was called inside). */
	int (*mem_new)(struct arax_device *dev, const struct arax_mem_desc *desc,
		       struct arax_device_mem **mem);
	void (*mem_free)(struct arax_device *dev, struct arax_device_mem *mem);
	int (*program_load)(struct arax_device *dev, const struct arax_program_source *source,
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
	/* Discrete devices. As launch(). */
	int (*transfer)(struct arax_device *dev, struct arax_device_stream *stream,
			const struct arax_transfer *transfer);
	/* Devices whose completions are fetched, not called; else NULL. Calls done for whatever has
	 * ended. Return: how many, or -errno: the device is lost (done was called for all). */
	int (*poll)(struct arax_device *dev);
	/* Is there something for poll()? One load; never waits. */
	bool (*ready)(const struct arax_device *dev);
};

struct arax_device {
	const struct arax_device_ops *ops;
	char name[32];	    /* "cpu-basic", "cpu-pthread", "sim0" */
	unsigned index;	    /* position in the tenant's table and in the statistics */
	bool inline_launch; /* a launch occupies the dispatch thread until it has ended */
	bool discrete;	    /* memory objects are copies of its own */
	unsigned parallel;  /* compute units that one launch can use */
	struct arax_device_caps caps;
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
