/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the collectors share: what they are told, whom they look at, stacks, and the two ways out of the kernel.
 *
 *   event ──▶ wanted()? ──▶ stacks ──▶ counts[active], where only sums are wanted
 *                                  └─▶ events (ring buffer), where events are, and where counts is full
 *   at the end: every task ──▶ what it waits for still ──▶ events (skep_sweep.bpf.h)
 *
 * Nothing fills up: stacks are an LRU map keyed by their hash; a full counts map falls back to the ring buffer; what the ring
 * buffer refuses is counted by the loader, what else is lost in `losses`.
 */
#ifndef SKEP_COLLECT_H
#define SKEP_COLLECT_H

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "skep_event.h"

#define SKEP_MAX_FRAMES 127
#define SKEP_COMM 16
/* Bytes of unread records at which the reader is woken; it looks by itself ten times a second. */
#define SKEP_WAKE (128 * 1024)

enum skep_config_flags {
	SKEP_AGGREGATE = 1,
	SKEP_USER_STACKS = 2,
	SKEP_KERNEL_STACKS = 4,
	SKEP_ARGS = 8,
	SKEP_STOPPED = 16,
	SKEP_BY_COMM = 32,
	SKEP_BY_SYSCALL = 64,
	SKEP_SLOTS = 128,   /* with SKEP_AGGREGATE: sums for each power of two of the time, without threads and stacks */
};

/* What user space writes once before the collectors are attached; `begin_ns`, `active` and SKEP_STOPPED later too. */
struct skep_config {
	__u32 flags;
	__u32 pid;          /* 0: any */
	__u32 self;         /* never looked at */
	__u32 active;       /* which of the two count maps is written to */
	__u64 cgroup_id;    /* 0: any */
	__u32 cgroup_level;
	__u32 futex;        /* numbers of system calls on this architecture */
	__u32 futex_waitv;
	__u32 futex_wait;
	__u64 min_ns;       /* shorter waits and calls are left out */
	char comm[SKEP_COMM];
	__u64 syscalls[8];  /* with SKEP_BY_SYSCALL: a bit for each number that is wanted */
	__u32 pid_ns;       /* inode of the pid namespace whose numbers are used; 0: the first one of all */
	__u32 pad;
	__u64 begin_ns;     /* when all of the collector was attached */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct skep_config);
} config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 * 1024 * 1024);
} events SEC(".maps");

struct skep_stack {
	__u32 frames;
	__u32 pid;
	__u64 ips[SKEP_MAX_FRAMES];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __s64);
	__type(value, struct skep_stack);
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct skep_stack);
} scratch SEC(".maps");

/* Processes whose code user space was told of. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, __u8);
} seen SEC(".maps");

enum skep_loss {
	SKEP_LOST_STACK = 0,   /* the stack could not be stored */
	SKEP_LOST_START = 1,   /* no room to remember when a wait or call began */
	SKEP_LOSSES = 2,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SKEP_LOSSES);
	__type(key, __u32);
	__type(value, __u64);
} losses SEC(".maps");

struct skep_count_key {
	__u32 pid;
	__u32 tid;
	__s64 user_stack_id;
	__s64 kernel_stack_id;
	__u64 lock_addr;
	__u32 event_type;
	__u32 syscall_id;
	__u32 lock_kind;
	__u32 lock_flags;
	__u64 cgroup_id;
	char comm[SKEP_COMM];
	__u32 slot;         /* with SKEP_SLOTS: the logarithm of the time */
	__u32 pad;
};

struct skep_count {
	__u64 count;
	__u64 wait_ns;
	__u64 duration_ns;
	__u64 last_ns;
};

struct skep_counts {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct skep_count_key);
	__type(value, struct skep_count);
};

struct skep_counts counts0 SEC(".maps");
struct skep_counts counts1 SEC(".maps");

static __always_inline struct skep_config *skep_config(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&config, &zero);
}

static __always_inline void skep_lost(__u32 what)
{
	__u64 *count = bpf_map_lookup_elem(&losses, &what);

	if (count)
		(*count)++;
}

struct ns_common___skep {
	unsigned int inum;
} __attribute__((preserve_access_index));

struct pid_namespace___skep {
	struct ns_common___skep ns;
} __attribute__((preserve_access_index));

struct upid___skep {
	int nr;
	struct pid_namespace___skep *ns;
} __attribute__((preserve_access_index));

struct pid___skep {
	unsigned int level;
	struct upid___skep numbers[1];
} __attribute__((preserve_access_index));

struct task_struct___skep {
	int pid;
	int tgid;
	struct task_struct___skep *group_leader;
	struct pid___skep *thread_pid;
} __attribute__((preserve_access_index));

#define SKEP_MAX_NS_LEVEL 32 /* MAX_PID_NS_LEVEL of the kernel */

struct skep_numbering {
	void *numbers;
	__u32 pid_ns;
	__u32 found;
};

static long skep_number_at(__u32 level, struct skep_numbering *numbering)
{
	struct upid___skep *number = numbering->numbers + level * bpf_core_type_size(struct upid___skep);

	if (BPF_CORE_READ(number, ns, ns.inum) != numbering->pid_ns)
		return 0;
	numbering->found = BPF_CORE_READ(number, nr);
	return 1;
}

/* The number that a task has in a pid namespace; 0 if it cannot be seen from there. The loop is the kernel's: verifiers of Linux 6.1 give up
 * on one of this length. */
static __always_inline __u32 skep_number(struct task_struct___skep *task, __u32 pid_ns)
{
	struct pid___skep *pid = BPF_CORE_READ(task, thread_pid);
	__u32 level = BPF_CORE_READ(pid, level);
	struct skep_numbering numbering = {
		.numbers = (void *)pid + bpf_core_field_offset(struct pid___skep, numbers),
		.pid_ns = pid_ns,
	};

	if (level <= SKEP_MAX_NS_LEVEL)
		bpf_loop(level + 1, skep_number_at, &numbering, 0);
	return numbering.found;
}

/* Process (upper half) and thread of a task, as they are numbered where skep runs; 0 for who is not seen from there. */
static __always_inline __u64 skep_ids_of(const struct skep_config *c, struct task_struct___skep *task)
{
	__u64 process;

	if (!c->pid_ns)
		return (__u64)(__u32)BPF_CORE_READ(task, tgid) << 32 | (__u32)BPF_CORE_READ(task, pid);
	process = skep_number(BPF_CORE_READ(task, group_leader), c->pid_ns);
	return process ? process << 32 | skep_number(task, c->pid_ns) : 0;
}

static __always_inline __u64 skep_ids(const struct skep_config *c)
{
	return c->pid_ns ? skep_ids_of(c, (void *)bpf_get_current_task()) : bpf_get_current_pid_tgid();
}

/* Whether a process was asked for, as far as its number tells. */
static __always_inline int skep_wants_process(const struct skep_config *c, __u32 pid)
{
	return pid && pid != c->self && (!c->pid || pid == c->pid);
}

/* Process (upper half) and thread of the current task; 0 if it is none that was asked for. */
static __always_inline __u64 skep_wanted(const struct skep_config *c)
{
	__u64 ids;

	if (c->flags & SKEP_STOPPED)
		return 0;
	if (c->flags & SKEP_BY_COMM) {
		__u64 comm[2] = {};
		const __u64 *wanted = (const __u64 *)c->comm;

		bpf_get_current_comm(comm, sizeof(comm));
		if (comm[0] != wanted[0] || comm[1] != wanted[1])
			return 0;
	}
	ids = skep_ids(c);
	if (!skep_wants_process(c, ids >> 32))
		return 0;
	if (c->cgroup_id && bpf_get_current_ancestor_cgroup_id(c->cgroup_level) != c->cgroup_id)
		return 0;
	return ids;
}

static __always_inline int skep_wants_syscall(const struct skep_config *c, __u32 id)
{
	if (!(c->flags & SKEP_BY_SYSCALL))
		return 1;
	return id < 512 && (c->syscalls[(id >> 6) & 7] >> (id & 63)) & 1;
}

/* Wakes user space at once for a process whose code it has not seen: what is mapped where can be read while the process lives, and it may
 * not live long. */
static __always_inline void skep_see(__u32 pid)
{
	struct skep_event *record;
	__u8 yes = 1;

	if (bpf_map_lookup_elem(&seen, &pid) || bpf_map_update_elem(&seen, &pid, &yes, BPF_ANY))
		return;
	record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
	if (!record)
		return;
	record->event_type = SKEP_SEEN;
	record->pid = pid;
	bpf_ringbuf_submit(record, BPF_RB_FORCE_WAKEUP);
}

/* A process becomes another program: the code that was seen is gone. */
SEC("raw_tp/sched_process_exec")
int became(struct bpf_raw_tracepoint_args *ctx)
{
	struct skep_config *c = skep_config();
	__u32 pid = c ? skep_ids(c) >> 32 : 0;

	bpf_map_delete_elem(&seen, &pid);
	return 0;
}

#define SKEP_HASH 0x9e3779b97f4a7c15ULL

static __always_inline __u64 skep_hash(__u64 hash, __u64 ip)
{
	hash = (hash ^ ip) * 0xff51afd7ed558ccdULL;
	return hash ^ hash >> 32;
}

/* Keeps a stack under an id made of the hash. */
static __always_inline __s64 skep_store(const struct skep_stack *stack, __u64 hash)
{
	__s64 id = hash & 0x7fffffffffffffffULL;

	/* Stacks come again and again: look before writing a kilobyte. A lookup also keeps it from being evicted. */
	if (bpf_map_lookup_elem(&stacks, &id))
		return id;
	if (bpf_map_update_elem(&stacks, &id, stack, BPF_ANY))
		skep_lost(SKEP_LOST_STACK);
	if (stack->pid)
		skep_see(stack->pid);
	return id;
}

/* Keeps a stack. Its id is a hash of its addresses, and of the process for user space (0: a stack of the kernel). */
static __always_inline __s64 skep_keep(struct skep_stack *stack, __u32 frames, __u32 pid)
{
	__u64 hash = SKEP_HASH ^ pid;

	stack->frames = frames;
	stack->pid = pid;
	for (__u32 i = 0; i < SKEP_MAX_FRAMES && i < stack->frames; i++)
		hash = skep_hash(hash, stack->ips[i]);
	return skep_store(stack, hash);
}

/* Takes a stack of the current task; a negative number if there is none. */
static __always_inline __s64 skep_stack(void *ctx, __u32 pid, __u64 flags)
{
	__u32 zero = 0;
	struct skep_stack *stack = bpf_map_lookup_elem(&scratch, &zero);
	long bytes;

	if (!stack)
		return -1;
	bytes = bpf_get_stack(ctx, stack->ips, sizeof(stack->ips), flags);
	if (bytes <= 0)
		return bytes < 0 ? bytes : -1;
	return skep_keep(stack, (__u64)bytes / 8, flags & BPF_F_USER_STACK ? pid : 0);
}

/* Who must be filled in. On the way out of a system call the kernel's stack says nothing: then `kernel` is 0. */
static __always_inline void skep_stacks(void *ctx, const struct skep_config *c, struct skep_event *event, int kernel)
{
	event->user_stack_id = -1;
	event->kernel_stack_id = -1;
	if (c->flags & SKEP_USER_STACKS)
		event->user_stack_id = skep_stack(ctx, event->pid, BPF_F_USER_STACK);
	if (kernel && (c->flags & SKEP_KERNEL_STACKS))
		event->kernel_stack_id = skep_stack(ctx, 0, 0);
}

/* Fills in who it was, by what skep_wanted() gave, and where. */
static __always_inline void skep_who(struct skep_event *event, __u64 ids)
{
	event->pid = ids >> 32;
	event->tid = ids;
	event->cpu_id = bpf_get_smp_processor_id();
	event->cgroup_id = bpf_get_current_cgroup_id();
	event->count = 1;
	bpf_get_current_comm(event->comm, sizeof(event->comm));
}

/* The integer part of the logarithm to base 2; 0 for 0. */
static __always_inline __u32 skep_log2(__u64 value)
{
	__u32 bits = 0;

	for (__u32 step = 32; step; step >>= 1) {
		if (value >> step) {
			value >>= step;
			bits += step;
		}
	}
	return bits;
}

/* Adds the event to the active sums; 0 if that worked. */
static __always_inline int skep_add(const struct skep_config *c, const struct skep_event *event)
{
	struct skep_count_key key = {};
	struct skep_count fresh = {};
	struct skep_count *count;

	key.pid = event->pid;
	key.event_type = event->event_type;
	key.syscall_id = event->syscall_id;
	key.lock_kind = event->lock_kind;
	key.cgroup_id = event->cgroup_id;
	if (c->flags & SKEP_SLOTS) {
		key.user_stack_id = -1;
		key.kernel_stack_id = -1;
		key.slot = skep_log2(event->wait_ns | event->duration_ns);
	} else {
		key.tid = event->tid;
		key.user_stack_id = event->user_stack_id;
		key.kernel_stack_id = event->kernel_stack_id;
		key.lock_addr = event->lock_addr;
		key.lock_flags = event->lock_flags;
	}
	__builtin_memcpy(key.comm, event->comm, sizeof(key.comm));
	if (c->active)
		count = bpf_map_lookup_elem(&counts1, &key);
	else
		count = bpf_map_lookup_elem(&counts0, &key);
	if (!count) {
		/* Another CPU may have been first: then it exists, and is found below. */
		if (c->active) {
			bpf_map_update_elem(&counts1, &key, &fresh, BPF_NOEXIST);
			count = bpf_map_lookup_elem(&counts1, &key);
		} else {
			bpf_map_update_elem(&counts0, &key, &fresh, BPF_NOEXIST);
			count = bpf_map_lookup_elem(&counts0, &key);
		}
		if (!count)
			return -1;
	}
	__sync_fetch_and_add(&count->count, 1);
	__sync_fetch_and_add(&count->wait_ns, event->wait_ns);
	__sync_fetch_and_add(&count->duration_ns, event->duration_ns);
	count->last_ns = event->timestamp_ns;
	return 0;
}

/* Sends the event out as a record. */
static __always_inline void skep_send(const struct skep_event *event)
{
	struct skep_event *record;
	__u64 unread;

	record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
	if (!record)
		return;
	__builtin_memcpy(record, event, sizeof(*record));
	unread = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);
	bpf_ringbuf_submit(record, unread >= SKEP_WAKE ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

/* Sends the event out, as a sum or as a record. */
static __always_inline void skep_emit(const struct skep_config *c, const struct skep_event *event)
{
	if (!(c->flags & SKEP_AGGREGATE) || skep_add(c, event))
		skep_send(event);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#endif
