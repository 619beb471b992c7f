/* SPDX-License-Identifier: Apache-2.0
 *
 * Images on a discrete OpenCL device: every type with pitches of the arena that are not the
 * device's, kernels that read and write them, samplers.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "devices/test_discrete.h"

enum { W = 30, H = 20, D = 5, ROW = 256, SLICE = ROW * 24 };

static const char source[] =
    "kernel void invert(read_only image2d_t in, write_only image2d_t out, sampler_t s) {\n"
    "	int2 at = (int2)(get_global_id(0), get_global_id(1));\n"
    "	write_imageui(out, at, 255 - read_imageui(in, s, at)); }\n"
    "kernel void volume(read_only image3d_t in, global uint4 *out, sampler_t s) {\n"
    "	int4 at = (int4)(get_global_id(0), get_global_id(1), get_global_id(2), 0);\n"
    "	out[(at.z * get_image_height(in) + at.y) * get_image_width(in) + at.x] =\n"
    "		read_imageui(in, s, at) + (uint4)get_image_depth(in); }\n"
    "kernel void line(read_only image1d_t in, write_only image1d_t out, sampler_t s) {\n"
    "	int at = get_global_id(0);\n"
    "	write_imageui(out, get_image_width(in) - 1 - at, read_imageui(in, s, at)); }\n"
    "kernel void lines(read_only image1d_array_t in, write_only image1d_array_t out,\n"
    "		sampler_t s) {\n"
    "	int2 at = (int2)(get_global_id(0), get_global_id(1));\n"
    "	write_imageui(out, at, read_imageui(in, s, (int2)(at.x, get_image_array_size(in) - 1\n"
    "		- at.y))); }\n"
    "kernel void layers(read_only image2d_array_t in, write_only image2d_array_t out,\n"
    "		sampler_t s) {\n"
    "	int4 at = (int4)(get_global_id(0), get_global_id(1), get_global_id(2), 0);\n"
    "	int4 from = at; from.z = get_image_array_size(in) - 1 - at.z;\n"
    "	write_imageui(out, at, read_imageui(in, s, from)); }\n"
    "kernel void texels(read_only image1d_buffer_t in, global uint4 *out) {\n"
    "	int at = get_global_id(0); out[at] = read_imageui(in, at); }\n"
    "kernel void fetch(read_only image2d_t in, global const float2 *where, sampler_t s,\n"
    "		global float4 *out) {\n"
    "	size_t i = get_global_id(0); out[i] = read_imagef(in, s, where[i]); }\n";

static struct arax_device_program *program;

static struct arax_mem_desc shape(uint32_t type, uint64_t flags)
{
	struct arax_mem_desc desc = {
	    .type = type,
	    .flags = flags,
	    .channel_order = CL_RGBA,
	    .channel_type = CL_UNSIGNED_INT8,
	    .width = W,
	    .height = 1,
	    .depth = 1,
	    .array_size = 1,
	    .row_pitch = ROW,
	    .slice_pitch = ROW,
	    .size = ROW,
	};
	if (type == CL_MEM_OBJECT_IMAGE2D || type == CL_MEM_OBJECT_IMAGE2D_ARRAY ||
	    type == CL_MEM_OBJECT_IMAGE3D) {
		desc.height = H;
		desc.size = desc.slice_pitch = SLICE;
	}
	if (type == CL_MEM_OBJECT_IMAGE3D)
		desc.depth = D;
	if (type == CL_MEM_OBJECT_IMAGE2D_ARRAY || type == CL_MEM_OBJECT_IMAGE1D_ARRAY)
		desc.array_size = D;
	desc.size *= desc.depth * desc.array_size;
	return desc;
}

static struct test_buffer image_new(const struct arax_mem_desc *desc)
{
	struct test_buffer image = {.host = test_arena(desc->size), .size = desc->size};
	CHECK(!OPS->mem_new(&test_dev, desc, &image.mem));
	return image;
}

static struct arax_device_sampler *sampler_new(uint32_t normalized, uint32_t addressing,
					       uint32_t filter)
{
	struct arax_device_sampler *sampler;
	CHECK(!OPS->sampler_new(&test_dev, normalized, addressing, filter, &sampler));
	return sampler;
}

static unsigned char *texel(const struct test_buffer *image, unsigned x, unsigned y, unsigned z,
			    uint64_t slice)
{
	return (unsigned char *)image->host + z * slice + y * ROW + 4 * (size_t)x;
}

static void fill(const struct test_buffer *image, unsigned seed)
{
	uint64_t state = seed;
	for (size_t i = 0; i < image->size; i++)
		((unsigned char *)image->host)[i] = (unsigned char)test_random(&state);
}

/* An image comes back as it was sent, and what lies between its rows stays as it is. */
static void test_round_trips(void)
{
	for (uint32_t type = CL_MEM_OBJECT_IMAGE2D; type <= CL_MEM_OBJECT_IMAGE1D_BUFFER; type++) {
		const struct arax_mem_desc desc = shape(type, CL_MEM_READ_ONLY);
		struct test_buffer image = image_new(&desc);
		unsigned char before[SLICE * D];
		bool bytes = type == CL_MEM_OBJECT_IMAGE1D_BUFFER;
		fill(&image, type);
		memcpy(before, image.host, image.size);
		PUT(image);
		memset(image.host, 0xee, image.size);
		GET(image);
		for (size_t i = 0; i < image.size; i++) {
			bool padding =
			    i % ROW >= 4 * W || (desc.height > 1 && i % SLICE / ROW >= H);
			unsigned char want = padding && !bytes ? 0xee : before[i];
			unsigned char got = ((unsigned char *)image.host)[i];
			/* A library may hold an image1d_buffer as lines or as bytes. */
			CHECK(got == want || (bytes && padding && got == 0xee));
		}
		test_buffer_free(&image);
	}
}

static void test_plane(struct arax_device_sampler *sampler)
{
	const struct arax_mem_desc from = shape(CL_MEM_OBJECT_IMAGE2D, CL_MEM_READ_ONLY),
				   to = shape(CL_MEM_OBJECT_IMAGE2D, CL_MEM_WRITE_ONLY);
	struct test_buffer in = image_new(&from), out = image_new(&to);
	fill(&in, 3);
	PUT(in);
	const struct arax_launch_arg args[] = {
	    MEM(in), MEM(out), {.kind = ARAX_ARG_SAMPLER, .sampler = sampler}};
	RUN(program, "invert", (&(struct test_range){2, {W, H, 1}, {15, 2, 0}, {0}}), args);
	GET(out);
	for (unsigned y = 0; y < H; y++)
		for (unsigned i = 0; i < 4 * W; i++)
			CHECK(texel(&out, 0, y, 0, 0)[i] == 255 - texel(&in, 0, y, 0, 0)[i]);
	test_buffer_free(&in);
	test_buffer_free(&out);
}

static void test_volume(struct arax_device_sampler *sampler)
{
	const struct arax_mem_desc desc = shape(CL_MEM_OBJECT_IMAGE3D, CL_MEM_READ_ONLY);
	struct test_buffer in = image_new(&desc), out = test_buffer_new(16 * W * H * D);
	fill(&in, 4);
	PUT(in);
	const struct arax_launch_arg args[] = {
	    MEM(in), MEM(out), {.kind = ARAX_ARG_SAMPLER, .sampler = sampler}};
	RUN(program, "volume", (&(struct test_range){3, {W, H, D}, {5, 4, 1}, {0}}), args);
	GET(out);
	const uint32_t *got = out.host;
	for (unsigned z = 0; z < D; z++)
		for (unsigned y = 0; y < H; y++)
			for (unsigned i = 0; i < 4 * W; i++)
				CHECK(*got++ == texel(&in, 0, y, z, SLICE)[i] + (uint32_t)D);
	test_buffer_free(&in);
	test_buffer_free(&out);
}

static void test_lines(struct arax_device_sampler *sampler)
{
	const struct arax_mem_desc one = shape(CL_MEM_OBJECT_IMAGE1D, CL_MEM_READ_WRITE),
				   many = shape(CL_MEM_OBJECT_IMAGE1D_ARRAY, CL_MEM_READ_WRITE);
	struct test_buffer in = image_new(&one), out = image_new(&one);
	fill(&in, 5);
	PUT(in);
	const struct arax_launch_arg args[] = {
	    MEM(in), MEM(out), {.kind = ARAX_ARG_SAMPLER, .sampler = sampler}};
	RUN(program, "line", RANGE1(W, 10), args);
	GET(out);
	for (unsigned x = 0; x < W; x++)
		CHECK(!memcmp(texel(&out, W - 1 - x, 0, 0, 0), texel(&in, x, 0, 0, 0), 4));
	test_buffer_free(&in);
	test_buffer_free(&out);
	in = image_new(&many);
	out = image_new(&many);
	fill(&in, 6);
	PUT(in);
	const struct arax_launch_arg arrays[] = {
	    MEM(in), MEM(out), {.kind = ARAX_ARG_SAMPLER, .sampler = sampler}};
	RUN(program, "lines", (&(struct test_range){2, {W, D, 1}, {10, 1, 0}, {0}}), arrays);
	GET(out);
	for (unsigned y = 0; y < D; y++)
		CHECK(!memcmp(texel(&out, 0, D - 1 - y, 0, 0), texel(&in, 0, y, 0, 0), 4 * W));
	test_buffer_free(&in);
	test_buffer_free(&out);
}

static void test_layers(struct arax_device_sampler *sampler)
{
	const struct arax_mem_desc desc = shape(CL_MEM_OBJECT_IMAGE2D_ARRAY, CL_MEM_READ_WRITE);
	struct test_buffer in = image_new(&desc), out = image_new(&desc);
	fill(&in, 7);
	PUT(in);
	const struct arax_launch_arg args[] = {
	    MEM(in), MEM(out), {.kind = ARAX_ARG_SAMPLER, .sampler = sampler}};
	RUN(program, "layers", (&(struct test_range){3, {W, H, D}, {5, 4, 1}, {0}}), args);
	GET(out);
	for (unsigned z = 0; z < D; z++)
		for (unsigned y = 0; y < H; y++)
			CHECK(!memcmp(texel(&out, 0, y, D - 1 - z, SLICE),
				      texel(&in, 0, y, z, SLICE), 4 * W));
	test_buffer_free(&in);
	test_buffer_free(&out);
}

static void test_texels(void)
{
	const struct arax_mem_desc desc = shape(CL_MEM_OBJECT_IMAGE1D_BUFFER, CL_MEM_READ_ONLY);
	struct test_buffer in = image_new(&desc), out = test_buffer_new(16 * W);
	fill(&in, 8);
	PUT(in);
	const struct arax_launch_arg args[] = {MEM(in), MEM(out)};
	RUN(program, "texels", RANGE1(W, 10), args);
	GET(out);
	for (unsigned i = 0; i < 4 * W; i++)
		CHECK(((const uint32_t *)out.host)[i] == texel(&in, 0, 0, 0, 0)[i]);
	test_buffer_free(&in);
	test_buffer_free(&out);
}

/* Filters and what lies outside, on a small float image whose values tell their place. */
static void test_samplers(void)
{
	enum { SIDE = 4 };
	static const float places[][2] = {{0.5f, 0.5f}, {2.5f, 3.5f}, {-1.5f, 1.5f},
					  {5.5f, 2.5f}, {1.0f, 2.5f}, {2.5f, 2.0f}};
	struct arax_mem_desc desc = shape(CL_MEM_OBJECT_IMAGE2D, CL_MEM_READ_ONLY);
	desc.channel_type = CL_FLOAT;
	desc.width = desc.height = SIDE;
	desc.size = SIDE * ROW;
	struct test_buffer in = image_new(&desc), where = test_buffer_new(sizeof(places)),
			   out = test_buffer_new(16 * 6);
	for (unsigned y = 0; y < SIDE; y++)
		for (unsigned x = 0; x < 4 * SIDE; x++)
			((float *)(void *)texel(&in, 0, y, 0, 0))[x] = (float)(x / 4 + 10 * y + 1);
	PUT(in);
	static const struct {
		uint32_t normalized, addressing, filter;
		float want[6];
	} samplers[] = {
	    {0, CL_ADDRESS_CLAMP_TO_EDGE, CL_FILTER_NEAREST, {1, 33, 11, 24, 22, 23}},
	    {0, CL_ADDRESS_CLAMP, CL_FILTER_NEAREST, {1, 33, 0, 0, 22, 23}},
	    {0, CL_ADDRESS_CLAMP_TO_EDGE, CL_FILTER_LINEAR, {1, 33, 11, 24, 21.5f, 18}},
	    {1, CL_ADDRESS_REPEAT, CL_FILTER_NEAREST, {1, 33, 13, 22, 22, 23}},
	    {1, CL_ADDRESS_MIRRORED_REPEAT, CL_FILTER_NEAREST, {1, 33, 12, 23, 22, 23}},
	};
	for (size_t i = 0; i < sizeof(samplers) / sizeof(samplers[0]); i++) {
		struct arax_device_sampler *sampler =
		    sampler_new(samplers[i].normalized, samplers[i].addressing, samplers[i].filter);
		float scale = samplers[i].normalized ? 1.0f / SIDE : 1.0f;
		for (unsigned k = 0; k < 12; k++)
			((float *)where.host)[k] = places[k / 2][k % 2] * scale;
		PUT(where);
		const struct arax_launch_arg args[] = {
		    MEM(in), MEM(where), {.kind = ARAX_ARG_SAMPLER, .sampler = sampler}, MEM(out)};
		RUN(program, "fetch", RANGE1(6, 1), args);
		GET(out);
		for (unsigned k = 0; k < 6; k++) {
			float got = ((const float *)out.host)[4 * k];
			if (fabsf(got - samplers[i].want[k]) > 0.01f)
				fprintf(stderr, "sampler %zu, place %u: %g\n", i, k, (double)got);
			CHECK(fabsf(got - samplers[i].want[k]) <= 0.01f);
		}
		OPS->sampler_free(&test_dev, sampler);
	}
	test_buffer_free(&in);
	test_buffer_free(&where);
	test_buffer_free(&out);
}

static void test_refusals(void)
{
	struct arax_mem_desc desc = shape(CL_MEM_OBJECT_IMAGE2D, CL_MEM_READ_ONLY);
	struct arax_device_mem *none = NULL;
	desc.channel_order = 0x7777;
	int err = OPS->mem_new(&test_dev, &desc, &none);
	CHECK(err < 0 && !none);
	desc = shape(CL_MEM_OBJECT_IMAGE2D, CL_MEM_READ_ONLY);
	struct test_buffer image = image_new(&desc);
	const struct arax_transfer part = {ARAX_TO_DEVICE, image.mem, 0,   ROW,
					   image.host,	   test_done, NULL};
	CHECK(OPS->transfer(&test_dev, test_streams[0], &part) == CL_INVALID_VALUE);
	test_buffer_free(&image);
}

void test_images(void)
{
	struct arax_writer request;
	if (!(test_dev.caps.features & ARAX_FEATURE_IMAGES)) {
		printf("no images\n");
		return;
	}
	program = test_program(source, "", NULL, 0, &request);
	struct arax_device_sampler *sampler =
	    sampler_new(0, CL_ADDRESS_CLAMP_TO_EDGE, CL_FILTER_NEAREST);
	test_round_trips();
	test_plane(sampler);
	test_volume(sampler);
	test_lines(sampler);
	test_layers(sampler);
	test_texels();
	test_samplers();
	test_refusals();
	OPS->sampler_free(&test_dev, sampler);
	OPS->program_free(&test_dev, program);
	arax_writer_free(&request);
	test_arena_reset();
}
