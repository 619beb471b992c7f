/* SPDX-License-Identifier: Apache-2.0
 *
 * Plays arax-tenant and arax-compile, by the name it is started with, for test_araxd.c: speaks the
 * control protocol and does what the test asks for through the bytes of a build request or the
 * client's choice of policy.
 */
#include "transport/build.h"
#include "transport/control.h"
#include "transport/shm.h"
#include "transport/socket.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CONTROL 3

static int work_file(const char *name, int flags)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", getenv("ARAX_WORK_DIR"), name);
	return open(path, flags | O_CLOEXEC, 0600);
}

static int send_ready(int fd)
{
	struct arax_control_plain ready = {
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
	int count = work_file("compiled", O_WRONLY | O_CREAT | O_APPEND);

	if (count < 0 || write(count, "c", 1) != 1)
		return -1;
	close(count);
	if (pread(request, text, sizeof(text) - 1, 12) < 0)
		return -1;
	if (strcmp(text, "crash") == 0)
		abort();
	if (strncmp(text, "hold", 4) == 0) {
		/* Until the test lets go; it has its own deadline. */
		for (int go; (go = work_file("go", O_RDONLY)) < 0;)
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

int main(int argc, char **argv)
{
	return argc && strstr(argv[0], "arax-tenant") ? tenant() : compiler();
}
