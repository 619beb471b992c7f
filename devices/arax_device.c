/* SPDX-License-Identifier: Apache-2.0
 *
 * arax-device: the process of one device that is not in the tenants. Started by araxd with
 * descriptor 3 as its control socket:
 *
 *   arax-device --name NAME --backend sim [--options TEXT]
 *   arax-device --name NAME --backend opencl --library SONAME [--device N]
 *               [--memory BYTES] [--sandbox=off]
 *
 * It enters the sandbox, opens the device, says READY with what the device can do, and then serves
 * the links that araxd brings (serve.h). What goes wrong before that is a line in araxd's log and
 * status 1; a library that crashes or hangs does so here. Without araxd it goes on for as long as
 * it has tenants.
 *
 * This thread only passes messages on; links have threads of their own, and tell it of their end
 * through a list and a descriptor.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "devices/backend.h"
#include "devices/device_process.h"
#include "devices/serve.h"
#include "transport/control.h"
#include "transport/fault_point.h"
#include "transport/socket.h"

#define CONTROL_FD 3

/* A tenant. */
struct guest {
	uint64_t link; /* 0: none */
	int32_t pid;
	int pidfd; /* -1: not known */
};

struct ending {
	struct ending *next;
	uint64_t link;
	int error;
	char why[128];
};

struct process {
	struct backend_options options;
	const char *backend;
	uint64_t memory;
	bool sandbox_off, orphan; /* orphan: araxd has gone */
	struct sandbox sandbox;
	struct arax_device device;
	struct serve *serve;
	struct arax_device_usage *usage;
	int usage_fd, event_fd;
	struct guest guests[ARAX_DEVICE_LINKS];
	pthread_mutex_t lock;
	struct ending *endings; /* with lock */
};

static _Noreturn void fail(const char *what, const char *why)
{
	process_log(CONTROL_FD, "%s: %s", what, why);
	process_leave(1);
}

/* ---- the start ------------------------------------------------------------------------------ */

static bool number(const char *text, uint64_t max, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	return !errno && end != text && !*end && *text != '-' && *value <= max;
}

static bool take_option(struct process *p, const char *option, const char *value)
{
	uint64_t n;

	if (!value)
		return false;
	if (!strcmp(option, "--name"))
		p->options.name = value;
	else if (!strcmp(option, "--backend"))
		p->backend = value;
	else if (!strcmp(option, "--library"))
		p->options.library = value;
	else if (!strcmp(option, "--options"))
		p->options.options = value;
	else if (!strcmp(option, "--memory"))
		return number(value, UINT64_MAX, &p->memory);
	else if (!strcmp(option, "--device") && number(value, 1024, &n))
		p->options.number = (unsigned)n;
	else
		return false;
	return true;
}

static bool take_options(struct process *p, char **argv)
{
	while (*++argv) {
		if (!strcmp(*argv, "--version")) {
			puts("arax-device " ARAX_VERSION);
			exit(0);
		}
		if (!strcmp(*argv, "--sandbox=off")) {
			p->sandbox_off = true;
			continue;
		}
		if (!take_option(p, argv[0], argv[1]))
			return false;
		argv++;
	}
	return p->backend && p->options.name && p->options.name[0] &&
	       strlen(p->options.name) < sizeof(p->device.name);
}

static void open_device(struct process *p)
{
	const struct backend *backend = backends;
	const char *error = "";
	int rc;

	while (backend->name && strcmp(backend->name, p->backend))
		backend++;
	if (!backend->name)
		fail(p->backend, "there is no such back end in this build");
	rc = backend->open(&p->options, &p->device, &error);
	if (rc)
		fail(p->options.name, error && error[0] ? error : strerror(-rc));
	snprintf(p->device.name, sizeof(p->device.name), "%s", p->options.name);
	if (p->memory && (!p->device.caps.memory || p->device.caps.memory > p->memory))
		p->device.caps.memory = p->memory;
	if (p->device.caps.memory && p->device.caps.max_alloc > p->device.caps.memory)
		p->device.caps.max_alloc = p->device.caps.memory;
}

/* On the thread of the link. Without memory its end cannot be told of, so this is ours, too. */
static void link_ended(void *arg, uint64_t link, int error, const char *why)
{
	struct process *p = arg;
	struct ending *ending = malloc(sizeof(*ending));
	const uint64_t one = 1;

	if (!ending)
		fail("the end of a link", "no memory");
	ending->link = link;
	ending->error = error;
	snprintf(ending->why, sizeof(ending->why), "%s", why);
	pthread_mutex_lock(&p->lock);
	ending->next = p->endings;
	p->endings = ending;
	pthread_mutex_unlock(&p->lock);
	/* The counter is far from full: this thread reads it all the time. */
	if (write(p->event_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		fail("the end of a link", strerror(errno));
}

static void make_server(struct process *p)
{
	const struct serve_events events = {.ended = link_ended, .arg = p};
	int rc;

	p->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->usage_fd = arax_memfd_new("arax-usage", sizeof(*p->usage));
	if (p->event_fd < 0 || p->usage_fd < 0)
		fail("start", "no descriptors");
	p->usage =
	    mmap(NULL, sizeof(*p->usage), PROT_READ | PROT_WRITE, MAP_SHARED, p->usage_fd, 0);
	if (p->usage == MAP_FAILED)
		fail("usage", strerror(errno));
	rc = serve_new(&p->device, p->usage, &events, &p->serve);
	if (rc)
		fail("start", strerror(-rc));
}

static void send_ready(struct process *p)
{
	struct arax_control_device_ready message = {
	    .ready = {.head = {.magic = ARAX_CONTROL_MAGIC, .type = ARAX_CONTROL_READY, .major = 1},
		      .sandbox = p->sandbox.holds},
	    .caps = p->device.caps,
	};
	int rc;

	snprintf(message.ready.missing, sizeof(message.ready.missing), "%s", p->sandbox.missing);
	rc = arax_socket_send(CONTROL_FD, &message, sizeof(message), &p->usage_fd, 1);
	if (rc)
		fail("READY", strerror(-rc));
	ARAX_FAULT_POINT(DEVICE_READY);
	close(p->usage_fd);
}

/* ---- messages ------------------------------------------------------------------------------- */

static struct guest *find_guest(struct process *p, uint64_t link)
{
	for (int i = 0; i < ARAX_DEVICE_LINKS; i++)
		if (p->guests[i].link == link)
			return &p->guests[i];
	return NULL;
}

static int guest_enters(struct process *p, struct arax_control_link *message, int fds[ARAX_FDS_MAX])
{
	struct guest *guest = find_guest(p, 0);
	int rc;

	if (fds[0] < 0 || fds[1] < 0)
		return -EPROTO;
	if (!message->link || find_guest(p, message->link))
		return -EEXIST;
	if (!guest)
		return -EMFILE;
	if (p->memory && (!message->memory || message->memory > p->memory))
		message->memory = p->memory;
	ARAX_FAULT_POINT(DEVICE_LINKS);
	rc = serve_link(p->serve, message, fds[0], fds[1]);
	if (rc)
		return rc;
	ARAX_FAULT_POINT(DEVICE_LINKED);
	*guest = (struct guest){message->link, message->tenant_pid, fds[2]};
	fds[2] = -1;
	return 0;
}

/* araxd gives the tenant's memory to another one when it hears that. */
static void guest_let_go(struct process *p, uint64_t link)
{
	struct arax_control_link message = {
	    .head = {.magic = ARAX_CONTROL_MAGIC,
		     .type = ARAX_CONTROL_UNLINK | ARAX_CONTROL_REPLY,
		     .major = 1},
	    .link = link,
	};

	ARAX_FAULT_POINT(DEVICE_UNLINKS);
	/* The link may have ended by itself meanwhile, which is as good. */
	(void)serve_unlink(p->serve, link);
	ARAX_FAULT_POINT(DEVICE_LETS_GO);
	/* Without an araxd nobody waits for it. */
	(void)arax_socket_send(CONTROL_FD, &message, sizeof(message), NULL, 0);
}

static void handle(struct process *p, struct arax_control_link *message, int fds[ARAX_FDS_MAX])
{
	int rc;

	switch (message->head.type) {
	case ARAX_CONTROL_LINK:
		rc = guest_enters(p, message, fds);
		message->head.type |= ARAX_CONTROL_REPLY;
		message->head.error = -rc;
		/* When araxd has just gone, its tenant's link is as good as any. */
		(void)arax_socket_send(CONTROL_FD, message, sizeof(*message), NULL, 0);
		break;
	case ARAX_CONTROL_UNLINK:
		guest_let_go(p, message->link);
		break;
	case ARAX_CONTROL_SHARE:
		if (p->memory && (!message->memory || message->memory > p->memory))
			message->memory = p->memory;
		(void)serve_share(p->serve, message);
		break;
	default:
		process_log(CONTROL_FD, "not a message for a device: %u", message->head.type);
	}
}

static void read_control(struct process *p)
{
	struct arax_control_link message;
	int fds[ARAX_FDS_MAX];
	ssize_t n = arax_socket_recv(CONTROL_FD, &message, sizeof(message), fds, 0);

	if (n == 0 || n == -ECONNRESET)
		p->orphan = true;
	if (n == sizeof(message) && message.head.magic == ARAX_CONTROL_MAGIC)
		handle(p, &message, fds);
	else if (n > 0 || n == -EPROTO)
		process_log(CONTROL_FD, "not a message for a device");
	for (int i = 0; i < ARAX_FDS_MAX; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static void guest_leaves(struct process *p, const struct ending *ending)
{
	struct guest *guest = find_guest(p, ending->link);
	struct arax_control_link message = {
	    .head = {.magic = ARAX_CONTROL_MAGIC,
		     .type = ARAX_CONTROL_UNLINK,
		     .major = 1,
		     .error = -ending->error},
	    .link = ending->link,
	};

	if (ending->error == -ENODEV)
		fail(p->device.name, ending->why);
	if (!guest)
		return;
	if (ending->error) {
		process_log(CONTROL_FD, "tenant %d: %s: %s", (int)guest->pid,
			    ending->error == -EPROTO ? "broke the protocol" : "link ended",
			    ending->why);
		message.tenant_pid = guest->pid;
		(void)arax_socket_send(CONTROL_FD, &message, sizeof(message), NULL, 0);
	}
	ARAX_FAULT_POINT(DEVICE_LINK_ENDED);
	if (guest->pidfd >= 0)
		close(guest->pidfd);
	*guest = (struct guest){.pidfd = -1};
}

static void read_endings(struct process *p)
{
	struct ending *ending;
	uint64_t count;

	if (read(p->event_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		fail("the end of a link", strerror(errno));
	pthread_mutex_lock(&p->lock);
	ending = p->endings;
	p->endings = NULL;
	pthread_mutex_unlock(&p->lock);
	while (ending) {
		struct ending *next = ending->next;

		guest_leaves(p, ending);
		free(ending);
		ending = next;
	}
}

static bool has_guests(const struct process *p)
{
	for (int i = 0; i < ARAX_DEVICE_LINKS; i++)
		if (p->guests[i].link)
			return true;
	return false;
}

static _Noreturn void serve_all(struct process *p)
{
	struct pollfd polled[2 + ARAX_DEVICE_LINKS];

	while (!p->orphan || has_guests(p)) {
		polled[0] = (struct pollfd){.fd = p->orphan ? -1 : CONTROL_FD, .events = POLLIN};
		polled[1] = (struct pollfd){.fd = p->event_fd, .events = POLLIN};
		for (int i = 0; i < ARAX_DEVICE_LINKS; i++)
			polled[2 + i] = (struct pollfd){.fd = p->guests[i].pidfd, .events = POLLIN};
		if (poll(polled, 2 + ARAX_DEVICE_LINKS, -1) < 0 && errno != EINTR)
			fail("poll", strerror(errno));
		for (int i = 0; i < ARAX_DEVICE_LINKS; i++) {
			struct guest *guest = &p->guests[i];

			if (guest->pidfd < 0 || !polled[2 + i].revents)
				continue;
			guest_let_go(p, guest->link);
			close(guest->pidfd);
			guest->pidfd = -1;
		}
		if (polled[1].revents)
			read_endings(p);
		if (polled[0].revents)
			read_control(p);
	}
	process_leave(0);
}

int main(int argc, char **argv)
{
	static struct process process = {.lock = PTHREAD_MUTEX_INITIALIZER};
	int rc;

	(void)argc;
	if (!take_options(&process, argv) || fcntl(CONTROL_FD, F_GETFD) < 0) {
		fprintf(stderr, "arax-device is started by araxd: --name NAME --backend NAME "
				"[--library NAME] [--device N] [--options TEXT] [--memory BYTES] "
				"[--sandbox=off], with its control socket as descriptor 3\n");
		return 2;
	}
	for (int i = 0; i < ARAX_DEVICE_LINKS; i++)
		process.guests[i].pidfd = -1;
	fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC);
	prctl(PR_SET_NAME, "arax-device");
	rc = process_enter(&process.sandbox, process.sandbox_off);
	if (rc)
		fail("sandbox", strerror(-rc));
	ARAX_FAULT_POINT(DEVICE_ENTERED);
	open_device(&process);
	ARAX_FAULT_POINT(DEVICE_OPENED);
	make_server(&process);
	rc = process_seal(&process.sandbox);
	if (rc)
		fail("sandbox", strerror(-rc));
	send_ready(&process);
	serve_all(&process);
}
