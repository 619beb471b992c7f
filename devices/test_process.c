/* SPDX-License-Identifier: Apache-2.0
 *
 * The process arax-device, with a real back end in its sandbox: this test plays araxd, and its
 * tenants are children or threads of nobody, with a link each. Ends with 77 where the library of
 * the back end is not installed.
 *
 *   test-devices-process ARAX_DEVICE sim|rusticl|oclgrind
 */
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devices/remote.h"
#include "devices/test_pocl.h"
#include "kernels/sandbox_walls.h"
#include "transport/link.h"
#include "transport/socket.h"
#include "transport/testing.h"
#include "transport/wake.h"

#define HEAP ARAX_HEAP_OFFSET
#define ARENA ((uint64_t)HEAP + (1u << 20))
#define SKIP 77
#define TIMEOUT_MS 60000

static const char *program;
static const char *const *backend; /* its arguments */
static const char source[] =
    "kernel void add(global uint *data, uint n)\n"
    "{\n"
    "	data[get_global_id(0)] += n * (uint)get_local_size(0) / (uint)get_local_size(0);\n"
    "}\n";
static void *binary;
static size_t binary_size;
static struct arax_writer request;

static const char *const backends[][8] = {
    {"sim", "--backend", "sim", "--options", "memory=64M,latency=0,rate=1000", NULL},
    {"rusticl", "--backend", "opencl", "--library", "libRusticlOpenCL.so.1", NULL},
    {"oclgrind", "--backend", "opencl", "--library", "/usr/lib/oclgrind/liboclgrind-rt-icd.so",
     NULL},
};

struct process {
	pid_t pid;
	int control;
	struct arax_control_device_ready ready;
	const struct arax_device_usage *usage;
	char line[256]; /* the last that it said */
};

struct tenant {
	uint64_t link;
	int link_fd, arena_fd;
	struct arax_link_shm *shm;
	struct arax_shm *arena;
	struct arax_device dev;
	struct arax_device_stream *stream;
	struct arax_device_program *program;
	struct arax_device_kernel *kernel;
};

/* ---- the process ---------------------------------------------------------------------------- */

static pid_t spawn(int control, const char *extra)
{
	const char *argv[16] = {program, "--name", "test0"};
	size_t n = 3;
	pid_t pid;

	for (const char *const *arg = backend; *arg; arg++)
		argv[n++] = *arg;
	/* Replaces the options of the table. */
	if (extra)
		argv[n - 1] = extra;
	pid = fork();
	if (pid == 0) {
		if (dup2(control, 3) < 0 || close_range(4, ~0u, 0) < 0)
			_exit(3);
		execv(program, (char **)argv);
		_exit(3);
	}
	CHECK(pid > 0);
	return pid;
}

/* The next message that is no line for the log. Return: its size, 0 at the end. */
static ssize_t receive(struct process *p, void *data, size_t size, int fds[ARAX_FDS_MAX])
{
	for (;;) {
		_Alignas(8) char bytes[ARAX_CONTROL_MAX];
		const struct arax_control_log *log = (void *)bytes;
		ssize_t n = arax_socket_recv(p->control, bytes, sizeof(bytes), fds, TIMEOUT_MS);

		CHECK(n >= 0 && n <= (ssize_t)sizeof(bytes));
		if (n == sizeof(*log) && log->head.type == ARAX_CONTROL_LOG) {
			snprintf(p->line, sizeof(p->line), "%.255s", log->line);
			continue;
		}
		CHECK((size_t)n <= size);
		memcpy(data, bytes, (size_t)n);
		return n;
	}
}

static int wait_for(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	return status;
}

/* Return: did it come up? */
static bool process_new(struct process *p, const char *extra)
{
	int ends[2], fds[ARAX_FDS_MAX];
	ssize_t n;

	memset(p, 0, sizeof(*p));
	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
	p->control = ends[0];
	p->pid = spawn(ends[1], extra);
	close(ends[1]);
	n = receive(p, &p->ready, sizeof(p->ready), fds);
	if (n == 0) {
		int status = wait_for(p->pid);

		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1 && p->line[0]);
		close(p->control);
		return false;
	}
	CHECK(n == sizeof(p->ready) && p->ready.ready.head.type == ARAX_CONTROL_READY);
	CHECK(fds[0] >= 0 && fds[1] < 0);
	p->usage = mmap(NULL, sizeof(*p->usage), PROT_READ, MAP_SHARED, fds[0], 0);
	CHECK(p->usage != MAP_FAILED);
	close(fds[0]);
	return true;
}

static void process_end(struct process *p)
{
	int status;

	close(p->control);
	status = wait_for(p->pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	munmap((void *)p->usage, sizeof(*p->usage));
}

/* ---- tenants -------------------------------------------------------------------------------- */

static int link_them(struct process *p, struct tenant *t, int pidfd)
{
	struct arax_control_link message = {
	    .head = {.magic = ARAX_CONTROL_MAGIC, .type = ARAX_CONTROL_LINK, .id = 99},
	    .link = t->link,
	    .arena_size = ARENA,
	    .weight = 10,
	    .tenant_pid = getpid(),
	};
	const int fds[] = {t->link_fd, t->arena_fd, pidfd};
	int got[ARAX_FDS_MAX];

	CHECK(!arax_socket_send(p->control, &message, sizeof(message), fds, pidfd < 0 ? 2 : 3));
	/* Perhaps there is still an answer to UNLINK before it. */
	do
		CHECK(receive(p, &message, sizeof(message), got) == sizeof(message));
	while (message.head.type == (ARAX_CONTROL_UNLINK | ARAX_CONTROL_REPLY));
	CHECK(message.head.type == (ARAX_CONTROL_LINK | ARAX_CONTROL_REPLY));
	CHECK(message.head.id == 99 && message.link == t->link);
	return message.head.error;
}

static void tell(struct process *p, uint16_t type, uint64_t link)
{
	struct arax_control_link message = {
	    .head = {.magic = ARAX_CONTROL_MAGIC, .type = type}, .link = link, .weight = 1};

	CHECK(!arax_socket_send(p->control, &message, sizeof(message), NULL, 0));
}

static void tenant_new(struct process *p, struct tenant *t, uint64_t link, int pidfd)
{
	memset(t, 0, sizeof(*t));
	t->link = link;
	t->link_fd = arax_link_new();
	t->arena_fd = arax_memfd_new("arena", ARENA);
	CHECK(t->link_fd >= 0 && t->arena_fd >= 0 && !arax_link_map(t->link_fd, &t->shm));
	t->arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_SHARED, t->arena_fd, 0);
	CHECK(t->arena != MAP_FAILED);
	CHECK(!link_them(p, t, pidfd));
	CHECK(!arax_remote_new("test0", 2, &p->ready.caps, t->link_fd, t->arena, ARENA, &t->dev));
}

static void tenant_free(struct tenant *t)
{
	arax_remote_lost(&t->dev);
	if (t->stream) {
		t->dev.ops->kernel_free(&t->dev, t->kernel);
		t->dev.ops->program_free(&t->dev, t->program);
		t->dev.ops->stream_free(&t->dev, t->stream);
	}
	arax_remote_free(&t->dev);
	arax_link_unmap(t->shm);
	munmap(t->arena, ARENA);
	close(t->link_fd);
	close(t->arena_fd);
}

struct outcome {
	unsigned calls;
	int status;
	char log[4096];
};

static void ended(void *arg, int status, uint64_t start, uint64_t end)
{
	struct outcome *outcome = arg;

	CHECK(start <= end);
	outcome->calls++;
	outcome->status = status;
}

static void built(void *arg, int status, const char *log)
{
	struct outcome *outcome = arg;

	outcome->calls++;
	outcome->status = status;
	snprintf(outcome->log, sizeof(outcome->log), "%s", log);
}

static bool look(void *arg)
{
	struct tenant *t = arg;

	return t->dev.ops->ready(&t->dev);
}

static int await(struct tenant *t, const struct outcome *outcome)
{
	struct arax_spin spin = {0};

	while (!outcome->calls) {
		if (look(t))
			t->dev.ops->poll(&t->dev);
		else
			arax_wake_wait(&t->arena->tenant_wake, &spin, look, t, 1000);
	}
	CHECK(outcome->calls == 1);
	return outcome->status;
}

/* The test's compiler tells nothing of arguments. */
static struct arax_result *parse_result(void)
{
	struct arax_result *result = arax_result_parse(binary, binary_size);
	struct arax_kernel_info *kernel;

	CHECK(result && result->nkernels == 1 && !result->kernels[0].nargs);
	kernel = &result->kernels[0];
	kernel->nargs = 2;
	kernel->args = calloc(2, sizeof(*kernel->args));
	CHECK(kernel->args);
	for (int i = 0; i < 2; i++) {
		kernel->args[i].name = strdup("");
		kernel->args[i].type_name = strdup(i ? "uint" : "uint*");
		kernel->args[i].address =
		    i ? CL_KERNEL_ARG_ADDRESS_PRIVATE : CL_KERNEL_ARG_ADDRESS_GLOBAL;
		kernel->args[i].access = CL_KERNEL_ARG_ACCESS_NONE;
		kernel->args[i].size = i ? 4 : 8;
	}
	return result;
}

static void tenant_builds(struct tenant *t)
{
	struct arax_result *result = parse_result();
	struct outcome o = {0};
	const struct arax_program_source from = {.result = result,
						 .request = request.data,
						 .request_size = request.size,
						 .done = built,
						 .arg = &o};

	CHECK(!t->dev.ops->stream_new(&t->dev, &t->stream));
	CHECK(!t->dev.ops->program_load(&t->dev, &from, &t->program));
	CHECK(!t->dev.ops->kernel_new(&t->dev, t->program, "add", &t->kernel));
	if (await(t, &o))
		fprintf(stderr, "build: %d\n%s\n", o.status, o.log);
	CHECK(!o.status);
	arax_result_free(result);
}

static int move(struct tenant *t, struct arax_device_mem *mem, enum arax_direction direction,
		uint64_t heap, struct outcome *o)
{
	const struct arax_transfer transfer = {.direction = direction,
					       .mem = mem,
					       .size = 4096,
					       .host = (char *)t->arena + HEAP + heap,
					       .done = ended,
					       .arg = o};

	*o = (struct outcome){0};
	return t->dev.ops->transfer(&t->dev, t->stream, &transfer);
}

static int launch(struct tenant *t, struct arax_device_mem *mem, uint32_t n, struct outcome *o)
{
	const struct arax_launch_arg args[] = {{.kind = ARAX_ARG_MEM, .mem = mem},
					       {.kind = ARAX_ARG_VALUE, .size = 4, .value = &n}};
	const struct arax_launch work = {.kernel = t->kernel,
					 .work_dim = 1,
					 .nargs = 2,
					 .global = {1024, 1, 1},
					 .local = {16, 1, 1},
					 .has_local = true,
					 .args = args,
					 .done = ended,
					 .arg = o};

	*o = (struct outcome){0};
	return t->dev.ops->launch(&t->dev, t->stream, &work);
}

static struct arax_device_mem *page(struct tenant *t)
{
	const struct arax_mem_desc desc = {.type = CL_MEM_OBJECT_BUFFER, .size = 4096};
	struct arax_device_mem *mem;

	CHECK(!t->dev.ops->mem_new(&t->dev, &desc, &mem));
	return mem;
}

/* Data goes there, is worked on by a kernel that was built there, and comes back. */
static void tenant_works(struct tenant *t, uint32_t seed)
{
	uint32_t *in = (uint32_t *)(void *)((char *)t->arena + HEAP), *out = in + 1024;
	struct arax_device_mem *mem = page(t);
	struct outcome o[3];

	for (uint32_t i = 0; i < 1024; i++)
		in[i] = seed * i;
	CHECK(!move(t, mem, ARAX_TO_DEVICE, 0, &o[0]));
	CHECK(!launch(t, mem, seed, &o[1]));
	CHECK(!move(t, mem, ARAX_FROM_DEVICE, 4096, &o[2]));
	for (int i = 0; i < 3; i++) {
		if (await(t, &o[i]))
			fprintf(stderr, "command %d: %d\n", i, o[i].status);
		CHECK(!o[i].status);
	}
	for (uint32_t i = 0; i < 1024; i++)
		CHECK(out[i] == seed * i + seed);
	t->dev.ops->mem_free(&t->dev, mem);
}

/* ---- what is tested ------------------------------------------------------------------------- */

static void serves(void)
{
	struct process p;
	struct tenant t[2];
	struct arax_control_link message;
	int fds[ARAX_FDS_MAX];

	CHECK(process_new(&p, NULL));
	/* All that this kernel has; where there is none the reason is said. */
	if (p.ready.ready.sandbox != SANDBOX_ALL_DEVICE)
		fprintf(stderr, "without: %s\n", p.ready.ready.missing);
	CHECK(p.ready.ready.sandbox == SANDBOX_ALL_DEVICE || p.ready.ready.missing[0]);
	CHECK(p.ready.caps.compute_units && p.ready.caps.max_group && p.ready.caps.memory);
	tenant_new(&p, &t[0], 5, -1);
	tenant_new(&p, &t[1], 6, -1);
	CHECK(link_them(&p, &t[0], -1) == EEXIST);
	for (uint32_t i = 0; i < 2; i++) {
		tenant_builds(&t[i]);
		tenant_works(&t[i], i + 3);
	}
	CHECK(p.usage->links[0].link == 5 && p.usage->links[1].link == 6);
	CHECK(p.usage->links[1].commands == 3 && p.usage->links[1].bytes_in == 4096);
	tell(&p, ARAX_CONTROL_SHARE, 5);
	tenant_works(&t[0], 9);
	/* A record of zeros. */
	atomic_store(&t[0].shm->sq.tail, 0x12345678);
	arax_wake_ring(&t[0].shm->device_wake);
	CHECK(receive(&p, &message, sizeof(message), fds) == sizeof(message));
	CHECK(message.head.type == ARAX_CONTROL_UNLINK && message.head.error == EPROTO);
	CHECK(message.link == 5 && strstr(p.line, "broke the protocol"));
	CHECK(t[0].dev.ops->poll(&t[0].dev) == -ENODEV);
	tenant_works(&t[1], 10);
	tell(&p, ARAX_CONTROL_UNLINK, 6);
	while (t[1].dev.ops->poll(&t[1].dev) != -ENODEV)
		;
	tenant_free(&t[0]);
	tenant_free(&t[1]);
	process_end(&p);
}

/* araxd goes, its tenants do not; with the last of them goes the device. */
static void outlives_araxd(void)
{
	struct process p;
	struct tenant t[2];
	int ends[2], pidfd, status;
	char byte;
	pid_t tenant;

	CHECK(process_new(&p, NULL));
	CHECK(!pipe(ends));
	tenant = fork();
	if (tenant == 0) {
		close(ends[1]);
		_exit(read(ends[0], &byte, 1) != 0);
	}
	CHECK(tenant > 0);
	pidfd = (int)syscall(SYS_pidfd_open, tenant, 0);
	CHECK(pidfd >= 0);
	tenant_new(&p, &t[0], 1, pidfd);
	tenant_new(&p, &t[1], 2, pidfd);
	close(p.control);
	tenant_builds(&t[1]);
	tenant_works(&t[1], 4);
	close(ends[1]);
	close(ends[0]);
	CHECK(wait_for(tenant) == 0);
	status = wait_for(p.pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(t[0].shm->state == ARAX_LINK_CLOSED && t[1].shm->state == ARAX_LINK_CLOSED);
	close(pidfd);
	tenant_free(&t[0]);
	tenant_free(&t[1]);
}

/* Killed: what the tenant does with that is araxd's to say (LOST). Its kernels ran elsewhere. */
static void dies(void)
{
	struct process p;
	struct tenant t;
	struct outcome o;
	struct arax_device_mem *mem;

	CHECK(process_new(&p, NULL));
	tenant_new(&p, &t, 1, -1);
	tenant_builds(&t);
	mem = page(&t);
	CHECK(!kill(p.pid, SIGKILL));
	CHECK(WIFSIGNALED(wait_for(p.pid)));
	CHECK(!move(&t, mem, ARAX_TO_DEVICE, 0, &o));
	CHECK(!t.dev.ops->ready(&t.dev));
	arax_remote_lost(&t.dev);
	CHECK(o.calls == 1 && o.status == CL_DEVICE_NOT_AVAILABLE);
	t.dev.ops->mem_free(&t.dev, mem);
	tenant_free(&t);
	close(p.control);
	munmap((void *)p.usage, sizeof(*p.usage));
}

/* The device is lost in the middle: the tenant knows from the link, araxd from the end. */
static void loses_its_device(void)
{
	struct process p;
	struct tenant t;
	struct arax_control_link message;
	struct outcome o;
	int fds[ARAX_FDS_MAX], status;

	CHECK(process_new(&p, "memory=64M,latency=0,rate=1000,faults=lost@6"));
	tenant_new(&p, &t, 1, -1);
	tenant_builds(&t);
	struct arax_device_mem *mem = page(&t);
	do
		CHECK(!move(&t, mem, ARAX_TO_DEVICE, 0, &o));
	while (!await(&t, &o));
	CHECK(o.status == CL_DEVICE_NOT_AVAILABLE);
	while (t.dev.ops->poll(&t.dev) != -ENODEV)
		;
	while (receive(&p, &message, sizeof(message), fds))
		;
	CHECK(strstr(p.line, "lost"));
	status = wait_for(p.pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	t.dev.ops->mem_free(&t.dev, mem);
	tenant_free(&t);
	close(p.control);
	munmap((void *)p.usage, sizeof(*p.usage));
}

/* What cannot be opened is a line for araxd's log, and the end. */
static void does_not_open(void)
{
	static const char *const wrong[][6] = {
	    {"--backend", "nothing", "x", "y", NULL},
	    {"--backend", "sim", "--options", "memory=1M,wheels=4", NULL},
	    {"--backend", "opencl", "--library", "libnothing.so.9", NULL},
	    {"--backend", "opencl", "--library", "libc.so.6", NULL},
	};
	const char *const *good = backend;
	struct process p;

	backend = wrong[1];
	CHECK(!process_new(&p, NULL) && strstr(p.line, "wheels"));
	backend = wrong[2];
	CHECK(!process_new(&p, NULL) && strstr(p.line, "libnothing"));
	backend = wrong[3];
	CHECK(!process_new(&p, NULL) && strstr(p.line, "test0"));
	backend = good;
}

static void messages_are_checked(void)
{
	struct process p;
	struct tenant t = {.link = 7, .link_fd = -1};
	const char junk[40] = "junk";

	CHECK(process_new(&p, NULL));
	CHECK(!arax_socket_send(p.control, junk, sizeof(junk), NULL, 0));
	tell(&p, 4242, 1);
	tell(&p, ARAX_CONTROL_UNLINK, 1);
	t.link_fd = t.arena_fd = p.control;
	CHECK(link_them(&p, &t, -1) == EPROTO);
	CHECK(strstr(p.line, "not a message"));
	process_end(&p);
}

int main(int argc, char **argv)
{
	struct process p;

	CHECK(argc == 3);
	program = argv[1];
	for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
		if (!strcmp(argv[2], backends[i][0]))
			backend = &backends[i][1];
	CHECK(backend);
	signal(SIGPIPE, SIG_IGN);
	if (!process_new(&p, NULL)) {
		fprintf(stderr, "%s\n", p.line);
		return SKIP;
	}
	process_end(&p);
	test_pocl_environment();
	binary = test_pocl_compile(source, &binary_size);
	arax_write_u32(&request, ARAX_BUILD_MAGIC);
	arax_write_u32(&request, ARAX_BUILD_VERSION);
	arax_write_u32(&request, ARAX_BUILD_EXECUTABLE);
	arax_write_string(&request, "");
	arax_write_string(&request, source);
	arax_write_u32(&request, 0);
	arax_write_string(&request, "/");
	arax_write_u32(&request, 0);
	serves();
	outlives_araxd();
	dies();
	if (!strcmp(argv[2], "sim")) {
		loses_its_device();
		does_not_open();
		messages_are_checked();
	}
	free(binary);
	arax_writer_free(&request);
	puts("ok");
	return 0;
}
