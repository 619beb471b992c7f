/* SPDX-License-Identifier: Apache-2.0
 *
 * Preloaded into an application that stays as it is, this library writes down what the application
 * gets back from its device: a line for every blocking clEnqueueReadBuffer and every blocking
 * clEnqueueMapBuffer for reading, in the order of the calls, with size and hash. Two runs that
 * wrote the same lines computed the same, whatever the application prints. It works beneath any
 * OpenCL implementation, because it stands before the loader.
 *
 * Settings are environment variables, and without them calls are passed on as they are:
 *
 *   READBACK_LOG    file for the lines, "read SIZE HASH" or "map SIZE HASH". What is not blocking
 *                   has no content yet when the call returns and is written as "unseen SIZE";
 *                   who compares must refuse it.
 *   READBACK_DATA   file for the bytes themselves, one after another
 *   READBACK_TIME   what time() answers, for applications that seed random numbers with it
 *   READBACK_GROUP  the most that CL_KERNEL_WORK_GROUP_SIZE answers, for applications whose work
 *                   depends on it
 *   READBACK_GPU    set: a context that is asked of a GPU and not to be had is made of any device
 */
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

#include <dlfcn.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static FILE *log_file, *data_file;
static pthread_once_t opened = PTHREAD_ONCE_INIT;

/* The function of this name that would have been called. */
#define NEXT(name) ((__typeof__(&name))next(#name))

static void *next(const char *name)
{
	void *function = dlsym(RTLD_NEXT, name);
	if (!function) {
		fprintf(stderr, "preload_readback: nobody has %s\n", name);
		abort();
	}
	return function;
}

static FILE *open_setting(const char *variable)
{
	const char *path = getenv(variable);
	if (!path)
		return NULL;
	FILE *file = fopen(path, "we");
	if (!file) {
		fprintf(stderr, "preload_readback: cannot write %s\n", path);
		abort();
	}
	return file;
}

/* At the first record, because processes that the application starts load this, too, and must not
 * begin its files anew: native PoCL executes a linker. */
static void open_files(void)
{
	log_file = open_setting("READBACK_LOG");
	data_file = open_setting("READBACK_DATA");
}

static uint64_t fnv1a(const unsigned char *bytes, size_t size)
{
	uint64_t hash = 0xcbf29ce484222325;
	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3;
	return hash;
}

static void record(const char *what, bool blocking, const void *bytes, size_t size)
{
	pthread_once(&opened, open_files);
	if (log_file && blocking)
		fprintf(log_file, "%s %zu %016" PRIx64 "\n", what, size, fnv1a(bytes, size));
	else if (log_file)
		fprintf(log_file, "unseen %zu\n", size);
	if (data_file && blocking)
		fwrite(bytes, 1, size, data_file);
}

cl_int clEnqueueReadBuffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset,
			   size_t size, void *to, cl_uint waits, const cl_event *wait_list,
			   cl_event *event)
{
	cl_int error = NEXT(clEnqueueReadBuffer)(queue, buffer, blocking, offset, size, to, waits,
						 wait_list, event);
	if (error == CL_SUCCESS)
		record("read", blocking, to, size);
	return error;
}

void *clEnqueueMapBuffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking,
			 cl_map_flags flags, size_t offset, size_t size, cl_uint waits,
			 const cl_event *wait_list, cl_event *event, cl_int *error)
{
	void *mapped = NEXT(clEnqueueMapBuffer)(queue, buffer, blocking, flags, offset, size, waits,
						wait_list, event, error);
	if (mapped && (flags & CL_MAP_READ))
		record("map", blocking, mapped, size);
	return mapped;
}

cl_int clGetKernelWorkGroupInfo(cl_kernel kernel, cl_device_id device,
				cl_kernel_work_group_info name, size_t size, void *value,
				size_t *size_out)
{
	cl_int error = NEXT(clGetKernelWorkGroupInfo)(kernel, device, name, size, value, size_out);
	const char *limit = getenv("READBACK_GROUP");
	size_t *group = value;

	if (!error && group && limit && name == CL_KERNEL_WORK_GROUP_SIZE) {
		size_t most = strtoul(limit, NULL, 10);
		*group = *group < most ? *group : most;
	}
	return error;
}

cl_context clCreateContextFromType(const cl_context_properties *properties, cl_device_type type,
				   void(CL_CALLBACK *notify)(const char *, const void *, size_t,
							     void *),
				   void *data, cl_int *error)
{
	cl_int outcome;
	cl_context context =
	    NEXT(clCreateContextFromType)(properties, type, notify, data, &outcome);
	if (getenv("READBACK_GPU") && outcome == CL_DEVICE_NOT_FOUND && type == CL_DEVICE_TYPE_GPU)
		context = NEXT(clCreateContextFromType)(properties, CL_DEVICE_TYPE_ALL, notify,
							data, &outcome);
	if (error)
		*error = outcome;
	return context;
}

time_t time(time_t *where)
{
	const char *fixed_time = getenv("READBACK_TIME");
	time_t now = fixed_time ? (time_t)atoll(fixed_time) : NEXT(time)(NULL);
	if (where)
		*where = now;
	return now;
}
