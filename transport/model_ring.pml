/* SPDX-License-Identifier: Apache-2.0
 *
 * The ring (transport/ring.c) with its reader asleep when there is nothing to read: records of one
 * or two words through a ring of four, so that every record lies across the end at some time. The
 * indices run freely and wrap at eight. Eight records are at least two laps, at most four.
 *
 * A word of a record says which record it is of and, the first, how long it is; one that is lost,
 * old, overwritten or half there fails an assertion, and so does a check against a hostile peer that
 * refuses an honest one.
 */
#define PROCS 2
#define SIZE 4
#define WRAP 8
#define RECORDS 8
#define HEAD 0
#define TAIL 1
#define WORD 2
#define CELL(i) (3 + (i) % SIZE)
#define VARS (3 + SIZE)
#define DEPTH 5
#include "model_memory.pml"

#define PRODUCER 0
#define CONSUMER 1
#define MINUS(a, b) (((a) + WRAP - (b)) % WRAP)
#ifdef BUG_ROOM_FOR_ONE_MORE
#define SPARE 1
#else
#define SPARE 0
#endif
#define FIRST(number, length) ((number) * 4 + (length))
#define SECOND(number) ((number) * 4 + 3)

/* arax_ring_write() and arax_wake_ring(). The index of the other side is looked at when what was seen of
 * it is used up. Who finds no room waits until it moves. */
proctype Producer()
{
	byte own, seen, head, length, number, value;

	for (number : 1 .. RECORDS) {
		if
		:: length = 1
		:: length = 2
		fi;
		do
		:: SIZE + SPARE - MINUS(own, seen) >= length -> break
		:: else ->
			LOAD(PRODUCER, HEAD, head);
			assert(MINUS(head, seen) <= MINUS(own, seen));
			if
			:: head == seen -> mem[HEAD] != seen
			:: else -> seen = head
			fi;
			head = 0
		od;
#ifdef BUG_INDEX_THEN_DATA
		RELEASE(PRODUCER, TAIL, (own + length) % WRAP);
#endif
		STORE(PRODUCER, CELL(own), FIRST(number, length));
		if
		:: length == 2 -> STORE(PRODUCER, CELL(own + 1), SECOND(number))
		:: else
		fi;
		own = (own + length) % WRAP;
#if defined(BUG_INDEX_NOT_RELEASED)
		STORE(PRODUCER, TAIL, own);
#elif !defined(BUG_INDEX_THEN_DATA)
		RELEASE(PRODUCER, TAIL, own);
#endif
		wake_ring(PRODUCER, WORD, value);
		length = 0
	}
}

/* arax_ring_read(), and arax_wake_sleep() with arax_ring_pending(). */
proctype Consumer()
{
	byte own, seen, tail, length, number = 1, word, value;

	do
	:: number > RECORDS -> break
	:: else ->
#ifdef BUG_DATA_THEN_INDEX
		LOAD(CONSUMER, CELL(own), word);
#endif
		if
		:: seen == own ->
			LOAD(CONSUMER, TAIL, tail);
			assert(MINUS(tail, own) <= SIZE);
			seen = tail;
			tail = 0
		:: else
		fi;
		if
		:: seen != own ->
#ifndef BUG_DATA_THEN_INDEX
			LOAD(CONSUMER, CELL(own), word);
#endif
			length = word & 3;
			assert(length == 1 || length == 2);
			assert(word == FIRST(number, length) && length <= MINUS(seen, own));
#ifdef BUG_FREES_THEN_COPIES
			RELEASE(CONSUMER, HEAD, (own + length) % WRAP);
#endif
			if
			:: length == 2 ->
				LOAD(CONSUMER, CELL(own + 1), word);
				assert(word == SECOND(number))
			:: else
			fi;
			own = (own + length) % WRAP;
#ifndef BUG_FREES_THEN_COPIES
			RELEASE(CONSUMER, HEAD, own);
#endif
			number++
		:: else ->
			announce(CONSUMER, WORD, value);
			LOAD(CONSUMER, TAIL, tail);
			if
			:: tail == own -> futex_wait(CONSUMER, WORD, value)
			:: else
			fi;
			value = 0
		fi;
		word = 0;
		tail = 0;
		length = 0
	od
}

init
{
	atomic {
		run Drain(PRODUCER); run Drain(CONSUMER);
		run Producer(); run Consumer()
	}
}
