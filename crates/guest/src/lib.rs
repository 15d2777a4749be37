//! SDK for Skep guests written in Rust.
//!
//! A guest is `no_std`-clean and needs no allocator: names are `&CStr`, records are slices, keys and values are types
//! of plain data ([`Plain`]).
//!
//! - [`program`]: world `program`, a WASI command that carries its eBPF: [`program::Object`] is loaded, its programs
//!   attached, its [`program::Map`]s read and its buffers polled; [`program::shared`] puts maps into this module's own
//!   memory
//! - [`hooks`]: world `hooks`, a plugin that filters, shapes or observes batches of records: [`plugin`] and [`Record`]
//! - [`Plain`] and [`record!`]: data whose every bit pattern is a value, as a kernel program writes it
//!
//! Build for `wasm32-wasip1` with `-C link-arg=--export-table`: the host calls back through the exported table.
#![no_std]

extern crate self as skep_guest;

pub mod hooks;
mod plain;
pub mod program;

pub use plain::Plain;
pub use skep_derive::{Record, plugin};

/// What a plugin without the standard library does when it panics: it traps, and the host replaces the instance.
#[cfg(all(target_arch = "wasm32", feature = "panic-handler"))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
