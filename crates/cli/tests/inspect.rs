//! `skep inspect`, `keygen`, `sign` and `verify`, as a person runs them.

use std::{
    path::Path,
    process::{Command, Output},
};

const FILTER: &str = r#"(module (memory (export "memory") 1)
    (func (export "filter") (param i32 i32) (result i32) i32.const 1))"#;
const LOGGING: &str = r#"(module (import "env" "log" (func (param i32 i32))) (memory (export "memory") 1)
    (func (export "filter") (param i32 i32) (result i32) i32.const 1))"#;

fn skep(directory: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_skep")).current_dir(directory).args(args).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [("filter.wasm", FILTER), ("logging.wasm", LOGGING)] {
        std::fs::write(directory.path().join(name), wat::parse_str(text).unwrap()).unwrap();
    }
    directory
}

#[test]
fn a_module_is_admitted_refused_or_unreadable() {
    let directory = directory();
    let at = directory.path();
    let good = skep(at, &["inspect", "filter.wasm", "--slot", "filter"]);
    assert_eq!(code(&good), 0, "{}", stdout(&good));
    assert!(stdout(&good).contains("world      filter"), "{}", stdout(&good));
    let elsewhere = skep(at, &["inspect", "filter.wasm", "--slot", "packet"]);
    assert_eq!(code(&elsewhere), 1);
    assert!(stdout(&elsewhere).contains("wrong-slot"), "{}", stdout(&elsewhere));
    std::fs::write(at.join("text.wasm"), "hello").unwrap();
    assert_eq!(code(&skep(at, &["inspect", "text.wasm"])), 2);
    assert_eq!(code(&skep(at, &["inspect", "missing.wasm"])), 2);
}

#[test]
fn a_policy_that_grants_nothing_lets_in_what_imports_nothing() {
    let directory = directory();
    let at = directory.path();
    std::fs::write(at.join("policy.toml"), "").unwrap();
    assert_eq!(code(&skep(at, &["inspect", "filter.wasm", "--policy", "policy.toml"])), 0);
    let refused = skep(at, &["inspect", "logging.wasm", "--policy", "policy.toml", "--json"]);
    assert_eq!(code(&refused), 1);
    let report: serde_json::Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(report["verdicts"][0]["rejections"][0]["kind"], "capability-denied");
    assert_eq!(report["verdicts"][0]["rejections"][0]["item"], "env.log");
    assert_eq!(report["imports"][0]["capability"], "log");
}

#[test]
fn a_signed_module_passes_where_a_signature_is_demanded_until_a_byte_changes() {
    let directory = directory();
    let at = directory.path();
    let key = stdout(&skep(at, &["keygen", "release"]));
    let key = key.trim();
    assert_ne!(code(&skep(at, &["keygen", "release"])), 0, "a key is never overwritten");
    let policy =
        format!("require_signature = true\nkeys = [\"{key}\"]\n[[grant]]\nkey = \"{key}\"\ncapabilities = [\"log\"]\n");
    std::fs::write(at.join("policy.toml"), policy).unwrap();
    let inspect = ["inspect", "logging.wasm", "--policy", "policy.toml"];
    assert_eq!(code(&skep(at, &inspect)), 1);
    assert_eq!(code(&skep(at, &["sign", "release", "logging.wasm"])), 0);
    assert_eq!(code(&skep(at, &inspect)), 0, "{}", stdout(&skep(at, &inspect)));
    assert_eq!(code(&skep(at, &["verify", "--key", "release.pub", "logging.wasm"])), 0);
    skep(at, &["keygen", "other"]);
    assert_eq!(code(&skep(at, &["verify", "--key", "other.pub", "logging.wasm"])), 1);
    let mut bytes = std::fs::read(at.join("logging.wasm")).unwrap();
    bytes.extend([0, 2, 1, b'x']);
    std::fs::write(at.join("logging.wasm"), bytes).unwrap();
    let changed = skep(at, &inspect);
    assert_eq!(code(&changed), 1);
    assert!(stdout(&changed).contains("bad-signature"), "{}", stdout(&changed));
    assert_eq!(code(&skep(at, &["verify", "--key", "release.pub", "logging.wasm"])), 1);
}
