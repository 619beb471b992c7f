/* SPDX-License-Identifier: Apache-2.0
 *
 * Events: their status, times and callbacks (OpenCL 3.0 sections 5.11 to 5.14). A command's event
 * is final when the connection reaped its slot; until then the slot in shared memory says how far
 * it is. A user event gets a slot only when a command waits for it.
 */
#include "icd/connection.h"
#include "transport/socket.h"

#include <stdlib.h>

#define LOOKS_PER_CHECK 64

static void event_destroy(struct object *object)
{
	cl_event event = (cl_event)object;
	struct event_callback *next;

	/* Only a user event that was never completed can still have callbacks. */
	for (struct event_callback *c = event->callbacks; c; c = next) {
		next = c->next;
		free(c);
	}
	if (event->queue)
		object_unuse(&event->queue->object);
	object_unuse(&event->context->object);
	pthread_mutex_destroy(&event->lock);
	free(event);
}

cl_event event_new(cl_context context, cl_command_queue queue, cl_command_type type)
{
	cl_event event = calloc(1, sizeof(*event));

	if (!event)
		return NULL;
	object_init(&event->object, OBJECT_EVENT, event_destroy);
	object_use(&context->object);
	if (queue)
		object_use(&queue->object);
	event->context = context;
	event->queue = queue;
	event->type = type;
	pthread_mutex_init(&event->lock, NULL);
	atomic_init(&event->status, CL_QUEUED);
	atomic_init(&event->slot, ARAX_NO_SLOT);
	event->queued = arax_now_ns();
	return event;
}

void event_set(cl_event event, cl_int status, cl_ulong submit, cl_ulong start, cl_ulong end)
{
	cl_ulong now = 0;

	/* The other side's clock is ours, but its memory is not to be trusted: keep the order. */
	if (!submit || !start || !end)
		now = arax_now_ns();
	event->submit = submit > event->queued ? submit : event->queued;
	event->start = start > event->submit ? start : event->submit;
	event->end = end ? end : now;
	if (event->end < event->start)
		event->end = event->start;
	atomic_store_explicit(&event->slot, ARAX_NO_SLOT, memory_order_relaxed);
	atomic_store_explicit(&event->status, status, memory_order_release);
}

static struct event_callback *take_callbacks(cl_event event)
{
	struct event_callback *list;

	pthread_mutex_lock(&event->lock);
	list = event->callbacks;
	event->callbacks = NULL;
	pthread_mutex_unlock(&event->lock);
	return list;
}

/* Each state once and in the order of the states; on failure all of them with the error. */
void event_call_back(cl_event event)
{
	cl_int status = atomic_load_explicit(&event->status, memory_order_acquire);
	struct event_callback *list = take_callbacks(event), *next;

	for (cl_int type = CL_SUBMITTED; type >= CL_COMPLETE; type--) {
		for (struct event_callback *c = list; c; c = c->next) {
			if (c->type == type)
				c->notify(event, status < 0 ? status : type, c->arg);
		}
	}
	for (; list; list = next) {
		next = list->next;
		free(list);
	}
}

cl_event arax_clCreateUserEvent(cl_context context, cl_int *errcode_ret)
{
	if (!object_is(context, OBJECT_CONTEXT)) {
		set_error(errcode_ret, CL_INVALID_CONTEXT);
		return NULL;
	}
	cl_event event = event_new(context, NULL, CL_COMMAND_USER);
	if (event)
		atomic_store(&event->status, CL_SUBMITTED);
	set_error(errcode_ret, event ? CL_SUCCESS : CL_OUT_OF_HOST_MEMORY);
	return event;
}

cl_int arax_clSetUserEventStatus(cl_event event, cl_int execution_status)
{
	if (!object_is(event, OBJECT_EVENT) || event->type != CL_COMMAND_USER)
		return CL_INVALID_EVENT;
	if (execution_status > CL_COMPLETE)
		return CL_INVALID_VALUE;
	struct connection *conn = event->context->conn;

	pthread_mutex_lock(&event->lock);
	if (event->status <= CL_COMPLETE) {
		pthread_mutex_unlock(&event->lock);
		return CL_INVALID_OPERATION;
	}
	object_use(&event->object); /* the application may release it in a callback */
	if (connection_alive(conn)) {
		pthread_mutex_lock(&conn->lock);
		uint32_t slot = event->slot;
		event_set(event, execution_status, 0, 0, 0);
		if (slot != ARAX_NO_SLOT)
			connection_host_done(conn, slot, execution_status);
		pthread_mutex_unlock(&conn->lock);
	} else {
		event_set(event, execution_status, 0, 0, 0);
	}
	pthread_mutex_unlock(&event->lock);
	if (!conn->forked) {
		connection_wake(conn); /* threads that wait for this very event */
		progress_notify(conn, event);
		connection_settle(conn);
	}
	object_unuse(&event->object);
	return CL_SUCCESS;
}

static bool event_final(void *arg)
{
	return atomic_load_explicit(&((cl_event)arg)->status, memory_order_acquire) <= CL_COMPLETE;
}

cl_int arax_clWaitForEvents(cl_uint num_events, const cl_event *event_list)
{
	cl_int error = CL_SUCCESS;

	if (!num_events || !event_list)
		return CL_INVALID_VALUE;
	for (cl_uint i = 0; i < num_events; i++) {
		if (!object_is(event_list[i], OBJECT_EVENT))
			return CL_INVALID_EVENT;
		if (event_list[i]->context != event_list[0]->context)
			return CL_INVALID_CONTEXT;
	}
	for (cl_uint i = 0; i < num_events; i++) {
		cl_event event = event_list[i];

		uint32_t slot =
		    event->type == CL_COMMAND_USER ? ARAX_NO_SLOT : atomic_load(&event->slot);

		if (!event_final(event) &&
		    !connection_wait_slot(event->context->conn, slot, event_final, event, true))
			return CL_OUT_OF_RESOURCES;
		if (event->status < 0)
			error = CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST;
	}
	connection_settle(event_list[0]->context->conn);
	return error;
}

/* What an application may see now. A slot that says complete is not final before it was reaped in
 * order, so until then it runs. */
static cl_int event_status(cl_event event)
{
	struct connection *conn = event->context->conn;
	cl_int status = atomic_load_explicit(&event->status, memory_order_acquire);

	if (status <= CL_COMPLETE || event->type == CL_COMMAND_USER || !connection_alive(conn))
		return status;
	/* Who never waits finds out, too. */
	if (atomic_fetch_add_explicit(&conn->looks, 1, memory_order_relaxed) % LOOKS_PER_CHECK ==
		LOOKS_PER_CHECK - 1 &&
	    arax_socket_hung_up(conn->link))
		connection_fail(conn, "its link was closed");
	connection_settle(conn);
	pthread_mutex_lock(&conn->lock);
	status = atomic_load_explicit(&event->status, memory_order_acquire);
	uint32_t slot = event->slot;
	if (status > CL_COMPLETE && slot != ARAX_NO_SLOT) {
		status = atomic_load_explicit(&conn->shm->slots[slot].status, memory_order_relaxed);
		if (status <= CL_COMPLETE || status > CL_QUEUED)
			status = CL_RUNNING;
	}
	pthread_mutex_unlock(&conn->lock);
	return status;
}

cl_int arax_clGetEventInfo(cl_event event, cl_event_info param_name, size_t param_value_size,
			   void *param_value, size_t *param_value_size_ret)
{
	if (!object_is(event, OBJECT_EVENT))
		return CL_INVALID_EVENT;
	switch (param_name) {
	case CL_EVENT_COMMAND_QUEUE:
		return INFO(cl_command_queue, event->queue);
	case CL_EVENT_CONTEXT:
		return INFO(cl_context, event->context);
	case CL_EVENT_COMMAND_TYPE:
		return INFO(cl_command_type, event->type);
	case CL_EVENT_COMMAND_EXECUTION_STATUS:
		return INFO(cl_int, event_status(event));
	case CL_EVENT_REFERENCE_COUNT:
		return INFO(cl_uint, event->object.refs);
	default:
		return CL_INVALID_VALUE;
	}
}

cl_int arax_clGetEventProfilingInfo(cl_event event, cl_profiling_info param_name,
				    size_t param_value_size, void *param_value,
				    size_t *param_value_size_ret)
{
	if (!object_is(event, OBJECT_EVENT))
		return CL_INVALID_EVENT;
	if (event->type == CL_COMMAND_USER ||
	    !(event->queue->properties & CL_QUEUE_PROFILING_ENABLE) ||
	    event_status(event) != CL_COMPLETE)
		return CL_PROFILING_INFO_NOT_AVAILABLE;
	switch (param_name) {
	case CL_PROFILING_COMMAND_QUEUED:
		return INFO(cl_ulong, event->queued);
	case CL_PROFILING_COMMAND_SUBMIT:
		return INFO(cl_ulong, event->submit);
	case CL_PROFILING_COMMAND_START:
		return INFO(cl_ulong, event->start);
	case CL_PROFILING_COMMAND_END:
	case CL_PROFILING_COMMAND_COMPLETE: /* no child kernels: the same as END */
		return INFO(cl_ulong, event->end);
	default:
		return CL_INVALID_VALUE;
	}
}

/* Will somebody see the end of what is in flight, even if the application does not call again? */
static bool can_call_back(struct connection *conn)
{
	if (!connection_alive(conn))
		return false;
	pthread_mutex_lock(&conn->lock);
	int err = progress_ensure(conn);
	pthread_mutex_unlock(&conn->lock);
	return !err;
}

cl_int arax_clSetEventCallback(cl_event event, cl_int command_exec_callback_type,
			       void(CL_CALLBACK *pfn_notify)(cl_event, cl_int, void *),
			       void *user_data)
{
	if (!object_is(event, OBJECT_EVENT))
		return CL_INVALID_EVENT;
	if (!pfn_notify || command_exec_callback_type < CL_COMPLETE ||
	    command_exec_callback_type > CL_SUBMITTED)
		return CL_INVALID_VALUE;
	struct connection *conn = event->context->conn;
	struct event_callback *callback = malloc(sizeof(*callback));

	if (!callback)
		return CL_OUT_OF_HOST_MEMORY;
	if (!event_final(event) && !can_call_back(conn)) {
		free(callback);
		return CL_OUT_OF_RESOURCES;
	}
	*callback = (struct event_callback){
	    .type = command_exec_callback_type, .notify = pfn_notify, .arg = user_data};
	pthread_mutex_lock(&event->lock);
	struct event_callback **end = &event->callbacks;
	while (*end)
		end = &(*end)->next;
	*end = callback;
	pthread_mutex_unlock(&event->lock);
	/* Somebody must see the end even if the application does not call again. */
	pthread_mutex_lock(&conn->lock);
	bool final = event_final(event);
	if (!final && event->slot != ARAX_NO_SLOT && conn->commands[event->slot] &&
	    !conn->commands[event->slot]->watched) {
		conn->commands[event->slot]->watched = true;
		progress_watch(conn);
	}
	pthread_mutex_unlock(&conn->lock);
	if (final)
		progress_notify(conn, event);
	return CL_SUCCESS;
}

cl_int arax_clRetainEvent(cl_event event)
{
	if (!object_is(event, OBJECT_EVENT))
		return CL_INVALID_EVENT;
	object_retain(&event->object);
	return CL_SUCCESS;
}

cl_int arax_clReleaseEvent(cl_event event)
{
	if (!object_is(event, OBJECT_EVENT))
		return CL_INVALID_EVENT;
	object_release(&event->object);
	return CL_SUCCESS;
}
