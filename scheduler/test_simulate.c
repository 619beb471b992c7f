/* SPDX-License-Identifier: Apache-2.0
 *
 * What the scheduler must achieve, on machines and loads that are described (simulations/): elastic
 * applications, fair shares, unlike devices. The simulator is deterministic, so a figure that is
 * not reached here is the policy's or the arbiter's fault, and nothing else's.
 *
 * Run as "test-scheduler-simulate DIRECTORY [TOPIC]"; prints the figures.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scheduler/simulate.h"
#include "transport/testing.h"

static const char *directory;
static char error[SIM_ERROR];
static struct sim_machine machine;
static struct sim_load load;
static struct sim_result result;

static const char *path(const char *name)
{
	static char full[4096];
	snprintf(full, sizeof(full), "%s/%s", directory, name);
	return full;
}

static void read_both(const char *machine_name, const char *load_name)
{
	CHECK(sim_machine_read(&machine, path(machine_name), error) == 0);
	CHECK(sim_load_read(&load, path(load_name), error) == 0);
}

static void run(const char *policy, const char *argument)
{
	const struct sim_options options = {
	    .policy = policy_find(policy), .argument = argument, .seed = 1};

	sim_result_free(&result);
	if (simulate(&machine, &load, &options, &result, error))
		fprintf(stderr, "%s\n", error);
	CHECK(!error[0]);
}

/* With what some runs before have learned. */
static void run_learned(const char *policy)
{
	struct sim_options options = {.policy = policy_find(policy), .seed = 1};

	for (int i = 0; i < 10; i++) {
		struct sim_result before = result;
		result = (struct sim_result){0};
		options.costs = i ? before.costs : NULL;
		options.costs_size = i ? before.costs_size : 0;
		CHECK(simulate(&machine, &load, &options, &result, error) == 0);
		sim_result_free(&before);
	}
}

static uint64_t best_single(void)
{
	uint64_t best = UINT64_MAX, one;

	for (unsigned i = 0; i < machine.ndevices; i++) {
		CHECK(simulate_single(&machine, &load, i, 1, &one, error) == 0);
		best = one < best ? one : best;
	}
	return best;
}

static double of_ideal(void)
{
	return result.ideal_ns / (double)result.makespan_ns;
}

/* ---- elasticity ----------------------------------------------------------------------------- */

/* One ordinary application, while one device becomes two and then four. */
static void test_elasticity(void)
{
	static const char *const policies[] = {"elastic", "adaptive", "heterogeneous", "fair",
					       "least-loaded"};

	read_both("paper-elastic.machine.ini", "paper-one.load.ini");
	for (unsigned i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		run(policies[i], NULL);
		printf("1, 2, 4 devices, %s: %.3f of the ideal\n", policies[i], of_ideal());
		CHECK(of_ideal() >= 0.95);
	}
	/* They need not be independent: 32 chains on data of their own. */
	load.tenants[0].shape = SIM_CHAIN;
	load.tenants[0].width = 32;
	load.tenants[0].launches = 4000;
	run("elastic", NULL);
	printf("1, 2, 4 devices, chains: %.3f of the ideal\n", of_ideal());
	CHECK(of_ideal() >= 0.95);
	/* Nor does a device that goes again hold anything up. */
	machine.devices[3].leaves_ns = 600000000;
	run("elastic", NULL);
	printf("1, 2, 4, 3 devices, chains: %.3f of the ideal\n", of_ideal());
	CHECK(of_ideal() >= 0.95);
}

/* The research system's figures: 1.6 with two kernels side by side, 2.6 with four, 2 on a mixed
 * machine. */
static void test_paper(void)
{
	static const double reached[] = {0, 1, 1.6, 0, 2.6};
	uint64_t alone;

	read_both("paper-streams.machine.ini", "paper-one.load.ini");
	machine.devices[0].slots = 1;
	run("elastic", NULL);
	alone = result.makespan_ns;
	for (unsigned slots = 2; slots <= 4; slots *= 2) {
		machine.devices[0].slots = slots;
		run("elastic", NULL);
		double faster = (double)alone / (double)result.makespan_ns;
		printf("%u kernels side by side: %.2f (research system: %.1f)\n", slots, faster,
		       reached[slots]);
		CHECK(faster > reached[slots] && faster >= 0.95 * slots);
	}
	read_both("paper-mixed.machine.ini", "paper-mixed.load.ini");
	alone = best_single();
	for (int learned = 0; learned < 2; learned++) {
		if (learned)
			run_learned("heterogeneous");
		else
			run("heterogeneous", NULL);
		double faster = (double)alone / (double)result.makespan_ns;
		printf("mixed machine%s: %.2f (research system: 2)\n", learned ? ", learned" : "",
		       faster);
		CHECK(faster > 2);
	}
}

static void test_newcomer(void)
{
	static const char *const policies[] = {"elastic", "fair"};

	for (unsigned i = 0; i < 2; i++) {
		read_both("four.machine.ini", "newcomer.load.ini");
		run(policies[i], NULL);
		for (unsigned t = 1; t < load.ntenants; t++) {
			uint64_t ns = result.tenants[t].fair_ns;
			printf("%s: tenant %u has its part after %.1f ms\n", policies[i], t + 1,
			       (double)ns / 1e6);
			CHECK(result.tenants[t].newcomer && ns <= 10000000);
		}
		/* Long kernels are not interrupted, and it is in time all the same. */
		load.kernels[0].time_ns = 4000000;
		run(policies[i], NULL);
		printf("%s: with kernels of 4 ms after %.1f ms\n", policies[i],
		       (double)result.tenants[1].fair_ns / 1e6);
		CHECK(result.tenants[1].fair_ns <= 10000000);
	}
}

/* ---- sharing -------------------------------------------------------------------------------- */

static void test_jain(void)
{
	for (unsigned n = 2; n <= 8; n *= 2) {
		read_both("four.machine.ini", "share.load.ini");
		/* As unlike as they are: from both ends of the file. */
		for (unsigned i = 0; i < n / 2; i++)
			load.tenants[n - 1 - i] = load.tenants[load.ntenants - 1 - i];
		load.ntenants = n;
		run("fair", NULL);
		printf("%u tenants: Jain %.4f, %.3f of the ideal\n", n, result.jain, of_ideal());
		CHECK(result.jain >= 0.98 && of_ideal() >= 0.95);
		for (unsigned i = 0; i < n; i++) /* by weight */
			load.tenants[i].weight = 100u << (i & 1);
		run("fair", NULL);
		printf("%u tenants, weights 1 and 2: Jain %.4f\n", n, result.jain);
		CHECK(result.jain >= 0.98);
	}
}

static void test_light(void)
{
	struct sim_load both;
	uint64_t lone;

	read_both("four.machine.ini", "light-heavy.load.ini");
	both = load;
	load.ntenants = 1;
	run("fair", NULL);
	lone = result.tenants[0].p99_ns;
	for (unsigned devices = 1; devices <= 4; devices *= 2) {
		load = both;
		machine.ndevices = devices;
		run("fair", NULL);
		uint64_t beside = result.tenants[0].p99_ns;
		printf("light beside heavy on %u: p99 %.3f ms, alone %.3f ms: %.2f\n", devices,
		       (double)beside / 1e6, (double)lone / 1e6, (double)beside / (double)lone);
		CHECK(beside <= 2 * lone);
	}
}

/* ---- unlike devices ------------------------------------------------------------------------- */

/* A machine of some devices and a load of some kernels, drawn: speeds differ by up to 16 times. */
static void draw_case(uint64_t *seed, unsigned devices, unsigned kernels)
{
	read_both("four.machine.ini", "paper-one.load.ini");
	machine.ndevices = devices;
	load.nkernels = kernels;
	load.tenants[0].nkernels = kernels;
	load.tenants[0].buffers = 0;
	load.tenants[0].mix = true;
	for (unsigned k = 0; k < kernels; k++) {
		struct sim_kernel *kernel = &load.kernels[k];
		*kernel = (struct sim_kernel){.time_ns = 500000 + test_random(seed) % 3500000,
					      .items = 1u << (10 + 2 * k),
					      .jitter = 0.05};
		snprintf(kernel->name, SIM_NAME, "k%u", k);
		snprintf(kernel->class, SIM_NAME, "k%u", k);
		load.tenants[0].kernels[k] = k;
	}
	for (unsigned d = 0; d < devices; d++) {
		struct sim_device_desc *device = &machine.devices[d];
		device->alike = 0;
		device->nrates = kernels;
		for (unsigned k = 0; k < kernels; k++) {
			snprintf(device->rates[k].class, SIM_NAME, "k%u", k);
			device->rates[k].rate = 0.25 * (double)(1u << test_random(seed) % 4) *
						(1 + (double)(test_random(seed) % 1000) / 1000);
		}
	}
}

/* The best of all ways to give each kernel a device of its own, as a programmer would. */
static uint64_t best_static(unsigned devices, unsigned kernels)
{
	uint64_t best = UINT64_MAX;
	unsigned ways = 1;

	for (unsigned k = 0; k < kernels; k++)
		ways *= devices;
	for (unsigned way = 0; way < ways; way++) {
		char rules[POLICY_ARGUMENT] = "";
		for (unsigned k = 0, rest = way; k < kernels; k++, rest /= devices)
			snprintf(rules + strlen(rules), sizeof(rules) - strlen(rules),
				 "%skernel=k%u -> gpu%u", k ? "," : "", k, rest % devices);
		run("pinned", rules);
		best = result.makespan_ns < best ? result.makespan_ns : best;
	}
	return best;
}

static void test_static(void)
{
	static const struct {
		enum sim_shape shape;
		unsigned width;
	} shapes[] = {{SIM_INDEPENDENT, 1}, {SIM_CHAIN, 6}, {SIM_FORK_JOIN, 9}, {SIM_ITERATIVE, 8}};
	uint64_t seed = 4;
	double worst = 0, worst_single = 0, sum = 0;
	int cases = 0;

	for (int i = 0; i < 24; i++) {
		unsigned devices = 2 + (unsigned)i / 4 % 2, kernels = 2 + (unsigned)i / 8 % 3;
		draw_case(&seed, devices, kernels);
		load.tenants[0].shape = shapes[i % 4].shape;
		load.tenants[0].width = shapes[i % 4].width;
		load.tenants[0].mix = i % 4 != 2;
		load.tenants[0].launches = 400;
		uint64_t best = best_static(devices, kernels), single = best_single();
		run_learned("heterogeneous");
		double ratio = (double)result.makespan_ns / (double)best;
		double single_ratio = (double)result.makespan_ns / (double)single;
		printf(
		    "shape %u, %u devices, %u kernels: %.3f of the best static, %.3f of the best "
		    "single device\n",
		    shapes[i % 4].shape, devices, kernels, ratio, single_ratio);
		worst = ratio > worst ? ratio : worst;
		worst_single = single_ratio > worst_single ? single_ratio : worst_single;
		sum += ratio;
		cases++;
	}
	printf("worst: %.3f of the best static, %.3f of the best single; mean %.3f\n", worst,
	       worst_single, sum / cases);
	CHECK(worst <= 1.10 && worst_single <= 1.05);
}

/* Every single command on a device of its own choice: as good as it can be without changing what is
 * begun. */
static uint8_t assigned[32];
static unsigned pick_assigned(struct policy_state *state, const struct policy_launch *launch)
{
	(void)state;
	return assigned[launch->serial];
}
static const struct policy policy_assigned = {.name = "assigned", .pick = pick_assigned};

static uint64_t best_of_all(unsigned devices, unsigned commands)
{
	const struct sim_options options = {.policy = &policy_assigned, .seed = 1};
	uint64_t best = UINT64_MAX;
	unsigned ways = 1;

	for (unsigned c = 0; c < commands; c++)
		ways *= devices;
	for (unsigned way = 0; way < ways; way++) {
		for (unsigned c = 0, rest = way; c < commands; c++, rest /= devices)
			assigned[c] = (uint8_t)(rest % devices);
		sim_result_free(&result);
		CHECK(simulate(&machine, &load, &options, &result, error) == 0);
		best = result.makespan_ns < best ? result.makespan_ns : best;
	}
	return best;
}

static void test_exhaustive(void)
{
	uint64_t seed = 21;
	double worst = 0, sum = 0;

	for (int i = 0; i < 24; i++) {
		unsigned devices = 2 + (unsigned)i % 2, commands = devices == 2 ? 11 : 7;
		draw_case(&seed, devices, 3);
		struct sim_tenant_desc *t = &load.tenants[0];
		t->shape = (enum sim_shape)(i / 2 % 4);
		t->width = t->shape == SIM_INDEPENDENT ? 1 : t->shape == SIM_FORK_JOIN ? 3 : 4;
		t->mix = true;
		t->launches = 2000;
		run_learned("heterogeneous");
		struct sim_result learned = result;
		result = (struct sim_result){0};
		t->launches = commands;
		uint64_t best = best_of_all(devices, commands);
		sim_result_free(&result);
		CHECK(simulate(&machine, &load,
			       &(struct sim_options){.policy = &policy_heterogeneous,
						     .seed = 1,
						     .costs = learned.costs,
						     .costs_size = learned.costs_size},
			       &result, error) == 0);
		sim_result_free(&learned);
		double ratio = (double)result.makespan_ns / (double)best;
		printf("shape %d, %u devices, %u commands: %.3f of the best of all assignments\n",
		       t->shape, devices, commands, ratio);
		worst = ratio > worst ? ratio : worst;
		sum += ratio;
	}
	printf("worst %.3f, mean %.3f\n", worst, sum / 24);
	/* What has begun cannot be taken back, and nobody knows what comes: with so few commands a
	 * single one decides. On the average it is nothing. */
	CHECK(sum / 24 <= 1.10);
}

/* Never much worse than the best device alone, however little there is to win: chains whose data
 * should stay where it is, one device that is by far the best at everything. */
static void test_single(void)
{
	static const struct {
		enum sim_shape shape;
		unsigned width;
		uint64_t bytes;
	} loads[] = {{SIM_CHAIN, 1, 64 << 20},	   {SIM_CHAIN, 3, 16 << 20},
		     {SIM_CHAIN, 8, 1 << 20},	   {SIM_FORK_JOIN, 6, 8 << 20},
		     {SIM_ITERATIVE, 4, 32 << 20}, {SIM_INDEPENDENT, 1, 4 << 20}};
	double worst = 0;

	for (unsigned best = 0; best < 2; best++) {
		for (unsigned i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
			read_both("paper-mixed.machine.ini", "paper-mixed.load.ini");
			struct sim_tenant_desc *t = &load.tenants[0];
			t->shape = loads[i].shape;
			t->width = loads[i].width;
			t->bytes = loads[i].bytes;
			t->halo = 64 << 10;
			t->launches = 900;
			for (unsigned k = 0; best && k < machine.devices[0].nrates; k++)
				machine.devices[0].rates[k].rate = 12;
			uint64_t single = best_single();
			run_learned("heterogeneous");
			double ratio = (double)result.makespan_ns / (double)single;
			printf("%s, shape %u, width %u, %u MiB: %.3f of the best single device\n",
			       best ? "one good device" : "mixed", t->shape, t->width,
			       (unsigned)(t->bytes >> 20), ratio);
			worst = ratio > worst ? ratio : worst;
		}
	}
	/* Data at home, where the processor works on it in place, and a device that is ten times as
	 * fast, but further away than one launch is worth. */
	read_both("paper-mixed.machine.ini", "paper-mixed.load.ini");
	machine.devices[1] = machine.devices[2];
	machine.ndevices = 2;
	for (unsigned k = 0; k < machine.devices[0].nrates; k++) {
		machine.devices[0].rates[k].rate = 10;
		machine.devices[1].rates[k].rate = 1;
	}
	struct sim_tenant_desc *chain = &load.tenants[0];
	chain->shape = SIM_CHAIN;
	chain->bytes = 64 << 20;
	chain->launches = 900;
	uint64_t single = best_single();
	run_learned("heterogeneous");
	double ratio = (double)result.makespan_ns / (double)single;
	printf("data at home: %.3f of the best single device\n", ratio);
	CHECK(worst <= 1.05 && ratio <= 1.05);
}

/* ---- and the rest --------------------------------------------------------------------------- */

/* Eight GPUs, two FPGAs, 64 applications: in seconds (CTest's limit). */
static void test_large(void)
{
	static const char *const policies[] = {"elastic", "fair", "heterogeneous"};

	for (unsigned i = 0; i < 3; i++) {
		read_both("large.machine.ini", "large.load.ini");
		CHECK(load.ntenants == 64 && machine.ndevices == 10);
		run(policies[i], NULL);
		printf("large, %s: %.1f ms, %.3f of the same mix everywhere, %u decisions\n",
		       policies[i], (double)result.makespan_ns / 1e6, of_ideal(),
		       (unsigned)result.picks);
		for (unsigned t = 0; t < load.ntenants; t++)
			CHECK(result.tenants[t].commands == load.tenants[t].launches);
	}
}

/* Nothing runs before what it needs, twice at a time, or where it cannot be. */
static void check_timeline(void)
{
	static uint64_t last[POLICY_DEVICES][3];
	size_t kernels = 0;

	memset(last, 0, sizeof(last));
	for (size_t i = 0; i < result.nspans; i++) {
		const struct sim_span *span = &result.spans[i];
		uint64_t *end = &last[span->device][span->moved];

		CHECK(span->start <= span->end);
		kernels += !span->moved;
		if (span->moved || machine.devices[span->device].slots == 1) {
			CHECK(span->start >= *end);
			*end = span->end;
		}
		CHECK(span->moved || span->start >= machine.devices[span->device].appears_ns);
	}
	size_t launches = 0;
	for (unsigned t = 0; t < load.ntenants; t++)
		launches += load.tenants[t].launches;
	CHECK(kernels == launches);
}

static void test_determinism(void)
{
	for (unsigned n = 0; policy_name(n); n++) {
		struct sim_options options = {.policy = policy_find(policy_name(n)), .seed = 7};
		struct sim_result again;

		read_both("paper-elastic.machine.ini", "newcomer.load.ini");
		for (unsigned t = 0; t < load.ntenants; t++)
			load.tenants[t].launches /= 4;
		sim_result_free(&result);
		CHECK(simulate(&machine, &load, &options, &result, error) == 0);
		check_timeline();
		CHECK(simulate(&machine, &load, &options, &again, error) == 0);
		CHECK(again.nspans == result.nspans &&
		      memcmp(again.spans, result.spans, result.nspans * sizeof(*again.spans)) == 0);
		sim_result_free(&again);
		options.seed = 8;
		CHECK(simulate(&machine, &load, &options, &again, error) == 0);
		CHECK(again.makespan_ns != result.makespan_ns);
		sim_result_free(&again);
	}
}

/* Four times a device's memory: it ends, and what is evicted is what is not in use. */
static void test_memory(void)
{
	read_both("four.machine.ini", "paper-one.load.ini");
	machine.ndevices = 2;
	load.tenants[0].bytes = 4 << 20;
	load.tenants[0].launches = 600;
	run("elastic", NULL);
	CHECK(result.evictions == 0);
	uint64_t moved = result.moved_bytes, makespan = result.makespan_ns;
	for (unsigned d = 0; d < 2; d++) /* 64 buffers of 4 MiB on 2 x 32 MiB */
		machine.devices[d].memory = 32 << 20;
	run("elastic", NULL);
	printf("4 times the memory: %u evictions, %.1f times the bytes, %.2f times as long\n",
	       (unsigned)result.evictions, (double)result.moved_bytes / (double)moved,
	       (double)result.makespan_ns / (double)makespan);
	CHECK(result.evictions > 100 && result.moved_bytes > moved);
	check_timeline();
	/* Each kernel's data is only there when it has been moved. */
	CHECK(result.tenants[0].commands == 600);
}

static void write_file(const char *name, const char *text)
{
	FILE *out = fopen(name, "w");

	CHECK(out && fputs(text, out) >= 0 && fclose(out) == 0);
}

static void test_bad_files(void)
{
	static const struct {
		const char *text, *where;
	} machines[] = {
	    {"", "no [device"},
	    {"x = 1\n", ":1: "},
	    {"[device a]\nrat = 1\n", ":2: unknown key 'rat'"},
	    {"[device a]\nrate = 0\n", ":2: rate: must be"},
	    {"[device a]\nrate = nan\n", ":2: "},
	    {"[device a]\nlaunch = 5\n", ":2: launch: must be a time"},
	    {"[device a]\nlaunch = -5us\n", ":2: "},
	    {"[device a]\ntype = gpu\n", ":2: type: must be discrete or cpu"},
	    {"[device a]\nslots = 1.5\n", ":2: "},
	    {"[device]\nrate = 1\n", ":2: section"},
	    {"[tenant a]\nweight = 1\n", ":2: section"},
	    {"[device a]\ncount = 9\n[device b]\ncount = 8\n", "more than 16 devices"},
	    {"[device a\n", ":1: "},
	};
	static const struct {
		const char *text, *where;
	} loads[] = {
	    {"", "no [tenant"},
	    {"[kernel k]\ntime = 0s\n", ":2: "},
	    {"[tenant t]\nweight = 1\n", "no kernels"},
	    {"[tenant t]\nkernels = k\n", ":2: kernels: k"},
	    {"[kernel k]\ntime = 1ms\n[tenant t]\nkernels = k\nshape = round\n", ":5: "},
	    {"[kernel k]\ntime = 1ms\n[tenant t]\nkernels = k\ncount = 257\n", ":5: "},
	    {"[device d]\nrate = 1\n", ":2: section"},
	};
	char name[] = "/tmp/arax-simulate-XXXXXX";
	int fd = mkstemp(name);

	CHECK(fd >= 0);
	for (unsigned i = 0; i < sizeof(machines) / sizeof(machines[0]); i++) {
		write_file(name, machines[i].text);
		CHECK(sim_machine_read(&machine, name, error) == -EINVAL);
		CHECK(strstr(error, machines[i].where));
	}
	for (unsigned i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
		write_file(name, loads[i].text);
		CHECK(sim_load_read(&load, name, error) == -EINVAL);
		CHECK(strstr(error, loads[i].where));
	}
	CHECK(sim_machine_read(&machine, "/nowhere", error) == -ENOENT && error[0]);
	/* Work, and nothing that executes it. */
	read_both("four.machine.ini", "paper-one.load.ini");
	for (unsigned i = 0; i < machine.ndevices; i++)
		machine.devices[i].leaves_ns = 1000000;
	CHECK(simulate(&machine, &load, &(struct sim_options){.seed = 1}, &result, error) ==
	      -EINVAL);
	CHECK(strstr(error, "does not end"));
	close(fd);
	unlink(name);
}

static void test_recorded(void)
{
	/* Two applications; of the first one the third waits for the second, the fourth for all. */
	static const char trace[] = "{\"traceEvents\":["
				    "{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":7,\"tid\":0,"
				    "\"args\":{\"name\":\"p\"}},"
#define K(pid, id, name, queued, start, end)                                                 \
	"{\"ph\":\"X\",\"name\":\"" name "\",\"cat\":\"kernel\",\"pid\":" pid                \
	",\"tid\":1,\"ts\":0,\"dur\":0,\"args\":{\"device\":\"gpu0\",\"queue\":1,\"id\":" id \
	",\"global\":[64,16],\"queued_ns\":" queued ",\"start_ns\":" start ",\"end_ns\":" end "}}"
	    K("7", "1", "a", "1000", "2000", "1002000") "," K(
		"7", "2", "b", "1500", "1002000",
		"3002000") "," K("7", "3", "a", "2000", "3002000",
				 "4002000") "," K("7", "4", "b", "5002000", "5002000",
						  "7002000") "," K("9", "1", "c", "500000",
								   "600000",
								   "1600000") ","
									      "{\"ph\":\"s\","
									      "\"id\":1,\"pid\":7,"
									      "\"tid\":1,\"ts\":0,"
									      "\"args\":{\"id\":2}}"
									      ","
									      "{\"ph\":\"f\","
									      "\"id\":1,\"pid\":7,"
									      "\"tid\":1,\"ts\":0,"
									      "\"args\":{\"id\":3}}"
									      "]}";
	static const char *const bad[] = {
	    "",
	    "{",
	    "{}",
	    "[]",
	    "[{\"ph\":\"X\",\"cat\":\"kernel\",\"name\":\"a\"}]",
	    "[" K("7", "1", "a", "1000", "500", "2000") "]",
	    "[" K("7", "1", "a", "1000", "2000", "99999999999999999") "]",
	};
	char name[] = "/tmp/arax-simulate-XXXXXX";
	int fd = mkstemp(name);

	CHECK(fd >= 0);
	CHECK(sim_machine_read(&machine, path("four.machine.ini"), error) == 0);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_file(name, bad[i]);
		CHECK(sim_load_trace(&load, &machine, name, error) == -EINVAL && error[0]);
	}
	write_file(name, trace);
	CHECK(sim_load_trace(&load, &machine, name, error) == 0);
	CHECK(load.ntenants == 2 && load.nkernels == 3 && load.tenants[0].launches == 4);
	run("elastic", NULL);
	CHECK(result.tenants[0].commands == 4 && result.tenants[1].commands == 1);
	uint64_t begin[5], end[5];
	for (size_t i = 0; i < result.nspans; i++) {
		if (result.spans[i].tenant)
			continue;
		begin[result.spans[i].command] = result.spans[i].start;
		end[result.spans[i].command] = result.spans[i].end;
	}
	CHECK(begin[2] >= end[1] && begin[1] < end[0]); /* one waits, the others need not */
	/* It had waited for everything, and then it thought for a millisecond. */
	CHECK(begin[3] >= end[2] + 1000000 && begin[3] < end[2] + 1100000);
	CHECK(end[3] - begin[3] == 2005000);
	sim_load_free(&load);
	close(fd);
	unlink(name);
}

static const struct {
	const char *name;
	void (*run)(void);
} topics[] = {
    {"elasticity", test_elasticity},
    {"paper", test_paper},
    {"newcomer", test_newcomer},
    {"jain", test_jain},
    {"light", test_light},
    {"static", test_static},
    {"exhaustive", test_exhaustive},
    {"single", test_single},
    {"large", test_large},
    {"memory", test_memory},
    {"determinism", test_determinism},
    {"files", test_bad_files},
    {"recorded", test_recorded},
};

int main(int argc, char **argv)
{
	CHECK(argc >= 2);
	directory = argv[1];
	for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++)
		if (argc < 3 || strcmp(argv[2], topics[i].name) == 0)
			topics[i].run();
	sim_result_free(&result);
	return 0;
}
