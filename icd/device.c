/* SPDX-License-Identifier: Apache-2.0
 *
 * The one device: what applications may ask about it. Its numbers were made by a tenant, frozen by
 * araxd and copied into the_device.info; versions, names and lists of names belong to the API layer
 * and are made here. Most answers are fields of one of two structs, found by a table that is
 * indexed by the query; the rest are computed.
 *
 * The device has no parts: sub-devices would share the one virtual device that is already shared
 * by everything, so no way of partitioning is offered.
 */
#include "icd/icd.h"

#include <stdio.h>

#include <time.h>

#ifndef ARAX_VERSION
#error "ARAX_VERSION comes from CMake"
#endif

#define DEVICE_EXTENSIONS "cl_khr_icd cl_khr_create_command_queue cl_khr_priority_hints"
#define VERSIONS_MAX 96

/* Answers that are the same on every machine. */
static const struct constants {
	cl_uint zero, one;
	cl_ulong zero_long;
	cl_bool yes, no;
	size_t timer_resolution;
	cl_platform_id platform;
	cl_device_id parent;
	cl_device_partition_property partition;
	cl_version version;
	cl_name_version c_versions[4];
} constants = {
    .one = 1,
    .yes = CL_TRUE,
    .no = CL_FALSE,
    .timer_resolution = 1,
    .platform = &the_platform,
    .version = CL_MAKE_VERSION(3, 0, 0),
    .c_versions = {{CL_MAKE_VERSION(1, 0, 0), "OpenCL C"},
		   {CL_MAKE_VERSION(1, 1, 0), "OpenCL C"},
		   {CL_MAKE_VERSION(1, 2, 0), "OpenCL C"},
		   {CL_MAKE_VERSION(3, 0, 0), "OpenCL C"}},
};

/* Where an answer lies; size 0: not in a table. */
struct location {
	uint16_t offset;
	uint16_t size;
	bool constant;
};
#define FIRST_QUERY CL_DEVICE_VENDOR_ID
#define LAST_QUERY CL_DEVICE_LATEST_CONFORMANCE_VERSION_PASSED
#define SIZE(type, field) sizeof(((type *)0)->field)
/* The size must be the one that OpenCL promises for the query: an array of -1 does not compile. */
#define SAME(type, field) \
	(sizeof(char[sizeof(type) == SIZE(struct arax_device_info, field) ? 1 : -1]) * sizeof(type))
#define OF_DEVICE(query, type, field) \
	[query - FIRST_QUERY] = {offsetof(struct arax_device_info, field), SAME(type, field), false}
#define OF_ALL(query, field)                                                                       \
	[query - FIRST_QUERY] = {offsetof(struct constants, field), SIZE(struct constants, field), \
				 true}

/* clang-format off */
static const struct location locations[LAST_QUERY - FIRST_QUERY + 1] = {
	OF_DEVICE(CL_DEVICE_VENDOR_ID, cl_uint, vendor_id),
	OF_DEVICE(CL_DEVICE_MAX_COMPUTE_UNITS, cl_uint, compute_units),
	OF_DEVICE(CL_DEVICE_MAX_WORK_ITEM_DIMENSIONS, cl_uint, max_dims),
	OF_DEVICE(CL_DEVICE_MAX_WORK_GROUP_SIZE, size_t, max_group_size),
	OF_DEVICE(CL_DEVICE_MAX_WORK_ITEM_SIZES, size_t[3], max_work_item_sizes),
	OF_DEVICE(CL_DEVICE_PREFERRED_VECTOR_WIDTH_CHAR, cl_uint, vector_char),
	OF_DEVICE(CL_DEVICE_PREFERRED_VECTOR_WIDTH_SHORT, cl_uint, vector_short),
	OF_DEVICE(CL_DEVICE_PREFERRED_VECTOR_WIDTH_INT, cl_uint, vector_int),
	OF_DEVICE(CL_DEVICE_PREFERRED_VECTOR_WIDTH_LONG, cl_uint, vector_long),
	OF_DEVICE(CL_DEVICE_PREFERRED_VECTOR_WIDTH_FLOAT, cl_uint, vector_float),
	OF_DEVICE(CL_DEVICE_PREFERRED_VECTOR_WIDTH_DOUBLE, cl_uint, vector_double),
	OF_DEVICE(CL_DEVICE_PREFERRED_VECTOR_WIDTH_HALF, cl_uint, vector_half),
	OF_DEVICE(CL_DEVICE_NATIVE_VECTOR_WIDTH_CHAR, cl_uint, native_char),
	OF_DEVICE(CL_DEVICE_NATIVE_VECTOR_WIDTH_SHORT, cl_uint, native_short),
	OF_DEVICE(CL_DEVICE_NATIVE_VECTOR_WIDTH_INT, cl_uint, native_int),
	OF_DEVICE(CL_DEVICE_NATIVE_VECTOR_WIDTH_LONG, cl_uint, native_long),
	OF_DEVICE(CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, cl_uint, native_float),
	OF_DEVICE(CL_DEVICE_NATIVE_VECTOR_WIDTH_DOUBLE, cl_uint, native_double),
	OF_DEVICE(CL_DEVICE_NATIVE_VECTOR_WIDTH_HALF, cl_uint, native_half),
	OF_DEVICE(CL_DEVICE_MAX_CLOCK_FREQUENCY, cl_uint, clock_mhz),
	OF_DEVICE(CL_DEVICE_ADDRESS_BITS, cl_uint, address_bits),
	OF_DEVICE(CL_DEVICE_MAX_READ_IMAGE_ARGS, cl_uint, max_read_images),
	OF_DEVICE(CL_DEVICE_MAX_WRITE_IMAGE_ARGS, cl_uint, max_write_images),
	OF_DEVICE(CL_DEVICE_MAX_READ_WRITE_IMAGE_ARGS, cl_uint, max_read_write_images),
	OF_DEVICE(CL_DEVICE_MAX_MEM_ALLOC_SIZE, cl_ulong, max_alloc_size),
	OF_DEVICE(CL_DEVICE_IMAGE2D_MAX_WIDTH, size_t, image2d_width),
	OF_DEVICE(CL_DEVICE_IMAGE2D_MAX_HEIGHT, size_t, image2d_height),
	OF_DEVICE(CL_DEVICE_IMAGE3D_MAX_WIDTH, size_t, image3d_width),
	OF_DEVICE(CL_DEVICE_IMAGE3D_MAX_HEIGHT, size_t, image3d_height),
	OF_DEVICE(CL_DEVICE_IMAGE3D_MAX_DEPTH, size_t, image3d_depth),
	OF_DEVICE(CL_DEVICE_IMAGE_MAX_BUFFER_SIZE, size_t, image_buffer_size),
	OF_DEVICE(CL_DEVICE_IMAGE_MAX_ARRAY_SIZE, size_t, image_array_size),
	OF_DEVICE(CL_DEVICE_IMAGE_PITCH_ALIGNMENT, cl_uint, image_pitch_align),
	OF_DEVICE(CL_DEVICE_IMAGE_BASE_ADDRESS_ALIGNMENT, cl_uint, image_base_align),
	OF_DEVICE(CL_DEVICE_IMAGE_SUPPORT, cl_bool, images),
	OF_DEVICE(CL_DEVICE_MAX_PARAMETER_SIZE, size_t, max_parameter_size),
	OF_DEVICE(CL_DEVICE_MAX_SAMPLERS, cl_uint, max_samplers),
	OF_DEVICE(CL_DEVICE_MEM_BASE_ADDR_ALIGN, cl_uint, mem_base_align_bits),
	OF_DEVICE(CL_DEVICE_MIN_DATA_TYPE_ALIGN_SIZE, cl_uint, min_align_bytes),
	OF_DEVICE(CL_DEVICE_SINGLE_FP_CONFIG, cl_device_fp_config, single_fp),
	OF_DEVICE(CL_DEVICE_DOUBLE_FP_CONFIG, cl_device_fp_config, double_fp),
	OF_DEVICE(CL_DEVICE_HALF_FP_CONFIG, cl_device_fp_config, half_fp),
	OF_DEVICE(CL_DEVICE_GLOBAL_MEM_CACHE_TYPE, cl_device_mem_cache_type, global_cache_type),
	OF_DEVICE(CL_DEVICE_GLOBAL_MEM_CACHELINE_SIZE, cl_uint, global_cacheline),
	OF_DEVICE(CL_DEVICE_GLOBAL_MEM_CACHE_SIZE, cl_ulong, global_cache_size),
	OF_DEVICE(CL_DEVICE_GLOBAL_MEM_SIZE, cl_ulong, global_mem_size),
	OF_DEVICE(CL_DEVICE_MAX_CONSTANT_BUFFER_SIZE, cl_ulong, max_constant_buffer),
	OF_DEVICE(CL_DEVICE_MAX_CONSTANT_ARGS, cl_uint, max_constant_args),
	OF_DEVICE(CL_DEVICE_MAX_GLOBAL_VARIABLE_SIZE, size_t, max_global_variable),
	OF_DEVICE(CL_DEVICE_GLOBAL_VARIABLE_PREFERRED_TOTAL_SIZE, size_t, preferred_global_variable),
	OF_DEVICE(CL_DEVICE_LOCAL_MEM_TYPE, cl_device_local_mem_type, local_mem_type),
	OF_DEVICE(CL_DEVICE_LOCAL_MEM_SIZE, cl_ulong, local_mem_size),
	OF_DEVICE(CL_DEVICE_ERROR_CORRECTION_SUPPORT, cl_bool, error_correction),
	OF_DEVICE(CL_DEVICE_ENDIAN_LITTLE, cl_bool, little_endian),
	OF_DEVICE(CL_DEVICE_EXECUTION_CAPABILITIES, cl_device_exec_capabilities, exec_capabilities),
	OF_DEVICE(CL_DEVICE_QUEUE_ON_HOST_PROPERTIES, cl_command_queue_properties, queue_properties),
	OF_DEVICE(CL_DEVICE_PRINTF_BUFFER_SIZE, size_t, printf_buffer),
	OF_DEVICE(CL_DEVICE_SVM_CAPABILITIES, cl_device_svm_capabilities, svm),
	OF_DEVICE(CL_DEVICE_ATOMIC_MEMORY_CAPABILITIES, cl_device_atomic_capabilities, atomic_memory),
	OF_DEVICE(CL_DEVICE_ATOMIC_FENCE_CAPABILITIES, cl_device_atomic_capabilities, atomic_fence),
	OF_DEVICE(CL_DEVICE_NON_UNIFORM_WORK_GROUP_SUPPORT, cl_bool, nonuniform_groups),
	OF_DEVICE(CL_DEVICE_PREFERRED_WORK_GROUP_SIZE_MULTIPLE, size_t, preferred_multiple),
	OF_DEVICE(CL_DEVICE_WORK_GROUP_COLLECTIVE_FUNCTIONS_SUPPORT, cl_bool, group_collective),
	OF_ALL(CL_DEVICE_PLATFORM, platform),
	OF_ALL(CL_DEVICE_AVAILABLE, yes),
	OF_ALL(CL_DEVICE_COMPILER_AVAILABLE, yes),
	OF_ALL(CL_DEVICE_LINKER_AVAILABLE, yes),
	OF_ALL(CL_DEVICE_HOST_UNIFIED_MEMORY, yes),
	OF_ALL(CL_DEVICE_PREFERRED_INTEROP_USER_SYNC, yes),
	OF_ALL(CL_DEVICE_PROFILING_TIMER_RESOLUTION, timer_resolution),
	OF_ALL(CL_DEVICE_NUMERIC_VERSION, version),
	OF_ALL(CL_DEVICE_OPENCL_C_ALL_VERSIONS, c_versions),
	OF_ALL(CL_DEVICE_REFERENCE_COUNT, one),
	/* no sub-devices */
	OF_ALL(CL_DEVICE_PARENT_DEVICE, parent),
	OF_ALL(CL_DEVICE_PARTITION_MAX_SUB_DEVICES, zero),
	OF_ALL(CL_DEVICE_PARTITION_PROPERTIES, partition),
	OF_ALL(CL_DEVICE_PARTITION_AFFINITY_DOMAIN, zero_long),
	OF_ALL(CL_DEVICE_PARTITION_TYPE, partition),
	/* no queues on the device */
	OF_ALL(CL_DEVICE_QUEUE_ON_DEVICE_PROPERTIES, zero_long),
	OF_ALL(CL_DEVICE_QUEUE_ON_DEVICE_PREFERRED_SIZE, zero),
	OF_ALL(CL_DEVICE_QUEUE_ON_DEVICE_MAX_SIZE, zero),
	OF_ALL(CL_DEVICE_MAX_ON_DEVICE_QUEUES, zero),
	OF_ALL(CL_DEVICE_MAX_ON_DEVICE_EVENTS, zero),
	OF_ALL(CL_DEVICE_DEVICE_ENQUEUE_CAPABILITIES, zero_long),
	/* no pipes, no sub-groups */
	OF_ALL(CL_DEVICE_PIPE_SUPPORT, no),
	OF_ALL(CL_DEVICE_MAX_PIPE_ARGS, zero),
	OF_ALL(CL_DEVICE_PIPE_MAX_ACTIVE_RESERVATIONS, zero),
	OF_ALL(CL_DEVICE_PIPE_MAX_PACKET_SIZE, zero),
	OF_ALL(CL_DEVICE_MAX_NUM_SUB_GROUPS, zero),
	OF_ALL(CL_DEVICE_SUB_GROUP_INDEPENDENT_FORWARD_PROGRESS, no),
	/* 0: the natural alignment of the type */
	OF_ALL(CL_DEVICE_PREFERRED_PLATFORM_ATOMIC_ALIGNMENT, zero),
	OF_ALL(CL_DEVICE_PREFERRED_GLOBAL_ATOMIC_ALIGNMENT, zero),
	OF_ALL(CL_DEVICE_PREFERRED_LOCAL_ATOMIC_ALIGNMENT, zero),
};
/* clang-format on */

/* ---- lists of names, made at the first question --------------------------------------------- */

static struct {
	char extensions[sizeof(DEVICE_EXTENSIONS) + sizeof(the_device.info.extensions)];
	cl_name_version extension_versions[VERSIONS_MAX], features[VERSIONS_MAX],
	    builtins[VERSIONS_MAX];
	size_t nextensions, nfeatures, nbuiltins;
	bool generic_address_space;
} lists;

/* Fills list with the words of a string, with spaces or semicolons between them; returns how many
 * there are. */
static size_t split(const char *words, cl_version version, cl_name_version *list)
{
	size_t n = 0;

	while (*(words += strspn(words, " ;")) && n < VERSIONS_MAX) {
		size_t length = strcspn(words, " ;");
		cl_name_version *entry = &list[n];

		if (length < sizeof(entry->name)) {
			entry->version = version;
			memcpy(entry->name, words, length);
			entry->name[length] = 0;
			n++;
		}
		words += length;
	}
	return n;
}

static void lists_make(void)
{
	const struct arax_device_info *info = &the_device.info;

	snprintf(lists.extensions, sizeof(lists.extensions), "%s%s%s", DEVICE_EXTENSIONS,
		 info->extensions[0] ? " " : "", info->extensions);
	lists.nextensions =
	    split(lists.extensions, CL_MAKE_VERSION(1, 0, 0), lists.extension_versions);
	lists.extension_versions[0].version = CL_MAKE_VERSION(2, 0, 0); /* cl_khr_icd */
	lists.nbuiltins = split(info->builtins, CL_MAKE_VERSION(1, 0, 0), lists.builtins);
	lists.nfeatures = split(info->c_features, CL_MAKE_VERSION(3, 0, 0), lists.features);
	for (size_t i = 0; i < lists.nfeatures; i++) {
		if (!strcmp(lists.features[i].name, "__opencl_c_generic_address_space"))
			lists.generic_address_space = true;
	}
}

static void lists_ready(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, lists_make);
}

/* ---- queries -------------------------------------------------------------------------------- */

static cl_int info_list(cl_device_info param_name, size_t param_value_size, void *param_value,
			size_t *param_value_size_ret)
{
	lists_ready();
	switch (param_name) {
	case CL_DEVICE_EXTENSIONS:
		return info_string(lists.extensions, param_value_size, param_value,
				   param_value_size_ret);
	case CL_DEVICE_EXTENSIONS_WITH_VERSION:
		return info_copy(lists.extension_versions,
				 lists.nextensions * sizeof(cl_name_version), param_value_size,
				 param_value, param_value_size_ret);
	case CL_DEVICE_BUILT_IN_KERNELS_WITH_VERSION:
		return info_copy(lists.builtins, lists.nbuiltins * sizeof(cl_name_version),
				 param_value_size, param_value, param_value_size_ret);
	case CL_DEVICE_OPENCL_C_FEATURES:
		return info_copy(lists.features, lists.nfeatures * sizeof(cl_name_version),
				 param_value_size, param_value, param_value_size_ret);
	default:
		return INFO(cl_bool, lists.generic_address_space);
	}
}

static cl_int info_other(cl_device_info param_name, size_t param_value_size, void *param_value,
			 size_t *param_value_size_ret)
{
#define STRING(s) info_string(s, param_value_size, param_value, param_value_size_ret)
	switch (param_name) {
	case CL_DEVICE_TYPE:
		return INFO(cl_device_type, the_device.info.type);
	case CL_DEVICE_NAME:
		return STRING("Arax virtual device");
	case CL_DEVICE_VENDOR:
		return STRING("Arax");
	case CL_DRIVER_VERSION:
		return STRING(ARAX_VERSION);
	case CL_DEVICE_PROFILE:
		return STRING("FULL_PROFILE");
	case CL_DEVICE_VERSION:
		return STRING("OpenCL 3.0 Arax");
	case CL_DEVICE_OPENCL_C_VERSION:
		/* 3.0 is in ALL_VERSIONS: without its optional features it is 1.2 and more */
		return STRING("OpenCL C 1.2 Arax");
	case CL_DEVICE_LATEST_CONFORMANCE_VERSION_PASSED:
		/* none; as a date that exists, because the form is checked */
		return STRING("v0000-01-01-00");
	case CL_DEVICE_IL_VERSION:
		return STRING("");
	case CL_DEVICE_BUILT_IN_KERNELS:
		return STRING(the_device.info.builtins);
	case CL_DEVICE_ILS_WITH_VERSION:
		return info_copy(NULL, 0, param_value_size, param_value, param_value_size_ret);
	case CL_DEVICE_EXTENSIONS:
	case CL_DEVICE_EXTENSIONS_WITH_VERSION:
	case CL_DEVICE_BUILT_IN_KERNELS_WITH_VERSION:
	case CL_DEVICE_OPENCL_C_FEATURES:
	case CL_DEVICE_GENERIC_ADDRESS_SPACE_SUPPORT:
		return info_list(param_name, param_value_size, param_value, param_value_size_ret);
	default:
		return CL_INVALID_VALUE;
	}
#undef STRING
}

cl_int arax_clGetDeviceInfo(cl_device_id device, cl_device_info param_name, size_t param_value_size,
			    void *param_value, size_t *param_value_size_ret)
{
	const struct location *location;

	if (!object_is(device, OBJECT_DEVICE) || !platform_ready())
		return CL_INVALID_DEVICE;
	if (param_name < FIRST_QUERY || param_name > LAST_QUERY ||
	    !locations[param_name - FIRST_QUERY].size)
		return info_other(param_name, param_value_size, param_value, param_value_size_ret);
	location = &locations[param_name - FIRST_QUERY];
	return info_copy(
	    (location->constant ? (const char *)&constants : (const char *)&the_device.info) +
		location->offset,
	    location->size, param_value_size, param_value, param_value_size_ret);
}

cl_int device_list_check(cl_uint num_devices, const cl_device_id *devices)
{
	if (!num_devices || !devices)
		return CL_INVALID_VALUE;
	for (cl_uint i = 0; i < num_devices; i++) {
		if (!object_is(devices[i], OBJECT_DEVICE))
			return CL_INVALID_DEVICE;
	}
	return CL_SUCCESS;
}

/* ---- sub-devices, reference counts, timers -------------------------------------------------- */

/* No scheme of partitioning is supported, and a scheme that is valid but not supported is
 * CL_INVALID_VALUE (section 4.3); CL_DEVICE_PARTITION_FAILED would be for one that is. */
cl_int arax_clCreateSubDevices(cl_device_id in_device,
			       const cl_device_partition_property *properties, cl_uint num_devices,
			       cl_device_id *out_devices, cl_uint *num_devices_ret)
{
	(void)properties;
	(void)num_devices;
	(void)out_devices;
	(void)num_devices_ret;
	return object_is(in_device, OBJECT_DEVICE) ? CL_INVALID_VALUE : CL_INVALID_DEVICE;
}

/* Root devices are not counted (section 4.3). */
cl_int arax_clRetainDevice(cl_device_id device)
{
	return object_is(device, OBJECT_DEVICE) ? CL_SUCCESS : CL_INVALID_DEVICE;
}

cl_int arax_clReleaseDevice(cl_device_id device)
{
	return object_is(device, OBJECT_DEVICE) ? CL_SUCCESS : CL_INVALID_DEVICE;
}

/* The clock of all event times, on both sides. */
static cl_ulong now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (cl_ulong)ts.tv_sec * 1000000000u + (cl_ulong)ts.tv_nsec;
}

cl_int arax_clGetDeviceAndHostTimer(cl_device_id device, cl_ulong *device_timestamp,
				    cl_ulong *host_timestamp)
{
	if (!object_is(device, OBJECT_DEVICE))
		return CL_INVALID_DEVICE;
	if (!device_timestamp || !host_timestamp)
		return CL_INVALID_VALUE;
	*device_timestamp = *host_timestamp = now();
	return CL_SUCCESS;
}

cl_int arax_clGetHostTimer(cl_device_id device, cl_ulong *host_timestamp)
{
	if (!object_is(device, OBJECT_DEVICE))
		return CL_INVALID_DEVICE;
	if (!host_timestamp)
		return CL_INVALID_VALUE;
	*host_timestamp = now();
	return CL_SUCCESS;
}

/* Section 5.1: CL_INVALID_OPERATION when the device has no replaceable default queue. */
cl_int arax_clSetDefaultDeviceCommandQueue(cl_context context, cl_device_id device,
					   cl_command_queue command_queue)
{
	(void)command_queue;
	if (!object_is(context, OBJECT_CONTEXT))
		return CL_INVALID_CONTEXT;
	if (!object_is(device, OBJECT_DEVICE))
		return CL_INVALID_DEVICE;
	return CL_INVALID_OPERATION;
}
