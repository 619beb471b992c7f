/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of links share: a fake device that is served, and tenants with an arena and a link
 * to it, all in this process.
 */
#ifndef ARAX_DEVICES_TEST_WORLD_H
#define ARAX_DEVICES_TEST_WORLD_H

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

#include <errno.h>
#include <string.h>

#include "devices/remote.h"
#include "devices/serve.h"
#include "devices/test_fake.h"
#include "transport/link.h"
#include "transport/protocol.h"
#include "transport/ring.h"
#include "transport/testing.h"
#include "transport/wake.h"

#define HEAP ARAX_HEAP_OFFSET
#define ARENA ((uint64_t)HEAP + (1u << 20))

struct world {
	struct fake fake;
	struct arax_device real;
	struct arax_device_usage usage;
	struct serve *serve;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct {
		uint64_t link;
		int error;
		char why[64];
	} ended[64];
	unsigned nended;
};

struct tenant {
	uint64_t link;
	int link_fd, arena_fd;
	struct arax_shm *arena;
	struct arax_device dev;
	struct arax_device_stream *stream;
	struct arax_device_program *program;
	struct arax_device_kernel *add;
};

/* The outcome of a command. */
struct outcome {
	unsigned calls;
	int status;
	uint64_t start, end;
	char log[64];
};

void world_new(struct world *w);
void world_free(struct world *w);

/** world_ended() - waits until that link has ended. Return: its error. */
int world_ended(struct world *w, uint64_t link);

/** tenant_new() - with a link. weight 1. */
void tenant_new(struct world *w, struct tenant *t, uint64_t link, uint64_t memory, uint32_t depth);

/** tenant_setup() - a stream, the fake's program and its kernel "add". */
void tenant_setup(struct tenant *t);

/** tenant_free() - unlinks it when it still has one; objects of tenant_setup() are freed. */
void tenant_free(struct world *w, struct tenant *t);

/** await() - polls until an outcome is there. */
void await(struct tenant *t, const struct outcome *outcome);

void command_ended(void *arg, int status, uint64_t start, uint64_t end);
void build_ended(void *arg, int status, const char *log);

/** buffer() - of bytes at an offset of the heap, on the device. */
struct arax_device_mem *buffer(struct tenant *t, uint64_t off, uint64_t size);

/* Return: what the device said at once; the outcome tells of the rest. */
int move(struct tenant *t, struct arax_device_mem *mem, enum arax_direction direction,
	 uint64_t offset, uint64_t heap, uint64_t size, struct outcome *outcome);
int add(struct tenant *t, struct arax_device_mem *mem, uint32_t n, size_t items,
	struct outcome *outcome);

static inline uint32_t *heap_at(struct tenant *t, uint64_t off)
{
	return (uint32_t *)(void *)((char *)t->arena + HEAP + off);
}

#endif
