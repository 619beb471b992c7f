/* SPDX-License-Identifier: Apache-2.0
 *
 * The progress thread: the one thread that the library may have in an application's process. It
 * exists only once something needs it (a callback on an event that has not ended, host work that
 * could not be done at once, printf output) and sleeps while nothing of that kind is in flight. It
 * runs the application's callbacks, so that they never run inside another call of the application
 * or under a lock.
 */
#include "icd/connection.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

/* An event whose callbacks are due; holds a use of it. */
struct notice {
	struct notice *next;
	cl_event event;
};

#define LOOK_MS 50
#define SPIN_NS 5000

struct helper {
	void (*run)(void *arg);
	void *arg;
};

static void *helper_main(void *arg)
{
	struct helper helper = *(struct helper *)arg;

	free(arg);
	helper.run(helper.arg);
	return NULL;
}

/* The application's signals are for its own threads. */
int helper_thread(void (*run)(void *arg), void *arg)
{
	struct helper *helper = malloc(sizeof(*helper));
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t thread;

	if (!helper)
		return -ENOMEM;
	*helper = (struct helper){run, arg};
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int err = pthread_create(&thread, &attr, helper_main, helper);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (err)
		free(helper);
	return -err;
}

static bool progress_due(void *arg)
{
	struct connection *conn = arg;

	return atomic_load_explicit(&conn->njobs, memory_order_acquire) != 0 ||
	       atomic_load_explicit(&conn->nnotices, memory_order_acquire) != 0 ||
	       atomic_load_explicit(&conn->watch, memory_order_acquire) == 0;
}

static struct command *take_job(struct connection *conn)
{
	struct command *job = conn->jobs;

	if (job) {
		conn->jobs = job->next;
		if (!conn->jobs)
			conn->jobs_tail = &conn->jobs;
		conn->njobs--;
	}
	return job;
}

/* Whoever waits may do what the progress thread has not come to: it may be in a callback that waits
 * for the very thread that waits here. */
bool progress_help(struct connection *conn)
{
	if (!atomic_load_explicit(&conn->njobs, memory_order_acquire))
		return false;
	pthread_mutex_lock(&conn->lock);
	struct command *job = take_job(conn);
	pthread_mutex_unlock(&conn->lock);
	if (job)
		command_execute(conn, job);
	return job != NULL;
}

static struct notice *take_notice(struct connection *conn)
{
	struct notice *notice = conn->notices;

	if (notice) {
		conn->notices = notice->next;
		if (!conn->notices)
			conn->notices_tail = &conn->notices;
		conn->nnotices--;
	}
	return notice;
}

static void run_notice(struct notice *notice)
{
	event_call_back(notice->event);
	object_unuse(&notice->event->object);
	free(notice);
}

/* One thing to do, or sleep until there may be one. Lock held on entry and exit. */
static void progress_step(struct connection *conn)
{
	struct command *job = take_job(conn);
	struct notice *notice = job ? NULL : take_notice(conn);

	if (!job && !notice && (!conn->watch || conn->dead)) {
		pthread_cond_wait(&conn->progress_work, &conn->lock);
		return;
	}
	pthread_mutex_unlock(&conn->lock);
	if (job)
		command_execute(conn, job);
	else if (notice)
		run_notice(notice);
	else
		connection_wait(conn, progress_due, conn, true);
	connection_settle(conn);
	pthread_mutex_lock(&conn->lock);
}

static void progress_main(void *arg)
{
	struct connection *conn = arg;

	pthread_mutex_lock(&conn->lock);
	for (;;)
		progress_step(conn);
}

int progress_ensure(struct connection *conn)
{
	int err = conn->progress_started ? 0 : helper_thread(progress_main, conn);

	conn->progress_started = !err;
	return err;
}

void progress_watch(struct connection *conn)
{
	conn->watch++;
	pthread_cond_signal(&conn->progress_work);
}

void progress_unwatch(struct connection *conn)
{
	conn->watch--;
}

void progress_job(struct connection *conn, struct command *command)
{
	command->next = NULL;
	*conn->jobs_tail = command;
	conn->jobs_tail = &command->next;
	conn->njobs++;
	pthread_cond_signal(&conn->progress_work);
}

void progress_notify(struct connection *conn, cl_event event)
{
	struct notice *notice;

	pthread_mutex_lock(&event->lock);
	bool wanted = event->callbacks != NULL;
	pthread_mutex_unlock(&event->lock);
	if (!wanted)
		return;
	notice = malloc(sizeof(*notice));
	pthread_mutex_lock(&conn->lock);
	if (!notice || progress_ensure(conn)) { /* better in this thread than never */
		pthread_mutex_unlock(&conn->lock);
		free(notice);
		event_call_back(event);
		return;
	}
	object_use(&event->object);
	*notice = (struct notice){.event = event};
	*conn->notices_tail = notice;
	conn->notices_tail = &notice->next;
	conn->nnotices++;
	pthread_cond_signal(&conn->progress_work);
	pthread_mutex_unlock(&conn->lock);
	connection_wake(conn);
}
