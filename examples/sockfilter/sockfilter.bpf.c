// SPDX-License-Identifier: GPL-2.0
/* Every IPv4 packet that a packet socket on the interface sees. */
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "sockfilter.h"

/* Numbers of <linux/if_ether.h> and <linux/in.h>. */
#define ETH_HLEN 14
#define ETH_P_IP 0x0800
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define FRAGMENT_OFFSET 0x1fff

/* The fixed part of an IPv4 header (RFC 791). */
struct ipv4 {
	u8 version_and_words;
	u8 service;
	__be16 len;
	__be16 id;
	__be16 fragment;
	u8 ttl;
	u8 protocol;
	u16 checksum;
	__be32 source;
	__be32 destination;
};

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} rb SEC(".maps");

SEC("socket")
int packet(struct __sk_buff *skb)
{
	struct ipv4 ip;
	__be16 ports[2] = {};
	struct event *e;

	if (skb->protocol != bpf_htons(ETH_P_IP))
		return 0;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return 0;
	/* Only the first fragment carries the ports. */
	if ((ip.protocol == IPPROTO_TCP || ip.protocol == IPPROTO_UDP) &&
	    !(ip.fragment & bpf_htons(FRAGMENT_OFFSET)))
		bpf_skb_load_bytes(skb, ETH_HLEN + (ip.version_and_words & 0xf) * 4, ports, sizeof(ports));
	e = bpf_ringbuf_reserve(&rb, sizeof(*e), 0);
	if (!e)
		return 0;
	e->source = ip.source;
	e->destination = ip.destination;
	e->source_port = ports[0];
	e->destination_port = ports[1];
	e->len = skb->len;
	e->protocol = ip.protocol;
	e->direction = skb->pkt_type;
	bpf_ringbuf_submit(e, 0);
	return 0; /* the socket itself wants none of it */
}
