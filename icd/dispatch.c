/* SPDX-License-Identifier: Apache-2.0
 *
 * What ICD loaders see of the library: the dispatch table, made from api.def, and the few exported
 * functions by which a loader finds it. Nothing else is exported (arax-opencl.map).
 *
 * Loaders that know cl_khr_icd 2.0.0 recognise the tag in clGetPlatformIDs' slot, ask for every
 * function by name and hand over data of their own, which each object carries in its second word.
 */
#include "icd/icd.h"

#define ARAX_ICD2_TAG ((intptr_t)0x4F50454E434C3331)
#define EXPORT __attribute__((visibility("default")))

static cl_icd_dispatch dispatch_table = {
#define API(name) .name = arax_##name,
#include "icd/api.def"
#undef API
};

struct _cl_platform_id the_platform = {
    .object = {.dispatch = &dispatch_table, .kind = OBJECT_PLATFORM, .refs = 1, .uses = 1},
};
struct _cl_device_id the_device = {
    .object = {.dispatch = &dispatch_table, .kind = OBJECT_DEVICE, .refs = 1, .uses = 1},
};

/* The tags go where no call is dispatched to, since these two functions take no object. */
__attribute__((constructor)) static void dispatch_tag(void)
{
	dispatch_table.clGetPlatformIDs = (cl_api_clGetPlatformIDs)ARAX_ICD2_TAG;
	dispatch_table.clUnloadCompiler = (cl_api_clUnloadCompiler)ARAX_ICD2_TAG;
}

struct named_function {
	const char *name;
	void (*function)(void);
};

EXPORT cl_int CL_API_CALL clIcdGetPlatformIDsKHR(cl_uint num_entries, cl_platform_id *platforms,
						 cl_uint *num_platforms);
EXPORT void *CL_API_CALL clIcdGetFunctionAddressForPlatformKHR(cl_platform_id platform,
							       const char *func_name);
EXPORT cl_int CL_API_CALL clIcdSetPlatformDispatchDataKHR(cl_platform_id platform,
							  void *dispatch_data);
EXPORT void *CL_API_CALL clGetExtensionFunctionAddress(const char *func_name);

static const struct named_function core_functions[] = {
#define API(name) {#name, (void (*)(void))arax_##name},
#include "icd/api.def"
#undef API
};

/* Functions of extensions, which applications find by name. */
static const struct named_function extension_functions[] = {
    {"clIcdGetPlatformIDsKHR", (void (*)(void))clIcdGetPlatformIDsKHR},
    {"clIcdGetFunctionAddressForPlatformKHR",
     (void (*)(void))clIcdGetFunctionAddressForPlatformKHR},
    {"clIcdSetPlatformDispatchDataKHR", (void (*)(void))clIcdSetPlatformDispatchDataKHR},
    /* asked for before the loader has an object to dispatch by (cl_khr_icd) */
    {"clGetPlatformInfo", (void (*)(void))arax_clGetPlatformInfo},
    {"clCreateCommandQueueWithPropertiesKHR",
     (void (*)(void))arax_clCreateCommandQueueWithProperties},
};

static void *find_function(const struct named_function *table, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (!strcmp(table[i].name, name))
			return (void *)table[i].function;
	}
	return NULL;
}
#define FIND(table, name) find_function(table, sizeof(table) / sizeof(table[0]), name)

void *arax_clGetExtensionFunctionAddress(const char *func_name)
{
	return func_name ? FIND(extension_functions, func_name) : NULL;
}

void *arax_clGetExtensionFunctionAddressForPlatform(cl_platform_id platform, const char *func_name)
{
	if (!object_is(platform, OBJECT_PLATFORM))
		return NULL;
	return arax_clGetExtensionFunctionAddress(func_name);
}

void *CL_API_CALL clGetExtensionFunctionAddress(const char *func_name)
{
	return arax_clGetExtensionFunctionAddress(func_name);
}

void *CL_API_CALL clIcdGetFunctionAddressForPlatformKHR(cl_platform_id platform,
							const char *func_name)
{
	if (!object_is(platform, OBJECT_PLATFORM) || !func_name)
		return NULL;
	return FIND(core_functions, func_name);
}

cl_int CL_API_CALL clIcdSetPlatformDispatchDataKHR(cl_platform_id platform, void *dispatch_data)
{
	if (!object_is(platform, OBJECT_PLATFORM))
		return CL_INVALID_PLATFORM;
	the_platform.object.loader_data = dispatch_data;
	the_device.object.loader_data = dispatch_data;
	return CL_SUCCESS;
}

cl_int CL_API_CALL clIcdGetPlatformIDsKHR(cl_uint num_entries, cl_platform_id *platforms,
					  cl_uint *num_platforms)
{
	return arax_clGetPlatformIDs(num_entries, platforms, num_platforms);
}
