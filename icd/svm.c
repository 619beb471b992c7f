/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared virtual memory. The arena lies at the same address in the client and in its tenant, so an
 * SVM allocation is simply a range of the arena, fine-grained by nature: maps are places in the
 * order of commands and nothing more.
 */
#include "icd/icd.h"

#include <stdlib.h>

#define ALIGN_MAX 128 /* of the largest type, long16 */

static bool svm_supported(void)
{
	return the_device.info.svm != 0;
}

/* Whether a range lies in one allocation of the arena. */
static bool in_arena(cl_command_queue queue, const void *pointer, size_t size)
{
	void *start;
	size_t length = connection_allocated(queue->context->conn, pointer, &start);
	size_t offset;

	if (!length)
		return false;
	offset = (size_t)((const char *)pointer - (const char *)start);
	return offset <= length && size <= length - offset;
}

/* ---- allocation ----------------------------------------------------------------------------- */

static bool flags_valid(cl_svm_mem_flags flags)
{
	const cl_svm_mem_flags access = CL_MEM_READ_WRITE | CL_MEM_WRITE_ONLY | CL_MEM_READ_ONLY;
	cl_svm_mem_flags given = flags & access;

	if (flags & ~(access | CL_MEM_SVM_FINE_GRAIN_BUFFER | CL_MEM_SVM_ATOMICS) ||
	    given & (given - 1))
		return false;
	if (flags & CL_MEM_SVM_ATOMICS && (!(flags & CL_MEM_SVM_FINE_GRAIN_BUFFER) ||
					   !(the_device.info.svm & CL_DEVICE_SVM_ATOMICS)))
		return false;
	return !(flags & CL_MEM_SVM_FINE_GRAIN_BUFFER) ||
	       the_device.info.svm & CL_DEVICE_SVM_FINE_GRAIN_BUFFER;
}

void *arax_clSVMAlloc(cl_context context, cl_svm_mem_flags flags, size_t size,
		      unsigned int alignment)
{
	if (!object_is(context, OBJECT_CONTEXT) || !svm_supported() || !flags_valid(flags) ||
	    !size || size > the_device.info.max_alloc_size || alignment & (alignment - 1) ||
	    alignment > ALIGN_MAX)
		return NULL;
	/* never less than 0's default: it costs nothing, the heap is coarser than that */
	return connection_alloc(context->conn, size, ALIGN_MAX);
}

static void svm_free(cl_context context, void *pointer)
{
	void *start;

	/* a pointer that is no allocation is the application's fault; the heap must survive it */
	if (pointer && connection_allocated(context->conn, pointer, &start) && start == pointer)
		connection_release(context->conn, pointer);
}

void arax_clSVMFree(cl_context context, void *svm_pointer)
{
	if (object_is(context, OBJECT_CONTEXT))
		svm_free(context, svm_pointer);
}

/* ---- clEnqueueSVMFree ----------------------------------------------------------------------- */

typedef void(CL_CALLBACK *svm_free_callback)(cl_command_queue queue, cl_uint num_svm_pointers,
					     void *svm_pointers[], void *user_data);
struct free_work {
	cl_command_queue queue; /* the command holds a use */
	svm_free_callback callback;
	void *arg;
	cl_uint count;
	void *pointers[];
};

static cl_int free_run(const struct host_work *work)
{
	struct free_work *f = work->arg;

	if (f->callback) {
		f->callback(f->queue, f->count, f->pointers, f->arg);
		return CL_SUCCESS;
	}
	for (cl_uint i = 0; i < f->count; i++)
		svm_free(f->queue->context, f->pointers[i]);
	return CL_SUCCESS;
}

/* Nothing that an application frees may be in use: the whole arena is reached. */
static const cl_mem no_object;

static void free_release(const struct host_work *work)
{
	free(work->arg);
}

cl_int arax_clEnqueueSVMFree(
    cl_command_queue command_queue, cl_uint num_svm_pointers, void *svm_pointers[],
    void(CL_CALLBACK *pfn_free_func)(cl_command_queue, cl_uint, void *[], void *), void *user_data,
    cl_uint num_events_in_wait_list, const cl_event *event_wait_list, cl_event *event)
{
	struct command_desc desc = COMMAND(command_queue, CL_COMMAND_SVM_FREE);
	/* a callback runs where no lock is held: not in this call */
	struct host_work work = {
	    .run = free_run, .release = free_release, .deferred = pfn_free_func != NULL};
	struct free_work *f;
	cl_int err = command_check(&desc);

	if (err)
		return err;
	if (!svm_supported())
		return CL_INVALID_OPERATION;
	if ((num_svm_pointers != 0) != (svm_pointers != NULL))
		return CL_INVALID_VALUE;
	f = malloc(sizeof(*f) + num_svm_pointers * sizeof(f->pointers[0]));
	if (!f)
		return CL_OUT_OF_HOST_MEMORY;
	f->queue = command_queue;
	f->callback = pfn_free_func;
	f->arg = user_data;
	f->count = num_svm_pointers;
	if (num_svm_pointers)
		memcpy(f->pointers, svm_pointers, num_svm_pointers * sizeof(f->pointers[0]));
	work.arg = f;
	desc.reached = &no_object;
	return command_host(&desc, &work);
}

/* ---- copies and fills ----------------------------------------------------------------------- */

static struct copy linear(void *dst, const void *src, size_t size)
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

static bool ranges_overlap(const void *a, const void *b, size_t size)
{
	uintptr_t x = (uintptr_t)a, y = (uintptr_t)b;

	return x < y ? y - x < size : x - y < size;
}

cl_int arax_clEnqueueSVMMemcpy(cl_command_queue command_queue, cl_bool blocking_copy, void *dst_ptr,
			       const void *src_ptr, size_t size, cl_uint num_events_in_wait_list,
			       const cl_event *event_wait_list, cl_event *event)
{
	struct command_desc desc = COMMAND(command_queue, CL_COMMAND_SVM_MEMCPY);
	struct host_work work = {.run = host_work_copy, .bytes = size};
	cl_int err = command_check(&desc);

	if (err)
		return err;
	if (!svm_supported())
		return CL_INVALID_OPERATION;
	if (!dst_ptr || !src_ptr)
		return CL_INVALID_VALUE;
	if (ranges_overlap(dst_ptr, src_ptr, size))
		return CL_MEM_COPY_OVERLAP;
	desc.blocking = blocking_copy;
	if (!size)
		return command_marker(&desc, false, false);
	work.copy = linear(dst_ptr, src_ptr, size);
	if (in_arena(command_queue, dst_ptr, size) && in_arena(command_queue, src_ptr, size))
		return command_copy(&desc, &work.copy);
	if (in_arena(command_queue, dst_ptr, size))
		command_reaches(&desc, NULL, &work.copy, ARAX_ACCESS_WRITE);
	else if (in_arena(command_queue, src_ptr, size))
		command_reaches(&desc, NULL, &work.copy, ARAX_ACCESS_READ);
	return command_host(&desc, &work);
}

cl_int arax_clEnqueueSVMMemFill(cl_command_queue command_queue, void *svm_ptr, const void *pattern,
				size_t pattern_size, size_t size, cl_uint num_events_in_wait_list,
				const cl_event *event_wait_list, cl_event *event)
{
	struct command_desc desc = COMMAND(command_queue, CL_COMMAND_SVM_MEMFILL);
	struct copy box = linear(svm_ptr, NULL, size);
	cl_int err = command_check(&desc);

	if (err)
		return err;
	if (!svm_supported())
		return CL_INVALID_OPERATION;
	if (!svm_ptr || !pattern || !pattern_size || pattern_size > ALIGN_MAX ||
	    pattern_size & (pattern_size - 1) || (uintptr_t)svm_ptr % pattern_size ||
	    size % pattern_size)
		return CL_INVALID_VALUE;
	if (!size)
		return command_marker(&desc, false, false);
	if (!in_arena(command_queue, svm_ptr, size))
		return CL_INVALID_VALUE; /* no fine-grained system memory here */
	return command_fill(&desc, &box, pattern, pattern_size);
}

/* ---- maps and migrations: order only -------------------------------------------------------- */

cl_int arax_clEnqueueSVMMap(cl_command_queue command_queue, cl_bool blocking_map,
			    cl_map_flags flags, void *svm_ptr, size_t size,
			    cl_uint num_events_in_wait_list, const cl_event *event_wait_list,
			    cl_event *event)
{
	const cl_map_flags known = CL_MAP_READ | CL_MAP_WRITE | CL_MAP_WRITE_INVALIDATE_REGION;
	struct command_desc desc = COMMAND(command_queue, CL_COMMAND_SVM_MAP);
	cl_int err = command_check(&desc);

	if (err)
		return err;
	if (!svm_supported())
		return CL_INVALID_OPERATION;
	if (!svm_ptr || !size || flags & ~known ||
	    (flags & CL_MAP_WRITE_INVALIDATE_REGION && flags & (CL_MAP_READ | CL_MAP_WRITE)))
		return CL_INVALID_VALUE;
	desc.blocking = blocking_map;
	return command_marker(&desc, false, false);
}

cl_int arax_clEnqueueSVMUnmap(cl_command_queue command_queue, void *svm_ptr,
			      cl_uint num_events_in_wait_list, const cl_event *event_wait_list,
			      cl_event *event)
{
	struct command_desc desc = COMMAND(command_queue, CL_COMMAND_SVM_UNMAP);
	cl_int err = command_check(&desc);

	if (err)
		return err;
	if (!svm_supported())
		return CL_INVALID_OPERATION;
	return svm_ptr ? command_marker(&desc, false, false) : CL_INVALID_VALUE;
}

cl_int arax_clEnqueueSVMMigrateMem(cl_command_queue command_queue, cl_uint num_svm_pointers,
				   const void **svm_pointers, const size_t *sizes,
				   cl_mem_migration_flags flags, cl_uint num_events_in_wait_list,
				   const cl_event *event_wait_list, cl_event *event)
{
	const cl_mem_migration_flags known =
	    CL_MIGRATE_MEM_OBJECT_HOST | CL_MIGRATE_MEM_OBJECT_CONTENT_UNDEFINED;
	struct command_desc desc = COMMAND(command_queue, CL_COMMAND_SVM_MIGRATE_MEM);
	cl_int err = command_check(&desc);

	if (err)
		return err;
	if (!svm_supported())
		return CL_INVALID_OPERATION;
	if (!num_svm_pointers || !svm_pointers || flags & ~known)
		return CL_INVALID_VALUE;
	for (cl_uint i = 0; i < num_svm_pointers; i++) {
		if (!in_arena(command_queue, svm_pointers[i], sizes ? sizes[i] : 0))
			return CL_INVALID_VALUE;
	}
	return command_marker(&desc, false, false);
}
