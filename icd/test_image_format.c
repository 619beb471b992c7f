/* SPDX-License-Identifier: Apache-2.0
 *
 * Image formats: sizes and validity of all of them, and the elements that colours become.
 */
#include "icd/image_format.h"
#include "transport/testing.h"

#include <CL/cl_half.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

static size_t element(cl_channel_order order, cl_channel_type type)
{
	cl_image_format format = {order, type};

	return image_format_element(&format);
}

static void test_sizes(void)
{
	CHECK(element(CL_R, CL_UNORM_INT8) == 1);
	CHECK(element(CL_A, CL_SNORM_INT16) == 2);
	CHECK(element(CL_RG, CL_HALF_FLOAT) == 4);
	CHECK(element(CL_RA, CL_SIGNED_INT32) == 8);
	CHECK(element(CL_RGBA, CL_UNSIGNED_INT8) == 4);
	CHECK(element(CL_RGBA, CL_FLOAT) == 16);
	CHECK(element(CL_RGB, CL_UNORM_SHORT_565) == 2);
	CHECK(element(CL_RGBx, CL_UNORM_SHORT_555) == 2);
	CHECK(element(CL_RGB, CL_UNORM_INT_101010) == 4);
	CHECK(element(CL_RGBA, CL_UNORM_INT_101010_2) == 4);
	CHECK(element(CL_DEPTH, CL_UNORM_INT16) == 2);
	CHECK(element(CL_DEPTH, CL_FLOAT) == 4);
	CHECK(element(CL_DEPTH_STENCIL, CL_UNORM_INT24) == 4);
	CHECK(element(CL_sRGBA, CL_UNORM_INT8) == 4);
	CHECK(element(CL_INTENSITY, CL_FLOAT) == 4);
}

static void test_invalid(void)
{
	CHECK(element(CL_RGB, CL_UNORM_INT8) == 0);
	CHECK(element(CL_RGBA, CL_UNORM_SHORT_565) == 0);
	CHECK(element(CL_BGRA, CL_UNORM_INT16) == 0);
	CHECK(element(CL_sRGBA, CL_FLOAT) == 0);
	CHECK(element(CL_LUMINANCE, CL_SIGNED_INT8) == 0);
	CHECK(element(CL_DEPTH, CL_UNORM_INT8) == 0);
	CHECK(element(0, 0) == 0);
	CHECK(element(CL_R, 0) == 0);
	CHECK(element(CL_R, CL_UNORM_INT_101010_2 + 1) == 0);
	CHECK(element(CL_ABGR + 1, CL_UNORM_INT8) == 0);
	CHECK(element(UINT32_MAX, UINT32_MAX) == 0);
	CHECK(image_format_channels(0) == 0);
	CHECK(image_format_channels(CL_ABGR) == 4);
}

/* No format writes more than it says, and what it says is the element's size. */
static void test_all(void)
{
	const float color[4] = {0.25f, -3, NAN, 1e20f};

	for (cl_channel_order order = CL_R; order <= CL_ABGR; order++) {
		for (cl_channel_type type = CL_SNORM_INT8; type <= CL_UNORM_INT_101010_2; type++) {
			cl_image_format format = {order, type};
			unsigned char bytes[IMAGE_ELEMENT_MAX + 8];
			size_t size = image_format_element(&format);

			if (!size)
				continue;
			CHECK(size <= IMAGE_ELEMENT_MAX);
			memset(bytes, 0xa5, sizeof(bytes));
			CHECK(image_format_pack(&format, color, bytes) == size);
			for (size_t i = size; i < sizeof(bytes); i++)
				CHECK(bytes[i] == 0xa5);
		}
	}
}

static uint64_t pack(cl_channel_order order, cl_channel_type type, const void *color)
{
	cl_image_format format = {order, type};
	unsigned char bytes[IMAGE_ELEMENT_MAX] = {0};
	uint64_t value;

	image_format_pack(&format, color, bytes);
	memcpy(&value, bytes, sizeof(value));
	return value;
}
#define PACK(order, type, ...) pack(order, type, (const float[4]){__VA_ARGS__})
#define PACK_INT(order, type, ...) pack(order, type, (const int32_t[4]){__VA_ARGS__})

static void test_orders(void)
{
	CHECK(PACK(CL_RGBA, CL_UNORM_INT8, 1 / 255.f, 2 / 255.f, 3 / 255.f, 4 / 255.f) ==
	      0x04030201);
	CHECK(PACK(CL_BGRA, CL_UNORM_INT8, 1 / 255.f, 2 / 255.f, 3 / 255.f, 4 / 255.f) ==
	      0x04010203);
	CHECK(PACK(CL_ARGB, CL_UNORM_INT8, 1 / 255.f, 2 / 255.f, 3 / 255.f, 4 / 255.f) ==
	      0x03020104);
	CHECK(PACK_INT(CL_ABGR, CL_UNSIGNED_INT8, 1, 2, 3, 4) == 0x01020304);
	CHECK(PACK_INT(CL_A, CL_UNSIGNED_INT16, 1, 2, 3, 4) == 4);
	CHECK(PACK_INT(CL_RA, CL_UNSIGNED_INT16, 1, 2, 3, 4) == 0x00040001);
	CHECK(PACK_INT(CL_RG, CL_SIGNED_INT32, 1, -2, 3, 4) == 0xfffffffe00000001);
}

static void test_normalized(void)
{
	/* half way: to even */
	CHECK(PACK(CL_R, CL_UNORM_INT8, 0.5f) == 128);
	CHECK(PACK(CL_R, CL_UNORM_INT16, 0.5f) == 32768);
	CHECK(PACK(CL_R, CL_SNORM_INT8, 0.5f) == 64);
	CHECK(PACK(CL_R, CL_UNORM_INT8, 2) == 255);
	CHECK(PACK(CL_R, CL_UNORM_INT8, -2) == 0);
	CHECK(PACK(CL_R, CL_UNORM_INT8, NAN) == 0);
	CHECK(PACK(CL_R, CL_UNORM_INT16, INFINITY) == 0xffff);
	CHECK(PACK(CL_R, CL_SNORM_INT8, -1) == 0x81);
	CHECK(PACK(CL_R, CL_SNORM_INT8, -2) == 0x80);
	CHECK(PACK(CL_R, CL_SNORM_INT16, 1) == 0x7fff);
	CHECK(PACK(CL_DEPTH, CL_UNORM_INT16, 1) == 0xffff);
	CHECK(PACK(CL_RGB, CL_UNORM_SHORT_565, 1, 0, 0) == 0xf800);
	CHECK(PACK(CL_RGB, CL_UNORM_SHORT_565, 0, 1, 0) == 0x07e0);
	CHECK(PACK(CL_RGB, CL_UNORM_SHORT_555, 1, 0, 1) == 0x7c1f);
	CHECK(PACK(CL_RGB, CL_UNORM_INT_101010, 1, 0, 2) == 0x3ff003ff);
	CHECK(PACK(CL_RGBA, CL_UNORM_INT_101010_2, 0, 1, 0, 1) == 0x003ff003);
}

static void test_integers(void)
{
	CHECK(PACK_INT(CL_R, CL_SIGNED_INT8, -1000) == 0x80);
	CHECK(PACK_INT(CL_R, CL_SIGNED_INT8, 1000) == 0x7f);
	CHECK(PACK_INT(CL_R, CL_SIGNED_INT16, -40000) == 0x8000);
	CHECK(PACK_INT(CL_R, CL_UNSIGNED_INT8, -1) == 0xff);
	CHECK(PACK_INT(CL_R, CL_UNSIGNED_INT16, 70000) == 0xffff);
	CHECK(PACK_INT(CL_R, CL_UNSIGNED_INT32, -1) == 0xffffffff);
	/* bits that are a signalling NaN as a float survive */
	CHECK(PACK_INT(CL_R, CL_SIGNED_INT32, 0x7f800001) == 0x7f800001);
}

static void test_srgb(void)
{
	CHECK(PACK(CL_sRGBA, CL_UNORM_INT8, 0, 1, 0.5f, 0.5f) == 0x80bcff00);
	CHECK(PACK(CL_sBGRA, CL_UNORM_INT8, 0, 1, 0.5f, 0.5f) == 0x8000ffbc);
	CHECK(PACK(CL_sRGBA, CL_UNORM_INT8, 0.002f, NAN, -1, 9) == 0xff000007);
}

static void test_half(void)
{
	for (uint32_t h = 0; h < 0x7c00; h++) {
		float f = cl_half_to_float((cl_half)h), next = cl_half_to_float((cl_half)(h + 1));

		CHECK(PACK(CL_R, CL_HALF_FLOAT, f) == h);
		CHECK(PACK(CL_R, CL_HALF_FLOAT, -f) == (h | 0x8000));
		if (h < 0x7bff) /* half way: to even */
			CHECK(PACK(CL_R, CL_HALF_FLOAT, f + (next - f) / 2) == (h + 1) / 2 * 2);
	}
	CHECK(PACK(CL_R, CL_HALF_FLOAT, 65519.996f) == 0x7bff);
	CHECK(PACK(CL_R, CL_HALF_FLOAT, 65520) == 0x7c00);
	CHECK(PACK(CL_R, CL_HALF_FLOAT, INFINITY) == 0x7c00);
	CHECK((PACK(CL_R, CL_HALF_FLOAT, NAN) & 0x7c00) == 0x7c00);
}

int main(void)
{
	test_sizes();
	test_invalid();
	test_all();
	test_orders();
	test_normalized();
	test_integers();
	test_srgb();
	test_half();
	return 0;
}
