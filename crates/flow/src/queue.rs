//! The sinks' thread and the bounded queue before it.

use crate::{Sink, Summary};
use skep_error::{Error, Kind, Result, ResultExt as _};
use skep_event::{Batch, Schema, StackTable};
use std::{
    sync::{
        Arc, OnceLock,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
};

/// Batches that wait for the sinks at most; a batch has up to [`crate::Pipeline::BATCH_BYTES`].
const DEPTH: usize = 64;

/// The sinks on a thread of their own.
pub(crate) struct SinkThread {
    sender: Option<SyncSender<Batch<'static>>>,
    thread: JoinHandle<Result<()>>,
    /// Set before the channel closes; the sinks read it in `finish`.
    summary: Arc<OnceLock<Summary>>,
    wait: bool,
}

impl SinkThread {
    /// Binds the sinks here, so that an output that cannot be written is known before the run, then starts their thread.
    /// `wait` says whether a full queue blocks the sender or loses the batch.
    pub(crate) fn start(
        mut sinks: Vec<Box<dyn Sink>>,
        schema: Arc<Schema>,
        stacks: &StackTable,
        wait: bool,
    ) -> Result<Self> {
        for sink in &mut sinks {
            let name = sink.name().to_owned();
            sink.bind(&schema, stacks).context(|| name)?;
        }
        let (sender, receiver) = sync_channel::<Batch<'static>>(DEPTH);
        let summary: Arc<OnceLock<Summary>> = Arc::default();
        let at_end = summary.clone();
        let work = move || {
            for batch in receiver {
                for sink in &mut sinks {
                    sink.write(&schema, &batch).context(|| sink.name().to_owned())?;
                }
            }
            let nothing = Summary::default();
            let summary = at_end.get().unwrap_or(&nothing);
            for sink in &mut sinks {
                sink.finish(&schema, summary).context(|| sink.name().to_owned())?;
            }
            Ok(())
        };
        let thread = std::thread::Builder::new().name("sinks".into()).spawn(work);
        let thread = thread.context(|| "starting the thread of the sinks")?;
        Ok(Self { sender: Some(sender), thread, summary, wait })
    }

    /// Hands a batch over. Returns how many records were lost because the queue was full, or `None` when the sinks have
    /// ended by an error, which [`SinkThread::finish`] returns.
    pub(crate) fn send(&self, batch: Batch<'static>) -> Option<u64> {
        let sender = self.sender.as_ref()?;
        if self.wait {
            return sender.send(batch).ok().map(|()| 0);
        }
        match sender.try_send(batch) {
            Ok(()) => Some(0),
            Err(TrySendError::Full(batch)) => Some(batch.len() as u64),
            Err(TrySendError::Disconnected(_)) => None,
        }
    }

    /// Tells the sinks that nothing follows and waits for them.
    pub(crate) fn finish(mut self, summary: Summary) -> Result<()> {
        let _ = self.summary.set(summary);
        drop(self.sender.take());
        self.thread.join().unwrap_or_else(|_| Err(Error::new(Kind::Internal, "the thread of the sinks panicked")))
    }
}
