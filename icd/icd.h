/* SPDX-License-Identifier: Apache-2.0
 *
 * The objects of the client library. One file per class implements them; this header is what the
 * classes know of each other.
 */
#ifndef ARAX_ICD_ICD_H
#define ARAX_ICD_ICD_H

#include "icd/object.h"
#include "transport/build.h"
#include "transport/control.h"
#include "transport/protocol.h"

#include <pthread.h>

struct connection;
struct copy;
struct command_desc;

/* ---- platform and device (platform.c, device.c): static, one each --------------------------- */

struct _cl_platform_id {
	struct object object;
};
struct _cl_device_id {
	struct object object;
	struct arax_device_info info; /* valid once platform_ready() has returned true */
};
extern struct _cl_platform_id the_platform;
extern struct _cl_device_id the_device;

/** platform_ready() - connect to araxd (starting it if need be) and learn what the device is.
 *  Return: true, or false when there is no daemon: then there is no platform. */
bool platform_ready(void);

/** device_list_check() - CL_SUCCESS when the list names the device (and only it). */
cl_int device_list_check(cl_uint num_devices, const cl_device_id *devices);

/* ---- context (context.c) -------------------------------------------------------------------- */

struct _cl_context {
	struct object object;
	struct connection *conn; /* the process's connection when the context was made */
	cl_context_properties *properties;
	size_t nproperties; /* entries, the terminating 0 included */
	void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *);
	void *notify_arg;
	cl_context next;      /* of the connection's contexts; connection's lock */
	unsigned notified;    /* of so many tenants' deaths; connection's lock */
	pthread_mutex_t lock; /* callbacks */
	struct context_callback *callbacks;
};

/** context_notify() - tell the application what went wrong (clCreateContext's pfn_notify). */
void context_notify(cl_context context, const char *message);

/* ---- queue (queue.c) ------------------------------------------------------------------------ */

struct _cl_command_queue {
	struct object object;
	cl_context context;
	cl_command_queue_properties properties;
	cl_queue_properties *property_list;
	size_t nproperty_list; /* entries, 0 when made without a list */
	unsigned priority;     /* as in the protocol */
	uint32_t handle;
	pthread_mutex_t lock; /* order of enqueues; taken before the connection's lock */
	_Atomic uint64_t submitted, completed; /* commands that went to the tenant */
	_Atomic uint32_t last_slot;	       /* of the last of them */
	_Atomic uint32_t barriers;	       /* out of order: barriers in flight */
	/* Commands that ended with their tenant: how many; one had no event, so it is to be told.
	 */
	_Atomic uint32_t losses;
	_Atomic bool lost;
};

static inline bool queue_out_of_order(cl_command_queue queue)
{
	return queue->properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE;
}

/* Did a command die with its tenant while the caller was waiting (losses: at the beginning of
 * that), or one that has no event to tell it? The latter is said once. */
static inline bool queue_lost(cl_command_queue queue, uint32_t losses)
{
	if (atomic_load_explicit(&queue->losses, memory_order_relaxed) != losses) {
		atomic_store(&queue->lost, false);
		return true;
	}
	return atomic_load_explicit(&queue->lost, memory_order_relaxed) &&
	       atomic_exchange(&queue->lost, false);
}

/* ---- memory objects (mem.c, buffer.c, image.c) ---------------------------------------------- */

struct mem_map {
	struct mem_map *next;
	void *pointer;
	size_t origin[3], region[3]; /* bytes for buffers; pixels, rows, slices for images */
	cl_map_flags flags;
};

struct _cl_mem {
	struct object object;
	cl_context context;
	cl_mem parent; /* of a sub-buffer or of an image made from a buffer; holds a use */
	cl_mem_object_type type;
	cl_mem_flags flags;
	size_t size;	/* bytes in the arena, from data on */
	size_t origin;	/* in the parent */
	char *data;	/* in the arena */
	char *range;	/* what it owns of the heap, data is in it; NULL: another's */
	char *host_ptr; /* of CL_MEM_USE_HOST_PTR (or the parent's + origin) */
	cl_mem_properties *properties;
	size_t nproperties;
	/* images */
	cl_image_format format;
	cl_image_desc desc;
	size_t element;		       /* bytes per pixel; 1 for buffers */
	size_t row_pitch, slice_pitch; /* in the arena */
	size_t host_row, host_slice;   /* of host_ptr */
	/* the wire */
	uint32_t handle;
	bool announced; /* under the connection's lock */
	/* lock guards the rest; of the root object for host_newer */
	pthread_mutex_t lock;
	bool host_newer; /* USE_HOST_PTR: host_ptr was not yet copied into the arena */
	struct mem_map *maps;
	cl_uint map_count;
	struct mem_callback *callbacks;
};

/**
 * mem_new() - a memory object of a context, without contents
 * @size: bytes of the arena to allocate, or 0: the caller sets data (sub-object, SVM)
 * Return: the object or NULL with *error set.
 */
cl_mem mem_new(cl_context context, cl_mem_object_type type, cl_mem_flags flags, size_t size,
	       cl_int *error);

/** mem_flags_check() - the combinations that every clCreate<memory object> refuses; adds
 *  CL_MEM_READ_WRITE when no access flag is given. */
cl_int mem_flags_check(cl_mem_flags *flags, const void *host_ptr);

/** mem_properties_keep() - copy a 0-terminated cl_mem_properties list into the object (only the
 *  empty list is valid: CL_INVALID_PROPERTY otherwise). */
cl_int mem_properties_keep(cl_mem mem, const cl_mem_properties *properties);

/**
 * mem_map_copy() - the copy between the arena and host_ptr (CL_MEM_USE_HOST_PTR) of a region
 * @out: from the arena to host_ptr, else back
 * Return: false when there is nothing to copy (no host_ptr of its own).
 */
bool mem_map_copy(cl_mem mem, const struct mem_map *map, bool out, struct copy *copy);

/** mem_map_add() - remember a map; NULL without memory. mem_map_drop() forgets it again. */
struct mem_map *mem_map_add(cl_mem mem, void *pointer, const size_t origin[3],
			    const size_t region[3], cl_map_flags flags);
void mem_map_drop(cl_mem mem, struct mem_map *map);

/**
 * mem_sync_in() - before a command that uses mem in place: a CL_MEM_USE_HOST_PTR object starts with
 * what the application's memory holds when the first such command is enqueued
 *
 * Until then no command can be using the object, so the calling thread copies at once, whatever the
 * command itself has to wait for. Later changes come in through maps (section 5.2.1).
 */
void mem_sync_in(cl_mem mem);

/** mem_reach_map() - desc->reach of a map or an unmap of arena memory. */
void mem_reach_map(struct command_desc *desc, cl_mem mem, const struct mem_map *map, bool unmap);

/** mem_home_index() - the word of a root object in arax_shm.home, ARAX_NO_HOME for none. */
uint32_t mem_home_index(cl_mem root);

/** mem_home() - where its contents are: ARAX_HOME_* bits, 0 when the arena is all there is. */
uint32_t mem_home(cl_mem mem);

/** mem_whole_region() - the region that covers the object, as for a map. */
void mem_whole_region(cl_mem mem, size_t region[3]);

/* The object whose range this one lies in. */
static inline cl_mem mem_root(cl_mem mem)
{
	while (mem->parent)
		mem = mem->parent;
	return mem;
}

/* ---- programs and kernels (program.c, build.c, include.c, kernel.c) ------------------------- */

struct _cl_program {
	struct object object;
	cl_context context;
	pthread_mutex_t lock; /* everything below */
	pthread_cond_t built;
	char *source; /* NULL when made from a binary */
	bool from_binary, builtin;
	cl_build_status status;
	cl_uint building;	 /* builds in progress */
	_Atomic cl_uint kernels; /* kernel objects attached */
	unsigned char *binary;	 /* result bytes as of the last successful build, or as loaded */
	size_t binary_size;
	unsigned char *request; /* what binary was built from; NULL: nobody will want it */
	size_t request_size;
	struct arax_result *result;  /* parsed from binary, or from the failed build */
	unsigned char *result_bytes; /* what result was parsed from when it is not binary */
	char *options;
	uint32_t handle; /* 0: the tenant does not have it */
	bool announcing; /* a thread is in program_announce() */
};

/** program_new() - a program without contents, with one application reference, or NULL. */
cl_program program_new(cl_context context);

/** program_build_builtin() - make a new program one of these built-in kernels. CL error. */
cl_int program_build_builtin(cl_program program, const char *names);

/** program_executable() - was an executable built successfully? program->lock held. */
bool program_executable(cl_program program);

/** program_announce() - make sure that the tenant has the executable; sets program->handle.
 *  Called without locks. Return: CL_SUCCESS or an error for clCreateKernel. */
cl_int program_announce(cl_program program);

enum kernel_arg_class { /* what the kernel declares */
			KERNEL_ARG_VALUE,
			KERNEL_ARG_LOCAL,
			KERNEL_ARG_POINTER, /* to global or constant memory */
			KERNEL_ARG_IMAGE,
			KERNEL_ARG_SAMPLER,
};

struct kernel_arg {
	enum kernel_arg_class class;
	cl_mem_object_type image; /* class IMAGE: the type that fits, 0 if unknown */
	uint32_t kind;		  /* enum arax_arg_kind */
	bool set;
	uint64_t size;
	union {
		cl_mem mem;
		cl_sampler sampler;
		unsigned char bytes[16]; /* values up to 16 bytes */
		void *large;		 /* malloc-ed, larger ones */
	};
};

struct _cl_kernel {
	struct object object;
	cl_context context;
	cl_program program;	    /* holds a use */
	_Atomic bool attached;	    /* counted in program->kernels: while the application has it */
	struct arax_result *result; /* own parse: outlives a rebuild of the program */
	unsigned char *result_bytes;
	const struct arax_kernel_info *info; /* points into result */
	uint32_t handle;
	atomic_flag lock;	 /* args and exec info; held for some instructions only */
	struct kernel_arg *args; /* info->nargs */
	void **svm_pointers;
	size_t nsvm_pointers;
	bool svm_fine_grain;
	bool printf;
};

struct _cl_sampler {
	struct object object;
	cl_context context;
	cl_bool normalized;
	cl_addressing_mode addressing;
	cl_filter_mode filter;
	cl_sampler_properties *properties;
	size_t nproperties;
	uint32_t handle;
	bool announced;
};

/* ---- events (event.c) ----------------------------------------------------------------------- */

struct event_callback {
	struct event_callback *next;
	cl_int type;
	void(CL_CALLBACK *notify)(cl_event, cl_int, void *);
	void *arg;
};

struct _cl_event {
	struct object object;
	cl_context context;
	cl_command_queue queue; /* NULL for user events */
	cl_command_type type;
	pthread_mutex_t lock;  /* callbacks; status changes of user events */
	_Atomic cl_int status; /* final value when <= CL_COMPLETE; CL_QUEUED before */
	_Atomic uint32_t slot; /* in flight: its slot (changes under the connection's lock) */
	bool known;	       /* user event: the tenant has a node for it (connection's lock) */
	cl_ulong queued, submit, start, end;
	struct event_callback *callbacks;
};

/** event_new() - an event with one application reference, or NULL. */
cl_event event_new(cl_context context, cl_command_queue queue, cl_command_type type);

/** event_finish() - final status and times; runs or hands over callbacks; called once, unlocked */
void event_finish(cl_event event, cl_int status);

/* ---- commands (command.c): the one way by which work is enqueued ---------------------------- */

/* A copy of a box of bytes; width in bytes, height in rows, depth in slices, none zero. */
struct copy {
	char *dst;
	const char *src;
	size_t width, height, depth;
	size_t dst_row, dst_slice, src_row, src_slice;
};
/** copy_run() - do it, now, in this thread (rows may overlap). */
void copy_run(const struct copy *copy);

/* What the client executes itself when the command's turn has come. Copied by value; release (may
 * be NULL) is called exactly once after run, or instead of it when the command failed. */
struct host_work {
	cl_int (*run)(const struct host_work *work); /* CL_SUCCESS or the command's status */
	void (*release)(const struct host_work *work);
	struct copy copy;
	size_t bytes;  /* moved: large work goes to the progress thread instead of the caller */
	bool deferred; /* never by a caller that did not ask to block, however little it is */
	void *arg;
};
/* run for work that is one copy. */
cl_int host_work_copy(const struct host_work *work);

/* What a command does with which bytes of the arena, from the first to the last. mem: the object
 * that they are part of, NULL for SVM. exact: a write leaves none of them out. */
struct command_reach {
	cl_mem mem;
	uint32_t access; /* ARAX_ACCESS_* */
	bool exact;
	const char *data;
	size_t size;
};

#define COMMAND_REFS 4
struct command_desc {
	cl_command_queue queue;
	cl_command_type type;
	cl_uint nwait;
	const cl_event *waits;
	cl_event *event;
	bool blocking;
	struct object
	    *refs[COMMAND_REFS];    /* used (object_use) until the command has ended; NULLs */
	struct command_reach reach; /* of what is not a kernel, a copy or a fill */
	const cl_mem *reached;	    /* not NULL, instead: anything in these and in all of SVM */
	cl_uint nreached;
	cl_mem source; /* set by command_copy(): what it reads */
};
#define COMMAND(queue_, type_)                                   \
	((struct command_desc){.queue = (queue_),                \
			       .type = (type_),                  \
			       .nwait = num_events_in_wait_list, \
			       .waits = event_wait_list,         \
			       .event = event})

/** command_check() - the errors that all enqueues share: the queue, the wait list. Call it first;
 *  the functions below assume that it passed. */
cl_int command_check(const struct command_desc *desc);

/**
 * command_host() - enqueue work for the client
 * Executes at once when nothing in flight comes before it; else the tenant says when.
 * Blocking: returns when it has ended; CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST when a
 * dependency failed.
 */
cl_int command_host(const struct command_desc *desc, const struct host_work *work);

/** command_copy() - enqueue a copy within the arena. desc->refs[0] and [1] are the objects that it
 *  reads and writes, NULL for SVM. */
cl_int command_copy(const struct command_desc *desc, const struct copy *copy);

/** command_fill() - enqueue a fill of a box (copy->dst side) with a pattern of 1 to 128 bytes.
 *  desc->refs[0] is the object, NULL for SVM. */
cl_int command_fill(const struct command_desc *desc, const struct copy *box, const void *pattern,
		    size_t pattern_size);

/** command_reaches() - note what the command does with a box of mem: the destination of a copy that
 *  writes, the source of one that reads. */
void command_reaches(struct command_desc *desc, cl_mem mem, const struct copy *copy,
		     uint32_t access);

/** command_marker() - enqueue a command without work (but with desc->reach). all: without a wait
 * list it waits for all earlier commands of the queue; barrier: later ones wait for it. */
cl_int command_marker(const struct command_desc *desc, bool all, bool barrier);

/* ---- the connection, as the classes need it (connection.h has the rest) --------------------- */

/** connection_alive() - false when the tenant has died or the process was forked since. */
bool connection_alive(struct connection *conn);

/** connection_alloc() - a range of the arena's heap. Return: its address or NULL. */
void *connection_alloc(struct connection *conn, size_t size, size_t align);
void connection_release(struct connection *conn, void *address);

/** connection_allocated() - the allocated range that contains address: its size (0: none). */
size_t connection_allocated(struct connection *conn, const void *address, void **start);

/** connection_handle() - a fresh handle of that kind, or 0; given back by connection_drop(). */
uint32_t connection_handle(struct connection *conn, enum arax_handle_kind kind);

/** connection_define() - send a record that has no slot (definitions). Blocks while the ring is
 *  full. record->size and op are set by the caller. Return: 0 or -errno (connection dead). */
int connection_define(struct connection *conn, const struct arax_record *record);

/** connection_drop() - send a *_DROP record for handle and free its number. */
void connection_drop(struct connection *conn, enum arax_op op, uint32_t handle);

/* An executable as the tenant gets it: the build's result, and the request for devices with a
 * compiler of their own (NULL: none). */
struct executable {
	const void *result, *request;
	size_t result_size, request_size;
};

/** connection_load() - send PROGRAM_LOAD with these bytes and wait until the tenant has them.
 *  Return: 0 or -errno. */
int connection_load(struct connection *conn, uint32_t program, const struct executable *bytes);

/** connection_wants_requests() - is there a use for an executable's request? */
bool connection_wants_requests(const struct connection *conn);

/** connection_quiesce() - calls release(work) with work->arg = arg, on any thread and with no lock
 *  held, when no device reads or writes that range of the arena any more, nor will: its contents
 *  are given up. Return: 0, or -errno: it will not be called. */
int connection_quiesce(struct connection *conn, const void *start, size_t size,
		       void (*release)(const struct host_work *work), void *arg);

/** connection_build() - one build request to araxd on a connection of its own; blocks.
 *  Return: 0 with *result (malloc-ed) and *size; -errno: no daemon, or it died twice. */
int connection_build(const void *request, size_t request_size, unsigned char **result,
		     size_t *size);

/** progress_thread() - run a function on a detached helper thread with signals blocked. */
int helper_thread(void (*run)(void *arg), void *arg);

#endif
