/* A program in C that calls the functions of a WebAssembly module, gives it a record in its memory, and a function. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "handler.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct context {
	__u32 instance, which;
	__u64 argument, record, result;
	__u32 trap, scaled;
};

__u32 scaled;

/* What the module imports as env.scale. Its caller's memory is in reach by the base. */
__u64 scale(__u32 base, __u32 factor)
{
	scaled++;
	return *WASM_AT(volatile __u64, base, 64) * factor;
}

SEC("syscall") int call(struct context *context)
{
	__u32 base = wasm_base(context->instance);

	wasm_begin(base, 1000);
	*WASM_AT(volatile __u64, base, 64) = context->record;
	if (context->which == 0)
		context->result = wasm_weigh(base, context->argument);
	else if (context->which == 1)
		context->result = wasm_divide(base, context->argument, context->record);
	else
		wasm_spin(base);
	context->trap = wasm_trap(base);
	context->scaled = scaled;
	return 0;
}
