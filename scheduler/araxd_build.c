/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers BUILD. A request is opaque here: it is hashed, looked up in the cache of its user's
 * domain, and otherwise goes to the compiler process. Equal builds that are under way at the same
 * time are one build. A build that lost its compiler is tried once more, then it fails.
 */
#include "scheduler/araxd_build.h"

#include "kernels/cache.h"
#include "kernels/tree.h"
#include "scheduler/araxd_child.h"
#include "scheduler/araxd_variants.h"
#include "scheduler/pool.h"
#include "transport/build.h"
#include "transport/fault_point.h"
#include "transport/socket.h"
#include "transport/wake.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BUILDER_ATTEMPTS 2
#define BUILDER_GIVE_UP 3
#define BUILDER_BACKOFF_MAX_MS 10000
#define BUILDER_PARALLEL_MAX 64
#define BUILDER_ACTIVE_NS 500000000ull
#define NS_PER_SECOND 1000000000ull
#define SECONDS_OF_LIMIT 60 /* config.compile_time_per_domain is of so many */

struct build {
	char key[ARAX_CACHE_KEY_SIZE];
	struct domain_id domain;
	int fd;	      /* the request's bytes */
	int variants; /* what is registered for it; -1 */
	bool careful; /* the compiler failed with all of that */
	uint64_t id;  /* 0: not with the compiler */
	unsigned attempts;
	uint64_t sent_ns;
	struct request *requests; /* who waits for it */
	struct build *next;
};

/* One trust domain's cache, and what it has had of the compiler: the seconds of the last minute,
 * which fade at the rate at which they are granted. */
struct domain {
	struct domain_id id;
	uint64_t spent_ns, faded_ns;
	uint64_t latest_ns;	  /* when it had a build last */
	struct arax_cache *cache; /* NULL: there is none */
	char *scratch;		  /* its directory, when that ends with us */
	struct domain *next;
};

struct builder {
	struct araxd *daemon;
	struct child child;
	bool ready;
	unsigned parallel, failures;
	uint64_t last_id, hits, misses, failed;
	char error[256];
	char refused[128]; /* why we ended the compiler that was starting; "" */
	struct sandbox_state sandbox;
	struct build *builds;
	struct domain *domains;
	struct timer retry;
};

/* Numbers of namespaces are used again after a start of the machine, and containers are
 * short-lived: what they build is kept in our scratch space, and goes with us. */
static char *builder_cache_path(const struct araxd *daemon, const struct domain_id *id)
{
	uid_t uid = id->uid;
	const char *set = daemon->config.cache_directory;
	const char *home = getenv("HOME"), *cache_home = getenv("XDG_CACHE_HOME");
	char *path = NULL;
	int length;

	if (id->container)
		length = asprintf(&path, "%s/cache-%u-%llu", daemon->work, uid,
				  (unsigned long long)id->container);
	else if (daemon->system)
		length = asprintf(&path, "%s/%u", *set ? set : "/var/cache/arax", uid);
	else if (*set)
		length = asprintf(&path, "%s", set);
	else if (cache_home && cache_home[0] == '/')
		length = asprintf(&path, "%s/arax", cache_home);
	else if (home && home[0] == '/')
		length = asprintf(&path, "%s/.cache/arax", home);
	else
		length = asprintf(&path, "%s/cache", daemon->work);
	return length < 0 ? NULL : path;
}

static struct domain *builder_domain(struct builder *builder, const struct domain_id *id)
{
	struct domain *domain = builder->domains;

	while (domain && !domain_same(&domain->id, id))
		domain = domain->next;
	if (domain)
		return domain;
	domain = calloc(1, sizeof(*domain));
	char *path = builder_cache_path(builder->daemon, id);
	if (!domain || !path) {
		free(domain);
		free(path);
		return NULL;
	}
	int error = arax_cache_open(path, builder->daemon->config.cache_size, &domain->cache);
	if (error)
		araxd_warn("no cache in %s: %s", path, strerror(-error));
	domain->id = *id;
	if (id->container)
		domain->scratch = path;
	else
		free(path);
	domain->next = builder->domains;
	builder->domains = domain;
	return domain;
}

struct arax_cache *builder_cache(struct builder *builder, const struct domain_id *id)
{
	const struct domain *domain = builder_domain(builder, id);

	return domain ? domain->cache : NULL;
}

/* Has a domain had as much of the compiler's time as it may? */
static bool builder_exhausted(struct builder *builder, const struct domain_id *id)
{
	unsigned limit = builder->daemon->config.compile_time_per_domain;
	struct domain *domain = limit ? builder_domain(builder, id) : NULL;
	uint64_t now = arax_now_ns();

	if (!domain)
		return false;
	uint64_t faded = (now - domain->faded_ns) / SECONDS_OF_LIMIT * limit;
	domain->spent_ns -= faded < domain->spent_ns ? faded : domain->spent_ns;
	domain->faded_ns = now;
	return domain->spent_ns >= limit * NS_PER_SECOND;
}

static void build_noted(struct builder *builder, const struct build *build)
{
	struct domain *domain = builder_domain(builder, &build->domain);

	if (domain)
		domain->latest_ns = arax_now_ns();
}

/* A build is not with the compiler any more. */
static void build_back(struct builder *builder, struct build *build)
{
	struct domain *domain = builder_domain(builder, &build->domain);

	if (domain)
		domain->spent_ns += arax_now_ns() - build->sent_ns;
	build_noted(builder, build);
	build->id = 0;
}

static void build_free(struct builder *builder, struct build *build)
{
	for (struct build **at = &builder->builds; *at; at = &(*at)->next) {
		if (*at == build) {
			*at = build->next;
			break;
		}
	}
	while (build->requests) {
		struct request *request = build->requests;

		build->requests = request->next;
		request_free(request);
	}
	if (build->fd >= 0)
		close(build->fd);
	if (build->variants >= 0)
		close(build->variants);
	free(build);
}

/* Answers all who wait for a build, and forgets it. */
static void build_finish(struct builder *builder, struct build *build, int error, int fd)
{
	for (struct request *r = build->requests; r; r = r->next)
		client_reply_plain(r->client, &r->head, error, error ? -1 : fd);
	build_free(builder, build);
	araxd_idle(builder->daemon);
}

static unsigned builder_compiling(const struct builder *builder)
{
	unsigned count = 0;

	for (const struct build *b = builder->builds; b; b = b->next)
		count += b->id != 0;
	return count;
}

static int build_send(struct builder *builder, struct build *build)
{
	struct arax_control_plain message = {
	    .head = {.magic = ARAX_CONTROL_MAGIC, .type = ARAX_CONTROL_COMPILE, .major = 1},
	};

	message.head.id = ++builder->last_id;
	const int fds[] = {build->fd, build->variants};
	int error = arax_socket_send(builder->child.control.fd, &message, sizeof(message), fds,
				     build->variants < 0 ? 1 : 2);
	ARAX_FAULT_POINT(ARAXD_BUILD_SENT);
	if (!error) {
		build->id = message.head.id;
		build->sent_ns = arax_now_ns();
		build_noted(builder, build);
		build->attempts++;
	}
	return error;
}

static unsigned builder_compiling_of(const struct builder *builder, const struct domain_id *id)
{
	unsigned count = 0;

	for (const struct build *b = builder->builds; b; b = b->next)
		count += b->id && domain_same(&b->domain, id);
	return count;
}

static bool builder_has(const struct builder *builder, const struct domain_id *id)
{
	const struct build *b = builder->builds;

	while (b && !domain_same(&b->domain, id))
		b = b->next;
	return b;
}

/* How many builds a domain may have with the compiler: an equal part of the places. Who builds one
 * program after the other has none there for moments, and is counted nevertheless. */
static unsigned builder_part(const struct builder *builder)
{
	uint64_t now = arax_now_ns();
	unsigned active = 0;

	for (const struct domain *d = builder->domains; d; d = d->next)
		active += now - d->latest_ns < BUILDER_ACTIVE_NS || builder_has(builder, &d->id);
	return active > builder->parallel ? 1 : builder->parallel / (active ? active : 1);
}

/* What goes next: the oldest of whoever has the least with the compiler now, and not its part. Who
 * has nothing there gets a place beyond the usual ones, so that nobody waits for the long builds of
 * others. */
static struct build *builder_next(struct builder *builder, unsigned compiling)
{
	struct build *next = NULL;
	unsigned least = builder_part(builder);

	for (struct build *b = builder->builds; b && least; b = b->next) {
		unsigned count = b->id ? UINT_MAX : builder_compiling_of(builder, &b->domain);

		if (count < least) {
			least = count;
			next = b;
		}
	}
	if (compiling < builder->parallel)
		return next;
	return !least && compiling < BUILDER_PARALLEL_MAX ? next : NULL;
}

/* Sends what waits, as far as the compiler has room. */
static void builder_push(struct builder *builder)
{
	unsigned compiling = builder_compiling(builder);
	struct build *build;

	if (!builder->ready || builder->child.control.fd < 0)
		return;
	while ((build = builder_next(builder, compiling))) {
		if (builder_exhausted(builder, &build->domain)) {
			build_finish(builder, build, EDQUOT, -1);
			continue;
		}
		int error = build_send(builder, build);

		if (error == -EAGAIN)
			return;
		if (error) {
			child_kill(&builder->child);
			return;
		}
		compiling++;
	}
}

static void builder_fail_all(struct builder *builder, int error)
{
	while (builder->builds)
		build_finish(builder, builder->builds, error, -1);
}

static void builder_broken(struct builder *builder, const char *why)
{
	uint64_t delay = 100ull << (builder->failures < 7 ? builder->failures : 7);

	snprintf(builder->error, sizeof(builder->error), "arax-compile %s", why);
	araxd_error("%s", builder->error);
	builder->failures++;
	if (builder->failures >= BUILDER_GIVE_UP)
		builder_fail_all(builder, ENODEV);
	timer_set(&builder->daemon->loop, &builder->retry,
		  delay < BUILDER_BACKOFF_MAX_MS ? delay : BUILDER_BACKOFF_MAX_MS);
}

/* What a compiler that could not clean up has left. */
static void builder_sweep(const struct builder *builder)
{
	DIR *work = opendir(builder->daemon->work);
	char *path;

	if (!work)
		return;
	for (const struct dirent *e; (e = readdir(work));) {
		if (strncmp(e->d_name, "compile-", 8) != 0 ||
		    asprintf(&path, "%s/%s", builder->daemon->work, e->d_name) < 0)
			continue;
		int error = arax_tree_remove(path);
		if (error)
			araxd_warn("%s: %s", path, strerror(-error));
		free(path);
	}
	closedir(work);
}

static void builder_ended(struct child *child, const siginfo_t *how)
{
	struct builder *builder = CONTAINER(child, struct builder, child);
	bool was_ready = builder->ready;
	char text[sizeof(builder->refused)];

	builder->ready = false;
	child_describe(how, text, sizeof(text));
	if (builder->refused[0])
		snprintf(text, sizeof(text), "%s", builder->refused);
	builder->refused[0] = '\0';
	builder_sweep(builder);
	for (struct build *b = builder->builds, *next; b; b = next) {
		next = b->next;
		if (!b->id)
			continue;
		build_back(builder, b);
		if (b->attempts >= BUILDER_ATTEMPTS)
			build_finish(builder, b, EIO, -1);
	}
	if (was_ready) {
		araxd_error("arax-compile %s", text);
		builder_warm(builder);
	} else {
		builder_broken(builder, text);
	}
}

/* Does a result say that the build was a success? Only such results are kept. */
static bool builder_success(int fd)
{
	int32_t head[3] = {0};

	return pread(fd, head, sizeof(head), 0) == sizeof(head) &&
	       (uint32_t)head[0] == ARAX_RESULT_MAGIC && head[2] == 0;
}

/* A build that failed with what is registered for it is tried once more with what it cannot do
 * without: whatever is wrong with a variant, the program works. Return: it is. */
static bool builder_again(struct builder *builder, struct build *build)
{
	struct variants_choice choice;
	const void *data;
	size_t size;

	if (build->variants < 0 || build->careful ||
	    arax_memfd_map(build->fd, ARAX_BUILD_MAX, &data, &size))
		return false;
	int error = variants_choose(builder->daemon, data, size, true, &choice);
	munmap((void *)(uintptr_t)data, size);
	if (error)
		return false;
	variants_failed(builder->daemon, build->variants);
	close(build->variants);
	build->variants = choice.fd;
	build->careful = true;
	build->attempts = 0;
	return true;
}

static void builder_result(struct builder *builder, struct build *build, int error, int fd)
{
	const void *data = NULL;
	size_t size = 0;

	ARAX_FAULT_POINT(ARAXD_BUILD_RESULT);
	build_back(builder, build);
	if (!error && arax_memfd_map(fd, ARAX_BUILD_MAX, &data, &size) < 0)
		error = EPROTO;
	if (data && build->variants >= 0)
		variants_built(builder->daemon, data, size);
	if (data)
		munmap((void *)(uintptr_t)data, size);
	if ((error || !builder_success(fd)) && builder_again(builder, build))
		return;
	if (error || !builder_success(fd)) {
		builder->failed++;
	} else if (!build->careful) {
		struct arax_cache *cache = builder_cache(builder, &build->domain);
		int kept = cache ? arax_cache_put(cache, build->key, fd) : 0;

		ARAX_FAULT_POINT(ARAXD_CACHED);
		if (kept < 0)
			araxd_warn("a build is not cached: %s", strerror(-kept));
	}
	build_finish(builder, build, error, fd);
}

static void builder_message(struct child *child, const struct arax_control_head *head, size_t size,
			    int fds[ARAX_FDS_MAX])
{
	struct builder *builder = CONTAINER(child, struct builder, child);

	if (size != (head->type == ARAX_CONTROL_READY ? sizeof(struct arax_control_ready)
						      : sizeof(struct arax_control_plain)))
		return child_kill(child);
	if (head->type == ARAX_CONTROL_READY && !builder->ready) {
		if (!sandbox_take(&builder->sandbox, (const void *)head, SANDBOX_ALL_COMPILER,
				  &builder->daemon->config, builder->refused))
			return child_kill(child);
		builder->refused[0] = '\0';
		builder->ready = true;
		builder->failures = 0;
		builder->error[0] = '\0';
	} else if (head->type == (ARAX_CONTROL_COMPILE | ARAX_CONTROL_REPLY)) {
		struct build *build = builder->builds;

		while (build && (build->id != head->id || !build->id))
			build = build->next;
		if (build)
			builder_result(builder, build,
				       head->error  ? abs(head->error)
				       : fds[0] < 0 ? EPROTO
						    : 0,
				       fds[0]);
	} else {
		return child_kill(child);
	}
	builder_push(builder);
}

void builder_warm(struct builder *builder)
{
	struct araxd *daemon = builder->daemon;
	char limit[16], parallel[16], memory[24], *path = NULL;

	if (builder->child.pid || builder->retry.at_ns)
		return;
	if (asprintf(&path, "%s/arax-compile", daemon->libexec) < 0)
		return builder_broken(builder, "does not start: no memory");
	snprintf(limit, sizeof(limit), "%u", daemon->config.compile_time_limit);
	snprintf(parallel, sizeof(parallel), "%u", BUILDER_PARALLEL_MAX);
	snprintf(memory, sizeof(memory), "%llu", (unsigned long long)daemon->config.compile_memory);
	char option_limit[] = "--time-limit", option_parallel[] = "--parallel",
	     option_memory[] = "--memory", option_off[] = "--sandbox=off";
	char *argv[] = {path,	option_limit, limit, option_parallel, parallel, option_memory,
			memory, NULL,	      NULL};
	if (!daemon->config.sandbox)
		argv[7] = option_off;
	int error = child_start(&builder->child, &daemon->loop, path, argv, daemon->work);
	free(path);
	if (error) {
		char why[128];

		snprintf(why, sizeof(why), "does not start: %s", strerror(-error));
		builder->failures =
		    builder->failures < BUILDER_GIVE_UP ? BUILDER_GIVE_UP : builder->failures;
		builder_broken(builder, why);
	}
}

static void builder_retry(struct timer *timer)
{
	builder_warm(CONTAINER(timer, struct builder, retry));
}

int builder_new(struct araxd *daemon, struct builder **builder)
{
	cpu_set_t cpus;

	*builder = calloc(1, sizeof(**builder));
	if (!*builder)
		return -ENOMEM;
	(*builder)->daemon = daemon;
	(*builder)->child.message = builder_message;
	(*builder)->child.ended = builder_ended;
	(*builder)->retry.fire = builder_retry;
	(*builder)->parallel = daemon->config.compile_parallel;
	if (!(*builder)->parallel)
		(*builder)->parallel =
		    sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? (unsigned)CPU_COUNT(&cpus) : 1;
	if ((*builder)->parallel > BUILDER_PARALLEL_MAX)
		(*builder)->parallel = BUILDER_PARALLEL_MAX;
	builder_sweep(*builder);
	return 0;
}

void builder_free(struct builder *builder)
{
	int error;

	if (!builder)
		return;
	if (builder->child.pid)
		child_finish(&builder->child);
	builder_sweep(builder);
	while (builder->builds)
		build_free(builder, builder->builds);
	while (builder->domains) {
		struct domain *domain = builder->domains;

		builder->domains = domain->next;
		arax_cache_close(domain->cache);
		error = domain->scratch ? arax_tree_remove(domain->scratch) : 0;
		if (error)
			araxd_warn("%s: %s", domain->scratch, strerror(-error));
		free(domain->scratch);
		free(domain);
	}
	timer_clear(&builder->daemon->loop, &builder->retry);
	free(builder);
}

/* Hashes a request, and what is registered for it. Return: 0 or a positive error for the client. */
static int builder_key(const struct builder *builder, const struct request *request,
		       const char *compiler, char key[ARAX_CACHE_KEY_SIZE],
		       struct variants_choice *choice)
{
	char with[256];
	const void *data;
	size_t size;
	int error = arax_memfd_map(request->fd, ARAX_BUILD_MAX, &data, &size);

	choice->fd = -1;
	if (error)
		return -error;
	uint32_t head[2] = {0};
	if (size >= sizeof(head))
		memcpy(head, data, sizeof(head));
	if (head[0] != ARAX_BUILD_MAGIC || head[1] != ARAX_BUILD_VERSION)
		error = EPROTO;
	else
		error = -variants_choose(builder->daemon, data, size, false, choice);
	if (!error && choice->fd >= 0) {
		snprintf(with, sizeof(with), "%.128s variants %s", compiler, choice->digest);
		compiler = with;
	}
	if (!error)
		arax_cache_key(compiler, data, size, key);
	munmap((void *)(uintptr_t)data, size);
	return error;
}

static void builder_answer(struct request *request, int error, int fd)
{
	client_reply_plain(request->client, &request->head, error, fd);
	request_free(request);
}

/* The build of this key that is under way, or a new one at the end of the list. */
static struct build *builder_find(struct builder *builder, const char *key,
				  const struct domain_id *id)
{
	struct build **at = &builder->builds;
	unsigned count = 0;

	for (; *at; at = &(*at)->next) {
		bool own = domain_same(&(*at)->domain, id);

		if (own && strcmp((*at)->key, key) == 0)
			return *at;
		count += own;
	}
	if (count >= builder->daemon->config.builds_per_domain)
		return NULL;
	*at = calloc(1, sizeof(**at));
	if (*at) {
		strcpy((*at)->key, key);
		(*at)->domain = *id;
		(*at)->fd = (*at)->variants = -1;
	}
	return *at;
}

static void choice_close(const struct variants_choice *choice)
{
	if (choice->fd >= 0)
		close(choice->fd);
}

/* What a result says of the registered variants that it was made with. */
static void builder_note(const struct builder *builder, int fd)
{
	const void *data;
	size_t size;

	if (arax_memfd_map(fd, ARAX_BUILD_MAX, &data, &size))
		return;
	variants_built(builder->daemon, data, size);
	munmap((void *)(uintptr_t)data, size);
}

void builder_submit(struct builder *builder, struct request *request, const char *compiler)
{
	char key[ARAX_CACHE_KEY_SIZE];
	const struct domain_id *id = &request->client->id;
	struct variants_choice choice;
	int error = builder_key(builder, request, compiler, key, &choice);

	if (error)
		return builder_answer(request, error, -1);
	struct arax_cache *cache = builder_cache(builder, id);
	int fd = cache ? arax_cache_get(cache, key) : -ENOENT;
	if (fd >= 0) {
		builder->hits++;
		if (choice.fd >= 0)
			builder_note(builder, fd);
		builder_answer(request, 0, fd);
		close(fd);
		return choice_close(&choice);
	}
	struct build *build =
	    builder->failures < BUILDER_GIVE_UP ? builder_find(builder, key, id) : NULL;
	if (!build) {
		builder_answer(request, builder->failures < BUILDER_GIVE_UP ? EAGAIN : ENODEV, -1);
		return choice_close(&choice);
	}
	if (build->fd < 0) {
		builder->misses++;
		build->fd = request->fd;
		build->variants = choice.fd;
	} else {
		close(request->fd);
		choice_close(&choice);
	}
	request->fd = -1;
	request->next = build->requests;
	build->requests = request;
	builder_warm(builder);
	builder_push(builder);
}

void builder_drop(struct builder *builder, const struct client *client)
{
	for (struct build *b = builder->builds; b; b = b->next)
		request_drop(&b->requests, client);
}

struct builder_state builder_state(const struct builder *builder)
{
	struct builder_state state = {
	    .sandbox = &builder->sandbox,
	    .running = builder->child.pid != 0,
	    .ready = builder->ready,
	    .pid = builder->child.pid,
	    .compiling = builder_compiling(builder),
	    .hits = builder->hits,
	    .misses = builder->misses,
	    .failures = builder->failed,
	    .error = builder->error,
	};

	for (const struct build *b = builder->builds; b; b = b->next)
		state.waiting += b->id == 0;
	return state;
}
