/* SPDX-License-Identifier: Apache-2.0
 *
 * An application with a load, for sharing.py, unlike.py and memory.py:
 *
 *	helper_load CLASS:ITERATIONS[,CLASS:ITERATIONS...] ITEMS BUFFERS DEPTH PERIOD_US
 *
 * It knows nothing of devices and runs on any OpenCL. Launches go through the classes in turn, each
 * with BUFFERS buffers of ITEMS elements of its own, in one in-order queue. After "ready" it does
 * what it reads, a line at a time:
 *
 *	go START END	launches from START to END (CLOCK_MONOTONIC, s), at most DEPTH in flight,
 *			every PERIOD_US if that is not 0; says "did LAUNCHES P50 P99 MAX", counting
 *			those that ended in time; in us from enqueue (or the period) to end
 *	do LAUNCHES	says "took SECONDS"
 *	check		reads everything back; says "right", or what is wrong and ends with 1
 */
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CLASSES 4
#define BUFFERS 256
#define DEPTH 64
#define LATENCIES 1000000
#define FIXED 0.739085133f /* cos of it is it */

static const char source[] =
    "kernel void hash(global uint *p, uint n)\n"
    "{ size_t i = get_global_id(0); uint x = p[i];\n"
    "  for (uint k = 0; k < n; k++) x = x * 1664525u + (uint)i; p[i] = x; }\n"
    "kernel void madd(global float *p, uint n)\n"
    "{ size_t i = get_global_id(0); float x = p[i];\n"
    "  for (uint k = 0; k < n; k++) x = x * 0.5f + 1.0f; p[i] = x; }\n"
    "kernel void cosine(global float *p, uint n)\n"
    "{ size_t i = get_global_id(0); float x = p[i];\n"
    "  for (uint k = 0; k < n; k++) x = cos(x); p[i] = x; }\n";

struct work {
	char name[16];
	cl_uint iterations;
	cl_kernel kernel;
	cl_mem buffers[BUFFERS];
	uint64_t launches[BUFFERS];
};

static struct work classes[CLASSES];
static unsigned nclasses, nbuffers, depth;
static uint64_t period_ns, turn;
static size_t items;
static cl_command_queue queue;
static float latencies[LATENCIES];

static void must(cl_int error, const char *what)
{
	if (!error)
		return;
	printf("error %s %d\n", what, error);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void sleep_until(uint64_t ns)
{
	struct timespec t = {.tv_sec = (time_t)(ns / 1000000000u),
			     .tv_nsec = (long)(ns % 1000000000u)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL))
		;
}

/* What elements begin with: what hash changes, and what the others leave as it is. */
static cl_uint first(const struct work *work)
{
	float value = work->name[0] == 'c' ? FIXED : 2.0f;
	cl_uint bits = 12345;

	if (work->name[0] != 'h')
		memcpy(&bits, &value, sizeof(bits));
	return bits;
}

/* After so many steps x -> a x + i from the beginning: both factors by squaring. */
static cl_uint hashed(cl_uint x, cl_uint i, uint64_t steps)
{
	cl_uint a = 1664525u, b = 1, whole = 1, sum = 0;

	for (; steps; steps >>= 1) {
		if (steps & 1) {
			whole *= a;
			sum = a * sum + b;
		}
		b += a * b;
		a *= a;
	}
	return whole * x + sum * i;
}

static bool right(const struct work *work, unsigned buffer, cl_uint i, cl_uint got)
{
	float value;

	if (work->name[0] == 'h')
		return got == hashed(first(work), i, work->launches[buffer] * work->iterations);
	memcpy(&value, &got, sizeof(value));
	return work->name[0] == 'c' ? fabsf(value - FIXED) < 1e-5f : got == first(work);
}

static void launch(cl_event *event)
{
	struct work *work = &classes[turn % nclasses];
	unsigned buffer = (unsigned)(turn / nclasses % nbuffers);

	turn++;
	work->launches[buffer]++;
	must(clSetKernelArg(work->kernel, 0, sizeof(cl_mem), &work->buffers[buffer]), "argument");
	must(clEnqueueNDRangeKernel(queue, work->kernel, 1, NULL, &items, NULL, 0, NULL, event),
	     "launch");
}

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static void go(double start, double end)
{
	uint64_t begins[DEPTH], next = (uint64_t)(start * 1e9), end_ns = (uint64_t)(end * 1e9);
	uint64_t in = 0, out = 0, counted = 0;
	cl_event events[DEPTH];

	sleep_until(next);
	while (out < in || now_ns() < end_ns) {
		while (in < out + depth && now_ns() < end_ns) {
			if (period_ns)
				sleep_until(next);
			begins[in % depth] = period_ns ? next : now_ns();
			launch(&events[in++ % depth]);
			must(clFlush(queue), "flush");
			next += period_ns;
		}
		if (out == in)
			break;
		must(clWaitForEvents(1, &events[out % depth]), "wait");
		must(clReleaseEvent(events[out % depth]), "release");
		uint64_t ended = now_ns();
		if (ended <= end_ns && counted < LATENCIES)
			latencies[counted++] = (float)(ended - begins[out % depth]) / 1e3f;
		out++;
	}
	qsort(latencies, counted, sizeof(latencies[0]), by_value);
	printf("did %llu", (unsigned long long)counted);
	for (unsigned p = 50; p <= 100; p += p == 50 ? 49 : 1)
		printf(" %.1f", counted ? latencies[(counted - 1) * p / 100] : 0);
	printf("\n");
}

static void run(unsigned long count)
{
	uint64_t start = now_ns();

	while (count--)
		launch(NULL);
	must(clFinish(queue), "finish");
	printf("took %.6f\n", (double)(now_ns() - start) / 1e9);
}

static void check(void)
{
	cl_uint *got = malloc(items * sizeof(*got));

	for (unsigned c = 0; got && c < nclasses; c++) {
		for (unsigned b = 0; b < nbuffers; b++) {
			must(clEnqueueReadBuffer(queue, classes[c].buffers[b], CL_TRUE, 0,
						 items * sizeof(*got), got, 0, NULL, NULL),
			     "read");
			for (cl_uint i = 0; i < items; i++) {
				if (!right(&classes[c], b, i, got[i])) {
					printf("wrong: %s, buffer %u, element %u: %08x\n",
					       classes[c].name, b, i, got[i]);
					exit(1);
				}
			}
		}
	}
	free(got);
	printf(got ? "right\n" : "error memory\n");
}

static void make(cl_context context, cl_program program, struct work *work)
{
	cl_uint *contents = malloc(items * sizeof(*contents));
	cl_int error;

	must(contents ? CL_SUCCESS : CL_OUT_OF_HOST_MEMORY, "memory");
	for (size_t i = 0; i < items; i++)
		contents[i] = first(work);
	work->kernel = clCreateKernel(program, work->name, &error);
	must(error, work->name);
	must(clSetKernelArg(work->kernel, 1, sizeof(cl_uint), &work->iterations), "argument");
	for (unsigned b = 0; b < nbuffers; b++) {
		work->buffers[b] = clCreateBuffer(context, CL_MEM_COPY_HOST_PTR,
						  items * sizeof(*contents), contents, &error);
		must(error, "buffer");
	}
	free(contents);
}

static bool arguments(int argc, char **argv)
{
	if (argc != 6)
		return false;
	for (char *word = strtok(argv[1], ","); word; word = strtok(NULL, ",")) {
		struct work *work = &classes[nclasses];

		if (nclasses++ == CLASSES ||
		    sscanf(word, "%15[a-z]:%u", work->name, &work->iterations) != 2)
			return false;
	}
	items = strtoul(argv[2], NULL, 10);
	nbuffers = (unsigned)atoi(argv[3]);
	depth = (unsigned)atoi(argv[4]);
	period_ns = strtoul(argv[5], NULL, 10) * 1000;
	return nclasses && items && nbuffers && nbuffers <= BUFFERS && depth && depth <= DEPTH;
}

int main(int argc, char **argv)
{
	const char *text = source;
	cl_platform_id platform;
	cl_device_id device;
	unsigned long count;
	double start, end;
	char line[128];
	cl_int error;

	if (!arguments(argc, argv))
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	must(clGetPlatformIDs(1, &platform, NULL), "platform");
	must(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL), "device");
	cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, &error);
	must(error, "context");
	queue = clCreateCommandQueueWithProperties(context, device, NULL, &error);
	must(error, "queue");
	cl_program program = clCreateProgramWithSource(context, 1, &text, NULL, &error);
	must(error ? error : clBuildProgram(program, 0, NULL, "", NULL, NULL), "program");
	for (unsigned c = 0; c < nclasses; c++)
		make(context, program, &classes[c]);
	for (unsigned c = 0; c < nclasses; c++)
		launch(NULL);
	must(clFinish(queue), "finish");
	puts("ready");
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "go %lf %lf", &start, &end) == 2)
			go(start, end);
		else if (sscanf(line, "do %lu", &count) == 1)
			run(count);
		else if (strcmp(line, "check\n") == 0)
			check();
		else
			return 2;
	}
	return 0;
}
