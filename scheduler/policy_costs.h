/* SPDX-License-Identifier: Apache-2.0
 *
 * What was learned about kernels, for as long as the tenant lives and beyond. Applications make and
 * release kernel objects all the time, so times belong to a program's content and a kernel's name.
 * They are written as a text that another tenant of the same trust domain can begin with.
 *
 * Threads: the dispatch thread only.
 */
#ifndef ARAX_SCHEDULER_POLICY_COSTS_H
#define ARAX_SCHEDULER_POLICY_COSTS_H

#include "scheduler/policy.h"

#include <stddef.h>

#define POLICY_COSTS_BLOB (256u << 10) /* bytes at most */
#define POLICY_COSTS_KERNELS 1024u     /* that nobody uses and that are kept nevertheless */

struct policy_costs;

/** policy_costs_new() - NULL without memory. */
struct policy_costs *policy_costs_new(void);
void policy_costs_free(struct policy_costs *costs);

/** policy_program_key() - a program by its content. */
uint64_t policy_program_key(const void *bytes, size_t size);

/** policy_costs_get() - a kernel's times, which stay where they are until policy_costs_put(); NULL
 *  without memory. */
struct policy_cost *policy_costs_get(struct policy_costs *costs, uint64_t program,
				     const char *kernel);
void policy_costs_put(struct policy_costs *costs, struct policy_cost *cost);

/** policy_costs_forget_device() - what was learned on the device that had this index. */
void policy_costs_forget_device(struct policy_costs *costs, unsigned device);

/**
 * policy_costs_note() - before save(): what this tenant has executed and what of it was for
 * learning
 *
 * Who tries something only within a part of what it has executed would never try anything in a
 * short life, if it did not have the credit of those before it.
 */
void policy_costs_note(struct policy_costs *costs, const struct policy_state *state);

/** policy_costs_credit() - after load(): what those before had left. */
void policy_costs_credit(const struct policy_costs *costs, struct policy_state *state);

/**
 * policy_costs_save() - the text, latest used kernels first, as many as there is room for
 * @names: of the devices, by index; without spaces
 * Return: bytes; 0 when there is nothing to write.
 */
size_t policy_costs_save(const struct policy_costs *costs, const char *const *names, unsigned n,
			 char *blob, size_t room);

/**
 * policy_costs_load() - takes what is not known yet, of devices that are there by name
 *
 * The text is not trusted: whatever save() would not have written is refused as a whole.
 *
 * Return: 0; -EINVAL with a line that says why: nothing was taken; -ENOMEM: not all of it.
 */
int policy_costs_load(struct policy_costs *costs, const char *const *names, unsigned n,
		      const char *blob, size_t size, char why[POLICY_WHY]);

#endif
