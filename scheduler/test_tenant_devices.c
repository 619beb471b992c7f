/* SPDX-License-Identifier: Apache-2.0
 *
 * What araxd says to a tenant that has its client, end to end: policies change, a device of a real
 * arax-device (the simulated accelerator) comes, is emptied, dies, and messages that make no sense
 * change nothing. One in-order queue all the while.
 */
#include "scheduler/tenant_session.h"

#include "devices/test_pocl.h"
#include "transport/build.h"
#include "transport/link.h"

static const char source[] = "kernel void blend(global int *out, global const int *in, int v) {\n"
			     "	size_t i = get_global_id(0); out[i] = out[i] * 31 + in[i] + v; }\n";

/* What the test's compiler does not say about it. */
static struct arax_arg_info infos[3] = {
    {.name = "out", .type_name = "int*", .address = 0x119B, .access = 0x11A3, .size = 8},
    {.name = "in",
     .type_name = "int*",
     .address = 0x119B,
     .access = 0x11A3,
     .type_qualifier = 1,
     .size = 8},
    {.name = "v", .type_name = "int", .address = 0x119E, .access = 0x11A3, .size = 4},
};

static const char *device_path;
static void *result;
static size_t result_size;

enum { BUFFERS = 8, INTS = 1024 };
#define PLACE(n) (DATA + (uint64_t)(n)*INTS * 4)
#define RESULT (ARAX_HEAP_OFFSET + 0x400000)

static int32_t expected[BUFFERS][INTS];
static uint64_t seed = 1;
static uint32_t next_slot;

/* ---- the client's part ---------------------------------------------------------------------- */

static void define_all(void)
{
	struct arax_op_queue_define queue = {.queue = QUEUE};
	struct arax_op_program_load load = {
	    .program = PROGRAM, .binary_off = RESULT, .binary_len = result_size};
	struct arax_op_kernel_define kernel = {.kernel = KERNEL(0), .program = PROGRAM, .nargs = 3};
	send_record(&queue, ARAX_OP_QUEUE_DEFINE, ARAX_NO_SLOT, 0, NULL, 0, NULL, 0);
	for (uint32_t m = 0; m < BUFFERS; m++) {
		struct arax_op_mem_define op = {.mem = MEM(m),
						.home = 1 + m,
						.type = 0x10F0,
						.data_off = PLACE(m),
						.data_len = INTS * 4};
		send_record(&op, ARAX_OP_MEM_DEFINE, ARAX_NO_SLOT, 0, NULL, 0, NULL, 0);
	}
	memcpy(s.arena + RESULT, result, result_size);
	send_record(&load, ARAX_OP_PROGRAM_LOAD, 8000, 0, NULL, 0, NULL, 0);
	send_record(&kernel, ARAX_OP_KERNEL_DEFINE, ARAX_NO_SLOT, 0, NULL, 0, "blend", 5);
	memset(expected, 0, sizeof(expected));
	next_slot = 0;
	s.norder = 0;
}

static void launch(void)
{
	unsigned out = (unsigned)(test_random(&seed) % BUFFERS);
	unsigned in = (out + 1 + (unsigned)(test_random(&seed) % (BUFFERS - 1))) % BUFFERS;
	int32_t value = (int32_t)(test_random(&seed) % 1000);
	const struct {
		struct arax_arg out, in, value;
		int32_t bytes[2];
	} args = {{ARAX_ARG_MEM, MEM(out), 0},
		  {ARAX_ARG_MEM, MEM(in), 0},
		  {ARAX_ARG_VALUE, 0, 4},
		  {value, 0}};
	struct arax_op_launch op = {
	    .kernel = KERNEL(0), .work_dim = 1, .nargs = 3, .global0 = INTS};
	for (int i = 0; i < INTS; i++)
		expected[out][i] = (int32_t)((uint32_t)expected[out][i] * 31u +
					     (uint32_t)expected[in][i] + (uint32_t)value);
	send_record(&op, ARAX_OP_LAUNCH, next_slot++, QUEUE, NULL, 0, &args, sizeof(args));
}

/* Waits for all, in the order in which they were sent, and looks at what they have done. */
static void check_all(void)
{
	for (uint32_t m = 0; m < BUFFERS; m++) {
		struct arax_op_marker op = {
		    .access = ARAX_ACCESS_READ, .data_off = PLACE(m), .data_len = INTS * 4};
		send_record(&op, ARAX_OP_MARKER, next_slot++, QUEUE, NULL, 0, NULL, 0);
	}
	for (uint32_t slot = 0; slot < next_slot; slot++) {
		int32_t status = outcome(slot);
		if (status)
			fprintf(stderr, "command %u ended with %d on device %u\n", slot, status,
				s.shm->slots[slot].device);
		CHECK(!status);
	}
	for (uint32_t i = 1, last = UINT32_MAX; i <= s.norder; i++) {
		uint32_t slot = s.order[i - 1];
		if (slot == 8000)
			continue;
		CHECK(slot == last + 1);
		last = slot;
	}
	CHECK(!memcmp(s.arena + DATA, expected, sizeof(expected)));
	next_slot = s.norder = 0;
}

static void run(int launches)
{
	for (int i = 0; i < launches; i++)
		launch();
	check_all();
}

static uint64_t executed(unsigned device)
{
	return atomic_load(&s.stats->devices[device].commands);
}

/* Until a device has executed something: what araxd says takes effect between two commands. */
static void run_until_used(unsigned device)
{
	uint64_t deadline = arax_now_ns() + DEADLINE_NS, before = executed(device);
	while (executed(device) == before) {
		CHECK(arax_now_ns() < deadline);
		run(20);
	}
}

/* ---- araxd's part --------------------------------------------------------------------------- */

static struct arax_control_head head_of(uint16_t type)
{
	return (struct arax_control_head){
	    .magic = ARAX_CONTROL_MAGIC, .type = type, .major = ARAX_PROTOCOL_MAJOR};
}

static void say_policy(const char *name, const char *argument)
{
	struct arax_control_policy m = {.head = head_of(ARAX_CONTROL_POLICY)};
	snprintf(m.policy, sizeof(m.policy), "%s", name);
	snprintf(m.argument, sizeof(m.argument), "%s", argument);
	CHECK(!arax_socket_send(s.control, &m, sizeof(m), NULL, 0));
}

static void say_device_of(uint32_t what, uint32_t index, const struct arax_device_caps *caps,
			  int fd, int process)
{
	struct arax_control_device m = {.head = head_of(ARAX_CONTROL_DEVICE),
					.what = what,
					.index = index,
					.share = 1024,
					.name = "sim0"};
	if (caps)
		m.caps = *caps;
	const int fds[] = {fd, process};
	CHECK(!arax_socket_send(s.control, &m, sizeof(m), fds, fd < 0 ? 0 : process < 0 ? 1 : 2));
}

static void say_device(uint32_t what, uint32_t index, const struct arax_device_caps *caps, int fd)
{
	say_device_of(what, index, caps, fd, -1);
}

/* Return: the type of the next message from the tenant; line: what it said, when it is LOG. */
static uint16_t hear(struct arax_control_device *device, char line[256])
{
	_Alignas(8) char message[ARAX_CONTROL_MAX];
	const struct arax_control_head *head = (void *)message;
	int fds[ARAX_FDS_MAX];
	ssize_t n = arax_socket_recv(s.control, message, sizeof(message), fds, 30000);
	CHECK(n >= (ssize_t)sizeof(*head) && fds[0] < 0);
	if (head->type == ARAX_CONTROL_LOG)
		memcpy(line, ((struct arax_control_log *)head)->line, 256);
	else if (n == sizeof(*device))
		memcpy(device, message, sizeof(*device));
	return head->type;
}

static void hear_log(const char *part)
{
	struct arax_control_device device;
	char line[256];
	CHECK(hear(&device, line) == ARAX_CONTROL_LOG);
	if (!strstr(line, part))
		fprintf(stderr, "\"%s\" instead of \"%s\"\n", line, part);
	CHECK(strstr(line, part));
}

/* ---- a device's process --------------------------------------------------------------------- */

static struct accelerator {
	pid_t pid;
	int control, link;
	struct arax_device_caps caps;
} sim;

static void kill_sim(void)
{
	if (sim.pid > 0) {
		kill(sim.pid, SIGKILL);
		waitpid(sim.pid, NULL, 0);
	}
	sim.pid = 0;
}

static void sim_ready(void)
{
	struct arax_control_device_ready ready;
	int fds[ARAX_FDS_MAX];
	CHECK(arax_socket_recv(sim.control, &ready, sizeof(ready), fds, 60000) == sizeof(ready));
	CHECK(ready.ready.head.type == ARAX_CONTROL_READY && fds[0] >= 0);
	close(fds[0]);
	sim.caps = ready.caps;
}

static void sim_link(void)
{
	struct arax_control_link link = {.head = head_of(ARAX_CONTROL_LINK),
					 .link = 1,
					 .arena_size = ARENA_SIZE,
					 .tenant_pid = s.pid};
	int fds[ARAX_FDS_MAX];
	sim.link = arax_link_new();
	CHECK(sim.link >= 0);
	const int both[] = {sim.link, s.arena_fd};
	CHECK(!arax_socket_send(sim.control, &link, sizeof(link), both, 2));
	CHECK(arax_socket_recv(sim.control, &link, sizeof(link), fds, 30000) == sizeof(link));
	CHECK(link.head.type == (ARAX_CONTROL_LINK | ARAX_CONTROL_REPLY) && !link.head.error);
}

static void sim_start(void)
{
	int pair[2];
	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	sim.pid = fork();
	CHECK(sim.pid >= 0);
	if (sim.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (pair[1] == 3)
			fcntl(3, F_SETFD, 0);
		else if (dup2(pair[1], 3) < 0)
			_exit(120);
		execl(device_path, "arax-device", "--name", "sim0", "--backend", "sim", "--options",
		      "memory=64M,latency=1us,jitter=0.5,seed=3", (char *)NULL);
		_exit(121);
	}
	close(pair[1]);
	sim.control = pair[0];
	sim_ready();
	sim_link();
}

static void sim_end(void)
{
	kill_sim();
	close(sim.control);
	close(sim.link);
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void test_policies(void)
{
	begin("", "pinned");
	define_all();
	run(200);
	CHECK(executed(0) >= 200 && executed(1) == 0);
	say_policy("round-robin", "");
	run_until_used(1);
	say_policy("nonsense", "");
	hear_log("nonsense");
	say_policy("random", "not a number");
	hear_log("random");
	run_until_used(1); /* round-robin still */
	end(0);
}

static void test_nonsense(void)
{
	struct arax_control_plain plain = {.head = head_of(ARAX_CONTROL_STATUS)};
	char junk[ARAX_CONTROL_MAX];
	begin("", "round-robin");
	define_all();
	memset(junk, 0xEE, sizeof(junk));
	CHECK(!arax_socket_send(s.control, &plain, sizeof(plain), NULL, 0));
	hear_log("a message from araxd");
	CHECK(!arax_socket_send(s.control, junk, 3, NULL, 0));
	hear_log("a message from araxd");
	CHECK(!arax_socket_send(s.control, junk, sizeof(junk), &s.arena_fd, 1));
	hear_log("a message from araxd");
	say_device(ARAX_DEVICE_ADD, 2, NULL, -1);
	hear_log("sim0");
	say_device(ARAX_DEVICE_ADD, 2, NULL, s.arena_fd); /* not a link */
	hear_log("sim0");
	say_device(ARAX_DEVICE_ADD, 99, NULL, s.arena_fd);
	hear_log("sim0");
	say_device(77, 2, NULL, -1);
	hear_log("sim0");
	/* Devices that are not there, and one that cannot be lost. */
	for (uint32_t what = ARAX_DEVICE_LEASE; what <= ARAX_DEVICE_LOST; what++)
		say_device(what, 5, NULL, -1);
	say_device(ARAX_DEVICE_LOST, 0, NULL, -1);
	run(300);
	end(0);
}

static void test_device(void)
{
	struct arax_control_device device;
	char line[256];
	begin("", "round-robin");
	define_all();
	run(50);
	sim_start();
	int process = (int)syscall(SYS_pidfd_open, sim.pid, 0);
	CHECK(process >= 0);
	say_device_of(ARAX_DEVICE_ADD, 2, &sim.caps, sim.link, process);
	close(process);
	run_until_used(2);
	for (int i = 0; i < 10; i++)
		run(200);
	uint64_t used = executed(2);
	/* Emptied, it executes nothing more, until it is back. */
	say_device(ARAX_DEVICE_DRAIN, 2, NULL, -1);
	for (int i = 0; i < 100; i++)
		launch();
	CHECK(hear(&device, line) == ARAX_CONTROL_DEVICE);
	CHECK(device.what == ARAX_DEVICE_DRAIN && device.index == 2);
	check_all();
	used = executed(2);
	run(200);
	CHECK(executed(2) == used);
	say_device(ARAX_DEVICE_ONLINE, 2, NULL, -1);
	run_until_used(2);
	/* It dies while it has nothing that is not at home; all goes on without it. Nobody has to
	 * say so, and who says it later says nothing new. */
	kill_sim();
	hear_log("lost");
	run(200);
	say_device(ARAX_DEVICE_LOST, 2, NULL, -1);
	run(200);
	sim_end();
	end(0);
}

/* No device of its own: commands wait for the first one. */
static void test_only_device(void)
{
	begin("sim0", "");
	sim_start();
	define_all();
	for (int i = 0; i < 50; i++)
		launch();
	take_entries();
	CHECK(s.norder == 0);
	say_device(ARAX_DEVICE_ADD, 2, &sim.caps, sim.link);
	check_all();
	CHECK(executed(0) == 0 && executed(1) == 0 && executed(2) == 50);
	sim_end();
	end(0);
}

static void compile(void)
{
	size_t size;
	void *bytes = test_pocl_compile(source, &size);
	struct arax_result *parsed = arax_result_parse(bytes, size);
	struct arax_writer w = {0};
	CHECK(parsed && parsed->nkernels == 1 && !parsed->kernels[0].nargs);
	struct arax_kernel_info kernel = parsed->kernels[0];
	struct arax_result whole = *parsed;
	kernel.nargs = 3;
	kernel.args = infos;
	whole.kernels = &kernel;
	arax_result_write(&w, &whole);
	CHECK(!w.failed);
	result = w.data;
	result_size = w.size;
	arax_result_free(parsed);
	free(bytes);
}

int main(int argc, char **argv)
{
	CHECK(argc == 3);
	tenant_path = argv[1];
	device_path = argv[2];
	alarm(170);
	atexit(kill_started);
	atexit(kill_sim);
	CHECK(!setenv("TSAN_OPTIONS", "ignore_noninstrumented_modules=1", 0));
	test_pocl_environment();
	compile();
	test_policies();
	test_nonsense();
	test_device();
	test_only_device();
	free(result);
	return 0;
}
