/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading PoCL in arax-compile. With only the `basic` driver PoCL has no threads, so a process
 * that has loaded and warmed it up may fork: that is what makes a build in a process of its own
 * cheap. The pthread driver has threads, so its id is found out by a helper that is forked before
 * PoCL is loaded here.
 */
#include "kernels/compile_pocl.h"

#include "kernels/compile_binary.h"
#include "kernels/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define POCL_LIBRARY "libpocl.so.2"
#define HELPER_TIMEOUT_MS 20000

static const char warm_up_source[] =
    "kernel void warm(global float *out, global const float *in, local float *scratch, int n)\n"
    "{\n"
    "	size_t i = get_global_id(0);\n"
    "	scratch[get_local_id(0)] = in[i];\n"
    "	barrier(CLK_LOCAL_MEM_FENCE);\n"
    "	for (int k = 0; k < n; k++)\n"
    "		out[i] += sin(scratch[k]) * mad(in[i], 2.0f, 1.0f);\n"
    "}\n";

static int pocl_fail(struct pocl *pocl, int error, const char *what, cl_int status)
{
	snprintf(pocl->error, sizeof(pocl->error), "%s failed: %d", what, status);
	return error;
}

/* By its real path, see library.h. */
static void *pocl_load_real(void)
{
	char path[PATH_MAX];

	return library_path(POCL_LIBRARY, path) ? NULL : dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

int pocl_open(struct pocl *pocl, const char *driver)
{
	cl_platform_id platform = NULL;
	cl_uint count = 0;
	cl_int status;

	if (setenv("POCL_DEVICES", driver, 1) < 0)
		return -errno;

	/* Never closed: PoCL and LLVM do not survive that. */
	void *library = pocl_load_real();
	if (!library)
		library = dlopen(POCL_LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		snprintf(pocl->error, sizeof(pocl->error), "%s", dlerror());
		return -ENODEV;
	}
	void *(*lookup)(const char *) =
	    (void *(*)(const char *))dlsym(library, "clGetExtensionFunctionAddress");
	clIcdGetPlatformIDsKHR_fn platforms =
	    lookup ? (clIcdGetPlatformIDsKHR_fn)lookup("clIcdGetPlatformIDsKHR") : NULL;
	if (!platforms)
		return pocl_fail(pocl, -ENODEV, "clIcdGetPlatformIDsKHR", 0);

	status = platforms(1, &platform, &count);
	if (status != CL_SUCCESS || !platform)
		return pocl_fail(pocl, -ENODEV, "clIcdGetPlatformIDsKHR", status);
	memcpy(&pocl->cl, platform, sizeof(pocl->cl));

	status = pocl->cl->clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &pocl->device, NULL);
	if (status != CL_SUCCESS)
		return pocl_fail(pocl, -ENODEV, "clGetDeviceIDs", status);
	pocl->context = pocl->cl->clCreateContext(NULL, 1, &pocl->device, NULL, NULL, &status);
	if (!pocl->context)
		return pocl_fail(pocl, -ENODEV, "clCreateContext", status);
	return 0;
}

cl_int pocl_binary(const struct pocl *pocl, cl_program program, void **binary, size_t *size)
{
	cl_int status;

	*binary = NULL;
	*size = 0;
	status =
	    pocl->cl->clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof(*size), size, NULL);
	if (status != CL_SUCCESS)
		return status;
	if (*size == 0)
		return CL_INVALID_PROGRAM;
	*binary = calloc(1, *size);
	if (!*binary)
		return CL_OUT_OF_HOST_MEMORY;
	return pocl->cl->clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof(*binary), binary,
					  NULL);
}

/* Builds a source (or only compiles it) and takes the id out of its binary. */
static int pocl_binary_id(struct pocl *pocl, const char *source, bool link, uint64_t *id)
{
	cl_int status;
	void *binary = NULL;
	size_t size = 0;
	cl_program program =
	    pocl->cl->clCreateProgramWithSource(pocl->context, 1, &source, NULL, &status);

	if (!program)
		return pocl_fail(pocl, -ENOMEM, "clCreateProgramWithSource", status);
	if (link)
		status = pocl->cl->clBuildProgram(program, 1, &pocl->device, NULL, NULL, NULL);
	else
		status = pocl->cl->clCompileProgram(program, 1, &pocl->device, NULL, 0, NULL, NULL,
						    NULL, NULL);
	if (status == CL_SUCCESS)
		status = pocl_binary(pocl, program, &binary, &size);

	int error = 0;
	if (status != CL_SUCCESS)
		error = pocl_fail(pocl, -EIO, "the first build", status);
	else if (binary_id(binary, size, id) < 0)
		error = pocl_fail(pocl, -EPROTO, "reading a PoCL binary", 0);
	free(binary);
	pocl->cl->clReleaseProgram(program);
	return error;
}

int pocl_warm_up(struct pocl *pocl)
{
	return pocl_binary_id(pocl, warm_up_source, true, &pocl->basic_id);
}

static _Noreturn void pocl_pthread_helper(int fd, pid_t parent)
{
	struct pocl pocl = {0};
	uint64_t id = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	if (pocl_open(&pocl, "pthread") < 0 ||
	    pocl_binary_id(&pocl, "kernel void a(global int *p) { *p = 1; }", true, &id) < 0)
		_exit(1);
	_exit(write(fd, &id, sizeof(id)) == sizeof(id) ? 0 : 1);
}

int pocl_pthread_id_start(struct pocl_helper *helper)
{
	int pipe[2];
	pid_t self = getpid();

	if (pipe2(pipe, O_CLOEXEC) < 0)
		return -errno;
	helper->pid = fork();
	if (helper->pid == 0)
		pocl_pthread_helper(pipe[1], self);
	close(pipe[1]);
	helper->fd = pipe[0];
	if (helper->pid < 0) {
		close(pipe[0]);
		return -EAGAIN;
	}
	return 0;
}

void pocl_pthread_id_read(struct pocl *pocl, struct pocl_helper *helper)
{
	struct pollfd ready = {.fd = helper->fd, .events = POLLIN};

	pocl->has_pthread = poll(&ready, 1, HELPER_TIMEOUT_MS) == 1 &&
			    read(helper->fd, &pocl->pthread_id, sizeof(pocl->pthread_id)) ==
				sizeof(pocl->pthread_id);
	close(helper->fd);
	kill(helper->pid, SIGKILL);
	while (waitpid(helper->pid, NULL, 0) < 0 && errno == EINTR)
		;
}
