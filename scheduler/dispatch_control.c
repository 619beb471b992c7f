/* SPDX-License-Identifier: Apache-2.0
 *
 * What araxd says to a tenant that has its client: another policy from now on; a device comes,
 * changes, goes. Another thread receives it (tenant_watch.c) and posts it here; the dispatch thread
 * applies it between two commands. What makes no sense is logged and changes nothing.
 *
 * Here, too, is where devices whose completions are fetched (device_ops.poll) are asked.
 */
#include "scheduler/dispatch_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/remote.h"
#include "transport/fault_point.h"
#include "transport/socket.h"

struct message {
	struct message *next;
	int fds[ARAX_FDS_MAX];
	union {
		struct arax_control_head head;
		struct arax_control_device device;
		struct arax_control_policy policy;
	};
};

static void fds_close(const int fds[ARAX_FDS_MAX])
{
	for (int i = 0; i < ARAX_FDS_MAX; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* How large a message of that type is; 0: there is no such one. */
static size_t message_size(uint16_t type)
{
	switch (type) {
	case ARAX_CONTROL_DEVICE:
		return sizeof(struct arax_control_device);
	case ARAX_CONTROL_POLICY:
		return sizeof(struct arax_control_policy);
	case ARAX_CONTROL_COSTS:
		return sizeof(struct arax_control_plain);
	default:
		return 0;
	}
}

static struct message *message_new(const void *data, size_t size, const int fds[ARAX_FDS_MAX])
{
	struct message *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	memcpy(&m->head, data, size);
	memcpy(m->fds, fds, sizeof(m->fds));
	if (m->head.type == ARAX_CONTROL_POLICY) {
		m->policy.policy[sizeof(m->policy.policy) - 1] = 0;
		m->policy.argument[sizeof(m->policy.argument) - 1] = 0;
	} else if (m->head.type == ARAX_CONTROL_DEVICE) {
		m->device.name[sizeof(m->device.name) - 1] = 0;
		m->device.caps.target[sizeof(m->device.caps.target) - 1] = 0;
	}
	return m;
}

int dispatch_post(struct dispatch *d, const void *data, size_t size, const int fds[ARAX_FDS_MAX])
{
	const struct arax_control_head *head = data;
	bool good = size >= sizeof(*head) && head->magic == ARAX_CONTROL_MAGIC &&
		    message_size(head->type) == size;
	struct message *m = good ? message_new(data, size, fds) : NULL;

	if (!m) {
		fds_close(fds);
		return good ? -ENOMEM : -EPROTO;
	}
	m->next = atomic_load_explicit(&d->mail, memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&d->mail, &m->next, m))
		;
	arax_wake_ring(&d->shm->tenant_wake);
	return 0;
}

bool devices_ready(const struct dispatch *d)
{
	POLICY_FOR_EACH(i, d->polled)
	{
		const struct arax_device *dev = device_at(d, i);

		if (dev->ops->ready(dev))
			return true;
	}
	return false;
}

/* All that it was given comes back while it is told so. */
static void device_gone(struct dispatch *d, unsigned index)
{
	uint32_t bit = 1u << index;

	if (!dispatch_device(d, index) || !(d->discrete & bit))
		return;
	d->polled &= ~bit;
	if (d->remote & bit)
		arax_remote_lost(device_at(d, index));
	dispatch_device_lost(d, index);
	d->gone |= d->remote & bit;
	d->graph.as_if = d->config.as_if || d->discrete;
}

void devices_poll(struct dispatch *d)
{
	POLICY_FOR_EACH(i, d->polled)
	{
		struct arax_device *dev = device_at(d, i);

		if (dev->ops->ready(dev) && dev->ops->poll(dev) < 0)
			device_gone(d, i);
	}
}

/* The links of devices that are gone, when nothing refers to them any more. */
static void remotes_free(struct dispatch *d)
{
	POLICY_FOR_EACH(i, d->gone)
	{
		if (d->given[i] || d->moves[i])
			continue;
		arax_remote_free(&d->added[i]);
		d->gone &= ~(1u << i);
		d->remote &= ~(1u << i);
	}
}

static int device_add(struct dispatch *d, const struct arax_control_device *m, int link_fd)
{
	struct arax_device dev;

	remotes_free(d);
	if (link_fd < 0 || m->index >= POLICY_DEVICES || d->gone >> m->index & 1)
		return -EINVAL;
	int rc = arax_remote_new(m->name, m->index, &m->caps, link_fd, d->config.arena,
				 d->config.arena_size, &dev);
	if (rc)
		return rc;
	rc = dispatch_device_add(d, &dev, m->share, m->depth);
	if (rc) {
		arax_remote_lost(&dev);
		arax_remote_free(&dev);
		return rc;
	}
	policy_changed(&d->policy, m->index);
	costs_learn(d);
	d->remote |= 1u << m->index;
	d->polled |= 1u << m->index;
	d->graph.as_if = true;
	ARAX_FAULT_POINT(TENANT_DEVICE_ADDED);
	return 0;
}

static int apply_device(struct dispatch *d, const struct arax_control_device *m, int link_fd)
{
	switch (m->what) {
	case ARAX_DEVICE_ADD:
		return device_add(d, m, link_fd);
	case ARAX_DEVICE_LEASE:
		dispatch_device_lease(d, m->index, m->share, m->depth);
		return 0;
	case ARAX_DEVICE_DRAIN:
		ARAX_FAULT_POINT(TENANT_DRAINS);
		dispatch_device_drain(d, m->index);
		return 0;
	case ARAX_DEVICE_ONLINE:
		dispatch_device_online(d, m->index);
		return 0;
	case ARAX_DEVICE_LOST:
		device_gone(d, m->index);
		return 0;
	default:
		return -EPROTO;
	}
}

static void apply_policy(struct dispatch *d, const struct arax_control_policy *m)
{
	const struct policy *policy = policy_find(m->policy);
	char why[POLICY_WHY] = "there is no such one";

	/* What was learned stays. */
	if (policy && !policy_configure(policy, &d->policy, m->argument, why))
		d->config.policy = policy;
	else
		device_log(d, "policy %s: %s", m->policy, why);
	d->place_again = true;
}

static void apply(struct dispatch *d, const struct message *m)
{
	if (m->head.type == ARAX_CONTROL_POLICY) {
		apply_policy(d, &m->policy);
		return;
	}
	if (m->head.type == ARAX_CONTROL_COSTS) {
		int rc = costs_begin(d, m->fds[0]);
		if (rc)
			device_log(d, "learned times: %s", strerror(-rc));
		return;
	}
	ARAX_FAULT_POINT(TENANT_DEVICE_TOLD);
	int rc = apply_device(d, &m->device, m->fds[0]);
	if (rc)
		device_log(d, "device %s: %s", m->device.name, strerror(-rc));
}

void control_step(struct dispatch *d)
{
	struct message *m = atomic_exchange(&d->mail, NULL), *ordered = NULL;

	while (m) {
		struct message *next = m->next;
		m->next = ordered;
		ordered = m;
		m = next;
	}
	while (ordered) {
		struct message *next = ordered->next;
		apply(d, ordered);
		fds_close(ordered->fds);
		free(ordered);
		ordered = next;
	}
}
