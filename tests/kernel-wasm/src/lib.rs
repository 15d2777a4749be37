//! Proof that compiled modules do in the kernel what the specification says.
#![forbid(unsafe_code)]

pub mod document;
pub mod figure;
pub mod generated;
pub mod hostile;
pub mod programs;
#[cfg(feature = "wasmtime")]
pub mod random;
pub mod suite;
