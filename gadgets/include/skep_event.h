/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The record of the profiling collectors: world `filter`'s event of 88 bytes, then what its public layout has no room for.
 * The same layout is skep_event::context in Rust, whose tests compare the two.
 */
#ifndef SKEP_EVENT_H
#define SKEP_EVENT_H

enum skep_event_type {
	SKEP_CPU = 0,
	SKEP_LOCK = 1,
	SKEP_SYSCALL = 2,
	/* No event: code of a process is seen for the first time, or for the first time since it became another program. */
	SKEP_SEEN = 0xffffffff,
};

enum skep_lock_kind {
	SKEP_LOCK_FUTEX = 0,
	SKEP_LOCK_CONDITION = 1,
	SKEP_LOCK_KERNEL = 2,
};

/* With the number of a system call: one of i386, whose numbers are others. */
#define SKEP_I386 0x80000000u

struct skep_event {
	__u32 event_type;
	__u32 pid;
	__u32 tid;
	__u32 pad0;
	__u64 timestamp_ns;
	__u32 cpu_id;
	__u32 pad1;
	__s64 user_stack_id;
	__s64 kernel_stack_id;
	__u64 lock_addr;
	__u64 wait_ns;
	__u32 syscall_id;
	__u32 pad2;
	__u64 duration_ns;
	__s64 return_value;
	/* 88: the tail */
	char comm[16];
	__u64 count;
	__u64 cgroup_id;
	__u16 lock_kind;
	__u8 unfinished;    /* 1: under way when the run ended, and its time is up to there */
	__u8 pad3;
	__u32 lock_flags;
	__u64 args[6];
};

_Static_assert(sizeof(struct skep_event) == 176, "layout of skep_event");
_Static_assert(__builtin_offsetof(struct skep_event, comm) == 88, "the tail follows the event");

#endif
