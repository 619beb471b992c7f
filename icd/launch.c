/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernel launches and native kernels (OpenCL 3.0 sections 5.10 and 5.11). A launch carries the
 * values of all arguments, so the kernel object may be changed or released as soon as the enqueue
 * returns.
 */
#include "icd/command.h"

#include <stdlib.h>

/* ---- checks of the index space -------------------------------------------------------------- */

struct range {
	cl_uint dim;
	uint64_t offset[3], global[3], local[3];
	bool empty; /* a global size of zero: an event and nothing else (section 5.10) */
};

static cl_int check_local(const struct arax_kernel_info *info, const size_t *local,
			  struct range *range)
{
	const struct arax_device_info *device = &the_device.info;
	const uint64_t *required = info->required_group;
	uint64_t product = 1;

	if (!local) {
		if (!required[0])
			return CL_SUCCESS;
		for (cl_uint i = 0; i < range->dim; i++)
			range->local[i] = required[i];
	} else {
		for (cl_uint i = 0; i < range->dim; i++) {
			if (!local[i])
				return CL_INVALID_WORK_GROUP_SIZE;
			if (local[i] > device->max_work_item_sizes[i])
				return CL_INVALID_WORK_ITEM_SIZE;
			range->local[i] = local[i];
		}
	}
	for (cl_uint i = 0; i < 3; i++) {
		uint64_t size = i < range->dim ? range->local[i] : 1;

		if (required[0] && size != required[i])
			return CL_INVALID_WORK_GROUP_SIZE;
		product *= size;
	}
	uint64_t most = info->group_size && info->group_size < device->max_group_size
			    ? info->group_size
			    : device->max_group_size;
	if (product > most)
		return CL_INVALID_WORK_GROUP_SIZE;
	for (cl_uint i = 0; i < range->dim; i++) {
		if (range->global[i] % range->local[i] && !device->nonuniform_groups)
			return CL_INVALID_WORK_GROUP_SIZE;
	}
	return CL_SUCCESS;
}

static cl_int check_range(const struct arax_kernel_info *info, cl_uint dim, const size_t *offset,
			  const size_t *global, const size_t *local, struct range *range)
{
	if (dim < 1 || dim > 3)
		return CL_INVALID_WORK_DIMENSION;
	*range = (struct range){.dim = dim, .global = {1, 1, 1}, .local = {1, 1, 1}};
	for (cl_uint i = 0; i < dim; i++) {
		uint64_t end;

		range->global[i] = global ? global[i] : 0;
		range->offset[i] = offset ? offset[i] : 0;
		range->empty |= !range->global[i];
		if (__builtin_add_overflow(range->offset[i], range->global[i], &end))
			return CL_INVALID_GLOBAL_OFFSET;
	}
	if (!local && !info->required_group[0])
		range->local[0] = range->local[1] = range->local[2] = 0;
	return check_local(info, local, range);
}

/* ---- arguments ------------------------------------------------------------------------------ */

/* What a launch takes out of the kernel object; small ones live on the stack. */
struct snapshot {
	unsigned char *tail;
	size_t tail_size;
	cl_mem *mems;
	size_t nmems;
	struct object **refs; /* samplers and the kernel */
	size_t nrefs;
	bool indirect;
	unsigned char tail_small[1024] __attribute__((aligned(8)));
	cl_mem mems_small[24];
	struct object *refs_small[12];
};

static void snapshot_free(struct snapshot *s)
{
	if (s->tail != s->tail_small)
		free(s->tail);
	if (s->mems != s->mems_small)
		free(s->mems);
	if (s->refs != s->refs_small)
		free(s->refs);
}

static size_t padded(uint64_t size)
{
	return (size + 7) & ~(size_t)7;
}

static size_t arg_bytes(const struct kernel_arg *arg)
{
	return arg->kind == ARAX_ARG_VALUE || arg->kind == ARAX_ARG_SVM ? padded(arg->size) : 0;
}

/* Room for the largest that this kernel can need. Kernel's lock held. */
static bool snapshot_room(struct snapshot *s, cl_kernel kernel)
{
	uint32_t n = kernel->info->nargs;
	size_t size = 0;

	for (uint32_t i = 0; i < n; i++)
		size += sizeof(struct arax_arg) + arg_bytes(&kernel->args[i]);
	s->tail = size <= sizeof(s->tail_small) ? s->tail_small : malloc(size);
	s->mems = n <= 24 ? s->mems_small : malloc(n * sizeof(*s->mems));
	s->refs = n + 1 <= 12 ? s->refs_small : malloc((n + 1) * sizeof(*s->refs));
	s->tail_size = size;
	return s->tail && s->mems && s->refs;
}

static cl_int snapshot_arg(struct snapshot *s, const struct kernel_arg *arg, unsigned char **at)
{
	struct arax_arg *out = (struct arax_arg *)*at;
	const void *value = arg->size <= sizeof(arg->bytes) ? arg->bytes : arg->large;

	*out = (struct arax_arg){.kind = arg->kind, .size = arg->size};
	*at += sizeof(*out);
	switch (arg->kind) {
	case ARAX_ARG_MEM:
		if (!arg->mem)
			break;
		if (!object_is(arg->mem, OBJECT_MEM))
			return CL_INVALID_KERNEL_ARGS;
		out->object = arg->mem->handle;
		s->mems[s->nmems++] = arg->mem;
		break;
	case ARAX_ARG_SAMPLER:
		if (!object_is(arg->sampler, OBJECT_SAMPLER))
			return CL_INVALID_KERNEL_ARGS;
		out->object = arg->sampler->handle;
		s->refs[s->nrefs++] = &arg->sampler->object;
		break;
	case ARAX_ARG_SVM:
		s->indirect = true;
		/* fall through */
	case ARAX_ARG_VALUE:
		memcpy(*at, value, arg->size);
		memset(*at + arg->size, 0, padded(arg->size) - arg->size);
		*at += padded(arg->size);
		break;
	}
	return CL_SUCCESS;
}

static cl_int snapshot_take(struct snapshot *s, cl_kernel kernel)
{
	unsigned char *at;
	cl_int error = CL_SUCCESS;

	s->nmems = s->nrefs = 0;
	s->indirect = false;
	spin_lock(&kernel->lock);
	for (uint32_t i = 0; !error && i < kernel->info->nargs; i++) {
		if (!kernel->args[i].set)
			error = CL_INVALID_KERNEL_ARGS;
	}
	s->tail = s->tail_small;
	s->mems = s->mems_small;
	s->refs = s->refs_small;
	if (!error && !snapshot_room(s, kernel))
		error = CL_OUT_OF_HOST_MEMORY;
	at = s->tail;
	for (uint32_t i = 0; !error && i < kernel->info->nargs; i++)
		error = snapshot_arg(s, &kernel->args[i], &at);
	s->indirect |= kernel->nsvm_pointers != 0;
	spin_unlock(&kernel->lock);
	if (!error)
		s->refs[s->nrefs++] = &kernel->object;
	return error;
}

/* ---- printf --------------------------------------------------------------------------------- */

struct print_range {
	struct connection *conn;
	char *data;
	size_t size;
};

static void print_release(const struct host_work *work)
{
	struct print_range *range = work->arg;

	connection_release(range->conn, range->data);
	free(range);
}

static struct print_range *print_new(struct connection *conn)
{
	struct print_range *range = malloc(sizeof(*range));

	if (!range)
		return NULL;
	range->conn = conn;
	range->size = the_device.info.printf_buffer;
	range->data = connection_alloc(conn, range->size, 4096);
	if (!range->data) {
		free(range);
		return NULL;
	}
	return range;
}

/* ---- the launch ----------------------------------------------------------------------------- */

static cl_int launch(const struct command_desc *desc, cl_kernel kernel, const struct range *range,
		     const struct snapshot *snapshot)
{
	struct connection *conn = desc->queue->context->conn;
	struct arax_op_launch op = {
	    .head = {.size = sizeof(op), .op = ARAX_OP_LAUNCH},
	    .kernel = kernel->handle,
	    .work_dim = range->dim,
	    .nargs = kernel->info->nargs,
	    .flags = snapshot->indirect ? ARAX_LAUNCH_INDIRECT : 0,
	    .offset0 = range->offset[0],
	    .offset1 = range->offset[1],
	    .offset2 = range->offset[2],
	    .global0 = range->global[0],
	    .global1 = range->global[1],
	    .global2 = range->global[2],
	    .local0 = range->local[0],
	    .local1 = range->local[1],
	    .local2 = range->local[2],
	};
	struct submission s = {
	    .desc = desc,
	    .record = &op.head,
	    .tail = snapshot->tail,
	    .tail_size = snapshot->tail_size,
	    .mems = snapshot->mems,
	    .nmems = snapshot->nmems,
	    .refs = snapshot->refs,
	    .nrefs = snapshot->nrefs,
	};
	struct print_range *print = kernel->printf ? print_new(conn) : NULL;
	cl_event event = NULL;
	cl_int error = CL_SUCCESS;

	if (kernel->printf && !print)
		return CL_OUT_OF_RESOURCES;
	if (print) {
		op.flags |= ARAX_LAUNCH_PRINTF;
		op.print_off = (uint64_t)(print->data - conn->base);
		op.print_len = print->size;
		s.print = print->data;
		s.print_size = print->size;
		s.print_release = print_release;
		s.print_arg = print;
	}
	if (desc->event) {
		event = event_new(desc->queue->context, desc->queue, desc->type);
		if (!event)
			error = CL_OUT_OF_HOST_MEMORY;
	}
	pthread_mutex_lock(&desc->queue->lock);
	if (!error)
		error = submit(&s, event, NULL);
	if (error && print)
		print_release(&(struct host_work){.arg = print});
	return finish_enqueue(desc, error, event, NULL);
}

static cl_int enqueue_kernel(struct command_desc *desc, cl_kernel kernel, cl_uint dim,
			     const size_t *offset, const size_t *global, const size_t *local)
{
	struct snapshot snapshot;
	struct range range;
	cl_int error = command_check(desc);

	if (error)
		return error;
	if (!object_is(kernel, OBJECT_KERNEL))
		return CL_INVALID_KERNEL;
	if (kernel->context != desc->queue->context)
		return CL_INVALID_CONTEXT;
	error = snapshot_take(&snapshot, kernel);
	if (!error)
		error = check_range(kernel->info, dim, offset, global, local, &range);
	for (size_t i = 0; !error && i < snapshot.nmems; i++)
		mem_sync_in(snapshot.mems[i]);
	if (!error && range.empty)
		error = command_marker(desc, false, false);
	else if (!error)
		error = launch(desc, kernel, &range, &snapshot);
	snapshot_free(&snapshot);
	return error;
}

cl_int arax_clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint work_dim,
				   const size_t *global_work_offset, const size_t *global_work_size,
				   const size_t *local_work_size, cl_uint num_events_in_wait_list,
				   const cl_event *event_wait_list, cl_event *event)
{
	struct command_desc desc = COMMAND(queue, CL_COMMAND_NDRANGE_KERNEL);

	return enqueue_kernel(&desc, kernel, work_dim, global_work_offset, global_work_size,
			      local_work_size);
}

cl_int arax_clEnqueueTask(cl_command_queue queue, cl_kernel kernel, cl_uint num_events_in_wait_list,
			  const cl_event *event_wait_list, cl_event *event)
{
	struct command_desc desc = COMMAND(queue, CL_COMMAND_TASK);
	const size_t one = 1;

	return enqueue_kernel(&desc, kernel, 1, NULL, &one, &one);
}

/* ---- native kernels ------------------------------------------------------------------------- */

struct native {
	void(CL_CALLBACK *function)(void *);
	cl_uint nmems;
	cl_mem *mems;
	void *args;
};

static void native_release(const struct host_work *work)
{
	struct native *native = work->arg;

	for (cl_uint i = 0; i < native->nmems; i++) {
		if (native->mems[i])
			object_unuse(&native->mems[i]->object);
	}
	free(native->mems);
	free(native->args);
	free(native);
}

static cl_int native_run(const struct host_work *work)
{
	struct native *native = work->arg;

	native->function(native->args);
	return CL_SUCCESS;
}

/* A copy of the arguments with every memory object replaced by its address (section 5.11). */
static cl_int native_new(void(CL_CALLBACK *function)(void *), const void *args, size_t cb_args,
			 cl_uint nmems, const cl_mem *mems, const void **locations,
			 struct native **result)
{
	struct native *native = calloc(1, sizeof(*native));

	if (!native)
		return CL_OUT_OF_HOST_MEMORY;
	native->function = function;
	native->args = cb_args ? malloc(cb_args) : NULL;
	native->mems = nmems ? calloc(nmems, sizeof(*mems)) : NULL;
	if ((cb_args && !native->args) || (nmems && !native->mems)) {
		native_release(&(struct host_work){.arg = native});
		return CL_OUT_OF_HOST_MEMORY;
	}
	if (cb_args)
		memcpy(native->args, args, cb_args);
	for (cl_uint i = 0; i < nmems; i++) {
		size_t offset = (size_t)((const char *)locations[i] - (const char *)args);
		void *address = mems[i] ? mems[i]->data : NULL;

		if (mems[i])
			object_use(&mems[i]->object);
		native->mems[native->nmems++] = mems[i];
		memcpy((char *)native->args + offset, &address, sizeof(address));
	}
	*result = native;
	return CL_SUCCESS;
}

static cl_int native_check(cl_command_queue queue, void(CL_CALLBACK *function)(void *),
			   const void *args, size_t cb_args, cl_uint nmems, const cl_mem *mems,
			   const void **locations)
{
	if (!function || (!args && (cb_args || nmems)) || (args && !cb_args) ||
	    (nmems && (!mems || !locations)) || (!nmems && (mems || locations)))
		return CL_INVALID_VALUE;
	for (cl_uint i = 0; i < nmems; i++) {
		const char *at = locations[i];

		if (mems[i] &&
		    (!object_is(mems[i], OBJECT_MEM) || mems[i]->context != queue->context))
			return CL_INVALID_MEM_OBJECT;
		if (at < (const char *)args || at + sizeof(void *) > (const char *)args + cb_args)
			return CL_INVALID_VALUE;
	}
	return CL_SUCCESS;
}

cl_int arax_clEnqueueNativeKernel(cl_command_queue queue, void(CL_CALLBACK *user_func)(void *),
				  void *args, size_t cb_args, cl_uint num_mem_objects,
				  const cl_mem *mem_list, const void **args_mem_loc,
				  cl_uint num_events_in_wait_list, const cl_event *event_wait_list,
				  cl_event *event)
{
	static const cl_mem none;
	struct command_desc desc = COMMAND(queue, CL_COMMAND_NATIVE_KERNEL);
	struct native *native = NULL;
	cl_int error = command_check(&desc);

	if (!error)
		error = native_check(queue, user_func, args, cb_args, num_mem_objects, mem_list,
				     args_mem_loc);
	for (cl_uint i = 0; !error && i < num_mem_objects; i++) {
		if (mem_list[i])
			mem_sync_in(mem_list[i]);
	}
	if (!error)
		error = native_new(user_func, args, cb_args, num_mem_objects, mem_list,
				   args_mem_loc, &native);
	if (error)
		return error;
	struct host_work work = {
	    .run = native_run, .release = native_release, .deferred = true, .arg = native};
	desc.reached = native->mems ? native->mems : &none;
	desc.nreached = native->nmems;
	return command_host(&desc, &work);
}
