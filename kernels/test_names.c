/* SPDX-License-Identifier: Apache-2.0
 *
 * Long names: which are found, what becomes of them, and that they come back.
 */
#include "kernels/compile_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/build.h"
#include "transport/testing.h"

static char *long_name(char first, size_t length)
{
	char *name = malloc(length + 1);

	CHECK(name);
	memset(name, 'x', length);
	name[0] = first;
	name[length] = 0;
	return name;
}

int main(void)
{
	char *a = long_name('a', ARAX_KERNEL_NAME_LONG + 1), *b = long_name('b', 5000);
	char *fits = long_name('c', ARAX_KERNEL_NAME_LONG), *number = long_name('0', 600);
	char *source, *options, *expected, one[ARAX_KERNEL_NAME_SHORT], two[ARAX_KERNEL_NAME_SHORT];
	struct names names = {0};

	CHECK(!strcmp(arax_kernel_short_name("main", one), "main"));
	CHECK(arax_kernel_short_name(fits, one) == fits);
	CHECK(arax_kernel_short_name(a, one) == one && strlen(one) < 128 && one[0] == 'a');
	CHECK(arax_kernel_short_name(b, two) == two && strcmp(one, two) != 0);

	CHECK(asprintf(&source, "kernel void %s(int i){}%s\n%s %s(%s)*%s", a, fits, number, b, a,
		       b) > 0);
	CHECK(names_scan(&names, source, strlen(source)) == 0);
	CHECK(names.count == 2);
	CHECK(!strcmp(names.list[0], a) && !strcmp(names.list[1], b));
	CHECK(names_options(&names, "-I/x", &options) == 0);
	CHECK(asprintf(&expected, "-I/x -D%s=%s -D%s=%s", a, one, b, two) > 0);
	CHECK(!strcmp(options, expected));
	CHECK(!strcmp(names_long(&names, one), a) && !strcmp(names_long(&names, two), b));
	CHECK(!strcmp(names_long(&names, "other"), "other"));
	free(options);
	free(expected);

	struct names none = {0};
	CHECK(names_scan(&none, "kernel void f(){}", 17) == 0 && none.count == 0);
	CHECK(names_options(&none, NULL, &options) == 0 && !options[0]);
	for (size_t i = 0; i < names.count; i++)
		free(names.list[i]);
	free(names.list);
	free(options);
	free(source);
	free(a);
	free(b);
	free(fits);
	free(number);
	return 0;
}
