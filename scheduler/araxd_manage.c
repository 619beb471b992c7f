/* SPDX-License-Identifier: Apache-2.0
 *
 * See araxd_manage.h. A configuration is applied as a whole or not at all; what cannot be changed
 * while the daemon runs stays as it was, and whoever asked is told.
 */
#include "scheduler/araxd_manage.h"

#include "scheduler/araxd_device.h"
#include "scheduler/araxd_journal.h"
#include "scheduler/araxd_variants.h"
#include "scheduler/policy_rules.h"
#include "transport/fault_point.h"
#include "transport/protocol.h"
#include "transport/socket.h"
#include "transport/wake.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Somebody waits until a device is not used any more. */
struct drain {
	struct client *client;
	struct arax_control_head head;
	char name[32];
	uint64_t deadline_ns;
	struct drain *next;
};

static bool may_control(const struct client *client)
{
	return client->id.uid == 0 || client->id.uid == geteuid();
}

static void reply(struct client *client, const struct arax_control_head *head, int error,
		  const char *text)
{
	struct arax_control_manage message = {
	    .head = {.magic = ARAX_CONTROL_MAGIC,
		     .type = head->type | ARAX_CONTROL_REPLY,
		     .major = ARAX_PROTOCOL_MAJOR,
		     .minor = ARAX_PROTOCOL_MINOR,
		     .error = error,
		     .id = head->id},
	};

	snprintf(message.text, sizeof(message.text), "%s", text);
	int sent = arax_socket_send(client->socket.fd, &message, sizeof(message), NULL, 0);
	if (sent < 0) {
		araxd_info("client %d: no answer can be sent: %s", client->pid, strerror(-sent));
		client_drop(client);
	}
}

/* ---- policies */

static void policy_send(const struct araxd *daemon, struct tenant *tenant, const char *argument)
{
	struct arax_control_policy message = {
	    .head = {.magic = ARAX_CONTROL_MAGIC,
		     .type = ARAX_CONTROL_POLICY,
		     .major = ARAX_PROTOCOL_MAJOR,
		     .minor = ARAX_PROTOCOL_MINOR},
	};
	int error = 0;

	snprintf(message.policy, sizeof(message.policy), "%s", tenant->policy);
	if (strcmp(tenant->policy, "pinned") == 0)
		error = policy_rules_for(argument, config_user(&daemon->config, tenant->id.uid),
					 tenant->program, message.argument);
	else
		snprintf(message.argument, sizeof(message.argument), "%s", argument);
	if (!error && tenant->child.control.fd >= 0)
		error =
		    arax_socket_send(tenant->child.control.fd, &message, sizeof(message), NULL, 0);
	if (error)
		araxd_warn("tenant %d keeps its policy: %s", tenant->pid, strerror(-error));
}

void manage_attached(struct araxd *daemon, struct tenant *tenant)
{
	const char *argument = config_argument(&daemon->config, tenant->policy);

	if (*argument)
		policy_send(daemon, tenant, argument);
}

/* From now on, of all tenants of a user, or of all that there are. Return: how many. */
static unsigned policy_set(struct araxd *daemon, const uid_t *of, bool own_too, const char *policy,
			   const char *argument)
{
	unsigned count = 0;

	for (struct tenant *t = pool_list(daemon->pool); t; t = t->next) {
		if (t->state != TENANT_ATTACHED || (of && t->id.uid != *of) ||
		    (t->own_policy && !own_too))
			continue;
		note_policy(t, policy);
		snprintf(t->policy, sizeof(t->policy), "%s", policy);
		policy_send(daemon, t, argument);
		count++;
	}
	devices_change(daemon->devices);
	return count;
}

static int on_policy(struct client *client, const struct arax_control_manage *request)
{
	struct araxd *daemon = client->daemon;
	bool all = may_control(client);
	const char *argument = request->argument;
	char why[POLICY_WHY], text[128];

	if (!config_policy_known(request->name)) {
		reply(client, &request->head, EINVAL, "there is no such policy");
		return 0;
	}
	if (!*argument)
		argument = config_argument(&daemon->config, request->name);
	if (policy_argument_check(request->name, argument, why)) {
		reply(client, &request->head, EINVAL, why);
		return 0;
	}
	unsigned count =
	    policy_set(daemon, all ? NULL : &client->id.uid, true, request->name, argument);
	if (all)
		snprintf(daemon->config.policy, sizeof(daemon->config.policy), "%s", request->name);
	snprintf(text, sizeof(text), "%s for %u running application%s%s", request->name, count,
		 count == 1 ? "" : "s", all ? " and those to come" : " of yours");
	araxd_info("policy %s, by process %d of user %u", text, client->pid, client->id.uid);
	reply(client, &request->head, 0, text);
	return 0;
}

/* ---- the configuration again */

/* What holds until the daemon starts again: it has been told to others, or is in use. */
#define FIELD(member) offsetof(struct config, member), sizeof(((struct config *)0)->member)
static const struct {
	const char *name;
	size_t offset, size;
} fixed[] = {
    {"[device] type", FIELD(type)},
    {"[device] name", FIELD(name)},
    {"[device] max_work_group_size", FIELD(max_work_group_size)},
    {"[device] local_memory", FIELD(local_memory)},
    {"[device] global_memory", FIELD(global_memory)},
    {"[cache] directory", FIELD(cache_directory)},
    {"[cache] size", FIELD(cache_size)},
    {"[compile] time_limit", FIELD(compile_time_limit)},
    {"[compile] parallel", FIELD(compile_parallel)},
    {"[sandbox] use", FIELD(sandbox)},
    {"[sandbox] require", FIELD(sandbox_require)},
};
#undef FIELD

/* Strings first: what stands behind their end is no difference. */
static bool field_differs(const char *a, const char *b, size_t size)
{
	return size > 8 ? strcmp(a, b) != 0 : memcmp(a, b, size) != 0;
}

static void keep_fixed(struct config *next, const struct config *now, char *text, size_t size)
{
	size_t used = strlen(text);

	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		char *to = (char *)next + fixed[i].offset;
		const char *from = (const char *)now + fixed[i].offset;

		if (!field_differs(from, to, fixed[i].size))
			continue;
		memcpy(to, from, fixed[i].size);
		if (used < size)
			used += (size_t)snprintf(
			    text + used, size - used, "%s %s",
			    strstr(text, "restart:") ? "," : "; after a restart:", fixed[i].name);
	}
}

static bool policy_differs(const struct config *a, const struct config *b)
{
	return strcmp(a->policy, b->policy) != 0 ||
	       strcmp(config_argument(a, a->policy), config_argument(b, b->policy)) != 0;
}

/* Return: 0 or -errno; text says what is wrong, or what was done. */
static int reload(struct araxd *daemon, char *text, size_t size)
{
	static struct config next;
	char error[CONFIG_ERROR];
	int result = config_load(&next, daemon->config_path, daemon->system, error);

	if (result) {
		snprintf(text, size, "%s", error[0] ? error : strerror(-result));
		return result;
	}
	snprintf(text, size, "the configuration is in force");
	keep_fixed(&next, &daemon->config, text, size);
	araxd_idle_seconds(daemon, &next);
	bool policy = policy_differs(&daemon->config, &next);
	ARAX_FAULT_POINT(ARAXD_RELOADS);
	daemon->config = next;
	devices_configure(daemon->devices);
	result = variants_load(daemon);
	if (result)
		araxd_warn("the variants stay as they were: %s", strerror(-result));
	pool_describe(daemon->pool);
	if (policy)
		policy_set(daemon, NULL, false, next.policy, config_argument(&next, next.policy));
	pool_configure(daemon->pool);
	timer_clear(&daemon->loop, &daemon->idle_timer);
	araxd_idle(daemon);
	devices_change(daemon->devices);
	ARAX_FAULT_POINT(ARAXD_RELOADED);
	return 0;
}

void manage_reload(struct araxd *daemon)
{
	char text[512];

	if (reload(daemon, text, sizeof(text)))
		araxd_error("the configuration stays as it was: %s", text);
	else
		araxd_info("%s", text);
}

static int on_reload(struct client *client, const struct arax_control_manage *request)
{
	char text[512];
	int error = reload(client->daemon, text, sizeof(text));

	if (error)
		araxd_error("the configuration stays as it was: %s", text);
	else
		araxd_info("%s (asked by process %d of user %u)", text, client->pid,
			   client->id.uid);
	reply(client, &request->head, -error, text);
	return 0;
}

/* ---- devices */

/* A device's name, or that of all its instances. */
static bool is_named(const struct device *device, const char *name)
{
	return strcmp(device->name, name) == 0 || strcmp(device->config.name, name) == 0;
}

/* How many applications still use it. */
static unsigned users_of(const struct devices *devices, const char *name)
{
	unsigned count = 0;

	for (const struct tenant *t = pool_tenants(devices->daemon->pool); t; t = t->next)
		for (const struct link *l = t->links; l; l = l->next_of_tenant)
			count += is_named(l->device, name) && l->state == LINK_DRAINING;
	return count;
}

static bool drained(const struct devices *devices, const char *name)
{
	for (const struct device *d = devices->list; d; d = d->next)
		if (is_named(d, name) && d->offline && device_in_use(d))
			return false;
	return true;
}

/* Has somebody brought it back in the meantime? */
static bool brought_back(const struct devices *devices, const char *name)
{
	for (const struct device *d = devices->list; d; d = d->next)
		if (is_named(d, name) && !d->offline && !d->leaving)
			return true;
	return false;
}

/* Answers those whose device is drained, and those who have waited long enough. */
void manage_progress(struct devices *devices)
{
	uint64_t now = arax_now_ns();
	char text[128];

	for (struct drain **at = &devices->drains; *at;) {
		struct drain *drain = *at;
		bool done = drained(devices, drain->name),
		     back = brought_back(devices, drain->name);

		if (!done && !back && drain->deadline_ns > now) {
			at = &drain->next;
			continue;
		}
		*at = drain->next;
		if (back)
			snprintf(text, sizeof(text), "%s was brought back", drain->name);
		else if (done)
			snprintf(text, sizeof(text), "%s is offline", drain->name);
		else
			snprintf(text, sizeof(text),
				 "%u application%s still use%s %s; nothing new goes there",
				 users_of(devices, drain->name),
				 users_of(devices, drain->name) == 1 ? "" : "s",
				 users_of(devices, drain->name) == 1 ? "s" : "", drain->name);
		reply(drain->client, &drain->head, back ? ECANCELED : done ? 0 : ETIMEDOUT, text);
		drain->client->requests--;
		free(drain);
	}
	/* The oldest is the first. */
	if (devices->drains)
		timer_set(&devices->daemon->loop, &devices->drain,
			  (devices->drains->deadline_ns - now) / 1000000 + 1);
}

static void drain_expire(struct timer *timer)
{
	manage_progress(CONTAINER(timer, struct devices, drain));
}

static int drain_wait(struct client *client, const struct arax_control_manage *request)
{
	struct devices *devices = client->daemon->devices;
	struct drain **at = &devices->drains, *drain = calloc(1, sizeof(*drain));

	if (!drain)
		return ENOMEM;
	drain->client = client;
	drain->head = request->head;
	drain->deadline_ns = arax_now_ns() + DEVICE_DRAIN_MS * 1000000ull;
	snprintf(drain->name, sizeof(drain->name), "%s", request->name);
	client->requests++;
	while (*at)
		at = &(*at)->next;
	*at = drain;
	devices->drain.fire = drain_expire;
	if (!devices->drain.at_ns)
		timer_set(&devices->daemon->loop, &devices->drain, DEVICE_DRAIN_MS);
	return 0;
}

static int on_device(struct client *client, const struct arax_control_manage *request, bool online)
{
	struct devices *devices = client->daemon->devices;
	unsigned found = 0, disabled = 0;
	char text[160];

	for (struct device *d = devices->list; d; d = d->next) {
		if (d->leaving || !is_named(d, request->name))
			continue;
		found++;
		disabled += !d->config.enabled;
		if (online)
			device_online(d);
		else
			device_offline(d);
	}
	if (!found || disabled) {
		snprintf(text, sizeof(text), "%s",
			 found ? "the configuration disables it"
			 : strncmp(request->name, "cpu", 3) == 0
			     ? "the CPU is each application's own"
			     : "there is no such device");
		reply(client, &request->head, found ? EINVAL : ENODEV, text);
		return 0;
	}
	araxd_info("device %s goes %s, by process %d of user %u", request->name,
		   online ? "online" : "offline", client->pid, client->id.uid);
	if (!online)
		return drain_wait(client, request);
	snprintf(text, sizeof(text), "%s is online", request->name);
	reply(client, &request->head, 0, text);
	return 0;
}

int manage_request(struct client *client, const struct arax_control_manage *request)
{
	if (!memchr(request->name, '\0', sizeof(request->name)) ||
	    !memchr(request->argument, '\0', sizeof(request->argument)))
		return EPROTO;
	if (request->head.type == ARAX_CONTROL_SET_POLICY)
		return on_policy(client, request);
	if (!may_control(client))
		return EPERM;
	switch (request->head.type) {
	case ARAX_CONTROL_RELOAD:
		return on_reload(client, request);
	case ARAX_CONTROL_ONLINE:
	case ARAX_CONTROL_OFFLINE:
		return on_device(client, request, request->head.type == ARAX_CONTROL_ONLINE);
	default:
		return EOPNOTSUPP;
	}
}

void manage_drop(struct client *client)
{
	struct devices *devices = client->daemon->devices;

	for (struct drain **at = &devices->drains; *at;) {
		struct drain *drain = *at;

		if (drain->client != client) {
			at = &drain->next;
			continue;
		}
		*at = drain->next;
		free(drain);
	}
}

void manage_free(struct devices *devices)
{
	while (devices->drains) {
		struct drain *drain = devices->drains;

		devices->drains = drain->next;
		free(drain);
	}
	timer_clear(&devices->daemon->loop, &devices->drain);
}
