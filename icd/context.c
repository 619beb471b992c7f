/* SPDX-License-Identifier: Apache-2.0
 *
 * Contexts (OpenCL 3.0 section 4.4). The first one makes the process's connection to a tenant.
 */
#include "icd/connection.h"

#include <errno.h>
#include <stdlib.h>

struct context_callback {
	struct context_callback *next;
	void(CL_CALLBACK *notify)(cl_context, void *);
	void *arg;
};

/* Last in, first out, before anything of the context goes (section 4.4). */
static void context_destroy(struct object *object)
{
	cl_context context = (cl_context)object;
	struct context_callback *next;

	for (struct context_callback *c = context->callbacks; c; c = next) {
		next = c->next;
		c->notify(context, c->arg);
		free(c);
	}
	connection_forget(context->conn, context);
	connection_put(context->conn);
	free(context->properties);
	pthread_mutex_destroy(&context->lock);
	free(context);
}

void context_notify(cl_context context, const char *message)
{
	if (context->notify)
		context->notify(message, NULL, 0, context->notify_arg);
}

static cl_int check_properties(const cl_context_properties *properties, size_t *count)
{
	bool platform_seen = false, sync_seen = false;

	*count = 0;
	for (const cl_context_properties *p = properties; p && p[0]; p += 2) {
		switch (p[0]) {
		case CL_CONTEXT_PLATFORM:
			if (platform_seen)
				return CL_INVALID_PROPERTY;
			if (!object_is((void *)p[1], OBJECT_PLATFORM))
				return CL_INVALID_PLATFORM;
			platform_seen = true;
			break;
		case CL_CONTEXT_INTEROP_USER_SYNC:
			if (sync_seen || (p[1] != CL_TRUE && p[1] != CL_FALSE))
				return CL_INVALID_PROPERTY;
			sync_seen = true;
			break;
		default:
			return CL_INVALID_PROPERTY;
		}
		*count += 2;
	}
	if (properties)
		*count += 1;
	return CL_SUCCESS;
}

/* Why there is no tenant: no memory or another resource here or there, a limit, or none at all. */
static cl_int connection_error(int err)
{
	switch (err) {
	case -ENOMEM:
		return CL_OUT_OF_HOST_MEMORY;
	case -EMFILE:
	case -ENFILE:
	case -ENOBUFS:
	case -ENOSPC:
	case -EAGAIN:
	case -EDQUOT:
		return CL_OUT_OF_RESOURCES;
	default:
		return CL_DEVICE_NOT_AVAILABLE;
	}
}

static cl_context context_new(const cl_context_properties *properties, size_t nproperties,
			      void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *),
			      void *user_data, cl_int *error)
{
	cl_context context = calloc(1, sizeof(*context));
	int err = -ENODEV;

	*error = CL_OUT_OF_HOST_MEMORY;
	if (!context)
		return NULL;
	if (nproperties) {
		context->properties = malloc(nproperties * sizeof(*properties));
		if (!context->properties)
			goto fail;
		memcpy(context->properties, properties, nproperties * sizeof(*properties));
		context->nproperties = nproperties;
	}
	context->conn = platform_ready() ? connection_get(&err) : NULL;
	if (!context->conn) {
		*error = connection_error(err);
		goto fail;
	}
	object_init(&context->object, OBJECT_CONTEXT, context_destroy);
	pthread_mutex_init(&context->lock, NULL);
	context->notify = notify;
	context->notify_arg = user_data;
	connection_remember(context->conn, context);
	*error = CL_SUCCESS;
	return context;
fail:
	free(context->properties);
	free(context);
	return NULL;
}

cl_context arax_clCreateContext(const cl_context_properties *properties, cl_uint num_devices,
				const cl_device_id *devices,
				void(CL_CALLBACK *notify)(const char *, const void *, size_t,
							  void *),
				void *user_data, cl_int *errcode_ret)
{
	cl_context context = NULL;
	size_t count;
	cl_int error = check_properties(properties, &count);

	if (!error && (!num_devices || !devices || (!notify && user_data)))
		error = CL_INVALID_VALUE;
	for (cl_uint i = 0; !error && i < num_devices; i++) {
		if (!object_is(devices[i], OBJECT_DEVICE))
			error = CL_INVALID_DEVICE;
	}
	if (!error)
		context = context_new(properties, count, notify, user_data, &error);
	set_error(errcode_ret, error);
	return context;
}

cl_context
arax_clCreateContextFromType(const cl_context_properties *properties, cl_device_type device_type,
			     void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *),
			     void *user_data, cl_int *errcode_ret)
{
	cl_context context = NULL;
	cl_device_id device;
	size_t count;
	cl_int error = check_properties(properties, &count);

	if (!error && !notify && user_data)
		error = CL_INVALID_VALUE;
	if (!error)
		error = arax_clGetDeviceIDs(&the_platform, device_type, 1, &device, NULL);
	if (!error)
		context = context_new(properties, count, notify, user_data, &error);
	set_error(errcode_ret, error);
	return context;
}

cl_int arax_clRetainContext(cl_context context)
{
	if (!object_is(context, OBJECT_CONTEXT))
		return CL_INVALID_CONTEXT;
	object_retain(&context->object);
	return CL_SUCCESS;
}

cl_int arax_clReleaseContext(cl_context context)
{
	if (!object_is(context, OBJECT_CONTEXT))
		return CL_INVALID_CONTEXT;
	connection_settle(context->conn);
	object_release(&context->object);
	return CL_SUCCESS;
}

cl_int arax_clGetContextInfo(cl_context context, cl_context_info param_name,
			     size_t param_value_size, void *param_value,
			     size_t *param_value_size_ret)
{
	if (!object_is(context, OBJECT_CONTEXT))
		return CL_INVALID_CONTEXT;
	switch (param_name) {
	case CL_CONTEXT_REFERENCE_COUNT:
		return INFO(cl_uint, context->object.refs);
	case CL_CONTEXT_NUM_DEVICES:
		return INFO(cl_uint, 1);
	case CL_CONTEXT_DEVICES:
		return INFO(cl_device_id, &the_device);
	case CL_CONTEXT_PROPERTIES:
		return info_copy(context->properties,
				 context->nproperties * sizeof(*context->properties),
				 param_value_size, param_value, param_value_size_ret);
	default:
		return CL_INVALID_VALUE;
	}
}

cl_int arax_clSetContextDestructorCallback(cl_context context,
					   void(CL_CALLBACK *notify)(cl_context, void *),
					   void *user_data)
{
	struct context_callback *callback;

	if (!object_is(context, OBJECT_CONTEXT))
		return CL_INVALID_CONTEXT;
	if (!notify)
		return CL_INVALID_VALUE;
	callback = malloc(sizeof(*callback));
	if (!callback)
		return CL_OUT_OF_HOST_MEMORY;
	pthread_mutex_lock(&context->lock);
	*callback = (struct context_callback){context->callbacks, notify, user_data};
	context->callbacks = callback;
	pthread_mutex_unlock(&context->lock);
	return CL_SUCCESS;
}
