//! The command `skep`: arguments in, messages and an exit code out.
//!
//! - [`commands`]: one file a command, one row in the table below
//! - [`guest_args`]: what follows the file of a `run` is the guest's
//! - [`console`]: what goes to standard error, and how signals end a run
#![forbid(unsafe_code)]

mod commands;
mod console;
mod guest_args;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};

use commands::Command;
use skep_error::{Error, Kind};

/// Runs eBPF programs carried in WebAssembly.
#[derive(Debug, Parser)]
#[command(name = "skep", version, max_term_width = 100, after_help = "`skep help COMMAND` shows examples.")]
struct Cli {
    /// Shows more: the whole of the verifier's log, and what Skep does. Twice: what libbpf says.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,

    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let cli = Cli::parse_from(guest_args::separate(&Cli::command(), std::env::args_os().collect()));
    console::start(cli.verbose);
    // The panic's own message says where.
    let internal = |_| Err(Error::new(Kind::Internal, "a defect of Skep: please report it with the lines above"));
    match std::panic::catch_unwind(|| cli.command.run()).unwrap_or_else(internal) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            console::show(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}
