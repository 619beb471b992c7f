/* SPDX-License-Identifier: Apache-2.0
 *
 * Asks the zygote for tenants. A request goes to it even before it has loaded its libraries: the
 * socket holds it until then.
 */
#include "scheduler/zygote.h"
#include "transport/fault_point.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void zygote_message(struct child *child, const struct arax_control_head *head, size_t size,
			   int fds[ARAX_FDS_MAX])
{
	struct zygote *zygote = CONTAINER(child, struct zygote, child);
	const struct arax_control_spawn *reply = (const void *)head;

	(void)fds;
	if (size != sizeof(*reply) || head->type != (ARAX_CONTROL_SPAWN | ARAX_CONTROL_REPLY) ||
	    (!head->error && reply->pid <= 0))
		return child_kill(child);
	zygote->forked(zygote, head->id, head->error ? -abs(head->error) : reply->pid);
}

static void zygote_ended(struct child *child, const siginfo_t *how)
{
	struct zygote *zygote = CONTAINER(child, struct zygote, child);

	zygote->ended(zygote, how);
}

int zygote_start(struct zygote *zygote, struct loop *loop)
{
	char *path, option[] = "--zygote", off[] = "--sandbox=off";

	if (zygote->child.pid)
		return 0;
	if (asprintf(&path, "%s/arax-tenant", zygote->libexec) < 0)
		return -ENOMEM;
	char *argv[] = {path, option, zygote->sandbox ? NULL : off, NULL};
	zygote->child.message = zygote_message;
	zygote->child.ended = zygote_ended;
	int error = child_start(&zygote->child, loop, path, argv, zygote->work);
	free(path);
	return error;
}

int zygote_spawn(struct zygote *zygote, struct loop *loop, struct child *tenant, const char *work,
		 uint64_t memory, int adopt, uint64_t *id)
{
	struct arax_control_spawn spawn = {
	    .head = {.magic = ARAX_CONTROL_MAGIC, .type = ARAX_CONTROL_SPAWN, .major = 1},
	    .memory = memory};

	if ((size_t)snprintf(spawn.work, sizeof(spawn.work), "%s", work) >= sizeof(spawn.work))
		return -ENAMETOOLONG;
	int error = zygote_start(zygote, loop);
	if (error)
		return error;
	int other = child_expect(tenant, loop);
	if (other < 0)
		return other;
	spawn.head.id = ++zygote->last_id;
	/* When it has just died this is the first to notice; its end is reported by the loop. */
	error = zygote->child.control.fd < 0
		    ? -EPIPE
		    : arax_socket_send(zygote->child.control.fd, &spawn, sizeof(spawn),
				       (const int[]){other, adopt}, adopt < 0 ? 1 : 2);
	close(other);
	ARAX_FAULT_POINT(ARAXD_SPAWN_ASKED);
	if (error)
		child_unexpect(tenant);
	else
		*id = spawn.head.id;
	return error;
}

void zygote_finish(struct zygote *zygote)
{
	child_finish(&zygote->child);
}
