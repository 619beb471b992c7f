/* SPDX-License-Identifier: Apache-2.0
 *
 * The applications of fairshare.py.
 *
 *   measure KIND   does one thing over and over for as many seconds as standard input says, line by
 *                  line, and says how often and how long that was: "done COUNT SECONDS"
 *   flood KIND     does it without an end and without waiting where it need not; says "ready" when
 *                  it has begun; errors are its own business
 *
 * KIND: kernels (large ones), launches (small ones), finishes (small ones, each waited for),
 * transfers, objects, builds; and of floods,
 * connections (half-open ones, nonsense) and attaches (a context, again and again).
 */
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ITEMS 16384 /* of a large kernel: some milliseconds on all processors */
#define STEPS 4000
#define BYTES ((size_t)8 << 20)
#define OBJECTS 100
#define SOCKETS 200

static struct {
	cl_device_id device;
	cl_context context;
	cl_command_queue queue;
	cl_program program;
	cl_kernel kernel;
	cl_mem mem;
	char *host;
	unsigned built;
	bool flood;
} s;

static const char source[] =
    "kernel void work(global float *p, int steps)\n"
    "{ float x = get_global_id(0); for (int i = 0; i < steps; i++) x = x * 0.999f + 1.0f;\n"
    "  p[get_global_id(0)] = x; }\n";

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Who is measured must have no error. */
static bool good(cl_int error, const char *what)
{
	if (!error)
		return true;
	if (s.flood)
		return false;
	printf("error %s %d\n", what, error);
	exit(1);
}

static cl_program build(const char *text)
{
	cl_int error;
	cl_program program = clCreateProgramWithSource(s.context, 1, &text, NULL, &error);

	if (!good(error, "program"))
		return NULL;
	if (good(clBuildProgram(program, 0, NULL, "", NULL, NULL), "build"))
		return program;
	clReleaseProgram(program);
	return NULL;
}

static bool open_context(void)
{
	cl_platform_id platform;
	cl_int error;

	if (!good(clGetPlatformIDs(1, &platform, NULL), "platform") ||
	    !good(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &s.device, NULL), "device"))
		return false;
	s.context = clCreateContext(NULL, 1, &s.device, NULL, NULL, &error);
	return good(error, "context");
}

static bool open_all(void)
{
	cl_int error;

	if (!open_context())
		return false;
	s.queue = clCreateCommandQueueWithProperties(s.context, s.device, NULL, &error);
	if (!good(error, "queue"))
		return false;
	s.mem = clCreateBuffer(s.context, CL_MEM_READ_WRITE, BYTES, NULL, &error);
	s.host = calloc(1, BYTES);
	s.program = build(source);
	if (!good(error, "buffer") || !s.host || !s.program)
		return false;
	s.kernel = clCreateKernel(s.program, "work", &error);
	return good(error, "kernel") &&
	       good(clSetKernelArg(s.kernel, 0, sizeof(s.mem), &s.mem), "argument");
}

/* ---- what is done --------------------------------------------------------------------------- */

static void launch(size_t items, cl_int steps, int times)
{
	good(clSetKernelArg(s.kernel, 1, sizeof(steps), &steps), "argument");
	for (int i = 0; i < times; i++)
		good(
		    clEnqueueNDRangeKernel(s.queue, s.kernel, 1, NULL, &items, NULL, 0, NULL, NULL),
		    "launch");
	good(clFinish(s.queue), "finish");
}

static void do_kernels(void)
{
	launch(ITEMS, STEPS, s.flood ? 8 : 1);
}

static void do_launches(void)
{
	launch(64, 1, 2000);
}

static void do_finishes(void)
{
	launch(64, 1, 1);
}

static void do_transfers(void)
{
	good(clEnqueueWriteBuffer(s.queue, s.mem, CL_TRUE, 0, BYTES, s.host, 0, NULL, NULL),
	     "write");
	good(clEnqueueReadBuffer(s.queue, s.mem, CL_TRUE, 0, BYTES, s.host, 0, NULL, NULL), "read");
}

static void do_objects(void)
{
	cl_mem made[OBJECTS];
	cl_int error;

	for (int i = 0; i < OBJECTS; i++) {
		made[i] = clCreateBuffer(s.context, CL_MEM_READ_WRITE, 4096, NULL, &error);
		if (good(error, "object"))
			good(clEnqueueWriteBuffer(s.queue, made[i], CL_FALSE, 0, 4096, s.host, 0,
						  NULL, NULL),
			     "write");
	}
	for (int i = 0; i < OBJECTS; i++)
		if (made[i])
			clReleaseMemObject(made[i]);
	good(clFinish(s.queue), "finish");
}

static void do_builds(void)
{
	char text[128];

	snprintf(text, sizeof(text), "kernel void k(global int *p) { *p = %d + %u; }", getpid(),
		 s.built++);
	cl_program program = build(text);
	if (program)
		clReleaseProgram(program);
}

static void do_connections(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int sockets[SOCKETS];

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", getenv("ARAX_SOCKET") ?: "");
	for (int i = 0; i < SOCKETS; i++) {
		sockets[i] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		if (connect(sockets[i], (struct sockaddr *)&address, sizeof(address)) == 0 && i % 2)
			(void)!send(sockets[i], "nonsense", 8, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	for (int i = 0; i < SOCKETS; i++)
		close(sockets[i]);
}

/* A process has one tenant, so each context is another process's. */
static void do_attaches(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(!open_context());
	waitpid(pid, NULL, 0);
}

static const struct kind {
	const char *name;
	void (*act)(void);
	bool alone; /* needs no context of ours */
} kinds[] = {
    {"kernels", do_kernels, false},	   {"launches", do_launches, false},
    {"finishes", do_finishes, false},	   {"transfers", do_transfers, false},
    {"objects", do_objects, false},	   {"builds", do_builds, false},
    {"connections", do_connections, true}, {"attaches", do_attaches, true},
};

static void measure(const struct kind *kind, double seconds)
{
	double start = now(), end = start;
	unsigned long count = 0;

	while (end - start < seconds) {
		kind->act();
		count++;
		end = now();
	}
	printf("done %lu %.6f\n", count, end - start);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const struct kind *kind = NULL;
	char line[64];

	for (size_t i = 0; argc > 2 && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(kinds[i].name, argv[2]))
			kind = &kinds[i];
	if (!kind)
		return 2;
	s.flood = !strcmp(argv[1], "flood");
	if (!kind->alone && !open_all()) {
		puts("refused");
		return 1;
	}
	kind->act();
	puts("ready");
	fflush(stdout);
	while (s.flood)
		kind->act();
	while (fgets(line, sizeof(line), stdin))
		measure(kind, strtod(line, NULL));
	return 0;
}
