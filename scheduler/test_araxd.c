/* SPDX-License-Identifier: Apache-2.0
 *
 * The daemon with fake children: what clients get, that ends are noticed on all sides, that bad
 * messages hurt only who sends them. Arguments: the daemon, the fake child.
 *
 * Devices with processes of their own: test_araxd_device.c.
 */
#include "scheduler/test_daemon.h"
#include "transport/build.h"
#include "transport/socket.h"
#include "transport/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_hello(int fd)
{
	struct arax_control_hello hello = {.head = head_of(ARAX_CONTROL_HELLO), .features = ~0ull};
	const void *data;
	size_t size;
	int fds[ARAX_FDS_MAX];

	CHECK(ask(fd, &hello, sizeof(hello), -1, fds) == 0);
	CHECK(hello.features == 0 && hello.pid > 0 && fds[0] >= 0);
	CHECK(arax_memfd_map(fds[0], 1 << 20, &data, &size) == 0);
	const struct arax_device_info *info = data;
	CHECK(size == sizeof(*info) && strcmp(info->name, "fake") == 0);
	CHECK(info->type == 4 && info->max_group_size == 1024 && info->local_mem_size == 32 << 10);
	CHECK(info->max_work_item_sizes[2] == 1024);
	munmap((void *)(uintptr_t)data, size);
	close(fds[0]);

	hello.head = head_of(ARAX_CONTROL_HELLO);
	hello.head.major = 2;
	CHECK(ask(fd, &hello, sizeof(hello), -1, fds) == EPROTO);
}

static void check_echo(int link)
{
	struct pollfd ready = {.fd = link, .events = POLLIN};
	char byte = 'e';

	CHECK(write(link, &byte, 1) == 1 && poll(&ready, 1, TIMEOUT_MS) == 1);
	CHECK(read(link, &byte, 1) == 1 && byte == 'e');
}

static void test_attach(int other)
{
	struct arax_control_attach reply;
	int fd = client(), fds[ARAX_FDS_MAX];
	struct stat st;

	CHECK(attach(fd, "fpga", "", &reply, fds) == EINVAL && fds[0] < 0);
	CHECK(attach(fd, "", "nonsense", &reply, fds) == EINVAL && fds[0] < 0);
	CHECK(attach(fd, "cpu,gpu", "pinned", &reply, fds) == 0);
	CHECK(fds[0] >= 0 && fds[1] >= 0 && fds[2] >= 0 && fds[3] < 0);
	CHECK(strcmp(reply.devices, "cpu-basic,cpu-pthread") == 0);
	CHECK(fstat(fds[0], &st) == 0 && (uint64_t)st.st_size == reply.arena_size);
	CHECK(reply.arena_size == 3ull << 30);
	int seals = fcntl(fds[0], F_GET_SEALS), wanted = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	CHECK((seals & wanted) == wanted && !(seals & F_SEAL_WRITE));
	CHECK(reply.tenant_pid > 0 && alive(reply.tenant_pid));
	check_echo(fds[1]);
	CHECK(json_has(other, ARAX_CONTROL_STATUS, "\"program\": \"the test\""));
	CHECK(json_has(other, ARAX_CONTROL_STATUS, "fake_kernel"));
	/* The tenant's commands and the client's own. */
	CHECK(json_has(other, ARAX_CONTROL_STATUS, "\"commands\": 1237"));
	pid_t tenant = reply.tenant_pid;
	struct arax_control_attach again;
	int none[ARAX_FDS_MAX];
	CHECK(attach(fd, "", "", &again, none) == EBUSY);

	/* The connection's end is the tenant's. */
	close(fd);
	CHECK_SOON(!alive(tenant));
	CHECK_SOON(arax_socket_hung_up(fds[1]));
	close(fds[0]);
	close(fds[1]);
	CHECK_SOON(!json_has(other, ARAX_CONTROL_STATUS, "\"clients\": [\n"));
	CHECK(json_has(other, ARAX_CONTROL_STATUS, "fake_kernel"));
}

/* The number behind a name in the status. */
static long json_number(int fd, const char *name)
{
	int fds[ARAX_FDS_MAX];
	const void *data;
	size_t size;

	CHECK(ask_plain(fd, ARAX_CONTROL_STATUS, -1, fds) == 0 && fds[0] >= 0);
	CHECK(arax_memfd_map(fds[0], 1 << 24, &data, &size) == 0);
	char *text = strndup(data, size), *at = strstr(text, name);
	munmap((void *)(uintptr_t)data, size);
	close(fds[0]);
	CHECK(at);
	long number = strtol(at + strlen(name), NULL, 10);
	free(text);
	return number;
}

static long zygote_of(int fd)
{
	return json_number(fd, "\"zygote\": ");
}

static pid_t attached(int *fd)
{
	struct arax_control_attach reply;
	int fds[ARAX_FDS_MAX];

	*fd = client();
	/* Tenants of clients that have just left still count. */
	CHECK_SOON(attach(*fd, "", "", &reply, fds) == 0);
	check_echo(fds[1]);
	close(fds[0]);
	close(fds[1]);
	close(fds[2]);
	return reply.tenant_pid;
}

/* The next message for who traces. */
static struct arax_control_trace traced(int fd, int *trace)
{
	struct arax_control_trace message;
	int fds[ARAX_FDS_MAX];

	CHECK(arax_socket_recv(fd, &message, sizeof(message), fds, TIMEOUT_MS) == sizeof(message));
	CHECK(message.head.type == (ARAX_CONTROL_TRACE | ARAX_CONTROL_REPLY));
	CHECK(message.head.error == 0);
	*trace = fds[0];
	return message;
}

static int tracer(bool descendants)
{
	struct arax_control_trace ask_it = {.head = head_of(ARAX_CONTROL_TRACE),
					    .descendants = descendants};
	int fd = client(), trace;

	CHECK(arax_socket_send(fd, &ask_it, sizeof(ask_it), NULL, 0) == 0);
	struct arax_control_trace answer = traced(fd, &trace);
	CHECK(answer.what == ARAX_TRACED_NOW && answer.head.id == ask_it.head.id && trace < 0);
	return fd;
}

/* What is traced must descend from who asks, and nobody here descends from this child. */
static void check_stranger(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		int fd = tracer(true);

		/* Nothing of the application is in front of this answer. */
		_exit(json_has(fd, ARAX_CONTROL_STATUS, "the test") ? 0 : 1);
	}
	CHECK(ended(pid) == 0);
}

/* Who traces is told of applications that are there and that come; their trace is on for as long,
 * and what he gets can be read only. */
static void test_trace(void)
{
	struct arax_control_attach reply;
	struct arax_control_trace first, again, begun;
	pid_t daemon = daemon_start(NULL, NULL);
	int control = client(), fd = client(), late, fds[ARAX_FDS_MAX], trace, reader;

	CHECK_SOON(attach(fd, "", "", &reply, fds) == 0);
	const struct arax_trace *mapped;
	CHECK(arax_trace_map(fds[2], &mapped) == 0);
	CHECK(!mapped->head.on);
	check_stranger();
	CHECK_SOON(!mapped->head.on);

	reader = tracer(true);
	first = traced(reader, &trace);
	CHECK(first.what == ARAX_TRACED_BEGIN && first.serial && trace >= 0);
	CHECK(first.pid == getpid() && first.tenant_pid == reply.tenant_pid);
	CHECK(first.uid == getuid() && strcmp(first.program, "the test") == 0);
	CHECK(first.from[0] == 0 && first.from[1] == 0);
	CHECK(mapped->head.on == 1);
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, trace, 0) == MAP_FAILED);
	close(trace);

	/* A second question on one connection; a second reader; an application that traces. */
	struct arax_control_trace twice = {.head = head_of(ARAX_CONTROL_TRACE)};
	CHECK(ask(reader, &twice, sizeof(twice), -1, fds) == EBUSY);
	twice.head = head_of(ARAX_CONTROL_TRACE);
	CHECK(ask(fd, &twice, sizeof(twice), -1, fds) == EBUSY);
	int other = tracer(false);
	again = traced(other, &trace);
	CHECK(again.what == ARAX_TRACED_BEGIN && again.serial == first.serial);
	close(trace);
	close(other);

	attached(&late);
	begun = traced(reader, &trace);
	CHECK(begun.what == ARAX_TRACED_BEGIN && begun.serial != first.serial);
	close(trace);
	CHECK(mapped->head.on == 1);
	close(late);
	again = traced(reader, &trace);
	CHECK(again.what == ARAX_TRACED_END && again.serial == begun.serial && trace < 0);

	/* Not with its tenant's death: it may get another one, and then has the same trace. */
	CHECK(kill(reply.tenant_pid, SIGKILL) == 0);
	CHECK_SOON(!alive(reply.tenant_pid));
	CHECK(attach(fd, "", "", &reply, fds) == 0);
	begun = traced(reader, &trace);
	CHECK(begun.what == ARAX_TRACED_BEGIN && begun.serial == first.serial);
	CHECK(begun.tenant_pid == reply.tenant_pid && mapped->head.on == 1);
	close(trace);
	close(fd);
	again = traced(reader, &trace);
	CHECK(again.what == ARAX_TRACED_END && again.serial == first.serial);
	arax_trace_unmap(mapped);

	CHECK_SOON(attach(fd = client(), "", "", &reply, fds) == 0);
	CHECK(arax_trace_map(fds[2], &mapped) == 0);
	CHECK(mapped->head.on == 1);
	close(reader);
	CHECK_SOON(!mapped->head.on);
	arax_trace_unmap(mapped);
	close(fd);
	CHECK_SOON(!alive(reply.tenant_pid));
	stop(control, daemon);
}

/* Tenants of one zygote are the daemon's children, and the zygote's death is not theirs. */
static void test_zygote(int other, pid_t daemon)
{
	int clients[3];
	pid_t tenants[3], parent;
	long first = zygote_of(other);

	for (int i = 0; i < 2; i++) {
		tenants[i] = attached(&clients[i]);
		CHECK(process_stat(tenants[i], &parent) && parent == daemon);
	}
	CHECK(first > 0 && tenants[0] != tenants[1]);
	CHECK(kill((pid_t)first, SIGKILL) == 0);
	CHECK_SOON(zygote_of(other) != first && zygote_of(other) > 0);
	CHECK(alive(tenants[0]) && alive(tenants[1]));
	/* More than were ready, so at least one is of the new zygote. */
	for (int i = 0; i < 2; i++) {
		tenants[2] = attached(&clients[2]);
		close(clients[2]);
		CHECK_SOON(!alive(tenants[2]));
	}
	CHECK(kill(tenants[0], SIGKILL) == 0);
	CHECK_SOON(!alive(tenants[0]));
	close(clients[0]);
	close(clients[1]);
	CHECK_SOON(!alive(tenants[1]));
	CHECK_SOON(zombies(daemon) == 0);
}

/* Tenants that have ended when the zygote's answer comes are failures, and no zombies. */
static void test_stillborn(int other, pid_t daemon)
{
	char path[192];
	int fd;

	snprintf(path, sizeof(path), "%s/stillborn", directory);
	close(open(path, O_WRONLY | O_CREAT, 0600));
	attached(&fd); /* one that was ready; its place cannot be filled */
	CHECK_SOON(json_has(other, ARAX_CONTROL_STATUS, "arax-tenant exited with 3"));
	CHECK(unlink(path) == 0);
	close(fd);
	CHECK_SOON(json_number(other, "\"ready\": ") ==
		   json_number(other, "\"configured\": ") + json_number(other, "\"extra\": "));
	CHECK_SOON(zombies(daemon) == 0);
}

/* The client's process dies while somebody else still holds its connection. */
static void test_client_death(void)
{
	struct arax_control_attach reply;
	int pipe_fds[2], fds[ARAX_FDS_MAX], held;
	pid_t tenant, pid;

	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pipe_fds) == 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		int fd = arax_socket_connect(socket_path);

		if (fd < 0 || attach(fd, "", "", &reply, fds) != 0)
			_exit(1);
		tenant = reply.tenant_pid;
		arax_socket_send(pipe_fds[1], &tenant, sizeof(tenant), &fd, 1);
		pause();
		_exit(0);
	}
	CHECK(arax_socket_recv(pipe_fds[0], &tenant, sizeof(tenant), fds, TIMEOUT_MS) ==
	      sizeof(tenant));
	held = fds[0];
	CHECK(alive(tenant));
	kill(pid, SIGKILL);
	CHECK(waitpid(pid, NULL, 0) == pid);
	CHECK_SOON(!alive(tenant));
	close(held);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static void test_tenant_death(int other)
{
	struct arax_control_attach reply;
	int fd = client(), fds[ARAX_FDS_MAX];

	CHECK(attach(fd, "", "", &reply, fds) == 0);
	CHECK(write(fds[1], "x", 1) == 1);
	CHECK_SOON(arax_socket_hung_up(fds[1]));
	close(fds[0]);
	close(fds[1]);
	/* The same client may have another. */
	CHECK_SOON(attach(fd, "", "", &reply, fds) == 0);
	check_echo(fds[1]);
	close(fds[0]);
	close(fds[1]);
	close(fd);
	CHECK_SOON(json_has(other, ARAX_CONTROL_STATUS, "\"attached\": 0"));
}

static int request_new(const char *text)
{
	char bytes[128];
	const uint32_t head[3] = {ARAX_BUILD_MAGIC, ARAX_BUILD_VERSION, 0};

	memcpy(bytes, head, sizeof(head));
	memcpy(bytes + sizeof(head), text, strlen(text) + 1);
	int fd = arax_memfd_from("request", bytes, sizeof(head) + strlen(text) + 1);
	CHECK(fd >= 0);
	return fd;
}

static void build_send(int fd, const char *text)
{
	struct arax_control_plain message = {.head = head_of(ARAX_CONTROL_BUILD)};
	int request = request_new(text);

	CHECK(arax_socket_send(fd, &message, sizeof(message), &request, 1) == 0);
	close(request);
}

/* Return: the build's error, or 1000 + errno of the answer. */
static int build_take(int fd)
{
	struct arax_control_plain message;
	int fds[ARAX_FDS_MAX];
	const void *data;
	size_t size;

	CHECK(arax_socket_recv(fd, &message, sizeof(message), fds, TIMEOUT_MS) == sizeof(message));
	if (message.head.error)
		return 1000 + message.head.error;
	CHECK(arax_memfd_map(fds[0], ARAX_BUILD_MAX, &data, &size) == 0);
	struct arax_result *result = arax_result_parse(data, size);
	CHECK(result && strcmp(result->log, "built") == 0);
	int error = result->error;
	arax_result_free(result);
	munmap((void *)(uintptr_t)data, size);
	close(fds[0]);
	return error;
}

static int build(int fd, const char *text)
{
	build_send(fd, text);
	return build_take(fd);
}

/* How many builds the compiler was asked for. */
static long compiled(void)
{
	char path[192];
	struct stat st;

	snprintf(path, sizeof(path), "%s/compiled", directory);
	return stat(path, &st) < 0 ? 0 : (long)st.st_size;
}

static void test_build(int fd)
{
	char go[192];
	int others[3], fds[ARAX_FDS_MAX], junk;

	CHECK(build(fd, "one") == 0 && compiled() == 1);
	CHECK(build(fd, "one") == 0 && compiled() == 1);
	CHECK(build(fd, "fail") == -11 && compiled() == 2);
	CHECK(build(fd, "fail") == -11 && compiled() == 3);
	/* Tried twice, each time with a new compiler; the next build is none the worse. */
	CHECK(build(fd, "crash") == 1000 + EIO && compiled() == 5);
	CHECK(build(fd, "two") == 0 && compiled() == 6);

	for (int i = 0; i < 3; i++) {
		others[i] = client();
		build_send(others[i], "hold");
	}
	CHECK_SOON(compiled() == 7);
	close(others[0]); /* one loses interest */
	CHECK(json_has(fd, ARAX_CONTROL_STATUS, "\"compiling\": 1"));
	snprintf(go, sizeof(go), "%s/go", directory);
	close(open(go, O_WRONLY | O_CREAT, 0600));
	CHECK(build_take(others[1]) == 0 && build_take(others[2]) == 0 && compiled() == 7);
	close(others[1]);
	close(others[2]);

	CHECK(ask_plain(fd, ARAX_CONTROL_BUILD, -1, fds) == EBADF);
	junk = arax_memfd_from("junk", "junk", 4);
	CHECK(ask_plain(fd, ARAX_CONTROL_BUILD, junk, fds) == EPROTO);
	close(junk);
	junk = memfd_create("unsealed", 0);
	CHECK(ask_plain(fd, ARAX_CONTROL_BUILD, junk, fds) > 0);
	close(junk);
	CHECK(ask_plain(fd, ARAX_CONTROL_BUILD, STDIN_FILENO, fds) > 0);
}

/* What is no message costs the sender its connection, and nobody else anything. */
static void test_bad_messages(int other)
{
	struct arax_control_attach message;
	int fds[ARAX_FDS_MAX], files[2] = {other, other};
	char large[2000] = "";

	for (int i = 0; i < 5; i++) {
		int fd = client();
		size_t size = sizeof(message);

		memset(&message, 'A', sizeof(message));
		message.head = head_of(ARAX_CONTROL_ATTACH);
		if (i == 0)
			message.head.magic++;
		if (i == 1)
			size = 3;
		if (i == 2)
			size = sizeof(message) - 1;
		if (i == 3)
			message.head.type = ARAX_CONTROL_HELLO;
		if (i == 4) {
			CHECK(arax_socket_send(fd, large, sizeof(large), files, 2) == 0);
			size = 0;
		}
		if (size)
			CHECK(arax_socket_send(fd, &message, size, files, 2) == 0);
		CHECK(arax_socket_recv(fd, &message, sizeof(message), fds, TIMEOUT_MS) == 0);
		close(fd);
	}
	int fd = client();
	memset(&message, 'A', sizeof(message));
	message.head = head_of(ARAX_CONTROL_ATTACH);
	CHECK(ask(fd, &message, sizeof(message), -1, fds) == EPROTO);
	CHECK(ask_plain(fd, 99, -1, fds) == EOPNOTSUPP);
	CHECK(ask_plain(fd, ARAX_CONTROL_START, -1, fds) == EOPNOTSUPP);
	close(fd);
	CHECK(json_has(other, ARAX_CONTROL_DEVICES, "cpu-basic"));
}

/* A client that does not read is dropped, and does not hold up others. */
static void test_slow_client(int other)
{
	struct arax_control_plain message = {.head = head_of(ARAX_CONTROL_DEVICES)};
	int fd = client();
	struct pollfd hung = {.fd = fd, .events = 0};
	uint64_t end = arax_now_ns() + TIMEOUT_MS * 1000000ull;

	while (!(hung.revents & POLLHUP) && arax_now_ns() < end) {
		send(fd, &message, sizeof(message), MSG_DONTWAIT | MSG_NOSIGNAL);
		poll(&hung, 1, 0);
	}
	CHECK(hung.revents & POLLHUP);
	close(fd);
	CHECK(json_has(other, ARAX_CONTROL_DEVICES, "cpu-basic"));
}

static void test_quota(void)
{
	struct arax_control_attach reply;
	int clients[5], fds[ARAX_FDS_MAX];

	for (int i = 0; i < 4; i++) {
		clients[i] = client();
		CHECK(attach(clients[i], "cpu-pthread", "", &reply, fds) == 0);
		CHECK(strcmp(reply.devices, "cpu-pthread") == 0);
		close(fds[0]);
		close(fds[1]);
	}
	clients[4] = client();
	CHECK(attach(clients[4], "", "", &reply, fds) == EDQUOT);
	for (int i = 0; i < 5; i++)
		close(clients[i]);
}

/* A client that had to wait for its tenant makes the daemon keep one more ready. */
static void test_burst(void)
{
	pid_t daemon = daemon_start(NULL, NULL);
	struct arax_control_attach message;
	int clients[3], fds[ARAX_FDS_MAX], other = client();

	CHECK_SOON(json_has(other, ARAX_CONTROL_STATUS, "\"ready\": 2"));
	pid_t zygote = (pid_t)zygote_of(other);
	CHECK(zygote > 0 && kill(zygote, SIGSTOP) == 0);
	for (int i = 0; i < 2; i++)
		attached(&clients[i]);
	clients[2] = client();
	message = (struct arax_control_attach){.head = head_of(ARAX_CONTROL_ATTACH)};
	CHECK(arax_socket_send(clients[2], &message, sizeof(message), NULL, 0) == 0);
	/* Answered after the request has come, since one loop serves both. */
	CHECK(json_has(clients[2], ARAX_CONTROL_STATUS, "\"attached\": 2"));
	CHECK(kill(zygote, SIGCONT) == 0);
	CHECK(arax_socket_recv(clients[2], &message, sizeof(message), fds, TIMEOUT_MS) ==
	      sizeof(message));
	CHECK(message.head.error == 0);
	close(fds[0]);
	close(fds[1]);
	CHECK_SOON(json_has(other, ARAX_CONTROL_STATUS, "\"ready\": 3"));
	for (int i = 0; i < 3; i++)
		close(clients[i]);
	stop(other, daemon);
}

/* Two that start at once: one serves, the other leaves quietly. */
static void test_race(void)
{
	pid_t a = daemon_start(NULL, NULL), b = daemon_start(NULL, NULL);
	struct arax_control_hello hello = {.head = head_of(ARAX_CONTROL_HELLO)};
	siginfo_t how = {0};
	int fds[ARAX_FDS_MAX], fd = client();

	CHECK(ask(fd, &hello, sizeof(hello), -1, fds) == 0);
	close(fds[0]);
	CHECK(hello.pid == a || hello.pid == b);
	pid_t loser = hello.pid == a ? b : a;
	CHECK_SOON(waitid(P_PID, (id_t)loser, &how, WEXITED | WNOHANG | WNOWAIT) == 0 &&
		   how.si_pid == loser);
	CHECK(ended(loser) == 0);
	stop(fd, hello.pid);
}

static void test_idle_exit(void)
{
	pid_t daemon = daemon_start("--idle-exit", "1");
	int fd = client();

	CHECK(json_has(fd, ARAX_CONTROL_STATUS, "\"daemon\""));
	close(fd);
	CHECK(ended(daemon) == 0);
	CHECK(access(socket_path, F_OK) < 0);
}

/* The daemon's end by signal leaves a client's tenant alone. */
static void test_terminate(void)
{
	struct arax_control_attach reply;
	pid_t daemon = daemon_start(NULL, NULL);
	int fd = client(), fds[ARAX_FDS_MAX];

	CHECK(attach(fd, "", "", &reply, fds) == 0);
	kill(daemon, SIGTERM);
	CHECK(ended(daemon) == 0);
	check_echo(fds[1]);
	CHECK(write(fds[1], "x", 1) == 1);
	CHECK_SOON(arax_socket_hung_up(fds[1]));
	close(fds[0]);
	close(fds[1]);
	close(fd);
}

/* No tenant can be started: clients are told, not left to wait. */
static void test_no_tenants(void)
{
	struct arax_control_hello hello = {.head = head_of(ARAX_CONTROL_HELLO)};
	char tenant[160];
	int fds[ARAX_FDS_MAX];

	snprintf(tenant, sizeof(tenant), "%s/arax-tenant", directory);
	CHECK(unlink(tenant) == 0);
	pid_t daemon = daemon_start(NULL, NULL);
	int fd = client();
	CHECK(ask(fd, &hello, sizeof(hello), -1, fds) == ENODEV);
	CHECK(json_has(fd, ARAX_CONTROL_DEVICES, "failed: arax-tenant does not start"));
	stop(fd, daemon);
}

int main(int argc, char **argv)
{
	if (!daemon_prepare(argc, argv))
		return 2;
	pid_t daemon = daemon_start(NULL, NULL);
	int fd = client();
	test_hello(fd);
	test_attach(fd);
	test_client_death();
	test_tenant_death(fd);
	test_build(fd);
	test_bad_messages(fd);
	test_slow_client(fd);
	test_quota();
	test_zygote(fd, daemon);
	test_stillborn(fd, daemon);
	stop(fd, daemon);
	test_burst();
	test_trace();
	test_race();
	test_idle_exit();
	test_terminate();
	test_no_tenants();
	return 0;
}
