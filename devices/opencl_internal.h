/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the native OpenCL back end share (opencl.c, opencl_program.c,
 * opencl_describe.c); nobody else includes it.
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
