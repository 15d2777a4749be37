//! The unsafe half of [`Buffer`](super::Buffer): libbpf's readers, whose callback and context are raw pointers.
//!
//! libbpf-rs fixes the closure when the reader is made; ours changes with each poll, because it borrows the guest. So
//! the context points to a slot that outlives the reader, and the slot holds the closure for the time of one call.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    ffi::{c_int, c_void},
    ops::ControlFlow,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr::{self, NonNull},
    slice,
};

use crate::sys::Errno;

type Each<'a> = &'a mut dyn FnMut(&[u8]) -> ControlFlow<()>;

/// What the callbacks see.
#[derive(Default)]
struct Slot {
    /// The closure of the call under way; null between calls.
    each: Cell<Option<NonNull<Each<'static>>>>,
    records: Cell<usize>,
    lost: Cell<u64>,
    broken_off: Cell<bool>,
    /// Records of a perf buffer that came after `each` had broken off: libbpf cannot be stopped there. The next call's.
    waiting: RefCell<VecDeque<Vec<u8>>>,
}

impl Slot {
    /// The oldest record that waits; the queue is not borrowed while it is handed over.
    fn next_waiting(&self) -> Option<Vec<u8>> {
        self.waiting.borrow_mut().pop_front()
    }

    fn hand_over(&self, record: &[u8]) -> ControlFlow<()> {
        let Some(each) = self.each.get() else { return ControlFlow::Break(()) };
        self.records.set(self.records.get() + 1);
        // SAFETY: set by `Reader::consume` to a closure that it borrows until it returns, and callbacks run only
        // within that call and one at a time.
        let flow = unsafe { (*each.as_ptr())(record) };
        if flow.is_break() {
            self.broken_off.set(true);
        }
        flow
    }
}

/// A reader of libbpf's, and the slot its context points to.
pub(super) struct Reader {
    kind: Kind,
    slot: Box<Slot>,
}

enum Kind {
    Ring(NonNull<libbpf_sys::ring_buffer>),
    Perf(NonNull<libbpf_sys::perf_buffer>),
}

/// The result by which a callback tells libbpf to stop; libbpf has advanced past the record then.
const BREAK: c_int = -libc::ECANCELED;

unsafe extern "C" fn on_ring_record(ctx: *mut c_void, data: *mut c_void, size: libbpf_sys::size_t) -> c_int {
    // SAFETY: `ctx` is the slot given at creation, alive as long as the reader; the record is libbpf's for the call.
    let (slot, record) = unsafe { (&*ctx.cast::<Slot>(), bytes(data, size as usize)) };
    if slot.hand_over(record).is_break() { BREAK } else { 0 }
}

unsafe extern "C" fn on_perf_record(ctx: *mut c_void, _cpu: c_int, data: *mut c_void, size: libbpf_sys::__u32) {
    // SAFETY: as in `on_ring_record`.
    let (slot, record) = unsafe { (&*ctx.cast::<Slot>(), bytes(data, size as usize)) };
    if slot.broken_off.get() {
        slot.waiting.borrow_mut().push_back(record.to_vec());
    } else {
        let _ = slot.hand_over(record);
    }
}

unsafe extern "C" fn on_perf_lost(ctx: *mut c_void, _cpu: c_int, count: libbpf_sys::__u64) {
    // SAFETY: as in `on_ring_record`.
    let slot = unsafe { &*ctx.cast::<Slot>() };
    slot.lost.set(slot.lost.get() + count);
}

/// # Safety
/// `data` points to `len` readable bytes, or `len` is 0.
unsafe fn bytes<'a>(data: *const c_void, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: as the caller promises.
    unsafe { slice::from_raw_parts(data.cast(), len) }
}

// SAFETY: libbpf's readers are bound to no thread, and every call needs `&mut self` or reads a plain descriptor.
unsafe impl Send for Reader {}

impl Reader {
    pub(super) fn ring(map: BorrowedFd<'_>) -> Result<Self, Errno> {
        let slot = Box::<Slot>::default();
        // SAFETY: the callback takes the slot, which lives in a box as long as the reader does.
        let ring = unsafe {
            libbpf_sys::ring_buffer__new(
                map.as_raw_fd(),
                Some(on_ring_record),
                (&raw const *slot).cast_mut().cast(),
                ptr::null(),
            )
        };
        match NonNull::new(ring) {
            Some(ring) => Ok(Self { kind: Kind::Ring(ring), slot }),
            None => Err(last_errno()),
        }
    }

    pub(super) fn perf(map: BorrowedFd<'_>, pages: u64) -> Result<Self, Errno> {
        let slot = Box::<Slot>::default();
        // SAFETY: as in `ring`.
        let perf = unsafe {
            libbpf_sys::perf_buffer__new(
                map.as_raw_fd(),
                pages,
                Some(on_perf_record),
                Some(on_perf_lost),
                (&raw const *slot).cast_mut().cast(),
                ptr::null(),
            )
        };
        match NonNull::new(perf) {
            Some(perf) => Ok(Self { kind: Kind::Perf(perf), slot }),
            None => Err(last_errno()),
        }
    }

    /// Hands over the records that are there; how many they were.
    pub(super) fn consume(&mut self, mut each: Each<'_>) -> Result<usize, Errno> {
        self.slot.records.set(0);
        self.slot.broken_off.set(false);
        let pointer = NonNull::from(&mut each);
        // SAFETY: only the lifetime changes; the slot is cleared before `each` ends, below, on every path.
        let pointer = unsafe { std::mem::transmute::<NonNull<Each<'_>>, NonNull<Each<'static>>>(pointer) };
        self.slot.each.set(Some(pointer));
        let clear = Clear(&self.slot);
        while let Some(record) = self.slot.next_waiting() {
            if self.slot.hand_over(&record).is_break() {
                return Ok(self.slot.records.get());
            }
        }
        // SAFETY: both are live readers.
        let result = unsafe {
            match self.kind {
                Kind::Ring(ring) => libbpf_sys::ring_buffer__consume(ring.as_ptr()),
                Kind::Perf(perf) => libbpf_sys::perf_buffer__consume(perf.as_ptr()),
            }
        };
        drop(clear);
        if result < 0 && !self.slot.broken_off.get() {
            return Err(Errno(-result));
        }
        Ok(self.slot.records.get())
    }

    pub(super) fn epoll_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor belongs to the reader and lives as long.
        unsafe {
            BorrowedFd::borrow_raw(match self.kind {
                Kind::Ring(ring) => libbpf_sys::ring_buffer__epoll_fd(ring.as_ptr()),
                Kind::Perf(perf) => libbpf_sys::perf_buffer__epoll_fd(perf.as_ptr()),
            })
        }
    }

    pub(super) fn lost(&self) -> u64 {
        self.slot.lost.get()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: a live reader, freed once.
        unsafe {
            match self.kind {
                Kind::Ring(ring) => libbpf_sys::ring_buffer__free(ring.as_ptr()),
                Kind::Perf(perf) => libbpf_sys::perf_buffer__free(perf.as_ptr()),
            }
        }
    }
}

/// Takes the closure out of the slot, also when it panics.
struct Clear<'a>(&'a Slot);

impl Drop for Clear<'_> {
    fn drop(&mut self) {
        self.0.each.set(None);
    }
}

fn last_errno() -> Errno {
    Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}
