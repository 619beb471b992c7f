/* Handles that are NULL, of another type or of no object, and the rest of the documented errors. */
#include "cltest.h"

static const char source[] = "kernel void f(global int *p) { p[0] = 1; }\n";

struct all {
	struct cl cl;
	cl_mem buffer;
	cl_program program;
	cl_kernel kernel;
	cl_event event;
	cl_sampler sampler;
};

static struct all open_all(void)
{
	struct all a = {.cl = cl_open(0)};

	a.buffer = cltest_buffer(a.cl.ctx, 0, 4096, NULL);
	a.program = cltest_build(a.cl.ctx, source, "");
	a.kernel = cltest_kernel(a.program, "f");
	cltest_arg(a.kernel, 0, sizeof(a.buffer), &a.buffer);
	a.event = MUST(clCreateUserEvent(a.cl.ctx, &ERR));
	CHECK_CL(clSetUserEventStatus(a.event, CL_COMPLETE));
	a.sampler =
	    MUST(clCreateSampler(a.cl.ctx, CL_FALSE, CL_ADDRESS_CLAMP, CL_FILTER_NEAREST, &ERR));
	return a;
}

/* The objects still work and each has exactly one reference. */
static void close_all(struct all *a)
{
	cl_int out = 0;

	cltest_launch(a->cl.q, a->kernel, 1);
	CHECK_CL(clEnqueueReadBuffer(a->cl.q, a->buffer, CL_TRUE, 0, 4, &out, 1, &a->event, NULL));
	CHECK_EQ(out, 1);
	CHECK_EQ(INFO(cl_uint, clGetMemObjectInfo, a->buffer, CL_MEM_REFERENCE_COUNT), 1);
	CHECK_EQ(INFO(cl_uint, clGetKernelInfo, a->kernel, CL_KERNEL_REFERENCE_COUNT), 1);
	CHECK_EQ(INFO(cl_uint, clGetSamplerInfo, a->sampler, CL_SAMPLER_REFERENCE_COUNT), 1);
	CHECK_EQ(INFO(cl_uint, clGetEventInfo, a->event, CL_EVENT_REFERENCE_COUNT), 1);
	CHECK_CL(clReleaseSampler(a->sampler));
	CHECK_CL(clReleaseEvent(a->event));
	CHECK_CL(clReleaseKernel(a->kernel));
	CHECK_CL(clReleaseProgram(a->program));
	CHECK_CL(clReleaseMemObject(a->buffer));
	cl_close(&a->cl);
}

static void test_null_handles(void)
{
	char v[64];

	CHECK_ERR(clRetainContext(NULL), CL_INVALID_CONTEXT);
	CHECK_ERR(clReleaseContext(NULL), CL_INVALID_CONTEXT);
	CHECK_ERR(clRetainCommandQueue(NULL), CL_INVALID_COMMAND_QUEUE);
	CHECK_ERR(clReleaseCommandQueue(NULL), CL_INVALID_COMMAND_QUEUE);
	CHECK_ERR(clRetainMemObject(NULL), CL_INVALID_MEM_OBJECT);
	CHECK_ERR(clReleaseMemObject(NULL), CL_INVALID_MEM_OBJECT);
	CHECK_ERR(clRetainProgram(NULL), CL_INVALID_PROGRAM);
	CHECK_ERR(clReleaseProgram(NULL), CL_INVALID_PROGRAM);
	CHECK_ERR(clRetainKernel(NULL), CL_INVALID_KERNEL);
	CHECK_ERR(clReleaseKernel(NULL), CL_INVALID_KERNEL);
	CHECK_ERR(clRetainEvent(NULL), CL_INVALID_EVENT);
	CHECK_ERR(clReleaseEvent(NULL), CL_INVALID_EVENT);
	CHECK_ERR(clRetainSampler(NULL), CL_INVALID_SAMPLER);
	CHECK_ERR(clReleaseSampler(NULL), CL_INVALID_SAMPLER);
	CHECK_ERR(clGetSamplerInfo(NULL, CL_SAMPLER_CONTEXT, 8, v, NULL), CL_INVALID_SAMPLER);
	CHECK_ERR(clGetImageInfo(NULL, CL_IMAGE_WIDTH, 8, v, NULL), CL_INVALID_MEM_OBJECT);
	CHECK_ERR(clGetPipeInfo(NULL, CL_PIPE_PACKET_SIZE, 4, v, NULL), CL_INVALID_MEM_OBJECT);
	CHECK_ERR(clGetEventProfilingInfo(NULL, CL_PROFILING_COMMAND_END, 8, v, NULL),
		  CL_INVALID_EVENT);
	CHECK_ERR(clEnqueueMarkerWithWaitList(NULL, 0, NULL, NULL), CL_INVALID_COMMAND_QUEUE);
	CHECK_ERR(clEnqueueBarrierWithWaitList(NULL, 0, NULL, NULL), CL_INVALID_COMMAND_QUEUE);
	CHECK_ERR(clEnqueueTask(NULL, NULL, 0, NULL, NULL), CL_INVALID_COMMAND_QUEUE);
	CHECK_ERR(clEnqueueUnmapMemObject(NULL, NULL, v, 0, NULL, NULL), CL_INVALID_COMMAND_QUEUE);
	CREATE_ERR(clCreatePipe(NULL, 0, 4, 4, NULL, &ERR), CL_INVALID_CONTEXT);
	CREATE_ERR(clCreateSamplerWithProperties(NULL, NULL, &ERR), CL_INVALID_CONTEXT);
	CREATE_ERR(clCreateBufferWithProperties(NULL, NULL, 0, 4, NULL, &ERR), CL_INVALID_CONTEXT);
	CREATE_ERR(clCreateImageWithProperties(NULL, NULL, 0, NULL, NULL, NULL, &ERR),
		   CL_INVALID_CONTEXT);
}

/* A live object of one class in the place of another is refused, and is left as it was. */
static void test_wrong_types(void)
{
	struct all a;
	cl_event as_event;
	cl_mem as_mem;
	size_t one = 1;
	char v[64];

	SKIP_NATIVE("does not check what a handle is");
	a = open_all();
	as_event = (cl_event)(void *)a.kernel;
	as_mem = (cl_mem)(void *)a.cl.q;
	CHECK_ERR(clRetainContext((cl_context)(void *)a.buffer), CL_INVALID_CONTEXT);
	CHECK_ERR(clReleaseContext((cl_context)(void *)a.cl.q), CL_INVALID_CONTEXT);
	CHECK_ERR(clFinish((cl_command_queue)(void *)a.cl.ctx), CL_INVALID_COMMAND_QUEUE);
	CHECK_ERR(clFlush((cl_command_queue)(void *)a.event), CL_INVALID_COMMAND_QUEUE);
	CHECK_ERR(clReleaseMemObject((cl_mem)(void *)a.kernel), CL_INVALID_MEM_OBJECT);
	CHECK_ERR(clReleaseMemObject((cl_mem)(void *)a.sampler), CL_INVALID_MEM_OBJECT);
	CHECK_ERR(clReleaseKernel((cl_kernel)(void *)a.program), CL_INVALID_KERNEL);
	CHECK_ERR(clReleaseProgram((cl_program)(void *)a.kernel), CL_INVALID_PROGRAM);
	CHECK_ERR(clReleaseEvent((cl_event)(void *)a.buffer), CL_INVALID_EVENT);
	CHECK_ERR(clReleaseSampler((cl_sampler)(void *)a.buffer), CL_INVALID_SAMPLER);
	CHECK_ERR(
	    clGetDeviceInfo((cl_device_id)(void *)cltest_platform, CL_DEVICE_NAME, 64, v, NULL),
	    CL_INVALID_DEVICE);
	CHECK_ERR(
	    clGetPlatformInfo((cl_platform_id)(void *)cltest_device, CL_PLATFORM_NAME, 64, v, NULL),
	    CL_INVALID_PLATFORM);
	CHECK_ERR(clWaitForEvents(1, &as_event), CL_INVALID_EVENT);
	CHECK_ERR(clEnqueueReadBuffer(a.cl.q, as_mem, CL_TRUE, 0, 4, v, 0, NULL, NULL),
		  CL_INVALID_MEM_OBJECT);
	CHECK_ERR(clEnqueueReadBuffer(a.cl.q, a.buffer, CL_TRUE, 0, 4, v, 1, &as_event, NULL),
		  CL_INVALID_EVENT_WAIT_LIST);
	CHECK_ERR(clEnqueueNDRangeKernel(a.cl.q, (cl_kernel)(void *)a.program, 1, NULL, &one, NULL,
					 0, NULL, NULL),
		  CL_INVALID_KERNEL);
	CHECK_ERR(clBuildProgram((cl_program)(void *)a.cl.ctx, 0, NULL, NULL, NULL, NULL),
		  CL_INVALID_PROGRAM);
	CREATE_ERR(clCreateBuffer((cl_context)(void *)a.cl.q, 0, 64, NULL, &ERR),
		   CL_INVALID_CONTEXT);
	CREATE_ERR(clCreateCommandQueueWithProperties(a.cl.ctx, (cl_device_id)(void *)a.cl.ctx,
						      NULL, &ERR),
		   CL_INVALID_DEVICE);
	close_all(&a);
}

/* An image call on a buffer and a buffer call on an image. */
static void test_wrong_memory_objects(void)
{
	static const cl_image_format format = {CL_RGBA, CL_UNSIGNED_INT8};
	cl_image_desc desc = {
	    .image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = 4, .image_height = 4};
	const size_t o[3] = {0, 0, 0}, r[3] = {4, 4, 1};
	struct all a = open_all();
	cl_mem image;
	cl_buffer_region region = {0, 16};
	cl_uint color[4] = {0};
	size_t pitch;
	char v[64];

	if (!INFO(cl_bool, clGetDeviceInfo, cltest_device, CL_DEVICE_IMAGE_SUPPORT))
		SKIP("no images");
	SKIP_NATIVE("takes images for buffers in several calls");
	image = MUST(clCreateImage(a.cl.ctx, 0, &format, &desc, NULL, &ERR));
	CHECK_ERR(clEnqueueReadBuffer(a.cl.q, image, CL_TRUE, 0, 4, v, 0, NULL, NULL),
		  CL_INVALID_MEM_OBJECT);
	CHECK_ERR(clEnqueueWriteBuffer(a.cl.q, image, CL_TRUE, 0, 4, v, 0, NULL, NULL),
		  CL_INVALID_MEM_OBJECT);
	CHECK_ERR(clEnqueueFillBuffer(a.cl.q, image, v, 4, 0, 4, 0, NULL, NULL),
		  CL_INVALID_MEM_OBJECT);
	CHECK_ERR(clEnqueueCopyBuffer(a.cl.q, image, a.buffer, 0, 0, 4, 0, NULL, NULL),
		  CL_INVALID_MEM_OBJECT);
	CREATE_ERR(
	    clEnqueueMapBuffer(a.cl.q, image, CL_TRUE, CL_MAP_READ, 0, 4, 0, NULL, NULL, &ERR),
	    CL_INVALID_MEM_OBJECT);
	CREATE_ERR(clCreateSubBuffer(image, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &ERR),
		   CL_INVALID_MEM_OBJECT);
	CHECK_ERR(clEnqueueReadImage(a.cl.q, a.buffer, CL_TRUE, o, r, 0, 0, v, 0, NULL, NULL),
		  CL_INVALID_MEM_OBJECT);
	CHECK_ERR(clEnqueueFillImage(a.cl.q, a.buffer, color, o, r, 0, NULL, NULL),
		  CL_INVALID_MEM_OBJECT);
	CHECK_ERR(clEnqueueCopyImage(a.cl.q, a.buffer, image, o, o, r, 0, NULL, NULL),
		  CL_INVALID_MEM_OBJECT);
	CREATE_ERR(clEnqueueMapImage(a.cl.q, a.buffer, CL_TRUE, CL_MAP_READ, o, r, &pitch, NULL, 0,
				     NULL, NULL, &ERR),
		   CL_INVALID_MEM_OBJECT);
	CHECK_ERR(clGetPipeInfo(image, CL_PIPE_PACKET_SIZE, 4, v, NULL), CL_INVALID_MEM_OBJECT);
	CHECK_CL(clReleaseMemObject(image));
	close_all(&a);
}

static void test_pipes_unsupported(void)
{
	struct cl cl = cl_open(0);

	if (INFO(cl_bool, clGetDeviceInfo, cltest_device, CL_DEVICE_PIPE_SUPPORT))
		SKIP("the device has pipes");
	CREATE_ERR(clCreatePipe(cl.ctx, 0, 4, 16, NULL, &ERR), CL_INVALID_OPERATION);
	cl_close(&cl);
}

static void test_sub_groups_unsupported(void)
{
	struct all a = open_all();
	size_t in = 8, out = 0;

	if (INFO(cl_uint, clGetDeviceInfo, cltest_device, CL_DEVICE_MAX_NUM_SUB_GROUPS) == 0)
		CHECK_ERR(clGetKernelSubGroupInfo(a.kernel, cltest_device,
						  CL_KERNEL_MAX_SUB_GROUP_SIZE_FOR_NDRANGE,
						  sizeof(in), &in, sizeof(out), &out, NULL),
			  CL_INVALID_OPERATION);
	CHECK_ERR(clGetKernelSubGroupInfo(NULL, cltest_device,
					  CL_KERNEL_MAX_SUB_GROUP_SIZE_FOR_NDRANGE, sizeof(in), &in,
					  sizeof(out), &out, NULL),
		  CL_INVALID_KERNEL);
	close_all(&a);
}

/* A failed enqueue gives no event, keeps no reference and leaves the queue usable. */
static void test_failed_enqueue_leaves_nothing(void)
{
	struct all a = open_all();
	cl_event none = (cl_event)(void *)1;
	char v[8];

	for (int i = 0; i < 1000; i++) {
		CHECK_ERR(
		    clEnqueueReadBuffer(a.cl.q, a.buffer, CL_FALSE, 4095, 8, v, 1, &a.event, &none),
		    CL_INVALID_VALUE);
		CHECK(none == (cl_event)(void *)1 || !none);
		CHECK_ERR(
		    clEnqueueCopyBuffer(a.cl.q, a.buffer, a.buffer, 0, 1, 8, 1, &a.event, &none),
		    CL_MEM_COPY_OVERLAP);
	}
	close_all(&a);
}

/* errcode_ret may be NULL everywhere. */
static void test_null_error_pointer(void)
{
	struct cl cl = cl_open(0);
	cl_mem b = clCreateBuffer(cl.ctx, 0, 64, NULL, NULL);
	cl_event e = clCreateUserEvent(cl.ctx, NULL);
	cl_sampler s = clCreateSampler(cl.ctx, CL_FALSE, CL_ADDRESS_CLAMP, CL_FILTER_NEAREST, NULL);
	cl_command_queue q = clCreateCommandQueueWithProperties(cl.ctx, cltest_device, NULL, NULL);
	const char *text = source;
	cl_program p = clCreateProgramWithSource(cl.ctx, 1, &text, NULL, NULL);
	void *m;

	CHECK(b && e && s && q && p);
	CHECK(!clCreateBuffer(cl.ctx, 0, 0, NULL, NULL));
	CHECK(!clCreateKernel(p, "f", NULL));
	CHECK(!clCreateContext(NULL, 0, NULL, NULL, NULL, NULL));
	m = clEnqueueMapBuffer(q, b, CL_TRUE, CL_MAP_READ, 0, 64, 0, NULL, NULL, NULL);
	CHECK(m);
	CHECK_CL(clEnqueueUnmapMemObject(q, b, m, 0, NULL, NULL));
	CHECK_CL(clFinish(q));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clSetUserEventStatus(e, CL_COMPLETE));
	CHECK_CL(clReleaseEvent(e));
	CHECK_CL(clReleaseSampler(s));
	CHECK_CL(clReleaseCommandQueue(q));
	CHECK_CL(clReleaseProgram(p));
	cl_close(&cl);
}

/* More memory than there is: an error, not a signal, and the context lives on. */
static void test_memory_exhaustion(void)
{
	enum { COUNT = 4096 };
	struct all a;
	cl_ulong size;
	cl_mem *list;
	int n;

	a = open_all();
	size = INFO(cl_ulong, clGetDeviceInfo, cltest_device, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
	list = calloc(COUNT, sizeof(cl_mem));
	/* Only reserved, not touched: as memory is allocated at first use, this may go on long. */
	for (n = 0; n < COUNT; n++) {
		list[n] = clCreateBuffer(a.cl.ctx, 0, size, NULL, &ERR);
		if (!list[n])
			break;
		CHECK_EQ(ERR, CL_SUCCESS);
	}
	CHECK(n == COUNT || ERR == CL_MEM_OBJECT_ALLOCATION_FAILURE || ERR == CL_OUT_OF_RESOURCES ||
	      ERR == CL_OUT_OF_HOST_MEMORY);
	for (int i = 0; i < n; i++)
		CHECK_CL(clReleaseMemObject(list[i]));
	free(list);
	close_all(&a);
}

static const struct cltest tests[] = {
    TEST(null_handles),		  TEST(wrong_types),
    TEST(wrong_memory_objects),	  TEST(pipes_unsupported),
    TEST(sub_groups_unsupported), TEST(failed_enqueue_leaves_nothing),
    TEST(null_error_pointer),	  TEST(memory_exhaustion),
};

CLTEST_MAIN(tests)
