/* SPDX-License-Identifier: Apache-2.0
 *
 * A file of records for whoever takes our place: each is there as a whole or not at all, whenever
 * the process that writes is killed. What is in the records is araxd_adopt.c's business.
 *
 * It holds for one boot of one machine. A record is appended before what it says is done; when the
 * file has become long it is written anew, from what is then the case.
 */
#ifndef ARAX_SCHEDULER_JOURNAL_H
#define ARAX_SCHEDULER_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JOURNAL_RECORD_MAX (1u << 20) /* bytes of one record */
#define JOURNAL_WHY 128

struct journal;

/* Takes a record; data is aligned for any type. Return: false when it makes no sense, after which
 * nothing more is read. */
typedef bool (*journal_take)(void *arg, uint32_t type, const void *data, size_t size);

/**
 * journal_parse() - hand over the records of a journal's bytes, as far as they are good
 * @why: set to what is wrong; "" when all is as it should be
 * Return: bytes that are good; 0: it is no journal, or not one of this boot.
 */
size_t journal_parse(const void *data, size_t size, journal_take take, void *arg,
		     char why[JOURNAL_WHY]);

/**
 * journal_read() - hand over what a predecessor has left
 * @why: as above, also when the file is refused
 * Return: 0, also when there is none or it is refused; -ENOMEM.
 */
int journal_read(const char *path, journal_take take, void *arg, char why[JOURNAL_WHY]);

/**
 * journal_new() - begin a journal in the place of what is there
 * @write: called now and later, to append what is the case
 * Return: 0 or -errno.
 */
int journal_new(const char *path, void (*write)(struct journal *journal, void *arg), void *arg,
		struct journal **journal);

/** journal_append() - before it is done. A journal that cannot be written says so once, in
 *  journal_error(), and does without. journal may be NULL. */
void journal_append(struct journal *journal, uint32_t type, const void *data, size_t size);

/** journal_error() - what went wrong since last time, a negative errno, or 0. */
int journal_error(struct journal *journal);

/** journal_free() - the file stays, unless it is removed. */
void journal_free(struct journal *journal, bool remove);

#endif
