// SPDX-License-Identifier: GPL-2.0
/* Every change of state of a TCP socket, and how long the socket was in the state it leaves. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6

char LICENSE[] SEC("license") = "GPL";

/* The Rust side has the same structure: src/main.rs. */
struct event {
	u64 socket;
	u64 duration_ns; /* 0 where the state's begin was not seen */
	u32 pid;
	u32 old_state;
	u32 new_state;
	u16 family;
	u16 source_port;
	u16 destination_port;
	u16 padding;
	u8 source[16];
	u8 destination[16];
	char comm[16];
	u32 padding2;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, u64);
	__type(value, u64);
} since SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events SEC(".maps");

SEC("tp/sock/inet_sock_set_state")
int set_state(struct trace_event_raw_inet_sock_set_state *ctx)
{
	u64 socket = (u64)ctx->skaddr, now = bpf_ktime_get_ns(), *start;
	struct event *e;

	if (ctx->protocol != IPPROTO_TCP)
		return 0;
	start = bpf_map_lookup_elem(&since, &socket);
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (e) {
		__builtin_memset(e, 0, sizeof(*e));
		e->socket = socket;
		e->duration_ns = start ? now - *start : 0;
		e->pid = bpf_get_current_pid_tgid() >> 32;
		e->old_state = ctx->oldstate;
		e->new_state = ctx->newstate;
		e->family = ctx->family;
		e->source_port = ctx->sport;
		e->destination_port = ctx->dport;
		if (ctx->family == AF_INET6) {
			bpf_probe_read_kernel(e->source, sizeof(e->source), ctx->saddr_v6);
			bpf_probe_read_kernel(e->destination, sizeof(e->destination), ctx->daddr_v6);
		} else {
			bpf_probe_read_kernel(e->source, 4, ctx->saddr);
			bpf_probe_read_kernel(e->destination, 4, ctx->daddr);
		}
		bpf_get_current_comm(e->comm, sizeof(e->comm));
		bpf_ringbuf_submit(e, 0);
	}
	if (ctx->newstate == BPF_TCP_CLOSE)
		bpf_map_delete_elem(&since, &socket);
	else
		bpf_map_update_elem(&since, &socket, &now, BPF_ANY);
	return 0;
}
