/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the dispatcher share (dispatch.c, dispatch_done.c, dispatch_launch.c,
 * dispatch_box.c, dispatch_objects.c, dispatch_stats.c, dispatch_trace.c); nobody else includes it.
 *
 * Life of a command: command_open() enters it into the graph; when nothing is in its way it runs at
 * once, from the scratch copy of its record, else its work is copied (command_keep) and it comes
 * out of the graph later. It ends with command_end() on the dispatch thread, or with
 * command_done() on a device's thread, which publishes the outcome at once and leaves the rest to
 * the dispatch thread (drain_done).
 */
#ifndef ARAX_SCHEDULER_DISPATCH_INTERNAL_H
#define ARAX_SCHEDULER_DISPATCH_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "scheduler/dispatch.h"
#include "scheduler/graph.h"
#include "scheduler/objects.h"
#include "transport/protocol.h"
#include "transport/ring.h"
#include "transport/shm.h"
#include "transport/trace.h"
#include "transport/wake.h"

/* OpenCL's numbers, as they appear in a slot's status. */
enum {
	STATUS_COMPLETE = 0,
	STATUS_RUNNING = 1,
	STATUS_SUBMITTED = 2,
	STATUS_OUT_OF_RESOURCES = -5,
	STATUS_OUT_OF_HOST_MEMORY = -6,
	STATUS_WAIT_FAILED = -14,
	STATUS_INVALID_PROGRAM_EXECUTABLE = -45,
	STATUS_INVALID_KERNEL_ARGS = -52,
};

struct launch_arg {
	uint32_t kind;
	uint64_t size;
	const void *value;
	struct object *object; /* mem, sampler or NULL */
};

/* A launch with its objects resolved. In scratch memory, or one block with all of its values. */
struct launch {
	struct kernel *kernel;
	uint32_t work_dim, nargs, flags;
	bool has_local;
	size_t offset[3], global[3], local[3];
	uint64_t items;
	uint64_t print_off, print_len;
	struct launch_arg args[];
};

struct command {
	struct graph_node node; /* first: a node is its command */
	struct dispatch *dispatch;
	uint32_t slot;
	uint16_t op;
	uint8_t device;
	bool owned;	  /* work is on the heap and holds references */
	bool inlined;	  /* runs inside launch(), on this thread */
	bool deferred;	  /* to be published by the dispatch thread only */
	bool ran;	  /* was on a device */
	int8_t error;	  /* it cannot run, and ends with this when its turn comes */
	const void *work; /* struct launch, struct arax_op_copy or _fill */
	struct queue *queue;
	uint64_t submit_ns; /* 0: when it started */
	uint64_t start_ns, end_ns, result;
	uint64_t handed_ns; /* when an idle device got it from this thread; else 0 */
	int status;
	struct command *link;		 /* done stack, held list, copy engine */
	_Atomic(struct command *) after; /* chained behind this one */
	atomic_bool published;
	/* dispatch_trace.c; 0: not traced, and then the rest is not looked at */
	uint64_t trace_id, queued_ns, deps[ARAX_TRACE_DEPS];
	uint32_t ndeps, queue_handle;
};

struct command_list {
	struct command *first, *last;
};

struct dispatch {
	struct dispatch_config config;
	struct arax_shm *shm;
	struct arax_ring sq, hq, cq;
	struct arax_spin spin, spin_busy;
	struct graph graph;
	struct objects objects;
	struct arax_stats *stats;
	uint64_t started; /* changes with what runs, see arax_stats.running */
	struct policy_state policy;
	struct policy_device devices[POLICY_DEVICES];
	struct queue *loose;	    /* streams for launches without a queue */
	struct command_list held;   /* launches that a printf launch keeps back */
	struct command *exclusive;  /* the printf launch that runs */
	uint32_t inflight, running; /* commands; those on a device or the copy engine */
	uint32_t on_devices;
	bool idle;
	int sleep_ms; /* how long the next sleep without work is at most */
	bool parked;  /* parked_entry of the host ring waits for its record */
	uint32_t parked_entry;
	struct copy_engine *engine;
	struct arax_trace_writer trace;
	uint64_t traced; /* the last trace_id that was given */
	const char *why;

	pthread_mutex_t cq_lock;	/* producer side of cq, and publication */
	_Atomic uint32_t since_room;	/* completions since client_room was rung */
	_Atomic(struct command *) done; /* ended elsewhere, newest first */
	atomic_uint others;		/* in flight but not running, when we went to sleep */
	atomic_int fatal;

	struct launch *launch_scratch;
	struct arax_launch_arg *arg_scratch;
	void *record; /* scratch copy, ARAX_RECORD_MAX */
	struct command commands[ARAX_SLOTS];
};

static inline struct command *command_of(struct graph_node *node)
{
	return (struct command *)node;
}

/* dispatch.c */
int command_open(struct dispatch *d, const struct arax_record *record, struct command **out);
int command_enqueue(struct dispatch *d, struct command *c, const struct arax_record *record,
		    bool all, bool barrier);
int command_submit(struct dispatch *d, struct command *c);
int command_start(struct dispatch *d, struct command *c);

/* dispatch_done.c */
int command_end(struct dispatch *d, struct command *c, int status);
void command_retire(struct dispatch *d, struct command *c, int status);
void command_done(void *arg, int status, uint64_t start_ns, uint64_t end_ns);
int host_announce(struct dispatch *d, struct command *c);
int drain_done(struct dispatch *d);
int drain_host(struct dispatch *d);

/* dispatch_launch.c */
int launch_decode(struct dispatch *d, const struct arax_op_launch *op, struct launch **out);
int launch_keep(struct command *c);
void launch_release(struct dispatch *d, struct command *c);
int launch_start(struct dispatch *d, struct command *c);
bool launch_chain(struct dispatch *d, struct command *c, int *rc);
int launch_pump(struct dispatch *d);
int launch_print(struct dispatch *d, struct command *c);

/* dispatch_group.c */
void group_choose(const size_t global[3], unsigned dims, unsigned parallel, size_t max,
		  size_t local[3]);

/* dispatch_box.c */
int box_keep(struct command *c);
int box_start(struct dispatch *d, struct command *c);

/* dispatch_stats.c */
void stats_init(struct dispatch *d);
int stats_kernel(struct dispatch *d, const char *name);
void stats_ended(struct dispatch *d, const struct command *c, int status);
void stats_running(struct dispatch *d, unsigned device, bool busy);
void stats_add(_Atomic uint64_t *counter, uint64_t n);
void stats_depth(struct dispatch *d);

/* dispatch_trace.c */
void trace_init(struct dispatch *d);
static inline void trace_open(struct dispatch *d, struct command *c)
{
	c->trace_id = arax_trace_on(&d->trace) && c->op != ARAX_OP_USER ? ++d->traced : 0;
}
void trace_entered(struct dispatch *d, struct command *c, const struct arax_record *record);
void trace_order(struct dispatch *d, struct command *c, bool all, bool barrier);
void trace_host(struct dispatch *d, const struct command *c);
void trace_ended(struct dispatch *d, const struct command *c, int status);

/* dispatch_objects.c: handlers of definitions */
int handler_queue_define(struct dispatch *d, const struct arax_record *record);
int handler_queue_drop(struct dispatch *d, const struct arax_record *record);
int handler_mem_define(struct dispatch *d, const struct arax_record *record);
int handler_mem_drop(struct dispatch *d, const struct arax_record *record);
int handler_program_load(struct dispatch *d, const struct arax_record *record);
int handler_program_drop(struct dispatch *d, const struct arax_record *record);
int handler_kernel_define(struct dispatch *d, const struct arax_record *record);
int handler_kernel_drop(struct dispatch *d, const struct arax_record *record);
int handler_sampler_define(struct dispatch *d, const struct arax_record *record);
int handler_sampler_drop(struct dispatch *d, const struct arax_record *record);

#endif
