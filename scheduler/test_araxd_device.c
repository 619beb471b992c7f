/* SPDX-License-Identifier: Apache-2.0
 *
 * Devices with processes of their own, as the daemon sees them, with fake ones: they come when they
 * are needed, die, hang and come back, and everybody concerned is told; configuration, policy and
 * devices change while applications run. Arguments: the daemon, the fake child.
 */
#include "scheduler/test_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
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

/* How often these words are in what a process was told. */
static unsigned told(const char *who, pid_t pid, const char *words)
{
	char path[192], text[65536];
	unsigned count = 0;

	snprintf(path, sizeof(path), "%s/told-%s%d", directory, who, pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	for (const char *at = text; (at = strstr(at, words)); at++)
		count++;
	return count;
}

/* Was a tenant told the first of these before the second? */
static bool in_order(pid_t pid, const char *first, const char *second)
{
	char path[192], text[65536];

	snprintf(path, sizeof(path), "%s/told-%d", directory, pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	const char *at = strstr(text, first);
	return at && strstr(at, second);
}

/* Whether whoever has to wait for it has done so does not matter. */
static bool has_ended(pid_t pid)
{
	pid_t parent;
	char state = process_stat(pid, &parent);

	return !state || state == 'Z';
}

/* RELOAD, ONLINE, OFFLINE, SET_POLICY. Return: the error; text is what was said. */
static int manage(int fd, unsigned type, const char *name, char text[512])
{
	struct arax_control_manage message = {.head = head_of(type)};
	int fds[ARAX_FDS_MAX];

	snprintf(message.name, sizeof(message.name), "%s", name);
	int error = ask(fd, &message, sizeof(message), -1, fds);
	memcpy(text, message.text, sizeof(message.text));
	return error;
}

/* The process of a device, from the list of devices; 0: none. */
static pid_t process_of(int fd, const char *name)
{
	char key[64];
	int fds[ARAX_FDS_MAX];
	const void *data;
	size_t size;

	CHECK(ask_plain(fd, ARAX_CONTROL_DEVICES, -1, fds) == 0 && fds[0] >= 0);
	CHECK(arax_memfd_map(fds[0], 1 << 24, &data, &size) == 0);
	char *text = strndup(data, size);
	munmap((void *)(uintptr_t)data, size);
	close(fds[0]);
	snprintf(key, sizeof(key), "\"name\": \"%s\"", name);
	const char *at = strstr(text, key);
	at = at ? strstr(at, "\"pid\": ") : NULL;
	pid_t pid = at ? (pid_t)atoi(at + strlen("\"pid\": ")) : 0;
	free(text);
	return pid;
}

/* A client with a tenant; its link stays open. */
struct application {
	int fd, link;
	pid_t tenant;
};

static struct application application(const char *devices, const char *policy)
{
	struct arax_control_attach reply;
	struct application a = {.fd = client()};
	int fds[ARAX_FDS_MAX];

	CHECK_SOON(attach(a.fd, devices, policy, &reply, fds) == 0);
	a.link = fds[1];
	a.tenant = reply.tenant_pid;
	close(fds[0]);
	close(fds[2]);
	return a;
}

static void application_end(struct application *a)
{
	close(a->fd);
	CHECK_SOON(!alive(a->tenant));
	close(a->link);
}

static void application_says(const struct application *a, char byte)
{
	struct pollfd ready = {.fd = a->link, .events = POLLIN};

	CHECK(write(a->link, &byte, 1) == 1 && poll(&ready, 1, TIMEOUT_MS) == 1);
	CHECK(read(a->link, &byte, 1) == 1);
}

/* Whether its devices have something to do for it. */
static void application_works(const struct application *a, bool on)
{
	char name[32];

	snprintf(name, sizeof(name), "busy-%d", a->tenant);
	order(name, on);
}

#define SIM "[device sim]\nbackend = sim\nmemory = 64M\n"

/* Shared: one process for all of a domain, which comes when the first needs it. */
static void test_device_shared(void)
{
	configure("[scheduling]\npolicy = fair\n" SIM "options = seed=3\ninstances = 2\n");
	pid_t daemon = daemon_start(NULL, NULL);
	int control = client();
	/* What it is is known before anybody needs it. */
	CHECK_SOON(json_has(control, ARAX_CONTROL_DEVICES, "\"memory\": 67108864"));
	struct application a = application("", ""), b = application("cpu,sim1", "");
	CHECK_SOON(told("", a.tenant, "ADD sim0 ") == 1);
	CHECK(told("", a.tenant, "share 1024 depth 8") >= 1);
	CHECK_SOON(told("", a.tenant, "memory 67108864 link 1") == 2);
	CHECK_SOON(told("", b.tenant, "ADD sim1 2 share") == 1);
	CHECK(told("", b.tenant, "sim0") == 0);
	pid_t sim0 = process_of(control, "sim0"), sim1 = process_of(control, "sim1");
	CHECK(sim0 > 0 && sim1 > 0 && sim0 != sim1);
	CHECK(told("sim0-", sim0, "START sim  memory=67108864,seed=3") == 1);
	CHECK_SOON(told("sim0-", sim0, "LINK") == 1 && told("sim1-", sim1, "arena 1") == 2);
	CHECK(json_has(control, ARAX_CONTROL_DEVICES, "SIMULATED"));
	CHECK(json_has(control, ARAX_CONTROL_DEVICES, "\"processes\": ["));
	CHECK(json_has(control, ARAX_CONTROL_DEVICES, "\"memory_used\": 8192"));
	CHECK(json_has(control, ARAX_CONTROL_STATUS, "\"share\": 1024"));
	CHECK(json_has(control, ARAX_CONTROL_STATUS, "\"resident\": 4096"));

	/* Both work: each has its part, over both devices, of which one may have only one. Tenants
	 * say that they do, and then have something in the devices. */
	application_says(&a, 'b');
	application_says(&b, 'b');
	application_works(&a, true);
	application_works(&b, true);
	CHECK_SOON(told("", a.tenant, "LEASE sim1") > 0 && told("sim1-", sim1, "SHARE") > 0);
	CHECK_SOON(told("sim1-", sim1, "weight 1024 depth 8 memory 67108864") > 0);
	application_works(&b, false);

	/* One goes: the process knows. All go: it stays a while for the next. */
	application_end(&b);
	CHECK_SOON(told("sim1-", sim1, "UNLINK") == 1);
	CHECK(told("sim0-", sim0, "UNLINK") == 0);
	application_end(&a);
	CHECK_SOON(told("sim0-", sim0, "UNLINK") == 1);
	CHECK(process_of(control, "sim0") == sim0);
	a = application("sim", "");
	CHECK_SOON(told("", a.tenant, "ADD") == 2);
	CHECK_SOON(told("sim0-", sim0, "\nLINK") == 2);

	/* It dies: its tenants know, and there is another one, with another number. */
	CHECK(kill(sim0, SIGKILL) == 0);
	CHECK_SOON(told("", a.tenant, "LOST sim0 ") == 1);
	CHECK_SOON(told("", a.tenant, "ADD sim0 4 ") == 1);
	CHECK(process_of(control, "sim0") != sim0);
	CHECK(told("", a.tenant, "sim1") == told("", a.tenant, "ADD sim1"));
	CHECK_SOON(zombies(daemon) == 0);
	application_end(&a);
	stop(control, daemon);
}

/* Each application has its own, and what happens to one concerns no other. */
static void test_device_private(void)
{
	configure(SIM "shared = no\n");
	pid_t daemon = daemon_start(NULL, NULL);
	int control = client();
	struct application a = application("", ""), b = application("", "");

	CHECK_SOON(told("", a.tenant, "ADD sim ") == 1 && told("", b.tenant, "ADD sim ") == 1);
	pid_t one = process_of(control, "sim");
	CHECK(json_has(control, ARAX_CONTROL_DEVICES, "\"tenants\": 2"));
	CHECK(kill(one, SIGKILL) == 0);
	CHECK_SOON(told("", a.tenant, "LOST sim 2 ") + told("", b.tenant, "LOST sim 2 ") == 1);
	CHECK_SOON(told("", a.tenant, "ADD sim 3 ") + told("", b.tenant, "ADD sim 3 ") == 1);
	application_end(&a);
	application_end(&b);
	/* With the application goes its process. */
	CHECK_SOON(process_of(control, "sim") == 0);
	CHECK_SOON(zombies(daemon) == 0);
	stop(control, daemon);
}

/* A library that fails, crashes or hangs is reported, and what works is there all the while. */
static void test_discovery(void)
{
	struct arax_control_attach reply;
	int fds[ARAX_FDS_MAX];

	configure("[device bad]\nbackend = opencl\nlibrary = libbad.so\n"
		  "[device crash]\nbackend = opencl\nlibrary = libcrash.so\ndevice = 3\n"
		  "[device hang]\nbackend = opencl\nlibrary = libhang.so\n" SIM);
	order("fail-bad", true);
	order("crash-crash", true);
	order("hang-hang", true);
	pid_t daemon = daemon_start(NULL, NULL);
	int control = client();
	struct application a = application("", ""), lone = application("hang", "");
	CHECK_SOON(told("", a.tenant, "ADD sim ") == 1);
	CHECK_SOON(json_has(control, ARAX_CONTROL_DEVICES, "failed: no such library"));
	CHECK_SOON(json_has(control, ARAX_CONTROL_DEVICES, "failed: was ended by SIGABRT"));
	CHECK(json_has(control, ARAX_CONTROL_DEVICES, "starting"));
	/* Who wants nothing else is told, and does not wait. */
	int fd = client();
	CHECK(attach(fd, "bad", "", &reply, fds) == ENODEV);
	CHECK(attach(fd, "bad,crash", "", &reply, fds) == ENODEV);
	close(fd);
	/* Programs for it come with what they were built from. */
	fd = client();
	CHECK(attach(fd, "cpu,bad", "", &reply, fds) == 0 && reply.flags == ARAX_ATTACH_REQUESTS);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	close(fd);
	fd = client();
	CHECK_SOON(attach(fd, "cpu,sim", "", &reply, fds) == 0);
	CHECK(reply.flags == 0);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	close(fd);
	order("fail-bad", false);
	order("crash-crash", false);
	CHECK_SOON(told("", a.tenant, "ADD bad ") == 1 && told("", a.tenant, "ADD crash ") == 1);
	CHECK(told("crash-", process_of(control, "crash"), "START opencl libcrash.so \n") == 1);
	CHECK_SOON(json_has(control, ARAX_CONTROL_DEVICES, "failed: did not answer within 10 s"));
	CHECK_SOON(!alive(lone.tenant));
	CHECK(json_has(control, ARAX_CONTROL_STATUS, "\"attached\": 1"));
	close(lone.fd);
	close(lone.link);
	order("hang-hang", false);
	CHECK_SOON(told("", a.tenant, "ADD hang ") == 1);
	application_end(&a);
	CHECK_SOON(zombies(daemon) == 0);
	stop(control, daemon);
}

static void test_offline(void)
{
	char text[512];

	configure(SIM "[device off]\nbackend = sim\nenabled = no\n");
	pid_t daemon = daemon_start(NULL, NULL);
	int control = client();
	CHECK(manage(control, ARAX_CONTROL_OFFLINE, "nothing", text) == ENODEV && text[0]);
	CHECK(manage(control, ARAX_CONTROL_OFFLINE, "cpu-basic", text) == ENODEV);
	CHECK(strstr(text, "own"));
	CHECK(manage(control, ARAX_CONTROL_ONLINE, "off", text) == EINVAL);
	CHECK(json_has(control, ARAX_CONTROL_DEVICES, "disabled by the configuration"));
	struct application a = application("", "");
	CHECK_SOON(told("", a.tenant, "ADD sim 2 ") == 1);
	CHECK(told("", a.tenant, "off") == 0);
	pid_t process = process_of(control, "sim");

	/* Drained, then it ends; nobody loses anything. */
	CHECK(manage(control, ARAX_CONTROL_OFFLINE, "sim", text) == 0);
	CHECK(strcmp(text, "sim is offline") == 0);
	CHECK(told("", a.tenant, "DRAIN sim 2 ") == 1 && told("", a.tenant, "LOST") == 0);
	CHECK_SOON(!alive(process));
	CHECK(json_has(control, ARAX_CONTROL_DEVICES, "\"state\": \"offline\""));
	struct application b = application("", "");
	CHECK(manage(control, ARAX_CONTROL_ONLINE, "sim", text) == 0);
	CHECK_SOON(told("", a.tenant, "ADD sim 3 ") == 1 && told("", b.tenant, "ADD sim 2 ") == 1);

	/* One that does not answer is told that it may stay. */
	order("stuck-sim", true);
	struct arax_control_manage offline = {.head = head_of(ARAX_CONTROL_OFFLINE), .name = "sim"};
	int other = client(), fds[ARAX_FDS_MAX];
	CHECK(arax_socket_send(other, &offline, sizeof(offline), NULL, 0) == 0);
	CHECK_SOON(told("", a.tenant, "DRAIN sim 3 ") == 1);
	CHECK(json_has(control, ARAX_CONTROL_DEVICES, "draining"));
	CHECK(manage(control, ARAX_CONTROL_ONLINE, "sim", text) == 0);
	CHECK_SOON(told("", a.tenant, "ONLINE sim 3 ") == 1);
	CHECK(arax_socket_recv(other, &offline, sizeof(offline), fds, TIMEOUT_MS) ==
	      sizeof(offline));
	CHECK(offline.head.error == ECANCELED);
	/* Who waits goes away; who drains goes away. */
	offline =
	    (struct arax_control_manage){.head = head_of(ARAX_CONTROL_OFFLINE), .name = "sim"};
	CHECK(arax_socket_send(other, &offline, sizeof(offline), NULL, 0) == 0);
	CHECK_SOON(told("", b.tenant, "DRAIN sim 2 ") == 2);
	close(other);
	application_end(&b);
	application_end(&a);
	CHECK_SOON(process_of(control, "sim") == 0);
	order("stuck-sim", false);
	stop(control, daemon);
}

static void test_reload(void)
{
	char text[512];

	configure(SIM);
	pid_t daemon = daemon_start(NULL, NULL);
	int control = client();
	struct application a = application("", ""), own = application("", "round-robin");
	CHECK_SOON(told("", a.tenant, "ADD sim 2 ") == 1);

	configure(SIM "speed = 3\n[scheduling]\npolicy = fair\n");
	CHECK(manage(control, ARAX_CONTROL_RELOAD, "", text) == EINVAL);
	CHECK(strstr(text, "arax.conf:10: unknown key 'speed'"));
	CHECK(json_has(control, ARAX_CONTROL_STATUS, "\"policy\": \"adaptive\""));
	CHECK(told("", a.tenant, "DRAIN") == 0 && told("", a.tenant, "POLICY") == 0);

	/* One comes, one changes, the policy is another, a name has to wait. */
	configure("[device sim]\nbackend = sim\nmemory = 32M\n[device more]\nbackend = sim\n"
		  "[scheduling]\npolicy = elastic\n[device]\nname = Other\n");
	CHECK(manage(control, ARAX_CONTROL_RELOAD, "", text) == 0);
	CHECK(strstr(text, "in force") && strstr(text, "after a restart: [device] name"));
	CHECK_SOON(told("", a.tenant, "ADD more ") == 1 && told("", a.tenant, "DRAIN sim 2 ") == 1);
	CHECK_SOON(told("", a.tenant, "ADD sim ") == 2);
	CHECK(told("", a.tenant, "LOST") == 0);
	CHECK(told("sim-", process_of(control, "sim"), "memory=33554432") == 1);
	CHECK(told("", a.tenant, "POLICY elastic \n") == 1);
	CHECK(told("", own.tenant, "POLICY") == 0); /* it asked for its own */
	CHECK(json_has(control, ARAX_CONTROL_STATUS, "\"policy\": \"elastic\""));

	/* Limits hold from now on. */
	CHECK_SOON(json_has(control, ARAX_CONTROL_STATUS, "\"starting\": 0"));
	configure("[daemon]\npool = 0\n[device more]\nbackend = sim\n[scheduling]\n"
		  "policy = elastic\n[device sim]\nbackend = sim\nmemory = 32M\n");
	CHECK(manage(control, ARAX_CONTROL_RELOAD, "", text) == 0);
	CHECK_SOON(json_has(control, ARAX_CONTROL_STATUS, "\"ready\": 0"));

	/* By signal; one goes. One that does not drain loses it: test_offline has the patience. */
	configure("[device more]\nbackend = sim\n[scheduling]\npolicy = random\nseed = 5\n");
	CHECK(kill(daemon, SIGHUP) == 0);
	CHECK_SOON(told("", a.tenant, "POLICY random 5\n") == 1);
	CHECK_SOON(told("", a.tenant, "DRAIN sim ") == 2);
	CHECK_SOON(!json_has(control, ARAX_CONTROL_DEVICES, "\"name\": \"sim\""));
	CHECK(told("", a.tenant, "more") == 1 + told("", a.tenant, "LEASE more"));
	application_end(&a);
	application_end(&own);
	stop(control, daemon);
}

static void test_policy(void)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "[scheduling]\nrules = program=the* -> cpu-basic, kernel=a -> sim, "
		 "user=%u -> x, program=no -> y, user=98765 -> z\n",
		 getuid());
	configure(text);
	pid_t daemon = daemon_start(NULL, NULL);
	int control = client();
	struct application a = application("", ""), pinned = application("", "pinned");

	/* What its policy has to know it is told, and only what is about it. */
	CHECK_SOON(told("", pinned.tenant, "POLICY pinned *->cpu-basic,kernel=a->sim,*->x\n") == 1);
	CHECK(told("", pinned.tenant, "program") == 0 && told("", a.tenant, "POLICY") == 0);
	CHECK(manage(control, ARAX_CONTROL_SET_POLICY, "best", text) == EINVAL && text[0]);
	CHECK(manage(control, ARAX_CONTROL_SET_POLICY, "fair", text) == 0);
	CHECK(strstr(text, "2 running applications"));
	CHECK_SOON(told("", a.tenant, "POLICY fair \n") == 1);
	CHECK_SOON(told("", pinned.tenant, "POLICY fair \n") == 1);
	CHECK(json_has(control, ARAX_CONTROL_STATUS, "\"policy\": \"fair\""));
	CHECK(!json_has(control, ARAX_CONTROL_STATUS, "\"policy\": \"pinned\""));
	application_end(&a);
	application_end(&pinned);
	stop(control, daemon);
}

/* Those who work share, at once and until they stop; who does not read its messages harms nobody.
 */
static void test_leases(void)
{
	char text[512];

	configure("[scheduling]\nweights = user=0 -> 200\npolicy = elastic\n" SIM
		  "instances = 4\n");
	pid_t daemon = daemon_start(NULL, NULL);
	int control = client();
	struct application a = application("", ""), b = application("", "");
	CHECK_SOON(told("", a.tenant, "ADD sim") == 4 && told("", b.tenant, "ADD sim") == 4);
	application_works(&a, true);
	application_works(&b, true);
	CHECK_SOON(told("", a.tenant, "share 0 ") >= 2 && told("", b.tenant, "share 0 ") >= 2);
	/* One stops, and the other has everything again. */
	application_works(&b, false);
	CHECK_SOON(told("", a.tenant, "share 1024 ") == 6);
	/* Its word is good for a moment, since the devices do nothing for it. */
	application_says(&b, 'b');
	CHECK_SOON(told("", a.tenant, "share 0 ") >= 4);
	CHECK_SOON(told("", a.tenant, "share 1024 ") == 8);
	application_works(&a, false);

	/* Stopped, it cannot answer; the other goes on, and it is told when it goes on, too. */
	CHECK(kill(b.tenant, SIGSTOP) == 0);
	unsigned before = told("", a.tenant, "DRAIN");
	struct arax_control_manage offline = {.head = head_of(ARAX_CONTROL_OFFLINE),
					      .name = "sim1"};
	int other = client(), fds[ARAX_FDS_MAX];
	CHECK(arax_socket_send(other, &offline, sizeof(offline), NULL, 0) == 0);
	CHECK_SOON(told("", a.tenant, "DRAIN") == before + 1);
	CHECK(kill(b.tenant, SIGCONT) == 0);
	CHECK(arax_socket_recv(other, &offline, sizeof(offline), fds, TIMEOUT_MS) ==
	      sizeof(offline));
	CHECK(offline.head.error == 0);
	close(other);

	/* A link that the device does not make is not tried again and again. */
	order("refuse-sim1", true);
	CHECK(manage(control, ARAX_CONTROL_ONLINE, "sim1", text) == 0);
	CHECK_SOON(told("", a.tenant, "LOST sim1") == 1 && told("", b.tenant, "LOST sim1") == 1);
	CHECK_SOON(told("sim1-", process_of(control, "sim1"), "LINK") == 2);
	order("refuse-sim1", false);
	application_end(&a);
	application_end(&b);
	stop(control, daemon);
}

/* What one has learned the next one knows, also of another daemon; nobody is told without devices.
 */
static void test_costs(void)
{
	char learned[64];

	configure("");
	pid_t daemon = daemon_start(NULL, NULL);
	int control = client();
	struct application a = application("", "");
	CHECK(json_has(control, ARAX_CONTROL_STATUS, "\"attached\": 1"));
	CHECK(told("", a.tenant, "COSTS") == 0);
	configure(SIM);
	CHECK(kill(daemon, SIGHUP) == 0);
	CHECK_SOON(told("", a.tenant, "COSTS '") == 1 && told("", a.tenant, "ADD sim ") == 1);
	snprintf(learned, sizeof(learned), "COSTS 'learned by %d'\n", a.tenant);
	application_end(&a);
	CHECK_SOON(json_has(control, ARAX_CONTROL_STATUS, "\"attached\": 0"));
	a = application("", "");
	CHECK_SOON(told("", a.tenant, learned) == 1);
	snprintf(learned, sizeof(learned), "COSTS 'learned by %d'\n", a.tenant);
	application_end(&a);
	stop(control, daemon);
	daemon = daemon_start(NULL, NULL);
	control = client();
	a = application("", "");
	CHECK_SOON(told("", a.tenant, learned) == 1);
	application_end(&a);
	stop(control, daemon);
}

/* Whose queues are all of low priority has a quarter of the weight: 205 of 1024 beside another. */
static void test_priority(void)
{
	configure("[scheduling]\npolicy = fair\n" SIM);
	pid_t daemon = daemon_start(NULL, NULL);
	int control = client();
	struct application a = application("sim", ""), b = application("sim", "");

	CHECK_SOON(told("", a.tenant, "ADD") == 1 && told("", b.tenant, "ADD") == 1);
	pid_t process = process_of(control, "sim");
	application_says(&a, 'l');
	application_says(&a, 'b');
	application_says(&b, 'b');
	application_works(&a, true);
	application_works(&b, true);
	CHECK_SOON(told("sim-", process, "weight 205 ") > 0 &&
		   told("sim-", process, "weight 819 ") > 0);
	application_works(&a, false);
	application_works(&b, false);
	application_end(&a);
	application_end(&b);
	stop(control, daemon);
}

/* A tenant dies; its client's next one comes when the process has let go of what both have, or has
 * ended because it does not. */
static void test_parting(void)
{
	configure(SIM);
	pid_t daemon = daemon_start(NULL, NULL);
	int control = client();
	int fd = client(), fds[ARAX_FDS_MAX], arena = -1;
	struct arax_control_attach reply;

	CHECK_SOON(attach(fd, "sim", "", &reply, fds) == 0);
	for (int keeps = 0; keeps < 2; keeps++) {
		pid_t tenant = reply.tenant_pid, process;

		CHECK_SOON(told("", tenant, "ADD sim ") == 1);
		process = process_of(control, "sim");
		if (arena >= 0)
			close(arena);
		arena = fds[0];
		close(fds[1]);
		close(fds[2]);
		order("keep-sim", keeps);
		CHECK(kill(tenant, SIGKILL) == 0);
		reply = (struct arax_control_attach){.head = head_of(ARAX_CONTROL_ATTACH),
						     .devices = "sim"};
		CHECK(ask(fd, &reply, sizeof(reply), arena, fds) == 0);
		CHECK(reply.tenant_pid != tenant && has_ended(process) == keeps);
		CHECK(told("sim-", process, "UNLINK") == 1 + (unsigned)keeps);
	}
	order("keep-sim", false);
	close(arena);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	close(fd);
	CHECK_SOON(!alive(reply.tenant_pid));
	stop(control, daemon);
}

/* The daemon's end by signal leaves device processes that somebody uses alone. */
static void test_daemon_ends(void)
{
	configure(SIM "[device lone]\nbackend = sim\n");
	pid_t daemon = daemon_start(NULL, NULL);
	int control = client();
	struct application a = application("sim,cpu", "");

	CHECK_SOON(told("", a.tenant, "ADD sim ") == 1);
	pid_t process = process_of(control, "sim");
	CHECK(kill(daemon, SIGTERM) == 0);
	CHECK(ended(daemon) == 0);
	CHECK(told("sim-", process, "UNLINK") == 0);
	application_says(&a, 'e');
	close(control);
	application_says(&a, 'B');
	CHECK(write(a.link, "x", 1) == 1);
	CHECK_SOON(!alive(a.tenant));
	close(a.fd);
	close(a.link);
}

/* A daemon is killed. The next one gives its tenants the device anew before the old process goes,
 * so that they always have one; a process that has died meanwhile is lost. */
static void test_daemon_killed(void)
{
	configure(SIM);
	pid_t daemon = daemon_start(NULL, NULL);
	int control = client();
	struct application a = application("sim", ""), b = application("sim,cpu", "");

	CHECK_SOON(told("", a.tenant, "ADD sim 2") == 1 && told("", b.tenant, "ADD sim 2") == 1);
	pid_t process = process_of(control, "sim");
	for (unsigned i = 0; i < 2; i++) {
		char add[32], drain[32];

		CHECK(kill(daemon, SIGKILL) == 0 && ended(daemon) == 128 + SIGKILL);
		close(control);
		/* The tenants' process goes on. */
		CHECK(alive(process) && told("sim-", process, "UNLINK") == 0);
		if (i == 1)
			CHECK(kill(process, SIGKILL) == 0);
		daemon = daemon_start(NULL, NULL);
		control = client();
		snprintf(add, sizeof(add), "ADD sim %u", 3 + i);
		snprintf(drain, sizeof(drain), "%s sim %u", i ? "LOST" : "DRAIN", 2 + i);
		CHECK_SOON(told("", a.tenant, drain) == 1 && told("", b.tenant, drain) == 1);
		CHECK_SOON(told("", a.tenant, add) == 1 && told("", b.tenant, add) == 1);
		CHECK_SOON(has_ended(process));
		CHECK_SOON(process_of(control, "sim") && process_of(control, "sim") != process);
		process = process_of(control, "sim");
		application_says(&a, 'e');
	}
	CHECK(in_order(a.tenant, "ADD sim 3", "DRAIN sim 2"));
	/* Not in the configuration any more: drained, and nothing in its place. */
	CHECK(kill(daemon, SIGKILL) == 0 && ended(daemon) == 128 + SIGKILL);
	close(control);
	configure("");
	daemon = daemon_start(NULL, NULL);
	control = client();
	CHECK_SOON(told("", b.tenant, "DRAIN sim 4") == 1 && has_ended(process));
	CHECK(write(b.link, "x", 1) == 1);
	/* Who has nothing else is ended. */
	CHECK_SOON(json_has(control, ARAX_CONTROL_STATUS, "\"attached\": 0"));
	close(a.fd);
	close(a.link);
	close(b.fd);
	close(b.link);
	stop(control, daemon);
}

int main(int argc, char **argv)
{
	if (!daemon_prepare(argc, argv))
		return 2;
	test_device_shared();
	test_device_private();
	test_discovery();
	test_offline();
	test_reload();
	test_policy();
	test_leases();
	test_costs();
	test_priority();
	test_parting();
	test_daemon_ends();
	test_daemon_killed();
	return 0;
}
