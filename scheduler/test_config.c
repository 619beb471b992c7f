/* SPDX-License-Identifier: Apache-2.0
 *
 * arax.conf: what is understood, and that whatever is not is refused with file and line.
 */
#include "kernels/sandbox_walls.h"
#include "scheduler/config.h"
#include "transport/testing.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/arax-test-config-XXXXXX";

static int read_text(struct config *config, const char *text, char error[CONFIG_ERROR])
{
	FILE *file = fopen(path, "w");

	CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
	config_defaults(config);
	return config_read(config, path, error);
}

static void test_good(void)
{
	struct config config;
	char error[CONFIG_ERROR];

	CHECK(
	    read_text(&config,
		      "# a comment\n[daemon]\npool = 5\nidle_exit=0\n[device]\ntype = cpu\n"
		      "name = A device\nglobal_memory = 4G\nlocal_memory = 64KiB\n"
		      "devices = cpu-pthread\n[policy]\nname = round-robin\n[cache]\n"
		      "directory = /x y\nsize = 1048576\n[compile]\ntime_limit = 7\n"
		      "[limits]\ncommand_time = 9\n[sandbox]\nuse = off\nrequire = seccomp, pid\n",
		      error) == 0);
	CHECK(config.pool == 5 && config.idle_exit == 0 && config.has_idle_exit);
	CHECK(config.type == 2 && strcmp(config.name, "A device") == 0);
	CHECK(config.global_memory == 4ull << 30 && config.local_memory == 64 << 10);
	CHECK(strcmp(config.devices, "cpu-pthread") == 0);
	CHECK(strcmp(config.policy, "round-robin") == 0);
	CHECK(strcmp(config.cache_directory, "/x y") == 0 && config.cache_size == 1 << 20);
	CHECK(config.compile_time_limit == 7);
	CHECK(config.command_time == 9);
	CHECK(!config.sandbox && config.sandbox_require == (SANDBOX_SECCOMP | SANDBOX_PID));
	CHECK(read_text(&config, "", error) == 0);
	CHECK(config.pool == 2 && config.type == 4 && !config.has_idle_exit);
	CHECK(config.sandbox && !config.sandbox_require);
	CHECK(read_text(&config, "[sandbox]\nrequire = all\n", error) == 0);
	CHECK(config.sandbox_require == SANDBOX_ALL);
}

static void test_bad(void)
{
	static const struct {
		const char *text, *line, *what;
	} cases[] = {
	    {"[daemon]\n\npol = 3\n", ":3: ", "unknown key 'pol'"},
	    {"[demon]\npool = 3\n", ":2: ", "[demon]"},
	    {"pool = 3\n", ":1: ", "unknown key"},
	    {"[daemon]\npool = x\npol = 2\n", ":2: ", "pool = x: must be 0 to 64"},
	    {"[daemon]\npool = 65\n", ":2: ", "0 to 64"},
	    {"[daemon]\npool = -1\n", ":2: ", "0 to 64"},
	    {"[daemon]\npool =\n", ":2: ", "0 to 64"},
	    {"[daemon]\npool 3\n", ":2: ", "neither"},
	    {"[sandbox]\nuse = maybe\n", ":2: ", "on or off"},
	    {"[sandbox]\nrequire = seccomp,apparmor\n", ":2: ", "comma list of seccomp"},
	    {"[sandbox]\nrequire =\n", ":2: ", "comma list of seccomp"},
	    {"[device]\ntype = fpga\n", ":2: ", "gpu, accelerator"},
	    {"[device]\ndevices = cpu-basic, cuda\n", ":2: ", "comma list"},
	    {"[device]\ndevices = cpu\n", ":2: ", "comma list"},
	    {"[device]\nlocal_memory = 1T\n", ":2: ", "a size"},
	    {"[device]\nglobal_memory = 99999999999999999999\n", ":2: ", "a size"},
	    {"[policy]\nname = best\n", ":2: ", "adaptive"},
	    {"[cache]\ndirectory = relative\n", ":2: ", "absolute"},
	};
	struct config config;
	char error[CONFIG_ERROR];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CHECK(read_text(&config, cases[i].text, error) == -EINVAL);
		if (!strstr(error, cases[i].what) || !strstr(error, cases[i].line))
			fprintf(stderr, "case %zu: %s\n", i, error);
		CHECK(strstr(error, path) && strstr(error, cases[i].line) &&
		      strstr(error, cases[i].what));
	}
	CHECK(config_load(&config, "/nonexistent/arax.conf", false, error) == -ENOENT && error[0]);
}

static void test_usual(void)
{
	struct config config;
	char error[CONFIG_ERROR];

	CHECK(setenv("XDG_CONFIG_HOME", "/nonexistent", 1) == 0);
	CHECK(config_load(&config, NULL, false, error) == 0 && config.pool == 2);
}

static void test_narrow(void)
{
	char result[128];

	CHECK(config_narrow("a-b,a-c,d", "", result) == 0 && strcmp(result, "a-b,a-c,d") == 0);
	CHECK(config_narrow("a-b,a-c,d", "a", result) == 0 && strcmp(result, "a-b,a-c") == 0);
	CHECK(config_narrow("a-b,a-c,d", " d , a-c", result) == 0 && strcmp(result, "a-c,d") == 0);
	CHECK(config_narrow("a-b,a-c,d", "x", result) == -EINVAL);
	CHECK(config_narrow("ab", "a", result) == -EINVAL);
	CHECK(config_policy_known("adaptive") && !config_policy_known(""));
}

int main(void)
{
	int fd = mkstemp(path);

	CHECK(fd >= 0);
	close(fd);
	test_good();
	test_bad();
	test_usual();
	test_narrow();
	CHECK(unlink(path) == 0);
	return 0;
}
