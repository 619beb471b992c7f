/* SPDX-License-Identifier: Apache-2.0
 *
 * An application for kills.py and soak.py that goes on whatever dies around it:
 * helper_kills ROUNDS SEED [OPTIONS].
 *
 * Each round makes a context and sends commands of every kind on some buffers without waiting for
 * each other, then looks at what became of each of them. A command that failed leaves what it could
 * write unknown until that is overwritten; everything else must be what a model on the host says.
 * One line per round:
 *
 *   round N ok NS             everything worked
 *   round N lost CODE NS WHAT  something failed, as it may when somebody was killed; NS is when the
 *                             call that said so first returned (CLOCK_MONOTONIC)
 *   wrong ...                 a wrong value, or an error that nobody's death explains: exit status
 * 1
 *
 * ROUNDS 0: until standard input has something to read. OPTIONS are the program's build options.
 * Exit status 4: there is no device.
 */
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#define N 1024
#define BUFFERS 5
#define OPS 24

static const char source[] = "kernel void blend(global uint *to, const global uint *from, uint a)\n"
			     "{ size_t i = get_global_id(0); to[i] = from[i] * a + (uint)i; }\n"
			     "kernel void step_on(global uint *p, uint a)\n"
			     "{ size_t i = get_global_id(0); p[i] = p[i] * (a | 1u) + a; }\n";

enum kind { BLEND, STEP, GATED, WRITE, WRITE_LATER, READ, READ_LATER, COPY, FILL, MAP, KINDS };

struct op {
	enum kind kind;
	int to, from;
	cl_uint a;
	cl_int error; /* of the call */
	cl_event event;
	cl_uint data[N]; /* what is written, or was read */
};

struct work {
	cl_context context;
	cl_command_queue queue;
	cl_program program;
	cl_kernel blend, step;
	cl_mem buffers[BUFFERS];
};

static cl_device_id device;
static unsigned long long state;
static struct {
	cl_int error;
	unsigned long long ns;
	const char *what;
} lost;

static unsigned next(unsigned below)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(state >> 33) % below;
}

static unsigned long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned long long)t.tv_sec * 1000000000u + (unsigned long long)t.tv_nsec;
}

static _Noreturn void wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
static _Noreturn void wrong(const char *format, ...)
{
	va_list arguments;

	printf("wrong ");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
	exit(1);
}

/* What a death may be answered with. Return: was there an error? */
static bool failed(cl_int error, const char *what)
{
	static const cl_int may_be[] = {CL_OUT_OF_RESOURCES, CL_DEVICE_NOT_AVAILABLE,
					CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST,
					CL_BUILD_PROGRAM_FAILURE, CL_COMPILER_NOT_AVAILABLE};
	bool known = false;

	if (error == CL_SUCCESS)
		return false;
	for (size_t i = 0; i < sizeof(may_be) / sizeof(may_be[0]); i++)
		known = known || error == may_be[i];
	if (!known)
		wrong("error %d of %s", error, what);
	if (!lost.error) {
		lost.error = error;
		lost.ns = now();
		lost.what = what;
	}
	return true;
}

static bool work_open(struct work *w, const char *options)
{
	const char *text = source;
	cl_int error;

	memset(w, 0, sizeof(*w));
	w->context = clCreateContext(NULL, 1, &device, NULL, NULL, &error);
	if (failed(error, "clCreateContext"))
		return false;
	w->queue = clCreateCommandQueueWithProperties(w->context, device, NULL, &error);
	if (failed(error, "clCreateCommandQueue"))
		return false;
	w->program = clCreateProgramWithSource(w->context, 1, &text, NULL, &error);
	if (failed(error, "clCreateProgramWithSource") ||
	    failed(clBuildProgram(w->program, 1, &device, options, NULL, NULL), "clBuildProgram"))
		return false;
	w->blend = clCreateKernel(w->program, "blend", &error);
	if (failed(error, "clCreateKernel"))
		return false;
	w->step = clCreateKernel(w->program, "step_on", &error);
	if (failed(error, "clCreateKernel"))
		return false;
	for (int i = 0; i < BUFFERS; i++) {
		w->buffers[i] = clCreateBuffer(w->context, CL_MEM_READ_WRITE, N * sizeof(cl_uint),
					       NULL, &error);
		if (failed(error, "clCreateBuffer"))
			return false;
	}
	return true;
}

static void work_close(struct work *w)
{
	for (int i = 0; i < BUFFERS; i++)
		if (w->buffers[i])
			clReleaseMemObject(w->buffers[i]);
	if (w->blend)
		clReleaseKernel(w->blend);
	if (w->step)
		clReleaseKernel(w->step);
	if (w->program)
		clReleaseProgram(w->program);
	if (w->queue)
		clReleaseCommandQueue(w->queue);
	if (w->context)
		clReleaseContext(w->context);
}

/* ---- commands ------------------------------------------------------------------------------- */

static cl_int launch(struct work *w, struct op *op, cl_event gate)
{
	const size_t n = N;
	cl_kernel kernel = op->kind == BLEND ? w->blend : w->step;
	cl_int error = clSetKernelArg(kernel, 0, sizeof(cl_mem), &w->buffers[op->to]);

	if (!error && op->kind == BLEND)
		error = clSetKernelArg(kernel, 1, sizeof(cl_mem), &w->buffers[op->from]);
	if (!error)
		error = clSetKernelArg(kernel, op->kind == BLEND ? 2 : 1, sizeof(op->a), &op->a);
	if (error)
		return error;
	return clEnqueueNDRangeKernel(w->queue, kernel, 1, NULL, &n, NULL, gate != NULL,
				      gate ? &gate : NULL, &op->event);
}

/* Begins only when the application says so. */
static cl_int gated(struct work *w, struct op *op)
{
	cl_int error;
	cl_event gate = clCreateUserEvent(w->context, &error);

	if (error)
		return error;
	error = launch(w, op, gate);
	cl_int opened = clSetUserEventStatus(gate, CL_COMPLETE);
	clReleaseEvent(gate);
	return error ? error : opened;
}

static cl_int map(struct work *w, struct op *op)
{
	cl_int error;
	void *at = clEnqueueMapBuffer(w->queue, w->buffers[op->to], CL_TRUE, CL_MAP_WRITE, 0,
				      sizeof(op->data), 0, NULL, NULL, &error);

	if (error)
		return error;
	memcpy(at, op->data, sizeof(op->data));
	return clEnqueueUnmapMemObject(w->queue, w->buffers[op->to], at, 0, NULL, &op->event);
}

static cl_int enqueue(struct work *w, struct op *op)
{
	cl_bool later = op->kind == WRITE_LATER || op->kind == READ_LATER;
	cl_mem to = w->buffers[op->to];

	switch (op->kind) {
	case BLEND:
	case STEP:
		return launch(w, op, NULL);
	case GATED:
		return gated(w, op);
	case WRITE:
	case WRITE_LATER:
		return clEnqueueWriteBuffer(w->queue, to, !later, 0, sizeof(op->data), op->data, 0,
					    NULL, &op->event);
	case READ:
	case READ_LATER:
		return clEnqueueReadBuffer(w->queue, to, !later, 0, sizeof(op->data), op->data, 0,
					   NULL, &op->event);
	case COPY:
		return clEnqueueCopyBuffer(w->queue, w->buffers[op->from], to, 0, 0,
					   sizeof(op->data), 0, NULL, &op->event);
	case FILL:
		return clEnqueueFillBuffer(w->queue, to, &op->a, sizeof(op->a), 0, sizeof(op->data),
					   0, NULL, &op->event);
	default:
		return map(w, op);
	}
}

static void send(struct work *w, struct op *op, int index)
{
	*op = (struct op){.kind = next(KINDS), .to = (int)next(BUFFERS), .a = next(1u << 30)};
	op->from = (op->to + 1 + (int)next(BUFFERS - 1)) % BUFFERS;
	if (index < BUFFERS) { /* all are written first */
		op->kind = next(2) ? WRITE : WRITE_LATER;
		op->to = index;
	}
	if (op->kind == WRITE || op->kind == WRITE_LATER || op->kind == MAP)
		for (cl_uint i = 0; i < N; i++)
			op->data[i] = op->a + i * 2654435761u;
	op->error = enqueue(w, op);
	failed(op->error, "an enqueue");
}

/* ---- what they should have done ------------------------------------------------------------- */

struct model {
	bool known;
	cl_uint data[N];
};

static bool ended_well(struct op *op)
{
	cl_int status = op->error;

	if (op->event) {
		failed(clWaitForEvents(1, &op->event), "clWaitForEvents");
		cl_int error = clGetEventInfo(op->event, CL_EVENT_COMMAND_EXECUTION_STATUS,
					      sizeof(status), &status, NULL);
		if (error || status > CL_COMPLETE)
			wrong("the status of what was waited for is %d (%d)", status, error);
		failed(status, "a command");
		clReleaseEvent(op->event);
	}
	return !op->error && !status;
}

/* What was sent in this round, for whoever looks for the mistake. */
static void tell(const struct op *ops, const bool *well, int count)
{
	static const char *const names[] = {"blend", "step",	   "gated", "write", "write later",
					    "read",  "read later", "copy",  "fill",  "map"};

	for (int i = 0; i < count; i++)
		printf("wrong   %d: %s to %d from %d with %u: %s (%d)\n", i, names[ops[i].kind],
		       ops[i].to, ops[i].from, ops[i].a, well[i] ? "well" : "failed", ops[i].error);
}

/* Return: the first element that is not what it should be, or -1. */
static int compare(const struct op *op, const struct model *model)
{
	for (int i = 0; model->known && i < N; i++)
		if (op->data[i] != model->data[i])
			return i;
	return -1;
}

static void apply(const struct op *op, struct model *models)
{
	struct model *to = &models[op->to];
	const struct model *from = &models[op->from];

	for (cl_uint i = 0; i < N; i++) {
		switch (op->kind) {
		case BLEND:
			to->data[i] = from->data[i] * op->a + i;
			break;
		case STEP:
		case GATED:
			to->data[i] = to->data[i] * (op->a | 1u) + op->a;
			break;
		case COPY:
			to->data[i] = from->data[i];
			break;
		case FILL:
			to->data[i] = op->a;
			break;
		default:
			to->data[i] = op->data[i];
		}
	}
	if (op->kind == BLEND || op->kind == COPY)
		to->known = from->known;
	else if (op->kind != STEP && op->kind != GATED)
		to->known = true;
}

static void verify(struct op *ops, int count, unsigned round)
{
	static struct model models[BUFFERS];
	bool well[OPS];

	for (int i = 0; i < BUFFERS; i++)
		models[i].known = false;
	/* All have ended before any is looked at: what was read later must be there. */
	for (int i = 0; i < count; i++)
		well[i] = ended_well(&ops[i]);
	for (int i = 0; i < count; i++) {
		bool reads = ops[i].kind == READ || ops[i].kind == READ_LATER;

		int bad = reads && well[i] ? compare(&ops[i], &models[ops[i].to]) : -1;
		if (bad >= 0) {
			tell(ops, well, count);
			wrong("round %u, command %d: element %d of buffer %d is %u, not %u", round,
			      i, bad, ops[i].to, ops[i].data[bad], models[ops[i].to].data[bad]);
		}
		if (!reads && well[i])
			apply(&ops[i], models);
		else if (!reads)
			models[ops[i].to].known = false;
	}
}

static void run_round(unsigned round, const char *options)
{
	static struct op ops[OPS];
	struct work w;
	int count = 0;

	memset(&lost, 0, sizeof(lost));
	if (work_open(&w, options)) {
		for (; count < OPS - BUFFERS; count++)
			send(&w, &ops[count], count);
		for (int i = 0; i < BUFFERS; i++, count++) {
			ops[count] = (struct op){.kind = READ_LATER, .to = i, .from = i};
			ops[count].error = enqueue(&w, &ops[count]);
			failed(ops[count].error, "the last read");
		}
		failed(clFinish(w.queue), "clFinish");
		verify(ops, count, round);
	}
	work_close(&w);
	if (lost.error)
		printf("round %u lost %d %llu %s\n", round, lost.error, lost.ns, lost.what);
	else
		printf("round %u ok %llu\n", round, now());
	fflush(stdout);
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : 0;
	const char *options = argc > 3 ? argv[3] : "";
	struct pollfd input = {.fd = 0, .events = POLLIN};
	cl_platform_id platform;

	if (argc < 3) {
		fputs("usage: helper_kills ROUNDS SEED [OPTIONS]\n", stderr);
		return 2;
	}
	state = strtoull(argv[2], NULL, 0) * 2654435761u + 1;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (clGetPlatformIDs(1, &platform, NULL) ||
	    clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL)) {
		printf("nothing %llu\n", now());
		return 4;
	}
	for (unsigned round = 1; (!rounds || round <= rounds) && !poll(&input, 1, 0); round++)
		run_round(round, options);
	puts("ok");
	return 0;
}
