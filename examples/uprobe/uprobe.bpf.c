// SPDX-License-Identifier: GPL-2.0
/* Calls of one function of a program or library: arguments, result and time. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "uprobe.h"

char LICENSE[] SEC("license") = "GPL";

struct call {
	u64 since;
	u64 arguments[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, u32);
	__type(value, struct call);
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} rb SEC(".maps");

SEC("uprobe")
int enter(struct pt_regs *ctx)
{
	u32 tid = bpf_get_current_pid_tgid();
	struct call call = {
		.since = bpf_ktime_get_ns(),
		.arguments = { PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx), PT_REGS_PARM3(ctx) },
	};
	bpf_map_update_elem(&calls, &tid, &call, BPF_ANY);
	return 0;
}

SEC("uretprobe")
int leave(struct pt_regs *ctx)
{
	u64 id = bpf_get_current_pid_tgid();
	u32 tid = id;
	struct call *call = bpf_map_lookup_elem(&calls, &tid);
	struct event *e = call ? bpf_ringbuf_reserve(&rb, sizeof(*e), 0) : NULL;
	if (e) {
		e->duration_ns = bpf_ktime_get_ns() - call->since;
		e->arguments[0] = call->arguments[0];
		e->arguments[1] = call->arguments[1];
		e->arguments[2] = call->arguments[2];
		e->result = PT_REGS_RC(ctx);
		e->pid = id >> 32;
		e->tid = tid;
		bpf_get_current_comm(e->comm, sizeof(e->comm));
		bpf_ringbuf_submit(e, 0);
	}
	bpf_map_delete_elem(&calls, &tid);
	return 0;
}
