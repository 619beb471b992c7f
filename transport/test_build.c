/* SPDX-License-Identifier: Apache-2.0
 *
 * Build results: what was written is read back, every truncation is refused, and no mutation
 * makes the parser read outside its input or leak (the sanitizers watch).
 */
#include "transport/build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/testing.h"

static void sample_write(struct arax_writer *w, bool variants)
{
	struct arax_variant list[] = {{.kernel = "saxpy",
				       .section = "saxpy-cpu",
				       .targets = "pocl rusticl",
				       .format = "",
				       .options = "-DX",
				       .kind = ARAX_VARIANT_SOURCE,
				       .rules = {.local = {1, 2, 3}, .global_multiple = {64}},
				       .data = "text",
				       .size = 4},
				      {.kernel = "empty",
				       .section = "e",
				       .targets = "any",
				       .format = "ptx",
				       .options = "",
				       .kind = ARAX_VARIANT_BINARY,
				       .flags = 8}};
	struct arax_arg_info args[] = {{"x", "float*", 0x119B, 0x11A3, 1, 8},
				       {"n", "int", 0x119E, 0x11A3, 0, 4},
				       {NULL, "", 0x119C, 0x11A3, 0, 0}};
	struct arax_kernel_info kernels[] = {
	    {"saxpy", "reqd_work_group_size(8,8,1)", {8, 8, 1}, 128, 64, 1024, 16, 3, args},
	    {"empty", "", {0, 0, 0}, 0, 0, 4096, 8, 0, NULL}};
	struct arax_target targets[] = {{"cpu", 0x1122334455667788u}, {"gpu0", 7}};
	struct arax_result result = {.error = -11,
				     .binary_type = 4,
				     .flags = ARAX_RESULT_PRINTF,
				     .options = "-DN=3",
				     .log = "warning: none\n",
				     .ntargets = 2,
				     .targets = targets,
				     .global_variable_size = 99,
				     .nkernels = 2,
				     .kernels = kernels,
				     .binary = "\0\1\2binary",
				     .binary_size = 9,
				     .nvariants = variants ? 2 : 0,
				     .variants = list};

	arax_result_write(w, &result);
	CHECK(!w->failed);
}

static void test_round_trip(const struct arax_writer *w)
{
	struct arax_result *r = arax_result_parse(w->data, w->size);
	struct arax_writer again = {0};

	CHECK(r && r->error == -11 && r->binary_type == 4 &&
	      (r->flags & ~ARAX_RESULT_VARIANTS) == ARAX_RESULT_PRINTF);
	CHECK(!strcmp(r->options, "-DN=3") && !strcmp(r->log, "warning: none\n"));
	CHECK(r->ntargets == 2 && !strcmp(r->targets[1].device, "gpu0"));
	CHECK(r->targets[0].id == 0x1122334455667788u && r->targets[1].id == 7);
	CHECK(r->global_variable_size == 99 && r->nkernels == 2);
	CHECK(!strcmp(r->kernels[0].name, "saxpy") && r->kernels[0].required_group[1] == 8);
	CHECK(r->kernels[0].local_mem == 128 && r->kernels[0].private_mem == 64);
	CHECK(r->kernels[0].group_size == 1024 && r->kernels[0].preferred_multiple == 16);
	CHECK(r->kernels[0].nargs == 3 && !strcmp(r->kernels[0].args[0].type_name, "float*"));
	CHECK(r->kernels[0].args[1].size == 4 && !strcmp(r->kernels[0].args[2].name, ""));
	CHECK(r->kernels[1].nargs == 0 && r->kernels[1].group_size == 4096);
	CHECK(r->binary_size == 9 && !memcmp(r->binary, "\0\1\2binary", 9));
	/* Canonical: writing what was read gives the same bytes. */
	arax_result_write(&again, r);
	CHECK(again.size == w->size && !memcmp(again.data, w->data, w->size));
	arax_writer_free(&again);
	arax_result_free(r);
}

static void test_variants(const struct arax_writer *w)
{
	struct arax_result *r = arax_result_parse(w->data, w->size);
	const struct arax_variant *v;
	struct arax_writer none = {0};

	CHECK(r && r->flags & ARAX_RESULT_VARIANTS && r->nvariants == 2);
	v = arax_result_variant(r, ARAX_VARIANT_SOURCE, NULL, "rusticl", NULL);
	CHECK(v && !strcmp(v->kernel, "saxpy") && !strcmp(v->section, "saxpy-cpu"));
	CHECK(v->rules.local[2] == 3 && v->rules.global_multiple[0] == 64);
	CHECK(v->size == 4 && !memcmp(v->data, "text", 4) && !strcmp(v->options, "-DX"));
	CHECK(!arax_result_variant(r, ARAX_VARIANT_SOURCE, NULL, "rusticl", v));
	CHECK(!arax_result_variant(r, ARAX_VARIANT_SOURCE, "empty", "rusticl", NULL));
	CHECK(!arax_result_variant(r, ARAX_VARIANT_SOURCE, NULL, "rust", NULL));
	v = arax_result_variant(r, ARAX_VARIANT_BINARY, "empty", "cuda", NULL);
	CHECK(v && v->flags == 8 && !v->size && !strcmp(v->format, "ptx"));
	/* The flag without variants, and a kind that there is not. */
	r->nvariants = 0;
	arax_result_write(&none, r);
	CHECK(none.size < w->size && !(none.data[16] & ARAX_RESULT_VARIANTS));
	none.data[16] |= ARAX_RESULT_VARIANTS;
	CHECK(!arax_result_parse(none.data, none.size) && errno == EPROTO);
	arax_write_u32(&none, 0);
	CHECK(!arax_result_parse(none.data, none.size) && errno == EPROTO);
	arax_writer_free(&none);
	r->nvariants = 2;
	r->variants[1].kind = ARAX_VARIANT_REFUSED + 1;
	arax_result_write(&none, r);
	CHECK(!arax_result_parse(none.data, none.size) && errno == EPROTO);
	arax_writer_free(&none);
	arax_result_free(r);
}

static struct arax_result *parse_exact(const void *data, size_t size, unsigned char **copy)
{
	*copy = malloc(size ? size : 1);
	CHECK(*copy);
	memcpy(*copy, data, size);
	return arax_result_parse(*copy, size);
}

/* Which launches a variant takes, and the work-group that it gets when the tenant chooses. */
static void test_rules(void)
{
	const struct arax_variant_rules none = {0}, exact = {.local = {16, 4}},
					some = {.local_multiple = {8}, .global_multiple = {64}};
	const size_t global[] = {64, 8, 1}, odd[] = {72, 9, 1}, local[] = {16, 4, 1},
		     other[] = {8, 4, 1}, uneven[] = {4, 1, 1};
	size_t chosen[3];

	CHECK(arax_rules_allow(&none, 3, odd, NULL, chosen) && !chosen[0]);
	CHECK(arax_rules_allow(&none, 2, odd, other, chosen));
	CHECK(arax_rules_allow(&exact, 2, global, local, chosen) && !chosen[0]);
	CHECK(!arax_rules_allow(&exact, 2, global, other, chosen));
	/* A dimension that the launch does not have is one item, in a group of one. */
	CHECK(!arax_rules_allow(&exact, 1, global, local, chosen));
	CHECK(arax_rules_allow(&exact, 2, global, NULL, chosen) && chosen[0] == 16 &&
	      chosen[1] == 4 && chosen[2] == 0);
	CHECK(!arax_rules_allow(&exact, 2, odd, NULL, chosen));
	CHECK(arax_rules_allow(&some, 2, global, other, chosen));
	CHECK(!arax_rules_allow(&some, 2, global, uneven, chosen));
	CHECK(!arax_rules_allow(&some, 2, odd, other, chosen));
	CHECK(arax_rules_allow(&some, 2, global, NULL, chosen) && chosen[0] == 8 && chosen[1] == 1);
}

static void test_truncations(const struct arax_writer *w)
{
	struct arax_writer longer = {0};
	unsigned char *copy;

	for (size_t size = 0; size < w->size; size++) {
		CHECK(!parse_exact(w->data, size, &copy) && errno == EPROTO);
		free(copy);
	}
	sample_write(&longer, false);
	arax_write_u32(&longer, 0);
	CHECK(!arax_result_parse(longer.data, longer.size) && errno == EPROTO);
	arax_writer_free(&longer);
}

static void test_mutations(const struct arax_writer *w)
{
	uint64_t state = 7;
	unsigned parsed = 0;

	for (int i = 0; i < 100000; i++) {
		unsigned char *bytes = malloc(w->size);
		struct arax_result *r;

		CHECK(bytes);
		memcpy(bytes, w->data, w->size);
		for (unsigned n = test_random(&state) % 4 + 1; n; n--) {
			uint64_t what = test_random(&state);

			bytes[test_random(&state) % w->size] =
			    what & 1 ? (unsigned char)(what >> 8) : (what & 2 ? 0xFF : 0);
		}
		r = arax_result_parse(bytes, w->size);
		parsed += r != NULL;
		CHECK(r || errno == EPROTO);
		arax_result_free(r);
		free(bytes);
	}
	CHECK(parsed > 0 && parsed < 100000);
}

static void test_cursors(void)
{
	struct arax_writer w = {0};
	struct arax_reader r;
	char *string;
	size_t size;

	arax_write_u32(&w, 5);
	arax_write_u64(&w, UINT64_MAX - 3);
	arax_write_bytes(&w, "ab", 2);
	arax_write_bytes(&w, NULL, 0);
	arax_write_string(&w, NULL);
	arax_write_bytes(&w, "a\0b", 3);
	r = (struct arax_reader){.data = w.data, .size = w.size};
	CHECK(arax_read_u32(&r) == 5 && arax_read_u64(&r) == UINT64_MAX - 3);
	CHECK(!memcmp(arax_read_bytes(&r, &size), "ab", 2) && size == 2);
	CHECK(!arax_read_bytes(&r, &size) && size == 0 && !r.failed);
	string = arax_read_string(&r);
	CHECK(string && !*string && !r.failed);
	free(string);
	string = arax_read_string(&r);
	CHECK(string && !*string && r.failed && r.at == r.size);
	free(string);
	/* Once failed it stays failed and gives nothing. */
	CHECK(arax_read_u32(&r) == 0 && arax_read_u64(&r) == 0);
	CHECK(!arax_read_bytes(&r, &size) && size == 0);
	/* A length that no addition may be done with. */
	r = (struct arax_reader){.data = w.data + 4, .size = w.size - 4};
	CHECK(!arax_read_bytes(&r, &size) && r.failed && r.at == r.size);
	arax_writer_free(&w);
	CHECK(!w.data && !w.size);
}

int main(void)
{
	struct arax_writer w = {0};

	for (int variants = 0; variants < 2; variants++) {
		arax_writer_free(&w);
		sample_write(&w, variants);
		test_round_trip(&w);
		test_truncations(&w);
		test_mutations(&w);
	}
	test_variants(&w);
	test_rules();
	test_cursors();
	arax_writer_free(&w);
	return 0;
}
