/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory of a link, and the judge of the records in it: every check of device.def that needs no
 * knowledge of the tenant's objects (record_check.h). arax-device calls it on its private copy of
 * each record before anything else looks at it.
 */
#include "transport/link.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transport/record_check.h"
#include "transport/socket.h"

int arax_link_new(void)
{
	const uint32_t magic = ARAX_LINK_MAGIC;
	int fd = arax_memfd_new("arax-link", sizeof(struct arax_link_shm));

	if (fd >= 0 && pwrite(fd, &magic, sizeof(magic), 0) != sizeof(magic)) {
		close(fd);
		return -ENOMEM;
	}
	return fd;
}

int arax_link_map(int fd, struct arax_link_shm **out)
{
	struct arax_link_shm *shm;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) ||
	    (uint64_t)st.st_size != sizeof(*shm))
		return -EPROTO;
	shm = mmap(NULL, sizeof(*shm), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shm == MAP_FAILED)
		return -errno;
	if (shm->magic != ARAX_LINK_MAGIC) {
		arax_link_unmap(shm);
		return -EPROTO;
	}
	*out = shm;
	return 0;
}

void arax_link_unmap(struct arax_link_shm *shm)
{
	munmap(shm, sizeof(*shm));
}

ARAX_DEVICE_OPS(ROW_CHECK)

/* Of the handles of a record, the largest number. */
#define INDEX_U32(name, min, max)
#define INDEX_U64(name, max)
#define INDEX_OBJ(name, KIND) index |= ARAX_HANDLE_INDEX(op->name);
#define INDEX_RANGE(name)
#define ROW_INDEX(number, NAME, name, tail, slotted)                                         \
	case number: {                                                                       \
		const struct arax_op_##name *op = (const struct arax_op_##name *)record;     \
		(void)op;                                                                    \
		ARAX_FIELDS_##NAME(INDEX_U32, INDEX_U64, INDEX_OBJ, INDEX_OBJ, INDEX_RANGE); \
		break;                                                                       \
	}

/* The bound is a power of two, so the numbers are below it when their union is. */
static bool objects_ok(const struct arax_record *record)
{
	uint32_t index = 0;

	switch (record->op) {
		ARAX_DEVICE_OPS(ROW_INDEX)
	}
	return index < ARAX_LINK_OBJECTS;
}

static bool launch_ok(const struct arax_op_dev_launch *op)
{
	return local_ok(op->work_dim, op->local0, op->local1, op->local2) &&
	       args_ok(arax_link_tail(&op->head), op->head.tail_size, op->nargs);
}

static bool mem_ok(const struct arax_op_dev_mem_new *op)
{
	return op->size && (!op->data_len || op->data_len == op->size) &&
	       (op->parent || !op->origin) && op->parent != op->mem;
}

/* What the table cannot say: how fields of one operation belong together. */
static bool op_ok(const struct arax_record *record)
{
	if (!objects_ok(record))
		return false;
	switch (record->op) {
	case ARAX_OP_DEV_MEM_NEW:
		return mem_ok((const struct arax_op_dev_mem_new *)record);
	case ARAX_OP_DEV_PROGRAM_DATA:
		return record->tail_size != 0;
	case ARAX_OP_DEV_KERNEL_NEW:
		return name_ok(arax_link_tail(record), record->tail_size);
	case ARAX_OP_DEV_LAUNCH:
		return launch_ok((const struct arax_op_dev_launch *)record);
	case ARAX_OP_DEV_TRANSFER:
		return ((const struct arax_op_dev_transfer *)record)->host_len != 0;
	default:
		return true;
	}
}

static const struct record_row rows[ARAX_DEV_OP_COUNT] = {ARAX_DEVICE_OPS(ROW_ENTRY)};
static const struct record_table table = {
    .rows = rows,
    .count = ARAX_DEV_OP_COUNT,
    .slots = ARAX_LINK_SLOTS,
    .rest = op_ok,
};

const char *arax_link_op_name(unsigned op)
{
	const struct record_row *row = record_row(&table, op);

	return row ? row->name : "?";
}

size_t arax_link_fixed_size(unsigned op)
{
	const struct record_row *row = record_row(&table, op);

	return row ? row->fixed : 0;
}

int arax_link_check(const struct arax_record *record, size_t available, uint64_t heap_off,
		    uint64_t heap_end)
{
	const struct bounds heap = {heap_off, heap_end};

	return record_check(&table, record, available, &heap);
}
