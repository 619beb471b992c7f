/* SPDX-License-Identifier: Apache-2.0
 *
 * What applications did that have finished, and what those do that run. It comes from pages that
 * tenants and clients write; hostile ones write what they like: every count is bounded, every name
 * made printable, and nothing is decided by them.
 */
#include "scheduler/history.h"

#include "scheduler/araxd_journal.h"
#include "scheduler/araxd_device.h"
#include "transport/shm.h"
#include "transport/wake.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_MAX (1ull << 53) /* what JSON readers can hold */

struct history *history_new(void)
{
	return calloc(1, sizeof(struct history));
}

void history_free(struct history *history)
{
	free(history);
}

static uint64_t bounded(const _Atomic uint64_t *value)
{
	uint64_t now = atomic_load_explicit(value, memory_order_relaxed);

	return now < COUNT_MAX ? now : COUNT_MAX;
}

static uint64_t sum(uint64_t a, uint64_t b)
{
	return a + b < COUNT_MAX ? a + b : COUNT_MAX;
}

static void snapshot_device(struct snapshot_device *to, const struct arax_stats_device *stats)
{
	status_printable(to->name, stats->name, sizeof(to->name));
	to->commands = bounded(&stats->commands);
	to->busy_ns = bounded(&stats->busy_ns);
	to->bytes_in = bounded(&stats->bytes_in);
	to->bytes_out = bounded(&stats->bytes_out);
	to->resident = bounded(&stats->resident);
	to->queued = atomic_load_explicit(&stats->queued, memory_order_relaxed);
}

/* What the device itself has counted is better than what the tenant says. */
static void snapshot_link(struct snapshot *to, const struct link *link)
{
	const struct arax_link_usage *usage = link_usage(link);
	struct snapshot_device *device = &to->devices[link->index];

	if (link->index >= to->ndevices)
		to->ndevices = link->index + 1;
	snprintf(device->name, sizeof(device->name), "%s", link->device->name);
	device->lease = link->told;
	if (!usage)
		return;
	device->commands = bounded(&usage->commands);
	device->busy_ns = bounded(&usage->busy_ns);
	device->bytes_in = bounded(&usage->bytes_in);
	device->bytes_out = bounded(&usage->bytes_out);
	device->resident = bounded(&usage->memory);
	device->queued = atomic_load_explicit(&usage->waiting, memory_order_relaxed);
}

void snapshot_take(struct snapshot *to, const struct tenant *tenant)
{
	const struct arax_stats *stats = tenant->stats;
	const struct arax_shm *shm = tenant->shm;

	memset(to, 0, sizeof(*to));
	if (!stats || !shm)
		return;
	unsigned ndevices = atomic_load_explicit(&stats->ndevices, memory_order_acquire);
	unsigned nkernels = atomic_load_explicit(&stats->nkernels, memory_order_acquire);

	to->commands = sum(bounded(&stats->commands), bounded(&shm->client_commands));
	to->kernels = bounded(&stats->kernels);
	to->bytes = sum(bounded(&stats->bytes), bounded(&shm->client_bytes));
	to->errors = bounded(&stats->errors);
	to->programs = bounded(&stats->programs);
	to->depth = bounded(&stats->depth);
	to->memory = bounded(&shm->client_memory);
	to->ndevices = ndevices < ARAX_STATS_DEVICES ? ndevices : ARAX_STATS_DEVICES;
	to->nkernels = nkernels < ARAX_STATS_KERNELS ? nkernels : ARAX_STATS_KERNELS;
	for (unsigned i = 0; i < to->ndevices; i++)
		snapshot_device(&to->devices[i], &stats->devices[i]);
	for (const struct link *l = tenant->links; l; l = l->next_of_tenant)
		snapshot_link(to, l);
	for (unsigned k = 0; k < to->nkernels; k++) {
		status_printable(to->kernel[k].name, stats->kernel[k].name,
				 sizeof(to->kernel[k].name));
		for (unsigned i = 0; i < to->ndevices; i++) {
			to->kernel[k].launches[i] = bounded(&stats->kernel[k].launches[i]);
			to->kernel[k].busy_ns[i] = bounded(&stats->kernel[k].busy_ns[i]);
		}
	}
}

static void history_add_kernel(struct history *history, uid_t uid, const char *name,
			       const char *device, uint64_t launches, uint64_t busy_ns)
{
	struct kernel_total *total = history->kernels;

	for (unsigned i = 0; i < history->nkernels; i++, total++)
		if (total->uid == uid && strcmp(total->name, name) == 0 &&
		    strcmp(total->device, device) == 0)
			break;
	if (total == history->kernels + history->nkernels) {
		if (history->nkernels == HISTORY_KERNELS)
			return;
		history->nkernels++;
		snprintf(total->name, sizeof(total->name), "%s", name);
		snprintf(total->device, sizeof(total->device), "%s", device);
		total->uid = uid;
	}
	total->launches = sum(total->launches, launches);
	total->busy_ns = sum(total->busy_ns, busy_ns);
}

/* One more that has finished. */
static void history_count(struct history *history, const struct finished *record)
{
	const struct snapshot *stats = &record->stats;

	history->count++;
	history->finished[history->kept++ % HISTORY_CLIENTS] = *record;
	history->commands = sum(history->commands, stats->commands);
	history->launches = sum(history->launches, stats->kernels);
	history->bytes = sum(history->bytes, stats->bytes);
	history->errors = sum(history->errors, stats->errors);
	for (unsigned k = 0; k < stats->nkernels; k++)
		for (unsigned i = 0; i < stats->ndevices; i++)
			if (stats->kernel[k].launches[i])
				history_add_kernel(history, record->uid, stats->kernel[k].name,
						   stats->devices[i].name,
						   stats->kernel[k].launches[i],
						   stats->kernel[k].busy_ns[i]);
}

/* ---- in the journal: without what is behind the last kernel */

struct finished_record {
	uint64_t key; /* of the tenant; 0: it had ended before the journal was begun */
	struct finished finished;
};

struct totals_record {
	uint64_t commands, launches, bytes, errors;
	uint32_t count, nkernels;
	struct kernel_total kernels[HISTORY_KERNELS];
};

#define FINISHED_SIZE(n)                                           \
	(offsetof(struct finished_record, finished.stats.kernel) + \
	 (n) * sizeof(struct snapshot_kernel))
#define TOTALS_SIZE(n) (offsetof(struct totals_record, kernels) + (n) * sizeof(struct kernel_total))

void history_add(struct history *history, const struct tenant *tenant, struct journal *journal)
{
	struct finished_record record = {.key = tenant->key,
					 .finished = {.pid = tenant->client_pid,
						      .tenant_pid = tenant->pid,
						      .uid = tenant->id.uid,
						      .cgroup = cgroup_where(&tenant->cgroup),
						      .cgroup_error = cgroup_error(&tenant->cgroup),
						      .ended_ns = arax_now_ns()}};
	struct finished *finished = &record.finished;

	finished->duration_ns = finished->ended_ns - tenant->attached_ns;
	status_printable(finished->program, tenant->program, sizeof(finished->program));
	status_printable(finished->policy, tenant->policy, sizeof(finished->policy));
	snapshot_take(&finished->stats, tenant);
	/* nothing of it is there any more */
	finished->stats.memory = finished->stats.depth = 0;
	journal_append(journal, RECORD_FINISHED, &record, FINISHED_SIZE(finished->stats.nkernels));
	history_count(history, finished);
}

void history_write(const struct history *history, struct journal *journal)
{
	struct totals_record totals = {.commands = history->commands,
				       .launches = history->launches,
				       .bytes = history->bytes,
				       .errors = history->errors,
				       .count = history->count,
				       .nkernels = history->nkernels};
	unsigned first = history->kept > HISTORY_CLIENTS ? history->kept - HISTORY_CLIENTS : 0;

	for (unsigned i = first; i < history->kept; i++) {
		const struct finished *finished = &history->finished[i % HISTORY_CLIENTS];
		const struct finished_record record = {.finished = *finished};

		journal_append(journal, RECORD_FINISHED, &record,
			       FINISHED_SIZE(finished->stats.nkernels));
	}
	/* Instead of what these come to. */
	memcpy(totals.kernels, history->kernels, sizeof(totals.kernels));
	journal_append(journal, RECORD_TOTALS, &totals, TOTALS_SIZE(totals.nkernels));
}

static bool is_text(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static bool finished_good(const struct finished *finished)
{
	const struct snapshot *stats = &finished->stats;
	bool good = is_text(finished->program, sizeof(finished->program)) &&
		    is_text(finished->policy, sizeof(finished->policy)) &&
		    finished->cgroup <= CGROUP_OWN && stats->ndevices <= ARAX_STATS_DEVICES;

	for (unsigned i = 0; good && i < stats->ndevices; i++)
		good = is_text(stats->devices[i].name, sizeof(stats->devices[i].name));
	for (unsigned k = 0; good && k < stats->nkernels; k++)
		good = is_text(stats->kernel[k].name, sizeof(stats->kernel[k].name));
	return good;
}

bool history_finished(struct history *history, const void *data, size_t size, uint64_t *key)
{
	struct finished_record record = {0};

	if (size < FINISHED_SIZE(0) || size > sizeof(record))
		return false;
	memcpy(&record, data, size);
	if (record.finished.stats.nkernels > ARAX_STATS_KERNELS ||
	    size != FINISHED_SIZE(record.finished.stats.nkernels) ||
	    !finished_good(&record.finished))
		return false;
	history_count(history, &record.finished);
	*key = record.key;
	return true;
}

bool history_totals(struct history *history, const void *data, size_t size)
{
	struct totals_record record = {0};

	if (size < TOTALS_SIZE(0) || size > sizeof(record))
		return false;
	memcpy(&record, data, size);
	if (record.nkernels > HISTORY_KERNELS || size != TOTALS_SIZE(record.nkernels))
		return false;
	for (unsigned i = 0; i < record.nkernels; i++)
		if (!is_text(record.kernels[i].name, sizeof(record.kernels[i].name)) ||
		    !is_text(record.kernels[i].device, sizeof(record.kernels[i].device)))
			return false;
	history->commands = record.commands;
	history->launches = record.launches;
	history->bytes = record.bytes;
	history->errors = record.errors;
	history->count = record.count;
	history->nkernels = record.nkernels;
	memcpy(history->kernels, record.kernels, sizeof(history->kernels));
	return true;
}
