/* SPDX-License-Identifier: Apache-2.0
 *
 * Enqueueing, and which way a command takes. At once: nothing that it must wait for is in flight,
 * what it touches is in the arena, and the client can do it. Reads, writes, small copies and fills,
 * maps and markers are then a memcpy (or nothing) by the calling thread, under the queue's lock so
 * that nothing overtakes them. Else by the ring (command.c). Both give the same events.
 */
#include "icd/command.h"
#include "transport/fault_point.h"

#include <errno.h>

/* More than this is not copied by a caller that did not ask to block. */
#define AT_ONCE_BYTES (1u << 20)
/* A copy or fill within the arena of up to this size is faster than the way to the tenant. */
#define AT_ONCE_DEVICE_BYTES (64u << 10)

void copy_run(const struct copy *c)
{
	if ((c->height == 1 || (c->src_row == c->width && c->dst_row == c->width)) &&
	    (c->depth == 1 ||
	     (c->src_slice == c->width * c->height && c->dst_slice == c->width * c->height))) {
		memmove(c->dst, c->src, c->width * c->height * c->depth);
		return;
	}
	for (size_t z = 0; z < c->depth; z++) {
		for (size_t y = 0; y < c->height; y++)
			memmove(c->dst + z * c->dst_slice + y * c->dst_row,
				c->src + z * c->src_slice + y * c->src_row, c->width);
	}
}

cl_int host_work_copy(const struct host_work *work)
{
	ARAX_FAULT_POINT(CLIENT_COPIES);
	copy_run(&work->copy);
	return CL_SUCCESS;
}

static void fill_row(char *dst, size_t width, const void *pattern, size_t pattern_size)
{
	if (pattern_size == 1) {
		memset(dst, *(const unsigned char *)pattern, width);
		return;
	}
	for (size_t i = 0; i < width; i += pattern_size)
		memcpy(dst + i, pattern, pattern_size);
}

static void fill_run(const struct copy *box, const void *pattern, size_t pattern_size)
{
	for (size_t z = 0; z < box->depth; z++) {
		for (size_t y = 0; y < box->height; y++)
			fill_row(box->dst + z * box->dst_slice + y * box->dst_row, box->width,
				 pattern, pattern_size);
	}
}

/* May the client do that with the arena by itself, as far as devices are concerned? */
static bool home_allows(cl_mem mem, uint32_t access)
{
	uint32_t home = mem ? mem_home(mem) : 0;

	return !home || (access == ARAX_ACCESS_READ && !(home & ARAX_HOME_STALE)) ||
	       access == ARAX_ACCESS_NONE;
}

/* To be asked when what comes before has ended: that may have changed it. */
static bool at_home(const struct command_desc *desc)
{
	for (cl_uint i = 0; i < desc->nreached; i++) {
		if (!home_allows(desc->reached[i], ARAX_ACCESS_BOTH))
			return false;
	}
	return home_allows(desc->reach.mem, desc->reach.access) &&
	       home_allows(desc->source, ARAX_ACCESS_READ);
}

/* ---- at once -------------------------------------------------------------------------------- */

/* The event of a command that is executed at once, made before it so that nothing can go wrong
 * after; *event stays NULL when none is wanted. */
static cl_int event_for_once(const struct command_desc *desc, cl_event *event)
{
	if (!desc->event)
		return CL_SUCCESS;
	*event = event_new(desc->queue->context, desc->queue, desc->type);
	return *event ? CL_SUCCESS : CL_OUT_OF_HOST_MEMORY;
}

static void event_at_once(cl_event event, cl_int status, uint64_t start)
{
	if (!event)
		return;
	if (start)
		event->queued = start;
	event_set(event, status, start, start, arax_now_ns());
}

static cl_int event_for_ring(const struct command_desc *desc, cl_event *event)
{
	if (!desc->event && !desc->blocking)
		return CL_SUCCESS;
	*event = event_new(desc->queue->context, desc->queue, desc->type);
	return *event ? CL_SUCCESS : CL_OUT_OF_HOST_MEMORY;
}

static bool traced(const struct command_desc *desc)
{
	return arax_trace_on(&desc->queue->context->conn->trace);
}

static uint64_t start_time(const struct command_desc *desc, bool trace)
{
	return desc->event || trace ? arax_now_ns() : 0;
}

static cl_int failed_at_once(const struct command_desc *desc, cl_event *event)
{
	cl_int error = event_for_once(desc, event);

	event_at_once(*event, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST,
		      start_time(desc, false));
	if (!error && desc->blocking)
		error = CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST;
	return error;
}

static void count_at_once(const struct command_desc *desc, size_t bytes, cl_int status,
			  uint64_t start, bool trace)
{
	struct connection *conn = desc->queue->context->conn;

	if (trace)
		trace_client(conn, &(struct traced){.type = desc->type,
						    .queue = desc->queue->handle,
						    .status = status,
						    .bytes = bytes,
						    .queued = start,
						    .submit = start,
						    .start = start});
	atomic_fetch_add_explicit(&conn->shm->client_commands, 1, memory_order_relaxed);
	if (bytes)
		atomic_fetch_add_explicit(&conn->shm->client_bytes, bytes, memory_order_relaxed);
}

/* ---- the ways in ---------------------------------------------------------------------------- */

/* The bytes of a box from its first to its last. */
static uint64_t extent(const struct copy *c, size_t row, size_t slice)
{
	return (c->depth - 1) * slice + (c->height - 1) * row + c->width;
}

void command_reaches(struct command_desc *desc, cl_mem mem, const struct copy *c, uint32_t access)
{
	bool reads = access == ARAX_ACCESS_READ;
	size_t row = reads ? c->src_row : c->dst_row, slice = reads ? c->src_slice : c->dst_slice;
	size_t size = extent(c, row, slice);

	desc->reach = (struct command_reach){.mem = mem,
					     .access = access,
					     .exact = size == c->width * c->height * c->depth,
					     .data = reads ? c->src : c->dst,
					     .size = size};
}

static uint64_t reach_offset(const struct command_desc *desc)
{
	return desc->reach.size ? (uint64_t)(desc->reach.data - desc->queue->context->conn->base)
				: 0;
}

cl_int command_host(const struct command_desc *desc, const struct host_work *work)
{
	struct arax_op_host host = {
	    .head = {.size = sizeof(host), .op = ARAX_OP_HOST},
	    .access = desc->reached ? ARAX_ACCESS_BOTH : desc->reach.access,
	    .exact = desc->reach.exact,
	    .data_off = reach_offset(desc),
	    .data_len = desc->reach.size,
	};
	struct submission s = {.desc = desc, .record = &host.head, .work = work};
	struct command *command = NULL;
	cl_event event = NULL;
	bool failed, at_once;
	cl_int error;

	pthread_mutex_lock(&desc->queue->lock);
	at_once = (desc->blocking || (work->bytes <= AT_ONCE_BYTES && !work->deferred)) &&
		  queue_idle(desc, false, &failed) && at_home(desc);
	if (at_once && failed) {
		error = failed_at_once(desc, &event);
	} else if (at_once) {
		error = event_for_once(desc, &event);
		if (!error) {
			bool trace = traced(desc);
			uint64_t start = start_time(desc, trace);
			cl_int status = work->run(work);

			count_at_once(desc, work->bytes, status, start, trace);
			event_at_once(event, status, start);
			if (desc->blocking)
				error = status;
		}
	} else {
		error = event_for_ring(desc, &event);
		if (!error)
			error = submit(&s, event, &command);
	}
	/* submit() took over work->release when it succeeded */
	if (work->release && (at_once || error))
		work->release(work);
	return finish_enqueue(desc, error, event, command);
}

/* Commands that the tenant executes, or the client at once through run(). */
static cl_int command_tenant(const struct submission *s, bool all, size_t bytes, bool small,
			     void (*run)(const void *arg), const void *arg)
{
	const struct command_desc *desc = s->desc;
	cl_event event = NULL;
	bool failed;
	cl_int error;

	pthread_mutex_lock(&desc->queue->lock);
	if (!small || !queue_idle(desc, all, &failed) || !at_home(desc)) {
		error = event_for_ring(desc, &event);
		if (!error)
			error = submit(s, event, NULL);
	} else if (failed) {
		error = failed_at_once(desc, &event);
	} else {
		error = event_for_once(desc, &event);
		if (!error) {
			bool trace = traced(desc);
			uint64_t start = start_time(desc, trace);

			if (run)
				run(arg);
			count_at_once(desc, bytes, CL_COMPLETE, start, trace);
			event_at_once(event, CL_COMPLETE, start);
		}
	}
	return finish_enqueue(desc, error, event, NULL);
}

static void run_copy(const void *arg)
{
	copy_run(arg);
}

/* The protocol asks for pitches that hold a row, a slice, also where there is only one. */
static void normalise(struct copy *c)
{
	if (c->height == 1)
		c->src_row = c->dst_row = c->width;
	if (c->depth == 1) {
		c->src_slice = (c->height - 1) * c->src_row + c->width;
		c->dst_slice = (c->height - 1) * c->dst_row + c->width;
	}
}

cl_int command_copy(const struct command_desc *caller, const struct copy *copy)
{
	struct command_desc with_objects = *caller, *desc = &with_objects;
	struct copy c = *copy;
	char *base = desc->queue->context->conn->base;

	normalise(&c);
	desc->source = (cl_mem)desc->refs[0];
	command_reaches(desc, (cl_mem)desc->refs[1], &c, ARAX_ACCESS_WRITE);
	struct arax_op_copy op = {
	    .head = {.size = sizeof(op), .op = ARAX_OP_COPY},
	    .src_off = (uint64_t)(c.src - base),
	    .src_len = extent(&c, c.src_row, c.src_slice),
	    .dst_off = (uint64_t)(c.dst - base),
	    .dst_len = extent(&c, c.dst_row, c.dst_slice),
	    .width = c.width,
	    .height = c.height,
	    .depth = c.depth,
	    .src_row_pitch = c.src_row,
	    .src_slice_pitch = c.src_slice,
	    .dst_row_pitch = c.dst_row,
	    .dst_slice_pitch = c.dst_slice,
	};
	struct submission s = {.desc = desc, .record = &op.head};
	size_t bytes = c.width * c.height * c.depth;

	return command_tenant(&s, false, bytes, bytes <= AT_ONCE_DEVICE_BYTES, run_copy, &c);
}

struct fill {
	struct copy box;
	const void *pattern;
	size_t pattern_size;
};

static void run_fill(const void *arg)
{
	const struct fill *fill = arg;

	fill_run(&fill->box, fill->pattern, fill->pattern_size);
}

cl_int command_fill(const struct command_desc *caller, const struct copy *box, const void *pattern,
		    size_t pattern_size)
{
	struct command_desc with_objects = *caller, *desc = &with_objects;
	struct fill fill = {*box, pattern, pattern_size};
	struct copy *c = &fill.box;
	char *base = desc->queue->context->conn->base;

	c->src_row = c->dst_row;
	c->src_slice = c->dst_slice;
	normalise(c);
	command_reaches(desc, (cl_mem)desc->refs[0], c, ARAX_ACCESS_WRITE);
	struct arax_op_fill op = {
	    .head = {.size = sizeof(op), .op = ARAX_OP_FILL},
	    .dst_off = (uint64_t)(c->dst - base),
	    .dst_len = extent(c, c->dst_row, c->dst_slice),
	    .width = c->width,
	    .height = c->height,
	    .depth = c->depth,
	    .dst_row_pitch = c->dst_row,
	    .dst_slice_pitch = c->dst_slice,
	};
	struct submission s = {
	    .desc = desc, .record = &op.head, .tail = pattern, .tail_size = pattern_size};
	size_t bytes = c->width * c->height * c->depth;

	bool small =
	    bytes <= AT_ONCE_DEVICE_BYTES && home_allows((cl_mem)desc->refs[0], ARAX_ACCESS_WRITE);

	return command_tenant(&s, false, bytes, small, run_fill, &fill);
}

cl_int command_marker(const struct command_desc *desc, bool all, bool barrier)
{
	struct arax_op_marker op = {
	    .head = {.size = sizeof(op), .op = ARAX_OP_MARKER},
	    .all = all,
	    .barrier = barrier,
	    .access = desc->reach.access,
	    .data_off = reach_offset(desc),
	    .data_len = desc->reach.size,
	};
	struct submission s = {.desc = desc, .record = &op.head, .barrier = barrier};

	return command_tenant(&s, all, 0, true, NULL, NULL);
}
