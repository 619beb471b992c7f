/* SPDX-License-Identifier: Apache-2.0
 *
 * What the registry's files share.
 */
#ifndef ARAX_KERNELS_REGISTRY_INTERNAL_H
#define ARAX_KERNELS_REGISTRY_INTERNAL_H

#include "kernels/registry.h"

/** registry_args_parse() - add declarations to the list. Return: NULL or what is wrong. */
const char *registry_args_parse(struct registry_entry *entry, const char *text);

/** registry_add() - a new entry at the end; NULL without memory. */
struct registry_entry *registry_add(struct registry *registry, const char *manifest);

/** registry_file() - take the entry's file into memory and check it, or reject the entry. */
void registry_file(struct registry_entry *entry, int directory);

#endif
