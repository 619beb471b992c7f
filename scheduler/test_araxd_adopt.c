/* SPDX-License-Identifier: Apache-2.0
 *
 * A daemon is killed and the next one takes over, with fake children: what it knows, what it
 * refuses (tenants that answer wrongly, others in their place, journals that are broken), and that
 * it hurts nobody. Arguments: the daemon, the fake child.
 */
#include "scheduler/test_daemon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A file beside the programs: what the fake children are to do. */
static void order(const char *what, bool on)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/%s", directory, what);
	if (on)
		close(open(path, O_WRONLY | O_CREAT, 0600));
	else
		unlink(path);
}

/* Whoever waits for a tenant without a daemon may take his time. */
static bool gone(pid_t pid)
{
	pid_t parent;
	char state = process_stat(pid, &parent);

	return !state || state == 'Z';
}

static void dies(pid_t daemon)
{
	CHECK(kill(daemon, SIGKILL) == 0 && ended(daemon) == 128 + SIGKILL);
}

struct application {
	int fd, link, arena, trace;
	pid_t tenant;
};

static struct application application(void)
{
	struct arax_control_attach reply;
	struct application a = {.fd = client()};
	int fds[ARAX_FDS_MAX];

	CHECK_SOON(attach(a.fd, "", "", &reply, fds) == 0);
	a.arena = fds[0];
	a.link = fds[1];
	a.trace = fds[2];
	a.tenant = reply.tenant_pid;
	return a;
}

static void says(const struct application *a, char byte)
{
	struct pollfd ready = {.fd = a->link, .events = POLLIN};

	CHECK(write(a->link, &byte, 1) == 1 && poll(&ready, 1, TIMEOUT_MS) == 1);
	CHECK(read(a->link, &byte, 1) == 1);
}

static void application_close(struct application *a)
{
	const int fds[] = {a->fd, a->link, a->arena, a->trace};

	for (int i = 0; i < 4; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	*a = (struct application){.fd = -1, .link = -1, .arena = -1, .trace = -1};
}

static void application_dies(struct application *a)
{
	pid_t tenant = a->tenant;

	CHECK(write(a->link, "x", 1) == 1);
	CHECK_SOON(gone(tenant));
	application_close(a);
}

static bool knows(int fd, const char *name, long number)
{
	char text[64];

	snprintf(text, sizeof(text), "\"%s\": %ld", name, number);
	return json_has(fd, ARAX_CONTROL_STATUS, text);
}

static int fds_of(pid_t pid)
{
	char path[32];
	int count = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	DIR *folder = opendir(path);
	CHECK(folder);
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

static void journal_path(char path[192])
{
	snprintf(path, 192, "%s.journal", socket_path);
}

/* ---- what is known */

static void test_taken_over(void)
{
	struct application a, b, more[4];
	struct arax_control_attach reply;
	int fds[ARAX_FDS_MAX];
	pid_t daemon = daemon_start(NULL, NULL);

	a = application();
	application_dies(&a);
	a = application();
	b = application();
	says(&a, 'c');
	dies(daemon);
	says(&a, 'c');
	daemon = daemon_start(NULL, NULL);
	int control = client();
	CHECK_SOON(knows(control, "tenant_pid", a.tenant) &&
		   knows(control, "tenant_pid", b.tenant));
	/* What its page and its client say now, and what the journal says of the first. */
	CHECK_SOON(knows(control, "commands", 1239) && knows(control, "attached", 2));
	CHECK(json_has(control, ARAX_CONTROL_STATUS, "\"program\": \"the test\""));
	CHECK(json_has(control, ARAX_CONTROL_STATUS, "\"totals\": {\n    \"clients\": 1,"));
	says(&a, 'e');
	says(&b, 'c');
	CHECK_SOON(knows(control, "commands", 1238));
	/* They count: four of a user may be there. */
	more[0] = application();
	more[1] = application();
	int fd = client();
	CHECK(attach(fd, "", "", &reply, fds) == EDQUOT);
	close(fd);
	/* Again, with those of both. */
	dies(daemon);
	close(control);
	daemon = daemon_start(NULL, NULL);
	control = client();
	CHECK_SOON(knows(control, "attached", 4));
	CHECK_SOON(knows(control, "commands", 1239) && knows(control, "commands", 1238));
	application_dies(&a);
	application_dies(&b);
	CHECK_SOON(knows(control, "attached", 2));
	CHECK_SOON(json_has(control, ARAX_CONTROL_STATUS, "\"totals\": {\n    \"clients\": 3,"));
	a = application();
	application_dies(&a);
	application_dies(&more[0]);
	application_dies(&more[1]);
	stop(control, daemon);
}

/* The application's tenant dies: it comes for another with its arena, and is known. */
static void test_returns(void)
{
	struct arax_control_attach reply = {.head = head_of(ARAX_CONTROL_ATTACH)};
	int fds[ARAX_FDS_MAX];
	struct stat was, is;
	pid_t daemon = daemon_start(NULL, NULL);
	struct application a = application(), b = application();

	dies(daemon);
	daemon = daemon_start(NULL, NULL);
	int fd = client(), control = client();
	CHECK_SOON(knows(control, "commands", 1237));
	CHECK_SOON(knows(control, "tenant_pid", b.tenant) &&
		   knows(control, "tenant_pid", a.tenant));
	CHECK(ask(fd, &reply, sizeof(reply), b.arena, fds) == 0);
	CHECK(reply.deaths == 1 && reply.tenant_pid != b.tenant && gone(b.tenant));
	CHECK(strcmp(reply.died, "has ended") == 0 && !gone(a.tenant));
	CHECK(fstat(fds[0], &is) == 0 && fstat(b.arena, &was) == 0 && is.st_ino == was.st_ino);
	CHECK(fstat(fds[2], &is) == 0 && fstat(b.trace, &was) == 0 && is.st_ino == was.st_ino);
	CHECK(knows(control, "attached", 2));
	/* With nobody there at all: nothing is known but the arena. */
	kill(reply.tenant_pid, SIGKILL);
	dies(daemon);
	close(control);
	close(fd);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	CHECK_SOON(gone(reply.tenant_pid));
	daemon = daemon_start(NULL, NULL);
	fd = client();
	reply = (struct arax_control_attach){.head = head_of(ARAX_CONTROL_ATTACH)};
	CHECK(ask(fd, &reply, sizeof(reply), b.arena, fds) == 0);
	CHECK(reply.deaths == 2 && strstr(reply.died, "no araxd"));
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	application_dies(&a);
	application_close(&b);
	CHECK(kill(reply.tenant_pid, SIGKILL) == 0);
	close(fd);
	fd = client();
	CHECK_SOON(knows(fd, "attached", 0));
	stop(fd, daemon);
}

/* ---- what is refused */

/* Nobody is there but who asks, and all is as it was. */
static bool quiet(int fd)
{
	return knows(fd, "attached", 0) && knows(fd, "ready", 2) && knows(fd, "starting", 0) &&
	       knows(fd, "connections", 1);
}

static void test_lies(void)
{
	static const char *const lies[] = {"bare",  "one",  "pipe",  "swapped", "short", "unsealed",
					   "trace", "size", "ready", "magic",	"twice"};
	enum { LIES = sizeof(lies) / sizeof(lies[0]) };
	pid_t daemon = daemon_start(NULL, NULL);
	int control = client();
	struct application a = application(), b;

	dies(daemon);
	close(control);
	daemon = daemon_start(NULL, NULL);
	control = client();
	CHECK_SOON(knows(control, "commands", 1237));
	application_dies(&a);
	CHECK_SOON(quiet(control));
	int fds = fds_of(daemon); /* with an honest one: what is known of its client stays */
	close(control);
	for (size_t i = 0; i < LIES; i++) {
		char file[32];

		a = application();
		dies(daemon);
		snprintf(file, sizeof(file), "adopt-%s", lies[i]);
		order(file, true);
		daemon = daemon_start(NULL, NULL);
		control = client();
		CHECK_SOON(gone(a.tenant) && arax_socket_hung_up(a.link));
		CHECK_SOON(knows(control, "attached", 0) && knows(control, "ready", 2));
		order(file, false);
		b = application();
		says(&b, 'e');
		application_dies(&b);
		application_close(&a);
		CHECK_SOON(quiet(control));
		CHECK_SOON(fds_of(daemon) <= fds);
		close(control);
	}
	int fd = client();
	stop(fd, daemon);
}

/* One that says nothing is there and counts; nobody waits for it. */
static void test_silent(void)
{
	pid_t daemon = daemon_start(NULL, NULL);
	struct application a = application(), b;

	dies(daemon);
	order("adopt-silent", true);
	daemon = daemon_start(NULL, NULL);
	int control = client();
	CHECK_SOON(knows(control, "tenant_pid", a.tenant) && knows(control, "attached", 1));
	order("adopt-silent", false);
	b = application();
	application_dies(&b);
	application_dies(&a);
	CHECK_SOON(knows(control, "attached", 0));
	stop(control, daemon);
}

/* We listen where the only tenant did. */
static int impostor(void)
{
	char path[256], name[64] = "", target[330];

	snprintf(path, sizeof(path), "%s.tenants", socket_path);
	DIR *folder = opendir(path);
	CHECK(folder);
	for (const struct dirent *e; (e = readdir(folder));) {
		if (e->d_name[0] == '.')
			continue;
		CHECK(!name[0] && strlen(e->d_name) < sizeof(name));
		strcpy(name, e->d_name);
	}
	closedir(folder);
	CHECK(name[0]);
	snprintf(target, sizeof(target), "%s/%s", path, name);
	CHECK(unlink(target) == 0);
	int listening = arax_socket_listen(target, 0600);
	CHECK(listening >= 0);
	return listening;
}

static void test_impostor(void)
{
	struct arax_control_plain message;
	int fds[ARAX_FDS_MAX];

	/* No spares: the one socket is the tenant's. */
	configure("[daemon]\npool = 0\n");
	pid_t daemon = daemon_start(NULL, NULL);
	struct application a = application();

	dies(daemon);
	int listening = impostor();
	daemon = daemon_start(NULL, NULL);
	int control = client();
	CHECK_SOON(gone(a.tenant));
	CHECK(json_has(control, ARAX_CONTROL_STATUS, "\"clients\": []"));
	int fd = accept(listening, NULL, NULL);
	CHECK(fd >= 0 && arax_socket_recv(fd, &message, sizeof(message), fds, TIMEOUT_MS) == 0);
	close(fd);
	close(listening);
	application_close(&a);
	configure("");
	stop(control, daemon);
}

/* Its client goes while nobody looks; a kernel of it could keep the tenant from leaving. */
static void test_client_gone(void)
{
	pid_t daemon = daemon_start(NULL, NULL), tenant;
	int told[2], link[2];

	CHECK(pipe(told) == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET, 0, link) == 0);
	pid_t process = fork();
	CHECK(process >= 0);
	if (process == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		struct application a = application();
		CHECK(arax_socket_send(link[1], "l", 1, &a.link, 1) == 0);
		CHECK(write(told[1], &a.tenant, sizeof(a.tenant)) == sizeof(a.tenant));
		pause();
		_exit(0);
	}
	CHECK(read(told[0], &tenant, sizeof(tenant)) == sizeof(tenant));
	dies(daemon);
	kill(process, SIGKILL);
	CHECK(waitpid(process, NULL, 0) == process && !gone(tenant));
	daemon = daemon_start(NULL, NULL);
	CHECK_SOON(gone(tenant));
	int fd = client();
	CHECK(knows(fd, "attached", 0));
	for (int i = 0; i < 2; i++)
		CHECK(close(told[i]) == 0 && close(link[i]) == 0);
	stop(fd, daemon);
}

/* And while the next one looks. */
static void test_client_goes(void)
{
	pid_t daemon = daemon_start(NULL, NULL), tenant;
	int told[2];

	CHECK(pipe(told) == 0);
	pid_t process = fork();
	CHECK(process >= 0);
	if (process == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		struct application a = application();
		CHECK(write(told[1], &a.tenant, sizeof(a.tenant)) == sizeof(a.tenant));
		pause();
		_exit(0);
	}
	CHECK(read(told[0], &tenant, sizeof(tenant)) == sizeof(tenant));
	dies(daemon);
	daemon = daemon_start(NULL, NULL);
	int fd = client();
	CHECK_SOON(knows(fd, "tenant_pid", tenant));
	kill(process, SIGKILL);
	CHECK(waitpid(process, NULL, 0) == process);
	CHECK_SOON(gone(tenant) && knows(fd, "attached", 0));
	for (int i = 0; i < 2; i++)
		close(told[i]);
	stop(fd, daemon);
}

/* ---- the journal and the socket */

static void spoil(unsigned how, const char *path)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0 && fstat(fd, &st) == 0 && (st.st_mode & 0777) == 0600);
	switch (how) {
	case 0: /* in the middle of the last record, which is the tenant's */
		CHECK(ftruncate(fd, st.st_size - 5) == 0);
		break;
	case 1:
		CHECK(fchmod(fd, 0666) == 0);
		break;
	case 2:
		CHECK(pwrite(fd, "nonsense", 8, 0) == 8);
		break;
	case 3:
		CHECK(ftruncate(fd, 0) == 0);
		break;
	default:
		CHECK(unlink(path) == 0 && mkdir(path, 0700) == 0);
	}
	close(fd);
}

/* What cannot be read is not taken over, and goes on. */
static void test_spoiled(void)
{
	char path[192];

	journal_path(path);
	for (unsigned how = 0; how < 5; how++) {
		pid_t daemon = daemon_start(NULL, NULL);
		struct application a = application(), b;

		dies(daemon);
		spoil(how, path);
		daemon = daemon_start(NULL, NULL);
		int control = client();
		b = application();
		CHECK(knows(control, "attached", 1));
		says(&a, 'e');
		says(&b, 'e');
		application_dies(&b);
		application_dies(&a);
		CHECK_SOON(knows(control, "attached", 0));
		stop(control, daemon);
		if (how == 4)
			CHECK(rmdir(path) == 0);
		CHECK(access(path, F_OK) < 0);
	}
}

/* One socket, one daemon; and one that leaves for the next loses nothing either. */
static void test_two(void)
{
	char path[192], folder[192];
	pid_t daemon = daemon_start(NULL, NULL);
	struct application a = application();

	CHECK(ended(daemon_start(NULL, NULL)) == 0);
	int control = client();
	CHECK(knows(control, "attached", 1));
	close(control);
	kill(daemon, SIGTERM);
	CHECK(ended(daemon) == 0);
	daemon = daemon_start(NULL, NULL);
	control = client();
	CHECK_SOON(knows(control, "tenant_pid", a.tenant));
	says(&a, 'e');
	/* It leaves with its last application, whoever gave it the tenant. */
	int fds[ARAX_FDS_MAX];
	CHECK(ask_plain(control, ARAX_CONTROL_STOP, -1, fds) == 0);
	says(&a, 'e');
	application_dies(&a);
	CHECK(ended(daemon) == 0);
	close(control);
	journal_path(path);
	snprintf(folder, sizeof(folder), "%s.tenants", socket_path);
	CHECK(access(path, F_OK) < 0 && access(folder, F_OK) < 0);
}

int main(int argc, char **argv)
{
	if (!daemon_prepare(argc, argv))
		return 2;
	test_taken_over();
	test_returns();
	test_lies();
	test_silent();
	test_impostor();
	test_client_gone();
	test_client_goes();
	test_spoiled();
	test_two();
	return 0;
}
