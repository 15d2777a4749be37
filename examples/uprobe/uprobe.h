/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the program sends to the guest. */
#ifndef UPROBE_H
#define UPROBE_H

struct event {
	unsigned long long duration_ns;
	unsigned long long arguments[3];
	long long result;
	int pid;
	int tid;
	char comm[16];
};

#endif
