/* SPDX-License-Identifier: Apache-2.0
 *
 * Plays arax-tenant, its zygote, arax-compile and arax-device, by the name it is started with, for
 * test_araxd.c: speaks the control protocol and does what the test asks for through the bytes of a
 * build request, through the link or through files beside the program. What a tenant is told after
 * its start it writes to told-PID there, what a device is told to told-NAME-PID.
 */
#include "transport/build.h"
#include "transport/control.h"
#include "transport/shm.h"
#include "transport/socket.h"

#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONTROL 3
#define ADOPT 4

static const char *directory; /* the program's, which is the test's */

static int adopting = -1; /* where another araxd connects */

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

__attribute__((format(printf, 2, 3))) static void note(const char *file, const char *format, ...)
{
	char line[512];
	va_list arguments;
	int fd = test_file(file, O_WRONLY | O_CREAT | O_APPEND);

	va_start(arguments, format);
	int n = vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (fd < 0 || write(fd, line, (size_t)n) != n)
		abort();
	close(fd);
}

static bool there(const char *what, const char *name)
{
	char file[128];

	snprintf(file, sizeof(file), "%s-%s", what, name);
	int fd = test_file(file, O_RDONLY);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Reads what an earlier one has learned, and learns something itself. */
static void tenant_learns(const char *file, int fd)
{
	struct arax_costs *costs =
	    mmap(NULL, sizeof(*costs), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (costs == MAP_FAILED || close(fd))
		abort();
	note(file, "COSTS '%.*s'\n", (int)costs->size, costs->text);
	costs->size = (uint32_t)sprintf(costs->text, "learned by %d", (int)getpid());
}

/* What araxd says after START. Return: false at its end. */
static bool tenant_told(const char *file)
{
	static const char *const whats[] = {"ADD", "LEASE", "DRAIN", "ONLINE", "LOST"};
	union {
		struct arax_control_head head;
		struct arax_control_device device;
		struct arax_control_policy policy;
	} message;
	int fds[ARAX_FDS_MAX];
	ssize_t n = arax_socket_recv(CONTROL, &message, sizeof(message), fds, 0);

	if (n <= 0)
		return false;
	if (message.head.type == ARAX_CONTROL_DEVICE && n == sizeof(message.device)) {
		struct stat st = {0};

		if (fds[0] >= 0 && (fstat(fds[0], &st) < 0 || close(fds[0]) < 0))
			abort();
		note(file, "%s %s %u share %u depth %u memory %llu link %d\n",
		     whats[message.device.what], message.device.name, message.device.index,
		     message.device.share, message.device.depth,
		     (unsigned long long)message.device.caps.memory, st.st_size > 0);
		if (message.device.what == ARAX_DEVICE_DRAIN &&
		    !there("stuck", message.device.name))
			arax_socket_send(CONTROL, &message, sizeof(message.device), NULL, 0);
	} else if (message.head.type == ARAX_CONTROL_POLICY && n == sizeof(message.policy)) {
		note(file, "POLICY %s %s\n", message.policy.policy, message.policy.argument);
	} else if (message.head.type == ARAX_CONTROL_COSTS) {
		tenant_learns(file, fds[0]);
	} else {
		abort();
	}
	return true;
}

/* What a tenant answers to ADOPT: by files beside the program what it should, or something else. */
static void answer_adopt(const int kept[3])
{
	struct arax_control_plain answer = {
	    .head = {.magic = ARAX_CONTROL_MAGIC,
		     .type = ARAX_CONTROL_ADOPT | ARAX_CONTROL_REPLY,
		     .major = 1}};
	int fds[3] = {kept[0], kept[1], kept[2]}, pair[2];
	size_t size = sizeof(answer);
	unsigned n = 3;

	if (there("adopt", "silent"))
		return;
	if (there("adopt", "bare"))
		n = 0;
	if (there("adopt", "one"))
		n = 1;
	if (there("adopt", "pipe") && pipe(pair) == 0)
		fds[0] = pair[0];
	if (there("adopt", "swapped")) {
		fds[0] = kept[1];
		fds[1] = kept[0];
	}
	if (there("adopt", "short"))
		fds[0] = arax_memfd_new("short", 4096);
	if (there("adopt", "unsealed")) {
		fds[1] = memfd_create("unsealed", MFD_ALLOW_SEALING);
		if (ftruncate(fds[1], 3ll << 30))
			abort();
	}
	if (there("adopt", "trace"))
		fds[2] = arax_memfd_from("read-only", &answer, sizeof(answer));
	if (there("adopt", "size"))
		size = sizeof(answer.head) - 4;
	if (there("adopt", "ready"))
		answer.head.type = ARAX_CONTROL_READY;
	if (there("adopt", "magic"))
		answer.head.magic++;
	for (int i = there("adopt", "twice") ? 2 : 1; i; i--)
		arax_socket_send(CONTROL, &answer, size, fds, n);
}

/* Another araxd. */
static void tenant_adopted(const int kept[3])
{
	struct arax_control_plain message;
	int fds[ARAX_FDS_MAX], fd = accept(adopting, NULL, NULL);

	if (fd < 0 || dup2(fd, CONTROL) < 0 || close(fd))
		abort();
	if (arax_socket_recv(CONTROL, &message, sizeof(message), fds, -1) == sizeof(message) &&
	    message.head.type == ARAX_CONTROL_ADOPT)
		answer_adopt(kept);
}

/* Questions of the test and news of araxd. One byte on the link is a question; "x" means to die,
 * "b" that there is work, "c" that one command more was done. */
static int tenant_serve(int link, struct arax_stats *stats, const int kept[3])
{
	struct pollfd ready[] = {{.fd = CONTROL, .events = POLLIN},
				 {.fd = link, .events = POLLIN},
				 {.fd = adopting, .events = POLLIN}};
	char file[32], byte;

	snprintf(file, sizeof(file), "told-%d", (int)getpid());
	/* Its client goes, then araxd ends it, or has ended itself. */
	while (ready[0].fd >= 0 || ready[1].fd >= 0) {
		poll(ready, 3, -1);
		if (ready[0].revents && !tenant_told(file))
			ready[0].fd = -1;
		if (ready[2].revents) {
			tenant_adopted(kept);
			ready[0].fd = CONTROL;
		}
		if (!ready[1].revents)
			continue;
		if (read(link, &byte, 1) != 1) {
			ready[1].fd = -1;
			continue;
		}
		if (byte == 'x')
			abort();
		if (byte == 'c')
			stats->commands++;
		if (byte == 'b')
			stats->depth = 1;
		if (byte == 'B')
			stats->depth = 0;
		if (byte == 'l')
			stats->urgency = -1;
		if (write(link, &byte, 1) != 1)
			ready[1].fd = -1;
	}
	return 0;
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
	return tenant_serve(fds[1], stats, (const int[]){fds[2], fds[0], fds[3]});
}

static int device_ready(struct arax_device_usage **usage)
{
	struct arax_control_device_ready ready = {
	    .ready.head = {.magic = ARAX_CONTROL_MAGIC, .type = ARAX_CONTROL_READY, .major = 1},
	    .ready.sandbox = ~0u,
	    .caps = {.features = ARAX_FEATURE_SIMULATED,
		     .compute_units = 4,
		     .memory = 1 << 30,
		     .target = "sim"}};
	int fd = arax_memfd_new("usage", sizeof(**usage));

	*usage = mmap(NULL, sizeof(**usage), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || *usage == MAP_FAILED)
		return -1;
	int error = arax_socket_send(CONTROL, &ready, sizeof(ready), &fd, 1);
	close(fd);
	return error;
}

static int32_t device_tenants[ARAX_DEVICE_LINKS];

static void device_row(struct arax_device_usage *usage, uint64_t was, uint64_t is, int32_t tenant)
{
	for (int i = 0; i < ARAX_DEVICE_LINKS; i++) {
		if (usage->links[i].link != was)
			continue;
		usage->links[i].in_flight = 0;
		usage->links[i].memory = is ? 4096 : 0;
		usage->links[i].link = is;
		device_tenants[i] = tenant;
		return;
	}
	abort();
}

/* Waits for a message, and meanwhile does what tenants of "busy-PID" have given it to do. */
static void device_works(struct arax_device_usage *usage)
{
	struct pollfd ready = {.fd = CONTROL, .events = POLLIN};
	char pid[16];

	while (poll(&ready, 1, 2) == 0) {
		for (int i = 0; i < ARAX_DEVICE_LINKS; i++) {
			snprintf(pid, sizeof(pid), "%d", device_tenants[i]);
			usage->links[i].in_flight = usage->links[i].link && there("busy", pid);
		}
	}
}

/* Without araxd it goes on for as long as it has tenants. */
static int device_orphaned(const struct arax_device_usage *usage)
{
	for (int i = 0; i < ARAX_DEVICE_LINKS; i++)
		while (usage->links[i].link && kill(device_tenants[i], 0) == 0)
			poll(NULL, 0, 10);
	return 0;
}

/* Return: the value behind an option. */
static const char *option(char **argv, const char *name)
{
	for (; *argv; argv++)
		if (strcmp(*argv, name) == 0)
			return argv[1];
	return "";
}

static int device(char **argv)
{
	const char *name = option(argv, "--name");
	struct arax_device_usage *usage;
	struct arax_control_link link;
	int fds[ARAX_FDS_MAX];
	char file[128];

	snprintf(file, sizeof(file), "told-%s-%d", name, (int)getpid());
	note(file, "START %s %s %s\n", option(argv, "--backend"), option(argv, "--library"),
	     option(argv, "--options"));
	if (there("crash", name))
		abort();
	if (there("hang", name)) {
		/* Until araxd has had enough of it. */
		arax_socket_recv(CONTROL, &link, sizeof(link), fds, -1);
		return 0;
	}
	if (there("fail", name)) {
		struct arax_control_log log = {
		    .head = {.magic = ARAX_CONTROL_MAGIC, .type = ARAX_CONTROL_LOG, .major = 1},
		    .line = "no such library"};

		arax_socket_send(CONTROL, &log, sizeof(log), NULL, 0);
		return 1;
	}
	if (device_ready(&usage))
		return 1;
	for (;;) {
		device_works(usage);
		if (arax_socket_recv(CONTROL, &link, sizeof(link), fds, -1) != sizeof(link))
			return device_orphaned(usage);
		static const char *const types[] = {"LINK", "UNLINK", "SHARE"};

		note(file, "%s %llu weight %u depth %u memory %llu arena %d\n",
		     types[link.head.type - ARAX_CONTROL_LINK], (unsigned long long)link.link,
		     link.weight, link.depth, (unsigned long long)link.memory, fds[1] >= 0);
		for (int i = 0; i < ARAX_FDS_MAX; i++)
			if (fds[i] >= 0)
				close(fds[i]);
		if (link.head.type == ARAX_CONTROL_LINK) {
			device_row(usage, 0, link.link, link.tenant_pid);
			link.head.type |= ARAX_CONTROL_REPLY;
			link.head.error = there("refuse", name) ? 28 : 0;
			arax_socket_send(CONTROL, &link, sizeof(link), NULL, 0);
		} else if (link.head.type == ARAX_CONTROL_UNLINK) {
			device_row(usage, link.link, 0, 0);
			if (there("keep", name))
				continue;
			link.head.type |= ARAX_CONTROL_REPLY;
			arax_socket_send(CONTROL, &link, sizeof(link), NULL, 0);
		}
	}
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
				adopting = fds[1] < 0 ? -1 : fcntl(fds[1], F_DUPFD, ADOPT + 1);
				if (adopting >= 0 &&
				    (dup2(adopting, ADOPT) < 0 || listen(ADOPT, 8)))
					_exit(3);
				adopting = adopting < 0 ? -1 : ADOPT;
				close_range(ADOPT + (adopting >= 0), ~0u, 0);
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
		if (fds[1] >= 0)
			close(fds[1]);
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
	if (strstr(argv[0], "arax-device"))
		return device(argv);
	if (!strstr(argv[0], "arax-tenant"))
		return compiler();
	if (argc == 2 && strcmp(argv[1], "--zygote") == 0)
		zygote();
	return tenant();
}
