/* SPDX-License-Identifier: Apache-2.0
 *
 * The back end on the real PoCL: a program that another process compiled is loaded on both devices,
 * buffers and images lie in a memfd, launches alternate between the devices, and the data is looked
 * at through a second mapping, as a client would see it.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "devices/opencl_internal.h"
#include "devices/test_pocl.h"
#include "transport/protocol.h"
#include "transport/testing.h"
#include "transport/wake.h"

static const char source[] =
    "kernel void null(void) {}\n"
    "kernel void add(global int *a, int n) { a[get_global_id(0)] += n; }\n"
    "kernel void isnull(global int *a, global int *out) { out[0] = a == 0; }\n"
    "kernel void sum(global int *a, local int *tmp, global int *out) {\n"
    "	size_t l = get_local_id(0), n = get_local_size(0);\n"
    "	tmp[l] = a[get_global_id(0)]; barrier(CLK_LOCAL_MEM_FENCE);\n"
    "	if (l == 0) { int s = 0; for (size_t i = 0; i < n; i++) s += tmp[i];\n"
    "		out[get_group_id(0)] = s; } }\n"
    "kernel void invert(read_only image2d_t in, write_only image2d_t out, sampler_t s) {\n"
    "	int2 at = (int2)(get_global_id(0), get_global_id(1));\n"
    "	write_imageui(out, at, 255 - read_imageui(in, s, at)); }\n"
    "kernel void line(write_only image1d_buffer_t out) {\n"
    "	int at = get_global_id(0); write_imageui(out, at, (uint4)(at, 0, 0, 1)); }\n"
    "kernel void work(global int *a, int n) { int v = a[get_global_id(0)];\n"
    "	for (int i = 0; i < n; i++) v = v * 1664525 + 1013904223; a[get_global_id(0)] = v; }\n";

#define SIZE (4u << 20)
static struct arax_device devices[2];
static struct arax_device_program *programs[2];
static struct arax_device_stream *streams[2];
static char *memory, *view; /* the same pages, twice */

static atomic_int ended;
static atomic_int outcome;

static void done(void *arg, int status, uint64_t start_ns, uint64_t end_ns)
{
	(void)arg;
	if (status || end_ns < start_ns)
		atomic_store(&outcome, status ? status : 1);
	atomic_fetch_add(&ended, 1);
}

static void wait_ended(int n)
{
	uint64_t deadline = arax_now_ns() + 20000000000ull;
	while (atomic_load(&ended) < n)
		CHECK(arax_now_ns() < deadline);
	CHECK(atomic_load(&outcome) == 0);
}

static struct arax_device_kernel *kernel_new(unsigned d, const char *name)
{
	struct arax_device_kernel *kernel;
	CHECK(!devices[d].ops->kernel_new(&devices[d], programs[d], name, &kernel));
	return kernel;
}

static void kernel_free(unsigned d, struct arax_device_kernel *kernel)
{
	devices[d].ops->kernel_free(&devices[d], kernel);
}

static struct arax_device_mem *buffer_new(unsigned d, size_t offset, size_t size)
{
	struct arax_device_mem *mem;
	const struct arax_mem_desc desc = {
	    .type = CL_MEM_OBJECT_BUFFER, .data = memory + offset, .size = size};
	CHECK(!devices[d].ops->mem_new(&devices[d], &desc, &mem));
	return mem;
}

static void mem_free(unsigned d, struct arax_device_mem *mem)
{
	devices[d].ops->mem_free(&devices[d], mem);
}

static int launch(unsigned d, struct arax_device_kernel *kernel, size_t n, size_t local,
		  const struct arax_launch_arg *args, uint32_t nargs)
{
	const struct arax_launch l = {
	    .kernel = kernel,
	    .work_dim = 1,
	    .nargs = nargs,
	    .global = {n, 1, 1},
	    .local = {local, 1, 1},
	    .has_local = local != 0,
	    .args = args,
	    .done = done,
	};
	return devices[d].ops->launch(&devices[d], streams[d], &l);
}

static void test_alternate(void)
{
	const int n = 1024, rounds = 200, three = 3;
	int *home = (int *)(void *)memory;
	const int *seen = (const int *)(void *)view;
	struct arax_device_kernel *add[2];
	struct arax_device_mem *mem[2];
	for (unsigned d = 0; d < 2; d++) {
		add[d] = kernel_new(d, "add");
		mem[d] = buffer_new(d, 0, (size_t)n * 4);
	}
	memset(home, 0, (size_t)n * 4);
	for (int i = 0; i < rounds; i++) {
		const struct arax_launch_arg args[] = {
		    {.kind = ARAX_ARG_MEM, .mem = mem[i % 2]},
		    {.kind = ARAX_ARG_VALUE, .size = 4, .value = &three},
		};
		atomic_store(&ended, 0);
		CHECK(!launch((unsigned)i % 2, add[i % 2], (size_t)n, 64, args, 2));
		/* An inline device has finished already. */
		CHECK(!devices[i % 2].inline_launch || atomic_load(&ended) == 1);
		wait_ended(1);
		for (int j = 0; j < n; j += 97)
			CHECK(seen[j] == 3 * (i + 1));
	}
	for (unsigned d = 0; d < 2; d++) {
		mem_free(d, mem[d]);
		kernel_free(d, add[d]);
	}
}

/* A long kernel with no event: basic must not return before its end. */
static void test_inline_is_synchronous(void)
{
	const int loops = 20000;
	struct arax_device_kernel *work = kernel_new(0, "work");
	struct arax_device_mem *mem = buffer_new(0, 0, 4096);
	int want = 1;
	for (int i = 0; i < loops; i++)
		want = (int)((unsigned)want * 1664525u + 1013904223u);
	for (int i = 0; i < 1024; i++)
		((int *)(void *)memory)[i] = 1;
	const struct arax_launch_arg args[] = {
	    {.kind = ARAX_ARG_MEM, .mem = mem},
	    {.kind = ARAX_ARG_VALUE, .size = 4, .value = &loops},
	};
	atomic_store(&ended, 0);
	CHECK(devices[0].inline_launch);
	CHECK(!launch(0, work, 1024, 64, args, 2));
	CHECK(atomic_load(&ended) == 1);
	for (int i = 0; i < 1024; i++)
		CHECK(((const int *)(const void *)view)[i] == want);
	mem_free(0, mem);
	kernel_free(0, work);
}

static void test_null_and_local(unsigned d)
{
	struct arax_device_mem *in = buffer_new(d, 0, 4096), *out = buffer_new(d, 4096, 4096);
	const int *seen = (const int *)(void *)(view + 4096);
	const struct arax_launch_arg nulls[] = {{.kind = ARAX_ARG_MEM},
						{.kind = ARAX_ARG_MEM, .mem = out}};
	const struct arax_launch_arg sums[] = {{.kind = ARAX_ARG_MEM, .mem = in},
					       {.kind = ARAX_ARG_LOCAL, .size = 64 * 4},
					       {.kind = ARAX_ARG_MEM, .mem = out}};
	struct arax_device_kernel *isnull = kernel_new(d, "isnull"), *sum = kernel_new(d, "sum");
	memset(memory + 4096, 0, 4096);
	for (int i = 0; i < 1024; i++)
		((int *)(void *)memory)[i] = i;
	atomic_store(&ended, 0);
	CHECK(!launch(d, isnull, 1, 1, nulls, 2));
	wait_ended(1);
	CHECK(seen[0] == 1);
	CHECK(!launch(d, sum, 1024, 64, sums, 3));
	wait_ended(2);
	for (int g = 0; g < 16; g++)
		CHECK(seen[g] == 64 * (64 * g) + 64 * 63 / 2);
	kernel_free(d, isnull);
	kernel_free(d, sum);
	mem_free(d, in);
	mem_free(d, out);
}

/* Two images with pitches of their own. */
static void test_images(unsigned d)
{
	enum { W = 30, H = 20, PITCH = 256 };
	struct arax_mem_desc desc = {
	    .type = CL_MEM_OBJECT_IMAGE2D,
	    .flags = CL_MEM_READ_ONLY,
	    .data = memory,
	    .size = H * PITCH,
	    .channel_order = CL_RGBA,
	    .channel_type = CL_UNSIGNED_INT8,
	    .width = W,
	    .height = H,
	    .row_pitch = PITCH,
	};
	struct arax_device_mem *in, *out;
	struct arax_device_sampler *sampler;
	CHECK(!devices[d].ops->mem_new(&devices[d], &desc, &in));
	desc.data = memory + 65536;
	desc.flags = CL_MEM_WRITE_ONLY;
	CHECK(!devices[d].ops->mem_new(&devices[d], &desc, &out));
	CHECK(!devices[d].ops->sampler_new(&devices[d], 0, CL_ADDRESS_CLAMP, CL_FILTER_NEAREST,
					   &sampler));
	for (int i = 0; i < H * PITCH; i++)
		memory[i] = (char)i;
	const struct arax_launch_arg args[] = {{.kind = ARAX_ARG_MEM, .mem = in},
					       {.kind = ARAX_ARG_MEM, .mem = out},
					       {.kind = ARAX_ARG_SAMPLER, .sampler = sampler}};
	const struct arax_launch l = {
	    .kernel = kernel_new(d, "invert"),
	    .work_dim = 2,
	    .nargs = 3,
	    .global = {W, H, 1},
	    .local = {W / 2, 1, 1},
	    .has_local = true,
	    .args = args,
	    .done = done,
	};
	atomic_store(&ended, 0);
	CHECK(!devices[d].ops->launch(&devices[d], streams[d], &l));
	wait_ended(1);
	for (int y = 0; y < H; y++) {
		for (int x = 0; x < 4 * W; x++) {
			int at = y * PITCH + x;
			CHECK((unsigned char)view[65536 + at] == 255 - (unsigned char)memory[at]);
		}
	}
	kernel_free(d, l.kernel);
	devices[d].ops->sampler_free(&devices[d], sampler);
	mem_free(d, in);
	mem_free(d, out);
}

/* The kernel's only memory object is an image1d_buffer, which crashes PoCL if passed as such. */
static void test_image_buffer(unsigned d)
{
	enum { W = 256 };
	const struct arax_mem_desc desc = {
	    .type = CL_MEM_OBJECT_IMAGE1D_BUFFER,
	    .data = memory,
	    .size = W * 16,
	    .channel_order = CL_RGBA,
	    .channel_type = CL_UNSIGNED_INT32,
	    .width = W,
	};
	struct arax_device_mem *out;
	CHECK(!devices[d].ops->mem_new(&devices[d], &desc, &out));
	const struct arax_launch_arg args[] = {{.kind = ARAX_ARG_MEM, .mem = out}};
	struct arax_device_kernel *line = kernel_new(d, "line");
	memset(memory, 0, W * 16);
	atomic_store(&ended, 0);
	CHECK(!launch(d, line, W, 64, args, 1));
	wait_ended(1);
	for (unsigned i = 0; i < W; i++)
		CHECK(((const unsigned *)(const void *)view)[4 * i] == i);
	kernel_free(d, line);
	mem_free(d, out);
}

static void test_errors(unsigned d)
{
	struct arax_device_kernel *add = kernel_new(d, "add"), *none = NULL;
	struct arax_device_mem *mem = buffer_new(d, 0, 4096);
	const struct arax_launch_arg args[] = {{.kind = ARAX_ARG_MEM, .mem = mem},
					       {.kind = ARAX_ARG_VALUE, .size = 4, .value = "abc"},
					       {.kind = ARAX_ARG_VALUE, .size = 4, .value = "abc"}};
	atomic_store(&ended, 0);
	CHECK(launch(d, add, 1000, 64, args, 2) == CL_INVALID_WORK_GROUP_SIZE);
	CHECK(launch(d, add, 64, 64, args, 3) == CL_INVALID_ARG_INDEX);
	CHECK(devices[d].ops->kernel_new(&devices[d], programs[d], "nothing", &none) ==
	      CL_INVALID_KERNEL_NAME);
	CHECK(atomic_load(&ended) == 0);
	kernel_free(d, add);
	mem_free(d, mem);
}

static void test_describe(void)
{
	struct arax_device_info info;
	CHECK(!devices[1].ops->describe(&devices[1], &info));
	CHECK(info.size == sizeof(info) && info.name[0] && info.compiler[0]);
	CHECK(info.max_group_size == 1024 && info.local_mem_size == 32768);
	CHECK(info.max_alloc_size >= 128u << 20 && info.max_alloc_size <= info.global_mem_size);
	CHECK(strstr(info.extensions, "cl_khr_byte_addressable_store"));
	CHECK(info.images && info.nformats > 4 && info.nformats <= ARAX_FORMATS_MAX);
	printf("%s | %s | %s | %s | %u formats | global %llu alloc %llu\n", info.name,
	       info.compiler, info.extensions, info.c_features, info.nformats,
	       (unsigned long long)info.global_mem_size, (unsigned long long)info.max_alloc_size);
}

/* What a launch costs by itself. Printed, never judged. */
static void measure(unsigned d)
{
	enum { N = 20000 };
	struct arax_device_kernel *null = kernel_new(d, "null");
	atomic_store(&ended, 0);
	uint64_t start = arax_now_ns();
	for (int i = 0; i < N; i++)
		CHECK(!launch(d, null, 1, 1, NULL, 0));
	wait_ended(N);
	printf("%s: %.2f us per null launch of %d\n", devices[d].name,
	       (double)(arax_now_ns() - start) / N / 1000, N);
	kernel_free(d, null);
}

static void set_up(void)
{
	size_t size;
	void *bytes = test_pocl_compile(source, &size);
	struct arax_opencl *opencl;
	const char *error;
	int fd = memfd_create("arena", MFD_CLOEXEC);
	CHECK(fd >= 0 && !ftruncate(fd, SIZE));
	memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	view = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(memory != MAP_FAILED && view != MAP_FAILED);
	CHECK(arax_opencl_open("libpocl.so.2", test_pocl_names, devices, 2, &opencl, &error) == 2);
	struct arax_result *result = arax_result_parse(bytes, size);
	CHECK(result && result->nkernels == 7);
	for (unsigned d = 0; d < 2; d++) {
		uint64_t start = arax_now_ns();
		const struct arax_program_source source = {.result = result};
		CHECK(!devices[d].ops->program_load(&devices[d], &source, &programs[d]));
		printf("%s: loaded in %.1f ms\n", devices[d].name,
		       (double)(arax_now_ns() - start) / 1e6);
		CHECK(!devices[d].ops->stream_new(&devices[d], &streams[d]));
	}
	arax_result_free(result);
	free(bytes);
}

int main(void)
{
	struct arax_device none[2];
	struct arax_opencl *opencl;
	const char *error = NULL;
	alarm(110);
	CHECK(arax_opencl_open("libno-such-thing.so", test_pocl_names, none, 2, &opencl, &error) <
	      0);
	CHECK(error);
	test_pocl_environment();
	set_up();
	test_alternate();
	test_inline_is_synchronous();
	for (unsigned d = 0; d < 2; d++) {
		test_null_and_local(d);
		test_images(d);
		test_image_buffer(d);
		test_errors(d);
	}
	test_describe();
	measure(0);
	measure(1);
	for (unsigned d = 0; d < 2; d++) {
		devices[d].ops->stream_free(&devices[d], streams[d]);
		devices[d].ops->program_free(&devices[d], programs[d]);
	}
	return 0;
}
