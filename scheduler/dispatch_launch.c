/* SPDX-License-Identifier: Apache-2.0
 *
 * The dispatcher's work on kernel launches: resolving a record's handles, keeping them alive while
 * the launch waits or runs, running it on a device, and the rules for kernels that print: they run
 * alone, because all kernels of the tenant share one standard output.
 */
#include "scheduler/dispatch_internal.h"
#include "transport/fault_point.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool launch_prints(const struct command *c)
{
	return ((const struct launch *)c->work)->flags & ARAX_LAUNCH_PRINTF;
}

static uint64_t saturating_product(const size_t n[3], uint32_t dims)
{
	uint64_t product = 1;
	for (uint32_t i = 0; i < dims; i++) {
		if (__builtin_mul_overflow(product, n[i], &product))
			return UINT64_MAX;
	}
	return product;
}

/* arax_record_check() has walked over the arguments already; here only handles can be wrong. */
static int decode_args(struct dispatch *d, const struct arax_op_launch *op, struct launch *launch)
{
	const char *at = arax_record_tail(&op->head);
	for (uint32_t i = 0; i < op->nargs; i++) {
		const struct arax_arg *arg = (const void *)at;
		struct launch_arg *out = &launch->args[i];
		at += sizeof(*arg);
		*out = (struct launch_arg){.kind = arg->kind, .size = arg->size};
		if (arg->kind == ARAX_ARG_VALUE) {
			out->value = at;
			at += (arg->size + 7) & ~(uint64_t)7;
		} else if (arg->kind == ARAX_ARG_SVM) {
			uint64_t pointer;
			memcpy(&pointer, at, sizeof(pointer));
			out->value = (const void *)(uintptr_t)pointer;
			at += sizeof(pointer);
		} else if (arg->object) {
			out->object = objects_get(&d->objects, arg->object);
			if (!out->object && d->objects.lost)
				return -ENOMEM;
			if (!out->object) {
				d->why = "launch: undefined argument";
				return -EPROTO;
			}
		}
	}
	return 0;
}

int launch_decode(struct dispatch *d, const struct arax_op_launch *op, struct launch **out)
{
	struct launch *launch = d->launch_scratch;
	struct object *kernel = objects_get(&d->objects, op->kernel);
	*out = launch;
	if (!kernel && d->objects.lost)
		return -ENOMEM;
	if (!kernel) {
		d->why = "launch: undefined kernel";
		return -EPROTO;
	}
	*launch = (struct launch){
	    .kernel = (struct kernel *)kernel,
	    .work_dim = op->work_dim,
	    .nargs = op->nargs,
	    .flags = op->flags,
	    .serial = ++d->launches,
	    .has_local = op->local0 != 0,
	    .offset = {op->offset0, op->offset1, op->offset2},
	    .global = {op->global0, op->global1, op->global2},
	    .local = {op->local0, op->local1, op->local2},
	    .print_off = op->print_off,
	    .print_len = op->print_len,
	};
	for (uint32_t i = op->work_dim; i < 3; i++) {
		launch->offset[i] = 0;
		launch->global[i] = launch->local[i] = 1;
	}
	launch->items = saturating_product(launch->global, op->work_dim);
	return decode_args(d, op, launch);
}

static size_t launch_size(const struct launch *launch)
{
	size_t size = sizeof(*launch) + launch->nargs * sizeof(launch->args[0]);
	for (uint32_t i = 0; i < launch->nargs; i++) {
		if (launch->args[i].kind == ARAX_ARG_VALUE)
			size += (launch->args[i].size + 7) & ~(uint64_t)7;
	}
	return size;
}

/* One block for the launch and its values, and references to what it uses. */
int launch_keep(struct command *c)
{
	if (c->owned)
		return 0;
	const struct launch *from = c->work;
	struct launch *to = malloc(launch_size(from));
	if (!to)
		return -ENOMEM;
	memcpy(to, from, sizeof(*from) + from->nargs * sizeof(from->args[0]));
	char *values = (char *)&to->args[to->nargs];
	object_ref(&to->kernel->object);
	for (uint32_t i = 0; i < to->nargs; i++) {
		struct launch_arg *arg = &to->args[i];
		if (arg->object)
			object_ref(arg->object);
		if (arg->kind != ARAX_ARG_VALUE)
			continue;
		memcpy(values, arg->value, arg->size);
		arg->value = values;
		values += (arg->size + 7) & ~(uint64_t)7;
	}
	c->work = to;
	c->owned = true;
	return 0;
}

void launch_release(struct dispatch *d, struct command *c)
{
	const struct launch *launch = c->work;
	for (uint32_t i = 0; i < launch->nargs; i++) {
		if (launch->args[i].object)
			object_unref(&d->objects, launch->args[i].object);
	}
	object_unref(&d->objects, &launch->kernel->object);
}

static uint32_t candidates(const struct dispatch *d, const struct kernel *kernel)
{
	return d->config.allowed & ~kernel->failed;
}

static int resolve_args(struct dispatch *d, const struct launch *launch, unsigned device)
{
	int rc = 0;
	for (uint32_t i = 0; i < launch->nargs && !rc; i++) {
		const struct launch_arg *from = &launch->args[i];
		struct arax_launch_arg *to = &d->arg_scratch[i];
		*to = (struct arax_launch_arg){
		    .kind = from->kind, .size = from->size, .value = from->value};
		if (from->kind == ARAX_ARG_MEM && from->object)
			rc = mem_on(&d->objects, (struct mem *)from->object, device, &to->mem);
		else if (from->kind == ARAX_ARG_SAMPLER && from->object)
			rc = sampler_on(&d->objects, (struct sampler *)from->object, device,
					&to->sampler);
	}
	return rc;
}

/* Whatever the shape, no dimension is larger than a device allows. */
static size_t group_limit(const struct arax_device_caps *caps, size_t max)
{
	if (caps->max_group && caps->max_group < max)
		max = caps->max_group;
	for (int i = 0; i < 3; i++) {
		if (caps->max_item_sizes[i] && caps->max_item_sizes[i] < max)
			max = caps->max_item_sizes[i];
	}
	return max;
}

/* The application's group, the kernel's attribute, or our choice, remembered per kernel. */
static void choose_group(const struct dispatch *d, const struct launch *launch, unsigned device,
			 struct arax_launch *out)
{
	struct kernel *kernel = launch->kernel;
	struct kernel_group *last = &kernel->group;
	const struct arax_device *dev = device_at(d, device);
	unsigned parallel = dev->parallel;
	out->has_local = true;
	if (launch->has_local) {
		memcpy(out->local, launch->local, sizeof(out->local));
		return;
	}
	if (kernel->info && kernel->info->required_group[0]) {
		for (int i = 0; i < 3; i++)
			out->local[i] = kernel->info->required_group[i];
		return;
	}
	if (last->dims != launch->work_dim || last->parallel != parallel ||
	    last->device != (dev->discrete ? dev : NULL) ||
	    memcmp(last->global, launch->global, sizeof(last->global)) != 0) {
		size_t max = 1024;
		if (kernel->info && kernel->info->group_size && kernel->info->group_size < max)
			max = kernel->info->group_size;
		if (dev->discrete)
			max = group_limit(&dev->caps, max);
		memcpy(last->global, launch->global, sizeof(last->global));
		last->dims = launch->work_dim;
		last->parallel = parallel;
		last->device = dev->discrete ? dev : NULL;
		group_choose(launch->global, launch->work_dim, parallel, max, last->local);
	}
	memcpy(out->local, last->local, sizeof(out->local));
	out->local_open = true;
}

static int prepare(struct dispatch *d, struct command *c, unsigned device, struct arax_launch *out,
		   struct arax_device_stream **stream)
{
	const struct launch *launch = c->work;
	*out = (struct arax_launch){
	    .work_dim = launch->work_dim,
	    .nargs = launch->nargs,
	    .args = d->arg_scratch,
	    .done = command_done,
	    .arg = c,
	};
	memcpy(out->offset, launch->offset, sizeof(out->offset));
	memcpy(out->global, launch->global, sizeof(out->global));
	choose_group(d, launch, device, out);
	int rc = kernel_on(&d->objects, launch->kernel, device, &out->kernel);
	if (!rc)
		rc = queue_on(&d->objects, c->queue ? c->queue : d->loose, device, stream);
	return rc ? rc : resolve_args(d, launch, device);
}

/* Gives a launch to a device. Return: 0, or the negative OpenCL error that it ends with. */
int launch_on(struct dispatch *d, struct command *c, unsigned device)
{
	struct arax_device *dev = device_at(d, device);
	struct arax_device_stream *stream;
	struct arax_launch launch;
	c->device = (uint8_t)device;
	c->inlined = dev->inline_launch;
	c->deferred = launch_prints(c) || dev->discrete;
	c->handed_ns = c->inlined || d->devices[device].queued ? 0 : arax_now_ns();
	/* An inline launch has ended when it returns, and needs nothing kept; unless it prints,
	 * since then the client has its turn before the end. */
	if ((!c->inlined || c->deferred) && launch_keep(c))
		return STATUS_OUT_OF_HOST_MEMORY;
	crowd_launch(d, c->work, device);
	int rc = prepare(d, c, device, &launch, &stream);
	if (rc)
		return rc;
	ARAX_FAULT_POINT(TENANT_LAUNCHES);
	if (c->inlined) {
		stats_running(d, device, true);
		rc = dev->ops->launch(dev, stream, &launch);
		ARAX_FAULT_POINT(TENANT_LAUNCHED);
		stats_running(d, device, false);
		return rc;
	}
	if (!c->submit_ns)
		c->submit_ns = arax_now_ns();
	d->running++;
	d->on_devices++;
	/* One that had to be brought there first is among the queued ones already. */
	if (!dev->discrete) {
		uint64_t now_ns = d->spread ? arax_now_ns() : 0;
		c->predicted_ns = d->spread ? place_predict(d, c->work, device) : 0;
		policy_began(&d->devices[device], c->predicted_ns, now_ns);
	}
	c->node.lane = (uint8_t)(device + 1);
	if (!d->given[device]++)
		stats_running(d, device, true);
	rc = dev->ops->launch(dev, stream, &launch);
	if (rc) {
		d->running--;
		d->on_devices--;
		c->node.lane = 0;
		if (!dev->discrete)
			policy_ended(&d->devices[device], c->predicted_ns, 0);
		stats_running(d, device, --d->given[device] != 0);
	}
	return rc;
}

/* On the device of its choice, or on another one if that cannot have the program. */
static int launch_anywhere(struct dispatch *d, struct command *c)
{
	struct kernel *kernel = ((const struct launch *)c->work)->kernel;
	int rc = STATUS_INVALID_PROGRAM_EXECUTABLE;
	for (;;) {
		uint32_t mask = candidates(d, kernel);
		if (!mask)
			return rc;
		unsigned device = place_pick(d, c->work, mask, 0);
		if (device == POLICY_WAIT)
			device = policy_first(mask);
		rc = launch_on(d, c, device);
		if (!rc || !(kernel->failed >> device & 1))
			return rc;
	}
}

static bool must_hold(const struct dispatch *d, const struct command *c)
{
	return d->exclusive || d->held.first || (launch_prints(c) && d->on_devices);
}

static void hold(struct dispatch *d, struct command *c)
{
	c->link = NULL;
	if (d->held.first)
		d->held.last->link = c;
	else
		d->held.first = c;
	d->held.last = c;
}

static int run(struct dispatch *d, struct command *c)
{
	if (launch_prints(c)) {
		d->exclusive = c;
		/* What slipped out of kernels that were not said to print is nobody's. */
		if (d->config.stdout_fd >= 0 && ftruncate(d->config.stdout_fd, 0))
			return command_end(d, c, STATUS_OUT_OF_RESOURCES);
	}
	atomic_store_explicit(&d->shm->slots[c->slot].status, STATUS_RUNNING, memory_order_relaxed);
	if (d->spread)
		return stage_launch(d, c);
	c->node.state = GRAPH_RUNNING;
	c->ran = true;
	int rc = launch_anywhere(d, c);
	if (rc) {
		c->ran = false;
		c->start_ns = c->end_ns = 0;
		return command_end(d, c, rc);
	}
	if (!c->inlined)
		return 0;
	crowd_look(d, c->end_ns);
	return command_end(d, c, c->status);
}

int launch_start(struct dispatch *d, struct command *c)
{
	const struct launch *launch = c->work;
	if (launch->items == 0)
		return command_end(d, c, 0);
	if (launch->nargs != launch->kernel->nargs)
		return command_end(d, c, STATUS_INVALID_KERNEL_ARGS);
	if (must_hold(d, c)) {
		if (launch_keep(c))
			return command_end(d, c, STATUS_OUT_OF_HOST_MEMORY);
		hold(d, c);
		return 0;
	}
	return run(d, c);
}

/* Launches that were held back go on, in their order, as far as they may. */
int launch_pump(struct dispatch *d)
{
	int rc = 0;
	while (d->held.first && !rc) {
		struct command *c = d->held.first;
		if (d->exclusive || (launch_prints(c) && d->on_devices))
			break;
		d->held.first = c->link;
		rc = run(d, c);
	}
	return rc;
}

/* A launch right behind another one of its in-order queue, on the same device: the device's stream
 * keeps the order, so it need not wait here. */
bool launch_chain(struct dispatch *d, struct command *c, int *rc)
{
	struct graph_node *node = graph_chainable(&c->node);
	const struct launch *launch = c->work;
	if (!node || launch_prints(c) || d->exclusive || d->held.first)
		return false;
	struct command *before = command_of(node);
	unsigned device = before->device;
	if (before->op != ARAX_OP_LAUNCH || before->inlined || launch->items == 0 ||
	    launch->nargs != launch->kernel->nargs)
		return false;
	uint32_t mask =
	    d->spread ? place_now(d, launch, place_able(d, launch)) : candidates(d, launch->kernel);
	if (!(mask >> device & 1) || place_pick(d, launch, mask, d->nplacing) != device)
		return false;
	if (d->spread) {
		*rc = 0;
		return stage_chain(d, c, before, device);
	}
	graph_chain(&c->node);
	c->ran = true;
	launch_after(c, before);
	*rc = launch_on(d, c, device);
	if (*rc) {
		/* Ends with its error, but not before its predecessor. */
		c->ran = false;
		*rc = command_end(d, c, *rc);
	}
	return true;
}

int launch_print(struct dispatch *d, struct command *c)
{
	const struct launch *launch = c->work;
	char *out = (char *)d->config.arena + launch->print_off;
	if (d->config.stdout_fd < 0)
		return 0;
	while (c->result < launch->print_len) {
		ssize_t n = pread(d->config.stdout_fd, out + c->result,
				  launch->print_len - c->result, (off_t)c->result);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		c->result += (uint64_t)n;
	}
	return ftruncate(d->config.stdout_fd, 0) ? -errno : 0;
}
