/* SPDX-License-Identifier: Apache-2.0
 *
 * Channel orders and channel data types, see image_format.h. Two small tables say which channels
 * of a colour an order stores and what a data type is; conversions follow section 8.3 of the
 * OpenCL C specification (normalised and half values are rounded to nearest even and saturated).
 */
#include "icd/image_format.h"

#include <CL/cl_half.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define BIT(type) (1u << ((type)-CL_SNORM_INT8))
#define TYPES_NORMALIZED \
	(BIT(CL_SNORM_INT8) | BIT(CL_SNORM_INT16) | BIT(CL_UNORM_INT8) | BIT(CL_UNORM_INT16))
#define TYPES_FLOAT (BIT(CL_HALF_FLOAT) | BIT(CL_FLOAT))
#define TYPES_INTEGER                                                        \
	(BIT(CL_SIGNED_INT8) | BIT(CL_SIGNED_INT16) | BIT(CL_SIGNED_INT32) | \
	 BIT(CL_UNSIGNED_INT8) | BIT(CL_UNSIGNED_INT16) | BIT(CL_UNSIGNED_INT32))
#define TYPES_ANY (TYPES_NORMALIZED | TYPES_FLOAT | TYPES_INTEGER)
#define TYPES_PACKED (BIT(CL_UNORM_SHORT_565) | BIT(CL_UNORM_SHORT_555) | BIT(CL_UNORM_INT_101010))
#define TYPES_BYTE \
	(BIT(CL_UNORM_INT8) | BIT(CL_SNORM_INT8) | BIT(CL_SIGNED_INT8) | BIT(CL_UNSIGNED_INT8))

/* Which channels of a colour (0 to 3: red, green, blue, alpha) are stored, in order of memory. */
static const struct order {
	uint8_t count, channels[4];
	uint32_t types;
} orders[] = {
#define ORDER(name) [name - CL_R]
    ORDER(CL_R) = {1, {0}, TYPES_ANY},
    ORDER(CL_A) = {1, {3}, TYPES_ANY},
    ORDER(CL_RG) = {2, {0, 1}, TYPES_ANY},
    ORDER(CL_RA) = {2, {0, 3}, TYPES_ANY},
    ORDER(CL_RGB) = {3, {0, 1, 2}, TYPES_PACKED},
    ORDER(CL_RGBA) = {4, {0, 1, 2, 3}, TYPES_ANY | BIT(CL_UNORM_INT_101010_2)},
    ORDER(CL_BGRA) = {4, {2, 1, 0, 3}, TYPES_BYTE},
    ORDER(CL_ARGB) = {4, {3, 0, 1, 2}, TYPES_BYTE},
    ORDER(CL_ABGR) = {4, {3, 2, 1, 0}, TYPES_BYTE},
    ORDER(CL_INTENSITY) = {1, {0}, TYPES_NORMALIZED | TYPES_FLOAT},
    ORDER(CL_LUMINANCE) = {1, {0}, TYPES_NORMALIZED | TYPES_FLOAT},
    /* x: the alpha of the border is 0; nothing more is stored */
    ORDER(CL_Rx) = {1, {0}, TYPES_ANY},
    ORDER(CL_RGx) = {2, {0, 1}, TYPES_ANY},
    ORDER(CL_RGBx) = {3, {0, 1, 2}, TYPES_PACKED},
    ORDER(CL_DEPTH) = {1, {0}, BIT(CL_UNORM_INT16) | BIT(CL_FLOAT)},
    ORDER(CL_DEPTH_STENCIL) = {1, {0}, BIT(CL_UNORM_INT24) | BIT(CL_FLOAT)},
    ORDER(CL_sRGB) = {3, {0, 1, 2}, BIT(CL_UNORM_INT8)},
    ORDER(CL_sRGBx) = {3, {0, 1, 2}, BIT(CL_UNORM_INT8)},
    ORDER(CL_sRGBA) = {4, {0, 1, 2, 3}, BIT(CL_UNORM_INT8)},
    ORDER(CL_sBGRA) = {4, {2, 1, 0, 3}, BIT(CL_UNORM_INT8)},
};

/* bits: of a channel. whole: bytes of the element when channels share it, else 0. */
static const struct type {
	uint8_t bits, whole;
} types[] = {
#define TYPE(name) [name - CL_SNORM_INT8]
    TYPE(CL_SNORM_INT8) = {8, 0},
    TYPE(CL_SNORM_INT16) = {16, 0},
    TYPE(CL_UNORM_INT8) = {8, 0},
    TYPE(CL_UNORM_INT16) = {16, 0},
    TYPE(CL_UNORM_SHORT_565) = {0, 2},
    TYPE(CL_UNORM_SHORT_555) = {0, 2},
    TYPE(CL_UNORM_INT_101010) = {0, 4},
    TYPE(CL_SIGNED_INT8) = {8, 0},
    TYPE(CL_SIGNED_INT16) = {16, 0},
    TYPE(CL_SIGNED_INT32) = {32, 0},
    TYPE(CL_UNSIGNED_INT8) = {8, 0},
    TYPE(CL_UNSIGNED_INT16) = {16, 0},
    TYPE(CL_UNSIGNED_INT32) = {32, 0},
    TYPE(CL_HALF_FLOAT) = {16, 0},
    TYPE(CL_FLOAT) = {32, 0},
    TYPE(CL_UNORM_INT24) = {24, 4},
    TYPE(CL_UNORM_INT_101010_2) = {0, 4},
};

static const struct order *find_order(cl_channel_order order)
{
	if (order < CL_R || order - CL_R >= sizeof(orders) / sizeof(orders[0]))
		return NULL;
	return &orders[order - CL_R];
}

bool image_format_valid(const cl_image_format *format)
{
	const struct order *order = find_order(format->image_channel_order);
	cl_channel_type type = format->image_channel_data_type;

	return order && type >= CL_SNORM_INT8 &&
	       type - CL_SNORM_INT8 < sizeof(types) / sizeof(types[0]) &&
	       (order->types & BIT(type));
}

size_t image_format_channels(cl_channel_order order)
{
	const struct order *found = find_order(order);

	return found ? found->count : 0;
}

size_t image_format_element(const cl_image_format *format)
{
	const struct type *type;

	if (!image_format_valid(format))
		return 0;
	type = &types[format->image_channel_data_type - CL_SNORM_INT8];
	if (type->whole)
		return type->whole;
	return image_format_channels(format->image_channel_order) * type->bits / 8;
}

/* Linear light to sRGB (section 8.3.1.2 of the OpenCL C specification). */
static float srgb(float c)
{
	if (isnan(c) || c < 0)
		return 0;
	if (c > 1)
		return 1;
	return c < 0.0031308f ? 12.92f * c : 1.055f * powf(c, 1 / 2.4f) - 0.055f;
}

/* value * scale, rounded to nearest even, within [low, scale]; NaN becomes 0. In double: a float
 * product could round before the rounding that is asked for. */
static int32_t normalized(float value, int32_t low, int32_t scale)
{
	double scaled = rint((double)value * scale);

	if (isnan(scaled))
		return 0;
	return scaled < low ? low : scaled > scale ? scale : (int32_t)scaled;
}

static int32_t clamp_signed(int32_t value, int32_t low, int32_t high)
{
	return value < low ? low : value > high ? high : value;
}

static uint32_t clamp_unsigned(uint32_t value, uint32_t high)
{
	return value > high ? high : value;
}

/* One channel as the bits that are stored, in the low end of the result. */
static uint32_t channel(cl_channel_type type, const void *color, unsigned index)
{
	float f;
	int32_t i;
	uint32_t u;

	memcpy(&f, (const char *)color + 4 * index, 4);
	memcpy(&i, &f, 4);
	memcpy(&u, &f, 4);
	switch (type) {
	case CL_SNORM_INT8:
		return (uint32_t)normalized(f, -128, INT8_MAX);
	case CL_SNORM_INT16:
		return (uint32_t)normalized(f, INT16_MIN, INT16_MAX);
	case CL_UNORM_INT8:
		return (uint32_t)normalized(f, 0, UINT8_MAX);
	case CL_UNORM_INT16:
		return (uint32_t)normalized(f, 0, UINT16_MAX);
	case CL_UNORM_INT24:
		return (uint32_t)normalized(f, 0, (1 << 24) - 1);
	case CL_SIGNED_INT8:
		return (uint32_t)clamp_signed(i, INT8_MIN, INT8_MAX);
	case CL_SIGNED_INT16:
		return (uint32_t)clamp_signed(i, INT16_MIN, INT16_MAX);
	case CL_UNSIGNED_INT8:
		return clamp_unsigned(u, UINT8_MAX);
	case CL_UNSIGNED_INT16:
		return clamp_unsigned(u, UINT16_MAX);
	case CL_HALF_FLOAT:
		return cl_half_from_float(f, CL_HALF_RTE);
	default: /* 32 bits: as they are */
		return u;
	}
}

/* Formats whose channels share a word: red in the highest bits. */
static uint32_t pack_word(cl_channel_type type, const float *c)
{
#define UNORM(i, bits) ((uint32_t)normalized(c[i], 0, (1 << (bits)) - 1))
	switch (type) {
	case CL_UNORM_SHORT_565:
		return UNORM(0, 5) << 11 | UNORM(1, 6) << 5 | UNORM(2, 5);
	case CL_UNORM_SHORT_555:
		return UNORM(0, 5) << 10 | UNORM(1, 5) << 5 | UNORM(2, 5);
	case CL_UNORM_INT_101010:
		return UNORM(0, 10) << 20 | UNORM(1, 10) << 10 | UNORM(2, 10);
	default: /* CL_UNORM_INT_101010_2 */
		return UNORM(0, 10) << 22 | UNORM(1, 10) << 12 | UNORM(2, 10) << 2 | UNORM(3, 2);
	}
#undef UNORM
}

size_t image_format_pack(const cl_image_format *format, const void *color, unsigned char *element)
{
	const struct order *order = find_order(format->image_channel_order);
	const struct type *type = &types[format->image_channel_data_type - CL_SNORM_INT8];
	size_t bytes = type->bits / 8;
	float rgba[4] = {0};

	/* a depth is one float: nothing behind it may be read */
	memcpy(rgba, color,
	       order->types & BIT(CL_FLOAT) && !(order->types & BIT(CL_HALF_FLOAT)) ? sizeof(float)
										    : sizeof(rgba));
	if (order->types == BIT(CL_UNORM_INT8)) {
		for (int i = 0; i < 3; i++)
			rgba[i] = srgb(rgba[i]);
	}
	if (!bytes) {
		uint32_t word = pack_word(format->image_channel_data_type, rgba);

		memcpy(element, &word, type->whole);
		return type->whole;
	}
	for (unsigned i = 0; i < order->count; i++) {
		uint32_t bits = channel(format->image_channel_data_type, rgba, order->channels[i]);

		memcpy(element + i * bytes, &bits, type->whole ? type->whole : bytes);
	}
	return type->whole ? type->whole : order->count * bytes;
}
