//! A ring buffer of the kernel's, as `mmap(2)` shows it.

use std::{
    ops::Range,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use super::PAGE;

/// Where the data begins: after a page with the consumer's position and a page with the producer's.
pub(crate) const RING_DATA: usize = 2 * PAGE;

/// Bytes before a record, the first four of which hold its length and two flags (`BPF_RINGBUF_HDR_SZ`).
const HEADER: u64 = 8;
/// Reserved, not submitted yet (`BPF_RINGBUF_BUSY_BIT`).
const BUSY: u32 = 1 << 31;
/// Given up by the program (`BPF_RINGBUF_DISCARD_BIT`).
const DISCARDED: u32 = 1 << 30;

/// The positions between which `ring`, a mapping of a ring buffer with `size` bytes of data, has records for a reader that
/// looks at their headers in order, and stops at the first that is not submitted. What was written before a record was
/// submitted is seen by a reader whose loads keep their order, as all do on x86-64; elsewhere the positions end at the first
/// record that is not submitted yet, and what the others hold is seen by whoever reads it after this call.
///
/// The layout is the kernel's (kernel/bpf/ringbuf.c, Linux 5.8). A mapping that is too short has no records.
pub(crate) fn available(ring: &[u8], size: u32) -> Range<u64> {
    let reserved = reserved(ring, size);
    if cfg!(target_arch = "x86_64") { reserved } else { submitted(ring, size, reserved) }
}

/// How far the records are consumed. A guest may have this position in its memory, and write there what it likes.
pub(crate) fn consumed(ring: &[u8]) -> u64 {
    position(ring, 0)
}

/// The positions between which space for records was given out.
fn reserved(ring: &[u8], size: u32) -> Range<u64> {
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

/// Those of them before the first record that is not submitted.
fn submitted(ring: &[u8], size: u32, reserved: Range<u64>) -> Range<u64> {
    let mut end = reserved.start;
    while end < reserved.end {
        let header = header(ring, RING_DATA + (end & u64::from(size - 1)) as usize);
        if header & BUSY != 0 {
            break;
        }
        end += (u64::from(header & !DISCARDED) + HEADER).next_multiple_of(8);
    }
    reserved.start..end
}

fn position(ring: &[u8], at: usize) -> u64 {
    let place = ring[at..at + 8].as_ptr().cast_mut().cast::<u64>();
    // SAFETY: eight bytes of the slice, aligned as pages are; the kernel and compiled guest code write there, which an
    // atomic load allows for.
    unsafe { AtomicU64::from_ptr(place) }.load(Ordering::Acquire)
}

fn header(ring: &[u8], at: usize) -> u32 {
    let place = ring[at..at + 4].as_ptr().cast_mut().cast::<u32>();
    // SAFETY: as in `position`; records lie at multiples of eight.
    unsafe { AtomicU32::from_ptr(place) }.load(Ordering::Acquire)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u32 = 4096;

    /// A ring buffer with those headers, one after the other from position `start`.
    fn ring(start: u64, headers: &[u32]) -> Vec<u64> {
        let mut words = vec![0u64; (RING_DATA + 2 * SIZE as usize) / 8];
        let mut at = start;
        for &header in headers {
            words[(RING_DATA + (at % u64::from(SIZE)) as usize) / 8] = header.into();
            at += (u64::from(header & !(BUSY | DISCARDED)) + HEADER).next_multiple_of(8);
        }
        words[0] = start;
        words[PAGE / 8] = at;
        words
    }

    fn of(words: &[u64]) -> Range<u64> {
        // SAFETY: plain integers seen as bytes.
        let bytes = unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) };
        submitted(bytes, SIZE, reserved(bytes, SIZE))
    }

    #[test]
    fn ends_at_the_first_record_that_is_not_submitted() {
        assert_eq!(of(&ring(0, &[])), 0..0);
        assert_eq!(of(&ring(0, &[1, 8, 9 | DISCARDED])), 0..16 + 16 + 24);
        assert_eq!(of(&ring(0, &[8 | BUSY, 9])), 0..0);
        assert_eq!(of(&ring(0, &[1, 8 | BUSY, 9])), 0..16);
    }

    #[test]
    fn goes_on_past_the_end_of_the_data() {
        let start = 10 * u64::from(SIZE) - 16;
        assert_eq!(of(&ring(start, &[8, 8, 100])), start..start + 16 + 16 + 112);
    }

    #[test]
    fn a_position_that_a_guest_forged_has_no_records() {
        let mut words = ring(0, &[8, 8]);
        assert_eq!(of(&words), 0..32);
        // Within a record, behind what the kernel wrote, and further before it than the data are long.
        for (forged, producer) in [(4, 32), (40, 32), (u64::MAX - 7, 32), (0, u64::from(SIZE) + 8)] {
            (words[0], words[PAGE / 8]) = (forged, producer);
            assert!(of(&words).is_empty(), "from {forged} to {producer}");
        }
    }

    #[test]
    fn a_mapping_that_is_too_short_has_no_records() {
        assert_eq!(available(&[0; 64], SIZE), 0..0);
    }
}
