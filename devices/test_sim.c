/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated accelerator: its options, that its memory is really separate and limited, that its
 * results are PoCL's, and use from several threads and of several devices. Time, order and faults
 * are in test_sim_time.c.
 */
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/test_sim_tools.h"

/* No latency: these tests look at results. */
#define QUICK "latency=0,bandwidth=1000G,rate=1000"

static void test_options(void)
{
	static const char *const good[] = {
	    "",
	    "memory=64M,bandwidth=2.5G,latency=20us,rate=0.5,item_ns=1.5,units=8,local=48K",
	    "streams=64,copies=1,seed=7,jitter=0.25",
	    "faults=oom@5;launch@7;hang@9;transfer@3;lost@20;lost@+500ms",
	};
	static const struct {
		const char *text, *word;
	} bad[] = {
	    {"memroy=1M", "memroy"},	    {"memory", "memory"},	{"memory=", "memory"},
	    {"memory=-1", "memory"},	    {"memory=1T", "memory"},	{"memory=100", "memory"},
	    {"memory=0x1000000", "memory"}, {"memory=nan", "memory"},	{"rate=0", "rate"},
	    {"rate=inf", "rate"},	    {"streams=0", "streams"},	{"streams=65", "streams"},
	    {"streams=1.5", "streams"},	    {"copies=3", "copies"},	{"jitter=1.1", "jitter"},
	    {"latency=3m", "latency"},	    {"faults=oom", "oom"},	{"faults=oom@0", "oom"},
	    {"faults=oom@x", "oom"},	    {"faults=oom@+5ms", "oom"}, {"faults=fire@1", "fire"},
	    {"faults=lost@+5x", "lost"},
	};
	struct arax_device dev;
	const char *error;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		CHECK(!arax_sim_check(good[i], &error));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		error = NULL;
		CHECK(arax_sim_check(bad[i].text, &error) < 0);
		CHECK(error && strstr(error, bad[i].word));
	}
	CHECK(arax_sim_open("sim7", "speed=3", &dev, &error) < 0);
	CHECK(strstr(error, "simulated") && strstr(error, "sim7") && strstr(error, "speed"));
}

static void test_says_what_it_is(void)
{
	struct sim_test t;
	tools_open(&t, "sim0", "memory=1M,units=3,local=8K,bandwidth=5G,latency=7us");
	const struct arax_device_caps *caps = &t.dev.caps;
	CHECK(!strcmp(t.dev.name, "sim0") && !strcmp(t.dev.ops->name, "sim"));
	CHECK(t.dev.discrete && !t.dev.inline_launch && t.dev.parallel == 3);
	CHECK((caps->features & ARAX_FEATURE_SIMULATED) && (caps->features & ARAX_FEATURE_RESULT));
	CHECK(!(caps->features & (ARAX_FEATURE_ARENA | ARAX_FEATURE_PRINTF)));
	CHECK(caps->memory == 1 << 20 && caps->max_alloc == caps->memory);
	CHECK(caps->local_mem == 8192 && caps->max_group == 1024 && caps->compute_units == 3);
	CHECK(caps->bandwidth == 5000000000u && caps->latency_ns == 7000);
	CHECK(!strcmp(caps->target, "sim"));
	tools_close(&t);
}

/* What was not transferred is not there, in either direction. */
static void test_separate(void)
{
	enum { N = 2048 };
	struct sim_test t;
	struct end end;
	static int host[N], seen[N], fresh[N];
	tools_open(&t, "sim0", QUICK ",seed=11");
	struct arax_device_kernel *add = tools_kernel(&t, "add");
	const struct arax_mem_desc desc = {
	    .type = CL_MEM_OBJECT_BUFFER, .data = host, .size = sizeof(host)};
	struct arax_device_mem *mem;
	CHECK(!t.dev.ops->mem_new(&t.dev, &desc, &mem));
	for (size_t i = 0; i < sizeof(fresh); i++)
		((unsigned char *)fresh)[i] = arax_sim_fresh(&t.dev, i);
	for (int i = 0; i < N; i++)
		host[i] = i;
	CHECK(!tools_apply(&t, NULL, add, mem, N, 5, &end) && !tools_wait(&end));
	for (int i = 0; i < N; i++)
		CHECK(host[i] == i);
	tools_download(&t, mem, 0, sizeof(seen), seen);
	for (int i = 0; i < N; i++)
		CHECK(seen[i] == (int)((unsigned)fresh[i] + 5));
	tools_upload(&t, mem, 0, sizeof(host), host);
	CHECK(!tools_apply(&t, NULL, add, mem, N, 7, &end) && !tools_wait(&end));
	for (int i = 0; i < N; i++)
		CHECK(host[i] == i);
	tools_download(&t, mem, 4 * 100, 4 * 100, seen + 100);
	for (int i = 0; i < N; i++)
		CHECK(seen[i] == (i >= 100 && i < 200 ? i + 7 : (int)((unsigned)fresh[i] + 5)));
	tools_mem_free(&t, mem);
	/* Nobody finds what another has left. */
	mem = tools_buffer(&t, sizeof(seen));
	tools_download(&t, mem, 0, sizeof(seen), seen);
	CHECK(!memcmp(seen, fresh, sizeof(seen)));
	CHECK(tools_copy(&t, NULL, ARAX_TO_DEVICE, mem, 4, sizeof(host), host, &end) ==
	      CL_INVALID_VALUE);
	CHECK(tools_copy(&t, NULL, ARAX_TO_DEVICE, mem, ~0ull, 4, host, &end) == CL_INVALID_VALUE);
	tools_mem_free(&t, mem);
	tools_kernel_free(&t, add);
	tools_close(&t);
}

static void test_parts(void)
{
	enum { N = 1024 };
	struct sim_test t;
	struct end end;
	static int host[N];
	struct arax_device_mem *none;
	tools_open(&t, "sim0", QUICK);
	struct arax_device_kernel *add = tools_kernel(&t, "add");
	struct arax_device_mem *whole = tools_buffer(&t, sizeof(host));
	struct arax_device_mem *left = tools_part(&t, whole, 0, 2400);
	struct arax_device_mem *right = tools_part(&t, whole, 1200, 2400);
	memset(host, 0, sizeof(host));
	tools_upload(&t, whole, 0, sizeof(host), host);
	CHECK(!tools_apply(&t, NULL, add, left, 600, 1, &end) && !tools_wait(&end));
	CHECK(!tools_apply(&t, NULL, add, right, 600, 10, &end) && !tools_wait(&end));
	tools_download(&t, whole, 0, sizeof(host), host);
	for (int i = 0; i < N; i++)
		CHECK(host[i] == (i < 600) + (i >= 300 && i < 900 ? 10 : 0));
	/* Parts outlive their whole. */
	tools_mem_free(&t, whole);
	tools_mem_free(&t, left);
	CHECK(arax_sim_used(&t.dev) == 4096);
	tools_download(&t, right, 0, 2400, host);
	CHECK(host[0] == 11 && host[599] == 10);
	tools_mem_free(&t, right);
	CHECK(arax_sim_used(&t.dev) == 0);
	whole = tools_buffer(&t, 4096);
	const struct arax_mem_desc beyond[] = {
	    {.type = CL_MEM_OBJECT_BUFFER, .size = 4096, .parent = whole, .origin = 4},
	    {.type = CL_MEM_OBJECT_BUFFER, .size = 4, .parent = whole, .origin = ~0ull - 1},
	};
	CHECK(t.dev.ops->mem_new(&t.dev, &beyond[0], &none) == CL_INVALID_VALUE);
	CHECK(t.dev.ops->mem_new(&t.dev, &beyond[1], &none) == CL_INVALID_VALUE);
	tools_mem_free(&t, whole);
	tools_kernel_free(&t, add);
	tools_close(&t);
}

/* The same commands on PoCL in place and on a simulated device; the memory must be the same. */
#define AREA 65536
struct side {
	struct arax_device *dev;
	struct arax_device_program *program;
	struct arax_device_stream *stream;
	_Alignas(128) unsigned char in[AREA];
	_Alignas(128) unsigned char out[AREA];
};

static struct arax_device_mem *side_mem(struct side *s, struct arax_mem_desc desc, bool in)
{
	struct arax_device_mem *mem;
	desc.data = in ? s->in : s->out;
	CHECK(!s->dev->ops->mem_new(s->dev, &desc, &mem));
	return mem;
}

static void side_copy(struct side *s, enum arax_direction direction, struct arax_device_mem *mem,
		      uint64_t size, void *host)
{
	struct end end;
	const struct arax_transfer transfer = {.direction = direction,
					       .mem = mem,
					       .size = size,
					       .host = host,
					       .done = tools_done,
					       .arg = &end};
	if (!s->dev->discrete)
		return;
	tools_end_init(&end);
	CHECK(!s->dev->ops->transfer(s->dev, s->stream, &transfer) && !tools_wait(&end));
}

static void side_run(struct side *s, const char *name, const struct arax_mem_desc *from,
		     const struct arax_mem_desc *to, const struct arax_launch *shape, uint32_t kind)
{
	struct arax_device_sampler *sampler = NULL;
	struct arax_launch launch = *shape;
	struct end end;
	uint64_t state = 3;
	bool linear = from && from->depth > 1;
	for (size_t i = 0; i < AREA; i++) {
		s->in[i] = (unsigned char)test_random(&state);
		s->out[i] = 0;
	}
	struct arax_device_mem *in = from ? side_mem(s, *from, true) : NULL;
	struct arax_device_mem *out = side_mem(s, *to, false);
	if (kind == ARAX_ARG_SAMPLER)
		CHECK(!s->dev->ops->sampler_new(s->dev, linear, CL_ADDRESS_CLAMP_TO_EDGE,
						linear ? CL_FILTER_LINEAR : CL_FILTER_NEAREST,
						&sampler));
	const struct arax_launch_arg args[] = {
	    {.kind = ARAX_ARG_MEM, .mem = in},
	    {.kind = kind, .size = 64 * 4, .mem = out, .sampler = sampler},
	    {.kind = kind == ARAX_ARG_LOCAL ? ARAX_ARG_MEM : kind, .mem = out, .sampler = sampler},
	};
	const struct arax_launch_arg image[] = {
	    args[0], {.kind = ARAX_ARG_MEM, .mem = out}, args[2]};
	const struct arax_launch_arg only[] = {{.kind = ARAX_ARG_MEM, .mem = out}};
	launch.args = kind == ARAX_ARG_SAMPLER ? image : launch.nargs == 1 ? only : args;
	launch.done = tools_done;
	launch.arg = &end;
	CHECK(!s->dev->ops->kernel_new(s->dev, s->program, name, &launch.kernel));
	if (in)
		side_copy(s, ARAX_TO_DEVICE, in, from->size, s->in);
	side_copy(s, ARAX_TO_DEVICE, out, to->size, s->out);
	tools_end_init(&end);
	CHECK(!s->dev->ops->launch(s->dev, s->stream, &launch) && !tools_wait(&end));
	side_copy(s, ARAX_FROM_DEVICE, out, to->size, s->out);
	s->dev->ops->kernel_free(s->dev, launch.kernel);
	s->dev->ops->sampler_free(s->dev, sampler);
	s->dev->ops->mem_free(s->dev, in);
	s->dev->ops->mem_free(s->dev, out);
}

static void compare(struct side *a, struct side *b, const char *name,
		    const struct arax_mem_desc *from, const struct arax_mem_desc *to,
		    const struct arax_launch *shape, uint32_t kind)
{
	static const unsigned char zeros[64];
	side_run(a, name, from, to, shape, kind);
	side_run(b, name, from, to, shape, kind);
	CHECK(!memcmp(a->out, b->out, AREA));
	CHECK(memcmp(a->out, zeros, sizeof(zeros)));
}

static void compare_all(struct side *a, struct side *b)
{
	const struct arax_mem_desc buffer = {.type = CL_MEM_OBJECT_BUFFER, .size = 4096};
	const struct arax_mem_desc flat = {.type = CL_MEM_OBJECT_IMAGE2D,
					   .size = 20 * 256,
					   .channel_order = CL_RGBA,
					   .channel_type = CL_UNSIGNED_INT8,
					   .width = 30,
					   .height = 20,
					   .row_pitch = 256};
	const struct arax_mem_desc solid = {.type = CL_MEM_OBJECT_IMAGE3D,
					    .size = 4ul * 8 * 64,
					    .channel_order = CL_RGBA,
					    .channel_type = CL_UNORM_INT8,
					    .width = 9,
					    .height = 7,
					    .depth = 4,
					    .row_pitch = 64,
					    .slice_pitch = 8 * 64};
	const struct arax_mem_desc real = {.type = CL_MEM_OBJECT_IMAGE2D,
					   .size = 8ul * 160,
					   .channel_order = CL_RGBA,
					   .channel_type = CL_FLOAT,
					   .width = 9,
					   .height = 8,
					   .row_pitch = 160};
	const struct arax_mem_desc line = {.type = CL_MEM_OBJECT_IMAGE1D_BUFFER,
					   .size = 256ul * 16,
					   .channel_order = CL_RGBA,
					   .channel_type = CL_UNSIGNED_INT32,
					   .width = 256};
	const struct arax_launch one = {.work_dim = 1, .nargs = 2, .global = {1, 1, 1}};
	const struct arax_launch groups = {.work_dim = 1,
					   .nargs = 3,
					   .global = {1024, 1, 1},
					   .local = {64, 1, 1},
					   .has_local = true};
	const struct arax_launch area = {.work_dim = 2,
					 .nargs = 3,
					 .global = {30, 20, 1},
					 .local = {15, 1, 1},
					 .has_local = true};
	const struct arax_launch small = {.work_dim = 2, .nargs = 3, .global = {9, 7, 1}};
	const struct arax_launch row = {.work_dim = 1, .nargs = 1, .global = {256, 1, 1}};
	compare(a, b, "isnull", NULL, &buffer, &one, ARAX_ARG_MEM);
	compare(a, b, "sum", &buffer, &buffer, &groups, ARAX_ARG_LOCAL);
	compare(a, b, "invert", &flat, &flat, &area, ARAX_ARG_SAMPLER);
	compare(a, b, "blur", &solid, &real, &small, ARAX_ARG_SAMPLER);
	compare(a, b, "line", NULL, &line, &row, ARAX_ARG_MEM);
}

static void test_as_pocl(void)
{
	struct sim_test t;
	struct arax_device native[2];
	struct arax_opencl *opencl;
	const char *error;
	const struct arax_program_source from = {.result = tools_result};
	static struct side a, b;
	CHECK(arax_opencl_open("libpocl.so.2", test_pocl_names, native, 2, &opencl, &error) == 2);
	a.dev = &native[0];
	CHECK(!a.dev->ops->program_load(a.dev, &from, &a.program));
	CHECK(!a.dev->ops->stream_new(a.dev, &a.stream));
	tools_open(&t, "sim0", QUICK);
	b = (struct side){.dev = &t.dev, .program = t.program, .stream = t.stream};
	compare_all(&a, &b);
	CHECK(arax_sim_used(&t.dev) == 0);
	tools_close(&t);
	a.dev->ops->stream_free(a.dev, a.stream);
	a.dev->ops->program_free(a.dev, a.program);
	arax_opencl_close(opencl);
}

static void test_refused(void)
{
	struct sim_test t;
	struct end end;
	tools_open(&t, "sim0", QUICK);
	struct arax_device_kernel *add = tools_kernel(&t, "add"), *none;
	struct arax_device_kernel *sum = tools_kernel(&t, "sum");
	struct arax_device_mem *mem = tools_buffer(&t, 4096);
	const struct arax_launch_arg many[] = {{.kind = ARAX_ARG_MEM, .mem = mem},
					       {.kind = ARAX_ARG_VALUE, .size = 4, .value = "abc"},
					       {.kind = ARAX_ARG_VALUE, .size = 4, .value = "abc"}};
	const struct arax_launch_arg svm[] = {{.kind = ARAX_ARG_SVM, .size = 8, .value = &t},
					      many[1]};
	const struct arax_launch_arg local[] = {{.kind = ARAX_ARG_MEM, .mem = mem},
						{.kind = ARAX_ARG_LOCAL, .size = (32 << 10) + 1},
						{.kind = ARAX_ARG_MEM, .mem = mem}};
	CHECK(tools_launch(&t, NULL, add, 1000, 64, many, 2, &end) == CL_INVALID_WORK_GROUP_SIZE);
	CHECK(tools_launch(&t, NULL, add, 4096, 2048, many, 2, &end) == CL_INVALID_WORK_ITEM_SIZE);
	CHECK(tools_launch(&t, NULL, add, 64, 64, svm, 2, &end) == CL_INVALID_ARG_VALUE);
	CHECK(tools_launch(&t, NULL, sum, 64, 64, local, 3, &end) == CL_OUT_OF_RESOURCES);
	CHECK(!tools_launch(&t, NULL, add, 64, 64, many, 3, &end));
	CHECK(tools_wait(&end) == CL_INVALID_ARG_INDEX);
	CHECK(t.dev.ops->kernel_new(&t.dev, t.program, "nothing", &none) == CL_INVALID_KERNEL_NAME);
	/* The others go on. */
	CHECK(!tools_launch(&t, NULL, add, 64, 64, many, 2, &end) && !tools_wait(&end));
	tools_mem_free(&t, mem);
	tools_kernel_free(&t, add);
	tools_kernel_free(&t, sum);
	tools_close(&t);
}

static int try_buffer(struct sim_test *t, size_t size, struct arax_device_mem **mem)
{
	const struct arax_mem_desc desc = {.type = CL_MEM_OBJECT_BUFFER, .size = size};
	*mem = NULL;
	return t->dev.ops->mem_new(&t->dev, &desc, mem);
}

static void test_limit(void)
{
	enum { N = 256 };
	struct sim_test t;
	struct arax_device_mem *mems[N], *none;
	tools_open(&t, "sim0", QUICK ",memory=1M");
	CHECK(try_buffer(&t, (1 << 20) + 1, &none) == CL_MEM_OBJECT_ALLOCATION_FAILURE);
	CHECK(try_buffer(&t, 0, &none) == CL_INVALID_BUFFER_SIZE);
	mems[0] = tools_buffer(&t, 1 << 20);
	CHECK(try_buffer(&t, 1, &none) == CL_MEM_OBJECT_ALLOCATION_FAILURE);
	tools_mem_free(&t, mems[0]);
	for (int i = 0; i < N; i++)
		mems[i] = tools_buffer(&t, 4096);
	CHECK(arax_sim_used(&t.dev) == 1 << 20);
	CHECK(try_buffer(&t, 1, &none) == CL_MEM_OBJECT_ALLOCATION_FAILURE);
	/* Half of it is free, in pieces. */
	for (int i = 0; i < N; i += 2)
		tools_mem_free(&t, mems[i]);
	CHECK(try_buffer(&t, 8192, &none) == CL_MEM_OBJECT_ALLOCATION_FAILURE);
	for (int i = 0; i < N; i += 2)
		mems[i] = tools_buffer(&t, 4096);
	for (int i = 0; i < N; i++)
		tools_mem_free(&t, mems[i]);
	CHECK(arax_sim_used(&t.dev) == 0);
	mems[0] = tools_buffer(&t, 1 << 20);
	tools_mem_free(&t, mems[0]);
	tools_close(&t);
}

/* Objects come and go, and none ever contains another's bytes. */
static void test_reuse(void)
{
	enum { LIVE = 24, ROUNDS = 1500, MOST = 60000 };
	struct sim_test t;
	static unsigned char host[MOST];
	struct {
		struct arax_device_mem *mem;
		size_t size;
		unsigned char tag;
	} live[LIVE] = {0};
	uint64_t state = 5;
	int refused = 0;
	tools_open(&t, "sim0", QUICK ",memory=640K");
	for (int i = 0; i < ROUNDS; i++) {
		unsigned at = (unsigned)(test_random(&state) % LIVE);
		if (live[at].mem) {
			tools_download(&t, live[at].mem, 0, live[at].size, host);
			for (size_t j = 0; j < live[at].size; j++)
				CHECK(host[j] == live[at].tag);
			tools_mem_free(&t, live[at].mem);
		}
		live[at].size = 1 + test_random(&state) % MOST;
		live[at].tag = (unsigned char)i;
		int err = try_buffer(&t, live[at].size, &live[at].mem);
		CHECK(!err || err == CL_MEM_OBJECT_ALLOCATION_FAILURE);
		refused += err != 0;
		memset(host, live[at].tag, live[at].size);
		if (!err)
			tools_upload(&t, live[at].mem, 0, live[at].size, host);
	}
	CHECK(refused > 0 && refused < ROUNDS / 2);
	for (int i = 0; i < LIVE; i++)
		tools_mem_free(&t, live[i].mem);
	CHECK(arax_sim_used(&t.dev) == 0);
	tools_close(&t);
}

/* Programs in the background. */
struct loaded {
	sem_t ended;
	int status, calls;
};

static void on_loaded(void *arg, int status, const char *log)
{
	struct loaded *loaded = arg;
	CHECK(log);
	loaded->status = status;
	loaded->calls++;
	CHECK(!sem_post(&loaded->ended));
}

static void test_load(void)
{
	struct sim_test t;
	struct end end;
	struct loaded loaded = {0};
	struct arax_device_program *program = NULL;
	struct arax_result other = *tools_result;
	struct arax_program_source from = {
	    .result = tools_result, .done = on_loaded, .arg = &loaded};
	CHECK(!sem_init(&loaded.ended, 0, 0));
	tools_open(&t, "sim0", QUICK);
	struct arax_device_program *own = t.program;
	for (int i = 0; i < 5; i++) {
		CHECK(!t.dev.ops->program_load(&t.dev, &from, &program));
		if (i == 0) {
			CHECK(!sem_wait(&loaded.ended) && !loaded.status);
			t.program = program;
			struct arax_device_kernel *null = tools_kernel(&t, "null");
			t.program = own;
			CHECK(!tools_launch(&t, NULL, null, 1, 1, NULL, 0, &end));
			CHECK(!tools_wait(&end));
			tools_kernel_free(&t, null);
		}
		t.dev.ops->program_free(&t.dev, program);
		CHECK(loaded.calls == i + 1);
	}
	other.ntargets = 0;
	from = (struct arax_program_source){.result = &other};
	CHECK(t.dev.ops->program_load(&t.dev, &from, &program) == CL_INVALID_BINARY);
	other = *tools_result;
	other.flags |= ARAX_RESULT_PRINTF;
	CHECK(t.dev.ops->program_load(&t.dev, &from, &program) == CL_BUILD_PROGRAM_FAILURE);
	from.result = NULL;
	CHECK(t.dev.ops->program_load(&t.dev, &from, &program) == CL_INVALID_BINARY);
	other.ntargets = 0;
	from = (struct arax_program_source){.result = &other, .done = on_loaded, .arg = &loaded};
	CHECK(!t.dev.ops->program_load(&t.dev, &from, &program));
	t.dev.ops->program_free(&t.dev, program);
	CHECK(loaded.calls == 6 && loaded.status);
	tools_close(&t);
}

/* Two threads with two streams each, on one device or on two, with the same kernel objects. */
struct user {
	struct sim_test *t;
	struct arax_device_kernel *add, *mul;
	int seed;
};

static void *use(void *arg)
{
	enum { N = 600, ROUNDS = 60 };
	const struct user *user = arg;
	struct sim_test *t = user->t;
	struct arax_device_stream *streams[2];
	struct arax_device_mem *mems[2];
	int host[2][N], seen[2][N];
	struct end up[2], first[2], second[2], down[2];
	for (int s = 0; s < 2; s++)
		CHECK(!t->dev.ops->stream_new(&t->dev, &streams[s]));
	for (int round = 0; round < ROUNDS; round++) {
		for (int s = 0; s < 2; s++) {
			mems[s] = tools_buffer(t, sizeof(host[s]));
			for (int i = 0; i < N; i++)
				host[s][i] = user->seed + 1000 * s + i * round;
			CHECK(!tools_copy(t, streams[s], ARAX_TO_DEVICE, mems[s], 0,
					  sizeof(host[s]), host[s], &up[s]));
			CHECK(!tools_apply(t, streams[s], user->add, mems[s], N, round, &first[s]));
			CHECK(!tools_apply(t, streams[s], user->mul, mems[s], N, 3, &second[s]));
			CHECK(!tools_copy(t, streams[s], ARAX_FROM_DEVICE, mems[s], 0,
					  sizeof(seen[s]), seen[s], &down[s]));
			tools_mem_free(t, mems[s]);
		}
		for (int s = 0; s < 2; s++) {
			CHECK(!tools_wait(&up[s]) && !tools_wait(&first[s]));
			CHECK(!tools_wait(&second[s]) && !tools_wait(&down[s]));
			for (int i = 0; i < N; i++)
				CHECK(seen[s][i] == (host[s][i] + round) * 3);
		}
	}
	for (int s = 0; s < 2; s++)
		t->dev.ops->stream_free(&t->dev, streams[s]);
	return NULL;
}

static void test_threads(struct sim_test *one, struct sim_test *two)
{
	struct sim_test *on[2] = {one, two};
	struct user users[2];
	pthread_t threads[2];
	/* On one device: the same objects for both. */
	int sets = one == two ? 1 : 2;
	for (int i = 0; i < sets; i++)
		users[i] = (struct user){on[i], tools_kernel(on[i], "add"),
					 tools_kernel(on[i], "mul"), 77 * i};
	if (sets == 1)
		users[1] = (struct user){one, users[0].add, users[0].mul, 77};
	for (int i = 0; i < 2; i++)
		CHECK(!pthread_create(&threads[i], NULL, use, &users[i]));
	for (int i = 0; i < 2; i++)
		CHECK(!pthread_join(threads[i], NULL));
	for (int i = 0; i < sets; i++) {
		tools_kernel_free(on[i], users[i].add);
		tools_kernel_free(on[i], users[i].mul);
	}
	CHECK(arax_sim_used(&one->dev) == 0 && arax_sim_used(&two->dev) == 0);
}

int main(void)
{
	struct sim_test one, two;
	alarm(110);
	tools_init();
	test_options();
	test_says_what_it_is();
	test_separate();
	test_parts();
	test_as_pocl();
	test_refused();
	test_limit();
	test_reuse();
	test_load();
	tools_open(&one, "sim0", "latency=0,jitter=0.5,item_ns=10");
	test_threads(&one, &one);
	tools_open(&two, "sim1", "latency=5us,jitter=0.5,item_ns=10,seed=2,streams=1,copies=1");
	test_threads(&one, &two);
	tools_close(&two);
	test_threads(&one, &one);
	tools_close(&one);
	tools_exit();
	return 0;
}
