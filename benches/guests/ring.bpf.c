// SPDX-License-Identifier: GPL-2.0
/* Fills a ring buffer on demand: the bench fills it, then lets the consumer loose on it. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "ring.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 * 1024 * 1024);
} rb SEC(".maps");

unsigned long long sent = 0;

static long send_one(u32 index, void *ctx)
{
	struct record *r = bpf_ringbuf_reserve(&rb, sizeof(*r), 0);
	if (!r)
		return 1;
	r->seq = __sync_fetch_and_add(&sent, 1);
	for (int i = 0; i < 7; i++)
		r->payload[i] = r->seq + i;
	bpf_ringbuf_submit(r, 0);
	return 0;
}

SEC("tp/syscalls/sys_enter_getpgid")
int on_getpgid(struct trace_event_raw_sys_enter *ctx)
{
	u32 argument = ctx->args[0];
	if ((argument & RING_MASK) == RING_TRIGGER)
		bpf_loop(argument & ~RING_MASK, send_one, NULL, 0);
	return 0;
}
