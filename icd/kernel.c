/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernel objects and their arguments. A kernel keeps what it needs to know of its program (its own
 * small result), so it outlives a rebuild; arguments stay here until a launch takes them along.
 *
 * program->kernels counts the kernels that the application holds, not those that only commands in
 * flight still use: a program may be rebuilt as soon as its last kernel was released.
 */
#include "icd/icd.h"

#include <stdlib.h>

/* ---- life ----------------------------------------------------------------------------------- */

/* The value of arguments above this size is malloc-ed. */
#define INLINE_SIZE sizeof(((struct kernel_arg *)0)->bytes)

static bool arg_is_large(const struct kernel_arg *arg)
{
	return arg->class == KERNEL_ARG_VALUE && arg->set && arg->size > INLINE_SIZE;
}

static void kernel_detach(cl_kernel kernel)
{
	if (atomic_exchange(&kernel->attached, false))
		atomic_fetch_sub(&kernel->program->kernels, 1);
}

static void kernel_destroy(struct object *object)
{
	cl_kernel kernel = (cl_kernel)object;

	connection_drop(kernel->context->conn, ARAX_OP_KERNEL_DROP, kernel->handle);
	for (uint32_t i = 0; kernel->args && i < kernel->info->nargs; i++) {
		if (arg_is_large(&kernel->args[i]))
			free(kernel->args[i].large);
	}
	free(kernel->args);
	free(kernel->svm_pointers);
	arax_result_free(kernel->result);
	free(kernel->result_bytes);
	kernel_detach(kernel);
	object_unuse(&kernel->program->object);
	free(kernel);
}

static cl_mem_object_type image_type(const char *name)
{
	static const struct {
		const char *prefix;
		cl_mem_object_type type;
	} types[] = {
	    /* longer ones first */
	    {"image1d_array", CL_MEM_OBJECT_IMAGE1D_ARRAY},
	    {"image1d_buffer", CL_MEM_OBJECT_IMAGE1D_BUFFER},
	    {"image1d", CL_MEM_OBJECT_IMAGE1D},
	    {"image2d_array", CL_MEM_OBJECT_IMAGE2D_ARRAY},
	    {"image2d", CL_MEM_OBJECT_IMAGE2D},
	    {"image3d", CL_MEM_OBJECT_IMAGE3D},
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (!strncmp(name, types[i].prefix, strlen(types[i].prefix)))
			return types[i].type;
	}
	return 0;
}

static void arg_classify(struct kernel_arg *arg, const struct arax_arg_info *info)
{
	arg->image = image_type(info->type_name);
	if (info->address == CL_KERNEL_ARG_ADDRESS_LOCAL)
		arg->class = KERNEL_ARG_LOCAL;
	else if (info->access != CL_KERNEL_ARG_ACCESS_NONE || arg->image)
		arg->class = KERNEL_ARG_IMAGE;
	else if (!strcmp(info->type_name, "sampler_t"))
		arg->class = KERNEL_ARG_SAMPLER;
	else if (info->address != CL_KERNEL_ARG_ADDRESS_PRIVATE)
		arg->class = KERNEL_ARG_POINTER;
	else
		arg->class = KERNEL_ARG_VALUE;
}

/* Copies what the kernel must know: a result with this one kernel and no binary. */
static bool kernel_describe(cl_kernel kernel, const struct arax_result *from,
			    const struct arax_kernel_info *info)
{
	const struct arax_result one = {
	    .binary_type = from->binary_type,
	    .flags = from->flags,
	    .nkernels = 1,
	    .kernels = (struct arax_kernel_info *)info,
	};
	struct arax_writer w = {0};

	arax_result_write(&w, &one);
	kernel->result_bytes = w.data;
	kernel->result = w.failed ? NULL : arax_result_parse(w.data, w.size);
	if (!kernel->result)
		return false;
	kernel->info = kernel->result->kernels;
	kernel->printf = from->flags & ARAX_RESULT_PRINTF;
	kernel->args = calloc(kernel->info->nargs + 1, sizeof(*kernel->args));
	for (uint32_t i = 0; kernel->args && i < kernel->info->nargs; i++)
		arg_classify(&kernel->args[i], &kernel->info->args[i]);
	return kernel->args;
}

/* Gives it a handle and tells the tenant, which has the program. */
static cl_int kernel_announce(cl_kernel kernel)
{
	struct connection *conn = kernel->context->conn;
	size_t length = strlen(kernel->info->name);
	struct {
		struct arax_op_kernel_define op;
		char name[4096];
	} record;

	if (length > sizeof(record.name) || kernel->info->nargs > 1024)
		return CL_OUT_OF_RESOURCES;
	kernel->handle = connection_handle(conn, ARAX_HANDLE_KERNEL);
	if (!kernel->handle)
		return CL_OUT_OF_RESOURCES;
	record.op = (struct arax_op_kernel_define){
	    .head = {.size = (uint32_t)(sizeof(record.op) + ((length + 7) & ~(size_t)7)),
		     .op = ARAX_OP_KERNEL_DEFINE,
		     .slot = ARAX_NO_SLOT,
		     .tail_size = (uint32_t)length},
	    .kernel = kernel->handle,
	    .program = kernel->program->handle,
	    .nargs = kernel->info->nargs,
	};
	memset(record.name + (length & ~(size_t)7), 0, length % 8 ? 8 : 0);
	memcpy(record.name, kernel->info->name, length);
	return connection_define(conn, &record.op.head) ? CL_OUT_OF_RESOURCES : CL_SUCCESS;
}

/*
 * A kernel of a program to which the caller has attached already, so that its handle stays; info is
 * one of the kernels of from.
 */
static cl_kernel kernel_new(cl_program program, const struct arax_result *from,
			    const struct arax_kernel_info *info, cl_int *error)
{
	cl_kernel kernel = calloc(1, sizeof(*kernel));

	if (!kernel) {
		*error = CL_OUT_OF_HOST_MEMORY;
		return NULL;
	}
	object_init(&kernel->object, OBJECT_KERNEL, kernel_destroy);
	kernel->context = program->context;
	kernel->program = program;
	object_use(&program->object);
	atomic_fetch_add(&program->kernels, 1);
	kernel->attached = true;
	*error =
	    kernel_describe(kernel, from, info) ? kernel_announce(kernel) : CL_OUT_OF_HOST_MEMORY;
	if (*error) {
		object_release(&kernel->object);
		return NULL;
	}
	return kernel;
}

/* Keeps builds away from the program, and makes the tenant load it. */
static cl_int program_attach(cl_program program)
{
	bool executable;
	cl_int error;

	pthread_mutex_lock(&program->lock);
	executable = program_executable(program);
	if (executable)
		atomic_fetch_add(&program->kernels, 1);
	pthread_mutex_unlock(&program->lock);
	if (!executable)
		return CL_INVALID_PROGRAM_EXECUTABLE;
	error = connection_alive(program->context->conn) ? program_announce(program)
							 : CL_OUT_OF_RESOURCES;
	if (error)
		atomic_fetch_sub(&program->kernels, 1);
	return error;
}

static void program_detach(cl_program program)
{
	atomic_fetch_sub(&program->kernels, 1);
}

static bool program_has_kernel(cl_program program, const char *name)
{
	bool found = false;

	pthread_mutex_lock(&program->lock);
	const struct arax_result *result = program_executable(program) ? program->result : NULL;
	/* without an executable program_attach() tells the error */
	found = !result;
	for (uint32_t i = 0; result && !found && i < result->nkernels; i++)
		found = !strcmp(result->kernels[i].name, name);
	pthread_mutex_unlock(&program->lock);
	return found;
}

cl_kernel arax_clCreateKernel(cl_program program, const char *kernel_name, cl_int *errcode_ret)
{
	cl_kernel kernel = NULL;
	cl_int error;

	if (!object_is(program, OBJECT_PROGRAM))
		error = CL_INVALID_PROGRAM;
	else if (!kernel_name)
		error = CL_INVALID_VALUE;
	else if (!program_has_kernel(program, kernel_name)) /* asked first: loading is dear */
		error = CL_INVALID_KERNEL_NAME;
	else
		error = program_attach(program);
	if (error) {
		set_error(errcode_ret, error);
		return NULL;
	}
	error = CL_INVALID_KERNEL_NAME;
	for (uint32_t i = 0; i < program->result->nkernels; i++) {
		const struct arax_kernel_info *info = &program->result->kernels[i];

		if (strcmp(info->name, kernel_name))
			continue;
		kernel = kernel_new(program, program->result, info, &error);
		break;
	}
	program_detach(program);
	set_error(errcode_ret, error);
	return kernel;
}

cl_int arax_clCreateKernelsInProgram(cl_program program, cl_uint num_kernels, cl_kernel *kernels,
				     cl_uint *num_kernels_ret)
{
	cl_int error;
	cl_uint count;

	if (!object_is(program, OBJECT_PROGRAM))
		return CL_INVALID_PROGRAM;
	error = program_attach(program);
	if (error)
		return error;
	count = program->result->nkernels;
	if (kernels && num_kernels < count)
		error = CL_INVALID_VALUE;
	for (cl_uint i = 0; kernels && !error && i < count; i++) {
		kernels[i] =
		    kernel_new(program, program->result, &program->result->kernels[i], &error);
		for (cl_uint made = i; error && made > 0;)
			object_release(&kernels[--made]->object);
	}
	program_detach(program);
	if (!error && num_kernels_ret)
		*num_kernels_ret = count;
	return error;
}

cl_int arax_clRetainKernel(cl_kernel kernel)
{
	if (!object_is(kernel, OBJECT_KERNEL))
		return CL_INVALID_KERNEL;
	object_retain(&kernel->object);
	return CL_SUCCESS;
}

cl_int arax_clReleaseKernel(cl_kernel kernel)
{
	if (!object_is(kernel, OBJECT_KERNEL))
		return CL_INVALID_KERNEL;
	object_use(&kernel->object);
	object_release(&kernel->object);
	if (!atomic_load(&kernel->object.refs))
		kernel_detach(kernel);
	object_unuse(&kernel->object);
	return CL_SUCCESS;
}

/* ---- arguments ------------------------------------------------------------------------------ */

/* Where a value of that size goes, or NULL without memory; lock held. */
static void *value_room(struct kernel_arg *arg, size_t size)
{
	void *large = NULL;

	if (arg->set && arg->size == size)
		return size > INLINE_SIZE ? arg->large : arg->bytes;
	if (size > INLINE_SIZE) {
		large = malloc(size);
		if (!large)
			return NULL;
	}
	if (arg_is_large(arg))
		free(arg->large);
	if (large)
		arg->large = large;
	arg->kind = ARAX_ARG_VALUE;
	arg->size = size;
	arg->set = true;
	return large ? large : arg->bytes;
}

/* Nearly all values have one of two sizes, and the compiler makes those one move. */
static void value_copy(void *to, const void *from, size_t size)
{
	if (size == 4)
		memcpy(to, from, 4);
	else if (size == 8)
		memcpy(to, from, 8);
	else
		memcpy(to, from, size);
}

/* expected 0: the compiler could not tell (values above its limit). */
static cl_int arg_set_value(cl_kernel kernel, struct kernel_arg *arg, size_t expected, size_t size,
			    const void *value)
{
	void *room;

	if (!size || (expected && size != expected))
		return CL_INVALID_ARG_SIZE;
	if (!value)
		return CL_INVALID_ARG_VALUE;
	spin_lock(&kernel->lock);
	room = value_room(arg, size);
	if (room)
		value_copy(room, value, size);
	spin_unlock(&kernel->lock);
	return room ? CL_SUCCESS : CL_OUT_OF_HOST_MEMORY;
}

static cl_int arg_set_local(cl_kernel kernel, struct kernel_arg *arg, size_t size,
			    const void *value)
{
	if (!size)
		return CL_INVALID_ARG_SIZE;
	if (value)
		return CL_INVALID_ARG_VALUE;
	spin_lock(&kernel->lock);
	arg->kind = ARAX_ARG_LOCAL;
	arg->size = size;
	arg->set = true;
	spin_unlock(&kernel->lock);
	return CL_SUCCESS;
}

static cl_int arg_put_mem(cl_kernel kernel, struct kernel_arg *arg, cl_mem mem)
{
	spin_lock(&kernel->lock);
	arg->kind = ARAX_ARG_MEM;
	arg->size = sizeof(mem);
	arg->mem = mem;
	arg->set = true;
	spin_unlock(&kernel->lock);
	return CL_SUCCESS;
}

static bool mem_valid(cl_kernel kernel, cl_mem mem)
{
	return object_is(mem, OBJECT_MEM) && mem->context == kernel->context;
}

/* value may be NULL or point to NULL: the kernel sees a null pointer. */
static cl_int arg_set_pointer(cl_kernel kernel, struct kernel_arg *arg, size_t size,
			      const void *value)
{
	cl_mem mem = NULL;

	if (size != sizeof(mem))
		return CL_INVALID_ARG_SIZE;
	if (value)
		memcpy(&mem, value, sizeof(mem));
	if (mem && !mem_valid(kernel, mem))
		return CL_INVALID_MEM_OBJECT;
	if (mem && mem->type != CL_MEM_OBJECT_BUFFER)
		return CL_INVALID_ARG_VALUE;
	return arg_put_mem(kernel, arg, mem);
}

/* Does what the image allows kernels to do fit what this one declares? */
static bool image_access_fits(cl_mem_flags flags, uint32_t access)
{
	switch (access) {
	case CL_KERNEL_ARG_ACCESS_READ_ONLY:
		return !(flags & CL_MEM_WRITE_ONLY);
	case CL_KERNEL_ARG_ACCESS_WRITE_ONLY:
		return !(flags & CL_MEM_READ_ONLY);
	case CL_KERNEL_ARG_ACCESS_READ_WRITE:
		return !(flags & (CL_MEM_READ_ONLY | CL_MEM_WRITE_ONLY));
	default:
		return true;
	}
}

static cl_int arg_set_image(cl_kernel kernel, struct kernel_arg *arg, uint32_t access, size_t size,
			    const void *value)
{
	cl_mem mem = NULL;

	if (size != sizeof(mem))
		return CL_INVALID_ARG_SIZE;
	if (!value)
		return CL_INVALID_ARG_VALUE;
	memcpy(&mem, value, sizeof(mem));
	if (!mem_valid(kernel, mem) || mem->type == CL_MEM_OBJECT_BUFFER)
		return CL_INVALID_MEM_OBJECT;
	if ((arg->image && arg->image != mem->type) || !image_access_fits(mem->flags, access))
		return CL_INVALID_ARG_VALUE;
	return arg_put_mem(kernel, arg, mem);
}

static cl_int arg_set_sampler(cl_kernel kernel, struct kernel_arg *arg, size_t size,
			      const void *value)
{
	cl_sampler sampler;

	if (size != sizeof(sampler))
		return CL_INVALID_ARG_SIZE;
	if (!value)
		return CL_INVALID_SAMPLER;
	memcpy(&sampler, value, sizeof(sampler));
	if (!object_is(sampler, OBJECT_SAMPLER) || sampler->context != kernel->context)
		return CL_INVALID_SAMPLER;
	spin_lock(&kernel->lock);
	arg->kind = ARAX_ARG_SAMPLER;
	arg->size = sizeof(sampler);
	arg->sampler = sampler;
	arg->set = true;
	spin_unlock(&kernel->lock);
	return CL_SUCCESS;
}

cl_int arax_clSetKernelArg(cl_kernel kernel, cl_uint arg_index, size_t arg_size,
			   const void *arg_value)
{
	const struct arax_arg_info *info;
	struct kernel_arg *arg;

	if (!object_is(kernel, OBJECT_KERNEL))
		return CL_INVALID_KERNEL;
	if (arg_index >= kernel->info->nargs)
		return CL_INVALID_ARG_INDEX;
	info = &kernel->info->args[arg_index];
	arg = &kernel->args[arg_index];
	switch (arg->class) {
	case KERNEL_ARG_VALUE:
		return arg_set_value(kernel, arg, info->size, arg_size, arg_value);
	case KERNEL_ARG_LOCAL:
		return arg_set_local(kernel, arg, arg_size, arg_value);
	case KERNEL_ARG_POINTER:
		return arg_set_pointer(kernel, arg, arg_size, arg_value);
	case KERNEL_ARG_IMAGE:
		return arg_set_image(kernel, arg, info->access, arg_size, arg_value);
	case KERNEL_ARG_SAMPLER:
		return arg_set_sampler(kernel, arg, arg_size, arg_value);
	}
	return CL_INVALID_ARG_INDEX;
}

cl_int arax_clSetKernelArgSVMPointer(cl_kernel kernel, cl_uint arg_index, const void *arg_value)
{
	struct kernel_arg *arg;

	if (!object_is(kernel, OBJECT_KERNEL))
		return CL_INVALID_KERNEL;
	if (!the_device.info.svm)
		return CL_INVALID_OPERATION;
	if (arg_index >= kernel->info->nargs)
		return CL_INVALID_ARG_INDEX;
	arg = &kernel->args[arg_index];
	if (arg->class != KERNEL_ARG_POINTER)
		return CL_INVALID_ARG_VALUE;
	spin_lock(&kernel->lock);
	arg->kind = ARAX_ARG_SVM;
	arg->size = sizeof(arg_value);
	memcpy(arg->bytes, &arg_value, sizeof(arg_value));
	arg->set = true;
	spin_unlock(&kernel->lock);
	return CL_SUCCESS;
}

/* No pointers at all, size 0 and NULL, take back what was set before. */
static cl_int exec_svm_pointers(cl_kernel kernel, size_t size, const void *value)
{
	void **pointers = NULL, **old;

	if (size % sizeof(void *) || !size != !value)
		return CL_INVALID_VALUE;
	if (size) {
		pointers = malloc(size);
		if (!pointers)
			return CL_OUT_OF_HOST_MEMORY;
		memcpy(pointers, value, size);
	}
	spin_lock(&kernel->lock);
	old = kernel->svm_pointers;
	kernel->svm_pointers = pointers;
	kernel->nsvm_pointers = size / sizeof(void *);
	spin_unlock(&kernel->lock);
	free(old);
	return CL_SUCCESS;
}

cl_int arax_clSetKernelExecInfo(cl_kernel kernel, cl_kernel_exec_info param_name,
				size_t param_value_size, const void *param_value)
{
	cl_bool on;

	if (!object_is(kernel, OBJECT_KERNEL))
		return CL_INVALID_KERNEL;
	if (!the_device.info.svm)
		return CL_INVALID_OPERATION;
	switch (param_name) {
	case CL_KERNEL_EXEC_INFO_SVM_PTRS:
		return exec_svm_pointers(kernel, param_value_size, param_value);
	case CL_KERNEL_EXEC_INFO_SVM_FINE_GRAIN_SYSTEM:
		if (param_value_size != sizeof(on) || !param_value)
			return CL_INVALID_VALUE;
		memcpy(&on, param_value, sizeof(on));
		if (on && !(the_device.info.svm & CL_DEVICE_SVM_FINE_GRAIN_SYSTEM))
			return CL_INVALID_OPERATION;
		spin_lock(&kernel->lock);
		kernel->svm_fine_grain = on;
		spin_unlock(&kernel->lock);
		return CL_SUCCESS;
	default:
		return CL_INVALID_VALUE;
	}
}

/* ---- clones --------------------------------------------------------------------------------- */

/* What was set on from; its lock is held, nobody knows to yet. */
static bool kernel_copy(cl_kernel to, cl_kernel from)
{
	for (uint32_t i = 0; i < from->info->nargs; i++) {
		const struct kernel_arg *arg = &from->args[i];
		void *room;

		if (!arg_is_large(arg)) {
			to->args[i] = *arg;
			continue;
		}
		room = value_room(&to->args[i], arg->size);
		if (!room)
			return false;
		memcpy(room, arg->large, arg->size);
	}
	if (from->nsvm_pointers) {
		to->svm_pointers = malloc(from->nsvm_pointers * sizeof(void *));
		if (!to->svm_pointers)
			return false;
		memcpy(to->svm_pointers, from->svm_pointers, from->nsvm_pointers * sizeof(void *));
		to->nsvm_pointers = from->nsvm_pointers;
	}
	to->svm_fine_grain = from->svm_fine_grain;
	return true;
}

cl_kernel arax_clCloneKernel(cl_kernel source_kernel, cl_int *errcode_ret)
{
	cl_kernel clone;
	cl_int error;

	if (!object_is(source_kernel, OBJECT_KERNEL)) {
		set_error(errcode_ret, CL_INVALID_KERNEL);
		return NULL;
	}
	/* the source is attached: the program is as it was */
	clone =
	    kernel_new(source_kernel->program, source_kernel->result, source_kernel->info, &error);
	if (clone) {
		spin_lock(&source_kernel->lock);
		bool copied = kernel_copy(clone, source_kernel);
		spin_unlock(&source_kernel->lock);
		if (!copied) {
			object_release(&clone->object);
			clone = NULL;
			error = CL_OUT_OF_HOST_MEMORY;
		}
	}
	set_error(errcode_ret, error);
	return clone;
}

/* ---- queries -------------------------------------------------------------------------------- */

cl_int arax_clGetKernelInfo(cl_kernel kernel, cl_kernel_info param_name, size_t param_value_size,
			    void *param_value, size_t *param_value_size_ret)
{
	if (!object_is(kernel, OBJECT_KERNEL))
		return CL_INVALID_KERNEL;
	switch (param_name) {
	case CL_KERNEL_FUNCTION_NAME:
		return info_string(kernel->info->name, param_value_size, param_value,
				   param_value_size_ret);
	case CL_KERNEL_NUM_ARGS:
		return INFO(cl_uint, kernel->info->nargs);
	case CL_KERNEL_REFERENCE_COUNT:
		return INFO(cl_uint, kernel->object.refs);
	case CL_KERNEL_CONTEXT:
		return INFO(cl_context, kernel->context);
	case CL_KERNEL_PROGRAM:
		return INFO(cl_program, kernel->program);
	case CL_KERNEL_ATTRIBUTES:
		return info_string(kernel->info->attributes, param_value_size, param_value,
				   param_value_size_ret);
	default:
		return CL_INVALID_VALUE;
	}
}

cl_int arax_clGetKernelArgInfo(cl_kernel kernel, cl_uint arg_index, cl_kernel_arg_info param_name,
			       size_t param_value_size, void *param_value,
			       size_t *param_value_size_ret)
{
	const struct arax_arg_info *info;

	if (!object_is(kernel, OBJECT_KERNEL))
		return CL_INVALID_KERNEL;
	if (arg_index >= kernel->info->nargs)
		return CL_INVALID_ARG_INDEX;
	if (!(kernel->result->flags & ARAX_RESULT_ARG_INFO))
		return CL_KERNEL_ARG_INFO_NOT_AVAILABLE;
	info = &kernel->info->args[arg_index];
	switch (param_name) {
	case CL_KERNEL_ARG_ADDRESS_QUALIFIER:
		return INFO(cl_kernel_arg_address_qualifier, info->address);
	case CL_KERNEL_ARG_ACCESS_QUALIFIER:
		return INFO(cl_kernel_arg_access_qualifier, info->access);
	case CL_KERNEL_ARG_TYPE_QUALIFIER:
		return INFO(cl_kernel_arg_type_qualifier, info->type_qualifier);
	case CL_KERNEL_ARG_TYPE_NAME:
		return info_string(info->type_name, param_value_size, param_value,
				   param_value_size_ret);
	case CL_KERNEL_ARG_NAME:
		return info_string(info->name, param_value_size, param_value, param_value_size_ret);
	default:
		return CL_INVALID_VALUE;
	}
}

static size_t kernel_group_size(const struct arax_kernel_info *info)
{
	uint64_t most = the_device.info.max_group_size;

	return (size_t)(info->group_size && info->group_size < most ? info->group_size : most);
}

/* What the kernel declares, and what its arguments add. */
static cl_ulong kernel_local_mem(cl_kernel kernel)
{
	cl_ulong size = kernel->info->local_mem;

	spin_lock(&kernel->lock);
	for (uint32_t i = 0; i < kernel->info->nargs; i++) {
		if (kernel->args[i].class == KERNEL_ARG_LOCAL && kernel->args[i].set)
			size += kernel->args[i].size;
	}
	spin_unlock(&kernel->lock);
	return size;
}

cl_int arax_clGetKernelWorkGroupInfo(cl_kernel kernel, cl_device_id device,
				     cl_kernel_work_group_info param_name, size_t param_value_size,
				     void *param_value, size_t *param_value_size_ret)
{
	const struct arax_kernel_info *info;

	if (!object_is(kernel, OBJECT_KERNEL))
		return CL_INVALID_KERNEL;
	if (device && device != &the_device)
		return CL_INVALID_DEVICE;
	info = kernel->info;
	switch (param_name) {
	case CL_KERNEL_WORK_GROUP_SIZE:
		return INFO(size_t, kernel_group_size(info));
	case CL_KERNEL_COMPILE_WORK_GROUP_SIZE: {
		const size_t required[3] = {info->required_group[0], info->required_group[1],
					    info->required_group[2]};

		return info_copy(required, sizeof(required), param_value_size, param_value,
				 param_value_size_ret);
	}
	case CL_KERNEL_LOCAL_MEM_SIZE:
		return INFO(cl_ulong, kernel_local_mem(kernel));
	case CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE:
		return INFO(size_t, info->preferred_multiple ? info->preferred_multiple : 1);
	case CL_KERNEL_PRIVATE_MEM_SIZE:
		return INFO(cl_ulong, info->private_mem);
	case CL_KERNEL_GLOBAL_WORK_SIZE: {
		const size_t most[3] = {SIZE_MAX, SIZE_MAX, SIZE_MAX};

		/* only for built-in kernels and custom devices */
		if (!kernel->program->builtin)
			return CL_INVALID_VALUE;
		return info_copy(most, sizeof(most), param_value_size, param_value,
				 param_value_size_ret);
	}
	default:
		return CL_INVALID_VALUE;
	}
}

/* The device has no sub-groups. */
cl_int arax_clGetKernelSubGroupInfo(cl_kernel kernel, cl_device_id device,
				    cl_kernel_sub_group_info param_name, size_t input_value_size,
				    const void *input_value, size_t param_value_size,
				    void *param_value, size_t *param_value_size_ret)
{
	(void)param_name;
	(void)input_value_size;
	(void)input_value;
	(void)param_value_size;
	(void)param_value;
	(void)param_value_size_ret;
	if (!object_is(kernel, OBJECT_KERNEL))
		return CL_INVALID_KERNEL;
	return device && device != &the_device ? CL_INVALID_DEVICE : CL_INVALID_OPERATION;
}

cl_int arax_clGetKernelSubGroupInfoKHR(cl_kernel kernel, cl_device_id device,
				       cl_kernel_sub_group_info param_name, size_t input_value_size,
				       const void *input_value, size_t param_value_size,
				       void *param_value, size_t *param_value_size_ret)
{
	return arax_clGetKernelSubGroupInfo(kernel, device, param_name, input_value_size,
					    input_value, param_value_size, param_value,
					    param_value_size_ret);
}
