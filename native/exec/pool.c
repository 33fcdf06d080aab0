/* SPDX-License-Identifier: MIT */
/* The threads that serve: some for each mount, so that one that hangs stops the calls for itself only. */
#define _GNU_SOURCE
#include "exec.h"

#include <pthread.h>
#include <stdlib.h>

/* Calls of one mount that are served at the same time; others wait in their order. */
#define THREADS_MAX 8
/* Calls of one mount that may wait before those of killed callers are looked for. */
#define SWEEP_AT 256
#define STACK_BYTES (256 << 10)

/* The calls of one mount. It is there as long as a thread serves it. */
struct lane {
	struct lane *next;
	uint64_t mount;
	unsigned threads;
	unsigned waiting;
	unsigned sweep_at; /* calls waiting */
	struct call *first;
	struct call **end;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct lane *lanes;

static struct lane *lane_of(uint64_t mount)
{
	struct lane *lane = lanes;

	while (lane != NULL && lane->mount != mount)
		lane = lane->next;
	if (lane != NULL)
		return lane;
	lane = calloc(1, sizeof(*lane));
	if (lane == NULL)
		return NULL;
	lane->next = lanes;
	lane->mount = mount;
	lane->sweep_at = SWEEP_AT;
	lane->end = &lane->first;
	lanes = lane;
	return lane;
}

static void drop_lane(struct lane *lane)
{
	struct lane **at = &lanes;

	while (*at != lane)
		at = &(*at)->next;
	*at = lane->next;
	free(lane);
}

static struct call *take(struct lane *lane)
{
	struct call *call = lane->first;

	if (call == NULL)
		return NULL;
	lane->first = call->next;
	if (lane->first == NULL)
		lane->end = &lane->first;
	lane->waiting--;
	return call;
}

static void put(struct lane *lane, struct call *call)
{
	call->next = NULL;
	*lane->end = call;
	lane->end = &call->next;
	lane->waiting++;
}

/* A mount that hangs holds no more calls than there are threads that wait: each has one. */
static void sweep(struct lane *lane)
{
	for (unsigned left = lane->waiting; left > 0; left--) {
		struct call *call = take(lane);

		if (call_valid(call))
			put(lane, call);
		else
			free(call);
	}
	lane->sweep_at = 2 * lane->waiting + SWEEP_AT;
}

static void *serve_lane(void *argument)
{
	struct lane *lane = argument;
	struct call *call;

	pthread_mutex_lock(&lock);
	while ((call = take(lane)) != NULL) {
		pthread_mutex_unlock(&lock);
		call_answer(call, call_serve(call));
		free(call);
		pthread_mutex_lock(&lock);
	}
	if (--lane->threads == 0)
		drop_lane(lane);
	pthread_mutex_unlock(&lock);
	return NULL;
}

static bool start_thread(struct lane *lane)
{
	pthread_attr_t attributes;
	pthread_t thread;
	bool started;

	if (pthread_attr_init(&attributes) != 0)
		return false;
	started = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 &&
		  pthread_attr_setstacksize(&attributes, STACK_BYTES) == 0 &&
		  pthread_create(&thread, &attributes, serve_lane, lane) == 0;
	pthread_attr_destroy(&attributes);
	return started;
}

/* With the lock held, which the new thread waits for. */
static bool admit(struct call *call)
{
	struct lane *lane = lane_of(call->mount);

	if (lane == NULL)
		return false;
	if (lane->threads < THREADS_MAX && start_thread(lane))
		lane->threads++;
	if (lane->threads == 0) {
		drop_lane(lane);
		return false;
	}
	put(lane, call);
	if (lane->waiting > lane->sweep_at)
		sweep(lane);
	return true;
}

bool pool_serve(struct call *call)
{
	bool admitted;

	pthread_mutex_lock(&lock);
	admitted = admit(call);
	pthread_mutex_unlock(&lock);
	return admitted;
}

bool pool_is_idle(void)
{
	bool idle;

	pthread_mutex_lock(&lock);
	idle = lanes == NULL;
	pthread_mutex_unlock(&lock);
	return idle;
}
