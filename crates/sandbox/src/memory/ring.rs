//! A ring buffer of the kernel's, as `mmap(2)` shows it.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use super::PAGE;

/// Where the data begins: after a page with the consumer's position and a page with the producer's.
pub(crate) const RING_DATA: usize = 2 * PAGE;

/// The positions between which `ring`, a mapping of a ring buffer with `size` bytes of data, has records. Some may not be
/// submitted yet: who reads them looks at each header, and stops at the first such one.
///
/// The layout is the kernel's (kernel/bpf/ringbuf.c, Linux 5.8). A mapping that is too short has no records.
pub(crate) fn reserved(ring: &[u8], size: u32) -> Range<u64> {
    if ring.len() < RING_DATA + 2 * size as usize || !size.is_power_of_two() {
        return 0..0;
    }
    let start = consumed(ring);
    let producer = position(ring, PAGE);
    if !start.is_multiple_of(8) || producer.wrapping_sub(start) > u64::from(size) {
        return 0..0;
    }
    start..producer
}

/// How far the records are consumed. A guest may have this position in its memory, and write there what it likes.
pub(crate) fn consumed(ring: &[u8]) -> u64 {
    position(ring, 0)
}

fn position(ring: &[u8], at: usize) -> u64 {
    let place = ring[at..at + 8].as_ptr().cast_mut().cast::<u64>();
    // SAFETY: eight bytes of the slice, aligned as pages are; the kernel and compiled guest code write there, which an
    // atomic load allows for.
    unsafe { AtomicU64::from_ptr(place) }.load(Ordering::Acquire)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u32 = 4096;

    fn between(start: u64, producer: u64) -> Range<u64> {
        let mut words = vec![0u64; (RING_DATA + 2 * SIZE as usize) / 8];
        (words[0], words[PAGE / 8]) = (start, producer);
        // SAFETY: plain integers seen as bytes.
        let bytes = unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words.as_slice())) };
        assert_eq!(consumed(bytes), start);
        reserved(bytes, SIZE)
    }

    #[test]
    fn records_lie_between_the_two_positions() {
        let far = 10 * u64::from(SIZE) - 16;
        for (start, producer) in [(0, 0), (0, 32), (8, 4096 + 8), (far, far + 144)] {
            assert_eq!(between(start, producer), start..producer);
        }
    }

    #[test]
    fn a_position_that_a_guest_forged_has_no_records() {
        // Within a record, behind what the kernel wrote, and further before it than the data are long.
        for (forged, producer) in [(4, 32), (40, 32), (u64::MAX - 7, 32), (0, u64::from(SIZE) + 8)] {
            assert!(between(forged, producer).is_empty(), "from {forged} to {producer}");
        }
    }

    #[test]
    fn a_mapping_that_is_too_short_has_no_records() {
        assert_eq!(reserved(&[0; 64], SIZE), 0..0);
    }
}
