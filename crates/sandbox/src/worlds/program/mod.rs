//! World `program`: the guest is a WASI command that loads, attaches and polls the eBPF it carries.
//!
//! - `kernel`: what is needed of the kernel, as traits
//! - `host`: the state behind the imports: objects, map handles, losses
//! - `link`: gives each import its function, in the form in which the module declares it
//! - `delivery`: the loop over a ring buffer's records, itself in WebAssembly
//! - `objects`, `maps`, `poll`, `shared`: the functions
//!
//! ```text
//! run ─▶ instantiate ─▶ _start ──▶ load ─▶ attach ─▶ poll ─▶ callback … ─▶ exit status
//!                                                      ▲
//!                        Stop (Ctrl-C, --timeout) ─────┘ ends a wait with EINTR; after a grace, the guest
//! ```

mod delivery;
mod host;
mod kernel;
mod link;
mod maps;
mod objects;
mod poll;
mod shared;

pub use kernel::{Buffer, Kernel, Map, MapInfo, Object, Polled, Target, Values};

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd},
    io::Errno,
};
use skep_error::{Error, Kind, Result, ResultExt as _};
use wasmtime::{Linker, Store, StoreContextMut, Trap, UpdateDeadline, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::{
    Cache, Engine, Limits, Module,
    limits::Limiter,
    memory::take_diverted,
    output::Output,
    stop::Stop,
    trap,
    wasi::{self, Ended, Wasi, WasiOptions},
};
use host::{Host, State};

/// How a program is run.
pub struct Options {
    /// What it gets of the outside.
    pub wasi: WasiOptions,
    /// What it may take.
    pub limits: Limits,
    /// Where the compiled form of what the host itself runs as Wasm is kept.
    pub cache: Option<Cache>,
    /// Where its standard output goes.
    pub stdout: Output,
    /// Where its standard error goes.
    pub stderr: Output,
    /// Asks it to end.
    pub stop: Stop,
    /// Shown each error that the guest itself only sees as a number.
    pub report: Box<dyn FnMut(&Error) + Send>,
    /// Called from another thread when the guest hangs in a call of the host's, such as writing to a full pipe, after
    /// it was asked to end. It should end the process.
    pub on_stuck: Box<dyn FnOnce() + Send>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The guest's exit status.
    pub status: i32,
    /// What the kernel dropped.
    pub losses: Losses,
}

/// Records that were made for the guest and did not reach it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Refused by full ring buffers.
    pub ring: u64,
    /// Overwritten in full perf buffers.
    pub perf: u64,
    /// Still in the object's perf buffers, or in ring buffers that the guest had polled, when it ended or closed the object.
    pub unread: u64,
}

impl Losses {
    /// All of them.
    pub fn total(self) -> u64 {
        self.ring + self.perf + self.unread
    }
}

/// How long a line may wait to be seen while the guest computes.
const LINE_DELAY: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// How long a guest may go on after it was asked to end, and then how long a call of the host's may.
const GRACE: Duration = Duration::from_secs(1);

/// Runs a guest to its end. Whatever it has loaded and attached is gone when this returns.
///
/// # Errors
/// `BadInput` for a module that is none of this world; `Trap` for a guest that traps; `TimedOut` or `Interrupted` for
/// one that was asked to end and did not. The losses of a run that ends in an error are in the second value.
pub fn run(
    engine: &Engine,
    module: &Module,
    kernel: Box<dyn Kernel + Send>,
    options: Options,
) -> (Result<i32>, Losses) {
    let Options { wasi, limits, cache, stdout, stderr, stop, report, on_stuck } = options;
    let started = Wasi::new(&wasi, stdout.clone(), stderr, &stop).and_then(|wasi| {
        let host = Host::new(engine, cache, kernel, stop.clone(), report);
        let mut store = Store::new(engine.wasmtime(), State { wasi, limiter: Limiter::new(limits), host });
        store.limiter(|state| &mut state.limiter);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(ends_at_epoch(&stop));
        let watch = Watch::start(engine, &stop, stdout.clone(), on_stuck)?;
        Ok((store, watch, wasi::runtime()?))
    });
    let (mut store, watch, runtime) = match started {
        Ok(started) => started,
        Err(error) => return (Err(error), Losses::default()),
    };
    let entered = runtime.enter();
    let mut result = start(engine, module, &mut store, &stop);
    drop(entered);
    // The last thing that it did may have been a store where it may only read, after which no loop and no call has come.
    if take_diverted() {
        result = Err(trap::explain(&wasmtime::Error::new(Trap::MemoryOutOfBounds), &stop));
    }
    if let Ok(status) = &result {
        tracing::info!("the guest ended with status {status}");
    }
    // What is attached leaves before anybody waits for a reader of the output.
    let losses = store.data_mut().host.close_all();
    let _ = stdout.flush();
    drop(watch);
    drop(store);
    runtime.shutdown_background();
    let result = match (result, stdout.failure()) {
        // A guest that has failed may have failed of this, and has its own way to say so.
        (Ok(0), Some(error)) => Err(Error::io(error).context("writing what the guest printed")),
        (result, _) => result,
    };
    (result, losses)
}

fn start(engine: &Engine, module: &Module, store: &mut Store<State>, stop: &Stop) -> Result<i32> {
    let mut linker = Linker::new(engine.wasmtime());
    wasi::add_to_linker(&mut linker, &mut *store)?;
    link::define_imports(&mut linker, module.wasmtime())?;
    let instance = match linker.instantiate(&mut *store, module.wasmtime()) {
        Ok(instance) => instance,
        Err(error) => {
            // A start function may end the guest before its entry is called.
            if let Some(exit) = error.downcast_ref::<I32Exit>() {
                return Ok(exit.0);
            }
            let error = match store.data().limiter.explain() {
                Some(refused) => refused,
                // Nothing of the guest's has run: it is the host that has no memory for it.
                None if error.downcast_ref::<Trap>().is_none() && error.downcast_ref::<WasmBacktrace>().is_none() => {
                    Error::new(Kind::Io, error.root_cause().to_string())
                        .help("the address space of this process may be limited: ulimit -v")
                }
                None => ended_or_trapped(&error, stop),
            };
            return Err(error.context("instantiating the module"));
        }
    };
    let entry = instance.get_typed_func::<(), ()>(&mut *store, "_start").map_err(|_| {
        Error::new(Kind::BadInput, "the module exports no function _start of type () -> ()")
            .help("world program runs WASI commands: build an executable, not a library")
    })?;
    match entry.call(&mut *store, ()) {
        Ok(()) => Ok(0),
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(exit) => Ok(exit.0),
            None => Err(ended_or_trapped(&error, stop)),
        },
    }
}

fn ended_or_trapped(error: &wasmtime::Error, stop: &Stop) -> Error {
    match error.downcast_ref::<Ended>() {
        Some(_) => trap::ended(stop.requested().unwrap_or(crate::stop::Reason::Interrupted)),
        None => trap::explain(error, stop),
    }
}

/// What happens when the epoch advances: another guest's end must not be this one's.
fn ends_at_epoch(
    stop: &Stop,
) -> impl FnMut(StoreContextMut<'_, State>) -> wasmtime::Result<UpdateDeadline> + Send + Sync + use<> {
    let stop = stop.clone();
    move |_| match (take_diverted(), stop.requested()) {
        (true, _) => Err(wasmtime::Error::new(Trap::MemoryOutOfBounds)),
        (false, Some(_)) => Err(wasmtime::Error::new(Trap::Interrupt)),
        (false, None) => Ok(UpdateDeadline::Continue(1)),
    }
}

/// A thread that sees to it that a guest ends once it was asked to, and that what it prints is seen meanwhile.
struct Watch {
    done: std::sync::Arc<rustix::fd::OwnedFd>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watch {
    fn start(engine: &Engine, stop: &Stop, stdout: Output, on_stuck: Box<dyn FnOnce() + Send>) -> Result<Self> {
        let done = eventfd(0, EventfdFlags::CLOEXEC).map_err(std::io::Error::from).context(|| "starting the watch")?;
        let done = std::sync::Arc::new(done);
        let (engine, stop, over) = (engine.wasmtime().clone(), stop.clone(), done.clone());
        let watch = move || {
            let mut both = [PollFd::new(&stop, PollFlags::IN), PollFd::new(&*over, PollFlags::IN)];
            while !matches!(rustix::event::poll(&mut both, Some(&LINE_DELAY)), Ok(1..)) {
                stdout.flush_ready();
            }
            if is_over(&over, GRACE) {
                return;
            }
            // It computes, or goes on calling: the next loop or call traps.
            engine.increment_epoch();
            if !is_over(&over, GRACE) {
                on_stuck();
            }
        };
        let thread = thread::Builder::new().name("skep-watch".to_owned()).spawn(watch);
        Ok(Self { done, thread: Some(thread.context(|| "starting the watch")?) })
    }
}

/// Whether `over` becomes readable within `time`.
fn is_over(over: &rustix::fd::OwnedFd, time: Duration) -> bool {
    let deadline = Instant::now() + time;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match rustix::event::poll(&mut [PollFd::new(over, PollFlags::IN)], Some(&timeout)) {
            Err(Errno::INTR) => {}
            ready => return matches!(ready, Ok(1)),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = rustix::io::write(&*self.done, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
