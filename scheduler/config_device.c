/* SPDX-License-Identifier: Apache-2.0
 *
 * The sections [device NAME] of arax.conf: devices that have a process of their own. Some libraries
 * are known by name, so that an empty section is enough for them.
 */
#include "scheduler/config_internal.h"

#include "devices/sim.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX 63 /* of a library's device */

static const struct {
	const char *name, *library;
} presets[] = {
    {"rusticl", "libRusticlOpenCL.so.1"},
    {"oclgrind", "/usr/lib/oclgrind/liboclgrind-rt-icd.so"},
};

void config_device_name(const struct config_device *device, unsigned instance, char name[32])
{
	if (device->instances > 1)
		snprintf(name, 32, "%s%u", device->name, instance);
	else
		snprintf(name, 32, "%s", device->name);
}

void config_all_devices(const struct config *config, char list[CONFIG_LIST])
{
	size_t used = (size_t)snprintf(list, CONFIG_LIST, "%s", config->devices);

	for (unsigned i = 0; i < config->ndevices; i++) {
		const struct config_device *device = &config->device[i];

		for (unsigned n = 0; device->enabled && n < device->instances; n++) {
			char name[32];

			config_device_name(device, n, name);
			if (used + strlen(name) + 2 <= CONFIG_LIST)
				used +=
				    (size_t)snprintf(list + used, CONFIG_LIST - used, ",%s", name);
		}
	}
}

static struct config_device *device_find(struct config *config, const char *name)
{
	for (unsigned i = 0; i < config->ndevices; i++)
		if (strcmp(config->device[i].name, name) == 0)
			return &config->device[i];
	return NULL;
}

static bool name_good(const char *name)
{
	if (!isalpha((unsigned char)name[0]) || strlen(name) >= 24 || strncmp(name, "cpu", 3) == 0)
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && *name != '-' && *name != '_')
			return false;
	return true;
}

void config_device_section(struct config_parse *parse, const char *name)
{
	struct config *config = parse->config;

	if (!name_good(name)) {
		config_wrong(parse,
			     "[device %.50s]: a name is at most 23 letters, digits, - and _, "
			     "and does not begin with cpu",
			     name);
	} else if (device_find(config, name)) {
		return;
	} else if (config->ndevices == CONFIG_DEVICES_MAX) {
		config_wrong(parse, "more than %d devices", CONFIG_DEVICES_MAX);
	} else {
		struct config_device *device = &config->device[config->ndevices++];

		*device =
		    (struct config_device){.instances = 1, .enabled = true, .line = parse->line};
		snprintf(device->name, sizeof(device->name), "%s", name);
	}
}

void config_device_options(const struct config_device *device, char *options, size_t size)
{
	size_t used = 0;

	options[0] = '\0';
	if (device->memory && device->backend == CONFIG_BACKEND_SIM)
		used = (size_t)snprintf(options, size, "memory=%llu",
					(unsigned long long)device->memory);
	if (device->options[0])
		snprintf(options + used, size - used, "%s%s", used ? "," : "", device->options);
}

static bool set_backend(struct config_device *device, const char *value)
{
	if (strcmp(value, "sim") == 0)
		device->backend = CONFIG_BACKEND_SIM;
	else if (strcmp(value, "opencl") == 0)
		device->backend = CONFIG_BACKEND_OPENCL;
	else
		return false;
	return true;
}

static bool set_library(struct config_device *device, const char *value)
{
	if (!*value || strlen(value) >= sizeof(device->library))
		return false;
	strcpy(device->library, value);
	return true;
}

static bool set_unsigned(const char *value, unsigned min, unsigned max, unsigned *to)
{
	uint64_t number;

	if (!config_number(value, false, &number) || number < min || number > max)
		return false;
	*to = (unsigned)number;
	return true;
}

static bool set_number(struct config_device *device, const char *value)
{
	return set_unsigned(value, 0, NUMBER_MAX, &device->number);
}

static bool set_instances(struct config_device *device, const char *value)
{
	return set_unsigned(value, 1, CONFIG_DEVICES_MAX, &device->instances);
}

static bool set_memory(struct config_device *device, const char *value)
{
	return config_number(value, true, &device->memory) && device->memory >= 1 << 20 &&
	       device->memory <= 1ull << 44;
}

/* The back end looks at them: only their form is known here. */
static bool set_options(struct config_device *device, const char *value)
{
	for (const char *at = value; *at; at++)
		if (!isgraph((unsigned char)*at))
			return false;
	return strchr(value, '=') && config_append(device->options, sizeof(device->options), value);
}

static bool set_flag(const char *value, bool *flag)
{
	*flag = strcmp(value, "yes") == 0;
	return *flag || strcmp(value, "no") == 0;
}

static bool set_enabled(struct config_device *device, const char *value)
{
	return set_flag(value, &device->enabled);
}

static bool set_shared(struct config_device *device, const char *value)
{
	return set_flag(value, &device->shared) && (device->has_shared = true);
}

static const struct {
	const char *name, *what;
	bool (*set)(struct config_device *device, const char *value);
} keys[] = {
    {"backend", "sim or opencl", set_backend},
    {"library", "a library's name or path", set_library},
    {"device", "0 to 63", set_number},
    {"instances", "1 to 14", set_instances},
    {"memory", "a size of 1M to 16384G", set_memory},
    {"options", "a comma list of key=value without spaces, at most 255 bytes", set_options},
    {"shared", "yes or no", set_shared},
    {"enabled", "yes or no", set_enabled},
};

bool config_device_key(struct config_parse *parse, const char *name, const char *key,
		       const char *value)
{
	struct config_device *device = device_find(parse->config, name);

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (strcmp(keys[i].name, key) != 0)
			continue;
		if (device && !keys[i].set(device, value))
			config_wrong(parse, "%s = %.100s: must be %s", key, value, keys[i].what);
		return true;
	}
	return false;
}

static void fill_preset(struct config_device *device)
{
	for (size_t i = 0; i < sizeof(presets) / sizeof(presets[0]); i++) {
		if (device->backend || strcmp(device->name, presets[i].name) != 0)
			continue;
		device->backend = CONFIG_BACKEND_OPENCL;
		if (!device->library[0])
			snprintf(device->library, sizeof(device->library), "%s",
				 presets[i].library);
	}
}

static const char *check_sim(struct config_device *device)
{
	char options[sizeof(device->options) + 40];
	const char *wrong;

	if (device->library[0] || device->number)
		return "library and device are keys of the back end opencl only";
	device->shared = !device->has_shared || device->shared;
	config_device_options(device, options, sizeof(options));
	return arax_sim_check(options, &wrong) ? wrong : NULL;
}

/* Return: what is wrong, or NULL. */
static const char *check_one(struct config_device *device)
{
	fill_preset(device);
	if (!device->backend)
		return "backend = sim or opencl is missing (only rusticl and oclgrind are known by "
		       "name)";
	if (device->memory && strncmp(device->options, "memory=", 7) == 0)
		return "memory is said twice, in options too";
	if (strstr(device->options, ",memory=") && device->memory)
		return "memory is said twice, in options too";
	if (device->backend == CONFIG_BACKEND_SIM)
		return check_sim(device);
	if (!device->library[0])
		return "the back end opencl needs a library";
	/* Its kernels are host code: one that breaks out would be in others' memory. */
	if (device->shared)
		return "shared = yes: what executes kernels as host code is each application's own";
	return NULL;
}

static bool name_taken(const struct config *config, unsigned before, const char *name)
{
	char other[32];

	for (unsigned i = 0; i < before; i++) {
		for (unsigned n = 0; n < config->device[i].instances; n++) {
			config_device_name(&config->device[i], n, other);
			if (strcmp(name, other) == 0)
				return true;
		}
	}
	return false;
}

void config_device_check(struct config_parse *parse)
{
	struct config *config = parse->config;
	size_t length = strlen(config->devices) + 1;
	unsigned count = 0;
	char name[32];

	for (unsigned i = 0; i < config->ndevices; i++) {
		struct config_device *device = &config->device[i];
		const char *wrong = check_one(device);

		parse->line = device->line;
		if (wrong)
			config_wrong(parse, "[device %s]: %s", device->name, wrong);
		count += device->instances;
		for (unsigned n = 0; n < device->instances; n++) {
			config_device_name(device, n, name);
			length += strlen(name) + 1;
			if (name_taken(config, i, name))
				config_wrong(parse, "[device %s]: there are two devices %s",
					     device->name, name);
		}
		if (count > CONFIG_DEVICES_MAX)
			config_wrong(parse, "[device %s]: more than %d devices in all",
				     device->name, CONFIG_DEVICES_MAX);
		if (length > CONFIG_LIST)
			config_wrong(parse,
				     "[device %s]: the names of all devices together are too "
				     "long",
				     device->name);
	}
}
