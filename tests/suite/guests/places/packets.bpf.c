// SPDX-License-Identifier: GPL-2.0
/* Programs that see packets: the datagram to UDP_PORT, whose payload has DATAGRAM bytes. All let it pass. */
#include "seen.bpf.h"

#define IP_LEN (20 + 8 + DATAGRAM)

struct udp_in_ip {
	u8 vihl, tos;
	u16 len;
	u8 skipped[5];
	u8 protocol;
	u8 rest[10];
	u16 source, dest, udp_len, check;
} __attribute__((packed));

static __always_inline void look(struct __sk_buff *skb, u32 at)
{
	struct udp_in_ip packet;

	if (!bpf_skb_load_bytes(skb, at, &packet, sizeof(packet)) && packet.dest == bpf_htons(UDP_PORT) &&
	    packet.vihl == 0x45)
		saw(bpf_ntohs(packet.udp_len));
}

SEC("tcx/ingress")
int tcx_ingress(struct __sk_buff *skb)
{
	look(skb, 14);
	return -1; /* TCX_NEXT */
}

SEC("tcx/egress")
int tcx_egress(struct __sk_buff *skb)
{
	look(skb, 14);
	return -1;
}

SEC("tc")
int classifier(struct __sk_buff *skb)
{
	look(skb, 14);
	return -1;
}

SEC("socket")
int socket_filter(struct __sk_buff *skb)
{
	look(skb, 14);
	return 0; /* the socket gets none of it; the packet goes on */
}

SEC("cgroup_skb/ingress")
int skb_ingress(struct __sk_buff *skb)
{
	look(skb, 0);
	return 1;
}

SEC("cgroup_skb/egress")
int skb_egress(struct __sk_buff *skb)
{
	look(skb, 0);
	return 1;
}

SEC("xdp")
int express(struct xdp_md *ctx)
{
	struct udp_in_ip *packet = (void *)(long)ctx->data + 14;

	if ((void *)(packet + 1) <= (void *)(long)ctx->data_end && packet->dest == bpf_htons(UDP_PORT))
		saw(bpf_ntohs(packet->udp_len));
	return XDP_PASS;
}

SEC("flow_dissector")
int dissector(struct __sk_buff *skb)
{
	struct bpf_flow_keys *keys = skb->flow_keys;

	/* Loopback's packets are dissected for nobody but who asks; what is returned leaves it to the kernel's own dissector. */
	if (keys->n_proto == bpf_htons(0x0800))
		saw(keys->nhoff);
	return BPF_FLOW_DISSECTOR_CONTINUE;
}

SEC("sk_lookup")
int lookup(struct bpf_sk_lookup *ctx)
{
	if (ctx->family == 2 /* AF_INET */ && ctx->local_port == UDP_PORT)
		saw(ctx->local_port);
	return SK_PASS;
}
