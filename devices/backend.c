/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of back ends of arax-device, see backend.h.
 */
#include "devices/backend.h"

#include <errno.h>
#include <stdlib.h>

#if __has_include("devices/sim.h")
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
#endif

#if __has_include("devices/opencl_discrete.h")
#include "devices/opencl_discrete.h"

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
#endif

const struct backend backends[] = {
#if __has_include("devices/sim.h")
    {"sim", open_sim},
#endif
#if __has_include("devices/opencl_discrete.h")
    {"opencl", open_opencl},
#endif
    {NULL, NULL},
};
