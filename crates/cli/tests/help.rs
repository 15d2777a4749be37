//! The command line itself: help, completions and the manual page come from one table.

use std::process::{Command, Output};

fn skep(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_skep")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_names_every_option_of_run_and_shows_examples() {
    let help = text(&skep(&["run", "--help"]).stdout);
    for word in ["--env", "--dir", "--timeout", "--best-effort", "--no-cache", "--max-memory", "Examples:", "134"] {
        assert!(help.contains(word), "no {word} in {help}");
    }
}

#[test]
fn an_unknown_option_is_a_usage_error_with_a_suggestion() {
    let output = skep(&["run", "--timeot", "1s", "x.wasm"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--timeout"), "{}", text(&output.stderr));
}

#[test]
fn an_option_behind_the_file_goes_to_the_guest() {
    let bootstrap = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/bootstrap/bootstrap.wasm");
    let help = text(&skep(&["run", bootstrap, "-h"]).stdout);
    assert!(help.contains("-d") && !help.contains("--best-effort"), "{help}");
}

#[test]
fn completions_and_the_manual_page_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = skep(&["completions", shell]);
        assert!(output.status.success() && text(&output.stdout).contains("doctor"), "{shell}");
    }
    let man = text(&skep(&["man"]).stdout);
    assert!(man.contains(".TH skep 1") && man.contains("run"), "{man}");
}
