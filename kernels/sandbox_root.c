/* SPDX-License-Identifier: Apache-2.0
 *
 * The root directory of sandboxed processes: an empty tmpfs into which the few places that the
 * libraries read are mounted, read-only. The rest of the machine's files is not hidden or
 * forbidden there, it does not exist. Needs a mount namespace of our own.
 */
#include "kernels/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SCRATCH "/scratch"
#define SCRATCH_LIMIT "2g"
#define ROOT_MOUNTS 32
#define PLACE "/tmp" /* where the new root is mounted for a moment; there is one everywhere */

const struct sandbox_path sandbox_paths[] = {
    {.path = "/usr", .root_only = true},
    {.path = "/usr/lib"},
    {.path = "/usr/lib32"},
    {.path = "/usr/lib64"},
    {.path = "/usr/local/lib"},
    {.path = "/usr/share/pocl"},
    {.path = "/usr/local/share/pocl"},
    {.path = "/lib"},
    {.path = "/lib32"},
    {.path = "/lib64"},
    {.path = "/etc/ld.so.cache"},
    {.path = "/etc/debian_version", .compiler_only = true},
    {.path = "/etc/os-release", .compiler_only = true},
    {.path = "/proc/cpuinfo"},
    {.path = "/proc/meminfo"},
    {.path = "/sys/devices/system"},
    {.path = "/sys/bus/pci/devices/0000:00:00.0/vendor"},
    {.path = "/dev/null", .write = true},
    {.path = "/dev/urandom", .device_only = true},
    {.path = "/usr/share/drirc.d", .device_only = true},
    /* PoCL links with ld; it and the loader are all that can be executed. */
    {.path = "/usr/bin/ld", .compiler_only = true, .execute = true},
    {.path = "/lib64/ld-linux-x86-64.so.2", .compiler_only = true, .execute = true},
    {.path = "/lib/ld-linux-aarch64.so.1", .compiler_only = true, .execute = true},
    {.path = NULL},
};

enum root_kind { ROOT_DIRECTORY, ROOT_FILE, ROOT_LINK };

struct root_mount {
	enum root_kind kind;
	int tree;	 /* -1 for a link */
	char path[64];	 /* without the first slash */
	char target[64]; /* of a link */
};

bool sandbox_needs(enum sandbox_role role, const struct sandbox_path *path)
{
	return (role == SANDBOX_COMPILER || !path->compiler_only) &&
	       (role == SANDBOX_DEVICE || !path->device_only);
}

/* A private copy of the mounts at a path, read-only. */
static int root_clone(const char *path, struct root_mount *mount)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID};
	unsigned deep = mount->kind == ROOT_DIRECTORY ? AT_RECURSIVE : 0;

	mount->tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | deep);
	if (mount->tree < 0)
		return -errno;
	return mount_setattr(mount->tree, "", AT_EMPTY_PATH | deep, &attr, sizeof(attr)) < 0
		   ? -errno
		   : 0;
}

/* Takes what has to be there. Below /usr, which is taken as a whole, nothing has to be done. */
static int root_take(enum sandbox_role role, struct root_mount *mounts, unsigned *count)
{
	for (const struct sandbox_path *p = sandbox_paths; p->path; p++) {
		struct root_mount *mount = &mounts[*count];
		struct stat st;

		if (strncmp(p->path, "/usr/", 5) == 0 || p->execute || !sandbox_needs(role, p) ||
		    lstat(p->path, &st) < 0)
			continue;
		if (*count == ROOT_MOUNTS)
			return -E2BIG;
		++*count;
		mount->kind = S_ISLNK(st.st_mode)   ? ROOT_LINK
			      : S_ISDIR(st.st_mode) ? ROOT_DIRECTORY
						    : ROOT_FILE;
		mount->tree = -1;
		snprintf(mount->path, sizeof(mount->path), "%s", p->path + 1);
		/* /lib -> usr/lib and its like are links on most systems, and are made again. */
		if (mount->kind == ROOT_LINK && !strchr(mount->path, '/')) {
			ssize_t n = readlink(p->path, mount->target, sizeof(mount->target) - 1);

			if (n < 0)
				return -errno;
			mount->target[n] = '\0';
			continue;
		}
		if (mount->kind == ROOT_LINK)
			mount->kind = ROOT_FILE;
		int error = root_clone(p->path, mount);
		if (error)
			return error;
	}
	return 0;
}

/* mkdir -p below the current directory, for the parents of a path. */
static int root_parents(char *path)
{
	for (char *slash = path; (slash = strchr(slash, '/')) != NULL; slash++) {
		*slash = '\0';
		int error = mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
		*slash = '/';
		if (error)
			return error;
	}
	return 0;
}

/* Makes one appear below the current directory. */
static int root_attach(struct root_mount *mount)
{
	int error = root_parents(mount->path), made;

	if (error)
		return error;
	if (mount->kind == ROOT_LINK)
		return symlink(mount->target, mount->path) < 0 ? -errno : 0;
	if (mount->kind == ROOT_DIRECTORY)
		made = mkdir(mount->path, 0755);
	else
		made = mknod(mount->path, S_IFREG | 0444, 0);
	if (made < 0 && errno != EEXIST)
		return -errno;
	return move_mount(mount->tree, "", AT_FDCWD, mount->path, MOVE_MOUNT_F_EMPTY_PATH) < 0
		   ? -errno
		   : 0;
}

static int root_build(struct root_mount *mounts, unsigned count)
{
	int error = 0;

	if (mount("arax", PLACE, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m") < 0)
		return -errno;
	if (chdir(PLACE) < 0)
		return -errno;
	for (unsigned i = 0; i < count && !error; i++)
		error = root_attach(&mounts[i]);
	if (!error && (mkdir(SCRATCH + 1, 0700) < 0 || mkdir(SANDBOX_HOME + 1, 0755) < 0 ||
		       mount("arax", SANDBOX_HOME + 1, "tmpfs", MS_NOSUID | MS_NODEV,
			     "mode=0755,size=" SCRATCH_LIMIT) < 0))
		error = -errno;
	return error;
}

/* The old root is put over the new one and taken away: nothing of it stays reachable. */
static int root_change(void)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};

	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return -errno;
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0 ||
	    mount_setattr(AT_FDCWD, "/", 0, &attr, sizeof(attr)) < 0)
		return -ENOTRECOVERABLE;
	return 0;
}

int sandbox_root(enum sandbox_role role)
{
	struct root_mount *mounts = calloc(ROOT_MOUNTS, sizeof(*mounts));
	unsigned count = 0;
	mode_t mask = umask(022); /* another user comes through these directories */
	int error = mounts ? 0 : -ENOMEM;

	/* What is mounted here must not appear outside. */
	if (!error && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		error = -errno;
	if (!error)
		error = root_take(role, mounts, &count);
	if (!error) {
		error = root_build(mounts, count);
		if (!error)
			error = root_change();
		if (error && error != -ENOTRECOVERABLE &&
		    (chdir("/") < 0 || (umount2(PLACE, MNT_DETACH) < 0 && errno != EINVAL)))
			error = -ENOTRECOVERABLE;
	}
	for (unsigned i = 0; i < count; i++)
		if (mounts[i].tree >= 0)
			close(mounts[i].tree);
	free(mounts);
	umask(mask);
	return error;
}

int sandbox_scratch(uid_t uid, gid_t gid, char *scratch)
{
	char options[96];

	/* A mount namespace per process: the others' scratch space is in none but theirs. */
	if (unshare(CLONE_NEWNS) < 0)
		return -errno;
	snprintf(options, sizeof(options), "mode=0700,size=" SCRATCH_LIMIT ",uid=%u,gid=%u", uid,
		 gid);
	if (mount("arax", SCRATCH, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0 ||
	    chdir(SCRATCH) < 0)
		return -errno;
	strcpy(scratch, SCRATCH);
	return 0;
}
