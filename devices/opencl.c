/* SPDX-License-Identifier: Apache-2.0
 *
 * The back end on a native OpenCL library: opening it, and memory, samplers and streams on it.
 *
 * The library is loaded by its own name and entered through the dispatch table that every ICD
 * driver carries; the ICD loader is never used, because it would load Arax into Arax. Memory
 * objects are plain USE_HOST_PTR objects over ranges of the arena: on a CPU device a kernel then
 * works in the arena itself and nothing is ever copied.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/opencl_internal.h"

/* PoCL 3.1 limits IMAGE1D to the width of its 2D images; beyond, see image_over_buffer(). */
#define IMAGE1D_WIDTH_MAX 16384

static cl_mem_flags mem_flags(const struct arax_mem_desc *desc)
{
	cl_mem_flags access = desc->flags & (CL_MEM_READ_WRITE | CL_MEM_READ_ONLY |
					     CL_MEM_WRITE_ONLY | CL_MEM_KERNEL_READ_AND_WRITE);
	return access | CL_MEM_USE_HOST_PTR;
}

cl_image_desc opencl_image_shape(const struct arax_mem_desc *desc, cl_mem_object_type type)
{
	bool slices = type == CL_MEM_OBJECT_IMAGE3D || type == CL_MEM_OBJECT_IMAGE1D_ARRAY ||
		      type == CL_MEM_OBJECT_IMAGE2D_ARRAY;
	bool rows = slices || type == CL_MEM_OBJECT_IMAGE2D;
	return (cl_image_desc){
	    .image_type = type,
	    .image_width = desc->width,
	    .image_height = desc->height,
	    .image_depth = desc->depth,
	    .image_array_size = desc->array_size,
	    .image_row_pitch = rows ? desc->row_pitch : 0,
	    .image_slice_pitch = slices ? desc->slice_pitch : 0,
	};
}

static cl_mem image_new(const struct opencl_device *device, const struct arax_mem_desc *desc,
			cl_mem_object_type type, cl_mem base, cl_int *err)
{
	const cl_icd_dispatch *cl = device->opencl->cl;
	cl_image_format format = {desc->channel_order, desc->channel_type};
	cl_image_desc shape = opencl_image_shape(desc, type);
	cl_mem_flags flags = mem_flags(desc);
	shape.mem_object = base;
	if (base)
		flags &= ~(cl_mem_flags)CL_MEM_USE_HOST_PTR;
	return cl->clCreateImage(device->opencl->context, flags, &format, &shape,
				 base ? NULL : desc->data, err);
}

/* An image1d_buffer that is a kernel's only memory object crashes PoCL 3.1 at launch; kernels read
 * an IMAGE1D over the same range just as well, so the buffer is only for what is too wide. */
static cl_int image_over_buffer(const struct opencl_device *device,
				const struct arax_mem_desc *desc, struct arax_device_mem *mem)
{
	const cl_icd_dispatch *cl = device->opencl->cl;
	cl_int err = CL_INVALID_IMAGE_SIZE;
	if (desc->width <= IMAGE1D_WIDTH_MAX)
		mem->mem = image_new(device, desc, CL_MEM_OBJECT_IMAGE1D, NULL, &err);
	if (!err)
		return 0;
	mem->base = cl->clCreateBuffer(device->opencl->context, mem_flags(desc), desc->size,
				       desc->data, &err);
	if (!err)
		mem->mem = image_new(device, desc, CL_MEM_OBJECT_IMAGE1D_BUFFER, mem->base, &err);
	if (err && mem->base)
		cl->clReleaseMemObject(mem->base);
	return err;
}

static int opencl_mem_new(struct arax_device *dev, const struct arax_mem_desc *desc,
			  struct arax_device_mem **out)
{
	const struct opencl_device *device = opencl_device(dev);
	struct arax_device_mem *mem = calloc(1, sizeof(*mem));
	if (!mem)
		return CL_OUT_OF_HOST_MEMORY;
	cl_int err = 0;
	if (desc->type == CL_MEM_OBJECT_BUFFER)
		mem->mem = device->opencl->cl->clCreateBuffer(
		    device->opencl->context, mem_flags(desc), desc->size, desc->data, &err);
	else if (desc->type == CL_MEM_OBJECT_IMAGE1D_BUFFER)
		err = image_over_buffer(device, desc, mem);
	else
		mem->mem = image_new(device, desc, desc->type, NULL, &err);
	if (err) {
		free(mem);
		return err;
	}
	*out = mem;
	return 0;
}

static void opencl_mem_free(struct arax_device *dev, struct arax_device_mem *mem)
{
	if (!mem)
		return;
	opencl_cl(dev)->clReleaseMemObject(mem->mem);
	if (mem->base)
		opencl_cl(dev)->clReleaseMemObject(mem->base);
	free(mem);
}

int opencl_sampler_new(struct arax_device *dev, uint32_t normalized, uint32_t addressing,
		       uint32_t filter, struct arax_device_sampler **out)
{
	struct arax_device_sampler *sampler = calloc(1, sizeof(*sampler));
	if (!sampler)
		return CL_OUT_OF_HOST_MEMORY;
	cl_int err;
	sampler->sampler = opencl_cl(dev)->clCreateSampler(opencl_device(dev)->opencl->context,
							   normalized, addressing, filter, &err);
	if (err) {
		free(sampler);
		return err;
	}
	*out = sampler;
	return 0;
}

void opencl_sampler_free(struct arax_device *dev, struct arax_device_sampler *sampler)
{
	if (!sampler)
		return;
	opencl_cl(dev)->clReleaseSampler(sampler->sampler);
	free(sampler);
}

static int opencl_stream_new(struct arax_device *dev, struct arax_device_stream **out)
{
	struct arax_device_stream *stream = calloc(1, sizeof(*stream));
	if (!stream)
		return CL_OUT_OF_HOST_MEMORY;
	cl_command_queue_properties profiling = dev->inline_launch ? 0 : CL_QUEUE_PROFILING_ENABLE;
	cl_int err;
	stream->queue = opencl_cl(dev)->clCreateCommandQueue(
	    opencl_device(dev)->opencl->context, opencl_device(dev)->id, profiling, &err);
	if (err) {
		free(stream);
		return err;
	}
	*out = stream;
	return 0;
}

static void opencl_stream_free(struct arax_device *dev, struct arax_device_stream *stream)
{
	if (!stream)
		return;
	opencl_cl(dev)->clReleaseCommandQueue(stream->queue);
	free(stream);
}

static const struct arax_device_ops opencl_ops = {
    .name = "opencl",
    .mem_new = opencl_mem_new,
    .mem_free = opencl_mem_free,
    .program_load = opencl_program_load,
    .program_free = opencl_program_free,
    .kernel_new = opencl_kernel_new,
    .kernel_free = opencl_kernel_free,
    .sampler_new = opencl_sampler_new,
    .sampler_free = opencl_sampler_free,
    .stream_new = opencl_stream_new,
    .stream_free = opencl_stream_free,
    .launch = opencl_launch,
    .describe = opencl_describe,
};

/* The first word of every object of an ICD driver points to its dispatch table. */
int opencl_platform(struct arax_opencl *opencl, const char **error)
{
	typedef void *(*address_fn)(const char *);
	address_fn address = (address_fn)dlsym(opencl->library, "clGetExtensionFunctionAddress");
	clIcdGetPlatformIDsKHR_fn platforms =
	    address ? (clIcdGetPlatformIDsKHR_fn)address("clIcdGetPlatformIDsKHR") : NULL;
	cl_uint n = 0;
	if (!platforms) {
		*error = "not an OpenCL driver";
		return -ENOEXEC;
	}
	if (platforms(1, &opencl->platform, &n) || n == 0) {
		*error = "no platform";
		return -ENODEV;
	}
	opencl->cl = *(const cl_icd_dispatch *const *)(const void *)opencl->platform;
	return 0;
}

static int make_context(struct arax_opencl *opencl, unsigned max, const char **error)
{
	cl_device_id ids[OPENCL_DEVICES_MAX];
	cl_uint n = 0;
	if (max > OPENCL_DEVICES_MAX)
		max = OPENCL_DEVICES_MAX;
	if (opencl->cl->clGetDeviceIDs(opencl->platform, CL_DEVICE_TYPE_ALL, max, ids, &n) || !n) {
		*error = "no device";
		return -ENODEV;
	}
	opencl->ndevices = n < max ? n : max;
	cl_int err;
	opencl->context =
	    opencl->cl->clCreateContext(NULL, opencl->ndevices, ids, NULL, NULL, &err);
	if (err) {
		*error = "no context";
		return -EIO;
	}
	for (unsigned i = 0; i < opencl->ndevices; i++)
		opencl->device[i] = (struct opencl_device){.opencl = opencl, .id = ids[i]};
	return 0;
}

static int fill_device(struct opencl_device *device, const char *name, unsigned index,
		       struct arax_device *dev)
{
	const cl_icd_dispatch *cl = device->opencl->cl;
	char native[64] = "";
	cl_uint units = 1;
	if (cl->clGetDeviceInfo(device->id, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof(units), &units,
				NULL))
		return -EIO;
	/* A name that does not fit leaves the array as it was, which means: not inline. */
	cl_int err =
	    cl->clGetDeviceInfo(device->id, CL_DEVICE_NAME, sizeof(native) - 1, native, NULL);
	*dev = (struct arax_device){.ops = &opencl_ops, .index = index, .priv = device};
	snprintf(dev->name, sizeof(dev->name), "%s", name);
	/* PoCL's "basic" driver executes inside clEnqueueNDRangeKernel. */
	dev->inline_launch = !err && !strncmp(native, "basic", 5);
	dev->parallel = dev->inline_launch ? 1 : units;
	return 0;
}

int arax_opencl_load(const char *library, struct arax_opencl **out, const char **error)
{
	struct arax_opencl *opencl = calloc(1, sizeof(*opencl));
	*error = "no memory";
	if (!opencl)
		return -ENOMEM;
	opencl->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	if (!opencl->library) {
		*error = dlerror();
		free(opencl);
		return -ENOENT;
	}
	*error = NULL;
	*out = opencl;
	return 0;
}

int arax_opencl_start(struct arax_opencl *opencl, const char *const *names,
		      struct arax_device *devices, unsigned max, const char **error)
{
	int rc = opencl_platform(opencl, error);
	if (!rc)
		rc = make_context(opencl, max, error);
	if (rc)
		return rc;
	for (unsigned i = 0; i < opencl->ndevices; i++) {
		rc = fill_device(&opencl->device[i], names[i], i, &devices[i]);
		if (rc) {
			*error = "a device does not describe itself";
			return rc;
		}
	}
	*error = NULL;
	return (int)opencl->ndevices;
}

int arax_opencl_open(const char *library, const char *const *names, struct arax_device *devices,
		     unsigned max, struct arax_opencl **out, const char **error)
{
	int rc = arax_opencl_load(library, out, error);
	if (rc)
		return rc;
	rc = arax_opencl_start(*out, names, devices, max, error);
	if (rc < 0) {
		arax_opencl_close(*out);
		*out = NULL;
	}
	return rc;
}

void arax_opencl_close(struct arax_opencl *opencl)
{
	if (!opencl)
		return;
	if (opencl->context)
		opencl->cl->clReleaseContext(opencl->context);
	/* The library stays loaded: PoCL's worker threads may still be in its code. */
	free(opencl);
}
