//! Which output of `skep replay` gets which format, and what of an event is shown.

mod recording;

use std::{fs, path::Path};

use recording::{calls, recording};
use skep_suite::{Finished, Run};

fn replay(file: &Path, more: &[&str]) -> Finished {
    Run::skep([&["replay", file.to_str().unwrap()], more].concat()).finish()
}

#[test]
fn an_ending_decides_and_format_is_for_what_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let file = dir.path().join("calls.skep");
    recording(&file, "syscall", false, &calls(3));
    let read = |name: &str| fs::read_to_string(path(name)).unwrap_or_default();

    let (svg, log, trace, text) = (path("a.svg"), path("a.log"), path("trace.json"), path("a.txt"));
    let finished = replay(&file, &["--format", "jsonl", "-o", &svg, "-o", &log, "-o", "-"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(read("a.svg").starts_with("<?xml"), "the ending goes first");
    assert!(finished.stdout.len() == 3 && finished.stdout[0].starts_with('{'), "{:?}", finished.stdout);
    assert_eq!(read("a.log").lines().collect::<Vec<_>>(), finished.stdout);
    // Of endings that say little, --format knows better.
    assert_eq!(replay(&file, &["--format", "chrome", "-o", &trace]).code, Some(0));
    assert!(read("trace.json").starts_with("[\n"), "{}", read("trace.json"));
    assert_eq!(replay(&file, &["--format", "table", "-o", &text]).code, Some(0));
    assert!(read("a.txt").contains("SYSCALL"), "{}", read("a.txt"));
    assert_eq!(replay(&file, &["-o", &text]).code, Some(0));
    assert!(!read("a.txt").contains("SYSCALL"), "{}", read("a.txt"));
    // What agrees is no contradiction.
    assert_eq!(replay(&file, &["--format", "flamegraph", "-o", &svg]).code, Some(0));
}

#[test]
fn a_format_that_no_output_can_take_and_an_output_named_twice_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let file = dir.path().join("calls.skep");
    recording(&file, "syscall", false, &calls(3));
    let (svg, folded) = (path("a.svg"), path("a.folded"));
    let cases: [(&[&str], &str); 4] = [
        (&["--format", "jsonl", "-o", &svg], "--format jsonl is for none of the outputs"),
        (&["--format", "jsonl", "-o", &svg, "-o", &folded], "their endings say flamegraph"),
        (&["-o", &svg, "-o", &svg], "stands twice"),
        (&["-o", "-", "-o", "-"], "stands twice"),
    ];
    for (more, words) in cases {
        let finished = replay(&file, more);
        assert!(finished.code == Some(2) && finished.stderr.contains(words), "{more:?}: {}", finished.stderr);
        assert!(!Path::new(&svg).exists(), "{more:?}");
    }
    let record = Run::skep(["record", "syscall", "-d", "1s", "-o", &svg]).finish();
    assert!(record.code == Some(2) && record.stderr.contains("-o FILE.skep"), "{}", record.stderr);
}

#[test]
fn arguments_that_were_not_recorded_are_absent_not_zero() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("calls.skep");
    for (arguments, shown) in [(false, false), (true, true)] {
        recording(&file, "syscall", arguments, &calls(3));
        for format in ["jsonl", "table", "chrome"] {
            let finished = replay(&file, &["--format", format]);
            assert_eq!(finished.code, Some(0), "{}", finished.stderr);
            let text = finished.text().to_lowercase();
            assert_eq!(text.contains("arg0"), shown, "{format}: {text}");
        }
        for more in [["--fields", "pid,arg0"], ["--where", "arg0>3"]] {
            let finished = replay(&file, &more);
            assert_eq!(finished.code, Some(if shown { 0 } else { 2 }), "{more:?} {}", finished.stderr);
            assert!(shown || finished.stderr.contains("--arguments"), "{}", finished.stderr);
        }
    }
}
