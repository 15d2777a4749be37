//! Composition: what the command line asks for, wired from the kernel, the worlds, operators and sinks.
//!
//! - [`program`]: `skep run` for world `program`
//! - [`doctor`]: `skep doctor`
//! - `kernel`: the live kernel behind the traits of the sandbox
#![forbid(unsafe_code)]

pub mod doctor;
mod kernel;
pub mod program;

pub use kernel::LiveKernel;
