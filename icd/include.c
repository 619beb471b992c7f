/* SPDX-License-Identifier: Apache-2.0
 *
 * Finds #include directives the way a preprocessor would, without being one: comments, strings and
 * continued lines are understood, conditions are not evaluated. An operand that is no name in
 * quotes is expanded with the object-like macros that -D and #define gave so far; of a call like
 * M2S(INCLUDE_PATH/x.h) what is in the parentheses counts, because such macros only make a string
 * of it.
 *
 * All this runs in the application's process with its rights, on text that it wants to compile:
 * the limits guard against accidents.
 */
#include "icd/include.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SPACE " \t\r\n\f\v"
#define NAME_MAX_BYTES 4096 /* PATH_MAX */
#define DEPTH_MAX 200	    /* clang's own limit */
#define MACRO_DEPTH_MAX 16
#define MACRO_STEPS_MAX 10000
#define MACRO_VALUES_MAX 64 /* values of one macro that are tried */
#define MACRO_BUCKETS 256

struct macro {
	struct macro *next;
	char *value;
	char name[];
};

/* A file beside its public part. */
struct state {
	char *opened;	 /* the path as it was opened; its directory is searched first */
	bool computed;	 /* has an operand that had to be expanded */
	bool scanning;	 /* is being looked through */
	uint64_t macros; /* number of definitions when it was looked through */
};

struct gather {
	const struct include_query *query;
	struct include_list *list;
	struct state *states; /* one per file of the list */
	size_t capacity, bytes;
	struct macro *macros[MACRO_BUCKETS];
	uint64_t nmacros;
	unsigned steps, values; /* of one expansion */
	bool failed;		/* memory ran out */
};

/* A piece of text that grows; failed memory is noted in the gather. */
struct text {
	char *data;
	size_t size, capacity;
};

static void text_add(struct gather *g, struct text *text, const char *data, size_t size)
{
	if (text->size + size + 1 > text->capacity) {
		size_t capacity = (text->size + size + 1) * 2;
		char *bigger = realloc(text->data, capacity);

		if (!bigger) {
			g->failed = true;
			return;
		}
		text->data = bigger;
		text->capacity = capacity;
	}
	memcpy(text->data + text->size, data, size);
	text->size += size;
	text->data[text->size] = '\0';
}

/* ---- lines ---------------------------------------------------------------------------------- */

/* Length of a backslash and line end at p, or 0. */
static size_t continuation(const char *p, const char *end)
{
	if (end - p >= 2 && p[0] == '\\' && p[1] == '\n')
		return 2;
	return end - p >= 3 && p[0] == '\\' && p[1] == '\r' && p[2] == '\n' ? 3 : 0;
}

static const char *comment_skip(const char *p, const char *end)
{
	if (p[1] == '*') {
		const char *close = memmem(p + 2, (size_t)(end - p - 2), "*/", 2);

		return close ? close + 2 : end;
	}
	while (p < end && *p != '\n') {
		size_t n = continuation(p, end);

		p += n ? n : 1;
	}
	return p;
}

static bool is_comment(const char *p, const char *end)
{
	return end - p >= 2 && p[0] == '/' && (p[1] == '/' || p[1] == '*');
}

/* Behind a string or character that begins at p; it ends with its line at the latest. */
static const char *string_skip(const char *p, const char *end)
{
	char quote = *p++;

	while (p < end && *p != '\n' && *p != quote) {
		size_t n = continuation(p, end);

		p += n ? n : *p == '\\' && p + 1 < end && p[1] != '\n' ? 2 : 1;
	}
	return p < end && *p == quote ? p + 1 : p;
}

/* Behind the logical line at p; its text without comments goes to line, unless that is NULL. */
static const char *line_take(struct gather *g, const char *p, const char *end, struct text *line)
{
	while (p < end && *p != '\n') {
		const char *from = p;
		size_t n = continuation(p, end);

		if (n) {
			p += n;
			continue;
		}
		if (is_comment(p, end)) {
			p = comment_skip(p, end);
			if (line)
				text_add(g, line, " ", 1);
			continue;
		}
		p = *p == '"' || *p == '\'' ? string_skip(p, end) : p + 1;
		if (line)
			text_add(g, line, from, (size_t)(p - from));
	}
	return p < end ? p + 1 : p;
}

/* Where the first thing of a line is: behind white space and comments. */
static const char *line_start(const char *p, const char *end)
{
	while (p < end) {
		size_t n = continuation(p, end);

		if (n)
			p += n;
		else if (is_comment(p, end))
			p = comment_skip(p, end);
		else if (isspace((unsigned char)*p))
			p++;
		else
			break;
	}
	return p;
}

static const char *space_skip(const char *p)
{
	return p + strspn(p, SPACE);
}

static size_t identifier(const char *p)
{
	size_t n = 0;

	if (isdigit((unsigned char)*p))
		return 0;
	while (isalnum((unsigned char)p[n]) || p[n] == '_')
		n++;
	return n;
}

/* ---- macros --------------------------------------------------------------------------------- */

static struct macro **macro_bucket(struct gather *g, const char *name, size_t length)
{
	unsigned hash = 5381;

	for (size_t i = 0; i < length; i++)
		hash = hash * 33 + (unsigned char)name[i];
	return &g->macros[hash % MACRO_BUCKETS];
}

static bool macro_is(const struct macro *macro, const char *name, size_t length)
{
	return !strncmp(macro->name, name, length) && !macro->name[length];
}

/* Remembers a value; the same one again is nothing new. */
static void macro_define(struct gather *g, const char *name, size_t length, const char *value)
{
	struct macro **at = macro_bucket(g, name, length), *macro;
	unsigned values = 0;

	for (; *at; at = &(*at)->next) {
		if (!macro_is(*at, name, length))
			continue;
		if (!strcmp((*at)->value, value) || ++values == MACRO_VALUES_MAX)
			return;
	}
	macro = malloc(sizeof(*macro) + length + 1);
	if (!macro) {
		g->failed = true;
		return;
	}
	memcpy(macro->name, name, length);
	macro->name[length] = '\0';
	macro->next = NULL;
	macro->value = strdup(value);
	g->failed |= !macro->value;
	if (!macro->value) {
		free(macro);
		return;
	}
	*at = macro;
	g->nmacros++;
}

/* The which-th value of a macro, the last one if there are fewer; NULL if there is none. */
static const char *macro_value(struct gather *g, const char *name, size_t length, unsigned which)
{
	const char *value = NULL;
	unsigned n = 0;

	for (struct macro *m = *macro_bucket(g, name, length); m; m = m->next) {
		if (!macro_is(m, name, length))
			continue;
		if (n++ <= which)
			value = m->value;
	}
	if (n > g->values)
		g->values = n;
	return value;
}

/* -D NAME=VALUE; those without a value and those with parameters say nothing about names. */
static void macro_option(struct gather *g, const char *option)
{
	size_t length = identifier(option);

	if (length && option[length] == '=')
		macro_define(g, option, length, option + length + 1);
}

static void macro_directive(struct gather *g, char *p)
{
	size_t length = identifier(p);
	const char *value = space_skip(p + length);
	char *last = p + strlen(p);

	if (!length || p[length] == '(' || !*value)
		return;
	/* Only what can be part of a name. */
	if (*value != '"' && *value != '<' && value[strcspn(value, "{};,")])
		return;
	while (isspace((unsigned char)last[-1]))
		*--last = '\0';
	macro_define(g, p, length, value);
}

static void expand(struct gather *g, const char *p, unsigned which, unsigned depth,
		   struct text *out);

/* One identifier: its value, nothing when it is called like a function, or itself. */
static void expand_identifier(struct gather *g, const char *p, size_t length, unsigned which,
			      unsigned depth, struct text *out)
{
	const char *value = depth < MACRO_DEPTH_MAX ? macro_value(g, p, length, which) : NULL;

	if (value)
		expand(g, value, which, depth + 1, out);
	else if (*space_skip(p + length) != '(')
		text_add(g, out, p, length);
}

static void expand(struct gather *g, const char *p, unsigned which, unsigned depth,
		   struct text *out)
{
	bool string = false;

	while (*p && out->size < NAME_MAX_BYTES && ++g->steps < MACRO_STEPS_MAX) {
		size_t length = string ? 0 : identifier(p);

		if (length) {
			expand_identifier(g, p, length, which, depth, out);
			p += length;
		} else if (!string && isdigit((unsigned char)*p)) {
			/* a number takes letters with it */
			while (isalnum((unsigned char)p[length]) || p[length] == '_')
				length++;
			text_add(g, out, p, length);
			p += length;
		} else {
			if (*p == '"')
				string = !string;
			else if (string || !strchr(" \t\r\f\v()#\\", *p))
				text_add(g, out, p, 1);
			p++;
		}
	}
}

/* ---- files ---------------------------------------------------------------------------------- */

static void scan(struct gather *g, const char *data, size_t size, size_t file, unsigned depth);
#define NO_FILE SIZE_MAX

/* The contents of a regular file with a zero behind them; NULL when it is not to be had. */
static char *file_read(struct gather *g, const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	size_t done = 0, limit;
	struct stat st;
	char *data;
	ssize_t n;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size < 0 ||
	    (uint64_t)st.st_size > INCLUDE_BYTES_MAX - g->bytes) {
		close(fd);
		return NULL;
	}
	limit = (size_t)st.st_size;
	data = malloc(limit + 1);
	g->failed |= !data;
	while (data && done < limit) {
		n = read(fd, data + done, limit - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	close(fd);
	if (data)
		data[done] = '\0';
	*size = done;
	return data;
}

static bool list_grow(struct gather *g)
{
	size_t capacity = g->capacity ? g->capacity * 2 : 16;
	struct include_file *files;
	struct state *states;

	if (g->list->count < g->capacity)
		return true;
	files = realloc(g->list->files, capacity * sizeof(*files));
	if (files)
		g->list->files = files;
	states = realloc(g->states, capacity * sizeof(*states));
	if (states)
		g->states = states;
	if (!files || !states) {
		g->failed = true;
		return false;
	}
	g->capacity = capacity;
	return true;
}

/* The number of the file; its path and opened are the list's when it was new. */
static size_t file_add(struct gather *g, char *path, char *opened)
{
	struct include_file file = {.path = path};
	size_t number = g->list->count;

	if (number >= INCLUDE_FILES_MAX || !list_grow(g))
		return NO_FILE;
	file.data = file_read(g, opened, &file.size);
	if (!file.data)
		return NO_FILE;
	g->bytes += file.size;
	g->list->files[number] = file;
	g->states[number] = (struct state){.opened = opened};
	g->list->count++;
	return number;
}

/* Looks through a file, again if it includes by macros and there are new ones. */
static void file_scan(struct gather *g, size_t number, bool fresh, unsigned depth)
{
	struct state *state = &g->states[number];

	if (state->scanning || depth > DEPTH_MAX)
		return;
	if (!fresh && (!state->computed || state->macros == g->nmacros))
		return;
	state->scanning = true;
	state->macros = g->nmacros;
	scan(g, g->list->files[number].data, g->list->files[number].size, number, depth);
	g->states[number].scanning = false; /* the array may have moved */
}

/* Takes the file directory/name if there is one. */
static void candidate(struct gather *g, const char *directory, const char *name, unsigned depth)
{
	char *opened = path_join(directory, name);
	char *path = opened ? strdup(opened) : NULL;
	size_t number;

	if (!path) {
		g->failed = true;
		free(opened);
		return;
	}
	path_normalize(path);
	for (number = 0; number < g->list->count; number++) {
		if (!strcmp(g->list->files[number].path, path))
			break;
	}
	bool fresh = number == g->list->count;
	if (fresh)
		number = file_add(g, path, opened);
	if (!fresh || number == NO_FILE) {
		free(path);
		free(opened);
	}
	if (number != NO_FILE)
		file_scan(g, number, fresh, depth + 1);
}

static void candidate_beside(struct gather *g, size_t file, const char *name, unsigned depth)
{
	char *directory = strdup(g->states[file].opened);

	if (!directory) {
		g->failed = true;
		return;
	}
	*strrchr(directory, '/') = '\0';
	candidate(g, directory, name, depth);
	free(directory);
}

/* Everything that an include of this name in that file could mean. */
static void find(struct gather *g, const char *name, bool quoted, size_t file, unsigned depth)
{
	const struct include_query *q = g->query;

	if (!*name || strlen(name) >= NAME_MAX_BYTES)
		return;
	for (size_t i = 0; i < q->nembedded; i++) {
		if (!strcmp(q->embedded[i], name))
			return;
	}
	if (*name == '/') {
		candidate(g, "", name, depth);
		return;
	}
	if (quoted && file != NO_FILE)
		candidate_beside(g, file, name, depth);
	if (*q->cwd)
		candidate(g, q->cwd, name, depth);
	for (size_t i = 0; i < q->options->count; i++) {
		const struct option *option = &q->options->list[i];
		char *directory;

		if (option->kind != 'I' || !option->value[0] ||
		    (option->value[0] != '/' && !*q->cwd))
			continue;
		directory = path_join(q->cwd, option->value);
		if (directory)
			candidate(g, directory, name, depth);
		g->failed |= !directory;
		free(directory);
	}
}

/* ---- directives ----------------------------------------------------------------------------- */

/* An operand that macros make up, with each of their values. */
static void find_computed(struct gather *g, const char *operand, size_t file, unsigned depth)
{
	g->values = 1;
	if (file != NO_FILE)
		g->states[file].computed = true;
	for (unsigned which = 0; which < g->values && which < MACRO_VALUES_MAX; which++) {
		struct text name = {0};
		unsigned values;
		bool angle;

		g->steps = 0;
		expand(g, operand, which, 0, &name);
		angle = name.size > 1 && name.data[0] == '<' && name.data[name.size - 1] == '>';
		if (angle)
			name.data[name.size - 1] = '\0';
		values = g->values; /* find() may come here again */
		if (name.data)
			find(g, name.data + angle, !angle, file, depth);
		g->values = values;
		free(name.data);
	}
}

/* The operand of an #include, or of a __has_include up to its parenthesis. */
static void find_operand(struct gather *g, const char *p, size_t file, unsigned depth)
{
	const char *close;

	p = space_skip(p);
	if (*p != '"' && *p != '<') {
		if (*p)
			find_computed(g, p, file, depth);
		return;
	}
	close = strchr(p + 1, *p == '"' ? '"' : '>');
	if (!close)
		return;
	char *name = strndup(p + 1, (size_t)(close - p - 1));
	g->failed |= !name;
	if (name)
		find(g, name, *p == '"', file, depth);
	free(name);
}

static void condition(struct gather *g, const char *p, size_t file, unsigned depth)
{
	static const char word[] = "__has_include";

	while ((p = strstr(p, word)) != NULL) {
		p += sizeof(word) - 1;
		p += identifier(p); /* __has_include_next */
		const char *operand = space_skip(p);
		if (*operand == '(' && strchr("\"<", *space_skip(operand + 1)))
			find_operand(g, operand + 1, file, depth);
	}
}

static bool word_is(const char *p, size_t length, const char *word)
{
	return strlen(word) == length && !strncmp(p, word, length);
}

/* A directive, behind its '#'. */
static void directive(struct gather *g, char *p, size_t file, unsigned depth)
{
	p += strspn(p, SPACE);
	size_t length = identifier(p);
	char *rest = p + length;

	if (word_is(p, length, "include") || word_is(p, length, "include_next") ||
	    word_is(p, length, "import"))
		find_operand(g, rest, file, depth);
	else if (word_is(p, length, "define"))
		macro_directive(g, rest + strspn(rest, SPACE));
	else if (word_is(p, length, "if") || word_is(p, length, "elif"))
		condition(g, rest, file, depth);
}

static void scan(struct gather *g, const char *data, size_t size, size_t file, unsigned depth)
{
	const char *p = data, *end = data + size;
	struct text line = {0};

	while ((p = line_start(p, end)) < end && !g->failed) {
		size_t sign = *p == '#' ? 1 : end - p >= 2 && p[0] == '%' && p[1] == ':' ? 2 : 0;

		if (!sign) {
			p = line_take(g, p, end, NULL);
			continue;
		}
		line.size = 0;
		text_add(g, &line, "", 0);
		p = line_take(g, p + sign, end, &line);
		if (line.data)
			directive(g, line.data, file, depth);
	}
	free(line.data);
}

int include_gather(const struct include_query *query, struct include_list *list)
{
	struct gather g = {.query = query, .list = list};
	bool any = false;

	*list = (struct include_list){0};
	for (size_t i = 0; i < query->ntexts; i++)
		any |= strstr(query->texts[i], "include") || strstr(query->texts[i], "import");
	if (!any)
		return 0;
	for (size_t i = 0; i < query->options->count; i++) {
		if (query->options->list[i].kind == 'D')
			macro_option(&g, query->options->list[i].value);
	}
	for (size_t i = 0; i < query->ntexts; i++)
		scan(&g, query->texts[i], strlen(query->texts[i]), NO_FILE, 0);
	for (size_t i = 0; i < list->count; i++)
		free(g.states[i].opened);
	free(g.states);
	for (unsigned i = 0; i < MACRO_BUCKETS; i++) {
		for (struct macro *m = g.macros[i], *next; m; m = next) {
			next = m->next;
			free(m->value);
			free(m);
		}
	}
	if (!g.failed)
		return 0;
	include_free(list);
	return -ENOMEM;
}

void include_free(struct include_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->files[i].path);
		free(list->files[i].data);
	}
	free(list->files);
	*list = (struct include_list){0};
}
