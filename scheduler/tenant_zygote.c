/* SPDX-License-Identifier: Apache-2.0
 *
 * The zygote of the tenants, see tenant_zygote.h. Nothing of a client is ever in it, and PoCL has
 * not been called yet, so there is only this thread and what is forked is whole.
 *
 * A price: its tenants share its address space layout (and the stack protector's value), which
 * tenants started by exec do not. Who learns addresses in one tenant knows them in others of the
 * same zygote.
 */
#include "scheduler/tenant_zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <hwloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scheduler/tenant_setup.h"
#include "transport/control.h"
#include "transport/fault_point.h"
#include "transport/socket.h"

#define ADOPT_BACKLOG 64 /* araxds, one after the other, before this tenant looks */

/* Descriptors to where they belong, and none behind them. Return: 0 or -errno. */
static int arrange(int *const fds[], int count, int first)
{
	for (int i = 0; i < count; i++)
		if (*fds[i] >= 0 && (*fds[i] = fcntl(*fds[i], F_DUPFD_CLOEXEC, first + count)) < 0)
			return -errno;
	for (int i = 0; i < count; i++) {
		if (*fds[i] < 0) {
			close(first + i); /* or it is none */
			continue;
		}
		if (dup3(*fds[i], first + i, O_CLOEXEC) < 0)
			return -errno;
		*fds[i] = first + i;
	}
	return close_range((unsigned)(first + count), ~0u, 0) ? -errno : 0;
}

/* In the new process: a session of its own and nothing of the zygote's but standard streams. Who
 * connects to it is told by the kernel which process it was that began to listen. */
static void become_tenant(int control, int socket, int *adopt, char **argv, const char *work,
			  struct sandbox *sandbox)
{
	int *const fds[] = {&socket, adopt, &sandbox->proc};
	ARAX_FAULT_POINT(TENANT_FORKED);
	while (*++argv)
		memset(*argv, 0, strlen(*argv));
	prctl(PR_SET_NAME, "arax-tenant");
	int rc = arrange(fds, 3, control);
	if (rc || setsid() < 0 || setenv("ARAX_WORK_DIR", work, 1) ||
	    (*adopt >= 0 && listen(*adopt, ADOPT_BACKLOG))) {
		tenant_log("a tenant's start: %s", strerror(rc ? -rc : errno));
		_exit(1);
	}
}

/* Twice, so that the tenant's parent ends at once and it becomes the child of araxd, which is a
 * subreaper. Return: 0 in the tenant; its pid, or -errno in pid. */
static bool fork_tenant(int32_t *pid, struct sandbox *sandbox)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC)) {
		*pid = -errno;
		return false;
	}
	pid_t middle = fork();
	if (middle == 0) {
		ARAX_FAULT_POINT(ZYGOTE_MIDDLE_BEGINS);
		*pid = (int32_t)sandbox_unshare_pids(sandbox);
		if (!*pid) {
			*pid = (int32_t)fork();
			if (*pid == 0)
				return true;
			if (*pid < 0)
				*pid = -errno;
			ARAX_FAULT_POINT(ZYGOTE_MIDDLE_FORKED);
		}
		_exit(write(ends[1], pid, sizeof(*pid)) != sizeof(*pid));
	}
	*pid = middle < 0 ? -errno : -EIO;
	/* With the middle's end, not before, the tenant is araxd's. */
	while (middle > 0 && waitpid(middle, NULL, 0) < 0 && errno == EINTR)
		;
	close(ends[1]);
	if (middle > 0 && read(ends[0], pid, sizeof(*pid)) != sizeof(*pid))
		*pid = -EIO;
	close(ends[0]);
	return false;
}

/* Return: true in the tenant, false in the zygote. */
static bool serve_spawn(int control, char **argv, struct sandbox *sandbox,
			struct arax_control_spawn *spawn, int socket, int *adopt)
{
	int32_t pid;
	spawn->work[sizeof(spawn->work) - 1] = 0;
	if (fork_tenant(&pid, sandbox)) {
		become_tenant(control, socket, adopt, argv, spawn->work, sandbox);
		sandbox->memory = spawn->memory;
		return true;
	}
	ARAX_FAULT_POINT(ZYGOTE_FORKED);
	close(socket);
	if (*adopt >= 0)
		close(*adopt);
	spawn->head.type |= ARAX_CONTROL_REPLY;
	spawn->head.error = pid < 0 ? -pid : 0;
	spawn->pid = pid < 0 ? 0 : pid;
	int rc = arax_socket_send(control, spawn, sizeof(*spawn), NULL, 0);
	if (rc) {
		tenant_log("the zygote's reply: %s", strerror(-rc));
		_exit(1);
	}
	return false;
}

/* PoCL lets a buffer have about a quarter of the memory that it finds, which hwloc may know too
 * little of. Buffers lie in the arena, whose size is not PoCL's business, so in the tenants'
 * topology there is enough: twice the memory of the machine. */
static void lift_memory_limit(hwloc_topology_t topology)
{
	uint64_t pages = (uint64_t)sysconf(_SC_PHYS_PAGES);
	hwloc_obj_t node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, NULL);
	if (node)
		node->attr->numanode.local_memory = 2 * pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* PoCL asks hwloc for the machine's topology, once per device: 2 to 6 ms of a tenant's start. It is
 * read once here, and tenants get it as a file. Without it they start a little later, and what a
 * buffer may have at most is what PoCL says. */
static void share_topology(const struct sandbox *sandbox)
{
	bool own = sandbox->holds & SANDBOX_MOUNT;
	const char *work = own ? SANDBOX_HOME : getenv("ARAX_WORK_DIR");
	hwloc_topology_t topology;
	char *path;
	if (!work || asprintf(&path, "%s/topology.xml", work) < 0)
		return;
	if (hwloc_topology_init(&topology) == 0) {
		int rc = hwloc_topology_load(topology);
		if (rc == 0)
			lift_memory_limit(topology);
		/* Tenants may be other users. */
		if (rc || hwloc_topology_export_xml(topology, path, 0) || chmod(path, 0444) ||
		    setenv("HWLOC_XMLFILE", path, 1) || setenv("HWLOC_THISSYSTEM", "1", 1))
			tenant_log("the topology is not shared: %s", strerror(errno));
		hwloc_topology_destroy(topology);
	}
	free(path);
}

int tenant_zygote(int control, char **argv, struct sandbox *sandbox)
{
	struct arax_control_spawn spawn;
	int fds[ARAX_FDS_MAX];
	prctl(PR_SET_NAME, "arax-zygote");
	share_topology(sandbox);
	ARAX_FAULT_POINT(ZYGOTE_READY);
	for (;;) {
		ssize_t n = arax_socket_recv(control, &spawn, sizeof(spawn), fds, -1);
		if (n == 0)
			_exit(0); /* araxd has gone */
		if (n != sizeof(spawn) || spawn.head.magic != ARAX_CONTROL_MAGIC ||
		    spawn.head.type != ARAX_CONTROL_SPAWN || fds[0] < 0 || fds[2] >= 0) {
			tenant_log("not a SPAWN: %s", strerror(n < 0 ? (int)-n : EPROTO));
			_exit(1);
		}
		ARAX_FAULT_POINT(ZYGOTE_ASKED);
		if (serve_spawn(control, argv, sandbox, &spawn, fds[0], &fds[1]))
			return fds[1];
	}
}
