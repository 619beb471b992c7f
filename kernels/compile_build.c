/* SPDX-License-Identifier: Apache-2.0
 *
 * One build in a process that exists for nothing else: what is allocated here for the result is
 * freed by the process's end.
 */
#include "kernels/compile_build.h"

#include "kernels/compile_binary.h"
#include "kernels/compile_files.h"
#include "kernels/compile_kernels.h"
#include "kernels/compile_names.h"
#include "kernels/compile_options.h"
#include "kernels/compile_variants.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct build {
	const struct pocl *pocl;
	struct arax_reader reader;
	enum arax_build_kind kind;
	char *options; /* the application's */
	char *passed;  /* PoCL's */
	cl_program program;
	struct names names; /* too long for PoCL */
	struct arax_result result;
	const struct registry *registry; /* or NULL */
	struct variants_program builtin;
};

static cl_int build_error_of(uint32_t kind)
{
	switch (kind) {
	case ARAX_BUILD_COMPILE:
		return CL_COMPILE_PROGRAM_FAILURE;
	case ARAX_BUILD_LINK:
		return CL_LINK_PROGRAM_FAILURE;
	default:
		return CL_BUILD_PROGRAM_FAILURE;
	}
}

static cl_int build_option_error_of(uint32_t kind)
{
	switch (kind) {
	case ARAX_BUILD_COMPILE:
		return CL_INVALID_COMPILER_OPTIONS;
	case ARAX_BUILD_LINK:
		return CL_INVALID_LINKER_OPTIONS;
	default:
		return CL_INVALID_BUILD_OPTIONS;
	}
}

void build_failure(struct arax_writer *w, uint32_t kind, bool ours, const char *log)
{
	char *options = strdup(""), *text = strdup(log);
	struct arax_result result = {.error = ours ? CL_OUT_OF_RESOURCES : build_error_of(kind),
				     .options = options,
				     .log = text};

	arax_result_write(w, &result);
	free(options);
	free(text);
}

/* A result with this error and one line of log. */
static int build_refuse(struct build *build, cl_int error, const char *what, const char *which)
{
	build->result.error = error;
	if (asprintf(&build->result.log, "%s%s\n", what, which) < 0) {
		build->result.log = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* Checks the options. Return: 0 to go on, 1 when the result is already there, -errno. */
static bool has_word(const char *text, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = text; (at = strstr(at, word)) != NULL; at += length) {
		if ((at == text || at[-1] == ' ') && (!at[length] || at[length] == ' '))
			return true;
	}
	return false;
}

uint32_t build_flags(const char *options)
{
	uint32_t flags = 0;

	if (has_word(options, "-cl-kernel-arg-info"))
		flags |= ARAX_RESULT_ARG_INFO;
	if (has_word(options, "-cl-denorms-are-zero"))
		flags |= ARAX_RESULT_DENORMS_ZERO;
	if (has_word(options, "-cl-fast-relaxed-math"))
		flags |= ARAX_RESULT_FAST_RELAXED;
	return flags;
}

static int build_options(struct build *build, const char *prefix)
{
	char *refused;
	int error = options_check(build->kind, build->options, prefix, &build->passed, &refused);

	build->result.flags |= build_flags(build->options);
	if (error != -EINVAL)
		return error;
	error = build_refuse(build, build_option_error_of(build->kind),
			     "error: unknown or misplaced option: ", refused);
	return error ? error : 1;
}

/* What a source tells about its kernels before anybody compiles it. */
static int build_note(struct build *build, const void *text, size_t size)
{
	if (!text)
		return 0;
	if (memmem(text, size, "printf", 6))
		build->result.flags |= ARAX_RESULT_PRINTF;
	return names_scan(&build->names, text, size);
}

/* The files that the source may include; *prefix makes them visible. */
static int build_files(struct build *build, char **prefix)
{
	uint32_t count = arax_read_u32(&build->reader);
	struct files *files = files_new(NULL);
	int error = files ? 0 : -EIO;

	for (uint32_t i = 0; !error && i < count && !build->reader.failed; i++) {
		size_t size;
		char *path = arax_read_string(&build->reader);
		const void *data = arax_read_bytes(&build->reader, &size);

		if (path && !build->reader.failed)
			error = files_add(files, path, data, size);
		if (!error)
			error = build_note(build, data, size);
		free(path);
	}
	char *cwd = arax_read_string(&build->reader);
	if (!error && build->reader.failed)
		error = -EPROTO;
	if (!error)
		error = files_options(files, cwd, prefix);
	free(cwd);
	files_free(files);
	return error;
}

struct headers {
	cl_uint count;
	cl_program *programs;
	const char **names;
};

static int build_headers(struct build *build, struct headers *headers)
{
	uint32_t count = arax_read_u32(&build->reader);

	/* Each takes 16 bytes at least. */
	if (build->reader.failed || count > (build->reader.size - build->reader.at) / 16)
		return -EPROTO;
	headers->programs = calloc(count + 1, sizeof(cl_program));
	headers->names = calloc(count + 1, sizeof(char *));
	if (!headers->programs || !headers->names)
		return -ENOMEM;
	for (; headers->count < count; headers->count++) {
		cl_int status;
		char *name = arax_read_string(&build->reader);
		char *text = arax_read_string(&build->reader);

		if (build->reader.failed || !name || !text)
			return -EPROTO;
		/* PoCL writes it below a directory of its own. */
		if (!files_name_good(name))
			return -EINVAL;
		if (build_note(build, text, strlen(text)))
			return -ENOMEM;
		headers->names[headers->count] = name;
		headers->programs[headers->count] = build->pocl->cl->clCreateProgramWithSource(
		    build->pocl->context, 1, (const char **)&text, NULL, &status);
		if (!headers->programs[headers->count])
			return -ENOMEM;
	}
	return 0;
}

static cl_int build_call_source(struct build *build, const struct headers *headers)
{
	const struct pocl *pocl = build->pocl;

	if (build->kind == ARAX_BUILD_COMPILE)
		return pocl->cl->clCompileProgram(
		    build->program, 1, &pocl->device, build->passed, headers->count,
		    headers->count ? headers->programs : NULL,
		    headers->count ? headers->names : NULL, NULL, NULL);
	return pocl->cl->clBuildProgram(build->program, 1, &pocl->device, build->passed, NULL,
					NULL);
}

static int build_source(struct build *build)
{
	struct headers headers = {0};
	char *prefix = NULL, *before = NULL;
	cl_int status;
	char *source = arax_read_string(&build->reader);

	if (!source)
		return -EPROTO;
	int error = build_note(build, source, strlen(source));
	if (!error)
		error = build_note(build, build->options, strlen(build->options));
	if (!error)
		error = build_files(build, &prefix);
	if (!error)
		error = build_headers(build, &headers);
	if (error == -EINVAL)
		return build_refuse(build, build_error_of(build->kind),
				    "error: a file's name is not acceptable", "");
	if (!error)
		error = names_options(&build->names, prefix, &before);
	if (!error)
		error = build_options(build, before);
	if (error)
		return error < 0 ? error : 0;

	build->program = build->pocl->cl->clCreateProgramWithSource(
	    build->pocl->context, 1, (const char **)&source, NULL, &status);
	build->result.error = build->program ? build_call_source(build, &headers) : status;
	return 0;
}

static cl_program build_input(struct build *build)
{
	size_t size;
	cl_int status, loaded;
	const void *data = arax_read_bytes(&build->reader, &size);
	struct arax_result *input = data ? arax_result_parse(data, size) : NULL;

	if (!input || input->error != CL_SUCCESS || !input->binary)
		return NULL;
	build->result.flags |= input->flags;
	for (uint32_t i = 0; i < input->nkernels; i++) {
		const char *name = input->kernels[i].name;

		if (names_scan(&build->names, name, strlen(name)))
			return NULL;
	}
	size_t length = input->binary_size;
	const unsigned char *binary = input->binary;
	return build->pocl->cl->clCreateProgramWithBinary(
	    build->pocl->context, 1, &build->pocl->device, &length, &binary, &loaded, &status);
}

static int build_binary(struct build *build)
{
	const struct pocl *pocl = build->pocl;
	uint32_t count = arax_read_u32(&build->reader);

	if (build->reader.failed || count == 0 ||
	    count > (build->reader.size - build->reader.at) / 8 ||
	    (build->kind == ARAX_BUILD_REBUILD && count != 1))
		return -EPROTO;
	cl_program *inputs = calloc(count, sizeof(cl_program));
	if (!inputs)
		return -ENOMEM;
	int error = build_options(build, NULL);
	for (uint32_t i = 0; !error && i < count; i++) {
		inputs[i] = build_input(build);
		if (!inputs[i])
			error = build_refuse(build, build_error_of(build->kind),
					     "error: an input is not a program's binary", "")
				    ?: 1;
	}
	if (!error && build->kind == ARAX_BUILD_REBUILD) {
		build->program = inputs[0];
		build->result.error = pocl->cl->clBuildProgram(build->program, 1, &pocl->device,
							       build->passed, NULL, NULL);
	} else if (!error) {
		build->program = pocl->cl->clLinkProgram(
		    pocl->context, 1, &pocl->device, *build->passed ? build->passed : NULL, count,
		    inputs, NULL, NULL, &build->result.error);
	}
	free(inputs);
	return error < 0 ? error : 0;
}

/* A program of built-in kernels, made of their references. */
static int build_builtin(struct build *build)
{
	static const struct registry none;
	const struct pocl *pocl = build->pocl;
	char *unknown, *refused, *names = arax_read_string(&build->reader);
	cl_int status;

	if (!names || build->reader.failed)
		return -EPROTO;
	int error = variants_program(build->registry ? build->registry : &none, names,
				     &build->builtin, &unknown);
	if (error == -ENOENT)
		return build_refuse(build, CL_BUILD_PROGRAM_FAILURE,
				    "error: there is no built-in kernel ", unknown);
	if (!error)
		error = options_check(build->kind, build->builtin.options, NULL, &build->passed,
				      &refused);
	if (error)
		return error;
	build->result.flags |= build_flags(build->builtin.options) | ARAX_RESULT_ARG_INFO;
	build->program = pocl->cl->clCreateProgramWithSource(
	    pocl->context, 1, (const char **)&build->builtin.text, NULL, &status);
	build->result.error = build->program
				  ? pocl->cl->clBuildProgram(build->program, 1, &pocl->device,
							     build->passed, NULL, NULL)
				  : status;
	return 0;
}

/* What is registered for a program that has been built. */
static int build_variants(struct build *build)
{
	const bool builtin = build->kind == ARAX_BUILD_BUILTIN;
	struct arax_result *result = &build->result;
	int error = builtin ? variants_program_end(&build->builtin, result) : 0;

	if (error == -EINVAL) {
		result->error = CL_BUILD_PROGRAM_FAILURE;
		return 0;
	}
	return error
		   ?: variants_add(build->pocl, build->registry, builtin ? "" : build->options,
				   result);
}

/* PoCL ends a failed build with a line about a device that the application does not know. */
static void build_log_anonymous(char *log)
{
	static const char before[] = "Device ", after[] = " failed to build the program",
			  by[] = "Arax";
	char *name = strstr(log, before), *end = name ? strstr(name, after) : NULL;

	if (!end || memchr(name, '\n', (size_t)(end - name)) ||
	    (size_t)(end - name) < strlen(before) + strlen(by))
		return;
	name += strlen(before);
	memcpy(name, by, strlen(by));
	memmove(name + strlen(by), end, strlen(end) + 1);
}

/* The source's name in PoCL's messages is that of a temporary file. */
static void build_log_tidy(char *log)
{
	static const char prefix[] = "cache/tempfile_", name[] = "program";
	const size_t random = 6;

	for (char *at = log; (at = strstr(at, prefix)) != NULL;) {
		char *suffix = at + strlen(prefix) + random;

		if (strnlen(at, strlen(prefix) + random) < strlen(prefix) + random ||
		    strncmp(suffix, ".cl", 3) != 0) {
			at++;
			continue;
		}
		memcpy(at, name, strlen(name));
		memmove(at + strlen(name), suffix, strlen(suffix) + 1);
	}
}

static void build_log(struct build *build)
{
	const struct pocl *pocl = build->pocl;
	size_t size = 0;

	if (!build->program || build->result.log)
		return;
	if (pocl->cl->clGetProgramBuildInfo(build->program, pocl->device, CL_PROGRAM_BUILD_LOG, 0,
					    NULL, &size) != CL_SUCCESS)
		return;
	build->result.log = calloc(1, size + 1);
	if (build->result.log && size)
		(void)pocl->cl->clGetProgramBuildInfo(build->program, pocl->device,
						      CL_PROGRAM_BUILD_LOG, size, build->result.log,
						      NULL);
	if (build->result.log)
		build_log_tidy(build->result.log);
	if (build->result.log)
		build_log_anonymous(build->result.log);
}

/* Kernels have their long names again; what is to be linked later tells them to who does it. */
static cl_int build_names(struct build *build)
{
	struct arax_result *result = &build->result;

	if (result->binary_type != CL_PROGRAM_BINARY_TYPE_EXECUTABLE) {
		result->kernels = calloc(build->names.count + 1, sizeof(*result->kernels));
		if (!result->kernels)
			return CL_OUT_OF_HOST_MEMORY;
		for (size_t i = 0; i < build->names.count; i++)
			result->kernels[i].name = build->names.list[i];
		result->nkernels = (uint32_t)build->names.count;
		return CL_SUCCESS;
	}
	for (uint32_t i = 0; i < result->nkernels; i++) {
		const char *name = names_long(&build->names, result->kernels[i].name);

		if (name == result->kernels[i].name)
			continue;
		result->kernels[i].name = strdup(name);
		if (!result->kernels[i].name)
			return CL_OUT_OF_HOST_MEMORY;
	}
	return CL_SUCCESS;
}

static cl_int build_facts(struct build *build)
{
	const struct pocl *pocl = build->pocl;
	struct arax_result *result = &build->result;
	cl_program_binary_type type = CL_PROGRAM_BINARY_TYPE_NONE;
	size_t globals = 0, size = 0;
	void *binary = NULL;
	cl_int status = pocl->cl->clGetProgramBuildInfo(
	    build->program, pocl->device, CL_PROGRAM_BINARY_TYPE, sizeof(type), &type, NULL);

	/* Not every version knows it; none is then the truth. */
	if (pocl->cl->clGetProgramBuildInfo(build->program, pocl->device,
					    CL_PROGRAM_BUILD_GLOBAL_VARIABLE_TOTAL_SIZE,
					    sizeof(globals), &globals, NULL) != CL_SUCCESS)
		globals = 0;
	result->binary_type = type;
	result->global_variable_size = globals;
	if (status == CL_SUCCESS)
		status = pocl_binary(pocl, build->program, &binary, &size);
	if (status == CL_SUCCESS && type == CL_PROGRAM_BINARY_TYPE_EXECUTABLE)
		size = binary_strip(binary, size);
	result->binary = binary;
	result->binary_size = size;
	if (status == CL_SUCCESS && type == CL_PROGRAM_BINARY_TYPE_EXECUTABLE)
		status = kernels_describe(pocl, build->program, result);
	if (status == CL_SUCCESS)
		status = build_names(build);
	return status;
}

static void build_targets(struct build *build)
{
	static struct arax_target targets[2];
	static char basic[] = "cpu-basic", pthread[] = "cpu-pthread";

	targets[0] = (struct arax_target){.device = basic, .id = build->pocl->basic_id};
	targets[1] = (struct arax_target){.device = pthread, .id = build->pocl->pthread_id};
	build->result.targets = targets;
	build->result.ntargets = build->pocl->has_pthread ? 2 : 1;
}

/* PoCL's error as the application must see it. */
static cl_int build_error(const struct build *build)
{
	switch (build->result.error) {
	case CL_SUCCESS:
	case CL_OUT_OF_HOST_MEMORY:
	case CL_OUT_OF_RESOURCES:
		return build->result.error;
	case CL_INVALID_BUILD_OPTIONS:
	case CL_INVALID_COMPILER_OPTIONS:
	case CL_INVALID_LINKER_OPTIONS:
		return build_option_error_of(build->kind);
	default:
		return build_error_of(build->kind);
	}
}

/* An application that asks for the log of a failure gets at least the fact: PoCL is silent about
 * some of them. */
static int build_log_ensure(struct build *build)
{
	struct arax_result *result = &build->result;
	const char *what = build->kind == ARAX_BUILD_COMPILE ? "compile"
			   : build->kind == ARAX_BUILD_LINK  ? "link"
							     : "build";

	if (result->log && (result->log[0] || result->error == CL_SUCCESS))
		return 0;
	free(result->log);
	if (result->error == CL_SUCCESS) {
		result->log = strdup("");
		return result->log ? 0 : -ENOMEM;
	}
	if (asprintf(&result->log, "error: %s failed; the compiler gave no reason\n", what) < 0) {
		result->log = NULL;
		return -ENOMEM;
	}
	return 0;
}

static int build_parse(struct build *build)
{
	struct arax_reader *reader = &build->reader;

	if (arax_read_u32(reader) != ARAX_BUILD_MAGIC ||
	    arax_read_u32(reader) != ARAX_BUILD_VERSION)
		return -EPROTO;
	build->kind = arax_read_u32(reader);
	build->options = arax_read_string(reader);
	if (reader->failed || !build->options)
		return -EPROTO;
	switch (build->kind) {
	case ARAX_BUILD_EXECUTABLE:
	case ARAX_BUILD_COMPILE:
		return build_source(build);
	case ARAX_BUILD_LINK:
	case ARAX_BUILD_REBUILD:
		return build_binary(build);
	case ARAX_BUILD_BUILTIN:
		return build_builtin(build);
	}
	return -EPROTO;
}

int build_run(const struct pocl *pocl, const void *request, size_t size,
	      const struct registry *registry, struct arax_writer *w)
{
	struct build build = {
	    .pocl = pocl, .registry = registry, .reader = {.data = request, .size = size}};
	int error = build_parse(&build);

	if (error)
		return error;
	build_log(&build);
	if (build.result.error == CL_SUCCESS && build.program)
		build.result.error = build_facts(&build);
	if (build.result.error == CL_SUCCESS && registry &&
	    build.result.binary_type == CL_PROGRAM_BINARY_TYPE_EXECUTABLE)
		error = build_variants(&build);
	if (error)
		return error;
	build.result.error = build_error(&build);
	if (build.result.error == CL_SUCCESS) {
		build_targets(&build);
	} else {
		build.result.binary = NULL;
		build.result.binary_size = 0;
		build.result.nkernels = 0;
		build.result.binary_type = CL_PROGRAM_BINARY_TYPE_NONE;
	}
	build.result.options = build.options;
	error = build_log_ensure(&build);
	if (error)
		return error;
	arax_result_write(w, &build.result);
	return w->failed ? -ENOMEM : 0;
}
