/* SPDX-License-Identifier: Apache-2.0
 *
 * See test_world.h.
 */
#include "devices/test_world.h"

#include <sys/mman.h>
#include <unistd.h>

#include "transport/socket.h"

static void on_ended(void *arg, uint64_t link, int error, const char *why)
{
	struct world *w = arg;

	pthread_mutex_lock(&w->lock);
	CHECK(w->nended < 64);
	w->ended[w->nended].link = link;
	w->ended[w->nended].error = error;
	snprintf(w->ended[w->nended].why, sizeof(w->ended[0].why), "%s", why);
	w->nended++;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

void world_new(struct world *w)
{
	const struct serve_events events = {.ended = on_ended, .arg = w};

	memset(w, 0, sizeof(*w));
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
	fake_open(&w->fake, &w->real);
	CHECK(!serve_new(&w->real, &w->usage, &events, &w->serve));
}

void world_free(struct world *w)
{
	serve_free(w->serve);
	fake_close(&w->fake);
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->changed);
	for (int i = 0; i < ARAX_DEVICE_LINKS; i++)
		CHECK(!w->usage.links[i].link && !w->usage.links[i].memory);
}

int world_ended(struct world *w, uint64_t link)
{
	pthread_mutex_lock(&w->lock);
	for (;;) {
		for (unsigned i = 0; i < w->nended; i++) {
			if (w->ended[i].link != link)
				continue;
			int error = w->ended[i].error;

			w->ended[i] = w->ended[--w->nended];
			pthread_mutex_unlock(&w->lock);
			return error;
		}
		pthread_cond_wait(&w->changed, &w->lock);
	}
}

void tenant_new(struct world *w, struct tenant *t, uint64_t link, uint64_t memory, uint32_t depth)
{
	const struct arax_control_link message = {
	    .link = link, .arena_size = ARENA, .memory = memory, .weight = 1, .depth = depth};

	memset(t, 0, sizeof(*t));
	t->link = link;
	t->link_fd = arax_link_new();
	t->arena_fd = arax_memfd_new("arena", ARENA);
	CHECK(t->link_fd >= 0 && t->arena_fd >= 0);
	t->arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_SHARED, t->arena_fd, 0);
	CHECK(t->arena != MAP_FAILED);
	CHECK(!serve_link(w->serve, &message, t->link_fd, t->arena_fd));
	CHECK(serve_link(w->serve, &message, t->link_fd, t->arena_fd) == -EEXIST);
	CHECK(!arax_remote_new("fake0", 2, &w->real.caps, t->link_fd, t->arena, ARENA, &t->dev));
	CHECK(t->dev.discrete && !t->dev.inline_launch && t->dev.index == 2);
}

void tenant_setup(struct tenant *t)
{
	struct arax_writer w = {0};
	struct arax_result *result;
	struct outcome built = {0};

	fake_result(&w);
	result = arax_result_parse(w.data, w.size);
	CHECK(result);
	const struct arax_program_source source = {.result = result,
						   .request = "request",
						   .request_size = 7,
						   .done = build_ended,
						   .arg = &built};

	CHECK(!t->dev.ops->stream_new(&t->dev, &t->stream));
	CHECK(!t->dev.ops->program_load(&t->dev, &source, &t->program));
	CHECK(!t->dev.ops->kernel_new(&t->dev, t->program, "add", &t->add));
	await(t, &built);
	CHECK(!built.status && !strcmp(built.log, "line 1: yes"));
	arax_result_free(result);
	arax_writer_free(&w);
}

void tenant_free(struct world *w, struct tenant *t)
{
	if (t->stream) {
		t->dev.ops->kernel_free(&t->dev, t->add);
		t->dev.ops->program_free(&t->dev, t->program);
		t->dev.ops->stream_free(&t->dev, t->stream);
	}
	if (!serve_unlink(w->serve, t->link))
		CHECK(world_ended(w, t->link) == 0);
	arax_remote_free(&t->dev);
	munmap(t->arena, ARENA);
	close(t->link_fd);
	close(t->arena_fd);
}

static bool look(void *arg)
{
	struct tenant *t = arg;

	return t->dev.ops->ready(&t->dev);
}

void await(struct tenant *t, const struct outcome *outcome)
{
	struct arax_spin spin = {0};

	while (!outcome->calls) {
		if (t->dev.ops->ready(&t->dev))
			t->dev.ops->poll(&t->dev);
		else
			arax_wake_wait(&t->arena->tenant_wake, &spin, look, t, 1000);
	}
	CHECK(outcome->calls == 1);
}

void command_ended(void *arg, int status, uint64_t start, uint64_t end)
{
	struct outcome *outcome = arg;

	outcome->calls++;
	outcome->status = status;
	outcome->start = start;
	outcome->end = end;
	CHECK(start <= end && end <= arax_now_ns());
}

void build_ended(void *arg, int status, const char *log)
{
	struct outcome *outcome = arg;

	outcome->calls++;
	outcome->status = status;
	snprintf(outcome->log, sizeof(outcome->log), "%s", log);
}

struct arax_device_mem *buffer(struct tenant *t, uint64_t off, uint64_t size)
{
	const struct arax_mem_desc desc = {
	    .type = CL_MEM_OBJECT_BUFFER, .data = heap_at(t, off), .size = size};
	struct arax_device_mem *mem;

	CHECK(!t->dev.ops->mem_new(&t->dev, &desc, &mem));
	return mem;
}

int move(struct tenant *t, struct arax_device_mem *mem, enum arax_direction direction,
	 uint64_t offset, uint64_t heap, uint64_t size, struct outcome *outcome)
{
	const struct arax_transfer transfer = {.direction = direction,
					       .mem = mem,
					       .offset = offset,
					       .size = size,
					       .host = heap_at(t, heap),
					       .done = command_ended,
					       .arg = outcome};

	*outcome = (struct outcome){0};
	return t->dev.ops->transfer(&t->dev, t->stream, &transfer);
}

int add(struct tenant *t, struct arax_device_mem *mem, uint32_t n, size_t items,
	struct outcome *outcome)
{
	const struct arax_launch_arg args[] = {
	    {.kind = ARAX_ARG_MEM, .mem = mem},
	    {.kind = ARAX_ARG_VALUE, .size = sizeof(n), .value = &n}};
	const struct arax_launch launch = {.kernel = t->add,
					   .work_dim = 1,
					   .nargs = 2,
					   .global = {items, 1, 1},
					   .args = args,
					   .done = command_ended,
					   .arg = outcome};

	*outcome = (struct outcome){0};
	return t->dev.ops->launch(&t->dev, t->stream, &launch);
}
