//! Memory for the host's buffers and for what a response points to: taken from linear memory's end, never given back.
//! The host takes one block when it makes an instance; responses use one arena that grows to what they need.

use core::cell::UnsafeCell;

/// Bytes of a Wasm page.
const PAGE: usize = 64 << 10;

struct Heap(UnsafeCell<(usize, usize)>);

// SAFETY: a plugin's instance runs on one thread.
unsafe impl Sync for Heap {}

/// Where free memory begins and ends.
static HEAP: Heap = Heap(UnsafeCell::new((0, 0)));

#[cfg(target_arch = "wasm32")]
fn grow(pages: usize) -> Option<usize> {
    let before = core::arch::wasm32::memory_grow::<0>(pages);
    (before != usize::MAX).then(|| before * PAGE)
}

#[cfg(not(target_arch = "wasm32"))]
fn grow(_: usize) -> Option<usize> {
    None
}

/// `size` bytes at a multiple of `align`, a power of two; null where there are none. What `skep_alloc` does.
pub fn alloc(size: usize, align: usize) -> *mut u8 {
    take(size, align).map_or(core::ptr::null_mut(), |address| address as *mut u8)
}

fn take(size: usize, align: usize) -> Option<usize> {
    if !align.is_power_of_two() {
        return None;
    }
    // SAFETY: one thread, and the reference does not outlive this function.
    let (next, end) = unsafe { &mut *HEAP.0.get() };
    let fit = |next: usize| next.checked_next_multiple_of(align)?.checked_add(size);
    if *next == 0 || fit(*next)? > *end {
        let pages = size.checked_add(align)?.div_ceil(PAGE);
        let start = grow(pages)?;
        // Memory grows at its end, so a rest of what was there before goes on in what is new.
        if *next == 0 || start != *end {
            *next = start;
        }
        *end = start + pages * PAGE;
    }
    let after = fit(*next)?;
    *next = after;
    Some(after - size)
}

/// Gives memory back, if it was the last that was taken. What `skep_free` does.
pub fn free(address: *mut u8, size: usize, _align: usize) {
    // SAFETY: one thread, and the reference does not outlive this function.
    let (next, _) = unsafe { &mut *HEAP.0.get() };
    if (address as usize).checked_add(size) == Some(*next) {
        *next = address as usize;
    }
}

/// Memory that stands until the next response.
pub(crate) struct Arena {
    start: usize,
    size: usize,
    used: usize,
}

impl Arena {
    pub(crate) const fn new() -> Self {
        Self { start: 0, size: 0, used: 0 }
    }

    /// Starts over.
    pub(crate) fn reset(&mut self) {
        self.used = 0;
    }

    /// `len` values that are all zero; `None` where memory is at its limit.
    pub(crate) fn values<T: crate::Plain>(&mut self, len: usize) -> Option<&'static mut [T]> {
        let bytes = len.checked_mul(size_of::<T>())?;
        let from = self.start.checked_add(self.used)?.checked_next_multiple_of(align_of::<T>().max(8))?;
        let used = (from - self.start).checked_add(bytes)?;
        let from = if self.start == 0 || used > self.size {
            // What was given out from the old block stays valid: it is never given back.
            let size = (2 * self.size).max(bytes.checked_next_multiple_of(PAGE)?);
            self.start = take(size, 16)?;
            self.size = size;
            self.used = bytes;
            self.start
        } else {
            self.used = used;
            from
        };
        // SAFETY: the range lies in a block of this arena's own and is given out once between two resets; callers of
        // `reset` let nothing live across it. Any pattern of bits is a value.
        let values = unsafe { core::slice::from_raw_parts_mut(from as *mut T, len) };
        values.fill(crate::plain::zeroed());
        Some(values)
    }
}
