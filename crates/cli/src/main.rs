//! The command `skep`.
#![forbid(unsafe_code)]

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs eBPF programs carried in WebAssembly.
#[derive(Parser)]
#[command(name = "skep", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say what this kernel and this user can do, and what to do about the rest
    Doctor(commands::doctor::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Doctor(args) => commands::doctor::run(&args),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{}", error.report(20));
            ExitCode::from(error.kind().exit_code())
        }
    }
}
