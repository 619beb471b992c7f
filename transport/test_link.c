/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory of a link and the checks of its records: for every row of device.def a good record
 * passes, and each field out of its bounds is refused. What the objects tell, and what becomes of
 * a link with such records, is in devices/test_hostile.c.
 */
#include "transport/link.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "transport/socket.h"
#include "transport/testing.h"

#define HEAP_OFF ((uint64_t)ARAX_HEAP_OFFSET)
#define HEAP_END (HEAP_OFF + (1u << 30))

static _Alignas(8) unsigned char buffer[ARAX_RECORD_MAX];
static struct arax_record *const record = (struct arax_record *)buffer;

static int check(void)
{
	return arax_link_check(record, record->size, HEAP_OFF, HEAP_END);
}

static void tail(const void *data, size_t size)
{
	unsigned char *at = buffer + arax_link_fixed_size(record->op);

	memset(at, 0, (size + 7) & ~(size_t)7);
	if (size)
		memcpy(at, data, size);
	record->tail_size = (uint32_t)size;
	record->size = (uint32_t)(arax_link_fixed_size(record->op) + ((size + 7) & ~(size_t)7));
}

#define GOOD_U32(name, min, max) op->name = min;
#define GOOD_U64(name, max)
#define GOOD_OBJ(name, KIND) op->name = ARAX_HANDLE(ARAX_HANDLE_##KIND, 7);
#define GOOD_OBJ0(name, KIND)
#define GOOD_RANGE(name)           \
	op->name##_off = HEAP_OFF; \
	op->name##_len = 4096;
#define ROW_GOOD(number, NAME, name, tail, slotted)                                               \
	case number: {                                                                            \
		struct arax_op_##name *op = (void *)buffer;                                       \
		record->slot = slotted ? 5 : ARAX_NO_SLOT;                                        \
		ARAX_FIELDS_##NAME(GOOD_U32, GOOD_U64, GOOD_OBJ, GOOD_OBJ0, GOOD_RANGE)(void) op; \
		break;                                                                            \
	}

static void good(unsigned number)
{
	const struct {
		struct arax_arg value, sampler;
	} args = {{ARAX_ARG_LOCAL, 0, 64},
		  {ARAX_ARG_SAMPLER, ARAX_HANDLE(ARAX_HANDLE_SAMPLER, 1), 0}};

	memset(buffer, 0, 4096);
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
		tail(&args, sizeof(args));
	}
	CHECK(!check());
}

#define TRY(field, value, expected)                           \
	do {                                                  \
		__typeof__(field) kept = field;               \
		field = (__typeof__(field))(value);           \
		CHECK(check() == ((expected) ? 0 : -EPROTO)); \
		field = kept;                                 \
		CHECK(!check());                              \
	} while (0)

static void try_u32(uint32_t *field, uint32_t min, uint32_t max)
{
	if (max < UINT32_MAX)
		TRY(*field, max + 1, false);
	if (min)
		TRY(*field, min - 1, false);
}

static void try_u64(uint64_t *field, uint64_t max)
{
	if (max < UINT64_MAX)
		TRY(*field, max + 1, false);
}

static void try_handle(uint32_t *field, uint32_t kind, bool null)
{
	TRY(*field, 0, null);
	TRY(*field, ARAX_HANDLE(kind, 0), false);
	TRY(*field, ARAX_HANDLE(kind, ARAX_LINK_OBJECTS - 1), true);
	TRY(*field, ARAX_HANDLE(kind, ARAX_LINK_OBJECTS), false);
	TRY(*field, ARAX_HANDLE(kind + 1, 1), false);
}

static void try_range(uint64_t *off, uint64_t *len)
{
	TRY(*off, HEAP_OFF - 1, false);
	TRY(*off, HEAP_END - 4096, true);
	TRY(*off, HEAP_END - 4095, false);
	TRY(*off, UINT64_MAX, false);
	TRY(*len, UINT64_MAX, false);
}

#define TRY_U32(name, min, max) try_u32(&op->name, min, max);
#define TRY_U64(name, max) try_u64(&op->name, max);
#define TRY_OBJ(name, KIND) try_handle(&op->name, ARAX_HANDLE_##KIND, false);
#define TRY_OBJ0(name, KIND) try_handle(&op->name, ARAX_HANDLE_##KIND, true);
#define TRY_RANGE(name) try_range(&op->name##_off, &op->name##_len);
#define ROW_TRY(number, NAME, name, tail, slotted)                                           \
	{                                                                                    \
		struct arax_op_##name *op = (void *)buffer;                                  \
		good(number);                                                                \
		CHECK(!strcmp(arax_link_op_name(number), #name));                            \
		CHECK(arax_link_fixed_size(number) == sizeof(*op));                          \
		try_head(slotted);                                                           \
		ARAX_FIELDS_##NAME(TRY_U32, TRY_U64, TRY_OBJ, TRY_OBJ0, TRY_RANGE)(void) op; \
	}

static void try_head(bool slotted)
{
	TRY(record->op, 0, false);
	TRY(record->op, ARAX_DEV_OP_COUNT, false);
	TRY(record->nwait, 1, false);
	TRY(record->queue, ARAX_HANDLE(ARAX_HANDLE_QUEUE, 1), false);
	TRY(record->flags, 1, false);
	TRY(record->slot, ARAX_LINK_SLOTS - 1, slotted);
	TRY(record->slot, ARAX_LINK_SLOTS, false);
	TRY(record->slot, ARAX_NO_SLOT, !slotted);
	TRY(record->tail_size, record->tail_size + 8, false);
	TRY(record->size, record->size - 8, false);
	CHECK(arax_link_check(record, record->size - 1, HEAP_OFF, HEAP_END) == -EPROTO);
}

static void every_row(void)
{
	ARAX_DEVICE_OPS(ROW_TRY)
	CHECK(arax_link_op_name(0)[0] == '?' && arax_link_op_name(ARAX_DEV_OP_COUNT)[0] == '?');
	CHECK(!arax_link_fixed_size(0) && !arax_link_fixed_size(UINT32_MAX));
}

/* How fields of one row belong together. */
static void beyond_the_table(void)
{
	struct arax_op_dev_mem_new *mem = (void *)buffer;
	struct arax_op_dev_launch *launch = (void *)buffer;
	struct arax_op_dev_transfer *transfer = (void *)buffer;

	good(ARAX_OP_DEV_MEM_NEW);
	TRY(mem->size, 0, false);
	TRY(mem->size, 4097, false);
	TRY(mem->origin, 1, false);
	TRY(mem->parent, mem->mem, false);
	mem->parent = ARAX_HANDLE(ARAX_HANDLE_MEM, 8);
	TRY(mem->origin, 1, true);
	good(ARAX_OP_DEV_TRANSFER);
	TRY(transfer->host_len, 0, false);
	good(ARAX_OP_DEV_LAUNCH);
	TRY(launch->nargs, 1, false);
	TRY(launch->nargs, 3, false);
	launch->work_dim = 2;
	TRY(launch->local0, 4, false);
	launch->local0 = launch->local1 = 4;
	CHECK(!check());
	good(ARAX_OP_DEV_KERNEL_NEW);
	tail("a\0d", 3);
	CHECK(check() == -EPROTO);
	tail(NULL, 0);
	CHECK(check() == -EPROTO);
	good(ARAX_OP_DEV_PROGRAM_DATA);
	tail(NULL, 0);
	CHECK(check() == -EPROTO);
}

static void memory(void)
{
	struct arax_link_shm *one, *other;
	const uint32_t wrong = 1;
	int fd = arax_link_new();
	int loose = memfd_create("loose", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int small = arax_memfd_new("small", sizeof(*one) - 1);
	int foreign = arax_memfd_new("foreign", sizeof(*one));

	CHECK(fd >= 0 && loose >= 0 && small >= 0 && foreign >= 0);
	CHECK(ftruncate(fd, 0) && ftruncate(fd, 2 * sizeof(*one)));
	CHECK(!arax_link_map(fd, &one) && !arax_link_map(fd, &other));
	atomic_store(&one->tenant_waits, 1);
	CHECK(atomic_load(&other->tenant_waits) == 1 && other->state == ARAX_LINK_OPEN);
	arax_link_unmap(one);
	arax_link_unmap(other);
	CHECK(!ftruncate(loose, sizeof(*one)));
	CHECK(arax_link_map(loose, &one) == -EPROTO && arax_link_map(small, &one) == -EPROTO);
	CHECK(pwrite(foreign, &wrong, sizeof(wrong), 0) == sizeof(wrong));
	CHECK(arax_link_map(foreign, &one) == -EPROTO && arax_link_map(-1, &one) == -EPROTO);
	close(fd);
	close(loose);
	close(small);
	close(foreign);
}

int main(void)
{
	every_row();
	beyond_the_table();
	memory();
	puts("ok");
	return 0;
}
