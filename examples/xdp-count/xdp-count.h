/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the program counts and the guest reads. */
#ifndef XDP_COUNT_H
#define XDP_COUNT_H

enum protocol { ARP, ICMP, TCP, UDP, ICMPV6, TCP6, UDP6, OTHER, PROTOCOLS };

struct count {
	unsigned long long packets;
	unsigned long long bytes;
};

#endif
