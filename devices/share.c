/* SPDX-License-Identifier: Apache-2.0
 *
 * The arithmetic of sharing a device, see share.h. Virtual times are nanoseconds times SCALE
 * divided by the weight. They are compared as differences, so they may wrap.
 */
#include "devices/share.h"

#include <assert.h>
#include <stddef.h>

#define SCALE 1024u
#define WEIGHT_MAX (1u << 16)
#define UNKNOWN_NS 10000u	    /* a command of a link that has ended none */
#define BUSY_MAX_NS 600000000000ull /* of one command; what is longer is not believed */

static bool before(uint64_t a, uint64_t b)
{
	return (int64_t)(a - b) < 0;
}

static uint64_t scaled(const struct share_link *link, uint64_t ns)
{
	return ns * SCALE / link->weight;
}

void share_set(struct share_link *link, uint32_t weight, uint32_t depth)
{
	link->weight = !weight ? 1 : weight > WEIGHT_MAX ? WEIGHT_MAX : weight;
	link->depth = depth;
}

void share_join(struct share *share, struct share_link *link, uint32_t weight, uint32_t depth)
{
	*link = (struct share_link){
	    .next = share->links, .virtual_ns = share->virtual_ns, .usual_ns = UNKNOWN_NS};
	share_set(link, weight, depth);
	share->links = link;
}

void share_leave(struct share *share, struct share_link *link)
{
	for (struct share_link **at = &share->links; *at; at = &(*at)->next) {
		if (*at == link) {
			*at = link->next;
			share->in_flight -= link->in_flight;
			return;
		}
	}
}

void share_offer(struct share *share, struct share_link *link)
{
	if (!link->waiting && !link->in_flight && before(link->virtual_ns, share->virtual_ns))
		link->virtual_ns = share->virtual_ns;
	link->waiting++;
}

static bool recent(const struct share *share, const struct share_link *link)
{
	if (link->waiting || link->in_flight)
		return true;
	return link->served &&
	       before(share->virtual_ns, link->virtual_ns + scaled(link, SHARE_RECENT_NS));
}

static bool alone(const struct share *share, const struct share_link *link)
{
	for (const struct share_link *other = share->links; other; other = other->next)
		if (other != link && recent(share, other))
			return false;
	return true;
}

static bool ready(const struct share_link *link)
{
	return link->waiting && (!link->depth || link->in_flight < link->depth);
}

struct share_link *share_next(struct share *share, uint64_t *charged)
{
	struct share_link *best = NULL;

	for (struct share_link *link = share->links; link; link = link->next)
		if (ready(link) && (!best || before(link->virtual_ns, best->virtual_ns)))
			best = link;
	if (!best || (share->in_flight >= SHARE_WINDOW && !alone(share, best)))
		return NULL;
	if (before(share->virtual_ns, best->virtual_ns))
		share->virtual_ns = best->virtual_ns;
	*charged = scaled(best, best->usual_ns);
	best->virtual_ns += *charged;
	best->served = true;
	best->waiting--;
	best->in_flight++;
	share->in_flight++;
	return best;
}

void share_done(struct share *share, struct share_link *link, uint64_t charged, uint64_t busy_ns)
{
	assert(link->in_flight && share->in_flight);
	if (busy_ns > BUSY_MAX_NS)
		busy_ns = BUSY_MAX_NS;
	link->virtual_ns += scaled(link, busy_ns) - charged;
	link->usual_ns += (uint64_t)((int64_t)(busy_ns - link->usual_ns) / 8);
	link->in_flight--;
	share->in_flight--;
}
