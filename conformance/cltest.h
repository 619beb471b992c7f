/*
 * The harness of the whole-system tests: it chooses the platform under test, runs named
 * subtests, and turns every failed check, crash and hang into a line and an exit status.
 *
 * The tests see nothing but the OpenCL loader, so the same binaries run on Arax and on any
 * other implementation. The platform is chosen by name (CLTEST_PLATFORM, a substring; "Arax"
 * without it) and never silently replaced, or a broken Arax would pass by testing its neighbour.
 *
 * A failed check leaves its subtest by a long jump and leaks what the subtest held, which is
 * harmless because every subtest makes its own context. Callbacks, which run on threads of
 * the implementation, must record what they saw instead of checking it.
 */
#ifndef ARAX_CONFORMANCE_CLTEST_H
#define ARAX_CONFORMANCE_CLTEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_0_APIS
#define CL_USE_DEPRECATED_OPENCL_1_1_APIS
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#define CL_USE_DEPRECATED_OPENCL_2_0_APIS
#define CL_USE_DEPRECATED_OPENCL_2_1_APIS
#define CL_USE_DEPRECATED_OPENCL_2_2_APIS
#include <CL/cl.h>
#include <CL/cl_ext.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLTEST_SECONDS 60
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct cltest {
	const char *name;
	void (*run)(void);
};

#define TEST(n)                             \
	{                                   \
		.name = #n, .run = test_##n \
	}

enum cltest_outcome { CLTEST_OK, CLTEST_FAILED, CLTEST_SKIPPED };

/* What a subtest usually works with: cl_open() makes it, cl_close() releases it. */
struct cl {
	cl_context ctx;
	cl_command_queue q;
};

static cl_platform_id cltest_platform;
static cl_device_id cltest_device;
static char cltest_platform_name[256];
static const char *cltest_current = "(start)";
static char cltest_why[1024];
static pthread_mutex_t cltest_lock = PTHREAD_MUTEX_INITIALIZER;
static int cltest_report_fd = 1; /* stays where stdout was when a subtest redirects stdout */
static _Thread_local sigjmp_buf *cltest_exit;
static _Thread_local cl_int cltest_err;

/* The error variable for calls that create objects; see MUST and CREATE_ERR. */
#define ERR cltest_err

static inline const char *cltest_error(cl_int error)
{
	static _Thread_local char number[32];
#define NAME(e) \
	case e: \
		return #e
	switch (error) {
		NAME(CL_SUCCESS);
		NAME(CL_DEVICE_NOT_FOUND);
		NAME(CL_DEVICE_NOT_AVAILABLE);
		NAME(CL_COMPILER_NOT_AVAILABLE);
		NAME(CL_MEM_OBJECT_ALLOCATION_FAILURE);
		NAME(CL_OUT_OF_RESOURCES);
		NAME(CL_OUT_OF_HOST_MEMORY);
		NAME(CL_PROFILING_INFO_NOT_AVAILABLE);
		NAME(CL_MEM_COPY_OVERLAP);
		NAME(CL_IMAGE_FORMAT_MISMATCH);
		NAME(CL_IMAGE_FORMAT_NOT_SUPPORTED);
		NAME(CL_BUILD_PROGRAM_FAILURE);
		NAME(CL_MAP_FAILURE);
		NAME(CL_MISALIGNED_SUB_BUFFER_OFFSET);
		NAME(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
		NAME(CL_COMPILE_PROGRAM_FAILURE);
		NAME(CL_LINKER_NOT_AVAILABLE);
		NAME(CL_LINK_PROGRAM_FAILURE);
		NAME(CL_DEVICE_PARTITION_FAILED);
		NAME(CL_KERNEL_ARG_INFO_NOT_AVAILABLE);
		NAME(CL_INVALID_VALUE);
		NAME(CL_INVALID_DEVICE_TYPE);
		NAME(CL_INVALID_PLATFORM);
		NAME(CL_INVALID_DEVICE);
		NAME(CL_INVALID_CONTEXT);
		NAME(CL_INVALID_QUEUE_PROPERTIES);
		NAME(CL_INVALID_COMMAND_QUEUE);
		NAME(CL_INVALID_HOST_PTR);
		NAME(CL_INVALID_MEM_OBJECT);
		NAME(CL_INVALID_IMAGE_FORMAT_DESCRIPTOR);
		NAME(CL_INVALID_IMAGE_SIZE);
		NAME(CL_INVALID_SAMPLER);
		NAME(CL_INVALID_BINARY);
		NAME(CL_INVALID_BUILD_OPTIONS);
		NAME(CL_INVALID_PROGRAM);
		NAME(CL_INVALID_PROGRAM_EXECUTABLE);
		NAME(CL_INVALID_KERNEL_NAME);
		NAME(CL_INVALID_KERNEL_DEFINITION);
		NAME(CL_INVALID_KERNEL);
		NAME(CL_INVALID_ARG_INDEX);
		NAME(CL_INVALID_ARG_VALUE);
		NAME(CL_INVALID_ARG_SIZE);
		NAME(CL_INVALID_KERNEL_ARGS);
		NAME(CL_INVALID_WORK_DIMENSION);
		NAME(CL_INVALID_WORK_GROUP_SIZE);
		NAME(CL_INVALID_WORK_ITEM_SIZE);
		NAME(CL_INVALID_GLOBAL_OFFSET);
		NAME(CL_INVALID_EVENT_WAIT_LIST);
		NAME(CL_INVALID_EVENT);
		NAME(CL_INVALID_OPERATION);
		NAME(CL_INVALID_GL_OBJECT);
		NAME(CL_INVALID_BUFFER_SIZE);
		NAME(CL_INVALID_MIP_LEVEL);
		NAME(CL_INVALID_GLOBAL_WORK_SIZE);
		NAME(CL_INVALID_PROPERTY);
		NAME(CL_INVALID_IMAGE_DESCRIPTOR);
		NAME(CL_INVALID_COMPILER_OPTIONS);
		NAME(CL_INVALID_LINKER_OPTIONS);
		NAME(CL_INVALID_DEVICE_PARTITION_COUNT);
		NAME(CL_INVALID_PIPE_SIZE);
		NAME(CL_INVALID_DEVICE_QUEUE);
		NAME(CL_INVALID_SPEC_ID);
		NAME(CL_MAX_SIZE_RESTRICTION_EXCEEDED);
	}
#undef NAME
	snprintf(number, sizeof(number), "error %d", error);
	return number;
}

/* Ends the running subtest (or thread of it); only the first reason is kept. */
__attribute__((noreturn)) static inline void cltest_leave(enum cltest_outcome outcome)
{
	if (cltest_exit)
		siglongjmp(*cltest_exit, (int)outcome);
	dprintf(cltest_report_fd, "not ok %s: %s\n", cltest_current, cltest_why);
	_exit(1);
}

__attribute__((noreturn, format(printf, 3, 4))) static inline void
cltest_fail(const char *file, int line, const char *format, ...)
{
	char text[800];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	pthread_mutex_lock(&cltest_lock);
	if (!cltest_why[0])
		snprintf(cltest_why, sizeof(cltest_why), "%s:%d: %s", file, line, text);
	pthread_mutex_unlock(&cltest_lock);
	cltest_leave(CLTEST_FAILED);
}

#define FAIL(...) cltest_fail(__FILE__, __LINE__, __VA_ARGS__)

#define CHECK(cond)                        \
	do {                               \
		if (!(cond))               \
			FAIL("%s", #cond); \
	} while (0)

#define CHECK_EQ(value, expected)                                                         \
	do {                                                                              \
		long long value_ = (long long)(value), expected_ = (long long)(expected); \
		if (value_ != expected_)                                                  \
			FAIL("%s is %lld, not %lld", #value, value_, expected_);          \
	} while (0)

#define CHECK_ERR(call, expected)                                                      \
	do {                                                                           \
		cl_int got_ = (call), want_ = (expected);                              \
		if (got_ != want_) {                                                   \
			const char *name_ = strdup(cltest_error(got_));                \
			FAIL("%s gave %s, not %s", #call, name_, cltest_error(want_)); \
		}                                                                      \
	} while (0)

#define CHECK_CL(call) CHECK_ERR(call, CL_SUCCESS)

/* MUST(clCreateX(..., &ERR)): the object, which must have been created. */
#define MUST(call)                                                    \
	({                                                            \
		ERR = 12345;                                          \
		__auto_type object_ = (call);                         \
		if (ERR != CL_SUCCESS)                                \
			FAIL("%s gave %s", #call, cltest_error(ERR)); \
		if (!object_)                                         \
			FAIL("%s gave NULL", #call);                  \
		object_;                                              \
	})

/* CREATE_ERR(clCreateX(..., &ERR), e): must fail with e and give NULL. */
#define CREATE_ERR(call, expected)                                       \
	do {                                                             \
		ERR = 12345;                                             \
		const void *object_ = (call);                            \
		CHECK_ERR(ERR, expected);                                \
		if (object_)                                             \
			FAIL("%s failed and yet gave an object", #call); \
	} while (0)

static inline bool on_native_pocl(void)
{
	return strstr(cltest_platform_name, "Portable Computing Language") != NULL;
}

#define SKIP(why)                                                    \
	do {                                                         \
		snprintf(cltest_why, sizeof(cltest_why), "%s", why); \
		cltest_leave(CLTEST_SKIPPED);                        \
	} while (0)

/* Guards what PoCL 3.1 itself gets wrong. CLTEST_NO_SKIP=1 runs it all the same. */
static inline bool native_bug(void)
{
	return on_native_pocl() && !getenv("CLTEST_NO_SKIP");
}

#define SKIP_NATIVE(why)                    \
	do {                                \
		if (native_bug())           \
			SKIP("PoCL: " why); \
	} while (0)

static inline void cltest_on_signal(int sig)
{
	static const char hang[] = ": hangs\n", crash[] = ": crashed\n";
	ssize_t n;

	n = write(cltest_report_fd, "not ok ", 7);
	n += write(cltest_report_fd, cltest_current, strlen(cltest_current));
	if (sig == SIGALRM)
		n += write(cltest_report_fd, hang, sizeof(hang) - 1);
	else
		n += write(cltest_report_fd, crash, sizeof(crash) - 1);
	_exit(n ? 3 : 4);
}

/* Arms the watchdog, anew for every subtest and in every child (fork clears alarms). */
static inline void cltest_watch(void)
{
	static const int signals[] = {SIGALRM, SIGSEGV, SIGBUS, SIGILL, SIGABRT};
	struct sigaction action = {.sa_handler = cltest_on_signal};

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &action, NULL);
	alarm(CLTEST_SECONDS);
}

/* fork() whose child can neither outlive its parent nor hang; a failed check there exits with 1. */
static inline pid_t cltest_fork(void)
{
	pid_t parent = getpid(), pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		FAIL("fork: %s", strerror(errno));
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(9);
		cltest_exit = NULL;
		cltest_watch();
	}
	return pid;
}

/* The child's exit status, or 1000 + the signal that ended it. */
static inline int cltest_reap(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			FAIL("waitpid: %s", strerror(errno));
	}
	return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Finds the platform under test; exits if it is absent, because nothing may stand in for it. */
static inline void cltest_select(void)
{
	const char *wanted = getenv("CLTEST_PLATFORM");
	cl_platform_id ids[32];
	cl_uint n = 0;

	if (wanted && !*wanted) /* would match anything */
		wanted = NULL;
	if (clGetPlatformIDs(ARRAY_SIZE(ids), ids, &n) != CL_SUCCESS)
		n = 0;
	if (n > ARRAY_SIZE(ids))
		n = ARRAY_SIZE(ids);
	for (cl_uint i = 0; i < n; i++) {
		char *name = cltest_platform_name;

		if (clGetPlatformInfo(ids[i], CL_PLATFORM_NAME, sizeof(cltest_platform_name), name,
				      NULL))
			continue;
		if (wanted ? strstr(name, wanted) != NULL : strcmp(name, "Arax") == 0) {
			cltest_platform = ids[i];
			break;
		}
	}
	if (!cltest_platform) {
		dprintf(cltest_report_fd, "not ok (start): no platform named %s among %u\n",
			wanted ? wanted : "Arax", n);
		exit(2);
	}
	if (clGetDeviceIDs(cltest_platform, CL_DEVICE_TYPE_ALL, 1, &cltest_device, NULL)) {
		dprintf(cltest_report_fd, "not ok (start): platform %s has no device\n",
			cltest_platform_name);
		exit(2);
	}
}

static inline enum cltest_outcome cltest_call(void (*run)(void))
{
	sigjmp_buf here;
	int outcome = sigsetjmp(here, 1);

	if (outcome == 0) {
		cltest_exit = &here;
		run();
	}
	cltest_exit = NULL;
	return (enum cltest_outcome)outcome;
}

static inline int cltest_main(int argc, char **argv, const struct cltest *tests, size_t n)
{
	bool failed = false, found = false;

	cltest_report_fd = fcntl(1, F_DUPFD_CLOEXEC, 3);
	if (argc > 2) {
		dprintf(2, "usage: %s [subtest]\n", argv[0]);
		return 2;
	}
	cltest_watch();
	cltest_select();
	for (size_t i = 0; i < n; i++) {
		enum cltest_outcome outcome;

		if (argc == 2 && strcmp(argv[1], tests[i].name))
			continue;
		found = true;
		cltest_current = tests[i].name;
		cltest_why[0] = '\0';
		cltest_watch();
		outcome = cltest_call(tests[i].run);
		if (outcome == CLTEST_OK) {
			dprintf(cltest_report_fd, "ok %s\n", tests[i].name);
		} else if (outcome == CLTEST_SKIPPED) {
			dprintf(cltest_report_fd, "skip %s: %s\n", tests[i].name, cltest_why);
		} else {
			dprintf(cltest_report_fd, "not ok %s: %s\n", tests[i].name, cltest_why);
			failed = true;
		}
	}
	cltest_current = "(exit)";
	if (!found) {
		dprintf(cltest_report_fd, "not ok (start): no subtest %s\n", argv[1]);
		return 2;
	}
	/* A failed subtest may have left commands blocked for ever: do not wait for them. */
	if (failed)
		_exit(1);
	return 0;
}

#define CLTEST_MAIN(tests)                                                \
	int main(int argc, char **argv)                                   \
	{                                                                 \
		return cltest_main(argc, argv, tests, ARRAY_SIZE(tests)); \
	}

struct cltest_thread {
	pthread_t id;
	int index;
	void (*run)(int index, void *arg);
	void *arg;
	bool failed;
};

static inline void *cltest_thread_main(void *arg)
{
	struct cltest_thread *self = arg;
	sigjmp_buf here;

	if (sigsetjmp(here, 1) == 0) {
		cltest_exit = &here;
		self->run(self->index, self->arg);
	} else {
		self->failed = true;
	}
	return NULL;
}

/* Runs run(0..n-1, arg) on n threads at once and fails if any of them failed a check. */
static inline void cltest_threads(int n, void (*run)(int index, void *arg), void *arg)
{
	struct cltest_thread threads[64];
	bool failed = false;

	CHECK(n <= (int)ARRAY_SIZE(threads));
	for (int i = 0; i < n; i++) {
		threads[i] = (struct cltest_thread){.index = i, .run = run, .arg = arg};
		if (pthread_create(&threads[i].id, NULL, cltest_thread_main, &threads[i]))
			FAIL("pthread_create");
	}
	for (int i = 0; i < n; i++) {
		pthread_join(threads[i].id, NULL);
		failed |= threads[i].failed;
	}
	if (failed)
		cltest_leave(CLTEST_FAILED);
}

/* Waits until *value is at least wanted; the watchdog ends a wait that never does. */
static inline void cltest_await(atomic_int *value, int wanted)
{
	while (atomic_load(value) < wanted)
		usleep(200);
}

static inline cl_context cltest_context(void)
{
	return MUST(clCreateContext(NULL, 1, &cltest_device, NULL, NULL, &ERR));
}

static inline cl_command_queue cltest_queue(cl_context ctx, cl_command_queue_properties props)
{
	const cl_queue_properties list[] = {CL_QUEUE_PROPERTIES, props, 0};

	return MUST(clCreateCommandQueueWithProperties(ctx, cltest_device, list, &ERR));
}

static inline struct cl cl_open(cl_command_queue_properties props)
{
	struct cl cl;

	cl.ctx = cltest_context();
	cl.q = cltest_queue(cl.ctx, props);
	return cl;
}

static inline void cl_close(struct cl *cl)
{
	CHECK_CL(clFinish(cl->q));
	CHECK_CL(clReleaseCommandQueue(cl->q));
	CHECK_CL(clReleaseContext(cl->ctx));
}

static inline cl_mem cltest_buffer(cl_context ctx, cl_mem_flags flags, size_t size, void *host)
{
	return MUST(clCreateBuffer(ctx, flags, size, host, &ERR));
}

static inline cl_program cltest_program(cl_context ctx, const char *source)
{
	return MUST(clCreateProgramWithSource(ctx, 1, &source, NULL, &ERR));
}

static inline cl_program cltest_build(cl_context ctx, const char *source, const char *options)
{
	cl_program program = cltest_program(ctx, source);
	cl_int err = clBuildProgram(program, 1, &cltest_device, options, NULL, NULL);

	if (err) {
		char log[600] = "";

		clGetProgramBuildInfo(program, cltest_device, CL_PROGRAM_BUILD_LOG, sizeof(log),
				      log, NULL);
		FAIL("clBuildProgram gave %s: %s", cltest_error(err), log);
	}
	return program;
}

static inline cl_kernel cltest_kernel(cl_program program, const char *name)
{
	return MUST(clCreateKernel(program, name, &ERR));
}

/* Launches over one dimension with the arguments already set. */
static inline void cltest_launch(cl_command_queue q, cl_kernel kernel, size_t n)
{
	CHECK_CL(clEnqueueNDRangeKernel(q, kernel, 1, NULL, &n, NULL, 0, NULL, NULL));
}

static inline void cltest_arg(cl_kernel kernel, cl_uint index, size_t size, const void *value)
{
	cl_int err = clSetKernelArg(kernel, index, size, value);

	if (err)
		FAIL("clSetKernelArg(%u) gave %s", index, cltest_error(err));
}

static inline cl_int cltest_event_status(cl_event event)
{
	cl_int status = 12345;

	CHECK_CL(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(status), &status,
				NULL));
	return status;
}

/* One fixed-size value of an info query, with the size that the query reports checked too. */
#define INFO(type, query, object, name)                                                \
	({                                                                             \
		type info_;                                                            \
		size_t size_ = 0;                                                      \
		memset(&info_, 0xa5, sizeof(info_));                                   \
		CHECK_CL(query(object, name, sizeof(info_), &info_, &size_));          \
		if (size_ != sizeof(info_))                                            \
			FAIL("%s has size %zu, not %zu", #name, size_, sizeof(info_)); \
		info_;                                                                 \
	})

/* A reproducible byte sequence, different for every seed. */
static inline void cltest_pattern(void *data, size_t size, uint32_t seed)
{
	uint8_t *bytes = data;
	uint32_t x = seed * 2654435761u + 12345u;

	for (size_t i = 0; i < size; i++) {
		x = x * 1664525u + 1013904223u;
		bytes[i] = (uint8_t)(x >> 24);
	}
}

#define CHECK_BYTES(data, expected, size)                                                    \
	do {                                                                                 \
		const uint8_t *data_ = (const uint8_t *)(data);                              \
		const uint8_t *expected_ = (const uint8_t *)(expected);                      \
		for (size_t i_ = 0; i_ < (size_t)(size); i_++) {                             \
			if (data_[i_] != expected_[i_])                                      \
				FAIL("%s: byte %zu is %02x, not %02x", #data, i_, data_[i_], \
				     expected_[i_]);                                         \
		}                                                                            \
	} while (0)

#endif
