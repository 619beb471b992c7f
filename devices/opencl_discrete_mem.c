/* SPDX-License-Identifier: Apache-2.0
 *
 * The discrete back end on native OpenCL libraries: memory objects and transfers.
 *
 * Objects are the library's own, in its own layout. Bytes move between them and the arena only by
 * commands of a stream: buffers by any range, images as a whole. Every library counts references
 * of commands that it has, so an object may be freed as soon as nothing new will use it.
 */
#include <stdlib.h>

#include "devices/opencl_discrete_internal.h"

static cl_mem_flags access_of(const struct arax_mem_desc *desc)
{
	cl_mem_flags known = CL_MEM_READ_WRITE | CL_MEM_READ_ONLY | CL_MEM_WRITE_ONLY;
	if (desc->type != CL_MEM_OBJECT_BUFFER)
		known |= CL_MEM_KERNEL_READ_AND_WRITE;
	return desc->flags & known;
}

static cl_int buffer_new(struct discrete_device *device, const struct arax_mem_desc *desc,
			 struct discrete_mem *mem)
{
	const cl_icd_dispatch *cl = device->opencl->cl;
	cl_int err;
	mem->mem.mem =
	    cl->clCreateBuffer(device->opencl->context, access_of(desc), desc->size, NULL, &err);
	mem->root = mem->mem.mem;
	return err;
}

/* Parts of parts are parts of the whole: OpenCL knows no other. */
static cl_int part_new(struct discrete_device *device, const struct arax_mem_desc *desc,
		       struct discrete_mem *mem)
{
	const struct discrete_mem *parent = (const struct discrete_mem *)desc->parent;
	cl_int err = CL_SUCCESS;
	if (!parent->root)
		return CL_INVALID_MEM_OBJECT;
	mem->root = parent->root;
	if (__builtin_add_overflow(parent->origin, desc->origin, &mem->origin))
		return CL_INVALID_VALUE;
	if (mem->origin % device->caps.sub_align)
		return CL_MISALIGNED_SUB_BUFFER_OFFSET;
	const cl_buffer_region region = {mem->origin, desc->size};
	mem->mem.mem = device->opencl->cl->clCreateSubBuffer(
	    parent->root, access_of(desc), CL_BUFFER_CREATE_TYPE_REGION, &region, &err);
	return err;
}

static cl_mem image_new(struct discrete_device *device, const struct arax_mem_desc *desc,
			cl_mem_object_type type, cl_mem base, cl_int *err)
{
	const cl_image_format format = {desc->channel_order, desc->channel_type};
	cl_image_desc shape = opencl_image_shape(desc, type);
	/* The pitches are the arena's, which only transfers see, unless a buffer lies below. */
	shape.mem_object = base;
	shape.image_slice_pitch = 0;
	if (!base || type == CL_MEM_OBJECT_IMAGE1D_BUFFER)
		shape.image_row_pitch = 0;
	return device->opencl->cl->clCreateImage(device->opencl->context, access_of(desc), &format,
						 &shape, NULL, err);
}

/* An image in the memory of a buffer: of another object's, or, for an image1d_buffer that is alone,
 * of its own. */
static cl_int image_over_buffer(struct discrete_device *device, const struct arax_mem_desc *desc,
				struct discrete_mem *mem)
{
	const cl_icd_dispatch *cl = device->opencl->cl;
	struct discrete_mem below = {0};
	struct arax_mem_desc range = {.type = CL_MEM_OBJECT_BUFFER,
				      .flags = desc->flags,
				      .size = desc->size,
				      .parent = desc->parent,
				      .origin = desc->origin};
	cl_int err =
	    desc->parent ? part_new(device, &range, &below) : buffer_new(device, &range, &below);
	if (err)
		return err;
	mem->mem.mem = image_new(device, desc, desc->type, below.mem.mem, &err);
	if (err) {
		cl->clReleaseMemObject(below.mem.mem);
		return err;
	}
	mem->mem.base = below.mem.mem;
	return 0;
}

static cl_int make(struct discrete_device *device, const struct arax_mem_desc *desc,
		   struct discrete_mem *mem)
{
	cl_int err;
	if (desc->type == CL_MEM_OBJECT_BUFFER)
		return desc->parent ? part_new(device, desc, mem) : buffer_new(device, desc, mem);
	if (desc->type == CL_MEM_OBJECT_IMAGE1D_BUFFER && !desc->parent &&
	    device->library->line_images) {
		mem->mem.mem = image_new(device, desc, CL_MEM_OBJECT_IMAGE1D, NULL, &err);
		if (!err)
			return 0;
	}
	if (desc->parent || desc->type == CL_MEM_OBJECT_IMAGE1D_BUFFER)
		return image_over_buffer(device, desc, mem);
	mem->mem.mem = image_new(device, desc, desc->type, NULL, &err);
	return err;
}

int discrete_mem_new(struct arax_device *dev, const struct arax_mem_desc *desc,
		     struct arax_device_mem **out)
{
	struct discrete_device *device = discrete_device(dev);
	uint64_t counted = desc->parent ? 0 : desc->size;
	/* Not every library keeps to its own limits; some end the process when there is no more. */
	if (!desc->size || counted > device->caps.max_alloc)
		return desc->type == CL_MEM_OBJECT_BUFFER ? CL_INVALID_BUFFER_SIZE
							  : CL_INVALID_IMAGE_SIZE;
	if (counted > device->caps.memory - device->used)
		return CL_MEM_OBJECT_ALLOCATION_FAILURE;
	struct discrete_mem *mem = calloc(1, sizeof(*mem));
	if (!mem)
		return CL_OUT_OF_HOST_MEMORY;
	mem->desc = *desc;
	discrete_enter(device);
	cl_int err = make(device, desc, mem);
	discrete_leave(device);
	if (err) {
		free(mem);
		return err;
	}
	mem->counted = counted;
	device->used += counted;
	*out = &mem->mem;
	return 0;
}

void discrete_mem_free(struct arax_device *dev, struct arax_device_mem *handle)
{
	struct discrete_device *device = discrete_device(dev);
	struct discrete_mem *mem = (struct discrete_mem *)handle;
	if (!mem)
		return;
	discrete_enter(device);
	device->opencl->cl->clReleaseMemObject(mem->mem.mem);
	if (mem->mem.base)
		device->opencl->cl->clReleaseMemObject(mem->mem.base);
	discrete_leave(device);
	device->used -= mem->counted;
	free(mem);
}

/* What a copy of a box of an image needs. */
struct box {
	size_t origin[3], region[3], row, slice;
	char *host;
};

static cl_int box_copy(const cl_icd_dispatch *cl, cl_command_queue queue, cl_mem image,
		       const struct box *box, enum arax_direction direction, cl_event *event)
{
	if (direction == ARAX_TO_DEVICE)
		return cl->clEnqueueWriteImage(queue, image, CL_FALSE, box->origin, box->region,
					       box->row, box->slice, box->host, 0, NULL, event);
	return cl->clEnqueueReadImage(queue, image, CL_FALSE, box->origin, box->region, box->row,
				      box->slice, box->host, 0, NULL, event);
}

/* The lines of a 1D array one by one: libraries do not agree on which of the two pitches is the
 * distance between them. */
static cl_int lines_copy(const cl_icd_dispatch *cl, cl_command_queue queue,
			 const struct discrete_mem *mem, const struct arax_transfer *transfer,
			 cl_event *event)
{
	struct box box = {.region = {mem->desc.width, 1, 1}};
	for (uint64_t i = 0; i < mem->desc.array_size; i++) {
		box.origin[1] = i;
		box.host = (char *)transfer->host + i * mem->desc.slice_pitch;
		cl_int err = box_copy(cl, queue, mem->mem.mem, &box, transfer->direction,
				      i + 1 == mem->desc.array_size ? event : NULL);
		if (err) {
			/* What the others touch is the caller's again. */
			(void)cl->clFinish(queue);
			return err;
		}
	}
	return 0;
}

static cl_int image_copy(const cl_icd_dispatch *cl, cl_command_queue queue,
			 const struct discrete_mem *mem, const struct arax_transfer *transfer,
			 cl_event *event)
{
	const struct arax_mem_desc *desc = &mem->desc;
	const cl_image_desc shape = opencl_image_shape(desc, desc->type);
	struct box box = {
	    .region = {desc->width, 1, 1},
	    .row = shape.image_row_pitch,
	    .slice = shape.image_slice_pitch,
	    .host = transfer->host,
	};
	switch (desc->type) {
	case CL_MEM_OBJECT_IMAGE1D_ARRAY:
		return lines_copy(cl, queue, mem, transfer, event);
	case CL_MEM_OBJECT_IMAGE2D:
		box.region[1] = desc->height;
		break;
	case CL_MEM_OBJECT_IMAGE2D_ARRAY:
		box.region[1] = desc->height;
		box.region[2] = desc->array_size;
		break;
	case CL_MEM_OBJECT_IMAGE3D:
		box.region[1] = desc->height;
		box.region[2] = desc->depth;
		break;
	}
	return box_copy(cl, queue, mem->mem.mem, &box, transfer->direction, event);
}

static cl_int copy(const cl_icd_dispatch *cl, cl_command_queue queue,
		   const struct arax_transfer *transfer, cl_event *event)
{
	const struct discrete_mem *mem = (const struct discrete_mem *)transfer->mem;
	cl_mem bytes = mem->desc.type == CL_MEM_OBJECT_BUFFER		? mem->mem.mem
		       : mem->desc.type == CL_MEM_OBJECT_IMAGE1D_BUFFER ? mem->mem.base
									: NULL;
	if (!transfer->size)
		return cl->clEnqueueMarkerWithWaitList(queue, 0, NULL, event);
	if (!bytes)
		return image_copy(cl, queue, mem, transfer, event);
	if (transfer->direction == ARAX_TO_DEVICE)
		return cl->clEnqueueWriteBuffer(queue, bytes, CL_FALSE, transfer->offset,
						transfer->size, transfer->host, 0, NULL, event);
	return cl->clEnqueueReadBuffer(queue, bytes, CL_FALSE, transfer->offset, transfer->size,
				       transfer->host, 0, NULL, event);
}

static bool is_within(const struct arax_transfer *transfer)
{
	const struct arax_mem_desc *desc = &((const struct discrete_mem *)transfer->mem)->desc;
	if (desc->type != CL_MEM_OBJECT_BUFFER && transfer->size)
		return !transfer->offset && transfer->size == desc->size;
	return transfer->offset <= desc->size && transfer->size <= desc->size - transfer->offset;
}

int discrete_transfer(struct arax_device *dev, struct arax_device_stream *stream,
		      const struct arax_transfer *transfer)
{
	struct discrete_device *device = discrete_device(dev);
	const cl_icd_dispatch *cl = device->opencl->cl;
	if (!is_within(transfer))
		return CL_INVALID_VALUE;
	struct discrete_flight *flight = discrete_flight_new(transfer->done, transfer->arg);
	if (!flight)
		return CL_OUT_OF_HOST_MEMORY;
	discrete_enter(device);
	cl_int err = copy(cl, stream->queue, transfer, &flight->event);
	if (!err && !device->library->serial)
		cl->clFlush(stream->queue);
	discrete_leave(device);
	if (err) {
		free(flight);
		return err;
	}
	discrete_flight_go(stream, flight);
	return 0;
}
