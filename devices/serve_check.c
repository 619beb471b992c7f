/* SPDX-License-Identifier: Apache-2.0
 *
 * What belongs together in what a tenant defines: an image and the bytes that it has, a launch's
 * arguments and its kernel. A back end believes both.
 */
#include "devices/serve_internal.h"

#include <string.h>

/* Bytes of an element, 0 for a format that is not known. */
static uint64_t element_size(uint32_t order, uint32_t type)
{
	/* From CL_R and CL_SNORM_INT8 on. */
	static const uint8_t channels[] = {1, 1, 2, 2, 3, 4, 4, 4, 1, 1,
					   2, 3, 4, 1, 2, 3, 4, 4, 4, 4};
	static const uint8_t bytes[] = {1, 2, 1, 2, 0, 0, 0, 1, 2, 4, 1, 2, 4, 2, 4};

	if (type == CL_UNORM_SHORT_565 || type == CL_UNORM_SHORT_555)
		return order == CL_RGB || order == CL_RGBx ? 2 : 0;
	if (type == CL_UNORM_INT_101010)
		return order == CL_RGB || order == CL_RGBx ? 4 : 0;
	if (type == CL_UNORM_INT_101010_2)
		return order == CL_RGBA ? 4 : 0;
	if (order < CL_R || order - CL_R >= sizeof(channels) || type < CL_SNORM_INT8 ||
	    type - CL_SNORM_INT8 >= sizeof(bytes))
		return 0;
	return (uint64_t)channels[order - CL_R] * bytes[type - CL_SNORM_INT8];
}

/* The bytes from the first to the last of n things of a size, so far apart. */
static bool extent(uint64_t n, uint64_t pitch, uint64_t size, uint64_t *bytes)
{
	return n && (n == 1 || pitch >= size) && !__builtin_mul_overflow(n - 1, pitch, bytes) &&
	       !__builtin_add_overflow(*bytes, size, bytes);
}

int check_image(const struct arax_mem_desc *desc)
{
	uint64_t element = element_size(desc->channel_order, desc->channel_type);
	bool high = desc->type == CL_MEM_OBJECT_IMAGE2D || desc->type == CL_MEM_OBJECT_IMAGE3D ||
		    desc->type == CL_MEM_OBJECT_IMAGE2D_ARRAY;
	uint64_t rows = high ? desc->height : 1, layers = 1, row, slice, all, row_pitch;

	if (!element)
		return CL_IMAGE_FORMAT_NOT_SUPPORTED;
	if (desc->type == CL_MEM_OBJECT_IMAGE3D)
		layers = desc->depth;
	else if (desc->type == CL_MEM_OBJECT_IMAGE1D_ARRAY ||
		 desc->type == CL_MEM_OBJECT_IMAGE2D_ARRAY)
		layers = desc->array_size;
	row = desc->width * element; /* 32 bits times 16 */
	row_pitch = desc->row_pitch ?: row;
	if (!row || !extent(rows, row_pitch, row, &slice) ||
	    !extent(layers, desc->slice_pitch ?: slice, slice, &all) || all > desc->size)
		return 1;
	return 0;
}

/* The type of memory object that an image argument takes; 0: any, or no image. The names are
 * OpenCL C's, longer ones first. */
static uint32_t image_type(const char *name)
{
	static const struct {
		const char *prefix;
		uint32_t type;
	} types[] = {
	    {"image1d_array", CL_MEM_OBJECT_IMAGE1D_ARRAY},
	    {"image1d_buffer", CL_MEM_OBJECT_IMAGE1D_BUFFER},
	    {"image1d", CL_MEM_OBJECT_IMAGE1D},
	    {"image2d_array", CL_MEM_OBJECT_IMAGE2D_ARRAY},
	    {"image2d", CL_MEM_OBJECT_IMAGE2D},
	    {"image3d", CL_MEM_OBJECT_IMAGE3D},
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strncmp(name, types[i].prefix, strlen(types[i].prefix)))
			return types[i].type;
	return 0;
}

static bool image_fits(const struct arax_launch_arg *arg, const struct serve_mem *mem,
		       uint32_t type)
{
	return arg->kind == ARAX_ARG_MEM && mem && mem->desc.type != CL_MEM_OBJECT_BUFFER &&
	       (!type || mem->desc.type == type);
}

static bool pointer_fits(const struct serve *serve, const struct arax_launch_arg *arg,
			 const struct serve_mem *mem)
{
	if (arg->kind == ARAX_ARG_SVM)
		return serve->dev->caps.features & ARAX_FEATURE_ARENA;
	return arg->kind == ARAX_ARG_MEM && (!mem || mem->desc.type == CL_MEM_OBJECT_BUFFER);
}

/* By the same signs as the client tells arguments apart (icd/kernel.c). A size of 0 is one that the
 * compiler could not tell: structs. */
static int check_arg(const struct serve *serve, const struct arax_arg_info *info,
		     const struct arax_launch_arg *arg, const struct serve_object *object)
{
	const struct serve_mem *mem = (const struct serve_mem *)object;
	uint32_t type = image_type(info->type_name);
	bool fits;

	if (info->address == CL_KERNEL_ARG_ADDRESS_LOCAL)
		fits = arg->kind == ARAX_ARG_LOCAL && arg->size;
	else if (info->access != CL_KERNEL_ARG_ACCESS_NONE || type)
		fits = image_fits(arg, mem, type);
	else if (!strcmp(info->type_name, "sampler_t"))
		fits = arg->kind == ARAX_ARG_SAMPLER;
	else if (info->address != CL_KERNEL_ARG_ADDRESS_PRIVATE)
		fits = pointer_fits(serve, arg, mem);
	else if (arg->kind == ARAX_ARG_VALUE)
		return arg->size && (!info->size || arg->size == info->size) ? 0
									     : CL_INVALID_ARG_SIZE;
	else
		fits = false;
	return fits ? 0 : CL_INVALID_ARG_VALUE;
}

int check_args(const struct serve *serve, const struct serve_command *command)
{
	const struct arax_kernel_info *info = command->kernel->info;

	if (!info)
		return CL_INVALID_KERNEL_NAME;
	if (command->nargs != info->nargs)
		return CL_INVALID_KERNEL_ARGS;
	for (uint32_t i = 0; i < command->nargs; i++) {
		int err = check_arg(serve, &info->args[i], &command->args[i], command->objects[i]);

		if (err)
			return err;
	}
	return 0;
}
