/* Mapping buffers: flags, offsets, many concurrent maps, counts, order and errors. */
#include "cltest.h"

#define SIZE 65536

static const char source[] =
    "kernel void add(global uint *p, uint v) { p[get_global_id(0)] += v; }\n";

static void *map(struct cl *cl, cl_mem b, cl_map_flags flags, size_t offset, size_t size)
{
	return MUST(
	    clEnqueueMapBuffer(cl->q, b, CL_TRUE, flags, offset, size, 0, NULL, NULL, &ERR));
}

static void unmap(struct cl *cl, cl_mem b, void *p)
{
	CHECK_CL(clEnqueueUnmapMemObject(cl->q, b, p, 0, NULL, NULL));
}

static void test_read_map(void)
{
	struct cl cl = cl_open(0);
	uint8_t *data = malloc(SIZE), *p;
	cl_mem b;

	cltest_pattern(data, SIZE, 1);
	b = cltest_buffer(cl.ctx, CL_MEM_COPY_HOST_PTR, SIZE, data);
	p = map(&cl, b, CL_MAP_READ, 0, SIZE);
	CHECK_BYTES(p, data, SIZE);
	unmap(&cl, b, p);
	p = map(&cl, b, CL_MAP_READ, 12345, 777);
	CHECK_BYTES(p, data + 12345, 777);
	unmap(&cl, b, p);
	CHECK_CL(clReleaseMemObject(b));
	free(data);
	cl_close(&cl);
}

/* What is written through each kind of writing map reaches commands after the unmap. */
static void test_write_maps(void)
{
	static const cl_map_flags kinds[] = {CL_MAP_WRITE, CL_MAP_WRITE_INVALIDATE_REGION,
					     CL_MAP_READ | CL_MAP_WRITE};
	struct cl cl = cl_open(0);
	uint8_t *model = malloc(SIZE), *out = malloc(SIZE), *p;
	cl_mem b;

	cltest_pattern(model, SIZE, 2);
	b = cltest_buffer(cl.ctx, CL_MEM_COPY_HOST_PTR, SIZE, model);
	for (uint32_t i = 0; i < 30; i++) {
		size_t offset = i * 1999, size = 500 + i * 7;

		p = map(&cl, b, kinds[i % 3], offset, size);
		if (i % 3 == 2)
			CHECK_BYTES(p, model + offset, size);
		cltest_pattern(p, size, 100 + i);
		cltest_pattern(model + offset, size, 100 + i);
		unmap(&cl, b, p);
		CHECK_CL(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 0, SIZE, out, 0, NULL, NULL));
		CHECK_BYTES(out, model, SIZE);
	}
	CHECK_CL(clReleaseMemObject(b));
	free(model);
	free(out);
	cl_close(&cl);
}

/* Map, kernel, map, kernel: each side sees the other's writes. */
static void test_alternating_with_kernels(void)
{
	static const cl_mem_flags kinds[] = {0, CL_MEM_ALLOC_HOST_PTR, CL_MEM_USE_HOST_PTR};
	struct cl cl = cl_open(0);
	cl_program program = cltest_build(cl.ctx, source, "");
	cl_kernel k = cltest_kernel(program, "add");
	cl_uint *host = malloc(SIZE), v = 3;

	cltest_arg(k, 1, sizeof(v), &v);
	for (size_t f = 0; f < ARRAY_SIZE(kinds); f++) {
		cl_mem b = cltest_buffer(cl.ctx, kinds[f], SIZE,
					 kinds[f] & CL_MEM_USE_HOST_PTR ? host : NULL);
		cl_uint *p = map(&cl, b, CL_MAP_WRITE_INVALIDATE_REGION, 0, SIZE);

		for (cl_uint i = 0; i < SIZE / 4; i++)
			p[i] = i;
		unmap(&cl, b, p);
		cltest_arg(k, 0, sizeof(b), &b);
		for (cl_uint round = 1; round <= 5; round++) {
			cltest_launch(cl.q, k, SIZE / 4);
			p = map(&cl, b, CL_MAP_READ | CL_MAP_WRITE, 0, SIZE);
			for (cl_uint i = 0; i < SIZE / 4; i++) {
				CHECK_EQ(p[i], i + 10 * round - 7);
				p[i] += 7;
			}
			unmap(&cl, b, p);
		}
		CHECK_CL(clFinish(cl.q));
		CHECK_CL(clReleaseMemObject(b));
	}
	free(host);
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

/* 128 overlapping maps at once, unmapped in another order. */
static void test_many_maps(void)
{
	enum { COUNT = 128 };
	static const cl_mem_flags kinds[] = {0, CL_MEM_USE_HOST_PTR};
	struct cl cl = cl_open(0);
	uint8_t *data = malloc(SIZE), *model = malloc(SIZE), *p[COUNT];

	for (size_t f = 0; f < ARRAY_SIZE(kinds); f++) {
		cl_mem b;

		cltest_pattern(data, SIZE, 7);
		memcpy(model, data, SIZE);
		b = cltest_buffer(cl.ctx, kinds[f] ? kinds[f] : CL_MEM_COPY_HOST_PTR, SIZE, data);
		for (size_t i = 0; i < COUNT; i++) {
			p[i] = map(&cl, b, CL_MAP_READ, i * 100, 4000);
			CHECK_BYTES(p[i], model + i * 100, 4000);
			CHECK_EQ(p[i] - p[0], i * 100);
			if (kinds[f])
				CHECK(p[i] == data + i * 100);
		}
		CHECK_EQ(INFO(cl_uint, clGetMemObjectInfo, b, CL_MEM_MAP_COUNT), COUNT);
		for (size_t i = 0; i < COUNT; i++)
			unmap(&cl, b, p[i * 37 % COUNT]);
		CHECK_CL(clFinish(cl.q));
		CHECK_EQ(INFO(cl_uint, clGetMemObjectInfo, b, CL_MEM_MAP_COUNT), 0);
		CHECK_CL(clReleaseMemObject(b));
	}
	free(data);
	free(model);
	cl_close(&cl);
}

/* The same region mapped twice for reading is unmapped twice. */
static void test_same_region_twice(void)
{
	struct cl cl = cl_open(0);
	uint8_t data[256], *p, *q;
	cl_mem b;

	cltest_pattern(data, sizeof(data), 3);
	b = cltest_buffer(cl.ctx, CL_MEM_COPY_HOST_PTR, sizeof(data), data);
	p = map(&cl, b, CL_MAP_READ, 16, 64);
	q = map(&cl, b, CL_MAP_READ, 16, 64);
	CHECK_BYTES(q, data + 16, 64);
	unmap(&cl, b, p);
	CHECK_CL(clFinish(cl.q));
	CHECK_EQ(INFO(cl_uint, clGetMemObjectInfo, b, CL_MEM_MAP_COUNT), 1);
	CHECK_BYTES(q, data + 16, 64);
	unmap(&cl, b, q);
	CHECK_CL(clFinish(cl.q));
	CHECK_EQ(INFO(cl_uint, clGetMemObjectInfo, b, CL_MEM_MAP_COUNT), 0);
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

/* A non-blocking map gives its pointer at once and its data at the event. */
static void test_non_blocking(void)
{
	struct cl cl = cl_open(0);
	cl_mem b = cltest_buffer(cl.ctx, 0, SIZE, NULL);
	cl_event gate = MUST(clCreateUserEvent(cl.ctx, &ERR)), mapped, unmapped;
	cl_uint v = 0x11223344, *p, out;

	CHECK_CL(clEnqueueFillBuffer(cl.q, b, &v, 4, 0, SIZE, 1, &gate, NULL));
	p = MUST(clEnqueueMapBuffer(cl.q, b, CL_FALSE, CL_MAP_READ | CL_MAP_WRITE, 0, SIZE, 0, NULL,
				    &mapped, &ERR));
	CHECK(cltest_event_status(mapped) > CL_COMPLETE);
	CHECK_CL(clSetUserEventStatus(gate, CL_COMPLETE));
	CHECK_CL(clWaitForEvents(1, &mapped));
	for (int i = 0; i < SIZE / 4; i++)
		CHECK_EQ(p[i], v);
	p[SIZE / 4 - 1] = 5;
	CHECK_CL(clEnqueueUnmapMemObject(cl.q, b, p, 0, NULL, &unmapped));
	CHECK_CL(clWaitForEvents(1, &unmapped));
	CHECK_CL(clEnqueueReadBuffer(cl.q, b, CL_TRUE, SIZE - 4, 4, &out, 0, NULL, NULL));
	CHECK_EQ(out, 5);
	CHECK_CL(clReleaseEvent(gate));
	CHECK_CL(clReleaseEvent(mapped));
	CHECK_CL(clReleaseEvent(unmapped));
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

/* Mapped by one queue and unmapped by another of the same context. */
static void test_two_queues(void)
{
	struct cl cl = cl_open(0);
	cl_command_queue other = cltest_queue(cl.ctx, 0);
	cl_mem b = cltest_buffer(cl.ctx, 0, 4096, NULL);
	cl_event e;
	cl_uint out = 0, *p = map(&cl, b, CL_MAP_WRITE, 0, 4096);

	p[1000] = 77;
	CHECK_CL(clEnqueueUnmapMemObject(other, b, p, 0, NULL, &e));
	CHECK_CL(clFlush(other));
	CHECK_CL(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 4000, 4, &out, 1, &e, NULL));
	CHECK_EQ(out, 77);
	CHECK_CL(clReleaseEvent(e));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseCommandQueue(other));
	cl_close(&cl);
}

/* Mapped memory is aligned as the device says. On Arax large buffers also begin at different places
 * of a page: a kernel that walks through several of them at the same index is slower otherwise. */
static void test_places(void)
{
	enum { BUFFERS = 16 };
	static const size_t sizes[] = {1, 100, 4096, 8192, 100000, 1 << 20};
	struct cl cl = cl_open(0);
	size_t align =
	    INFO(cl_uint, clGetDeviceInfo, cltest_device, CL_DEVICE_MEM_BASE_ADDR_ALIGN) / 8;

	for (size_t n = 0; n < ARRAY_SIZE(sizes); n++) {
		cl_mem buffers[BUFFERS];
		uintptr_t first = 0;
		bool staggered = false;

		for (int i = 0; i < BUFFERS; i++) {
			buffers[i] = cltest_buffer(cl.ctx, 0, sizes[n], NULL);
			uintptr_t at =
			    (uintptr_t)clEnqueueMapBuffer(cl.q, buffers[i], CL_TRUE, CL_MAP_READ, 0,
							  sizes[n], 0, NULL, NULL, &ERR);
			CHECK_CL(ERR);
			CHECK_EQ(at % align, 0);
			first = i ? first : at;
			staggered |= (at ^ first) % 4096 != 0;
			CHECK_CL(
			    clEnqueueUnmapMemObject(cl.q, buffers[i], (void *)at, 0, NULL, NULL));
		}
		if (sizes[n] >= 8192 && strstr(cltest_platform_name, "Arax"))
			CHECK(staggered);
		for (int i = 0; i < BUFFERS; i++)
			CHECK_CL(clReleaseMemObject(buffers[i]));
	}
	cl_close(&cl);
}

static void test_errors(void)
{
	struct cl cl = cl_open(0);
	cl_mem b = cltest_buffer(cl.ctx, 0, 4096, NULL);
	char stack[16], *p;

#define MAP(q, b, flags, offset, size) \
	clEnqueueMapBuffer(q, b, CL_TRUE, flags, offset, size, 0, NULL, NULL, &ERR)
	CREATE_ERR(MAP(NULL, b, CL_MAP_READ, 0, 16), CL_INVALID_COMMAND_QUEUE);
	CREATE_ERR(MAP(cl.q, NULL, CL_MAP_READ, 0, 16), CL_INVALID_MEM_OBJECT);
	CREATE_ERR(MAP(cl.q, b, CL_MAP_READ, 0, 4097), CL_INVALID_VALUE);
	CREATE_ERR(MAP(cl.q, b, CL_MAP_READ, 4096, 1), CL_INVALID_VALUE);
	CREATE_ERR(MAP(cl.q, b, CL_MAP_READ, 0, 0), CL_INVALID_VALUE);
	CREATE_ERR(MAP(cl.q, b, CL_MAP_READ, SIZE_MAX - 1, 16), CL_INVALID_VALUE);
	if (!native_bug()) { /* PoCL does not look at unknown and contradictory flags */
		CREATE_ERR(MAP(cl.q, b, (cl_map_flags)1 << 30, 0, 16), CL_INVALID_VALUE);
		CREATE_ERR(MAP(cl.q, b, CL_MAP_READ | CL_MAP_WRITE_INVALIDATE_REGION, 0, 16),
			   CL_INVALID_VALUE);
	}
	CHECK_ERR(clEnqueueUnmapMemObject(cl.q, b, stack, 0, NULL, NULL), CL_INVALID_VALUE);
	p = map(&cl, b, CL_MAP_READ, 0, 16);
	CHECK_ERR(clEnqueueUnmapMemObject(cl.q, b, stack, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueUnmapMemObject(NULL, b, p, 0, NULL, NULL), CL_INVALID_COMMAND_QUEUE);
	CHECK_ERR(clEnqueueUnmapMemObject(cl.q, NULL, p, 0, NULL, NULL), CL_INVALID_MEM_OBJECT);
	unmap(&cl, b, p);
	CHECK_CL(clFinish(cl.q));
	CHECK_ERR(clEnqueueUnmapMemObject(cl.q, b, p, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

/* The mapped memory keeps its address while it is mapped, whatever the queue does meanwhile. */
static void test_pointer_is_stable(void)
{
	struct cl cl = cl_open(0);
	cl_mem a = cltest_buffer(cl.ctx, CL_MEM_ALLOC_HOST_PTR, SIZE, NULL);
	uint8_t *p = map(&cl, a, CL_MAP_WRITE, 0, SIZE), *out = malloc(SIZE);

	for (int i = 0; i < 100; i++) {
		cl_mem b = cltest_buffer(cl.ctx, 0, SIZE * 4, NULL);

		CHECK_CL(clEnqueueFillBuffer(cl.q, b, "x", 1, 0, SIZE * 4, 0, NULL, NULL));
		p[i] = (uint8_t)i;
		CHECK_CL(clReleaseMemObject(b));
	}
	unmap(&cl, a, p);
	CHECK_CL(clEnqueueReadBuffer(cl.q, a, CL_TRUE, 0, 100, out, 0, NULL, NULL));
	for (int i = 0; i < 100; i++)
		CHECK_EQ(out[i], i);
	free(out);
	CHECK_CL(clReleaseMemObject(a));
	cl_close(&cl);
}

static const struct cltest tests[] = {
    TEST(read_map),
    TEST(write_maps),
    TEST(alternating_with_kernels),
    TEST(many_maps),
    TEST(same_region_twice),
    TEST(non_blocking),
    TEST(two_queues),
    TEST(places),
    TEST(errors),
    TEST(pointer_is_stable),
};

CLTEST_MAIN(tests)
