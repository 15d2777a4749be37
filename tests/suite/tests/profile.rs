//! `skep profile`, `trace`, `record` and `replay` on the live kernel, over this test's own threads: a known hot function, a known
//! contended lock, a known slow system call. Every test causes what it looks for and asserts that it is found.

use std::{
    path::PathBuf,
    process,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use skep_suite::{Finished, Run, kernel_gate};

/// Threads that work until they are dropped.
struct Work {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Work {
    fn start(name: &str, count: usize, work: impl Fn() + Clone + Send + 'static) -> Self {
        let stop: Arc<AtomicBool> = Arc::default();
        let threads = (0..count).map(|_| {
            let (stop, work) = (stop.clone(), work.clone());
            let body = move || {
                while !stop.load(Ordering::Relaxed) {
                    work();
                }
            };
            thread::Builder::new().name(name.to_owned()).spawn(body).unwrap()
        });
        let threads = threads.collect();
        Self { stop, threads }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

static SPUN: AtomicU64 = AtomicU64::new(0);

#[inline(never)]
fn known_hot_function() {
    for n in 0..1_000_000u64 {
        SPUN.fetch_add(std::hint::black_box(n), Ordering::Relaxed);
    }
}

fn skep(args: &[&str]) -> Finished {
    let pid = process::id().to_string();
    let mut all = args.to_vec();
    if args[0] != "replay" {
        all.extend(["--pid", &pid]);
    }
    let finished = Run::skep(all).finish();
    assert_eq!(finished.code, Some(0), "{args:?}\n{}", finished.stderr);
    finished
}

fn filter(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../examples/filters/{name}.wasm"));
    path.to_str().unwrap().to_owned()
}

fn rows(finished: &Finished) -> Vec<serde_json::Value> {
    finished.stdout.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Calls `nanosleep(2)` for 20 ms.
fn known_slow_call() {
    thread::sleep(Duration::from_millis(20));
}

#[test]
fn kernel_the_hot_function_is_on_top() {
    if !kernel_gate("CPU profile of a known function") {
        return;
    }
    let _work = Work::start("hot-thread", 1, known_hot_function);
    let top = skep(&["profile", "cpu", "--duration", "1s", "--comm", "hot-thread"]);
    // Functions that the compiler put into it are shown above it; the total is its own.
    let row = top
        .stdout
        .iter()
        .find(|line| line.ends_with(" known_hot_function"))
        .unwrap_or_else(|| panic!("{}", top.text()));
    let total: f64 = row.split_whitespace().nth(3).unwrap().parse().unwrap();
    assert!(total > 90.0, "{}", top.text());

    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (folded, svg, pprof, scope) = (path("a.folded"), path("a.svg"), path("a.pb.gz"), path("a.speedscope.json"));
    skep(&["profile", "cpu", "-d", "1s", "-o", &folded, "-o", &svg, "-o", &pprof, "-o", &scope]);
    let lines = std::fs::read_to_string(&folded).unwrap();
    let samples = |line: &str| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap();
    let most = lines.lines().max_by_key(|line| samples(line)).unwrap();
    assert!(most.starts_with("hot-thread;") && most.contains("known_hot_function"), "{lines}");
    assert!(std::fs::read_to_string(&svg).unwrap().contains("known_hot_function"));
    assert_eq!(std::fs::read(&pprof).unwrap()[..2], [0x1f, 0x8b]);
    assert!(std::fs::read_to_string(&scope).unwrap().contains("known_hot_function"));

    let difference = Run::skep(["profile", "diff", &folded, &folded]).finish();
    assert!(difference.text().contains("known_hot_function"));
}

#[test]
fn kernel_the_contended_lock_is_found_by_its_address() {
    if !kernel_gate("lock waits of a known mutex") {
        return;
    }
    let lock: &'static Mutex<u64> = Box::leak(Box::default());
    let hold = move || {
        let mut count = lock.lock().unwrap();
        *count += 1;
        thread::sleep(Duration::from_millis(3));
    };
    let _work = Work::start("lock-thread", 3, hold);
    let waits = rows(&skep(&["trace", "lock", "-d", "1s", "--comm", "lock-thread", "--format", "jsonl"]));
    let start = &raw const *lock as u64;
    let here = |row: &serde_json::Value| {
        let address = u64::from_str_radix(row["address"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
        (start..start + size_of::<Mutex<u64>>() as u64).contains(&address)
    };
    let ours: Vec<_> = waits.iter().filter(|row| here(row)).collect();
    assert!(ours.len() > 10, "{} of {} waits", ours.len(), waits.len());
    assert!(ours.iter().all(|row| row["lock"] == "futex" && row["comm"] == "lock-thread"));
    assert!(ours.iter().any(|row| row["wait_ns"].as_u64().unwrap() > 1_000_000));
    let profile = skep(&["profile", "lock", "-d", "1s", "--comm", "lock-thread", "--format", "folded"]);
    assert!(profile.stdout.iter().any(|line| line.starts_with("lock-thread;")), "{}", profile.text());
}

#[test]
fn kernel_waiting_for_a_condition_is_told_apart() {
    if !kernel_gate("waits for a condition variable") {
        return;
    }
    let pair: &'static (Mutex<()>, Condvar) = Box::leak(Box::default());
    let wait = move || {
        let guard = pair.0.lock().unwrap();
        drop(pair.1.wait_timeout(guard, Duration::from_millis(5)).unwrap());
    };
    let _work = Work::start("cond-thread", 1, wait);
    let waits = rows(&skep(&["trace", "lock", "-d", "1s", "--comm", "cond-thread", "--format", "jsonl"]));
    assert!(!waits.is_empty());
    let start = &raw const *pair as u64;
    let end = start + size_of::<(Mutex<()>, Condvar)>() as u64;
    for row in waits.iter().filter(|row| row["lock"] != "kernel") {
        let address = u64::from_str_radix(row["address"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
        assert!((start..end).contains(&address), "{row}");
    }
    // Without frame pointers the stack may not show where it waited: then it stays a futex, never a wrong name.
    assert!(waits.iter().all(|row| ["condition", "futex", "kernel"].contains(&row["lock"].as_str().unwrap())));
}

#[test]
fn kernel_the_slow_system_call_passes_the_filter_and_the_fast_ones_do_not() {
    if !kernel_gate("system calls through a filter") {
        return;
    }
    let _slow = Work::start("slow-thread", 1, known_slow_call);
    let _fast = Work::start("fast-thread", 1, || {
        let _ = rustix::process::getpgid(None);
        thread::yield_now();
    });
    let slow = filter("slow");
    let all = skep(&["trace", "syscall", "-d", "1s", "--filter", &slow, "--format", "jsonl", "--comm", "slow-thread"]);
    let calls = rows(&all);
    assert!(calls.len() > 5, "{}", all.stderr);
    for call in &calls {
        assert_eq!(call["syscall"], "clock_nanosleep", "{call}");
        assert!(call["duration_ns"].as_u64().unwrap() >= 1_000_000);
        let result = if call["unfinished"] == true { serde_json::Value::Null } else { 0.into() };
        assert_eq!(call["return_value"], result, "{call}");
    }
    let fast = skep(&["trace", "syscall", "-d", "1s", "--filter", &slow, "--format", "jsonl", "--comm", "fast-thread"]);
    assert!(fast.stderr.contains("slow: ") && fast.stderr.contains(" 0 trapped"), "{}", fast.stderr);
    assert!(rows(&fast).iter().all(|call| call["duration_ns"].as_u64().unwrap() >= 1_000_000));

    let profile = skep(&["profile", "syscall", "-d", "1s", "--comm", "slow-thread"]);
    assert!(profile.stdout[1].ends_with("clock_nanosleep"), "{}", profile.text());
    let histogram =
        skep(&["trace", "syscall", "-d", "1s", "--comm", "slow-thread", "--format", "histogram", "--by", "syscall"]);
    assert!(
        histogram.text().contains("syscall = clock_nanosleep") && histogram.text().contains("16777216 -> 33554431")
    );
}

#[test]
fn kernel_a_recording_is_replayed_through_filters_the_same_every_time() {
    if !kernel_gate("recording of system calls") {
        return;
    }
    let _slow = Work::start("slow-thread", 1, || {
        known_slow_call();
        let _ = rustix::process::getpgid(rustix::process::Pid::from_raw(0x5ce9_0001));
    });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("calls.skep").to_str().unwrap().to_owned();
    skep(&["record", "syscall", "-d", "1s", "--comm", "slow-thread", "-o", &file]);
    let replay = |filter: &str| skep(&["replay", &file, "--filter", filter, "--format", "jsonl"]);
    let (slow, failed) = (replay(&filter("slow")), replay(&filter("failed")));
    let calls = rows(&slow);
    assert!(!calls.is_empty() && calls.iter().all(|call| call["syscall"] == "clock_nanosleep"), "{}", slow.text());
    assert_eq!(slow.stdout, replay(&filter("slow")).stdout);
    let failures = rows(&failed);
    assert!(
        failures.iter().any(|call| call["syscall"] == "getpgid" && call["return_value"] == -3),
        "{}",
        failed.text()
    );
    assert!(failed.stderr.contains("failed: errno 0003"), "{}", failed.stderr);
    // The same question in world `hooks`, one call a batch.
    let hooks = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/slow-syscalls/slow-syscalls.wasm");
    let hooks = rows(&replay(hooks.to_str().unwrap()));
    assert!(!hooks.is_empty() && hooks.iter().all(|call| call["syscall"] == "clock_nanosleep"), "{hooks:?}");
    // Who drops nothing has a line in the summary too.
    let all = "duration_ns>=0";
    let summary = skep(&["replay", &file, "--filter", &filter("slow"), "--where", all, "--format", "jsonl"]).stderr;
    let line =
        |name: &str| summary.lines().find(|line| line.contains(name) && line.contains(" seen, ")).map(str::to_owned);
    assert!(line("slow:").is_some_and(|line| line.contains(" trapped, ")), "{summary}");
    let native = format!("{n} seen, {n} kept, 0 dropped, 0 trapped", n = calls.len());
    assert!(line(&native).is_some(), "{summary}");
    for ending in ["pb.gz", "skep"] {
        let replayed = |name: &str| {
            let to = dir.path().join(format!("{name}.{ending}"));
            skep(&["replay", &file, "-o", to.to_str().unwrap()]);
            std::fs::read(to).unwrap()
        };
        assert!(replayed("one") == replayed("two"), "{ending} differs from one replay to the next");
    }
    let flame = skep(&["replay", &file, "--format", "flamegraph"]);
    assert!(flame.text().contains("clock_nanosleep"));
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() * 2 / 3]).unwrap();
    let cut = replay(&filter("slow"));
    assert!(cut.stderr.contains("is good up to byte") || cut.stderr.contains("was not finished"), "{}", cut.stderr);
    assert!(slow.stdout.starts_with(&cut.stdout));
}

#[test]
fn kernel_time_off_the_cpu_is_found() {
    if !kernel_gate("time off the CPU") {
        return;
    }
    let _slow = Work::start("slow-thread", 1, known_slow_call);
    let profile = skep(&["profile", "offcpu", "-d", "1s", "--comm", "slow-thread", "--format", "folded"]);
    let line = profile.stdout.iter().find(|line| line.starts_with("slow-thread;")).unwrap();
    assert!(line.contains("__schedule_[k]"), "{line}");
}

#[test]
fn what_cannot_work_is_said_before_anything_is_attached() {
    let dir = tempfile::tempdir().unwrap();
    let no_filter = dir.path().join("no.wasm");
    std::fs::write(&no_filter, b"not wasm").unwrap();
    let no_filter = no_filter.to_str().unwrap();
    let slow = filter("slow");
    let cases: [(&[&str], i32, &str); 19] = [
        (&["profile", "cpu", "-d", "1s", "-o", "/nonexistent/x.svg"], 66, "/nonexistent/x.svg"),
        (&["profile", "cpu", "-d", "1s", "-o", "x.unknown"], 2, "--format"),
        (&["profile", "cpu", "-d", "1s", "--format", "flamegrap"], 2, "did you mean \"flamegraph\"?"),
        (&["trace", "syscall", "-d", "1s", "--filter", no_filter], 65, "loading filter no"),
        (&["trace", "syscall", "-d", "1s", "--filter", "/nonexistent.wasm"], 66, "/nonexistent.wasm"),
        (&["trace", "syscall", "-d", "1s", "--syscall", "nanoslep"], 2, "nanosleep"),
        (&["trace", "syscall", "-d", "1s", "--where", "duration_ns"], 2, "no filter term"),
        (&["profile", "cpu", "-d", "1s", "-o", "x.folds"], 2, "did you mean .folded?"),
        (&["profile", "cpu", "-d", "1s", "--format", "histogram"], 2, "offcpu"),
        (&["profile", "cpu", "-d", "1s", "--by", "comm"], 2, "--format histogram"),
        (&["profile", "cpu", "-d", "1s", "--fields", "pid"], 2, "formats with rows"),
        (&["profile", "cpu", "-d", "1s", "--syscall", "read"], 2, "--syscall says nothing about cpu"),
        (&["profile", "cpu", "-d", "1s", "--min", "1ms"], 2, "it is for lock, syscall, offcpu"),
        (&["trace", "lock", "-d", "1s", "--arguments"], 2, "it is for syscall"),
        (&["trace", "syscall", "-d", "1s", "--freq", "99"], 2, "it is for cpu"),
        (&["trace", "syscall", "-d", "1s", "--filter", "/dev/null"], 65, "/dev/null"),
        (&["record", "-d", "1s"], 2, "-o FILE.skep"),
        (&["replay", no_filter], 65, "no record file"),
        (&["replay", "/nonexistent.skep", "--filter", &slow], 66, "/nonexistent.skep"),
    ];
    for (args, code, words) in cases {
        let finished = Run::skep(args).finish();
        assert_eq!(finished.code, Some(code), "{args:?}: {}", finished.stderr);
        assert!(finished.stderr.contains(words), "{args:?}: {}", finished.stderr);
        assert!(finished.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn kernel_a_process_that_never_was_is_said_and_one_that_ends_ends_the_run() {
    if !kernel_gate("profile of a process that ends") {
        return;
    }
    let never = Run::skep(["profile", "cpu", "--pid", "4194303", "-d", "1s"]).finish();
    assert_eq!(never.code, Some(66), "{}", never.stderr);
    let mut child = process::Command::new("sleep").arg("1").spawn().unwrap();
    let pid = child.id().to_string();
    let run = thread::spawn(move || Run::skep(["profile", "cpu", "--pid", &pid]).finish());
    child.wait().unwrap();
    let finished = run.join().unwrap();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
}

#[test]
fn kernel_a_process_that_nobody_has_waited_for_has_ended_all_the_same() {
    if !kernel_gate("profile of a process that is not waited for") {
        return;
    }
    let mut child = process::Command::new("sleep").arg("1").spawn().unwrap();
    let pid = child.id().to_string();
    let start = Instant::now();
    let first = Run::skep(["profile", "cpu", "--pid", &pid, "-d", "50s"]).finish();
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert!(start.elapsed() < Duration::from_secs(40), "it went on for {:?}", start.elapsed());
    let second = Run::skep(["profile", "cpu", "--pid", &pid, "-d", "50s"]).finish();
    assert!(second.code == Some(66) && second.stderr.contains("has ended"), "{}", second.stderr);
    child.wait().unwrap();
}
