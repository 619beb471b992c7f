/* SPDX-License-Identifier: Apache-2.0
 *
 * See lease.h. First every active tenant's part of every device is found: by weight, and, where
 * tenants may have different devices, so that the sums over all devices are as equal as that
 * permits (max-min). Elastic then packs these sums into whole devices, beginning with what each
 * tenant has already. Shares are relative on each device, so a rounding error costs nobody
 * anything.
 */
#include "scheduler/lease.h"

#include <string.h>

#define ROUNDS 24
#define CRUMB (1.0f / 64) /* of a device: less is not worth moving data for */

/* One decision. Parts are of a device, 0 to 1. */
struct problem {
	struct lease_tenant *const *tenants;
	unsigned ntenants;
	uint32_t devices;
	uint64_t now_ns;
	uint32_t was_active[LEASE_TENANTS / 32]; /* before this decision */
	float part[LEASE_TENANTS][LEASE_DEVICES];
	float need[LEASE_TENANTS], left[LEASE_DEVICES]; /* elastic: not given out yet */
	float given[LEASE_TENANTS][LEASE_DEVICES];
};

static bool has(uint32_t mask, unsigned device)
{
	return mask >> device & 1;
}

enum lease_mode lease_mode(const char *policy)
{
	if (strcmp(policy, "fair") == 0)
		return LEASE_FAIR;
	return strcmp(policy, "elastic") == 0 ? LEASE_ELASTIC : LEASE_EVERYBODY;
}

static float smaller(float a, float b)
{
	return a < b ? a : b;
}

static uint32_t usable(const struct problem *p, unsigned tenant)
{
	return p->devices & p->tenants[tenant]->allowed & ((1u << LEASE_DEVICES) - 1);
}

static bool was_active(const struct problem *p, unsigned tenant)
{
	return p->was_active[tenant / 32] >> (tenant % 32) & 1;
}

static float urgent(const struct lease_tenant *tenant)
{
	float weight = (float)tenant->weight;

	return tenant->urgency > 0 ? 4 * weight : tenant->urgency < 0 ? weight / 4 : weight;
}

void lease_weigh(struct lease_tenant *const *tenants, unsigned ntenants)
{
	float scale[LEASE_TENANTS];
	bool any = false;

	for (unsigned i = 0; i < ntenants; i++)
		any |= tenants[i]->urgency != 0;
	if (!any || ntenants > LEASE_TENANTS)
		return;
	for (unsigned i = 0; i < ntenants; i++) {
		float plain = 0, wanted = 0;

		for (unsigned j = 0; j < ntenants; j++) {
			if (tenants[j]->domain != tenants[i]->domain || !tenants[j]->working)
				continue;
			plain += (float)tenants[j]->weight;
			wanted += urgent(tenants[j]);
		}
		scale[i] = wanted > plain ? plain / wanted : 1;
	}
	for (unsigned i = 0; i < ntenants; i++) {
		float weight = urgent(tenants[i]) * scale[i] + 0.5f;

		tenants[i]->weight = weight < 1 ? 1 : (uint32_t)weight;
	}
}

/* Who works now, and who stopped long enough ago. Return: ns until the next of them has. */
static uint64_t note_activity(struct problem *p)
{
	uint64_t again = 0;

	for (unsigned i = 0; i < p->ntenants; i++) {
		struct lease_tenant *t = p->tenants[i];

		if (t->active)
			p->was_active[i / 32] |= 1u << (i % 32);
		if (t->working) {
			t->active = true;
			t->worked_ns = p->now_ns;
			continue;
		}
		uint64_t idle = p->now_ns - t->worked_ns;
		if (!t->active)
			continue;
		t->active = idle < LEASE_LINGER_NS;
		if (t->active && (!again || LEASE_LINGER_NS - idle < again))
			again = LEASE_LINGER_NS - idle;
	}
	return again;
}

/* By weight on every device. Return: may all that are counted have the same devices? */
static bool split_by_weight(struct problem *p, bool active_only)
{
	float sum[LEASE_DEVICES] = {0};
	uint32_t first = 0;
	bool any = false, alike = true;

	for (unsigned i = 0; i < p->ntenants; i++) {
		if (active_only && !p->tenants[i]->active)
			continue;
		for (unsigned d = 0; d < LEASE_DEVICES; d++)
			if (has(usable(p, i), d))
				sum[d] += (float)p->tenants[i]->weight;
		if (!any)
			first = usable(p, i);
		any = true;
		alike = alike && usable(p, i) == first;
	}
	for (unsigned i = 0; i < p->ntenants; i++) {
		if (active_only && !p->tenants[i]->active)
			continue;
		for (unsigned d = 0; d < LEASE_DEVICES; d++)
			if (has(usable(p, i), d))
				p->part[i][d] = (float)p->tenants[i]->weight / sum[d];
	}
	return alike;
}

static float sum_of(const float *parts)
{
	float sum = 0;

	for (unsigned d = 0; d < LEASE_DEVICES; d++)
		sum += parts[d];
	return sum;
}

/* Who has more than others for its weight gets less of each device that it shares with them, until
 * nobody has. */
static void level(struct problem *p)
{
	for (int round = 0; round < ROUNDS; round++) {
		float sum[LEASE_DEVICES] = {0};

		for (unsigned i = 0; i < p->ntenants; i++) {
			float total = sum_of(p->part[i]) / (float)p->tenants[i]->weight;

			if (total <= 0)
				continue;
			for (unsigned d = 0; d < LEASE_DEVICES; d++)
				if (has(usable(p, i), d)) {
					p->part[i][d] /= total * total;
					sum[d] += p->part[i][d];
				}
		}
		for (unsigned i = 0; i < p->ntenants; i++)
			for (unsigned d = 0; d < LEASE_DEVICES; d++)
				if (has(usable(p, i), d))
					if (sum[d] > 0)
						p->part[i][d] /= sum[d];
	}
}

/* In this order tenants take devices, until they have their part. */
enum pass {
	PASS_KEEP, /* what they have now, so that the same question has the same answer */
	PASS_GROW, /* more of it */
	PASS_NEW,  /* what is most free */
};

/* The device of these of which the tenant has most, or of which most is left; -1: none is. */
static int pick_device(const struct problem *p, unsigned tenant, uint32_t among, enum pass pass)
{
	int best = -1;
	float most = 0;

	for (unsigned d = 0; d < LEASE_DEVICES; d++) {
		float value =
		    pass == PASS_NEW ? p->left[d] : (float)p->tenants[tenant]->lease[d].share;

		if (!has(among, d) || p->left[d] < CRUMB || value <= most)
			continue;
		most = value;
		best = (int)d;
	}
	return best;
}

static void take(struct problem *p, unsigned tenant, enum pass pass)
{
	uint32_t among = usable(p, tenant);
	int d;

	while (p->need[tenant] >= CRUMB && (d = pick_device(p, tenant, among, pass)) >= 0) {
		float amount = smaller(p->need[tenant], p->left[d]);

		if (pass == PASS_KEEP)
			amount = smaller(amount,
					 (float)p->tenants[tenant]->lease[d].share / LEASE_SHARE);
		p->given[tenant][d] += amount;
		p->left[d] -= amount;
		p->need[tenant] -= amount;
		among &= ~(1u << d);
	}
}

/* Where it may be, but where others have taken everything: beside them, as much as it lacks. */
static void squeeze_in(struct problem *p, unsigned tenant)
{
	float sum = sum_of(p->part[tenant]);

	for (unsigned d = 0; d < LEASE_DEVICES; d++)
		p->given[tenant][d] += p->part[tenant][d] * p->need[tenant] / sum;
}

/* The active tenant that may use a device and has least for its weight; -1: there is none. */
static int poorest(const struct problem *p, unsigned device)
{
	int least = -1;
	float value = 0;

	for (unsigned i = 0; i < p->ntenants; i++) {
		float total = sum_of(p->given[i]) / (float)p->tenants[i]->weight;

		if (!p->tenants[i]->active || !has(usable(p, i), device) ||
		    (least >= 0 && total >= value))
			continue;
		least = (int)i;
		value = total;
	}
	return least;
}

/* What did not fit: tenants that lack something, devices that nobody has taken. */
static void give_rest(struct problem *p)
{
	for (unsigned i = 0; i < p->ntenants; i++)
		if (p->need[i] >= CRUMB || (p->need[i] > 0 && sum_of(p->given[i]) <= 0))
			squeeze_in(p, i);
	for (unsigned d = 0; d < LEASE_DEVICES; d++) {
		int tenant = p->left[d] >= 1 ? poorest(p, d) : -1;

		if (tenant >= 0)
			p->given[tenant][d] += 1;
	}
}

/* The parts' sums in whole devices. */
static void pack(struct problem *p)
{
	for (unsigned d = 0; d < LEASE_DEVICES; d++)
		if (has(p->devices, d))
			p->left[d] = 1;
	for (unsigned i = 0; i < p->ntenants; i++)
		p->need[i] = sum_of(p->part[i]);
	/* Who has been there first, then who comes takes where it has stood by. */
	for (unsigned i = 0; i < p->ntenants; i++)
		if (was_active(p, i))
			take(p, i, PASS_KEEP);
	for (unsigned i = 0; i < p->ntenants; i++)
		if (was_active(p, i))
			take(p, i, PASS_GROW);
	for (unsigned i = 0; i < p->ntenants; i++)
		take(p, i, PASS_GROW);
	for (unsigned i = 0; i < p->ntenants; i++)
		take(p, i, PASS_NEW);
	give_rest(p);
	memcpy(p->part, p->given, sizeof(p->part));
}

/* A tenant without work stands by: where there is least to do, and for elastic on no more devices
 * than it would get. The last ones first: who shrinks keeps its first ones. */
static void stand_by(struct problem *p, unsigned tenant, bool elastic)
{
	const struct lease_tenant *t = p->tenants[tenant];
	float load[LEASE_DEVICES] = {0}, weights = (float)t->weight;
	unsigned ndevices = (unsigned)__builtin_popcount(usable(p, tenant)), count = ndevices;
	uint32_t among = usable(p, tenant);

	for (unsigned i = 0; i < p->ntenants; i++) {
		if (!p->tenants[i]->active)
			continue;
		weights += (float)p->tenants[i]->weight;
		for (unsigned d = 0; d < LEASE_DEVICES; d++)
			load[d] += p->part[i][d] >= CRUMB ? (float)p->tenants[i]->weight : 0;
	}
	if (elastic && ndevices)
		count = (unsigned)((float)ndevices * (float)t->weight / weights + 1 - CRUMB) ?: 1;
	for (; count && among; count--) {
		unsigned best = LEASE_DEVICES;

		for (unsigned d = LEASE_DEVICES; d-- > 0;)
			if (among >> d & 1 && (best == LEASE_DEVICES || load[d] < load[best]))
				best = d;
		/* As the only newcomer: the others have 1 together. */
		p->part[tenant][best] = smaller((float)t->weight / (load[best] + 1e-6f), 1);
		among &= ~(1u << best);
	}
}

/* Powers of two, left alone while they are about right: averages move all the time. */
static uint32_t depth_for(enum lease_mode mode, uint64_t command_ns, uint32_t present)
{
	uint32_t depth = 2;

	if (mode == LEASE_EVERYBODY)
		return LEASE_DEPTH_MAX;
	if (!command_ns)
		return present ? present : 8;
	uint64_t fits = LEASE_DEPTH_NS / command_ns;
	if (present && fits * 3 >= present * 2ull && fits < present * 3ull)
		return present;
	while (depth < LEASE_DEPTH_MAX && depth * 2ull <= fits)
		depth *= 2;
	return depth;
}

static void write_shares(const struct problem *p)
{
	for (unsigned i = 0; i < p->ntenants; i++) {
		for (unsigned d = 0; d < LEASE_DEVICES; d++) {
			float part = has(usable(p, i), d) ? p->part[i][d] : 0;
			uint32_t share = (uint32_t)(smaller(part, 1) * LEASE_SHARE + 0.5f);

			p->tenants[i]->lease[d].share = part > 0 && !share ? 1 : share;
		}
	}
}

static void write_depths(const struct problem *p, enum lease_mode mode)
{
	for (unsigned i = 0; i < p->ntenants; i++) {
		for (unsigned d = 0; d < LEASE_DEVICES; d++) {
			struct lease *lease = &p->tenants[i]->lease[d];

			lease->depth =
			    lease->share ? depth_for(mode, p->tenants[i]->command_ns, lease->depth)
					 : 0;
		}
	}
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
	return hash ^ hash >> 29;
}

/* Is it what was decided last time? The tenants remember. Packing again what has been packed could
 * come to something else, and nobody should get and lose devices for that. */
static bool same_question(const struct problem *p, enum lease_mode mode)
{
	uint64_t hash = mix(mix(mode + 1, p->devices), p->ntenants);
	bool same = true;

	for (unsigned i = 0; i < p->ntenants; i++) {
		const struct lease_tenant *t = p->tenants[i];

		hash =
		    mix(hash, (uint64_t)t->weight << 33 | (uint64_t)usable(p, i) << 1 | t->active);
	}
	for (unsigned i = 0; i < p->ntenants; i++) {
		/* Who has a new place among the others was not there. */
		uint64_t own = mix(hash, i) | 1;

		same &= p->tenants[i]->question == own;
		p->tenants[i]->question = own;
	}
	return same;
}

/* More tenants than there is room for here: they are treated alike. */
static void write_surplus(uint32_t devices, struct lease_tenant *const *tenants, unsigned first,
			  unsigned end)
{
	for (unsigned i = first; i < end; i++)
		for (unsigned d = 0; d < LEASE_DEVICES; d++)
			tenants[i]->lease[d] = (tenants[i]->allowed & devices) >> d & 1
						   ? (struct lease){LEASE_SHARE / LEASE_TENANTS, 2}
						   : (struct lease){0};
}

uint64_t lease_decide(enum lease_mode mode, uint32_t devices, struct lease_tenant *const *tenants,
		      unsigned ntenants, uint64_t now_ns)
{
	struct problem p = {.tenants = tenants,
			    .ntenants = ntenants < LEASE_TENANTS ? ntenants : LEASE_TENANTS,
			    .devices = devices,
			    .now_ns = now_ns};
	uint64_t again = note_activity(&p);

	/* Nothing that counts has changed: only how long commands take. */
	if (same_question(&p, mode)) {
		write_depths(&p, mode);
		return again;
	}
	bool alike = split_by_weight(&p, mode != LEASE_EVERYBODY);
	if (mode != LEASE_EVERYBODY && !alike)
		level(&p);
	if (mode == LEASE_ELASTIC)
		pack(&p);
	if (mode != LEASE_EVERYBODY)
		for (unsigned i = 0; i < p.ntenants; i++)
			if (!tenants[i]->active)
				stand_by(&p, i, mode == LEASE_ELASTIC);
	write_shares(&p);
	write_depths(&p, mode);
	write_surplus(devices, tenants, p.ntenants, ntenants);
	return again;
}
