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
    console::print(&page_of(page)?)?;
    Ok(0)
}

/// The page of a command, in the language of man.
fn page_of(command: clap::Command) -> Result<String> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    // Title, section, date, source, manual: the generator leaves out the date, and all after it moves up by one.
    let header = format!(r#".TH {name} 1 "" "skep {}" "Skep manual""#, env!("CARGO_PKG_VERSION"));
    let mut text = Vec::new();
    clap_mangen::Man::new(command).render(&mut text).context(|| "making the manual page")?;
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().map(|line| if line.starts_with(".TH ") { &header } else { line });
    Ok(with_sections(&lines.collect::<Vec<_>>().join("\n")) + "\n")
}

/// Sections that man pages have, where the generator knows but one for all that follows the options.
fn with_sections(page: &str) -> String {
    let (options, extra) = page.split_once("\n.SH EXTRA\n").unwrap_or((page, ""));
    let (extra, version) = extra.split_once("\n.SH VERSION\n").unwrap_or((extra, ""));
    let mut text = options.to_owned();
    for paragraph in extra.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        let (title, body) = match paragraph.split_once(":\n") {
            Some(("Examples" | "Example", lines)) => ("EXAMPLES", lines),
            Some(("Environment", lines)) => ("ENVIRONMENT", lines),
            _ => match paragraph.split_once("Exit status: ") {
                Some(("", lines)) => ("EXIT STATUS", lines),
                _ => ("NOTES", paragraph),
            },
        };
        // Lines stay as they are: columns would be lost.
        text.push_str(&format!("\n.SH {title}\n.nf\n{}\n.fi", body.trim_end()));
    }
    if version.is_empty() { text } else { format!("{text}\n.SH VERSION\n{version}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_options() {
        let mut skep = Cli::command();
        skep.build();
        for command in skep.get_subcommands().filter(|command| command.get_name() != "help") {
            let text = page_of(command.clone()).unwrap().replace("\\-", "-");
            for option in command.get_opts().filter_map(clap::Arg::get_long) {
                assert!(text.contains(&format!("--{option}")), "{}: {option}", command.get_name());
            }
        }
    }
}
