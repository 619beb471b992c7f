/* SPDX-License-Identifier: Apache-2.0
 *
 * Puts tenants into control groups, see araxd_cgroup.h. araxd moves nothing but its tenants: it has
 * cgroups of its own only where who started it has put it into one named "araxd" below a part of
 * the tree that is its own (systemd: Delegate=, DelegateSubgroup=araxd), because controllers can be
 * switched on only where no process is.
 */
#include "scheduler/araxd_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH 4096
#define TEXT 512

struct job {
	struct cgroup_seat *seat;
	pid_t tenant;
	char *client, *own; /* directories; NULL: not that */
	uint64_t memory;
	struct job *next;
};

struct cgroups {
	char *tree; /* NULL: there is none */
	char *self; /* araxd's own path in it */
	char *base; /* where it may make others; NULL */
	bool cpu;   /* base has that controller */
	char state[TEXT];
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_t thread;
	bool started, ending;
	struct job *jobs, **last;
};

/* ---- files ---------------------------------------------------------------------------------- */

static int file_write(const char *directory, const char *name, const char *text)
{
	char path[PATH];

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", directory, name) >= sizeof(path))
		return -ENAMETOOLONG;
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t n = write(fd, text, strlen(text));
	int error = n < 0 ? -errno : 0;
	close(fd);
	return error;
}

static int file_read(const char *directory, const char *name, char *text, size_t size)
{
	char path[PATH];

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", directory, name) >= sizeof(path))
		return -ENAMETOOLONG;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, text, size - 1);
	int error = n < 0 ? -errno : 0;
	text[n < 0 ? 0 : n] = '\0';
	close(fd);
	return error;
}

/* The path of a process in the tree: malloc()ed, or NULL with errno. */
static char *path_of(pid_t process)
{
	char directory[32], text[PATH], *line = text;

	snprintf(directory, sizeof(directory), process ? "/proc/%d" : "/proc/self", process);
	int error = file_read(directory, "cgroup", text, sizeof(text));
	while (!error && line && strncmp(line, "0::/", 4) != 0) {
		line = strchr(line, '\n');
		line += line != NULL;
	}
	/* "/..": not below the root of our namespace. */
	if (!error && (!line || strncmp(line + 3, "/..", 3) == 0))
		error = -ENOENT;
	if (error) {
		errno = -error;
		return NULL;
	}
	line += 3;
	line[strcspn(line, "\n")] = '\0';
	return strdup(line);
}

static bool has_word(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = list; (at = strstr(at, word)); at += length)
		if ((at == list || at[-1] == ' ') && strchr(" \n", at[length]))
			return true;
	return false;
}

/* Where cgroup2 is mounted, all of it: malloc()ed or NULL. */
static char *tree_find(void)
{
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	char line[PATH], root[PATH], point[PATH], *found = NULL;

	while (mounts && !found && fgets(line, sizeof(line), mounts))
		if (strstr(line, " - cgroup2 ") &&
		    sscanf(line, "%*s %*s %*s %4095s %4095s", root, point) == 2 &&
		    strcmp(root, "/") == 0)
			found = strdup(point);
	if (mounts)
		fclose(mounts);
	return found;
}

/* ---- what there is -------------------------------------------------------------------------- */

/* A part of the tree that was left to us. */
static void base_open(struct cgroups *cgroups)
{
	static const char *const controllers[] = {"cpu", "memory"};
	char *slash = strrchr(cgroups->self, '/'), text[TEXT], on[16];

	if (strcmp(slash, "/araxd") != 0 || slash == cgroups->self ||
	    asprintf(&cgroups->base, "%s%.*s", cgroups->tree, (int)(slash - cgroups->self),
		     cgroups->self) < 0) {
		cgroups->base = NULL;
		return;
	}
	if (access(cgroups->base, W_OK) != 0) {
		free(cgroups->base);
		cgroups->base = NULL;
		return;
	}
	for (size_t i = 0; i < sizeof(controllers) / sizeof(controllers[0]); i++) {
		snprintf(on, sizeof(on), "+%s", controllers[i]);
		(void)file_write(cgroups->base, "cgroup.subtree_control", on);
	}
	if (file_read(cgroups->base, "cgroup.subtree_control", text, sizeof(text)) == 0)
		cgroups->cpu = has_word(text, "cpu");
}

static void tree_describe(struct cgroups *cgroups)
{
	char controllers[TEXT] = "";

	int error =
	    file_read(cgroups->tree, "cgroup.controllers", controllers, sizeof(controllers));
	controllers[strcspn(controllers, "\n")] = '\0';
	if (error)
		snprintf(cgroups->state, TEXT, "%s", strerror(-error));
	else if (!has_word(controllers, "cpu") || !has_word(controllers, "memory"))
		snprintf(cgroups->state, TEXT,
			 "cgroup2 limits neither processors nor memory here: it has only: %.400s",
			 *controllers ? controllers : "nothing");
	else if (cgroups->base)
		snprintf(cgroups->state, TEXT, "of the clients, else of araxd: %.400s%s",
			 cgroups->base, cgroups->cpu ? "" : ", which has no cpu controller");
	else
		snprintf(cgroups->state, TEXT, "of the clients; araxd has none of its own");
}

int cgroups_new(const char *tree, const char *self, struct cgroups **out)
{
	struct cgroups *cgroups = calloc(1, sizeof(*cgroups));

	if (!cgroups)
		return -ENOMEM;
	cgroups->last = &cgroups->jobs;
	pthread_mutex_init(&cgroups->lock, NULL);
	pthread_cond_init(&cgroups->work, NULL);
	cgroups->tree = tree ? strdup(tree) : tree_find();
	cgroups->self = !cgroups->tree ? NULL : self ? strdup(self) : path_of(0);
	if (cgroups->self) {
		base_open(cgroups);
		tree_describe(cgroups);
	} else {
		snprintf(cgroups->state, TEXT, "no cgroup2 is mounted, or none of ours");
		free(cgroups->tree);
		cgroups->tree = NULL;
	}
	*out = cgroups;
	return 0;
}

/* ---- moving --------------------------------------------------------------------------------- */

static int own_make(const struct job *job)
{
	char bytes[32];

	if (mkdir(job->own, 0755) < 0 && errno != EEXIST)
		return -errno;
	if (job->memory)
		snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)job->memory);
	/* Where there is no such controller there is no such file. */
	int error = file_write(job->own, "memory.max", job->memory ? bytes : "max");
	return error == -ENOENT || error == -EACCES ? 0 : error;
}

static void job_do(const struct job *job)
{
	char number[16];
	int error = -ENOENT;

	snprintf(number, sizeof(number), "%d", job->tenant);
	if (job->client)
		error = file_write(job->client, "cgroup.procs", number);
	job->seat->error = error;
	if (!error) {
		job->seat->where = CGROUP_CLIENT;
	} else if (job->own) {
		error = own_make(job);
		error = error ? error : file_write(job->own, "cgroup.procs", number);
		if (!error)
			job->seat->where = CGROUP_OWN;
	}
	/* From here on its process may be waited for, and the seat may go. */
	atomic_store(&job->seat->moving, 0);
}

static void job_free(struct job *job)
{
	if (!job)
		return;
	free(job->client);
	free(job->own);
	free(job);
}

static void *mover(void *arg)
{
	struct cgroups *cgroups = arg;

	pthread_mutex_lock(&cgroups->lock);
	while (cgroups->jobs || !cgroups->ending) {
		struct job *job = cgroups->jobs;

		if (!job) {
			pthread_cond_wait(&cgroups->work, &cgroups->lock);
			continue;
		}
		cgroups->jobs = job->next;
		if (!cgroups->jobs)
			cgroups->last = &cgroups->jobs;
		pthread_mutex_unlock(&cgroups->lock);
		job_do(job);
		job_free(job);
		pthread_mutex_lock(&cgroups->lock);
	}
	pthread_mutex_unlock(&cgroups->lock);
	return NULL;
}

/* Without the thread it takes its time here. */
static void job_give(struct cgroups *cgroups, struct job *job)
{
	job->seat->moving = 1;
	if (!cgroups->started)
		cgroups->started = pthread_create(&cgroups->thread, NULL, mover, cgroups) == 0;
	if (!cgroups->started) {
		job_do(job);
		job_free(job);
		return;
	}
	pthread_mutex_lock(&cgroups->lock);
	*cgroups->last = job;
	cgroups->last = &job->next;
	pthread_cond_signal(&cgroups->work);
	pthread_mutex_unlock(&cgroups->lock);
}

void cgroups_free(struct cgroups *cgroups)
{
	if (!cgroups)
		return;
	pthread_mutex_lock(&cgroups->lock);
	cgroups->ending = true;
	pthread_cond_signal(&cgroups->work);
	pthread_mutex_unlock(&cgroups->lock);
	if (cgroups->started)
		pthread_join(cgroups->thread, NULL);
	pthread_mutex_destroy(&cgroups->lock);
	pthread_cond_destroy(&cgroups->work);
	free(cgroups->tree);
	free(cgroups->self);
	free(cgroups->base);
	free(cgroups);
}

/* ---- where to ------------------------------------------------------------------------------- */

static char *own_directory(const struct cgroups *cgroups, const struct domain_id *id)
{
	char *path = NULL;

	if (cgroups->base && asprintf(&path, "%s/domain-%u-%llu", cgroups->base, id->uid,
				      (unsigned long long)id->container) < 0)
		path = NULL;
	return path;
}

/* The client's directory, or NULL with an error; "" where araxd is in it itself. */
static char *client_directory(const struct cgroups *cgroups, pid_t client, int process)
{
	char *path = client > 0 ? path_of(client) : NULL, *directory = NULL;

	/* A number without its process could be somebody else's. */
	if (path && !domain_alive(process)) {
		errno = ESRCH;
	} else if (path && strcmp(path, cgroups->self) == 0) {
		directory = strdup("");
	} else if (path && asprintf(&directory, "%s%s", cgroups->tree, path) < 0) {
		directory = NULL;
		errno = ENOMEM;
	}
	free(path);
	return directory;
}

void cgroup_enter(struct cgroups *cgroups, enum config_cgroup use, struct cgroup_seat *seat,
		  pid_t tenant, pid_t client, int process, const struct domain_id *id,
		  uint64_t memory)
{
	struct job *job;

	if (!cgroups->tree || use == CONFIG_CGROUP_NONE)
		return;
	job = calloc(1, sizeof(*job));
	if (!job) {
		seat->error = -ENOMEM;
		return;
	}
	*job = (struct job){.seat = seat, .tenant = tenant, .memory = memory};
	job->own = own_directory(cgroups, id);
	if (use == CONFIG_CGROUP_CLIENT) {
		job->client = client_directory(cgroups, client, process);
		seat->error = job->client ? 0 : -errno;
	}
	if (job->client && !*job->client)
		seat->where = CGROUP_CLIENT;
	else if (job->client || job->own)
		return job_give(cgroups, job);
	job_free(job);
}

void cgroup_gone(struct cgroups *cgroups, const struct domain_id *id)
{
	char *own = own_directory(cgroups, id);

	/* It was not needed, or the next tenant of it is there already. */
	if (own)
		(void)rmdir(own);
	free(own);
}

bool cgroup_shares(const struct cgroups *cgroups, const struct cgroup_seat *seat)
{
	return cgroups->cpu && seat->where == CGROUP_OWN;
}

const char *cgroups_state(const struct cgroups *cgroups)
{
	return cgroups->state;
}

enum cgroup_where cgroup_where(const struct cgroup_seat *seat)
{
	return atomic_load_explicit(&seat->where, memory_order_relaxed);
}

const char *cgroup_name(enum cgroup_where where)
{
	static const char *const names[] = {
	    [CGROUP_ARAXD] = "araxd", [CGROUP_CLIENT] = "client", [CGROUP_OWN] = "domain"};

	return names[where];
}

int cgroup_error(const struct cgroup_seat *seat)
{
	return -atomic_load(&seat->error);
}
