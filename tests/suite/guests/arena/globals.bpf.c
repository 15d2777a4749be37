// SPDX-License-Identifier: GPL-2.0
/* Global variables in an arena (Linux 6.9): the program adds what the test triggers to one of them. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "../trigger.h"

#define __arena __attribute__((address_space(1)))

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4); /* pages */
} arena SEC(".maps");

u64 __arena magic = 0x5ce95ce95ce95ce9;
u64 __arena total = 1000;

SEC("tp/syscalls/sys_enter_getpgid")
int add(struct trace_event_raw_sys_enter *ctx)
{
	if ((ctx->args[0] & TRIGGER_MASK) == TRIGGER && magic == 0x5ce95ce95ce95ce9)
		__sync_fetch_and_add(&total, ctx->args[0] & ~TRIGGER_MASK);
	asm volatile("" ::"r"(&arena));
	return 0;
}
