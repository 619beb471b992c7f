/* SPDX-License-Identifier: Apache-2.0
 *
 * What graph.c and graph_line.c (as-if queues) share; nobody else includes it.
 */
#ifndef ARAX_SCHEDULER_GRAPH_INTERNAL_H
#define ARAX_SCHEDULER_GRAPH_INTERNAL_H

#include "scheduler/graph.h"

enum graph_edge_kind {
	EDGE_ORDER,
	EDGE_WAIT, /* failure spreads */
	EDGE_GATE, /* to what waits for the command's wait list, not to the command */
};

struct graph_edge {
	struct graph_edge *next;
	struct graph_node *to;
	enum graph_edge_kind kind;
};

/* graph.c */
void *graph_chunk(struct graph *graph, size_t size);
int graph_edge(struct graph *graph, struct graph_edge **list, struct graph_node *to,
	       enum graph_edge_kind kind);
void graph_append(struct graph_queue *queue, struct graph_node *node);
void graph_ready(struct graph *graph, struct graph_node *node);
void graph_less(struct graph *graph, struct graph_node *node);
void graph_release(struct graph *graph, struct graph_edge **list, int32_t status);

/* graph_line.c */
int graph_wait_line(struct graph *graph, struct graph_node *node, struct graph_node *pred);
struct graph_node *graph_chainable_line(const struct graph_node *node);
void graph_open_gate(struct graph *graph, struct graph_node *node);
bool graph_end_line(struct graph *graph, struct graph_node *node);
void graph_finish_line(struct graph *graph, struct graph_node *node, struct graph_queue *queue);

#endif
