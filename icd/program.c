/* SPDX-License-Identifier: Apache-2.0
 *
 * Program objects: what they are made of and what they say about themselves. Building is build.c's.
 * A program's binary is a build result (transport/build.h), from which everything that can be asked
 * is known in the client; the tenant gets it when the first kernel is created.
 */
#include "icd/icd.h"

#include <errno.h>
#include <stdlib.h>

static void program_destroy(struct object *object)
{
	cl_program program = (cl_program)object;

	connection_drop(program->context->conn, ARAX_OP_PROGRAM_DROP, program->handle);
	arax_result_free(program->result);
	free(program->result_bytes);
	free(program->binary);
	free(program->request);
	free(program->source);
	free(program->options);
	pthread_cond_destroy(&program->built);
	pthread_mutex_destroy(&program->lock);
	object_unuse(&program->context->object);
	free(program);
}

cl_program program_new(cl_context context)
{
	cl_program program = calloc(1, sizeof(*program));

	if (!program)
		return NULL;
	object_init(&program->object, OBJECT_PROGRAM, program_destroy);
	object_use(&context->object);
	program->context = context;
	program->status = CL_BUILD_NONE;
	pthread_mutex_init(&program->lock, NULL);
	pthread_cond_init(&program->built, NULL);
	return program;
}

bool program_executable(cl_program program)
{
	return program->status == CL_BUILD_SUCCESS && program->result &&
	       program->result->binary_type == CL_PROGRAM_BINARY_TYPE_EXECUTABLE;
}

/*
 * The caller has attached a kernel (program->kernels), so no build can replace the binary while it
 * is sent. The number of a program whose loading failed is not used again: whether the tenant knows
 * it is not known here.
 */
cl_int program_announce(cl_program program)
{
	struct connection *conn = program->context->conn;
	uint32_t handle;
	int err;

	pthread_mutex_lock(&program->lock);
	while (program->announcing)
		pthread_cond_wait(&program->built, &program->lock);
	if (program->handle) {
		pthread_mutex_unlock(&program->lock);
		return CL_SUCCESS;
	}
	program->announcing = true;
	pthread_mutex_unlock(&program->lock);

	handle = connection_handle(conn, ARAX_HANDLE_PROGRAM);
	const struct executable bytes = {
	    .result = program->binary,
	    .result_size = program->binary_size,
	    .request = program->request,
	    .request_size = program->request_size,
	};
	err = handle ? connection_load(conn, handle, &bytes) : -EPIPE;
	if (err && handle)
		connection_drop(conn, ARAX_OP_COUNT, handle);

	pthread_mutex_lock(&program->lock);
	program->announcing = false;
	if (!err)
		program->handle = handle;
	pthread_cond_broadcast(&program->built);
	pthread_mutex_unlock(&program->lock);
	if (err == -ENOMEM)
		return CL_OUT_OF_HOST_MEMORY;
	return err ? CL_OUT_OF_RESOURCES : CL_SUCCESS;
}

/* ---- creation ------------------------------------------------------------------------------- */

/* The pieces in one; a zero ends a piece, whatever its length says. NULL without memory. */
static char *source_join(cl_uint count, const char **strings, const size_t *lengths)
{
	size_t size = 1, at = 0;
	char *source;

	for (cl_uint i = 0; i < count; i++)
		size +=
		    lengths && lengths[i] ? strnlen(strings[i], lengths[i]) : strlen(strings[i]);
	source = malloc(size);
	if (!source)
		return NULL;
	for (cl_uint i = 0; i < count; i++) {
		size_t n =
		    lengths && lengths[i] ? strnlen(strings[i], lengths[i]) : strlen(strings[i]);

		memcpy(source + at, strings[i], n);
		at += n;
	}
	source[at] = '\0';
	return source;
}

cl_program arax_clCreateProgramWithSource(cl_context context, cl_uint count, const char **strings,
					  const size_t *lengths, cl_int *errcode_ret)
{
	cl_program program;
	bool valid = count && strings;

	if (!object_is(context, OBJECT_CONTEXT)) {
		set_error(errcode_ret, CL_INVALID_CONTEXT);
		return NULL;
	}
	for (cl_uint i = 0; valid && i < count; i++)
		valid = strings[i] != NULL;
	if (!valid) {
		set_error(errcode_ret, CL_INVALID_VALUE);
		return NULL;
	}
	program = program_new(context);
	if (program)
		program->source = source_join(count, strings, lengths);
	if (!program || !program->source) {
		if (program)
			object_release(&program->object);
		set_error(errcode_ret, CL_OUT_OF_HOST_MEMORY);
		return NULL;
	}
	set_error(errcode_ret, CL_SUCCESS);
	return program;
}

/* Is this what a successful build gave? */
static bool binary_valid(const struct arax_result *result)
{
	switch (result->binary_type) {
	case CL_PROGRAM_BINARY_TYPE_COMPILED_OBJECT:
	case CL_PROGRAM_BINARY_TYPE_LIBRARY:
	case CL_PROGRAM_BINARY_TYPE_EXECUTABLE:
		return result->error == CL_SUCCESS && result->binary_size;
	default:
		return false;
	}
}

static cl_int binary_take(cl_program program, const unsigned char *binary, size_t size)
{
	program->from_binary = true;
	program->binary = malloc(size);
	if (!program->binary)
		return CL_OUT_OF_HOST_MEMORY;
	memcpy(program->binary, binary, size);
	program->binary_size = size;
	program->result = arax_result_parse(program->binary, size);
	if (!program->result && errno == ENOMEM)
		return CL_OUT_OF_HOST_MEMORY;
	return program->result && binary_valid(program->result) ? CL_SUCCESS : CL_INVALID_BINARY;
}

/* The arguments but for the binaries' contents; sets the statuses of what is not there at all. */
static cl_int binaries_check(cl_uint num_devices, const cl_device_id *devices,
			     const size_t *lengths, const unsigned char **binaries,
			     cl_int *binary_status)
{
	cl_int error;

	if (!num_devices || !devices || !lengths || !binaries)
		return CL_INVALID_VALUE;
	error = device_list_check(num_devices, devices);
	for (cl_uint i = 0; !error && i < num_devices; i++) {
		if (lengths[i] && binaries[i])
			continue;
		if (binary_status)
			binary_status[i] = CL_INVALID_VALUE;
		error = CL_INVALID_VALUE;
	}
	return error;
}

cl_program arax_clCreateProgramWithBinary(cl_context context, cl_uint num_devices,
					  const cl_device_id *device_list, const size_t *lengths,
					  const unsigned char **binaries, cl_int *binary_status,
					  cl_int *errcode_ret)
{
	cl_program program;
	cl_int error;

	if (!object_is(context, OBJECT_CONTEXT)) {
		set_error(errcode_ret, CL_INVALID_CONTEXT);
		return NULL;
	}
	error = binaries_check(num_devices, device_list, lengths, binaries, binary_status);
	if (error) {
		set_error(errcode_ret, error);
		return NULL;
	}
	/* With one device there is one binary; repetitions of the device mean the same. */
	program = program_new(context);
	error = program ? binary_take(program, binaries[0], lengths[0]) : CL_OUT_OF_HOST_MEMORY;
	for (cl_uint i = 0; binary_status && i < num_devices; i++)
		binary_status[i] = error;
	set_error(errcode_ret, error);
	if (error && program) {
		object_release(&program->object);
		program = NULL;
	}
	return program;
}

/* Does the device have all built-in kernels of a list with ';' between the names? */
static bool builtins_known(const char *names)
{
	for (;;) {
		size_t length = strcspn(names, ";");
		bool known = false;

		for (const char *at = the_device.info.builtins; length && *at && !known;) {
			size_t n = strcspn(at, ";");

			known = n == length && !memcmp(at, names, n);
			at += n + (at[n] == ';');
		}
		if (!known)
			return false;
		names += length;
		if (!*names++)
			return true;
	}
}

cl_program arax_clCreateProgramWithBuiltInKernels(cl_context context, cl_uint num_devices,
						  const cl_device_id *device_list,
						  const char *kernel_names, cl_int *errcode_ret)
{
	cl_program program = NULL;
	cl_int error = CL_INVALID_VALUE;

	if (!object_is(context, OBJECT_CONTEXT))
		error = CL_INVALID_CONTEXT;
	else if (num_devices && device_list && kernel_names)
		error = device_list_check(num_devices, device_list);
	if (!error && !builtins_known(kernel_names))
		error = CL_INVALID_VALUE;
	if (!error) {
		program = program_new(context);
		error =
		    program ? program_build_builtin(program, kernel_names) : CL_OUT_OF_HOST_MEMORY;
	}
	/* The kernels are the daemon's: what is wrong with one is not the application's mistake. */
	if (error == CL_BUILD_PROGRAM_FAILURE)
		error = CL_OUT_OF_RESOURCES;
	set_error(errcode_ret, error);
	if (error && program) {
		object_release(&program->object);
		program = NULL;
	}
	return program;
}

/* The device takes no intermediate language. */
cl_program arax_clCreateProgramWithIL(cl_context context, const void *il, size_t length,
				      cl_int *errcode_ret)
{
	(void)il;
	(void)length;
	set_error(errcode_ret,
		  object_is(context, OBJECT_CONTEXT) ? CL_INVALID_OPERATION : CL_INVALID_CONTEXT);
	return NULL;
}

cl_int arax_clRetainProgram(cl_program program)
{
	if (!object_is(program, OBJECT_PROGRAM))
		return CL_INVALID_PROGRAM;
	object_retain(&program->object);
	return CL_SUCCESS;
}

cl_int arax_clReleaseProgram(cl_program program)
{
	if (!object_is(program, OBJECT_PROGRAM))
		return CL_INVALID_PROGRAM;
	object_release(&program->object);
	return CL_SUCCESS;
}

/* ---- queries -------------------------------------------------------------------------------- */

/* The names of all kernels with ';' between them. */
static cl_int info_kernel_names(const struct arax_result *result, size_t param_value_size,
				void *param_value, size_t *param_value_size_ret)
{
	size_t size = 1, at = 0;
	char *names;
	cl_int error;

	for (uint32_t i = 0; i < result->nkernels; i++)
		size += strlen(result->kernels[i].name) + 1;
	names = malloc(size);
	if (!names)
		return CL_OUT_OF_HOST_MEMORY;
	for (uint32_t i = 0; i < result->nkernels; i++) {
		size_t n = strlen(result->kernels[i].name);

		if (i)
			names[at++] = ';';
		memcpy(names + at, result->kernels[i].name, n);
		at += n;
	}
	names[at] = '\0';
	error = info_string(names, param_value_size, param_value, param_value_size_ret);
	free(names);
	return error;
}

/* param_value is an array of where the application wants the binaries. */
static cl_int info_binaries(cl_program program, size_t param_value_size, void *param_value,
			    size_t *param_value_size_ret)
{
	unsigned char *where;

	if (param_value) {
		if (param_value_size < sizeof(where))
			return CL_INVALID_VALUE;
		memcpy(&where, param_value, sizeof(where));
		if (where && program->binary_size && !program->builtin)
			memcpy(where, program->binary, program->binary_size);
	}
	if (param_value_size_ret)
		*param_value_size_ret = sizeof(where);
	return CL_SUCCESS;
}

/* What only an executable can tell. */
static cl_int info_executable(cl_program program, cl_program_info param_name,
			      size_t param_value_size, void *param_value,
			      size_t *param_value_size_ret)
{
	if (!program_executable(program))
		return CL_INVALID_PROGRAM_EXECUTABLE;
	switch (param_name) {
	case CL_PROGRAM_NUM_KERNELS:
		return INFO(size_t, program->result->nkernels);
	case CL_PROGRAM_KERNEL_NAMES:
		return info_kernel_names(program->result, param_value_size, param_value,
					 param_value_size_ret);
	default:
		/* CL_PROGRAM_SCOPE_GLOBAL_CTORS_PRESENT and _DTORS_PRESENT: OpenCL C has none */
		return INFO(cl_bool, CL_FALSE);
	}
}

static cl_int info_locked(cl_program program, cl_program_info param_name, size_t param_value_size,
			  void *param_value, size_t *param_value_size_ret)
{
	switch (param_name) {
	case CL_PROGRAM_REFERENCE_COUNT:
		return INFO(cl_uint, program->object.refs);
	case CL_PROGRAM_CONTEXT:
		return INFO(cl_context, program->context);
	case CL_PROGRAM_NUM_DEVICES:
		return INFO(cl_uint, 1);
	case CL_PROGRAM_DEVICES:
		return INFO(cl_device_id, &the_device);
	case CL_PROGRAM_SOURCE:
		return info_string(program->source ? program->source : "", param_value_size,
				   param_value, param_value_size_ret);
	case CL_PROGRAM_IL:
		return info_copy(NULL, 0, param_value_size, param_value, param_value_size_ret);
	case CL_PROGRAM_BINARY_SIZES:
		/* Built-in kernels are no binary that another device would take. */
		return INFO(size_t, program->builtin ? 0 : program->binary_size);
	case CL_PROGRAM_BINARIES:
		return info_binaries(program, param_value_size, param_value, param_value_size_ret);
	case CL_PROGRAM_NUM_KERNELS:
	case CL_PROGRAM_KERNEL_NAMES:
	case CL_PROGRAM_SCOPE_GLOBAL_CTORS_PRESENT:
	case CL_PROGRAM_SCOPE_GLOBAL_DTORS_PRESENT:
		return info_executable(program, param_name, param_value_size, param_value,
				       param_value_size_ret);
	default:
		return CL_INVALID_VALUE;
	}
}

cl_int arax_clGetProgramInfo(cl_program program, cl_program_info param_name,
			     size_t param_value_size, void *param_value,
			     size_t *param_value_size_ret)
{
	cl_int error;

	if (!object_is(program, OBJECT_PROGRAM))
		return CL_INVALID_PROGRAM;
	pthread_mutex_lock(&program->lock);
	error =
	    info_locked(program, param_name, param_value_size, param_value, param_value_size_ret);
	pthread_mutex_unlock(&program->lock);
	return error;
}

static cl_int build_info_locked(cl_program program, cl_program_build_info param_name,
				size_t param_value_size, void *param_value,
				size_t *param_value_size_ret)
{
	const struct arax_result *result = program->building ? NULL : program->result;
	const char *log = result && result->log ? result->log : "";

	switch (param_name) {
	case CL_PROGRAM_BUILD_STATUS:
		return INFO(cl_build_status, program->status);
	case CL_PROGRAM_BUILD_OPTIONS:
		return info_string(program->options ? program->options : "", param_value_size,
				   param_value, param_value_size_ret);
	case CL_PROGRAM_BUILD_LOG:
		return info_string(log, param_value_size, param_value, param_value_size_ret);
	case CL_PROGRAM_BINARY_TYPE:
		return INFO(cl_program_binary_type, result && !result->error
							? result->binary_type
							: CL_PROGRAM_BINARY_TYPE_NONE);
	case CL_PROGRAM_BUILD_GLOBAL_VARIABLE_TOTAL_SIZE:
		return INFO(size_t, result ? result->global_variable_size : 0);
	default:
		return CL_INVALID_VALUE;
	}
}

cl_int arax_clGetProgramBuildInfo(cl_program program, cl_device_id device,
				  cl_program_build_info param_name, size_t param_value_size,
				  void *param_value, size_t *param_value_size_ret)
{
	cl_int error;

	if (!object_is(program, OBJECT_PROGRAM))
		return CL_INVALID_PROGRAM;
	if (device != &the_device)
		return CL_INVALID_DEVICE;
	pthread_mutex_lock(&program->lock);
	error = build_info_locked(program, param_name, param_value_size, param_value,
				  param_value_size_ret);
	pthread_mutex_unlock(&program->lock);
	return error;
}

/* ---- what the device does not have ---------------------------------------------------------- */

/* OpenCL C programs have no destructors. */
cl_int arax_clSetProgramReleaseCallback(cl_program program,
					void(CL_CALLBACK *pfn_notify)(cl_program program,
								      void *user_data),
					void *user_data)
{
	(void)pfn_notify;
	(void)user_data;
	return object_is(program, OBJECT_PROGRAM) ? CL_INVALID_OPERATION : CL_INVALID_PROGRAM;
}

cl_int arax_clSetProgramSpecializationConstant(cl_program program, cl_uint spec_id,
					       size_t spec_size, const void *spec_value)
{
	(void)spec_id;
	(void)spec_size;
	(void)spec_value;
	/* only for intermediate languages */
	return object_is(program, OBJECT_PROGRAM) ? CL_INVALID_OPERATION : CL_INVALID_PROGRAM;
}

/* Hints: there is no compiler in this process. */
cl_int arax_clUnloadCompiler(void)
{
	return CL_SUCCESS;
}

cl_int arax_clUnloadPlatformCompiler(cl_platform_id platform)
{
	return object_is(platform, OBJECT_PLATFORM) ? CL_SUCCESS : CL_INVALID_PLATFORM;
}
