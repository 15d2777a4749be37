// SPDX-License-Identifier: GPL-2.0
/* Counts the making of directories by links that reach many functions at once: by the section's pattern, at the return, and
 * by names that the guest gives. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "attach.h"

char LICENSE[] SEC("license") = "GPL";

COUNTS;

SEC("kprobe.multi/do_mkdirat*")
int on_pattern(void *ctx)
{
	return count(ENTRY);
}

SEC("kretprobe.multi/do_mkdirat")
int on_return(void *ctx)
{
	return count(RETURN);
}

SEC("kprobe.multi")
int on_names(void *ctx)
{
	return count(EXTRA);
}
