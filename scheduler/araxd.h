/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of araxd share: the daemon itself, its clients and the requests that cannot be
 * answered at once.
 */
#ifndef ARAX_SCHEDULER_ARAXD_H
#define ARAX_SCHEDULER_ARAXD_H

#include "scheduler/araxd_domain.h"
#include "scheduler/araxd_loop.h"
#include "scheduler/araxd_trace.h"
#include "scheduler/config.h"
#include "transport/control.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct pool;
struct tenant;
struct builder;
struct cgroups;
struct history;
struct devices;
struct variants;
struct journal;
struct araxd;

#define ADOPT_NAME 24 /* bytes of the name of a tenant's socket */

/* One connection. */
struct client {
	struct araxd *daemon;
	struct source socket, process; /* the connection, and who is there (pidfd) */
	pid_t pid;		       /* for people to read; a number decides nothing */
	struct domain_id id;
	bool absent;	     /* it has no connection, only a tenant (araxd_adopt.h) */
	unsigned requests;   /* of it that wait */
	uint64_t arena_size; /* of its tenants, once it had one */
	uint32_t objects;    /* and their limits */
	uint16_t commands;
	bool attaching;		  /* an ATTACH waits */
	char wanted[CONFIG_LIST]; /* devices, as its last ATTACH said */
	bool own_policy;	  /* and it named a policy */
	struct tenant *tenant;
	/* Of its tenants: how many have died, how many soon one after the other, how the last. */
	unsigned deaths, crashes;
	char died[96];
	uint64_t not_before_ns;		 /* it gets the next one */
	struct timer respawn;		 /* then */
	struct trace_memory trace;	 /* of its application, from its first tenant on */
	bool traces, traces_descendants; /* araxd_trace.c: is told of applications; only its own */
	uint64_t trace_request;		 /* the id of what it asked */
	struct client *next;
};

/* A request whose answer must wait; goes away with its client. */
struct request {
	struct client *client;
	struct arax_control_head head;
	struct arax_control_attach attach;
	int fd; /* BUILD: the request's bytes; -1 */
	uint64_t deadline_ns;
	struct request *next;
};

struct araxd {
	struct loop loop;
	struct config config;
	char *config_path; /* NULL: the usual one */
	long idle_exit;	   /* on the command line; -1 */
	bool system;	   /* for all users, not only for our own */
	bool stopping;	   /* leaves when the last tenant has ended */
	bool broken;	   /* leaves because it cannot serve */
	uint64_t started_ns;
	char *socket_path, *libexec, *work;
	int work_lock;	/* the directory, locked as long as it is used */
	bool activated; /* the socket is systemd's */
	int lock;
	int spare; /* a descriptor to have when there is none left */
	struct source listening, signals;
	struct client *clients;
	unsigned nclients;
	unsigned warnings; /* about clients, since */
	uint64_t warnings_since_ns;
	unsigned refused;	 /* connections in a row that could not be accepted */
	struct request *waiting; /* for a tenant or for what the device is */
	struct timer waiting_timer, idle_timer, accept_timer;
	struct pool *pool;
	struct cgroups *cgroups;
	struct builder *builder;
	struct history *history;
	struct devices *devices;
	struct variants *variants; /* araxd_variants.c; NULL: none were read */
	/* For the next araxd (araxd_adopt.h). */
	char *journal_path;
	struct journal *journal; /* NULL: none */
	int journal_error;	 /* that has been said */
	int adopt_folder;	 /* where tenants listen; -1 */
	uint64_t last_key;
};

/** araxd_progress() - something became ready: look at the waiting requests again. */
void araxd_progress(struct araxd *daemon);

/** araxd_unavailable() - tenants do not start: answer the waiting requests with an error. */
void araxd_unavailable(struct araxd *daemon, int error);

/** araxd_idle_seconds() - what the configuration's idle_exit means for this daemon. */
void araxd_idle_seconds(const struct araxd *daemon, struct config *config);

/** araxd_idle() - the number of clients or tenants has changed: is it time to leave? */
void araxd_idle(struct araxd *daemon);

/** client_accept() - take a new connection from the listening socket. */
void client_accept(struct araxd *daemon);
void client_accept_again(struct timer *timer);
void client_free(struct client *client);

/** client_drop() - shut its connection. The loop sees the end and frees the client; callers may
 * still hold it. */
void client_drop(struct client *client);

/** client_reply_plain() - answer with a head and perhaps one descriptor. */
void client_reply_plain(struct client *client, const struct arax_control_head *head, int error,
			int fd);

/** client_tenant_ended() - its tenant is no more; how it ended, and how long it lived. */
void client_tenant_ended(struct client *client, const char *how, uint64_t lived_ns);

/**
 * client_serve() - try to answer a request that may have to wait
 * Return: false when it must wait on.
 */
bool client_serve(struct request *request);

void request_free(struct request *request);

/** request_drop() - remove a client's requests from a list. */
void request_drop(struct request **list, const struct client *client);

void araxd_log(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define araxd_error(...) araxd_log(3, __VA_ARGS__)
#define araxd_warn(...) araxd_log(4, __VA_ARGS__)
#define araxd_info(...) araxd_log(6, __VA_ARGS__)

#endif
