/* SPDX-License-Identifier: Apache-2.0
 *
 * Traces as JSON, and pictures of them, without any process: what is written is what was given,
 * whatever an application says it stays JSON (jansson reads it), and bad files are refused.
 */
#include "scheduler/plot.h"
#include "scheduler/trace_json.h"
#include "transport/testing.h"

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#define BASE 1000000000ull
#define NOW (BASE + 1000000000ull)

struct output {
	char *text;
	size_t size;
	FILE *file;
	struct trace_json *json;
	struct trace_totals totals;
};

static void open_output(struct output *o, uint64_t limit)
{
	*o = (struct output){0};
	o->file = open_memstream(&o->text, &o->size);
	CHECK(o->file);
	o->json = trace_json_new(o->file, BASE, limit);
	CHECK(o->json);
}

/* Return: the file, read again. */
static json_t *close_output(struct output *o)
{
	json_error_t error;

	CHECK(trace_json_finish(o->json, &o->totals) == 0);
	CHECK(fclose(o->file) == 0);
	json_t *root = json_loadb(o->text, o->size, JSON_REJECT_DUPLICATES, &error);
	if (!root)
		fprintf(stderr, "%s at %d\n", error.text, error.line);
	CHECK(root);
	free(o->text);
	return root;
}

static size_t count(const json_t *root, const char *phase, const char *name)
{
	const json_t *event;
	size_t i, n = 0;

	json_array_foreach(json_object_get(root, "traceEvents"), i, event)
	{
		const char *p = json_string_value(json_object_get(event, "ph"));
		const char *q = json_string_value(json_object_get(event, "name"));

		n += strcmp(p, phase) == 0 && (!name || strcmp(q, name) == 0);
	}
	return n;
}

static const json_t *find(const json_t *root, const char *phase, const char *name)
{
	const json_t *event;
	size_t i;

	json_array_foreach(json_object_get(root, "traceEvents"), i, event)
	{
		if (strcmp(json_string_value(json_object_get(event, "ph")), phase) == 0 &&
		    strcmp(json_string_value(json_object_get(event, "name")), name) == 0)
			return event;
	}
	CHECK(!"no such event");
	return NULL;
}

static json_int_t integer(const json_t *object, const char *key)
{
	CHECK(json_is_integer(json_object_get(object, key)));
	return json_integer_value(json_object_get(object, key));
}

static struct arax_trace_event launch(uint64_t id, const char *name, uint64_t start, uint64_t end)
{
	struct arax_trace_event event = {.kind = ARAX_TRACE_LAUNCH,
					 .id = id,
					 .queue = 5,
					 .queued_ns = BASE + start - 20,
					 .submit_ns = BASE + start - 10,
					 .start_ns = BASE + start,
					 .end_ns = BASE + end,
					 .work_dim = 2,
					 .global = {64, 32, 1}};

	memcpy(event.name, name, strnlen(name, sizeof(event.name)));
	return event;
}

static void test_events(void)
{
	struct arax_trace_head head = {.ndevices = 2, .devices = {"cpu-basic", "cpu-pthread"}};
	struct output o;

	open_output(&o, 1 << 20);
	struct trace_app *app = trace_json_app(o.json, 42, 7, 43, "an \"app\"\\\n");
	trace_json_devices(app, &head);
	struct arax_trace_event first = launch(1, "first", 1000, 2500);
	struct arax_trace_event second = launch(2, "second", 2500, 2600);
	second.device = 1;
	second.ndeps = 1;
	second.deps[0] = 1;
	struct arax_trace_event read = {.kind = ARAX_TRACE_HOST,
					.type = 0x11F3,
					.bytes = 100,
					.start_ns = BASE + 3000,
					.end_ns = BASE + 3001};
	trace_json_event(app, ARAX_TRACE_TENANT, &first, NOW);
	trace_json_event(app, ARAX_TRACE_TENANT, &second, NOW);
	trace_json_event(app, ARAX_TRACE_CLIENT, &read, NOW);
	trace_json_settle(app);
	trace_json_dropped(app, 3);
	json_t *root = close_output(&o);

	CHECK(o.totals.commands == 3 && o.totals.flows == 1 && o.totals.dropped == 3);
	CHECK(o.totals.apps == 1 && o.totals.invalid == 0 && o.totals.loose == 0);
	CHECK(count(root, "X", NULL) == 3 && count(root, "s", NULL) == 1);
	const json_t *event = find(root, "X", "first"), *args = json_object_get(event, "args");
	CHECK(json_real_value(json_object_get(event, "ts")) == 1.0);
	CHECK(json_real_value(json_object_get(event, "dur")) == 1.5);
	CHECK(integer(event, "pid") == 42 && integer(args, "id") == 1 &&
	      integer(args, "queue") == 5);
	CHECK(integer(args, "queued_ns") == 980 && integer(args, "submit_ns") == 990);
	CHECK(integer(args, "start_ns") == 1000 && integer(args, "end_ns") == 2500);
	CHECK(strcmp(json_string_value(json_object_get(args, "device")), "cpu-basic") == 0);
	CHECK(json_array_size(json_object_get(args, "global")) == 2);
	CHECK(!json_object_get(args, "local"));
	/* The arrow begins within the first and ends where the second starts. */
	const json_t *from = find(root, "s", "waits"), *to = find(root, "f", "waits");
	CHECK(integer(from, "tid") == integer(event, "tid"));
	CHECK(json_real_value(json_object_get(from, "ts")) == 2.499);
	CHECK(json_real_value(json_object_get(to, "ts")) == 2.5);
	CHECK(integer(from, "id") == integer(to, "id"));
	/* Unknown times come with the next that is known. */
	args = json_object_get(find(root, "X", "read buffer"), "args");
	CHECK(integer(args, "queued_ns") == 3000 && integer(args, "bytes") == 100);
	args = json_object_get(find(root, "M", "process_name"), "args");
	CHECK(strcmp(json_string_value(json_object_get(args, "name")), "an \"app\"\\?") == 0);
	args = json_object_get(find(root, "M", "arax_dropped"), "args");
	CHECK(integer(args, "dropped") == 3);
	CHECK(integer(json_object_get(root, "otherData"), "dropped") == 3);
	json_decref(root);
}

/* Arrows may be known before their ends are, and ends may never come. */
static void test_flows(void)
{
	struct output o;

	open_output(&o, 1 << 20);
	struct trace_app *app = trace_json_app(o.json, 1, 1, 2, "app");
	struct arax_trace_event more = {
	    .kind = ARAX_TRACE_MORE, .id = 9, .ndeps = 3, .deps = {1, 2, 77}};
	struct arax_trace_event one = launch(1, "one", 100, 200), two = launch(2, "two", 200, 300);
	struct arax_trace_event nine = launch(9, "nine", 300, 400);
	trace_json_event(app, ARAX_TRACE_TENANT, &more, NOW);
	trace_json_event(app, ARAX_TRACE_TENANT, &one, NOW);
	for (int i = 0; i < 10; i++) /* it runs for long */
		trace_json_settle(app);
	trace_json_event(app, ARAX_TRACE_TENANT, &nine, NOW);
	trace_json_settle(app);
	trace_json_event(app, ARAX_TRACE_TENANT, &two, NOW); /* from the other ring, a bit late */
	trace_json_settle(app);
	more.id = 1000; /* never ends */
	trace_json_event(app, ARAX_TRACE_TENANT, &more, NOW);
	for (int i = 0; i < 5; i++)
		trace_json_settle(app);
	json_t *root = close_output(&o);
	CHECK(o.totals.flows == 2 && o.totals.loose == 1 + 3);
	CHECK(count(root, "s", NULL) == 2 && count(root, "f", NULL) == 2);
	CHECK(count(root, "X", NULL) == 3);
	json_decref(root);
}

/* Side by side on one device: a thread for each row, so that no slices cross. */
static void test_rows(void)
{
	struct output o;

	open_output(&o, 1 << 20);
	struct trace_app *app = trace_json_app(o.json, 1, 1, 2, "app");
	const uint64_t times[][2] = {{100, 200}, {150, 250}, {200, 300}, {120, 400}, {300, 500}};
	for (unsigned i = 0; i < 5; i++) {
		struct arax_trace_event event = launch(i + 1, "k", times[i][0], times[i][1]);

		trace_json_event(app, ARAX_TRACE_TENANT, &event, NOW);
	}
	json_t *root = close_output(&o);
	CHECK(count(root, "M", "thread_name") == 3);
	const json_t *a, *b;
	size_t i, k;
	json_array_foreach(json_object_get(root, "traceEvents"), i, a)
	{
		json_array_foreach(json_object_get(root, "traceEvents"), k, b)
		{
			const json_t *x = json_object_get(a, "args"),
				     *y = json_object_get(b, "args");

			if (i >= k || !json_object_get(x, "id") || !json_object_get(y, "id") ||
			    integer(a, "tid") != integer(b, "tid"))
				continue;
			CHECK(integer(x, "end_ns") <= integer(y, "start_ns") ||
			      integer(y, "end_ns") <= integer(x, "start_ns"));
		}
	}
	json_decref(root);
}

/* Whatever an application writes into its memory. */
static void test_hostile(void)
{
	uint64_t state = 99, given = 0;
	struct output o;

	open_output(&o, 64 << 20);
	struct arax_trace_head head = {.ndevices = 0xFFFFFFFF};
	memset(head.devices, '"', sizeof(head.devices));
	struct trace_app *app = trace_json_app(o.json, 1, 1, 2, "\x01\xFF\x7F</script>");
	trace_json_devices(app, &head);
	for (int i = 0; i < 20000; i++) {
		struct arax_trace_event event;
		unsigned char *bytes = (unsigned char *)&event;

		for (size_t k = 0; k < sizeof(event); k++)
			bytes[k] = (unsigned char)test_random(&state);
		if (i & 1) { /* plausible enough to be written */
			event.kind = (uint16_t)(i / 2 % ARAX_TRACE_KINDS);
			event.device &= 15;
			event.status = i % 3 ? 0 : -5;
			event.id >>= event.id & 63;
			event.ndeps %= 7;
			event.work_dim %= 5;
			event.start_ns = BASE + event.start_ns % 1000;
			event.end_ns = BASE + event.end_ns % 1000;
		}
		trace_json_event(app, i & 2 ? ARAX_TRACE_CLIENT : ARAX_TRACE_TENANT, &event, NOW);
		given += event.kind != ARAX_TRACE_MORE;
		if (i % 100 == 0)
			trace_json_settle(app);
	}
	json_t *root = close_output(&o);
	CHECK(o.totals.commands > 1000 && o.totals.invalid > 1000);
	CHECK(o.totals.commands == count(root, "X", NULL));
	CHECK(o.totals.commands < given);
	const json_t *event;
	size_t i;
	json_array_foreach(json_object_get(root, "traceEvents"), i, event)
	{
		const json_t *args = json_object_get(event, "args");

		if (strcmp(json_string_value(json_object_get(event, "ph")), "X") != 0)
			continue;
		CHECK(integer(args, "queued_ns") >= 0);
		CHECK(integer(args, "queued_ns") <= integer(args, "submit_ns"));
		CHECK(integer(args, "submit_ns") <= integer(args, "start_ns"));
		CHECK(integer(args, "start_ns") <= integer(args, "end_ns"));
	}
	json_decref(root);
}

static void test_limit(void)
{
	struct output o;

	open_output(&o, 10000);
	struct trace_app *app = trace_json_app(o.json, 1, 1, 2, "app");
	for (unsigned i = 0; i < 1000; i++) {
		struct arax_trace_event event = launch(i + 1, "k", 100 + i, 101 + i);

		trace_json_event(app, ARAX_TRACE_TENANT, &event, NOW);
	}
	json_t *root = close_output(&o);
	CHECK(o.totals.commands + o.totals.unwanted == 1000 && o.totals.commands < 100);
	CHECK(count(root, "X", NULL) == o.totals.commands);
	json_decref(root);
}

static void test_full_disk(void)
{
	struct trace_totals totals;
	FILE *full = fopen("/dev/full", "w");

	CHECK(full);
	struct trace_json *json = trace_json_new(full, BASE, 1 << 20);
	CHECK(json);
	CHECK(trace_json_finish(json, &totals) < 0);
	fclose(full);
}

/* ---- pictures ------------------------------------------------------------------------------- */

static char *draw(const json_t *root)
{
	char error[PLOT_ERROR] = "";
	struct plot *plot = plot_read(root, error);
	char *text;
	size_t size;

	if (!plot)
		fprintf(stderr, "%s\n", error);
	CHECK(plot);
	FILE *out = open_memstream(&text, &size);
	plot_draw(plot, out);
	CHECK(fclose(out) == 0);
	plot_free(plot);
	return text;
}

static size_t occurrences(const char *text, const char *what)
{
	size_t n = 0;

	for (; (text = strstr(text, what)); text += strlen(what))
		n++;
	return n;
}

static void test_plot(void)
{
	struct arax_trace_head head = {.ndevices = 2, .devices = {"cpu-basic", "cpu-pthread"}};
	struct output o;

	open_output(&o, 1 << 20);
	for (int pid = 10; pid < 12; pid++) {
		struct trace_app *app =
		    trace_json_app(o.json, pid, 0, 1, pid == 10 ? "<one> & two" : "other");
		trace_json_devices(app, &head);
		for (unsigned i = 0; i < 10; i++) {
			struct arax_trace_event event =
			    launch(i + 1, "k<1>", 1000 + i * 100000, 90000 + i * 100000);

			event.device = i & 1;
			trace_json_event(app, ARAX_TRACE_TENANT, &event, NOW);
		}
	}
	json_t *root = close_output(&o);
	char *picture = draw(root), *again = draw(root);
	CHECK(strcmp(picture, again) == 0);
	CHECK(strncmp(picture, "<svg ", 5) == 0 && strstr(picture, "</svg>"));
	CHECK(occurrences(picture, "class=\"lane\"") == 2);
	CHECK(occurrences(picture, "class=\"legend\"") == 2);
	CHECK(occurrences(picture, "<title>") == 20);
	CHECK(occurrences(picture, "&lt;one&gt; &amp; two (10)") == 11);
	CHECK(strstr(picture, ">cpu-basic <") && strstr(picture, ">cpu-pthread <"));
	CHECK(strstr(picture, "0.2 ms</text>") || strstr(picture, "200 \xc2\xb5s</text>"));
	CHECK(!strstr(picture, "nan") && !strstr(picture, "inf"));
	free(picture);
	free(again);
	json_decref(root);
}

/* A long trace is no larger a picture than its dots. */
static void test_plot_small(void)
{
	struct output o;

	open_output(&o, 256 << 20);
	struct trace_app *app = trace_json_app(o.json, 1, 1, 2, "app");
	for (unsigned i = 0; i < 100000; i++) {
		struct arax_trace_event event = launch(i + 1, "k", 100 + i * 10, 105 + i * 10);

		trace_json_event(app, ARAX_TRACE_TENANT, &event, NOW);
	}
	json_t *root = close_output(&o);
	char *picture = draw(root);
	CHECK(strlen(picture) < 400000);
	CHECK(strstr(picture, "100000 commands"));
	free(picture);
	json_decref(root);
}

static void refused(const char *text, const char *because)
{
	char error[PLOT_ERROR] = "";
	json_t *root = json_loads(text, JSON_DECODE_ANY, NULL);

	CHECK(root);
	CHECK(!plot_read(root, error));
	if (!strstr(error, because))
		fprintf(stderr, "%s\n", error);
	CHECK(strstr(error, because));
	json_decref(root);
}

static void test_plot_bad(void)
{
	refused("{}", "no traceEvents");
	refused("5", "no traceEvents");
	refused("{\"traceEvents\": 5}", "no traceEvents");
	refused("[1]", "event 0 has no phase");
	refused("[{\"ph\": \"X\"}]", "has no name");
	refused("[{\"ph\": \"X\", \"name\": \"a\", \"pid\": 1, \"tid\": 1}]", "no time");
	refused("[{\"ph\": \"M\"}, {\"ph\": \"X\", \"name\": \"a\", \"pid\": 1, \"tid\": 1, "
		"\"ts\": 1, \"dur\": -1}]",
		"event 1 has no duration");
	refused("[{\"ph\": \"X\", \"name\": \"a\", \"pid\": 1, \"tid\": 1, \"ts\": 1e300, "
		"\"dur\": 1}]",
		"no time");
	/* Nothing, and nothing but a moment, are traces. */
	json_t *root = json_loads("[]", 0, NULL);
	char *picture = draw(root);
	CHECK(strstr(picture, "0 commands") && !strstr(picture, "nan"));
	free(picture);
	json_decref(root);
	root = json_loads("[{\"ph\": \"X\", \"name\": \"a\", \"pid\": 1, \"tid\": 1, \"ts\": 1, "
			  "\"dur\": 0}]",
			  0, NULL);
	picture = draw(root);
	CHECK(strstr(picture, "1 commands") && strstr(picture, "thread 1"));
	CHECK(!strstr(picture, "nan"));
	free(picture);
	json_decref(root);
}

int main(void)
{
	test_events();
	test_flows();
	test_rows();
	test_hostile();
	test_limit();
	test_full_disk();
	test_plot();
	test_plot_small();
	test_plot_bad();
	puts("ok");
	return 0;
}
