/* SPDX-License-Identifier: Apache-2.0
 *
 * What arax-compile gets of the registry: the entries that belong to one build, as bytes. They come
 * from araxd, and are checked like all that comes from another process.
 *
 * u32 magic, u32 count; count x (string section, string kernel, u32 is builtin, u32 is binary,
 * string targets, string format, string options, u64 rules[9], u32 nargs; nargs x (string name,
 * string type, u32 address); bytes data).
 */
#include "kernels/registry_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOB_MAGIC 0x56786172u /* "arxV" */
#define ENTRY_BYTES (2 * 8 + 2 * 4 + 3 * 8 + 9 * 8 + 4 + 8)

static void rules_write(struct arax_writer *w, const struct arax_variant_rules *rules)
{
	for (int i = 0; i < 3; i++) {
		arax_write_u64(w, rules->local[i]);
		arax_write_u64(w, rules->local_multiple[i]);
		arax_write_u64(w, rules->global_multiple[i]);
	}
}

static void entry_write(struct arax_writer *w, const struct registry_entry *entry)
{
	arax_write_string(w, entry->section);
	arax_write_string(w, entry->kernel);
	arax_write_u32(w, entry->builtin);
	arax_write_u32(w, entry->binary);
	arax_write_string(w, entry->targets);
	arax_write_string(w, entry->format);
	arax_write_string(w, entry->options);
	rules_write(w, &entry->rules);
	arax_write_u32(w, entry->nargs);
	for (uint32_t i = 0; i < entry->nargs; i++) {
		arax_write_string(w, entry->args[i].name);
		arax_write_string(w, entry->args[i].type);
		arax_write_u32(w, entry->args[i].address);
	}
	arax_write_bytes(w, entry->data, entry->size);
}

static bool is_wanted(const struct registry_entry *entry, const char *program, bool references)
{
	if (entry->reason[0] || (references && !registry_reference(entry)))
		return false;
	return program ? strcmp(entry->program, program) == 0 : entry->builtin;
}

unsigned registry_write(const struct registry *registry, const char *program, bool references,
			struct arax_writer *w)
{
	unsigned count = 0;

	for (unsigned i = 0; i < registry->count; i++)
		count += is_wanted(registry->entries[i], program, references);
	arax_write_u32(w, BLOB_MAGIC);
	arax_write_u32(w, count);
	for (unsigned i = 0; i < registry->count; i++)
		if (is_wanted(registry->entries[i], program, references))
			entry_write(w, registry->entries[i]);
	return count;
}

/* A string that has room there. */
static void read_into(struct arax_reader *r, char *to, size_t size)
{
	char *text = arax_read_string(r);

	if (!text || strlen(text) >= size)
		r->failed = true;
	else
		strcpy(to, text);
	free(text);
}

static void entry_read(struct arax_reader *r, struct registry_entry *entry)
{
	size_t size;

	read_into(r, entry->section, sizeof(entry->section));
	read_into(r, entry->kernel, sizeof(entry->kernel));
	entry->builtin = arax_read_u32(r);
	entry->binary = arax_read_u32(r);
	read_into(r, entry->targets, sizeof(entry->targets));
	read_into(r, entry->format, sizeof(entry->format));
	read_into(r, entry->options, sizeof(entry->options));
	for (int i = 0; i < 3; i++) {
		entry->rules.local[i] = arax_read_u64(r);
		entry->rules.local_multiple[i] = arax_read_u64(r);
		entry->rules.global_multiple[i] = arax_read_u64(r);
	}
	entry->nargs = arax_read_u32(r);
	if (entry->nargs > REGISTRY_ARGS_MAX) {
		entry->nargs = 0;
		r->failed = true;
	}
	for (uint32_t i = 0; i < entry->nargs && !r->failed; i++) {
		read_into(r, entry->args[i].name, sizeof(entry->args[i].name));
		read_into(r, entry->args[i].type, sizeof(entry->args[i].type));
		entry->args[i].address = arax_read_u32(r);
	}
	const void *data = arax_read_bytes(r, &size);
	entry->data = calloc(1, size + 1);
	if (!entry->data)
		r->failed = true;
	else if (data)
		memcpy(entry->data, data, size);
	entry->size = size;
}

struct registry *registry_read(const void *data, size_t size)
{
	struct arax_reader r = {.data = data, .size = size};
	struct registry *registry = calloc(1, sizeof(*registry));
	uint32_t magic = arax_read_u32(&r), count = arax_read_u32(&r);

	errno = 0;
	if (magic != BLOB_MAGIC || count > (r.size - r.at) / ENTRY_BYTES)
		r.failed = true;
	for (uint32_t i = 0; registry && !r.failed && i < count; i++) {
		struct registry_entry *entry = registry_add(registry, "");

		if (entry)
			entry_read(&r, entry);
		else
			r.failed = true;
	}
	if (registry && !r.failed && r.at == r.size)
		return registry;
	int error = !registry || errno == ENOMEM ? ENOMEM : EPROTO;
	registry_free(registry);
	errno = error;
	return NULL;
}
