/* SPDX-License-Identifier: Apache-2.0
 *
 * Sleeping and waking between a client and its tenant. The words lie in shared memory and the
 * futex is not a private one, because the sleeper and the waker are two processes.
 *
 * Why no wake-up is lost: the sleeper announces itself (sets bit 0), then looks at the data; the
 * waker publishes the data, then looks for sleepers. With a full fence between the two steps on
 * both sides at least one of them sees the other (Dekker). A waker that saw the bit adds one: the
 * bit is clear again and the count above it has moved, so a sleep that has not begun yet does not
 * begin, and those that have are all ended. Until somebody announces itself again nobody else pays
 * for a wake-up: a sleeper may need many microseconds to come up, and a waker publishes every one.
 *
 * model_wake.pml (one word) and model_slot.pml (two words and a slot's flag) check this in every
 * interleaving: who changes the one changes the other.
 */
#include "transport/wake.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A budget below this could never grow again: who answers at once needs nearly as long, and asleep
 * much longer than the smallest maximum. */
#define SPIN_MIN_NS 3000u
/* Reading the clock costs about as much as this many pauses. */
#define SPIN_PAUSES 8
#define WAKE_TRIES 3

uint64_t arax_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
	__asm__ volatile("yield");
#else
	__asm__ volatile("" ::: "memory");
#endif
}

void arax_spin_init(struct arax_spin *spin, uint32_t max_ns)
{
	cpu_set_t cpus;

	/* Too many CPUs for the set fails with EINVAL: then there is more than one. */
	if (!sched_getaffinity(0, sizeof(cpus), &cpus) && CPU_COUNT(&cpus) == 1)
		max_ns = 0;
	spin->max_ns = max_ns;
	spin->budget_ns = max_ns;
}

void arax_spin_limit(struct arax_spin *spin, uint32_t max_ns)
{
	if (!spin->max_ns || spin->max_ns == max_ns)
		return;
	spin->max_ns = max_ns;
	if (spin->budget_ns > max_ns)
		spin->budget_ns = max_ns;
}

static void spin_adapt(struct arax_spin *spin, bool grow)
{
	uint32_t floor = spin->max_ns < SPIN_MIN_NS ? spin->max_ns : SPIN_MIN_NS;

	if (!grow)
		spin->budget_ns /= 2;
	else if (spin->budget_ns > spin->max_ns / 2)
		spin->budget_ns = spin->max_ns;
	else
		spin->budget_ns *= 2;
	if (spin->budget_ns < floor)
		spin->budget_ns = floor;
}

static bool spin_until(struct arax_spin *spin, bool (*ready)(void *arg), void *arg, uint64_t start)
{
	if (!spin->max_ns)
		return false;
	do {
		for (int i = 0; i < SPIN_PAUSES; i++) {
			relax();
			if (ready(arg)) {
				spin_adapt(spin, true);
				return true;
			}
		}
	} while (arax_now_ns() - start < spin->budget_ns);
	return false;
}

/* The kernel looks at the word with the value that was announced, so a wake-up since then ends this
 * at once. Every way to return is the caller's reason to look around. */
static void futex_sleep(struct arax_wake *wake, uint32_t word, int timeout_ms)
{
	struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};

	syscall(SYS_futex, &wake->word, FUTEX_WAIT, word, timeout_ms < 0 ? NULL : &timeout, NULL,
		0);
}

bool arax_wake_spin(struct arax_spin *spin, bool (*ready)(void *arg), void *arg)
{
	return ready(arg) || spin_until(spin, ready, arg, arax_now_ns());
}

bool arax_wake_sleep(struct arax_wake *wake, struct arax_spin *spin, bool (*ready)(void *arg),
		     void *arg, int timeout_ms)
{
	uint64_t start = arax_now_ns();
	/* A locked read-modify-write; with the seq_cst fence it orders the announcement before the
	 * look on every architecture. */
	uint32_t word = atomic_fetch_or_explicit(&wake->word, 1, memory_order_seq_cst) | 1;
#ifndef __SANITIZE_THREAD__
	atomic_thread_fence(memory_order_seq_cst);
#endif
	bool seen = ready(arg);

	if (!seen) {
		futex_sleep(wake, word, timeout_ms);
		seen = ready(arg);
	}
	/* The spin failed, but had it gone on up to the maximum it might have succeeded: without
	 * this a budget that once fell below the usual latency would stay there. */
	spin_adapt(spin, seen && arax_now_ns() - start + spin->budget_ns <= spin->max_ns);
	return seen;
}

bool arax_wake_wait(struct arax_wake *wake, struct arax_spin *spin, bool (*ready)(void *arg),
		    void *arg, int timeout_ms)
{
	return arax_wake_spin(spin, ready, arg) ||
	       arax_wake_sleep(wake, spin, ready, arg, timeout_ms);
}

/* What was published before this is seen by whoever announces itself after. */
static void publish_fence(void)
{
#ifndef __SANITIZE_THREAD__
	atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* Where even this fails (the kernel had no memory) the sleeper counts as asleep still, so that the
 * next who rings tries again; and no sleep is without a bound. */
static void futex_wake(struct arax_wake *wake)
{
	for (int i = 0; i < WAKE_TRIES; i++)
		if (syscall(SYS_futex, &wake->word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0) >= 0)
			return;
	atomic_fetch_or_explicit(&wake->word, 1, memory_order_relaxed);
}

static void ring_fenced(struct arax_wake *wake)
{
#ifdef __SANITIZE_THREAD__
	/* The sanitizer knows no fences. A read-modify-write of the word that the sleeper modifies
	 * is as good: one of the two comes first. It costs the cache line each time, though. */
	uint32_t word = atomic_fetch_or_explicit(&wake->word, 0, memory_order_seq_cst);
#else
	uint32_t word = atomic_load_explicit(&wake->word, memory_order_relaxed);
#endif
	while (word & 1) {
		if (atomic_compare_exchange_weak_explicit(
			&wake->word, &word, word + 1, memory_order_release, memory_order_relaxed)) {
			futex_wake(wake);
			return;
		}
	}
}

void arax_wake_ring(struct arax_wake *wake)
{
	publish_fence();
	ring_fenced(wake);
}

void arax_wake_ring_all(struct arax_wake *one, struct arax_wake *other)
{
	publish_fence();
	ring_fenced(one);
	ring_fenced(other);
}

void arax_wake_ring_if(struct arax_wake *always, struct arax_wake *wake,
		       const _Atomic uint32_t *const *waited, unsigned n)
{
	publish_fence();
	ring_fenced(always);
#ifdef __SANITIZE_THREAD__
	(void)waited;
	(void)n;
	ring_fenced(wake);
#else
	for (unsigned i = 0; i < n; i++) {
		if (atomic_load_explicit(waited[i], memory_order_relaxed)) {
			ring_fenced(wake);
			break;
		}
	}
#endif
}
