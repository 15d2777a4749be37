// SPDX-License-Identifier: GPL-2.0
/* Samples of the CPU clock that hit the process whose id the guest was given. */
#include "seen.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} wanted SEC(".maps");

SEC("perf_event")
int sample(void *ctx)
{
	u32 zero = 0;
	u64 *pid = bpf_map_lookup_elem(&wanted, &zero), current = bpf_get_current_pid_tgid() >> 32;

	if (pid && current == *pid)
		saw(current);
	return 0;
}
