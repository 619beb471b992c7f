/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a fuzz target without libFuzzer: on every file of its corpus, on beginnings of it and on
 * mutations of it, the same in every run. With --seed it writes the part of the corpus that comes
 * from a grammar.
 *
 *   replay-NAME FOLDER          run the corpus
 *   replay-NAME --seed FOLDER   write what the target's grammar gives
 */
#include "transport/fuzz.h"

#include <dirent.h>
#include <string.h>

#define INPUT_MAX (256u << 10)
#define MUTATIONS 400
#define BEGINNINGS 64

#pragma weak LLVMFuzzerCustomMutator
#pragma weak fuzz_seed
#pragma weak fuzz_reached

static uint64_t state = 1;

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max)
{
	for (uint64_t n = test_random(&state) % 4 + 1; n && size; n--) {
		uint64_t what = test_random(&state);

		data[test_random(&state) % size] = what & 1   ? (uint8_t)(what >> 8)
						   : what & 2 ? 0xFF
							      : 0;
	}
	if (test_random(&state) % 8 == 0 && size < max)
		data[size++] = (uint8_t)test_random(&state);
	return size;
}

/* In memory of exactly its size. */
static void run(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	CHECK(copy);
	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static size_t load(const char *folder, const char *name, uint8_t *data)
{
	char path[4096];
	size_t size;
	FILE *file;

	CHECK((size_t)snprintf(path, sizeof(path), "%s/%s", folder, name) < sizeof(path));
	file = fopen(path, "re");
	CHECK(file);
	size = fread(data, 1, INPUT_MAX, file);
	CHECK(!ferror(file) && feof(file));
	fclose(file);
	return size;
}

static void vary(const uint8_t *data, size_t size)
{
	static uint8_t mutant[INPUT_MAX];
	size_t step = size / BEGINNINGS + 1, n;

	for (n = 0; n < size; n += step)
		run(data, n);
	memcpy(mutant, data, size);
	n = size;
	for (int i = 0; i < MUTATIONS; i++) {
		if (i % 8 == 0) {
			memcpy(mutant, data, size);
			n = size;
		}
		n = LLVMFuzzerCustomMutator ? LLVMFuzzerCustomMutator(mutant, n, INPUT_MAX / 4,
								      (unsigned)test_random(&state))
					    : LLVMFuzzerMutate(mutant, n, INPUT_MAX / 4);
		CHECK(n <= INPUT_MAX / 4);
		run(mutant, n);
	}
}

static int compare(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int replay(const char *folder)
{
	static uint8_t data[INPUT_MAX];
	struct dirent **names;
	int n = scandir(folder, &names, NULL, compare), files = 0;

	CHECK(n >= 0);
	for (int i = 0; i < n; i++) {
		if (names[i]->d_name[0] == '.')
			continue;
		run(data, load(folder, names[i]->d_name, data));
		files++;
	}
	CHECK(files);
	if (fuzz_reached)
		fuzz_reached();
	for (int i = 0; i < n; i++) {
		if (names[i]->d_name[0] != '.')
			vary(data, load(folder, names[i]->d_name, data));
		free(names[i]);
	}
	free(names);
	printf("%d files\n", files);
	return 0;
}

static int seed(const char *folder)
{
	static uint8_t data[INPUT_MAX];
	char name[32], path[4096];
	size_t size;

	for (unsigned n = 0; fuzz_seed && (size = fuzz_seed(n, data, sizeof(data), name)); n++) {
		FILE *file;

		snprintf(path, sizeof(path), "%s/%s", folder, name);
		file = fopen(path, "we");
		CHECK(file && fwrite(data, 1, size, file) == size && !fclose(file));
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--seed"))
		return seed(argv[2]);
	CHECK(argc == 2);
	return replay(argv[1]);
}
