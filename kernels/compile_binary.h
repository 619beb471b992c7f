/* SPDX-License-Identifier: Apache-2.0
 *
 * The outside of PoCL's binaries (version 9, PoCL 3.1): what must be known to give one binary to
 * several devices, and to make it smaller.
 */
#ifndef ARAX_KERNELS_COMPILE_BINARY_H
#define ARAX_KERNELS_COMPILE_BINARY_H

#include <stddef.h>
#include <stdint.h>

/** binary_id() - the id of the device it is for. Return: 0, or -EPROTO: not a PoCL binary. */
int binary_id(const void *binary, size_t size, uint64_t *id);

/**
 * binary_strip() - take the LLVM module out of the binary of an executable
 * @binary: changed in place
 *
 * PoCL would parse the module whenever it loads the binary (1.5 ms for the smallest program), only
 * to be able to compile what the binary holds compiled already. A binary of another shape is left
 * as it is.
 *
 * Return: the size now, in bytes.
 */
size_t binary_strip(void *binary, size_t size);

#endif
