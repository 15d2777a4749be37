// SPDX-License-Identifier: GPL-2.0
/* Counts packets by protocol before the kernel allocates anything for them, and lets every one pass. */
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "xdp-count.h"

/* Numbers of <linux/if_ether.h> and <linux/in.h>. */
#define ETH_HLEN 14
#define ETH_P_IP 0x0800
#define ETH_P_ARP 0x0806
#define ETH_P_IPV6 0x86dd
#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_ICMPV6 58

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PROTOCOLS);
	__type(key, u32);
	__type(value, struct count);
} counts SEC(".maps");

static u32 classify(const u8 *data, const u8 *end)
{
	if (data + ETH_HLEN > end)
		return OTHER;
	u16 type = data[12] << 8 | data[13];
	const u8 *ip = data + ETH_HLEN;
	if (type == ETH_P_ARP)
		return ARP;
	if (type == ETH_P_IP && ip + 20 <= end)
		return ip[9] == IPPROTO_TCP ? TCP : ip[9] == IPPROTO_UDP ? UDP : ip[9] == IPPROTO_ICMP ? ICMP : OTHER;
	if (type == ETH_P_IPV6 && ip + 40 <= end)
		return ip[6] == IPPROTO_TCP	 ? TCP6 :
		       ip[6] == IPPROTO_UDP	 ? UDP6 :
		       ip[6] == IPPROTO_ICMPV6 ? ICMPV6 :
						 OTHER;
	return OTHER;
}

SEC("xdp")
int count_packet(struct xdp_md *ctx)
{
	const u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u32 key = classify(data, end);
	struct count *count = bpf_map_lookup_elem(&counts, &key);
	if (count) {
		__sync_fetch_and_add(&count->packets, 1);
		__sync_fetch_and_add(&count->bytes, end - data);
	}
	return XDP_PASS;
}
