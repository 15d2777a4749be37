//! How a run ends: exit statuses, traps, modules that cannot be linked, output that cannot be written.

use std::io::{self, Write};

use skep_error::Kind;
use skep_sandbox::{Reason, Stop};

use crate::{
    fake::Fake,
    guest::{run, run_into, run_text, run_until},
};

#[test]
fn the_status_is_the_guests_own() {
    for status in [0, 1, 125, 126, 255, 256, -1] {
        let body = format!(r#"(func (export "_start") (drop (call $object)) (call $exit (i32.const {status})))"#);
        let ran = run(&Fake::default(), &body);
        assert_eq!(ran.result.unwrap(), status);
    }
    assert_eq!(run(&Fake::default(), r#"(func (export "_start"))"#).result.unwrap(), 0);
    // A start function has the imports as any other.
    let ran =
        run(&Fake::default(), r#"(func $first (call $say64 (call $object))) (start $first) (func (export "_start"))"#);
    ran.says(&[1]);
}

#[test]
fn traps_say_what_happened_and_leave_nothing_loaded() {
    let cases = [
        ("unreachable", "it gave up"),
        ("(drop (i32.load (i32.const 65536)))", "outside its memory"),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "divided by zero"),
        ("(call_indirect (i32.const 0))", "no such function"),
        ("(call $start)", "nested too deeply"),
    ];
    for (body, words) in cases {
        let body = format!(r#"(table 1 funcref) (func $start (export "_start") (drop (call $object)) {body})"#);
        let error = run(&Fake::default(), &body).result.unwrap_err();
        assert_eq!(error.kind(), Kind::Trap);
        assert!(error.report(0).contains(words), "{}", error.report(0));
    }
}

#[test]
fn an_endless_loop_ends_when_it_is_asked_to() {
    let stop = Stop::new().unwrap();
    stop.request(Reason::TimedOut);
    let ran = run_until(&Fake::default(), r#"(func (export "_start") (loop $l (br $l)))"#, &stop);
    assert_eq!(ran.result.unwrap_err().kind(), Kind::TimedOut);
}

#[test]
fn waits_other_than_plain_sleeps_are_answered_by_wasi() {
    // An absolute time of the monotonic clock that is over, and then nothing to wait for, which is EINVAL (28).
    let text = r#"(module
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (import "wasm_bpf" "wasm_close_bpf_object" (func (param i64) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start")
            (i32.store (i32.const 16) (i32.const 1))
            (i32.store16 (i32.const 40) (i32.const 1))
            (if (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)) (then (call $exit (i32.const 1))))
            (if (i32.ne (i32.load (i32.const 128)) (i32.const 1)) (then (call $exit (i32.const 2))))
            (call $exit (call $poll (i32.const 0) (i32.const 64) (i32.const 0) (i32.const 128)))))"#;
    let ran = run_text(&Fake::default(), text, &Stop::new().unwrap(), None);
    assert_eq!(ran.result.map_err(|error| error.report(9)), Ok(28));
}

fn refused(text: &str) -> String {
    let ran = run_text(&Fake::default(), text, &Stop::new().unwrap(), None);
    let error = ran.result.unwrap_err();
    assert_eq!(error.kind(), Kind::BadInput, "{}", error.report(9));
    error.report(0)
}

#[test]
fn unknown_imports_are_named_with_the_nearest_known_one() {
    let cases = [
        ("wasi_snapshot_preview1", "fd_wrte", "\"fd_write\""),
        ("wasi_snapshot_preview1", "proc_exti", "\"proc_exit\""),
        ("wasm_bpf", "wasm_bpf_map_operat", "\"wasm_bpf_map_operate\""),
        ("wasi_snapshot_preview2", "brew_coffee", "\"wasi_snapshot_preview1\""),
        ("skep_bpf", "map_mapp", "\"map_mmap\""),
    ];
    for (module, name, nearest) in cases {
        let text = format!(
            r#"(module (import "{module}" "{name}" (func)) (memory (export "memory") 1) (func (export "_start")))"#
        );
        let report = refused(&text);
        assert!(report.contains(name) && report.contains(nearest), "{report}");
    }
}

#[test]
fn an_import_of_a_wrong_type_or_kind_is_named() {
    let report = refused(
        r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i64)))
        (memory (export "memory") 1) (func (export "_start")))"#,
    );
    assert!(report.contains("fd_write") && report.contains("(i32, i32, i32, i32) -> (i32)"), "{report}");
    let report = refused(r#"(module (import "env" "memory" (memory 1)) (func (export "_start")))"#);
    assert!(report.contains("env.memory, a memory"), "{report}");
    let report = refused(r#"(module (memory (export "memory") 1) (func (export "_start") (param i32)))"#);
    assert!(report.contains("_start"), "{report}");
}

#[test]
fn a_module_that_imports_a_function_in_two_forms() {
    let report = refused(
        r#"(module
        (import "wasm_bpf" "wasm_bpf_map_operate" (func (param i32 i32 i32 i32 i32 i64) (result i32)))
        (import "wasm_bpf" "wasm_bpf_map_operate" (func (param i32 i32 i64 i64 i64 i64) (result i32)))
        (memory (export "memory") 1) (func (export "_start")))"#,
    );
    assert!(report.contains("wasm_bpf.wasm_bpf_map_operate in two forms"), "{report}");
}

#[test]
fn a_module_that_imports_a_function_twice_in_one_form() {
    let text = r#"(module
        (import "wasm_bpf" "wasm_close_bpf_object" (func $one (param i64) (result i32)))
        (import "wasm_bpf" "wasm_close_bpf_object" (func $two (param i64) (result i32)))
        (import "env" "wasm_close_bpf_object" (func $three (param i64) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start") (drop (call $one (i64.const 1))) (drop (call $two (i64.const 2)))
            (drop (call $three (i64.const 3)))))"#;
    let ran = run_text(&Fake::default(), text, &Stop::new().unwrap(), None);
    assert!(matches!(ran.result, Ok(0)), "{:?}", ran.result);
    assert_eq!(ran.reports.len(), 3, "{:?}", ran.reports);
}

#[test]
fn a_guest_without_a_memory_is_told_so_when_it_needs_one() {
    let text = r#"(module (import "wasm_bpf" "wasm_load_bpf_object" (func $load (param i32 i32) (result i64)))
        (func (export "_start") (drop (call $load (i32.const 0) (i32.const 4)))))"#;
    let ran = run_text(&Fake::default(), text, &Stop::new().unwrap(), None);
    let report = ran.result.unwrap_err().report(0);
    assert!(report.contains("exports no memory"), "{report}");
}

/// Output that fails as a full disk does, or a pipe that nobody reads any more.
struct Failing(io::ErrorKind);

impl Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error_of_a_run_that_went_well() {
    let body = r#"(func (export "_start") (drop (call $object)) (call $say (i32.const 1)))"#;
    let ran = run_into(&Fake::default(), body, Box::new(Failing(io::ErrorKind::StorageFull)));
    let error = ran.result.unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    assert!(error.report(0).contains("writing what the guest printed"), "{}", error.report(0));
    // A guest that has failed by itself says so in its own way.
    let body = r#"(func (export "_start") (call $say (i32.const 1)) (call $exit (i32.const 3)))"#;
    let ran = run_into(&Fake::default(), body, Box::new(Failing(io::ErrorKind::StorageFull)));
    assert_eq!(ran.result.unwrap(), 3);
}

#[test]
fn a_reader_that_has_gone_ends_a_guest_that_goes_on() {
    let body = r#"(func (export "_start") (loop $l (call $say (i32.const 1)) (br $l)))"#;
    let error = run_into(&Fake::default(), body, Box::new(Failing(io::ErrorKind::BrokenPipe))).result.unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Io, "whoever read the output has gone"));
}
