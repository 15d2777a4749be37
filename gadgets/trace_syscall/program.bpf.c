// SPDX-License-Identifier: MIT OR Apache-2.0
/* Pairs the entry and exit of system calls: number, duration, result, arguments on request. */
#include "skep_collect.bpf.h"
#include "skep_sweep.bpf.h"

struct call {
	__u64 start_ns;
	__u64 id;
	__u64 args[6];
};

/* One call a task is under way: task storage cannot fill up and dies with the task. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct call);
} calls SEC(".maps");

SEC("raw_tp/sys_enter")
int enter(struct bpf_raw_tracepoint_args *ctx)
{
	struct skep_config *c = skep_config();
	struct call *call;
	__u32 id;

	if (!c || !skep_wanted(c))
		return 0;
	id = skep_syscall_id(bpf_get_current_task_btf(), ctx->args[1]);
	if (!skep_wants_syscall(c, id))
		return 0;
	call = bpf_task_storage_get(&calls, bpf_get_current_task_btf(), 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!call) {
		skep_lost(SKEP_LOST_START);
		return 0;
	}
	call->id = id;
	if (c->flags & SKEP_ARGS)
		skep_args((const void *)ctx->args[0], id, call->args);
	call->start_ns = bpf_ktime_get_ns();
	return 0;
}

SEC("raw_tp/sys_exit")
int leave(struct bpf_raw_tracepoint_args *ctx)
{
	struct skep_config *c = skep_config();
	struct skep_event event = {};
	__u64 now, who = c ? skep_wanted(c) : 0;
	struct call *call;

	if (!who)
		return 0;
	/* Without one: the call began before the collector was attached, or was not asked for. */
	call = bpf_task_storage_get(&calls, bpf_get_current_task_btf(), 0, 0);
	if (!call || !call->start_ns)
		return 0;
	now = bpf_ktime_get_ns();
	event.duration_ns = now - call->start_ns;
	call->start_ns = 0;
	if (event.duration_ns < c->min_ns)
		return 0;
	event.event_type = SKEP_SYSCALL;
	event.timestamp_ns = now;
	event.syscall_id = call->id;
	event.return_value = ctx->args[1];
	if (c->flags & SKEP_ARGS)
		__builtin_memcpy(event.args, call->args, sizeof(event.args));
	skep_who(&event, who);
	skep_stacks(ctx, c, &event, 0);
	skep_emit(c, &event);
	return 0;
}

/* Calls that have not returned: a thread may be in one all the time. */
SEC("iter.s/task")
int sweep(struct bpf_iter__task *ctx)
{
	struct skep_config *c = skep_config();
	struct task_struct *task = ctx->task;
	struct skep_event event = {};
	struct call *call;
	const void *regs;
	__u64 now = bpf_ktime_get_ns(), since = 0;
	__s32 number;

	if (!c || !task || !skep_sweeps(c, task, &event))
		return 0;
	regs = (const void *)bpf_task_pt_regs(task);
	number = skep_syscall_of(regs);
	if (number < 0)
		return 0;
	event.syscall_id = skep_syscall_id(task, number);
	call = bpf_task_storage_get(&calls, task, 0, 0);
	if (call && call->start_ns) {
		/* One that nobody saw the end of is not the one that the task is in. */
		if (call->id == event.syscall_id)
			since = call->start_ns;
		call->start_ns = 0;
	} else if (skep_asleep(task) && skep_wants_syscall(c, event.syscall_id)) {
		since = c->begin_ns;
	}
	if (!since || now < since || now - since < c->min_ns)
		return 0;
	if (c->flags & SKEP_ARGS)
		skep_args(regs, event.syscall_id, event.args);
	event.event_type = SKEP_SYSCALL;
	event.duration_ns = now - since;
	event.timestamp_ns = now;
	skep_stacks_of(c, task, regs, &event, 0);
	skep_send(&event);
	return 0;
}
