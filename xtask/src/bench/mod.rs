//! `xtask bench`: Skep beside native programs that do the same, in one run.
//!
//! - [`worker`]: a program that does so much work when it is told to, and says how long it took
//! - [`cases`]: what is measured; each case takes both sides in turn, so that a noisy machine disturbs both alike
//! - [`profile`]: the cases of profiling and filters
//! - [`report`]: medians, ratios and bars, printed and written to `benches/RESULTS.md`

mod cases;
mod profile;
mod report;
mod worker;

use crate::process::{self, cargo, root, target};
use report::Row;
use skep_error::{Error, Kind, Result};
use std::path::{Path, PathBuf};

/// What `xtask bench` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only cases whose name contains this
    filter: Option<String>,
    /// Rounds of each case
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Use this skep; it should be a release build
    #[arg(long)]
    skep: Option<PathBuf>,
    /// Print only, and leave benches/RESULTS.md as it is
    #[arg(long)]
    print: bool,
}

/// Where the programs are.
struct Programs {
    skep: PathBuf,
    rounds: usize,
}

impl Programs {
    /// A guest of the bench, run by skep.
    fn guest(&self, path: &str) -> std::process::Command {
        let mut command = std::process::Command::new(&self.skep);
        command.arg("run").arg(root().join(path));
        command
    }

    /// A native baseline.
    fn native(&self, name: &str) -> std::process::Command {
        std::process::Command::new(self.native_path(name))
    }

    fn native_path(&self, name: &str) -> PathBuf {
        target().join("dev/native").join(name)
    }
}

/// Measures; 1 if a bar was missed.
pub(crate) fn run(args: &Args) -> Result<u8> {
    let skep = args.skep.clone().unwrap_or_else(|| target().join("release/skep"));
    if !skep.is_file() {
        return Err(Error::new(Kind::NotFound, format!("there is no {}", skep.display())).help("make build"));
    }
    process::succeed(cargo().args([
        "run",
        "--quiet",
        "--locked",
        "-p",
        "skep-dev",
        "--",
        "benches",
        "--skip-missing",
    ]))?;
    let programs = Programs { skep, rounds: args.rounds.max(3) };
    let mut rows: Vec<Row> = Vec::new();
    for (name, case) in cases::CASES {
        if args.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str())) {
            eprintln!("bench: {name}");
            rows.extend(case(&programs)?);
        }
    }
    let text = report::markdown(&rows, programs.rounds);
    println!("{text}");
    if !args.print && args.filter.is_none() {
        write(&root().join("benches/RESULTS.md"), &text)?;
    }
    Ok(u8::from(rows.iter().any(Row::missed)))
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| Error::io(error).context(format!("writing {}", path.display())))
}
