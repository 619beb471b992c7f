/* SPDX-License-Identifier: Apache-2.0
 *
 * What the client executes itself (reads, writes, maps, small copies, native kernels), written into
 * its own ring of the application's trace. The tenant writes the rest (scheduler/dispatch_trace.c).
 */
#include "icd/connection.h"

void trace_client(struct connection *conn, const struct traced *traced)
{
	const struct arax_trace_event event = {
	    .kind = ARAX_TRACE_HOST,
	    .device = ARAX_TRACE_NO_DEVICE,
	    .status = traced->status,
	    .id = traced->id,
	    .queue = traced->queue,
	    .type = traced->type,
	    .queued_ns = traced->queued,
	    .submit_ns = traced->submit,
	    .start_ns = traced->start,
	    .end_ns = arax_now_ns(),
	    .bytes = traced->bytes,
	};

	arax_trace_put(&conn->trace, &event);
}
