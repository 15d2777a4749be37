//! `xtask test`: documentation tests, then the suite; the tests that need the kernel run as root.
//!
//! cargo-nextest runs the suite where it is installed, `cargo test` elsewhere. Tests whose path contains `kernel_` need
//! root and run one at a time, since they count what is attached before and after. For a user who is not root they run
//! through sudo, in a pass of their own.

use crate::process::{self, cargo, exists};
use skep_error::Result;
use std::process::Command;

/// What `xtask test` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the tests that need root
    #[arg(long)]
    no_kernel: bool,
}

/// One pass over the suite.
struct Pass {
    kernel: Kernel,
    sudo: bool,
}

/// Which tests a pass takes.
#[derive(Clone, Copy, PartialEq)]
enum Kernel {
    With,
    Without,
    Only,
}

/// Runs the tests; 1 if any failed.
pub(crate) fn run(args: &Args) -> Result<u8> {
    let nextest = exists("cargo", &["nextest"]);
    let root = is_root()?;
    // Neither nextest nor `--all-targets` runs the examples in the documentation.
    let mut good = process::status(cargo().args(["test", "--doc", "--workspace", "--locked", "--quiet"]))?.success();
    let pass = |kernel, sudo| Pass { kernel, sudo };
    let passes: Vec<Pass> = match (args.no_kernel, root, nextest) {
        (true, _, _) => vec![pass(Kernel::Without, false)],
        (false, true, true) => vec![pass(Kernel::With, false)],
        (false, _, _) => vec![pass(Kernel::Without, false), pass(Kernel::Only, !root)],
    };
    for pass in &passes {
        let mut command = if nextest { pass.nextest() } else { pass.cargo_test() };
        if pass.sudo {
            eprintln!("xtask test: the tests that need the kernel run as root; sudo may ask for a password");
            let runner = format!("CARGO_TARGET_{}_RUNNER", host_triple()?.to_uppercase().replace(['-', '.'], "_"));
            command.env(runner, "sudo --preserve-env");
        }
        good &= process::status(&mut command)?.success();
    }
    Ok(u8::from(!good))
}

impl Pass {
    fn nextest(&self) -> Command {
        let mut command = cargo();
        command.args(["nextest", "run", "--workspace", "--locked", "--no-tests", "pass"]);
        match self.kernel {
            Kernel::With => {}
            Kernel::Without => _ = command.args(["-E", "not test(/kernel_/)"]),
            Kernel::Only => _ = command.args(["-E", "test(/kernel_/)"]),
        }
        command
    }

    fn cargo_test(&self) -> Command {
        let mut command = cargo();
        command.args(["test", "--workspace", "--locked", "--all-targets", "--no-fail-fast", "--"]);
        match self.kernel {
            Kernel::With => {}
            Kernel::Without => _ = command.args(["--skip", "kernel_"]),
            Kernel::Only => _ = command.args(["kernel_", "--test-threads=1"]),
        }
        command
    }
}

fn is_root() -> Result<bool> {
    Ok(process::output(Command::new("id").arg("-u"))?.trim() == "0")
}

/// The name of this machine's target.
pub(crate) fn host_triple() -> Result<String> {
    let version = process::output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.unwrap_or("x86_64-unknown-linux-gnu").to_owned())
}
