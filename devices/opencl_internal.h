/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the back ends on native OpenCL libraries share: opencl.c, opencl_program.c and
 * opencl_describe.c, which work in the arena, and opencl_discrete*.c, which do not. Nobody else
 * includes it.
 */
#ifndef ARAX_DEVICES_OPENCL_INTERNAL_H
#define ARAX_DEVICES_OPENCL_INTERNAL_H

#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>
#include <CL/cl_icd.h>

#include "devices/device.h"

#define OPENCL_DEVICES_MAX 8

struct arax_opencl {
	void *library;
	const cl_icd_dispatch *cl; /* the library's own entry points */
	cl_platform_id platform;
	cl_context context;
	unsigned ndevices;
	struct opencl_device {
		struct arax_opencl *opencl;
		cl_device_id id;
	} device[OPENCL_DEVICES_MAX];
};

struct arax_device_mem {
	cl_mem mem;
	cl_mem base; /* the buffer below an image1d_buffer, or NULL */
};

struct arax_device_sampler {
	cl_sampler sampler;
};

struct arax_device_stream {
	cl_command_queue queue;
};

static inline struct opencl_device *opencl_device(const struct arax_device *dev)
{
	return dev->priv;
}

static inline const cl_icd_dispatch *opencl_cl(const struct arax_device *dev)
{
	return opencl_device(dev)->opencl->cl;
}

/* A number of the device, 0 when it has none. */
static inline uint64_t opencl_ask(const cl_icd_dispatch *cl, cl_device_id id, cl_device_info what)
{
	uint64_t value = 0; /* little-endian: 4-byte answers land in the low half */
	if (cl->clGetDeviceInfo(id, what, sizeof(value), &value, NULL))
		return 0;
	return value;
}

/** opencl_platform() - find the platform of a loaded library and its entry points. */
int opencl_platform(struct arax_opencl *opencl, const char **error);

/** opencl_image_shape() - a description as OpenCL's, with pitches where the type has them. */
cl_image_desc opencl_image_shape(const struct arax_mem_desc *desc, cl_mem_object_type type);

int opencl_sampler_new(struct arax_device *dev, uint32_t normalized, uint32_t addressing,
		       uint32_t filter, struct arax_device_sampler **sampler);
void opencl_sampler_free(struct arax_device *dev, struct arax_device_sampler *sampler);

/** opencl_set_arg() - set one argument of a kernel. */
cl_int opencl_set_arg(const cl_icd_dispatch *cl, cl_kernel kernel, cl_uint index,
		      const struct arax_launch_arg *arg);

/**
 * opencl_start_of() - when a command that has ended began, on our clock
 * @submit_ns: when it was given to the library, @end_ns: when its end was noticed
 *
 * Only the length of the run comes from the library; its clock may be another one.
 */
uint64_t opencl_start_of(const cl_icd_dispatch *cl, cl_event event, uint64_t submit_ns,
			 uint64_t end_ns);

int opencl_program_load(struct arax_device *dev, const struct arax_program_source *source,
			struct arax_device_program **program);
void opencl_program_free(struct arax_device *dev, struct arax_device_program *program);
int opencl_kernel_new(struct arax_device *dev, struct arax_device_program *program,
		      const char *name, struct arax_device_kernel **kernel);
void opencl_kernel_free(struct arax_device *dev, struct arax_device_kernel *kernel);
int opencl_launch(struct arax_device *dev, struct arax_device_stream *stream,
		  const struct arax_launch *launch);
int opencl_describe(struct arax_device *dev, struct arax_device_info *info);

#endif
