/* SPDX-License-Identifier: Apache-2.0
 *
 * See araxd_adopt.h. A tenant began to listen itself, so the kernel says of a connection to it
 * which process it is; that must be the one in the journal. It is counted from then on, and what
 * it sends (its statistics, arena and trace, for all to be seen to be memory like ours) decides
 * about nothing but itself.
 *
 * The client of such a tenant has no connection here: it is absent, until it needs another tenant,
 * comes, and is known again by being the same process.
 */
#include "scheduler/araxd_adopt.h"

#include "scheduler/araxd_device.h"
#include "scheduler/araxd_journal.h"
#include "scheduler/pool.h"
#include "scheduler/status.h"
#include "transport/protocol.h"
#include "transport/socket.h"
#include "transport/wake.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define ABSENT_MS \
	60000 /* without a tenant; who comes later is a new one with an arena of its own */
#define ENDED_UNSEEN "has ended while there was no araxd"

/* ---- the folder ----------------------------------------------------------------------------- */

static char *beside(const struct araxd *daemon, const char *what)
{
	char *path;

	return asprintf(&path, "%s.%s", daemon->socket_path, what) < 0 ? NULL : path;
}

/* Return: fd or -errno. */
static int folder_open(const char *path)
{
	struct stat st;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int error = fstat(fd, &st) < 0 ? -errno : 0;
	if (!error && (st.st_uid != geteuid() || (st.st_mode & (S_IRWXG | S_IRWXO))))
		error = -EPERM;
	if (!error)
		return fd;
	close(fd);
	return error;
}

/* By way of the folder's descriptor: a path of a socket must be short. */
static int address_of(const struct araxd *daemon, const char *name, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	int n = snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s",
			 daemon->adopt_folder, name);
	return n > 0 && (size_t)n < sizeof(address->sun_path) ? 0 : -ENAMETOOLONG;
}

int adopt_socket(struct araxd *daemon, char name[ADOPT_NAME])
{
	struct sockaddr_un address;
	uint64_t random;

	name[0] = '\0';
	if (daemon->adopt_folder < 0 ||
	    getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		return -1;
	snprintf(name, ADOPT_NAME, "%016llx", (unsigned long long)random);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && !address_of(daemon, name, &address) &&
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	araxd_warn("a tenant would not be found again: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	name[0] = '\0';
	return -1;
}

void adopt_forget(struct araxd *daemon, const char *name)
{
	if (name[0] && daemon->adopt_folder >= 0)
		unlinkat(daemon->adopt_folder, name, 0);
}

static bool name_used(const struct araxd *daemon, const char *name)
{
	for (const struct tenant *t = pool_tenants(daemon->pool); t; t = t->next)
		if (strcmp(t->adopt, name) == 0)
			return true;
	return false;
}

/* Sockets of tenants that have gone. */
static void folder_sweep(struct araxd *daemon)
{
	int copy = openat(daemon->adopt_folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = copy < 0 ? NULL : fdopendir(copy);

	if (!folder) {
		if (copy >= 0)
			close(copy);
		return;
	}
	for (const struct dirent *e; (e = readdir(folder));)
		if (e->d_name[0] != '.' && !name_used(daemon, e->d_name))
			adopt_forget(daemon, e->d_name);
	closedir(folder);
}

/* ---- absent clients ------------------------------------------------------------------------- */

static void absent_ended(struct source *source, uint32_t events)
{
	(void)events;
	client_free(CONTAINER(source, struct client, process));
}

static void absent_late(struct timer *timer)
{
	client_free(CONTAINER(timer, struct client, respawn));
}

void adopt_widowed(struct client *client)
{
	if (client->process.fd < 0)
		client_free(client); /* it would not be known again */
	else
		timer_set(&client->daemon->loop, &client->respawn, ABSENT_MS);
}

/* process: taken over; -1 when it cannot be told from others, and then it does not come back. */
static struct client *absent_new(struct araxd *daemon, const struct record_tenant *record,
				 int process)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client) {
		if (process >= 0)
			close(process);
		return NULL;
	}
	client->daemon = daemon;
	client->absent = true;
	client->pid = record->client.pid;
	client->id = (struct domain_id){.uid = record->uid, .container = record->container};
	client->arena_size = record->arena_size;
	client->own_policy = record->own_policy;
	client->deaths = record->deaths;
	client->crashes = record->crashes;
	memcpy(client->died, record->died, sizeof(client->died));
	memcpy(client->wanted, record->wanted, sizeof(client->wanted));
	client->trace.fd = -1;
	client->socket.fd = -1;
	client->respawn.fire = absent_late;
	client->next = daemon->clients;
	daemon->clients = client;
	client->process = (struct source){.fd = process, .ready = absent_ended};
	if (process >= 0 && loop_add(&daemon->loop, &client->process, EPOLLIN)) {
		client_free(client);
		return NULL;
	}
	return client;
}

static bool is_same_file(int a, int b)
{
	struct stat of_a, of_b;

	return fstat(a, &of_a) == 0 && fstat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev &&
	       of_a.st_ino == of_b.st_ino;
}

static bool is_same(const struct client *absent, const struct client *client, int arena)
{
	/* A process may have been several clients. */
	if (absent->tenant && absent->tenant->arena_fd >= 0 &&
	    !is_same_file(absent->tenant->arena_fd, arena))
		return false;
	/* Two live processes do not have one number. */
	return absent->absent && absent->pid == client->pid && client->pid > 0 &&
	       domain_same(&absent->id, &client->id) && absent->process.fd >= 0 &&
	       domain_alive(absent->process.fd) && domain_alive(client->process.fd);
}

void adopt_return(struct client *client, int arena)
{
	struct client *absent = client->daemon->clients;

	while (absent && !is_same(absent, client, arena))
		absent = absent->next;
	if (!absent)
		return;
	client->tenant = absent->tenant;
	if (client->tenant)
		client->tenant->client = client;
	client->arena_size = absent->arena_size;
	client->own_policy = absent->own_policy;
	client->deaths = absent->deaths;
	client->crashes = absent->crashes;
	client->not_before_ns = absent->not_before_ns;
	memcpy(client->died, absent->died, sizeof(client->died));
	memcpy(client->wanted, absent->wanted, sizeof(client->wanted));
	client->trace = absent->trace;
	absent->tenant = NULL;
	absent->trace = (struct trace_memory){.fd = -1};
	client_free(absent);
}

/* ---- tenants -------------------------------------------------------------------------------- */

static void tenant_fill(struct tenant *tenant, const struct record_tenant *record)
{
	tenant->key = record->key;
	tenant->process = record->process;
	tenant->client_process = record->client;
	tenant->pid = record->process.pid;
	tenant->client_pid = record->client.pid;
	tenant->id = (struct domain_id){.uid = record->uid, .container = record->container};
	tenant->arena_size = record->arena_size;
	tenant->attached_ns = record->attached_ns;
	tenant->nice = record->nice;
	tenant->nicer = -1; /* whatever it is now, it is set anew */
	tenant->next_index = record->next_index;
	tenant->own_policy = record->own_policy;
	memcpy(tenant->adopt, record->adopt, sizeof(tenant->adopt));
	memcpy(tenant->devices, record->devices, sizeof(tenant->devices));
	memcpy(tenant->policy, record->policy, sizeof(tenant->policy));
	memcpy(tenant->program, record->program, sizeof(tenant->program));
	tenant->work = record->work[0] ? strdup(record->work) : NULL;
}

/* Is that at the other end the process of the journal, and does it still hold it? */
static int peer_check(int socket, const struct process_id *id)
{
	struct process_id now;
	struct domain_id domain;
	int process;
	pid_t pid;
	int error = domain_peer(socket, &domain, &pid, &process);

	if (error)
		return error;
	error = process_identify(pid, process, &now);
	close(process);
	if (!error && (now.pid != id->pid || now.start != id->start || now.inode != id->inode))
		error = -EPERM;
	return error;
}

/* A connection to a tenant, with ADOPT under way. Return: fd or -errno. */
static int tenant_connect(const struct araxd *daemon, const struct record_tenant *record)
{
	const struct arax_control_plain message = {.head = {.magic = ARAX_CONTROL_MAGIC,
							    .type = ARAX_CONTROL_ADOPT,
							    .major = ARAX_PROTOCOL_MAJOR,
							    .minor = ARAX_PROTOCOL_MINOR}};
	struct sockaddr_un address;

	if (!record->adopt[0] || strchr(record->adopt, '/') || daemon->adopt_folder < 0)
		return -ENOENT;
	/* One that does not take connections must not hold us up. */
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error = fd < 0 ? -errno : address_of(daemon, record->adopt, &address);
	if (!error && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		error = -errno;
	if (!error)
		error = peer_check(fd, &record->process);
	if (!error)
		error = arax_socket_send(fd, &message, sizeof(message), NULL, 0);
	if (!error)
		return fd;
	if (fd >= 0)
		close(fd);
	return error;
}

/* One that has ended, or is now. Its client may still come for another. */
static void tenant_widow(struct araxd *daemon, struct tenant *tenant, struct client *client)
{
	history_add(daemon->history, tenant, NULL);
	pool_lost(tenant);
	if (!client)
		return;
	client->deaths++;
	snprintf(client->died, sizeof(client->died), "%s", ENDED_UNSEEN);
	adopt_widowed(client);
}

/* process: taken over. Return: 0, or -errno when it cannot be had. */
static int tenant_take(struct araxd *daemon, struct tenant *tenant,
		       const struct record_tenant *record, int process, struct client *client)
{
	int fd = tenant_connect(daemon, record);
	int error = fd < 0 ? fd : 0;

	if (!error)
		error = child_take(&tenant->child, &daemon->loop, record->process.pid, process, fd);
	else
		syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0);
	if (error) {
		close(process);
		if (fd >= 0)
			close(fd);
		return error;
	}
	tenant->adopting = true;
	tenant->state = TENANT_ATTACHED;
	tenant->client = client;
	client->tenant = tenant;
	return 0;
}

/* Return: the client's process, -1 when it cannot be told from others; -ESRCH: it has gone. */
static int client_find(const struct record_tenant *record)
{
	int process = process_find(&record->client);

	return process >= 0 || process == -ESRCH ? process : -1;
}

static void adopt_one(struct araxd *daemon, const struct record_found *found)
{
	const struct record_tenant *record = &found->tenant;
	int process = process_find(&record->process), whose = client_find(record);
	struct client *client = whose == -ESRCH ? NULL : absent_new(daemon, record, whose);
	struct tenant *tenant = pool_new_tenant(daemon->pool);
	int error = process < 0 ? process : 0;

	if (!tenant) {
		araxd_error("tenant %d is left alone: no memory", record->process.pid);
		if (process >= 0)
			close(process);
		return;
	}
	tenant_fill(tenant, record);
	if (!error && !client) {
		/* It leaves by itself, too, unless a kernel of it prevents that. */
		syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0);
		close(process);
		error = -ESRCH;
	} else if (!error) {
		error = tenant_take(daemon, tenant, record, process, client);
	}
	if (error) {
		araxd_info("tenant %d of %s (%d) is not taken over: %s", tenant->pid,
			   tenant->program, tenant->client_pid, strerror(-error));
		return tenant_widow(daemon, tenant, client);
	}
	araxd_info("tenant %d of %s (%d) is taken over", tenant->pid, tenant->program,
		   tenant->client_pid);
	for (unsigned i = 0; i < found->nlinks; i++)
		devices_take(daemon->devices, tenant, &found->links[i]);
}

int adopt_answer(struct araxd *daemon, struct tenant *tenant, size_t size, int fds[ARAX_FDS_MAX])
{
	int error;

	if (!tenant->adopting || size != sizeof(struct arax_control_plain) || fds[0] < 0 ||
	    fds[1] < 0)
		return -EPROTO;
	error = pool_memory_check(fds[0], sizeof(struct arax_stats));
	error = error ?: pool_memory_check(fds[1], tenant->arena_size);
	error = error ?: pool_map_counts(tenant, fds[0], fds[1]);
	if (!error && fds[2] >= 0)
		error = pool_memory_check(fds[2], sizeof(struct arax_trace));
	if (!error && fds[2] >= 0) {
		error = trace_take(&tenant->trace, &tenant->client->trace, fds[2]);
		fds[2] = -1;
	}
	if (error)
		return error;
	tenant->adopting = false;
	tenant->arena_fd = fds[1];
	fds[1] = -1;
	if (tenant->client->process.fd >= 0)
		pool_cgroup(tenant, tenant->client);
	if (tenant->trace.head)
		trace_begun(daemon, tenant);
	devices_notice(daemon->devices);
	return 0;
}

/* ---- all of it ------------------------------------------------------------------------------ */

static int adopt_read(const char *path, struct records *records)
{
	char why[JOURNAL_WHY];
	int error = journal_read(path, records_take, records, why);

	if (why[0])
		araxd_warn("%s: %s; %zu applications are known from it", path, why, records->count);
	return error;
}

int adopt_all(struct araxd *daemon)
{
	struct records records = {.history = daemon->history};
	char *folder = beside(daemon, "tenants");

	daemon->journal_path = beside(daemon, "journal");
	int error = folder && daemon->journal_path ? 0 : -ENOMEM;
	if (!error) {
		daemon->adopt_folder = folder_open(folder);
		if (daemon->adopt_folder < 0)
			araxd_error("%s: %s; who runs is not found again when araxd has ended",
				    folder, strerror(-daemon->adopt_folder));
		error = adopt_read(daemon->journal_path, &records);
	}
	free(folder);
	daemon->last_key = records.last_key;
	for (size_t i = 0; i < records.count && !error; i++)
		if (!records.found[i].gone)
			adopt_one(daemon, &records.found[i]);
	records_free(&records);
	if (error)
		return error;
	error = note_begin(daemon, daemon->journal_path);
	if (error)
		araxd_error("%s: %s; who runs is not found again when araxd has ended",
			    daemon->journal_path, strerror(-error));
	if (daemon->adopt_folder >= 0)
		folder_sweep(daemon);
	pool_taken(daemon->pool);
	return 0;
}

void adopt_close(struct araxd *daemon)
{
	bool any = daemon->pool && pool_count(daemon->pool).attached;

	journal_free(daemon->journal, !any);
	daemon->journal = NULL;
}

void adopt_free(struct araxd *daemon)
{
	char *folder = daemon->adopt_folder >= 0 ? beside(daemon, "tenants") : NULL;

	/* As long as somebody listens there it is not empty. */
	if (folder)
		rmdir(folder);
	if (daemon->adopt_folder >= 0)
		close(daemon->adopt_folder);
	daemon->adopt_folder = -1;
	free(folder);
	free(daemon->journal_path);
}
