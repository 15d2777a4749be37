// SPDX-License-Identifier: GPL-2.0
/* Counts the making of directories by the processes of one cgroup, where the kernel asks the security modules. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "attach.h"

char LICENSE[] SEC("license") = "GPL";

COUNTS;

SEC("lsm_cgroup/path_mkdir")
int on_permission(void *ctx)
{
	count(EXTRA);
	return 1; /* allowed */
}
