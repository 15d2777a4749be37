// SPDX-License-Identifier: GPL-2.0
/* Probes of user-space programs and of tracepoints, whose place the guest gives. */
#include "seen.bpf.h"
#include "../trigger.h"
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include <bpf/usdt.bpf.h>

SEC("usdt")
int BPF_USDT(user_probe, long argument)
{
	saw(argument);
	return 0;
}

SEC("uprobe.multi")
int every_function(struct pt_regs *ctx)
{
	saw(bpf_get_attach_cookie(ctx));
	return 0;
}

SEC("uretprobe.multi")
int every_return(struct pt_regs *ctx)
{
	saw(PT_REGS_RC(ctx));
	return 0;
}

SEC("uprobe")
int one_function(struct pt_regs *ctx)
{
	saw(PT_REGS_PARM1(ctx));
	return 0;
}

SEC("tp")
int tracepoint(struct trace_event_raw_sys_enter *ctx)
{
	if ((ctx->args[0] & TRIGGER_MASK) == TRIGGER)
		saw(ctx->args[0] & ~TRIGGER_MASK);
	return 0;
}

SEC("raw_tp")
int raw_tracepoint(struct bpf_raw_tracepoint_args *ctx)
{
	struct pt_regs *regs = (void *)ctx->args[0];
	u64 first = PT_REGS_PARM1_CORE_SYSCALL(regs);

	if ((first & TRIGGER_MASK) == TRIGGER)
		saw(first & ~TRIGGER_MASK);
	return 0;
}

/* The same where the section names the place; what a writable one may change is its first argument, which it leaves alone. */
SEC("raw_tp.w/sys_enter")
int writable(struct bpf_raw_tracepoint_args *ctx)
{
	struct pt_regs *regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	u64 first = PT_REGS_PARM1_CORE_SYSCALL(regs);

	if ((first & TRIGGER_MASK) == TRIGGER)
		saw(first & ~TRIGGER_MASK);
	return 0;
}

/* Chooses among sockets of one port when one of them asks for it by a call that WASI has not. */
SEC("sk_reuseport")
int choose(struct sk_reuseport_md *ctx)
{
	return SK_PASS;
}

/* No kernel has this event. */
SEC("tp/skep/no_such_event")
int nowhere(void *ctx)
{
	return 0;
}
