/* SPDX-License-Identifier: Apache-2.0
 *
 * The clients of limits.py: what they are given, and what they are refused with which error.
 *
 *   hold          says "context ERROR" and, when it has one, keeps it until standard input ends
 *   memory SIZE   allocates buffers of that many MiB until that fails: "memory COUNT ERROR", and
 * then that one of them can be released and had again build TEXT    builds a program that contains
 * the text: "build ERROR"
 */
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFERS_MAX 4096

static cl_device_id device;

static cl_context context_make(cl_int *error)
{
	cl_platform_id platform;

	*error = clGetPlatformIDs(1, &platform, NULL);
	if (!*error)
		*error = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL);
	return *error ? NULL : clCreateContext(NULL, 1, &device, NULL, NULL, error);
}

/* A buffer that is really there: its last byte was written and read back. */
static cl_mem buffer_make(cl_context context, cl_command_queue queue, size_t size, cl_int *error)
{
	cl_mem mem = clCreateBuffer(context, CL_MEM_READ_WRITE, size, NULL, error);
	char in = 7, out = 0;

	if (*error)
		return NULL;
	*error = clEnqueueWriteBuffer(queue, mem, CL_TRUE, size - 1, 1, &in, 0, NULL, NULL);
	if (!*error)
		*error = clEnqueueReadBuffer(queue, mem, CL_TRUE, size - 1, 1, &out, 0, NULL, NULL);
	if (!*error && out == 7)
		return mem;
	clReleaseMemObject(mem);
	return NULL;
}

static int memory(cl_context context, size_t size)
{
	static cl_mem buffers[BUFFERS_MAX];
	cl_int error, queue_error;
	cl_command_queue queue =
	    clCreateCommandQueueWithProperties(context, device, NULL, &queue_error);
	int count = 0;

	if (!queue)
		return 1;
	while (count < BUFFERS_MAX && (buffers[count] = buffer_make(context, queue, size, &error)))
		count++;
	printf("memory %d %d\n", count, error);
	if (!count)
		return 1;
	clReleaseMemObject(buffers[count - 1]);
	buffers[count - 1] = buffer_make(context, queue, size, &error);
	printf("again %d\n", error);
	for (int i = 0; i < count; i++)
		if (buffers[i])
			clReleaseMemObject(buffers[i]);
	clReleaseCommandQueue(queue);
	return 0;
}

static int build(cl_context context, const char *text)
{
	char source[512];
	const char *const whole = source;
	cl_int error;

	snprintf(source, sizeof(source), "/* %s */ kernel void k(global int *p) { *p = 1; }", text);
	cl_program program =
	    clCreateProgramWithSource(context, 1, (const char **)&whole, NULL, &error);
	if (program) {
		error = clBuildProgram(program, 1, &device, "", NULL, NULL);
		clReleaseProgram(program);
	}
	printf("build %d\n", error);
	return 0;
}

int main(int argc, char **argv)
{
	cl_int error;
	int status = 0;
	char byte;

	if (argc < 2)
		return 2;
	cl_context context = context_make(&error);
	printf("context %d\n", error);
	fflush(stdout);
	if (!context)
		return 0;
	if (!strcmp(argv[1], "memory") && argc > 2)
		status = memory(context, (size_t)atoi(argv[2]) << 20);
	else if (!strcmp(argv[1], "build") && argc > 2)
		status = build(context, argv[2]);
	else
		while (read(0, &byte, 1) > 0)
			;
	clReleaseContext(context);
	return status;
}
