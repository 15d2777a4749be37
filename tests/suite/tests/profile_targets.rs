//! Whom `skep profile` and `skep trace` look at, and how code is named that is not in a plain file: cgroups, pid namespaces, JIT
//! compilers, other roots, stripped programs; and a user who may not.

use std::{
    fs,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
};

use skep_suite::{Cgroup, Finished, Program, Run, busy_calls, kernel_gate, skep};

fn succeeds(args: &[&str]) -> Finished {
    let finished = Run::skep(args).finish();
    assert_eq!(finished.code, Some(0), "{args:?}\n{}", finished.stderr);
    finished
}

/// Compiles a C program of that text to `to`.
fn compile(text: &str, to: &Path, options: &[&str]) {
    let source = to.with_extension("c");
    fs::write(&source, text).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-fno-omit-frame-pointer", "-Wl,--build-id=0x5ce9badc0ffee0ddf00d"]).args(options);
    assert!(cc.arg("-o").arg(to).arg(&source).status().unwrap().success());
}

const HOT: &str = "\
__attribute__((noinline)) void hot_inside(volatile unsigned *n) { for (int i = 0; i < 1000000; i++) ++*n; }
int main(void) { volatile unsigned n = 0; for (;;) hot_inside(&n); }
";

/// Ends a fifth of a second after it has called its last function for the first time.
const SHORT: &str = "\
#include <time.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
__attribute__((noinline)) void hot_first(volatile unsigned *n) { for (int i = 0; i < 1000000; i++) ++*n; }
__attribute__((noinline)) void hot_last(volatile unsigned *n) { for (int i = 0; i < 1000000; i++) --*n; }
int main(void) {
    volatile unsigned n = 0;
    double start = now();
    while (now() < start + 4) hot_first(&n);
    while (now() < start + 4.2) hot_last(&n);
}
";

/// Lives for a twentieth of a second.
const BRIEF: &str = "\
#include <time.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
__attribute__((noinline)) void hot_in_brief(volatile unsigned *n) { for (int i = 0; i < 100000; i++) ++*n; }
int main(void) { volatile unsigned n = 0; double start = now(); while (now() < start + 0.05) hot_in_brief(&n); }
";

/// Asks for its number as a 32-bit program does: call 20 of i386, which is `writev` of x86-64. Given an argument, for ever.
#[cfg(target_arch = "x86_64")]
const OLD_CALL: &str = r#"
#include <unistd.h>
int main(int count, char **arguments) {
    do {
        long result;
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L), "b"(0x5ce9L) : "memory", "r8", "r9", "r10", "r11");
        usleep(1000);
    } while (count > 1);
}
"#;

/// Puts a program of its own into executable memory, calls it for ever, and says in `/tmp/perf-PID.map` what it is called.
const JIT: &str = r#"
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#if defined(__x86_64__)
static const unsigned char code[] = { 0x48, 0xff, 0xcf, 0x75, 0xfb, 0xc3 };
#else
static const unsigned code[] = { 0xf1000400, 0x54ffffe1, 0xd65f03c0 };
#endif
int main(void) {
    char name[64];
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(at, code, sizeof(code));
    __builtin___clear_cache(at, (char *)at + sizeof(code));
    snprintf(name, sizeof(name), "/tmp/perf-%d.map", getpid());
    FILE *map = fopen(name, "w");
    fprintf(map, "%lx %lx jitted_by_the_test\n", (unsigned long)at, (unsigned long)sizeof(code));
    fclose(map);
    for (;;) ((void (*)(unsigned long))at)(1000000);
}
"#;

#[test]
fn kernel_a_cgroup_is_looked_at_and_nothing_else() {
    if !kernel_gate("trace of a cgroup") {
        return;
    }
    let cgroup = Cgroup::new();
    let below = cgroup.path().join("below");
    fs::create_dir(&below).unwrap();
    let (inside, outside) = (Program::start(&mut busy_calls()), Program::start(&mut busy_calls()));
    fs::write(below.join("cgroup.procs"), inside.pid()).unwrap();
    let directory = cgroup.path().to_str().unwrap();
    let trace = ["trace", "syscall", "-d", "500ms", "--cgroup", directory, "--limit", "500", "--format", "jsonl"];
    let traced = succeeds(&trace);
    let sampled = succeeds(&["profile", "cpu", "-d", "500ms", "--cgroup", directory, "--format", "folded"]);
    let pids = |pid: &str| traced.stdout.iter().filter(|line| line.contains(&format!("\"pid\":{pid},"))).count();
    assert!(pids(&inside.pid()) == traced.stdout.len() && !traced.stdout.is_empty(), "{:?}", traced.stdout.first());
    assert_eq!(pids(&outside.pid()), 0);
    assert!(
        !sampled.stdout.is_empty() && sampled.stdout.iter().all(|line| line.starts_with("dd;")),
        "{}",
        sampled.text()
    );
    drop(inside);
    let _ = fs::remove_dir(&below);
    drop(outside);
}

#[test]
fn kernel_inside_a_pid_namespace_numbers_are_the_namespaces() {
    if !kernel_gate("trace from inside a pid namespace") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let hot = dir.path().join("hot");
    compile(HOT, &hot, &[]);
    // Somebody outside has whatever number the program inside gets, at some time; its symbols must not be taken.
    let script = r#"
        "$1" & hot=$!; dd if=/dev/zero of=/dev/null bs=1 2>/dev/null & dd=$!
        "$0" trace syscall --pid $dd --limit 100 --duration 20s --format jsonl || exit 1
        echo "dd is $dd"
        "$0" profile cpu --pid $hot --duration 500ms --format folded || exit 1
        "$0" profile cpu --duration 500ms --format folded > "$2" || exit 1
        kill -9 $hot $dd"#;
    let whole = dir.path().join("whole");
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script]);
    command.arg(skep()).arg(&hot).arg(&whole).stdin(Stdio::null());
    let _outside = Program::start(&mut busy_calls());
    let finished = Run::start(command).finish();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let (rows, rest) = finished.stdout.split_at(100);
    let dd: u64 = rest[0].trim_start_matches("dd is ").parse().unwrap();
    assert!(dd < 100, "numbers inside start anew");
    for row in rows {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        assert_eq!((&row["pid"], &row["tid"], &row["comm"]), (&dd.into(), &dd.into(), &"dd".into()), "{row}");
    }
    assert!(rest[1..].iter().any(|line| line.contains(";hot_inside")), "{rest:?}");
    // Of the whole machine, what can be seen from inside: the other `dd` cannot.
    let whole = fs::read_to_string(whole).unwrap();
    assert!(whole.contains("hot_inside"), "{whole}");
}

#[test]
fn kernel_code_of_a_jit_is_named_by_its_perf_map() {
    if !kernel_gate("profile of a JIT") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("jit");
    compile(JIT, &program, &[]);
    let jit = Program::start(&mut Command::new(&program));
    let map = format!("/tmp/perf-{}.map", jit.pid());
    let profile = succeeds(&["profile", "cpu", "-d", "1s", "--pid", &jit.pid(), "--format", "folded"]);
    drop(jit);
    let _ = fs::remove_file(map);
    let named = profile.stdout.iter().any(|line| line.contains("jitted_by_the_test"));
    assert!(named, "{}", profile.text());
}

#[test]
fn kernel_a_program_in_a_mount_namespace_is_named_by_the_file_that_it_sees() {
    if !kernel_gate("profile of a program in a root of its own") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("hot");
    compile(HOT, &program, &[]);
    // The file exists in that mount namespace alone, and so does the directory that is its root.
    let script = r#"mount -t tmpfs none /mnt && cp "$0" /mnt/skep-hot && for d in usr lib lib64 proc; do
        [ -e /$d ] && mkdir /mnt/$d && mount --rbind /$d /mnt/$d; done; exec chroot /mnt /skep-hot"#;
    let mut command = Command::new("unshare");
    let inside = Program::start(command.args(["--mount", "sh", "-c", script]).arg(&program));
    let exe = format!("/proc/{}/comm", inside.pid());
    while fs::read_to_string(&exe).is_ok_and(|comm| comm.trim() != "skep-hot") {
        std::thread::yield_now();
    }
    assert!(!Path::new("/mnt/skep-hot").exists());
    let profile = succeeds(&["profile", "cpu", "-d", "1s", "--pid", &inside.pid(), "--format", "folded"]);
    let most = profile.stdout.iter().max_by_key(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap());
    assert!(most.unwrap().contains("hot_inside"), "{}", profile.text());
}

#[test]
fn kernel_the_last_function_of_a_program_that_has_ended_is_named() {
    if !kernel_gate("profile of a program that ends") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("short");
    compile(SHORT, &program, &[]);
    let short = Program::start(&mut Command::new(&program));
    let profile = succeeds(&["profile", "cpu", "-d", "6s", "--pid", &short.pid(), "--format", "folded"]);
    for name in ["hot_first", "hot_last"] {
        assert!(profile.stdout.iter().any(|line| line.contains(name)), "{name}\n{}", profile.text());
    }
}

#[test]
fn kernel_code_of_a_program_that_lives_briefly_is_named_also_after_a_shell_became_it() {
    if !kernel_gate("profile of programs that live briefly") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("brief");
    compile(BRIEF, &program, &[]);
    let folded = dir.path().join("a.folded");
    let run =
        Run::skep(["profile", "cpu", "--comm", "brief", "--freq", "999", "-o", folded.to_str().unwrap(), "-d", "60s"]);
    for _ in 0..20 {
        let became = Command::new("sh").args(["-c", "exec \"$0\""]).arg(&program).status().unwrap();
        assert!(became.success());
    }
    run.signal(rustix::process::Signal::TERM);
    run.finish();
    let folded = fs::read_to_string(folded).unwrap();
    let weight = |line: &str| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap();
    let sum = |is: fn(&str) -> bool| folded.lines().filter(|line| is(line)).map(weight).sum::<u64>();
    let (named, all) = (sum(|line| line.contains("hot_in_brief")), sum(|_| true));
    assert!(named > all / 2 && named > 100, "{named} of {all}\n{folded}");
}

#[test]
fn kernel_a_name_of_a_thread_may_be_any_bytes() {
    if !kernel_gate("profile of a thread by a name that is no UTF-8") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("hot");
    compile(HOT, &plain, &[]);
    let name = std::ffi::OsStr::from_bytes(b"hot\xff\xfe");
    fs::copy(&plain, dir.path().join(name)).unwrap();
    let _hot = Program::start(&mut Command::new(dir.path().join(name)));
    let args = ["profile", "cpu", "-d", "1s", "--format", "folded", "--comm"].map(std::ffi::OsStr::new);
    let finished = Run::skep([&args[..], &[name]].concat()).finish();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stdout.iter().any(|line| line.contains(";hot_inside")), "{}", finished.text());
}

#[test]
fn kernel_a_number_of_a_thread_means_its_process_and_that_is_said() {
    if !kernel_gate("profile of a thread") {
        return;
    }
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = stop.clone();
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        sender.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
        while !seen.load(std::sync::atomic::Ordering::Relaxed) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    });
    let (tid, pid) = (receiver.recv().unwrap().to_string(), std::process::id());
    let traced = succeeds(&["trace", "syscall", "--pid", &tid, "--limit", "10", "-d", "20s", "--format", "jsonl"]);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    thread.join().unwrap();
    assert!(traced.stderr.contains(&format!("{tid} is a thread of process {pid}")), "{}", traced.stderr);
    assert!(traced.stdout.len() == 10 && traced.text().contains(&format!("\"pid\":{pid},")), "{}", traced.text());
}

#[cfg(target_arch = "x86_64")]
#[test]
fn kernel_a_call_of_32_bits_is_not_taken_for_the_one_of_its_number() {
    if !kernel_gate("trace of calls of i386") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("old-call");
    compile(OLD_CALL, &program, &[]);
    if !Command::new(&program).status().unwrap().success() {
        println!("left out: this kernel takes no calls of i386");
        return;
    }
    let old = Program::start(Command::new(&program).arg("for ever"));
    let trace = |more: &[&str]| {
        let pid = old.pid();
        let common: &[&str] = &["trace", "syscall", "-d", "1s", "--pid", &pid, "--arguments", "--format", "jsonl"];
        succeeds(&[common, more].concat())
    };
    let calls = trace(&[]);
    let of_i386 = |line: &&String| line.contains(r#""syscall":"i386:20""#);
    let call = calls.stdout.iter().find(of_i386).unwrap_or_else(|| panic!("{}", calls.text()));
    assert!(call.contains(r#""arg0":23785"#), "{call}");
    assert!(!calls.text().contains("writev"), "{}", calls.text());
    let writes = trace(&["--syscall", "writev"]);
    assert!(writes.stdout.is_empty(), "{}", writes.text());
}

#[test]
fn kernel_of_a_stripped_program_the_file_its_build_id_and_offsets_are_kept() {
    if !kernel_gate("profile of a stripped program") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("nameless");
    compile(HOT, &program, &["-s"]);
    let nameless = Program::start(&mut Command::new(&program));
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (folded, pprof, record) = (path("a.folded"), path("a.pb.gz"), path("a.skep"));
    succeeds(&["profile", "cpu", "-d", "1s", "--pid", &nameless.pid(), "-o", &folded, "-o", &pprof]);
    let folded = fs::read_to_string(folded).unwrap();
    assert!(folded.contains(";nameless+0x"), "{folded}");
    let plain = Command::new("gzip").args(["-dc", &pprof]).output().unwrap().stdout;
    let id = "5ce9badc0ffee0ddf00d";
    assert!(plain.windows(id.len()).any(|window| window == id.as_bytes()), "the profile keeps the build id");
    succeeds(&["record", "cpu", "-d", "500ms", "--pid", &nameless.pid(), "-o", &record]);
    let replayed = path("b.pb.gz");
    succeeds(&["replay", &record, "-o", &replayed]);
    let plain = Command::new("gzip").args(["-dc", &replayed]).output().unwrap().stdout;
    assert!(plain.windows(id.len()).any(|window| window == id.as_bytes()), "and so does a recording");
}

#[test]
fn kernel_a_user_who_may_not_is_told_what_why_and_what_to_do() {
    if !kernel_gate("profile as an ordinary user") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("skep");
    fs::copy(skep(), &own).unwrap();
    for path in [dir.path(), &own] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for args in [["profile", "cpu", "-d1s"], ["trace", "lock", "-d1s"], ["trace", "syscall", "-d1s"]] {
        let mut command = Command::new(&own);
        command.args(args).stdin(Stdio::null()).current_dir("/").uid(65534).gid(65534);
        let finished = Run::start(command).finish();
        assert_eq!(finished.code, Some(77), "{args:?}: {}", finished.stderr);
        for words in [format!("starting the {} collector", args[1]).as_str(), "sudo"] {
            assert!(finished.stderr.contains(words), "{args:?}: {}", finished.stderr);
        }
        assert!(finished.stdout.is_empty(), "{:?}", finished.stdout);
    }
}
