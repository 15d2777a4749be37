//! Keeps system calls that took a millisecond or more, and everything that is no system call: a filter in plain Rust.
//!
//! ```sh
//! cargo build --release --target wasm32-unknown-unknown
//! sudo skep trace syscall --filter target/wasm32-unknown-unknown/release/slow_filter.wasm
//! ```
#![no_std]

/// The event as the host lays it out.
#[repr(C)]
pub struct EventContext {
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

/// Not 0 keeps the event.
///
/// # Safety
/// `len` bytes lie at `event`; the host says so.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn filter(event: *const EventContext, len: usize) -> i32 {
    if len < size_of::<EventContext>() {
        return 1;
    }
    // SAFETY: the host put an event of that length there, where it may stand.
    let event = unsafe { event.read_unaligned() };
    i32::from(event.event_type != SYSCALL || event.duration_ns >= SLOW_NS)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
