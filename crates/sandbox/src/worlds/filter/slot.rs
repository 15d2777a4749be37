//! The event's place in guest memory, written to through a cached pointer.

use skep_abi::event_context::SIZE;
use std::ptr::NonNull;

/// 88 bytes of a guest's memory. Valid while the store that owns the memory lives and the memory does not move.
pub(super) struct Slot(NonNull<[u8; SIZE]>);

// SAFETY: the pointer is to memory owned by the store that stands beside the slot in `Instance`, which is Send itself; the slot is used
// through `&mut Instance` alone.
unsafe impl Send for Slot {}

impl Slot {
    /// The slot at `at` of `memory`; `None` if it does not lie within.
    pub(super) fn new(memory: &mut [u8], at: usize) -> Option<Self> {
        let bytes: &mut [u8] = memory.get_mut(at..at.checked_add(SIZE)?)?;
        let bytes: &mut [u8; SIZE] = bytes.try_into().ok()?;
        Some(Self(NonNull::from(bytes)))
    }

    /// Lets `write` fill the 88 bytes.
    ///
    /// # Safety
    /// The memory that the slot was made of must live and not have moved since, and nobody else may access it now: no guest code of
    /// that store runs.
    #[inline(always)]
    pub(super) unsafe fn fill(&mut self, write: impl FnOnce(&mut [u8; SIZE])) {
        // SAFETY: as the caller promises; the slot was in bounds when it was made, and memories never shrink.
        write(unsafe { self.0.as_mut() });
    }
}
