/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What guests and baselines share: the clock and the form of a result.
 *
 * A program prints `ready` once it is attached. For each line that it reads, a count, it does that much work and prints
 * one line of `name=value` pairs. The end of its input ends it. */
#ifndef BENCH_H
#define BENCH_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECK(condition, what)                                                      \
	do {                                                                        \
		if (!(condition)) {                                                 \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, what);   \
			exit(1);                                                    \
		}                                                                   \
	} while (0)

/* Out of line: what it has on the stack is not the business of a callback that asks for the time once. */
static __attribute__((noinline, unused)) uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* The next count asked for; 0 at the end. */
static inline unsigned long next_count(void)
{
	char line[32];
	fflush(stdout);
	return fgets(line, sizeof(line), stdin) ? strtoul(line, NULL, 10) : 0;
}

static inline void print_result(const char *what, uint64_t count, uint64_t ns)
{
	printf("%s=%llu ns=%llu ns_each=%.3f per_ms=%.1f\n", what, (unsigned long long)count, (unsigned long long)ns,
	       (double)ns / (double)(count ? count : 1), (double)count * 1e6 / (double)(ns ? ns : 1));
}

/* Of records that lay there when they were asked for, `drain_ns_each` is the time of one: it has what is done before the
 * first. Of records that came later, `ns_each` is. */
static inline void print_records(uint64_t count, uint64_t asked, uint64_t first)
{
	uint64_t now = now_ns();
	printf("drain_ns_each=%.3f ", (double)(now - asked) / (double)(count ? count : 1));
	print_result("records", count, now - first);
}

#endif
