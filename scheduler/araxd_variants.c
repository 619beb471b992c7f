/* SPDX-License-Identifier: Apache-2.0
 *
 * See araxd_variants.h. A build that nothing is registered for costs a look at its kind, and, where
 * programs have variants at all, the hash of its source.
 */
#include "scheduler/araxd_variants.h"

#include "transport/build.h"
#include "transport/socket.h"

#include <errno.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct variants {
	struct registry *registry;
	bool programs; /* there are some of programs */
	/* By entry: what the compiler had against it when it was last built with; NULL: nothing.
	 */
	char **refused;
};

/* Where Arax's own are: beside this program's place. */
static bool own_directory(char path[PATH_MAX])
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n <= 0)
		return false;
	self[n] = '\0';
	return snprintf(path, PATH_MAX, "%s/../share/arax/variants", dirname(self)) < PATH_MAX;
}

static void tell(const struct registry *registry)
{
	unsigned good = 0;

	for (unsigned i = 0; i < registry->count; i++) {
		const struct registry_entry *entry = registry->entries[i];

		good += !entry->reason[0];
		if (entry->reason[0])
			araxd_warn("%s:%u: variant [%s] is rejected: %s", entry->manifest,
				   entry->line, entry->section, entry->reason);
	}
	if (registry->count)
		araxd_info("%u registered variants", good);
}

int variants_load(struct araxd *daemon)
{
	struct variants *variants = calloc(1, sizeof(*variants));
	const char *directories[2];
	char own[PATH_MAX];
	unsigned count = 0, required = 0;

	if (!variants)
		return -ENOMEM;
	if (own_directory(own))
		directories[count++] = own;
	if (daemon->config.variants_directory[0]) {
		required = 1u << count;
		directories[count++] = daemon->config.variants_directory;
	}
	int error = registry_load(&variants->registry, directories, count, required);
	if (!error) {
		variants->refused = calloc(variants->registry->count + 1, sizeof(char *));
		error = variants->refused ? 0 : -ENOMEM;
	}
	if (error) {
		registry_free(variants->registry);
		free(variants);
		return error;
	}
	for (unsigned i = 0; i < variants->registry->count; i++) {
		const struct registry_entry *entry = variants->registry->entries[i];

		variants->programs |= !entry->reason[0] && !entry->builtin;
	}
	tell(variants->registry);
	variants_free(daemon);
	daemon->variants = variants;
	return 0;
}

void variants_free(struct araxd *daemon)
{
	struct variants *variants = daemon->variants;

	if (!variants)
		return;
	for (unsigned i = 0; i < variants->registry->count; i++)
		free(variants->refused[i]);
	free(variants->refused);
	registry_free(variants->registry);
	free(variants);
	daemon->variants = NULL;
}

/* ---- builds */

/* The hash of a request's source; false when it has none. */
static bool source_hash(struct arax_reader *reader, char hash[REGISTRY_HASH])
{
	size_t size;

	(void)arax_read_bytes(reader, &size); /* the options */
	const void *source = arax_read_bytes(reader, &size);
	if (reader->failed)
		return false;
	registry_hash(source ? source : "", size, hash);
	return true;
}

int variants_choose(const struct araxd *daemon, const void *request, size_t size, bool careful,
		    struct variants_choice *choice)
{
	const struct variants *variants = daemon->variants;
	struct arax_reader reader = {.data = request, .size = size, .at = 2 * sizeof(uint32_t)};
	struct arax_writer writer = {0};
	char hash[REGISTRY_HASH];
	const char *program = NULL;
	int error = 0;

	*choice = (struct variants_choice){.fd = -1};
	if (!variants || size < 3 * sizeof(uint32_t))
		return 0;
	uint32_t kind = arax_read_u32(&reader);
	if (kind == ARAX_BUILD_EXECUTABLE && variants->programs && !careful &&
	    source_hash(&reader, hash))
		program = hash;
	else if (kind != ARAX_BUILD_BUILTIN)
		return 0;
	unsigned count = registry_write(variants->registry, program, careful, &writer);
	if (writer.failed)
		error = -ENOMEM;
	else if (count || !program) {
		registry_hash(writer.data, writer.size, choice->digest);
		choice->fd = arax_memfd_from("arax-variants", writer.data, writer.size);
		error = choice->fd < 0 ? choice->fd : 0;
	}
	arax_writer_free(&writer);
	return error;
}

static void note(struct variants *variants, const struct arax_variant *variant)
{
	for (unsigned i = 0; i < variants->registry->count; i++) {
		const struct registry_entry *entry = variants->registry->entries[i];

		if (entry->reason[0] || strcmp(entry->section, variant->section) != 0)
			continue;
		char *before = variants->refused[i];
		variants->refused[i] = NULL;
		if (variant->kind != ARAX_VARIANT_REFUSED)
			return free(before);
		/* A compiler said it, so it is a text of any kind. */
		char *text = strndup(variant->data ? variant->data : "",
				     variant->size < 250 ? variant->size : 250);
		for (char *at = text; at && *at; at++)
			if ((unsigned char)*at < ' ' || (unsigned char)*at > '~')
				*at = '?';
		variants->refused[i] = text;
		if (!text || !before || strcmp(text, before) != 0)
			araxd_warn("%s:%u: variant [%s] is not used: %s", entry->manifest,
				   entry->line, entry->section, text ? text : "");
		return free(before);
	}
}

void variants_built(struct araxd *daemon, const void *data, size_t size)
{
	struct arax_result *result = daemon->variants ? arax_result_parse(data, size) : NULL;

	for (uint32_t i = 0; result && i < result->nvariants; i++)
		note(daemon->variants, &result->variants[i]);
	arax_result_free(result);
}

void variants_failed(struct araxd *daemon, int fd)
{
	static char reason[] = "the build failed with it, and is good or bad without it";
	const void *data;
	size_t size;

	if (!daemon->variants || arax_memfd_map(fd, ARAX_BUILD_MAX, &data, &size))
		return;
	struct registry *registry = registry_read(data, size);
	for (unsigned i = 0; registry && i < registry->count; i++) {
		const struct arax_variant variant = {.section = registry->entries[i]->section,
						     .kind = ARAX_VARIANT_REFUSED,
						     .data = reason,
						     .size = strlen(reason)};

		if (!registry_reference(registry->entries[i]))
			note(daemon->variants, &variant);
	}
	registry_free(registry);
	munmap((void *)(uintptr_t)data, size);
}

/* ---- for others to see */

void variants_builtins(const struct araxd *daemon, char *names, size_t size)
{
	const struct registry *registry = daemon->variants ? daemon->variants->registry : NULL;
	size_t used = 0;

	names[0] = '\0';
	for (unsigned i = 0; registry && i < registry->count; i++) {
		const struct registry_entry *entry = registry->entries[i];
		size_t length = strlen(entry->kernel);

		if (entry->reason[0] || !registry_reference(entry))
			continue;
		if (used + length + 2 > size) {
			araxd_warn("too many built-in kernels: %s is not offered", entry->kernel);
			continue;
		}
		used += (size_t)snprintf(names + used, size - used, "%s%s", used ? ";" : "",
					 entry->kernel);
	}
}

static json_t *entry_json(const struct registry_entry *entry, const char *refused)
{
	const char *state = entry->reason[0] ? "rejected" : refused ? "not used" : "ok";
	const char *reason = entry->reason[0] ? entry->reason : refused ? refused : "";

	return json_pack("{s:s, s:s, s:s, s:b, s:s, s:s, s:s, s:s, s:i, s:s, s:s}", "name",
			 entry->section, "kernel", entry->kernel, "kind",
			 entry->binary ? entry->format : "source", "builtin", entry->builtin,
			 "program", entry->program, "target", entry->targets, "file", entry->file,
			 "manifest", entry->manifest, "line", (int)entry->line, "state", state,
			 "reason", reason);
}

char *variants_json(const struct araxd *daemon)
{
	const struct variants *variants = daemon->variants;
	json_t *list = json_array(), *root = json_pack("{s:o}", "variants", list);

	for (unsigned i = 0; variants && i < variants->registry->count; i++)
		json_array_append_new(
		    list, entry_json(variants->registry->entries[i], variants->refused[i]));
	char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
	json_decref(root);
	return text;
}
