/* SPDX-License-Identifier: Apache-2.0
 *
 * The one platform and the enumeration of its one device. With no daemon to be had there is no
 * platform: the loader then shows the others undisturbed.
 */
#include "icd/icd.h"
#include "icd/daemon.h"

#ifndef ARAX_VERSION
#error "ARAX_VERSION comes from CMake"
#endif

cl_int arax_clGetPlatformIDs(cl_uint num_entries, cl_platform_id *platforms, cl_uint *num_platforms)
{
	if ((!platforms && !num_platforms) || (platforms && !num_entries))
		return CL_INVALID_VALUE;
	if (!platform_ready()) {
		if (num_platforms)
			*num_platforms = 0;
		return CL_PLATFORM_NOT_FOUND_KHR;
	}
	if (platforms)
		platforms[0] = &the_platform;
	if (num_platforms)
		*num_platforms = 1;
	return CL_SUCCESS;
}

/* The extensions of device and platform: a word belongs to the platform's list when every device
 * of it has it (OpenCL 3.0 section 4.1); with one device both lists are the same. */
static cl_int platform_extensions(size_t param_value_size, void *param_value,
				  size_t *param_value_size_ret)
{
	return arax_clGetDeviceInfo(&the_device, CL_DEVICE_EXTENSIONS, param_value_size,
				    param_value, param_value_size_ret);
}

cl_int arax_clGetPlatformInfo(cl_platform_id platform, cl_platform_info param_name,
			      size_t param_value_size, void *param_value,
			      size_t *param_value_size_ret)
{
	/* A NULL platform is implementation-defined (section 4.1); here: the one there is. */
	if (platform && !object_is(platform, OBJECT_PLATFORM))
		return CL_INVALID_PLATFORM;
#define STRING(s) info_string(s, param_value_size, param_value, param_value_size_ret)
	switch (param_name) {
	case CL_PLATFORM_PROFILE:
		return STRING("FULL_PROFILE");
	case CL_PLATFORM_VERSION:
		return STRING("OpenCL 3.0 Arax " ARAX_VERSION);
	case CL_PLATFORM_NUMERIC_VERSION:
		return INFO(cl_version, CL_MAKE_VERSION(3, 0, 0));
	case CL_PLATFORM_NAME:
	case CL_PLATFORM_VENDOR:
		return STRING("Arax");
	case CL_PLATFORM_EXTENSIONS:
		return platform_extensions(param_value_size, param_value, param_value_size_ret);
	case CL_PLATFORM_EXTENSIONS_WITH_VERSION:
		return arax_clGetDeviceInfo(&the_device, CL_DEVICE_EXTENSIONS_WITH_VERSION,
					    param_value_size, param_value, param_value_size_ret);
	case CL_PLATFORM_ICD_SUFFIX_KHR:
		return STRING("ARAX");
	case CL_PLATFORM_HOST_TIMER_RESOLUTION:
		return INFO(cl_ulong, 1);
	default:
		return CL_INVALID_VALUE;
	}
#undef STRING
}

static bool device_type_known(cl_device_type type)
{
	const cl_device_type all = CL_DEVICE_TYPE_DEFAULT | CL_DEVICE_TYPE_CPU |
				   CL_DEVICE_TYPE_GPU | CL_DEVICE_TYPE_ACCELERATOR |
				   CL_DEVICE_TYPE_CUSTOM;

	return type == CL_DEVICE_TYPE_ALL || (type && !(type & ~all));
}

cl_int arax_clGetDeviceIDs(cl_platform_id platform, cl_device_type device_type, cl_uint num_entries,
			   cl_device_id *devices, cl_uint *num_devices)
{
	if (platform && !object_is(platform, OBJECT_PLATFORM))
		return CL_INVALID_PLATFORM;
	if (!device_type_known(device_type))
		return CL_INVALID_DEVICE_TYPE;
	if ((!devices && !num_devices) || (devices && !num_entries))
		return CL_INVALID_VALUE;
	if (!platform_ready())
		return CL_INVALID_PLATFORM;
	if (device_type != CL_DEVICE_TYPE_ALL && !(device_type & CL_DEVICE_TYPE_DEFAULT) &&
	    !(device_type & the_device.info.type)) {
		if (num_devices)
			*num_devices = 0;
		return CL_DEVICE_NOT_FOUND;
	}
	if (devices)
		devices[0] = &the_device;
	if (num_devices)
		*num_devices = 1;
	return CL_SUCCESS;
}

bool platform_ready(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static _Atomic int known;

	if (atomic_load_explicit(&known, memory_order_acquire))
		return true;
	pthread_mutex_lock(&lock);
	if (!known) {
		int fd = daemon_hello(&the_device.info);

		if (fd >= 0) {
			/* native kernels run in the client, whatever executes the others */
			the_device.info.exec_capabilities |= CL_EXEC_NATIVE_KERNEL;
			/* context creation talks to araxd over a connection of its own */
			daemon_close(fd);
			atomic_store_explicit(&known, 1, memory_order_release);
		}
	}
	pthread_mutex_unlock(&lock);
	return known;
}
