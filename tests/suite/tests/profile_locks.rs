//! Every way to wait for a futex is seen by `skep trace lock`, with the lock's address; each test causes the waits it looks for.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    process, ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

use rustix::{
    thread::{ClockId, futex},
    time::{Timespec, clock_gettime},
};
use skep_suite::{Run, kernel_gate};

/// Numbers of `linux/futex.h`, and the collector's for the calls that have no operation.
const WAIT: u32 = 0;
const LOCK_PI: u32 = 6;
const WAIT_BITSET: u32 = 9;
const WAIT_REQUEUE_PI: u32 = 11;
const LOCK_PI2: u32 = 13;
const WAITV: u32 = 0x10000;
const WAIT2: u32 = 0x20000;
const CLOCK_REALTIME: u32 = 0x100;

/// A futex that nobody lets go, apart from the others by more than its size.
#[derive(Default)]
#[repr(align(64))]
struct Lock(AtomicU32);

impl Lock {
    fn address(&self) -> u64 {
        &raw const self.0 as u64
    }
}

/// Three milliseconds, and from now on a clock.
const SHORT: Timespec = Timespec { tv_sec: 0, tv_nsec: 3_000_000 };

fn soon(clock: rustix::time::ClockId) -> Timespec {
    let now = clock_gettime(clock);
    let nanos = now.tv_nsec + SHORT.tv_nsec;
    Timespec { tv_sec: now.tv_sec + nanos / 1_000_000_000, tv_nsec: nanos % 1_000_000_000 }
}

#[derive(Default)]
struct Locks {
    wait: Lock,
    wait_realtime: Lock,
    bitset: Lock,
    pi: Lock,
    pi2: Lock,
    requeue: Lock,
    requeue_to: Lock,
    vector: Lock,
}

impl Locks {
    /// Waits once in each way until the time is over.
    fn wait_in_every_way(&self) {
        use rustix::time::ClockId::{Monotonic, Realtime};
        let plain = futex::Flags::PRIVATE;
        let realtime = futex::Flags::PRIVATE | futex::Flags::CLOCK_REALTIME;
        let any = NonZeroU32::MAX;
        let _ = futex::wait(&self.wait.0, plain, 0, Some(&SHORT));
        let _ = futex::wait_bitset(&self.bitset.0, plain, 0, Some(&soon(Monotonic)), any);
        let _ = futex::wait_bitset(&self.wait_realtime.0, realtime, 0, Some(&soon(Realtime)), any);
        // Its time-out is on the realtime clock without saying so.
        let _ = futex::lock_pi(&self.pi.0, plain, Some(&soon(Realtime)));
        let _ = futex::lock_pi2(&self.pi2.0, plain, Some(&soon(Monotonic)));
        let _ = futex::wait_requeue_pi(&self.requeue.0, plain, 0, Some(&soon(Monotonic)), &self.requeue_to.0);
        let mut one = futex::Wait::new();
        one.uaddr = futex::WaitPtr::new(ptr::from_ref(&self.vector.0).cast_mut().cast());
        one.flags = futex::WaitFlags::SIZE_U32 | futex::WaitFlags::PRIVATE;
        let _ = futex::waitv(&[one], futex::WaitvFlags::empty(), Some(&soon(Monotonic)), ClockId::Monotonic);
    }
}

#[test]
fn kernel_every_way_to_wait_for_a_futex_is_seen() {
    if !kernel_gate("futex waits of every kind") {
        return;
    }
    let locks: &'static Locks = Box::leak(Box::default());
    // Locks with priority inheritance name their owner: a thread that lives and never lets go.
    let owner = rustix::thread::gettid().as_raw_nonzero().get() as u32;
    locks.pi.0.store(owner, Ordering::Relaxed);
    locks.pi2.0.store(owner, Ordering::Relaxed);
    let stop: Arc<AtomicBool> = Arc::default();
    let seen = stop.clone();
    let body = move || {
        while !seen.load(Ordering::Relaxed) {
            locks.wait_in_every_way();
        }
    };
    let waiter = thread::Builder::new().name("futex-thread".into()).spawn(body).unwrap();
    let pid = process::id().to_string();
    let run = ["trace", "lock", "-d", "1s", "--comm", "futex-thread", "--format", "jsonl", "--pid", &pid];
    let finished = Run::skep(run).finish();
    stop.store(true, Ordering::Relaxed);
    waiter.join().unwrap();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);

    let mut waits: BTreeMap<u64, (u32, String, u64)> = BTreeMap::new();
    for line in &finished.stdout {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let address = u64::from_str_radix(row["address"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
        let flags = row["lock_flags"].as_u64().unwrap() as u32;
        let wait = waits.entry(address).or_insert((flags, row["lock"].as_str().unwrap().to_owned(), 0));
        wait.2 = wait.2.max(row["wait_ns"].as_u64().unwrap());
    }
    let cases = [
        ("wait", &locks.wait, WAIT, "futex"),
        ("wait_bitset", &locks.bitset, WAIT_BITSET, "futex"),
        ("wait_bitset on the realtime clock", &locks.wait_realtime, WAIT_BITSET | CLOCK_REALTIME, "futex"),
        ("lock_pi", &locks.pi, LOCK_PI, "futex"),
        ("lock_pi2", &locks.pi2, LOCK_PI2, "futex"),
        ("wait_requeue_pi", &locks.requeue, WAIT_REQUEUE_PI, "condition"),
        ("futex_waitv", &locks.vector, WAITV, "futex"),
    ];
    const PRIVATE: u32 = 0x80;
    for (name, lock, operation, kind) in cases {
        let (flags, found, longest) =
            waits.get(&lock.address()).unwrap_or_else(|| panic!("no {name} in {waits:#x?}\n{}", finished.stderr));
        assert_eq!((flags & !PRIVATE, found.as_str()), (operation, kind), "{name}");
        assert!(*longest >= 1_000_000, "{name} waited {longest} ns");
    }
}

/// Waits for a condition variable and, in another thread, for a mutex that the first one holds most of the time, through the C library:
/// whose functions have no frame pointers.
const PROGRAM: &str = r#"
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER, lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static sem_t semaphore;
static struct timespec soon(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_nsec += 3000000;
    if (t.tv_nsec >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
    return t;
}
static void *hold(void *none) {
    for (;;) { pthread_mutex_lock(&lock); usleep(3000); pthread_mutex_unlock(&lock); }
    return none;
}
static void *contend(void *none) {
    for (;;) { pthread_mutex_lock(&lock); pthread_mutex_unlock(&lock); }
    return none;
}
static void *count(void *none) {
    for (;;) { struct timespec t = soon(); sem_timedwait(&semaphore, &t); }
    return none;
}
int main(void) {
    pthread_t threads[3];
    sem_init(&semaphore, 0, 0);
    printf("%p %p %p %zu\n", (void *)&condition, (void *)&lock, (void *)&semaphore, sizeof(condition));
    fflush(stdout);
    pthread_create(&threads[0], NULL, hold, NULL);
    pthread_create(&threads[1], NULL, contend, NULL);
    pthread_create(&threads[2], NULL, count, NULL);
    pthread_mutex_lock(&guard);
    for (;;) { struct timespec t = soon(); pthread_cond_timedwait(&condition, &guard, &t); }
}
"#;

#[test]
fn kernel_a_condition_variable_of_the_c_library_is_told_from_a_mutex_and_a_semaphore() {
    if !kernel_gate("condition variables of the C library") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut waits = compiled(&dir, PROGRAM);
    let line = waits.wait_for("line with the addresses", |line| line.starts_with("0x"));
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    let (condition, lock, semaphore) = (number(words[0]), number(words[1]), number(words[2]));
    let size: u64 = words[3].parse().unwrap();
    let rows = traced(waits.pid());
    let mut seen = [0; 3];
    for row in &rows {
        let address = number(row["address"].as_str().unwrap());
        let (which, kind) = match address {
            _ if (condition..condition + size).contains(&address) => (0, "condition"),
            _ if address == lock => (1, "futex"),
            _ if (semaphore..semaphore + 16).contains(&address) => (2, "futex"),
            _ => continue,
        };
        assert_eq!(row["lock"], kind, "{row}");
        seen[which] += 1;
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?} of {}", rows.len());
}

/// A C program of that text, running.
fn compiled(dir: &tempfile::TempDir, text: &str) -> Run {
    let (source, program) = (dir.path().join("waits.c"), dir.path().join("waits"));
    std::fs::write(&source, text).unwrap();
    let built = process::Command::new("cc").args(["-O2", "-pthread", "-o"]).arg(&program).arg(&source).status();
    assert!(built.unwrap().success());
    Run::start(process::Command::new(&program))
}

/// What `skep trace lock` says in a second of a process, of waits that came to their end.
fn traced(pid: u32) -> Vec<serde_json::Value> {
    let pid = pid.to_string();
    let finished = Run::skep(["trace", "lock", "-d", "1s", "--pid", &pid, "--format", "jsonl"]).finish();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let rows = finished.stdout.iter().map(|line| serde_json::from_str(line).unwrap());
    rows.filter(|row: &serde_json::Value| row["unfinished"] == false).collect()
}

/// Waits through calls that the C library has no function for, on both clocks, and prints where.
const CALLS: &str = r#"
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#define SIZE_U32 2
#define PRIVATE 128
#define FUTEX_WAITV 449
#define FUTEX_WAIT 455
struct waiter { uint64_t val, uaddr; uint32_t flags, reserved; };
/* Apart from one another by more than their size. */
static _Alignas(64) uint32_t words[5][16];
static struct timespec soon(int clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    t.tv_nsec += 3000000;
    if (t.tv_nsec >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
    return t;
}
static long wait_on(uint32_t *word, int clock) {
    struct timespec t = soon(clock);
    return syscall(FUTEX_WAIT, word, 0, ~0u, SIZE_U32 | PRIVATE, &t, clock);
}
static long wait_on_two(uint32_t *first, uint32_t *second, int clock) {
    struct timespec t = soon(clock);
    struct waiter two[2] = {{ .uaddr = (uintptr_t)first, .flags = SIZE_U32 | PRIVATE },
                            { .uaddr = (uintptr_t)second, .flags = SIZE_U32 | PRIVATE }};
    return syscall(FUTEX_WAITV, two, 2, 0, &t, clock);
}
int main(void) {
    int has_wait = !(wait_on(words[0], CLOCK_MONOTONIC) < 0 && errno == ENOSYS);
    printf("%d", has_wait);
    for (int i = 0; i < 5; i++) printf(" %p", (void *)words[i]);
    printf("\n");
    fflush(stdout);
    for (;;) {
        wait_on(words[0], CLOCK_MONOTONIC);
        wait_on(words[1], CLOCK_REALTIME);
        wait_on_two(words[2], words[4], CLOCK_MONOTONIC);
        wait_on_two(words[3], words[4], CLOCK_REALTIME);
    }
}
"#;

#[test]
fn kernel_calls_that_wait_for_futexes_of_their_own_are_seen_on_both_clocks() {
    if !kernel_gate("futex_wait(2) and futex_waitv") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut waits = compiled(&dir, CALLS);
    let line = waits.wait_for("line with the addresses", |line| line.contains("0x"));
    let words: Vec<&str> = line.split(' ').collect();
    let rows = traced(waits.pid());
    let mut cases = vec![("futex_waitv", words[3], WAITV), ("futex_waitv on the realtime clock", words[4], WAITV)];
    if words[0] == "1" {
        cases.extend([("futex_wait", words[1], WAIT2), ("futex_wait on the realtime clock", words[2], WAIT2)]);
    } else {
        println!("left out, this kernel has no futex_wait(2): Linux 6.7 does");
    }
    for (name, address, flags) in cases {
        let found: Vec<_> = rows.iter().filter(|row| row["address"] == address).collect();
        assert!(found.len() > 3, "{name}: {} of {} waits", found.len(), rows.len());
        for row in found {
            assert_eq!(
                (row["lock"].as_str(), row["lock_flags"].as_u64()),
                (Some("futex"), Some(flags.into())),
                "{row}"
            );
            assert!(row["wait_ns"].as_u64().unwrap() > 1_000_000, "{name}: {row}");
        }
    }
    assert!(rows.iter().all(|row| row["address"] != words[5]), "of several futexes the first stands for all");
}

/// Waits for a futex as a 32-bit program does, by both of the calls that i386 has, and prints where. Ends at once where the kernel takes no
/// such calls.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: &str = r#"
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#define FUTEX 240
#define FUTEX_TIME64 422
#define WAIT_PRIVATE 128
static long call(long number, void *word, void *time) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(word), "c"(WAIT_PRIVATE), "d"(0), "S"(time)
                     : "memory", "r8", "r9", "r10", "r11");
    return result;
}
int main(void) {
    uint32_t *words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    int32_t *time = (void *)(words + 512);
    int64_t *time64 = (void *)(words + 640);
    time[1] = time64[1] = 3000000;
    if ((int)call(FUTEX, words, time) != -110) return 1;
    printf("%p %p\n", (void *)words, (void *)(words + 16));
    fflush(stdout);
    for (;;) call(FUTEX, words, time), call(FUTEX_TIME64, words + 16, time64);
}
"#;

#[cfg(target_arch = "x86_64")]
#[test]
fn kernel_waits_of_32_bit_programs_are_seen() {
    if !kernel_gate("futex waits of i386") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut waits = compiled(&dir, OLD_CALLS);
    let line = waits.wait_for("line with the addresses", |line| line.contains("0x"));
    let rows = traced(waits.pid());
    for address in line.split(' ') {
        let found = rows.iter().filter(|row| row["address"] == address && row["lock"] == "futex");
        let longest = found.filter_map(|row| row["wait_ns"].as_u64()).max();
        assert!(longest > Some(1_000_000), "{address}: {longest:?} of {} waits", rows.len());
    }
}

#[test]
fn kernel_a_contended_lock_of_the_kernel_is_found_with_its_stack() {
    if !kernel_gate("a contended lock of the kernel") {
        return;
    }
    // Who writes to a file holds its inode's lock for as long as that takes.
    let file: &'static std::fs::File = Box::leak(Box::new(tempfile::tempfile().unwrap()));
    let stop: Arc<AtomicBool> = Arc::default();
    let writers: Vec<_> = (0..2)
        .map(|_| {
            let seen = stop.clone();
            let bytes = vec![1; 8 << 20];
            let body = move || {
                while !seen.load(Ordering::Relaxed) {
                    std::os::unix::fs::FileExt::write_all_at(file, &bytes, 0).unwrap();
                }
            };
            thread::Builder::new().name("file-writer".into()).spawn(body).unwrap()
        })
        .collect();
    let pid = process::id().to_string();
    let lock = |command: &str, more: &[&str]| {
        let run = [command, "lock", "-d", "1s", "--comm", "file-writer", "--pid", &pid];
        Run::skep(run.iter().chain(more)).finish()
    };
    let traced = lock("trace", &["--stacks", "--format", "jsonl"]);
    let folded = lock("profile", &["--format", "folded"]);
    stop.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert_eq!((traced.code, folded.code), (Some(0), Some(0)), "{}{}", traced.stderr, folded.stderr);
    let mut waits: BTreeMap<String, (u32, u64)> = BTreeMap::new();
    for row in traced.stdout.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()) {
        let frames = row["kernel_stack"].as_array();
        if row["lock"] == "kernel" && frames.is_some_and(|frames| frames.iter().any(|frame| frame == "vfs_write")) {
            let wait = waits.entry(row["address"].as_str().unwrap().to_owned()).or_default();
            *wait = (wait.0 + 1, wait.1.max(row["wait_ns"].as_u64().unwrap()));
        }
    }
    let (count, longest) = waits.values().copied().max().unwrap_or_default();
    assert!(count > 10 && longest > 100_000, "{waits:?}\n{}", traced.stderr);
    let below_write = |line: &&String| line.starts_with("file-writer;") && line.contains("vfs_write_[k];");
    assert!(folded.stdout.iter().any(|line| below_write(&line)), "{}", folded.text());
}

/// A mutex announces its wait when it spins and again when it sleeps; what it guards here is a pipe.
#[test]
fn kernel_a_mutex_that_spins_before_it_sleeps_is_one_wait() {
    if !kernel_gate("a contended mutex of the kernel") {
        return;
    }
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
    let (reader, writer) = (Arc::new(reader), Arc::new(writer));
    let stop: Arc<AtomicBool> = Arc::default();
    let users: Vec<_> = (0..6)
        .map(|number| {
            let (seen, reader, writer) = (stop.clone(), reader.clone(), writer.clone());
            let body = move || {
                let mut bytes = [0; 8192];
                while !seen.load(Ordering::Relaxed) {
                    // A full pipe and an empty one are refusals; the mutex was taken all the same.
                    let _ = match number % 2 {
                        0 => rustix::io::write(&*writer, &bytes),
                        _ => rustix::io::read(&*reader, &mut bytes),
                    };
                }
            };
            thread::Builder::new().name("pipe-user".into()).spawn(body).unwrap()
        })
        .collect();
    let pid = process::id().to_string();
    let run = ["trace", "lock", "-d", "2s", "--comm", "pipe-user", "--pid", &pid, "--format", "jsonl"];
    let traced = Run::skep(run).finish();
    stop.store(true, Ordering::Relaxed);
    users.into_iter().for_each(|user| user.join().unwrap());
    assert_eq!(traced.code, Some(0), "{}", traced.stderr);
    // Begin and end of each wait of a thread for a lock.
    let mut waits: BTreeMap<(u64, String), Vec<(u64, u64)>> = BTreeMap::new();
    for row in traced.stdout.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()) {
        let number = |name: &str| row[name].as_u64().unwrap();
        if row["lock"] == "kernel" {
            let lock = (number("tid"), row["address"].as_str().unwrap().to_owned());
            let end = number("timestamp_ns");
            waits.entry(lock).or_default().push((end - number("wait_ns"), end));
        }
    }
    assert!(waits.values().map(Vec::len).sum::<usize>() > 10, "{waits:?}\n{}", traced.stderr);
    for (lock, waits) in &mut waits {
        waits.sort_unstable();
        for pair in waits.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "a thread waits twice at once for one lock: {lock:?} {pair:?}");
        }
    }
}
