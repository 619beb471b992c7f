/* SPDX-License-Identifier: Apache-2.0
 *
 * In-order queues whose order is as-if, see graph.h. Two commands of such a queue have an edge when
 * they use the same memory and one of them writes it; the rest of the order shows only in what
 * others see, and there it is kept: commands finish one after the other, first come, first
 * finished.
 *
 * An ordering point needs no edges from all before it: it begins when it is the first of its queue.
 */
#include "scheduler/graph_internal.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

#define USES_PER_CHUNK 256

/* Return: NULL without memory. */
static struct range_use *use_new(struct graph *graph)
{
	if (!graph->spare_uses) {
		struct range_use *chunk = graph_chunk(graph, USES_PER_CHUNK * sizeof(*chunk));
		for (int i = 0; chunk && i < USES_PER_CHUNK; i++) {
			chunk[i].next = graph->spare_uses;
			graph->spare_uses = &chunk[i];
		}
	}
	struct range_use *use = graph->spare_uses;
	if (use)
		graph->spare_uses = use->next;
	return use;
}

static void uses_free(struct graph *graph, struct graph_node *node)
{
	while (node->uses) {
		struct range_use *use = node->uses;
		node->uses = use->next;
		ranges_remove(&node->line->ranges, use);
		use->next = graph->spare_uses;
		graph->spare_uses = use;
	}
}

void graph_line(struct graph_node *node, struct graph_queue *queue)
{
	assert(node->state == GRAPH_WAITING && !node->pending);
	node->line = queue;
	node->over = node->heads = false;
	node->lane = 0;
	node->behind = node->gates = 0;
	node->before = node->next_gate = NULL;
	node->followers = node->gated = NULL;
	node->uses = NULL;
}

/* Within the queue it is enough that the other one has ended: this one finishes later anyway.
 * Others must have finished, and then what comes later in this queue may begin, too. */
int graph_wait_line(struct graph *graph, struct graph_node *node, struct graph_node *pred)
{
	struct graph_edge **list = pred->line == node->line ? &pred->followers : &pred->successors;
	if (*list && (*list)->to == node)
		return 0;
	if (pred->line != node->line) {
		int rc = graph_edge(graph, list, node, EDGE_WAIT);
		return rc ? rc : graph_edge(graph, list, node, EDGE_GATE);
	}
	if (pred->over) {
		node->failed |= pred->status < 0;
		return 0;
	}
	return graph_edge(graph, list, node, EDGE_WAIT);
}

/* An order edge within the queue. */
static int follow(struct graph *graph, struct graph_node *node, struct graph_node *pred)
{
	if (pred->over || (pred->followers && pred->followers->to == node))
		return 0;
	bool runs = pred->state == GRAPH_RUNNING && pred->lane;
	if (!node->behind)
		node->before = runs ? pred : NULL;
	else if (!runs || (node->before && node->before->lane != pred->lane))
		node->before = NULL;
	node->behind++;
	return graph_edge(graph, &pred->followers, node, EDGE_ORDER);
}

/* Behind the ordering point, and behind what earlier wait lists wait for. */
static int follow_points(struct graph *graph, struct graph_node *node)
{
	struct graph_queue *queue = node->line;
	int rc = 0;
	graph->nconflicts = 0;
	if (queue->serial) {
		rc = follow(graph, node, queue->serial);
		graph->conflicts[graph->nconflicts++] = queue->serial;
	}
	if (rc || !queue->gate)
		return rc;
	if (node->gates) {
		queue->gate->next_gate = node;
		node->gates++;
	}
	return graph_edge(graph, &queue->gate->gated, node, EDGE_ORDER);
}

/* Return: 0, -ENOMEM, or -E2BIG when it has to become an ordering point. */
static int follow_access(struct graph *graph, struct graph_node *node,
			 const struct graph_access *access)
{
	struct ranges *ranges = &node->line->ranges;
	struct range_use *found[GRAPH_CONFLICTS];
	unsigned room = GRAPH_CONFLICTS - graph->nconflicts;
	unsigned n = ranges_find(ranges, access->begin, access->end, access->write, found, room);
	struct range_use *use = n > room ? NULL : use_new(graph);
	if (!use)
		return -E2BIG;
	for (unsigned i = 0; i < n; i++) {
		struct graph_node *pred = found[i]->user;
		if (pred == node)
			continue;
		/* One that begins as the first of its queue is behind all anyway. */
		int rc = node->heads ? 0 : follow(graph, node, pred);
		if (rc)
			return rc;
		graph->conflicts[graph->nconflicts++] = pred;
	}
	use->begin = access->begin;
	use->end = access->end;
	use->write = access->write;
	use->user = node;
	use->next = node->uses;
	node->uses = use;
	ranges_add(ranges, use, found, n);
	return 0;
}

/* Nobody has to look for what is before it any more. */
static void become_point(struct graph_node *node)
{
	struct graph_queue *queue = node->line;
	ranges_forget(&queue->ranges);
	queue->serial = node;
	queue->gate = NULL;
}

static void wait_to_head(struct graph_node *node)
{
	if (node->heads || !node->line->first)
		return;
	node->heads = true;
	node->pending++;
}

static int follow_all(struct graph *graph, struct graph_node *node,
		      const struct graph_access *accesses, uint32_t naccesses)
{
	int rc = 0;
	for (uint32_t i = 0; i < naccesses && !rc; i++) {
		if (accesses[i].begin < accesses[i].end)
			rc = follow_access(graph, node, &accesses[i]);
	}
	return rc;
}

int graph_enqueue_line(struct graph *graph, struct graph_node *node,
		       const struct graph_access *accesses, uint32_t naccesses,
		       enum graph_place place)
{
	struct graph_queue *queue = node->line;
	if (!queue->ranges.epoch)
		ranges_init(&queue->ranges);
	int rc = follow_points(graph, node);
	if (rc)
		return rc;
	/* What was entered while the order was another one is in no list. */
	bool serial =
	    place == GRAPH_PLACE_POINT || !graph->as_if || (queue->last && !queue->last->line);
	if (place == GRAPH_PLACE_FIRST)
		wait_to_head(node);
	if (!serial)
		rc = follow_all(graph, node, accesses, naccesses);
	if (rc && rc != -E2BIG)
		return rc;
	if (serial || rc) {
		wait_to_head(node);
		become_point(node);
	} else if (node->gates) {
		queue->gate = node;
	}
	graph_append(queue, node);
	queue->lined++;
	return 0;
}

struct graph_node *graph_chainable_line(const struct graph_node *node)
{
	if (node->state != GRAPH_WAITING || node->failed || node->pending != node->behind)
		return NULL;
	return node->before;
}

/* The wait list of a command, and those of all before it, have finished. Gates open in a row, which
 * may be long: a loop. */
void graph_open_gate(struct graph *graph, struct graph_node *node)
{
	while (node) {
		struct graph_node *next = node->next_gate;
		if (node->line->gate == node)
			node->line->gate = NULL;
		graph_release(graph, &node->gated, 0);
		node = next && !--next->gates ? next : NULL;
	}
}

/* Return: may it finish? Else it will be asked about again when it is the first. */
bool graph_end_line(struct graph *graph, struct graph_node *node)
{
	struct graph_queue *queue = node->line;
	if (!node->over) {
		node->over = true;
		if (queue->serial == node)
			queue->serial = NULL;
		uses_free(graph, node);
		graph_release(graph, &node->followers, node->status);
	}
	return queue->first == node;
}

/* Another command is the first of the queue now, or none. */
void graph_finish_line(struct graph *graph, struct graph_node *node, struct graph_queue *queue)
{
	if (node->line)
		queue->lined--;
	struct graph_node *first = queue->first;
	if (!first || !first->line)
		return;
	if (first->heads) {
		first->heads = false;
		graph_less(graph, first);
	} else if (first->state == GRAPH_HELD && first->over) {
		graph_ready(graph, first);
	}
}
