/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of back ends of arax-device, see backend.h.
 */
#include "devices/backend.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/opencl_discrete.h"
#include "devices/sim.h"

static int open_sim(const struct backend_options *options, struct arax_device *dev,
		    const char **error)
{
	/* What PoCL reads, with which kernels are executed. */
	if (setenv("POCL_DEVICES", "basic", 1) ||
	    setenv("POCL_WORK_GROUP_SPECIALIZATION", "0", 1) ||
	    setenv("POCL_CACHE_DIR", getenv("TMPDIR"), 1)) {
		*error = "no memory";
		return -ENOMEM;
	}
	return arax_sim_open(options->name, options->options, dev, error);
}

static int open_opencl(const struct backend_options *options, struct arax_device *dev,
		       const char **error)
{
	if (!options->library) {
		*error = "no library was named";
		return -EINVAL;
	}
	return arax_opencl_discrete_open(options->library, options->number, options->name, dev,
					 error);
}

/* For builds with sanitizers: the vendors' libraries are not instrumented, and what they do between
 * themselves looks like races; Oclgrind deletes its images as what they are derived from. */
#ifdef __SANITIZE_THREAD__
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "ignore_noninstrumented_modules=1";
}
#endif
#ifdef __SANITIZE_ADDRESS__
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "new_delete_type_mismatch=0";
}
#endif

const struct backend backends[] = {
    {"sim", open_sim},
    {"opencl", open_opencl},
    {NULL, NULL},
};
