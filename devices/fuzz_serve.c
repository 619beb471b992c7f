/* SPDX-License-Identifier: Apache-2.0
 *
 * The decoder of a link and all that it does with a device, on a ring full of whatever a tenant may
 * have put there; the device is the fake one, which checks what it is asked for. Without the link's
 * thread, so that each run is the same. At the end nothing may be left on the device.
 *
 * Input: flags (8), then records. Flags, bit 0: commands end only at the end; bit 1: so do builds;
 * bit 2: a budget of memory.
 */
#include "devices/serve_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/test_fake.h"
#include "transport/fuzz_records.h"
#include "transport/fuzz_rows.h"

#define HEAD 8
#define MEMORY (1u << 20)

static unsigned long reached[ARAX_DEV_OP_COUNT], launched;

/* What serve.c would do. */
void link_attend(struct serve_link *link)
{
	atomic_store(&link->attention, 1);
}

void link_stop(struct serve_link *link, int error, const char *why)
{
	link->error = error;
	link->why = why;
	atomic_store(&link->stop, true);
}

void serve_lose(struct serve *serve)
{
	serve->lost = true;
}

/* ---- one execution -------------------------------------------------------------------------- */

struct run {
	struct fake fake;
	struct arax_device dev;
	struct arax_device_usage usage;
	struct serve serve;
	struct serve_link *link;
};

static void run_begin(struct run *run, uint8_t flags)
{
	static struct arax_link_shm shm;
	static void *arena;
	struct serve_link *link = calloc(1, sizeof(*link));

	if (!arena)
		arena = calloc(1, FUZZ_HEAP_END);
	CHECK(link && arena);
	memset(run, 0, sizeof(*run));
	memset(&shm.cq, 0, sizeof(shm.cq));
	fake_open(&run->fake, &run->dev);
	run->fake.hold = flags & 1;
	run->fake.hold_builds = flags & 2;
	run->fake.limited = true;
	run->fake.memory = MEMORY;
	run->serve.dev = &run->dev;
	run->serve.usage = &run->usage;
	pthread_mutex_init(&run->serve.calls, NULL);
	pthread_mutex_init(&run->serve.state, NULL);
	run->link = link;
	link->serve = &run->serve;
	link->shm = &shm;
	link->arena = arena;
	link->arena_size = FUZZ_HEAP_END;
	link->usage = &run->usage.links[0];
	link->memory_limit = flags & 4 ? MEMORY / 4 : 0;
	arax_ring_init(&link->cq, &shm.cq, shm.cq_data, ARAX_LINK_CQ_BYTES);
	queue_init(&link->held);
	queue_init(&link->waiting);
	queue_init(&link->granted);
	queue_init(&link->ended);
	share_join(&run->serve.share, &link->share, 1, 4);
}

/* In memory of exactly its size, so that a byte too far is seen. */
static int check(const uint8_t *data, size_t size)
{
	struct arax_record *record = malloc(size);
	int rc;

	CHECK(record);
	memcpy(record, data, size);
	rc = arax_link_check(record, size, FUZZ_HEAP_OFF, FUZZ_HEAP_END);
	if (!rc) {
		const volatile uint8_t *tail = arax_link_tail(record);

		CHECK(arax_link_op_name(record->op)[0] != '?');
		for (uint32_t i = 0; i < record->tail_size; i++)
			(void)tail[i];
	}
	free(record);
	return rc;
}

/* One record and all that follows from it. Return: does the link go on? */
static bool run_record(struct run *run, const uint8_t *data, size_t size)
{
	struct serve_link *link = run->link;
	const char *why = NULL;
	int good = check(data, size), rc;

	memcpy(link->record, data, size);
	rc = decode(link, size, &why);
	CHECK(rc == 0 || (rc == -EPROTO && why) || rc == -ENOMEM);
	CHECK(!good || rc == -EPROTO);
	if (rc)
		return false;
	reached[((struct arax_record *)link->record)->op]++;
	for (int i = 0; i < 3; i++) {
		commands_offer(link);
		commands_collect(link);
	}
	/* The tenant reads its completions. */
	atomic_store(&link->shm->cq.head, atomic_load(&link->shm->cq.tail));
	CHECK(!atomic_load(&link->stop));
	return true;
}

static void run_end(struct run *run)
{
	struct serve_link *link = run->link;
	struct serve_command *dropped;

	share_leave(&run->serve.share, &link->share);
	link->left = true;
	dropped = commands_drop(link);
	while (dropped) {
		struct serve_command *next = dropped->next;

		command_free(link, dropped);
		dropped = next;
	}
	objects_exit(link);
	if (run->fake.builds)
		fake_build(&run->fake);
	fake_run(&run->fake, run->fake.seen.commands);
	atomic_store(&link->stop, true);
	commands_collect(link);
	CHECK(!link->in_flight && !link->memory && !link->program_bytes);
	launched += run->fake.seen.launches;
	CHECK(run->fake.memory == MEMORY);
	fake_close(&run->fake);
	pthread_mutex_destroy(&run->serve.calls);
	pthread_mutex_destroy(&run->serve.state);
	free(link);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct run run;
	uint32_t own;

	if (size < HEAD)
		return 0;
	run_begin(&run, data[0]);
	for (size_t at = HEAD; size - at >= sizeof(struct arax_record); at += own) {
		/* As arax_ring_read() gives them. */
		memcpy(&own, data + at, sizeof(own));
		if (own < sizeof(struct arax_record) || own % 8 || own > size - at ||
		    own > ARAX_RECORD_MAX || !run_record(&run, data + at, own))
			break;
	}
	run_end(&run);
	return 0;
}

/* ---- the grammar ---------------------------------------------------------------------------- */

ARAX_DEVICE_OPS(ROW_MAKE)
ARAX_DEVICE_OPS(ROW_WRONG)

/* Not inlined: the compiler would believe that what lies behind the struct is not there. */
static __attribute__((noinline)) void put_tail(struct arax_record *record, const void *data,
					       size_t size)
{
	char *tail = (char *)record + arax_link_fixed_size(record->op);

	memset(tail, 0, (size + 7) & ~(size_t)7);
	if (size)
		memcpy(tail, data, size);
	record->tail_size = (uint32_t)size;
	record->size = (uint32_t)(arax_link_fixed_size(record->op) + ((size + 7) & ~(size_t)7));
}

static void make_arguments(struct arax_op_dev_launch *op, uint64_t *random)
{
	struct {
		struct arax_arg mem, value;
		uint32_t n, pad;
		struct arax_arg local, image, sampler;
	} args = {.mem = {ARAX_ARG_MEM, handle(random, ARAX_HANDLE_MEM), 0},
		  .value = {ARAX_ARG_VALUE, 0, 4},
		  .local = {ARAX_ARG_LOCAL, 0, 64},
		  .image = {ARAX_ARG_MEM, handle(random, ARAX_HANDLE_MEM), 0},
		  .sampler = {ARAX_ARG_SAMPLER, handle(random, ARAX_HANDLE_SAMPLER), 0}};
	bool all = below(random, 3) == 0;

	op->nargs = all ? 5 : 2;
	op->local0 = op->local1 = op->local2 = below(random, 4);
	put_tail(&op->head, &args, all ? sizeof(args) : offsetof(__typeof__(args), local));
}

/* Mostly what fits: buffers, parts of them, small images. */
static void make_memory(struct arax_op_dev_mem_new *op, uint64_t *random)
{
	op->size = op->data_len;
	op->origin = op->parent ? pick(random, 0, 2) * 128 : 0;
	if (op->parent)
		op->size = op->data_len = 4096 - op->origin;
	if (below(random, 4))
		op->type = CL_MEM_OBJECT_BUFFER;
	op->channel_order = CL_R + (uint32_t)below(random, 12);
	op->channel_type = CL_SNORM_INT8 + (uint32_t)below(random, 16);
	op->width = pick(random, 1, 16);
	op->height = pick(random, 1, 8);
	op->depth = pick(random, 1, 4);
	op->array_size = pick(random, 1, 4);
	op->row_pitch = below(random, 2) ? 0 : 256;
	op->slice_pitch = below(random, 2) ? 0 : 2048;
}

static void serve_make(unsigned number, struct arax_record *record, uint64_t *random)
{
	static struct arax_writer result;
	static const char *const names[] = {"add", "all", "fails", "nothing"};
	const char *name = names[below(random, 4)];

	if (!result.size)
		fake_result(&result);
	memset(record, 0, FUZZ_RECORD_MAX);
	switch (number) {
		ARAX_DEVICE_OPS(ROW_MAKE_CASE)
	}
	put_tail(record, NULL, 0);
	if (number == ARAX_OP_DEV_LAUNCH)
		make_arguments((void *)record, random);
	else if (number == ARAX_OP_DEV_MEM_NEW)
		make_memory((void *)record, random);
	else if (number == ARAX_OP_DEV_TRANSFER)
		((struct arax_op_dev_transfer *)record)->offset = below(random, 2) * 64;
	else if (number == ARAX_OP_DEV_KERNEL_NEW)
		put_tail(record, name, strlen(name));
	else if (number == ARAX_OP_DEV_PROGRAM_DATA)
		put_tail(record, result.data, result.size);
	else if (number == ARAX_OP_DEV_PROGRAM_LOAD) {
		((struct arax_op_dev_program_load *)record)->result_size = result.size;
		((struct arax_op_dev_program_load *)record)->request_size = 0;
	}
}

static void serve_spoil(struct arax_record *record, uint64_t *random)
{
	if (below(random, 5) == 0) {
		record->tail_size = (uint32_t)wrong(random, record->tail_size, record->tail_size);
		return;
	}
	switch (record->op) {
		ARAX_DEVICE_OPS(ROW_WRONG_CASE)
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	const struct fuzz_rows rows = {ARAX_DEV_OP_COUNT, serve_make, serve_spoil,
				       arax_link_fixed_size};
	uint64_t random = seed;

	if (size < HEAD || max < HEAD + 8 || test_random(&random) % 32 == 0)
		return LLVMFuzzerMutate(data, size, max);
	return HEAD + fuzz_rows_mutate(&rows, data + HEAD, size - HEAD, max - HEAD, &random);
}

/* The handle of the object that a record is about is its first field. */
static void number_one(struct arax_record *record, uint32_t kind)
{
	const uint32_t number = ARAX_HANDLE(kind, 1);

	memcpy(record + 1, &number, sizeof(number));
}

/* An object of every kind with number 1, of which everything else is about. */
static size_t seed_objects(uint8_t *data, uint64_t *random)
{
	static const struct {
		unsigned op;
		uint32_t kind;
	} rows[] = {{ARAX_OP_DEV_MEM_NEW, ARAX_HANDLE_MEM},
		    {ARAX_OP_DEV_PROGRAM_DATA, ARAX_HANDLE_PROGRAM},
		    {ARAX_OP_DEV_PROGRAM_LOAD, ARAX_HANDLE_PROGRAM},
		    {ARAX_OP_DEV_KERNEL_NEW, ARAX_HANDLE_KERNEL},
		    {ARAX_OP_DEV_SAMPLER_NEW, ARAX_HANDLE_SAMPLER},
		    {ARAX_OP_DEV_STREAM_NEW, ARAX_HANDLE_STREAM}};
	_Alignas(8) uint8_t bytes[FUZZ_RECORD_MAX];
	struct arax_record *record = (void *)bytes;
	size_t size = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		serve_make(rows[i].op, record, random);
		number_one(record, rows[i].kind);
		if (rows[i].op == ARAX_OP_DEV_MEM_NEW) {
			((struct arax_op_dev_mem_new *)record)->parent = 0;
			((struct arax_op_dev_mem_new *)record)->origin = 0;
			((struct arax_op_dev_mem_new *)record)->type = CL_MEM_OBJECT_BUFFER;
		}
		if (rows[i].op == ARAX_OP_DEV_PROGRAM_DATA)
			((struct arax_op_dev_program_data *)record)->part = 0;
		if (rows[i].op == ARAX_OP_DEV_KERNEL_NEW) {
			((struct arax_op_dev_kernel_new *)record)->program =
			    ARAX_HANDLE(ARAX_HANDLE_PROGRAM, 1);
			put_tail(record, "add", 3);
		}
		memcpy(data + size, bytes, record->size);
		size += record->size;
	}
	return size;
}

/* What a command of the corpus is about: the objects with number 1. */
static void about_one(struct arax_record *record)
{
	struct arax_op_dev_launch *launch = (void *)record;
	struct arax_op_dev_transfer *transfer = (void *)record;

	switch (record->op) {
	case ARAX_OP_DEV_LAUNCH:
		launch->kernel = ARAX_HANDLE(ARAX_HANDLE_KERNEL, 1);
		launch->stream = ARAX_HANDLE(ARAX_HANDLE_STREAM, 1);
		break;
	case ARAX_OP_DEV_TRANSFER:
		transfer->mem = ARAX_HANDLE(ARAX_HANDLE_MEM, 1);
		transfer->stream = ARAX_HANDLE(ARAX_HANDLE_STREAM, 1);
		transfer->offset = 0;
		transfer->host_len = 4096;
		break;
	case ARAX_OP_DEV_MEM_FREE:
		return number_one(record, ARAX_HANDLE_MEM);
	case ARAX_OP_DEV_PROGRAM_FREE:
		return number_one(record, ARAX_HANDLE_PROGRAM);
	case ARAX_OP_DEV_KERNEL_FREE:
		return number_one(record, ARAX_HANDLE_KERNEL);
	case ARAX_OP_DEV_SAMPLER_FREE:
		return number_one(record, ARAX_HANDLE_SAMPLER);
	case ARAX_OP_DEV_STREAM_FREE:
		return number_one(record, ARAX_HANDLE_STREAM);
	}
}

/* The launch of the corpus is one that runs. */
static void launch_add(struct arax_op_dev_launch *op)
{
	const struct {
		struct arax_arg mem, value;
		uint32_t n, pad;
	} args = {{ARAX_ARG_MEM, ARAX_HANDLE(ARAX_HANDLE_MEM, 1), 0}, {ARAX_ARG_VALUE, 0, 4}, 7, 0};

	op->nargs = 2;
	op->global0 = 16;
	put_tail(&op->head, &args, sizeof(args));
}

/* One file for each row, once executed at once and once with everything in flight at the end. */
size_t fuzz_seed(unsigned n, uint8_t *data, size_t max, char *name)
{
	_Alignas(8) uint8_t bytes[FUZZ_RECORD_MAX];
	struct arax_record *record = (void *)bytes;
	unsigned op = 1 + n / 2;
	uint64_t random = n;
	size_t size;

	if (op >= ARAX_DEV_OP_COUNT)
		return 0;
	CHECK(max >= 16 * FUZZ_RECORD_MAX);
	memset(data, 0, HEAD);
	data[0] = n & 1 ? 3 : 0;
	snprintf(name, 32, "%s%s", arax_link_op_name(op), n & 1 ? "-held" : "");
	size = HEAD + seed_objects(data + HEAD, &random);
	serve_make(ARAX_OP_DEV_LAUNCH, record, &random);
	about_one(record);
	launch_add((void *)record);
	record->slot = 1;
	memcpy(data + size, bytes, record->size);
	size += record->size;
	serve_make(op, record, &random);
	about_one(record);
	if (op == ARAX_OP_DEV_LAUNCH)
		launch_add((void *)record);
	if (record->slot != ARAX_NO_SLOT)
		record->slot = 2;
	memcpy(data + size, bytes, record->size);
	return size + record->size;
}

void fuzz_reached(void)
{
	for (unsigned op = 1; op < ARAX_DEV_OP_COUNT; op++) {
		if (!reached[op])
			fprintf(stderr, "no record of the corpus is a good %s\n",
				arax_link_op_name(op));
		CHECK(reached[op]);
	}
	CHECK(launched);
}
