//! What is under way when a run ends, and may have been all the time: a thread that is stuck is what one looks for.

use std::{
    fs,
    process::{Command, Stdio},
};

use rustix::process::Signal;
use skep_suite::{Finished, Run, kernel_gate};

/// Three threads that wait for ever, from before any run: for a mutex, for a condition variable, for bytes of a pipe. The first says
/// where the mutex is.
const STUCK: &str = r#"
#include <pthread.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>
static pthread_mutex_t taken = PTHREAD_MUTEX_INITIALIZER, guard = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static int ends[2];
__attribute__((noinline)) void stuck_on_a_lock(void) { pthread_mutex_lock(&taken); __asm__ volatile(""); }
static void *lock(void *none) { prctl(PR_SET_NAME, "in-lock"); stuck_on_a_lock(); return none; }
static void *condition(void *none) {
    prctl(PR_SET_NAME, "in-condition");
    pthread_mutex_lock(&guard);
    for (;;) pthread_cond_wait(&never, &guard);
    return none;
}
int main(void) {
    pthread_t threads[2];
    char byte;
    if (pipe(ends)) return 1;
    pthread_mutex_lock(&taken);
    pthread_create(&threads[0], NULL, lock, NULL);
    pthread_create(&threads[1], NULL, condition, NULL);
    printf("%p %p\n", (void *)&taken, (void *)&never);
    fflush(stdout);
    prctl(PR_SET_NAME, "in-read");
    return read(ends[0], &byte, 1);
}
"#;

/// The program, once all of its threads sleep, and the addresses that it printed.
fn stuck(dir: &tempfile::TempDir) -> (Run, Vec<u64>) {
    let (source, program) = (dir.path().join("stuck.c"), dir.path().join("stuck"));
    fs::write(&source, STUCK).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-fno-omit-frame-pointer", "-pthread", "-o"]).arg(&program).arg(&source);
    assert!(cc.status().unwrap().success());
    let mut run = Run::start(Command::new(&program));
    let line = run.wait_for("line with the addresses", |line| line.starts_with("0x"));
    let tasks = format!("/proc/{}/task", run.pid());
    let asleep = |name: &str| {
        let tasks = fs::read_dir(&tasks).unwrap().map(|task| fs::read_to_string(task.unwrap().path().join("stat")));
        tasks.flatten().any(|stat| stat.contains(&format!("({name}) S")))
    };
    while !["in-lock", "in-condition", "in-read"].into_iter().all(asleep) {
        std::thread::yield_now();
    }
    (run, line.split(' ').map(|text| u64::from_str_radix(&text[2..], 16).unwrap()).collect())
}

fn skep(args: &[&str], pid: u32) -> Finished {
    let pid = pid.to_string();
    let finished = Run::skep([args, &["-d", "1s", "--pid", &pid]].concat()).finish();
    assert_eq!(finished.code, Some(0), "{args:?}\n{}", finished.stderr);
    finished
}

fn rows(finished: &Finished) -> Vec<serde_json::Value> {
    finished.stdout.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn kernel_a_thread_that_waits_all_the_time_is_shown_with_its_lock_and_its_stack() {
    if !kernel_gate("waits that do not end") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (run, places) = stuck(&dir);
    let traced = skep(&["trace", "lock", "--format", "jsonl"], run.pid());
    let waits = rows(&traced);
    assert_eq!(waits.len(), 2, "{traced:#?}");
    assert!(traced.stderr.contains("unfinished when the run ended: 2,"), "{}", traced.stderr);
    for (comm, kind, place) in [("in-lock", "futex", places[0]), ("in-condition", "condition", places[1])] {
        let wait = waits.iter().find(|wait| wait["comm"] == comm).unwrap_or_else(|| panic!("{traced:#?}"));
        assert_eq!((&wait["lock"], &wait["unfinished"]), (&kind.into(), &true.into()), "{wait}");
        let address = u64::from_str_radix(&wait["address"].as_str().unwrap()[2..], 16).unwrap();
        assert!((place..place + 48).contains(&address), "{wait}");
        let waited = wait["wait_ns"].as_u64().unwrap();
        assert!((900_000_000..10_000_000_000).contains(&waited), "{wait}");
    }
    let folded = skep(&["profile", "lock", "--format", "folded"], run.pid()).text();
    assert!(folded.lines().any(|line| line.starts_with("in-lock;") && line.contains(";[unfinished] ")), "{folded}");
    let table = skep(&["trace", "lock"], run.pid()).text();
    assert!(table.contains(" STATE") && table.lines().skip(1).all(|line| line.ends_with(" unfinished")), "{table}");
}

#[test]
fn kernel_a_call_that_does_not_return_is_shown() {
    if !kernel_gate("calls that do not return") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (run, _) = stuck(&dir);
    let calls = rows(&skep(&["trace", "syscall", "--arguments", "--format", "jsonl"], run.pid()));
    assert_eq!(calls.len(), 3, "{calls:#?}");
    let read = calls.iter().find(|call| call["comm"] == "in-read").unwrap();
    assert_eq!((&read["syscall"], &read["unfinished"], &read["arg2"]), (&"read".into(), &true.into(), &1.into()));
    assert!(read["duration_ns"].as_u64().unwrap() > 900_000_000 && read["return_value"].is_null(), "{read}");
    let file = dir.path().join("calls.skep").to_str().unwrap().to_owned();
    skep(&["record", "syscall", "-o", &file], run.pid());
    let replay = Run::skep(["replay", &file, "--sort", "return_value,comm", "--format", "jsonl"]).finish();
    let replayed = rows(&replay);
    assert!(replayed.len() == 3 && replayed.iter().all(|call| call["return_value"].is_null()), "{replay:#?}");
    let long = rows(&skep(&["trace", "syscall", "--min", "1h", "--format", "jsonl"], run.pid()));
    assert!(long.is_empty(), "{long:?}");
    let reads = rows(&skep(&["trace", "syscall", "--syscall", "read,write", "--format", "jsonl"], run.pid()));
    assert!(reads.len() == 1 && reads[0]["comm"] == "in-read", "{reads:?}");
}

#[test]
fn kernel_time_off_the_cpu_is_shown_of_who_never_was_on_it() {
    if !kernel_gate("time off the CPU that does not end") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (run, _) = stuck(&dir);
    let folded = skep(&["profile", "offcpu", "--format", "folded"], run.pid()).text();
    for (comm, frames) in [("in-lock", "futex"), ("in-condition", "futex"), ("in-read", "read")] {
        let is = |line: &&str| line.starts_with(&format!("{comm};")) && line.contains(frames);
        let line = folded.lines().find(is).unwrap_or_else(|| panic!("{comm}: {folded}"));
        let (stack, time) = line.rsplit_once(' ').unwrap();
        assert!(stack.ends_with(";[unfinished]") && time.parse::<u64>().unwrap() > 900_000_000, "{line}");
    }
    // Through the frame pointers of its own code, where the C library left them alone.
    assert!(folded.contains("main;") || folded.contains("stuck_on_a_lock"), "{folded}");
    let other = rows(&skep(&["profile", "offcpu", "--comm", "in-read", "--format", "jsonl"], run.pid()));
    assert!(other.len() == 1 && other[0]["comm"] == "in-read", "{other:?}");
}

/// Waits for a futex a millisecond at a time until its input ends, and then, when it has said so, once for two seconds.
const TIMED: &str = r#"
#include <linux/futex.h>
#include <poll.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static int word = 7;
static void wait_for(time_t s, long ns) { struct timespec t = {s, ns}; syscall(SYS_futex, &word, FUTEX_WAIT, 7, &t, NULL, 0); }
int main(void) {
    struct pollfd input = {0, POLLIN, 0};
    while (poll(&input, 1, 0) == 0) wait_for(0, 1000000);
    printf("two seconds\n");
    fflush(stdout);
    wait_for(2, 0);
}
"#;

#[test]
fn kernel_a_wait_that_a_stop_interrupts_is_one_wait() {
    if !kernel_gate("a wait that a stop interrupts") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (source, program) = (dir.path().join("timed.c"), dir.path().join("timed"));
    fs::write(&source, TIMED).unwrap();
    assert!(Command::new("cc").arg("-o").arg(&program).arg(&source).status().unwrap().success());
    let mut command = Command::new(&program);
    command.stdin(Stdio::piped());
    let mut waits = Run::start(command);
    let pid = waits.pid().to_string();
    let mut traced = Run::skep(["trace", "lock", "--pid", &pid, "-d", "50s", "--format", "jsonl"]);
    traced.wait_for("the first of the short waits", |line| line.contains("wait_ns"));
    waits.end_input();
    waits.wait_for("the long one", |line| line == "two seconds");
    let is =
        |state: &str| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(&format!("(timed) {state}"));
    let comes = |state: &str| {
        while !is(state) {
            std::thread::yield_now();
        }
    };
    comes("S");
    waits.signal(Signal::STOP);
    comes("T");
    waits.signal(Signal::CONT);
    assert_eq!(waits.finish().code, Some(0));
    let traced = traced.finish();
    assert_eq!(traced.code, Some(0), "{}", traced.stderr);
    let rows = traced.stdout.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let long: Vec<u64> = rows.filter_map(|row| row["wait_ns"].as_u64()).filter(|wait| *wait > 500_000_000).collect();
    assert!(long.len() == 1 && long[0] >= 2_000_000_000, "{long:?}");
}
