//! Sums that stay in the kernel: two maps that take turns, so that the one that is read is not written to.

use std::sync::Arc;

use skep_abi::event_context::offset;
use skep_error::{Kind, Result};
use skep_event::context::{STRIDE, tail};

use crate::Map;

/// Bytes of `struct skep_count_key`.
const KEY: usize = 80;
/// Bytes of `struct skep_count`.
const VALUE: usize = 32;

/// The two maps.
pub(super) struct Counts {
    maps: [Arc<Map>; 2],
    /// The one that is written to.
    active: u32,
}

impl Counts {
    pub(super) fn new(maps: [Arc<Map>; 2]) -> Self {
        Self { maps, active: 0 }
    }

    /// The other map is to be written to from now on; returns which.
    pub(super) fn turn(&mut self) -> u32 {
        self.active ^= 1;
        self.active
    }

    /// Takes everything out of the map that is not written to, as records at the end of `records`.
    pub(super) fn drain_idle(&self, records: &mut Vec<u8>) -> Result<()> {
        self.drain(self.active ^ 1, records)
    }

    /// Takes everything out of both maps, when nothing is collected any more.
    pub(super) fn drain_all(&self, records: &mut Vec<u8>) -> Result<()> {
        self.drain(0, records)?;
        self.drain(1, records)
    }

    fn drain(&self, which: u32, records: &mut Vec<u8>) -> Result<()> {
        let mut each = |key: &[u8], value: &[u8]| {
            if let (Some(key), Some(value)) = (key.first_chunk(), value.first_chunk()) {
                records.extend_from_slice(&record(key, value));
            }
        };
        let taken = self.maps[which as usize].take_all(&mut each);
        taken.map_err(|errno| errno.into_error().with_kind(Kind::Kernel).context("fetching sums from the kernel"))
    }
}

/// The record that a sum makes.
fn record(key: &[u8; KEY], value: &[u8; VALUE]) -> [u8; STRIDE] {
    let mut record = [0; STRIDE];
    let mut copy = |to: usize, from: &[u8]| record[to..to + from.len()].copy_from_slice(from);
    copy(offset::PID, &key[0..4]);
    copy(offset::TID, &key[4..8]);
    copy(offset::USER_STACK_ID, &key[8..16]);
    copy(offset::KERNEL_STACK_ID, &key[16..24]);
    copy(offset::LOCK_ADDR, &key[24..32]);
    copy(offset::EVENT_TYPE, &key[32..36]);
    copy(offset::SYSCALL_ID, &key[36..40]);
    copy(tail::LOCK_KIND, &key[40..42]);
    copy(tail::LOCK_FLAGS, &key[44..48]);
    copy(tail::CGROUP, &key[48..56]);
    copy(tail::COMM, &key[56..72]);
    copy(tail::COUNT, &value[0..8]);
    copy(offset::WAIT_NS, &value[8..16]);
    copy(offset::DURATION_NS, &value[16..24]);
    copy(offset::TIMESTAMP_NS, &value[24..32]);
    record
}
