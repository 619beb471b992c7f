/* SPDX-License-Identifier: Apache-2.0
 *
 * Prototypes of all entry points. They are called through the dispatch table only; the library
 * exports none of them under OpenCL's names, so that it can never be mistaken for a loader.
 */
#ifndef ARAX_ICD_API_H
#define ARAX_ICD_API_H

#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_0_APIS
#define CL_USE_DEPRECATED_OPENCL_1_1_APIS
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#define CL_USE_DEPRECATED_OPENCL_2_0_APIS
#define CL_USE_DEPRECATED_OPENCL_2_1_APIS
#define CL_USE_DEPRECATED_OPENCL_2_2_APIS
#include <CL/cl.h>
#include <CL/cl_gl.h>
#include <CL/cl_egl.h>
#include <CL/cl_ext.h>
#include <CL/cl_icd.h>

#define API(name) __typeof__(*((cl_icd_dispatch *)0)->name) arax_##name;
#include "icd/api.def"
#undef API

#endif
