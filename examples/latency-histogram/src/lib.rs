//! Counts durations by powers of two, and draws them.
#![no_std]

use core::fmt::Write as _;

use skep_guest::hooks::{Observer, Report};

#[derive(Clone, Copy, skep_guest::Record)]
#[repr(C)]
struct Event {
    duration_ns: u64,
}

/// Buckets: below 1 µs, below 2 µs, … and one for the rest.
const BUCKETS: usize = 24;
const BAR: u64 = 40;

struct Latencies {
    counts: [u64; BUCKETS],
    sum: u64,
    events: u64,
}

const fn bound(bucket: usize) -> u64 {
    1_000 << bucket
}

impl Observer for Latencies {
    const NEW: Self = Self { counts: [0; BUCKETS], sum: 0, events: 0 };

    fn report(&self, report: &mut Report) {
        let bounds: [u64; BUCKETS - 1] = core::array::from_fn(bound);
        report.counter("events", "", self.events);
        report.histogram("duration_ns", self.sum, &bounds, &self.counts);
        let most = self.counts.iter().copied().max().unwrap_or(0).max(1);
        for (bucket, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let from = if bucket == 0 { 0 } else { bound(bucket - 1) / 1_000 };
            let _ = write!(report, "{from:>9} us {count:>8} ");
            for _ in 0..(count * BAR).div_ceil(most) {
                let _ = report.write_str("#");
            }
            let _ = report.write_str("\n");
        }
    }
}

#[skep_guest::plugin(
    name = "latency-histogram",
    version = "0.1.0",
    description = "A histogram of durations",
    pages = 64
)]
mod plugin {
    use super::*;

    /// Counts duration_ns by powers of two of microseconds
    #[observe]
    fn count(state: &mut Latencies, event: &Event) {
        // Whole microseconds 0, 1, 2–3, 4–7, … : as many as the number has binary digits.
        let bucket = (u64::BITS - (event.duration_ns / 1_000).leading_zeros()) as usize;
        state.counts[bucket.min(BUCKETS - 1)] += 1;
        state.sum = state.sum.wrapping_add(event.duration_ns);
        state.events += 1;
    }
}
