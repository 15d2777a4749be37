// SPDX-License-Identifier: GPL-2.0
/* A netfilter hook (Linux 6.4) that sees the datagram by its length. */
#include "seen.bpf.h"

struct sk_buff {
	unsigned int len;
} __attribute__((preserve_access_index));

struct bpf_nf_ctx {
	const void *state;
	struct sk_buff *skb;
} __attribute__((preserve_access_index));

SEC("netfilter")
int hook(struct bpf_nf_ctx *ctx)
{
	if (ctx->skb->len == 20 + 8 + DATAGRAM || ctx->skb->len == 40 + 8 + DATAGRAM)
		saw(ctx->skb->len);
	return 1; /* NF_ACCEPT */
}
