/* SPDX-License-Identifier: Apache-2.0
 *
 * One wake word (transport/wake.c): two sleepers that wait for different things on the same word,
 * two wakers who each publish one of them, one of them twice. Nobody's sleep has a bound, so a
 * wake-up that is lost is a process that never ends.
 */
#define PROCS 4
#define VARS 3
#define WORD 0
#define DATA(i) (1 + (i))
#include "model_memory.pml"

#define WAKER(i) (2 + (i))

/* arax_wake_sleep() in its caller's loop; what a spin does before it is the look of the loop. */
proctype Sleeper(byte me; byte want)
{
	byte value, data, round;

	for (round : 1 .. want) {
		LOAD(me, DATA(me), data);
		do
		:: data >= round -> break
		:: else ->
#ifdef BUG_LOOKS_THEN_ANNOUNCES
			LOAD(me, DATA(me), data);
			announce(me, WORD, value);
#else
			announce(me, WORD, value);
			LOAD(me, DATA(me), data);
#endif
			if
			:: data < round ->
				futex_wait(me, WORD, value);
				LOAD(me, DATA(me), data)
			:: else
			fi;
			value = 0
		od;
		data = 0
	}
}

proctype Waker(byte me; byte times)
{
	byte value, round;

	for (round : 1 .. times) {
#ifdef BUG_RINGS_THEN_PUBLISHES
		wake_ring(me, WORD, value);
		STORE(me, DATA(me - 2), round)
#else
		STORE(me, DATA(me - 2), round);
		wake_ring(me, WORD, value)
#endif
	}
}

init
{
	atomic {
		run Drain(0); run Drain(1); run Drain(2); run Drain(3);
		run Sleeper(0, 2); run Sleeper(1, 1);
		run Waker(2, 2); run Waker(3, 1)
	}
}
