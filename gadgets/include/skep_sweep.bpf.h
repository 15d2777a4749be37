/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What is under way when a run ends: an iterator goes through all tasks once, and sends what each of them waits for still. What began
 * before the run did is taken to have begun with it. Nothing of this costs anything until then. */
#ifndef SKEP_SWEEP_H
#define SKEP_SWEEP_H

#include "skep_collect.bpf.h"
#include "skep_syscall.bpf.h"

#define SKEP_PF_KTHREAD 0x00200000
#define SKEP_TASK_ASLEEP 3   /* TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE */
#define SKEP_TASK_DEAD 0x80

struct kernfs_node___skep {
	__u64 id;
} __attribute__((preserve_access_index));

struct cgroup___skep {
	int level;
	struct kernfs_node___skep *kn;
	struct cgroup___skep *ancestors[1]; /* Linux 6.1 */
} __attribute__((preserve_access_index));

struct css_set___skep {
	struct cgroup___skep *dfl_cgrp;
} __attribute__((preserve_access_index));

struct task_struct___sweep {
	unsigned int flags;
	unsigned int __state;
	int exit_state;
	char comm[SKEP_COMM];
	struct css_set___skep *cgroups;
} __attribute__((preserve_access_index));

struct bpf_iter__task {
	void *meta;
	struct task_struct *task;
} __attribute__((preserve_access_index));

/* The iterator may sleep, and others come to its CPU then: what is per CPU is not its own. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct skep_stack);
} sweep_scratch SEC(".maps");

static __always_inline int skep_in_cgroup(const struct skep_config *c, struct cgroup___skep *cgroup)
{
	struct cgroup___skep *ancestor = NULL;

	if (!bpf_core_field_exists(cgroup->ancestors) || BPF_CORE_READ(cgroup, level) < (int)c->cgroup_level)
		return 0;
	bpf_probe_read_kernel(&ancestor, sizeof(ancestor),
			      (void *)cgroup + bpf_core_field_offset(struct cgroup___skep, ancestors) +
				      c->cgroup_level * sizeof(void *));
	return BPF_CORE_READ(ancestor, kn, id) == c->cgroup_id;
}

/* Whether a task was asked for: then who it is stands in the event. */
static __always_inline int skep_sweeps(const struct skep_config *c, struct task_struct *of, struct skep_event *event)
{
	struct task_struct___sweep *task = (void *)of;
	struct cgroup___skep *cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp);
	__u64 ids = skep_ids_of(c, (void *)of);

	if (!skep_wants_process(c, ids >> 32) || BPF_CORE_READ(task, flags) & SKEP_PF_KTHREAD)
		return 0;
	if (BPF_CORE_READ(task, exit_state) || BPF_CORE_READ(task, __state) & SKEP_TASK_DEAD)
		return 0;
	if (c->cgroup_id && !skep_in_cgroup(c, cgroup))
		return 0;
	BPF_CORE_READ_INTO(&event->comm, task, comm);
	if (c->flags & SKEP_BY_COMM) {
		for (__u32 i = 0; i < SKEP_COMM; i++) {
			if (event->comm[i] != c->comm[i])
				return 0;
			if (!c->comm[i])
				break;
		}
	}
	event->pid = ids >> 32;
	event->tid = ids;
	event->count = 1;
	event->cgroup_id = BPF_CORE_READ(cgroup, kn, id);
	event->user_stack_id = -1;
	event->kernel_stack_id = -1;
	event->unfinished = 1;
	return 1;
}

static __always_inline int skep_asleep(struct task_struct *of)
{
	struct task_struct___sweep *task = (void *)of;

	return BPF_CORE_READ(task, __state) & SKEP_TASK_ASLEEP;
}

/* Loops here are the kernel's: nothing is in a hurry, and what the verifier follows step by step makes collectors slow to load. */
struct skep_walk {
	struct task_struct *task;
	__u64 hash;
	__u64 fp;
	__u32 frames;
};

static __always_inline struct skep_stack *skep_sweep_stack(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&sweep_scratch, &zero);
}

static long skep_walk_frame(__u32 i, struct skep_walk *walk)
{
	struct skep_stack *stack = skep_sweep_stack();
	struct { __u64 next, caller; } frame;

	/* The first frame is there already. */
	if (!stack || !walk->fp || i >= SKEP_MAX_FRAMES - 1)
		return 1;
	if (bpf_copy_from_user_task(&frame, sizeof(frame), (void *)walk->fp, walk->task, 0) || !frame.caller)
		return 1;
	stack->ips[i + 1] = frame.caller;
	walk->frames = i + 2;
	/* The caller's frame lies above. */
	if (frame.next <= walk->fp)
		return 1;
	walk->fp = frame.next;
	return 0;
}

static long skep_hash_frame(__u32 i, struct skep_walk *walk)
{
	struct skep_stack *stack = skep_sweep_stack();

	if (!stack || i >= SKEP_MAX_FRAMES)
		return 1;
	walk->hash = skep_hash(walk->hash, stack->ips[i]);
	return 0;
}

static __always_inline __s64 skep_keep_swept(struct skep_walk *walk, __u32 pid)
{
	struct skep_stack *stack = skep_sweep_stack();

	if (!stack)
		return -1;
	stack->frames = walk->frames;
	stack->pid = pid;
	walk->hash = SKEP_HASH ^ pid;
	bpf_loop(walk->frames, skep_hash_frame, walk, 0);
	return skep_store(stack, walk->hash);
}

/* Takes the stacks of a task that does not run: the kernel gives its own, if `kernel` says so, and frame pointers lead through that of
 * user space. */
static __always_inline void skep_stacks_of(const struct skep_config *c, struct task_struct *task, const void *regs,
					   struct skep_event *event, int kernel)
{
	struct skep_stack *stack = skep_sweep_stack();
	struct skep_walk walk = { .task = task };
	struct skep_place place;
	long bytes;

	if (!stack)
		return;
	if (kernel && (c->flags & SKEP_KERNEL_STACKS)) {
		bytes = bpf_get_task_stack(task, stack->ips, sizeof(stack->ips), 0);
		walk.frames = (__u64)bytes / 8;
		if (bytes > 0)
			event->kernel_stack_id = skep_keep_swept(&walk, 0);
	}
	place = skep_place(regs);
	if (!(c->flags & SKEP_USER_STACKS) || !place.ip)
		return;
	stack->ips[0] = place.ip;
	walk.frames = 1;
	walk.fp = place.fp;
	bpf_loop(SKEP_MAX_FRAMES, skep_walk_frame, &walk, 0);
	event->user_stack_id = skep_keep_swept(&walk, event->pid);
}

#endif
