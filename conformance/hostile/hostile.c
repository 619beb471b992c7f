/* SPDX-License-Identifier: Apache-2.0
 *
 * Clients that speak the protocol wrongly on purpose, one attack per run: hostile ATTACK [SEED].
 * What has to hold afterwards for everybody else is hostile.py's business; here only what the
 * attacker itself must see: a record that is malformed ends its tenant, a message that makes no
 * sense gets an error or ends the connection, and nothing that it asks for keeps it waiting for
 * ever.
 */
#include "raw.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/fuzz_records.h"
#include "transport/socket.h"
#include "transport/testing.h"
#include "transport/wake.h"

#define PROMPT_MS 10000
#define STORM_NS 1500000000ull
#define CONNECTIONS 10000

static uint64_t seed = 1;

/* ---- records -------------------------------------------------------------------------------- */

static uint32_t record_buffer[FUZZ_RECORD_MAX / 4] __attribute__((aligned(8)));
static struct arax_record *const record = (struct arax_record *)record_buffer;

/* Number of fields of each row, and one of them moved out of its bounds in one of three ways. */
#define COUNT(...) +1
#define OUT(name, low, high)                                                        \
	if (which-- == 0)                                                           \
		op->name = (__typeof__(op->name))(way == 0   ? (uint64_t)(high) + 1 \
						  : way == 1 ? (uint64_t)(low)-1    \
							     : UINT64_MAX);
#define OUT_U32(name, min, max) OUT(name, min, max)
#define OUT_U64(name, max) OUT(name, 0, max)
#define OUT_OBJ(name, KIND)                                                                    \
	if (which-- == 0)                                                                      \
		op->name = way == 0 ? ARAX_HANDLE(ARAX_HANDLE_##KIND == ARAX_HANDLE_MEM        \
						      ? ARAX_HANDLE_QUEUE                      \
						      : ARAX_HANDLE_MEM,                       \
						  1)                                           \
			   : way == 1 ? ARAX_HANDLE(ARAX_HANDLE_##KIND, ARAX_HANDLE_MAX_INDEX) \
				      : UINT32_MAX;
#define OUT_RANGE(name)                                                                       \
	if (which-- == 0) {                                                                   \
		op->name##_off = way == 0 ? 0 : way == 1 ? ARAX_HEAP_OFFSET - 8 : 1ull << 62; \
		op->name##_len = way == 2 ? 1ull << 63 : 4096;                                \
	}
#define OP(number, NAME, name, tail, slotted)                                                  \
	static void out_##name(struct arax_op_##name *op, int which, int way)                  \
	{                                                                                      \
		ARAX_FIELDS_##NAME(OUT_U32, OUT_U64, OUT_OBJ, OUT_OBJ, OUT_RANGE)(void) which; \
		(void)op;                                                                      \
		(void)way;                                                                     \
	}
ARAX_OPS(OP)
#undef OP

static const struct row {
	int fields;
	void (*out)(void *op, int which, int way);
} rows[ARAX_OP_COUNT] = {
#define OP(number, NAME, name, tail, slotted)                                \
	[number] = {0 ARAX_FIELDS_##NAME(COUNT, COUNT, COUNT, COUNT, COUNT), \
		    (void (*)(void *, int, int))out_##name},
    ARAX_OPS(OP)
#undef OP
};

/* A good record of that row, of slots that are free. */
static void good(unsigned op)
{
	static uint32_t slot;

	do {
		fuzz_record_make(op, record, &seed);
	} while (record->nwait || record->flags);
	if (record->slot != ARAX_NO_SLOT)
		record->slot = slot++ % ARAX_SLOTS;
}

/* The bad record is the only thing that the tenant gets; it must go, and so must its process. */
static void must_end(struct raw *raw, const char *what, unsigned op, int field, int way)
{
	raw_send(raw, record, record->size);
	if (!raw_gone(raw, PROMPT_MS)) {
		fprintf(stderr, "%s of %s (field %d, way %d) was not refused\n", what,
			arax_op_name(op), field, way);
		exit(1);
	}
	raw_close(raw);
}

static void attack_fields(void)
{
	unsigned tried = 0;

	for (unsigned op = 1; op < ARAX_OP_COUNT; op++) {
		for (int field = 0; field < rows[op].fields; field++) {
			for (int way = 0; way < 3; way++) {
				struct raw raw;

				good(op);
				rows[op].out(record, field, way);
				/* some fields may have every value */
				if (!arax_record_check(record, record->size, ARAX_HEAP_OFFSET,
						       1ull << 40))
					continue;
				tried++;
				raw_open(&raw);
				must_end(&raw, "a field", op, field, way);
			}
		}
	}
	printf("%u fields out of their bounds\n", tried);
	CHECK(tried > 60);
}

/* The head of a record: its size, its operation, its wait list, its slot, its tail. */
static void attack_heads(void)
{
	unsigned tried = 0;

	for (unsigned op = 1; op < ARAX_OP_COUNT; op++) {
		for (int way = 0; way < 6; way++) {
			struct raw raw;

			good(op);
			uint32_t size = record->size;
			switch (way) {
			case 0:
				record->op = way ? 0 : ARAX_OP_COUNT;
				break;
			case 1:
				record->nwait = UINT16_MAX;
				break;
			case 2:
				record->tail_size = UINT32_MAX;
				break;
			case 3:
				record->slot = record->slot == ARAX_NO_SLOT ? 0 : ARAX_SLOTS;
				break;
			case 4:
				record->flags = ~0u;
				break;
			default:
				record->queue = ARAX_HANDLE(ARAX_HANDLE_MEM, 1);
			}
			if (!arax_record_check(record, size, ARAX_HEAP_OFFSET, 1ull << 40))
				continue;
			tried++;
			raw_open(&raw);
			must_end(&raw, "a head", op, -1, way);
		}
	}
	printf("%u heads\n", tried);
	CHECK(tried > 40);
}

/* Whatever the grammar makes and then breaks, as it comes; the tenant may live or die of it. */
static void attack_records(void)
{
	unsigned died = 0;

	for (int round = 0; round < 60; round++) {
		struct raw raw;

		raw_open(&raw);
		for (int i = 0; i < 50; i++) {
			fuzz_record_make(1 + (unsigned)(test_random(&seed) % (ARAX_OP_COUNT - 1)),
					 record, &seed);
			uint32_t size = record->size;
			if (i % 8 == 7)
				fuzz_record_break(record, &seed);
			/* A record without an end would be taken for the next one's beginning. */
			if (record->size != size || !raw_send(&raw, record, size))
				break;
		}
		died += !raw_taken(&raw) || raw_gone(&raw, 0);
		raw_close(&raw);
	}
	printf("%u of 60 tenants ended\n", died);
	CHECK(died > 0);
}

/* Objects that are not there, are there no more, or are another's; slots that are in use;
 * completions of commands that are not the client's. */
static void attack_stale(void)
{
	struct arax_op_queue_define queue = {
	    .head = {.size = sizeof(queue), .op = ARAX_OP_QUEUE_DEFINE, .slot = ARAX_NO_SLOT},
	    .queue = ARAX_HANDLE(ARAX_HANDLE_QUEUE, 1)};
	struct arax_op_queue_drop drop = {
	    .head = {.size = sizeof(drop), .op = ARAX_OP_QUEUE_DROP, .slot = ARAX_NO_SLOT},
	    .queue = ARAX_HANDLE(ARAX_HANDLE_QUEUE, 1)};
	struct arax_op_marker marker = {
	    .head = {
		.size = sizeof(marker), .op = ARAX_OP_MARKER, .slot = 1, .queue = queue.queue}};
	struct arax_op_user user = {.head = {.size = sizeof(user), .op = ARAX_OP_USER, .slot = 2}};

	for (int way = 0; way < 7; way++) {
		struct raw raw;

		raw_open(&raw);
		raw_send(&raw, &queue, sizeof(queue));
		switch (way) {
		case 0: /* dropped, then used */
			raw_send(&raw, &drop, sizeof(drop));
			raw_send(&raw, &marker, sizeof(marker));
			break;
		case 1: /* dropped twice */
			raw_send(&raw, &drop, sizeof(drop));
			raw_send(&raw, &drop, sizeof(drop));
			break;
		case 2: /* never defined */
			marker.head.queue = ARAX_HANDLE(ARAX_HANDLE_QUEUE, 77);
			raw_send(&raw, &marker, sizeof(marker));
			marker.head.queue = queue.queue;
			break;
		case 3: /* a slot that is in use */
			raw_send(&raw, &user, sizeof(user));
			raw_send(&raw, &user, sizeof(user));
			break;
		case 4: /* completed twice */
			raw_send(&raw, &user, sizeof(user));
			arax_ring_push(&raw.hq, ARAX_ENTRY(0, 2));
			arax_ring_push(&raw.hq, ARAX_ENTRY(0, 2));
			break;
		case 5: /* of nobody */
			arax_ring_push(&raw.hq, ARAX_ENTRY(1, 4000));
			break;
		default: /* no slot at all */
			arax_ring_push(&raw.hq, ARAX_ENTRY(9, 0xFFFFFF));
		}
		raw_wake(&raw);
		if (!raw_gone(&raw, PROMPT_MS)) {
			fprintf(stderr, "stale: way %d was not refused\n", way);
			exit(1);
		}
		raw_close(&raw);
	}
}

/* ---- shared memory that does not stand still ------------------------------------------------- */

struct storm {
	struct raw raw;
	atomic_bool over;
	uint64_t seed;
	int how;
};

enum { INDICES, BYTES, HOLES };

static void scribble_index(struct arax_ring_index *index, uint64_t *random)
{
	uint32_t word = (uint32_t)test_random(random);

	atomic_store(word & 1 ? &index->head : &index->tail, word >> (word >> 1 & 31));
}

static void *storm_main(void *arg)
{
	struct storm *storm = arg;
	struct arax_shm *shm = storm->raw.shm;
	uint64_t random = storm->seed;

	while (!atomic_load_explicit(&storm->over, memory_order_relaxed)) {
		if (storm->how == INDICES) {
			scribble_index(&shm->sq, &random);
			scribble_index(&shm->hq, &random);
			scribble_index(&shm->cq, &random);
		} else if (storm->how == BYTES) {
			/* Near what is being read. */
			uint32_t at =
			    atomic_load(&shm->sq.head) + (uint32_t)(test_random(&random) % 512);

			shm->sq_data[at % ARAX_SQ_BYTES] ^= (unsigned char)test_random(&random);
		} else {
			off_t at = (off_t)(test_random(&random) % (2 * ARAX_HEAP_OFFSET)) & ~4095;

			(void)!fallocate(storm->raw.arena_fd,
					 FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, 65536);
		}
	}
	return NULL;
}

static void storm(int how)
{
	uint64_t until = arax_now_ns() + STORM_NS;
	unsigned tenants = 0;

	while (arax_now_ns() < until) {
		struct storm s = {.seed = test_random(&seed), .how = how};
		pthread_t thread;

		raw_open(&s.raw);
		tenants++;
		CHECK(!pthread_create(&thread, NULL, storm_main, &s));
		while (arax_now_ns() < until && !raw_gone(&s.raw, 0)) {
			good(1 + (unsigned)(test_random(&seed) % (ARAX_OP_COUNT - 1)));
			/* The ring's own index may have been moved under us: whatever goes, goes.
			 */
			(void)arax_ring_write(&s.raw.sq, record, record->size);
			uint32_t entry;
			(void)arax_ring_pop(&s.raw.cq, &entry);
			raw_wake(&s.raw);
		}
		atomic_store(&s.over, true);
		pthread_join(thread, NULL);
		raw_close(&s.raw);
	}
	printf("%u tenants\n", tenants);
}

static void attack_indices(void)
{
	storm(INDICES);
}

static void attack_double_fetch(void)
{
	storm(BYTES);
}

static void attack_holes(void)
{
	storm(HOLES);
}

/* The arena's size is sealed, and so are its seals. */
static void attack_arena(void)
{
	struct raw raw;

	raw_open(&raw);
	CHECK(ftruncate(raw.arena_fd, 4096) < 0 && errno == EPERM);
	CHECK(ftruncate(raw.arena_fd, (off_t)raw.size * 2) < 0 && errno == EPERM);
	CHECK(fcntl(raw.arena_fd, F_ADD_SEALS, F_SEAL_WRITE) < 0);
	raw_close(&raw);
}

/* ---- the link -------------------------------------------------------------------------------- */

static void attack_map(void)
{
	static const uint64_t bad[] = {0,
				       1,
				       4096,
				       0x7fffffffe000,
				       0x400000000001,
				       0xffffffff80000000ull,
				       0x3fff80000000,
				       UINT64_MAX,
				       0x555555554000};
	struct raw raw;

	CHECK(!raw_attach(&raw));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int error = raw_map(&raw, bad[i]);

		if (error == 0) {
			fprintf(stderr, "the arena was mapped at %llx\n",
				(unsigned long long)bad[i]);
			exit(1);
		}
		if (error < 0)
			break; /* hung up: as good */
	}
	raw_close(&raw);
	/* Sizes that no message has, descriptors that nobody wants. */
	for (size_t size = 0; size <= ARAX_CONTROL_MAX; size += 61) {
		static char bytes[ARAX_CONTROL_MAX + 64];
		const int fds[] = {0, 1, 2, 0};

		raw_open(&raw);
		memset(bytes, (int)size, sizeof(bytes));
		CHECK(!arax_socket_send(raw.link, bytes, size ? size : 1, fds, 4));
		raw_send(&raw, record, 0);
		raw_close(&raw);
	}
}

/* ---- araxd ----------------------------------------------------------------------------------- */

/* Every type with every size, whole and cut. Nothing may be left without an answer or an end. */
static void attack_messages(void)
{
	static char bytes[ARAX_CONTROL_MAX + 4096];
	unsigned answers = 0, ends = 0;

	for (unsigned type = 0; type < 40; type++) {
		/* araxd leaves when asked to; TRACE answers as long as it is there */
		if (type == ARAX_CONTROL_STOP || type == ARAX_CONTROL_TRACE)
			continue;
		for (size_t size = 1; size < sizeof(bytes); size += size < 200 ? 13 : 397) {
			struct arax_control_head head = raw_head(type);
			int fds[ARAX_FDS_MAX] = {-1, -1, -1, -1};
			int fd = raw_connect();

			CHECK(fd >= 0);
			for (size_t i = 0; i < sizeof(bytes); i++)
				bytes[i] = (char)test_random(&seed);
			memcpy(bytes, &head, sizeof(head));
			if (!arax_socket_send(fd, bytes, size, NULL, 0)) {
				ssize_t n =
				    arax_socket_recv(fd, bytes, ARAX_CONTROL_MAX, fds, PROMPT_MS);

				CHECK(n != -ETIMEDOUT);
				answers += n > 0;
				ends += n <= 0;
			}
			for (int i = 0; i < ARAX_FDS_MAX; i++) {
				if (fds[i] >= 0)
					close(fds[i]);
			}
			close(fd);
		}
	}
	printf("%u answered, %u ended\n", answers, ends);
	CHECK(answers && ends);
}

static int sparse_memfd(void)
{
	int fd = memfd_create("sparse", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	CHECK(fd >= 0 && !ftruncate(fd, 1ll << 40));
	CHECK(!fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
	return fd;
}

/* What is not a sealed memfd with a request in it. */
static void attack_descriptors(void)
{
	int pipes[2], pair[2];

	CHECK(!pipe(pipes) && !socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	int unsealed = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	CHECK(unsealed >= 0 && !ftruncate(unsealed, 4096));
	int empty = memfd_create("empty", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	CHECK(empty >= 0 && !fcntl(empty, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_GROW));
	const int wrong[] = {pipes[0],
			     pipes[1],
			     pair[0],
			     unsealed,
			     empty,
			     sparse_memfd(),
			     open("/", O_PATH),
			     open("/etc/passwd", O_RDONLY),
			     open("/dev/zero", O_RDWR),
			     open("/proc/self/mem", O_RDWR),
			     eventfd(0, 0)};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct arax_control_plain build = {.head = raw_head(ARAX_CONTROL_BUILD)};
		struct arax_control_attach attach = {.head = raw_head(ARAX_CONTROL_ATTACH)};
		int fd = raw_connect();

		CHECK(fd >= 0 && wrong[i] >= 0);
		int error = raw_ask(fd, &build, sizeof(build), &wrong[i], 1);
		if (!error) {
			fprintf(stderr, "descriptor %zu was built\n", i);
			exit(1);
		}
		close(fd);
		/* As somebody's former arena. */
		fd = raw_connect();
		CHECK(fd >= 0);
		if (!raw_ask(fd, &attach, sizeof(attach), &wrong[i], 1)) {
			fprintf(stderr, "descriptor %zu was taken for an arena\n", i);
			exit(1);
		}
		close(fd);
	}
}

/* More descriptors than any message has, and requests that are never built. */
static void attack_descriptor_flood(void)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(250 * sizeof(int))];
	} control;
	struct arax_control_plain status = {.head = raw_head(ARAX_CONTROL_STATUS)};
	struct iovec iov = {&status, sizeof(status)};

	for (int round = 0; round < 200; round++) {
		struct msghdr message = {.msg_iov = &iov,
					 .msg_iovlen = 1,
					 .msg_control = control.bytes,
					 .msg_controllen = sizeof(control.bytes)};
		int fd = raw_connect();

		CHECK(fd >= 0);
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(250 * sizeof(int));
		for (int i = 0; i < 250; i++)
			memcpy(CMSG_DATA(&control.head) + (size_t)i * sizeof(int), &fd,
			       sizeof(int));
		CHECK(sendmsg(fd, &message, MSG_NOSIGNAL) > 0 || errno == EPIPE ||
		      errno == ECONNRESET);
		close(fd);
	}
}

/* Asks and never listens. */
static void attack_slow_reader(void)
{
	int fds[32];

	for (int i = 0; i < 32; i++) {
		fds[i] = raw_connect();
		CHECK(fds[i] >= 0);
		CHECK(!fcntl(fds[i], F_SETFL, O_NONBLOCK));
		for (int n = 0; n < 20000; n++) {
			struct arax_control_plain status = {.head = raw_head(ARAX_CONTROL_STATUS)};

			if (arax_socket_send(fds[i], &status, sizeof(status), NULL, 0))
				break;
		}
	}
	/* Another is answered meanwhile. */
	struct arax_control_plain status = {.head = raw_head(ARAX_CONTROL_STATUS)};
	int fd = raw_connect();
	CHECK(fd >= 0 && !raw_ask(fd, &status, sizeof(status), NULL, 0));
	close(fd);
	for (int i = 0; i < 32; i++)
		close(fds[i]);
}

/* Connections that say nothing, tenants that are never told where the arena is. */
static void attack_half_open(void)
{
	struct raw raws[8];
	int fds[200], refused = 0, n = 0;

	for (int i = 0; i < 200; i++) {
		int fd = raw_connect();

		if (fd >= 0)
			fds[n++] = fd;
	}
	for (int i = 0; i < 8; i++)
		refused += raw_attach(&raws[i]) != 0;
	printf("%d silent connections, %d of 8 tenants refused\n", n, refused);
	struct arax_control_plain status = {.head = raw_head(ARAX_CONTROL_STATUS)};
	for (int i = 0; i < 8; i++)
		raw_close(&raws[i]);
	for (int i = 0; i < n; i++)
		close(fds[i]);
	int fd = raw_connect();
	CHECK(fd >= 0 && !raw_ask(fd, &status, sizeof(status), NULL, 0));
	close(fd);
}

static void attack_connections(void)
{
	struct rlimit limit = {65536, 65536};
	unsigned refused = 0, open_now = 0, there = 0;
	static int fds[CONNECTIONS];

	if (setrlimit(RLIMIT_NOFILE, &limit)) {
		getrlimit(RLIMIT_NOFILE, &limit);
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		int fd = raw_connect();

		if (fd < 0) {
			refused++;
			continue;
		}
		fds[open_now++] = fd;
	}
	for (unsigned i = 0; i < open_now; i++) {
		there += !arax_socket_hung_up(fds[i]);
		close(fds[i]);
	}
	printf("%u connections at once, %u refused, %u not ended by araxd\n", open_now, refused,
	       there);
	/* And as many one after the other. */
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		int fd = raw_connect();

		if (fd >= 0)
			close(fd);
	}
}

/* ---------------------------------------------------------------------------------------------- */

static const struct attack {
	const char *name;
	void (*run)(void);
} attacks[] = {
    {"fields", attack_fields},
    {"heads", attack_heads},
    {"records", attack_records},
    {"stale", attack_stale},
    {"indices", attack_indices},
    {"double-fetch", attack_double_fetch},
    {"holes", attack_holes},
    {"arena", attack_arena},
    {"map", attack_map},
    {"messages", attack_messages},
    {"descriptors", attack_descriptors},
    {"descriptor-flood", attack_descriptor_flood},
    {"slow-reader", attack_slow_reader},
    {"half-open", attack_half_open},
    {"connections", attack_connections},
};

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	if (argc > 2)
		seed = strtoull(argv[2], NULL, 10);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		if (!strcmp(name, attacks[i].name)) {
			attacks[i].run();
			return 0;
		}
		if (!*name)
			puts(attacks[i].name);
	}
	return *name ? 2 : 0;
}
