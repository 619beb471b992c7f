/* SPDX-License-Identifier: Apache-2.0
 *
 * See araxd_journal.h. Without a journal (its directory cannot be written) everything goes on, and
 * applications that run when this araxd ends are not found again.
 */
#include "scheduler/araxd_journal.h"

#include "scheduler/araxd_device.h"
#include "scheduler/history.h"
#include "scheduler/pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading -------------------------------------------------------------------------------- */

static struct record_found *records_find(struct records *records, uint64_t key)
{
	for (size_t i = records->count; key && i-- > 0;)
		if (records->found[i].tenant.key == key && !records->found[i].gone)
			return &records->found[i];
	return NULL;
}

static bool is_text(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

#define TEXT(array) is_text(array, sizeof(array))

static bool take_tenant(struct records *records, const struct record_tenant *tenant)
{
	if (!tenant->key || records_find(records, tenant->key) || !TEXT(tenant->died) ||
	    !TEXT(tenant->adopt) || !TEXT(tenant->devices) || !TEXT(tenant->wanted) ||
	    !TEXT(tenant->policy) || !TEXT(tenant->program) || !TEXT(tenant->work))
		return false;
	if (records->count == records->room) {
		size_t room = records->room ? 2 * records->room : 16;
		struct record_found *more = realloc(records->found, room * sizeof(*records->found));

		if (!more)
			return false;
		records->found = more;
		records->room = room;
	}
	records->found[records->count++] = (struct record_found){.tenant = *tenant};
	return true;
}

static struct record_link *find_link(struct record_found *found, uint32_t index)
{
	for (unsigned i = 0; i < found->nlinks; i++)
		if (found->links[i].index == index)
			return &found->links[i];
	return NULL;
}

static bool take_link(struct record_found *found, const struct record_link *link)
{
	struct record_link *at = found ? find_link(found, link->index) : NULL;

	if (!TEXT(link->device) || !TEXT(link->work) || link->index >= ARAX_STATS_DEVICES)
		return false;
	/* It may have been told again, and its tenant may have ended at the same time. */
	if (!found)
		return true;
	if (!at)
		at = &found->links[found->nlinks++];
	*at = *link;
	if (found->tenant.next_index <= link->index)
		found->tenant.next_index = link->index + 1;
	return true;
}

static bool take_unlink(struct record_found *found, const struct record_link *link)
{
	struct record_link *at = found ? find_link(found, link->index) : NULL;

	if (at)
		*at = found->links[--found->nlinks];
	return true;
}

/* Return: does the record make sense? */
static bool take_change(struct records *records, uint32_t type, const void *data, size_t size)
{
	const struct record_policy *policy = data;
	const struct record_key *key = data;
	struct record_found *found = size >= sizeof(*key) ? records_find(records, key->key) : NULL;

	switch (type) {
	case RECORD_POLICY:
		if (size != sizeof(*policy) || !TEXT(policy->policy))
			return false;
		if (found)
			memcpy(found->tenant.policy, policy->policy, sizeof(policy->policy));
		return true;
	case RECORD_GONE:
		if (found)
			found->gone = true;
		return size == sizeof(*key);
	case RECORD_LINK:
		return size == sizeof(struct record_link) && take_link(found, data);
	case RECORD_UNLINK:
		return size == sizeof(struct record_link) && take_unlink(found, data);
	default:
		return false;
	}
}

bool records_take(void *arg, uint32_t type, const void *data, size_t size)
{
	struct records *records = arg;
	struct record_found *found;
	uint64_t key = 0;

	switch (type) {
	case RECORD_TENANT:
		if (size != sizeof(struct record_tenant) || !take_tenant(records, data))
			return false;
		memcpy(&key, data, sizeof(key));
		if (key > records->last_key)
			records->last_key = key;
		return true;
	case RECORD_FINISHED:
		if (!history_finished(records->history, data, size, &key))
			return false;
		found = records_find(records, key);
		if (found)
			found->gone = true;
		return true;
	case RECORD_TOTALS:
		return history_totals(records->history, data, size);
	default:
		return take_change(records, type, data, size);
	}
}

void records_free(struct records *records)
{
	free(records->found);
	*records = (struct records){0};
}

/* ---- writing -------------------------------------------------------------------------------- */

static void append(struct araxd *daemon, enum record_type type, const void *data, size_t size)
{
	journal_append(daemon->journal, type, data, size);
	int error = journal_error(daemon->journal);
	if (error && daemon->journal_error != error)
		araxd_error("the journal cannot be written, and who runs now may not be found "
			    "again: %s",
			    strerror(-error));
	daemon->journal_error = error;
}

static void tenant_record(const struct tenant *tenant, struct record_tenant *record)
{
	const struct client *client = tenant->client;

	*record = (struct record_tenant){.key = tenant->key,
					 .process = tenant->process,
					 .client = tenant->client_process,
					 .uid = tenant->id.uid,
					 .own_policy = tenant->own_policy,
					 .container = tenant->id.container,
					 .arena_size = tenant->arena_size,
					 .attached_ns = tenant->attached_ns,
					 .nice = tenant->nice,
					 .next_index = tenant->next_index,
					 .deaths = client ? client->deaths : 0,
					 .crashes = client ? client->crashes : 0};
	if (client)
		memcpy(record->died, client->died, sizeof(record->died));
	memcpy(record->adopt, tenant->adopt, sizeof(record->adopt));
	memcpy(record->devices, tenant->devices, sizeof(record->devices));
	if (client)
		memcpy(record->wanted, client->wanted, sizeof(record->wanted));
	memcpy(record->policy, tenant->policy, sizeof(record->policy));
	memcpy(record->program, tenant->program, sizeof(record->program));
	snprintf(record->work, sizeof(record->work), "%s", tenant->work ? tenant->work : "");
}

void note_tenant(struct tenant *tenant)
{
	struct araxd *daemon = tenant->client->daemon;
	struct record_tenant record;

	tenant->key = ++daemon->last_key;
	tenant_record(tenant, &record);
	append(daemon, RECORD_TENANT, &record, sizeof(record));
}

void note_gone(struct tenant *tenant)
{
	const struct record_key record = {.key = tenant->key};

	append(tenant->client->daemon, RECORD_GONE, &record, sizeof(record));
}

void note_policy(const struct tenant *tenant, const char *policy)
{
	struct record_policy record = {.key = tenant->key};

	if (!tenant->client)
		return; /* it is being ended */
	snprintf(record.policy, sizeof(record.policy), "%s", policy);
	append(tenant->client->daemon, RECORD_POLICY, &record, sizeof(record));
}

static void link_record(const struct link *link, struct record_link *record)
{
	const struct seat *seat = link->seat;

	*record = (struct record_link){.key = link->tenant->key, .index = link->index};
	memcpy(record->device, link->device->name, sizeof(record->device));
	if (!seat)
		return;
	record->process = seat->process;
	snprintf(record->work, sizeof(record->work), "%s", seat->work ? seat->work : "");
}

void note_link(struct link *link)
{
	struct record_link record;

	link_record(link, &record);
	append(link->device->daemon, RECORD_LINK, &record, sizeof(record));
	link->noted = true;
}

void note_unlink(struct link *link)
{
	const struct record_link record = {.key = link->tenant->key, .index = link->index};

	if (!link->noted)
		return;
	append(link->device->daemon, RECORD_UNLINK, &record, sizeof(record));
	link->noted = false;
}

/* All that is the case, for a journal that is begun. */
static void write_all(struct journal *journal, void *arg)
{
	struct araxd *daemon = arg;
	struct record_tenant tenant;
	struct record_link link;

	history_write(daemon->history, journal);
	for (const struct tenant *t = pool_tenants(daemon->pool); t; t = t->next) {
		if (t->state != TENANT_ATTACHED)
			continue;
		tenant_record(t, &tenant);
		journal_append(journal, RECORD_TENANT, &tenant, sizeof(tenant));
		for (const struct link *l = t->links; l; l = l->next_of_tenant) {
			if (!l->noted)
				continue;
			link_record(l, &link);
			journal_append(journal, RECORD_LINK, &link, sizeof(link));
		}
	}
}

int note_begin(struct araxd *daemon, const char *path)
{
	return journal_new(path, write_all, daemon, &daemon->journal);
}
