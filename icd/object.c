/* SPDX-License-Identifier: Apache-2.0
 *
 * Life and death of the client library's objects, and the common end of the info queries.
 */
#include "icd/icd.h"

#include <assert.h>

void object_init(struct object *object, enum object_kind kind, void (*destroy)(struct object *))
{
	object->dispatch = the_platform.object.dispatch;
	object->loader_data = the_platform.object.loader_data;
	object->kind = kind;
	object->destroy = destroy;
	atomic_init(&object->refs, 1);
	atomic_init(&object->uses, 1);
}

void object_retain(struct object *object)
{
	atomic_fetch_add_explicit(&object->refs, 1, memory_order_relaxed);
}

void object_release(struct object *object)
{
	if (atomic_fetch_sub_explicit(&object->refs, 1, memory_order_acq_rel) == 1)
		object_unuse(object);
}

void object_unuse(struct object *object)
{
	uint32_t before = atomic_fetch_sub_explicit(&object->uses, 1, memory_order_acq_rel);

	assert(before > 0);
	if (before == 1) {
		/* destroy frees it; the mark helps against use after release while it lasts */
		object->kind = OBJECT_DEAD;
		object->destroy(object);
	}
}

cl_int info_copy(const void *value, size_t size, size_t param_value_size, void *param_value,
		 size_t *param_value_size_ret)
{
	if (param_value) {
		if (param_value_size < size)
			return CL_INVALID_VALUE;
		if (size)
			memcpy(param_value, value, size);
	}
	if (param_value_size_ret)
		*param_value_size_ret = size;
	return CL_SUCCESS;
}
