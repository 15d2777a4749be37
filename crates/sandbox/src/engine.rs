//! The engine: wasmtime with the settings that every world shares.

use std::sync::{Arc, Mutex, PoisonError};

use skep_error::{Error, Kind, Result};
use wasmtime::{Config, OptLevel};

use crate::{memory::AlignedMemories, ticker::Ticker};

/// How the running time of guest code is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metering {
    /// By time: another thread advances the epoch. Costs a load and a compare for each loop and call.
    Epoch,
    /// By work: each instruction takes fuel; and by time as well.
    Fuel,
    /// By work alone: for guests that are called once an event, where a look at the epoch shows. Their memories are
    /// wasmtime's own, and never move.
    FuelAlone,
}

impl Metering {
    const fn by_time(self) -> bool {
        matches!(self, Self::Epoch | Self::Fuel)
    }

    const fn by_work(self) -> bool {
        matches!(self, Self::Fuel | Self::FuelAlone)
    }
}

/// Bytes of stack that a guest's calls may take.
const STACK: usize = 512 << 10;

/// The engines that are shared, by their settings.
static SHARED: Mutex<Vec<((Metering, usize), wasmtime::EngineWeak)>> = Mutex::new(Vec::new());

/// A compiler and the code it has made; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: wasmtime::Engine,
    metering: Metering,
}

impl Engine {
    /// An engine of those settings.
    ///
    /// # Errors
    /// `Internal` when this machine cannot run it.
    pub fn new(metering: Metering) -> Result<Self> {
        Self::with_stack(metering, STACK)
    }

    /// An engine whose guests' calls may take `stack` bytes of stack.
    ///
    /// # Errors
    /// `Internal` when this machine cannot run it, or the stack is larger than the host's own.
    pub fn with_stack(metering: Metering, stack: usize) -> Result<Self> {
        let mut config = Config::new();
        config
            .cranelift_opt_level(OptLevel::Speed)
            .epoch_interruption(metering.by_time())
            .consume_fuel(metering.by_work())
            .max_wasm_stack(stack)
            .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(16))
            .wasm_memory64(false)
            // For the host's own instances; `Module::load` gives a guest one memory.
            .wasm_multi_memory(true);
        if metering == Metering::FuelAlone {
            // Pointers into the memory are kept from call to call.
            config.memory_may_move(false);
        } else {
            // Images of initial memory need memories of wasmtime's own making.
            config.memory_init_cow(false).with_host_memory(Arc::new(AlignedMemories));
            crate::memory::install_fault_handler();
        }
        let inner = wasmtime::Engine::new(&config)
            .map_err(|error| Error::new(Kind::Internal, format!("{error:#}")).context("starting the Wasm engine"))?;
        Ok(Self { inner, metering })
    }

    /// The process's own engine of those settings: made when it is first asked for, shared as long as anybody has it. Its
    /// epoch is advanced while a guest is called under `Ticker::running`, so every store of it needs a deadline.
    ///
    /// # Errors
    /// As [`Self::with_stack`]; `Io` where the process can have no thread more.
    pub fn shared(metering: Metering, stack: usize) -> Result<Self> {
        let mut engines = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        engines.retain(|(_, engine)| engine.upgrade().is_some());
        let known = engines.iter().find(|(settings, _)| *settings == (metering, stack));
        if let Some(inner) = known.and_then(|(_, engine)| engine.upgrade()) {
            return Ok(Self { inner, metering });
        }
        let engine = Self::with_stack(metering, stack)?;
        Ticker::watch(&engine.inner)?;
        engines.push(((metering, stack), engine.inner.weak()));
        Ok(engine)
    }

    /// The engine below.
    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.inner
    }

    /// How running time is bounded.
    pub fn metering(&self) -> Metering {
        self.metering
    }
}
