/* SPDX-License-Identifier: Apache-2.0
 *
 * Manifests of registered variants, and what arax-compile gets of them: whatever is in one, every
 * section is good or has a reason; the bytes are read back as they were written.
 *
 * Input: one byte: a manifest (even) or the compiler's bytes (odd), then these.
 */
#include "kernels/registry.h"

#include <errno.h>
#include <string.h>

#include "transport/fuzz.h"

static unsigned long accepted, sections;

static void verify(const struct registry_entry *entry)
{
	CHECK(memchr(entry->reason, 0, sizeof(entry->reason)));
	CHECK(memchr(entry->targets, 0, sizeof(entry->targets)));
	CHECK(memchr(entry->options, 0, sizeof(entry->options)));
	CHECK(memchr(entry->file, 0, sizeof(entry->file)) && !strchr(entry->file, '/'));
	CHECK(entry->nargs <= REGISTRY_ARGS_MAX);
	for (uint32_t i = 0; i < entry->nargs; i++)
		CHECK(entry->args[i].name[0] && entry->args[i].type[0]);
}

static void manifest(const uint8_t *data, size_t size)
{
	struct registry *registry = calloc(1, sizeof(*registry));
	char *text = strndup((const char *)data, size);

	CHECK(registry && text);
	/* No directory, so there are no files either. */
	CHECK(!registry_parse(registry, "fuzz.ini", text, -1));
	registry_check(registry);
	for (unsigned i = 0; i < registry->count; i++) {
		verify(registry->entries[i]);
		CHECK(registry->entries[i]->reason[0]);
		sections++;
	}
	registry_free(registry);
	free(text);
}

static void blob(const uint8_t *data, size_t size)
{
	struct registry *registry = registry_read(data, size);
	char what[200];

	if (!registry) {
		CHECK(errno == EPROTO || errno == ENOMEM);
		return;
	}
	for (unsigned i = 0; i < registry->count; i++) {
		const struct arax_kernel_info none = {.name = "none"};

		CHECK(memchr(registry->entries[i]->targets, 0,
			     sizeof(registry->entries[i]->targets)));
		(void)registry_args_differ(registry->entries[i], &none, what, sizeof(what));
	}
	registry_free(registry);
	accepted++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] & 1)
		blob(data + 1, size - 1);
	else
		manifest(data + 1, size - 1);
	return 0;
}

static const char text[] =
    "# a manifest\n[one]\nkernel = one\nbuiltin = yes\ntarget = any\nsource = one.cl\nsha256 = "
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
    "arguments = global const float *restrict a, constant uint4 *b,\narguments = local int *c\n"
    "[two]\nkernel = one\nprogram = "
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\ntarget = pocl rusticl\n"
    "binary = x.ptx\nformat = ptx\nlocal = 8 4\nglobal_multiple = 64\noptions = -DX=1\n";

size_t fuzz_seed(unsigned n, uint8_t *data, size_t max, char *name)
{
	struct registry_entry entry = {.section = "one",
				       .kernel = "one",
				       .builtin = true,
				       .targets = "any",
				       .nargs = 1,
				       .args = {{"a", "int", 3}},
				       .rules = {.local = {8}},
				       .data = (char[]){"text"},
				       .size = 4};
	struct registry_entry *list[] = {&entry, &entry};
	const struct registry registry = {.count = n, .entries = list};
	struct arax_writer w = {0};
	size_t size = sizeof(text);

	if (n > 2 || max < 4096)
		return 0;
	snprintf(name, 32, "registry-%u", n);
	data[0] = n != 0;
	if (n) {
		(void)registry_write(&registry, NULL, false, &w);
		CHECK(!w.failed && w.size < max);
		size = w.size + 1;
		memcpy(data + 1, w.data, w.size);
		arax_writer_free(&w);
	} else {
		memcpy(data + 1, text, sizeof(text) - 1);
	}
	return size;
}

void fuzz_reached(void)
{
	CHECK(accepted && sections);
}
