/* SPDX-License-Identifier: Apache-2.0
 *
 * Two words and the flag of a slot: arax_wake_ring_if() with both sides around it, which are
 * icd/flight.c, scheduler/dispatch_done.c and dispatch_crowd.c. Two threads of a client share one
 * slot, in which two commands run one after the other: one thread waits for the first command's slot,
 * the other for anything; whoever sees a completion takes it from the ring, and the second uses the
 * slot again at once, clears the flag that the first may have set, and waits for its own command's
 * slot. The tenant may leave it at publishing as long as it has the next record, and rings later.
 *
 * No sleep has a bound. An outcome that is taken from the ring before it is in the slot fails an
 * assertion.
 */
#define PROCS 3
#define VARS 9
#define CLIENT_WAKE 0
#define CLIENT_SLOT 1
#define CQ 2	/* the completion ring's tail */
#define TAKEN 3 /* cq_taken */
#define SQ 4	/* the submission ring's tail */
#define STATUS 5
#define WAITED 6
#define EVENT(n) (6 + (n))
#define COMMANDS 2
#include "model_memory.pml"

#define TENANT 2
#define QUEUED 0
#define FINAL 1

bit locked; /* connection.lock; what was stored under it is seen by who takes it next */
byte own;   /* cq.own, under the lock */

#define LOCK d_step { locked == 0 -> locked = 1 }
#define UNLOCK(p) d_step { EMPTY(p) -> locked = 0 }

/* connection_wake() */
inline wake_all(p, value)
{
	PUBLISH_FENCE(p);
	ring_fenced(p, CLIENT_WAKE, value);
	ring_fenced(p, CLIENT_SLOT, value)
}

/* connection_reap() */
inline reap(p, x, y)
{
	LOAD(p, CQ, x);
	LOAD(p, TAKEN, y);
	if
	:: x != y ->
		x = 0;
		y = 0;
		LOCK;
		LOAD(p, CQ, x);
		do
		:: own != x ->
			own++;
			LOAD(p, STATUS, y);
			assert(y == FINAL);
			RELEASE(p, EVENT(own), 1);
			y = 1
		:: else -> break
		od;
		x = 0;
		RELEASE(p, TAKEN, own);
#ifndef BUG_TAKES_SILENTLY
		if
		:: y -> y = 0; wake_all(p, x)
		:: else
		fi;
#endif
		y = 0;
		UNLOCK(p)
	:: else -> x = 0; y = 0
	fi
}

/* waiting_ready() without a slot and waiting_asleep() with one: is there a reason to stay awake? */
inline look(p, n, slot, x, y)
{
	LOAD(p, EVENT(n), y);
	if
	:: !y && slot -> LOAD(p, STATUS, y); y = (y == FINAL)
	:: !y && !slot -> LOAD(p, CQ, x); LOAD(p, TAKEN, y); y = (x != y); x = 0
	:: else
	fi
}

/* connection_wait_slot() */
inline wait_for(p, n, slot, x, y)
{
	do
	:: true ->
		reap(p, x, y);
		LOAD(p, EVENT(n), y);
		if
		:: y -> break
		:: else
		fi;
		if
		:: slot -> LOAD(p, STATUS, y); slot = (y != FINAL)
		:: else
		fi;
		y = 0;
		if
		:: slot ->
#ifdef BUG_FLAG_AFTER_LOOK
			announce(p, CLIENT_SLOT, x);
			look(p, n, slot, z, y);
			STORE(p, WAITED, 1);
#else
			STORE(p, WAITED, 1);
			announce(p, CLIENT_SLOT, x);
			look(p, n, slot, z, y);
#endif
			if
			:: !y -> futex_wait(p, CLIENT_SLOT, x)
			:: else
			fi
		:: else ->
			announce(p, CLIENT_WAKE, x);
			look(p, n, slot, z, y);
			if
			:: !y -> futex_wait(p, CLIENT_WAKE, x)
			:: else
			fi
		fi;
		x = 0;
		y = 0
	od;
	y = 0
}

proctype First()
{
	byte x, y, z;
	bit slot = 1;

	wait_for(0, 1, slot, x, y)
}

proctype Second()
{
	byte x, y, z;
	bit slot;

	wait_for(1, 1, slot, x, y);
	/* connection_slot(), connection_send() */
	LOCK;
#ifndef BUG_SLOT_CLEARED_AFTER_SENDING
	STORE(1, STATUS, QUEUED);
	STORE(1, WAITED, 0);
#endif
	RELEASE(1, SQ, 2);
#ifdef BUG_SLOT_CLEARED_AFTER_SENDING
	STORE(1, STATUS, QUEUED);
#endif
	UNLOCK(1);
	slot = 1;
	wait_for(1, 2, slot, x, y)
}

proctype Tenant()
{
	byte n, x, y, early;
	bit ahead;

	for (n : 1 .. COMMANDS) {
		/* Asleep or not is model_ring.pml's matter. */
		d_step { mem[SQ] >= n -> skip };
#ifdef BUG_INDEX_THEN_STATUS
		RELEASE(TENANT, CQ, n);
		RELEASE(TENANT, STATUS, FINAL);
#else
		RELEASE(TENANT, STATUS, FINAL);
		RELEASE(TENANT, CQ, n);
#endif
		if
#ifdef BUG_RESTS_OWING
		:: n < COMMANDS
#else
		:: n < COMMANDS && mem[SQ] > n
#endif
		:: true ->
			/* arax_wake_ring_if(). Nothing orders its three loads. */
#ifdef BUG_FLAG_READ_BEFORE_FENCE
			LOAD(TENANT, WAITED, y);
			PUBLISH_FENCE(TENANT);
			ring_fenced(TENANT, CLIENT_WAKE, x);
#else
			PUBLISH_FENCE(TENANT);
			if
			:: ahead = 0
			:: LOAD(TENANT, CLIENT_SLOT, early); ahead = 1
			fi;
			if
			:: ring_fenced(TENANT, CLIENT_WAKE, x); LOAD(TENANT, WAITED, y)
			:: LOAD(TENANT, WAITED, y); ring_fenced(TENANT, CLIENT_WAKE, x)
			fi;
#endif
			if
			:: y && ahead -> ring_loaded(TENANT, CLIENT_SLOT, early)
			:: y && !ahead -> ring_fenced(TENANT, CLIENT_SLOT, x)
			:: else
			fi;
			ahead = 0;
			early = 0;
			y = 0
		fi
	}
}

init
{
	atomic {
		mem[SQ] = 1;
		run Drain(0); run Drain(1); run Drain(2);
		run First(); run Second(); run Tenant()
	}
}
