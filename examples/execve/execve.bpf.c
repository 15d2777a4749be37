// SPDX-License-Identifier: GPL-2.0
/* Every execve(2) with its arguments, as it is asked for. */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define ARGUMENTS 20
#define ARGUMENT_LEN 64
#define TEXT_LEN (ARGUMENTS * ARGUMENT_LEN)

char LICENSE[] SEC("license") = "GPL";

/* The Go side reads the same layout: main.go. */
struct event {
	u32 pid;
	u32 ppid;
	char comm[16];
	u32 len; /* bytes of text: arguments, each with its final zero */
	char text[TEXT_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1024 * 1024);
} events SEC(".maps");

/* A record is too large for the stack, and most of it is not sent. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct event);
} scratch SEC(".maps");

SEC("tp/syscalls/sys_enter_execve")
int enter_execve(struct trace_event_raw_sys_enter *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	const char *const *argv = (const char *const *)ctx->args[1];
	u32 zero = 0, len = 0;
	struct event *e = bpf_map_lookup_elem(&scratch, &zero);
	if (!e)
		return 0;
	e->pid = bpf_get_current_pid_tgid() >> 32;
	e->ppid = BPF_CORE_READ(task, real_parent, tgid);
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	for (int i = 0; i < ARGUMENTS; i++) {
		const char *argument = NULL;
		if (bpf_probe_read_user(&argument, sizeof(argument), &argv[i]) || !argument)
			break;
		if (len > TEXT_LEN - ARGUMENT_LEN)
			break;
		long copied = bpf_probe_read_user_str(&e->text[len], ARGUMENT_LEN, argument);
		if (copied <= 0)
			break;
		len += copied;
	}
	if (len > TEXT_LEN)
		return 0;
	e->len = len;
	bpf_ringbuf_output(&events, e, offsetof(struct event, text) + len, 0);
	return 0;
}
