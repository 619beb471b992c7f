/*
 * Random commands of every sort over shared buffers, sub-buffers and images, against a reference
 * that executes them one after the other on the host. Whatever devices the commands land on, and
 * wherever the contents are meanwhile, nobody may be able to tell: everything is in integers, so
 * every byte must be right. FANOUT_SEED and FANOUT_COMMANDS choose another sequence or a longer
 * one.
 */
#include "cltest.h"

#define NBUFFERS 6
#define NSUBS 2
#define NIMAGES 2
#define ELEMENTS 16384 /* of the largest buffer */
#define WIDTH 64
#define HEIGHT 48
#define GROUP 64
#define PENDING 64 /* reads whose outcome is looked at later */

static const char source[] =
    "kernel void blend(global const uint *a, global const uint *b, global uint *c, uint k)\n"
    "{ size_t i = get_global_id(0); c[i] = a[i] * k + b[i]; }\n"
    "kernel void bump(global uint *p, uint k)\n"
    "{ size_t i = get_global_id(0); p[i] = p[i] * k + (uint)i; }\n"
    "kernel void evens(global uint *p, uint k)\n"
    "{ size_t i = get_global_id(0); p[2 * i] = k + (uint)i; }\n"
    "kernel void reverse(global uint *p, local uint *t)\n"
    "{ size_t l = get_local_id(0), n = get_local_size(0); t[l] = p[get_global_id(0)];\n"
    "  barrier(CLK_LOCAL_MEM_FENCE); p[get_global_id(0)] = t[n - 1 - l]; }\n"
    "kernel void count(global const uint *p, global uint *bins)\n"
    "{ atomic_add(&bins[p[get_global_id(0)] & 31], 1u); }\n"
    "kernel void to_image(global const uint *p, write_only image2d_t m)\n"
    "{ int x = get_global_id(0), y = get_global_id(1); uint v = p[y * get_global_size(0) + x];\n"
    "  write_imageui(m, (int2)(x, y), (uint4)(v & 255, v >> 8 & 255, v >> 16 & 255, v >> 24)); }\n"
    "kernel void from_image(read_only image2d_t m, global uint *p)\n"
    "{ const sampler_t s = CLK_NORMALIZED_COORDS_FALSE | CLK_ADDRESS_CLAMP | CLK_FILTER_NEAREST;\n"
    "  int x = get_global_id(0), y = get_global_id(1); uint4 v = read_imageui(m, s, (int2)(x, "
    "y));\n"
    "  p[y * get_global_size(0) + x] += v.x | v.y << 8 | v.z << 16 | v.w << 24; }\n";

enum { BLEND, BUMP, EVENS, REVERSE, COUNT, TO_IMAGE, FROM_IMAGE, NKERNELS };
static const char *const names[NKERNELS] = {"blend", "bump",	 "evens",     "reverse",
					    "count", "to_image", "from_image"};

/* A buffer, or a part of one: a range of elements of its buffer's reference. */
struct view {
	cl_mem mem;
	cl_uint *ref;
	size_t n;
};

struct pending {
	void *got, *expected;
	size_t size;
	unsigned command;
};

struct fanout {
	struct cl cl;
	cl_command_queue other; /* in order, too; the two wait for each other by events */
	cl_command_queue q;
	cl_kernel kernels[NKERNELS];
	bool images;
	size_t align; /* elements */
	cl_uint *refs[NBUFFERS], *host[NBUFFERS];
	struct view views[NBUFFERS * (1 + NSUBS)];
	cl_mem image[NIMAGES];
	cl_uint image_ref[NIMAGES][WIDTH * HEIGHT];
	struct pending pending[PENDING];
	unsigned npending, command;
	uint64_t random;
};

static uint32_t draw(struct fanout *f)
{
	f->random = f->random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(f->random >> 33);
}

static size_t below(struct fanout *f, size_t n)
{
	return draw(f) % n;
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* ---- what is not looked at before the queues have finished ---------------------------------- */

static void settle(struct fanout *f)
{
	CHECK_CL(clFinish(f->cl.q));
	CHECK_CL(clFinish(f->other));
	for (unsigned i = 0; i < f->npending; i++) {
		struct pending *p = &f->pending[i];

		if (p->expected && memcmp(p->got, p->expected, p->size))
			FAIL("command %u: a read of %zu bytes is wrong (seen at %u)", p->command,
			     p->size, f->command);
		free(p->got);
		free(p->expected);
	}
	f->npending = 0;
}

/* Memory that a command uses until the next settle(); expected: what it will hold, or NULL. */
static void *later(struct fanout *f, size_t size, const void *expected)
{
	if (f->npending == PENDING)
		settle(f);
	struct pending *p = &f->pending[f->npending++];
	*p = (struct pending){.got = malloc(size), .size = size, .command = f->command};
	CHECK(p->got);
	if (expected) {
		p->expected = malloc(size);
		CHECK(p->expected);
		memcpy(p->expected, expected, size);
	}
	return p->got;
}

/* ---- objects -------------------------------------------------------------------------------- */

static struct view *any_view(struct fanout *f)
{
	return &f->views[below(f, ARRAY_SIZE(f->views))];
}

static void buffer_make(struct fanout *f, unsigned b)
{
	struct view *views = &f->views[b * (1 + NSUBS)];
	size_t n = (size_t)ELEMENTS >> (b % 3);
	cl_mem_flags flags = CL_MEM_COPY_HOST_PTR;

	cltest_pattern(f->refs[b], n * sizeof(cl_uint), draw(f));
	memcpy(f->host[b], f->refs[b], n * sizeof(cl_uint));
	if (b == 1)
		flags = CL_MEM_USE_HOST_PTR;
	views[0] = (struct view){.ref = f->refs[b], .n = n};
	views[0].mem = cltest_buffer(f->cl.ctx, flags, n * sizeof(cl_uint), f->host[b]);
	for (unsigned s = 1; s <= NSUBS; s++) {
		size_t blocks = n / f->align, first = below(f, blocks - 1);
		size_t length = (1 + below(f, blocks - first)) * f->align;
		cl_buffer_region region = {first * f->align * sizeof(cl_uint), 0};

		length = smaller(length, n - first * f->align);
		region.size = length * sizeof(cl_uint);
		views[s] = (struct view){.ref = f->refs[b] + first * f->align, .n = length};
		views[s].mem = MUST(clCreateSubBuffer(views[0].mem, 0, CL_BUFFER_CREATE_TYPE_REGION,
						      &region, &ERR));
	}
}

static void buffer_drop(struct fanout *f, unsigned b)
{
	for (unsigned s = 0; s <= NSUBS; s++)
		CHECK_CL(clReleaseMemObject(f->views[b * (1 + NSUBS) + s].mem));
}

static void images_make(struct fanout *f)
{
	const cl_image_format format = {CL_RGBA, CL_UNSIGNED_INT8};
	const cl_image_desc desc = {
	    .image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = WIDTH, .image_height = HEIGHT};

	f->images = INFO(cl_bool, clGetDeviceInfo, cltest_device, CL_DEVICE_IMAGE_SUPPORT);
	for (int i = 0; f->images && i < NIMAGES; i++) {
		cltest_pattern(f->image_ref[i], sizeof(f->image_ref[i]), draw(f));
		f->image[i] = MUST(clCreateImage(f->cl.ctx, CL_MEM_COPY_HOST_PTR, &format, &desc,
						 f->image_ref[i], &ERR));
	}
}

/* ---- kernels -------------------------------------------------------------------------------- */

static void launch(struct fanout *f, int kernel, cl_uint dim, const size_t *offset,
		   const size_t *global, const size_t *local)
{
	CHECK_CL(clEnqueueNDRangeKernel(f->q, f->kernels[kernel], dim, offset, global, local, 0,
					NULL, NULL));
}

static bool apart(const struct view *a, const struct view *b)
{
	return a->ref + a->n <= b->ref || b->ref + b->n <= a->ref;
}

static void do_blend(struct fanout *f)
{
	struct view *a = any_view(f), *b = any_view(f), *c = any_view(f);
	size_t n = smaller(a->n, smaller(b->n, c->n));
	cl_uint k = draw(f);

	/* what it reads and what it writes may be the same, but not shifted */
	if ((a != c && !apart(a, c)) || (b != c && !apart(b, c)))
		return;
	cltest_arg(f->kernels[BLEND], 0, sizeof(cl_mem), &a->mem);
	cltest_arg(f->kernels[BLEND], 1, sizeof(cl_mem), &b->mem);
	cltest_arg(f->kernels[BLEND], 2, sizeof(cl_mem), &c->mem);
	cltest_arg(f->kernels[BLEND], 3, sizeof(k), &k);
	launch(f, BLEND, 1, NULL, &n, NULL);
	for (size_t i = 0; i < n; i++)
		c->ref[i] = a->ref[i] * k + b->ref[i];
}

static void do_bump(struct fanout *f)
{
	struct view *v = any_view(f);
	size_t first = below(f, v->n), n = 1 + below(f, v->n - first);
	cl_uint k = draw(f);

	cltest_arg(f->kernels[BUMP], 0, sizeof(cl_mem), &v->mem);
	cltest_arg(f->kernels[BUMP], 1, sizeof(k), &k);
	launch(f, BUMP, 1, &first, &n, NULL);
	for (size_t i = first; i < first + n; i++)
		v->ref[i] = v->ref[i] * k + (cl_uint)i;
}

static void do_evens(struct fanout *f)
{
	struct view *v = any_view(f);
	size_t n = v->n / 2;
	cl_uint k = draw(f);

	cltest_arg(f->kernels[EVENS], 0, sizeof(cl_mem), &v->mem);
	cltest_arg(f->kernels[EVENS], 1, sizeof(k), &k);
	launch(f, EVENS, 1, NULL, &n, NULL);
	for (size_t i = 0; i < n; i++)
		v->ref[2 * i] = k + (cl_uint)i;
}

static void do_reverse(struct fanout *f)
{
	struct view *v = any_view(f);
	size_t local = GROUP, n = v->n / local * local;

	cltest_arg(f->kernels[REVERSE], 0, sizeof(cl_mem), &v->mem);
	cltest_arg(f->kernels[REVERSE], 1, local * sizeof(cl_uint), NULL);
	launch(f, REVERSE, 1, NULL, &n, &local);
	for (size_t g = 0; g < n; g += local) {
		for (size_t i = 0; i < local / 2; i++) {
			cl_uint t = v->ref[g + i];

			v->ref[g + i] = v->ref[g + local - 1 - i];
			v->ref[g + local - 1 - i] = t;
		}
	}
}

static void do_count(struct fanout *f)
{
	struct view *p = any_view(f), *bins = any_view(f);
	size_t n = p->n;

	if (!apart(p, bins))
		return;
	cltest_arg(f->kernels[COUNT], 0, sizeof(cl_mem), &p->mem);
	cltest_arg(f->kernels[COUNT], 1, sizeof(cl_mem), &bins->mem);
	launch(f, COUNT, 1, NULL, &n, NULL);
	for (size_t i = 0; i < n; i++)
		bins->ref[p->ref[i] & 31]++;
}

static void do_image_kernel(struct fanout *f)
{
	const size_t global[2] = {WIDTH, HEIGHT};
	size_t i = below(f, NIMAGES);
	struct view *v = any_view(f);
	cl_uint *image = f->image_ref[i];
	bool to = draw(f) & 1;
	cl_kernel k = f->kernels[to ? TO_IMAGE : FROM_IMAGE];

	if (!f->images || v->n < WIDTH * HEIGHT)
		return;
	cltest_arg(k, 0, sizeof(cl_mem), to ? &v->mem : &f->image[i]);
	cltest_arg(k, 1, sizeof(cl_mem), to ? &f->image[i] : &v->mem);
	launch(f, to ? TO_IMAGE : FROM_IMAGE, 2, NULL, global, NULL);
	for (size_t e = 0; e < WIDTH * HEIGHT; e++) {
		if (to)
			image[e] = v->ref[e];
		else
			v->ref[e] += image[e];
	}
}

/* ---- other commands ------------------------------------------------------------------------- */

struct range {
	struct view *view;
	size_t first, n, offset, size; /* elements; bytes */
};

static struct range any_range(struct fanout *f)
{
	struct view *v = any_view(f);
	size_t first = below(f, v->n), n = 1 + below(f, v->n - first);

	return (struct range){v, first, n, first * sizeof(cl_uint), n * sizeof(cl_uint)};
}

static void do_write(struct fanout *f)
{
	struct range r = any_range(f);
	cl_bool blocking = draw(f) & 1;
	cl_uint *data = later(f, r.size, NULL);

	cltest_pattern(data, r.size, draw(f));
	CHECK_CL(clEnqueueWriteBuffer(f->q, r.view->mem, blocking, r.offset, r.size, data, 0, NULL,
				      NULL));
	memcpy(r.view->ref + r.first, data, r.size);
}

static void do_read(struct fanout *f)
{
	struct range r = any_range(f);
	cl_bool blocking = draw(f) & 1;
	void *data = later(f, r.size, r.view->ref + r.first);

	CHECK_CL(clEnqueueReadBuffer(f->q, r.view->mem, blocking, r.offset, r.size, data, 0, NULL,
				     NULL));
	if (blocking && memcmp(data, r.view->ref + r.first, r.size))
		FAIL("command %u: a blocking read is wrong", f->command);
}

/* A rectangle of rows of 64 elements. */
static void do_rect(struct fanout *f)
{
	struct view *v = any_view(f);
	const size_t pitch = 64 * sizeof(cl_uint);
	size_t rows = v->n / 64, x = below(f, 60), w = 1 + below(f, 64 - x);
	bool write = draw(f) & 1;

	if (!rows)
		return;
	size_t y = below(f, rows), h = 1 + below(f, rows - y);
	const size_t origin[3] = {x * sizeof(cl_uint), y, 0}, zero[3] = {0};
	const size_t region[3] = {w * sizeof(cl_uint), h, 1};
	cl_uint *expected = malloc(w * h * sizeof(cl_uint));

	CHECK(expected);
	if (write)
		cltest_pattern(expected, w * h * sizeof(cl_uint), draw(f));
	for (size_t row = 0; row < h; row++) {
		cl_uint *ref = v->ref + (y + row) * 64 + x;

		if (write)
			memcpy(ref, expected + row * w, region[0]);
		else
			memcpy(expected + row * w, ref, region[0]);
	}
	cl_uint *data = later(f, w * h * sizeof(cl_uint), expected);
	if (write) {
		memcpy(data, expected, w * h * sizeof(cl_uint));
		CHECK_CL(clEnqueueWriteBufferRect(f->q, v->mem, CL_FALSE, origin, zero, region,
						  pitch, 0, 0, 0, data, 0, NULL, NULL));
	} else {
		CHECK_CL(clEnqueueReadBufferRect(f->q, v->mem, CL_FALSE, origin, zero, region,
						 pitch, 0, 0, 0, data, 0, NULL, NULL));
	}
	free(expected);
}

static void do_copy(struct fanout *f)
{
	struct range from = any_range(f), to = any_range(f);
	size_t n = smaller(from.n, to.n);
	cl_uint *a = from.view->ref + from.first, *b = to.view->ref + to.first;

	if (a < b + n && b < a + n)
		return;
	CHECK_CL(clEnqueueCopyBuffer(f->q, from.view->mem, to.view->mem, from.offset, to.offset,
				     n * sizeof(cl_uint), 0, NULL, NULL));
	memcpy(b, a, n * sizeof(cl_uint));
}

static void do_fill(struct fanout *f)
{
	struct range r = any_range(f);
	cl_uint value = draw(f);

	CHECK_CL(clEnqueueFillBuffer(f->q, r.view->mem, &value, sizeof(value), r.offset, r.size, 0,
				     NULL, NULL));
	for (size_t i = 0; i < r.n; i++)
		r.view->ref[r.first + i] = value;
}

static void do_map(struct fanout *f)
{
	static const cl_map_flags ways[] = {CL_MAP_READ, CL_MAP_WRITE, CL_MAP_READ | CL_MAP_WRITE,
					    CL_MAP_WRITE_INVALIDATE_REGION};
	struct range r = any_range(f);
	cl_map_flags flags = ways[below(f, ARRAY_SIZE(ways))];
	cl_uint *data = MUST(clEnqueueMapBuffer(f->q, r.view->mem, CL_TRUE, flags, r.offset, r.size,
						0, NULL, NULL, &ERR));

	if (!(flags & CL_MAP_WRITE_INVALIDATE_REGION) &&
	    memcmp(data, r.view->ref + r.first, r.size))
		FAIL("command %u: a map shows something else", f->command);
	if (flags & CL_MAP_WRITE_INVALIDATE_REGION)
		cltest_pattern(data, r.size, draw(f));
	else if (flags & CL_MAP_WRITE)
		data[below(f, r.n)] ^= draw(f);
	if (flags != CL_MAP_READ)
		memcpy(r.view->ref + r.first, data, r.size);
	CHECK_CL(clEnqueueUnmapMemObject(f->q, r.view->mem, data, 0, NULL, NULL));
}

static void do_image(struct fanout *f)
{
	size_t i = below(f, NIMAGES), x = below(f, WIDTH), y = below(f, HEIGHT);
	const size_t origin[3] = {x, y, 0};
	const size_t region[3] = {1 + below(f, WIDTH - x), 1 + below(f, HEIGHT - y), 1};
	size_t size = region[0] * region[1] * sizeof(cl_uint);
	cl_uint *ref = f->image_ref[i] + y * WIDTH + x;
	bool write = draw(f) & 1;

	if (!f->images)
		return;
	cl_uint *box = malloc(size);
	CHECK(box);
	if (write)
		cltest_pattern(box, size, draw(f));
	for (size_t row = 0; row < region[1]; row++) {
		if (write)
			memcpy(ref + row * WIDTH, box + row * region[0],
			       region[0] * sizeof(cl_uint));
		else
			memcpy(box + row * region[0], ref + row * WIDTH,
			       region[0] * sizeof(cl_uint));
	}
	cl_uint *data = later(f, size, box);
	if (write) {
		memcpy(data, box, size);
		CHECK_CL(clEnqueueWriteImage(f->q, f->image[i], CL_FALSE, origin, region, 0, 0,
					     data, 0, NULL, NULL));
	} else {
		CHECK_CL(clEnqueueReadImage(f->q, f->image[i], CL_FALSE, origin, region, 0, 0, data,
					    0, NULL, NULL));
	}
	free(box);
}

/* A released buffer may still be in use, and its memory becomes somebody else's. */
static void do_renew(struct fanout *f)
{
	unsigned b = (unsigned)below(f, NBUFFERS);

	if (b == 1) /* its memory is the application's */
		settle(f);
	buffer_drop(f, b);
	buffer_make(f, b);
}

static void do_order(struct fanout *f)
{
	switch (below(f, 4)) {
	case 0:
		CHECK_CL(clEnqueueBarrierWithWaitList(f->q, 0, NULL, NULL));
		break;
	case 1:
		CHECK_CL(clFlush(f->q));
		break;
	case 2:
		CHECK_CL(clEnqueueMarkerWithWaitList(f->q, 0, NULL, NULL));
		break;
	default:
		settle(f);
	}
}

/* What comes next is enqueued in the other queue, behind all that was. */
static void do_change(struct fanout *f)
{
	cl_event event;

	CHECK_CL(clEnqueueMarkerWithWaitList(f->q, 0, NULL, &event));
	f->q = f->q == f->other ? f->cl.q : f->other;
	CHECK_CL(clEnqueueBarrierWithWaitList(f->q, 1, &event, NULL));
	CHECK_CL(clReleaseEvent(event));
}

static void (*const actions[])(struct fanout *f) = {
    do_blend, do_blend, do_bump, do_bump, do_evens, do_reverse, do_count,  do_image_kernel,
    do_write, do_read,	do_rect, do_copy, do_fill,  do_map,	do_image,  do_renew,
    do_order, do_blend, do_bump, do_read, do_write, do_evens,	do_change, do_image_kernel,
};

static unsigned setting(const char *name, unsigned otherwise)
{
	const char *value = getenv(name);

	return value && *value ? (unsigned)strtoul(value, NULL, 10) : otherwise;
}

static void open_all(struct fanout *f, unsigned seed)
{
	f->random = seed * 0x9E3779B97F4A7C15u + 1;
	f->cl = cl_open(0);
	f->other = cltest_queue(f->cl.ctx, 0);
	f->q = f->cl.q;
	f->align =
	    INFO(cl_uint, clGetDeviceInfo, cltest_device, CL_DEVICE_MEM_BASE_ADDR_ALIGN) / 32;
	f->align = f->align < GROUP ? GROUP : f->align;
	/* where only devices are allowed that want more than the virtual device says */
	f->align = smaller(ELEMENTS / 16, f->align * setting("FANOUT_ALIGN", 1));
	cl_program program = cltest_build(f->cl.ctx, source, "");
	for (int k = 0; k < NKERNELS; k++)
		f->kernels[k] = cltest_kernel(program, names[k]);
	CHECK_CL(clReleaseProgram(program));
	for (unsigned b = 0; b < NBUFFERS; b++) {
		f->refs[b] = calloc(ELEMENTS, sizeof(cl_uint));
		f->host[b] = aligned_alloc(4096, ELEMENTS * sizeof(cl_uint));
		CHECK(f->refs[b] && f->host[b]);
		buffer_make(f, b);
	}
	images_make(f);
}

static void check_everything(struct fanout *f)
{
	const size_t origin[3] = {0}, region[3] = {WIDTH, HEIGHT, 1};
	static cl_uint got[ELEMENTS];

	settle(f);
	for (unsigned b = 0; b < NBUFFERS; b++) {
		struct view *v = &f->views[b * (1 + NSUBS)];

		CHECK_CL(clEnqueueReadBuffer(f->q, v->mem, CL_TRUE, 0, v->n * sizeof(cl_uint), got,
					     0, NULL, NULL));
		for (size_t i = 0; i < v->n; i++) {
			if (got[i] != v->ref[i])
				FAIL("buffer %u: element %zu is %08x, not %08x", b, i, got[i],
				     v->ref[i]);
		}
	}
	for (int i = 0; f->images && i < NIMAGES; i++) {
		CHECK_CL(clEnqueueReadImage(f->q, f->image[i], CL_TRUE, origin, region, 0, 0, got,
					    0, NULL, NULL));
		CHECK(!memcmp(got, f->image_ref[i], sizeof(f->image_ref[i])));
	}
}

static void close_all(struct fanout *f)
{
	for (unsigned b = 0; b < NBUFFERS; b++)
		buffer_drop(f, b);
	for (int i = 0; f->images && i < NIMAGES; i++)
		CHECK_CL(clReleaseMemObject(f->image[i]));
	for (int k = 0; k < NKERNELS; k++)
		CHECK_CL(clReleaseKernel(f->kernels[k]));
	CHECK_CL(clReleaseCommandQueue(f->other));
	cl_close(&f->cl);
	for (unsigned b = 0; b < NBUFFERS; b++) {
		free(f->refs[b]);
		free(f->host[b]);
	}
}

static void run(unsigned seed, unsigned commands)
{
	struct fanout *f = calloc(1, sizeof(*f));

	CHECK(f);
	open_all(f, seed);
	for (f->command = 0; f->command < commands; f->command++) {
		actions[below(f, ARRAY_SIZE(actions))](f);
		if (f->command % 500 == 499)
			check_everything(f);
	}
	check_everything(f);
	close_all(f);
	free(f);
}

static void test_random(void)
{
	run(setting("FANOUT_SEED", 1), setting("FANOUT_COMMANDS", 3000));
}

static void test_another(void)
{
	run(setting("FANOUT_SEED", 1) + 1000, setting("FANOUT_COMMANDS", 3000) / 2);
}

static const struct cltest tests[] = {
    TEST(random),
    TEST(another),
};

CLTEST_MAIN(tests)
