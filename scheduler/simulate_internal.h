/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the simulator share (simulate*.c); nobody else includes it.
 *
 * Life of a command: its tenant submits it (EVENT_SUBMIT); when all that it depends on has been
 * seen to end it is ready, and the policy is asked (sim_place). It is held until it gets a device,
 * then its data is fetched (EVENT_DATA), it queues there, starts when it is its tenant's turn,
 * ends (EVENT_END), and a moment later the tenant sees that (EVENT_SEEN).
 */
#ifndef ARAX_SCHEDULER_SIMULATE_INTERNAL_H
#define ARAX_SCHEDULER_SIMULATE_INTERNAL_H

#include "scheduler/lease.h"
#include "scheduler/policy_costs.h"
#include "scheduler/simulate.h"

#define HOME POLICY_DEVICES /* where data is that is in no device's memory */
#define PLACES (POLICY_DEVICES + 1)

/* Buffers first to first + count - 1 of the tenant. */
struct sim_use {
	uint32_t first, count;
	bool reads, writes;
};

struct sim_command {
	uint32_t number;
	uint16_t tenant;
	uint16_t kernel;
	uint8_t device;
	uint8_t nuses;
	bool submitted;
	uint32_t waits; /* for so many that have not been seen to end */
	uint64_t items, base_ns;
	uint64_t submit_ns, start_ns, end_ns;
	uint64_t predicted, moving, move_ns;
	struct sim_use uses[4];
	struct sim_command *next; /* held, or in a device's queue */
};

struct sim_buffer {
	uint64_t bytes;
	uint32_t valid; /* bit n: in device n's memory; bit HOME */
	uint64_t ready[PLACES], used[PLACES];
	uint16_t pins[POLICY_DEVICES]; /* commands there that use it */
};

/* What a tenant has on one device. */
struct sim_queue {
	struct sim_command *first, *last;
	uint32_t running;
	double tag; /* time that it had, by its share */
	double usual_ns;
};

struct sim_tenant {
	const struct sim_tenant_desc *desc;
	struct sim_command *commands;
	uint32_t ncommands, next, seen;
	uint32_t *after, *nafter; /* of command i: after[nafter[i]] up to [nafter[i + 1]] */
	struct sim_buffer *buffers;
	unsigned nbuffers;
	struct sim_command *held, **held_end;
	uint32_t nheld;
	uint64_t busy_ns;   /* until then its thread has to do */
	uint64_t period_at; /* when the next may be submitted */
	uint64_t last_seen_ns;
	bool here, done, submitting;
	uint32_t allowed;
	struct policy_state state;
	struct policy_device devices[POLICY_DEVICES];
	struct policy_costs *costs;
	struct policy_cost *cost[SIM_KERNELS];
	struct lease_tenant lease;
	struct sim_queue queues[POLICY_DEVICES];
	uint64_t *latencies;
};

struct sim_device {
	const struct sim_device_desc *desc;
	double rate[SIM_KERNELS];
	bool here;
	unsigned busy;
	double tag;	  /* of who was served last */
	uint64_t link[2]; /* in, out: when it is free */
	uint64_t used;	  /* bytes of its memory */
	double busy_ns;
	uint64_t here_ns, since_ns;
};

enum sim_event_type {
	EVENT_ARRIVE,
	EVENT_SUBMIT,
	EVENT_DATA,
	EVENT_END,
	EVENT_SEEN,
	EVENT_DEVICE_COMES,
	EVENT_DEVICE_GOES,
	EVENT_LEASES,	  /* what was decided has reached everybody */
	EVENT_LEASES_OLD, /* the arbiter wanted to be asked again */
};

struct sim_event {
	uint64_t time, order;
	enum sim_event_type type;
	uint32_t index; /* of the device or tenant */
	struct sim_command *command;
};

struct sim {
	const struct sim_machine *machine;
	const struct sim_load *load;
	const struct policy *policy;
	enum lease_mode mode;
	uint64_t seed, now, order;
	struct sim_event *events;
	size_t nevents, event_room;
	struct sim_device devices[POLICY_DEVICES];
	struct sim_tenant *tenants;
	uint32_t present; /* devices */
	bool deciding;	  /* EVENT_LEASES is on its way */
	uint64_t ask_at;
	struct sim_result *result;
	size_t span_room;
	bool lost; /* for lack of memory */
};

/* simulate_load.c */
int sim_commands(const struct sim_load *load, const struct sim_tenant_desc *desc, unsigned tenant,
		 uint64_t seed, struct sim_tenant *out);
uint64_t sim_random(uint64_t seed, uint64_t a, uint64_t b);

/* simulate.c */
void sim_event(struct sim *sim, uint64_t time, enum sim_event_type type, uint32_t index,
	       struct sim_command *command);
void sim_span(struct sim *sim, const struct sim_span *span);

/* simulate_device.c */
uint64_t sim_missing(const struct sim *sim, const struct sim_command *c, unsigned device);
void sim_give(struct sim *sim, struct sim_command *c, unsigned device);
void sim_data(struct sim *sim, struct sim_command *c);
void sim_end(struct sim *sim, struct sim_command *c);
void sim_unpin(struct sim *sim, struct sim_command *c);
void sim_drain(struct sim *sim, unsigned device);

/* simulate_result.c */
void sim_results(struct sim *sim);

#endif
