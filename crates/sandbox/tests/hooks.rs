//! World `hooks`: the samples do what they say, and plugins that trap, loop, lie or grow are held.

mod plugin;

use std::sync::{Arc, Mutex};

use plugin::{CLOSED, END, field, filter_of, filter_with, one_field, plugin, plugin_with};
use skep_abi::{
    event_context::{EventContext, MEMBERS, MemberType, SIZE},
    hooks::wire::MetricKind,
    operator::FieldKind,
};
use skep_admit::{Policy, Slot, admit, inspect};
use skep_error::Kind;
use skep_event::Selection;
use skep_sandbox::{
    TrapKind,
    worlds::hooks::{Failed, MAX_TRAPS, NoKernel, Plugin, RecordLayout, Services, State},
};

const SLOW: &[u8] = include_bytes!("../../../examples/slow-syscalls/slow-syscalls.wasm");
const SLOW_C: &[u8] = include_bytes!("../../../examples/slow-syscalls-c/slow-syscalls-c.wasm");
const REDACT: &[u8] = include_bytes!("../../../examples/redact-paths/redact-paths.wasm");
const REDACT_C: &[u8] = include_bytes!("../../../examples/redact-paths-c/redact-paths-c.wasm");
const LATENCY: &[u8] = include_bytes!("../../../examples/latency-histogram/latency-histogram.wasm");
const LATENCY_C: &[u8] = include_bytes!("../../../examples/latency-histogram-c/latency-histogram-c.wasm");

fn event_layout() -> RecordLayout {
    let fields = MEMBERS.iter().map(|member| {
        let kind = match member.ty {
            MemberType::U32 => FieldKind::Uint32,
            MemberType::U64 => FieldKind::Uint64,
            MemberType::I64 => FieldKind::Int64,
        };
        field(member.name, kind, member.offset, member.ty.size())
    });
    RecordLayout { stride: SIZE as u32, fields: fields.collect() }
}

/// Events of which every third is a slow system call, by its number.
fn events(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count * SIZE];
    for (i, slot) in bytes.chunks_exact_mut(SIZE).enumerate() {
        let event = EventContext {
            event_type: if i % 3 == 0 { 2 } else { 1 },
            pid: i as u32,
            duration_ns: if i % 2 == 0 { 5_000_000 } else { 10 },
            ..EventContext::default()
        };
        event.write_to(slot.try_into().unwrap());
    }
    bytes
}

fn slow_indices(count: usize) -> Vec<usize> {
    (0..count).filter(|i| i % 3 == 0 && i % 2 == 0).collect()
}

#[test]
fn the_sample_filters_keep_slow_system_calls_in_rust_and_in_c() {
    for (wasm, language) in [(SLOW, "Rust"), (SLOW_C, "C")] {
        let mut plugin = plugin(wasm, Slot::Filter, event_layout());
        for count in [0, 1, 63, 64, 65, 200, 1000] {
            plugin.buffer()[..count * SIZE].copy_from_slice(&events(count));
            let mut selection = Selection::all(count);
            plugin.filter(&mut selection).unwrap();
            assert_eq!(selection.iter().collect::<Vec<_>>(), slow_indices(count), "{language}, {count} events");
        }
        assert_eq!(plugin.counters().failures, 0, "{language}: {:?}", plugin.last_failure());
    }
}

#[test]
fn a_record_that_was_dropped_before_stays_out() {
    let mut plugin = plugin(SLOW, Slot::Filter, event_layout());
    plugin.buffer()[..13 * SIZE].copy_from_slice(&events(13));
    let mut selection = Selection::all(13);
    selection.drop_record(6);
    plugin.filter(&mut selection).unwrap();
    assert_eq!(selection.iter().collect::<Vec<_>>(), [0, 12]);
}

#[test]
fn fields_are_found_by_name_where_they_lie_elsewhere() {
    // The same fields in another order, with others between them.
    let mut layout = event_layout();
    layout.stride = 96;
    for field in &mut layout.fields {
        field.offset = (field.offset + 8) % 88;
    }
    layout.fields.reverse();
    let mut plugin = plugin(SLOW, Slot::Filter, layout.clone());
    let count = 100;
    for (event, record) in events(count).chunks_exact(SIZE).zip(plugin.buffer().chunks_exact_mut(96)) {
        for (member, field) in MEMBERS.iter().zip(layout.fields.iter().rev()) {
            let bytes = &event[member.offset..][..member.ty.size()];
            record[field.offset as usize..][..bytes.len()].copy_from_slice(bytes);
        }
    }
    let mut selection = Selection::all(count);
    plugin.filter(&mut selection).unwrap();
    assert_eq!(plugin.last_failure(), None);
    assert_eq!(selection.iter().collect::<Vec<_>>(), slow_indices(count));
}

#[test]
fn a_missing_field_is_named_and_the_batch_passes() {
    let mut layout = event_layout();
    layout.fields.retain(|field| field.name != "duration_ns");
    let mut plugin = plugin(SLOW, Slot::Filter, layout);
    let mut selection = Selection::all(5);
    plugin.filter(&mut selection).unwrap();
    assert_eq!(plugin.last_failure(), Some(&Failed::Said("the records have no field duration_ns".into())));
    assert_eq!((selection.count(), plugin.counters().failed_open), (5, 5));
    assert_eq!(plugin.state(), &State::Running);
}

#[test]
fn the_sample_shapes_blot_out_paths_add_a_column_and_hide_a_field() {
    let layout = RecordLayout {
        stride: 72,
        fields: vec![field("uid", FieldKind::Uint32, 0, 4), field("filename", FieldKind::CString, 4, 64)],
    };
    for (wasm, language) in [(REDACT, "Rust"), (REDACT_C, "C")] {
        let mut plugin = plugin(wasm, Slot::Shape, layout.clone());
        let written = ["/home/ann/diary", "/etc/passwd", "/root/.ssh", "/home/ben/x"];
        for (record, path) in plugin.buffer().chunks_exact_mut(72).zip(written) {
            record[4..4 + path.len()].copy_from_slice(path.as_bytes());
        }
        let mut selection = Selection::all(4);
        selection.drop_record(3);
        let shaped = plugin.shape(&mut selection).unwrap();
        assert_eq!(plugin.last_failure(), None, "{language}");
        let paths: Vec<&str> = plugin
            .records(4)
            .chunks_exact(72)
            .map(|record| std::str::from_utf8(&record[4..68]).unwrap().trim_end_matches('\0'))
            .collect();
        assert_eq!(paths, ["/home/*********", "/etc/passwd", "/root/****", "/home/ben/x"], "{language}");
        assert_eq!(shaped.hidden, ["uid"], "{language}");
        assert_eq!((shaped.columns[0].name.as_str(), shaped.columns[0].kind), ("redacted", FieldKind::Uint8));
        assert_eq!(shaped.columns[0].values, [1, 0, 1, 0], "{language}");
    }
}

#[test]
fn the_sample_observers_count_over_batches_and_report_when_asked() {
    let mut texts = Vec::new();
    for (wasm, language) in [(LATENCY, "Rust"), (LATENCY_C, "C")] {
        let mut plugin = plugin(wasm, Slot::Observe, event_layout());
        for _ in 0..2 {
            plugin.buffer()[..100 * SIZE].copy_from_slice(&events(100));
            assert_eq!(plugin.observe(&Selection::all(100), false).unwrap(), None, "{language}");
        }
        let report = plugin.observe(&Selection::all(0), true).unwrap().unwrap();
        assert_eq!(plugin.last_failure(), None, "{language}");
        assert_eq!((report.metrics[0].name.as_str(), report.metrics[0].value), ("events", 200), "{language}");
        let histogram = &report.metrics[1];
        assert_eq!((histogram.kind, histogram.value), (MetricKind::Histogram, 100 * 10 + 100 * 5_000_000));
        assert_eq!(histogram.counts[0], 100, "10 ns is below 1 us");
        let bucket = histogram.bounds.iter().position(|bound| 5_000_000 < *bound).unwrap();
        assert_eq!(histogram.counts[bucket], 100, "{language}");
        assert_eq!(report.text.lines().count(), 2, "{}", report.text);
        texts.push(report.text);
    }
    assert_eq!(texts[0], texts[1]);
}

#[test]
fn records_of_another_size_are_named_with_both_sizes() {
    let narrower = RecordLayout { stride: 80, ..event_layout() };
    let mut other = event_layout();
    other.fields.iter_mut().filter(|field| field.name == "duration_ns").for_each(|field| field.size = 4);
    let shaped = RecordLayout {
        stride: 64,
        fields: vec![field("uid", FieldKind::Uint32, 0, 4), field("filename", FieldKind::CString, 4, 64)],
    };
    for (wasm, slot, layout, why) in [
        (SLOW_C, Slot::Filter, narrower, "records of 80 bytes, the plugin's have 88"),
        (
            LATENCY_C,
            Slot::Observe,
            RecordLayout { stride: 80, ..event_layout() },
            "records of 80 bytes, the plugin's have 88",
        ),
        (REDACT_C, Slot::Shape, shaped, "records of 64 bytes, the plugin's have 68"),
        (SLOW, Slot::Filter, other.clone(), "field duration_ns has 4 bytes, the plugin wants 8"),
        (LATENCY, Slot::Observe, other, "field duration_ns has 4 bytes, the plugin wants 8"),
    ] {
        let mut plugin = plugin(wasm, slot, layout);
        let mut selection = Selection::all(2);
        match slot {
            Slot::Filter => plugin.filter(&mut selection).unwrap(),
            Slot::Shape => _ = plugin.shape(&mut selection).unwrap(),
            _ => _ = plugin.observe(&selection, true).unwrap(),
        }
        assert_eq!(plugin.last_failure(), Some(&Failed::Said(why.into())));
    }
}

/// What a host adds to an event comes after it.
#[test]
fn records_may_be_longer_than_the_plugins_type() {
    const EVENTS: usize = 100;
    let events = events(EVENTS);
    for (language, wasm) in [("Rust", SLOW), ("C", SLOW_C)] {
        let kept = [SIZE, SIZE + 8, 2 * SIZE].map(|stride| {
            let mut plugin = plugin(wasm, Slot::Filter, RecordLayout { stride: stride as u32, ..event_layout() });
            for (event, place) in events.chunks(SIZE).zip(plugin.buffer().chunks_mut(stride)) {
                place[..SIZE].copy_from_slice(event);
            }
            let mut selection = Selection::all(EVENTS);
            plugin.filter(&mut selection).unwrap();
            assert_eq!(plugin.last_failure(), None, "{language}, {stride}");
            selection.iter().collect::<Vec<_>>()
        });
        assert!(!kept[0].is_empty() && kept[0].len() < EVENTS, "{language}: {kept:?}");
        assert!(kept.iter().all(|other| *other == kept[0]), "{language}: {kept:?}");
    }
}

#[test]
fn a_plugin_in_c_names_the_field_that_lies_elsewhere() {
    let layout = RecordLayout { stride: 72, fields: vec![field("filename", FieldKind::CString, 0, 64)] };
    let mut plugin = plugin(REDACT_C, Slot::Shape, layout);
    let mut selection = Selection::all(2);
    plugin.shape(&mut selection).unwrap();
    assert_eq!(plugin.last_failure(), Some(&Failed::Said("no field of 4 bytes at offset 0: uid".into())));
    assert_eq!((selection.count(), plugin.counters().failed_closed), (0, 2));
}

#[test]
fn a_plugin_that_traps_is_replaced_and_then_taken_out() {
    let wasm = filter_of("unreachable", CLOSED, "");
    let mut plugin = plugin(&wasm, Slot::Filter, one_field());
    plugin.buffer()[..8].copy_from_slice(&[7; 8]);
    for trap in 1..=MAX_TRAPS {
        assert_eq!(plugin.state(), &State::Running, "before trap {trap}");
        let mut selection = Selection::all(3);
        plugin.filter(&mut selection).unwrap();
        assert_eq!(selection.count(), 0, "it fails closed");
        assert_eq!(&plugin.records(1)[..8], &[7; 8], "the records move to the new instance");
    }
    assert!(matches!(plugin.state(), State::Broken(why) if why.contains("in a row")), "{:?}", plugin.state());
    let mut selection = Selection::all(3);
    plugin.filter(&mut selection).unwrap();
    assert_eq!((selection.count(), plugin.last_failure()), (0, Some(&Failed::Broken)));
    let counters = plugin.counters();
    assert_eq!((counters.calls, counters.traps), (u64::from(MAX_TRAPS), u64::from(MAX_TRAPS)));
    assert_eq!(counters.failed_closed, 3 * u64::from(MAX_TRAPS + 1));
}

#[test]
fn a_plugin_that_loops_runs_out_of_fuel_and_the_batch_passes() {
    let wasm = filter_of("(loop (br 0)) i64.const 0", END, "");
    let mut plugin = plugin(&wasm, Slot::Filter, one_field());
    let mut selection = Selection::all(3);
    plugin.filter(&mut selection).unwrap();
    assert!(matches!(plugin.last_failure(), Some(Failed::Trapped(Some(TrapKind::OutOfFuel), _))));
    assert_eq!((selection.count(), plugin.counters().failed_open), (3, 3));
}

#[test]
fn a_plugin_with_fuel_without_end_is_stopped_by_its_deadline() {
    let budget = r#"}},"budget":{"fuel":9000000000000000000,"deadline_ms":20}}"#;
    let wasm = filter_of("(loop (br 0)) i64.const 0", budget, "");
    let policy = Policy::parse("[ceiling]\nfuel = 9000000000000000000", std::path::Path::new("")).unwrap();
    let mut plugin = plugin_with(&wasm, Slot::Filter, &policy, one_field(), Services::log_only());
    let mut selection = Selection::all(3);
    plugin.filter(&mut selection).unwrap();
    assert!(
        matches!(plugin.last_failure(), Some(Failed::Trapped(Some(TrapKind::Interrupted), _))),
        "{:?}",
        plugin.last_failure()
    );
}

#[test]
fn nonsense_is_no_answer_and_reads_nothing_outside_memory() {
    let far = "(i64.const -4294967276)"; // ptr 0xffffffff, len 20
    let short = "(i64.const 19)";
    // A response whose bitmap lies outside memory.
    let lie = "(i32.store (i32.const 20) (i32.const -8)) (i32.store (i32.const 24) (i32.const 1)) \
               (i64.const 0x0000000800000014)";
    for body in [far, short, lie] {
        let wasm = filter_of(body, END, "");
        let mut plugin = plugin(&wasm, Slot::Filter, one_field());
        let mut selection = Selection::all(3);
        plugin.filter(&mut selection).unwrap();
        assert!(matches!(plugin.last_failure(), Some(Failed::Nonsense(_))), "{body}: {:?}", plugin.last_failure());
        assert_eq!(selection.count(), 3);
        assert_eq!(plugin.state(), &State::Running);
    }
}

/// What becomes of one batch of three records; a filter's response at 1024 says that its bitmap lies at 2048.
fn after(body: &str) -> (Plugin, Vec<usize>) {
    let mut plugin = plugin(&filter_of(body, END, ""), Slot::Filter, one_field());
    let mut selection = Selection::all(3);
    plugin.filter(&mut selection).unwrap();
    let kept = selection.iter().collect();
    (plugin, kept)
}

fn answer(words: i64) -> String {
    format!(
        "(i32.store (i32.const 1036) (i32.const 2048)) (i32.store (i32.const 1040) (i32.const {words}))
         (i64.store (i32.const 2048) (i64.const -3)) (i64.const 0x0000040000000014)"
    )
}

#[test]
fn a_bitmap_is_long_enough_or_nonsense_and_what_it_has_too_much_is_not_read() {
    let (plugin, kept) = after(&answer(0));
    assert_eq!((kept.len(), matches!(plugin.last_failure(), Some(Failed::Nonsense(_)))), (3, true));
    // Bits past the end, words past the end, and a length that claims more than there is memory.
    for words in [1, 2, 0x7fff_ffff, -1] {
        let (plugin, kept) = after(&answer(words));
        assert_eq!((kept, plugin.last_failure()), (vec![0, 2], None), "{words} words");
    }
}

#[test]
fn a_filter_that_writes_over_all_that_it_was_given_harms_itself_alone() {
    // Its block begins at 65536: request, bitmaps, fields and records become 0xff before it answers.
    let body = format!("(memory.fill (i32.const 65536) (i32.const 0xff) (i32.const 2048)) {}", answer(1));
    let (mut plugin, kept) = after(&body);
    assert_eq!((kept, plugin.last_failure()), (vec![0, 2], None));
    let mut selection = Selection::all(3);
    plugin.filter(&mut selection).unwrap();
    assert_eq!(selection.iter().collect::<Vec<_>>(), [0, 2], "the next request is written anew");
    assert_eq!(plugin.records(1000).len(), 8000);
}

#[test]
fn room_that_a_plugin_does_not_have_is_not_taken() {
    for (answer, kind) in
        [("0", Kind::Refused), ("4", Kind::Refused), ("-64", Kind::BadInput), ("262080", Kind::BadInput)]
    {
        let wasm = filter_with(&format!("(i32.const {answer})"), "i64.const 0", END, "");
        let admission = admit(&inspect(&wasm), Slot::Filter, &Policy::default()).unwrap();
        let made = Plugin::new(&wasm, admission, one_field(), 1000, Services::log_only(), None);
        assert_eq!(made.err().map(|error| error.kind()), Some(kind), "{answer}");
    }
}

#[test]
fn growth_ends_at_the_budget_and_deep_calls_at_the_stack() {
    let grow = "(drop (i32.eq (memory.grow (i32.const 100000)) (i32.const -1)) ) unreachable";
    let wasm = filter_of(grow, END, "");
    let mut plugin = plugin(&wasm, Slot::Filter, one_field());
    plugin.filter(&mut Selection::all(1)).unwrap();
    assert!(matches!(plugin.last_failure(), Some(Failed::Trapped(Some(TrapKind::Unreachable), _))));
    let deep = "(return (call 2 (local.get 0) (local.get 1)))";
    let wasm = filter_of(deep, END, "");
    let mut plugin = self::plugin(&wasm, Slot::Filter, one_field());
    plugin.filter(&mut Selection::all(1)).unwrap();
    assert!(matches!(plugin.last_failure(), Some(Failed::Trapped(Some(TrapKind::StackOverflow), _))));
}

#[test]
fn a_capability_that_is_granted_works_and_only_its_imports_are_linked() {
    let imports = r#"(import "skep" "log" (func $log (param i32 i32 i32)))
        (import "skep" "metric_add" (func $add (param i32 i32 i64)))
        (data (i32.const 100) "hello")"#;
    let body = "(call $log (i32.const 2) (i32.const 100) (i32.const 5))
        (call $add (i32.const 100) (i32.const 5) (i64.const 3)) (i64.const 19)";
    let wasm = filter_of(body, r#"}},"capabilities":["log","metrics"]}"#, imports);
    assert!(admit(&inspect(&wasm), Slot::Filter, &Policy::default()).is_err());
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    let log = move |level, line: &str| sink.lock().unwrap().push((level, line.to_owned()));
    let services = Services::new(log, Box::new(NoKernel), Vec::new());
    let policy = Policy::parse("[[grant]]\ncapabilities = [\"log\", \"metrics\"]", std::path::Path::new("")).unwrap();
    let mut plugin = plugin_with(&wasm, Slot::Filter, &policy, one_field(), services);
    for _ in 0..2 {
        plugin.filter(&mut Selection::all(1)).unwrap();
    }
    assert_eq!(*lines.lock().unwrap(), [(2, "hello".to_owned()), (2, "hello".to_owned())]);
    assert_eq!(plugin.services().unwrap().metrics().get("hello"), Some(&6));
}

#[test]
fn other_bytes_than_those_admitted_are_refused() {
    let admission = admit(&inspect(SLOW), Slot::Filter, &Policy::default()).unwrap();
    let error = Plugin::new(SLOW_C, admission, event_layout(), 64, Services::log_only(), None).err().unwrap();
    assert_eq!(error.kind(), Kind::Refused);
}
