//! Composition: what the command line asks for, wired from the kernel, the worlds, operators and sinks.
//!
//! - [`program`]: `skep run` for world `program`
//! - [`doctor`]: `skep doctor`
//! - [`profile`]: `skep profile`, `trace`, `record` and `replay`
//! - [`syscalls`]: names and numbers of this architecture's system calls
//! - `kernel`: the live kernel behind the traits of the sandbox
#![forbid(unsafe_code)]

pub mod doctor;
mod kernel;
pub mod profile;
pub mod program;
pub mod syscalls;

pub use kernel::LiveKernel;
