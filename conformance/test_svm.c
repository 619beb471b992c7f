/* Shared virtual memory: coarse and fine buffers as the device reports them. */
#include "cltest.h"

#define N 1024

static const char source[] =
    "kernel void add(global uint *p, uint v) { p[get_global_id(0)] += v; }\n"
    "typedef struct node { global struct node *next; uint value; uint pad; } node;\n"
    "kernel void walk(global node *n, global uint *sum)\n"
    "{ uint s = 0; while (n) { s += n->value; n->value *= 2; n = n->next; } *sum = s; }\n";

static cl_device_svm_capabilities caps(void)
{
	cl_device_svm_capabilities c = INFO(cl_device_svm_capabilities, clGetDeviceInfo,
					    cltest_device, CL_DEVICE_SVM_CAPABILITIES);

	if (!(c & CL_DEVICE_SVM_COARSE_GRAIN_BUFFER))
		SKIP("no SVM");
	return c;
}

static void *alloc(struct cl *cl, size_t size)
{
	void *p = clSVMAlloc(cl->ctx, CL_MEM_READ_WRITE, size, 0);

	CHECK(p);
	return p;
}

static void map(struct cl *cl, void *p, size_t size)
{
	CHECK_CL(
	    clEnqueueSVMMap(cl->q, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, p, size, 0, NULL, NULL));
}

static void unmap(struct cl *cl, void *p)
{
	CHECK_CL(clEnqueueSVMUnmap(cl->q, p, 0, NULL, NULL));
}

static void test_alloc(void)
{
	static const cl_uint aligns[] = {0, 1, 2, 8, 64, 128};
	cl_device_svm_capabilities c = caps();
	struct cl cl = cl_open(0);
	cl_ulong max = INFO(cl_ulong, clGetDeviceInfo, cltest_device, CL_DEVICE_MAX_MEM_ALLOC_SIZE);

	for (size_t i = 0; i < ARRAY_SIZE(aligns); i++) {
		void *p = clSVMAlloc(cl.ctx, CL_MEM_READ_WRITE, 1000 + i, aligns[i]);

		CHECK(p);
		CHECK_EQ((uintptr_t)p % (aligns[i] ? aligns[i] : 128), 0);
		clSVMFree(cl.ctx, p);
	}
	CHECK(!clSVMAlloc(NULL, CL_MEM_READ_WRITE, 64, 0));
	CHECK(!clSVMAlloc(cl.ctx, CL_MEM_READ_WRITE, 0, 0));
	CHECK(!clSVMAlloc(cl.ctx, CL_MEM_READ_WRITE, max + 1, 0));
	CHECK(!clSVMAlloc(cl.ctx, CL_MEM_READ_WRITE, 64, 3));
	CHECK(!clSVMAlloc(cl.ctx, CL_MEM_READ_WRITE, 64, 1u << 20));
	CHECK(!clSVMAlloc(cl.ctx, CL_MEM_READ_ONLY | CL_MEM_WRITE_ONLY, 64, 0));
	if (!native_bug()) /* PoCL ignores flags that are not for SVM */
		CHECK(!clSVMAlloc(cl.ctx, CL_MEM_USE_HOST_PTR, 64, 0));
	CHECK(!clSVMAlloc(cl.ctx, CL_MEM_READ_WRITE | CL_MEM_SVM_ATOMICS, 64, 0));
	if (!(c & CL_DEVICE_SVM_FINE_GRAIN_BUFFER))
		CHECK(!clSVMAlloc(cl.ctx, CL_MEM_SVM_FINE_GRAIN_BUFFER, 64, 0));
	clSVMFree(cl.ctx, NULL);
	cl_close(&cl);
}

static void test_coarse(void)
{
	cl_uint v = 5, *p;
	cl_program program;
	struct cl cl;
	cl_kernel k;

	caps();
	cl = cl_open(0);
	program = cltest_build(cl.ctx, source, "");
	k = cltest_kernel(program, "add");
	p = alloc(&cl, N * 4);
	map(&cl, p, N * 4);
	for (cl_uint i = 0; i < N; i++)
		p[i] = i;
	unmap(&cl, p);
	CHECK_CL(clSetKernelArgSVMPointer(k, 0, p));
	cltest_arg(k, 1, sizeof(v), &v);
	cltest_launch(cl.q, k, N);
	/* A pointer into the middle. */
	CHECK_CL(clSetKernelArgSVMPointer(k, 0, p + N / 2));
	cltest_launch(cl.q, k, N / 4);
	map(&cl, p, N * 4);
	for (cl_uint i = 0; i < N; i++)
		CHECK_EQ(p[i], i + (i >= N / 2 && i < N / 2 + N / 4 ? 10 : 5));
	unmap(&cl, p);
	CHECK_CL(clFinish(cl.q));
	clSVMFree(cl.ctx, p);
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

static void test_fine(void)
{
	cl_uint v = 9, *p;
	cl_program program;
	struct cl cl;
	cl_kernel k;

	if (!(caps() & CL_DEVICE_SVM_FINE_GRAIN_BUFFER))
		SKIP("no fine-grained buffers");
	cl = cl_open(0);
	program = cltest_build(cl.ctx, source, "");
	k = cltest_kernel(program, "add");
	p = clSVMAlloc(cl.ctx, CL_MEM_READ_WRITE | CL_MEM_SVM_FINE_GRAIN_BUFFER, N * 4, 0);
	CHECK(p);
	CHECK_CL(clSetKernelArgSVMPointer(k, 0, p));
	cltest_arg(k, 1, sizeof(v), &v);
	for (cl_uint round = 0; round < 20; round++) {
		for (cl_uint i = 0; i < N; i++)
			p[i] = i * round;
		cltest_launch(cl.q, k, N);
		CHECK_CL(clFinish(cl.q));
		for (cl_uint i = 0; i < N; i++)
			CHECK_EQ(p[i], i * round + 9);
	}
	clSVMFree(cl.ctx, p);
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

static void test_commands(void)
{
	uint8_t data[N], *p, *q;
	cl_uint pattern = 0x04030201;
	cl_event e;
	struct cl cl;

	caps();
	cl = cl_open(0);
	p = alloc(&cl, N);
	q = alloc(&cl, N);
	cltest_pattern(data, sizeof(data), 1);
	CHECK_CL(clEnqueueSVMMemcpy(cl.q, CL_FALSE, p, data, N, 0, NULL, NULL));
	CHECK_CL(clEnqueueSVMMemcpy(cl.q, CL_FALSE, q + 1, p, N - 1, 0, NULL, &e));
	CHECK_EQ(INFO(cl_command_type, clGetEventInfo, e, CL_EVENT_COMMAND_TYPE),
		 CL_COMMAND_SVM_MEMCPY);
	CHECK_CL(clReleaseEvent(e));
	CHECK_CL(clEnqueueSVMMemFill(cl.q, p, &pattern, 4, N, 0, NULL, &e));
	CHECK_EQ(INFO(cl_command_type, clGetEventInfo, e, CL_EVENT_COMMAND_TYPE),
		 CL_COMMAND_SVM_MEMFILL);
	CHECK_CL(clReleaseEvent(e));
	map(&cl, q, N);
	CHECK_BYTES(q + 1, data, N - 1);
	unmap(&cl, q);
	CHECK_CL(clEnqueueSVMMemcpy(cl.q, CL_TRUE, data, p, N, 0, NULL, NULL));
	for (int i = 0; i < N; i++)
		CHECK_EQ(data[i], i % 4 + 1);
	CHECK_CL(clEnqueueSVMMigrateMem(cl.q, 1, (const void **)&p, NULL, 0, 0, NULL, &e));
	CHECK_CL(clWaitForEvents(1, &e));
	CHECK_CL(clReleaseEvent(e));
	CHECK_CL(clFinish(cl.q));
	clSVMFree(cl.ctx, p);
	clSVMFree(cl.ctx, q);
	cl_close(&cl);
}

static void test_command_errors(void)
{
	uint8_t data[64] = {0}, *p;
	void *null = NULL;
	struct cl cl;

	caps();
	cl = cl_open(0);
	p = alloc(&cl, 256);
	CHECK_ERR(clEnqueueSVMMemcpy(NULL, CL_TRUE, p, data, 64, 0, NULL, NULL),
		  CL_INVALID_COMMAND_QUEUE);
	CHECK_ERR(clEnqueueSVMMemcpy(cl.q, CL_TRUE, NULL, data, 64, 0, NULL, NULL),
		  CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueSVMMemcpy(cl.q, CL_TRUE, p, NULL, 64, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueSVMMemcpy(cl.q, CL_TRUE, p, p + 32, 64, 0, NULL, NULL),
		  CL_MEM_COPY_OVERLAP);
	if (!native_bug()) /* PoCL does not look at the wait list */
		CHECK_ERR(clEnqueueSVMMemcpy(cl.q, CL_TRUE, p, data, 64, 1, NULL, NULL),
			  CL_INVALID_EVENT_WAIT_LIST);
	CHECK_ERR(clEnqueueSVMMemFill(cl.q, NULL, data, 4, 64, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueSVMMemFill(cl.q, p, data, 3, 66, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueSVMMemFill(cl.q, p, data, 4, 66, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueSVMMap(cl.q, CL_TRUE, CL_MAP_READ, NULL, 64, 0, NULL, NULL),
		  CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueSVMMap(cl.q, CL_TRUE, CL_MAP_READ, p, 0, 0, NULL, NULL),
		  CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueSVMUnmap(cl.q, NULL, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueSVMFree(cl.q, 0, &null, NULL, NULL, 0, NULL, NULL), CL_INVALID_VALUE);
	if (!native_bug()) { /* PoCL follows the NULL */
		CHECK_ERR(clEnqueueSVMMemFill(cl.q, p, NULL, 4, 64, 0, NULL, NULL),
			  CL_INVALID_VALUE);
		CHECK_ERR(clEnqueueSVMFree(cl.q, 1, NULL, NULL, NULL, 0, NULL, NULL),
			  CL_INVALID_VALUE);
	}
	CHECK_ERR(clSetKernelArgSVMPointer(NULL, 0, p), CL_INVALID_KERNEL);
	clSVMFree(cl.ctx, p);
	cl_close(&cl);
}

struct freed {
	atomic_int calls;
	void *list[4];
	cl_uint n;
	cl_command_queue q;
	cl_context ctx;
};

static void CL_CALLBACK on_free(cl_command_queue q, cl_uint n, void *list[], void *user)
{
	struct freed *f = user;

	f->q = q;
	f->n = n;
	for (cl_uint i = 0; i < n && i < 4; i++) {
		f->list[i] = list[i];
		clSVMFree(f->ctx, list[i]);
	}
	atomic_fetch_add(&f->calls, 1);
}

static void test_enqueue_free(void)
{
	struct freed f = {0};
	void *p[3];
	cl_event e;
	struct cl cl;

	caps();
	cl = cl_open(0);
	f.ctx = cl.ctx;
	for (int i = 0; i < 3; i++)
		p[i] = alloc(&cl, 4096);
	CHECK_CL(clEnqueueSVMMemFill(cl.q, p[0], "x", 1, 4096, 0, NULL, NULL));
	CHECK_CL(clEnqueueSVMFree(cl.q, 3, p, on_free, &f, 0, NULL, &e));
	CHECK_CL(clWaitForEvents(1, &e));
	cltest_await(&f.calls, 1);
	CHECK(f.q == cl.q);
	CHECK_EQ(f.n, 3);
	CHECK(!memcmp(f.list, p, sizeof(p)));
	CHECK_EQ(INFO(cl_command_type, clGetEventInfo, e, CL_EVENT_COMMAND_TYPE),
		 CL_COMMAND_SVM_FREE);
	CHECK_CL(clReleaseEvent(e));
	for (int i = 0; i < 2; i++)
		p[i] = alloc(&cl, 4096);
	CHECK_CL(clEnqueueSVMFree(cl.q, 2, p, NULL, NULL, 0, NULL, NULL));
	CHECK_CL(clFinish(cl.q));
	cl_close(&cl);
}

struct node {
	struct node *next;
	cl_uint value, pad;
};

/* A list linked by pointers, in as many allocations, declared by the kernel's exec info. */
static void test_pointer_chain(void)
{
	enum { COUNT = 20 };
	struct node *nodes[COUNT];
	cl_uint *sum, expected = 0;
	cl_program program;
	cl_kernel k, clone;
	struct cl cl;

	caps();
	cl = cl_open(0);
	program = cltest_build(cl.ctx, source, "");
	k = cltest_kernel(program, "walk");
	sum = alloc(&cl, 4);
	for (int i = 0; i < COUNT; i++)
		nodes[i] = alloc(&cl, sizeof(struct node));
	for (cl_uint i = 0; i < COUNT; i++) {
		map(&cl, nodes[i], sizeof(struct node));
		nodes[i]->next = i + 1 < COUNT ? nodes[i + 1] : NULL;
		nodes[i]->value = i * i + 1;
		expected += i * i + 1;
		unmap(&cl, nodes[i]);
	}
	CHECK_CL(clSetKernelArgSVMPointer(k, 0, nodes[0]));
	CHECK_CL(clSetKernelArgSVMPointer(k, 1, sum));
	CHECK_CL(clSetKernelExecInfo(k, CL_KERNEL_EXEC_INFO_SVM_PTRS, sizeof(nodes), nodes));
	cltest_launch(cl.q, k, 1);
	map(&cl, sum, 4);
	CHECK_EQ(*sum, expected);
	unmap(&cl, sum);
	/* A clone has the SVM arguments and the exec info too. */
	clone = MUST(clCloneKernel(k, &ERR));
	CHECK_CL(clReleaseKernel(k));
	cltest_launch(cl.q, clone, 1);
	map(&cl, sum, 4);
	CHECK_EQ(*sum, expected * 2);
	unmap(&cl, sum);
	CHECK_ERR(clSetKernelExecInfo(NULL, CL_KERNEL_EXEC_INFO_SVM_PTRS, sizeof(nodes), nodes),
		  CL_INVALID_KERNEL);
	if (!native_bug()) { /* PoCL looks at nothing here */
		CHECK_ERR(
		    clSetKernelExecInfo(clone, CL_KERNEL_EXEC_INFO_SVM_PTRS, sizeof(nodes), NULL),
		    CL_INVALID_VALUE);
		CHECK_ERR(clSetKernelExecInfo(clone, CL_KERNEL_EXEC_INFO_SVM_PTRS, 0, nodes),
			  CL_INVALID_VALUE);
		CHECK_ERR(clSetKernelExecInfo(clone, 0x7777, sizeof(nodes), nodes),
			  CL_INVALID_VALUE);
		/* taken back */
		CHECK_CL(clSetKernelExecInfo(clone, CL_KERNEL_EXEC_INFO_SVM_PTRS, 0, NULL));
	}
	CHECK_CL(clFinish(cl.q));
	for (int i = 0; i < COUNT; i++)
		clSVMFree(cl.ctx, nodes[i]);
	clSVMFree(cl.ctx, sum);
	CHECK_CL(clReleaseKernel(clone));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

/* Freed by the application as soon as the queue has finished, many times over. */
static void test_churn(void)
{
	cl_uint pattern = 0, out;
	struct cl cl;

	caps();
	cl = cl_open(0);
	for (cl_uint i = 0; i < 1000; i++) {
		cl_uint *p = alloc(&cl, 4096 + i * 64);

		pattern = i;
		CHECK_CL(clEnqueueSVMMemFill(cl.q, p, &pattern, 4, 4096, 0, NULL, NULL));
		CHECK_CL(clEnqueueSVMMemcpy(cl.q, CL_TRUE, &out, p + 1023, 4, 0, NULL, NULL));
		CHECK_EQ(out, i);
		clSVMFree(cl.ctx, p);
	}
	cl_close(&cl);
}

/* A buffer made over SVM memory says so and shares it. */
static void test_buffer_over_svm(void)
{
	cl_uint *p, v = 4, out;
	struct cl cl;
	cl_mem b;

	caps();
	cl = cl_open(0);
	p = alloc(&cl, 4096);
	b = cltest_buffer(cl.ctx, CL_MEM_USE_HOST_PTR, 4096, p);
	CHECK_EQ(INFO(cl_bool, clGetMemObjectInfo, b, CL_MEM_USES_SVM_POINTER), CL_TRUE);
	CHECK_CL(clEnqueueFillBuffer(cl.q, b, &v, 4, 0, 4096, 0, NULL, NULL));
	CHECK_CL(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 4092, 4, &out, 0, NULL, NULL));
	CHECK_EQ(out, 4);
	CHECK_CL(clReleaseMemObject(b));
	CREATE_ERR(clCreateBuffer(cl.ctx, CL_MEM_USE_HOST_PTR, 4097, p, &ERR),
		   CL_INVALID_BUFFER_SIZE);
	b = cltest_buffer(cl.ctx, CL_MEM_USE_HOST_PTR, 2048, p + 512);
	CHECK_CL(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 2044, 4, &out, 0, NULL, NULL));
	CHECK_EQ(out, 4);
	CHECK_CL(clReleaseMemObject(b));
	clSVMFree(cl.ctx, p);
	cl_close(&cl);
}

static const struct cltest tests[] = {
    TEST(alloc),	 TEST(coarse),	       TEST(fine),
    TEST(commands),	 TEST(command_errors), TEST(enqueue_free),
    TEST(pointer_chain), TEST(churn),	       TEST(buffer_over_svm),
};

CLTEST_MAIN(tests)
