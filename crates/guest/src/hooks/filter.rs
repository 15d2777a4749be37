use skep_abi::{
    hooks::wire::{FilterResponse, Request, Status},
    layout::List,
};

use super::{
    Record,
    record::{Binding, bind, gather, request},
    reply::{Place, list},
};

static RESPONSE: Place<FilterResponse> =
    Place::new(FilterResponse { status: Status::Done, error: List::new(0, 0), keep: List::new(0, 0) });

/// Fills a bitmap: bit `i % 64` of word `i / 64` says whether `keep` says true of record `i`.
///
/// The body is unrolled eight times and has no branch of its own: `keep` is inlined, and what it decides becomes a bit
/// by a shift and an `or`, so that random data costs no mispredicted branch.
#[inline(always)]
pub fn keep_words<R>(records: &[R], words: &mut [u64], keep: impl Fn(&R) -> bool) {
    let mut chunks = records.chunks_exact(64);
    let mut words = words.iter_mut();
    for (chunk, word) in chunks.by_ref().zip(words.by_ref()) {
        let mut bits = 0u64;
        for (byte, eight) in chunk.chunks_exact(8).enumerate() {
            let bit = |i: usize| u32::from(keep(&eight[i])) << i;
            let kept = bit(0) | bit(1) | bit(2) | bit(3) | bit(4) | bit(5) | bit(6) | bit(7);
            bits |= u64::from(kept) << (8 * byte);
        }
        *word = bits;
    }
    if let (rest @ [_, ..], Some(word)) = (chunks.remainder(), words.next()) {
        *word = rest.iter().enumerate().fold(0, |bits, (i, record)| bits | (u64::from(keep(record)) << i));
    }
}

fn failed(error: List<u8>) -> i64 {
    RESPONSE.answer(FilterResponse { status: Status::Failed, error, keep: List::new(0, 0) })
}

/// What `skep_filter` does.
///
/// # Safety
/// `address` and `len` are the host's arguments.
#[inline(always)]
pub unsafe fn filter<R: Record>(address: u32, len: u32, keep: impl Fn(&R) -> bool) -> i64 {
    // SAFETY: the host's arguments.
    let Some(request) = (unsafe { request(address, len) }) else {
        return failed(list(b"a request of another version"));
    };
    let words = request.selected.len as usize;
    if (request.output.len as usize) < words {
        return failed(list(b"no room for the bitmap"));
    }
    // SAFETY: the host gives this room to the guest for the length of the call.
    let output = unsafe { core::slice::from_raw_parts_mut(request.output.at as usize as *mut u64, words) };
    // SAFETY: the request is the host's.
    match unsafe { bind::<R>(request) } {
        Binding::InPlace => {
            // SAFETY: `count` records lie there, laid out as `R` is; any bits are a value.
            let records =
                unsafe { core::slice::from_raw_parts(request.records.at as usize as *const R, request.count as usize) };
            keep_words(records, output, keep);
        }
        Binding::Gathered(offsets) => gathered(request, &offsets, output, keep),
        Binding::Nowhere(why) => return failed(why),
    }
    RESPONSE.answer(FilterResponse {
        status: Status::Done,
        error: List::new(0, 0),
        keep: List::new(request.output.at, words as u32),
    })
}

fn gathered<R: Record>(
    request: &Request,
    offsets: &[u32; super::record::MAX_FIELDS],
    output: &mut [u64],
    keep: impl Fn(&R) -> bool,
) {
    output.fill(0);
    for index in 0..request.count as usize {
        let record = (request.records.at as usize + index * request.stride as usize) as *const u8;
        // SAFETY: the record is one of the request's.
        let value: R = unsafe { gather(record, offsets) };
        output[index / 64] |= u64::from(keep(&value)) << (index % 64);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn every_length_gives_the_bits_of_a_plain_loop() {
        for len in [0usize, 1, 7, 8, 63, 64, 65, 127, 128, 129, 200] {
            let records: std::vec::Vec<u32> = (0..len as u32).map(|i| i.wrapping_mul(2_654_435_761)).collect();
            let keep = |value: &u32| value.is_multiple_of(3);
            let mut words = std::vec![u64::MAX; len.div_ceil(64)];
            keep_words(&records, &mut words, keep);
            for (i, record) in records.iter().enumerate() {
                assert_eq!(words[i / 64] >> (i % 64) & 1 == 1, keep(record), "{i} of {len}");
            }
            if len % 64 > 0 {
                assert_eq!(words[len / 64] >> (len % 64), 0, "bits past the end of {len}");
            }
        }
    }
}
