/* SPDX-License-Identifier: Apache-2.0
 *
 * Copies and fills of boxes of the arena, done by the processor: small ones at once, large ones on
 * the copy engine, a thread that completes its work as a device does. That every box lies within
 * its range, and every range within the arena, was checked by arax_record_check().
 */
#include "scheduler/dispatch_internal.h"

#include "transport/fault_point.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define INLINE_BYTES ((uint64_t)256 << 10)

struct copy_engine {
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct command_list jobs;
	pthread_t thread;
};

/* Ranges should not overlap; if they do, only the client's own data suffers, so memmove. */
static void copy_box(char *arena, const struct arax_op_copy *op)
{
	const char *src = arena + op->src_off;
	char *dst = arena + op->dst_off;
	uint64_t width = op->width, height = op->height, depth = op->depth;
	if (height == 1 || (op->src_row_pitch == width && op->dst_row_pitch == width)) {
		width *= height;
		height = 1;
		if (depth == 1 || (op->src_slice_pitch == width && op->dst_slice_pitch == width)) {
			width *= depth;
			depth = 1;
		}
	}
	for (uint64_t z = 0; z < depth; z++) {
		for (uint64_t y = 0; y < height; y++)
			memmove(dst + z * op->dst_slice_pitch + y * op->dst_row_pitch,
				src + z * op->src_slice_pitch + y * op->src_row_pitch, width);
	}
}

/* Repeats a pattern; copies what is there already, doubling, so that it runs at memcpy's speed. */
static void fill_row(char *dst, uint64_t width, const char *pattern, uint32_t size)
{
	if (size == 1) {
		memset(dst, pattern[0], width);
		return;
	}
	uint64_t have = size < width ? size : width;
	memcpy(dst, pattern, have);
	while (have < width) {
		/* Beyond this the source would leave the caches. */
		uint64_t most = (uint64_t)65536 / size * size;
		uint64_t n = have < most ? have : most;
		if (n > width - have)
			n = width - have;
		memcpy(dst + have, dst, n);
		have += n;
	}
}

static void fill_box(char *arena, const struct arax_op_fill *op)
{
	const char *pattern = arax_record_tail(&op->head);
	char *dst = arena + op->dst_off;
	for (uint64_t z = 0; z < op->depth; z++) {
		for (uint64_t y = 0; y < op->height; y++)
			fill_row(dst + z * op->dst_slice_pitch + y * op->dst_row_pitch, op->width,
				 pattern, op->head.tail_size);
	}
}

static void box_run(const struct command *c)
{
	if (c->op == ARAX_OP_COPY)
		copy_box(c->dispatch->config.arena, c->work);
	else
		fill_box(c->dispatch->config.arena, c->work);
	ARAX_FAULT_POINT(TENANT_COPIES);
}

static void *engine_main(void *arg)
{
	struct copy_engine *engine = arg;
	for (;;) {
		pthread_mutex_lock(&engine->lock);
		while (!engine->jobs.first)
			pthread_cond_wait(&engine->work, &engine->lock);
		struct command *c = engine->jobs.first;
		engine->jobs.first = c->link;
		pthread_mutex_unlock(&engine->lock);

		uint64_t start_ns = arax_now_ns();
		box_run(c);
		command_done(c, 0, start_ns, arax_now_ns());
	}
	return NULL;
}

int engine_new(struct copy_engine **out)
{
	struct copy_engine *engine = calloc(1, sizeof(*engine));
	if (!engine)
		return -ENOMEM;
	pthread_mutex_init(&engine->lock, NULL);
	pthread_cond_init(&engine->work, NULL);
	int err = pthread_create(&engine->thread, NULL, engine_main, engine);
	if (err) {
		free(engine);
		return -err;
	}
	*out = engine;
	return 0;
}

static int box_send(struct dispatch *d, struct command *c)
{
	if (!d->engine) {
		int rc = engine_new(&d->engine);
		if (rc)
			return rc;
	}
	c->node.state = GRAPH_RUNNING;
	c->link = NULL;
	d->running++;
	pthread_mutex_lock(&d->engine->lock);
	if (d->engine->jobs.first)
		d->engine->jobs.last->link = c;
	else
		d->engine->jobs.first = c;
	d->engine->jobs.last = c;
	pthread_cond_signal(&d->engine->work);
	pthread_mutex_unlock(&d->engine->lock);
	return 0;
}

static uint64_t box_size(const struct command *c)
{
	const struct arax_op_copy *copy = c->work;
	const struct arax_op_fill *fill = c->work;
	return c->op == ARAX_OP_COPY ? copy->width * copy->height * copy->depth
				     : fill->width * fill->height * fill->depth;
}

/* The record becomes the command's own. */
int box_keep(struct command *c)
{
	if (c->owned)
		return 0;
	const struct arax_record *record = c->work;
	void *copy = malloc(record->size);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, record, record->size);
	c->work = copy;
	c->owned = true;
	return 0;
}

int box_start(struct dispatch *d, struct command *c)
{
	atomic_store_explicit(&d->shm->slots[c->slot].status, STATUS_RUNNING, memory_order_relaxed);
	if (box_size(c) >= INLINE_BYTES) {
		/* Without memory or a thread it is done here, slower for the others. */
		if (!box_keep(c) && !box_send(d, c))
			return 0;
	}
	c->start_ns = arax_now_ns();
	box_run(c);
	c->end_ns = arax_now_ns();
	return command_end(d, c, 0);
}
