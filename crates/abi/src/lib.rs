//! What the worlds of Skep say: names, signatures and layouts, each standing here once.
//!
//! The sandbox's linker, admission, the compiler, the SDKs and the docs read these tables; none repeats them.
//!
//! - [`World`]: the five ABIs, one row each
//! - [`Func`]: an imported or exported function and its type
//! - [`Surface`]: what a world's modules import and export, as data; [`Capability`]: what an import allows
//! - [`filter`], [`hooks`], [`operator`], [`packet`]: the other worlds, a room each; [`wasi`]: what two of them add
//! - [`event_context`]: the 88-byte event of world `filter`
//! - [`layout`]: descriptions and fingerprints of what passes between host and guest
//! - [`program`]: the `wasm_bpf` host ABI and its shared-memory extension `skep_bpf`
#![no_std]
#![forbid(unsafe_code)]

extern crate self as skep_abi;

mod blake3;

mod capability;
pub mod event_context;
pub mod filter;
mod func;
pub mod hooks;
pub mod layout;
pub mod operator;
pub mod packet;
pub mod program;
/// What a world's modules import and export, as data.
pub mod surface;
pub mod wasi;
mod world;

pub use capability::{CAPABILITIES, Capability};
pub use func::{Func, Sig, ValType, write_signature};
pub use surface::{Form, Marker, Surface};
pub use world::World;
