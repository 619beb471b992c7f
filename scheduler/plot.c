/* SPDX-License-Identifier: Apache-2.0
 *
 * See plot.h. Slices of one device are drawn in one lane, whichever application they are of, and
 * below each other where they overlap. What is smaller than a dot is joined with its neighbour of
 * the same application, so that a picture stays small however long the trace is.
 */
#include "scheduler/plot.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX 8
#define LANES_MAX 256
#define APPS_MAX 4096
#define NAME 64

/* Dots. */
#define LEFT 190.0
#define WIDTH 1000.0
#define RIGHT 30.0
#define TOP 50.0
#define ROW 22.0
#define GAP 10.0
#define LEGEND_ROW 20.0
#define JOIN 0.3 /* gaps smaller than this are not seen */

struct slice {
	double start, end; /* microseconds */
	unsigned app, lane, row;
	const char *name, *category; /* of the JSON */
};

struct app {
	json_int_t pid;
	char name[NAME];
	size_t commands;
	double busy;
};

struct lane {
	char name[NAME];
	json_int_t order; /* the smallest tid that it came from */
	unsigned rows;
	double busy; /* during which something ran */
};

struct plot {
	struct slice *slices;
	size_t nslices;
	struct app *apps;
	unsigned napps;
	struct lane *lanes;
	unsigned nlanes;
	double first, last;
	long long dropped;
};

/* ---- reading -------------------------------------------------------------------------------- */

/* Cut to what there is room for, between characters. */
static void copy_name(char to[NAME], const char *from)
{
	size_t n = strnlen(from, NAME - 1);

	while (n && from[n] && ((unsigned char)from[n] & 0xC0) == 0x80)
		n--;
	memcpy(to, from, n);
	to[n] = '\0';
}

static int plot_app(struct plot *plot, json_int_t pid)
{
	for (unsigned i = 0; i < plot->napps; i++)
		if (plot->apps[i].pid == pid)
			return (int)i;
	if (plot->napps == APPS_MAX)
		return -1;
	struct app *app = &plot->apps[plot->napps];
	*app = (struct app){.pid = pid};
	snprintf(app->name, sizeof(app->name), "process");
	return (int)plot->napps++;
}

static int plot_lane(struct plot *plot, const char *full, json_int_t tid)
{
	char name[NAME];

	copy_name(name, full);
	for (unsigned i = 0; i < plot->nlanes; i++) {
		if (strcmp(plot->lanes[i].name, name) != 0)
			continue;
		if (tid < plot->lanes[i].order)
			plot->lanes[i].order = tid;
		return (int)i;
	}
	if (plot->nlanes == LANES_MAX)
		return -1;
	struct lane *lane = &plot->lanes[plot->nlanes];
	*lane = (struct lane){.order = tid};
	memcpy(lane->name, name, sizeof(lane->name));
	return (int)plot->nlanes++;
}

static const char *string(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static bool number_of(const json_t *object, const char *key, double *value)
{
	const json_t *n = json_object_get(object, key);

	*value = json_number_value(n);
	return json_is_number(n) && isfinite(*value) && fabs(*value) < 1e18;
}

/* Return: NULL, or what is wrong with it. */
static const char *read_slice(struct plot *plot, const json_t *event)
{
	const json_t *args = json_object_get(event, "args");
	const json_t *pid = json_object_get(event, "pid"), *tid = json_object_get(event, "tid");
	const char *device = string(args, "device"), *name = string(event, "name");
	struct slice *slice = &plot->slices[plot->nslices];
	char other[NAME];
	double duration;

	if (!name || !json_is_integer(pid) || !json_is_integer(tid))
		return "has no name, pid or tid";
	if (!number_of(event, "ts", &slice->start))
		return "has no time (ts)";
	if (!number_of(event, "dur", &duration) || duration < 0)
		return "has no duration (dur)";
	snprintf(other, sizeof(other), "thread %lld", (long long)json_integer_value(tid));
	int app = plot_app(plot, json_integer_value(pid));
	int lane = plot_lane(plot, device ? device : other, json_integer_value(tid));
	if (app < 0 || lane < 0)
		return "is of one process or device too many";
	slice->end = slice->start + duration;
	slice->app = (unsigned)app;
	slice->lane = (unsigned)lane;
	slice->name = name;
	slice->category = string(event, "cat") ?: "";
	plot->apps[app].commands++;
	plot->apps[app].busy += duration;
	if (!plot->nslices || slice->start < plot->first)
		plot->first = slice->start;
	if (!plot->nslices || slice->end > plot->last)
		plot->last = slice->end;
	plot->nslices++;
	return NULL;
}

static const char *read_event(struct plot *plot, const json_t *event)
{
	const char *phase = string(event, "ph"), *what = string(event, "name");
	const char *name = string(json_object_get(event, "args"), "name");

	if (!phase)
		return "has no phase (ph)";
	if (strcmp(phase, "X") == 0)
		return read_slice(plot, event);
	if (strcmp(phase, "M") == 0 && what && strcmp(what, "process_name") == 0 && name) {
		int app = plot_app(plot, json_integer_value(json_object_get(event, "pid")));

		if (app >= 0)
			copy_name(plot->apps[app].name, name);
	}
	return NULL;
}

/* ---- layout --------------------------------------------------------------------------------- */

static const struct plot *sorting; /* qsort() takes no argument along */

static int compare_slices(const void *a, const void *b)
{
	const struct slice *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	if (x->end != y->end)
		return x->end < y->end ? -1 : 1;
	json_int_t p = sorting->apps[x->app].pid, q = sorting->apps[y->app].pid;
	if (p != q)
		return p < q ? -1 : 1;
	return strcmp(x->name, y->name);
}

static int compare_lanes(const void *a, const void *b)
{
	const struct lane *x = *(struct lane *const *)a, *y = *(struct lane *const *)b;

	if (x->order != y->order)
		return x->order < y->order ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* In the order of the devices, not of their first commands. */
static bool sort_lanes(struct plot *plot)
{
	struct lane **order = malloc((plot->nlanes + 1) * sizeof(*order));
	struct lane *sorted = malloc((plot->nlanes + 1) * sizeof(*sorted));
	unsigned *place = malloc((plot->nlanes + 1) * sizeof(*place));
	bool good = order && sorted && place;

	for (unsigned i = 0; good && i < plot->nlanes; i++)
		order[i] = &plot->lanes[i];
	if (good)
		qsort(order, plot->nlanes, sizeof(struct lane *), compare_lanes);
	for (unsigned i = 0; good && i < plot->nlanes; i++) {
		sorted[i] = *order[i];
		place[order[i] - plot->lanes] = i;
	}
	for (size_t i = 0; good && i < plot->nslices; i++)
		plot->slices[i].lane = place[plot->slices[i].lane];
	if (good)
		memcpy(plot->lanes, sorted, plot->nlanes * sizeof(*sorted));
	free(order);
	free(sorted);
	free(place);
	return good;
}

static bool choose_rows(struct plot *plot)
{
	double(*ends)[ROWS_MAX] = malloc((plot->nlanes + 1) * sizeof(*ends));

	if (!ends)
		return false;
	for (unsigned i = 0; i < plot->nlanes; i++)
		for (unsigned r = 0; r < ROWS_MAX; r++)
			ends[i][r] = -INFINITY;
	for (size_t i = 0; i < plot->nslices; i++) {
		struct slice *slice = &plot->slices[i];
		struct lane *lane = &plot->lanes[slice->lane];
		double *end = ends[slice->lane], latest = -INFINITY;
		unsigned row = 0;

		for (unsigned r = 0; r < lane->rows; r++)
			latest = fmax(latest, end[r]);
		if (slice->end > latest)
			lane->busy += slice->end - fmax(slice->start, latest);
		/* Times are sums of rounded decimals: half a nanosecond is no overlap. */
		while (row + 1 < ROWS_MAX && end[row] > slice->start + 0.0005)
			row++;
		slice->row = row;
		end[row] = fmax(end[row], slice->end);
		if (row + 1 > lane->rows)
			lane->rows = row + 1;
	}
	free(ends);
	return true;
}

static const json_t *events_of(const json_t *root)
{
	return json_is_array(root) ? root : json_object_get(root, "traceEvents");
}

static struct plot *plot_new(size_t events)
{
	struct plot *plot = calloc(1, sizeof(*plot));

	if (!plot)
		return NULL;
	plot->slices = calloc(events + 1, sizeof(*plot->slices));
	plot->apps = calloc(APPS_MAX, sizeof(*plot->apps));
	plot->lanes = calloc(LANES_MAX, sizeof(*plot->lanes));
	if (!plot->slices || !plot->apps || !plot->lanes) {
		plot_free(plot);
		return NULL;
	}
	return plot;
}

struct plot *plot_read(const json_t *root, char error[PLOT_ERROR])
{
	const json_t *events = events_of(root), *event;
	size_t i;

	if (!json_is_array(events)) {
		snprintf(error, PLOT_ERROR, "not a trace: it has no traceEvents");
		return NULL;
	}
	struct plot *plot = plot_new(json_array_size(events));
	if (!plot) {
		snprintf(error, PLOT_ERROR, "out of memory");
		return NULL;
	}
	plot->dropped =
	    json_integer_value(json_object_get(json_object_get(root, "otherData"), "dropped"));
	json_array_foreach(events, i, event)
	{
		const char *wrong = read_event(plot, event);

		if (!wrong)
			continue;
		snprintf(error, PLOT_ERROR, "not a trace: event %zu %s", i, wrong);
		plot_free(plot);
		return NULL;
	}
	bool good = sort_lanes(plot);
	sorting = plot;
	qsort(plot->slices, plot->nslices, sizeof(*plot->slices), compare_slices);
	if (!good || !choose_rows(plot)) {
		snprintf(error, PLOT_ERROR, "out of memory");
		plot_free(plot);
		return NULL;
	}
	return plot;
}

void plot_free(struct plot *plot)
{
	if (!plot)
		return;
	free(plot->slices);
	free(plot->apps);
	free(plot->lanes);
	free(plot);
}

/* ---- drawing -------------------------------------------------------------------------------- */

static void put_text(FILE *out, const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '&':
			fputs("&amp;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		default:
			/* Control characters are not allowed in XML. */
			fputc((unsigned char)*text < 0x20 ? '?' : *text, out);
		}
	}
}

/* Neighbours differ: the golden angle. */
static void colour(unsigned app, unsigned *hue, unsigned *light)
{
	*hue = (unsigned)(205 + app * 137.508) % 360;
	*light = 42 + app / 8 % 3 * 10;
}

static void put_colour(FILE *out, unsigned app)
{
	unsigned hue, light;

	colour(app, &hue, &light);
	fprintf(out, "hsl(%u,60%%,%u%%)", hue, light);
}

struct unit {
	const char *name;
	double micros;
};

static struct unit unit_for(double micros)
{
	static const struct unit units[] = {
	    {"s", 1e6}, {"ms", 1e3}, {"\xc2\xb5s", 1}, {"ns", 1e-3}};

	for (int i = 0; i < 3; i++)
		if (micros >= units[i].micros)
			return units[i];
	return units[3];
}

static void put_duration(FILE *out, double micros)
{
	struct unit unit = unit_for(micros);

	fprintf(out, "%.4g %s", micros / unit.micros, unit.name);
}

/* 1, 2 or 5 times a power of ten, of which about ten fit. */
static double tick_step(double span)
{
	double power = pow(10, floor(log10(span / 10)));
	double rest = span / 10 / power;

	return power * (rest <= 1 ? 1 : rest <= 2 ? 2 : rest <= 5 ? 5 : 10);
}

static double place(const struct plot *plot, double time)
{
	double span = plot->last - plot->first;

	return LEFT + (span > 0 ? (time - plot->first) / span * WIDTH : 0);
}

static double lanes_height(const struct plot *plot)
{
	double height = 0;

	for (unsigned i = 0; i < plot->nlanes; i++)
		height += plot->lanes[i].rows * ROW + GAP;
	return height;
}

static void draw_axis(const struct plot *plot, FILE *out, double bottom)
{
	double span = plot->last - plot->first;

	if (!(span > 0))
		return;
	double step = tick_step(span);
	struct unit unit = unit_for(step);
	fputs("<g class=\"axis\" stroke=\"#ddd\" fill=\"#444\" font-size=\"11\">\n", out);
	for (int i = 0; i * step <= span * 1.0001 && i < 100; i++) {
		double x = LEFT + i * step / span * WIDTH;

		fprintf(out, "<line x1=\"%.2f\" y1=\"%.0f\" x2=\"%.2f\" y2=\"%.0f\"/>", x, TOP - 6,
			x, bottom);
		fprintf(out,
			"<text x=\"%.2f\" y=\"%.0f\" stroke=\"none\" text-anchor=\"middle\">%g "
			"%s</text>\n",
			x, bottom + 14, round(i * step / unit.micros * 1e6) / 1e6, unit.name);
	}
	fputs("</g>\n", out);
}

/* What is drawn as one. */
struct bar {
	double x, end;
	const struct slice *slice;
	size_t count;
};

static void draw_bar(const struct plot *plot, FILE *out, const struct bar *bar, double y)
{
	const struct slice *slice = bar->slice;

	if (!bar->count)
		return;
	const struct app *app = &plot->apps[slice->app];
	bool kernel = strcmp(slice->category, "kernel") == 0;
	fprintf(out, "<rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%.0f\" fill=\"", bar->x,
		y + slice->row * ROW, fmax(bar->end - bar->x, 0.6), ROW - 3);
	put_colour(out, slice->app);
	fprintf(out, "\"%s><title>", kernel ? "" : " fill-opacity=\"0.55\"");
	if (bar->count > 1)
		fprintf(out, "%zu commands", bar->count);
	else
		put_text(out, slice->name);
	fputs(", ", out);
	if (bar->count == 1) {
		put_duration(out, slice->end - slice->start);
		fputs(", ", out);
	}
	put_text(out, app->name);
	fprintf(out, " (%lld)</title></rect>\n", (long long)app->pid);
}

static void draw_lane(const struct plot *plot, FILE *out, unsigned lane, double y)
{
	struct bar bars[ROWS_MAX] = {0};

	for (size_t i = 0; i < plot->nslices; i++) {
		const struct slice *slice = &plot->slices[i];
		struct bar *bar = &bars[slice->row];
		double x = place(plot, slice->start), end = place(plot, slice->end);

		if (slice->lane != lane)
			continue;
		if (bar->count && bar->slice->app == slice->app && x - bar->end < JOIN &&
		    end - bar->x < 1) {
			bar->end = fmax(bar->end, end);
			bar->count++;
			continue;
		}
		draw_bar(plot, out, bar, y);
		*bar = (struct bar){.x = x, .end = end, .slice = slice, .count = 1};
	}
	for (unsigned r = 0; r < ROWS_MAX; r++)
		draw_bar(plot, out, &bars[r], y);
}

static void draw_lanes(const struct plot *plot, FILE *out)
{
	double y = TOP, span = plot->last - plot->first;

	for (unsigned i = 0; i < plot->nlanes; i++) {
		const struct lane *lane = &plot->lanes[i];
		double height = lane->rows * ROW;

		fprintf(out,
			"<g class=\"lane\"><rect x=\"%.0f\" y=\"%.1f\" width=\"%.0f\" "
			"height=\"%.0f\" fill=\"#f4f4f6\"/>\n",
			LEFT, y - 1.5, WIDTH, height);
		fprintf(out, "<text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">", LEFT - 10, y + 13);
		put_text(out, lane->name);
		if (span > 0)
			fprintf(out, " <tspan fill=\"#777\">%.0f %%</tspan>",
				100 * lane->busy / span);
		fputs("</text>\n", out);
		draw_lane(plot, out, i, y);
		fputs("</g>\n", out);
		y += height + GAP;
	}
}

static void draw_legend(const struct plot *plot, FILE *out, double y)
{
	for (unsigned i = 0; i < plot->napps; i++) {
		const struct app *app = &plot->apps[i];

		fprintf(out,
			"<g class=\"legend\"><rect x=\"%.0f\" y=\"%.0f\" width=\"14\" "
			"height=\"14\" fill=\"",
			LEFT, y + i * LEGEND_ROW);
		put_colour(out, i);
		fprintf(out, "\"/><text x=\"%.0f\" y=\"%.0f\">", LEFT + 22,
			y + i * LEGEND_ROW + 12);
		put_text(out, app->name);
		fprintf(out, " (%lld): %zu commands, ", (long long)app->pid, app->commands);
		put_duration(out, app->busy);
		fputs("</text></g>\n", out);
	}
}

void plot_draw(const struct plot *plot, FILE *out)
{
	double bottom = TOP + lanes_height(plot), legend = bottom + 34;
	double height = legend + plot->napps * LEGEND_ROW + 16;

	fprintf(out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
		"viewBox=\"0 0 %.0f %.0f\" font-family=\"sans-serif\" font-size=\"12\">\n",
		LEFT + WIDTH + RIGHT, height, LEFT + WIDTH + RIGHT, height);
	fprintf(out, "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n");
	fprintf(out, "<text x=\"%.0f\" y=\"24\" font-size=\"14\">Arax: %zu commands in ", LEFT,
		plot->nslices);
	put_duration(out, plot->last - plot->first);
	if (plot->dropped > 0)
		fprintf(out, "; %lld more were not recorded", plot->dropped);
	fputs("</text>\n", out);
	draw_axis(plot, out, bottom);
	draw_lanes(plot, out);
	draw_legend(plot, out, legend);
	fputs("</svg>\n", out);
}
