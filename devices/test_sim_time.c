/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated accelerator: order in a stream and across streams, the model of time, and faults.
 *
 * The model promises least times; those are checked as they are. That a command takes no longer
 * than modelled holds only when the machine gives the threads a processor in time: such checks may
 * fail a few times and must succeed once.
 */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "devices/test_sim_tools.h"

#define MS 1000000ull
#define TRIES 20

static uint64_t took(const struct end *end)
{
	CHECK(end->told_ns >= end->end_ns);
	return end->end_ns - end->start_ns;
}

/* Uploads, launches and downloads in one stream, on three kinds of engines. */
static void test_stream_order(void)
{
	enum { N = 64, ROUNDS = 120 };
	struct sim_test t;
	static int host[ROUNDS][N];
	static struct end ends[4 * ROUNDS];
	tools_open(&t, "sim0", "latency=3us,item_ns=20,jitter=0.9,streams=3");
	struct arax_device_kernel *add = tools_kernel(&t, "add"), *mul = tools_kernel(&t, "mul");
	struct arax_device_mem *mem = tools_buffer(&t, sizeof(host[0]));
	int zero[N] = {0};
	tools_upload(&t, mem, 0, sizeof(zero), zero);
	for (int r = 0; r < ROUNDS; r++) {
		struct end *end = &ends[4 * r];
		CHECK(!tools_apply(&t, NULL, add, mem, N, r, &end[0]));
		CHECK(!tools_apply(&t, NULL, mul, mem, N, 3, &end[1]));
		CHECK(!tools_copy(&t, NULL, ARAX_FROM_DEVICE, mem, 0, sizeof(host[r]), host[r],
				  &end[2]));
		/* Back what it was just brought: nothing may be lost in between. */
		CHECK(!tools_copy(&t, NULL, ARAX_TO_DEVICE, mem, 0, sizeof(host[r]), host[r],
				  &end[3]));
	}
	unsigned want = 0;
	for (int i = 0; i < 4 * ROUNDS; i++) {
		CHECK(!tools_wait(&ends[i]));
		CHECK(i == 0 || ends[i].start_ns >= ends[i - 1].end_ns);
		CHECK(i == 0 || ends[i].told_ns >= ends[i - 1].told_ns);
		(void)took(&ends[i]);
	}
	for (int r = 0; r < ROUNDS; r++) {
		want = (want + (unsigned)r) * 3;
		for (int i = 0; i < N; i++)
			CHECK((unsigned)host[r][i] == want);
	}
	tools_mem_free(&t, mem);
	tools_kernel_free(&t, add);
	tools_kernel_free(&t, mul);
	tools_close(&t);
}

/* A value goes from stream to stream in a ring; only events keep them in order. */
static void test_events(void)
{
	enum { STREAMS = 5, ROUNDS = 40, N = 16 };
	struct sim_test t;
	struct arax_device_stream *streams[STREAMS];
	struct arax_sim_event *event;
	static struct end ends[STREAMS * ROUNDS];
	int host[N] = {0};
	unsigned want = 0;
	tools_open(&t, "sim0", "latency=1us,item_ns=100,jitter=1,streams=4");
	struct arax_device_kernel *add = tools_kernel(&t, "add"), *mul = tools_kernel(&t, "mul");
	struct arax_device_mem *mem = tools_buffer(&t, sizeof(host));
	tools_upload(&t, mem, 0, sizeof(host), host);
	for (int s = 0; s < STREAMS; s++)
		CHECK(!t.dev.ops->stream_new(&t.dev, &streams[s]));
	CHECK(!arax_sim_event_new(&event));
	for (int i = 0; i < STREAMS * ROUNDS; i++) {
		struct arax_device_stream *stream = streams[i % STREAMS];
		CHECK(!arax_sim_event_wait(&t.dev, stream, event));
		CHECK(!tools_apply(&t, stream, i % 3 ? add : mul, mem, N, i % 3 ? i : 5, &ends[i]));
		CHECK(!arax_sim_event_record(&t.dev, stream, event));
		want = i % 3 ? want + (unsigned)i : want * 5;
	}
	arax_sim_event_free(event);
	for (int i = 0; i < STREAMS * ROUNDS; i++) {
		CHECK(!tools_wait(&ends[i]));
		CHECK(i == 0 || ends[i].start_ns >= ends[i - 1].end_ns);
	}
	for (int s = 0; s < STREAMS; s++)
		t.dev.ops->stream_free(&t.dev, streams[s]);
	tools_download(&t, mem, 0, sizeof(host), host);
	for (int i = 0; i < N; i++)
		CHECK((unsigned)host[i] == want);
	tools_mem_free(&t, mem);
	tools_kernel_free(&t, add);
	tools_kernel_free(&t, mul);
	tools_close(&t);
}

/* A wait is for what was recorded before it, not for what came later. */
static void test_event_is_of_its_time(void)
{
	struct sim_test t;
	struct arax_device_stream *other;
	struct arax_sim_event *event, *unused;
	struct end first, hung, after, blocked;
	tools_open(&t, "sim0", "latency=0,faults=hang@2");
	struct arax_device_kernel *null = tools_kernel(&t, "null");
	CHECK(!t.dev.ops->stream_new(&t.dev, &other));
	CHECK(!arax_sim_event_new(&event) && !arax_sim_event_new(&unused));
	CHECK(!tools_launch(&t, NULL, null, 1, 1, NULL, 0, &first));
	CHECK(!arax_sim_event_record(&t.dev, t.stream, event));
	CHECK(!arax_sim_event_wait(&t.dev, other, event));
	CHECK(!arax_sim_event_wait(&t.dev, other, unused));
	CHECK(!tools_launch(&t, NULL, null, 1, 1, NULL, 0, &hung));
	CHECK(!arax_sim_event_record(&t.dev, t.stream, event));
	CHECK(!tools_launch(&t, other, null, 1, 1, NULL, 0, &after));
	CHECK(!tools_wait(&first) && !tools_wait(&after));
	CHECK(!arax_sim_event_wait(&t.dev, other, event));
	CHECK(!tools_launch(&t, other, null, 1, 1, NULL, 0, &blocked));
	CHECK(!atomic_load(&hung.calls) && !atomic_load(&blocked.calls));
	arax_sim_event_free(event);
	arax_sim_event_free(unused);
	t.dev.ops->stream_free(&t.dev, other);
	tools_kernel_free(&t, null);
	tools_close(&t);
	CHECK(tools_wait(&hung) == CL_DEVICE_NOT_AVAILABLE && atomic_load(&hung.calls) == 1);
	CHECK(tools_wait(&blocked) == CL_DEVICE_NOT_AVAILABLE && atomic_load(&blocked.calls) == 1);
}

/* Copies and launches take what the model says: never less, and it can be met. */
static void test_model(void)
{
	struct sim_test t;
	struct end end;
	static char host[20000];
	bool copy = false, launch = false;
	tools_open(&t, "sim0", "latency=2ms,bandwidth=1M,item_ns=10000,rate=2");
	struct arax_device_kernel *add = tools_kernel(&t, "add");
	struct arax_device_mem *mem = tools_buffer(&t, sizeof(host));
	memset(host, 0, sizeof(host));
	for (int i = 0; i < TRIES && !(copy && launch); i++) {
		uint64_t before_ns = arax_now_ns();
		CHECK(!tools_copy(&t, NULL, ARAX_TO_DEVICE, mem, 0, 3000, host, &end));
		CHECK(!tools_wait(&end));
		CHECK(end.start_ns >= before_ns && took(&end) >= 5 * MS);
		copy |= took(&end) == 5 * MS;
		CHECK(!tools_apply(&t, NULL, add, mem, 1000, 1, &end));
		CHECK(!tools_wait(&end));
		CHECK(took(&end) >= 7 * MS);
		launch |= took(&end) == 7 * MS;
	}
	CHECK(copy && launch);
	tools_mem_free(&t, mem);
	tools_kernel_free(&t, add);
	tools_close(&t);
}

/* Without a modelled time, what it takes really is what counts, and it is never beaten. */
static void test_real_time(void)
{
	struct sim_test slow, fast;
	struct end end;
	tools_open(&slow, "sim0", "latency=0,rate=0.25");
	tools_open(&fast, "sim1", "latency=0,rate=1000");
	struct arax_device_kernel *work[2] = {tools_kernel(&slow, "work"),
					      tools_kernel(&fast, "work")};
	struct arax_device_mem *mem[2] = {tools_buffer(&slow, 4096), tools_buffer(&fast, 4096)};
	uint64_t least[2] = {UINT64_MAX, UINT64_MAX};
	/* Three million dependent steps, and four times as long; the first time does not count, it
	 * loads the kernel. */
	for (int i = 0; i < TRIES && least[0] / 2 <= least[1]; i++) {
		CHECK(!tools_apply(&slow, NULL, work[0], mem[0], 1024, 3000, &end));
		CHECK(!tools_wait(&end));
		least[0] = i && took(&end) < least[0] ? took(&end) : least[0];
		CHECK(!tools_apply(&fast, NULL, work[1], mem[1], 1024, 3000, &end));
		CHECK(!tools_wait(&end));
		least[1] = i && took(&end) < least[1] ? took(&end) : least[1];
	}
	CHECK(least[1] > 100000 && least[0] / 2 > least[1]);
	tools_mem_free(&slow, mem[0]);
	tools_mem_free(&fast, mem[1]);
	tools_kernel_free(&slow, work[0]);
	tools_kernel_free(&fast, work[1]);
	tools_close(&slow);
	tools_close(&fast);
}

static bool overlap(const struct end *a, const struct end *b)
{
	return a->start_ns < b->end_ns && b->start_ns < a->end_ns;
}

/* Two launches, a copy in and a copy out, each in a stream of its own, of 10 ms each. */
static void four(struct sim_test *t, struct end ends[4])
{
	static char in[10000], out[10000];
	struct arax_device_stream *streams[4];
	struct arax_device_kernel *add = tools_kernel(t, "add");
	struct arax_device_mem *mem = tools_buffer(t, sizeof(in));
	struct arax_device_mem *other = tools_buffer(t, sizeof(out));
	for (int s = 0; s < 4; s++)
		CHECK(!t->dev.ops->stream_new(&t->dev, &streams[s]));
	CHECK(!tools_apply(t, streams[0], add, mem, 1000, 1, &ends[0]));
	CHECK(!tools_apply(t, streams[1], add, other, 1000, 1, &ends[1]));
	CHECK(!tools_copy(t, streams[2], ARAX_TO_DEVICE, mem, 5000, 5000, in, &ends[2]));
	CHECK(!tools_copy(t, streams[3], ARAX_FROM_DEVICE, other, 5000, 5000, out, &ends[3]));
	for (int s = 0; s < 4; s++) {
		CHECK(!tools_wait(&ends[s]) && took(&ends[s]) >= 10 * MS);
		t->dev.ops->stream_free(&t->dev, streams[s]);
	}
	tools_mem_free(t, mem);
	tools_mem_free(t, other);
	tools_kernel_free(t, add);
}

static void test_overlap(void)
{
	struct sim_test t;
	struct end ends[4];
	bool all = false;
	tools_open(&t, "sim0", "latency=0,bandwidth=500K,item_ns=10000,streams=2");
	for (int i = 0; i < TRIES && !all; i++) {
		four(&t, ends);
		all = true;
		for (int a = 0; a < 4; a++) {
			for (int b = 0; b < a; b++)
				all &= overlap(&ends[a], &ends[b]);
		}
	}
	CHECK(all);
	tools_close(&t);
	tools_open(&t, "sim0", "latency=0,bandwidth=500K,item_ns=10000,streams=1,copies=1");
	for (int i = 0; i < 3; i++) {
		four(&t, ends);
		CHECK(!overlap(&ends[0], &ends[1]) && !overlap(&ends[2], &ends[3]));
	}
	tools_close(&t);
}

/* Waited for, not computed: four devices of 3 ms a command end 4 x 8 commands in less than what
 * one of them needs for 12. */
static void test_several_devices(void)
{
	enum { DEVICES = 4, EACH = 8 };
	struct sim_test t[DEVICES];
	static struct end ends[DEVICES][EACH];
	struct arax_device_kernel *null[DEVICES];
	bool scaled = false;
	for (int d = 0; d < DEVICES; d++) {
		tools_open(&t[d], "simN", "latency=3ms,item_ns=1,streams=1");
		null[d] = tools_kernel(&t[d], "null");
	}
	for (int i = 0; i < TRIES && !scaled; i++) {
		uint64_t first_ns = UINT64_MAX, last_ns = 0;
		for (int n = 0; n < EACH * DEVICES; n++)
			CHECK(!tools_launch(&t[n % DEVICES], NULL, null[n % DEVICES], 1, 1, NULL, 0,
					    &ends[n % DEVICES][n / DEVICES]));
		for (int n = 0; n < EACH * DEVICES; n++) {
			struct end *end = &ends[n % DEVICES][n / DEVICES];
			CHECK(!tools_wait(end) && took(end) >= 3 * MS);
			first_ns = end->start_ns < first_ns ? end->start_ns : first_ns;
			last_ns = end->end_ns > last_ns ? end->end_ns : last_ns;
		}
		CHECK(last_ns - first_ns >= EACH * 3 * MS);
		scaled = last_ns - first_ns < 12 * 3 * MS;
	}
	CHECK(scaled);
	for (int d = 0; d < DEVICES; d++) {
		tools_kernel_free(&t[d], null[d]);
		tools_close(&t[d]);
	}
}

/* The same seed gives the same times. */
static void jittered(const char *options, uint64_t times[8])
{
	struct sim_test t;
	struct end end;
	tools_open(&t, "sim0", options);
	struct arax_device_kernel *null = tools_kernel(&t, "null");
	for (int i = 0; i < 8; i++) {
		CHECK(!tools_launch(&t, NULL, null, 1, 1, NULL, 0, &end) && !tools_wait(&end));
		times[i] = took(&end);
		CHECK(times[i] >= 2 * MS);
	}
	tools_kernel_free(&t, null);
	tools_close(&t);
}

static void test_jitter(void)
{
	uint64_t one[8], again[8], other[8];
	bool same = false;
	jittered("latency=4ms,item_ns=1,jitter=0.5,seed=9", other);
	for (int i = 0; i < TRIES && !same; i++) {
		jittered("latency=4ms,item_ns=1,jitter=0.5,seed=8", one);
		jittered("latency=4ms,item_ns=1,jitter=0.5,seed=8", again);
		same = !memcmp(one, again, sizeof(one));
	}
	CHECK(same && memcmp(one, other, sizeof(one)));
	CHECK(one[0] != one[1]);
}

static int try_buffer(struct sim_test *t, size_t size, struct arax_device_mem **mem)
{
	const struct arax_mem_desc desc = {.type = CL_MEM_OBJECT_BUFFER, .size = size};
	*mem = NULL;
	return t->dev.ops->mem_new(&t->dev, &desc, mem);
}

/* What is in use stays, and is free when the end of its use is known. */
static void test_memory_in_use(void)
{
	struct sim_test t;
	struct end end;
	struct arax_device_mem *mem, *none;
	tools_open(&t, "sim0", "memory=64K,latency=10ms");
	struct arax_device_kernel *add = tools_kernel(&t, "add");
	for (int i = 0; i < 10; i++) {
		mem = tools_buffer(&t, 64 << 10);
		CHECK(!tools_apply(&t, NULL, add, mem, 16, 1, &end));
		tools_mem_free(&t, mem);
		int err = try_buffer(&t, 64 << 10, &none);
		CHECK(err || atomic_load(&end.calls));
		if (!err)
			tools_mem_free(&t, none);
		CHECK(!tools_wait(&end));
	}
	tools_kernel_free(&t, add);
	tools_close(&t);
}

/* Each fault once, at its place, and the device goes on. */
static void test_faults(void)
{
	struct sim_test t;
	struct end end;
	struct arax_device_mem *mem, *none;
	int host[4] = {1, 1, 1, 1}, seen[4];
	tools_open(&t, "sim0", "latency=0,faults=oom@2;launch@2;transfer@3;launch@4");
	struct arax_device_kernel *add = tools_kernel(&t, "add");
	mem = tools_buffer(&t, sizeof(host));
	CHECK(try_buffer(&t, 16, &none) == CL_MEM_OBJECT_ALLOCATION_FAILURE);
	CHECK(!try_buffer(&t, 16, &none));
	tools_mem_free(&t, none);
	tools_upload(&t, mem, 0, sizeof(host), host);
	for (int i = 1; i <= 5; i++) {
		CHECK(!tools_apply(&t, NULL, add, mem, 4, 1, &end));
		CHECK(tools_wait(&end) == (i == 2 || i == 4 ? CL_OUT_OF_RESOURCES : 0));
	}
	tools_download(&t, mem, 0, sizeof(seen), seen);
	CHECK(seen[0] == 4 && seen[3] == 4);
	CHECK(!tools_copy(&t, NULL, ARAX_TO_DEVICE, mem, 0, sizeof(host), host, &end));
	CHECK(tools_wait(&end) == CL_OUT_OF_RESOURCES);
	tools_download(&t, mem, 0, sizeof(seen), seen);
	CHECK(seen[0] == 4 && seen[3] == 4);
	tools_mem_free(&t, mem);
	tools_kernel_free(&t, add);
	tools_close(&t);
}

/* Another stream goes on beside what hangs; the end of the device is the end of it. */
static void test_hang(void)
{
	enum { BEHIND = 5 };
	struct sim_test t;
	struct end hung, behind[BEHIND], beside;
	struct arax_device_stream *other;
	tools_open(&t, "sim0", "latency=0,faults=hang@1");
	struct arax_device_kernel *null = tools_kernel(&t, "null");
	CHECK(!t.dev.ops->stream_new(&t.dev, &other));
	CHECK(!tools_launch(&t, NULL, null, 1, 1, NULL, 0, &hung));
	for (int i = 0; i < BEHIND; i++)
		CHECK(!tools_launch(&t, NULL, null, 1, 1, NULL, 0, &behind[i]));
	for (int i = 0; i < 20; i++)
		CHECK(!tools_launch(&t, other, null, 1, 1, NULL, 0, &beside) &&
		      !tools_wait(&beside));
	CHECK(!atomic_load(&hung.calls) && !atomic_load(&behind[0].calls));
	t.dev.ops->stream_free(&t.dev, other);
	tools_kernel_free(&t, null);
	tools_close(&t);
	CHECK(atomic_load(&hung.calls) == 1 && tools_wait(&hung) == CL_DEVICE_NOT_AVAILABLE);
	for (int i = 0; i < BEHIND; i++) {
		CHECK(atomic_load(&behind[i].calls) == 1);
		CHECK(tools_wait(&behind[i]) == CL_DEVICE_NOT_AVAILABLE);
	}
}

/* Everything fails from then on; what is running, too. */
static void check_lost(struct sim_test *t, struct arax_device_kernel *null,
		       struct arax_device_mem *mem)
{
	struct end end;
	struct arax_device_mem *none;
	struct arax_device_kernel *no_kernel;
	struct arax_device_program *no_program;
	const struct arax_program_source from = {.result = tools_result};
	char byte = 0;
	CHECK(tools_launch(t, NULL, null, 1, 1, NULL, 0, &end) == CL_DEVICE_NOT_AVAILABLE);
	CHECK(tools_copy(t, NULL, ARAX_TO_DEVICE, mem, 0, 1, &byte, &end) ==
	      CL_DEVICE_NOT_AVAILABLE);
	CHECK(try_buffer(t, 16, &none) == CL_DEVICE_NOT_AVAILABLE);
	CHECK(t->dev.ops->kernel_new(&t->dev, t->program, "add", &no_kernel) ==
	      CL_DEVICE_NOT_AVAILABLE);
	CHECK(t->dev.ops->program_load(&t->dev, &from, &no_program) == CL_DEVICE_NOT_AVAILABLE);
}

static void test_lost(void)
{
	struct sim_test t;
	struct end slow, waits, end;
	struct arax_device_mem *mem;
	/* An allocation, two launches; the transfer is the fourth. */
	tools_open(&t, "sim0", "latency=1000s,faults=lost@4");
	struct arax_device_kernel *null = tools_kernel(&t, "null");
	mem = tools_buffer(&t, 16);
	CHECK(!tools_launch(&t, NULL, null, 1, 1, NULL, 0, &slow));
	CHECK(!tools_launch(&t, NULL, null, 1, 1, NULL, 0, &waits));
	char byte = 0;
	CHECK(tools_copy(&t, NULL, ARAX_TO_DEVICE, mem, 0, 1, &byte, &end) ==
	      CL_DEVICE_NOT_AVAILABLE);
	CHECK(tools_wait(&slow) == CL_DEVICE_NOT_AVAILABLE);
	CHECK(tools_wait(&waits) == CL_DEVICE_NOT_AVAILABLE);
	CHECK(took(&slow) < 900000 * MS);
	check_lost(&t, null, mem);
	tools_mem_free(&t, mem);
	tools_kernel_free(&t, null);
	tools_close(&t);
}

/* By time; the hang before it ends with it. */
static void test_lost_after(void)
{
	struct sim_test t;
	struct end end, hung;
	struct arax_device_stream *other;
	uint64_t opened_ns = arax_now_ns();
	tools_open(&t, "sim0", "latency=1ms,faults=hang@1;lost@+300ms");
	struct arax_device_kernel *null = tools_kernel(&t, "null");
	struct arax_device_mem *mem = tools_buffer(&t, 16);
	CHECK(!t.dev.ops->stream_new(&t.dev, &other));
	CHECK(!tools_launch(&t, NULL, null, 1, 1, NULL, 0, &hung));
	CHECK(!tools_launch(&t, other, null, 1, 1, NULL, 0, &end));
	CHECK(!tools_wait(&end));
	CHECK(tools_wait(&hung) == CL_DEVICE_NOT_AVAILABLE);
	CHECK(hung.end_ns - opened_ns >= 300 * MS);
	check_lost(&t, null, mem);
	t.dev.ops->stream_free(&t.dev, other);
	tools_mem_free(&t, mem);
	tools_kernel_free(&t, null);
	tools_close(&t);
}

/* What a freed stream has not begun is ended, though the one engine is busy elsewhere; what hangs
 * there ends; others do not notice. */
static void test_stream_free(void)
{
	enum { N = 6 };
	struct sim_test t;
	struct end hung, queued[N], waiting, after;
	struct arax_device_stream *streams[4];
	struct arax_sim_event *event;
	char host[16] = {0};
	tools_open(&t, "sim0", "latency=0,streams=1,faults=hang@1");
	struct arax_device_kernel *add = tools_kernel(&t, "add");
	struct arax_device_mem *mem = tools_buffer(&t, sizeof(host));
	CHECK(!arax_sim_event_new(&event));
	for (int s = 0; s < 4; s++)
		CHECK(!t.dev.ops->stream_new(&t.dev, &streams[s]));
	CHECK(!tools_apply(&t, streams[0], add, mem, 4, 1, &hung));
	CHECK(!arax_sim_event_record(&t.dev, streams[0], event));
	for (int i = 0; i < N; i++)
		CHECK(!tools_apply(&t, streams[1], add, mem, 4, 1, &queued[i]));
	CHECK(!arax_sim_event_wait(&t.dev, streams[2], event));
	CHECK(!tools_copy(&t, streams[2], ARAX_TO_DEVICE, mem, 0, sizeof(host), host, &waiting));
	CHECK(!tools_apply(&t, streams[3], add, mem, 4, 1, &after));
	t.dev.ops->stream_free(&t.dev, streams[1]);
	for (int i = 0; i < N; i++)
		CHECK(tools_wait(&queued[i]) == CL_DEVICE_NOT_AVAILABLE);
	t.dev.ops->stream_free(&t.dev, streams[2]);
	CHECK(tools_wait(&waiting) == CL_DEVICE_NOT_AVAILABLE);
	CHECK(!atomic_load(&hung.calls) && !atomic_load(&after.calls));
	t.dev.ops->stream_free(&t.dev, streams[0]);
	CHECK(tools_wait(&hung) == CL_DEVICE_NOT_AVAILABLE);
	CHECK(!tools_wait(&after));
	CHECK(!tools_apply(&t, streams[3], add, mem, 4, 1, &after) && !tools_wait(&after));
	t.dev.ops->stream_free(&t.dev, streams[3]);
	arax_sim_event_free(event);
	tools_mem_free(&t, mem);
	tools_kernel_free(&t, add);
	tools_close(&t);
	CHECK(atomic_load(&hung.calls) == 1 && atomic_load(&queued[0].calls) == 1);
}

/* Everything is freed and closed while commands are queued: each ends, once. */
static void test_close(void)
{
	enum { N = 40 };
	struct sim_test t;
	struct arax_device_stream *streams[N];
	static struct end ends[2 * N];
	static char host[64];
	tools_open(&t, "sim0", "latency=1000s,streams=2");
	struct arax_device_kernel *add = tools_kernel(&t, "add");
	for (int i = 0; i < N; i++) {
		struct arax_device_mem *mem = tools_buffer(&t, sizeof(host));
		CHECK(!t.dev.ops->stream_new(&t.dev, &streams[i]));
		CHECK(!tools_copy(&t, streams[i], ARAX_TO_DEVICE, mem, 0, sizeof(host), host,
				  &ends[2 * i]));
		CHECK(!tools_apply(&t, streams[i], add, mem, 4, 1, &ends[2 * i + 1]));
		tools_mem_free(&t, mem);
		t.dev.ops->stream_free(&t.dev, streams[i]);
	}
	tools_kernel_free(&t, add);
	tools_close(&t);
	for (int i = 0; i < 2 * N; i++)
		CHECK(atomic_load(&ends[i].calls) == 1 &&
		      ends[i].status == CL_DEVICE_NOT_AVAILABLE);
}

int main(void)
{
	alarm(110);
	tools_init();
	test_stream_order();
	test_events();
	test_event_is_of_its_time();
	test_model();
	test_real_time();
	test_overlap();
	test_several_devices();
	test_jitter();
	test_memory_in_use();
	test_faults();
	test_hang();
	test_stream_free();
	test_lost();
	test_lost_after();
	test_close();
	tools_exit();
	return 0;
}
