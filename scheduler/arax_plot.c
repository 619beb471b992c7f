/* SPDX-License-Identifier: Apache-2.0
 *
 * arax plot: a trace's file to a picture's. The picture is written when the trace was read well.
 */
#include "scheduler/arax_cli.h"
#include "scheduler/plot.h"

#include <errno.h>
#include <string.h>

int command_plot(int argc, char **argv)
{
	char wrong[PLOT_ERROR];
	json_error_t error;

	if (argc != 3 || argv[1][0] == '-') {
		fputs("usage: arax plot TRACE.json OUT.svg\n", stderr);
		return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : 2;
	}
	FILE *in = fopen(argv[1], "re");
	if (!in)
		die(argv[1], strerror(errno));
	errno = 0;
	json_t *root = json_loadf(in, 0, &error);
	if (ferror(in))
		die(argv[1], strerror(errno ? errno : EIO));
	fclose(in);
	if (!root)
		die(argv[1],
		    format("not JSON, or cut off: line %d: %.40s", error.line, error.text));
	struct plot *plot = plot_read(root, wrong);
	if (!plot)
		die(argv[1], wrong);
	FILE *out = fopen(argv[2], "we");
	if (!out)
		die(argv[2], strerror(errno));
	plot_draw(plot, out);
	errno = 0;
	if (ferror(out) | fclose(out))
		die(argv[2], strerror(errno ? errno : EIO));
	plot_free(plot);
	json_decref(root);
	return 0;
}
