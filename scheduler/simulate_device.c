/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated devices: data that is fetched, written back and evicted over each device's link,
 * and kernels that start when it is their tenant's turn.
 */
#include "scheduler/simulate_internal.h"

static unsigned place_of(const struct sim *sim, unsigned device)
{
	return sim->devices[device].desc->discrete ? device : HOME;
}

#define EACH_BUFFER(t, c, b)                                                             \
	for (const struct sim_use *use = (c)->uses; use < (c)->uses + (c)->nuses; use++) \
		for (struct sim_buffer *b = &(t)->buffers[use->first];                   \
		     b < &(t)->buffers[use->first + use->count]; b++)

uint64_t sim_missing(const struct sim *sim, const struct sim_command *c, unsigned device)
{
	const struct sim_tenant *t = &sim->tenants[c->tenant];
	unsigned place = place_of(sim, device);
	uint64_t bytes = 0;

	EACH_BUFFER(t, c, b)
	{
		if (use->reads && !(b->valid >> place & 1))
			bytes += b->bytes;
	}
	return bytes;
}

/* One at a time in each direction. Return: when it has ended. */
static uint64_t transfer(struct sim *sim, struct sim_command *c, unsigned device, bool out,
			 uint64_t bytes, uint64_t not_before)
{
	struct sim_device *d = &sim->devices[device];
	uint64_t start = sim->now > not_before ? sim->now : not_before;
	uint64_t ns = d->desc->latency_ns + (uint64_t)((double)bytes / d->desc->bytes_per_ns);

	if (d->link[out] > start)
		start = d->link[out];
	d->link[out] = start + ns;
	sim_span(sim, &(struct sim_span){.start = start,
					 .end = start + ns,
					 .command = c->number,
					 .tenant = c->tenant,
					 .kernel = c->kernel,
					 .device = device,
					 .moved = out ? 2 : 1,
					 .bytes = bytes});
	sim->result->moved_bytes += bytes;
	c->move_ns += out ? 0 : ns;
	return start + ns;
}

/* Home, if it is not there. */
static void bring_home(struct sim *sim, struct sim_command *c, struct sim_buffer *b)
{
	if (b->valid >> HOME & 1)
		return;
	unsigned from = (unsigned)__builtin_ctz(b->valid);
	b->ready[HOME] = transfer(sim, c, from, true, b->bytes, b->ready[from]);
	b->valid |= 1u << HOME;
}

static void leave(struct sim *sim, struct sim_buffer *b, unsigned device)
{
	b->valid &= ~(1u << device);
	sim->devices[device].used -= b->bytes;
}

/* The buffer there that nobody uses and nobody has used for the longest time; this tenant's own
 * ones first. */
static struct sim_buffer *victim(const struct sim *sim, const struct sim_tenant *own,
				 unsigned device)
{
	struct sim_buffer *best = NULL;

	for (unsigned i = 0; i <= sim->load->ntenants; i++) {
		const struct sim_tenant *t = i ? &sim->tenants[i - 1] : own;

		for (unsigned n = 0; n < t->nbuffers; n++) {
			struct sim_buffer *b = &t->buffers[n];
			if ((b->valid >> device & 1) && !b->pins[device] &&
			    (!best || b->used[device] < best->used[device]))
				best = b;
		}
		if (best)
			return best;
	}
	return NULL;
}

/* Where everything there is in use the memory is exceeded: this is no simulation of failures. */
static void make_room(struct sim *sim, struct sim_command *c, unsigned device, uint64_t bytes)
{
	struct sim_device *d = &sim->devices[device];
	struct sim_buffer *b;

	while (d->desc->memory && d->used + bytes > d->desc->memory &&
	       (b = victim(sim, &sim->tenants[c->tenant], device))) {
		if (b->valid == 1u << device)
			bring_home(sim, c, b);
		leave(sim, b, device);
		sim->result->evictions++;
	}
	d->used += bytes;
}

/* Return: bytes that move to the device because of this. */
static uint64_t fetch(struct sim *sim, struct sim_command *c, struct sim_buffer *b, unsigned place)
{
	if (b->valid >> place & 1)
		return 0;
	bring_home(sim, c, b);
	if (place == HOME)
		return b->bytes;
	make_room(sim, c, place, b->bytes);
	b->ready[place] = transfer(sim, c, place, false, b->bytes, b->ready[HOME]);
	b->valid |= 1u << place;
	return b->bytes;
}

static void only_there(struct sim *sim, struct sim_command *c, struct sim_buffer *b, unsigned place)
{
	for (unsigned device = 0; device < POLICY_DEVICES; device++)
		if (device != place && (b->valid >> device & 1))
			leave(sim, b, device);
	if (place != HOME && !(b->valid >> place & 1))
		make_room(sim, c, place, b->bytes);
	b->valid = 1u << place;
}

static void pin(struct sim *sim, struct sim_command *c, int by)
{
	struct sim_tenant *t = &sim->tenants[c->tenant];
	unsigned place = place_of(sim, c->device);

	EACH_BUFFER(t, c, b)
	{
		b->used[place] = sim->now;
		if (place != HOME)
			b->pins[place] = (uint16_t)(b->pins[place] + by);
	}
}

void sim_unpin(struct sim *sim, struct sim_command *c)
{
	pin(sim, c, -1);
}

/* ---- execution ------------------------------------------------------------------------------ */

static double share_of(const struct sim_tenant *t, unsigned device)
{
	uint32_t share = t->lease.lease[device].share;
	return share ? (double)share / LEASE_SHARE : 1.0 / LEASE_SHARE;
}

static void start(struct sim *sim, unsigned device, struct sim_tenant *t)
{
	struct sim_device *d = &sim->devices[device];
	struct sim_queue *queue = &t->queues[device];
	struct sim_command *c = queue->first;
	double ns = (double)c->base_ns / d->rate[c->kernel];

	queue->first = c->next;
	queue->running++;
	d->busy++;
	d->tag = queue->tag;
	/* How long it will take is not known to the device; when it has ended this is put right. */
	queue->tag += queue->usual_ns / share_of(t, device);
	c->start_ns = sim->now;
	c->end_ns = sim->now + (uint64_t)ns + d->desc->launch_ns;
	sim_event(sim, c->end_ns, EVENT_END, device, c);
}

/* Who has had least of its part; the first of equals. */
static struct sim_tenant *whose_turn(const struct sim *sim, unsigned device)
{
	struct sim_tenant *best = NULL;

	for (unsigned i = 0; i < sim->load->ntenants; i++) {
		struct sim_tenant *t = &sim->tenants[i];
		if (t->queues[device].first &&
		    (!best || t->queues[device].tag < best->queues[device].tag))
			best = t;
	}
	return best;
}

static void start_some(struct sim *sim, unsigned device)
{
	struct sim_tenant *t;

	while (sim->devices[device].busy < sim->devices[device].desc->slots &&
	       (t = whose_turn(sim, device)))
		start(sim, device, t);
}

void sim_data(struct sim *sim, struct sim_command *c)
{
	struct sim_tenant *t = &sim->tenants[c->tenant];
	struct sim_queue *queue = &t->queues[c->device];

	if (c->move_ns)
		policy_moved(&t->devices[c->device], c->moving, c->move_ns);
	t->devices[c->device].moving -= c->moving;
	c->moving = c->move_ns = 0;
	c->next = NULL;
	/* Who had nothing to do has not saved time for later. */
	if (!queue->first && !queue->running && queue->tag < sim->devices[c->device].tag)
		queue->tag = sim->devices[c->device].tag;
	if (queue->first)
		queue->last->next = c;
	else
		queue->first = c;
	queue->last = c;
	start_some(sim, c->device);
}

void sim_give(struct sim *sim, struct sim_command *c, unsigned device)
{
	struct sim_tenant *t = &sim->tenants[c->tenant];
	unsigned place = place_of(sim, device);
	uint64_t ready = sim->now;

	c->device = (uint8_t)device;
	pin(sim, c, 1);
	EACH_BUFFER(t, c, b)
	{
		if (!use->reads)
			continue;
		c->moving += fetch(sim, c, b, place);
		if (b->ready[place] > ready)
			ready = b->ready[place];
	}
	EACH_BUFFER(t, c, b)
	{
		if (!use->writes)
			continue;
		only_there(sim, c, b, place);
		b->ready[place] = ready;
	}
	t->devices[device].moving += c->moving;
	if (ready > sim->now)
		sim_event(sim, ready, EVENT_DATA, device, c);
	else
		sim_data(sim, c);
}

void sim_end(struct sim *sim, struct sim_command *c)
{
	struct sim_device *d = &sim->devices[c->device];
	struct sim_tenant *t = &sim->tenants[c->tenant];
	struct sim_queue *queue = &t->queues[c->device];
	double ns = (double)(c->end_ns - c->start_ns);

	d->busy--;
	d->busy_ns += ns;
	queue->running--;
	queue->tag += (ns - queue->usual_ns) / share_of(t, c->device);
	queue->usual_ns += (ns - queue->usual_ns) * 0.25;
	sim_span(sim, &(struct sim_span){.start = c->start_ns,
					 .end = c->end_ns,
					 .command = c->number,
					 .tenant = c->tenant,
					 .kernel = c->kernel,
					 .device = c->device});
	start_some(sim, c->device);
}

/* It goes: what is only there comes home. What runs there ends, and is fetched when it is needed.
 */
void sim_drain(struct sim *sim, unsigned device)
{
	for (unsigned i = 0; i < sim->load->ntenants; i++) {
		struct sim_tenant *t = &sim->tenants[i];

		for (unsigned n = 0; n < t->nbuffers; n++) {
			struct sim_buffer *b = &t->buffers[n];
			if (b->valid != 1u << device || b->pins[device])
				continue;
			bring_home(sim, &t->commands[0], b);
			leave(sim, b, device);
		}
	}
}
