/* SPDX-License-Identifier: Apache-2.0
 *
 * Keeps tenants ready, hands them out and ends them. A tenant serves one client in its life. The
 * first that is ready defines the virtual device for as long as this araxd lives.
 */
#include "scheduler/pool.h"

#include "scheduler/araxd_variants.h"

#include "kernels/tree.h"
#include "scheduler/araxd_adopt.h"
#include "scheduler/araxd_device.h"
#include "scheduler/araxd_journal.h"
#include "scheduler/araxd_manage.h"
#include "scheduler/status.h"
#include "scheduler/zygote.h"
#include "transport/fault_point.h"
#include "transport/protocol.h"
#include "transport/shm.h"
#include "transport/socket.h"
#include "transport/wake.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define POOL_STARTING_MAX 4
#define POOL_BACKOFF_MAX_MS 10000
#define TENANT_LINES 64
#define WATCH_MS 100
#define POOL_GIVE_UP 3 /* failures in a row after which requests do not wait */
/* Programs often come in bursts (a shell's loop, a build). Each that had to wait for its tenant
 * lets one more be kept ready, up to so many; each quiet spell takes one back. */
#define POOL_EXTRA_MAX 4
#define POOL_CALM_MS 15000

/* As much of the arena as the client's own counts need. */
#define STATS_SHM 4096
_Static_assert(offsetof(struct arax_shm, client_memory) + sizeof(uint64_t) <= STATS_SHM, "counts");

struct pool {
	struct araxd *daemon;
	struct zygote zygote;
	struct tenant *tenants;
	struct arax_device_info info;
	int info_fd;
	unsigned failures;
	char error[256];
	struct sandbox_state sandbox;
	struct timer retry, calm, watch;
	unsigned extra; /* ready tenants beyond the configured number */
};

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

struct pool_count pool_count(const struct pool *pool)
{
	struct pool_count count = {.extra = pool->extra};

	for (const struct tenant *t = pool->tenants; t; t = t->next) {
		count.starting += t->state == TENANT_STARTING;
		count.ready += t->state == TENANT_READY;
		count.attached += t->state == TENANT_ATTACHED;
	}
	return count;
}

unsigned pool_count_of(const struct pool *pool, const struct domain_id *id, bool domain)
{
	unsigned count = 0;

	for (const struct tenant *t = pool->tenants; t; t = t->next)
		count += t->state == TENANT_ATTACHED &&
			 (domain ? domain_same(&t->id, id) : t->id.uid == id->uid);
	return count;
}

uint64_t pool_memory_of(const struct pool *pool, const struct domain_id *id)
{
	uint64_t bytes = 0;

	for (const struct tenant *t = pool->tenants; t; t = t->next)
		if (t->state == TENANT_ATTACHED && domain_same(&t->id, id))
			bytes += t->arena_size - ARAX_HEAP_OFFSET;
	return bytes;
}

const struct tenant *pool_tenants(const struct pool *pool)
{
	return pool->tenants;
}

struct tenant *pool_list(struct pool *pool)
{
	return pool->tenants;
}

pid_t pool_zygote(const struct pool *pool)
{
	return pool->zygote.child.pid;
}

const struct sandbox_state *pool_sandbox(const struct pool *pool)
{
	return &pool->sandbox;
}

const char *pool_error(const struct pool *pool)
{
	return pool->error;
}

bool pool_broken(const struct pool *pool)
{
	/* After that the next request tries again: with none kept ready nothing else would. */
	return pool->failures >= POOL_GIVE_UP && pool->retry.at_ns;
}

const struct arax_device_info *pool_info(const struct pool *pool)
{
	return pool->info_fd >= 0 ? &pool->info : NULL;
}

int pool_info_fd(const struct pool *pool)
{
	return pool->info_fd;
}

/* What there is of a tenant that has ended beside its process; one that goes on keeps it. */
static void tenant_clean(struct tenant *tenant)
{
	const struct araxd *daemon = tenant->pool->daemon;
	int error = tenant->work ? arax_tree_remove(tenant->work) : 0;

	if (error)
		araxd_warn("%s: %s", tenant->work, strerror(-error));
	adopt_forget(tenant->pool->daemon, tenant->adopt);
	char *end = tenant->work ? strrchr(tenant->work, '/') : NULL;
	if (!end)
		return;
	/* An earlier araxd's directory goes with the last that was in it. */
	*end = '\0';
	if (strcmp(tenant->work, daemon->work) != 0)
		rmdir(tenant->work);
}

static void tenant_free(struct tenant *tenant)
{
	for (struct tenant **at = &tenant->pool->tenants; *at; at = &(*at)->next) {
		if (*at == tenant) {
			*at = tenant->next;
			break;
		}
	}
	if (tenant->stats)
		munmap((void *)(uintptr_t)tenant->stats, sizeof(*tenant->stats));
	if (tenant->shm)
		munmap((void *)(uintptr_t)tenant->shm, STATS_SHM);
	trace_close(&tenant->trace);
	if (tenant->arena_fd >= 0)
		close(tenant->arena_fd);
	free(tenant->work);
	free(tenant);
}

void pool_lost(struct tenant *tenant)
{
	tenant_clean(tenant);
	tenant_free(tenant);
}

/* Tenants do not start: say so, try again later, and do not let clients wait for nothing. */
static void pool_failed(struct pool *pool, const char *why)
{
	uint64_t delay = 100ull << (pool->failures < 7 ? pool->failures : 7);

	snprintf(pool->error, sizeof(pool->error), "arax-tenant %s", why);
	araxd_error("%s (failure %u)", pool->error, pool->failures + 1);
	timer_set(&pool->daemon->loop, &pool->retry, least(delay, POOL_BACKOFF_MAX_MS));
	if (++pool->failures >= POOL_GIVE_UP)
		araxd_unavailable(pool->daemon, ENODEV);
}

static void tenant_ended(struct child *child, const siginfo_t *how)
{
	struct tenant *tenant = CONTAINER(child, struct tenant, child);
	struct pool *pool = tenant->pool;
	bool failed = tenant->state != TENANT_ATTACHED && tenant->state != TENANT_SURPLUS;
	char text[sizeof(tenant->refused)];

	ARAX_FAULT_POINT(ARAXD_TENANT_ENDED);
	child_describe(how, text, sizeof(text));
	if (tenant->refused[0])
		snprintf(text, sizeof(text), "%s", tenant->refused);
	if (tenant->state == TENANT_ATTACHED) {
		araxd_info("tenant %d of %s (%d) %s", tenant->pid, tenant->program,
			   tenant->client_pid, text);
		history_add(pool->daemon->history, tenant, pool->daemon->journal);
		trace_ended(pool->daemon, tenant);
		devices_detach(pool->daemon->devices, tenant);
		if (tenant->client)
			client_tenant_ended(tenant->client, text,
					    arax_now_ns() - tenant->attached_ns);
	}
	struct domain_id id = tenant->id;
	pool_lost(tenant);
	if (!pool_count_of(pool, &id, true))
		cgroup_gone(pool->daemon->cgroups, &id);
	if (failed) {
		pool_failed(pool, text);
	} else {
		cpu_share(pool->daemon);
		araxd_progress(pool->daemon); /* its client may wait for another one */
	}
	pool_fill(pool);
	araxd_idle(pool->daemon);
}

/* Strings of a child end where they must, and no size is larger than the configuration says. */
static void pool_cap(struct pool *pool)
{
	const struct config *config = &pool->daemon->config;
	struct arax_device_info *info = &pool->info;

	info->name[sizeof(info->name) - 1] = '\0';
	info->compiler[sizeof(info->compiler) - 1] = '\0';
	info->extensions[sizeof(info->extensions) - 1] = '\0';
	info->c_features[sizeof(info->c_features) - 1] = '\0';
	info->type = config->type;
	if (config->name[0])
		snprintf(info->name, sizeof(info->name), "%s", config->name);
	info->max_group_size = least(info->max_group_size, config->max_work_group_size);
	for (int i = 0; i < 3; i++)
		info->max_work_item_sizes[i] =
		    least(info->max_work_item_sizes[i], config->max_work_group_size);
	info->local_mem_size = least(info->local_mem_size, config->local_memory);
	if (config->global_memory)
		info->global_mem_size = config->global_memory;
	/* So that the arena's size can be computed and mapped. */
	info->global_mem_size = least(info->global_mem_size, 1ull << 42);
	info->max_alloc_size = least(info->max_alloc_size, info->global_mem_size);
	info->max_constant_buffer = least(info->max_constant_buffer, info->max_alloc_size);
	info->nformats = (uint32_t)least(info->nformats, ARAX_FORMATS_MAX);
}

static int pool_freeze(struct pool *pool, int fd)
{
	const void *data;
	size_t size;
	int error = arax_memfd_map(fd, sizeof(pool->info), &data, &size);

	if (error)
		return error;
	if (size == sizeof(pool->info))
		memcpy(&pool->info, data, size);
	munmap((void *)(uintptr_t)data, size);
	if (size != sizeof(pool->info) || pool->info.size != sizeof(pool->info) ||
	    !pool->info.global_mem_size)
		return -EPROTO;
	pool_cap(pool);
	variants_builtins(pool->daemon, pool->info.builtins, sizeof(pool->info.builtins));
	fd = arax_memfd_from("arax-device-info", &pool->info, sizeof(pool->info));
	if (fd < 0)
		return fd;
	pool->info_fd = fd;
	return 0;
}

void pool_describe(struct pool *pool)
{
	if (pool->info_fd < 0)
		return;
	variants_builtins(pool->daemon, pool->info.builtins, sizeof(pool->info.builtins));
	int fd = arax_memfd_from("arax-device-info", &pool->info, sizeof(pool->info));
	if (fd < 0) {
		araxd_warn("the built-in kernels stay as they were: %s", strerror(-fd));
		return;
	}
	close(pool->info_fd);
	pool->info_fd = fd;
}

/* A line for the log. Kernels can send them, too: not many, and nothing that a terminal obeys. */
static int tenant_line(struct tenant *tenant, const struct arax_control_log *log, size_t size)
{
	char line[sizeof(log->line)];
	size_t i;

	if (size != sizeof(*log) || ++tenant->lines > TENANT_LINES)
		return -EPROTO;
	for (i = 0; i + 1 < sizeof(line) && log->line[i]; i++)
		line[i] = isprint((unsigned char)log->line[i]) ? log->line[i] : '?';
	line[i] = '\0';
	araxd_info("tenant %d says: %s", tenant->pid, line);
	return 0;
}

/* A device is drained. */
static int tenant_device(struct tenant *tenant, const struct arax_control_device *answer,
			 size_t size)
{
	if (size != sizeof(*answer) || tenant->state != TENANT_ATTACHED)
		return -EPROTO;
	return devices_answer(tenant->pool->daemon->devices, tenant, answer);
}

static int tenant_ready(struct tenant *tenant, const struct arax_control_ready *ready, size_t size,
			int info)
{
	struct pool *pool = tenant->pool;

	if (tenant->state != TENANT_STARTING || size != sizeof(*ready))
		return -EPROTO;
	if (!sandbox_take(&pool->sandbox, ready, SANDBOX_ALL, &pool->daemon->config,
			  tenant->refused))
		return -EPERM;
	tenant->refused[0] = '\0';
	return pool->info_fd < 0 ? pool_freeze(pool, info) : 0;
}

static void tenant_message(struct child *child, const struct arax_control_head *head, size_t size,
			   int fds[ARAX_FDS_MAX])
{
	struct tenant *tenant = CONTAINER(child, struct tenant, child);
	struct pool *pool = tenant->pool;
	int error = -EPROTO;

	if (head->type == ARAX_CONTROL_LOG) {
		error = tenant_line(tenant, (const void *)head, size);
		if (!error)
			return;
	} else if ((head->type & ~ARAX_CONTROL_REPLY) == ARAX_CONTROL_DEVICE) {
		error = tenant_device(tenant, (const void *)head, size);
		if (!error)
			return;
	} else if (head->type == (ARAX_CONTROL_ADOPT | ARAX_CONTROL_REPLY)) {
		error = adopt_answer(pool->daemon, tenant, size, fds);
		if (!error)
			return;
	} else if (head->type == ARAX_CONTROL_READY) {
		error = tenant_ready(tenant, (const void *)head, size, fds[0]);
	}
	if (error) {
		araxd_error("tenant %d: %s", tenant->pid, strerror(-error));
		child_kill(child);
		return;
	}
	tenant->state = TENANT_READY;
	ARAX_FAULT_POINT(ARAXD_TENANT_READY);
	pool->failures = 0;
	pool->error[0] = '\0';
	araxd_progress(pool->daemon);
	pool_fill(pool);
}

static int tenant_start(struct tenant *tenant)
{
	struct pool *pool = tenant->pool;
	struct araxd *daemon = pool->daemon;

	if (asprintf(&tenant->work, "%s/tenant-XXXXXX", daemon->work) < 0) {
		tenant->work = NULL;
		return -ENOMEM;
	}
	if (!mkdtemp(tenant->work))
		return -errno;
	int listening = adopt_socket(daemon, tenant->adopt);
	int error = zygote_spawn(&pool->zygote, &daemon->loop, &tenant->child, tenant->work,
				 daemon->config.kernel_memory, listening, &tenant->spawn);
	if (listening >= 0)
		close(listening);
	return error;
}

struct tenant *pool_new_tenant(struct pool *pool)
{
	struct tenant *tenant = calloc(1, sizeof(*tenant));

	if (!tenant)
		return NULL;
	tenant->pool = pool;
	tenant->trace.fd = -1;
	tenant->arena_fd = -1;
	tenant->child.loop = &pool->daemon->loop;
	tenant->child.control.fd = tenant->child.process.fd = -1;
	tenant->child.message = tenant_message;
	tenant->child.ended = tenant_ended;
	tenant->child.held = &tenant->cgroup.moving;
	tenant->next = pool->tenants;
	pool->tenants = tenant;
	return tenant;
}

static int pool_start(struct pool *pool)
{
	struct tenant *tenant = pool_new_tenant(pool);
	int error = tenant ? tenant_start(tenant) : -ENOMEM;

	if (tenant && error)
		pool_lost(tenant);
	return error;
}

static void pool_forked(struct zygote *zygote, uint64_t id, int pid)
{
	struct pool *pool = CONTAINER(zygote, struct pool, zygote);
	struct tenant *tenant = pool->tenants;
	char why[128];
	int error = pid < 0 ? pid : 0;

	while (tenant && tenant->spawn != id)
		tenant = tenant->next;
	if (!tenant)
		return;
	ARAX_FAULT_POINT(ARAXD_SPAWN_ANSWERED);
	tenant->spawn = 0;
	tenant->pid = pid;
	if (error)
		child_unexpect(&tenant->child);
	else
		error = child_adopt(&tenant->child, pid);
	if (!error) {
		/* Without that it serves, and is not found again. */
		(void)process_identify(pid, tenant->child.process.fd, &tenant->process);
		return;
	}
	pool_lost(tenant);
	snprintf(why, sizeof(why), "is not forked: %s", strerror(-error));
	pool_failed(pool, why);
}

static void pool_zygote_ended(struct zygote *zygote, const siginfo_t *how)
{
	struct pool *pool = CONTAINER(zygote, struct pool, zygote);
	char text[64], why[128];

	/* Of those that it did start nobody knows the number. They leave: their socket is closed.
	 */
	for (struct tenant *t = pool->tenants, *next; t; t = next) {
		next = t->next;
		if (!t->spawn)
			continue;
		child_unexpect(&t->child);
		pool_lost(t);
	}
	child_describe(how, text, sizeof(text));
	snprintf(why, sizeof(why), "--zygote %s", text);
	pool_failed(pool, why);
	araxd_idle(pool->daemon);
}

/* How many tenants should be starting or ready. */
static unsigned pool_wanted(const struct pool *pool)
{
	unsigned waiting = 0;

	for (const struct request *r = pool->daemon->waiting; r; r = r->next)
		waiting += r->head.type == ARAX_CONTROL_ATTACH || pool->info_fd < 0;
	/* The first alone: it is what everybody waits for. */
	if (pool->info_fd < 0)
		return waiting || pool->daemon->config.pool ? 1 : 0;
	return waiting + pool->daemon->config.pool + pool->extra;
}

static bool pool_lacks(const struct pool *pool)
{
	struct pool_count count = pool_count(pool);
	unsigned unused = count.starting + count.ready;

	return unused < pool_wanted(pool) && count.starting < POOL_STARTING_MAX &&
	       unused + count.attached < pool->daemon->config.max_tenants;
}

void pool_fill(struct pool *pool)
{
	struct araxd *daemon = pool->daemon;
	char why[128];

	if (pool->retry.at_ns || daemon->stopping)
		return;
	/* Even when nothing is missing: whoever needs a tenant next should not wait for it. */
	int error = daemon->config.pool ? zygote_start(&pool->zygote, &daemon->loop) : 0;
	while (!error && pool_lacks(pool))
		error = pool_start(pool);
	/* A zygote that has just ended is dealt with when that is reported. */
	if (!error || error == -EPIPE || error == -ECONNRESET)
		return;
	snprintf(why, sizeof(why), "does not start: %s", strerror(-error));
	if (pool->failures < POOL_GIVE_UP)
		pool->failures = POOL_GIVE_UP;
	pool_failed(pool, why);
}

static void pool_retry(struct timer *timer)
{
	pool_fill(CONTAINER(timer, struct pool, retry));
}

void pool_waited(struct pool *pool)
{
	/* Whoever comes before the first tenant is there has come early, not often. */
	if (pool->info_fd < 0 || !pool->daemon->config.pool)
		return;
	if (pool->extra < POOL_EXTRA_MAX)
		pool->extra++;
	timer_set(&pool->daemon->loop, &pool->calm, POOL_CALM_MS);
}

/* Ends so many that nobody needs. */
static void pool_trim(struct pool *pool, unsigned most)
{
	unsigned ready = pool_count(pool).ready, wanted = pool_wanted(pool);

	for (struct tenant *t = pool->tenants; t && most && ready > wanted; t = t->next) {
		if (t->state != TENANT_READY)
			continue;
		t->state = TENANT_SURPLUS;
		child_kill(&t->child);
		ready--;
		most--;
	}
}

static void pool_calm(struct timer *timer)
{
	struct pool *pool = CONTAINER(timer, struct pool, calm);

	if (pool->extra)
		pool->extra--;
	pool_trim(pool, 1);
	if (pool->extra || pool_count(pool).ready > pool_wanted(pool))
		timer_set(&pool->daemon->loop, timer, POOL_CALM_MS);
}

static void pool_watch(struct timer *timer)
{
	struct pool *pool = CONTAINER(timer, struct pool, watch);

	cpu_watch(pool->daemon);
	if (pool_count(pool).attached)
		timer_set(&pool->daemon->loop, timer, WATCH_MS);
}

void pool_taken(struct pool *pool)
{
	if (pool->daemon->config.command_time && pool_count(pool).attached)
		timer_set(&pool->daemon->loop, &pool->watch, WATCH_MS);
	cpu_share(pool->daemon);
}

int pool_new(struct araxd *daemon, struct pool **pool)
{
	*pool = calloc(1, sizeof(**pool));
	if (!*pool)
		return -ENOMEM;
	(*pool)->daemon = daemon;
	(*pool)->info_fd = -1;
	(*pool)->retry.fire = pool_retry;
	(*pool)->calm.fire = pool_calm;
	(*pool)->watch.fire = pool_watch;
	(*pool)->zygote.libexec = daemon->libexec;
	(*pool)->zygote.work = daemon->work;
	(*pool)->zygote.sandbox = daemon->config.sandbox;
	(*pool)->zygote.forked = pool_forked;
	(*pool)->zygote.ended = pool_zygote_ended;
	return 0;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	zygote_finish(&pool->zygote);
	while (pool->tenants) {
		struct tenant *tenant = pool->tenants;

		if (tenant->spawn) {
			child_unexpect(&tenant->child);
			tenant_clean(tenant);
		} else if (tenant->state == TENANT_ATTACHED) {
			child_forget(&tenant->child);
		} else {
			child_finish(&tenant->child);
			tenant_clean(tenant);
		}
		tenant_free(tenant);
	}
	timer_clear(&pool->daemon->loop, &pool->retry);
	timer_clear(&pool->daemon->loop, &pool->calm);
	timer_clear(&pool->daemon->loop, &pool->watch);
	if (pool->info_fd >= 0)
		close(pool->info_fd);
	free(pool);
}

/* What goes to the tenant and to the client; all closed by the caller. */
struct pool_grant {
	int arena, keep, link[2], stats; /* keep: the arena for devices */
	struct trace_memory trace;
};

static void pool_grant_close(struct pool_grant *grant)
{
	const int fds[] = {grant->arena, grant->keep, grant->link[0], grant->link[1], grant->stats};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	trace_close(&grant->trace);
}

int pool_memory_check(int fd, uint64_t size)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	int has = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (has < 0 || (has & (seals | F_SEAL_WRITE)) != seals || fstat(fd, &st) < 0 ||
	    (uint64_t)st.st_size != size || st.st_blksize != sysconf(_SC_PAGESIZE))
		return -EINVAL;
	return 0;
}

/* An arena that a client brings along. */
static int pool_arena_again(int former, uint64_t size)
{
	int error = pool_memory_check(former, size);

	ARAX_FAULT_POINT(ARAXD_ARENA_AGAIN);
	int fd = error ? error : fcntl(former, F_DUPFD_CLOEXEC, 3);

	return error ?: fd < 0 ? -errno : fd;
}

/* Its client's counts are final only when the tenant has ended, and nobody else could hand them
 * over when it is killed. */
int pool_map_counts(struct tenant *tenant, int stats, int arena)
{
	void *map = mmap(NULL, sizeof(struct arax_stats), PROT_READ, MAP_SHARED, stats, 0);

	if (map == MAP_FAILED)
		return -errno;
	tenant->stats = map;
	map = mmap(NULL, STATS_SHM, PROT_READ, MAP_SHARED, arena, 0);
	if (map == MAP_FAILED)
		return -errno;
	tenant->shm = map;
	return 0;
}

static int pool_grant_make(struct pool_grant *grant, uint64_t arena_size, int former)
{
	*grant = (struct pool_grant){
	    .arena = -1, .keep = -1, .link = {-1, -1}, .stats = -1, .trace = {.fd = -1}};
	grant->arena = former < 0 ? arax_memfd_new("arax-arena", arena_size)
				  : pool_arena_again(former, arena_size);
	if (grant->arena < 0)
		return grant->arena;
	grant->keep = fcntl(grant->arena, F_DUPFD_CLOEXEC, 3);
	if (grant->keep < 0)
		return -errno;
	grant->stats = arax_memfd_new("arax-stats", sizeof(struct arax_stats));
	if (grant->stats < 0)
		return grant->stats;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, grant->link) < 0 ? -errno : 0;
}

/* Whose it will be; noted before the tenant knows. */
static void tenant_fill(struct tenant *tenant, struct client *client,
			const struct arax_control_start *start, const char *program)
{
	tenant->client = client;
	tenant->client_pid = client->pid;
	tenant->id = client->id;
	tenant->arena_size = start->arena_size;
	tenant->attached_ns = arax_now_ns();
	snprintf(tenant->devices, sizeof(tenant->devices), "%s", start->devices);
	snprintf(tenant->policy, sizeof(tenant->policy), "%s", start->policy);
	snprintf(tenant->program, sizeof(tenant->program), "%s", program);
	tenant->own_policy = client->own_policy;
	(void)process_identify(client->pid, client->process.fd, &tenant->client_process);
	note_tenant(tenant);
}

/* Sends START to a ready tenant; one that cannot take it is ended and the next is tried. */
static struct tenant *pool_send_start(struct pool *pool, struct client *client,
				      const struct arax_control_start *start, const char *program,
				      const struct pool_grant *grant)
{
	const int fds[] = {grant->arena, grant->link[1], grant->stats, grant->trace.fd};

	for (struct tenant *t = pool->tenants; t; t = t->next) {
		if (t->state != TENANT_READY || t->child.control.fd < 0)
			continue;
		cpu_adopt(t, client);
		tenant_fill(t, client, start, program);
		if (pool_map_counts(t, grant->stats, grant->arena) == 0 &&
		    arax_socket_send(t->child.control.fd, start, sizeof(*start), fds, 4) == 0)
			return t;
		note_gone(t);
		t->client = NULL;
		child_kill(&t->child);
	}
	return NULL;
}

void pool_cgroup(struct tenant *tenant, const struct client *client)
{
	const struct config *config = &tenant->pool->daemon->config;
	uint64_t memory = config->memory_per_domain;

	if (memory)
		memory += config->kernel_memory;
	cgroup_enter(tenant->pool->daemon->cgroups, config->cgroup, &tenant->cgroup, tenant->pid,
		     client->pid, client->process.fd, &client->id, memory);
}

int pool_attach(struct pool *pool, struct client *client, const struct arax_control_start *start,
		const char *program, int former, int *arena, int *link)
{
	struct pool_grant grant;

	if (!pool_count(pool).ready)
		return -EAGAIN;
	int error = pool_grant_make(&grant, start->arena_size, former);
	if (!error)
		error = trace_share(&grant.trace, &client->trace);
	ARAX_FAULT_POINT(ARAXD_GRANTED);
	struct tenant *tenant =
	    error ? NULL : pool_send_start(pool, client, start, program, &grant);
	if (!tenant) {
		pool_grant_close(&grant);
		return error ? error : -EAGAIN;
	}
	ARAX_FAULT_POINT(ARAXD_TENANT_STARTED);
	tenant->state = TENANT_ATTACHED;
	tenant->arena_fd = grant.keep;
	tenant->trace = grant.trace;
	client->tenant = tenant;
	if (pool->daemon->config.command_time && !pool->watch.at_ns)
		timer_set(&pool->daemon->loop, &pool->watch, WATCH_MS);
	*arena = grant.arena;
	*link = grant.link[0];
	grant.keep = -1;
	grant.trace = (struct trace_memory){.fd = -1};
	grant.arena = grant.link[0] = -1;
	pool_grant_close(&grant);
	pool_cgroup(tenant, client);
	cpu_share(pool->daemon);
	manage_attached(pool->daemon, tenant);
	devices_notice(pool->daemon->devices);
	return 0;
}

void pool_configure(struct pool *pool)
{
	pool_taken(pool);
	if (!pool->daemon->config.command_time)
		timer_clear(&pool->daemon->loop, &pool->watch);
	pool_trim(pool, pool_count(pool).ready);
	/* Those that are starting come too late for that. */
	if (pool_count(pool).starting)
		timer_set(&pool->daemon->loop, &pool->calm, POOL_CALM_MS);
	pool_fill(pool);
}

void pool_end(struct tenant *tenant)
{
	child_kill(&tenant->child);
}

void pool_release(struct tenant *tenant)
{
	tenant->client = NULL;
	child_kill(&tenant->child);
}
