//! The sinks' thread and the bounded queue before it.

use crate::{Sink, Summary};
use skep_error::{Error, Kind, Result, ResultExt as _};
use skep_event::{Batch, Schema, StackTable};
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock},
    thread::JoinHandle,
};

/// Batches that wait for the sinks at most.
const DEPTH: usize = 64;
/// Bytes of records and columns that wait for them at most; one batch may wait whatever its size.
const BYTES: usize = 16 * 1024 * 1024;

/// Batches on their way to the sinks.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Batch<'static>>,
    bytes: usize,
    /// Nothing follows.
    closed: bool,
    /// Nobody takes anything any more.
    gone: bool,
}

impl State {
    fn has_room(&self, bytes: usize) -> bool {
        self.batches.is_empty() || (self.batches.len() < DEPTH && self.bytes + bytes <= BYTES)
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Returns how many records were lost because there was no room, which is none with `wait`; `None` when nobody takes them.
    fn push(&self, batch: Batch<'static>, wait: bool) -> Option<u64> {
        let bytes = batch.bytes();
        let mut state = self.lock();
        while wait && !state.gone && !state.has_room(bytes) {
            state = self.wait(state);
        }
        if state.gone {
            return None;
        }
        if !state.has_room(bytes) {
            return Some(batch.len() as u64);
        }
        state.bytes += bytes;
        state.batches.push_back(batch);
        self.changed.notify_all();
        Some(0)
    }

    /// The next batch; `None` after the last.
    fn pop(&self) -> Option<Batch<'static>> {
        let mut state = self.lock();
        loop {
            if let Some(batch) = state.batches.pop_front() {
                state.bytes -= batch.bytes();
                self.changed.notify_all();
                return Some(batch);
            }
            if state.closed {
                return None;
            }
            state = self.wait(state);
        }
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

/// Says that nobody takes anything any more, however the thread ends.
struct Taker(Arc<Queue>);

impl Drop for Taker {
    fn drop(&mut self) {
        self.0.lock().gone = true;
        self.0.changed.notify_all();
    }
}

/// The sinks on a thread of their own.
pub(crate) struct SinkThread {
    queue: Arc<Queue>,
    thread: JoinHandle<Result<()>>,
    /// Set before the queue closes; the sinks read it in `finish`.
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
        let queue: Arc<Queue> = Arc::default();
        let taker = Taker(queue.clone());
        let summary: Arc<OnceLock<Summary>> = Arc::default();
        let at_end = summary.clone();
        let work = move || {
            while let Some(batch) = taker.0.pop() {
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
        Ok(Self { queue, thread, summary, wait })
    }

    /// Hands a batch over. Returns how many records were lost because the queue was full, or `None` when the sinks have
    /// ended by an error, which [`SinkThread::finish`] returns.
    pub(crate) fn send(&self, batch: Batch<'static>) -> Option<u64> {
        self.queue.push(batch, self.wait)
    }

    /// Tells the sinks that nothing follows and waits for them.
    pub(crate) fn finish(self, summary: Summary) -> Result<()> {
        let _ = self.summary.set(summary);
        self.queue.close();
        self.thread.join().unwrap_or_else(|_| Err(Error::new(Kind::Internal, "the thread of the sinks panicked")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(bytes: usize) -> Batch<'static> {
        Batch::new(vec![0; bytes], &Schema::new("test", 8, Vec::new()).unwrap())
    }

    #[test]
    fn a_queue_is_bounded_by_bytes_and_by_batches_and_counts_what_it_loses() {
        let queue = Queue::default();
        assert_eq!(queue.push(batch(BYTES + 8), false), Some(0), "one batch may wait whatever its size");
        assert_eq!(queue.push(batch(16), false), Some(2), "two records are lost");
        assert!(queue.pop().is_some());
        for _ in 0..DEPTH {
            assert_eq!(queue.push(batch(8), false), Some(0));
        }
        assert_eq!(queue.push(batch(8), false), Some(1));
        queue.close();
        assert_eq!(std::iter::from_fn(|| queue.pop()).count(), DEPTH);
        assert_eq!(queue.lock().bytes, 0);
    }

    #[test]
    fn who_waits_for_room_is_woken_by_a_batch_taken_and_by_the_takers_end() {
        let queue: Arc<Queue> = Arc::default();
        let taker = Taker(queue.clone());
        queue.push(batch(BYTES), true);
        let other = queue.clone();
        let sender = std::thread::spawn(move || (other.push(batch(BYTES), true), other.push(batch(BYTES), true)));
        assert_eq!(taker.0.pop().map(|batch| batch.bytes()), Some(BYTES));
        drop(taker);
        let (first, second) = sender.join().unwrap();
        assert!(first.is_none_or(|lost| lost == 0) && second.is_none());
    }
}
