/* SPDX-License-Identifier: Apache-2.0
 *
 * The walls around the processes that run other people's code: tenants (kernels are native code),
 * the compiler, and device processes (other vendors' libraries, compilers of their own). A process
 * takes part in three steps:
 *
 *   sandbox_open()   once, in the process that the others are forked from, while it has one thread:
 *                    no new privileges, limits, namespaces, a root directory with nothing in it but
 *                    what the libraries read, and the system call list made ready;
 *   sandbox_enter()  in each process, while it has one thread: scratch space, identity and
 *                    capabilities, Landlock (which holds for threads made afterwards only);
 *   sandbox_seal()   last, when all threads are there: the system call list, for all of them (a
 *                    device process may make more, which inherit it).
 *
 * Every wall that the kernel refuses is left out, remembered and reported (sandbox_missing()):
 * araxd decides whether that is enough (arax.conf, [sandbox] require).
 */
#ifndef ARAX_KERNELS_SANDBOX_H
#define ARAX_KERNELS_SANDBOX_H

#include "kernels/sandbox_walls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum sandbox_role { SANDBOX_TENANT, SANDBOX_COMPILER, SANDBOX_DEVICE };

struct sock_fprog;

/* A tenant's: the socket to araxd, and the one where it listens for another araxd. No other one is
 * accepted from, and what is accepted takes the place of the first. */
#define SANDBOX_CONTROL 3
#define SANDBOX_ADOPT 4

/* Where there is a root of our own: what the process that was opened may write, the others read. */
#define SANDBOX_HOME "/zygote"

struct sandbox {
	enum sandbox_role role;
	unsigned holds; /* walls that stand, or will when the process is sealed */
	bool off;	/* by configuration: nothing is tried */
	bool user_ns;	/* in a user namespace of our own */
	bool own_uid;	/* there is the right to take an identity that nobody else has */
	/* The /proc of outside, and in it our threads and what we are; until sealed; -1. */
	int proc, tasks, status;
	uint64_t memory;   /* bytes that it may have beside what it has when sealed; 0: no limit */
	unsigned landlock; /* its version; 0: none */
	struct sock_fprog *filter;
	char missing[256]; /* what does not hold and why */
};

/**
 * sandbox_open() - prepare the process that the sandboxed ones are forked from
 * @off: nothing but no_new_privs and the limits
 * Return: 0 or -errno; walls that the kernel refuses are no error, but want of memory or
 * descriptors is one.
 */
int sandbox_open(struct sandbox *sandbox, enum sandbox_role role, bool off);

/** sandbox_unshare_pids() - what this process forks next is alone in a pid namespace; before
 *  that fork. Does nothing where it is refused. Return: 0 or -errno. */
int sandbox_unshare_pids(struct sandbox *sandbox);

/**
 * sandbox_enter() - what holds for one process
 * @work: the scratch directory to use where no private one can be mounted
 * @scratch: set to the directory to use, PATH_MAX bytes; it is the only one that can be written
 * Return: 0 or -errno. A wall that was promised but cannot be put up here is an error.
 */
int sandbox_enter(struct sandbox *sandbox, const char *work, char *scratch);

/** sandbox_pid() - this process's number outside of its pid namespace. */
pid_t sandbox_pid(const struct sandbox *sandbox);

/** sandbox_threads() - calls each with the number of every thread of this process, as it is in its
 *  own pid namespace. */
int sandbox_threads(const struct sandbox *sandbox, int (*each)(pid_t thread));

/** sandbox_seal() - the limit of memory, and the system call list, for every thread. Return: 0 or
 *  -errno. */
int sandbox_seal(struct sandbox *sandbox);

/* sandbox_root.c and sandbox_filter.c; for sandbox.c only. */
int sandbox_root(enum sandbox_role role);
int sandbox_scratch(uid_t uid, gid_t gid, char *scratch);
int sandbox_filter(enum sandbox_role role, struct sock_fprog **filter);
int sandbox_filter_load(const struct sock_fprog *filter);

/* What is read (and, for the compiler, executed); paths that are not there are left out. */
struct sandbox_path {
	const char *path;
	bool compiler_only, device_only, execute, write, root_only;
};
extern const struct sandbox_path sandbox_paths[];
bool sandbox_needs(enum sandbox_role role, const struct sandbox_path *path);

#endif
