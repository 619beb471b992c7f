/* SPDX-License-Identifier: Apache-2.0
 *
 * The statistics page: counters that araxd reads. Outcomes are counted by whoever publishes them,
 * under cq_lock or alone, the rest by the dispatch thread: each counter has one writer at a time,
 * for which plain loads and stores suffice. They are atomic so that a reader never sees half a
 * word.
 */
#include "scheduler/dispatch_internal.h"

#include <stdio.h>
#include <string.h>

void stats_add(_Atomic uint64_t *counter, uint64_t n)
{
	uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
	atomic_store_explicit(counter, value + n, memory_order_relaxed);
}

/* For the watchdog: another number than before, or none. */
void stats_running(struct dispatch *d, unsigned device, bool busy)
{
	if (device < ARAX_STATS_DEVICES)
		atomic_store_explicit(&d->stats->running[device], busy ? ++d->started : 0,
				      memory_order_relaxed);
}

void stats_device(struct dispatch *d, unsigned device)
{
	if (device >= ARAX_STATS_DEVICES)
		return;
	snprintf(d->stats->devices[device].name, sizeof(d->stats->devices[device].name), "%s",
		 device_at(d, device)->name);
	if (atomic_load_explicit(&d->stats->ndevices, memory_order_relaxed) <= device)
		atomic_store_explicit(&d->stats->ndevices, device + 1, memory_order_release);
}

void stats_init(struct dispatch *d)
{
	atomic_store_explicit(&d->stats->ndevices, 0, memory_order_relaxed);
	for (unsigned i = 0; i < d->config.ndevices; i++)
		stats_device(d, i);
}

/* Rows go to names in the order of their appearance, 64 of them. */
int stats_kernel(struct dispatch *d, const char *name)
{
	uint32_t n = atomic_load_explicit(&d->stats->nkernels, memory_order_relaxed);
	const size_t size = sizeof(d->stats->kernel[0].name);
	if (n > ARAX_STATS_KERNELS)
		return -1; /* a kernel of the tenant wrote there */
	for (uint32_t i = 0; i < n; i++) {
		if (!strncmp(d->stats->kernel[i].name, name, size - 1))
			return (int)i;
	}
	if (n == ARAX_STATS_KERNELS)
		return -1;
	snprintf(d->stats->kernel[n].name, size, "%s", name);
	atomic_store_explicit(&d->stats->nkernels, n + 1, memory_order_release);
	return (int)n;
}

static uint64_t box_bytes(const struct command *c)
{
	if (c->op == ARAX_OP_COPY) {
		const struct arax_op_copy *op = c->work;
		return op->width * op->height * op->depth;
	}
	const struct arax_op_fill *op = c->work;
	return op->width * op->height * op->depth;
}

static void launch_ended(struct dispatch *d, const struct command *c)
{
	const struct launch *launch = c->work;
	uint64_t ns = c->end_ns - c->start_ns;
	stats_add(&d->stats->kernels, 1);
	if (c->device >= ARAX_STATS_DEVICES)
		return;
	stats_add(&d->stats->devices[c->device].commands, 1);
	stats_add(&d->stats->devices[c->device].busy_ns, ns);
	if (launch->kernel->stat < 0)
		return;
	struct arax_stats_kernel *row = &d->stats->kernel[launch->kernel->stat];
	stats_add(&row->launches[c->device], 1);
	stats_add(&row->busy_ns[c->device], ns);
}

/* On the dispatch thread. */
void stats_depth(struct dispatch *d)
{
	atomic_store_explicit(&d->stats->depth, d->inflight, memory_order_relaxed);
}

/* On the dispatch thread. Anything of high priority is urgent; what is all of low priority is not.
 */
void stats_urgency(struct dispatch *d)
{
	int32_t urgency = d->inflight_of[GRAPH_HIGH]	 ? 1
			  : d->inflight_of[GRAPH_MEDIUM] ? 0
			  : d->inflight_of[GRAPH_LOW]	 ? -1
							 : 0;
	/* Nearly always the same: a load of a line that is ours, and no store. */
	if (atomic_load_explicit(&d->stats->urgency, memory_order_relaxed) != urgency)
		atomic_store_explicit(&d->stats->urgency, urgency, memory_order_relaxed);
}

void stats_ended(struct dispatch *d, const struct command *c, int status)
{
	if (c->trace_id)
		trace_ended(d, c, status);
	stats_add(&d->stats->commands, 1);
	if (status < 0) {
		stats_add(&d->stats->errors, 1);
		return;
	}
	if (c->op == ARAX_OP_COPY || c->op == ARAX_OP_FILL)
		stats_add(&d->stats->bytes, box_bytes(c));
	else if (c->op == ARAX_OP_LAUNCH && c->ran)
		launch_ended(d, c);
}
