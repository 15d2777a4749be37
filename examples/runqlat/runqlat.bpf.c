// SPDX-License-Identifier: GPL-2.0
/* How long a runnable thread waits for a CPU: from wake-up, or from losing the CPU while runnable, to running. */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "runqlat.h"

#define TASK_RUNNING 0

char LICENSE[] SEC("license") = "GPL";

const volatile int target_tgid = 0; /* 0: every process */
const volatile bool in_milliseconds = false;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, u32);
	__type(value, u64);
} queued SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, u32);
	__type(value, u64);
} slots SEC(".maps");

static void enqueue(struct task_struct *task)
{
	u32 pid = task->pid;
	u64 now = bpf_ktime_get_ns();
	if (pid && (!target_tgid || task->tgid == target_tgid))
		bpf_map_update_elem(&queued, &pid, &now, BPF_ANY);
}

static bool is_runnable(struct task_struct *task)
{
	struct task_struct___before_5_14 *old = (void *)task;
	if (bpf_core_field_exists(task->__state))
		return task->__state == TASK_RUNNING;
	return BPF_CORE_READ(old, state) == TASK_RUNNING;
}

static u32 log2_of(u64 value)
{
	u32 slot = 0;
	for (int shift = 32; shift; shift /= 2) {
		if (value >> shift) {
			value >>= shift;
			slot += shift;
		}
	}
	return slot;
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(sched_wakeup, struct task_struct *task)
{
	enqueue(task);
	return 0;
}

SEC("tp_btf/sched_wakeup_new")
int BPF_PROG(sched_wakeup_new, struct task_struct *task)
{
	enqueue(task);
	return 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(sched_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	u32 pid = next->pid, slot;
	u64 *since, *count, waited;

	/* A thread that loses the CPU while it could go on waits again. */
	if (is_runnable(prev))
		enqueue(prev);
	since = bpf_map_lookup_elem(&queued, &pid);
	if (!since)
		return 0;
	waited = (bpf_ktime_get_ns() - *since) / (in_milliseconds ? 1000000 : 1000);
	bpf_map_delete_elem(&queued, &pid);
	slot = log2_of(waited);
	if (slot >= SLOTS)
		slot = SLOTS - 1;
	count = bpf_map_lookup_elem(&slots, &slot);
	if (count)
		__sync_fetch_and_add(count, 1);
	return 0;
}
