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

/// Room for a text that says why a batch was not handled: there is no allocator, and `core::fmt` is larger than a plugin.
pub(crate) struct Why {
    bytes: [u8; 128],
    len: usize,
}

impl Why {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; 128], len: 0 }
    }

    /// Starts over with `text`.
    pub(crate) fn start(&mut self, text: &str) -> &mut Self {
        self.len = 0;
        self.text(text)
    }

    /// Adds `text`, or what of it there is room for.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        text.bytes().for_each(|byte| self.byte(byte));
        self
    }

    /// Adds a number in decimal digits.
    pub(crate) fn number(&mut self, number: u32) -> &mut Self {
        let mut power = 1;
        while number / power > 9 {
            power *= 10;
        }
        while power > 0 {
            self.byte(b'0' + (number / power % 10) as u8);
            power /= 10;
        }
        self
    }

    // Out of line: this is done once a run at most, and a plugin is small.
    #[inline(never)]
    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    pub(crate) fn list(&self) -> List<u8> {
        list(self.bytes.get(..self.len).unwrap_or_default())
    }
}

/// A list of what a slice holds.
pub(crate) fn list<T, U>(values: &[T]) -> List<U> {
    List::new(values.as_ptr() as usize as u32, values.len() as u32)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    fn said(why: &Why) -> &str {
        core::str::from_utf8(&why.bytes[..why.len]).unwrap()
    }

    #[test]
    fn a_text_is_cut_where_its_room_ends_and_numbers_have_all_their_digits() {
        let mut why = Why::new();
        for (number, digits) in [(0, "0"), (9, "9"), (10, "10"), (88, "88"), (u32::MAX, "4294967295")] {
            assert_eq!(said(why.start("").number(number)), digits);
        }
        assert_eq!(said(why.start("no field ").text("uid").text(" of ").number(4)), "no field uid of 4");
        let long = "n".repeat(200);
        assert_eq!(said(why.start("").text(&long).number(7)), "n".repeat(128));
    }
}
