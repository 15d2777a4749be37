//! SDK for Skep guests written in Rust.
//!
//! A guest is `no_std`-clean and needs no allocator: names are `&CStr`, records are slices, keys and values are types
//! of plain data ([`Plain`]).
//!
//! - [`program`]: world `program`, a WASI command that carries its eBPF: [`program::Object`] is loaded, its programs
//!   attached, its [`program::Map`]s read and its buffers polled; [`program::shared`] puts maps into this module's own
//!   memory
//! - [`Plain`] and [`record!`]: data whose every bit pattern is a value, as a kernel program writes it
//!
//! Build for `wasm32-wasip1` with `-C link-arg=--export-table`: the host calls back through the exported table.
#![no_std]

mod plain;
pub mod program;

pub use plain::Plain;
