/* SPDX-License-Identifier: Apache-2.0
 *
 * For the tests of the discrete OpenCL back end: a device with its streams, an arena to copy from
 * and to, and launches that are waited for.
 */
#ifndef ARAX_DEVICES_TEST_DISCRETE_H
#define ARAX_DEVICES_TEST_DISCRETE_H

#include "devices/device.h"
#include "devices/opencl_internal.h"
#include "transport/protocol.h"
#include "transport/testing.h"

extern struct arax_device test_dev;
extern struct arax_device_stream *test_streams[2];

#define OPS test_dev.ops

/* A buffer on the device and its range of the arena. */
struct test_buffer {
	struct arax_device_mem *mem;
	void *host;
	size_t size;
};

struct test_buffer test_buffer_new(size_t size);
void test_buffer_free(struct test_buffer *buffer);
/* Give back all of the arena. */
void test_arena_reset(void);
void *test_arena(size_t size);

/* The whole of a buffer or image, waited for. */
void test_put(struct arax_device_mem *mem, void *host, size_t size);
void test_get(struct arax_device_mem *mem, void *host, size_t size);
#define PUT(buffer) test_put((buffer).mem, (buffer).host, (buffer).size)
#define GET(buffer) test_get((buffer).mem, (buffer).host, (buffer).size)

/* Outcomes: how many have come, and the first that was not 0. */
void test_done(void *arg, int status, uint64_t start_ns, uint64_t end_ns);
void test_expect(int n); /* from now on */
void test_wait(void);	 /* until so many have come; all must be good */

struct test_file {
	const char *path, *text;
};

/* A build request for a source; to be freed. */
struct arax_writer test_request(uint32_t kind, const char *source, const char *options,
				const struct test_file *files, uint32_t nfiles);

/* A program that must build. request: to be freed after the program. */
struct arax_device_program *test_program(const char *source, const char *options,
					 const struct test_file *files, uint32_t nfiles,
					 struct arax_writer *request);
struct arax_device_kernel *test_kernel(struct arax_device_program *program, const char *name);

#define MEM(buffer)                                       \
	{                                                 \
		.kind = ARAX_ARG_MEM, .mem = (buffer).mem \
	}
#define VALUE(variable)                                                                \
	{                                                                              \
		.kind = ARAX_ARG_VALUE, .size = sizeof(variable), .value = &(variable) \
	}
#define LOCAL(bytes)                                    \
	{                                               \
		.kind = ARAX_ARG_LOCAL, .size = (bytes) \
	}

struct test_range {
	uint32_t dim;
	size_t global[3], local[3], offset[3];
};
#define RANGE1(g, l) (&(struct test_range){1, {g, 1, 1}, {l, 0, 0}, {0}})

/* local 0: the library chooses. */
int test_launch(unsigned stream, struct arax_device_kernel *kernel, const struct test_range *range,
		const struct arax_launch_arg *args, uint32_t nargs);
/* The same of a kernel by its name, waited for. */
extern bool test_structs_refused; /* this library cannot have structs by value */
extern bool test_offsets_refused; /* ... launches in three dimensions with an offset */
void test_run(struct arax_device_program *program, const char *name, const struct test_range *range,
	      const struct arax_launch_arg *args, uint32_t nargs);
#define RUN(program, name, range, args) \
	test_run(program, name, range, args, sizeof(args) / sizeof((args)[0]))

void test_kernels(void); /* test_discrete_kernels.c */
void test_images(void);	 /* test_discrete_images.c */

#endif
