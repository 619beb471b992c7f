/* SPDX-License-Identifier: Apache-2.0
 *
 * What clGetKernelInfo and its kin say about the kernels of a built program.
 */
#ifndef ARAX_KERNELS_COMPILE_KERNELS_H
#define ARAX_KERNELS_COMPILE_KERNELS_H

#include "kernels/compile_pocl.h"
#include "transport/build.h"

/**
 * kernels_describe() - fill result->kernels
 * The strings belong to the caller and live as long as the process: it makes one result.
 * Return: CL error.
 */
cl_int kernels_describe(const struct pocl *pocl, cl_program program, struct arax_result *result);

#endif
