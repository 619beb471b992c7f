/* SPDX-License-Identifier: Apache-2.0
 *
 * Scratch space for araxd's children, in memory where possible: PoCL syncs every program that it
 * loads to the disk, which costs milliseconds there and nothing on a tmpfs.
 *
 * Who uses a directory holds a lock on it: araxd on the whole, a tenant on its own. So what is left
 * by processes that were killed can be told from what is in use, whatever has become of their
 * numbers and in whichever container they ran.
 */
#include "scheduler/araxd_work.h"

#include "kernels/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#define WORK_SHM "/dev/shm"

static bool work_in_memory(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

/* Opens a directory of ours. Return: fd or -errno. */
static int work_open_own(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int error = fd < 0 || fstat(fd, &st) < 0 ? -errno : 0;

	if (!error && (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH))))
		error = -EPERM;
	if (error && fd >= 0)
		close(fd);
	return error ? error : fd;
}

/* Removes a directory of ours that nobody holds. */
static void work_remove_unused(const char *path)
{
	int fd = work_open_own(path);

	if (fd < 0)
		return;
	int error = flock(fd, LOCK_EX | LOCK_NB) == 0 ? arax_tree_remove(path) : 0;
	if (error)
		araxd_warn("%s: %s", path, strerror(-error));
	close(fd);
}

/* Calls remove for all entries of a directory whose names begin with this. */
static void work_each(const char *directory, const char *prefix, void (*remove)(const char *path))
{
	DIR *entries = opendir(directory);
	char *path;

	if (!entries)
		return;
	for (const struct dirent *e; (e = readdir(entries));) {
		if (strncmp(e->d_name, prefix, strlen(prefix)) != 0 ||
		    asprintf(&path, "%s/%s", directory, e->d_name) < 0)
			continue;
		remove(path);
		free(path);
	}
	closedir(entries);
}

/* The directory of an araxd that has gone; its tenants may go on in it. */
static void work_sweep_one(const char *path)
{
	int fd = work_open_own(path);

	if (fd < 0)
		return;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
		work_each(path, "tenant-", work_remove_unused);
		work_each(path, "device-", work_remove_unused);
		work_each(path, "compile-", work_remove_unused);
		work_each(path, "cache-", work_remove_unused);
		rmdir(path);
	}
	close(fd);
}

/* Makes, checks and locks a directory. Return: fd or -errno. */
static int work_lock(const char *path)
{
	for (;;) {
		struct stat st;

		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return -errno;
		int fd = work_open_own(path);
		if (fd == -ENOENT)
			continue;
		if (fd < 0)
			return fd;
		/* Another araxd that sweeps holds it for a moment, and may have removed it. */
		int error = flock(fd, LOCK_SH) < 0 || fstat(fd, &st) < 0 ? -errno : 0;
		if (!error && st.st_nlink)
			return fd;
		close(fd);
		if (error && error != -EINTR)
			return error;
	}
}

static int work_take(struct araxd *daemon, const char *path)
{
	int fd = work_lock(path);

	if (fd < 0)
		return fd;
	daemon->work_lock = fd;
	daemon->work = strdup(path);
	return daemon->work ? 0 : -ENOMEM;
}

static int work_take_shm(struct araxd *daemon)
{
	char prefix[32], path[64];

	if (!work_in_memory(WORK_SHM))
		return -ENODEV;
	snprintf(prefix, sizeof(prefix), "arax-%u-", geteuid());
	work_each(WORK_SHM, prefix, work_sweep_one);
	snprintf(path, sizeof(path), WORK_SHM "/%s%d.work", prefix, getpid());
	return work_take(daemon, path);
}

int work_open(struct araxd *daemon)
{
	char *path, *copy = strdup(daemon->socket_path);

	if (!copy)
		return -ENOMEM;
	bool memory = work_in_memory(dirname(copy));
	free(copy);
	if (asprintf(&path, "%s.work", daemon->socket_path) < 0)
		return -ENOMEM;
	work_sweep_one(path);
	int error = memory ? -ENODEV : work_take_shm(daemon);
	if (error)
		error = work_take(daemon, path);
	if (error)
		araxd_error("%s: %s", path, strerror(-error));
	free(path);
	return error;
}

void work_close(struct araxd *daemon)
{
	if (daemon->work_lock >= 0)
		close(daemon->work_lock);
	daemon->work_lock = -1;
	if (daemon->work)
		rmdir(daemon->work);
	free(daemon->work);
	daemon->work = NULL;
}
