/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the discrete OpenCL back end share: opencl_discrete.c (the device itself),
 * opencl_discrete_mem.c (memory and transfers), opencl_discrete_queue.c (streams and launches),
 * opencl_discrete_program.c (builds and kernels). Nobody else includes it.
 */
#ifndef ARAX_DEVICES_OPENCL_DISCRETE_INTERNAL_H
#define ARAX_DEVICES_OPENCL_DISCRETE_INTERNAL_H

#include <pthread.h>

#include "devices/opencl_internal.h"

#define DISCRETE_ARGS_MAX 256 /* of a kernel, where they are looked at one by one */

/* What a library wants, and where it is not as others are. */
struct discrete_library {
	const char *file;   /* how the name of its file begins */
	const char *target; /* arax_device_caps.target; "": the name of the file */
	struct {
		const char *name, *value; /* "@x": x in the scratch directory */
	} environment[6];
	const char *refused[8]; /* build options that it does not take; they are left out */
	bool serial;	    /* not thread-safe: one call at a time; it executes while one waits */
	bool keeps_args;    /* kernels hold the memory that their arguments were last set to */
	bool clang_words;   /* options reach clang as they are; else as PoCL hands them on */
	bool line_images;   /* an image1d_buffer is made as an IMAGE1D */
	bool sizes_wrong;   /* what it says of a kernel's work-group size is not its limit */
	bool times_wrong;   /* profiling tells no lengths */
	bool offsets_wrong; /* in three dimensions some kernels do not see their offset */
	bool structs_crash; /* an index into a struct that is an argument may end the process */
};

/* Whose turn it is in a library that is not thread-safe: in order of arrival, because a mutex that
 * a stream's thread takes again at once would keep others out for as long as it has work. */
struct discrete_turn {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	uint64_t next, serving;
};

struct discrete_builder {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t changed; /* a build came or ended, or stop */
	struct discrete_build *first, **last;
	unsigned number; /* of the next build's directory */
	bool stop;
};

struct discrete_device {
	struct opencl_device native; /* first: opencl_device() finds it */
	struct arax_opencl *opencl;
	const struct discrete_library *library;
	struct discrete_turn turn;
	struct discrete_builder builder;
	char scratch[256]; /* directory */
	uint64_t used;	   /* bytes of memory objects; the link's thread only */
	struct arax_device_caps caps;
	pthread_mutex_t mutex; /* of the following */
	pthread_cond_t ended;
	unsigned streams; /* whose threads have not ended */
};

/* Buffers, parts of them, and images. */
struct discrete_mem {
	struct arax_device_mem mem; /* first; base: the buffer that bytes are copied to and from */
	cl_mem root;		    /* the buffer that this is a part of, or itself; NULL: image */
	uint64_t origin;	    /* in root */
	uint64_t counted;	    /* bytes of device->used */
	struct arax_mem_desc desc;
};

/* A command that the library has. */
struct discrete_flight {
	struct discrete_flight *next;
	cl_event event;
	uint64_t submit_ns;
	arax_device_done done;
	void *arg;
};

static inline struct discrete_device *discrete_device(const struct arax_device *dev)
{
	return dev->priv;
}

/* Every call of the library stands between these two. */
void discrete_enter(struct discrete_device *device);
void discrete_leave(struct discrete_device *device);

/** discrete_thread() - a thread that no signal reaches. Return: 0 or a positive errno. */
int discrete_thread(pthread_t *thread, void *(*run)(void *), void *arg);

/* opencl_discrete_mem.c */
int discrete_mem_new(struct arax_device *dev, const struct arax_mem_desc *desc,
		     struct arax_device_mem **mem);
void discrete_mem_free(struct arax_device *dev, struct arax_device_mem *mem);
int discrete_transfer(struct arax_device *dev, struct arax_device_stream *stream,
		      const struct arax_transfer *transfer);

/* opencl_discrete_queue.c */
int discrete_stream_new(struct arax_device *dev, struct arax_device_stream **stream);
void discrete_stream_free(struct arax_device *dev, struct arax_device_stream *stream);
int discrete_launch(struct arax_device *dev, struct arax_device_stream *stream,
		    const struct arax_launch *launch);

/** discrete_flight_new() - before a command is given to the library. Return: NULL: no memory. */
struct discrete_flight *discrete_flight_new(arax_device_done done, void *arg);

/** discrete_flight_go() - the library has the command: its done will be called. */
void discrete_flight_go(struct arax_device_stream *stream, struct discrete_flight *flight);

/* opencl_discrete_program.c */
int discrete_builder_start(struct discrete_device *device);
void discrete_builder_stop(struct discrete_device *device);
int discrete_program_load(struct arax_device *dev, const struct arax_program_source *source,
			  struct arax_device_program **program);
void discrete_program_free(struct arax_device *dev, struct arax_device_program *program);
int discrete_kernel_new(struct arax_device *dev, struct arax_device_program *program,
			const char *name, struct arax_device_kernel **kernel);
void discrete_kernel_free(struct arax_device *dev, struct arax_device_kernel *kernel);

/* A kernel as the library knows it, and what it can take. */
struct arax_device_kernel {
	cl_kernel kernel;
	cl_uint nargs;
	uint64_t group_max;		  /* work-items in a group */
	uint64_t local_mem;		  /* bytes that it always needs */
	bool structs[DISCRETE_ARGS_MAX];  /* library->structs_crash: may be a struct by value */
	struct arax_device_kernel *tuned; /* a registered variant, or NULL */
	const struct arax_variant_rules *rules;
};

#endif
