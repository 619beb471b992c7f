/* SPDX-License-Identifier: Apache-2.0
 *
 * A recorded load: the kernels of a file that "arax trace" wrote, each application a tenant. A
 * kernel takes what it took, at the rate of the device that it ran on if the machine has one of
 * that name. The application goes on as it did: when nothing of its was in flight it had waited,
 * and does so again for as long after the last end; else it submits in the same distance from the
 * command before. Arrows are dependencies. What is no kernel is time of the application.
 */
#include "scheduler/simulate.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define NS_MOST 3600000000000ll

struct found {
	json_int_t pid, id, queued, start, end;
	uint64_t items;
	unsigned kernel, device;
	uint32_t deps[8], ndeps;
};

struct recording {
	struct sim_load *load;
	const struct sim_machine *machine;
	struct found *found, **by_id;
	size_t n;
	const char *wrong;
};

static const char *string(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key)) ?: "";
}

static json_int_t integer(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	return json_is_integer(value) ? json_integer_value(value) : -1;
}

static int kernel_index(struct recording *r, const char *name)
{
	struct sim_load *load = r->load;

	for (unsigned i = 0; i < load->nkernels; i++)
		if (strncmp(load->kernels[i].name, name, SIM_NAME - 1) == 0)
			return (int)i;
	if (load->nkernels == SIM_KERNELS)
		return -1;
	struct sim_kernel *kernel = &load->kernels[load->nkernels];
	*kernel = (struct sim_kernel){0};
	snprintf(kernel->name, SIM_NAME, "%s", name);
	memcpy(kernel->class, kernel->name, SIM_NAME);
	return (int)load->nkernels++;
}

static uint64_t product(const json_t *global)
{
	uint64_t items = 1;

	for (size_t i = 0; i < json_array_size(global); i++) {
		json_int_t n = json_integer_value(json_array_get(global, i));
		if (n > 0 && __builtin_mul_overflow(items, (uint64_t)n, &items))
			return 1ull << 50;
	}
	return items < 1ull << 50 ? items : 1ull << 50;
}

static void read_slice(struct recording *r, const json_t *event)
{
	const json_t *args = json_object_get(event, "args");
	struct found *f = &r->found[r->n];
	int kernel = kernel_index(r, string(event, "name"));

	*f = (struct found){.pid = integer(event, "pid"),
			    .id = integer(args, "id"),
			    .queued = integer(args, "queued_ns"),
			    .start = integer(args, "start_ns"),
			    .end = integer(args, "end_ns"),
			    .items = product(json_object_get(args, "global"))};
	if (kernel < 0)
		r->wrong = "it has more than 256 kernels";
	else if (f->pid < 0 || f->queued < 0 || f->start < f->queued || f->end < f->start ||
		 f->end > NS_MOST)
		r->wrong = "a kernel's pid or times are missing or wrong";
	f->kernel = (unsigned)kernel;
	f->device = POLICY_DEVICES;
	for (unsigned i = 0; i < r->machine->ndevices; i++)
		if (strcmp(r->machine->devices[i].name, string(args, "device")) == 0)
			f->device = i;
	r->n++;
}

static int compare(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	if (x->queued != y->queued)
		return x->queued < y->queued ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static int compare_ids(const void *a, const void *b)
{
	const struct found *x = *(struct found *const *)a, *y = *(struct found *const *)b;

	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* A command of an application by its number. */
static struct found *find(struct recording *r, json_int_t pid, json_int_t id)
{
	const struct found wanted = {.pid = pid, .id = id}, *key = &wanted;
	struct found **at = bsearch(&key, r->by_id, r->n, sizeof(struct found *), compare_ids);

	return at && id >= 0 ? *at : NULL;
}

/* An arrow's two ends come one after the other, with the same number. */
static void read_arrows(struct recording *r, const json_t *events)
{
	const json_t *event, *begin = NULL;
	size_t i;

	json_array_foreach(events, i, event)
	{
		const char *phase = string(event, "ph");

		if (strcmp(phase, "s") == 0)
			begin = event;
		if (strcmp(phase, "f") != 0 || !begin ||
		    integer(begin, "id") != integer(event, "id"))
			continue;
		json_int_t pid = integer(event, "pid");
		struct found *from = find(r, pid, integer(json_object_get(begin, "args"), "id"));
		struct found *to = find(r, pid, integer(json_object_get(event, "args"), "id"));
		if (from && to && from < to && to->ndeps < 8)
			to->deps[to->ndeps++] = (uint32_t)(from - r->found);
	}
}

static int one_tenant(struct recording *r, size_t first, size_t end, json_int_t zero)
{
	struct sim_load *load = r->load;
	json_int_t ended = r->found[first].queued;

	if (load->ntenants == SIM_TENANTS) {
		r->wrong = "it has more than 256 applications";
		return -EINVAL;
	}
	struct sim_tenant_desc *t = &load->tenants[load->ntenants];
	*t = (struct sim_tenant_desc){.weight = 100,
				      .width = 1,
				      .shape = SIM_RECORDED,
				      .inflight = SIM_LAUNCHES,
				      .launches = (unsigned)(end - first),
				      .arrives_ns = (uint64_t)(r->found[first].queued - zero)};
	snprintf(t->name, SIM_NAME, "process %lld", (long long)r->found[first].pid);
	t->recorded = calloc(end - first, sizeof(*t->recorded));
	if (!t->recorded)
		return -ENOMEM;
	load->ntenants++;
	for (size_t i = first; i < end; i++) {
		const struct found *f = &r->found[i];
		struct sim_recorded *to = &t->recorded[i - first];
		const char *class = load->kernels[f->kernel].class;
		double rate = f->device < r->machine->ndevices
				  ? sim_rate(&r->machine->devices[f->device], class)
				  : 1;
		*to =
		    (struct sim_recorded){.kernel = f->kernel,
					  .items = f->items ? f->items : 1,
					  .time_ns = (uint64_t)((double)(f->end - f->start) * rate),
					  .waited = ended <= f->queued,
					  .ndeps = f->ndeps};
		to->time_ns = to->time_ns ? to->time_ns : 1;
		to->after_ns =
		    (uint64_t)(f->queued - (to->waited || i == first ? ended : f[-1].queued));
		for (uint32_t d = 0; d < f->ndeps; d++)
			to->deps[d] = f->deps[d] - (uint32_t)first;
		if (f->end > ended)
			ended = f->end;
	}
	return 0;
}

static int all_tenants(struct recording *r)
{
	json_int_t zero = NS_MOST;
	size_t first = 0;

	for (size_t i = 0; i < r->n; i++)
		if (r->found[i].queued < zero)
			zero = r->found[i].queued;
	for (size_t i = 1; i <= r->n; i++) {
		if (i < r->n && r->found[i].pid == r->found[first].pid)
			continue;
		if (i - first > SIM_LAUNCHES) {
			r->wrong = "an application has more than a million kernels";
			return -EINVAL;
		}
		int rc = one_tenant(r, first, i, zero);
		if (rc)
			return rc;
		first = i;
	}
	return 0;
}

static int read_events(struct recording *r, const json_t *events)
{
	const json_t *event;
	size_t i;

	r->found = calloc(json_array_size(events) + 1, sizeof(*r->found));
	if (!r->found)
		return -ENOMEM;
	json_array_foreach(events, i, event)
	{
		if (strcmp(string(event, "ph"), "X") == 0 &&
		    strcmp(string(event, "cat"), "kernel") == 0)
			read_slice(r, event);
		if (r->wrong)
			return -EINVAL;
	}
	if (!r->n) {
		r->wrong = "there is no kernel in it";
		return -EINVAL;
	}
	qsort(r->found, r->n, sizeof(*r->found), compare);
	r->by_id = calloc(r->n, sizeof(struct found *));
	if (!r->by_id)
		return -ENOMEM;
	for (i = 0; i < r->n; i++)
		r->by_id[i] = &r->found[i];
	qsort(r->by_id, r->n, sizeof(struct found *), compare_ids);
	read_arrows(r, events);
	return all_tenants(r);
}

int sim_load_trace(struct sim_load *load, const struct sim_machine *machine, const char *path,
		   char error[SIM_ERROR])
{
	struct recording r = {.load = load, .machine = machine};
	json_error_t why;
	FILE *in = fopen(path, "re");
	int rc = in ? 0 : -errno;

	error[0] = '\0';
	*load = (struct sim_load){0};
	if (!in) {
		snprintf(error, SIM_ERROR, "%.400s: %s", path, strerror(-rc));
		return rc;
	}
	json_t *root = json_loadf(in, 0, &why);
	fclose(in);
	const json_t *events = json_is_array(root) ? root : json_object_get(root, "traceEvents");
	if (!root || !json_is_array(events)) {
		rc = -EINVAL;
		r.wrong = root ? "not a trace: it has no traceEvents" : "not JSON, or cut off";
	} else {
		rc = read_events(&r, events);
	}
	if (rc) {
		snprintf(error, SIM_ERROR, "%.400s: %s", path, r.wrong ? r.wrong : strerror(-rc));
		sim_load_free(load);
	}
	free(r.by_id);
	free(r.found);
	json_decref(root);
	return rc;
}
