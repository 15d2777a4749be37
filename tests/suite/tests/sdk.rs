//! The SDKs. C: programs for the public header and skeletons of an unmodified bpftool behave as their authors expect.
//! Rust: maps, walks, and maps in the guest's own memory.

use rustix::process::Signal;
use skep_suite::{Finished, Run, example, guest, kernel_gate, trigger};

fn start(name: &str) -> Run {
    let mut run = Run::skep(["run".into(), guest(name)]);
    run.wait_ready();
    run
}

fn assert_says(finished: &Finished, lines: &[&str]) {
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert_eq!(finished.stdout, lines, "{finished:#?}");
}

#[test]
fn kernel_a_program_for_the_public_header() {
    if !kernel_gate("libbpf-wasm.h") {
        return;
    }
    let run = start("public-form");
    trigger(0);
    let lines = ["the constant's initial value: 100", "ready", "10 records, lookup 0: 1 call"];
    assert_says(&run.finish(), &lines);
}

#[test]
fn kernel_a_skeleton_of_libbpfs_own_form() {
    if !kernel_gate("bpf/libbpf.h") {
        return;
    }
    let mut run = start("libbpf-form");
    trigger(0);
    trigger(1);
    run.wait_for("count", |line| line.ends_with("12 in all"));
    // Its callback answers this one with an error.
    trigger(9);
    let lines = [
        "initial values: 30 40 0",
        "ready",
        "6 and 6 records, 12 in all",
        "a callback's error ends the poll: 1",
        "lookup 0: constant, variable and zero were 345",
    ];
    assert_says(&run.finish(), &lines);
}

/// A guest in C compares a poll's result with its own `-EINTR`, which WASI numbers otherwise than the kernel.
#[test]
fn kernel_ctrl_c_is_eintr_to_a_guest_in_c() {
    if !kernel_gate("Ctrl-C in a poll") {
        return;
    }
    let mut run = Run::skep(["run".into(), guest("interrupted")]);
    run.wait_ready();
    run.signal(Signal::INT);
    let finished = run.finish();
    assert_eq!(finished.stdout, ["ready", "poll: 1", "wait: 1"], "{finished:#?}");
    assert_eq!(finished.code, Some(0), "{finished:#?}");
}

#[test]
fn kernel_a_guest_in_rust_ends_in_order() {
    if !kernel_gate("Ctrl-C in Rust") {
        return;
    }
    let mut run = Run::skep(["run".into(), example("tcpstates")]);
    run.wait_for("header", |line| line.starts_with("SOCKET"));
    run.signal(Signal::TERM);
    assert_eq!(run.finish().code, Some(0));
}

#[test]
fn kernel_the_rust_sdk_reads_maps_by_calls_and_in_place() {
    if !kernel_gate("crates/guest") {
        return;
    }
    let mut run = start("rust-sdk");
    trigger(0);
    run.wait_for("line \"ready for more\"", |line| line == "ready for more");
    for burst in 1..=10 {
        trigger(1);
        // The ring holds six bursts: one at a time, so that none is dropped.
        run.wait_for("burst", |line| line == format!("burst {burst}"));
    }
    let finished = run.finish();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    let said: Vec<&str> =
        finished.stdout.iter().map(String::as_str).filter(|line| !line.starts_with("burst")).collect();
    let expected = [
        "created twice: Err(Errno(17: exists already))",
        "lookup: Some(21) None",
        "delete: true false",
        "19 keys, sum 187",
        "no such map: Some(Errno(2: no such key, map or program))",
        "no such program: Some(Errno(2: no such key, map or program))",
        "not an object: Some(Errno(22: invalid argument))",
        "read in place: Some(55) of 16",
        "written in place: true, looked up: Some(66)",
        "beyond the last: None false",
        "of another size: Some(Errno(22: invalid argument))",
        "a hash: true",
        "unmapped pages read zero: Some(0)",
        "ready",
        "100 records by callback, 0 wrong",
        "ready for more",
        "1000 records in place, 0 wrong",
        "calls counted in place: Some(1) Some(10)",
    ];
    assert_eq!(said, expected, "{finished:#?}");
}
