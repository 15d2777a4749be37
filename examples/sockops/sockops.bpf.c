// SPDX-License-Identifier: GPL-2.0
/* The life of every IPv4 TCP connection of a cgroup: begun, retransmitting, ended. */
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "sockops.h"

#define AF_INET 2

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} rb SEC(".maps");

static void send(struct bpf_sock_ops *ops, enum what what)
{
	struct event e = {
		.what = what,
		.local_address = ops->local_ip4,
		.remote_address = ops->remote_ip4,
		.local_port = ops->local_port,
		.remote_port = bpf_ntohl(ops->remote_port),
		.rtt_us = ops->srtt_us >> 3, /* the kernel keeps eight times the smoothed round trip */
		.bytes_acked = ops->bytes_acked,
		.bytes_received = ops->bytes_received,
	};
	bpf_ringbuf_output(&rb, &e, sizeof(e), 0);
}

SEC("sockops")
int connection(struct bpf_sock_ops *ops)
{
	if (ops->family != AF_INET)
		return 1;
	switch (ops->op) {
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		send(ops, ops->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB ? CONNECTED : ACCEPTED);
		bpf_sock_ops_cb_flags_set(ops, BPF_SOCK_OPS_RETRANS_CB_FLAG | BPF_SOCK_OPS_STATE_CB_FLAG);
		break;
	case BPF_SOCK_OPS_RETRANS_CB:
		send(ops, RETRANSMITTED);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ops->args[1] == BPF_TCP_CLOSE)
			send(ops, CLOSED);
		break;
	}
	return 1;
}
