//! `xtask bench`: Skep beside native programs that do the same, in one run.
//!
//! - [`worker`]: a program that does so much work when it is told to, and says how long it took
//! - [`cases`]: what is measured; each case takes both sides in turn, so that a noisy machine disturbs both alike
//! - [`kernel`]: WebAssembly in the kernel
//! - [`plugins`]: the cases of admission and of plugins
//! - [`profile`]: the cases of profiling and filters
//! - [`report`]: medians, ratios and bars, printed and written to `benches/RESULTS.md`

mod cases;
mod kernel;
mod plugins;
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
    /// Take the guests and the baselines as they were built last
    #[arg(long)]
    no_build: bool,
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
    if let Some(code) = with_tracefs()? {
        return Ok(code);
    }
    if !args.no_build {
        let build = ["run", "--quiet", "--locked", "-p", "skep-dev", "--", "benches", "--skip-missing"];
        process::succeed(cargo().args(build))?;
    }
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

/// The native baselines attach to tracepoints through tracefs. Where it is not mounted, this runs itself again in a mount
/// namespace in which it is, and gives that run's exit code.
fn with_tracefs() -> Result<Option<u8>> {
    const MOUNT: &str = "mount -t tracefs tracefs /sys/kernel/tracing && exec \"$0\" \"$@\"";
    const TRIED: &str = "SKEP_BENCH_TRACEFS";
    if Path::new("/sys/kernel/tracing/events").exists() {
        return Ok(None);
    }
    if std::env::var_os(TRIED).is_some() {
        return Err(Error::new(Kind::Unsupported, "tracefs is not mounted and cannot be").help("run it as root"));
    }
    let own = std::env::current_exe().map_err(|error| Error::io(error).context("finding this program"))?;
    let mut again = std::process::Command::new("unshare");
    again.args(["--mount", "sh", "-c", MOUNT]).arg(own).args(std::env::args_os().skip(1)).env(TRIED, "yes");
    let status = process::status(&mut again)?;
    Ok(Some(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| Error::io(error).context(format!("writing {}", path.display())))
}
