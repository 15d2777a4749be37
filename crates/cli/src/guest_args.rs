//! `skep run FILE -h`: what follows the file is the guest's, also when it looks like an option of ours.
//!
//! clap takes options wherever they stand, so a `--` is put behind the file before clap sees the command line. One that stands
//! there already is not the guest's; a second one is.

use std::ffi::OsString;

use clap::{Arg, Command};

/// The command line with one `--` before the guest's arguments, and none among ours.
pub(crate) fn separate(cli: &Command, mut args: Vec<OsString>) -> Vec<OsString> {
    let Some(file) = file_of_run(cli, &args) else { return args };
    let separated = args[..file].last().is_some_and(|before| before == "--");
    match args.get(file + 1) {
        // `run -- FILE -- ARGS`: clap would give the second one to the guest.
        Some(next) if separated && next == "--" => drop(args.remove(file + 1)),
        Some(next) if !separated && next != "--" => args.insert(file + 1, "--".into()),
        _ => {}
    }
    args
}

/// Where the file stands, when this is a `run` that has one.
fn file_of_run(cli: &Command, args: &[OsString]) -> Option<usize> {
    let name = 1 + args.iter().skip(1).position(|arg| !arg.as_encoded_bytes().starts_with(b"-"))?;
    if args[name] != "run" {
        return None;
    }
    let run = cli.find_subcommand("run")?;
    let mut at = name + 1;
    while let Some(arg) = args.get(at) {
        let arg = arg.to_string_lossy();
        match arg.strip_prefix("--") {
            Some("") => return args.get(at + 1).map(|_| at + 1),
            // `--timeout 1s` is two words, `--timeout=1s` is one.
            Some(option) => at += if takes_next(run, |known| known.get_long() == Some(option)) { 2 } else { 1 },
            None if arg.starts_with('-') && arg.len() > 1 => at += 1,
            None => return Some(at),
        }
    }
    None
}

fn takes_next(run: &Command, is: impl Fn(&Arg) -> bool) -> bool {
    run.get_arguments().any(|known| is(known) && known.get_action().takes_values())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn separated(line: &str) -> String {
        let args = line.split(' ').map(OsString::from).collect();
        let args = separate(&crate::Cli::command(), args);
        args.iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_follows_the_file_is_the_guests() {
        assert_eq!(separated("skep run a.wasm -h"), "skep run a.wasm -- -h");
        assert_eq!(separated("skep -v run --timeout 1s a.wasm -v"), "skep -v run --timeout 1s a.wasm -- -v");
        assert_eq!(
            separated("skep run --timeout=1s --no-cache a.wasm 1 5"),
            "skep run --timeout=1s --no-cache a.wasm -- 1 5"
        );
    }

    #[test]
    fn what_does_not_is_ours() {
        for line in [
            "skep run --help",
            "skep run a.wasm",
            "skep run a.wasm -- -h",
            "skep run a.wasm -- -- -h",
            "skep doctor run -h",
            "skep run -- a.wasm",
            "skep run -- a.wasm -h",
            "skep run --",
        ] {
            assert_eq!(separated(line), line);
        }
        assert_eq!(separated("skep run -- a.wasm -- -h"), "skep run -- a.wasm -h");
    }
}
