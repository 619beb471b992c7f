/* SPDX-License-Identifier: Apache-2.0
 *
 * Staging: the dispatcher with devices that have memory of their own (fake_discrete.h). Random
 * commands over shared buffers, parts of them and images, each launch on a device by chance, must
 * leave behind what they would have left behind one after the other on one device; also when the
 * devices have a quarter of the memory that is needed, refuse what they are given, fail, are
 * emptied and come back. When one is lost nobody ever sees something wrong: what died with it is
 * refused until it was written again.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "scheduler/dispatch_internal.h"
#include "scheduler/fake_discrete.h"
#include "transport/protocol.h"
#include "transport/ring.h"
#include "transport/shm.h"
#include "transport/testing.h"
#include "transport/wake.h"

#define ARENA_SIZE ((uint64_t)8 << 20)
#define DEADLINE_NS 60000000000ull
#define DATA ARAX_HEAP_OFFSET
#define RESULT (ARAX_HEAP_OFFSET + (1u << 20))

enum { ROOTS = 8, IMAGES = 2, SIZE = 4096, VIEWS = 3, QUEUES = 2, BATCH = 48, NKERNELS = 2 };

#define QUEUE(n) ARAX_HANDLE(ARAX_HANDLE_QUEUE, 1 + (uint32_t)(n))
#define MEM(root, view) ARAX_HANDLE(ARAX_HANDLE_MEM, 1 + (uint32_t)((root) * (1 + VIEWS) + (view)))
#define HOME(root) (1 + (root) * (1 + VIEWS))
#define PROGRAM ARAX_HANDLE(ARAX_HANDLE_PROGRAM, 1)
#define KERNEL(n) ARAX_HANDLE(ARAX_HANDLE_KERNEL, 1 + (uint32_t)(n))

static const char *const kernel_names[NKERNELS] = {"mix", "swap"};
static const struct {
	uint64_t off, len;
} parts[1 + VIEWS] = {{0, SIZE}, {0, 2048}, {1024, 2048}, {512, 1024}};

enum what { LAUNCH, COPY, FILL, READ, WRITE, MARKER };

/* A command, to be repeated in the model when it has ended. */
struct sent {
	enum what what;
	bool done, exact;
	int status;
	uint64_t why;
	unsigned kernel;
	int32_t value;
	uint64_t a, na, b, nb;		/* ranges, from DATA on; of a box: dst, src */
	uint64_t width, height, ap, bp; /* box */
	unsigned char bytes[SIZE];	/* that were read, or are to be written */
};

static char *arena;
static struct arax_shm *shm;
static struct arax_device places[2];
static struct arax_ring sq, hq, cq;
static struct arax_spin spin;
static struct dispatch *dispatch, *kept[64]; /* so that they are not taken for lost */
static unsigned nkept, nsent;
static struct sent sent[BATCH];
static unsigned char model[ROOTS * SIZE];
static bool undefined[ROOTS * SIZE];
static uint64_t seed;
static struct discrete_setup setups[DISCRETE_MAX];
static unsigned ndiscrete;
static bool losses, breaks; /* what may fail */
static atomic_uint drained;
static uint64_t program_size; /* of its bytes at RESULT */
static uint64_t failures, checked, reads_at_once;
static int last_queue;
static unsigned forced = POLICY_WAIT; /* where launches go, rather than by chance */
static bool keeps_turn;		      /* the next turn of the client's is not taken at once */

static unsigned below(unsigned n)
{
	return (unsigned)(test_random(&seed) % n);
}

/* ---- placement by chance -------------------------------------------------------------------- */

static unsigned pick(struct policy_state *state, const struct policy_launch *launch)
{
	static uint64_t chance = 77;
	uint32_t n = (uint32_t)__builtin_popcount(launch->candidates), busy = 0, i = 0;
	(void)state;
	POLICY_FOR_EACH(device, launch->candidates)
	{
		busy += launch->devices[device].queued;
		CHECK(launch->devices[device].share);
	}
	if (forced != POLICY_WAIT)
		return launch->candidates >> forced & 1 ? forced : POLICY_WAIT;
	if (busy && test_random(&chance) % 8 == 0)
		return POLICY_WAIT;
	uint32_t wanted = (uint32_t)(test_random(&chance) % n);
	POLICY_FOR_EACH(device, launch->candidates)
	{
		if (i++ == wanted)
			return device;
	}
	return POLICY_WAIT;
}

static const struct policy policy_chance = {.name = "chance", .pick = pick};

/* ---- the client ----------------------------------------------------------------------------- */

static void *run(void *arg)
{
	const char *why;
	(void)arg;
	CHECK(dispatch_run(dispatch, &why) == -EPROTO && !strcmp(why, "malformed record"));
	return NULL;
}

static void host_turn(uint32_t slot)
{
	struct sent *c = &sent[slot];
	char *at = arena + DATA + c->a;
	CHECK(slot < nsent && (c->what == READ || c->what == WRITE) && !c->done);
	if (c->what == READ)
		memcpy(c->bytes, at, c->na);
	for (uint64_t i = 0; c->what == WRITE && i < c->na; i += c->exact ? 1 : 2)
		at[i] = (char)c->bytes[i];
	atomic_store(&shm->slots[slot].status, 0);
	c->done = true;
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
		uint32_t slot = ARAX_ENTRY_SLOT(entry);
		CHECK(slot <= BATCH);
		if (ARAX_ENTRY_KIND(entry) == ARAX_CQ_HOST_READY) {
			if (!keeps_turn)
				host_turn(slot);
			keeps_turn = false;
			continue;
		}
		CHECK(slot < nsent && !sent[slot].done);
		sent[slot].done = true;
		sent[slot].status = atomic_load(&shm->slots[slot].status);
		sent[slot].why = atomic_load(&shm->slots[slot].result);
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
			const uint32_t *waits, unsigned nwait, const void *tail, uint32_t tail_size)
{
	static _Alignas(8) char record[4096];
	struct arax_record *head = fixed;
	size_t size = arax_record_fixed_size(op), wait_size = (nwait * 4 + 7u) & ~7u;
	*head = (struct arax_record){.op = op,
				     .slot = slot,
				     .queue = queue,
				     .nwait = (uint16_t)nwait,
				     .tail_size = tail_size};
	head->size = (uint32_t)(size + wait_size + ((tail_size + 7u) & ~7u));
	memset(record, 0, head->size);
	memcpy(record, fixed, size);
	if (nwait)
		memcpy(record + size, waits, nwait * 4);
	if (tail_size)
		memcpy(record + size + wait_size, tail, tail_size);
	if (slot != ARAX_NO_SLOT)
		atomic_store(&shm->slots[slot].status, 3);
	while (arax_ring_write(&sq, record, head->size) == -EAGAIN)
		reap();
	arax_wake_ring(&shm->tenant_wake);
}

/* In one of the queues; behind the last command also when that was in another one. */
static void submit(struct sent *c, void *fixed, uint16_t op, const void *tail, uint32_t tail_size)
{
	uint32_t slot = (uint32_t)(c - sent), before = slot - 1;
	int queue = below(4) ? last_queue : (int)below(QUEUES);
	bool wait = slot && queue != last_queue && !sent[before].done;
	last_queue = queue;
	send_record(fixed, op, slot, QUEUE(queue), &before, wait, tail, tail_size);
}

static struct sent *next(enum what what)
{
	CHECK(nsent < BATCH);
	sent[nsent] = (struct sent){.what = what};
	return &sent[nsent++];
}

/* ---- the model ------------------------------------------------------------------------------ */

static bool any_undefined(uint64_t at, uint64_t n)
{
	return memchr(&undefined[at], 1, n) != NULL;
}

static void model_launch(const struct sent *c)
{
	bool bad = c->status || any_undefined(c->a, c->na) || any_undefined(c->b, c->nb);
	if (bad) {
		memset(&undefined[c->a], 1, c->na);
		if (c->kernel == 1)
			memset(&undefined[c->b], 1, c->nb);
		return;
	}
	discrete_run(kernel_names[c->kernel], (int32_t *)(void *)&model[c->a], c->na / 4,
		     (int32_t *)(void *)&model[c->b], c->nb / 4, c->value);
}

static void model_box(const struct sent *c)
{
	for (uint64_t y = 0; y < c->height; y++) {
		for (uint64_t x = 0; x < c->width; x++) {
			uint64_t to = c->a + y * c->ap + x, from = c->b + y * c->bp + x;
			if (c->status) {
				undefined[to] = true;
			} else if (c->what == COPY) {
				model[to] = model[from];
				undefined[to] = undefined[from];
			} else {
				model[to] = (unsigned char)c->value;
				undefined[to] = false;
			}
		}
	}
}

static void model_host(const struct sent *c)
{
	for (uint64_t i = 0; i < c->na && !c->status; i++) {
		uint64_t at = c->a + i;
		if (c->what == READ) {
			CHECK(undefined[at] || model[at] == c->bytes[i]);
			checked += !undefined[at];
		} else if (c->exact || i % 2 == 0) {
			model[at] = c->bytes[i];
			undefined[at] = false;
		}
	}
}

static void check_status(const struct sent *c)
{
	if (!c->status)
		return;
	failures++;
	if (breaks && (c->status == -5 || c->status == -4 || c->status == -14))
		return;
	if (!losses || (c->status != -5 && c->status != -14))
		fprintf(stderr, "command %u ended with %d, because %u\n", c->what, c->status,
			(unsigned)c->why);
	CHECK(losses && (c->status == -5 || c->status == -14));
	CHECK(c->status == -14 || c->why == ARAX_WHY_POISONED || c->why == ARAX_WHY_DEVICE_LOST);
}

/* All that was sent has ended: once more, in its order. */
static void settle(void)
{
	for (unsigned i = 0; i < nsent; i++)
		await(i);
	for (unsigned i = 0; i < nsent; i++) {
		check_status(&sent[i]);
		if (sent[i].what == LAUNCH)
			model_launch(&sent[i]);
		else if (sent[i].what == COPY || sent[i].what == FILL)
			model_box(&sent[i]);
		else if (sent[i].what != MARKER)
			model_host(&sent[i]);
	}
	nsent = 0;
}

/* ---- commands ------------------------------------------------------------------------------- */

static unsigned part_of(unsigned root)
{
	return root < ROOTS - IMAGES ? below(1 + VIEWS) : 0;
}

static void send_launch(void)
{
	struct sent *c = next(LAUNCH);
	unsigned a = below(ROOTS), b = (a + 1 + below(ROOTS - 1)) % ROOTS;
	unsigned pa = part_of(a), pb = part_of(b);
	c->kernel = below(NKERNELS);
	c->value = (int32_t)below(1000);
	c->a = a * SIZE + parts[pa].off;
	c->na = parts[pa].len;
	c->b = b * SIZE + parts[pb].off;
	c->nb = parts[pb].len;
	struct {
		struct arax_arg a, b, value;
		int32_t bytes[2];
	} tail = {{ARAX_ARG_MEM, MEM(a, pa), 0},
		  {ARAX_ARG_MEM, MEM(b, pb), 0},
		  {ARAX_ARG_VALUE, 0, 4},
		  {c->value, 0}};
	struct arax_op_launch op = {
	    .kernel = KERNEL(c->kernel), .work_dim = 1, .nargs = 3, .global0 = c->na / 4};
	submit(c, &op, ARAX_OP_LAUNCH, &tail, sizeof(tail));
}

/* Rows within one object, or over the border of two, when it is one run. */
static void box_of(struct sent *c)
{
	c->height = below(3) ? 1 : 1 + below(8);
	c->width = 1 + below(c->height == 1 ? SIZE : 100);
	c->ap = c->width + below(100);
	c->bp = c->width + below(100);
	c->na = (c->height - 1) * c->ap + c->width;
	c->nb = (c->height - 1) * c->bp + c->width;
	c->a = below((unsigned)(ROOTS * SIZE - c->na));
	do
		c->b = below((unsigned)(ROOTS * SIZE - c->nb));
	while (c->a < c->b + c->nb && c->b < c->a + c->na);
}

static void send_box(void)
{
	struct sent *c = next(below(2) ? COPY : FILL);
	box_of(c);
	if (c->what == COPY) {
		struct arax_op_copy op = {.src_off = DATA + c->b,
					  .src_len = c->nb,
					  .dst_off = DATA + c->a,
					  .dst_len = c->na,
					  .width = c->width,
					  .height = c->height,
					  .depth = 1,
					  .src_row_pitch = c->bp,
					  .dst_row_pitch = c->ap};
		submit(c, &op, ARAX_OP_COPY, NULL, 0);
		return;
	}
	struct arax_op_fill op = {.dst_off = DATA + c->a,
				  .dst_len = c->na,
				  .width = c->width,
				  .height = c->height,
				  .depth = 1,
				  .dst_row_pitch = c->ap};
	unsigned char value = (unsigned char)below(256);
	c->value = value;
	submit(c, &op, ARAX_OP_FILL, &value, 1);
}

static void range_of(struct sent *c)
{
	unsigned root = below(ROOTS);
	uint64_t off = below(3) ? below(SIZE) : 0;
	c->a = root * SIZE + off;
	c->na = off ? 1 + below((unsigned)(SIZE - off)) : SIZE;
}

static void send_host(void)
{
	struct sent *c = next(below(2) ? READ : WRITE);
	range_of(c);
	c->exact = below(2);
	for (uint64_t i = 0; c->what == WRITE && i < c->na; i++)
		c->bytes[i] = (unsigned char)below(256);
	struct arax_op_host op = {.access = c->what == READ ? ARAX_ACCESS_READ : ARAX_ACCESS_WRITE,
				  .exact = c->what == WRITE && c->exact,
				  .data_off = DATA + c->a,
				  .data_len = c->na};
	submit(c, &op, ARAX_OP_HOST, NULL, 0);
}

static int send_marker(uint32_t access, uint64_t at, uint64_t n)
{
	struct sent *c = next(MARKER);
	struct arax_op_marker op = {.access = access, .data_off = DATA + at, .data_len = n};
	uint32_t slot = (uint32_t)(c - sent);
	submit(c, &op, ARAX_OP_MARKER, NULL, 0);
	await(slot);
	return c->status;
}

/* What the application does with memory that it has mapped. */
static void touch(const struct sent *range, bool write)
{
	for (uint64_t i = range->a; i < range->a + range->na; i++) {
		if (write) {
			model[i] = (unsigned char)below(256);
			undefined[i] = false;
			arena[DATA + i] = (char)model[i];
		} else {
			CHECK(undefined[i] || model[i] == (unsigned char)arena[DATA + i]);
			checked += !undefined[i];
		}
	}
}

static void map(void)
{
	struct sent range;
	range_of(&range);
	uint32_t access = 1 + below(3);
	if (nsent > BATCH - 2)
		settle();
	int status = send_marker(access, range.a, range.na);
	settle();
	if (status)
		return;
	touch(&range, access != ARAX_ACCESS_READ);
	CHECK(!send_marker(access == ARAX_ACCESS_READ ? ARAX_ACCESS_READ : ARAX_ACCESS_WRITE,
			   range.a, range.na));
	settle();
}

/* Nothing is in flight: what the client may do without asking. */
static void at_once(void)
{
	struct sent range;
	settle();
	range_of(&range);
	uint8_t home = atomic_load(&shm->home[HOME(range.a / SIZE)]);
	if (!(home & ARAX_HOME_STALE)) {
		touch(&range, false);
		reads_at_once++;
	}
	if (!home)
		touch(&range, true);
}

static void define_root(unsigned root)
{
	bool image = root >= ROOTS - IMAGES;
	for (unsigned view = 0; view < (image ? 1 : 1 + VIEWS); view++) {
		struct arax_op_mem_define op = {.mem = MEM(root, view),
						.home = HOME(root),
						.parent = view ? MEM(root, 0) : 0,
						.type = image ? 0x10F1 : 0x10F0,
						.data_off = DATA + root * SIZE + parts[view].off,
						.data_len = parts[view].len};
		if (image) {
			op.width = op.row_pitch = 64;
			op.height = 64;
		}
		send_record(&op, ARAX_OP_MEM_DEFINE, ARAX_NO_SLOT, 0, NULL, 0, NULL, 0);
	}
}

/* An object goes, and another one comes to where it was. */
static void replace(void)
{
	unsigned root = below(ROOTS);
	struct sent range = {.a = root * SIZE, .na = SIZE};
	settle();
	if (atomic_load(&shm->home[HOME(root)])) {
		struct arax_op_marker op = {
		    .access = ARAX_ACCESS_WRITE, .data_off = DATA + range.a, .data_len = range.na};
		next(MARKER);
		send_record(&op, ARAX_OP_MARKER, 0, 0, NULL, 0, NULL, 0);
		settle();
	}
	for (unsigned view = root < ROOTS - IMAGES ? 1 + VIEWS : 1; view-- > 0;) {
		struct arax_op_mem_drop op = {.mem = MEM(root, view)};
		send_record(&op, ARAX_OP_MEM_DROP, ARAX_NO_SLOT, 0, NULL, 0, NULL, 0);
	}
	touch(&range, true);
	define_root(root);
	send_marker(ARAX_ACCESS_NONE, 0, 0);
	settle();
	CHECK(!atomic_load(&shm->home[HOME(root)]));
}

/* ---- devices -------------------------------------------------------------------------------- */

static void on_drained(void *arg, unsigned device)
{
	(void)arg;
	/* What cannot be read back stays. */
	CHECK(breaks || !discrete_objects(device - 2));
	atomic_fetch_or(&drained, 1u << device);
}

static void add(void *arg)
{
	unsigned n = *(unsigned *)arg;
	struct arax_device dev;
	discrete_open(n, &setups[n], test_random(&seed), &dev);
	CHECK(!dispatch_device_add(dispatch, &dev, 1024, 1 + below(20)));
	CHECK(dispatch_device_add(dispatch, &dev, 1024, 0) == -EEXIST);
}

/* It goes and is back before anything that was on its way there has heard of it. */
static int back;
static void lose_and_add(void *arg)
{
	unsigned n = *(unsigned *)arg;
	struct arax_device dev, *old = dispatch_device(dispatch, 2 + n);
	discrete_lose(n);
	CHECK(old->ops->poll(old) < 0);
	dispatch_device_lost(dispatch, 2 + n);
	CHECK(!dispatch_device(dispatch, 2 + n) && !discrete_objects(n));
	discrete_open(n, &setups[n], test_random(&seed), &dev);
	back = dispatch_device_add(dispatch, &dev, 1024, 1 + below(20));
	CHECK(!back || back == -EBUSY);
}

static void drain(void *arg)
{
	atomic_store(&drained, 0);
	dispatch_device_drain(dispatch, 2 + *(unsigned *)arg);
}

static void online(void *arg)
{
	dispatch_device_online(dispatch, 2 + *(unsigned *)arg);
}

static void lease(void *arg)
{
	unsigned n = *(unsigned *)arg;
	dispatch_device_lease(dispatch, 2 + n, below(3) ? 1024 : 0, below(4));
}

static void send_random(void)
{
	unsigned what = below(100);
	if (what < 60)
		send_launch();
	else if (what < 75)
		send_box();
	else if (what < 92)
		send_host();
	else if (what < 95)
		map();
	else if (what < 99)
		at_once();
	else
		replace();
}

static void send_batch(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (nsent == BATCH)
			settle();
		send_random();
	}
}

static void empty_one(void)
{
	unsigned n = below(ndiscrete);
	uint64_t deadline = arax_now_ns() + DEADLINE_NS;
	discrete_conduct(drain, &n);
	while (!(atomic_load(&drained) >> (2 + n) & 1)) {
		CHECK(arax_now_ns() < deadline);
		reap();
	}
	send_batch(20);
	discrete_conduct(online, &n);
}

/* Everything that died is written anew: then nothing fails any more. */
static void heal(void)
{
	settle();
	for (unsigned root = 0; root < ROOTS; root++) {
		struct sent *c = next(WRITE);
		struct arax_op_host op = {.access = ARAX_ACCESS_WRITE,
					  .exact = 1,
					  .data_off = DATA + root * SIZE,
					  .data_len = SIZE};
		c->a = root * SIZE;
		c->na = SIZE;
		c->exact = true;
		for (unsigned i = 0; i < SIZE; i++)
			c->bytes[i] = (unsigned char)below(256);
		submit(c, &op, ARAX_OP_HOST, NULL, 0);
	}
	settle();
	CHECK(!memchr(undefined, 1, sizeof(undefined)));
}

static void lose_one(void)
{
	unsigned n = below(ndiscrete);
	back = -1;
	if (below(2))
		discrete_lose(n);
	else
		discrete_conduct(lose_and_add, &n);
	send_batch(30);
	settle();
	losses = true;
	heal();
	losses = false;
	send_batch(20);
	settle();
	losses = true;
	if (!back)
		return;
	CHECK(!discrete_objects(n));
	discrete_conduct(add, &n);
}

/* ---- a session ------------------------------------------------------------------------------ */

static void define_program(void)
{
	struct arax_arg_info infos[2][3];
	struct arax_kernel_info kernels[NKERNELS];
	struct arax_writer w = {0};
	for (unsigned k = 0; k < NKERNELS; k++) {
		for (unsigned i = 0; i < 3; i++)
			infos[k][i] = (struct arax_arg_info){.name = "x",
							     .type_name = i < 2 ? "int*" : "int",
							     .address = i < 2 ? 0x119B : 0x119E,
							     .access = 0x11A3,
							     .size = i < 2 ? 8 : 4};
		kernels[k] = (struct arax_kernel_info){.name = (char *)kernel_names[k],
						       .attributes = "",
						       .nargs = 3,
						       .args = infos[k]};
	}
	infos[0][1].type_qualifier = 1; /* mix: const */
	struct arax_result result = {.binary_type = 4,
				     .options = "",
				     .log = "",
				     .nkernels = NKERNELS,
				     .kernels = kernels,
				     .binary = "binary",
				     .binary_size = 6};
	arax_result_write(&w, &result);
	CHECK(!w.failed);
	memcpy(arena + RESULT, w.data, w.size);
	program_size = w.size;
	struct arax_op_program_load load = {
	    .program = PROGRAM, .binary_off = RESULT, .binary_len = w.size};
	next(MARKER);
	send_record(&load, ARAX_OP_PROGRAM_LOAD, 0, 0, NULL, 0, NULL, 0);
	settle();
	arax_writer_free(&w);
	for (unsigned k = 0; k < NKERNELS; k++) {
		struct arax_op_kernel_define define = {
		    .kernel = KERNEL(k), .program = PROGRAM, .nargs = 3};
		send_record(&define, ARAX_OP_KERNEL_DEFINE, ARAX_NO_SLOT, 0, NULL, 0,
			    kernel_names[k], (uint32_t)strlen(kernel_names[k]));
	}
}

static void session_begin(pthread_t *thread, uint32_t allowed)
{
	arena = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(arena != MAP_FAILED);
	shm = (void *)arena;
	const struct dispatch_config config = {.devices = places,
					       .ndevices = 2,
					       .allowed = allowed,
					       .policy = &policy_chance,
					       .arena = arena,
					       .arena_size = ARENA_SIZE,
					       .trace_fd = -1,
					       .stdout_fd = -1,
					       .drained = on_drained};
	arax_ring_init(&sq, &shm->sq, shm->sq_data, ARAX_SQ_BYTES);
	arax_ring_init(&hq, &shm->hq, shm->hq_entries, ARAX_HQ_ENTRIES);
	arax_ring_init(&cq, &shm->cq, shm->cq_entries, ARAX_CQ_ENTRIES);
	arax_spin_init(&spin, 20000);
	memset(model, 0, sizeof(model));
	memset(undefined, 0, sizeof(undefined));
	nsent = 0;
	last_queue = 0;
	discrete_place(places, seed);
	CHECK(!dispatch_new(&config, &dispatch));
	for (unsigned n = 0; n < ndiscrete; n++)
		add(&n);
	CHECK(!pthread_create(thread, NULL, run, NULL));
	for (unsigned q = 0; q < QUEUES; q++) {
		struct arax_op_queue_define op = {.queue = QUEUE(q)};
		send_record(&op, ARAX_OP_QUEUE_DEFINE, ARAX_NO_SLOT, 0, NULL, 0, NULL, 0);
	}
	for (unsigned root = 0; root < ROOTS; root++)
		define_root(root);
	define_program();
}

/* All of it comes home, and is what it should be. */
static void check_everything(void)
{
	settle();
	struct sent *c = next(READ);
	struct arax_op_host op = {.access = ARAX_ACCESS_READ};
	submit(c, &op, ARAX_OP_HOST, NULL, 0);
	settle();
	struct sent all = {.a = 0, .na = sizeof(model)};
	touch(&all, false);
	for (unsigned root = 0; root < ROOTS; root++)
		CHECK(!(atomic_load(&shm->home[HOME(root)]) & ARAX_HOME_STALE));
}

/* Whatever was counted up was counted down. */
static void check_nothing_left(void)
{
	const struct dispatch *d = dispatch;
	CHECK(!d->moving && !d->running && !d->on_devices && !d->nplacing && !d->starving);
	CHECK(!d->again.first && !d->full.first && !d->placing.first && !d->objects.builds);
	for (unsigned i = 0; i < POLICY_DEVICES; i++) {
		const struct residency_device *memory = &d->objects.residency.devices[i];
		uint64_t used = 0;
		CHECK(!d->devices[i].queued && !d->given[i] && !d->moves[i] && !d->unproven[i]);
		CHECK(!d->devices[i].moving && !d->memory[i].first);
		for (const struct replica *r = memory->first; r; r = r->next) {
			CHECK(!r->pins && !r->moves && !r->storage->active && !r->storage->waiters);
			used += r->storage->size;
		}
		CHECK(memory->used == used && (!memory->limit || used <= memory->limit));
	}
}

static void session_end(pthread_t thread)
{
	struct arax_op_marker op = {.head = {.size = sizeof(op), .op = 999}};
	CHECK(!arax_ring_write(&sq, &op, sizeof(op)));
	arax_wake_ring(&shm->tenant_wake);
	pthread_join(thread, NULL);
	check_nothing_left();
	kept[nkept++ % 64] = dispatch;
	munmap(arena, ARENA_SIZE);
}

static void session(uint64_t from, const struct discrete_setup *setup, unsigned n, uint32_t allowed,
		    unsigned rounds, bool lose)
{
	pthread_t thread;
	seed = from;
	ndiscrete = n;
	losses = lose;
	breaks = setup->faults.transfer || setup->faults.no_memory;
	for (unsigned i = 0; i < n; i++)
		setups[i] = *setup;
	session_begin(&thread, allowed);
	for (unsigned i = 0; i < rounds; i++) {
		send_batch(100);
		unsigned what = below(10), one = below(n);
		if (what < 3)
			discrete_conduct(lease, &one);
		else if (what < 5)
			empty_one();
		else if (what < 8 && lose)
			lose_one();
	}
	settle();
	if (lose || breaks)
		heal();
	check_everything();
	session_end(thread);
}

/* ---- the client's turn ---------------------------------------------------------------------- */

static struct sent *launch_of(unsigned a, unsigned b)
{
	struct sent *c = next(LAUNCH);
	*c = (struct sent){
	    .what = LAUNCH, .value = 5, .a = a * SIZE, .na = SIZE, .b = b * SIZE, .nb = SIZE};
	return c;
}

static void submit_kernel(const struct sent *c, uint32_t kernel, unsigned queue,
			  const uint32_t *wait)
{
	const struct {
		struct arax_arg a, b, value;
		int32_t bytes[2];
	} tail = {{ARAX_ARG_MEM, MEM(c->a / SIZE, 0), 0},
		  {ARAX_ARG_MEM, MEM(c->b / SIZE, 0), 0},
		  {ARAX_ARG_VALUE, 0, 4},
		  {c->value, 0}};
	struct arax_op_launch op = {.kernel = ARAX_HANDLE(ARAX_HANDLE_KERNEL, kernel),
				    .work_dim = 1,
				    .nargs = 3,
				    .global0 = c->na / 4};
	send_record(&op, ARAX_OP_LAUNCH, (uint32_t)(c - sent), QUEUE(queue), wait, wait != NULL,
		    &tail, sizeof(tail));
}

static void submit_launch(const struct sent *c, unsigned queue, const uint32_t *wait)
{
	submit_kernel(c, ARAX_HANDLE_INDEX(KERNEL(0)), queue, wait);
}

static void submit_host(struct sent *c, unsigned queue)
{
	struct arax_op_host op = {.access = c->what == READ ? ARAX_ACCESS_READ : ARAX_ACCESS_WRITE,
				  .exact = c->exact,
				  .data_off = DATA + c->a,
				  .data_len = c->na};
	send_record(&op, ARAX_OP_HOST, (uint32_t)(c - sent), QUEUE(queue), NULL, 0, NULL, 0);
}

static atomic_bool launched_inside;

/* On the dispatch thread, after it has looked for what the client has ended and before it takes the
 * next record. For the application the write has ended then, so the launch waits for nothing. */
static void end_and_send(void *arg)
{
	host_turn(*(uint32_t *)arg);
	forced = 2;
	submit_launch(launch_of(0, 1), 1, NULL);
	atomic_store(&launched_inside, true);
}

static void nothing(void *arg)
{
	(void)arg;
}

/* Between two that are conducted a record is taken. */
static void records_taken(unsigned n)
{
	for (unsigned i = 0; i <= n; i++)
		discrete_conduct(nothing, NULL);
}

/* The client ends its command and sends another one that builds on it, in a moment in which the
 * dispatcher sees the second one first. */
static void turn_overtaken(void)
{
	pthread_t thread;
	const struct discrete_setup plenty = {.memory = 64 * SIZE, .tells = true};
	losses = breaks = false;
	ndiscrete = 1;
	setups[0] = plenty;
	forced = 2;
	session_begin(&thread, 3);
	submit_launch(launch_of(0, 1), 0, NULL);
	settle();
	struct sent *write = next(WRITE), *user = next(MARKER);
	uint32_t turn = (uint32_t)(write - sent), event = (uint32_t)(user - sent);
	write->na = SIZE;
	write->exact = true;
	memset(write->bytes, 3, SIZE);
	keeps_turn = true;
	submit_host(write, 0);
	while (keeps_turn)
		reap();
	struct arax_op_user op = {0};
	send_record(&op, ARAX_OP_USER, event, 0, NULL, 0, NULL, 0);
	forced = 0;
	discrete_inside(end_and_send, &turn);
	submit_launch(launch_of(2, 3), 1, &event);
	records_taken(2);
	user->done = true;
	CHECK(!arax_ring_push(&hq, ARAX_ENTRY(0, event)));
	arax_wake_ring(&shm->tenant_wake);
	/* The dispatch thread is the client until it has sent its launch. */
	while (!atomic_load(&launched_inside))
		;
	CHECK(nsent == event + 3);
	settle();
	struct sent *read = next(READ);
	read->na = SIZE;
	submit_host(read, 0);
	settle();
	forced = POLICY_WAIT;
	session_end(thread);
}

/* The only device has no room for the program, at times or ever: a launch waits, and has it, or
 * after a while an error. */
static void no_room(uint64_t from, unsigned one_in, int32_t status)
{
	pthread_t thread;
	seed = from;
	losses = breaks = false;
	ndiscrete = 1;
	setups[0] =
	    (struct discrete_setup){.memory = 64 * SIZE, .tells = true, .faults = {.room = one_in}};
	session_begin(&thread, 0);
	submit_launch(launch_of(0, 1), 0, NULL);
	await(0);
	CHECK(atomic_load(&shm->slots[0].status) == status);
	if (status)
		nsent = 0;
	settle();
	session_end(thread);
}

/* Many programs for the only device, a launch of each: they are made some at a time, and all are.
 */
static void many_programs(void)
{
	enum { PROGRAMS = 60 };
	pthread_t thread;
	losses = breaks = false;
	ndiscrete = 1;
	setups[0] = (struct discrete_setup){.memory = 64 * SIZE, .tells = true, .patience = 20000};
	session_begin(&thread, 0);
	/* As define_program() has left it. */
	struct arax_op_program_load load = {.binary_off = RESULT, .binary_len = program_size};
	for (uint32_t i = 0; i < PROGRAMS; i++) {
		struct sent *made = next(MARKER);
		load.program = ARAX_HANDLE(ARAX_HANDLE_PROGRAM, 100 + i);
		struct arax_op_kernel_define define = {.kernel =
							   ARAX_HANDLE(ARAX_HANDLE_KERNEL, 100 + i),
						       .program = load.program,
						       .nargs = 3};
		send_record(&load, ARAX_OP_PROGRAM_LOAD, (uint32_t)(made - sent), 0, NULL, 0, NULL,
			    0);
		send_record(&define, ARAX_OP_KERNEL_DEFINE, ARAX_NO_SLOT, 0, NULL, 0,
			    kernel_names[0], (uint32_t)strlen(kernel_names[0]));
		submit_kernel(launch_of(0, 1), 100 + i, 0, NULL);
		if (nsent + 2 > BATCH)
			settle();
	}
	settle();
	session_end(thread);
}

/* The kinds of sessions: what the devices are like, and what happens to them. */
static const struct kind {
	uint64_t from; /* seeds */
	struct discrete_setup setup;
	unsigned devices, allowed, rounds;
	bool lose, fails;
} kinds[] = {
    {100, {.memory = 64 * SIZE, .tells = true}, 3, 3, 15, false, false},
    {200, {.memory = ROOTS * SIZE / 4, .tells = true}, 3, 3, 15, false, false},
    {300, {.memory = ROOTS * SIZE / 4}, 2, 3, 10, false, false},
    {400, {.memory = ROOTS * SIZE / 4, .late = true}, 3, 3, 10, false, false},
    {500,
     {.memory = ROOTS * SIZE / 4, .late = true, .faults = {.never = 2, .build = 2, .full = 4}},
     3,
     3,
     10,
     false,
     false},
    {600, {.memory = 64 * SIZE, .tells = true}, 2, 2, 10, true, true},
    {700, {.memory = ROOTS * SIZE / 4, .tells = true}, 3, 3, 10, true, true},
    {800,
     {.memory = ROOTS * SIZE / 4,
      .tells = true,
      .faults = {.transfer = 20, .no_memory = 50, .full = 8}},
     3,
     3,
     10,
     false,
     true},
};

static void session_of(const struct kind *kind, uint64_t from)
{
	session(from, &kind->setup, kind->devices, kind->allowed, kind->rounds, kind->lose);
	CHECK(kind->fails || !failures);
	failures = 0;
}

/* Without arguments what every run of the tests does; else KIND (from 0), the first seed and how
 * many. */
int main(int argc, char **argv)
{
	const size_t nkinds = sizeof(kinds) / sizeof(kinds[0]);
	unsigned launched = 0;
	if (argc == 4) {
		size_t kind = strtoul(argv[1], NULL, 0);
		uint64_t from = strtoull(argv[2], NULL, 0), n = strtoull(argv[3], NULL, 0);
		CHECK(kind < nkinds);
		for (uint64_t i = from; i < from + n; i++)
			session_of(&kinds[kind], i);
		return 0;
	}
	turn_overtaken();
	for (unsigned i = 0; i < 8; i++)
		no_room(900 + i, 2, 0);
	no_room(900, 1, -45);
	many_programs();
	for (unsigned i = 0; i < 3; i++) {
		for (size_t k = 0; k < nkinds; k++)
			session_of(&kinds[k], kinds[k].from + i);
	}
	for (unsigned i = 0; i < 2 + DISCRETE_MAX; i++)
		launched += atomic_load(&discrete_launched[i]) > 20;
	CHECK(launched == 2 + DISCRETE_MAX && checked > 1000000 && reads_at_once > 50);
	return 0;
}
