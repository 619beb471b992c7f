/* SPDX-License-Identifier: Apache-2.0
 *
 * Buffers and sub-buffers (OpenCL 3.0 section 5.2): creation and the commands on them.
 */
#include "icd/connection.h"

#include <stdlib.h>

/* ---- creation ------------------------------------------------------------------------------- */

/*
 * Memory of clSVMAlloc is in the arena already: a buffer that uses it is a view of it, and may not
 * be larger.
 */
static cl_int check_view(cl_context context, cl_mem_flags flags, const void *host_ptr, size_t size,
			 bool *view)
{
	void *start;
	size_t whole = 0;

	if (flags & CL_MEM_USE_HOST_PTR)
		whole = connection_allocated(context->conn, host_ptr, &start);
	*view = whole != 0;
	if (*view && size > whole - (size_t)((const char *)host_ptr - (char *)start))
		return CL_INVALID_BUFFER_SIZE;
	return CL_SUCCESS;
}

static cl_int fill_new_buffer(cl_mem mem, size_t size, void *host_ptr)
{
	if (mem->flags & CL_MEM_COPY_HOST_PTR)
		memcpy(mem->data, host_ptr, size);
	if (mem->flags & CL_MEM_USE_HOST_PTR) {
		mem->host_ptr = host_ptr;
		mem->host_newer = mem->data != host_ptr;
	}
	return CL_SUCCESS;
}

cl_mem arax_clCreateBufferWithProperties(cl_context context, const cl_mem_properties *properties,
					 cl_mem_flags flags, size_t size, void *host_ptr,
					 cl_int *errcode_ret)
{
	cl_mem mem = NULL;
	cl_int error = CL_SUCCESS;
	bool view = false;

	if (!object_is(context, OBJECT_CONTEXT))
		error = CL_INVALID_CONTEXT;
	else if (properties && properties[0])
		error = CL_INVALID_PROPERTY;
	if (!error)
		error = mem_flags_check(&flags, host_ptr);
	if (!error && (!size || size > the_device.info.max_alloc_size))
		error = CL_INVALID_BUFFER_SIZE;
	if (!error)
		error = check_view(context, flags, host_ptr, size, &view);
	if (!error) {
		mem = mem_new(context, CL_MEM_OBJECT_BUFFER, flags, view ? 0 : size, &error);
		if (mem && view) {
			mem->data = host_ptr;
			mem->size = size;
		}
	}
	if (mem) {
		error = mem_properties_keep(mem, properties);
		if (!error)
			error = fill_new_buffer(mem, size, host_ptr);
		if (error) {
			object_release(&mem->object);
			mem = NULL;
		}
	}
	set_error(errcode_ret, error);
	return mem;
}

cl_mem arax_clCreateBuffer(cl_context context, cl_mem_flags flags, size_t size, void *host_ptr,
			   cl_int *errcode_ret)
{
	return arax_clCreateBufferWithProperties(context, NULL, flags, size, host_ptr, errcode_ret);
}

/* A sub-buffer inherits what its flags leave open and may not widen the parent's (table 5.3). */
static cl_int sub_flags(cl_mem parent, cl_mem_flags *flags)
{
	const cl_mem_flags access = CL_MEM_READ_WRITE | CL_MEM_WRITE_ONLY | CL_MEM_READ_ONLY;
	const cl_mem_flags host =
	    CL_MEM_HOST_WRITE_ONLY | CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_NO_ACCESS;
	const cl_mem_flags from =
	    CL_MEM_USE_HOST_PTR | CL_MEM_COPY_HOST_PTR | CL_MEM_ALLOC_HOST_PTR;
	cl_mem_flags given = *flags & access;

	if (*flags & (from | ~(access | host)) || (given & (given - 1)))
		return CL_INVALID_VALUE;
	if (((parent->flags & CL_MEM_WRITE_ONLY) &&
	     (given & (CL_MEM_READ_WRITE | CL_MEM_READ_ONLY))) ||
	    ((parent->flags & CL_MEM_READ_ONLY) &&
	     (given & (CL_MEM_READ_WRITE | CL_MEM_WRITE_ONLY))))
		return CL_INVALID_VALUE;
	cl_mem_flags given_host = *flags & host;
	if ((given_host & (given_host - 1)) ||
	    ((parent->flags & CL_MEM_HOST_WRITE_ONLY) && (given_host & CL_MEM_HOST_READ_ONLY)) ||
	    ((parent->flags & CL_MEM_HOST_READ_ONLY) && (given_host & CL_MEM_HOST_WRITE_ONLY)) ||
	    ((parent->flags & CL_MEM_HOST_NO_ACCESS) &&
	     (given_host & (CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_WRITE_ONLY))))
		return CL_INVALID_VALUE;
	if (!given)
		*flags |= parent->flags & access;
	if (!given_host)
		*flags |= parent->flags & host;
	*flags |= parent->flags & from;
	return CL_SUCCESS;
}

static cl_int check_sub_buffer(cl_mem parent, cl_mem_flags *flags, cl_buffer_create_type type,
			       const cl_buffer_region *region)
{
	if (!object_is(parent, OBJECT_MEM) || parent->type != CL_MEM_OBJECT_BUFFER ||
	    parent->parent)
		return CL_INVALID_MEM_OBJECT;
	cl_int error = sub_flags(parent, flags);
	if (error)
		return error;
	if (type != CL_BUFFER_CREATE_TYPE_REGION || !region)
		return CL_INVALID_VALUE;
	if (region->origin > parent->size || region->size > parent->size - region->origin)
		return CL_INVALID_VALUE;
	if (!region->size)
		return CL_INVALID_BUFFER_SIZE;
	if (region->origin * 8 % the_device.info.mem_base_align_bits)
		return CL_MISALIGNED_SUB_BUFFER_OFFSET;
	return CL_SUCCESS;
}

cl_mem arax_clCreateSubBuffer(cl_mem parent, cl_mem_flags flags, cl_buffer_create_type type,
			      const void *create_info, cl_int *errcode_ret)
{
	const cl_buffer_region *region = create_info;
	cl_int error = check_sub_buffer(parent, &flags, type, region);
	cl_mem mem = NULL;

	if (!error)
		mem = mem_new(parent->context, CL_MEM_OBJECT_BUFFER, flags, 0, &error);
	if (mem) {
		object_use(&parent->object);
		mem->parent = parent;
		mem->origin = region->origin;
		mem->size = region->size;
		mem->data = parent->data + region->origin;
		if (parent->host_ptr)
			mem->host_ptr = parent->host_ptr + region->origin;
	}
	set_error(errcode_ret, error);
	return mem;
}

/* ---- checks --------------------------------------------------------------------------------- */

#define READS CL_MEM_HOST_WRITE_ONLY /* host access flags that forbid reading */
#define WRITES CL_MEM_HOST_READ_ONLY

static cl_int check_buffer(cl_command_queue queue, cl_mem buffer)
{
	if (!object_is(buffer, OBJECT_MEM) || buffer->type != CL_MEM_OBJECT_BUFFER)
		return CL_INVALID_MEM_OBJECT;
	if (buffer->context != queue->context)
		return CL_INVALID_CONTEXT;
	return CL_SUCCESS;
}

static cl_int check_range(cl_mem buffer, size_t offset, size_t size)
{
	if (!size || offset > buffer->size || size > buffer->size - offset)
		return CL_INVALID_VALUE;
	return CL_SUCCESS;
}

static cl_int check_host_access(cl_mem buffer, cl_mem_flags forbidden)
{
	if (buffer->flags & (forbidden | CL_MEM_HOST_NO_ACCESS))
		return CL_INVALID_OPERATION;
	return CL_SUCCESS;
}

/* One side of a rectangular command (section 5.2.3): fills in pitches of 0 and gives the offset of
 * the first byte. size SIZE_MAX: application memory, whose end is not known. */
struct rect {
	size_t offset, row, slice;
};

static cl_int check_rect(const size_t *origin, const size_t *region, size_t row, size_t slice,
			 size_t size, struct rect *rect)
{
	size_t end, rows, slices;

	if (!origin || !region || !region[0] || !region[1] || !region[2])
		return CL_INVALID_VALUE;
	if (!row)
		row = region[0];
	if (row < region[0])
		return CL_INVALID_VALUE;
	if (__builtin_mul_overflow(region[1], row, &rows))
		return CL_INVALID_VALUE;
	if (!slice)
		slice = rows;
	if (slice < rows || slice % row)
		return CL_INVALID_VALUE;
	if (__builtin_mul_overflow(origin[1], row, &rows) ||
	    __builtin_mul_overflow(origin[2], slice, &slices) ||
	    __builtin_add_overflow(rows, slices, &rect->offset) ||
	    __builtin_add_overflow(rect->offset, origin[0], &rect->offset) ||
	    __builtin_mul_overflow(region[2] - 1, slice, &slices) ||
	    __builtin_add_overflow(slices, (region[1] - 1) * row + region[0], &slices) ||
	    __builtin_add_overflow(rect->offset, slices, &end) || end > size)
		return CL_INVALID_VALUE;
	rect->row = row;
	rect->slice = slice;
	return CL_SUCCESS;
}

/* ---- reads and writes ----------------------------------------------------------------------- */

static cl_int transfer(struct command_desc *desc, cl_mem buffer, const struct copy *copy,
		       uint32_t access)
{
	struct host_work work = {.run = host_work_copy,
				 .copy = *copy,
				 .bytes = copy->width * copy->height * copy->depth};

	mem_sync_in(buffer);
	desc->refs[0] = &buffer->object;
	command_reaches(desc, buffer, copy, access);
	return command_host(desc, &work);
}

static struct copy linear(char *dst, const char *src, size_t size)
{
	return (struct copy){.dst = dst,
			     .src = src,
			     .width = size,
			     .height = 1,
			     .depth = 1,
			     .dst_row = size,
			     .dst_slice = size,
			     .src_row = size,
			     .src_slice = size};
}

static cl_int read_or_write(struct command_desc *desc, cl_mem buffer, size_t offset, size_t size,
			    void *to, const void *from)
{
	cl_int error = command_check(desc);

	if (!error)
		error = check_buffer(desc->queue, buffer);
	if (!error && !to && !from)
		error = CL_INVALID_VALUE;
	if (!error)
		error = check_range(buffer, offset, size);
	if (!error)
		error = check_host_access(buffer,
					  desc->type == CL_COMMAND_READ_BUFFER ? READS : WRITES);
	if (error)
		return error;
	struct copy copy = to ? linear(to, buffer->data + offset, size)
			      : linear(buffer->data + offset, from, size);
	return transfer(desc, buffer, &copy, to ? ARAX_ACCESS_READ : ARAX_ACCESS_WRITE);
}

cl_int arax_clEnqueueReadBuffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking,
				size_t offset, size_t size, void *ptr,
				cl_uint num_events_in_wait_list, const cl_event *event_wait_list,
				cl_event *event)
{
	struct command_desc desc = COMMAND(queue, CL_COMMAND_READ_BUFFER);

	desc.blocking = blocking;
	return read_or_write(&desc, buffer, offset, size, ptr, NULL);
}

cl_int arax_clEnqueueWriteBuffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking,
				 size_t offset, size_t size, const void *ptr,
				 cl_uint num_events_in_wait_list, const cl_event *event_wait_list,
				 cl_event *event)
{
	struct command_desc desc = COMMAND(queue, CL_COMMAND_WRITE_BUFFER);

	desc.blocking = blocking;
	return read_or_write(&desc, buffer, offset, size, NULL, ptr);
}

struct rect_call {
	cl_mem buffer;
	const size_t *buffer_origin, *host_origin, *region;
	size_t buffer_row, buffer_slice, host_row, host_slice;
	void *to;
	const void *from;
};

static cl_int read_or_write_rect(struct command_desc *desc, const struct rect_call *call)
{
	cl_mem buffer = call->buffer;
	struct rect device, host;
	cl_int error = command_check(desc);

	if (!error)
		error = check_buffer(desc->queue, buffer);
	if (!error && !call->to && !call->from)
		error = CL_INVALID_VALUE;
	if (!error)
		error = check_rect(call->buffer_origin, call->region, call->buffer_row,
				   call->buffer_slice, buffer->size, &device);
	if (!error)
		error = check_rect(call->host_origin, call->region, call->host_row,
				   call->host_slice, SIZE_MAX, &host);
	if (!error)
		error = check_host_access(
		    buffer, desc->type == CL_COMMAND_READ_BUFFER_RECT ? READS : WRITES);
	if (error)
		return error;
	char *data = buffer->data + device.offset;
	struct copy copy = {
	    .width = call->region[0], .height = call->region[1], .depth = call->region[2]};
	if (call->to) {
		copy.dst = (char *)call->to + host.offset;
		copy.src = data;
	} else {
		copy.dst = data;
		copy.src = (const char *)call->from + host.offset;
	}
	copy.dst_row = call->to ? host.row : device.row;
	copy.dst_slice = call->to ? host.slice : device.slice;
	copy.src_row = call->to ? device.row : host.row;
	copy.src_slice = call->to ? device.slice : host.slice;
	return transfer(desc, buffer, &copy, call->to ? ARAX_ACCESS_READ : ARAX_ACCESS_WRITE);
}

cl_int arax_clEnqueueReadBufferRect(cl_command_queue queue, cl_mem buffer, cl_bool blocking,
				    const size_t *buffer_origin, const size_t *host_origin,
				    const size_t *region, size_t buffer_row_pitch,
				    size_t buffer_slice_pitch, size_t host_row_pitch,
				    size_t host_slice_pitch, void *ptr,
				    cl_uint num_events_in_wait_list,
				    const cl_event *event_wait_list, cl_event *event)
{
	struct command_desc desc = COMMAND(queue, CL_COMMAND_READ_BUFFER_RECT);

	desc.blocking = blocking;
	return read_or_write_rect(&desc,
				  &(struct rect_call){buffer, buffer_origin, host_origin, region,
						      buffer_row_pitch, buffer_slice_pitch,
						      host_row_pitch, host_slice_pitch, ptr, NULL});
}

cl_int arax_clEnqueueWriteBufferRect(cl_command_queue queue, cl_mem buffer, cl_bool blocking,
				     const size_t *buffer_origin, const size_t *host_origin,
				     const size_t *region, size_t buffer_row_pitch,
				     size_t buffer_slice_pitch, size_t host_row_pitch,
				     size_t host_slice_pitch, const void *ptr,
				     cl_uint num_events_in_wait_list,
				     const cl_event *event_wait_list, cl_event *event)
{
	struct command_desc desc = COMMAND(queue, CL_COMMAND_WRITE_BUFFER_RECT);

	desc.blocking = blocking;
	return read_or_write_rect(&desc,
				  &(struct rect_call){buffer, buffer_origin, host_origin, region,
						      buffer_row_pitch, buffer_slice_pitch,
						      host_row_pitch, host_slice_pitch, NULL, ptr});
}

/* ---- copies and fills ----------------------------------------------------------------------- */

static cl_int check_pair(cl_command_queue queue, cl_mem src, cl_mem dst)
{
	cl_int error = check_buffer(queue, src);

	return error ? error : check_buffer(queue, dst);
}

static cl_int copy_buffers(struct command_desc *desc, cl_mem src, cl_mem dst,
			   const struct copy *copy)
{
	mem_sync_in(src);
	mem_sync_in(dst);
	desc->refs[0] = &src->object;
	desc->refs[1] = &dst->object;
	return command_copy(desc, copy);
}

cl_int arax_clEnqueueCopyBuffer(cl_command_queue queue, cl_mem src_buffer, cl_mem dst_buffer,
				size_t src_offset, size_t dst_offset, size_t size,
				cl_uint num_events_in_wait_list, const cl_event *event_wait_list,
				cl_event *event)
{
	struct command_desc desc = COMMAND(queue, CL_COMMAND_COPY_BUFFER);
	cl_int error = command_check(&desc);

	if (!error)
		error = check_pair(queue, src_buffer, dst_buffer);
	if (!error)
		error = check_range(src_buffer, src_offset, size);
	if (!error)
		error = check_range(dst_buffer, dst_offset, size);
	if (error)
		return error;
	char *dst = dst_buffer->data + dst_offset;
	const char *src = src_buffer->data + src_offset;
	/* the same object or two that share a buffer */
	if (mem_root(src_buffer) == mem_root(dst_buffer) && dst < src + size && src < dst + size)
		return CL_MEM_COPY_OVERLAP;
	struct copy copy = linear(dst, src, size);
	return copy_buffers(&desc, src_buffer, dst_buffer, &copy);
}

/* Does a run of this length fit between the ends of those of the other, every so many bytes? */
static bool fits_between(size_t a, size_t b, size_t length, size_t pitch)
{
	a %= pitch;
	b %= pitch;
	return (b >= a + length && b + length <= a + pitch) ||
	       (a >= b + length && a + length <= b + pitch);
}

/* Do two boxes of one buffer touch? The specification's check_copy_overlap (appendix D); boxes with
 * different pitches, in two sub-buffers, must be apart as a whole. */
static bool rects_overlap(const struct rect *a, const struct rect *b, const size_t *region)
{
	size_t slice_a = (region[1] - 1) * a->row + region[0];
	size_t slice_b = (region[1] - 1) * b->row + region[0];
	size_t end_a = a->offset + (region[2] - 1) * a->slice + slice_a;
	size_t end_b = b->offset + (region[2] - 1) * b->slice + slice_b;

	if (end_a <= b->offset || end_b <= a->offset)
		return false;
	if (a->row != b->row || a->slice != b->slice)
		return true;
	return !fits_between(a->offset, b->offset, region[0], a->row) &&
	       !fits_between(a->offset, b->offset, slice_a, a->slice);
}

cl_int arax_clEnqueueCopyBufferRect(cl_command_queue queue, cl_mem src_buffer, cl_mem dst_buffer,
				    const size_t *src_origin, const size_t *dst_origin,
				    const size_t *region, size_t src_row_pitch,
				    size_t src_slice_pitch, size_t dst_row_pitch,
				    size_t dst_slice_pitch, cl_uint num_events_in_wait_list,
				    const cl_event *event_wait_list, cl_event *event)
{
	struct command_desc desc = COMMAND(queue, CL_COMMAND_COPY_BUFFER_RECT);
	struct rect src, dst;
	cl_int error = command_check(&desc);

	if (!error)
		error = check_pair(queue, src_buffer, dst_buffer);
	if (!error)
		error = check_rect(src_origin, region, src_row_pitch, src_slice_pitch,
				   src_buffer->size, &src);
	if (!error)
		error = check_rect(dst_origin, region, dst_row_pitch, dst_slice_pitch,
				   dst_buffer->size, &dst);
	/* one object has one pair of pitches */
	if (!error && src_buffer == dst_buffer && (src.row != dst.row || src.slice != dst.slice))
		error = CL_INVALID_VALUE;
	if (error)
		return error;
	struct rect a = src, b = dst;
	a.offset += (size_t)(src_buffer->data - mem_root(src_buffer)->data);
	b.offset += (size_t)(dst_buffer->data - mem_root(dst_buffer)->data);
	if (mem_root(src_buffer) == mem_root(dst_buffer) && rects_overlap(&a, &b, region))
		return CL_MEM_COPY_OVERLAP;
	struct copy copy = {
	    .dst = dst_buffer->data + dst.offset,
	    .src = src_buffer->data + src.offset,
	    .width = region[0],
	    .height = region[1],
	    .depth = region[2],
	    .dst_row = dst.row,
	    .dst_slice = dst.slice,
	    .src_row = src.row,
	    .src_slice = src.slice,
	};
	return copy_buffers(&desc, src_buffer, dst_buffer, &copy);
}

cl_int arax_clEnqueueFillBuffer(cl_command_queue queue, cl_mem buffer, const void *pattern,
				size_t pattern_size, size_t offset, size_t size,
				cl_uint num_events_in_wait_list, const cl_event *event_wait_list,
				cl_event *event)
{
	struct command_desc desc = COMMAND(queue, CL_COMMAND_FILL_BUFFER);
	cl_int error = command_check(&desc);

	if (!error)
		error = check_buffer(queue, buffer);
	if (!error && (offset > buffer->size || size > buffer->size - offset))
		error = CL_INVALID_VALUE;
	if (!error &&
	    (!pattern || !pattern_size || pattern_size > 128 ||
	     (pattern_size & (pattern_size - 1)) || offset % pattern_size || size % pattern_size))
		error = CL_INVALID_VALUE;
	if (error)
		return error;
	mem_sync_in(buffer);
	desc.refs[0] = &buffer->object;
	if (!size)
		return command_marker(&desc, false, false);
	struct copy box = linear(buffer->data + offset, NULL, size);
	return command_fill(&desc, &box, pattern, pattern_size);
}

/* ---- maps ----------------------------------------------------------------------------------- */

static cl_int check_map(cl_mem buffer, cl_map_flags flags)
{
	const cl_map_flags known = CL_MAP_READ | CL_MAP_WRITE | CL_MAP_WRITE_INVALIDATE_REGION;
	cl_int error = CL_SUCCESS;

	if ((flags & ~known) ||
	    ((flags & CL_MAP_WRITE_INVALIDATE_REGION) && (flags & (CL_MAP_READ | CL_MAP_WRITE))))
		return CL_INVALID_VALUE;
	if (flags & CL_MAP_READ)
		error = check_host_access(buffer, READS);
	if (!error && (flags & (CL_MAP_WRITE | CL_MAP_WRITE_INVALIDATE_REGION)))
		error = check_host_access(buffer, WRITES);
	return error;
}

/* CL_MEM_USE_HOST_PTR: the region goes to the application's memory when the map's turn comes. */
static cl_int map_command(struct command_desc *desc, cl_mem buffer, const struct mem_map *map)
{
	struct host_work work = {.run = host_work_copy};

	mem_sync_in(buffer);
	desc->refs[0] = &buffer->object;
	if (!buffer->host_ptr || buffer->host_ptr == buffer->data)
		mem_reach_map(desc, buffer, map, false);
	if ((map->flags & CL_MAP_WRITE_INVALIDATE_REGION) ||
	    !mem_map_copy(buffer, map, true, &work.copy))
		return command_marker(desc, false, false);
	command_reaches(desc, buffer, &work.copy, ARAX_ACCESS_READ);
	work.bytes = work.copy.width;
	return command_host(desc, &work);
}

void *arax_clEnqueueMapBuffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking_map,
			      cl_map_flags map_flags, size_t offset, size_t size,
			      cl_uint num_events_in_wait_list, const cl_event *event_wait_list,
			      cl_event *event, cl_int *errcode_ret)
{
	struct command_desc desc = COMMAND(queue, CL_COMMAND_MAP_BUFFER);
	const size_t origin[3] = {offset, 0, 0}, region[3] = {size, 1, 1};
	struct mem_map *map = NULL;
	void *pointer = NULL;
	cl_int error = command_check(&desc);

	desc.blocking = blocking_map;
	if (!error)
		error = check_buffer(queue, buffer);
	if (!error)
		error = check_range(buffer, offset, size);
	if (!error)
		error = check_map(buffer, map_flags);
	if (!error) {
		pointer = (buffer->host_ptr ? buffer->host_ptr : buffer->data) + offset;
		map = mem_map_add(buffer, pointer, origin, region, map_flags);
		error = map ? map_command(&desc, buffer, map) : CL_OUT_OF_HOST_MEMORY;
		if (error && map)
			mem_map_drop(buffer, map);
	}
	set_error(errcode_ret, error);
	return error ? NULL : pointer;
}

/* All of the arena is equally near to every device so far; the command keeps its place in order. */
cl_int arax_clEnqueueMigrateMemObjects(cl_command_queue queue, cl_uint num_mem_objects,
				       const cl_mem *mem_objects, cl_mem_migration_flags flags,
				       cl_uint num_events_in_wait_list,
				       const cl_event *event_wait_list, cl_event *event)
{
	const cl_mem_migration_flags known =
	    CL_MIGRATE_MEM_OBJECT_HOST | CL_MIGRATE_MEM_OBJECT_CONTENT_UNDEFINED;
	struct command_desc desc = COMMAND(queue, CL_COMMAND_MIGRATE_MEM_OBJECTS);
	cl_int error = command_check(&desc);

	if (error)
		return error;
	if (!num_mem_objects || !mem_objects || (flags & ~known))
		return CL_INVALID_VALUE;
	for (cl_uint i = 0; i < num_mem_objects; i++) {
		if (!object_is(mem_objects[i], OBJECT_MEM))
			return CL_INVALID_MEM_OBJECT;
		if (mem_objects[i]->context != queue->context)
			return CL_INVALID_CONTEXT;
	}
	return command_marker(&desc, false, false);
}
