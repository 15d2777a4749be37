// SPDX-License-Identifier: GPL-2.0
/* Refuses to remove a directory of a certain name. */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "lsm.h"

#define EPERM 1

char LICENSE[] SEC("license") = "GPL";

const volatile char protected_name[NAME_LEN] = "keep-me";

struct inode;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} rb SEC(".maps");

SEC("lsm/inode_rmdir")
int BPF_PROG(remove_directory, struct inode *dir, struct dentry *dentry, int ret)
{
	char name[NAME_LEN] = {};
	bool same = true;
	struct event *e;

	/* Another security module has refused already. */
	if (ret)
		return ret;
	bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(dentry, d_name.name));
	for (int i = 0; i < NAME_LEN; i++) {
		if (name[i] != protected_name[i])
			same = false;
		if (!name[i] || !same)
			break;
	}
	e = bpf_ringbuf_reserve(&rb, sizeof(*e), 0);
	if (e) {
		e->pid = bpf_get_current_pid_tgid() >> 32;
		e->uid = bpf_get_current_uid_gid();
		e->refused = same;
		bpf_get_current_comm(e->comm, sizeof(e->comm));
		__builtin_memcpy(e->name, name, sizeof(name));
		bpf_ringbuf_submit(e, 0);
	}
	if (same) {
		/* Without this the compiler negates a bit, and the verifier takes the result for any number at all. */
		barrier();
		return -EPERM;
	}
	return 0;
}
