/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Counts durations by powers of two, and draws them: latency-histogram in C. */
#include <skep_plugin.h>

SKEP_PLUGIN({
	"name": "latency-histogram-c",
	"version": "0.1.0",
	"description": "A histogram of durations",
	"hooks": {
		"observe": {
			"wire_version": 1,
			"description": "Counts duration_ns by powers of two of microseconds"
		}
	},
	"budget": { "pages": 64 }
});
SKEP_ALLOC

/* The event of world `filter`. */
struct event {
	uint32_t event_type;
	uint32_t pid;
	uint32_t tid;
	uint64_t timestamp_ns;
	uint32_t cpu_id;
	int64_t user_stack_id;
	int64_t kernel_stack_id;
	uint64_t lock_addr;
	uint64_t wait_ns;
	uint32_t syscall_id;
	uint64_t duration_ns;
	int64_t return_value;
};

static const struct skep_wanted wanted[] = {
	SKEP_FIELD(struct event, duration_ns),
};

/* Below 1 us, below 2 us, ... and one for the rest. */
enum { BUCKETS = 24, BAR = 40 };
static uint64_t counts[BUCKETS];
static uint64_t sum, events;

static uint64_t bound(uint32_t bucket)
{
	return 1000ull << bucket;
}

static inline void count(const struct event *event)
{
	/* Whole microseconds 0, 1, 2-3, 4-7, ...: as many as the number has binary digits. */
	uint64_t us = event->duration_ns / 1000;
	uint32_t bucket = us ? 64 - (uint32_t)__builtin_clzll(us) : 0;
	counts[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
	sum += event->duration_ns;
	events++;
}

static void show(struct skep_report *report)
{
	uint64_t bounds[BUCKETS - 1], most = 1;
	for (uint32_t b = 0; b < BUCKETS - 1; b++)
		bounds[b] = bound(b);
	skep_counter(report, "events", "", events);
	skep_histogram(report, "duration_ns", sum, bounds, BUCKETS - 1, counts);
	for (uint32_t b = 0; b < BUCKETS; b++)
		most = counts[b] > most ? counts[b] : most;
	for (uint32_t b = 0; b < BUCKETS; b++) {
		if (!counts[b])
			continue;
		skep_print_number(report, b ? bound(b - 1) / 1000 : 0, 9);
		skep_print(report, " us ");
		skep_print_number(report, counts[b], 8);
		skep_print(report, " ");
		for (uint64_t bar = (counts[b] * BAR + most - 1) / most; bar; bar--)
			skep_print(report, "#");
		skep_print(report, "\n");
	}
}

SKEP_OBSERVE(struct event, wanted, count, show)
