/* SPDX-License-Identifier: Apache-2.0
 *
 * The discrete back end on a real library, whose name is the argument: rusticl, oclgrind or pocl.
 * Memory that is really separate, order, several streams, builds in the background, errors; then
 * kernels and images against a reference in C. Ends with 77 where the library is not installed.
 */
#include "devices/test_discrete.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "devices/device_process.h"
#include "devices/opencl_discrete.h"
#include "transport/wake.h"

#define ARENA (32u << 20)

struct arax_device test_dev;
struct arax_device_stream *test_streams[2];
bool test_structs_refused, test_offsets_refused;
static char *arena;
static size_t arena_used;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int ended, expected, outcome;

/* For builds with sanitizers: the libraries are not instrumented; Oclgrind deletes its images as
 * what they are derived from; each of them leaks, which ours is looked for beside. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "new_delete_type_mismatch=0";
}

const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libRusticlOpenCL.so\nleak:liboclgrind\nleak:libpocl.so\nleak:libLLVM\n"
	       "leak:libclang\n";
}

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "ignore_noninstrumented_modules=1";
}

void test_done(void *arg, int status, uint64_t start_ns, uint64_t end_ns)
{
	(void)arg;
	pthread_mutex_lock(&mutex);
	if (status || end_ns < start_ns)
		outcome = status ? status : 1;
	ended++;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mutex);
}

void test_expect(int n)
{
	pthread_mutex_lock(&mutex);
	ended = outcome = 0;
	expected = n;
	pthread_mutex_unlock(&mutex);
}

void test_wait(void)
{
	pthread_mutex_lock(&mutex);
	while (ended < expected)
		pthread_cond_wait(&changed, &mutex);
	CHECK(ended == expected);
	if (outcome)
		fprintf(stderr, "outcome %d\n", outcome);
	CHECK(!outcome);
	pthread_mutex_unlock(&mutex);
}

void *test_arena(size_t size)
{
	void *at = arena + arena_used;
	arena_used += (size + 4095) & ~(size_t)4095;
	CHECK(arena_used <= ARENA);
	return at;
}

void test_arena_reset(void)
{
	arena_used = 0;
}

struct test_buffer test_buffer_new(size_t size)
{
	struct test_buffer buffer = {.host = test_arena(size), .size = size};
	const struct arax_mem_desc desc = {
	    .type = CL_MEM_OBJECT_BUFFER, .data = buffer.host, .size = size};
	CHECK(!OPS->mem_new(&test_dev, &desc, &buffer.mem));
	return buffer;
}

void test_buffer_free(struct test_buffer *buffer)
{
	OPS->mem_free(&test_dev, buffer->mem);
	buffer->mem = NULL;
}

static int transfer(unsigned stream, enum arax_direction direction, struct arax_device_mem *mem,
		    uint64_t offset, void *host, uint64_t size)
{
	const struct arax_transfer t = {direction, mem, offset, size, host, test_done, NULL};
	return OPS->transfer(&test_dev, test_streams[stream], &t);
}

void test_put(struct arax_device_mem *mem, void *host, size_t size)
{
	test_expect(1);
	CHECK(!transfer(0, ARAX_TO_DEVICE, mem, 0, host, size));
	test_wait();
}

void test_get(struct arax_device_mem *mem, void *host, size_t size)
{
	test_expect(1);
	CHECK(!transfer(0, ARAX_FROM_DEVICE, mem, 0, host, size));
	test_wait();
}

struct arax_writer test_request(uint32_t kind, const char *source, const char *options,
				const struct test_file *files, uint32_t nfiles)
{
	struct arax_writer w = {0};
	arax_write_u32(&w, ARAX_BUILD_MAGIC);
	arax_write_u32(&w, ARAX_BUILD_VERSION);
	arax_write_u32(&w, kind);
	arax_write_string(&w, options);
	arax_write_string(&w, source);
	arax_write_u32(&w, nfiles);
	for (uint32_t i = 0; i < nfiles; i++) {
		arax_write_string(&w, files[i].path);
		arax_write_bytes(&w, files[i].text, strlen(files[i].text));
	}
	arax_write_string(&w, "/client/here");
	arax_write_u32(&w, 0);
	CHECK(!w.failed);
	return w;
}

/* A build that is waited for as a tenant would. */
static int build_status;
static char build_log[4096];

static void built(void *arg, int status, const char *log)
{
	(void)arg;
	build_status = status;
	snprintf(build_log, sizeof(build_log), "%s", log);
	test_done(NULL, 0, 0, 0);
}

static struct arax_device_program *build(const void *request, size_t size)
{
	struct arax_device_program *program = NULL;
	const struct arax_program_source from = {
	    .request = request, .request_size = size, .done = built};
	test_expect(1);
	CHECK(!OPS->program_load(&test_dev, &from, &program) && program);
	test_wait();
	return program;
}

struct arax_device_program *test_program(const char *source, const char *options,
					 const struct test_file *files, uint32_t nfiles,
					 struct arax_writer *request)
{
	*request = test_request(ARAX_BUILD_EXECUTABLE, source, options, files, nfiles);
	struct arax_device_program *program = build(request->data, request->size);
	if (build_status)
		fprintf(stderr, "build: %d\n%s\n", build_status, build_log);
	CHECK(!build_status);
	return program;
}

struct arax_device_kernel *test_kernel(struct arax_device_program *program, const char *name)
{
	struct arax_device_kernel *kernel;
	int err = OPS->kernel_new(&test_dev, program, name, &kernel);
	if (err)
		fprintf(stderr, "kernel %s: %d\n", name, err);
	CHECK(!err);
	return kernel;
}

int test_launch(unsigned stream, struct arax_device_kernel *kernel, const struct test_range *range,
		const struct arax_launch_arg *args, uint32_t nargs)
{
	struct arax_launch launch = {
	    .kernel = kernel,
	    .work_dim = range->dim,
	    .nargs = nargs,
	    .has_local = range->local[0] != 0,
	    .args = args,
	    .done = test_done,
	};
	memcpy(launch.global, range->global, sizeof(launch.global));
	memcpy(launch.local, range->local, sizeof(launch.local));
	memcpy(launch.offset, range->offset, sizeof(launch.offset));
	return OPS->launch(&test_dev, test_streams[stream], &launch);
}

void test_run(struct arax_device_program *program, const char *name, const struct test_range *range,
	      const struct arax_launch_arg *args, uint32_t nargs)
{
	struct arax_device_kernel *kernel = test_kernel(program, name);
	printf("%s ", name); /* a crash is one of the library's in this kernel */
	fflush(stdout);
	test_expect(1);
	int err = test_launch(0, kernel, range, args, nargs);
	if (err)
		fprintf(stderr, "launch of %s: %d\n", name, err);
	CHECK(!err);
	test_wait();
	OPS->kernel_free(&test_dev, kernel);
}

static const char source[] = "kernel void null(void) {}\n"
			     "kernel void add(global int *a, int n) { a[get_global_id(0)] += n; }\n"
			     "kernel void fold(global const uint *a, global uint *b) {\n"
			     "	size_t i = get_global_id(0); b[i] = b[i] * 31 + a[i]; }\n";

/* What the device has, only transfers change, and what the arena has, too. */
static void test_separate(struct arax_device_program *program)
{
	enum { N = 1024 };
	const int five = 5;
	struct test_buffer a = test_buffer_new(N * 4);
	int *home = a.host;
	for (int i = 0; i < N; i++)
		home[i] = i;
	PUT(a);
	memset(home, 0x77, N * 4);
	const struct arax_launch_arg args[] = {MEM(a), VALUE(five)};
	RUN(program, "add", RANGE1(N, 64), args);
	for (int i = 0; i < N; i++)
		CHECK(home[i] == 0x77777777);
	/* A part of it: bytes 400 to 799. */
	test_expect(1);
	CHECK(!transfer(0, ARAX_FROM_DEVICE, a.mem, 400, home + 100, 400));
	test_wait();
	for (int i = 0; i < N; i++)
		CHECK(home[i] == (i >= 100 && i < 200 ? i + 5 : 0x77777777));
	memset(home, 0, N * 4);
	test_expect(1);
	CHECK(!transfer(0, ARAX_TO_DEVICE, a.mem, 2000, home + 500, 40));
	test_wait();
	GET(a);
	for (int i = 0; i < N; i++)
		CHECK(home[i] == (i >= 500 && i < 510 ? 0 : i + 5));
	test_buffer_free(&a);
}

/* Alternating writes and launches, waited for only at the end. */
static void test_order(struct arax_device_program *program)
{
	enum { N = 256, ROUNDS = 60 };
	struct test_buffer a = test_buffer_new(N * 4 * ROUNDS), b = test_buffer_new(N * 4);
	struct test_buffer step = test_buffer_new(N * 4);
	struct arax_device_kernel *fold = test_kernel(program, "fold");
	const struct arax_launch_arg args[] = {MEM(step), MEM(b)};
	uint32_t *home = a.host;
	for (uint32_t i = 0; i < N * ROUNDS; i++)
		home[i] = i * 2654435761u;
	memset(b.host, 0, b.size);
	PUT(b);
	test_expect(2 * ROUNDS + 1);
	for (int r = 0; r < ROUNDS; r++) {
		CHECK(!transfer(0, ARAX_TO_DEVICE, step.mem, 0, home + r * N, N * 4));
		CHECK(!test_launch(0, fold, RANGE1(N, 64), args, 2));
	}
	CHECK(!transfer(0, ARAX_FROM_DEVICE, b.mem, 0, b.host, b.size));
	/* Everything that is in use may be given back. */
	OPS->kernel_free(&test_dev, fold);
	test_buffer_free(&a);
	test_buffer_free(&step);
	OPS->mem_free(&test_dev, b.mem);
	test_wait();
	for (uint32_t i = 0; i < N; i++) {
		uint32_t want = 0;
		for (uint32_t r = 0; r < ROUNDS; r++)
			want = want * 31 + home[r * N + i];
		CHECK(((uint32_t *)b.host)[i] == want);
	}
}

/* Two streams with nothing in common. */
static void test_streams_apart(struct arax_device_program *program)
{
	enum { N = 2048, ROUNDS = 25 };
	const int by[2] = {3, -7};
	struct test_buffer a[2];
	struct arax_device_kernel *add[2];
	for (unsigned s = 0; s < 2; s++) {
		a[s] = test_buffer_new(N * 4);
		add[s] = test_kernel(program, "add");
		memset(a[s].host, 0, a[s].size);
		PUT(a[s]);
	}
	test_expect(2 * ROUNDS + 2);
	for (int r = 0; r < ROUNDS; r++) {
		for (unsigned s = 0; s < 2; s++) {
			const struct arax_launch_arg args[] = {MEM(a[s]), VALUE(by[s])};
			CHECK(!test_launch(s, add[s], RANGE1(N, 64), args, 2));
		}
	}
	for (unsigned s = 0; s < 2; s++)
		CHECK(!transfer(s, ARAX_FROM_DEVICE, a[s].mem, 0, a[s].host, a[s].size));
	test_wait();
	for (unsigned s = 0; s < 2; s++) {
		for (int i = 0; i < N; i++)
			CHECK(((int *)a[s].host)[i] == by[s] * ROUNDS);
		OPS->kernel_free(&test_dev, add[s]);
		test_buffer_free(&a[s]);
	}
}

/* Done comes in the stream's order, and times tell the same. */
static struct {
	int n, last;
	uint64_t end_ns;
} order;

static void in_order(void *arg, int status, uint64_t start_ns, uint64_t end_ns)
{
	CHECK(*(int *)arg == order.last + 1 && start_ns >= order.end_ns && end_ns >= start_ns);
	order.last = *(int *)arg;
	order.end_ns = end_ns;
	test_done(NULL, status, start_ns, end_ns);
}

static void test_times(struct arax_device_program *program)
{
	enum { N = 20 };
	int numbers[N];
	struct arax_launch launch = {
	    .kernel = test_kernel(program, "null"),
	    .work_dim = 1,
	    .global = {64, 1, 1},
	    .done = in_order,
	};
	order.last = -1;
	order.end_ns = arax_now_ns();
	test_expect(N);
	for (int i = 0; i < N; i++) {
		numbers[i] = i;
		launch.arg = &numbers[i];
		launch.global[0] = i == 7 ? 0 : 64; /* an empty range has its place, too */
		CHECK(!OPS->launch(&test_dev, test_streams[0], &launch));
	}
	test_wait();
	CHECK(order.end_ns <= arax_now_ns());
	OPS->kernel_free(&test_dev, launch.kernel);
}

static struct arax_device_mem *part_new(struct arax_device_mem *parent, uint64_t origin,
					uint64_t size, int want)
{
	struct arax_device_mem *part = NULL;
	const struct arax_mem_desc desc = {
	    .type = CL_MEM_OBJECT_BUFFER, .size = size, .parent = parent, .origin = origin};
	CHECK(OPS->mem_new(&test_dev, &desc, &part) == want);
	return part;
}

/* Parts, and parts of parts, are the whole's memory. */
static void test_parts(struct arax_device_program *program)
{
	uint64_t align = test_dev.caps.sub_align;
	size_t n = align * 8 / 4;
	const int one = 1, ten = 10;
	struct test_buffer whole = test_buffer_new(n * 4);
	int *home = whole.host;
	CHECK(align && align % 4 == 0);
	memset(home, 0, n * 4);
	PUT(whole);
	struct arax_device_mem *half = part_new(whole.mem, align * 4, align * 4, 0);
	struct arax_device_mem *eighth = part_new(half, align, align, 0);
	const struct arax_launch_arg first[] = {{.kind = ARAX_ARG_MEM, .mem = half}, VALUE(one)},
				     second[] = {{.kind = ARAX_ARG_MEM, .mem = eighth}, VALUE(ten)};
	RUN(program, "add", RANGE1(n / 2, 0), first);
	RUN(program, "add", RANGE1(n / 8, 0), second);
	GET(whole);
	for (size_t i = 0; i < n; i++)
		CHECK(home[i] == (i < n / 2 ? 0 : i / (n / 8) == 5 ? 11 : 1));
	/* A transfer of the part, and the whole freed before it. */
	memset(home, 0, n * 4);
	test_get(eighth, home + 3, align);
	CHECK(home[2] == 0 && home[3] == 11 && home[3 + n / 8] == 0);
	part_new(whole.mem, align * 4, align * 5, CL_INVALID_VALUE);
	if (align > 4)
		part_new(whole.mem, 4, align, CL_MISALIGNED_SUB_BUFFER_OFFSET);
	test_buffer_free(&whole);
	RUN(program, "add", RANGE1(n / 8, 0), second);
	test_get(eighth, home, align);
	CHECK(home[0] == 21);
	OPS->mem_free(&test_dev, half);
	OPS->mem_free(&test_dev, eighth);
}

static void test_launch_errors(struct arax_device_program *program)
{
	const int one = 1;
	struct arax_device_kernel *add = test_kernel(program, "add"), *none = NULL;
	struct test_buffer a = test_buffer_new(4096);
	const struct arax_launch_arg args[] = {MEM(a), VALUE(one), VALUE(one)};
	const struct arax_launch_arg svm[] = {{.kind = ARAX_ARG_SVM, .size = 8, .value = a.host},
					      VALUE(one)};
	const struct arax_launch_arg wrong[] = {
	    MEM(a), {.kind = ARAX_ARG_VALUE, .size = 8, .value = arena}};
	size_t huge = test_dev.caps.max_group * 2;
	test_expect(0);
	CHECK(test_launch(0, add, RANGE1(huge, huge), args, 2) < 0);
	CHECK(test_launch(0, add, RANGE1(1000, 64), args, 2) == CL_INVALID_WORK_GROUP_SIZE);
	CHECK(test_launch(0, add, RANGE1(64, 64), svm, 2) == CL_INVALID_ARG_VALUE);
	CHECK(test_launch(0, add, RANGE1(64, 64), args, 3) == CL_INVALID_ARG_INDEX);
	CHECK(test_launch(0, add, RANGE1(64, 64), args, 1) == CL_INVALID_KERNEL_ARGS);
	CHECK(test_launch(0, add, RANGE1(64, 64), wrong, 2) == CL_INVALID_ARG_SIZE);
	CHECK(OPS->kernel_new(&test_dev, program, "nothing", &none) == CL_INVALID_KERNEL_NAME);
	CHECK(transfer(0, ARAX_TO_DEVICE, a.mem, 4000, arena, 97) == CL_INVALID_VALUE);
	CHECK(transfer(0, ARAX_TO_DEVICE, a.mem, UINT64_MAX, arena, 2) == CL_INVALID_VALUE);
	test_wait();
	/* After all that it still works. */
	memset(a.host, 0, 4096);
	PUT(a);
	test_run(program, "add", RANGE1(1024, 64), args, 2);
	GET(a);
	CHECK(((int *)a.host)[1023] == 1);
	OPS->kernel_free(&test_dev, add);
	test_buffer_free(&a);
}

static void test_memory_limits(void)
{
	struct arax_device_mem *mem = NULL;
	struct arax_mem_desc desc = {.type = CL_MEM_OBJECT_BUFFER, .size = 0};
	CHECK(OPS->mem_new(&test_dev, &desc, &mem) == CL_INVALID_BUFFER_SIZE);
	desc.size = test_dev.caps.max_alloc + 1;
	CHECK(OPS->mem_new(&test_dev, &desc, &mem) < 0 && !mem);
	desc.size = UINT64_MAX;
	CHECK(OPS->mem_new(&test_dev, &desc, &mem) < 0 && !mem);
	/* What was freed can be had again, for as long as one likes. */
	desc.size = 16u << 20;
	for (uint64_t i = 0; i < 2 * test_dev.caps.memory / desc.size && i < 512; i++) {
		CHECK(!OPS->mem_new(&test_dev, &desc, &mem));
		OPS->mem_free(&test_dev, mem);
	}
}

static long peak_kib(void)
{
	struct rusage usage;
	CHECK(!getrusage(RUSAGE_SELF, &usage));
	return usage.ru_maxrss;
}

/* Memory that kernels had is the system's again while the kernels live. */
static void test_memory_returns(struct arax_device_program *program)
{
	enum { SIZE = 16 << 20, ROUNDS = 64 };
	const int one = 1;
	struct arax_device_kernel *kernels[ROUNDS];
	long before = peak_kib();
	void *host = test_arena(SIZE);
	for (int i = 0; i < ROUNDS; i++) {
		struct test_buffer a = {.host = host, .size = SIZE};
		const struct arax_mem_desc desc = {.type = CL_MEM_OBJECT_BUFFER, .size = SIZE};
		CHECK(!OPS->mem_new(&test_dev, &desc, &a.mem));
		const struct arax_launch_arg args[] = {MEM(a), VALUE(one)};
		kernels[i] = test_kernel(program, "add");
		test_expect(2);
		CHECK(!transfer(0, ARAX_TO_DEVICE, a.mem, 0, host, SIZE));
		CHECK(!test_launch(0, kernels[i], RANGE1(64, 64), args, 2));
		test_wait();
		test_buffer_free(&a);
	}
	/* Half of what went through; sanitizers keep 256 MiB for a while. */
	CHECK(peak_kib() - before < (long)SIZE / 1024 * ROUNDS / 2);
	for (int i = 0; i < ROUNDS; i++)
		OPS->kernel_free(&test_dev, kernels[i]);
	test_arena_reset();
}

static void test_includes(void)
{
	static const struct test_file files[] = {
	    {"/client/include/outer.h", "#include \"inner.h\"\n#define OUTER (INNER + EXTRA)\n"},
	    {"/client/include/inner.h", "#define INNER 100\n"},
	    {"/client/here/local.h", "constant int local_value = 7;\n"},
	};
	struct arax_writer request;
	struct arax_device_program *program = test_program(
	    "#include <outer.h>\n#include \"local.h\"\n"
	    "kernel void value(global int *a) { a[0] = OUTER * 1000 + local_value; }\n",
	    "-I /client/include -DEXTRA=23 -cl-mad-enable -Werror -cl-kernel-arg-info -g "
	    "-cl-std=CL1.2 -O2",
	    files, 3, &request);
	struct test_buffer a = test_buffer_new(4);
	const struct arax_launch_arg args[] = {MEM(a)};
	RUN(program, "value", RANGE1(1, 1), args);
	GET(a);
	CHECK(*(int *)a.host == 123007);
	test_buffer_free(&a);
	OPS->program_free(&test_dev, program);
	arax_writer_free(&request);
}

static void expect_failure(uint32_t kind, const char *text, const char *options, int want,
			   const char *word)
{
	struct arax_writer request = test_request(kind, text, options, NULL, 0);
	struct arax_device_program *program = build(request.data, request.size);
	struct arax_device_kernel *kernel = NULL;
	if (build_status != want || !strstr(build_log, word))
		fprintf(stderr, "build: %d\n%s\n", build_status, build_log);
	CHECK(build_status == want && strstr(build_log, word));
	CHECK(OPS->kernel_new(&test_dev, program, "k", &kernel) == CL_INVALID_PROGRAM_EXECUTABLE);
	OPS->program_free(&test_dev, program);
	arax_writer_free(&request);
}

static void test_build_errors(void)
{
	static const char good[] = "kernel void k(global int *a) { a[0] = 1; }";
	struct arax_device_program *program = NULL;
	expect_failure(ARAX_BUILD_EXECUTABLE, "kernel void k(global int *a) { a[0] = nowhere; }",
		       "", CL_BUILD_PROGRAM_FAILURE, "nowhere");
	expect_failure(ARAX_BUILD_EXECUTABLE, "#include \"missing.h\"\n", "",
		       CL_BUILD_PROGRAM_FAILURE, "missing.h");
	expect_failure(ARAX_BUILD_EXECUTABLE, good, "-cl-frobnicate", CL_INVALID_BUILD_OPTIONS,
		       "-cl-frobnicate");
	expect_failure(ARAX_BUILD_EXECUTABLE, good, "-load /tmp/x.so", CL_INVALID_BUILD_OPTIONS,
		       "-load");
	expect_failure(ARAX_BUILD_LINK, good, "", CL_INVALID_PROGRAM_EXECUTABLE, "linked");
	expect_failure(ARAX_BUILD_REBUILD, good, "", CL_INVALID_PROGRAM_EXECUTABLE, "binary");
	OPS->program_free(&test_dev, build(NULL, 0));
	CHECK(build_status == CL_INVALID_PROGRAM_EXECUTABLE && strstr(build_log, "has none"));
	OPS->program_free(&test_dev, build("nonsense", 8));
	CHECK(build_status == CL_INVALID_PROGRAM_EXECUTABLE);
	/* Without done the call waits. */
	struct arax_writer w = test_request(ARAX_BUILD_EXECUTABLE, good, "", NULL, 0);
	struct arax_program_source from = {.request = w.data, .request_size = w.size};
	CHECK(!OPS->program_load(&test_dev, &from, &program));
	OPS->kernel_free(&test_dev, test_kernel(program, "k"));
	OPS->program_free(&test_dev, program);
	from.request_size -= 20;
	CHECK(OPS->program_load(&test_dev, &from, &program) == CL_INVALID_PROGRAM_EXECUTABLE);
	/* Freed while it may be built, or before: done comes once all the same. */
	from =
	    (struct arax_program_source){.request = w.data, .request_size = w.size, .done = built};
	test_expect(3);
	for (int i = 0; i < 3; i++) {
		CHECK(!OPS->program_load(&test_dev, &from, &program));
		OPS->program_free(&test_dev, program);
	}
	test_wait();
	arax_writer_free(&w);
}

/* Printed, never judged. */
static void measure(struct arax_device_program *program)
{
	enum { N = 200 };
	struct arax_device_kernel *null = test_kernel(program, "null");
	struct test_buffer a = test_buffer_new(4u << 20);
	uint64_t start = arax_now_ns();
	for (int i = 0; i < N; i++) {
		test_expect(1);
		CHECK(!test_launch(0, null, RANGE1(1, 1), NULL, 0));
		test_wait();
	}
	uint64_t middle = arax_now_ns();
	for (int i = 0; i < 10; i++)
		PUT(a);
	uint64_t end = arax_now_ns();
	printf("%s: null launch and wait %.1f us, 4 MiB to the device %.0f us\n", test_dev.name,
	       (double)(middle - start) / N / 1e3, (double)(end - middle) / 10 / 1e3);
	OPS->kernel_free(&test_dev, null);
	test_buffer_free(&a);
}

static void test_device(void)
{
	struct arax_writer request;
	for (unsigned i = 0; i < 2; i++)
		CHECK(!OPS->stream_new(&test_dev, &test_streams[i]));
	struct arax_device_program *program = test_program(source, "", NULL, 0, &request);
	test_separate(program);
	test_order(program);
	test_streams_apart(program);
	test_times(program);
	test_parts(program);
	test_launch_errors(program);
	test_arena_reset();
	test_memory_limits();
	test_memory_returns(program);
	test_includes();
	test_build_errors();
	measure(program);
	OPS->program_free(&test_dev, program);
	arax_writer_free(&request);
	test_arena_reset();
}

static void print_caps(void)
{
	const struct arax_device_caps *caps = &test_dev.caps;
	printf("%s: features %x units %u group %llu local %llu memory %llu alloc %llu align %u\n",
	       caps->target, caps->features, caps->compute_units,
	       (unsigned long long)caps->max_group, (unsigned long long)caps->local_mem,
	       (unsigned long long)caps->memory, (unsigned long long)caps->max_alloc,
	       caps->sub_align);
}

/* Nothing that the library does later needs more than arax-device has. Sealing takes the standard
 * descriptors away, not what we say on others. */
static int open_walled(const char *library, const char **error)
{
	struct sandbox sandbox = {0};
	CHECK(!process_enter(&sandbox, false));
	int rc = arax_opencl_discrete_open(library, 0, "walled", &test_dev, error);
	if (!rc) {
		printf("walls %x, missing: %s\n", sandbox.holds, sandbox.missing);
		fflush(stdout);
		stdout = fdopen(dup(STDOUT_FILENO), "w");
		stderr = fdopen(dup(STDERR_FILENO), "w");
		CHECK(stdout && stderr && !process_seal(&sandbox));
		setvbuf(stdout, NULL, _IOLBF, 0);
		setvbuf(stderr, NULL, _IONBF, 0);
	}
	return rc;
}

int main(int argc, char **argv)
{
	static const char *const known[][2] = {
	    {"rusticl", "libRusticlOpenCL.so.1"},
	    {"oclgrind", "/usr/lib/oclgrind/liboclgrind-rt-icd.so"},
	    {"pocl", "libpocl.so.2"},
	};
	const char *library = argc > 1 ? argv[1] : "rusticl", *error = NULL;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (!strcmp(library, known[i][0]))
			library = known[i][1];
	}
	alarm(280);
	setvbuf(stdout, NULL, _IOLBF, 0);
	arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(arena != MAP_FAILED);
	CHECK(arax_opencl_discrete_open("libno-such-thing.so", 0, "none", &test_dev, &error) ==
	      -ENOENT);
	CHECK(error);
	CHECK(arax_opencl_discrete_open("libm.so.6", 0, "none", &test_dev, &error) == -ENOEXEC);
	bool walled = argc > 2 && !strcmp(argv[2], "walled");
	int rc = walled ? open_walled(library, &error)
			: arax_opencl_discrete_open(library, 0, "tested", &test_dev, &error);
	if (rc) {
		fprintf(stderr, "%s: %s\n", library, error);
		return rc == -ENOENT ? 77 : 1;
	}
	CHECK(test_dev.discrete && !test_dev.inline_launch && test_dev.name[0]);
	print_caps();
	test_structs_refused = !strcmp(test_dev.caps.target, "rusticl");
	test_offsets_refused = test_structs_refused;
	test_device();
	test_kernels();
	test_images();
	/* Streams end with what they have; then nothing of ours is left. */
	for (unsigned i = 0; i < 2; i++)
		OPS->stream_free(&test_dev, test_streams[i]);
	arax_opencl_discrete_close(&test_dev);
	return 0;
}
