//! Composition: what the command line asks for, wired from the kernel, the worlds, operators and sinks.
//!
//! - [`program`]: `skep run` for world `program`
//! - `kernel`: the live kernel behind the traits of the sandbox
#![forbid(unsafe_code)]

mod kernel;
pub mod program;

pub use kernel::LiveKernel;
