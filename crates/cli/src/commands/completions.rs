//! `skep completions` and `skep man`: both are made from the same table as the help.

use clap::CommandFactory as _;
use skep_error::{Result, ResultExt as _};

use crate::Cli;

/// Arguments of `skep completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

/// Arguments of `skep man`.
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {}

pub(crate) fn run(args: &Args) -> Result<u8> {
    clap_complete::generate(args.shell, &mut Cli::command(), "skep", &mut std::io::stdout());
    Ok(0)
}

pub(crate) fn man(_: &ManArgs) -> Result<u8> {
    clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout()).context(|| "printing the manual page")?;
    Ok(0)
}
