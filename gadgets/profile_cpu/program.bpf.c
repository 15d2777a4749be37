// SPDX-License-Identifier: MIT OR Apache-2.0
/* Samples what runs on each CPU. Attached to a clock event a CPU; the idle task is not looked at. */
#include "skep_collect.bpf.h"

SEC("perf_event")
int sample(struct bpf_perf_event_data *ctx)
{
	struct skep_config *c = skep_config();
	struct skep_event event = {};
	__u64 who = c ? skep_wanted(c) : 0;

	if (!who)
		return 0;
	event.event_type = SKEP_CPU;
	event.timestamp_ns = bpf_ktime_get_ns();
	skep_who(&event, who);
	skep_stacks(ctx, c, &event, 1);
	skep_emit(c, &event);
	return 0;
}
