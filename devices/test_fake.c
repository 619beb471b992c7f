/* SPDX-License-Identifier: Apache-2.0
 *
 * The fake back end, see test_fake.h. Device memory is the test process's, but copies only.
 */
#include "devices/test_fake.h"

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

#include <string.h>

#include "transport/protocol.h"
#include "transport/testing.h"
#include "transport/wake.h"

struct arax_device_mem {
	uint64_t size;
	struct arax_device_mem *parent;
	unsigned char *bytes;
};
struct arax_device_program {
	const struct arax_result *result;
};
struct arax_device_kernel {
	char name[32];
};
struct arax_device_sampler {
	uint32_t filter;
};
struct arax_device_stream {
	unsigned commands;
};

struct fake_command {
	struct fake_command *next;
	struct arax_device_kernel *kernel; /* NULL: a transfer, or a build */
	struct arax_launch launch;
	struct arax_transfer transfer;
	struct arax_program_source source;
	struct arax_device_mem *mem;
	uint32_t n;
};

static struct fake *fake_of(struct arax_device *dev)
{
	return dev->priv;
}

/* Counts one more or less of something. Return: is the device still there? */
static bool count(struct fake *fake, unsigned *what, int change)
{
	bool there;

	pthread_mutex_lock(&fake->lock);
	there = !fake->lost || change < 0;
	if (there)
		*what += (unsigned)change;
	pthread_cond_broadcast(&fake->changed);
	pthread_mutex_unlock(&fake->lock);
	return there;
}

static int fake_mem_new(struct arax_device *dev, const struct arax_mem_desc *desc,
			struct arax_device_mem **out)
{
	struct fake *fake = fake_of(dev);
	struct arax_device_mem *mem;
	bool room;

	pthread_mutex_lock(&fake->lock);
	while (fake->gate)
		pthread_cond_wait(&fake->changed, &fake->lock);
	fake->seen.last_desc = *desc;
	room = desc->parent || !fake->limited || desc->size <= fake->memory;
	if (room && !desc->parent && fake->limited)
		fake->memory -= desc->size;
	fake->seen.refused += !room;
	pthread_cond_broadcast(&fake->changed);
	pthread_mutex_unlock(&fake->lock);
	if (!room)
		return CL_MEM_OBJECT_ALLOCATION_FAILURE;
	if (!count(fake, &fake->seen.mems, 1))
		return CL_DEVICE_NOT_AVAILABLE;
	mem = calloc(1, sizeof(*mem));
	CHECK(mem);
	mem->size = desc->size;
	mem->parent = desc->parent;
	if (mem->parent) {
		CHECK(desc->origin + desc->size <= mem->parent->size);
		mem->bytes = mem->parent->bytes + desc->origin;
	} else {
		mem->bytes = malloc(desc->size);
		CHECK(mem->bytes);
		memset(mem->bytes, 0xEE, desc->size);
	}
	*out = mem;
	return 0;
}

static void fake_mem_free(struct arax_device *dev, struct arax_device_mem *mem)
{
	struct fake *fake = fake_of(dev);

	pthread_mutex_lock(&fake->lock);
	if (!mem->parent && fake->limited)
		fake->memory += mem->size;
	pthread_mutex_unlock(&fake->lock);
	if (!mem->parent)
		free(mem->bytes);
	free(mem);
	count(fake, &fake->seen.mems, -1);
}

static int fake_program_load(struct arax_device *dev, const struct arax_program_source *source,
			     struct arax_device_program **out)
{
	struct fake *fake = fake_of(dev);
	struct arax_device_program *program = calloc(1, sizeof(*program));
	int status;

	CHECK(program && source->result && source->done);
	program->result = source->result;
	if (!count(fake, &fake->seen.programs, 1)) {
		free(program);
		return CL_DEVICE_NOT_AVAILABLE;
	}
	*out = program;
	pthread_mutex_lock(&fake->lock);
	status = fake->build_status;
	if (fake->hold_builds) {
		struct fake_command *build = calloc(1, sizeof(*build));

		CHECK(build);
		build->source = *source;
		build->next = fake->builds;
		fake->builds = build;
		pthread_cond_broadcast(&fake->changed);
		source = NULL;
	}
	pthread_mutex_unlock(&fake->lock);
	if (source)
		source->done(source->arg, status, status ? "line 1: no" : "line 1: yes");
	return 0;
}

static void fake_program_free(struct arax_device *dev, struct arax_device_program *program)
{
	struct fake *fake = fake_of(dev);

	free(program);
	count(fake, &fake->seen.programs, -1);
}

static int fake_kernel_new(struct arax_device *dev, struct arax_device_program *program,
			   const char *name, struct arax_device_kernel **out)
{
	struct fake *fake = fake_of(dev);
	struct arax_device_kernel *kernel;

	CHECK(program->result->nkernels);
	if (!count(fake, &fake->seen.kernels, 1))
		return CL_DEVICE_NOT_AVAILABLE;
	kernel = calloc(1, sizeof(*kernel));
	CHECK(kernel);
	snprintf(kernel->name, sizeof(kernel->name), "%s", name);
	*out = kernel;
	return 0;
}

static void fake_kernel_free(struct arax_device *dev, struct arax_device_kernel *kernel)
{
	struct fake *fake = fake_of(dev);

	free(kernel);
	count(fake, &fake->seen.kernels, -1);
}

static int fake_sampler_new(struct arax_device *dev, uint32_t normalized, uint32_t addressing,
			    uint32_t filter, struct arax_device_sampler **out)
{
	struct fake *fake = fake_of(dev);
	struct arax_device_sampler *sampler;

	CHECK(normalized <= 1 && addressing <= 0xFFFF);
	if (!count(fake, &fake->seen.samplers, 1))
		return CL_DEVICE_NOT_AVAILABLE;
	sampler = calloc(1, sizeof(*sampler));
	CHECK(sampler);
	sampler->filter = filter;
	*out = sampler;
	return 0;
}

static void fake_sampler_free(struct arax_device *dev, struct arax_device_sampler *sampler)
{
	struct fake *fake = fake_of(dev);

	free(sampler);
	count(fake, &fake->seen.samplers, -1);
}

static int fake_stream_new(struct arax_device *dev, struct arax_device_stream **out)
{
	struct fake *fake = fake_of(dev);

	if (!count(fake, &fake->seen.streams, 1))
		return CL_DEVICE_NOT_AVAILABLE;
	*out = calloc(1, sizeof(**out));
	CHECK(*out);
	return 0;
}

static void fake_stream_free(struct arax_device *dev, struct arax_device_stream *stream)
{
	struct fake *fake = fake_of(dev);

	free(stream);
	count(fake, &fake->seen.streams, -1);
}

static int execute(struct fake_command *command)
{
	if (!command->kernel) {
		unsigned char *bytes = command->mem->bytes + command->transfer.offset;

		CHECK(command->transfer.offset + command->transfer.size <= command->mem->size);
		if (command->transfer.direction == ARAX_TO_DEVICE)
			memcpy(bytes, command->transfer.host, command->transfer.size);
		else
			memcpy(command->transfer.host, bytes, command->transfer.size);
		return 0;
	}
	if (!strcmp(command->kernel->name, "fails"))
		return CL_OUT_OF_RESOURCES;
	if (!strcmp(command->kernel->name, "add") && command->mem) {
		uint32_t *data = (uint32_t *)(void *)command->mem->bytes;

		for (size_t i = 0;
		     i < command->launch.global[0] && (i + 1) * sizeof(*data) <= command->mem->size;
		     i++)
			data[i] += command->n;
	}
	return 0;
}

static void finish(struct fake *fake, struct fake_command *command)
{
	arax_device_done done = command->kernel ? command->launch.done : command->transfer.done;
	void *arg = command->kernel ? command->launch.arg : command->transfer.arg;
	uint64_t now = arax_now_ns();
	int status = 0;
	bool lost;

	pthread_mutex_lock(&fake->lock);
	lost = fake->lost;
	pthread_mutex_unlock(&fake->lock);
	status = lost ? CL_DEVICE_NOT_AVAILABLE : execute(command);

	free(command);
	count(fake, &fake->seen.commands, -1);
	done(arg, status, now - fake->command_ns, now);
}

static int accept_command(struct fake *fake, struct fake_command *command)
{
	bool hold, lost;

	pthread_mutex_lock(&fake->lock);
	hold = fake->hold;
	lost = fake->lost;
	if (!lost && ++fake->seen.commands > fake->seen.most_commands)
		fake->seen.most_commands = fake->seen.commands;
	if (!lost && hold) {
		*fake->last = command;
		fake->last = &command->next;
	}
	pthread_cond_broadcast(&fake->changed);
	pthread_mutex_unlock(&fake->lock);
	if (lost)
		free(command);
	else if (!hold)
		finish(fake, command);
	return lost ? CL_DEVICE_NOT_AVAILABLE : 0;
}

static int fake_launch(struct arax_device *dev, struct arax_device_stream *stream,
		       const struct arax_launch *launch)
{
	struct fake *fake = fake_of(dev);
	struct fake_command *command = calloc(1, sizeof(*command));

	CHECK(command && stream);
	pthread_mutex_lock(&fake->lock);
	stream->commands++;
	fake->seen.launches++;
	fake->seen.last_launch = *launch;
	for (uint32_t i = 0; i < launch->nargs && i < 8; i++)
		fake->seen.last_kinds[i] = launch->args[i].kind;
	pthread_mutex_unlock(&fake->lock);
	command->kernel = launch->kernel;
	command->launch = *launch;
	if (!strcmp(launch->kernel->name, "add")) {
		CHECK(launch->nargs == 2);
		command->mem = launch->args[0].mem;
		memcpy(&command->n, launch->args[1].value, sizeof(command->n));
	}
	return accept_command(fake, command);
}

static int fake_transfer(struct arax_device *dev, struct arax_device_stream *stream,
			 const struct arax_transfer *transfer)
{
	struct fake_command *command = calloc(1, sizeof(*command));

	CHECK(command && stream);
	command->transfer = *transfer;
	command->mem = transfer->mem;
	return accept_command(fake_of(dev), command);
}

static const struct arax_device_ops fake_ops = {
    .name = "fake",
    .mem_new = fake_mem_new,
    .mem_free = fake_mem_free,
    .program_load = fake_program_load,
    .program_free = fake_program_free,
    .kernel_new = fake_kernel_new,
    .kernel_free = fake_kernel_free,
    .sampler_new = fake_sampler_new,
    .sampler_free = fake_sampler_free,
    .stream_new = fake_stream_new,
    .stream_free = fake_stream_free,
    .launch = fake_launch,
    .transfer = fake_transfer,
};

void fake_open(struct fake *fake, struct arax_device *dev)
{
	memset(fake, 0, sizeof(*fake));
	pthread_mutex_init(&fake->lock, NULL);
	pthread_cond_init(&fake->changed, NULL);
	fake->last = &fake->first;
	fake->command_ns = 1000;
	*dev = (struct arax_device){
	    .ops = &fake_ops,
	    .name = "fake0",
	    .discrete = true,
	    .parallel = 4,
	    .caps = {.features =
			 ARAX_FEATURE_RESULT | ARAX_FEATURE_COMPILER | ARAX_FEATURE_SIMULATED,
		     .compute_units = 4,
		     .memory = 1u << 30,
		     .target = "fake"},
	    .priv = fake,
	};
}

void fake_close(struct fake *fake)
{
	CHECK(!fake->seen.mems && !fake->seen.programs && !fake->seen.kernels &&
	      !fake->seen.samplers);
	CHECK(!fake->seen.streams && !fake->seen.commands && !fake->first && !fake->builds);
	pthread_mutex_destroy(&fake->lock);
	pthread_cond_destroy(&fake->changed);
}

void fake_wait(struct fake *fake, unsigned commands)
{
	pthread_mutex_lock(&fake->lock);
	while (fake->seen.commands < commands)
		pthread_cond_wait(&fake->changed, &fake->lock);
	pthread_mutex_unlock(&fake->lock);
}

void fake_wait_refused(struct fake *fake, unsigned refused)
{
	pthread_mutex_lock(&fake->lock);
	while (fake->seen.refused < refused)
		pthread_cond_wait(&fake->changed, &fake->lock);
	pthread_mutex_unlock(&fake->lock);
}

struct fake_seen fake_look(struct fake *fake)
{
	struct fake_seen seen;

	pthread_mutex_lock(&fake->lock);
	seen = fake->seen;
	pthread_mutex_unlock(&fake->lock);
	return seen;
}

void fake_wait_streams(struct fake *fake, unsigned streams)
{
	pthread_mutex_lock(&fake->lock);
	while (fake->seen.streams > streams)
		pthread_cond_wait(&fake->changed, &fake->lock);
	pthread_mutex_unlock(&fake->lock);
}

void fake_run(struct fake *fake, unsigned n)
{
	while (n--) {
		struct fake_command *command;

		pthread_mutex_lock(&fake->lock);
		while (!fake->first)
			pthread_cond_wait(&fake->changed, &fake->lock);
		command = fake->first;
		fake->first = command->next;
		if (!fake->first)
			fake->last = &fake->first;
		pthread_mutex_unlock(&fake->lock);
		finish(fake, command);
	}
}

void fake_build(struct fake *fake)
{
	struct fake_command *build;
	int status;

	pthread_mutex_lock(&fake->lock);
	while (!fake->builds)
		pthread_cond_wait(&fake->changed, &fake->lock);
	build = fake->builds;
	fake->builds = NULL;
	status = fake->build_status;
	pthread_mutex_unlock(&fake->lock);
	while (build) {
		struct fake_command *next = build->next;

		build->source.done(build->source.arg, status, status ? "late: no" : "late: yes");
		free(build);
		build = next;
	}
}

void fake_set(struct fake *fake, bool *flag, bool value)
{
	pthread_mutex_lock(&fake->lock);
	*flag = value;
	pthread_cond_broadcast(&fake->changed);
	pthread_mutex_unlock(&fake->lock);
}

void fake_set_status(struct fake *fake, int build_status)
{
	pthread_mutex_lock(&fake->lock);
	fake->build_status = build_status;
	pthread_mutex_unlock(&fake->lock);
}

void fake_result(struct arax_writer *w)
{
	char data[] = "data", uint_pointer[] = "uint*", uint_type[] = "uint", n[] = "n",
	     image[] = "image3d_t", sampler[] = "sampler_t", empty[] = "", fake[] = "fake";
	char struct_type[] = "struct s", struct_name[] = "struct";
	struct arax_arg_info by_value = {
	    data, struct_type, CL_KERNEL_ARG_ADDRESS_PRIVATE, CL_KERNEL_ARG_ACCESS_NONE, 0, 0};
	char add_name[] = "add", all_name[] = "all", fails_name[] = "fails";
	const struct arax_arg_info buffer = {
	    data, uint_pointer, CL_KERNEL_ARG_ADDRESS_GLOBAL, CL_KERNEL_ARG_ACCESS_NONE, 0, 8};
	struct arax_arg_info value = {
	    n, uint_type, CL_KERNEL_ARG_ADDRESS_PRIVATE, CL_KERNEL_ARG_ACCESS_NONE, 0, 4};
	struct arax_arg_info add[] = {buffer, value};
	struct arax_arg_info all[] = {
	    buffer,
	    value,
	    {n, uint_pointer, CL_KERNEL_ARG_ADDRESS_LOCAL, CL_KERNEL_ARG_ACCESS_NONE, 0, 0},
	    {n, image, CL_KERNEL_ARG_ADDRESS_GLOBAL, CL_KERNEL_ARG_ACCESS_READ_ONLY, 0, 8},
	    {n, sampler, CL_KERNEL_ARG_ADDRESS_CONSTANT, CL_KERNEL_ARG_ACCESS_NONE, 0, 8}};
	struct arax_kernel_info kernels[] = {
	    {.name = add_name, .attributes = empty, .nargs = 2, .args = add},
	    {.name = all_name, .attributes = empty, .nargs = 5, .args = all},
	    {.name = fails_name, .attributes = empty},
	    {.name = struct_name, .attributes = empty, .nargs = 1, .args = &by_value},
	};
	struct arax_target target = {fake, 1};
	struct arax_result result = {
	    .binary_type = CL_PROGRAM_BINARY_TYPE_EXECUTABLE,
	    .options = empty,
	    .log = empty,
	    .ntargets = 1,
	    .targets = &target,
	    .nkernels = 4,
	    .kernels = kernels,
	    .binary = "binary",
	    .binary_size = 6,
	};

	arax_result_write(w, &result);
	CHECK(!w->failed);
}
