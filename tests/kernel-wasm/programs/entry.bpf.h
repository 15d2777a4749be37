/* The entry for the eBPF build of a program: a syscall program that calls `run`. */
#include <linux/bpf.h>
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 64);
} arena SEC(".maps");

char _license[] SEC("license") = "Dual MIT/GPL";

struct context {
	unsigned int rounds, result;
};

SEC("syscall") int entry(struct context *context)
{
	asm volatile("r1 = %[map] ll" ::[map] "i"(&arena) : "r1");
	context->result = run(context->rounds);
	return 0;
}
