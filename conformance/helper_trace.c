/* SPDX-License-Identifier: Apache-2.0
 *
 * The clients that trace.py traces. They know what they do and say so on standard output, so that
 * what the trace says can be compared.
 *
 *   run         kernels and transfers of all sorts; a line of JSON per kernel, with the times that
 *               clGetEventProfilingInfo() gives, and one with how many there were of the rest
 *   spin        a write, ten kernels, then one that never ends; says "spinning" and waits for it;
 *               when the tenant was killed, one more
 *   flood N     N null kernels as fast as they go
 *   null N      N null kernels, each with clFinish(): the median of the times in ns, and the first
 *               percentile, which other processes disturb less
 */
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define N 4096
#define LARGE (8u << 20)
#define LAUNCHES 60

static const char source[] =
    "kernel void blend(global uint *p, uint a, uint b)\n"
    "{ size_t i = get_global_id(0); p[i] = p[i] * a + b; }\n"
    "kernel void wide(global uint *p)\n"
    "{ size_t i = get_global_id(0) + get_global_size(0) * get_global_id(1); p[i] ^= 1; }\n"
    "kernel void heavy(global uint *p)\n"
    "{ uint x = p[get_global_id(0)]; for (int i = 0; i < 2000; i++) x = x * 1664525u + "
    "1013904223u;\n"
    "  p[get_global_id(0)] = x; }\n"
    "kernel void null(void) {}\n"
    "kernel void spin(global volatile uint *p) { while (p[0] != 77u) ; p[1] = 1; }\n";

static cl_device_id device;
static cl_context context;
static cl_program program;

static void must(cl_int error, const char *what)
{
	if (error == CL_SUCCESS)
		return;
	fprintf(stderr, "%s: %d\n", what, error);
	exit(1);
}

static void open_all(void)
{
	const char *text = source;
	cl_platform_id platform;
	cl_int error;

	must(clGetPlatformIDs(1, &platform, NULL), "platform");
	must(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL), "device");
	context = clCreateContext(NULL, 1, &device, NULL, NULL, &error);
	must(error, "context");
	program = clCreateProgramWithSource(context, 1, &text, NULL, &error);
	must(error, "program");
	must(clBuildProgram(program, 1, &device, "", NULL, NULL), "build");
}

static cl_command_queue queue_of(cl_command_queue_properties properties)
{
	const cl_queue_properties list[] = {CL_QUEUE_PROPERTIES,
					    CL_QUEUE_PROFILING_ENABLE | properties, 0};
	cl_int error;
	cl_command_queue queue = clCreateCommandQueueWithProperties(context, device, list, &error);

	must(error, "queue");
	return queue;
}

static cl_kernel kernel_of(const char *name)
{
	cl_int error;
	cl_kernel kernel = clCreateKernel(program, name, &error);

	must(error, name);
	return kernel;
}

static cl_mem buffer_of(size_t size)
{
	cl_int error;
	cl_mem buffer = clCreateBuffer(context, CL_MEM_READ_WRITE, size, NULL, &error);

	must(error, "buffer");
	return buffer;
}

static cl_ulong time_of(cl_event event, cl_profiling_info which)
{
	cl_ulong ns;

	must(clGetEventProfilingInfo(event, which, sizeof(ns), &ns, NULL), "profiling");
	return ns;
}

static void say_kernel(const char *name, const size_t *size, cl_uint dims, cl_event event)
{
	printf("{\"kernel\": \"%s\", \"global\": [%zu", name, size[0]);
	for (cl_uint i = 1; i < dims; i++)
		printf(", %zu", size[i]);
	printf("], \"times\": [%llu, %llu, %llu, %llu]}\n",
	       (unsigned long long)time_of(event, CL_PROFILING_COMMAND_QUEUED),
	       (unsigned long long)time_of(event, CL_PROFILING_COMMAND_SUBMIT),
	       (unsigned long long)time_of(event, CL_PROFILING_COMMAND_START),
	       (unsigned long long)time_of(event, CL_PROFILING_COMMAND_END));
	must(clReleaseEvent(event), "release");
}

static void set_blend(cl_kernel kernel, cl_mem buffer, cl_uint a)
{
	must(clSetKernelArg(kernel, 0, sizeof(buffer), &buffer), "argument");
	must(clSetKernelArg(kernel, 1, sizeof(a), &a), "argument");
	must(clSetKernelArg(kernel, 2, sizeof(a), &a), "argument");
}

/* One after the other in an in-order queue, none waited for before all are enqueued. */
static void run_chain(cl_command_queue queue, cl_mem buffer)
{
	cl_kernel blend = kernel_of("blend"), heavy = kernel_of("heavy");
	size_t size = N;
	cl_event events[LAUNCHES];

	must(clSetKernelArg(heavy, 0, sizeof(buffer), &buffer), "argument");
	for (cl_uint i = 0; i < LAUNCHES; i++) {
		set_blend(blend, buffer, i | 1);
		must(clEnqueueNDRangeKernel(queue, i % 10 ? blend : heavy, 1, NULL, &size, NULL, 0,
					    NULL, &events[i]),
		     "launch");
	}
	must(clFinish(queue), "finish");
	for (cl_uint i = 0; i < LAUNCHES; i++)
		say_kernel(i % 10 ? "blend" : "heavy", &size, 1, events[i]);
}

/* A command of each kind, each waiting for the one before; the reads are the client's part. */
static void run_mixed(cl_command_queue queue, cl_mem buffer, cl_mem large)
{
	static cl_uint host[N];
	cl_kernel wide = kernel_of("wide"), heavy = kernel_of("heavy");
	size_t sizes[2] = {64, 32}, size = N;
	cl_event gate, heavies, filled, copied, widened, read;
	cl_uint seven = 7;
	cl_int error;

	gate = clCreateUserEvent(context, &error);
	must(error, "user event");
	must(clSetKernelArg(wide, 0, sizeof(buffer), &buffer), "argument");
	must(clSetKernelArg(heavy, 0, sizeof(buffer), &buffer), "argument");
	must(clEnqueueNDRangeKernel(queue, heavy, 1, NULL, &size, NULL, 1, &gate, &heavies),
	     "heavy");
	must(clEnqueueFillBuffer(queue, large, &seven, sizeof(seven), 0, LARGE, 1, &heavies,
				 &filled),
	     "fill");
	must(clEnqueueCopyBuffer(queue, large, buffer, 0, 0, N * sizeof(cl_uint), 1, &filled,
				 &copied),
	     "copy");
	must(clEnqueueNDRangeKernel(queue, wide, 2, NULL, sizes, NULL, 1, &copied, &widened),
	     "wide");
	must(
	    clEnqueueReadBuffer(queue, buffer, CL_FALSE, 0, sizeof(host), host, 1, &widened, &read),
	    "read");
	must(clSetUserEventStatus(gate, CL_COMPLETE), "gate");
	must(clWaitForEvents(1, &read), "wait");
	if (host[0] != 6)
		must(1, "result");
	say_kernel("heavy", &size, 1, heavies);
	say_kernel("wide", sizes, 2, widened);
}

static void run(void)
{
	cl_command_queue ordered = queue_of(0);
	cl_command_queue loose = queue_of(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
	cl_mem buffer = buffer_of(N * sizeof(cl_uint)), large = buffer_of(LARGE);
	cl_uint host[N] = {0};
	cl_int error;

	must(clEnqueueWriteBuffer(ordered, buffer, CL_TRUE, 0, sizeof(host), host, 0, NULL, NULL),
	     "write");
	run_chain(ordered, buffer);
	run_mixed(loose, buffer, large);
	/* At once, by the client. */
	must(clEnqueueReadBuffer(ordered, buffer, CL_TRUE, 0, 100, host, 0, NULL, NULL), "read");
	void *p =
	    clEnqueueMapBuffer(ordered, buffer, CL_TRUE, CL_MAP_READ, 0, 64, 0, NULL, NULL, &error);
	must(error, "map");
	must(clEnqueueUnmapMemObject(ordered, buffer, p, 0, NULL, NULL), "unmap");
	must(clFinish(ordered), "finish");
	printf("{\"others\": {\"write buffer\": 1, \"read buffer\": 2, \"fill\": 1, \"copy\": 1, "
	       "\"map buffer\": 1, \"unmap\": 1}}\n");
}

static void spin(void)
{
	cl_command_queue queue = queue_of(0);
	cl_mem buffer = buffer_of(N * sizeof(cl_uint));
	cl_kernel blend = kernel_of("blend"), endless = kernel_of("spin");
	size_t size = N, one = 1;

	cl_uint host[N] = {0};
	must(clEnqueueWriteBuffer(queue, buffer, CL_TRUE, 0, sizeof(host), host, 0, NULL, NULL),
	     "write");
	set_blend(blend, buffer, 3);
	for (int i = 0; i < 10; i++)
		must(clEnqueueNDRangeKernel(queue, blend, 1, NULL, &size, NULL, 0, NULL, NULL),
		     "launch");
	must(clFinish(queue), "finish");
	must(clSetKernelArg(endless, 0, sizeof(buffer), &buffer), "argument");
	cl_event event;
	cl_int status = CL_QUEUED;
	must(clEnqueueNDRangeKernel(queue, endless, 1, NULL, &one, NULL, 0, NULL, &event),
	     "launch");
	/* One that has not begun when its tenant dies is executed by the next. */
	while (status > CL_RUNNING)
		must(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(status),
				    &status, NULL),
		     "status");
	must(clReleaseEvent(event), "release");
	puts("spinning");
	fflush(stdout);
	/* Ends with the tenant. */
	printf("ended %d\n", clFinish(queue));
	must(clEnqueueNDRangeKernel(queue, blend, 1, NULL, &size, NULL, 0, NULL, NULL), "launch");
	printf("again %d\n", clFinish(queue));
}

static void flood(long n)
{
	cl_command_queue queue = queue_of(0);
	cl_kernel null = kernel_of("null");
	size_t one = 1;

	for (long i = 0; i < n; i++)
		must(clEnqueueNDRangeKernel(queue, null, 1, NULL, &one, NULL, 0, NULL, NULL),
		     "launch");
	must(clFinish(queue), "finish");
}

static int compare(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;

	return x < y ? -1 : x > y;
}

static void measure_null(long n)
{
	cl_command_queue queue = queue_of(0);
	cl_kernel null = kernel_of("null");
	size_t one = 1;
	long *times = malloc((size_t)n * sizeof(*times));
	struct timespec begin, end;

	if (!times)
		exit(1);
	for (long i = -n / 10; i < n; i++) {
		clock_gettime(CLOCK_MONOTONIC, &begin);
		must(clEnqueueNDRangeKernel(queue, null, 1, NULL, &one, NULL, 0, NULL, NULL),
		     "launch");
		must(clFinish(queue), "finish");
		clock_gettime(CLOCK_MONOTONIC, &end);
		if (i >= 0)
			times[i] =
			    (end.tv_sec - begin.tv_sec) * 1000000000l + end.tv_nsec - begin.tv_nsec;
	}
	qsort(times, (size_t)n, sizeof(*times), compare);
	printf("%ld %ld\n", times[n / 2], times[n / 100]);
	free(times);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	long n = argc > 2 ? atol(argv[2]) : 0;

	open_all();
	if (strcmp(what, "run") == 0)
		run();
	else if (strcmp(what, "spin") == 0)
		spin();
	else if (strcmp(what, "flood") == 0 && n > 0)
		flood(n);
	else if (strcmp(what, "null") == 0 && n > 9)
		measure_null(n);
	else
		return 2;
	return 0;
}
