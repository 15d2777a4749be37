//! What becomes of what `skep trace`, `profile` and `record` write, when they are killed, when nobody reads it, when a disk is full.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use skep_suite::{Finished, Program, Run, busy_calls, kernel_gate, skep};

/// Waits until `there`, which has to come to pass within a minute.
fn wait_until(what: &str, mut there: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !there() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn replayed(file: &Path) -> Finished {
    let finished = Run::skep(["replay".as_ref(), file.as_os_str(), "--format".as_ref(), "jsonl".as_ref()]).finish();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    finished
}

#[test]
fn kernel_a_recorder_that_is_killed_leaves_all_but_its_last_second() {
    if !kernel_gate("a recorder that is killed") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("killed.skep");
    let length = || fs::metadata(&file).map_or(0, |metadata| metadata.len());
    let record = |pid: &str| Run::skep(["record", "syscall", "--pid", pid, "-o", file.to_str().unwrap()]);
    let ended = |run: Run| {
        run.signal(Signal::KILL);
        assert_eq!(run.finish().code, None);
        let replay = replayed(&file);
        for words in ["killed.skep", "was not finished"] {
            assert!(replay.stderr.contains(words), "{}", replay.stderr);
        }
        replay
    };
    let busy = Program::start(&mut busy_calls());
    let run = record(&busy.pid());
    wait_until("a megabyte is recorded", || length() > 1 << 20);
    let calls = ended(run).stdout;
    assert!(calls.len() > 10_000, "{} calls", calls.len());
    assert!(calls.iter().all(|call| call.contains(r#""comm":"dd""#)));

    // One that makes a few calls and then none for a while: they fill no block, and nothing comes that could push them out.
    let quiet = Program::start(Command::new("sh").args(["-c", "while :; do sleep 3; done"]));
    fs::remove_file(&file).unwrap();
    let run = record(&quiet.pid());
    wait_until("the schema is written", || length() > 100);
    let start = length();
    wait_until("a few calls are recorded", || length() > start);
    assert!(!ended(run).stdout.is_empty());
}

#[test]
fn a_difference_is_not_written_over_a_profile() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (before, after, link) = (path("a.folded"), path("b.folded"), path("c.svg"));
    fs::write(&before, "main;a 1\n").unwrap();
    fs::write(&after, "main;a 2\n").unwrap();
    fs::hard_link(&after, &link).unwrap();
    for to in [&before, &link] {
        let finished = Run::skep(["profile", "diff", before.as_str(), after.as_str(), "-o", to.as_str()]).finish();
        assert_eq!(finished.code, Some(2), "{}", finished.stderr);
        assert!(finished.stderr.contains("cannot be both read and written"), "{}", finished.stderr);
    }
    assert_eq!(fs::read_to_string(&before).unwrap(), "main;a 1\n");
    assert_eq!(fs::read_to_string(&after).unwrap(), "main;a 2\n");
}

#[test]
fn kernel_a_reader_that_has_gone_ends_a_trace_quietly() {
    if !kernel_gate("a trace that nobody reads") {
        return;
    }
    let busy = Program::start(&mut busy_calls());
    for format in ["table", "jsonl", "chrome"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(skep());
        command
            .args(["trace", "syscall", "--pid", &busy.pid(), "--format", format])
            .stdin(Stdio::null())
            .stdout(writer);
        let output = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), stderr.as_ref()), (Some(0), ""), "{format}");
    }
}

#[test]
fn kernel_an_output_that_fails_takes_no_other_with_it() {
    if !kernel_gate("a profile to a full disk and elsewhere") {
        return;
    }
    let busy = Program::start(&mut busy_calls());
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good.folded");
    let finished = Run::skep([
        "profile",
        "cpu",
        "-d",
        "500ms",
        "--pid",
        &busy.pid(),
        "--format",
        "folded",
        "-o",
        "/dev/full",
        "-o",
        good.to_str().unwrap(),
    ])
    .finish();
    assert_eq!(finished.code, Some(74), "{}", finished.stderr);
    assert!(finished.stderr.contains("writing /dev/full: No space left"), "{}", finished.stderr);
    let stacks = fs::read_to_string(good).unwrap();
    assert!(!stacks.is_empty() && stacks.lines().all(|line| line.starts_with("dd;")), "{stacks}");
}

#[test]
fn kernel_events_are_counted_where_they_are_added_up_in_the_kernel() {
    if !kernel_gate("counts of a histogram") {
        return;
    }
    let busy = Program::start(&mut busy_calls());
    let finished =
        Run::skep(["trace", "syscall", "-d", "500ms", "--pid", &busy.pid(), "--format", "histogram"]).finish();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let shown: u64 =
        finished.stdout.iter().filter_map(|row| row.split([':', '|']).nth(1)?.trim().parse::<u64>().ok()).sum();
    let said: u64 = finished.stderr.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(shown == said && said > 10_000, "{shown} are shown: {}", finished.stderr);
}

#[test]
fn kernel_a_replay_since_a_time_leaves_out_what_ended_before() {
    if !kernel_gate("a recording with times") {
        return;
    }
    let busy = Program::start(&mut busy_calls());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("calls.skep").to_str().unwrap().to_owned();
    let recorded = Run::skep(["record", "syscall", "-d", "500ms", "--pid", &busy.pid(), "-o", &file]).finish();
    assert_eq!(recorded.code, Some(0), "{}", recorded.stderr);
    let times = |since: &str| -> Vec<u64> {
        let replay = Run::skep(["replay", &file, "--since", since, "--format", "jsonl"]).finish();
        assert_eq!(replay.code, Some(0), "{}", replay.stderr);
        let time = |line: &String| serde_json::from_str::<serde_json::Value>(line).unwrap()["timestamp_ns"].as_u64();
        replay.stdout.iter().filter_map(time).collect()
    };
    let all = times("0");
    for index in [0, 1, all.len() / 3, all.len() - 1] {
        let wanted: Vec<u64> = all.iter().copied().filter(|time| *time >= all[index]).collect();
        let found = times(&all[index].to_string());
        assert!(found == wanted, "since event {index} of {}: {} and not {}", all.len(), found.len(), wanted.len());
    }
    assert!(times(&u64::MAX.to_string()).is_empty());
}

#[test]
fn kernel_on_a_terminal_a_line_says_how_far_a_run_is_and_only_data_is_on_standard_output() {
    if !kernel_gate("the progress line") {
        return;
    }
    let busy = Program::start(&mut busy_calls());
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data.folded");
    // What `script` runs has a terminal; the data goes elsewhere.
    let command =
        format!("{} profile cpu -d 2s --pid {} --format folded > {}", skep().display(), busy.pid(), data.display());
    let mut script = Command::new("script");
    script.args(["-q", "-e", "-c", &command, "/dev/null"]).stdin(Stdio::null());
    let finished = Run::start(script).finish();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    let terminal = finished.text();
    // Each is written over the one before.
    let lines: Vec<&str> = terminal.split("\r\u{1b}[K").filter(|line| line.contains(" left")).collect();
    assert!(lines.len() > 3, "{terminal:?}");
    let number = |line: &str, word: &str| -> u64 {
        let words: Vec<&str> = line.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        words[words.iter().position(|other| *other == word).unwrap() - 1].parse().unwrap()
    };
    for word in ["events", "kept", "lost"] {
        assert!(lines.is_sorted_by_key(|line| number(line, word)), "{lines:?}");
    }
    assert!(number(lines.last().unwrap(), "events") > 0, "{lines:?}");
    assert!(lines.iter().all(|line| line.ends_with("s left")) && lines[0].ends_with(" 2s left"), "{lines:?}");
    let data = fs::read_to_string(data).unwrap();
    assert!(!data.is_empty() && data.lines().all(|line| line.starts_with("dd;")), "{data}");
}

#[test]
fn kernel_the_idle_task_and_skep_itself_are_not_looked_at() {
    if !kernel_gate("whom a profile of the whole machine leaves out") {
        return;
    }
    let busy = Program::start(&mut busy_calls());
    let pid_of = |line: &String| serde_json::from_str::<serde_json::Value>(line).unwrap()["pid"].as_u64().unwrap();
    for what in [["profile", "cpu"], ["profile", "offcpu"], ["trace", "syscall"], ["trace", "lock"]] {
        let run = Run::skep([what[0], what[1], "-d", "1s", "--format", "jsonl"]);
        let own = u64::from(run.pid());
        let finished = run.finish();
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        let pids: std::collections::BTreeSet<u64> = finished.stdout.iter().map(pid_of).collect();
        assert!(!pids.contains(&0) && !pids.contains(&own), "{what:?} of {own}: {pids:?}");
        if what[1] != "lock" {
            assert!(pids.contains(&busy.pid().parse().unwrap()), "{what:?}: {pids:?}");
        }
    }
}

#[test]
fn kernel_stacks_that_are_asked_for_stand_below_the_rows_of_a_table() {
    if !kernel_gate("a table with stacks") {
        return;
    }
    let busy = Program::start(&mut busy_calls());
    let table = |more: &[&str]| {
        let common: &[&str] = &["trace", "syscall", "--pid", &busy.pid(), "--limit", "5", "-d", "20s"];
        Run::skep([common, more].concat()).finish().stdout
    };
    // A row has a word for each column, a frame its name.
    let is_frame = |line: &&String| line.starts_with("    ") && line.split_whitespace().count() <= 2;
    let below = |lines: &[String]| lines.iter().filter(is_frame).count();
    let (with, without) = (table(&["--stacks"]), table(&[]));
    assert!(below(&with) >= 5 && with.len() == 6 + below(&with), "{with:?}");
    assert!(below(&without) == 0 && without.len() == 6, "{without:?}");
}

#[test]
fn kernel_a_run_that_is_told_that_it_is_enough_ends_well() {
    if !kernel_gate("a trace that SIGTERM ends") {
        return;
    }
    let busy = Program::start(&mut busy_calls());
    for signal in [Signal::TERM, Signal::HUP] {
        let mut run = Run::skep(["trace", "syscall", "--pid", &busy.pid(), "--format", "jsonl"]);
        run.wait_for("call", |line| line.starts_with('{'));
        run.signal(signal);
        let finished = run.finish();
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        assert!(finished.stderr.contains(" events, "), "{}", finished.stderr);
    }
}

#[test]
fn kernel_a_second_signal_ends_a_run_whose_output_takes_nothing() {
    if !kernel_gate("a trace into a pipe that nobody reads") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("stuck.jsonl");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
    let reader = rustix::fs::open(&pipe, flags, rustix::fs::Mode::empty()).unwrap();
    let busy = Program::start(&mut busy_calls());
    let run = Run::skep(["trace", "syscall", "--pid", &busy.pid(), "-o", pipe.to_str().unwrap()]);
    // A pipe holds 64 KiB.
    wait_until("the pipe is full", || rustix::io::ioctl_fionread(&reader).unwrap() > 60_000);
    let stat = format!("/proc/{}/stat", run.pid());
    wait_until("it has ended", || {
        run.signal(Signal::TERM);
        fs::read_to_string(&stat).unwrap().contains(") Z ")
    });
    let ended = run.finish();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(ended.stderr.contains("ended at once, by a second signal"), "{}", ended.stderr);
}
