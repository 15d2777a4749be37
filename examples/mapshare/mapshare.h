/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What lies in the shared maps. */
#ifndef MAPSHARE_H
#define MAPSHARE_H

#define SYSCALLS 512 /* counters, one a system call number */
#define RECENT 32    /* commands kept in the arena, a power of two */

/* A record of the ring buffer. */
struct exec {
	int pid;
	char comm[16];
};

/* The whole arena: one page. */
struct recent {
	unsigned int total; /* commands so far; the last is at (total - 1) % RECENT */
	struct exec commands[RECENT];
};

#endif
