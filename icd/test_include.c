/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of the search for included files and of the options that guide it.
 */
#include "icd/include.h"
#include "transport/testing.h"

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/test-include-XXXXXX";

static char *in_root(const char *name)
{
	return path_join(root, name);
}

static void put(const char *name, const char *text)
{
	char *path = in_root(name);
	FILE *file = fopen(path, "w");

	CHECK(file && fputs(text, file) >= 0 && !fclose(file));
	free(path);
}

static void make_directory(const char *name)
{
	char *path = in_root(name);

	CHECK(!mkdir(path, 0700));
	free(path);
}

static struct include_list gather(const char *source, const char *string, const char *embedded)
{
	struct include_list list;
	struct options options;
	struct include_query query = {
	    .texts = &source,
	    .ntexts = 1,
	    .embedded = &embedded,
	    .nembedded = embedded ? 1 : 0,
	    .options = &options,
	    .cwd = root,
	};

	CHECK(!options_parse(string, &options));
	CHECK(!include_gather(&query, &list));
	options_free(&options);
	return list;
}

/* The files found must be exactly these, in this order; ends with NULL. */
static void expect(const char *source, const char *options, ...)
{
	struct include_list list = gather(source, options, NULL);
	const char *name;
	size_t count = 0;
	va_list names;

	va_start(names, options);
	for (; (name = va_arg(names, const char *)); count++) {
		char *path = in_root(name);

		if (count >= list.count || strcmp(list.files[count].path, path))
			fprintf(stderr, "%s: not found, found %s\n", name,
				count < list.count ? list.files[count].path : "nothing");
		CHECK(count < list.count && !strcmp(list.files[count].path, path));
		free(path);
	}
	va_end(names);
	if (list.count > count)
		fprintf(stderr, "%s: found too much\n", list.files[count].path);
	CHECK(list.count == count);
	include_free(&list);
}

static void test_plain(void)
{
	expect("kernel void f() {}", "", NULL);
	expect("#include \"a.h\"\n", "", "a.h", NULL);
	expect("#include <a.h>\n#include \"missing.h\"\n", "-I .", "a.h", NULL);
	expect(" \t# \t include\"a.h\"", "", "a.h", NULL);
	expect("%:import <a.h>\n", "", "a.h", NULL);
	expect("int x;\n#\\\ninclude \\\r\n \"a.h\"\nint y;", "", "a.h", NULL);
	expect("#include \"inc\"\n", "", NULL); /* a directory */
	expect("#if __has_include(<a.h>) && __has_include(\"b.h\")\n#endif // include\n", "", "a.h",
	       "b.h", NULL);
}

static void test_comments(void)
{
	expect("// #include \"a.h\"\n/* x\n#include \"a.h\"\n*/ int x;\n", "", NULL);
	expect("/* x */ # /* y */ include /* z */ \"a.h\" // w\n", "", "a.h", NULL);
	expect("constant char s[] = \"\\\n#include \\\"a.h\\\" /* \";\n#include \"b.h\"\n", "",
	       "b.h", NULL);
	expect("char c = '\"'; char d = '\\'';\n#include \"a.h\"\n", "", "a.h", NULL);
	expect("// it goes on \\\n#include \"a.h\"\n#include \"b.h\"\n", "", "b.h", NULL);
	expect("int a; #include \"a.h\"\n#pragma include \"a.h\"\n", "", NULL);
	expect("#include", "", NULL);
	expect("#include \"a.h", "", NULL);
	expect("/* include", "", NULL);
}

static void test_directories(void)
{
	/* every candidate, in the order of the search */
	expect("#include \"c.h\"\n", "-I inc", "inc/c.h", NULL);
	expect("#include \"b.h\"\n", "-Iinc -I sub", "b.h", "inc/b.h", NULL);
	expect("#include \"b.h\"\n", "-Isub -I \"inc\" -DX", "b.h", "inc/b.h", NULL);
	expect("#include \"b.h\"\n", "-I inc/../sub/../inc/.", "b.h", "inc/b.h", NULL);
	expect("#include \"inc/../inc//./b.h\"\n", "", "inc/b.h", NULL);
	expect("#include \"s.h\"\n", "-I \"with space\"", "with space/s.h", NULL);
	char *absolute = in_root("inc/b.h");
	char text[256];
	snprintf(text, sizeof(text), "#include \"%s\"\n", absolute);
	expect(text, "", "inc/b.h", NULL);
	free(absolute);
}

static void test_nested(void)
{
	expect("#include \"sub/n.h\"\n", "", "sub/n.h", "sub/deep/m.h", "sub/n2.h", NULL);
	/* <> does not look beside the file */
	expect("#include \"sub/angle.h\"\n", "", "sub/angle.h", NULL);
	expect("#include \"cycle1.h\"\n", "", "cycle1.h", "cycle2.h", NULL);
}

static void test_macros(void)
{
	expect("#include HEADER\n", "-DHEADER=\\\"a.h\\\"", "a.h", NULL);
	expect("#include HEADER\n", "-D HEADER=\"a.h\"", "a.h", NULL);
	expect("#include HEADER\n", "-DHEADER=<a.h>", "a.h", NULL);
	expect("#include HEADER\n", "-DHEADER -DOTHER=\"a.h\"", NULL);
	expect("#define X \"a.h\" // include\n#define Y X\n#include Y\n", "", "a.h", NULL);
	expect("#if A\n#define X \"a.h\"\n#else\n#define X <b.h>\n#endif\n#include X\n", "", "a.h",
	       "b.h", NULL);
	/* as hashcat does it */
	expect("#include M2S(INCLUDE_PATH/b.h)\n",
	       "-D INCLUDE_PATH=inc -D XM2S(x)=#x -D M2S(x)=XM2S(x)", "inc/b.h", NULL);
	expect("#define S_(x) #x\n#define S(x) S_(x)\n#define V 2d\n#include S( sub/v V.h )\n", "",
	       "sub/v2d.h", NULL);
	/* a file that includes what its includer has defined, each time something else */
	expect("#define F \"a.h\"\n#include \"wrap.h\"\n#undef F\n#define F \"b.h\"\n"
	       "#include \"wrap.h\"\n",
	       "", "wrap.h", "a.h", "b.h", NULL);
	expect("#define A A A A A A\n#define B A() B() B() B()\n#include A\n#include B\n", "",
	       NULL);
}

static void test_limits(void)
{
	char name[32];
	FILE *file;
	char *path = in_root("many.h");

	file = fopen(path, "w");
	CHECK(file);
	for (int i = 0; i < INCLUDE_FILES_MAX + 50; i++) {
		snprintf(name, sizeof(name), "many/%d.h", i);
		fprintf(file, "#include \"%s\"\n", name);
		put(name, "");
	}
	CHECK(!fclose(file));
	free(path);
	struct include_list list = gather("#include \"many.h\"\n", "", NULL);
	CHECK(list.count == INCLUDE_FILES_MAX);
	include_free(&list);
	path = in_root("big.h");
	CHECK(!truncate(path, INCLUDE_BYTES_MAX + 1L));
	free(path);
	expect("#include \"big.h\"\n#include \"a.h\"\n", "", "a.h", NULL);
}

static void test_contents(void)
{
	struct include_list list = gather("#include \"a.h\"\n", "", NULL);

	CHECK(list.count == 1 && list.files[0].size == 13 &&
	      !strcmp(list.files[0].data, "#define A 1\n\n"));
	include_free(&list);
	/* embedded headers are not looked for */
	list = gather("#include \"a.h\"\n#include <b.h>\n", "", "a.h");
	CHECK(list.count == 1 && strstr(list.files[0].path, "/b.h"));
	include_free(&list);
}

static void expect_absolute(const char *string, const char *wanted)
{
	struct options options;
	char *result;

	CHECK(!options_parse(string, &options));
	result = options_absolute(string, &options, "/cwd");
	if (strcmp(result, wanted))
		fprintf(stderr, "%s: %s\n", string, result);
	CHECK(!strcmp(result, wanted));
	free(result);
	options_free(&options);
}

static void test_options(void)
{
	struct options options;

	expect_absolute("", "");
	expect_absolute("-cl-mad-enable  -DX", "-cl-mad-enable  -DX");
	expect_absolute("-I. -w", "-I /cwd -w");
	expect_absolute(" -DA=1 -I inc/.. -I/abs/x\t-Isub", " -DA=1 -I /cwd -I/abs/x\t-I /cwd/sub");
	expect_absolute("-I \"a b\"", "-I \"/cwd/a b\"");
	expect_absolute("-I ../x", "-I /x");
	expect_absolute("-I", "-I");
	CHECK(!options_parse("-D A=\\\"x\\\" -DB=\"p q\"\t-D", &options));
	CHECK(options.count == 3 && !strcmp(options.list[0].value, "A=\"x\"") &&
	      !strcmp(options.list[1].value, "B=p q") && !*options.list[2].value);
	options_free(&options);
}

static void test_normalize(void)
{
	static const char *const pairs[][2] = {
	    {"/", "/"},	      {"//a//b/", "/a/b"},  {"/a/./b/../c", "/a/c"},
	    {"/../..", "/"},  {"/a/b/../../", "/"}, {"/a/..b/...", "/a/..b/..."},
	    {"/./.a", "/.a"},
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		char path[64];

		strcpy(path, pairs[i][0]);
		path_normalize(path);
		CHECK(!strcmp(path, pairs[i][1]));
	}
}

static void lay_out(void)
{
	static const char *const directories[] = {"inc", "sub", "sub/deep", "many", "with space"};

	CHECK(mkdtemp(root));
	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++)
		make_directory(directories[i]);
	put("a.h", "#define A 1\n\n");
	put("b.h", "");
	put("inc/b.h", "");
	put("inc/c.h", "");
	put("with space/s.h", "");
	put("sub/n.h", "#include \"deep/m.h\"\n#include \"n2.h\"\n");
	put("sub/n2.h", "#include \"n.h\"\n");
	put("sub/deep/m.h", "#include \"../n2.h\"\n#include \"gone.h\"\n");
	put("sub/angle.h", "#include <n2.h>\n");
	put("sub/v2d.h", "");
	put("cycle1.h", "#include \"cycle2.h\"\n");
	put("cycle2.h", "#include \"cycle1.h\"\n#include \"cycle2.h\"\n");
	put("wrap.h", "#include F\n");
	put("big.h", "");
}

int main(void)
{
	char command[64];

	lay_out();
	test_plain();
	test_comments();
	test_directories();
	test_nested();
	test_macros();
	test_contents();
	test_options();
	test_normalize();
	test_limits();
	snprintf(command, sizeof(command), "rm -rf %s", root);
	return system(command) != 0;
}
