/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a launch may run, when there is more to choose from than the CPU's own devices: what its
 * kernel and its objects need of a device, whether that has the program yet, and what the lease
 * allows. Which of those that remain it is, the policy says.
 *
 * The CPU's devices define the virtual device, so everything fits them.
 */
#include "scheduler/dispatch_internal.h"

#include <string.h>

#define ARG_ACCESS_READ_ONLY 0x11A0u
#define ARG_ACCESS_WRITE_ONLY 0x11A1u
#define ARG_ACCESS_READ_WRITE 0x11A2u
#define MEM_OBJECT_BUFFER 0x10F0u

static bool within(uint64_t value, uint64_t limit)
{
	return !limit || value <= limit;
}

/* The features that an argument's type asks for. */
static uint32_t arg_features(const struct arax_arg_info *arg)
{
	if (arg->access < ARG_ACCESS_READ_ONLY || arg->access > ARG_ACCESS_READ_WRITE)
		return 0;
	uint32_t features = ARAX_FEATURE_IMAGES;
	if (arg->access == ARG_ACCESS_READ_WRITE)
		features |= ARAX_FEATURE_IMAGES_READ_WRITE;
	if (arg->access != ARG_ACCESS_READ_ONLY && !strncmp(arg->type_name, "image3d", 7))
		features |= ARAX_FEATURE_IMAGES_3D_WRITE;
	return features;
}

static bool group_fits(const struct arax_device_caps *caps, const uint64_t group[3])
{
	uint64_t product = 1;
	for (int i = 0; i < 3; i++) {
		if (!within(group[i], caps->max_item_sizes[i]) ||
		    __builtin_mul_overflow(product, group[i], &product))
			return false;
	}
	return within(product, caps->max_group);
}

/* Everything about the kernel that does not change. Variables of the program are in one memory
 * only, and of a kernel without a description nobody knows what it writes. */
static bool kernel_fits(const struct arax_device *dev, const struct kernel *kernel)
{
	const struct arax_kernel_info *info = kernel->info;
	if (!info || kernel->program->result->global_variable_size)
		return false;
	for (uint32_t i = 0; i < info->nargs; i++) {
		uint32_t features = arg_features(&info->args[i]);
		if ((dev->caps.features & features) != features)
			return false;
	}
	if (info->required_group[0] && !group_fits(&dev->caps, info->required_group))
		return false;
	return within(info->local_mem, dev->caps.local_mem);
}

static bool kernel_fit(const struct arax_device *dev, struct kernel *kernel)
{
	uint32_t bit = 1u << dev->index;
	if (!(kernel->judged & bit)) {
		kernel->judged |= bit;
		kernel->fit &= ~bit;
		if (kernel_fits(dev, kernel))
			kernel->fit |= bit;
	}
	return kernel->fit & bit;
}

static void need_mem(struct place_need *need, const struct mem *mem)
{
	const struct mem *root = mem->root;
	need->failed |= mem->failed | root->failed;
	need->home |= root->pinned || !root->desc.size;
	need->sum += root->desc.size;
	if (root->desc.size > need->largest)
		need->largest = root->desc.size;
	if (mem != root)
		need->origins |=
		    (uint64_t)((const char *)mem->desc.data - (const char *)root->desc.data);
}

static bool named_before(const struct launch *launch, uint32_t arg)
{
	const struct mem *root = ((const struct mem *)launch->args[arg].object)->root;
	for (uint32_t i = 0; i < arg; i++) {
		if (launch->args[i].kind == ARAX_ARG_MEM && launch->args[i].object &&
		    ((const struct mem *)launch->args[i].object)->root == root)
			return true;
	}
	return false;
}

static void launch_need(const struct launch *launch, struct place_need *need)
{
	*need = (struct place_need){.home = launch->flags != 0};
	if (launch->kernel->info)
		need->local = launch->kernel->info->local_mem;
	for (uint32_t i = 0; i < launch->nargs; i++) {
		const struct launch_arg *arg = &launch->args[i];
		need->home |= arg->kind == ARAX_ARG_SVM;
		if (arg->kind == ARAX_ARG_LOCAL &&
		    __builtin_add_overflow(need->local, arg->size, &need->local))
			need->home = true;
		if (arg->kind != ARAX_ARG_MEM || !arg->object)
			continue;
		uint64_t sum = need->sum;
		need_mem(need, (const struct mem *)arg->object);
		if (named_before(launch, i))
			need->sum = sum;
	}
}

static bool launch_fits(const struct arax_device *dev, const struct launch *launch,
			const struct place_need *need)
{
	const struct arax_device_caps *caps = &dev->caps;
	if (!within(need->local, caps->local_mem) || !within(need->largest, caps->max_alloc) ||
	    !within(need->sum, caps->memory))
		return false;
	if (caps->sub_align && need->origins & (caps->sub_align - 1))
		return false;
	if (launch->has_local) {
		const uint64_t group[3] = {launch->local[0], launch->local[1], launch->local[2]};
		return group_fits(caps, group);
	}
	return true;
}

uint32_t place_able(struct dispatch *d, const struct launch *launch)
{
	struct kernel *kernel = launch->kernel;
	uint32_t able = d->config.allowed & ~kernel->failed & ~d->draining;
	uint32_t discrete = able & d->discrete;
	struct place_need need;
	if (!discrete)
		return able;
	launch_need(launch, &need);
	POLICY_FOR_EACH(i, discrete)
	{
		struct arax_device *dev = device_at(d, i);
		if (!need.home && !(need.failed >> i & 1) && kernel_fit(dev, kernel) &&
		    launch_fits(dev, launch, &need)) {
			program_begin(&d->objects, kernel->program, i);
			if (!(kernel->program->failed >> i & 1))
				continue;
		}
		able &= ~(1u << i);
	}
	return able;
}

uint32_t place_now(const struct dispatch *d, const struct launch *launch, uint32_t able)
{
	const struct program *program = launch->kernel->program;
	bool waits = d->config.policy->waits;
	uint32_t now = 0;
	POLICY_FOR_EACH(i, able)
	{
		const struct policy_device *lease = &d->devices[i];
		if (!lease->share || (!waits && lease->depth && lease->queued >= lease->depth))
			continue;
		if (d->discrete >> i & 1 && (!program->on[i] || program->building >> i & 1))
			continue;
		now |= 1u << i;
	}
	return now;
}

/* Per device, how much is not where the launch would need it. */
static void missing_bytes(const struct dispatch *d, const struct launch *launch, uint32_t mask,
			  uint64_t missing[POLICY_DEVICES])
{
	memset(missing, 0, POLICY_DEVICES * sizeof(*missing));
	for (uint32_t i = 0; i < launch->nargs; i++) {
		const struct mem *mem = (const struct mem *)launch->args[i].object;
		if (launch->args[i].kind != ARAX_ARG_MEM || !mem)
			continue;
		const struct storage *s = mem->root->storage;
		uint64_t off =
		    (uint64_t)((const char *)mem->desc.data - (const char *)mem->root->desc.data);
		uint64_t home = s ? storage_missing(s, off, mem->desc.size, RESIDENCY_HOME) : 0;
		POLICY_FOR_EACH(device, mask)
		{
			if (!(d->discrete >> device & 1))
				missing[device] += home;
			else
				missing[device] +=
				    s ? storage_missing(s, off, mem->desc.size, device)
				      : mem->desc.size;
		}
	}
}

static bool one_group(const struct launch *launch)
{
	return launch->global[0] == launch->local[0] && launch->global[1] == launch->local[1] &&
	       launch->global[2] == launch->local[2];
}

unsigned place_pick(struct dispatch *d, const struct launch *launch, uint32_t mask, uint32_t held)
{
	uint64_t missing[POLICY_DEVICES];
	struct policy_launch facts = {
	    .cost = launch->kernel->cost,
	    .items = launch->items,
	    .one_group = one_group(launch),
	    .candidates = mask,
	    .busy = graph_has_ready(&d->graph) || arax_ring_pending(&d->sq),
	    .held = held,
	    .serial = launch->serial,
	    .devices = d->devices,
	    .kernel = launch->kernel->name,
	};
	/* How much may wait in the only device is a question, too, for who asks that one. */
	if (!(mask & (mask - 1)) && !(d->config.policy->waits && (mask & d->discrete)))
		return policy_first(mask);
	if (d->spread) {
		missing_bytes(d, launch, mask, missing);
		facts.missing = missing;
		facts.now_ns = arax_now_ns();
	}
	return d->config.policy->pick(&d->policy, &facts);
}

uint64_t place_predict(const struct dispatch *d, const struct launch *launch, unsigned device)
{
	const struct policy_launch facts = {
	    .cost = launch->kernel->cost,
	    .items = launch->items,
	    .devices = d->devices,
	    .kernel = launch->kernel->name,
	};
	return policy_predict(&d->policy, &facts, device);
}
