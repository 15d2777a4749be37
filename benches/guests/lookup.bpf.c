// SPDX-License-Identifier: GPL-2.0
/* A hash map to look things up in, and an mmapable array to read from. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, u64);
} hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, u64);
} array SEC(".maps");

SEC("raw_tp/sys_enter")
int unused(void *ctx)
{
	return 0;
}
