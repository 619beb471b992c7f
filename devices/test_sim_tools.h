/* SPDX-License-Identifier: Apache-2.0
 *
 * For the tests of the simulated accelerator: a device with a program and a stream, and commands
 * that can be waited for. Everything that fails ends the test.
 */
#ifndef ARAX_DEVICES_TEST_SIM_TOOLS_H
#define ARAX_DEVICES_TEST_SIM_TOOLS_H

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "devices/sim.h"
#include "devices/test_pocl.h"
#include "transport/protocol.h"
#include "transport/testing.h"
#include "transport/wake.h"

/* kernels: null(), add(int *a, int n), mul(int *a, int n), isnull(int *a, int *out),
 * sum(int *a, local int *, int *out), invert(image in, image out, sampler),
 * blur(image3d in, image out, sampler), line(image1d_buffer out),
 * work(int *a, int n) [n rounds each] */
extern struct arax_result *tools_result;

/** tools_init() - compiles; before PoCL is used in the process. */
void tools_init(void);
void tools_exit(void);

struct sim_test {
	struct arax_device dev;
	struct arax_device_program *program;
	struct arax_device_stream *stream;
};

void tools_open(struct sim_test *t, const char *name, const char *options);
void tools_close(struct sim_test *t);

struct arax_device_kernel *tools_kernel(struct sim_test *t, const char *name);
void tools_kernel_free(struct sim_test *t, struct arax_device_kernel *kernel);
struct arax_device_mem *tools_buffer(struct sim_test *t, size_t size);
struct arax_device_mem *tools_part(struct sim_test *t, struct arax_device_mem *parent,
				   size_t origin, size_t size);
void tools_mem_free(struct sim_test *t, struct arax_device_mem *mem);

/* A command's end. */
struct end {
	sem_t ended;
	atomic_uint calls;
	int status;
	uint64_t start_ns, end_ns, told_ns;
};

/** tools_done() - for arax_launch.done and arax_transfer.done with a struct end as arg. */
void tools_done(void *arg, int status, uint64_t start_ns, uint64_t end_ns);
void tools_end_init(struct end *end);
/** tools_wait() - Return: the status. May be called once after each command. */
int tools_wait(struct end *end);

/* Asynchronous; return what the operation returned. stream NULL: the device's own. */
int tools_copy(struct sim_test *t, struct arax_device_stream *stream, enum arax_direction direction,
	       struct arax_device_mem *mem, size_t offset, size_t size, void *host,
	       struct end *end);
int tools_launch(struct sim_test *t, struct arax_device_stream *stream,
		 struct arax_device_kernel *kernel, size_t n, size_t local,
		 const struct arax_launch_arg *args, uint32_t nargs, struct end *end);
/* kernel(mem, n) on count items. */
int tools_apply(struct sim_test *t, struct arax_device_stream *stream,
		struct arax_device_kernel *kernel, struct arax_device_mem *mem, size_t count, int n,
		struct end *end);

/* Waiting; succeed. */
void tools_upload(struct sim_test *t, struct arax_device_mem *mem, size_t offset, size_t size,
		  const void *host);
void tools_download(struct sim_test *t, struct arax_device_mem *mem, size_t offset, size_t size,
		    void *host);

#endif
