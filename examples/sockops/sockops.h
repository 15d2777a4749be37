/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the program sends to the guest. */
#ifndef SOCKOPS_H
#define SOCKOPS_H

enum what { CONNECTED, ACCEPTED, RETRANSMITTED, CLOSED };

struct event {
	unsigned int what;
	unsigned int local_address; /* network order */
	unsigned int remote_address;
	unsigned int local_port; /* host order */
	unsigned int remote_port;
	unsigned int rtt_us;
	unsigned long long bytes_acked; /* sent and acknowledged; SYN and FIN count as one each */
	unsigned long long bytes_received;
};

#endif
