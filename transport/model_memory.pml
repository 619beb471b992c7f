/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory as the models of the ring and of the wake-ups see it: every process has a buffer in which
 * its stores wait, in any order but that of stores to one place and that of a release store, which
 * waits for all before it. With TSO they leave in the order of the program, as on x86. A locked
 * read-modify-write, a full fence and a system call wait until the buffer is empty.
 *
 * Loads happen in the order of the program: those that the code leaves unordered are tried in both
 * orders where they stand. A process that reads sees its own stores first.
 */
#ifndef DEPTH
#define DEPTH 4 /* stores that wait, per process; a store to a full buffer waits */
#endif

typedef store { byte var, val; bit release };
typedef stores { store at[DEPTH]; byte n };

byte mem[VARS];
stores buf[PROCS];
hidden byte k;

inline put(p, v, x, r)
{
	d_step {
		buf[p].n < DEPTH ->
		buf[p].at[buf[p].n].var = v;
		buf[p].at[buf[p].n].val = x;
		buf[p].at[buf[p].n].release = r;
		buf[p].n++
	}
}

#define STORE(p, v, x) put(p, v, x, 0)
#define RELEASE(p, v, x) put(p, v, x, 1)

inline LOAD(p, v, x)
{
	d_step {
		x = mem[v];
		k = 0;
		do
		:: k < buf[p].n ->
			if
			:: buf[p].at[k].var == v -> x = buf[p].at[k].val
			:: else
			fi;
			k++
		:: else -> break
		od;
		k = 0
	}
}

#define EMPTY(p) (buf[p].n == 0)
#define FENCE(p) EMPTY(p)

/* May the i-th store go before those in front of it? */
#define SAME(p, i, j) (buf[p].at[i].var == buf[p].at[j].var)
#ifdef TSO
#define MAY1(p) false
#define MAY2(p) false
#else
#define MAY1(p) (buf[p].n > 1 && !buf[p].at[1].release && !SAME(p, 1, 0))
#define MAY2(p) (buf[p].n > 2 && !buf[p].at[2].release && !SAME(p, 2, 0) && !SAME(p, 2, 1))
#endif

inline leave(p, i)
{
	mem[buf[p].at[i].var] = buf[p].at[i].val;
	k = i;
	do
	:: k + 1 < buf[p].n ->
		buf[p].at[k].var = buf[p].at[k + 1].var;
		buf[p].at[k].val = buf[p].at[k + 1].val;
		buf[p].at[k].release = buf[p].at[k + 1].release;
		k++
	:: else -> break
	od;
	buf[p].at[k].var = 0;
	buf[p].at[k].val = 0;
	buf[p].at[k].release = 0;
	buf[p].n--;
	k = 0
}

/* One for each process. */
proctype Drain(byte p)
{
end:
	do
	:: d_step { buf[p].n > 0 -> leave(p, 0) }
	:: d_step { MAY1(p) -> leave(p, 1) }
	:: d_step { MAY2(p) -> leave(p, 2) }
	od
}

/* The futex and transport/wake.c on it. Sleeper s of a process is asleep on the word asleep[s] - 1.
 * The kernel compares and goes to sleep in one step; nobody wakes but by being woken: no bounds. */
byte asleep[PROCS];

inline announce(p, word, value)
{
	d_step { EMPTY(p) -> mem[word] = mem[word] | 1; value = mem[word] }
}

inline futex_wait(p, word, value)
{
	d_step {
		EMPTY(p) ->
		if
#ifdef BUG_FUTEX_DOES_NOT_COMPARE
		:: true -> asleep[p] = word + 1
#else
		:: mem[word] == value -> asleep[p] = word + 1
		:: else
#endif
		fi
	}
	asleep[p] == 0
}

inline futex_wake(word)
{
	d_step {
		k = 0;
		do
		:: k < PROCS ->
			if
			:: asleep[k] == word + 1 ->
				asleep[k] = 0;
#ifdef BUG_WAKES_ONE
				break
#endif
			:: else
			fi;
			k++
		:: else -> break
		od;
		k = 0
	}
}

#ifdef BUG_NO_FENCE_OF_WAKER
#define PUBLISH_FENCE(p) skip
#else
#define PUBLISH_FENCE(p) FENCE(p)
#endif

/* ring_fenced() from where the word was loaded. The compare and exchange that fails loads it again. */
inline ring_loaded(p, word, value)
{
	do
	:: value & 1 ->
#if defined(BUG_WAKES_THEN_CLEARS)
		futex_wake(word);
		d_step { EMPTY(p) -> mem[word] = (mem[word] & ~1) + 2; value = 0 }
#elif defined(BUG_CLEARS_WITHOUT_COUNTING)
		d_step { EMPTY(p) -> mem[word] = mem[word] & ~1; value = 0 };
		futex_wake(word)
#elif defined(BUG_CLEARS_AND_LEAVES)
		d_step { EMPTY(p) -> mem[word] = value + 1; value = 0 }
#else
		if
		:: d_step { EMPTY(p) && mem[word] == value -> mem[word] = value + 1; value = 0 };
			futex_wake(word)
		:: d_step { EMPTY(p) && mem[word] != value -> value = mem[word] }
		fi
#endif
	:: else -> break
	od;
	value = 0
}

inline ring_fenced(p, word, value)
{
	LOAD(p, word, value);
	ring_loaded(p, word, value)
}

inline wake_ring(p, word, value)
{
	PUBLISH_FENCE(p);
	ring_fenced(p, word, value)
}
