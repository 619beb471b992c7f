/* SPDX-License-Identifier: Apache-2.0
 *
 * See test_daemon.h. All that is started here dies with this process (PR_SET_PDEATHSIG; the
 * children of araxd by the end of their control socket or by araxd).
 */
#include "scheduler/test_daemon.h"

#include "transport/socket.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUNNING_MAX 8

char directory[] = "/tmp/arax-test-araxd-XXXXXX";
char socket_path[128];
static const char *araxd_path;
static pid_t running[RUNNING_MAX];

static void finish(void)
{
	char command[128];

	for (int i = 0; i < RUNNING_MAX; i++) {
		if (!running[i])
			continue;
		kill(running[i], SIGKILL);
		waitpid(running[i], NULL, 0);
	}
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	if (system(command) != 0)
		fprintf(stderr, "%s is left\n", directory);
}

static pid_t start(char *const argv[])
{
	pid_t self = getpid(), pid = fork();
	int i = 0;

	CHECK(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != self)
			_exit(1);
		execv(argv[0], argv);
		_exit(127);
	}
	while (running[i])
		i++;
	CHECK(i < RUNNING_MAX);
	running[i] = pid;
	return pid;
}

int ended(pid_t pid)
{
	int status, pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd ready = {.fd = pidfd, .events = POLLIN};

	CHECK(pidfd >= 0 && poll(&ready, 1, TIMEOUT_MS) == 1);
	close(pidfd);
	CHECK(waitpid(pid, &status, 0) == pid);
	for (int i = 0; i < RUNNING_MAX; i++)
		if (running[i] == pid)
			running[i] = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

pid_t daemon_start(const char *option, const char *value)
{
	char *argv[] = {(char *)(uintptr_t)araxd_path,
			"--socket",
			socket_path,
			"--libexec",
			directory,
			"--config",
			NULL,
			NULL,
			NULL,
			NULL};
	char config[160];

	snprintf(config, sizeof(config), "%s/arax.conf", directory);
	argv[6] = config;
	if (option) {
		argv[7] = (char *)(uintptr_t)option;
		argv[8] = (char *)(uintptr_t)value;
	}
	return start(argv);
}

int client(void)
{
	int fd = -1;

	CHECK_SOON((fd = arax_socket_connect(socket_path)) >= 0);
	return fd;
}

struct arax_control_head head_of(unsigned type)
{
	static uint64_t id;

	return (struct arax_control_head){
	    .magic = ARAX_CONTROL_MAGIC, .type = (uint16_t)type, .major = 1, .id = ++id};
}

/* Sends a message and takes its reply of the same size. Return: the reply's error. */
int ask(int fd, void *message, size_t size, int attached, int fds[ARAX_FDS_MAX])
{
	struct arax_control_head *head = message, sent = *head;

	CHECK(arax_socket_send(fd, message, size, &attached, attached >= 0) == 0);
	ssize_t n = arax_socket_recv(fd, message, size, fds, TIMEOUT_MS);
	if (n != (ssize_t)size)
		fprintf(stderr, "reply of %zd bytes\n", n);
	CHECK(n == (ssize_t)size);
	CHECK(head->magic == ARAX_CONTROL_MAGIC && head->id == sent.id &&
	      head->type == (sent.type | ARAX_CONTROL_REPLY));
	return head->error;
}

int ask_plain(int fd, unsigned type, int attached, int fds[ARAX_FDS_MAX])
{
	struct arax_control_plain message = {.head = head_of(type)};

	return ask(fd, &message, sizeof(message), attached, fds);
}

void stop(int fd, pid_t daemon)
{
	int fds[ARAX_FDS_MAX];

	CHECK(ask_plain(fd, ARAX_CONTROL_STOP, -1, fds) == 0);
	close(fd);
	CHECK(ended(daemon) == 0);
	CHECK(access(socket_path, F_OK) < 0);
}

int attach(int fd, const char *devices, const char *policy, struct arax_control_attach *reply,
	   int fds[ARAX_FDS_MAX])
{
	*reply = (struct arax_control_attach){.head = head_of(ARAX_CONTROL_ATTACH)};
	snprintf(reply->devices, sizeof(reply->devices), "%s", devices);
	snprintf(reply->policy, sizeof(reply->policy), "%s", policy);
	snprintf(reply->program, sizeof(reply->program), "the test");
	return ask(fd, reply, sizeof(*reply), -1, fds);
}

bool alive(pid_t pid)
{
	return kill(pid, 0) == 0;
}

/* The text of a JSON reply holds this. */
bool json_has(int fd, unsigned type, const char *text)
{
	int fds[ARAX_FDS_MAX];
	const void *data;
	size_t size;

	CHECK(ask_plain(fd, type, -1, fds) == 0 && fds[0] >= 0);
	CHECK(arax_memfd_map(fds[0], 1 << 24, &data, &size) == 0);
	bool has = memmem(data, size, text, strlen(text)) != NULL;
	munmap((void *)(uintptr_t)data, size);
	close(fds[0]);
	return has;
}

/* The state of a process as /proc has it, 0 when it is gone. */
char process_stat(pid_t pid, pid_t *parent)
{
	char path[32], state = 0;
	int ppid = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	FILE *file = fopen(path, "r");
	if (file && fscanf(file, "%*d (%*[^)]) %c %d", &state, &ppid) != 2)
		state = 0;
	if (file)
		fclose(file);
	*parent = ppid;
	return state;
}

int zombies(pid_t of)
{
	int count = 0;
	DIR *processes = opendir("/proc");

	CHECK(processes);
	for (const struct dirent *e; (e = readdir(processes));) {
		pid_t parent, pid = (pid_t)atoi(e->d_name);

		count += pid > 0 && process_stat(pid, &parent) == 'Z' && parent == of;
	}
	closedir(processes);
	return count;
}

/* Writes the configuration: what every test has, and more. */
void configure(const char *more)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/arax.conf", directory);
	FILE *config = fopen(path, "w");
	CHECK(config);
	fprintf(config,
		"[daemon]\nmax_clients_per_user = 4\n[cache]\ndirectory = %s/cache\n"
		"[compile]\nparallel = 2\n%s",
		directory, more);
	CHECK(fclose(config) == 0);
}

static void prepare(const char *fake)
{
	char path[192];

	CHECK(mkdtemp(directory));
	atexit(finish);
	snprintf(socket_path, sizeof(socket_path), "%s/sock", directory);
	snprintf(path, sizeof(path), "%s/arax-tenant", directory);
	CHECK(symlink(fake, path) == 0);
	snprintf(path, sizeof(path), "%s/arax-compile", directory);
	CHECK(symlink(fake, path) == 0);
	snprintf(path, sizeof(path), "%s/arax-device", directory);
	CHECK(symlink(fake, path) == 0);
	configure("");
}

bool daemon_prepare(int argc, char **argv)
{
	char *fake = argc == 3 ? realpath(argv[2], NULL) : NULL;

	if (!fake)
		return false;
	araxd_path = argv[1];
	prepare(fake);
	free(fake);
	return true;
}
