/* SPDX-License-Identifier: Apache-2.0
 *
 * Devices of the tests' own, see fake_device.h.
 */
#include "scheduler/fake_device.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "transport/testing.h"
#include "transport/wake.h"

enum { UNITS = 1024 };

struct job {
	struct job *next;
	int32_t *out;
	const int32_t *in;
	uint32_t nout, nin;
	int32_t value;
	arax_device_done done;
	void *arg;
	int status;
	uint64_t start_ns, end_ns;
};

/* One thread each; device 2 has its completions fetched. */
struct unit {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct job *first, *last;
	_Atomic(struct job *) ended;
	uint64_t seed;
	bool polled, leaving;
};

atomic_uint fake_together;

static char *arena;
static struct unit units[FAKE_DEVICES];
static atomic_uint in_use[UNITS]; /* readers, and 1 << 16 for a writer */
static atomic_uint busy;

static unsigned unit_of(const int32_t *at)
{
	return (unsigned)((const char *)at - arena - FAKE_DATA) / (FAKE_UNIT * 4);
}

static void enter_memory(const struct job *job)
{
	for (unsigned u = 0; u < job->nout / FAKE_UNIT; u++)
		CHECK(atomic_fetch_add(&in_use[unit_of(job->out) + u], 1u << 16) == 0);
	for (unsigned u = 0; u < job->nin / FAKE_UNIT; u++)
		CHECK(atomic_fetch_add(&in_use[unit_of(job->in) + u], 1) < 1u << 16);
}

static void leave_memory(const struct job *job)
{
	for (unsigned u = 0; u < job->nout / FAKE_UNIT; u++)
		atomic_fetch_sub(&in_use[unit_of(job->out) + u], 1u << 16);
	for (unsigned u = 0; u < job->nin / FAKE_UNIT; u++)
		atomic_fetch_sub(&in_use[unit_of(job->in) + u], 1);
}

void fake_mix(int32_t *out, uint32_t nout, const int32_t *in, uint32_t nin, int32_t value)
{
	for (uint32_t i = 0; i < nout; i++)
		out[i] =
		    (int32_t)((uint32_t)out[i] * 31u + (uint32_t)in[i % nin] + (uint32_t)value);
}

/* A device takes its time without taking the processor. */
static void execute(struct job *job, long sleep_ns)
{
	const struct timespec time = {.tv_nsec = sleep_ns};
	job->start_ns = arax_now_ns();
	job->status = job->value == FAKE_FAIL ? -5 : 0;
	enter_memory(job);
	atomic_fetch_add(&fake_together, atomic_fetch_add(&busy, 1) > 0);
	if (!job->status)
		fake_mix(job->out, job->nout, job->in, job->nin, job->value);
	if (sleep_ns)
		nanosleep(&time, NULL);
	atomic_fetch_sub(&busy, 1);
	leave_memory(job);
	job->end_ns = arax_now_ns();
}

static void *work(void *arg)
{
	struct unit *unit = arg;
	for (;;) {
		pthread_mutex_lock(&unit->lock);
		while (!unit->first && !unit->leaving)
			pthread_cond_wait(&unit->work, &unit->lock);
		struct job *job = unit->first;
		if (job)
			unit->first = job->next;
		pthread_mutex_unlock(&unit->lock);
		if (!job)
			return NULL;
		execute(job, (long)(test_random(&unit->seed) % 100000));
		if (!unit->polled) {
			job->done(job->arg, job->status, job->start_ns, job->end_ns);
			free(job);
			continue;
		}
		job->next = atomic_load(&unit->ended);
		while (!atomic_compare_exchange_weak(&unit->ended, &job->next, job))
			;
		arax_wake_ring(&((struct arax_shm *)arena)->tenant_wake);
	}
}

static int fake_mem_new(struct arax_device *dev, const struct arax_mem_desc *desc,
			struct arax_device_mem **mem)
{
	struct arax_mem_desc *copy = malloc(sizeof(*copy));
	(void)dev;
	CHECK(copy);
	*copy = *desc;
	*mem = (struct arax_device_mem *)copy;
	return 0;
}

static void fake_mem_free(struct arax_device *dev, struct arax_device_mem *mem)
{
	(void)dev;
	free(mem);
}

static int fake_program_load(struct arax_device *dev, const struct arax_program_source *source,
			     struct arax_device_program **program)
{
	(void)source;
	*program = (struct arax_device_program *)dev;
	return 0;
}

static void fake_program_free(struct arax_device *dev, struct arax_device_program *program)
{
	(void)dev;
	(void)program;
}

static int fake_kernel_new(struct arax_device *dev, struct arax_device_program *program,
			   const char *name, struct arax_device_kernel **kernel)
{
	(void)program;
	CHECK(!strcmp(name, "mix"));
	*kernel = (struct arax_device_kernel *)dev;
	return 0;
}

static void fake_kernel_free(struct arax_device *dev, struct arax_device_kernel *kernel)
{
	(void)dev;
	(void)kernel;
}

static int fake_stream_new(struct arax_device *dev, struct arax_device_stream **stream)
{
	*stream = (struct arax_device_stream *)dev;
	return 0;
}

static void fake_stream_free(struct arax_device *dev, struct arax_device_stream *stream)
{
	(void)dev;
	(void)stream;
}

static int fake_launch(struct arax_device *dev, struct arax_device_stream *stream,
		       const struct arax_launch *launch)
{
	const struct arax_mem_desc *out = (const void *)launch->args[0].mem;
	const struct arax_mem_desc *in = (const void *)launch->args[1].mem;
	struct unit *unit = dev->priv;
	struct job *job = malloc(sizeof(*job));
	(void)stream;
	CHECK(job && launch->nargs == 3);
	*job = (struct job){
	    .out = out->data,
	    .in = in->data,
	    .nout = (uint32_t)out->size / 4,
	    .nin = (uint32_t)in->size / 4,
	    .done = launch->done,
	    .arg = launch->arg,
	};
	memcpy(&job->value, launch->args[2].value, 4);
	if (dev->inline_launch) {
		execute(job, 0);
		job->done(job->arg, job->status, job->start_ns, job->end_ns);
		free(job);
		return 0;
	}
	pthread_mutex_lock(&unit->lock);
	if (unit->first)
		unit->last->next = job;
	else
		unit->first = job;
	unit->last = job;
	pthread_cond_signal(&unit->work);
	pthread_mutex_unlock(&unit->lock);
	return 0;
}

static bool fake_ready(const struct arax_device *dev)
{
	const struct unit *unit = dev->priv;
	return atomic_load_explicit(&unit->ended, memory_order_relaxed) != NULL;
}

/* In an order of its own: newest first. */
static int fake_poll(struct arax_device *dev)
{
	struct unit *unit = dev->priv;
	struct job *job = atomic_exchange(&unit->ended, NULL);
	int n = 0;
	while (job) {
		struct job *next = job->next;
		job->done(job->arg, job->status, job->start_ns, job->end_ns);
		free(job);
		job = next;
		n++;
	}
	return n;
}

#define FAKE_OPS                                                              \
	.name = "fake", .mem_new = fake_mem_new, .mem_free = fake_mem_free,   \
	.program_load = fake_program_load, .program_free = fake_program_free, \
	.kernel_new = fake_kernel_new, .kernel_free = fake_kernel_free,       \
	.stream_new = fake_stream_new, .stream_free = fake_stream_free, .launch = fake_launch
static const struct arax_device_ops called = {FAKE_OPS},
				    fetched = {FAKE_OPS, .poll = fake_poll, .ready = fake_ready};

static const struct arax_device models[FAKE_DEVICES] = {
    {.ops = &called, .name = "inline", .inline_launch = true, .parallel = 1},
    {.ops = &called, .name = "called", .parallel = 2},
    {.ops = &fetched, .name = "fetched", .parallel = 2},
};

void fake_devices_start(struct arax_device devices[FAKE_DEVICES], void *in, uint64_t seed)
{
	arena = in;
	for (unsigned i = 0; i < FAKE_DEVICES; i++) {
		units[i] = (struct unit){.seed = seed + i, .polled = models[i].ops == &fetched};
		devices[i] = models[i];
		devices[i].index = i;
		devices[i].priv = &units[i];
		pthread_mutex_init(&units[i].lock, NULL);
		pthread_cond_init(&units[i].work, NULL);
		if (!devices[i].inline_launch)
			CHECK(!pthread_create(&units[i].thread, NULL, work, &units[i]));
	}
}

void fake_devices_stop(void)
{
	for (unsigned i = 0; i < FAKE_DEVICES; i++) {
		if (models[i].inline_launch)
			continue;
		pthread_mutex_lock(&units[i].lock);
		units[i].leaving = true;
		pthread_cond_signal(&units[i].work);
		pthread_mutex_unlock(&units[i].lock);
		pthread_join(units[i].thread, NULL);
	}
}
