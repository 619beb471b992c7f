/* SPDX-License-Identifier: Apache-2.0 */
#include "raw.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "transport/socket.h"
#include "transport/testing.h"
#include "transport/wake.h"

#define PATIENCE_MS 60000

int raw_connect(void)
{
	const char *path = getenv("ARAX_SOCKET");

	CHECK(path);
	return arax_socket_connect(path);
}

struct arax_control_head raw_head(unsigned type)
{
	static uint64_t id;

	return (struct arax_control_head){.magic = ARAX_CONTROL_MAGIC,
					  .type = (uint16_t)type,
					  .major = ARAX_PROTOCOL_MAJOR,
					  .minor = ARAX_PROTOCOL_MINOR,
					  .id = ++id};
}

static void close_all(const int *fds)
{
	for (int i = 0; i < ARAX_FDS_MAX; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
}

static int ask(int fd, void *message, size_t size, const int *fds, unsigned nfds,
	       int got[ARAX_FDS_MAX])
{
	union {
		struct arax_control_head head;
		char bytes[ARAX_CONTROL_MAX];
	} reply;
	int error = arax_socket_send(fd, message, size, fds, nfds);

	if (error)
		return error;
	ssize_t n = arax_socket_recv(fd, &reply, sizeof(reply), got, PATIENCE_MS);
	if (n <= 0)
		return n ? (int)n : -ECONNRESET;
	memcpy(message, &reply, (size_t)n < size ? (size_t)n : size);
	return reply.head.error;
}

int raw_ask(int fd, void *message, size_t size, const int *fds, unsigned nfds)
{
	int got[ARAX_FDS_MAX] = {-1, -1, -1, -1};
	int error = ask(fd, message, size, fds, nfds, got);

	close_all(got);
	return error;
}

int raw_attach(struct raw *raw)
{
	struct arax_control_hello hello = {.head = raw_head(ARAX_CONTROL_HELLO)};
	struct arax_control_attach attach = {.head = raw_head(ARAX_CONTROL_ATTACH)};
	int fds[ARAX_FDS_MAX] = {-1, -1, -1, -1};

	*raw = (struct raw){.daemon = raw_connect(), .link = -1, .arena_fd = -1};
	if (raw->daemon < 0)
		return -raw->daemon;
	int error = raw_ask(raw->daemon, &hello, sizeof(hello), NULL, 0);
	if (!error)
		error = ask(raw->daemon, &attach, sizeof(attach), NULL, 0, fds);
	if (error) {
		close_all(fds);
		raw_close(raw);
		return error < 0 ? -error : error;
	}
	CHECK(fds[0] >= 0 && fds[1] >= 0);
	raw->arena_fd = fds[0];
	raw->link = fds[1];
	if (fds[2] >= 0)
		close(fds[2]);
	raw->size = attach.arena_size;
	return 0;
}

int raw_map(struct raw *raw, uint64_t base)
{
	struct arax_control_map map = {.head = raw_head(ARAX_CONTROL_MAP), .base = base};

	return raw_ask(raw->link, &map, sizeof(map), NULL, 0);
}

static void settle(struct raw *raw)
{
	const uint64_t gib = 1ull << 30, low = 0x400000000000ull, high = 0x500000000000ull;

	for (int i = 0; i < 32; i++) {
		uint64_t random;

		CHECK(getrandom(&random, sizeof(random), 0) == sizeof(random));
		uint64_t base = low + random % ((high - low - raw->size) / gib) * gib;
		void *at = mmap((void *)base, raw->size, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_NORESERVE, raw->arena_fd, 0);
		if (at == MAP_FAILED)
			continue;
		raw->base = at;
		int error = raw_map(raw, base);
		if (!error) {
			raw->shm = at;
			return;
		}
		CHECK(error == EEXIST);
		munmap(at, raw->size);
		raw->base = NULL;
	}
	CHECK(!"an address for the arena");
}

void raw_open(struct raw *raw)
{
	uint64_t deadline = arax_now_ns() + PATIENCE_MS * 1000000ull;
	const struct timespec pause = {.tv_nsec = 2000000};

	/* Those before may still be on their way out. */
	while (raw_attach(raw)) {
		CHECK(arax_now_ns() < deadline);
		nanosleep(&pause, NULL);
	}
	settle(raw);
	arax_ring_init(&raw->sq, &raw->shm->sq, raw->shm->sq_data, ARAX_SQ_BYTES);
	arax_ring_init(&raw->hq, &raw->shm->hq, raw->shm->hq_entries, ARAX_HQ_ENTRIES);
	arax_ring_init(&raw->cq, &raw->shm->cq, raw->shm->cq_entries, ARAX_CQ_ENTRIES);
}

void raw_close(struct raw *raw)
{
	if (raw->base)
		munmap(raw->base, raw->size);
	if (raw->link >= 0)
		close(raw->link);
	if (raw->arena_fd >= 0)
		close(raw->arena_fd);
	if (raw->daemon >= 0)
		close(raw->daemon);
	*raw = (struct raw){.daemon = -1, .link = -1, .arena_fd = -1};
}

bool raw_gone(const struct raw *raw, int ms)
{
	struct pollfd link = {.fd = raw->link, .events = 0};

	return poll(&link, 1, ms) > 0 && link.revents & (POLLHUP | POLLERR);
}

void raw_wake(struct raw *raw)
{
	arax_wake_ring(&raw->shm->tenant_wake);
}

/* Outcomes are thrown away, or the completion ring would be full. */
static void forget_outcomes(struct raw *raw)
{
	uint32_t entry;

	while (arax_ring_pop(&raw->cq, &entry) > 0)
		;
}

bool raw_send(struct raw *raw, const void *record, uint32_t size)
{
	uint64_t deadline = arax_now_ns() + PATIENCE_MS * 1000000ull;

	while (arax_ring_write(&raw->sq, record, size)) {
		forget_outcomes(raw);
		raw_wake(raw);
		if (raw_gone(raw, 1))
			return false;
		CHECK(arax_now_ns() < deadline);
	}
	raw_wake(raw);
	return true;
}

bool raw_taken(struct raw *raw)
{
	uint64_t deadline = arax_now_ns() + PATIENCE_MS * 1000000ull;

	while (atomic_load(&raw->shm->sq.head) != raw->sq.own) {
		forget_outcomes(raw);
		raw_wake(raw);
		if (raw_gone(raw, 1))
			return false;
		CHECK(arax_now_ns() < deadline);
	}
	return true;
}
