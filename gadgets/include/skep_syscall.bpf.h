/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Arguments of a system call at raw tracepoint sys_enter, for every architecture in one object: the layout that the running
 * kernel has is found by CO-RE. */
#ifndef SKEP_SYSCALL_H
#define SKEP_SYSCALL_H

struct pt_regs___x86 {
	unsigned long r10, r9, r8, dx, si, di, ip, sp;
} __attribute__((preserve_access_index));

struct user_pt_regs___arm64 {
	__u64 regs[31];
	__u64 sp;
	__u64 pc;
} __attribute__((preserve_access_index));

/* Where the caller of a system call stands, and its stack. */
static __always_inline void skep_caller(const void *regs, __u64 *ip, __u64 *sp)
{
	const struct pt_regs___x86 *x86 = regs;

	if (bpf_core_field_exists(x86->r10)) {
		*ip = BPF_CORE_READ(x86, ip);
		*sp = BPF_CORE_READ(x86, sp);
	} else if (bpf_core_type_exists(struct user_pt_regs___arm64)) {
		const struct user_pt_regs___arm64 *arm64 = regs;

		*ip = BPF_CORE_READ(arm64, pc);
		*sp = BPF_CORE_READ(arm64, sp);
	}
}

static __always_inline void skep_args(const void *regs, __u64 args[6])
{
	const struct pt_regs___x86 *x86 = regs;

	if (bpf_core_field_exists(x86->r10)) {
		args[0] = BPF_CORE_READ(x86, di);
		args[1] = BPF_CORE_READ(x86, si);
		args[2] = BPF_CORE_READ(x86, dx);
		args[3] = BPF_CORE_READ(x86, r10);
		args[4] = BPF_CORE_READ(x86, r8);
		args[5] = BPF_CORE_READ(x86, r9);
	} else if (bpf_core_type_exists(struct user_pt_regs___arm64)) {
		/* struct pt_regs starts with struct user_pt_regs there. */
		bpf_probe_read_kernel(args, 6 * sizeof(__u64), regs);
	}
}

#endif
