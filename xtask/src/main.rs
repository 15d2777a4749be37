//! Developer commands, run as `cargo run -p xtask -- <command>`; the Makefile's targets call them.
//!
//! - [`mod@test`]: the whole test suite, the kernel's tests as root
//! - [`mod@bench`]: Skep beside native programs, in one run
//! - [`fuzz`]: a fuzz target, guided by coverage, for a minute
//! - [`docs`]: what the documentation says, checked against the code and the binary
//! - [`vm`]: the kernel checks on older kernels under qemu
#![forbid(unsafe_code)]

mod bench;
mod docs;
mod fuzz;
mod process;
mod test;
mod vm;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Developer commands of Skep.
#[derive(Parser)]
#[command(name = "xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every test; those that need the kernel run as root
    Test(test::Args),
    /// Run the kernel checks on older kernels under qemu, without hardware virtualisation
    Vm(vm::Args),
    /// Measure Skep beside native programs, in one run
    Bench(bench::Args),
    /// Run a fuzz target, guided by coverage
    Fuzz(fuzz::Args),
    /// Check the documentation against the code and the binary
    #[command(subcommand)]
    Docs(docs::Command),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Test(args) => test::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Docs(command) => docs::run(&command),
        Command::Vm(args) => vm::run(&args),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{}", error.report(30));
            ExitCode::from(error.kind().exit_code())
        }
    }
}
