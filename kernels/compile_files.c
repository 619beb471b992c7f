/* SPDX-License-Identifier: Apache-2.0
 *
 * A program's #include files come with the request. They are written below the build's private
 * directory under plain numbers, and a clang overlay file maps the client's absolute paths to
 * them: so every -I, __FILE__, absolute #include and diagnostic reads exactly as in the client,
 * and no path of the client is ever made on this machine.
 *
 * PoCL has no option for an overlay. It splits options at spaces but hands them to clang split at
 * every white space, so one that follows a tab reaches clang (options_check() sees to it that an
 * application's options cannot do the same).
 */
#include "kernels/compile_files.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_OVERLAY "overlay.json"

struct files {
	char *directory;    /* where the contents lie */
	const char *prefix; /* what the compiler is told: no white space */
	FILE *overlay;
	unsigned count;
};

static FILE *files_open(const struct files *files, const char *name, const char *mode)
{
	char path[PATH_MAX];
	int length = snprintf(path, sizeof(path), "%s/%s", files->directory, name);

	if (length < 0 || (size_t)length >= sizeof(path)) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	return fopen(path, mode);
}

struct files *files_new(const char *directory)
{
	struct files *files = calloc(1, sizeof(*files));

	if (!files)
		return NULL;
	files->directory = directory ? strdup(directory) : getcwd(NULL, 0);
	files->prefix = directory ? files->directory : ".";
	files->overlay = files->directory ? files_open(files, FILES_OVERLAY, "we") : NULL;
	if (!files->overlay) {
		files_free(files);
		return NULL;
	}
	fputs("{\"version\":0,\"case-sensitive\":\"true\",\"use-external-names\":\"false\","
	      "\"roots\":[",
	      files->overlay);
	return files;
}

void files_free(struct files *files)
{
	if (!files)
		return;
	if (files->overlay)
		fclose(files->overlay);
	free(files->directory);
	free(files);
}

int files_name_good(const char *name)
{
	while (*name) {
		const char *end = strchrnul(name, '/');

		if (end - name == 2 && memcmp(name, "..", 2) == 0)
			return 0;
		name = *end ? end + 1 : end;
	}
	return 1;
}

static void files_quote(FILE *out, const char *string)
{
	fputc('"', out);
	for (const unsigned char *c = (const unsigned char *)string; *c; c++) {
		if (*c == '"' || *c == '\\')
			fprintf(out, "\\%c", *c);
		else if (*c < 0x20)
			fprintf(out, "\\u%04x", *c);
		else
			fputc(*c, out);
	}
	fputc('"', out);
}

static int files_write(const struct files *files, const void *data, size_t size)
{
	char name[32];

	snprintf(name, sizeof(name), "file-%u", files->count);
	FILE *file = files_open(files, name, "wxe");
	if (!file)
		return -errno;
	size_t written = size ? fwrite(data, 1, size, file) : 0;
	if (fclose(file) != 0 || written != size)
		return errno ? -errno : -EIO;
	return 0;
}

int files_add(struct files *files, const char *path, const void *data, size_t size)
{
	char external[64];

	if (path[0] != '/' || !path[1] || !files_name_good(path))
		return -EINVAL;
	int error = files_write(files, data, size);
	if (error)
		return error;
	if (files->count)
		fputc(',', files->overlay);
	fputs("{\"type\":\"file\",\"name\":", files->overlay);
	files_quote(files->overlay, path);
	fputs(",\"external-contents\":", files->overlay);
	snprintf(external, sizeof(external), "/file-%u", files->count++);
	char *full = NULL;
	if (asprintf(&full, "%s%s", files->directory, external) < 0)
		return -ENOMEM;
	files_quote(files->overlay, full);
	free(full);
	fputs("}\n", files->overlay);
	return 0;
}

/* Return: 0; 1: there are no files, *options is ""; or -errno. */
static int files_finish(struct files *files, char **options)
{
	fputs("]}\n", files->overlay);
	int failed = fclose(files->overlay) != 0;
	files->overlay = NULL;
	if (failed)
		return -EIO;
	if (files->count)
		return 0;
	*options = strdup("");
	return *options ? 1 : -ENOMEM;
}

/* The client's directory cannot be passed when it has white space in it; PoCL could not take it
 * either. */
static const char *files_cwd(const char *cwd)
{
	return cwd[0] == '/' && !cwd[strcspn(cwd, " \t\n\v\f\r\"")] ? cwd : NULL;
}

int files_options(struct files *files, const char *cwd, char **options)
{
	int error = files_finish(files, options);
	if (error)
		return error < 0 ? error : 0;
	/* PoCL itself begins with "-I.", which natively is the client's directory. */
	const char *directory = files_cwd(cwd);
	int length = asprintf(options, "-I.\t-ivfsoverlay\t%s/" FILES_OVERLAY "%s%s", files->prefix,
			      directory ? " -I" : "", directory ?: "");
	return length < 0 ? -ENOMEM : 0;
}

int files_options_clang(struct files *files, const char *cwd, char **options)
{
	int error = files_finish(files, options);
	if (error)
		return error < 0 ? error : 0;
	const char *directory = files_cwd(cwd);
	int length = asprintf(options, "-ivfsoverlay %s/" FILES_OVERLAY "%s%s", files->prefix,
			      directory ? " -I" : "", directory ?: "");
	return length < 0 ? -ENOMEM : 0;
}
