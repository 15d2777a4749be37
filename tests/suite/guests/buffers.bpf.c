// SPDX-License-Identifier: GPL-2.0
/* Two ring buffers and two perf buffers in one object, each with its own share of every burst. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "trigger.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} ring_a SEC(".maps"), ring_b SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} perf_a SEC(".maps"), perf_b SEC(".maps");

SEC("tp/syscalls/sys_enter_getpgid")
int on_getpgid(struct trace_event_raw_sys_enter *ctx)
{
	u32 argument = ctx->args[0];

	if ((argument & TRIGGER_MASK) != TRIGGER)
		return 0;
	for (u32 seq = 0; seq < BURST; seq++) {
		struct record r = {
			.seq = seq,
			.call = argument & ~TRIGGER_MASK,
			.buffer = seq % 4,
			.pid = bpf_get_current_pid_tgid() >> 32,
		};
		switch (seq % 4) {
		case 0: bpf_ringbuf_output(&ring_a, &r, sizeof(r), 0); break;
		case 1: bpf_ringbuf_output(&ring_b, &r, sizeof(r), 0); break;
		case 2: bpf_perf_event_output(ctx, &perf_a, BPF_F_CURRENT_CPU, &r, sizeof(r)); break;
		case 3: bpf_perf_event_output(ctx, &perf_b, BPF_F_CURRENT_CPU, &r, sizeof(r)); break;
		}
	}
	return 0;
}
