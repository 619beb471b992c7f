/* SPDX-License-Identifier: Apache-2.0
 *
 * Devices that have processes of their own (arax-device), and who is linked to them.
 *
 * device: one instance of a [device NAME] of the configuration.
 * seat:   the place of one of its processes, running or not: of one trust domain when the device is
 *	   shared, else of one tenant.
 * link:   a tenant at a seat: it knows the device, and the process knows it.
 *
 * Whatever changes, devices_change() has the whole looked at again soon: what should be there is
 * started or linked, what should not is drained and ended (devices_settle()). So nothing waits for
 * anything, and what fails is tried again later.
 */
#ifndef ARAX_SCHEDULER_ARAXD_DEVICE_H
#define ARAX_SCHEDULER_ARAXD_DEVICE_H

#include "scheduler/araxd.h"
#include "scheduler/araxd_child.h"
#include "scheduler/lease.h"
#include "scheduler/pool.h"

#define DEVICE_DISCOVERY_MS 10000 /* a library has so long to say what its device is */
#define DEVICE_BEHIND_MS 10000	  /* a process may be so long too busy for messages */
#define DEVICE_DRAIN_MS 10000	  /* tenants have so long to bring home what is on it */
#define DEVICE_PART_MS 5000	  /* it has so long to let go of a tenant's memory */

struct device {
	struct araxd *daemon;
	struct config_device config;
	char name[32];
	unsigned slot;		/* its bit in lease_tenant.allowed */
	bool offline;		/* by command */
	bool leaving;		/* not in the configuration any more, or differently */
	uint64_t deadline_ns;	/* leaving: those who still use it then lose it */
	unsigned failures;	/* of discovery, in a row */
	uint64_t not_before_ns; /* the next attempt */
	char error[256];	/* why there is none; "" */
	bool known;
	struct arax_device_caps caps; /* as a process said */
	struct sandbox_state sandbox;
	struct seat *seats;
	struct device *next;
};

enum seat_state {
	SEAT_EMPTY,
	SEAT_STARTING,
	SEAT_READY,
	SEAT_ENDING, /* killed by us */
};

struct seat {
	struct child child;
	struct device *device;
	struct tenant *owner; /* NULL: shared by a domain */
	struct domain_id domain;
	enum seat_state state;
	bool probe; /* nobody asked for it */
	bool old;   /* an earlier araxd's: it goes when its tenants have left it for another */
	struct process_id process;
	char *work;
	char said[128]; /* why it is ended by us, or its own last words; "" */
	unsigned lines;
	pid_t pid;
	uint64_t ready_ns;
	unsigned deaths;	/* of processes that were ready, soon one after the other */
	uint64_t not_before_ns; /* the next process */
	uint64_t unused_ns;	/* since when nobody is linked */
	uint64_t behind_ns;	/* since when it takes no message; 0: it does */
	struct timer timer;	/* discovery's deadline */
	struct arax_device_caps caps;
	const struct arax_device_usage *usage;
	struct link *links;
	struct link *parting; /* of tenants that have died: their memory is still in its hands */
	struct seat *next;
};

enum link_state {
	LINK_NEW, /* nobody knows of it yet */
	LINK_UP,
	LINK_DRAINING,
	LINK_LOST,    /* the tenant is to be told */
	LINK_REFUSED, /* ended by the process, and not made again */
};

struct link {
	struct device *device;
	struct seat *seat; /* NULL when its process has ended */
	struct tenant *tenant;
	uint64_t number; /* never used again */
	unsigned index;	 /* in the tenant */
	enum link_state state;
	int fd; /* of its memory, until the tenant has it; -1 */
	bool process_knows, tenant_knows, told_drain, told_lost;
	bool noted;	      /* in the journal */
	bool old;	      /* an earlier araxd's: drained when another one has taken its place */
	uint64_t deadline_ns; /* old, and draining: then it is lost */
	struct lease told;    /* what both know */
	uint64_t commands, busy_ns;	    /* in its account when the arbiter looked last */
	ino_t arena;			    /* parting: which memory */
	struct link *next, *next_of_tenant; /* at the seat */
};

struct record_link;

struct devices {
	struct araxd *daemon;
	struct device *list;
	struct timer change, lease, again;
	uint64_t last_link;
	struct drain *drains; /* araxd_manage.c: who waits for what */
	struct timer drain;
};

int devices_new(struct araxd *daemon, struct devices **devices);

/** devices_free() - processes that have links go on with them. */
void devices_free(struct devices *devices);

/** devices_configure() - after the configuration was read. */
void devices_configure(struct devices *devices);

/** devices_change() - something is different: look at everything soon, but not now. */
void devices_change(struct devices *devices);

/** devices_notice() - a tenant is ready, or has its client. */
void devices_notice(struct devices *devices);

/** devices_detach() - a tenant has ended. */
void devices_detach(struct devices *devices, struct tenant *tenant);

/** devices_take() - a tenant of an earlier araxd's is linked to a process of a device. */
void devices_take(struct devices *devices, struct tenant *tenant, const struct record_link *record);

/** devices_answer() - a tenant says that a device is drained. Return: 0 or -EPROTO. */
int devices_answer(struct devices *devices, struct tenant *tenant,
		   const struct arax_control_device *answer);

/** devices_hold() - may a process still write into this memory, for a tenant that has died? */
bool devices_hold(const struct devices *devices, int arena);

/** devices_may_work() - could a tenant with this list have anything to run on? Return: 0 or
 * -ENODEV.
 */
int devices_may_work(const struct devices *devices, const char *list);

struct device *device_find(const struct devices *devices, const char *name);

/** device_in_use() - is anybody still linked to it? */
bool device_in_use(const struct device *device);

/** device_online(), device_offline() - by command. */
void device_online(struct device *device);
void device_offline(struct device *device);

/** device_state() - one word and why, for people. */
void device_state(const struct device *device, char *text, size_t size);

/* Of araxd_seat.c */

/** seat_find() - the tenant's place at a device; NULL when there is none yet. */
struct seat *seat_find(const struct device *device, const struct tenant *tenant);

/** seat_new() - make one; without a tenant to see what the device is. Return: NULL without memory.
 */
struct seat *seat_new(struct device *device, struct tenant *tenant);

/** seat_take() - the process of an earlier araxd's; NULL: it has gone. */
struct seat *seat_take(struct device *device, const struct record_link *record);

/** seat_start() - start its process, unless it must wait. Return: ms to wait, 0: it runs. */
uint64_t seat_start(struct seat *seat);

/** seat_end() - kill its process; it is empty afterwards, soon. why: NULL when it is no fault. */
void seat_end(struct seat *seat, const char *why);

/** seat_finish() - end it now, or let it go on when it has links; and free it. */
void seat_finish(struct seat *seat);

/** seat_send() - a message of the control protocol about a link. One that takes none for long is
 * ended. Return: 0, -EAGAIN: try later, or another -errno. */
int seat_send(struct seat *seat, struct arax_control_link *message, unsigned type, const int *fds,
	      unsigned nfds);

/** seat_parting() - it has to let go of somebody's memory soon. */
void seat_parting(struct seat *seat);

/** seat_free() - of an empty one without links. */
void seat_free(struct seat *seat);

/* Of araxd_link.c */

/** link_new() - both are told of it with its first lease. Return: 0 or -errno. */
int link_new(struct seat *seat, struct tenant *tenant);

/** link_take() - of an earlier araxd's; seat: NULL when its process has gone. Without memory it is
 *  left as it is. */
void link_take(struct device *device, struct seat *seat, struct tenant *tenant, unsigned index);

/** link_free() - unlink and forget. */
void link_free(struct link *link);

/** link_part() - its tenant has died: unlink, and forget when the process has let go of its memory.
 */
void link_part(struct link *link);

/** link_parted() - it has, of the one with this number; of all: 0. */
void link_parted(struct seat *seat, uint64_t number);

/** link_tell() - tell the tenant what it has to know. Return: false: later again. The link may be
 *  free afterwards. */
bool link_tell(struct link *link);

/** link_lease() - what the arbiter says; told to both when it is new. Return: false: later again.
 */
bool link_lease(struct link *link, const struct lease *lease);

/** link_usage() - its row in the process's account, NULL. */
const struct arax_link_usage *link_usage(const struct link *link);

/** link_find() - the tenant's link to a device, not an earlier araxd's. */
struct link *link_find(const struct tenant *tenant, const struct device *device);

/* Of araxd_lease.c: the arbiter. */

/** lease_update() - decide, and tell those for whom it is new. */
void lease_update(struct devices *devices);
void lease_again(struct timer *timer);

/* Of araxd_costs.c */

/** costs_hand_out() - a tenant gets what others have learned. Return: 0 or -errno. */
int costs_hand_out(struct araxd *daemon, struct tenant *tenant);

/** costs_take_back() - it has ended: keep what it has learned. */
void costs_take_back(struct araxd *daemon, struct tenant *tenant);

/* Of araxd_seat.c, called by it: in araxd_device.c */

/** devices_seat_ready(), devices_seat_ended() - a process is there; has ended and said why. */
void devices_seat_ready(struct seat *seat);
void devices_seat_ended(struct seat *seat);

#endif
