//! Many events a crossing: code in Wasm asks the guest about one event after the other, and calls the host only for the next one.
//! Calling out of Wasm and back costs half of what calling into it does, and each event still has its own call and its own fuel.
//!
//! ```text
//! host ─▶ run(at) ─▶ next(answer) ─▶ filter(at, 88) ─▶ next(answer) ─▶ filter(at, 88) ─▶ … ─▶ next(answer) ─▶ host
//!                    host: puts the event in its place, sets the fuel
//! ```

use super::{instance::State, slot::Slot};
use skep_abi::event_context::SIZE;
use wasmtime::{Caller, Trap};

/// Events of a run at most: a bit each.
pub(super) const EVENTS: usize = 64;

/// Where the loop finds what it imports.
pub(super) const MODULE: &str = "skep";
/// The host's function: takes the answer about the last event, returns 0 after the last.
pub(super) const NEXT: &str = "next";
/// The loop's function: takes the event's address.
pub(super) const RUN: &str = "run";

/// Fuel that the module takes between [`next`] and the guest's first instruction, the same for each event: a branch, two arguments, the call.
const OWN_FUEL: u64 = 4;

/// The module. Wasm looks at its fuel where a function or a loop begins, and [`next`] is the last that happens before the loop begins
/// again: so the loop finds what `next` has just given, and the guest's own code alone can run out.
///
/// ```wat
/// (module
///   (import "skep" "next" (func $next (param i32) (result i32)))
///   (import "skep" "filter" (func $filter (param i32 i32) (result i32)))
///   (func (export "run") (param $at i32)
///     (if (call $next (i32.const 0))
///       (then (loop $more
///         (br_if $more (call $next (call $filter (local.get $at) (i32.const 88)))))))))
/// ```
#[rustfmt::skip]
pub(super) const WASM: &[u8] = &[
    0x00, b'a', b's', b'm', 1, 0, 0, 0,
    // Types: (i32) -> (i32), (i32, i32) -> (i32), (i32) -> ().
    1, 16, 3, 0x60, 1, 0x7f, 1, 0x7f, 0x60, 2, 0x7f, 0x7f, 1, 0x7f, 0x60, 1, 0x7f, 0,
    2, 27, 2, 4, b's', b'k', b'e', b'p', 4, b'n', b'e', b'x', b't', 0, 0,
              4, b's', b'k', b'e', b'p', 6, b'f', b'i', b'l', b't', b'e', b'r', 0, 1,
    3, 2, 1, 2,
    7, 7, 1, 3, b'r', b'u', b'n', 0, 2,
    10, 25, 1, 23, 0,
        0x41, 0, 0x10, 0, 0x04, 0x40, 0x03, 0x40, 0x20, 0, 0x41, 0xd8, 0, 0x10, 1, 0x10, 0, 0x0d, 0,
        0x0b, 0x0b, 0x0b,
];

/// The events of a run, and the answers so far.
pub(super) struct Events {
    bytes: [[u8; SIZE]; EVENTS],
    count: usize,
    /// Events that were handed out.
    next: usize,
    /// A bit an event: it is kept.
    kept: u64,
}

impl Default for Events {
    fn default() -> Self {
        Self { bytes: [[0; SIZE]; EVENTS], count: 0, next: 0, kept: 0 }
    }
}

impl Events {
    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        (self.count, self.next, self.kept) = (0, 0, 0);
    }

    /// Lets `write` put the next event in its place; there are [`EVENTS`] at most.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut [u8; SIZE])) {
        if let Some(place) = self.bytes.get_mut(self.count) {
            write(place);
            self.count += 1;
        }
    }

    /// Events that the guest was asked about, answered or not.
    pub(super) fn asked(&self) -> usize {
        self.next
    }

    pub(super) fn kept(&self) -> u64 {
        self.kept
    }

    /// What becomes of the event that was handed out last.
    pub(super) fn decide_last(&mut self, keep: bool) {
        if self.next > 0 {
            self.kept |= u64::from(keep) << (self.next - 1);
        }
    }
}

/// What the loop calls: takes the answer about the last event, puts the next one in its place with the fuel of one call.
pub(super) fn next(mut caller: Caller<'_, State>, keep: i32) -> wasmtime::Result<i32> {
    let State { events, slot, fuel, .. } = caller.data_mut();
    events.decide_last(keep != 0);
    let Some(event) = events.bytes[..events.count].get(events.next) else { return Ok(0) };
    let Some(slot) = slot else { return Err(Trap::MemoryOutOfBounds.into()) };
    put(slot, event);
    events.next += 1;
    let fuel = *fuel + OWN_FUEL;
    caller.set_fuel(fuel)?;
    Ok(1)
}

#[inline(always)]
#[allow(unsafe_code)]
fn put(slot: &mut Slot, event: &[u8; SIZE]) {
    // SAFETY: the slot stands in the data of the store that owns the memory, whose memories never move (`Metering::FuelAlone`). The guest
    // waits for this call to return, and nothing else refers to its memory now.
    unsafe { slot.fill(|to| *to = *event) }
}
