//! How a run is asked to end.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use rustix::event::{EventfdFlags, eventfd};
use skep_error::{Result, ResultExt as _};

/// Why a run was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// Ctrl-C, SIGTERM or SIGHUP.
    Interrupted = 1,
    /// The time given to the run is over.
    TimedOut = 2,
    /// Whoever read the output has gone.
    OutputClosed = 3,
}

/// A request to end, shared by those who make it and those who wait; the first reason given stays. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    reason: AtomicU8,
    /// Readable from the request on, so that a wait on other descriptors can watch it too.
    event: OwnedFd,
}

impl Stop {
    /// A request that nobody has made yet.
    ///
    /// # Errors
    /// `Io` when the process has no descriptor left.
    pub fn new() -> Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(std::io::Error::from)
            .context(|| "creating the event that ends a run")?;
        Ok(Self { shared: Arc::new(Shared { reason: AtomicU8::new(0), event }) })
    }

    /// Asks the run to end.
    pub fn request(&self, reason: Reason) {
        let first = self.shared.reason.compare_exchange(0, reason as u8, Ordering::SeqCst, Ordering::SeqCst);
        if first.is_ok() {
            // Cannot fail: the counter is far from its maximum.
            let _ = rustix::io::write(&self.shared.event, &1u64.to_ne_bytes());
        }
    }

    /// Why the run was asked to end, when it was.
    pub fn requested(&self) -> Option<Reason> {
        match self.shared.reason.load(Ordering::Relaxed) {
            1 => Some(Reason::Interrupted),
            2 => Some(Reason::TimedOut),
            3 => Some(Reason::OutputClosed),
            _ => None,
        }
    }
}

impl AsFd for Stop {
    /// Readable once the end was requested.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.event.as_fd()
    }
}
