/* SPDX-License-Identifier: Apache-2.0
 *
 * The connections of clients: who they are, what they ask, and the answers. A client that breaks
 * the protocol or does not read its answers loses its connection; nobody waits for it.
 */
#include "scheduler/araxd.h"

#include "scheduler/araxd_adopt.h"
#include "scheduler/araxd_build.h"
#include "scheduler/araxd_device.h"
#include "scheduler/araxd_manage.h"
#include "scheduler/pool.h"
#include "scheduler/araxd_variants.h"
#include "scheduler/status.h"
#include "transport/fault_point.h"
#include "transport/protocol.h"
#include "transport/shm.h"
#include "transport/socket.h"
#include "transport/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLIENT_WAIT_NS (20ull * 1000000000)
#define CLIENT_CONNECTIONS_PER_TENANT 8
/* A tenant that dies so soon is a crash in a row; after some of them the next one has to wait. */
#define CLIENT_CRASH_NS (10ull * 1000000000)
#define CLIENT_CRASHES_FREE 4
#define CLIENT_CRASH_DELAY_MS 5000
#define CLIENT_REQUESTS 64 /* of one connection that wait */
#define GIB (1ull << 30)
#define ARENA_LEAST (16ull << 20)
/* How long to leave the listening socket alone when nothing can be accepted, and how often. */
#define ACCEPT_PAUSE_MS 50
#define ACCEPT_TRIES 100
#define WARNINGS 20
#define WARNINGS_NS (10ull * 1000000000)

/* Not more lines about what clients do wrong than anybody reads: they decide how many there are. */
#define client_warn(daemon, ...)                  \
	do {                                      \
		if (client_warnings_left(daemon)) \
			araxd_warn(__VA_ARGS__);  \
	} while (0)

static bool client_warnings_left(struct araxd *daemon)
{
	uint64_t now = arax_now_ns();

	if (now - daemon->warnings_since_ns > WARNINGS_NS) {
		if (daemon->warnings > WARNINGS)
			araxd_warn("%u lines about clients were left out",
				   daemon->warnings - WARNINGS);
		daemon->warnings_since_ns = now;
		daemon->warnings = 0;
	}
	return daemon->warnings++ < WARNINGS;
}

static bool client_may_control(const struct client *client)
{
	return client->id.uid == 0 || client->id.uid == geteuid();
}

void client_drop(struct client *client)
{
	shutdown(client->socket.fd, SHUT_RDWR);
}

static void client_reply(struct client *client, struct arax_control_head *reply, size_t size,
			 const struct arax_control_head *head, int error, const int *fds,
			 unsigned nfds)
{
	*reply = (struct arax_control_head){
	    .magic = ARAX_CONTROL_MAGIC,
	    .type = head->type | ARAX_CONTROL_REPLY,
	    .major = ARAX_PROTOCOL_MAJOR,
	    .minor = ARAX_PROTOCOL_MINOR,
	    .error = error,
	    .id = head->id,
	};
	int sent = arax_socket_send(client->socket.fd, reply, size, fds, nfds);
	if (sent < 0) {
		araxd_info("client %d: no answer can be sent: %s", client->pid, strerror(-sent));
		client_drop(client);
	}
}

static bool client_manages(unsigned type)
{
	return type >= ARAX_CONTROL_RELOAD && type <= ARAX_CONTROL_SET_POLICY;
}

void client_reply_plain(struct client *client, const struct arax_control_head *head, int error,
			int fd)
{
	/* HELLO and ATTACH have fields of their own, in errors too. */
	union {
		struct arax_control_head head;
		struct arax_control_plain plain;
		struct arax_control_hello hello;
		struct arax_control_attach attach;
		struct arax_control_trace trace;
		struct arax_control_manage manage;
	} reply = {0};
	size_t size = sizeof(reply.plain);

	if (head->type == ARAX_CONTROL_HELLO)
		size = sizeof(reply.hello);
	else if (head->type == ARAX_CONTROL_ATTACH)
		size = sizeof(reply.attach);
	else if (head->type == ARAX_CONTROL_TRACE)
		size = sizeof(reply.trace);
	else if (client_manages(head->type))
		size = sizeof(reply.manage);
	client_reply(client, &reply.head, size, head, error, &fd, fd >= 0 ? 1 : 0);
}

void request_free(struct request *request)
{
	request->client->requests--;
	if (request->fd >= 0)
		close(request->fd);
	free(request);
}

void request_drop(struct request **list, const struct client *client)
{
	while (*list) {
		struct request *request = *list;

		if (request->client != client) {
			list = &request->next;
			continue;
		}
		*list = request->next;
		request_free(request);
	}
}

void client_free(struct client *client)
{
	struct araxd *daemon = client->daemon;

	for (struct client **at = &daemon->clients; *at; at = &(*at)->next) {
		if (*at == client) {
			*at = client->next;
			break;
		}
	}
	daemon->nclients -= !client->absent;
	ARAX_FAULT_POINT(ARAXD_CLIENT_GONE);
	request_drop(&daemon->waiting, client);
	manage_drop(client);
	builder_drop(daemon->builder, client);
	if (client->traces)
		trace_unsubscribe(client);
	if (client->tenant)
		pool_release(client->tenant);
	else
		trace_gone(client);
	trace_close(&client->trace);
	timer_clear(&daemon->loop, &client->respawn);
	loop_remove(&daemon->loop, &client->socket);
	loop_remove(&daemon->loop, &client->process);
	free(client);
	araxd_idle(daemon);
}

static void client_reply_hello(struct request *request)
{
	struct araxd *daemon = request->client->daemon;
	struct arax_control_hello reply = {.pid = getpid()};
	int fd = pool_info_fd(daemon->pool);

	client_reply(request->client, &reply.head, sizeof(reply), &request->head, 0, &fd, 1);
}

void client_tenant_ended(struct client *client, const char *how, uint64_t lived_ns)
{
	uint64_t delay_ms = 0;

	client->tenant = NULL;
	client->deaths++;
	snprintf(client->died, sizeof(client->died), "%s", how);
	client->crashes = lived_ns < CLIENT_CRASH_NS ? client->crashes + 1 : 1;
	if (client->crashes > CLIENT_CRASHES_FREE)
		delay_ms = 100ull << (client->crashes - CLIENT_CRASHES_FREE < 6
					  ? client->crashes - CLIENT_CRASHES_FREE
					  : 6);
	if (delay_ms > CLIENT_CRASH_DELAY_MS)
		delay_ms = CLIENT_CRASH_DELAY_MS;
	client->not_before_ns = arax_now_ns() + delay_ms * 1000000;
	if (client->absent)
		adopt_widowed(client);
}

/* The size of its arena, 0 when its domain has no memory left. What is limited is the file: nobody
 * can have more than is in it, whatever the client's own books say. */
static uint64_t client_arena(const struct client *client, const struct arax_device_info *info)
{
	const struct config *config = &client->daemon->config;
	uint64_t size = (2 * info->global_mem_size + ARAX_HEAP_OFFSET + GIB - 1) / GIB * GIB;
	uint64_t limit = config->memory_per_tenant;

	if (config->memory_per_domain) {
		uint64_t used = pool_memory_of(client->daemon->pool, &client->id);
		uint64_t left =
		    config->memory_per_domain > used ? config->memory_per_domain - used : 0;

		limit = limit ? limit : config->memory_per_domain / 4;
		limit = limit < left ? limit : left;
		if (limit < ARENA_LEAST)
			return 0;
	}
	return limit && limit + ARAX_HEAP_OFFSET < size ? limit + ARAX_HEAP_OFFSET : size;
}

/* That of a tenant which another araxd has given, or of one that it has; 0: it cannot have so much.
 * What it is, is looked at by who takes it. */
static uint64_t client_former(const struct request *request, const struct arax_device_info *info)
{
	uint64_t most = client_arena(request->client, info);
	struct stat st;

	if (request->fd < 0)
		return most;
	return fstat(request->fd, &st) == 0 && st.st_size > ARAX_HEAP_OFFSET &&
		       (uint64_t)st.st_size <= most
		   ? (uint64_t)st.st_size
		   : 0;
}

/* Does any of these devices have a compiler of its own? */
static bool client_needs_requests(const struct config *config, const char *devices)
{
	char list[CONFIG_LIST], name[32];

	for (unsigned i = 0; i < config->ndevices; i++) {
		const struct config_device *device = &config->device[i];

		if (!device->enabled || device->backend != CONFIG_BACKEND_OPENCL)
			continue;
		for (unsigned n = 0; n < device->instances; n++) {
			config_device_name(device, n, name);
			if (config_narrow(name, devices, list) == 0)
				return true;
		}
	}
	return false;
}

/* Return: 0, -EAGAIN to wait, another -errno for the client. */
static int client_attach(struct request *request)
{
	struct client *client = request->client;
	struct araxd *daemon = client->daemon;
	const struct config *config = &daemon->config;
	const struct arax_device_info *info = pool_info(daemon->pool);
	struct arax_control_attach reply = {0};
	struct arax_control_start start = {
	    .head = {.magic = ARAX_CONTROL_MAGIC,
		     .type = ARAX_CONTROL_START,
		     .major = ARAX_PROTOCOL_MAJOR,
		     .minor = ARAX_PROTOCOL_MINOR},
	};
	int fds[3];

	/* The former tenant may not be there any more, and not after too many of them too soon. */
	if (!info || client->tenant)
		return -EAGAIN;
	uint64_t now = arax_now_ns();
	if (now < client->not_before_ns) {
		timer_set(&daemon->loop, &client->respawn,
			  (client->not_before_ns - now) / 1000000 + 1);
		return -EAGAIN;
	}
	/* Nobody writes any more what the former one wanted. */
	if (request->fd >= 0 && devices_hold(daemon->devices, request->fd))
		return -EAGAIN;
	/* One that takes the place of another has what that had. */
	start.arena_size = client->arena_size ? client->arena_size : client_former(request, info);
	if (!start.arena_size)
		return -EDQUOT;
	/* Of those, too: its tenant holds it to what it was told. */
	if (!client->commands) {
		client->commands = (uint16_t)config->commands_per_tenant;
		client->objects = config->objects_per_tenant;
	}
	start.commands = client->commands;
	start.objects = client->objects;
	memcpy(start.devices, request->attach.devices, sizeof(start.devices));
	memcpy(start.policy, request->attach.policy, sizeof(start.policy));
	int error = pool_attach(daemon->pool, client, &start, request->attach.program, request->fd,
				&fds[0], &fds[1]);
	if (error)
		return error;
	client->attaching = false;
	client->arena_size = start.arena_size;
	reply.arena_size = start.arena_size;
	reply.tenant_pid = client->tenant->pid;
	memcpy(reply.devices, start.devices, sizeof(reply.devices));
	memcpy(reply.policy, start.policy, sizeof(reply.policy));
	memcpy(reply.program, request->attach.program, sizeof(reply.program));
	reply.flags = client_needs_requests(config, start.devices) ? ARAX_ATTACH_REQUESTS : 0;
	reply.commands = client->commands;
	reply.objects = client->objects;
	reply.deaths = client->deaths;
	memcpy(reply.died, client->died, sizeof(reply.died));
	fds[2] = client->trace.fd;
	/* Who traces knows of it before it does anything. */
	trace_begun(daemon, client->tenant);
	client_reply(client, &reply.head, sizeof(reply), &request->head, 0, fds, 3);
	ARAX_FAULT_POINT(ARAXD_ATTACHED);
	close(fds[0]);
	close(fds[1]);
	return 0;
}

bool client_serve(struct request *request)
{
	struct client *client = request->client;
	const struct arax_device_info *info = pool_info(client->daemon->pool);

	switch (request->head.type) {
	case ARAX_CONTROL_HELLO:
		if (!info)
			return false;
		client_reply_hello(request);
		break;
	case ARAX_CONTROL_BUILD:
		if (!info)
			return false;
		builder_submit(client->daemon->builder, request, info->compiler);
		return true;
	default: {
		int error = client_attach(request);

		if (error == -EAGAIN)
			return false;
		if (error) {
			client->attaching = false;
			client_reply_plain(client, &request->head, -error, -1);
		}
	}
	}
	request_free(request);
	return true;
}

/* Answers now or puts it with those that wait. */
static int client_request(struct client *client, const struct arax_control_head *head,
			  const struct arax_control_attach *attach, int *fd)
{
	struct araxd *daemon = client->daemon;
	struct request *request = calloc(1, sizeof(*request));
	struct request **at = &daemon->waiting;

	if (client->requests >= CLIENT_REQUESTS)
		return free(request), EBUSY;
	if (!request)
		return ENOMEM;
	client->requests++;
	request->client = client;
	request->head = *head;
	request->fd = fd ? *fd : -1;
	if (fd)
		*fd = -1;
	if (attach)
		request->attach = *attach;
	if (client_serve(request))
		goto out;
	request->deadline_ns = arax_now_ns() + CLIENT_WAIT_NS;
	while (*at)
		at = &(*at)->next;
	*at = request;
	if (!daemon->waiting_timer.at_ns)
		timer_set(&daemon->loop, &daemon->waiting_timer, CLIENT_WAIT_NS / 1000000);
	if (head->type == ARAX_CONTROL_ATTACH)
		pool_waited(daemon->pool);
	if (pool_broken(daemon->pool))
		araxd_unavailable(daemon, ENODEV);
out:
	pool_fill(daemon->pool);
	return 0;
}

static bool client_text_good(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

/* How many tenants its user, or its domain alone, has or waits for. */
static unsigned client_tenants(const struct client *client, bool domain)
{
	unsigned count = pool_count_of(client->daemon->pool, &client->id, domain);

	for (const struct client *c = client->daemon->clients; c; c = c->next)
		count += c->attaching &&
			 (domain ? domain_same(&c->id, &client->id) : c->id.uid == client->id.uid);
	return count;
}

/* Checks what a client may have, and narrows what it asked for. */
static int client_on_attach(struct client *client, struct arax_control_attach *attach, int *arena)
{
	const struct config *config = &client->daemon->config;
	char all[CONFIG_LIST], devices[CONFIG_LIST];

	if (!client_text_good(attach->devices, sizeof(attach->devices)) ||
	    !client_text_good(attach->policy, sizeof(attach->policy)) ||
	    !client_text_good(attach->program, sizeof(attach->program)))
		return EPROTO;
	if (*arena >= 0 && !client->tenant && !client->arena_size)
		adopt_return(client, *arena);
	if (client->attaching || (client->tenant && *arena < 0))
		return EBUSY;
	if (client->daemon->stopping)
		return ESHUTDOWN;
	if (attach->policy[0] && !config_policy_known(attach->policy))
		return EINVAL;
	config_all_devices(config, all);
	if (config_narrow(all, attach->devices, devices) < 0)
		return EINVAL;
	if (devices_may_work(client->daemon->devices, devices))
		return ENODEV;
	if (client->tenant) /* what its client has given up; it is replaced, so it counts once */
		pool_end(client->tenant);
	else if (client_tenants(client, false) >= config->max_clients_per_user ||
		 client_tenants(client, true) >= config->tenants_per_domain)
		return EDQUOT;
	else if (pool_count(client->daemon->pool).attached >= config->max_tenants)
		return EAGAIN;
	memcpy(client->wanted, attach->devices, sizeof(client->wanted));
	memcpy(attach->devices, devices, sizeof(attach->devices));
	client->own_policy = attach->policy[0];
	if (!attach->policy[0])
		snprintf(attach->policy, sizeof(attach->policy), "%s", config->policy);
	client->attaching = true;
	int error = client_request(client, &attach->head, attach, arena);
	if (error)
		client->attaching = false;
	return error;
}

static int client_reply_json(struct client *client, const struct arax_control_head *head,
			     char *json)
{
	if (!json)
		return ENOMEM;
	int fd = arax_memfd_from("arax-json", json, strlen(json));
	free(json);
	if (fd < 0)
		return -fd;
	client_reply_plain(client, head, 0, fd);
	close(fd);
	return 0;
}

static int client_on_stop(struct client *client, const struct arax_control_head *head)
{
	if (!client_may_control(client))
		return EPERM;
	araxd_info("asked to stop by process %d of user %u", client->pid, client->id.uid);
	client->daemon->stopping = true;
	client_reply_plain(client, head, 0, -1);
	araxd_idle(client->daemon);
	return 0;
}

union client_message {
	struct arax_control_head head;
	struct arax_control_hello hello;
	struct arax_control_attach attach;
	struct arax_control_trace trace;
	struct arax_control_manage manage;
	char bytes[ARAX_CONTROL_MAX];
};

static size_t client_size_of(unsigned type)
{
	switch (type) {
	case ARAX_CONTROL_HELLO:
		return sizeof(struct arax_control_hello);
	case ARAX_CONTROL_ATTACH:
		return sizeof(struct arax_control_attach);
	case ARAX_CONTROL_TRACE:
		return sizeof(struct arax_control_trace);
	default:
		return client_manages(type) ? sizeof(struct arax_control_manage)
					    : sizeof(struct arax_control_plain);
	}
}

/* Return: 0 when answered or waiting, a positive error for the client. */
static int client_dispatch(struct client *client, union client_message *message, int *fd)
{
	switch (message->head.type) {
	case ARAX_CONTROL_HELLO:
		return client_request(client, &message->head, NULL, NULL);
	case ARAX_CONTROL_ATTACH:
		return client_on_attach(client, &message->attach, fd);
	case ARAX_CONTROL_BUILD:
		return *fd < 0 ? EBADF : client_request(client, &message->head, NULL, fd);
	case ARAX_CONTROL_STATUS:
		return client_reply_json(client, &message->head,
					 status_json(client->daemon, client->id.uid));
	case ARAX_CONTROL_DEVICES:
		return client_reply_json(client, &message->head,
					 status_devices_json(client->daemon, client->id.uid));
	case ARAX_CONTROL_VARIANTS:
		return client_reply_json(client, &message->head, variants_json(client->daemon));
	case ARAX_CONTROL_TRACE:
		return trace_subscribe(client, &message->trace);
	case ARAX_CONTROL_STOP:
		return client_on_stop(client, &message->head);
	case ARAX_CONTROL_RELOAD:
	case ARAX_CONTROL_ONLINE:
	case ARAX_CONTROL_OFFLINE:
	case ARAX_CONTROL_SET_POLICY:
		return client->requests < CLIENT_REQUESTS ? manage_request(client, &message->manage)
							  : EBUSY;
	default:
		return EOPNOTSUPP;
	}
}

static void client_message(struct client *client, union client_message *message, size_t size,
			   int *fd)
{
	struct arax_control_head head;
	int error;

	if (size < sizeof(head) || message->head.magic != ARAX_CONTROL_MAGIC) {
		client_warn(client->daemon, "client %d of user %u sent no control message",
			    client->pid, client->id.uid);
		return client_drop(client);
	}
	head = message->head;
	if (head.major != ARAX_PROTOCOL_MAJOR) {
		error = EPROTO;
	} else if (size != client_size_of(head.type)) {
		client_warn(client->daemon,
			    "client %d of user %u: a message of type %u with %zu bytes",
			    client->pid, client->id.uid, head.type, size);
		return client_drop(client);
	} else {
		error = client_dispatch(client, message, fd);
	}
	if (error)
		client_reply_plain(client, &head, error, -1);
}

static void client_ready(struct source *source, uint32_t events)
{
	struct client *client = CONTAINER(source, struct client, socket);
	union client_message message;
	int fds[ARAX_FDS_MAX];

	(void)events;
	ssize_t n = arax_socket_recv(source->fd, &message, sizeof(message), fds, 0);
	if (n == -ETIMEDOUT)
		return;
	if (n <= 0)
		return client_free(client);
	ARAX_FAULT_POINT(ARAXD_ASKED);
	client_message(client, &message, (size_t)n, &fds[0]);
	for (int i = 0; i < ARAX_FDS_MAX; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static void client_process_ready(struct source *source, uint32_t events)
{
	(void)events;
	client_free(CONTAINER(source, struct client, process));
}

/* May there be one more connection of this user? */
static int client_admit(const struct araxd *daemon, const struct domain_id *id)
{
	unsigned count = 0;

	if (!daemon->system && id->uid != 0 && id->uid != geteuid())
		return -EPERM;
	for (const struct client *c = daemon->clients; c; c = c->next)
		count += !c->absent && c->id.uid == id->uid;
	return count < daemon->config.max_clients_per_user * CLIENT_CONNECTIONS_PER_TENANT
		   ? 0
		   : -EDQUOT;
}

/* Tells a client that will not be served why, and forgets it. */
static void client_refuse(int fd, int error)
{
	struct arax_control_plain reply = {
	    .head = {.magic = ARAX_CONTROL_MAGIC,
		     .type = ARAX_CONTROL_REPLY,
		     .major = ARAX_PROTOCOL_MAJOR,
		     .error = error},
	};

	(void)arax_socket_send(fd, &reply, sizeof(reply), NULL, 0);
	close(fd);
}

static void client_respawn(struct timer *timer)
{
	araxd_progress(CONTAINER(timer, struct client, respawn)->daemon);
}

/* The process's death ends the client even when the connection lives on in a child of it. */
static int client_new(struct araxd *daemon, int fd)
{
	struct domain_id id;
	int process;
	pid_t pid;
	int error = domain_peer(fd, &id, &pid, &process);

	if (error)
		return error;
	error = client_admit(daemon, &id);
	if (error) {
		close(process);
		return error;
	}

	struct client *client = calloc(1, sizeof(*client));

	if (!client) {
		close(process);
		return -ENOMEM;
	}
	client->daemon = daemon;
	client->trace.fd = -1;
	client->pid = pid;
	client->id = id;
	client->socket = (struct source){.fd = fd, .ready = client_ready};
	client->respawn.fire = client_respawn;
	client->process = (struct source){.fd = process, .ready = client_process_ready};
	client->next = daemon->clients;
	daemon->clients = client;
	daemon->nclients++;
	error = loop_add(&daemon->loop, &client->socket, EPOLLIN);
	if (!error)
		error = loop_add(&daemon->loop, &client->process, EPOLLIN);
	if (error) {
		client->socket.fd = -1; /* the caller's */
		client_free(client);
		return error;
	}
	araxd_idle(daemon);
	return 0;
}

/* What cannot be accepted stays in the queue and would wake the loop for ever: look again later,
 * and when that goes on, make room for another araxd. Running applications do not need this one. */
static void client_accept_failed(struct araxd *daemon, int error)
{
	if (daemon->refused++ == 0)
		araxd_warn("accept: %s", strerror(error));
	if (daemon->refused > ACCEPT_TRIES || loop_change(&daemon->loop, &daemon->listening, 0)) {
		araxd_error("leaving: no client can be accepted: %s", strerror(error));
		daemon->broken = daemon->loop.quit = true;
		return;
	}
	timer_set(&daemon->loop, &daemon->accept_timer, ACCEPT_PAUSE_MS);
}

void client_accept_again(struct timer *timer)
{
	struct araxd *daemon = CONTAINER(timer, struct araxd, accept_timer);

	if (loop_change(&daemon->loop, &daemon->listening, EPOLLIN))
		timer_set(&daemon->loop, timer, ACCEPT_PAUSE_MS);
}

void client_accept(struct araxd *daemon)
{
	int fd = accept4(daemon->listening.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 && (errno == EMFILE || errno == ENFILE) && daemon->spare >= 0) {
		/* Left in the queue it would wake the loop for ever: take it and close it. */
		close(daemon->spare);
		fd = accept4(daemon->listening.fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			close(fd);
		daemon->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			client_accept_failed(daemon, EMFILE);
		else
			araxd_warn("a client was refused: no descriptor is free");
		return;
	}
	if (fd < 0) {
		if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
			client_accept_failed(daemon, errno);
		return;
	}
	daemon->refused = 0;
	ARAX_FAULT_POINT(ARAXD_ACCEPTED);
	int error = client_new(daemon, fd);
	if (error)
		client_refuse(fd, -error);
}
