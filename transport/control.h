/* SPDX-License-Identifier: Apache-2.0
 *
 * The control plane: messages over SEQPACKET between client and araxd, araxd and its children,
 * client and tenant (only to settle the arena's address). Every message is one struct that begins
 * with arax_control_head; a reply carries the same type with ARAX_CONTROL_REPLY set.
 */
#ifndef ARAX_TRANSPORT_CONTROL_H
#define ARAX_TRANSPORT_CONTROL_H

#include <stdint.h>

#define ARAX_CONTROL_MAGIC 0x41726178u
#define ARAX_CONTROL_REPLY 0x8000u
#define ARAX_CONTROL_MAX 1024	    /* bytes of the largest message */
#define ARAX_BUILD_MAX (256u << 20) /* bytes of a build request or result */

enum arax_control_type {
	/* client -> araxd */
	ARAX_CONTROL_HELLO = 1,	 /* reply: + memfd with struct arax_device_info */
	ARAX_CONTROL_ATTACH = 2, /* reply: + arena memfd, + link socket to the tenant, + trace; with
				    the arena memfd of a former tenant: another one for it */
	ARAX_CONTROL_BUILD = 3,	 /* + memfd with a build request; reply: + memfd with a result */
	ARAX_CONTROL_STATUS = 4, /* reply: + memfd with JSON */
	ARAX_CONTROL_DEVICES = 5, /* reply: + memfd with JSON */
	ARAX_CONTROL_STOP = 6, /* same user or root only; araxd leaves when its clients have left */
	ARAX_CONTROL_TRACE = 7, /* replies until the connection ends, some + trace memfd */
	/* struct arax_control_manage; all but SET_POLICY: same user or root only */
	ARAX_CONTROL_RELOAD = 8,   /* read the configuration again */
	ARAX_CONTROL_ONLINE = 9,   /* a device may be used again */
	ARAX_CONTROL_OFFLINE = 10, /* it is drained; the reply comes when nobody uses it any more */
	ARAX_CONTROL_SET_POLICY = 11, /* of the asking user's applications; root's: of all */
	ARAX_CONTROL_VARIANTS = 12,   /* reply: + memfd with JSON */
	/* araxd -> child and back, over the child's descriptor 3 */
	ARAX_CONTROL_READY = 16, /* child -> araxd: tenant: + memfd with struct arax_device_info;
				    arax-device: longer, + memfd with struct arax_device_usage */
	ARAX_CONTROL_START = 17, /* araxd -> tenant: + arena, + link, + statistics memfd, + trace */
	ARAX_CONTROL_COMPILE = 18, /* araxd -> compiler: + request, + registered variants or none;
				      reply: + result */
	ARAX_CONTROL_SPAWN = 19,   /* araxd -> zygote: + control socket of a new tenant, + bound
				      socket   where it listens for another araxd (optional); reply */
	ARAX_CONTROL_LOG = 20,	   /* tenant -> araxd: a line for the log; it has no stderr */
	ARAX_CONTROL_DEVICE = 21,  /* araxd -> tenant, after START: a device comes, changes, goes;
				      ADD: + memfd of the link (transport/link.h), + pidfd of
				      the device's process (optional: its death is noticed even
				      when araxd has gone) */
	ARAX_CONTROL_POLICY = 22,  /* araxd -> tenant, after START: another policy from now on */
	ARAX_CONTROL_LINK = 23, /* araxd -> arax-device: + memfd of a link, + the tenant's arena, +
				   its pidfd (optional: with it the link ends with the tenant even
				   when araxd has gone); reply */
	ARAX_CONTROL_UNLINK = 24, /* araxd -> arax-device: that tenant has gone; reply (also when it
				     has seen that itself): nothing is written into its arena any
				     more; and back with an error: that tenant broke the protocol,
				     its link was ended */
	ARAX_CONTROL_SHARE = 25,  /* araxd -> arax-device: what a tenant may use from now on */
	ARAX_CONTROL_COSTS = 26,  /* araxd -> tenant, after START: + memfd with struct arax_costs */
	ARAX_CONTROL_ADOPT = 27,  /* another araxd -> tenant, first on a connection to where it
				     listens, which then is its control socket; reply: + statistics
				     memfd, + arena, + trace (optional) */
	/* client -> tenant, over the link */
	ARAX_CONTROL_MAP = 32, /* base address; reply: error 0 or EEXIST: try another */
};

struct arax_control_head {
	uint32_t magic;
	uint16_t type;
	uint16_t major;
	uint16_t minor;
	uint16_t reserved;
	int32_t error; /* replies: 0 or a positive errno */
	uint64_t id;   /* chosen by who asks, repeated in the reply */
};

struct arax_control_hello {
	struct arax_control_head head;
	uint64_t features; /* bits; the reply holds the intersection; none defined yet */
	int32_t pid;	   /* reply: araxd's pid */
	uint32_t pad;
};

struct arax_control_attach {
	struct arax_control_head head;
	char devices[128];   /* ARAX_DEVICES, comma list, narrows; empty: all that are allowed */
	char policy[32];     /* ARAX_POLICY or empty */
	char program[64];    /* the client's name, for status */
	uint64_t arena_size; /* reply: bytes */
	int32_t tenant_pid;  /* reply */
	uint32_t deaths;     /* reply: of this client's tenants so far */
	char died[96];	     /* reply: how the last of them ended; "" */
	uint16_t flags;	     /* reply: ARAX_ATTACH_* */
	uint16_t commands;   /* reply: that it may have in flight; 0: as many as there are slots */
	uint32_t objects;    /* reply: that it may have; 0: as many as there are handles */
};
/* Some device has a compiler of its own: programs shall come with their build requests. */
#define ARAX_ATTACH_REQUESTS 1u

struct arax_control_start {
	struct arax_control_head head;
	char devices[128]; /* allowed devices, comma list; empty: all */
	char policy[32];
	uint64_t arena_size;
	uint32_t commands, objects; /* the client's limits, as it was told them; 0: none */
};

/*
 * TRACE: the first reply says that tracing is on (NOW), then there is one for each application that
 * is there or comes (BEGIN) and for each that has ended (END). Those of other users are not told
 * of. The end of the connection ends the tracing.
 */
enum arax_control_traced { ARAX_TRACED_NOW, ARAX_TRACED_BEGIN, ARAX_TRACED_END };
struct arax_control_trace {
	struct arax_control_head head;
	uint32_t descendants; /* request: 1: only processes that descend from the asking one */
	uint32_t what;	      /* replies: enum arax_control_traced */
	uint64_t serial;      /* of the application, never used again */
	uint64_t from[2];     /* BEGIN: where to begin, by enum arax_trace_source */
	int32_t pid, tenant_pid;
	uint32_t uid, pad;
	char program[64];
};

/* What people change while araxd runs. */
struct arax_control_manage {
	struct arax_control_head head;
	char name[32];	    /* of the device or the policy */
	char argument[256]; /* of the policy; "": what the configuration says */
	char text[512];	    /* reply: what was done, or what is wrong, for people */
};

/* What a device can do, for placement. Sizes in bytes, 0: no limit is known. */
#define ARAX_FEATURE_IMAGES (1u << 0)
#define ARAX_FEATURE_IMAGES_3D_WRITE (1u << 1)
#define ARAX_FEATURE_IMAGES_READ_WRITE (1u << 2)
#define ARAX_FEATURE_FP64 (1u << 3)
#define ARAX_FEATURE_FP16 (1u << 4)
#define ARAX_FEATURE_PRINTF (1u << 5)
#define ARAX_FEATURE_ARENA (1u << 6)	/* sees the arena at its address: SVM */
#define ARAX_FEATURE_COMPILER (1u << 7) /* builds from requests (struct arax_program_source) */
#define ARAX_FEATURE_RESULT (1u << 8)	/* loads arax-compile's binaries for the CPU */
#define ARAX_FEATURE_SIMULATED (1u << 9)
struct arax_device_caps {
	uint32_t features;
	uint32_t compute_units;
	uint64_t max_group, max_item_sizes[3];
	uint64_t local_mem, memory, max_alloc;
	uint32_t sub_align; /* of the origin of a part of a buffer, in bytes; 0: as the CPU */
	uint32_t pad;
	/* A model of the way to its memory, until it has been measured; 0: not known. */
	uint64_t bandwidth; /* bytes per second */
	uint64_t latency_ns;
	char target[64]; /* which variants it takes: "pocl", "rusticl", "oclgrind", "sim" */
};

/*
 * A device of a tenant. Names are unique within it; index is its place in the statistics and in
 * traces, chosen by araxd, never used for another device in the same tenant. share: of 1024, what
 * the arbiter grants; 0: nothing new may be placed there now (what is in its memory stays). depth:
 * at most so many commands in flight, so that giving back is quick. DRAIN: nothing new, what is
 * only there comes home; the tenant answers with the same message when it has. ONLINE undoes that.
 * LOST: it is gone, with its memory.
 */
enum arax_control_device_what {
	ARAX_DEVICE_ADD,
	ARAX_DEVICE_LEASE,
	ARAX_DEVICE_DRAIN,
	ARAX_DEVICE_ONLINE,
	ARAX_DEVICE_LOST,
};
struct arax_control_device {
	struct arax_control_head head;
	uint32_t what, index;
	uint32_t share, depth;
	char name[32];
	struct arax_device_caps caps; /* ADD */
};

struct arax_control_policy {
	struct arax_control_head head;
	char policy[32];
	char argument[256]; /* of the policy: rules of "pinned", seed of "random" */
};

/* To arax-device. link: araxd's number of this tenant there, not 0; weight and memory are the
 * share. */
struct arax_control_link {
	struct arax_control_head head;
	uint64_t link;
	uint64_t arena_size; /* LINK */
	uint64_t memory;     /* bytes of the device that it may have; 0: no limit of its own */
	uint32_t weight;     /* of execution time, relative to the others'; 0: 1 */
	uint32_t depth;	     /* commands in flight on the device at most; 0: no limit */
	int32_t tenant_pid;
	uint32_t pad;
};

/* What tenants have learned about kernels (scheduler/policy_costs.h), as one left it; the tenant
 * writes its own there. size: bytes of text; 0 while it is written. */
#define ARAX_COSTS_MAX (256u << 10)
struct arax_costs {
	_Atomic uint32_t size;
	uint32_t pad;
	char text[ARAX_COSTS_MAX];
};

struct arax_control_map {
	struct arax_control_head head;
	uint64_t base;
};

struct arax_control_spawn {
	struct arax_control_head head;
	int32_t pid; /* reply: of the tenant, a child of araxd by now */
	uint32_t pad;
	uint64_t memory; /* bytes that it may have beside its arena; 0: no limit */
	char work[512];	 /* the tenant's ARAX_WORK_DIR */
};

struct arax_control_ready {
	struct arax_control_head head;
	uint32_t sandbox; /* enum sandbox_wall: what stands around it, or around its children */
	uint32_t pad;
	char missing[256]; /* which walls do not, and why */
};

/* Of an arax-device: one device per process. */
struct arax_control_device_ready {
	struct arax_control_ready ready;
	struct arax_device_caps caps;
};

struct arax_control_log {
	struct arax_control_head head;
	char line[256];
};

/* Messages with no field of their own: BUILD, STATUS, DEVICES, VARIANTS, STOP, COMPILE, COSTS,
 * ADOPT. */
struct arax_control_plain {
	struct arax_control_head head;
};

/*
 * What the virtual device is: made by a tenant from its devices, frozen by araxd, read by clients.
 * The client adds what belongs to the API layer (versions, extension lists, names).
 */
#define ARAX_FORMATS_MAX 128
struct arax_image_format {
	uint32_t order, type;
	uint32_t types; /* bit n: object type CL_MEM_OBJECT_BUFFER + n */
	uint32_t flags; /* 1 read-only, 2 write-only, 4 read and write in one kernel */
};

struct arax_device_info {
	uint32_t size; /* of this struct */
	uint32_t type; /* cl_device_type that is reported */
	char name[128];
	char compiler[128]; /* version of the compiler, part of every cache key */
	uint32_t compute_units, max_dims, vendor_id, address_bits, little_endian;
	uint32_t clock_mhz, mem_base_align_bits, min_align_bytes;
	uint64_t max_work_item_sizes[3], max_group_size, preferred_multiple;
	uint64_t global_mem_size, max_alloc_size, global_cache_size, local_mem_size;
	uint32_t global_cache_type, global_cacheline, local_mem_type, pad0;
	uint64_t max_constant_buffer, max_parameter_size, max_global_variable,
	    preferred_global_variable;
	uint32_t max_constant_args, max_samplers;
	uint32_t images, max_read_images, max_write_images, max_read_write_images;
	uint64_t image2d_width, image2d_height, image3d_width, image3d_height, image3d_depth;
	uint64_t image_buffer_size, image_array_size;
	uint32_t image_pitch_align, image_base_align;
	uint32_t vector_char, vector_short, vector_int, vector_long, vector_float, vector_double,
	    vector_half;
	uint32_t native_char, native_short, native_int, native_long, native_float, native_double,
	    native_half;
	uint64_t single_fp, double_fp, half_fp;
	uint64_t svm, queue_properties, exec_capabilities, atomic_memory, atomic_fence;
	uint64_t printf_buffer;
	uint32_t error_correction, nonuniform_groups, group_collective;
	char extensions[1024]; /* of the device, space separated, only those that work through Arax
				*/
	char c_features[1024]; /* __opencl_c_*, space separated */
	char builtins[1024];   /* built-in kernels, with ';' between them; araxd's */
	uint32_t nformats, pad1;
	struct arax_image_format formats[ARAX_FORMATS_MAX];
};

/*
 * What each link of a device has had, in memory that arax-device writes and araxd reads: the
 * account of who used how much of the device, made by the device itself. A row with link 0 is free;
 * rows are found by their link, and go when it ends.
 */
#define ARAX_DEVICE_LINKS 64
struct arax_link_usage {
	_Atomic uint64_t link;	   /* arax_control_link.link */
	_Atomic uint64_t commands; /* that have ended */
	_Atomic uint64_t busy_ns;  /* sum of their times on the device */
	_Atomic uint64_t bytes_in, bytes_out;
	_Atomic uint64_t memory;  /* bytes that its objects have on the device now */
	_Atomic uint32_t waiting; /* commands that have come and not begun */
	_Atomic uint32_t in_flight;
};
struct arax_device_usage {
	struct arax_link_usage links[ARAX_DEVICE_LINKS];
};

/*
 * One page of statistics per tenant: written by the tenant, read by araxd only, as a hint (a
 * hostile tenant can write what it likes there; araxd clamps and never follows it).
 */
#define ARAX_STATS_DEVICES 16
#define ARAX_STATS_KERNELS 64
struct arax_stats_device {
	char name[32];
	_Atomic uint64_t commands, busy_ns;
	_Atomic uint64_t bytes_in, bytes_out; /* to and from a discrete device */
	_Atomic uint64_t resident;	      /* bytes that it holds of this tenant now */
	_Atomic uint64_t backlog_ns;	      /* predicted, of what was given to it */
	_Atomic uint32_t queued, evictions;
};
struct arax_stats_kernel {
	char name[48];
	_Atomic uint64_t launches[ARAX_STATS_DEVICES];
	_Atomic uint64_t busy_ns[ARAX_STATS_DEVICES];
};
struct arax_stats {
	_Atomic uint64_t commands, kernels, bytes, errors, programs;
	_Atomic uint64_t depth; /* commands that have come and not ended */
	_Atomic uint32_t ndevices, nkernels;
	/* 0 when a device has nothing to do, else a number that changes with every command that
	 * starts or ends there: the watchdog looks whether it stays the same. */
	_Atomic uint64_t running[ARAX_STATS_DEVICES];
	struct arax_stats_device devices[ARAX_STATS_DEVICES];
	struct arax_stats_kernel kernel[ARAX_STATS_KERNELS];
	_Atomic int32_t
	    urgency; /* of what has not ended: 1 some is of high priority, -1 all of low */
	uint32_t pad;
};

#endif
