/* SPDX-License-Identifier: Apache-2.0
 *
 * Build requests and results: the sealed memfds that travel client -> araxd -> compiler and back.
 * araxd hashes a request as opaque bytes for the cache's key, so a request must be canonical: the
 * same program gives the same bytes. A result, header included, is also what clGetProgramInfo
 * hands out as the program's binary and what PROGRAM_LOAD carries to the tenant.
 *
 * Both are a fixed header followed by items written and read with the cursors below. The reader
 * checks every length; a cursor that ran over its end stays at the end, returns zeros and empty
 * strings and has failed set: check it once, after the last read.
 */
#ifndef ARAX_TRANSPORT_BUILD_H
#define ARAX_TRANSPORT_BUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARAX_BUILD_MAGIC 0x42786172u  /* "arxB" request */
#define ARAX_RESULT_MAGIC 0x52786172u /* "arxR" result */
#define ARAX_BUILD_VERSION 1u

enum arax_build_kind {
	ARAX_BUILD_EXECUTABLE = 0, /* clBuildProgram: source -> executable */
	ARAX_BUILD_COMPILE = 1,	   /* clCompileProgram: source -> object */
	ARAX_BUILD_LINK = 2,	   /* clLinkProgram: objects, libraries -> executable or library */
	ARAX_BUILD_REBUILD = 3,	   /* clBuildProgram on a program made from a binary */
	ARAX_BUILD_BUILTIN = 4,	   /* clCreateProgramWithBuiltInKernels */
};

/*
 * Request: u32 magic, u32 version, u32 kind, string options (as the application gave them, -I
 * paths made absolute), then
 *   EXECUTABLE, COMPILE: string source; u32 nfiles; nfiles x (string absolute path, string
 * contents) [files the source may #include: the compiler lays them out below a private root and
 *       rewrites -I accordingly]; string cwd; u32 nheaders; nheaders x (string include name,
 *       string contents) [clCompileProgram's embedded headers]
 *   LINK, REBUILD: u32 ninputs; ninputs x bytes (a whole result each)
 *   BUILTIN: string names, with ';' between them (kernels/registry.h has the kernels)
 *
 * Result: u32 magic, u32 version, i32 error (CL_SUCCESS, CL_BUILD_PROGRAM_FAILURE,
 * CL_COMPILE_PROGRAM_FAILURE, CL_LINK_PROGRAM_FAILURE, CL_INVALID_BUILD_OPTIONS,
 * CL_INVALID_COMPILER_OPTIONS, CL_INVALID_LINKER_OPTIONS ...), u32 binary_type
 * (CL_PROGRAM_BINARY_TYPE_*), u32 flags, string options, string log, u32 ntargets; ntargets x
 * (string device name, u64 id): the devices that can load the binary, with the 8 bytes that PoCL
 * wants at offset 8 of it for that device; u64 global_variable_size; u32 nkernels; nkernels x
 * kernel; bytes binary; and with the flag VARIANTS: u32 nvariants, not 0; nvariants x variant.
 * kernel: string name, string attributes, u64 required_group[3], u64 local_mem, u64 private_mem,
 * u64 group_size, u64 preferred_multiple, u32 nargs; nargs x (string name, string type_name,
 * u32 address, u32 access (CL_KERNEL_ARG_*), u64 type qualifier, u64 size [bytes of a value;
 * 0 for local memory, 8 for pointers, images and samplers]).
 * variant: string kernel, string section, string targets, u32 kind, u32 flags, string format,
 * string options, u64 local[3], u64 local_multiple[3], u64 global_multiple[3], bytes data.
 */
/* flags: PRINTF: a kernel may call printf. ARG_INFO: built with -cl-kernel-arg-info, so the
 * application may ask for it. DENORMS_ZERO, FAST_RELAXED: built with -cl-denorms-are-zero,
 * -cl-fast-relaxed-math; the device must be told again when it loads the binary. */
#define ARAX_RESULT_PRINTF 1u
#define ARAX_RESULT_ARG_INFO 2u
#define ARAX_RESULT_DENORMS_ZERO 4u
#define ARAX_RESULT_FAST_RELAXED 8u
#define ARAX_RESULT_VARIANTS 16u /* set by arax_result_write() */

/*
 * PoCL makes names of files out of kernels' names, so a longer one than this is another in the
 * binary. Where a result is not an executable, its kernels are only those with such names, and
 * nothing but their names: who links it must know.
 */
#define ARAX_KERNEL_NAME_LONG 200
#define ARAX_KERNEL_NAME_SHORT 96

/** arax_kernel_short_name() - a kernel's name in the binary: itself, or made in buffer. */
const char *arax_kernel_short_name(const char *name, char buffer[ARAX_KERNEL_NAME_SHORT]);

struct arax_arg_info {
	char *name, *type_name;
	uint32_t address, access;
	uint64_t type_qualifier, size;
};
struct arax_kernel_info {
	char *name, *attributes;
	uint64_t required_group[3], local_mem, private_mem, group_size, preferred_multiple;
	uint32_t nargs;
	struct arax_arg_info *args;
};
struct arax_target {
	char *device;
	uint64_t id;
};
/*
 * What devices of some target take for a kernel instead of the program's own, where a launch has
 * sizes that it can take: registered by the administrator (kernels/registry.h). The program's own
 * kernel is there besides, for all other launches. targets: words with a space between them, as in
 * struct arax_device_caps, or "any".
 */
enum arax_variant_kind {
	ARAX_VARIANT_PROGRAM = 0, /* source of the whole program, which came without one */
	ARAX_VARIANT_SOURCE = 1,  /* source of this kernel, and what its compiler is told */
	ARAX_VARIANT_BINARY = 2,  /* in that format; "pocl": as a result's own binary */
	ARAX_VARIANT_REFUSED = 3, /* the data is the reason */
};
/* Work-items: exactly so many in a group; groups, and all, in multiples of these. 0: as it comes.
 */
struct arax_variant_rules {
	uint64_t local[3], local_multiple[3], global_multiple[3];
};
struct arax_variant {
	char *kernel, *section, *targets, *format, *options;
	uint32_t kind, flags; /* flags: as the result's, of this binary */
	struct arax_variant_rules rules;
	const void *data; /* points into the parsed bytes */
	uint64_t size;
};
struct arax_result {
	int32_t error;
	uint32_t binary_type, flags;
	char *options, *log;
	uint32_t ntargets;
	struct arax_target *targets;
	uint64_t global_variable_size;
	uint32_t nkernels;
	struct arax_kernel_info *kernels;
	const void *binary; /* points into the parsed bytes */
	uint64_t binary_size;
	uint32_t nvariants;
	struct arax_variant *variants;
};

/** arax_target_named() - is a target among these? */
bool arax_target_named(const char *targets, const char *target);

/** arax_result_variant() - the first variant of this kind for a kernel (NULL: for any) and a target
 *  (NULL: any) after this one (NULL: at all); NULL when there is none. */
const struct arax_variant *arax_result_variant(const struct arax_result *result,
					       enum arax_variant_kind kind, const char *kernel,
					       const char *target,
					       const struct arax_variant *after);

/**
 * arax_rules_allow() - may a launch of these sizes be a variant's?
 * @local: NULL when the application leaves it open
 * @chosen: the work-group's size when it was open and the rules want one; 0: it stays open
 */
bool arax_rules_allow(const struct arax_variant_rules *rules, unsigned dims, const size_t *global,
		      const size_t *local, size_t chosen[3]);

/**
 * arax_result_parse() - check and unpack a result
 * @data, @size: the bytes; must outlive the result (binary points into them)
 * Return: the result, to be freed with arax_result_free(); NULL with errno EPROTO or ENOMEM.
 */
struct arax_result *arax_result_parse(const void *data, size_t size);
void arax_result_free(struct arax_result *result);

/* A growing buffer; failed is set when memory ran out. */
struct arax_writer {
	unsigned char *data;
	size_t size, capacity;
	bool failed;
};
void arax_write_u32(struct arax_writer *w, uint32_t value);
void arax_write_u64(struct arax_writer *w, uint64_t value);
void arax_write_bytes(struct arax_writer *w, const void *data, size_t size); /* u64 length first */
void arax_write_string(struct arax_writer *w, const char *string);	     /* NULL as "" */
void arax_writer_free(struct arax_writer *w);

/** arax_result_write() - the opposite of arax_result_parse(). */
void arax_result_write(struct arax_writer *w, const struct arax_result *result);

struct arax_reader {
	const unsigned char *data;
	size_t size, at;
	bool failed;
};
uint32_t arax_read_u32(struct arax_reader *r);
uint64_t arax_read_u64(struct arax_reader *r);
const void *arax_read_bytes(struct arax_reader *r, size_t *size); /* NULL when empty or failed */
char *arax_read_string(struct arax_reader *r); /* malloc-ed, "" when failed, NULL: no memory */

#endif
