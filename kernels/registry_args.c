/* SPDX-License-Identifier: Apache-2.0
 *
 * Argument lists of registered variants: declarations as in OpenCL C, and their comparison with
 * what a compiler says of a kernel.
 */
#include "kernels/registry_internal.h"

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static bool is_one_of(const char *const *words, const char *word)
{
	for (; *words; words++)
		if (strcmp(*words, word) == 0)
			return true;
	return false;
}

static uint32_t address_of(const char *word)
{
	static const struct {
		const char *name;
		uint32_t address;
	} spaces[] = {{"global", CL_KERNEL_ARG_ADDRESS_GLOBAL},
		      {"constant", CL_KERNEL_ARG_ADDRESS_CONSTANT},
		      {"local", CL_KERNEL_ARG_ADDRESS_LOCAL},
		      {"private", CL_KERNEL_ARG_ADDRESS_PRIVATE}};

	for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++)
		if (strcmp(word, spaces[i].name) == 0)
			return spaces[i].address;
	return 0;
}

/* The next word or star; false at the end. Anything else is a word that is no good. */
static bool next_word(const char **at, const char *end, char word[REGISTRY_NAME])
{
	size_t n = 0;

	while (*at < end && isspace((unsigned char)**at))
		(*at)++;
	if (*at == end)
		return false;
	if (!isalnum((unsigned char)**at) && **at != '_')
		word[n++] = *(*at)++;
	else
		while (*at < end && (isalnum((unsigned char)**at) || **at == '_') &&
		       n < REGISTRY_NAME - 1)
			word[n++] = *(*at)++;
	word[n] = '\0';
	return true;
}

static bool append(char to[REGISTRY_NAME], const char *what)
{
	size_t used = strlen(to);

	return (size_t)snprintf(to + used, REGISTRY_NAME - used, "%s", what) < REGISTRY_NAME - used;
}

/* One declaration. Return: NULL or what is wrong. */
static const char *arg_parse(const char *at, const char *end, struct registry_arg *arg)
{
	static const char *const qualifiers[] = {
	    "const", "restrict", "volatile", "read_only", "write_only", "read_write", NULL};
	char word[REGISTRY_NAME], last[REGISTRY_NAME] = "";

	*arg = (struct registry_arg){0};
	while (next_word(&at, end, word)) {
		const char *plain = strncmp(word, "__", 2) == 0 ? word + 2 : word;
		uint32_t address = address_of(plain);

		if (address && arg->address)
			return "two address spaces";
		if (address) {
			arg->address = address;
			continue;
		}
		if (is_one_of(qualifiers, plain))
			continue;
		if (strcmp(word, "*") != 0 && !isalpha((unsigned char)word[0]) && word[0] != '_')
			return "neither a type nor a name";
		/* The last word is the name, those before are the type. */
		if (!append(arg->type, last))
			return "a type that is too long";
		strcpy(last, word);
	}
	if (!last[0] || last[0] == '*' || !arg->type[0] || arg->type[0] == '*')
		return "no type or no name";
	strcpy(arg->name, last);
	if (strcmp(arg->type, "unsignedint") == 0 || strcmp(arg->type, "unsigned") == 0)
		strcpy(arg->type, "uint");
	if (!arg->address)
		arg->address = strncmp(arg->type, "image", 5) == 0 ? CL_KERNEL_ARG_ADDRESS_GLOBAL
								   : CL_KERNEL_ARG_ADDRESS_PRIVATE;
	if (strchr(arg->type, '*') && arg->address == CL_KERNEL_ARG_ADDRESS_PRIVATE)
		return "a pointer without an address space";
	return NULL;
}

const char *registry_args_parse(struct registry_entry *entry, const char *text)
{
	while (isspace((unsigned char)*text))
		text++;
	for (const char *end; *text; text = *end ? end + 1 : end) {
		end = text + strcspn(text, ",");
		const char *rest = text;

		while (rest < end && isspace((unsigned char)*rest))
			rest++;
		/* A line may end with the comma. */
		if (rest == end && !*end)
			break;
		if (entry->nargs == REGISTRY_ARGS_MAX)
			return "too many arguments";
		const char *wrong = arg_parse(text, end, &entry->args[entry->nargs]);
		if (wrong)
			return wrong;
		entry->nargs++;
	}
	return NULL;
}

/* Types with what makes no difference taken out: "const float *" of one compiler. */
static bool same_type(const char *a, const char *b)
{
	for (;; a++, b++) {
		while (isspace((unsigned char)*a))
			a++;
		while (isspace((unsigned char)*b))
			b++;
		if (*a != *b)
			return false;
		if (!*a)
			return true;
	}
}

bool registry_args_differ(const struct registry_entry *entry, const struct arax_kernel_info *kernel,
			  char *what, size_t size)
{
	if (kernel->nargs != entry->nargs) {
		snprintf(what, size, "it has %u arguments, declared are %u", kernel->nargs,
			 entry->nargs);
		return true;
	}
	for (uint32_t i = 0; i < entry->nargs; i++) {
		const struct registry_arg *declared = &entry->args[i];
		const struct arax_arg_info *arg = &kernel->args[i];

		if (!same_type(arg->type_name, declared->type) ||
		    arg->address != declared->address ||
		    (arg->name[0] && strcmp(arg->name, declared->name) != 0)) {
			snprintf(what, size, "argument %u is '%.60s %.60s', declared is '%s %s'%s",
				 i, arg->type_name, arg->name, declared->type, declared->name,
				 arg->address != declared->address ? " in another address space"
								   : "");
			return true;
		}
	}
	return false;
}
