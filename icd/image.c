/* SPDX-License-Identifier: Apache-2.0
 *
 * Creating images and asking about them.
 *
 * An image lies in the arena without gaps between rows or slices, as a box of pixels (layers of a
 * 1D array are its rows, those of a 2D array its slices: mem_whole_region()), so that every
 * transfer is the copy of a box. What clGetImageInfo answers is in desc. An image made from a
 * buffer or from another image has no range of its own: it is a second shape of its parent's. With
 * CL_MEM_USE_HOST_PTR the application's memory keeps the pitches that the application gave, and
 * those are what queries and maps report.
 */
#include "icd/icd.h"
#include "icd/image_format.h"

#include <stdlib.h>

#define FLAGS_ACCESS (CL_MEM_READ_WRITE | CL_MEM_READ_ONLY | CL_MEM_WRITE_ONLY)
#define FLAGS_HOST_PTR (CL_MEM_USE_HOST_PTR | CL_MEM_ALLOC_HOST_PTR | CL_MEM_COPY_HOST_PTR)
#define FLAGS_HOST_ACCESS (CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_WRITE_ONLY | CL_MEM_HOST_NO_ACCESS)

/* The device's flags for a format (struct arax_image_format). */
#define FORMAT_READ 1u
#define FORMAT_WRITE 2u
#define FORMAT_READ_WRITE 4u

/* ---- formats -------------------------------------------------------------------------------- */

static bool is_image_type(cl_mem_object_type type)
{
	return type >= CL_MEM_OBJECT_IMAGE2D && type <= CL_MEM_OBJECT_IMAGE1D_BUFFER;
}

/* What a format must be able to do for an image with these flags. */
static uint32_t format_needs(cl_mem_flags flags)
{
	uint32_t needs = flags & CL_MEM_KERNEL_READ_AND_WRITE ? FORMAT_READ_WRITE : 0;

	if (flags & CL_MEM_READ_ONLY)
		needs |= FORMAT_READ;
	else if (flags & CL_MEM_WRITE_ONLY)
		needs |= FORMAT_WRITE;
	else if (!needs || flags & CL_MEM_READ_WRITE)
		needs |= FORMAT_READ | FORMAT_WRITE;
	return needs;
}

/* Depth formats are an extension: without it they are not there, whatever the device says. */
static bool format_offered(const struct arax_image_format *format, uint32_t needs,
			   cl_mem_object_type type)
{
	if (format->order == CL_DEPTH && !strstr(the_device.info.extensions, "cl_khr_depth_images"))
		return false;
	return (format->flags & needs) == needs &&
	       (format->types >> (type - CL_MEM_OBJECT_BUFFER) & 1);
}

static bool format_supported(const cl_image_format *format, cl_mem_flags flags,
			     cl_mem_object_type type)
{
	const struct arax_device_info *info = &the_device.info;

	for (uint32_t i = 0; i < info->nformats && i < ARAX_FORMATS_MAX; i++) {
		if (info->formats[i].order == format->image_channel_order &&
		    info->formats[i].type == format->image_channel_data_type)
			return format_offered(&info->formats[i], format_needs(flags), type);
	}
	return false;
}

cl_int arax_clGetSupportedImageFormats(cl_context context, cl_mem_flags flags,
				       cl_mem_object_type image_type, cl_uint num_entries,
				       cl_image_format *image_formats, cl_uint *num_image_formats)
{
	const cl_mem_flags known =
	    FLAGS_ACCESS | FLAGS_HOST_PTR | FLAGS_HOST_ACCESS | CL_MEM_KERNEL_READ_AND_WRITE;
	const struct arax_device_info *info = &the_device.info;
	cl_mem_flags access = flags & FLAGS_ACCESS;
	cl_uint n = 0;

	if (!object_is(context, OBJECT_CONTEXT))
		return CL_INVALID_CONTEXT;
	if (flags & ~known || access & (access - 1) || !is_image_type(image_type) ||
	    (image_formats && !num_entries))
		return CL_INVALID_VALUE;
	for (uint32_t i = 0; i < info->nformats && i < ARAX_FORMATS_MAX; i++) {
		if (!format_offered(&info->formats[i], format_needs(flags), image_type))
			continue;
		if (image_formats && n < num_entries)
			image_formats[n] =
			    (cl_image_format){info->formats[i].order, info->formats[i].type};
		n++;
	}
	if (num_image_formats)
		*num_image_formats = n;
	return CL_SUCCESS;
}

/* ---- checks of what an image shall be ------------------------------------------------------- */

/* Everything about an image that is to be made. */
struct plan {
	cl_context context;
	cl_mem_flags flags;
	cl_image_format format;
	cl_image_desc desc; /* as given, fields that the type does not have made 0 */
	cl_mem parent;
	size_t element;
	size_t row, slice, size;     /* of the arena, as a box */
	size_t host_row, host_slice; /* of the application's memory, as a box */
};

static bool has_layers(cl_mem_object_type type)
{
	return type == CL_MEM_OBJECT_IMAGE1D_ARRAY || type == CL_MEM_OBJECT_IMAGE2D_ARRAY;
}

static bool has_height(cl_mem_object_type type)
{
	return type == CL_MEM_OBJECT_IMAGE2D || type == CL_MEM_OBJECT_IMAGE2D_ARRAY ||
	       type == CL_MEM_OBJECT_IMAGE3D;
}

static bool has_slices(cl_mem_object_type type)
{
	return has_layers(type) || type == CL_MEM_OBJECT_IMAGE3D;
}

/* The descriptor without what its type ignores. */
static cl_int plan_desc(struct plan *plan, const cl_image_desc *desc)
{
	cl_mem_object_type type;

	if (!desc || !is_image_type(desc->image_type) || desc->num_mip_levels || desc->num_samples)
		return CL_INVALID_IMAGE_DESCRIPTOR;
	type = desc->image_type;
	plan->desc = *desc;
	plan->parent = desc->mem_object;
	if (!has_height(type))
		plan->desc.image_height = 0;
	if (type != CL_MEM_OBJECT_IMAGE3D)
		plan->desc.image_depth = 0;
	if (!has_layers(type))
		plan->desc.image_array_size = 0;
	if (!desc->image_width || (has_height(type) && !desc->image_height) ||
	    (type == CL_MEM_OBJECT_IMAGE3D && !desc->image_depth) ||
	    (has_layers(type) && !desc->image_array_size))
		return CL_INVALID_IMAGE_DESCRIPTOR;
	return CL_SUCCESS;
}

static cl_int plan_limits(const struct plan *plan)
{
	const struct arax_device_info *info = &the_device.info;
	const cl_image_desc *desc = &plan->desc;
	uint64_t width = info->image2d_width, height = info->image2d_height;

	if (desc->image_type == CL_MEM_OBJECT_IMAGE3D) {
		width = info->image3d_width;
		height = info->image3d_height;
	} else if (desc->image_type == CL_MEM_OBJECT_IMAGE1D_BUFFER) {
		width = info->image_buffer_size;
	}
	if (desc->image_width > width || desc->image_height > height ||
	    desc->image_depth > info->image3d_depth ||
	    desc->image_array_size > info->image_array_size)
		return CL_INVALID_IMAGE_SIZE;
	return CL_SUCCESS;
}

/* The pitches that were given, or what stands for 0 (section 5.3.1.2). */
static cl_int plan_pitches(struct plan *plan, const void *host_ptr)
{
	cl_mem_object_type type = plan->desc.image_type;
	size_t width = plan->desc.image_width * plan->element;
	size_t row = plan->desc.image_row_pitch, slice = plan->desc.image_slice_pitch, rows;

	if (!host_ptr && ((row && !plan->parent) || slice))
		return CL_INVALID_IMAGE_DESCRIPTOR;
	if (row && (row < width || row % plan->element))
		return CL_INVALID_IMAGE_DESCRIPTOR;
	if (!row)
		row = width;
	if (has_slices(type)) {
		rows = has_height(type) ? plan->desc.image_height : 1;
		if (__builtin_mul_overflow(row, rows, &rows))
			return CL_INVALID_IMAGE_DESCRIPTOR;
		if (slice && (slice < rows || slice % row))
			return CL_INVALID_IMAGE_DESCRIPTOR;
		if (!slice)
			slice = rows;
	} else {
		slice = 0;
	}
	plan->desc.image_row_pitch = row;
	plan->desc.image_slice_pitch = slice;
	return CL_SUCCESS;
}

/* The parent's format may be read as another one (section 5.3.1.2, table of compatible orders). */
static bool formats_compatible(const cl_image_format *parent, const cl_image_format *image)
{
	static const cl_channel_order pairs[][2] = {
	    {CL_sBGRA, CL_BGRA}, {CL_sRGBA, CL_RGBA}, {CL_sRGB, CL_RGB},
	    {CL_sRGBx, CL_RGBx}, {CL_DEPTH, CL_R},
	};
	cl_channel_order a = parent->image_channel_order, b = image->image_channel_order;

	if (parent->image_channel_data_type != image->image_channel_data_type)
		return false;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		if ((a == pairs[i][0] && b == pairs[i][1]) ||
		    (a == pairs[i][1] && b == pairs[i][0]))
			return true;
	}
	return a == b;
}

/* A 2D image over another 2D image: the same pixels, of a related format. */
static cl_int plan_over_image(struct plan *plan)
{
	cl_mem parent = plan->parent;

	if (!formats_compatible(&parent->format, &plan->format))
		return CL_INVALID_IMAGE_FORMAT_DESCRIPTOR;
	if (plan->desc.image_width != parent->desc.image_width ||
	    plan->desc.image_height != parent->desc.image_height ||
	    (plan->desc.image_row_pitch &&
	     plan->desc.image_row_pitch != parent->desc.image_row_pitch))
		return CL_INVALID_IMAGE_DESCRIPTOR;
	plan->desc.image_row_pitch = parent->desc.image_row_pitch;
	plan->desc.image_slice_pitch = 0;
	plan->row = parent->row_pitch;
	plan->slice = parent->slice_pitch;
	plan->host_row = parent->host_row;
	plan->host_slice = parent->host_slice;
	plan->size = parent->size;
	return CL_SUCCESS;
}

/* An image over a buffer; row pitches of 2D ones obey the device's alignment. */
static cl_int plan_over_buffer(struct plan *plan)
{
	size_t rows = plan->desc.image_height ? plan->desc.image_height : 1;
	size_t align = the_device.info.image_pitch_align * plan->element, bytes;
	cl_int err = plan_pitches(plan, NULL);

	if (err)
		return err;
	if (rows > 1 && align && plan->desc.image_row_pitch % align)
		return CL_INVALID_IMAGE_FORMAT_DESCRIPTOR;
	if (__builtin_mul_overflow(plan->desc.image_row_pitch, rows - 1, &bytes) ||
	    __builtin_add_overflow(bytes, plan->desc.image_width * plan->element, &bytes) ||
	    bytes > plan->parent->size)
		return CL_INVALID_IMAGE_DESCRIPTOR;
	plan->row = plan->host_row = plan->desc.image_row_pitch;
	plan->slice = plan->host_slice = plan->row * rows;
	plan->size = bytes;
	return CL_SUCCESS;
}

/* What an image inherits from the object it is made from, and must not contradict. */
static cl_int plan_inherit(struct plan *plan)
{
	cl_mem_flags given = plan->flags, parent = plan->parent->flags;

	if (given & FLAGS_HOST_PTR)
		return CL_INVALID_VALUE;
	if ((parent & CL_MEM_WRITE_ONLY && given & (CL_MEM_READ_WRITE | CL_MEM_READ_ONLY)) ||
	    (parent & CL_MEM_READ_ONLY && given & (CL_MEM_READ_WRITE | CL_MEM_WRITE_ONLY)))
		return CL_INVALID_VALUE;
	if ((parent & CL_MEM_HOST_WRITE_ONLY && given & CL_MEM_HOST_READ_ONLY) ||
	    (parent & CL_MEM_HOST_READ_ONLY && given & CL_MEM_HOST_WRITE_ONLY) ||
	    (parent & CL_MEM_HOST_NO_ACCESS &&
	     given & (CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_WRITE_ONLY)))
		return CL_INVALID_VALUE;
	if (!(given & FLAGS_ACCESS))
		plan->flags |= parent & FLAGS_ACCESS;
	if (!(given & FLAGS_HOST_ACCESS))
		plan->flags |= parent & FLAGS_HOST_ACCESS;
	return CL_SUCCESS;
}

/* The parent's kind and place. Which error a missing capability gives: appendix of OpenCL 3.0 on
 * optional features, "Creating a 2D Image From a Buffer". */
static cl_int plan_parent(struct plan *plan)
{
	cl_mem_object_type type = plan->desc.image_type;

	if (type == CL_MEM_OBJECT_IMAGE1D_BUFFER) {
		if (!object_is(plan->parent, OBJECT_MEM) ||
		    plan->parent->type != CL_MEM_OBJECT_BUFFER)
			return CL_INVALID_IMAGE_DESCRIPTOR;
	} else if (plan->parent) {
		if (type != CL_MEM_OBJECT_IMAGE2D || !object_is(plan->parent, OBJECT_MEM) ||
		    (plan->parent->type != CL_MEM_OBJECT_BUFFER &&
		     plan->parent->type != CL_MEM_OBJECT_IMAGE2D))
			return CL_INVALID_IMAGE_DESCRIPTOR;
		if (!the_device.info.image_pitch_align)
			return CL_INVALID_OPERATION;
	}
	if (plan->parent && plan->parent->context != plan->context)
		return CL_INVALID_IMAGE_DESCRIPTOR;
	return CL_SUCCESS;
}

/* Where an image with a range of its own lies: without gaps, whatever the application's pitches. */
static cl_int plan_own(struct plan *plan, const void *host_ptr)
{
	const cl_image_desc *desc = &plan->desc;
	size_t rows = desc->image_height ? desc->image_height : 1, slices = 1;
	cl_int err = plan_pitches(plan, host_ptr);

	if (err)
		return err;
	plan->host_row = desc->image_row_pitch;
	plan->host_slice = desc->image_slice_pitch;
	if (desc->image_type == CL_MEM_OBJECT_IMAGE3D)
		slices = desc->image_depth;
	else if (has_layers(desc->image_type))
		slices = desc->image_array_size;
	plan->row = desc->image_width * plan->element;
	plan->slice = plan->row * rows;
	if (__builtin_mul_overflow(plan->slice, slices, &plan->size) ||
	    plan->size > the_device.info.max_alloc_size)
		return CL_MEM_OBJECT_ALLOCATION_FAILURE;
	if (desc->image_type == CL_MEM_OBJECT_IMAGE1D_ARRAY)
		plan->host_row = plan->host_slice; /* layers are the rows of the box */
	if (!plan->host_slice)
		plan->host_slice = plan->host_row * rows;
	if (!(plan->flags & CL_MEM_USE_HOST_PTR)) {
		plan->desc.image_row_pitch = plan->row;
		plan->desc.image_slice_pitch = has_slices(desc->image_type) ? plan->slice : 0;
	}
	return CL_SUCCESS;
}

/* All checks, in the specification's order as far as they do not need each other. */
static cl_int plan_make(struct plan *plan, const cl_image_format *format, const cl_image_desc *desc,
			const void *host_ptr)
{
	cl_int err;

	if (!object_is(plan->context, OBJECT_CONTEXT))
		return CL_INVALID_CONTEXT;
	if (!the_device.info.images)
		return CL_INVALID_OPERATION;
	if (!format || !image_format_valid(format))
		return CL_INVALID_IMAGE_FORMAT_DESCRIPTOR;
	plan->format = *format;
	plan->element = image_format_element(format);
	err = plan_desc(plan, desc);
	if (!err)
		err = plan_parent(plan);
	if (!err && plan->parent)
		err = plan_inherit(plan);
	if (!err)
		err = mem_flags_check(&plan->flags, host_ptr);
	if (!err)
		err = plan_limits(plan);
	if (err)
		return err;
	if (!plan->parent)
		err = plan_own(plan, host_ptr);
	else if (plan->parent->type == CL_MEM_OBJECT_BUFFER)
		err = plan_over_buffer(plan);
	else
		err = plan_over_image(plan);
	if (err && err != CL_MEM_OBJECT_ALLOCATION_FAILURE)
		return err;
	if (!format_supported(format, plan->flags, plan->desc.image_type))
		return CL_IMAGE_FORMAT_NOT_SUPPORTED;
	return err;
}

/* ---- making it ------------------------------------------------------------------------------ */

/* The parent's range under another shape. */
static void image_attach(cl_mem image, cl_mem parent)
{
	object_use(&parent->object);
	image->parent = parent;
	image->data = parent->data;
	image->host_ptr = parent->host_ptr;
	image->flags |= parent->flags & FLAGS_HOST_PTR;
}

static void image_contents(cl_mem image, void *host_ptr)
{
	struct copy copy = {
	    .dst = image->data,
	    .src = host_ptr,
	    .dst_row = image->row_pitch,
	    .dst_slice = image->slice_pitch,
	    .src_row = image->host_row,
	    .src_slice = image->host_slice,
	};
	size_t extent[3];

	if (image->flags & CL_MEM_USE_HOST_PTR) {
		image->host_ptr = host_ptr;
		image->host_newer = true;
	} else if (image->flags & CL_MEM_COPY_HOST_PTR) {
		mem_whole_region(image, extent);
		copy.width = extent[0] * image->element;
		copy.height = extent[1];
		copy.depth = extent[2];
		copy_run(&copy);
	}
}

static cl_mem image_new(const struct plan *plan, void *host_ptr, cl_int *error)
{
	cl_mem image = mem_new(plan->context, plan->desc.image_type, plan->flags,
			       plan->parent ? 0 : plan->size, error);

	if (!image)
		return NULL;
	image->format = plan->format;
	image->desc = plan->desc;
	image->element = plan->element;
	image->size = plan->size;
	image->row_pitch = plan->row;
	image->slice_pitch = plan->slice;
	image->host_row = plan->host_row;
	image->host_slice = plan->host_slice;
	if (plan->parent)
		image_attach(image, plan->parent);
	else
		image_contents(image, host_ptr);
	return image;
}

static cl_mem image_create(cl_context context, const cl_mem_properties *properties,
			   cl_mem_flags flags, const cl_image_format *format,
			   const cl_image_desc *desc, void *host_ptr, cl_int *error)
{
	struct plan plan = {.context = context, .flags = flags};
	cl_mem image;

	*error = plan_make(&plan, format, desc, host_ptr);
	if (!*error && properties && properties[0])
		*error = CL_INVALID_PROPERTY;
	if (*error)
		return NULL;
	image = image_new(&plan, host_ptr, error);
	if (!image)
		return NULL;
	*error = mem_properties_keep(image, properties);
	if (*error) {
		object_release(&image->object);
		return NULL;
	}
	return image;
}

cl_mem arax_clCreateImageWithProperties(cl_context context, const cl_mem_properties *properties,
					cl_mem_flags flags, const cl_image_format *image_format,
					const cl_image_desc *image_desc, void *host_ptr,
					cl_int *errcode_ret)
{
	cl_int error;
	cl_mem image =
	    image_create(context, properties, flags, image_format, image_desc, host_ptr, &error);

	set_error(errcode_ret, error);
	return image;
}

cl_mem arax_clCreateImage(cl_context context, cl_mem_flags flags,
			  const cl_image_format *image_format, const cl_image_desc *image_desc,
			  void *host_ptr, cl_int *errcode_ret)
{
	return arax_clCreateImageWithProperties(context, NULL, flags, image_format, image_desc,
						host_ptr, errcode_ret);
}

/* OpenCL 1.1's errors: it had no descriptor, so its faults are faults of the size. */
static cl_mem image_create_1_1(cl_context context, cl_mem_flags flags,
			       const cl_image_format *format, const cl_image_desc *desc,
			       void *host_ptr, cl_int *errcode_ret)
{
	cl_int error;
	cl_mem image = image_create(context, NULL, flags, format, desc, host_ptr, &error);

	set_error(errcode_ret,
		  error == CL_INVALID_IMAGE_DESCRIPTOR ? CL_INVALID_IMAGE_SIZE : error);
	return image;
}

cl_mem arax_clCreateImage2D(cl_context context, cl_mem_flags flags,
			    const cl_image_format *image_format, size_t image_width,
			    size_t image_height, size_t image_row_pitch, void *host_ptr,
			    cl_int *errcode_ret)
{
	const cl_image_desc desc = {
	    .image_type = CL_MEM_OBJECT_IMAGE2D,
	    .image_width = image_width,
	    .image_height = image_height,
	    .image_row_pitch = image_row_pitch,
	};

	return image_create_1_1(context, flags, image_format, &desc, host_ptr, errcode_ret);
}

cl_mem arax_clCreateImage3D(cl_context context, cl_mem_flags flags,
			    const cl_image_format *image_format, size_t image_width,
			    size_t image_height, size_t image_depth, size_t image_row_pitch,
			    size_t image_slice_pitch, void *host_ptr, cl_int *errcode_ret)
{
	const cl_image_desc desc = {
	    .image_type = CL_MEM_OBJECT_IMAGE3D,
	    .image_width = image_width,
	    .image_height = image_height,
	    .image_depth = image_depth,
	    .image_row_pitch = image_row_pitch,
	    .image_slice_pitch = image_slice_pitch,
	};

	return image_create_1_1(context, flags, image_format, &desc, host_ptr, errcode_ret);
}

/* ---- queries -------------------------------------------------------------------------------- */

cl_int arax_clGetImageInfo(cl_mem image, cl_image_info param_name, size_t param_value_size,
			   void *param_value, size_t *param_value_size_ret)
{
	if (!object_is(image, OBJECT_MEM) || !is_image_type(image->type))
		return CL_INVALID_MEM_OBJECT;
	switch (param_name) {
	case CL_IMAGE_FORMAT:
		return info_copy(&image->format, sizeof(image->format), param_value_size,
				 param_value, param_value_size_ret);
	case CL_IMAGE_ELEMENT_SIZE:
		return INFO(size_t, image->element);
	case CL_IMAGE_ROW_PITCH:
		return INFO(size_t, image->desc.image_row_pitch);
	case CL_IMAGE_SLICE_PITCH:
		return INFO(size_t, image->desc.image_slice_pitch);
	case CL_IMAGE_WIDTH:
		return INFO(size_t, image->desc.image_width);
	case CL_IMAGE_HEIGHT:
		return INFO(size_t, image->desc.image_height);
	case CL_IMAGE_DEPTH:
		return INFO(size_t, image->desc.image_depth);
	case CL_IMAGE_ARRAY_SIZE:
		return INFO(size_t, image->desc.image_array_size);
	case CL_IMAGE_BUFFER:
		return INFO(cl_mem, image->parent);
	case CL_IMAGE_NUM_MIP_LEVELS:
		return INFO(cl_uint, image->desc.num_mip_levels);
	case CL_IMAGE_NUM_SAMPLES:
		return INFO(cl_uint, image->desc.num_samples);
	default:
		return CL_INVALID_VALUE;
	}
}
