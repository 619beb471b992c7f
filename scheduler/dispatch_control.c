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
	} else {
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
		const struct arax_device *dev = &d->config.devices[i];

		if (dev->ops->ready(dev))
			return true;
	}
	return false;
}

void devices_poll(struct dispatch *d)
{
	POLICY_FOR_EACH(i, d->polled)
	{
		struct arax_device *dev = &d->config.devices[i];

		if (dev->ops->ready(dev) && dev->ops->poll(dev) < 0) {
			device_log(d, "device %s: lost", dev->name);
			d->polled &= ~(1u << i);
			d->config.allowed &= ~(1u << i);
		}
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
}

static void apply(struct dispatch *d, const struct message *m)
{
	if (m->head.type == ARAX_CONTROL_POLICY)
		apply_policy(d, &m->policy);
	else
		device_log(d, "device %s: not supported", m->device.name);
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
