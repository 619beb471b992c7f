/* SPDX-License-Identifier: Apache-2.0
 *
 * A tenant's commands from its description: which kernel, what each needs to have ended, which
 * buffers it reads and writes. Commands come in the order of their submission, and depend on
 * earlier ones only.
 */
#include "scheduler/simulate_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

uint64_t sim_random(uint64_t seed, uint64_t a, uint64_t b)
{
	uint64_t x = seed + 0x9E3779B97F4A7C15ull * (a + 1) + 0xD1B54A32D192ED03ull * (b + 1);

	x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull;
	x = (x ^ x >> 27) * 0x94D049BB133111EBull;
	return x ^ x >> 31;
}

/* Dependencies as pairs, before they are sorted by the earlier command. */
struct edges {
	uint32_t (*at)[2]; /* before, after */
	size_t n, room;
	bool lost;
};

static void edge(struct edges *edges, uint32_t before, uint32_t after)
{
	if (edges->n == edges->room) {
		size_t room = edges->room ? edges->room * 2 : 256;
		void *more = realloc(edges->at, room * sizeof(*edges->at));

		if (!more) {
			edges->lost = true;
			return;
		}
		edges->at = more;
		edges->room = room;
	}
	edges->at[edges->n][0] = before;
	edges->at[edges->n++][1] = after;
}

static void use(struct sim_command *c, uint32_t first, uint32_t count, bool reads, bool writes)
{
	c->uses[c->nuses++] =
	    (struct sim_use){.first = first, .count = count, .reads = reads, .writes = writes};
}

static void make_independent(const struct sim_tenant_desc *desc, struct sim_command *c,
			     struct edges *edges)
{
	uint32_t n = desc->buffers;

	if (!n)
		return;
	/* It works on its buffer, so it needs the command before that did so. */
	use(c, c->number % n, 1, true, true);
	if (c->number >= n)
		edge(edges, c->number - n, c->number);
}

static void make_chain(const struct sim_tenant_desc *desc, struct sim_command *c,
		       struct edges *edges)
{
	if (desc->buffers)
		use(c, c->number % desc->width, 1, true, true);
	if (c->number >= desc->width)
		edge(edges, c->number - desc->width, c->number);
}

/* Buffer 0 is what all of a round read, buffers 1 to width what each makes of it. */
static void make_fork_join(const struct sim_tenant_desc *desc, struct sim_command *c,
			   struct edges *edges)
{
	uint32_t round = desc->width + 1, place = c->number % round, first = c->number - place;

	if (place < desc->width) {
		if (desc->buffers) {
			use(c, 0, 1, true, false);
			use(c, 1 + place, 1, false, true);
		}
		if (first)
			edge(edges, first - 1, c->number);
		return;
	}
	if (desc->buffers) {
		use(c, 1, desc->width, true, false);
		use(c, 0, 1, false, true);
	}
	for (uint32_t i = first; i < c->number; i++)
		edge(edges, i, c->number);
}

/* Buffers 0 to width - 1 are the parts, the next width what neighbours need of each. */
static void make_iterative(const struct sim_tenant_desc *desc, struct sim_command *c,
			   struct edges *edges)
{
	uint32_t width = desc->width, place = c->number % width;
	uint32_t low = place ? place - 1 : 0, high = place + 1 < width ? place + 1 : place;

	if (desc->buffers) {
		use(c, place, 1, true, true);
		if (desc->halo) {
			use(c, width + low, high - low + 1, true, false);
			use(c, width + place, 1, false, true);
		}
	}
	if (c->number < width)
		return;
	/* Who still reads this one's old border is one of those that it needs anyway. */
	for (uint32_t i = low; i <= high; i++)
		edge(edges, c->number - place - width + i, c->number);
}

static void make_recorded(const struct sim_tenant_desc *desc, struct sim_command *c,
			  struct edges *edges)
{
	const struct sim_recorded *from = &desc->recorded[c->number];

	c->kernel = (uint16_t)from->kernel;
	c->items = from->items;
	c->base_ns = from->time_ns;
	for (uint32_t i = 0; i < from->ndeps; i++)
		edge(edges, from->deps[i], c->number);
}

static unsigned kernel_of(const struct sim_tenant_desc *desc, const struct sim_command *c,
			  uint64_t seed)
{
	uint32_t n = desc->nkernels, number = c->number;

	if (desc->mix)
		return desc->kernels[sim_random(seed, c->tenant, number) % n];
	switch (desc->shape) {
	case SIM_CHAIN:
	case SIM_ITERATIVE:
		return desc->kernels[number / desc->width % n];
	case SIM_FORK_JOIN: /* the last one joins */
		if (number % (desc->width + 1) == desc->width || n == 1)
			return desc->kernels[n - 1];
		return desc->kernels[number % (desc->width + 1) % (n - 1)];
	default:
		return desc->kernels[number % n];
	}
}

static void make(const struct sim_load *load, const struct sim_tenant_desc *desc, uint64_t seed,
		 struct sim_command *c, struct edges *edges)
{
	static void (*const shapes[])(const struct sim_tenant_desc *, struct sim_command *,
				      struct edges *) = {
	    [SIM_INDEPENDENT] = make_independent, [SIM_CHAIN] = make_chain,
	    [SIM_FORK_JOIN] = make_fork_join,	  [SIM_ITERATIVE] = make_iterative,
	    [SIM_RECORDED] = make_recorded,
	};

	if (desc->shape != SIM_RECORDED) {
		const struct sim_kernel *kernel = &load->kernels[kernel_of(desc, c, seed)];
		double r = (double)(sim_random(seed + 1, c->tenant, c->number) >> 11) * 0x1p-53;

		c->kernel = (uint16_t)(kernel - load->kernels);
		c->items = kernel->items;
		c->base_ns =
		    (uint64_t)((double)kernel->time_ns * (1 + kernel->jitter * (2 * r - 1)));
	}
	shapes[desc->shape](desc, c, edges);
}

static unsigned count_buffers(const struct sim_tenant_desc *desc)
{
	if (!desc->buffers)
		return 0;
	switch (desc->shape) {
	case SIM_INDEPENDENT:
		return desc->buffers;
	case SIM_CHAIN:
		return desc->width;
	case SIM_FORK_JOIN:
		return desc->width + 1;
	case SIM_ITERATIVE:
		return 2 * desc->width;
	default:
		return 0;
	}
}

/* Successors of each command, side by side. */
static int sort_edges(struct sim_tenant *t, const struct edges *edges)
{
	t->nafter = calloc(t->ncommands + 2, sizeof(*t->nafter));
	t->after = calloc(edges->n + 1, sizeof(*t->after));
	if (!t->nafter || !t->after)
		return -ENOMEM;
	for (size_t i = 0; i < edges->n; i++) {
		t->nafter[edges->at[i][0] + 2]++;
		t->commands[edges->at[i][1]].waits++;
	}
	for (uint32_t i = 1; i < t->ncommands + 2; i++)
		t->nafter[i] += t->nafter[i - 1];
	for (size_t i = 0; i < edges->n; i++)
		t->after[t->nafter[edges->at[i][0] + 1]++] = edges->at[i][1];
	return 0;
}

int sim_commands(const struct sim_load *load, const struct sim_tenant_desc *desc, unsigned tenant,
		 uint64_t seed, struct sim_tenant *t)
{
	struct edges edges = {0};

	t->desc = desc;
	t->ncommands = desc->launches;
	t->nbuffers = count_buffers(desc);
	t->commands = calloc(t->ncommands + 1, sizeof(*t->commands));
	t->buffers = calloc(t->nbuffers + 1, sizeof(*t->buffers));
	t->latencies = calloc(t->ncommands + 1, sizeof(*t->latencies));
	if (!t->commands || !t->buffers || !t->latencies)
		return -ENOMEM;
	for (uint32_t i = 0; i < t->ncommands; i++) {
		t->commands[i].number = i;
		t->commands[i].tenant = (uint16_t)tenant;
		make(load, desc, seed, &t->commands[i], &edges);
	}
	for (unsigned i = 0; i < t->nbuffers; i++) {
		bool halo = desc->shape == SIM_ITERATIVE && i >= desc->width;
		t->buffers[i] = (struct sim_buffer){.bytes = halo ? desc->halo : desc->bytes,
						    .valid = 1u << HOME};
	}
	int rc = edges.lost ? -ENOMEM : sort_edges(t, &edges);
	free(edges.at);
	return rc;
}
