/* SPDX-License-Identifier: Apache-2.0
 *
 * The other end of devices/remote.c: serves the links of several tenants on one device, in
 * arax-device. A tenant is not trusted: every record is checked, a mistake ends its link and
 * nobody else's, and who may give the device its next command is decided here (share.h).
 *
 * A thread per link reads its records; the calls into the back end are made one at a time, so a
 * back end sees what device.h promises. What is in flight holds references to its objects.
 */
#ifndef ARAX_DEVICES_SERVE_H
#define ARAX_DEVICES_SERVE_H

#include "devices/device.h"

struct serve;

struct serve_events {
	/*
	 * A link has ended and its number may be used again: error 0 after serve_unlink(), -EPROTO:
	 * its tenant broke the protocol, -ENODEV: the device is lost, another -errno; why says it
	 * in words. On the link's thread.
	 */
	void (*ended)(void *arg, uint64_t link, int error, const char *why);
	void *arg;
};

/**
 * serve_new() - serve a device
 * @dev: must outlive it; its completions come by done, not by poll()
 * @usage: zeroed; written from now on
 * Return: 0 or -errno.
 */
int serve_new(struct arax_device *dev, struct arax_device_usage *usage,
	      const struct serve_events *events, struct serve **serve);

/**
 * serve_link() - a tenant comes
 * @link: its number, share and arena's size
 * @link_fd, @arena_fd: mapped, not kept
 * Return: 0; -EEXIST: the number is taken; -EMFILE: ARAX_DEVICE_LINKS are there; -EPROTO: these are
 * no such memories; -ENODEV: the device is lost; another -errno.
 */
int serve_link(struct serve *serve, const struct arax_control_link *link, int link_fd,
	       int arena_fd);

/** serve_share() - other weight, depth and memory from now on. Return: 0 or -ENOENT. */
int serve_share(struct serve *serve, const struct arax_control_link *share);

/**
 * serve_unlink() - that tenant has gone
 *
 * From its return on nothing is written into the tenant's memory any more, not by copies that are
 * on their way either, and no command ends with success. Does not wait: its objects are freed by
 * the link's thread, those that a command in flight uses when that has ended. Return: 0 or -ENOENT.
 */
int serve_unlink(struct serve *serve, uint64_t link);

/** serve_free() - end all links, wait for all that is in flight. */
void serve_free(struct serve *serve);

#endif
