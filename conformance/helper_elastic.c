/* SPDX-License-Identifier: Apache-2.0
 *
 * An ordinary application for elastic.py: helper_elastic LAUNCHES QUEUES BUFFERS. Launches a kernel
 * on one buffer after the other, in one in-order queue or several, waits for all and says how long
 * each round took and whether every buffer is right. It knows nothing of devices. Rounds go on
 * until standard input ends.
 */
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ITEMS 1024
#define MOST 64

static const char source[] = "kernel void advance(global uint *p, uint k)\n"
			     "{ size_t i = get_global_id(0); p[i] = p[i] * k + (uint)i; }\n";

static void must(cl_int error, const char *what)
{
	if (!error)
		return;
	printf("error %s %d\n", what, error);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
	int launches = argc > 1 ? atoi(argv[1]) : 400, nqueues = argc > 2 ? atoi(argv[2]) : 1;
	int nbuffers = argc > 3 ? atoi(argv[3]) : 16;
	static cl_uint expected[MOST][ITEMS], got[ITEMS];
	struct pollfd input = {.fd = 0, .events = POLLIN};
	const size_t n = ITEMS;
	cl_command_queue queues[MOST];
	cl_mem buffers[MOST];
	cl_platform_id platform;
	cl_device_id device;
	const char *text = source;
	cl_int error;

	if (nqueues < 1 || nqueues > MOST || nbuffers < nqueues || nbuffers > MOST)
		return 2;
	must(clGetPlatformIDs(1, &platform, NULL), "platform");
	must(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL), "device");
	cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, &error);
	must(error, "context");
	cl_program program = clCreateProgramWithSource(context, 1, &text, NULL, &error);
	must(error ? error : clBuildProgram(program, 0, NULL, "", NULL, NULL), "program");
	cl_kernel kernel = clCreateKernel(program, "advance", &error);
	must(error, "kernel");
	for (int i = 0; i < nqueues; i++) {
		queues[i] = clCreateCommandQueueWithProperties(context, device, NULL, &error);
		must(error, "queue");
	}
	for (int i = 0; i < nbuffers; i++) {
		buffers[i] = clCreateBuffer(context, CL_MEM_COPY_HOST_PTR, sizeof(expected[i]),
					    expected[i], &error);
		must(error, "buffer");
	}
	for (unsigned round = 1; !poll(&input, 1, 0); round++) {
		double start = now();

		for (int l = 0; l < launches; l++) {
			int b = l % nbuffers;
			cl_uint k = (cl_uint)l | 1;

			must(clSetKernelArg(kernel, 0, sizeof(cl_mem), &buffers[b]), "argument");
			must(clSetKernelArg(kernel, 1, sizeof(k), &k), "argument");
			/* a buffer stays with its queue */
			must(clEnqueueNDRangeKernel(queues[b % nqueues], kernel, 1, NULL, &n, NULL,
						    0, NULL, NULL),
			     "launch");
			for (cl_uint i = 0; i < ITEMS; i++)
				expected[b][i] = expected[b][i] * k + i;
		}
		for (int i = 0; i < nqueues; i++)
			must(clFinish(queues[i]), "finish");
		double took = now() - start;
		for (int b = 0; b < nbuffers; b++) {
			must(clEnqueueReadBuffer(queues[b % nqueues], buffers[b], CL_TRUE, 0,
						 sizeof(got), got, 0, NULL, NULL),
			     "read");
			for (int i = 0; i < ITEMS; i++) {
				if (got[i] != expected[b][i]) {
					printf("wrong: buffer %d, element %d\n", b, i);
					return 1;
				}
			}
		}
		printf("round %u %.6f %.6f\n", round, took, now());
		fflush(stdout);
	}
	return 0;
}
