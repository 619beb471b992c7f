/* SPDX-License-Identifier: Apache-2.0
 *
 * Sleeping and waking across processes: a bounded spin whose length follows its success, then a
 * futex sleep with a bound, so that the caller can look for the peer's death (design: every wait
 * ends).
 */
#ifndef ARAX_TRANSPORT_WAKE_H
#define ARAX_TRANSPORT_WAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/shm.h"

/* How long one waiting place spins before it sleeps; private to its thread or lock. */
struct arax_spin {
	uint32_t budget_ns; /* current; grows when a spin succeeded, shrinks when it did not */
	uint32_t max_ns;    /* 0: never spin (one CPU) */
};

/** arax_spin_init() - max_ns as asked, or 0 when this process may run on one CPU only. */
void arax_spin_init(struct arax_spin *spin, uint32_t max_ns);

/** arax_spin_limit() - another maximum from now on; where it is 0 it stays 0. */
void arax_spin_limit(struct arax_spin *spin, uint32_t max_ns);

/**
 * arax_wake_wait() - wait until ready(arg) or until somebody rang since the call began
 * @ready: cheap, called often; must become true through memory that the waker writes first
 * @timeout_ms: bound of the sleep; negative for none
 *
 * Spins within the budget, then announces itself, looks again and sleeps on the futex.
 *
 * Return: true when ready(arg) was seen, false when the caller should look around (woken, timed
 * out, interrupted) and call again.
 */
bool arax_wake_wait(struct arax_wake *wake, struct arax_spin *spin, bool (*ready)(void *arg),
		    void *arg, int timeout_ms);

/** arax_wake_spin() - the first half: look, and spin within the budget. Return: ready(arg). */
bool arax_wake_spin(struct arax_spin *spin, bool (*ready)(void *arg), void *arg);

/** arax_wake_sleep() - the second half: announce, look again, sleep. Return: as for both. */
bool arax_wake_sleep(struct arax_wake *wake, struct arax_spin *spin, bool (*ready)(void *arg),
		     void *arg, int timeout_ms);

/**
 * arax_wake_ring() - wake whoever sleeps there; call after publishing
 *
 * Costs one fence and one load when nobody sleeps, or when somebody else has woken the sleepers
 * already. Wakes all of them otherwise.
 */
void arax_wake_ring(struct arax_wake *wake);

/** arax_wake_ring_all() - ring two words for the price of one fence. */
void arax_wake_ring_all(struct arax_wake *one, struct arax_wake *other);

/**
 * arax_wake_ring_if() - ring two words for the price of one fence, the second only if one
 * *waited[i]
 *
 * Who sleeps on the second word sets *waited before it announces itself (arax_wake_sleep()). All n
 * must be published; nobody may go to sleep owing this to what it has published.
 */
void arax_wake_ring_if(struct arax_wake *always, struct arax_wake *wake,
		       const _Atomic uint32_t *const *waited, unsigned n);

/** arax_now_ns() - CLOCK_MONOTONIC in nanoseconds. */
uint64_t arax_now_ns(void);

#endif
