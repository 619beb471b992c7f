/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated accelerator: the device, its memory and its programs, see sim.h; what executes is
 * in sim_engine.c.
 *
 * Below it is PoCL's "basic" device, which executes inside the call: each engine that executes has
 * a queue and kernel objects of its own there, so that its thread shares nothing with the others
 * that PoCL does not lock. A memory object is one of PoCL's over the range of device memory.
 *
 * Device memory is one mapping with the bookkeeping of the arena's heap. What is allocated is
 * filled with a pattern: nobody sees what another has freed, and data that was never transferred
 * does not look as if it had been.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/sim_internal.h"
#include "transport/wake.h"

#define LIBRARY "libpocl.so.2"
#define GROUP_MAX 1024
#define ALIGN 256

static const char *const cpu_names[] = {"cpu-basic"};
static _Thread_local char message[160];

/* Memory */

static void fill_fresh(const struct sim *sim, uint64_t offset, uint64_t size)
{
	while (size) {
		uint64_t part = size < SIM_FRESH_SIZE ? size : SIM_FRESH_SIZE;
		memcpy(sim->memory + offset, sim->fresh, part);
		offset += part;
		size -= part;
	}
}

static int memory_take(struct sim *sim, uint64_t size, uint64_t *offset)
{
	int err = 0;
	pthread_mutex_lock(&sim->lock);
	if (sim_fault_now(sim, SIM_FAULT_LOST))
		sim_lose(sim);
	if (sim_is_lost(sim))
		err = CL_DEVICE_NOT_AVAILABLE;
	else if (sim_fault_now(sim, SIM_FAULT_OOM) ||
		 arax_heap_alloc(sim->heap, size, ALIGN, offset))
		err = CL_MEM_OBJECT_ALLOCATION_FAILURE;
	pthread_mutex_unlock(&sim->lock);
	if (!err)
		fill_fresh(sim, *offset, size);
	return err;
}

static void memory_give_back(struct sim *sim, uint64_t offset)
{
	pthread_mutex_lock(&sim->lock);
	arax_heap_release(sim->heap, offset);
	pthread_mutex_unlock(&sim->lock);
}

/* Where the object is: in its parent's memory or in some that is taken for it. */
static int mem_place(struct sim_mem *mem, const struct arax_mem_desc *desc)
{
	struct sim_mem *parent = (struct sim_mem *)desc->parent;
	if (!desc->size)
		return CL_INVALID_BUFFER_SIZE;
	if (!parent)
		return memory_take(mem->sim, desc->size, &mem->offset);
	if (desc->origin > parent->size || desc->size > parent->size - desc->origin)
		return CL_INVALID_VALUE;
	mem->parent = parent;
	mem->offset = parent->offset + desc->origin;
	atomic_fetch_add(&parent->refs, 1);
	return 0;
}

static void mem_unplace(struct sim_mem *mem)
{
	if (mem->parent)
		sim_mem_unref(mem->parent);
	else
		memory_give_back(mem->sim, mem->offset);
}

static int sim_mem_new(struct arax_device *dev, const struct arax_mem_desc *desc,
		       struct arax_device_mem **out)
{
	struct sim *sim = sim_of(dev);
	struct sim_mem *mem = calloc(1, sizeof(*mem));
	if (!mem)
		return CL_OUT_OF_HOST_MEMORY;
	mem->sim = sim;
	mem->size = desc->size;
	atomic_init(&mem->refs, 1);
	int err = mem_place(mem, desc);
	if (err) {
		free(mem);
		return err;
	}
	struct arax_mem_desc below = *desc;
	below.data = sim->memory + mem->offset;
	below.parent = NULL;
	below.origin = 0;
	err = sim->cpu.ops->mem_new(&sim->cpu, &below, &mem->cpu);
	if (err) {
		mem_unplace(mem);
		free(mem);
		return err;
	}
	*out = (struct arax_device_mem *)mem;
	return 0;
}

void sim_mem_unref(struct sim_mem *mem)
{
	if (atomic_fetch_sub(&mem->refs, 1) != 1)
		return;
	mem->sim->cpu.ops->mem_free(&mem->sim->cpu, mem->cpu);
	mem_unplace(mem);
	free(mem);
}

static void sim_mem_free(struct arax_device *dev, struct arax_device_mem *mem)
{
	(void)dev;
	if (mem)
		sim_mem_unref((struct sim_mem *)mem);
}

/* Programs: CUDA's modules. With a done they are loaded by a thread of their own. */

static void program_unref(struct sim_program *program)
{
	if (atomic_fetch_sub(&program->refs, 1) != 1)
		return;
	if (program->cpu)
		program->sim->cpu.ops->program_free(&program->sim->cpu, program->cpu);
	free(program);
}

/* Kernels can be made of it as soon as this has ended, before anybody is told. */
static int load_now(struct sim_program *program, const char **log)
{
	struct sim *sim = program->sim;
	const struct arax_program_source below = {.result = program->source.result};
	struct arax_device_program *cpu;
	*log = "";
	if (below.result->flags & ARAX_RESULT_PRINTF) {
		*log = "a simulated device cannot print";
		return CL_BUILD_PROGRAM_FAILURE;
	}
	pthread_mutex_lock(&sim->lock);
	bool lost = sim_is_lost(sim);
	pthread_mutex_unlock(&sim->lock);
	if (lost)
		return CL_DEVICE_NOT_AVAILABLE;
	int err = sim->cpu.ops->program_load(&sim->cpu, &below, &cpu);
	if (err)
		return err;
	pthread_mutex_lock(&sim->lock);
	program->cpu = cpu;
	pthread_mutex_unlock(&sim->lock);
	return 0;
}

static void load_next(struct sim *sim)
{
	struct sim_program *program = sim->loads;
	const char *log;
	sim->loads = program->next;
	if (!sim->loads)
		sim->loads_end = &sim->loads;
	pthread_mutex_unlock(&sim->lock);
	int err = load_now(program, &log);
	program->source.done(program->source.arg, err, log);
	pthread_mutex_lock(&sim->lock);
	program->loading = false;
	sim->in_flight--;
	pthread_cond_broadcast(&sim->changed);
}

void *sim_load_main(void *arg)
{
	struct sim *sim = arg;
	pthread_mutex_lock(&sim->lock);
	sim->started++;
	pthread_cond_broadcast(&sim->changed);
	while (!sim->stop) {
		if (sim->loads)
			load_next(sim);
		else if (!sim_drop(sim))
			pthread_cond_wait(&sim->work[SIM_DROP], &sim->lock);
	}
	pthread_mutex_unlock(&sim->lock);
	return NULL;
}

static void load_later(struct sim *sim, struct sim_program *program)
{
	pthread_mutex_lock(&sim->lock);
	program->loading = true;
	*sim->loads_end = program;
	sim->loads_end = &program->next;
	sim->in_flight++;
	pthread_cond_signal(&sim->work[SIM_DROP]);
	pthread_mutex_unlock(&sim->lock);
}

static int sim_program_load(struct arax_device *dev, const struct arax_program_source *source,
			    struct arax_device_program **out)
{
	const char *log;
	if (!source->result)
		return CL_INVALID_BINARY;
	struct sim_program *program = calloc(1, sizeof(*program));
	if (!program)
		return CL_OUT_OF_HOST_MEMORY;
	program->sim = sim_of(dev);
	program->source = *source;
	atomic_init(&program->refs, 1);
	/* Before it can have been loaded: done may look. */
	*out = (struct arax_device_program *)program;
	if (source->done) {
		load_later(program->sim, program);
		return 0;
	}
	int err = load_now(program, &log);
	if (err) {
		*out = NULL;
		program_unref(program);
	}
	return err;
}

static void sim_program_free(struct arax_device *dev, struct arax_device_program *handle)
{
	struct sim *sim = sim_of(dev);
	struct sim_program *program = (struct sim_program *)handle;
	if (!program)
		return;
	/* The result that it is loaded from goes with it; and nobody is told of it afterwards. */
	pthread_mutex_lock(&sim->lock);
	while (program->loading)
		pthread_cond_wait(&sim->changed, &sim->lock);
	pthread_mutex_unlock(&sim->lock);
	program_unref(program);
}

/* Kernels: CUDA's functions. */

static uint64_t local_mem_of(const struct arax_result *result, const char *name)
{
	for (uint32_t i = 0; i < result->nkernels; i++) {
		if (!strcmp(result->kernels[i].name, name))
			return result->kernels[i].local_mem;
	}
	return 0;
}

static int sim_kernel_new(struct arax_device *dev, struct arax_device_program *handle,
			  const char *name, struct arax_device_kernel **out)
{
	struct sim *sim = sim_of(dev);
	struct sim_program *program = (struct sim_program *)handle;
	pthread_mutex_lock(&sim->lock);
	bool lost = sim_is_lost(sim), loaded = program->cpu;
	pthread_mutex_unlock(&sim->lock);
	if (lost)
		return CL_DEVICE_NOT_AVAILABLE;
	if (!loaded)
		return CL_INVALID_PROGRAM_EXECUTABLE;
	struct sim_kernel *kernel =
	    calloc(1, sizeof(*kernel) + sim->options.streams * sizeof(kernel->on[0]));
	char *copy = strdup(name);
	int err = CL_OUT_OF_HOST_MEMORY;
	if (kernel && copy)
		err = sim->cpu.ops->kernel_new(&sim->cpu, program->cpu, name, &kernel->on[0]);
	if (err) {
		free(kernel);
		free(copy);
		return err;
	}
	kernel->name = copy;
	kernel->program = program;
	kernel->local_mem = local_mem_of(program->source.result, name);
	atomic_init(&kernel->refs, 1);
	atomic_fetch_add(&program->refs, 1);
	*out = (struct arax_device_kernel *)kernel;
	return 0;
}

void sim_kernel_unref(struct sim_kernel *kernel)
{
	struct sim *sim = kernel->program->sim;
	if (atomic_fetch_sub(&kernel->refs, 1) != 1)
		return;
	for (unsigned i = 0; i < sim->options.streams; i++)
		sim->cpu.ops->kernel_free(&sim->cpu, kernel->on[i]);
	program_unref(kernel->program);
	free(kernel->name);
	free(kernel);
}

static void sim_kernel_free(struct arax_device *dev, struct arax_device_kernel *kernel)
{
	(void)dev;
	if (kernel)
		sim_kernel_unref((struct sim_kernel *)kernel);
}

/* Samplers */

static int sim_sampler_new(struct arax_device *dev, uint32_t normalized, uint32_t addressing,
			   uint32_t filter, struct arax_device_sampler **out)
{
	struct sim *sim = sim_of(dev);
	struct sim_sampler *sampler = calloc(1, sizeof(*sampler));
	if (!sampler)
		return CL_OUT_OF_HOST_MEMORY;
	sampler->sim = sim;
	atomic_init(&sampler->refs, 1);
	int err =
	    sim->cpu.ops->sampler_new(&sim->cpu, normalized, addressing, filter, &sampler->cpu);
	if (err) {
		free(sampler);
		return err;
	}
	*out = (struct arax_device_sampler *)sampler;
	return 0;
}

void sim_sampler_unref(struct sim_sampler *sampler)
{
	if (atomic_fetch_sub(&sampler->refs, 1) != 1)
		return;
	sampler->sim->cpu.ops->sampler_free(&sampler->sim->cpu, sampler->cpu);
	free(sampler);
}

static void sim_sampler_free(struct arax_device *dev, struct arax_device_sampler *sampler)
{
	(void)dev;
	if (sampler)
		sim_sampler_unref((struct sim_sampler *)sampler);
}

/* The device */

static const struct arax_device_ops sim_ops = {
    .name = "sim",
    .mem_new = sim_mem_new,
    .mem_free = sim_mem_free,
    .program_load = sim_program_load,
    .program_free = sim_program_free,
    .kernel_new = sim_kernel_new,
    .kernel_free = sim_kernel_free,
    .sampler_new = sim_sampler_new,
    .sampler_free = sim_sampler_free,
    .stream_new = sim_stream_new,
    .stream_free = sim_stream_free,
    .launch = sim_launch,
    .transfer = sim_transfer,
};

static void fill_device(struct sim *sim, const char *name, struct arax_device *dev)
{
	const struct sim_options *o = &sim->options;
	*dev = (struct arax_device){
	    .ops = &sim_ops,
	    .discrete = true,
	    .parallel = (unsigned)o->units,
	    .caps =
		{
		    .features = ARAX_FEATURE_IMAGES | ARAX_FEATURE_IMAGES_3D_WRITE |
				ARAX_FEATURE_IMAGES_READ_WRITE | ARAX_FEATURE_FP64 |
				ARAX_FEATURE_RESULT | ARAX_FEATURE_SIMULATED,
		    .compute_units = (uint32_t)o->units,
		    .max_group = GROUP_MAX,
		    .max_item_sizes = {GROUP_MAX, GROUP_MAX, GROUP_MAX},
		    .local_mem = o->local_mem,
		    .memory = o->memory,
		    .max_alloc = o->memory,
		    .bandwidth = o->bandwidth,
		    .latency_ns = o->latency_ns,
		    .target = "sim",
		},
	    .priv = sim,
	};
	snprintf(dev->name, sizeof(dev->name), "%s", name);
}

static int make_memory(struct sim *sim, const char **error)
{
	uint64_t size = sim->options.memory, state = sim->options.seed;
	for (size_t i = 0; i < SIM_FRESH_SIZE; i++)
		sim->fresh[i] = (unsigned char)sim_random(&state);
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED) {
		*error = "no address space for its memory";
		return -ENOMEM;
	}
	sim->memory = memory;
	sim->heap = arax_heap_new(0, size, -1, UINT64_MAX);
	*error = "no memory";
	return sim->heap ? 0 : -ENOMEM;
}

/* Where the process has not set it otherwise. PoCL unpacks programs in a directory of its own: the
 * working one, which is private in an arax-device. */
static int make_environment(void)
{
	char here[PATH_MAX];
	if (!getcwd(here, sizeof(here)) || setenv("POCL_DEVICES", "basic", 0) ||
	    setenv("POCL_WORK_GROUP_SPECIALIZATION", "0", 0) || setenv("POCL_CACHE_DIR", here, 0) ||
	    unsetenv("POCL_MEMORY_LIMIT"))
		return -errno;
	return 0;
}

static int make_cpu(struct sim *sim, const char **error)
{
	*error = "no environment for PoCL";
	int rc = make_environment();
	if (rc)
		return rc;
	rc = arax_opencl_open(LIBRARY, cpu_names, &sim->cpu, 1, &sim->opencl, error);
	if (rc < 0)
		return rc;
	if (!sim->cpu.inline_launch) {
		*error = "PoCL's first device is not basic (POCL_DEVICES)";
		return -EINVAL;
	}
	return 0;
}

static void make_locks(struct sim *sim)
{
	pthread_condattr_t monotonic;
	pthread_mutex_init(&sim->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&sim->changed, &monotonic);
	for (unsigned i = 0; i < SIM_CLASSES; i++)
		pthread_cond_init(&sim->work[i], NULL);
	pthread_condattr_destroy(&monotonic);
}

static void destroy_locks(struct sim *sim)
{
	for (unsigned i = 0; i < SIM_CLASSES; i++)
		pthread_cond_destroy(&sim->work[i]);
	pthread_cond_destroy(&sim->changed);
	pthread_mutex_destroy(&sim->lock);
}

static int add_engine(struct sim *sim, enum sim_class class, unsigned index)
{
	struct sim_engine *engine = &sim->engines[sim->nengines];
	*engine = (struct sim_engine){.sim = sim, .class = class, .index = index};
	if (class == SIM_EXECUTE && sim->cpu.ops->stream_new(&sim->cpu, &engine->stream))
		return -EIO;
	int rc = -pthread_create(&engine->thread, NULL, sim_engine_main, engine);
	if (rc)
		sim->cpu.ops->stream_free(&sim->cpu, engine->stream);
	else
		sim->nengines++;
	return rc;
}

/* Signals of the process are not for these threads, except those that an instruction raises: PoCL
 * handles a division by zero. */
static int start_threads(struct sim *sim)
{
	static const int own[] = {SIGFPE, SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
	sigset_t blocked, before;
	int rc = 0;
	sigfillset(&blocked);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(&blocked, own[i]);
	pthread_sigmask(SIG_BLOCK, &blocked, &before);
	for (unsigned i = 0; i < sim->options.streams && !rc; i++)
		rc = add_engine(sim, SIM_EXECUTE, i);
	for (unsigned i = 0; i < sim->options.copies && !rc; i++)
		rc = add_engine(sim, i ? SIM_COPY_OUT : SIM_COPY_IN, 0);
	if (!rc) {
		rc = -pthread_create(&sim->loader, NULL, sim_load_main, sim);
		sim->has_loader = !rc;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_mutex_lock(&sim->lock);
	while (!rc && sim->started < sim->nengines + 1)
		pthread_cond_wait(&sim->changed, &sim->lock);
	pthread_mutex_unlock(&sim->lock);
	return rc;
}

static void stop_threads(struct sim *sim)
{
	pthread_mutex_lock(&sim->lock);
	sim->stop = true;
	for (unsigned i = 0; i < SIM_CLASSES; i++)
		pthread_cond_broadcast(&sim->work[i]);
	pthread_mutex_unlock(&sim->lock);
	for (unsigned i = 0; i < sim->nengines; i++) {
		pthread_join(sim->engines[i].thread, NULL);
		sim->cpu.ops->stream_free(&sim->cpu, sim->engines[i].stream);
	}
	if (sim->has_loader)
		pthread_join(sim->loader, NULL);
}

static void sim_free(struct sim *sim)
{
	if (sim->cpu.ops)
		stop_threads(sim);
	arax_opencl_close(sim->opencl);
	arax_heap_free(sim->heap);
	if (sim->memory)
		munmap(sim->memory, sim->options.memory);
	destroy_locks(sim);
	free(sim);
}

static int sim_start(struct sim *sim, const char **error)
{
	int rc = make_memory(sim, error);
	if (!rc)
		rc = make_cpu(sim, error);
	if (rc)
		return rc;
	sim->random = sim->options.seed;
	sim->loads_end = &sim->loads;
	sim->lost_at_ns = UINT64_MAX;
	if (sim->options.lost_after_ns != UINT64_MAX)
		sim->lost_at_ns = arax_now_ns() + sim->options.lost_after_ns;
	*error = "no threads";
	return start_threads(sim);
}

int arax_sim_open(const char *name, const char *options, struct arax_device *dev,
		  const char **error)
{
	struct sim *sim = calloc(1, sizeof(*sim));
	const char *why = "no memory";
	int rc = sim ? sim_options_parse(options, &sim->options, &why) : -ENOMEM;
	if (rc) {
		free(sim);
	} else {
		sim->options.memory &= ~(uint64_t)(ALIGN - 1);
		make_locks(sim);
		rc = sim_start(sim, &why);
		if (rc)
			sim_free(sim);
	}
	if (rc) {
		snprintf(message, sizeof(message), "simulated device %s: %s", name, why);
		*error = message;
		return rc;
	}
	*error = NULL;
	fill_device(sim, name, dev);
	return 0;
}

void arax_sim_close(struct arax_device *dev)
{
	struct sim *sim = sim_of(dev);
	pthread_mutex_lock(&sim->lock);
	sim_lose(sim);
	while (sim->in_flight)
		pthread_cond_wait(&sim->changed, &sim->lock);
	pthread_mutex_unlock(&sim->lock);
	sim_free(sim);
	dev->priv = NULL;
}

unsigned char arax_sim_fresh(const struct arax_device *dev, uint64_t offset)
{
	return sim_of(dev)->fresh[offset % SIM_FRESH_SIZE];
}

uint64_t arax_sim_used(const struct arax_device *dev)
{
	struct sim *sim = sim_of(dev);
	pthread_mutex_lock(&sim->lock);
	uint64_t used = arax_heap_used(sim->heap);
	pthread_mutex_unlock(&sim->lock);
	return used;
}
