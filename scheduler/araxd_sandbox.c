/* SPDX-License-Identifier: Apache-2.0
 *
 * The sandboxes of araxd's children, see araxd_sandbox.h. A child reports before it has a client,
 * so what it says can be believed.
 */
#include "scheduler/araxd_sandbox.h"

#include <ctype.h>
#include <stdio.h>

bool sandbox_take(struct sandbox_state *state, const struct arax_control_ready *ready,
		  unsigned whole, const struct config *config, char *why)
{
	unsigned lacking = config->sandbox_require & whole & ~ready->sandbox;
	char names[80];
	size_t i;

	state->known = true;
	state->walls = ready->sandbox & whole;
	state->whole = whole;
	for (i = 0; i + 1 < sizeof(state->missing) && ready->missing[i]; i++)
		state->missing[i] =
		    isprint((unsigned char)ready->missing[i]) ? ready->missing[i] : '?';
	state->missing[i] = '\0';
	sandbox_format(lacking, names, sizeof(names));
	snprintf(why, 128, "cannot be sandboxed as required, without: %s", names);
	return !lacking;
}
