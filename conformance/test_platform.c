/* The platform and the device: every query with its size and errors, sub-devices, extensions. */
#include "cltest.h"

/* How a query's value is laid out; all that the specification says of its size. */
enum kind { TEXT, NAMES, VERSION, FIXED, SIZES };

struct query {
	cl_uint name;
	enum kind kind;
	size_t size;
	const char *text;
};

#define Q(name, kind, size)             \
	{                               \
		name, kind, size, #name \
	}

static const struct query platform_queries[] = {
    Q(CL_PLATFORM_PROFILE, TEXT, 0),
    Q(CL_PLATFORM_VERSION, TEXT, 0),
    Q(CL_PLATFORM_NAME, TEXT, 0),
    Q(CL_PLATFORM_VENDOR, TEXT, 0),
    Q(CL_PLATFORM_EXTENSIONS, TEXT, 0),
    Q(CL_PLATFORM_NUMERIC_VERSION, FIXED, sizeof(cl_version)),
    Q(CL_PLATFORM_EXTENSIONS_WITH_VERSION, NAMES, 0),
    Q(CL_PLATFORM_HOST_TIMER_RESOLUTION, FIXED, sizeof(cl_ulong)),
    Q(CL_PLATFORM_ICD_SUFFIX_KHR, TEXT, 0),
};

static const struct query device_queries[] = {
    Q(CL_DEVICE_TYPE, FIXED, sizeof(cl_device_type)),
    Q(CL_DEVICE_VENDOR_ID, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_MAX_COMPUTE_UNITS, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_MAX_WORK_ITEM_DIMENSIONS, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_MAX_WORK_ITEM_SIZES, SIZES, sizeof(size_t)),
    Q(CL_DEVICE_MAX_WORK_GROUP_SIZE, FIXED, sizeof(size_t)),
    Q(CL_DEVICE_PREFERRED_VECTOR_WIDTH_CHAR, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_PREFERRED_VECTOR_WIDTH_SHORT, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_PREFERRED_VECTOR_WIDTH_INT, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_PREFERRED_VECTOR_WIDTH_LONG, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_PREFERRED_VECTOR_WIDTH_FLOAT, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_PREFERRED_VECTOR_WIDTH_DOUBLE, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_PREFERRED_VECTOR_WIDTH_HALF, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_NATIVE_VECTOR_WIDTH_CHAR, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_NATIVE_VECTOR_WIDTH_SHORT, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_NATIVE_VECTOR_WIDTH_INT, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_NATIVE_VECTOR_WIDTH_LONG, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_NATIVE_VECTOR_WIDTH_DOUBLE, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_NATIVE_VECTOR_WIDTH_HALF, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_MAX_CLOCK_FREQUENCY, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_ADDRESS_BITS, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_MAX_MEM_ALLOC_SIZE, FIXED, sizeof(cl_ulong)),
    Q(CL_DEVICE_IMAGE_SUPPORT, FIXED, sizeof(cl_bool)),
    Q(CL_DEVICE_MAX_READ_IMAGE_ARGS, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_MAX_WRITE_IMAGE_ARGS, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_MAX_READ_WRITE_IMAGE_ARGS, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_IL_VERSION, TEXT, 0),
    Q(CL_DEVICE_ILS_WITH_VERSION, NAMES, 0),
    Q(CL_DEVICE_IMAGE2D_MAX_WIDTH, FIXED, sizeof(size_t)),
    Q(CL_DEVICE_IMAGE2D_MAX_HEIGHT, FIXED, sizeof(size_t)),
    Q(CL_DEVICE_IMAGE3D_MAX_WIDTH, FIXED, sizeof(size_t)),
    Q(CL_DEVICE_IMAGE3D_MAX_HEIGHT, FIXED, sizeof(size_t)),
    Q(CL_DEVICE_IMAGE3D_MAX_DEPTH, FIXED, sizeof(size_t)),
    Q(CL_DEVICE_IMAGE_MAX_BUFFER_SIZE, FIXED, sizeof(size_t)),
    Q(CL_DEVICE_IMAGE_MAX_ARRAY_SIZE, FIXED, sizeof(size_t)),
    Q(CL_DEVICE_MAX_SAMPLERS, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_IMAGE_PITCH_ALIGNMENT, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_IMAGE_BASE_ADDRESS_ALIGNMENT, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_MAX_PIPE_ARGS, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_PIPE_MAX_ACTIVE_RESERVATIONS, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_PIPE_MAX_PACKET_SIZE, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_MAX_PARAMETER_SIZE, FIXED, sizeof(size_t)),
    Q(CL_DEVICE_MEM_BASE_ADDR_ALIGN, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_MIN_DATA_TYPE_ALIGN_SIZE, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_SINGLE_FP_CONFIG, FIXED, sizeof(cl_device_fp_config)),
    Q(CL_DEVICE_DOUBLE_FP_CONFIG, FIXED, sizeof(cl_device_fp_config)),
    Q(CL_DEVICE_GLOBAL_MEM_CACHE_TYPE, FIXED, sizeof(cl_device_mem_cache_type)),
    Q(CL_DEVICE_GLOBAL_MEM_CACHELINE_SIZE, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_GLOBAL_MEM_CACHE_SIZE, FIXED, sizeof(cl_ulong)),
    Q(CL_DEVICE_GLOBAL_MEM_SIZE, FIXED, sizeof(cl_ulong)),
    Q(CL_DEVICE_MAX_CONSTANT_BUFFER_SIZE, FIXED, sizeof(cl_ulong)),
    Q(CL_DEVICE_MAX_CONSTANT_ARGS, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_MAX_GLOBAL_VARIABLE_SIZE, FIXED, sizeof(size_t)),
    Q(CL_DEVICE_GLOBAL_VARIABLE_PREFERRED_TOTAL_SIZE, FIXED, sizeof(size_t)),
    Q(CL_DEVICE_LOCAL_MEM_TYPE, FIXED, sizeof(cl_device_local_mem_type)),
    Q(CL_DEVICE_LOCAL_MEM_SIZE, FIXED, sizeof(cl_ulong)),
    Q(CL_DEVICE_ERROR_CORRECTION_SUPPORT, FIXED, sizeof(cl_bool)),
    Q(CL_DEVICE_HOST_UNIFIED_MEMORY, FIXED, sizeof(cl_bool)),
    Q(CL_DEVICE_PROFILING_TIMER_RESOLUTION, FIXED, sizeof(size_t)),
    Q(CL_DEVICE_ENDIAN_LITTLE, FIXED, sizeof(cl_bool)),
    Q(CL_DEVICE_AVAILABLE, FIXED, sizeof(cl_bool)),
    Q(CL_DEVICE_COMPILER_AVAILABLE, FIXED, sizeof(cl_bool)),
    Q(CL_DEVICE_LINKER_AVAILABLE, FIXED, sizeof(cl_bool)),
    Q(CL_DEVICE_EXECUTION_CAPABILITIES, FIXED, sizeof(cl_device_exec_capabilities)),
    Q(CL_DEVICE_QUEUE_ON_HOST_PROPERTIES, FIXED, sizeof(cl_command_queue_properties)),
    Q(CL_DEVICE_QUEUE_ON_DEVICE_PROPERTIES, FIXED, sizeof(cl_command_queue_properties)),
    Q(CL_DEVICE_QUEUE_ON_DEVICE_PREFERRED_SIZE, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_QUEUE_ON_DEVICE_MAX_SIZE, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_MAX_ON_DEVICE_QUEUES, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_MAX_ON_DEVICE_EVENTS, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_BUILT_IN_KERNELS, TEXT, 0),
    Q(CL_DEVICE_BUILT_IN_KERNELS_WITH_VERSION, NAMES, 0),
    Q(CL_DEVICE_PLATFORM, FIXED, sizeof(cl_platform_id)),
    Q(CL_DEVICE_NAME, TEXT, 0),
    Q(CL_DEVICE_VENDOR, TEXT, 0),
    Q(CL_DRIVER_VERSION, TEXT, 0),
    Q(CL_DEVICE_PROFILE, TEXT, 0),
    Q(CL_DEVICE_VERSION, TEXT, 0),
    Q(CL_DEVICE_NUMERIC_VERSION, FIXED, sizeof(cl_version)),
    Q(CL_DEVICE_OPENCL_C_VERSION, TEXT, 0),
    Q(CL_DEVICE_OPENCL_C_ALL_VERSIONS, NAMES, 0),
    Q(CL_DEVICE_OPENCL_C_FEATURES, NAMES, 0),
    Q(CL_DEVICE_EXTENSIONS, TEXT, 0),
    Q(CL_DEVICE_EXTENSIONS_WITH_VERSION, NAMES, 0),
    Q(CL_DEVICE_PRINTF_BUFFER_SIZE, FIXED, sizeof(size_t)),
    Q(CL_DEVICE_PREFERRED_INTEROP_USER_SYNC, FIXED, sizeof(cl_bool)),
    Q(CL_DEVICE_PARENT_DEVICE, FIXED, sizeof(cl_device_id)),
    Q(CL_DEVICE_PARTITION_MAX_SUB_DEVICES, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_PARTITION_PROPERTIES, SIZES, sizeof(cl_device_partition_property)),
    Q(CL_DEVICE_PARTITION_AFFINITY_DOMAIN, FIXED, sizeof(cl_device_affinity_domain)),
    Q(CL_DEVICE_PARTITION_TYPE, SIZES, sizeof(cl_device_partition_property)),
    Q(CL_DEVICE_REFERENCE_COUNT, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_SVM_CAPABILITIES, FIXED, sizeof(cl_device_svm_capabilities)),
    Q(CL_DEVICE_PREFERRED_PLATFORM_ATOMIC_ALIGNMENT, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_PREFERRED_GLOBAL_ATOMIC_ALIGNMENT, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_PREFERRED_LOCAL_ATOMIC_ALIGNMENT, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_MAX_NUM_SUB_GROUPS, FIXED, sizeof(cl_uint)),
    Q(CL_DEVICE_SUB_GROUP_INDEPENDENT_FORWARD_PROGRESS, FIXED, sizeof(cl_bool)),
    Q(CL_DEVICE_ATOMIC_MEMORY_CAPABILITIES, FIXED, sizeof(cl_device_atomic_capabilities)),
    Q(CL_DEVICE_ATOMIC_FENCE_CAPABILITIES, FIXED, sizeof(cl_device_atomic_capabilities)),
    Q(CL_DEVICE_NON_UNIFORM_WORK_GROUP_SUPPORT, FIXED, sizeof(cl_bool)),
    Q(CL_DEVICE_WORK_GROUP_COLLECTIVE_FUNCTIONS_SUPPORT, FIXED, sizeof(cl_bool)),
    Q(CL_DEVICE_GENERIC_ADDRESS_SPACE_SUPPORT, FIXED, sizeof(cl_bool)),
    Q(CL_DEVICE_DEVICE_ENQUEUE_CAPABILITIES, FIXED, sizeof(cl_device_device_enqueue_capabilities)),
    Q(CL_DEVICE_PIPE_SUPPORT, FIXED, sizeof(cl_bool)),
    Q(CL_DEVICE_PREFERRED_WORK_GROUP_SIZE_MULTIPLE, FIXED, sizeof(size_t)),
    Q(CL_DEVICE_LATEST_CONFORMANCE_VERSION_PASSED, TEXT, 0),
};

static cl_int ask(bool device, cl_uint name, size_t size, void *value, size_t *got)
{
	return device ? clGetDeviceInfo(cltest_device, name, size, value, got)
		      : clGetPlatformInfo(cltest_platform, name, size, value, got);
}

/* One query: its size, its terminator, nothing written beyond, and one byte too few refused. */
static void check_query(bool device, const struct query *q)
{
	size_t size = SIZE_MAX, again = 0;
	unsigned char *value;
	cl_int err = ask(device, q->name, 0, NULL, &size);

	if (err)
		FAIL("%s gave %s", q->text, cltest_error(err));
	if (q->name == CL_DEVICE_DEVICE_ENQUEUE_CAPABILITIES && native_bug())
		return; /* PoCL gives four bytes of the cl_bitfield */
	if (q->kind == FIXED && size != q->size)
		FAIL("%s has size %zu, not %zu", q->text, size, q->size);
	if (q->kind == SIZES && size % q->size)
		FAIL("%s has size %zu, no multiple of %zu", q->text, size, q->size);
	if (q->kind == NAMES && size % sizeof(cl_name_version))
		FAIL("%s has size %zu, no multiple of a cl_name_version", q->text, size);
	value = malloc(size + 9);
	memset(value, 0xa5, size + 9);
	err = ask(device, q->name, size, value, &again);
	if (err || again != size)
		FAIL("%s read: %s, size %zu after %zu", q->text, cltest_error(err), again, size);
	if (value[size] != 0xa5)
		FAIL("%s writes beyond its end", q->text);
	if (q->kind == TEXT && (size == 0 || strlen((char *)value) != size - 1))
		FAIL("%s is not a string of %zu bytes", q->text, size);
	err = ask(device, q->name, size + 8, value, NULL);
	if (err)
		FAIL("%s gave %s with room to spare", q->text, cltest_error(err));
	if (size > 1 && ask(device, q->name, size - 1, value, NULL) != CL_INVALID_VALUE)
		FAIL("%s does not refuse a size too small", q->text);
	free(value);
}

static void test_platform_queries(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(platform_queries); i++)
		check_query(false, &platform_queries[i]);
	CHECK_ERR(clGetPlatformInfo(cltest_platform, 0x7777, 0, NULL, NULL), CL_INVALID_VALUE);
}

static void test_device_queries(void)
{
	char text[8];

	for (size_t i = 0; i < ARRAY_SIZE(device_queries); i++)
		check_query(true, &device_queries[i]);
	CHECK_ERR(clGetDeviceInfo(cltest_device, 0x7777, 0, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clGetDeviceInfo(NULL, CL_DEVICE_NAME, sizeof(text), text, NULL),
		  CL_INVALID_DEVICE);
}

static char *text_of(bool device, cl_uint name)
{
	size_t size = 0;
	char *text;

	CHECK_CL(ask(device, name, 0, NULL, &size));
	text = calloc(1, size + 1);
	CHECK_CL(ask(device, name, size, text, NULL));
	return text;
}

/* The words of a string are exactly the names of the list with versions, in any order. */
static void check_names(bool device, cl_uint string, cl_uint list, const char *separator)
{
	char *text = text_of(device, string), *save, *word;
	size_t size = 0, words = 0, n;
	cl_name_version *names;

	CHECK_CL(ask(device, list, 0, NULL, &size));
	n = size / sizeof(*names);
	names = malloc(size + 1);
	CHECK_CL(ask(device, list, size, names, NULL));
	for (word = strtok_r(text, separator, &save); word;
	     word = strtok_r(NULL, separator, &save)) {
		bool found = false;

		for (size_t i = 0; i < n; i++)
			found |= !strcmp(names[i].name, word);
		if (!found)
			FAIL("%s is not in the list with versions", word);
		words++;
	}
	CHECK_EQ(words, n);
	for (size_t i = 0; i < n; i++)
		CHECK(names[i].version != 0);
	free(names);
	free(text);
}

static void test_extension_lists(void)
{
	char *text = text_of(false, CL_PLATFORM_EXTENSIONS);

	CHECK(strstr(text, "cl_khr_icd"));
	free(text);
	check_names(false, CL_PLATFORM_EXTENSIONS, CL_PLATFORM_EXTENSIONS_WITH_VERSION, " ");
	check_names(true, CL_DEVICE_EXTENSIONS, CL_DEVICE_EXTENSIONS_WITH_VERSION, " ");
	check_names(true, CL_DEVICE_BUILT_IN_KERNELS, CL_DEVICE_BUILT_IN_KERNELS_WITH_VERSION, ";");
}

/* What an OpenCL 3.0 device of the full profile must report at least. */
static void test_minimum_values(void)
{
	char *version = text_of(true, CL_DEVICE_VERSION), *name = text_of(true, CL_DEVICE_NAME);
	char *c = text_of(true, CL_DEVICE_OPENCL_C_VERSION);
	char *profile = text_of(true, CL_DEVICE_PROFILE);
	char *platform = text_of(false, CL_PLATFORM_VERSION);
	size_t sizes[3] = {0};
	cl_ulong global, alloc;

	CHECK(!strncmp(platform, "OpenCL 3.0 ", 11));
	CHECK(!strncmp(version, "OpenCL 3.0 ", 11));
	CHECK(!strncmp(c, "OpenCL C 1.2", 12) || !strncmp(c, "OpenCL C 3.0", 12));
	CHECK(!strcmp(profile, "FULL_PROFILE"));
	CHECK(name[0]);
	if (!on_native_pocl())
		CHECK(!strcasestr(version, "pocl") && !strcasestr(name, "pocl") &&
		      !strcasestr(platform, "pocl"));
	CHECK_EQ(INFO(cl_version, clGetDeviceInfo, cltest_device, CL_DEVICE_NUMERIC_VERSION) >> 22,
		 3);
	CHECK_EQ(
	    INFO(cl_version, clGetPlatformInfo, cltest_platform, CL_PLATFORM_NUMERIC_VERSION) >> 22,
	    3);
	CHECK(INFO(cl_platform_id, clGetDeviceInfo, cltest_device, CL_DEVICE_PLATFORM) ==
	      cltest_platform);
	CHECK_EQ(INFO(cl_uint, clGetDeviceInfo, cltest_device, CL_DEVICE_MAX_WORK_ITEM_DIMENSIONS),
		 3);
	CHECK_CL(clGetDeviceInfo(cltest_device, CL_DEVICE_MAX_WORK_ITEM_SIZES, sizeof(sizes), sizes,
				 NULL));
	CHECK(sizes[0] >= 1 && sizes[1] >= 1 && sizes[2] >= 1);
	CHECK(INFO(cl_uint, clGetDeviceInfo, cltest_device, CL_DEVICE_MAX_COMPUTE_UNITS) >= 1);
	CHECK(INFO(size_t, clGetDeviceInfo, cltest_device, CL_DEVICE_MAX_PARAMETER_SIZE) >= 1024);
	CHECK(INFO(cl_ulong, clGetDeviceInfo, cltest_device, CL_DEVICE_LOCAL_MEM_SIZE) >= 32768);
	CHECK(INFO(cl_ulong, clGetDeviceInfo, cltest_device, CL_DEVICE_MAX_CONSTANT_BUFFER_SIZE) >=
	      65536);
	CHECK(INFO(cl_uint, clGetDeviceInfo, cltest_device, CL_DEVICE_MAX_CONSTANT_ARGS) >= 8);
	CHECK(INFO(size_t, clGetDeviceInfo, cltest_device, CL_DEVICE_PRINTF_BUFFER_SIZE) >= 65536);
	CHECK(INFO(cl_uint, clGetDeviceInfo, cltest_device, CL_DEVICE_MEM_BASE_ADDR_ALIGN) >= 1024);
	global = INFO(cl_ulong, clGetDeviceInfo, cltest_device, CL_DEVICE_GLOBAL_MEM_SIZE);
	alloc = INFO(cl_ulong, clGetDeviceInfo, cltest_device, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
	CHECK(alloc <= global);
	CHECK(alloc >= global / 4 || alloc >= (cl_ulong)1 << 30);
	CHECK(INFO(cl_device_exec_capabilities, clGetDeviceInfo, cltest_device,
		   CL_DEVICE_EXECUTION_CAPABILITIES) &
	      CL_EXEC_KERNEL);
	CHECK(INFO(cl_command_queue_properties, clGetDeviceInfo, cltest_device,
		   CL_DEVICE_QUEUE_ON_HOST_PROPERTIES) &
	      CL_QUEUE_PROFILING_ENABLE);
	CHECK(INFO(cl_bool, clGetDeviceInfo, cltest_device, CL_DEVICE_AVAILABLE));
	CHECK(INFO(cl_bool, clGetDeviceInfo, cltest_device, CL_DEVICE_COMPILER_AVAILABLE));
	CHECK(INFO(cl_device_id, clGetDeviceInfo, cltest_device, CL_DEVICE_PARENT_DEVICE) == NULL);
	CHECK_EQ(INFO(cl_uint, clGetDeviceInfo, cltest_device, CL_DEVICE_REFERENCE_COUNT), 1);
	free(version);
	free(name);
	free(c);
	free(profile);
	free(platform);
}

/* 1.0, 1.1, 1.2 and 3.0 of OpenCL C are all there, and each can be asked for. */
static void test_opencl_c_versions(void)
{
	cl_name_version list[16];
	size_t size = 0;
	bool has12 = false, has30 = false;

	CHECK_CL(clGetDeviceInfo(cltest_device, CL_DEVICE_OPENCL_C_ALL_VERSIONS, sizeof(list), list,
				 &size));
	for (size_t i = 0; i < size / sizeof(list[0]); i++) {
		CHECK(!strcmp(list[i].name, "OpenCL C"));
		has12 |= list[i].version == CL_MAKE_VERSION(1, 2, 0);
		has30 |= list[i].version == CL_MAKE_VERSION(3, 0, 0);
	}
	CHECK(has12);
	CHECK(has30);
}

/* What the device says that it can do is what the compiler has a feature for, and the other way
 * round. */
static void test_features_and_capabilities(void)
{
	static const struct {
		const char *feature;
		cl_device_info query;
		cl_ulong bit;
	} pairs[] = {
	    {"__opencl_c_atomic_order_acq_rel", CL_DEVICE_ATOMIC_MEMORY_CAPABILITIES,
	     CL_DEVICE_ATOMIC_ORDER_ACQ_REL},
	    {"__opencl_c_atomic_order_seq_cst", CL_DEVICE_ATOMIC_MEMORY_CAPABILITIES,
	     CL_DEVICE_ATOMIC_ORDER_SEQ_CST},
	    {"__opencl_c_atomic_scope_device", CL_DEVICE_ATOMIC_MEMORY_CAPABILITIES,
	     CL_DEVICE_ATOMIC_SCOPE_DEVICE},
	    {"__opencl_c_atomic_scope_all_devices", CL_DEVICE_ATOMIC_MEMORY_CAPABILITIES,
	     CL_DEVICE_ATOMIC_SCOPE_ALL_DEVICES},
	    {"__opencl_c_generic_address_space", CL_DEVICE_GENERIC_ADDRESS_SPACE_SUPPORT, ~0ull},
	    {"__opencl_c_pipes", CL_DEVICE_PIPE_SUPPORT, ~0ull},
	    {"__opencl_c_images", CL_DEVICE_IMAGE_SUPPORT, ~0ull},
	    {"__opencl_c_fp64", CL_DEVICE_DOUBLE_FP_CONFIG, ~0ull},
	    {"__opencl_c_subgroups", CL_DEVICE_MAX_NUM_SUB_GROUPS, ~0ull},
	    {"__opencl_c_program_scope_global_variables", CL_DEVICE_MAX_GLOBAL_VARIABLE_SIZE,
	     ~0ull},
	    {"__opencl_c_work_group_collective_functions",
	     CL_DEVICE_WORK_GROUP_COLLECTIVE_FUNCTIONS_SUPPORT, ~0ull},
	};
	cl_name_version list[64];
	cl_device_atomic_capabilities fence;
	size_t size = 0;

	CHECK_CL(
	    clGetDeviceInfo(cltest_device, CL_DEVICE_OPENCL_C_FEATURES, sizeof(list), list, &size));
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		cl_ulong value = 0;
		bool named = false;

		for (size_t j = 0; j < size / sizeof(list[0]); j++)
			named |= !strcmp(list[j].name, pairs[i].feature);
		CHECK_CL(
		    clGetDeviceInfo(cltest_device, pairs[i].query, sizeof(value), &value, NULL));
		if (named != !!(value & pairs[i].bit) && !native_bug())
			FAIL("%s is %s feature, but the device says %#llx", pairs[i].feature,
			     named ? "a" : "no", (unsigned long long)value);
	}
	fence = INFO(cl_device_atomic_capabilities, clGetDeviceInfo, cltest_device,
		     CL_DEVICE_ATOMIC_FENCE_CAPABILITIES);
	CHECK(fence & CL_DEVICE_ATOMIC_ORDER_RELAXED);
	CHECK(fence & CL_DEVICE_ATOMIC_ORDER_ACQ_REL);
	CHECK(fence & CL_DEVICE_ATOMIC_SCOPE_WORK_GROUP);
}

/* vYYYY-MM-DD-XX, with a month and a day that exist. */
static void test_conformance_version(void)
{
	char *text = text_of(true, CL_DEVICE_LATEST_CONFORMANCE_VERSION_PASSED);
	unsigned year, month, day, more;
	int length = 0;

	CHECK_EQ(sscanf(text, "v%4u-%2u-%2u-%2u%n", &year, &month, &day, &more, &length), 4);
	CHECK_EQ(length, 14);
	CHECK_EQ(strlen(text), 14);
	CHECK(month >= 1 && month <= 12 && day >= 1 && day <= 31);
	free(text);
}

static void test_host_timer(void)
{
	cl_ulong device = 0, host = 0, resolution;

	resolution =
	    INFO(cl_ulong, clGetPlatformInfo, cltest_platform, CL_PLATFORM_HOST_TIMER_RESOLUTION);
	if (!resolution) {
		CHECK_ERR(clGetDeviceAndHostTimer(cltest_device, &device, &host),
			  CL_INVALID_OPERATION);
		CHECK_ERR(clGetHostTimer(cltest_device, &host), CL_INVALID_OPERATION);
		return;
	}
	CHECK_ERR(clGetHostTimer(NULL, &host), CL_INVALID_DEVICE);
	CHECK_ERR(clGetHostTimer(cltest_device, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clGetDeviceAndHostTimer(cltest_device, NULL, &host), CL_INVALID_VALUE);
	CHECK_CL(clGetHostTimer(cltest_device, &host));
	for (int i = 0; i < 100; i++) {
		cl_ulong d, h;

		CHECK_CL(clGetDeviceAndHostTimer(cltest_device, &d, &h));
		CHECK(d >= device && h >= host && d && h);
		device = d;
		host = h;
	}
}

static void test_platform_ids(void)
{
	cl_uint n = 0, m = 0;
	cl_platform_id ids[64];
	bool found = false;

	CHECK_CL(clGetPlatformIDs(0, NULL, &n));
	CHECK(n >= 1 && n <= 64);
	CHECK_CL(clGetPlatformIDs(64, ids, &m));
	CHECK_EQ(m, n);
	for (cl_uint i = 0; i < n; i++)
		found |= ids[i] == cltest_platform;
	CHECK(found);
	CHECK_ERR(clGetPlatformIDs(0, ids, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clGetPlatformIDs(0, NULL, NULL), CL_INVALID_VALUE);
}

static void test_device_ids(void)
{
	cl_device_type type = INFO(cl_device_type, clGetDeviceInfo, cltest_device, CL_DEVICE_TYPE);
	static const cl_device_type types[] = {CL_DEVICE_TYPE_CPU, CL_DEVICE_TYPE_GPU,
					       CL_DEVICE_TYPE_ACCELERATOR};
	cl_device_id ids[16];
	cl_uint n = 0;

	CHECK_CL(clGetDeviceIDs(cltest_platform, CL_DEVICE_TYPE_ALL, 16, ids, &n));
	CHECK(n >= 1);
	CHECK(ids[0] == cltest_device);
	if (!on_native_pocl())
		CHECK_EQ(n, 1);
	CHECK_CL(clGetDeviceIDs(cltest_platform, CL_DEVICE_TYPE_DEFAULT, 16, ids, &n));
	CHECK_EQ(n, 1);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		n = 77;
		CHECK_ERR(clGetDeviceIDs(cltest_platform, types[i], 16, ids, &n),
			  type & types[i] ? CL_SUCCESS : CL_DEVICE_NOT_FOUND);
		if (type & types[i])
			CHECK(ids[0] == cltest_device);
	}
	if (!native_bug()) { /* PoCL says CL_DEVICE_NOT_FOUND */
		CHECK_ERR(clGetDeviceIDs(cltest_platform, 0, 16, ids, &n), CL_INVALID_DEVICE_TYPE);
		CHECK_ERR(clGetDeviceIDs(cltest_platform, 1 << 20, 16, ids, &n),
			  CL_INVALID_DEVICE_TYPE);
	}
	CHECK_ERR(clGetDeviceIDs(cltest_platform, CL_DEVICE_TYPE_ALL, 0, ids, NULL),
		  CL_INVALID_VALUE);
	CHECK_ERR(clGetDeviceIDs(cltest_platform, CL_DEVICE_TYPE_ALL, 1, NULL, NULL),
		  CL_INVALID_VALUE);
	/* The same handle every time. */
	CHECK_CL(clGetDeviceIDs(cltest_platform, CL_DEVICE_TYPE_ALL, 1, ids, NULL));
	CHECK(ids[0] == cltest_device);
}

/* A root device is not counted: retain and release do nothing and succeed. */
static void test_device_refcount(void)
{
	CHECK_CL(clRetainDevice(cltest_device));
	CHECK_EQ(INFO(cl_uint, clGetDeviceInfo, cltest_device, CL_DEVICE_REFERENCE_COUNT), 1);
	CHECK_CL(clReleaseDevice(cltest_device));
	CHECK_CL(clReleaseDevice(cltest_device));
	CHECK_EQ(INFO(cl_uint, clGetDeviceInfo, cltest_device, CL_DEVICE_REFERENCE_COUNT), 1);
	CHECK_ERR(clRetainDevice(NULL), CL_INVALID_DEVICE);
	CHECK_ERR(clReleaseDevice(NULL), CL_INVALID_DEVICE);
}

static void test_sub_devices(void)
{
	cl_device_partition_property kinds[8] = {0};
	const cl_device_partition_property equally[] = {CL_DEVICE_PARTITION_EQUALLY, 1, 0};
	const cl_device_partition_property junk[] = {0x7777, 1, 0}, none[] = {0};
	cl_device_id out[256];
	cl_uint n = 0;
	size_t size = 0;

	CHECK_ERR(clCreateSubDevices(NULL, equally, 1, out, &n), CL_INVALID_DEVICE);
	CHECK_ERR(clCreateSubDevices(cltest_device, NULL, 1, out, &n), CL_INVALID_VALUE);
	CHECK_ERR(clCreateSubDevices(cltest_device, junk, 1, out, &n), CL_INVALID_VALUE);
	if (!native_bug()) /* PoCL accepts the empty list */
		CHECK_ERR(clCreateSubDevices(cltest_device, none, 1, out, &n), CL_INVALID_VALUE);
	CHECK_CL(clGetDeviceInfo(cltest_device, CL_DEVICE_PARTITION_PROPERTIES, sizeof(kinds),
				 kinds, &size));
	if (!kinds[0]) {
		ERR = clCreateSubDevices(cltest_device, equally, 1, out, &n);
		CHECK(ERR == CL_INVALID_VALUE || ERR == CL_DEVICE_PARTITION_FAILED);
		return;
	}
	CHECK_CL(clCreateSubDevices(cltest_device, equally, 256, out, &n));
	CHECK(n >= 1);
	for (cl_uint i = 0; i < n; i++) {
		CHECK(INFO(cl_device_id, clGetDeviceInfo, out[i], CL_DEVICE_PARENT_DEVICE) ==
		      cltest_device);
		CHECK_EQ(INFO(cl_uint, clGetDeviceInfo, out[i], CL_DEVICE_MAX_COMPUTE_UNITS), 1);
		CHECK_CL(clReleaseDevice(out[i]));
	}
}

static void test_extension_functions(void)
{
	CHECK(!clGetExtensionFunctionAddressForPlatform(cltest_platform, "clNoSuchFunctionARAX"));
	CHECK(!clGetExtensionFunctionAddressForPlatform(cltest_platform, "clGetPlatformIDsNOT"));
	CHECK(!clGetExtensionFunctionAddress("clNoSuchFunctionARAX"));
	if (!native_bug()) /* PoCL knows no such function */
		CHECK(clGetExtensionFunctionAddressForPlatform(
		    cltest_platform, "clCreateCommandQueueWithPropertiesKHR"));
}

static const struct cltest tests[] = {
    TEST(platform_queries),    TEST(device_queries),	  TEST(extension_lists),
    TEST(minimum_values),      TEST(opencl_c_versions),	  TEST(host_timer),
    TEST(platform_ids),	       TEST(device_ids),	  TEST(device_refcount),
    TEST(sub_devices),	       TEST(extension_functions), TEST(features_and_capabilities),
    TEST(conformance_version),
};

CLTEST_MAIN(tests)
