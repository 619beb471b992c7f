/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated accelerator: streams, engines and time, see sim.h.
 *
 * A stream is a queue of commands without a thread. Its first command, once nothing before it is
 * left, is offered to the engines of its class; an engine is a thread that takes one command after
 * the other, executes it, waits until its modelled time is over, tells whoever wants to know, and
 * lets the stream go on. So whatever the number of streams, the threads are those that the device
 * was opened with. What a stream has left when it is freed is ended by the thread that also loads
 * programs: engines may be busy for long.
 *
 * Time: a command begins when it was submitted, its stream's last one ended and its engine was
 * free, whichever is last, all in modelled time, so that late wake-ups do not add up. It ends after
 * what the model says and not before it has really been executed.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "devices/sim_internal.h"
#include "transport/fault_point.h"
#include "transport/protocol.h"
#include "transport/wake.h"

#define MODEL_MAX_NS 1e18    /* of one command */
#define VALUE_MAX (1u << 20) /* bytes of one argument */

enum command_kind { COMMAND_LAUNCH, COMMAND_TRANSFER, COMMAND_RECORD, COMMAND_WAIT };

/* What an argument of a launch keeps alive. */
struct keep {
	struct sim_mem *mem;
	struct sim_sampler *sampler;
};

struct command {
	struct command *next; /* in its stream */
	enum command_kind kind;
	enum sim_class class;
	uint64_t submit_ns;
	double stretch; /* of its time, by the jitter */
	int fails;	/* with this status, instead of being executed */
	bool hangs;
	arax_device_done done;
	void *arg;
	union {
		struct {
			struct arax_launch launch;
			struct sim_kernel *kernel;
			struct keep *keep;
		};
		struct {
			struct arax_transfer transfer;
			struct sim_mem *mem;
		};
		struct {
			struct arax_sim_event *event;
			uint64_t ticket;
		};
	};
};

struct sim_stream {
	struct command *first, *last;
	struct sim_stream *link; /* in the one list that it is in, if any */
	uint64_t clock_ns;	 /* when its last command ended, in the model */
	enum {
		STREAM_IDLE,
		STREAM_READY,	/* in a list of the engines */
		STREAM_WAITING, /* in the list of the event that its first command waits for */
		STREAM_BUSY,	/* with an engine */
	} state;
	bool freed; /* what has not begun is not executed any more */
};

struct arax_sim_event {
	atomic_uint refs;
	/* Under the lock of the device on which it is used. */
	uint64_t issued, reached, time_ns;
	struct sim_stream_list waiters;
};

/* Faults */

bool sim_fault_now(struct sim *sim, enum sim_fault_kind kind)
{
	uint64_t count = ++sim->counts[kind];
	for (unsigned i = 0; i < sim->options.nfaults; i++) {
		if (sim->options.faults[i].kind == kind && sim->options.faults[i].at == count)
			return true;
	}
	return false;
}

void sim_lose(struct sim *sim)
{
	sim->lost = true;
	pthread_cond_broadcast(&sim->changed);
}

bool sim_is_lost(struct sim *sim)
{
	if (!sim->lost && sim->lost_at_ns != UINT64_MAX && arax_now_ns() >= sim->lost_at_ns)
		sim_lose(sim);
	return sim->lost;
}

/* Streams; all under the lock */

static void list_add(struct sim_stream_list *list, struct sim_stream *stream)
{
	stream->link = NULL;
	if (list->first)
		list->last->link = stream;
	else
		list->first = stream;
	list->last = stream;
}

static struct sim_stream *list_take(struct sim_stream_list *list)
{
	struct sim_stream *stream = list->first;
	if (stream)
		list->first = stream->link;
	return stream;
}

static void list_remove(struct sim_stream_list *list, const struct sim_stream *stream)
{
	struct sim_stream *before = NULL, *at = list->first;
	while (at != stream) {
		before = at;
		at = at->link;
	}
	*(before ? &before->link : &list->first) = stream->link;
	if (list->last == stream)
		list->last = before;
}

static void event_unref(struct arax_sim_event *event)
{
	if (atomic_fetch_sub(&event->refs, 1) == 1)
		free(event);
}

static void command_ended(struct sim *sim)
{
	if (--sim->in_flight == 0)
		pthread_cond_broadcast(&sim->changed);
}

/* The event happens; the streams that wait for it can be looked at again. */
static void reach(struct sim_stream *stream, const struct command *record,
		  struct sim_stream_list *again)
{
	struct arax_sim_event *event = record->event;
	uint64_t time_ns =
	    record->submit_ns > stream->clock_ns ? record->submit_ns : stream->clock_ns;
	if (event->reached < record->ticket)
		event->reached = record->ticket;
	if (event->time_ns < time_ns)
		event->time_ns = time_ns;
	struct sim_stream *waiter;
	while ((waiter = list_take(&event->waiters)))
		list_add(again, waiter);
}

/* Return: false when the event has not happened yet: the stream is among those that wait. */
static bool pass(struct sim_stream *stream, const struct command *wait)
{
	struct arax_sim_event *event = wait->event;
	if (event->reached < wait->ticket && !stream->freed) {
		stream->state = STREAM_WAITING;
		list_add(&event->waiters, stream);
		return false;
	}
	if (wait->ticket && stream->clock_ns < event->time_ns)
		stream->clock_ns = event->time_ns;
	return true;
}

/* What needs no engine happens at once, then the first command is offered to its engines. */
static void step(struct sim *sim, struct sim_stream *stream, struct sim_stream_list *again)
{
	stream->state = STREAM_IDLE;
	while (stream->first && stream->first->kind >= COMMAND_RECORD) {
		struct command *command = stream->first;
		if (command->kind == COMMAND_RECORD)
			reach(stream, command, again);
		else if (!pass(stream, command))
			return;
		stream->first = command->next;
		event_unref(command->event);
		free(command);
		command_ended(sim);
	}
	if (stream->first) {
		enum sim_class class = stream->freed ? SIM_DROP : stream->first->class;
		stream->state = STREAM_READY;
		list_add(&sim->ready[class], stream);
		pthread_cond_signal(&sim->work[class]);
	} else if (stream->freed) {
		free(stream);
	}
}

/* The stream has another first command. */
static void advance(struct sim *sim, struct sim_stream *stream)
{
	struct sim_stream_list again = {0};
	list_add(&again, stream);
	while ((stream = list_take(&again)))
		step(sim, stream, &again);
}

static void submit(struct sim *sim, struct sim_stream *stream, struct command *command)
{
	command->submit_ns = arax_now_ns();
	sim->in_flight++;
	if (stream->first)
		stream->last->next = command;
	else
		stream->first = command;
	stream->last = command;
	if (stream->state == STREAM_IDLE)
		advance(sim, stream);
}

int sim_stream_new(struct arax_device *dev, struct arax_device_stream **out)
{
	(void)dev;
	struct sim_stream *stream = calloc(1, sizeof(*stream));
	if (!stream)
		return CL_OUT_OF_HOST_MEMORY;
	*out = (struct arax_device_stream *)stream;
	return 0;
}

void sim_stream_free(struct arax_device *dev, struct arax_device_stream *handle)
{
	struct sim *sim = sim_of(dev);
	struct sim_stream *stream = (struct sim_stream *)handle;
	if (!stream)
		return;
	pthread_mutex_lock(&sim->lock);
	stream->freed = true;
	if (stream->state == STREAM_READY)
		list_remove(&sim->ready[stream->first->class], stream);
	else if (stream->state == STREAM_WAITING)
		list_remove(&stream->first->event->waiters, stream);
	if (stream->state == STREAM_BUSY)
		pthread_cond_broadcast(&sim->changed); /* should it hang, that is over */
	else
		advance(sim, stream);
	pthread_mutex_unlock(&sim->lock);
}

/* Events */

int arax_sim_event_new(struct arax_sim_event **out)
{
	struct arax_sim_event *event = calloc(1, sizeof(*event));
	if (!event)
		return CL_OUT_OF_HOST_MEMORY;
	atomic_init(&event->refs, 1);
	*out = event;
	return 0;
}

void arax_sim_event_free(struct arax_sim_event *event)
{
	if (event)
		event_unref(event);
}

static int submit_event(struct arax_device *dev, struct arax_device_stream *stream,
			struct arax_sim_event *event, enum command_kind kind)
{
	struct sim *sim = sim_of(dev);
	struct command *command = calloc(1, sizeof(*command));
	if (!command)
		return CL_OUT_OF_HOST_MEMORY;
	command->kind = kind;
	command->event = event;
	atomic_fetch_add(&event->refs, 1);
	pthread_mutex_lock(&sim->lock);
	command->ticket = kind == COMMAND_RECORD ? ++event->issued : event->issued;
	submit(sim, (struct sim_stream *)stream, command);
	pthread_mutex_unlock(&sim->lock);
	return 0;
}

int arax_sim_event_record(struct arax_device *dev, struct arax_device_stream *stream,
			  struct arax_sim_event *event)
{
	return submit_event(dev, stream, event, COMMAND_RECORD);
}

int arax_sim_event_wait(struct arax_device *dev, struct arax_device_stream *stream,
			struct arax_sim_event *event)
{
	return submit_event(dev, stream, event, COMMAND_WAIT);
}

/* Launches and transfers: what is given to a stream */

/* The jitter is drawn in the order of submission: the same program has the same. */
static void draw(struct sim *sim, struct command *command)
{
	double part = (double)(sim_random(&sim->random) >> 11) / (double)(1ull << 53);
	command->stretch = 1 + sim->options.jitter * (2 * part - 1);
}

static void plan_launch(struct sim *sim, struct command *command)
{
	if (sim_fault_now(sim, SIM_FAULT_LAUNCH))
		command->fails = CL_OUT_OF_RESOURCES;
	if (sim_fault_now(sim, SIM_FAULT_HANG))
		command->hangs = true;
}

static void plan_transfer(struct sim *sim, struct command *command)
{
	if (sim_fault_now(sim, SIM_FAULT_TRANSFER))
		command->fails = CL_OUT_OF_RESOURCES;
}

static void command_free(struct command *command)
{
	if (command->kind == COMMAND_TRANSFER) {
		sim_mem_unref(command->mem);
	} else {
		for (uint32_t i = 0; i < command->launch.nargs; i++) {
			if (command->keep[i].mem)
				sim_mem_unref(command->keep[i].mem);
			if (command->keep[i].sampler)
				sim_sampler_unref(command->keep[i].sampler);
		}
		sim_kernel_unref(command->kernel);
	}
	free(command);
}

static int give(struct arax_device *dev, struct arax_device_stream *stream, struct command *command,
		void (*plan)(struct sim *, struct command *))
{
	struct sim *sim = sim_of(dev);
	pthread_mutex_lock(&sim->lock);
	if (sim_fault_now(sim, SIM_FAULT_LOST))
		sim_lose(sim);
	int err = sim_is_lost(sim) ? CL_DEVICE_NOT_AVAILABLE : 0;
	if (!err) {
		draw(sim, command);
		plan(sim, command);
		submit(sim, (struct sim_stream *)stream, command);
	}
	pthread_mutex_unlock(&sim->lock);
	if (err)
		command_free(command);
	return err;
}

static int check_groups(const struct arax_device *dev, const struct arax_launch *launch)
{
	uint64_t group = 1;
	if (launch->work_dim < 1 || launch->work_dim > 3)
		return CL_INVALID_WORK_DIMENSION;
	for (uint32_t i = 0; i < launch->work_dim && launch->has_local; i++) {
		if (!launch->local[i] || launch->local[i] > dev->caps.max_item_sizes[i])
			return CL_INVALID_WORK_ITEM_SIZE;
		if (launch->global[i] % launch->local[i])
			return CL_INVALID_WORK_GROUP_SIZE;
		group *= launch->local[i];
	}
	return group > dev->caps.max_group ? CL_INVALID_WORK_GROUP_SIZE : 0;
}

static int check_args(const struct arax_device *dev, const struct arax_launch *launch,
		      size_t *bytes)
{
	uint64_t local = ((const struct sim_kernel *)launch->kernel)->local_mem;
	*bytes = 0;
	for (uint32_t i = 0; i < launch->nargs; i++) {
		const struct arax_launch_arg *arg = &launch->args[i];
		if (arg->kind == ARAX_ARG_SVM)
			return CL_INVALID_ARG_VALUE; /* it does not see the arena */
		if (arg->kind == ARAX_ARG_VALUE && arg->size > VALUE_MAX)
			return CL_INVALID_ARG_SIZE;
		if (arg->kind == ARAX_ARG_VALUE)
			*bytes += arg->size;
		if (arg->kind != ARAX_ARG_LOCAL)
			continue;
		if (local > dev->caps.local_mem || arg->size > dev->caps.local_mem - local)
			return CL_OUT_OF_RESOURCES;
		local += arg->size;
	}
	return local > dev->caps.local_mem ? CL_OUT_OF_RESOURCES : 0;
}

/* The arguments as the CPU's device wants them, their values behind the command. */
static void copy_args(struct command *command, const struct arax_launch *launch)
{
	struct arax_launch_arg *args = (struct arax_launch_arg *)(command + 1);
	command->keep = (struct keep *)(args + launch->nargs);
	char *values = (char *)(command->keep + launch->nargs);
	command->launch.args = args;
	for (uint32_t i = 0; i < launch->nargs; i++) {
		struct keep *keep = &command->keep[i];
		args[i] = launch->args[i];
		*keep = (struct keep){0};
		if (args[i].kind == ARAX_ARG_VALUE) {
			memcpy(values, args[i].value, args[i].size);
			args[i].value = values;
			values += args[i].size;
		} else if (args[i].kind == ARAX_ARG_MEM && args[i].mem) {
			keep->mem = (struct sim_mem *)args[i].mem;
			args[i].mem = keep->mem->cpu;
			atomic_fetch_add(&keep->mem->refs, 1);
		} else if (args[i].kind == ARAX_ARG_SAMPLER && args[i].sampler) {
			keep->sampler = (struct sim_sampler *)args[i].sampler;
			args[i].sampler = keep->sampler->cpu;
			atomic_fetch_add(&keep->sampler->refs, 1);
		}
	}
}

int sim_launch(struct arax_device *dev, struct arax_device_stream *stream,
	       const struct arax_launch *launch)
{
	size_t bytes;
	int err = check_groups(dev, launch);
	if (!err)
		err = check_args(dev, launch, &bytes);
	if (err)
		return err;
	bytes += launch->nargs * (sizeof(struct arax_launch_arg) + sizeof(struct keep));
	struct command *command = malloc(sizeof(*command) + bytes);
	if (!command)
		return CL_OUT_OF_HOST_MEMORY;
	*command = (struct command){
	    .kind = COMMAND_LAUNCH,
	    .class = SIM_EXECUTE,
	    .done = launch->done,
	    .arg = launch->arg,
	    .launch = *launch,
	    .kernel = (struct sim_kernel *)launch->kernel,
	};
	atomic_fetch_add(&command->kernel->refs, 1);
	copy_args(command, launch);
	return give(dev, stream, command, plan_launch);
}

int sim_transfer(struct arax_device *dev, struct arax_device_stream *stream,
		 const struct arax_transfer *transfer)
{
	struct sim_mem *mem = (struct sim_mem *)transfer->mem;
	bool in = transfer->direction == ARAX_TO_DEVICE || sim_of(dev)->options.copies == 1;
	if (transfer->offset > mem->size || transfer->size > mem->size - transfer->offset)
		return CL_INVALID_VALUE;
	struct command *command = malloc(sizeof(*command));
	if (!command)
		return CL_OUT_OF_HOST_MEMORY;
	*command = (struct command){
	    .kind = COMMAND_TRANSFER,
	    .class = in ? SIM_COPY_IN : SIM_COPY_OUT,
	    .done = transfer->done,
	    .arg = transfer->arg,
	    .transfer = *transfer,
	    .mem = mem,
	};
	atomic_fetch_add(&mem->refs, 1);
	return give(dev, stream, command, plan_transfer);
}

/* Engines: execution */

static int execute_transfer(const struct sim *sim, const struct command *command)
{
	unsigned char *device = sim->memory + command->mem->offset + command->transfer.offset;
	/* Half of it first: who dies here leaves the rest as it was. */
	size_t size = command->transfer.size, half = size / 2;
	if (command->transfer.direction == ARAX_TO_DEVICE) {
		memcpy(device, command->transfer.host, half);
		ARAX_FAULT_POINT(DEVICE_COPIES_IN);
		memcpy(device + half, (const char *)command->transfer.host + half, size - half);
	} else {
		memcpy(command->transfer.host, device, half);
		ARAX_FAULT_POINT(DEVICE_COPIES_OUT);
		memcpy((char *)command->transfer.host + half, device + half, size - half);
	}
	return 0;
}

struct outcome {
	bool ended;
	int status;
};

static void on_executed(void *arg, int status, uint64_t start_ns, uint64_t end_ns)
{
	struct outcome *outcome = arg;
	(void)start_ns;
	(void)end_ns;
	*outcome = (struct outcome){true, status};
}

static int execute_launch(const struct sim_engine *engine, const struct command *command)
{
	struct arax_device *cpu = &engine->sim->cpu;
	struct sim_kernel *kernel = command->kernel;
	struct arax_launch below = command->launch;
	struct outcome outcome = {0};
	int err = 0;
	if (!kernel->on[engine->index])
		err = cpu->ops->kernel_new(cpu, kernel->program->cpu, kernel->name,
					   &kernel->on[engine->index]);
	if (err)
		return err;
	below.kernel = kernel->on[engine->index];
	below.done = on_executed;
	below.arg = &outcome;
	err = cpu->ops->launch(cpu, engine->stream, &below);
	if (err)
		return err;
	ARAX_FAULT_POINT(DEVICE_EXECUTED);
	return outcome.ended ? outcome.status : CL_OUT_OF_RESOURCES;
}

/* Engines: time */

static uint64_t model_ns(const struct sim_options *options, const struct command *command,
			 uint64_t really_ns)
{
	double ns = 0;
	if (command->kind == COMMAND_TRANSFER) {
		ns = (double)command->transfer.size * 1e9 / (double)options->bandwidth;
	} else if (options->item_ns == 0) {
		ns = (double)really_ns / options->rate;
	} else {
		ns = options->item_ns / options->rate;
		for (uint32_t i = 0; i < command->launch.work_dim; i++)
			ns *= (double)command->launch.global[i];
	}
	ns = ((double)options->latency_ns + ns) * command->stretch;
	return ns < MODEL_MAX_NS ? (uint64_t)ns : (uint64_t)MODEL_MAX_NS;
}

/* Until a moment of the model, or until the device is lost, or, when *over may become true, until
 * then. This is the model itself, nothing is kept in order by it. */
static void wait_until(struct sim *sim, uint64_t end_ns, const bool *over)
{
	while (!sim_is_lost(sim) && !(over && *over) && arax_now_ns() < end_ns) {
		uint64_t until = end_ns < sim->lost_at_ns ? end_ns : sim->lost_at_ns;
		const struct timespec deadline = {.tv_sec = (time_t)(until / 1000000000),
						  .tv_nsec = (long)(until % 1000000000)};
		if (until == UINT64_MAX)
			pthread_cond_wait(&sim->changed, &sim->lock);
		else
			pthread_cond_timedwait(&sim->changed, &sim->lock, &deadline);
	}
}

static uint64_t start_of(const struct sim_engine *engine, const struct sim_stream *stream,
			 const struct command *command)
{
	uint64_t start_ns = command->submit_ns;
	if (start_ns < stream->clock_ns)
		start_ns = stream->clock_ns;
	if (start_ns < engine->clock_ns)
		start_ns = engine->clock_ns;
	return start_ns;
}

static int execute(struct sim_engine *engine, const struct command *command)
{
	return command->kind == COMMAND_LAUNCH ? execute_launch(engine, command)
					       : execute_transfer(engine->sim, command);
}

/* Nobody waits for its end any more but to be told. Locked before and after. */
static uint64_t hang(struct sim *sim, const struct sim_stream *stream)
{
	wait_until(sim, UINT64_MAX, &stream->freed);
	return arax_now_ns();
}

/* Locked before and after. Return: its status, with *end_ns. */
static int perform(struct sim_engine *engine, const struct command *command, uint64_t start_ns,
		   uint64_t *end_ns)
{
	struct sim *sim = engine->sim;
	int status = command->fails;
	uint64_t begun_ns = arax_now_ns(), ended_ns = begun_ns;
	if (!sim_is_lost(sim) && !status) {
		pthread_mutex_unlock(&sim->lock);
		status = execute(engine, command);
		ended_ns = arax_now_ns();
		pthread_mutex_lock(&sim->lock);
	}
	*end_ns = start_ns + model_ns(&sim->options, command, ended_ns - begun_ns);
	if (*end_ns < ended_ns)
		*end_ns = ended_ns;
	wait_until(sim, *end_ns, NULL);
	if (!sim_is_lost(sim))
		return status;
	ended_ns = arax_now_ns();
	if (*end_ns > ended_ns)
		*end_ns = ended_ns;
	return CL_DEVICE_NOT_AVAILABLE;
}

/* A stream's first command has ended; locked before and after. */
static void end(struct sim *sim, struct sim_stream *stream, int status, uint64_t start_ns,
		uint64_t end_ns)
{
	struct command *command = stream->first;
	arax_device_done done = command->done;
	void *arg = command->arg;
	stream->first = command->next;
	pthread_mutex_unlock(&sim->lock);
	/* In this order: who knows that it has ended finds what it kept free. */
	command_free(command);
	done(arg, status, start_ns, end_ns);
	pthread_mutex_lock(&sim->lock);
	command_ended(sim);
	advance(sim, stream);
}

/* A stream's first command, from its start to its end; locked before and after. */
static void take(struct sim_engine *engine, struct sim_stream *stream)
{
	struct sim *sim = engine->sim;
	const struct command *command = stream->first;
	uint64_t start_ns = start_of(engine, stream, command), end_ns;
	int status = CL_DEVICE_NOT_AVAILABLE;
	stream->state = STREAM_BUSY;
	if (command->hangs)
		end_ns = hang(sim, stream);
	else
		status = perform(engine, command, start_ns, &end_ns);
	stream->clock_ns = end_ns;
	engine->clock_ns = end_ns;
	end(sim, stream, status, start_ns, end_ns);
}

bool sim_drop(struct sim *sim)
{
	struct sim_stream *stream = list_take(&sim->ready[SIM_DROP]);
	uint64_t now_ns = arax_now_ns();
	if (!stream)
		return false;
	stream->state = STREAM_BUSY;
	end(sim, stream, CL_DEVICE_NOT_AVAILABLE, now_ns, now_ns);
	return true;
}

void *sim_engine_main(void *arg)
{
	struct sim_engine *engine = arg;
	struct sim *sim = engine->sim;
	/* The model's moments as they are; where that cannot be had, they are a little late. */
	prctl(PR_SET_TIMERSLACK, 1);
	pthread_mutex_lock(&sim->lock);
	sim->started++;
	pthread_cond_broadcast(&sim->changed);
	while (!sim->stop) {
		struct sim_stream *stream = list_take(&sim->ready[engine->class]);
		if (stream)
			take(engine, stream);
		else
			pthread_cond_wait(&sim->work[engine->class], &sim->lock);
	}
	pthread_mutex_unlock(&sim->lock);
	return NULL;
}
