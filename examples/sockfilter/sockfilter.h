/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the program sends to the guest; addresses and ports in network order. */
#ifndef SOCKFILTER_H
#define SOCKFILTER_H

struct event {
	unsigned int source;
	unsigned int destination;
	unsigned short source_port; /* 0 where the protocol has no ports */
	unsigned short destination_port;
	unsigned int len;
	unsigned char protocol;
	unsigned char direction; /* PACKET_HOST 0, PACKET_OUTGOING 4 and so on */
};

#endif
