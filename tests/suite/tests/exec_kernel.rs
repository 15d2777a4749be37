//! `skep exec-kernel` and `skep compile --check` on the modules of this repository, as a person runs them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use skep_suite::{kernel_gate, skep};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Exit code, standard output, standard error.
fn run(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(skep()).current_dir(root()).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn exec(module: &str, export: &str, args: &[&str]) -> (i32, String, String) {
    run(&[&["exec-kernel", module, "--invoke", export], args].concat())
}

#[test]
fn kernel_hello_runs() {
    if !kernel_gate("exec-kernel examples/hello") {
        return;
    }
    let hello = "examples/hello/hello.wasm";
    assert_eq!(exec(hello, "add", &["40", "2"]), (0, "42\n".to_owned(), "fuel used: 0 of 8000000\n".to_owned()));
    assert_eq!(exec(hello, "add", &["-40", "2"]).1, "-38\n");
    let (code, out, err) = exec(hello, "fibonacci", &["90"]);
    assert_eq!((code, out.as_str()), (0, "2880067194370816120\n"), "{err}");
    assert!(err.starts_with("fuel used: ") && !err.starts_with("fuel used: 0 "), "{err}");
    assert_eq!(exec(hello, "hello", &["0"]).1, format!("{}\n", u32::from(b'h')));
    let (code, _, err) = exec(hello, "hello", &["99"]);
    assert_eq!(code, 134, "{err}");
    assert!(err.contains("unreachable in hello at offset 0x"), "{err}");
    let (code, _, err) = exec(hello, "fibonacci", &["1000", "--fuel", "5"]);
    assert!(code == 134 && err.contains("out of fuel"), "{err}");
    let (code, _, err) = exec(hello, "fibonaci", &["1"]);
    assert!(code == 66 && err.contains("fibonacci"), "{err}");
    assert_eq!(exec(hello, "add", &["1"]).0, 2);
    assert_eq!(exec(hello, "add", &["1", "x"]).0, 2);
}

#[test]
fn kernel_filters_run() {
    if !kernel_gate("exec-kernel examples/filters") {
        return;
    }
    // A record of zeros, at address 0: no system call, so it is kept; so is a short one.
    for length in ["88", "0"] {
        let (code, out, err) = exec("examples/filters/slow.wasm", "filter", &["0", length]);
        assert_eq!((code, out.as_str()), (0, "1\n"), "{err}");
    }
    let failed = "examples/filters/failed.wasm";
    let (code, _, err) = exec(failed, "filter", &["0", "88"]);
    assert!(code == 1 && err.contains("env.log"), "{err}");
    let (code, out, err) = exec(failed, "filter", &["--bind", "env.log=nothing", "0", "88"]);
    assert!(code == 0 && ["0\n", "1\n"].contains(&out.as_str()), "{out}{err}");
    for plugin in ["slow-syscalls", "slow-syscalls-c", "redact-paths", "latency-histogram"] {
        let module = format!("examples/{plugin}/{plugin}.wasm");
        let (code, out, err) = exec(&module, "skep_alloc", &["64", "8"]);
        let address: u32 = out.trim().parse().unwrap_or(0);
        assert!(code == 0 && address > 0, "{plugin}: {out}{err}");
    }
}

#[test]
fn kernel_programs_run() {
    if !kernel_gate("exec-kernel tests/kernel-wasm/programs") {
        return;
    }
    let dir = root().join("tests/kernel-wasm/programs");
    let mut ran = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            let (code, out, err) = exec(path.to_str().unwrap(), "run", &["3"]);
            assert!(code == 0 && out.trim().parse::<i32>().is_ok(), "{}: {out}{err}", path.display());
            ran += 1;
        }
    }
    assert!(ran >= 16, "{ran} programs");
}

#[test]
fn kernel_check_tells_what_the_verifier_did() {
    if !kernel_gate("compile --check") {
        return;
    }
    let object = std::env::temp_dir().join(format!("skep-check-{}.bpf.o", std::process::id()));
    let program = "tests/kernel-wasm/programs/rust-sort.wasm";
    let (code, out, err) = run(&["compile", program, "-o", object.to_str().unwrap(), "--check"]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("walked by the verifier") && out.contains("loaded in ") && out.contains("stack: at most "),
        "{out}"
    );
    assert!(err.starts_with(&format!("wrote {}, ", object.display())), "{err}");
    assert!(std::fs::read(&object).unwrap().starts_with(b"\x7fELF"));
    std::fs::remove_file(&object).unwrap();
}

#[test]
fn every_stage_of_the_compiler_is_printed() {
    let (code, out, err) = run(&["compile", "examples/hello/hello.wasm", "--emit", "stages"]);
    assert_eq!(code, 0, "{err}");
    for stage in ["lowered", "inlined", "merged", "charged with fuel", "analysed", "registers of", "code of"] {
        assert!(out.contains(&format!("== {stage}")), "no {stage}: {out}");
    }
}

#[test]
fn the_listing_shows_source_lines_of_a_module_with_dwarf() {
    let program = "tests/kernel-wasm/programs/rust-sort.wasm";
    let (code, out, err) = run(&["compile", program, "--emit", "asm"]);
    assert_eq!(code, 0, "{err}");
    let line = out.lines().find(|line| line.contains("i32.load")).unwrap_or_default();
    assert!(out.contains("examples/sort.rs:"), "no source line: {line}");
    assert!(line.contains("; 0x"), "no offset: {line}");
}
