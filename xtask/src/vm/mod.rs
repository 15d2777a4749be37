//! `xtask vm`: Skep on the kernels that Debian ships, under qemu without hardware virtualisation.
//!
//! - [`kernel`]: fetches a kernel package, unpacks it, keeps it under `target/vm`
//! - [`image`]: an initramfs of busybox, `skep`, its libraries, the sample guests and the checks
//! - [`boot`]: runs it with the console in a file and a limit on its time, and reads the results
//! - [`checks`]: what is checked inside
//!
//! Nothing is installed and `/dev/kvm` is never used, so it runs in any container that has the packages.

mod boot;
mod checks;
mod image;
mod kernel;

use crate::process::{self, cargo};
use kernel::Kernel;
use skep_error::{Error, Kind, Result, did_you_mean};
use std::{path::PathBuf, time::Duration};

/// What `xtask vm` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kernel versions; all of them when none is given
    #[arg(value_name = "VERSION")]
    versions: Vec<String>,
    /// Only checks whose name contains this
    #[arg(last = true)]
    filter: Option<String>,
    /// Give up on a kernel after this many seconds
    #[arg(long, default_value_t = 300)]
    limit: u64,
    /// Use this skep instead of building one
    #[arg(long)]
    skep: Option<PathBuf>,
}

/// Runs the checks on each kernel; 1 if any failed.
pub(crate) fn run(args: &Args) -> Result<u8> {
    let kernels = chosen(&args.versions)?;
    let skep = match &args.skep {
        Some(path) => path.clone(),
        None => build()?,
    };
    let checks: Vec<checks::Check> =
        checks::all().into_iter().filter(|check| args.filter.as_ref().is_none_or(|f| check.name.contains(f))).collect();
    let mut failed = 0;
    for kernel in kernels {
        let image = kernel.fetch()?;
        let wanted: Vec<&checks::Check> = checks.iter().filter(|check| kernel.version >= check.since).collect();
        let initramfs = image::build(kernel, &skep, &wanted)?;
        let run = boot::run(kernel, &image, &initramfs, Duration::from_secs(args.limit))?;
        failed += run.report(kernel, &wanted);
    }
    Ok(u8::from(failed > 0))
}

fn chosen(versions: &[String]) -> Result<Vec<&'static Kernel>> {
    if versions.is_empty() {
        return Ok(Kernel::ALL.iter().collect());
    }
    versions
        .iter()
        .map(|wanted| {
            Kernel::ALL.iter().find(|kernel| kernel.name == wanted).ok_or_else(|| {
                Error::new(Kind::Usage, format!("no kernel {wanted}"))
                    .help(did_you_mean(wanted, Kernel::ALL.iter().map(|kernel| kernel.name)))
            })
        })
        .collect()
}

fn build() -> Result<PathBuf> {
    process::succeed(cargo().args(["build", "--locked", "--workspace", "--bin", "skep", "--bin", "suite"]))?;
    Ok(process::target().join("debug/skep"))
}
