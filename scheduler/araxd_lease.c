/* SPDX-License-Identifier: Apache-2.0
 *
 * The arbiter: looks at what tenants do, has lease.c decide, and tells those for whom something is
 * new. What a device did for a tenant stands in the device's own account (struct arax_link_usage),
 * and counts; what a tenant says of itself is a hint that is believed for a moment, until there
 * would have to be something in an account.
 *
 * With one tenant there is nothing to arbitrate and hardly anything to look at.
 */
#include "scheduler/araxd_device.h"

#include "transport/fault_point.h"
#include "transport/wake.h"

#include <string.h>

#define LOOK_MS 4	 /* while tenants that work share devices */
#define LOOK_QUIET_MS 40 /* while none of them works */
#define LOOK_ALONE_MS 200
#define CLAIM_NS 100000000u /* a tenant's word is believed for so long */

/* What its devices have done for it since last time. Return: was that anything, or is there more?
 */
static bool tenant_evidence(struct tenant *tenant)
{
	uint64_t commands = 0, busy_ns = 0;
	bool evidence = false;

	for (struct link *l = tenant->links; l; l = l->next_of_tenant) {
		const struct arax_link_usage *usage = link_usage(l);

		if (!usage)
			continue;
		uint64_t c = atomic_load_explicit(&usage->commands, memory_order_relaxed);
		uint64_t b = atomic_load_explicit(&usage->busy_ns, memory_order_relaxed);

		evidence |= atomic_load_explicit(&usage->waiting, memory_order_relaxed) ||
			    atomic_load_explicit(&usage->in_flight, memory_order_relaxed);
		if (c > l->commands && b >= l->busy_ns) {
			commands += c - l->commands;
			busy_ns += b - l->busy_ns;
		}
		l->commands = c;
		l->busy_ns = b;
	}
	if (commands) {
		uint64_t mean = busy_ns / commands + 1, before = tenant->lease.command_ns;

		tenant->lease.command_ns = before ? (3 * before + mean) / 4 : mean;
	}
	return evidence || commands;
}

/* Tenants of one domain have one number: the first one's place. */
static unsigned domain_number(struct tenant *const *tenants, unsigned n)
{
	unsigned first = 0;

	while (first < n && !domain_same(&tenants[first]->id, &tenants[n]->id))
		first++;
	return first;
}

static void tenant_look(struct tenant *tenant, const struct config *config, uint64_t now)
{
	const struct arax_stats *stats = tenant->stats;
	bool claims = stats && atomic_load_explicit(&stats->depth, memory_order_relaxed) != 0;

	tenant->lease.weight = config_weight(config, tenant->id.uid, tenant->program);
	/* A hint, and the tenant's own word: lease_weigh() sees to it that no other user pays. */
	int urgency = stats ? atomic_load_explicit(&stats->urgency, memory_order_relaxed) : 0;
	tenant->lease.urgency = (urgency > 0) - (urgency < 0);
	tenant->lease.allowed = 0;
	for (const struct link *l = tenant->links; l; l = l->next_of_tenant)
		if (l->state == LINK_NEW || l->state == LINK_UP)
			tenant->lease.allowed |= 1u << l->device->slot;
	tenant->lease.working = tenant_evidence(tenant);
	if (!claims || tenant->lease.working) {
		tenant->claims_ns = 0;
		return;
	}
	if (!tenant->claims_ns)
		tenant->claims_ns = now;
	tenant->lease.working = now - tenant->claims_ns < CLAIM_NS;
}

/* The daemon's policy, unless an application there has asked for one that shares otherwise. */
static enum lease_mode mode_of(const struct araxd *daemon)
{
	enum lease_mode mode = lease_mode(daemon->config.policy);

	for (const struct tenant *t = pool_tenants(daemon->pool); t; t = t->next) {
		if (t->state == TENANT_ATTACHED && t->links && lease_mode(t->policy) > mode)
			mode = lease_mode(t->policy);
	}
	return mode;
}

/* Return: were all told? */
static bool tenant_tell(struct tenant *tenant)
{
	bool all = true;

	for (struct link *l = tenant->links; l; l = l->next_of_tenant)
		all &= link_lease(l, &tenant->lease.lease[l->device->slot]);
	return all;
}

static uint32_t slots_of(const struct devices *devices)
{
	uint32_t slots = 0;

	for (const struct device *d = devices->list; d; d = d->next)
		slots |= 1u << d->slot;
	return slots;
}

void lease_update(struct devices *devices)
{
	static struct lease_tenant *leases[LEASE_TENANTS];
	static struct tenant *tenants[LEASE_TENANTS];
	struct araxd *daemon = devices->daemon;
	uint64_t now = arax_now_ns(), look_ms = LOOK_ALONE_MS;
	unsigned n = 0, active = 0;
	bool told = true;

	for (struct tenant *t = pool_list(daemon->pool); t && n < LEASE_TENANTS; t = t->next) {
		if (!t->links)
			continue;
		tenant_look(t, &daemon->config, now);
		tenants[n] = t;
		t->lease.domain = domain_number(tenants, n);
		leases[n++] = &t->lease;
	}
	if (!n)
		return timer_clear(&daemon->loop, &devices->lease);
	lease_weigh(leases, n);
	uint64_t again = lease_decide(mode_of(daemon), slots_of(devices), leases, n, now);
	ARAX_FAULT_POINT(ARAXD_LEASES);
	for (unsigned i = 0; i < n; i++) {
		active += leases[i]->active;
		told &= tenant_tell(tenants[i]);
	}
	if (n > 1)
		look_ms = active ? LOOK_MS : LOOK_QUIET_MS;
	else if (again)
		look_ms = again / 1000000 + 1;
	timer_set(&daemon->loop, &devices->lease, told || look_ms < 50 ? look_ms : 50);
}

void lease_again(struct timer *timer)
{
	lease_update(CONTAINER(timer, struct devices, lease));
}
