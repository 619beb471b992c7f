/* SPDX-License-Identifier: Apache-2.0
 *
 * What came of a simulation, in numbers.
 */
#include "scheduler/simulate_internal.h"

#include <stdlib.h>

#define WINDOW_NS 10000000.0 /* a newcomer has its part when it has it for so long */
#define STEP_NS 100000.0
#define ENOUGH 0.95

static double least(double a, double b)
{
	return a < b ? a : b;
}

static double most(double a, double b)
{
	return a > b ? a : b;
}

static double work_of(const struct sim *sim, const struct sim_span *span)
{
	return (double)sim->tenants[span->tenant].commands[span->command].base_ns;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

/* The smallest time that so many of a hundred do not exceed. */
static uint64_t percentile(const uint64_t *sorted, uint32_t n, unsigned percent)
{
	uint64_t rank = ((uint64_t)n * percent + 99) / 100;
	return n ? sorted[rank ? rank - 1 : 0] : 0;
}

static void count_spans(struct sim *sim)
{
	struct sim_result *r = sim->result;

	for (size_t i = 0; i < r->nspans; i++) {
		const struct sim_span *span = &r->spans[i];
		struct sim_tenant_result *t = &r->tenants[span->tenant];

		if (span->moved)
			continue;
		double work = work_of(sim, span);
		r->work_ns += work;
		t->work_ns += work;
		t->commands++;
		if (span->end > t->last_ns)
			t->last_ns = span->end;
	}
}

static void tenant_results(struct sim *sim, uint64_t first)
{
	for (unsigned i = 0; i < sim->load->ntenants; i++) {
		struct sim_tenant *t = &sim->tenants[i];
		struct sim_tenant_result *r = &sim->result->tenants[i];

		qsort(t->latencies, t->seen, sizeof(*t->latencies), compare);
		r->p50_ns = percentile(t->latencies, t->seen, 50);
		r->p99_ns = percentile(t->latencies, t->seen, 99);
		r->first_ns = t->desc->arrives_ns;
		r->newcomer = t->desc->arrives_ns > first;
		r->run_ns = t->state.run_ns;
		r->explored_ns = t->state.explored_ns;
	}
}

/* Each device executing the same mix of kernels, from when it is there on. */
static double speed(const struct sim *sim, const struct sim_device *d)
{
	double needs = 0;

	for (size_t i = 0; i < sim->result->nspans; i++) {
		const struct sim_span *span = &sim->result->spans[i];
		if (span->moved)
			continue;
		unsigned kernel = sim->tenants[span->tenant].commands[span->command].kernel;
		needs += work_of(sim, span) / d->rate[kernel] + (double)d->desc->launch_ns;
	}
	return needs > 0 ? sim->result->work_ns / needs * d->desc->slots : 0;
}

/* When all the work could have been done: devices come and go, between that the speed is constant.
 */
static double ideal(const struct sim *sim, uint64_t first)
{
	double speeds[POLICY_DEVICES], left = sim->result->work_ns, at = (double)first;

	for (unsigned i = 0; i < sim->machine->ndevices; i++)
		speeds[i] = speed(sim, &sim->devices[i]);
	for (;;) {
		double sum = 0, next = -1;

		for (unsigned i = 0; i < sim->machine->ndevices; i++) {
			const struct sim_device_desc *d = &sim->machine->devices[i];
			double comes = (double)d->appears_ns, goes = (double)d->leaves_ns;

			if (comes > at)
				next = next < 0 ? comes : least(next, comes);
			else if (goes <= 0 || goes > at)
				sum += speeds[i];
			if (comes <= at && goes > at)
				next = next < 0 ? goes : least(next, goes);
		}
		if (next < 0 || sum * (next - at) >= left)
			return sum > 0 ? at + left / sum - (double)first : 0;
		left -= sum * (next - at);
		at = next;
	}
}

/* One tenant's kernels in the order of their ends. */
struct own {
	const struct sim_span **spans;
	size_t n, begin; /* those before have ended before what is asked for now */
	double longest;
};

static bool own_spans(struct sim *sim, unsigned tenant, struct own *own)
{
	const struct sim_result *r = sim->result;

	*own =
	    (struct own){.spans = malloc((r->tenants[tenant].commands + 1) * sizeof(*own->spans))};
	if (!own->spans) {
		sim->lost = true;
		return false;
	}
	for (size_t i = 0; i < r->nspans; i++) {
		const struct sim_span *span = &r->spans[i];
		if (span->tenant != tenant || span->moved)
			continue;
		own->spans[own->n++] = span;
		own->longest = most(own->longest, (double)(span->end - span->start));
	}
	return true;
}

/* What it got between two moments, work or the time of devices; from never goes back. */
static double got(const struct sim *sim, struct own *own, double from, double to, bool time)
{
	double sum = 0;

	while (own->begin < own->n && (double)own->spans[own->begin]->end <= from)
		own->begin++;
	for (size_t i = own->begin; i < own->n; i++) {
		const struct sim_span *span = own->spans[i];
		double begin = (double)span->start, end = (double)span->end;

		if (end - own->longest >= to)
			break;
		if (begin >= to)
			continue;
		double inside = least(end, to) - most(begin, from);
		sum += time ? inside : work_of(sim, span) * inside / (end - begin);
	}
	return sum;
}

/* Jain's index of what all got by their weights, while all of them were there. */
static double jain(struct sim *sim)
{
	const struct sim_result *r = sim->result;
	double from = 0, to = 1e300, sum = 0, squares = 0;

	for (unsigned i = 0; i < sim->load->ntenants; i++) {
		from = most(from, (double)r->tenants[i].first_ns);
		to = least(to, (double)r->tenants[i].last_ns);
	}
	if (from >= to)
		return 0;
	for (unsigned i = 0; i < sim->load->ntenants; i++) {
		struct own own;
		if (!own_spans(sim, i, &own))
			return 0;
		double x = got(sim, &own, from, to, false) / sim->load->tenants[i].weight;
		free(own.spans);
		sum += x;
		squares += x * x;
	}
	return squares > 0 ? sum * sum / (squares * sim->load->ntenants) : 0;
}

/* Device time that tenant number n should have in a window: by weight among all that are there. */
static double part(const struct sim *sim, unsigned n, double from, double to)
{
	const struct sim_result *r = sim->result;
	double weights = 0, slots = 0;

	for (unsigned i = 0; i < sim->load->ntenants; i++)
		if ((double)r->tenants[i].first_ns < to && (double)r->tenants[i].last_ns > from)
			weights += sim->load->tenants[i].weight;
	for (unsigned i = 0; i < sim->machine->ndevices; i++) {
		const struct sim_device_desc *d = &sim->machine->devices[i];
		if ((double)d->appears_ns <= from && (!d->leaves_ns || (double)d->leaves_ns >= to))
			slots += d->slots;
	}
	return slots * sim->load->tenants[n].weight / weights * (to - from);
}

static void newcomers(struct sim *sim)
{
	for (unsigned i = 0; i < sim->load->ntenants; i++) {
		struct sim_tenant_result *r = &sim->result->tenants[i];
		double from = (double)r->first_ns;

		struct own own;

		if (!r->newcomer || !own_spans(sim, i, &own))
			continue;
		r->fair_ns = UINT64_MAX;
		for (double at = from; at + WINDOW_NS <= (double)r->last_ns; at += STEP_NS) {
			double should = part(sim, i, at, at + WINDOW_NS);
			if (got(sim, &own, at, at + WINDOW_NS, true) < ENOUGH * should)
				continue;
			r->fair_ns = (uint64_t)(at - from);
			break;
		}
		free(own.spans);
	}
}

/* All tenants of one simulation are of one trust domain: what one has not learned another has. */
static void keep_costs(struct sim *sim)
{
	const char *names[POLICY_DEVICES];
	unsigned n = sim->machine->ndevices;
	struct sim_result *r = sim->result;
	char why[POLICY_WHY];

	for (unsigned i = 0; i < n; i++)
		names[i] = sim->machine->devices[i].name;
	r->costs = malloc(POLICY_COSTS_BLOB);
	if (!r->costs) {
		sim->lost = true;
		return;
	}
	for (unsigned i = sim->load->ntenants; i-- > 0;) {
		policy_costs_note(sim->tenants[i].costs, &sim->tenants[i].state);
		r->costs_size =
		    policy_costs_save(sim->tenants[i].costs, names, n, r->costs, POLICY_COSTS_BLOB);
		if (i && r->costs_size &&
		    policy_costs_load(sim->tenants[i - 1].costs, names, n, r->costs, r->costs_size,
				      why))
			sim->lost = true;
	}
}

void sim_results(struct sim *sim)
{
	struct sim_result *r = sim->result;
	uint64_t first = UINT64_MAX, last = 0;

	for (unsigned i = 0; i < sim->load->ntenants; i++)
		if (sim->tenants[i].desc->arrives_ns < first)
			first = sim->tenants[i].desc->arrives_ns;
	count_spans(sim);
	tenant_results(sim, first);
	for (unsigned i = 0; i < sim->load->ntenants; i++)
		if (r->tenants[i].last_ns > last)
			last = r->tenants[i].last_ns;
	r->makespan_ns = last > first ? last - first : 0;
	r->ideal_ns = ideal(sim, first);
	r->jain = jain(sim);
	newcomers(sim);
	for (unsigned i = 0; i < sim->machine->ndevices; i++) {
		struct sim_device *d = &sim->devices[i];
		uint64_t here =
		    d->here_ns + (d->here && last > d->since_ns ? last - d->since_ns : 0);
		r->busy[i] = here ? d->busy_ns / ((double)here * d->desc->slots) : 0;
	}
	keep_costs(sim);
}
