// SPDX-License-Identifier: GPL-2.0
/* A burst of records by one system call, into a ring buffer. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "trigger.h"

char LICENSE[] SEC("license") = "GPL";

const volatile unsigned int burst = BURST;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} rb SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, u64);
} calls SEC(".maps");

SEC("tp/syscalls/sys_enter_getpgid")
int on_getpgid(struct trace_event_raw_sys_enter *ctx)
{
	u32 argument = ctx->args[0], call = argument & ~TRIGGER_MASK;
	u64 one = 1;

	if ((argument & TRIGGER_MASK) != TRIGGER)
		return 0;
	u64 *count = bpf_map_lookup_elem(&calls, &call);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&calls, &call, &one, BPF_ANY);
	for (u32 seq = 0; seq < burst && seq < 4096; seq++) {
		struct record r = { .seq = seq, .call = call, .pid = bpf_get_current_pid_tgid() >> 32 };
		bpf_ringbuf_output(&rb, &r, sizeof(r), 0);
	}
	return 0;
}
