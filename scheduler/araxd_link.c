/* SPDX-License-Identifier: Apache-2.0
 *
 * Who is linked to a device: the process and the tenant are told of each other, of leases, and of
 * the end. A tenant that does not read its messages (one that is being debugged) is told later,
 * with what holds then; a process that does not is ended.
 */
#include "scheduler/araxd_device.h"
#include "scheduler/araxd_journal.h"

#include "transport/fault_point.h"
#include "transport/link.h"
#include "transport/protocol.h"
#include "transport/socket.h"
#include "transport/wake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INDEX_FIRST 2 /* the tenant's own devices come before */

struct link *link_find(const struct tenant *tenant, const struct device *device)
{
	struct link *link = tenant->links;

	while (link && (link->device != device || link->old))
		link = link->next_of_tenant;
	return link;
}

const struct arax_link_usage *link_usage(const struct link *link)
{
	const struct arax_device_usage *usage = link->seat ? link->seat->usage : NULL;

	for (unsigned i = 0; usage && i < ARAX_DEVICE_LINKS; i++)
		if (atomic_load_explicit(&usage->links[i].link, memory_order_relaxed) ==
		    link->number)
			return &usage->links[i];
	return NULL;
}

int link_new(struct seat *seat, struct tenant *tenant)
{
	struct devices *devices = seat->device->daemon->devices;

	if (tenant->next_index < INDEX_FIRST)
		tenant->next_index = INDEX_FIRST;
	if (tenant->next_index >= ARAX_STATS_DEVICES)
		return -ENOSPC;
	struct link *link = calloc(1, sizeof(*link));
	if (!link)
		return -ENOMEM;
	link->fd = arax_link_new();
	if (link->fd < 0) {
		int error = link->fd;

		free(link);
		return error;
	}
	link->device = seat->device;
	link->seat = seat;
	link->tenant = tenant;
	link->number = ++devices->last_link;
	link->index = tenant->next_index++;
	link->next = seat->links;
	seat->links = link;
	link->next_of_tenant = tenant->links;
	tenant->links = link;
	return 0;
}

void link_take(struct device *device, struct seat *seat, struct tenant *tenant, unsigned index)
{
	struct link *link = calloc(1, sizeof(*link));

	if (!link)
		return;
	link->fd = -1;
	link->device = device;
	link->seat = seat;
	link->tenant = tenant;
	link->number = ++device->daemon->devices->last_link;
	link->index = index;
	link->state = seat ? LINK_UP : LINK_LOST;
	link->tenant_knows = link->noted = link->old = true;
	if (seat) {
		link->next = seat->links;
		seat->links = link;
	}
	link->next_of_tenant = tenant->links;
	tenant->links = link;
}

static void link_leave_seat(struct link *link)
{
	struct arax_control_link message = {.link = link->number};

	if (!link->seat)
		return;
	for (struct link **at = &link->seat->links; *at; at = &(*at)->next) {
		if (*at == link) {
			*at = link->next;
			break;
		}
	}
	/* One that cannot take it now finds out by itself when the tenant has gone. */
	if (link->process_knows)
		(void)seat_send(link->seat, &message, ARAX_CONTROL_UNLINK, NULL, 0);
	if (!link->seat->links)
		link->seat->unused_ns = arax_now_ns();
	link->seat = NULL;
}

/* Nobody can find it any more. */
static void link_leave(struct link *link)
{
	note_unlink(link);
	link_leave_seat(link);
	for (struct link **at = &link->tenant->links; *at; at = &(*at)->next_of_tenant) {
		if (*at == link) {
			*at = link->next_of_tenant;
			break;
		}
	}
	if (link->fd >= 0)
		close(link->fd);
}

void link_free(struct link *link)
{
	link_leave(link);
	free(link);
}

/* A process that an earlier araxd has started cannot say it; it sees the death for itself. */
void link_part(struct link *link)
{
	struct seat *seat = link->process_knows ? link->seat : NULL;
	struct stat st;

	if (!seat || seat->old || seat->state == SEAT_EMPTY ||
	    fstat(link->tenant->arena_fd, &st) < 0)
		return link_free(link);
	link_leave(link);
	link->tenant = NULL;
	link->arena = st.st_ino;
	link->next = seat->parting;
	seat->parting = link;
	seat_parting(seat);
}

void link_parted(struct seat *seat, uint64_t number)
{
	struct link **at = &seat->parting;
	bool any = false;

	while (*at) {
		struct link *link = *at;

		if (number && link->number != number) {
			at = &link->next;
			continue;
		}
		*at = link->next;
		free(link);
		any = true;
	}
	if (!any)
		return;
	seat_parting(seat);
	/* Its client may wait for another tenant. */
	araxd_progress(seat->device->daemon);
}

/* Return: false when the tenant does not take it now. One that has gone is told nothing more. */
static bool link_say(struct link *link, unsigned what, const struct lease *lease)
{
	struct tenant *tenant = link->tenant;
	struct arax_control_device message = {
	    .head = {.magic = ARAX_CONTROL_MAGIC,
		     .type = ARAX_CONTROL_DEVICE,
		     .major = ARAX_PROTOCOL_MAJOR,
		     .minor = ARAX_PROTOCOL_MINOR},
	    .what = what,
	    .index = link->index,
	    .share = lease->share,
	    .depth = lease->depth,
	};

	snprintf(message.name, sizeof(message.name), "%s", link->device->name);
	if (what == ARAX_DEVICE_ADD)
		message.caps = link->seat->caps;
	if (tenant->child.control.fd < 0)
		return true;
	const int fds[] = {link->fd, link->seat ? link->seat->child.process.fd : -1};
	int nfds = what != ARAX_DEVICE_ADD ? 0 : fds[1] < 0 ? 1 : 2;
	return arax_socket_send(tenant->child.control.fd, &message, sizeof(message), fds, nfds) !=
	       -EAGAIN;
}

/* What the process lets it have. */
static void link_share(const struct link *link, const struct lease *lease,
		       struct arax_control_link *message)
{
	uint64_t memory = link->seat->caps.memory;

	message->link = link->number;
	message->arena_size = link->tenant->arena_size;
	message->tenant_pid = link->tenant->pid;
	message->weight = lease->share ? lease->share : 1;
	message->depth = lease->depth;
	message->memory = link->device->config.memory;
	/* A part of the memory as well, of a device that has others, too. */
	if (link->device->config.shared && lease->share < LEASE_SHARE)
		message->memory = memory / LEASE_SHARE * (lease->share ? lease->share : 1);
}

/* Both learn of each other: the process first, so that nobody waits for it. */
static bool link_begin(struct link *link, const struct lease *lease)
{
	const int fds[] = {link->fd, link->tenant->arena_fd, link->tenant->child.process.fd};
	struct arax_control_link message = {0};

	link_share(link, lease, &message);
	int error =
	    link->process_knows
		? seat_send(link->seat, &message, ARAX_CONTROL_SHARE, NULL, 0)
		: seat_send(link->seat, &message, ARAX_CONTROL_LINK, fds, fds[2] >= 0 ? 3 : 2);
	if (error)
		return error != -EAGAIN; /* its end comes */
	link->process_knows = true;
	ARAX_FAULT_POINT(ARAXD_LINK_HALF_KNOWN);
	note_link(link);
	if (!link_say(link, ARAX_DEVICE_ADD, lease))
		return false;
	ARAX_FAULT_POINT(ARAXD_LINKED);
	link->tenant_knows = true;
	link->state = LINK_UP;
	link->told = *lease;
	close(link->fd);
	link->fd = -1;
	/* It may be in the place of an old one. */
	devices_change(link->device->daemon->devices);
	return true;
}

bool link_lease(struct link *link, const struct lease *lease)
{
	struct arax_control_link message = {0};

	if (link->state == LINK_NEW && link->seat)
		return link_begin(link, lease);
	if (link->state != LINK_UP || !link->seat ||
	    (lease->share == link->told.share && lease->depth == link->told.depth))
		return true;
	link_share(link, lease, &message);
	if (seat_send(link->seat, &message, ARAX_CONTROL_SHARE, NULL, 0) == -EAGAIN)
		return false;
	if (!link_say(link, ARAX_DEVICE_LEASE, lease))
		return false;
	link->told = *lease;
	return true;
}

bool link_tell(struct link *link)
{
	static const struct lease none;

	switch (link->state) {
	case LINK_NEW:
		return true;
	case LINK_UP:
		if (link->told_drain) {
			if (!link_say(link, ARAX_DEVICE_ONLINE, &link->told))
				return false;
			link->told_drain = false;
		}
		return true;
	case LINK_DRAINING:
		if (!link->told_drain) {
			if (!link_say(link, ARAX_DEVICE_DRAIN, &none))
				return false;
			ARAX_FAULT_POINT(ARAXD_DRAINS);
			link->told_drain = true;
		}
		return true;
	case LINK_LOST:
	case LINK_REFUSED:
		if (link->tenant_knows && !link->told_lost) {
			if (!link_say(link, ARAX_DEVICE_LOST, &none))
				return false;
			link->told_lost = true;
		}
		if (link->state == LINK_LOST)
			link_free(link);
		return true;
	}
	return true;
}
