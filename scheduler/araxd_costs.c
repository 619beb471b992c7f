/* SPDX-License-Identifier: Apache-2.0
 *
 * What tenants have learned about kernels, kept per trust domain beside its build results. araxd
 * does not read it: whoever gets it is of the same domain, and checks it.
 */
#include "scheduler/araxd_device.h"

#include "kernels/cache.h"
#include "scheduler/araxd_build.h"
#include "transport/fault_point.h"
#include "transport/protocol.h"
#include "transport/socket.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* No build has it: their keys come from requests, which begin otherwise. */
static void costs_key(char key[ARAX_CACHE_KEY_SIZE])
{
	static const char what[] = "learned times of kernels";

	arax_cache_key("arax-costs 1", what, sizeof(what), key);
}

/* What an earlier one has left. */
static void costs_fill(struct arax_costs *costs, struct arax_cache *cache)
{
	char key[ARAX_CACHE_KEY_SIZE];
	const void *data;
	size_t size;

	costs_key(key);
	int fd = cache ? arax_cache_get(cache, key) : -ENOENT;
	if (fd < 0)
		return;
	if (arax_memfd_map(fd, ARAX_COSTS_MAX, &data, &size) == 0) {
		memcpy(costs->text, data, size);
		atomic_store(&costs->size, (uint32_t)size);
		munmap((void *)(uintptr_t)data, size);
	}
	close(fd);
}

int costs_hand_out(struct araxd *daemon, struct tenant *tenant)
{
	struct arax_control_plain message = {.head = {.magic = ARAX_CONTROL_MAGIC,
						      .type = ARAX_CONTROL_COSTS,
						      .major = ARAX_PROTOCOL_MAJOR,
						      .minor = ARAX_PROTOCOL_MINOR}};
	int fd = arax_memfd_new("arax-costs", sizeof(struct arax_costs));

	if (fd < 0)
		return fd;
	void *map =
	    mmap(NULL, sizeof(struct arax_costs), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int error = map == MAP_FAILED ? -errno : 0;
	if (!error) {
		tenant->costs = map;
		costs_fill(tenant->costs, builder_cache(daemon->builder, &tenant->id));
		error = tenant->child.control.fd < 0
			    ? -EPIPE
			    : arax_socket_send(tenant->child.control.fd, &message, sizeof(message),
					       &fd, 1);
	}
	close(fd);
	ARAX_FAULT_POINT(ARAXD_COSTS_HANDED_OUT);
	return error;
}

/* The tenant has ended, so nobody writes there any more. */
static int costs_store(struct araxd *daemon, const struct tenant *tenant)
{
	uint32_t size = atomic_load(&tenant->costs->size);
	struct arax_cache *cache = builder_cache(daemon->builder, &tenant->id);
	char key[ARAX_CACHE_KEY_SIZE];

	if (!size || size > ARAX_COSTS_MAX || !cache)
		return 0;
	int fd = arax_memfd_from("arax-costs", tenant->costs->text, size);
	if (fd < 0)
		return fd;
	costs_key(key);
	int error = arax_cache_put(cache, key, fd);
	close(fd);
	return error;
}

void costs_take_back(struct araxd *daemon, struct tenant *tenant)
{
	if (!tenant->costs)
		return;
	int error = costs_store(daemon, tenant);
	if (error)
		araxd_warn("what tenant %d has learned is not kept: %s", tenant->pid,
			   strerror(-error));
	munmap(tenant->costs, sizeof(*tenant->costs));
	tenant->costs = NULL;
}
