/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of devices, see araxd_device.h. Everything that has to happen is found by looking at
 * what there is (devices_settle()), whatever it was that has changed.
 */
#include "scheduler/araxd_device.h"

#include "scheduler/araxd_journal.h"
#include "scheduler/araxd_manage.h"
#include "transport/fault_point.h"
#include "transport/wake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SHARED_IDLE_MS 15000 /* a shared process stays so long when nobody uses it */
#define AGAIN_MS 50	     /* a tenant that did not take a message gets it then */
#define CRASH_NS (10ull * 1000000000)
#define CRASH_DELAY_MS 100
#define CRASH_DELAY_MAX_MS 10000
#define DISCOVERY_DELAY_MS 500
#define DISCOVERY_DELAY_MAX_MS 60000

struct device *device_find(const struct devices *devices, const char *name)
{
	struct device *device = devices->list;

	while (device && (device->leaving || strcmp(device->name, name) != 0))
		device = device->next;
	return device;
}

bool device_in_use(const struct device *device)
{
	for (const struct seat *s = device->seats; s; s = s->next)
		if (s->links)
			return true;
	return false;
}

void devices_change(struct devices *devices)
{
	timer_set(&devices->daemon->loop, &devices->change, 0);
}

/* Looks again in so many ms, or earlier when that was said already. */
static void devices_again(struct devices *devices, uint64_t ms)
{
	uint64_t at = arax_now_ns() + ms * 1000000;

	if (ms && (!devices->again.at_ns || at < devices->again.at_ns))
		timer_set(&devices->daemon->loop, &devices->again, ms);
}

static uint64_t backoff(uint64_t first_ms, uint64_t most_ms, unsigned times)
{
	uint64_t delay = first_ms << (times < 10 ? times : 10);

	return delay < most_ms ? delay : most_ms;
}

/* ---- who should be linked */

static bool device_wanted(const struct device *device)
{
	return device->config.enabled && !device->offline && !device->leaving;
}

static bool tenant_may(const struct tenant *tenant, const struct device *device)
{
	char result[CONFIG_LIST];

	return tenant->state == TENANT_ATTACHED && tenant->client && !tenant->refused[0] &&
	       tenant->arena_fd >= 0 &&
	       config_narrow(device->name, tenant->client->wanted, result) == 0;
}

/* The tenant's place: started, and linked when its process is ready. */
static void device_serve(struct device *device, struct tenant *tenant)
{
	struct devices *devices = device->daemon->devices;
	struct seat *seat = seat_find(device, tenant);

	if (link_find(tenant, device))
		return;
	if (!seat)
		seat = seat_new(device, tenant);
	if (!seat)
		return devices_again(devices, AGAIN_MS);
	if (seat->state == SEAT_EMPTY)
		devices_again(devices, seat_start(seat));
	if (seat->state != SEAT_READY || tenant->full)
		return;
	int error = link_new(seat, tenant);
	if (!error)
		return;
	araxd_warn("tenant %d is not linked to device %s: %s", tenant->pid, device->name,
		   error == -ENOSPC ? "it has had as many as it can have" : strerror(-error));
	tenant->full = error == -ENOSPC;
	if (!tenant->full)
		devices_again(devices, AGAIN_MS);
}

/* ---- who should not */

/* Its tenant may have no other device: it goes on with this one until it has the next. */
static void link_settle_old(struct link *link)
{
	struct devices *devices = link->device->daemon->devices;
	const struct link *next = link_find(link->tenant, link->device);
	uint64_t now = arax_now_ns();

	if (link->state == LINK_UP &&
	    (!device_wanted(link->device) || (next && next->state == LINK_UP))) {
		link->state = LINK_DRAINING;
		link->deadline_ns = now + DEVICE_DRAIN_MS * 1000000ull;
	} else if (link->state == LINK_DRAINING && link->deadline_ns <= now) {
		link->state = LINK_LOST;
	}
	if (link->state == LINK_DRAINING)
		devices_again(devices, (link->deadline_ns - now) / 1000000 + 1);
	if (!link_tell(link))
		devices_again(devices, AGAIN_MS);
}

static void link_settle(struct link *link)
{
	struct device *device = link->device;

	if (link->old)
		return link_settle_old(link);
	if (device_wanted(device)) {
		if (link->state == LINK_DRAINING)
			link->state = LINK_UP;
	} else if (link->state == LINK_NEW) {
		return link_free(link);
	} else if (link->state == LINK_UP) {
		link->state = LINK_DRAINING;
	} else if (link->state == LINK_REFUSED && link->told_lost) {
		return link_free(link);
	} else if (link->state == LINK_DRAINING && device->leaving &&
		   device->deadline_ns <= arax_now_ns()) {
		link->state = LINK_LOST;
	}
	if (!link_tell(link))
		devices_again(device->daemon->devices, AGAIN_MS);
}

static bool seat_needed(const struct seat *seat)
{
	if (!device_wanted(seat->device) || seat->old)
		return false;
	for (const struct tenant *t = pool_tenants(seat->device->daemon->pool); t; t = t->next)
		if (tenant_may(t, seat->device) && seat_find(seat->device, t) == seat)
			return true;
	return false;
}

/* Ends the process of a seat that nobody uses, and the seat. */
static void seat_settle(struct seat *seat)
{
	struct device *device = seat->device;
	uint64_t idle_ms = (arax_now_ns() - seat->unused_ns) / 1000000;
	bool keep = !seat->old && device->config.shared && device_wanted(device);

	if (seat->links || seat_needed(seat) ||
	    (seat->probe && seat->state == SEAT_STARTING && device_wanted(device)))
		return;
	if (seat->state == SEAT_EMPTY)
		return seat_free(seat);
	if (keep && idle_ms < SHARED_IDLE_MS)
		devices_again(device->daemon->devices, SHARED_IDLE_MS - idle_ms + 1);
	else
		seat_end(seat, NULL);
}

static void device_settle(struct device *device)
{
	struct devices *devices = device->daemon->devices;

	/* What it is, or why it is not there, can be asked before anybody needs it; but first comes
	 * the first tenant, for which everybody waits. */
	if (device_wanted(device) && !device->known && !device->failures && !device->seats &&
	    pool_info(devices->daemon->pool)) {
		struct seat *seat = seat_new(device, NULL);

		if (seat)
			devices_again(devices, seat_start(seat));
	}
	if (device_wanted(device))
		for (struct tenant *t = pool_list(devices->daemon->pool); t; t = t->next)
			if (tenant_may(t, device))
				device_serve(device, t);
	for (struct seat *s = device->seats, *next; s; s = next) {
		next = s->next;
		seat_settle(s);
	}
	if (device->leaving && device_in_use(device)) {
		uint64_t now = arax_now_ns();

		devices_again(devices, device->deadline_ns > now
					   ? (device->deadline_ns - now) / 1000000 + 1
					   : AGAIN_MS);
	}
}

/* Who can run nothing, because none of its devices is there, does not wait for ever. */
static void tenant_settle(struct devices *devices, struct tenant *tenant)
{
	if (tenant->state != TENANT_ATTACHED || !tenant->client || tenant->refused[0] ||
	    tenant->links || devices_may_work(devices, tenant->devices) == 0)
		return;
	snprintf(tenant->refused, sizeof(tenant->refused), "was ended: none of its devices works");
	pool_end(tenant);
}

/* Before its first device. Who places on the CPU alone learns that quickly enough. */
static void tenant_begin(struct devices *devices, struct tenant *tenant)
{
	if (tenant->costs || tenant->state != TENANT_ATTACHED || !tenant->client || !devices->list)
		return;
	int error = costs_hand_out(devices->daemon, tenant);
	if (error)
		araxd_info("tenant %d begins without learned times: %s", tenant->pid,
			   strerror(-error));
}

/* Tenants that have not been told of its loss yet know it still. */
static bool device_known(const struct device *device)
{
	for (const struct tenant *t = pool_tenants(device->daemon->pool); t; t = t->next)
		for (const struct link *l = t->links; l; l = l->next_of_tenant)
			if (l->device == device)
				return true;
	return false;
}

static bool devices_remove(struct devices *devices)
{
	bool any = false;

	for (struct device **at = &devices->list; *at;) {
		struct device *device = *at;

		if (!device->leaving || device->seats || device_known(device)) {
			at = &device->next;
			continue;
		}
		*at = device->next;
		free(device);
		any = true;
	}
	return any;
}

static void devices_settle(struct timer *timer)
{
	struct devices *devices = CONTAINER(timer, struct devices, change);

	for (struct tenant *t = pool_list(devices->daemon->pool); t; t = t->next) {
		tenant_begin(devices, t);
		for (struct link *l = t->links, *next; l; l = next) {
			next = l->next_of_tenant;
			link_settle(l);
		}
	}
	for (struct device *d = devices->list; d; d = d->next)
		device_settle(d);
	/* Another may wait for the name. */
	if (devices_remove(devices))
		devices_configure(devices);
	for (struct tenant *t = pool_list(devices->daemon->pool); t; t = t->next)
		tenant_settle(devices, t);
	lease_update(devices);
	manage_progress(devices);
}

static void devices_settle_again(struct timer *timer)
{
	devices_settle(&CONTAINER(timer, struct devices, again)->change);
}

/* ---- what happens */

void devices_seat_ready(struct seat *seat)
{
	struct device *device = seat->device;

	device->failures = 0;
	device->not_before_ns = 0;
	device->error[0] = '\0';
	device->known = true;
	device->caps = seat->caps;
	araxd_info("device %s is there: process %d", device->name, seat->pid);
	devices_change(device->daemon->devices);
}

/* A library that does not work is tried again, more and more seldom; nobody else waits for it. */
static void device_failed(struct device *device, const char *why)
{
	uint64_t delay = backoff(DISCOVERY_DELAY_MS, DISCOVERY_DELAY_MAX_MS, device->failures++);

	snprintf(device->error, sizeof(device->error), "%s", why);
	araxd_error("device %s is not there: %s (attempt %u, the next in %.1f s)", device->name,
		    why, device->failures, (double)delay / 1000);
	device->not_before_ns = arax_now_ns() + delay * 1000000;
}

/* A process that was ready has died: its kernels may have done it, so only its users wait. */
static void seat_died(struct seat *seat)
{
	uint64_t now = arax_now_ns();

	seat->deaths = now - seat->ready_ns < CRASH_NS ? seat->deaths + 1 : 1;
	seat->not_before_ns =
	    now + backoff(CRASH_DELAY_MS, CRASH_DELAY_MAX_MS, seat->deaths - 1) * 1000000;
	araxd_error("device %s: process %d %s", seat->device->name, seat->pid, seat->said);
	snprintf(seat->device->error, sizeof(seat->device->error), "process %d %s", seat->pid,
		 seat->said);
}

void devices_seat_ended(struct seat *seat)
{
	struct device *device = seat->device;

	/* A process that was ended without a reason is no fault, and had no links. */
	if (seat->said[0] && !seat->ready_ns)
		device_failed(device, seat->said);
	else if (seat->said[0])
		seat_died(seat);
	while (seat->links) {
		struct link *link = seat->links;

		seat->links = link->next;
		link->seat = NULL;
		link->state = LINK_LOST;
	}
	seat->unused_ns = arax_now_ns();
	devices_change(device->daemon->devices);
}

void devices_notice(struct devices *devices)
{
	if (devices->list)
		devices_change(devices);
}

void devices_detach(struct devices *devices, struct tenant *tenant)
{
	costs_take_back(devices->daemon, tenant);
	while (tenant->links)
		link_part(tenant->links);
	for (struct device *d = devices->list; d; d = d->next) {
		for (struct seat *s = d->seats; s; s = s->next) {
			if (s->owner != tenant)
				continue;
			/* Another tenant may come to lie at the same address. */
			s->owner = NULL;
			seat_end(s, NULL);
		}
	}
	if (devices->list)
		devices_change(devices);
}

static bool seat_holds(const struct seat *seat, ino_t arena)
{
	for (const struct link *l = seat->parting; l; l = l->next)
		if (l->arena == arena)
			return true;
	return false;
}

bool devices_hold(const struct devices *devices, int arena)
{
	struct stat st;

	/* What it is, is looked at by who takes it. */
	if (fstat(arena, &st) < 0)
		return false;
	for (const struct device *d = devices->list; d; d = d->next)
		for (const struct seat *s = d->seats; s; s = s->next)
			if (seat_holds(s, st.st_ino))
				return true;
	return false;
}

int devices_answer(struct devices *devices, struct tenant *tenant,
		   const struct arax_control_device *answer)
{
	if (answer->what != ARAX_DEVICE_DRAIN)
		return -EPROTO;
	for (struct link *l = tenant->links; l; l = l->next_of_tenant) {
		if (l->index != answer->index || l->state != LINK_DRAINING)
			continue;
		ARAX_FAULT_POINT(ARAXD_DRAINED);
		araxd_info("tenant %d has drained device %s", tenant->pid, l->device->name);
		link_free(l);
		devices_change(devices);
		break;
	}
	/* Otherwise it answers what was taken back in the meantime. */
	return 0;
}

int devices_may_work(const struct devices *devices, const char *list)
{
	char copy[CONFIG_LIST], *rest = copy;

	snprintf(copy, sizeof(copy), "%s", list);
	for (const char *name; (name = strsep(&rest, ","));) {
		const struct device *device = device_find(devices, name);

		if (strncmp(name, "cpu", 3) == 0)
			return 0;
		if (device && device_wanted(device) && (device->known || !device->failures))
			return 0;
	}
	return -ENODEV;
}

void device_online(struct device *device)
{
	device->offline = false;
	device->failures = 0;
	device->not_before_ns = 0;
	for (struct seat *s = device->seats; s; s = s->next)
		s->not_before_ns = 0;
	devices_change(device->daemon->devices);
}

void device_offline(struct device *device)
{
	device->offline = true;
	device->error[0] = '\0';
	devices_change(device->daemon->devices);
}

void device_state(const struct device *device, char *text, size_t size)
{
	unsigned ready = 0, starting = 0;

	for (const struct seat *s = device->seats; s; s = s->next) {
		ready += s->state == SEAT_READY;
		starting += s->state == SEAT_STARTING;
	}
	if (!device->config.enabled)
		snprintf(text, size, "disabled by the configuration");
	else if (!device_wanted(device) && device_in_use(device))
		snprintf(text, size, "draining");
	else if (device->leaving)
		snprintf(text, size, "leaving");
	else if (device->offline)
		snprintf(text, size, "offline");
	else if (ready)
		snprintf(text, size, "ready");
	else if (device->error[0])
		snprintf(text, size, "failed: %s", device->error);
	else if (starting)
		snprintf(text, size, "starting");
	else
		snprintf(text, size, device->known ? "ready when needed" : "not used yet");
}

/* ---- the configuration */

static bool config_alike(const struct config_device *a, const struct config_device *b)
{
	return a->backend == b->backend && strcmp(a->library, b->library) == 0 &&
	       a->number == b->number && a->memory == b->memory &&
	       strcmp(a->options, b->options) == 0 && a->shared == b->shared;
}

static const struct config_device *config_find(const struct config *config, const char *name)
{
	char other[32];

	for (unsigned i = 0; i < config->ndevices; i++) {
		for (unsigned n = 0; n < config->device[i].instances; n++) {
			config_device_name(&config->device[i], n, other);
			if (strcmp(name, other) == 0)
				return &config->device[i];
		}
	}
	return NULL;
}

/* A bit that no other has, those that leave included. Return: -1 when there is none. */
static int free_slot(const struct devices *devices)
{
	uint32_t used = 0;

	for (const struct device *d = devices->list; d; d = d->next)
		used |= 1u << d->slot;
	used = ~used & ((1u << LEASE_DEVICES) - 1);
	return used ? __builtin_ctz(used) : -1;
}

static void device_add(struct devices *devices, const struct config_device *config,
		       const char *name)
{
	struct device **at = &devices->list, *device;
	int slot = free_slot(devices);

	device = slot < 0 ? NULL : calloc(1, sizeof(*device));
	if (!device) {
		araxd_warn("device %s has to wait until others have left", name);
		return devices_again(devices, AGAIN_MS * 10);
	}
	device->daemon = devices->daemon;
	device->config = *config;
	device->slot = (unsigned)slot;
	snprintf(device->name, sizeof(device->name), "%s", name);
	while (*at)
		at = &(*at)->next;
	*at = device;
}

/* Is there still one of that name on its way out? */
static bool name_leaves(const struct devices *devices, const char *name)
{
	for (const struct device *d = devices->list; d; d = d->next)
		if (d->leaving && strcmp(d->name, name) == 0)
			return true;
	return false;
}

void devices_configure(struct devices *devices)
{
	const struct config *config = &devices->daemon->config;
	char name[32];

	for (struct device *d = devices->list; d; d = d->next) {
		const struct config_device *now = config_find(config, d->name);

		if (d->leaving)
			continue;
		if (now && config_alike(&d->config, now)) {
			d->config = *now;
			continue;
		}
		d->leaving = true;
		d->deadline_ns = arax_now_ns() + DEVICE_DRAIN_MS * 1000000ull;
	}
	for (unsigned i = 0; i < config->ndevices; i++) {
		for (unsigned n = 0; n < config->device[i].instances; n++) {
			config_device_name(&config->device[i], n, name);
			if (!device_find(devices, name) && !name_leaves(devices, name))
				device_add(devices, &config->device[i], name);
		}
	}
	if (devices->list)
		devices_change(devices);
}

/* One that is not in the configuration any more. */
static struct device *device_former(struct devices *devices, const char *name)
{
	static const struct config_device none;

	for (struct device *d = devices->list; d; d = d->next)
		if (d->leaving && strcmp(d->name, name) == 0)
			return d;
	device_add(devices, &none, name);
	struct device *device = device_find(devices, name);
	if (device) {
		device->leaving = true;
		device->deadline_ns = arax_now_ns() + DEVICE_DRAIN_MS * 1000000ull;
	}
	return device;
}

void devices_take(struct devices *devices, struct tenant *tenant, const struct record_link *record)
{
	struct device *device = device_find(devices, record->device);

	if (!device)
		device = device_former(devices, record->device);
	struct seat *seat = device ? seat_take(device, record) : NULL;

	if (seat)
		seat->domain = tenant->id;
	if (device)
		link_take(device, seat, tenant, record->index);
	devices_change(devices);
}

int devices_new(struct araxd *daemon, struct devices **devices)
{
	*devices = calloc(1, sizeof(**devices));
	if (!*devices)
		return -ENOMEM;
	(*devices)->daemon = daemon;
	(*devices)->change.fire = devices_settle;
	(*devices)->again.fire = devices_settle_again;
	(*devices)->lease.fire = lease_again;
	devices_configure(*devices);
	return 0;
}

void devices_free(struct devices *devices)
{
	if (!devices)
		return;
	manage_free(devices);
	while (devices->list) {
		struct device *device = devices->list;

		devices->list = device->next;
		while (device->seats)
			seat_finish(device->seats);
		free(device);
	}
	for (struct tenant *t = pool_list(devices->daemon->pool); t; t = t->next) {
		costs_take_back(devices->daemon, t);
		while (t->links) {
			t->links->noted = false; /* it stays in the journal; its device is free */
			link_free(t->links);
		}
	}
	timer_clear(&devices->daemon->loop, &devices->change);
	timer_clear(&devices->daemon->loop, &devices->again);
	timer_clear(&devices->daemon->loop, &devices->lease);
	free(devices);
}
