// SPDX-License-Identifier: GPL-2.0
/* Counts the making of directories by trampolines: at a function's entry, at its return, and where it asks the security
 * modules. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "attach.h"

char LICENSE[] SEC("license") = "GPL";

COUNTS;

SEC("fentry/do_mkdirat")
int on_entry(void *ctx)
{
	return count(ENTRY);
}

SEC("fexit/do_mkdirat")
int on_return(void *ctx)
{
	return count(RETURN);
}

/* 0: the function goes on as if this were not there. */
SEC("fmod_ret/security_path_mkdir")
int on_permission(void *ctx)
{
	return count(EXTRA);
}
