/* SPDX-License-Identifier: Apache-2.0
 *
 * The clients that lifecycle.py starts, kills and watches. Each says on standard output, one line
 * at a time, how far it is, and looks at no clock: what happens when is the script's business.
 *
 *   context     creates a context and says which error came
 *   enumerate   asks for platform and device, then waits for its standard input to end
 *   check SEED  one checked computation
 *   loop SEED   checked computations until standard input says "stop"
 *   spin HOW    waits for a kernel that never ends, by finish, read, map, wait or a second queue
 *               that waits for it (barrier); when the wait fails, it computes in a new context
 */
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>

#define N 4096

static const char source[] =
    "kernel void blend(global uint *p, uint a, uint b)\n"
    "{ size_t i = get_global_id(0); p[i] = p[i] * a + b; }\n"
    "kernel void spin(global volatile uint *p) { while (p[0] != 77u) ; p[1] = 1; }\n";

struct work {
	cl_context context;
	cl_command_queue queue;
	cl_program program;
	cl_kernel blend, spin;
	cl_mem buffer;
};

static cl_platform_id platform;
static cl_device_id device;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
}

static void must(cl_int error, const char *what)
{
	if (error == CL_SUCCESS)
		return;
	say("error %s %d", what, error);
	exit(1);
}

static void find_device(void)
{
	char name[64] = "";

	must(clGetPlatformIDs(1, &platform, NULL), "clGetPlatformIDs");
	must(clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof(name), name, NULL), "platform");
	if (strcmp(name, "Arax")) {
		say("error platform %s", name);
		exit(1);
	}
	must(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL), "clGetDeviceIDs");
}

static atomic_int notified;

static void CL_CALLBACK on_context_error(const char *message, const void *info, size_t size,
					 void *arg)
{
	(void)info, (void)size, (void)arg;
	atomic_fetch_add(&notified, message && *message ? 1 : 1000);
}

static struct work work_open(void)
{
	const char *text = source;
	struct work w;
	cl_int error;

	w.context = clCreateContext(NULL, 1, &device, on_context_error, NULL, &error);
	must(error, "clCreateContext");
	w.queue = clCreateCommandQueueWithProperties(w.context, device, NULL, &error);
	must(error, "queue");
	w.program = clCreateProgramWithSource(w.context, 1, &text, NULL, &error);
	must(error, "program");
	must(clBuildProgram(w.program, 1, &device, "", NULL, NULL), "clBuildProgram");
	w.blend = clCreateKernel(w.program, "blend", &error);
	must(error, "blend");
	w.spin = clCreateKernel(w.program, "spin", &error);
	must(error, "spin");
	w.buffer = clCreateBuffer(w.context, CL_MEM_READ_WRITE, N * sizeof(cl_uint), NULL, &error);
	must(error, "buffer");
	return w;
}

static void work_close(struct work *w)
{
	clReleaseMemObject(w->buffer);
	clReleaseKernel(w->blend);
	clReleaseKernel(w->spin);
	clReleaseProgram(w->program);
	clReleaseCommandQueue(w->queue);
	clReleaseContext(w->context);
}

/* Launches on known data and compares every element. */
static void work_check(struct work *w, cl_uint seed)
{
	static cl_uint data[N];
	const size_t n = N;
	cl_uint expected = seed;

	for (int i = 0; i < N; i++)
		data[i] = seed + (cl_uint)i;
	must(clEnqueueWriteBuffer(w->queue, w->buffer, CL_FALSE, 0, sizeof(data), data, 0, NULL,
				  NULL),
	     "write");
	must(clSetKernelArg(w->blend, 0, sizeof(w->buffer), &w->buffer), "argument");
	for (cl_uint a = 3, b = 0; b < 10; a += 2, b++) {
		must(clSetKernelArg(w->blend, 1, sizeof(a), &a), "argument");
		must(clSetKernelArg(w->blend, 2, sizeof(b), &b), "argument");
		must(clEnqueueNDRangeKernel(w->queue, w->blend, 1, NULL, &n, NULL, 0, NULL, NULL),
		     "launch");
	}
	must(
	    clEnqueueReadBuffer(w->queue, w->buffer, CL_TRUE, 0, sizeof(data), data, 0, NULL, NULL),
	    "read");
	for (int i = 0; i < N; i++) {
		expected = seed + (cl_uint)i;
		for (cl_uint a = 3, b = 0; b < 10; a += 2, b++)
			expected = expected * a + b;
		if (data[i] != expected) {
			say("error element %d is %u, not %u", i, data[i], expected);
			exit(1);
		}
	}
}

static int run_context(void)
{
	cl_int error = 12345;
	cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, &error);

	say("context %d %s", error, context ? "object" : "null");
	if (context)
		clReleaseContext(context);
	return 0;
}

static int run_enumerate(void)
{
	char line[64];

	say("enumerated");
	while (fgets(line, sizeof(line), stdin))
		;
	return 0;
}

static int run_check(cl_uint seed)
{
	struct work w = work_open();

	work_check(&w, seed);
	work_close(&w);
	say("ok");
	return 0;
}

static int run_loop(cl_uint seed)
{
	struct pollfd input = {.fd = 0, .events = POLLIN};
	struct work w = work_open();

	for (unsigned round = 1; !poll(&input, 1, 0); round++) {
		work_check(&w, seed + round);
		say("round %u", round);
	}
	work_close(&w);
	say("ok");
	return 0;
}

/* Waits for the event's command, the last of the queue, in one of the ways to wait. */
static cl_int wait_somehow(struct work *w, const char *how, cl_event event)
{
	cl_uint value;
	cl_int error;

	if (!strcmp(how, "read"))
		return clEnqueueReadBuffer(w->queue, w->buffer, CL_TRUE, 0, sizeof(value), &value,
					   0, NULL, NULL);
	if (!strcmp(how, "map")) {
		clEnqueueMapBuffer(w->queue, w->buffer, CL_TRUE, CL_MAP_READ, 0, sizeof(value), 0,
				   NULL, NULL, &error);
		return error;
	}
	if (!strcmp(how, "wait"))
		return clWaitForEvents(1, &event);
	if (!strcmp(how, "barrier")) {
		cl_command_queue other =
		    clCreateCommandQueueWithProperties(w->context, device, NULL, &error);

		must(error, "queue");
		must(clEnqueueBarrierWithWaitList(other, 1, &event, NULL), "barrier");
		error = clFinish(other);
		clReleaseCommandQueue(other);
		return error;
	}
	return clFinish(w->queue);
}

static int run_spin(const char *how)
{
	struct work w = work_open();
	const cl_uint zero[2] = {0, 0};
	const size_t one = 1;
	cl_int status = CL_QUEUED, error;
	cl_event event;

	work_check(&w, 1);
	must(clEnqueueWriteBuffer(w.queue, w.buffer, CL_TRUE, 0, sizeof(zero), zero, 0, NULL, NULL),
	     "write");
	must(clSetKernelArg(w.spin, 0, sizeof(w.buffer), &w.buffer), "argument");
	must(clEnqueueNDRangeKernel(w.queue, w.spin, 1, NULL, &one, NULL, 0, NULL, &event), "spin");
	must(clFlush(w.queue), "flush");
	while (status > CL_RUNNING) {
		must(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(status),
				    &status, NULL),
		     "status");
		usleep(1000);
	}
	say("spinning %d", status);
	error = wait_somehow(&w, how, event);
	must(
	    clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(status), &status, NULL),
	    "status");
	say("finish %d event %d", error, status);
	error = clEnqueueNDRangeKernel(w.queue, w.blend, 1, NULL, &one, NULL, 0, NULL, NULL);
	if (!error)
		error = clFinish(w.queue);
	say("enqueue %d", error);
	say("notified %d", atomic_load(&notified));
	clReleaseEvent(event);
	work_close(&w);
	return run_check(5);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	cl_uint seed = argc > 2 ? (cl_uint)strtoul(argv[2], NULL, 0) : 1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	find_device();
	if (!strcmp(what, "context"))
		return run_context();
	if (!strcmp(what, "enumerate"))
		return run_enumerate();
	if (!strcmp(what, "check"))
		return run_check(seed);
	if (!strcmp(what, "loop"))
		return run_loop(seed);
	if (!strcmp(what, "spin"))
		return run_spin(argc > 2 ? argv[2] : "finish");
	fputs("usage: helper_lifecycle context|enumerate|check|loop|spin [SEED|HOW]\n", stderr);
	return 2;
}
