/* SPDX-License-Identifier: Apache-2.0
 *
 * Splits OpenCL build options: words are separated by white space, double quotes keep it, a
 * backslash takes the meaning from a quote or another backslash.
 */
#include "icd/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t space_skip(const char *string, size_t at)
{
	while (isspace((unsigned char)string[at]))
		at++;
	return at;
}

/* The word at *at without its quotes, malloc-ed; *at is moved behind it. */
static char *word_take(const char *string, size_t *at)
{
	bool quoted = false;
	size_t i = *at, n = 0;
	char *word = malloc(strlen(string + i) + 1);

	if (!word)
		return NULL;
	for (; string[i] && (quoted || !isspace((unsigned char)string[i])); i++) {
		if (string[i] == '\\' && (string[i + 1] == '"' || string[i + 1] == '\\'))
			word[n++] = string[++i];
		else if (string[i] == '"')
			quoted = !quoted;
		else
			word[n++] = string[i];
	}
	word[n] = '\0';
	*at = i;
	return word;
}

static int options_add(struct options *options, const struct option *option)
{
	size_t count = options->count;

	/* Doubles whenever count is a power of two. */
	if ((count & (count - 1)) == 0) {
		struct option *list =
		    realloc(options->list, (count ? count * 2 : 1) * sizeof(*list));

		if (!list)
			return -ENOMEM;
		options->list = list;
	}
	options->list[options->count++] = *option;
	return 0;
}

/* One word, with its value in the next one if need be. */
static int options_take(const char *string, size_t *at, struct options *options)
{
	struct option option = {.start = *at};
	char *word = word_take(string, at);
	int err = 0;

	if (!word)
		return -ENOMEM;
	if (word[0] == '-' && (word[1] == 'I' || word[1] == 'D')) {
		option.kind = word[1];
		if (word[2]) {
			option.value = strdup(word + 2);
		} else {
			*at = space_skip(string, *at);
			option.value = word_take(string, at);
		}
		option.length = *at - option.start;
		err = option.value ? options_add(options, &option) : -ENOMEM;
		if (err)
			free(option.value);
	}
	free(word);
	return err;
}

int options_parse(const char *string, struct options *options)
{
	*options = (struct options){0};
	if (!strstr(string, "-I") && !strstr(string, "-D"))
		return 0;
	for (size_t at = space_skip(string, 0); string[at]; at = space_skip(string, at)) {
		int err = options_take(string, &at, options);

		if (err) {
			options_free(options);
			return err;
		}
	}
	return 0;
}

void options_free(struct options *options)
{
	for (size_t i = 0; i < options->count; i++)
		free(options->list[i].value);
	free(options->list);
	*options = (struct options){0};
}

/* Writes a word so that a reader gets it back whole. */
static void word_write(FILE *out, const char *word)
{
	bool quote = word[strcspn(word, " \t\r\n\v\f")] != '\0';

	if (quote)
		fputc('"', out);
	for (; *word; word++) {
		if (*word == '"' || *word == '\\')
			fputc('\\', out);
		fputc(*word, out);
	}
	if (quote)
		fputc('"', out);
}

static bool option_relative(const struct option *option)
{
	return option->kind == 'I' && option->value[0] && option->value[0] != '/';
}

char *options_absolute(const char *string, const struct options *options, const char *cwd)
{
	size_t size, at = 0;
	char *result = NULL;
	FILE *out;

	if (!cwd || !*cwd)
		return strdup(string);
	out = open_memstream(&result, &size);
	if (!out)
		return NULL;
	for (size_t i = 0; i < options->count; i++) {
		const struct option *option = &options->list[i];
		char *path = option_relative(option) ? path_join(cwd, option->value) : NULL;

		if (!path)
			continue;
		path_normalize(path);
		fwrite(string + at, 1, option->start - at, out);
		fputs("-I ", out);
		word_write(out, path);
		at = option->start + option->length;
		free(path);
	}
	fputs(string + at, out);
	if (fclose(out) != 0) {
		free(result);
		return NULL;
	}
	return result;
}

char *path_join(const char *directory, const char *path)
{
	char *joined;

	if (*path == '/')
		return strdup(path);
	return asprintf(&joined, "%s/%s", directory, path) < 0 ? NULL : joined;
}

void path_normalize(char *path)
{
	char *out = path;
	const char *in = path;

	while (*in) {
		while (*in == '/')
			in++;
		size_t length = strcspn(in, "/");

		if (length == 2 && in[0] == '.' && in[1] == '.') {
			while (out > path && *--out != '/')
				;
		} else if (length && !(length == 1 && in[0] == '.')) {
			*out++ = '/';
			memmove(out, in, length);
			out += length;
		}
		in += length;
	}
	if (out == path)
		*out++ = '/';
	*out = '\0';
}
