/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests: compiles with PoCL in a process of its own, see test_pocl.h. A binary of PoCL is
 * complete after one launch of each kernel, so every kernel is launched once with arguments made
 * from what clGetKernelArgInfo says. Two devices want the same binary with different identifiers;
 * the second identifier comes from a second build of the same source.
 */
#include "devices/test_pocl.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devices/opencl_internal.h"
#include "transport/testing.h"

#define LIBRARY "libpocl.so.2"

const char *const test_pocl_names[2] = {"cpu-basic", "cpu-pthread"};

/* For builds with a thread sanitizer: PoCL and LLVM are not instrumented, and what they do between
 * themselves looks like races. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "ignore_noninstrumented_modules=1";
}

static char cache[] = "/tmp/arax-test-XXXXXX";
static pid_t owner;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	int ignored = remove(path);
	(void)ignored;
	return 0;
}

static void remove_cache(void)
{
	if (getpid() == owner)
		nftw(cache, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void test_pocl_environment(void)
{
	CHECK(mkdtemp(cache));
	owner = getpid();
	atexit(remove_cache);
	CHECK(!setenv("POCL_DEVICES", "basic pthread", 1));
	CHECK(!setenv("POCL_WORK_GROUP_SPECIALIZATION", "0", 1));
	CHECK(!setenv("POCL_CACHE_DIR", cache, 1));
}

struct compiler {
	struct arax_opencl *opencl;
	const cl_icd_dispatch *cl;
	cl_device_id device;
	cl_command_queue queue;
	cl_mem buffer, image;
	cl_sampler sampler;
};

static void compiler_init(struct compiler *c, struct arax_opencl *opencl, unsigned index)
{
	const cl_image_format format = {CL_RGBA, CL_UNSIGNED_INT32};
	const cl_image_desc shape = {
	    .image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = 8, .image_height = 8};
	cl_int err;
	c->opencl = opencl;
	c->cl = opencl->cl;
	c->device = opencl->device[index].id;
	c->queue = c->cl->clCreateCommandQueue(opencl->context, c->device, 0, &err);
	CHECK(!err);
	c->buffer = c->cl->clCreateBuffer(opencl->context, CL_MEM_READ_WRITE, 1 << 20, NULL, &err);
	CHECK(!err);
	c->image =
	    c->cl->clCreateImage(opencl->context, CL_MEM_READ_WRITE, &format, &shape, NULL, &err);
	CHECK(!err);
	c->sampler = c->cl->clCreateSampler(opencl->context, CL_FALSE, CL_ADDRESS_NONE,
					    CL_FILTER_NEAREST, &err);
	CHECK(!err);
}

static void set_dummy(struct compiler *c, cl_kernel kernel, cl_uint index)
{
	static const unsigned char zeros[256];
	static const size_t sizes[] = {4, 8, 1, 2, 16, 32, 64, 128};
	char type[64] = "";
	cl_kernel_arg_address_qualifier address = 0;
	CHECK(!c->cl->clGetKernelArgInfo(kernel, index, CL_KERNEL_ARG_ADDRESS_QUALIFIER,
					 sizeof(address), &address, NULL));
	CHECK(!c->cl->clGetKernelArgInfo(kernel, index, CL_KERNEL_ARG_TYPE_NAME, sizeof(type), type,
					 NULL));
	cl_int err;
	if (strstr(type, "image"))
		err = c->cl->clSetKernelArg(kernel, index, sizeof(cl_mem), &c->image);
	else if (strstr(type, "sampler"))
		err = c->cl->clSetKernelArg(kernel, index, sizeof(cl_sampler), &c->sampler);
	else if (address == CL_KERNEL_ARG_ADDRESS_LOCAL)
		err = c->cl->clSetKernelArg(kernel, index, 64, NULL);
	else if (address != CL_KERNEL_ARG_ADDRESS_PRIVATE)
		err = c->cl->clSetKernelArg(kernel, index, sizeof(cl_mem), &c->buffer);
	else
		err = CL_INVALID_ARG_SIZE;
	for (size_t i = 0; err == CL_INVALID_ARG_SIZE && i < sizeof(sizes) / sizeof(sizes[0]); i++)
		err = c->cl->clSetKernelArg(kernel, index, sizes[i], zeros);
	CHECK(!err);
}

static void launch_once(struct compiler *c, cl_kernel kernel)
{
	const size_t one = 1;
	cl_uint nargs;
	CHECK(!c->cl->clGetKernelInfo(kernel, CL_KERNEL_NUM_ARGS, sizeof(nargs), &nargs, NULL));
	for (cl_uint i = 0; i < nargs; i++)
		set_dummy(c, kernel, i);
	CHECK(!c->cl->clEnqueueNDRangeKernel(c->queue, kernel, 1, NULL, &one, &one, 0, NULL, NULL));
	CHECK(!c->cl->clFinish(c->queue));
}

/* Builds for one device and launches everything once. */
static unsigned char *build_binary(struct compiler *c, const char *source, size_t *size,
				   struct arax_result *result)
{
	cl_int err;
	cl_program program =
	    c->cl->clCreateProgramWithSource(c->opencl->context, 1, &source, NULL, &err);
	CHECK(!err);
	err = c->cl->clBuildProgram(program, 1, &c->device, "-cl-kernel-arg-info", NULL, NULL);
	if (err) {
		char log[4096] = "";
		c->cl->clGetProgramBuildInfo(program, c->device, CL_PROGRAM_BUILD_LOG, sizeof(log),
					     log, NULL);
		fprintf(stderr, "%s\n", log);
	}
	CHECK(!err);
	cl_kernel kernels[32];
	cl_uint n = 0;
	CHECK(!c->cl->clCreateKernelsInProgram(program, 32, kernels, &n));
	result->nkernels = n;
	result->kernels = calloc(n, sizeof(*result->kernels));
	CHECK(result->kernels);
	for (cl_uint i = 0; i < n; i++) {
		char name[64];
		CHECK(!c->cl->clGetKernelInfo(kernels[i], CL_KERNEL_FUNCTION_NAME, sizeof(name),
					      name, NULL));
		result->kernels[i].name = strdup(name);
		result->kernels[i].attributes = strdup("");
		result->kernels[i].group_size = 1024;
		launch_once(c, kernels[i]);
	}
	/* After a build for one device its binary stands first, whatever the list of devices. */
	size_t sizes[8] = {0};
	unsigned char *binaries[8] = {NULL};
	CHECK(
	    !c->cl->clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof(sizes), sizes, NULL));
	CHECK(sizes[0] > 16);
	binaries[0] = malloc(sizes[0]);
	CHECK(!c->cl->clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof(binaries), binaries,
				       NULL));
	*size = sizes[0];
	return binaries[0];
}

/* In the forked process: the result goes into a memfd. */
static void compile_into(const char *source, int fd)
{
	struct arax_device devices[2];
	struct arax_opencl *opencl;
	const char *error;
	struct arax_target targets[2];
	struct arax_result result = {
	    .binary_type = CL_PROGRAM_BINARY_TYPE_EXECUTABLE, .ntargets = 2, .targets = targets};
	CHECK(arax_opencl_open(LIBRARY, test_pocl_names, devices, 2, &opencl, &error) == 2);
	for (unsigned i = 2; i-- > 0;) {
		struct compiler c;
		size_t size;
		compiler_init(&c, opencl, i);
		unsigned char *binary = build_binary(&c, source, &size, &result);
		targets[i].device = (char *)test_pocl_names[i];
		memcpy(&targets[i].id, binary + 8, sizeof(targets[i].id));
		result.binary = binary;
		result.binary_size = size;
	}
	struct arax_writer w = {0};
	arax_result_write(&w, &result);
	CHECK(!w.failed);
	CHECK(write(fd, w.data, w.size) == (ssize_t)w.size);
}

void *test_pocl_compile(const char *source, size_t *size)
{
	int fd = memfd_create("result", MFD_CLOEXEC), status;
	CHECK(fd >= 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		alarm(100);
		compile_into(source, fd);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	struct stat st;
	CHECK(!fstat(fd, &st) && st.st_size > 0);
	void *bytes = malloc((size_t)st.st_size);
	CHECK(bytes && pread(fd, bytes, (size_t)st.st_size, 0) == st.st_size);
	close(fd);
	*size = (size_t)st.st_size;
	return bytes;
}
