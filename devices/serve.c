/* SPDX-License-Identifier: Apache-2.0
 *
 * The links of a device and their threads, see serve.h. A link's thread reads its records, gives
 * the back end what the link may, and takes everything apart when the link ends.
 */
#include "devices/serve_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SPIN_NS 20000
#define SLEEP_MS 1000 /* no sleep is without a bound */
#define BATCH 64      /* records between two looks at everything else */

void link_attend(struct serve_link *link)
{
	atomic_store(&link->attention, 1);
	arax_wake_ring(&link->shm->device_wake);
}

void link_stop(struct serve_link *link, int error, const char *why)
{
	if (atomic_load(&link->stop))
		return;
	link->error = error;
	link->why = why;
	atomic_store(&link->stop, true);
	link_attend(link);
}

/*
 * With state held, before anybody hears of the end: from then on the arena's memory may be given to
 * other objects, and to another tenant. A copy that still runs goes on, to where nobody looks; what
 * is in the control area stays, nothing is copied there. Without that this process cannot go on.
 */
static void link_let_go(struct serve_link *link)
{
	char *heap = (char *)link->arena + ARAX_HEAP_OFFSET;

	if (link->let_go)
		return;
	link->let_go = true;
	if (mmap(heap, link->arena_size - ARAX_HEAP_OFFSET, PROT_READ | PROT_WRITE,
		 MAP_FIXED | MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED)
		abort();
}

static void link_say(struct serve_link *link, enum arax_link_state state)
{
	atomic_store_explicit(&link->shm->state, state, memory_order_release);
	arax_wake_ring(&link->arena->tenant_wake);
}

void serve_lose(struct serve *serve)
{
	if (serve->lost)
		return;
	serve->lost = true;
	for (struct serve_link *link = serve->links; link; link = link->next) {
		/* At once: this process may end before the threads come to it. */
		link_let_go(link);
		link_say(link, ARAX_LINK_LOST);
		link_stop(link, -ENODEV, "the device is lost");
	}
}

/* ---- the thread ----------------------------------------------------------------------------- */

static void stop(struct serve_link *link, int error, const char *why)
{
	pthread_mutex_lock(&link->serve->state);
	link_stop(link, error, why);
	pthread_mutex_unlock(&link->serve->state);
}

/* Return: how many records. */
static unsigned link_read(struct serve_link *link)
{
	unsigned n = 0;

	while (n < BATCH && !atomic_load_explicit(&link->stop, memory_order_relaxed)) {
		const char *why = "its ring is not what was written";
		int rc = arax_ring_read(&link->sq, link->record, sizeof(link->record));

		if (!rc)
			break;
		if (rc > 0)
			rc = decode(link, (size_t)rc, &why);
		if (rc)
			stop(link, rc, rc == -ENOMEM ? "no memory" : why);
		n++;
	}
	return n;
}

/* A full exchange, because the head that was published must be seen by who sets it afterwards. */
static void tell_room(struct serve_link *link)
{
	if (atomic_exchange(&link->shm->tenant_waits, 0))
		arax_wake_ring(&link->arena->tenant_wake);
}

static bool link_ready(void *arg)
{
	struct serve_link *link = arg;

	return atomic_load_explicit(&link->attention, memory_order_relaxed) ||
	       arax_ring_pending(&link->sq);
}

static bool link_attended(void *arg)
{
	struct serve_link *link = arg;

	return atomic_load_explicit(&link->attention, memory_order_relaxed);
}

static void link_serve(struct serve_link *link)
{
	struct arax_spin spin;

	arax_spin_init(&spin, SPIN_NS);
	while (!atomic_load(&link->stop)) {
		atomic_exchange(&link->attention, 0);
		commands_collect(link);
		unsigned n = link_read(link);
		commands_offer(link);
		if (n)
			tell_room(link);
		else
			arax_wake_wait(&link->shm->device_wake, &spin, link_ready, link, SLEEP_MS);
	}
}

/* First that it is nobody's: araxd reads it meanwhile. */
static void usage_clear(struct arax_link_usage *usage)
{
	atomic_store(&usage->link, 0);
	atomic_store(&usage->commands, 0);
	atomic_store(&usage->busy_ns, 0);
	atomic_store(&usage->bytes_in, 0);
	atomic_store(&usage->bytes_out, 0);
	atomic_store(&usage->memory, 0);
	atomic_store(&usage->waiting, 0);
	atomic_store(&usage->in_flight, 0);
}

/* From here on nobody but this thread and what is in flight knows the link. */
static struct serve_command *link_leave(struct serve_link *link)
{
	struct serve *serve = link->serve;
	struct serve_command *dropped;

	pthread_mutex_lock(&serve->state);
	link_let_go(link);
	link_say(link, link->error == -ENODEV ? ARAX_LINK_LOST
		       : link->error	      ? ARAX_LINK_BROKEN
					      : ARAX_LINK_CLOSED);
	link->left = true;
	share_leave(&serve->share, &link->share);
	for (struct serve_link **at = &serve->links; *at; at = &(*at)->next) {
		if (*at == link) {
			*at = link->next;
			break;
		}
	}
	usage_clear(link->usage);
	link->usage = NULL;
	dropped = commands_drop(link);
	serve_grant(serve);
	pthread_mutex_unlock(&serve->state);
	return dropped;
}

static bool link_idle(struct serve_link *link)
{
	bool idle;

	pthread_mutex_lock(&link->serve->state);
	idle = !link->in_flight;
	pthread_mutex_unlock(&link->serve->state);
	return idle;
}

static void link_free(struct serve_link *link)
{
	munmap(link->arena, link->arena_size);
	arax_link_unmap(link->shm);
	free(link);
}

static void *link_run(void *arg)
{
	struct serve_link *link = arg;
	struct serve *serve = link->serve;
	struct serve_command *dropped;
	struct arax_spin spin = {0};

	link_serve(link);
	dropped = link_leave(link);
	serve->events.ended(serve->events.arg, link->id, link->error, link->why);
	while (dropped) {
		struct serve_command *next = dropped->next;

		command_free(link, dropped);
		dropped = next;
	}
	objects_exit(link);
	for (;;) {
		bool idle = link_idle(link);

		atomic_exchange(&link->attention, 0);
		commands_collect(link);
		if (idle)
			break;
		arax_wake_wait(&link->shm->device_wake, &spin, link_attended, link, SLEEP_MS);
	}
	link_free(link);
	pthread_mutex_lock(&serve->state);
	serve->threads--;
	pthread_cond_broadcast(&serve->gone);
	pthread_mutex_unlock(&serve->state);
	return NULL;
}

/* ---- the other threads ---------------------------------------------------------------------- */

static struct serve_link *find(const struct serve *serve, uint64_t id)
{
	struct serve_link *link = serve->links;

	while (link && (link->id != id || atomic_load(&link->stop)))
		link = link->next;
	return link;
}

/* Also one that is about to end: it has not been said yet. */
static struct serve_link *find_any(const struct serve *serve, uint64_t id)
{
	struct serve_link *link = serve->links;

	while (link && link->id != id)
		link = link->next;
	return link;
}

static int map_arena(int fd, uint64_t size, struct arax_shm **arena)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	void *map;

	if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) || size <= ARAX_HEAP_OFFSET ||
	    st.st_size < 0 || (uint64_t)st.st_size < size)
		return -EPROTO;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	*arena = map;
	return 0;
}

static int link_new(struct serve *serve, const struct arax_control_link *message, int link_fd,
		    int arena_fd, struct serve_link **out)
{
	struct serve_link *link = calloc(1, sizeof(*link));
	int rc = link ? arax_link_map(link_fd, &link->shm) : -ENOMEM;

	if (!rc) {
		rc = map_arena(arena_fd, message->arena_size, &link->arena);
		if (rc)
			arax_link_unmap(link->shm);
	}
	if (rc) {
		free(link);
		return rc;
	}
	link->serve = serve;
	link->id = message->link;
	link->arena_size = message->arena_size;
	atomic_store(&link->memory_limit, message->memory);
	arax_ring_init(&link->sq, &link->shm->sq, link->shm->sq_data, ARAX_LINK_SQ_BYTES);
	arax_ring_init(&link->cq, &link->shm->cq, link->shm->cq_data, ARAX_LINK_CQ_BYTES);
	queue_init(&link->held);
	queue_init(&link->waiting);
	queue_init(&link->granted);
	queue_init(&link->ended);
	*out = link;
	return 0;
}

static struct arax_link_usage *usage_row(const struct serve *serve)
{
	for (int i = 0; i < ARAX_DEVICE_LINKS; i++)
		if (!atomic_load(&serve->usage->links[i].link))
			return &serve->usage->links[i];
	return NULL;
}

/* With state held. */
static int link_start(struct serve *serve, struct serve_link *link,
		      const struct arax_control_link *message)
{
	pthread_t thread;
	int rc;

	link->usage = usage_row(serve);
	if (!link->id || find_any(serve, link->id))
		return -EEXIST;
	if (serve->lost)
		return -ENODEV;
	if (!link->usage)
		return -EMFILE;
	rc = -pthread_create(&thread, NULL, link_run, link);
	if (rc)
		return rc;
	pthread_detach(thread);
	serve->threads++;
	share_join(&serve->share, &link->share, message->weight, message->depth);
	link->next = serve->links;
	serve->links = link;
	atomic_store(&link->usage->link, link->id);
	return 0;
}

int serve_link(struct serve *serve, const struct arax_control_link *message, int link_fd,
	       int arena_fd)
{
	sigset_t all, old;
	struct serve_link *link;
	int rc = link_new(serve, message, link_fd, arena_fd, &link);

	if (rc)
		return rc;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_mutex_lock(&serve->state);
	rc = link_start(serve, link, message);
	pthread_mutex_unlock(&serve->state);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		link_free(link);
	return rc;
}

int serve_share(struct serve *serve, const struct arax_control_link *share)
{
	struct serve_link *link;

	pthread_mutex_lock(&serve->state);
	link = find(serve, share->link);
	if (link) {
		share_set(&link->share, share->weight, share->depth);
		atomic_store(&link->memory_limit, share->memory);
		serve_grant(serve);
	}
	pthread_mutex_unlock(&serve->state);
	return link ? 0 : -ENOENT;
}

int serve_unlink(struct serve *serve, uint64_t id)
{
	struct serve_link *link;

	pthread_mutex_lock(&serve->state);
	link = find_any(serve, id);
	if (link)
		link_let_go(link);
	link = find(serve, id);
	if (link)
		link_stop(link, 0, "unlinked");
	pthread_mutex_unlock(&serve->state);
	return link ? 0 : -ENOENT;
}

int serve_new(struct arax_device *dev, struct arax_device_usage *usage,
	      const struct serve_events *events, struct serve **out)
{
	struct serve *serve = calloc(1, sizeof(*serve));

	if (!serve)
		return -ENOMEM;
	assert(!dev->ops->poll);
	serve->dev = dev;
	serve->usage = usage;
	serve->events = *events;
	pthread_mutex_init(&serve->calls, NULL);
	pthread_mutex_init(&serve->state, NULL);
	pthread_cond_init(&serve->gone, NULL);
	*out = serve;
	return 0;
}

void serve_free(struct serve *serve)
{
	pthread_mutex_lock(&serve->state);
	for (struct serve_link *link = serve->links; link; link = link->next)
		link_stop(link, 0, "unlinked");
	while (serve->threads)
		pthread_cond_wait(&serve->gone, &serve->state);
	pthread_mutex_unlock(&serve->state);
	pthread_cond_destroy(&serve->gone);
	pthread_mutex_destroy(&serve->state);
	pthread_mutex_destroy(&serve->calls);
	free(serve);
}
