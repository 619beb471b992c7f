/* Buffers: creation, transfers, fills, rectangles, sub-buffers, maps and their documented errors.
 */
#include "cltest.h"

#define N 4096

static const char source[] =
    "kernel void add(global uint *p, uint v) { size_t i = get_global_id(0); p[i] += v; }\n"
    "kernel void copy(global const uint *a, global uint *b)\n"
    "{ size_t i = get_global_id(0); b[i] = a[i]; }\n";

/* Adds v to each of n words of the buffer by a kernel. */
static void add(struct cl *cl, cl_mem buffer, cl_uint v, size_t n)
{
	cl_program program = cltest_build(cl->ctx, source, "");
	cl_kernel kernel = cltest_kernel(program, "add");

	cltest_arg(kernel, 0, sizeof(buffer), &buffer);
	cltest_arg(kernel, 1, sizeof(v), &v);
	cltest_launch(cl->q, kernel, n);
	CHECK_CL(clReleaseKernel(kernel));
	CHECK_CL(clReleaseProgram(program));
}

static void read_all(struct cl *cl, cl_mem buffer, void *data, size_t size)
{
	CHECK_CL(clEnqueueReadBuffer(cl->q, buffer, CL_TRUE, 0, size, data, 0, NULL, NULL));
}

static void test_create_errors(void)
{
	struct cl cl = cl_open(0);
	char host[64] = "";
	cl_ulong max = INFO(cl_ulong, clGetDeviceInfo, cltest_device, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
	cl_context ctx = cl.ctx;

	CREATE_ERR(clCreateBuffer(NULL, 0, 64, NULL, &ERR), CL_INVALID_CONTEXT);
	CREATE_ERR(clCreateBuffer(ctx, 0, 0, NULL, &ERR), CL_INVALID_BUFFER_SIZE);
	CREATE_ERR(clCreateBuffer(ctx, 0, max + 1, NULL, &ERR), CL_INVALID_BUFFER_SIZE);
	CREATE_ERR(clCreateBuffer(ctx, CL_MEM_READ_ONLY | CL_MEM_WRITE_ONLY, 64, NULL, &ERR),
		   CL_INVALID_VALUE);
	CREATE_ERR(clCreateBuffer(ctx, CL_MEM_READ_WRITE | CL_MEM_READ_ONLY, 64, NULL, &ERR),
		   CL_INVALID_VALUE);
	CREATE_ERR(clCreateBuffer(ctx, (cl_mem_flags)1 << 40, 64, NULL, &ERR), CL_INVALID_VALUE);
	CREATE_ERR(
	    clCreateBuffer(ctx, CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_WRITE_ONLY, 64, NULL, &ERR),
	    CL_INVALID_VALUE);
	CREATE_ERR(
	    clCreateBuffer(ctx, CL_MEM_HOST_NO_ACCESS | CL_MEM_HOST_READ_ONLY, 64, NULL, &ERR),
	    CL_INVALID_VALUE);
	CREATE_ERR(clCreateBuffer(ctx, CL_MEM_USE_HOST_PTR | CL_MEM_ALLOC_HOST_PTR, 64, host, &ERR),
		   CL_INVALID_VALUE);
	CREATE_ERR(clCreateBuffer(ctx, CL_MEM_USE_HOST_PTR | CL_MEM_COPY_HOST_PTR, 64, host, &ERR),
		   CL_INVALID_VALUE);
	CREATE_ERR(clCreateBuffer(ctx, CL_MEM_USE_HOST_PTR, 64, NULL, &ERR), CL_INVALID_HOST_PTR);
	CREATE_ERR(clCreateBuffer(ctx, CL_MEM_COPY_HOST_PTR, 64, NULL, &ERR), CL_INVALID_HOST_PTR);
	CREATE_ERR(clCreateBuffer(ctx, 0, 64, host, &ERR), CL_INVALID_HOST_PTR);
	cl_close(&cl);
}

/* The largest buffer that there may be, which costs no more than what is touched of it, to its end.
 */
static void test_largest(void)
{
	SKIP_NATIVE("fills all of it");
	struct cl cl = cl_open(0);
	size_t max = INFO(cl_ulong, clGetDeviceInfo, cltest_device, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
	cl_mem b = MUST(clCreateBuffer(cl.ctx, CL_MEM_READ_WRITE, max, NULL, &ERR));
	cl_mem small = MUST(clCreateBuffer(cl.ctx, CL_MEM_READ_WRITE, 64, NULL, &ERR));
	cl_program program =
	    cltest_build(cl.ctx,
			 "kernel void last(global uchar *p, ulong n, global uint *out)\n"
			 "{ p[n - 1] += 3; out[0] = p[n - 1]; }\n",
			 "");
	cl_kernel kernel = cltest_kernel(program, "last");
	cl_ulong n = max;
	cl_uchar byte = 4;
	cl_uint out = 0;

	CHECK_CL(clEnqueueWriteBuffer(cl.q, b, CL_TRUE, max - 1, 1, &byte, 0, NULL, NULL));
	cltest_arg(kernel, 0, sizeof(b), &b);
	cltest_arg(kernel, 1, sizeof(n), &n);
	cltest_arg(kernel, 2, sizeof(small), &small);
	cltest_launch(cl.q, kernel, 1);
	read_all(&cl, small, &out, sizeof(out));
	CHECK_EQ(out, 7);
	CHECK_CL(clReleaseKernel(kernel));
	CHECK_CL(clReleaseProgram(program));
	CHECK_CL(clReleaseMemObject(small));
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

static void test_create_with_properties(void)
{
	struct cl cl = cl_open(0);
	const cl_mem_properties none[] = {0}, bad[] = {0x7777, 1, 0};
	cl_mem_properties got[4];
	size_t size = 77;
	cl_mem b;

	b = MUST(clCreateBufferWithProperties(cl.ctx, NULL, 0, 64, NULL, &ERR));
	CHECK_CL(clGetMemObjectInfo(b, CL_MEM_PROPERTIES, sizeof(got), got, &size));
	CHECK_EQ(size, 0);
	CHECK_CL(clReleaseMemObject(b));
	b = MUST(clCreateBufferWithProperties(cl.ctx, none, 0, 64, NULL, &ERR));
	CHECK_CL(clGetMemObjectInfo(b, CL_MEM_PROPERTIES, sizeof(got), got, &size));
	CHECK_EQ(size, sizeof(got[0]));
	CHECK_EQ(got[0], 0);
	CHECK_CL(clReleaseMemObject(b));
	CREATE_ERR(clCreateBufferWithProperties(cl.ctx, bad, 0, 64, NULL, &ERR),
		   CL_INVALID_PROPERTY);
	cl_close(&cl);
}

static void test_infos(void)
{
	struct cl cl = cl_open(0);
	uint32_t host[256] = {0};
	cl_buffer_region region = {0, 512};
	cl_mem b, sub;

	b = cltest_buffer(cl.ctx, CL_MEM_READ_ONLY | CL_MEM_USE_HOST_PTR, sizeof(host), host);
	CHECK_EQ(INFO(cl_mem_object_type, clGetMemObjectInfo, b, CL_MEM_TYPE),
		 CL_MEM_OBJECT_BUFFER);
	CHECK_EQ(INFO(cl_mem_flags, clGetMemObjectInfo, b, CL_MEM_FLAGS),
		 CL_MEM_READ_ONLY | CL_MEM_USE_HOST_PTR);
	CHECK_EQ(INFO(size_t, clGetMemObjectInfo, b, CL_MEM_SIZE), sizeof(host));
	CHECK(INFO(void *, clGetMemObjectInfo, b, CL_MEM_HOST_PTR) == host);
	CHECK_EQ(INFO(cl_uint, clGetMemObjectInfo, b, CL_MEM_MAP_COUNT), 0);
	CHECK_EQ(INFO(cl_uint, clGetMemObjectInfo, b, CL_MEM_REFERENCE_COUNT), 1);
	CHECK(INFO(cl_context, clGetMemObjectInfo, b, CL_MEM_CONTEXT) == cl.ctx);
	CHECK(INFO(cl_mem, clGetMemObjectInfo, b, CL_MEM_ASSOCIATED_MEMOBJECT) == NULL);
	CHECK_EQ(INFO(size_t, clGetMemObjectInfo, b, CL_MEM_OFFSET), 0);
	CHECK_EQ(INFO(cl_bool, clGetMemObjectInfo, b, CL_MEM_USES_SVM_POINTER), CL_FALSE);
	CHECK_ERR(clGetMemObjectInfo(b, 0x7777, 8, host, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clGetMemObjectInfo(b, CL_MEM_SIZE, 4, host, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clGetMemObjectInfo(NULL, CL_MEM_SIZE, 8, host, NULL), CL_INVALID_MEM_OBJECT);
	sub = MUST(clCreateSubBuffer(b, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &ERR));
	CHECK(INFO(cl_mem, clGetMemObjectInfo, sub, CL_MEM_ASSOCIATED_MEMOBJECT) == b);
	CHECK_EQ(INFO(size_t, clGetMemObjectInfo, sub, CL_MEM_SIZE), 512);
	CHECK_CL(clRetainMemObject(b));
	cl_uint refs = INFO(cl_uint, clGetMemObjectInfo, b, CL_MEM_REFERENCE_COUNT);

	CHECK_CL(clReleaseMemObject(b));
	CHECK_EQ(INFO(cl_uint, clGetMemObjectInfo, b, CL_MEM_REFERENCE_COUNT), refs - 1);
	CHECK_CL(clReleaseMemObject(sub));
	CHECK_CL(clReleaseMemObject(b));
	b = cltest_buffer(cl.ctx, 0, 64, NULL);
	CHECK_EQ(INFO(cl_mem_flags, clGetMemObjectInfo, b, CL_MEM_FLAGS), CL_MEM_READ_WRITE);
	CHECK(INFO(void *, clGetMemObjectInfo, b, CL_MEM_HOST_PTR) == NULL);
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

/* Each way to create a buffer, followed by a kernel on it and a read. */
static void test_host_ptr_kinds(void)
{
	static const cl_mem_flags kinds[] = {
	    0,
	    CL_MEM_USE_HOST_PTR,
	    CL_MEM_ALLOC_HOST_PTR,
	    CL_MEM_COPY_HOST_PTR,
	    CL_MEM_ALLOC_HOST_PTR | CL_MEM_COPY_HOST_PTR,
	};
	struct cl cl = cl_open(0);

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		bool init = kinds[k] & (CL_MEM_USE_HOST_PTR | CL_MEM_COPY_HOST_PTR);
		uint32_t *host = malloc(N * 4), *out = malloc(N * 4);
		cl_mem b;

		for (uint32_t i = 0; i < N; i++)
			host[i] = i * 3 + (uint32_t)k;
		b = cltest_buffer(cl.ctx, kinds[k], N * 4, init ? host : NULL);
		if (!init)
			CHECK_CL(
			    clEnqueueWriteBuffer(cl.q, b, CL_FALSE, 0, N * 4, host, 0, NULL, NULL));
		add(&cl, b, 7, N);
		read_all(&cl, b, out, N * 4);
		for (uint32_t i = 0; i < N; i++)
			CHECK_EQ(out[i], i * 3 + k + 7);
		if (kinds[k] & CL_MEM_COPY_HOST_PTR) {
			for (uint32_t i = 0; i < N; i++)
				CHECK_EQ(host[i], i * 3 + k);
		}
		CHECK_CL(clReleaseMemObject(b));
		free(host);
		free(out);
	}
	cl_close(&cl);
}

/* COPY_HOST_PTR copies at creation: later changes of the host memory do not count. */
static void test_copy_host_ptr_is_snapshot(void)
{
	struct cl cl = cl_open(0);
	uint8_t host[1000], expected[1000], out[1000];
	cl_mem b;

	cltest_pattern(host, sizeof(host), 1);
	memcpy(expected, host, sizeof(host));
	b = cltest_buffer(cl.ctx, CL_MEM_COPY_HOST_PTR, sizeof(host), host);
	memset(host, 0, sizeof(host));
	read_all(&cl, b, out, sizeof(out));
	CHECK_BYTES(out, expected, sizeof(out));
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

/* Writing through the own pointer, a kernel, a map: the map gives host_ptr + offset and the result.
 */
static void test_use_host_ptr_map(void)
{
	struct cl cl = cl_open(0);
	uint32_t *host = malloc(N * 4 + 64), *base = host + 1, *p;
	cl_mem b;

	for (uint32_t i = 0; i < N; i++)
		base[i] = i;
	b = cltest_buffer(cl.ctx, CL_MEM_USE_HOST_PTR, N * 4, base);
	for (int round = 1; round <= 3; round++) {
		add(&cl, b, 100, N);
		p = MUST(clEnqueueMapBuffer(cl.q, b, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 64,
					    N * 4 - 64, 0, NULL, NULL, &ERR));
		CHECK(p == base + 16);
		for (uint32_t i = 16; i < N; i++) {
			CHECK_EQ(base[i], i + 1100 * (uint32_t)round - 1000);
			base[i] += 1000;
		}
		CHECK_CL(clEnqueueUnmapMemObject(cl.q, b, p, 0, NULL, NULL));
	}
	CHECK_CL(clFinish(cl.q));
	CHECK_CL(clReleaseMemObject(b));
	free(host);
	cl_close(&cl);
}

/* Two buffers over disjoint parts of one array of the application. */
static void test_use_host_ptr_neighbours(void)
{
	struct cl cl = cl_open(0);
	uint32_t *host = calloc(N, 4), *p;
	cl_mem a, b;

	a = cltest_buffer(cl.ctx, CL_MEM_USE_HOST_PTR, N * 2, host);
	b = cltest_buffer(cl.ctx, CL_MEM_USE_HOST_PTR, N * 2, host + N / 2);
	add(&cl, a, 1, N / 2);
	add(&cl, b, 2, N / 2);
	for (int k = 0; k < 2; k++) {
		cl_mem m = k ? b : a;

		p = MUST(clEnqueueMapBuffer(cl.q, m, CL_TRUE, CL_MAP_READ, 0, N * 2, 0, NULL, NULL,
					    &ERR));
		CHECK(p == host + (k ? N / 2 : 0));
		for (int i = 0; i < N / 2; i++)
			CHECK_EQ(p[i], k + 1);
		CHECK_CL(clEnqueueUnmapMemObject(cl.q, m, p, 0, NULL, NULL));
	}
	CHECK_CL(clFinish(cl.q));
	CHECK_CL(clReleaseMemObject(a));
	CHECK_CL(clReleaseMemObject(b));
	free(host);
	cl_close(&cl);
}

static void test_read_write_offsets(void)
{
	static const size_t sizes[] = {1, 2, 3, 7, 63, 64, 65, 4095, 4096, 4097, 100000};
	static const size_t offsets[] = {0, 1, 5, 64, 4095, 4096, 30001};
	struct cl cl = cl_open(0);
	size_t total = 1 << 18;
	uint8_t *model = malloc(total), *data = malloc(total), *out = malloc(total);
	cl_mem b = cltest_buffer(cl.ctx, 0, total, NULL);
	uint32_t seed = 5;

	cltest_pattern(model, total, 4);
	CHECK_CL(clEnqueueWriteBuffer(cl.q, b, CL_TRUE, 0, total, model, 0, NULL, NULL));
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(offsets); j++) {
			cltest_pattern(data, sizes[i], seed++);
			CHECK_CL(clEnqueueWriteBuffer(cl.q, b, seed % 2, offsets[j], sizes[i], data,
						      0, NULL, NULL));
			memcpy(model + offsets[j], data, sizes[i]);
			memset(out, 0, sizes[i] + 2);
			CHECK_CL(clEnqueueReadBuffer(cl.q, b, CL_TRUE, offsets[j], sizes[i], out, 0,
						     NULL, NULL));
			CHECK_BYTES(out, data, sizes[i]);
			CHECK_EQ(out[sizes[i]], 0);
		}
	}
	read_all(&cl, b, out, total);
	CHECK_BYTES(out, model, total);
	CHECK_CL(clReleaseMemObject(b));
	free(model);
	free(data);
	free(out);
	cl_close(&cl);
}

static void test_read_write_errors(void)
{
	struct cl cl = cl_open(0);
	cl_context other = cltest_context();
	cl_mem b = cltest_buffer(cl.ctx, 0, 64, NULL), foreign = cltest_buffer(other, 0, 64, NULL);
	cl_event event = MUST(clCreateUserEvent(other, &ERR));
	char h[128];

	CHECK_ERR(clEnqueueReadBuffer(NULL, b, CL_TRUE, 0, 64, h, 0, NULL, NULL),
		  CL_INVALID_COMMAND_QUEUE);
	CHECK_ERR(clEnqueueReadBuffer(cl.q, NULL, CL_TRUE, 0, 64, h, 0, NULL, NULL),
		  CL_INVALID_MEM_OBJECT);
	CHECK_ERR(clEnqueueReadBuffer(cl.q, foreign, CL_TRUE, 0, 64, h, 0, NULL, NULL),
		  CL_INVALID_CONTEXT);
	CHECK_ERR(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 0, 64, h, 1, &event, NULL),
		  CL_INVALID_CONTEXT);
	CHECK_ERR(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 0, 65, h, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 1, 64, h, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueReadBuffer(cl.q, b, CL_TRUE, SIZE_MAX, 64, h, 0, NULL, NULL),
		  CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 0, 64, NULL, 0, NULL, NULL),
		  CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 0, 64, h, 1, NULL, NULL),
		  CL_INVALID_EVENT_WAIT_LIST);
	CHECK_ERR(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 0, 64, h, 0, &event, NULL),
		  CL_INVALID_EVENT_WAIT_LIST);
	CHECK_ERR(clEnqueueWriteBuffer(NULL, b, CL_TRUE, 0, 64, h, 0, NULL, NULL),
		  CL_INVALID_COMMAND_QUEUE);
	CHECK_ERR(clEnqueueWriteBuffer(cl.q, NULL, CL_TRUE, 0, 64, h, 0, NULL, NULL),
		  CL_INVALID_MEM_OBJECT);
	CHECK_ERR(clEnqueueWriteBuffer(cl.q, foreign, CL_TRUE, 0, 64, h, 0, NULL, NULL),
		  CL_INVALID_CONTEXT);
	CHECK_ERR(clEnqueueWriteBuffer(cl.q, b, CL_TRUE, 0, 65, h, 0, NULL, NULL),
		  CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueWriteBuffer(cl.q, b, CL_TRUE, 32, 33, h, 0, NULL, NULL),
		  CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueWriteBuffer(cl.q, b, CL_TRUE, 0, 64, NULL, 0, NULL, NULL),
		  CL_INVALID_VALUE);
	CHECK_CL(clSetUserEventStatus(event, CL_COMPLETE));
	CHECK_CL(clReleaseEvent(event));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseMemObject(foreign));
	CHECK_CL(clReleaseContext(other));
	cl_close(&cl);
}

/* Commands that take a read-back or write-out from memory reject buffers whose host access forbids
 * it. */
static void test_host_access(void)
{
	struct cl cl = cl_open(0);
	cl_mem ro = cltest_buffer(cl.ctx, CL_MEM_HOST_READ_ONLY, 64, NULL);
	cl_mem wo = cltest_buffer(cl.ctx, CL_MEM_HOST_WRITE_ONLY, 64, NULL);
	cl_mem no = cltest_buffer(cl.ctx, CL_MEM_HOST_NO_ACCESS, 64, NULL);
	cl_mem bad_read[] = {wo, no}, bad_write[] = {ro, no};
	const size_t zero[3] = {0, 0, 0}, region[3] = {4, 4, 1};
	cl_buffer_region r = {0, 64};
	cl_mem sub;
	char h[64] = "";

	for (int i = 0; i < 2; i++) {
		cl_mem a = bad_read[i], b = bad_write[i];

		CHECK_ERR(clEnqueueReadBuffer(cl.q, a, CL_TRUE, 0, 64, h, 0, NULL, NULL),
			  CL_INVALID_OPERATION);
		CHECK_ERR(clEnqueueReadBufferRect(cl.q, a, CL_TRUE, zero, zero, region, 0, 0, 0, 0,
						  h, 0, NULL, NULL),
			  CL_INVALID_OPERATION);
		CREATE_ERR(
		    clEnqueueMapBuffer(cl.q, a, CL_TRUE, CL_MAP_READ, 0, 64, 0, NULL, NULL, &ERR),
		    CL_INVALID_OPERATION);
		CHECK_ERR(clEnqueueWriteBuffer(cl.q, b, CL_TRUE, 0, 64, h, 0, NULL, NULL),
			  CL_INVALID_OPERATION);
		CHECK_ERR(clEnqueueWriteBufferRect(cl.q, b, CL_TRUE, zero, zero, region, 0, 0, 0, 0,
						   h, 0, NULL, NULL),
			  CL_INVALID_OPERATION);
		CREATE_ERR(
		    clEnqueueMapBuffer(cl.q, b, CL_TRUE, CL_MAP_WRITE, 0, 64, 0, NULL, NULL, &ERR),
		    CL_INVALID_OPERATION);
		CREATE_ERR(clEnqueueMapBuffer(cl.q, b, CL_TRUE, CL_MAP_WRITE_INVALIDATE_REGION, 0,
					      64, 0, NULL, NULL, &ERR),
			   CL_INVALID_OPERATION);
	}
	/* A sub-buffer inherits the access of its parent and cannot widen it. */
	CREATE_ERR(
	    clCreateSubBuffer(no, CL_MEM_HOST_READ_ONLY, CL_BUFFER_CREATE_TYPE_REGION, &r, &ERR),
	    CL_INVALID_VALUE);
	CREATE_ERR(
	    clCreateSubBuffer(ro, CL_MEM_HOST_WRITE_ONLY, CL_BUFFER_CREATE_TYPE_REGION, &r, &ERR),
	    CL_INVALID_VALUE);
	sub = MUST(clCreateSubBuffer(ro, 0, CL_BUFFER_CREATE_TYPE_REGION, &r, &ERR));
	CHECK_EQ(INFO(cl_mem_flags, clGetMemObjectInfo, sub, CL_MEM_FLAGS) & CL_MEM_HOST_READ_ONLY,
		 CL_MEM_HOST_READ_ONLY);
	CHECK_ERR(clEnqueueWriteBuffer(cl.q, sub, CL_TRUE, 0, 64, h, 0, NULL, NULL),
		  CL_INVALID_OPERATION);
	/* Copies and fills on the device are not host accesses. */
	CHECK_CL(clEnqueueFillBuffer(cl.q, ro, "\x5a", 1, 0, 64, 0, NULL, NULL));
	CHECK_CL(clEnqueueCopyBuffer(cl.q, no, wo, 0, 0, 64, 0, NULL, NULL));
	read_all(&cl, ro, h, 64);
	for (int i = 0; i < 64; i++)
		CHECK_EQ(h[i], 0x5a);
	CHECK_CL(clReleaseMemObject(sub));
	CHECK_CL(clReleaseMemObject(ro));
	CHECK_CL(clReleaseMemObject(wo));
	CHECK_CL(clReleaseMemObject(no));
	cl_close(&cl);
}

static void test_copy(void)
{
	struct cl cl = cl_open(0);
	uint8_t x[5000], y[5000], out[5000];
	cl_mem a, b;

	cltest_pattern(x, sizeof(x), 1);
	cltest_pattern(y, sizeof(y), 2);
	a = cltest_buffer(cl.ctx, CL_MEM_COPY_HOST_PTR, sizeof(x), x);
	b = cltest_buffer(cl.ctx, CL_MEM_COPY_HOST_PTR, sizeof(y), y);
	CHECK_CL(clEnqueueCopyBuffer(cl.q, a, b, 3, 1001, 2000, 0, NULL, NULL));
	CHECK_CL(clEnqueueCopyBuffer(cl.q, a, a, 0, 2500, 2500, 0, NULL, NULL));
	memcpy(y + 1001, x + 3, 2000);
	memcpy(x + 2500, x, 2500);
	read_all(&cl, b, out, sizeof(out));
	CHECK_BYTES(out, y, sizeof(out));
	read_all(&cl, a, out, sizeof(out));
	CHECK_BYTES(out, x, sizeof(out));
	CHECK_CL(clReleaseMemObject(a));
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

static void test_copy_errors(void)
{
	struct cl cl = cl_open(0);
	cl_context other = cltest_context();
	cl_mem a = cltest_buffer(cl.ctx, 0, 1024, NULL), b = cltest_buffer(cl.ctx, 0, 512, NULL);
	cl_mem foreign = cltest_buffer(other, 0, 1024, NULL), s1, s2;
	cl_buffer_region r1 = {0, 512}, r2 = {0, 1024};

	CHECK_ERR(clEnqueueCopyBuffer(NULL, a, b, 0, 0, 1, 0, NULL, NULL),
		  CL_INVALID_COMMAND_QUEUE);
	CHECK_ERR(clEnqueueCopyBuffer(cl.q, NULL, b, 0, 0, 1, 0, NULL, NULL),
		  CL_INVALID_MEM_OBJECT);
	CHECK_ERR(clEnqueueCopyBuffer(cl.q, a, NULL, 0, 0, 1, 0, NULL, NULL),
		  CL_INVALID_MEM_OBJECT);
	CHECK_ERR(clEnqueueCopyBuffer(cl.q, a, foreign, 0, 0, 1, 0, NULL, NULL),
		  CL_INVALID_CONTEXT);
	CHECK_ERR(clEnqueueCopyBuffer(cl.q, a, b, 0, 0, 513, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueCopyBuffer(cl.q, b, a, 1, 0, 512, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueCopyBuffer(cl.q, a, b, 0, SIZE_MAX, 2, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueCopyBuffer(cl.q, a, a, 0, 100, 101, 0, NULL, NULL), CL_MEM_COPY_OVERLAP);
	CHECK_ERR(clEnqueueCopyBuffer(cl.q, a, a, 100, 0, 101, 0, NULL, NULL), CL_MEM_COPY_OVERLAP);
	CHECK_CL(clEnqueueCopyBuffer(cl.q, a, a, 0, 100, 100, 0, NULL, NULL));
	s1 = MUST(clCreateSubBuffer(a, 0, CL_BUFFER_CREATE_TYPE_REGION, &r1, &ERR));
	s2 = MUST(clCreateSubBuffer(a, 0, CL_BUFFER_CREATE_TYPE_REGION, &r2, &ERR));
	CHECK_ERR(clEnqueueCopyBuffer(cl.q, s1, s2, 0, 100, 200, 0, NULL, NULL),
		  CL_MEM_COPY_OVERLAP);
	CHECK_CL(clEnqueueCopyBuffer(cl.q, s1, s2, 0, 512, 512, 0, NULL, NULL));
	CHECK_CL(clFinish(cl.q));
	CHECK_CL(clReleaseMemObject(s1));
	CHECK_CL(clReleaseMemObject(s2));
	CHECK_CL(clReleaseMemObject(a));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseMemObject(foreign));
	CHECK_CL(clReleaseContext(other));
	cl_close(&cl);
}

static void test_fill(void)
{
	struct cl cl = cl_open(0);
	uint8_t model[4096], out[4096], pattern[128];
	cl_mem b = cltest_buffer(cl.ctx, 0, sizeof(model), NULL);

	for (size_t n = 1; n <= 128; n *= 2) {
		cltest_pattern(model, sizeof(model), 77);
		cltest_pattern(pattern, n, (uint32_t)n);
		CHECK_CL(
		    clEnqueueWriteBuffer(cl.q, b, CL_TRUE, 0, sizeof(model), model, 0, NULL, NULL));
		CHECK_CL(clEnqueueFillBuffer(cl.q, b, pattern, n, 3 * n, 20 * n, 0, NULL, NULL));
		for (size_t i = 0; i < 20; i++)
			memcpy(model + (3 + i) * n, pattern, n);
		read_all(&cl, b, out, sizeof(out));
		CHECK_BYTES(out, model, sizeof(out));
	}
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

/* The fill waits for a user event while the application overwrites the pattern. */
static void test_fill_pattern_is_snapshot(void)
{
	struct cl cl = cl_open(0);
	cl_mem b = cltest_buffer(cl.ctx, 0, 256, NULL);
	cl_event gate = MUST(clCreateUserEvent(cl.ctx, &ERR));
	uint32_t pattern = 0x12345678, out[64];

	CHECK_CL(clEnqueueFillBuffer(cl.q, b, &pattern, 4, 0, 256, 1, &gate, NULL));
	pattern = 0;
	CHECK_CL(clSetUserEventStatus(gate, CL_COMPLETE));
	read_all(&cl, b, out, sizeof(out));
	for (int i = 0; i < 64; i++)
		CHECK_EQ(out[i], 0x12345678);
	CHECK_CL(clReleaseEvent(gate));
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

static void test_fill_errors(void)
{
	struct cl cl = cl_open(0);
	cl_mem b = cltest_buffer(cl.ctx, 0, 512, NULL);
	uint8_t p[256] = {0};

	CHECK_ERR(clEnqueueFillBuffer(NULL, b, p, 4, 0, 64, 0, NULL, NULL),
		  CL_INVALID_COMMAND_QUEUE);
	CHECK_ERR(clEnqueueFillBuffer(cl.q, NULL, p, 4, 0, 64, 0, NULL, NULL),
		  CL_INVALID_MEM_OBJECT);
	CHECK_ERR(clEnqueueFillBuffer(cl.q, b, NULL, 4, 0, 64, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueFillBuffer(cl.q, b, p, 0, 0, 64, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueFillBuffer(cl.q, b, p, 3, 0, 66, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueFillBuffer(cl.q, b, p, 256, 0, 256, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueFillBuffer(cl.q, b, p, 4, 2, 64, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueFillBuffer(cl.q, b, p, 4, 0, 66, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueFillBuffer(cl.q, b, p, 4, 0, 516, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueFillBuffer(cl.q, b, p, 4, 508, 8, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

struct rect {
	size_t from[3], to[3], region[3], from_row, from_slice, to_row, to_slice;
};

static const struct rect rects[] = {
    {{0, 0, 0}, {0, 0, 0}, {16, 1, 1}, 0, 0, 0, 0},
    {{0, 0, 0}, {0, 0, 0}, {16, 8, 4}, 0, 0, 0, 0},
    {{3, 2, 1}, {5, 1, 2}, {7, 5, 3}, 32, 32 * 10, 40, 40 * 9},
    {{1, 0, 0}, {0, 3, 0}, {11, 6, 1}, 19, 0, 0, 0},
    {{0, 1, 1}, {2, 0, 0}, {5, 4, 3}, 0, 0, 13, 0},
    {{4, 4, 2}, {0, 0, 0}, {64, 16, 4}, 80, 80 * 20, 64, 64 * 16},
};

static void rect_pitches(const struct rect *r, bool from, size_t *row, size_t *slice)
{
	*row = from ? r->from_row : r->to_row;
	*slice = from ? r->from_slice : r->to_slice;
	if (!*row)
		*row = r->region[0];
	if (!*slice)
		*slice = *row * r->region[1];
}

/* What a rectangle command must do, byte by byte. */
static void rect_model(const struct rect *r, const uint8_t *from, uint8_t *to)
{
	size_t from_row, from_slice, to_row, to_slice;

	rect_pitches(r, true, &from_row, &from_slice);
	rect_pitches(r, false, &to_row, &to_slice);
	for (size_t z = 0; z < r->region[2]; z++) {
		for (size_t y = 0; y < r->region[1]; y++)
			memcpy(to + (r->to[2] + z) * to_slice + (r->to[1] + y) * to_row + r->to[0],
			       from + (r->from[2] + z) * from_slice + (r->from[1] + y) * from_row +
				   r->from[0],
			       r->region[0]);
	}
}

/* kind 0: write, host to buffer; 1: read, buffer to host; 2: copy between buffers. */
static void rect_run(int kind)
{
	enum { SIZE = 16384 };
	struct cl cl = cl_open(0);
	uint8_t *x = malloc(SIZE), *y = malloc(SIZE), *out = malloc(SIZE);

	for (size_t i = 0; i < ARRAY_SIZE(rects); i++) {
		const struct rect *r = &rects[i];
		cl_mem a, b;

		cltest_pattern(x, SIZE, 1);
		cltest_pattern(y, SIZE, 2);
		memcpy(out, y, SIZE);
		a = cltest_buffer(cl.ctx, CL_MEM_COPY_HOST_PTR, SIZE, x);
		b = cltest_buffer(cl.ctx, CL_MEM_COPY_HOST_PTR, SIZE, y);
		if (kind == 0)
			CHECK_CL(clEnqueueWriteBufferRect(cl.q, b, i % 2, r->to, r->from, r->region,
							  r->to_row, r->to_slice, r->from_row,
							  r->from_slice, x, 0, NULL, NULL));
		else if (kind == 1)
			CHECK_CL(clEnqueueReadBufferRect(
			    cl.q, a, CL_TRUE, r->from, r->to, r->region, r->from_row, r->from_slice,
			    r->to_row, r->to_slice, out, 0, NULL, NULL));
		else
			CHECK_CL(clEnqueueCopyBufferRect(cl.q, a, b, r->from, r->to, r->region,
							 r->from_row, r->from_slice, r->to_row,
							 r->to_slice, 0, NULL, NULL));
		if (kind != 1)
			read_all(&cl, b, out, SIZE);
		rect_model(r, x, y);
		CHECK_BYTES(out, y, SIZE);
		CHECK_CL(clReleaseMemObject(a));
		CHECK_CL(clReleaseMemObject(b));
	}
	free(x);
	free(y);
	free(out);
	cl_close(&cl);
}

static void test_write_rect(void)
{
	rect_run(0);
}

static void test_read_rect(void)
{
	rect_run(1);
}

static void test_copy_rect(void)
{
	rect_run(2);
}

/* A rectangle copied inside one buffer, beside itself. */
static void test_copy_rect_same_buffer(void)
{
	struct cl cl = cl_open(0);
	struct rect r = {{0, 0, 0}, {8, 0, 0}, {8, 8, 2}, 16, 160, 16, 160};
	uint8_t x[1024], out[1024];
	cl_mem b;

	cltest_pattern(x, sizeof(x), 1);
	b = cltest_buffer(cl.ctx, CL_MEM_COPY_HOST_PTR, sizeof(x), x);
	CHECK_CL(clEnqueueCopyBufferRect(cl.q, b, b, r.from, r.to, r.region, 16, 160, 16, 160, 0,
					 NULL, NULL));
	rect_model(&r, x, x);
	read_all(&cl, b, out, sizeof(out));
	CHECK_BYTES(out, x, sizeof(out));
	r.to[0] = 7;
	CHECK_ERR(clEnqueueCopyBufferRect(cl.q, b, b, r.from, r.to, r.region, 16, 160, 16, 160, 0,
					  NULL, NULL),
		  CL_MEM_COPY_OVERLAP);
	/* Source and destination in one buffer must have the same pitches. */
	r.to[0] = 8;
	CHECK_ERR(clEnqueueCopyBufferRect(cl.q, b, b, r.from, r.to, r.region, 16, 160, 32, 320, 0,
					  NULL, NULL),
		  CL_INVALID_VALUE);
	/* Rows without gaps: apart in their coordinates, but not in memory. PoCL sees it, too. */
	struct rect tight = {{0, 0, 0}, {0, 8, 0}, {8, 8, 2}, 8, 64, 8, 64};
	CHECK_ERR(clEnqueueCopyBufferRect(cl.q, b, b, tight.from, tight.to, tight.region, 8, 64, 8,
					  64, 0, NULL, NULL),
		  CL_MEM_COPY_OVERLAP);
	/* Between the other's rows, and between its slices. */
	struct rect rows = {{12, 1, 0}, {4, 0, 0}, {8, 8, 2}, 16, 160, 16, 160};
	CHECK_CL(clEnqueueCopyBufferRect(cl.q, b, b, rows.from, rows.to, rows.region, 16, 160, 16,
					 160, 0, NULL, NULL));
	rect_model(&rows, x, x);
	struct rect slices = {{3, 0, 0}, {0, 5, 0}, {16, 4, 2}, 16, 160, 16, 160};
	CHECK_CL(clEnqueueCopyBufferRect(cl.q, b, b, slices.from, slices.to, slices.region, 16, 160,
					 16, 160, 0, NULL, NULL));
	rect_model(&slices, x, x);
	read_all(&cl, b, out, sizeof(out));
	CHECK_BYTES(out, x, sizeof(out));
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

static void test_rect_errors(void)
{
	struct cl cl = cl_open(0);
	cl_mem b = cltest_buffer(cl.ctx, 0, 256, NULL), d = cltest_buffer(cl.ctx, 0, 256, NULL);
	const size_t o[3] = {0, 0, 0}, one[3] = {1, 0, 0}, reg[3] = {16, 16, 1};
	static const size_t empty[3][3] = {{0, 1, 1}, {1, 0, 1}, {1, 1, 0}};
	char h[512];

#define READ_RECT(q, b, bo, ho, reg, brp, bsp, hrp, hsp, p) \
	clEnqueueReadBufferRect(q, b, CL_TRUE, bo, ho, reg, brp, bsp, hrp, hsp, p, 0, NULL, NULL)
#define WRITE_RECT(q, b, bo, ho, reg, brp, bsp, hrp, hsp, p) \
	clEnqueueWriteBufferRect(q, b, CL_TRUE, bo, ho, reg, brp, bsp, hrp, hsp, p, 0, NULL, NULL)
	CHECK_ERR(READ_RECT(NULL, b, o, o, reg, 0, 0, 0, 0, h), CL_INVALID_COMMAND_QUEUE);
	CHECK_ERR(READ_RECT(cl.q, NULL, o, o, reg, 0, 0, 0, 0, h), CL_INVALID_MEM_OBJECT);
	CHECK_ERR(READ_RECT(cl.q, b, o, o, reg, 0, 0, 0, 0, NULL), CL_INVALID_VALUE);
	CHECK_ERR(READ_RECT(cl.q, b, one, o, reg, 0, 0, 0, 0, h), CL_INVALID_VALUE);
	CHECK_ERR(READ_RECT(cl.q, b, o, o, reg, 15, 0, 0, 0, h), CL_INVALID_VALUE);
	CHECK_ERR(READ_RECT(cl.q, b, o, o, reg, 0, 0, 15, 0, h), CL_INVALID_VALUE);
	CHECK_ERR(READ_RECT(cl.q, b, o, o, reg, 16, 255, 0, 0, h), CL_INVALID_VALUE);
	CHECK_ERR(READ_RECT(cl.q, b, o, o, reg, 0, 0, 16, 255, h), CL_INVALID_VALUE);
	CHECK_ERR(WRITE_RECT(NULL, b, o, o, reg, 0, 0, 0, 0, h), CL_INVALID_COMMAND_QUEUE);
	CHECK_ERR(WRITE_RECT(cl.q, NULL, o, o, reg, 0, 0, 0, 0, h), CL_INVALID_MEM_OBJECT);
	CHECK_ERR(WRITE_RECT(cl.q, b, o, o, reg, 0, 0, 0, 0, NULL), CL_INVALID_VALUE);
	CHECK_ERR(WRITE_RECT(cl.q, b, one, o, reg, 0, 0, 0, 0, h), CL_INVALID_VALUE);
	CHECK_ERR(WRITE_RECT(cl.q, b, o, o, reg, 17, 0, 0, 0, h), CL_INVALID_VALUE);
	for (int i = 0; i < 3; i++) {
		CHECK_ERR(READ_RECT(cl.q, b, o, o, empty[i], 0, 0, 0, 0, h), CL_INVALID_VALUE);
		CHECK_ERR(WRITE_RECT(cl.q, b, o, o, empty[i], 0, 0, 0, 0, h), CL_INVALID_VALUE);
		CHECK_ERR(
		    clEnqueueCopyBufferRect(cl.q, b, d, o, o, empty[i], 0, 0, 0, 0, 0, NULL, NULL),
		    CL_INVALID_VALUE);
	}
	CHECK_ERR(clEnqueueCopyBufferRect(cl.q, b, d, one, o, reg, 0, 0, 0, 0, 0, NULL, NULL),
		  CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueCopyBufferRect(cl.q, b, d, o, one, reg, 0, 0, 0, 0, 0, NULL, NULL),
		  CL_INVALID_VALUE);
	if (!native_bug()) /* PoCL follows the NULL */
		CHECK_ERR(
		    clEnqueueCopyBufferRect(cl.q, b, NULL, o, o, reg, 0, 0, 0, 0, 0, NULL, NULL),
		    CL_INVALID_MEM_OBJECT);
	CHECK_ERR(clEnqueueCopyBufferRect(cl.q, b, d, o, o, reg, 15, 0, 0, 0, 0, NULL, NULL),
		  CL_INVALID_VALUE);
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseMemObject(d));
	cl_close(&cl);
}

static size_t sub_align(void)
{
	return INFO(cl_uint, clGetDeviceInfo, cltest_device, CL_DEVICE_MEM_BASE_ADDR_ALIGN) / 8;
}

/* Commands on a sub-buffer are seen through its parent, its siblings, and the other way round. */
static void test_sub_buffer_aliases(void)
{
	struct cl cl = cl_open(0);
	size_t align = sub_align(), size = 8 * align;
	uint8_t *model = malloc(size), *out = malloc(size), *p;
	cl_buffer_region r1 = {2 * align, 4 * align}, r2 = {4 * align, 4 * align};
	cl_mem b, s1, s2, fresh;

	cltest_pattern(model, size, 9);
	b = cltest_buffer(cl.ctx, CL_MEM_COPY_HOST_PTR, size, model);
	s1 = MUST(clCreateSubBuffer(b, 0, CL_BUFFER_CREATE_TYPE_REGION, &r1, &ERR));
	s2 = MUST(clCreateSubBuffer(b, 0, CL_BUFFER_CREATE_TYPE_REGION, &r2, &ERR));
	CHECK_EQ(INFO(size_t, clGetMemObjectInfo, s1, CL_MEM_OFFSET), r1.origin);
	CHECK_EQ(INFO(size_t, clGetMemObjectInfo, s2, CL_MEM_OFFSET), r2.origin);
	add(&cl, s1, 0x01010101, r1.size / 4);
	for (size_t i = 0; i < r1.size / 4; i++) {
		uint32_t w;

		memcpy(&w, model + r1.origin + 4 * i, 4);
		w += 0x01010101;
		memcpy(model + r1.origin + 4 * i, &w, 4);
	}
	read_all(&cl, s2, out, r2.size);
	CHECK_BYTES(out, model + r2.origin, r2.size);
	CHECK_CL(clEnqueueFillBuffer(cl.q, s2, "ab", 2, 2, 10, 0, NULL, NULL));
	memcpy(model + r2.origin + 2, "ababababab", 10);
	read_all(&cl, b, out, size);
	CHECK_BYTES(out, model, size);
	CHECK_CL(clEnqueueWriteBuffer(cl.q, b, CL_FALSE, r2.origin + 1, 5, "hello", 0, NULL, NULL));
	memcpy(model + r2.origin + 1, "hello", 5);
	p = MUST(clEnqueueMapBuffer(cl.q, s1, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 0, r1.size, 0,
				    NULL, NULL, &ERR));
	CHECK_BYTES(p, model + r1.origin, r1.size);
	memset(p, 0x77, 16);
	CHECK_CL(clEnqueueUnmapMemObject(cl.q, s1, p, 0, NULL, NULL));
	memset(model + r1.origin, 0x77, 16);
	fresh = cltest_buffer(cl.ctx, 0, r1.size, NULL);
	CHECK_CL(clEnqueueCopyBuffer(cl.q, s1, fresh, 0, 0, r1.size, 0, NULL, NULL));
	read_all(&cl, fresh, out, r1.size);
	CHECK_BYTES(out, model + r1.origin, r1.size);
	/* The sub-buffers keep their parent alive. */
	CHECK_CL(clReleaseMemObject(b));
	read_all(&cl, s1, out, r1.size);
	CHECK_BYTES(out, model + r1.origin, r1.size);
	CHECK_CL(clReleaseMemObject(s1));
	CHECK_CL(clReleaseMemObject(s2));
	CHECK_CL(clReleaseMemObject(fresh));
	free(model);
	free(out);
	cl_close(&cl);
}

/* Two kernels in a row on overlapping sub-buffers keep their order. */
static void test_sub_buffer_order(void)
{
	struct cl cl = cl_open(0);
	size_t align = sub_align(), n = 64 * align / 4;
	cl_program program = cltest_build(cl.ctx, source, "");
	cl_kernel kernel = cltest_kernel(program, "copy");
	cl_buffer_region lo = {0, 32 * align}, hi = {32 * align, 32 * align};
	uint32_t *data = calloc(n, 4);
	cl_mem b, s1, s2;

	for (size_t i = 0; i < n / 2; i++)
		data[i] = (uint32_t)i + 1;
	b = cltest_buffer(cl.ctx, CL_MEM_COPY_HOST_PTR, n * 4, data);
	s1 = MUST(clCreateSubBuffer(b, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &lo, &ERR));
	s2 = MUST(clCreateSubBuffer(b, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &hi, &ERR));
	cltest_arg(kernel, 0, sizeof(s1), &s1);
	cltest_arg(kernel, 1, sizeof(s2), &s2);
	cltest_launch(cl.q, kernel, n / 2);
	CHECK_CL(clEnqueueFillBuffer(cl.q, s1, "\0", 1, 0, lo.size, 0, NULL, NULL));
	read_all(&cl, b, data, n * 4);
	for (size_t i = 0; i < n / 2; i++) {
		CHECK_EQ(data[i], 0);
		CHECK_EQ(data[n / 2 + i], i + 1);
	}
	CHECK_CL(clReleaseMemObject(s1));
	CHECK_CL(clReleaseMemObject(s2));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(kernel));
	CHECK_CL(clReleaseProgram(program));
	free(data);
	cl_close(&cl);
}

static void test_sub_buffer_errors(void)
{
	struct cl cl = cl_open(0);
	size_t align = sub_align();
	cl_buffer_region whole = {0, 4 * align}, empty = {0, 0}, beyond = {align, 4 * align};
	cl_buffer_region far = {8 * align, align}, odd = {1, align};
	cl_mem b = cltest_buffer(cl.ctx, CL_MEM_READ_ONLY, 4 * align, NULL), sub;
	const cl_buffer_create_type region = CL_BUFFER_CREATE_TYPE_REGION;

	CREATE_ERR(clCreateSubBuffer(NULL, 0, region, &whole, &ERR), CL_INVALID_MEM_OBJECT);
	CREATE_ERR(clCreateSubBuffer(b, 0, 0x7777, &whole, &ERR), CL_INVALID_VALUE);
	CREATE_ERR(clCreateSubBuffer(b, 0, region, NULL, &ERR), CL_INVALID_VALUE);
	CREATE_ERR(clCreateSubBuffer(b, 0, region, &empty, &ERR), CL_INVALID_BUFFER_SIZE);
	CREATE_ERR(clCreateSubBuffer(b, 0, region, &beyond, &ERR), CL_INVALID_VALUE);
	CREATE_ERR(clCreateSubBuffer(b, 0, region, &far, &ERR), CL_INVALID_VALUE);
	CREATE_ERR(clCreateSubBuffer(b, CL_MEM_WRITE_ONLY, region, &whole, &ERR), CL_INVALID_VALUE);
	CREATE_ERR(clCreateSubBuffer(b, CL_MEM_READ_WRITE, region, &whole, &ERR), CL_INVALID_VALUE);
	CREATE_ERR(clCreateSubBuffer(b, CL_MEM_ALLOC_HOST_PTR, region, &whole, &ERR),
		   CL_INVALID_VALUE);
	if (align > 1)
		CREATE_ERR(clCreateSubBuffer(b, 0, region, &odd, &ERR),
			   CL_MISALIGNED_SUB_BUFFER_OFFSET);
	sub = MUST(clCreateSubBuffer(b, 0, region, &whole, &ERR));
	CHECK_EQ(INFO(cl_mem_flags, clGetMemObjectInfo, sub, CL_MEM_FLAGS) & CL_MEM_READ_ONLY,
		 CL_MEM_READ_ONLY);
	CREATE_ERR(clCreateSubBuffer(sub, 0, region, &whole, &ERR), CL_INVALID_MEM_OBJECT);
	CHECK_CL(clReleaseMemObject(sub));
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

/* A sub-buffer of a USE_HOST_PTR buffer maps to the application's own memory. */
static void test_sub_buffer_of_host_ptr(void)
{
	struct cl cl = cl_open(0);
	size_t align = sub_align();
	uint8_t *host, *p;
	cl_buffer_region r = {align, 2 * align};
	cl_mem b, sub;

	host = aligned_alloc(4096, 4 * align > 4096 ? 4 * align : 4096);
	memset(host, 3, 4 * align);
	b = cltest_buffer(cl.ctx, CL_MEM_USE_HOST_PTR, 4 * align, host);
	sub = MUST(clCreateSubBuffer(b, 0, CL_BUFFER_CREATE_TYPE_REGION, &r, &ERR));
	CHECK(INFO(void *, clGetMemObjectInfo, sub, CL_MEM_HOST_PTR) == host + align);
	CHECK_CL(clEnqueueFillBuffer(cl.q, sub, "\x09", 1, 0, 2 * align, 0, NULL, NULL));
	p = MUST(
	    clEnqueueMapBuffer(cl.q, sub, CL_TRUE, CL_MAP_READ, 4, align, 0, NULL, NULL, &ERR));
	CHECK(p == host + align + 4);
	for (size_t i = 0; i < align; i++)
		CHECK_EQ(p[i], 9);
	CHECK_CL(clEnqueueUnmapMemObject(cl.q, sub, p, 0, NULL, NULL));
	CHECK_CL(clFinish(cl.q));
	CHECK_CL(clReleaseMemObject(sub));
	CHECK_CL(clReleaseMemObject(b));
	free(host);
	cl_close(&cl);
}

struct destructor {
	int order[8];
	atomic_int calls;
	cl_mem mem;
	void *host;
};

struct destructor_call {
	struct destructor *list;
	int number;
};

static void CL_CALLBACK on_destroy(cl_mem mem, void *user)
{
	struct destructor_call *call = user;
	int i = atomic_load(&call->list->calls);

	call->list->order[i] = mem == call->list->mem ? call->number : -1;
	if (call->list->host && call->number == 0) {
		free(call->list->host);
		call->list->host = NULL;
	}
	atomic_fetch_add(&call->list->calls, 1);
}

/* Last in, first out, on the last release only; the host memory may be freed in the last one. */
static void test_destructor_callbacks(void)
{
	struct cl cl = cl_open(0);
	struct destructor list = {.host = malloc(4096)};
	struct destructor_call calls[5];

	memset(list.host, 1, 4096);
	list.mem = cltest_buffer(cl.ctx, CL_MEM_USE_HOST_PTR, 4096, list.host);
	for (int i = 0; i < 5; i++) {
		calls[i] = (struct destructor_call){&list, i};
		CHECK_CL(clSetMemObjectDestructorCallback(list.mem, on_destroy, &calls[i]));
	}
	CHECK_ERR(clSetMemObjectDestructorCallback(list.mem, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clSetMemObjectDestructorCallback(NULL, on_destroy, NULL), CL_INVALID_MEM_OBJECT);
	CHECK_CL(clRetainMemObject(list.mem));
	add(&cl, list.mem, 3, 1024);
	CHECK_CL(clFinish(cl.q));
	CHECK_CL(clReleaseMemObject(list.mem));
	CHECK_EQ(atomic_load(&list.calls), 0);
	CHECK_CL(clReleaseMemObject(list.mem));
	cltest_await(&list.calls, 5);
	for (int i = 0; i < 5; i++)
		CHECK_EQ(list.order[i], 4 - i);
	CHECK(!list.host);
	cl_close(&cl);
}

/* Released while a command that uses it waits: the callback comes after the command, not before. */
static void test_destructor_waits_for_commands(void)
{
	struct cl cl = cl_open(0);
	struct destructor list = {.mem = cltest_buffer(cl.ctx, 0, 4096, NULL)};
	struct destructor_call call = {&list, 0};
	cl_event gate = MUST(clCreateUserEvent(cl.ctx, &ERR));
	uint32_t out[1024], word = 0xabcd0123;

	CHECK_CL(clSetMemObjectDestructorCallback(list.mem, on_destroy, &call));
	CHECK_CL(clEnqueueFillBuffer(cl.q, list.mem, &word, 4, 0, 4096, 1, &gate, NULL));
	CHECK_CL(clEnqueueReadBuffer(cl.q, list.mem, CL_FALSE, 0, 4096, out, 0, NULL, NULL));
	CHECK_CL(clReleaseMemObject(list.mem));
	CHECK_EQ(atomic_load(&list.calls), 0);
	CHECK_CL(clSetUserEventStatus(gate, CL_COMPLETE));
	CHECK_CL(clFinish(cl.q));
	for (int i = 0; i < 1024; i++)
		CHECK_EQ(out[i], word);
	CHECK_CL(clReleaseEvent(gate));
	cltest_await(&list.calls, 1);
	cl_close(&cl);
}

static void test_migrate(void)
{
	struct cl cl = cl_open(0);
	uint8_t x[256], out[256];
	cl_mem b[2];
	cl_event event;

	cltest_pattern(x, sizeof(x), 3);
	b[0] = cltest_buffer(cl.ctx, CL_MEM_COPY_HOST_PTR, sizeof(x), x);
	b[1] = cltest_buffer(cl.ctx, 0, sizeof(x), NULL);
	CHECK_CL(clEnqueueMigrateMemObjects(cl.q, 2, b, 0, 0, NULL, NULL));
	CHECK_CL(
	    clEnqueueMigrateMemObjects(cl.q, 1, b, CL_MIGRATE_MEM_OBJECT_HOST, 0, NULL, &event));
	CHECK_EQ(INFO(cl_command_type, clGetEventInfo, event, CL_EVENT_COMMAND_TYPE),
		 CL_COMMAND_MIGRATE_MEM_OBJECTS);
	CHECK_CL(clEnqueueMigrateMemObjects(cl.q, 1, b + 1, CL_MIGRATE_MEM_OBJECT_CONTENT_UNDEFINED,
					    0, NULL, NULL));
	read_all(&cl, b[0], out, sizeof(out));
	CHECK_BYTES(out, x, sizeof(out));
	CHECK_CL(clReleaseEvent(event));
	CHECK_ERR(clEnqueueMigrateMemObjects(cl.q, 0, b, 0, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueMigrateMemObjects(cl.q, 1, NULL, 0, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueMigrateMemObjects(cl.q, 1, b, 1 << 20, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueMigrateMemObjects(NULL, 1, b, 0, 0, NULL, NULL),
		  CL_INVALID_COMMAND_QUEUE);
	CHECK_CL(clReleaseMemObject(b[0]));
	b[0] = NULL;
	CHECK_ERR(clEnqueueMigrateMemObjects(cl.q, 2, b, 0, 0, NULL, NULL), CL_INVALID_MEM_OBJECT);
	CHECK_CL(clReleaseMemObject(b[1]));
	cl_close(&cl);
}

/* A non-blocking write may read the application's memory until it completes, and no longer. */
static void test_async_write_chain(void)
{
	enum { COUNT = 64, SIZE = 8192 };
	struct cl cl = cl_open(0);
	uint8_t *data = malloc(COUNT * SIZE), *out = malloc(COUNT * SIZE);
	cl_mem b = cltest_buffer(cl.ctx, 0, COUNT * SIZE, NULL);
	cl_event event;

	for (int round = 0; round < 4; round++) {
		cltest_pattern(data, COUNT * SIZE, (uint32_t)round);
		for (size_t i = 0; i < COUNT; i++)
			CHECK_CL(clEnqueueWriteBuffer(cl.q, b, CL_FALSE, i * SIZE, SIZE,
						      data + i * SIZE, 0, NULL, &event));
		CHECK_CL(
		    clEnqueueReadBuffer(cl.q, b, CL_FALSE, 0, COUNT * SIZE, out, 0, NULL, NULL));
		CHECK_CL(clFinish(cl.q));
		CHECK_EQ(cltest_event_status(event), CL_COMPLETE);
		CHECK_BYTES(out, data, COUNT * SIZE);
	}
	CHECK_CL(clReleaseMemObject(b));
	free(data);
	free(out);
	cl_close(&cl);
}

static void test_large(void)
{
	struct cl cl = cl_open(0);
	size_t n = 16 << 20;
	uint32_t *data = malloc(n), *out = malloc(n);
	cl_mem b = cltest_buffer(cl.ctx, 0, n, NULL);

	cltest_pattern(data, n, 42);
	CHECK_CL(clEnqueueWriteBuffer(cl.q, b, CL_FALSE, 0, n, data, 0, NULL, NULL));
	add(&cl, b, 5, n / 4);
	read_all(&cl, b, out, n);
	for (size_t i = 0; i < n / 4; i++)
		CHECK(out[i] == data[i] + 5);
	CHECK_CL(clReleaseMemObject(b));
	free(data);
	free(out);
	cl_close(&cl);
}

/* Creating and releasing many buffers must not exhaust anything. */
static void test_churn(void)
{
	struct cl cl = cl_open(0);
	cl_mem live[16] = {0};

	for (uint32_t i = 0; i < 2000; i++) {
		size_t size = 64 + (i * 7919) % 100000;
		cl_mem *slot = &live[i % 16];
		uint32_t word = i, out = 0;

		if (*slot)
			CHECK_CL(clReleaseMemObject(*slot));
		*slot = cltest_buffer(cl.ctx, 0, size, NULL);
		CHECK_CL(
		    clEnqueueWriteBuffer(cl.q, *slot, CL_FALSE, size - 4, 4, &word, 0, NULL, NULL));
		CHECK_CL(
		    clEnqueueReadBuffer(cl.q, *slot, CL_TRUE, size - 4, 4, &out, 0, NULL, NULL));
		CHECK_EQ(out, i);
	}
	for (int i = 0; i < 16; i++)
		CHECK_CL(clReleaseMemObject(live[i]));
	cl_close(&cl);
}

static const struct cltest tests[] = {
    TEST(create_errors),
    TEST(largest),
    TEST(create_with_properties),
    TEST(infos),
    TEST(host_ptr_kinds),
    TEST(copy_host_ptr_is_snapshot),
    TEST(use_host_ptr_map),
    TEST(use_host_ptr_neighbours),
    TEST(read_write_offsets),
    TEST(read_write_errors),
    TEST(host_access),
    TEST(copy),
    TEST(copy_errors),
    TEST(fill),
    TEST(fill_pattern_is_snapshot),
    TEST(fill_errors),
    TEST(write_rect),
    TEST(read_rect),
    TEST(copy_rect),
    TEST(copy_rect_same_buffer),
    TEST(rect_errors),
    TEST(sub_buffer_aliases),
    TEST(sub_buffer_order),
    TEST(sub_buffer_errors),
    TEST(sub_buffer_of_host_ptr),
    TEST(destructor_callbacks),
    TEST(destructor_waits_for_commands),
    TEST(migrate),
    TEST(async_write_chain),
    TEST(large),
    TEST(churn),
};

CLTEST_MAIN(tests)
