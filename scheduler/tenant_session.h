/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests of the real arax-tenant: this side plays araxd (descriptor 3, START) and the client
 * (MAP over the link, records in the rings). Every wait has a deadline and ends early when the
 * tenant dies; a tenant that was started is killed when the test ends, however it ends.
 */
#ifndef ARAX_SCHEDULER_TENANT_SESSION_H
#define ARAX_SCHEDULER_TENANT_SESSION_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "transport/control.h"
#include "transport/protocol.h"
#include "transport/ring.h"
#include "transport/socket.h"
#include "transport/testing.h"
#include "transport/wake.h"

#define ARENA_SIZE ((uint64_t)64 << 20)
#define DEADLINE_NS 30000000000ull

static const char *tenant_path, *tenant_option;

/* Handles and places in the heap. */
#define QUEUE ARAX_HANDLE(ARAX_HANDLE_QUEUE, 1)
#define QUEUE2 ARAX_HANDLE(ARAX_HANDLE_QUEUE, 2)
#define LOOSE ARAX_HANDLE(ARAX_HANDLE_QUEUE, 3)
#define PROGRAM ARAX_HANDLE(ARAX_HANDLE_PROGRAM, 1)
#define KERNEL(n) ARAX_HANDLE(ARAX_HANDLE_KERNEL, 1 + (n))
#define MEM(n) ARAX_HANDLE(ARAX_HANDLE_MEM, 1 + (n))
#define DATA (ARAX_HEAP_OFFSET + 0x100000) /* MEM(0): 1 MiB */
#define DATA2 (ARAX_HEAP_OFFSET + 0x400000)
#define PRINT (ARAX_HEAP_OFFSET + 0x300000)

static struct session {
	pid_t pid;
	int control, link, arena_fd;
	char *arena;
	struct arax_shm *shm;
	struct arax_stats *stats;
	struct arax_ring sq, hq, cq;
	struct arax_spin spin;
	bool complete[ARAX_SLOTS], host_ready[ARAX_SLOTS];
	uint32_t order[ARAX_SLOTS * 2], norder; /* completions as they came */
} s;

static pid_t started; /* to be killed at exit */

static uint32_t limit_commands, limit_objects; /* of the next one; 0: none */

static inline void kill_started(void)
{
	if (started > 0) {
		kill(started, SIGKILL);
		waitpid(started, NULL, 0);
	}
}

static inline void spawn(int fd)
{
	s.pid = fork();
	CHECK(s.pid >= 0);
	if (s.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (fd == 3)
			fcntl(3, F_SETFD, 0);
		else if (dup2(fd, 3) < 0)
			_exit(120);
		execl(tenant_path, "arax-tenant", tenant_option, (char *)NULL);
		_exit(121);
	}
	started = s.pid;
}

/* Return: the exit status, within the deadline. */
static inline int wait_exit(void)
{
	int fd = (int)syscall(SYS_pidfd_open, s.pid, 0), status;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	CHECK(fd >= 0 && poll(&p, 1, 30000) == 1);
	close(fd);
	CHECK(waitpid(s.pid, &status, 0) == s.pid);
	started = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static inline void check_ready(void)
{
	struct arax_control_ready ready;
	int fds[ARAX_FDS_MAX];
	const void *data;
	size_t size;
	CHECK(arax_socket_recv(s.control, &ready, sizeof(ready), fds, 60000) == sizeof(ready));
	CHECK(ready.head.type == ARAX_CONTROL_READY && fds[0] >= 0);
	CHECK(!arax_memfd_map(fds[0], 1 << 20, &data, &size));
	const struct arax_device_info *info = data;
	CHECK(size == sizeof(*info) && info->size == size && info->max_group_size == 1024);
	munmap((void *)data, size);
	close(fds[0]);
}

static inline void send_start(const char *devices, const char *policy)
{
	int pair[2];
	struct arax_control_start start = {
	    .head = {.magic = ARAX_CONTROL_MAGIC, .type = ARAX_CONTROL_START, .major = 1},
	    .arena_size = ARENA_SIZE,
	    .commands = limit_commands,
	    .objects = limit_objects,
	};
	snprintf(start.devices, sizeof(start.devices), "%s", devices);
	snprintf(start.policy, sizeof(start.policy), "%s", policy);
	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	int arena = arax_memfd_new("arena", ARENA_SIZE);
	int stats = arax_memfd_new("stats", sizeof(struct arax_stats));
	CHECK(arena >= 0 && stats >= 0);
	s.arena = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, arena, 0);
	s.stats = mmap(NULL, sizeof(*s.stats), PROT_READ | PROT_WRITE, MAP_SHARED, stats, 0);
	CHECK(s.arena != MAP_FAILED && s.stats != MAP_FAILED);
	const int fds[] = {arena, pair[1], stats};
	CHECK(!arax_socket_send(s.control, &start, sizeof(start), fds, 3));
	s.arena_fd = arena;
	close(stats);
	close(pair[1]);
	s.link = pair[0];
}

static inline int map_at(uint64_t base)
{
	struct arax_control_map map = {
	    .head = {.magic = ARAX_CONTROL_MAGIC, .type = ARAX_CONTROL_MAP, .major = 1},
	    .base = base,
	};
	int fds[ARAX_FDS_MAX];
	CHECK(!arax_socket_send(s.link, &map, sizeof(map), NULL, 0));
	CHECK(arax_socket_recv(s.link, &map, sizeof(map), fds, 30000) == sizeof(map));
	CHECK(map.head.type == (ARAX_CONTROL_MAP | ARAX_CONTROL_REPLY));
	return map.head.error;
}

/* The client's view of the arena moves to where the tenant has it. */
static inline void settle_address(void)
{
#ifdef __SANITIZE_THREAD__ /* allows mappings in few places only */
	const uint64_t base = 0x551000000000ull;
#else
	const uint64_t base = 0x400000000000ull + ((uint64_t)getpid() << 30) % (1ull << 43);
#endif
	CHECK(map_at(12345) == EINVAL);
	CHECK(mremap(s.arena, ARENA_SIZE, ARENA_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
		     (void *)(uintptr_t)base) != MAP_FAILED);
	s.arena = (char *)(uintptr_t)base;
	CHECK(map_at(base) == 0);
	s.shm = (void *)s.arena;
	arax_ring_init(&s.sq, &s.shm->sq, s.shm->sq_data, ARAX_SQ_BYTES);
	arax_ring_init(&s.hq, &s.shm->hq, s.shm->hq_entries, ARAX_HQ_ENTRIES);
	arax_ring_init(&s.cq, &s.shm->cq, s.shm->cq_entries, ARAX_CQ_ENTRIES);
	arax_spin_init(&s.spin, 50000);
}

static inline void begin(const char *devices, const char *policy)
{
	int pair[2];
	memset(&s, 0, sizeof(s));
	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	s.control = pair[0];
	spawn(pair[1]);
	close(pair[1]);
	check_ready();
	send_start(devices, policy);
	settle_address();
}

static inline void end(int want)
{
	if (s.link >= 0)
		close(s.link);
	int got = wait_exit();
	if (got != want)
		fprintf(stderr, "tenant ended with %d\n", got);
	CHECK(got == want);
	close(s.control);
	close(s.arena_fd);
	munmap(s.arena, ARENA_SIZE);
	munmap(s.stats, sizeof(*s.stats));
}

/* Builds a record from a struct, waits and a tail, and sends it. */
static inline void send_record(void *fixed, uint16_t op, uint32_t slot, uint32_t queue,
			       const uint32_t *waits, unsigned nwait, const void *tail,
			       uint32_t tail_size)
{
	static _Alignas(8) char record[ARAX_RECORD_MAX];
	struct arax_record *head = fixed;
	size_t size = arax_record_fixed_size(op), wait_size = (nwait * 4 + 7u) & ~7u;
	head->op = op;
	head->slot = slot;
	head->queue = queue;
	head->nwait = (uint16_t)nwait;
	head->tail_size = tail_size;
	head->size = (uint32_t)(size + wait_size + ((tail_size + 7u) & ~7u));
	memset(record, 0, head->size);
	memcpy(record, fixed, size);
	if (nwait)
		memcpy(record + size, waits, nwait * 4);
	if (tail_size)
		memcpy(record + size + wait_size, tail, tail_size);
	if (slot != ARAX_NO_SLOT) {
		s.complete[slot] = s.host_ready[slot] = false;
		atomic_store(&s.shm->slots[slot].status, 3);
	}
	uint64_t deadline = arax_now_ns() + DEADLINE_NS;
	while (arax_ring_write(&s.sq, record, head->size) == -EAGAIN)
		CHECK(arax_now_ns() < deadline);
	arax_wake_ring(&s.shm->tenant_wake);
}

static inline bool cq_pending(void *arg)
{
	(void)arg;
	return arax_ring_pending(&s.cq);
}

static inline void take_entries(void)
{
	uint32_t entry;
	int rc;
	while ((rc = arax_ring_pop(&s.cq, &entry)) > 0) {
		uint32_t slot = ARAX_ENTRY_SLOT(entry);
		CHECK(slot < ARAX_SLOTS);
		if (ARAX_ENTRY_KIND(entry) == ARAX_CQ_COMPLETE) {
			CHECK(!s.complete[slot] && atomic_load(&s.shm->slots[slot].status) <= 0);
			s.complete[slot] = true;
			s.order[s.norder++ % (ARAX_SLOTS * 2)] = slot;
		} else {
			CHECK(ARAX_ENTRY_KIND(entry) == ARAX_CQ_HOST_READY);
			s.host_ready[slot] = true;
		}
	}
	CHECK(!rc);
}

static inline void wait_flag(const bool *flag)
{
	uint64_t deadline = arax_now_ns() + DEADLINE_NS;
	for (take_entries(); !*flag; take_entries()) {
		CHECK(arax_now_ns() < deadline);
		CHECK(!arax_socket_hung_up(s.link));
		arax_wake_wait(&s.shm->client_wake, &s.spin, cq_pending, NULL, 100);
	}
}

static inline int32_t outcome(uint32_t slot)
{
	wait_flag(&s.complete[slot]);
	const struct arax_slot *result = &s.shm->slots[slot];
	CHECK(result->submit_ns <= result->start_ns && result->start_ns <= result->end_ns);
	return atomic_load(&result->status);
}

static inline void answer(uint32_t slot, int status)
{
	atomic_store(&s.shm->slots[slot].status, status);
	CHECK(!arax_ring_push(&s.hq, ARAX_ENTRY(status < 0, slot)));
	arax_wake_ring(&s.shm->tenant_wake);
}

static inline void marker(uint32_t slot, uint32_t queue, bool all, bool barrier,
			  const uint32_t *waits, unsigned nwait)
{
	struct arax_op_marker op = {.all = all, .barrier = barrier};
	send_record(&op, ARAX_OP_MARKER, slot, queue, waits, nwait, NULL, 0);
}

static inline void host(uint32_t slot, uint32_t queue, const uint32_t *waits, unsigned nwait)
{
	struct arax_op_host op = {.access = ARAX_ACCESS_NONE};
	send_record(&op, ARAX_OP_HOST, slot, queue, waits, nwait, NULL, 0);
}

static inline void user(uint32_t slot)
{
	struct arax_op_user op = {.unused = 0};
	send_record(&op, ARAX_OP_USER, slot, 0, NULL, 0, NULL, 0);
}

static inline void copy(uint32_t slot, uint32_t queue, uint64_t src, uint64_t dst, uint64_t size)
{
	struct arax_op_copy op = {.src_off = src, .src_len = size, .dst_off = dst, .dst_len = size};
	op.width = size;
	op.height = op.depth = 1;
	send_record(&op, ARAX_OP_COPY, slot, queue, NULL, 0, NULL, 0);
}

static inline void define_queue(uint32_t handle, bool out_of_order)
{
	struct arax_op_queue_define op = {.queue = handle, .out_of_order = out_of_order};
	send_record(&op, ARAX_OP_QUEUE_DEFINE, ARAX_NO_SLOT, 0, NULL, 0, NULL, 0);
}

static inline void define_mem(unsigned n, uint64_t offset, uint64_t size)
{
	struct arax_op_mem_define op = {
	    .mem = MEM(n), .type = 0x10F0, .data_off = offset, .data_len = size};
	send_record(&op, ARAX_OP_MEM_DEFINE, ARAX_NO_SLOT, 0, NULL, 0, NULL, 0);
}

static inline void drop_mem(unsigned n)
{
	struct arax_op_mem_drop op = {.mem = MEM(n)};
	send_record(&op, ARAX_OP_MEM_DROP, ARAX_NO_SLOT, 0, NULL, 0, NULL, 0);
}

#endif
