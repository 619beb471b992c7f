/* SPDX-License-Identifier: Apache-2.0
 *
 * Sends every opcode of Arax's protocol at least once and takes the library's other ways, too, in
 * sections that stand for themselves. Each call may fail, with an error that the specification has
 * for want of memory or of other resources; what succeeded must be right. Under preload_fail.so
 * the first round runs while calls fail, and the second, with failing taken back, must be perfect:
 * nothing that went wrong may have consequences.
 *
 *   every [rounds]      rounds without failing that follow the first, 1 unless said
 *
 * Exit status: 0 good; 1 wrong; a signal: crash, or (SIGALRM) a hang.
 */
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void faults_arm(int armed) __attribute__((weak));
void faults_left(void) __attribute__((weak));

#define N 65536
#define HANG_SECONDS 60
#define PATIENCE_SECONDS 30

static bool strict; /* nothing may fail */
static int wrong;

static const char source[] =
    "#include \"every.h\"\n"
    "kernel void add(global uint *p, uint a) { p[get_global_id(0)] += a * ONE; }\n"
    "kernel void many(global uint *a, global uint *b, global uint *c, global uint *d,\n"
    " global uint *e, global uint *f, global uint *g, global uint *h, global uint *i,\n"
    " global uint *j, uint16 k, local uint *l) {\n"
    " l[0] = 1; a[0]=b[0]=c[0]=d[0]=e[0]=f[0]=g[0]=h[0]=i[0]=j[0]=k.sf; }\n"
    "kernel void say(uint a) { if (get_global_id(0) == 0) printf(\"\"); }\n"
    "kernel void draw(read_only image2d_t i, sampler_t s, global float4 *o) {\n"
    " o[0] = read_imagef(i, s, (int2)(0, 0)); }\n";
static const char header[] = "#define ONE 1u\n";

/* So that the programs are others than those of before. */
static const char *build_options(void)
{
	return getenv("EVERY_OPTIONS") ?: "-DX=1";
}

static bool allowed(cl_int error)
{
	if (strict)
		return false;
	return error == CL_OUT_OF_HOST_MEMORY || error == CL_OUT_OF_RESOURCES ||
	       error == CL_MEM_OBJECT_ALLOCATION_FAILURE || error == CL_DEVICE_NOT_AVAILABLE ||
	       error == CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST;
}

static bool good(cl_int error, const char *what)
{
	if (error == CL_SUCCESS)
		return true;
	if (!allowed(error)) {
		fprintf(stderr, "every: %s gave %d\n", what, error);
		wrong = 1;
	}
	return false;
}

static void bad(const char *what)
{
	fprintf(stderr, "every: %s\n", what);
	wrong = 1;
}

#define GOOD(call) good(call, #call)
#define MAKE(variable, call) ((variable) = (call), good(error, #call) && (variable))

struct world {
	cl_device_id device;
	cl_context context;
	cl_command_queue queue, loose;
	cl_program program;
	cl_kernel add;
	cl_mem a, b;
};

static cl_uint data[N], back[N];

static void CL_CALLBACK ignore_context(const char *text, const void *info, size_t size, void *arg)
{
	(void)text, (void)info, (void)size, (void)arg;
}

static void CL_CALLBACK count_event(cl_event event, cl_int status, void *arg)
{
	(void)event, (void)status;
	atomic_fetch_add((atomic_int *)arg, 1);
}

static void CL_CALLBACK count_mem(cl_mem mem, void *arg)
{
	(void)mem;
	atomic_fetch_add((atomic_int *)arg, 1);
}

static void CL_CALLBACK count_context(cl_context context, void *arg)
{
	(void)context;
	atomic_fetch_add((atomic_int *)arg, 1);
}

static void CL_CALLBACK count_program(cl_program program, void *arg)
{
	(void)program;
	atomic_fetch_add((atomic_int *)arg, 1);
}

static void CL_CALLBACK native(void *arg)
{
	(void)arg;
}

/* Callbacks come from another thread and have no call that waits for them. */
static void await(atomic_int *counter, const char *what)
{
	struct timespec now, start;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		if (atomic_load(counter))
			return;
		const struct timespec little = {0, 200000};
		nanosleep(&little, NULL);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - start.tv_sec < PATIENCE_SECONDS);
	bad(what);
}

static void release_event(cl_event event)
{
	if (event)
		clReleaseEvent(event);
}

/* How a command ended that has ended; releases the event. A later one of its queue goes on. */
static bool ended_well(cl_event event)
{
	cl_int status = CL_QUEUED;
	bool well = GOOD(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(status),
					&status, NULL)) &&
		    GOOD(status);

	clReleaseEvent(event);
	return well;
}

static void release_mem(cl_mem mem)
{
	if (mem)
		clReleaseMemObject(mem);
}

/* Launches, wait lists, reads and writes of all kinds; what is read must be right. */
static void buffers(struct world *w)
{
	const size_t n = N;
	const cl_uint one = 1, pattern = 5;
	cl_event e[4] = {NULL}, launched[8] = {NULL};
	bool whole;
	cl_event filled = NULL;
	cl_uint *map;
	cl_int error;

	for (cl_uint i = 0; i < N; i++)
		data[i] = i;
	whole = GOOD(
	    clEnqueueWriteBuffer(w->queue, w->a, CL_FALSE, 0, sizeof(data), data, 0, NULL, &e[0]));
	whole = GOOD(clSetKernelArg(w->add, 0, sizeof(w->a), &w->a)) && whole;
	whole = GOOD(clSetKernelArg(w->add, 1, sizeof(one), &one)) && whole;
	if (!whole)
		goto out;
	/* behind a launch nothing can be done at once */
	for (int i = 0; i < 8 && whole; i++)
		whole = GOOD(clEnqueueNDRangeKernel(w->queue, w->add, 1, NULL, &n, NULL, 1, e,
						    &launched[i]));
	whole = whole && GOOD(clEnqueueCopyBuffer(w->queue, w->a, w->b, 0, 0, sizeof(data), 1,
						  &launched[7], &e[1]));
	whole = whole && GOOD(clEnqueueFillBuffer(w->queue, w->a, &pattern, sizeof(pattern), 0,
						  sizeof(data), 0, NULL, &filled));
	whole = whole && GOOD(clEnqueueReadBuffer(w->queue, w->b, CL_FALSE, 0, sizeof(back), back,
						  0, NULL, &e[2]));
	whole = whole && GOOD(clEnqueueMarkerWithWaitList(w->queue, 0, NULL, NULL));
	whole = whole && GOOD(clEnqueueBarrierWithWaitList(w->queue, 0, NULL, &e[3]));
	whole = GOOD(clFinish(w->queue)) && whole;
	for (int i = 0; i < 8; i++)
		whole = launched[i] && ended_well(launched[i]) && whole;
	for (int i = 0; i < 4; i++)
		whole = e[i] && ended_well(e[i]) && whole;
	whole = filled && ended_well(filled) && whole;
	for (cl_uint i = 0; i < N && whole; i++) {
		if (back[i] != i + 8) {
			bad("buffers: read wrong data");
			break;
		}
	}
	map = clEnqueueMapBuffer(w->queue, w->a, CL_TRUE, CL_MAP_READ, 0, sizeof(data), 0, NULL,
				 NULL, &error);
	if (good(error, "map") && map) {
		if (whole && (map[0] != 5 || map[N - 1] != 5))
			bad("buffers: mapped wrong data");
		GOOD(clEnqueueUnmapMemObject(w->queue, w->a, map, 0, NULL, NULL));
	}
	GOOD(clFinish(w->queue));
	return;
out:
	GOOD(clFinish(w->queue));
	release_event(e[0]);
}

static void user_events(struct world *w)
{
	cl_event user, after = NULL, last = NULL;
	atomic_int called = 0;
	const size_t n = N;
	cl_int error, status = 1;

	if (!MAKE(user, clCreateUserEvent(w->context, &error)))
		return;
	bool sent =
	    GOOD(clEnqueueNDRangeKernel(w->loose, w->add, 1, NULL, &n, NULL, 1, &user, &after));
	sent = sent && GOOD(clEnqueueReadBuffer(w->loose, w->a, CL_FALSE, 0, sizeof(back), back, 1,
						&after, &last));
	bool told = sent && GOOD(clSetEventCallback(last, CL_COMPLETE, count_event, &called));
	void *arg = &called;
	GOOD(clEnqueueNativeKernel(w->loose, native, arg, sizeof(arg), 0, NULL, NULL, 1, &user,
				   NULL));
	GOOD(clSetUserEventStatus(user, CL_COMPLETE));
	GOOD(clFlush(w->loose));
	if (last)
		GOOD(clWaitForEvents(1, &last));
	if (told)
		await(&called, "user_events: the callback does not come");
	GOOD(clFinish(w->loose));
	if (last &&
	    !clGetEventInfo(last, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(status), &status,
			    NULL) &&
	    status > 0)
		bad("user_events: finished and not final");
	release_event(last);
	release_event(after);
	clReleaseEvent(user);
}

static void many_arguments(struct world *w)
{
	cl_mem m[10] = {NULL};
	cl_uint sixteen[16], got = 0;
	const size_t n = 1;
	cl_kernel kernel, copy = NULL;
	cl_event launched = NULL;
	cl_int error;
	bool whole = true;

	if (!MAKE(kernel, clCreateKernel(w->program, "many", &error)))
		return;
	for (int i = 0; i < 16; i++)
		sixteen[i] = 77;
	for (cl_uint i = 0; i < 10 && whole; i++)
		whole =
		    MAKE(m[i], clCreateBuffer(w->context, CL_MEM_READ_WRITE, 4096, NULL, &error)) &&
		    GOOD(clSetKernelArg(kernel, i, sizeof(m[i]), &m[i]));
	whole = whole && GOOD(clSetKernelArg(kernel, 10, sizeof(sixteen), sixteen));
	whole = whole && GOOD(clSetKernelArg(kernel, 11, 64, NULL));
	whole = whole && MAKE(copy, clCloneKernel(kernel, &error));
	whole = whole &&
		GOOD(clEnqueueNDRangeKernel(w->queue, copy, 1, NULL, &n, NULL, 0, NULL, &launched));
	whole = whole && GOOD(clEnqueueReadBuffer(w->queue, m[9], CL_TRUE, 0, sizeof(got), &got, 0,
						  NULL, NULL));
	whole = GOOD(clFinish(w->queue)) && whole;
	whole = launched && ended_well(launched) && whole;
	if (whole && got != 77)
		bad("many_arguments: wrong result");
	GOOD(clFinish(w->queue));
	if (copy)
		clReleaseKernel(copy);
	clReleaseKernel(kernel);
	for (int i = 0; i < 10; i++)
		release_mem(m[i]);
}

static void printing(struct world *w)
{
	const size_t n = 4;
	cl_uint a = 1;
	cl_kernel kernel;
	cl_int error;

	if (!MAKE(kernel, clCreateKernel(w->program, "say", &error)))
		return;
	if (GOOD(clSetKernelArg(kernel, 0, sizeof(a), &a)))
		GOOD(clEnqueueNDRangeKernel(w->queue, kernel, 1, NULL, &n, NULL, 0, NULL, NULL));
	GOOD(clFinish(w->queue));
	clReleaseKernel(kernel);
}

static void images(struct world *w)
{
	const cl_image_format format = {CL_RGBA, CL_UNORM_INT8};
	const cl_image_desc desc = {
	    .image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = 64, .image_height = 64};
	const cl_sampler_properties nearest[] = {CL_SAMPLER_NORMALIZED_COORDS,
						 CL_FALSE,
						 CL_SAMPLER_ADDRESSING_MODE,
						 CL_ADDRESS_CLAMP_TO_EDGE,
						 CL_SAMPLER_FILTER_MODE,
						 CL_FILTER_NEAREST,
						 0};
	const size_t origin[3] = {0}, region[3] = {64, 64, 1}, one = 1;
	static unsigned char pixels[64 * 64 * 4];
	cl_float out[4] = {0};
	cl_mem image, result = NULL;
	cl_sampler sampler = NULL;
	cl_event launched = NULL;
	cl_kernel kernel = NULL;
	cl_int error;
	bool whole;

	memset(pixels, 255, sizeof(pixels));
	if (!MAKE(image, clCreateImage(w->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
				       &format, &desc, pixels, &error)))
		return;
	whole = MAKE(sampler, clCreateSamplerWithProperties(w->context, nearest, &error));
	whole =
	    whole && MAKE(result, clCreateBuffer(w->context, CL_MEM_READ_WRITE, 64, NULL, &error));
	whole = whole && MAKE(kernel, clCreateKernel(w->program, "draw", &error));
	whole = whole && GOOD(clSetKernelArg(kernel, 0, sizeof(image), &image));
	whole = whole && GOOD(clSetKernelArg(kernel, 1, sizeof(sampler), &sampler));
	whole = whole && GOOD(clSetKernelArg(kernel, 2, sizeof(result), &result));
	whole = whole && GOOD(clEnqueueNDRangeKernel(w->queue, kernel, 1, NULL, &one, NULL, 0, NULL,
						     &launched));
	whole = whole && GOOD(clEnqueueReadBuffer(w->queue, result, CL_TRUE, 0, sizeof(out), out, 0,
						  NULL, NULL));
	whole = GOOD(clFinish(w->queue)) && whole;
	whole = launched && ended_well(launched) && whole;
	if (whole && out[0] != 1.0f)
		bad("images: wrong result");
	size_t pitch;
	void *map = clEnqueueMapImage(w->queue, image, CL_TRUE, CL_MAP_WRITE, origin, region,
				      &pitch, NULL, 0, NULL, NULL, &error);
	if (good(error, "map image") && map)
		GOOD(clEnqueueUnmapMemObject(w->queue, image, map, 0, NULL, NULL));
	GOOD(clEnqueueReadImage(w->queue, image, CL_FALSE, origin, region, 0, 0, pixels, 0, NULL,
				NULL));
	GOOD(clFinish(w->queue));
	if (kernel)
		clReleaseKernel(kernel);
	if (sampler)
		clReleaseSampler(sampler);
	release_mem(result);
	release_mem(image);
}

static void shapes(struct world *w)
{
	static cl_uint host[N];
	const cl_buffer_region part = {4096, 4096};
	const cl_mem_properties none[] = {0};
	atomic_int destroyed = 0;
	cl_mem mine, sub = NULL;
	cl_int error;

	if (!MAKE(mine, clCreateBufferWithProperties(w->context, none,
						     CL_MEM_USE_HOST_PTR | CL_MEM_READ_WRITE,
						     sizeof(host), host, &error)))
		return;
	bool told = GOOD(clSetMemObjectDestructorCallback(mine, count_mem, &destroyed));
	if (MAKE(sub, clCreateSubBuffer(mine, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION,
					&part, &error))) {
		void *map = clEnqueueMapBuffer(w->queue, sub, CL_TRUE, CL_MAP_WRITE, 0, 4096, 0,
					       NULL, NULL, &error);
		if (good(error, "map sub-buffer") && map)
			GOOD(clEnqueueUnmapMemObject(w->queue, sub, map, 0, NULL, NULL));
	}
	GOOD(clFinish(w->queue));
	release_mem(sub);
	release_mem(mine);
	if (told)
		await(&destroyed, "shapes: the destructor's callback does not come");
}

static void shared_memory(struct world *w)
{
	const cl_uint pattern = 9;
	cl_uint *p = clSVMAlloc(w->context, CL_MEM_READ_WRITE, sizeof(data), 0);

	if (!p) {
		if (strict)
			bad("clSVMAlloc gave NULL");
		return;
	}
	cl_event filled = NULL;
	bool whole = GOOD(clEnqueueSVMMemFill(w->queue, p, &pattern, sizeof(pattern), sizeof(data),
					      0, NULL, &filled));
	whole = whole &&
		GOOD(clEnqueueSVMMemcpy(w->queue, CL_TRUE, back, p, sizeof(back), 0, NULL, NULL));
	whole = GOOD(clFinish(w->queue)) && whole;
	whole = filled && ended_well(filled) && whole;
	if (whole && back[N - 1] != 9)
		bad("shared_memory: wrong data");
	GOOD(clSetKernelExecInfo(w->add, CL_KERNEL_EXEC_INFO_SVM_PTRS, sizeof(p), &p));
	GOOD(clSetKernelExecInfo(w->add, CL_KERNEL_EXEC_INFO_SVM_PTRS, 0, NULL));
	GOOD(clFinish(w->queue));
	void *pointers[] = {p};
	if (!GOOD(clEnqueueSVMFree(w->queue, 1, pointers, NULL, NULL, 0, NULL, NULL)))
		clSVMFree(w->context, p);
	GOOD(clFinish(w->queue));
}

/* Compile with a header, link, read the binary, make a program of it. */
static cl_program compile(struct world *w)
{
	const char *text = source, *header_text = header, *name = "every.h";
	cl_program part, embedded = NULL, whole = NULL;
	atomic_int called = 0;
	cl_int error;

	if (!MAKE(part, clCreateProgramWithSource(w->context, 1, &text, NULL, &error)))
		return NULL;
	if (MAKE(embedded, clCreateProgramWithSource(w->context, 1, &header_text, NULL, &error)) &&
	    GOOD(clCompileProgram(part, 1, &w->device, build_options(), 1, &embedded, &name,
				  count_program, &called))) {
		await(&called, "compile: the callback does not come");
		cl_build_status status = CL_BUILD_ERROR;
		cl_int got = clGetProgramBuildInfo(part, w->device, CL_PROGRAM_BUILD_STATUS,
						   sizeof(status), &status, NULL);
		if (good(got, "build status") && status == CL_BUILD_SUCCESS)
			MAKE(whole, clLinkProgram(w->context, 1, &w->device, "", 1, &part, NULL,
						  NULL, &error));
		else if (strict)
			bad("compile: failed");
	}
	if (embedded)
		clReleaseProgram(embedded);
	clReleaseProgram(part);
	return whole;
}

static void binaries(struct world *w)
{
	cl_program again;
	cl_int error, status;
	size_t size = 0;

	if (!GOOD(
		clGetProgramInfo(w->program, CL_PROGRAM_BINARY_SIZES, sizeof(size), &size, NULL)) ||
	    !size)
		return;
	unsigned char *bytes = malloc(size);
	if (!bytes)
		abort();
	if (GOOD(clGetProgramInfo(w->program, CL_PROGRAM_BINARIES, sizeof(bytes), &bytes, NULL)) &&
	    MAKE(again,
		 clCreateProgramWithBinary(w->context, 1, &w->device, &size,
					   (const unsigned char **)&bytes, &status, &error))) {
		if (GOOD(clBuildProgram(again, 1, &w->device, "", NULL, NULL))) {
			cl_uint count = 0;
			cl_kernel kernels[4];

			if (GOOD(clCreateKernelsInProgram(again, 4, kernels, &count)))
				for (cl_uint i = 0; i < count; i++)
					clReleaseKernel(kernels[i]);
		}
		clReleaseProgram(again);
	}
	free(bytes);
}

static void use(struct world *w)
{
	cl_int error;

	w->program = compile(w);
	if (!w->program)
		return;
	if (MAKE(w->add, clCreateKernel(w->program, "add", &error)) &&
	    MAKE(w->a, clCreateBuffer(w->context, CL_MEM_READ_WRITE, sizeof(data), NULL, &error)) &&
	    MAKE(w->b, clCreateBuffer(w->context, CL_MEM_READ_WRITE, sizeof(data), NULL, &error))) {
		buffers(w);
		user_events(w);
		many_arguments(w);
		printing(w);
		images(w);
		shapes(w);
		shared_memory(w);
		binaries(w);
	}
	release_mem(w->a);
	release_mem(w->b);
	if (w->add)
		clReleaseKernel(w->add);
	clReleaseProgram(w->program);
}

static void round_of_all(void)
{
	const cl_queue_properties loose[] = {CL_QUEUE_PROPERTIES,
					     CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, 0};
	static bool without;
	struct world w = {0};
	cl_platform_id platform;
	atomic_int ended = 0;
	cl_int error = clGetPlatformIDs(1, &platform, NULL);

	/* The loader asks once for platforms: what it did not find then is not there later either.
	 */
	if (error == -1001 && (!strict || without)) { /* CL_PLATFORM_NOT_FOUND_KHR */
		without = true;
		return;
	}
	if (!good(error, "clGetPlatformIDs") ||
	    !GOOD(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &w.device, NULL)))
		return;
	const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM,
						    (cl_context_properties)platform, 0};
	if (!MAKE(w.context,
		  clCreateContext(properties, 1, &w.device, ignore_context, NULL, &error)))
		return;
	bool told = GOOD(clSetContextDestructorCallback(w.context, count_context, &ended));
	if (MAKE(w.queue, clCreateCommandQueueWithProperties(w.context, w.device, NULL, &error)) &&
	    MAKE(w.loose, clCreateCommandQueueWithProperties(w.context, w.device, loose, &error)))
		use(&w);
	if (w.loose)
		clReleaseCommandQueue(w.loose);
	if (w.queue)
		clReleaseCommandQueue(w.queue);
	clReleaseContext(w.context);
	if (told)
		await(&ended, "the context is not destroyed");
}

/* For the runner, who knows how many there should be. */
static void say_descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	printf("descriptors %d\n", count);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 1;

	alarm(HANG_SECONDS);
	round_of_all();
	if (faults_arm)
		faults_arm(0);
	strict = true;
	for (int i = 0; i < rounds; i++)
		round_of_all();
	say_descriptors();
	if (getenv("FAULTS_LEFT") && faults_left)
		faults_left();
	return wrong;
}
