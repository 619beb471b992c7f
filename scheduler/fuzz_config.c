/* SPDX-License-Identifier: Apache-2.0
 *
 * arax.conf: whatever is in it, the outcome is a configuration within its bounds or a message with
 * a line; and the comma lists of devices, of which one comes from applications.
 *
 * Input: the file.
 */
#include "scheduler/config.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "transport/fuzz.h"

static unsigned long accepted;

static void verify(const struct config *config)
{
	char devices[CONFIG_LIST];

	CHECK(config->pool <= 64 && config->max_tenants >= 1 && config->max_tenants <= 100000);
	CHECK(config->max_clients_per_user >= 1 && config->max_clients_per_user <= 100000);
	CHECK(config->max_work_group_size >= 1 && config->max_work_group_size <= 65536);
	CHECK(config->local_memory >= 1 << 10 && config->local_memory <= 1 << 30);
	CHECK(config->cache_size >= 1 << 20 && config->compile_time_limit >= 1);
	CHECK(memchr(config->name, 0, sizeof(config->name)));
	CHECK(config_policy_known(config->policy));
	CHECK(!config_narrow(config->devices, "", devices));
	CHECK(config->ndevices <= CONFIG_DEVICES_MAX && config->nweights <= CONFIG_WEIGHTS_MAX);
	CHECK(config->nusers <= CONFIG_USERS_MAX);
	for (unsigned i = 0; i < config->nweights; i++)
		CHECK(config->weights[i].weight >= 1 && config->weights[i].weight <= 10000);
	for (unsigned i = 0; i < config->ndevices; i++) {
		const struct config_device *device = &config->device[i];

		CHECK(memchr(device->name, 0, sizeof(device->name)) && device->name[0]);
		CHECK(memchr(device->library, 0, sizeof(device->library)));
		CHECK(memchr(device->options, 0, sizeof(device->options)));
		CHECK(device->instances >= 1 && device->instances <= CONFIG_DEVICES_MAX);
	}
}

/* Of a whole file: there is room for all names, and nothing is shared that must not be. */
static void verify_devices(const struct config *config)
{
	char list[CONFIG_LIST], again[CONFIG_LIST], name[32];

	config_all_devices(config, list);
	for (unsigned i = 0; i < config->ndevices; i++) {
		const struct config_device *device = &config->device[i];

		CHECK(device->backend != CONFIG_BACKEND_NONE);
		CHECK(device->backend == CONFIG_BACKEND_SIM ||
		      (device->library[0] && !device->shared));
		config_device_name(device, device->instances - 1, name);
		CHECK(!device->enabled || !config_narrow(name, list, again));
	}
}

static void narrow(const uint8_t *data, size_t size)
{
	char text[256], result[128], again[128];

	size = size < sizeof(text) - 1 ? size : sizeof(text) - 1;
	memcpy(text, data, size);
	text[size] = '\0';
	if (!config_narrow("cpu-basic,cpu-pthread", text, result))
		CHECK(!config_narrow(result, text, again) && !strcmp(result, again));
	if (!config_narrow(text, "", result))
		CHECK(strlen(result) < sizeof(result));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	static char path[64], error[CONFIG_ERROR];
	struct config config;
	int rc;

	if (fd < 0) {
		fd = memfd_create("arax.conf", MFD_CLOEXEC);
		CHECK(fd >= 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	narrow(data, size);
	CHECK(!ftruncate(fd, 0) && pwrite(fd, data, size, 0) == (ssize_t)size);
	config_defaults(&config);
	rc = config_read(&config, path, error);
	CHECK(rc == 0 || rc == -EINVAL);
	CHECK(strlen(error) < sizeof(error) && !error[0] == !rc);
	/* What stood before the bad line holds, and is as good. */
	verify(&config);
	if (!rc)
		verify_devices(&config);
	accepted += !rc;
	return 0;
}

void fuzz_reached(void)
{
	CHECK(accepted);
}
