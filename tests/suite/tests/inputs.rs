//! What a guest gets of the outside, where it is odd: input that does not come or whose reads do not wait, arguments that
//! are no text, directories with one name.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{PipeReader, Write as _},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    process::Command,
};

use rustix::{fs::OFlags, process::Signal};
use skep_suite::{Finished, Run, skep};
use tempfile::TempDir;

fn module(text: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("module.wasm");
    fs::write(&path, wat::parse_str(text).unwrap()).unwrap();
    (dir, path)
}

/// A pipe whose reads do not wait, as some shells and terminals leave theirs.
fn impatient_pipe() -> (PipeReader, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&reader).unwrap();
    rustix::fs::fcntl_setfl(&reader, flags | OFlags::NONBLOCK).unwrap();
    (reader, writer)
}

/// Prints a line and then copies its input to its output. Of a read that fails it exits with the number; with `again`, it
/// reads on. With `poll` it waits for its input by `poll_oneoff` before each read.
fn reader(again: bool, poll: bool) -> (TempDir, PathBuf) {
    let failed = if again { "(br $next)" } else { "(call $exit (local.get $errno))" };
    let poll =
        if poll { "(drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 120)))" } else { "" };
    module(&format!(
        r#"(module
        (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (data (i32.const 32) "ready\0a")
        ;; A subscription to reads of descriptor 0.
        (data (i32.const 72) "\01")
        (func $print (param $at i32) (param $len i32)
            (i32.store (i32.const 0) (local.get $at))
            (i32.store (i32.const 4) (local.get $len))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
        (func (export "_start") (local $errno i32)
            (call $print (i32.const 32) (i32.const 6))
            (loop $next
                {poll}
                (i32.store (i32.const 0) (i32.const 4096))
                (i32.store (i32.const 4) (i32.const 4096))
                (local.set $errno (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
                (if (local.get $errno) (then {failed}))
                (if (i32.eqz (i32.load (i32.const 8))) (then (call $exit (i32.const 0))))
                (call $print (i32.const 4096) (i32.load (i32.const 8)))
                (br $next))))"#
    ))
}

fn command(args: &[&str], file: &PathBuf) -> Command {
    let mut command = Command::new(skep());
    command.args(["run", "--no-cache"]).args(args).arg(file);
    command
}

#[test]
fn input_whose_reads_do_not_wait_is_waited_for() {
    for poll in [false, true] {
        let (_dir, file) = reader(false, poll);
        let (stdin, mut writer) = impatient_pipe();
        let mut run = command(&[], &file);
        run.stdin(stdin);
        let mut run = Run::start(run);
        run.wait_ready();
        for line in ["first", "second"] {
            writeln!(writer, "{line}").unwrap();
            run.wait_for(line, |said| said == line);
        }
        drop(writer);
        let ended = run.finish();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{poll} {ended:#?}");
    }
}

const EINTR: i32 = 27;

#[test]
fn a_wait_for_input_ends_with_the_run_and_the_guest_may_end_itself() {
    for poll in [false, true] {
        let (_dir, file) = reader(false, poll);
        let (stdin, _writer) = impatient_pipe();
        let mut run = command(&["--timeout", "1s"], &file);
        run.stdin(stdin);
        let ended = Run::start(run).finish();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(EINTR), ""), "{poll} {ended:#?}");
    }
}

#[test]
fn a_guest_that_goes_on_waiting_for_input_is_ended() {
    for poll in [false, true] {
        let (_dir, file) = reader(true, poll);
        let (stdin, _writer) = std::io::pipe().unwrap();
        let mut run = command(&[], &file);
        run.stdin(stdin);
        let mut run = Run::start(run);
        run.wait_ready();
        run.signal(Signal::INT);
        let ended = run.finish();
        assert_eq!(ended.code, Some(130), "{poll} {ended:#?}");
        assert!(ended.stderr.contains("interrupted") && !ended.stderr.contains("hangs"), "{poll} {ended:#?}");
    }
}

/// Reads go through nothing that reads ahead.
#[test]
fn what_a_guest_leaves_of_its_input_is_left_for_the_next() {
    let (_dir, file) = module(
        r#"(module
        (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\10\00\00\00\02\00\00\00")
        (func (export "_start") (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", "printf abcde | { \"$0\" run --no-cache \"$1\"; cat; }"]).arg(skep()).arg(file);
    assert_eq!(Run::start(shell).finish().stdout, ["cde"]);
}

/// Prints its arguments and its environment as they lie in memory.
const ECHO: &str = r#"(module
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func $print
        (i32.store (i32.const 0) (i32.const 2048))
        (i32.store (i32.const 4) (i32.load (i32.const 20)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
    (func (export "_start")
        (drop (call $args_sizes (i32.const 16) (i32.const 20)))
        (drop (call $args (i32.const 1024) (i32.const 2048)))
        (call $print)
        (drop (call $environ_sizes (i32.const 16) (i32.const 20)))
        (drop (call $environ (i32.const 1024) (i32.const 2048)))
        (call $print)))"#;

fn odd(bytes: &[u8]) -> OsString {
    OsStr::from_bytes(bytes).to_owned()
}

#[test]
fn arguments_and_variables_that_are_no_text_arrive_as_they_are() {
    let (dir, file) = module(ECHO);
    let file_of_odd_name = dir.path().join(odd(b"m\xff.wasm"));
    fs::rename(file, &file_of_odd_name).unwrap();
    let mut run = Command::new(skep());
    run.args(["run", "--no-cache", "--env"]).arg(odd(b"A\xfe=\xfd=")).arg(&file_of_odd_name);
    let output = run.arg(odd(b"\xff\x80")).arg(odd(b"--env=\xfc")).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(output.stdout, b"m\xff.wasm\0\xff\x80\0--env=\xfc\0A\xfe=\xfd=\0");
}

fn lent(dirs: &[&OsStr]) -> Finished {
    let (_dir, file) = module(r#"(module (memory (export "memory") 1) (func (export "_start")))"#);
    let mut run = Command::new(skep());
    run.args(["run", "--no-cache"]);
    dirs.iter().for_each(|dir| _ = run.arg("--dir").arg(dir));
    run.arg(file);
    Run::start(run).finish()
}

#[test]
fn a_directory_whose_name_is_no_text_needs_another_for_the_guest() {
    let dir = tempfile::tempdir().unwrap();
    let host = dir.path().join(odd(b"d\xff"));
    fs::create_dir(&host).unwrap();
    let mut named = host.clone().into_os_string();
    named.push("::/odd");
    assert_eq!(lent(&[&named]).code, Some(0));
    let refused = lent(&[host.as_os_str()]);
    assert_eq!(refused.code, Some(2), "{refused:#?}");
    for word in ["--dir", "d\u{fffd}", "HOST::GUEST"] {
        assert!(refused.stderr.contains(word), "no {word:?} in {}", refused.stderr);
    }
}

#[test]
fn two_directories_with_one_name_are_refused() {
    for (first, second) in [("/sys::/d", "/proc::/d"), ("/sys::d:ro", "/proc::./d/"), ("/proc", "/proc:ro")] {
        let refused = lent(&[first.as_ref(), second.as_ref()]);
        assert_eq!(refused.code, Some(2), "{refused:#?}");
        for host in [first, second].map(|dir| dir.split(':').next().unwrap()) {
            assert!(refused.stderr.contains(host), "no {host:?} in {}", refused.stderr);
        }
    }
    assert_eq!(lent(&["/proc::/d".as_ref(), "/proc::/e".as_ref(), "/proc::/d/e".as_ref()]).code, Some(0));
}
