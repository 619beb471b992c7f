/* SPDX-License-Identifier: Apache-2.0
 *
 * A trace (Chrome's JSON format, as trace_json.c writes it) as a picture: a lane per device, a
 * colour per application. The same trace gives the same picture, byte by byte.
 */
#ifndef ARAX_SCHEDULER_PLOT_H
#define ARAX_SCHEDULER_PLOT_H

#include <jansson.h>
#include <stdio.h>

#define PLOT_ERROR 160

struct plot;

/** plot_read() - Return: the timeline of a trace, or NULL with what is wrong with it. */
struct plot *plot_read(const json_t *root, char error[PLOT_ERROR]);
void plot_free(struct plot *plot);

/** plot_draw() - writes it as SVG. Errors are the file's (ferror). */
void plot_draw(const struct plot *plot, FILE *out);

#endif
