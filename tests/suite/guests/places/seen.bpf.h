/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SEEN_BPF_H
#define SEEN_BPF_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "places.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct seen);
} seen SEC(".maps");

/* Counts an event that the test caused. */
static __always_inline void saw(u64 detail)
{
	u32 zero = 0;
	struct seen *s = bpf_map_lookup_elem(&seen, &zero);

	if (s) {
		__sync_fetch_and_add(&s->count, 1);
		s->detail = detail;
	}
}

#endif
