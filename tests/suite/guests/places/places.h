/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What every program of this guest keeps: how often it saw what its test causes, and the last detail of it. */
#ifndef PLACES_H
#define PLACES_H

struct seen {
	unsigned long long count;
	unsigned long long detail;
};

#define TCP_PORT 4242 /* what `causes` connects to, in a network namespace of its own */
#define UDP_PORT 4343 /* what it sends a datagram of DATAGRAM bytes to */
#define DATAGRAM 6

#endif
