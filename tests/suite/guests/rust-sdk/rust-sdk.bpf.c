// SPDX-License-Identifier: GPL-2.0
/* Counts triggers in an mmapable array and sends each burst through a ring buffer. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "../trigger.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
	__type(key, u32);
	__type(value, u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, u32);
	__type(value, u64);
} hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 * 1024);
} ring SEC(".maps");

SEC("tp/syscalls/sys_enter_getpgid")
int on_getpgid(struct trace_event_raw_sys_enter *ctx)
{
	u32 argument = ctx->args[0], call = argument & ~TRIGGER_MASK;
	u64 *count = bpf_map_lookup_elem(&counts, &call);

	if ((argument & TRIGGER_MASK) != TRIGGER)
		return 0;
	if (count)
		__sync_fetch_and_add(count, 1);
	for (u32 seq = 0; seq < BURST; seq++) {
		struct record r = { .seq = seq, .call = call };
		bpf_ringbuf_output(&ring, &r, sizeof(r), 0);
	}
	return 0;
}
