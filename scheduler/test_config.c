/* SPDX-License-Identifier: Apache-2.0
 *
 * arax.conf: what is understood, and that whatever is not is refused with file and line.
 */
#include "kernels/sandbox_walls.h"
#include "scheduler/config.h"
#include "scheduler/policy_names.h"
#include "transport/testing.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define FIFTY "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define LONG_LINE FIFTY FIFTY FIFTY FIFTY FIFTY

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

static void test_devices(void)
{
	struct config config;
	char error[CONFIG_ERROR], list[CONFIG_LIST], name[32], options[300];

	CHECK(read_text(&config,
			"[device sim]\nbackend = sim\ninstances = 3\nmemory = 64M\n"
			"options = rate=2,seed=7\noptions = latency=1us\n"
			"[device rusticl]\n[device mine]\nbackend = opencl\n"
			"library = libother.so.1\ndevice = 2\nenabled = no\n"
			"[device lone]\nbackend = sim\nshared = no\n",
			error) == 0);
	CHECK(config.ndevices == 4);
	const struct config_device *sim = &config.device[0], *rusticl = &config.device[1],
				   *mine = &config.device[2];
	CHECK(sim->backend == CONFIG_BACKEND_SIM && sim->instances == 3 && sim->shared);
	CHECK(sim->enabled && sim->memory == 64 << 20);
	config_device_options(sim, options, sizeof(options));
	CHECK(strcmp(options, "memory=67108864,rate=2,seed=7,latency=1us") == 0);
	config_device_name(sim, 2, name);
	CHECK(strcmp(name, "sim2") == 0);
	/* Known by name, without a key. */
	CHECK(rusticl->backend == CONFIG_BACKEND_OPENCL && rusticl->enabled && !rusticl->shared);
	CHECK(strcmp(rusticl->library, "libRusticlOpenCL.so.1") == 0 && rusticl->instances == 1);
	config_device_name(rusticl, 0, name);
	CHECK(strcmp(name, "rusticl") == 0);
	CHECK(strcmp(mine->library, "libother.so.1") == 0 && mine->number == 2 && !mine->enabled);
	CHECK(!config.device[3].shared);
	config_all_devices(&config, list);
	CHECK(strcmp(list, "cpu-basic,cpu-pthread,sim0,sim1,sim2,rusticl,lone") == 0);
	CHECK(read_text(&config, "", error) == 0);
	config_all_devices(&config, list);
	CHECK(config.ndevices == 0 && strcmp(list, "cpu-basic,cpu-pthread") == 0);
}

static void test_limits(void)
{
	struct config config;
	char error[CONFIG_ERROR];

	CHECK(read_text(&config, "", error) == 0);
	CHECK(config.commands_per_tenant == 8192 && config.objects_per_tenant == 1000000);
	CHECK(config.kernel_memory == 4ull << 30 && config.compile_memory == 4ull << 30);
	CHECK(config.compile_time_per_domain == 0 && config.cgroup == CONFIG_CGROUP_CLIENT);
	CHECK(read_text(&config,
			"[limits]\ncommands = 64\nobjects = 16\nkernel_memory = 0\n"
			"compile_time = 30\ncgroup = own\n[compile]\nmemory = 64M\n",
			error) == 0);
	CHECK(config.commands_per_tenant == 64 && config.objects_per_tenant == 16);
	CHECK(config.kernel_memory == 0 && config.compile_memory == 64 << 20);
	CHECK(config.compile_time_per_domain == 30 && config.cgroup == CONFIG_CGROUP_OWN);
}

static void test_scheduling(void)
{
	struct config config;
	char error[CONFIG_ERROR];

	CHECK(read_text(&config,
			"[scheduling]\npolicy = fair\nseed = 42\n"
			"weights = user=root -> 300, program=blend* -> 50\n"
			"weights = user=12345 -> 200\n"
			"rules = user=root -> sim*, kernel=gemm -> sim0\nrules = * -> cpu-basic\n",
			error) == 0);
	CHECK(strcmp(config.policy, "fair") == 0 && config.nweights == 3);
	CHECK(config_weight(&config, 0, "x") == 300 && config_weight(&config, 1, "x") == 100);
	CHECK(config_weight(&config, 0, "blender") == 150);
	CHECK(config_weight(&config, 12345, "blend") == 100);
	CHECK(strcmp(config_user(&config, 0), "root") == 0 && !*config_user(&config, 1));
	CHECK(strcmp(config_argument(&config, "random"), "42") == 0);
	CHECK(strcmp(config_argument(&config, "pinned"),
		     "user=root -> sim*, kernel=gemm -> sim0,* -> cpu-basic") == 0);
	CHECK(!*config_argument(&config, "fair"));
}

/* What is said to be possible is. */
static void test_policies(void)
{
	static const char *const names[] = {ARAX_POLICY_NAMES};
	struct config config;
	char error[CONFIG_ERROR], text[64];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(text, sizeof(text), "[scheduling]\npolicy = %s\n", names[i]);
		CHECK(read_text(&config, text, error) == 0);
		CHECK(strcmp(config.policy, names[i]) == 0);
	}
	CHECK(read_text(&config, "[scheduling]\npolicy = best\n", error) == -EINVAL);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		CHECK(strstr(error, names[i]));
}

static void test_bad(void)
{
	static const struct {
		const char *text, *line, *what;
	} cases[] = {
	    {"[daemon]\n\npol = 3\n", ":3: ", "unknown key 'pol'"},
	    {"[demon]\npool = 3\n", ":1: ", "unknown section [demon]"},
	    {"\n[demon]\n", ":2: ", "unknown section [demon]"},
	    {"pool = 3\n", ":1: ", "unknown key"},
	    {"[daemon]\npool = x\npol = 2\n", ":2: ", "pool = x: must be 0 to 64"},
	    {"[daemon]\npool = 65\n", ":2: ", "0 to 64"},
	    {"[daemon]\npool = -1\n", ":2: ", "0 to 64"},
	    {"[daemon]\npool =\n", ":2: ", "0 to 64"},
	    {"[daemon]\npool 3\n", ":2: ", "neither"},
	    {"[limits]\ncommands = 8193\n", ":2: ", "64 to 8192"},
	    {"[limits]\nkernel_memory = 1M\n", ":2: ", "at least 64M"},
	    {"[limits]\ncgroup = v1\n", ":2: ", "client, own or none"},
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
	    {"[scheduling]\npolicy = best\n", ":2: ", "policy = best: must be one of adaptive"},
	    {"[scheduling]\npolicies = fair\n", ":2: ", "unknown key 'policies'"},
	    {"[scheduling]\n\nweights = user=nobody-of-this-name -> 3\n", ":3: ", "users"},
	    {"[scheduling]\nweights = program=a -> 0\n", ":2: ", "1 to 10000"},
	    {"[scheduling]\nweights = program=a\n", ":2: ", "1 to 10000"},
	    {"[scheduling]\nweights = kernel=a -> 5\n", ":2: ", "1 to 10000"},
	    {"[scheduling]\nrules = kernel=a\n", ":2: ", "rules"},
	    {"[scheduling]\nrules = user=nobody-of-this-name -> sim\n", ":2: ", "users"},
	    {"[scheduling]\nseed = x\n", ":2: ", "decimal"},
	    {"[device sim]\nbackend = cuda\n", ":2: ", "backend = cuda: must be sim or opencl"},
	    {"[device sim]\nbackend = sim\nspeed = 3\n", ":3: ", "unknown key 'speed'"},
	    {"[daemon]\n[device x]\n", ":2: ", "[device x]: backend"},
	    {"[device x]\ninstances = 2\n", ":1: ", "[device x]: backend"},
	    {"[device x]\nbackend = opencl\n", ":1: ", "needs a library"},
	    {"[device x]\nbackend = sim\nlibrary = l.so\n", ":1: ", "opencl only"},
	    {"[device rusticl]\nshared = yes\n", ":1: ", "application's own"},
	    {"[device sim]\nbackend = sim\ninstances = 15\n", ":3: ", "1 to 14"},
	    {"[device sim]\nbackend = sim\ninstances = 8\n[device t]\nbackend = sim\n"
	     "instances = 7\n",
	     ":4: ", "more than 14"},
	    {"[device sim]\nbackend = sim\ninstances = 2\n[device sim1]\nbackend = sim\n",
	     ":4: ", "two devices sim1"},
	    {"[device cpu-2]\nbackend = sim\n", ":1: ", "does not begin with cpu"},
	    {"[device a b]\nbackend = sim\n", ":1: ", "letters"},
	    {"[device ]\nbackend = sim\n", ":1: ", "letters"},
	    {"[device s]\nbackend = sim\nmemory = 64M\noptions = memory=1G\n", ":1: ", "twice"},
	    {"[device s]\nbackend = sim\noptions = wings=2\n", ":1: ", "wings"},
	    {"[device s]\nbackend = sim\noptions = fast\n", ":3: ", "key=value"},
	    {"[device s]\nbackend = sim\nmemory = 5\n", ":3: ", "a size"},
	    {"[device s]\nbackend = sim\nenabled = 1\n", ":3: ", "yes or no"},
	    {"[daemon]\n# " LONG_LINE "\npool = 3\n", ":2: ", "longer than"},
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
	CHECK(config_narrow("sim0,sim11,simon", "sim", result) == 0);
	CHECK(strcmp(result, "sim0,sim11") == 0);
	CHECK(config_policy_known("adaptive") && !config_policy_known(""));
}

int main(void)
{
	int fd = mkstemp(path);

	CHECK(fd >= 0);
	close(fd);
	test_good();
	test_devices();
	test_limits();
	test_scheduling();
	test_policies();
	test_bad();
	test_usual();
	test_narrow();
	CHECK(unlink(path) == 0);
	return 0;
}
