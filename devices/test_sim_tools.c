/* SPDX-License-Identifier: Apache-2.0
 *
 * For the tests of the simulated accelerator, see test_sim_tools.h.
 */
#include "devices/test_sim_tools.h"

#include <errno.h>
#include <stdlib.h>

static const char source[] =
    "kernel void null(void) {}\n"
    "kernel void add(global int *a, int n) { a[get_global_id(0)] += n; }\n"
    "kernel void mul(global int *a, int n) { a[get_global_id(0)] *= n; }\n"
    "kernel void isnull(global int *a, global int *out) { out[0] = a == 0; }\n"
    "kernel void sum(global int *a, local int *tmp, global int *out) {\n"
    "	size_t l = get_local_id(0), n = get_local_size(0);\n"
    "	tmp[l] = a[get_global_id(0)]; barrier(CLK_LOCAL_MEM_FENCE);\n"
    "	if (l == 0) { int s = 0; for (size_t i = 0; i < n; i++) s += tmp[i];\n"
    "		out[get_group_id(0)] = s; } }\n"
    "kernel void invert(read_only image2d_t in, write_only image2d_t out, sampler_t s) {\n"
    "	int2 at = (int2)(get_global_id(0), get_global_id(1));\n"
    "	write_imageui(out, at, 255 - read_imageui(in, s, at)); }\n"
    "kernel void blur(read_only image3d_t in, write_only image2d_t out, sampler_t s) {\n"
    "	int2 at = (int2)(get_global_id(0), get_global_id(1));\n"
    "	float4 from = (float4)((at.x + 0.3f) / 9, (at.y + 1.1f) / 7, 0.4f, 0);\n"
    "	write_imagef(out, at, read_imagef(in, s, from)); }\n"
    "kernel void line(write_only image1d_buffer_t out) {\n"
    "	int at = get_global_id(0); write_imageui(out, at, (uint4)(at, 0, 0, 1)); }\n"
    "kernel void work(global int *a, int n) { int v = a[get_global_id(0)];\n"
    "	for (int i = 0; i < n; i++) v = v * 1664525 + 1013904223; a[get_global_id(0)] = v; }\n";

struct arax_result *tools_result;
static void *bytes;

void tools_init(void)
{
	size_t size;
	test_pocl_environment();
	bytes = test_pocl_compile(source, &size);
	tools_result = arax_result_parse(bytes, size);
	CHECK(tools_result);
}

void tools_exit(void)
{
	arax_result_free(tools_result);
	free(bytes);
}

void tools_open(struct sim_test *t, const char *name, const char *options)
{
	const char *error = "";
	const struct arax_program_source from = {.result = tools_result};
	int rc = arax_sim_open(name, options, &t->dev, &error);
	if (rc)
		fprintf(stderr, "%s\n", error);
	CHECK(!rc && !error);
	CHECK(!t->dev.ops->program_load(&t->dev, &from, &t->program));
	CHECK(!t->dev.ops->stream_new(&t->dev, &t->stream));
}

void tools_close(struct sim_test *t)
{
	t->dev.ops->stream_free(&t->dev, t->stream);
	t->dev.ops->program_free(&t->dev, t->program);
	arax_sim_close(&t->dev);
}

struct arax_device_kernel *tools_kernel(struct sim_test *t, const char *name)
{
	struct arax_device_kernel *kernel;
	CHECK(!t->dev.ops->kernel_new(&t->dev, t->program, name, &kernel));
	return kernel;
}

void tools_kernel_free(struct sim_test *t, struct arax_device_kernel *kernel)
{
	t->dev.ops->kernel_free(&t->dev, kernel);
}

struct arax_device_mem *tools_part(struct sim_test *t, struct arax_device_mem *parent,
				   size_t origin, size_t size)
{
	struct arax_device_mem *mem;
	const struct arax_mem_desc desc = {
	    .type = CL_MEM_OBJECT_BUFFER, .size = size, .parent = parent, .origin = origin};
	CHECK(!t->dev.ops->mem_new(&t->dev, &desc, &mem));
	return mem;
}

struct arax_device_mem *tools_buffer(struct sim_test *t, size_t size)
{
	return tools_part(t, NULL, 0, size);
}

void tools_mem_free(struct sim_test *t, struct arax_device_mem *mem)
{
	t->dev.ops->mem_free(&t->dev, mem);
}

void tools_done(void *arg, int status, uint64_t start_ns, uint64_t end_ns)
{
	struct end *end = arg;
	CHECK(end_ns >= start_ns);
	end->status = status;
	end->start_ns = start_ns;
	end->end_ns = end_ns;
	end->told_ns = arax_now_ns();
	atomic_fetch_add(&end->calls, 1);
	CHECK(!sem_post(&end->ended));
}

void tools_end_init(struct end *end)
{
	atomic_init(&end->calls, 0);
	CHECK(!sem_init(&end->ended, 0, 0));
}

int tools_wait(struct end *end)
{
	while (sem_wait(&end->ended))
		CHECK(errno == EINTR);
	return end->status;
}

int tools_copy(struct sim_test *t, struct arax_device_stream *stream, enum arax_direction direction,
	       struct arax_device_mem *mem, size_t offset, size_t size, void *host, struct end *end)
{
	const struct arax_transfer transfer = {
	    .direction = direction,
	    .mem = mem,
	    .offset = offset,
	    .size = size,
	    .host = host,
	    .done = tools_done,
	    .arg = end,
	};
	tools_end_init(end);
	return t->dev.ops->transfer(&t->dev, stream ? stream : t->stream, &transfer);
}

int tools_launch(struct sim_test *t, struct arax_device_stream *stream,
		 struct arax_device_kernel *kernel, size_t n, size_t local,
		 const struct arax_launch_arg *args, uint32_t nargs, struct end *end)
{
	const struct arax_launch launch = {
	    .kernel = kernel,
	    .work_dim = 1,
	    .nargs = nargs,
	    .global = {n, 1, 1},
	    .local = {local, 1, 1},
	    .has_local = local != 0,
	    .args = args,
	    .done = tools_done,
	    .arg = end,
	};
	tools_end_init(end);
	return t->dev.ops->launch(&t->dev, stream ? stream : t->stream, &launch);
}

int tools_apply(struct sim_test *t, struct arax_device_stream *stream,
		struct arax_device_kernel *kernel, struct arax_device_mem *mem, size_t count, int n,
		struct end *end)
{
	const struct arax_launch_arg args[] = {
	    {.kind = ARAX_ARG_MEM, .mem = mem},
	    {.kind = ARAX_ARG_VALUE, .size = sizeof(n), .value = &n},
	};
	return tools_launch(t, stream, kernel, count, 0, args, 2, end);
}

void tools_upload(struct sim_test *t, struct arax_device_mem *mem, size_t offset, size_t size,
		  const void *host)
{
	struct end end;
	CHECK(!tools_copy(t, NULL, ARAX_TO_DEVICE, mem, offset, size, (void *)host, &end));
	CHECK(!tools_wait(&end));
}

void tools_download(struct sim_test *t, struct arax_device_mem *mem, size_t offset, size_t size,
		    void *host)
{
	struct end end;
	CHECK(!tools_copy(t, NULL, ARAX_FROM_DEVICE, mem, offset, size, host, &end));
	CHECK(!tools_wait(&end));
}
