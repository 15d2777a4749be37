//! The cost of asking a plugin about an event, beside the same loop in native code, in one run. Ratios, medians of 31.
//!
//! 100,000 events of 88 bytes, half of them system calls, in no order that a branch predictor could learn; the plugin
//! is the sample slow-syscalls. The last line holds the figures as `name=value`. `cargo bench -p skep-sandbox --bench hooks`

use std::{hint::black_box, time::Instant};

use skep_abi::{
    event_context::{EventContext, MEMBERS, MemberType, SIZE},
    operator::FieldKind,
};
use skep_admit::{Policy, Slot, admit, inspect};
use skep_event::Selection;
use skep_guest::hooks::keep_words;
use skep_sandbox::worlds::hooks::{Plugin, RecordField, RecordLayout, Services};

const EVENTS: usize = 100_000;
const ROUNDS: usize = 31;
/// Events of a chunk that stays in the first-level cache with its copy: 5.5, 11 and 22 KiB, twice.
const CHUNKS: [usize; 3] = [64, 128, 256];
const WASM: &[u8] = include_bytes!("../../../examples/slow-syscalls/slow-syscalls.wasm");

fn events() -> Vec<EventContext> {
    let mut seed = 0x5eed_u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    (0..EVENTS)
        .map(|i| EventContext {
            event_type: if random() % 2 == 0 { 2 } else { 1 },
            pid: i as u32,
            duration_ns: random() % 2_700_000,
            ..EventContext::default()
        })
        .collect()
}

fn bytes(events: &[EventContext]) -> Vec<u8> {
    let mut bytes = vec![0; events.len() * SIZE];
    for (event, slot) in events.iter().zip(bytes.chunks_exact_mut(SIZE)) {
        if let Ok(slot) = slot.try_into() {
            event.write_to(slot);
        }
    }
    bytes
}

fn layout() -> RecordLayout {
    let fields = MEMBERS.iter().map(|member| RecordField {
        name: member.name.into(),
        kind: match member.ty {
            MemberType::U32 => FieldKind::Uint32,
            MemberType::U64 => FieldKind::Uint64,
            MemberType::I64 => FieldKind::Int64,
        },
        offset: member.offset as u32,
        size: member.ty.size() as u32,
    });
    RecordLayout { stride: SIZE as u32, fields: fields.collect() }
}

fn plugin(capacity: usize) -> Plugin {
    let policy = Policy::parse("[ceiling]\npages = 1024\n", std::path::Path::new("")).expect("a policy");
    let mut module = inspect(WASM);
    if let Some(metadata) = &mut module.metadata {
        metadata.budget.pages = Some(1024); // 100,000 events are more than the sample asks room for
    }
    let admission = admit(&module, Slot::Filter, &policy).expect("the sample is admitted");
    Plugin::new(WASM, admission, layout(), capacity, Services::log_only(), None).expect("the sample runs")
}

fn slow(event: &EventContext) -> bool {
    if event.event_type == 2 { event.duration_ns >= 1_000_000 } else { false }
}

fn ns(start: Instant) -> f64 {
    start.elapsed().as_nanos() as f64 / EVENTS as f64
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let events = events();
    let records = bytes(&events);
    let mut in_place = plugin(EVENTS);
    in_place.buffer().copy_from_slice(&records);
    let mut chunked = CHUNKS.map(plugin);
    let mut words = vec![0u64; EVENTS.div_ceil(64)];
    let mut selection = Selection::default();
    let [mut native, mut drained] = [const { Vec::new() }; 2];
    let mut copied = [const { Vec::new() }; CHUNKS.len()];
    let mut kept = [0; 2 + CHUNKS.len()];
    // In turn, so that whatever else the machine does falls on all alike.
    for _ in 0..ROUNDS {
        let start = Instant::now();
        keep_words(black_box(&events), &mut words, slow);
        native.push(ns(start));
        kept[0] = words.iter().map(|word| word.count_ones() as usize).sum();

        selection.reset(EVENTS);
        let start = Instant::now();
        in_place.filter(&mut selection).expect("a filter");
        drained.push(ns(start));
        kept[1] = selection.count();

        for (which, (size, plugin)) in CHUNKS.iter().zip(&mut chunked).enumerate() {
            kept[2 + which] = 0;
            let start = Instant::now();
            for chunk in records.chunks(size * SIZE) {
                plugin.buffer()[..chunk.len()].copy_from_slice(chunk);
                selection.reset(chunk.len() / SIZE);
                plugin.filter(&mut selection).expect("a filter");
                kept[2 + which] += selection.count();
            }
            copied[which].push(ns(start));
        }
    }
    assert!(kept.iter().all(|count| *count == kept[0]), "all ways keep the same: {kept:?}");
    assert_eq!((in_place.counters().failures, in_place.counters().traps), (0, 0), "{:?}", in_place.last_failure());
    println!("{EVENTS} events, {} kept, medians of {ROUNDS}", kept[0]);
    let base = median(&native);
    let show = |name: &str, values: &[f64]| {
        let best = values.iter().copied().fold(f64::MAX, f64::min);
        let value = median(values);
        println!("{name:<38} {value:>7.2} ns an event  × {:>5.2}   (best {best:.2})", value / base);
        value
    };
    show("native loop", &native);
    let in_place = show("drained into guest memory, one call", &drained);
    let chunks = CHUNKS.iter().zip(&copied).map(|(size, values)| show(&format!("copied in chunks of {size}"), values));
    let copied = chunks.fold(f64::MAX, f64::min);
    println!("native={base:.4} in_place={in_place:.4} copied={copied:.4}");
}
