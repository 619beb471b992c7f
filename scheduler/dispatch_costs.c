/* SPDX-License-Identifier: Apache-2.0
 *
 * What was learned about kernels stays when the application ends: araxd hands out the text that an
 * earlier tenant of the same trust domain has left, in memory into which this one writes its own.
 * It is ended without a word when its client goes, so it writes now and then when there is nothing
 * to do.
 */
#include "scheduler/dispatch_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "transport/fault_point.h"
#include "transport/wake.h"

#define FIRST_NS 100000000u /* after the first launch; then seldom */
#define NEXT_NS 2000000000u

_Static_assert(ARAX_COSTS_MAX == POLICY_COSTS_BLOB, "one text");

static unsigned device_names(const struct dispatch *d, const char *names[POLICY_DEVICES])
{
	for (unsigned i = 0; i < d->objects.ndevices; i++)
		names[i] = d->devices[i].name[0] ? d->devices[i].name : "-";
	return d->objects.ndevices;
}

void costs_learn(struct dispatch *d)
{
	const char *names[POLICY_DEVICES];
	char why[POLICY_WHY];
	if (!d->costs.text)
		return;
	unsigned n = device_names(d, names);
	int rc = policy_costs_load(d->objects.costs, names, n, d->costs.text, d->costs.size, why);
	if (rc != -EINVAL)
		return;
	device_log(d, "%s", why);
	free(d->costs.text);
	d->costs.text = NULL;
}

int costs_begin(struct dispatch *d, int fd)
{
	struct stat st;
	if (fd < 0 || fstat(fd, &st))
		return -EINVAL;
	if ((uint64_t)st.st_size < sizeof(*d->costs.page))
		return -EPROTO;
	void *page = mmap(NULL, sizeof(*d->costs.page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return -errno;
	if (d->costs.page) {
		/* Another araxd's. What was learned is ours, and goes there from now on. */
		munmap(d->costs.page, sizeof(*d->costs.page));
		d->costs.page = page;
		d->costs.serial = d->serial - 1;
		return 0;
	}
	d->costs.page = page;
	d->costs.kept_ns = arax_now_ns() - NEXT_NS + FIRST_NS;
	d->costs.size = atomic_load(&d->costs.page->size);
	if (!d->costs.size || d->costs.size > ARAX_COSTS_MAX)
		return 0;
	/* Devices come later, and what is known of them is in this text, not in what we write. */
	d->costs.text = malloc(d->costs.size);
	if (!d->costs.text)
		return -ENOMEM;
	memcpy(d->costs.text, d->costs.page->text, d->costs.size);
	costs_learn(d);
	return 0;
}

void costs_keep(struct dispatch *d)
{
	const char *names[POLICY_DEVICES];
	if (d->costs.serial == d->serial)
		return;
	uint64_t now = arax_now_ns();
	if (now - d->costs.kept_ns < NEXT_NS)
		return;
	d->costs.kept_ns = now;
	d->costs.serial = d->serial;
	unsigned n = device_names(d, names);
	/* Whoever reads it while it is written finds nothing. */
	atomic_store(&d->costs.page->size, 0);
	size_t size = policy_costs_save(d->objects.costs, names, n, d->costs.page->text,
					sizeof(d->costs.page->text));
	ARAX_FAULT_POINT(TENANT_COSTS_WRITTEN);
	atomic_store(&d->costs.page->size, (uint32_t)size);
}
