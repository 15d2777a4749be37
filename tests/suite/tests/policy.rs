//! `skep run --policy`: a program runs with what a policy grants, or not at all.

use std::{fs, path::Path};

use rustix::process::Signal;
use skep_suite::{Finished, Inventory, Run, example, kernel_gate};
use tempfile::TempDir;

/// A program that imports two things, calls neither, and ends with status 7. It loads nothing: this needs no root.
const PROGRAM: &str = r#"(module
    (import "wasm_bpf" "wasm_close_bpf_object" (func (param i64) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 2)
    (func (export "_start") (call $exit (i32.const 7))))"#;

fn with_policy(policy: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("policy.toml"), policy).unwrap();
    fs::write(dir.path().join("program.wasm"), wat::parse_str(PROGRAM).unwrap()).unwrap();
    dir
}

fn run(dir: &Path, more: &[&str]) -> Finished {
    let (policy, program) = (dir.join("policy.toml"), dir.join("program.wasm"));
    let mut args = vec!["run", "--no-cache", "--policy", policy.to_str().unwrap()];
    args.extend(more);
    args.push(program.to_str().unwrap());
    Run::skep(args).finish()
}

#[track_caller]
fn assert_refused(finished: &Finished, words: &[&str]) {
    assert_eq!(finished.code, Some(1), "{finished:#?}");
    for word in words {
        assert!(finished.stderr.contains(word), "no {word:?} in {}", finished.stderr);
    }
}

const GRANT: &str = "[[grant]]\ncapabilities = [\"bpf\", \"process\"]\n";

#[test]
fn a_policy_that_grants_nothing_names_the_imports_it_refuses() {
    let dir = with_policy("");
    assert_refused(
        &run(dir.path(), &[]),
        &["wasm_bpf.wasm_close_bpf_object", "wasi_snapshot_preview1.proc_exit", "grant"],
    );
}

#[test]
fn a_program_runs_with_what_it_is_granted() {
    let dir = with_policy(GRANT);
    assert_eq!(run(dir.path(), &[]).code, Some(7));
    let half = with_policy("[[grant]]\ncapabilities = [\"bpf\"]\n");
    assert_refused(&run(half.path(), &[]), &["wasi_snapshot_preview1.proc_exit", "\"process\""]);
}

#[test]
fn a_compiled_module_in_the_cache_is_admitted_anew() {
    let dir = with_policy(GRANT);
    let cache = dir.path().join("cache");
    let program = dir.path().join("program.wasm");
    let run = |policy: &Path| {
        let mut command = std::process::Command::new(skep_suite::skep());
        command.env("XDG_CACHE_HOME", &cache).args(["run", "--policy"]).arg(policy).arg(&program);
        Run::start(command).finish()
    };
    assert_eq!(run(&dir.path().join("policy.toml")).code, Some(7));
    fs::write(dir.path().join("nothing.toml"), "").unwrap();
    assert_refused(&run(&dir.path().join("nothing.toml")), &["wasm_close_bpf_object"]);
}

#[test]
fn a_signature_beside_the_program_counts() {
    let dir = with_policy("");
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    assert_eq!(Run::skep(["keygen", &file("key")]).finish().code, Some(0));
    let public = fs::read_to_string(dir.path().join("key.pub")).unwrap();
    let key = public.split_whitespace().nth(1).unwrap();
    let policy = format!(
        "require_signature = true\nkeys = [\"{key}\"]\n[[grant]]\nkey = \"{key}\"\ncapabilities = [\"bpf\", \"process\"]\n"
    );
    fs::write(dir.path().join("policy.toml"), policy).unwrap();
    assert_refused(&run(dir.path(), &[]), &["signature"]);
    assert_eq!(Run::skep(["sign", &file("key"), &file("program.wasm")]).finish().code, Some(0));
    assert_eq!(run(dir.path(), &[]).code, Some(7));
}

#[test]
fn ceilings_and_revocations_hold_for_programs() {
    let dir = with_policy(&format!("[ceiling]\npages = 1\n{GRANT}"));
    assert_refused(&run(dir.path(), &[]), &["memory", "at most 1 pages", "2 pages"]);
    let inspected =
        Run::skep(["inspect".as_ref(), "--json".as_ref(), dir.path().join("program.wasm").as_os_str()]).finish();
    let report: serde_json::Value = serde_json::from_str(&inspected.text()).unwrap();
    let dir = with_policy(&format!("revoked = [{}]\n{GRANT}", report["hash"]));
    assert_refused(&run(dir.path(), &[]), &["revokes"]);
}

#[test]
fn a_directory_is_lent_only_below_one_that_is_granted() {
    let dir = with_policy("");
    let granted = dir.path().join("granted");
    fs::create_dir_all(granted.join("inner")).unwrap();
    let policy = format!("{GRANT}directories = [\"{}\"]\n", granted.display());
    fs::write(dir.path().join("policy.toml"), policy).unwrap();
    assert_eq!(run(dir.path(), &["--dir", granted.join("inner").to_str().unwrap()]).code, Some(7));
    assert_refused(&run(dir.path(), &["--dir", "/etc"]), &["/etc", "directories"]);
    let around = granted.join("..").to_str().unwrap().to_owned();
    assert_refused(&run(dir.path(), &["--dir", &around]), &["directories"]);
}

#[test]
fn kernel_a_sample_runs_under_the_grants_that_its_imports_need() {
    if !kernel_gate("a sample under a policy") {
        return;
    }
    let before = Inventory::now();
    let dir = with_policy("[[grant]]\ncapabilities = [\"bpf\", \"process\", \"clock\", \"stdio\"]\n");
    let policy = dir.path().join("policy.toml");
    let mut run =
        Run::skep(["run".as_ref(), "--policy".as_ref(), policy.as_os_str(), example("bootstrap").as_os_str()]);
    run.wait_for("the header", |line| line.contains("TIME"));
    let child = std::process::Command::new("/bin/true").spawn().unwrap();
    let pid = child.id().to_string();
    let mut child = child;
    child.wait().unwrap();
    run.wait_for("EXEC of the child", |line| line.contains("EXEC") && line.split_whitespace().any(|word| word == pid));
    run.signal(Signal::INT);
    assert_eq!(run.finish().code, Some(0));
    Inventory::assert_nothing_left(&before, &["handle_exec", "handle_exit"]);
}

/// A filter of world `filter` that may log.
const FILTER: &str = r#"(module (import "env" "log" (func (param i32 i32))) (memory (export "memory") 2)
    (func (export "filter") (param i32 i32) (result i32) i32.const 1))"#;

#[test]
fn a_filter_is_asked_only_if_the_policy_admits_it() {
    let dir = with_policy("");
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(file("filter.wasm"), wat::parse_str(FILTER).unwrap()).unwrap();
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/slow-syscalls/slow-syscalls.wasm");
    fs::copy(plugin, file("plugin.wasm")).unwrap();
    let policy = |text: &str| fs::write(file("policy.toml"), text).unwrap();
    // A second filter, which is not there, ends those commands whose first one was admitted.
    let trace = |filter: &str| {
        let args = ["trace", "syscall", "--policy", &file("policy.toml"), "--filter", &file(filter)];
        Run::skep(args.iter().copied().chain(["--filter", "/nonexistent.wasm"])).finish()
    };
    let admitted = |filter: &str| {
        let finished = trace(filter);
        assert_eq!(finished.code, Some(66), "{finished:#?}");
    };
    assert_refused(&trace("filter.wasm"), &["filter.wasm", "env.log", "\"log\""]);
    admitted("plugin.wasm");
    policy("[[grant]]\ncapabilities = [\"log\"]\n");
    admitted("filter.wasm");
    policy("[[grant]]\ncapabilities = [\"log\"]\nceiling = { pages = 1 }\n");
    assert_refused(&trace("filter.wasm"), &["at most 1 pages", "2 pages"]);
    assert_eq!(Run::skep(["keygen", &file("key")]).finish().code, Some(0));
    let public = fs::read_to_string(file("key.pub")).unwrap();
    let key = public.split_whitespace().nth(1).unwrap();
    policy(&format!("require_signature = true\nkeys = [\"{key}\"]\n"));
    assert_refused(&trace("plugin.wasm"), &["plugin.wasm", "signature"]);
    assert_eq!(Run::skep(["sign", &file("key"), &file("plugin.wasm")]).finish().code, Some(0));
    admitted("plugin.wasm");
    let without = Run::skep(["trace", "syscall", "--policy", &file("policy.toml")]).finish();
    assert_eq!(without.code, Some(2), "a policy without a filter is about nothing: {without:#?}");
}
