/* SPDX-License-Identifier: Apache-2.0
 *
 * What cl_image_format means in bytes: which combinations exist, how large an element is, and what
 * a colour looks like as an element. Knows nothing of images or devices.
 */
#ifndef ARAX_ICD_IMAGE_FORMAT_H
#define ARAX_ICD_IMAGE_FORMAT_H

#include "icd/api.h"

#include <stdbool.h>
#include <stddef.h>

#define IMAGE_ELEMENT_MAX 16 /* bytes */

/** image_format_valid() - whether the channel order exists with that data type (OpenCL 3.0,
 *  section 5.3.1.1). Devices support fewer. */
bool image_format_valid(const cl_image_format *format);

/** image_format_channels() - how many channels of an order are stored; 0 for unknown ones. */
size_t image_format_channels(cl_channel_order order);

/** image_format_element() - bytes of a pixel; 0 when the format is not valid. */
size_t image_format_element(const cl_image_format *format);

/**
 * image_format_pack() - a colour as clEnqueueFillImage takes it, converted to an element
 * @format: a valid format
 * @color: four floats, for signed and unsigned integer types four ints or unsigned ints; one float
 *         for CL_DEPTH
 * @element: at least IMAGE_ELEMENT_MAX bytes
 * Return: the bytes of the element.
 */
size_t image_format_pack(const cl_image_format *format, const void *color, unsigned char *element);

#endif
