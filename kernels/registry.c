/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads manifests (registry.h). A manifest is cut at its sections and each is parsed by itself, so
 * that no mistake reaches beyond the section that it is in.
 */
#include "kernels/registry_internal.h"

#include "kernels/compile_options.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MANIFEST_MAX (256u << 10)
#define LINE_MAX_BYTES 190 /* inih takes no more */

void registry_reject(struct registry_entry *entry, const char *format, ...)
{
	va_list arguments;

	if (entry->reason[0])
		return;
	va_start(arguments, format);
	vsnprintf(entry->reason, sizeof(entry->reason), format, arguments);
	va_end(arguments);
}

struct registry_entry *registry_add(struct registry *registry, const char *manifest)
{
	struct registry_entry **list =
	    reallocarray(registry->entries, registry->count + 1, sizeof(*list));
	struct registry_entry *entry = calloc(1, sizeof(*entry));

	if (list)
		registry->entries = list;
	if (entry)
		entry->manifest = strdup(manifest);
	if (!list || !entry || !entry->manifest) {
		free(entry);
		return NULL;
	}
	list[registry->count++] = entry;
	return entry;
}

void registry_free(struct registry *registry)
{
	for (unsigned i = 0; registry && i < registry->count; i++) {
		free(registry->entries[i]->manifest);
		free(registry->entries[i]->data);
		free(registry->entries[i]);
	}
	if (registry)
		free(registry->entries);
	free(registry);
}

/* ---- the keys: each returns NULL or what the value must be ----------------------------------- */

static bool is_word(const char *text, const char *others)
{
	for (const char *at = text; *at; at++)
		if (!isalnum((unsigned char)*at) && !strchr(others, *at))
			return false;
	return *text;
}

static const char *set_kernel(struct registry_entry *entry, const char *value)
{
	if (!is_word(value, "_") || isdigit((unsigned char)value[0]) ||
	    strlen(value) >= sizeof(entry->kernel))
		return "the name of a kernel";
	strcpy(entry->kernel, value);
	return NULL;
}

static const char *set_builtin(struct registry_entry *entry, const char *value)
{
	entry->builtin = strcmp(value, "yes") == 0;
	return entry->builtin || strcmp(value, "no") == 0 ? NULL : "yes or no";
}

static const char *set_hash(char hash[REGISTRY_HASH], const char *value)
{
	if (strlen(value) != REGISTRY_HASH - 1 ||
	    strspn(value, "0123456789abcdef") != REGISTRY_HASH - 1)
		return "64 hexadecimal digits, small letters";
	strcpy(hash, value);
	return NULL;
}

static const char *set_program(struct registry_entry *entry, const char *value)
{
	return set_hash(entry->program, value);
}

static const char *set_sha256(struct registry_entry *entry, const char *value)
{
	return set_hash(entry->hash, value);
}

static const char *set_target(struct registry_entry *entry, const char *value)
{
	size_t used = 0;

	for (const char *at = value; *at;) {
		size_t n = strcspn(at, " ,\t");
		char word[64];

		if (n >= sizeof(word))
			return "names of targets";
		memcpy(word, at, n);
		word[n] = '\0';
		at += n + strspn(at + n, " ,\t");
		if (!is_word(word, "_.-+") || used + n + 2 > sizeof(entry->targets))
			return "names of targets";
		used += (size_t)snprintf(entry->targets + used, sizeof(entry->targets) - used,
					 "%s%s", used ? " " : "", word);
	}
	return used ? NULL : "names of targets";
}

static const char *set_file(struct registry_entry *entry, const char *value)
{
	if (!is_word(value, "_.-+") || value[0] == '.' || strlen(value) >= sizeof(entry->file))
		return "the name of a file beside the manifest";
	strcpy(entry->file, value);
	return NULL;
}

static const char *set_binary(struct registry_entry *entry, const char *value)
{
	entry->binary = true;
	return set_file(entry, value);
}

static const char *set_format(struct registry_entry *entry, const char *value)
{
	static const char *const formats[] = {"ptx", "cubin", "hsaco", "xclbin", "spirv"};

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (strcmp(value, formats[i]) != 0)
			continue;
		strcpy(entry->format, value);
		return NULL;
	}
	return "ptx, cubin, hsaco, xclbin or spirv";
}

static const char *set_options(struct registry_entry *entry, const char *value)
{
	char *passed = NULL, *refused = NULL;
	bool good = strlen(value) < sizeof(entry->options) &&
		    options_check(ARAX_BUILD_EXECUTABLE, value, NULL, &passed, &refused) == 0;

	free(passed);
	free(refused);
	if (!good)
		return "options of clBuildProgram";
	strcpy(entry->options, value);
	return NULL;
}

/* One to three sizes of work. */
static const char *set_sizes(uint64_t sizes[3], const char *value)
{
	for (int i = 0; *value; i++) {
		char *end;
		unsigned long long size = strtoull(value, &end, 10);

		if (i == 3 || !isdigit((unsigned char)*value) || !size || size > 65536)
			return "one to three numbers from 1 to 65536";
		sizes[i] = size;
		value = end + strspn(end, " \t");
		if (value == end && *end)
			return "one to three numbers from 1 to 65536";
	}
	return sizes[0] ? NULL : "one to three numbers from 1 to 65536";
}

static const char *set_local(struct registry_entry *entry, const char *value)
{
	return set_sizes(entry->rules.local, value);
}

static const char *set_local_multiple(struct registry_entry *entry, const char *value)
{
	return set_sizes(entry->rules.local_multiple, value);
}

static const char *set_global_multiple(struct registry_entry *entry, const char *value)
{
	return set_sizes(entry->rules.global_multiple, value);
}

enum key {
	KEY_KERNEL,
	KEY_BUILTIN,
	KEY_PROGRAM,
	KEY_TARGET,
	KEY_SOURCE,
	KEY_BINARY,
	KEY_FORMAT,
	KEY_SHA256,
	KEY_OPTIONS,
	KEY_ARGUMENTS, /* several lines are one list */
	KEY_LOCAL,
	KEY_LOCAL_MULTIPLE,
	KEY_GLOBAL_MULTIPLE,
	KEYS
};

static const struct {
	const char *name;
	const char *(*set)(struct registry_entry *entry, const char *value);
} keys[KEYS] = {
    [KEY_KERNEL] = {"kernel", set_kernel},
    [KEY_BUILTIN] = {"builtin", set_builtin},
    [KEY_PROGRAM] = {"program", set_program},
    [KEY_TARGET] = {"target", set_target},
    [KEY_SOURCE] = {"source", set_file},
    [KEY_BINARY] = {"binary", set_binary},
    [KEY_FORMAT] = {"format", set_format},
    [KEY_SHA256] = {"sha256", set_sha256},
    [KEY_OPTIONS] = {"options", set_options},
    [KEY_ARGUMENTS] = {"arguments", registry_args_parse},
    [KEY_LOCAL] = {"local", set_local},
    [KEY_LOCAL_MULTIPLE] = {"local_multiple", set_local_multiple},
    [KEY_GLOBAL_MULTIPLE] = {"global_multiple", set_global_multiple},
};

static int manifest_key(void *arg, const char *section, const char *name, const char *value)
{
	struct registry_entry *entry = arg;

	(void)section;
	for (unsigned key = 0; key < KEYS; key++) {
		if (strcmp(keys[key].name, name) != 0)
			continue;
		if (entry->seen >> key & 1 && key != KEY_ARGUMENTS)
			registry_reject(entry, "%s is said twice", name);
		entry->seen |= 1u << key;
		const char *must = keys[key].set(entry, value);
		if (must && key == KEY_ARGUMENTS)
			registry_reject(entry, "arguments: %s", must);
		else if (must)
			registry_reject(entry, "%s = %.80s: must be %s", name, value, must);
		return 1;
	}
	registry_reject(entry, "unknown key '%.80s'", name);
	return 1;
}

/* What one section must say. */
static void entry_complete(struct registry_entry *entry)
{
#define SAID(key) ((entry->seen >> (key)) & 1)
	if (!SAID(KEY_KERNEL) || !SAID(KEY_TARGET) || !SAID(KEY_SHA256) || !SAID(KEY_ARGUMENTS))
		registry_reject(entry, "kernel, target, sha256 and arguments must be said");
	if (entry->builtin == !!SAID(KEY_PROGRAM))
		registry_reject(entry, "either builtin = yes or program");
	if (SAID(KEY_SOURCE) == SAID(KEY_BINARY))
		registry_reject(entry, "either source or binary");
	if (SAID(KEY_FORMAT) != SAID(KEY_BINARY))
		registry_reject(entry, "a binary has a format, a source has none");
	if (SAID(KEY_BINARY) && (SAID(KEY_OPTIONS) || arax_target_named(entry->targets, "")))
		registry_reject(entry, "a binary has no options, and is not for any target");
	for (int i = 0; i < 3; i++)
		if (entry->rules.local[i] && entry->rules.local_multiple[i])
			registry_reject(entry, "local and local_multiple");
	if (registry_reference(entry) &&
	    (SAID(KEY_LOCAL) || SAID(KEY_LOCAL_MULTIPLE) || SAID(KEY_GLOBAL_MULTIPLE)))
		registry_reject(entry, "a reference must take launches of all sizes");
#undef SAID
}

bool registry_reference(const struct registry_entry *entry)
{
	return entry->builtin && !entry->binary && strcmp(entry->targets, "any") == 0;
}

/* ---- a manifest ------------------------------------------------------------------------------ */

/* inih would cut or join them in silence. */
static bool lines_good(const char *text)
{
	for (const char *at = text; *at;) {
		size_t n = strcspn(at, "\n");

		if (n > LINE_MAX_BYTES)
			return false;
		at += n + (at[n] == '\n');
	}
	return true;
}

static void section_name(struct registry_entry *entry, const char *text)
{
	size_t n = strcspn(text + 1, "]\n");
	char name[REGISTRY_NAME] = "";

	if (n < sizeof(name) && text[1 + n] == ']')
		memcpy(name, text + 1, n);
	if (!is_word(name, "_.-"))
		registry_reject(entry, "not the name of a section");
	else
		strcpy(entry->section, name);
}

static bool is_blank(const char *text)
{
	while (*text) {
		text += strspn(text, " \t\r\n");
		if (*text == '#' || *text == ';')
			text += strcspn(text, "\n");
		else if (*text)
			return false;
	}
	return true;
}

/* From one section's line to before the next one's. */
static int section_parse(struct registry *registry, const char *manifest, const char *text,
			 unsigned line, int directory)
{
	struct registry_entry *entry =
	    registry->count < REGISTRY_ENTRIES_MAX ? registry_add(registry, manifest) : NULL;

	if (!entry)
		return registry->count < REGISTRY_ENTRIES_MAX ? -ENOMEM : 0;
	entry->line = line;
	if (*text != '[') {
		registry_reject(entry, "text before the first section");
		return 0;
	}
	section_name(entry, text);
	if (!lines_good(text))
		registry_reject(entry, "a line of more than %d bytes", LINE_MAX_BYTES);
	if (entry->reason[0])
		return 0;
	int wrong = ini_parse_string(text, manifest_key, entry);
	if (wrong < 0)
		return -ENOMEM;
	if (wrong > 0)
		registry_reject(entry, "line %u is neither a section nor key = value",
				line + (unsigned)wrong - 1);
	entry_complete(entry);
	if (!entry->reason[0])
		registry_file(entry, directory);
	return 0;
}

int registry_parse(struct registry *registry, const char *manifest, const char *text, int directory)
{
	unsigned line = 1;

	if (strncmp(text, "\xEF\xBB\xBF", 3) == 0)
		text += 3;
	while (*text) {
		const char *end = text;
		unsigned lines = 0;

		do {
			end += strcspn(end, "\n");
			lines += *end == '\n';
			end += *end == '\n';
		} while (*end && *end != '[');
		char *section = strndup(text, (size_t)(end - text));
		if (!section)
			return -ENOMEM;
		int error = *section != '[' && is_blank(section)
				? 0
				: section_parse(registry, manifest, section, line, directory);
		free(section);
		if (error)
			return error;
		line += lines;
		text = end;
	}
	return 0;
}

/* ---- all together ---------------------------------------------------------------------------- */

static bool same_args(const struct registry_entry *a, const struct registry_entry *b)
{
	for (uint32_t i = 0; i < a->nargs && i < b->nargs; i++)
		if (strcmp(a->args[i].name, b->args[i].name) != 0 ||
		    strcmp(a->args[i].type, b->args[i].type) != 0 ||
		    a->args[i].address != b->args[i].address)
			return false;
	return a->nargs == b->nargs;
}

static const struct registry_entry *reference_of(const struct registry *registry,
						 const char *kernel)
{
	for (unsigned i = 0; i < registry->count; i++) {
		const struct registry_entry *entry = registry->entries[i];

		if (!entry->reason[0] && registry_reference(entry) &&
		    strcmp(entry->kernel, kernel) == 0)
			return entry;
	}
	return NULL;
}

void registry_check(struct registry *registry)
{
	for (unsigned i = 0; i < registry->count; i++) {
		struct registry_entry *entry = registry->entries[i];

		for (unsigned j = 0; j < i && entry->section[0]; j++) {
			const struct registry_entry *other = registry->entries[j];

			if (strcmp(other->section, entry->section) == 0)
				registry_reject(entry, "the name is taken by %s:%u",
						other->manifest, other->line);
		}
		if (!entry->reason[0] && registry_reference(entry) &&
		    reference_of(registry, entry->kernel) != entry)
			registry_reject(entry, "%s has another reference already", entry->kernel);
	}
	for (unsigned i = 0; i < registry->count; i++) {
		struct registry_entry *entry = registry->entries[i];
		const struct registry_entry *reference = reference_of(registry, entry->kernel);

		if (entry->reason[0] || !entry->builtin || reference == entry)
			continue;
		if (!reference)
			registry_reject(entry, "%s has no reference (a source for any target)",
					entry->kernel);
		else if (!same_args(entry, reference))
			registry_reject(entry, "the arguments are not those of [%s]",
					reference->section);
	}
}

/* The text of a file; NULL with a reason. */
static char *manifest_read(int directory, const char *name, const char **why)
{
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char *text = NULL;
	size_t size = 0;
	struct stat st;

	*why = NULL;
	if (fd < 0 || fstat(fd, &st) < 0)
		*why = strerror(errno);
	else if (!S_ISREG(st.st_mode) || st.st_size > MANIFEST_MAX)
		*why = "not a file, or too large";
	else if (!(text = calloc(1, (size_t)st.st_size + 1)))
		*why = "no memory";
	for (ssize_t n = 1;
	     text && n > 0 && size<(size_t)st.st_size; size += n> 0 ? (size_t)n : 0) {
		n = read(fd, text + size, (size_t)st.st_size - size);
		if (n < 0)
			*why = strerror(errno);
	}
	if (text && !*why && strlen(text) != size)
		*why = "not text";
	if (fd >= 0)
		close(fd);
	if (*why) {
		free(text);
		return NULL;
	}
	return text;
}

static int load_manifest(struct registry *registry, const char *path, int directory,
			 const char *name)
{
	char *manifest = NULL;
	const char *why;
	int error = 0;

	if (asprintf(&manifest, "%s/%s", path, name) < 0)
		return -ENOMEM;
	char *text = manifest_read(directory, name, &why);
	if (text) {
		error = registry_parse(registry, manifest, text, directory);
	} else {
		struct registry_entry *entry = registry_add(registry, manifest);

		if (entry)
			registry_reject(entry, "%s", why);
		else
			error = -ENOMEM;
	}
	free(text);
	free(manifest);
	return error;
}

static int is_manifest(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);

	return entry->d_name[0] != '.' && length > 4 &&
	       strcmp(entry->d_name + length - 4, ".ini") == 0;
}

static int load_directory(struct registry *registry, const char *path, bool required)
{
	int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), error = 0;
	struct dirent **names = NULL;
	int count = directory < 0 ? -1 : scandirat(directory, ".", &names, is_manifest, alphasort);

	if (count < 0 && (required || errno != ENOENT)) {
		const char *why = strerror(errno);
		struct registry_entry *entry = registry_add(registry, path);

		if (entry)
			registry_reject(entry, "%s", why);
		else
			error = -ENOMEM;
	}
	for (int i = 0; i < count; i++) {
		if (!error)
			error = load_manifest(registry, path, directory, names[i]->d_name);
		free(names[i]);
	}
	free(names);
	if (directory >= 0)
		close(directory);
	return error;
}

int registry_load(struct registry **registry, const char *const *directories, unsigned count,
		  unsigned required)
{
	int error = 0;

	*registry = calloc(1, sizeof(**registry));
	if (!*registry)
		return -ENOMEM;
	for (unsigned i = 0; !error && i < count; i++)
		error = load_directory(*registry, directories[i], required >> i & 1);
	if (!error) {
		registry_check(*registry);
		return 0;
	}
	registry_free(*registry);
	*registry = NULL;
	return error;
}
