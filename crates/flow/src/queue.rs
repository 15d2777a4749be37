//! The sinks' thread and the bounded queue before it.

use crate::{Sink, Summary};
use skep_error::{Error, Kind, Result, ResultExt as _};
use skep_event::{Batch, Schema, StackTable};
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Batches that wait for the sinks at most. Under load they are small, as each holds what came since the last look: bytes
/// are the bound that is meant, and this one is for what a batch takes besides.
const DEPTH: usize = 4096;
/// Bytes of records and columns that wait for them at most; one batch may wait whatever its size.
const BYTES: usize = 16 * 1024 * 1024;
/// How long a live source is held up by a full queue: meanwhile its events wait in the kernel's buffer, and sinks that are
/// only somewhat slow lose none. Shorter than what a batch may take, for a run's end waits for it.
const PATIENCE: Duration = Duration::from_millis(20);
/// The time without a batch after which sinks are told.
const IDLE: Duration = Duration::from_secs(1);

/// What became of a batch that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The sinks will see it.
    Queued,
    /// There was no room.
    Lost,
    /// Every sink has failed; [`SinkThread::finish`] says how the first one did.
    Gone,
}

/// What the sinks get of the queue.
enum Popped {
    Batch(Batch<'static>),
    /// None came in time.
    Nothing,
    /// None will come.
    End,
}

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
    /// Nothing was taken in all the time that the last sender was held up; the next one is not.
    stalled: bool,
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

    fn wait<'a>(&self, state: MutexGuard<'a, State>, most: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, most).unwrap_or_else(|poisoned| poisoned.into_inner()).0
    }

    /// Waits for room, for at most `patience`; `None` is as long as it takes.
    fn push(&self, batch: Batch<'static>, patience: Option<Duration>) -> Sent {
        let bytes = batch.bytes();
        let mut state = self.lock();
        let start = Instant::now();
        while !state.gone && !state.has_room(bytes) {
            let left = patience.map_or(IDLE, |patience| patience.saturating_sub(start.elapsed()));
            if patience.is_some() && (state.stalled || left.is_zero()) {
                state.stalled = true;
                return Sent::Lost;
            }
            state = self.wait(state, left);
        }
        if state.gone {
            return Sent::Gone;
        }
        state.bytes += bytes;
        state.batches.push_back(batch);
        self.changed.notify_all();
        Sent::Queued
    }

    /// The next batch, when one comes within `patience`.
    fn pop(&self, patience: Duration) -> Popped {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if let Some(batch) = state.batches.pop_front() {
                state.bytes -= batch.bytes();
                state.stalled = false;
                self.changed.notify_all();
                return Popped::Batch(batch);
            }
            if state.closed {
                return Popped::End;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Popped::Nothing;
            }
            state = self.wait(state, left);
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

/// The sinks that work still: one that fails leaves, and the others go on.
struct Sinks {
    left: Vec<Box<dyn Sink>>,
    /// The first failure.
    failed: Option<Error>,
}

impl Sinks {
    fn each(&mut self, mut work: impl FnMut(&mut dyn Sink) -> Result<()>) {
        self.left.retain_mut(|sink| match work(sink.as_mut()).context(|| sink.name().to_owned()) {
            Ok(()) => true,
            Err(error) => {
                self.failed.get_or_insert(error);
                false
            }
        });
    }
}

/// The sinks on a thread of their own.
pub(crate) struct SinkThread {
    queue: Arc<Queue>,
    thread: JoinHandle<Result<()>>,
    /// Set before the queue closes; the sinks read it in `finish`.
    summary: Arc<OnceLock<Summary>>,
    patience: Option<Duration>,
}

impl SinkThread {
    /// Binds the sinks here, so that an output that cannot be written is known before the run, then starts their thread.
    /// A full queue holds the sender up until there is room, or a moment only where events are lost meanwhile (`live`).
    pub(crate) fn start(
        mut sinks: Vec<Box<dyn Sink>>,
        schema: Arc<Schema>,
        stacks: &StackTable,
        live: bool,
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
            let mut sinks = Sinks { left: sinks, failed: None };
            loop {
                match taker.0.pop(IDLE) {
                    Popped::Batch(batch) => sinks.each(|sink| sink.write(&schema, &batch)),
                    Popped::Nothing => sinks.each(|sink| sink.idle()),
                    Popped::End => break,
                }
                if sinks.left.is_empty() && sinks.failed.is_some() {
                    break;
                }
            }
            let nothing = Summary::default();
            let summary = at_end.get().unwrap_or(&nothing);
            sinks.each(|sink| sink.finish(&schema, summary));
            sinks.failed.map_or(Ok(()), Err)
        };
        let thread = std::thread::Builder::new().name("sinks".into()).spawn(work);
        let thread = thread.context(|| "starting the thread of the sinks")?;
        Ok(Self { queue, thread, summary, patience: live.then_some(PATIENCE) })
    }

    /// Hands a batch over.
    pub(crate) fn send(&self, batch: Batch<'static>) -> Sent {
        self.queue.push(batch, self.patience)
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

    /// Bytes of the next batch.
    fn popped(queue: &Queue) -> Option<usize> {
        match queue.pop(Duration::from_secs(60)) {
            Popped::Batch(batch) => Some(batch.bytes()),
            Popped::Nothing | Popped::End => None,
        }
    }

    /// How long a sender waits that is not to wait.
    const NOT_AT_ALL: Option<Duration> = Some(Duration::ZERO);

    #[test]
    fn a_queue_is_bounded_by_bytes_and_by_batches_and_counts_what_it_loses() {
        let queue = Queue::default();
        assert_eq!(queue.push(batch(BYTES + 8), NOT_AT_ALL), Sent::Queued, "one batch may wait whatever its size");
        assert_eq!(queue.push(batch(16), NOT_AT_ALL), Sent::Lost);
        assert_eq!(popped(&queue), Some(BYTES + 8));
        for _ in 0..DEPTH {
            assert_eq!(queue.push(batch(8), NOT_AT_ALL), Sent::Queued);
        }
        assert_eq!(queue.push(batch(8), NOT_AT_ALL), Sent::Lost);
        queue.close();
        assert_eq!(std::iter::from_fn(|| popped(&queue)).count(), DEPTH);
        assert_eq!(queue.lock().bytes, 0);
    }

    #[test]
    fn who_waits_for_room_is_woken_by_a_batch_taken_and_by_the_takers_end() {
        let queue: Arc<Queue> = Arc::default();
        let taker = Taker(queue.clone());
        queue.push(batch(BYTES), None);
        let other = queue.clone();
        let sender = std::thread::spawn(move || (other.push(batch(BYTES), None), other.push(batch(BYTES), None)));
        assert_eq!(popped(&taker.0), Some(BYTES));
        drop(taker);
        let (first, second) = sender.join().unwrap();
        assert!(first != Sent::Lost && second == Sent::Gone);
    }

    #[test]
    fn a_live_source_is_held_up_as_long_as_something_is_taken() {
        let queue: Arc<Queue> = Arc::default();
        queue.push(batch(BYTES), None);
        let other = queue.clone();
        let minute = Some(Duration::from_secs(60));
        let sender = std::thread::spawn(move || other.push(batch(BYTES), minute));
        assert_eq!(popped(&queue), Some(BYTES));
        assert_eq!(sender.join().unwrap(), Sent::Queued);
        // Nothing is taken: the first sender finds that out, the second is not held up, and what is taken ends it.
        assert_eq!(queue.push(batch(8), Some(Duration::from_millis(1))), Sent::Lost);
        assert_eq!(queue.push(batch(8), minute), Sent::Lost);
        assert_eq!(popped(&queue), Some(BYTES));
        assert_eq!(queue.push(batch(BYTES), minute), Sent::Queued);
        assert!(!queue.lock().stalled);
    }
}
