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

use clap::{
    CommandFactory as _, Parser,
    error::{ContextKind, ContextValue},
};

use commands::Command;
use skep_error::{Error, Kind, Result, nearest};

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
    // On a stack of its own size: guests run on it, whatever the limit is that this process was started with.
    let command = std::thread::Builder::new().stack_size(STACK).spawn(run);
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

fn run() -> Result<u8> {
    let args = guest_args::separate(&Cli::command(), std::env::args_os().collect());
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return explain(&with_near_command(error)),
    };
    console::start(cli.verbose);
    console::outlive_file_limits();
    cli.command.run()
}

/// Prints the help that was asked for, or why a command line cannot be meant.
fn explain(error: &clap::Error) -> Result<u8> {
    match error.print() {
        Err(io) if !error.use_stderr() && io.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io(io).context("writing to standard output"))
        }
        _ => Ok(error.exit_code() as u8),
    }
}

/// Names the command that was meant also where clap sees no likeness, as in `rnu`.
fn with_near_command(mut error: clap::Error) -> clap::Error {
    if error.get(ContextKind::SuggestedSubcommand).is_none()
        && let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidSubcommand)
    {
        let cli = Cli::command();
        let words: Vec<_> = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
        let parent = words.iter().fold(&cli, |command, word| command.find_subcommand(word).unwrap_or(command));
        if let Some(near) = nearest(given, parent.get_subcommands().map(clap::Command::get_name)) {
            let near = ContextValue::Strings(vec![near.to_owned()]);
            error.insert(ContextKind::SuggestedSubcommand, near);
        }
    }
    error
}
