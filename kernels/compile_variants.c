/* SPDX-License-Identifier: Apache-2.0
 *
 * See compile_variants.h. Nothing here is freed but by the end of the process (compile_build.c).
 */
#include "kernels/compile_variants.h"

#include "kernels/compile_binary.h"
#include "kernels/compile_build.h"
#include "kernels/compile_kernels.h"
#include "kernels/compile_options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CPU_TARGET "pocl"

/* One more, with what all of an entry's have; NULL without memory. */
static struct arax_variant *variant_new(struct arax_result *result,
					const struct registry_entry *entry,
					enum arax_variant_kind kind)
{
	struct arax_variant *list =
	    reallocarray(result->variants, result->nvariants + 1, sizeof(*list));

	if (!list)
		return NULL;
	result->variants = list;
	struct arax_variant *variant = &list[result->nvariants];
	*variant = (struct arax_variant){
	    .kernel = strdup(entry->kernel),
	    .section = strdup(entry->section),
	    .targets = strdup(entry->targets),
	    .format = strdup(entry->format),
	    .options = strdup(entry->options),
	    .kind = kind,
	    .rules = entry->rules,
	    .data = entry->data,
	    .size = entry->size,
	};
	if (!variant->kernel || !variant->section || !variant->targets || !variant->format ||
	    !variant->options)
		return NULL;
	result->nvariants++;
	return variant;
}

static int refuse(struct arax_result *result, const struct registry_entry *entry,
		  const char *reason)
{
	struct arax_variant *variant = variant_new(result, entry, ARAX_VARIANT_REFUSED);

	if (!variant)
		return -ENOMEM;
	variant->data = strdup(reason);
	variant->size = variant->data ? strlen(reason) : 0;
	return variant->data ? 0 : -ENOMEM;
}

static const struct arax_kernel_info *kernel_of(const struct arax_result *result, const char *name)
{
	for (uint32_t i = 0; i < result->nkernels; i++)
		if (strcmp(result->kernels[i].name, name) == 0)
			return &result->kernels[i];
	return NULL;
}

/* ---- the CPU's ------------------------------------------------------------------------------- */

/* The first lines of the compiler's log, as a reason. */
static void log_of(const struct pocl *pocl, cl_program program, char *what, size_t size)
{
	char log[4096] = "";

	if (!program || pocl->cl->clGetProgramBuildInfo(program, pocl->device, CL_PROGRAM_BUILD_LOG,
							sizeof(log) - 1, log, NULL))
		log[0] = '\0';
	snprintf(what, size, "it cannot be built: %.150s", log);
	for (char *at = what; *at; at++)
		if (*at == '\n')
			*at = ' ';
}

/* Does a compiled kernel want other work-groups than its rules say? */
static bool group_differs(const struct registry_entry *entry, const struct arax_kernel_info *kernel)
{
	if (!kernel->required_group[0])
		return false;
	for (int i = 0; i < 3; i++) {
		uint64_t declared = entry->rules.local[i] ? entry->rules.local[i] : 1;

		if (kernel->required_group[i] != declared || !entry->rules.local[0])
			return true;
	}
	return false;
}

static bool compiled_differs(const struct registry_entry *entry, const struct arax_result *compiled,
			     char *what, size_t size)
{
	const struct arax_kernel_info *kernel = kernel_of(compiled, entry->kernel);

	if (!kernel) {
		snprintf(what, size, "its source has no kernel %s", entry->kernel);
		return true;
	}
	if (registry_args_differ(entry, kernel, what, size))
		return true;
	if (group_differs(entry, kernel)) {
		snprintf(what, size, "its source wants work-groups that 'local' does not say");
		return true;
	}
	return false;
}

/* Return: 0 with *binary, -EINVAL with the reason in what, -ENOMEM. */
static int compile(const struct pocl *pocl, const struct registry_entry *entry, const char *options,
		   void **binary, size_t *binary_size, char *what, size_t size)
{
	struct arax_result compiled = {0};
	char *passed = NULL, *refused = NULL;
	const char *text = entry->data;
	cl_int status;
	int error = options_check(ARAX_BUILD_EXECUTABLE, options, NULL, &passed, &refused);

	if (error) {
		snprintf(what, size, "it cannot have the option %.80s", refused ? refused : "");
		return error;
	}
	cl_program program =
	    pocl->cl->clCreateProgramWithSource(pocl->context, 1, &text, NULL, &status);
	if (!program)
		return -ENOMEM;
	status = pocl->cl->clBuildProgram(program, 1, &pocl->device, passed, NULL, NULL);
	if (status == CL_SUCCESS)
		status = pocl_binary(pocl, program, binary, binary_size);
	if (status == CL_SUCCESS) {
		*binary_size = binary_strip(*binary, *binary_size);
		status = kernels_describe(pocl, program, &compiled);
	}
	if (status != CL_SUCCESS) {
		log_of(pocl, program, what, size);
		return -EINVAL;
	}
	return compiled_differs(entry, &compiled, what, size) ? -EINVAL : 0;
}

/* ---- each ------------------------------------------------------------------------------------ */

static int add_cpu(const struct pocl *pocl, const struct registry_entry *entry, const char *options,
		   struct arax_result *result)
{
	char what[256] = "";
	void *binary = NULL;
	size_t size = 0;
	int error = compile(pocl, entry, options, &binary, &size, what, sizeof(what));

	if (error)
		return error == -EINVAL ? refuse(result, entry, what) ?: 1 : error;
	struct arax_variant *variant = variant_new(result, entry, ARAX_VARIANT_BINARY);
	char *format = strdup(CPU_TARGET), *targets = strdup(CPU_TARGET);
	if (!variant || !format || !targets)
		return -ENOMEM;
	variant->format = format;
	variant->targets = targets;
	variant->flags = build_flags(options);
	variant->data = binary;
	variant->size = size;
	return 0;
}

static int add_source(const struct registry_entry *entry, char *options, struct arax_result *result)
{
	struct arax_variant *variant = variant_new(result, entry, ARAX_VARIANT_SOURCE);

	if (!variant)
		return -ENOMEM;
	variant->options = options;
	return 0;
}

/* Return: 0, 1: it was refused, -ENOMEM. */
static int add(const struct pocl *pocl, const struct registry_entry *entry,
	       const char *program_options, struct arax_result *result)
{
	const struct arax_kernel_info *kernel = kernel_of(result, entry->kernel);
	char what[256], *options;
	int error = 0;

	if (!kernel)
		return entry->builtin ? 0
				      : refuse(result, entry, "the program has no such kernel") ?: 1;
	if (registry_args_differ(entry, kernel, what, sizeof(what))) {
		char whole[300];

		snprintf(whole, sizeof(whole), "of the program's kernel, %s", what);
		return refuse(result, entry, whole) ?: 1;
	}
	if (entry->binary)
		return variant_new(result, entry, ARAX_VARIANT_BINARY) ? 0 : -ENOMEM;
	if (asprintf(&options, "%s%s%s", program_options, *program_options ? " " : "",
		     entry->options) < 0)
		return -ENOMEM;
	if (arax_target_named(entry->targets, CPU_TARGET))
		error = add_cpu(pocl, entry, options, result);
	return error ? error : add_source(entry, options, result);
}

int variants_add(const struct pocl *pocl, const struct registry *registry, const char *options,
		 struct arax_result *result)
{
	int error = 0;

	for (unsigned i = 0; error >= 0 && i < registry->count; i++)
		if (!registry_reference(registry->entries[i]))
			error = add(pocl, registry->entries[i], options, result);
	return error < 0 ? error : 0;
}

/* ---- built-in kernels ------------------------------------------------------------------------ */

static const struct registry_entry *reference_named(const struct registry *registry,
						    const char *name, size_t length)
{
	for (unsigned i = 0; i < registry->count; i++) {
		const struct registry_entry *entry = registry->entries[i];

		if (registry_reference(entry) && strlen(entry->kernel) == length &&
		    memcmp(entry->kernel, name, length) == 0)
			return entry;
	}
	return NULL;
}

/* Several kernels of one file are there once. */
static bool has_text(const struct variants_program *program, const struct registry_entry *entry)
{
	for (unsigned i = 0; i < program->nkernels; i++)
		if (program->kernels[i]->size == entry->size &&
		    memcmp(program->kernels[i]->data, entry->data, entry->size) == 0)
			return true;
	return false;
}

static int join(char **to, const char *with, const char *more)
{
	char *text;

	if (asprintf(&text, "%s%s%s", *to ? *to : "", *to && **to && *more ? with : "", more) < 0)
		return -ENOMEM;
	*to = text;
	return 0;
}

static int program_add(struct variants_program *program, const struct registry_entry *entry)
{
	const struct registry_entry **list;
	int error = 0;

	for (unsigned i = 0; i < program->nkernels; i++)
		if (program->kernels[i] == entry)
			return 0;
	if (!has_text(program, entry))
		error = join(&program->text, "\n", entry->data)
			    ?: join(&program->options, " ", entry->options);
	list = error ? NULL : reallocarray(program->kernels, program->nkernels + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	program->kernels = list;
	list[program->nkernels++] = entry;
	return 0;
}

int variants_program(const struct registry *registry, const char *names,
		     struct variants_program *program, char **unknown)
{
	*program = (struct variants_program){0};
	*unknown = NULL;
	for (;;) {
		size_t length = strcspn(names, ";");
		const struct registry_entry *entry = reference_named(registry, names, length);

		if (!entry) {
			*unknown = strndup(names, length);
			return *unknown ? -ENOENT : -ENOMEM;
		}
		if (program_add(program, entry))
			return -ENOMEM;
		names += length;
		if (!*names++)
			return 0;
	}
}

int variants_program_end(const struct variants_program *program, struct arax_result *result)
{
	struct arax_kernel_info *kernels = calloc(program->nkernels, sizeof(*kernels));
	struct arax_variant *variant;
	char what[256];

	if (!kernels)
		return -ENOMEM;
	for (unsigned i = 0; i < program->nkernels; i++) {
		const struct registry_entry *entry = program->kernels[i];

		if (compiled_differs(entry, result, what, sizeof(what)))
			return refuse(result, entry, what) ?: -EINVAL;
		kernels[i] = *kernel_of(result, entry->kernel);
		/* Only what an application's source says are attributes. */
		kernels[i].attributes = strdup("");
		if (!kernels[i].attributes)
			return -ENOMEM;
	}
	result->kernels = kernels;
	result->nkernels = program->nkernels;
	variant = variant_new(result, program->kernels[0], ARAX_VARIANT_PROGRAM);
	if (!variant)
		return -ENOMEM;
	variant->kernel = strdup("");
	variant->options = program->options ? program->options : strdup("");
	variant->data = program->text;
	variant->size = strlen(program->text);
	return variant->kernel && variant->options ? 0 : -ENOMEM;
}
