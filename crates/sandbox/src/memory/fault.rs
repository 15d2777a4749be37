//! What happens when the host, on a guest's behalf, writes where a guest's memory may only be read.
//!
//! A guest can hand any address to WASI, also one inside a mapping for reading. The worlds' own functions ask
//! [`SharedRegions`](super::SharedRegions) first; wasmtime-wasi cannot, and its store would end the process with a
//! SIGSEGV. So such a store is let go to a page of scratch that takes the mapping's place, and the guest traps at its
//! next loop or call. Loads and stores of the guest itself never come here: they are wasmtime's.

use std::{
    cell::Cell,
    ffi::{c_int, c_void},
    mem::MaybeUninit,
    ops::Range,
    ptr,
    sync::{
        Once, OnceLock,
        atomic::{AtomicPtr, AtomicUsize, Ordering},
    },
};

use wasmtime::Engine;

use super::PAGE;

/// Mappings for reading that a process may have at once.
const MOST: usize = 256;

/// A range that is watched; 0..0 when the slot is free. The end is written last and cleared first, so that a handler
/// never sees a range that is not wholly there.
struct Slot {
    start: AtomicUsize,
    end: AtomicUsize,
    /// Whose epoch advances, so that the guest traps soon; owned by the [`Watch`].
    engine: AtomicPtr<Engine>,
}

static WATCHED: [Slot; MOST] =
    [const { Slot { start: AtomicUsize::new(0), end: AtomicUsize::new(0), engine: AtomicPtr::new(ptr::null_mut()) } };
        MOST];

thread_local! {
    static DIVERTED: Cell<bool> = const { Cell::new(false) };
}

/// A mapping for reading; watched until this is dropped.
#[derive(Debug)]
pub(super) struct Watch(usize);

impl Watch {
    /// Watches addresses of this process. `None` when too many are watched.
    pub(super) fn new(range: Range<usize>, engine: Option<Engine>) -> Option<Self> {
        install();
        let free =
            |slot: &Slot| slot.start.compare_exchange(0, range.start, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        let at = WATCHED.iter().position(free)?;
        let engine = engine.map_or(ptr::null_mut(), |engine| Box::into_raw(Box::new(engine)));
        WATCHED[at].engine.store(engine, Ordering::SeqCst);
        WATCHED[at].end.store(range.end, Ordering::SeqCst);
        Some(Self(at))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHED[self.0].end.store(0, Ordering::SeqCst);
        let engine = WATCHED[self.0].engine.swap(ptr::null_mut(), Ordering::SeqCst);
        if !engine.is_null() {
            // SAFETY: made by `new` from a box, and taken out of the slot just now. The only handler that could still
            // use it is one on behalf of this very memory, whose host call is over when its mapping ends.
            drop(unsafe { Box::from_raw(engine) });
        }
        WATCHED[self.0].start.store(0, Ordering::SeqCst);
    }
}

/// Whether a store of this thread's was diverted since this was last asked.
pub(crate) fn take_diverted() -> bool {
    DIVERTED.replace(false)
}

/// Installs the handler, once. It must come before the first engine: wasmtime's own handler asks the one it found in its
/// place about faults that are not its own.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut previous = MaybeUninit::<libc::sigaction>::zeroed();
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: all zeroes is a valid action; the first call fills in `previous`, the second takes `action` as it is
        // made here. The handler is made for SA_SIGINFO and does nothing that a signal handler may not do.
        unsafe {
            libc::sigaction(libc::SIGSEGV, ptr::null(), previous.as_mut_ptr());
            let _ = PREVIOUS.set(previous.assume_init());
            let action = action.assume_init_mut();
            action.sa_sigaction = on_fault as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            libc::sigaction(libc::SIGSEGV, action, ptr::null_mut());
        }
    });
}

/// What handled the signal before; set before the handler is installed.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

unsafe extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives a valid record with SA_SIGINFO.
    let address = unsafe { (*info).si_addr() }.addr();
    if divert(address) {
        DIVERTED.set(true);
        return;
    }
    let Some(previous) = PREVIOUS.get() else { return };
    // SAFETY: an action that was installed is called as its flags say, or put back so that the fault happens again.
    unsafe {
        match previous.sa_sigaction {
            libc::SIG_DFL | libc::SIG_IGN => {
                libc::sigaction(signal, previous, ptr::null_mut());
            }
            handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
                let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                    std::mem::transmute::<usize, _>(handler);
                handler(signal, info, context);
            }
            handler => {
                let handler: extern "C" fn(c_int) = std::mem::transmute::<usize, _>(handler);
                handler(signal);
            }
        }
    }
}

/// Puts a page of scratch in the place of a watched one.
fn divert(address: usize) -> bool {
    let watched = |slot: &Slot| {
        let (start, end) = (slot.start.load(Ordering::SeqCst), slot.end.load(Ordering::SeqCst));
        start != 0 && (start..end).contains(&address)
    };
    let Some(slot) = WATCHED.iter().find(|slot| watched(slot)) else { return false };
    let page = ptr::without_provenance_mut::<c_void>(address & !(PAGE - 1));
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: the page lies in a range that `SharedRegions` owns inside a guest's linear memory; a system call is all
    // that happens.
    let mapped = unsafe { libc::mmap(page, PAGE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    // SAFETY: null, or an engine that the watch owns; advancing its epoch is one atomic addition.
    if let Some(engine) = unsafe { slot.engine.load(Ordering::SeqCst).as_ref() } {
        engine.increment_epoch();
    }
    mapped == page
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

    #[test]
    fn a_store_to_a_watched_page_is_diverted_and_told() {
        install();
        // SAFETY: a fresh mapping, written at its first byte while watched.
        unsafe {
            let page = mmap_anonymous(ptr::null_mut(), PAGE, ProtFlags::READ, MapFlags::PRIVATE).unwrap();
            let watch = Watch::new(page.addr()..page.addr() + PAGE, None).unwrap();
            assert!(!take_diverted());
            page.cast::<u8>().write_volatile(1);
            assert!(take_diverted());
            assert!(!take_diverted());
            drop(watch);
        }
    }
}
