/* SPDX-License-Identifier: Apache-2.0
 *
 * Packing and unpacking of build requests and results (build.h). Results come from a compiler
 * process that has run on hostile source, from the disk cache, and from applications as program
 * binaries: the parser believes no count that the remaining bytes cannot hold.
 */
#include "transport/build.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for size more bytes, or NULL with failed set. */
static unsigned char *writer_room(struct arax_writer *w, size_t size)
{
	size_t need, capacity;
	unsigned char *data;

	if (w->failed || __builtin_add_overflow(w->size, size, &need)) {
		w->failed = true;
		return NULL;
	}
	if (need > w->capacity) {
		capacity = w->capacity > SIZE_MAX / 2 ? need : w->capacity * 2;
		if (capacity < need)
			capacity = need < 256 ? 256 : need;
		data = realloc(w->data, capacity);
		if (!data) {
			w->failed = true;
			return NULL;
		}
		w->data = data;
		w->capacity = capacity;
	}
	data = w->data + w->size;
	w->size = need;
	return data;
}

static void writer_put(struct arax_writer *w, const void *data, size_t size)
{
	unsigned char *room;

	if (!size)
		return;
	room = writer_room(w, size);
	if (room)
		memcpy(room, data, size);
}

void arax_write_u32(struct arax_writer *w, uint32_t value)
{
	writer_put(w, &value, sizeof(value));
}

void arax_write_u64(struct arax_writer *w, uint64_t value)
{
	writer_put(w, &value, sizeof(value));
}

void arax_write_bytes(struct arax_writer *w, const void *data, size_t size)
{
	arax_write_u64(w, size);
	writer_put(w, data, size);
}

void arax_write_string(struct arax_writer *w, const char *string)
{
	arax_write_bytes(w, string, string ? strlen(string) : 0);
}

void arax_writer_free(struct arax_writer *w)
{
	free(w->data);
	*w = (struct arax_writer){0};
}

/* The next size bytes, or NULL with failed set and the cursor at the end. */
static const void *reader_take(struct arax_reader *r, size_t size)
{
	const void *at;

	if (r->failed || size > r->size - r->at) {
		r->failed = true;
		r->at = r->size;
		return NULL;
	}
	at = r->data + r->at;
	r->at += size;
	return at;
}

uint32_t arax_read_u32(struct arax_reader *r)
{
	const void *at = reader_take(r, sizeof(uint32_t));
	uint32_t value = 0;

	if (at)
		memcpy(&value, at, sizeof(value));
	return value;
}

uint64_t arax_read_u64(struct arax_reader *r)
{
	const void *at = reader_take(r, sizeof(uint64_t));
	uint64_t value = 0;

	if (at)
		memcpy(&value, at, sizeof(value));
	return value;
}

const void *arax_read_bytes(struct arax_reader *r, size_t *size)
{
	uint64_t length = arax_read_u64(r);
	const void *at = NULL;

	/* size_t may be smaller than what was read; compare before it is converted. */
	if (length > r->size - r->at)
		(void)reader_take(r, SIZE_MAX);
	else if (length)
		at = reader_take(r, (size_t)length);
	*size = at ? (size_t)length : 0;
	return at;
}

char *arax_read_string(struct arax_reader *r)
{
	size_t size;
	const void *at = arax_read_bytes(r, &size);
	char *string;

	/* A zero inside would make one text of two different byte strings. */
	if (at && memchr(at, '\0', size)) {
		(void)reader_take(r, SIZE_MAX);
		at = NULL;
		size = 0;
	}
	string = malloc(size + 1);
	if (!string) {
		r->failed = true;
		return NULL;
	}
	if (at)
		memcpy(string, at, size);
	string[size] = '\0';
	return string;
}

const char *arax_kernel_short_name(const char *name, char buffer[ARAX_KERNEL_NAME_SHORT])
{
	uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */

	if (strlen(name) <= ARAX_KERNEL_NAME_LONG)
		return name;
	for (const char *at = name; *at; at++)
		hash = (hash ^ (unsigned char)*at) * 0x100000001b3;
	snprintf(buffer, ARAX_KERNEL_NAME_SHORT, "%.64s_%016llx", name, (unsigned long long)hash);
	return buffer;
}

static void kernel_write(struct arax_writer *w, const struct arax_kernel_info *kernel)
{
	arax_write_string(w, kernel->name);
	arax_write_string(w, kernel->attributes);
	for (int i = 0; i < 3; i++)
		arax_write_u64(w, kernel->required_group[i]);
	arax_write_u64(w, kernel->local_mem);
	arax_write_u64(w, kernel->private_mem);
	arax_write_u64(w, kernel->group_size);
	arax_write_u64(w, kernel->preferred_multiple);
	arax_write_u32(w, kernel->nargs);
	for (uint32_t i = 0; i < kernel->nargs; i++) {
		const struct arax_arg_info *arg = &kernel->args[i];

		arax_write_string(w, arg->name);
		arax_write_string(w, arg->type_name);
		arax_write_u32(w, arg->address);
		arax_write_u32(w, arg->access);
		arax_write_u64(w, arg->type_qualifier);
		arax_write_u64(w, arg->size);
	}
}

static void variant_write(struct arax_writer *w, const struct arax_variant *variant)
{
	const struct arax_variant_rules *rules = &variant->rules;

	arax_write_string(w, variant->kernel);
	arax_write_string(w, variant->section);
	arax_write_string(w, variant->targets);
	arax_write_u32(w, variant->kind);
	arax_write_u32(w, variant->flags);
	arax_write_string(w, variant->format);
	arax_write_string(w, variant->options);
	for (int i = 0; i < 3; i++)
		arax_write_u64(w, rules->local[i]);
	for (int i = 0; i < 3; i++)
		arax_write_u64(w, rules->local_multiple[i]);
	for (int i = 0; i < 3; i++)
		arax_write_u64(w, rules->global_multiple[i]);
	arax_write_bytes(w, variant->data, variant->size);
}

void arax_result_write(struct arax_writer *w, const struct arax_result *result)
{
	uint32_t flags = result->flags & ~ARAX_RESULT_VARIANTS;

	arax_write_u32(w, ARAX_RESULT_MAGIC);
	arax_write_u32(w, ARAX_BUILD_VERSION);
	arax_write_u32(w, (uint32_t)result->error);
	arax_write_u32(w, result->binary_type);
	arax_write_u32(w, flags | (result->nvariants ? ARAX_RESULT_VARIANTS : 0));
	arax_write_string(w, result->options);
	arax_write_string(w, result->log);
	arax_write_u32(w, result->ntargets);
	for (uint32_t i = 0; i < result->ntargets; i++) {
		arax_write_string(w, result->targets[i].device);
		arax_write_u64(w, result->targets[i].id);
	}
	arax_write_u64(w, result->global_variable_size);
	arax_write_u32(w, result->nkernels);
	for (uint32_t i = 0; i < result->nkernels; i++)
		kernel_write(w, &result->kernels[i]);
	arax_write_bytes(w, result->binary, result->binary_size);
	if (result->nvariants)
		arax_write_u32(w, result->nvariants);
	for (uint32_t i = 0; i < result->nvariants; i++)
		variant_write(w, &result->variants[i]);
}

/* Fewest bytes that one of these takes up, to bound the counts. */
#define TARGET_BYTES (8 + 8)
#define ARG_BYTES (8 + 8 + 4 + 4 + 8 + 8)
#define KERNEL_BYTES (8 + 8 + 7 * 8 + 4)
#define VARIANT_BYTES (3 * 8 + 2 * 4 + 2 * 8 + 9 * 8 + 8)

/*
 * Reads a count and allocates that many zeroed items. The count is set only with the array, so
 * that a half-read result can be freed. Memory that ran out leaves errno ENOMEM behind; the
 * parser has cleared it before.
 */
static void *array_new(struct arax_reader *r, uint32_t *count, size_t least, size_t item)
{
	uint32_t n = arax_read_u32(r);
	void *array;

	if (n > (r->size - r->at) / least) {
		(void)reader_take(r, SIZE_MAX);
		return NULL;
	}
	if (!n)
		return NULL;
	array = calloc(n, item);
	if (!array)
		r->failed = true;
	else
		*count = n;
	return array;
}

static void kernel_read(struct arax_reader *r, struct arax_kernel_info *kernel)
{
	kernel->name = arax_read_string(r);
	kernel->attributes = arax_read_string(r);
	for (int i = 0; i < 3; i++)
		kernel->required_group[i] = arax_read_u64(r);
	kernel->local_mem = arax_read_u64(r);
	kernel->private_mem = arax_read_u64(r);
	kernel->group_size = arax_read_u64(r);
	kernel->preferred_multiple = arax_read_u64(r);
	kernel->args = array_new(r, &kernel->nargs, ARG_BYTES, sizeof(*kernel->args));
	for (uint32_t i = 0; i < kernel->nargs && !r->failed; i++) {
		struct arax_arg_info *arg = &kernel->args[i];

		arg->name = arax_read_string(r);
		arg->type_name = arax_read_string(r);
		arg->address = arax_read_u32(r);
		arg->access = arax_read_u32(r);
		arg->type_qualifier = arax_read_u64(r);
		arg->size = arax_read_u64(r);
	}
}

static void variant_read(struct arax_reader *r, struct arax_variant *variant)
{
	struct arax_variant_rules *rules = &variant->rules;
	size_t size;

	variant->kernel = arax_read_string(r);
	variant->section = arax_read_string(r);
	variant->targets = arax_read_string(r);
	variant->kind = arax_read_u32(r);
	if (variant->kind > ARAX_VARIANT_REFUSED)
		(void)reader_take(r, SIZE_MAX);
	variant->flags = arax_read_u32(r);
	variant->format = arax_read_string(r);
	variant->options = arax_read_string(r);
	for (int i = 0; i < 3; i++)
		rules->local[i] = arax_read_u64(r);
	for (int i = 0; i < 3; i++)
		rules->local_multiple[i] = arax_read_u64(r);
	for (int i = 0; i < 3; i++)
		rules->global_multiple[i] = arax_read_u64(r);
	variant->data = arax_read_bytes(r, &size);
	variant->size = size;
}

static void variants_read(struct arax_reader *r, struct arax_result *result)
{
	result->variants =
	    array_new(r, &result->nvariants, VARIANT_BYTES, sizeof(*result->variants));
	if (!result->nvariants)
		(void)reader_take(r, SIZE_MAX);
	for (uint32_t i = 0; i < result->nvariants && !r->failed; i++)
		variant_read(r, &result->variants[i]);
}

static void result_read(struct arax_reader *r, struct arax_result *result)
{
	size_t size;

	if (arax_read_u32(r) != ARAX_RESULT_MAGIC || arax_read_u32(r) != ARAX_BUILD_VERSION)
		r->failed = true;
	result->error = (int32_t)arax_read_u32(r);
	result->binary_type = arax_read_u32(r);
	result->flags = arax_read_u32(r);
	result->options = arax_read_string(r);
	result->log = arax_read_string(r);
	result->targets = array_new(r, &result->ntargets, TARGET_BYTES, sizeof(*result->targets));
	for (uint32_t i = 0; i < result->ntargets && !r->failed; i++) {
		result->targets[i].device = arax_read_string(r);
		result->targets[i].id = arax_read_u64(r);
	}
	result->global_variable_size = arax_read_u64(r);
	result->kernels = array_new(r, &result->nkernels, KERNEL_BYTES, sizeof(*result->kernels));
	for (uint32_t i = 0; i < result->nkernels && !r->failed; i++)
		kernel_read(r, &result->kernels[i]);
	result->binary = arax_read_bytes(r, &size);
	result->binary_size = size;
	if (result->flags & ARAX_RESULT_VARIANTS)
		variants_read(r, result);
}

struct arax_result *arax_result_parse(const void *data, size_t size)
{
	struct arax_reader r = {.data = data, .size = size};
	struct arax_result *result = calloc(1, sizeof(*result));

	if (!result) {
		errno = ENOMEM;
		return NULL;
	}
	errno = 0;
	result_read(&r, result);
	if (!r.failed && r.at == r.size)
		return result;
	int err = errno == ENOMEM ? ENOMEM : EPROTO;
	arax_result_free(result);
	errno = err;
	return NULL;
}

void arax_result_free(struct arax_result *result)
{
	if (!result)
		return;
	for (uint32_t i = 0; i < result->ntargets; i++)
		free(result->targets[i].device);
	free(result->targets);
	for (uint32_t i = 0; i < result->nkernels; i++) {
		struct arax_kernel_info *kernel = &result->kernels[i];

		for (uint32_t j = 0; j < kernel->nargs; j++) {
			free(kernel->args[j].name);
			free(kernel->args[j].type_name);
		}
		free(kernel->args);
		free(kernel->name);
		free(kernel->attributes);
	}
	free(result->kernels);
	for (uint32_t i = 0; i < result->nvariants; i++) {
		struct arax_variant *variant = &result->variants[i];

		free(variant->kernel);
		free(variant->section);
		free(variant->targets);
		free(variant->format);
		free(variant->options);
	}
	free(result->variants);
	free(result->options);
	free(result->log);
	free(result);
}

bool arax_target_named(const char *targets, const char *target)
{
	size_t length = strlen(target);

	for (const char *at = targets; *at;) {
		size_t n = strcspn(at, " ");

		if ((n == length && !memcmp(at, target, n)) || (n == 3 && !memcmp(at, "any", 3)))
			return true;
		at += n + (at[n] == ' ');
	}
	return false;
}

const struct arax_variant *arax_result_variant(const struct arax_result *result,
					       enum arax_variant_kind kind, const char *kernel,
					       const char *target, const struct arax_variant *after)
{
	uint32_t first = after ? (uint32_t)(after - result->variants) + 1 : 0;

	for (uint32_t i = first; result && i < result->nvariants; i++) {
		const struct arax_variant *variant = &result->variants[i];

		if (variant->kind == kind && (!kernel || !strcmp(variant->kernel, kernel)) &&
		    (!target || arax_target_named(variant->targets, target)))
			return variant;
	}
	return NULL;
}

/* What the rules say of a group's size in one dimension; 0: nothing. */
static uint64_t rules_local(const struct arax_variant_rules *rules, unsigned dimension)
{
	return rules->local[dimension] ? rules->local[dimension] : rules->local_multiple[dimension];
}

bool arax_rules_allow(const struct arax_variant_rules *rules, unsigned dims, const size_t *global,
		      const size_t *local, size_t chosen[3])
{
	bool wanted = false;

	for (unsigned i = 0; i < 3; i++) {
		uint64_t items = i < dims ? global[i] : 1, group = i < dims && local ? local[i] : 1;

		wanted |= rules_local(rules, i) != 0;
		chosen[i] = 0;
		if (rules->global_multiple[i] && items % rules->global_multiple[i])
			return false;
		if (!local && i < dims)
			continue;
		if (rules->local[i] && group != rules->local[i])
			return false;
		if (rules->local_multiple[i] && group % rules->local_multiple[i])
			return false;
	}
	for (unsigned i = 0; i < dims && !local && wanted; i++) {
		chosen[i] = rules_local(rules, i) ? rules_local(rules, i) : 1;
		if (global[i] % chosen[i])
			return false;
	}
	return true;
}
