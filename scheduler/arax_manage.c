/* SPDX-License-Identifier: Apache-2.0
 *
 * arax reload, arax device, arax policy: what can be changed while the daemon runs. The daemon says
 * in words what it did, or what is wrong.
 */
#include "scheduler/arax_cli.h"
#include "transport/control.h"
#include "transport/protocol.h"
#include "transport/socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Longer than the daemon waits for a device that is drained. */
#define TIMEOUT_MS 30000

static void take(char *to, size_t size, const char *from)
{
	if ((size_t)snprintf(to, size, "%s", from) >= size)
		die(from, "is too long");
}

/* Asks, prints the answer, and gives the exit status. */
static int manage(const char *what, unsigned type, const char *name, const char *argument)
{
	struct arax_control_manage message = {.head = {.magic = ARAX_CONTROL_MAGIC,
						       .type = (uint16_t)type,
						       .major = ARAX_PROTOCOL_MAJOR,
						       .minor = ARAX_PROTOCOL_MINOR,
						       .id = 1}};
	int fds[ARAX_FDS_MAX], fd = daemon_open();

	take(message.name, sizeof(message.name), name);
	take(message.argument, sizeof(message.argument), argument);
	int error = arax_socket_send(fd, &message, sizeof(message), NULL, 0);
	if (error)
		die("asking araxd", strerror(-error));
	ssize_t n = arax_socket_recv(fd, &message, sizeof(message), fds, TIMEOUT_MS);
	if (n < 0)
		die("araxd does not answer", strerror((int)-n));
	close(fd);
	for (int i = 0; i < ARAX_FDS_MAX; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (n != sizeof(message))
		die("araxd", "the connection was closed");
	message.text[sizeof(message.text) - 1] = '\0';
	if (message.head.error)
		die(what, message.text[0] ? message.text : strerror(abs(message.head.error)));
	puts(message.text);
	return 0;
}

static int usage(const char *text)
{
	fprintf(stderr, "usage: arax %s\n", text);
	return 2;
}

int command_reload(int argc, char **argv)
{
	(void)argv;
	if (argc != 1)
		return usage("reload");
	return manage("reload", ARAX_CONTROL_RELOAD, "", "");
}

int command_device(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "offline") == 0)
		return manage(argv[2], ARAX_CONTROL_OFFLINE, argv[2], "");
	if (argc == 3 && strcmp(argv[1], "online") == 0)
		return manage(argv[2], ARAX_CONTROL_ONLINE, argv[2], "");
	return usage("device offline|online NAME");
}

static int show_policy(bool as_json)
{
	int fd = daemon_open();
	json_t *root = daemon_json(fd, ARAX_CONTROL_STATUS), *out, *client;
	const char *policy = text(json_object_get(root, "daemon"), "policy");
	struct table table = {.columns = 3, .kinds = "rll"};
	size_t i;

	close(fd);
	if (as_json) {
		json_t *clients = json_array();

		json_array_foreach(json_object_get(root, "clients"), i, client)
		    json_array_append_new(clients, json_pack("{s:O, s:s, s:s}", "pid",
							     json_object_get(client, "pid"),
							     "program", text(client, "program"),
							     "policy", text(client, "policy")));
		out = json_pack("{s:s, s:o}", "policy", policy, "clients", clients);
		print_json(out);
		json_decref(out);
	} else {
		puts(policy);
		if (json_array_size(json_object_get(root, "clients")))
			table_row(&table, "PID", "PROGRAM", "POLICY");
		json_array_foreach(json_object_get(root, "clients"), i, client) table_row(
		    &table, number(client, "pid"), text(client, "program"), text(client, "policy"));
		table_print(&table);
	}
	json_decref(root);
	return 0;
}

int command_policy(int argc, char **argv)
{
	if (argc == 1)
		return show_policy(false);
	if (argc == 2 && strcmp(argv[1], "--json") == 0)
		return show_policy(true);
	if (argc > 3 || argv[1][0] == '-')
		return usage("policy [--json | NAME [ARGUMENT]]");
	return manage(argv[1], ARAX_CONTROL_SET_POLICY, argv[1], argc == 3 ? argv[2] : "");
}
