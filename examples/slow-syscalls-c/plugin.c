/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Keeps system calls that took a millisecond or more: slow-syscalls in C. */
#include <skep_plugin.h>

SKEP_PLUGIN({
	"name": "slow-syscalls-c",
	"version": "0.1.0",
	"description": "Keeps system calls that took a millisecond or more",
	"hooks": {
		"filter": {
			"wire_version": 1,
			"description": "Keeps events of type 2 whose duration_ns is at least 1,000,000"
		}
	}
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
	SKEP_FIELD(struct event, event_type),
	SKEP_FIELD(struct event, duration_ns),
};

enum { SYSCALL = 2, SLOW_NS = 1000000 };

static inline bool slow(const struct event *event)
{
	return event->event_type == SYSCALL && event->duration_ns >= SLOW_NS;
}

SKEP_FILTER(struct event, wanted, slow)
