/* SPDX-License-Identifier: Apache-2.0
 *
 * The real arax-tenant, end to end: this test plays araxd (descriptor 3, START) and the client (MAP
 * over the link, records in the rings). Every wait has a deadline and ends early when the tenant
 * dies; a tenant that was started is killed when the test ends, however it ends.
 */
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

#include "devices/test_pocl.h"
#include "transport/control.h"
#include "transport/protocol.h"
#include "transport/ring.h"
#include "transport/socket.h"
#include "transport/testing.h"
#include "transport/wake.h"
#include "scheduler/tenant_session.h"

static const char source[] =
    "kernel void null(void) {}\n"
    "kernel void add(global int *a, int n) { a[get_global_id(0)] += n; }\n"
    "kernel void slow(global int *a, int n) { int v = a[get_global_id(0)];\n"
    "	for (int i = 0; i < n; i++) v = v * 1664525 + 1013904223; a[get_global_id(0)] = v; }\n"
    "kernel void spin(global volatile int *a, int n) { while (n && a[0] != 77) ; }\n"
    "kernel void hello(int n) { printf(\"hello %d\\n\", n); }\n";

static void *result;
static size_t result_size;

enum { NULLK, ADD, SLOW, SPIN, HELLO, NKERNELS };
static const char *const kernel_names[] = {"null", "add", "slow", "spin", "hello"};

static void launch(uint32_t slot, uint32_t queue, int kernel, uint64_t items, int value,
		   const uint32_t *waits, unsigned nwait)
{
	struct {
		struct arax_arg mem, value;
		int32_t bytes[2];
	} both = {{ARAX_ARG_MEM, MEM(0), 0}, {ARAX_ARG_VALUE, 0, 4}, {value, 0}};
	struct arax_op_launch op = {
	    .kernel = KERNEL(kernel), .work_dim = 1, .nargs = 2, .global0 = items};
	const void *tail = &both;
	uint32_t size = sizeof(both);
	if (kernel == NULLK) {
		op.nargs = size = 0;
	} else if (kernel == HELLO) {
		op.nargs = 1;
		op.flags = ARAX_LAUNCH_PRINTF;
		op.print_off = PRINT;
		op.print_len = 65536;
		tail = &both.value;
		size -= sizeof(both.mem);
	}
	send_record(&op, ARAX_OP_LAUNCH, slot, queue, waits, nwait, tail, size);
}

static void define_all(void)
{
	struct arax_op_program_load load = {
	    .program = PROGRAM, .binary_off = DATA2, .binary_len = result_size};
	define_queue(QUEUE, false);
	define_queue(QUEUE2, false);
	define_queue(LOOSE, true);
	define_mem(0, DATA, 1 << 20);
	memcpy(s.arena + DATA2, result, result_size);
	send_record(&load, ARAX_OP_PROGRAM_LOAD, 100, 0, NULL, 0, NULL, 0);
	CHECK(outcome(100) == 0);
	memset(s.arena + DATA2, 0, result_size);
	for (uint32_t i = 0; i < NKERNELS; i++) {
		struct arax_op_kernel_define op = {
		    .kernel = KERNEL(i), .program = PROGRAM, .nargs = i == NULLK ? 0 : 2};
		if (i == HELLO)
			op.nargs = 1;
		send_record(&op, ARAX_OP_KERNEL_DEFINE, ARAX_NO_SLOT, 0, NULL, 0, kernel_names[i],
			    (uint32_t)strlen(kernel_names[i]));
	}
}

static void test_markers_and_copies(void)
{
	const uint64_t big = 8 << 20;
	for (uint32_t i = 0; i < 50; i++)
		marker(i, QUEUE, i % 2, false, NULL, 0);
	CHECK(outcome(49) == 0 && s.complete[0]);
	memset(s.arena + DATA2, 5, big);
	copy(1, QUEUE, DATA2, DATA2 + big, big); /* copy engine */
	copy(2, QUEUE, DATA2 + big, DATA2 + 2 * big, 1000);
	copy(3, LOOSE, DATA2, PRINT, 16);
	CHECK(outcome(2) == 0 && outcome(3) == 0 && s.complete[1]);
	CHECK(!memcmp(s.arena + DATA2, s.arena + DATA2 + big, big));
	CHECK(!memcmp(s.arena + DATA2, s.arena + DATA2 + 2 * big, 1000));
}

static void test_boxes(void)
{
	struct arax_op_fill fill = {.dst_off = DATA2, .dst_len = 1 << 20, .width = 12, .height = 4};
	struct arax_op_copy op = {
	    .src_off = DATA2, .src_len = 4096, .dst_off = DATA, .dst_len = 4096};
	memset(s.arena + DATA2, 9, 4096);
	memset(s.arena + DATA, 0, 4096);
	fill.depth = 2;
	fill.dst_row_pitch = 100;
	fill.dst_slice_pitch = 1000;
	send_record(&fill, ARAX_OP_FILL, 1, QUEUE, NULL, 0, "abc", 3);
	op.width = 13;
	op.height = 4;
	op.depth = 2;
	op.src_row_pitch = 100;
	op.src_slice_pitch = 1000;
	op.dst_row_pitch = 13;
	op.dst_slice_pitch = 13 * 4;
	send_record(&op, ARAX_OP_COPY, 2, QUEUE, NULL, 0, NULL, 0);
	CHECK(outcome(2) == 0);
	for (int i = 0; i < 8; i++)
		CHECK(!memcmp(s.arena + DATA + 13 * i, "abcabcabcabc\x09", 13));
	CHECK(s.arena[DATA + 13 * 8] == 0 && s.arena[DATA2 + 12] == 9);
	/* A large pattern fill takes another way. */
	fill = (struct arax_op_fill){
	    .dst_off = DATA2, .dst_len = 3 << 20, .width = 3 << 20, .height = 1, .depth = 1};
	send_record(&fill, ARAX_OP_FILL, 3, QUEUE, NULL, 0, "xyz", 3);
	CHECK(outcome(3) == 0);
	for (uint64_t i = 0; i < 3 << 20; i++)
		CHECK(s.arena[DATA2 + i] == "xyz"[i % 3]);
}

static void test_host_and_user(void)
{
	user(10);
	host(11, QUEUE, (const uint32_t[]){10}, 1);
	marker(12, QUEUE, false, false, NULL, 0);
	marker(13, QUEUE2, false, false, NULL, 0);
	CHECK(outcome(13) == 0); /* blocked commands do not stall other queues */
	CHECK(!s.host_ready[11] && !s.complete[12]);
	answer(10, 0);
	wait_flag(&s.host_ready[11]);
	CHECK(!s.complete[12] && !s.complete[11]);
	answer(11, 0);
	CHECK(outcome(12) == 0);
	/* Failure of a user event spreads over wait lists, also to a host command. */
	user(20);
	marker(21, LOOSE, false, false, (const uint32_t[]){20}, 1);
	host(22, LOOSE, (const uint32_t[]){21}, 1);
	marker(23, LOOSE, true, true, NULL, 0);
	answer(20, -77);
	CHECK(outcome(21) == -14 && outcome(22) == -14 && outcome(23) == 0);
	CHECK(!s.host_ready[22]);
	/* User events that are set, and slots used again, before the tenant read their records. */
	for (uint32_t i = 0; i < 500; i++) {
		struct arax_op_user op = {.unused = 0};
		uint32_t slot = 30 + i % 3;
		send_record(&op, ARAX_OP_USER, slot, 0, NULL, 0, NULL, 0);
		answer(slot, 0);
		marker(1000 + i, QUEUE, false, false, &slot, 1);
	}
	CHECK(outcome(1499) == 0);
	/* The flag of a wait list that failed before. */
	struct arax_op_marker op = {.head.flags = ARAX_RECORD_FAILED_WAIT};
	send_record(&op, ARAX_OP_MARKER, 40, QUEUE, NULL, 0, NULL, 0);
	CHECK(outcome(40) == -14);
}

/* Nothing runs and all that is in flight waits for the client: the tenant says so. */
static void test_idle(void)
{
	uint64_t deadline = arax_now_ns() + DEADLINE_NS;
	user(10);
	marker(11, QUEUE, false, false, (const uint32_t[]){10}, 1);
	while (!atomic_load(&s.shm->tenant_idle) ||
	       atomic_load(&s.shm->sq.head) != atomic_load(&s.shm->sq.tail))
		CHECK(arax_now_ns() < deadline);
	answer(10, 0);
	CHECK(outcome(11) == 0);
}

static void test_launches(int rounds)
{
	const int n = 1000;
	int *data = (int *)(void *)(s.arena + DATA);
	uint32_t last = 0;
	memset(data, 0, 1 << 20);
	s.norder = 0;
	for (int i = 0; i < rounds; i++) {
		last = (uint32_t)(200 + i);
		launch(last, QUEUE, ADD, (uint64_t)n, 3, NULL, 0);
	}
	CHECK(outcome(last) == 0);
	for (int i = 0; i < n; i++)
		CHECK(data[i] == 3 * rounds);
	/* In-order completion. */
	CHECK(s.norder == (uint32_t)rounds);
	for (int i = 0; i < rounds; i++)
		CHECK(s.order[i] == (uint32_t)(200 + i) && s.complete[200 + i]);
}

/* A memory object is dropped, and its handle defined anew, while launches use the old one. */
static void test_drop_in_flight(void)
{
	int *data = (int *)(void *)(s.arena + DATA);
	memset(data, 0, 4096);
	user(10);
	launch(11, QUEUE, ADD, 16, 5, (const uint32_t[]){10}, 1);
	drop_mem(0);
	define_mem(0, DATA + 4096, 4096);
	launch(12, QUEUE, ADD, 16, 7, NULL, 0);
	memset(data + 1024, 0, 4096);
	answer(10, 0);
	CHECK(outcome(12) == 0);
	CHECK(data[0] == 5 && data[1024] == 7);
	define_mem(0, DATA, 1 << 20);
}

static void test_printf(void)
{
	launch(50, QUEUE, HELLO, 1, 42, NULL, 0);
	launch(51, QUEUE, HELLO, 1, 43, NULL, 0);
	launch(52, LOOSE, HELLO, 1, 44, NULL, 0);
	for (uint32_t slot = 50; slot < 53; slot++) {
		/* Which of the two queues comes first is open. */
		wait_flag(&s.host_ready[50]);
		if (slot > 50)
			wait_flag(&s.host_ready[slot]);
		CHECK(atomic_load(&s.shm->slots[slot].result) == 9 && !s.complete[slot]);
		answer(slot, 0);
	}
	marker(53, QUEUE, false, false, NULL, 0);
	CHECK(outcome(53) == 0);
	launch(54, QUEUE, HELLO, 1, 45, NULL, 0);
	wait_flag(&s.host_ready[54]);
	CHECK(!memcmp(s.arena + PRINT, "hello 45\n", 9));
	answer(54, 0);
}

static void test_launch_errors(void)
{
	struct arax_op_launch op = {
	    .kernel = KERNEL(NULLK), .work_dim = 1, .nargs = 1, .global0 = 1};
	const struct arax_arg arg = {ARAX_ARG_LOCAL, 0, 16};
	send_record(&op, ARAX_OP_LAUNCH, 60, QUEUE, NULL, 0, &arg, sizeof(arg));
	CHECK(outcome(60) == -52);
	op = (struct arax_op_launch){
	    .kernel = KERNEL(NULLK), .work_dim = 1, .global0 = 100, .local0 = 33};
	send_record(&op, ARAX_OP_LAUNCH, 61, QUEUE, NULL, 0, NULL, 0);
	CHECK(outcome(61) == -54);
	op.global0 = 0;
	send_record(&op, ARAX_OP_LAUNCH, 62, QUEUE, NULL, 0, NULL, 0);
	CHECK(outcome(62) == 0);
	/* A program that is no program. */
	struct arax_op_program_load load = {
	    .program = PROGRAM + 1, .binary_off = DATA2, .binary_len = 4096};
	struct arax_op_kernel_define define = {.kernel = KERNEL(40), .program = PROGRAM + 1};
	send_record(&load, ARAX_OP_PROGRAM_LOAD, 63, 0, NULL, 0, NULL, 0);
	send_record(&define, ARAX_OP_KERNEL_DEFINE, ARAX_NO_SLOT, 0, NULL, 0, "k", 1);
	op = (struct arax_op_launch){.kernel = KERNEL(40), .work_dim = 1, .global0 = 1};
	send_record(&op, ARAX_OP_LAUNCH, 64, QUEUE, NULL, 0, NULL, 0);
	CHECK(outcome(63) == -45 && outcome(64) == -45);
}

/* Thousands in flight behind one user event, over all slots, in several queues. */
static void test_many(void)
{
	const uint32_t n = ARAX_SLOTS - 1;
	user(0);
	for (uint32_t i = 1; i <= n; i++) {
		const uint32_t zero = 0;
		launch(i,
		       i % 2   ? QUEUE
		       : i % 4 ? QUEUE2
			       : LOOSE,
		       i % 3 ? NULLK : ADD, 8, 1, &zero, 1);
	}
	take_entries();
	CHECK(!s.complete[n] && !s.complete[1]);
	answer(0, 0);
	for (uint32_t i = 1; i <= n; i++)
		CHECK(outcome(i) == 0);
}

/* Whoever sees that a command has completed finds it counted: the client may leave at once. */
static void test_statistics(void)
{
	for (int i = 0; i < 100; i++) {
		uint64_t kernels = s.stats->kernels, commands = s.stats->commands;
		launch(1, QUEUE, NULLK, 1, 0, NULL, 0);
		CHECK(outcome(1) == 0);
		CHECK(s.stats->kernels == kernels + 1 && s.stats->commands == commands + 1);
	}
}

static void measure(const char *what)
{
	enum { N = 20000, WINDOW = 4000 };
	launch(1, QUEUE, NULLK, 1, 0, NULL, 0);
	CHECK(outcome(1) == 0);
	uint64_t start = arax_now_ns();
	for (uint32_t i = 0; i < N; i++) {
		launch(i % WINDOW, QUEUE, NULLK, 1, 0, NULL, 0);
		if (i % WINDOW == WINDOW - 1)
			CHECK(outcome(WINDOW - 1) == 0);
	}
	double stream = (double)(arax_now_ns() - start) / N / 1000;
	start = arax_now_ns();
	for (uint32_t i = 0; i < 2000; i++) {
		launch(1, QUEUE, NULLK, 1, 0, NULL, 0);
		CHECK(outcome(1) == 0);
	}
	printf("%s: null kernels through the rings: %.2f us streamed, %.2f us each with a wait\n",
	       what, stream, (double)(arax_now_ns() - start) / 2000 / 1000);
}

static void run_all(const char *devices, const char *policy)
{
	begin(devices, policy);
	define_all();
	test_markers_and_copies();
	test_boxes();
	test_host_and_user();
	test_idle();
	test_launches(2000);
	test_drop_in_flight();
	test_printf();
	test_launch_errors();
	test_many();
	test_statistics();
	measure(devices[0] ? devices : policy);
	CHECK(s.stats->kernels > 2000 && s.stats->ndevices == 2);
	end(0);
}

/* Chains on the parallel device while kernels take long, mixed with commands that wait. */
static void test_chains(void)
{
	begin("cpu", "round-robin");
	define_all();
	s.norder = 0;
	for (uint32_t i = 0; i < 60; i++) {
		launch(2 * i, QUEUE, SLOW, 64, 20000, NULL, 0);
		marker(2 * i + 1, QUEUE, false, false, NULL, 0);
	}
	for (uint32_t i = 120; i < 180; i++)
		launch(i, QUEUE, SLOW, 64, 20000, NULL, 0);
	CHECK(outcome(179) == 0 && s.norder == 180);
	for (uint32_t i = 0; i < 180; i++)
		CHECK(s.order[i] == i);
	end(0);
}

/* The client dies while a kernel spins for ever on the dispatch thread. */
static void test_spinning(const char *device)
{
	begin(device, "pinned");
	define_all();
	memset(s.arena + DATA, 0, 4096);
	launch(1, QUEUE, SPIN, 1, 1, NULL, 0);
	uint64_t deadline = arax_now_ns() + DEADLINE_NS;
	while (atomic_load(&s.shm->slots[1].status) != 1)
		CHECK(arax_now_ns() < deadline);
	uint64_t start = arax_now_ns();
	end(0);
	printf("%s: left a spinning kernel in %.1f ms\n", device,
	       (double)(arax_now_ns() - start) / 1e6);
}

/* araxd dies: the tenant goes on. */
static void test_without_daemon(void)
{
	begin("", "");
	define_all();
	shutdown(s.control, SHUT_RDWR);
	test_launches(100);
	end(0);
}

static void refused(void (*send)(void))
{
	begin("", "");
	define_all();
	send();
	/* The link stays open: the tenant ends by itself. */
	CHECK(wait_exit() == 1);
	close(s.link);
	close(s.control);
	close(s.arena_fd);
	munmap(s.arena, ARENA_SIZE);
	munmap(s.stats, sizeof(*s.stats));
}

static void send_bad_op(void)
{
	struct arax_op_marker op = {.head = {.size = sizeof(op), .op = 999}};
	CHECK(!arax_ring_write(&s.sq, &op, sizeof(op)));
	arax_wake_ring(&s.shm->tenant_wake);
}

static void send_busy_slot(void)
{
	user(5);
	user(5);
}

static void send_unknown_handle(void)
{
	drop_mem(77);
}

static void send_bad_range(void)
{
	copy(1, QUEUE, 0, DATA, 4096);
}

static void send_bad_completion(void)
{
	user(5);
	marker(6, QUEUE, false, false, (const uint32_t[]){5}, 1);
	marker(7, QUEUE2, false, false, NULL, 0);
	CHECK(outcome(7) == 0);
	answer(6, 0);
}

static void send_completion_of_nothing(void)
{
	answer(6, 0);
}

/* What araxd has told the client it may have is what the tenant lets it have. */
static void send_more_commands(void)
{
	user(127);
	user(128);
}

static void send_more_objects(void)
{
	for (unsigned i = 0; i < 100; i++) {
		define_mem(100, DATA, 4096);
		drop_mem(100);
	}
	marker(7, QUEUE, false, false, NULL, 0);
	CHECK(outcome(7) == 0);
	for (unsigned i = 100; i < 140; i++)
		define_mem(i, DATA, 4096);
}

static void test_limits(void)
{
	limit_commands = 128;
	refused(send_more_commands);
	limit_commands = 0;
	limit_objects = 32;
	refused(send_more_objects);
	limit_objects = 0;
}

static void test_malformed(void)
{
	refused(send_completion_of_nothing);
	refused(send_bad_op);
	refused(send_busy_slot);
	refused(send_unknown_handle);
	refused(send_bad_range);
	refused(send_bad_completion);
}

/* A tenant that never had a client leaves with its daemon. */
static void test_unused(void)
{
	int pair[2];
	memset(&s, 0, sizeof(s));
	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	s.control = pair[0];
	spawn(pair[1]);
	close(pair[1]);
	check_ready();
	char path[64], line[128];
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)s.pid);
	FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (!strncmp(line, "Pss:", 4))
			printf("READY tenant, %s", line);
	}
	if (file)
		fclose(file);
	close(s.control);
	CHECK(wait_exit() == 0);
}

/* Return: the number of a tenant of the zygote, control is the socket to it. */
static pid_t zygote_spawn(int zygote, int *control)
{
	struct arax_control_spawn ask = {
	    .head = {.magic = ARAX_CONTROL_MAGIC, .type = ARAX_CONTROL_SPAWN, .major = 1},
	};
	int pair[2], fds[ARAX_FDS_MAX];
	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	snprintf(ask.work, sizeof(ask.work), "%s", getenv("POCL_CACHE_DIR"));
	CHECK(!arax_socket_send(zygote, &ask, sizeof(ask), &pair[1], 1));
	close(pair[1]);
	CHECK(arax_socket_recv(zygote, &ask, sizeof(ask), fds, 60000) == sizeof(ask));
	CHECK(ask.head.type == (ARAX_CONTROL_SPAWN | ARAX_CONTROL_REPLY) && !ask.head.error);
	*control = pair[0];
	return ask.pid;
}

/* Tenants of a zygote are children of ours, each in a session of its own, and outlive it. */
static void test_zygote(void)
{
	int pair[2], control[2];
	pid_t tenants[2], zygote;
	memset(&s, 0, sizeof(s));
	CHECK(!prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	tenant_option = "--zygote";
	spawn(pair[1]);
	close(pair[1]);
	tenant_option = NULL;
	zygote = s.pid;
	for (int i = 0; i < 2; i++) {
		tenants[i] = zygote_spawn(pair[0], &control[i]);
		s.control = control[i];
		uint64_t start = arax_now_ns();
		check_ready();
		printf("READY %.1f ms after its fork\n", (double)(arax_now_ns() - start) / 1e6);
		CHECK(getsid(tenants[i]) == tenants[i]);
	}
	CHECK(tenants[0] != tenants[1]);
	close(pair[0]);
	CHECK(wait_exit() == 0);
	/* One serves although its zygote has gone; the other leaves unused. */
	s.pid = started = tenants[0];
	s.control = control[0];
	send_start("", "adaptive");
	settle_address();
	end(0);
	s.pid = started = tenants[1];
	close(control[1]);
	CHECK(wait_exit() == 0);
	CHECK(zygote != tenants[0] && waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
}

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	tenant_path = argv[1];
	alarm(170);
	atexit(kill_started);
	/* The tenant's own, see test_pocl.c. */
	CHECK(!setenv("TSAN_OPTIONS", "ignore_noninstrumented_modules=1", 0));
	test_pocl_environment();
	result = test_pocl_compile(source, &result_size);
	test_unused();
	test_zygote();
	run_all("cpu-basic", "pinned");
	run_all("cpu-pthread", "pinned");
	run_all("", "round-robin");
	run_all("", "adaptive");
	test_chains();
	test_spinning("cpu-basic");
	test_spinning("cpu-pthread");
	test_without_daemon();
	test_malformed();
	test_limits();
	free(result);
	return 0;
}
