/* SPDX-License-Identifier: Apache-2.0
 *
 * The discrete back end on native OpenCL libraries: builds and kernels.
 *
 * A program comes as the request that arax-compile got for the CPU, and the library's own compiler
 * builds it, one program after the other on one thread beside the device's work. A compiler that
 * crashes takes the process with it, which is private to one tenant.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "devices/opencl_discrete_internal.h"
#include "kernels/compile_files.h"
#include "kernels/compile_options.h"
#include "kernels/tree.h"

/* Registered variants of a program's kernels, besides the program. */
struct program_variant {
	const struct arax_variant *variant; /* of the result, which outlives the program */
	cl_program program;
};

struct arax_device_program {
	cl_program program; /* NULL: it was not built */
	unsigned nvariants;
	struct program_variant *variants;
	/* Under the builder's mutex: */
	unsigned refs; /* whoever loaded it, and its build */
	bool ended, unwanted;
	int status; /* when ended: 0 or a negative OpenCL error */
};

struct discrete_build {
	struct discrete_build *next;
	struct discrete_device *device;
	struct arax_device_program *program;
	struct arax_program_source source;
	/* While it is built: */
	char directory[300];
	char *text, *options, *passed, *log;
};

static void program_unref(struct discrete_device *device, struct arax_device_program *program)
{
	pthread_mutex_lock(&device->builder.mutex);
	bool last = !--program->refs;
	pthread_mutex_unlock(&device->builder.mutex);
	if (!last)
		return;
	discrete_enter(device);
	if (program->program)
		device->opencl->cl->clReleaseProgram(program->program);
	for (unsigned i = 0; i < program->nvariants; i++)
		device->opencl->cl->clReleaseProgram(program->variants[i].program);
	discrete_leave(device);
	free(program->variants);
	free(program);
}

static int say(struct discrete_build *build, int status, const char *what, const char *which)
{
	if (asprintf(&build->log, "error: %s%s\n", what, which) < 0) {
		build->log = NULL;
		return CL_OUT_OF_HOST_MEMORY;
	}
	return status;
}

/* ---- from a request to a source and options -------------------------------------------------- */

/* The files that the source may include; *prefix makes the compiler see them. Return: -errno. */
static int lay_out(struct discrete_build *build, struct arax_reader *reader, char **prefix)
{
	uint32_t count = arax_read_u32(reader);
	struct files *files = files_new(build->directory);
	int error = files ? 0 : -errno;
	for (uint32_t i = 0; !error && i < count && !reader->failed; i++) {
		size_t size;
		char *path = arax_read_string(reader);
		const void *data = arax_read_bytes(reader, &size);
		if (!path)
			error = -ENOMEM;
		else if (!reader->failed)
			error = files_add(files, path, data, size);
		free(path);
	}
	char *cwd = error ? NULL : arax_read_string(reader);
	if (!error && !cwd)
		error = -ENOMEM;
	if (!error && reader->failed)
		error = -EPROTO;
	if (!error && build->device->library->clang_words)
		error = files_options_clang(files, cwd, prefix);
	else if (!error)
		error = files_options(files, cwd, prefix);
	free(cwd);
	files_free(files);
	return error;
}

static bool is_refused(const struct discrete_library *library, const char *word, size_t length)
{
	for (size_t i = 0; i < sizeof(library->refused) / sizeof(library->refused[0]); i++) {
		const char *refused = library->refused[i];
		if (refused && strlen(refused) == length && !memcmp(refused, word, length))
			return true;
	}
	return false;
}

/* Leaves out, in place, the words that this library would refuse. None of them has quotes. */
static void leave_out(const struct discrete_library *library, char *options)
{
	char *to = options;
	for (const char *at = options; *at;) {
		bool quoted = false;
		const char *end = at;
		for (; *end && (quoted || *end != ' '); end++)
			quoted ^= *end == '"';
		size_t length = (size_t)(end - at) + (*end == ' ');
		if (!is_refused(library, at, (size_t)(end - at))) {
			memmove(to, at, length);
			to += length;
		}
		at += length;
	}
	*to = 0;
}

static int prepare_options(struct discrete_build *build, const char *prefix)
{
	char *refused = NULL;
	int error =
	    options_check(ARAX_BUILD_EXECUTABLE, build->options, prefix, &build->passed, &refused);
	int status = 0;
	if (error == -EINVAL)
		status = say(build, CL_INVALID_BUILD_OPTIONS,
			     "unknown or misplaced option: ", refused ?: "");
	else if (error)
		status = CL_OUT_OF_HOST_MEMORY;
	else
		leave_out(build->device->library, build->passed);
	free(refused);
	return status;
}

/* A text with a zero at its end; NULL without memory. */
static char *text_of(const struct arax_variant *variant)
{
	return strndup(variant->data ? variant->data : "", variant->size);
}

/* A program that comes without a request: of built-in kernels. */
static int prepare_variant(struct discrete_build *build, const struct arax_variant *variant)
{
	build->options = strdup(variant->options);
	build->text = text_of(variant);
	if (!build->options || !build->text)
		return CL_OUT_OF_HOST_MEMORY;
	return prepare_options(build, NULL);
}

/* Return: 0 or the status of the build, which has then ended. */
static int prepare(struct discrete_build *build)
{
	const struct arax_variant *own =
	    arax_result_variant(build->source.result, ARAX_VARIANT_PROGRAM, NULL, NULL, NULL);
	struct arax_reader reader = {.data = build->source.request,
				     .size = build->source.request_size};
	char *prefix = NULL;
	if (!build->source.request && own)
		return prepare_variant(build, own);
	if (!build->source.request)
		return say(build, CL_INVALID_PROGRAM_EXECUTABLE,
			   "this device builds from source, and the program has none", "");
	uint32_t magic = arax_read_u32(&reader), version = arax_read_u32(&reader);
	uint32_t kind = arax_read_u32(&reader);
	if (!reader.failed && magic == ARAX_BUILD_MAGIC && version == ARAX_BUILD_VERSION &&
	    kind != ARAX_BUILD_EXECUTABLE)
		return say(build, CL_INVALID_PROGRAM_EXECUTABLE,
			   "this device builds from one source, and the program was ",
			   kind == ARAX_BUILD_REBUILD ? "made from a binary" : "linked");
	build->options = arax_read_string(&reader);
	build->text = arax_read_string(&reader);
	if (!build->options || !build->text)
		return CL_OUT_OF_HOST_MEMORY;
	if (reader.failed || magic != ARAX_BUILD_MAGIC || version != ARAX_BUILD_VERSION)
		return say(build, CL_INVALID_PROGRAM_EXECUTABLE, "not a build request", "");
	int error = lay_out(build, &reader, &prefix);
	int status = 0;
	if (error == -ENOMEM)
		status = CL_OUT_OF_HOST_MEMORY;
	else if (error)
		status = say(build, CL_INVALID_PROGRAM_EXECUTABLE,
			     "the program's files: ", strerrordesc_np(-error));
	else
		status = prepare_options(build, prefix);
	free(prefix);
	return status;
}

/* ---- the compiler ---------------------------------------------------------------------------- */

static void fetch_log(struct discrete_build *build, cl_program program)
{
	const cl_icd_dispatch *cl = build->device->opencl->cl;
	cl_device_id id = build->device->native.id;
	size_t size = 0;
	if (cl->clGetProgramBuildInfo(program, id, CL_PROGRAM_BUILD_LOG, 0, NULL, &size))
		return;
	build->log = calloc(1, size + 1);
	if (build->log && size)
		(void)cl->clGetProgramBuildInfo(program, id, CL_PROGRAM_BUILD_LOG, size, build->log,
						NULL);
}

static int compile(struct discrete_build *build, cl_program *out)
{
	const cl_icd_dispatch *cl = build->device->opencl->cl;
	cl_device_id id = build->device->native.id;
	cl_int err;
	cl_program program = cl->clCreateProgramWithSource(build->device->opencl->context, 1,
							   (const char **)&build->text, NULL, &err);
	if (err)
		return err;
	err = cl->clBuildProgram(program, 1, &id, build->passed, NULL, NULL);
	fetch_log(build, program);
	if (err)
		cl->clReleaseProgram(program);
	else
		*out = program;
	return err;
}

/* What is registered for this target. Without one of them the program does. */
static void compile_variants(const struct discrete_build *build)
{
	struct discrete_device *device = build->device;
	struct arax_device_program *program = build->program;
	const struct arax_result *result = build->source.result;
	const struct arax_variant *variant = NULL;
	if (!result || !result->nvariants)
		return;
	program->variants = calloc(result->nvariants, sizeof(*program->variants));
	while (program->variants &&
	       (variant = arax_result_variant(result, ARAX_VARIANT_SOURCE, NULL,
					      device->caps.target, variant))) {
		struct discrete_build one = {.device = device};
		struct program_variant *built = &program->variants[program->nvariants];
		built->variant = variant;
		int status = prepare_variant(&one, variant);
		discrete_enter(device);
		if (!status)
			status = compile(&one, &built->program);
		discrete_leave(device);
		if (!status)
			program->nvariants++;
		free(one.text);
		free(one.options);
		free(one.passed);
		free(one.log);
	}
}

static int run(struct discrete_build *build, cl_program *out)
{
	struct discrete_device *device = build->device;
	snprintf(build->directory, sizeof(build->directory), "%s/%u", device->scratch,
		 device->builder.number++);
	if (mkdir(build->directory, 0700))
		return say(build, CL_OUT_OF_RESOURCES,
			   "no scratch directory: ", strerrordesc_np(errno));
	int status = prepare(build);
	if (!status) {
		discrete_enter(device);
		status = compile(build, out);
		discrete_leave(device);
	}
	if (!status)
		compile_variants(build);
	arax_tree_remove(build->directory);
	return status;
}

static void end_build(struct discrete_build *build, int status, cl_program native)
{
	struct discrete_builder *builder = &build->device->builder;
	struct arax_device_program *program = build->program;
	const char *log = build->log ?: "";
	if (status && !*log)
		log = "error: the build failed; the compiler gave no reason\n";
	pthread_mutex_lock(&builder->mutex);
	program->program = native;
	program->status = status;
	program->ended = true;
	pthread_cond_broadcast(&builder->changed);
	pthread_mutex_unlock(&builder->mutex);
	if (build->source.done)
		build->source.done(build->source.arg, status, log);
	program_unref(build->device, program);
	free(build->text);
	free(build->options);
	free(build->passed);
	free(build->log);
	free(build);
}

/* Return: NULL: stop. *wanted: whether somebody still waits for it. */
static struct discrete_build *next_build(struct discrete_builder *builder, bool *wanted)
{
	pthread_mutex_lock(&builder->mutex);
	while (!builder->first && !builder->stop)
		pthread_cond_wait(&builder->changed, &builder->mutex);
	struct discrete_build *build = builder->first;
	if (build) {
		builder->first = build->next;
		if (!builder->first)
			builder->last = &builder->first;
		*wanted = !builder->stop && !build->program->unwanted;
	}
	pthread_mutex_unlock(&builder->mutex);
	return build;
}

static void *builder_run(void *arg)
{
	struct discrete_device *device = arg;
	bool wanted;
	for (struct discrete_build *build; (build = next_build(&device->builder, &wanted));) {
		cl_program native = NULL;
		int status = wanted ? run(build, &native) : CL_OUT_OF_RESOURCES;
		end_build(build, status, native);
	}
	return NULL;
}

int discrete_builder_start(struct discrete_device *device)
{
	device->builder.last = &device->builder.first;
	return -discrete_thread(&device->builder.thread, builder_run, device);
}

void discrete_builder_stop(struct discrete_device *device)
{
	pthread_mutex_lock(&device->builder.mutex);
	device->builder.stop = true;
	pthread_cond_broadcast(&device->builder.changed);
	pthread_mutex_unlock(&device->builder.mutex);
	pthread_join(device->builder.thread, NULL);
}

/* ---- programs and kernels -------------------------------------------------------------------- */

static int wait_for(struct discrete_device *device, struct arax_device_program *program)
{
	struct discrete_builder *builder = &device->builder;
	pthread_mutex_lock(&builder->mutex);
	while (!program->ended)
		pthread_cond_wait(&builder->changed, &builder->mutex);
	int status = program->status;
	pthread_mutex_unlock(&builder->mutex);
	return status;
}

int discrete_program_load(struct arax_device *dev, const struct arax_program_source *source,
			  struct arax_device_program **out)
{
	struct discrete_device *device = discrete_device(dev);
	struct discrete_builder *builder = &device->builder;
	struct arax_device_program *program = calloc(1, sizeof(*program));
	struct discrete_build *build = calloc(1, sizeof(*build));
	if (!program || !build) {
		free(program);
		free(build);
		return CL_OUT_OF_HOST_MEMORY;
	}
	program->refs = 2;
	build->device = device;
	build->program = program;
	build->source = *source;
	/* Before its end can be told of. */
	*out = program;
	pthread_mutex_lock(&builder->mutex);
	*builder->last = build;
	builder->last = &build->next;
	pthread_cond_broadcast(&builder->changed);
	pthread_mutex_unlock(&builder->mutex);
	if (source->done)
		return 0;
	int status = wait_for(device, program);
	if (status) {
		*out = NULL;
		program_unref(device, program);
	}
	return status;
}

void discrete_program_free(struct arax_device *dev, struct arax_device_program *program)
{
	struct discrete_device *device = discrete_device(dev);
	if (!program)
		return;
	pthread_mutex_lock(&device->builder.mutex);
	program->unwanted = true;
	pthread_mutex_unlock(&device->builder.mutex);
	program_unref(device, program);
}

static uint64_t ask_kernel(const struct discrete_device *device, cl_kernel kernel,
			   cl_kernel_work_group_info what)
{
	uint64_t value = 0;
	if (device->opencl->cl->clGetKernelWorkGroupInfo(kernel, device->native.id, what,
							 sizeof(value), &value, NULL))
		return 0;
	return value;
}

/* Is this the name of a type of OpenCL C that is no struct? */
static bool is_plain_type(const char *name)
{
	static const char *const plain[] = {
	    "char",  "uchar",  "short", "ushort", "int",    "uint",	"long",	  "ulong",
	    "float", "double", "half",	"bool",	  "size_t", "unsigned", "signed", "sampler_t"};
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		size_t length = strlen(plain[i]);
		/* "int", "int4", "unsigned int" */
		if (!strncmp(name, plain[i], length) &&
		    (!name[length] || name[length] == ' ' ||
		     (name[length] >= '1' && name[length] <= '9')))
			return true;
	}
	return !strncmp(name, "image", 5);
}

static void note_structs(const struct discrete_device *device, struct arax_device_kernel *kernel)
{
	const cl_icd_dispatch *cl = device->opencl->cl;
	for (cl_uint i = 0; i < kernel->nargs && i < DISCRETE_ARGS_MAX; i++) {
		cl_kernel_arg_address_qualifier address = 0;
		char name[128] = ""; /* one that is longer is none of the language's */
		if (cl->clGetKernelArgInfo(kernel->kernel, i, CL_KERNEL_ARG_ADDRESS_QUALIFIER,
					   sizeof(address), &address, NULL) ||
		    address != CL_KERNEL_ARG_ADDRESS_PRIVATE)
			continue;
		(void)cl->clGetKernelArgInfo(kernel->kernel, i, CL_KERNEL_ARG_TYPE_NAME,
					     sizeof(name) - 1, name, NULL);
		kernel->structs[i] = !is_plain_type(name);
	}
}

/* Return: 0, or CL_INVALID_KERNEL: it can never run here. */
static cl_int describe(const struct discrete_device *device, struct arax_device_kernel *kernel)
{
	const cl_icd_dispatch *cl = device->opencl->cl;
	size_t group[3] = {0};
	cl_int err = cl->clGetKernelInfo(kernel->kernel, CL_KERNEL_NUM_ARGS, sizeof(kernel->nargs),
					 &kernel->nargs, NULL);
	if (err)
		return err;
	if (!device->library->sizes_wrong)
		kernel->group_max = ask_kernel(device, kernel->kernel, CL_KERNEL_WORK_GROUP_SIZE);
	if (!kernel->group_max || kernel->group_max > device->caps.max_group)
		kernel->group_max = device->caps.max_group;
	kernel->local_mem = ask_kernel(device, kernel->kernel, CL_KERNEL_LOCAL_MEM_SIZE);
	if (device->caps.local_mem && kernel->local_mem > device->caps.local_mem)
		return CL_INVALID_KERNEL;
	if (!cl->clGetKernelWorkGroupInfo(kernel->kernel, device->native.id,
					  CL_KERNEL_COMPILE_WORK_GROUP_SIZE, sizeof(group), group,
					  NULL) &&
	    group[0] * group[1] * group[2] > kernel->group_max)
		return CL_INVALID_KERNEL;
	if (device->library->structs_crash)
		note_structs(device, kernel);
	return 0;
}

static int kernel_make(struct discrete_device *device, struct arax_device_program *program,
		       cl_program native, const char *name, struct arax_device_kernel **out)
{
	struct arax_device_kernel *kernel = calloc(1, sizeof(*kernel));
	if (!kernel)
		return CL_OUT_OF_HOST_MEMORY;
	pthread_mutex_lock(&device->builder.mutex);
	cl_int err = program->ended && !program->status ? 0 : CL_INVALID_PROGRAM_EXECUTABLE;
	pthread_mutex_unlock(&device->builder.mutex);
	if (!err) {
		discrete_enter(device);
		kernel->kernel = device->opencl->cl->clCreateKernel(
		    native ? native : program->program, name, &err);
		if (!err) {
			err = describe(device, kernel);
			if (err)
				device->opencl->cl->clReleaseKernel(kernel->kernel);
		}
		discrete_leave(device);
	}
	if (err) {
		free(kernel);
		return err;
	}
	*out = kernel;
	return 0;
}

int discrete_kernel_new(struct arax_device *dev, struct arax_device_program *program,
			const char *name, struct arax_device_kernel **out)
{
	struct discrete_device *device = discrete_device(dev);
	int err = kernel_make(device, program, NULL, name, out);
	/* The build has ended, so the list does not change any more. */
	for (unsigned i = 0; !err && i < program->nvariants; i++) {
		const struct program_variant *variant = &program->variants[i];
		struct arax_device_kernel *tuned;
		if (strcmp(variant->variant->kernel, name) ||
		    kernel_make(device, program, variant->program, name, &tuned))
			continue;
		(*out)->tuned = tuned;
		(*out)->rules = &variant->variant->rules;
		break;
	}
	return err;
}

void discrete_kernel_free(struct arax_device *dev, struct arax_device_kernel *kernel)
{
	struct discrete_device *device = discrete_device(dev);
	if (!kernel)
		return;
	discrete_kernel_free(dev, kernel->tuned);
	discrete_enter(device);
	device->opencl->cl->clReleaseKernel(kernel->kernel);
	discrete_leave(device);
	free(kernel);
}
