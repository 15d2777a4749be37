//! The C SDK: programs for the public header and skeletons of an unmodified bpftool behave as their authors expect.

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
