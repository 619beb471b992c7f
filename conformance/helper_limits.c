/* SPDX-License-Identifier: Apache-2.0
 *
 * The clients of limits.py: what they are given, and what they are refused with which error.
 *
 *   hold          says "context ERROR" and, when it has one, keeps it until standard input ends
 *   memory SIZE   allocates buffers of that many MiB until that fails: "memory COUNT ERROR", and
 *                 then that one of them can be released and had again
 *   objects       makes samplers until that fails: "objects COUNT ERROR", and the same
 *   commands      enqueues what waits for the application until that fails: "commands COUNT ERROR",
 *                 lets it go on: "finish ERROR", and enqueues as much again: "again ERROR"
 *   build TEXT    builds a program that contains the text: "build ERROR", then its log
 *   builds N TEXT builds so many programs, until one fails: "builds COUNT ERROR", then its log
 *   eat MIB       has a kernel map so much memory of its own: "eat" and what the kernel said,
 *                 private and shared
 */
#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
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

#define OBJECTS_MAX 100000

static int objects(cl_context context)
{
	static cl_sampler samplers[OBJECTS_MAX];
	cl_int error = CL_SUCCESS;
	int count = 0;

	while (count < OBJECTS_MAX &&
	       (samplers[count] = clCreateSampler(context, CL_FALSE, CL_ADDRESS_CLAMP,
						  CL_FILTER_NEAREST, &error)))
		count++;
	printf("objects %d %d\n", count, error);
	if (!count)
		return 1;
	clReleaseSampler(samplers[--count]);
	samplers[count] =
	    clCreateSampler(context, CL_TRUE, CL_ADDRESS_CLAMP, CL_FILTER_NEAREST, &error);
	printf("again %d\n", error);
	for (int i = 0; i < count + !error; i++)
		clReleaseSampler(samplers[i]);
	return 0;
}

static int commands_wait(cl_context context, cl_command_queue queue, cl_mem mem)
{
	const cl_uchar pattern = 1;
	cl_int error, result;
	int count = 0;
	cl_event gate = clCreateUserEvent(context, &error);

	if (!gate)
		return 1;
	while (count < OBJECTS_MAX &&
	       !(error = clEnqueueFillBuffer(queue, mem, &pattern, 1, 0, 16, 1, &gate, NULL)))
		count++;
	printf("commands %d %d\n", count, error);
	error = clSetUserEventStatus(gate, CL_COMPLETE);
	result = clFinish(queue);
	printf("finish %d\n", error ? error : result);
	clReleaseEvent(gate);
	/* With nothing in the way an enqueue waits for room instead. */
	for (error = CL_SUCCESS; count > 0 && !error; count--)
		error = clEnqueueFillBuffer(queue, mem, &pattern, 1, 0, 16, 0, NULL, NULL);
	result = clFinish(queue);
	printf("again %d\n", error ? error : result);
	return 0;
}

static int commands(cl_context context)
{
	cl_int error;
	cl_command_queue queue = clCreateCommandQueueWithProperties(context, device, NULL, &error);
	cl_mem mem = queue ? clCreateBuffer(context, CL_MEM_READ_WRITE, 16, NULL, &error) : NULL;
	int status = mem ? commands_wait(context, queue, mem) : 1;

	if (mem)
		clReleaseMemObject(mem);
	if (queue)
		clReleaseCommandQueue(queue);
	return status;
}

static cl_program program_make(cl_context context, const char *source, char *log, size_t capacity,
			       cl_int *error)
{
	cl_program program = clCreateProgramWithSource(context, 1, &source, NULL, error);

	log[0] = '\0';
	if (!program)
		return NULL;
	*error = clBuildProgram(program, 1, &device, "", NULL, NULL);
	clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, capacity, log, NULL);
	if (!*error)
		return program;
	clReleaseProgram(program);
	return NULL;
}

static int builds(cl_context context, const char *what, int most, const char *text)
{
	char source[512], log[512];
	cl_int error = CL_SUCCESS;
	int count = 0;

	for (; count < most && !error; count++) {
		snprintf(source, sizeof(source),
			 "/* %s %d */ kernel void k(global int *p) { *p = 1; }", text, count);
		cl_program program = program_make(context, source, log, sizeof(log), &error);
		if (program)
			clReleaseProgram(program);
		else
			break;
	}
	if (most == 1)
		printf("%s %d\n%s\n", what, error, log);
	else
		printf("%s %d %d\n%s\n", what, count, error, log);
	return 0;
}

/* mmap(), made by a kernel itself. */
static const char eat_source[] =
    "kernel void eat(global long *io)\n"
    "{ __asm__ volatile(\"movq (%%rbx), %%rax; movq 8(%%rbx), %%rdi; movq 16(%%rbx), %%rsi;"
    "movq 24(%%rbx), %%rdx; movq 32(%%rbx), %%r10; movq 40(%%rbx), %%r8; movq 48(%%rbx), %%r9;"
    "syscall; movq %%rax, 56(%%rbx)\" : : \"b\"(io) : \"rax\", \"rdi\", \"rsi\", \"rdx\","
    "\"r10\", \"r8\", \"r9\", \"rcx\", \"r11\", \"memory\"); }\n";

static cl_long eat_once(cl_command_queue queue, cl_kernel kernel, cl_mem io, size_t size, int flags)
{
	const size_t one = 1;
	cl_long call[8] = {SYS_mmap, 0, (cl_long)size, PROT_READ | PROT_WRITE, flags, -1, 0, 1};

	if (clEnqueueWriteBuffer(queue, io, CL_TRUE, 0, sizeof(call), call, 0, NULL, NULL) ||
	    clSetKernelArg(kernel, 0, sizeof(io), &io) ||
	    clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &one, NULL, 0, NULL, NULL) ||
	    clEnqueueReadBuffer(queue, io, CL_TRUE, 0, sizeof(call), call, 0, NULL, NULL))
		return 2;
	return call[7] < 0 && call[7] > -4096 ? call[7] : 0;
}

static int eat(cl_context context, size_t size)
{
	char log[512];
	cl_int error;
	cl_program program = program_make(context, eat_source, log, sizeof(log), &error);
	cl_command_queue queue = clCreateCommandQueueWithProperties(context, device, NULL, &error);
	cl_kernel kernel = program ? clCreateKernel(program, "eat", &error) : NULL;
	cl_mem io = clCreateBuffer(context, CL_MEM_READ_WRITE, 64, NULL, &error);

	if (!queue || !kernel || !io)
		return 1;
	printf("eat %d", (int)eat_once(queue, kernel, io, size, MAP_PRIVATE | MAP_ANONYMOUS));
	printf(" %d\n", (int)eat_once(queue, kernel, io, 4096, MAP_SHARED | MAP_ANONYMOUS));
	clReleaseMemObject(io);
	clReleaseKernel(kernel);
	clReleaseCommandQueue(queue);
	clReleaseProgram(program);
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
	else if (!strcmp(argv[1], "objects"))
		status = objects(context);
	else if (!strcmp(argv[1], "commands"))
		status = commands(context);
	else if (!strcmp(argv[1], "build") && argc > 2)
		status = builds(context, "build", 1, argv[2]);
	else if (!strcmp(argv[1], "builds") && argc > 3)
		status = builds(context, "builds", atoi(argv[2]), argv[3]);
	else if (!strcmp(argv[1], "eat") && argc > 2)
		status = eat(context, (size_t)atoi(argv[2]) << 20);
	else
		while (read(0, &byte, 1) > 0)
			;
	clReleaseContext(context);
	return status;
}
