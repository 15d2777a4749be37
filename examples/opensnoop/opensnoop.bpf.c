// SPDX-License-Identifier: GPL-2.0
/* Every open(2), openat(2) and openat2(2), with its result. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "opensnoop.h"

char LICENSE[] SEC("license") = "GPL";

const volatile int target_pid = 0; /* 0: every process */
const volatile bool failed_only = false;

struct call {
	const char *path;
	int flags;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, u32);
	__type(value, struct call);
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} events SEC(".maps");

static int enter(const char *path, int flags)
{
	u64 id = bpf_get_current_pid_tgid();
	u32 tid = id;
	struct call call = { .path = path, .flags = flags };
	if (!target_pid || target_pid == (int)(id >> 32))
		bpf_map_update_elem(&calls, &tid, &call, BPF_ANY);
	return 0;
}

static int leave(struct trace_event_raw_sys_exit *ctx)
{
	u64 id = bpf_get_current_pid_tgid();
	u32 tid = id;
	struct call *call = bpf_map_lookup_elem(&calls, &tid);
	struct event event = {};
	if (!call)
		return 0;
	if (!failed_only || ctx->ret < 0) {
		event.pid = id >> 32;
		event.uid = bpf_get_current_uid_gid();
		event.ret = ctx->ret;
		event.flags = call->flags;
		bpf_get_current_comm(event.comm, sizeof(event.comm));
		/* Here, not on entry: the kernel has read the path by now, so that its page is there. */
		bpf_probe_read_user_str(event.path, sizeof(event.path), call->path);
		bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	}
	bpf_map_delete_elem(&calls, &tid);
	return 0;
}

#ifdef __TARGET_ARCH_x86 /* younger architectures have no open(2) */
SEC("tp/syscalls/sys_enter_open")
int enter_open(struct trace_event_raw_sys_enter *ctx)
{
	return enter((const char *)ctx->args[0], (int)ctx->args[1]);
}

SEC("tp/syscalls/sys_exit_open")
int exit_open(struct trace_event_raw_sys_exit *ctx)
{
	return leave(ctx);
}
#endif

SEC("tp/syscalls/sys_enter_openat")
int enter_openat(struct trace_event_raw_sys_enter *ctx)
{
	return enter((const char *)ctx->args[1], (int)ctx->args[2]);
}

SEC("tp/syscalls/sys_exit_openat")
int exit_openat(struct trace_event_raw_sys_exit *ctx)
{
	return leave(ctx);
}

SEC("tp/syscalls/sys_enter_openat2")
int enter_openat2(struct trace_event_raw_sys_enter *ctx)
{
	u64 flags = 0; /* the first field of struct open_how */
	bpf_probe_read_user(&flags, sizeof(flags), (const void *)ctx->args[2]);
	return enter((const char *)ctx->args[1], (int)flags);
}

SEC("tp/syscalls/sys_exit_openat2")
int exit_openat2(struct trace_event_raw_sys_exit *ctx)
{
	return leave(ctx);
}
