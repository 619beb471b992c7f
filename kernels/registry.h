/* SPDX-License-Identifier: Apache-2.0
 *
 * Registered variants: kernels that the administrator has for devices of some target, in place of
 * what a program brings, and the built-in kernels, which no program brings. They are described by
 * manifests (*.ini) in a directory: one section for each variant.
 *
 *   [NAME]
 *   kernel = NAME               the kernel's
 *   builtin = yes               a built-in kernel; of each one there is a variant for "any", the
 *                               reference, which says what the others must be like
 *   program = SHA256            or: a kernel of the program with this source
 *   target = WORD...            devices (struct arax_device_caps.target), or any
 *   source = FILE               OpenCL C, beside the manifest
 *   binary = FILE, format = F   or: what a device loads as it is (ptx, cubin, hsaco, xclbin, spirv)
 *   sha256 = SHA256             of the file
 *   options = TEXT              what the compiler is told besides the program's own options
 *   arguments = DECLARATION, …  as in OpenCL C, names included
 *   local = N [N [N]]           the launches that it takes: work-groups of this size,
 *   local_multiple = N …        of multiples of it,
 *   global_multiple = N …       and global sizes that are multiples
 *
 * Whatever is wrong with a section rejects this section and no other. araxd reads the registry and
 * gives arax-compile what belongs to a build as a blob; arax-compile compares what was compiled
 * with what was declared.
 *
 * Threads: none.
 */
#ifndef ARAX_KERNELS_REGISTRY_H
#define ARAX_KERNELS_REGISTRY_H

#include "transport/build.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REGISTRY_NAME 64
#define REGISTRY_HASH 65
#define REGISTRY_ARGS_MAX 64
#define REGISTRY_ENTRIES_MAX 1024
#define REGISTRY_SOURCE_MAX (1u << 20)
#define REGISTRY_BINARY_MAX (64u << 20)

struct registry_arg {
	char name[REGISTRY_NAME], type[REGISTRY_NAME]; /* "float*", "uint" */
	uint32_t address;			       /* CL_KERNEL_ARG_ADDRESS_* */
};

struct registry_entry {
	char *manifest; /* the file */
	unsigned line;	/* where the section begins */
	char section[REGISTRY_NAME], kernel[REGISTRY_NAME];
	bool builtin, binary;
	char program[REGISTRY_HASH]; /* "" */
	char targets[128];
	char file[128], hash[REGISTRY_HASH], format[16];
	char options[256];
	uint32_t nargs;
	struct registry_arg args[REGISTRY_ARGS_MAX];
	struct arax_variant_rules rules;
	void *data;
	size_t size;
	char reason[256]; /* it is rejected; "" */
	unsigned seen;	  /* bit by key, while it is read */
};

struct registry {
	unsigned count;
	struct registry_entry **entries;
};

/**
 * registry_load() - read all manifests
 * @directories: in order; what is in a later one and has the name of an earlier one is rejected
 * @required: bit by directory: one that is not there is an entry of its own, with its reason
 * Return: 0 or -ENOMEM.
 */
int registry_load(struct registry **registry, const char *const *directories, unsigned count,
		  unsigned required);
void registry_free(struct registry *registry);

/** registry_parse() - one manifest's text; files are looked for in this open directory.
 *  Return: 0 or -ENOMEM. */
int registry_parse(struct registry *registry, const char *manifest, const char *text,
		   int directory);

/** registry_check() - what only all entries together show: names, references, argument lists. */
void registry_check(struct registry *registry);

/** registry_reject() - with a reason, unless there is one already. */
void registry_reject(struct registry_entry *entry, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** registry_reference() - is it what a built-in kernel is? */
bool registry_reference(const struct registry_entry *entry);

/** registry_hash() - SHA-256 in hexadecimal digits. */
void registry_hash(const void *data, size_t size, char hash[REGISTRY_HASH]);

/* ---- what arax-compile gets */

/** registry_write() - the good entries that are built-in kernels (program NULL; references: only
 *  those), or of a program; how many. */
unsigned registry_write(const struct registry *registry, const char *program, bool references,
			struct arax_writer *w);

/** registry_read() - the opposite. Return: NULL with errno EPROTO or ENOMEM. */
struct registry *registry_read(const void *data, size_t size);

/**
 * registry_args_differ() - compare a compiled kernel's arguments with what was declared
 * Return: false: they are alike; true with what is not.
 */
bool registry_args_differ(const struct registry_entry *entry, const struct arax_kernel_info *kernel,
			  char *what, size_t size);

#endif
