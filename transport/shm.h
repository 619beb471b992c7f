/* SPDX-License-Identifier: Apache-2.0
 *
 * The arena: one sealed memfd per tenant, mapped by the client and by its tenant at the same
 * address. It begins with the control area described here (rings, slots, wake words); the rest is
 * the heap that holds buffers, images and SVM. The client owns the bookkeeping of the heap.
 *
 * Neither side trusts what it reads here: sizes and masks are constants of the protocol, each side
 * keeps its own ring index in private memory, and a value is read once and then checked.
 */
#ifndef ARAX_TRANSPORT_SHM_H
#define ARAX_TRANSPORT_SHM_H

#include <stdatomic.h>
#include <stdint.h>

#define ARAX_SHM_MAGIC 0x31786172u /* "arx1" */

#define ARAX_SLOTS 8192u		 /* commands in flight */
#define ARAX_SQ_BYTES (1u << 20)	 /* submission ring: records of bytes */
#define ARAX_HQ_ENTRIES (2 * ARAX_SLOTS) /* host ring: what the client has completed */
#define ARAX_CQ_ENTRIES (4 * ARAX_SLOTS) /* completion ring */
#define ARAX_ROOM (ARAX_SLOTS / 8)	 /* so many completions ring client_room, as does rest */

/* Where a sleeping side can be woken: a futex word. Bit 0 is set by who is about to sleep and
 * cleared by who wakes; the bits above count the wake-ups (transport/wake.c). */
struct arax_wake {
	_Atomic uint32_t word;
	char pad[60];
};

/* The outcome of a command in flight. The tenant writes the times and result before status; the
 * client writes it for commands that it executes itself. Times are CLOCK_MONOTONIC in ns. */
struct arax_slot {
	_Atomic int32_t status; /* CL_COMPLETE, _RUNNING, _SUBMITTED, _QUEUED or negative */
	uint32_t device;	/* index of the device that ran it, for statistics */
	_Atomic uint64_t submit_ns;
	_Atomic uint64_t start_ns;
	_Atomic uint64_t end_ns;
	/* Launch with printf: bytes written to its print range. Status negative: enum arax_why. */
	_Atomic uint64_t result;
	_Atomic uint32_t waited; /* set by the client: a thread sleeps on client_slot for its end */
	uint32_t pad0;
	/* For traces: when the client enqueued it (0: not traced), and the tenant's number of a
	 * command that the client executes. */
	_Atomic uint64_t queued_ns, trace_id;
};

/* Why a command has failed with CL_OUT_OF_RESOURCES, where there is more to say about it. */
enum arax_why {
	ARAX_WHY_NONE,
	ARAX_WHY_POISONED,    /* it needs what died with a device, and was not written since */
	ARAX_WHY_DEVICE_LOST, /* its device was lost while it ran there */
};

/* Ring entries: bits 0-23 the slot, bits 24-31 what happened. */
enum arax_cq_kind {
	ARAX_CQ_COMPLETE = 1,	/* the slot is final and may be used again */
	ARAX_CQ_HOST_READY = 2, /* it is the client's turn to execute the command of this slot */
};
/* Host ring: the same packing; the kind is 0 for success and 1 for failure (the slot itself may be
 * in use again by the time the tenant looks). */
#define ARAX_ENTRY(kind, slot) (((uint32_t)(kind) << 24) | (slot))
#define ARAX_ENTRY_SLOT(entry) ((entry)&0xFFFFFFu)
#define ARAX_ENTRY_KIND(entry) ((entry) >> 24)

/*
 * Where the contents of a memory object are, one byte per object with a range of its own (the index
 * of its handle; those beyond have none and stay in the arena). Written by the tenant before the
 * outcome of the command that changes it; the client looks before it touches the range by itself:
 * with STALE the newest contents of some part are not in the arena, with REPLICA a device holds a
 * copy of some part that a write would make wrong. 0: the arena is all there is.
 */
#define ARAX_HOMES (1u << 18)
#define ARAX_HOME_REPLICA 1u
#define ARAX_HOME_STALE 2u

struct arax_ring_index {
	_Atomic uint32_t head; /* consumed up to here (free-running) */
	char pad0[60];
	_Atomic uint32_t tail; /* produced up to here (free-running) */
	char pad1[60];
};

struct arax_shm {
	uint32_t magic;
	/* 1: others want the processor that the tenant runs on, so spinning takes it from them. A
	 * hint, and in a line of memory that else nobody writes. */
	_Atomic uint32_t crowded;
	uint64_t arena_size; /* bytes, control area included; informative, each side has its own */
	char pad[48];
	struct arax_wake tenant_wake; /* the tenant sleeps here */
	struct arax_wake
	    client_wake; /* the client's threads sleep here until something completes */
	struct arax_wake client_slot; /* here until a command completes whose slot says "waited" */
	struct arax_wake
	    client_room; /* and here until much has: for room in the rings, for slots */
	_Atomic uint32_t
	    tenant_idle; /* 1: nothing runs, all that is in flight waits for the client */
	char pad1[60];
	/* What the client has done itself, for the tenant's statistics; a hint. */
	_Atomic uint64_t client_commands, client_bytes;
	_Atomic uint64_t client_memory; /* bytes that its memory objects occupy now */
	char pad2[40];
	/* What a tenant that dies of a signal can still say; for people. */
	struct arax_crash {
		_Atomic uint32_t signal; /* 0: nothing */
		int32_t code;
		uint64_t address;
	} crash;
	char pad3[48];
	struct arax_ring_index sq, hq, cq;
	struct arax_slot slots[ARAX_SLOTS];
	uint32_t hq_entries[ARAX_HQ_ENTRIES];
	uint32_t cq_entries[ARAX_CQ_ENTRIES];
	_Atomic uint8_t home[ARAX_HOMES];
	unsigned char sq_data[ARAX_SQ_BYTES];
};

/* Where arenas lie: addresses that kernels choose for nothing else, and that are no pointer to
 * anything by mistake. ThreadSanitizer allows mappings in few places only. */
#ifdef __SANITIZE_THREAD__
#define ARAX_ARENA_LOW 0x550000000000ull
#define ARAX_ARENA_HIGH 0x567000000000ull
#else
#define ARAX_ARENA_LOW 0x400000000000ull
#define ARAX_ARENA_HIGH 0x500000000000ull
#endif
#define ARAX_ARENA_ALIGN (1ull << 30)

/* The heap begins at a round offset behind the control area. */
#define ARAX_HEAP_OFFSET (4u << 20)
_Static_assert(sizeof(struct arax_shm) <= ARAX_HEAP_OFFSET, "control area");
_Static_assert(sizeof(struct arax_slot) == 64, "slot");

#endif
