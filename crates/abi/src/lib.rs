//! What the worlds of Skep say: names, signatures and layouts, each standing here once.
//!
//! The sandbox's linker, admission, the compiler, the SDKs and the docs read these tables; none repeats them.
//!
//! - [`World`]: the five ABIs, one row each
//! - [`Func`]: an imported or exported function and its type
//! - [`event_context`]: the 88-byte event of world `filter`
//! - [`program`]: the `wasm_bpf` host ABI and its shared-memory extension `skep_bpf`
#![no_std]
#![forbid(unsafe_code)]

pub mod event_context;
mod func;
pub mod program;
mod world;

pub use func::{Func, Sig, ValType};
pub use world::World;
