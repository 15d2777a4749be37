//! The engine: wasmtime with the settings that every world shares.

use std::sync::Arc;

use skep_error::{Error, Kind, Result};
use wasmtime::{Config, OptLevel};

use crate::memory::AlignedMemories;

/// How the running time of guest code is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metering {
    /// By time: another thread advances the epoch. Costs a load and a compare for each loop and call.
    Epoch,
    /// By work: each instruction takes fuel; and by time as well.
    Fuel,
}

/// Bytes of stack that a guest's calls may take.
const STACK: usize = 512 << 10;

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
            .epoch_interruption(true)
            .consume_fuel(metering == Metering::Fuel)
            .max_wasm_stack(stack)
            .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(16))
            .wasm_memory64(false)
            // For the host's own instances; `Module::load` gives a guest one memory.
            .wasm_multi_memory(true)
            // Images of initial memory need memories of wasmtime's own making.
            .memory_init_cow(false)
            .with_host_memory(Arc::new(AlignedMemories));
        crate::memory::install_fault_handler();
        let inner = wasmtime::Engine::new(&config)
            .map_err(|error| Error::new(Kind::Internal, format!("{error:#}")).context("starting the Wasm engine"))?;
        Ok(Self { inner, metering })
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
