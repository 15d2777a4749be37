//! Guests in every form that public SDKs give them: what each says is what the kernel did.

use rustix::process::Signal;
use skep_suite::{Finished, Run, guest, kernel_gate, trigger};

/// Runs a guest that waits for one call, makes it, and takes the end.
fn run_triggered(name: &str, args: &[&str], calls: u16) -> Option<Finished> {
    if !kernel_gate(name) {
        return None;
    }
    let mut run = Run::skep(["run".into(), guest(name)].into_iter().chain(args.iter().map(Into::into)));
    run.wait_ready();
    (0..calls).for_each(trigger);
    Some(run.finish())
}

fn assert_says(finished: &Finished, lines: &[&str]) {
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    for line in lines {
        assert!(finished.stdout.iter().any(|said| said == line), "no line {line:?} in {finished:#?}");
    }
}

#[test]
fn kernel_every_record_of_a_burst_is_delivered() {
    let Some(finished) = run_triggered("burst", &[], 1) else { return };
    assert_says(&finished, &["100 records, 0 out of order, result 0"]);
}

#[test]
fn kernel_many_bursts_lose_nothing() {
    let Some(finished) = run_triggered("burst", &["5000"], 50) else { return };
    assert_says(&finished, &["5000 records, 0 out of order, result 0"]);
}

#[test]
fn kernel_several_ring_and_perf_buffers_in_one_object() {
    let Some(finished) = run_triggered("buffers", &["4"], 4) else { return };
    assert_says(&finished, &["100 100 100 100 records, 0 misplaced, result 0"]);
}

#[test]
fn kernel_imports_from_module_env() {
    let Some(finished) = run_triggered("env-module", &[], 1) else { return };
    assert_says(&finished, &["100 records, 1 call"]);
}

#[test]
fn kernel_the_callback_of_tinygo() {
    let Some(finished) = run_triggered("tinygo", &[], 1) else { return };
    assert_says(&finished, &["100 records, 0 wrong"]);
}

#[test]
fn kernel_map_operate_with_wide_pointers() {
    let Some(finished) = run_triggered_at_once("wide", &[]) else { return };
    let expected = [
        "update 0",
        "lookup 0: 42",
        "first key 0: 3",
        "key after the last -2",
        "delete 0",
        "lookup -2",
        "beyond 4 GiB refused: 1",
    ];
    assert_says(&finished, &expected);
}

/// Runs a guest that waits for nothing.
fn run_triggered_at_once(name: &str, args: &[&str]) -> Option<Finished> {
    if !kernel_gate(name) {
        return None;
    }
    Some(Run::skep(["run".into(), guest(name)].into_iter().chain(args.iter().map(Into::into))).finish())
}

/// Every line that a guest prints as `what: 0` or `what: 1` must say 1.
fn assert_all_true(finished: &Finished) {
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    let wrong: Vec<_> = finished.stdout.iter().filter(|line| line.ends_with(": 0")).collect();
    assert!(wrong.is_empty(), "{wrong:#?} in {finished:#?}");
}

#[test]
fn kernel_walks_over_keys() {
    let Some(finished) = run_triggered_at_once("walk", &[]) else { return };
    assert_all_true(&finished);
    assert_says(&finished, &["1500 keys, 0 twice, 0 with a wrong value", "1500 deleted"]);
}

#[test]
fn kernel_per_cpu_maps_have_a_value_for_each_possible_cpu() {
    let cpus = libbpf_rs::num_possible_cpus().unwrap().to_string();
    let Some(finished) = run_triggered_at_once("percpu", &[&cpus]) else { return };
    assert_all_true(&finished);
    assert_eq!(finished.stdout.len(), 4, "{finished:#?}");
}

#[test]
fn kernel_maps_without_keys() {
    let Some(finished) = run_triggered_at_once("keyless", &[]) else { return };
    assert_all_true(&finished);
    assert_eq!(finished.stdout.len(), 5, "{finished:#?}");
}

#[test]
fn kernel_several_objects_keep_their_maps_and_programs_to_themselves() {
    let Some(finished) = run_triggered_at_once("objects", &[]) else { return };
    assert_all_true(&finished);
    assert_says(&finished, &["closing twice: -1", "poll with another object's map refused: 1"]);
    assert!(finished.stderr.contains("belongs to another object"), "{}", finished.stderr);
}

#[test]
fn kernel_maps_in_the_guests_own_memory() {
    let Some(finished) = run_triggered("shared", &["3"], 3) else { return };
    assert_all_true(&finished);
    assert_says(&finished, &["300 records in place", "read[1000] == value: 1", "write[5] == 0: 1"]);
}

#[test]
fn kernel_a_store_to_a_mapping_for_reading_traps() {
    let Some(finished) = run_triggered("shared", &["write-read-only"], 0) else { return };
    assert_eq!(finished.code, Some(134), "{finished:#?}");
    assert!(finished.stderr.contains("wrote outside its memory"), "{}", finished.stderr);
}

#[test]
fn kernel_a_store_of_the_hosts_to_a_mapping_for_reading_ends_the_guest_in_order() {
    let Some(finished) = run_triggered("shared", &["wasi-write-read-only"], 0) else { return };
    assert_eq!(finished.code, Some(134), "{finished:#?}");
    assert!(finished.stderr.contains("wrote outside its memory"), "{}", finished.stderr);
}

/// Stops the guest `name`, once it has printed `line`, while 200,000 records are made: more than its buffers hold. What it then
/// reads, by the first `counts` words of its last line, and what is counted as lost or left unread must be all of them.
fn overrun(name: &str, line: &str, counts: usize, lost: &str) {
    let mut run = Run::skep(["run".into(), guest(name), "1000000".into()]);
    run.wait_for(line, |shown| shown == line);
    run.signal(Signal::STOP);
    (0..2000).for_each(trigger);
    run.signal(Signal::CONT);
    run.signal(Signal::INT);
    let finished = run.finish();
    assert!(finished.stderr.contains(lost), "{finished:#?}");
    let words = finished.stdout.last().unwrap().split(' ').take(counts);
    let said = finished.stderr.lines().filter_map(|line| Some(line.strip_prefix("skep: ")?.split_once(" records ")?.0));
    let all: u64 = words.chain(said).map(|count| count.parse::<u64>().unwrap()).sum();
    assert_eq!(all, 200_000, "{finished:#?}");
}

#[test]
fn kernel_what_a_full_ring_buffer_refuses_is_counted() {
    if kernel_gate("a full ring buffer") {
        overrun("burst", "ready", 1, "were lost: the guest's ring buffers were full");
    }
}

/// Half of the records go into perf buffers.
#[test]
fn kernel_what_a_full_perf_buffer_refuses_is_counted() {
    if kernel_gate("a full perf buffer") {
        overrun("buffers", "polled", 4, "were lost: the guest's perf buffers were full");
    }
}

#[test]
fn kernel_an_arena_in_the_guests_memory_has_its_global_variables() {
    if !kernel_gate("arenas") {
        return;
    }
    if !libbpf_rs::MapType::Arena.is_supported().unwrap_or(true) {
        println!("this kernel has no arenas (Linux 6.9): left out");
        return;
    }
    let mut run = Run::skep(["run".into(), guest("arena")]);
    run.wait_ready();
    trigger(77);
    let finished = run.finish();
    assert_eq!(finished.stdout, ["at first 1000", "ready", "then 1077"], "{finished:#?}");
    assert_eq!(finished.code, Some(0), "{finished:#?}");
}
