/* SPDX-License-Identifier: Apache-2.0
 *
 * How a process of a test build dies at a place, see fault_point.h.
 */
#include "transport/fault_point.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct arax_fault_page *page;
static bool spared; /* also in those whom this process forks */

/* Before main(): afterwards there may be a root directory in which the file does not exist. */
__attribute__((constructor)) static void page_map(void)
{
	const char *path = secure_getenv("ARAX_FAULT_PAGE");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	struct stat st;

	if (fd < 0)
		return;
	if (!fstat(fd, &st) && (uint64_t)st.st_size >= sizeof(*page)) {
		void *map = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		page = map == MAP_FAILED ? NULL : map;
	}
	close(fd);
}

/* The first process of a PID namespace, as every tenant is, cannot send itself SIGKILL. A trap
 * that is blocked ends it as abruptly: no handler runs, no other thread goes on. */
static _Noreturn void die(void)
{
	sigset_t all;

	syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), SIGKILL);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	__builtin_trap();
}

void arax_fault_point(enum arax_fault point)
{
	struct timespec now;

	if (!page)
		return;
	if (atomic_load(&page->spare) == (uint32_t)point)
		spared = true;
	if (spared)
		return;
	atomic_fetch_add(&page->reached[point], 1);
	if (atomic_load(&page->armed) != (uint32_t)point || atomic_fetch_sub(&page->after, 1) != 1)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	atomic_store(&page->died_ns, (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
	atomic_store(&page->fired, (uint32_t)point);
	die();
}
