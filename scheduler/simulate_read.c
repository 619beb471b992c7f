/* SPDX-License-Identifier: Apache-2.0
 *
 * Descriptions of machines and loads for the simulator, as INI files; one table row for each key,
 * and a message with file and line for whatever is not in it. Examples with every key:
 * scheduler/simulations/.
 */
#include "scheduler/simulate.h"

#include <errno.h>
#include <ini.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum kind {
	KIND_TIME,     /* ns: "5us" */
	KIND_SIZE,     /* bytes: "16M" */
	KIND_UNSIGNED, /* */
	KIND_REAL,     /* double */
	KIND_RATE,     /* bytes per second, kept per ns */
	KIND_TEXT,     /* SIM_NAME bytes */
	KIND_CALL,
};

struct reading {
	struct sim_machine *machine; /* one of the two */
	struct sim_load *load;
	struct sim_device_desc *device; /* of the section */
	struct sim_kernel *kernel;
	struct sim_tenant_desc *tenant;
	unsigned counts[SIM_TENANTS]; /* "count" of each device or tenant, in their order */
	char section[SIM_NAME];
	char what[SIM_ERROR - 100];
};

struct key {
	const char *name, *what;
	enum kind kind;
	size_t offset;
	double min, max;
	bool (*set)(struct reading *r, const char *value);
};

static bool wrong(struct reading *r, const char *format, const char *a, const char *b)
{
	if (!r->what[0])
		snprintf(r->what, sizeof(r->what), format, a, b);
	return false;
}

/* ---- values --------------------------------------------------------------------------------- */

struct unit {
	const char *name;
	double factor;
};

static const struct unit times[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"", 0}};
static const struct unit sizes[] = {
    {"", 1}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1099511627776.0}};
static const struct unit rates[] = {{"", 1}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12}};

/* A number with a unit out of five; 0 needs none. */
static bool number(const char *text, const struct unit units[5], double *value)
{
	char *end;

	errno = 0;
	*value = strtod(text, &end);
	if (end == text || errno || !isfinite(*value) || strpbrk(text, "xXpP"))
		return false;
	for (int i = 0; units && i < 5; i++) {
		if (strcmp(end, units[i].name) != 0)
			continue;
		*value *= units[i].factor;
		return units[i].factor > 0 || strcmp(text, "0") == 0;
	}
	return !units && !*end;
}

static bool set_value(const struct key *key, char *object, const char *text)
{
	const struct unit *units = key->kind == KIND_TIME   ? times
				   : key->kind == KIND_SIZE ? sizes
				   : key->kind == KIND_RATE ? rates
							    : NULL;
	void *field = object + key->offset;
	double value;

	if (key->kind == KIND_TEXT) {
		if (!*text || strlen(text) >= SIM_NAME)
			return false;
		strcpy(field, text);
		return true;
	}
	if (!number(text, units, &value) || value < key->min || value > key->max)
		return false;
	switch (key->kind) {
	case KIND_UNSIGNED:
		*(unsigned *)field = (unsigned)value;
		return value == floor(value);
	case KIND_REAL:
		*(double *)field = value;
		return true;
	case KIND_RATE:
		*(double *)field = value / 1e9;
		return true;
	default:
		*(uint64_t *)field = (uint64_t)value;
		return true;
	}
}

/* The next word of a comma list, copied; false at the end or when it is too long. */
static bool next_word(const char **list, char word[SIM_NAME])
{
	size_t n;

	*list += strspn(*list, ", \t");
	n = strcspn(*list, ",");
	const char *at = *list;
	*list += n;
	while (n && (at[n - 1] == ' ' || at[n - 1] == '\t'))
		n--;
	if (!n || n >= SIM_NAME)
		return false;
	memcpy(word, at, n);
	word[n] = '\0';
	return true;
}

static bool set_type(struct reading *r, const char *value)
{
	r->device->discrete = strcmp(value, "discrete") == 0;
	return r->device->discrete || strcmp(value, "cpu") == 0;
}

static bool set_count(struct reading *r, const char *value)
{
	unsigned *count = r->device ? &r->counts[r->device - r->machine->devices]
				    : &r->counts[r->tenant - r->load->tenants];
	double n;

	if (!number(value, NULL, &n) || n < 1 || n > SIM_TENANTS || n != floor(n))
		return false;
	*count = (unsigned)n;
	return true;
}

static bool set_shape(struct reading *r, const char *value)
{
	static const char *const names[] = {"independent", "chain", "fork-join", "iterative"};

	for (unsigned i = 0; i < 4; i++) {
		if (strcmp(value, names[i]) == 0) {
			r->tenant->shape = (enum sim_shape)i;
			return true;
		}
	}
	return false;
}

static bool set_order(struct reading *r, const char *value)
{
	r->tenant->mix = strcmp(value, "random") == 0;
	return r->tenant->mix || strcmp(value, "turn") == 0;
}

static bool set_kernels(struct reading *r, const char *value)
{
	char name[SIM_NAME];

	r->tenant->nkernels = 0;
	while (next_word(&value, name)) {
		unsigned k = 0;
		while (k < r->load->nkernels && strcmp(r->load->kernels[k].name, name) != 0)
			k++;
		if (k == r->load->nkernels || r->tenant->nkernels == SIM_TENANT_KERNELS)
			return wrong(r, "kernels: %s: no [kernel] section of that name%s", name,
				     "");
		r->tenant->kernels[r->tenant->nkernels++] = k;
	}
	return r->tenant->nkernels > 0;
}

/* ---- keys ----------------------------------------------------------------------------------- */

#define HOUR 3600e9
#define TIME_IS "a time up to an hour, such as 5us, 2.5ms or 1s"

static const struct key machine_keys[] = {
#define FIELD(field) offsetof(struct sim_machine, field)
    {"notice", TIME_IS, KIND_TIME, FIELD(notice_ns), 0, HOUR, NULL},
    {"submit", TIME_IS, KIND_TIME, FIELD(submit_ns), 0, HOUR, NULL},
    {"lease", TIME_IS, KIND_TIME, FIELD(lease_ns), 0, HOUR, NULL},
    {0}
#undef FIELD
};

static const struct key device_keys[] = {
#define FIELD(field) offsetof(struct sim_device_desc, field)
    {"type", "discrete or cpu", KIND_CALL, 0, 0, 0, set_type},
    {"count", "1 to 16", KIND_CALL, 0, 0, 0, set_count},
    {"slots", "1 to 64", KIND_UNSIGNED, FIELD(slots), 1, 64, NULL},
    {"units", "1 to 65536", KIND_UNSIGNED, FIELD(parallel), 1, 65536, NULL},
    {"memory", "a size", KIND_SIZE, FIELD(memory), 0, 1e15, NULL},
    {"rate", "more than 0", KIND_REAL, FIELD(rate), 1e-6, 1e6, NULL},
    {"launch", TIME_IS, KIND_TIME, FIELD(launch_ns), 0, HOUR, NULL},
    {"bandwidth", "bytes per second, such as 12G", KIND_RATE, FIELD(bytes_per_ns), 1e3, 1e15, NULL},
    {"latency", TIME_IS, KIND_TIME, FIELD(latency_ns), 0, HOUR, NULL},
    {"appears", TIME_IS, KIND_TIME, FIELD(appears_ns), 0, HOUR, NULL},
    {"leaves", TIME_IS, KIND_TIME, FIELD(leaves_ns), 0, HOUR, NULL},
    {0}
#undef FIELD
};

static const struct key kernel_keys[] = {
#define FIELD(field) offsetof(struct sim_kernel, field)
    {"class", "a name", KIND_TEXT, FIELD(class), 0, 0, NULL},
    {"time", TIME_IS, KIND_TIME, FIELD(time_ns), 1, HOUR, NULL},
    {"items", "1 to 1e15", KIND_SIZE, FIELD(items), 1, 1e15, NULL},
    {"jitter", "0 to 0.99", KIND_REAL, FIELD(jitter), 0, 0.99, NULL},
    {0}
#undef FIELD
};

static const struct key tenant_keys[] = {
#define FIELD(field) offsetof(struct sim_tenant_desc, field)
    {"count", "1 to 256", KIND_CALL, 0, 0, 0, set_count},
    {"weight", "1 to 10000", KIND_UNSIGNED, FIELD(weight), 1, 10000, NULL},
    {"arrives", TIME_IS, KIND_TIME, FIELD(arrives_ns), 0, HOUR, NULL},
    {"leaves", TIME_IS, KIND_TIME, FIELD(leaves_ns), 0, HOUR, NULL},
    {"shape", "independent, chain, fork-join or iterative", KIND_CALL, 0, 0, 0, set_shape},
    {"launches", "1 to 1000000", KIND_UNSIGNED, FIELD(launches), 1, SIM_LAUNCHES, NULL},
    {"width", "1 to 1024", KIND_UNSIGNED, FIELD(width), 1, 1024, NULL},
    {"inflight", "1 to 1000000", KIND_UNSIGNED, FIELD(inflight), 1, SIM_LAUNCHES, NULL},
    {"period", TIME_IS, KIND_TIME, FIELD(period_ns), 0, HOUR, NULL},
    {"buffers", "0 to 65536", KIND_UNSIGNED, FIELD(buffers), 0, 65536, NULL},
    {"bytes", "a size", KIND_SIZE, FIELD(bytes), 0, 1e15, NULL},
    {"halo", "a size", KIND_SIZE, FIELD(halo), 0, 1e15, NULL},
    {"kernels", "names of [kernel] sections before it", KIND_CALL, 0, 0, 0, set_kernels},
    {"order", "turn or random", KIND_CALL, 0, 0, 0, set_order},
    {0}
#undef FIELD
};

static bool set_key(struct reading *r, const struct key *keys, void *object, const char *name,
		    const char *value)
{
	for (; keys->name; keys++) {
		if (strcmp(keys->name, name) != 0)
			continue;
		if (keys->set ? keys->set(r, value) : set_value(keys, object, value))
			return true;
		return wrong(r, "%s: must be %s", name, keys->what);
	}
	return wrong(r, "unknown key '%.100s' in section [%.80s]", name, r->section);
}

static bool set_device_key(struct reading *r, const char *name, const char *value)
{
	struct sim_device_desc *d = r->device;
	double rate;

	if (strncmp(name, "rate.", 5) != 0)
		return set_key(r, device_keys, d, name, value);
	if (!number(value, NULL, &rate) || rate < 1e-6 || rate > 1e6)
		return wrong(r, "%s: must be more than 0%s", name, "");
	if (!name[5] || strlen(name + 5) >= SIM_NAME || d->nrates == SIM_CLASSES)
		return wrong(r, "%s: too many classes, or the name is too long%s", name, "");
	strcpy(d->rates[d->nrates].class, name + 5);
	d->rates[d->nrates++].rate = rate;
	return true;
}

/* ---- sections ------------------------------------------------------------------------------- */

static bool new_device(struct reading *r, const char *name)
{
	struct sim_machine *m = r->machine;

	if (m->ndevices == POLICY_DEVICES)
		return wrong(r, "[%s]: more than 16 devices%s", r->section, "");
	if (strlen(name) > 28)
		return wrong(r, "[%s]: the name is too long%s", r->section, "");
	r->counts[m->ndevices] = 1;
	r->device = &m->devices[m->ndevices++];
	*r->device = (struct sim_device_desc){.discrete = true,
					      .parallel = 1,
					      .slots = 1,
					      .rate = 1,
					      .bytes_per_ns = 12,
					      .latency_ns = 10000};
	strcpy(r->device->name, name);
	return true;
}

static bool new_kernel(struct reading *r, const char *name)
{
	struct sim_load *load = r->load;

	if (load->nkernels == SIM_KERNELS)
		return wrong(r, "[%s]: too many kernels%s", r->section, "");
	r->kernel = &load->kernels[load->nkernels++];
	*r->kernel = (struct sim_kernel){.time_ns = 1000000, .items = 1 << 20};
	strcpy(r->kernel->name, name);
	strcpy(r->kernel->class, name);
	return true;
}

static bool new_tenant(struct reading *r, const char *name)
{
	struct sim_load *load = r->load;

	if (load->ntenants == SIM_TENANTS)
		return wrong(r, "[%s]: too many tenants%s", r->section, "");
	r->counts[load->ntenants] = 1;
	r->tenant = &load->tenants[load->ntenants++];
	*r->tenant = (struct sim_tenant_desc){
	    .weight = 100, .launches = 100, .width = 1, .inflight = SIM_LAUNCHES};
	strcpy(r->tenant->name, name);
	return true;
}

static bool new_section(struct reading *r, const char *section)
{
	const char *name = strchr(section, ' ');

	if (strlen(section) >= sizeof(r->section))
		return wrong(r, "the section's name is too long%s%s", "", "");
	strcpy(r->section, section);
	r->device = NULL;
	r->kernel = NULL;
	r->tenant = NULL;
	if (r->machine && strcmp(section, "machine") == 0)
		return true;
	name = name ? name + strspn(name, " ") : "";
	if (*name && r->machine && strncmp(section, "device ", 7) == 0)
		return new_device(r, name);
	if (*name && r->load && strncmp(section, "kernel ", 7) == 0)
		return new_kernel(r, name);
	if (*name && r->load && strncmp(section, "tenant ", 7) == 0)
		return new_tenant(r, name);
	return wrong(r,
		     r->machine ? "section [%s]: must be [machine] or [device NAME]%s"
				: "section [%s]: must be [kernel NAME] or [tenant NAME]%s",
		     section, "");
}

static int line(void *arg, const char *section, const char *name, const char *value)
{
	struct reading *r = arg;

	if (strcmp(section, r->section) != 0 && !new_section(r, section))
		return 0;
	if (!r->section[0])
		return wrong(r, "'%s' stands before the first section%s", name, "");
	if (r->device)
		return set_device_key(r, name, value);
	if (r->kernel)
		return set_key(r, kernel_keys, r->kernel, name, value);
	if (r->tenant)
		return set_key(r, tenant_keys, r->tenant, name, value);
	return set_key(r, machine_keys, r->machine, name, value);
}

static int read_file(struct reading *r, const char *path, char error[SIM_ERROR])
{
	FILE *file = fopen(path, "re");

	error[0] = '\0';
	if (!file) {
		int rc = -errno;
		snprintf(error, SIM_ERROR, "%.400s: %s", path, strerror(-rc));
		return rc;
	}
	int at = ini_parse_file(file, line, r);
	fclose(file);
	if (at == 0)
		return 0;
	snprintf(error, SIM_ERROR, "%.90s:%d: %s", path, at,
		 r->what[0] ? r->what : "neither a [section] nor key = value");
	return at < 0 ? -ENOMEM : -EINVAL;
}

static int whole(const char *path, const char *what, char error[SIM_ERROR])
{
	snprintf(error, SIM_ERROR, "%.400s: %s", path, what);
	return -EINVAL;
}

int sim_machine_read(struct sim_machine *machine, const char *path, char error[SIM_ERROR])
{
	struct sim_machine from = {.notice_ns = 5000, .submit_ns = 1000, .lease_ns = 100000};
	struct reading r = {.machine = &from};
	int rc = read_file(&r, path, error);

	if (rc)
		return rc;
	*machine = from;
	machine->ndevices = 0;
	for (unsigned i = 0; i < from.ndevices; i++) {
		for (unsigned n = 0; n < r.counts[i]; n++) {
			if (machine->ndevices == POLICY_DEVICES)
				return whole(path, "more than 16 devices", error);
			struct sim_device_desc *d = &machine->devices[machine->ndevices++];
			*d = from.devices[i];
			/* Devices of one section are of one make. */
			d->alike = (uint8_t)(machine->ndevices - n);
			if (r.counts[i] > 1)
				snprintf(d->name, sizeof(d->name), "%.28s%u", from.devices[i].name,
					 (uint8_t)n);
		}
	}
	return machine->ndevices ? 0 : whole(path, "no [device NAME]", error);
}

int sim_load_read(struct sim_load *load, const char *path, char error[SIM_ERROR])
{
	struct sim_load *from = calloc(1, sizeof(*from));
	struct reading r = {.load = from};
	int rc = from ? read_file(&r, path, error) : -ENOMEM;

	for (unsigned i = 0; !rc && i < from->ntenants; i++)
		if (!from->tenants[i].nkernels)
			rc = whole(path, "a tenant has no kernels", error);
	if (!rc) {
		*load = *from;
		load->ntenants = 0;
	}
	for (unsigned i = 0; !rc && i < from->ntenants; i++) {
		for (unsigned n = 0; n < r.counts[i] && !rc; n++) {
			if (load->ntenants == SIM_TENANTS) {
				rc = whole(path, "more than 256 tenants", error);
				break;
			}
			struct sim_tenant_desc *t = &load->tenants[load->ntenants++];
			*t = from->tenants[i];
			if (r.counts[i] > 1)
				snprintf(t->name, sizeof(t->name), "%.58s%u", from->tenants[i].name,
					 (uint8_t)n);
		}
	}
	if (!rc && !load->ntenants)
		rc = whole(path, "no [tenant NAME]", error);
	free(from);
	return rc;
}

void sim_load_free(struct sim_load *load)
{
	for (unsigned i = 0; i < load->ntenants; i++)
		free(load->tenants[i].recorded);
	*load = (struct sim_load){0};
}
