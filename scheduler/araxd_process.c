/* SPDX-License-Identifier: Apache-2.0
 *
 * See araxd_process.h. What /proc says of a number is believed only when the process that we hold a
 * descriptor of still lives afterwards: until then the number was its own.
 */
#include "scheduler/araxd_process.h"

#include "scheduler/araxd_domain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PID_FS 0x50494446 /* a file system of its own, whose inodes are never used again */

/* The 22nd field of /proc/PID/stat. Return: 0 when it cannot be read. */
static uint64_t process_start(pid_t pid)
{
	char path[32], text[1024];
	unsigned long long start;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	/* The name, in parentheses, may contain anything. */
	const char *after = strrchr(text, ')');
	if (!after || sscanf(after + 1,
			     " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
			     "%*s %*s %llu",
			     &start) != 1)
		return 0;
	return start;
}

static uint64_t process_inode(int process)
{
	struct statfs fs;
	struct stat st;

	if (fstatfs(process, &fs) < 0 || fs.f_type != PID_FS || fstat(process, &st) < 0)
		return 0;
	return st.st_ino;
}

int process_identify(pid_t pid, int process, struct process_id *id)
{
	*id = (struct process_id){.pid = pid};
	if (pid <= 0)
		return -ENOENT;
	id->inode = process_inode(process);
	id->start = process_start(pid);
	if (!domain_alive(process))
		return -ESRCH;
	return id->inode || id->start ? 0 : -ENODATA;
}

int process_find(const struct process_id *id)
{
	struct process_id now;

	if (id->pid <= 0 || (!id->start && !id->inode))
		return -EINVAL;
	int fd = (int)syscall(SYS_pidfd_open, id->pid, 0);
	if (fd < 0)
		return -errno;
	int error = process_identify(id->pid, fd, &now);
	if (!error && (now.start != id->start || now.inode != id->inode))
		error = -ESRCH;
	if (error) {
		close(fd);
		return error;
	}
	return fd;
}
