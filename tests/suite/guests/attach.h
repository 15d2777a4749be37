/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the objects of attach.c share: counters, in this order. */
#ifndef ATTACH_H
#define ATTACH_H

enum { ENTRY, RETURN, EXTRA, SYSCALL_RETURN, PROGRAMS };

#ifdef __bpf__
#define COUNTS                                    \
	struct {                                  \
		__uint(type, BPF_MAP_TYPE_ARRAY); \
		__uint(max_entries, PROGRAMS);    \
		__type(key, u32);                 \
		__type(value, u64);               \
	} counts SEC(".maps")

#define count(which)                                             \
	({                                                       \
		u32 key_ = (which);                              \
		u64 *value_ = bpf_map_lookup_elem(&counts, &key_); \
		if (value_)                                      \
			__sync_fetch_and_add(value_, 1);         \
		0;                                               \
	})
#endif

#endif
