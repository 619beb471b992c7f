/* SPDX-License-Identifier: Apache-2.0
 *
 * The event loop of araxd. It takes one event at a time from the kernel: what a handler frees can
 * then not be in a list of events that is still to be worked off. Control messages are rare.
 */
#include "scheduler/araxd_loop.h"

#include "transport/wake.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <unistd.h>

int loop_init(struct loop *loop)
{
	*loop = (struct loop){.epoll = epoll_create1(EPOLL_CLOEXEC)};
	return loop->epoll < 0 ? -errno : 0;
}

void loop_fini(struct loop *loop)
{
	if (loop->epoll >= 0)
		close(loop->epoll);
	loop->epoll = -1;
}

int loop_add(struct loop *loop, struct source *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	return epoll_ctl(loop->epoll, EPOLL_CTL_ADD, source->fd, &event) < 0 ? -errno : 0;
}

int loop_change(struct loop *loop, struct source *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	return epoll_ctl(loop->epoll, EPOLL_CTL_MOD, source->fd, &event) < 0 ? -errno : 0;
}

void loop_remove(struct loop *loop, struct source *source)
{
	int fd = source->fd;

	loop_forget(loop, source);
	if (fd >= 0)
		close(fd);
}

void loop_forget(struct loop *loop, struct source *source)
{
	/* Explicitly: a duplicate elsewhere would keep it in the set. */
	if (source->fd >= 0)
		epoll_ctl(loop->epoll, EPOLL_CTL_DEL, source->fd, NULL);
	source->fd = -1;
}

void timer_clear(struct loop *loop, struct timer *timer)
{
	for (struct timer **at = &loop->timers; *at; at = &(*at)->next) {
		if (*at == timer) {
			*at = timer->next;
			break;
		}
	}
	timer->at_ns = 0;
}

void timer_set(struct loop *loop, struct timer *timer, uint64_t after_ms)
{
	struct timer **at = &loop->timers;

	timer_clear(loop, timer);
	timer->at_ns = arax_now_ns() + after_ms * 1000000;
	while (*at && (*at)->at_ns <= timer->at_ns)
		at = &(*at)->next;
	timer->next = *at;
	*at = timer;
}

/* Fires what is due. Return: milliseconds to the next, -1 for none. */
static int loop_timers(struct loop *loop)
{
	while (loop->timers) {
		struct timer *timer = loop->timers;
		uint64_t now = arax_now_ns();

		if (timer->at_ns > now) {
			uint64_t ms = (timer->at_ns - now) / 1000000 + 1;
			return ms > INT_MAX ? INT_MAX : (int)ms;
		}
		loop->timers = timer->next;
		timer->at_ns = 0;
		timer->fire(timer);
	}
	return -1;
}

int loop_run(struct loop *loop)
{
	while (!loop->quit) {
		struct epoll_event event;
		int timeout = loop_timers(loop);

		if (loop->quit)
			break;
		int n = epoll_wait(loop->epoll, &event, 1, timeout);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			struct source *source = event.data.ptr;

			source->ready(source, event.events);
		}
	}
	return 0;
}
