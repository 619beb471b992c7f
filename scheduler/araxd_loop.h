/* SPDX-License-Identifier: Apache-2.0
 *
 * araxd's one thread: an epoll loop with timers. Nothing that it calls may block on a peer.
 */
#ifndef ARAX_SCHEDULER_ARAXD_LOOP_H
#define ARAX_SCHEDULER_ARAXD_LOOP_H

#include <stdbool.h>
#include <stdint.h>

/* A descriptor that is watched; embedded in what it belongs to. */
struct source {
	int fd;
	void (*ready)(struct source *source, uint32_t events);
};

struct timer {
	uint64_t at_ns; /* 0: not set */
	void (*fire)(struct timer *timer);
	struct timer *next;
};

struct child;

struct loop {
	int epoll;
	bool quit;
	struct timer *timers;
	struct child *children; /* that run, see araxd_child.h */
	unsigned expected;	/* that another process starts and that are not known yet */
};

#define CONTAINER(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

int loop_init(struct loop *loop);
void loop_fini(struct loop *loop);

/** loop_add() - watch source->fd (set with ready by the caller). Return: 0 or -errno. */
int loop_add(struct loop *loop, struct source *source, uint32_t events);

/** loop_change() - other events than before; 0: none but the end. */
int loop_change(struct loop *loop, struct source *source, uint32_t events);

/** loop_remove() - stop watching and close the descriptor; nothing happens when it is -1. */
void loop_remove(struct loop *loop, struct source *source);

/** loop_forget() - stop watching; the descriptor is the caller's again, and source->fd -1. */
void loop_forget(struct loop *loop, struct source *source);

/** timer_set() - fire once after so many milliseconds, instead of what was set before. */
void timer_set(struct loop *loop, struct timer *timer, uint64_t after_ms);
void timer_clear(struct loop *loop, struct timer *timer);

/** loop_run() - until quit is set. Return: 0 or -errno. */
int loop_run(struct loop *loop);

#endif
