//! Page-aligned ranges of linear memory, for maps to be put over.

use core::sync::atomic::{AtomicUsize, Ordering};

use super::{Errno, sys};

/// A page of the kernel's: what addresses and lengths of shared ranges are multiples of.
pub(crate) const PAGE: usize = 4096;
/// A page of WebAssembly's: what memory grows by.
#[cfg(target_arch = "wasm32")]
const WASM_PAGE: usize = 65536;

/// Ranges given back, linked through their own first words: address of the next, length. Guests have one thread.
static FREE: AtomicUsize = AtomicUsize::new(0);

/// A page-aligned range of this module's memory, given back when dropped.
///
/// There is no way to a reference into it: once a map lies there, the kernel changes it at any time. Reads and writes
/// go through [`Pages::read`] and [`Pages::write`].
#[derive(Debug)]
pub struct Pages {
    at: *mut u8,
    len: usize,
    mapped: bool,
}

impl Pages {
    /// `len` bytes, rounded up to pages of 4096, all zero.
    ///
    /// # Errors
    /// [`Errno::NOMEM`] where memory cannot grow; [`Errno::INVAL`] for no bytes at all.
    pub fn new(len: usize) -> Result<Self, Errno> {
        let len = len.checked_next_multiple_of(PAGE).filter(|len| *len > 0).ok_or(Errno::INVAL)?;
        let at = reuse(len).or_else(|| grow(len)).ok_or(Errno::NOMEM)?;
        Ok(Self { at, len, mapped: false })
    }

    /// Its length in bytes.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(&self) -> usize {
        self.len
    }

    /// The value of type `T` at `offset`; `None` where it does not lie inside or is not aligned.
    pub fn read<T: crate::Plain>(&self, offset: usize) -> Option<T> {
        let at = self.place::<T>(offset)?;
        // SAFETY: inside the range and aligned, as `place` checked; volatile because the kernel may write there.
        Some(unsafe { at.read_volatile() })
    }

    /// Stores a value at `offset`; false where it does not lie inside or is not aligned. A range mapped for reading
    /// only traps.
    pub fn write<T: crate::Plain>(&mut self, offset: usize, value: T) -> bool {
        let Some(at) = self.place::<T>(offset) else { return false };
        // SAFETY: as in `read`.
        unsafe { at.write_volatile(value) };
        true
    }

    fn place<T>(&self, offset: usize) -> Option<*mut T> {
        let inside = offset.checked_add(size_of::<T>()).is_some_and(|end| end <= self.len);
        (inside && offset.is_multiple_of(align_of::<T>())).then(|| self.at.wrapping_add(offset).cast())
    }

    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.at
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.at
    }

    /// Notes that a map lies here, which ends with this value.
    pub(crate) fn set_mapped(&mut self) {
        self.mapped = true;
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the range is ours and nothing refers into it.
        if self.mapped && unsafe { sys::map_munmap(self.at, self.len as u32) } < 0 {
            // The host ended the mapping with its object, or could not: not worth telling apart, the range is left out.
            return;
        }
        // SAFETY: plain memory of ours, at least a page long and aligned.
        unsafe { self.at.cast::<[usize; 2]>().write([FREE.load(Ordering::Relaxed), self.len]) };
        FREE.store(self.at as usize, Ordering::Relaxed);
    }
}

/// A range given back that is long enough, zeroed; what is over stays on the list.
fn reuse(len: usize) -> Option<*mut u8> {
    let mut previous: *mut usize = core::ptr::null_mut();
    let mut at = FREE.load(Ordering::Relaxed) as *mut usize;
    while !at.is_null() {
        // SAFETY: the list links ranges that `drop` wrote these two words to.
        let [next, have] = unsafe { at.cast::<[usize; 2]>().read() };
        if have < len {
            (previous, at) = (at, next as *mut usize);
            continue;
        }
        let rest = if have == len { next } else { at as usize + len };
        // SAFETY: the range is ours to hand out; its tail, page-aligned, becomes the list's next.
        unsafe {
            if have > len {
                (rest as *mut [usize; 2]).write([next, have - len]);
            }
            match previous.is_null() {
                true => FREE.store(rest, Ordering::Relaxed),
                false => previous.write(rest),
            }
            at.cast::<u8>().write_bytes(0, len);
        }
        return Some(at.cast());
    }
    None
}

/// New memory; what is over goes on the list.
#[cfg(target_arch = "wasm32")]
fn grow(len: usize) -> Option<*mut u8> {
    let pages = len.div_ceil(WASM_PAGE);
    let before = core::arch::wasm32::memory_grow::<0>(pages);
    if before == usize::MAX {
        return None;
    }
    let at = (before * WASM_PAGE) as *mut u8;
    let rest = pages * WASM_PAGE - len;
    if rest > 0 {
        drop(Pages { at: at.wrapping_add(len), len: rest, mapped: false });
    }
    Some(at)
}

/// There is no linear memory to grow elsewhere.
#[cfg(not(target_arch = "wasm32"))]
fn grow(_: usize) -> Option<*mut u8> {
    None
}
