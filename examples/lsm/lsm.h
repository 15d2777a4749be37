/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the program sends to the guest. */
#ifndef LSM_H
#define LSM_H

#define NAME_LEN 64

struct event {
	int pid;
	unsigned int uid;
	unsigned int refused;
	char comm[16];
	char name[NAME_LEN];
};

#endif
