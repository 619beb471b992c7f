/* Images of every kind: transfers, fills, maps, samplers, kernels, infos and errors. */
#include "cltest.h"

static const char source[] =
    "constant sampler_t near = CLK_NORMALIZED_COORDS_FALSE | CLK_ADDRESS_CLAMP |"
    " CLK_FILTER_NEAREST;\n"
    "kernel void invert(read_only image2d_t in, write_only image2d_t out)\n"
    "{ int2 p = (int2)(get_global_id(0), get_global_id(1));\n"
    "  uint4 v = read_imageui(in, near, p); write_imageui(out, p, 255u - v); }\n"
    "kernel void sample(read_only image2d_t in, sampler_t s, global float4 *out, float2 at)\n"
    "{ out[0] = read_imagef(in, s, at); }\n"
    "kernel void ones(read_only image1d_t in, write_only image1d_t out)\n"
    "{ int i = (int)get_global_id(0);\n"
    "  write_imagei(out, i, read_imagei(in, near, i) + 1); }\n"
    "kernel void slices(read_only image2d_array_t in, global uint *out)\n"
    "{ int x = get_global_id(0), y = get_global_id(1), z = get_global_id(2);\n"
    "  uint4 v = read_imageui(in, near, (int4)(x, y, z, 0));\n"
    "  out[(z * get_global_size(1) + y) * get_global_size(0) + x] = v.x + 256u * v.y; }\n"
    "kernel void volume(read_only image3d_t in, global uint *out)\n"
    "{ int x = get_global_id(0), y = get_global_id(1), z = get_global_id(2);\n"
    "  uint4 v = read_imageui(in, near, (int4)(x, y, z, 0));\n"
    "  out[(z * get_global_size(1) + y) * get_global_size(0) + x] = v.x + 256u * v.y; }\n"
    "kernel void from_buffer(read_only image1d_buffer_t in, global uint *out)\n"
    "{ int i = (int)get_global_id(0); out[i] = read_imageui(in, i).x; }\n"
    "kernel void sizes(read_only image2d_t in, global int *out)\n"
    "{ out[0] = get_image_width(in); out[1] = get_image_height(in);\n"
    "  out[2] = get_image_channel_order(in); out[3] = get_image_channel_data_type(in); }\n";

static const cl_image_format rgba8 = {CL_RGBA, CL_UNSIGNED_INT8};
static const size_t origin[3] = {0, 0, 0};

static void need_images(void)
{
	if (!INFO(cl_bool, clGetDeviceInfo, cltest_device, CL_DEVICE_IMAGE_SUPPORT))
		SKIP("no images");
}

static cl_mem image_2d(struct cl *cl, cl_mem_flags flags, const cl_image_format *format,
		       size_t width, size_t height, void *host)
{
	cl_image_desc desc = {
	    .image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = width, .image_height = height};

	return MUST(clCreateImage(cl->ctx, flags, format, &desc, host, &ERR));
}

static void test_supported_formats(void)
{
	static const cl_mem_object_type types[] = {
	    CL_MEM_OBJECT_IMAGE1D,	 CL_MEM_OBJECT_IMAGE2D,	      CL_MEM_OBJECT_IMAGE3D,
	    CL_MEM_OBJECT_IMAGE1D_ARRAY, CL_MEM_OBJECT_IMAGE2D_ARRAY, CL_MEM_OBJECT_IMAGE1D_BUFFER};
	struct cl cl = cl_open(0);
	cl_image_format list[256];
	cl_uint n = 0;

	need_images();
	for (size_t t = 0; t < ARRAY_SIZE(types); t++) {
		bool found = false;

		CHECK_CL(
		    clGetSupportedImageFormats(cl.ctx, CL_MEM_READ_ONLY, types[t], 256, list, &n));
		for (cl_uint i = 0; i < n && i < 256; i++)
			found |= !memcmp(&list[i], &rgba8, sizeof(rgba8));
		CHECK(found);
	}
	CHECK_ERR(clGetSupportedImageFormats(NULL, CL_MEM_READ_ONLY, types[0], 256, list, &n),
		  CL_INVALID_CONTEXT);
	CHECK_ERR(clGetSupportedImageFormats(cl.ctx, CL_MEM_READ_ONLY, 0x7777, 256, list, &n),
		  CL_INVALID_VALUE);
	CHECK_ERR(clGetSupportedImageFormats(cl.ctx, CL_MEM_READ_ONLY, types[0], 0, list, &n),
		  CL_INVALID_VALUE);
	cl_close(&cl);
}

/* Write a part, read parts, with host pitches, for every image type. */
static void test_transfers(void)
{
	static const cl_image_desc kinds[] = {
	    {.image_type = CL_MEM_OBJECT_IMAGE1D, .image_width = 40},
	    {.image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = 19, .image_height = 13},
	    {.image_type = CL_MEM_OBJECT_IMAGE3D,
	     .image_width = 9,
	     .image_height = 7,
	     .image_depth = 5},
	    {.image_type = CL_MEM_OBJECT_IMAGE1D_ARRAY, .image_width = 21, .image_array_size = 6},
	    {.image_type = CL_MEM_OBJECT_IMAGE2D_ARRAY,
	     .image_width = 8,
	     .image_height = 6,
	     .image_array_size = 4},
	};
	struct cl cl = cl_open(0);

	need_images();
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		cl_image_desc d = kinds[i];
		bool array1 = d.image_type == CL_MEM_OBJECT_IMAGE1D_ARRAY;
		size_t w = d.image_width, h = array1 ? d.image_array_size : d.image_height;
		size_t z = d.image_type == CL_MEM_OBJECT_IMAGE2D_ARRAY ? d.image_array_size
								       : d.image_depth;
		size_t whole[3] = {w, h ? h : 1, z ? z : 1}, part[3], at[3];
		size_t n = whole[0] * whole[1] * whole[2] * 4;
		uint8_t *model = malloc(n), *out = malloc(n);
		cl_mem m = MUST(clCreateImage(cl.ctx, 0, &rgba8, &d, NULL, &ERR));

		cltest_pattern(model, n, (uint32_t)i);
		CHECK_CL(clEnqueueWriteImage(cl.q, m, CL_FALSE, origin, whole, 0, 0, model, 0, NULL,
					     NULL));
		CHECK_CL(
		    clEnqueueReadImage(cl.q, m, CL_TRUE, origin, whole, 0, 0, out, 0, NULL, NULL));
		CHECK_BYTES(out, model, n);
		for (int j = 0; j < 3; j++) {
			at[j] = whole[j] > 1 ? 1 : 0;
			part[j] = whole[j] - at[j];
		}
		memset(out, 0, n);
		CHECK_CL(clEnqueueReadImage(cl.q, m, CL_TRUE, at, part, 0, 0, out, 0, NULL, NULL));
		for (size_t c = 0; c < part[2]; c++) {
			for (size_t b = 0; b < part[1]; b++)
				CHECK_BYTES(
				    out + (c * part[1] + b) * part[0] * 4,
				    model + (((c + at[2]) * whole[1] + b + at[1]) * w + at[0]) * 4,
				    part[0] * 4);
		}
		CHECK_CL(clReleaseMemObject(m));
		free(model);
		free(out);
	}
	cl_close(&cl);
}

static void test_row_pitch(void)
{
	enum { W = 10, H = 8, PITCH = 64 };
	struct cl cl = cl_open(0);
	uint8_t in[PITCH * H], out[PITCH * H + 1];
	const size_t region[3] = {W, H, 1};
	cl_mem m;

	need_images();
	m = image_2d(&cl, 0, &rgba8, W, H, NULL);
	cltest_pattern(in, sizeof(in), 5);
	memset(out, 0xcc, sizeof(out));
	CHECK_CL(
	    clEnqueueWriteImage(cl.q, m, CL_TRUE, origin, region, PITCH, 0, in, 0, NULL, NULL));
	CHECK_CL(
	    clEnqueueReadImage(cl.q, m, CL_TRUE, origin, region, PITCH, 0, out, 0, NULL, NULL));
	for (int y = 0; y < H; y++) {
		CHECK_BYTES(out + y * PITCH, in + y * PITCH, W * 4);
		CHECK_EQ(out[y * PITCH + W * 4], 0xcc);
	}
	CHECK_CL(clReleaseMemObject(m));
	cl_close(&cl);
}

static void test_kernel_2d(void)
{
	enum { W = 33, H = 17 };
	struct cl cl = cl_open(0);
	uint8_t in[W * H * 4], out[W * H * 4];
	const size_t region[3] = {W, H, 1};
	cl_program program;
	cl_kernel k;
	cl_mem a, b;

	need_images();
	program = cltest_build(cl.ctx, source, "");
	k = cltest_kernel(program, "invert");
	cltest_pattern(in, sizeof(in), 6);
	a = image_2d(&cl, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, &rgba8, W, H, in);
	b = image_2d(&cl, CL_MEM_WRITE_ONLY, &rgba8, W, H, NULL);
	cltest_arg(k, 0, sizeof(a), &a);
	cltest_arg(k, 1, sizeof(b), &b);
	CHECK_CL(clEnqueueNDRangeKernel(cl.q, k, 2, NULL, region, NULL, 0, NULL, NULL));
	CHECK_CL(clEnqueueReadImage(cl.q, b, CL_TRUE, origin, region, 0, 0, out, 0, NULL, NULL));
	for (size_t i = 0; i < sizeof(in); i++)
		CHECK_EQ(out[i], 255 - in[i]);
	CHECK_CL(clReleaseMemObject(a));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

static void test_kernel_1d(void)
{
	static const cl_image_format r32 = {CL_RGBA, CL_SIGNED_INT32};
	cl_image_desc desc = {.image_type = CL_MEM_OBJECT_IMAGE1D, .image_width = 100};
	struct cl cl = cl_open(0);
	const size_t region[3] = {100, 1, 1};
	cl_int data[400], out[400];
	cl_program program;
	cl_kernel k;
	cl_mem a, b;

	need_images();
	program = cltest_build(cl.ctx, source, "");
	k = cltest_kernel(program, "ones");
	for (int i = 0; i < 400; i++)
		data[i] = i * 1000003 - 1000;
	a = MUST(clCreateImage(cl.ctx, CL_MEM_COPY_HOST_PTR, &r32, &desc, data, &ERR));
	b = MUST(clCreateImage(cl.ctx, 0, &r32, &desc, NULL, &ERR));
	cltest_arg(k, 0, sizeof(a), &a);
	cltest_arg(k, 1, sizeof(b), &b);
	cltest_launch(cl.q, k, 100);
	CHECK_CL(clEnqueueReadImage(cl.q, b, CL_TRUE, origin, region, 0, 0, out, 0, NULL, NULL));
	for (int i = 0; i < 400; i++)
		CHECK_EQ(out[i], data[i] + 1);
	CHECK_CL(clReleaseMemObject(a));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

/* A 2D array and a 3D image read by kernels at every texel. */
static void test_kernel_3d_and_array(void)
{
	enum { W = 7, H = 5, D = 4, N = W * H * D };
	struct cl cl = cl_open(0);
	const size_t region[3] = {W, H, D};
	uint8_t data[N * 4];
	cl_uint out[N];
	cl_program program;
	cl_mem b;

	need_images();
	program = cltest_build(cl.ctx, source, "");
	b = cltest_buffer(cl.ctx, 0, sizeof(out), NULL);
	for (int kind = 0; kind < 2; kind++) {
		cl_kernel k = cltest_kernel(program, kind ? "volume" : "slices");
		cl_image_desc d = {.image_width = W, .image_height = H};
		cl_mem m;

		d.image_type = kind ? CL_MEM_OBJECT_IMAGE3D : CL_MEM_OBJECT_IMAGE2D_ARRAY;
		if (kind)
			d.image_depth = D;
		else
			d.image_array_size = D;
		cltest_pattern(data, sizeof(data), 70u + (uint32_t)kind);
		m = MUST(clCreateImage(cl.ctx, CL_MEM_COPY_HOST_PTR, &rgba8, &d, data, &ERR));
		cltest_arg(k, 0, sizeof(m), &m);
		cltest_arg(k, 1, sizeof(b), &b);
		CHECK_CL(clEnqueueNDRangeKernel(cl.q, k, 3, NULL, region, NULL, 0, NULL, NULL));
		CHECK_CL(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 0, sizeof(out), out, 0, NULL, NULL));
		for (int i = 0; i < N; i++)
			CHECK_EQ(out[i], data[4 * i] + 256 * data[4 * i + 1]);
		CHECK_CL(clReleaseMemObject(m));
		CHECK_CL(clReleaseKernel(k));
	}
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

/* An image over a buffer shares its memory. */
static void test_image_from_buffer(void)
{
	static const cl_image_format r32 = {CL_R, CL_UNSIGNED_INT32};
	struct cl cl = cl_open(0);
	cl_image_desc desc = {.image_type = CL_MEM_OBJECT_IMAGE1D_BUFFER, .image_width = 64};
	cl_uint data[64], out[64];
	cl_program program;
	cl_kernel k;
	cl_mem b, m, o;

	need_images();
	program = cltest_build(cl.ctx, source, "");
	k = cltest_kernel(program, "from_buffer");
	cltest_pattern(data, sizeof(data), 8);
	b = cltest_buffer(cl.ctx, CL_MEM_COPY_HOST_PTR, sizeof(data), data);
	o = cltest_buffer(cl.ctx, 0, sizeof(data), NULL);
	desc.mem_object = b;
	m = MUST(clCreateImage(cl.ctx, 0, &r32, &desc, NULL, &ERR));
	CHECK(INFO(cl_mem, clGetMemObjectInfo, m, CL_MEM_ASSOCIATED_MEMOBJECT) == b);
	CHECK(INFO(cl_mem, clGetImageInfo, m, CL_IMAGE_BUFFER) == b);
	cltest_arg(k, 0, sizeof(m), &m);
	cltest_arg(k, 1, sizeof(o), &o);
	for (int round = 0; round < 3; round++) {
		data[round] = 7777;
		CHECK_CL(
		    clEnqueueWriteBuffer(cl.q, b, CL_FALSE, 0, sizeof(data), data, 0, NULL, NULL));
		cltest_launch(cl.q, k, 64);
		CHECK_CL(clEnqueueReadBuffer(cl.q, o, CL_TRUE, 0, sizeof(out), out, 0, NULL, NULL));
		CHECK_BYTES(out, data, sizeof(out));
	}
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseMemObject(m));
	CHECK_CL(clReleaseMemObject(o));
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

static void test_copy_and_buffers(void)
{
	enum { W = 16, H = 12 };
	struct cl cl = cl_open(0);
	uint8_t x[W * H * 4], y[W * H * 4], out[W * H * 4], flat[1024];
	const size_t from[3] = {2, 3, 0}, to[3] = {5, 1, 0}, part[3] = {8, 7, 1},
		     all[3] = {W, H, 1};
	cl_mem a, b, c;

	need_images();
	cltest_pattern(x, sizeof(x), 1);
	cltest_pattern(y, sizeof(y), 2);
	cltest_pattern(flat, sizeof(flat), 3);
	a = image_2d(&cl, CL_MEM_COPY_HOST_PTR, &rgba8, W, H, x);
	b = image_2d(&cl, CL_MEM_COPY_HOST_PTR, &rgba8, W, H, y);
	c = cltest_buffer(cl.ctx, CL_MEM_COPY_HOST_PTR, sizeof(flat), flat);
	CHECK_CL(clEnqueueCopyImage(cl.q, a, b, from, to, part, 0, NULL, NULL));
	for (size_t r = 0; r < part[1]; r++)
		memcpy(y + ((r + 1) * W + 5) * 4, x + ((r + 3) * W + 2) * 4, part[0] * 4);
	CHECK_CL(clEnqueueReadImage(cl.q, b, CL_TRUE, origin, all, 0, 0, out, 0, NULL, NULL));
	CHECK_BYTES(out, y, sizeof(out));
	CHECK_CL(clEnqueueCopyImageToBuffer(cl.q, b, c, to, part, 100, 0, NULL, NULL));
	for (size_t r = 0; r < part[1]; r++)
		memcpy(flat + 100 + r * part[0] * 4, y + ((r + 1) * W + 5) * 4, part[0] * 4);
	CHECK_CL(clEnqueueReadBuffer(cl.q, c, CL_TRUE, 0, sizeof(out), out, 0, NULL, NULL));
	CHECK_BYTES(out, flat, sizeof(out));
	CHECK_CL(clEnqueueCopyBufferToImage(cl.q, c, a, 60, from, part, 0, NULL, NULL));
	for (size_t r = 0; r < part[1]; r++)
		memcpy(x + ((r + 3) * W + 2) * 4, flat + 60 + r * part[0] * 4, part[0] * 4);
	CHECK_CL(clEnqueueReadImage(cl.q, a, CL_TRUE, origin, all, 0, 0, out, 0, NULL, NULL));
	CHECK_BYTES(out, x, sizeof(out));
	CHECK_CL(clReleaseMemObject(a));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseMemObject(c));
	cl_close(&cl);
}

static void test_fill(void)
{
	enum { W = 11, H = 9 };
	static const cl_image_format float4 = {CL_RGBA, CL_FLOAT}, unorm = {CL_RGBA, CL_UNORM_INT8};
	struct cl cl = cl_open(0);
	const size_t at[3] = {2, 1, 0}, part[3] = {5, 6, 1}, all[3] = {W, H, 1};
	const cl_uint ui[4] = {1, 2, 3, 250};
	const cl_float f[4] = {0.0f, 1.0f, 0.0f, 1.0f};
	uint8_t zero[W * H * 4] = {0}, out[W * H * 4];
	cl_float fzero[W * H * 4] = {0}, fout[W * H * 4];
	cl_mem m;

	need_images();
	m = image_2d(&cl, CL_MEM_COPY_HOST_PTR, &rgba8, W, H, zero);
	CHECK_CL(clEnqueueFillImage(cl.q, m, ui, at, part, 0, NULL, NULL));
	CHECK_CL(clEnqueueReadImage(cl.q, m, CL_TRUE, origin, all, 0, 0, out, 0, NULL, NULL));
	for (size_t i = 0; i < sizeof(out); i++) {
		size_t px = i / 4 % W, py = i / 4 / W;
		bool in = px >= 2 && px < 7 && py >= 1 && py < 7;

		CHECK_EQ(out[i], in ? ui[i % 4] : 0);
	}
	CHECK_CL(clReleaseMemObject(m));
	m = image_2d(&cl, CL_MEM_COPY_HOST_PTR, &unorm, W, H, zero);
	CHECK_CL(clEnqueueFillImage(cl.q, m, f, origin, all, 0, NULL, NULL));
	CHECK_CL(clEnqueueReadImage(cl.q, m, CL_TRUE, origin, all, 0, 0, out, 0, NULL, NULL));
	for (size_t i = 0; i < sizeof(out); i++)
		CHECK_EQ(out[i], i % 2 ? 255 : 0);
	CHECK_CL(clReleaseMemObject(m));
	m = image_2d(&cl, CL_MEM_COPY_HOST_PTR, &float4, W, H, fzero);
	CHECK_CL(clEnqueueFillImage(cl.q, m, f, origin, all, 0, NULL, NULL));
	CHECK_CL(clEnqueueReadImage(cl.q, m, CL_TRUE, origin, all, 0, 0, fout, 0, NULL, NULL));
	for (size_t i = 0; i < W * H * 4; i++)
		CHECK(fout[i] == f[i % 4]);
	CHECK_CL(clReleaseMemObject(m));
	cl_close(&cl);
}

static void test_map(void)
{
	enum { W = 20, H = 10 };
	static const cl_mem_flags kinds[] = {CL_MEM_COPY_HOST_PTR, CL_MEM_USE_HOST_PTR};
	struct cl cl = cl_open(0);
	uint8_t data[W * H * 4], model[W * H * 4], out[W * H * 4], *p;
	const size_t at[3] = {4, 2, 0}, part[3] = {9, 5, 1}, all[3] = {W, H, 1};

	need_images();
	for (int k = 0; k < 2; k++) {
		size_t row = 0, slice = 77;
		cl_mem m;

		cltest_pattern(data, sizeof(data), 4);
		memcpy(model, data, sizeof(model));
		m = image_2d(&cl, kinds[k], &rgba8, W, H, data);
		p = MUST(clEnqueueMapImage(cl.q, m, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, at, part,
					   &row, &slice, 0, NULL, NULL, &ERR));
		CHECK(row >= part[0] * 4);
		CHECK_EQ(slice, 0);
		if (k == 1)
			CHECK(p == data + (2 * W + 4) * 4 && row == W * 4);
		for (size_t r = 0; r < part[1]; r++) {
			size_t o = ((r + 2) * W + 4) * 4;

			CHECK_BYTES(p + r * row, model + o, part[0] * 4);
			memset(p + r * row, (int)r, part[0] * 4);
			memset(model + o, (int)r, part[0] * 4);
		}
		CHECK_CL(clEnqueueUnmapMemObject(cl.q, m, p, 0, NULL, NULL));
		CHECK_CL(
		    clEnqueueReadImage(cl.q, m, CL_TRUE, origin, all, 0, 0, out, 0, NULL, NULL));
		CHECK_BYTES(out, model, sizeof(out));
		CREATE_ERR(clEnqueueMapImage(cl.q, m, CL_TRUE, CL_MAP_READ, at, part, NULL, NULL, 0,
					     NULL, NULL, &ERR),
			   CL_INVALID_VALUE);
		CHECK_CL(clReleaseMemObject(m));
	}
	cl_close(&cl);
}

/* Nearest and linear filtering, and the addressing modes, at chosen coordinates. */
static void test_samplers(void)
{
	static const cl_image_format rgbaf = {CL_RGBA, CL_FLOAT};
	static const struct {
		cl_bool normalized;
		cl_addressing_mode address;
		cl_filter_mode filter;
		float x, y, expected;
	} cases[] = {
	    {CL_FALSE, CL_ADDRESS_CLAMP_TO_EDGE, CL_FILTER_NEAREST, 1.5f, 0.5f, 1},
	    {CL_FALSE, CL_ADDRESS_CLAMP_TO_EDGE, CL_FILTER_NEAREST, 9.0f, 0.5f, 3},
	    {CL_FALSE, CL_ADDRESS_CLAMP_TO_EDGE, CL_FILTER_NEAREST, -5.0f, 1.5f, 10},
	    {CL_FALSE, CL_ADDRESS_CLAMP, CL_FILTER_NEAREST, -5.0f, 1.5f, 0},
	    {CL_FALSE, CL_ADDRESS_CLAMP_TO_EDGE, CL_FILTER_LINEAR, 2.0f, 0.5f, 1.5f},
	    {CL_FALSE, CL_ADDRESS_CLAMP_TO_EDGE, CL_FILTER_LINEAR, 2.0f, 1.0f, 6.5f},
	    {CL_TRUE, CL_ADDRESS_CLAMP_TO_EDGE, CL_FILTER_NEAREST, 0.6f, 0.25f, 2},
	    {CL_TRUE, CL_ADDRESS_REPEAT, CL_FILTER_NEAREST, 1.1f, 0.75f, 10},
	    {CL_TRUE, CL_ADDRESS_MIRRORED_REPEAT, CL_FILTER_NEAREST, 1.1f, 0.25f, 3},
	};
	struct cl cl = cl_open(0);
	float texels[2][4][4];
	cl_program program;
	cl_kernel k;
	cl_mem m, b;

	need_images();
	for (int y = 0; y < 2; y++) {
		for (int x = 0; x < 4; x++) {
			for (int c = 0; c < 4; c++)
				texels[y][x][c] = (float)(10 * y + x);
		}
	}
	program = cltest_build(cl.ctx, source, "");
	k = cltest_kernel(program, "sample");
	m = image_2d(&cl, CL_MEM_COPY_HOST_PTR, &rgbaf, 4, 2, texels);
	b = cltest_buffer(cl.ctx, 0, 16, NULL);
	cltest_arg(k, 0, sizeof(m), &m);
	cltest_arg(k, 2, sizeof(b), &b);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cl_sampler s = MUST(clCreateSampler(cl.ctx, cases[i].normalized, cases[i].address,
						    cases[i].filter, &ERR));
		cl_float2 at = {{cases[i].x, cases[i].y}};
		float out[4];

		CHECK_EQ(INFO(cl_uint, clGetSamplerInfo, s, CL_SAMPLER_REFERENCE_COUNT), 1);
		CHECK(INFO(cl_context, clGetSamplerInfo, s, CL_SAMPLER_CONTEXT) == cl.ctx);
		CHECK_EQ(INFO(cl_bool, clGetSamplerInfo, s, CL_SAMPLER_NORMALIZED_COORDS),
			 cases[i].normalized);
		CHECK_EQ(INFO(cl_addressing_mode, clGetSamplerInfo, s, CL_SAMPLER_ADDRESSING_MODE),
			 cases[i].address);
		CHECK_EQ(INFO(cl_filter_mode, clGetSamplerInfo, s, CL_SAMPLER_FILTER_MODE),
			 cases[i].filter);
		cltest_arg(k, 1, sizeof(s), &s);
		cltest_arg(k, 3, sizeof(at), &at);
		cltest_launch(cl.q, k, 1);
		if (!native_bug()) /* PoCL does not keep the sampler of a launch */
			CHECK_CL(clReleaseSampler(s));
		CHECK_CL(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 0, 16, out, 0, NULL, NULL));
		if (native_bug())
			CHECK_CL(clReleaseSampler(s));
		if (out[0] != cases[i].expected)
			FAIL("case %zu gives %g, not %g", i, (double)out[0],
			     (double)cases[i].expected);
	}
	CHECK_CL(clReleaseMemObject(m));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

static void test_sampler_errors(void)
{
	const cl_sampler_properties twice[] = {CL_SAMPLER_FILTER_MODE, CL_FILTER_NEAREST,
					       CL_SAMPLER_FILTER_MODE, CL_FILTER_NEAREST, 0};
	struct cl cl = cl_open(0);
	cl_sampler s;

	need_images();
	CREATE_ERR(clCreateSampler(NULL, CL_TRUE, CL_ADDRESS_CLAMP, CL_FILTER_NEAREST, &ERR),
		   CL_INVALID_CONTEXT);
	if (!native_bug()) { /* PoCL takes unknown values and repetitions */
		CREATE_ERR(clCreateSampler(cl.ctx, CL_TRUE, 0x7777, CL_FILTER_NEAREST, &ERR),
			   CL_INVALID_VALUE);
		CREATE_ERR(clCreateSampler(cl.ctx, CL_TRUE, CL_ADDRESS_CLAMP, 0x7777, &ERR),
			   CL_INVALID_VALUE);
		CREATE_ERR(clCreateSamplerWithProperties(cl.ctx, twice, &ERR), CL_INVALID_VALUE);
	}
	SKIP_NATIVE("refuses a sampler without properties");
	s = MUST(clCreateSamplerWithProperties(cl.ctx, NULL, &ERR));
	CHECK_EQ(INFO(cl_bool, clGetSamplerInfo, s, CL_SAMPLER_NORMALIZED_COORDS), CL_TRUE);
	CHECK_EQ(INFO(cl_addressing_mode, clGetSamplerInfo, s, CL_SAMPLER_ADDRESSING_MODE),
		 CL_ADDRESS_CLAMP);
	CHECK_EQ(INFO(cl_filter_mode, clGetSamplerInfo, s, CL_SAMPLER_FILTER_MODE),
		 CL_FILTER_NEAREST);
	CHECK_ERR(clGetSamplerInfo(s, 0x7777, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_CL(clRetainSampler(s));
	CHECK_CL(clReleaseSampler(s));
	CHECK_CL(clReleaseSampler(s));
	CHECK_ERR(clReleaseSampler(NULL), CL_INVALID_SAMPLER);
	cl_close(&cl);
}

static void test_infos(void)
{
	enum { W = 12, H = 6 };
	struct cl cl = cl_open(0);
	cl_image_format f;
	cl_program program;
	cl_kernel k;
	cl_mem m, b;
	int out[4];

	need_images();
	m = image_2d(&cl, CL_MEM_READ_ONLY, &rgba8, W, H, NULL);
	f = INFO(cl_image_format, clGetImageInfo, m, CL_IMAGE_FORMAT);
	CHECK(!memcmp(&f, &rgba8, sizeof(f)));
	CHECK_EQ(INFO(size_t, clGetImageInfo, m, CL_IMAGE_ELEMENT_SIZE), 4);
	CHECK(INFO(size_t, clGetImageInfo, m, CL_IMAGE_ROW_PITCH) >= W * 4);
	CHECK_EQ(INFO(size_t, clGetImageInfo, m, CL_IMAGE_SLICE_PITCH), 0);
	CHECK_EQ(INFO(size_t, clGetImageInfo, m, CL_IMAGE_WIDTH), W);
	CHECK_EQ(INFO(size_t, clGetImageInfo, m, CL_IMAGE_HEIGHT), H);
	CHECK_EQ(INFO(size_t, clGetImageInfo, m, CL_IMAGE_DEPTH), 0);
	CHECK_EQ(INFO(size_t, clGetImageInfo, m, CL_IMAGE_ARRAY_SIZE), 0);
	CHECK_EQ(INFO(cl_uint, clGetImageInfo, m, CL_IMAGE_NUM_MIP_LEVELS), 0);
	CHECK_EQ(INFO(cl_uint, clGetImageInfo, m, CL_IMAGE_NUM_SAMPLES), 0);
	CHECK(INFO(cl_mem, clGetImageInfo, m, CL_IMAGE_BUFFER) == NULL);
	CHECK_EQ(INFO(cl_mem_object_type, clGetMemObjectInfo, m, CL_MEM_TYPE),
		 CL_MEM_OBJECT_IMAGE2D);
	CHECK(INFO(size_t, clGetMemObjectInfo, m, CL_MEM_SIZE) >= W * H * 4);
	CHECK_ERR(clGetImageInfo(m, 0x7777, 4, out, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clGetImageInfo(m, CL_IMAGE_WIDTH, 4, out, NULL), CL_INVALID_VALUE);
	b = cltest_buffer(cl.ctx, 0, 16, NULL);
	if (!native_bug()) /* PoCL takes any memory object for an image */
		CHECK_ERR(clGetImageInfo(b, CL_IMAGE_WIDTH, 8, out, NULL), CL_INVALID_MEM_OBJECT);
	program = cltest_build(cl.ctx, source, "");
	k = cltest_kernel(program, "sizes");
	cltest_arg(k, 0, sizeof(m), &m);
	cltest_arg(k, 1, sizeof(b), &b);
	cltest_launch(cl.q, k, 1);
	CHECK_CL(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 0, 16, out, 0, NULL, NULL));
	CHECK_EQ(out[0], W);
	CHECK_EQ(out[1], H);
	CHECK_EQ(out[2], CL_RGBA);
	CHECK_EQ(out[3], CL_UNSIGNED_INT8);
	CHECK_CL(clReleaseMemObject(m));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

static void test_errors(void)
{
	static const cl_image_format odd = {CL_RGB, CL_FLOAT}, junk = {0x7777, 0x7777};
	cl_image_desc d = {
	    .image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = 8, .image_height = 8};
	cl_image_desc bad_type = d, empty = d, pitch = d, huge = d;
	struct cl cl = cl_open(0);
	const size_t all[3] = {8, 8, 1}, over[3] = {8, 9, 1}, flat[3] = {8, 8, 0};
	const size_t one[3] = {1, 0, 0}, deep[3] = {8, 8, 2};
	uint8_t h[1024];
	cl_mem m, ro, b;

	need_images();
	bad_type.image_type = 0x7777;
	empty.image_height = 0;
	pitch.image_row_pitch = 32;
	huge.image_width =
	    INFO(size_t, clGetDeviceInfo, cltest_device, CL_DEVICE_IMAGE2D_MAX_WIDTH) + 1;
	CREATE_ERR(clCreateImage(NULL, 0, &rgba8, &d, NULL, &ERR), CL_INVALID_CONTEXT);
	CREATE_ERR(clCreateImage(cl.ctx, 0, NULL, &d, NULL, &ERR),
		   CL_INVALID_IMAGE_FORMAT_DESCRIPTOR);
	CREATE_ERR(clCreateImage(cl.ctx, 0, &rgba8, NULL, NULL, &ERR), CL_INVALID_IMAGE_DESCRIPTOR);
	if (!native_bug()) { /* PoCL mixes these up */
		CREATE_ERR(clCreateImage(cl.ctx, 0, &junk, &d, NULL, &ERR),
			   CL_INVALID_IMAGE_FORMAT_DESCRIPTOR);
		CREATE_ERR(clCreateImage(cl.ctx, 0, &odd, &d, NULL, &ERR),
			   CL_INVALID_IMAGE_FORMAT_DESCRIPTOR);
		CREATE_ERR(clCreateImage(cl.ctx, 0, &rgba8, &bad_type, NULL, &ERR),
			   CL_INVALID_IMAGE_DESCRIPTOR);
		CREATE_ERR(clCreateImage(cl.ctx, 0, &rgba8, &pitch, NULL, &ERR),
			   CL_INVALID_IMAGE_DESCRIPTOR);
		CREATE_ERR(clCreateImage(cl.ctx, 0, &rgba8, &huge, NULL, &ERR),
			   CL_INVALID_IMAGE_SIZE);
		CREATE_ERR(clCreateImage(cl.ctx, 0, &rgba8, &empty, NULL, &ERR),
			   CL_INVALID_IMAGE_DESCRIPTOR);
	}
	CREATE_ERR(clCreateImage(cl.ctx, CL_MEM_USE_HOST_PTR, &rgba8, &d, NULL, &ERR),
		   CL_INVALID_HOST_PTR);
	CREATE_ERR(clCreateImage(cl.ctx, 0, &rgba8, &d, h, &ERR), CL_INVALID_HOST_PTR);
	m = image_2d(&cl, CL_MEM_HOST_WRITE_ONLY, &rgba8, 8, 8, NULL);
	ro = image_2d(&cl, CL_MEM_HOST_READ_ONLY, &rgba8, 8, 8, NULL);
	b = cltest_buffer(cl.ctx, 0, 64, NULL);
#define WRITE(q, m, at, region, row, p) \
	clEnqueueWriteImage(q, m, CL_TRUE, at, region, row, 0, p, 0, NULL, NULL)
	CHECK_ERR(WRITE(NULL, m, origin, all, 0, h), CL_INVALID_COMMAND_QUEUE);
	CHECK_ERR(WRITE(cl.q, NULL, origin, all, 0, h), CL_INVALID_MEM_OBJECT);
	CHECK_ERR(WRITE(cl.q, b, origin, all, 0, h), CL_INVALID_MEM_OBJECT);
	CHECK_ERR(WRITE(cl.q, m, origin, over, 0, h), CL_INVALID_VALUE);
	CHECK_ERR(WRITE(cl.q, m, one, all, 0, h), CL_INVALID_VALUE);
	CHECK_ERR(WRITE(cl.q, m, origin, flat, 0, h), CL_INVALID_VALUE);
	CHECK_ERR(WRITE(cl.q, m, origin, deep, 0, h), CL_INVALID_VALUE);
	if (!native_bug()) /* PoCL does not look at the pitch */
		CHECK_ERR(WRITE(cl.q, m, origin, all, 31, h), CL_INVALID_VALUE);
	CHECK_ERR(WRITE(cl.q, m, origin, all, 0, NULL), CL_INVALID_VALUE);
	CHECK_ERR(WRITE(cl.q, ro, origin, all, 0, h), CL_INVALID_OPERATION);
	CHECK_ERR(clEnqueueReadImage(cl.q, m, CL_TRUE, origin, all, 0, 0, h, 0, NULL, NULL),
		  CL_INVALID_OPERATION);
	CHECK_ERR(clEnqueueCopyImage(cl.q, m, m, origin, one, all, 0, NULL, NULL),
		  CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueCopyImageToBuffer(cl.q, m, b, origin, all, 0, 0, NULL, NULL),
		  CL_INVALID_VALUE);
	CHECK_CL(clReleaseMemObject(m));
	CHECK_CL(clReleaseMemObject(ro));
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

static void test_read_write_image(void)
{
	static const char text[] =
	    "kernel void twice(read_write image2d_t m)\n"
	    "{ int2 p = (int2)(get_global_id(0), get_global_id(1));\n"
	    "  uint4 v = read_imageui(m, p); write_imageui(m, p, v * 2u); }\n";
	enum { W = 16, H = 8 };
	struct cl cl = cl_open(0);
	const size_t all[3] = {W, H, 1};
	uint8_t data[W * H * 4], out[W * H * 4];
	cl_program program;
	cl_kernel k;
	cl_mem m;

	need_images();
	if (!INFO(cl_uint, clGetDeviceInfo, cltest_device, CL_DEVICE_MAX_READ_WRITE_IMAGE_ARGS))
		SKIP("no read-write images");
	program = cltest_build(cl.ctx, text, "-cl-std=CL3.0");
	k = cltest_kernel(program, "twice");
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i % 64);
	m = image_2d(&cl, CL_MEM_COPY_HOST_PTR, &rgba8, W, H, data);
	cltest_arg(k, 0, sizeof(m), &m);
	for (int i = 0; i < 2; i++)
		CHECK_CL(clEnqueueNDRangeKernel(cl.q, k, 2, NULL, all, NULL, 0, NULL, NULL));
	CHECK_CL(clEnqueueReadImage(cl.q, m, CL_TRUE, origin, all, 0, 0, out, 0, NULL, NULL));
	for (size_t i = 0; i < sizeof(data); i++)
		CHECK_EQ(out[i], data[i] * 4);
	CHECK_CL(clReleaseMemObject(m));
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

/* The calls of OpenCL 1.1. */
static void test_deprecated(void)
{
	struct cl cl = cl_open(0);
	uint8_t data[256], out[256];
	const size_t flat[3] = {8, 8, 1}, cube[3] = {4, 4, 4};
	cl_mem m;

	need_images();
	cltest_pattern(data, sizeof(data), 9);
	m = MUST(clCreateImage2D(cl.ctx, CL_MEM_COPY_HOST_PTR, &rgba8, 8, 8, 0, data, &ERR));
	CHECK_CL(clEnqueueReadImage(cl.q, m, CL_TRUE, origin, flat, 0, 0, out, 0, NULL, NULL));
	CHECK_BYTES(out, data, sizeof(out));
	CHECK_CL(clReleaseMemObject(m));
	m = MUST(clCreateImage3D(cl.ctx, CL_MEM_COPY_HOST_PTR, &rgba8, 4, 4, 4, 0, 0, data, &ERR));
	CHECK_CL(clEnqueueReadImage(cl.q, m, CL_TRUE, origin, cube, 0, 0, out, 0, NULL, NULL));
	CHECK_BYTES(out, data, sizeof(out));
	CHECK_CL(clReleaseMemObject(m));
	cl_close(&cl);
}

static const struct cltest tests[] = {
    TEST(supported_formats),
    TEST(transfers),
    TEST(row_pitch),
    TEST(kernel_2d),
    TEST(kernel_1d),
    TEST(kernel_3d_and_array),
    TEST(image_from_buffer),
    TEST(copy_and_buffers),
    TEST(fill),
    TEST(map),
    TEST(samplers),
    TEST(sampler_errors),
    TEST(infos),
    TEST(errors),
    TEST(read_write_image),
    TEST(deprecated),
};

CLTEST_MAIN(tests)
