/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the test guests say, line by line: the test compares. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>

/* Ends the guest with a message where a condition that its test rests on does not hold. */
#define CHECK(condition, ...)                                        \
	do {                                                         \
		if (!(condition)) {                                  \
			printf("failed at %s:%d: ", __FILE__, __LINE__); \
			printf(__VA_ARGS__);                         \
			printf("\n");                                \
			exit(1);                                     \
		}                                                    \
	} while (0)

/* Tells the test that the guest is attached. */
static inline void say_ready(void)
{
	printf("ready\n");
	fflush(stdout);
}

#endif
