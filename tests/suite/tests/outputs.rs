//! Output that cannot be written, is not read, or has gone; and what a guest gets of the outside.

use std::{
    fs::{self, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use skep_suite::{Finished, Inventory, Run, guest, kernel_gate, skep};
use tempfile::TempDir;

/// Prints a line and ends; or, as long as nobody stops it, prints it again.
fn printer(again: bool) -> (TempDir, PathBuf) {
    let again = if again { "(br $again)" } else { "" };
    module(&format!(
        r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\10\00\00\00\07\00\00\00")
        (data (i32.const 16) "a line\0a")
        (func (export "_start") (loop $again
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            {again})))"#
    ))
}

fn module(text: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("module.wasm");
    fs::write(&path, wat::parse_str(text).unwrap()).unwrap();
    (dir, path)
}

/// Waits for the end, longer than a run should take that was given a second.
fn end_of(command: Command) -> (ExitStatus, String) {
    end_with(command, Stdio::piped())
}

fn end_with(mut command: Command, stderr: Stdio) -> (ExitStatus, String) {
    let mut child = command.stdin(Stdio::null()).stderr(stderr).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it did not end: {:?}", child.wait_with_output());
        }
        thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    (output.status, String::from_utf8(output.stderr).unwrap())
}

fn command(args: &[&str], file: &PathBuf) -> Command {
    let mut command = Command::new(skep());
    command.args(["run", "--no-cache"]).args(args).arg(file);
    command
}

#[test]
fn a_full_disk_is_an_error() {
    let (_dir, file) = printer(false);
    let mut run = command(&[], &file);
    run.stdout(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let (status, stderr) = end_of(run);
    assert_eq!(status.code(), Some(74), "{stderr}");
    assert!(stderr.contains("writing what the guest printed"), "{stderr}");
}

#[test]
fn a_reader_that_has_gone_ends_the_run() {
    let (_dir, file) = printer(true);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut run = command(&[], &file);
    run.stdout(writer);
    let (status, stderr) = end_of(run);
    assert_eq!(status.code(), Some(74), "{stderr}");
}

/// Prints a line, sleeps for no time, and prints again until that fails; exits with the number of the failure.
const UNTIL_IT_FAILS: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\07\00\00\00")
    (data (i32.const 16) "a line\0a")
    (func (export "_start") (local $errno i32)
        (loop $again
            (local.set $errno (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            (if (local.get $errno) (then (call $exit (local.get $errno))))
            (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 120)))
            (br $again))))"#;
const EPIPE: i32 = 64;

/// As a program would that ignores SIGPIPE.
#[test]
fn a_guest_is_told_that_its_reader_has_gone_and_may_end_itself() {
    let (_dir, file) = module(UNTIL_IT_FAILS);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut run = command(&[], &file);
    run.stdout(writer);
    assert_eq!(end_of(run), (ExitStatus::from_raw(EPIPE << 8), String::new()));
}

#[test]
fn a_pipe_that_nobody_reads_does_not_hold_up_the_end() {
    let (_dir, file) = printer(true);
    let (_reader, writer) = std::io::pipe().unwrap();
    let mut run = command(&["--timeout", "1s"], &file);
    run.stdout(writer);
    let (status, stderr) = end_of(run);
    assert_eq!(status.code(), Some(124), "{stderr}");
    assert!(stderr.contains("the time is over") && stderr.contains("full pipe"), "{stderr}");
}

#[test]
fn kernel_a_full_pipe_holds_up_neither_the_end_nor_detaching() {
    if !kernel_gate("a full pipe") {
        return;
    }
    let before = Inventory::now();
    let (_reader, mut writer) = std::io::pipe().unwrap();
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::empty()).unwrap();
    // Messages alone are read; and as with `2>&1`, neither is.
    for both in [false, true] {
        let mut run = Command::new(skep());
        run.args(["run", "--timeout", "1s"]).arg(guest("misuse")).arg("loop").stdout(writer.try_clone().unwrap());
        let stderr = if both { writer.try_clone().unwrap().into() } else { Stdio::piped() };
        let (status, stderr) = end_with(run, stderr);
        assert_eq!(status.code(), Some(124), "{both} {stderr}");
        Inventory::assert_nothing_left(&before, &["unused", "skep_drops"]);
    }
}

#[test]
fn kernel_a_signal_that_the_parent_ignores_ends_nothing() {
    if !kernel_gate("ignored signals") {
        return;
    }
    for signal in [Signal::HUP, Signal::INT] {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "trap '' HUP INT; exec \"$0\" run --timeout 2s \"$1\" loop"])
            .arg(skep())
            .arg(guest("misuse"));
        let mut run = Run::start(shell);
        run.wait_ready();
        run.signal(signal);
        let ended = run.finish();
        assert_eq!(ended.code, Some(124), "its time is over, and nothing else ended it: {ended:#?}");
    }
}

/// A pipe whose writer was made one that does not wait, as some shells and terminals leave theirs, loses nothing when full.
#[test]
fn output_that_does_not_wait_loses_nothing() {
    const LINES: usize = 50_000;
    let (_dir, file) = module(&format!(
        r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\10\00\00\00\07\00\00\00")
        (data (i32.const 16) "a line\0a")
        (func (export "_start") (local $left i32)
            (local.set $left (i32.const {LINES}))
            (loop $again
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
                (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))"#
    ));
    let (mut reader, writer) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    // A page, so that it is full all the time.
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    let mut run = command(&[], &file);
    let mut child = run.stdout(writer).stdin(Stdio::null()).spawn().unwrap();
    drop(run);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(text.lines().filter(|line| *line == "a line").count(), LINES);
}

#[test]
fn completions_complete_in_bash() {
    let script = r#"eval "$("$0" completions bash)"; COMP_WORDS=(skep ru); COMP_CWORD=1; _skep skep ru skep
        echo "${COMPREPLY[@]}"; COMP_WORDS=(skep run --time); COMP_CWORD=2; _skep skep --time run; echo "${COMPREPLY[@]}""#;
    let output = Command::new("bash").args(["-c", script]).arg(skep()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "run\n--timeout\n", "{output:?}");
}

/// Runs with some of the three standard descriptors closed.
fn with_closed(redirections: &str, file: &PathBuf) -> Option<i32> {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec \"$0\" run --no-cache \"$1\" {redirections}")]).arg(skep()).arg(file);
    end_of(shell).0.code()
}

#[test]
fn closed_descriptors_change_no_exit_code() {
    let (dir, file) = printer(false);
    let bad = dir.path().join("bad.wasm");
    fs::write(&bad, "no module").unwrap();
    for redirections in ["2>&-", "2>/dev/full", "<&-", "<&- 2>&-", "<&- >&- 2>&-"] {
        assert_eq!(with_closed(redirections, &file), Some(0), "{redirections}");
        assert_eq!(with_closed(redirections, &bad), Some(65), "{redirections}");
    }
}

/// Prints a line to its standard error, and one to its standard output; exits with 7.
const BOTH: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\07\00\00\00")
    (data (i32.const 16) "a line\0a")
    (func (export "_start")
        (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (call $exit (i32.const 7))))"#;

/// What cannot be said to anybody changes nothing: neither the guest's own messages nor Skep's.
#[test]
fn kernel_a_full_disk_behind_standard_error_changes_no_exit_code() {
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (_dir, file) = module(BOTH);
    let mut run = command(&["-v"], &file);
    let ended = run.stdin(Stdio::null()).stderr(full()).output().unwrap();
    assert_eq!((ended.status.code(), &*ended.stdout), (Some(7), &b"a line\n"[..]));
    if !kernel_gate("errors that a guest survives") {
        return;
    }
    let mut run = command(&[], &guest("misuse"));
    let ended = run.arg("pointers").stdin(Stdio::null()).stderr(full()).output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(ended.stdout.ends_with(b"survived\n"), "{ended:?}");
}

/// Copies its input to its output; before that it says how many arguments, variables and preopened directories it has.
const OUTSIDE: &str = r#"(module
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func $bytes (param $at i32) (param $len i32)
        (i32.store (i32.const 0) (local.get $at))
        (i32.store (i32.const 4) (local.get $len))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
    (func $digit (param $n i32)
        (i32.store8 (i32.const 12) (i32.add (local.get $n) (i32.const 48)))
        (i32.store8 (i32.const 13) (i32.const 10))
        (call $bytes (i32.const 12) (i32.const 2)))
    (func (export "_start") (local $n i32)
        (drop (call $args (i32.const 16) (i32.const 20)))
        (call $digit (i32.load (i32.const 16)))
        (drop (call $environ (i32.const 16) (i32.const 20)))
        (call $digit (i32.load (i32.const 16)))
        (drop (call $environ_get (i32.const 1024) (i32.const 2048)))
        (call $bytes (i32.const 2048) (i32.load (i32.const 20)))
        (block $end (loop $next
            (br_if $end (call $prestat (i32.add (i32.const 3) (local.get $n)) (i32.const 24)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br $next)))
        (call $digit (local.get $n))
        (block $end (loop $next
            (i32.store (i32.const 0) (i32.const 4096))
            (i32.store (i32.const 4) (i32.const 4096))
            (br_if $end (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (br_if $end (i32.eqz (i32.load (i32.const 8))))
            (call $bytes (i32.const 4096) (i32.load (i32.const 8)))
            (br $next)))))"#;

fn outside(before: &[&str], after: &[&str], input: &[u8]) -> Finished {
    let (dir, file) = module(OUTSIDE);
    let stdin = dir.path().join("input");
    fs::write(&stdin, input).unwrap();
    let mut run = command(before, &file);
    run.env("SECRET", "of the host").args(after).stdin(fs::File::open(stdin).unwrap());
    let finished = Run::start(run).finish();
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    finished
}

#[test]
fn a_guest_has_nothing_of_the_outside_that_was_not_given_to_it() {
    assert_eq!(outside(&[], &[], b"").stdout, ["1", "0", "0"]);
}

#[test]
fn arguments_variables_directories_and_input_reach_the_guest() {
    let given = ["--env", "A=b=c", "--env", "EMPTY=", "--dir", "/tmp", "--dir", "/sys::/s:ro"];
    let finished = outside(&given, &["-v", "--", "--timeout"], b"first\nlast");
    assert_eq!(finished.stdout, ["4", "2", "A=b=c\0EMPTY=\u{0}2", "first", "last"]);
    assert_eq!(outside(&given, &["--", "--help"], b"").stdout[0], "2");
}

#[test]
fn long_input_arrives_whole() {
    let input: Vec<u8> = (0..20_000).flat_map(|n| format!("{n}\n").into_bytes()).collect();
    let finished = outside(&[], &[], &input);
    assert_eq!(finished.stdout[3..].join("\n").as_bytes(), input.trim_ascii_end());
}
