/* SPDX-License-Identifier: Apache-2.0
 *
 * The processes of devices: started, told of tenants, and ended. What a native library does while
 * it is looked for (crash, hang, fail) it does in there, and has a deadline for it.
 */
#include "scheduler/araxd_device.h"

#include "kernels/tree.h"
#include "scheduler/araxd_journal.h"
#include "scheduler/araxd_sandbox.h"
#include "transport/fault_point.h"
#include "transport/protocol.h"
#include "transport/socket.h"
#include "transport/wake.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEAT_LINES 64

struct seat *seat_find(const struct device *device, const struct tenant *tenant)
{
	for (struct seat *s = device->seats; s; s = s->next)
		if (s->old)
			continue;
		else if (s->owner ? s->owner == tenant
				  : device->config.shared && domain_same(&s->domain, &tenant->id))
			return s;
	return NULL;
}

static void seat_clean(struct seat *seat)
{
	int error = seat->work ? arax_tree_remove(seat->work) : 0;

	if (error)
		araxd_warn("%s: %s", seat->work, strerror(-error));
	free(seat->work);
	seat->work = NULL;
	seat->behind_ns = 0;
	if (seat->usage)
		munmap((void *)(uintptr_t)seat->usage, sizeof(*seat->usage));
	seat->usage = NULL;
}

void seat_free(struct seat *seat)
{
	for (struct seat **at = &seat->device->seats; *at; at = &(*at)->next) {
		if (*at == seat) {
			*at = seat->next;
			break;
		}
	}
	while (seat->parting) {
		struct link *link = seat->parting;

		seat->parting = link->next;
		free(link);
	}
	timer_clear(&seat->device->daemon->loop, &seat->timer);
	free(seat);
}

void seat_finish(struct seat *seat)
{
	if (seat->state == SEAT_READY && seat->links) {
		child_forget(&seat->child);
		free(seat->work);
		seat->work = NULL;
	} else if (seat->state != SEAT_EMPTY) {
		child_finish(&seat->child);
	}
	while (seat->links) {
		struct link *link = seat->links;

		seat->links = link->next;
		link->seat = NULL;
	}
	seat_clean(seat);
	seat_free(seat);
}

void seat_end(struct seat *seat, const char *why)
{
	if (seat->state == SEAT_EMPTY || seat->state == SEAT_ENDING)
		return;
	snprintf(seat->said, sizeof(seat->said), "%s", why ? why : "");
	seat->state = SEAT_ENDING;
	child_kill(&seat->child);
}

static void seat_ended(struct child *child, const siginfo_t *how)
{
	struct seat *seat = CONTAINER(child, struct seat, child);
	enum seat_state was = seat->state;

	/* When it left by itself its last words say more. */
	if (was != SEAT_ENDING && (how->si_code != CLD_EXITED || !seat->said[0]))
		child_describe(how, seat->said, sizeof(seat->said));
	timer_clear(&seat->device->daemon->loop, &seat->timer);
	seat_clean(seat);
	seat->state = SEAT_EMPTY;
	link_parted(seat, 0);
	devices_seat_ended(seat);
}

/* Discovery takes too long. */
static void seat_late(struct timer *timer)
{
	struct seat *seat = CONTAINER(timer, struct seat, timer);
	char why[64];

	snprintf(why, sizeof(why), "did not answer within %d s", DEVICE_DISCOVERY_MS / 1000);
	seat_end(seat, why);
}

static void seat_keeps(struct timer *timer)
{
	seat_end(CONTAINER(timer, struct seat, timer),
		 "keeps the memory of a tenant that has gone");
}

/* Its discovery is over, so the timer is free. Each answer gives the next one its time. */
void seat_parting(struct seat *seat)
{
	struct loop *loop = &seat->device->daemon->loop;

	timer_clear(loop, &seat->timer);
	if (!seat->parting || seat->state != SEAT_READY)
		return;
	seat->timer.fire = seat_keeps;
	timer_set(loop, &seat->timer, DEVICE_PART_MS);
}

/* Back ends that know no limit have one nevertheless: links are told of it, too. */
static void seat_limit(struct seat *seat)
{
	uint64_t memory = seat->device->config.memory;

	if (memory && seat->caps.memory > memory)
		seat->caps.memory = memory;
	if (memory && (!seat->caps.max_alloc || seat->caps.max_alloc > memory))
		seat->caps.max_alloc = memory;
}

static int seat_ready(struct seat *seat, const struct arax_control_device_ready *ready, size_t size,
		      int usage)
{
	char why[sizeof(seat->said)];
	struct stat st;

	if (seat->state != SEAT_STARTING || size != sizeof(*ready))
		return -EPROTO;
	if (!sandbox_take(&seat->device->sandbox, &ready->ready, SANDBOX_ALL_DEVICE,
			  &seat->device->daemon->config, why)) {
		seat_end(seat, why);
		return 0;
	}
	if (fstat(usage, &st) < 0 || (size_t)st.st_size < sizeof(*seat->usage))
		return -EPROTO;
	void *map = mmap(NULL, sizeof(*seat->usage), PROT_READ, MAP_SHARED, usage, 0);
	if (map == MAP_FAILED)
		return -errno;
	seat->usage = map;
	seat->caps = ready->caps;
	seat->caps.target[sizeof(seat->caps.target) - 1] = '\0';
	seat_limit(seat);
	/* Without that the next araxd takes it for one that has gone. */
	(void)process_identify(seat->pid, seat->child.process.fd, &seat->process);
	seat->state = SEAT_READY;
	seat->ready_ns = seat->unused_ns = arax_now_ns();
	seat->said[0] = '\0';
	timer_clear(&seat->device->daemon->loop, &seat->timer);
	devices_seat_ready(seat);
	return 0;
}

/* Nothing that a terminal obeys: kernels may have a say in it. */
static int seat_line(struct seat *seat, const struct arax_control_log *log, size_t size)
{
	size_t i;

	if (size != sizeof(*log) || ++seat->lines > SEAT_LINES)
		return -EPROTO;
	for (i = 0; i + 1 < sizeof(seat->said) && i < sizeof(log->line) && log->line[i]; i++)
		seat->said[i] = isprint((unsigned char)log->line[i]) ? log->line[i] : '?';
	seat->said[i] = '\0';
	araxd_info("device %s (process %d) says: %s", seat->device->name, seat->pid, seat->said);
	return 0;
}

static struct link *seat_link(const struct seat *seat, uint64_t number)
{
	for (struct link *l = seat->links; l; l = l->next)
		if (l->number == number)
			return l;
	return NULL;
}

/* The answer to LINK or to UNLINK, or the end of a link because of its tenant. */
static int seat_link_news(struct seat *seat, const struct arax_control_link *news, size_t size)
{
	struct link *link = size == sizeof(*news) ? seat_link(seat, news->link) : NULL;

	if (size != sizeof(*news))
		return -EPROTO;
	if (news->head.type == (ARAX_CONTROL_UNLINK | ARAX_CONTROL_REPLY) && news->link)
		link_parted(seat, news->link);
	if (!link || !news->head.error || link->state == LINK_REFUSED)
		return 0;
	araxd_warn("device %s: tenant %d is not served: %s", seat->device->name, link->tenant->pid,
		   strerror(abs(news->head.error)));
	link->state = LINK_REFUSED;
	devices_change(seat->device->daemon->devices);
	return 0;
}

static void seat_message(struct child *child, const struct arax_control_head *head, size_t size,
			 int fds[ARAX_FDS_MAX])
{
	struct seat *seat = CONTAINER(child, struct seat, child);
	int error = -EPROTO;

	switch (head->type) {
	case ARAX_CONTROL_LOG:
		error = seat_line(seat, (const void *)head, size);
		break;
	case ARAX_CONTROL_READY:
		error = seat_ready(seat, (const void *)head, size, fds[0]);
		break;
	case ARAX_CONTROL_LINK | ARAX_CONTROL_REPLY:
	case ARAX_CONTROL_UNLINK:
	case ARAX_CONTROL_UNLINK | ARAX_CONTROL_REPLY:
		error = seat_link_news(seat, (const void *)head, size);
		break;
	default:
		break;
	}
	if (error) {
		araxd_error("device %s: process %d: %s", seat->device->name, seat->pid,
			    strerror(-error));
		seat_end(seat, "speaks no protocol of ours");
	}
}

static int seat_spawn(struct seat *seat, const char *path)
{
	const struct device *device = seat->device;
	const struct config_device *config = &device->config;
	struct araxd *daemon = device->daemon;
	char number[16], options[sizeof(config->options) + 40];
	char *argv[16] = {(char *)(uintptr_t)path};
	unsigned n = 1;

#define ARGUMENT(text) (argv[n++] = (char *)(uintptr_t)(text))
	ARGUMENT("--name");
	ARGUMENT(device->name);
	ARGUMENT("--backend");
	ARGUMENT(config->backend == CONFIG_BACKEND_SIM ? "sim" : "opencl");
	if (config->backend == CONFIG_BACKEND_OPENCL) {
		snprintf(number, sizeof(number), "%u", config->number);
		ARGUMENT("--library");
		ARGUMENT(config->library);
		ARGUMENT("--device");
		ARGUMENT(number);
	}
	config_device_options(config, options, sizeof(options));
	if (options[0]) {
		ARGUMENT("--options");
		ARGUMENT(options);
	}
	if (!daemon->config.sandbox)
		ARGUMENT("--sandbox=off");
#undef ARGUMENT
	if (asprintf(&seat->work, "%s/device-XXXXXX", daemon->work) < 0) {
		seat->work = NULL;
		return -ENOMEM;
	}
	if (!mkdtemp(seat->work))
		return -errno;
	return child_start(&seat->child, &daemon->loop, path, argv, seat->work);
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

uint64_t seat_start(struct seat *seat)
{
	struct device *device = seat->device;
	struct araxd *daemon = device->daemon;
	uint64_t now = arax_now_ns();
	uint64_t from = later(device->not_before_ns, seat->not_before_ns);
	char *path;

	if (seat->state != SEAT_EMPTY)
		return 0;
	if (from > now)
		return (from - now) / 1000000 + 1;
	seat->said[0] = '\0';
	seat->lines = 0;
	seat->ready_ns = 0;
	seat->child.message = seat_message;
	seat->child.ended = seat_ended;
	seat->timer.fire = seat_late;
	int error = asprintf(&path, "%s/arax-device", daemon->libexec) < 0 ? -ENOMEM : 0;
	if (!error) {
		error = seat_spawn(seat, path);
		free(path);
	}
	if (error) {
		snprintf(seat->said, sizeof(seat->said), "arax-device does not start: %s",
			 strerror(-error));
		seat_clean(seat);
		devices_seat_ended(seat);
		return 0;
	}
	ARAX_FAULT_POINT(ARAXD_DEVICE_STARTED);
	seat->state = SEAT_STARTING;
	seat->pid = seat->child.pid;
	timer_set(&daemon->loop, &seat->timer, DEVICE_DISCOVERY_MS);
	return 0;
}

struct seat *seat_new(struct device *device, struct tenant *tenant)
{
	struct seat *seat = calloc(1, sizeof(*seat));

	if (!seat)
		return NULL;
	seat->device = device;
	seat->owner = device->config.shared ? NULL : tenant;
	seat->domain = tenant ? tenant->id : (struct domain_id){.uid = geteuid()};
	seat->probe = !tenant;
	seat->unused_ns = arax_now_ns();
	seat->next = device->seats;
	device->seats = seat;
	return seat;
}

struct seat *seat_take(struct device *device, const struct record_link *record)
{
	struct loop *loop = &device->daemon->loop;

	for (struct seat *s = device->seats; s; s = s->next)
		if (s->old && s->state == SEAT_READY && s->pid == record->process.pid)
			return s;
	int process = process_find(&record->process);
	struct seat *seat = process < 0 ? NULL : seat_new(device, NULL);
	if (seat) {
		seat->old = true;
		seat->probe = false;
		seat->process = record->process;
		seat->pid = record->process.pid;
		seat->work = record->work[0] ? strdup(record->work) : NULL;
		seat->child.message = seat_message;
		seat->child.ended = seat_ended;
		if (child_take(&seat->child, loop, seat->pid, process, -1) == 0) {
			seat->state = SEAT_READY;
			seat->ready_ns = arax_now_ns();
			return seat;
		}
		seat_clean(seat);
		seat_free(seat);
	}
	if (process >= 0)
		close(process);
	return NULL;
}

int seat_send(struct seat *seat, struct arax_control_link *message, unsigned type, const int *fds,
	      unsigned nfds)
{
	message->head = (struct arax_control_head){.magic = ARAX_CONTROL_MAGIC,
						   .type = (uint16_t)type,
						   .major = ARAX_PROTOCOL_MAJOR,
						   .minor = ARAX_PROTOCOL_MINOR};
	if (seat->state != SEAT_READY || seat->child.control.fd < 0)
		return -EPIPE;
	int error = arax_socket_send(seat->child.control.fd, message, sizeof(*message), fds, nfds);
	uint64_t now = arax_now_ns();

	if (!error) {
		seat->behind_ns = 0;
		return 0;
	}
	/* On a busy machine many tenants are more than it reads at once. */
	if (error == -EAGAIN && !seat->behind_ns)
		seat->behind_ns = now;
	if (error != -EAGAIN || now - seat->behind_ns > DEVICE_BEHIND_MS * 1000000ull)
		seat_end(seat, "does not take its messages");
	return error;
}
