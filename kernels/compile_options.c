/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks build options for arax-compile. PoCL's own check is looser than it looks: it splits at
 * spaces, but what it hands to clang is split at every white space, so "-DA\t-load\tx.so" would
 * pass it and load x.so. Here every white space separates, inside quotes it becomes a space, and
 * each word must be one of a list.
 */
#include "kernels/compile_options.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum option_use {
	OPTION_SOURCE = 1, /* where a source is compiled */
	OPTION_LINK = 2,   /* for clLinkProgram */
	OPTION_DROP = 4,   /* valid, but PoCL would refuse it or has no use for it */
};

static const struct option {
	const char *name;
	unsigned use;
} options_known[] = {
    {"-cl-single-precision-constant", OPTION_SOURCE},
    {"-cl-fp32-correctly-rounded-divide-sqrt", OPTION_SOURCE},
    {"-cl-opt-disable", OPTION_SOURCE},
    {"-cl-mad-enable", OPTION_SOURCE},
    {"-cl-kernel-arg-info", OPTION_SOURCE | OPTION_DROP},
    {"-cl-strict-aliasing", OPTION_SOURCE},
    {"-cl-uniform-work-group-size", OPTION_SOURCE | OPTION_DROP},
    {"-cl-no-subgroup-ifp", OPTION_SOURCE | OPTION_LINK | OPTION_DROP},
    {"-cl-denorms-are-zero", OPTION_SOURCE | OPTION_LINK},
    {"-cl-no-signed-zeros", OPTION_SOURCE | OPTION_LINK},
    {"-cl-unsafe-math-optimizations", OPTION_SOURCE | OPTION_LINK},
    {"-cl-finite-math-only", OPTION_SOURCE | OPTION_LINK},
    {"-cl-fast-relaxed-math", OPTION_SOURCE | OPTION_LINK},
    {"-cl-std=CL1.1", OPTION_SOURCE},
    {"-cl-std=CL1.2", OPTION_SOURCE},
    {"-cl-std=CL2.0", OPTION_SOURCE},
    {"-cl-std=CL3.0", OPTION_SOURCE},
    {"-w", OPTION_SOURCE},
    {"-Werror", OPTION_SOURCE},
    {"-g", OPTION_SOURCE},
    {"-create-library", OPTION_LINK},
    {"-enable-link-options", OPTION_LINK},
    {"-O0", OPTION_SOURCE | OPTION_DROP},
    {"-O1", OPTION_SOURCE | OPTION_DROP},
    {"-O2", OPTION_SOURCE | OPTION_DROP},
    {"-O3", OPTION_SOURCE | OPTION_DROP},
    {"-Os", OPTION_SOURCE | OPTION_DROP},
};

struct options_state {
	FILE *out;
	int error;
	bool link, create_library, enable_link_options;
};

/* The next word, quotes and all; NULL at the end, or without memory: then state->error is set,
 * because options that are left out make another program. *bad is set for a quote that does not
 * end. */
static char *options_word(struct options_state *state, const char **at, bool *bad)
{
	bool quoted = false;
	const char *p = *at;

	while (isspace((unsigned char)*p))
		p++;
	const char *start = p;
	while (*p && (quoted || !isspace((unsigned char)*p))) {
		if (*p == '"')
			quoted = !quoted;
		p++;
	}
	*at = p;
	*bad = quoted;
	if (p == start)
		return NULL;

	char *word = strndup(start, (size_t)(p - start));
	if (!word)
		state->error = -ENOMEM;
	for (char *c = word; c && *c; c++) {
		if (isspace((unsigned char)*c))
			*c = ' ';
	}
	return word;
}

static bool options_is_warning(const char *word)
{
	if (strncmp(word, "-W", 2) != 0 || strchr(word, ','))
		return false;
	for (const char *c = word + 2; *c; c++) {
		if (!isalnum((unsigned char)*c) && !strchr("-=+", *c))
			return false;
	}
	return true;
}

/* What may be done with a word: OPTION_* or 0 when it is unknown. */
static unsigned options_use(const char *word)
{
	for (size_t i = 0; i < sizeof(options_known) / sizeof(options_known[0]); i++) {
		if (strcmp(word, options_known[i].name) == 0)
			return options_known[i].use;
	}
	return options_is_warning(word) ? OPTION_SOURCE | OPTION_DROP : 0;
}

/* -D and -I, with their value joined or in the next word. */
static bool options_take_value(struct options_state *state, const char *word, const char **at)
{
	bool bad = false;

	if (word[2]) {
		fprintf(state->out, "%s ", word);
		return true;
	}
	char *value = options_word(state, at, &bad);
	bool good = value && !bad;
	if (good)
		fprintf(state->out, "%s%s ", word, value);
	free(value);
	return good;
}

static bool options_take(struct options_state *state, const char *word, const char **at)
{
	if (strncmp(word, "-D", 2) == 0 || strncmp(word, "-I", 2) == 0)
		return !state->link && options_take_value(state, word, at);

	unsigned use = options_use(word);
	if (!(use & (state->link ? OPTION_LINK : OPTION_SOURCE)))
		return false;
	state->create_library |= strcmp(word, "-create-library") == 0;
	state->enable_link_options |= strcmp(word, "-enable-link-options") == 0;
	/* PoCL would refuse floating point options when it links an executable; the objects were
	 * compiled with theirs. */
	if (!state->link && !(use & OPTION_DROP))
		fprintf(state->out, "%s ", word);
	return true;
}

int options_check(enum arax_build_kind kind, const char *options, const char *prefix, char **passed,
		  char **refused)
{
	struct options_state state = {.link = kind == ARAX_BUILD_LINK};
	size_t size = 0;
	int error = 0;

	*passed = NULL;
	*refused = NULL;
	state.out = open_memstream(passed, &size);
	if (!state.out)
		return -ENOMEM;
	if (prefix && !state.link)
		fprintf(state.out, "%s ", prefix);

	bool bad = false;
	for (char *word; (word = options_word(&state, &options, &bad));) {
		bool taken = !bad && options_take(&state, word, &options);

		if (!taken && !state.error) {
			*refused = word;
			error = -EINVAL;
			break;
		}
		free(word);
		if (!taken)
			break;
	}
	error = state.error ?: error;
	/* Without it PoCL does not tell what the arguments are, although it knows. */
	if (!state.link)
		fputs("-cl-kernel-arg-info ", state.out);
	if (state.create_library)
		fputs("-create-library ", state.out);
	if (!error && state.enable_link_options && !state.create_library) {
		*refused = strdup("-enable-link-options");
		error = -EINVAL;
	}
	if (fclose(state.out) != 0 && !error)
		error = -ENOMEM;
	return error;
}
