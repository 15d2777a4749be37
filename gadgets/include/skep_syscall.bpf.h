/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Arguments of a system call at raw tracepoint sys_enter, for every architecture in one object: the layout that the running
 * kernel has is found by CO-RE. */
#ifndef SKEP_SYSCALL_H
#define SKEP_SYSCALL_H

struct pt_regs___x86 {
	unsigned long bp, bx, r10, r9, r8, cx, dx, si, di, orig_ax, ip, sp;
} __attribute__((preserve_access_index));

struct user_pt_regs___arm64 {
	__u64 regs[31];
	__u64 sp;
	__u64 pc;
} __attribute__((preserve_access_index));

struct pt_regs___arm64 {
	int syscallno;
} __attribute__((preserve_access_index));

/* Present on x86 only. */
struct thread_info___x86 {
	unsigned int status;
} __attribute__((preserve_access_index));

struct task_struct___x86 {
	struct thread_info___x86 thread_info;
} __attribute__((preserve_access_index));

#define TS_COMPAT 2 /* of the kernel: a system call of 32 bits is under way */

/* The number of the system call that a task of the kernel's type is in, with SKEP_I386 where it is one of i386: int 0x80 and 32-bit
 * programs, whose numbers are others. */
static __always_inline __u32 skep_syscall_id(const void *task_btf, __u32 id)
{
	if (bpf_core_field_exists(struct thread_info___x86, status)) {
		const struct task_struct___x86 *task = task_btf;

		if (task->thread_info.status & TS_COMPAT)
			id |= SKEP_I386;
	}
	return id;
}

/* The number of the system call that registers are of; negative where a task came into the kernel in another way. */
static __always_inline __s32 skep_syscall_of(const void *regs)
{
	const struct pt_regs___x86 *x86 = regs;
	const struct pt_regs___arm64 *arm64 = regs;

	if (bpf_core_field_exists(x86->r10))
		return BPF_CORE_READ(x86, orig_ax);
	if (bpf_core_field_exists(arm64->syscallno))
		return BPF_CORE_READ(arm64, syscallno);
	return -1;
}

/* Where a task stands in user space, its stack, and its frame pointer. */
struct skep_place {
	__u64 ip, sp, fp;
};

static __always_inline struct skep_place skep_place(const void *regs)
{
	const struct pt_regs___x86 *x86 = regs;
	struct skep_place place = {};

	if (bpf_core_field_exists(x86->r10)) {
		place.ip = BPF_CORE_READ(x86, ip);
		place.sp = BPF_CORE_READ(x86, sp);
		place.fp = BPF_CORE_READ(x86, bp);
	} else if (bpf_core_type_exists(struct user_pt_regs___arm64)) {
		const struct user_pt_regs___arm64 *arm64 = regs;

		place.ip = BPF_CORE_READ(arm64, pc);
		place.sp = BPF_CORE_READ(arm64, sp);
		place.fp = BPF_CORE_READ(arm64, regs[29]);
	}
	return place;
}

static __always_inline void skep_args(const void *regs, __u32 id, __u64 args[6])
{
	const struct pt_regs___x86 *x86 = regs;

	if (id & SKEP_I386) {
		args[0] = (__u32)BPF_CORE_READ(x86, bx);
		args[1] = (__u32)BPF_CORE_READ(x86, cx);
		args[2] = (__u32)BPF_CORE_READ(x86, dx);
		args[3] = (__u32)BPF_CORE_READ(x86, si);
		args[4] = (__u32)BPF_CORE_READ(x86, di);
		args[5] = (__u32)BPF_CORE_READ(x86, bp);
	} else if (bpf_core_field_exists(x86->r10)) {
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
