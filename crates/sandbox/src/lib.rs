//! Wasm guests: where they run, what they may take, and what the host offers them.
//!
//! - [`Engine`], [`Module`], [`Cache`]: compiling, and keeping what was compiled
//! - [`Limits`], [`Stop`]: what a guest may take, and how it is asked to end
//! - [`GuestMemory`], [`SharedRegions`]: the only places that touch linear memory
//! - [`Output`], [`WasiOptions`]: standard streams, arguments, directories
//! - [`Log`]: what guests log, so many lines a second
//! - [`TrapKind`]: why a guest stopped in the middle
//! - [`worlds`]: what each ABI offers
//! - [`WasmRuntime`], [`WasmFilter`]: event filters, for programs that want nothing else
//!
//! This crate knows nothing of libbpf: a world that needs the kernel says so as a trait.
//!
//! `unsafe` stands in `memory::{fault, reservation, ring, shared}`, in `worlds::filter::slot` and the two calls of it, and in the one line that loads compiled code.
#![deny(unsafe_code)]

mod cache;
mod engine;
mod input;
mod limits;
mod log;
mod memory;
mod module;
mod output;
mod stop;
mod strings;
mod ticker;
mod trap;
mod wasi;
pub mod worlds;

/// The programs on the page about filters, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/src/filter.md")]
struct FilterPage;

pub use cache::Cache;
pub use engine::{Engine, Metering};
pub use limits::{Limiter, Limits, WASM_PAGE};
pub use log::{Log, LogLines};
pub use memory::{Fault, GuestMemory, PAGE, Placement, SharedRegions};
pub use module::Module;
pub use output::Output;
pub use skep_abi::event_context::EventContext;
pub use stop::{Reason, Stop};
pub use trap::TrapKind;
pub use wasi::{Preopen, Wasi, WasiOptions};
pub use worlds::filter::{FilterPolicy, OnTrap, WasmFilter, WasmRuntime};
