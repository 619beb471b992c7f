/* SPDX-License-Identifier: Apache-2.0
 *
 * The order of commands: which one may start, and which has to wait for what. This file knows
 * queues, wait lists, barriers and how failure spreads; it knows neither devices nor records. The
 * dispatcher (scheduler/dispatch.c) enters every command here and starts what comes out.
 *
 * Two kinds of edges lead to a command. Wait edges come from its wait list: when such a predecessor
 * fails, the command fails too. Order edges come from its queue (in-order queues, barriers): they
 * delay it and do nothing else.
 *
 * Threads: one; completions that happen elsewhere are brought here by the dispatcher.
 */
#ifndef ARAX_SCHEDULER_GRAPH_H
#define ARAX_SCHEDULER_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum graph_state {
	GRAPH_FREE,    /* no command */
	GRAPH_WAITING, /* entered, predecessors unfinished */
	GRAPH_READY,   /* in the ready list, or being started */
	GRAPH_RUNNING, /* on a device or the copy engine */
	GRAPH_HOST,    /* the client's turn */
	GRAPH_HELD,    /* has ended before a predecessor that it was chained behind */
};

struct graph_edge;
struct graph_queue;

/* One command. Lives in the caller's structure; zeroed before first use. */
struct graph_node {
	enum graph_state state;
	bool failed;	     /* a command of the wait list has failed */
	int32_t status;	     /* outcome, once finished */
	uint32_t pending;    /* unfinished predecessors */
	uint32_t wait_edges; /* how many of the pending edges are wait edges */
	struct graph_edge *successors;
	struct graph_queue *queue;
	struct graph_node *prev, *next; /* unfinished commands of the queue, in order */
	struct graph_node *ready_next;
};

struct graph_queue {
	bool out_of_order;
	struct graph_node *first, *last; /* unfinished commands */
	struct graph_node *barrier;	 /* last unfinished barrier */
};

struct graph {
	struct graph_node *ready_first, *ready_last;
	struct graph_edge *spare; /* edges to use again */
	uint32_t nspare;
	struct graph_edge **chunks; /* what they were allocated in */
	uint32_t nchunks;
};

void graph_init(struct graph *graph);
void graph_exit(struct graph *graph);

/** graph_reserve() - make sure that so many edges can be added without memory. Return: 0, -ENOMEM.
 */
int graph_reserve(struct graph *graph, uint32_t edges);

/** graph_open() - begin to enter a command (state WAITING, no predecessors yet). */
void graph_open(struct graph *graph, struct graph_node *node);

/**
 * graph_wait() - node waits for pred and fails when pred fails
 *
 * A pred that has finished counts with its outcome: the client may not have seen its failure when
 * it wrote the wait list, and does not use the slot again before it has.
 *
 * Return: 0 or -ENOMEM.
 */
int graph_wait(struct graph *graph, struct graph_node *node, struct graph_node *pred);

/**
 * graph_enqueue() - give the command its place in a queue, after its wait list is known
 * @all: waits for every unfinished command of the queue
 * @barrier: later commands of the queue wait for it
 * Return: 0 or -ENOMEM.
 */
int graph_enqueue(struct graph *graph, struct graph_node *node, struct graph_queue *queue, bool all,
		  bool barrier);

/**
 * graph_close() - the command is entered
 * Return: true when nothing is in its way (state READY; the caller starts it now), false when it
 * will come out of graph_next() later.
 */
bool graph_close(struct graph_node *node);

/** graph_next() - the next command that became ready, or NULL. */
struct graph_node *graph_next(struct graph *graph);

static inline bool graph_has_ready(const struct graph *graph)
{
	return graph->ready_first != NULL;
}

/**
 * graph_chainable() - may a WAITING command be given to a device already?
 *
 * Return: the predecessor when it is the only one, precedes it in its in-order queue by order alone
 * and runs; the device must then execute the two in order. NULL otherwise.
 */
struct graph_node *graph_chainable(const struct graph_node *node);

/** graph_chain() - the command that graph_chainable() allowed was given to the device. */
void graph_chain(struct graph_node *node);

/**
 * graph_finish() - a command has ended; status 0 or negative
 *
 * Its successors move to the ready list when it was their last predecessor. A command that ran in a
 * chain (graph_chainable()) and ends before its predecessor is known to have ended becomes HELD; it
 * comes out of graph_next() in that state later, and is then finished again.
 *
 * Return: true when it is finished now (state FREE), false when it is HELD.
 */
bool graph_finish(struct graph *graph, struct graph_node *node, int32_t status);

#endif
