/* SPDX-License-Identifier: Apache-2.0
 *
 * Enqueuing transfers of images. Images lie in the arena as plain boxes, so a read or write is one
 * copy between the application and the arena that the client does itself, and the rest are the
 * same copies and fills that buffers use. What is special to images is checked here: origins and
 * regions by type, pitches, formats.
 */
#include "icd/icd.h"
#include "icd/image_format.h"

#define MAP_WRITES (CL_MAP_WRITE | CL_MAP_WRITE_INVALIDATE_REGION)

/* ---- checks --------------------------------------------------------------------------------- */

static cl_int image_check(cl_command_queue queue, cl_mem image)
{
	if (!object_is(image, OBJECT_MEM) || image->type < CL_MEM_OBJECT_IMAGE2D ||
	    image->type > CL_MEM_OBJECT_IMAGE1D_BUFFER)
		return CL_INVALID_MEM_OBJECT;
	return image->context == queue->context ? CL_SUCCESS : CL_INVALID_CONTEXT;
}

static cl_int buffer_check(cl_command_queue queue, cl_mem buffer)
{
	if (!object_is(buffer, OBJECT_MEM) || buffer->type != CL_MEM_OBJECT_BUFFER)
		return CL_INVALID_MEM_OBJECT;
	return buffer->context == queue->context ? CL_SUCCESS : CL_INVALID_CONTEXT;
}

/* The region must lie in the image. Where a type has no second or third dimension its extent is 1,
 * which leaves 0 and 1 as the only origin and region, as the specification wants. */
static cl_int region_check(cl_mem image, const size_t *origin, const size_t *region)
{
	size_t extent[3];

	if (!origin || !region)
		return CL_INVALID_VALUE;
	mem_whole_region(image, extent);
	for (int i = 0; i < 3; i++) {
		if (!region[i] || region[i] > extent[i] || origin[i] > extent[i] - region[i])
			return CL_INVALID_VALUE;
	}
	return CL_SUCCESS;
}

static bool image_has_slices(cl_mem image)
{
	return image->type == CL_MEM_OBJECT_IMAGE3D || image->type == CL_MEM_OBJECT_IMAGE1D_ARRAY ||
	       image->type == CL_MEM_OBJECT_IMAGE2D_ARRAY;
}

/*
 * The pitches of the application's memory in a read or write: checked, then turned into the steps
 * of the box (the layers of a 1D array are its rows, so there the slice is the step of a row).
 */
static cl_int pitch_check(cl_mem image, const size_t *region, size_t *row, size_t *slice)
{
	size_t width = region[0] * image->element, least;
	bool rows_are_layers = image->type == CL_MEM_OBJECT_IMAGE1D_ARRAY;

	if (*row && *row < width)
		return CL_INVALID_VALUE;
	if (!*row)
		*row = width;
	if (!image_has_slices(image) && *slice)
		return CL_INVALID_VALUE;
	if (__builtin_mul_overflow(*row, rows_are_layers ? 1 : region[1], &least) ||
	    (*slice && *slice < least))
		return CL_INVALID_VALUE;
	if (!*slice)
		*slice = least;
	if (rows_are_layers)
		*row = *slice;
	return CL_SUCCESS;
}

/* ---- boxes ---------------------------------------------------------------------------------- */

static char *image_at(cl_mem image, const size_t *origin)
{
	return image->data + origin[0] * image->element + origin[1] * image->row_pitch +
	       origin[2] * image->slice_pitch;
}

static struct copy box(cl_mem image, const size_t *region)
{
	return (struct copy){
	    .width = region[0] * image->element, .height = region[1], .depth = region[2]};
}

static void box_from(struct copy *copy, cl_mem image, const size_t *origin)
{
	copy->src = image_at(image, origin);
	copy->src_row = image->row_pitch;
	copy->src_slice = image->slice_pitch;
}

static void box_to(struct copy *copy, cl_mem image, const size_t *origin)
{
	copy->dst = image_at(image, origin);
	copy->dst_row = image->row_pitch;
	copy->dst_slice = image->slice_pitch;
}

static size_t box_bytes(const struct copy *copy)
{
	return copy->width * copy->height * copy->depth;
}

/* ---- reads and writes ----------------------------------------------------------------------- */

static cl_int transfer_check(cl_command_queue queue, cl_mem image, const size_t *origin,
			     const size_t *region, const void *ptr, cl_mem_flags forbidden)
{
	cl_int err = image_check(queue, image);

	if (!err && !ptr)
		err = CL_INVALID_VALUE;
	if (!err)
		err = region_check(image, origin, region);
	if (!err && image->flags & (forbidden | CL_MEM_HOST_NO_ACCESS))
		err = CL_INVALID_OPERATION;
	return err;
}

static cl_int transfer(struct command_desc *desc, cl_mem image, const struct copy *copy,
		       bool blocking, uint32_t access)
{
	struct host_work work = {.run = host_work_copy, .copy = *copy, .bytes = box_bytes(copy)};

	mem_sync_in(image);
	desc->blocking = blocking;
	desc->refs[0] = &image->object;
	command_reaches(desc, image, copy, access);
	return command_host(desc, &work);
}

cl_int arax_clEnqueueReadImage(cl_command_queue command_queue, cl_mem image, cl_bool blocking_read,
			       const size_t *origin, const size_t *region, size_t row_pitch,
			       size_t slice_pitch, void *ptr, cl_uint num_events_in_wait_list,
			       const cl_event *event_wait_list, cl_event *event)
{
	struct command_desc desc = COMMAND(command_queue, CL_COMMAND_READ_IMAGE);
	struct copy copy;
	cl_int err = command_check(&desc);

	if (!err)
		err = transfer_check(command_queue, image, origin, region, ptr,
				     CL_MEM_HOST_WRITE_ONLY);
	if (!err)
		err = pitch_check(image, region, &row_pitch, &slice_pitch);
	if (err)
		return err;
	copy = box(image, region);
	box_from(&copy, image, origin);
	copy.dst = ptr;
	copy.dst_row = row_pitch;
	copy.dst_slice = slice_pitch;
	return transfer(&desc, image, &copy, blocking_read, ARAX_ACCESS_READ);
}

cl_int arax_clEnqueueWriteImage(cl_command_queue command_queue, cl_mem image,
				cl_bool blocking_write, const size_t *origin, const size_t *region,
				size_t input_row_pitch, size_t input_slice_pitch, const void *ptr,
				cl_uint num_events_in_wait_list, const cl_event *event_wait_list,
				cl_event *event)
{
	struct command_desc desc = COMMAND(command_queue, CL_COMMAND_WRITE_IMAGE);
	struct copy copy;
	cl_int err = command_check(&desc);

	if (!err)
		err = transfer_check(command_queue, image, origin, region, ptr,
				     CL_MEM_HOST_READ_ONLY);
	if (!err)
		err = pitch_check(image, region, &input_row_pitch, &input_slice_pitch);
	if (err)
		return err;
	copy = box(image, region);
	box_to(&copy, image, origin);
	copy.src = ptr;
	copy.src_row = input_row_pitch;
	copy.src_slice = input_slice_pitch;
	return transfer(&desc, image, &copy, blocking_write, ARAX_ACCESS_WRITE);
}

/* ---- copies and fills within the arena ------------------------------------------------------ */

/* refs[0] and refs[1] are the objects of the copy. */
static cl_int copy_enqueue(struct command_desc *desc, cl_mem src, cl_mem dst,
			   const struct copy *copy)
{
	mem_sync_in(src);
	mem_sync_in(dst);
	desc->refs[0] = &src->object;
	desc->refs[1] = &dst->object;
	return command_copy(desc, copy);
}

static bool regions_overlap(const size_t *a, const size_t *b, const size_t *region)
{
	for (int i = 0; i < 3; i++) {
		if (a[i] >= b[i] + region[i] || b[i] >= a[i] + region[i])
			return false;
	}
	return true;
}

static bool formats_equal(cl_mem a, cl_mem b)
{
	return a->format.image_channel_order == b->format.image_channel_order &&
	       a->format.image_channel_data_type == b->format.image_channel_data_type;
}

cl_int arax_clEnqueueCopyImage(cl_command_queue command_queue, cl_mem src_image, cl_mem dst_image,
			       const size_t *src_origin, const size_t *dst_origin,
			       const size_t *region, cl_uint num_events_in_wait_list,
			       const cl_event *event_wait_list, cl_event *event)
{
	struct command_desc desc = COMMAND(command_queue, CL_COMMAND_COPY_IMAGE);
	struct copy copy;
	cl_int err = command_check(&desc);

	if (!err)
		err = image_check(command_queue, src_image);
	if (!err)
		err = image_check(command_queue, dst_image);
	if (!err && !formats_equal(src_image, dst_image))
		err = CL_IMAGE_FORMAT_MISMATCH;
	if (!err)
		err = region_check(src_image, src_origin, region);
	if (!err)
		err = region_check(dst_image, dst_origin, region);
	if (!err && src_image == dst_image && regions_overlap(src_origin, dst_origin, region))
		err = CL_MEM_COPY_OVERLAP;
	if (err)
		return err;
	copy = box(src_image, region);
	box_from(&copy, src_image, src_origin);
	box_to(&copy, dst_image, dst_origin);
	return copy_enqueue(&desc, src_image, dst_image, &copy);
}

/* The buffer's side of a copy: the region without gaps, from offset on. */
static cl_int buffer_range_check(cl_mem buffer, size_t offset, const struct copy *copy)
{
	size_t bytes = box_bytes(copy);

	return bytes > buffer->size || offset > buffer->size - bytes ? CL_INVALID_VALUE
								     : CL_SUCCESS;
}

cl_int arax_clEnqueueCopyImageToBuffer(cl_command_queue command_queue, cl_mem src_image,
				       cl_mem dst_buffer, const size_t *src_origin,
				       const size_t *region, size_t dst_offset,
				       cl_uint num_events_in_wait_list,
				       const cl_event *event_wait_list, cl_event *event)
{
	struct command_desc desc = COMMAND(command_queue, CL_COMMAND_COPY_IMAGE_TO_BUFFER);
	struct copy copy;
	cl_int err = command_check(&desc);

	if (!err)
		err = image_check(command_queue, src_image);
	if (!err)
		err = buffer_check(command_queue, dst_buffer);
	if (!err)
		err = region_check(src_image, src_origin, region);
	if (err)
		return err;
	copy = box(src_image, region);
	err = buffer_range_check(dst_buffer, dst_offset, &copy);
	if (err)
		return err;
	box_from(&copy, src_image, src_origin);
	copy.dst = dst_buffer->data + dst_offset;
	copy.dst_row = copy.width;
	copy.dst_slice = copy.width * copy.height;
	return copy_enqueue(&desc, src_image, dst_buffer, &copy);
}

cl_int arax_clEnqueueCopyBufferToImage(cl_command_queue command_queue, cl_mem src_buffer,
				       cl_mem dst_image, size_t src_offset,
				       const size_t *dst_origin, const size_t *region,
				       cl_uint num_events_in_wait_list,
				       const cl_event *event_wait_list, cl_event *event)
{
	struct command_desc desc = COMMAND(command_queue, CL_COMMAND_COPY_BUFFER_TO_IMAGE);
	struct copy copy;
	cl_int err = command_check(&desc);

	if (!err)
		err = buffer_check(command_queue, src_buffer);
	if (!err)
		err = image_check(command_queue, dst_image);
	if (!err)
		err = region_check(dst_image, dst_origin, region);
	if (err)
		return err;
	copy = box(dst_image, region);
	err = buffer_range_check(src_buffer, src_offset, &copy);
	if (err)
		return err;
	box_to(&copy, dst_image, dst_origin);
	copy.src = src_buffer->data + src_offset;
	copy.src_row = copy.width;
	copy.src_slice = copy.width * copy.height;
	return copy_enqueue(&desc, src_buffer, dst_image, &copy);
}

cl_int arax_clEnqueueFillImage(cl_command_queue command_queue, cl_mem image, const void *fill_color,
			       const size_t *origin, const size_t *region,
			       cl_uint num_events_in_wait_list, const cl_event *event_wait_list,
			       cl_event *event)
{
	struct command_desc desc = COMMAND(command_queue, CL_COMMAND_FILL_IMAGE);
	unsigned char element[IMAGE_ELEMENT_MAX];
	struct copy copy;
	size_t size;
	cl_int err = command_check(&desc);

	if (!err)
		err = image_check(command_queue, image);
	if (!err && !fill_color)
		err = CL_INVALID_VALUE;
	if (!err)
		err = region_check(image, origin, region);
	if (err)
		return err;
	mem_sync_in(image);
	size = image_format_pack(&image->format, fill_color, element);
	copy = box(image, region);
	box_to(&copy, image, origin);
	desc.refs[0] = &image->object;
	return command_fill(&desc, &copy, element, size);
}

/* ---- maps ----------------------------------------------------------------------------------- */

static cl_int map_check(cl_command_queue queue, cl_mem image, cl_map_flags flags,
			const size_t *origin, const size_t *region, const size_t *row_pitch,
			const size_t *slice_pitch)
{
	cl_mem_flags forbidden = 0;
	cl_int err = image_check(queue, image);

	if (err)
		return err;
	err = region_check(image, origin, region);
	if (err)
		return err;
	if (flags & ~(cl_map_flags)(CL_MAP_READ | MAP_WRITES) || !row_pitch ||
	    (image_has_slices(image) && !slice_pitch) ||
	    (flags & CL_MAP_WRITE_INVALIDATE_REGION && flags & (CL_MAP_READ | CL_MAP_WRITE)))
		return CL_INVALID_VALUE;
	if (flags & CL_MAP_READ)
		forbidden |= CL_MEM_HOST_WRITE_ONLY | CL_MEM_HOST_NO_ACCESS;
	if (flags & MAP_WRITES)
		forbidden |= CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_NO_ACCESS;
	return image->flags & forbidden ? CL_INVALID_OPERATION : CL_SUCCESS;
}

/* Where the application will see the region: its own memory, or the arena itself. */
static char *map_pointer(cl_mem image, const size_t *origin)
{
	if (!image->host_ptr)
		return image_at(image, origin);
	return image->host_ptr + origin[0] * image->element + origin[1] * image->host_row +
	       origin[2] * image->host_slice;
}

/* The arena needs only its place in the order; the application's memory is brought up to date
 * first, unless its contents are to be overwritten. */
static cl_int map_enqueue(struct command_desc *desc, cl_mem image, const struct mem_map *map)
{
	struct host_work work = {.run = host_work_copy};

	desc->refs[0] = &image->object;
	if (!image->host_ptr || image->host_ptr == image->data)
		mem_reach_map(desc, image, map, false);
	if (map->flags & CL_MAP_WRITE_INVALIDATE_REGION ||
	    !mem_map_copy(image, map, true, &work.copy))
		return command_marker(desc, false, false);
	mem_sync_in(image);
	command_reaches(desc, image, &work.copy, ARAX_ACCESS_READ);
	work.bytes = box_bytes(&work.copy);
	return command_host(desc, &work);
}

/* The map is noted first: taking it back cannot fail. */
static void *map_image(struct command_desc *desc, cl_mem image, const struct mem_map *map,
		       cl_int *error)
{
	struct mem_map *noted =
	    mem_map_add(image, map->pointer, map->origin, map->region, map->flags);

	*error = noted ? map_enqueue(desc, image, map) : CL_OUT_OF_HOST_MEMORY;
	if (!*error)
		return map->pointer;
	if (noted)
		mem_map_drop(image, noted);
	return NULL;
}

void *arax_clEnqueueMapImage(cl_command_queue command_queue, cl_mem image, cl_bool blocking_map,
			     cl_map_flags map_flags, const size_t *origin, const size_t *region,
			     size_t *image_row_pitch, size_t *image_slice_pitch,
			     cl_uint num_events_in_wait_list, const cl_event *event_wait_list,
			     cl_event *event, cl_int *errcode_ret)
{
	struct command_desc desc = COMMAND(command_queue, CL_COMMAND_MAP_IMAGE);
	struct mem_map map = {.flags = map_flags};
	cl_int err = command_check(&desc);
	void *pointer;

	if (!err)
		err = map_check(command_queue, image, map_flags, origin, region, image_row_pitch,
				image_slice_pitch);
	if (err) {
		set_error(errcode_ret, err);
		return NULL;
	}
	desc.blocking = blocking_map;
	memcpy(map.origin, origin, sizeof(map.origin));
	memcpy(map.region, region, sizeof(map.region));
	map.pointer = map_pointer(image, origin);
	pointer = map_image(&desc, image, &map, &err);
	set_error(errcode_ret, err);
	if (!pointer)
		return NULL;
	*image_row_pitch = image->desc.image_row_pitch;
	if (image_slice_pitch)
		*image_slice_pitch = image->desc.image_slice_pitch;
	return pointer;
}
