/* SPDX-License-Identifier: Apache-2.0
 *
 * The order of commands, see graph.h. A command keeps a count of unfinished predecessors and a list
 * of edges to its successors; finishing it walks that list once. Edges come from a free list, so
 * that the usual command (no wait list, an idle queue) allocates nothing.
 *
 * In as-if queues (graph_line.c) a command has two more lists: followers, released when it has
 * ended, and gated, released when all of its wait list has finished.
 */
#include "scheduler/graph_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define EDGES_PER_CHUNK 512

void graph_init(struct graph *graph)
{
	memset(graph, 0, sizeof(*graph));
}

void graph_exit(struct graph *graph)
{
	for (uint32_t i = 0; i < graph->nchunks; i++)
		free(graph->chunks[i]);
	free(graph->chunks);
	memset(graph, 0, sizeof(*graph));
}

void *graph_chunk(struct graph *graph, size_t size)
{
	void **chunks = realloc(graph->chunks, (graph->nchunks + 1) * sizeof(void *));
	if (!chunks)
		return NULL;
	graph->chunks = chunks;
	void *chunk = malloc(size);
	if (chunk)
		chunks[graph->nchunks++] = chunk;
	return chunk;
}

static int edges_grow(struct graph *graph)
{
	struct graph_edge *chunk = graph_chunk(graph, EDGES_PER_CHUNK * sizeof(*chunk));
	if (!chunk)
		return -ENOMEM;
	graph->nspare += EDGES_PER_CHUNK;
	for (int i = 0; i < EDGES_PER_CHUNK; i++) {
		chunk[i].next = graph->spare;
		graph->spare = &chunk[i];
	}
	return 0;
}

int graph_reserve(struct graph *graph, uint32_t edges)
{
	while (graph->nspare < edges) {
		int rc = edges_grow(graph);
		if (rc)
			return rc;
	}
	return 0;
}

int graph_edge(struct graph *graph, struct graph_edge **list, struct graph_node *to,
	       enum graph_edge_kind kind)
{
	if (!graph->spare) {
		int rc = edges_grow(graph);
		if (rc)
			return rc;
	}
	struct graph_edge *edge = graph->spare;
	graph->spare = edge->next;
	graph->nspare--;
	*edge = (struct graph_edge){.next = *list, .to = to, .kind = kind};
	*list = edge;
	if (kind == EDGE_GATE) {
		to->gates++;
	} else {
		to->pending++;
		to->wait_edges += kind == EDGE_WAIT;
	}
	return 0;
}

void graph_open(struct graph *graph, struct graph_node *node)
{
	(void)graph;
	assert(node->state == GRAPH_FREE);
	memset(node, 0, offsetof(struct graph_node, line));
	node->line = NULL;
	node->state = GRAPH_WAITING;
}

int graph_wait(struct graph *graph, struct graph_node *node, struct graph_node *pred)
{
	if (pred == node)
		return 0;
	if (pred->state == GRAPH_FREE) {
		node->failed |= pred->status < 0;
		return 0;
	}
	if (node->line)
		return graph_wait_line(graph, node, pred);
	/* A wait list often names a command twice in a row; the newest edge tells. */
	if (pred->successors && pred->successors->to == node)
		return 0;
	return graph_edge(graph, &pred->successors, node, EDGE_WAIT);
}

void graph_append(struct graph_queue *queue, struct graph_node *node)
{
	node->queue = queue;
	node->prev = queue->last;
	node->next = NULL;
	if (queue->last)
		queue->last->next = node;
	else
		queue->first = node;
	queue->last = node;
}

static void queue_remove(struct graph_node *node)
{
	struct graph_queue *queue = node->queue;
	if (!queue)
		return;
	if (node->prev)
		node->prev->next = node->next;
	else
		queue->first = node->next;
	if (node->next)
		node->next->prev = node->prev;
	else
		queue->last = node->prev;
	if (queue->barrier == node)
		queue->barrier = NULL;
	node->queue = NULL;
}

/* An order edge, unless a wait edge from the same command was just made. */
static int order_after(struct graph *graph, struct graph_node *node, struct graph_node *pred)
{
	if (!pred || (pred->successors && pred->successors->to == node))
		return 0;
	return graph_edge(graph, &pred->successors, node, EDGE_ORDER);
}

int graph_enqueue(struct graph *graph, struct graph_node *node, struct graph_queue *queue, bool all,
		  bool barrier)
{
	int rc = 0;
	if (!queue->out_of_order) {
		/* Everything before the last command is before it by induction. */
		rc = order_after(graph, node, queue->last);
	} else if (all) {
		for (struct graph_node *pred = queue->first; pred && !rc; pred = pred->next)
			rc = order_after(graph, node, pred);
	} else {
		rc = order_after(graph, node, queue->barrier);
	}
	if (rc)
		return rc;
	graph_append(queue, node);
	if (barrier)
		queue->barrier = node;
	return 0;
}

bool graph_close(struct graph_node *node)
{
	assert(node->state == GRAPH_WAITING);
	if (node->pending)
		return false;
	node->state = GRAPH_READY;
	return true;
}

void graph_ready(struct graph *graph, struct graph_node *node)
{
	struct graph_list *list = &graph->ready[node->queue ? node->queue->priority : GRAPH_MEDIUM];
	node->ready_next = NULL;
	if (list->last)
		list->last->ready_next = node;
	else
		list->first = node;
	list->last = node;
}

struct graph_node *graph_next(struct graph *graph)
{
	for (unsigned i = GRAPH_PRIORITIES; i-- > 0;) {
		struct graph_list *list = &graph->ready[i];
		struct graph_node *node = list->first;
		if (!node)
			continue;
		list->first = node->ready_next;
		if (!list->first)
			list->last = NULL;
		return node;
	}
	return NULL;
}

struct graph_node *graph_chainable(const struct graph_node *node)
{
	if (node->line)
		return graph_chainable_line(node);
	if (node->state != GRAPH_WAITING || node->pending != 1 || node->wait_edges || node->failed)
		return NULL;
	if (!node->queue || node->queue->out_of_order)
		return NULL;
	/* The one order edge of an in-order queue comes from the command before. */
	return node->prev && node->prev->state == GRAPH_RUNNING ? node->prev : NULL;
}

void graph_less(struct graph *graph, struct graph_node *node)
{
	assert(node->pending > 0);
	if (--node->pending)
		return;
	if (node->state == GRAPH_WAITING)
		node->state = GRAPH_READY;
	else if (node->state != GRAPH_HELD)
		return; /* chained and still running */
	graph_ready(graph, node);
}

static void release_edge(struct graph *graph, const struct graph_edge *edge, int32_t status)
{
	struct graph_node *to = edge->to;
	if (edge->kind == EDGE_GATE) {
		assert(to->gates > 0);
		if (!--to->gates)
			graph_open_gate(graph, to);
		return;
	}
	to->wait_edges -= edge->kind == EDGE_WAIT;
	if (edge->kind == EDGE_WAIT && status < 0)
		to->failed = true;
	graph_less(graph, to);
}

/* Edges were pushed in front; successors shall come out in the order they went in. */
void graph_release(struct graph *graph, struct graph_edge **list, int32_t status)
{
	struct graph_edge *edge = *list, *ordered = NULL;
	*list = NULL;
	while (edge) {
		struct graph_edge *next = edge->next;
		edge->next = ordered;
		ordered = edge;
		edge = next;
	}
	while (ordered) {
		struct graph_edge *next = ordered->next;
		release_edge(graph, ordered, status);
		ordered->next = graph->spare;
		graph->spare = ordered;
		graph->nspare++;
		ordered = next;
	}
}

void graph_chain(struct graph_node *node)
{
	assert(graph_chainable(node));
	node->state = GRAPH_RUNNING;
}

bool graph_end(struct graph *graph, struct graph_node *node, int32_t status)
{
	assert(node->state != GRAPH_FREE && node->state != GRAPH_WAITING);
	node->status = status;
	if (!node->pending && (!node->line || graph_end_line(graph, node)))
		return true;
	node->state = GRAPH_HELD;
	return false;
}

bool graph_finish(struct graph *graph, struct graph_node *node, int32_t status)
{
	struct graph_queue *queue = node->queue;
	if (!graph_end(graph, node, status))
		return false;
	queue_remove(node);
	node->state = GRAPH_FREE;
	graph_release(graph, &node->successors, status);
	if (queue && queue->lined)
		graph_finish_line(graph, node, queue);
	return true;
}
