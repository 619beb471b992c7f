/* SPDX-License-Identifier: Apache-2.0
 *
 * Sleeping and waking between a client and its tenant. The words lie in shared memory and the
 * futex is not a private one, because the sleeper and the waker are two processes.
 *
 * Why no wake-up is lost: the sleeper announces itself, then looks at the data; the waker
 * publishes the data, then looks for sleepers. With a full fence between the two steps on both
 * sides at least one of them sees the other (Dekker). A waker that saw a sleeper increments seq,
 * which the sleeper had read before it announced itself, so a sleep that has not begun yet does
 * not begin.
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

/* A budget below this could never grow again. */
#define SPIN_MIN_NS 1000u
/* Reading the clock costs about as much as this many pauses. */
#define SPIN_PAUSES 8

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

/* The kernel looks at the word with the value that was read, so a change since then ends this at
 * once. Every way to return is the caller's reason to look around. */
static void futex_sleep(struct arax_wake *wake, uint32_t seq, int timeout_ms)
{
	struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};

	syscall(SYS_futex, &wake->seq, FUTEX_WAIT, seq, timeout_ms < 0 ? NULL : &timeout, NULL, 0);
}

bool arax_wake_wait(struct arax_wake *wake, struct arax_spin *spin, bool (*ready)(void *arg),
		    void *arg, int timeout_ms)
{
	uint32_t seq = atomic_load_explicit(&wake->seq, memory_order_acquire);
	uint64_t start;
	bool seen;

	if (ready(arg))
		return true;
	start = arax_now_ns();
	if (spin_until(spin, ready, arg, start))
		return true;
	/* A locked read-modify-write; with the seq_cst fence it orders the announcement before the
	 * look on every architecture. */
	atomic_fetch_add_explicit(&wake->sleeping, 1, memory_order_seq_cst);
#ifndef __SANITIZE_THREAD__
	atomic_thread_fence(memory_order_seq_cst);
#endif
	seen = ready(arg);
	if (!seen) {
		futex_sleep(wake, seq, timeout_ms);
		seen = ready(arg);
	}
	atomic_fetch_sub_explicit(&wake->sleeping, 1, memory_order_relaxed);
	/* The spin failed, but had it gone on up to the maximum it might have succeeded: without
	 * this a budget that once fell below the usual latency would stay there. */
	spin_adapt(spin, seen && arax_now_ns() - start <= spin->max_ns);
	return seen;
}

void arax_wake_ring(struct arax_wake *wake)
{
#ifdef __SANITIZE_THREAD__
	/* The sanitizer knows no fences. A read-modify-write of the word that the sleeper modifies
	 * is as good: one of the two comes first. It costs the cache line each time, though. */
	if (!atomic_fetch_add_explicit(&wake->sleeping, 0, memory_order_seq_cst))
		return;
#else
	atomic_thread_fence(memory_order_seq_cst);
	if (!atomic_load_explicit(&wake->sleeping, memory_order_relaxed))
		return;
#endif
	atomic_fetch_add_explicit(&wake->seq, 1, memory_order_release);
	syscall(SYS_futex, &wake->seq, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
