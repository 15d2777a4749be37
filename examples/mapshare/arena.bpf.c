// SPDX-License-Identifier: GPL-2.0
/* Keeps the last commands in an arena (Linux 6.9): memory that programs and user space share. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "mapshare.h"

#define __arena __attribute__((address_space(1)))

char LICENSE[] SEC("license") = "GPL";

/* Where the guest has put the arena in its memory. Of an arena's address only the low half counts, and that is the same
 * for the guest and for the process around it. */
const volatile unsigned int arena_at = 0;

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* pages */
} arena SEC(".maps");

SEC("tp/sched/sched_process_exec")
int keep_exec(void *ctx)
{
	/* Volatile, or stores become a memcpy that loses the address space (clang 19). */
	volatile struct recent __arena *recent = (volatile struct recent __arena *)(unsigned long)arena_at;
	struct exec e = { .pid = bpf_get_current_pid_tgid() >> 32 };
	u32 at = __sync_fetch_and_add(&recent->total, 1) % RECENT;

	bpf_get_current_comm(e.comm, sizeof(e.comm));
	/* A helper cannot write to an arena; plain stores can. */
	recent->commands[at].pid = e.pid;
	for (int i = 0; i < (int)sizeof(e.comm); i++)
		recent->commands[at].comm[i] = e.comm[i];
	/* Without a use by name the loader would not tie the arena to the program. */
	asm volatile("" ::"r"(&arena));
	return 0;
}
