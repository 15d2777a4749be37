// SPDX-License-Identifier: GPL-2.0
/* Data sections and two rings: each call sends as many records to either as `constant` says. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "trigger.h"

char LICENSE[] SEC("license") = "GPL";

/* The kernel's own names of types, which the skeleton repeats. */
const volatile __u32 constant = 30;
const volatile bool wanted = false;
__u16 variable = 40;
__s64 zero = 0;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} ring_a SEC(".maps"), ring_b SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} seen SEC(".maps");

SEC("tp/syscalls/sys_enter_getpgid")
int on_getpgid(struct trace_event_raw_sys_enter *ctx)
{
	u32 argument = ctx->args[0], key = 0;
	u64 digits = constant * 100 + variable * 10 + zero;

	if ((argument & TRIGGER_MASK) != TRIGGER || !wanted)
		return 0;
	bpf_map_update_elem(&seen, &key, &digits, BPF_ANY);
	struct record r = { .call = argument & ~TRIGGER_MASK };
	for (u32 seq = 0; seq < constant && seq < BURST; seq++) {
		r.seq = seq;
		bpf_ringbuf_output(&ring_a, &r, sizeof(r), 0);
		bpf_ringbuf_output(&ring_b, &r, sizeof(r), 0);
	}
	return 0;
}
