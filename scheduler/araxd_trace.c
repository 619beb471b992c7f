/* SPDX-License-Identifier: Apache-2.0
 *
 * Who traces whom. Readers get a descriptor that can only be read; they may see what `arax status`
 * shows them. One that does not read its messages loses its connection, nobody waits for it.
 */
#include "scheduler/araxd_trace.h"

#include "scheduler/pool.h"
#include "scheduler/status.h"
#include "transport/protocol.h"
#include "transport/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ANCESTORS_MAX 64

/* Takes over the descriptor. */
static int trace_map(struct trace_memory *memory, int fd, uint64_t serial)
{
	if (fd < 0)
		return fd;
	void *map = mmap(NULL, ARAX_TRACE_HEAD, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		int error = -errno;

		close(fd);
		return error;
	}
	*memory = (struct trace_memory){.fd = fd, .head = map, .serial = serial};
	memory->head->magic = ARAX_TRACE_MAGIC;
	return 0;
}

static uint64_t last_serial;

int trace_share(struct trace_memory *of_tenant, struct trace_memory *of_client)
{
	int error = 0;

	if (!of_client->head)
		error =
		    trace_map(of_client, arax_memfd_new("arax-trace", sizeof(struct arax_trace)),
			      ++last_serial);
	if (error)
		return error;
	int fd = fcntl(of_client->fd, F_DUPFD_CLOEXEC, 3);
	return trace_map(of_tenant, fd < 0 ? -errno : fd, of_client->serial);
}

int trace_take(struct trace_memory *of_tenant, struct trace_memory *of_client, int fd)
{
	int error = trace_map(of_client, fd, ++last_serial);

	return error ?: trace_share(of_tenant, of_client);
}

void trace_close(struct trace_memory *memory)
{
	if (memory->head)
		munmap(memory->head, ARAX_TRACE_HEAD);
	if (memory->fd >= 0)
		close(memory->fd);
	*memory = (struct trace_memory){.fd = -1};
}

static pid_t parent_of(pid_t pid)
{
	char path[32], text[512];
	int parent = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	/* The name, in parentheses, may contain anything. */
	const char *after = strrchr(text, ')');
	if (!after || sscanf(after + 1, " %*c %d", &parent) != 1)
		return 0;
	return parent;
}

static bool descends(pid_t pid, pid_t from)
{
	for (int i = 0; i < ANCESTORS_MAX && pid > 1; i++) {
		if (pid == from)
			return true;
		pid = parent_of(pid);
	}
	return false;
}

static bool traces(const struct client *reader, const struct tenant *tenant)
{
	/* Without its memory it has not been heard of yet. */
	return reader->traces && tenant->trace.head &&
	       status_visible(reader->id.uid, tenant->id.uid) &&
	       (!reader->traces_descendants || descends(tenant->client_pid, reader->pid));
}

static int send_to(struct client *reader, struct arax_control_trace *message, int fd)
{
	message->head = (struct arax_control_head){
	    .magic = ARAX_CONTROL_MAGIC,
	    .type = ARAX_CONTROL_TRACE | ARAX_CONTROL_REPLY,
	    .major = ARAX_PROTOCOL_MAJOR,
	    .minor = ARAX_PROTOCOL_MINOR,
	    .id = reader->trace_request,
	};
	int error =
	    arax_socket_send(reader->socket.fd, message, sizeof(*message), &fd, fd >= 0 ? 1 : 0);
	if (error) {
		araxd_info("client %d: tracing ends: %s", reader->pid, strerror(-error));
		client_drop(reader);
	}
	return error;
}

/* Return: 0 or -errno, and then the reader has been dropped or not told. */
static int tell_begin(struct client *reader, const struct tenant *tenant)
{
	struct arax_control_trace message = {
	    .what = ARAX_TRACED_BEGIN,
	    .serial = tenant->trace.serial,
	    .pid = tenant->client_pid,
	    .tenant_pid = tenant->pid,
	    .uid = tenant->id.uid,
	};
	char path[32];

	for (int i = 0; i < ARAX_TRACE_SOURCES; i++)
		message.from[i] = atomic_load(&tenant->trace.head->writers[i].next);
	status_printable(message.program, tenant->program, sizeof(message.program));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", tenant->trace.fd);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int error = fd < 0 ? -errno : send_to(reader, &message, fd);
	if (fd >= 0)
		close(fd);
	else
		araxd_warn("trace of %d: %s", tenant->client_pid, strerror(-error));
	return error;
}

/* On while there is a reader; from before the reader is told where to begin. */
static void set_on(const struct araxd *daemon, const struct tenant *tenant)
{
	uint32_t on = 0;

	for (const struct client *c = daemon->clients; c && !on; c = c->next)
		on = traces(c, tenant);
	if (tenant->trace.head)
		atomic_store(&tenant->trace.head->on, on);
}

int trace_subscribe(struct client *client, const struct arax_control_trace *request)
{
	struct arax_control_trace message = {.what = ARAX_TRACED_NOW};

	if (client->traces || client->tenant || client->attaching)
		return EBUSY;
	client->traces = true;
	client->traces_descendants = request->descendants;
	client->trace_request = request->head.id;
	int error = send_to(client, &message, -1);
	for (const struct tenant *t = pool_tenants(client->daemon->pool); t && !error;
	     t = t->next) {
		if (t->state != TENANT_ATTACHED || !traces(client, t))
			continue;
		set_on(client->daemon, t);
		error = tell_begin(client, t);
	}
	return 0;
}

void trace_unsubscribe(struct client *client)
{
	client->traces = false;
	for (const struct tenant *t = pool_tenants(client->daemon->pool); t; t = t->next)
		if (t->state == TENANT_ATTACHED)
			set_on(client->daemon, t);
}

void trace_begun(struct araxd *daemon, struct tenant *tenant)
{
	set_on(daemon, tenant);
	for (struct client *c = daemon->clients; c; c = c->next)
		if (traces(c, tenant))
			(void)tell_begin(c, tenant);
}

/* To all that may see it: by now nobody knows from whom it descended. */
static void tell_end(struct araxd *daemon, uid_t uid, uint64_t serial)
{
	struct arax_control_trace message = {.what = ARAX_TRACED_END, .serial = serial};

	for (struct client *c = daemon->clients; c; c = c->next)
		if (c->traces && status_visible(c->id.uid, uid))
			(void)send_to(c, &message, -1);
}

void trace_ended(struct araxd *daemon, struct tenant *tenant)
{
	if (!tenant->client)
		tell_end(daemon, tenant->id.uid, tenant->trace.serial);
}

void trace_gone(const struct client *client)
{
	if (client->trace.head)
		tell_end(client->daemon, client->id.uid, client->trace.serial);
}
