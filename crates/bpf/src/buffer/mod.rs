//! Ring and perf buffers: records from the kernel to a closure, every one of them, losses counted.

#[allow(unsafe_code)]
mod perf;
#[allow(unsafe_code)]
mod ring;

use std::{
    ops::ControlFlow,
    os::fd::{AsFd as _, BorrowedFd},
    time::{Duration, Instant},
};

use libbpf_rs::MapType;
use rustix::event::{PollFd, PollFlags, Timespec};
use skep_error::{Error, Kind, Result};

use crate::{
    map::Map,
    sys::{self, Errno},
};

/// Pages of each CPU's part of a perf buffer, as libbpf's tools choose them.
const PERF_PAGES: u64 = 64;

/// The user-space end of a ring buffer or a perf event array. Opening it a second time would take records away from the
/// first, so an object opens each map once.
pub struct Buffer {
    reader: Reader,
}

enum Reader {
    Ring(ring::Reader),
    Perf(perf::Reader),
}

/// Takes a record; may break off behind it.
type Each<'a> = &'a mut dyn FnMut(&[u8]) -> ControlFlow<()>;

/// How a [`Buffer::poll`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// So many records were handed over.
    Records(usize),
    /// Nothing came before the time was over.
    TimedOut,
    /// The stop descriptor became readable first.
    Stopped,
}

impl Buffer {
    /// Opens the user-space end of `map`.
    ///
    /// # Errors
    /// `BadInput` with `EINVAL` for a map that is no buffer; else the kernel's.
    pub fn open(map: &Map) -> Result<Self> {
        let reader = match map.info().kind {
            MapType::RingBuf => ring::Reader::open(map.as_fd(), map.info().max_entries).map(Reader::Ring),
            MapType::PerfEventArray => perf::Reader::open(map.as_fd(), PERF_PAGES).map(Reader::Perf),
            other => {
                return Err(Error::new(
                    Kind::BadInput,
                    format!("it is of type {other:?}, not a ring buffer or a perf event array"),
                )
                .with_errno(libc::EINVAL));
            }
        };
        Ok(Self { reader: reader.map_err(|errno| errno.into_error().with_kind(Kind::Kernel))? })
    }

    /// Waits until there are records, at most `timeout`, and hands over those that are there, oldest first. `each` may
    /// break off; what it has not seen is handed over by the next call.
    ///
    /// # Errors
    /// The kernel's.
    pub fn poll(&mut self, timeout: Duration, stop: Option<BorrowedFd<'_>>, each: Each<'_>) -> Result<Polled, Errno> {
        match self.reader.consume(each)? {
            0 => {}
            records => return Ok(Polled::Records(records)),
        }
        match wait(self.reader.fd(), stop, timeout)? {
            Polled::Records(_) => Ok(Polled::Records(self.reader.consume(each)?)),
            ended => Ok(ended),
        }
    }

    /// Records that a perf buffer has lost so far; always 0 for a ring buffer, whose losses the object counts.
    pub fn lost(&self) -> u64 {
        match &self.reader {
            Reader::Ring(_) => 0,
            Reader::Perf(perf) => perf.lost(),
        }
    }
}

impl Reader {
    fn consume(&mut self, each: Each<'_>) -> Result<usize, Errno> {
        match self {
            Self::Ring(ring) => ring.consume(each),
            Self::Perf(perf) => perf.consume(each),
        }
    }

    /// What is readable when there are records.
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Ring(ring) => ring.fd(),
            Self::Perf(perf) => perf.epoll_fd(),
        }
    }
}

/// Waits until `buffer` or `stop` is readable, at most `timeout`; `Records(0)` when it is the buffer.
pub fn wait(buffer: BorrowedFd<'_>, stop: Option<BorrowedFd<'_>>, timeout: Duration) -> Result<Polled, Errno> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut fds = [
            PollFd::from_borrowed_fd(buffer, PollFlags::IN),
            PollFd::from_borrowed_fd(stop.unwrap_or(buffer), PollFlags::IN),
        ];
        let watched = if stop.is_some() { 2 } else { 1 };
        match rustix::event::poll(&mut fds[..watched], Some(&left)) {
            Ok(0) => return Ok(Polled::TimedOut),
            Ok(_) if watched == 2 && !fds[1].revents().is_empty() => return Ok(Polled::Stopped),
            Ok(_) => return Ok(Polled::Records(0)),
            // A signal that concerns nobody here: the stop descriptor tells what does.
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Errno(errno.raw_os_error())),
        }
    }
}

/// Waits until a ring buffer's map has records, without taking them.
pub fn wait_for_records(map: &Map, stop: Option<BorrowedFd<'_>>, timeout: Duration) -> Result<Polled, Errno> {
    wait(map.as_fd(), stop, timeout)
}

/// Number of CPUs that this machine may ever have.
pub fn possible_cpus() -> usize {
    sys::possible_cpus()
}
