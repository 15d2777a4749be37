/* One function of a WebAssembly module on every level at once: in tasks, in soft interrupts on top of them, and in timer
 * interrupts on top of either. Each level of each processor has an instance of its own. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "handler.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define PROCESSORS 256
#define FUEL 1000000

struct context {
	__u32 instance, rounds;
	__u64 seed, result;
	__u32 trap;
};

/* What tests/nesting.rs reads, in this order. */
struct counts {
	__u64 in_soft, in_timer;	/* runs on top of a task's run */
	__u64 wrong;
};

__u64 expected;	/* of seed 7 and 3 rounds */
__u32 processors;
__u32 busy[PROCESSORS];	/* runs of tasks that began on this processor and did not end */
struct counts counts;

SEC("syscall") int begin(struct context *context)
{
	expected = context->result;
	processors = context->instance;
	return 0;
}

SEC("syscall") int in_task(struct context *context)
{
	__u32 cpu = bpf_get_smp_processor_id() & (PROCESSORS - 1);
	__u32 base = wasm_base(context->instance);

	__sync_fetch_and_add(&busy[cpu], 1);
	wasm_begin(base, FUEL);
	context->result = wasm_mix(base, context->seed, context->rounds);
	context->trap = wasm_trap(base);
	__sync_fetch_and_add(&busy[cpu], -1);
	return 0;
}

static void nested(__u32 level, __u64 *over_task)
{
	__u32 cpu = bpf_get_smp_processor_id() & (PROCESSORS - 1);
	__u32 base = wasm_base(level * processors + cpu);

	if (!processors || cpu >= processors)
		return;
	wasm_begin(base, FUEL);
	if (wasm_mix(base, 7, 3) != expected || wasm_trap(base))
		__sync_fetch_and_add(&counts.wrong, 1);
	if (busy[cpu])
		__sync_fetch_and_add(over_task, 1);
}

SEC("raw_tp/softirq_entry") int in_soft(void *context)
{
	nested(1, &counts.in_soft);
	return 0;
}

SEC("raw_tp/hrtimer_expire_entry") int in_timer(void *context)
{
	nested(2, &counts.in_timer);
	return 0;
}

SEC("syscall") int report(struct counts *context)
{
	*context = counts;
	return 0;
}
