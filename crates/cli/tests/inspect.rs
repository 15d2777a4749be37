//! `skep inspect`, `keygen`, `sign` and `verify`, as a person runs them.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use serde_json::json;

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
fn a_name_in_a_module_starts_no_line_of_a_message() {
    let directory = directory();
    let at = directory.path();
    let text = r#"(module (import "wasm_bpf" "x\nskep: error: forged" (func))
        (memory (export "memory") 1) (func (export "_start")))"#;
    std::fs::write(at.join("forger.wasm"), wat::parse_str(text).unwrap()).unwrap();
    let output = skep(at, &["run", "--no-cache", "forger.wasm"]);
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(code(&output), 65, "{stderr}");
    assert!(stderr.contains("x\\nskep: error: forged"), "{stderr}");
    assert_eq!(stderr.lines().filter(|line| line.starts_with("skep: error:")).count(), 1, "{stderr}");
}

#[test]
fn without_a_verdict_the_exit_code_is_neither_that_of_admission_nor_of_refusal() {
    let directory = directory();
    let at = directory.path();
    let broken = |name: &str, text: &str| {
        std::fs::write(at.join(name), text).unwrap();
        name.to_owned()
    };
    let everyone = broken("everyone.toml", "");
    std::fs::set_permissions(at.join(&everyone), std::fs::Permissions::from_mode(0o666)).unwrap();
    for (policy, said) in [
        ("missing.toml".to_owned(), "missing.toml"),
        (broken("syntax.toml", "require_signature ="), "syntax.toml"),
        (broken("unknown.toml", "granted = []"), "granted"),
        (broken("capability.toml", "[[grant]]\ncapabilities = [\"logg\"]"), "logg"),
        (broken("trust.toml", "trust = \"nowhere\""), "nowhere"),
        (everyone, "everyone.toml"),
        (".".to_owned(), "policy"),
    ] {
        let ended = skep(at, &["inspect", "filter.wasm", "--policy", &policy]);
        assert_eq!(code(&ended), 2, "{policy}: {ended:?}");
        let text = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(text.contains("error: ") && text.contains(said), "{policy}: {text}");
        assert_eq!(stdout(&ended), "", "{policy}");
    }
    let ended = skep(at, &["inspect", "filter.wasm", "--signature", "missing.sig"]);
    assert_eq!(code(&ended), 2, "{ended:?}");
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
    let made = stdout(&skep(at, &["keygen", "release"]));
    let public = std::fs::read_to_string(at.join("release.pub")).unwrap();
    let key = public.split_whitespace().nth(1).unwrap();
    assert!(made.contains(key) && made.lines().count() == 2, "{made}");
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

#[test]
fn a_secret_key_that_others_may_read_signs_with_a_warning() {
    let directory = directory();
    let at = directory.path();
    skep(at, &["keygen", "release"]);
    let sign = |mode: u32| {
        std::fs::set_permissions(at.join("release"), std::fs::Permissions::from_mode(mode)).unwrap();
        let signed = skep(at, &["sign", "release", "logging.wasm"]);
        assert_eq!(code(&signed), 0, "{mode:o}: {signed:?}");
        String::from_utf8(signed.stderr).unwrap()
    };
    for mode in [0o600, 0o400] {
        assert_eq!(sign(mode), "", "{mode:o}");
    }
    for mode in [0o640, 0o604, 0o620, 0o666] {
        assert!(sign(mode).contains("chmod 600 release"), "{mode:o}");
    }
}

#[test]
fn memories_in_json_have_all_that_a_module_says_of_them() {
    let directory = directory();
    let at = directory.path();
    for (memory, fields) in [
        ("1", json!({"min": 1, "max": null, "page_size": 65536, "wide": false, "shared": false})),
        ("1 4", json!({"min": 1, "max": 4, "page_size": 65536, "wide": false, "shared": false})),
        ("1 2 shared", json!({"min": 1, "max": 2, "page_size": 65536, "wide": false, "shared": true})),
        ("i64 3", json!({"min": 3, "max": null, "page_size": 65536, "wide": true, "shared": false})),
        ("5 9 (pagesize 1)", json!({"min": 5, "max": 9, "page_size": 1, "wide": false, "shared": false})),
    ] {
        let text = format!("(module (memory (export \"memory\") {memory}) (table 2 7 funcref))");
        std::fs::write(at.join("memory.wasm"), wat::parse_str(text).unwrap()).unwrap();
        let output = skep(at, &["inspect", "memory.wasm", "--json"]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["memories"], json!([fields]), "{memory}");
        assert_eq!(report["tables"], json!([{"min": 2, "max": 7}]), "{memory}");
    }
}

#[test]
fn the_compilers_verdict_says_whether_a_module_can_be_placed_in_the_kernel() {
    let directory = directory();
    let at = directory.path();
    let float = r#"(module (memory (export "memory") 1) (func (export "filter") (param i32 i32) (result i32)
        (f64.lt (f64.load (local.get 0)) (f64.const 1))))"#;
    let recursive = r#"(module (memory (export "memory") 1)
        (func $down (param i32) (result i32) (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 1))
            (else (call $down (i32.sub (local.get 0) (i32.const 1))))))
        (func (export "filter") (param i32 i32) (result i32) (call $down (local.get 1))))"#;
    for (name, text) in [("float.wasm", float), ("recursive.wasm", recursive)] {
        std::fs::write(at.join(name), wat::parse_str(text).unwrap()).unwrap();
    }
    let expected = [
        ("filter.wasm", None),
        ("recursive.wasm", None),
        ("float.wasm", Some("float")),
        ("logging.wasm", Some("import")),
    ];
    // An import that nobody calls keeps nothing out, so this one is called.
    let calls = LOGGING.replace("i32.const 1))", "(call 0 (i32.const 0) (i32.const 0)) i32.const 1))");
    std::fs::write(at.join("logging.wasm"), wat::parse_str(calls).unwrap()).unwrap();
    for (file, kind) in expected {
        let report: serde_json::Value = serde_json::from_slice(&skep(at, &["inspect", file, "--json"]).stdout).unwrap();
        assert_eq!(report["kernel"]["judged"], true);
        let found = report["kernel"]["obstacles"][0]["kind"].as_str();
        assert_eq!(found, kind, "{file}: {}", report["kernel"]);
        let text = stdout(&skep(at, &["inspect", file]));
        let line = if kind.is_some() { "cannot be placed in the kernel" } else { "can be placed in the kernel" };
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn names_out_of_a_module_do_not_reach_the_terminal_as_they_are() {
    let directory = directory();
    let at = directory.path();
    let named = FILTER.replace("(memory", "(func (export \"\\1b[2J\\nworld      hooks\")) (memory");
    std::fs::write(at.join("named.wasm"), wat::parse_str(named).unwrap()).unwrap();
    let text = stdout(&skep(at, &["inspect", "named.wasm"]));
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(text.contains(r"\u{1b}[2J\nworld"), "{text}");
}
