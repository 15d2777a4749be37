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
fn a_command_and_a_file_that_are_nearly_right_get_a_suggestion() {
    let bootstrap = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/bootstrap/bootstrp.wasm");
    for (args, code, meant) in [
        (["rnu", "x"].as_slice(), 2, "'run'"),
        (&["profile", "cup"], 2, "'cpu'"),
        (&["-v", "profile", "loc"], 2, "'lock'"),
        (&["run", bootstrap], 66, "did you mean"),
        (&["inspect", bootstrap], 2, "bootstrap.wasm?"),
    ] {
        let output = skep(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert!(text(&output.stderr).contains(meant), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_small_stack_is_enough_to_start() {
    let script = "ulimit -s 64; exec \"$0\" run --help";
    let output = Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_skep")]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
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

#[test]
fn manual_pages_have_the_header_and_the_sections_that_man_pages_have() {
    let header = |name: &str| format!(".TH {name} 1 \"\" \"skep {}\" \"Skep manual\"", env!("CARGO_PKG_VERSION"));
    let sections = |page: &str| -> Vec<String> {
        page.lines().filter_map(|line| line.strip_prefix(".SH ")).map(|title| title.replace('"', "")).collect()
    };
    let of_skep = text(&skep(&["man"]).stdout);
    assert!(of_skep.lines().any(|line| line == header("skep")), "{of_skep}");
    let expected = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SUBCOMMANDS", "ENVIRONMENT", "NOTES", "VERSION"];
    assert_eq!(sections(&of_skep), expected);
    for command in ["run", "exec-kernel"] {
        let page = text(&skep(&["man", command]).stdout);
        assert!(page.lines().any(|line| line == header(&format!("skep-{command}"))), "{page}");
        assert_eq!(sections(&page), ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "EXIT STATUS"]);
    }
}

#[test]
fn help_and_the_manual_page_know_the_environment() {
    for page in [&["--help"][..], &["man"]].map(|args| text(&skep(args).stdout)) {
        for variable in ["SKEP_LOG", "XDG_CACHE_HOME", "NO_COLOR"] {
            assert!(page.contains(variable), "no {variable} in {page}");
        }
    }
    let help = text(&skep(&["--help"]).stdout);
    assert!(help.lines().any(|line| line.trim_start().starts_with("man ")), "{help}");
}

#[test]
fn what_skep_log_asks_for_is_shown_and_what_it_cannot_mean_is_said() {
    let module = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/bootstrap/bootstrap.wasm");
    let run = |value: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
        text(&command.args(["run", "--no-cache", module, "-h"]).env("SKEP_LOG", value).output().unwrap().stderr)
    };
    assert!(run("info").contains("the guest ended with status 0"));
    assert_eq!(run(""), "");
    assert!(run("=,=").starts_with("skep: SKEP_LOG is left out"), "{}", run("=,="));
}
