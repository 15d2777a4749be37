//! What a user without privilege gets: the cache of compiled modules, which root's own tests must not touch, and the words
//! for what is missing.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
};

use skep_suite::{Finished, Run, example, kernel_gate, skep};
use tempfile::TempDir;

/// A user that owns nothing.
const NOBODY: u32 = 65534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// `skep` as a user without privilege: this one, or for root nobody, who need not reach the file by its path.
fn unprivileged() -> Command {
    if !is_root() {
        return Command::new(skep());
    }
    as_nobody("--inh-caps=-all")
}

/// `skep` as nobody, with those capabilities; root alone can do that.
fn as_nobody(capabilities: &str) -> Command {
    let mut shell = Command::new("sh");
    let ids = format!("--reuid {NOBODY} --regid {NOBODY} --clear-groups {capabilities}");
    let script = format!("exec 9<\"$0\" && exec setpriv {ids} /proc/self/fd/9 \"$@\"");
    shell.arg("-c").arg(script).arg(skep());
    shell
}

/// A directory of that user's with a module that ends with status 7, and a place for the cache.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const 7))))"#;
        fs::write(dir.path().join("module.wasm"), wat::parse_str(text).unwrap()).unwrap();
        let place = Self { dir };
        place.give(place.dir.path());
        place
    }

    fn give(&self, path: &Path) {
        if is_root() {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }

    fn run(&self, more: &[&str]) -> Finished {
        let mut run = unprivileged();
        run.env("XDG_CACHE_HOME", self.dir.path().join("cache"));
        run.arg("-v").arg("run").args(more).arg(self.dir.path().join("module.wasm"));
        let finished = Run::start(run).finish();
        assert_eq!(finished.code, Some(7), "{finished:#?}");
        finished
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("cache/skep/modules")
    }

    /// The only entry of the cache.
    fn entry(&self) -> PathBuf {
        let entries: Vec<_> = fs::read_dir(self.cache()).unwrap().map(|entry| entry.unwrap().path()).collect();
        let [entry] = entries.as_slice() else { panic!("{entries:?}") };
        entry.clone()
    }
}

#[test]
fn a_compiled_module_is_kept_for_its_owner_alone_and_used_again() {
    let place = Place::new();
    place.run(&[]);
    let entry = place.entry();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place.cache()), mode(&entry)), (0o700, 0o600));
    let written = fs::metadata(&entry).unwrap().modified().unwrap();
    let again = place.run(&[]);
    assert!(again.stderr.contains("compiled before, taken from the cache"), "{again:#?}");
    assert_eq!(fs::metadata(place.entry()).unwrap().modified().unwrap(), written);
}

#[test]
fn without_a_cache_nothing_is_written() {
    let place = Place::new();
    place.run(&["--no-cache"]);
    assert!(!place.dir.path().join("cache").exists());
}

#[test]
fn a_corrupted_entry_is_compiled_anew_and_replaced() {
    let place = Place::new();
    place.run(&[]);
    let entry = place.entry();
    let whole = fs::read(&entry).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    let middle = whole.len() / 2;
    for bad in [&changed[..], &whole[..middle], &[], b"skep-cm1"] {
        fs::write(&entry, bad).unwrap();
        place.run(&[]);
        assert_eq!(place.entry(), entry);
        assert!(fs::read(&entry).unwrap() == whole, "{} bytes were not replaced", bad.len());
    }
}

#[test]
fn an_entry_that_another_user_has_put_there_is_not_run() {
    if !is_root() {
        println!("left out, it needs root: files of another user's");
        return;
    }
    let place = Place::new();
    place.run(&[]);
    let entry = place.entry();
    chown(&entry, Some(1), Some(1)).unwrap();
    place.run(&[]);
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(place.entry()).unwrap());
    assert_eq!(owner, NOBODY, "it was not replaced");
}

#[test]
fn a_cache_that_others_can_write_is_refused_with_a_warning() {
    let place = Place::new();
    place.run(&[]);
    let entry = place.entry();
    fs::write(&entry, "not looked at").unwrap();
    for (dir, mode) in [(place.cache(), 0o777), (place.dir.path().join("cache"), 0o770)] {
        let before = fs::metadata(&dir).unwrap().permissions();
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
        let finished = place.run(&[]);
        assert!(finished.stderr.contains("can be written by others"), "{}", finished.stderr);
        assert!(finished.stderr.contains("chmod go-w"), "{}", finished.stderr);
        assert_eq!(fs::read(&entry).unwrap(), b"not looked at");
        fs::set_permissions(&dir, before).unwrap();
    }
}

#[test]
fn a_module_that_may_not_be_read() {
    let place = Place::new();
    let module = place.dir.path().join("module.wasm");
    place.give(&module);
    fs::set_permissions(&module, fs::Permissions::from_mode(0o000)).unwrap();
    let mut run = unprivileged();
    run.args(["run", "--no-cache"]).arg(&module);
    let finished = Run::start(run).finish();
    assert_eq!(finished.code, Some(77), "{finished:#?}");
    assert!(finished.stderr.contains("Permission denied"), "{}", finished.stderr);
}

#[test]
fn loading_without_privilege_says_which_is_lacking() {
    let place = Place::new();
    // Where the sample's own path may lead through a directory of root's.
    let module = place.dir.path().join("bootstrap.wasm");
    fs::copy(example("bootstrap"), &module).unwrap();
    let mut run = unprivileged();
    run.args(["run", "--no-cache", "--timeout", "20s"]).arg(&module);
    let finished = Run::start(run).finish();
    // The status is the guest's own.
    assert!(matches!(finished.code, Some(1..124)), "{finished:#?}");
    for word in ["CAP_BPF", "CAP_PERFMON", "sudo"] {
        assert!(finished.stderr.contains(word), "no {word} in {}", finished.stderr);
    }
}

fn doctor(mut command: Command) -> serde_json::Value {
    command.args(["doctor", "--json"]);
    let finished = Run::start(command).finish();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    serde_json::from_str(&finished.text()).unwrap()
}

/// Program types by the names of their sections.
const PROGRAMS: &[&str] = &[
    "tracepoint",
    "raw_tp",
    "tp_btf",
    "kprobe",
    "uprobe",
    "perf_event",
    "fentry",
    "fexit",
    "fmod_ret",
    "lsm",
    "iter/task",
    "struct_ops",
    "xdp",
    "tc",
    "netfilter",
    "socket",
    "sockops",
    "sk_skb",
    "sk_msg",
    "sk_lookup",
    "cgroup_skb",
    "cgroup/sock",
    "cgroup/sock_addr",
    "cgroup/sockopt",
    "cgroup/dev",
    "cgroup/sysctl",
];

#[track_caller]
fn assert_has_a_row_for_each_program_type(report: &serde_json::Value) {
    let rows = report.as_array().unwrap();
    for row in rows {
        let of = |key: &str| row[key].as_str().unwrap_or_else(|| panic!("no {key} in {row}"));
        assert!(!of("area").is_empty() && !of("name").is_empty() && !of("verdict").is_empty());
        if row.get("reason").is_some() {
            assert!(!of("reason").is_empty() && !of("why").is_empty(), "{row}");
        }
    }
    for name in PROGRAMS {
        let has = rows.iter().filter(|row| row["area"] == "programs" && row["name"] == *name).count();
        assert_eq!(has, 1, "rows of {name}");
    }
    for area in ["kernel", "privilege", "mounts", "maps", "features"] {
        assert!(rows.iter().any(|row| row["area"] == area), "no row of {area}");
    }
}

#[test]
fn kernel_doctor_has_a_row_for_each_program_type() {
    if !kernel_gate("doctor, by loading programs") {
        return;
    }
    let report = doctor(Command::new(skep()));
    assert_has_a_row_for_each_program_type(&report);
    let works =
        |name: &str| report.as_array().unwrap().iter().any(|row| row["name"] == name && row["verdict"] == "yes");
    assert!(works("tracepoint") && works("xdp") && works("ringbuf"), "{report:#}");
}

#[test]
fn doctor_tells_a_user_without_privilege_what_is_lacking() {
    let report = doctor(unprivileged());
    assert_has_a_row_for_each_program_type(&report);
    let xdp = report.as_array().unwrap().iter().find(|row| row["name"] == "xdp").unwrap();
    assert_eq!(xdp["verdict"], "no", "{xdp}");
    assert!(xdp["fix"].as_str().is_some_and(|fix| fix.contains("CAP_") || fix.contains("sudo")), "{xdp}");
}

#[test]
fn kernel_a_capability_that_is_lacking_among_others_is_named() {
    if !kernel_gate("some capabilities and not others, by loading programs") {
        return;
    }
    let some = || as_nobody("--inh-caps=-all,+bpf,+perfmon --ambient-caps=-all,+bpf,+perfmon");
    let report = doctor(some());
    let row = |area: &str, name: &str| {
        let mut rows = report.as_array().unwrap().iter();
        rows.find(|row| row["area"] == area && row["name"] == name).unwrap_or_else(|| panic!("no {name}")).clone()
    };
    assert_eq!(row("programs", "tracepoint")["verdict"], "yes", "{report:#}");
    for (area, name) in [("programs", "xdp"), ("programs", "tc"), ("maps", "sockmap")] {
        let row = row(area, name);
        assert_eq!(row["reason"], "no-capability", "{row}");
        assert!(row["why"].as_str().unwrap().contains("CAP_NET_ADMIN"), "{row}");
    }
    let place = Place::new();
    let module = place.dir.path().join("xdp-count.wasm");
    fs::copy(example("xdp-count"), &module).unwrap();
    let mut run = some();
    run.args(["run", "--no-cache", "--timeout", "20s"]).arg(&module).arg("lo");
    let finished = Run::start(run).finish();
    assert!(finished.stderr.contains("CAP_NET_ADMIN is lacking"), "{finished:#?}");
    assert!(!finished.stderr.contains("policy"), "{finished:#?}");
}
