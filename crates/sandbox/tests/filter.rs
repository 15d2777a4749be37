//! World `filter`: its limits, its defects that must be absent, and modules that mean no good.

use skep_abi::event_context::EventContext;
use skep_error::Kind;
use skep_event::Selection;
use skep_sandbox::{
    FilterPolicy, OnTrap, TrapKind, WasmFilter, WasmRuntime,
    worlds::filter::{FilterChain, FilterOperator},
};
use std::sync::{Arc, Mutex};

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn load(text: &str) -> skep_error::Result<WasmFilter> {
    WasmRuntime::new()?.load_filter(&wasm(text))
}

fn with_policy(policy: FilterPolicy, text: &str) -> WasmFilter {
    WasmRuntime::with_policy(policy).unwrap().load_named("mine", &wasm(text)).unwrap()
}

/// A module with a memory of its own and that body of `filter`.
fn body(body: &str) -> String {
    format!(
        r#"(module (import "env" "log" (func $log (param i32 i32))) (memory (export "memory") 1 16)
            (func $filter (export "filter") (param $e i32) (param $len i32) (result i32) {body}))"#
    )
}

fn event(pid: u32) -> EventContext {
    EventContext { pid, ..EventContext::default() }
}

#[test]
fn events_are_kept_and_dropped_in_place_and_in_order() {
    let mut filter = load(&body("(i32.and (i32.load offset=4 (local.get $e)) (i32.const 1))")).unwrap();
    let mut events: Vec<_> = (0..1000).map(event).collect();
    filter.filter_batch(&mut events).unwrap();
    assert_eq!(events, (0..1000).filter(|pid| pid % 2 == 1).map(event).collect::<Vec<_>>());
    let counters = filter.counters();
    assert_eq!((counters.seen, counters.kept, counters.dropped, counters.failures()), (1000, 500, 500, 0));
    let mut any_nonzero = load(&body("(i32.const -7)")).unwrap();
    assert!(any_nonzero.filter_event(&event(1)).unwrap());
    let mut length = load(&body("(i32.eq (local.get $len) (i32.const 88))")).unwrap();
    assert!(length.filter_event(&event(1)).unwrap());
}

#[test]
fn every_member_is_where_the_layout_says_and_padding_is_zero() {
    let full = EventContext {
        event_type: 2,
        pid: 101,
        tid: 102,
        timestamp_ns: 103,
        cpu_id: 104,
        user_stack_id: -105,
        kernel_stack_id: 106,
        lock_addr: 107,
        wait_ns: 108,
        syscall_id: 109,
        duration_ns: 110,
        return_value: -111,
        ..EventContext::default()
    };
    let words = [(0, 2), (4, 101), (8, 102), (12, 0), (24, 104), (28, 0), (64, 109), (68, 0)];
    let longs = [(16, 103i64), (32, -105), (40, 106), (48, 107), (56, 108), (72, 110), (80, -111)];
    let mut test = String::from("(i32.const 1)");
    for (offset, value) in words {
        test = format!("(i32.and {test} (i32.eq (i32.load offset={offset} (local.get $e)) (i32.const {value})))");
    }
    for (offset, value) in longs {
        test = format!("(i32.and {test} (i64.eq (i64.load offset={offset} (local.get $e)) (i64.const {value})))");
    }
    assert!(load(&body(&test)).unwrap().filter_event(&full).unwrap());
}

/// What today's Rust makes of a filter without data: 1 MiB of stack, which is all 16 pages, and no allocator.
fn as_rust_builds(test: &str) -> String {
    format!(
        r#"(module (memory (export "memory") 16) (global $sp (mut i32) (i32.const 1048576))
            (global (export "__heap_base") i32 (i32.const 1048576))
            (func (export "filter") (param $e i32) (param $len i32) (result i32) {test}))"#
    )
}

#[test]
fn the_public_examples_run_as_printed() {
    let call = EventContext { event_type: 2, ..event(1234) };
    // One process only; it wants at least 12 bytes.
    let pid = "(if (i32.lt_u (local.get $len) (i32.const 12)) (then (return (i32.const 0))))
        (i32.eq (i32.load offset=4 (local.get $e)) (i32.const 1234))";
    let mut filter = load(&as_rust_builds(pid)).unwrap();
    assert!(filter.filter_event(&event(1234)).unwrap() && !filter.filter_event(&event(1)).unwrap());
    // Samples of a CPU only.
    let mut filter = load(&as_rust_builds("(i32.eqz (i32.load (local.get $e)))")).unwrap();
    assert!(filter.filter_event(&event(1)).unwrap() && !filter.filter_event(&call).unwrap());
    // Slow system calls, and whatever is none; it wants at least 64 bytes, and looks for the duration at 56, which is `wait_ns`.
    let slow = "(if (i32.lt_u (local.get $len) (i32.const 64)) (then (return (i32.const 0))))
        (if (i32.ne (i32.load (local.get $e)) (i32.const 2)) (then (return (i32.const 1))))
        (i64.ge_u (i64.load offset=56 (local.get $e)) (i64.const 1000000))";
    let mut filter = load(&as_rust_builds(slow)).unwrap();
    assert!(filter.filter_event(&event(1)).unwrap(), "what is no system call is kept");
    assert!(!filter.filter_event(&EventContext { duration_ns: 5_000_000, ..call }).unwrap());
    assert!(filter.filter_event(&EventContext { wait_ns: 5_000_000, ..call }).unwrap());
    // With the layout's offset in place of the printed one.
    let mut filter = load(&as_rust_builds(&slow.replace("offset=56", "offset=72"))).unwrap();
    assert!(filter.filter_event(&EventContext { duration_ns: 5_000_000, ..call }).unwrap());
    assert!(!filter.filter_event(&EventContext { duration_ns: 5_000, ..call }).unwrap());
}

/// What compilers make of the same filter, with their own stack and memory: Rust 16 pages, C one.
#[test]
fn the_samples_that_rust_and_c_make_keep_slow_calls_and_what_is_no_call() {
    let rust = include_bytes!("../../../examples/slow-filter/slow-filter.wasm");
    let c = include_bytes!("../../../examples/filters/slow.wasm");
    for (wasm, pages) in [(&rust[..], 17), (&c[..], 2)] {
        let mut filter = WasmRuntime::new().unwrap().load_filter(wasm).unwrap();
        let call = |duration_ns| EventContext { event_type: 2, duration_ns, ..event(1) };
        let mut events = vec![call(999_999), call(1_000_000), event(1), EventContext { wait_ns: u64::MAX, ..call(0) }];
        filter.filter_batch(&mut events).unwrap();
        assert_eq!(events, [call(1_000_000), event(1)]);
        assert_eq!(filter.memory_bytes(), pages * 65536);
    }
}

#[test]
fn a_guest_that_has_all_its_pages_gets_the_events_page_besides_and_no_more() {
    let grow = "(i32.and (i32.eq (memory.size) (i32.const 17)) (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))";
    let mut filter = load(&as_rust_builds(grow)).unwrap();
    assert!(filter.filter_event(&event(1)).unwrap());
    assert_eq!(filter.memory_bytes(), 17 * 65536);
}

#[test]
fn a_guest_that_says_that_its_memory_never_grows_runs_and_cannot_grow() {
    for pages in [1, 2, 16] {
        let text = format!(
            r#"(module (memory (export "memory") {pages} {pages})
                (data (i32.const 1024) "guest data that must stay")
                (func (export "filter") (param $e i32) (param i32) (result i32)
                    (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
                    (if (i64.ne (i64.load (i32.const 1024)) (i64.const 0x6164207473657567)) (then unreachable))
                    (i32.eq (i32.load offset=4 (local.get $e)) (i32.const 7))))"#
        );
        let mut filter = load(&text).unwrap();
        assert!(filter.filter_event(&event(7)).unwrap() && !filter.filter_event(&event(8)).unwrap());
        assert_eq!((filter.counters().failures(), filter.memory_bytes()), (0, (pages + 1) * 65536));
    }
}

#[test]
fn modules_that_are_no_filter_are_refused_with_the_reason() {
    let memory = r#"(memory (export "memory") 1)"#;
    let filter = r#"(func (export "filter") (param i32 i32) (result i32) (i32.const 1))"#;
    let cases = [
        (format!("(module {memory})"), Kind::BadInput, "no function \"filter\""),
        (
            format!(r#"(module {memory} (func (export "fliter") (param i32 i32) (result i32) (i32.const 1)))"#),
            Kind::BadInput,
            "no function",
        ),
        (
            format!(r#"(module {memory} (func (export "filter") (param i32) (result i32) (i32.const 1)))"#),
            Kind::BadInput,
            "(i32) -> (i32), not (i32, i32) -> (i32)",
        ),
        (
            format!(r#"(module {memory} (func (export "filter") (param i32 i64) (result i32) (i32.const 1)))"#),
            Kind::BadInput,
            "(i32, i64) -> (i32)",
        ),
        (format!(r#"(module {memory} (global (export "filter") i32 (i32.const 0)))"#), Kind::BadInput, "no function"),
        (format!("(module {filter})"), Kind::BadInput, "no memory"),
        (format!("(module (memory 1) {filter})"), Kind::BadInput, "no memory"),
        (format!(r#"(module (memory (export "memory") 17) {filter})"#), Kind::Refused, "17 pages of 64 KiB, 16"),
        (format!(r#"(module (import "env" "memory" (memory 17)) {filter})"#), Kind::Refused, "17 pages"),
        (
            format!(r#"(module (import "wasi_snapshot_preview1" "fd_write" (func)) {memory} {filter})"#),
            Kind::Refused,
            "wasi_snapshot_preview1.fd_write",
        ),
        (format!(r#"(module (import "env" "log" (func (param i64))) {memory} {filter})"#), Kind::BadInput, "env.log"),
        (
            format!(r#"(module {memory} {filter} (func $s unreachable) (start $s))"#),
            Kind::Trap,
            "instantiating the filter",
        ),
        (
            format!(r#"(module {memory} {filter} (func (export "_initialize") (loop (br 0))))"#),
            Kind::Trap,
            "fuel ran out",
        ),
        (
            format!(
                r#"(module {memory} {filter} (func (export "skep_alloc") (param i32 i32) (result i32) (i32.const 0)))"#
            ),
            Kind::BadInput,
            "skep_alloc",
        ),
        (
            format!(
                r#"(module {memory} {filter} (func (export "malloc") (param i32) (result i32) (i32.const 65528)))"#
            ),
            Kind::BadInput,
            "do not lie in its memory",
        ),
        (
            format!(r#"(module {memory} {filter} (func (export "malloc") (param i32) (result i32) (i32.const 20)))"#),
            Kind::BadInput,
            "multiple of 8",
        ),
        (
            format!(r#"(module (import "env" "memory" (memory 1 1)) {filter})"#),
            Kind::Refused,
            "none is left for the event",
        ),
    ];
    for (text, kind, words) in cases {
        let error = load(&text).err().unwrap_or_else(|| panic!("{text} was loaded"));
        assert!(error.to_string().contains(words), "{text}\n{error}");
        assert_eq!(error.kind(), kind, "{error}");
    }
    for bytes in [&b""[..], b"\0asm", b"\0asm\x0d\0\x01\0", b"#!/bin/sh"] {
        let error = WasmRuntime::new().unwrap().load_filter(bytes).err().unwrap();
        assert_eq!(error.kind(), Kind::BadInput);
        assert_eq!(error.to_string().contains("no WebAssembly module"), !bytes.starts_with(b"\0asm"), "{error}");
    }
}

#[test]
fn seventeen_pages_are_refused_with_how_to_build_smaller_or_admitted_by_policy() {
    let text = r#"(module (memory (export "memory") 17)
        (func (export "filter") (param i32 i32) (result i32) (i32.const 1)))"#;
    let error = load(text).err().unwrap();
    assert!(error.help_text().unwrap().contains("stack-size"));
    let mut filter = with_policy(FilterPolicy { max_pages: 32, ..FilterPolicy::default() }, text);
    assert!(filter.filter_event(&event(1)).unwrap());
}

#[test]
fn memory_cannot_grow_past_the_cap_whoever_defines_it() {
    let grow = "(i32.ne (memory.grow (i32.const 16)) (i32.const -1))";
    for memory in [r#"(memory (export "memory") 1)"#, r#"(import "env" "memory" (memory 1))"#] {
        let text = format!(
            r#"(module {memory} (func (export "filter") (param i32 i32) (result i32)
                (loop (drop (memory.grow (i32.const 1))) (br_if 0 (i32.lt_u (memory.size) (i32.const 16))))
                {grow}))"#
        );
        let mut filter = load(&text).unwrap();
        assert!(!filter.filter_event(&event(1)).unwrap(), "growing past 16 pages must fail");
        assert_eq!(filter.memory_bytes(), 16 * 65536);
        assert!(!filter.filter_event(&event(1)).unwrap(), "and the event is found in the memory that grew");
    }
}

#[test]
fn the_event_never_lies_on_what_the_guest_owns() {
    // The guest keeps its data from 1024 on and checks it at each call.
    let text = r#"(module (memory (export "memory") 1) (data (i32.const 1024) "guest data that must stay")
        (func (export "filter") (param $e i32) (param i32) (result i32)
            (i32.and (i32.ge_u (local.get $e) (i32.const 65536))
                     (i64.eq (i64.load (i32.const 1024)) (i64.const 0x6164207473657567)))))"#;
    let mut filter = load(text).unwrap();
    for pid in 0..3 {
        assert!(filter.filter_event(&event(pid)).unwrap());
    }
    for alloc in [
        r#"(func (export "skep_alloc") (param i32 i32) (result i32)
            (if (result i32) (i32.eq (local.get 1) (i32.const 8)) (then (i32.const 4096)) (else (i32.const 0))))"#,
        r#"(func (export "malloc") (param i32) (result i32) (i32.const 4096))"#,
    ] {
        let text = format!(
            r#"(module (memory (export "memory") 16 16) {alloc}
                (func (export "filter") (param $e i32) (param i32) (result i32) (i32.eq (local.get $e) (i32.const 4096))))"#
        );
        assert!(load(&text).unwrap().filter_event(&event(1)).unwrap(), "the allocator's place is taken");
    }
}

#[test]
fn a_trap_costs_one_event_and_is_counted_by_kind() {
    // pid 3 divides by zero, pid 4 loops, pid 5 reads outside, pid 6 recurses, pid 7 gives up; the rest is kept if odd.
    let text = r#"(module (memory (export "memory") 1) (global $calls (mut i32) (i32.const 0))
        (func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (call $deep (local.get 0))))
        (func (export "filter") (param $e i32) (param i32) (result i32) (local $pid i32)
            (local.set $pid (i32.load offset=4 (local.get $e)))
            (if (i32.eq (local.get $pid) (i32.const 3)) (then (return (i32.div_u (i32.const 1) (i32.const 0)))))
            (if (i32.eq (local.get $pid) (i32.const 4)) (then (loop (br 0))))
            (if (i32.eq (local.get $pid) (i32.const 5)) (then (return (i32.load (i32.const -8)))))
            (if (i32.eq (local.get $pid) (i32.const 6)) (then (return (call $deep (i32.const 1)))))
            (if (i32.eq (local.get $pid) (i32.const 7)) (then unreachable))
            (i32.and (local.get $pid) (i32.const 1))))"#;
    for (on_trap, wanted) in [(OnTrap::Keep, vec![1, 3, 4, 5, 6, 7, 9]), (OnTrap::Drop, vec![1, 9])] {
        let mut filter = with_policy(FilterPolicy { on_trap, ..FilterPolicy::default() }, text);
        let mut events: Vec<_> = (0..11).map(event).collect();
        filter.filter_batch(&mut events).unwrap();
        assert_eq!(events.iter().map(|event| event.pid).collect::<Vec<_>>(), wanted);
        let counters = filter.counters();
        let kinds: Vec<_> = counters.trapped.into_iter().collect();
        let all = [
            (TrapKind::Memory, 1),
            (TrapKind::Unreachable, 1),
            (TrapKind::StackOverflow, 1),
            (TrapKind::OutOfFuel, 1),
            (TrapKind::Arithmetic, 1),
        ];
        assert_eq!(kinds, all);
        assert_eq!(counters.seen, 11);
        assert_eq!(counters.kept, wanted.len() as u64);
    }
}

#[test]
fn fuel_is_the_calls_own() {
    // About 300,000 of fuel a call: ten calls together take more than one call may.
    let spin = "(local $i i32) (loop (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get $i) (i32.const 40000)))) (i32.const 1)";
    let mut filter = load(&body(spin)).unwrap();
    for _ in 0..10 {
        assert!(filter.filter_event(&event(1)).unwrap());
    }
    assert_eq!(filter.counters().failures(), 0);
    let mut poor =
        with_policy(FilterPolicy { fuel: 10_000, on_trap: OnTrap::Drop, ..FilterPolicy::default() }, &body(spin));
    assert!(!poor.filter_event(&event(1)).unwrap());
    assert_eq!(poor.counters().trapped.get(&TrapKind::OutOfFuel), Some(&1));
}

/// Goes round so often as `pid` says, and last of all enters a function: where Wasm looks at its fuel.
const ROUNDS: &str = "(local $left i32) (local.set $left (i32.load offset=4 (local.get $e)))
    (block $done (loop $round
        (br_if $done (i32.eqz (local.get $left)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $round)))
    (call $last)";
/// One for each instruction but `block`, `loop` and `end`: entering takes one, then three and three around the rounds, the call, and entering
/// its function. One more has to be left there.
const FUEL_BEFORE_ROUNDS: u64 = 10;
const FUEL_OF_A_ROUND: u64 = 8;

fn with_fuel(fuel: u64) -> WasmFilter {
    let text = format!(
        r#"(module (memory (export "memory") 1) (func $last (result i32) (i32.const 1))
            (func (export "filter") (param $e i32) (param $len i32) (result i32) {ROUNDS}))"#
    );
    with_policy(FilterPolicy { fuel, on_trap: OnTrap::Drop, ..FilterPolicy::default() }, &text)
}

/// Which of the events each way keeps, with that much fuel a call: one by one, as a batch, as records of a flow.
fn kept_in_every_way(fuel: u64, events: &[EventContext]) -> [Vec<u64>; 3] {
    let (mut single, mut batch, mut flow) = (with_fuel(fuel), with_fuel(fuel), with_fuel(fuel));
    let one_by_one =
        events.iter().filter(|event| single.filter_event(event).unwrap()).map(|e| e.timestamp_ns).collect();
    let mut left = events.to_vec();
    batch.filter_batch(&mut left).unwrap();
    let (stride, mut selection) = (176, Selection::all(events.len()));
    let mut records = vec![0xa5; stride * events.len()];
    for (record, event) in records.chunks_exact_mut(stride).zip(events) {
        event.write_to(record.first_chunk_mut().unwrap());
    }
    flow.filter_records(&records, stride, &mut selection).unwrap();
    for filter in [&single, &batch, &flow] {
        let counters = filter.counters();
        assert_eq!(counters.trapped.get(&TrapKind::OutOfFuel).copied().unwrap_or(0), counters.dropped, "fuel {fuel}");
    }
    [
        one_by_one,
        left.iter().map(|event| event.timestamp_ns).collect(),
        selection.iter().map(|index| events[index].timestamp_ns).collect(),
    ]
}

#[test]
fn fuel_is_exact_in_every_way_and_for_every_event_of_a_run() {
    // Of 200 events, in runs of 64, one asks for 50 rounds and the others for none.
    for dear in [0usize, 1, 31, 62, 63, 64, 65, 127, 128, 198, 199] {
        let mut events: Vec<_> = (0..200).map(|n| EventContext { timestamp_ns: n, ..event(0) }).collect();
        events[dear].pid = 50;
        let all: Vec<u64> = (0..200).collect();
        let others: Vec<u64> = all.iter().copied().filter(|n| *n != dear as u64).collect();
        let exact = FUEL_BEFORE_ROUNDS + 50 * FUEL_OF_A_ROUND;
        for (fuel, kept) in [(exact, &all), (exact - 1, &others), (FUEL_BEFORE_ROUNDS, &others)] {
            for way in kept_in_every_way(fuel, &events) {
                assert_eq!(&way, kept, "event {dear} of 200, fuel {fuel}");
            }
        }
    }
}

#[test]
fn no_call_is_given_fuel_that_another_one_left() {
    for rounds in 0..20 {
        let events: Vec<_> = (0..130).map(|n| EventContext { timestamp_ns: n, ..event(rounds) }).collect();
        let exact = FUEL_BEFORE_ROUNDS + u64::from(rounds) * FUEL_OF_A_ROUND;
        assert!(kept_in_every_way(exact, &events).iter().all(|kept| kept.len() == 130), "{rounds} rounds");
        assert!(kept_in_every_way(exact - 1, &events).iter().all(Vec::is_empty), "{rounds} rounds");
    }
    let none = [event(0), event(1)];
    for fuel in [0, 1] {
        assert!(kept_in_every_way(fuel, &none).iter().all(Vec::is_empty), "fuel {fuel}");
    }
}

#[test]
fn batches_of_any_length_are_answered_event_by_event() {
    let mut filter = load(&body("(i32.and (i32.load offset=4 (local.get $e)) (i32.const 1))")).unwrap();
    let mut seen = 0;
    for length in [0u32, 1, 2, 63, 64, 65, 127, 128, 129, 1000] {
        let mut events: Vec<_> = (0..length).map(event).collect();
        filter.filter_batch(&mut events).unwrap();
        assert_eq!(events, (0..length).filter(|pid| pid & 1 == 1).map(event).collect::<Vec<_>>());
        seen += u64::from(length);
        assert_eq!(filter.counters().seen, seen);
    }
    // A guest that keeps count meets the same events in the same order as one by one.
    let counting = r#"(module (memory (export "memory") 1) (global $n (mut i32) (i32.const 0))
        (func (export "filter") (param $e i32) (param i32) (result i32)
            (global.set $n (i32.add (global.get $n) (i32.const 1)))
            (i32.eq (i32.load offset=4 (local.get $e)) (i32.sub (global.get $n) (i32.const 1)))))"#;
    let mut filter = load(counting).unwrap();
    assert!(filter.filter_event(&event(0)).unwrap());
    let mut events: Vec<_> = (1..200).map(event).collect();
    filter.filter_batch(&mut events).unwrap();
    assert_eq!(events.len(), 199);
    assert!(filter.filter_event(&event(200)).unwrap());
}

#[test]
fn a_filter_that_traps_on_every_event_ends_no_run() {
    let mut filter =
        with_policy(FilterPolicy { on_trap: OnTrap::Drop, ..FilterPolicy::default() }, &body("unreachable"));
    let mut events = vec![event(1); 500];
    filter.filter_batch(&mut events).unwrap();
    assert!(events.is_empty());
    assert_eq!(filter.counters().trapped.get(&TrapKind::Unreachable), Some(&500));
}

#[test]
fn writing_everywhere_harms_the_guest_alone() {
    let text = body(
        "(memory.fill (i32.const 0) (i32.const 0xff) (i32.mul (memory.size) (i32.const 65536)))
         (i32.eq (i32.load8_u (i32.const 70000)) (i32.const 0xff))",
    );
    let mut filter = load(&text).unwrap();
    let mut events: Vec<_> = (0..10).map(event).collect();
    let before = events.clone();
    filter.filter_batch(&mut events).unwrap();
    assert_eq!(events, before, "the host's events are not the guest's copy");
}

fn lines() -> (FilterPolicy, Arc<Mutex<Vec<String>>>) {
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let to = lines.clone();
    let log = Arc::new(move |name: &str, line: &str| to.lock().unwrap().push(format!("{name}: {line}")));
    (FilterPolicy { log, log_lines_per_second: 5, ..FilterPolicy::default() }, lines)
}

#[test]
fn the_log_is_delivered_with_the_filters_name_at_a_limited_rate() {
    let text = r#"(module (import "env" "log" (func $log (param i32 i32))) (memory (export "memory") 1)
        (data (i32.const 8) "slow\0acall \ff!")
        (func (export "filter") (param i32 i32) (result i32) (local $i i32)
            (loop (call $log (i32.const 8) (i32.const 12))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if 0 (i32.lt_u (local.get $i) (i32.const 1000))))
            (i32.const 1)))"#;
    let (policy, all) = lines();
    let mut filter = with_policy(policy, text);
    filter.filter_event(&event(1)).unwrap();
    let lines = all.lock().unwrap();
    assert_eq!(lines[0], "mine: slow call \u{fffd}!", "one line, no control character, no invalid UTF-8");
    assert!(lines.len() <= 11 && filter.counters().log_suppressed >= 985, "{} lines", lines.len());
    let suppressed = filter.counters().log_suppressed;
    drop(lines);
    drop(filter);
    let lines = all.lock().unwrap();
    assert!(lines.last().unwrap().contains("lines suppressed)"), "{:?}", lines.last());
    let told: u64 =
        lines.iter().filter_map(|line| line.split('(').nth(1)?.split(' ').next()?.parse::<u64>().ok()).sum();
    assert_eq!(told, suppressed, "each line that was left out is told of once");
}

#[test]
fn a_filter_that_logs_without_end_runs_out_of_fuel() {
    let (policy, lines) = lines();
    let endless = "(loop (call $log (i32.const 0) (i32.const 65536)) (br 0)) (i32.const 1)";
    let mut filter = with_policy(FilterPolicy { on_trap: OnTrap::Drop, ..policy }, &body(endless));
    assert!(!filter.filter_event(&event(1)).unwrap());
    assert_eq!(filter.counters().trapped.get(&TrapKind::OutOfFuel), Some(&1));
    assert!(lines.lock().unwrap().iter().all(|line| line.len() < 5000));
}

#[test]
fn a_log_outside_memory_traps() {
    let mut filter = load(&body("(call $log (i32.const -1) (i32.const 2)) (i32.const 1)")).unwrap();
    assert!(filter.filter_event(&event(1)).unwrap());
    assert_eq!(filter.counters().trapped.get(&TrapKind::Memory), Some(&1));
}

#[test]
fn a_chain_asks_in_order_and_counts_each() {
    let below = |limit: u32| body(&format!("(i32.lt_u (i32.load offset=4 (local.get $e)) (i32.const {limit}))"));
    let mut chain = FilterChain::new(vec![load(&below(60)).unwrap(), load(&below(20)).unwrap()]);
    let mut events: Vec<_> = (0..100).map(event).collect();
    chain.filter_batch(&mut events).unwrap();
    assert_eq!(events.len(), 20);
    let counts: Vec<_> = chain.counters().into_iter().map(|(_, c)| (c.seen, c.kept, c.dropped)).collect();
    assert_eq!(counts, [(100, 60, 40), (60, 20, 40)]);
    assert!(!chain.filter_event(&event(30)).unwrap());
}

#[test]
fn a_filter_is_an_operator_of_a_flow() {
    use skep_event::{Batch, context};
    use skep_flow::Operator;
    let filter = load(&body("(i32.eq (i32.load offset=4 (local.get $e)) (i32.const 7))")).unwrap();
    let mut operator = FilterOperator::new(filter);
    let mut schema = context::schema();
    operator.bind(&mut schema).unwrap();
    let mut records = vec![0; 3 * context::STRIDE];
    for (record, pid) in records.chunks_exact_mut(context::STRIDE).zip([7u32, 8, 7]) {
        record[4..8].copy_from_slice(&pid.to_le_bytes());
    }
    let mut batch = Batch::new(records, &schema);
    operator.process(&schema, &mut batch).unwrap();
    assert_eq!(batch.selection().iter().collect::<Vec<_>>(), [0, 2]);
    let other = skep_event::Schema::new("other", 8, vec![]).unwrap();
    assert_eq!(operator.bind(&mut other.clone()).unwrap_err().kind(), Kind::NotFound);
}
