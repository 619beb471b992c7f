/* SPDX-License-Identifier: Apache-2.0
 *
 * The dispatcher in this process, with devices of the test's own that really run side by side:
 * random commands of several in-order queues whose order is as-if, with events between the queues,
 * failures, markers and commands of the client. At the end memory is what it would be had every
 * queue executed one command after the other; no two kernels ever were in each other's memory; ends
 * came in each queue's order. Meanwhile policies change, and devices are leased and taken away.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "scheduler/dispatch.h"
#include "scheduler/fake_device.h"
#include "transport/protocol.h"
#include "transport/ring.h"
#include "transport/socket.h"
#include "transport/testing.h"
#include "transport/trace.h"
#include "transport/wake.h"

#define ARENA_SIZE ((uint64_t)8 << 20)
#define DEADLINE_NS 60000000000ull

enum { QUEUES = 4, BUFFERS = 4, HALF = FAKE_UNIT, INTS = 2 * HALF, FLIGHT = 64 };
enum { MEMS = 3 * QUEUES * BUFFERS, COMMANDS = 3000 };

#define QUEUE(n) ARAX_HANDLE(ARAX_HANDLE_QUEUE, 1 + (uint32_t)(n))
#define MEM(n) ARAX_HANDLE(ARAX_HANDLE_MEM, 1 + (uint32_t)(n))
#define PROGRAM ARAX_HANDLE(ARAX_HANDLE_PROGRAM, 1)
#define KERNEL ARAX_HANDLE(ARAX_HANDLE_KERNEL, 1)
#define DATA FAKE_DATA
#define RESULT (ARAX_HEAP_OFFSET + (1u << 20))

/* ---- the client ----------------------------------------------------------------------------- */

struct sent {
	bool busy, done;
	int queue, status; /* what it must be */
	unsigned number;   /* in its queue */
	int32_t value;
	int host; /* half that a command of the client changes, or -1 */
};

static char *arena;
static struct arax_shm *shm;
static struct arax_device devices[FAKE_DEVICES];
static struct arax_ring sq, hq, cq;
static struct arax_spin spin;
static struct dispatch *dispatch, *kept[64]; /* all of them */
static unsigned nkept;
static struct sent sent[FLIGHT];
static int32_t expected[QUEUES * BUFFERS * INTS];
static unsigned entered[QUEUES], ended[QUEUES];
static uint64_t ended_ns[QUEUES];
static int last[QUEUES], owed[QUEUES]; /* slots, or -1 */
static int last_status[QUEUES], owed_status[QUEUES];
static uint64_t seed;

static unsigned below(unsigned n)
{
	return (unsigned)(test_random(&seed) % n);
}

static int32_t *half_at(void *memory, int half)
{
	return (int32_t *)memory + half * HALF;
}

static void *run(void *arg)
{
	const char *why;
	(void)arg;
	CHECK(dispatch_run(dispatch, &why) == -EPROTO && !strcmp(why, "malformed record"));
	return NULL;
}

static void ended_one(uint32_t slot)
{
	struct sent *c = &sent[slot];
	uint64_t end_ns = atomic_load(&shm->slots[slot].end_ns);
	CHECK(slot < FLIGHT && c->busy && !c->done);
	c->done = true;
	CHECK(atomic_load(&shm->slots[slot].status) == c->status);
	if (c->queue < 0)
		return;
	CHECK(ended[c->queue]++ == c->number);
	CHECK(end_ns >= ended_ns[c->queue] && end_ns >= atomic_load(&shm->slots[slot].start_ns));
	ended_ns[c->queue] = end_ns;
}

/* The client's turn: what it does is done before its end is known, and known at once. */
static void host_turn(uint32_t slot)
{
	struct sent *c = &sent[slot];
	int32_t *half = half_at(arena + DATA, c->host);
	CHECK(slot < FLIGHT && c->busy && !c->done && c->host >= 0 && !c->status);
	for (int i = 0; i < HALF; i++)
		half[i] += c->value;
	atomic_store(&shm->slots[slot].start_ns, arax_now_ns());
	atomic_store(&shm->slots[slot].end_ns, arax_now_ns());
	atomic_store(&shm->slots[slot].status, 0);
	ended_one(slot);
	CHECK(!arax_ring_push(&hq, ARAX_ENTRY(0, slot)));
	arax_wake_ring(&shm->tenant_wake);
}

static bool cq_pending(void *arg)
{
	(void)arg;
	return arax_ring_pending(&cq);
}

static void reap(void)
{
	uint32_t entry;
	while (arax_ring_pop(&cq, &entry) > 0) {
		if (ARAX_ENTRY_KIND(entry) == ARAX_CQ_HOST_READY)
			host_turn(ARAX_ENTRY_SLOT(entry));
		else
			ended_one(ARAX_ENTRY_SLOT(entry));
	}
}

static void await(uint32_t slot)
{
	uint64_t deadline = arax_now_ns() + DEADLINE_NS;
	for (reap(); !sent[slot].done; reap()) {
		CHECK(arax_now_ns() < deadline);
		arax_wake_wait(&shm->client_wake, &spin, cq_pending, NULL, 100);
	}
}

static void send_record(void *fixed, uint16_t op, uint32_t slot, uint32_t queue,
			const uint32_t *waits, uint32_t nwait, const void *tail, uint32_t tail_size)
{
	static _Alignas(8) char record[4096];
	struct arax_record *head = fixed;
	size_t size = arax_record_fixed_size(op), wait_size = (nwait * 4 + 7u) & ~7u;
	uint64_t deadline = arax_now_ns() + DEADLINE_NS;
	head->op = op;
	head->slot = slot;
	head->queue = queue;
	head->nwait = (uint16_t)nwait;
	head->tail_size = tail_size;
	head->size = (uint32_t)(size + wait_size + ((tail_size + 7u) & ~7u));
	memset(record, 0, sizeof(record));
	memcpy(record, fixed, size);
	if (nwait)
		memcpy(record + size, waits, nwait * 4);
	if (tail_size)
		memcpy(record + size + wait_size, tail, tail_size);
	while (arax_ring_write(&sq, record, head->size) == -EAGAIN)
		CHECK(arax_now_ns() < deadline);
	arax_wake_ring(&shm->tenant_wake);
}

/* A command with a slot, its expected outcome and its wait list. */
struct entry {
	uint32_t slot, flags;
	uint32_t waits[4], nwait;
	struct sent *sent;
};

static void wait_for(struct entry *e, int slot, int status)
{
	if (slot < 0)
		return;
	if (status < 0)
		e->sent->status = -14;
	/* What the client has seen end is not in the list any more. */
	if (sent[slot].done)
		e->flags |= status < 0 ? ARAX_RECORD_FAILED_WAIT : 0;
	else
		e->waits[e->nwait++] = (uint32_t)slot;
}

static struct entry begin_command(int queue)
{
	struct entry e = {.slot = below(FLIGHT)};
	if (sent[e.slot].busy)
		await(e.slot);
	/* Nobody waits for what was in this slot any more. */
	for (int q = 0; q < QUEUES; q++) {
		if (last[q] == (int)e.slot)
			last[q] = -1;
		if (owed[q] == (int)e.slot) {
			e.flags |= q == queue && owed_status[q] < 0 ? ARAX_RECORD_FAILED_WAIT : 0;
			owed[q] = -1;
		}
	}
	e.sent = &sent[e.slot];
	*e.sent = (struct sent){.busy = true, .queue = queue, .host = -1};
	e.sent->number = queue >= 0 ? entered[queue]++ : 0;
	e.sent->status = e.flags ? -14 : 0;
	atomic_store(&shm->slots[e.slot].status, 3);
	if (queue >= 0 && owed[queue] >= 0)
		wait_for(&e, owed[queue], owed_status[queue]);
	if (queue >= 0)
		owed[queue] = -1;
	return e;
}

static void end_command(const struct entry *e)
{
	if (e->sent->queue < 0)
		return;
	last[e->sent->queue] = (int)e->slot;
	last_status[e->sent->queue] = e->sent->status;
}

/* ---- commands ------------------------------------------------------------------------------- */

/* Memory object 3b is buffer b, the two after it are its halves. */
static void part_of(int mem, int *half, uint32_t *n)
{
	*half = mem / 3 * 2 + (mem % 3 == 2);
	*n = mem % 3 ? HALF : INTS;
}

static int mem_of(int queue)
{
	return (queue * BUFFERS + (int)below(BUFFERS)) * 3 + (int)below(3);
}

static void send_launch(int queue)
{
	struct entry e = begin_command(queue);
	int out = mem_of(queue), in = mem_of(queue), other = -1, out_half, in_half;
	uint32_t nout, nin;
	if (below(8) == 0) {
		/* Another queue's memory; that queue goes on when this has been read. */
		other = (int)below(QUEUES);
		if (other != queue && last[other] >= 0 && owed[other] < 0)
			in = mem_of(other);
		else
			other = -1;
	}
	if (out / 3 == in / 3)
		in = (in + 3) % (QUEUES * BUFFERS * 3) / (BUFFERS * 3) == queue
			 ? (in + 3) % (QUEUES * BUFFERS * 3)
			 : queue * BUFFERS * 3;
	if (out / 3 == in / 3)
		out += 3;
	if (other >= 0)
		wait_for(&e, last[other], last_status[other]);
	else if (below(6) == 0 && last[queue] >= 0)
		wait_for(&e, last[queue], last_status[queue]);
	int32_t value = below(30) ? (int32_t)below(1000) : FAKE_FAIL;
	if (!e.sent->status && value == FAKE_FAIL)
		e.sent->status = -5;
	part_of(out, &out_half, &nout);
	part_of(in, &in_half, &nin);
	if (!e.sent->status)
		fake_mix(half_at(expected, out_half), nout, half_at(expected, in_half), nin, value);
	const struct {
		struct arax_arg out, in, value;
		int32_t bytes[2];
	} args = {{ARAX_ARG_MEM, MEM(out), 0},
		  {ARAX_ARG_MEM, MEM(in), 0},
		  {ARAX_ARG_VALUE, 0, 4},
		  {value, 0}};
	struct arax_op_launch op = {
	    .head.flags = e.flags, .kernel = KERNEL, .work_dim = 1, .nargs = 3, .global0 = nout};
	send_record(&op, ARAX_OP_LAUNCH, e.slot, QUEUE(queue), e.waits, e.nwait, &args,
		    sizeof(args));
	end_command(&e);
	if (other >= 0) {
		owed[other] = (int)e.slot;
		owed_status[other] = e.sent->status;
	}
}

static void send_fill(int queue)
{
	struct entry e = begin_command(queue);
	int half = queue * BUFFERS * 2 + (int)below(BUFFERS * 2);
	int32_t value = (int32_t)below(1000);
	struct arax_op_fill op = {.head.flags = e.flags,
				  .dst_off = DATA + (uint64_t)half * HALF * 4,
				  .dst_len = HALF * 4,
				  .width = HALF * 4,
				  .height = 1,
				  .depth = 1};
	for (int i = 0; i < HALF && !e.sent->status; i++)
		half_at(expected, half)[i] = value;
	send_record(&op, ARAX_OP_FILL, e.slot, QUEUE(queue), e.waits, e.nwait, &value, 4);
	end_command(&e);
}

static void send_copy(int queue)
{
	struct entry e = begin_command(queue);
	int from = queue * BUFFERS * 2 + (int)below(BUFFERS * 2);
	int to = queue * BUFFERS * 2 + (int)below(BUFFERS * 2);
	if (from == to)
		to = queue * BUFFERS * 2 + (from + 1) % (BUFFERS * 2);
	struct arax_op_copy op = {.head.flags = e.flags,
				  .src_off = DATA + (uint64_t)from * HALF * 4,
				  .src_len = HALF * 4,
				  .dst_off = DATA + (uint64_t)to * HALF * 4,
				  .dst_len = HALF * 4,
				  .width = HALF * 4,
				  .height = 1,
				  .depth = 1};
	if (!e.sent->status)
		memcpy(half_at(expected, to), half_at(expected, from), HALF * 4);
	send_record(&op, ARAX_OP_COPY, e.slot, QUEUE(queue), e.waits, e.nwait, NULL, 0);
	end_command(&e);
}

static void send_host(int queue)
{
	struct entry e = begin_command(queue);
	int half = queue * BUFFERS * 2 + (int)below(BUFFERS * 2);
	struct arax_op_host op = {.head.flags = e.flags,
				  .access = ARAX_ACCESS_BOTH,
				  .data_off = DATA + (uint64_t)half * HALF * 4,
				  .data_len = HALF * 4};
	e.sent->host = half;
	e.sent->value = (int32_t)below(1000);
	for (int i = 0; i < HALF && !e.sent->status; i++)
		half_at(expected, half)[i] += e.sent->value;
	send_record(&op, ARAX_OP_HOST, e.slot, QUEUE(queue), e.waits, e.nwait, NULL, 0);
	end_command(&e);
}

static void send_marker(int queue)
{
	struct entry e = begin_command(queue);
	struct arax_op_marker op = {.head.flags = e.flags, .barrier = below(2)};
	if (below(2)) {
		int half = queue * BUFFERS * 2 + (int)below(BUFFERS * 2);
		op.access = 1 + below(3);
		op.data_off = DATA + (uint64_t)half * HALF * 4;
		op.data_len = HALF * 4;
	}
	send_record(&op, ARAX_OP_MARKER, e.slot, QUEUE(queue), e.waits, e.nwait, NULL, 0);
	end_command(&e);
}

static void send_random(void)
{
	static void (*const sends[])(int queue) = {send_fill, send_copy, send_host, send_marker};
	int queue = (int)below(QUEUES);
	unsigned dice = below(16);
	if (dice < sizeof(sends) / sizeof(sends[0]))
		sends[dice](queue);
	else
		send_launch(queue);
}

/* ---- messages ------------------------------------------------------------------------------- */

static const int no_fds[ARAX_FDS_MAX] = {-1, -1, -1, -1};
static atomic_uint complaints;

static void complain(void *arg, const char *line)
{
	(void)arg;
	CHECK(line[0]);
	atomic_fetch_add(&complaints, 1);
}

static int say_policy(const char *name, uint32_t magic, size_t size)
{
	struct arax_control_policy m = {.head = {.magic = magic, .type = ARAX_CONTROL_POLICY}};
	snprintf(m.policy, sizeof(m.policy), "%s", name);
	return dispatch_post(dispatch, &m, size, no_fds);
}

static void change_policy(void)
{
	static const char *const names[] = {"round-robin",   "adaptive", "least-loaded",
					    "heterogeneous", "fair",	 "elastic",
					    "random",	     "pinned",	 "nonsense"};
	const size_t size = sizeof(struct arax_control_policy);
	CHECK(!say_policy(names[below(9)], ARAX_CONTROL_MAGIC, size));
	CHECK(say_policy("adaptive", 1, size) == -EPROTO);
	CHECK(say_policy("adaptive", ARAX_CONTROL_MAGIC, size - 1) == -EPROTO);
}

/* The first device stays, the others come and go as the arbiter likes. */
static void change_lease(void)
{
	const struct arax_control_device m = {
	    .head = {.magic = ARAX_CONTROL_MAGIC, .type = ARAX_CONTROL_DEVICE},
	    .what = ARAX_DEVICE_LEASE,
	    .index = 1 + below(FAKE_DEVICES - 1),
	    .share = below(3) ? 1024 : 0,
	    .depth = below(2) ? 0 : 1 + below(4),
	};
	CHECK(!dispatch_post(dispatch, &m, sizeof(m), no_fds));
}

/* ---- its trace ------------------------------------------------------------------------------ */

static int trace_new(void)
{
	int fd = arax_memfd_new("trace", sizeof(struct arax_trace));
	struct arax_trace_head *head =
	    mmap(NULL, ARAX_TRACE_HEAD, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(fd >= 0 && head != MAP_FAILED);
	atomic_store(&head->on, 1);
	munmap(head, ARAX_TRACE_HEAD);
	return fd;
}

/* Nothing that had to wait for something began before that had ended. */
static void trace_check(int fd)
{
	enum { IDS = COMMANDS + 64 };
	static uint64_t ends[IDS];
	const struct arax_trace *trace;
	struct arax_trace_reader reader;
	struct arax_trace_event event;
	unsigned events = 0, deps = 0;
	CHECK(!arax_trace_map(fd, &trace));
	memset(ends, 0, sizeof(ends));
	for (int pass = 0; pass < 2; pass++) {
		arax_trace_reader_init(&reader, trace, ARAX_TRACE_TENANT, 0);
		while (arax_trace_take(&reader, &event, true)) {
			CHECK(event.id > 0 && event.id < IDS && event.ndeps <= ARAX_TRACE_DEPS);
			if (event.kind == ARAX_TRACE_MORE)
				continue;
			ends[event.id] = event.end_ns;
			events += pass;
			for (uint32_t i = 0; i < event.ndeps && pass; i++) {
				CHECK(event.deps[i] < event.id);
				CHECK(ends[event.deps[i]] <= event.start_ns);
				deps += ends[event.deps[i]] != 0;
			}
		}
		CHECK(!reader.dropped);
	}
	/* How many predecessors a command still finds is timing; that some did is not. */
	CHECK(events > COMMANDS / 2 && deps > 0);
	arax_trace_unmap(trace);
	close(fd);
}

/* ---- a session ------------------------------------------------------------------------------ */

static void define_program(void)
{
	struct arax_arg_info infos[3] = {
	    {.name = "out", .type_name = "int*", .address = 0x119B, .access = 0x11A3, .size = 8},
	    {.name = "in", .type_name = "int*", .address = 0x119B, .access = 0x11A3, .size = 8},
	    {.name = "value", .type_name = "int", .address = 0x119E, .access = 0x11A3, .size = 4},
	};
	struct arax_kernel_info kernel = {
	    .name = "mix", .attributes = "", .nargs = 3, .args = infos};
	struct arax_result result = {
	    .binary_type = 4, .options = "", .log = "", .nkernels = 1, .kernels = &kernel};
	struct arax_writer w = {0};
	infos[1].type_qualifier = 1; /* const */
	arax_result_write(&w, &result);
	CHECK(!w.failed);
	memcpy(arena + RESULT, w.data, w.size);
	struct arax_op_program_load load = {
	    .program = PROGRAM, .binary_off = RESULT, .binary_len = w.size};
	struct arax_op_kernel_define define = {.kernel = KERNEL, .program = PROGRAM, .nargs = 3};
	struct entry e = begin_command(-1);
	send_record(&load, ARAX_OP_PROGRAM_LOAD, e.slot, 0, NULL, 0, NULL, 0);
	await(e.slot);
	send_record(&define, ARAX_OP_KERNEL_DEFINE, ARAX_NO_SLOT, 0, NULL, 0, "mix", 3);
	arax_writer_free(&w);
}

static void define_all(void)
{
	for (int q = 0; q < QUEUES; q++) {
		struct arax_op_queue_define op = {.queue = QUEUE(q)};
		send_record(&op, ARAX_OP_QUEUE_DEFINE, ARAX_NO_SLOT, 0, NULL, 0, NULL, 0);
		last[q] = owed[q] = -1;
		entered[q] = ended[q] = 0;
		ended_ns[q] = 0;
	}
	for (int m = 0; m < MEMS; m++) {
		int half;
		uint32_t n;
		part_of(m, &half, &n);
		struct arax_op_mem_define op = {.mem = MEM(m),
						.home = (uint32_t)(m / 3 * 3 + 1),
						.parent = m % 3 ? MEM(m / 3 * 3) : 0,
						.type = 0x10F0,
						.data_off = DATA + (uint64_t)half * HALF * 4,
						.data_len = n * 4};
		send_record(&op, ARAX_OP_MEM_DEFINE, ARAX_NO_SLOT, 0, NULL, 0, NULL, 0);
	}
	define_program();
}

static void session_begin(pthread_t *thread, const char *policy, int trace_fd)
{
	arena = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(arena != MAP_FAILED);
	shm = (void *)arena;
	const struct dispatch_config config = {
	    .devices = devices,
	    .ndevices = FAKE_DEVICES,
	    .allowed = (1u << FAKE_DEVICES) - 1,
	    .policy = policy_find(policy),
	    .arena = arena,
	    .arena_size = ARENA_SIZE,
	    .trace_fd = trace_fd >= 0 ? dup(trace_fd) : -1,
	    .stdout_fd = -1,
	    .log = complain,
	    .as_if = true,
	};
	arax_ring_init(&sq, &shm->sq, shm->sq_data, ARAX_SQ_BYTES);
	arax_ring_init(&hq, &shm->hq, shm->hq_entries, ARAX_HQ_ENTRIES);
	arax_ring_init(&cq, &shm->cq, shm->cq_entries, ARAX_CQ_ENTRIES);
	arax_spin_init(&spin, 20000);
	memset(sent, 0, sizeof(sent));
	memset(expected, 0, sizeof(expected));
	fake_devices_start(devices, arena, seed);
	CHECK(!dispatch_new(&config, &dispatch));
	CHECK(!pthread_create(thread, NULL, run, NULL));
	define_all();
}

/* A dispatcher ends only with its process, or with a client that breaks the protocol; its memory
 * stays. */
static void session_end(pthread_t thread)
{
	struct arax_op_marker op = {.head = {.size = sizeof(op), .op = 999}};
	for (uint32_t slot = 0; slot < FLIGHT; slot++) {
		if (sent[slot].busy)
			await(slot);
	}
	CHECK(!memcmp(arena + DATA, expected, sizeof(expected)));
	CHECK(!arax_ring_write(&sq, &op, sizeof(op)));
	arax_wake_ring(&shm->tenant_wake);
	pthread_join(thread, NULL);
	kept[nkept++ % 64] = dispatch;
	munmap(arena, ARENA_SIZE);
}

static void test_random_commands(uint64_t start_seed, const char *policy, bool leases)
{
	pthread_t thread;
	seed = start_seed;
	int trace_fd = leases ? trace_new() : -1;
	session_begin(&thread, policy, trace_fd);
	for (int i = 0; i < COMMANDS; i++) {
		send_random();
		if (below(200) == 0)
			change_policy();
		if (leases && below(100) == 0)
			change_lease();
		if (below(400) == 0) {
			for (uint32_t slot = 0; slot < FLIGHT; slot++) {
				if (sent[slot].busy)
					await(slot);
			}
			CHECK(!memcmp(arena + DATA, expected, sizeof(expected)));
		}
	}
	session_end(thread);
	fake_devices_stop();
	if (trace_fd >= 0)
		trace_check(trace_fd);
}

int main(void)
{
	alarm(170);
	for (uint64_t s = 1; s <= 8; s++)
		test_random_commands(s, s % 2 ? "round-robin" : "adaptive", s > 4);
	printf("%u kernels began while another one ran, %u messages complained of\n",
	       atomic_load(&fake_together), atomic_load(&complaints));
	CHECK(atomic_load(&fake_together) > 100 && atomic_load(&complaints) > 0);
	return 0;
}
