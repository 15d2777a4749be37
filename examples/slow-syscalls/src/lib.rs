//! Keeps system calls that took a millisecond or more.
#![no_std]

/// What it looks at: the fields of the event of world `filter`, in its own layout, so that it is read in place.
#[derive(Clone, Copy, skep_guest::Record)]
#[repr(C)]
struct Event {
    event_type: u32,
    pid: u32,
    tid: u32,
    timestamp_ns: u64,
    cpu_id: u32,
    user_stack_id: i64,
    kernel_stack_id: i64,
    lock_addr: u64,
    wait_ns: u64,
    syscall_id: u32,
    duration_ns: u64,
    return_value: i64,
}

const SYSCALL: u32 = 2;
const SLOW_NS: u64 = 1_000_000;

#[skep_guest::plugin(
    name = "slow-syscalls",
    version = "0.1.0",
    description = "Keeps system calls that took a millisecond or more",
    pages = 32
)]
mod plugin {
    use super::*;

    /// Keeps events of type 2 whose duration_ns is at least 1,000,000
    #[filter]
    fn slow(event: &Event) -> bool {
        if event.event_type == SYSCALL { event.duration_ns >= SLOW_NS } else { false }
    }
}
