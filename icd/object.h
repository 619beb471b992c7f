/* SPDX-License-Identifier: Apache-2.0
 *
 * What all OpenCL objects of the client library have in common: the layout that ICD loaders want
 * (dispatch table first, loader data second: cl_khr_icd 2.0.0), a kind by which a handle of the
 * wrong type is recognised, and two counts. refs is the application's (CL_*_REFERENCE_COUNT);
 * uses also counts what the library holds (commands in flight, other objects). The application's
 * references together hold one use; the object goes when no use is left.
 */
#ifndef ARAX_ICD_OBJECT_H
#define ARAX_ICD_OBJECT_H

#include "icd/api.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum object_kind {
	OBJECT_PLATFORM = 0x61720001,
	OBJECT_DEVICE,
	OBJECT_CONTEXT,
	OBJECT_QUEUE,
	OBJECT_MEM,
	OBJECT_SAMPLER,
	OBJECT_PROGRAM,
	OBJECT_KERNEL,
	OBJECT_EVENT,
	OBJECT_DEAD = 0x6172dead,
};

struct object {
	const cl_icd_dispatch *dispatch;
	void *loader_data;
	enum object_kind kind;
	_Atomic uint32_t refs;			/* the application's */
	_Atomic uint32_t uses;			/* the library's, plus one while refs > 0 */
	void (*destroy)(struct object *object); /* called without locks when uses becomes 0 */
};

/** object_init() - one reference, held by the application. */
void object_init(struct object *object, enum object_kind kind, void (*destroy)(struct object *));

static inline bool object_is(const void *handle, enum object_kind kind)
{
	const struct object *object = handle;
	return object && object->kind == kind &&
	       atomic_load_explicit(&object->refs, memory_order_relaxed) != 0;
}

/* The application's references. release: runs destroy when it was the last use. */
void object_retain(struct object *object);
void object_release(struct object *object);

/* The library's references. */
static inline void object_use(struct object *object)
{
	atomic_fetch_add_explicit(&object->uses, 1, memory_order_relaxed);
}
void object_unuse(struct object *object);

/** object_try_use() - the same for who found the object in a list: false when it is being destroyed
 */
static inline bool object_try_use(struct object *object)
{
	uint32_t uses = atomic_load_explicit(&object->uses, memory_order_relaxed);

	while (uses &&
	       !atomic_compare_exchange_weak_explicit(&object->uses, &uses, uses + 1,
						      memory_order_acquire, memory_order_relaxed))
		;
	return uses != 0;
}

/**
 * info_copy() - the common end of all clGet*Info: copies size bytes of value
 * Return: CL_SUCCESS, or CL_INVALID_VALUE when param_value is given but too small.
 */
cl_int info_copy(const void *value, size_t size, size_t param_value_size, void *param_value,
		 size_t *param_value_size_ret);
static inline cl_int info_string(const char *string, size_t param_value_size, void *param_value,
				 size_t *param_value_size_ret)
{
	return info_copy(string, strlen(string) + 1, param_value_size, param_value,
			 param_value_size_ret);
}
#define INFO(type, value) \
	info_copy(&(type){value}, sizeof(type), param_value_size, param_value, param_value_size_ret)

/* For state that is held for some instructions and practically never contended: half the price of a
 * mutex. (The specification lets applications change one kernel in one thread only, but a mistake
 * in that must not corrupt memory.) */
static inline void spin_lock(atomic_flag *lock)
{
	while (atomic_flag_test_and_set_explicit(lock, memory_order_acquire))
		sched_yield();
}

static inline void spin_unlock(atomic_flag *lock)
{
	atomic_flag_clear_explicit(lock, memory_order_release);
}

/* Sets *errcode_ret when the application wants it. */
static inline void set_error(cl_int *errcode_ret, cl_int error)
{
	if (errcode_ret)
		*errcode_ret = error;
}

#endif
