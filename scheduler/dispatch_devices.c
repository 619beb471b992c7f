/* SPDX-License-Identifier: Apache-2.0
 *
 * Devices that come, change and go while the dispatcher runs (dispatch.h), and the programs that
 * they make in the background. A device that is lost leaves nothing behind: what every object had
 * of it is forgotten, and what was only in its memory is poisoned.
 */
#include "scheduler/dispatch_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void device_log(struct dispatch *d, const char *format, ...)
{
	char line[512];
	va_list arguments;
	if (!d->config.log)
		return;
	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	d->config.log(d->config.arg, line);
}

struct arax_device *dispatch_device(struct dispatch *d, unsigned index)
{
	return index < POLICY_DEVICES && !(d->lost >> index & 1) ? d->objects.devices[index] : NULL;
}

static void fill(struct dispatch *d, const struct arax_device *dev, uint32_t share, uint32_t depth)
{
	struct policy_device *device = &d->devices[dev->index];
	*device = (struct policy_device){
	    .inline_launch = dev->inline_launch,
	    .discrete = dev->discrete,
	    .parallel = dev->parallel,
	    .share = share,
	    .depth = depth,
	    .bytes_per_ns = (float)dev->caps.bandwidth / 1e9f,
	    .latency_ns = (float)dev->caps.latency_ns,
	};
	snprintf(device->name, sizeof(device->name), "%s", dev->name);
	for (unsigned i = d->objects.ndevices; i-- > 0;) {
		const struct arax_device *other = d->objects.devices[i];
		if (other && i != dev->index && other->discrete &&
		    !memcmp(&other->caps, &dev->caps, sizeof(dev->caps)))
			device->alike = (uint8_t)(i + 1);
	}
}

int dispatch_device_add(struct dispatch *d, const struct arax_device *dev, uint32_t share,
			uint32_t depth)
{
	unsigned index = dev->index;
	if (index >= POLICY_DEVICES || !dev->discrete)
		return -EINVAL;
	if (dispatch_device(d, index))
		return -EEXIST;
	if (d->given[index] || d->moves[index])
		return -EBUSY;
	d->added[index] = *dev;
	d->objects.devices[index] = &d->added[index];
	if (index >= d->objects.ndevices)
		d->objects.ndevices = index + 1;
	fill(d, dev, share, depth);
	if (d->lost >> index & 1) {
		policy_changed(&d->policy, index);
		policy_costs_forget_device(d->objects.costs, index);
	}
	residency_limit(&d->objects.residency, index, dev->caps.memory);
	d->discrete |= 1u << index;
	d->config.allowed |= 1u << index;
	d->lost &= ~(1u << index);
	d->polled |= (uint32_t)(dev->ops->poll != NULL) << index;
	d->graph.as_if = true;
	d->spread = true;
	d->place_again = true;
	stats_device(d, index);
	trace_device(d, index);
	/* They will be wanted; a build takes long. */
	const struct object_table *programs = &d->objects.tables[ARAX_HANDLE_PROGRAM];
	for (uint32_t i = 0; i < programs->size; i++) {
		if (programs->at[i])
			program_begin(&d->objects, (struct program *)programs->at[i], index);
	}
	return 0;
}

void dispatch_device_lease(struct dispatch *d, unsigned index, uint32_t share, uint32_t depth)
{
	if (!dispatch_device(d, index))
		return;
	d->devices[index].share = share;
	d->devices[index].depth = depth;
	/* A device of the CPU's takes everything unless somebody says otherwise. */
	d->spread |= !share || depth;
	d->place_again = true;
}

void dispatch_device_drain(struct dispatch *d, unsigned index)
{
	if (!dispatch_device(d, index))
		return;
	d->draining |= 1u << index;
	d->drained &= ~(1u << index);
	d->spread = true;
	d->place_again = true;
	move_drain(d);
}

void dispatch_device_online(struct dispatch *d, unsigned index)
{
	if (!dispatch_device(d, index))
		return;
	d->draining &= ~(1u << index);
	d->place_again = true;
}

/* What commands in flight refer to may have no handle any more. */
static void forget_command(struct dispatch *d, const struct command *c, unsigned device)
{
	const struct launch *launch = c->work;
	if (c->node.state == GRAPH_FREE)
		return;
	if (c->queue)
		object_forget(&d->objects, &c->queue->object, device);
	if (c->op != ARAX_OP_LAUNCH || !c->owned)
		return;
	object_forget(&d->objects, &launch->kernel->object, device);
	for (uint32_t i = 0; i < launch->nargs; i++) {
		if (launch->args[i].object)
			object_forget(&d->objects, launch->args[i].object, device);
	}
}

void dispatch_device_lost(struct dispatch *d, unsigned index)
{
	struct residency *r = &d->objects.residency;
	uint32_t bit = 1u << index;
	if (!dispatch_device(d, index) || !(d->discrete & bit))
		return;
	device_log(d, "%s is lost, with %llu bytes of this application", device_at(d, index)->name,
		   (unsigned long long)r->devices[index].used);
	d->discrete &= ~bit;
	d->config.allowed &= ~bit;
	d->draining &= ~bit;
	d->lost |= bit;
	for (struct storage *s = r->all; s; s = s->next) {
		if (s->on[index])
			mem_off(&d->objects, s->owner, index);
	}
	residency_lost(r, index);
	move_resident(d, index);
	objects_forget(&d->objects, index);
	object_forget(&d->objects, &d->loose->object, index);
	for (uint32_t i = 0; i < ARAX_SLOTS; i++)
		forget_command(d, &d->commands[i], index);
	stage_device_lost(d, index);
}

void builds_drain(struct dispatch *d)
{
	struct program_build *build = atomic_exchange(&d->objects.built, NULL);
	while (build) {
		struct program_build *next = build->link;
		if (build->status && !(d->lost >> build->device & 1))
			device_log(d, "%s cannot have a program (error %d): %s",
				   device_at(d, build->device)->name, build->status, build->log);
		program_ended(&d->objects, build);
		d->place_again = true;
		build = next;
	}
}
