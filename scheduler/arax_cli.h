/* SPDX-License-Identifier: Apache-2.0
 *
 * What the commands of arax share: asking the daemon, numbers for people, tables, and giving up.
 */
#ifndef ARAX_SCHEDULER_ARAX_CLI_H
#define ARAX_SCHEDULER_ARAX_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** die() - says "arax: WHAT: WHY" and exits with 1. */
_Noreturn void die(const char *what, const char *why);
extern void (*before_dying)(void); /* for who has taken the terminal; NULL */

/* A table whose columns are as wide as what is in them; those of numbers are set to the right. */
struct table {
	unsigned columns, rows, capacity;
	const char *kinds; /* for each column 'l' or 'r' */
	char **cells;
};

void table_row(struct table *table, ...);

/** table_print() - prints and empties it. */
void table_print(struct table *table);

/* Members of a JSON object; "" or 0 where there are none. Texts of the last three are good until
 * some more were made. */
const char *text(const json_t *object, const char *key);
const char *number(const json_t *object, const char *key);
const char *bytes(const json_t *object, const char *key);
const char *duration(const json_t *object, const char *key);

/** format() - printf into such a text; bytes_text() - a size as people write it. */
const char *format(const char *how, ...) __attribute__((format(printf, 1, 2)));
const char *bytes_text(double value);

/** daemon_connect() - the daemon's socket, looked for where applications look.
 *  Return: descriptor or -errno; used says where. */
int daemon_connect(char *used, size_t size);

/** daemon_open() - the same, or die. */
int daemon_open(void);

/** daemon_ask() - asks one question. Return: the descriptor that came with the answer, -1 for none;
 *  dies without an answer. daemon_json() - the same for JSON. */
int daemon_ask(int fd, unsigned type);
json_t *daemon_json(int fd, unsigned type);

void print_json(json_t *root);

/* The larger commands, each in a file of its own. Arguments without "arax"; exit status. */
int command_trace(int argc, char **argv);
int command_top(int argc, char **argv);
int command_plot(int argc, char **argv);
int command_simulate(int argc, char **argv);
int command_reload(int argc, char **argv);
int command_device(int argc, char **argv);
int command_policy(int argc, char **argv);

#endif
