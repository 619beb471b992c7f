/* SPDX-License-Identifier: Apache-2.0
 *
 * Policy "adaptive", the default: learns what each kernel costs at each size on each device, and
 * weighs two ways of running it. An inline device (PoCL's basic) runs a kernel on the dispatch
 * thread: no hand-over (20 to 80 us less), but one core only, and the intake stands still
 * meanwhile. A parallel device (PoCL's pthread) uses every core. So what is short goes inline, and
 * what is long does not, unless it is no slower there and nobody waits.
 */
#include "scheduler/policy.h"

#define NONE POLICY_DEVICES

#define SHORT_NS 100e3f	     /* inline without further questions */
#define SURPRISE_NS 1e6f     /* this much inline is a mistake to be made once */
#define EXPLORE_MIN_NS 20e3f /* below, trying elsewhere cannot win anything */
#define EXPLORE_MAX_NS 5e6f  /* above, a wrong guess costs too much */
#define EXPLORE_EVERY 16     /* launches of a kernel and size */
#define UNKNOWN_INLINE_ITEMS 4096

/* The fastest known candidate of a sort, an unknown one if none is known; NONE if there is none. */
static unsigned best_of(const struct policy_launch *launch, bool inline_launch, const float *ns)
{
	unsigned best = NONE;
	POLICY_FOR_EACH(device, launch->candidates)
	{
		if (launch->devices[device].inline_launch != inline_launch)
			continue;
		if (best == NONE || (ns[device] > 0 && (ns[best] <= 0 || ns[device] < ns[best])))
			best = device;
	}
	return best;
}

/* Nothing or too little is known about the inline device, and the parallel one took p ns. */
static bool try_inline(const struct policy_launch *launch, unsigned parallel, float p, bool turn)
{
	if (launch->busy)
		return false;
	if (p < EXPLORE_MIN_NS)
		return true;
	unsigned cores = launch->devices[parallel].parallel;
	return turn && p * (float)(cores ? cores : 1) < EXPLORE_MAX_NS;
}

static bool choose_inline(const struct policy_launch *launch, unsigned in, unsigned par)
{
	unsigned bucket = policy_bucket(launch->items);
	const float *ns = launch->cost->ns[bucket];
	bool turn = ++launch->cost->turn[bucket] % EXPLORE_EVERY == EXPLORE_EVERY / 2;
	float i = ns[in], p = ns[par];

	if (i <= 0 && p <= 0)
		return launch->items <= UNKNOWN_INLINE_ITEMS;
	if (i <= 0)
		return try_inline(launch, par, p, turn);
	if (p <= 0) {
		if (i >= SURPRISE_NS || (turn && i >= EXPLORE_MIN_NS && i <= EXPLORE_MAX_NS))
			return false;
		return i < SHORT_NS || !launch->busy;
	}
	if (i < SHORT_NS)
		return true;
	/* The first run may have paid for fresh pages: one sample is no verdict. */
	if (launch->cost->samples[bucket][in] < 3 && turn)
		return try_inline(launch, par, p, turn);
	return i <= p && !launch->busy;
}

static unsigned pick(struct policy_state *state, const struct policy_launch *launch)
{
	(void)state;
	const float *ns = launch->cost->ns[policy_bucket(launch->items)];
	unsigned in = best_of(launch, true, ns), par = best_of(launch, false, ns);
	if (in == NONE || par == NONE)
		return in == NONE ? par : in;
	return choose_inline(launch, in, par) ? in : par;
}

static void learn(struct policy_state *state, const struct policy_launch *launch, unsigned device,
		  uint64_t ns)
{
	(void)state;
	unsigned bucket = policy_bucket(launch->items);
	float *known = &launch->cost->ns[bucket][device];
	uint8_t *samples = &launch->cost->samples[bucket][device];
	float now = ns ? (float)ns : 1.0f;

	if (*known <= 0)
		*known = now;
	else
		*known += (now - *known) * (now < *known ? 0.5f : 0.25f);
	if (*samples < UINT8_MAX)
		(*samples)++;
}

const struct policy policy_adaptive = {.name = "adaptive", .pick = pick, .learn = learn};
