/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the dispatcher share (dispatch.c, dispatch_*.c); nobody else includes it.
 *
 * Life of a command: command_open() enters it into the graph; when nothing is in its way it runs at
 * once, from the scratch copy of its record, else its work is copied (command_keep) and it comes
 * out of the graph later. It ends with command_end() on the dispatch thread, or with
 * command_done() on a device's thread, which publishes the outcome at once and leaves the rest to
 * the dispatch thread (drain_done).
 *
 * Where there are devices with memory of their own (dispatch.spread), a command is staged when it
 * starts: it gets a struct stage, which brings what it needs to where it will run, and waits for
 * that (dispatch_stage.c). It is GRAPH_READY until it is given to somebody.
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
	STATUS_DEVICE_NOT_AVAILABLE = -2,
	STATUS_NO_MEMORY = -4, /* CL_MEM_OBJECT_ALLOCATION_FAILURE */
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
	uint64_t serial; /* which of the tenant's launches it is */
	uint64_t print_off, print_len;
	struct launch_arg args[];
};

struct command {
	struct graph_node node; /* first: a node is its command */
	struct dispatch *dispatch;
	uint32_t slot;
	uint16_t op;
	uint8_t device;
	uint8_t access;	  /* HOST, MARKER: what is done with the range off, len */
	bool exact;	  /* HOST: every byte of it is written */
	bool owned;	  /* work is on the heap and holds references */
	bool inlined;	  /* runs inside launch(), on this thread */
	bool deferred;	  /* to be published by the dispatch thread only */
	bool ran;	  /* was on a device */
	int8_t error;	  /* it cannot run, and ends with this when its turn comes */
	const void *work; /* struct launch, struct arax_op_copy or _fill */
	struct queue *queue;
	struct stage *stage;
	uint64_t off, len;
	uint64_t submit_ns; /* 0: when it started */
	uint64_t start_ns, end_ns, result;
	uint64_t predicted_ns; /* of a launch in its device's backlog */
	uint64_t handed_ns;    /* when an idle device got it from this thread; else 0 */
	int status;
	struct command *link;		 /* done stack, held list, copy engine */
	_Atomic(struct command *) after; /* nothing is to be seen of it before this one's end */
	atomic_bool published;
	/* dispatch_trace.c; 0: not traced, and then the rest is not looked at */
	uint64_t trace_id, queued_ns, deps[ARAX_TRACE_DEPS];
	uint32_t ndeps, queue_handle;
};

struct message;

struct command_list {
	struct command *first, *last;
};

struct transfer;

/* Stages that wait for the same. */
struct stage_list {
	struct stage *first, *last;
};

/* dispatch_crowd.c */
#define CROWD_OWED 16
struct crowd {
	bool on;		    /* as of the last look */
	uint64_t since_ns, cpu_ns;  /* when this look began, and the thread's own time then */
	uint64_t slept_ns;	    /* since then */
	uint64_t until_ns, hold_ns; /* on, until then at least; for how long */
	uint32_t looks, taken;	    /* since it was on; of them, the last in a row */
	uint32_t nowed;
	uint64_t owed_ns; /* since when */
	const _Atomic uint32_t *owed[CROWD_OWED];
};

struct dispatch {
	struct dispatch_config config;
	struct arax_shm *shm;
	struct arax_ring sq, hq, cq;
	struct arax_spin spin, spin_busy;
	struct crowd crowd;
	struct graph graph;
	struct objects objects;
	struct arax_stats *stats;
	uint64_t started; /* changes with what runs, see arax_stats.running */
	struct policy_state policy;
	struct policy_device devices[POLICY_DEVICES];
	uint32_t given[POLICY_DEVICES]; /* launches that are on the device */
	struct queue *loose;	    /* streams for launches without a queue, and for moves home */
	struct command_list held;   /* launches that a printf launch keeps back */
	struct command *exclusive;  /* the printf launch that runs */
	uint32_t inflight, running; /* commands; those on a device or the copy engine */
	uint32_t inflight_of[GRAPH_PRIORITIES]; /* those of queues */
	uint32_t on_devices;
	uint32_t polled; /* bit n: device n's completions are fetched */
	bool idle;
	int sleep_ms; /* how long the next sleep without work is at most */
	bool parked;  /* parked_entry of the host ring waits for its record */
	uint32_t parked_entry;
	struct copy_engine *engine;
	struct arax_trace_writer trace;
	uint64_t traced;   /* the last trace_id that was given */
	uint64_t room_for; /* that of the command which needs what is written back now; 0 */
	const char *why;

	pthread_mutex_t cq_lock;	/* producer side of cq, and publication */
	_Atomic uint32_t since_room;	/* completions since client_room was rung */
	_Atomic(struct command *) done; /* ended elsewhere, newest first */
	atomic_uint others;		/* in flight but not running, when we went to sleep */
	atomic_int fatal;
	_Atomic(struct message *) mail; /* from araxd, newest first */

	struct launch *launch_scratch;
	struct arax_launch_arg *arg_scratch;
	struct access *access_scratch;
	struct graph_access *graph_scratch;
	void *record; /* scratch copy, ARAX_RECORD_MAX */

	/* Several devices (dispatch_place.c, _stage.c, _move.c, _devices.c). Only where spread:
	 * memory may be elsewhere than at home, or a launch may have to wait for a device. */
	bool spread;
	uint32_t discrete, lost, draining, drained; /* bit n: device n */
	uint32_t remote, gone; /* bit n: it is at the end of a link; which is to be unmapped */
	struct arax_device added[POLICY_DEVICES];
	uint32_t moving;		  /* transfers in flight */
	uint32_t moves[POLICY_DEVICES];	  /* of them, to or from a device */
	_Atomic(struct transfer *) moved; /* have ended, newest first */
	struct stage_list again;	  /* something has changed for them */
	struct stage_list placing;	  /* launches that have no device yet */
	uint32_t asked;			  /* of them, before the one that is looked at */
	uint32_t nplacing;
	struct stage_list full;			  /* for anything that ends on a device */
	struct stage_list memory[POLICY_DEVICES]; /* for memory there, the first before all */
	bool place_again;			  /* look at placing */
	uint32_t memory_again;			  /* bit n: look at memory[n] */
	uint32_t starving; /* bit n: what waits for memory there comes before everything new */
	uint32_t mark;
	uint64_t launches; /* that have come */
	uint64_t serial;   /* launches given to devices */
	struct {	   /* dispatch_costs.c; page is NULL without araxd's */
		struct arax_costs *page;
		char *text; /* what it held first; NULL when it was nothing */
		size_t size;
		uint64_t kept_ns, serial;
	} costs;
	uint32_t unproven[POLICY_DEVICES]; /* of them there, by kernels that never ran there */

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
int command_go(struct dispatch *d, struct command *c);

/* dispatch_costs.c */
int costs_begin(struct dispatch *d, int fd);
void costs_learn(struct dispatch *d); /* a device has come */
void costs_keep(struct dispatch *d);  /* there is nothing to do; only with a page */

/* dispatch_crowd.c */
/** crowd_begin() - with the dispatcher. */
void crowd_begin(struct dispatch *d);
/** crowd_look() - now and then, while there is work: is the processor taken from us? */
void crowd_look(struct dispatch *d, uint64_t now_ns);
/** crowd_judge() - so much of the time in which there was work was taken; for the tests. */
void crowd_judge(struct dispatch *d, uint64_t now_ns, uint64_t taken_ns, uint64_t busy_ns);
/** crowd_tell() - the outcome of this slot is published at end_ns: the client hears of it, now or
 *  with others. */
void crowd_tell(struct dispatch *d, uint32_t slot, uint64_t end_ns);
/** crowd_pay() - it hears of everything. Before whatever may take long. */
void crowd_pay(struct dispatch *d);
/** crowd_launch() - the same, if this launch may take long inline. */
void crowd_launch(struct dispatch *d, const struct launch *launch, unsigned device);

/* dispatch_done.c */
/** wake_client() - after n outcomes were published, whose slots' flags are these. */
void wake_client(struct dispatch *d, const _Atomic uint32_t *const *waited, uint32_t n);
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
int launch_on(struct dispatch *d, struct command *c, unsigned device);
bool launch_prints(const struct command *c);
bool launch_chain(struct dispatch *d, struct command *c, int *rc);
int launch_pump(struct dispatch *d);
int launch_print(struct dispatch *d, struct command *c);

/* dispatch_group.c */
void group_choose(const size_t global[3], unsigned dims, unsigned parallel, size_t max,
		  size_t local[3]);

/* dispatch_control.c */
void control_step(struct dispatch *d);
void devices_poll(struct dispatch *d);
bool devices_ready(const struct dispatch *d);

/* dispatch_access.c */
struct access {
	struct mem *mem;   /* the object as it was passed; NULL when only a range is known */
	uint32_t arg;	   /* the argument's index */
	uint32_t what;	   /* ARAX_ACCESS_READ, _WRITE (does not look at what was there), _BOTH */
	bool exact;	   /* every byte of the range is written */
	uint64_t off, len; /* in the arena */
};

/**
 * launch_accesses() - what a launch does with its memory objects, in the order of its arguments
 * @out: room for one per argument
 * @serial: it may reach more than that, or prints: an ordering point of its queue
 * Return: how many.
 */
unsigned launch_accesses(const struct dispatch *d, const struct launch *launch, struct access *out,
			 bool *serial);

/** command_accesses() - the same for any command that has a place in a queue; two at most for
 *  those that are not launches. */
unsigned command_accesses(const struct dispatch *d, const struct command *c,
			  const struct arax_record *record, struct access *out, bool *serial);

/* dispatch_place.c */

/* What a launch needs of a device beyond its kernel. */
struct place_need {
	uint64_t local, largest, sum; /* bytes: local memory, memory objects */
	uint64_t origins;	      /* of views, one or-ed to the other */
	uint32_t failed;	      /* devices that cannot have one of its objects */
	bool home;		      /* one of its objects stays at home */
};

/** place_able() - the devices that can execute a launch, now or later. */
uint32_t place_able(struct dispatch *d, const struct launch *launch);

/** place_now() - those of them that would take it now. */
uint32_t place_now(const struct dispatch *d, const struct launch *launch, uint32_t able);

/** place_pick() - the policy's choice, or POLICY_WAIT. held: launches before it that wait. */
unsigned place_pick(struct dispatch *d, const struct launch *launch, uint32_t mask, uint32_t held);

/** place_predict() - how long it will take there, for the books of struct policy_device. */
uint64_t place_predict(const struct dispatch *d, const struct launch *launch, unsigned device);

/* Nothing is to be seen of a launch before what it was given to a device right behind. In an as-if
 * queue that is so anyway. */
static inline void launch_after(struct command *c, struct command *before)
{
	if (!c->node.line)
		atomic_store_explicit(&c->after, before, memory_order_relaxed);
}

/* dispatch_stage.c */
int stage_launch(struct dispatch *d, struct command *c);
/** stage_chain() - as launch_chain(), where spread. Return: was it given to the device? */
bool stage_chain(struct dispatch *d, struct command *c, struct command *before, unsigned device);
/** stage_home() - must a command that is no launch wait until what it touches is at home? If so it
 *  goes on by itself, and *rc is 0 or -errno. */
bool stage_home(struct dispatch *d, struct command *c, int *rc);
/** stage_ended() - a staged command has come back. Return: will it go on, rather than end? */
bool stage_ended(struct dispatch *d, struct command *c, int *rc);
/** stage_over() - a staged command ends: nothing of it is in use any more. */
void stage_over(struct dispatch *d, struct command *c);
/** stage_host_ended() - the client has done its part. */
void stage_host_ended(struct dispatch *d, struct command *c);
/** stage_step() - whatever can go on does. Return: 0 or -errno. */
int stage_step(struct dispatch *d);
/** stage_waits() - is there anything for stage_step()? */
bool stage_waits(const struct dispatch *d);
void stage_wake_storage(struct dispatch *d, struct storage *s);
void stage_wake_memory(struct dispatch *d, unsigned device);
/** stage_ride() - a transfer is in progress that a stage cannot do without. */
void stage_ride(struct stage *s);
void stage_unride(struct stage *s);
/** stage_moved() - it has ended. Return: 0 or -errno. */
int stage_moved(struct dispatch *d, struct stage *s, const struct transfer *t);
void stage_device_lost(struct dispatch *d, unsigned device);

/* dispatch_move.c: a move between the arena and a device */
#define TRANSFER_RIDERS 8
struct transfer {
	struct activity activity; /* first: an activity that moves is its transfer */
	struct dispatch *dispatch;
	struct mem *root;
	struct transfer *link;
	uint8_t device;
	int status;
	uint64_t start_ns, end_ns;
	uint64_t cause; /* trace_id of the command that it was begun for; 0: of none */
	unsigned nriders;
	struct stage *riders[TRANSFER_RIDERS]; /* cannot do without it */
};

/** transfer_begin() - for a stage, or NULL. Return: 0 or a negative OpenCL error. */
int transfer_begin(struct dispatch *d, const struct residency_move *move,
		   struct arax_device_stream *stream, struct stage *rider);
/** transfer_ride() - Return: false when there is no room for one more. */
bool transfer_ride(struct transfer *t, struct stage *rider);
int transfers_drain(struct dispatch *d);
void move_resident(struct dispatch *d, unsigned device);
/** move_evict() - get so many bytes of a device free. Return: 1: some are; 0: write-backs are in
 *  progress, ask again after them; -1: nothing there can leave. */
int move_evict(struct dispatch *d, unsigned device, uint64_t bytes, uint32_t mark);
/** move_drain() - devices that are being emptied: on with it. */
void move_drain(struct dispatch *d);

/* dispatch_devices.c */
void device_log(struct dispatch *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
void builds_drain(struct dispatch *d);
static inline struct arax_device *device_at(const struct dispatch *d, unsigned device)
{
	return d->objects.devices[device];
}

/* dispatch_box.c */
int box_keep(struct command *c);
int box_start(struct dispatch *d, struct command *c);

/* dispatch_stats.c */
void stats_init(struct dispatch *d);
void stats_device(struct dispatch *d, unsigned device);
int stats_kernel(struct dispatch *d, const char *name);
void stats_ended(struct dispatch *d, const struct command *c, int status);
void stats_running(struct dispatch *d, unsigned device, bool busy);
void stats_add(_Atomic uint64_t *counter, uint64_t n);
void stats_depth(struct dispatch *d);
void stats_urgency(struct dispatch *d);

/* dispatch_trace.c */
void trace_init(struct dispatch *d);
void trace_device(struct dispatch *d, unsigned device);
static inline void trace_open(struct dispatch *d, struct command *c)
{
	c->trace_id = arax_trace_on(&d->trace) && c->op != ARAX_OP_USER ? ++d->traced : 0;
}
void trace_entered(struct dispatch *d, struct command *c, const struct arax_record *record);
void trace_order(struct dispatch *d, struct command *c, bool all, bool barrier);
void trace_line(struct dispatch *d, struct command *c, bool point);
void trace_host(struct dispatch *d, const struct command *c);
void trace_moved(struct dispatch *d, const struct transfer *t);
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
