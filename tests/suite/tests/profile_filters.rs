//! `skep replay --filter`: what is said about filters holds for both of their worlds.

mod recording;

use std::path::Path;

use recording::{calls, plugin, recording};
use skep_suite::{Finished, Run};

const EVENTS: u32 = 1_000;

fn replay(file: &Path, filter: &Path, more: &[&str]) -> Finished {
    let mut args = vec!["replay", file.to_str().unwrap(), "--filter", filter.to_str().unwrap(), "--format", "jsonl"];
    args.extend(more);
    Run::skep(args).finish()
}

/// The line of the summary about filter `plugin`.
fn line(finished: &Finished) -> &str {
    finished.stderr.lines().find(|line| line.starts_with("skep: plugin: ")).unwrap_or_else(|| panic!("{finished:#?}"))
}

#[test]
fn a_plugin_that_traps_drops_or_keeps_what_is_said_and_events_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("calls.skep");
    recording(&file, "syscall", false, &calls(EVENTS));
    let (traps, loops) = ("unreachable", "(loop (br 0)) unreachable");
    let cases: [(&str, &str, &[&str], u32, &str); 6] = [
        (traps, "", &[], EVENTS, "1000 trapped, 0 out of fuel"),
        (traps, "", &["--on-trap", "drop"], 0, "1000 trapped, 0 out of fuel"),
        (traps, r#","on_failure":"closed""#, &[], 0, "1000 trapped, 0 out of fuel"),
        (traps, r#","on_failure":"closed""#, &["--on-trap", "keep"], EVENTS, "1000 trapped, 0 out of fuel"),
        // An answer that is none.
        ("(i64.const -1)", "", &["--on-trap", "drop"], 0, "1000 trapped, 0 out of fuel"),
        (loops, "", &["--limit", "1"], 1, "0 trapped, 64 out of fuel"),
    ];
    for (body, hook, more, kept, said) in cases {
        let filter = plugin(dir.path(), body, hook, "", 16, "");
        let finished = replay(&file, &filter, more);
        assert_eq!(
            (finished.code, finished.stdout.len()),
            (Some(0), kept as usize),
            "{body} {hook} {more:?} {finished:#?}"
        );
        assert!(line(&finished).contains(said), "{body} {hook} {more:?}: {}", finished.stderr);
    }
}

#[test]
fn a_plugin_has_the_pages_that_are_said_below_a_policys_ceiling() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("calls.skep");
    recording(&file, "syscall", false, &calls(10));
    // More than a plugin gets that asks for nothing.
    let filter = plugin(dir.path(), "unreachable", "", "", 300, "");
    let refused = replay(&file, &filter, &[]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("at most 256 pages"), "{}", refused.stderr);
    assert_eq!(replay(&file, &filter, &["--filter-pages", "300"]).code, Some(0));
    let few = replay(&file, &filter, &["--filter-pages", "299"]);
    assert!(few.code == Some(1) && few.stderr.contains("at most 299 pages"), "{}", few.stderr);
    let policy = dir.path().join("policy.toml");
    std::fs::write(&policy, "[ceiling]\npages = 20\n").unwrap();
    let few = replay(&file, &filter, &["--filter-pages", "300", "--policy", policy.to_str().unwrap()]);
    assert!(few.code == Some(1) && few.stderr.contains("at most 20 pages"), "{}", few.stderr);
}

#[test]
fn a_plugin_logs_no_more_lines_a_second_than_is_said_and_the_rest_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("calls.skep");
    recording(&file, "syscall", false, &calls(10));
    let log = r#"(import "skep" "log" (func $log (param i32 i32 i32)))"#;
    let body = "(local $n i32) (loop (call $log (i32.const 2) (i32.const 1024) (i32.const 20))
        (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 100)))) unreachable";
    let filter = plugin(dir.path(), body, "", log, 16, r#""log""#);
    for (more, shown) in [(&[][..], 20), (&["--filter-log", "3"], 3)] {
        let finished = replay(&file, &filter, more);
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        let lines = finished.stderr.lines().filter(|line| *line == "plugin: a line of the plugin").count();
        assert_eq!(lines, shown, "{}", finished.stderr);
        let rest = format!("plugin: ({} lines suppressed)", 100 - shown);
        assert!(finished.stderr.contains(&rest), "{}", finished.stderr);
    }
}

#[test]
fn what_is_said_about_filters_needs_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("calls.skep");
    recording(&file, "syscall", false, &calls(10));
    for more in [["--on-trap", "drop"], ["--filter-pages", "3"], ["--filter-log", "3"]] {
        let finished = Run::skep([&["replay", file.to_str().unwrap()], &more[..]].concat()).finish();
        assert!(finished.code == Some(2) && finished.stderr.contains("--filter"), "{more:?}: {}", finished.stderr);
    }
}
