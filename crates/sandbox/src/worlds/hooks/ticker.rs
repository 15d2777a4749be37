use std::{
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use skep_error::{Result, ResultExt as _};

/// Milliseconds of an epoch.
pub(super) const TICK_MS: u64 = 10;

/// A thread that advances an engine's epoch while it is held, so that a call that goes on too long traps.
pub(super) struct Ticker {
    /// Dropped first: that ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Ticker {
    pub(super) fn start(engine: wasmtime::Engine) -> Result<Self> {
        let (stop, over) = mpsc::channel::<()>();
        let tick = move || {
            while over.recv_timeout(Duration::from_millis(TICK_MS)) == Err(RecvTimeoutError::Timeout) {
                engine.increment_epoch();
            }
        };
        let thread =
            thread::Builder::new().name("skep-epoch".into()).spawn(tick).context(|| "starting the epoch's thread")?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Epochs that a call of that many milliseconds may see begin; at least the one that is under way.
    pub(super) fn epochs(deadline_ms: u64) -> u64 {
        deadline_ms.div_ceil(TICK_MS).saturating_add(1)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
