// SPDX-License-Identifier: GPL-2.0
/* A congestion control in eBPF, by name alone: no socket uses it that does not ask for it. */
#include "seen.bpf.h"
#include <bpf/bpf_tracing.h>

struct sock;

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	void (*init)(struct sock *sk);
	char name[16];
} __attribute__((preserve_access_index));

SEC("struct_ops")
void BPF_PROG(init, struct sock *sk)
{
	saw(1);
}

SEC("struct_ops")
u32 BPF_PROG(ssthresh, struct sock *sk)
{
	return 2;
}

SEC("struct_ops")
void BPF_PROG(cong_avoid, struct sock *sk, u32 ack, u32 acked)
{
}

SEC("struct_ops")
u32 BPF_PROG(undo_cwnd, struct sock *sk)
{
	return 10;
}

/* Not .struct_ops.link: what is registered that way would outlive its process, if the host let it. */
SEC(".struct_ops")
struct tcp_congestion_ops skep_test = {
	.ssthresh = (void *)ssthresh,
	.cong_avoid = (void *)cong_avoid,
	.undo_cwnd = (void *)undo_cwnd,
	.init = (void *)init,
	.name = "skep_test",
};
