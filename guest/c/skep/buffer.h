/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Ring and perf buffers through a callback.
 *
 * The host copies each record to the buffer's memory and calls back once for it. A poll returns 0, or a negative
 * errno: -EINTR after Ctrl-C, which a tool takes as its orderly end. */
#ifndef SKEP_BUFFER_H
#define SKEP_BUFFER_H

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "imports.h"
#include "object.h"

/* What a poll waits where it is asked for no time at all. */
#define POLL_TIMEOUT_MS 100
/* The longest record that arrives whole. Define it larger before the include where yours are. */
#ifndef SKEP_RECORD_MAX
#define SKEP_RECORD_MAX 4096
#endif

typedef int (*bpf_buffer_sample_fn)(void *ctx, void *data, size_t size);

struct bpf_buffer {
	struct bpf_map *events;
	int fd;
	void *ctx;
	bpf_buffer_sample_fn sample_fn;
	char record[SKEP_RECORD_MAX] __attribute__((aligned(8)));
};

/* A buffer with its map only; the caller sets the rest. */
static inline struct bpf_buffer *bpf_buffer__new(struct bpf_map *events)
{
	struct bpf_buffer *buffer = calloc(1, sizeof(*buffer));
	if (buffer)
		buffer->events = events;
	return buffer;
}

/* Reads the map `events`, a ring buffer or a perf event array, into `sample_cb`; NULL with errno on failure. */
static inline struct bpf_buffer *bpf_buffer__open(struct bpf_map *events, bpf_buffer_sample_fn sample_cb, void *ctx)
{
	int fd = bpf_map__fd(events);
	if (fd < 0) {
		errno = -fd;
		return NULL;
	}
	struct bpf_buffer *buffer = bpf_buffer__new(events);
	if (!buffer)
		return NULL;
	buffer->fd = fd;
	buffer->ctx = ctx;
	buffer->sample_fn = sample_cb;
	return buffer;
}

/* Waits up to `timeout_ms` (100 where that is not positive) and delivers what is there. */
static inline int bpf_buffer__poll(struct bpf_buffer *buffer, int timeout_ms)
{
	return skep_poll_result(wasm_bpf_buffer_poll(
		buffer->events->obj_ptr, buffer->fd, (int32_t)(intptr_t)buffer->sample_fn,
		(uint32_t)(uintptr_t)buffer->ctx, buffer->record, sizeof(buffer->record),
		timeout_ms > 0 ? timeout_ms : POLL_TIMEOUT_MS));
}

static inline void bpf_buffer__free(struct bpf_buffer *buffer)
{
	free(buffer);
}

/* ---- libbpf's interface to ring buffers, over the same ---- */

struct ring_buffer_opts;
typedef int (*ring_buffer_sample_fn)(void *ctx, void *data, size_t size);

struct ring_buffer {
	struct bpf_buffer *buffer;
	ring_buffer_sample_fn sample_fn;
	void *ctx;
	int records; /* of the poll under way */
	int err;
	struct ring_buffer *next; /* further rings of the same poll */
};

static int skep_ring_buffer_record(void *ctx, void *data, size_t size)
{
	struct ring_buffer *ring = ctx;
	int err = ring->sample_fn(ring->ctx, data, size);
	ring->records++;
	if (err < 0)
		ring->err = err; /* as it stands: the host's own errors are renumbered */
	return err;
}

static inline void ring_buffer__free(struct ring_buffer *ring)
{
	while (ring) {
		struct ring_buffer *next = ring->next;
		bpf_buffer__free(ring->buffer);
		free(ring);
		ring = next;
	}
}

/* `map_fd` is a handle that bpf_map__fd gave for a map of an open skeleton; NULL with errno on failure. */
static inline struct ring_buffer *ring_buffer__new(int map_fd, ring_buffer_sample_fn sample_cb, void *ctx,
						   const struct ring_buffer_opts *opts)
{
	(void)opts;
	struct bpf_map *map = skep_maps;
	while (map && map->handle_plus_one != map_fd + 1)
		map = map->next;
	struct ring_buffer *ring = map ? calloc(1, sizeof(*ring)) : NULL;
	if (!ring) {
		errno = map ? ENOMEM : EBADF;
		return NULL;
	}
	ring->sample_fn = sample_cb;
	ring->ctx = ctx;
	ring->buffer = bpf_buffer__open(map, skep_ring_buffer_record, ring);
	if (!ring->buffer) {
		free(ring);
		return NULL;
	}
	return ring;
}

static inline int ring_buffer__add(struct ring_buffer *rings, int map_fd, ring_buffer_sample_fn sample_cb, void *ctx)
{
	struct ring_buffer *ring = ring_buffer__new(map_fd, sample_cb, ctx, NULL);
	if (!ring)
		return -errno;
	ring->next = rings->next;
	rings->next = ring;
	return 0;
}

/* The number of records delivered, or a negative errno. Waits on the first ring; further ones are looked at after it. */
static inline int ring_buffer__poll(struct ring_buffer *rings, int timeout_ms)
{
	int records = 0;
	for (struct ring_buffer *ring = rings; ring; ring = ring->next) {
		ring->records = ring->err = 0;
		int err = bpf_buffer__poll(ring->buffer, ring == rings ? timeout_ms : 1);
		if (err < 0)
			return ring->err ? ring->err : err;
		records += ring->records;
	}
	return records;
}

#endif /* SKEP_BUFFER_H */
