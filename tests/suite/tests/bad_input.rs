//! What is no module, and modules that misbehave: a clear message, a documented exit code, nothing left behind.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::Signal;
use skep_suite::{Finished, Inventory, Run, example, guest, kernel_gate, skep};

fn run_file(path: &Path) -> Finished {
    Run::skep(["run".as_ref(), "--no-cache".as_ref(), path.as_os_str()]).finish()
}

fn run_bytes(bytes: &[u8]) -> Finished {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("module.wasm");
    fs::write(&path, bytes).unwrap();
    run_file(&path)
}

fn run_text(wat: &str) -> Finished {
    run_bytes(&wat::parse_str(wat).unwrap())
}

#[track_caller]
fn assert_refused(finished: &Finished, code: i32, words: &[&str]) {
    assert_eq!(finished.code, Some(code), "{finished:#?}");
    for word in words {
        assert!(finished.stderr.contains(word), "no {word:?} in {}", finished.stderr);
    }
}

#[test]
fn a_missing_file() {
    assert_refused(&run_file(Path::new("/nowhere/at-all.wasm")), 66, &["/nowhere/at-all.wasm", "No such file"]);
}

#[test]
fn a_directory() {
    assert_refused(&run_file(Path::new("/")), 65, &["not a file"]);
}

#[test]
fn text_and_nothing() {
    assert_refused(&run_bytes(b"#!/bin/sh\necho hello\n"), 65, &["module.wasm"]);
    assert_refused(&run_bytes(b""), 65, &["module.wasm"]);
}

#[test]
fn a_truncated_module() {
    let whole = fs::read(guest("burst")).unwrap();
    for len in [4, 8, 9, whole.len() / 2, whole.len() - 1] {
        assert_eq!(run_bytes(&whole[..len]).code, Some(65), "cut off at {len}");
    }
}

#[test]
fn a_component() {
    assert_refused(&run_text("(component)"), 65, &["component"]);
}

#[test]
fn an_unknown_import_is_named_with_the_nearest_known_one() {
    let module = r#"(module (import "wasm_bpf" "wasm_load_bpf_objekt" (func (param i32 i32) (result i64)))
        (memory (export "memory") 1) (func (export "_start")))"#;
    assert_refused(&run_text(module), 65, &["wasm_load_bpf_objekt", "wasm_load_bpf_object"]);
}

#[test]
fn an_import_of_another_type_is_named_with_the_right_one() {
    let module = r#"(module (import "wasm_bpf" "wasm_close_bpf_object" (func (param i32) (result i32)))
        (memory (export "memory") 1) (func (export "_start")))"#;
    assert_refused(&run_text(module), 65, &["wasm_close_bpf_object", "(i64) -> (i32)"]);
}

#[test]
fn a_library_is_no_command() {
    assert_eq!(run_text(r#"(module (memory (export "memory") 1) (func (export "f")))"#).code, Some(65));
}

#[test]
fn a_guest_that_wants_too_much_memory() {
    let module = r#"(module (memory (export "memory") 65536) (func (export "_start")))"#;
    assert_refused(&run_text(module), 1, &["bytes of memory", "--max-memory"]);
}

#[test]
fn any_exit_status_is_passed_on() {
    for status in [0, 1, 42, 125, 126, 127, 128, 255] {
        let module = format!(
            r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                (memory (export "memory") 1) (func (export "_start") i32.const {status} call $exit))"#
        );
        let finished = run_text(&module);
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(status), ""));
    }
}

#[test]
fn a_start_function_may_exit() {
    let module = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1) (func $start i32.const 9 call $exit) (start $start)
        (func (export "_start") unreachable))"#;
    let finished = run_text(module);
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(9), ""));
}

#[test]
fn memories_and_tables_that_a_guest_may_not_have() {
    let start = r#"(func (export "_start"))"#;
    let module = |body: &str| run_text(&format!("(module {body} {start})"));
    assert_refused(&module(r#"(memory (export "memory") i64 1)"#), 65, &["module.wasm", "memory64"]);
    assert_refused(&module(r#"(memory (export "memory") 1) (memory 1)"#), 65, &["memories"]);
    assert_refused(&module(r#"(memory (export "memory") 1 2 shared)"#), 65, &["shared"]);
    assert_refused(&module(r#"(memory (export "memory") 1) (table 4294967295 funcref)"#), 1, &["a smaller table"]);
}

/// Names of a pipe in a directory of its own.
fn pipe() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    (dir, path)
}

#[test]
fn a_pipe_in_the_place_of_a_module_or_a_directory_keeps_nobody_waiting() {
    let (dir, pipe) = pipe();
    assert_refused(&run_file(&pipe), 65, &["pipe", "not a file"]);
    let module = dir.path().join("module.wasm");
    fs::write(&module, wat::parse_str(r#"(module (func (export "_start")))"#).unwrap()).unwrap();
    let run = |lent: &Path| {
        let args = ["run".as_ref(), "--no-cache".as_ref(), "--dir".as_ref(), lent.as_os_str(), module.as_os_str()];
        Run::skep(args).finish()
    };
    assert_refused(&run(&pipe), 74, &["opening the directory", "pipe", "Not a directory"]);
    assert_refused(&run(&dir.path().join("none")), 66, &["none", "No such file"]);
    assert_eq!(run(dir.path()).code, Some(0));
}

/// Whatever the last descriptor was needed for, it is an error that says so.
#[test]
fn a_process_that_may_have_few_descriptors() {
    let (mut ran, mut refused) = (0, 0);
    for limit in 4..=18 {
        let mut shell = Command::new("sh");
        let script = format!("ulimit -n {limit}; exec \"$0\" run --no-cache \"$1\" --help");
        shell.args(["-c", &script]).arg(skep()).arg(example("bootstrap")).stdin(Stdio::null());
        let finished = Run::start(shell).finish();
        if finished.code == Some(0) {
            ran += 1;
        } else if finished.code == Some(127) {
            // Too few for the dynamic loader: the program does not begin.
            assert!(finished.stderr.contains("loading shared libraries"), "{}", finished.stderr);
        } else {
            assert_refused(&finished, 74, &["Too many open files", "ulimit -n"]);
            refused += 1;
        }
    }
    assert!(ran > 0 && refused > 0, "{ran} ran, {refused} were refused");
}

fn run_for_a_second(wasm: &[u8]) -> Finished {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("module.wasm");
    fs::write(&path, wasm).unwrap();
    Run::skep(["run".as_ref(), "--no-cache".as_ref(), "--timeout".as_ref(), "1s".as_ref(), path.as_os_str()]).finish()
}

#[test]
fn a_start_function_that_loops_ends_with_the_time_given_to_it() {
    let module = r#"(module (memory (export "memory") 1) (func $loop (loop $l (br $l))) (start $loop)
        (func (export "_start")))"#;
    let finished = run_for_a_second(&wat::parse_str(module).unwrap());
    assert_refused(&finished, 124, &["the time given to the run is over"]);
}

/// One function of 1,000,000 branches, which takes long to compile; a run of it would never end.
fn slow_to_compile() -> Vec<u8> {
    let mut body = vec![0];
    // i32.const 0, if, end
    (0..1_000_000).for_each(|_| body.extend([0x41, 0, 0x04, 0x40, 0x0b]));
    // loop, br 0, end; end
    body.extend([0x03, 0x40, 0x0c, 0, 0x0b, 0x0b]);
    let mut wasm =
        wat::parse_str(r#"(module (type (func)) (memory (export "memory") 1) (export "_start" (func 0)) (func))"#)
            .unwrap();
    // The code section is the last one: 10, its length, one function, its length, no locals, end.
    assert!(wasm.ends_with(&[10, 4, 1, 2, 0, 11]), "{wasm:?}");
    wasm.truncate(wasm.len() - 5);
    let len = length(body.len());
    wasm.extend(length(1 + len.len() + body.len()));
    wasm.push(1);
    wasm.extend(len);
    wasm.extend(body);
    wasm
}

#[test]
fn a_large_module_ends_with_the_time_given_to_it_also_while_it_is_compiled() {
    let started = std::time::Instant::now();
    assert_refused(&run_for_a_second(&slow_to_compile()), 124, &["time"]);
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
}

/// That a compilation takes long is for a person to know, not for a file.
#[test]
fn progress_is_shown_on_a_terminal_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("module.wasm");
    fs::write(&path, slow_to_compile()).unwrap();
    let line = format!("{} run --no-cache --timeout 3s {}", skep().display(), path.display());
    // `script` gives its command a terminal, and copies what is shown on it.
    let mut on_terminal = Command::new("script");
    on_terminal.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let on_terminal = on_terminal.spawn().unwrap();
    let mut piped = Command::new("sh");
    let piped = piped.args(["-c", &format!("exec {line}")]).output().unwrap();
    let on_terminal = on_terminal.wait_with_output().unwrap();
    assert_eq!((piped.status.code(), on_terminal.status.code()), (Some(124), Some(124)), "{on_terminal:?}");
    let [piped, shown] = [piped.stderr, on_terminal.stdout].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(piped.starts_with("skep: error: ") && piped.lines().count() == 1, "no more than why it ended: {piped}");
    let shown: Vec<&str> = shown.lines().map(|line| line.trim_end_matches('\r')).collect();
    assert_eq!(shown, [&format!("skep: compiling {}", path.display()), piped.trim_end()]);
}

/// LEB128.
fn length(mut n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n >= 0x80 {
        bytes.push(n as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}

/// Runs one case of the guest that misbehaves.
fn misuse(case: &str) -> Option<Finished> {
    kernel_gate(case).then(|| Run::skep(["run".as_ref(), guest("misuse").as_os_str(), case.as_ref()]).finish())
}

#[track_caller]
fn assert_survived(finished: &Finished) {
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert_eq!(finished.stdout.last().map(String::as_str), Some("survived"), "{finished:#?}");
    assert!(finished.stderr.contains("skep: error: "), "nothing was said: {finished:#?}");
}

#[test]
fn kernel_pointers_out_of_range_in_every_function() {
    let Some(finished) = misuse("pointers") else { return };
    assert_survived(&finished);
    let results = finished.stdout.iter().filter_map(|line| line.rsplit_once(" = ")?.1.parse::<i64>().ok());
    let (mut calls, mut succeeded) = (0, 0);
    for result in results {
        calls += 1;
        succeeded += usize::from(result > 0);
    }
    assert!(calls >= 20 && succeeded == 0, "{finished:#?}");
    assert!(finished.stderr.contains("do not lie in the guest's memory"), "{}", finished.stderr);
}

#[test]
fn kernel_handles_of_others() {
    let Some(finished) = misuse("handles") else { return };
    assert_survived(&finished);
    assert!(finished.stdout.iter().any(|line| line == "foreign map handles refused"));
    assert!(finished.stderr.contains("did you mean \"unused\"?"), "{}", finished.stderr);
}

#[test]
fn kernel_huge_lengths_and_garbage_objects() {
    let Some(finished) = misuse("lengths") else { return };
    assert_survived(&finished);
    assert!(finished.stderr.contains("opening the eBPF object"), "{}", finished.stderr);
}

#[test]
fn kernel_closing_twice() {
    let Some(finished) = misuse("close-twice") else { return };
    assert_survived(&finished);
    let results: Vec<_> = finished.stdout.iter().filter_map(|line| line.rsplit_once(" = ")).map(|at| at.1).collect();
    assert_eq!(results, ["0", "-1"]);
}

#[test]
fn kernel_polling_a_hash_map() {
    let Some(finished) = misuse("poll-hash") else { return };
    assert_survived(&finished);
    assert!(finished.stderr.contains("not a ring buffer or a perf event array"), "{}", finished.stderr);
}

#[test]
fn kernel_exit_status_255() {
    let Some(finished) = misuse("exit255") else { return };
    assert_eq!(finished.code, Some(255));
}

/// The names that the guest `misuse` has in the kernel.
const NAMES: &[&str] = &["unused", "skep_drops"];

#[test]
fn kernel_a_trap_and_endless_recursion_detach() {
    // Recursion uses up the stack that the guest keeps in its memory, or wasmtime's, whichever is smaller.
    for (case, words) in [("trap", "gave up"), ("recursion", "the guest trapped")] {
        let before = Inventory::now();
        let Some(finished) = misuse(case) else { return };
        assert_refused(&finished, 134, &[words]);
        Inventory::assert_nothing_left(&before, NAMES);
    }
}

#[test]
fn kernel_an_endless_loop_ends_with_the_time_given_to_it() {
    if !kernel_gate("an endless loop") {
        return;
    }
    let before = Inventory::now();
    let file = guest("misuse");
    let run = Run::skep(["run".as_ref(), "--timeout".as_ref(), "500ms".as_ref(), file.as_os_str(), "loop".as_ref()]);
    assert_refused(&run.finish(), 124, &["the time given to the run is over"]);
    Inventory::assert_nothing_left(&before, NAMES);
}

#[test]
fn kernel_ctrl_c_ends_a_loop_and_sigkill_leaves_nothing_either() {
    for (signal, code) in
        [(Signal::INT, Some(130)), (Signal::TERM, Some(130)), (Signal::HUP, Some(130)), (Signal::KILL, None)]
    {
        if !kernel_gate("signals") {
            return;
        }
        let before = Inventory::now();
        let mut run = Run::skep(["run".as_ref(), guest("misuse").as_os_str(), "loop".as_ref()]);
        run.wait_ready();
        let attached = Inventory::now().added_since(&before, NAMES);
        assert!(attached.iter().any(|item| item.starts_with("link")), "nothing was attached: {attached:?}");
        run.signal(signal);
        assert_eq!(run.finish().code, code);
        Inventory::assert_nothing_left(&before, NAMES);
    }
}
