/* SPDX-License-Identifier: Apache-2.0
 *
 * The back end on any native OpenCL library as a discrete device: memory objects of the library's
 * own, filled and read by transfers, kernels built by its own compiler. For one tenant's private
 * arax-device, because such a library executes kernels as host code.
 */
#ifndef ARAX_DEVICES_OPENCL_DISCRETE_H
#define ARAX_DEVICES_OPENCL_DISCRETE_H

#include "devices/device.h"

/**
 * arax_opencl_discrete_open() - load a library and open one of its devices
 * @library: soname or path of an OpenCL driver, e.g. "libRusticlOpenCL.so.1"; what it wants in its
 *           environment is set here, where it is not set yet, so call before there are threads
 * @device: which of its devices
 * @name: short name of the device
 * @dev: filled; done is called on threads of the device
 *
 * Once per library and process. Scratch files lie below $ARAX_WORK_DIR, else $TMPDIR, else /tmp.
 *
 * Return: 0 or a negative errno; *error says why in one line, valid until the next call.
 */
int arax_opencl_discrete_open(const char *library, unsigned device, const char *name,
			      struct arax_device *dev, const char **error);

/**
 * arax_opencl_discrete_close() - wait for what was given to it, then forget the device
 *
 * Builds that have not begun end with CL_OUT_OF_RESOURCES. Streams and programs must have been
 * freed; the library itself stays loaded.
 */
void arax_opencl_discrete_close(struct arax_device *dev);

#endif
