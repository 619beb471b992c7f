/* SPDX-License-Identifier: Apache-2.0
 *
 * Plays arax-tenant, its zygote and arax-compile, by the name it is started with, for test_araxd.c:
 * speaks the control protocol and does what the test asks for through the bytes of a build request,
 * through the link or through files beside the program.
 */
#include "transport/build.h"
#include "transport/control.h"
#include "transport/shm.h"
#include "transport/socket.h"

#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONTROL 3

static const char *directory; /* the program's, which is the test's */

static int test_file(const char *name, int flags)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return open(path, flags | O_CLOEXEC, 0600);
}

static int send_ready(int fd)
{
	struct arax_control_ready ready = {
	    .head = {.magic = ARAX_CONTROL_MAGIC, .type = ARAX_CONTROL_READY, .major = 1}};

	return arax_socket_send(CONTROL, &ready, sizeof(ready), &fd, fd >= 0);
}

static int tenant(void)
{
	struct arax_device_info info = {.size = sizeof(info),
					.type = 2,
					.name = "fake",
					.compiler = "fake compiler 1",
					.max_group_size = 4096,
					.max_work_item_sizes = {4096, 4096, 4096},
					.global_mem_size = 1ull << 30,
					.max_alloc_size = 1ull << 28,
					.local_mem_size = 1 << 20};
	struct arax_control_start start;
	int fds[ARAX_FDS_MAX];

	if (send_ready(arax_memfd_from("info", &info, sizeof(info))) < 0)
		return 1;
	if (arax_socket_recv(CONTROL, &start, sizeof(start), fds, -1) != sizeof(start))
		return 0;
	void *map =
	    mmap(NULL, sizeof(struct arax_stats), PROT_READ | PROT_WRITE, MAP_SHARED, fds[2], 0);
	if (start.head.type != ARAX_CONTROL_START || map == MAP_FAILED)
		return 1;
	struct arax_stats *stats = map;
	strcpy(stats->devices[0].name, "cpu-basic");
	strcpy(stats->kernel[0].name, "fake_kernel");
	stats->devices[0].commands = 7;
	stats->kernel[0].launches[0] = 5;
	stats->kernel[0].busy_ns[0] = 1000000;
	stats->commands = 7;
	stats->kernels = 5;
	stats->ndevices = 1;
	stats->nkernels = 1000; /* more than there is room for: araxd must bound it */
	map = mmap(NULL, sizeof(struct arax_shm), PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	if (map == MAP_FAILED)
		return 1;
	struct arax_shm *shm = map;
	shm->client_commands = 1230;
	/* One byte on the link is a question; "x" means to die. */
	for (char byte; read(fds[1], &byte, 1) == 1;) {
		if (byte == 'x')
			abort();
		if (write(fds[1], &byte, 1) != 1)
			break;
	}
	/* Its client has gone; araxd is to end it, or has ended itself. */
	struct pollfd control = {.fd = CONTROL};

	while (!(control.revents & (POLLHUP | POLLERR)))
		poll(&control, 1, -1);
	return 0;
}

static int compile(int request)
{
	struct arax_writer writer = {0};
	char text[64] = "", options[] = "", log[] = "built";
	struct arax_result result = {.options = options, .log = log, .binary_type = 4};
	int count = test_file("compiled", O_WRONLY | O_CREAT | O_APPEND);

	if (count < 0 || write(count, "c", 1) != 1)
		return -1;
	close(count);
	if (pread(request, text, sizeof(text) - 1, 12) < 0)
		return -1;
	if (strcmp(text, "crash") == 0)
		abort();
	if (strncmp(text, "hold", 4) == 0) {
		/* Until the test lets go; it has its own deadline. */
		for (int go; (go = test_file("go", O_RDONLY)) < 0;)
			poll(NULL, 0, 2);
	}
	result.error = strcmp(text, "fail") == 0 ? -11 : 0;
	arax_result_write(&writer, &result);
	int fd = arax_memfd_from("result", writer.data, writer.size);
	arax_writer_free(&writer);
	return fd;
}

static int compiler(void)
{
	struct arax_control_plain message;
	int fds[ARAX_FDS_MAX];

	if (send_ready(-1) < 0)
		return 1;
	while (arax_socket_recv(CONTROL, &message, sizeof(message), fds, -1) == sizeof(message)) {
		int result = compile(fds[0]);

		close(fds[0]);
		message.head.type |= ARAX_CONTROL_REPLY;
		if (arax_socket_send(CONTROL, &message, sizeof(message), &result, 1) < 0)
			return 1;
		close(result);
	}
	return 0;
}

/* A tenant whose number comes when it has ended already. */
static bool dies_at_once(void)
{
	int fd = test_file("stillborn", O_RDONLY);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

/* Return: in the tenants only. */
static void zygote(void)
{
	struct arax_control_spawn spawn;
	int fds[ARAX_FDS_MAX], ends[2];

	while (arax_socket_recv(CONTROL, &spawn, sizeof(spawn), fds, -1) == sizeof(spawn)) {
		bool stillborn = dies_at_once();
		pid_t middle = pipe(ends) == 0 ? fork() : -1;

		if (middle == 0) {
			spawn.pid = (int32_t)fork();
			if (spawn.pid == 0) {
				if (stillborn || dup2(fds[0], CONTROL) < 0)
					_exit(3);
				close_range(CONTROL + 1, ~0u, 0);
				return;
			}
			_exit(write(ends[1], &spawn.pid, sizeof(spawn.pid)) < 0);
		}
		if (middle < 0 || waitpid(middle, NULL, 0) != middle ||
		    read(ends[0], &spawn.pid, sizeof(spawn.pid)) != sizeof(spawn.pid))
			_exit(1);
		close(ends[0]);
		close(ends[1]);
		close(fds[0]);
		if (stillborn)
			poll(NULL, 0, 100);
		spawn.head.type |= ARAX_CONTROL_REPLY;
		if (arax_socket_send(CONTROL, &spawn, sizeof(spawn), NULL, 0) < 0)
			_exit(1);
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	if (argc < 1)
		return 2;
	char *self = strdup(argv[0]);
	directory = dirname(self);
	if (!strstr(argv[0], "arax-tenant"))
		return compiler();
	if (argc == 2 && strcmp(argv[1], "--zygote") == 0)
		zygote();
	return tenant();
}
