/* SPDX-License-Identifier: Apache-2.0
 *
 * When there are more threads than processors. What this thread was not given of the time in which
 * it had something to do says so: then every spin, the client's and ours, takes the processor from
 * somebody who would compute, and every wake-up may take it from ourselves, since who wakes is let
 * in at once. So the client is told not to spin for longer than a sleep costs, we do not either,
 * and who sleeps while we go through short launches hears of several at a time.
 *
 * Whether it is crowded without us spinning says nothing about how it is with it: the state is
 * given up after a while, and for longer each time it comes back at once.
 */
#include "scheduler/dispatch_internal.h"

#include <time.h>

#define LOOK_NS 4000000u /* of work, for which our own time is asked once */
#define TAKEN_PART 8	 /* of it taken from us, */
#define TAKEN_LOOKS 2	 /* so often in a row: crowded */
#define SURE_PART 4	 /* still crowded: so much the client does not take by being woken */
#define AGAIN_LOOKS 4	 /* crowded again so soon: it had not ended */
#define HOLD_FIRST_NS 16000000u
#define HOLD_LAST_NS 512000000u
#define OWED_NS 100000u	 /* how late the client may hear, beside what is executed then */
#define SHORT_NS 100000u /* of one launch */

static uint64_t own_time(void)
{
	struct timespec own;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &own);
	return (uint64_t)own.tv_sec * 1000000000u + (uint64_t)own.tv_nsec;
}

static void begin(struct crowd *crowd, uint64_t now_ns, uint64_t own_ns)
{
	crowd->since_ns = now_ns;
	crowd->cpu_ns = own_ns;
	crowd->slept_ns = 0;
}

void crowd_begin(struct dispatch *d)
{
	begin(&d->crowd, arax_now_ns(), own_time());
	d->crowd.hold_ns = HOLD_FIRST_NS;
	d->crowd.looks = AGAIN_LOOKS;
	atomic_store_explicit(&d->shm->crowded, 0, memory_order_relaxed);
}

static void set(struct dispatch *d, bool on)
{
	d->crowd.on = on;
	d->crowd.looks = d->crowd.taken = 0;
	atomic_store_explicit(&d->shm->crowded, on, memory_order_relaxed);
}

void crowd_judge(struct dispatch *d, uint64_t now_ns, uint64_t taken_ns, uint64_t busy_ns)
{
	struct crowd *crowd = &d->crowd;
	if (crowd->on) {
		/* More than the client takes by being woken. */
		if (taken_ns > busy_ns / SURE_PART)
			crowd->until_ns = now_ns + crowd->hold_ns;
		else if (now_ns >= crowd->until_ns)
			set(d, false);
		return;
	}
	crowd->looks++;
	crowd->taken = taken_ns > busy_ns / TAKEN_PART ? crowd->taken + 1 : 0;
	if (crowd->taken < TAKEN_LOOKS)
		return;
	if (crowd->looks > AGAIN_LOOKS)
		crowd->hold_ns = HOLD_FIRST_NS;
	else if (crowd->hold_ns < HOLD_LAST_NS)
		crowd->hold_ns *= 2;
	crowd->until_ns = now_ns + crowd->hold_ns;
	set(d, true);
}

void crowd_look(struct dispatch *d, uint64_t now_ns)
{
	struct crowd *crowd = &d->crowd;
	uint64_t busy_ns = now_ns - crowd->since_ns - crowd->slept_ns;
	if (now_ns < crowd->since_ns || busy_ns < LOOK_NS)
		return;
	uint64_t own_ns = own_time(), had_ns = own_ns - crowd->cpu_ns;
	crowd_judge(d, now_ns, had_ns < busy_ns ? busy_ns - had_ns : 0, busy_ns);
	begin(crowd, now_ns, own_ns);
}

void crowd_tell(struct dispatch *d, uint32_t slot, uint64_t end_ns)
{
	struct crowd *crowd = &d->crowd;
	const _Atomic uint32_t *waited = &d->shm->slots[slot].waited;
	if (!crowd->on || d->spread) {
		wake_client(d, &waited, 1);
		return;
	}
	if (!crowd->nowed)
		crowd->owed_ns = end_ns;
	crowd->owed[crowd->nowed++] = waited;
	if (crowd->nowed == CROWD_OWED || end_ns - crowd->owed_ns > OWED_NS)
		crowd_pay(d);
}

void crowd_pay(struct dispatch *d)
{
	struct crowd *crowd = &d->crowd;
	uint32_t n = crowd->nowed;
	if (!n)
		return;
	crowd->nowed = 0;
	wake_client(d, crowd->owed, n);
}

void crowd_launch(struct dispatch *d, const struct launch *launch, unsigned device)
{
	if (!d->crowd.nowed)
		return;
	float ns = launch->kernel->cost->ns[policy_bucket(launch->items)][device];
	if (!d->devices[device].inline_launch || ns <= 0 || ns > SHORT_NS)
		crowd_pay(d);
}
