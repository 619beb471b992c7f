/* SPDX-License-Identifier: Apache-2.0
 *
 * The back end on a native OpenCL library: what the virtual device reports about itself, made from
 * the device that defines it. The numbers are the CPU's, made independent of the moment (PoCL's
 * memory sizes follow free memory) and capped so that most commands fit accelerators too. Names and
 * strings of the library do not pass through: some applications refuse any device that says "pocl".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/opencl_internal.h"

#define GIB ((uint64_t)1 << 30)
#define GROUP_MAX 1024
#define LOCAL_MEM_MAX (32u << 10)

/* Reads go through here: an absent property leaves zero, failed tells about required ones. */
struct query {
	const cl_icd_dispatch *cl;
	cl_device_id id;
	bool *lost; /* something could not be read for lack of memory */
};

static uint64_t ask(const struct query *q, cl_device_info what)
{
	return opencl_ask(q->cl, q->id, what);
}

static uint32_t ask32(const struct query *q, cl_device_info what)
{
	return (uint32_t)ask(q, what);
}

static void ask_string(const struct query *q, cl_device_info what, char *text, size_t size)
{
	size_t length = 0;
	text[0] = 0;
	if (q->cl->clGetDeviceInfo(q->id, what, 0, NULL, &length) || length == 0)
		return;
	char *all = malloc(length);
	if (!all) {
		*q->lost = true;
		return;
	}
	if (!q->cl->clGetDeviceInfo(q->id, what, length, all, NULL)) {
		all[length - 1] = 0;
		snprintf(text, size, "%s", all);
	}
	free(all);
}

static void cpu_name(char *name, size_t size)
{
	char line[256];
	snprintf(name, size, "CPU");
	FILE *file = fopen("/proc/cpuinfo", "re");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		char *colon = strchr(line, ':');
		if (strncmp(line, "model name", 10) || !colon)
			continue;
		colon[1 + strcspn(colon + 1, "\n")] = 0;
		snprintf(name, size, "%s", colon + 1 + strspn(colon + 1, " \t"));
		break;
	}
	fclose(file);
}

/* Version of the library (it names LLVM) and the processor that it generates code for. */
static void compiler_name(const struct query *q, cl_platform_id platform, char *name, size_t size)
{
	char library[256] = "", target[256];
	if (q->cl->clGetPlatformInfo(platform, CL_PLATFORM_VERSION, sizeof(library), library, NULL))
		snprintf(library, sizeof(library), "unknown");
	library[sizeof(library) - 1] = 0;
	ask_string(q, CL_DEVICE_VERSION, target, sizeof(target));
	const char *llvm = strstr(library, "LLVM"), *cpu = strrchr(target, '-');
	const char *pocl = strstr(library, "PoCL");
	pocl = pocl ? pocl : library;
	llvm = llvm ? llvm : "";
	cpu = cpu ? cpu + 1 : target;
	/* "PoCL 3.1+debian  Linux, ..., LLVM 15.0.6, ...": up to the first comma or wide gap. */
	const char *gap = strstr(pocl, "  ");
	size_t length = strcspn(pocl, ",");
	if (gap && (size_t)(gap - pocl) < length)
		length = (size_t)(gap - pocl);
	snprintf(name, size, "%.*s %.*s %.40s", (int)length, pocl, (int)strcspn(llvm, ","), llvm,
		 cpu);
}

static void describe_sizes(const struct query *q, struct arax_device_info *info)
{
	uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t whole = ram >= GIB ? ram / GIB * GIB : ram;
	uint64_t native_alloc = ask(q, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
	info->global_mem_size = whole - whole / 8;
	info->max_alloc_size = info->global_mem_size / 4;
	if (native_alloc && native_alloc < info->max_alloc_size)
		info->max_alloc_size = native_alloc;
	info->local_mem_size = ask(q, CL_DEVICE_LOCAL_MEM_SIZE);
	if (info->local_mem_size > LOCAL_MEM_MAX)
		info->local_mem_size = LOCAL_MEM_MAX;
	info->max_group_size = ask(q, CL_DEVICE_MAX_WORK_GROUP_SIZE);
	if (info->max_group_size > GROUP_MAX)
		info->max_group_size = GROUP_MAX;
	size_t sizes[8] = {0};
	q->cl->clGetDeviceInfo(q->id, CL_DEVICE_MAX_WORK_ITEM_SIZES, sizeof(sizes), sizes, NULL);
	for (int i = 0; i < 3; i++)
		info->max_work_item_sizes[i] =
		    sizes[i] && sizes[i] < GROUP_MAX ? sizes[i] : GROUP_MAX;
	info->preferred_multiple = ask(q, CL_DEVICE_PREFERRED_WORK_GROUP_SIZE_MULTIPLE);
	if (!info->preferred_multiple)
		info->preferred_multiple = 8;
	info->max_constant_buffer = ask(q, CL_DEVICE_MAX_CONSTANT_BUFFER_SIZE);
	info->max_parameter_size = ask(q, CL_DEVICE_MAX_PARAMETER_SIZE);
	info->max_global_variable = ask(q, CL_DEVICE_MAX_GLOBAL_VARIABLE_SIZE);
	info->preferred_global_variable = ask(q, CL_DEVICE_GLOBAL_VARIABLE_PREFERRED_TOTAL_SIZE);
	info->printf_buffer = ask(q, CL_DEVICE_PRINTF_BUFFER_SIZE);
}

static void describe_core(const struct query *q, struct arax_device_info *info)
{
	info->type = ask32(q, CL_DEVICE_TYPE);
	info->compute_units = ask32(q, CL_DEVICE_MAX_COMPUTE_UNITS);
	info->max_dims = 3;
	info->vendor_id = ask32(q, CL_DEVICE_VENDOR_ID);
	info->address_bits = ask32(q, CL_DEVICE_ADDRESS_BITS);
	info->little_endian = ask32(q, CL_DEVICE_ENDIAN_LITTLE);
	info->clock_mhz = ask32(q, CL_DEVICE_MAX_CLOCK_FREQUENCY);
	info->mem_base_align_bits = ask32(q, CL_DEVICE_MEM_BASE_ADDR_ALIGN);
	info->min_align_bytes = ask32(q, CL_DEVICE_MIN_DATA_TYPE_ALIGN_SIZE);
	info->global_cache_size = ask(q, CL_DEVICE_GLOBAL_MEM_CACHE_SIZE);
	info->global_cache_type = ask32(q, CL_DEVICE_GLOBAL_MEM_CACHE_TYPE);
	info->global_cacheline = ask32(q, CL_DEVICE_GLOBAL_MEM_CACHELINE_SIZE);
	info->local_mem_type = ask32(q, CL_DEVICE_LOCAL_MEM_TYPE);
	info->max_constant_args = ask32(q, CL_DEVICE_MAX_CONSTANT_ARGS);
	info->single_fp = ask(q, CL_DEVICE_SINGLE_FP_CONFIG);
	info->double_fp = ask(q, CL_DEVICE_DOUBLE_FP_CONFIG);
	info->half_fp = ask(q, CL_DEVICE_HALF_FP_CONFIG);
	/* Coarse and fine buffers; OpenCL C 2.0 atomics on them do not compile, so no ATOMICS. */
	info->svm = ask(q, CL_DEVICE_SVM_CAPABILITIES) &
		    (CL_DEVICE_SVM_COARSE_GRAIN_BUFFER | CL_DEVICE_SVM_FINE_GRAIN_BUFFER);
	info->queue_properties = CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE | CL_QUEUE_PROFILING_ENABLE;
	info->exec_capabilities = ask(q, CL_DEVICE_EXECUTION_CAPABILITIES);
	info->error_correction = ask32(q, CL_DEVICE_ERROR_CORRECTION_SUPPORT);
	info->nonuniform_groups = 0; /* the tenant's choice of a group needs divisors */
	info->group_collective = ask32(q, CL_DEVICE_WORK_GROUP_COLLECTIVE_FUNCTIONS_SUPPORT);
}

static void describe_vectors(const struct query *q, struct arax_device_info *info)
{
	info->vector_char = ask32(q, CL_DEVICE_PREFERRED_VECTOR_WIDTH_CHAR);
	info->vector_short = ask32(q, CL_DEVICE_PREFERRED_VECTOR_WIDTH_SHORT);
	info->vector_int = ask32(q, CL_DEVICE_PREFERRED_VECTOR_WIDTH_INT);
	info->vector_long = ask32(q, CL_DEVICE_PREFERRED_VECTOR_WIDTH_LONG);
	info->vector_float = ask32(q, CL_DEVICE_PREFERRED_VECTOR_WIDTH_FLOAT);
	info->vector_double = ask32(q, CL_DEVICE_PREFERRED_VECTOR_WIDTH_DOUBLE);
	info->vector_half = ask32(q, CL_DEVICE_PREFERRED_VECTOR_WIDTH_HALF);
	info->native_char = ask32(q, CL_DEVICE_NATIVE_VECTOR_WIDTH_CHAR);
	info->native_short = ask32(q, CL_DEVICE_NATIVE_VECTOR_WIDTH_SHORT);
	info->native_int = ask32(q, CL_DEVICE_NATIVE_VECTOR_WIDTH_INT);
	info->native_long = ask32(q, CL_DEVICE_NATIVE_VECTOR_WIDTH_LONG);
	info->native_float = ask32(q, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT);
	info->native_double = ask32(q, CL_DEVICE_NATIVE_VECTOR_WIDTH_DOUBLE);
	info->native_half = ask32(q, CL_DEVICE_NATIVE_VECTOR_WIDTH_HALF);
}

static void describe_images(const struct query *q, struct arax_device_info *info)
{
	info->images = ask32(q, CL_DEVICE_IMAGE_SUPPORT);
	info->max_samplers = ask32(q, CL_DEVICE_MAX_SAMPLERS);
	info->max_read_images = ask32(q, CL_DEVICE_MAX_READ_IMAGE_ARGS);
	info->max_write_images = ask32(q, CL_DEVICE_MAX_WRITE_IMAGE_ARGS);
	info->max_read_write_images = ask32(q, CL_DEVICE_MAX_READ_WRITE_IMAGE_ARGS);
	info->image2d_width = ask(q, CL_DEVICE_IMAGE2D_MAX_WIDTH);
	info->image2d_height = ask(q, CL_DEVICE_IMAGE2D_MAX_HEIGHT);
	info->image3d_width = ask(q, CL_DEVICE_IMAGE3D_MAX_WIDTH);
	info->image3d_height = ask(q, CL_DEVICE_IMAGE3D_MAX_HEIGHT);
	info->image3d_depth = ask(q, CL_DEVICE_IMAGE3D_MAX_DEPTH);
	info->image_buffer_size = ask(q, CL_DEVICE_IMAGE_MAX_BUFFER_SIZE);
	info->image_array_size = ask(q, CL_DEVICE_IMAGE_MAX_ARRAY_SIZE);
	info->image_pitch_align = ask32(q, CL_DEVICE_IMAGE_PITCH_ALIGNMENT);
	info->image_base_align = ask32(q, CL_DEVICE_IMAGE_BASE_ADDRESS_ALIGNMENT);
}

static void append_word(char *text, size_t size, const char *word)
{
	size_t used = strlen(text);
	if (used + strlen(word) + 2 <= size)
		snprintf(text + used, size - used, "%s%s", used ? " " : "", word);
}

static bool has_word(const char *text, const char *word)
{
	size_t length = strlen(word);
	for (const char *at = strstr(text, word); at; at = strstr(at + 1, word)) {
		if ((at == text || at[-1] == ' ') && (!at[length] || at[length] == ' '))
			return true;
	}
	return false;
}

static void describe_extensions(const struct query *q, struct arax_device_info *info)
{
	static const char *const working[] = {
	    "cl_khr_byte_addressable_store",
	    "cl_khr_global_int32_base_atomics",
	    "cl_khr_global_int32_extended_atomics",
	    "cl_khr_local_int32_base_atomics",
	    "cl_khr_local_int32_extended_atomics",
	    "cl_khr_int64_base_atomics",
	    "cl_khr_int64_extended_atomics",
	    "cl_khr_fp64",
	    "cl_khr_3d_image_writes",
	};
	char native[4096];
	ask_string(q, CL_DEVICE_EXTENSIONS, native, sizeof(native));
	for (size_t i = 0; i < sizeof(working) / sizeof(working[0]); i++) {
		if (has_word(native, working[i]))
			append_word(info->extensions, sizeof(info->extensions), working[i]);
	}
}

/* What the compiler offers, without what cannot work through Arax. */
static void describe_features(const struct query *q, struct arax_device_info *info)
{
	static const char *const refused[] = {"__opencl_c_pipes", "__opencl_c_device_enqueue",
					      "__opencl_c_program_scope_global_variables"};
	cl_name_version features[64];
	size_t size = 0;
	if (q->cl->clGetDeviceInfo(q->id, CL_DEVICE_OPENCL_C_FEATURES, sizeof(features), features,
				   &size))
		return;
	for (size_t i = 0; i < size / sizeof(features[0]); i++) {
		bool works = true;
		features[i].name[sizeof(features[i].name) - 1] = 0;
		for (size_t j = 0; j < sizeof(refused) / sizeof(refused[0]); j++)
			works = works && strcmp(features[i].name, refused[j]) != 0;
		if (works)
			append_word(info->c_features, sizeof(info->c_features), features[i].name);
	}
}

/*
 * A capability that an OpenCL C feature stands for is one only where the compiler has the feature:
 * PoCL counts the scope of all devices, which its compiler does not know.
 */
static void describe_atomics(const struct query *q, struct arax_device_info *info)
{
	static const struct {
		uint64_t capability;
		const char *feature;
	} features[] = {
	    {CL_DEVICE_ATOMIC_ORDER_ACQ_REL, "__opencl_c_atomic_order_acq_rel"},
	    {CL_DEVICE_ATOMIC_ORDER_SEQ_CST, "__opencl_c_atomic_order_seq_cst"},
	    {CL_DEVICE_ATOMIC_SCOPE_DEVICE, "__opencl_c_atomic_scope_device"},
	    {CL_DEVICE_ATOMIC_SCOPE_ALL_DEVICES, "__opencl_c_atomic_scope_all_devices"},
	};
	info->atomic_memory = ask(q, CL_DEVICE_ATOMIC_MEMORY_CAPABILITIES);
	info->atomic_fence = ask(q, CL_DEVICE_ATOMIC_FENCE_CAPABILITIES);
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		/* Fences need order acquire-release in any case, with the feature or without. */
		if (has_word(info->c_features, features[i].feature))
			continue;
		info->atomic_memory &= ~features[i].capability;
		if (features[i].capability != CL_DEVICE_ATOMIC_ORDER_ACQ_REL)
			info->atomic_fence &= ~features[i].capability;
	}
}

static void add_format(struct arax_device_info *info, const cl_image_format *format, uint32_t type,
		       uint32_t flag)
{
	uint32_t i = 0;
	while (i < info->nformats && (info->formats[i].order != format->image_channel_order ||
				      info->formats[i].type != format->image_channel_data_type))
		i++;
	if (i == ARAX_FORMATS_MAX)
		return;
	if (i == info->nformats)
		info->formats[info->nformats++] = (struct arax_image_format){
		    .order = format->image_channel_order, .type = format->image_channel_data_type};
	info->formats[i].types |= 1u << (type - CL_MEM_OBJECT_BUFFER);
	info->formats[i].flags |= flag;
}

static void describe_formats(const struct opencl_device *device, struct arax_device_info *info)
{
	static const struct {
		cl_mem_flags flags;
		uint32_t flag;
	} uses[] = {
	    {CL_MEM_READ_ONLY, 1}, {CL_MEM_WRITE_ONLY, 2}, {CL_MEM_KERNEL_READ_AND_WRITE, 4}};
	cl_image_format formats[ARAX_FORMATS_MAX];
	for (uint32_t type = CL_MEM_OBJECT_IMAGE2D; type <= CL_MEM_OBJECT_IMAGE1D_BUFFER; type++) {
		for (size_t u = 0; u < sizeof(uses) / sizeof(uses[0]); u++) {
			cl_uint n = 0;
			if (device->opencl->cl->clGetSupportedImageFormats(
				device->opencl->context, uses[u].flags, type, ARAX_FORMATS_MAX,
				formats, &n))
				continue; /* a type that the device does not have */
			for (cl_uint i = 0; i < n && i < ARAX_FORMATS_MAX; i++)
				add_format(info, &formats[i], type, uses[u].flag);
		}
	}
}

int opencl_describe(struct arax_device *dev, struct arax_device_info *info)
{
	const struct opencl_device *device = opencl_device(dev);
	bool lost = false;
	struct query q = {device->opencl->cl, device->id, &lost};
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	cpu_name(info->name, sizeof(info->name));
	compiler_name(&q, device->opencl->platform, info->compiler, sizeof(info->compiler));
	describe_core(&q, info);
	if (!info->compute_units || !info->address_bits)
		return CL_DEVICE_NOT_AVAILABLE;
	describe_sizes(&q, info);
	describe_vectors(&q, info);
	describe_images(&q, info);
	describe_extensions(&q, info);
	describe_features(&q, info);
	describe_atomics(&q, info);
	if (info->images)
		describe_formats(device, info);
	/* What is frozen for as long as araxd lives must not be half. */
	return lost ? CL_OUT_OF_HOST_MEMORY : 0;
}
