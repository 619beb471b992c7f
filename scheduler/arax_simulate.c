/* SPDX-License-Identifier: Apache-2.0
 *
 * arax simulate: a described machine, a described or recorded load, a policy; what would come of
 * it.
 */
#include "scheduler/arax_cli.h"
#include "scheduler/plot.h"
#include "scheduler/simulate.h"

#include <errno.h>
#include <string.h>

struct wish {
	const char *machine, *load, *svg, *timeline;
	struct sim_options options;
	uint64_t warm;
	bool json;
};

static void usage(FILE *out)
{
	fputs("usage: arax simulate MACHINE.ini LOAD.ini|TRACE.json [--policy NAME] [--argument "
	      "TEXT]\n"
	      "           [--leases everybody|fair|elastic] [--seed N] [--learned N]\n"
	      "           [--svg OUT.svg] [--trace OUT.json] [--json]\n",
	      out);
}

static void need_policy(struct wish *wish, const char *name)
{
	wish->options.policy = policy_find(name);
	if (!*name || !wish->options.policy)
		die(name, "no such policy");
}

static uint64_t need_number(const char *text)
{
	char why[POLICY_WHY];
	uint64_t n;

	if (!*text || policy_seed_parse(text, &n, why))
		die(text, "must be a number");
	return n;
}

/* An option with a value. Return: it was one. */
static bool option(struct wish *wish, const char *name, const char *value)
{
	if (strcmp(name, "--policy") == 0)
		need_policy(wish, value);
	else if (strcmp(name, "--argument") == 0)
		wish->options.argument = value;
	else if (strcmp(name, "--leases") == 0)
		wish->options.leases = value;
	else if (strcmp(name, "--seed") == 0)
		wish->options.seed = need_number(value);
	else if (strcmp(name, "--learned") == 0)
		wish->warm = need_number(value);
	else if (strcmp(name, "--svg") == 0)
		wish->svg = value;
	else if (strcmp(name, "--trace") == 0)
		wish->timeline = value;
	else
		return false;
	return true;
}

static bool parse(int argc, char **argv, struct wish *wish)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			wish->json = true;
		else if (i + 1 < argc && option(wish, argv[i], argv[i + 1]))
			i++;
		else if (argv[i][0] == '-' || wish->load)
			return false;
		else if (wish->machine)
			wish->load = argv[i];
		else
			wish->machine = argv[i];
	}
	const char *leases = wish->options.leases;
	if (leases && strcmp(leases, "everybody") != 0 && strcmp(leases, "fair") != 0 &&
	    strcmp(leases, "elastic") != 0)
		die(leases, "must be everybody, fair or elastic");
	return wish->load;
}

static FILE *create(const char *path)
{
	FILE *out = fopen(path, "we");
	if (!out)
		die(path, strerror(errno));
	return out;
}

static void finish(FILE *out, const char *path)
{
	errno = 0;
	if (ferror(out) | fclose(out))
		die(path, strerror(errno ? errno : EIO));
}

static void draw(const struct wish *wish, json_t *timeline)
{
	char wrong[PLOT_ERROR];

	if (!timeline)
		die("timeline", "out of memory");
	if (wish->timeline) {
		FILE *out = create(wish->timeline);
		if (json_dumpf(timeline, out, JSON_COMPACT))
			die(wish->timeline, strerror(errno ? errno : EIO));
		finish(out, wish->timeline);
	}
	if (wish->svg) {
		struct plot *plot = plot_read(timeline, wrong);
		if (!plot)
			die("timeline", wrong);
		FILE *out = create(wish->svg);
		plot_draw(plot, out);
		finish(out, wish->svg);
		plot_free(plot);
	}
	json_decref(timeline);
}

static uint64_t best_single(const struct sim_machine *machine, const struct sim_load *load,
			    uint64_t seed)
{
	char error[SIM_ERROR];
	uint64_t best = 0, one;

	for (unsigned i = 0; i < machine->ndevices; i++) {
		/* One of each make. */
		if (machine->devices[i].alike != i + 1)
			continue;
		if (simulate_single(machine, load, i, seed, &one, error))
			die("simulation", error);
		if (!best || one < best)
			best = one;
	}
	return best;
}

/* With what was learned in so many runs before. */
static void run(struct wish *wish, const struct sim_machine *machine, const struct sim_load *load,
		struct sim_result *result)
{
	struct sim_result before = {0};
	char error[SIM_ERROR];

	for (uint64_t i = 0;; i++) {
		wish->options.costs = before.costs_size ? before.costs : NULL;
		wish->options.costs_size = before.costs_size;
		if (simulate(machine, load, &wish->options, result, error))
			die("simulation", error);
		sim_result_free(&before);
		if (i >= wish->warm)
			return;
		before = *result;
	}
}

int command_simulate(int argc, char **argv)
{
	struct wish wish = {.options = {.seed = 1}};
	static struct sim_machine machine;
	static struct sim_load load;
	static struct sim_result result;
	char error[SIM_ERROR];

	if (!parse(argc, argv, &wish)) {
		bool help = argc == 2 && strcmp(argv[1], "--help") == 0;
		usage(help ? stdout : stderr);
		return help ? 0 : 2;
	}
	const char *dot = strrchr(wish.load, '.');
	int rc = sim_machine_read(&machine, wish.machine, error);
	if (!rc && dot && strcmp(dot, ".json") == 0)
		rc = sim_load_trace(&load, &machine, wish.load, error);
	else if (!rc)
		rc = sim_load_read(&load, wish.load, error);
	if (rc)
		die("simulation", error);
	run(&wish, &machine, &load, &result);
	uint64_t single = best_single(&machine, &load, wish.options.seed);
	if (wish.json) {
		json_t *report = sim_report_json(&machine, &load, &result, single);
		if (!report)
			die("simulation", "out of memory");
		print_json(report);
		json_decref(report);
	} else {
		sim_report(stdout, &machine, &load, &result, single);
	}
	if (wish.svg || wish.timeline)
		draw(&wish, sim_timeline(&machine, &load, &result));
	sim_result_free(&result);
	sim_load_free(&load);
	return 0;
}
