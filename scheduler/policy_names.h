/* SPDX-License-Identifier: Apache-2.0
 *
 * The names of the placement policies: what the configuration and a client's ARAX_POLICY may say.
 * The policies themselves are the tenant's (policy_*.c).
 */
#ifndef ARAX_SCHEDULER_POLICY_NAMES_H
#define ARAX_SCHEDULER_POLICY_NAMES_H

#define ARAX_POLICY_DEFAULT "adaptive"
#define ARAX_POLICY_NAMES                                                                        \
	"adaptive", "round-robin", "least-loaded", "heterogeneous", "fair", "elastic", "pinned", \
	    "random"

#endif
