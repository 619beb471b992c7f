/* SPDX-License-Identifier: Apache-2.0
 *
 * Learned times: kept by program and kernel, written, read back, and whatever else may come to be
 * read.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/policy_costs.h"
#include "transport/testing.h"

static const char *const names[] = {"cpu-basic", "cpu-pthread", "sim0"};
static char blob[POLICY_COSTS_BLOB], why[POLICY_WHY];

static struct policy_costs *some(void)
{
	struct policy_costs *costs = policy_costs_new();
	struct policy_cost *saxpy = policy_costs_get(costs, 0xE123456789ABCDEF, "saxpy");
	struct policy_cost *gemm = policy_costs_get(costs, 0x12, "gemm");

	saxpy->ns[10][0] = 5120;
	saxpy->ns[10][2] = 123456.7f;
	saxpy->ns[47][1] = 9e14f;
	gemm->ns[0][1] = 0.5f;
	policy_costs_put(costs, saxpy);
	policy_costs_put(costs, gemm);
	policy_costs_note(costs, &(struct policy_state){.run_ns = 1000000, .explored_ns = 20000});
	return costs;
}

static void test_kept(void)
{
	struct policy_costs *costs = policy_costs_new();
	struct policy_cost *a = policy_costs_get(costs, 1, "k"),
			   *b = policy_costs_get(costs, 2, "k");
	struct policy_cost *c = policy_costs_get(costs, 1, "kk");

	CHECK(a && b && c && a != b && a != c);
	CHECK(policy_costs_get(costs, 1, "k") == a);
	a->ns[5][1] = 7;
	policy_costs_put(costs, a);
	policy_costs_put(costs, a);
	CHECK(policy_costs_get(costs, 1, "k") == a && a->ns[5][1] == 7);
	/* What is in use stays where it is, however many come; what is not goes, oldest first. */
	policy_costs_put(costs, b);
	b = NULL;
	for (unsigned i = 0; i < 3 * POLICY_COSTS_KERNELS; i++) {
		char name[16];
		snprintf(name, sizeof(name), "n%u", i);
		struct policy_cost *cost = policy_costs_get(costs, 3, name);
		cost->ns[0][0] = 1 + (float)i;
		policy_costs_put(costs, cost);
	}
	CHECK(policy_costs_get(costs, 1, "k") == a && a->ns[5][1] == 7);
	CHECK(policy_costs_get(costs, 3, "n0")->ns[0][0] == 0);
	CHECK(policy_costs_get(costs, 3, "n3071")->ns[0][0] == 3072);
	policy_costs_forget_device(costs, 1);
	CHECK(a->ns[5][1] == 0);
	policy_costs_free(costs);
	CHECK(policy_program_key("abc", 3) != policy_program_key("abd", 3));
	CHECK(policy_program_key("abc", 3) != policy_program_key("abc\0", 4));
	CHECK(policy_program_key("abcdefghi", 9) == policy_program_key("abcdefghi", 9));
}

static void test_round_trip(void)
{
	static const char *const others[] = {"sim0", "new", "cpu-basic"};
	struct policy_costs *costs = some(), *again = policy_costs_new();
	static char second[POLICY_COSTS_BLOB];

	size_t n = policy_costs_save(costs, names, 3, blob, sizeof(blob));
	CHECK(n > 0 && n < 300);
	CHECK(policy_costs_load(again, names, 3, blob, n, why) == 0);
	CHECK(policy_costs_save(again, names, 3, second, sizeof(second)) == n);
	CHECK(memcmp(blob, second, n) == 0);
	struct policy_cost *cost = policy_costs_get(again, 0xE123456789ABCDEF, "saxpy");
	CHECK(cost->ns[10][0] == 5120 && cost->ns[10][2] == 123400);
	CHECK(policy_costs_get(again, 0x12, "gemm")->ns[0][1] == 1);
	struct policy_state state = {.run_ns = 5, .explored_ns = 1};
	policy_costs_credit(again, &state);
	CHECK(state.run_ns == 1000005 && state.explored_ns == 20001);
	state.run_ns = 6000000000000; /* long ago counts in proportion */
	state.explored_ns = 60000000000;
	policy_costs_note(again, &state);
	state = (struct policy_state){0};
	policy_costs_credit(again, &state);
	CHECK(state.run_ns == 600000000000 && state.explored_ns == 6000000000);
	policy_costs_free(again);
	/* Devices are found by their names. */
	again = policy_costs_new();
	CHECK(policy_costs_load(again, others, 3, blob, n, why) == 0);
	cost = policy_costs_get(again, 0xE123456789ABCDEF, "saxpy");
	CHECK(cost->ns[10][2] == 5120 && cost->ns[10][0] == 123400 && cost->ns[47][1] == 0);
	/* What was measured here counts more. */
	cost->ns[10][2] = 99;
	CHECK(policy_costs_load(again, others, 3, blob, n, why) == 0);
	CHECK(cost->ns[10][2] == 99);
	policy_costs_free(again);
	policy_costs_free(costs);
}

static void test_little_room(void)
{
	struct policy_costs *costs = some(), *empty = policy_costs_new();
	size_t all = policy_costs_save(costs, names, 3, blob, sizeof(blob));

	CHECK(policy_costs_save(empty, names, 3, blob, sizeof(blob)) == 0);
	for (size_t room = 0; room <= all + 20; room++) {
		char *exact = malloc(room + 1);
		struct policy_costs *again = policy_costs_new();
		size_t n = policy_costs_save(costs, names, 3, exact, room);
		CHECK(n <= room);
		CHECK(!n || policy_costs_load(again, names, 3, exact, n, why) == 0);
		policy_costs_free(again);
		free(exact);
	}
	/* Names that cannot be written are left out; device names must be good. */
	policy_costs_get(costs, 5, "two words")->ns[1][1] = 4;
	CHECK(policy_costs_save(costs, names, 3, blob, sizeof(blob)) == all);
	CHECK(policy_costs_save(costs, (const char *[]){"a b"}, 1, blob, sizeof(blob)) == 0);
	policy_costs_free(costs);
	policy_costs_free(empty);
}

static void test_full(void)
{
	struct policy_costs *costs = policy_costs_new(), *again = policy_costs_new();

	for (unsigned i = 0; i < POLICY_COSTS_KERNELS; i++) {
		char name[16];
		snprintf(name, sizeof(name), "n%u", i);
		struct policy_cost *cost = policy_costs_get(costs, 3, name);
		for (unsigned b = 0; b < POLICY_BUCKETS; b++)
			cost->ns[b][0] = cost->ns[b][1] = 123456;
		policy_costs_put(costs, cost);
	}
	size_t n = policy_costs_save(costs, names, 3, blob, sizeof(blob));
	CHECK(n > sizeof(blob) - 2000 && n <= sizeof(blob));
	CHECK(policy_costs_load(again, names, 3, blob, n, why) == 0);
	CHECK(policy_costs_get(again, 3, "n1023")->ns[1][1] > 0); /* the latest are there */
	CHECK(policy_costs_get(again, 3, "n0")->ns[1][1] == 0);
	policy_costs_free(costs);
	policy_costs_free(again);
}

static int load(const char *text, size_t size)
{
	struct policy_costs *costs = policy_costs_new();
	char *exact = malloc(size + 1); /* so that reading behind it is seen */

	memcpy(exact, text, size);
	exact = realloc(exact, size ? size : 1);
	int rc = policy_costs_load(costs, names, 3, exact, size, why);
	CHECK(rc == 0 || (rc == -EINVAL && why[0]));
	if (rc) {
		static char out[4096];
		CHECK(policy_costs_save(costs, names, 3, out, sizeof(out)) ==
		      0); /* nothing taken */
	}
	free(exact);
	policy_costs_free(costs);
	return rc;
}

#define HEAD "arax-costs 1\ndevices a b\naccount 0 0\n"
#define KEY "0123456789abcdef"
static void test_bad(void)
{
	static const char *const bad[] = {
	    "",
	    "arax-costs 2\ndevices a b\nend 0\n",
	    HEAD "end 1\n",
	    "arax-costs 1\ndevices a b\nend 0\n",
	    "arax-costs 1\ndevices a b\naccount 1\nend 0\n",
	    "arax-costs 1\ndevices a b\naccount 1 -1\nend 0\n",
	    "arax-costs 1\ndevices a b\naccount 600000000001 0\nend 0\n",
	    HEAD "end 0",
	    HEAD "end 0\nmore",
	    HEAD "end 00\n",
	    HEAD KEY " k 1:1=5\nend 2\n",
	    HEAD KEY " k 1:1=5\n",
	    HEAD KEY " k\nend 1\n",
	    HEAD KEY " k 1:2=5\nend 1\n",
	    HEAD KEY " k 48:1=5\nend 1\n",
	    HEAD KEY " k 1:1=0\nend 1\n",
	    HEAD KEY " k 1:1=05\nend 1\n",
	    HEAD KEY " k 1:1=-5\nend 1\n",
	    HEAD KEY " k 1:1=5e3\nend 1\n",
	    HEAD KEY " k 1:1=1000000000000001\nend 1\n",
	    HEAD KEY " k 1:1=99999999999999999999999\nend 1\n",
	    HEAD KEY " k 1:1=5 1:0=5\nend 1\n",
	    HEAD KEY " k 1:1=5 1:1=5\nend 1\n",
	    HEAD KEY "  1:1=5\nend 1\n",
	    HEAD "0123456789ABCDEF k 1:1=5\nend 1\n",
	    HEAD "123 k 1:1=5\nend 1\n",
	    "arax-costs 1\ndevices a  b\nend 0\n",
	    "arax-costs 1\ndevices 1 2 3 4 5 6 7 8 9 a b c d e f g h\nend 0\n",
	    "arax-costs 1\ndevices 12345678901234567890123456789012\nend 0\n",
	};

	CHECK(load(HEAD "end 0\n", strlen(HEAD "end 0\n")) == 0);
	CHECK(load(HEAD KEY " k 1:1=5\nend 1\n", strlen(HEAD KEY " k 1:1=5\nend 1\n")) == 0);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(load(bad[i], strlen(bad[i])) == -EINVAL);
	memset(blob, 'x', sizeof(blob));
	CHECK(load(blob, sizeof(blob)) == -EINVAL);
}

/* Cut off anywhere, or with one byte changed: refused or good, never anything else. */
static void test_mutated(void)
{
	struct policy_costs *costs = some();
	size_t n = policy_costs_save(costs, names, 3, blob, sizeof(blob));
	uint64_t seed = 2;

	for (size_t cut = 0; cut < n; cut++)
		CHECK(load(blob, cut) == -EINVAL);
	for (int i = 0; i < 20000; i++) {
		size_t at = test_random(&seed) % n;
		char was = blob[at];
		blob[at] = (char)(test_random(&seed) % 3 ? " \n0:=e1n"[test_random(&seed) % 8]
							 : (int)(test_random(&seed) & 255));
		load(blob, n);
		blob[at] = was;
	}
	policy_costs_free(costs);
}

int main(void)
{
	test_kept();
	test_round_trip();
	test_little_room();
	test_full();
	test_bad();
	test_mutated();
	return 0;
}
