//! Perf buffers, by libbpf's reader, whose callback and context are raw pointers.
//!
//! libbpf-rs fixes the closure when the reader is made; ours changes with each poll, because it borrows the guest. So
//! the context points to a slot that outlives the reader, and the slot holds the closure for the time of one call.

use std::{
    cell::Cell,
    ffi::{c_int, c_void},
    ops::ControlFlow,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr::{self, NonNull},
    slice,
};

use libbpf_sys::{perf_event_attr, perf_event_header};

use super::Each;
use crate::sys::Errno;

/// What the callback sees.
#[derive(Default)]
struct Slot {
    /// The closure of the call under way; null between calls.
    each: Cell<Option<NonNull<Each<'static>>>>,
    records: Cell<usize>,
    lost: Cell<u64>,
    broken_off: Cell<bool>,
}

impl Slot {
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

/// The reader, and the slot its context points to.
pub(super) struct Reader {
    perf: NonNull<libbpf_sys::perf_buffer>,
    /// Whether reading its descriptors says how much was lost.
    counted: bool,
    slot: Box<Slot>,
}

/// What a perf buffer has: samples with a record in them (`PERF_SAMPLE_RAW`: header, length, bytes), and how many were
/// lost before (header, id, number), as perf_event_open(2) lays them out.
unsafe extern "C" fn on_perf_event(ctx: *mut c_void, _cpu: c_int, event: *mut perf_event_header) -> c_int {
    // SAFETY: `ctx` is the slot given at creation, alive as long as the reader; an event of the kernel's is as long as its
    // type needs.
    let (slot, kind) = unsafe { (&*ctx.cast::<Slot>(), (*event).type_) };
    match kind {
        libbpf_sys::PERF_RECORD_SAMPLE => {
            // SAFETY: as above.
            let record = unsafe {
                let len = event.add(1).cast::<u32>();
                bytes(len.add(1).cast(), len.read() as usize)
            };
            if slot.hand_over(record).is_break() {
                return libbpf_sys::LIBBPF_PERF_EVENT_ERROR;
            }
        }
        libbpf_sys::PERF_RECORD_LOST => {
            // SAFETY: as above.
            let lost = unsafe { event.add(1).cast::<u64>().add(1).read() };
            slot.lost.set(slot.lost.get() + lost);
        }
        _ => {}
    }
    libbpf_sys::LIBBPF_PERF_EVENT_CONT
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

// SAFETY: libbpf's reader is bound to no thread, and every call needs `&mut self` or reads a plain descriptor.
unsafe impl Send for Reader {}

impl Reader {
    pub(super) fn open(map: BorrowedFd<'_>, pages: u64) -> Result<Self, Errno> {
        let slot = Box::<Slot>::default();
        let open = |read_format| {
            let mut attr = perf_event_attr {
                type_: libbpf_sys::PERF_TYPE_SOFTWARE,
                size: size_of::<perf_event_attr>() as u32,
                config: libbpf_sys::PERF_COUNT_SW_BPF_OUTPUT.into(),
                sample_type: libbpf_sys::PERF_SAMPLE_RAW.into(),
                read_format,
                ..Default::default()
            };
            attr.__bindgen_anon_1.sample_period = 1;
            attr.__bindgen_anon_2.wakeup_events = 1;
            let ctx = (&raw const *slot).cast_mut().cast();
            // SAFETY: the callback takes the slot, which lives in a box as long as the reader does; the description is read
            // during the call alone.
            let perf = unsafe {
                let on_event = Some(on_perf_event as _);
                libbpf_sys::perf_buffer__new_raw(map.as_raw_fd(), pages, &mut attr, on_event, ctx, ptr::null())
            };
            NonNull::new(perf).ok_or_else(last_errno)
        };
        let (perf, counted) = match open(libbpf_sys::PERF_FORMAT_LOST.into()) {
            // Linux before 6.0.
            Err(Errno(libc::EINVAL)) => (open(0)?, false),
            perf => (perf?, true),
        };
        Ok(Self { perf, counted, slot })
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
        // SAFETY: a live reader.
        let result = unsafe { libbpf_sys::perf_buffer__consume(self.perf.as_ptr()) };
        drop(clear);
        if result < 0 && !self.slot.broken_off.get() {
            return Err(Errno(-result));
        }
        Ok(self.slot.records.get())
    }

    pub(super) fn epoll_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor belongs to the reader and lives as long.
        unsafe { BorrowedFd::borrow_raw(libbpf_sys::perf_buffer__epoll_fd(self.perf.as_ptr())) }
    }

    /// The kernel writes how many were lost before the next record that it has room for: a buffer that stays full says
    /// nothing, and its descriptors are asked.
    pub(super) fn lost(&self) -> u64 {
        let told = self.slot.lost.get();
        if !self.counted {
            return told;
        }
        // SAFETY: a live reader; each descriptor is its own.
        let cpus = unsafe { libbpf_sys::perf_buffer__buffer_cnt(self.perf.as_ptr()) };
        let lost = (0..cpus).map(|cpu| {
            // SAFETY: as above.
            let fd = unsafe { BorrowedFd::borrow_raw(libbpf_sys::perf_buffer__buffer_fd(self.perf.as_ptr(), cpu)) };
            // The event's own value, and the number lost.
            let mut values = [0; 16];
            let read = rustix::io::read(fd, &mut values);
            if read == Ok(values.len()) { u64::from_ne_bytes(values[8..].try_into().unwrap_or_default()) } else { 0 }
        });
        told.max(lost.sum())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: a live reader, freed once.
        unsafe { libbpf_sys::perf_buffer__free(self.perf.as_ptr()) }
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
