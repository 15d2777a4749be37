// SPDX-License-Identifier: GPL-2.0
/* A sockops program puts the ends of a connection to TCP_PORT into a sockmap, whose programs see what is sent. */
#include "seen.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, u64);
} sockets SEC(".maps");

SEC("sockops")
int collect(struct bpf_sock_ops *ctx)
{
	u32 key = ctx->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB ? 0 : 1;

	if (key && ctx->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		return 1;
	if (ctx->local_port == TCP_PORT || bpf_ntohl(ctx->remote_port) == TCP_PORT)
		bpf_sock_map_update(ctx, &sockets, &key, BPF_ANY);
	return 1;
}

SEC("sk_msg")
int message(struct sk_msg_md *msg)
{
	saw(msg->size);
	return SK_PASS;
}

SEC("sk_skb/stream_parser")
int parser(struct __sk_buff *skb)
{
	if (skb->len)
		saw(skb->len);
	return skb->len;
}

SEC("sk_skb/stream_verdict")
int verdict(struct __sk_buff *skb)
{
	if (skb->len) /* the end of a stream comes as a packet of nothing */
		saw(skb->len);
	return SK_PASS;
}
