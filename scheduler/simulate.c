/* SPDX-License-Identifier: Apache-2.0
 *
 * See simulate.h. The clock, the tenants (which do what scheduler/dispatch*.c does: order, hold,
 * ask the policy) and the arbiter. Events of the same time happen in the order in which they were
 * made.
 */
#include "scheduler/simulate_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- the clock ------------------------------------------------------------------------------ */

static bool earlier(const struct sim_event *a, const struct sim_event *b)
{
	return a->time != b->time ? a->time < b->time : a->order < b->order;
}

void sim_event(struct sim *sim, uint64_t time, enum sim_event_type type, uint32_t index,
	       struct sim_command *command)
{
	if (sim->nevents == sim->event_room) {
		size_t room = sim->event_room ? sim->event_room * 2 : 1024;
		struct sim_event *more = realloc(sim->events, room * sizeof(*more));

		if (!more) {
			sim->lost = true;
			return;
		}
		sim->events = more;
		sim->event_room = room;
	}
	struct sim_event event = {time, sim->order++, type, index, command};
	size_t at = sim->nevents++;
	for (; at && earlier(&event, &sim->events[(at - 1) / 2]); at = (at - 1) / 2)
		sim->events[at] = sim->events[(at - 1) / 2];
	sim->events[at] = event;
}

static struct sim_event next_event(struct sim *sim)
{
	struct sim_event first = sim->events[0], last = sim->events[--sim->nevents];
	size_t at = 0, child;

	while ((child = 2 * at + 1) < sim->nevents) {
		if (child + 1 < sim->nevents &&
		    earlier(&sim->events[child + 1], &sim->events[child]))
			child++;
		if (!earlier(&sim->events[child], &last))
			break;
		sim->events[at] = sim->events[child];
		at = child;
	}
	sim->events[at] = last;
	return first;
}

void sim_span(struct sim *sim, const struct sim_span *span)
{
	struct sim_result *result = sim->result;

	if (result->nspans == sim->span_room) {
		size_t room = sim->span_room ? sim->span_room * 2 : 1024;
		struct sim_span *more = realloc(result->spans, room * sizeof(*more));

		if (!more) {
			sim->lost = true;
			return;
		}
		result->spans = more;
		sim->span_room = room;
	}
	result->spans[result->nspans++] = *span;
}

/* ---- the arbiter ---------------------------------------------------------------------------- */

static bool working(const struct sim_tenant *t)
{
	return t->next != t->seen;
}

static void decide(struct sim *sim)
{
	struct lease_tenant *present[SIM_TENANTS];
	unsigned n = 0;

	for (unsigned i = 0; i < sim->load->ntenants; i++) {
		struct sim_tenant *t = &sim->tenants[i];

		if (!t->here)
			continue;
		t->lease.working = working(t);
		present[n++] = &t->lease;
	}
	uint64_t again = lease_decide(sim->mode, sim->present, present, n, sim->now);
	if (!sim->deciding) {
		sim->deciding = true;
		sim_event(sim, sim->now + sim->machine->lease_ns, EVENT_LEASES, 0, NULL);
	}
	if (again && (!sim->ask_at || sim->now + again < sim->ask_at)) {
		sim->ask_at = sim->now + again;
		sim_event(sim, sim->ask_at, EVENT_LEASES_OLD, 0, NULL);
	}
}

/* ---- tenants -------------------------------------------------------------------------------- */

static struct policy_launch facts_of(const struct sim *sim, const struct sim_tenant *t,
				     const struct sim_command *c)
{
	return (struct policy_launch){
	    .cost = t->cost[c->kernel],
	    .items = c->items,
	    .candidates = t->allowed,
	    .serial = c->number,
	    .devices = t->devices,
	    .kernel = sim->load->kernels[c->kernel].name,
	    .now_ns = sim->now,
	};
}

/* Return: it has got a device. */
static bool place(struct sim *sim, struct sim_tenant *t, struct sim_command *c, uint32_t held)
{
	struct policy_launch facts = facts_of(sim, t, c);
	uint64_t missing[POLICY_DEVICES];

	if (!t->allowed)
		return false;
	if (c->nuses) {
		facts.missing = missing;
		for (unsigned device = 0; device < sim->machine->ndevices; device++)
			missing[device] = sim_missing(sim, c, device);
	}
	facts.held = held;
	unsigned device = sim->policy->pick(&t->state, &facts);
	sim->result->picks++;
	if (device == POLICY_WAIT) {
		sim->result->waits++;
		return false;
	}
	c->predicted = policy_predict(&t->state, &facts, device);
	policy_began(&t->devices[device], c->predicted, sim->now);
	sim_give(sim, c, device);
	return true;
}

static bool any_room(const struct sim_tenant *t)
{
	POLICY_FOR_EACH(device, t->allowed)
	{
		const struct policy_device *d = &t->devices[device];
		if (!d->depth || d->queued < d->depth)
			return true;
	}
	return false;
}

/* Those that are held are asked again, oldest first. */
static void pass(struct sim *sim, struct sim_tenant *t)
{
	uint32_t asked = 0;

	for (struct sim_command **at = &t->held; *at && asked < POLICY_WINDOW;) {
		struct sim_command *c = *at, *next = c->next;

		if (!any_room(t))
			return;
		if (!place(sim, t, c, asked)) {
			asked++;
			at = &c->next;
			continue;
		}
		*at = next;
		if (t->held_end == &c->next)
			t->held_end = at;
		t->nheld--;
	}
}

static void ready(struct sim *sim, struct sim_tenant *t, struct sim_command *c)
{
	if (t->nheld < POLICY_WINDOW && place(sim, t, c, t->nheld))
		return;
	c->next = NULL;
	*t->held_end = c;
	t->held_end = &c->next;
	t->nheld++;
}

/* When the next command may be submitted; UINT64_MAX: not before something has ended. */
static uint64_t next_submit(const struct sim *sim, const struct sim_tenant *t)
{
	const struct sim_tenant_desc *desc = t->desc;
	uint64_t at = t->busy_ns > sim->now ? t->busy_ns : sim->now;

	if (t->next == t->ncommands || (desc->leaves_ns && sim->now >= desc->leaves_ns))
		return UINT64_MAX;
	if (t->next - t->seen >= desc->inflight)
		return UINT64_MAX;
	if (desc->shape == SIM_RECORDED) {
		const struct sim_recorded *from = &desc->recorded[t->next];
		if (from->waited && t->next != t->seen)
			return UINT64_MAX;
		uint64_t after = from->waited ? t->last_seen_ns : t->period_at;
		return after + from->after_ns > at ? after + from->after_ns : at;
	}
	return desc->period_ns && t->period_at > at ? t->period_at : at;
}

static void plan_submit(struct sim *sim, struct sim_tenant *t)
{
	uint64_t at = next_submit(sim, t);

	if (t->submitting || at == UINT64_MAX)
		return;
	t->submitting = true;
	sim_event(sim, at, EVENT_SUBMIT, (uint32_t)(t - sim->tenants), NULL);
}

static void submit(struct sim *sim, struct sim_tenant *t)
{
	t->submitting = false;
	if (next_submit(sim, t) != sim->now)
		return plan_submit(sim, t);
	struct sim_command *c = &t->commands[t->next++];
	c->submitted = true;
	c->submit_ns = sim->now;
	t->busy_ns = sim->now + sim->machine->submit_ns;
	/* Periods go on while it could not; recorded times count from this one. */
	t->period_at = t->desc->shape == SIM_RECORDED || !t->period_at
			   ? sim->now + t->desc->period_ns
			   : t->period_at + t->desc->period_ns;
	if (!t->lease.active || !t->lease.working)
		decide(sim);
	if (!c->waits)
		ready(sim, t, c);
	plan_submit(sim, t);
}

static void arrive(struct sim *sim, struct sim_tenant *t)
{
	t->here = true;
	t->last_seen_ns = t->period_at = sim->now;
	decide(sim);
	plan_submit(sim, t);
}

static bool finished(const struct sim *sim, const struct sim_tenant *t)
{
	return t->seen == t->next &&
	       (t->next == t->ncommands || (t->desc->leaves_ns && sim->now >= t->desc->leaves_ns));
}

static void seen(struct sim *sim, struct sim_tenant *t, struct sim_command *c)
{
	struct policy_launch facts = facts_of(sim, t, c);

	policy_ended(&t->devices[c->device], c->predicted, sim->now);
	if (sim->policy->learn)
		sim->policy->learn(&t->state, &facts, c->device, c->end_ns - c->start_ns);
	sim_unpin(sim, c);
	t->latencies[t->seen++] = sim->now - c->submit_ns;
	t->last_seen_ns = sim->now;
	for (uint32_t i = t->nafter[c->number]; i < t->nafter[c->number + 1]; i++) {
		struct sim_command *after = &t->commands[t->after[i]];
		if (!--after->waits && after->submitted)
			ready(sim, t, after);
	}
	pass(sim, t);
	plan_submit(sim, t);
	if (finished(sim, t)) {
		t->here = false;
		t->done = true;
		memset(&t->lease, 0, sizeof(t->lease));
		decide(sim);
	} else if (!working(t)) {
		decide(sim);
	}
}

static void apply_leases(struct sim *sim)
{
	sim->deciding = false;
	for (unsigned i = 0; i < sim->load->ntenants; i++) {
		struct sim_tenant *t = &sim->tenants[i];

		t->allowed = 0;
		if (!t->here)
			continue;
		for (unsigned device = 0; device < sim->machine->ndevices; device++) {
			const struct lease *lease = &t->lease.lease[device];
			t->devices[device].share = lease->share;
			t->devices[device].depth = lease->depth;
			if (lease->share && sim->devices[device].here)
				t->allowed |= 1u << device;
		}
	}
	for (unsigned i = 0; i < sim->load->ntenants; i++)
		if (sim->tenants[i].here)
			pass(sim, &sim->tenants[i]);
}

/* What one of its commands takes on the average, which the arbiter makes depths of. */
static void note_usual(struct sim *sim, struct sim_tenant *t, const struct sim_command *c)
{
	uint64_t ns = c->end_ns - c->start_ns, *usual = &t->lease.command_ns;

	(void)sim;
	*usual = *usual ? (*usual * 7 + ns) / 8 : ns;
}

static void device_comes(struct sim *sim, unsigned device, bool comes)
{
	struct sim_device *d = &sim->devices[device];

	d->here = comes;
	if (comes) {
		d->since_ns = sim->now;
		sim->present |= 1u << device;
	} else {
		d->here_ns += sim->now - d->since_ns;
		sim->present &= ~(1u << device);
		for (unsigned i = 0; i < sim->load->ntenants; i++)
			sim->tenants[i].allowed &= ~(1u << device);
		sim_drain(sim, device);
	}
	decide(sim);
}

static void happen(struct sim *sim, const struct sim_event *event)
{
	struct sim_command *c = event->command;

	switch (event->type) {
	case EVENT_ARRIVE:
		return arrive(sim, &sim->tenants[event->index]);
	case EVENT_SUBMIT:
		return submit(sim, &sim->tenants[event->index]);
	case EVENT_DATA:
		return sim_data(sim, c);
	case EVENT_END:
		sim_event(sim, sim->now + sim->machine->notice_ns, EVENT_SEEN, 0, c);
		note_usual(sim, &sim->tenants[c->tenant], c);
		return sim_end(sim, c);
	case EVENT_SEEN:
		return seen(sim, &sim->tenants[c->tenant], c);
	case EVENT_DEVICE_COMES:
		return device_comes(sim, event->index, true);
	case EVENT_DEVICE_GOES:
		return device_comes(sim, event->index, false);
	case EVENT_LEASES:
		return apply_leases(sim);
	case EVENT_LEASES_OLD:
		sim->ask_at = 0;
		return decide(sim);
	}
}

/* ---- beginning and end ---------------------------------------------------------------------- */

double sim_rate(const struct sim_device_desc *device, const char *class)
{
	for (unsigned i = 0; i < device->nrates; i++)
		if (strcmp(device->rates[i].class, class) == 0)
			return device->rates[i].rate;
	return device->rate;
}

static void begin_devices(struct sim *sim)
{
	for (unsigned i = 0; i < sim->machine->ndevices; i++) {
		struct sim_device *d = &sim->devices[i];

		d->desc = &sim->machine->devices[i];
		for (unsigned k = 0; k < sim->load->nkernels; k++)
			d->rate[k] = sim_rate(d->desc, sim->load->kernels[k].class);
		sim_event(sim, d->desc->appears_ns, EVENT_DEVICE_COMES, i, NULL);
		if (d->desc->leaves_ns)
			sim_event(sim, d->desc->leaves_ns, EVENT_DEVICE_GOES, i, NULL);
	}
}

static int begin_policy(struct sim *sim, struct sim_tenant *t, const struct sim_options *options,
			char error[SIM_ERROR])
{
	const char *names[POLICY_DEVICES];
	char why[POLICY_WHY];

	for (unsigned i = 0; i < sim->machine->ndevices; i++) {
		const struct sim_device_desc *d = &sim->machine->devices[i];

		names[i] = d->name;
		t->devices[i] = (struct policy_device){.discrete = d->discrete,
						       .alike = d->alike,
						       .parallel = d->parallel,
						       .bytes_per_ns = (float)d->bytes_per_ns,
						       .latency_ns = (float)d->latency_ns};
		snprintf(t->devices[i].name, sizeof(t->devices[i].name), "%s", d->name);
	}
	int rc = policy_configure(sim->policy, &t->state, options->argument ?: "", why);
	if (!rc && options->costs)
		rc = policy_costs_load(t->costs, names, sim->machine->ndevices, options->costs,
				       options->costs_size, why);
	if (rc)
		snprintf(error, SIM_ERROR, "%s", why);
	policy_costs_credit(t->costs, &t->state);
	return rc;
}

static int begin_tenant(struct sim *sim, unsigned n, const struct sim_options *options,
			char error[SIM_ERROR])
{
	struct sim_tenant *t = &sim->tenants[n];
	const struct sim_tenant_desc *desc = &sim->load->tenants[n];
	int rc = sim_commands(sim->load, desc, n, sim->seed, t);

	t->held_end = &t->held;
	t->costs = policy_costs_new();
	if (rc || !t->costs)
		return -ENOMEM;
	t->lease = (struct lease_tenant){.weight = desc->weight, .allowed = UINT32_MAX};
	for (unsigned k = 0; k < sim->load->nkernels; k++) {
		t->cost[k] = policy_costs_get(t->costs, 1, sim->load->kernels[k].name);
		if (!t->cost[k])
			return -ENOMEM;
	}
	sim_event(sim, desc->arrives_ns, EVENT_ARRIVE, n, NULL);
	return begin_policy(sim, t, options, error);
}

static bool all_done(const struct sim *sim)
{
	for (unsigned i = 0; i < sim->load->ntenants; i++)
		if (!sim->tenants[i].done)
			return false;
	return true;
}

static void free_all(struct sim *sim)
{
	for (unsigned i = 0; sim->tenants && i < sim->load->ntenants; i++) {
		struct sim_tenant *t = &sim->tenants[i];

		policy_costs_free(t->costs);
		free(t->commands);
		free(t->buffers);
		free(t->after);
		free(t->nafter);
		free(t->latencies);
	}
	free(sim->tenants);
	free(sim->events);
}

static int run(struct sim *sim, const struct sim_options *options, char error[SIM_ERROR])
{
	int rc = 0;

	begin_devices(sim);
	for (unsigned i = 0; i < sim->load->ntenants && !rc; i++)
		rc = begin_tenant(sim, i, options, error);
	while (!rc && !sim->lost && sim->nevents && !all_done(sim)) {
		struct sim_event event = next_event(sim);
		sim->now = event.time;
		happen(sim, &event);
	}
	if (rc || sim->lost)
		return rc ? rc : -ENOMEM;
	if (!all_done(sim)) {
		snprintf(error, SIM_ERROR,
			 "the load does not end: there is work, but nothing that executes it");
		return -EINVAL;
	}
	sim_results(sim);
	return sim->lost ? -ENOMEM : 0;
}

int simulate(const struct sim_machine *machine, const struct sim_load *load,
	     const struct sim_options *options, struct sim_result *result, char error[SIM_ERROR])
{
	struct sim sim = {.machine = machine,
			  .load = load,
			  .policy = options->policy ? options->policy : policy_find(""),
			  .seed = options->seed,
			  .result = result};

	error[0] = '\0';
	*result = (struct sim_result){0};
	sim.mode = lease_mode(options->leases ? options->leases : sim.policy->name);
	sim.tenants = calloc(load->ntenants + 1, sizeof(*sim.tenants));
	int rc = sim.tenants ? run(&sim, options, error) : -ENOMEM;
	free_all(&sim);
	if (rc)
		sim_result_free(result);
	if (rc == -ENOMEM)
		snprintf(error, SIM_ERROR, "out of memory");
	return rc;
}

void sim_result_free(struct sim_result *result)
{
	free(result->spans);
	free(result->costs);
	*result = (struct sim_result){0};
}

int simulate_single(const struct sim_machine *machine, const struct sim_load *load, unsigned device,
		    uint64_t seed, uint64_t *makespan_ns, char error[SIM_ERROR])
{
	struct sim_machine alone = *machine;
	struct sim_result result;

	alone.devices[0] = machine->devices[device];
	alone.devices[0].appears_ns = alone.devices[0].leaves_ns = 0;
	alone.devices[0].alike = 0;
	alone.ndevices = 1;
	int rc =
	    simulate(&alone, load, &(struct sim_options){.policy = &policy_elastic, .seed = seed},
		     &result, error);
	*makespan_ns = result.makespan_ns;
	sim_result_free(&result);
	return rc;
}
