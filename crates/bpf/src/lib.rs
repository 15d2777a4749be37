//! eBPF objects on the live kernel, over libbpf.
//!
//! - [`Object`]: open → load → attach; detached and closed when dropped
//! - [`Target`]: where a program is attached
//! - [`Map`], [`MapInfo`]: lookups and updates, one system call each
//! - [`Buffer`]: records of a ring or perf buffer, every one of them
//! - [`probe`]: what this kernel and this user can do
//! - [`Collector`], [`CollectorSource`]: samples, lock waits and system calls as a source of a flow
//! - [`Symbols`]: from addresses to names
//! - `arena`: arenas at an address of the caller's choice
//! - `drops`: counts what a full ring buffer refuses, by instructions added before the load
//! - `privilege`: the capabilities that the kernel asks for
//! - `diagnostics`, `explain`: from libbpf's messages to an error that says what to do
//!
//! ```text
//!  ELF bytes ──▶ Object::load ──▶ Object ──attach──▶ (held by descriptors alone: gone with the process)
//!                                   │
//!                                   ├─ map(name) ──▶ Map ── lookup, update, delete, next_key
//!                                   └─ buffer(map) ─▶ Buffer ── poll(closure)
//! ```
//!
//! `unsafe` stands in `sys`, `buffer::ring`, `buffer::perf`, `probe::sys`, `tracefs` and `kernel_wasm::loaded`.
#![deny(unsafe_code)]

mod arena;
mod attach;
mod buffer;
mod collect;
mod diagnostics;
mod drops;
mod explain;
pub mod kernel_wasm;
mod map;
mod near;
mod object;
mod privilege;
pub mod probe;
mod symbols;
#[allow(unsafe_code)]
mod sys;
mod tracefs;

pub use arena::Globals;
pub use attach::Target;
pub use buffer::{Buffer, Polled, possible_cpus, wait, wait_for_records};
pub use collect::{Collector, CollectorOptions, CollectorSource, Sums};
pub use libbpf_rs::{Iter, MapType, ProgramType};
pub use map::{Map, MapInfo};
pub use object::{LeftOut, LoadOptions, Object};
pub use symbols::Symbols;
pub use sys::Errno;
