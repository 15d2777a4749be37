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

const ENVIRONMENT: &str = "\
Environment:
  SKEP_LOG        what is logged to standard error, in the place of what -v chooses:
                  a level (error, warn, info, debug, trace), or one for a part of
                  Skep, such as warn,skep_bpf=debug,libbpf=debug
  XDG_CACHE_HOME  where compiled modules are kept, in skep/modules; ~/.cache where it
                  is not set. For root it is always /var/cache
  NO_COLOR        if it is not empty, there are no colours

`skep help COMMAND` shows a command's options, examples and exit codes.";

/// Runs eBPF programs carried in WebAssembly.
#[derive(Debug, Parser)]
#[command(name = "skep", version, max_term_width = 100, after_help = ENVIRONMENT)]
struct Cli {
    /// Shows more: the whole of the verifier's log, and what Skep does. Twice: what libbpf says.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,

    #[command(subcommand)]
    command: Command,
}

/// Bytes of stack that a command has.
const STACK: usize = 8 << 20;

fn main() -> ExitCode {
    let cli = Cli::parse_from(guest_args::separate(&Cli::command(), std::env::args_os().collect()));
    console::start(cli.verbose);
    console::outlive_file_limits();
    // On a stack of its own size: guests run on it, whatever the limit is that this process was started with.
    let command = std::thread::Builder::new().stack_size(STACK).spawn(move || cli.command.run());
    let result = match command.map(std::thread::JoinHandle::join) {
        Ok(Ok(result)) => result,
        // The panic's own message says where.
        Ok(Err(_)) => Err(Error::new(Kind::Internal, "a defect of Skep: please report it with the lines above")),
        Err(error) => Err(Error::io(error).context("starting a thread")),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            console::show(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}
