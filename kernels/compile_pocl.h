/* SPDX-License-Identifier: Apache-2.0
 *
 * PoCL as arax-compile uses it: loaded by path, reached through its dispatch table, never through
 * the ICD loader (Arax must not load itself).
 */
#ifndef ARAX_KERNELS_COMPILE_POCL_H
#define ARAX_KERNELS_COMPILE_POCL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <CL/cl_icd.h>

struct pocl {
	const cl_icd_dispatch *cl;
	cl_device_id device;
	cl_context context;
	char error[256]; /* why a function below has failed */
	/* What is at offset 8 of a PoCL binary of this device, and of one for the pthread driver.
	 */
	uint64_t basic_id, pthread_id;
	bool has_pthread;
};

/** pocl_open() - load PoCL with one of its drivers ("basic"). Return: 0 or -errno. */
int pocl_open(struct pocl *pocl, const char *driver);

/**
 * pocl_warm_up() - build a small program, so that the children of this process need not pay for
 * what LLVM does once; finds out basic_id. Return: 0 or -errno.
 */
int pocl_warm_up(struct pocl *pocl);

/* A process that finds out the pthread driver's id. */
struct pocl_helper {
	pid_t pid;
	int fd;
};

/** pocl_pthread_id_start() - start it; call before pocl_open(). Return: 0 or -errno. */
int pocl_pthread_id_start(struct pocl_helper *helper);

/** pocl_pthread_id_read() - wait for its answer (bounded) and for its end. */
void pocl_pthread_id_read(struct pocl *pocl, struct pocl_helper *helper);

/** pocl_binary() - the binary of the built program, malloc-ed. Return: CL error. */
cl_int pocl_binary(const struct pocl *pocl, cl_program program, void **binary, size_t *size);

#endif
