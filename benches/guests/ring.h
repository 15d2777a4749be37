/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* getpgid(RING_TRIGGER | n), which fails and changes nothing, sends n records of 64 bytes. */
#ifndef RING_H
#define RING_H

#define RING_TRIGGER 0x5cea0000
#define RING_MASK 0xffff0000

struct record {
	unsigned long long seq;
	unsigned long long payload[7];
};

#endif
