/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A map's elements, by libbpf's names. `fd` is a map handle of this guest (bpf_map__fd), not a file descriptor.
 *
 * All return 0 or a negative errno. A per-CPU map's value is value_size rounded up to 8, times the possible CPUs. */
#ifndef SKEP_MAP_H
#define SKEP_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "errno.h"
#include "imports.h"
#include "uapi.h"

static inline int bpf_map_update_elem(int fd, const void *key, const void *value, uint64_t flags)
{
	return skep_result(wasm_bpf_map_operate(fd, BPF_MAP_UPDATE_ELEM, (void *)key, (void *)value, NULL, flags));
}

static inline int bpf_map_lookup_elem_flags(int fd, const void *key, void *value, uint64_t flags)
{
	return skep_result(wasm_bpf_map_operate(fd, BPF_MAP_LOOKUP_ELEM, (void *)key, value, NULL, flags));
}

static inline int bpf_map_lookup_elem(int fd, const void *key, void *value)
{
	return bpf_map_lookup_elem_flags(fd, key, value, 0);
}

static inline int bpf_map_delete_elem_flags(int fd, const void *key, uint64_t flags)
{
	return skep_result(wasm_bpf_map_operate(fd, BPF_MAP_DELETE_ELEM, (void *)key, NULL, NULL, flags));
}

static inline int bpf_map_delete_elem(int fd, const void *key)
{
	return bpf_map_delete_elem_flags(fd, key, 0);
}

/* The key after `key`; the first where `key` is NULL or not in the map; -ENOENT after the last. */
static inline int bpf_map_get_next_key(int fd, const void *key, void *next_key)
{
	return skep_result(wasm_bpf_map_operate(fd, BPF_MAP_GET_NEXT_KEY, (void *)key, NULL, next_key, 0));
}

#endif /* SKEP_MAP_H */
