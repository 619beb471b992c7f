/* SPDX-License-Identifier: Apache-2.0
 *
 * What buffers and images share: life, references, destructor callbacks, info, maps. A memory
 * object is a range of the arena, so a map is a pointer into it: no copy. Only
 * CL_MEM_USE_HOST_PTR objects have a second place, the application's own memory, and copy between
 * the two when they are mapped and unmapped.
 */
#include "icd/connection.h"

#include <stdlib.h>

/* Where data may begin; the device promises half of it. */
#define DATA_ALIGN 256u
/* Data from two pages on begins at one of so many places of a page. */
#define STAGGERED_FROM 8192u
#define STAGGER_STEPS (4096u / DATA_ALIGN)

struct mem_callback {
	struct mem_callback *next;
	void(CL_CALLBACK *notify)(cl_mem, void *);
	void *arg;
};

/* A view of SVM memory has no word: it is reached in ways that nobody hears of. */
uint32_t mem_home_index(cl_mem root)
{
	uint32_t index = ARAX_HANDLE_INDEX(root->handle);

	return root->range && index < ARAX_HOMES ? index : ARAX_NO_HOME;
}

static uint32_t home_of(struct connection *conn, cl_mem root)
{
	uint32_t index = mem_home_index(root);

	return index == ARAX_NO_HOME
		   ? 0
		   : atomic_load_explicit(&conn->shm->home[index], memory_order_acquire);
}

uint32_t mem_home(cl_mem mem)
{
	cl_mem root = mem_root(mem);

	return home_of(root->context->conn, root);
}

/* ---- the cache of released buffers ----------------------------------------------------------
 * Programs create and release buffers of the same few sizes all the time. A released buffer keeps
 * its range, its handle and what the tenant knows of it, and becomes the next one of its size; a
 * place is found by the size alone, and what was there before goes. heap_lock guards it. */

#define CACHED_AT_MOST (256ull << 20) /* bytes in all */

static unsigned cache_place(size_t size)
{
	return (unsigned)((size * 0x9E3779B97F4A7C15ull) >> 32) % MEM_CACHE;
}

/* The end of a memory object that no device uses. */
static void mem_forget(struct connection *conn, cl_mem mem)
{
	/* a number that the tenant never heard of is only given back */
	connection_drop(conn, mem->announced ? ARAX_OP_MEM_DROP : ARAX_OP_COUNT, mem->handle);
	if (mem->range)
		connection_release(conn, mem->range);
	free(mem->properties);
	pthread_mutex_destroy(&mem->lock);
	free(mem);
}

struct leaving {
	struct connection *conn;
	cl_mem mem;
};

static void left(const struct host_work *work)
{
	struct leaving *leaving = work->arg;

	/* Nobody writes there any more, and the handle's next owner begins anew. */
	atomic_store_explicit(&leaving->conn->shm->home[mem_home_index(leaving->mem)], 0,
			      memory_order_relaxed);
	mem_forget(leaving->conn, leaving->mem);
	free(leaving);
}

/* The end of a memory object that no command uses. conn: its connection; its context may be gone.
 * While its contents may be on their way from a device its range is nobody else's; without memory
 * to wait for that, never again. */
static void mem_free(struct connection *conn, cl_mem mem)
{
	if (!mem->range || !mem->announced || !connection_alive(conn) || !home_of(conn, mem)) {
		mem_forget(conn, mem);
		return;
	}
	struct leaving *leaving = malloc(sizeof(*leaving));
	if (leaving)
		*leaving = (struct leaving){conn, mem};
	if (leaving && !connection_quiesce(conn, mem->data, mem->size, left, leaving))
		return;
	free(leaving);
	mem->range = NULL;
	mem_forget(conn, mem);
}

static cl_mem cache_take(struct connection *conn, size_t size)
{
	unsigned place = cache_place(size);

	pthread_mutex_lock(&conn->heap_lock);
	cl_mem mem = conn->mem_cache[place];
	if (mem && mem->size == size) {
		conn->mem_cache[place] = NULL;
		conn->mem_cached -= size;
	} else {
		mem = NULL;
	}
	pthread_mutex_unlock(&conn->heap_lock);
	return mem;
}

/* Takes the object over if it can; what had its place is freed. */
static bool cache_put(struct connection *conn, cl_mem mem)
{
	unsigned place = cache_place(mem->size);
	cl_mem before = mem;

	if (mem->type != CL_MEM_OBJECT_BUFFER || !mem->range || !connection_alive(conn) ||
	    home_of(conn, mem))
		return false;
	pthread_mutex_lock(&conn->heap_lock);
	uint64_t leaves = conn->mem_cache[place] ? conn->mem_cache[place]->size : 0;
	if (conn->mem_cached - leaves + mem->size <= CACHED_AT_MOST) {
		before = conn->mem_cache[place];
		conn->mem_cache[place] = mem;
		conn->mem_cached += mem->size - leaves;
	}
	pthread_mutex_unlock(&conn->heap_lock);
	if (before && before != mem)
		mem_free(conn, before);
	return before != mem;
}

bool mem_cache_flush(struct connection *conn)
{
	bool any = false;

	for (unsigned i = 0; i < MEM_CACHE; i++) {
		pthread_mutex_lock(&conn->heap_lock);
		cl_mem mem = conn->mem_cache[i];
		conn->mem_cache[i] = NULL;
		if (mem)
			conn->mem_cached -= mem->size;
		pthread_mutex_unlock(&conn->heap_lock);
		if (mem)
			mem_free(conn, mem);
		any |= mem != NULL;
	}
	return any;
}

/* ---- life ----------------------------------------------------------------------------------- */

/* Destructor callbacks run last in, first out, when nothing uses the object any more, and before
 * its memory goes (section 5.5.2): the application may free its CL_MEM_USE_HOST_PTR memory then. */
static void mem_destroy(struct object *object)
{
	cl_mem mem = (cl_mem)object;
	cl_context context = mem->context;
	struct mem_callback *next;
	struct mem_map *next_map;

	for (struct mem_callback *c = mem->callbacks; c; c = next) {
		next = c->next;
		c->notify(mem, c->arg);
		free(c);
	}
	for (struct mem_map *map = mem->maps; map; map = next_map) {
		next_map = map->next;
		free(map);
	}
	if (mem->parent)
		object_unuse(&mem->parent->object);
	if (!cache_put(context->conn, mem))
		mem_free(context->conn, mem);
	object_unuse(&context->object);
}

/* Large ranges begin where a page does. Data that did so, too, would let kernels wait for nothing:
 * a load must not pass an earlier store whose address has the same lower twelve bits, and the same
 * index into several buffers is the rule. So each begins a little further into its first page. */
static size_t stagger(struct connection *conn, size_t size)
{
	if (size < STAGGERED_FROM)
		return 0;
	return atomic_fetch_add_explicit(&conn->staggered, 1, memory_order_relaxed) %
	       STAGGER_STEPS * DATA_ALIGN;
}

static cl_mem mem_allocate(struct connection *conn, size_t size, cl_int *error)
{
	size_t before = stagger(conn, size);
	char *range = NULL;
	cl_mem mem;

	if (size) {
		range = connection_alloc(conn, size + before, DATA_ALIGN);
		if (!range) {
			*error = CL_MEM_OBJECT_ALLOCATION_FAILURE;
			return NULL;
		}
	}
	mem = calloc(1, sizeof(*mem));
	uint32_t handle = mem ? connection_handle(conn, ARAX_HANDLE_MEM) : 0;
	if (!handle) {
		if (range)
			connection_release(conn, range);
		*error = mem ? CL_OUT_OF_RESOURCES : CL_OUT_OF_HOST_MEMORY;
		free(mem);
		return NULL;
	}
	mem->data = range ? range + before : NULL;
	mem->range = range;
	mem->handle = handle;
	pthread_mutex_init(&mem->lock, NULL);
	return mem;
}

/* A cached buffer starts anew; what the tenant knows of it still holds if the flags are alike. */
static void mem_renew(cl_mem mem, cl_mem_flags flags)
{
	free(mem->properties);
	mem->properties = NULL;
	mem->nproperties = 0;
	mem->parent = NULL;
	mem->origin = 0;
	mem->host_ptr = NULL;
	mem->host_newer = false;
	mem->maps = NULL;
	mem->map_count = 0;
	mem->callbacks = NULL;
	mem->announced &= mem->flags == flags;
}

cl_mem mem_new(cl_context context, cl_mem_object_type type, cl_mem_flags flags, size_t size,
	       cl_int *error)
{
	struct connection *conn = context->conn;
	cl_mem mem;

	if (!connection_alive(conn)) {
		*error = CL_OUT_OF_RESOURCES;
		return NULL;
	}
	mem = type == CL_MEM_OBJECT_BUFFER && size ? cache_take(conn, size) : NULL;
	if (mem)
		mem_renew(mem, flags);
	else
		mem = mem_allocate(conn, size, error);
	if (!mem)
		return NULL;
	object_init(&mem->object, OBJECT_MEM, mem_destroy);
	object_use(&context->object);
	mem->context = context;
	mem->type = type;
	mem->flags = flags;
	mem->size = size;
	mem->element = 1;
	*error = CL_SUCCESS;
	return mem;
}

static bool more_than_one(cl_bitfield flags)
{
	return flags & (flags - 1);
}

cl_int mem_flags_check(cl_mem_flags *flags, const void *host_ptr)
{
	const cl_mem_flags access = CL_MEM_READ_WRITE | CL_MEM_WRITE_ONLY | CL_MEM_READ_ONLY;
	const cl_mem_flags host =
	    CL_MEM_HOST_WRITE_ONLY | CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_NO_ACCESS;
	const cl_mem_flags from = CL_MEM_USE_HOST_PTR | CL_MEM_COPY_HOST_PTR;

	if (*flags & ~(access | host | from | CL_MEM_ALLOC_HOST_PTR | CL_MEM_KERNEL_READ_AND_WRITE))
		return CL_INVALID_VALUE;
	if (more_than_one(*flags & access) || more_than_one(*flags & host) ||
	    ((*flags & CL_MEM_USE_HOST_PTR) &&
	     (*flags & (CL_MEM_COPY_HOST_PTR | CL_MEM_ALLOC_HOST_PTR))))
		return CL_INVALID_VALUE;
	if ((host_ptr != NULL) != ((*flags & from) != 0))
		return CL_INVALID_HOST_PTR;
	if (!(*flags & access))
		*flags |= CL_MEM_READ_WRITE;
	return CL_SUCCESS;
}

cl_int mem_properties_keep(cl_mem mem, const cl_mem_properties *properties)
{
	if (!properties)
		return CL_SUCCESS;
	if (properties[0])
		return CL_INVALID_PROPERTY;
	mem->properties = calloc(1, sizeof(*mem->properties));
	mem->nproperties = 1;
	return mem->properties ? CL_SUCCESS : CL_OUT_OF_HOST_MEMORY;
}

cl_int arax_clRetainMemObject(cl_mem mem)
{
	if (!object_is(mem, OBJECT_MEM))
		return CL_INVALID_MEM_OBJECT;
	object_retain(&mem->object);
	return CL_SUCCESS;
}

cl_int arax_clReleaseMemObject(cl_mem mem)
{
	if (!object_is(mem, OBJECT_MEM))
		return CL_INVALID_MEM_OBJECT;
	/* what has ended may hold the last use but ours */
	connection_settle(mem->context->conn);
	object_release(&mem->object);
	return CL_SUCCESS;
}

cl_int arax_clSetMemObjectDestructorCallback(cl_mem mem, void(CL_CALLBACK *notify)(cl_mem, void *),
					     void *user_data)
{
	struct mem_callback *callback;

	if (!object_is(mem, OBJECT_MEM))
		return CL_INVALID_MEM_OBJECT;
	if (!notify)
		return CL_INVALID_VALUE;
	callback = malloc(sizeof(*callback));
	if (!callback)
		return CL_OUT_OF_HOST_MEMORY;
	pthread_mutex_lock(&mem->lock);
	*callback = (struct mem_callback){mem->callbacks, notify, user_data};
	mem->callbacks = callback;
	pthread_mutex_unlock(&mem->lock);
	return CL_SUCCESS;
}

cl_int arax_clGetMemObjectInfo(cl_mem mem, cl_mem_info param_name, size_t param_value_size,
			       void *param_value, size_t *param_value_size_ret)
{
	if (!object_is(mem, OBJECT_MEM))
		return CL_INVALID_MEM_OBJECT;
	switch (param_name) {
	case CL_MEM_TYPE:
		return INFO(cl_mem_object_type, mem->type);
	case CL_MEM_FLAGS:
		return INFO(cl_mem_flags, mem->flags);
	case CL_MEM_SIZE:
		return INFO(size_t, mem->size);
	case CL_MEM_HOST_PTR:
		return INFO(void *, mem->flags &CL_MEM_USE_HOST_PTR ? mem->host_ptr : NULL);
	case CL_MEM_MAP_COUNT:
		return INFO(cl_uint, mem->map_count);
	case CL_MEM_REFERENCE_COUNT:
		return INFO(cl_uint, mem->object.refs);
	case CL_MEM_CONTEXT:
		return INFO(cl_context, mem->context);
	case CL_MEM_ASSOCIATED_MEMOBJECT:
		return INFO(cl_mem, mem->parent);
	case CL_MEM_OFFSET:
		return INFO(size_t, mem->origin);
	case CL_MEM_USES_SVM_POINTER: {
		/* a buffer over an SVM allocation lies in the arena without owning its range */
		cl_mem root = mem_root(mem);
		return INFO(cl_bool, (root->flags & CL_MEM_USE_HOST_PTR) && !root->range);
	}
	case CL_MEM_PROPERTIES:
		return info_copy(mem->properties, mem->nproperties * sizeof(*mem->properties),
				 param_value_size, param_value, param_value_size_ret);
	default:
		return CL_INVALID_VALUE;
	}
}

/* ---- maps ----------------------------------------------------------------------------------- */

void mem_whole_region(cl_mem mem, size_t region[3])
{
	const cl_image_desc *desc = &mem->desc;

	region[0] = mem->type == CL_MEM_OBJECT_BUFFER ? mem->size : desc->image_width;
	region[1] = region[2] = 1;
	switch (mem->type) {
	case CL_MEM_OBJECT_IMAGE1D_ARRAY:
		region[1] = desc->image_array_size;
		break;
	case CL_MEM_OBJECT_IMAGE2D:
		region[1] = desc->image_height;
		break;
	case CL_MEM_OBJECT_IMAGE2D_ARRAY:
		region[1] = desc->image_height;
		region[2] = desc->image_array_size;
		break;
	case CL_MEM_OBJECT_IMAGE3D:
		region[1] = desc->image_height;
		region[2] = desc->image_depth;
		break;
	}
}

bool mem_map_copy(cl_mem mem, const struct mem_map *map, bool out, struct copy *copy)
{
	if (!mem->host_ptr || mem->host_ptr == mem->data)
		return false;
	/* the second dimension of a 1D array is its layers */
	bool layers = mem->type == CL_MEM_OBJECT_IMAGE1D_ARRAY;
	size_t row = layers ? mem->slice_pitch : mem->row_pitch;
	size_t host_row = layers ? mem->host_slice : mem->host_row;
	size_t offset = map->origin[0] * mem->element + map->origin[1] * row +
			map->origin[2] * mem->slice_pitch;
	size_t host_offset = map->origin[0] * mem->element + map->origin[1] * host_row +
			     map->origin[2] * mem->host_slice;

	*copy = (struct copy){
	    .dst = out ? mem->host_ptr + host_offset : mem->data + offset,
	    .src = out ? mem->data + offset : mem->host_ptr + host_offset,
	    .width = map->region[0] * mem->element,
	    .height = map->region[1],
	    .depth = map->region[2],
	    .dst_row = out ? host_row : row,
	    .dst_slice = out ? mem->host_slice : mem->slice_pitch,
	    .src_row = out ? row : host_row,
	    .src_slice = out ? mem->slice_pitch : mem->host_slice,
	};
	return true;
}

void mem_reach_map(struct command_desc *desc, cl_mem mem, const struct mem_map *map, bool unmap)
{
	/* the second dimension of a 1D array is its layers */
	bool layers = mem->type == CL_MEM_OBJECT_IMAGE1D_ARRAY;
	size_t row = layers ? mem->slice_pitch : mem->row_pitch;
	size_t offset = map->origin[0] * mem->element + map->origin[1] * row +
			map->origin[2] * mem->slice_pitch;
	struct copy box = {
	    .dst = mem->data + offset,
	    .src = mem->data + offset,
	    .width = map->region[0] * mem->element,
	    .height = map->region[1],
	    .depth = map->region[2],
	    .dst_row = row,
	    .dst_slice = mem->slice_pitch,
	    .src_row = row,
	    .src_slice = mem->slice_pitch,
	};
	uint32_t access = ARAX_ACCESS_READ;

	if (map->flags & CL_MAP_WRITE_INVALIDATE_REGION)
		access = ARAX_ACCESS_WRITE;
	else if (map->flags & CL_MAP_WRITE)
		access = unmap ? ARAX_ACCESS_WRITE : ARAX_ACCESS_BOTH;
	command_reaches(desc, mem, &box, access);
}

void mem_sync_in(cl_mem mem)
{
	cl_mem root = mem_root(mem);
	struct mem_map whole = {.flags = CL_MAP_READ};
	struct copy copy;

	if (!(root->flags & CL_MEM_USE_HOST_PTR))
		return;
	pthread_mutex_lock(&root->lock);
	mem_whole_region(root, whole.region);
	if (root->host_newer && mem_map_copy(root, &whole, false, &copy))
		copy_run(&copy);
	root->host_newer = false;
	pthread_mutex_unlock(&root->lock);
}

struct mem_map *mem_map_add(cl_mem mem, void *pointer, const size_t origin[3],
			    const size_t region[3], cl_map_flags flags)
{
	struct mem_map *map = malloc(sizeof(*map));

	if (!map)
		return NULL;
	map->pointer = pointer;
	map->flags = flags;
	memcpy(map->origin, origin, sizeof(map->origin));
	memcpy(map->region, region, sizeof(map->region));
	pthread_mutex_lock(&mem->lock);
	map->next = mem->maps;
	mem->maps = map;
	mem->map_count++;
	pthread_mutex_unlock(&mem->lock);
	return map;
}

void mem_map_drop(cl_mem mem, struct mem_map *map)
{
	pthread_mutex_lock(&mem->lock);
	for (struct mem_map **p = &mem->maps; *p; p = &(*p)->next) {
		if (*p == map) {
			*p = map->next;
			mem->map_count--;
			break;
		}
	}
	pthread_mutex_unlock(&mem->lock);
	free(map);
}

/* Takes the newest map with that pointer out of the list. */
static bool take_map(cl_mem mem, const void *pointer, struct mem_map *taken)
{
	bool found = false;

	pthread_mutex_lock(&mem->lock);
	for (struct mem_map **p = &mem->maps; *p; p = &(*p)->next) {
		struct mem_map *map = *p;

		if (map->pointer == pointer) {
			*p = map->next;
			mem->map_count--;
			*taken = *map;
			free(map);
			found = true;
			break;
		}
	}
	pthread_mutex_unlock(&mem->lock);
	return found;
}

cl_int arax_clEnqueueUnmapMemObject(cl_command_queue queue, cl_mem mem, void *mapped_ptr,
				    cl_uint num_events_in_wait_list,
				    const cl_event *event_wait_list, cl_event *event)
{
	struct command_desc desc = COMMAND(queue, CL_COMMAND_UNMAP_MEM_OBJECT);
	struct host_work work = {.run = host_work_copy};
	struct mem_map map;
	cl_int error = command_check(&desc);

	if (error)
		return error;
	if (!object_is(mem, OBJECT_MEM))
		return CL_INVALID_MEM_OBJECT;
	if (mem->context != queue->context)
		return CL_INVALID_CONTEXT;
	if (!take_map(mem, mapped_ptr, &map))
		return CL_INVALID_VALUE;
	desc.refs[0] = &mem->object;
	if (!mem->host_ptr || mem->host_ptr == mem->data)
		mem_reach_map(&desc, mem, &map, true);
	if (!(map.flags & (CL_MAP_WRITE | CL_MAP_WRITE_INVALIDATE_REGION)) ||
	    !mem_map_copy(mem, &map, false, &work.copy))
		return command_marker(&desc, false, false);
	command_reaches(&desc, mem, &work.copy, ARAX_ACCESS_WRITE);
	work.bytes = work.copy.width * work.copy.height * work.copy.depth;
	return command_host(&desc, &work);
}
