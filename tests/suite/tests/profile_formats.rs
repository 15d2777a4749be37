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

#[test]
fn conditions_and_orders_speak_of_names_as_well_as_of_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("calls.skep");
    recording(&file, "syscall", false, &calls(300));
    let names = |more: &[&str]| -> Vec<String> {
        let finished = replay(&file, &[more, &["--format", "jsonl"]].concat());
        assert_eq!(finished.code, Some(0), "{more:?} {}", finished.stderr);
        let row = |line: &String| serde_json::from_str::<serde_json::Value>(line).unwrap();
        finished.stdout.iter().map(|line| row(line)["syscall"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&["--where", "syscall==openat"]), ["openat"]);
    assert_eq!(names(&["--where", "syscall==openat,syscall!=read,duration_ns>0", "--sort", "syscall"]), ["openat"]);
    let sorted = names(&["--where", "syscall~^get", "--sort", "-syscall"]);
    assert!(sorted.len() > 5 && sorted.is_sorted_by(|a, b| a >= b) && sorted[0].starts_with("get"), "{sorted:?}");
    let unknown = replay(&file, &["--where", "duration>3"]);
    assert!(unknown.code == Some(66) && unknown.stderr.contains("duration_ns"), "{}", unknown.stderr);
}

#[test]
fn a_run_whose_output_fails_says_what_it_did_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("calls.skep");
    recording(&file, "syscall", false, &calls(300));
    let finished = replay(&file, &["-o", "/dev/full", "--format", "jsonl", "--where", "syscall_id<100"]);
    assert_eq!(finished.code, Some(74), "{}", finished.stderr);
    // When the output is known to have failed depends on its thread; what had come by then is all accounted for.
    let number = |before: &str, after: &str| -> u64 {
        let (_, rest) =
            finished.stderr.split_once(before).unwrap_or_else(|| panic!("no {before}: {}", finished.stderr));
        rest.split_once(after).and_then(|(number, _)| number.parse().ok()).unwrap_or_else(|| panic!("{rest}"))
    };
    let events = number("skep: ", " events");
    assert!(events > 0 && events <= 300, "{events}");
    let accounted = number("events, ", " kept") + number("in the kernel, ", " in a full") + number("filtered: ", "\n");
    assert_eq!(accounted, events, "{}", finished.stderr);
    assert_eq!(number("where: ", " seen"), events);
    assert!(finished.stderr.contains("writing /dev/full"), "{}", finished.stderr);
}

#[test]
fn a_difference_of_what_is_no_folded_profile_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    recording(Path::new(&path("a.skep")), "syscall", false, &calls(3));
    fs::write(path("b.pb.gz"), [0x1f, 0x8b, 8, 0, 0xff]).unwrap();
    fs::write(path("c.folded"), "main;a 1\n").unwrap();
    fs::write(path("empty.folded"), "\n").unwrap();
    let bad = [("a.skep", "skep replay"), ("b.pb.gz", "--output before.folded"), ("empty.folded", "no stacks")];
    for (before, words) in bad {
        for (first, second) in [(before, "c.folded"), ("c.folded", before)] {
            let finished = Run::skep(["profile", "diff", &path(first), &path(second)]).finish();
            assert_eq!(finished.code, Some(65), "{}", finished.stderr);
            assert!(finished.stderr.contains(before) && finished.stderr.contains(words), "{}", finished.stderr);
        }
    }
}

#[test]
fn a_replay_that_is_cut_short_says_so_by_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("calls.skep");
    recording(&file, "syscall", false, &calls(1_000_000));
    let slow = dir.path().join("slow.wasm");
    let text = r#"(module (memory (export "memory") 1) (func (export "filter") (param i32 i32) (result i32) (loop (br 0)) unreachable))"#;
    fs::write(&slow, wat::parse_str(text).unwrap()).unwrap();
    let args = ["replay", file.to_str().unwrap(), "--filter", slow.to_str().unwrap(), "--format", "jsonl"];
    let mut run = Run::skep(args);
    run.wait_for("event", |line| line.starts_with('{'));
    run.signal(rustix::process::Signal::TERM);
    let finished = run.finish();
    assert_eq!(finished.code, Some(130), "{}", finished.stderr);
    assert!(finished.stderr.contains(" events, "), "{}", finished.stderr);
}

#[test]
fn a_table_beside_rows_takes_nothing_from_them() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("calls.skep");
    recording(&file, "syscall", false, &calls(3));
    let alone = replay(&file, &["--format", "jsonl"]);
    let table = dir.path().join("calls.table");
    let beside = replay(&file, &["--format", "jsonl", "-o", "-", "-o", table.to_str().unwrap()]);
    assert_eq!((alone.code, beside.code), (Some(0), Some(0)), "{}{}", alone.stderr, beside.stderr);
    assert!(alone.text().contains("\"duration_ns\":"), "{}", alone.text());
    assert_eq!(alone.text(), beside.text());
    let table = fs::read_to_string(table).unwrap();
    assert!(table.contains("DURATION") && !table.contains("DURATION_NS"), "{table}");
}
