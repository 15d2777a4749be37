//! Counts what the kernel drops at a full ring buffer.
//!
//! A ring buffer has no counter of its own: a failed `bpf_ringbuf_reserve`, `bpf_ringbuf_output` or
//! `bpf_ringbuf_reserve_dynptr` is seen by the program alone, and most programs ignore it. So, between libbpf's
//! relocation and the load, each such call is followed by a few instructions that count its failures in a map of ours.
//! The registers they use are those that the call itself has clobbered, so no program can tell the difference.

mod rewrite;

pub(crate) use rewrite::{Insertion, count_failures, fills_ring};

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use skep_error::{Kind, Result, ResultExt as _};

use crate::sys;

/// The map in which the instrumented programs count: an array of one u64.
pub(crate) struct Counter {
    fd: OwnedFd,
}

impl Counter {
    pub(crate) fn new() -> Result<Self> {
        let fd = sys::create_array(c"skep_drops", 8, 1).context(|| "creating the map that counts dropped records")?;
        Ok(Self { fd })
    }

    pub(crate) fn fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// How many records the programs could not put into a ring buffer so far.
    pub(crate) fn read(&self) -> Result<u64> {
        let mut value = [0; 8];
        sys::map_lookup(self.fd.as_fd(), &0u32.to_ne_bytes(), &mut value, 0)
            .map_err(|errno| errno.into_error().with_kind(Kind::Kernel))
            .context(|| "reading the count of dropped records")?;
        Ok(u64::from_ne_bytes(value))
    }
}
