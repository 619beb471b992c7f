/* SPDX-License-Identifier: Apache-2.0
 *
 * The policies for several devices, as functions of what they are told, and as a small machine's
 * placer: a queue of launches, devices that execute one at a time, no clock but the test's.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "scheduler/policy.h"
#include "transport/testing.h"

#define N 4
static struct policy_device devices[POLICY_DEVICES];
static struct policy_cost cost, other_cost;
static struct policy_state state;
static uint64_t missing[POLICY_DEVICES];
static struct policy_launch launch;

static void fresh(void)
{
	memset(&state, 0, sizeof(state));
	memset(&cost, 0, sizeof(cost));
	memset(&other_cost, 0, sizeof(other_cost));
	memset(missing, 0, sizeof(missing));
	memset(devices, 0, sizeof(devices));
	for (unsigned i = 0; i < N; i++) {
		devices[i].discrete = true;
		devices[i].parallel = 1;
		snprintf(devices[i].name, sizeof(devices[i].name), "sim%u", i);
	}
	launch = (struct policy_launch){.cost = &cost,
					.items = 1 << 20,
					.candidates = (1 << N) - 1,
					.devices = devices,
					.kernel = "k"};
}

static void know(unsigned device, uint64_t ns)
{
	for (int i = 0; i < 8; i++)
		policy_learn(&state, &launch, device, ns);
}

static void test_least_loaded(void)
{
	fresh();
	for (unsigned i = 0; i < 2 * N; i++) { /* nothing known, nothing queued: in turn */
		unsigned device = policy_least_loaded.pick(&state, &launch);
		CHECK(device == i % N);
	}
	for (unsigned i = 0; i < N; i++)
		policy_began(&devices[i], 1000 * (N - i), 0);
	CHECK(policy_least_loaded.pick(&state, &launch) == N - 1);
	devices[N - 1].depth = 1; /* as much as its lease allows */
	CHECK(policy_least_loaded.pick(&state, &launch) == N - 2);
	for (unsigned i = 0; i < N; i++)
		devices[i].depth = 1;
	CHECK(policy_least_loaded.pick(&state, &launch) == POLICY_WAIT);
	/* A device that goes on at half the pace takes twice as long. */
	fresh();
	launch.candidates = 3;
	policy_began(&devices[0], 1000, 0);
	devices[0].pace = 2;
	policy_began(&devices[1], 1500, 0);
	CHECK(policy_least_loaded.pick(&state, &launch) == 1);
	devices[0].pace = 1;
	CHECK(policy_least_loaded.pick(&state, &launch) == 0);
}

/* Three others on the device, then none; then four launches at a time. */
static void test_pace(void)
{
	uint64_t now = 1000;

	fresh();
	for (int i = 0; i < 100; i++) {
		policy_began(&devices[0], 1000, now);
		policy_ended(&devices[0], 1000, now += 4000);
	}
	CHECK(fabsf(devices[0].pace - 4) < 0.1f);
	policy_began(&devices[0], 1000, now += 1000000000); /* long ago */
	CHECK(devices[0].pace < 1.2f);
	policy_ended(&devices[0], 1000, now += 1000);
	for (int i = 0; i < 4; i++)
		policy_began(&devices[0], 1000, now);
	for (int i = 0; i < 100; i++) {
		policy_began(&devices[0], 1000, now);
		policy_ended(&devices[0], 1000, now += 250);
	}
	CHECK(fabsf(devices[0].pace - 0.25f) < 0.02f);
	CHECK(fabsf(policy_backlog(&devices[0], now) - 1000) < 100);
	/* Waiting for data is not the device's fault, unless even without it it was slow. */
	float before = devices[0].pace;
	policy_began(&devices[0], 1000, now);
	policy_moved(&devices[0], 1 << 20, 5000);
	policy_ended(&devices[0], 1000, now += 5100);
	CHECK(devices[0].pace == before);
	policy_began(&devices[0], 1000, now);
	policy_moved(&devices[0], 1 << 20, 5000);
	policy_ended(&devices[0], 1000, now += 30000);
	CHECK(devices[0].pace > before);
	before = devices[0].pace;
	policy_ended(&devices[0], 1000, 0); /* no clock was read */
	CHECK(devices[0].pace == before);
}

static void test_books(void)
{
	fresh();
	policy_began(&devices[0], 1000, 50);
	policy_began(&devices[0], 1000, 60);
	CHECK(devices[0].queued == 2 && devices[0].backlog_ns == 2000);
	CHECK(policy_backlog(&devices[0], 50) == 2000);
	CHECK(policy_backlog(&devices[0], 550) == 1500);
	CHECK(policy_backlog(&devices[0], 90000) == 1000); /* late, but the second has not begun */
	policy_ended(&devices[0], 1000, 1200);
	policy_ended(&devices[0], 1000, 2100);
	CHECK(!devices[0].queued && !devices[0].backlog_ns && policy_backlog(&devices[0], 9) == 0);
	/* The way: latency from small transfers, rate from large ones. */
	for (int i = 0; i < 50; i++) {
		policy_moved(&devices[1], 4096, 10000);
		policy_moved(&devices[1], 1 << 20, 10000 + (1 << 20) / 8);
	}
	CHECK(fabsf(devices[1].latency_ns - 10000) < 100);
	CHECK(fabsf(devices[1].bytes_per_ns - 8) < 0.2f);
	missing[1] = 8000;
	launch.missing = missing;
	CHECK(fabsf(policy_transfer(&launch, 1) - 11000) < 200);
	CHECK(policy_transfer(&launch, 0) == 0);
	devices[1].moving = 80000; /* behind what is on its way */
	CHECK(fabsf(policy_transfer(&launch, 1) - 21000) < 400);
}

static void test_estimates(void)
{
	bool known;

	fresh();
	CHECK(policy_estimate(&state, &launch, 0, &known) == 0 && !known);
	know(0, 1000);
	CHECK(policy_estimate(&state, &launch, 0, &known) == 1000 && known);
	launch.items = 1 << 21; /* another size, the same kernel */
	CHECK(policy_estimate(&state, &launch, 0, &known) == 2000 && known);
	launch.items = 1 << 18;
	CHECK(policy_estimate(&state, &launch, 0, &known) == 250 && known);
	launch.items = 1 << 15;
	CHECK(policy_estimate(&state, &launch, 0, &known) > 0 && !known);
	launch.items = 1 << 20;
	CHECK(policy_estimate(&state, &launch, 1, &known) == 1000 && !known);
	devices[0].alike = devices[1].alike = 1; /* of the same make */
	CHECK(policy_estimate(&state, &launch, 1, &known) == 1000 && known);
	/* Another kernel says how much slower device 2 is. */
	state.unlike = true;
	know(2, 4000);
	launch.cost = &other_cost;
	know(0, 500);
	CHECK(fabsf(policy_estimate(&state, &launch, 2, &known) - 2000) < 20 && !known);
}

static void test_heterogeneous(void)
{
	fresh();
	launch.missing = missing;
	state.unlike = true;
	know(0, 1000000);
	know(1, 200000);
	know(2, 500000);
	know(3, 900000);
	CHECK(policy_heterogeneous.pick(&state, &launch) == 1);
	/* The data is elsewhere: 12 MB at 4 bytes per ns take longer than the kernel. */
	missing[1] = missing[2] = missing[3] = 12 << 20;
	CHECK(policy_heterogeneous.pick(&state, &launch) == 0);
	missing[2] = 0;
	CHECK(policy_heterogeneous.pick(&state, &launch) == 2);
	memset(missing, 0, sizeof(missing));
	/* A short queue at the fast one is worth it, a longer one is not; and is not joined. */
	policy_began(&devices[1], 100000, 0);
	CHECK(policy_heterogeneous.pick(&state, &launch) == 1);
	devices[1].backlog_ns = 1500000;
	CHECK(policy_heterogeneous.pick(&state, &launch) == 2);
	launch.candidates = 1 << 1 | 1 << 0;
	devices[1].backlog_ns = 300000;
	devices[1].depth = 1; /* better to wait for it than to take the slow one */
	CHECK(policy_heterogeneous.pick(&state, &launch) == POLICY_WAIT);
	/* Who waits for it counts, too: after a millisecond of them it is the slow one. */
	for (launch.held = 1; policy_heterogeneous.pick(&state, &launch) == POLICY_WAIT;)
		launch.held++;
	CHECK(launch.held >= 2 && launch.held <= 5);
	CHECK(policy_heterogeneous.pick(&state, &launch) == 0);
	launch.held = 0; /* a new pass: forgotten */
	CHECK(policy_heterogeneous.pick(&state, &launch) == POLICY_WAIT);
}

/* Data stays where it is for one launch, but not for many; unless other kernels would rather stay.
 */
static void test_moves(void)
{
	int stayed = 0;

	fresh();
	launch.candidates = 3;
	launch.missing = missing;
	state.unlike = true;
	know(0, 4000000);
	know(1, 400000);
	missing[1] = 32 << 20; /* 8.4 ms */
	while (policy_heterogeneous.pick(&state, &launch) == 0)
		CHECK(++stayed < 10);
	CHECK(stayed == 4);
	fresh();
	launch.candidates = 3;
	launch.missing = missing;
	state.unlike = true;
	know(0, 4000000);
	know(1, 2000000);
	launch.cost = &other_cost; /* what it wins with one it loses with the other */
	know(0, 1000000);
	know(1, 6000000);
	missing[1] = 32 << 20;
	for (int i = 0; i < 200; i++) {
		launch.cost = i % 2 ? &cost : &other_cost;
		CHECK(policy_heterogeneous.pick(&state, &launch) == 0);
	}
}

/* A kernel of which nothing is known does not spread over everything at once, but over what is of
 * one make. */
static void test_first_time(void)
{
	fresh();
	for (unsigned i = 1; i < N; i++)
		devices[i].alike = 2;
	state.slower[1] = 1;
	for (unsigned i = 0; i < 6; i++) {
		unsigned device = policy_heterogeneous.pick(&state, &launch);
		CHECK(device == 1 + i % 3);
		policy_began(&devices[device], 0, 0);
	}
	CHECK(policy_heterogeneous.pick(&state, &launch) == POLICY_WAIT);
	fresh();
	unsigned first = policy_heterogeneous.pick(&state, &launch);
	policy_began(&devices[first], 0, 0);
	CHECK(policy_heterogeneous.pick(&state, &launch) == first);
	policy_began(&devices[first], 0, 0);
	CHECK(policy_heterogeneous.pick(&state, &launch) == POLICY_WAIT);
}

/* Executes launches one after the other with these times. Return: how many were not on the best. */
static int run(const uint64_t ns[N], int launches, unsigned best, uint64_t *spent, uint64_t *extra)
{
	int others = 0;

	for (int i = 0; i < launches; i++) {
		unsigned device = policy_heterogeneous.pick(&state, &launch);
		CHECK(device < N);
		*spent += ns[device];
		*extra += ns[device] - ns[best];
		others += device != best;
		policy_heterogeneous.learn(&state, &launch, device, ns[device]);
	}
	return others;
}

static void test_converges(void)
{
	const uint64_t ns[N] = {800000, 300000, 100000, 500000};
	uint64_t spent = 0, extra = 0;

	fresh();
	run(ns, 2000, 2, &spent, &extra);
	CHECK(policy_heterogeneous.pick(&state, &launch) == 2);
	for (unsigned i = 0; i < N; i++) /* all have been tried, and are known */
		CHECK(fabsf(cost.ns[policy_bucket(launch.items)][i] - (float)ns[i]) <
		      (float)ns[i] / 10);
	spent = extra = 0;
	run(ns, 20000, 2, &spent, &extra);
	CHECK(extra * 50 <= spent); /* what trying costs, by the clock */
	CHECK(state.explored_ns * 50 <= state.run_ns);
}

/* Whatever the devices' times, what was foreseen for tries stays in its bounds at every moment. */
static void test_bound(void)
{
	uint64_t seed = 5;

	for (int round = 0; round < 50; round++) {
		uint64_t ns[N], spent = 0, extra = 0;
		unsigned best = 0;

		fresh();
		for (unsigned i = 0; i < N; i++) {
			ns[i] = 1000 + test_random(&seed) % (1000u << test_random(&seed) % 11);
			best = ns[i] < ns[best] ? i : best;
		}
		for (int i = 0; i < 3000; i++) {
			uint64_t before = state.explored_ns, run_ns = state.run_ns;
			unsigned device = policy_heterogeneous.pick(&state, &launch);
			/* Foreseen: within the bound. That it may be exceeded by a surprise is
			 * learn()'s doing, and then nothing more is tried. */
			CHECK(state.explored_ns == before || state.explored_ns * 50 <= run_ns + 50);
			policy_heterogeneous.learn(&state, &launch, device, ns[device]);
		}
		run(ns, 3000, best, &spent, &extra);
		(void)extra;
	}
}

/* What was slow once is looked at again, and a device that has become fast is found. */
static void test_forgets(void)
{
	uint64_t ns[N] = {100000, 400000, 400000, 400000}, spent = 0, extra = 0;

	fresh();
	run(ns, 3000, 0, &spent, &extra);
	ns[3] = 20000;
	extra = spent = 0;
	for (int i = 0; i < 60000 && policy_heterogeneous.pick(&state, &launch) != 3; i++) {
		unsigned device = policy_heterogeneous.pick(&state, &launch);
		policy_heterogeneous.learn(&state, &launch, device, ns[device]);
	}
	for (int i = 0; i < 16; i++)
		policy_heterogeneous.learn(&state, &launch, 3, ns[3]);
	CHECK(policy_heterogeneous.pick(&state, &launch) == 3);
	/* Another device in its place: nothing is carried over but times by name. */
	policy_changed(&state, 3);
	CHECK(state.slower[3] == 0 && state.handover_ns[3] == 0);
}

static void test_elastic(void)
{
	unsigned given[N] = {0}, device;

	fresh();
	for (unsigned i = 0; i < N; i++)
		know(i, 1000000);
	launch.candidates = 1;
	/* One device: two in flight, the rest waits unbound. */
	for (int i = 0; i < 2; i++) {
		CHECK(policy_elastic.pick(&state, &launch) == 0);
		policy_began(&devices[0], 1000000, 0);
	}
	CHECK(policy_elastic.pick(&state, &launch) == POLICY_WAIT);
	/* Three more come: they have work in the next pass. */
	launch.candidates = (1 << N) - 1;
	for (uint32_t held = 0; (device = policy_elastic.pick(&state, &launch)) != POLICY_WAIT;) {
		CHECK(held < 100);
		policy_began(&devices[device], 1000000, 0);
		given[device]++;
	}
	CHECK(given[0] == 0 && given[1] == 2 && given[2] == 2 && given[3] == 2);
	/* Short kernels: more of them, until there are two milliseconds; never above the lease. */
	fresh();
	know(0, 10000);
	launch.candidates = 1;
	int n = 0;
	for (; policy_elastic.pick(&state, &launch) == 0; n++)
		policy_began(&devices[0], 10000, 0);
	CHECK(n == 64);
	devices[0].queued = 5;
	devices[0].depth = 5;
	CHECK(policy_elastic.pick(&state, &launch) == POLICY_WAIT);
	/* In place and alone: there is nobody to give it back to. */
	devices[0].discrete = false;
	CHECK(policy_elastic.pick(&state, &launch) == 0);
}

static void test_fair(void)
{
	unsigned given[N] = {0}, device;

	fresh();
	for (unsigned i = 0; i < N; i++)
		know(i, 10000);
	devices[0].share = 512;
	devices[1].share = 256;
	devices[2].share = 256;
	launch.candidates = 7;
	for (int i = 0; i < 40; i++) {
		device = policy_fair.pick(&state, &launch);
		CHECK(device < 3);
		policy_began(&devices[device], 10000, 0);
		given[device]++;
	}
	CHECK(given[0] >= 19 && given[0] <= 21 && given[1] >= 9 && given[1] <= 11);
	devices[0].depth = given[0];
	devices[1].depth = given[1];
	CHECK(policy_fair.pick(&state, &launch) == 2);
	devices[2].depth = given[2];
	CHECK(policy_fair.pick(&state, &launch) == POLICY_WAIT);
}

static void test_pinned(void)
{
	char why[POLICY_WHY], rules[POLICY_ARGUMENT];

	fresh();
	CHECK(!policy_configure(&policy_pinned, &state,
				"kernel=gemm -> sim2, kernel=red*->sim3 , * -> sim1", why));
	launch.kernel = "gemm";
	CHECK(policy_pinned.pick(&state, &launch) == 2);
	launch.kernel = "reduce_sum";
	CHECK(policy_pinned.pick(&state, &launch) == 3);
	launch.kernel = "gemm2";
	CHECK(policy_pinned.pick(&state, &launch) == 1);
	launch.candidates = 1 << 3 | 1; /* it cannot run there */
	CHECK(policy_pinned.pick(&state, &launch) == 0);
	launch.candidates = 15;
	CHECK(!policy_configure(&policy_pinned, &state, "* -> sim*", why));
	devices[0].queued = 1;
	CHECK(policy_pinned.pick(&state, &launch) == 1);
	/* A wrong argument changes nothing. */
	CHECK(policy_configure(&policy_pinned, &state, "gemm -> sim2", why) == -EINVAL && why[0]);
	CHECK(state.rules.n == 1);
	CHECK(!policy_configure(&policy_pinned, &state, "", why));
	CHECK(policy_pinned.pick(&state, &launch) == 0);
	/* araxd leaves to a tenant what is about it. */
	CHECK(!policy_rules_for("user=ann -> a,program=hash*->b,kernel=k->c, *->d", "bob",
				"hashcat", rules));
	CHECK(strcmp(rules, "*->b,kernel=k->c,*->d") == 0);
	CHECK(!policy_rules_for("user=ann -> a", "ann", "x", rules));
	CHECK(strcmp(rules, "*->a") == 0);
	CHECK(!policy_rules_for("user=ann -> a", "bob", "x", rules) && !rules[0]);
}

static void test_arguments(void)
{
	static const char *const bad[] = {
	    "kernel=a",
	    "kernel= -> x",
	    "kernel=a -> ",
	    "-> x",
	    "queue=a -> x",
	    "kernel=a->b->",
	    "*=a -> x",
	    "kernel=*a -> x",
	    "kernel=a -> x,",
	    ",",
	    "kernel=a -> 12345678901234567890123456789012",
	    "kernel=\x01 -> x",
	};
	char why[POLICY_WHY], text[400], rules[POLICY_ARGUMENT];
	uint64_t seed;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(policy_argument_check("pinned", bad[i], why) == -EINVAL && why[0]);
	text[0] = '\0';
	for (unsigned i = 0; i < POLICY_RULES + 1; i++) {
		CHECK(policy_argument_check("pinned", text, why) == 0);
		strcat(text, i ? ",*->a" : "*->a");
	}
	CHECK(policy_argument_check("pinned", text, why) == -EINVAL);
	memset(text, 'x', sizeof(text));
	text[299] = '\0';
	CHECK(policy_argument_check("pinned", text, why) == -EINVAL);
	CHECK(policy_rules_for(text, "u", "p", rules) == -EINVAL);
	CHECK(policy_argument_check("random", "18446744073709551615", why) == 0);
	CHECK(policy_argument_check("random", "18446744073709551616", why) == -EINVAL);
	CHECK(policy_argument_check("random", "-1", why) == -EINVAL);
	CHECK(policy_argument_check("random", "1 2", why) == -EINVAL);
	CHECK(policy_seed_parse(" 42 ", &seed, why) == 0 && seed == 42);
	CHECK(policy_seed_parse("", &seed, why) == 0 && seed == 1);
	CHECK(policy_argument_check("fair", " ", why) == 0);
	CHECK(policy_argument_check("fair", "x", why) == -EINVAL && why[0]);
}

static void draw(const char *seed, unsigned out[1000], uint32_t candidates)
{
	char why[POLICY_WHY];

	fresh();
	launch.candidates = candidates;
	CHECK(!policy_configure(&policy_random, &state, seed, why));
	for (unsigned i = 0; i < 1000; i++) {
		launch.serial = i;
		out[i] = policy_random.pick(&state, &launch);
		CHECK(candidates >> out[i] & 1);
		if (i % 3 == 0) /* asked twice: the same */
			CHECK(policy_random.pick(&state, &launch) == out[i]);
	}
}

static void test_drawn(void)
{
	static unsigned a[1000], b[1000], c[1000], fewer[1000];
	unsigned of[N] = {0}, same = 0;

	draw("7", a, 15);
	draw("7", b, 15);
	draw("8", c, 15);
	draw("7", fewer, 7);
	CHECK(memcmp(a, b, sizeof(a)) == 0);
	for (unsigned i = 0; i < 1000; i++) {
		of[a[i]]++;
		same += a[i] == c[i];
		CHECK(a[i] == 3 || fewer[i] == a[i]); /* only what was there has moved */
	}
	for (unsigned i = 0; i < N; i++)
		CHECK(of[i] > 200 && of[i] < 300);
	CHECK(same > 150 && same < 350);
}

/* The default beside a discrete device: short launches stay in place, long ones go where they end
 * first. */
static void test_adaptive_discrete(void)
{
	fresh();
	devices[0].discrete = devices[1].discrete = false;
	devices[0].inline_launch = true;
	devices[1].parallel = 2;
	launch.candidates = 7;
	launch.missing = missing;
	state.unlike = true;
	know(0, 3000);
	know(1, 60000);
	know(2, 2000);
	missing[2] = 1 << 20;
	CHECK(policy_adaptive.pick(&state, &launch) == 0);
	memset(&cost, 0, sizeof(cost));
	know(0, 90000000);
	know(1, 50000000);
	know(2, 2000000);
	launch.busy = true;
	CHECK(policy_adaptive.pick(&state, &launch) == 2);
}

/* Nobody chooses what is no candidate, whatever is known; and who waits has something to wait for.
 */
static void test_always(void)
{
	uint64_t seed = 11;
	char why[POLICY_WHY];

	for (unsigned n = 0; policy_name(n); n++) {
		const struct policy *policy = policy_find(policy_name(n));

		fresh();
		CHECK(!policy_configure(policy, &state, "", why));
		launch.missing = missing;
		for (int i = 0; i < 20000; i++) {
			launch.candidates = 1 + (uint32_t)(test_random(&seed) % 0xFFFF);
			launch.items = 1ull << test_random(&seed) % 60;
			launch.serial = (uint64_t)i;
			launch.held = (uint32_t)(test_random(&seed) % 3);
			launch.now_ns = (uint64_t)i * 1000;
			launch.busy = test_random(&seed) & 1;
			unsigned at = (unsigned)(test_random(&seed) % POLICY_DEVICES);
			devices[at].discrete = test_random(&seed) % 4 != 0;
			devices[at].inline_launch = !devices[at].discrete && (at & 1);
			devices[at].share = (uint32_t)(test_random(&seed) % 1025);
			devices[at].depth = (uint32_t)(test_random(&seed) % 9);
			missing[at] = test_random(&seed) % (1 << 24);
			if (devices[at].queued && test_random(&seed) % 2)
				policy_ended(&devices[at], 1000, launch.now_ns);
			unsigned device = policy->pick(&state, &launch);
			if (device == POLICY_WAIT) {
				uint32_t queued = 0;
				POLICY_FOR_EACH(d, launch.candidates)
				{
					queued += devices[d].queued;
				}
				CHECK(queued);
				continue;
			}
			CHECK(device < POLICY_DEVICES && (launch.candidates >> device & 1));
			if (!devices[device].inline_launch)
				policy_began(&devices[device], 1000, launch.now_ns);
			policy->learn(&state, &launch, device, test_random(&seed) % 50000000);
		}
	}
}

int main(void)
{
	test_books();
	test_pace();
	test_estimates();
	test_least_loaded();
	test_heterogeneous();
	test_moves();
	test_first_time();
	test_converges();
	test_bound();
	test_forgets();
	test_elastic();
	test_fair();
	test_pinned();
	test_arguments();
	test_drawn();
	test_adaptive_discrete();
	test_always();
	return 0;
}
