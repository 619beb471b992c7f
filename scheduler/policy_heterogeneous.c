/* SPDX-License-Identifier: Apache-2.0
 *
 * Policy "heterogeneous": unlike devices. For each candidate: when it will have finished what it
 * has (backlog), when the data could be there (transfer), how long the kernel executes there
 * (learned). It does not simply take the earliest end: a device's time is worth the more the more
 * is to be done there, so the launch goes where it adds least to the sum of (time until the device
 * is free)^3. With idle devices that is the earliest end; where work queues up, devices do what
 * they are comparatively good at.
 *
 * What would wait in a device's queue for long rather waits unbound (POLICY_WAIT), and takes its
 * place in the accounts of that pass.
 *
 * Learning: a device of which nothing is known for this kernel and size is tried, and one that was
 * not the choice for long is tried again, as long as what that presumably costs stays below 2 % of
 * what was executed; a try that took longer than foreseen is charged for it.
 */
#include "scheduler/policy.h"

#include <string.h>

#define NONE POLICY_DEVICES
#define ALL ((1u << POLICY_DEVICES) - 1)

#define EXPLORE_SHARE 50 /* one part of so many of what was executed */
#define EXPLORE_FIRST                                                                              \
	16		   /* launches until another device is tried again; doubles with every try \
			    */
#define EXPLORE_LAST 16384 /* that changes nothing */
#define SLOW 8		   /* what is thought of an unknown device, to be safe */

struct option {
	float backlog, transfer, ready; /* when the device is, the data, and both are */
	float ns, score;		/* execution; price */
	bool known;
};

struct options {
	uint32_t set;  /* those that were looked at */
	bool any;      /* something is known of one of them */
	unsigned best; /* of the known ones */
	struct option at[POLICY_DEVICES];
};

static float cube(float x)
{
	return x * x * x;
}

/* What it adds; a device that has to wait for data has its time taken, too. Milliseconds: powers of
 * nanoseconds would leave the range of a float. */
static float price(const struct option *option)
{
	return cube((option->ready + option->ns) * 1e-6f) - cube(option->backlog * 1e-6f);
}

/* The same if the data were there. */
static float price_there(const struct option *option)
{
	return cube((option->backlog + option->ns) * 1e-6f) - cube(option->backlog * 1e-6f);
}

static void look(struct policy_state *state, const struct policy_launch *launch,
		 struct options *options)
{
	options->set = policy_one_in_place(state, launch);
	options->best = NONE;
	options->any = false;
	POLICY_FOR_EACH(device, options->set)
	{
		struct option *o = &options->at[device];
		float backlog = policy_backlog(&launch->devices[device], launch->now_ns) +
				state->reserved[device];
		float transfer = policy_transfer(launch, device);

		o->backlog = backlog;
		o->transfer = transfer;
		o->ready = transfer > backlog ? transfer : backlog;
		o->ns = policy_estimate(state, launch, device, &o->known) *
			policy_stretch(&launch->devices[device]);
		o->score = price(o);
		options->any |= o->ns > 0;
		if (o->known &&
		    (options->best == NONE || o->score < options->at[options->best].score))
			options->best = device;
	}
}

/* Of this kernel nothing is known at all: the device that is the fastest on the whole, if it is not
 * far behind; else one that has the data. Of those of one make the one with least to do. */
static unsigned first_guess(const struct policy_state *state, const struct policy_launch *launch,
			    const struct options *options)
{
	const struct policy_device *devices = launch->devices;
	unsigned best = NONE;
	float least = 0;

	POLICY_FOR_EACH(device, options->set)
	{
		float slower = state->slower[device] > 0 ? state->slower[device] : 1e3f;
		float cost = slower * (1 + policy_transfer(launch, device) * 1e-6f);
		bool alike = best != NONE && devices[best].alike &&
			     devices[best].alike == devices[device].alike;

		if (best == NONE ||
		    (alike ? devices[device].queued < devices[best].queued : cost < least)) {
			best = device;
			least = cost;
		}
	}
	return best;
}

static float end_of(const struct option *option)
{
	return option->ready + option->ns;
}

static float later(float end, const struct option *best)
{
	return end > end_of(best) ? end - end_of(best) : 0;
}

/* What trying it presumably costs: so much later than on the best it ends. Where not even the speed
 * of the device is known: all of it; unless so much waits for the best that even a slow device
 * would be done before. */
static float extra(const struct policy_state *state, const struct options *options, unsigned device)
{
	const struct option *o = &options->at[device], *best = &options->at[options->best];

	/* What is moved there has to come back. */
	float end = end_of(o) + o->transfer;
	if (o->known || state->slower[device] > 0)
		return later(end, best);
	float slow = later(end + o->ns * (SLOW - 1), best);
	return slow < end ? slow : end;
}

/* The device to be tried: an unknown one, or, when it is time, the next in turn. */
static unsigned to_try(const struct policy_launch *launch, const struct options *options)
{
	struct policy_cost *cost = launch->cost;
	unsigned bucket = policy_bucket(launch->items);

	/* One at a time, until it is known or has obviously been lost. */
	POLICY_FOR_EACH(device, options->set)
	{
		if (!options->at[device].known && policy_room(&launch->devices[device]) &&
		    (cost->trying[bucket] != device + 1 || cost->since[bucket] >= EXPLORE_FIRST))
			return device;
	}
	uint16_t pause = cost->pause[bucket] ? cost->pause[bucket] : EXPLORE_FIRST;
	if (cost->since[bucket] < pause)
		return NONE;
	uint32_t others = options->set & ~(1u << options->best);
	uint32_t later = others & (ALL << cost->tried[bucket]);
	if (!others)
		return NONE;
	unsigned device = policy_first(later ? later : others);
	/* Where its data is so far away nothing could be won. */
	if (options->at[device].transfer > end_of(&options->at[options->best]))
		return NONE;
	return policy_room(&launch->devices[device]) ? device : NONE;
}

static unsigned explore(struct policy_state *state, const struct policy_launch *launch,
			const struct options *options)
{
	struct policy_cost *cost = launch->cost;
	unsigned bucket = policy_bucket(launch->items), device = to_try(launch, options);

	if (device == NONE)
		return NONE;
	float price = extra(state, options, device);
	if ((float)state->explored_ns + price > (float)state->run_ns / EXPLORE_SHARE)
		return NONE;
	state->explored_ns += (uint64_t)price;
	if (!options->at[device].known) {
		cost->trying[bucket] = (uint8_t)(device + 1);
		cost->since[bucket] = 0;
	} else {
		uint16_t pause = cost->pause[bucket] ? cost->pause[bucket] : EXPLORE_FIRST;
		cost->pause[bucket] = pause < EXPLORE_LAST ? pause * 2 : EXPLORE_LAST;
		cost->since[bucket] = 0;
		cost->tried[bucket] = (uint8_t)(device + 1);
	}
	return device;
}

/* The choice has changed: what was learned before is worth less now. */
static void note_choice(struct policy_cost *cost, unsigned bucket, unsigned device)
{
	uint8_t choice = (uint8_t)(device + 1);

	if (cost->choice[bucket] != choice) {
		cost->choice[bucket] = choice;
		cost->pause[bucket] = 0;
	}
	if (cost->since[bucket] < UINT16_MAX)
		cost->since[bucket]++;
}

/* Where the data is: what is nearest to it. */
static const struct option *place_of(const struct options *options)
{
	const struct option *here = &options->at[options->best];

	POLICY_FOR_EACH(device, options->set)
	{
		const struct option *o = &options->at[device];
		if (o->known && o->transfer < here->transfer)
			here = o;
	}
	return here;
}

/*
 * Data stays where it is as long as a single launch is not worth moving it, but a hundred may be.
 * Each launch tells what it would win elsewhere or lose; when for a device that has come to more
 * than the way there and back costs, it is taken (as one buys skis when renting them has come to
 * their price). Over all kernels: those that would rather stay count as well. Wherever data moves,
 * all that begins anew.
 */
static unsigned move(struct policy_state *state, const struct options *options)
{
	const struct option *here = place_of(options);
	unsigned chosen = options->best;

	POLICY_FOR_EACH(device, options->set)
	{
		const struct option *o = &options->at[device];
		float *won = &state->won[device];

		if (!o->known || o->transfer <= 2 * here->transfer)
			continue;
		*won += here->backlog + here->ns - (o->backlog + o->ns);
		*won = *won > 0 ? *won : 0;
		if (*won > 2 * o->transfer && chosen == options->best &&
		    price_there(o) < options->at[chosen].score)
			chosen = device;
	}
	if (options->at[chosen].transfer > 2 * here->transfer)
		memset(state->won, 0, sizeof(state->won));
	return chosen;
}

static unsigned pick(struct policy_state *state, const struct policy_launch *launch)
{
	struct options options;
	unsigned chosen;

	state->unlike = true;
	if (!launch->held)
		policy_reserve(state, NONE, 0);
	look(state, launch, &options);
	if (options.best == NONE) {
		chosen = first_guess(state, launch, &options);
	} else {
		unsigned tried = explore(state, launch, &options);
		if (tried != NONE)
			return tried;
		chosen = launch->missing ? move(state, &options) : options.best;
	}
	if (!policy_room(&launch->devices[chosen]) && !policy_own(launch, chosen)) {
		policy_reserve(state, chosen, options.at[chosen].ns);
		return POLICY_WAIT;
	}
	if (options.best != NONE)
		note_choice(launch->cost, policy_bucket(launch->items), chosen);
	return chosen;
}

const struct policy policy_heterogeneous = {
    .name = "heterogeneous", .waits = true, .pick = pick, .learn = policy_learn};
