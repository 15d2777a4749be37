// SPDX-License-Identifier: MIT OR Apache-2.0
/* fire CALLS RECORDS: makes the ring's program send RECORDS records (at most 65535) by each of CALLS system calls. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../guests/ring.h"

int main(int argc, char **argv)
{
	long calls = argc > 1 ? atol(argv[1]) : 1, records = argc > 2 ? atol(argv[2]) : 1;
	if (records < 0 || records > 0xffff) {
		fprintf(stderr, "fire: at most 65535 records a call\n");
		return 2;
	}
	while (calls-- > 0)
		getpgid(RING_TRIGGER | records);
	return 0;
}
