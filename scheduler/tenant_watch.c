/* SPDX-License-Identifier: Apache-2.0
 *
 * The watcher thread of arax-tenant, see tenant_watch.h. The client has nothing to say once the
 * arena is mapped: what its socket brings is dropped. What araxd says goes to the dispatcher.
 */
#include "scheduler/tenant_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "scheduler/dispatch.h"
#include "scheduler/tenant_setup.h"
#include "transport/control.h"
#include "transport/protocol.h"
#include "transport/socket.h"

/* From DEVICE on the processes of devices, by index. */
enum { LINK, CONTROL, ADOPT, DEVICE, WATCHED = DEVICE + POLICY_DEVICES };
static struct pollfd watched[WATCHED];
static struct tenant_offer offered;
static int control_socket;
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

/* Its own journal says who we are; here is what was made for our client. */
static int answer_adopt(int fd)
{
	const struct arax_control_plain answer = {
	    .head = {.magic = ARAX_CONTROL_MAGIC,
		     .type = ARAX_CONTROL_ADOPT | ARAX_CONTROL_REPLY,
		     .major = ARAX_PROTOCOL_MAJOR,
		     .minor = ARAX_PROTOCOL_MINOR}};
	int rc = arax_socket_send(fd, &answer, sizeof(answer), offered.fds,
				  offered.fds[TENANT_OFFERS - 1] < 0 ? TENANT_OFFERS - 1
								     : TENANT_OFFERS);
	return rc == -EPIPE || rc == -ECONNRESET ? 0 : rc;
}

static void device_forget(uint32_t index)
{
	if (watched[DEVICE + index].fd >= 0)
		close(watched[DEVICE + index].fd);
	watched[DEVICE + index].fd = -1;
	watched[DEVICE + index].revents = 0;
}

/* Its process is watched from when it comes until it is lost: araxd may not be there to say so. */
static void device_told(const struct arax_control_device *m, int fds[ARAX_FDS_MAX])
{
	if (m->index >= POLICY_DEVICES ||
	    (m->what != ARAX_DEVICE_ADD && m->what != ARAX_DEVICE_LOST))
		return;
	device_forget(m->index);
	watched[DEVICE + m->index].fd = m->what == ARAX_DEVICE_ADD ? fds[1] : -1;
	if (watched[DEVICE + m->index].fd >= 0)
		fds[1] = -1;
}

static void device_ended(uint32_t index)
{
	struct arax_control_device lost = {.head = {.magic = ARAX_CONTROL_MAGIC,
						    .type = ARAX_CONTROL_DEVICE,
						    .major = ARAX_PROTOCOL_MAJOR,
						    .minor = ARAX_PROTOCOL_MINOR},
					   .what = ARAX_DEVICE_LOST,
					   .index = index};
	const int none[ARAX_FDS_MAX] = {-1, -1, -1, -1};
	/* Without memory for it: the next look. */
	if (dispatch_post(dispatcher, &lost, sizeof(lost), none) != -ENOMEM)
		device_forget(index);
}

static int take_message(int fd, const void *message, size_t size, int fds[ARAX_FDS_MAX])
{
	const struct arax_control_head *head = message;
	if (size == sizeof(struct arax_control_plain) && head->magic == ARAX_CONTROL_MAGIC &&
	    head->type == ARAX_CONTROL_ADOPT && fds[0] < 0)
		return answer_adopt(fd);
	if (size == sizeof(struct arax_control_device) && head->magic == ARAX_CONTROL_MAGIC &&
	    head->type == ARAX_CONTROL_DEVICE)
		device_told(message, fds);
	return dispatch_post(dispatcher, message, size, fds);
}

/* Another araxd: the former has gone, there are never two. What we say goes to this one. */
static void adopted(void)
{
	int fd = accept4(offered.adopt, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR))
		return;
	if (fd < 0 || dup3(fd, control_socket, O_CLOEXEC) < 0) {
		/* Who cannot be adopted must not seem so: araxd ends us when it sees that. */
		close(offered.adopt);
		watched[ADOPT].fd = -1;
	} else {
		watched[CONTROL].fd = control_socket;
	}
	if (fd >= 0)
		close(fd);
}

/* Return: is araxd still there? */
static bool forward(int fd)
{
	_Alignas(8) char message[ARAX_CONTROL_MAX];
	int fds[ARAX_FDS_MAX];
	ssize_t n = arax_socket_recv(fd, message, sizeof(message), fds, 0);
	int rc = n > 0 ? take_message(fd, message, (size_t)n, fds) : n == -EPROTO ? -EPROTO : 0;
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
		if (poll(watched, WATCHED, -1) < 0 && errno != EINTR)
			tenant_leave(1);
		if (watched[LINK].revents && !drop(watched[LINK].fd))
			tenant_leave(0);
		if (watched[CONTROL].revents && !forward(watched[CONTROL].fd))
			watched[CONTROL].fd = -1; /* poll() skips it from now on */
		if (watched[ADOPT].revents)
			adopted();
		for (uint32_t i = 0; i < POLICY_DEVICES; i++) {
			if (watched[DEVICE + i].revents)
				device_ended(i);
		}
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

void tenant_watch(int link, int control, const struct tenant_offer *offer,
		  struct dispatch *dispatch)
{
	dispatcher = dispatch;
	offered = *offer;
	control_socket = control;
	watched[LINK] = (struct pollfd){.fd = link, .events = POLLIN};
	watched[CONTROL] = (struct pollfd){.fd = control, .events = POLLIN};
	watched[ADOPT] = (struct pollfd){.fd = offer->adopt, .events = POLLIN};
	for (uint32_t i = 0; i < POLICY_DEVICES; i++)
		watched[DEVICE + i] = (struct pollfd){.fd = -1, .events = POLLIN};
	sem_post(&known);
}
