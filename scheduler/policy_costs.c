/* SPDX-License-Identifier: Apache-2.0
 *
 * See policy_costs.h. The text:
 *
 *	arax-costs 1
 *	devices cpu-basic cpu-pthread sim0
 *	account 5000000000 70000000
 *	0123456789abcdef saxpy 10:0=5120 10:2=880 20:2=91000
 *	end 1
 *
 * The account: ns that were executed, and those of them that were spent on learning. A line per
 *kernel: its program, its name, and for a size (by its logarithm) and a device (by its place in the
 *second line) nanoseconds. The last line counts the kernels.
 */
#include "scheduler/policy_costs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHAINS 1024u
#define NAME_MOST 128u
#define NS_MOST 1000000000000000ull /* eleven days */

struct entry {
	struct policy_cost cost; /* first: put() gets a pointer to it */
	uint64_t program;
	uint32_t refs, chain;
	struct entry *next;	     /* in its chain */
	struct entry *newer, *older; /* by their last use */
	char kernel[];
};

struct policy_costs {
	struct entry *chains[CHAINS];
	struct entry *newest, *oldest;
	uint64_t run_ns, explored_ns;
	uint32_t unused; /* entries without a reference */
};

struct policy_costs *policy_costs_new(void)
{
	return calloc(1, sizeof(struct policy_costs));
}

void policy_costs_free(struct policy_costs *costs)
{
	while (costs && costs->newest) {
		struct entry *entry = costs->newest;
		costs->newest = entry->older;
		free(entry);
	}
	free(costs);
}

uint64_t policy_program_key(const void *bytes, size_t size)
{
	const unsigned char *at = bytes;
	uint64_t key = 0x9E3779B97F4A7C15ull ^ size;

	while (size) {
		uint64_t word = 0;
		size_t n = size < sizeof(word) ? size : sizeof(word);
		memcpy(&word, at, n);
		key = (key ^ word) * 0xFF51AFD7ED558CCDull;
		key ^= key >> 32;
		at += n;
		size -= n;
	}
	return key;
}

static void unlink_use(struct policy_costs *costs, struct entry *entry)
{
	*(entry->newer ? &entry->newer->older : &costs->newest) = entry->older;
	*(entry->older ? &entry->older->newer : &costs->oldest) = entry->newer;
}

static void link_newest(struct policy_costs *costs, struct entry *entry)
{
	entry->newer = NULL;
	entry->older = costs->newest;
	*(costs->newest ? &costs->newest->newer : &costs->oldest) = entry;
	costs->newest = entry;
}

static void link_oldest(struct policy_costs *costs, struct entry *entry)
{
	entry->older = NULL;
	entry->newer = costs->oldest;
	*(costs->oldest ? &costs->oldest->older : &costs->newest) = entry;
	costs->oldest = entry;
}

static uint32_t chain_of(uint64_t program, const char *kernel)
{
	return (uint32_t)(program ^ policy_program_key(kernel, strlen(kernel))) % CHAINS;
}

static struct entry *find(const struct policy_costs *costs, uint64_t program, const char *kernel)
{
	struct entry *entry = costs->chains[chain_of(program, kernel)];

	while (entry && (entry->program != program || strcmp(entry->kernel, kernel) != 0))
		entry = entry->next;
	return entry;
}

static void discard(struct policy_costs *costs, struct entry *entry)
{
	struct entry **at = &costs->chains[entry->chain];

	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
	unlink_use(costs, entry);
	costs->unused--;
	free(entry);
}

/* Room for one more that nobody uses. */
static void discard_oldest(struct policy_costs *costs)
{
	struct entry *entry = costs->oldest;

	while (entry && entry->refs)
		entry = entry->newer;
	if (entry)
		discard(costs, entry);
}

/* A new one, without references. */
static struct entry *add(struct policy_costs *costs, uint64_t program, const char *kernel)
{
	size_t n = strlen(kernel) + 1;
	struct entry *entry = calloc(1, sizeof(*entry) + n);

	if (!entry)
		return NULL;
	if (costs->unused == POLICY_COSTS_KERNELS)
		discard_oldest(costs);
	memcpy(entry->kernel, kernel, n);
	entry->program = program;
	entry->chain = chain_of(program, kernel);
	entry->next = costs->chains[entry->chain];
	costs->chains[entry->chain] = entry;
	link_newest(costs, entry);
	costs->unused++;
	return entry;
}

struct policy_cost *policy_costs_get(struct policy_costs *costs, uint64_t program,
				     const char *kernel)
{
	struct entry *entry = find(costs, program, kernel);

	if (!entry)
		entry = add(costs, program, kernel);
	if (!entry)
		return NULL;
	if (!entry->refs++)
		costs->unused--;
	unlink_use(costs, entry);
	link_newest(costs, entry);
	return &entry->cost;
}

void policy_costs_put(struct policy_costs *costs, struct policy_cost *cost)
{
	struct entry *entry = (struct entry *)cost;

	if (--entry->refs)
		return;
	if (costs->unused == POLICY_COSTS_KERNELS)
		discard_oldest(costs);
	costs->unused++;
}

void policy_costs_forget_device(struct policy_costs *costs, unsigned device)
{
	for (struct entry *entry = costs->newest; entry; entry = entry->older)
		for (unsigned bucket = 0; bucket < POLICY_BUCKETS; bucket++)
			entry->cost.ns[bucket][device] = 0;
}

/* An old life's credit is worth ten minutes at most. */
#define ACCOUNT_MOST 600000000000ull

void policy_costs_note(struct policy_costs *costs, const struct policy_state *state)
{
	costs->run_ns = state->run_ns < ACCOUNT_MOST ? state->run_ns : ACCOUNT_MOST;
	costs->explored_ns = state->explored_ns < ACCOUNT_MOST ? state->explored_ns : ACCOUNT_MOST;
	/* What is more than ten minutes ago counts in proportion. */
	if (state->run_ns > ACCOUNT_MOST)
		costs->explored_ns = (uint64_t)((double)state->explored_ns / (double)state->run_ns *
						(double)ACCOUNT_MOST);
}

void policy_costs_credit(const struct policy_costs *costs, struct policy_state *state)
{
	state->run_ns += costs->run_ns;
	state->explored_ns += costs->explored_ns;
}

/* ---- writing -------------------------------------------------------------------------------- */

static bool plain(const char *name, size_t most)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)name[i] <= 0x20 || (unsigned char)name[i] >= 0x7F)
			return false;
	}
	return n && n <= most;
}

/* Four digits say enough. */
static uint64_t rounded(float ns)
{
	uint64_t value = ns < 1 ? 1 : ns > (float)NS_MOST ? NS_MOST : (uint64_t)ns, unit = 1;

	while (value / unit >= 10000)
		unit *= 10;
	return value / unit * unit;
}

struct text {
	char *at;
	size_t used, room;
};

static bool put(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool put(struct text *text, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	int n = vsnprintf(text->at + text->used, text->room - text->used, format, arguments);
	va_end(arguments);
	if (n < 0 || (size_t)n >= text->room - text->used)
		return false;
	text->used += (size_t)n;
	return true;
}

/* Return: false when there was no room; then nothing was written. *any: there was something. */
static bool put_entry(struct text *text, const struct entry *entry, unsigned n, bool *any)
{
	size_t before = text->used;
	bool good = true;

	*any = false;
	for (unsigned bucket = 0; bucket < POLICY_BUCKETS && good; bucket++) {
		for (unsigned device = 0; device < n && good; device++) {
			float ns = entry->cost.ns[bucket][device];
			if (ns <= 0)
				continue;
			if (!*any)
				good =
				    put(text, "%016" PRIx64 " %s", entry->program, entry->kernel);
			*any = true;
			good = good && put(text, " %u:%u=%" PRIu64, bucket, device, rounded(ns));
		}
	}
	if (*any)
		good = good && put(text, "\n");
	if (!good)
		text->used = before;
	return good;
}

size_t policy_costs_save(const struct policy_costs *costs, const char *const *names, unsigned n,
			 char *blob, size_t room)
{
	static const size_t last_line = sizeof("end 4294967295\n");
	struct text text = {.at = blob,
			    .room = room < POLICY_COSTS_BLOB ? room : POLICY_COSTS_BLOB};
	uint32_t kernels = 0;
	bool any, good = text.room > last_line && n <= POLICY_DEVICES;

	if (!good)
		return 0;
	text.room -= last_line;
	good = put(&text, "arax-costs 1\ndevices");
	for (unsigned i = 0; i < n && good; i++)
		good = plain(names[i], 31) && put(&text, " %s", names[i]);
	if (!good ||
	    !put(&text, "\naccount %" PRIu64 " %" PRIu64 "\n", costs->run_ns, costs->explored_ns))
		return 0;
	for (const struct entry *entry = costs->newest; entry && kernels < POLICY_COSTS_KERNELS;
	     entry = entry->older) {
		if (!plain(entry->kernel, NAME_MOST))
			continue;
		if (!put_entry(&text, entry, n, &any))
			break;
		kernels += any;
	}
	text.room += last_line;
	return kernels && put(&text, "end %u\n", kernels) ? text.used : 0;
}

/* ---- reading -------------------------------------------------------------------------------- */

struct reader {
	const char *at, *end;
	unsigned devices;
	int here[POLICY_DEVICES]; /* index of the n-th device of the text; -1: it is not there */
	uint64_t run_ns, explored_ns;
};

/* A word up to the next space or end of line, copied. */
static bool word(struct reader *r, char *to, size_t room)
{
	size_t n = 0;

	while (r->at < r->end && *r->at != ' ' && *r->at != '\n') {
		if (n + 1 >= room || (unsigned char)*r->at < 0x21 || (unsigned char)*r->at > 0x7E)
			return false;
		to[n++] = *r->at++;
	}
	to[n] = '\0';
	return n > 0;
}

static bool byte(struct reader *r, char c)
{
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

static bool literal(struct reader *r, const char *text)
{
	for (; *text; text++)
		if (!byte(r, *text))
			return false;
	return true;
}

/* As printf writes it: no sign, no zeros before it. */
static bool digits(struct reader *r, uint64_t most, uint64_t *value)
{
	const char *begin = r->at;

	*value = 0;
	while (r->at < r->end && *r->at >= '0' && *r->at <= '9') {
		*value = *value * 10 + (uint64_t)(*r->at++ - '0');
		if (*value > most)
			return false;
	}
	return r->at > begin && (*begin != '0' || r->at == begin + 1);
}

static bool read_key(struct reader *r, uint64_t *key)
{
	*key = 0;
	for (int i = 0; i < 16; i++) {
		char c = r->at < r->end ? *r->at++ : '\0';
		if (c >= '0' && c <= '9')
			*key = *key << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			*key = *key << 4 | (uint64_t)(c - 'a' + 10);
		else
			return false;
	}
	return true;
}

static const char *read_devices(struct reader *r, const char *const *names, unsigned n)
{
	char name[32];

	if (!literal(r, "arax-costs 1\n"))
		return "not of this version";
	if (!literal(r, "devices"))
		return "no devices";
	while (!byte(r, '\n')) {
		if (!byte(r, ' ') || !word(r, name, sizeof(name)) || r->devices == POLICY_DEVICES)
			return "a device is wrong";
		int *here = &r->here[r->devices++];
		*here = -1;
		for (unsigned i = 0; i < n && i < POLICY_DEVICES; i++) {
			if (strcmp(names[i], name) == 0)
				*here = (int)i;
		}
	}
	if (!literal(r, "account ") || !digits(r, ACCOUNT_MOST, &r->run_ns) || !byte(r, ' ') ||
	    !digits(r, ACCOUNT_MOST, &r->explored_ns) || !byte(r, '\n'))
		return "the account is wrong";
	return NULL;
}

/* One kernel. cost: what is taken goes there; NULL: only looked at. */
static const char *read_times(struct reader *r, struct policy_cost *cost)
{
	uint64_t bucket, device, ns, before = 0;

	while (!byte(r, '\n')) {
		if (!byte(r, ' ') || !digits(r, POLICY_BUCKETS - 1, &bucket) || !byte(r, ':') ||
		    !digits(r, POLICY_DEVICES - 1, &device) || !byte(r, '=') ||
		    !digits(r, NS_MOST, &ns) || !ns || device >= r->devices)
			return "a time is wrong";
		uint64_t order = 1 + bucket * POLICY_DEVICES + device;
		if (order <= before)
			return "times are not in order";
		before = order;
		if (!cost || r->here[device] < 0)
			continue;
		float *known = &cost->ns[bucket][r->here[device]];
		if (*known <= 0)
			*known = (float)ns;
	}
	return before ? NULL : "a kernel without times";
}

/* A kernel's line begins with a hexadecimal digit and another one. */
static bool more_kernels(const struct reader *r)
{
	return r->end - r->at >= 2 && r->at[1] != 'n';
}

/* What is loaded was used before anything that is here. */
static struct policy_cost *loaded(struct policy_costs *costs, uint64_t program, const char *kernel)
{
	bool fresh = !find(costs, program, kernel);
	struct policy_cost *cost = policy_costs_get(costs, program, kernel);

	if (fresh && cost) {
		unlink_use(costs, (struct entry *)cost);
		link_oldest(costs, (struct entry *)cost);
	}
	return cost;
}

static const char *read_kernels(struct reader *r, struct policy_costs *costs, bool *lost)
{
	uint64_t kernels = 0, said, program;
	char name[NAME_MOST + 1];

	while (more_kernels(r)) {
		if (++kernels > POLICY_COSTS_KERNELS)
			return "too many kernels";
		if (!read_key(r, &program) || !byte(r, ' ') || !word(r, name, sizeof(name)))
			return "a kernel is wrong";
		struct policy_cost *cost = costs ? loaded(costs, program, name) : NULL;
		*lost |= costs && !cost;
		const char *wrong = read_times(r, cost);
		if (cost)
			policy_costs_put(costs, cost);
		if (wrong)
			return wrong;
	}
	if (!literal(r, "end ") || !digits(r, UINT32_MAX, &said) || !byte(r, '\n') ||
	    said != kernels || r->at != r->end)
		return "it is cut off";
	return NULL;
}

int policy_costs_load(struct policy_costs *costs, const char *const *names, unsigned n,
		      const char *blob, size_t size, char why[POLICY_WHY])
{
	struct reader first = {.at = blob, .end = blob + size};
	bool lost = false;
	const char *wrong = size > POLICY_COSTS_BLOB ? "too large" : read_devices(&first, names, n);
	struct reader second = first;

	/* Once to see whether it is good, then to take it. */
	why[0] = '\0';
	if (!wrong)
		wrong = read_kernels(&first, NULL, &lost);
	if (wrong) {
		snprintf(why, POLICY_WHY, "learned times: %s", wrong);
		return -EINVAL;
	}
	read_kernels(&second, costs, &lost);
	costs->run_ns = second.run_ns;
	costs->explored_ns = second.explored_ns;
	return lost ? -ENOMEM : 0;
}
