/* SPDX-License-Identifier: Apache-2.0
 *
 * The registry: what is understood, that each thing that is wrong rejects its section with the
 * reason and no other section, and that what arax-compile gets is what was read. With a folder as
 * an argument also that everything there is good: the kernels that Arax brings.
 */
#include "kernels/registry.h"

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transport/testing.h"

static char folder[] = "/tmp/arax-test-registry-XXXXXX";
static char good_hash[REGISTRY_HASH], ptx_hash[REGISTRY_HASH], zero_hash[REGISTRY_HASH];
static const char source[] = "kernel void add(global int *to, int n) { to[0] += n; }\n";
static const char ptx[] = "// text\n.version 7.0\n";
static const char zeros[] = "text\0and more";
#define PROGRAM "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void write_file(const char *name, const void *data, size_t size)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "w");
	CHECK(file && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

static void remove_file(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	CHECK(unlink(path) == 0);
}

static struct registry *parse(const char *text)
{
	struct registry *registry = calloc(1, sizeof(*registry));
	int directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	CHECK(registry && directory >= 0);
	CHECK(registry_parse(registry, "test.ini", text, directory) == 0);
	registry_check(registry);
	close(directory);
	return registry;
}

/* The good section, with lines after it. */
static struct registry *parse_with(const char *lines)
{
	char *text;

	CHECK(
	    asprintf(&text,
		     "[good]\nkernel = add\nprogram = " PROGRAM
		     "\ntarget = pocl\nsource = good.cl\nsha256 = %s\narguments = global int *to, "
		     "int n\n%s",
		     good_hash, lines) > 0);
	struct registry *registry = parse(text);
	free(text);
	return registry;
}

/* A second section of these lines is rejected for this reason, and the first one is not. */
static void rejected(const char *lines, const char *reason)
{
	char *text;

	CHECK(asprintf(&text, "[bad]\n%s", lines) > 0);
	struct registry *registry = parse_with(text);
	CHECK(registry->count == 2 && !registry->entries[0]->reason[0]);
	if (!strstr(registry->entries[1]->reason, reason)) {
		fprintf(stderr, "%s\nis rejected as '%s', not '%s'\n", lines,
			registry->entries[1]->reason, reason);
		abort();
	}
	CHECK(registry->entries[1]->line == 8);
	CHECK(!strcmp(registry->entries[1]->manifest, "test.ini"));
	registry_free(registry);
	free(text);
}

static void test_good(void)
{
	char lines[1024];

	snprintf(
	    lines, sizeof(lines),
	    "\n; a comment\n[other-1.x]\nkernel=add\nbuiltin = yes\ntarget = any\n"
	    "source = good.cl\nsha256 = %s\narguments = __global const int * restrict to,\n"
	    "arguments = unsigned int n,\n"
	    "[tuned]\nkernel = add\nbuiltin = yes\ntarget = rusticl, oclgrind\nsource = good.cl\n"
	    "sha256 = %s\narguments = global int *to, uint n\noptions = -DX=3 -cl-mad-enable\n"
	    "local_multiple = 8\nglobal_multiple = 64 2\n"
	    "[binary]\nkernel = add\nprogram = " PROGRAM "\ntarget = cuda\nbinary = good.ptx\n"
	    "format = ptx\nsha256 = %s\narguments = global int *to, int n\nlocal = 16 4 1\n",
	    good_hash, good_hash, ptx_hash);
	struct registry *registry = parse_with(lines);
	CHECK(registry->count == 4);
	for (unsigned i = 0; i < registry->count; i++)
		CHECK(!registry->entries[i]->reason[0]);
	const struct registry_entry *first = registry->entries[0],
				    *reference = registry->entries[1],
				    *tuned = registry->entries[2], *binary = registry->entries[3];
	CHECK(!strcmp(first->section, "good") && first->line == 1 && !first->builtin);
	CHECK(!strcmp(first->program, PROGRAM) && first->nargs == 2);
	CHECK(!strcmp(first->args[0].type, "int*") && !strcmp(first->args[0].name, "to"));
	CHECK(first->args[0].address == CL_KERNEL_ARG_ADDRESS_GLOBAL);
	CHECK(first->args[1].address == CL_KERNEL_ARG_ADDRESS_PRIVATE);
	CHECK(first->size == strlen(source) && !memcmp(first->data, source, first->size));
	CHECK(registry_reference(reference) && !registry_reference(first));
	CHECK(!strcmp(reference->args[1].type, "uint") && reference->nargs == 2);
	CHECK(!strcmp(tuned->targets, "rusticl oclgrind") && tuned->builtin);
	CHECK(!strcmp(tuned->options, "-DX=3 -cl-mad-enable"));
	CHECK(tuned->rules.local_multiple[0] == 8 && tuned->rules.global_multiple[1] == 2);
	CHECK(!tuned->rules.local[0] && !tuned->rules.global_multiple[2]);
	CHECK(binary->binary && !strcmp(binary->format, "ptx") && binary->rules.local[1] == 4);
	registry_free(registry);
	registry = parse("");
	CHECK(!registry->count);
	registry_free(registry);
	registry = parse("\xEF\xBB\xBF# nothing\n\n ; but comments");
	CHECK(!registry->count);
	registry_free(registry);
}

/* A good section but for one line, which is another, or is added. */
static void wrong(const char *key, const char *line, const char *reason)
{
	const struct {
		const char *key, *value;
	} lines[] = {{"kernel", "add"},	    {"program", PROGRAM},  {"target", "pocl"},
		     {"source", "good.cl"}, {"sha256", good_hash}, {"arguments", "global int *to"}};
	char text[2048] = "";
	size_t used = 0;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (strcmp(lines[i].key, key) != 0)
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s = %s\n",
						 lines[i].key, lines[i].value);
	snprintf(text + used, sizeof(text) - used, "%s\n", line);
	rejected(text, reason);
}

static void test_sections(void)
{
	char line[128];

	wrong("kernel", "", "must be said");
	wrong("kernel", "kernel = 1st", "the name of a kernel");
	wrong("kernel", "kernel = a-b", "the name of a kernel");
	wrong("kernel", "kernel =", "the name of a kernel");
	wrong("program", "", "either builtin = yes or program");
	wrong("", "builtin = yes", "either builtin = yes or program");
	wrong("program", "builtin = perhaps", "must be yes or no");
	wrong("program", "program = 12", "64 hexadecimal digits");
	wrong("target", "", "must be said");
	wrong("target", "target = a/b", "names of targets");
	wrong("target", "target = ,", "names of targets");
	wrong("source", "", "either source or binary");
	wrong("", "binary = good.ptx\nformat = ptx", "either source or binary");
	wrong("", "format = ptx", "a binary has a format");
	wrong("source", "binary = good.ptx", "a binary has a format");
	wrong("source", "binary = good.ptx\nformat = exe", "must be ptx, cubin");
	wrong("source", "binary = good.ptx\nformat = ptx\noptions = -DX",
	      "a binary has no options");
	wrong("sha256", "", "must be said");
	snprintf(line, sizeof(line), "sha256 = %c%s", good_hash[0] == 'a' ? 'b' : 'a',
		 good_hash + 1);
	wrong("sha256", line, "has the hash");
	snprintf(line, sizeof(line), "sha256 = %s0", good_hash);
	wrong("sha256", line, "64 hexadecimal digits");
	wrong("", "options = -Xclang -load", "must be options of clBuildProgram");
	wrong("arguments", "", "must be said");
	wrong("arguments", "arguments = global int *", "no type or no name");
	wrong("arguments", "arguments = int a,, int b", "no type or no name");
	wrong("arguments", "arguments = int *a", "without an address space");
	wrong("arguments", "arguments = global local int *a", "two address spaces");
	wrong("arguments", "arguments = int a[3]", "neither a type nor a name");
	wrong("", "local = 0", "one to three numbers");
	wrong("", "local = 1 2 3 4", "one to three numbers");
	wrong("", "local = 8x8", "one to three numbers");
	wrong("", "local_multiple = 65537", "one to three numbers");
	wrong("", "local = 8\nlocal_multiple = 4", "local and local_multiple");
	wrong("", "colour = green", "unknown key 'colour'");
	wrong("", "kernel = again", "kernel is said twice");
	wrong("", "no equals sign", "line 15 is neither");
	wrong(
	    "",
	    "options = xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
	    "more than");
}

static void test_files(void)
{
	char line[160];

	wrong("source", "source = missing.cl", "missing.cl: No such file");
	wrong("source", "source = ../good.cl", "the name of a file beside");
	wrong("source", "source = /etc/passwd", "the name of a file beside");
	wrong("source", "source = .hidden", "the name of a file beside");
	wrong("source", "source = link.cl", "link.cl: ");
	wrong("source", "source = folder", "not a file");
	wrong("source", "source = empty.cl", "empty.cl: ");
	wrong("source", "source = big.cl", "big.cl: File too large");
	wrong("source", "binary = good.cl\nformat = ptx", "does not look like ptx");
	wrong("source", "binary = good.cl\nformat = cubin", "does not look like cubin");
	wrong("source", "binary = good.cl\nformat = xclbin", "does not look like xclbin");
	wrong("source", "binary = good.cl\nformat = spirv", "does not look like spirv");
	/* A file that is no text, with its own hash. */
	snprintf(line, sizeof(line),
		 "kernel = add\nprogram = " PROGRAM "\ntarget = pocl\nsource = zero.cl\n");
	char text[512];
	snprintf(text, sizeof(text), "%ssha256 = %s\narguments = int n\n", line, zero_hash);
	rejected(text, "is not text");
}

static void test_together(void)
{
	char text[2048];
	const char *entry = "kernel = %s\nbuiltin = yes\ntarget = %s\nsource = good.cl\n"
			    "sha256 = %s\narguments = %s\n";
	char reference[256], again[256], tuned[256], other[256];

	snprintf(reference, sizeof(reference), entry, "add", "any", good_hash, "int n");
	snprintf(again, sizeof(again), entry, "add", "any", good_hash, "int n");
	snprintf(tuned, sizeof(tuned), entry, "add", "pocl", good_hash, "uint n");
	snprintf(other, sizeof(other), entry, "sub", "pocl", good_hash, "int n");
	snprintf(text, sizeof(text),
		 "stray = 1\n[a b]\n[r]\n%s[r2]\n%s[t]\n%s[o]\n%s[r]\n%s[t2]\n%slocal = 4\n",
		 reference, again, tuned, other, tuned, reference);
	struct registry *registry = parse(text);
	static const char *const reasons[] = {"text before the first section",
					      "not the name of a section",
					      "",
					      "has another reference already",
					      "the arguments are not those of [r]",
					      "sub has no reference",
					      "the name is taken by test.ini:3",
					      "a reference must take launches of all sizes"};
	CHECK(registry->count == 8);
	for (unsigned i = 0; i < 8; i++) {
		if (!strstr(registry->entries[i]->reason, reasons[i]) ||
		    !reasons[i][0] != !registry->entries[i]->reason[0]) {
			fprintf(stderr, "entry %u: '%s'\n", i, registry->entries[i]->reason);
			abort();
		}
	}
	registry_free(registry);
}

static void test_blob(void)
{
	char lines[1024];
	struct arax_writer w = {0}, again = {0};

	snprintf(lines, sizeof(lines),
		 "[r]\nkernel = add\nbuiltin = yes\ntarget = any\nsource = good.cl\nsha256 = %s\n"
		 "arguments = global int *to, int n\n"
		 "[t]\nkernel = add\nbuiltin = yes\ntarget = pocl\nsource = good.cl\nsha256 = %s\n"
		 "arguments = global int *to, int n\nlocal_multiple = 8 4 2\noptions = -DX\n"
		 "[bad]\nkernel = add\n",
		 good_hash, good_hash);
	struct registry *registry = parse_with(lines);
	CHECK(registry_write(registry, NULL, false, &w) == 2 && !w.failed);
	struct registry *back = registry_read(w.data, w.size);
	CHECK(back && back->count == 2 && registry_reference(back->entries[0]));
	const struct registry_entry *tuned = back->entries[1];
	CHECK(!strcmp(tuned->section, "t") && tuned->rules.local_multiple[1] == 4);
	CHECK(!strcmp(tuned->options, "-DX") && tuned->nargs == 2);
	CHECK(tuned->size == strlen(source) && !strcmp(tuned->data, source));
	CHECK(registry_write(back, NULL, false, &again) == 2);
	CHECK(again.size == w.size && !memcmp(again.data, w.data, w.size));
	for (size_t size = 0; size < w.size; size++)
		CHECK(!registry_read(w.data, size) && errno == EPROTO);
	registry_free(back);
	arax_writer_free(&again);
	CHECK(registry_write(registry, NULL, true, &again) == 1);
	arax_writer_free(&again);
	CHECK(registry_write(registry, PROGRAM, false, &again) == 1);
	arax_writer_free(&again);
	CHECK(registry_write(registry, good_hash, false, &again) == 0);
	arax_writer_free(&again);
	registry_free(registry);
	arax_writer_free(&w);
}

static void test_args(void)
{
	struct arax_arg_info args[] = {{"to", "int*", CL_KERNEL_ARG_ADDRESS_GLOBAL, 0, 0, 8},
				       {"n", "int", CL_KERNEL_ARG_ADDRESS_PRIVATE, 0, 0, 4}};
	struct arax_kernel_info kernel = {.name = "add", .nargs = 2, .args = args};
	struct registry *registry = parse_with("");
	const struct registry_entry *entry = registry->entries[0];
	char what[256];

	CHECK(!registry_args_differ(entry, &kernel, what, sizeof(what)));
	args[0].type_name = "int *";
	CHECK(!registry_args_differ(entry, &kernel, what, sizeof(what)));
	args[0].name = "";
	CHECK(!registry_args_differ(entry, &kernel, what, sizeof(what)));
	args[0].address = CL_KERNEL_ARG_ADDRESS_LOCAL;
	CHECK(registry_args_differ(entry, &kernel, what, sizeof(what)));
	CHECK(strstr(what, "in another address space"));
	args[0].address = CL_KERNEL_ARG_ADDRESS_GLOBAL;
	args[1].type_name = "uint";
	CHECK(registry_args_differ(entry, &kernel, what, sizeof(what)));
	CHECK(strstr(what, "argument 1 is 'uint n', declared is 'int n'"));
	kernel.nargs = 1;
	CHECK(registry_args_differ(entry, &kernel, what, sizeof(what)));
	CHECK(strstr(what, "it has 1 arguments, declared are 2"));
	registry_free(registry);
}

static void test_rules(void)
{
	const struct arax_variant_rules none = {0}, fixed = {.local = {16, 4}},
					multiple = {.local_multiple = {8}, .global_multiple = {64}};
	const size_t global[3] = {128, 8, 1}, odd[3] = {100, 8, 1};
	const size_t local[3] = {16, 4, 1}, line[3] = {24, 1, 1}, other[3] = {4, 1, 1};
	size_t chosen[3];

	CHECK(arax_rules_allow(&none, 2, odd, NULL, chosen) && !chosen[0]);
	CHECK(arax_rules_allow(&none, 2, odd, other, chosen));
	CHECK(arax_rules_allow(&fixed, 2, global, local, chosen) && !chosen[0]);
	CHECK(!arax_rules_allow(&fixed, 2, global, line, chosen));
	CHECK(!arax_rules_allow(&fixed, 1, global, local, chosen));
	CHECK(arax_rules_allow(&fixed, 2, global, NULL, chosen));
	CHECK(chosen[0] == 16 && chosen[1] == 4 && !chosen[2]);
	CHECK(!arax_rules_allow(&fixed, 2, odd, NULL, chosen));
	CHECK(arax_rules_allow(&multiple, 1, global, line, chosen));
	CHECK(!arax_rules_allow(&multiple, 1, odd, line, chosen));
	CHECK(!arax_rules_allow(&multiple, 1, global, other, chosen));
	CHECK(arax_rules_allow(&multiple, 2, global, NULL, chosen));
	CHECK(chosen[0] == 8 && chosen[1] == 1);
}

static void test_load(const char *own)
{
	char missing[128];
	const char *directories[] = {folder, own, missing};
	struct registry *registry;
	char text[512];

	snprintf(missing, sizeof(missing), "%s/missing", folder);
	CHECK(registry_load(&registry, &directories[2], 1, 0) == 0 && !registry->count);
	registry_free(registry);
	CHECK(registry_load(&registry, &directories[2], 1, 1) == 0 && registry->count == 1);
	CHECK(!strcmp(registry->entries[0]->reason, "No such file or directory"));
	registry_free(registry);
	snprintf(text, sizeof(text),
		 "[x]\nkernel = add\nprogram = " PROGRAM "\ntarget = pocl\nsource = good.cl\n"
		 "sha256 = %s\narguments = int n\n",
		 good_hash);
	write_file("b.ini", text, strlen(text));
	write_file("a.ini", "a\0b", 3);
	write_file("not-one", "[x]", 3);
	CHECK(registry_load(&registry, directories, 1, 1) == 0 && registry->count == 2);
	CHECK(!strcmp(registry->entries[0]->reason, "not text"));
	CHECK(!registry->entries[1]->reason[0]);
	registry_free(registry);
	remove_file("a.ini");
	remove_file("b.ini");
	remove_file("not-one");
	if (!own)
		return;
	CHECK(registry_load(&registry, &directories[1], 1, 1) == 0 && registry->count >= 10);
	for (unsigned i = 0; i < registry->count; i++) {
		const struct registry_entry *entry = registry->entries[i];

		if (entry->reason[0])
			fprintf(stderr, "%s:%u: %s\n", entry->manifest, entry->line, entry->reason);
		CHECK(!entry->reason[0]);
	}
	registry_free(registry);
}

int main(int argc, char **argv)
{
	static const char *const files[] = {"good.cl",	"good.ptx", "zero.cl",
					    "empty.cl", "big.cl",   "link.cl"};
	char path[128], *big = calloc(1, REGISTRY_SOURCE_MAX + 1);

	CHECK(mkdtemp(folder) && big);
	write_file("good.cl", source, strlen(source));
	write_file("good.ptx", ptx, strlen(ptx));
	write_file("zero.cl", zeros, sizeof(zeros));
	write_file("empty.cl", "", 0);
	write_file("big.cl", big, REGISTRY_SOURCE_MAX + 1);
	free(big);
	registry_hash(source, strlen(source), good_hash);
	registry_hash(ptx, strlen(ptx), ptx_hash);
	registry_hash(zeros, sizeof(zeros), zero_hash);
	snprintf(path, sizeof(path), "%s/link.cl", folder);
	CHECK(symlink("good.cl", path) == 0);
	snprintf(path, sizeof(path), "%s/folder", folder);
	CHECK(mkdir(path, 0700) == 0);

	test_good();
	test_sections();
	test_files();
	test_together();
	test_blob();
	test_args();
	test_rules();
	test_load(argc > 1 ? argv[1] : NULL);

	CHECK(rmdir(path) == 0);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		remove_file(files[i]);
	CHECK(rmdir(folder) == 0);
	return 0;
}
