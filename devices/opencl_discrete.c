/* SPDX-License-Identifier: Apache-2.0
 *
 * The discrete back end on native OpenCL libraries: opening a library, what each of them wants,
 * and what the device can do.
 *
 * Three libraries of Debian 12 are known by name; any other is taken to be as the specification
 * wants it.
 */
#include "devices/opencl_discrete.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "devices/opencl_discrete_internal.h"
#include "kernels/library.h"
#include "kernels/tree.h"

static const struct discrete_library libraries[] = {
    {
	.file = "libRusticlOpenCL.so",
	.target = "rusticl",
	.environment = {{"RUSTICL_ENABLE", "llvmpipe"}, {"MESA_SHADER_CACHE_DIR", "@mesa"}},
	.refused = {"-g", "-cl-strict-aliasing"},
	.keeps_args = true,
	.clang_words = true,
	.sizes_wrong = true,
	.times_wrong = true,
	.offsets_wrong = true,
	.structs_crash = true,
    },
    {
	.file = "liboclgrind",
	.target = "oclgrind",
	/* Its own limits are those of a small device of 2012: 128 MiB and 64 KiB of constants.
	 * What kernels do wrong it tells on standard error, the first few times. */
	.environment = {{"OCLGRIND_GLOBAL_MEM_SIZE", "1073741824"},
			{"OCLGRIND_CONSTANT_MEM_SIZE", "1073741824"},
			{"OCLGRIND_MAX_ERRORS", "20"},
			{"OCLGRIND_BUILD_OPTIONS", "-O0"}},
	.refused = {"-g", "-cl-strict-aliasing"},
	.serial = true,
	.clang_words = true,
    },
    {
	.file = "libpocl.so",
	.target = "pocl",
	.environment = {{"POCL_DEVICES", "pthread"}, {"POCL_CACHE_DIR", "@pocl"}},
	.line_images = true,
    },
};

static const struct discrete_library library_any = {.target = "", .clang_words = true};

static const char *file_of(const char *library)
{
	const char *slash = strrchr(library, '/');
	return slash ? slash + 1 : library;
}

static const struct discrete_library *library_find(const char *library)
{
	const char *file = file_of(library);
	for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++) {
		if (!strncmp(file, libraries[i].file, strlen(libraries[i].file)))
			return &libraries[i];
	}
	return &library_any;
}

void discrete_enter(struct discrete_device *device)
{
	struct discrete_turn *turn = &device->turn;
	if (!device->library->serial)
		return;
	pthread_mutex_lock(&turn->mutex);
	uint64_t mine = turn->next++;
	while (turn->serving != mine)
		pthread_cond_wait(&turn->changed, &turn->mutex);
	pthread_mutex_unlock(&turn->mutex);
}

void discrete_leave(struct discrete_device *device)
{
	struct discrete_turn *turn = &device->turn;
	if (!device->library->serial)
		return;
	pthread_mutex_lock(&turn->mutex);
	turn->serving++;
	pthread_cond_broadcast(&turn->changed);
	pthread_mutex_unlock(&turn->mutex);
}

int discrete_thread(pthread_t *thread, void *(*run)(void *), void *arg)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

/* Under the turn, as every call of the library. */
static int discrete_sampler_new(struct arax_device *dev, uint32_t normalized, uint32_t addressing,
				uint32_t filter, struct arax_device_sampler **out)
{
	discrete_enter(discrete_device(dev));
	int err = opencl_sampler_new(dev, normalized, addressing, filter, out);
	discrete_leave(discrete_device(dev));
	return err;
}

static void discrete_sampler_free(struct arax_device *dev, struct arax_device_sampler *sampler)
{
	discrete_enter(discrete_device(dev));
	opencl_sampler_free(dev, sampler);
	discrete_leave(discrete_device(dev));
}

static const struct arax_device_ops discrete_ops = {
    .name = "opencl-discrete",
    .mem_new = discrete_mem_new,
    .mem_free = discrete_mem_free,
    .program_load = discrete_program_load,
    .program_free = discrete_program_free,
    .kernel_new = discrete_kernel_new,
    .kernel_free = discrete_kernel_free,
    .sampler_new = discrete_sampler_new,
    .sampler_free = discrete_sampler_free,
    .stream_new = discrete_stream_new,
    .stream_free = discrete_stream_free,
    .launch = discrete_launch,
    .transfer = discrete_transfer,
};

/* A directory of this device's own: what programs include, and the library's caches. It becomes a
 * part of build options, so it has no white space. */
static int make_scratch(struct discrete_device *device, const char **error)
{
	const char *work = getenv("ARAX_WORK_DIR");
	if (!work || !*work)
		work = getenv("TMPDIR");
	if (!work || work[0] != '/' || work[strcspn(work, " \t\n\v\f\r\"")])
		work = "/tmp";
	int length = snprintf(device->scratch, sizeof(device->scratch), "%s/opencl-XXXXXX", work);
	*error = "no scratch directory";
	if (length < 0 || (size_t)length >= sizeof(device->scratch)) {
		device->scratch[0] = 0;
		return -ENAMETOOLONG;
	}
	if (!mkdtemp(device->scratch)) {
		device->scratch[0] = 0;
		return -errno;
	}
	return 0;
}

static int set_environment(const struct discrete_device *device, const char **error)
{
	const struct discrete_library *library = device->library;
	*error = "no memory for the environment";
	for (size_t i = 0; i < sizeof(library->environment) / sizeof(library->environment[0]) &&
			   library->environment[i].name;
	     i++) {
		const char *value = library->environment[i].value;
		char path[PATH_MAX];
		if (value[0] == '@') {
			snprintf(path, sizeof(path), "%s/%s", device->scratch, value + 1);
			if (mkdir(path, 0700))
				return -errno;
			value = path;
		}
		if (setenv(library->environment[i].name, value, 0))
			return -errno;
	}
	return 0;
}

static int make_context(struct discrete_device *device, unsigned index, const char **error)
{
	struct arax_opencl *opencl = device->opencl;
	cl_device_id ids[OPENCL_DEVICES_MAX];
	cl_uint n = 0;
	*error = "no device of that number";
	if (opencl->cl->clGetDeviceIDs(opencl->platform, CL_DEVICE_TYPE_ALL, OPENCL_DEVICES_MAX,
				       ids, &n) ||
	    index >= n || index >= OPENCL_DEVICES_MAX)
		return -ENODEV;
	cl_int err;
	opencl->context = opencl->cl->clCreateContext(NULL, 1, &ids[index], NULL, NULL, &err);
	*error = "no context";
	if (err)
		return -EIO;
	device->native = (struct opencl_device){.opencl = opencl, .id = ids[index]};
	return 0;
}

static bool has_extension(const cl_icd_dispatch *cl, cl_device_id id, const char *word)
{
	char all[8192] = "";
	size_t length = strlen(word);
	if (cl->clGetDeviceInfo(id, CL_DEVICE_EXTENSIONS, sizeof(all) - 1, all, NULL))
		return false;
	for (const char *at = strstr(all, word); at; at = strstr(at + 1, word)) {
		if ((at == all || at[-1] == ' ') && (!at[length] || at[length] == ' '))
			return true;
	}
	return false;
}

static uint32_t features_of(const cl_icd_dispatch *cl, cl_device_id id)
{
	/* No printf: what kernels print goes to this process's standard output. */
	uint32_t features = 0;
	if (opencl_ask(cl, id, CL_DEVICE_COMPILER_AVAILABLE))
		features |= ARAX_FEATURE_COMPILER;
	if (opencl_ask(cl, id, CL_DEVICE_IMAGE_SUPPORT))
		features |= ARAX_FEATURE_IMAGES;
	if (has_extension(cl, id, "cl_khr_3d_image_writes"))
		features |= ARAX_FEATURE_IMAGES_3D_WRITE;
	if (opencl_ask(cl, id, CL_DEVICE_MAX_READ_WRITE_IMAGE_ARGS))
		features |= ARAX_FEATURE_IMAGES_READ_WRITE;
	if (opencl_ask(cl, id, CL_DEVICE_DOUBLE_FP_CONFIG))
		features |= ARAX_FEATURE_FP64;
	if (has_extension(cl, id, "cl_khr_fp16"))
		features |= ARAX_FEATURE_FP16;
	if (!(features & ARAX_FEATURE_IMAGES))
		features &= ~(ARAX_FEATURE_IMAGES_3D_WRITE | ARAX_FEATURE_IMAGES_READ_WRITE);
	return features;
}

static int fill_caps(struct discrete_device *device, const char *library, const char **error)
{
	const cl_icd_dispatch *cl = device->opencl->cl;
	cl_device_id id = device->native.id;
	struct arax_device_caps *caps = &device->caps;
	size_t sizes[8] = {0};
	caps->features = features_of(cl, id);
	caps->compute_units = (uint32_t)opencl_ask(cl, id, CL_DEVICE_MAX_COMPUTE_UNITS);
	caps->max_group = opencl_ask(cl, id, CL_DEVICE_MAX_WORK_GROUP_SIZE);
	caps->local_mem = opencl_ask(cl, id, CL_DEVICE_LOCAL_MEM_SIZE);
	caps->memory = opencl_ask(cl, id, CL_DEVICE_GLOBAL_MEM_SIZE);
	caps->max_alloc = opencl_ask(cl, id, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
	uint64_t bits = opencl_ask(cl, id, CL_DEVICE_MEM_BASE_ADDR_ALIGN);
	caps->sub_align = bits >= 8 ? (uint32_t)bits / 8 : 1;
	*error = "the device does not describe itself";
	if (!caps->compute_units || !caps->max_group || !caps->memory || !caps->max_alloc ||
	    cl->clGetDeviceInfo(id, CL_DEVICE_MAX_WORK_ITEM_SIZES, sizeof(sizes), sizes, NULL))
		return -EIO;
	for (int i = 0; i < 3; i++)
		caps->max_item_sizes[i] = sizes[i];
	*error = "the device has no compiler";
	if (!(caps->features & ARAX_FEATURE_COMPILER))
		return -ENOTSUP;
	const char *target = device->library->target;
	snprintf(caps->target, sizeof(caps->target), "%s", *target ? target : file_of(library));
	return 0;
}

static void init_locks(struct discrete_device *device)
{
	pthread_mutex_init(&device->turn.mutex, NULL);
	pthread_cond_init(&device->turn.changed, NULL);
	pthread_mutex_init(&device->builder.mutex, NULL);
	pthread_cond_init(&device->builder.changed, NULL);
	pthread_mutex_init(&device->mutex, NULL);
	pthread_cond_init(&device->ended, NULL);
}

static void release(struct discrete_device *device)
{
	arax_opencl_close(device->opencl);
	if (device->scratch[0])
		arax_tree_remove(device->scratch);
	pthread_mutex_destroy(&device->turn.mutex);
	pthread_cond_destroy(&device->turn.changed);
	pthread_mutex_destroy(&device->builder.mutex);
	pthread_cond_destroy(&device->builder.changed);
	pthread_mutex_destroy(&device->mutex);
	pthread_cond_destroy(&device->ended);
	free(device);
}

/* By its real path when the dynamic linker would find it, see kernels/library.h; else the dynamic
 * linker says why not. */
static int load(struct discrete_device *device, const char *library, const char **error)
{
	char path[PATH_MAX];
	bool found = !library_path(library, path);
	return arax_opencl_load(found ? path : library, &device->opencl, error);
}

static int open_library(struct discrete_device *device, const char *library, unsigned index,
			const char **error)
{
	int rc = make_scratch(device, error);
	if (!rc)
		rc = set_environment(device, error);
	if (!rc)
		rc = load(device, library, error);
	if (!rc)
		rc = opencl_platform(device->opencl, error);
	if (!rc)
		rc = make_context(device, index, error);
	if (!rc)
		rc = fill_caps(device, library, error);
	return rc;
}

int arax_opencl_discrete_open(const char *library, unsigned index, const char *name,
			      struct arax_device *dev, const char **error)
{
	struct discrete_device *device = calloc(1, sizeof(*device));
	*error = "no memory";
	if (!device)
		return -ENOMEM;
	device->library = library_find(library);
	init_locks(device);
	int rc = open_library(device, library, index, error);
	if (!rc) {
		*error = "no thread";
		rc = discrete_builder_start(device);
	}
	if (rc) {
		release(device);
		return rc;
	}
	*dev = (struct arax_device){
	    .ops = &discrete_ops,
	    .discrete = true,
	    .parallel = device->caps.compute_units,
	    .caps = device->caps,
	    .priv = device,
	};
	snprintf(dev->name, sizeof(dev->name), "%s", name);
	*error = NULL;
	return 0;
}

void arax_opencl_discrete_close(struct arax_device *dev)
{
	struct discrete_device *device = discrete_device(dev);
	if (!device)
		return;
	discrete_builder_stop(device);
	pthread_mutex_lock(&device->mutex);
	while (device->streams)
		pthread_cond_wait(&device->ended, &device->mutex);
	pthread_mutex_unlock(&device->mutex);
	release(device);
	dev->priv = NULL;
}
