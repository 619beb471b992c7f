/* SPDX-License-Identifier: Apache-2.0
 *
 * Samplers: three numbers. The tenant learns them when the sampler is made, so that a launch has
 * nothing to do but name it.
 */
#include "icd/icd.h"

#include <stdlib.h>

static void sampler_destroy(struct object *object)
{
	cl_sampler sampler = (cl_sampler)object;

	/* a number that the tenant never heard of is only given back */
	connection_drop(sampler->context->conn,
			sampler->announced ? ARAX_OP_SAMPLER_DROP : ARAX_OP_COUNT, sampler->handle);
	object_unuse(&sampler->context->object);
	free(sampler->properties);
	free(sampler);
}

static bool values_valid(cl_bool normalized, cl_addressing_mode addressing, cl_filter_mode filter)
{
	return normalized <= CL_TRUE && addressing >= CL_ADDRESS_NONE &&
	       addressing <= CL_ADDRESS_MIRRORED_REPEAT &&
	       (filter == CL_FILTER_NEAREST || filter == CL_FILTER_LINEAR);
}

static cl_int sampler_announce(cl_sampler sampler)
{
	struct arax_op_sampler_define define = {
	    .head = {.size = sizeof(define), .op = ARAX_OP_SAMPLER_DEFINE, .slot = ARAX_NO_SLOT},
	    .sampler = sampler->handle,
	    .normalized = sampler->normalized,
	    .addressing = sampler->addressing,
	    .filter = sampler->filter,
	};

	if (connection_define(sampler->context->conn, &define.head))
		return CL_OUT_OF_RESOURCES;
	sampler->announced = true;
	return CL_SUCCESS;
}

/* fields: normalized, addressing and filter, checked. */
static cl_sampler sampler_new(cl_context context, const struct _cl_sampler *fields, cl_int *error)
{
	cl_sampler sampler = calloc(1, sizeof(*sampler));

	if (!sampler) {
		*error = CL_OUT_OF_HOST_MEMORY;
		return NULL;
	}
	object_init(&sampler->object, OBJECT_SAMPLER, sampler_destroy);
	object_use(&context->object);
	sampler->context = context;
	sampler->normalized = fields->normalized;
	sampler->addressing = fields->addressing;
	sampler->filter = fields->filter;
	sampler->handle = connection_handle(context->conn, ARAX_HANDLE_SAMPLER);
	*error = sampler->handle ? sampler_announce(sampler) : CL_OUT_OF_RESOURCES;
	if (*error) {
		object_release(&sampler->object);
		return NULL;
	}
	return sampler;
}

cl_sampler arax_clCreateSampler(cl_context context, cl_bool normalized_coords,
				cl_addressing_mode addressing_mode, cl_filter_mode filter_mode,
				cl_int *errcode_ret)
{
	const struct _cl_sampler fields = {
	    .normalized = normalized_coords, .addressing = addressing_mode, .filter = filter_mode};
	cl_sampler sampler = NULL;
	cl_int error = CL_SUCCESS;

	if (!object_is(context, OBJECT_CONTEXT))
		error = CL_INVALID_CONTEXT;
	else if (!values_valid(normalized_coords, addressing_mode, filter_mode))
		error = CL_INVALID_VALUE;
	else if (!the_device.info.images)
		error = CL_INVALID_OPERATION;
	else
		sampler = sampler_new(context, &fields, &error);
	set_error(errcode_ret, error);
	return sampler;
}

/* Reads a property list, each name at most once; count: entries, the terminating 0 included. */
static cl_int read_properties(const cl_sampler_properties *list, struct _cl_sampler *fields,
			      size_t *count)
{
	unsigned seen = 0;

	*count = 0;
	for (; list && *list; list += 2, *count += 2) {
		unsigned bit = (unsigned)(*list - CL_SAMPLER_NORMALIZED_COORDS);

		if (*list < CL_SAMPLER_NORMALIZED_COORDS || *list > CL_SAMPLER_FILTER_MODE ||
		    list[1] > UINT32_MAX || seen & 1u << bit)
			return CL_INVALID_VALUE;
		seen |= 1u << bit;
		if (*list == CL_SAMPLER_NORMALIZED_COORDS)
			fields->normalized = (cl_bool)list[1];
		else if (*list == CL_SAMPLER_ADDRESSING_MODE)
			fields->addressing = (cl_addressing_mode)list[1];
		else
			fields->filter = (cl_filter_mode)list[1];
	}
	if (list)
		++*count;
	return values_valid(fields->normalized, fields->addressing, fields->filter)
		   ? CL_SUCCESS
		   : CL_INVALID_VALUE;
}

/* What CL_SAMPLER_PROPERTIES answers. */
static cl_int properties_keep(cl_sampler sampler, const cl_sampler_properties *list, size_t count)
{
	if (!count)
		return CL_SUCCESS;
	sampler->properties = malloc(count * sizeof(*list));
	if (!sampler->properties)
		return CL_OUT_OF_HOST_MEMORY;
	memcpy(sampler->properties, list, count * sizeof(*list));
	sampler->nproperties = count;
	return CL_SUCCESS;
}

cl_sampler arax_clCreateSamplerWithProperties(cl_context context,
					      const cl_sampler_properties *sampler_properties,
					      cl_int *errcode_ret)
{
	struct _cl_sampler fields = {
	    .normalized = CL_TRUE, .addressing = CL_ADDRESS_CLAMP, .filter = CL_FILTER_NEAREST};
	cl_sampler sampler = NULL;
	size_t count = 0;
	cl_int error = CL_SUCCESS;

	if (!object_is(context, OBJECT_CONTEXT))
		error = CL_INVALID_CONTEXT;
	if (!error)
		error = read_properties(sampler_properties, &fields, &count);
	if (!error && !the_device.info.images)
		error = CL_INVALID_OPERATION;
	if (!error)
		sampler = sampler_new(context, &fields, &error);
	if (!error)
		error = properties_keep(sampler, sampler_properties, count);
	if (error && sampler) {
		object_release(&sampler->object);
		sampler = NULL;
	}
	set_error(errcode_ret, error);
	return sampler;
}

cl_int arax_clRetainSampler(cl_sampler sampler)
{
	if (!object_is(sampler, OBJECT_SAMPLER))
		return CL_INVALID_SAMPLER;
	object_retain(&sampler->object);
	return CL_SUCCESS;
}

cl_int arax_clReleaseSampler(cl_sampler sampler)
{
	if (!object_is(sampler, OBJECT_SAMPLER))
		return CL_INVALID_SAMPLER;
	object_release(&sampler->object);
	return CL_SUCCESS;
}

cl_int arax_clGetSamplerInfo(cl_sampler sampler, cl_sampler_info param_name,
			     size_t param_value_size, void *param_value,
			     size_t *param_value_size_ret)
{
	if (!object_is(sampler, OBJECT_SAMPLER))
		return CL_INVALID_SAMPLER;
	switch (param_name) {
	case CL_SAMPLER_REFERENCE_COUNT:
		return INFO(cl_uint, sampler->object.refs);
	case CL_SAMPLER_CONTEXT:
		return INFO(cl_context, sampler->context);
	case CL_SAMPLER_NORMALIZED_COORDS:
		return INFO(cl_bool, sampler->normalized);
	case CL_SAMPLER_ADDRESSING_MODE:
		return INFO(cl_addressing_mode, sampler->addressing);
	case CL_SAMPLER_FILTER_MODE:
		return INFO(cl_filter_mode, sampler->filter);
	case CL_SAMPLER_PROPERTIES:
		return info_copy(sampler->properties,
				 sampler->nproperties * sizeof(*sampler->properties),
				 param_value_size, param_value, param_value_size_ret);
	default:
		return CL_INVALID_VALUE;
	}
}
