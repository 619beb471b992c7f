/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernel metadata for a build result. The size of a by-value argument is not in the API; PoCL
 * checks it in clSetKernelArg, so it is found by trying.
 */
#include "kernels/compile_kernels.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_SIZE_MAX 4096

/* A string of clGetKernelInfo or clGetKernelArgInfo; "" when there is none. */
static char *kernels_string(const struct pocl *pocl, cl_kernel kernel, int arg, cl_uint what)
{
	size_t size = 0;
	cl_int status;

	status = arg < 0 ? pocl->cl->clGetKernelInfo(kernel, what, 0, NULL, &size)
			 : pocl->cl->clGetKernelArgInfo(kernel, (cl_uint)arg, what, 0, NULL, &size);
	char *string = calloc(1, size + 1);
	if (!string || status != CL_SUCCESS || !size)
		return string;
	status = arg < 0
		     ? pocl->cl->clGetKernelInfo(kernel, what, size, string, NULL)
		     : pocl->cl->clGetKernelArgInfo(kernel, (cl_uint)arg, what, size, string, NULL);
	if (status != CL_SUCCESS)
		string[0] = '\0';
	return string;
}

/*
 * PoCL accepts 3/4 of a size for vectors of three, and so never a multiple of three itself: a
 * size that is one stands for 4/3 of it. 0: unknown, the application's word must do.
 */
static size_t kernels_value_size(const struct pocl *pocl, cl_kernel kernel, cl_uint arg)
{
	static const unsigned char value[VALUE_SIZE_MAX];
	static const size_t common[] = {4, 8, 1, 2, 16, 32, 64, 128};

	/* Of structures PoCL knows no size, and accepts each. */
	if (pocl->cl->clSetKernelArg(kernel, arg, 7, value) == CL_SUCCESS &&
	    pocl->cl->clSetKernelArg(kernel, arg, 11, value) == CL_SUCCESS)
		return 0;
	for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++) {
		if (pocl->cl->clSetKernelArg(kernel, arg, common[i], value) == CL_SUCCESS)
			return common[i];
	}
	for (size_t size = 3; size <= VALUE_SIZE_MAX; size++) {
		if (pocl->cl->clSetKernelArg(kernel, arg, size, value) == CL_SUCCESS)
			return size % 3 == 0 ? size / 3 * 4 : size;
	}
	return 0;
}

/* Images, samplers and pointers are handles. */
static bool kernels_is_handle(const struct arax_arg_info *info)
{
	size_t length = strlen(info->type_name);

	return info->access != CL_KERNEL_ARG_ACCESS_NONE ||
	       info->address != CL_KERNEL_ARG_ADDRESS_PRIVATE ||
	       (length && info->type_name[length - 1] == '*') ||
	       strcmp(info->type_name, "sampler_t") == 0 ||
	       strncmp(info->type_name, "image", 5) == 0;
}

static cl_int kernels_arg(const struct pocl *pocl, cl_kernel kernel, cl_uint arg,
			  struct arax_arg_info *info)
{
	cl_kernel_arg_type_qualifier qualifier = 0;

	info->name = kernels_string(pocl, kernel, (int)arg, CL_KERNEL_ARG_NAME);
	info->type_name = kernels_string(pocl, kernel, (int)arg, CL_KERNEL_ARG_TYPE_NAME);
	if (!info->name || !info->type_name)
		return CL_OUT_OF_HOST_MEMORY;

	info->access = CL_KERNEL_ARG_ACCESS_NONE;
	info->address = CL_KERNEL_ARG_ADDRESS_PRIVATE;
	cl_int status = pocl->cl->clGetKernelArgInfo(kernel, arg, CL_KERNEL_ARG_ADDRESS_QUALIFIER,
						     sizeof(info->address), &info->address, NULL);
	if (status == CL_SUCCESS)
		status = pocl->cl->clGetKernelArgInfo(kernel, arg, CL_KERNEL_ARG_ACCESS_QUALIFIER,
						      sizeof(info->access), &info->access, NULL);
	if (status == CL_SUCCESS)
		status = pocl->cl->clGetKernelArgInfo(kernel, arg, CL_KERNEL_ARG_TYPE_QUALIFIER,
						      sizeof(qualifier), &qualifier, NULL);
	info->type_qualifier = qualifier;

	if (info->address == CL_KERNEL_ARG_ADDRESS_LOCAL)
		info->size = 0;
	else if (kernels_is_handle(info))
		info->size = sizeof(void *);
	else
		info->size = kernels_value_size(pocl, kernel, arg);
	return status;
}

static cl_int kernels_group(const struct pocl *pocl, cl_kernel kernel,
			    struct arax_kernel_info *info)
{
	size_t required[3] = {0}, group = 0, multiple = 0;
	cl_ulong local = 0, private = 0;
	const struct {
		cl_uint what;
		size_t size;
		void *value;
	} questions[] = {
	    {CL_KERNEL_COMPILE_WORK_GROUP_SIZE, sizeof(required), required},
	    {CL_KERNEL_WORK_GROUP_SIZE, sizeof(group), &group},
	    {CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE, sizeof(multiple), &multiple},
	    {CL_KERNEL_LOCAL_MEM_SIZE, sizeof(local), &local},
	    {CL_KERNEL_PRIVATE_MEM_SIZE, sizeof(private), &private},
	};

	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
		cl_int status =
		    pocl->cl->clGetKernelWorkGroupInfo(kernel, pocl->device, questions[i].what,
						       questions[i].size, questions[i].value, NULL);
		if (status != CL_SUCCESS)
			return status;
	}
	for (int i = 0; i < 3; i++)
		info->required_group[i] = required[i];
	info->group_size = group;
	info->preferred_multiple = multiple;
	info->local_mem = local;
	info->private_mem = private;
	return CL_SUCCESS;
}

static bool in_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* PoCL says "__attribute__ ((vec_type_hint (float4)))" where OpenCL wants what stands inside,
 * several with a space between them (section 5.9.4). In place; what is of another shape stays. */
static void plain_attributes(char *text)
{
	char *to = text, *at = text;

	while ((at = strstr(at, "__attribute__")) != NULL) {
		int depth = 0;

		if (to != text)
			*to++ = ' ';
		for (at += strlen("__attribute__"); *at; at++) {
			if (*at == ')' && depth-- <= 2) {
				if (depth <= 0)
					break;
			} else if (isspace((unsigned char)*at)) {
				if (depth >= 2 && in_word(at[-1]) && in_word(at[1]))
					*to++ = ' ';
			} else if (*at != '(' || ++depth > 2) {
				*to++ = *at;
			}
		}
	}
	if (to != text)
		*to = '\0';
}

static cl_int kernels_one(const struct pocl *pocl, cl_kernel kernel, struct arax_kernel_info *info)
{
	cl_int status = kernels_group(pocl, kernel, info);

	info->name = kernels_string(pocl, kernel, -1, CL_KERNEL_FUNCTION_NAME);
	info->attributes = kernels_string(pocl, kernel, -1, CL_KERNEL_ATTRIBUTES);
	if (info->attributes)
		plain_attributes(info->attributes);
	if (status == CL_SUCCESS)
		status = pocl->cl->clGetKernelInfo(kernel, CL_KERNEL_NUM_ARGS, sizeof(info->nargs),
						   &info->nargs, NULL);
	info->args = calloc(info->nargs ? info->nargs : 1, sizeof(*info->args));
	if (!info->name || !info->attributes || !info->args)
		status = CL_OUT_OF_HOST_MEMORY;
	for (cl_uint i = 0; status == CL_SUCCESS && i < info->nargs; i++)
		status = kernels_arg(pocl, kernel, i, &info->args[i]);
	return status;
}

cl_int kernels_describe(const struct pocl *pocl, cl_program program, struct arax_result *result)
{
	cl_uint count = 0;
	cl_int status = pocl->cl->clCreateKernelsInProgram(program, 0, NULL, &count);

	if (status != CL_SUCCESS || !count)
		return status;
	cl_kernel *kernels = calloc(count, sizeof(cl_kernel));
	result->kernels = calloc(count, sizeof(*result->kernels));
	if (!kernels || !result->kernels) {
		free(kernels);
		return CL_OUT_OF_HOST_MEMORY;
	}
	status = pocl->cl->clCreateKernelsInProgram(program, count, kernels, NULL);
	result->nkernels = count;
	for (cl_uint i = 0; status == CL_SUCCESS && i < count; i++)
		status = kernels_one(pocl, kernels[i], &result->kernels[i]);
	for (cl_uint i = 0; i < count; i++)
		if (kernels[i])
			pocl->cl->clReleaseKernel(kernels[i]);
	free(kernels);
	return status;
}
