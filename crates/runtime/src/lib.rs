//! Composition: what the command line asks for, wired from the kernel, the worlds, operators and sinks.
//!
//! - [`program`]: `skep run` for world `program`
//! - [`doctor`]: `skep doctor`
//! - [`profile`]: `skep profile`, `trace`, `record` and `replay`
//! - [`syscalls`]: names and numbers of this architecture's system calls
//! - [`kernel_fit`]: whether a module can be placed in the kernel, for `skep inspect`
//! - `policy`: a module that is about to run, under a policy's file
//! - `kernel`: the live kernel behind the traits of the sandbox
#![forbid(unsafe_code)]

pub mod doctor;
mod kernel;
pub mod kernel_fit;
mod policy;
pub mod profile;
pub mod program;
pub mod syscalls;

pub use kernel::LiveKernel;
