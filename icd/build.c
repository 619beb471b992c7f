/* SPDX-License-Identifier: Apache-2.0
 *
 * clBuildProgram, clCompileProgram, clLinkProgram. Each makes a request of bytes in the calling
 * thread (the source, the files that it includes, or the inputs of a link: nothing of it can change
 * any more) and has araxd answer it, in the calling thread or, with a callback, in one of our own.
 * While a request is under way program->building keeps other builds and new kernels away.
 */
#include "icd/icd.h"
#include "icd/include.h"
#include "icd/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef void(CL_CALLBACK *build_notify)(cl_program program, void *user_data);

struct build {
	cl_program program; /* holds a use */
	struct arax_writer request;
	bool reuse;  /* the binary is an executable already: nothing to ask for */
	bool source; /* the request says how to make an executable of nothing else */
	build_notify notify;
	void *user_data;
};

/* Embedded headers of clCompileProgram. */
struct headers {
	cl_uint count;
	const cl_program *programs;
	const char **names;
};

/* ---- the three steps of a build ------------------------------------------------------------- */

/* Reserves the program, or says why that is impossible; options may be NULL. */
static cl_int build_begin(cl_program program, const char *options)
{
	char *copy = strdup(options ? options : "");
	cl_int error = CL_SUCCESS;

	if (!copy)
		return CL_OUT_OF_HOST_MEMORY;
	pthread_mutex_lock(&program->lock);
	if (program->building || program->kernels) {
		error = CL_INVALID_OPERATION;
	} else {
		char *old = program->options;

		program->building = 1;
		program->status = CL_BUILD_IN_PROGRESS;
		program->options = copy;
		copy = old;
	}
	pthread_mutex_unlock(&program->lock);
	free(copy);
	return error;
}

/* What the log says when there was no compiler to write one. */
static const char *failure(int err)
{
	switch (err) {
	case -EDQUOT:
		return "this user has had as much of the compiler's time as it may for now "
		       "(arax.conf: [limits] compile_time)";
	case -EAGAIN:
		return "too many of this user's programs wait for the compiler "
		       "(arax.conf: [limits] builds)";
	default:
		return strerror(-err);
	}
}

static struct arax_result *result_failed(cl_int error, int err)
{
	struct arax_result *result = calloc(1, sizeof(*result));

	if (!result)
		return NULL;
	result->error = error;
	if (asprintf(&result->log, "error: the program was not compiled: %s\n", failure(err)) < 0)
		result->log = NULL;
	return result;
}

/*
 * Installs the outcome: bytes (now the program's) or err; and the request (may be NULL) when the
 * tenant may have a use for it. A program made from a binary keeps that when its build fails, for
 * the next attempt.
 */
static cl_int build_end(cl_program program, int err, unsigned char *bytes, size_t size,
			struct arax_writer *request)
{
	struct arax_result *result = err ? NULL : arax_result_parse(bytes, size), *old_result;
	cl_int error = result ? result->error : CL_OUT_OF_RESOURCES;
	unsigned char *old_bytes, *old_binary = NULL, *old_request = NULL;
	uint32_t old_handle = 0;

	if (error > 0)
		error = CL_BUILD_PROGRAM_FAILURE;
	if (!result) {
		err = err ? err : -errno;
		error = err == -ENOMEM ? CL_OUT_OF_HOST_MEMORY : CL_OUT_OF_RESOURCES;
		result = result_failed(error, err);
	}
	pthread_mutex_lock(&program->lock);
	old_result = program->result;
	old_bytes = program->result_bytes;
	program->result = result;
	program->result_bytes = NULL;
	/* A reused binary is the program's already, and the tenant may keep it. */
	if (!bytes || bytes != program->binary) {
		old_handle = program->handle;
		program->handle = 0;
		if (!error || !program->from_binary) {
			old_binary = program->binary;
			program->binary = error ? NULL : bytes;
			program->binary_size = error ? 0 : size;
		}
		old_request = program->request;
		program->request = NULL;
		program->request_size = 0;
		if (request && !error && connection_wants_requests(program->context->conn)) {
			program->request = request->data;
			program->request_size = request->size;
			*request = (struct arax_writer){0};
		}
		program->result_bytes = error ? bytes : NULL;
	}
	program->status = error ? CL_BUILD_ERROR : CL_BUILD_SUCCESS;
	program->building = 0;
	pthread_mutex_unlock(&program->lock);

	connection_drop(program->context->conn, ARAX_OP_PROGRAM_DROP, old_handle);
	arax_result_free(old_result);
	free(old_bytes);
	free(old_binary);
	free(old_request);
	return error;
}

/* Does the work, calls back, and frees the build. */
static cl_int build_run(struct build *build)
{
	cl_program program = build->program;
	unsigned char *bytes = NULL;
	size_t size = 0;
	cl_int error;
	int err = 0;

	if (build->reuse) {
		/* nobody changes it while program->building is set */
		bytes = program->binary;
		size = program->binary_size;
	} else {
		err = connection_build(build->request.data, build->request.size, &bytes, &size);
	}
	error = build_end(program, err, bytes, size, build->source ? &build->request : NULL);
	arax_writer_free(&build->request);
	if (build->notify)
		build->notify(program, build->user_data);
	object_unuse(&program->object);
	free(build);
	return error;
}

static void build_thread(void *arg)
{
	(void)build_run(arg);
}

/* Takes the build over. With a callback its outcome is told there. */
static cl_int build_start(struct build *build)
{
	if (!build->notify)
		return build_run(build);
	if (helper_thread(build_thread, build))
		(void)build_run(build);
	return CL_SUCCESS;
}

/* A build of a program that build_begin() has reserved; NULL without memory. */
static struct build *build_new(cl_program program, build_notify notify, void *user_data)
{
	struct build *build = calloc(1, sizeof(*build));

	if (!build)
		return NULL;
	build->program = program;
	build->notify = notify;
	build->user_data = user_data;
	object_use(&program->object);
	return build;
}

/* Ends a build that could not be described, and frees it (may be NULL). */
static cl_int build_abandon(cl_program program, struct build *build)
{
	cl_int error = build_end(program, -ENOMEM, NULL, 0, NULL);

	if (build) {
		arax_writer_free(&build->request);
		object_unuse(&program->object);
		free(build);
	}
	return error;
}

/* ---- requests ------------------------------------------------------------------------------- */

static void request_head(struct arax_writer *w, enum arax_build_kind kind, const char *options)
{
	arax_write_u32(w, ARAX_BUILD_MAGIC);
	arax_write_u32(w, ARAX_BUILD_VERSION);
	arax_write_u32(w, kind);
	arax_write_string(w, options);
}

static void request_files(struct arax_writer *w, const struct include_list *files, const char *cwd)
{
	arax_write_u32(w, (uint32_t)files->count);
	for (size_t i = 0; i < files->count; i++) {
		arax_write_string(w, files->files[i].path);
		arax_write_bytes(w, files->files[i].data, files->files[i].size);
	}
	/* Where no file is included the directory makes no difference, and must make none to the
	 * cache either. */
	arax_write_string(w, files->count ? cwd : "");
}

/* Everything that the source and the headers may include. */
static int request_gather(const char *source, const struct headers *headers,
			  const struct options *options, const char *cwd,
			  struct include_list *files)
{
	const char **texts = malloc((headers->count + 1) * sizeof(*texts));
	struct include_query query = {
	    .texts = texts,
	    .ntexts = headers->count + 1,
	    .embedded = headers->names,
	    .nembedded = headers->count,
	    .options = options,
	    .cwd = cwd,
	};
	int err;

	*files = (struct include_list){0};
	if (!texts)
		return -ENOMEM;
	texts[0] = source;
	for (cl_uint i = 0; i < headers->count; i++)
		texts[i + 1] = headers->programs[i]->source;
	err = include_gather(&query, files);
	free(texts);
	return err;
}

/* The request for EXECUTABLE and COMPILE; string: the options as the application gave them. */
static int request_source(struct arax_writer *w, enum arax_build_kind kind, const char *source,
			  const char *string, const struct headers *headers)
{
	char *cwd = getcwd(NULL, 0), *absolute = NULL;
	const char *here = cwd && *cwd == '/' ? cwd : ""; /* "(unreachable)..." */
	struct include_list files = {0};
	struct options options;
	int err = options_parse(string, &options);

	if (!err) {
		absolute = options_absolute(string, &options, here);
		err = absolute ? request_gather(source, headers, &options, here, &files) : -ENOMEM;
	}
	if (!err) {
		request_head(w, kind, absolute);
		arax_write_string(w, source);
		request_files(w, &files, here);
		arax_write_u32(w, headers->count);
		for (cl_uint i = 0; i < headers->count; i++) {
			arax_write_string(w, headers->names[i]);
			arax_write_string(w, headers->programs[i]->source);
		}
		err = w->failed ? -ENOMEM : 0;
	}
	include_free(&files);
	options_free(&options);
	free(absolute);
	free(cwd);
	return err;
}

/* A program made from a binary: an executable is there already. */
static int request_binary(struct build *build, const char *options)
{
	cl_program program = build->program;
	struct arax_result *loaded = arax_result_parse(program->binary, program->binary_size);

	if (!loaded)
		return -ENOMEM; /* it was valid when it was loaded */
	build->reuse = loaded->binary_type == CL_PROGRAM_BINARY_TYPE_EXECUTABLE;
	arax_result_free(loaded);
	if (build->reuse)
		return 0;
	request_head(&build->request, ARAX_BUILD_REBUILD, options);
	arax_write_u32(&build->request, 1);
	arax_write_bytes(&build->request, program->binary, program->binary_size);
	return build->request.failed ? -ENOMEM : 0;
}

cl_int program_build_builtin(cl_program program, const char *names)
{
	cl_int error = build_begin(program, "");
	struct build *build;

	if (error)
		return error;
	program->builtin = true;
	build = build_new(program, NULL, NULL);
	if (build) {
		request_head(&build->request, ARAX_BUILD_BUILTIN, "");
		arax_write_string(&build->request, names);
	}
	if (!build || build->request.failed)
		return build_abandon(program, build);
	return build_start(build);
}

/* ---- entry points --------------------------------------------------------------------------- */

/* The arguments that all three share. */
static cl_int build_check(cl_uint num_devices, const cl_device_id *devices, build_notify notify,
			  const void *user_data)
{
	if (!num_devices != !devices)
		return CL_INVALID_VALUE;
	if (!notify && user_data)
		return CL_INVALID_VALUE;
	return num_devices ? device_list_check(num_devices, devices) : CL_SUCCESS;
}

/* Builds or compiles once all arguments are known to be good. */
static cl_int build_program(cl_program program, enum arax_build_kind kind, const char *options,
			    const struct headers *headers, build_notify notify, void *user_data)
{
	cl_int error = build_begin(program, options);
	struct build *build;
	int err;

	if (error)
		return error;
	options = options ? options : "";
	build = build_new(program, notify, user_data);
	if (build)
		build->source = program->source && kind == ARAX_BUILD_EXECUTABLE;
	if (!build)
		err = -ENOMEM;
	else if (program->source)
		err = request_source(&build->request, kind, program->source, options, headers);
	else
		err = request_binary(build, options);
	return err ? build_abandon(program, build) : build_start(build);
}

cl_int arax_clBuildProgram(cl_program program, cl_uint num_devices, const cl_device_id *device_list,
			   const char *options,
			   void(CL_CALLBACK *pfn_notify)(cl_program program, void *user_data),
			   void *user_data)
{
	const struct headers none = {0};
	cl_int error;

	if (!object_is(program, OBJECT_PROGRAM))
		return CL_INVALID_PROGRAM;
	error = build_check(num_devices, device_list, pfn_notify, user_data);
	if (error)
		return error;
	/* what clLinkProgram made is neither */
	if (!program->source && !program->from_binary)
		return CL_INVALID_OPERATION;
	return build_program(program, ARAX_BUILD_EXECUTABLE, options, &none, pfn_notify, user_data);
}

static cl_int headers_check(const struct headers *headers)
{
	if (!headers->count)
		return headers->programs || headers->names ? CL_INVALID_VALUE : CL_SUCCESS;
	if (!headers->programs || !headers->names)
		return CL_INVALID_VALUE;
	for (cl_uint i = 0; i < headers->count; i++) {
		if (!headers->names[i])
			return CL_INVALID_VALUE;
		if (!object_is(headers->programs[i], OBJECT_PROGRAM))
			return CL_INVALID_PROGRAM;
		if (!headers->programs[i]->source)
			return CL_INVALID_OPERATION;
	}
	return CL_SUCCESS;
}

cl_int arax_clCompileProgram(cl_program program, cl_uint num_devices,
			     const cl_device_id *device_list, const char *options,
			     cl_uint num_input_headers, const cl_program *input_headers,
			     const char **header_include_names,
			     void(CL_CALLBACK *pfn_notify)(cl_program program, void *user_data),
			     void *user_data)
{
	const struct headers headers = {num_input_headers, input_headers, header_include_names};
	cl_int error;

	if (!object_is(program, OBJECT_PROGRAM))
		return CL_INVALID_PROGRAM;
	error = build_check(num_devices, device_list, pfn_notify, user_data);
	if (!error)
		error = headers_check(&headers);
	if (error)
		return error;
	if (!program->source)
		return CL_INVALID_OPERATION;
	return build_program(program, ARAX_BUILD_COMPILE, options, &headers, pfn_notify, user_data);
}

/* Adds one compiled object or library to the request. */
static cl_int link_input(struct arax_writer *w, cl_program program)
{
	cl_int error = CL_INVALID_OPERATION;

	pthread_mutex_lock(&program->lock);
	const struct arax_result *result = program->building ? NULL : program->result;
	if (result && !result->error &&
	    (result->binary_type == CL_PROGRAM_BINARY_TYPE_COMPILED_OBJECT ||
	     result->binary_type == CL_PROGRAM_BINARY_TYPE_LIBRARY)) {
		arax_write_bytes(w, program->binary, program->binary_size);
		error = w->failed ? CL_OUT_OF_HOST_MEMORY : CL_SUCCESS;
	}
	pthread_mutex_unlock(&program->lock);
	return error;
}

static cl_int link_request(struct arax_writer *w, cl_context context, const char *options,
			   cl_uint num_programs, const cl_program *programs)
{
	cl_int error = CL_SUCCESS;

	for (cl_uint i = 0; i < num_programs; i++) {
		if (!object_is(programs[i], OBJECT_PROGRAM) || programs[i]->context != context)
			return CL_INVALID_PROGRAM;
	}
	request_head(w, ARAX_BUILD_LINK, options ? options : "");
	arax_write_u32(w, num_programs);
	for (cl_uint i = 0; !error && i < num_programs; i++)
		error = link_input(w, programs[i]);
	return error;
}

/* The new program and its link, which takes over the request. */
static cl_program link_program(cl_context context, const char *options, struct arax_writer *request,
			       build_notify notify, void *user_data, cl_int *error)
{
	cl_program program = program_new(context);
	struct build *build;

	if (!program) {
		*error = CL_OUT_OF_HOST_MEMORY;
		return NULL;
	}
	*error = build_begin(program, options);
	build = *error ? NULL : build_new(program, notify, user_data);
	if (build) {
		build->request = *request;
		*request = (struct arax_writer){0};
		*error = build_start(build);
	} else {
		*error = CL_OUT_OF_HOST_MEMORY;
	}
	/* Of a failed link the application can ask for the log. */
	if (*error && *error != CL_LINK_PROGRAM_FAILURE) {
		object_release(&program->object);
		program = NULL;
	}
	return program;
}

cl_program arax_clLinkProgram(cl_context context, cl_uint num_devices,
			      const cl_device_id *device_list, const char *options,
			      cl_uint num_input_programs, const cl_program *input_programs,
			      void(CL_CALLBACK *pfn_notify)(cl_program program, void *user_data),
			      void *user_data, cl_int *errcode_ret)
{
	struct arax_writer request = {0};
	cl_program program = NULL;
	cl_int error;

	if (!object_is(context, OBJECT_CONTEXT))
		error = CL_INVALID_CONTEXT;
	else if (!num_input_programs || !input_programs)
		error = CL_INVALID_VALUE;
	else
		error = build_check(num_devices, device_list, pfn_notify, user_data);
	if (!error)
		error =
		    link_request(&request, context, options, num_input_programs, input_programs);
	if (!error)
		program = link_program(context, options, &request, pfn_notify, user_data, &error);
	arax_writer_free(&request);
	set_error(errcode_ret, error);
	return program;
}
