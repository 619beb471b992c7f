/* SPDX-License-Identifier: Apache-2.0
 *
 * Policy "adaptive", the default: learns what each kernel costs at each size on each device, and
 * weighs two ways of running it. An inline device (PoCL's basic) runs a kernel on the dispatch
 * thread: no hand-over (20 to 80 us less, learned too), but one core only, and the intake stands
 * still meanwhile. A parallel device (PoCL's pthread) uses every core. So what is short goes
 * inline, and what is long does not, unless its result is there no later and nobody waits. What is
 * not known begins on all cores if it has work-groups for them: that costs a hand-over at most, the
 * other mistake half of a kernel of seconds.
 *
 * Where a discrete device could take the launch, too, "heterogeneous" weighs it against that.
 */
#include "scheduler/policy.h"

#define NONE POLICY_DEVICES

#define SHORT_NS 100e3f	     /* inline without further questions */
#define EXPLORE_MIN_NS 20e3f /* below, trying elsewhere cannot win anything */
#define EXPLORE_MAX_NS 20e6f /* above, a wrong guess costs too much */
#define EXPLORE_FIRST 16     /* launches until the other way is tried; doubles with every try */
#define EXPLORE_LAST 4096    /* that changes nothing */
#define SMALL_ITEMS 4096     /* up to here one core is tried at once, */
#define SMALL_NS 2e6f	     /* if it needs no longer than that */

/* The fastest known device of each sort, an unknown one if none is known; NONE if there is none. */
struct best {
	unsigned in, par;
	bool discrete; /* there are others, too */
};

static bool better(const float *ns, unsigned device, unsigned best)
{
	return best == NONE || (ns[device] > 0 && (ns[best] <= 0 || ns[device] < ns[best]));
}

static struct best best_of(const struct policy_launch *launch, uint32_t candidates, const float *ns)
{
	struct best best = {NONE, NONE, false};
	POLICY_FOR_EACH(device, candidates)
	{
		const struct policy_device *d = &launch->devices[device];
		if (d->discrete)
			best.discrete = true;
		else if (d->inline_launch)
			best.in = better(ns, device, best.in) ? device : best.in;
		else
			best.par = better(ns, device, best.par) ? device : best.par;
	}
	return best;
}

/* Is it time to try the way not taken? Estimates grow old, and one that was made while another
 * process had the processor is wrong from the start. */
static bool exploring(struct policy_cost *cost, unsigned bucket)
{
	uint16_t gap = cost->gap[bucket] ? cost->gap[bucket] : EXPLORE_FIRST;

	if (++cost->launches[bucket] < gap)
		return false;
	cost->launches[bucket] = 0;
	cost->gap[bucket] = gap < EXPLORE_LAST ? gap * 2 : EXPLORE_LAST;
	return true;
}

/* The better way by what is known: i inline, p parallel, in ns; 0 unknown. The hand-over counts
 * where somebody waits for this one command; behind others it is hidden. */
static bool inline_is_better(const struct policy_launch *launch, float i, float p, float handover,
			     unsigned cores)
{
	if (i <= 0 && p <= 0)
		return launch->one_group || launch->items == 1;
	if (i <= 0 && launch->items <= SMALL_ITEMS && p * (float)cores < SMALL_NS)
		return true;
	if (i <= 0)
		return p < EXPLORE_MIN_NS && !launch->busy;
	if (i < SHORT_NS)
		return true;
	return p > 0 && i <= p + handover && !launch->busy;
}

/* What trying the other way may cost at most; nothing known: what the parallel way suggests. */
static bool affordable(const struct policy_launch *launch, bool to_inline, float i, float p,
		       unsigned cores)
{
	if (!to_inline)
		return i >= EXPLORE_MIN_NS && (p <= 0 || p < EXPLORE_MAX_NS);
	return !launch->busy && (i > 0 ? i : p * (float)cores) < EXPLORE_MAX_NS;
}

/* One core needs at most so many times as long as all of them. An inline estimate above that is one
 * bad moment (the library was being loaded, the processor was taken away), and as long as it kept
 * the kernel from running inline it could not be put right. */
static float inline_at_most(float i, float p, unsigned cores)
{
	float most = p * (float)cores;

	return p > 0 && i > most ? most : i;
}

static bool choose_inline(const struct policy_state *state, const struct policy_launch *launch,
			  unsigned in, unsigned par)
{
	struct policy_cost *cost = launch->cost;
	unsigned bucket = policy_bucket(launch->items);
	unsigned cores = launch->devices[par].parallel ? launch->devices[par].parallel : 1;
	float p = cost->ns[bucket][par];
	float i = inline_at_most(cost->ns[bucket][in], p, cores);
	bool better = inline_is_better(launch, i, p, state->handover_ns[par], cores);
	uint8_t choice = (uint8_t)((better ? in : par) + 1);

	if (cost->last[bucket] != choice) { /* new, or the last try was right: look again soon */
		cost->last[bucket] = choice;
		cost->gap[bucket] = cost->launches[bucket] = 0;
	}
	if ((i > 0 || p > 0) && affordable(launch, !better, i, p, cores) && exploring(cost, bucket))
		return !better;
	return better;
}

static unsigned of_two(struct policy_state *state, const struct policy_launch *launch,
		       const struct best *best, const float *ns)
{
	unsigned in = best->in, par = best->par;
	/* Most launches of most programs: nothing could be better, so nothing is weighed. */
	if (in != NONE && ns[in] > 0 && ns[in] < EXPLORE_MIN_NS)
		return in;
	if (in == NONE || par == NONE)
		return in == NONE ? par : in;
	return choose_inline(state, launch, in, par) ? in : par;
}

static unsigned in_place_choice(struct policy_state *state, const struct policy_launch *launch,
				uint32_t candidates)
{
	const float *ns = launch->cost->ns[policy_bucket(launch->items)];
	struct best best = best_of(launch, candidates, ns);
	return of_two(state, launch, &best, ns);
}

uint32_t policy_one_in_place(struct policy_state *state, const struct policy_launch *launch)
{
	uint32_t in_place = 0;

	POLICY_FOR_EACH(device, launch->candidates)
	{
		if (!launch->devices[device].discrete)
			in_place |= 1u << device;
	}
	if (!(in_place & (in_place - 1)))
		return launch->candidates;
	unsigned chosen = in_place_choice(state, launch, in_place);
	return (launch->candidates & ~in_place) | 1u << chosen;
}

static unsigned pick(struct policy_state *state, const struct policy_launch *launch)
{
	const float *ns = launch->cost->ns[policy_bucket(launch->items)];
	struct best best = best_of(launch, launch->candidates, ns);
	if (best.discrete)
		return policy_heterogeneous.pick(state, launch);
	return of_two(state, launch, &best, ns);
}

const struct policy policy_adaptive = {
    .name = "adaptive", .waits = true, .pick = pick, .learn = policy_learn};
