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

#[cfg(not(any(target_arch = "wasm32", test)))]
fn grow(_: usize) -> Option<usize> {
    None
}

#[cfg(test)]
use tests::grow;

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
            let size = self.size.saturating_mul(2).max(bytes.checked_next_multiple_of(PAGE)?);
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

#[cfg(test)]
mod tests {
    extern crate std;

    use core::cell::Cell;
    use std::{boxed::Box, vec};

    use super::*;

    std::thread_local! {
        /// Pages that there are, and what memory grows into: blocks of the host's, none beside another.
        static LEFT: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn grow(pages: usize) -> Option<usize> {
        let left = LEFT.get().checked_sub(pages)?;
        LEFT.set(left);
        let block = Box::leak(vec![0xffu8; (pages + 1) * PAGE].into_boxed_slice());
        Some((block.as_ptr() as usize).next_multiple_of(PAGE))
    }

    /// One test, since the heap is the process's.
    #[test]
    fn what_does_not_fit_is_refused_and_leaves_what_was_there() {
        LEFT.set(6);
        let mut arena = Arena::new();
        assert!(arena.values::<u64>(usize::MAX).is_none(), "the length overflows");
        assert!(arena.values::<u8>(usize::MAX).is_none(), "the end overflows");
        assert!(arena.values::<u8>(7 * PAGE).is_none(), "memory is at its limit");
        let first = arena.values::<u64>(PAGE / 8 - 1).expect("a page");
        assert!(first.iter().all(|value| *value == 0));
        first.fill(7);
        let second = arena.values::<u32>(PAGE / 4).expect("two pages, for the block is doubled");
        assert!(second.iter().all(|value| *value == 0));
        second.fill(9);
        assert!(arena.values::<u8>(100 * PAGE).is_none());
        assert!(first.iter().all(|value| *value == 7), "what was given out stays");
        arena.reset();
        let again = arena.values::<u8>(PAGE).expect("the room is there still");
        assert!(again.iter().all(|value| *value == 0), "and zero again");
        LEFT.set(0);
        assert!(arena.values::<u8>(2 * PAGE).is_none());
        assert!(arena.values::<u8>(8).is_some(), "a refusal takes nothing away");
        assert!(alloc(8, 3).is_null(), "an alignment that is no power of two");
        assert!(alloc(usize::MAX, 8).is_null());
        let one = alloc(16, 8);
        free(one, 16, 8);
        assert_eq!(alloc(16, 8), one, "the last is given back");
    }
}
