/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the program sends to the guest. */
#ifndef BOOTSTRAP_H
#define BOOTSTRAP_H

#define COMM_LEN 16
#define FILENAME_LEN 128

struct event {
	unsigned long long duration_ns; /* from exec to exit; 0 where the exec was not seen */
	int pid;
	int ppid;
	unsigned int exit_code;
	unsigned char is_exit;
	char comm[COMM_LEN];
	char filename[FILENAME_LEN];
};

#endif
