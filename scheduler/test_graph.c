/* SPDX-License-Identifier: Apache-2.0
 *
 * The order of commands with a fake device: started commands wait in a list, and the test decides
 * when and in which order they end.
 */
#include <stdlib.h>
#include <string.h>

#include "scheduler/graph.h"
#include "transport/testing.h"

#define NODES 8192
static struct graph graph;
static struct graph_node nodes[NODES];
static int ended[NODES], nended;     /* in the order of completion */
static int running[NODES], nrunning; /* on the fake device */
static int position[NODES];	     /* in ended, or -1 */

static void reset(void)
{
	graph_exit(&graph);
	graph_init(&graph);
	memset(nodes, 0, sizeof(nodes));
	nended = nrunning = 0;
	for (int i = 0; i < NODES; i++)
		position[i] = -1;
}

static void start(struct graph_node *node)
{
	node->state = GRAPH_RUNNING;
	running[nrunning++] = (int)(node - nodes);
}

static void finish(int n, int status);

/* What became ready starts; what failed ends at once; what was held ends now. */
static void pump(void)
{
	struct graph_node *node;
	while ((node = graph_next(&graph))) {
		int n = (int)(node - nodes);
		if (node->state == GRAPH_HELD)
			finish(n, node->status);
		else if (node->failed)
			finish(n, -14);
		else
			start(node);
	}
}

static void finish(int n, int status)
{
	for (int i = 0; i < nrunning; i++) {
		if (running[i] == n)
			running[i] = running[--nrunning];
	}
	if (graph_finish(&graph, &nodes[n], status)) {
		position[n] = nended;
		ended[nended++] = n;
	}
	pump();
}

static bool is_running(int n)
{
	for (int i = 0; i < nrunning; i++) {
		if (running[i] == n)
			return true;
	}
	return false;
}

enum { ALL = 1, BARRIER = 2 };

/* Enters command n; waits ends with -1. */
static void add(int n, struct graph_queue *queue, int flags, const int *waits)
{
	graph_open(&graph, &nodes[n]);
	for (; waits && *waits >= 0; waits++)
		CHECK(!graph_wait(&graph, &nodes[n], &nodes[*waits]));
	if (queue)
		CHECK(!graph_enqueue(&graph, &nodes[n], queue, flags & ALL, flags & BARRIER));
	if (!graph_close(&nodes[n]))
		return;
	if (nodes[n].failed)
		finish(n, -14);
	else
		start(&nodes[n]);
}

#define WAITS(...) ((const int[]){__VA_ARGS__, -1})

static void test_in_order(void)
{
	struct graph_queue queue = {0};
	reset();
	for (int i = 0; i < 4; i++)
		add(i, &queue, 0, NULL);
	CHECK(nrunning == 1 && is_running(0));
	finish(0, -5); /* order edges do not spread failure */
	CHECK(nrunning == 1 && is_running(1) && !nodes[1].failed);
	finish(1, 0);
	finish(2, 0);
	finish(3, 0);
	CHECK(nended == 4 && nodes[3].status == 0 && !queue.first && !queue.last);
}

static void test_out_of_order(void)
{
	struct graph_queue queue = {.out_of_order = true};
	reset();
	add(0, &queue, 0, NULL);
	add(1, &queue, 0, NULL);
	add(2, &queue, 0, WAITS(1));
	CHECK(nrunning == 2);
	finish(1, 0);
	CHECK(is_running(2) && is_running(0));
	finish(2, 0);
	finish(0, 0);
	CHECK(nended == 3);
}

/* What became ready together begins by the queues' priorities, and then in its order. */
static void test_priority(void)
{
	struct graph_queue low = {.out_of_order = true, .priority = GRAPH_LOW},
			   medium = {.out_of_order = true, .priority = GRAPH_MEDIUM},
			   high = {.out_of_order = true, .priority = GRAPH_HIGH};
	static const int order[] = {4, 5, 2, 3, 6, 1};
	reset();
	add(0, NULL, 0, NULL);
	add(1, &low, 0, WAITS(0));
	add(2, &medium, 0, WAITS(0));
	add(3, NULL, 0, WAITS(0));
	add(4, &high, 0, WAITS(0));
	add(5, &high, 0, WAITS(0));
	add(6, &medium, 0, WAITS(0));
	CHECK(nrunning == 1);
	finish(0, 0);
	CHECK(nrunning == 6);
	for (int i = 0; i < 6; i++)
		CHECK(running[i] == order[i]);
	for (int i = 0; i < 6; i++)
		finish(order[i], 0);
}

static void test_barrier(void)
{
	struct graph_queue queue = {.out_of_order = true};
	reset();
	add(0, &queue, 0, NULL);
	add(1, &queue, 0, NULL);
	add(2, &queue, ALL | BARRIER, NULL);
	add(3, &queue, 0, NULL);
	add(4, &queue, BARRIER, WAITS(0)); /* a barrier with a wait list, behind the first */
	add(5, &queue, 0, NULL);
	CHECK(nrunning == 2);
	finish(1, 0);
	CHECK(!is_running(2));
	finish(0, 0);
	CHECK(nrunning == 1 && is_running(2));
	finish(2, 0);
	CHECK(nrunning == 2 && is_running(3) && is_running(4));
	finish(4, 0);
	CHECK(is_running(5));
	add(6, &queue, ALL, NULL); /* a marker: later commands do not wait for it */
	add(7, &queue, 0, NULL);
	CHECK(!is_running(6) && is_running(7));
	finish(3, 0);
	finish(5, 0);
	CHECK(is_running(6));
}

static void test_failure(void)
{
	struct graph_queue a = {0}, b = {0};
	reset();
	add(0, &a, 0, NULL);
	add(1, &b, 0, WAITS(0, 0));
	add(2, &b, 0, NULL);	   /* behind 1 by order only */
	add(3, NULL, 0, WAITS(1)); /* spreads further */
	finish(0, -5);
	CHECK(nodes[1].status == -14 && nodes[3].status == -14);
	CHECK(is_running(2) && !nodes[2].failed);
	/* 0 has ended: a wait list that names it later fails all the same. */
	add(4, NULL, 0, WAITS(0));
	CHECK(position[4] >= 0 && nodes[4].status == -14);
	/* A failed command still waits for the others: its end would show too early otherwise. */
	add(5, NULL, 0, NULL);
	add(6, NULL, 0, WAITS(4, 5));
	CHECK(position[6] < 0);
	finish(5, 0);
	CHECK(nodes[6].status == -14 && position[6] > position[5]);
}

/* Host commands and user events end from outside, in a state of their own. */
static void test_host_and_user(void)
{
	struct graph_queue queue = {0};
	reset();
	graph_open(&graph, &nodes[0]);
	CHECK(graph_close(&nodes[0]));
	nodes[0].state = GRAPH_HOST; /* a user event */
	add(1, &queue, 0, WAITS(0));
	add(2, &queue, 0, NULL);
	CHECK(nrunning == 0);
	finish(0, 0);
	CHECK(is_running(1));
	nodes[1].state = GRAPH_HOST; /* its turn was announced */
	finish(1, 0);
	CHECK(is_running(2));
	finish(2, 0);
	CHECK(ended[0] == 0 && ended[1] == 1 && ended[2] == 2);
}

static void test_reuse(void)
{
	struct graph_queue queue = {0};
	reset();
	for (int round = 0; round < 1000; round++) {
		add(0, &queue, 0, NULL);
		add(1, &queue, 0, WAITS(0));
		CHECK(nodes[1].wait_edges == 1 && nodes[1].pending == 1);
		finish(0, round % 3 ? 0 : -1);
		if (round % 3)
			finish(1, 0);
		CHECK(nodes[0].state == GRAPH_FREE && nodes[1].state == GRAPH_FREE);
		nended = 0;
	}
	CHECK(graph.nchunks == 1);
}

static void test_chain(void)
{
	struct graph_queue queue = {0};
	reset();
	add(0, &queue, 0, NULL);
	add(1, &queue, 0, NULL);
	CHECK(graph_chainable(&nodes[1]) == &nodes[0]);
	graph_chain(&nodes[1]);
	add(2, &queue, 0, NULL);
	CHECK(graph_chainable(&nodes[2]) == &nodes[1]);
	add(3, &queue, 0, WAITS(0)); /* would fail with 0 */
	CHECK(!graph_chainable(&nodes[3]));
	/* The second is heard of first: it is held until the first has ended. */
	finish(1, 0);
	CHECK(nended == 0 && nodes[1].state == GRAPH_HELD);
	finish(0, 0);
	CHECK(nended == 2 && ended[0] == 0 && ended[1] == 1 && is_running(2));
}

/* 8000 in flight, in-order and out-of-order queues, random waits, ends in random order: whatever a
 * command depends on has ended before it. */
static void test_many(void)
{
	enum { N = 8000, Q = 8 };
	static struct graph_queue queues[Q];
	static int waits[N][3], queue_of[N], before[N];
	int last[Q];
	uint64_t seed = 7;
	reset();
	memset(queues, 0, sizeof(queues));
	for (int q = 0; q < Q; q++) {
		queues[q].out_of_order = q % 2;
		last[q] = -1;
	}
	for (int n = 0; n < N; n++) {
		int q = queue_of[n] = (int)(test_random(&seed) % Q);
		for (int w = 0; w < 2; w++)
			waits[n][w] = n ? (int)(test_random(&seed) % (unsigned)n) : -1;
		waits[n][2] = -1;
		before[n] = last[q];
		last[q] = n;
		add(n, &queues[q], 0, waits[n]);
	}
	while (nrunning)
		finish(running[test_random(&seed) % (unsigned)nrunning],
		       test_random(&seed) % 1000 ? 0 : -5);
	CHECK(nended == N);
	for (int n = 0; n < N; n++) {
		bool failed = false;
		for (int w = 0; w < 2 && waits[n][w] >= 0; w++) {
			CHECK(position[waits[n][w]] < position[n]);
			failed |= nodes[waits[n][w]].status < 0;
		}
		CHECK((nodes[n].status == -14) == failed);
		if (queue_of[n] % 2 == 0 && before[n] >= 0)
			CHECK(position[before[n]] < position[n]);
	}
}

int main(void)
{
	test_in_order();
	test_out_of_order();
	test_priority();
	test_barrier();
	test_failure();
	test_host_and_user();
	test_reuse();
	test_chain();
	test_many();
	graph_exit(&graph);
	return 0;
}
