/* SPDX-License-Identifier: Apache-2.0
 *
 * The watcher thread of arax-tenant, see tenant_watch.h. The client has nothing to say once the
 * arena is mapped: what its socket brings is dropped. What araxd says goes to the dispatcher.
 */
#include "scheduler/tenant_watch.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "scheduler/dispatch.h"
#include "scheduler/tenant_setup.h"
#include "transport/control.h"
#include "transport/socket.h"

static struct pollfd watched[2]; /* link, control */
static struct dispatch *dispatcher;
static sem_t known; /* they are */

static bool is_there(ssize_t received)
{
	return received > 0 || received == -EPROTO || received == -ETIMEDOUT;
}

/* Return: is the client still there? */
static bool drop(int fd)
{
	char message[ARAX_CONTROL_MAX];
	int fds[ARAX_FDS_MAX];
	ssize_t n = arax_socket_recv(fd, message, sizeof(message), fds, 0);
	for (int i = 0; n > 0 && i < ARAX_FDS_MAX; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	return is_there(n);
}

/* Return: is araxd still there? */
static bool forward(int fd)
{
	_Alignas(8) char message[ARAX_CONTROL_MAX];
	int fds[ARAX_FDS_MAX];
	ssize_t n = arax_socket_recv(fd, message, sizeof(message), fds, 0);
	int rc = n > 0		? dispatch_post(dispatcher, message, (size_t)n, fds)
		 : n == -EPROTO ? -EPROTO
				: 0;
	if (rc)
		tenant_log("a message from araxd: %s", strerror(-rc));
	return is_there(n);
}

static void *watch(void *arg)
{
	(void)arg;
	while (sem_wait(&known) && errno == EINTR)
		;
	for (;;) {
		if (poll(watched, 2, -1) < 0 && errno != EINTR)
			tenant_leave(1);
		if (watched[0].revents && !drop(watched[0].fd))
			tenant_leave(0);
		if (watched[1].revents && !forward(watched[1].fd))
			watched[1].fd = -1; /* poll() skips it from now on */
	}
	return NULL;
}

int tenant_watch_start(void)
{
	pthread_t thread;
	if (sem_init(&known, 0, 0))
		return -errno;
	return -pthread_create(&thread, NULL, watch, NULL);
}

void tenant_watch(int link, int control, struct dispatch *dispatch)
{
	dispatcher = dispatch;
	watched[0] = (struct pollfd){.fd = link, .events = POLLIN};
	watched[1] = (struct pollfd){.fd = control, .events = POLLIN};
	sem_post(&known);
}
