/* SPDX-License-Identifier: Apache-2.0
 *
 * The back ends that an arax-device can have, by name. One process has one device.
 */
#ifndef ARAX_DEVICES_BACKEND_H
#define ARAX_DEVICES_BACKEND_H

#include "devices/device.h"

/* From the command line; what a back end does not know it refuses. */
struct backend_options {
	const char *name;    /* of the device */
	const char *library; /* soname or path, NULL */
	unsigned number;     /* of the library's device */
	const char *options; /* the back end's own, NULL */
};

struct backend {
	const char *name;
	/* In the sandbox, before it is sealed. Return: 0 or -errno; *error says why in one line. */
	int (*open)(const struct backend_options *options, struct arax_device *dev,
		    const char **error);
};

/** backends - ended by one without a name. */
extern const struct backend backends[];

#endif
