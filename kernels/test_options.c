/* SPDX-License-Identifier: Apache-2.0
 *
 * Which build options are accepted, and that nothing else can reach clang's command line.
 */
#include "kernels/compile_options.h"
#include "transport/testing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void check(enum arax_build_kind kind, const char *options, const char *expected)
{
	char *passed, *refused;
	int error = options_check(kind, options, NULL, &passed, &refused);

	if (expected) {
		CHECK(error == 0 && !refused);
		if (strcmp(passed, expected) != 0)
			fprintf(stderr, "'%s' became '%s'\n", options, passed);
		CHECK(strcmp(passed, expected) == 0);
	} else {
		if (error != -EINVAL)
			fprintf(stderr, "'%s' was accepted\n", options);
		CHECK(error == -EINVAL && refused);
	}
	free(passed);
	free(refused);
}

#define INFO "-cl-kernel-arg-info "

int main(void)
{
	enum arax_build_kind build = ARAX_BUILD_EXECUTABLE, link = ARAX_BUILD_LINK;

	check(build, "", INFO);
	check(build, " -DA=1 -D B  -I/x\t-I y ", "-DA=1 -DB -I/x -Iy " INFO);
	check(build, "-cl-std=CL1.2 -w -Werror -g", "-cl-std=CL1.2 -w -Werror -g " INFO);
	check(build, "-Wall -Wno-unused -O3 -cl-kernel-arg-info", INFO);
	check(build, "-DA=\"x y\"", "-DA=\"x y\" " INFO);
	check(build, "-DA=\"x\t-load\ty.so\"", "-DA=\"x -load y.so\" " INFO);
	check(build, "-DA\t-load\ty.so", NULL);
	check(build, "-DA=\"x", NULL);
	check(build, "-D", NULL);
	check(build, "-I", NULL);
	check(build, "-cl-unknown", NULL);
	check(build, "-cl", NULL);
	check(build, "-cl-std=", NULL);
	check(build, "-x spir", NULL);
	check(build, "-spir-std=1.2", NULL);
	check(build, "-Wl,-x", NULL);
	check(build, "-Xclang", NULL);
	check(build, "nonsense", NULL);
	check(build, "-create-library", NULL);
	check(ARAX_BUILD_COMPILE, "-create-library", NULL);
	check(ARAX_BUILD_COMPILE, "-DA", "-DA " INFO);
	check(link, "", "");
	check(link, "-cl-fast-relaxed-math", "");
	check(link, "-create-library", "-create-library ");
	check(link, "-create-library -enable-link-options -cl-no-signed-zeros", "-create-library ");
	check(link, "-enable-link-options", NULL);
	check(link, "-DA", NULL);
	check(link, "-w", NULL);
	return 0;
}
