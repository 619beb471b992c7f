/* SPDX-License-Identifier: Apache-2.0
 *
 * Staging: which bytes of which storages a command touches where it is to run, and what it needs of
 * them. A launch knows its objects; other commands know ranges of the arena, which may cover
 * several objects or none.
 */
#include "scheduler/dispatch_stage.h"

#include <stdlib.h>

static int uses_reserve(struct stage *s, uint32_t n)
{
	if (!n)
		return 0;
	s->uses = calloc(n, sizeof(*s->uses));
	return s->uses ? 0 : STATUS_OUT_OF_HOST_MEMORY;
}

static void use_add(struct stage *s, const struct residency_use *use)
{
	struct mem *root = use->storage->owner;
	object_ref(&root->object);
	s->uses[s->nuses] = (struct stage_use){.use = *use};
	residency_use_whole(&s->uses[s->nuses++].use);
}

/* A launch that runs at home has to do with what was elsewhere only. While it runs on a thread of
 * its own nobody may take what it writes for finished, so then all of it counts. */
static struct storage *launch_storage(struct dispatch *d, const struct stage *s, struct mem *root)
{
	if (root->storage || device_at(d, s->device)->inline_launch || !d->discrete)
		return root->storage;
	return storage_of(&d->objects, root, d->config.arena, false);
}

int uses_of_launch(struct dispatch *d, struct stage *s)
{
	const struct launch *launch = s->command->work;
	bool discrete = stage_on_discrete(d, s), serial;
	unsigned n = launch_accesses(d, launch, d->access_scratch, &serial);
	if (uses_reserve(s, n))
		return STATUS_OUT_OF_HOST_MEMORY;
	for (unsigned i = 0; i < n; i++) {
		const struct access *access = &d->access_scratch[i];
		struct mem *root = access->mem->root;
		struct storage *storage = launch_storage(d, s, root);
		if (!storage && discrete)
			return STATUS_OUT_OF_HOST_MEMORY;
		if (!storage || !access->len)
			continue;
		const struct residency_use use = {
		    .storage = storage,
		    .off = access->off - storage->off,
		    .len = access->len,
		    .place = discrete ? s->device : RESIDENCY_HOME,
		    .write = access->what != ARAX_ACCESS_READ,
		    .needs = true,
		    .stream = discrete ? s->stream : NULL,
		};
		use_add(s, &use);
	}
	return 0;
}

static void storage_use(struct stage *s, struct storage *storage, const struct access *access)
{
	uint64_t end = access->off + access->len, last = storage->off + storage->size;
	uint64_t from = access->off > storage->off ? access->off : storage->off;
	const struct residency_use use = {
	    .storage = storage,
	    .off = from - storage->off,
	    .len = (end < last ? end : last) - from,
	    .place = RESIDENCY_HOME,
	    .write = access->what != ARAX_ACCESS_READ,
	    .needs = access->what != ARAX_ACCESS_WRITE || !access->exact,
	};
	use_add(s, &use);
}

/* The ranges of a command that is no launch. */
static unsigned home_accesses(const struct dispatch *d, const struct command *c,
			      struct access out[2])
{
	bool serial;
	if (c->op == ARAX_OP_COPY || c->op == ARAX_OP_FILL)
		return command_accesses(d, c, c->work, out, &serial);
	if (c->access == ARAX_ACCESS_NONE || !c->len)
		return 0;
	out[0] = (struct access){
	    .what = c->access,
	    /* Whoever maps to write all of it needs nothing of what was there; nor is anything else
	     * there when he unmaps it. */
	    .exact = c->exact || c->op == ARAX_OP_MARKER,
	    .off = c->off,
	    .len = c->len,
	};
	return 1;
}

/* The client may reach everything: all of it comes home. What it has not to do with may be in use
 * meanwhile, so nothing is waited for but what is needed. */
static int everything_uses(struct dispatch *d, struct stage *s)
{
	const struct access all = {.what = ARAX_ACCESS_READ, .off = 0, .len = UINT64_MAX};
	const struct residency *r = &d->objects.residency;
	if (uses_reserve(s, r->nindex))
		return STATUS_OUT_OF_HOST_MEMORY;
	for (uint32_t i = 0; i < r->nindex; i++) {
		bool written = false;
		for (const struct activity *a = r->index[i]->active; a; a = a->next)
			written |= !a->move && a->write;
		if (!written && !storage_at_home(r->index[i]))
			storage_use(s, r->index[i], &all);
	}
	return 0;
}

int uses_at_home(struct dispatch *d, struct stage *s)
{
	struct access accesses[2];
	struct residency *r = &d->objects.residency;
	struct command *c = s->command;
	if (c->op == ARAX_OP_HOST && c->access && !c->len)
		return everything_uses(d, s);
	unsigned n = home_accesses(d, c, accesses);
	uint32_t count = 0;
	for (unsigned i = 0; i < n; i++) {
		struct storage *storage = NULL;
		while ((storage = residency_next(r, storage, accesses[i].off, accesses[i].len)))
			count += !storage_at_home(storage);
	}
	if (uses_reserve(s, count))
		return STATUS_OUT_OF_HOST_MEMORY;
	for (unsigned i = 0; i < n; i++) {
		struct storage *storage = NULL;
		while ((storage = residency_next(r, storage, accesses[i].off, accesses[i].len))) {
			if (!storage_at_home(storage))
				storage_use(s, storage, &accesses[i]);
		}
	}
	return 0;
}
