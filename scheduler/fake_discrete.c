/* SPDX-License-Identifier: Apache-2.0
 *
 * Devices of the tests' own, see fake_discrete.h.
 */
#include "scheduler/fake_discrete.h"

#include <string.h>

#include "transport/testing.h"
#include "transport/wake.h"

#define NO_MEMORY (-4)
#define OUT_OF_RESOURCES (-5)
#define LOST (-2)
#define INVALID_WORK_GROUP_SIZE (-54)

struct fake;

struct arax_device_mem {
	char *bytes; /* NULL: there was no memory for it */
	uint64_t size;
	struct arax_device_mem *parent;
	uint64_t origin;
};

struct arax_device_program {
	int unused;
};

struct arax_device_kernel {
	char name[16];
};

/* One thing that a stream has to do. */
struct item {
	struct item *next;
	arax_device_done done;
	void *arg;
	bool launch, refused;
	struct arax_transfer transfer;
	const struct arax_device_kernel *kernel;
	struct arax_device_mem *a, *b;
	int32_t value;
};

struct arax_device_stream {
	struct arax_device_stream *next;
	struct item *first, *last;
	bool freed;
};

struct build {
	struct build *next;
	struct arax_program_source source;
	int status;
};

struct fake {
	struct arax_device *dev;
	struct discrete_setup setup;
	uint64_t seed, used;
	struct arax_device_stream *streams;
	struct build *builds;
	unsigned pending, objects; /* pending: items and builds */
	unsigned nbuilds;
	unsigned items;
	bool lost, ended;
	atomic_bool lose;
	char tried[8][16];
	unsigned ntried;
};

static struct fake fakes[2 + DISCRETE_MAX];
atomic_uint discrete_launched[2 + DISCRETE_MAX];
static _Atomic(void (*)(void *)) conducted;
static void *conducted_arg;
static _Atomic(void (*)(void *)) inside;
static void *inside_arg;

static struct fake *fake_of(const struct arax_device *dev)
{
	return dev->priv;
}

static bool one_in(struct fake *fake, unsigned n)
{
	return n && test_random(&fake->seed) % n == 0;
}

void discrete_run(const char *kernel, int32_t *a, uint64_t na, int32_t *b, uint64_t nb,
		  int32_t value)
{
	bool swap = !strcmp(kernel, "swap");
	for (uint64_t i = 0; i < na; i++) {
		uint32_t x = (uint32_t)a[i], y = (uint32_t)b[i % nb];
		a[i] = (int32_t)(x * 3 + y + (uint32_t)value);
		if (swap && i < nb)
			b[i] = (int32_t)(y ^ x);
	}
}

/* ---- objects -------------------------------------------------------------------------------- */

static struct arax_device_mem *root_of(struct arax_device_mem *mem)
{
	return mem->parent ? mem->parent : mem;
}

static bool allocate(struct fake *fake, struct arax_device_mem *mem)
{
	struct arax_device_mem *root = root_of(mem);
	if (root->bytes)
		return true;
	if (fake->used + root->size > fake->setup.memory)
		return false;
	root->bytes = malloc(root->size);
	CHECK(root->bytes);
	memset(root->bytes, 0xA5, root->size);
	fake->used += root->size;
	return true;
}

static int mem_new(struct arax_device *dev, const struct arax_mem_desc *desc,
		   struct arax_device_mem **out)
{
	struct fake *fake = fake_of(dev);
	if (fake->lost)
		return LOST;
	struct arax_device_mem *mem = calloc(1, sizeof(*mem));
	CHECK(mem);
	mem->size = desc->size;
	mem->parent = dev->discrete ? desc->parent : NULL;
	mem->origin = desc->origin;
	CHECK(!mem->parent || mem->origin + mem->size <= mem->parent->size);
	CHECK(!dev->caps.sub_align || mem->origin % dev->caps.sub_align == 0);
	if (!dev->discrete) {
		mem->bytes = desc->data;
	} else if (!allocate(fake, mem) && !fake->setup.late) {
		CHECK(!fake->setup.tells);
		free(mem);
		return NO_MEMORY;
	}
	fake->objects++;
	*out = mem;
	return 0;
}

static void mem_free(struct arax_device *dev, struct arax_device_mem *mem)
{
	struct fake *fake = fake_of(dev);
	if (dev->discrete && !mem->parent && mem->bytes) {
		memset(mem->bytes, 0x5A, mem->size);
		free(mem->bytes);
		fake->used -= mem->size;
	}
	fake->objects--;
	free(mem);
}

static int program_load(struct arax_device *dev, const struct arax_program_source *source,
			struct arax_device_program **out)
{
	struct fake *fake = fake_of(dev);
	*out = calloc(1, sizeof(**out));
	CHECK(*out);
	if (!source->done)
		return 0;
	struct build *build = calloc(1, sizeof(*build));
	CHECK(build);
	build->source = *source;
	build->status = one_in(fake, fake->setup.faults.build)	? -11
			: one_in(fake, fake->setup.faults.room) ? -5
								: 0;
	build->next = fake->builds;
	fake->builds = build;
	fake->pending++;
	/* Never so many that commands have no room beside them. */
	CHECK(++fake->nbuilds <= DISCRETE_BUILDS);
	return 0;
}

static void program_free(struct arax_device *dev, struct arax_device_program *program)
{
	(void)dev;
	free(program);
}

static int kernel_new(struct arax_device *dev, struct arax_device_program *program,
		      const char *name, struct arax_device_kernel **out)
{
	(void)dev;
	(void)program;
	*out = calloc(1, sizeof(**out));
	CHECK(*out);
	snprintf((*out)->name, sizeof((*out)->name), "%s", name);
	return 0;
}

static void kernel_free(struct arax_device *dev, struct arax_device_kernel *kernel)
{
	(void)dev;
	free(kernel);
}

static int stream_new(struct arax_device *dev, struct arax_device_stream **out)
{
	struct fake *fake = fake_of(dev);
	if (fake->lost)
		return LOST;
	*out = calloc(1, sizeof(**out));
	CHECK(*out);
	(*out)->next = fake->streams;
	fake->streams = *out;
	return 0;
}

/* What it has still to do is done all the same. */
static void stream_free(struct arax_device *dev, struct arax_device_stream *stream)
{
	struct fake *fake = fake_of(dev);
	stream->freed = true;
	if (stream->first)
		return;
	for (struct arax_device_stream **s = &fake->streams; *s; s = &(*s)->next) {
		if (*s == stream) {
			*s = stream->next;
			free(stream);
			return;
		}
	}
}

/* ---- execution ------------------------------------------------------------------------------ */

static int32_t *bytes_of(struct arax_device_mem *mem)
{
	return (int32_t *)(void *)(mem->parent ? mem->parent->bytes + mem->origin : mem->bytes);
}

static void run_kernel(const struct item *item, unsigned index)
{
	discrete_run(item->kernel->name, bytes_of(item->a), item->a->size / 4, bytes_of(item->b),
		     item->b->size / 4, item->value);
	atomic_fetch_add(&discrete_launched[index], 1);
}

static bool tried(struct fake *fake, const char *kernel)
{
	for (unsigned i = 0; i < fake->ntried; i++) {
		if (!strcmp(fake->tried[i], kernel))
			return true;
	}
	CHECK(fake->ntried < 8);
	snprintf(fake->tried[fake->ntried++], sizeof(fake->tried[0]), "%s", kernel);
	return false;
}

static int execute(struct fake *fake, const struct item *item)
{
	const struct discrete_faults *faults = &fake->setup.faults;
	const struct arax_transfer *t = &item->transfer;
	if (fake->lost)
		return LOST;
	if (item->launch) {
		if (fake->dev->discrete && (!allocate(fake, item->a) || !allocate(fake, item->b) ||
					    one_in(fake, faults->no_memory)))
			return NO_MEMORY;
		if (item->refused)
			return INVALID_WORK_GROUP_SIZE;
		run_kernel(item, fake->dev->index);
		return 0;
	}
	if (!allocate(fake, t->mem))
		return NO_MEMORY;
	CHECK(!t->mem->parent && t->offset + t->size <= t->mem->size);
	char *there = t->mem->bytes + t->offset;
	if (one_in(fake, faults->transfer)) {
		memset(t->direction == ARAX_TO_DEVICE ? there : t->host, 0x77, t->size / 2);
		return OUT_OF_RESOURCES;
	}
	if (t->direction == ARAX_TO_DEVICE)
		memcpy(there, t->host, t->size);
	else
		memcpy(t->host, there, t->size);
	return 0;
}

static void advance(struct fake *fake, struct arax_device_stream *stream)
{
	struct item *item = stream->first;
	uint64_t now = arax_now_ns();
	int status = execute(fake, item);
	stream->first = item->next;
	fake->pending--;
	fake->items--;
	item->done(item->arg, status, now, arax_now_ns());
	free(item);
}

static void builds_end(struct fake *fake)
{
	while (fake->builds) {
		struct build *build = fake->builds;
		fake->builds = build->next;
		fake->pending--;
		fake->nbuilds--;
		int status = fake->lost ? LOST : build->status;
		build->source.done(build->source.arg, status, status ? "no such luck" : "");
		free(build);
	}
}

static int submit(struct arax_device *dev, struct arax_device_stream *stream,
		  const struct item *from)
{
	struct fake *fake = fake_of(dev);
	if (fake->lost)
		return LOST;
	if (fake->items && one_in(fake, fake->setup.faults.full))
		return OUT_OF_RESOURCES;
	struct item *item = malloc(sizeof(*item));
	CHECK(item);
	*item = *from;
	item->next = NULL;
	if (stream->first)
		stream->last->next = item;
	else
		stream->first = item;
	stream->last = item;
	fake->pending++;
	fake->items++;
	return 0;
}

static int launch(struct arax_device *dev, struct arax_device_stream *stream,
		  const struct arax_launch *launch)
{
	struct fake *fake = fake_of(dev);
	struct item item = {
	    .launch = true,
	    .done = launch->done,
	    .arg = launch->arg,
	    .kernel = launch->kernel,
	    .a = launch->args[0].mem,
	    .b = launch->args[1].mem,
	};
	CHECK(launch->nargs == 3 && launch->args[2].size == 4);
	memcpy(&item.value, launch->args[2].value, 4);
	if (dev->inline_launch) {
		void (*call)(void *) = atomic_exchange(&inside, NULL);
		if (call)
			call(inside_arg);
		run_kernel(&item, dev->index);
		launch->done(launch->arg, 0, arax_now_ns(), arax_now_ns());
		return 0;
	}
	if (dev->discrete && fake->setup.faults.never && !tried(fake, item.kernel->name))
		item.refused = one_in(fake, fake->setup.faults.never);
	return submit(dev, stream, &item);
}

static int transfer(struct arax_device *dev, struct arax_device_stream *stream,
		    const struct arax_transfer *transfer)
{
	const struct item item = {
	    .done = transfer->done, .arg = transfer->arg, .transfer = *transfer};
	return submit(dev, stream, &item);
}

static bool ready(const struct arax_device *dev)
{
	struct fake *fake = fake_of(dev);
	return fake->pending || (atomic_load(&fake->lose) && !fake->ended) ||
	       (!dev->index && atomic_load(&conducted));
}

static int poll_one(struct arax_device *dev)
{
	struct fake *fake = fake_of(dev);
	int n = 0;
	if (atomic_load(&fake->lose))
		fake->lost = true;
	if (fake->lost || one_in(fake, fake->setup.patience ?: 8))
		builds_end(fake);
	struct arax_device_stream *next;
	for (struct arax_device_stream *s = fake->streams; s; s = next) {
		while (s->first && (fake->lost || !one_in(fake, 3))) {
			advance(fake, s);
			n++;
		}
		next = s->next;
		if (s->freed)
			stream_free(dev, s);
	}
	if (fake->lost)
		fake->ended = true;
	return fake->lost ? -1 : n;
}

static int poll_first(struct arax_device *dev)
{
	void (*call)(void *) = atomic_load(&conducted);
	if (call) {
		call(conducted_arg);
		atomic_store(&conducted, NULL);
	}
	return poll_one(dev);
}

static const struct arax_device_ops place_ops = {
    .name = "place",
    .mem_new = mem_new,
    .mem_free = mem_free,
    .program_load = program_load,
    .program_free = program_free,
    .kernel_new = kernel_new,
    .kernel_free = kernel_free,
    .stream_new = stream_new,
    .stream_free = stream_free,
    .launch = launch,
    .poll = poll_first,
    .ready = ready,
};

static const struct arax_device_ops discrete_ops = {
    .name = "discrete",
    .mem_new = mem_new,
    .mem_free = mem_free,
    .program_load = program_load,
    .program_free = program_free,
    .kernel_new = kernel_new,
    .kernel_free = kernel_free,
    .stream_new = stream_new,
    .stream_free = stream_free,
    .launch = launch,
    .transfer = transfer,
    .poll = poll_one,
    .ready = ready,
};

void discrete_place(struct arax_device devices[2], uint64_t seed)
{
	for (unsigned i = 0; i < 2; i++) {
		fakes[i] = (struct fake){.dev = &devices[i], .seed = seed + i};
		devices[i] = (struct arax_device){.ops = &place_ops,
						  .index = i,
						  .inline_launch = i == 0,
						  .parallel = 1,
						  .priv = &fakes[i]};
		snprintf(devices[i].name, sizeof(devices[i].name), "place%u", i);
		atomic_store(&discrete_launched[i], 0);
	}
}

void discrete_open(unsigned n, const struct discrete_setup *setup, uint64_t seed,
		   struct arax_device *dev)
{
	struct fake *fake = &fakes[2 + n];
	static struct arax_device kept[DISCRETE_MAX];
	*dev = (struct arax_device){
	    .ops = &discrete_ops,
	    .index = 2 + n,
	    .discrete = true,
	    .parallel = 4,
	    .caps = {.features = ARAX_FEATURE_RESULT | ARAX_FEATURE_IMAGES,
		     .memory = setup->tells ? setup->memory : 0,
		     .sub_align = n == 1 ? 1024 : 0,
		     .max_group = 64},
	    .priv = fake,
	};
	snprintf(dev->name, sizeof(dev->name), "far%u", n);
	kept[n] = *dev;
	*fake = (struct fake){.dev = &kept[n], .setup = *setup, .seed = seed};
}

void discrete_lose(unsigned n)
{
	atomic_store(&fakes[2 + n].lose, true);
}

void discrete_conduct(void (*call)(void *arg), void *arg)
{
	conducted_arg = arg;
	atomic_store(&conducted, call);
	while (atomic_load(&conducted))
		;
}

void discrete_inside(void (*call)(void *arg), void *arg)
{
	inside_arg = arg;
	atomic_store(&inside, call);
}

unsigned discrete_objects(unsigned n)
{
	return fakes[2 + n].objects;
}
