/* SPDX-License-Identifier: Apache-2.0
 *
 * The journal: what was written is read, whatever is cut off, changed or forged costs only itself,
 * a writer that is killed at any time leaves whole records. And processes that are found again.
 */
#include "scheduler/araxd_process.h"
#include "scheduler/journal.h"
#include "transport/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define RECORDS 5

static char directory[] = "/tmp/arax-test-journal-XXXXXX";
static char path[64], other[64];

static void clean(void)
{
	char command[96];

	snprintf(command, sizeof(command), "rm -rf %s", directory);
	if (system(command) != 0)
		fprintf(stderr, "%s is left\n", directory);
}

/* The record number n is n bytes of n, of type n; so it can be seen whether all came in order. */
struct seen {
	unsigned count;
	bool refuse; /* the last of them */
};

static bool take(void *arg, uint32_t type, const void *data, size_t size)
{
	struct seen *seen = arg;
	const char *bytes = data;

	if (seen->refuse && seen->count == RECORDS - 1)
		return false;
	CHECK(type == ++seen->count && size == type && (uintptr_t)data % 8 == 0);
	for (size_t i = 0; i < size; i++)
		CHECK(bytes[i] == (char)type);
	return true;
}

static void write_records(struct journal *journal, void *arg)
{
	const unsigned *count = arg;
	char bytes[256];

	for (unsigned n = 1; n <= *count; n++) {
		memset(bytes, (int)n, sizeof(bytes));
		journal_append(journal, n, bytes, n);
	}
	CHECK(journal_error(journal) == 0);
}

static struct seen look(char why[JOURNAL_WHY])
{
	struct seen seen = {0};

	CHECK(journal_read(path, take, &seen, why) == 0);
	return seen;
}

static size_t file_read(char **data)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	CHECK(fd >= 0 && fstat(fd, &st) == 0);
	*data = malloc((size_t)st.st_size);
	CHECK(*data && read(fd, *data, (size_t)st.st_size) == st.st_size);
	close(fd);
	return (size_t)st.st_size;
}

static void file_write(const char *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size && close(fd) == 0);
}

static struct journal *begin(unsigned count)
{
	struct journal *journal;

	CHECK(journal_new(path, write_records, &count, &journal) == 0);
	return journal;
}

static void test_round(void)
{
	struct journal *journal = begin(RECORDS - 1);
	char why[JOURNAL_WHY], bytes[RECORDS];
	struct stat st;

	memset(bytes, RECORDS, sizeof(bytes));
	journal_append(journal, RECORDS, bytes, RECORDS);
	CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600);
	CHECK(look(why).count == RECORDS && !why[0]);
	/* Another in its place, and the old one goes on into nowhere. */
	struct journal *next = begin(2);
	journal_append(journal, RECORDS + 1, bytes, RECORDS);
	CHECK(look(why).count == 2 && !why[0]);
	journal_free(next, true);
	CHECK(access(path, F_OK) < 0 && look(why).count == 0 && !why[0]);
	journal_free(journal, false);
	journal_append(NULL, 1, bytes, 1);
	CHECK(journal_error(NULL) == 0);
}

/* Cut off at every byte, and every byte changed. */
static void test_broken(void)
{
	char why[JOURNAL_WHY], *data;
	unsigned last = 0, whole = 0;

	journal_free(begin(RECORDS), false);
	size_t size = file_read(&data);
	for (size_t n = 0; n <= size; n++) {
		struct seen seen = {0};
		size_t good = journal_parse(data, n, take, &seen, why);

		CHECK(good <= n && seen.count >= last && seen.count <= RECORDS);
		CHECK((good == n && n > 0) == !why[0]);
		whole += !why[0];
		last = seen.count;
	}
	CHECK(last == RECORDS && whole == RECORDS + 1);
	for (size_t n = 0; n < size; n++) {
		struct seen seen = {0};

		data[n] ^= 0x10;
		(void)journal_parse(data, size, take, &seen, why);
		/* What fills a record up is nobody's business. */
		CHECK(seen.count == RECORDS ? !why[0] : why[0]);
		data[n] ^= 0x10;
	}
	struct seen refusing = {.refuse = true};
	CHECK(journal_parse(data, size, take, &refusing, why) < size && why[0]);
	free(data);
}

/* Files that others could have written are not looked at. */
static void test_forged(void)
{
	char why[JOURNAL_WHY], *data;

	journal_free(begin(RECORDS), false);
	CHECK(chmod(path, 0640) == 0 && look(why).count == 0 && strstr(why, "mode 640"));
	CHECK(chmod(path, 0602) == 0 && look(why).count == 0 && strstr(why, "mode 602"));
	CHECK(chmod(path, 0600) == 0 && look(why).count == RECORDS && !why[0]);
	CHECK(link(path, other) == 0 && look(why).count == 0 && why[0]);
	CHECK(rename(path, other) == 0 && unlink(path) == 0 && symlink(other, path) == 0);
	CHECK(look(why).count == 0 && why[0]);
	/* It is replaced, not followed. */
	journal_free(begin(1), false);
	CHECK(look(why).count == 1);
	CHECK(unlink(path) == 0 && mkdir(path, 0700) == 0 && look(why).count == 0 && why[0]);
	CHECK(rmdir(path) == 0 && mkfifo(path, 0600) == 0 && look(why).count == 0 && why[0]);
	CHECK(unlink(path) == 0);
	if (geteuid() == 0) {
		journal_free(begin(RECORDS), false);
		CHECK(chown(path, 12345, 12345) == 0 && look(why).count == 0);
		CHECK(strstr(why, "12345") && unlink(path) == 0);
	}
	file_write("", 0);
	CHECK(look(why).count == 0 && strstr(why, "empty"));
	journal_free(begin(RECORDS), false);
	size_t size = file_read(&data);
	/* The boot's name stands in it. */
	char *boot = memchr(data, '-', size);
	CHECK(boot);
	boot[1] ^= 1;
	file_write(data, size);
	CHECK(look(why).count == 0 && why[0]);
	free(data);
}

/* No directory, no room: said once, and what was there stays. */
static void test_refused(void)
{
	struct journal *journal;
	char missing[96], why[JOURNAL_WHY], bytes[RECORDS] = {0};
	unsigned count = 1;
	struct rlimit before, most;

	snprintf(missing, sizeof(missing), "%s/missing/journal", directory);
	CHECK(journal_new(missing, write_records, &count, &journal) == -ENOENT);
	journal = begin(RECORDS);
	char *data;
	size_t size = file_read(&data);
	free(data);
	signal(SIGXFSZ, SIG_IGN);
	CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
	most = (struct rlimit){.rlim_cur = size + 20, .rlim_max = before.rlim_max};
	CHECK(setrlimit(RLIMIT_FSIZE, &most) == 0);
	journal_append(journal, RECORDS + 1, bytes, sizeof(bytes));
	CHECK(journal_error(journal) < 0 && journal_error(journal) == 0);
	CHECK(look(why).count == RECORDS && !why[0]);
	CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
	memset(bytes, RECORDS + 1, sizeof(bytes));
	char more[RECORDS + 1];
	memset(more, RECORDS + 1, sizeof(more));
	journal_append(journal, RECORDS + 1, more, sizeof(more));
	CHECK(journal_error(journal) == 0 && look(why).count == RECORDS + 1 && !why[0]);
	journal_free(journal, true);
}

/* ---- a writer that is killed */

#define CHUNK 4096 /* so that renewing is often */

struct counter {
	uint64_t first, last; /* records that there are */
	bool any;
};

static bool take_number(void *arg, uint32_t type, const void *data, size_t size)
{
	struct counter *counter = arg;
	const uint64_t *numbers = data;

	CHECK(type == 1 && size == CHUNK);
	for (size_t i = 1; i < CHUNK / sizeof(*numbers); i++)
		CHECK(numbers[i] == numbers[0]);
	CHECK(!counter->any || numbers[0] == counter->last + 1);
	if (!counter->any)
		counter->first = numbers[0];
	counter->last = numbers[0];
	counter->any = true;
	return true;
}

static void append_number(struct journal *journal, uint64_t number)
{
	uint64_t numbers[CHUNK / sizeof(uint64_t)];

	for (size_t i = 0; i < CHUNK / sizeof(*numbers); i++)
		numbers[i] = number;
	journal_append(journal, 1, numbers, sizeof(numbers));
}

static void write_last(struct journal *journal, void *arg)
{
	const _Atomic uint64_t *number = arg;

	append_number(journal, *number);
}

/* Each says how far it is only when the record is there. */
static void writer(_Atomic uint64_t *number)
{
	struct journal *journal;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (journal_new(path, write_last, number, &journal))
		_exit(1);
	for (;;) {
		append_number(journal, *number + 1);
		if (journal_error(journal))
			_exit(2);
		(*number)++;
	}
}

static void test_killed(void)
{
	_Atomic uint64_t *number =
	    mmap(NULL, sizeof(*number), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t random = 1, renewed = 0;

	CHECK(number != MAP_FAILED);
	for (int i = 0; i < 40; i++) {
		struct counter counter = {0};
		char why[JOURNAL_WHY];
		int status;
		uint64_t from = *number, goal = from + test_random(&random) % 1500;
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (pid == 0)
			writer(number);
		while (*number < goal)
			sched_yield();
		kill(pid, SIGKILL);
		CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
		CHECK(journal_read(path, take_number, &counter, why) == 0);
		/* What was said to be there is; one more may be, or a part of one. */
		CHECK(counter.any && (counter.last == *number || counter.last == *number + 1));
		renewed += counter.first != from;
		*number = counter.last;
	}
	CHECK(renewed);
	CHECK(unlink(path) == 0);
}

/* ---- processes */

static void test_process(void)
{
	struct process_id id, wrong;
	int self = (int)syscall(SYS_pidfd_open, getpid(), 0), found;

	CHECK(self >= 0 && process_identify(getpid(), self, &id) == 0);
	CHECK(id.pid == getpid() && id.start);
	CHECK((found = process_find(&id)) >= 0 && close(found) == 0);
	/* Another one with the same number would have been started at another time. */
	wrong = id;
	wrong.start++;
	CHECK(process_find(&wrong) == -ESRCH);
	wrong = id;
	wrong.inode++;
	CHECK(process_find(&wrong) == -ESRCH);
	wrong = (struct process_id){.pid = id.pid};
	CHECK(process_find(&wrong) == -EINVAL);
	wrong = (struct process_id){.start = 1};
	CHECK(process_find(&wrong) == -EINVAL && process_identify(0, self, &wrong) == -ENOENT);

	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		pause();
		_exit(0);
	}
	int child = (int)syscall(SYS_pidfd_open, pid, 0);
	CHECK(child >= 0 && process_identify(pid, child, &id) == 0);
	CHECK((found = process_find(&id)) >= 0 && close(found) == 0);
	kill(pid, SIGKILL);
	CHECK(waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOWAIT) == 0);
	/* A zombie has ended. */
	CHECK(process_find(&id) == -ESRCH && process_identify(pid, child, &wrong) == -ESRCH);
	CHECK(waitpid(pid, NULL, 0) == pid && process_find(&id) == -ESRCH);
	close(child);
	close(self);
}

int main(void)
{
	CHECK(mkdtemp(directory));
	atexit(clean);
	snprintf(path, sizeof(path), "%s/journal", directory);
	snprintf(other, sizeof(other), "%s/other", directory);
	test_round();
	test_broken();
	test_forged();
	test_refused();
	test_killed();
	test_process();
	return 0;
}
