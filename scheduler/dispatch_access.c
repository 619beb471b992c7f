/* SPDX-License-Identifier: Apache-2.0
 *
 * What memory a command reads and writes: what the order of as-if queues (scheduler/graph.h) and
 * the places of data (scheduler/residency.h) are decided by. Everything is taken from the record
 * and from what the compiler said about the kernel; what is not known counts as written, and who
 * may reach memory in other ways touches everything.
 */
#include "scheduler/dispatch_internal.h"

#define MEM_READ_ONLY (1u << 2) /* CL_MEM_READ_ONLY: kernels do not write it */
#define ARG_ADDRESS_CONSTANT 0x119Cu
#define ARG_ACCESS_READ_ONLY 0x11A0u
#define ARG_ACCESS_WRITE_ONLY 0x11A1u
#define ARG_ACCESS_READ_WRITE 0x11A2u
#define ARG_TYPE_CONST 1u

/* What the kernel does with an argument that is a memory object. */
static uint32_t argument_access(const struct kernel *kernel, uint32_t arg, const struct mem *mem)
{
	if (mem->desc.flags & MEM_READ_ONLY)
		return ARAX_ACCESS_READ;
	if (!kernel->info || arg >= kernel->info->nargs)
		return ARAX_ACCESS_BOTH;
	const struct arax_arg_info *info = &kernel->info->args[arg];
	if (info->address == ARG_ADDRESS_CONSTANT || info->access == ARG_ACCESS_READ_ONLY ||
	    info->type_qualifier & ARG_TYPE_CONST)
		return ARAX_ACCESS_READ;
	return info->access == ARG_ACCESS_WRITE_ONLY ? ARAX_ACCESS_WRITE : ARAX_ACCESS_BOTH;
}

/* May it touch more than its arguments, or print? Images that a kernel reads and writes are kept
 * apart from everything else, too. */
static bool reaches_all(const struct launch *launch)
{
	const struct kernel *kernel = launch->kernel;
	const struct arax_result *result = kernel->program->result;

	if (launch->flags & (ARAX_LAUNCH_INDIRECT | ARAX_LAUNCH_PRINTF))
		return true;
	if (!result || !kernel->info || result->global_variable_size)
		return true;
	for (uint32_t i = 0; i < launch->nargs; i++) {
		if (launch->args[i].kind == ARAX_ARG_SVM)
			return true;
		if (i < kernel->info->nargs &&
		    kernel->info->args[i].access == ARG_ACCESS_READ_WRITE)
			return true;
	}
	return false;
}

unsigned launch_accesses(const struct dispatch *d, const struct launch *launch, struct access *out,
			 bool *serial)
{
	unsigned n = 0;

	*serial = reaches_all(launch);
	for (uint32_t i = 0; i < launch->nargs; i++) {
		const struct launch_arg *arg = &launch->args[i];

		if (arg->kind != ARAX_ARG_MEM || !arg->object)
			continue;
		struct mem *mem = (struct mem *)arg->object;
		out[n++] = (struct access){
		    .mem = mem,
		    .arg = i,
		    .what = argument_access(launch->kernel, i, mem),
		    .off = (uint64_t)((const char *)mem->desc.data - (const char *)d->config.arena),
		    .len = mem->desc.size,
		};
	}
	return n;
}

/* One run of bytes that fills its range. */
static bool is_run(uint64_t len, uint64_t width, uint64_t height, uint64_t depth,
		   uint64_t row_pitch, uint64_t slice_pitch)
{
	return (height == 1 || row_pitch == width) &&
	       (depth == 1 || slice_pitch == width * height) && width * height * depth == len;
}

static unsigned copy_accesses(const struct arax_op_copy *op, struct access *out)
{
	out[0] = (struct access){.what = ARAX_ACCESS_READ, .off = op->src_off, .len = op->src_len};
	out[1] = (struct access){
	    .what = ARAX_ACCESS_WRITE,
	    .exact = is_run(op->dst_len, op->width, op->height, op->depth, op->dst_row_pitch,
			    op->dst_slice_pitch),
	    .off = op->dst_off,
	    .len = op->dst_len,
	};
	return 2;
}

static unsigned fill_accesses(const struct arax_op_fill *op, struct access *out)
{
	out[0] = (struct access){
	    .what = ARAX_ACCESS_WRITE,
	    .exact = is_run(op->dst_len, op->width, op->height, op->depth, op->dst_row_pitch,
			    op->dst_slice_pitch),
	    .off = op->dst_off,
	    .len = op->dst_len,
	};
	return 1;
}

/* A command of the client or a marker: a range, or it orders everything. */
static unsigned range_access(uint32_t what, bool exact, uint64_t off, uint64_t len,
			     struct access *out, bool *serial)
{
	*serial = what == ARAX_ACCESS_NONE || !len;
	if (*serial)
		return 0;
	out[0] = (struct access){.what = what, .exact = exact, .off = off, .len = len};
	return 1;
}

unsigned command_accesses(const struct dispatch *d, const struct command *c,
			  const struct arax_record *record, struct access *out, bool *serial)
{
	const struct arax_op_host *host = (const void *)record;
	const struct arax_op_marker *marker = (const void *)record;

	*serial = false;
	switch (c->op) {
	case ARAX_OP_LAUNCH:
		return launch_accesses(d, c->work, out, serial);
	case ARAX_OP_COPY:
		return copy_accesses((const void *)record, out);
	case ARAX_OP_FILL:
		return fill_accesses((const void *)record, out);
	case ARAX_OP_HOST:
		return range_access(host->access, host->exact, host->data_off, host->data_len, out,
				    serial);
	case ARAX_OP_MARKER:
		return range_access(marker->barrier ? ARAX_ACCESS_NONE : marker->access, false,
				    marker->data_off, marker->data_len, out, serial);
	default:
		*serial = true;
		return 0;
	}
}
