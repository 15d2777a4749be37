/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the program sends to the guest. */
#ifndef OPENSNOOP_H
#define OPENSNOOP_H

struct event {
	int pid;
	unsigned int uid;
	int ret; /* a file descriptor, or a negative errno */
	int flags;
	char comm[16];
	char path[256];
};

#endif
