/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the serving side of a link share: serve.c (links and their threads),
 * serve_decode.c (records), serve_objects.c (what a tenant has defined), serve_check.c (what
 * belongs together), serve_run.c (commands). Nobody else includes it.
 *
 * Locks: serve->calls around calls of the back end, serve->state around what several threads see
 * (marked S below). state may be taken with calls held, not the other way round; the back end is
 * never called with state held, because its done takes it. What is not marked belongs to the link's
 * thread.
 */
#ifndef ARAX_DEVICES_SERVE_INTERNAL_H
#define ARAX_DEVICES_SERVE_INTERNAL_H

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

#include <pthread.h>
#include <stdatomic.h>

#include "devices/serve.h"
#include "devices/share.h"
#include "transport/link.h"
#include "transport/ring.h"
#include "transport/wake.h"

#define SERVE_KINDS (ARAX_HANDLE_STREAM + 1)
#define SERVE_NESTING 4			 /* parts of parts of a buffer */
#define SERVE_PROGRAM_BYTES (1ull << 30) /* of all programs of a link */

/* ---- objects (serve_objects.c) ------------------------------------------------------------- */

struct serve_object {
	uint32_t refs;
	enum arax_handle_kind kind;
};

struct serve_mem {
	struct serve_object object;
	struct arax_mem_desc desc;
	struct serve_mem *parent;
	unsigned nesting;
	int error; /* it can never be made */
	/* There was no memory for it. failing: until the command that found out has its completion;
	 * then, failed, for commands whose sender has not seen so many such completions. */
	bool failing, failed;
	uint32_t failed_at;
	struct arax_device_mem *mem; /* NULL: could not be made yet */
};

/* S: state of a program */
enum serve_program_state { SERVE_RECEIVING, SERVE_BUILDING, SERVE_BUILT, SERVE_FAILED };

struct serve_program {
	struct serve_object object;
	_Atomic enum serve_program_state state; /* S */
	bool dropped;				/* there was no memory for its bytes */
	struct serve_piece {
		unsigned char *data;
		size_t size, capacity;
	} parts[2]; /* result, request */
	struct arax_result *result;
	struct arax_device_program *program; /* NULL: not given to the back end */
};

struct serve_kernel {
	struct serve_object object;
	struct serve_program *program;
	char *name;
	const struct arax_kernel_info *info; /* in program->result; NULL: there is no such kernel */
	struct arax_device_kernel *kernel;   /* made at its first launch */
};

struct serve_sampler {
	struct serve_object object;
	uint32_t normalized, addressing, filter;
	struct arax_device_sampler *sampler;
};

struct serve_stream {
	struct serve_object object;
	uint32_t in_flight; /* S */
	struct arax_device_stream *stream;
};

struct serve_table {
	struct serve_object **at;
	uint32_t size;
};

/* ---- commands (serve_run.c) ------------------------------------------------------------------ */

enum serve_what { SERVE_LAUNCH, SERVE_TRANSFER, SERVE_BUILD };

struct serve_command {
	struct serve_command *next;
	struct serve_link *link;
	enum serve_what what;
	uint32_t slot, seen;
	int error; /* found before it could begin; waits for those before it in its stream */
	struct serve_mem *failed; /* for which there was no memory */
	uint64_t charged;
	struct serve_stream *stream;
	struct serve_kernel *kernel;
	struct serve_mem *mem;
	struct serve_program *program;
	union {
		struct arax_launch launch;
		struct arax_transfer transfer;
	};
	uint32_t nargs;
	struct serve_object **objects; /* of the arguments; NULL where there is none */
	struct arax_launch_arg args[]; /* then objects and values */
};

struct serve_queue {
	struct serve_command *first, **last;
};

static inline void queue_push(struct serve_queue *queue, struct serve_command *command)
{
	command->next = NULL;
	*queue->last = command;
	queue->last = &command->next;
}

static inline struct serve_command *queue_pop(struct serve_queue *queue)
{
	struct serve_command *command = queue->first;

	if (command) {
		queue->first = command->next;
		if (!queue->first)
			queue->last = &queue->first;
	}
	return command;
}

static inline void queue_init(struct serve_queue *queue)
{
	*queue = (struct serve_queue){.last = &queue->first};
}

/* ---- links ---------------------------------------------------------------------------------- */

struct serve_link {
	struct share_link share; /* S; first */
	struct serve *serve;
	uint64_t id;
	struct serve_link *next; /* S */
	struct arax_link_usage *usage;
	struct arax_link_shm *shm;
	struct arax_shm *arena;
	uint64_t arena_size;
	struct arax_ring sq;
	struct arax_ring cq;	       /* S */
	_Atomic uint64_t memory_limit; /* 0: none */
	uint64_t memory, program_bytes;
	struct serve_table tables[SERVE_KINDS];
	struct serve_queue held;		    /* wait for a program */
	struct serve_queue waiting, granted, ended; /* S */
	uint32_t in_flight;			    /* S: given to the back end */
	uint32_t failures;			    /* S: completions for want of memory */
	bool blocked;				    /* S: waits for a stream to be empty */
	bool busy[ARAX_LINK_SLOTS];		    /* S */
	bool left;				    /* S: nobody reads completions any more */
	bool let_go;				    /* S: of the arena's heap */
	_Atomic bool stop;			    /* S: error and why say why */
	int error;				    /* S */
	const char *why;			    /* S */
	_Atomic uint32_t attention; /* there is something for the thread besides records */
	_Alignas(8) unsigned char record[ARAX_RECORD_MAX];
};

struct serve {
	struct arax_device *dev;
	struct arax_device_usage *usage;
	struct serve_events events;
	pthread_mutex_t calls, state;
	pthread_cond_t gone;
	struct share share;	  /* S */
	struct serve_link *links; /* S */
	unsigned threads;	  /* S */
	bool lost;		  /* S */
};

/* serve.c */

/** link_stop() - with state held: the link's thread shall end it. The first reason counts. */
void link_stop(struct serve_link *link, int error, const char *why);
/** link_attend() - with state held: its thread has something to do. */
void link_attend(struct serve_link *link);
/** serve_lose() - with state held: the device is lost, tell everybody. */
void serve_lose(struct serve *serve);

/* serve_decode.c */

/** decode() - one record, in link->record. Return: 0; -EPROTO, *why says what; -ENOMEM. */
int decode(struct serve_link *link, size_t size, const char **why);

/* serve_objects.c; "make" functions with calls held, giving 0 or a negative OpenCL error. */

struct serve_object *object_get(const struct serve_link *link, uint32_t handle);
/** object_define() - takes over the reference. Return: 0; -EPROTO: it is there; -ENOMEM. */
int object_define(struct serve_link *link, uint32_t handle, struct serve_object *object);
int object_drop(struct serve_link *link, uint32_t handle);
void *object_alloc(enum arax_handle_kind kind, size_t size);
static inline void object_ref(struct serve_object *object)
{
	object->refs++;
}
/** object_unref() - takes calls when the object goes. */
void object_unref(struct serve_link *link, struct serve_object *object);
/** objects_exit() - streams first, also with commands in flight, then what nothing uses. */
void objects_exit(struct serve_link *link);
/** mem_make() - *failed: set when this call found no memory, to the object or what it is part of.
 */
int mem_make(struct serve_link *link, struct serve_mem *mem, uint32_t seen,
	     struct serve_mem **failed);
int kernel_make(struct serve_link *link, struct serve_kernel *kernel);
int sampler_make(struct serve_link *link, struct serve_sampler *sampler);
int stream_make(struct serve_link *link, struct serve_stream *stream);

/* serve_check.c */

/** check_image() - does an image lie within its size? Return: 0; a negative OpenCL error for a
 * format that is not known; 1 when it does not. */
int check_image(const struct arax_mem_desc *desc);
/** check_args() - do the arguments suit the kernel? Return: 0 or a negative OpenCL error. */
int check_args(const struct serve *serve, const struct serve_command *command);

/* serve_run.c */

/** command_new() - zeroed, with room for arguments and bytes of their values. */
struct serve_command *command_new(struct serve_link *link, enum serve_what what, uint32_t slot,
				  uint32_t nargs, size_t values);
/** command_add() - it is complete: takes it over, and its slot. Return: 0, or -EPROTO. */
int command_add(struct serve_link *link, struct serve_command *command);
/** command_build() - begins a program's build. Takes it over. Return: 0 or -EPROTO. */
int command_build(struct serve_link *link, struct serve_command *command);
/** command_free() - drops its references. */
void command_free(struct serve_link *link, struct serve_command *command);
/** commands_offer() - those whose programs are there may begin. */
void commands_offer(struct serve_link *link);
/** commands_collect() - forget what has ended, give the device what it may have. */
void commands_collect(struct serve_link *link);
/** commands_drop() - with state held: all that has not begun. Return: the list, for the caller. */
struct serve_command *commands_drop(struct serve_link *link);
/** serve_grant() - with state held: who is next? */
void serve_grant(struct serve *serve);

#endif
