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
 * An in-order queue executes its commands one after the other, or, where several devices can run
 * its commands at the same time (graph.as_if), as if it did: a command has order edges only from
 * those before it that use the same memory (scheduler/ranges.h), and what it does is done when it
 * has *ended*, but it *finishes*, for everybody else, when all before it have finished. What may
 * touch anything is an ordering point: it begins when all before it have finished, and all after it
 * begin when it has ended. A wait list delays also what comes later in the queue: that, too, was
 * ordered behind those events.
 *
 * Threads: one; completions that happen elsewhere are brought here by the dispatcher.
 */
#ifndef ARAX_SCHEDULER_GRAPH_H
#define ARAX_SCHEDULER_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scheduler/ranges.h"

enum graph_state {
	GRAPH_FREE,    /* no command */
	GRAPH_WAITING, /* entered, predecessors unfinished */
	GRAPH_READY,   /* in the ready list, or being started */
	GRAPH_RUNNING, /* on a device or the copy engine */
	GRAPH_HOST,    /* the client's turn */
	GRAPH_HELD,    /* has ended before a predecessor that it was chained behind, or before
			  an earlier command of its as-if queue has finished */
};

struct graph_edge;
struct graph_queue;

/* A range of memory that a command reads or writes. */
struct graph_access {
	uint64_t begin, end;
	bool write;
};

/* More conflicts than that, and a command becomes an ordering point: a bound on what it costs to
 * enter it. */
#define GRAPH_CONFLICTS 256

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
	/* Its as-if queue, or NULL, and then nothing of what follows has a meaning. */
	struct graph_queue *line;
	bool over;    /* it has ended, and its followers know */
	bool heads;   /* waits until it is the first of its queue; counted in pending */
	uint8_t lane; /* set by the caller: on the device's stream with this number; 0: on none */
	uint32_t behind; /* order edges from the same queue */
	uint32_t gates;	 /* unfinished commands of its wait list that later commands wait for */
	struct graph_node *next_gate; /* later in the queue; waits for this one's gates, too */
	struct graph_node *before;    /* one of those that it is behind, when all have one lane */
	struct graph_edge *followers; /* successors in the same queue: may begin when it is over */
	struct graph_edge *gated;     /* successors that wait for what is in its wait list */
	struct range_use *uses;
};

/* Of queues (cl_khr_priority_hints); commands of none are medium. */
enum graph_priority { GRAPH_LOW, GRAPH_MEDIUM, GRAPH_HIGH, GRAPH_PRIORITIES };

struct graph_queue {
	bool out_of_order;
	uint8_t priority;		 /* enum graph_priority */
	struct graph_node *first, *last; /* unfinished commands */
	struct graph_node *barrier;	 /* last unfinished barrier */
	/* as-if */
	uint32_t lined;		   /* unfinished commands that have it as their line */
	struct graph_node *serial; /* the last ordering point, unless it is over */
	struct graph_node *gate;   /* the last command with gates */
	struct ranges ranges;	   /* what those after it use */
};

struct graph {
	struct graph_list {
		struct graph_node *first, *last;
	} ready[GRAPH_PRIORITIES];
	struct graph_edge *spare; /* edges to use again */
	uint32_t nspare;
	void **chunks; /* what they were allocated in */
	uint32_t nchunks;
	bool as_if; /* in-order queues are as-if; may change at any time */
	struct range_use *spare_uses;
	/* The commands of its queue that the last one entered was found in conflict with. */
	struct graph_node *conflicts[GRAPH_CONFLICTS];
	uint32_t nconflicts;
};

void graph_init(struct graph *graph);
void graph_exit(struct graph *graph);

/** graph_reserve() - make sure that so many edges can be added without memory. Return: 0, -ENOMEM.
 */
int graph_reserve(struct graph *graph, uint32_t edges);

/** graph_open() - begin to enter a command (state WAITING, no predecessors yet). */
void graph_open(struct graph *graph, struct graph_node *node);

/**
 * graph_lines() - is the order of the next command of this queue as-if?
 *
 * It stays so after as_if was switched off, until the commands that were entered before have
 * finished.
 */
static inline bool graph_lines(const struct graph *graph, const struct graph_queue *queue)
{
	return (graph->as_if || queue->lined) && !queue->out_of_order;
}

/** graph_line() - the command will be entered by graph_enqueue_line(); before its wait list is. */
void graph_line(struct graph_node *node, struct graph_queue *queue);

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

/* How a command stands in an as-if queue. */
enum graph_place {
	GRAPH_PLACE_ANY,   /* behind what it conflicts with */
	GRAPH_PLACE_FIRST, /* begins when it is the first: others see its end directly */
	GRAPH_PLACE_POINT, /* an ordering point: it may touch anything, or orders others */
};

/**
 * graph_enqueue_line() - give the command its place in an as-if queue
 * @accesses: what it touches
 *
 * Needs at most GRAPH_CONFLICTS + 3 edges, and one more for each command of the wait list; without
 * memory for what it touches, or with too many conflicts, it becomes an ordering point.
 *
 * Return: 0 or -ENOMEM.
 */
int graph_enqueue_line(struct graph *graph, struct graph_node *node,
		       const struct graph_access *accesses, uint32_t naccesses,
		       enum graph_place place);

/**
 * graph_close() - the command is entered
 * Return: true when nothing is in its way (state READY; the caller starts it now), false when it
 * will come out of graph_next() later.
 */
bool graph_close(struct graph_node *node);

/** graph_next() - of the highest priority the command that became ready first, or NULL. */
struct graph_node *graph_next(struct graph *graph);

static inline bool graph_has_ready(const struct graph *graph)
{
	return graph->ready[GRAPH_LOW].first || graph->ready[GRAPH_MEDIUM].first ||
	       graph->ready[GRAPH_HIGH].first;
}

/**
 * graph_chainable() - may a WAITING command be given to a device already?
 *
 * To be asked right after graph_close(). Return: the predecessor when it is the only one, precedes
 * it in its in-order queue by order alone and runs; the device must then execute the two in order.
 * In an as-if queue there may be several, when all are on one lane; one of them is returned. NULL
 * otherwise.
 */
struct graph_node *graph_chainable(const struct graph_node *node);

/** graph_chain() - the command that graph_chainable() allowed was given to the device. */
void graph_chain(struct graph_node *node);

/**
 * graph_end() - a command has ended; status 0 or negative
 *
 * May it finish? A command that ran in a chain (graph_chainable()) and ends before its predecessor
 * is known to have ended becomes HELD, and so does one of an as-if queue that is not its first; it
 * comes out of graph_next() in that state later, and is then ended again. In an as-if queue this is
 * also when its followers may begin, and what has the status for them.
 *
 * Return: true when it may finish, false when it is HELD.
 */
bool graph_end(struct graph *graph, struct graph_node *node, int32_t status);

/**
 * graph_finish() - a command has ended, and may finish: graph_end() is part of it
 *
 * Its successors move to the ready list when it was their last predecessor.
 *
 * Return: true when it is finished now (state FREE), false when it is HELD.
 */
bool graph_finish(struct graph *graph, struct graph_node *node, int32_t status);

#endif
