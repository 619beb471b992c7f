/* SPDX-License-Identifier: Apache-2.0
 *
 * See trace_json.h. What is remembered is bounded: of each application where its latest commands
 * are drawn, for the arrows that begin at them, and the arrows whose ends are not known yet.
 */
#include "scheduler/trace_json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define KNOWN 16384u	       /* commands that an arrow can still begin at */
#define LOOSE 65536u	       /* arrows that wait for an end of theirs */
#define WORTH 3u	       /* settlings until the first command of an arrow must have come */
#define ROWS 16u	       /* commands side by side on one device */
#define COUNT_MAX (1ull << 53) /* what JSON readers can hold */
#define SLACK_NS 1000	       /* clocks are read at different times */

/* The lanes of an application: its devices, and what belongs to none. */
enum lane {
	LANE_COPIES = ARAX_TRACE_DEVICES, /* by the tenant, on the processor */
	LANE_TENANT,			  /* markers, and what failed before it came to a device */
	LANE_CLIENT,			  /* by the client, in the application's process */
	LANES
};

struct known {
	uint64_t id, start_ns, end_ns;
	uint32_t tid;
};

struct flow {
	uint64_t from, to;
	unsigned age; /* settlings since its end is known */
};

struct trace_app {
	struct trace_json *json;
	struct trace_app *next;
	pid_t pid;
	char names[LANES][32];
	uint64_t row_end[LANES][ROWS];
	bool row_named[LANES][ROWS];
	struct known known[KNOWN];
	struct flow *flows;
	uint32_t nflows, flow_room;
	uint64_t dropped;
};

struct trace_json {
	FILE *out;
	uint64_t base_ns, limit, written;
	bool begun, full;
	struct trace_app *apps;
	struct trace_totals totals;
	uint64_t flow_id;
};

/* ---- text ----------------------------------------------------------------------------------- */

static void put(struct trace_json *json, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void put(struct trace_json *json, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	int n = vfprintf(json->out, format, arguments);
	va_end(arguments);
	if (n > 0)
		json->written += (uint64_t)n;
}

/* Between the quotes of a JSON string: nothing but what can be printed. */
static void escape(char *to, size_t room, const char *from, size_t size)
{
	size_t at = 0;

	for (size_t i = 0; i < size && from[i] && at + 3 < room; i++) {
		unsigned char c = (unsigned char)from[i];

		if (c == '"' || c == '\\')
			to[at++] = '\\';
		to[at++] = c < 0x20 || c >= 0x7F ? '?' : (char)c;
	}
	to[at] = '\0';
}

/* The next element of the array. */
static void element(struct trace_json *json)
{
	put(json, json->begun ? ",\n" : "\n");
	json->begun = true;
}

/* Microseconds on the trace's axis, exactly. */
struct micros {
	char text[32];
};
static struct micros micros(uint64_t ns)
{
	struct micros m;

	snprintf(m.text, sizeof(m.text), "%" PRIu64 ".%03u", ns / 1000, (unsigned)(ns % 1000));
	return m;
}

struct trace_json *trace_json_new(FILE *out, uint64_t base_ns, uint64_t limit)
{
	struct trace_json *json = calloc(1, sizeof(*json));

	if (!json)
		return NULL;
	*json = (struct trace_json){.out = out, .base_ns = base_ns, .limit = limit};
	put(json, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
	return json;
}

static void metadata(struct trace_app *app, const char *what, uint32_t tid, const char *name)
{
	element(app->json);
	put(app->json,
	    "{\"ph\":\"M\",\"name\":\"%s\",\"pid\":%d,\"tid\":%u,\"args\":{\"name\":\"%s\"}}", what,
	    (int)app->pid, tid, name);
}

struct trace_app *trace_json_app(struct trace_json *json, pid_t pid, uid_t uid, pid_t tenant_pid,
				 const char *program)
{
	struct trace_app *app = calloc(1, sizeof(*app));
	char name[160];

	if (!app)
		return NULL;
	app->json = json;
	app->pid = pid;
	app->next = json->apps;
	json->apps = app;
	json->totals.apps++;
	for (int i = 0; i < ARAX_TRACE_DEVICES; i++)
		snprintf(app->names[i], sizeof(app->names[i]), "device %d", i);
	snprintf(app->names[LANE_COPIES], sizeof(app->names[0]), "copies");
	snprintf(app->names[LANE_TENANT], sizeof(app->names[0]), "tenant");
	snprintf(app->names[LANE_CLIENT], sizeof(app->names[0]), "client");
	escape(name, sizeof(name), program, strlen(program));
	metadata(app, "process_name", 0, name);
	element(json);
	put(json,
	    "{\"ph\":\"M\",\"name\":\"process_labels\",\"pid\":%d,\"tid\":0,"
	    "\"args\":{\"labels\":\"user %u, tenant %d\"}}",
	    (int)pid, (unsigned)uid, (int)tenant_pid);
	return app;
}

void trace_json_devices(struct trace_app *app, const struct arax_trace_head *head)
{
	uint32_t n = atomic_load_explicit(&head->ndevices, memory_order_acquire);

	for (uint32_t i = 0; i < n && i < ARAX_TRACE_DEVICES; i++) {
		char name[sizeof(head->devices[0])];

		memcpy(name, head->devices[i], sizeof(name));
		if (name[0])
			escape(app->names[i], sizeof(app->names[i]), name, sizeof(name));
	}
}

/* ---- what commands are called --------------------------------------------------------------- */

static const char *host_name(uint32_t type)
{
	/* cl_command_type from 0x11F0 on. */
	static const char *const names[] = {
	    "NDRange kernel",
	    "task",
	    "native kernel",
	    "read buffer",
	    "write buffer",
	    "copy buffer",
	    "read image",
	    "write image",
	    "copy image",
	    "copy image to buffer",
	    "copy buffer to image",
	    "map buffer",
	    "map image",
	    "unmap",
	    "marker",
	    "acquire GL",
	    "release GL",
	    "read rectangle",
	    "write rectangle",
	    "copy rectangle",
	    "user event",
	    "barrier",
	    "migrate",
	    "fill buffer",
	    "fill image",
	};
	static const char *const svm[] = {/* from 0x1209 on */
					  "SVM free", "SVM copy",  "SVM fill",
					  "SVM map",  "SVM unmap", "SVM migrate"};

	if (type - 0x11F0 < sizeof(names) / sizeof(names[0]))
		return names[type - 0x11F0];
	if (type - 0x1209 < sizeof(svm) / sizeof(svm[0]))
		return svm[type - 0x1209];
	return "command";
}

static const char *category(const struct arax_trace_event *event)
{
	switch (event->kind) {
	case ARAX_TRACE_LAUNCH:
		return "kernel";
	case ARAX_TRACE_MARKER:
		return "marker";
	case ARAX_TRACE_HOST:
		return "client";
	default:
		return "transfer";
	}
}

static void event_name(const struct arax_trace_event *event, char *name, size_t size)
{
	switch (event->kind) {
	case ARAX_TRACE_LAUNCH:
		escape(name, size, event->name, sizeof(event->name));
		break;
	case ARAX_TRACE_COPY:
		snprintf(name, size, "copy");
		break;
	case ARAX_TRACE_FILL:
		snprintf(name, size, "fill");
		break;
	case ARAX_TRACE_MARKER:
		snprintf(name, size, "marker");
		break;
	case ARAX_TRACE_MOVE:
		snprintf(name, size, event->type ? "from device" : "to device");
		break;
	default:
		snprintf(name, size, "%s", host_name(event->type));
	}
}

static unsigned event_lane(const struct arax_trace_event *event)
{
	switch (event->kind) {
	case ARAX_TRACE_LAUNCH:
	case ARAX_TRACE_MOVE:
		return event->device < ARAX_TRACE_DEVICES ? event->device : LANE_TENANT;
	case ARAX_TRACE_MARKER:
		return LANE_TENANT;
	case ARAX_TRACE_HOST:
		return LANE_CLIENT;
	default:
		return LANE_COPIES;
	}
}

/* ---- events --------------------------------------------------------------------------------- */

/* Events come about as they end, so the first row that is free by now will do. */
static uint32_t choose_row(struct trace_app *app, unsigned lane, uint64_t start, uint64_t end)
{
	uint32_t row = 0;
	char name[64];

	while (row + 1 < ROWS && app->row_end[lane][row] > start)
		row++;
	if (end > app->row_end[lane][row])
		app->row_end[lane][row] = end;
	uint32_t tid = lane * ROWS + row + 1;
	if (!app->row_named[lane][row]) {
		app->row_named[lane][row] = true;
		if (row)
			snprintf(name, sizeof(name), "%s #%u", app->names[lane], row + 1);
		else
			snprintf(name, sizeof(name), "%s", app->names[lane]);
		metadata(app, "thread_name", tid, name);
		element(app->json);
		put(app->json,
		    "{\"ph\":\"M\",\"name\":\"thread_sort_index\",\"pid\":%d,\"tid\":%u,"
		    "\"args\":{\"sort_index\":%u}}",
		    (int)app->pid, tid, tid);
	}
	return tid;
}

static bool sensible(enum arax_trace_source source, const struct arax_trace_event *event,
		     uint64_t now_ns)
{
	bool client = event->kind == ARAX_TRACE_HOST;

	if (event->kind == 0 || event->kind >= ARAX_TRACE_KINDS || event->status > 0 ||
	    event->ndeps > ARAX_TRACE_DEPS || event->id > COUNT_MAX ||
	    client != (source == ARAX_TRACE_CLIENT))
		return false;
	if (event->kind == ARAX_TRACE_MORE)
		return event->id != 0;
	if (event->kind == ARAX_TRACE_MOVE && event->device >= ARAX_TRACE_DEVICES)
		return false;
	if (event->kind == ARAX_TRACE_LAUNCH &&
	    (event->work_dim < 1 || event->work_dim > 3 ||
	     (event->device >= ARAX_TRACE_DEVICES && event->device != ARAX_TRACE_NO_DEVICE)))
		return false;
	return event->start_ns && event->start_ns <= event->end_ns &&
	       event->end_ns <= now_ns + SLACK_NS;
}

/* QUEUED <= SUBMIT <= START, none before the trace; what is unknown happened with the next. */
static void order_times(struct arax_trace_event *event, uint64_t base_ns)
{
	if (event->start_ns < base_ns)
		event->start_ns = base_ns;
	if (!event->submit_ns || event->submit_ns > event->start_ns)
		event->submit_ns = event->start_ns;
	if (event->submit_ns < base_ns)
		event->submit_ns = base_ns;
	if (!event->queued_ns || event->queued_ns > event->submit_ns)
		event->queued_ns = event->submit_ns;
	if (event->queued_ns < base_ns)
		event->queued_ns = base_ns;
}

static uint64_t bounded(uint64_t n)
{
	return n < COUNT_MAX ? n : COUNT_MAX;
}

static void put_size(struct trace_json *json, const char *key, const uint64_t n[3], uint32_t dims)
{
	put(json, ",\"%s\":[%" PRIu64, key, bounded(n[0]));
	for (uint32_t i = 1; i < dims; i++)
		put(json, ",%" PRIu64, bounded(n[i]));
	put(json, "]");
}

static void put_arguments(struct trace_app *app, const struct arax_trace_event *event)
{
	struct trace_json *json = app->json;
	uint64_t base = json->base_ns;

	put(json, "\"args\":{\"device\":\"%s\",\"queue\":%u", app->names[event_lane(event)],
	    event->queue);
	if (event->id)
		put(json, ",\"id\":%" PRIu64, event->id);
	if (event->kind == ARAX_TRACE_LAUNCH) {
		put_size(json, "global", event->global, event->work_dim);
		if (event->local[0])
			put_size(json, "local", event->local, event->work_dim);
	} else if (event->kind != ARAX_TRACE_MARKER) {
		put(json, ",\"bytes\":%" PRIu64, bounded(event->bytes));
	}
	if (event->kind == ARAX_TRACE_MOVE && event->ndeps)
		put(json, ",\"for\":%" PRIu64, bounded(event->deps[0]));
	if (event->status)
		put(json, ",\"error\":%d", event->status);
	put(json,
	    ",\"queued_ns\":%" PRIu64 ",\"submit_ns\":%" PRIu64 ",\"start_ns\":%" PRIu64
	    ",\"end_ns\":%" PRIu64 "}",
	    event->queued_ns - base, event->submit_ns - base, event->start_ns - base,
	    event->end_ns - base);
}

static void put_slice(struct trace_app *app, const struct arax_trace_event *event, uint32_t tid)
{
	struct trace_json *json = app->json;
	char name[2 * ARAX_TRACE_NAME + 4];

	event_name(event, name, sizeof(name));
	element(json);
	put(json,
	    "{\"ph\":\"X\",\"name\":\"%s\",\"cat\":\"%s\",\"pid\":%d,\"tid\":%u,\"ts\":%s,"
	    "\"dur\":%s,",
	    name, category(event), (int)app->pid, tid, micros(event->start_ns - json->base_ns).text,
	    micros(event->end_ns - event->start_ns).text);
	put_arguments(app, event);
	put(json, "}");
}

static void remember_flows(struct trace_app *app, const struct arax_trace_event *event)
{
	for (uint32_t i = 0; i < event->ndeps; i++) {
		if (app->nflows == app->flow_room) {
			uint32_t room = app->flow_room ? app->flow_room * 2 : 64;
			struct flow *more =
			    room > LOOSE ? NULL : realloc(app->flows, room * sizeof(*more));

			if (!more) {
				app->json->totals.loose++;
				continue;
			}
			app->flows = more;
			app->flow_room = room;
		}
		app->flows[app->nflows++] = (struct flow){.from = event->deps[i], .to = event->id};
	}
}

void trace_json_event(struct trace_app *app, enum arax_trace_source source,
		      const struct arax_trace_event *from, uint64_t now_ns)
{
	struct trace_json *json = app->json;
	struct arax_trace_event event = *from;

	if (!sensible(source, &event, now_ns)) {
		json->totals.invalid++;
		return;
	}
	json->full = json->full || json->written > json->limit;
	if (json->full) {
		json->totals.unwanted += event.kind != ARAX_TRACE_MORE;
		return;
	}
	if (event.kind != ARAX_TRACE_MORE) {
		if (event.end_ns < json->base_ns)
			return; /* somebody else's trace: it ended before this one began */
		order_times(&event, json->base_ns);
		uint32_t tid = choose_row(app, event_lane(&event), event.start_ns, event.end_ns);
		put_slice(app, &event, tid);
		json->totals.commands++;
		if (event.id)
			app->known[event.id & (KNOWN - 1)] =
			    (struct known){.id = event.id,
					   .start_ns = event.start_ns,
					   .end_ns = event.end_ns,
					   .tid = tid};
	}
	if (event.kind != ARAX_TRACE_MOVE)
		remember_flows(app, &event);
}

/* ---- arrows --------------------------------------------------------------------------------- */

static const struct known *find(const struct trace_app *app, uint64_t id)
{
	const struct known *known = &app->known[id & (KNOWN - 1)];

	return id && known->id == id ? known : NULL;
}

static void put_flow(struct trace_app *app, const struct known *from, const struct known *to)
{
	struct trace_json *json = app->json;
	uint64_t id = ++json->flow_id;
	/* The last moment that lies within the slice. */
	uint64_t at = from->end_ns > from->start_ns ? from->end_ns - 1 : from->start_ns;

	element(json);
	put(json,
	    "{\"ph\":\"s\",\"name\":\"waits\",\"cat\":\"dependency\",\"id\":%" PRIu64
	    ",\"pid\":%d,\"tid\":%u,\"ts\":%s,\"args\":{\"id\":%" PRIu64 "}}",
	    id, (int)app->pid, from->tid, micros(at - json->base_ns).text, from->id);
	element(json);
	put(json,
	    "{\"ph\":\"f\",\"bp\":\"e\",\"name\":\"waits\",\"cat\":\"dependency\",\"id\":%" PRIu64
	    ",\"pid\":%d,\"tid\":%u,\"ts\":%s,\"args\":{\"id\":%" PRIu64 "}}",
	    id, (int)app->pid, to->tid, micros(to->start_ns - json->base_ns).text, to->id);
	json->totals.flows++;
}

/* Return: false while it is worth waiting for its ends. A command is written before what depends
 * on it can end, so once the second is there the first is, too, or never. */
static bool settle(struct trace_app *app, struct flow *flow)
{
	const struct known *from = find(app, flow->from), *to = find(app, flow->to);

	if (from && to) {
		put_flow(app, from, to);
		return true;
	}
	/* Still running, unless one that came later has its place. */
	if (!to && app->known[flow->to & (KNOWN - 1)].id < flow->to)
		return false;
	if (++flow->age < WORTH)
		return false;
	app->json->totals.loose++;
	return true;
}

void trace_json_settle(struct trace_app *app)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < app->nflows; i++)
		if (!settle(app, &app->flows[i]))
			app->flows[kept++] = app->flows[i];
	app->nflows = kept;
}

void trace_json_dropped(struct trace_app *app, uint64_t dropped)
{
	app->dropped = dropped;
}

int trace_json_finish(struct trace_json *json, struct trace_totals *totals)
{
	while (json->apps) {
		struct trace_app *app = json->apps;

		json->apps = app->next;
		json->totals.dropped += app->dropped;
		json->totals.loose += app->nflows;
		if (app->dropped) {
			element(json);
			put(json,
			    "{\"ph\":\"M\",\"name\":\"arax_dropped\",\"pid\":%d,\"tid\":0,"
			    "\"args\":{\"dropped\":%" PRIu64 "}}",
			    (int)app->pid, app->dropped);
		}
		free(app->flows);
		free(app);
	}
	*totals = json->totals;
	put(json,
	    "\n],\"otherData\":{\"producer\":\"arax trace " ARAX_VERSION "\",\"commands\":%" PRIu64
	    ",\"applications\":%" PRIu64 ",\"dropped\":%" PRIu64 ",\"invalid\":%" PRIu64
	    ",\"over_limit\":%" PRIu64 ",\"flows\":%" PRIu64 ",\"flows_without_beginning\":%" PRIu64
	    "}}\n",
	    totals->commands, totals->apps, totals->dropped, totals->invalid, totals->unwanted,
	    totals->flows, totals->loose);
	errno = 0;
	int failed = fflush(json->out) || ferror(json->out);
	free(json);
	return failed ? -(errno ?: EIO) : 0;
}
