/* SPDX-License-Identifier: Apache-2.0
 *
 * Results of builds as the compiler gives them and as an application hands them to
 * clCreateProgramWithBinary(). What is accepted is canonical: written again it is the same bytes.
 *
 * Input: the result.
 */
#include "transport/fuzz.h"

#include <errno.h>
#include <string.h>

#include "transport/build.h"

static unsigned long accepted;

static void names_verify(const struct arax_result *result)
{
	char buffer[ARAX_KERNEL_NAME_SHORT];

	for (uint32_t i = 0; i < result->nkernels; i++) {
		const char *name = arax_kernel_short_name(result->kernels[i].name, buffer);

		CHECK(strlen(name) <= ARAX_KERNEL_NAME_LONG);
		for (uint32_t j = 0; j < result->kernels[i].nargs; j++)
			CHECK(result->kernels[i].args[j].name);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arax_result *result = arax_result_parse(data, size);
	struct arax_writer w = {0};

	if (!result) {
		CHECK(errno == EPROTO || errno == ENOMEM);
		return 0;
	}
	names_verify(result);
	for (const struct arax_variant *v = NULL;
	     (v = arax_result_variant(result, ARAX_VARIANT_SOURCE, NULL, "pocl", v));)
		CHECK(v->size == 0 || v->data);
	arax_result_write(&w, result);
	CHECK(!w.failed && w.size == size && !memcmp(w.data, data, size));
	arax_writer_free(&w);
	arax_result_free(result);
	accepted++;
	return 0;
}

static char *text(uint64_t *random, size_t most)
{
	size_t size = test_random(random) % (most + 1);
	char *string = malloc(size + 1);

	CHECK(string);
	memset(string, 'a' + (int)(test_random(random) % 26), size);
	string[size] = '\0';
	return string;
}

static void *array(uint32_t count, size_t item)
{
	void *items = count ? calloc(count, item) : NULL;

	CHECK(items || !count);
	return items;
}

static void kernel_make(struct arax_kernel_info *kernel, uint64_t *random)
{
	kernel->name = text(random, 300);
	kernel->attributes = text(random, 40);
	kernel->group_size = test_random(random);
	kernel->nargs = (uint32_t)(test_random(random) % 4);
	kernel->args = array(kernel->nargs, sizeof(*kernel->args));
	for (uint32_t i = 0; i < kernel->nargs; i++) {
		kernel->args[i].name = text(random, 10);
		kernel->args[i].type_name = text(random, 10);
		kernel->args[i].size = test_random(random);
	}
}

static void variant_make(struct arax_variant *variant, uint64_t *random)
{
	variant->kernel = text(random, 20);
	variant->section = text(random, 20);
	variant->targets = text(random, 20);
	variant->format = text(random, 6);
	variant->options = text(random, 20);
	variant->kind = (uint32_t)(test_random(random) % (ARAX_VARIANT_REFUSED + 1));
	variant->rules.local[1] = test_random(random);
	variant->data = "variant";
	variant->size = test_random(random) % 8;
}

/* A result of random shape with no mistake in it. */
static size_t result_make(uint8_t *data, size_t max, uint64_t *random)
{
	struct arax_result *result = array(1, sizeof(*result));
	struct arax_writer w = {0};
	size_t size;

	result->binary_type = (uint32_t)(test_random(random) % 5);
	result->options = text(random, 30);
	result->log = text(random, 100);
	result->ntargets = (uint32_t)(test_random(random) % 3);
	result->targets = array(result->ntargets, sizeof(*result->targets));
	for (uint32_t i = 0; i < result->ntargets; i++)
		result->targets[i].device = text(random, 12);
	result->nkernels = (uint32_t)(test_random(random) % 4);
	result->kernels = array(result->nkernels, sizeof(*result->kernels));
	for (uint32_t i = 0; i < result->nkernels; i++)
		kernel_make(&result->kernels[i], random);
	result->binary = "binary";
	result->binary_size = test_random(random) % 7;
	result->nvariants = (uint32_t)(test_random(random) % 3);
	result->variants = array(result->nvariants, sizeof(*result->variants));
	for (uint32_t i = 0; i < result->nvariants; i++)
		variant_make(&result->variants[i], random);
	arax_result_write(&w, result);
	CHECK(!w.failed);
	size = w.size <= max ? w.size : 0;
	memcpy(data, w.data, size);
	arax_writer_free(&w);
	arax_result_free(result);
	return size;
}

/* Lengths and counts are what matters, and a wrong one is mostly the end: now and then a good
 * input. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	static const uint64_t lengths[] = {
	    0, 1, 8, UINT32_MAX, 1ull << 31, UINT64_MAX, UINT64_MAX - 7};
	uint64_t random = seed, length;

	switch (test_random(&random) % 8) {
	case 0:
		size = result_make(data, max, &random);
		return size ? size : LLVMFuzzerMutate(data, size, max);
	case 1:
	case 2:
		if (size < sizeof(length))
			break;
		length = lengths[test_random(&random) % (sizeof(lengths) / sizeof(*lengths))];
		memcpy(data + test_random(&random) % (size - sizeof(length) + 1), &length,
		       test_random(&random) % 2 ? 4 : 8);
		return size;
	}
	return LLVMFuzzerMutate(data, size, max);
}

size_t fuzz_seed(unsigned n, uint8_t *data, size_t max, char *name)
{
	uint64_t random = n;

	snprintf(name, 32, "result-%u", n);
	return n < 8 ? result_make(data, max, &random) : 0;
}

void fuzz_reached(void)
{
	CHECK(accepted);
}
