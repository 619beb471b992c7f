/* SPDX-License-Identifier: Apache-2.0
 *
 * arax-tenant: the process that executes one client's commands. It is made ahead of time, forked
 * from a zygote (tenant_zygote.c) or started by itself, with descriptor 3 as its control socket; it
 * starts PoCL, reports READY with the description of the virtual device, and waits. START brings a
 * client: the arena, the link to it, a page for statistics and its trace. The client settles the
 * arena's address over the link (MAP); from then on everything goes through the rings in the arena.
 *
 * The process ends when its client has gone or has broken the protocol, never for another reason.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/device.h"
#include "scheduler/dispatch.h"
#include "scheduler/tenant_setup.h"
#include "scheduler/tenant_watch.h"
#include "scheduler/tenant_zygote.h"
#include "transport/control.h"
#include "transport/fault_point.h"
#include "transport/protocol.h"
#include "transport/shm.h"
#include "transport/socket.h"

#define CONTROL_FD SANDBOX_CONTROL
#define LIBRARY "libpocl.so.2"

static const char *const device_names[] = {"cpu-basic", "cpu-pthread"};
#define NDEVICES 2

struct tenant {
	struct sandbox sandbox;
	struct copy_engine *engine;
	struct arax_device devices[NDEVICES];
	unsigned ndevices;
	struct arax_opencl *opencl;
	int stdout_fd;
	struct arax_control_start start;
	int arena_fd, link_fd, stats_fd, trace_fd;
	int adopt_fd; /* where another araxd connects; -1 */
	void *arena;
	uint32_t allowed;
	const struct policy *policy;
	bool as_if; /* for tests */
};

static _Noreturn void fail(const char *what, int err)
{
	tenant_log("%s: %s", what, strerror(-err));
	tenant_leave(1);
}

/* What every tenant would do alike, and the zygote does for all of them. */
static void load(struct tenant *t, bool sandbox_off)
{
	const char *error;
	int rc = sandbox_open(&t->sandbox, SANDBOX_TENANT, sandbox_off);
	rc = rc ?: tenant_hide();
	if (rc)
		fail("sandbox", rc);
	if (arax_opencl_load(LIBRARY, &t->opencl, &error)) {
		tenant_log("%s: %s", LIBRARY, error);
		tenant_leave(1);
	}
}

static void set_up(struct tenant *t)
{
	int rc = tenant_environment(&t->sandbox);
	if (rc)
		fail("sandbox", rc);
	t->stdout_fd = tenant_stdout();
	if (t->stdout_fd < 0)
		fail("stdout", t->stdout_fd);
}

static void start_devices(struct tenant *t)
{
	const char *error;
	int n = arax_opencl_start(t->opencl, device_names, t->devices, NDEVICES, &error);
	if (n < 0) {
		tenant_log("%s: %s", LIBRARY, error);
		tenant_leave(1);
	}
	t->ndevices = (unsigned)n;
}

/* No thread is made after this, and no file opened but in the scratch directory. */
static void seal(struct tenant *t)
{
	int rc = tenant_watch_start();
	rc = rc ?: engine_new(&t->engine);
	rc = rc ?: tenant_signals(&t->sandbox);
	if (rc)
		fail("threads", rc);
	rc = tenant_seal(&t->sandbox, CONTROL_FD);
	if (rc)
		fail("sandbox", rc);
}

/* Touches the library's code once, so that the first client finds its pages. Nothing is compiled:
 * a tenant never does that, and LLVM's pages stay shared with the other tenants. */
static void warm_up(struct tenant *t)
{
	static _Alignas(4096) char memory[4096];
	const struct arax_mem_desc desc = {.type = 0x10F0, .data = memory, .size = sizeof(memory)};
	for (unsigned i = 0; i < t->ndevices; i++) {
		struct arax_device *dev = &t->devices[i];
		struct arax_device_stream *stream;
		struct arax_device_mem *mem;
		if (!dev->ops->stream_new(dev, &stream))
			dev->ops->stream_free(dev, stream);
		if (!dev->ops->mem_new(dev, &desc, &mem))
			dev->ops->mem_free(dev, mem);
	}
}

static void send_ready(struct tenant *t)
{
	struct arax_device_info info;
	struct arax_control_ready ready = {
	    .head = {.magic = ARAX_CONTROL_MAGIC,
		     .type = ARAX_CONTROL_READY,
		     .major = ARAX_PROTOCOL_MAJOR,
		     .minor = ARAX_PROTOCOL_MINOR},
	    .sandbox = t->sandbox.holds,
	};
	snprintf(ready.missing, sizeof(ready.missing), "%s", t->sandbox.missing);
	/* The last device is the most capable one; the limits of both are the same. */
	struct arax_device *dev = &t->devices[t->ndevices - 1];
	if (dev->ops->describe(dev, &info))
		fail("device description", -EIO);
	int fd = arax_memfd_from("arax-device", &info, sizeof(info));
	if (fd < 0)
		fail("device description", fd);
	/* Before the client there is the sandbox. */
	seal(t);
	ARAX_FAULT_POINT(TENANT_SEALED);
	int rc = arax_socket_send(CONTROL_FD, &ready, sizeof(ready), &fd, 1);
	if (rc)
		fail("READY", rc);
	ARAX_FAULT_POINT(TENANT_READY);
	close(fd);
}

static int wait_start(struct tenant *t)
{
	int fds[ARAX_FDS_MAX];
	ssize_t n = arax_socket_recv(CONTROL_FD, &t->start, sizeof(t->start), fds, -1);
	if (n == 0)
		tenant_leave(0); /* araxd has gone, and there was no client yet */
	if (n < 0)
		return (int)n;
	if (n != sizeof(t->start) || t->start.head.magic != ARAX_CONTROL_MAGIC ||
	    t->start.head.type != ARAX_CONTROL_START || fds[0] < 0 || fds[1] < 0 || fds[2] < 0)
		return -EPROTO;
	ARAX_FAULT_POINT(TENANT_STARTED);
	t->arena_fd = fds[0];
	t->link_fd = fds[1];
	t->stats_fd = fds[2];
	t->trace_fd = fds[3];
	t->start.devices[sizeof(t->start.devices) - 1] = 0;
	t->start.policy[sizeof(t->start.policy) - 1] = 0;
	return 0;
}

/* A name stands for a device, or for all that begin with it and a dash ("cpu"). */
static bool device_named(const char *list, const char *name)
{
	while (*list) {
		size_t length = strcspn(list, ", ");
		if (length && !strncmp(list, name, length) &&
		    (name[length] == 0 || name[length] == '-'))
			return true;
		list += length;
		list += strspn(list, ", ");
	}
	return false;
}

/* None of our own may be among them: then all are still to come. */
static void choose_devices(struct tenant *t)
{
	t->allowed = 0;
	for (unsigned i = 0; i < t->ndevices; i++) {
		if (!t->start.devices[0] || device_named(t->start.devices, t->devices[i].name))
			t->allowed |= 1u << i;
	}
	t->policy = policy_find(t->start.policy);
	if (!t->policy) {
		tenant_log("no such policy: %s", t->start.policy);
		tenant_leave(1);
	}
}

static int check_arena(const struct tenant *t)
{
	struct stat st;
	if (fstat(t->arena_fd, &st))
		return -errno;
	if (t->start.arena_size <= ARAX_HEAP_OFFSET || st.st_size < 0 ||
	    (uint64_t)st.st_size < t->start.arena_size)
		return -EPROTO;
	return 0;
}

/* Return: 0 when the arena is at the address, else what to tell the client. */
static int map_arena(struct tenant *t, uint64_t base)
{
	void *want = (void *)(uintptr_t)base;
	if (base < ARAX_ARENA_LOW || base >= ARAX_ARENA_HIGH || base % ARAX_ARENA_ALIGN ||
	    t->start.arena_size > ARAX_ARENA_HIGH - base)
		return EINVAL;
	void *got = mmap(want, t->start.arena_size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED_NOREPLACE, t->arena_fd, 0);
	if (got == MAP_FAILED)
		return errno;
	if (got != want) { /* a kernel that does not know the flag */
		munmap(got, t->start.arena_size);
		return EEXIST;
	}
	t->arena = got;
	return 0;
}

static void settle_address(struct tenant *t)
{
	struct arax_control_map map;
	int fds[ARAX_FDS_MAX];
	while (!t->arena) {
		ssize_t n = arax_socket_recv(t->link_fd, &map, sizeof(map), fds, -1);
		if (n == 0 || n == -ECONNRESET)
			tenant_leave(0);
		if (n != sizeof(map) || map.head.magic != ARAX_CONTROL_MAGIC ||
		    map.head.type != ARAX_CONTROL_MAP)
			fail("MAP", n < 0 ? (int)n : -EPROTO);
		map.head.error = map_arena(t, map.base);
		map.head.type |= ARAX_CONTROL_REPLY;
		ARAX_FAULT_POINT(TENANT_MAPPED);
		int rc = arax_socket_send(t->link_fd, &map, sizeof(map), NULL, 0);
		if (rc == -EPIPE || rc == -ECONNRESET)
			tenant_leave(0);
		if (rc)
			fail("MAP reply", rc);
	}
	ARAX_FAULT_POINT(TENANT_SETTLED);
	tenant_crash_at(&((struct arax_shm *)t->arena)->crash);
}

static struct arax_stats *map_stats(const struct tenant *t)
{
	struct stat st;
	struct arax_stats *stats = NULL;
	if (!fstat(t->stats_fd, &st) && (size_t)st.st_size >= sizeof(*stats)) {
		stats =
		    mmap(NULL, sizeof(*stats), PROT_READ | PROT_WRITE, MAP_SHARED, t->stats_fd, 0);
		if (stats == MAP_FAILED)
			stats = NULL;
	}
	if (!stats)
		tenant_log("no statistics");
	return stats;
}

static void log_line(void *arg, const char *line)
{
	(void)arg;
	tenant_log("%s", line);
}

/* araxd may offer the device's memory to others now. */
static void drained(void *arg, unsigned index)
{
	const struct arax_control_device answer = {
	    .head = {.magic = ARAX_CONTROL_MAGIC,
		     .type = ARAX_CONTROL_DEVICE,
		     .major = ARAX_PROTOCOL_MAJOR,
		     .minor = ARAX_PROTOCOL_MINOR},
	    .what = ARAX_DEVICE_DRAIN,
	    .index = index,
	};
	(void)arg;
	ARAX_FAULT_POINT(TENANT_DRAINED);
	int rc = arax_socket_send(CONTROL_FD, &answer, sizeof(answer), NULL, 0);
	if (rc && rc != -EPIPE && rc != -ECONNRESET)
		tenant_log("answer to DRAIN: %s", strerror(-rc));
}

static _Noreturn void serve(struct tenant *t)
{
	const char *why;
	struct dispatch *dispatch;
	/* The dispatcher closes the trace; the other two are as they were sent. */
	const struct tenant_offer offer = {
	    .adopt = t->adopt_fd,
	    .fds = {t->stats_fd, t->arena_fd,
		    t->trace_fd < 0 ? -1 : fcntl(t->trace_fd, F_DUPFD_CLOEXEC, 3)},
	};
	const struct dispatch_config config = {
	    .devices = t->devices,
	    .ndevices = t->ndevices,
	    .allowed = t->allowed,
	    .policy = t->policy,
	    .arena = t->arena,
	    .arena_size = t->start.arena_size,
	    .commands = t->start.commands,
	    .objects = t->start.objects,
	    .stats = map_stats(t),
	    .trace_fd = t->trace_fd,
	    .stdout_fd = t->stdout_fd,
	    .engine = t->engine,
	    .log = log_line,
	    .drained = drained,
	    .as_if = t->as_if,
	};
	int rc = dispatch_new(&config, &dispatch);
	if (rc)
		fail("dispatcher", rc);
	tenant_watch(t->link_fd, CONTROL_FD, &offer, dispatch);
	rc = dispatch_run(dispatch, &why);
	tenant_log("client ended: %s", rc == -EPROTO ? why : strerror(-rc));
	tenant_leave(1);
}

static bool has_option(char **argv, const char *option)
{
	while (*++argv)
		if (!strcmp(*argv, option))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	static struct tenant tenant = {.adopt_fd = -1};
	(void)argc;
	load(&tenant, has_option(argv, "--sandbox=off"));
	tenant.as_if = has_option(argv, "--as-if");
	if (has_option(argv, "--zygote"))
		tenant.adopt_fd = tenant_zygote(CONTROL_FD, argv, &tenant.sandbox);
	set_up(&tenant);
	ARAX_FAULT_POINT(TENANT_ENTERED);
	start_devices(&tenant);
	ARAX_FAULT_POINT(TENANT_HAS_DEVICES);
	warm_up(&tenant);
	send_ready(&tenant);
	int rc = wait_start(&tenant);
	if (rc)
		fail("START", rc);
	choose_devices(&tenant);
	rc = check_arena(&tenant);
	if (rc)
		fail("arena", rc);
	settle_address(&tenant);
	serve(&tenant);
}
