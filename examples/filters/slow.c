// Keeps system calls that took a millisecond or more, and everything that is no system call.
//
//   clang --target=wasm32 -O2 -nostdlib -ffreestanding -Wl,--no-entry -Wl,--strip-all \
//         -Wl,-z,stack-size=8192 -o slow.wasm slow.c
//   sudo skep trace syscall --filter slow.wasm
//
// The offsets are those of EventContext under #[repr(C)]: duration_ns is at 72; at 56 is wait_ns.

struct event {
	unsigned event_type; // 0 CPU, 1 lock, 2 system call
	unsigned pid;
	unsigned tid;
	unsigned long long timestamp_ns;
	unsigned cpu_id;
	long long user_stack_id;
	long long kernel_stack_id;
	unsigned long long lock_addr;
	unsigned long long wait_ns;
	unsigned syscall_id;
	unsigned long long duration_ns;
	long long return_value;
};

_Static_assert(sizeof(struct event) == 88, "size of EventContext");
_Static_assert(__builtin_offsetof(struct event, duration_ns) == 72, "layout of EventContext");

__attribute__((export_name("filter"))) int filter(const struct event *event, int len)
{
	if (len < (int)sizeof(*event) || event->event_type != 2)
		return 1;
	return event->duration_ns >= 1000000;
}
