/* SPDX-License-Identifier: Apache-2.0
 *
 * Fault points: numbered places at which a process dies as by kill -9 when a test asks for it. They
 * exist in test builds only (the option ARAX_FAULT_POINTS); elsewhere ARAX_FAULT_POINT() is nothing
 * at all.
 *
 * The test makes a file, names it in ARAX_FAULT_PAGE and writes to it which point is armed; araxd
 * hands the name on to what it starts, and every process maps the file when it is started, long
 * before it is sandboxed. A process that is forked has the mapping of the one that it came from.
 */
#ifndef ARAX_TRANSPORT_FAULT_POINT_H
#define ARAX_TRANSPORT_FAULT_POINT_H

#ifdef ARAX_FAULT_POINTS

#include <stdatomic.h>
#include <stdint.h>

enum arax_fault {
#define FAULT(number, NAME, when) ARAX_FAULT_##NAME = number,
#include "transport/fault_points.def"
#undef FAULT
	ARAX_FAULT_MAX = 256
};

/* What the test and the processes share; conformance/kills.py has the same layout. */
struct arax_fault_page {
	_Atomic uint32_t armed; /* the point at which somebody is to die; 0: none */
	_Atomic uint32_t after; /* by the so manieth who arrives there */
	_Atomic uint32_t spare; /* who arrives at this point is never to die from then on */
	_Atomic uint32_t fired; /* the point at which somebody has died */
	_Atomic uint64_t died_ns;
	_Atomic uint32_t reached[ARAX_FAULT_MAX];
};

/** arax_fault_point() - die here if that is asked for. */
void arax_fault_point(enum arax_fault point);

#define ARAX_FAULT_POINT(NAME) arax_fault_point(ARAX_FAULT_##NAME)
#else
#define ARAX_FAULT_POINT(NAME) ((void)0)
#endif

#endif
