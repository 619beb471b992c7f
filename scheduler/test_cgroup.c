/* SPDX-License-Identifier: Apache-2.0
 *
 * Cgroups on a tree of plain files: what is written where. That the kernel does what is asked is
 * for limits.py, which has a real tree where it may.
 */
#include "scheduler/araxd_cgroup.h"
#include "transport/testing.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GROUP "/part/domain-7-9"

static char tree[] = "/tmp/arax-test-cgroup-XXXXXX";
static char client[4096]; /* the cgroup of this process, in that tree */
static const struct domain_id id = {.uid = 7, .container = 9};
static int process;

static const char *in_tree(const char *name)
{
	static char path[16384];

	snprintf(path, sizeof(path), "%s%s", tree, name);
	return path;
}

static void file_make(const char *name, const char *text)
{
	FILE *file = fopen(in_tree(name), "w");

	CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void file_is(const char *name, const char *text)
{
	char is[256] = "";
	FILE *file = fopen(in_tree(name), "r");

	CHECK(file);
	CHECK(fread(is, 1, sizeof(is) - 1, file) == strlen(text) && strcmp(is, text) == 0);
	fclose(file);
}

/* Where this process is: all directories on the way, and the file that it would be written to. */
static void client_make(void)
{
	char path[4096], text[4096], name[8192];
	FILE *file = fopen("/proc/self/cgroup", "r");

	CHECK(file);
	while (fgets(text, sizeof(text), file))
		if (sscanf(text, "0::%4095s", path) == 1)
			snprintf(client, sizeof(client), "%s", strcmp(path, "/") ? path : "");
	fclose(file);
	for (char *at = client; (at = strchr(at + 1, '/')) || *client;) {
		snprintf(name, sizeof(name), "%.*s", at ? (int)(at - client) : 4095, client);
		CHECK(mkdir(in_tree(name), 0700) == 0 || access(in_tree(name), X_OK) == 0);
		if (!at)
			break;
	}
	strncat(client, "/cgroup.procs", sizeof(client) - strlen(client) - 1);
	file_make(client, "");
}

static void enter(struct cgroups *cgroups, enum config_cgroup use, struct cgroup_seat *seat,
		  uint64_t memory)
{
	*seat = (struct cgroup_seat){0};
	cgroup_enter(cgroups, use, seat, 12345, getpid(), process, &id, memory);
	while (atomic_load(&seat->moving))
		poll(NULL, 0, 1);
}

/* A place of its own, as systemd gives it. */
static void test_given(void)
{
	struct cgroups *cgroups;
	struct cgroup_seat seat;

	CHECK(cgroups_new(tree, "/part/araxd", &cgroups) == 0);
	CHECK(strstr(cgroups_state(cgroups), "/part"));
	file_is("/part/cgroup.subtree_control", "+memory");
	enter(cgroups, CONFIG_CGROUP_CLIENT, &seat, 0);
	CHECK(cgroup_where(&seat) == CGROUP_CLIENT && !seat.error);
	file_is(client, "12345");
	enter(cgroups, CONFIG_CGROUP_OWN, &seat, 5000);
	CHECK(cgroup_where(&seat) == CGROUP_OWN);
	file_is(GROUP "/cgroup.procs", "12345");
	file_is(GROUP "/memory.max", "5000");
	/* Not into the client's: then into its domain's. */
	CHECK(unlink(in_tree(client)) == 0);
	enter(cgroups, CONFIG_CGROUP_CLIENT, &seat, 0);
	CHECK(cgroup_where(&seat) == CGROUP_OWN && seat.error);
	file_is(GROUP "/memory.max", "max0");
	enter(cgroups, CONFIG_CGROUP_NONE, &seat, 0);
	CHECK(cgroup_where(&seat) == CGROUP_ARAXD);
	CHECK(!cgroup_shares(cgroups, &seat));
	CHECK(unlink(in_tree(GROUP "/cgroup.procs")) == 0 &&
	      unlink(in_tree(GROUP "/memory.max")) == 0);
	cgroup_gone(cgroups, &id);
	CHECK(access(in_tree(GROUP), F_OK) < 0);
	cgroups_free(cgroups);
	file_make(client, "");
}

/* Nothing is made where nothing was given, nor with a client that has ended. */
static void test_not_given(void)
{
	struct cgroups *cgroups;
	struct cgroup_seat seat;

	CHECK(cgroups_new(tree, "/part", &cgroups) == 0);
	enter(cgroups, CONFIG_CGROUP_OWN, &seat, 5000);
	CHECK(cgroup_where(&seat) == CGROUP_ARAXD);
	CHECK(access(in_tree(GROUP), F_OK) < 0);
	int alive = process, ended[2];
	CHECK(pipe(ended) == 0 && close(ended[1]) == 0);
	process = ended[0];
	enter(cgroups, CONFIG_CGROUP_CLIENT, &seat, 0);
	CHECK(cgroup_where(&seat) == CGROUP_ARAXD && seat.error);
	process = alive;
	close(ended[0]);
	file_is(client, "");
	cgroups_free(cgroups);
}

int main(void)
{
	char command[128];

	process = (int)syscall(SYS_pidfd_open, getpid(), 0);
	CHECK(process >= 0 && mkdtemp(tree));
	CHECK(mkdir(in_tree("/part"), 0700) == 0 && mkdir(in_tree(GROUP), 0700) == 0);
	file_make("/cgroup.controllers", "cpuset cpu memory\n");
	file_make("/part/cgroup.subtree_control", "");
	file_make(GROUP "/cgroup.procs", "");
	file_make(GROUP "/memory.max", "max\n");
	client_make();
	test_given();
	test_not_given();
	snprintf(command, sizeof(command), "rm -r %s", tree);
	CHECK(system(command) == 0);
	return 0;
}
