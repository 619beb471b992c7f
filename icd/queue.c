/* SPDX-License-Identifier: Apache-2.0
 *
 * Command queues, flush and finish, markers and barriers (OpenCL 3.0 sections 5.1, 5.12, 5.15).
 * Records go to the tenant as they are enqueued, so a flush has nothing left to do.
 */
#include "icd/connection.h"

#include <stdlib.h>

/* As in the protocol (QUEUE_DEFINE). */
enum { PRIORITY_LOW, PRIORITY_MEDIUM, PRIORITY_HIGH, PRIORITY_NONE };

#define KNOWN_PROPERTIES (CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE | CL_QUEUE_PROFILING_ENABLE)

static void queue_destroy(struct object *object)
{
	cl_command_queue queue = (cl_command_queue)object;

	connection_drop(queue->context->conn, ARAX_OP_QUEUE_DROP, queue->handle);
	free(queue->property_list);
	pthread_mutex_destroy(&queue->lock);
	object_unuse(&queue->context->object);
	free(queue);
}

/* Gives the queue a (new) handle in the tenant. */
static cl_int define_queue(cl_command_queue queue)
{
	struct connection *conn = queue->context->conn;
	struct arax_op_queue_define define = {
	    .head = {.size = sizeof(define), .op = ARAX_OP_QUEUE_DEFINE, .slot = ARAX_NO_SLOT},
	    .queue = connection_handle(conn, ARAX_HANDLE_QUEUE),
	    .out_of_order = queue_out_of_order(queue),
	    .priority = queue->priority,
	};

	if (!define.queue)
		return CL_OUT_OF_RESOURCES;
	if (connection_define(conn, &define.head)) {
		connection_drop(conn, ARAX_OP_COUNT, define.queue);
		return CL_OUT_OF_RESOURCES;
	}
	queue->handle = define.queue;
	return CL_SUCCESS;
}

static cl_command_queue queue_new(cl_context context, cl_command_queue_properties properties,
				  unsigned priority, const cl_queue_properties *list, size_t nlist,
				  cl_int *error)
{
	cl_command_queue queue = calloc(1, sizeof(*queue));

	*error = CL_OUT_OF_HOST_MEMORY;
	if (!queue)
		return NULL;
	if (nlist) {
		queue->property_list = malloc(nlist * sizeof(*list));
		if (!queue->property_list) {
			free(queue);
			return NULL;
		}
		memcpy(queue->property_list, list, nlist * sizeof(*list));
		queue->nproperty_list = nlist;
	}
	object_init(&queue->object, OBJECT_QUEUE, queue_destroy);
	object_use(&context->object);
	queue->context = context;
	queue->properties = properties;
	queue->priority = priority;
	pthread_mutex_init(&queue->lock, NULL);
	*error = define_queue(queue);
	if (*error) {
		object_release(&queue->object);
		return NULL;
	}
	return queue;
}

/* Valid but not supported: CL_INVALID_QUEUE_PROPERTIES; unknown: CL_INVALID_VALUE (section 5.1) */
static cl_int check_bits(cl_command_queue_properties bits)
{
	const cl_command_queue_properties on_device =
	    CL_QUEUE_ON_DEVICE | CL_QUEUE_ON_DEVICE_DEFAULT;

	if (bits & ~(KNOWN_PROPERTIES | on_device))
		return CL_INVALID_VALUE;
	if ((bits & CL_QUEUE_ON_DEVICE) && !(bits & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE))
		return CL_INVALID_VALUE;
	if ((bits & CL_QUEUE_ON_DEVICE_DEFAULT) && !(bits & CL_QUEUE_ON_DEVICE))
		return CL_INVALID_VALUE;
	return bits & on_device ? CL_INVALID_QUEUE_PROPERTIES : CL_SUCCESS;
}

/* cl_khr_priority_hints. Return: the protocol's number, or PRIORITY_NONE. */
static unsigned priority_of(cl_queue_properties value)
{
	switch (value) {
	case CL_QUEUE_PRIORITY_HIGH_KHR:
		return PRIORITY_HIGH;
	case CL_QUEUE_PRIORITY_MED_KHR:
		return PRIORITY_MEDIUM;
	case CL_QUEUE_PRIORITY_LOW_KHR:
		return PRIORITY_LOW;
	default:
		return PRIORITY_NONE;
	}
}

static cl_int check_target(cl_context context, cl_device_id device)
{
	if (!object_is(context, OBJECT_CONTEXT))
		return CL_INVALID_CONTEXT;
	return object_is(device, OBJECT_DEVICE) ? CL_SUCCESS : CL_INVALID_DEVICE;
}

cl_command_queue arax_clCreateCommandQueueWithProperties(cl_context context, cl_device_id device,
							 const cl_queue_properties *properties,
							 cl_int *errcode_ret)
{
	cl_command_queue_properties bits = 0;
	cl_command_queue queue = NULL;
	unsigned priority = PRIORITY_MEDIUM;
	size_t count = properties ? 1 : 0;
	cl_int error = check_target(context, device);

	for (const cl_queue_properties *p = properties; !error && p && p[0]; p += 2) {
		if (p[0] == CL_QUEUE_PROPERTIES)
			bits = p[1];
		else if (p[0] == CL_QUEUE_PRIORITY_KHR)
			priority = priority_of(p[1]);
		else
			error = CL_INVALID_VALUE; /* CL_QUEUE_SIZE needs a device queue */
		if (priority == PRIORITY_NONE)
			error = CL_INVALID_VALUE;
		count += 2;
	}
	if (!error)
		error = check_bits(bits);
	if (!error)
		queue = queue_new(context, bits, priority, properties, count, &error);
	set_error(errcode_ret, error);
	return queue;
}

cl_command_queue arax_clCreateCommandQueue(cl_context context, cl_device_id device,
					   cl_command_queue_properties properties,
					   cl_int *errcode_ret)
{
	cl_command_queue queue = NULL;
	cl_int error = check_target(context, device);

	if (!error && (properties & ~KNOWN_PROPERTIES))
		error = CL_INVALID_VALUE;
	if (!error)
		queue = queue_new(context, properties, PRIORITY_MEDIUM, NULL, 0, &error);
	set_error(errcode_ret, error);
	return queue;
}

cl_int arax_clRetainCommandQueue(cl_command_queue queue)
{
	if (!object_is(queue, OBJECT_QUEUE))
		return CL_INVALID_COMMAND_QUEUE;
	object_retain(&queue->object);
	return CL_SUCCESS;
}

cl_int arax_clReleaseCommandQueue(cl_command_queue queue)
{
	if (!object_is(queue, OBJECT_QUEUE))
		return CL_INVALID_COMMAND_QUEUE;
	connection_settle(queue->context->conn);
	object_release(&queue->object);
	return CL_SUCCESS;
}

cl_int arax_clGetCommandQueueInfo(cl_command_queue queue, cl_command_queue_info param_name,
				  size_t param_value_size, void *param_value,
				  size_t *param_value_size_ret)
{
	if (!object_is(queue, OBJECT_QUEUE))
		return CL_INVALID_COMMAND_QUEUE;
	switch (param_name) {
	case CL_QUEUE_CONTEXT:
		return INFO(cl_context, queue->context);
	case CL_QUEUE_DEVICE:
		return INFO(cl_device_id, &the_device);
	case CL_QUEUE_REFERENCE_COUNT:
		return INFO(cl_uint, queue->object.refs);
	case CL_QUEUE_PROPERTIES:
		return INFO(cl_command_queue_properties, queue->properties);
	case CL_QUEUE_PROPERTIES_ARRAY:
		return info_copy(queue->property_list,
				 queue->nproperty_list * sizeof(*queue->property_list),
				 param_value_size, param_value, param_value_size_ret);
	case CL_QUEUE_SIZE: /* not a device queue */
		return CL_INVALID_COMMAND_QUEUE;
	case CL_QUEUE_DEVICE_DEFAULT:
		return INFO(cl_command_queue, NULL);
	default:
		return CL_INVALID_VALUE;
	}
}

/* ---- finish --------------------------------------------------------------------------------- */

struct finish {
	cl_command_queue queue;
	uint64_t target;
};

/* In order, as many commands must have ended as were submitted before the call; out of order they
 * end in any order, so all must have. */
static bool finished(void *arg)
{
	struct finish *f = arg;
	uint64_t completed = atomic_load_explicit(&f->queue->completed, memory_order_acquire);

	if (queue_out_of_order(f->queue))
		return completed ==
		       atomic_load_explicit(&f->queue->submitted, memory_order_relaxed);
	return completed >= f->target;
}

/* The slot whose end is the end of the wait; none when another thread enqueues just now. */
static uint32_t finish_slot(const struct finish *f)
{
	uint32_t slot = atomic_load(&f->queue->last_slot);
	bool same = atomic_load(&f->queue->submitted) == f->target;

	return same && !queue_out_of_order(f->queue) ? slot : ARAX_NO_SLOT;
}

static cl_int finish_queue(cl_command_queue queue)
{
	struct finish f = {queue, atomic_load(&queue->submitted)};
	struct connection *conn = queue->context->conn;
	uint32_t last = finish_slot(&f), losses = atomic_load(&queue->losses);

	/* the tenant's death ends all commands too, but that is no success */
	if (!connection_wait_slot(conn, last, finished, &f, true) || !connection_alive(conn))
		return CL_OUT_OF_RESOURCES;
	if (queue_lost(queue, losses))
		return CL_OUT_OF_RESOURCES;
	return CL_SUCCESS;
}

cl_int arax_clFinish(cl_command_queue queue)
{
	if (!object_is(queue, OBJECT_QUEUE))
		return CL_INVALID_COMMAND_QUEUE;
	if (!connection_alive(queue->context->conn))
		return CL_OUT_OF_RESOURCES;
	return finish_queue(queue);
}

cl_int arax_clFlush(cl_command_queue queue)
{
	if (!object_is(queue, OBJECT_QUEUE))
		return CL_INVALID_COMMAND_QUEUE;
	if (!connection_alive(queue->context->conn))
		return CL_OUT_OF_RESOURCES;
	connection_settle(queue->context->conn);
	return CL_SUCCESS;
}

/* Deprecated with OpenCL 1.1: all commands before it end first (1.0 section 5.1). */
cl_int arax_clSetCommandQueueProperty(cl_command_queue queue,
				      cl_command_queue_properties properties, cl_bool enable,
				      cl_command_queue_properties *old_properties)
{
	cl_int error = CL_SUCCESS;

	if (!object_is(queue, OBJECT_QUEUE))
		return CL_INVALID_COMMAND_QUEUE;
	if (properties & ~KNOWN_PROPERTIES)
		return CL_INVALID_VALUE;
	error = finish_queue(queue);
	if (error)
		return error;
	pthread_mutex_lock(&queue->lock);
	cl_command_queue_properties old = queue->properties;
	queue->properties = enable ? old | properties : old & ~properties;
	if ((old ^ queue->properties) & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE) {
		uint32_t handle = queue->handle;

		error = define_queue(queue);
		if (!error)
			connection_drop(queue->context->conn, ARAX_OP_QUEUE_DROP, handle);
		else
			queue->properties = old;
	}
	pthread_mutex_unlock(&queue->lock);
	if (old_properties && !error)
		*old_properties = old;
	return error;
}

/* ---- markers and barriers ------------------------------------------------------------------- */

static cl_int marker(const struct command_desc *desc, bool barrier)
{
	cl_int error = command_check(desc);

	return error ? error : command_marker(desc, desc->nwait == 0, barrier);
}

cl_int arax_clEnqueueMarkerWithWaitList(cl_command_queue queue, cl_uint num_events_in_wait_list,
					const cl_event *event_wait_list, cl_event *event)
{
	struct command_desc desc = COMMAND(queue, CL_COMMAND_MARKER);

	return marker(&desc, false);
}

cl_int arax_clEnqueueBarrierWithWaitList(cl_command_queue queue, cl_uint num_events_in_wait_list,
					 const cl_event *event_wait_list, cl_event *event)
{
	struct command_desc desc = COMMAND(queue, CL_COMMAND_BARRIER);

	return marker(&desc, true);
}

cl_int arax_clEnqueueMarker(cl_command_queue queue, cl_event *event)
{
	struct command_desc desc = {.queue = queue, .type = CL_COMMAND_MARKER, .event = event};
	cl_int error = command_check(&desc);

	if (!error && !event)
		error = CL_INVALID_VALUE;
	return error ? error : command_marker(&desc, true, false);
}

cl_int arax_clEnqueueBarrier(cl_command_queue queue)
{
	struct command_desc desc = {.queue = queue, .type = CL_COMMAND_BARRIER};

	return marker(&desc, true);
}

cl_int arax_clEnqueueWaitForEvents(cl_command_queue queue, cl_uint num_events,
				   const cl_event *event_list)
{
	struct command_desc desc = {
	    .queue = queue, .type = CL_COMMAND_BARRIER, .nwait = num_events, .waits = event_list};

	if (!object_is(queue, OBJECT_QUEUE))
		return CL_INVALID_COMMAND_QUEUE;
	if (!num_events || !event_list)
		return CL_INVALID_VALUE;
	cl_int error = marker(&desc, true);
	return error == CL_INVALID_EVENT_WAIT_LIST ? CL_INVALID_EVENT : error;
}
