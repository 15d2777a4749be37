//! The clock behind the deadlines of calls: one thread a process, which advances the epoch of every shared engine while
//! guests compute, and sleeps without a time-out while none does.
//!
//! ```text
//! call ─▶ running(): in flight + 1, wake the thread if it is parked ─▶ the guest ─▶ drop: in flight - 1
//! thread: every 10 ms epoch + 1 ─▶ nothing in flight for ten epochs ─▶ parked ─▶ woken by the next call
//! ```

use std::{
    sync::{
        LazyLock, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use skep_error::{Result, ResultExt as _};
use wasmtime::EngineWeak;

/// Milliseconds of an epoch.
const TICK_MS: u64 = 10;
/// Epochs without a call after which the thread parks: a pipeline's next batch mostly comes before, and finds it awake.
const IDLE_TICKS: u64 = 10;
/// The thread's name.
const NAME: &str = "skep-epoch";

/// The one ticker of the process.
pub(crate) struct Ticker {
    engines: Mutex<Vec<EngineWeak>>,
    thread: OnceLock<thread::Thread>,
    /// Calls into guests that have not returned.
    in_flight: AtomicUsize,
    /// Calls begun; a tick that finds it changed knows that there was one.
    begun: AtomicU64,
    parked: AtomicBool,
}

/// A guest that computes; the epoch advances while it is held.
pub(crate) struct Running(&'static Ticker);

static TICKER: LazyLock<Ticker> = LazyLock::new(|| Ticker {
    engines: Mutex::default(),
    thread: OnceLock::new(),
    in_flight: AtomicUsize::new(0),
    begun: AtomicU64::new(0),
    parked: AtomicBool::new(false),
});

impl Ticker {
    /// Advances that engine's epoch from now on, as long as there is the engine.
    ///
    /// # Errors
    /// `Io` where the process can have no thread more.
    pub(crate) fn watch(engine: &wasmtime::Engine) -> Result<()> {
        let mut engines = TICKER.engines();
        if TICKER.thread.get().is_none() {
            let spawned = thread::Builder::new().name(NAME.into()).spawn(|| TICKER.tick());
            let spawned = spawned.context(|| "starting the thread of deadlines")?;
            // The lock is held: nobody else sets it.
            _ = TICKER.thread.set(spawned.thread().clone());
        }
        engines.retain(|engine| engine.upgrade().is_some());
        engines.push(engine.weak());
        Ok(())
    }

    /// Says that a guest is about to be called.
    pub(crate) fn running() -> Running {
        let ticker = &*TICKER;
        ticker.in_flight.fetch_add(1, SeqCst);
        ticker.begun.fetch_add(1, SeqCst);
        // The thread says that it is parked before it looks for calls in flight once more, and this looks the other way
        // round: one of the two sees the other.
        if ticker.parked.load(SeqCst)
            && ticker.parked.swap(false, SeqCst)
            && let Some(thread) = ticker.thread.get()
        {
            thread.unpark();
        }
        Running(ticker)
    }

    /// Epochs that a call of that many milliseconds may see begin; at least the one that is under way.
    pub(crate) fn epochs(deadline_ms: u64) -> u64 {
        deadline_ms.div_ceil(TICK_MS).saturating_add(1)
    }

    fn engines(&self) -> MutexGuard<'_, Vec<EngineWeak>> {
        self.engines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) {
        let (mut seen, mut idle) = (0, 0);
        loop {
            thread::sleep(Duration::from_millis(TICK_MS));
            for engine in self.engines().iter().filter_map(EngineWeak::upgrade) {
                engine.increment_epoch();
            }
            let begun = self.begun.load(SeqCst);
            idle = if begun == seen && self.in_flight.load(SeqCst) == 0 { idle + 1 } else { 0 };
            seen = begun;
            if idle >= IDLE_TICKS {
                idle = 0;
                self.parked.store(true, SeqCst);
                // Waking without a reason is harmless: ten epochs later it parks again.
                if self.in_flight.load(SeqCst) == 0 {
                    thread::park();
                }
                self.parked.store(false, SeqCst);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn until(what: &str, done: impl Fn() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < Duration::from_secs(20), "{what}: not within 20 s");
            thread::yield_now();
        }
    }

    /// Whether a loop without end is ended by its deadline.
    fn deadline_ends_a_loop(engine: &crate::Engine) -> bool {
        let wasm = wat::parse_str("(module (func (export \"f\") (loop (br 0))))").unwrap();
        let module = wasmtime::Module::new(engine.wasmtime(), wasm).unwrap();
        let mut store = wasmtime::Store::new(engine.wasmtime(), ());
        store.set_fuel(u64::MAX).unwrap();
        store.set_epoch_deadline(Ticker::epochs(20));
        let f = wasmtime::Instance::new(&mut store, &module, &[]).unwrap().get_typed_func::<(), ()>(&mut store, "f");
        let _running = Ticker::running();
        let error = f.unwrap().call(&mut store, ()).unwrap_err();
        crate::TrapKind::of(&error) == Some(crate::TrapKind::Interrupted)
    }

    #[test]
    fn the_thread_sleeps_while_nothing_runs_and_wakes_for_a_call() {
        let engine = crate::Engine::shared(crate::Metering::Fuel, 256 << 10).unwrap();
        for _ in 0..3 {
            until("parked", || TICKER.parked.load(SeqCst));
            assert!(deadline_ends_a_loop(&engine));
        }
        let other = crate::Engine::shared(crate::Metering::Fuel, 128 << 10).unwrap();
        assert!(deadline_ends_a_loop(&other), "an engine that came later");
    }

    #[test]
    fn engines_of_the_same_settings_are_one_and_go_with_their_last_user() {
        let same = |a: &crate::Engine, b: &crate::Engine| wasmtime::Engine::same(a.wasmtime(), b.wasmtime());
        let shared = |stack| crate::Engine::shared(crate::Metering::Fuel, stack).unwrap();
        let (first, again, other) = (shared(64 << 10), shared(64 << 10), shared(72 << 10));
        assert!(same(&first, &again));
        assert!(!same(&first, &other));
        let gone = first.wasmtime().weak();
        drop((first, again));
        assert!(gone.upgrade().is_none());
    }
}
