//! What a guest may take: memory, table entries.

use skep_error::{Error, Kind};
use wasmtime::ResourceLimiter;

/// Bytes of a Wasm page.
pub const WASM_PAGE: usize = 64 << 10;

/// What one instance may take at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory.
    pub memory: usize,
    /// Entries of a table.
    pub table: usize,
}

impl Default for Limits {
    /// 1 GiB of memory and 1,000,000 table entries.
    fn default() -> Self {
        Self { memory: 1 << 30, table: 1_000_000 }
    }
}

/// What was asked for in vain, and what to do about it.
#[derive(Debug)]
struct Refused {
    message: String,
    help: &'static str,
}

/// Enforces [`Limits`], and remembers what it refused so that the trap that follows can be explained.
#[derive(Debug)]
pub struct Limiter {
    limits: Limits,
    refused: Option<Refused>,
    /// The host makes an instance or grows a memory of its own.
    lifted: bool,
}

impl Limiter {
    /// A limiter that has refused nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, refused: None, lifted: false }
    }

    /// Lifts the limits, or enforces them again: what the host makes in a guest's store for itself is not the guest's.
    pub(crate) fn set_lifted(&mut self, lifted: bool) {
        self.lifted = lifted;
    }

    /// From now on that many bytes of linear memory.
    pub(crate) fn set_memory(&mut self, bytes: usize) {
        self.limits.memory = bytes;
    }

    /// What was refused last, in words.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_ref().map(|refused| refused.message.as_str())
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let granted = self.lifted || desired <= self.limits.memory;
        if !granted {
            let message = format!("{desired} bytes of memory were asked for, {} are allowed", self.limits.memory);
            let help = "raise the limit with --max-memory, or build the guest for less";
            self.refused = Some(Refused { message, help });
        }
        Ok(granted)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let granted = self.lifted || desired <= self.limits.table;
        if !granted {
            let message = format!("a table of {desired} entries was asked for, {} are allowed", self.limits.table);
            self.refused = Some(Refused { message, help: "build the guest with a smaller table" });
        }
        Ok(granted)
    }
}

impl Limiter {
    /// The error for an instance that could not be made within the limits.
    pub(crate) fn explain(&self) -> Option<Error> {
        let Refused { message, help } = self.refused.as_ref()?;
        Some(Error::new(Kind::Refused, message).help(*help))
    }
}
