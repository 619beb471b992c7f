/* SPDX-License-Identifier: Apache-2.0
 *
 * The back end on a native OpenCL library: programs, kernels and launches.
 *
 * Programs arrive as binaries only; this process never compiles. One binary serves all devices of
 * the library, except for the 8 bytes in its header by which PoCL recognises a device; and PoCL
 * aborts when one program object is built twice, so each device gets a program object of its own.
 *
 * Completion: an inline device has finished when clEnqueueNDRangeKernel returns. For the others an
 * event calls back on the library's thread, which passes the outcome on and does nothing else.
 */
#include <stdlib.h>
#include <string.h>

#include "devices/opencl_internal.h"
#include "transport/protocol.h"
#include "transport/wake.h"

#define POCL_ID_OFFSET 8

/* Registered variants of a program's kernels, besides the program. */
struct program_variant {
	const struct arax_variant *variant; /* of the result, which outlives the program */
	cl_program program;
};

struct arax_device_program {
	cl_program program;
	unsigned nvariants;
	struct program_variant *variants;
};

/* What an argument of a kernel was last set to, as far as it fits: setting it to the same again
 * costs as much as a tenth of a small launch, and most launches change few arguments or none. */
struct last_arg {
	uint32_t kind;
	uint32_t set;
	uint64_t size;
	union {
		unsigned char bytes[16];
		const void *pointer; /* the library's own object, or the SVM pointer */
	};
};

struct arax_device_kernel {
	cl_kernel kernel;
	cl_uint nargs;
	/* What launches go to instead where the rules allow it; NULL for nearly every kernel. */
	struct arax_device_kernel *tuned;
	const struct arax_variant_rules *rules;
	struct last_arg last[];
};

static const struct arax_target *find_target(const struct arax_device *dev,
					     const struct arax_result *result)
{
	for (uint32_t i = 0; i < result->ntargets; i++) {
		if (!strcmp(result->targets[i].device, dev->name))
			return &result->targets[i];
	}
	return NULL;
}

/* A binary as this device wants it; to be freed. */
static unsigned char *binary_for(const void *data, size_t size, const struct arax_target *target)
{
	unsigned char *binary = malloc(size);
	if (!binary)
		return NULL;
	memcpy(binary, data, size);
	memcpy(binary + POCL_ID_OFFSET, &target->id, sizeof(target->id));
	return binary;
}

/* PoCL keeps how to treat denormals with the build, not with the binary. */
static const char *options_for(uint32_t flags)
{
	bool denorms = flags & ARAX_RESULT_DENORMS_ZERO;

	if (flags & ARAX_RESULT_FAST_RELAXED)
		return denorms ? "-cl-denorms-are-zero -cl-fast-relaxed-math"
			       : "-cl-fast-relaxed-math";
	return denorms ? "-cl-denorms-are-zero" : "";
}

static cl_int build(const struct opencl_device *device, const unsigned char *binary, size_t size,
		    const char *options, cl_program *program)
{
	const cl_icd_dispatch *cl = device->opencl->cl;
	cl_int err, status = 0;
	*program = cl->clCreateProgramWithBinary(device->opencl->context, 1, &device->id, &size,
						 &binary, &status, &err);
	if (err || status) {
		if (!err)
			cl->clReleaseProgram(*program);
		return err ? err : status;
	}
	err = cl->clBuildProgram(*program, 1, &device->id, options, NULL, NULL);
	if (err)
		cl->clReleaseProgram(*program);
	return err;
}

static cl_int load(const struct opencl_device *device, const void *data, size_t size,
		   uint32_t flags, const struct arax_target *target, cl_program *program)
{
	if (!data || size < POCL_ID_OFFSET + sizeof(target->id))
		return CL_INVALID_BINARY;
	unsigned char *binary = binary_for(data, size, target);
	if (!binary)
		return CL_OUT_OF_HOST_MEMORY;
	cl_int err = build(device, binary, size, options_for(flags), program);
	free(binary);
	return err;
}

/* What is registered for this kind of device. Without one of them the program does. */
static void load_variants(const struct opencl_device *device, const struct arax_result *result,
			  const struct arax_target *target, struct arax_device_program *program)
{
	const struct arax_variant *variant = NULL;
	program->variants = calloc(result->nvariants, sizeof(*program->variants));
	while (program->variants && (variant = arax_result_variant(result, ARAX_VARIANT_BINARY,
								   NULL, "pocl", variant))) {
		struct program_variant *loaded = &program->variants[program->nvariants];
		loaded->variant = variant;
		if (!strcmp(variant->format, "pocl") &&
		    !load(device, variant->data, variant->size, variant->flags, target,
			  &loaded->program))
			program->nvariants++;
	}
}

int opencl_program_load(struct arax_device *dev, const struct arax_program_source *source,
			struct arax_device_program **out)
{
	const struct arax_result *result = source->result;
	const struct arax_target *target = find_target(dev, result);
	if (!target)
		return CL_INVALID_BINARY;
	struct arax_device_program *program = calloc(1, sizeof(*program));
	if (!program)
		return CL_OUT_OF_HOST_MEMORY;
	int err = load(opencl_device(dev), result->binary, result->binary_size, result->flags,
		       target, &program->program);
	if (err) {
		free(program);
		return err;
	}
	if (result->nvariants)
		load_variants(opencl_device(dev), result, target, program);
	*out = program;
	return 0;
}

void opencl_program_free(struct arax_device *dev, struct arax_device_program *program)
{
	if (!program)
		return;
	for (unsigned i = 0; i < program->nvariants; i++)
		opencl_cl(dev)->clReleaseProgram(program->variants[i].program);
	opencl_cl(dev)->clReleaseProgram(program->program);
	free(program->variants);
	free(program);
}

static cl_int kernel_make(const cl_icd_dispatch *cl, cl_program program, const char *name,
			  struct arax_device_kernel **out)
{
	cl_int err;
	char shortened[ARAX_KERNEL_NAME_SHORT];
	cl_uint nargs = 0;
	cl_kernel native =
	    cl->clCreateKernel(program, arax_kernel_short_name(name, shortened), &err);
	if (err)
		return err;
	err = cl->clGetKernelInfo(native, CL_KERNEL_NUM_ARGS, sizeof(nargs), &nargs, NULL);
	struct arax_device_kernel *kernel =
	    err ? NULL : calloc(1, sizeof(*kernel) + nargs * sizeof(kernel->last[0]));
	if (!kernel) {
		cl->clReleaseKernel(native);
		return err ? err : CL_OUT_OF_HOST_MEMORY;
	}
	kernel->kernel = native;
	kernel->nargs = nargs;
	*out = kernel;
	return 0;
}

int opencl_kernel_new(struct arax_device *dev, struct arax_device_program *program,
		      const char *name, struct arax_device_kernel **out)
{
	const cl_icd_dispatch *cl = opencl_cl(dev);
	cl_int err = kernel_make(cl, program->program, name, out);
	for (unsigned i = 0; !err && i < program->nvariants; i++) {
		const struct program_variant *variant = &program->variants[i];
		struct arax_device_kernel *tuned;
		if (strcmp(variant->variant->kernel, name) ||
		    kernel_make(cl, variant->program, name, &tuned))
			continue;
		(*out)->tuned = tuned;
		(*out)->rules = &variant->variant->rules;
		break;
	}
	return err;
}

void opencl_kernel_free(struct arax_device *dev, struct arax_device_kernel *kernel)
{
	if (!kernel)
		return;
	opencl_kernel_free(dev, kernel->tuned);
	opencl_cl(dev)->clReleaseKernel(kernel->kernel);
	free(kernel);
}

cl_int opencl_set_arg(const cl_icd_dispatch *cl, cl_kernel kernel, cl_uint index,
		      const struct arax_launch_arg *arg)
{
	cl_mem null = NULL;
	switch (arg->kind) {
	case ARAX_ARG_VALUE:
		return cl->clSetKernelArg(kernel, index, arg->size, arg->value);
	case ARAX_ARG_LOCAL:
		return cl->clSetKernelArg(kernel, index, arg->size, NULL);
	case ARAX_ARG_MEM:
		return cl->clSetKernelArg(kernel, index, sizeof(cl_mem),
					  arg->mem ? &arg->mem->mem : &null);
	case ARAX_ARG_SVM:
		return cl->clSetKernelArgSVMPointer(kernel, index, arg->value);
	case ARAX_ARG_SAMPLER:
		if (!arg->sampler)
			return CL_INVALID_SAMPLER;
		return cl->clSetKernelArg(kernel, index, sizeof(cl_sampler),
					  &arg->sampler->sampler);
	default:
		return CL_INVALID_ARG_VALUE;
	}
}

/* Return: false when the argument is too large to be remembered. */
static bool remember(struct last_arg *last, const struct arax_launch_arg *arg)
{
	*last = (struct last_arg){.kind = arg->kind, .set = 1, .size = arg->size};
	switch (arg->kind) {
	case ARAX_ARG_VALUE:
		if (arg->size > sizeof(last->bytes))
			return false;
		memcpy(last->bytes, arg->value, arg->size);
		return true;
	case ARAX_ARG_MEM:
		last->pointer = arg->mem ? arg->mem->mem : NULL;
		return true;
	case ARAX_ARG_SVM:
		last->pointer = arg->value;
		return true;
	case ARAX_ARG_SAMPLER:
		last->pointer = arg->sampler ? arg->sampler->sampler : NULL;
		return true;
	default:
		return true;
	}
}

/* A library's object that was released and another one at its address are the same to the library,
 * too: it keeps the pointer and no reference (section 5.9.2). */
static cl_int set_args(const cl_icd_dispatch *cl, const struct arax_launch *launch)
{
	struct arax_device_kernel *kernel = launch->kernel;
	if (launch->nargs > kernel->nargs)
		return CL_INVALID_ARG_INDEX;
	for (cl_uint i = 0; i < launch->nargs; i++) {
		struct last_arg now;
		bool known = remember(&now, &launch->args[i]);
		if (known && !memcmp(&now, &kernel->last[i], sizeof(now)))
			continue;
		kernel->last[i].set = 0;
		cl_int err = opencl_set_arg(cl, kernel->kernel, i, &launch->args[i]);
		if (err)
			return err;
		if (known)
			kernel->last[i] = now;
	}
	return 0;
}

/* A launch that the library executes on its own threads. */
struct flight {
	const cl_icd_dispatch *cl;
	uint64_t submit_ns;
	void (*done)(void *arg, int status, uint64_t start_ns, uint64_t end_ns);
	void *arg;
};

/* The library's clock is not ours (PoCL: MONOTONIC_RAW), only the length of the run is used. */
uint64_t opencl_start_of(const cl_icd_dispatch *cl, cl_event event, uint64_t submit_ns,
			 uint64_t end_ns)
{
	cl_ulong start = 0, end = 0;
	if (cl->clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof(start), &start,
					NULL) ||
	    cl->clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof(end), &end, NULL) ||
	    end < start || end - start > end_ns - submit_ns)
		return submit_ns;
	return end_ns - (end - start);
}

static void CL_CALLBACK landed(cl_event event, cl_int status, void *arg)
{
	struct flight *flight = arg;
	uint64_t end_ns = arax_now_ns();
	uint64_t start_ns = opencl_start_of(flight->cl, event, flight->submit_ns, end_ns);
	flight->done(flight->arg, status > 0 ? 0 : status, start_ns, end_ns);
	free(flight);
}

static int launch_async(const cl_icd_dispatch *cl, cl_command_queue queue,
			const struct arax_launch *launch)
{
	struct flight *flight = malloc(sizeof(*flight));
	if (!flight)
		return CL_OUT_OF_HOST_MEMORY;
	*flight = (struct flight){cl, arax_now_ns(), launch->done, launch->arg};
	cl_event event;
	cl_int err = cl->clEnqueueNDRangeKernel(
	    queue, launch->kernel->kernel, launch->work_dim, launch->offset, launch->global,
	    launch->has_local ? launch->local : NULL, 0, NULL, &event);
	if (err) {
		free(flight);
		return err;
	}
	/* From here on the launch is accepted: whatever fails, done is called. */
	if (cl->clSetEventCallback(event, CL_COMPLETE, landed, flight)) {
		err = cl->clWaitForEvents(1, &event);
		landed(event, err, flight);
	} else {
		cl->clFlush(queue);
	}
	cl->clReleaseEvent(event);
	return 0;
}

static int launch_inline(const cl_icd_dispatch *cl, cl_command_queue queue,
			 const struct arax_launch *launch)
{
	uint64_t start_ns = arax_now_ns();
	cl_int err = cl->clEnqueueNDRangeKernel(
	    queue, launch->kernel->kernel, launch->work_dim, launch->offset, launch->global,
	    launch->has_local ? launch->local : NULL, 0, NULL, NULL);
	if (err)
		return err;
	launch->done(launch->arg, 0, start_ns, arax_now_ns());
	return 0;
}

/* Return: an error also where the rules do not allow it: then it is the program's own kernel's. */
static __attribute__((noinline)) int launch_tuned(struct arax_device *dev,
						  struct arax_device_stream *stream,
						  const struct arax_launch *launch)
{
	struct arax_launch tuned = *launch;
	if (!arax_launch_variant(launch->kernel->rules, &tuned))
		return CL_INVALID_WORK_GROUP_SIZE;
	tuned.kernel = launch->kernel->tuned;
	return opencl_launch(dev, stream, &tuned);
}

int opencl_launch(struct arax_device *dev, struct arax_device_stream *stream,
		  const struct arax_launch *launch)
{
	const cl_icd_dispatch *cl = opencl_cl(dev);
	if (__builtin_expect(launch->kernel->tuned != NULL, 0) &&
	    !launch_tuned(dev, stream, launch))
		return 0;
	cl_int err = set_args(cl, launch);
	if (err)
		return err;
	return dev->inline_launch ? launch_inline(cl, stream->queue, launch)
				  : launch_async(cl, stream->queue, launch);
}
