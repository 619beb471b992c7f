/* SPDX-License-Identifier: Apache-2.0
 *
 * Links whose other end breaks the rules, dies or goes: a tenant that writes records which no
 * honest one writes ends its own link and nobody else's; a device's end that writes nonsense is
 * lost; what is in flight is never waited for.
 */
#include "devices/test_world.h"

#include <sys/mman.h>
#include <unistd.h>

#include "transport/socket.h"

#define MEM(n) ARAX_HANDLE(ARAX_HANDLE_MEM, n)
#define PROGRAM(n) ARAX_HANDLE(ARAX_HANDLE_PROGRAM, n)
#define KERNEL(n) ARAX_HANDLE(ARAX_HANDLE_KERNEL, n)
#define SAMPLER(n) ARAX_HANDLE(ARAX_HANDLE_SAMPLER, n)
#define STREAM(n) ARAX_HANDLE(ARAX_HANDLE_STREAM, n)

/* A tenant that writes its records itself. */
struct raw {
	struct tenant t;
	struct arax_link_shm *shm;
	struct arax_ring sq, cq;
};

static struct world w;
static struct tenant witness;
static struct arax_device_mem *witness_mem;
static _Alignas(8) unsigned char bytes[ARAX_RECORD_MAX];
static struct arax_record *const record = (struct arax_record *)bytes;
static uint64_t links = 1;

static void send_record(struct raw *raw)
{
	while (arax_ring_write(&raw->sq, record, record->size) == -EAGAIN)
		;
	arax_wake_ring(&raw->shm->device_wake);
}

/* ---- records -------------------------------------------------------------------------------- */

static void tail(const void *data, size_t size)
{
	unsigned char *at = bytes + arax_link_fixed_size(record->op);

	memset(at, 0, (size + 7) & ~(size_t)7);
	if (size)
		memcpy(at, data, size);
	record->tail_size = (uint32_t)size;
	record->size = (uint32_t)(arax_link_fixed_size(record->op) + ((size + 7) & ~(size_t)7));
}

#define GOOD_U32(name, min, max) op->name = min;
#define GOOD_U64(name, max)
#define GOOD_OBJ(name, KIND) op->name = ARAX_HANDLE(ARAX_HANDLE_##KIND, 1);
#define GOOD_OBJ0(name, KIND)
#define GOOD_RANGE(name)       \
	op->name##_off = HEAP; \
	op->name##_len = 4096;
#define ROW_GOOD(number, NAME, name, tail, slotted)                                               \
	case number: {                                                                            \
		struct arax_op_##name *op = (void *)bytes;                                        \
		record->slot = slotted ? 3 : ARAX_NO_SLOT;                                        \
		ARAX_FIELDS_##NAME(GOOD_U32, GOOD_U64, GOOD_OBJ, GOOD_OBJ0, GOOD_RANGE)(void) op; \
		break;                                                                            \
	}

/* A record of every row that is good where the objects with number 1 are there (or not, when it
 * defines one), and so can be broken in one place. */
static void good(unsigned number)
{
	const struct {
		struct arax_arg mem, value;
		uint32_t n, pad;
	} args = {{ARAX_ARG_MEM, MEM(1), 0}, {ARAX_ARG_VALUE, 0, 4}, 5, 0};

	memset(bytes, 0, 4096);
	record->op = (uint16_t)number;
	switch (number) {
		ARAX_DEVICE_OPS(ROW_GOOD)
	}
	tail(NULL, 0);
	if (number == ARAX_OP_DEV_MEM_NEW)
		((struct arax_op_dev_mem_new *)record)->size = 4096;
	if (number == ARAX_OP_DEV_PROGRAM_DATA || number == ARAX_OP_DEV_KERNEL_NEW)
		tail("add", 3);
	if (number == ARAX_OP_DEV_LAUNCH) {
		((struct arax_op_dev_launch *)record)->nargs = 2;
		((struct arax_op_dev_launch *)record)->global0 = 1;
		tail(&args, sizeof(args));
	}
}

static int check(void)
{
	return arax_link_check(record, record->size, HEAP, ARENA);
}

/* ---- tenants -------------------------------------------------------------------------------- */

static void raw_new(struct raw *raw)
{
	tenant_new(&w, &raw->t, ++links, 0, 0);
	CHECK(!arax_link_map(raw->t.link_fd, &raw->shm));
	arax_ring_init(&raw->sq, &raw->shm->sq, raw->shm->sq_data, ARAX_LINK_SQ_BYTES);
	arax_ring_init(&raw->cq, &raw->shm->cq, raw->shm->cq_data, ARAX_LINK_CQ_BYTES);
}

/* Objects with number 1 of every kind. */
static void raw_objects(struct raw *raw)
{
	struct arax_writer result = {0};

	fake_result(&result);
	good(ARAX_OP_DEV_MEM_NEW);
	send_record(raw);
	good(ARAX_OP_DEV_PROGRAM_DATA);
	tail(result.data, result.size);
	send_record(raw);
	good(ARAX_OP_DEV_PROGRAM_LOAD);
	((struct arax_op_dev_program_load *)record)->result_size = result.size;
	send_record(raw);
	good(ARAX_OP_DEV_KERNEL_NEW);
	send_record(raw);
	good(ARAX_OP_DEV_SAMPLER_NEW);
	((struct arax_op_dev_sampler_new *)record)->addressing = CL_ADDRESS_CLAMP;
	send_record(raw);
	good(ARAX_OP_DEV_STREAM_NEW);
	send_record(raw);
	arax_writer_free(&result);
}

/* One completion. Return: its status. */
static int raw_await(struct raw *raw)
{
	_Alignas(8) unsigned char scratch[sizeof(struct arax_link_done) + ARAX_LINK_LOG_MAX];
	int n;

	while (!(n = arax_ring_read(&raw->cq, scratch, sizeof(scratch))))
		;
	CHECK(n >= (int)sizeof(struct arax_link_done));
	return ((struct arax_link_done *)scratch)->status;
}

static void raw_free(struct raw *raw)
{
	arax_link_unmap(raw->shm);
	tenant_free(&w, &raw->t);
}

/* Somebody else's link goes on. */
static void witness_works(void)
{
	struct outcome o;

	CHECK(!move(&witness, witness_mem, ARAX_TO_DEVICE, 0, 0, 64, &o));
	await(&witness, &o);
	CHECK(!o.status);
}

/* The link has ended for that reason, and its tenant is told. */
static void raw_dies(struct raw *raw)
{
	CHECK(world_ended(&w, raw->t.link) == -EPROTO);
	CHECK(raw->shm->state == ARAX_LINK_BROKEN);
	CHECK(raw->t.dev.ops->ready(&raw->t.dev));
	CHECK(raw->t.dev.ops->poll(&raw->t.dev) == -ENODEV);
	CHECK(!raw->t.dev.ops->ready(&raw->t.dev));
	witness_works();
	raw_free(raw);
}

/* What is in record now is the last that this tenant sends. */
static void fatal(struct raw *raw)
{
	send_record(raw);
	raw_dies(raw);
}

/* ---- every field out of its bounds ---------------------------------------------------------- */

static unsigned broken;

/* Refused by the check, and ends a link. */
static void refused(void)
{
	struct raw raw;
	_Alignas(8) static unsigned char saved[4096];

	CHECK(check() == -EPROTO);
	memcpy(saved, bytes, sizeof(saved));
	raw_new(&raw);
	raw_objects(&raw);
	memcpy(bytes, saved, sizeof(saved));
	fatal(&raw);
	broken++;
}

#define TRY(field, value)                           \
	do {                                        \
		__typeof__(field) kept = field;     \
		field = (__typeof__(field))(value); \
		refused();                          \
		field = kept;                       \
		CHECK(!check());                    \
	} while (0)

static void try_u32(uint32_t *field, uint32_t min, uint32_t max)
{
	if (max < UINT32_MAX)
		TRY(*field, max + 1);
	if (min)
		TRY(*field, min - 1);
}

static void try_u64(uint64_t *field, uint64_t max)
{
	if (max < UINT64_MAX)
		TRY(*field, max + 1);
	if (max < UINT64_MAX)
		TRY(*field, UINT64_MAX);
}

static void try_handle(uint32_t *field, uint32_t kind)
{
	TRY(*field, ARAX_HANDLE(kind, 0));
	TRY(*field, ARAX_HANDLE(kind + 1, 1));
	TRY(*field, ARAX_HANDLE(kind, ARAX_LINK_OBJECTS));
	TRY(*field, UINT32_MAX);
}

static void try_range(uint64_t *off, uint64_t *len)
{
	TRY(*off, HEAP - 1);
	TRY(*off, ARENA);
	TRY(*off, ARENA - 4095);
	TRY(*off, UINT64_MAX);
	TRY(*len, ARENA - HEAP + 1);
	TRY(*len, UINT64_MAX);
}

#define TRY_U32(name, min, max) try_u32(&op->name, min, max);
#define TRY_U64(name, max) try_u64(&op->name, max);
#define TRY_OBJ(name, KIND) try_handle(&op->name, ARAX_HANDLE_##KIND);
#define TRY_OBJ0(name, KIND) try_handle(&op->name, ARAX_HANDLE_##KIND);
#define TRY_RANGE(name) try_range(&op->name##_off, &op->name##_len);
#define ROW_TRY(number, NAME, name, tail, slotted)                                           \
	{                                                                                    \
		struct arax_op_##name *op = (void *)bytes;                                   \
		good(number);                                                                \
		CHECK(!check());                                                             \
		try_head(slotted);                                                           \
		ARAX_FIELDS_##NAME(TRY_U32, TRY_U64, TRY_OBJ, TRY_OBJ0, TRY_RANGE)(void) op; \
	}

static void try_head(bool slotted)
{
	TRY(record->op, 0);
	TRY(record->op, ARAX_DEV_OP_COUNT);
	TRY(record->op, UINT16_MAX);
	TRY(record->nwait, 1);
	TRY(record->queue, ARAX_HANDLE(ARAX_HANDLE_QUEUE, 1));
	TRY(record->flags, 1);
	TRY(record->slot, slotted ? ARAX_LINK_SLOTS : 0);
	TRY(record->tail_size, record->tail_size + 8);
	TRY(record->tail_size, UINT32_MAX);
	TRY(record->size, record->size + 8);
}

static void every_field(void)
{
	ARAX_DEVICE_OPS(ROW_TRY)
	CHECK(broken > 150);
}

/* ---- what only the objects tell ------------------------------------------------------------- */

static void undefined(unsigned op, size_t field, uint32_t handle)
{
	struct raw raw;

	raw_new(&raw);
	raw_objects(&raw);
	good(op);
	memcpy(bytes + field, &handle, sizeof(handle));
	CHECK(!check());
	fatal(&raw);
}

static void twice(unsigned op)
{
	struct raw raw;

	raw_new(&raw);
	raw_objects(&raw);
	good(op);
	CHECK(!check());
	fatal(&raw);
}

#define AT(name, field) offsetof(struct arax_op_##name, field)

static void handles(void)
{
	undefined(ARAX_OP_DEV_MEM_FREE, AT(dev_mem_free, mem), MEM(2));
	undefined(ARAX_OP_DEV_PROGRAM_FREE, AT(dev_program_free, program), PROGRAM(2));
	undefined(ARAX_OP_DEV_KERNEL_FREE, AT(dev_kernel_free, kernel), KERNEL(2));
	undefined(ARAX_OP_DEV_SAMPLER_FREE, AT(dev_sampler_free, sampler), SAMPLER(2));
	undefined(ARAX_OP_DEV_STREAM_FREE, AT(dev_stream_free, stream), STREAM(2));
	undefined(ARAX_OP_DEV_PROGRAM_LOAD, AT(dev_program_load, program), PROGRAM(2));
	undefined(ARAX_OP_DEV_KERNEL_NEW, AT(dev_kernel_new, program), PROGRAM(2));
	undefined(ARAX_OP_DEV_LAUNCH, AT(dev_launch, kernel), KERNEL(2));
	undefined(ARAX_OP_DEV_LAUNCH, AT(dev_launch, stream), STREAM(2));
	undefined(ARAX_OP_DEV_LAUNCH,
		  sizeof(struct arax_op_dev_launch) + offsetof(struct arax_arg, object), MEM(2));
	undefined(ARAX_OP_DEV_TRANSFER, AT(dev_transfer, mem), MEM(ARAX_LINK_OBJECTS - 1));
	undefined(ARAX_OP_DEV_TRANSFER, AT(dev_transfer, stream), STREAM(2));
	twice(ARAX_OP_DEV_MEM_NEW);
	twice(ARAX_OP_DEV_KERNEL_NEW);
	twice(ARAX_OP_DEV_SAMPLER_NEW);
	twice(ARAX_OP_DEV_STREAM_NEW);
	/* It is complete, and was loaded. */
	twice(ARAX_OP_DEV_PROGRAM_DATA);
	twice(ARAX_OP_DEV_PROGRAM_LOAD);
}

static struct arax_op_dev_mem_new *second_mem(struct raw *raw)
{
	struct arax_op_dev_mem_new *op = (void *)bytes;

	raw_new(raw);
	raw_objects(raw);
	good(ARAX_OP_DEV_MEM_NEW);
	op->mem = MEM(2);
	op->data_off = op->data_len = 0;
	return op;
}

static void parts_and_images(void)
{
	struct arax_op_dev_mem_new *op;
	struct raw raw;

	op = second_mem(&raw);
	op->parent = MEM(3);
	fatal(&raw);
	op = second_mem(&raw);
	op->parent = MEM(1);
	op->origin = 1;
	fatal(&raw);
	op = second_mem(&raw);
	op->parent = MEM(1);
	op->origin = INT64_MAX;
	fatal(&raw);
	/* Parts of parts, without end. */
	op = second_mem(&raw);
	for (uint32_t i = 2; i < 5; i++) {
		op->mem = MEM(i);
		op->parent = MEM(i - 1);
		send_record(&raw);
	}
	for (uint32_t i = 5; i < 7; i++) {
		op->mem = MEM(i);
		op->parent = MEM(i - 1);
		send_record(&raw);
	}
	raw_dies(&raw);
	/* 32 x 32 elements of 4 bytes are what it has. */
	for (int i = 0; i < 7; i++) {
		op = second_mem(&raw);
		op->type = i < 4 ? CL_MEM_OBJECT_IMAGE2D : CL_MEM_OBJECT_IMAGE3D;
		op->channel_order = CL_RGBA;
		op->channel_type = CL_UNORM_INT8;
		op->width = op->height = 32;
		op->depth = 1;
		send_record(&raw);
		op->mem = MEM(3);
		op->width += i == 0;
		op->height += i == 1;
		op->row_pitch = i == 2 ? 127 : i == 3 ? INT64_MAX : 0;
		op->depth += i == 4;
		op->depth -= i == 5;
		op->slice_pitch = i == 6 ? 1 : 0;
		op->depth += i == 6;
		fatal(&raw);
	}
	/* A format that nobody knows is an error of what uses it. */
	op = second_mem(&raw);
	op->type = CL_MEM_OBJECT_IMAGE1D;
	op->channel_order = 1;
	op->width = 1;
	send_record(&raw);
	good(ARAX_OP_DEV_TRANSFER);
	((struct arax_op_dev_transfer *)record)->mem = MEM(2);
	send_record(&raw);
	CHECK(raw_await(&raw) == 0 && raw_await(&raw) == CL_IMAGE_FORMAT_NOT_SUPPORTED);
	/* Nothing is a part of an image. */
	op = (void *)bytes;
	good(ARAX_OP_DEV_MEM_NEW);
	op->mem = MEM(3);
	op->parent = MEM(2);
	fatal(&raw);
}

static void transfers_and_programs(void)
{
	struct arax_op_dev_transfer *transfer = (void *)bytes;
	struct arax_op_dev_program_load *load = (void *)bytes;
	struct raw raw;

	raw_new(&raw);
	raw_objects(&raw);
	good(ARAX_OP_DEV_TRANSFER);
	transfer->offset = 1;
	fatal(&raw);
	raw_new(&raw);
	raw_objects(&raw);
	good(ARAX_OP_DEV_TRANSFER);
	transfer->host_len = 4097;
	fatal(&raw);
	for (int part = 0; part < 2; part++) {
		raw_new(&raw);
		good(ARAX_OP_DEV_PROGRAM_DATA);
		send_record(&raw);
		good(ARAX_OP_DEV_PROGRAM_LOAD);
		load->result_size = part ? 3 : 4;
		load->request_size = (uint64_t)part;
		fatal(&raw);
	}
	/* A kernel of what has not come yet. */
	raw_new(&raw);
	good(ARAX_OP_DEV_PROGRAM_DATA);
	send_record(&raw);
	good(ARAX_OP_DEV_KERNEL_NEW);
	fatal(&raw);
	/* Nonsense instead of a program is that program's failure. */
	raw_new(&raw);
	good(ARAX_OP_DEV_PROGRAM_DATA);
	send_record(&raw);
	good(ARAX_OP_DEV_PROGRAM_LOAD);
	load->result_size = 3;
	send_record(&raw);
	CHECK(raw_await(&raw) == CL_INVALID_BINARY);
	witness_works();
	raw_free(&raw);
}

/* ---- the rings ------------------------------------------------------------------------------ */

static void rings(void)
{
	struct raw raw;

	/* An index that cannot be. */
	raw_new(&raw);
	atomic_store(&raw.shm->sq.tail, ARAX_LINK_SQ_BYTES + 8);
	arax_wake_ring(&raw.shm->device_wake);
	raw_dies(&raw);
	/* Sizes that cannot be. */
	for (uint32_t size = 0; size < 20; size += 4) {
		raw_new(&raw);
		good(ARAX_OP_DEV_STREAM_NEW);
		memcpy(raw.shm->sq_data, bytes, record->size);
		memcpy(raw.shm->sq_data, &size, sizeof(size));
		atomic_store(&raw.shm->sq.tail, record->size);
		arax_wake_ring(&raw.shm->device_wake);
		raw_dies(&raw);
	}
	/* A slot twice. */
	fake_set(&w.fake, &w.fake.hold, true);
	raw_new(&raw);
	raw_objects(&raw);
	good(ARAX_OP_DEV_TRANSFER);
	send_record(&raw);
	send_record(&raw);
	CHECK(world_ended(&w, raw.t.link) == -EPROTO);
	fake_set(&w.fake, &w.fake.hold, false);
	witness_works();
	/* It had begun, or it had not. */
	pthread_mutex_lock(&w.fake.lock);
	bool begun = w.fake.first;
	pthread_mutex_unlock(&w.fake.lock);
	if (begun)
		fake_run(&w.fake, 1);
	raw_free(&raw);
	/* Completions that nobody reads. */
	raw_new(&raw);
	raw_objects(&raw);
	good(ARAX_OP_DEV_TRANSFER);
	for (uint32_t i = 0; !raw.shm->state; i++) {
		record->slot = i % ARAX_LINK_SLOTS;
		if (!arax_ring_write(&raw.sq, record, record->size))
			arax_wake_ring(&raw.shm->device_wake);
	}
	raw_dies(&raw);
	/* And a reader that never wrote what it claims. */
	raw_new(&raw);
	raw_objects(&raw);
	atomic_store(&raw.shm->cq.head, 1u << 30);
	good(ARAX_OP_DEV_TRANSFER);
	for (uint32_t i = 0; !raw.shm->state; i++) {
		record->slot = i % ARAX_LINK_SLOTS;
		if (!arax_ring_write(&raw.sq, record, record->size))
			arax_wake_ring(&raw.shm->device_wake);
	}
	raw_dies(&raw);
}

/* ---- the device's end, and the ends of both ------------------------------------------------- */

/* What a device's end never writes: the tenant's end takes it for lost. */
static void device_lies(void)
{
	struct {
		struct arax_link_done done;
		char log[8];
	} lie;

	for (int i = 0; i < 9; i++) {
		struct raw raw;
		struct arax_ring cq;
		struct outcome o;
		struct arax_device_mem *mem;

		raw_new(&raw);
		/* Nobody serves it any more, so this is its device. */
		CHECK(!serve_unlink(w.serve, raw.t.link));
		CHECK(!world_ended(&w, raw.t.link));
		atomic_store(&raw.shm->state, ARAX_LINK_OPEN);
		CHECK(!raw.t.dev.ops->stream_new(&raw.t.dev, &raw.t.stream));
		mem = buffer(&raw.t, 0, 64);
		CHECK(!move(&raw.t, mem, ARAX_TO_DEVICE, 0, 0, 64, &o));
		arax_ring_init(&cq, &raw.shm->cq, raw.shm->cq_data, ARAX_LINK_CQ_BYTES);
		memset(&lie, 0, sizeof(lie));
		lie.done.size = sizeof(lie.done);
		/* The first slot that was free. */
		lie.done.slot = i == 0 ? 1 : i == 1 ? ARAX_LINK_SLOTS : 0;
		lie.done.status = i == 2 ? 1 : i == 3 ? INT32_MIN : 0;
		lie.done.log_size = i == 4 ? 8 : i == 5 ? UINT32_MAX : 0;
		if (i == 4 || i == 6)
			lie.done.size = sizeof(lie);
		if (i == 7)
			atomic_store(&raw.shm->cq.tail, ARAX_LINK_CQ_BYTES + 8);
		else
			CHECK(!arax_ring_write(&cq, &lie, lie.done.size));
		if (i == 8) {
			/* The truth, once; the second time there is no such command. */
			CHECK(raw.t.dev.ops->poll(&raw.t.dev) == 1);
			CHECK(o.calls == 1 && !o.status);
			CHECK(!arax_ring_write(&cq, &lie, lie.done.size));
		}
		CHECK(raw.t.dev.ops->ready(&raw.t.dev));
		CHECK(raw.t.dev.ops->poll(&raw.t.dev) == -ENODEV);
		CHECK(o.calls == 1 && (i == 8 || o.status == CL_DEVICE_NOT_AVAILABLE));
		CHECK(move(&raw.t, mem, ARAX_TO_DEVICE, 0, 0, 64, &o) == CL_DEVICE_NOT_AVAILABLE);
		raw.t.dev.ops->mem_free(&raw.t.dev, mem);
		raw.t.dev.ops->stream_free(&raw.t.dev, raw.t.stream);
		raw.t.stream = NULL;
		raw_free(&raw);
	}
}

static struct arax_device *again_dev;
static struct tenant *again;
static unsigned again_calls;

/* From inside: everything fails at once, nothing is forgotten. */
static void on_lost(void *arg, int status, uint64_t start, uint64_t end)
{
	struct outcome o;

	command_ended(arg, status, start, end);
	CHECK(status == CL_DEVICE_NOT_AVAILABLE);
	CHECK(move(again, witness_mem, ARAX_TO_DEVICE, 0, 0, 64, &o) == CL_DEVICE_NOT_AVAILABLE);
	arax_remote_lost(again_dev);
	again_calls++;
}

/* UNLINK: neither waits for what never ends. */
static void unlink_in_flight(void)
{
	struct tenant t;
	struct arax_device_mem *used, *idle;
	struct outcome o[8];
	struct fake_seen before = fake_look(&w.fake), seen;

	tenant_new(&w, &t, ++links, 0, 2);
	tenant_setup(&t);
	used = buffer(&t, 0, 64);
	idle = buffer(&t, 0, 64);
	fake_set(&w.fake, &w.fake.hold, true);
	for (int i = 0; i < 8; i++)
		CHECK(!move(&t, used, ARAX_TO_DEVICE, 0, 0, 64, &o[i]));
	fake_wait(&w.fake, 2);
	CHECK(!serve_unlink(w.serve, t.link));
	CHECK(serve_unlink(w.serve, t.link) == -ENOENT);
	CHECK(!world_ended(&w, t.link));
	fake_wait_streams(&w.fake, before.streams);
	/* What is not in flight goes; and the others get on. */
	fake_set(&w.fake, &w.fake.hold, false);
	witness_works();
	do
		seen = fake_look(&w.fake);
	while (seen.mems != before.mems + 1 || seen.programs != before.programs ||
	       seen.kernels != before.kernels);
	CHECK(seen.commands == 2);
	for (int i = 0; i < 8; i++) {
		await(&t, &o[i]);
		CHECK(o[i].status == CL_DEVICE_NOT_AVAILABLE);
	}
	t.dev.ops->mem_free(&t.dev, used);
	t.dev.ops->mem_free(&t.dev, idle);
	tenant_free(&w, &t);
	/* Into an arena that nobody else has mapped any more. */
	fake_run(&w.fake, 2);
	while (fake_look(&w.fake).mems != before.mems)
		;
}

/* What was being copied to a tenant that has gone, or whose link has, comes to nowhere: its memory
 * may be another's. Nor does anybody believe that it came. */
static void late_copy(bool unlinked)
{
	struct tenant t;
	struct arax_device_mem *mem;
	struct outcome o;
	struct arax_link_shm *shm;
	unsigned mems = fake_look(&w.fake).mems;

	tenant_new(&w, &t, ++links, 0, 2);
	tenant_setup(&t);
	mem = buffer(&t, 0, 64);
	for (int i = 0; i < 16; i++)
		*(heap_at(&t, 0) + i) = 0xdead;
	CHECK(!move(&t, mem, ARAX_TO_DEVICE, 0, 0, 64, &o));
	await(&t, &o);
	CHECK(!o.status);
	fake_set(&w.fake, &w.fake.hold, true);
	CHECK(!move(&t, mem, ARAX_FROM_DEVICE, 0, 0, 64, &o));
	fake_wait(&w.fake, 1);
	if (unlinked) {
		CHECK(!serve_unlink(w.serve, t.link));
	} else {
		CHECK(!arax_link_map(t.link_fd, &shm));
		atomic_store(&shm->sq.tail, 0x12345678);
		arax_wake_ring(&shm->device_wake);
		CHECK(world_ended(&w, t.link) == -EPROTO);
		arax_link_unmap(shm);
	}
	for (int i = 0; i < 16; i++)
		*(heap_at(&t, 0) + i) = 0x600d;
	fake_set(&w.fake, &w.fake.hold, false);
	fake_run(&w.fake, 1);
	await(&t, &o);
	CHECK(o.status == CL_DEVICE_NOT_AVAILABLE);
	t.dev.ops->mem_free(&t.dev, mem);
	while (fake_look(&w.fake).mems != mems)
		;
	for (int i = 0; i < 16; i++)
		CHECK(*(heap_at(&t, 0) + i) == 0x600d);
	tenant_free(&w, &t);
}

static void bad_links(void)
{
	struct arax_control_link message = {.link = ++links, .arena_size = ARENA};
	int link = arax_link_new(), arena = arax_memfd_new("arena", ARENA);
	int loose = memfd_create("loose", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct arax_link_shm *shm;

	CHECK(link >= 0 && arena >= 0 && loose >= 0);
	CHECK(!ftruncate(loose, sizeof(*shm)));
	CHECK(arax_link_map(loose, &shm) == -EPROTO && arax_link_map(arena, &shm) == -EPROTO);
	CHECK(serve_link(w.serve, &message, loose, arena) == -EPROTO);
	CHECK(serve_link(w.serve, &message, link, loose) == -EPROTO);
	CHECK(serve_link(w.serve, &message, arena, link) == -EPROTO);
	CHECK(serve_link(w.serve, &message, -1, -1) == -EPROTO);
	message.arena_size++;
	CHECK(serve_link(w.serve, &message, link, arena) == -EPROTO);
	message.arena_size = HEAP;
	CHECK(serve_link(w.serve, &message, link, arena) == -EPROTO);
	message.arena_size = ARENA;
	message.link = 0;
	CHECK(serve_link(w.serve, &message, link, arena) == -EEXIST);
	uint64_t first = message.link = links;
	while (!serve_link(w.serve, &message, link, arena))
		message.link++;
	CHECK(serve_link(w.serve, &message, link, arena) == -EMFILE);
	CHECK(message.link - first == ARAX_DEVICE_LINKS - 1);
	links = message.link;
	while (message.link-- > first) {
		CHECK(!serve_unlink(w.serve, message.link));
		CHECK(!world_ended(&w, message.link));
	}
	close(link);
	close(arena);
	close(loose);
}

/* The device is lost: every tenant knows, with all that it had there. Last: nothing works after. */
static void lost_device(void)
{
	struct tenant t;
	struct outcome o[3];
	struct arax_device_mem *mem;
	struct arax_control_link message = {.link = 1000000, .arena_size = ARENA};

	tenant_new(&w, &t, ++links, 0, 0);
	tenant_setup(&t);
	mem = buffer(&t, 0, 64);
	fake_set(&w.fake, &w.fake.hold, true);
	CHECK(!move(&t, mem, ARAX_TO_DEVICE, 0, 0, 64, &o[0]));
	CHECK(!move(&t, mem, ARAX_TO_DEVICE, 0, 0, 64, &o[1]));
	fake_wait(&w.fake, 2);
	fake_set(&w.fake, &w.fake.lost, true);
	CHECK(!move(&t, mem, ARAX_TO_DEVICE, 0, 0, 64, &o[2]));
	fake_run(&w.fake, 2);
	for (int i = 0; i < 3; i++) {
		await(&t, &o[i]);
		CHECK(o[i].status == CL_DEVICE_NOT_AVAILABLE);
	}
	CHECK(world_ended(&w, t.link) == -ENODEV && world_ended(&w, witness.link) == -ENODEV);
	while (witness.dev.ops->poll(&witness.dev) != -ENODEV)
		;
	CHECK(serve_link(w.serve, &message, t.link_fd, t.arena_fd) == -ENODEV);
	t.dev.ops->mem_free(&t.dev, mem);
	tenant_free(&w, &t);
}

/* The tenant gives it up. */
static void tenant_gives_up(void)
{
	struct tenant t;
	struct outcome o = {0};
	struct arax_device_mem *mem;

	tenant_new(&w, &t, ++links, 0, 0);
	tenant_setup(&t);
	mem = buffer(&t, 0, 64);
	fake_set(&w.fake, &w.fake.hold, true);
	const struct arax_transfer transfer = {
	    .mem = mem, .size = 64, .host = heap_at(&t, 0), .done = on_lost, .arg = &o};
	CHECK(!t.dev.ops->transfer(&t.dev, t.stream, &transfer));
	again = &t;
	again_dev = &t.dev;
	arax_remote_lost(&t.dev);
	CHECK(again_calls == 1 && o.calls == 1 && !t.dev.ops->ready(&t.dev));
	CHECK(t.dev.ops->poll(&t.dev) == -ENODEV);
	fake_set(&w.fake, &w.fake.hold, false);
	t.dev.ops->mem_free(&t.dev, mem);
	tenant_free(&w, &t);
	pthread_mutex_lock(&w.fake.lock);
	bool begun = w.fake.first;
	pthread_mutex_unlock(&w.fake.lock);
	if (begun)
		fake_run(&w.fake, 1);
}

int main(void)
{
	world_new(&w);
	tenant_new(&w, &witness, 1, 0, 0);
	tenant_setup(&witness);
	witness_mem = buffer(&witness, 0, 64);
	every_field();
	handles();
	parts_and_images();
	transfers_and_programs();
	rings();
	device_lies();
	unlink_in_flight();
	late_copy(true);
	late_copy(false);
	tenant_gives_up();
	bad_links();
	lost_device();
	witness.dev.ops->mem_free(&witness.dev, witness_mem);
	tenant_free(&w, &witness);
	world_free(&w);
	printf("%u records were refused\n", broken);
	return 0;
}
