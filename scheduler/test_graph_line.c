/* SPDX-License-Identifier: Apache-2.0
 *
 * In-order queues whose order is as-if, against a reference that knows nothing of edges: from the
 * rules alone (graph.h) it says after every step which commands may have begun, which have ended
 * and which have finished, and the graph must say exactly the same. So nothing begins too early,
 * nothing that could begin waits, and everything finishes in its queue's order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/graph.h"
#include "transport/testing.h"
#include "transport/wake.h"

enum { QUEUES = 5, WINDOW = 48, WAITS = 3, RANGES = 3, MEMORY = 64, STREAMS = 2 };
enum sort { USER, ANY, FIRST, POINT, LOOSE, BARRIER };

struct ref {
	struct graph_node node; /* first */
	unsigned serial;	/* order of entry; 0: free */
	int queue;		/* or -1 */
	enum sort sort;
	bool strict; /* entered while the order of its queue was not as-if */
	bool lined, chained, running, told, ended, finished;
	int lane, status;
	struct ref *waits[WAITS]; /* unfinished */
	bool wait_failed;	  /* one that has finished */
	struct graph_access accesses[RANGES];
	int naccesses;
};

static struct graph graph;
static struct graph_queue queues[QUEUES]; /* the last one is out of order */
static struct ref refs[WINDOW];
static struct ref *entered[WINDOW]; /* unfinished, in order of entry */
static int nentered;
static unsigned serials;
static uint64_t seed;
static unsigned long overlaps, chains, helds; /* what the test has seen */

static unsigned below(unsigned n)
{
	return (unsigned)(test_random(&seed) % n);
}

/* ---- the reference -------------------------------------------------------------------------- */

static bool conflict(const struct ref *a, const struct ref *b)
{
	for (int i = 0; i < a->naccesses; i++) {
		for (int j = 0; j < b->naccesses; j++) {
			const struct graph_access *x = &a->accesses[i], *y = &b->accesses[j];
			if (x->begin < y->end && y->begin < x->end && (x->write || y->write))
				return true;
		}
	}
	return false;
}

/* Has what it waits for come? Within an as-if queue the end is enough. */
static bool waits_over(const struct ref *ref, bool others_only)
{
	for (int i = 0; i < WAITS; i++) {
		const struct ref *on = ref->waits[i];
		if (!on)
			continue;
		bool same = ref->lined && on->lined && on->queue == ref->queue;
		if (same ? !others_only && !on->ended : true)
			return false;
	}
	return true;
}

static bool before_allows(const struct ref *ref, const struct ref *before)
{
	if (before->finished || before->queue != ref->queue)
		return true;
	if (ref->sort == LOOSE)
		return before->sort != BARRIER;
	if (ref->sort == BARRIER || ref->strict || ref->sort == FIRST || ref->sort == POINT)
		return false;
	if (before->strict || !waits_over(before, true))
		return false;
	return before->ended || (before->sort != POINT && !conflict(before, ref));
}

static bool may_begin(const struct ref *ref)
{
	if (!waits_over(ref, false))
		return false;
	for (int i = 0; ref->queue >= 0 && entered[i] != ref; i++) {
		if (!before_allows(ref, entered[i]))
			return false;
	}
	return true;
}

static bool fails(const struct ref *ref)
{
	if (ref->wait_failed)
		return true;
	for (int i = 0; i < WAITS; i++) {
		const struct ref *on = ref->waits[i];
		if (on && on->ended && on->status < 0)
			return true;
	}
	return false;
}

static bool may_finish(const struct ref *ref)
{
	for (int i = 0; ref->lined && entered[i] != ref; i++) {
		if (entered[i]->queue == ref->queue && !entered[i]->finished)
			return false;
	}
	return ref->ended;
}

static void finish_ref(struct ref *ref)
{
	ref->finished = true;
	for (int i = 0; i < nentered; i++) {
		for (int w = 0; w < WAITS; w++) {
			if (entered[i]->waits[w] != ref)
				continue;
			entered[i]->waits[w] = NULL;
			entered[i]->wait_failed |= ref->status < 0;
		}
	}
}

/* Everything that follows from what devices and users have told. */
static void conclude(void)
{
	for (bool changed = true; changed;) {
		changed = false;
		for (int i = 0; i < nentered; i++) {
			struct ref *ref = entered[i];
			bool failed = ref->sort != USER && !ref->chained && !ref->running &&
				      !ref->told && !ref->ended;
			if (failed && may_begin(ref) && fails(ref)) {
				ref->status = -14;
				ref->ended = changed = true;
			}
			if (ref->told && !ref->ended && may_begin(ref))
				ref->ended = changed = true;
			if (!ref->finished && may_finish(ref)) {
				finish_ref(ref);
				changed = true;
			}
		}
	}
}

static void compare(void)
{
	conclude();
	int kept = 0;
	for (int i = 0; i < nentered; i++) {
		struct ref *ref = entered[i];
		bool begun = ref->chained || ref->running || ref->told || ref->ended;
		CHECK((ref->node.state == GRAPH_FREE) == ref->finished);
		if (ref->sort != USER)
			CHECK(begun == (may_begin(ref) || ref->chained));
		if (ref->finished)
			CHECK(ref->node.status == ref->status);
		helds += ref->ended && !ref->finished;
	}
	for (int i = 0; i < nentered; i++) {
		if (!entered[i]->finished)
			entered[kept++] = entered[i];
	}
	nentered = kept;
}

/* ---- the graph's side ----------------------------------------------------------------------- */

static void tell(struct ref *ref, int status);

static void start(struct ref *ref)
{
	conclude();
	CHECK(ref->node.failed == fails(ref));
	if (ref->node.failed) {
		tell(ref, -14);
		return;
	}
	ref->running = true;
	ref->node.state = GRAPH_RUNNING;
	ref->node.lane = (uint8_t)ref->lane;
	for (int i = 0; i < nentered; i++)
		overlaps += entered[i] != ref && entered[i]->running &&
			    entered[i]->queue == ref->queue && ref->lined;
}

static void pump(void)
{
	struct graph_node *node;
	while ((node = graph_next(&graph))) {
		struct ref *ref = (struct ref *)node;
		if (node->state == GRAPH_HELD)
			tell(ref, ref->node.status);
		else
			start(ref);
	}
}

static void tell(struct ref *ref, int status)
{
	if (graph_end(&graph, &ref->node, status))
		CHECK(graph_finish(&graph, &ref->node, status));
}

static void choose_waits(struct ref *ref)
{
	int n = below(3) ? 0 : 1 + (int)below(WAITS);
	ref->wait_failed = false;
	memset(ref->waits, 0, sizeof(ref->waits));
	for (int i = 0; i < n; i++) {
		struct ref *on = &refs[below(WINDOW)];
		if (on == ref || !on->serial)
			continue;
		if (on->finished)
			ref->wait_failed |= on->status < 0;
		ref->waits[i] = on->finished ? NULL : on;
		CHECK(!graph_wait(&graph, &ref->node, &on->node));
	}
}

static void choose_accesses(struct ref *ref)
{
	ref->naccesses = 0;
	if (ref->sort != ANY && ref->sort != FIRST)
		return;
	ref->naccesses = (int)below(RANGES + 1);
	for (int i = 0; i < ref->naccesses; i++) {
		/* Often the same few objects, sometimes any part of memory. */
		unsigned begin = below(3) ? below(8) * 8 : below(MEMORY);
		unsigned size = below(3) ? 8 : 1 + below(MEMORY / 2);
		ref->accesses[i] =
		    (struct graph_access){.begin = begin, .end = begin + size, .write = below(2)};
	}
}

static void choose_sort(struct ref *ref)
{
	unsigned dice = below(40);
	ref->queue = (int)below(QUEUES);
	if (queues[ref->queue].out_of_order)
		ref->sort = dice < 8 ? BARRIER : LOOSE;
	else
		ref->sort = dice == 0 ? POINT : dice < 5 ? FIRST : ANY;
	if (dice == 39) {
		ref->sort = USER;
		ref->queue = -1;
	}
}

static const enum graph_place places[] = {
    [ANY] = GRAPH_PLACE_ANY, [FIRST] = GRAPH_PLACE_FIRST, [POINT] = GRAPH_PLACE_POINT};

static void place_in_queue(struct ref *ref)
{
	struct graph_queue *queue = &queues[ref->queue];
	if (!ref->lined) {
		bool all = ref->sort == BARRIER;
		CHECK(!graph_enqueue(&graph, &ref->node, queue, all, all));
		return;
	}
	bool mixed = queue->last && !queue->last->line;
	CHECK(!graph_enqueue_line(&graph, &ref->node, ref->accesses, (uint32_t)ref->naccesses,
				  places[ref->sort]));
	if (!graph.as_if || mixed)
		ref->sort = POINT;
}

/* The device's own order does for what the graph would have to wait. */
static void try_chain(struct ref *ref)
{
	struct graph_node *before = graph_chainable(&ref->node);
	if (!before || below(2))
		return;
	CHECK(before->state == GRAPH_RUNNING && before->queue == ref->node.queue);
	CHECK(!ref->lined || before->lane);
	graph_chain(&ref->node);
	ref->chained = ref->running = true;
	ref->lane = ref->node.lane = before->lane;
	for (int i = 0; ref->lined && entered[i] != ref; i++) {
		const struct ref *on = entered[i];
		if (on->queue == ref->queue && !on->ended && conflict(on, ref))
			CHECK(on->node.lane == ref->lane && (on->running || on->told));
	}
	chains++;
}

static void enter(void)
{
	struct ref *ref = &refs[below(WINDOW)];
	if (ref->serial && !ref->finished)
		return;
	graph_open(&graph, &ref->node);
	ref->serial = ++serials;
	choose_sort(ref);
	ref->lined = ref->queue >= 0 && graph_lines(&graph, &queues[ref->queue]);
	ref->strict = ref->queue >= 0 && !ref->lined && !queues[ref->queue].out_of_order;
	ref->chained = ref->running = ref->told = ref->ended = ref->finished = false;
	ref->status = 0;
	ref->lane = (int)below(STREAMS + 1);
	if (ref->lined)
		graph_line(&ref->node, &queues[ref->queue]);
	memset(ref->waits, 0, sizeof(ref->waits));
	ref->wait_failed = false;
	choose_accesses(ref);
	if (ref->sort != USER) {
		choose_waits(ref);
		place_in_queue(ref);
	}
	entered[nentered++] = ref;
	if (!graph_close(&ref->node))
		try_chain(ref);
	else if (ref->sort == USER)
		ref->node.state = GRAPH_HOST;
	else
		start(ref);
}

static void end_one(void)
{
	struct ref *ref = nentered ? entered[below((unsigned)nentered)] : NULL;
	if (!ref || ref->told || (ref->sort == USER ? false : !ref->running))
		return;
	ref->status = below(20) ? 0 : -5;
	ref->running = false;
	ref->told = true;
	tell(ref, ref->status);
}

static void finish_all(void)
{
	while (nentered) {
		end_one();
		pump();
		compare();
	}
	for (int q = 0; q < QUEUES; q++)
		CHECK(!queues[q].first && !queues[q].lined && !queues[q].serial &&
		      !queues[q].gate && !queues[q].ranges.root);
}

static void test_random_order(uint64_t start_seed, bool flips)
{
	seed = start_seed;
	graph_exit(&graph);
	graph_init(&graph);
	graph.as_if = true;
	memset(queues, 0, sizeof(queues));
	memset(refs, 0, sizeof(refs));
	queues[QUEUES - 1].out_of_order = true;
	for (int step = 0; step < 4000; step++) {
		if (flips && below(100) == 0)
			graph.as_if = !graph.as_if;
		if (below(2))
			enter();
		else
			end_one();
		pump();
		compare();
		if (below(500) == 0)
			finish_all();
	}
	finish_all();
}

/* ---- by hand -------------------------------------------------------------------------------- */

enum { NODES = 2048 };
static struct graph_node nodes[NODES];

static void reset(void)
{
	graph_exit(&graph);
	graph_init(&graph);
	graph.as_if = true;
	memset(nodes, 0, sizeof(nodes));
	memset(queues, 0, sizeof(queues));
}

/* Return: may it begin? */
static bool add(int n, uint64_t begin, uint64_t end, bool write, enum graph_place place)
{
	const struct graph_access access = {.begin = begin, .end = end, .write = write};
	graph_open(&graph, &nodes[n]);
	graph_line(&nodes[n], &queues[0]);
	CHECK(!graph_reserve(&graph, GRAPH_CONFLICTS + 3));
	CHECK(!graph_enqueue_line(&graph, &nodes[n], &access, 1, place));
	if (!graph_close(&nodes[n]))
		return false;
	nodes[n].state = GRAPH_RUNNING;
	return true;
}

/* Return: has it finished? */
static bool end(int n)
{
	return graph_end(&graph, &nodes[n], 0) && graph_finish(&graph, &nodes[n], 0);
}

static struct graph_node *next(void)
{
	struct graph_node *node = graph_next(&graph);
	if (node && node->state == GRAPH_READY)
		node->state = GRAPH_RUNNING;
	return node;
}

static void test_by_hand(void)
{
	reset();
	CHECK(add(0, 0, 8, true, GRAPH_PLACE_ANY));
	CHECK(add(1, 8, 16, true, GRAPH_PLACE_ANY));   /* elsewhere */
	CHECK(!add(2, 4, 12, false, GRAPH_PLACE_ANY)); /* reads of both */
	CHECK(!add(3, 0, 4, false, GRAPH_PLACE_ANY));
	CHECK(!add(4, 0, 4, true, GRAPH_PLACE_ANY)); /* write behind the read */
	CHECK(!end(1) && nodes[1].state == GRAPH_HELD && !next());
	CHECK(end(0));
	CHECK(next() == &nodes[2] && next() == &nodes[3] && next() == &nodes[1] && !next());
	CHECK(end(1));
	CHECK(!end(3) && next() == &nodes[4] && !end(4) && !next());
	CHECK(end(2) && next() == &nodes[3]);
	CHECK(end(3) && next() == &nodes[4] && end(4) && !next());
}

static void test_points(void)
{
	reset();
	CHECK(add(0, 0, 8, true, GRAPH_PLACE_ANY) && add(1, 8, 16, true, GRAPH_PLACE_ANY));
	CHECK(!add(2, 0, 0, false, GRAPH_PLACE_POINT));
	CHECK(!add(3, 32, 40, true, GRAPH_PLACE_ANY));
	CHECK(!end(1) && end(0) && next() == &nodes[1] && end(1));
	CHECK(next() == &nodes[2] && !next() && end(2) && next() == &nodes[3]);
	CHECK(!add(4, 48, 56, true, GRAPH_PLACE_FIRST)); /* the client's turn */
	CHECK(add(5, 56, 64, true, GRAPH_PLACE_ANY) && !add(6, 50, 51, false, GRAPH_PLACE_ANY));
	CHECK(end(3) && next() == &nodes[4] && !next());
	CHECK(end(4) && next() == &nodes[6] && !end(6));
	CHECK(end(5) && next() == &nodes[6] && end(6) && !next());
}

/* An event from outside delays everything behind the command that waits for it. */
static void test_gates(void)
{
	reset();
	graph_open(&graph, &nodes[0]);
	CHECK(graph_close(&nodes[0]));
	nodes[0].state = GRAPH_HOST; /* a user event */
	for (int n = 1; n <= 3; n++) {
		const struct graph_access access = {
		    .begin = (unsigned)n * 8, .end = (unsigned)n * 8 + 8, .write = true};
		graph_open(&graph, &nodes[n]);
		graph_line(&nodes[n], &queues[0]);
		if (n < 3)
			CHECK(!graph_wait(&graph, &nodes[n], &nodes[0]));
		CHECK(!graph_enqueue_line(&graph, &nodes[n], &access, 1, GRAPH_PLACE_ANY));
		CHECK(!graph_close(&nodes[n]));
	}
	CHECK(graph_finish(&graph, &nodes[0], -5));
	/* Only who named it fails. */
	for (int n = 1; n <= 3; n++)
		CHECK(next() == &nodes[n] && nodes[n].failed == (n < 3));
	CHECK(end(1) && end(2) && end(3) && !next());
}

/* Too many readers: who writes behind them becomes an ordering point, and nothing is lost. */
static void test_limit(void)
{
	reset();
	for (int n = 0; n <= GRAPH_CONFLICTS; n++)
		CHECK(add(n, 0, 8, false, GRAPH_PLACE_ANY));
	int write = GRAPH_CONFLICTS + 1;
	CHECK(!add(write, 4, 12, true, GRAPH_PLACE_ANY) && queues[0].serial == &nodes[write]);
	CHECK(!add(write + 1, 16, 24, true, GRAPH_PLACE_ANY));
	for (int n = 0; n <= GRAPH_CONFLICTS; n++)
		CHECK(!next() && end(n));
	CHECK(next() == &nodes[write] && !next() && end(write));
	CHECK(next() == &nodes[write + 1] && end(write + 1));
}

/* ---- ranges alone --------------------------------------------------------------------------- */

enum { USES = 24, BYTES = 32 };
static struct range_use uses[USES];
static struct {
	uint64_t begin, end; /* as it was added */
	unsigned added;	     /* when; 0: it is not there */
} facts[USES];

static bool is_among(const struct range_use *use, struct range_use **found, unsigned n)
{
	while (n)
		if (found[--n] == use)
			return true;
	return false;
}

/* Whoever was the last to write a byte, and whoever has read it since. */
static void check_byte(uint64_t byte, const unsigned last_write[BYTES], bool write,
		       struct range_use **found, unsigned n)
{
	for (unsigned u = 0; u < USES; u++) {
		if (!facts[u].added || byte < facts[u].begin || byte >= facts[u].end)
			continue;
		if (uses[u].write ? facts[u].added == last_write[byte]
				  : write && facts[u].added > last_write[byte])
			CHECK(is_among(&uses[u], found, n));
	}
}

static void test_ranges(uint64_t start_seed)
{
	struct range_use *found[USES];
	unsigned last_write[BYTES] = {0};
	struct ranges ranges;
	seed = start_seed;
	ranges_init(&ranges);
	memset(facts, 0, sizeof(facts));
	for (unsigned step = 1; step < 4000; step++) {
		unsigned u = below(USES);
		if (facts[u].added) {
			ranges_remove(&ranges, &uses[u]);
			facts[u].added = 0;
			continue;
		}
		uint64_t begin = below(BYTES), end = begin + 1 + below(BYTES - (unsigned)begin);
		uses[u] = (struct range_use){.begin = begin, .end = end, .write = below(2)};
		unsigned n = ranges_find(&ranges, begin, end, uses[u].write, found, USES);
		CHECK(n <= USES);
		for (unsigned i = 0; i < n; i++) {
			const struct range_use *other = found[i];
			CHECK(facts[other - uses].added && (other->write || uses[u].write));
			CHECK(facts[other - uses].begin < end && facts[other - uses].end > begin);
		}
		for (uint64_t byte = begin; byte < end; byte++)
			check_byte(byte, last_write, uses[u].write, found, n);
		CHECK(n < 2 ||
		      ranges_find(&ranges, begin, end, uses[u].write, found + 1, n - 1) == n);
		n = ranges_find(&ranges, begin, end, uses[u].write, found, USES);
		ranges_add(&ranges, &uses[u], found, n);
		facts[u].begin = begin;
		facts[u].end = end;
		facts[u].added = step;
		for (uint64_t byte = begin; byte < end && uses[u].write; byte++)
			last_write[byte] = step;
		if (below(500) == 0) {
			ranges_forget(&ranges);
			memset(facts, 0, sizeof(facts));
			memset(last_write, 0, sizeof(last_write));
		}
	}
}

/* ---- what it costs -------------------------------------------------------------------------- */

/* Entering and ending a command while so many are in flight in one queue, three ranges each. */
static double cost(unsigned objects, bool parts)
{
	enum { FLIGHT = 1000, ROUNDS = 20000 };
	struct graph_access accesses[3];
	double best = 1e9;
	reset();
	seed = 5;
	for (unsigned i = 0; i < ROUNDS + FLIGHT; i += 100) {
		uint64_t start_ns = arax_now_ns();
		for (unsigned n = i; n < i + 100; n++) {
			struct graph_node *node = &nodes[n % FLIGHT];
			if (n >= FLIGHT)
				CHECK(node == queues[0].first && graph_finish(&graph, node, 0));
			while (next())
				;
			for (int a = 0; a < 3; a++) {
				uint64_t begin = (uint64_t)below(objects) << 20;
				uint64_t size = parts ? (1 + below(4)) << 18 : 1 << 20;
				accesses[a] = (struct graph_access){
				    .begin = begin, .end = begin + size, .write = a == 2};
			}
			graph_open(&graph, node);
			graph_line(node, &queues[0]);
			CHECK(!graph_reserve(&graph, GRAPH_CONFLICTS + 3));
			CHECK(!graph_enqueue_line(&graph, node, accesses, 3, GRAPH_PLACE_ANY));
			if (graph_close(node))
				node->state = GRAPH_RUNNING;
		}
		double ns = (double)(arax_now_ns() - start_ns) / 100;
		if (i >= FLIGHT && ns < best)
			best = ns;
	}
	while (queues[0].first) {
		CHECK(graph_finish(&graph, queues[0].first, 0));
		while (next())
			;
	}
	return best;
}

static void test_cost(void)
{
	static const unsigned objects[] = {1, 10, 100, 1000, 4000};
	for (unsigned i = 0; i < sizeof(objects) / sizeof(objects[0]); i++)
		printf("1000 in flight, three of %u objects each: %.0f ns a command, of parts of "
		       "them %.0f ns\n",
		       objects[i], cost(objects[i], false), cost(objects[i], true));
}

int main(void)
{
	test_by_hand();
	test_points();
	test_gates();
	test_limit();
	for (uint64_t s = 1; s <= 50; s++)
		test_ranges(s);
	for (uint64_t s = 1; s <= 20; s++)
		test_random_order(s, s % 4 == 0);
	printf("%lu commands of one queue side by side, %lu chained, %lu steps held\n", overlaps,
	       chains, helds);
	CHECK(overlaps > 1000 && chains > 100 && helds > 1000);
	test_cost();
	graph_exit(&graph);
	return 0;
}
