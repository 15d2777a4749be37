/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Maps in this module's own memory: what the kernel writes is read with plain loads. Module `skep_bpf`, Skep only.
 *
 *   skep_map_mmap      an mmapable array (BPF_F_MMAPABLE), or any part of what mmap(2) on a map shows
 *   skep_ring__*       a ring buffer whose records are read where the kernel put them
 *   skep_load_at       an object whose arena lies at an address of this memory
 *
 * Addresses, lengths and offsets are multiples of 4096. The ranges come from skep_pages_alloc, which never gives out
 * memory that the C library could use; the host refuses a range that overlaps another mapping. */
#ifndef SKEP_SHARED_H
#define SKEP_SHARED_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "imports.h"
#include "object.h"

/* What map_info writes: seven u32. */
struct skep_map_info {
	uint32_t type;
	uint32_t key_size;
	uint32_t value_size;
	uint32_t max_entries;
	uint32_t flags;
	uint32_t mappable_low; /* bytes that can be mapped, low and high half */
	uint32_t mappable_high;
};

/* The mapping can be written to. */
#define SKEP_SHARED_WRITE 1

/* Maps `len` bytes of what mmap(2) on the map shows, from `offset`, at `addr`; 0 or a negative errno. */
SKEP_IMPORT("skep_bpf", "map_mmap")
int skep_map_mmap_at(int map, void *addr, uint32_t len, uint64_t offset, int flags);

/* Ends a mapping; the memory reads zero afterwards. */
SKEP_IMPORT("skep_bpf", "map_munmap")
int skep_map_munmap_at(void *addr, uint32_t len);

/* Writes the map's shape to `info`; 0 or a negative errno. */
SKEP_IMPORT("skep_bpf", "map_info")
int skep_map_info(int map, struct skep_map_info *info);

/* Waits until a ring buffer has records: 1, 0 on time-out, or a negative errno (-EINTR after Ctrl-C). */
SKEP_IMPORT("skep_bpf", "map_wait")
int skep_map_wait(int map, int timeout_ms);

/* wasm_load_bpf_object with the object's arena placed at `arena`. */
SKEP_IMPORT("skep_bpf", "load_object_at")
bpf_object_skel skep_load_object_at(const void *buf, int len, void *arena);

/* ---- page-aligned ranges ---- */

#define SKEP_PAGE 4096u
#define SKEP_WASM_PAGE 65536u

struct skep_free_range {
	uint32_t at;
	uint32_t len;
	struct skep_free_range *next;
};

static struct skep_free_range *skep_free_ranges;

static inline uint32_t skep_round_up(uint32_t bytes, uint32_t to)
{
	return (bytes + to - 1) / to * to;
}

/* `bytes`, rounded up to pages, of page-aligned zeroed memory; NULL where memory cannot grow. First fit among the
 * ranges given back, else new memory. */
static inline void *skep_pages_alloc(uint32_t bytes)
{
	uint32_t len = skep_round_up(bytes, SKEP_PAGE);
	if (len < bytes || !len)
		return NULL;
	for (struct skep_free_range **link = &skep_free_ranges; *link; link = &(*link)->next) {
		struct skep_free_range *range = *link;
		if (range->len < len)
			continue;
		void *at = (void *)(uintptr_t)range->at;
		range->at += len;
		range->len -= len;
		if (!range->len) {
			*link = range->next;
			free(range);
		}
		memset(at, 0, len);
		return at;
	}
	/* The C library's allocator grows memory too; what it gets and what we get never overlap, since memory.grow
	 * hands out each page once. */
	uint32_t pages = skep_round_up(len, SKEP_WASM_PAGE) / SKEP_WASM_PAGE;
	size_t before = __builtin_wasm_memory_grow(0, pages);
	if (before == (size_t)-1)
		return NULL;
	uint32_t at = before * SKEP_WASM_PAGE, rest = pages * SKEP_WASM_PAGE - len;
	struct skep_free_range *tail = rest ? malloc(sizeof(*tail)) : NULL;
	if (tail) { /* without it the rest of the last page is lost, no more */
		*tail = (struct skep_free_range){ at + len, rest, skep_free_ranges };
		skep_free_ranges = tail;
	}
	return (void *)(uintptr_t)at;
}

/* Gives a range back. It must not be mapped any more. */
static inline void skep_pages_free(void *at, uint32_t bytes)
{
	struct skep_free_range *range = at ? malloc(sizeof(*range)) : NULL;
	if (!range)
		return;
	*range = (struct skep_free_range){ (uint32_t)(uintptr_t)at, skep_round_up(bytes, SKEP_PAGE), skep_free_ranges };
	skep_free_ranges = range;
}

/* ---- maps ---- */

/* Maps `len` bytes of a map from `offset`, at a place of its own choice; NULL with errno on failure. */
static inline void *skep_map_mmap(int map, uint32_t len, uint64_t offset, int flags)
{
	len = skep_round_up(len, SKEP_PAGE);
	void *at = skep_pages_alloc(len);
	if (!at) {
		errno = ENOMEM;
		return NULL;
	}
	int err = skep_result(skep_map_mmap_at(map, at, len, offset, flags));
	if (err < 0) {
		skep_pages_free(at, len);
		errno = -err;
		return NULL;
	}
	return at;
}

/* Ends a mapping made by skep_map_mmap. */
static inline int skep_map_munmap(void *at, uint32_t len)
{
	len = skep_round_up(len, SKEP_PAGE);
	int err = skep_result(skep_map_munmap_at(at, len));
	if (!err)
		skep_pages_free(at, len);
	return err;
}

/* Maps the values of an mmapable array, whole. Entry i lies at i * (value_size rounded up to 8). */
static inline void *skep_array__open(const struct bpf_map *map, int flags)
{
	struct skep_map_info info;
	int fd = bpf_map__fd(map), err = fd < 0 ? fd : skep_result(skep_map_info(fd, &info));
	if (err < 0 || info.mappable_high) {
		errno = err < 0 ? -err : EFBIG;
		return NULL;
	}
	return skep_map_mmap(fd, info.mappable_low, 0, flags);
}

/* ---- ring buffers, read in place ---- */

/* The layout is the kernel's (kernel/bpf/ringbuf.c, since 5.8): a page with the consumer's position, which we write; a
 * page with the producer's; the data twice over, so that a record that wraps is still in one piece. Each record has a
 * header of 8 bytes, the first four its length with two flags. */
struct skep_ring {
	int map;
	uint32_t size; /* bytes of data, a power of two */
	volatile uint64_t *consumer;
	const volatile uint64_t *producer;
	const char *data;
};

#define SKEP_RING_BUSY (1u << 31)
#define SKEP_RING_DISCARDED (1u << 30)

static inline void skep_ring__close(struct skep_ring *ring)
{
	if (ring->consumer)
		skep_map_munmap((void *)ring->consumer, SKEP_PAGE);
	if (ring->producer)
		skep_map_munmap((void *)ring->producer, SKEP_PAGE + 2 * ring->size);
	*ring = (struct skep_ring){ .map = -1 };
}

/* Maps a ring buffer; 0 or a negative errno. */
static inline int skep_ring__open(struct skep_ring *ring, const struct bpf_map *map)
{
	struct skep_map_info info;
	*ring = (struct skep_ring){ .map = bpf_map__fd(map) };
	int err = ring->map < 0 ? ring->map : skep_result(skep_map_info(ring->map, &info));
	if (err < 0)
		return err;
	if (info.type != BPF_MAP_TYPE_RINGBUF)
		return -EINVAL;
	ring->size = info.max_entries;
	ring->consumer = skep_map_mmap(ring->map, SKEP_PAGE, 0, SKEP_SHARED_WRITE);
	if (ring->consumer)
		ring->producer = skep_map_mmap(ring->map, SKEP_PAGE + 2 * ring->size, SKEP_PAGE, 0);
	if (!ring->consumer || !ring->producer) {
		err = -errno;
		skep_ring__close(ring);
		return err;
	}
	ring->data = (const char *)ring->producer + SKEP_PAGE;
	return 0;
}

/* Calls `fn` for every record that is there, where it lies, without a call to the host; the number of records, or the
 * first negative result of `fn`, after whose record it stops. */
static inline int skep_ring__consume(struct skep_ring *ring, int (*fn)(void *ctx, void *data, size_t size), void *ctx)
{
	uint64_t at = *ring->consumer;
	int records = 0, err = 0;
	while (err >= 0 && at < __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE)) {
		const char *record = ring->data + (at & (ring->size - 1));
		uint32_t header = __atomic_load_n((const uint32_t *)record, __ATOMIC_ACQUIRE);
		if (header & SKEP_RING_BUSY) /* reserved, not submitted yet */
			break;
		uint32_t len = header & ~SKEP_RING_DISCARDED;
		if (!(header & SKEP_RING_DISCARDED)) {
			err = fn(ctx, (void *)(record + 8), len);
			records++;
		}
		at += (len + 8 + 7) / 8 * 8;
		__atomic_store_n((uint64_t *)ring->consumer, at, __ATOMIC_RELEASE);
	}
	return err < 0 ? err : records;
}

/* Waits up to `timeout_ms` for records, then consumes them; as skep_ring__consume, or -EINTR after Ctrl-C. */
static inline int skep_ring__poll(struct skep_ring *ring, int (*fn)(void *ctx, void *data, size_t size), void *ctx,
				  int timeout_ms)
{
	int ready = skep_poll_result(skep_map_wait(ring->map, timeout_ms));
	return ready < 0 ? ready : skep_ring__consume(ring, fn, ctx);
}

/* ---- arenas ---- */

/* bpf_object__load_skeleton with the object's arena at `arena`, a range of skep_pages_alloc as long as the arena. */
static inline int skep_object__load_skeleton_at(struct bpf_object_skeleton *s, void *arena)
{
	if (!s || !s->elf)
		return -EINVAL;
	bpf_object_skel handle = skep_load_object_at(s->elf, (int)s->data_sz, arena);
	return handle ? skep_object__loaded(s, handle) : -EINVAL;
}

#endif /* SKEP_SHARED_H */
