/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files that write status share.
 */
#ifndef ARAX_SCHEDULER_STATUS_INTERNAL_H
#define ARAX_SCHEDULER_STATUS_INTERNAL_H

#include <jansson.h>
#include <stdint.h>

json_t *status_number(uint64_t value);
json_t *status_ms(uint64_t ns);

struct sandbox_state;
json_t *status_sandbox(const struct sandbox_state *state);

/** status_dump() - as text, to be freed; the value is given up. NULL without memory. */
char *status_dump(json_t *root);

#endif
