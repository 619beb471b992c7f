/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the simulated accelerator share: sim.c (the device and its objects),
 * sim_engine.c (streams, engines, time) and sim_options.c; nobody else includes it.
 *
 * In these files a struct arax_device_mem, _program and so on is always the CPU's, below; ours are
 * struct sim_mem and so on, and what comes through device_ops is converted where it comes in.
 */
#ifndef ARAX_DEVICES_SIM_INTERNAL_H
#define ARAX_DEVICES_SIM_INTERNAL_H

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "devices/sim.h"
#include "transport/heap.h"

#define SIM_STREAMS_MAX 64
#define SIM_FAULTS_MAX 32
#define SIM_FRESH_SIZE 4096

enum sim_fault_kind {
	SIM_FAULT_OOM,
	SIM_FAULT_LAUNCH,
	SIM_FAULT_HANG,
	SIM_FAULT_TRANSFER,
	SIM_FAULT_LOST,
	SIM_FAULT_KINDS,
};

struct sim_options {
	uint64_t memory, bandwidth, latency_ns, local_mem, units, streams, copies, seed;
	double rate, item_ns, jitter;
	uint64_t lost_after_ns; /* UINT64_MAX: never */
	unsigned nfaults;
	struct sim_fault {
		enum sim_fault_kind kind;
		uint64_t at;
	} faults[SIM_FAULTS_MAX];
};

/* Return: 0 or -EINVAL; *error says why until the thread's next call. */
int sim_options_parse(const char *text, struct sim_options *options, const char **error);

/* What executes: launches on SIM_EXECUTE engines, copies on theirs. What is dropped with its stream
 * is ended by the thread that loads programs. */
enum sim_class { SIM_EXECUTE, SIM_COPY_IN, SIM_COPY_OUT, SIM_DROP, SIM_CLASSES };

struct sim_stream;
struct sim_stream_list {
	struct sim_stream *first, *last;
};

struct sim_engine {
	struct sim *sim;
	enum sim_class class;
	unsigned index;			   /* among those of its class */
	uint64_t clock_ns;		   /* when its last command ended, in the model */
	struct arax_device_stream *stream; /* the CPU's, on which it executes */
	pthread_t thread;
};

/* The device: CUDA's context. */
struct sim {
	struct sim_options options;
	struct arax_opencl *opencl;
	struct arax_device cpu; /* what executes */
	unsigned char *memory;	/* of the device */
	unsigned char fresh[SIM_FRESH_SIZE];

	pthread_mutex_t lock;		  /* all that follows, and streams and events */
	pthread_cond_t work[SIM_CLASSES]; /* SIM_DROP: also programs that are to be loaded */
	pthread_cond_t changed;		  /* lost, idle, a program was loaded, a thread has begun */
	struct arax_heap *heap;
	uint64_t random, lost_at_ns;
	uint64_t counts[SIM_FAULT_KINDS];
	bool lost, stop;
	uint64_t in_flight; /* commands, and programs being loaded */
	struct sim_stream_list ready[SIM_CLASSES];
	struct sim_program *loads, **loads_end;
	unsigned nengines, started;
	struct sim_engine engines[SIM_STREAMS_MAX + 2];
	pthread_t loader;
	bool has_loader;
};

/* Objects are kept by whoever made them and by every command that needs them. */
struct sim_mem {
	atomic_uint refs;
	struct sim *sim;
	struct sim_mem *parent; /* whose memory it is part of, or NULL */
	uint64_t offset, size;
	struct arax_device_mem *cpu;
};

struct sim_program {
	atomic_uint refs;
	struct sim *sim;
	struct arax_program_source source;
	struct arax_device_program *cpu; /* NULL until it has been loaded */
	bool loading;			 /* until done has been called */
	struct sim_program *next;
};

struct sim_kernel {
	atomic_uint refs;
	struct sim_program *program;
	char *name;
	uint64_t local_mem;
	/* One for each engine, made by it: arguments are set and used by that thread only. */
	struct arax_device_kernel *on[];
};

struct sim_sampler {
	atomic_uint refs;
	struct sim *sim;
	struct arax_device_sampler *cpu;
};

/* splitmix64 */
static inline uint64_t sim_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static inline struct sim *sim_of(const struct arax_device *dev)
{
	return dev->priv;
}

/* sim.c */
void sim_mem_unref(struct sim_mem *mem);
void sim_kernel_unref(struct sim_kernel *kernel);
void sim_sampler_unref(struct sim_sampler *sampler);
void *sim_load_main(void *arg);

/* sim_engine.c; the first four under the lock */
bool sim_is_lost(struct sim *sim);
void sim_lose(struct sim *sim);
bool sim_drop(struct sim *sim); /* one command; false when there is none */
bool sim_fault_now(struct sim *sim, enum sim_fault_kind kind);
void *sim_engine_main(void *arg);
int sim_stream_new(struct arax_device *dev, struct arax_device_stream **out);
void sim_stream_free(struct arax_device *dev, struct arax_device_stream *stream);
int sim_launch(struct arax_device *dev, struct arax_device_stream *stream,
	       const struct arax_launch *launch);
int sim_transfer(struct arax_device *dev, struct arax_device_stream *stream,
		 const struct arax_transfer *transfer);

#endif
