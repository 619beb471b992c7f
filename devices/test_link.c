/* SPDX-License-Identifier: Apache-2.0
 *
 * A link between a tenant's end and a device's end, both in this process: every operation, what
 * goes wrong without anybody's fault, and what is full.
 */
#include "devices/test_world.h"

static int failed_launch(struct tenant *t, const char *kernel, const struct arax_launch_arg *args,
			 uint32_t nargs)
{
	struct arax_device_kernel *k;
	struct outcome outcome = {0};
	struct arax_launch launch = {.work_dim = 1,
				     .nargs = nargs,
				     .global = {1, 1, 1},
				     .args = args,
				     .done = command_ended,
				     .arg = &outcome};

	CHECK(!t->dev.ops->kernel_new(&t->dev, t->program, kernel, &k));
	launch.kernel = k;
	CHECK(!t->dev.ops->launch(&t->dev, t->stream, &launch));
	/* In flight, and gone. */
	t->dev.ops->kernel_free(&t->dev, k);
	await(t, &outcome);
	return outcome.status;
}

/* There and back, whole and in parts, with a kernel in between. */
static void data_goes_there_and_back(void)
{
	static struct world w;
	struct tenant t;
	struct arax_device_mem *mem, *part;
	struct outcome o[5];
	const struct arax_link_usage *usage = &w.usage.links[0];

	world_new(&w);
	tenant_new(&w, &t, 7, 0, 0);
	tenant_setup(&t);
	mem = buffer(&t, 0, 4096);
	const struct arax_mem_desc desc = {
	    .type = CL_MEM_OBJECT_BUFFER, .size = 1024, .parent = mem, .origin = 1024};
	CHECK(!t.dev.ops->mem_new(&t.dev, &desc, &part));
	for (uint32_t i = 0; i < 1024; i++)
		heap_at(&t, 0)[i] = i;
	CHECK(!move(&t, mem, ARAX_TO_DEVICE, 0, 0, 4096, &o[0]));
	CHECK(!add(&t, mem, 5, 1024, &o[1]));
	CHECK(!add(&t, part, 1000, 256, &o[2]));
	CHECK(!move(&t, mem, ARAX_FROM_DEVICE, 0, 8192, 4096, &o[3]));
	CHECK(!move(&t, mem, ARAX_FROM_DEVICE, 2044, 16384, 8, &o[4]));
	t.dev.ops->mem_free(&t.dev, part);
	t.dev.ops->mem_free(&t.dev, mem);
	for (int i = 0; i < 5; i++) {
		await(&t, &o[i]);
		CHECK(!o[i].status && o[i].end - o[i].start == w.fake.command_ns);
	}
	for (uint32_t i = 0; i < 1024; i++)
		CHECK(heap_at(&t, 8192)[i] == i + 5 + (i >= 256 && i < 512 ? 1000 : 0));
	CHECK(heap_at(&t, 16384)[0] == 511 + 1005 && heap_at(&t, 16384)[1] == 512 + 5);
	CHECK(usage->link == 7 && usage->commands == 5);
	CHECK(usage->busy_ns == 5 * w.fake.command_ns);
	CHECK(usage->bytes_in == 4096 && usage->bytes_out == 4104);
	tenant_free(&w, &t);
	world_free(&w);
}

/* Every field of a description, every kind of argument, all sizes of a launch. */
static void descriptions_arrive(void)
{
	static struct world w;
	struct tenant t;
	struct arax_device_mem *image, *mem;
	struct arax_device_sampler *sampler;
	struct arax_device_kernel *all;
	struct outcome o = {0};
	const struct arax_mem_desc desc = {.type = CL_MEM_OBJECT_IMAGE3D,
					   .flags = CL_MEM_READ_ONLY,
					   .size = 2048,
					   .channel_order = CL_RGBA,
					   .channel_type = CL_UNORM_INT8,
					   .width = 5,
					   .height = 6,
					   .depth = 7,
					   .array_size = 8,
					   .row_pitch = 32,
					   .slice_pitch = 256};
	uint32_t n = 1;

	world_new(&w);
	tenant_new(&w, &t, 1, 0, 0);
	tenant_setup(&t);
	mem = buffer(&t, 0, 64);
	CHECK(!t.dev.ops->mem_new(&t.dev, &desc, &image));
	CHECK(!t.dev.ops->sampler_new(&t.dev, 1, CL_ADDRESS_CLAMP, CL_FILTER_LINEAR, &sampler));
	CHECK(!t.dev.ops->kernel_new(&t.dev, t.program, "all", &all));
	struct arax_launch_arg args[] = {{.kind = ARAX_ARG_MEM, .mem = mem},
					 {.kind = ARAX_ARG_VALUE, .size = 4, .value = &n},
					 {.kind = ARAX_ARG_LOCAL, .size = 99},
					 {.kind = ARAX_ARG_MEM, .mem = image},
					 {.kind = ARAX_ARG_SAMPLER, .sampler = sampler}};
	const struct arax_launch launch = {.kernel = all,
					   .work_dim = 2,
					   .nargs = 5,
					   .offset = {1, 2, 9},
					   .global = {4, 6, 9},
					   .local = {2, 3, 9},
					   .has_local = true,
					   .args = args,
					   .done = command_ended,
					   .arg = &o};
	CHECK(!t.dev.ops->launch(&t.dev, t.stream, &launch));
	await(&t, &o);
	CHECK(!o.status);
	const struct fake_seen seen = fake_look(&w.fake);
	const struct arax_mem_desc *got = &seen.last_desc;
	CHECK(got->type == desc.type && got->flags == desc.flags && got->size == desc.size);
	CHECK(got->channel_order == desc.channel_order && got->channel_type == desc.channel_type);
	CHECK(got->width == 5 && got->height == 6 && got->depth == 7 && got->array_size == 8);
	CHECK(got->row_pitch == 32 && got->slice_pitch == 256 && !got->parent && !got->data);
	const struct arax_launch *did = &seen.last_launch;
	CHECK(did->work_dim == 2 && did->nargs == 5 && did->has_local);
	CHECK(did->offset[0] == 1 && did->offset[1] == 2 && did->offset[2] == 0);
	CHECK(did->global[0] == 4 && did->global[1] == 6 && did->global[2] == 1);
	CHECK(did->local[0] == 2 && did->local[1] == 3 && did->local[2] == 1);
	CHECK(seen.last_kinds[2] == ARAX_ARG_LOCAL && seen.last_kinds[4] == ARAX_ARG_SAMPLER);
	/* A NULL buffer is one; a NULL image is not. */
	args[0].mem = NULL;
	CHECK(failed_launch(&t, "all", args, 5) == 0);
	args[3].mem = NULL;
	CHECK(failed_launch(&t, "all", args, 5) == CL_INVALID_ARG_VALUE);
	/* An image of another shape is not the one that the kernel declares. */
	const struct arax_mem_desc flat = {.type = CL_MEM_OBJECT_IMAGE2D,
					   .size = 256,
					   .channel_order = CL_RGBA,
					   .channel_type = CL_UNORM_INT8,
					   .width = 8,
					   .height = 8};
	CHECK(!t.dev.ops->mem_new(&t.dev, &flat, &args[3].mem));
	CHECK(failed_launch(&t, "all", args, 5) == CL_INVALID_ARG_VALUE);
	t.dev.ops->mem_free(&t.dev, args[3].mem);
	/* Images move as a whole. */
	CHECK(!move(&t, image, ARAX_TO_DEVICE, 0, 0, 2048, &o));
	await(&t, &o);
	CHECK(!o.status);
	CHECK(!move(&t, image, ARAX_TO_DEVICE, 32, 0, 32, &o));
	await(&t, &o);
	CHECK(o.status == CL_INVALID_VALUE);
	t.dev.ops->kernel_free(&t.dev, all);
	t.dev.ops->sampler_free(&t.dev, sampler);
	t.dev.ops->mem_free(&t.dev, image);
	t.dev.ops->mem_free(&t.dev, mem);
	tenant_free(&w, &t);
	world_free(&w);
}

/* What fails is that one command. */
static void errors_are_one_commands(void)
{
	static struct world w;
	struct tenant t;
	struct arax_device_mem *mem;
	struct outcome o = {0};
	uint32_t n = 3;

	world_new(&w);
	tenant_new(&w, &t, 1, 0, 0);
	tenant_setup(&t);
	mem = buffer(&t, 0, 64);
	struct arax_launch_arg args[] = {{.kind = ARAX_ARG_MEM, .mem = mem},
					 {.kind = ARAX_ARG_VALUE, .size = 4, .value = &n}};
	CHECK(failed_launch(&t, "fails", NULL, 0) == CL_OUT_OF_RESOURCES);
	CHECK(failed_launch(&t, "nothing", args, 2) == CL_INVALID_KERNEL_NAME);
	CHECK(failed_launch(&t, "add", args, 1) == CL_INVALID_KERNEL_ARGS);
	args[1].size = 3;
	CHECK(failed_launch(&t, "add", args, 2) == CL_INVALID_ARG_SIZE);
	CHECK(failed_launch(&t, "struct", &args[1], 1) == 0);
	args[1].kind = ARAX_ARG_LOCAL;
	CHECK(failed_launch(&t, "add", args, 2) == CL_INVALID_ARG_VALUE);
	args[0] = (struct arax_launch_arg){.kind = ARAX_ARG_VALUE, .size = 4, .value = &n};
	CHECK(failed_launch(&t, "add", args, 2) == CL_INVALID_ARG_VALUE);
	args[0] = (struct arax_launch_arg){.kind = ARAX_ARG_SVM, .value = mem};
	CHECK(failed_launch(&t, "add", args, 2) == CL_INVALID_ARG_VALUE);
	/* Our own mistakes are told at once. */
	CHECK(move(&t, mem, ARAX_TO_DEVICE, 0, 0, 65, &o) == CL_INVALID_VALUE);
	CHECK(move(&t, mem, ARAX_TO_DEVICE, 1, 0, 64, &o) == CL_INVALID_VALUE);
	CHECK(move(&t, mem, ARAX_TO_DEVICE, 0, ARENA - HEAP - 32, 64, &o) == CL_INVALID_VALUE);
	CHECK(!move(&t, mem, ARAX_TO_DEVICE, 0, 0, 64, &o));
	await(&t, &o);
	CHECK(!o.status);
	t.dev.ops->mem_free(&t.dev, mem);
	tenant_free(&w, &t);
	world_free(&w);
}

static struct arax_device_program *load(struct tenant *t, const struct arax_result *result,
					struct outcome *built)
{
	const struct arax_program_source source = {
	    .result = result, .done = built ? build_ended : NULL, .arg = built};
	struct arax_device_program *program;

	CHECK(!t->dev.ops->program_load(&t->dev, &source, &program));
	return program;
}

/* What is larger than the ring goes over in poll(), until the device has so many programs. */
static void send_all(struct world *w, struct tenant *t, unsigned programs)
{
	bool there = false;

	while (!there) {
		CHECK(!t->dev.ops->poll(&t->dev));
		there = fake_look(&w->fake).programs == programs;
	}
}

/* Builds in the background: launches wait for them, failures come with their words, also of a
 * program that was freed; and a large one goes over in pieces. */
static void builds(void)
{
	static struct world w;
	struct tenant t;
	struct arax_writer writer = {0};
	struct arax_device_program *program, *silent, *failing;
	struct arax_device_mem *mem;
	struct outcome built = {0}, o, failed = {0};
	size_t size = 3u << 20;
	char *binary = malloc(size);

	world_new(&w);
	tenant_new(&w, &t, 1, 0, 0);
	tenant_setup(&t);
	mem = buffer(&t, 0, 4096);
	fake_result(&writer);
	struct arax_result *result = arax_result_parse(writer.data, writer.size);
	CHECK(result && binary);
	memset(binary, 7, size);
	result->binary = binary;
	result->binary_size = size;
	fake_set(&w.fake, &w.fake.hold_builds, true);
	program = load(&t, result, &built);
	silent = load(&t, result, NULL);
	struct arax_device_kernel *old = t.add;
	CHECK(!t.dev.ops->kernel_new(&t.dev, program, "add", &t.add));
	CHECK(!add(&t, mem, 1, 1, &o));
	send_all(&w, &t, 3);
	CHECK(!built.calls && !o.calls && !fake_look(&w.fake).launches);
	fake_build(&w.fake);
	await(&t, &built);
	CHECK(!built.status && !strcmp(built.log, "late: yes"));
	await(&t, &o);
	CHECK(!o.status && fake_look(&w.fake).launches == 1);
	t.dev.ops->kernel_free(&t.dev, t.add);
	/* One that fails, freed before it does. */
	fake_set_status(&w.fake, CL_BUILD_PROGRAM_FAILURE);
	failing = load(&t, result, &failed);
	CHECK(!t.dev.ops->kernel_new(&t.dev, failing, "add", &t.add));
	CHECK(!add(&t, mem, 1, 1, &o));
	t.dev.ops->kernel_free(&t.dev, t.add);
	t.dev.ops->program_free(&t.dev, failing);
	send_all(&w, &t, 4);
	fake_build(&w.fake);
	await(&t, &failed);
	CHECK(failed.status == CL_BUILD_PROGRAM_FAILURE && !strcmp(failed.log, "late: no"));
	await(&t, &o);
	CHECK(o.status == CL_INVALID_PROGRAM_EXECUTABLE);
	t.add = old;
	t.dev.ops->program_free(&t.dev, program);
	t.dev.ops->program_free(&t.dev, silent);
	t.dev.ops->mem_free(&t.dev, mem);
	tenant_free(&w, &t);
	world_free(&w);
	arax_result_free(result);
	arax_writer_free(&writer);
	free(binary);
}

/* No memory: the command that finds out and all that was sent behind it fail; the same command
 * again succeeds when there is some. Nobody sees memory that was not filled. */
static void memory_runs_out(void)
{
	static struct world w;
	struct tenant t;
	struct arax_device_mem *first, *second;
	struct outcome o[4];

	world_new(&w);
	w.fake.memory = 10000;
	w.fake.limited = true;
	tenant_new(&w, &t, 1, 0, 0);
	tenant_setup(&t);
	heap_at(&t, 0)[0] = 40;
	fake_set(&w.fake, &w.fake.hold, true);
	first = buffer(&t, 0, 8000);
	second = buffer(&t, 8192, 8000);
	CHECK(!move(&t, first, ARAX_TO_DEVICE, 0, 0, 8000, &o[0]));
	CHECK(!move(&t, second, ARAX_TO_DEVICE, 0, 0, 8000, &o[1]));
	CHECK(!add(&t, second, 2, 1, &o[2]));
	/* Once when it was defined, and once when it was used. */
	fake_wait_refused(&w.fake, 2);
	t.dev.ops->mem_free(&t.dev, first);
	/* Sent without knowing of any failure, though there is room by now. */
	CHECK(!add(&t, second, 2, 1, &o[3]));
	fake_run(&w.fake, 1);
	for (int i = 0; i < 4; i++)
		await(&t, &o[i]);
	CHECK(!o[0].status);
	for (int i = 1; i < 4; i++)
		CHECK(o[i].status == CL_MEM_OBJECT_ALLOCATION_FAILURE);
	CHECK(!fake_look(&w.fake).launches);
	fake_set(&w.fake, &w.fake.hold, false);
	CHECK(!move(&t, second, ARAX_TO_DEVICE, 0, 0, 8000, &o[0]));
	CHECK(!add(&t, second, 2, 1, &o[1]));
	CHECK(!move(&t, second, ARAX_FROM_DEVICE, 0, 8192, 8000, &o[2]));
	for (int i = 0; i < 3; i++) {
		await(&t, &o[i]);
		CHECK(!o[i].status);
	}
	CHECK(heap_at(&t, 8192)[0] == 42);
	t.dev.ops->mem_free(&t.dev, second);
	tenant_free(&w, &t);
	world_free(&w);
}

/* A link has no more than was granted, whatever the device has. */
static void budget_holds(void)
{
	static struct world w;
	struct tenant t;
	struct arax_device_mem *first, *second;
	struct arax_control_link share = {.link = 1, .weight = 1, .memory = 16000};
	struct outcome o;

	world_new(&w);
	tenant_new(&w, &t, 1, 10000, 0);
	tenant_setup(&t);
	first = buffer(&t, 0, 8000);
	second = buffer(&t, 8192, 8000);
	CHECK(!move(&t, first, ARAX_TO_DEVICE, 0, 0, 8000, &o));
	await(&t, &o);
	CHECK(!o.status && w.usage.links[0].memory == 8000);
	CHECK(!move(&t, second, ARAX_TO_DEVICE, 0, 0, 8000, &o));
	await(&t, &o);
	CHECK(o.status == CL_MEM_OBJECT_ALLOCATION_FAILURE);
	CHECK(!serve_share(w.serve, &share));
	CHECK(!move(&t, second, ARAX_TO_DEVICE, 0, 0, 8000, &o));
	await(&t, &o);
	CHECK(!o.status && w.usage.links[0].memory == 16000);
	t.dev.ops->mem_free(&t.dev, first);
	t.dev.ops->mem_free(&t.dev, second);
	tenant_free(&w, &t);
	world_free(&w);
}

/* Completions come in the order of the stream, those of failures, too. */
static void failures_wait_their_turn(void)
{
	static struct world w;
	struct tenant t;
	struct arax_device_mem *mem;
	struct outcome o[3];
	const struct arax_launch bad = {
	    .work_dim = 1, .global = {1, 1, 1}, .done = command_ended, .arg = &o[1]};

	world_new(&w);
	tenant_new(&w, &t, 1, 0, 0);
	tenant_setup(&t);
	mem = buffer(&t, 0, 64);
	fake_set(&w.fake, &w.fake.hold, true);
	CHECK(!move(&t, mem, ARAX_TO_DEVICE, 0, 0, 64, &o[0]));
	struct arax_launch launch = bad;
	launch.kernel = t.add;
	o[1] = (struct outcome){0};
	CHECK(!t.dev.ops->launch(&t.dev, t.stream, &launch));
	CHECK(!move(&t, mem, ARAX_TO_DEVICE, 0, 0, 64, &o[2]));
	fake_run(&w.fake, 1);
	await(&t, &o[1]);
	CHECK(o[0].calls == 1 && o[1].status == CL_INVALID_KERNEL_ARGS && !o[2].calls);
	fake_run(&w.fake, 1);
	await(&t, &o[2]);
	t.dev.ops->mem_free(&t.dev, mem);
	tenant_free(&w, &t);
	world_free(&w);
}

/* More definitions than the ring holds while nobody reads them: none is lost, none waits. */
static void ring_full(void)
{
	enum { MANY = 9000 };
	static struct world w;
	static struct arax_device_mem *mems[MANY];
	struct tenant t;
	struct outcome o;

	world_new(&w);
	tenant_new(&w, &t, 1, 0, 0);
	tenant_setup(&t);
	fake_set(&w.fake, &w.fake.gate, true);
	for (int i = 0; i < MANY; i++)
		mems[i] = buffer(&t, 0, 64);
	heap_at(&t, 0)[0] = 1;
	CHECK(!move(&t, mems[MANY - 1], ARAX_TO_DEVICE, 0, 0, 64, &o));
	fake_set(&w.fake, &w.fake.gate, false);
	await(&t, &o);
	CHECK(!o.status && fake_look(&w.fake).mems == MANY);
	for (int i = 0; i < MANY; i++)
		t.dev.ops->mem_free(&t.dev, mems[i]);
	/* Their numbers are used again. */
	mems[0] = buffer(&t, 0, 64);
	CHECK(!move(&t, mems[0], ARAX_TO_DEVICE, 0, 0, 64, &o));
	await(&t, &o);
	CHECK(!o.status && fake_look(&w.fake).mems == 1);
	t.dev.ops->mem_free(&t.dev, mems[0]);
	tenant_free(&w, &t);
	world_free(&w);
}

/* As many commands as there are slots; then the device is full, until one has ended. */
static void slots_full(void)
{
	static struct world w;
	static struct outcome o[ARAX_LINK_SLOTS + 1];
	struct tenant t;
	struct arax_device_mem *mem;

	world_new(&w);
	tenant_new(&w, &t, 1, 0, 0);
	tenant_setup(&t);
	mem = buffer(&t, 0, 64);
	fake_set(&w.fake, &w.fake.hold, true);
	for (unsigned i = 0; i < ARAX_LINK_SLOTS; i++)
		CHECK(!move(&t, mem, ARAX_TO_DEVICE, 0, 0, 64, &o[i]));
	CHECK(move(&t, mem, ARAX_TO_DEVICE, 0, 0, 64, &o[ARAX_LINK_SLOTS]) == CL_OUT_OF_RESOURCES);
	fake_run(&w.fake, 1);
	await(&t, &o[0]);
	CHECK(!move(&t, mem, ARAX_TO_DEVICE, 0, 0, 64, &o[ARAX_LINK_SLOTS]));
	fake_run(&w.fake, ARAX_LINK_SLOTS);
	for (unsigned i = 1; i <= ARAX_LINK_SLOTS; i++) {
		await(&t, &o[i]);
		CHECK(!o[i].status);
	}
	t.dev.ops->mem_free(&t.dev, mem);
	tenant_free(&w, &t);
	world_free(&w);
}

/* The bound on what a link has on the device, and the change of it. */
static void depth_holds(void)
{
	static struct world w;
	struct tenant t;
	struct arax_device_mem *mem;
	struct outcome o[12];
	struct arax_control_link share = {.link = 1, .weight = 1, .depth = 7};

	world_new(&w);
	tenant_new(&w, &t, 1, 0, 3);
	tenant_setup(&t);
	mem = buffer(&t, 0, 64);
	fake_set(&w.fake, &w.fake.hold, true);
	for (int i = 0; i < 12; i++)
		CHECK(!move(&t, mem, ARAX_TO_DEVICE, 0, 0, 64, &o[i]));
	fake_wait(&w.fake, 3);
	fake_run(&w.fake, 2);
	fake_wait(&w.fake, 3);
	CHECK(fake_look(&w.fake).most_commands == 3);
	CHECK(!serve_share(w.serve, &share));
	fake_wait(&w.fake, 7);
	CHECK(fake_look(&w.fake).most_commands == 7);
	share.link = 2;
	CHECK(serve_share(w.serve, &share) == -ENOENT);
	fake_run(&w.fake, 10);
	for (int i = 0; i < 12; i++)
		await(&t, &o[i]);
	t.dev.ops->mem_free(&t.dev, mem);
	tenant_free(&w, &t);
	world_free(&w);
}

/* Two tenants at once, each with its own memory and outcome, one much slower to ask. */
static void tenants_share(void)
{
	static struct world w;
	struct tenant t[2];
	struct arax_device_mem *mem[2];
	struct outcome o[2];

	world_new(&w);
	for (int i = 0; i < 2; i++) {
		tenant_new(&w, &t[i], (uint64_t)i + 1, 0, 0);
		tenant_setup(&t[i]);
		mem[i] = buffer(&t[i], 0, 4096);
	}
	for (uint32_t round = 0; round < 200; round++) {
		for (int i = 0; i < 2; i++) {
			heap_at(&t[i], 0)[0] = round;
			CHECK(!move(&t[i], mem[i], ARAX_TO_DEVICE, 0, 0, 4096, &o[i]));
		}
		for (int i = 0; i < 2; i++)
			await(&t[i], &o[i]);
		for (int i = 0; i < 2; i++)
			CHECK(!add(&t[i], mem[i], 10u * (unsigned)i, 1, &o[i]));
		for (int i = 0; i < 2; i++) {
			await(&t[i], &o[i]);
			CHECK(!move(&t[i], mem[i], ARAX_FROM_DEVICE, 0, 4096, 4096, &o[i]));
			await(&t[i], &o[i]);
			CHECK(heap_at(&t[i], 4096)[0] == round + 10u * (unsigned)i);
		}
	}
	for (int i = 0; i < 2; i++) {
		t[i].dev.ops->mem_free(&t[i].dev, mem[i]);
		tenant_free(&w, &t[i]);
	}
	world_free(&w);
}

int main(void)
{
	data_goes_there_and_back();
	descriptions_arrive();
	errors_are_one_commands();
	builds();
	memory_runs_out();
	budget_holds();
	failures_wait_their_turn();
	ring_full();
	slots_full();
	depth_holds();
	tenants_share();
	puts("ok");
	return 0;
}
