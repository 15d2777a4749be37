// SPDX-License-Identifier: GPL-2.0
/* Counts the making of directories at a kernel function's entry and return, and at the system call's. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "attach.h"

char LICENSE[] SEC("license") = "GPL";

COUNTS;

SEC("kprobe/do_mkdirat")
int on_entry(void *ctx)
{
	return count(ENTRY);
}

SEC("kretprobe/do_mkdirat")
int on_return(void *ctx)
{
	return count(RETURN);
}

SEC("ksyscall/mkdirat")
int on_syscall(void *ctx)
{
	return count(EXTRA);
}

SEC("kretsyscall/mkdirat")
int on_result(void *ctx)
{
	return count(SYSCALL_RETURN);
}
