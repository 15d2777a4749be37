// SPDX-License-Identifier: MIT OR Apache-2.0
/* Time that threads spend off the CPU, with the stack on which they left it. The time stands in wait_ns. */
#include "skep_collect.bpf.h"
#include "skep_sweep.bpf.h"

struct task_struct {
	int pid;
	int tgid;
} __attribute__((preserve_access_index));

/* The event as it will be sent, but for its time. */
struct off {
	__u64 since_ns;
	struct skep_event event;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct off);
} offs SEC(".maps");

SEC("tp_btf/sched_switch")
int sched_switch(__u64 *ctx)
{
	struct skep_config *c = skep_config();
	struct task_struct *prev = (void *)ctx[1], *next = (void *)ctx[2];
	__u64 now = bpf_ktime_get_ns(), who;
	struct off *off;

	if (!c || (c->flags & SKEP_STOPPED))
		return 0;
	/* Who leaves is the current task still: its stacks can be taken. */
	who = skep_wanted(c);
	if (who) {
		off = bpf_task_storage_get(&offs, prev, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
		if (off) {
			off->event.event_type = SKEP_CPU;
			skep_who(&off->event, who);
			skep_stacks(ctx, c, &off->event, 1);
			off->since_ns = now;
		} else {
			skep_lost(SKEP_LOST_START);
		}
	}
	if (next->pid == 0)
		return 0;
	off = bpf_task_storage_get(&offs, next, 0, 0);
	if (!off || !off->since_ns)
		return 0;
	off->event.wait_ns = now - off->since_ns;
	off->event.timestamp_ns = now;
	off->event.cpu_id = bpf_get_smp_processor_id();
	off->since_ns = 0;
	if (off->event.wait_ns >= c->min_ns)
		skep_emit(c, &off->event);
	return 0;
}

/* Who is off the CPU still, or was all the time. */
SEC("iter.s/task")
int sweep(struct bpf_iter__task *ctx)
{
	struct skep_config *c = skep_config();
	struct task_struct *task = ctx->task;
	struct skep_event event = {};
	struct off *off;
	__u64 now = bpf_ktime_get_ns(), since = 0;

	if (!c || !task || !skep_sweeps(c, task, &event))
		return 0;
	off = bpf_task_storage_get(&offs, task, 0, 0);
	if (off && off->since_ns) {
		since = off->since_ns;
		off->since_ns = 0;
		event = off->event;
		event.unfinished = 1;
	} else if (!off && skep_asleep(task)) {
		since = c->begin_ns;
		event.event_type = SKEP_CPU;
		skep_stacks_of(c, task, (const void *)bpf_task_pt_regs(task), &event, 1);
	}
	if (!since || now < since || now - since < c->min_ns)
		return 0;
	event.wait_ns = now - since;
	event.timestamp_ns = now;
	skep_send(&event);
	return 0;
}
