/* SPDX-License-Identifier: Apache-2.0
 *
 * What every policy learns and predicts alike: how long each kernel executes at each size on each
 * device, how much slower a device is on the whole, how fast data gets to it. So a policy that
 * takes over at run time finds what its predecessor has learned.
 */
#include "scheduler/policy.h"

#include <string.h>

#define OUTLIER 4.0f /* a sample counts as at most so many times what is known */
#define NEAR 2	     /* buckets that times are carried over without doubt, */
#define FAR 6	     /* and at all */

#define SMALL_BYTES 16384u /* a transfer of at most so much tells the latency, */
#define LATENCY_NS 10e3f   /* and what is assumed until one has been seen */
#define BYTES_PER_NS 4.0f

#define PACE_OLD_NS 50e6f /* a pace is half forgotten after so long */
#define WAY_OUT 4.0f	  /* both ways against the way in, at most */
#define PACE_MOST 256.0f
#define PACE_LEAST (1 / 64.0f)

#define ROOM_NS 2000000u /* in flight on one device, so that giving it back is quick; */
#define ROOM_LEAST 2u	 /* but one runs and one is ready */
#define ROOM_MOST 64u

/* Follows the fast values sooner than the slow ones, which may have had a busy machine to blame. */
static void average(float *known, uint64_t ns)
{
	float now = ns ? (float)ns : 1.0f;

	if (*known <= 0) {
		*known = now;
		return;
	}
	if (now > OUTLIER * *known)
		now = OUTLIER * *known;
	*known += (now - *known) * (now < *known ? 0.5f : 0.25f);
}

/* The best time of any device in this row; 0: none is known. */
static float best_time(const float *ns, unsigned *of)
{
	float best = 0;

	for (unsigned device = 0; device < POLICY_DEVICES; device++) {
		if (ns[device] > 0 && (best <= 0 || ns[device] < best)) {
			best = ns[device];
			*of = device;
		}
	}
	return best;
}

/* How much slower than the best device it is, over all kernels that several devices have run. */
static void learn_slower(struct policy_state *state, const float *ns, unsigned device)
{
	unsigned of = device;
	float best = best_time(ns, &of), *known = &state->slower[device];

	if (of == device) {
		/* The best itself, if there is another one to compare it with. */
		bool alone = true;
		for (unsigned other = 0; other < POLICY_DEVICES && alone; other++)
			alone = other == device || ns[other] <= 0;
		if (alone)
			return;
	}
	float now = ns[device] / best;
	*known = *known > 0 ? *known + (now - *known) * 0.125f : now;
}

/* What exploring is measured by. A first time that is a bad surprise: only now is it known what
 * trying has cost. */
static void account(struct policy_state *state, const float *row, unsigned device, uint64_t ns)
{
	unsigned of;
	float best = best_time(row, &of);

	state->run_ns += ns;
	if (row[device] <= 0 && best > 0 && (float)ns > best)
		state->explored_ns += (uint64_t)((float)ns - best);
}

void policy_learn(struct policy_state *state, const struct policy_launch *launch, unsigned device,
		  uint64_t ns)
{
	float *row = launch->cost->ns[policy_bucket(launch->items)];

	if (state->unlike)
		account(state, row, device, ns);
	average(&row[device], ns);
	if (launch->handover_ns)
		average(&state->handover_ns[device], launch->handover_ns);
	if (state->unlike)
		learn_slower(state, row, device);
}

/* Devices of the same make, on the average. */
static float from_alike(const struct policy_launch *launch, const float *ns, unsigned device)
{
	unsigned alike = launch->devices[device].alike, n = 0;
	float sum = 0;

	if (!alike)
		return 0;
	POLICY_FOR_EACH(other, launch->candidates)
	{
		if (launch->devices[other].alike == alike && ns[other] > 0) {
			sum += ns[other];
			n++;
		}
	}
	return n ? sum / (float)n : 0;
}

static float own_time(const struct policy_launch *launch, unsigned bucket, unsigned device)
{
	const float *ns = launch->cost->ns[bucket];

	return ns[device] > 0 ? ns[device] : from_alike(launch, ns, device);
}

/* Other sizes of the same kernel, the nearest first: so much work, so much time. */
static float from_sizes(const struct policy_launch *launch, unsigned bucket, unsigned device,
			unsigned *distance)
{
	float scale = 1;

	for (unsigned k = 1; k <= FAR; k++) {
		float ns = 0;
		scale *= 2;
		*distance = k;
		if (k <= bucket && (ns = own_time(launch, bucket - k, device)) > 0)
			return ns * scale;
		if (bucket + k < POLICY_BUCKETS && (ns = own_time(launch, bucket + k, device)) > 0)
			return ns / scale;
	}
	return 0;
}

float policy_estimate(const struct policy_state *state, const struct policy_launch *launch,
		      unsigned device, bool *known)
{
	unsigned bucket = policy_bucket(launch->items), distance, of = device;
	float ns = own_time(launch, bucket, device);

	*known = true;
	if (ns > 0)
		return ns;
	ns = from_sizes(launch, bucket, device, &distance);
	*known = ns > 0 && distance <= NEAR;
	if (*known)
		return ns;
	/* What others need for it, as much longer as this one does on the whole. */
	float best = best_time(launch->cost->ns[bucket], &of);
	if (best > 0 && state->slower[device] > 0) {
		float than = state->slower[of] > 0 ? state->slower[of] : 1;
		return best * state->slower[device] / than;
	}
	return ns > 0 ? ns : best;
}

void policy_moved(struct policy_device *device, uint64_t bytes, uint64_t ns)
{
	float took = ns ? (float)ns : 1, before = device->latency_ns;

	device->moved_ns += ns;

	if (bytes <= SMALL_BYTES) {
		device->latency_ns = before > 0 ? before + (took - before) * 0.25f : took;
		return;
	}
	if (took > 2 * before)
		took -= before;
	float now = (float)bytes / took, known = device->bytes_per_ns;
	device->bytes_per_ns = known > 0 ? known + (now - known) * 0.25f : now;
}

/* A lease's share says nothing here: it is a weight, and what comes of it depends on who works. */
float policy_stretch(const struct policy_device *device)
{
	return device->pace > 0 ? device->pace : 1;
}

void policy_paced(struct policy_device *device, uint64_t predicted, uint64_t now_ns)
{
	if (!device->since_ns || now_ns < device->since_ns)
		return;
	float gone = (float)(now_ns - device->since_ns);
	if (!predicted) {
		/* It had nothing to do, and whoever was there may have left since. */
		if (device->pace > 0)
			device->pace = 1 + (device->pace - 1) / (1 + gone / PACE_OLD_NS);
		return;
	}
	/* It may have waited for data that long, and before for the data's way out of another
	 * device, or have executed meanwhile: between these two. */
	float least = (gone - WAY_OUT * (float)device->moved_ns) / (float)predicted;
	float most = gone / (float)predicted, now = policy_stretch(device);
	device->moved_ns = 0;
	if (most > now && least < now)
		return;
	now = least > now ? least : most;
	now = now > PACE_MOST ? PACE_MOST : now;
	device->pace = device->pace > 0 ? device->pace + (now - device->pace) * 0.125f : now;
	device->pace = device->pace > PACE_LEAST ? device->pace : PACE_LEAST;
}

float policy_backlog(const struct policy_device *device, uint64_t now_ns)
{
	uint64_t backlog = device->backlog_ns;

	if (device->queued && device->since_ns && now_ns > device->since_ns) {
		/* The first of them has been running since then, but no longer than it takes. */
		float pace = device->pace > 1 ? device->pace : 1;
		uint64_t gone = (uint64_t)((float)(now_ns - device->since_ns) / pace);
		uint64_t first = backlog / device->queued;
		backlog -= gone < first ? gone : first;
	}
	return (float)backlog * policy_stretch(device);
}

/* Where data comes home to, it comes from the slowest of those that it can come from. */
static const struct policy_device *way_to(const struct policy_launch *launch, unsigned device)
{
	const struct policy_device *way = &launch->devices[device];

	if (way->discrete || way->bytes_per_ns > 0)
		return way;
	for (unsigned other = 0; other < POLICY_DEVICES; other++) {
		const struct policy_device *d = &launch->devices[other];
		if ((launch->candidates >> other & 1) && d->discrete && d->bytes_per_ns > 0 &&
		    (!way->discrete || d->bytes_per_ns < way->bytes_per_ns))
			way = d;
	}
	return way;
}

float policy_transfer(const struct policy_launch *launch, unsigned device)
{
	if (!launch->missing || !launch->missing[device])
		return 0;
	const struct policy_device *way = way_to(launch, device);
	uint64_t bytes = launch->missing[device] + launch->devices[device].moving;
	return (way->latency_ns > 0 ? way->latency_ns : LATENCY_NS) +
	       (float)bytes / (way->bytes_per_ns > 0 ? way->bytes_per_ns : BYTES_PER_NS);
}

bool policy_room(const struct policy_device *device)
{
	if (device->depth && device->queued >= device->depth)
		return false;
	if (device->queued < ROOM_LEAST)
		return true;
	/* Of what is there nothing may be known: then it is enough. */
	float backlog = (float)device->backlog_ns * policy_stretch(device);
	return device->queued < ROOM_MOST && backlog > 0 && backlog < ROOM_NS;
}

bool policy_own(const struct policy_launch *launch, unsigned device)
{
	if (launch->devices[device].discrete)
		return false;
	POLICY_FOR_EACH(other, launch->candidates)
	{
		if (launch->devices[other].discrete)
			return false;
	}
	return true;
}

void policy_reserve(struct policy_state *state, unsigned device, float ns)
{
	if (device < POLICY_DEVICES)
		state->reserved[device] += ns;
	else
		memset(state->reserved, 0, sizeof(state->reserved));
}
