/* SPDX-License-Identifier: Apache-2.0
 *
 * The discrete back end on native OpenCL libraries: streams and launches.
 *
 * A stream is an in-order queue and a thread that waits for its commands one after the other and
 * calls done. Event callbacks would save the thread, but libraries differ: PoCL does not call them
 * on errors, Oclgrind executes nothing until somebody waits.
 */
#include <stdlib.h>

#include "devices/opencl_discrete_internal.h"
#include "transport/protocol.h"
#include "transport/wake.h"

/* Bytes up to which a value of unknown type is taken for a scalar, or for a struct too small to be
 * looked up by index. */
#define STRUCT_HARMLESS 8

struct discrete_stream {
	struct arax_device_stream stream; /* first */
	struct discrete_device *device;
	pthread_mutex_t mutex;
	pthread_cond_t changed; /* a command came, or stop */
	struct discrete_flight *first, **last;
	bool stop;
	uint64_t ended_ns; /* the stream's thread only */
};

struct discrete_flight *discrete_flight_new(arax_device_done done, void *arg)
{
	struct discrete_flight *flight = malloc(sizeof(*flight));
	if (flight)
		*flight =
		    (struct discrete_flight){.submit_ns = arax_now_ns(), .done = done, .arg = arg};
	return flight;
}

void discrete_flight_go(struct arax_device_stream *handle, struct discrete_flight *flight)
{
	struct discrete_stream *stream = (struct discrete_stream *)handle;
	pthread_mutex_lock(&stream->mutex);
	*stream->last = flight;
	stream->last = &flight->next;
	pthread_cond_signal(&stream->changed);
	pthread_mutex_unlock(&stream->mutex);
}

/* What became of a command. Return: 0 or a negative OpenCL error. */
static cl_int outcome(const cl_icd_dispatch *cl, cl_event event)
{
	cl_int status = CL_COMPLETE;
	cl_int err = cl->clWaitForEvents(1, &event);
	if (cl->clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(status), &status,
			       NULL))
		return CL_OUT_OF_RESOURCES;
	if (status < 0)
		return status;
	return status == CL_COMPLETE ? err : CL_OUT_OF_RESOURCES;
}

static void land(struct discrete_stream *stream, struct discrete_flight *flight)
{
	struct discrete_device *device = stream->device;
	const cl_icd_dispatch *cl = device->opencl->cl;
	discrete_enter(device);
	cl_int err = outcome(cl, flight->event);
	uint64_t end_ns = arax_now_ns();
	uint64_t start_ns = flight->submit_ns;
	if (!device->library->times_wrong)
		start_ns = opencl_start_of(cl, flight->event, flight->submit_ns, end_ns);
	cl->clReleaseEvent(flight->event);
	discrete_leave(device);
	/* Not every library tells how long it took; in a stream nothing begins before the end of
	 * what stood before it. */
	if (start_ns < stream->ended_ns)
		start_ns = stream->ended_ns;
	stream->ended_ns = end_ns;
	flight->done(flight->arg, err, start_ns, end_ns);
	free(flight);
}

static struct discrete_flight *next_flight(struct discrete_stream *stream)
{
	pthread_mutex_lock(&stream->mutex);
	while (!stream->first && !stream->stop)
		pthread_cond_wait(&stream->changed, &stream->mutex);
	struct discrete_flight *flight = stream->first;
	if (flight) {
		stream->first = flight->next;
		if (!stream->first)
			stream->last = &stream->first;
	}
	pthread_mutex_unlock(&stream->mutex);
	return flight;
}

static void stream_release(struct discrete_stream *stream)
{
	struct discrete_device *device = stream->device;
	discrete_enter(device);
	device->opencl->cl->clReleaseCommandQueue(stream->stream.queue);
	discrete_leave(device);
	pthread_mutex_destroy(&stream->mutex);
	pthread_cond_destroy(&stream->changed);
	free(stream);
	pthread_mutex_lock(&device->mutex);
	device->streams--;
	pthread_cond_broadcast(&device->ended);
	pthread_mutex_unlock(&device->mutex);
}

static void *stream_run(void *arg)
{
	struct discrete_stream *stream = arg;
	for (struct discrete_flight *flight; (flight = next_flight(stream)) != NULL;)
		land(stream, flight);
	stream_release(stream);
	return NULL;
}

static cl_int queue_new(struct discrete_device *device, cl_command_queue *queue)
{
	const cl_icd_dispatch *cl = device->opencl->cl;
	cl_int err;
	discrete_enter(device);
	*queue = cl->clCreateCommandQueue(device->opencl->context, device->native.id,
					  CL_QUEUE_PROFILING_ENABLE, &err);
	if (err == CL_INVALID_QUEUE_PROPERTIES)
		*queue =
		    cl->clCreateCommandQueue(device->opencl->context, device->native.id, 0, &err);
	discrete_leave(device);
	return err;
}

int discrete_stream_new(struct arax_device *dev, struct arax_device_stream **out)
{
	struct discrete_device *device = discrete_device(dev);
	struct discrete_stream *stream = calloc(1, sizeof(*stream));
	pthread_t thread;
	if (!stream)
		return CL_OUT_OF_HOST_MEMORY;
	stream->device = device;
	stream->last = &stream->first;
	cl_int err = queue_new(device, &stream->stream.queue);
	if (err) {
		free(stream);
		return err;
	}
	pthread_mutex_init(&stream->mutex, NULL);
	pthread_cond_init(&stream->changed, NULL);
	pthread_mutex_lock(&device->mutex);
	device->streams++;
	pthread_mutex_unlock(&device->mutex);
	if (discrete_thread(&thread, stream_run, stream)) {
		stream_release(stream);
		return CL_OUT_OF_HOST_MEMORY;
	}
	pthread_detach(thread);
	*out = &stream->stream;
	return 0;
}

/* Does not wait: its thread lives until the last command has ended. */
void discrete_stream_free(struct arax_device *dev, struct arax_device_stream *handle)
{
	struct discrete_stream *stream = (struct discrete_stream *)handle;
	(void)dev;
	if (!stream)
		return;
	pthread_mutex_lock(&stream->mutex);
	stream->stop = true;
	pthread_cond_signal(&stream->changed);
	pthread_mutex_unlock(&stream->mutex);
}

/* Libraries check less than they should (and some abort), so what is known is checked here. */
static int check_sizes(const struct discrete_device *device, const struct arax_launch *launch)
{
	const struct arax_device_kernel *kernel = launch->kernel;
	uint64_t items = 1, local_mem = kernel->local_mem;
	if (launch->work_dim < 1 || launch->work_dim > 3)
		return CL_INVALID_WORK_DIMENSION;
	if (device->library->offsets_wrong && launch->work_dim == 3 &&
	    (launch->offset[0] || launch->offset[1] || launch->offset[2]))
		return CL_INVALID_GLOBAL_OFFSET;
	for (uint32_t i = 0; launch->has_local && i < launch->work_dim; i++) {
		uint64_t local = launch->local[i];
		if (!local || launch->global[i] % local)
			return CL_INVALID_WORK_GROUP_SIZE;
		if (device->caps.max_item_sizes[i] && local > device->caps.max_item_sizes[i])
			return CL_INVALID_WORK_ITEM_SIZE;
		if (__builtin_mul_overflow(items, local, &items) || items > kernel->group_max)
			return CL_INVALID_WORK_GROUP_SIZE;
	}
	for (uint32_t i = 0; i < launch->nargs; i++) {
		if (launch->args[i].kind != ARAX_ARG_LOCAL)
			continue;
		if (__builtin_add_overflow(local_mem, launch->args[i].size, &local_mem) ||
		    (device->caps.local_mem && local_mem > device->caps.local_mem))
			return CL_INVALID_ARG_SIZE;
	}
	return 0;
}

/* Arguments are set anew each time: a library may know a memory object by what is inside it, which
 * another object at the same address does not share. */
static int set_args(const cl_icd_dispatch *cl, const struct arax_launch *launch)
{
	const struct arax_device_kernel *kernel = launch->kernel;
	if (launch->nargs > kernel->nargs)
		return CL_INVALID_ARG_INDEX;
	if (launch->nargs < kernel->nargs)
		return CL_INVALID_KERNEL_ARGS;
	for (cl_uint i = 0; i < launch->nargs; i++) {
		/* There is no arena here that a pointer could lead to. */
		if (launch->args[i].kind == ARAX_ARG_SVM)
			return CL_INVALID_ARG_VALUE;
		if (i < DISCRETE_ARGS_MAX && kernel->structs[i] &&
		    launch->args[i].size > STRUCT_HARMLESS)
			return CL_INVALID_ARG_VALUE;
		cl_int err = opencl_set_arg(cl, kernel->kernel, i, &launch->args[i]);
		if (err)
			return err;
	}
	return 0;
}

/* A kernel would keep the memory of its last launch from being given back. */
static void forget_args(const cl_icd_dispatch *cl, const struct arax_launch *launch)
{
	const struct arax_launch_arg null = {.kind = ARAX_ARG_MEM};
	for (cl_uint i = 0; i < launch->nargs; i++) {
		const struct arax_launch_arg *arg = &launch->args[i];
		if (arg->kind == ARAX_ARG_MEM && arg->mem &&
		    ((const struct discrete_mem *)arg->mem)->desc.type == CL_MEM_OBJECT_BUFFER)
			(void)opencl_set_arg(cl, launch->kernel->kernel, i, &null);
	}
}

static bool is_empty(const struct arax_launch *launch)
{
	for (uint32_t i = 0; i < launch->work_dim; i++) {
		if (!launch->global[i])
			return true;
	}
	return false;
}

static cl_int enqueue(const cl_icd_dispatch *cl, cl_command_queue queue,
		      const struct arax_launch *launch, cl_event *event)
{
	bool offset = launch->offset[0] || launch->offset[1] || launch->offset[2];
	/* Not every library takes an empty range. */
	if (is_empty(launch))
		return cl->clEnqueueMarkerWithWaitList(queue, 0, NULL, event);
	return cl->clEnqueueNDRangeKernel(queue, launch->kernel->kernel, launch->work_dim,
					  offset ? launch->offset : NULL, launch->global,
					  launch->has_local ? launch->local : NULL, 0, NULL, event);
}

/* Return: an error also where the rules do not allow it: then it is the program's own kernel's. */
static int launch_tuned(struct arax_device *dev, struct arax_device_stream *stream,
			const struct arax_launch *launch)
{
	struct arax_launch tuned = *launch;
	if (!arax_launch_variant(launch->kernel->rules, &tuned))
		return CL_INVALID_WORK_GROUP_SIZE;
	tuned.kernel = launch->kernel->tuned;
	return discrete_launch(dev, stream, &tuned);
}

int discrete_launch(struct arax_device *dev, struct arax_device_stream *stream,
		    const struct arax_launch *launch)
{
	struct discrete_device *device = discrete_device(dev);
	const cl_icd_dispatch *cl = device->opencl->cl;
	if (launch->kernel->tuned && !launch_tuned(dev, stream, launch))
		return 0;
	int err = check_sizes(device, launch);
	if (err)
		return err;
	struct discrete_flight *flight = discrete_flight_new(launch->done, launch->arg);
	if (!flight)
		return CL_OUT_OF_HOST_MEMORY;
	discrete_enter(device);
	err = set_args(cl, launch);
	if (!err)
		err = enqueue(cl, stream->queue, launch, &flight->event);
	if (device->library->keeps_args)
		forget_args(cl, launch);
	/* For a serial library flushing is executing, which the stream's thread does. */
	if (!err && !device->library->serial)
		cl->clFlush(stream->queue);
	discrete_leave(device);
	if (err) {
		free(flight);
		return err;
	}
	discrete_flight_go(stream, flight);
	return 0;
}
