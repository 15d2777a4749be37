/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The system call by which a test sets a program off: getpgid(TRIGGER | n), which fails with ESRCH and changes nothing.
 * Whoever calls it need not know the guest, nor the guest the caller. */
#ifndef TRIGGER_H
#define TRIGGER_H

#define TRIGGER 0x5ce90000
#define TRIGGER_MASK 0xffff0000
#define BURST 100 /* records that one call sends */

struct record {
	unsigned int seq;  /* within the burst */
	unsigned int call; /* the caller's n */
	unsigned int buffer; /* which buffer it was put into */
	unsigned int pid;
};

#endif
