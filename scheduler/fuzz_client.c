/* SPDX-License-Identifier: Apache-2.0
 *
 * The handshake: araxd's side of a client's connection (araxd_client.c), with a pool and a builder
 * that say what the input says. Whatever arrives, with whatever descriptors: a reply or the end of
 * that connection, nothing leaked and nothing left of the client.
 *
 * Input: one byte of how the pool is, then messages: what to send along (1), how (1), size (2),
 * bytes.
 */
#include "scheduler/araxd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "kernels/sandbox_walls.h"
#include "scheduler/araxd_adopt.h"
#include "scheduler/araxd_build.h"
#include "scheduler/araxd_device.h"
#include "scheduler/araxd_manage.h"
#include "scheduler/araxd_variants.h"
#include "scheduler/pool.h"
#include "scheduler/status.h"
#include "transport/fuzz.h"
#include "transport/protocol.h"
#include "transport/socket.h"

#define INFO_LATER 1   /* no tenant has been ready yet */
#define POOL_EMPTY 2   /* no tenant is ready */
#define POOL_BROKEN 4  /* none ever will be */
#define POOL_REFUSES 8 /* one is, and it cannot be had */
#define BUILDS_LATER 16
#define TENANT_CRASHES 32 /* the one that is replaced has died soon */
#define DEVICES_GONE 64	  /* those of processes of their own */

#define HOW_HEAD 1     /* the head is made good, but for type and id */
#define HOW_PROGRESS 2 /* afterwards the pool is as it should be, and who waits is served */

#define REACHED 32
static unsigned long answered[REACHED]; /* without an error, by type */

static uint8_t mode;
static struct araxd daemon_;
static struct tenant tenant;
static struct client *the_client;
static struct request *building;
static struct client *draining;
static struct arax_control_head drain_head;

/* ---- what araxd_client.c needs of the daemon */

int loop_change(struct loop *loop, struct source *source, uint32_t events)
{
	(void)loop;
	(void)source;
	(void)events;
	return 0;
}

int loop_add(struct loop *loop, struct source *source, uint32_t events)
{
	(void)loop;
	(void)events;
	if (!the_client)
		the_client = CONTAINER(source, struct client, socket);
	return 0;
}

char *variants_json(const struct araxd *daemon)
{
	(void)daemon;
	return strdup("{}");
}

void loop_remove(struct loop *loop, struct source *source)
{
	(void)loop;
	if (the_client && source == &the_client->socket)
		the_client = NULL;
	if (source->fd >= 0)
		close(source->fd);
	source->fd = -1;
}

void timer_set(struct loop *loop, struct timer *timer, uint64_t after_ms)
{
	(void)loop;
	timer->at_ns = after_ms;
}

void timer_clear(struct loop *loop, struct timer *timer)
{
	(void)loop;
	timer->at_ns = 0;
}

void araxd_progress(struct araxd *daemon)
{
	(void)daemon;
}

void araxd_idle(struct araxd *daemon)
{
	(void)daemon;
}

void araxd_unavailable(struct araxd *daemon, int error)
{
	while (daemon->waiting) {
		struct request *request = daemon->waiting;

		daemon->waiting = request->next;
		if (request->head.type == ARAX_CONTROL_ATTACH)
			request->client->attaching = false;
		client_reply_plain(request->client, &request->head, error, -1);
		request_free(request);
	}
}

void araxd_log(int level, const char *format, ...)
{
	char line[512];
	va_list args;

	(void)level;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
}

const struct arax_device_info *pool_info(const struct pool *pool)
{
	static const struct arax_device_info info = {.size = sizeof(info),
						     .global_mem_size = 1u << 30};

	(void)pool;
	return mode & INFO_LATER ? NULL : &info;
}

int pool_info_fd(const struct pool *pool)
{
	(void)pool;
	return 0;
}

int pool_attach(struct pool *pool, struct client *client, const struct arax_control_start *start,
		const char *program, int former, int *arena, int *link)
{
	(void)pool;
	CHECK(!client->tenant && (former == -1 || fcntl(former, F_GETFD) >= 0));
	CHECK(memchr(start->devices, 0, sizeof(start->devices)) && start->devices[0]);
	CHECK(config_policy_known(start->policy) && strlen(program) < sizeof(tenant.program));
	if (mode & POOL_EMPTY)
		return -EAGAIN;
	if (mode & POOL_REFUSES)
		return -ENOMEM;
	/* The tenant here is every client's, so the memory is the client's alone. */
	if (trace_share(&tenant.trace, &client->trace))
		return -ENOMEM;
	trace_close(&tenant.trace);
	tenant.trace = client->trace;
	*arena = dup(0);
	*link = dup(0);
	client->tenant = &tenant;
	return 0;
}

void pool_release(struct tenant *released)
{
	CHECK(released == &tenant);
}

void pool_end(struct tenant *ended)
{
	CHECK(ended == &tenant);
	client_tenant_ended(the_client, "ended", mode & TENANT_CRASHES ? 0 : UINT64_MAX);
}

const struct tenant *pool_tenants(const struct pool *pool)
{
	(void)pool;
	return NULL;
}

/* There was no araxd before this one. */
void adopt_widowed(struct client *client)
{
	CHECK(!client->absent);
}

void adopt_return(struct client *client, int arena)
{
	CHECK(!client->tenant && !client->arena_size && fcntl(arena, F_GETFD) >= 0);
}

void pool_waited(struct pool *pool)
{
	(void)pool;
}

void pool_fill(struct pool *pool)
{
	(void)pool;
}

struct pool_count pool_count(const struct pool *pool)
{
	(void)pool;
	return (struct pool_count){0};
}

unsigned pool_count_of(const struct pool *pool, const struct domain_id *id, bool domain)
{
	(void)pool;
	(void)id;
	(void)domain;
	return 0;
}

uint64_t pool_memory_of(const struct pool *pool, const struct domain_id *id)
{
	(void)pool;
	(void)id;
	return 0;
}

bool pool_broken(const struct pool *pool)
{
	(void)pool;
	return mode & POOL_BROKEN;
}

static void build_end(void)
{
	struct request *request = building;
	struct client *client = request ? request->client : NULL;

	building = NULL;
	if (!request)
		return;
	CHECK(request->fd >= 0 && fcntl(request->fd, F_GETFD) >= 0);
	client_reply_plain(client, &request->head, 0, 0);
	request_free(request);
}

void builder_submit(struct builder *builder, struct request *request, const char *compiler)
{
	(void)builder;
	(void)compiler;
	build_end();
	building = request;
	if (!(mode & BUILDS_LATER))
		build_end();
}

void builder_drop(struct builder *builder, const struct client *client)
{
	(void)builder;
	if (building && building->client == client) {
		request_free(building);
		building = NULL;
	}
}

char *status_json(const struct araxd *daemon, uid_t viewer)
{
	(void)daemon;
	(void)viewer;
	return strdup("{}");
}

bool status_visible(uid_t viewer, uid_t uid)
{
	return viewer == uid;
}

void status_printable(char *to, const char *from, size_t size)
{
	snprintf(to, size, "%.*s", (int)size - 1, from);
}

char *status_devices_json(const struct araxd *daemon, uid_t viewer)
{
	(void)daemon;
	(void)viewer;
	return strdup("{}");
}

bool devices_hold(const struct devices *devices, int arena)
{
	(void)devices;
	CHECK(arena >= 0);
	return false;
}

int devices_may_work(const struct devices *devices, const char *list)
{
	(void)devices;
	CHECK(memchr(list, 0, CONFIG_LIST) && list[0]);
	return mode & DEVICES_GONE && strncmp(list, "cpu", 3) ? -ENODEV : 0;
}

/* Devices go offline when everybody has left them: the answer comes later. */
int manage_request(struct client *client, const struct arax_control_manage *request)
{
	if (!memchr(request->name, 0, sizeof(request->name)) ||
	    !memchr(request->argument, 0, sizeof(request->argument)))
		return EPROTO;
	if (request->head.type == ARAX_CONTROL_OFFLINE && draining)
		return EBUSY;
	if (request->head.type == ARAX_CONTROL_OFFLINE) {
		draining = client;
		drain_head = request->head;
		client->requests++;
	} else {
		client_reply_plain(client, &request->head, 0, -1);
	}
	return 0;
}

void manage_drop(struct client *client)
{
	if (draining == client)
		draining = NULL;
}

/* ---- the client */

static const struct {
	uint16_t type, size;
} known[] = {
    {ARAX_CONTROL_HELLO, sizeof(struct arax_control_hello)},
    {ARAX_CONTROL_ATTACH, sizeof(struct arax_control_attach)},
    {ARAX_CONTROL_BUILD, sizeof(struct arax_control_plain)},
    {ARAX_CONTROL_STATUS, sizeof(struct arax_control_plain)},
    {ARAX_CONTROL_DEVICES, sizeof(struct arax_control_plain)},
    {ARAX_CONTROL_STOP, sizeof(struct arax_control_plain)},
    {ARAX_CONTROL_RELOAD, sizeof(struct arax_control_manage)},
    {ARAX_CONTROL_ONLINE, sizeof(struct arax_control_manage)},
    {ARAX_CONTROL_OFFLINE, sizeof(struct arax_control_manage)},
    {ARAX_CONTROL_SET_POLICY, sizeof(struct arax_control_manage)},
};
#define KNOWN (sizeof(known) / sizeof(known[0]))

struct message {
	uint8_t along, how;
	uint16_t size;
};

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t address_size = sizeof(address);

static void begin(void)
{
	if (daemon_.listening.fd)
		return;
	/* An address of the kernel's choice, with no file. */
	daemon_.listening.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	CHECK(!bind(daemon_.listening.fd, (struct sockaddr *)&address, sizeof(sa_family_t)));
	CHECK(!getsockname(daemon_.listening.fd, (struct sockaddr *)&address, &address_size));
	CHECK(!listen(daemon_.listening.fd, 8));
	config_defaults(&daemon_.config);
	daemon_.config.device[0] = (struct config_device){.name = "sim",
							  .backend = CONFIG_BACKEND_SIM,
							  .instances = 2,
							  .shared = true,
							  .enabled = true};
	daemon_.config.ndevices = 1;
	daemon_.spare = -1;
}

/* Descriptors that a client may send, wanted or not. */
static unsigned descriptors(uint8_t along, int fds[ARAX_FDS_MAX + 2])
{
	unsigned n = along % (ARAX_FDS_MAX + 3);

	for (unsigned i = 0; i < n; i++) {
		int pair[2];

		switch (along / 8 % 4) {
		case 0:
			fds[i] = arax_memfd_from("request", "some bytes", 10);
			break;
		case 1:
			fds[i] = memfd_create("request", MFD_CLOEXEC);
			break;
		case 2:
			CHECK(!pipe2(pair, O_CLOEXEC));
			close(pair[1]);
			fds[i] = pair[0];
			break;
		default:
			fds[i] = open("/", O_PATH | O_CLOEXEC);
		}
		CHECK(fds[i] >= 0);
	}
	return n;
}

/* As arax_socket_send(), which would refuse some of it. */
static void send_all(int fd, const void *data, size_t size, uint8_t along)
{
	char control[CMSG_SPACE(sizeof(int) * (ARAX_FDS_MAX + 2))] = {0};
	struct iovec iov = {(void *)data, size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	int fds[ARAX_FDS_MAX + 2];
	unsigned n = descriptors(along, fds);

	if (n) {
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * n);
		memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * n);
	}
	(void)!sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n)
		close(fds[--n]);
}

static void receive_all(int fd)
{
	_Alignas(8) char data[ARAX_CONTROL_MAX];
	const struct arax_control_head *head = (const void *)data;
	int fds[ARAX_FDS_MAX];
	ssize_t n;

	while ((n = arax_socket_recv(fd, data, sizeof(data), fds, 0)) > 0) {
		CHECK((size_t)n >= sizeof(*head) && head->magic == ARAX_CONTROL_MAGIC);
		CHECK(head->type & ARAX_CONTROL_REPLY && head->error >= 0);
		if (!head->error && (head->type & ~ARAX_CONTROL_REPLY) < REACHED)
			answered[head->type & ~ARAX_CONTROL_REPLY]++;
		for (int i = 0; i < ARAX_FDS_MAX; i++)
			if (fds[i] >= 0)
				close(fds[i]);
	}
}

static void progress(void)
{
	struct request *request = daemon_.waiting;

	mode = 0;
	build_end();
	if (draining) {
		client_reply_plain(draining, &drain_head, 0, -1);
		draining->requests--;
		draining = NULL;
	}
	if (!request)
		return;
	daemon_.waiting = request->next;
	if (client_serve(request))
		return;
	/* Its tenants have crashed too often for one at once. */
	CHECK(request->head.type == ARAX_CONTROL_ATTACH);
	request->next = daemon_.waiting;
	daemon_.waiting = request;
}

/* Must this be the end of the connection? */
static bool fatal(const struct arax_control_head *head, size_t size, unsigned nfds)
{
	size_t right = sizeof(struct arax_control_plain);

	if (size < sizeof(*head) || size > ARAX_CONTROL_MAX || nfds > ARAX_FDS_MAX ||
	    head->magic != ARAX_CONTROL_MAGIC)
		return true;
	for (size_t i = 0; i < KNOWN; i++)
		if (known[i].type == head->type)
			right = known[i].size;
	return head->major == ARAX_PROTOCOL_MAJOR && size != right;
}

static void step(int fd, const struct message *m, const uint8_t *data)
{
	_Alignas(8) uint8_t bytes[ARAX_CONTROL_MAX + 64];
	struct arax_control_head *head = (void *)bytes;

	memcpy(bytes, data, m->size);
	if (m->how & HOW_HEAD && m->size >= sizeof(*head)) {
		head->magic = ARAX_CONTROL_MAGIC;
		head->major = ARAX_PROTOCOL_MAJOR;
	}
	send_all(fd, bytes, m->size, m->along);
	the_client->socket.ready(&the_client->socket, EPOLLIN);
	if (fatal(head, m->size, m->along % (ARAX_FDS_MAX + 3))) {
		if (the_client)
			the_client->socket.ready(&the_client->socket, EPOLLIN);
		CHECK(!the_client);
	}
	if (m->how & HOW_PROGRESS && the_client)
		progress();
	receive_all(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct message m;
	int before, fd;

	if (!size)
		return 0;
	begin();
	mode = data[0];
	daemon_.stopping = false;
	before = test_fds_open();
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0 && !connect(fd, (struct sockaddr *)&address, address_size));
	client_accept(&daemon_);
	CHECK(the_client && daemon_.nclients == 1);
	for (size_t at = 1; size - at >= sizeof(m) && the_client; at += m.size) {
		memcpy(&m, data + at, sizeof(m));
		at += sizeof(m);
		m.size %= ARAX_CONTROL_MAX + 64;
		if (m.size > size - at)
			m.size = (uint16_t)(size - at);
		step(fd, &m, data + at);
	}
	close(fd);
	while (the_client)
		the_client->socket.ready(&the_client->socket, EPOLLIN);
	CHECK(!daemon_.nclients && !daemon_.clients && !daemon_.waiting && !building && !draining);
	CHECK(test_fds_open() == before);
	return 0;
}

/* ---- the grammar */

/* Texts without an end, other sizes, descriptors that nobody wants, unknown types. */
static void message_break(struct message *m, struct arax_control_attach *attach, uint64_t *random)
{
	switch (test_random(random) % 6) {
	case 0:
		memset(attach->program, 'x', sizeof(attach->program));
		break;
	case 1:
		memset(attach->devices, ',', sizeof(attach->devices));
		break;
	case 2:
		m->size = (uint16_t)(test_random(random) % (m->size + 1u));
		break;
	case 3:
		m->size = ARAX_CONTROL_MAX + 8;
		break;
	case 4:
		m->along = (uint8_t)test_random(random);
		break;
	default:
		attach->head.type = (uint16_t)(test_random(random) % 40);
	}
}

static size_t message_make(unsigned which, bool wrong, uint8_t *data, uint64_t *random)
{
	static const char *const devices[] = {"", "cpu", "cpu-basic", "sim,cpu-basic", "sim1", "x"};
	static const char *const policies[] = {"", "adaptive", "pinned", "unknown"};
	struct message m = {.how = HOW_HEAD, .size = known[which].size};
	union {
		struct arax_control_head head;
		struct arax_control_attach attach;
		struct arax_control_manage manage;
		char bytes[ARAX_CONTROL_MAX + 64];
	} message = {.head = {.type = known[which].type, .id = test_random(random)}};

	if (known[which].type == ARAX_CONTROL_BUILD)
		m.along = 1;
	if (known[which].type == ARAX_CONTROL_ATTACH) {
		strcpy(message.attach.devices, devices[test_random(random) % 6]);
		strcpy(message.attach.policy, policies[test_random(random) % 4]);
		strcpy(message.attach.program, "fuzz");
		m.along = test_random(random) % 3 == 0; /* the arena of a tenant that has died */
	}
	if (known[which].size == sizeof(struct arax_control_manage))
		strcpy(message.manage.name, policies[test_random(random) % 4]);
	if (test_random(random) % 4 == 0)
		m.how |= HOW_PROGRESS;
	if (wrong)
		message_break(&m, &message.attach, random);
	memcpy(data, &m, sizeof(m));
	memcpy(data + sizeof(m), &message, m.size);
	return sizeof(m) + m.size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	uint64_t random = seed;

	if (test_random(&random) % 4 || size + ARAX_CONTROL_MAX + 64 > max)
		return LLVMFuzzerMutate(data, size, max);
	if (!size)
		data[size++] = 0;
	return size + message_make(test_random(&random) % KNOWN, test_random(&random) % 2,
				   data + size, &random);
}

/* One that asks for everything, in every state of the pool, and some that break off with a mistake.
 */
size_t fuzz_seed(unsigned n, uint8_t *data, size_t max, char *name)
{
	static const uint8_t modes[] = {0,
					INFO_LATER,
					POOL_EMPTY,
					POOL_EMPTY | POOL_BROKEN,
					POOL_REFUSES,
					BUILDS_LATER,
					DEVICES_GONE};
	uint64_t random = n;
	size_t size = 1;

	(void)max;
	if (n >= sizeof(modes) + 12)
		return 0;
	data[0] = modes[n % sizeof(modes)];
	if (n < sizeof(modes))
		for (unsigned which = 0; which < KNOWN; which++)
			size += message_make(which, false, data + size, &random);
	else
		size += message_make(n % 4, true, data + size, &random);
	snprintf(name, 32, "client-%u", n);
	return size;
}

void fuzz_reached(void)
{
	for (unsigned i = 0; i < KNOWN; i++)
		CHECK(answered[known[i].type]);
}
