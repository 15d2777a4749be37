//! `skep-dev`: builds samples, test guests and the bench's programs. See `--help`.
#![forbid(unsafe_code)]

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use skep_dev::{
    bpf,
    catalogue::{Collection, Item},
};
use skep_error::{Kind, Result};

/// Builds eBPF objects, sample guests and native baselines.
#[derive(Parser)]
#[command(name = "skep-dev", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the samples in examples/ to `<name>.wasm` beside their sources
    Examples(Names),
    /// Build the guests of the tests
    Guests(Names),
    /// Build the guests and the native baselines of the bench
    Benches(Names),
    /// Compile one eBPF object
    Bpf {
        /// A `*.bpf.c`
        source: PathBuf,
        /// The ELF object to write
        object: PathBuf,
        /// Write its C skeleton too
        #[arg(long)]
        skeleton: Option<PathBuf>,
        /// Directories to find headers in
        #[arg(short = 'I')]
        includes: Vec<PathBuf>,
    },
}

#[derive(clap::Args)]
struct Names {
    /// What to build; everything by default
    names: Vec<String>,
    /// Skip what this machine has no tool chain for, and say so
    #[arg(long)]
    skip_missing: bool,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.report(60));
            ExitCode::from(error.kind().exit_code())
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Examples(names) => build(Collection::Examples.select(&names.names)?, names.skip_missing),
        Command::Guests(names) => build(Collection::TestGuests.select(&names.names)?, names.skip_missing),
        Command::Benches(names) => {
            // A guest and its baseline have one name: take what either collection knows.
            let mut items = Vec::new();
            for collection in [Collection::BenchGuests, Collection::Baselines] {
                items.extend(collection.items()?);
            }
            if let Some(unknown) = names.names.iter().find(|name| !items.iter().any(|item| item.name == **name)) {
                Collection::BenchGuests.select(std::slice::from_ref(unknown))?;
            }
            items.retain(|item| names.names.is_empty() || names.names.contains(&item.name));
            build(items, names.skip_missing)
        }
        Command::Bpf { source, object, skeleton, includes } => {
            bpf::compile(&source, &object, &includes)?;
            let name = source.file_name().map(|name| name.to_string_lossy().replace(".bpf.c", "")).unwrap_or_default();
            skeleton.map_or(Ok(()), |header| bpf::skeleton(&object, &name, &header))
        }
    }
}

/// Builds each in turn; a line for each says where it went and how large it is.
fn build(items: Vec<Item>, skip_missing: bool) -> Result<()> {
    for item in items {
        match item.toolchain().and_then(|()| item.build(&item.result)) {
            Ok(()) => {
                let size = std::fs::metadata(&item.result).map_or(0, |meta| meta.len());
                println!("{:<18} {:>8} B  {}", item.name, size, item.result.display());
            }
            Err(error) if skip_missing && error.kind() == Kind::Unsupported => {
                println!("{:<18}   skipped  {error}", item.name);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
