//! Standard streams that take nothing: an exit code that says so, or none where only a remark is lost, and never a panic.

use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    os::unix::ffi::OsStrExt as _,
    path::Path,
    process::Command,
};

fn skep(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
    command.current_dir(dir);
    command
}

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

#[test]
fn a_full_standard_output_is_an_error_of_every_command_that_prints() {
    let dir = tempfile::tempdir().unwrap();
    let module = dir.path().join("add.wasm");
    std::fs::write(&module, wat::parse_str("(module (func (export \"f\")))").unwrap()).unwrap();
    let commands: [&[&str]; 11] = [
        &["keygen", "key"],
        &["sign", "key", "add.wasm"],
        &["verify", "--key", "key.pub", "add.wasm"],
        &["inspect", "add.wasm"],
        &["compile", "--emit", "asm", "add.wasm"],
        &["completions", "bash"],
        &["man"],
        &["doctor", "BTF"],
        &["--version"],
        &["--help"],
        &["run", "--help"],
    ];
    for command in commands {
        let output = skep(dir.path()).args(command).stdout(full()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(74), "{command:?}: {stderr}");
        assert!(stderr.contains("No space left on device"), "{command:?}: {stderr}");
    }
}

#[test]
fn a_full_standard_error_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("add.wasm"), wat::parse_str("(module (func (export \"f\")))").unwrap()).unwrap();
    let mut compile = skep(dir.path());
    assert_eq!(compile.args(["compile", "add.wasm", "-o", "add.o"]).stderr(full()).status().unwrap().code(), Some(0));
    assert!(dir.path().join("add.o").exists());
    let missing = skep(dir.path()).args(["-vv", "inspect", "none.wasm"]).stderr(full()).status().unwrap();
    assert_eq!(missing.code(), Some(2));
}

#[test]
fn a_module_runs_where_no_file_may_grow() {
    let dir = tempfile::tempdir().unwrap();
    // A name of its own, so that no cache has it.
    let own = std::process::id();
    let text = format!(r#"(module (memory (export "memory") 1) (func (export "_start")) (func (export "f{own}")))"#);
    std::fs::write(dir.path().join("own.wasm"), wat::parse_str(text).unwrap()).unwrap();
    let script = r#"ulimit -f 0 && exec "$0" run own.wasm"#;
    let mut command = Command::new("sh");
    command.current_dir(dir.path()).args(["-c", script, env!("CARGO_BIN_EXE_skep")]).env("XDG_CACHE_HOME", dir.path());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{:?} {}", output.status, String::from_utf8_lossy(&output.stderr));
}

#[test]
fn keys_and_signatures_of_files_whose_names_are_no_text() {
    let dir = tempfile::tempdir().unwrap();
    let (key, module) = (OsStr::from_bytes(b"k\xff"), OsStr::from_bytes(b"m\xff"));
    std::fs::write(dir.path().join(module), wat::parse_str("(module)").unwrap()).unwrap();
    assert!(skep(dir.path()).arg("keygen").arg(key).status().unwrap().success());
    assert!(skep(dir.path()).arg("sign").args([key, module]).status().unwrap().success());
    let public = OsStr::from_bytes(b"k\xff.pub");
    assert!(
        skep(dir.path()).args([OsStr::new("verify"), "--key".as_ref(), public, module]).status().unwrap().success()
    );
    assert!(dir.path().join(OsStr::from_bytes(b"m\xff.sig")).exists());
    let inspected = skep(dir.path()).arg("inspect").arg(module).output().unwrap();
    let text = String::from_utf8_lossy(&inspected.stdout).into_owned();
    assert!(text.contains("signed by"), "the signature beside it is found: {text}");
}
