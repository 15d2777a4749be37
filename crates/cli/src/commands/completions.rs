//! `skep completions` and `skep man`: both are made from the same table as the help.

use clap::CommandFactory as _;
use skep_error::{Error, Kind, Result, ResultExt as _, did_you_mean};

use crate::{Cli, console};

/// Arguments of `skep completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

/// Arguments of `skep man`.
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// The page of a command, such as run; without it, the page of skep
    command: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<u8> {
    // Into memory first: the generator takes a failing writer for a defect.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "skep", &mut script);
    console::print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}

pub(crate) fn man(args: &ManArgs) -> Result<u8> {
    let mut skep = Cli::command();
    // Gives each command the options that all share, and its full name.
    skep.build();
    let page = match &args.command {
        None => skep,
        Some(name) => {
            let names = || skep.get_subcommands().map(clap::Command::get_name).filter(|name| *name != "help");
            let found = skep.find_subcommand(name).cloned().ok_or_else(|| {
                Error::new(Kind::Usage, format!("there is no command {name}"))
                    .help(did_you_mean(name, names().collect::<Vec<_>>()))
            })?;
            // As man looks for it: skep-run(1).
            found.display_name(format!("skep-{name}"))
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text).context(|| "making the manual page")?;
    // The generator has its own name for what follows the options; here these are examples.
    console::print(&String::from_utf8_lossy(&text).replace("\n.SH EXTRA\n", "\n.SH EXAMPLES\n"))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_options() {
        let mut skep = Cli::command();
        skep.build();
        for command in skep.get_subcommands().filter(|command| command.get_name() != "help") {
            let mut text = Vec::new();
            clap_mangen::Man::new(command.clone()).render(&mut text).unwrap();
            let text = String::from_utf8(text).unwrap().replace("\\-", "-");
            for option in command.get_opts().filter_map(clap::Arg::get_long) {
                assert!(text.contains(&format!("--{option}")), "{}: {option}", command.get_name());
            }
        }
    }
}
