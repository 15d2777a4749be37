//! Responses: they stand in static memory until the next call.

use core::cell::UnsafeCell;

use skep_abi::layout::List;

/// A response's place.
pub(crate) struct Place<T>(UnsafeCell<T>);

// SAFETY: a plugin's instance runs on one thread.
unsafe impl<T> Sync for Place<T> {}

impl<T> Place<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Puts a response there; the hook's result.
    pub(crate) fn answer(&self, value: T) -> i64 {
        // SAFETY: one thread, and the host has read the last response before it calls again.
        unsafe { *self.0.get() = value };
        ((self.0.get() as usize as i64) << 32) | size_of::<T>() as i64
    }

    /// # Safety
    /// The reference must not be taken twice at once.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn get(&self) -> &mut T {
        // SAFETY: the caller's promise; one thread.
        unsafe { &mut *self.0.get() }
    }
}

/// A list of what a slice holds.
pub(crate) fn list<T, U>(values: &[T]) -> List<U> {
    List::new(values.as_ptr() as usize as u32, values.len() as u32)
}
