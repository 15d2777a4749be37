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

/* No kernel has this event. */
SEC("tp/skep/no_such_event")
int nowhere(void *ctx)
{
	return 0;
}
