/* SPDX-License-Identifier: Apache-2.0
 *
 * Native OpenCL libraries that are no good, for devices.py: whoever asks for their platforms is
 * ended (BAD_CRASH) or waits for ever.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int platforms(unsigned room, void *platforms_, unsigned *count)
{
	(void)room;
	(void)platforms_;
	(void)count;
#ifdef BAD_CRASH
	abort();
#endif
	for (;;)
		sleep(1000);
	return -1; /* of a function that returns something */
}

__attribute__((visibility("default"))) void *clGetExtensionFunctionAddress(const char *name)
{
	return strcmp(name, "clIcdGetPlatformIDsKHR") == 0 ? (void *)platforms : NULL;
}
