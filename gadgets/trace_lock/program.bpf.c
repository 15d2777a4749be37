// SPDX-License-Identifier: MIT OR Apache-2.0
/* Waits for locks: futexes of user space, by the system calls that wait on them, and locks of the kernel, by
 * lock:contention_begin and lock:contention_end (Linux 5.19 and later). */
#include "skep_collect.bpf.h"
#include "skep_sweep.bpf.h"

#define FUTEX_CMD 0x7f /* without FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME */
#define FUTEX_WAIT 0
#define FUTEX_LOCK_PI 6
#define FUTEX_WAIT_BITSET 9
#define FUTEX_WAIT_REQUEUE_PI 11
#define FUTEX_LOCK_PI2 13
#define EAGAIN 11
#define ERESTART_RESTARTBLOCK 516
/* lock_flags of the calls that have no operation of their own */
#define OP_WAITV 0x10000
#define OP_WAIT2 0x20000

/* The numbers of i386; those of futex_waitv and futex_wait are the same everywhere. */
#define I386_FUTEX 240
#define I386_FUTEX_TIME64 422

/* include/trace/events/lock.h */
#define LCB_F_SPIN 1
#define LCB_F_MUTEX 32

struct wait {
	__u64 start_ns;
	__u64 lock;
	__u32 flags;
	__u32 kind;
};

/* A task waits for one futex and, within that call or any other, for one kernel lock that sleeps. */
struct waits {
	struct wait futex;
	struct wait kernel;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct waits);
} waiting SEC(".maps");

/* Spinning locks are waited for by a CPU, not by a task: an interrupt may spin while the task it interrupted waits. A mutex that spins
 * before it sleeps is waited for by a task. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct wait);
} spinning SEC(".maps");

struct futex_waitv_entry {
	__u64 val;
	__u64 uaddr;
	__u32 flags;
	__u32 reserved;
};

static __always_inline struct waits *waits_of_current(__u64 flags)
{
	return bpf_task_storage_get(&waiting, bpf_get_current_task_btf(), 0, flags);
}

static __always_inline int is_wait(__u32 op)
{
	switch (op & FUTEX_CMD) {
	case FUTEX_WAIT:
	case FUTEX_WAIT_BITSET:
	case FUTEX_LOCK_PI:
	case FUTEX_LOCK_PI2:
	case FUTEX_WAIT_REQUEUE_PI:
		return 1;
	default:
		return 0;
	}
}

/* What a system call waits for, if it is one that waits for a futex. Programs of 32 bits have numbers of their own. */
static __always_inline int futex_wait(const struct skep_config *c, const void *regs, __u32 id, struct wait *wait)
{
	__u32 number = id & ~SKEP_I386;
	int is_futex = id & SKEP_I386 ? number == I386_FUTEX || number == I386_FUTEX_TIME64 : number == c->futex;
	__u64 args[6] = {};

	if (!is_futex && number != c->futex_waitv && number != c->futex_wait)
		return 0;
	skep_args(regs, id, args);
	wait->lock = args[0];
	wait->kind = SKEP_LOCK_FUTEX;
	if (!is_futex) {
		/* Of several futexes the first one stands for all. */
		wait->flags = number == c->futex_waitv ? OP_WAITV : OP_WAIT2;
		return 1;
	}
	wait->flags = args[1];
	if ((wait->flags & FUTEX_CMD) == FUTEX_WAIT_REQUEUE_PI)
		wait->kind = SKEP_LOCK_CONDITION;
	return is_wait(wait->flags);
}

SEC("raw_tp/sys_enter")
int futex_enter(struct bpf_raw_tracepoint_args *ctx)
{
	struct skep_config *c = skep_config();
	struct futex_waitv_entry first = {};
	struct wait wait = {};
	struct waits *waits;
	__u32 id = ctx->args[1];

	/* Few calls have any of these numbers: what costs more is looked at then. */
	if (!c || (id != c->futex && id != c->futex_waitv && id != c->futex_wait && id != I386_FUTEX && id != I386_FUTEX_TIME64))
		return 0;
	if (!skep_wanted(c))
		return 0;
	id = skep_syscall_id(bpf_get_current_task_btf(), id);
	if (!futex_wait(c, (const void *)ctx->args[0], id, &wait))
		return 0;
	if (wait.flags == OP_WAITV) {
		bpf_probe_read_user(&first, sizeof(first), (const void *)wait.lock);
		wait.lock = first.uaddr;
	}
	waits = waits_of_current(BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!waits) {
		skep_lost(SKEP_LOST_START);
		return 0;
	}
	wait.start_ns = bpf_ktime_get_ns();
	waits->futex = wait;
	return 0;
}

/* How far apart the functions of a threads library lie that wait for futexes, and words of the stack that are looked through. */
#define NEAR (512 * 1024)
#define WORDS 64
#define CALLERS 6

struct search {
	__u64 ip;
	__u32 found;
	__u32 sweep;
};

static __always_inline struct skep_stack *words_of(__u32 sweep)
{
	__u32 zero = 0;

	return sweep ? bpf_map_lookup_elem(&sweep_scratch, &zero) : bpf_map_lookup_elem(&scratch, &zero);
}

/* Moves a word of the stack to the front if it could be a return address close to the system call. */
static long look_at_word(__u32 i, struct search *search)
{
	struct skep_stack *words = words_of(search->sweep);
	__u64 word;

	if (!words)
		return 1;
	word = words->ips[i & (WORDS - 1)];
	if (word - search->ip + NEAR >= 2 * NEAR)
		return 0;
	words->ips[search->found & (WORDS - 1)] = word;
	return ++search->found >= CALLERS;
}

/* Who called the function that made the system call, where frame pointers do not tell. User space looks whether one of them belongs to a
 * condition variable. Without `task` it is the current one. */
static __always_inline void find_callers(const void *regs, struct task_struct *task, struct skep_event *event)
{
	struct skep_place place = skep_place(regs);
	struct search search = { .ip = place.ip, .sweep = !!task };
	struct skep_stack *words = words_of(!!task);
	long missing;

	if (!words)
		return;
	if (task)
		missing = bpf_copy_from_user_task(words->ips, WORDS * sizeof(__u64), (void *)place.sp, task, 0);
	else
		missing = bpf_probe_read_user(words->ips, WORDS * sizeof(__u64), (const void *)place.sp);
	if (missing)
		return;
	bpf_loop(WORDS, look_at_word, &search, 0);
	for (__u32 i = 0; i < CALLERS; i++) {
		if (i < search.found)
			event->args[i] = words->ips[i];
	}
}

static __always_inline void waited(struct skep_event *event, const struct wait *wait, __u64 now)
{
	event->event_type = SKEP_LOCK;
	event->timestamp_ns = now;
	event->wait_ns = now > wait->start_ns ? now - wait->start_ns : 0;
	event->lock_addr = wait->lock;
	event->lock_kind = wait->kind;
	event->lock_flags = wait->flags;
}

static __always_inline void finish(void *ctx, const void *regs, const struct skep_config *c, __u64 who, struct wait *wait, __s64 result)
{
	struct skep_event event = {};
	__u64 now = bpf_ktime_get_ns();

	waited(&event, wait, now);
	wait->start_ns = 0;
	if (event.wait_ns < c->min_ns)
		return;
	event.return_value = result;
	skep_who(&event, who);
	skep_stacks(ctx, c, &event, wait->kind == SKEP_LOCK_KERNEL);
	if (regs && wait->kind == SKEP_LOCK_FUTEX && !(c->flags & SKEP_AGGREGATE))
		find_callers(regs, NULL, &event);
	skep_emit(c, &event);
}

SEC("raw_tp/sys_exit")
int futex_leave(struct bpf_raw_tracepoint_args *ctx)
{
	struct skep_config *c = skep_config();
	__u64 who = c ? skep_wanted(c) : 0;
	struct waits *waits;

	if (!who)
		return 0;
	waits = waits_of_current(0);
	if (!waits || !waits->futex.start_ns)
		return 0;
	/* The value had changed before the call: nobody waited. */
	if ((__s64)ctx->args[1] == -EAGAIN) {
		waits->futex.start_ns = 0;
		return 0;
	}
	/* Interrupted, as by a stop: restart_syscall waits on, and the wait ends with it, or with the return from a signal's handler. */
	if ((__s64)ctx->args[1] == -ERESTART_RESTARTBLOCK)
		return 0;
	finish(ctx, (const void *)ctx->args[0], c, who, &waits->futex, ctx->args[1]);
	return 0;
}

SEC("raw_tp/contention_begin")
int contention_begin(struct bpf_raw_tracepoint_args *ctx)
{
	struct skep_config *c = skep_config();
	__u32 zero = 0, flags = ctx->args[1];
	struct wait *wait = NULL;

	if (!c || !skep_wanted(c))
		return 0;
	if ((flags & LCB_F_SPIN) && !(flags & LCB_F_MUTEX)) {
		wait = bpf_map_lookup_elem(&spinning, &zero);
	} else {
		struct waits *waits = waits_of_current(BPF_LOCAL_STORAGE_GET_F_CREATE);

		if (waits)
			wait = &waits->kernel;
		else
			skep_lost(SKEP_LOST_START);
	}
	/* A mutex says so when it spins and again when it sleeps, and may go on so: the wait began with the first. */
	if (!wait || (wait->start_ns && wait->lock == ctx->args[0]))
		return 0;
	wait->lock = ctx->args[0];
	wait->flags = flags;
	wait->kind = SKEP_LOCK_KERNEL;
	wait->start_ns = bpf_ktime_get_ns();
	return 0;
}

SEC("raw_tp/contention_end")
int contention_end(struct bpf_raw_tracepoint_args *ctx)
{
	struct skep_config *c = skep_config();
	struct wait *wait;
	__u64 who = c ? skep_wanted(c) : 0;
	struct waits *waits;
	__u32 zero = 0;

	if (!who)
		return 0;
	wait = bpf_map_lookup_elem(&spinning, &zero);
	if (wait && wait->start_ns && wait->lock == ctx->args[0]) {
		finish(ctx, NULL, c, who, wait, (__s32)ctx->args[1]);
		return 0;
	}
	waits = waits_of_current(0);
	if (waits && waits->kernel.start_ns && waits->kernel.lock == ctx->args[0])
		finish(ctx, NULL, c, who, &waits->kernel, (__s32)ctx->args[1]);
	return 0;
}

/* Sends a wait that is under way. */
static __always_inline void send_unfinished(const struct skep_config *c, struct task_struct *task, const void *regs,
					    struct skep_event *event, const struct wait *wait)
{
	waited(event, wait, bpf_ktime_get_ns());
	if (event->wait_ns < c->min_ns)
		return;
	skep_stacks_of(c, task, regs, event, wait->kind == SKEP_LOCK_KERNEL);
	if (wait->kind == SKEP_LOCK_FUTEX)
		find_callers(regs, task, event);
	skep_send(event);
}

/* Waits that have not ended: a thread may wait all the time. */
SEC("iter.s/task")
int sweep(struct bpf_iter__task *ctx)
{
	struct skep_config *c = skep_config();
	struct task_struct *task = ctx->task;
	struct futex_waitv_entry first = {};
	struct skep_event event = {};
	struct wait wait = {};
	struct waits *waits;
	const void *regs;
	__s32 number;

	if (!c || !task || !skep_sweeps(c, task, &event) || !skep_asleep(task))
		return 0;
	regs = (const void *)bpf_task_pt_regs(task);
	waits = bpf_task_storage_get(&waiting, task, 0, 0);
	number = skep_syscall_of(regs);
	if (waits && waits->kernel.start_ns) {
		wait = waits->kernel;
		waits->kernel.start_ns = 0;
	} else if (number >= 0 && futex_wait(c, regs, skep_syscall_id(task, number), &wait)) {
		wait.start_ns = c->begin_ns;
		if (wait.flags == OP_WAITV) {
			bpf_copy_from_user_task(&first, sizeof(first), (void *)wait.lock, task, 0);
			wait.lock = first.uaddr;
		}
		if (waits && waits->futex.start_ns) {
			wait.start_ns = waits->futex.start_ns;
			waits->futex.start_ns = 0;
		}
	} else {
		return 0;
	}
	send_unfinished(c, task, regs, &event, &wait);
	return 0;
}
