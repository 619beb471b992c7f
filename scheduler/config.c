/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads arax.conf: one table row for each key, and a message with file and line for whatever is
 * not in it. araxd does not start with a configuration that it does not understand.
 */
#include "scheduler/config_internal.h"

#include "kernels/sandbox_walls.h"
#include "scheduler/policy_names.h"
#include "transport/shm.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_SYSTEM "/etc/arax/arax.conf"
#define CONFIG_DEVICES "cpu-basic,cpu-pthread"
#define POLICIES "adaptive, round-robin, least-loaded, heterogeneous, fair, elastic, pinned, random"

#define TYPE_DEFAULT 1u
#define TYPE_CPU 2u
#define TYPE_GPU 4u
#define TYPE_ACCELERATOR 8u

void config_defaults(struct config *config)
{
	*config = (struct config){
	    .pool = 2,
	    .max_clients_per_user = 64,
	    .max_tenants = 256,
	    .tenants_per_domain = 64,
	    .builds_per_domain = 256,
	    .kernel_memory = 4ull << 30,
	    .commands_per_tenant = ARAX_SLOTS,
	    .objects_per_tenant = 1000000,
	    .fair_cpu = true,
	    .type = TYPE_GPU,
	    .max_work_group_size = 1024,
	    .local_memory = 32u << 10,
	    .devices = CONFIG_DEVICES,
	    .policy = ARAX_POLICY_DEFAULT,
	    .cache_size = 512u << 20,
	    .compile_time_limit = 300,
	    .compile_memory = 4ull << 30,
	    .sandbox = true,
	};
}

bool config_policy_known(const char *name)
{
	static const char *const names[] = {ARAX_POLICY_NAMES};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

bool config_next(const char **list, const char **name, size_t *length)
{
	while (**list == ',' || isspace((unsigned char)**list))
		(*list)++;
	*name = *list;
	while (**list && **list != ',')
		(*list)++;
	*length = (size_t)(*list - *name);
	while (*length && isspace((unsigned char)(*name)[*length - 1]))
		(*length)--;
	return *length > 0;
}

/* Does the name stand for the device: in full, or for all that begin with it and a dash or number?
 */
static bool config_stands_for(const char *name, size_t n, const char *device, size_t length)
{
	if (n > length || strncmp(name, device, n) != 0)
		return false;
	if (n == length || device[n] == '-')
		return true;
	while (n < length && isdigit((unsigned char)device[n]))
		n++;
	return n == length;
}

static bool config_wanted(const char *wanted, const char *device, size_t length)
{
	const char *name;
	size_t n;
	bool any = false;

	while (config_next(&wanted, &name, &n)) {
		any = true;
		if (config_stands_for(name, n, device, length))
			return true;
	}
	return !any;
}

int config_narrow(const char *allowed, const char *wanted, char *result)
{
	const char *name;
	size_t n, used = 0;

	result[0] = '\0';
	while (config_next(&allowed, &name, &n)) {
		if (!config_wanted(wanted, name, n) || used + n + 2 > CONFIG_LIST)
			continue;
		used += (size_t)snprintf(result + used, CONFIG_LIST - used, "%s%.*s",
					 used ? "," : "", (int)n, name);
	}
	return used ? 0 : -EINVAL;
}

bool config_append(char *list, size_t size, const char *value)
{
	size_t used = strlen(list);

	return (size_t)snprintf(list + used, size - used, "%s%s", used ? "," : "", value) <
	       size - used;
}

bool config_number(const char *text, bool size, uint64_t *value)
{
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	*value = strtoull(text, &end, 10);
	if (errno)
		return false;
	if (size && *end) {
		static const char units[] = "KMG";
		const char *unit = strchr(units, toupper((unsigned char)*end));

		if (!unit)
			return false;
		if (__builtin_mul_overflow(*value, 1ull << (10 * (unit - units + 1)), value))
			return false;
		end++;
		if (strcmp(end, "iB") == 0)
			end += 2;
	}
	return *end == '\0';
}

static bool config_set_type(struct config *config, const char *value)
{
	static const struct {
		const char *name;
		uint32_t type;
	} types[] = {{"gpu", TYPE_GPU},
		     {"accelerator", TYPE_ACCELERATOR},
		     {"cpu", TYPE_CPU},
		     {"default", TYPE_DEFAULT}};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strcmp(value, types[i].name) == 0) {
			config->type = types[i].type;
			return true;
		}
	}
	return false;
}

static bool config_set_devices(struct config *config, const char *value)
{
	const char *list = value, *name;
	char known[128];
	size_t n, used = 0;

	while (config_next(&list, &name, &n)) {
		char one[64];

		if (n >= sizeof(one))
			return false;
		memcpy(one, name, n);
		one[n] = '\0';
		if (config_narrow(CONFIG_DEVICES, one, known) < 0 || strcmp(known, one) != 0 ||
		    used + n + 2 > sizeof(config->devices))
			return false;
		used += (size_t)snprintf(config->devices + used, sizeof(config->devices) - used,
					 "%s%s", used ? "," : "", one);
	}
	return used > 0;
}

static bool config_set_policy(struct config *config, const char *value)
{
	if (!config_policy_known(value))
		return false;
	snprintf(config->policy, sizeof(config->policy), "%s", value);
	return true;
}

static bool config_set_name(struct config *config, const char *value)
{
	if (!*value || strlen(value) >= sizeof(config->name))
		return false;
	strcpy(config->name, value);
	return true;
}

static bool config_set_directory(struct config *config, const char *value)
{
	if (value[0] != '/' || strlen(value) >= sizeof(config->cache_directory))
		return false;
	strcpy(config->cache_directory, value);
	return true;
}

static bool config_set_variants(struct config *config, const char *value)
{
	if (value[0] != '/' || strlen(value) >= sizeof(config->variants_directory))
		return false;
	strcpy(config->variants_directory, value);
	return true;
}

static bool config_set_sandbox(struct config *config, const char *value)
{
	config->sandbox = strcmp(value, "on") == 0;
	return config->sandbox || strcmp(value, "off") == 0;
}

static bool config_set_cpu(struct config *config, const char *value)
{
	config->fair_cpu = strcmp(value, "fair") == 0;
	return config->fair_cpu || strcmp(value, "none") == 0;
}

static bool config_set_cgroup(struct config *config, const char *value)
{
	static const char *const names[] = {[CONFIG_CGROUP_CLIENT] = "client",
					    [CONFIG_CGROUP_OWN] = "own",
					    [CONFIG_CGROUP_NONE] = "none"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(value, names[i]) == 0) {
			config->cgroup = (enum config_cgroup)i;
			return true;
		}
	}
	return false;
}

/* 0 is no limit, and less than libraries need is none either. */
static bool config_set_memory(uint64_t *memory, const char *value)
{
	return config_number(value, true, memory) &&
	       (!*memory || (*memory >= 64 << 20 && *memory <= 1ull << 44));
}

static bool config_set_kernel_memory(struct config *config, const char *value)
{
	return config_set_memory(&config->kernel_memory, value);
}

static bool config_set_compile_memory(struct config *config, const char *value)
{
	return config_set_memory(&config->compile_memory, value);
}

static bool config_set_require(struct config *config, const char *value)
{
	return sandbox_parse(value, &config->sandbox_require);
}

enum config_kind { CONFIG_UNSIGNED, CONFIG_COUNT64, CONFIG_SIZE, CONFIG_CALL };

static const struct config_key {
	const char *section, *name, *what;
	enum config_kind kind;
	size_t offset;
	uint64_t min, max;
	bool (*set)(struct config *config, const char *value);
} config_keys[] = {
#define FIELD(field) offsetof(struct config, field)
    {"daemon", "pool", "0 to 64", CONFIG_UNSIGNED, FIELD(pool), 0, 64, NULL},
    {"daemon", "idle_exit", "seconds", CONFIG_UNSIGNED, FIELD(idle_exit), 0, 86400 * 365, NULL},
    {"daemon", "max_clients_per_user", "1 to 100000", CONFIG_UNSIGNED, FIELD(max_clients_per_user),
     1, 100000, NULL},
    {"daemon", "max_tenants", "1 to 100000", CONFIG_UNSIGNED, FIELD(max_tenants), 1, 100000, NULL},
    {"limits", "tenants", "1 to 100000", CONFIG_UNSIGNED, FIELD(tenants_per_domain), 1, 100000,
     NULL},
    {"limits", "builds", "1 to 100000", CONFIG_UNSIGNED, FIELD(builds_per_domain), 1, 100000, NULL},
    {"limits", "cgroup", "client, own or none", CONFIG_CALL, 0, 0, 0, config_set_cgroup},
    {"limits", "commands", "64 to 8192", CONFIG_UNSIGNED, FIELD(commands_per_tenant), 64,
     ARAX_SLOTS, NULL},
    {"limits", "objects", "16 to 4000000", CONFIG_UNSIGNED, FIELD(objects_per_tenant), 16, 4000000,
     NULL},
    {"limits", "kernel_memory", "0 or a size of at least 64M", CONFIG_CALL, 0, 0, 0,
     config_set_kernel_memory},
    {"limits", "compile_time", "0 to 100000 seconds", CONFIG_UNSIGNED,
     FIELD(compile_time_per_domain), 0, 100000, NULL},
    {"limits", "cpu", "fair or none", CONFIG_CALL, 0, 0, 0, config_set_cpu},
    {"limits", "memory", "a size of at least 64M", CONFIG_SIZE, FIELD(memory_per_domain), 64 << 20,
     1ull << 44, NULL},
    {"limits", "memory_per_tenant", "a size of at least 16M", CONFIG_SIZE, FIELD(memory_per_tenant),
     16 << 20, 1ull << 42, NULL},
    {"device", "type", "gpu, accelerator, cpu or default", CONFIG_CALL, 0, 0, 0, config_set_type},
    {"device", "name", "a text of at most 127 bytes", CONFIG_CALL, 0, 0, 0, config_set_name},
    {"device", "max_work_group_size", "1 to 65536", CONFIG_COUNT64, FIELD(max_work_group_size), 1,
     65536, NULL},
    {"device", "local_memory", "a size of 1K to 1G", CONFIG_SIZE, FIELD(local_memory), 1 << 10,
     1 << 30, NULL},
    {"device", "global_memory", "a size of at least 64M", CONFIG_SIZE, FIELD(global_memory),
     64 << 20, 1ull << 42, NULL},
    {"device", "devices", "a comma list of " CONFIG_DEVICES, CONFIG_CALL, 0, 0, 0,
     config_set_devices},
    {"policy", "name", "one of " POLICIES, CONFIG_CALL, 0, 0, 0, config_set_policy},
    {"scheduling", "policy", "one of " POLICIES, CONFIG_CALL, 0, 0, 0, config_set_policy},
    {"cache", "directory", "an absolute path", CONFIG_CALL, 0, 0, 0, config_set_directory},
    {"cache", "size", "a size of at least 1M", CONFIG_SIZE, FIELD(cache_size), 1 << 20, 1ull << 44,
     NULL},
    {"variants", "directory", "an absolute path", CONFIG_CALL, 0, 0, 0, config_set_variants},
    {"limits", "command_time", "0 to 86400 seconds", CONFIG_UNSIGNED, FIELD(command_time), 0, 86400,
     NULL},
    {"sandbox", "use", "on or off", CONFIG_CALL, 0, 0, 0, config_set_sandbox},
    {"sandbox", "require",
     "all, none or a comma list of seccomp, landlock, mount, pid, net, ipc, identity", CONFIG_CALL,
     0, 0, 0, config_set_require},
    {"compile", "time_limit", "1 to 86400 seconds", CONFIG_UNSIGNED, FIELD(compile_time_limit), 1,
     86400, NULL},
    {"compile", "memory", "0 or a size of at least 64M", CONFIG_CALL, 0, 0, 0,
     config_set_compile_memory},
    {"compile", "parallel", "0 to 64", CONFIG_UNSIGNED, FIELD(compile_parallel), 0, 64, NULL},
#undef FIELD
};

static bool config_set(struct config *config, const struct config_key *key, const char *value)
{
	char *field = (char *)config + key->offset;
	uint64_t number;

	if (key->kind == CONFIG_CALL)
		return key->set(config, value);
	if (!config_number(value, key->kind == CONFIG_SIZE, &number) || number < key->min ||
	    number > key->max)
		return false;
	if (key->kind == CONFIG_UNSIGNED)
		*(unsigned *)field = (unsigned)number;
	else
		*(uint64_t *)field = number;
	return true;
}

void config_wrong(struct config_parse *parse, const char *format, ...)
{
	va_list arguments;

	if (parse->bad)
		return;
	parse->bad = parse->line;
	va_start(arguments, format);
	vsnprintf(parse->what, sizeof(parse->what), format, arguments);
	va_end(arguments);
}

/* The name behind "device " in a section's; NULL for other sections. */
static const char *config_device_of(const char *section)
{
	return strncmp(section, "device ", 7) == 0 ? section + 7 : NULL;
}

static bool config_section_known(const char *section)
{
	for (size_t i = 0; i < sizeof(config_keys) / sizeof(config_keys[0]); i++)
		if (strcmp(config_keys[i].section, section) == 0)
			return true;
	return false;
}

/* A line that begins a section: inih tells of keys only. */
static void config_section(struct config_parse *parse, const char *line)
{
	char section[64];
	const char *end = strchr(line, ']');
	size_t length = end ? (size_t)(end - line - 1) : 0;

	/* What is no section at all is inih's to say. */
	if (!end || length >= sizeof(section))
		return;
	memcpy(section, line + 1, length);
	section[length] = '\0';
	if (config_device_of(section))
		config_device_section(parse, config_device_of(section));
	else if (!config_section_known(section))
		config_wrong(parse, "unknown section [%s]", section);
}

/* Gives inih its lines. */
static char *config_read_line(char *text, int size, void *arg)
{
	struct config_parse *parse = arg;
	char *line = fgets(text, size, parse->file);

	if (!line)
		return NULL;
	parse->line++;
	if (!strchr(line, '\n') && !feof(parse->file))
		config_wrong(parse, "longer than %d bytes", size - 2);
	/* Some editors begin files with a mark that inih skips. */
	const char *begin =
	    strncmp(line, "\xEF\xBB\xBF", 3) == 0 && parse->line == 1 ? line + 3 : line;
	if (*begin == '[')
		config_section(parse, begin);
	return line;
}

/* Return: false when there is no such key. */
static bool config_scheduling_key(struct config_parse *parse, const char *name, const char *value)
{
	static const struct {
		const char *name;
		const char *(*set)(struct config_parse *parse, const char *value);
	} keys[] = {{"rules", config_set_rules},
		    {"seed", config_set_seed},
		    {"weights", config_set_weights}};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (strcmp(keys[i].name, name) != 0)
			continue;
		const char *must = keys[i].set(parse, value);
		if (must)
			config_wrong(parse, "%s = %.100s: must be %s", name, value, must);
		return true;
	}
	return false;
}

static bool config_plain_key(struct config_parse *parse, const char *section, const char *name,
			     const char *value)
{
	for (size_t i = 0; i < sizeof(config_keys) / sizeof(config_keys[0]); i++) {
		const struct config_key *key = &config_keys[i];

		if (strcmp(key->section, section) != 0 || strcmp(key->name, name) != 0)
			continue;
		if (!config_set(parse->config, key, value))
			config_wrong(parse, "%s = %.100s: must be %s", name, value, key->what);
		parse->config->has_idle_exit |= strcmp(name, "idle_exit") == 0;
		return true;
	}
	return false;
}

static int config_line(void *arg, const char *section, const char *name, const char *value)
{
	struct config_parse *parse = arg;
	const char *device = config_device_of(section);
	bool known;

	if (parse->bad)
		return 0;
	if (device)
		known = config_device_key(parse, device, name, value);
	else
		known = config_plain_key(parse, section, name, value) ||
			(strcmp(section, "scheduling") == 0 &&
			 config_scheduling_key(parse, name, value));
	if (!known)
		config_wrong(parse, "unknown key '%.100s' in section [%.50s]", name, section);
	return !parse->bad;
}

int config_read(struct config *config, const char *path, char error[CONFIG_ERROR])
{
	struct config_parse parse = {.config = config, .file = fopen(path, "re")};

	error[0] = '\0';
	if (!parse.file) {
		int result = -errno;
		snprintf(error, CONFIG_ERROR, "%.400s: %s", path, strerror(errno));
		return result;
	}
	int line = ini_parse_stream(config_read_line, &parse, config_line, &parse);
	bool failed = ferror(parse.file);
	fclose(parse.file);
	if (line < 0)
		return -ENOMEM;
	if (failed) {
		snprintf(error, CONFIG_ERROR, "%.400s: cannot be read", path);
		return -EIO;
	}
	if (line == 0 && !parse.bad)
		config_device_check(&parse);
	if (line == 0 && !parse.bad)
		return 0;
	/* What inih does not understand it does not say, but where. */
	if (line && (!parse.bad || parse.bad > (unsigned)line)) {
		parse.bad = (unsigned)line;
		snprintf(parse.what, sizeof(parse.what), "neither a [section] nor key = value");
	}
	snprintf(error, CONFIG_ERROR, "%.150s:%u: %s", path, parse.bad, parse.what);
	return -EINVAL;
}

static char *config_usual_path(bool system)
{
	const char *home = getenv("HOME"), *config_home = getenv("XDG_CONFIG_HOME");
	char *path = NULL;
	int length;

	if (system)
		return strdup(CONFIG_SYSTEM);
	if (config_home && config_home[0] == '/')
		length = asprintf(&path, "%s/arax/arax.conf", config_home);
	else if (home && home[0] == '/')
		length = asprintf(&path, "%s/.config/arax/arax.conf", home);
	else
		return strdup("");
	return length < 0 ? NULL : path;
}

int config_load(struct config *config, const char *path, bool system, char error[CONFIG_ERROR])
{
	config_defaults(config);
	error[0] = '\0';
	if (path)
		return config_read(config, path, error);

	char *usual = config_usual_path(system);
	if (!usual)
		return -ENOMEM;
	int result = *usual ? config_read(config, usual, error) : 0;
	free(usual);
	return result == -ENOENT ? 0 : result;
}
